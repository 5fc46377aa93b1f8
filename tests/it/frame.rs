//! The page around a desktop, where portal and desktops are of one site: what it says, the way of the frame in it, and
//! that nobody else may hold either of them in a frame.

use hyper::{Method, StatusCode};

use crate::support::browser::{Answer, Browser, ORIGIN};
use crate::support::gateway::TestGateway;

const DESKTOPS_HOST: &str = "desktops.desk.test";
const DESKTOPS: &str = "https://desktops.desk.test";
const SESSION: &str = "__Host-Http-session";
const DESKTOP: &str = "__Host-Http-desktop";
const TAB: &[(&str, &str)] = &[
    ("accept", "text/html,*/*"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-mode", "navigate"),
];

/// What a browser says when it loads a frame of a page on this site.
fn frame(site: &'static str) -> [(&'static str, &'static str); 4] {
    [
        ("accept", "text/html,*/*"),
        ("sec-fetch-dest", "iframe"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-site", site),
    ]
}

struct Setting {
    gateway: TestGateway,
    portal: Browser,
    desktops: Browser,
    /// `/desktop/<id>/`
    page: String,
}

impl Setting {
    async fn new(settings: &[(&str, &str)]) -> Self {
        let gateway = TestGateway::start_with(settings).await;
        let session = gateway.session("pupil").await;
        let mut program = gateway
            .browser()
            .with("authorization", &format!("Bearer {session}"));
        let container = gateway.running_desktop(&mut program).await;
        Self {
            portal: gateway.browser().with_cookie(SESSION, &session),
            desktops: gateway.browser().at(DESKTOPS_HOST),
            page: format!("/desktop/{}/", container["id"].as_str().unwrap()),
            gateway,
        }
    }

    async fn framed() -> Self {
        Self::new(&[("DESKTOP_ORIGIN", DESKTOPS)]).await
    }
}

async fn tab(browser: &mut Browser, path: &str) -> Answer {
    browser.send(Method::GET, path, TAB, "").await
}

async fn framed(browser: &mut Browser, path: &str) -> Answer {
    browser
        .send(Method::GET, path, &frame("same-site"), "")
        .await
}

/// The path of a redirect to `origin`.
fn on_to(answer: &Answer, origin: &str) -> String {
    let to = answer
        .header("location")
        .unwrap_or_else(|| panic!("{}: {}", answer.status, answer.text()));
    let path = to.strip_prefix(origin).filter(|path| path.starts_with('/'));
    path.unwrap_or_else(|| panic!("{to} is not on {origin}"))
        .to_owned()
}

fn policy(answer: &Answer) -> &str {
    answer.header("content-security-policy").expect("a policy")
}

#[tokio::test]
async fn the_portal_shows_a_desktop_in_a_frame_that_holds_nothing_else() {
    let mut set = Setting::framed().await;
    let page = tab(&mut set.portal, &set.page).await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text());
    let address = format!("{DESKTOPS}{}", set.page);
    let text = page.text();
    assert!(text.contains(&format!("src=\"{address}\"")), "{text}");
    assert!(text.contains("<meta name=\"csrf-token\""));
    let frames = format!("; frame-src {address} {DESKTOPS}/ticket {ORIGIN}/ticket");
    assert!(policy(&page).ends_with(&frames), "{}", policy(&page));
    assert!(policy(&page).contains("frame-ancestors 'none'"));
    assert_eq!(page.header("x-frame-options"), Some("DENY"));
    assert_eq!(
        page.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));

    let query = tab(&mut set.portal, &format!("{}?a=b", set.page)).await;
    assert!(query.text().contains(&format!("src=\"{address}?a=b\"")));
    // No script gets the page's token, and no page gets the page into a frame.
    let plain = [("accept", "text/html")];
    let unsaid = set.portal.send(Method::GET, &set.page, &plain, "").await;
    assert!(!unsaid.text().contains("csrf-token"));
    let inner = framed(&mut set.portal, &set.page).await;
    assert_eq!(inner.status, StatusCode::MISDIRECTED_REQUEST);

    // In a tab to itself: on wish, and for every other page of the desktop.
    for (path, to) in [
        (format!("{}?frame=off", set.page), set.page.clone()),
        (
            format!("{}vnc.html", set.page),
            format!("{}vnc.html", set.page),
        ),
    ] {
        let away = on_to(&tab(&mut set.portal, &path).await, DESKTOPS);
        let to = to.replace('/', "%2F");
        assert_eq!(away, format!("/ticket?to={to}"));
    }
    set.gateway.stop().await;
}

#[tokio::test]
async fn the_frame_finds_its_way_to_the_desktop() {
    let mut set = Setting::framed().await;
    let back = on_to(&framed(&mut set.desktops, &set.page).await, ORIGIN);
    assert!(back.starts_with("/ticket?browser="), "{back}");
    let ticket = on_to(&framed(&mut set.portal, &back).await, DESKTOPS);
    let entered = framed(&mut set.desktops, &ticket).await;
    assert_eq!(entered.status, StatusCode::SEE_OTHER, "{}", entered.text());
    assert!(set.desktops.cookie(DESKTOP).is_some());
    // The bare address leads to the entry page, as in a tab, and the desktop is held by the portal only.
    let entry = framed(&mut set.desktops, &set.page).await;
    let entry = entry.header("location").expect("the entry").to_owned();
    assert!(entry.starts_with(&format!("{}?path=", set.page)), "{entry}");
    let desktop = framed(&mut set.desktops, &entry).await;
    assert_eq!(desktop.status, StatusCode::OK, "{}", desktop.text());
    let ancestors = format!("frame-ancestors 'self' {ORIGIN}");
    assert!(
        policy(&desktop).ends_with(&ancestors),
        "{}",
        policy(&desktop)
    );
    assert!(policy(&desktop).starts_with("sandbox "));
    // In a tab it is there as well.
    assert_eq!(tab(&mut set.desktops, &entry).await.status, StatusCode::OK);

    // An error is shown in the frame, and its ways out lead out of it.
    let other = "/desktop/00000000-0000-4000-8000-000000000000/x";
    let error = set
        .desktops
        .send(
            Method::GET,
            other,
            &[("accept", "text/html"), ("sec-fetch-dest", "empty")],
            "",
        )
        .await;
    assert_eq!(error.status, StatusCode::NOT_FOUND);
    assert!(policy(&error).ends_with(&format!("frame-ancestors {ORIGIN}")));
    assert_eq!(error.header("x-frame-options"), None);
    assert!(
        error
            .text()
            .contains(&format!("href=\"{ORIGIN}/\" target=\"_top\""))
    );
    let at_portal = tab(&mut set.portal, "/nothing").await;
    assert_eq!(at_portal.header("x-frame-options"), Some("DENY"));
    assert!(policy(&at_portal).contains("frame-ancestors 'none'"));
    assert!(!at_portal.text().contains("_top"));
    set.gateway.stop().await;
}

#[tokio::test]
async fn a_frame_of_another_site_or_without_a_session_gets_nothing() {
    let mut set = Setting::framed().await;
    let back = on_to(&framed(&mut set.desktops.clone(), &set.page).await, ORIGIN);
    for site in ["cross-site", "none", ""] {
        let desktops = set
            .desktops
            .send(Method::GET, &set.page, &frame(site), "")
            .await;
        let portal = set.portal.send(Method::GET, &back, &frame(site), "").await;
        assert_eq!(desktops.status, StatusCode::UNAUTHORIZED, "{site}");
        assert_eq!(portal.status, StatusCode::MISDIRECTED_REQUEST, "{site}");
        assert_eq!(desktops.header("location"), None);
        assert_eq!(portal.header("location"), None);
    }
    // A script says `empty`, and no script can say anything else.
    let script = [
        ("accept", "text/html"),
        ("sec-fetch-dest", "empty"),
        ("sec-fetch-site", "same-site"),
    ];
    let answer = set.portal.send(Method::GET, &back, &script, "").await;
    assert_eq!(answer.header("location"), None);
    let mut stranger = set.gateway.browser();
    let answer = framed(&mut stranger, &back).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    set.gateway.stop().await;
}

#[tokio::test]
async fn without_a_common_site_or_on_wish_a_desktop_has_its_tab_to_itself() {
    for settings in [
        &[("DESKTOP_ORIGIN", DESKTOPS), ("DESKTOP_FRAME", "off")][..],
        &[("DESKTOP_ORIGIN", "https://desktops.test")],
    ] {
        let host = settings[0].1;
        let mut set = Setting::new(settings).await;
        let mut desktops = set.gateway.browser().at(&host["https://".len()..]);
        let away = on_to(&tab(&mut set.portal, &set.page).await, host);
        let back = on_to(&tab(&mut desktops, &away).await, ORIGIN);
        let ticket = on_to(&tab(&mut set.portal, &back).await, host);
        tab(&mut desktops, &ticket).await;
        let file = desktops.get(&format!("{}app.js", set.page)).await;
        assert!(
            policy(&file).ends_with("frame-ancestors 'self'"),
            "{}",
            policy(&file)
        );
        let answer = framed(&mut set.portal, &back).await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
        let bare = framed(
            &mut set.gateway.browser().at(&host["https://".len()..]),
            &set.page,
        )
        .await;
        assert_eq!(bare.status, StatusCode::UNAUTHORIZED);
        assert_eq!(bare.header("x-frame-options"), Some("DENY"));
        set.gateway.stop().await;
    }
}

#[tokio::test]
async fn on_a_single_origin_there_is_no_frame() {
    let mut set = Setting::new(&[]).await;
    let entry = tab(&mut set.portal, &set.page).await;
    let to = entry.header("location").expect("the entry").to_owned();
    let desktop = tab(&mut set.portal, &to).await;
    assert_eq!(desktop.status, StatusCode::OK);
    assert!(policy(&desktop).ends_with("frame-ancestors 'self'"));
    assert!(!desktop.text().contains("<iframe"));
    set.gateway.stop().await;
}
