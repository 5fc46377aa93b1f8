//! Where a request goes: path and method to [`Route`], and the checks of a request's head that come
//! before everything else. Pure.

use hyper::header::{self, HeaderMap, HeaderName};
use hyper::{Method, Request, Version};

use crate::model::id::DesktopId;
use crate::portal::Section;
use crate::respond::error::HttpError;
use crate::stream::guard::{self, Refusal};

/// Largest sum of cookie headers, bytes. A desktop's script could fill the browser's jar.
const MAX_COOKIES: usize = 8 * 1024;

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");

/// Longest method, bytes. The longest that is registered has 17.
const MAX_METHOD: usize = 32;

/// The log's word for [`Route::Ticket`], whose path is a secret.
pub const TICKET: &str = "ticket";

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    /// Something of a desktop; `rest` begins with a slash.
    Desktop {
        /// Which.
        id: DesktopId,
        /// The path below `/desktop/<id>`.
        rest: &'a str,
    },
    /// `/desktop/<id>` without its slash.
    DesktopRoot(DesktopId),
    /// The way to the desktops' own host: asks for a ticket, or brings one.
    Ticket(Option<&'a str>),
    /// The control plane.
    Api,
    /// The start page.
    Home,
    /// `/account`
    Account,
    /// `/class`: classes, for teachers.
    Class,
    /// A pupil's desktop, for a teacher.
    Look,
    /// `/admin` and what is below it.
    Admin(Section),
    /// `/open`: starts a desktop and goes there.
    Open,
    /// `/language`: keeps the choice of one.
    Language,
    /// `/login`
    Login,
    /// `/authorize`
    Authorize,
    /// `/session`
    Session,
    /// `/logout`
    Logout,
    /// `/backchannel-logout`, for the provider.
    BackchannelLogout,
    /// `/frontchannel-logout`, for the provider's pages.
    FrontchannelLogout,
    /// A file of the portal.
    Asset(&'a str),
    /// `/openapi.json`: what all of this is.
    Description,
    /// `/docs`: the same as a page.
    Docs,
    /// The process lives.
    Live,
    /// The process can do its work.
    Ready,
}

impl<'a> Route<'a> {
    /// The route of `path`. Reads bytes as they are: what is encoded in an odd way is not found.
    ///
    /// # Errors
    /// [`HttpError::NotFound`] for a path that leads nowhere, [`HttpError::Method`] for a wrong method.
    pub fn parse(method: &Method, path: &'a str) -> Result<Self, HttpError> {
        let reading = || allow(method, &[Method::GET, Method::HEAD], "GET, HEAD");
        if let Some(rest) = path.strip_prefix("/desktop/") {
            return Self::desktop(rest);
        }
        if path == "/api" || path.starts_with("/api/") {
            return Ok(Self::Api);
        }
        if let Some(name) = path.strip_prefix("/assets/") {
            return reading().map(|()| Self::Asset(name));
        }
        if let Some(ticket) = path.strip_prefix("/ticket/") {
            return reading().map(|()| Self::Ticket(Some(ticket)));
        }
        if let Some(section) = Section::at(path) {
            let route = Self::Admin(section);
            return if section.has_forms() {
                let allowed = [Method::GET, Method::HEAD, Method::POST];
                allow(method, &allowed, "GET, HEAD, POST").map(|()| route)
            } else {
                reading().map(|()| route)
            };
        }
        let route = match path {
            "/" => Self::Home,
            "/account" => Self::Account,
            "/language" => Self::Language,
            "/open" | "/class" => {
                let allowed = [Method::GET, Method::HEAD, Method::POST];
                let route = if path == "/open" {
                    Self::Open
                } else {
                    Self::Class
                };
                return allow(method, &allowed, "GET, HEAD, POST").map(|()| route);
            }
            "/class/look" => Self::Look,
            "/ticket" => Self::Ticket(None),
            "/login" => Self::Login,
            "/authorize" => Self::Authorize,
            "/session" => Self::Session,
            "/openapi.json" => Self::Description,
            "/docs" => Self::Docs,
            "/healthz" => Self::Live,
            "/readyz" => Self::Ready,
            "/favicon.ico" => Self::Asset("favicon.svg"),
            "/frontchannel-logout" => Self::FrontchannelLogout,
            "/backchannel-logout" => {
                return allow(method, &[Method::POST], "POST").map(|()| Self::BackchannelLogout);
            }
            "/logout" => return allow(method, &[Method::POST], "POST").map(|()| Self::Logout),
            _ => return Err(HttpError::NotFound),
        };
        reading().map(|()| route)
    }

    fn desktop(rest: &'a str) -> Result<Self, HttpError> {
        let (id, rest) = match rest.find('/') {
            Some(slash) => (&rest[..slash], Some(&rest[slash..])),
            None => (rest, None),
        };
        let id = id.parse().map_err(|_| HttpError::NotFound)?;
        Ok(match rest {
            Some(rest) => Self::Desktop { id, rest },
            None => Self::DesktopRoot(id),
        })
    }

    /// Whether probes may ask under any host name.
    #[must_use]
    pub const fn is_health(&self) -> bool {
        matches!(self, Self::Live | Self::Ready)
    }

    /// Whether it is the same for everybody, and changes with the program only.
    #[must_use]
    pub const fn is_file(&self) -> bool {
        matches!(self, Self::Asset(_) | Self::Description | Self::Docs)
    }

    /// Whether it leads to a desktop: all that a host of their own serves.
    #[must_use]
    pub const fn is_desktop(&self) -> bool {
        matches!(
            self,
            Self::Desktop { .. } | Self::DesktopRoot(_) | Self::Ticket(_)
        )
    }

    /// A word for the log.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Desktop { .. } | Self::DesktopRoot(_) => "desktop",
            Self::Ticket(_) => TICKET,
            Self::Api => "api",
            Self::Home
            | Self::Account
            | Self::Class
            | Self::Look
            | Self::Admin(_)
            | Self::Open
            | Self::Language => "page",
            Self::Login
            | Self::Authorize
            | Self::Session
            | Self::Logout
            | Self::BackchannelLogout
            | Self::FrontchannelLogout => "auth",
            Self::Asset(_) | Self::Description | Self::Docs => "asset",
            Self::Live | Self::Ready => "health",
        }
    }
}

fn allow(method: &Method, allowed: &[Method], text: &'static str) -> Result<(), HttpError> {
    if allowed.contains(method) {
        Ok(())
    } else {
        Err(HttpError::Method(text))
    }
}

/// Refuses a head that two readers could understand differently (RFC 9112 sections 3.2 and 6.3), and one that
/// is too large. The cookies of a WebSocket may be: a script can fill the jar for its path alone, where no page
/// is, and browsers heed Clear-Site-Data on pages only.
pub fn check_head<B>(request: &Request<B>) -> Result<(), HttpError> {
    let headers = request.headers();
    let (mut lengths, mut codings, mut cookies) = (0, 0, 0);
    let (mut chunked, mut upgrade) = (true, false);
    for (name, value) in headers {
        match *name {
            header::CONTENT_LENGTH => lengths += 1,
            header::TRANSFER_ENCODING => {
                codings += 1;
                chunked &= value.as_bytes().eq_ignore_ascii_case(b"chunked");
            }
            header::COOKIE => cookies += value.len(),
            header::UPGRADE => upgrade = true,
            _ => {}
        }
    }
    if lengths > 1 || (lengths == 1 && codings > 0) {
        return Err(HttpError::Malformed("the length of the body is ambiguous"));
    }
    if codings > 1 || !chunked {
        return Err(HttpError::Malformed(
            "only chunked is understood as a transfer coding",
        ));
    }
    let method = request.method();
    if matches!(*method, Method::CONNECT | Method::TRACE) || method.as_str().len() > MAX_METHOD {
        return Err(HttpError::Method("GET, HEAD, POST"));
    }
    if !request.uri().path().starts_with('/') {
        return Err(HttpError::Malformed("the target is not a path"));
    }
    if cookies > MAX_COOKIES && !upgrade {
        return Err(HttpError::CookiesTooLarge);
    }
    if request.version() >= Version::HTTP_2 {
        check_size(headers)?;
    }
    Ok(())
}

/// What the guard of HTTP/1.1 has checked already: HTTP/2 has to read large heads for the cookies' sake.
fn check_size(headers: &HeaderMap) -> Result<(), HttpError> {
    let others = headers.iter().filter(|(name, _)| *name != header::COOKIE);
    let (count, bytes) = others.fold((0, 0), |(count, bytes), (name, value)| {
        (count + 1, bytes + name.as_str().len() + value.len() + 4)
    });
    if count > usize::from(guard::MAX_FIELDS) {
        return Err(Refusal::TooManyFields.into());
    }
    if bytes > guard::MAX_HEAD {
        return Err(Refusal::HeadTooLarge.into());
    }
    Ok(())
}

/// Whether the browser asks ahead of a visit that may never come: `Sec-Purpose` of the Fetch standard, which
/// no script can set, and its forerunner `Purpose`.
#[must_use]
pub fn is_prefetch(headers: &HeaderMap) -> bool {
    let purposes = [SEC_PURPOSE, PURPOSE].into_iter();
    let mut values = purposes.flat_map(|name| headers.get_all(name));
    values.any(|value| {
        let start = value.as_bytes().get(..b"prefetch".len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(b"prefetch"))
    })
}

/// Refuses a request for another host than `ours` (`name` or `name:port`).
pub fn check_host<B>(request: &Request<B>, ours: &str) -> Result<(), HttpError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = hosts.next();
    if hosts.next().is_some() || (request.version() < Version::HTTP_2 && named.is_none()) {
        return Err(HttpError::Malformed("it needs exactly one Host"));
    }
    let named = named.map(|value| value.to_str().unwrap_or("?"));
    let authority = request
        .uri()
        .authority()
        .map(hyper::http::uri::Authority::as_str);
    let mut all = named.into_iter().chain(authority).peekable();
    if all.peek().is_none() {
        return Err(HttpError::Malformed("it names no host"));
    }
    if all.all(|host| same_host(host, ours)) {
        Ok(())
    } else {
        Err(HttpError::Misdirected)
    }
}

fn same_host(host: &str, ours: &str) -> bool {
    let bare = |text| str::strip_suffix(text, ":443").unwrap_or(text);
    bare(host).eq_ignore_ascii_case(bare(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(
        build: impl FnOnce(hyper::http::request::Builder) -> hyper::http::request::Builder,
    ) -> Request<()> {
        build(Request::builder()).body(()).expect("a request")
    }

    #[test]
    fn routes() {
        let id = DesktopId::random();
        let root = format!("/desktop/{id}");
        let page = format!("/desktop/{id}/app/ui.js");
        for (path, expected) in [
            ("/", Route::Home),
            ("/login", Route::Login),
            ("/session", Route::Session),
            ("/class", Route::Class),
            ("/class/look", Route::Look),
            ("/admin", Route::Admin(Section::Overview)),
            ("/admin/audit", Route::Admin(Section::Audit)),
            ("/ticket", Route::Ticket(None)),
            ("/ticket/a-b_c", Route::Ticket(Some("a-b_c"))),
            ("/api/container/list", Route::Api),
            ("/api", Route::Api),
            ("/assets/home.js", Route::Asset("home.js")),
            (root.as_str(), Route::DesktopRoot(id)),
            (
                page.as_str(),
                Route::Desktop {
                    id,
                    rest: "/app/ui.js",
                },
            ),
        ] {
            assert_eq!(Route::parse(&Method::GET, path).expect(path), expected);
        }
        for path in [
            "/desktop/",
            "/desktop/x/",
            "/desktop",
            "/apix",
            "/tickets",
            "/admin/",
            "/admin/nothing",
            "/administrator",
            "//",
            "/%2e",
            "/desktop/../api/",
            "",
            "*",
        ] {
            assert!(
                matches!(Route::parse(&Method::GET, path), Err(HttpError::NotFound)),
                "{path}"
            );
        }
        assert!(matches!(
            Route::parse(&Method::GET, "/logout"),
            Err(HttpError::Method("POST"))
        ));
        assert!(matches!(
            Route::parse(&Method::POST, "/login"),
            Err(HttpError::Method(_))
        ));
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        assert!(check_head(&head(|r| r.uri("/"))).is_ok());
        for bad in [
            head(|r| {
                r.uri("/")
                    .header("content-length", "1")
                    .header("transfer-encoding", "chunked")
            }),
            head(|r| {
                r.uri("/")
                    .header("content-length", "1")
                    .header("content-length", "2")
            }),
            head(|r| r.uri("/").header("transfer-encoding", "gzip, chunked")),
            head(|r| {
                r.uri("/")
                    .header("transfer-encoding", "chunked")
                    .header("transfer-encoding", "chunked")
            }),
            head(|r| r.method("CONNECT").uri("x:1")),
            head(|r| r.method(&*"M".repeat(MAX_METHOD + 1)).uri("/")),
            head(|r| r.uri("/").header("cookie", "a".repeat(MAX_COOKIES + 1))),
        ] {
            assert!(check_head(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn large_heads_are_refused_but_for_the_cookies_of_a_websocket() {
        let jar = "a".repeat(700_000);
        let opening = |r: hyper::http::request::Builder| r.uri("/").header("upgrade", "websocket");
        assert!(check_head(&head(|r| opening(r).header("cookie", &jar))).is_ok());
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let full = head(|r| r.uri("/").version(version).header("cookie", &jar));
            let refused = check_head(&full);
            assert!(matches!(refused, Err(HttpError::CookiesTooLarge)));
        }
        let many = |count: usize| {
            head(|request| {
                let request = request.uri("/").version(Version::HTTP_2);
                (0..count).fold(request, |request, at| request.header(format!("x{at}"), "1"))
            })
        };
        assert!(check_head(&many(100)).is_ok());
        assert!(check_head(&many(101)).is_err());
        let long = |length| {
            let value = "x".repeat(length);
            head(|r| r.uri("/").version(Version::HTTP_2).header("x", value))
        };
        assert!(check_head(&long(30_000)).is_ok());
        assert!(check_head(&long(33_000)).is_err());
    }

    #[test]
    fn what_is_asked_ahead_of_a_visit_is_known() {
        for (name, value, expected) in [
            ("sec-purpose", "prefetch", true),
            ("sec-purpose", "prefetch;prerender", true),
            ("sec-purpose", "Prefetch; anonymous-client-ip", true),
            ("purpose", "prefetch", true),
            ("sec-purpose", "", false),
            ("x-purpose", "prefetch", false),
            ("sec-purpose", "other", false),
        ] {
            let asked = head(|request| request.uri("/").header(name, value));
            assert_eq!(is_prefetch(asked.headers()), expected, "{name}: {value}");
        }
    }

    #[test]
    fn hosts_are_compared_as_browsers_write_them() {
        let check = |host: &str, ours: &str| {
            check_host(&head(|r| r.uri("/").header("host", host)), ours).is_ok()
        };
        assert!(check("desk.example", "desk.example"));
        assert!(check("Desk.Example:443", "desk.example"));
        assert!(check("localhost:8443", "localhost:8443"));
        assert!(!check("localhost", "localhost:8443"));
        assert!(!check("evil.example", "desk.example"));
        assert!(check_host(&head(|r| r.uri("/")), "x").is_err(), "none");
        let two = head(|r| r.uri("/").header("host", "x").header("host", "x"));
        assert!(check_host(&two, "x").is_err(), "two");
        let absolute = head(|r| r.uri("https://evil.example/").header("host", "x"));
        assert!(check_host(&absolute, "x").is_err(), "contradicting");
    }
}
