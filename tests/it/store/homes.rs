//! Homes that are set aside, and what is left of them.

use deskgate::model::user::User;
use deskgate::store::Database;
use deskgate::store::homes::OldHome;

use super::{ENGINE, at};

fn home(user: &User, volume: &str, retired_at: i64) -> OldHome {
    OldHome {
        volume: volume.into(),
        user_id: user.id,
        template: "desktop".into(),
        retired_at: at(retired_at),
    }
}

pub(super) async fn homes(db: &Database, first: &User, second: &User) {
    let generation = async |user: &User| db.home_generation(user.id, "desktop").await.unwrap();
    let retire = async |home: &OldHome, generation| {
        db.retire_home(home, generation..generation + 1, ENGINE)
            .await
            .unwrap()
    };
    let old = async |before| db.old_homes(ENGINE, at(before)).await.unwrap();
    let [one, two, other] = [
        home(first, "one", 1000),
        home(first, "two", 2000),
        home(second, "other", 1000),
    ];
    assert_eq!(generation(first).await, 0);
    assert!(retire(&one, 0).await);
    assert!(!retire(&two, 0).await, "somebody else has just done so");
    assert_eq!(generation(first).await, 1);
    assert!(retire(&two, 1).await);
    assert!(retire(&other, 0).await);
    assert_eq!((generation(first).await, generation(second).await), (2, 1));
    assert_eq!(db.home_generation(first.id, "another").await.unwrap(), 0);
    assert_eq!(old(1999).await, [one.clone(), other.clone()]);
    assert_eq!(old(2000).await, [one.clone(), other.clone(), two.clone()]);
    assert_eq!(db.old_homes("another", at(9000)).await.unwrap(), []);
    assert_eq!(db.old_home(ENGINE, "one").await.unwrap(), Some(one));
    assert_eq!(db.old_home("another", "two").await.unwrap(), None);
    assert!(db.forget_old_home("one").await.unwrap());
    assert!(!db.forget_old_home("one").await.unwrap());
    assert_eq!(db.old_home(ENGINE, "one").await.unwrap(), None);
    assert_eq!(old(2000).await, [other, two]);
}

/// What is left when the first one is forgotten.
pub(super) async fn homes_of_others(db: &Database, first: &User) {
    let left = db.old_homes(ENGINE, at(9000)).await.unwrap();
    assert!(left.iter().all(|home| home.user_id != first.id), "{left:?}");
    assert_eq!(left.len(), 1);
}
