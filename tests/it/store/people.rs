//! What is kept of people: the audit log, what admins see, and what is left of somebody who is forgotten.

use deskgate::model::desktop::State;
use deskgate::model::id::{AuditId, DesktopId};
use deskgate::model::user::{Role, User};
use deskgate::store::Database;
use deskgate::store::audit::{Entry, Filter};
use deskgate::store::containers::Change;
use deskgate::store::overview::{DesktopFilter, DesktopOrder, Page, Sort, UserFilter, UserOrder};

use super::at;
use super::homes::homes_of_others;

fn entry(count: u16, at_millis: i64, user: &User) -> Entry {
    Entry {
        id: AuditId::at(at(at_millis), count),
        at: at(at_millis),
        action: if count == 0 { "start" } else { "stop" }.into(),
        outcome: "success".into(),
        reason: None,
        actor_kind: "user".into(),
        actor_id: Some(user.id.to_string()),
        actor_name: Some("the name then".into()),
        subject_id: Some(user.id.to_string()),
        subject_name: Some(user.identity.username.clone()),
        object_kind: Some("desktop".into()),
        object_id: Some("one".into()),
        address: Some("192.0.2.1".into()),
        request_id: None,
        details: [("template".to_owned(), "Ümläut \"quoted\"".into())]
            .into_iter()
            .collect(),
    }
}

pub(super) async fn audit(db: &Database, first: &User, second: &User) {
    let entries = [
        entry(0, 1000, first),
        entry(1, 1000, first),
        entry(0, 2000, second),
    ];
    db.insert_audit(&entries).await.unwrap();
    db.insert_audit(&entries[..1]).await.unwrap();
    let list = async |filter: &Filter, limit| db.list_audit(filter, limit).await.unwrap();
    let [a, b, c] = entries;
    let everything = Filter::default();
    assert_eq!(
        list(&everything, 9).await,
        [c.clone(), b.clone(), a.clone()]
    );
    let page = list(&everything, 2).await;
    let next = Filter {
        before: Some(page[1].id),
        ..Filter::default()
    };
    assert_eq!(list(&next, 2).await, std::slice::from_ref(&a));
    for user in [first.id.to_string(), first.identity.username.clone()] {
        let of_first = Filter {
            user: Some(user),
            ..Filter::default()
        };
        assert_eq!(list(&of_first, 9).await, [b.clone(), a.clone()]);
    }
    let starts = Filter {
        action: Some("start".into()),
        since: Some(at(1001)),
        ..Filter::default()
    };
    assert_eq!(list(&starts, 9).await, std::slice::from_ref(&c));
    let early = Filter {
        action: Some("stop".into()),
        until: Some(at(1000)),
        ..Filter::default()
    };
    assert_eq!(list(&early, 9).await, []);
    assert_eq!(db.count_old_audit(at(2000)).await.unwrap(), 2);
    assert_eq!(db.delete_old_audit(at(2000), 1).await.unwrap(), 1);
    assert_eq!(db.delete_old_audit(at(2000), 9).await.unwrap(), 1);
    assert_eq!(list(&everything, 9).await, [c]);
}

pub(super) async fn overview(db: &Database, first: &User, second: &User) {
    let page = Page {
        limit: 10,
        offset: 0,
    };
    let by_user = Sort {
        by: DesktopOrder::User,
        descending: true,
    };
    let all = DesktopFilter::default();
    let listed = db.list_all_desktops(&all, by_user, page).await.unwrap();
    assert_eq!((listed.total, listed.rows.len()), (2, 2));
    let filter = DesktopFilter {
        status: vec![State::Queued, State::Creating],
        user: Some(second.id.to_string()),
        template: Some("a".into()),
        text: Some("NAME OF T".into()),
    };
    let listed = db.list_all_desktops(&filter, by_user, page).await.unwrap();
    assert_eq!(listed.total, 1);
    assert_eq!(&listed.rows[0].1, second);
    let (desktop, owner) = &listed.rows[0];
    let found = db.find_owned_desktop(desktop.id).await.unwrap();
    assert_eq!(found, Some((desktop.clone(), owner.clone())));
    let nobodys = db.find_owned_desktop(DesktopId::random()).await.unwrap();
    assert_eq!(nobodys, None);
    let by_name = Sort {
        by: UserOrder::Name,
        descending: false,
    };
    let teachers = UserFilter {
        role: Some(Role::Teacher),
        text: Some("Näme".into()),
    };
    let users = db.list_users(&teachers, by_name, page).await.unwrap();
    let known: Vec<_> = users
        .rows
        .iter()
        .map(|known| (&known.user, known.live_desktops, known.sessions))
        .collect();
    assert_eq!(known, [(first, 1, 1), (second, 1, 0)]);
    let sessions = db
        .list_all_sessions(Some(&first.identity.username), page)
        .await;
    assert_eq!(sessions.unwrap().rows[0].user_id, first.id);
    let counts = db.counts(at(1000)).await.unwrap();
    assert_eq!((counts.users, counts.sessions), (2, 1));
    assert_eq!(counts.desktops, [(State::Queued, 2)]);
    person(db, first).await;
}

async fn person(db: &Database, user: &User) {
    assert_eq!(db.find_user(user.id).await.unwrap().as_ref(), Some(user));
    let export = db.export_user(user.id).await.unwrap();
    assert_eq!(export["users"][0]["subject"], "one");
    assert_eq!(export["oauth_sessions"].as_array().unwrap().len(), 1);
    db.insert_audit(&[entry(0, 5000, user)]).await.unwrap();
    let live = db.forget_user(user.id, "nobody").await;
    assert!(live.is_err(), "a desktop is still there");
    assert!(
        db.find_user(user.id).await.unwrap().is_some(),
        "all or nothing"
    );
    for desktop in db.list_desktops(user.id).await.unwrap() {
        let change = Change::default();
        let failed = db.transition(desktop.id, desktop.status, State::Error, change);
        assert!(failed.await.unwrap());
        assert!(db.delete_desktop(desktop.id).await.unwrap());
    }
    assert_eq!(db.forget_user(user.id, "nobody").await.unwrap(), 1);
    assert_eq!(db.find_user(user.id).await.unwrap(), None);
    let newest = db
        .list_audit(&Filter::default(), 1)
        .await
        .unwrap()
        .remove(0);
    let who = (newest.actor_id.as_deref(), newest.actor_name.as_deref());
    assert_eq!(who, (Some("nobody"), Some("nobody")));
    assert_eq!((newest.address, newest.details.len()), (None, 0));
    homes_of_others(db, user).await;
}
