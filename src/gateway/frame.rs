//! The page around a desktop that has an origin of its own. It exists where the portal's host and that of desktops are of
//! one site, since only there the browser sends the desktop's cookie into a frame; elsewhere, and on a single origin,
//! where a desktop in a frame could reach into our page, a desktop has a tab to itself.

use hyper::header::{HeaderMap, UPGRADE};
use hyper::{Method, StatusCode};

use super::{Gateway, pages};
use crate::authn::Authenticated;
use crate::authn::origin::{Origin, Side};
use crate::authz::grant::DesktopGrant;
use crate::portal::{self, Frame};
use crate::request::{Request, RequestContext, Response};
use crate::respond::{html, security};

/// The query that asks for the desktop in a tab to itself.
const BARE: &str = "frame=off";

/// Whether the browser loads this into a frame of a page of the same site. No script can forge what it says (Fetch
/// Metadata); a page of another site has no session here either, since the cookies are not sent along.
fn is_framed(context: &RequestContext, request: &Request) -> bool {
    let says = |name: &str, words: &[&str]| {
        let value = request.headers().get(name);
        value.is_some_and(|value| words.iter().any(|word| value == word))
    };
    context.wants_page
        && request.method() == Method::GET
        && !request.headers().contains_key(UPGRADE)
        && says("sec-fetch-dest", &["iframe"])
        && says("sec-fetch-mode", &["navigate"])
        && says("sec-fetch-site", &["same-site", "same-origin"])
}

/// Whether this visit asks for the page, by its path below the desktop and its query.
fn asks_for_frame(rest: &str, query: Option<&str>) -> bool {
    rest == "/" && query != Some(BARE)
}

/// Without the word that is for the portal alone.
pub(super) fn without_word(path: &str) -> &str {
    path.strip_suffix(&format!("?{BARE}")[..]).unwrap_or(path)
}

impl Gateway {
    /// Whether somebody opens a desktop, or the way to one: in a tab, or in the frame on our page.
    pub(super) fn opens(&self, context: &RequestContext, request: &Request) -> bool {
        let frames = self.authenticator.origin().framed_by().is_some();
        pages::is_visit(context, request) || (frames && is_framed(context, request))
    }

    /// The page, where there may be one. Its policy lets nothing into the frame but this desktop and the way to it, so the
    /// desktop cannot lead the frame to anybody's copy of a login page either.
    pub(super) fn frame(
        &self,
        context: &RequestContext,
        request: &Request,
        (who, grant, rest): (&Authenticated, &DesktopGrant, &str),
    ) -> Option<Response> {
        let origin = self.authenticator.origin();
        let portal = origin.framed_by()?.as_str();
        let query = request.uri().query();
        if !asks_for_frame(rest, query) {
            return None;
        }
        let (desktops, desktop) = (origin.desktops().as_str(), grant.desktop());
        let here = format!("{desktops}/desktop/{}/", desktop.id);
        let address = query.map_or_else(|| here.clone(), |query| format!("{here}?{query}"));
        let session = who.session().ok().filter(|_| pages::is_document(request));
        let token = session.map(|session| origin.csrf_token(&session.hash));
        let titles = &desktop.template.title;
        let page = Frame {
            lang: context.lang,
            desktop_id: &desktop.id.to_string(),
            title: context.lang.pick(&titles.de, &titles.en),
            address: &address,
            csrf_token: token.as_deref(),
        };
        let mut response = html(StatusCode::OK, portal::frame(&page));
        let sources = format!("{here} {desktops}/ticket {portal}/ticket");
        security::hold_frame(response.headers_mut(), &sources);
        Some(response)
    }

    /// An error of the desktops' host may be shown where the desktop would be.
    pub(super) fn show_in_frame(&self, side: Side, headers: &mut HeaderMap) {
        let portal = self.authenticator.origin().framed_by();
        if let Some(portal) = portal.filter(|_| side == Side::Desktops) {
            security::appear_in(headers, Origin::as_str(portal));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_at_the_bare_address_unless_somebody_wants_none() {
        for (rest, query, expected) in [
            ("/", None, true),
            ("/", Some("a=b"), true),
            ("/", Some("frame=off"), false),
            ("/vnc.html", None, false),
        ] {
            assert_eq!(asks_for_frame(rest, query), expected, "{rest} {query:?}");
        }
        assert_eq!(without_word("/desktop/1/?frame=off"), "/desktop/1/");
        assert_eq!(without_word("/desktop/1/?a=b"), "/desktop/1/?a=b");
    }
}
