//! Desktops under a host of their own: the way there, what each host serves, and what its cookies are worth.

use futures_util::StreamExt;
use hyper::{Method, StatusCode};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::support::browser::{Answer, Browser, HOST, ORIGIN};
use crate::support::gateway::{PATIENCE, TestGateway};

const DESKTOPS_HOST: &str = "desktops.test";
const DESKTOPS: &str = "https://desktops.test";
const SESSION: &str = "__Host-Http-session";
const DESKTOP: &str = "__Host-Http-desktop";
const PAGE: &[(&str, &str)] = &[
    ("accept", "text/html,*/*"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
];

/// A gateway with two hosts, a pupil's session, and the pupil's running desktop.
struct Setting {
    gateway: TestGateway,
    session: String,
    id: String,
    /// `/desktop/<id>`
    root: String,
    program: Browser,
}

impl Setting {
    async fn new() -> Self {
        let gateway = TestGateway::start_with(&[("DESKTOP_ORIGIN", DESKTOPS)]).await;
        let session = gateway.session("pupil").await;
        let mut program = gateway
            .browser()
            .with("authorization", &format!("Bearer {session}"));
        let container = gateway.running_desktop(&mut program).await;
        let id = container["id"].as_str().unwrap().to_owned();
        Self {
            root: format!("/desktop/{id}"),
            gateway,
            session,
            id,
            program,
        }
    }

    fn portal(&self) -> Browser {
        self.gateway.browser().with_cookie(SESSION, &self.session)
    }

    /// A browser as the other host sees it: with no cookie yet.
    fn desktops(&self) -> Browser {
        self.gateway.browser().at(DESKTOPS_HOST)
    }

    /// Goes the way from the portal up to the address with the ticket.
    async fn ticket(&self, portal: &mut Browser, desktops: &mut Browser) -> String {
        let away = open(portal, &format!("{}/?a=b", self.root)).await;
        let ask = on_to(&away, DESKTOPS);
        assert!(ask.starts_with("/ticket?to=%2Fdesktop%2F"), "{ask}");
        let back = open(desktops, &ask).await;
        let ask = on_to(&back, ORIGIN);
        assert!(ask.starts_with("/ticket?browser="), "{ask}");
        let away = open(portal, &ask).await;
        assert_eq!(away.header("referrer-policy"), Some("no-referrer"));
        let ticket = on_to(&away, DESKTOPS);
        assert!(ticket.starts_with("/ticket/"), "{ticket}");
        assert!(!ticket.contains(&self.session));
        ticket
    }

    /// A browser that has got into the desktop.
    async fn inside(&self) -> Browser {
        let mut desktops = self.desktops();
        let ticket = self.ticket(&mut self.portal(), &mut desktops).await;
        let entered = open(&mut desktops, &ticket).await;
        assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text());
        desktops
    }
}

async fn open(browser: &mut Browser, path: &str) -> Answer {
    browser.send(Method::GET, path, PAGE, "").await
}

/// The path of a redirect that must lead to `origin`.
fn on_to(answer: &Answer, origin: &str) -> String {
    assert_eq!(answer.status, StatusCode::FOUND, "{}", answer.text());
    let to = answer.header("location").expect("a redirect");
    let path = to.strip_prefix(origin).filter(|path| path.starts_with('/'));
    path.unwrap_or_else(|| panic!("{to} is not on {origin}"))
        .to_owned()
}

#[tokio::test]
async fn the_portal_leads_its_person_over_and_the_desktop_appears_there() {
    let setting = Setting::new().await;
    let mut desktops = setting.desktops();
    let ticket = setting.ticket(&mut setting.portal(), &mut desktops).await;
    let entered = open(&mut desktops, &ticket).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER);
    assert_eq!(
        entered.header("location"),
        Some(&*format!("{}/?a=b", setting.root))
    );
    assert_eq!(entered.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(entered.header("cache-control"), Some("no-store"));
    let set: Vec<_> = entered.headers.get_all("set-cookie").iter().collect();
    assert_eq!(set.len(), 1);
    let set = set[0].to_str().unwrap();
    for part in [DESKTOP, "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(
        !set.contains("Domain") && !set.contains(&setting.session),
        "{set}"
    );

    let entry = open(&mut desktops, &format!("{}/?a=b", setting.root)).await;
    assert_eq!(
        entry.header("location"),
        Some(&*format!(
            "{}/?path=desktop/{}/websockify&reconnect=true&resize=remote",
            setting.root, setting.id
        ))
    );
    let file = desktops.get(&format!("{}/app.js", setting.root)).await;
    assert_eq!(file.status, StatusCode::OK, "{}", file.text());
    let policy = file.header("content-security-policy").unwrap();
    assert!(
        policy.contains(&format!("connect-src {DESKTOPS}{}/", setting.root)),
        "{policy}"
    );
    assert!(!policy.contains(HOST), "{policy}");

    let container = setting
        .program
        .clone()
        .get("/api/container/status")
        .await
        .json();
    assert_eq!(container["url"], format!("{ORIGIN}{}/", setting.root));
    let seen = setting
        .gateway
        .desktop(&container["container"])
        .requests()
        .pop()
        .unwrap();
    assert_eq!(seen.header("Host"), Some(DESKTOPS_HOST));
    assert_eq!(seen.header("X-Forwarded-Host"), Some(DESKTOPS_HOST));
    assert_eq!(seen.header("X-Forwarded-Proto"), Some("https"));
    assert!(!seen.has_header("cookie"), "{}", seen.text());
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_ticket_is_good_once_in_its_own_browser_and_while_its_session_lives() {
    let mut setting = Setting::new().await;
    let (mut portal, mut desktops) = (setting.portal(), setting.desktops());
    let ticket = setting.ticket(&mut portal, &mut desktops).await;
    let refused = |answer: &Answer| {
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::FORBIDDEN, "ticket_invalid")
        );
        assert_eq!(answer.header("set-cookie"), None);
    };
    // Somebody who was sent the address, with a secret of their own and without.
    refused(&setting.desktops().get(&ticket).await);
    let mut other = setting.desktops();
    setting.ticket(&mut portal, &mut other).await;
    refused(&other.get(&ticket).await);
    // Changed anywhere, or made by somebody else.
    for at in ["/ticket/".len(), ticket.len() / 2, ticket.len() - 1] {
        let mut forged = ticket.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        refused(&desktops.get(std::str::from_utf8(&forged).unwrap()).await);
    }
    refused(&desktops.get("/ticket/AAAA").await);
    assert_eq!(
        desktops.send(Method::HEAD, &ticket, &[], "").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );

    assert_eq!(desktops.get(&ticket).await.status, StatusCode::SEE_OTHER);
    refused(&desktops.get(&ticket).await);
    let page = open(&mut desktops, &ticket).await;
    assert!(
        page.text().contains(&format!("href=\"{ORIGIN}/\"")),
        "{}",
        page.text()
    );

    let late = setting.ticket(&mut portal, &mut desktops).await;
    setting.program.post("/logout", "").await;
    refused(&desktops.get(&late).await);
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_ticket_is_for_ones_own_desktop_and_leads_nowhere_else() {
    let setting = Setting::new().await;
    let browser = "0".repeat(64);
    let stranger = setting.gateway.session("stranger").await;
    let mut stranger = setting.gateway.browser().with_cookie(SESSION, &stranger);
    let own = format!("/ticket?browser={browser}&to={}/", setting.root);
    assert_eq!(
        open(&mut stranger, &own).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        open(&mut stranger, &format!("{}/", setting.root))
            .await
            .status,
        StatusCode::NOT_FOUND
    );
    let mut portal = setting.portal();
    for to in [
        "/",
        "/api/container/list",
        "//evil.test/",
        "https://evil.test/",
        "",
    ] {
        let ask = format!("/ticket?browser={browser}&to={to}");
        assert_eq!(
            open(&mut portal, &ask).await.status,
            StatusCode::NOT_FOUND,
            "{to}"
        );
        let ask = format!("/ticket?to={to}");
        assert_eq!(
            open(&mut setting.desktops(), &ask).await.status,
            StatusCode::NOT_FOUND,
            "{to}"
        );
    }
    for wrong in ["", "x", &"g".repeat(64)] {
        let ask = format!("/ticket?browser={wrong}&to={}/", setting.root);
        assert_eq!(
            open(&mut portal, &ask).await.status,
            StatusCode::NOT_FOUND,
            "{wrong}"
        );
    }
    // A script gets none, whatever it says that it wants.
    for dest in ["empty", "iframe", "image"] {
        let headers = [("accept", "text/html"), ("sec-fetch-dest", dest)];
        for path in [&own, &format!("{}/", setting.root)] {
            let answer = portal.send(Method::GET, path, &headers, "").await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("location")),
                (421, None),
                "{dest}"
            );
        }
    }
    setting.gateway.stop().await;
}

#[tokio::test]
async fn each_host_serves_its_own_and_takes_its_own_cookie() {
    let setting = Setting::new().await;
    let inside = setting.inside().await;
    let cookie = inside.cookie(DESKTOP).unwrap().to_owned();

    let mut both = inside.clone().with_cookie(SESSION, &setting.session);
    for path in [
        "/",
        "/login",
        "/authorize",
        "/session",
        "/api",
        "/api/container/list",
        "/api/templates",
        "/assets/home.js",
        "/favicon.ico",
        "/openapi.json",
        "/docs",
        "/desktop/",
        "/nothing",
    ] {
        let answer = both.get(path).await;
        assert_eq!(
            (answer.status, &*answer.code()),
            (StatusCode::NOT_FOUND, "not_found"),
            "{path}"
        );
    }
    for path in ["/logout", "/api/container/start", "/login"] {
        assert_eq!(
            both.post(path, "{}").await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(both.get(path).await.status, StatusCode::OK, "{path}");
    }

    let file = format!("{}/app.js", setting.root);
    let mut portal_cookie = setting.desktops().with_cookie(SESSION, &setting.session);
    assert_eq!(portal_cookie.get(&file).await.code(), "not_signed_in");
    let mut planted = setting.desktops().with_cookie(DESKTOP, &setting.session);
    assert_eq!(planted.get(&file).await.code(), "not_signed_in");
    let mut desktop_cookie = setting.gateway.browser().with_cookie(DESKTOP, &cookie);
    for path in ["/session", "/api/container/list", &*file] {
        assert_eq!(
            desktop_cookie.get(path).await.code(),
            "not_signed_in",
            "{path}"
        );
    }
    let mut as_session = setting.gateway.browser().with_cookie(SESSION, &cookie);
    assert_eq!(as_session.get("/session").await.code(), "not_signed_in");

    // Programs ask where desktops are.
    let mut program = setting.program.clone();
    assert_eq!(program.get(&file).await.code(), "desktop_origin");
    assert_eq!(
        program.clone().at(DESKTOPS_HOST).get(&file).await.status,
        StatusCode::OK
    );
    let mut nobody = setting.gateway.browser().at("elsewhere.test");
    for path in ["/", &*file, "/ticket?to=/"] {
        assert_eq!(nobody.get(path).await.code(), "unknown_host", "{path}");
    }
    setting.gateway.stop().await;
}

#[tokio::test]
async fn with_one_origin_there_are_no_tickets() {
    let gateway = TestGateway::start().await;
    for path in ["/ticket", "/ticket/AAAA", "/ticket?to=/desktop/"] {
        assert_eq!(
            gateway.browser().get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_person_has_to_be_told_the_portal_tells() {
    let mut setting = Setting::new().await;
    let page = format!("{}/?path=x", setting.root);
    // Not signed in there: the portal knows more, and its login comes back to the same place.
    let ask = on_to(&open(&mut setting.desktops(), &page).await, ORIGIN);
    let login = open(&mut setting.gateway.browser(), &ask).await;
    let login = login.header("location").unwrap().to_owned();
    assert!(
        login.starts_with("/login?return_to=%2Fticket%3Fbrowser%3D"),
        "{login}"
    );
    let mut stranger = setting.gateway.browser();
    let welcome = stranger
        .log_in("student", login.split_once('=').unwrap().1)
        .await;
    assert_eq!(welcome.header("location"), Some(&*ask));
    // The browser was another person's before.
    let mut inside = setting.inside().await;
    let foreign = format!(
        "/desktop/{}/",
        "0".repeat(8) + "-0000-4000-8000-000000000000"
    );
    on_to(&open(&mut inside, &foreign).await, ORIGIN);
    assert_eq!(inside.get(&foreign).await.status, StatusCode::NOT_FOUND);

    let (mut portal, mut asking) = (setting.portal(), setting.desktops());
    let ask = on_to(&open(&mut asking, &page).await, ORIGIN);
    setting.program.post("/api/container/stop", "").await;
    let waiting = open(&mut inside, &page).await;
    assert_eq!(on_to(&waiting, ORIGIN), page);
    assert_eq!(inside.get(&page).await.code(), "desktop_not_running");
    let waiting = open(&mut portal, &page).await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(waiting.text().contains("data-testid=\"waiting\""));
    assert_eq!(
        open(&mut portal, &ask).await.header("location"),
        Some(&*page)
    );
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_stream_needs_the_origin_of_its_host_and_ends_with_the_session() {
    let mut setting = Setting::new().await;
    let cookie = setting.inside().await.cookie_header();
    let portal_cookie = format!("{SESSION}={}", setting.session);
    let socket = format!("{}/websockify", setting.root);
    let open = async |host: &str, path: &str, origin: &str, cookie: &str| {
        let mut request = format!("ws://{host}{path}").into_client_request().unwrap();
        for (name, value) in [
            ("origin", origin),
            ("cookie", cookie),
            ("sec-websocket-protocol", "binary"),
        ] {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let tcp = TcpStream::connect(setting.gateway.addr).await.unwrap();
        match tokio_tungstenite::client_async(request, tcp).await {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    };
    for (host, path, origin, cookie, expected) in [
        (DESKTOPS_HOST, &*socket, ORIGIN, &cookie, 403),
        (DESKTOPS_HOST, &socket, "null", &cookie, 403),
        (
            DESKTOPS_HOST,
            &socket,
            "https://desktops.test:444",
            &cookie,
            403,
        ),
        (DESKTOPS_HOST, &socket, DESKTOPS, &portal_cookie, 401),
        (HOST, &socket, ORIGIN, &portal_cookie, 421),
        (HOST, &socket, DESKTOPS, &cookie, 401),
        (HOST, "/api/container/events", DESKTOPS, &portal_cookie, 403),
        (
            DESKTOPS_HOST,
            "/api/container/events",
            DESKTOPS,
            &cookie,
            404,
        ),
    ] {
        let got = open(host, path, origin, cookie).await.err();
        assert_eq!(got, Some(expected), "{host}{path} from {origin}");
    }
    let mut stream = open(DESKTOPS_HOST, &socket, DESKTOPS, &cookie)
        .await
        .expect("it opens");
    assert!(stream.next().await.is_some());
    let begun = tokio::time::Instant::now();
    assert_eq!(
        setting.program.post("/logout", "").await.status,
        StatusCode::OK
    );
    let ended = async { while let Some(Ok(_)) = stream.next().await {} };
    tokio::time::timeout(PATIENCE, ended)
        .await
        .expect("it ends");
    assert!(begun.elapsed().as_millis() < 1000, "{:?}", begun.elapsed());
    let after = open(DESKTOPS_HOST, &socket, DESKTOPS, &cookie).await.err();
    assert_eq!(after, Some(401));
    setting.gateway.stop().await;
}

#[tokio::test]
async fn a_ticket_works_at_another_gateway_of_the_installation() {
    let setting = Setting::new().await;
    let (mut portal, mut desktops) = (setting.portal(), setting.desktops());
    let ticket = setting.ticket(&mut portal, &mut desktops).await;
    let Setting { gateway, root, .. } = setting;
    let other = gateway.killed_and_started_again().await;
    let mut there = desktops;
    there.gateway = other.addr;
    assert_eq!(there.get(&ticket).await.status, StatusCode::SEE_OTHER);
    let file = format!("{root}/app.js");
    assert_ne!(there.get(&file).await.status, StatusCode::UNAUTHORIZED);
    other.stop().await;
}

#[tokio::test]
async fn a_start_by_form_leads_over_without_a_redirect_of_the_form() {
    let set = Setting::new().await;
    let mut portal = set.portal().with("accept", "text/html");
    let home = portal.send(Method::GET, "/", PAGE, "").await.text();
    let (_, rest) = home.split_once("name=\"csrf_token\" value=\"").unwrap();
    let token = rest.split('"').next().unwrap();
    let form = format!("csrf_token={token}&template=desktop");
    let opened = portal.send(Method::POST, "/open", PAGE, &form).await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text());
    let refresh = format!("0; url={}/", set.root);
    assert_eq!(opened.header("refresh"), Some(&*refresh));
    set.gateway.stop().await;
}
