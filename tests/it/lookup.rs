//! What a request costs before it is carried: who asks and whether they may comes from memory.

use deskgate::authn::AuthnError;
use deskgate::authn::session::RECHECK;
use deskgate::authz::Access;
use deskgate::respond::error::HttpError;
use futures_util::FutureExt as _;

use crate::support::lookup::Lookup;

#[tokio::test]
async fn who_asks_and_whether_they_may_is_known_without_the_database() {
    let lookup = Lookup::new().await;
    let first = lookup.decide().await.expect("from the database");
    assert!(matches!(first, Access::Granted(_)), "{first:?}");

    lookup.database.close().await;
    for _ in 0..100 {
        // It does not even wait.
        let again = lookup.decide().now_or_never().expect("at once");
        assert!(matches!(again, Ok(Access::Granted(_))), "{again:?}");
    }

    // Only so long, and then the database would have been asked.
    lookup.clock.advance(RECHECK);
    let later = lookup.decide().await;
    let asked = matches!(later, Err(HttpError::Authn(AuthnError::Store(_))));
    assert!(asked, "{later:?}");
}
