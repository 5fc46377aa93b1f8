//! What must hold of the table as a whole.

use super::*;

#[test]
fn a_foreign_and_a_missing_desktop_look_the_same() {
    let foreign = HttpError::from(AuthzError::NotFound).row();
    assert_eq!(foreign, HttpError::from(DesktopError::NotFound).row());
    assert_eq!(foreign, HttpError::NotFound.row());
    assert_eq!(foreign, HttpError::from(ProxyError::Denied).row());
}

#[test]
fn no_public_text_repeats_an_inner_error() {
    let inner = "10.0.0.7:5432 password";
    let errors: [HttpError; 3] = [
        StoreError::Corrupt(inner.into()).into(),
        LoginError::Denied(inner.into()).into(),
        ProxyError::Broken(std::io::Error::other(inner)).into(),
    ];
    for error in errors {
        assert!(!error.row().detail.contains("10.0.0.7"), "{error:?}");
    }
}

#[test]
fn what_may_pass_by_itself_says_when_to_come_back() {
    let engine = HttpError::from(EngineError::Timeout(std::time::Duration::from_secs(1)));
    assert_eq!(engine.row().status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(engine.row().retry_after.is_some());
    assert!(
        HttpError::NotRunning("starting")
            .row()
            .retry_after
            .is_some()
    );
}
