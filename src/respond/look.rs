//! The rows of the table of errors that are about looks at desktops.

use hyper::StatusCode;

use super::error::Row;
use crate::desktop::LookError;

/// Whoever reads this is a teacher: what the operator has to do is in the log.
pub(super) fn row(error: &LookError) -> Row {
    let (status, code, detail) = match error {
        LookError::NoNotice => (
            StatusCode::CONFLICT,
            "no_notice",
            "Desktops of this kind cannot tell their users that somebody looks, so nobody can. Ask your administrator.",
        ),
        LookError::NotShown(_) | LookError::NotRun(_) => (
            StatusCode::BAD_GATEWAY,
            "not_told",
            "The desktop did not tell its user that you look, so you cannot.",
        ),
        LookError::Watched => (
            StatusCode::CONFLICT,
            "look_taken",
            "Somebody is looking at this desktop already.",
        ),
        LookError::Elsewhere => (
            StatusCode::CONFLICT,
            "look_elsewhere",
            "You are looking at another desktop. End that first.",
        ),
    };
    Row::new(status, code, detail)
}
