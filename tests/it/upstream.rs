//! What the gateway makes of a desktop's bytes: answers that two readers could understand differently go no
//! further, connections are used again only where that is safe, and uploads and answers cross each other.

use std::time::Duration;

use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::browser::{Browser, HOST};
use crate::support::gateway::{TestGateway, eventually};
use crate::support::scripted::{Say, Scripted, end, say};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A gateway, its pupil, and the pupil's desktop, which follows `scripts` from now on.
async fn scripted(scripts: &[&[Say]]) -> (TestGateway, Browser, Scripted, String) {
    // Each worker has connections of its own.
    let gateway = TestGateway::start_with(&[("WORKERS", "1")]).await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let name = container["container_name"].as_str().unwrap();
    gateway.engine.take_desktop(name).stop().await;
    let port = container["host_port"].as_u64().unwrap();
    let desktop = Scripted::start(u16::try_from(port).unwrap(), scripts).await;
    let root = format!("/desktop/{}", container["id"].as_str().unwrap());
    (gateway, pupil, desktop, root)
}

#[tokio::test]
async fn an_ambiguous_answer_goes_no_further() {
    let bad = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok?",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nX: y\r\n folded: 2\r\n\r\nok",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "",
    ];
    let scripts: Vec<[Say; 1]> = bad.iter().map(|bytes| [end(bytes)]).collect();
    let scripts: Vec<&[Say]> = scripts.iter().map(|script| &script[..]).collect();
    let (gateway, mut pupil, desktop, root) = scripted(&scripts).await;
    for bytes in bad {
        let answer = pupil.get(&format!("{root}/x")).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{bytes:?}");
        assert_eq!(answer.code(), "desktop_failed", "{bytes:?}");
    }
    assert_eq!(desktop.seen().len(), bad.len(), "each is asked once");
    gateway.stop().await;
}

#[tokio::test]
async fn every_kind_of_answer_arrives_and_its_connection_is_used_again_if_that_is_safe() {
    let (gateway, mut pupil, desktop, root) = scripted(&[
        &[
            say(OK),
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3\r\n!!!\r\n0\r\nX: y\r\n\r\n"),
            say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
            say("HTTP/1.1 204 No Content\r\n\r\n"),
            say("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"),
            say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        ],
        &[say("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")],
        &[end("HTTP/1.1 200 OK\r\n\r\nuntil the end")],
        // Bytes behind an answer are nobody's.
        &[say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")],
        &[say(OK)],
    ])
    .await;
    for (method, status, body) in [
        (Method::GET, 200, "ok"),
        (Method::GET, 200, "ok!!!"),
        (Method::HEAD, 200, ""),
        (Method::GET, 204, ""),
        (Method::GET, 304, ""),
        (Method::GET, 200, "ok"),
        (Method::GET, 200, "ok"),
        (Method::GET, 200, "ok"),
        (Method::GET, 200, "until the end"),
        (Method::GET, 200, "ok"),
        (Method::GET, 200, "ok"),
    ] {
        let answer = pupil.send(method, &format!("{root}/x"), &[], "").await;
        assert_eq!((answer.status.as_u16(), &answer.text()[..]), (status, body));
        assert_eq!(answer.header("link"), None);
    }
    let heads: Vec<usize> = desktop.seen().iter().map(|seen| seen.heads).collect();
    assert_eq!(heads, [7, 1, 1, 1, 1]);
    gateway.stop().await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_passed_off_as_whole() {
    let scripts: [&[Say]; 4] = [
        &[end("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")],
        &[end(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        )],
        &[say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        )],
        &[say(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\n\r\n",
        )],
    ];
    let (gateway, mut pupil, desktop, root) = scripted(&scripts).await;
    let path = format!("{root}/x");
    for _ in scripts {
        let answer = pupil.try_send(Method::GET, &path, &[], "").await;
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(desktop.seen().len(), scripts.len());
    gateway.stop().await;
}

#[tokio::test]
async fn a_connection_that_a_desktop_has_given_up_costs_nobody_a_request() {
    let (gateway, mut pupil, desktop, root) = scripted(&[
        &[say(OK), end("")],
        &[say(OK), end("")],
        &[say(OK), end("HTTP/1.1 ")],
        &[say(OK)],
    ])
    .await;
    let path = format!("{root}/x");
    assert_eq!(pupil.get(&path).await.text(), "ok");
    assert_eq!(pupil.get(&path).await.text(), "ok", "asked again elsewhere");
    // Nobody knows what became of a request that changes something, and of one that was half answered.
    let changed = pupil.post(&path, "{}").await;
    assert_eq!(changed.status, StatusCode::BAD_GATEWAY);
    assert_eq!(pupil.get(&path).await.text(), "ok");
    assert_eq!(pupil.get(&path).await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(pupil.get(&path).await.text(), "ok");
    let heads: Vec<usize> = desktop.seen().iter().map(|seen| seen.heads).collect();
    assert_eq!(heads, [2, 2, 2, 1]);
    gateway.stop().await;
}

/// What a browser on a connection of its own sends and reads, in steps.
struct Raw(TcpStream);

impl Raw {
    async fn open(gateway: &TestGateway, root: &str, lines: &str) -> Self {
        let session = gateway.session("pupil").await;
        let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
        let head = format!(
            "POST {root}/x HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {session}\r\n{lines}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        Self(socket)
    }

    async fn read_until(&mut self, what: &str) -> String {
        let mut read = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&read).contains(what) {
                assert!(self.0.read_buf(&mut read).await.unwrap() > 0, "{read:?}");
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(10), reading).await;
        assert!(
            done.is_ok(),
            "no {what:?} in {:?}",
            String::from_utf8_lossy(&read)
        );
        String::from_utf8_lossy(&read).into_owned()
    }
}

#[tokio::test]
async fn uploads_go_as_they_come_and_may_be_answered_before_their_end() {
    let early = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n";
    let after = |after, bytes| Say {
        after,
        ..say(bytes)
    };
    let (gateway, _, desktop, root) = scripted(&[
        &[after(18, OK), after(5, OK), after(10, early)],
        &[after(
            5,
            "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
        )],
    ])
    .await;
    let mut browser = Raw::open(&gateway, &root, "Transfer-Encoding: chunked").await;
    browser.0.write_all(b"3\r\nabc\r\n").await.unwrap();
    eventually("the first part arrives", async || {
        desktop
            .seen()
            .first()
            .is_some_and(|seen| seen.text().ends_with("3\r\nabc\r\n"))
    })
    .await;
    browser
        .0
        .write_all(b"2\r\nde\r\n0\r\nX: y\r\n\r\n")
        .await
        .unwrap();
    assert!(browser.read_until("ok").await.starts_with("HTTP/1.1 200"));
    let mut browser = Raw::open(&gateway, &root, "Content-Length: 5").await;
    browser.0.write_all(b"abcde").await.unwrap();
    browser.read_until("ok").await;
    let seen = desktop.seen().remove(0);
    assert_eq!(seen.heads, 2, "{}", seen.text());
    assert!(
        seen.text()
            .contains("\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nPOST ")
    );
    assert!(seen.text().ends_with("Content-Length: 5\r\n\r\nabcde"));

    let mut browser = Raw::open(&gateway, &root, "Content-Length: 20").await;
    browser.0.write_all(b"0123456789").await.unwrap();
    browser.read_until("early").await;
    browser.0.write_all(b"abcdefghij").await.unwrap();
    eventually("the rest arrives as well", async || {
        desktop.seen()[0].text().ends_with("abcdefghij")
    })
    .await;
    // A browser that leaves takes the connection along.
    drop(browser);
    eventually("the connection is closed", async || desktop.seen()[0].left).await;

    // An answer that needs no more of the upload ends it, and the connection is not used again.
    let mut browser = Raw::open(&gateway, &root, "Content-Length: 2000000").await;
    browser.0.write_all(b"01234").await.unwrap();
    assert!(browser.read_until("no").await.starts_with("HTTP/1.1 413"));
    eventually("the connection is closed", async || desktop.seen()[1].left).await;
    gateway.stop().await;
}

#[tokio::test]
async fn what_is_under_way_ends_with_the_grant() {
    let (gateway, mut pupil, desktop, root) = scripted(&[
        &[say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")],
        &[say("")],
    ])
    .await;
    let mut reading = Raw::open(&gateway, &root, "Content-Length: 0").await;
    reading.read_until("part").await;
    let mut waiting = Raw::open(&gateway, &root, "Content-Length: 0").await;
    eventually("both are under way", async || {
        desktop.seen().get(1).is_some_and(|seen| seen.heads == 1)
    })
    .await;
    let stopped = pupil.post("/api/container/stop", "{}").await;
    assert_eq!(stopped.status, StatusCode::OK, "{}", stopped.text());
    let answer = waiting.read_until("desktop_ended").await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let mut rest = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(10), reading.0.read_to_end(&mut rest));
    assert!(end.await.is_ok(), "it is cut off");
    assert_eq!(rest, b"");
    eventually("both connections are closed", async || {
        desktop.seen().iter().all(|seen| seen.left)
    })
    .await;
    gateway.stop().await;
}
