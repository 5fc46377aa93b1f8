//! What the queries of the lists of admins mean, for the API and for the pages alike.

use hyper::Uri;

use super::{Asked, Page, audit, containers, page, said, sessions, users};
use crate::respond::error::HttpError;
use crate::store::audit::Filter;
use crate::store::overview::{DesktopFilter, DesktopOrder, Sort, UserFilter, UserOrder};

/// Which desktops, in which order.
pub fn desktops(uri: &Uri) -> Result<(DesktopFilter, Sort<DesktopOrder>, Page), HttpError> {
    let Asked(query) = Asked::<containers::Query>::of(uri)?;
    query.wanted()
}

/// Which users, in which order.
pub fn users(uri: &Uri) -> Result<(UserFilter, Sort<UserOrder>, Page), HttpError> {
    let Asked(query) = Asked::<users::Query>::of(uri)?;
    query.wanted()
}

/// Whose sessions.
pub fn sessions(uri: &Uri) -> Result<(Option<String>, Page), HttpError> {
    let Asked(query) = Asked::<sessions::Query>::of(uri)?;
    let page = page(query.limit, query.offset)?;
    Ok((said(query.user), page))
}

/// Which entries of the audit log, and how many.
pub fn audit(uri: &Uri) -> Result<(Filter, u32), HttpError> {
    let Asked(query) = Asked::<audit::Query>::of(uri)?;
    query.wanted()
}
