//! The data plane from outside: WebSockets over HTTP/2, how streams end, what counts as input, what
//! balancers say, limits, and the take-over by another process.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use http_body_util::Empty;
use hyper::ext::Protocol;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::browser::{Browser, HOST, ORIGIN};
use crate::support::fake_desktop::GREETING;
use crate::support::gateway::{TestGateway, eventually};
use crate::support::h2::{H2, connect_h2, connect_websocket, start_over_h2, with_tls};
use crate::support::socket::{Socket, close_code, next, open_h1};

/// Opens a WebSocket inside an HTTP/2 connection (RFC 8441); `Err` is what was answered instead.
async fn open_h2(
    h2: &mut H2,
    path: &str,
    who: (&str, &str),
) -> Result<Socket<TokioIo<hyper::upgrade::Upgraded>>, StatusCode> {
    let stream = connect_websocket(h2, path, who).await?;
    Ok(WebSocketStream::from_raw_socket(stream, Role::Client, None).await)
}

/// The program of a session, and the path of a running desktop's WebSocket.
async fn desktop_of(gateway: &TestGateway, session: &str) -> (Browser, String, String) {
    let mut pupil = gateway
        .browser()
        .with("authorization", &format!("Bearer {session}"));
    let container = gateway.running_desktop(&mut pupil).await;
    let id = container["id"].as_str().unwrap().to_owned();
    let path = format!("/desktop/{id}/websockify");
    (pupil, id, path)
}

#[tokio::test]
async fn websockets_come_over_http_2_and_end_with_a_reason() {
    let directory = tempfile::TempDir::new().unwrap();
    let (gateway, cert) = with_tls(&directory).await;
    let session = gateway.session("pupil").await;
    let mut driver = JoinSet::new();
    let mut h2 = connect_h2(gateway.addr, &cert, &mut driver).await;
    let id = start_over_h2(&gateway, &mut h2, &session).await;
    let path = format!("/desktop/{id}/websockify");

    for (why, path, session, origin, expected) in [
        (
            "another origin",
            &*path,
            &*session,
            "https://evil.test",
            403,
        ),
        ("no session", &*path, "nobody", ORIGIN, 401),
        (
            "no such desktop",
            "/desktop/00000000-0000-4000-8000-000000000000/websockify",
            &*session,
            ORIGIN,
            404,
        ),
    ] {
        let answer = open_h2(&mut h2, path, (session, origin)).await;
        assert_eq!(
            answer.err().map(|status| status.as_u16()),
            Some(expected),
            "{why}"
        );
    }

    // One connection carries the picture of two tabs and the events.
    let mut first = open_h2(&mut h2, &path, (&session, ORIGIN)).await.unwrap();
    let mut second = open_h2(&mut h2, &path, (&session, ORIGIN)).await.unwrap();
    let mut events = open_h2(&mut h2, "/api/container/events", (&session, ORIGIN))
        .await
        .unwrap();
    assert_eq!(next(&mut first).await, Some(Message::binary(GREETING)));
    assert_eq!(next(&mut second).await, Some(Message::binary(GREETING)));
    assert!(matches!(next(&mut events).await, Some(Message::Text(_))));
    for size in [1, 126, 65_535] {
        first.send(Message::binary(vec![7; size])).await.unwrap();
        let mut back = 0;
        while back < size {
            let Some(Message::Binary(part)) = next(&mut first).await else {
                panic!("{size} bytes come back");
            };
            assert!(part.iter().all(|byte| *byte == 7));
            back += part.len();
        }
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{HOST}/logout"))
        .header("authorization", format!("Bearer {session}"))
        .body(Empty::new())
        .unwrap();
    h2.ready().await.unwrap();
    assert!(
        h2.send_request(request)
            .await
            .unwrap()
            .status()
            .is_success()
    );
    assert_eq!(close_code(&mut first).await, Some(CloseCode::Policy));
    assert_eq!(close_code(&mut second).await, Some(CloseCode::Policy));
    assert_eq!(close_code(&mut events).await, Some(CloseCode::Policy));
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_that_we_end_says_why() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let (mut pupil, _, path) = desktop_of(&gateway, &session).await;
    let mut socket = open_h1(&gateway, &path, &session).await;
    assert!(next(&mut socket).await.is_some());
    pupil.post("/api/container/stop", "{}").await;
    assert_eq!(close_code(&mut socket).await, Some(CloseCode::Away), "stop");

    let (mut pupil, _, path) = desktop_of(&gateway, &session).await;
    let mut socket = open_h1(&gateway, &path, &session).await;
    assert!(next(&mut socket).await.is_some());
    pupil.post("/logout", "").await;
    assert_eq!(
        close_code(&mut socket).await,
        Some(CloseCode::Policy),
        "logout"
    );

    let session = gateway.session("pupil").await;
    let (_, _, path) = desktop_of(&gateway, &session).await;
    let mut socket = open_h1(&gateway, &path, &session).await;
    assert!(next(&mut socket).await.is_some());
    // The drain time of the tests is one second, in which the stream goes on.
    let stopping = gateway.stop();
    let told = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        socket.send(Message::binary(vec![1; 10])).await.unwrap();
        assert_eq!(
            next(&mut socket).await,
            Some(Message::binary(vec![1; 10])),
            "it flows while the gateway drains"
        );
        tokio::time::sleep(Duration::from_millis(400)).await;
        close_code(&mut socket).await
    };
    let ((), code) = tokio::join!(stopping, told);
    assert_eq!(code, Some(CloseCode::Away), "the gateway stops");
}

#[tokio::test]
async fn only_a_persons_input_moves_last_input() {
    let gateway = TestGateway::start().await;
    let session = gateway.session("pupil").await;
    let (pupil, _, path) = desktop_of(&gateway, &session).await;
    let mut socket = open_h1(&gateway, &path, &session).await;
    let opening = b"RFB 003.008\n";
    socket.send(Message::binary(&opening[..])).await.unwrap();
    socket.send(Message::binary(vec![1, 1])).await.unwrap();
    // SetEncodings with one of KasmVNC's, update requests, a keep-alive.
    let encodings = [&[2, 0, 0, 1][..], &(-1026_i32).to_be_bytes()].concat();
    socket.send(Message::binary(encodings)).await.unwrap();
    let update = [3, 0, 0, 0, 0, 0, 0, 10, 0, 10];
    socket
        .send(Message::binary(update.repeat(3)))
        .await
        .unwrap();
    let seen = |name: &'static str| {
        let mut pupil = pupil.clone();
        async move {
            let status = pupil.get("/api/container/status").await.json();
            status["container"][name].clone()
        }
    };
    eventually("the traffic is recorded", || async {
        !seen("last_accessed").await.is_null()
    })
    .await;
    assert!(seen("last_input").await.is_null(), "nobody has typed yet");
    let key = [4, 1, 0, 0, 0, 0, 0, 0x61];
    socket.send(Message::binary(key.to_vec())).await.unwrap();
    eventually("the key is recorded", || async {
        !seen("last_input").await.is_null()
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_balancers_word_on_the_client_counts_if_the_balancer_is_trusted() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.0/8")];
    let gateway = TestGateway::start_with(&settings).await;
    let session = gateway.session("pupil").await;
    let (pupil, id, _) = desktop_of(&gateway, &session).await;
    let mut behind = pupil
        .clone()
        .with("x-forwarded-for", "198.51.100.7, 203.0.113.9, 127.0.0.5");
    behind.get(&format!("/desktop/{id}/")).await;
    let desktop_sees = |gateway: &TestGateway| {
        let desktop = gateway.engine.desktop(&gateway.engine.all()[0].0);
        let seen = desktop.requests().pop().unwrap();
        (
            seen.header("X-Forwarded-For").unwrap().to_owned(),
            seen.header("Forwarded").unwrap().to_owned(),
        )
    };
    assert_eq!(desktop_sees(&gateway).0, "203.0.113.9");
    assert!(desktop_sees(&gateway).1.starts_with("for=203.0.113.9;"));
    gateway.stop().await;

    let settings = [("TRUSTED_PROXIES", "127.0.0.1"), ("PROXY_PROTOCOL", "on")];
    let gateway = TestGateway::start_with(&settings).await;
    let session = gateway.session("pupil").await;
    let v2 = [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..],
        &"2001:db8::7"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
        &[0; 16],
        &[0x12, 0x34, 0, 80],
    ]
    .concat();
    let start = format!(
        "POST /api/container/start HTTP/1.1\r\nHost: {HOST}\r\nX-Session-ID: {session}\r\nPrefer: wait=20\r\nContent-Length: 0\r\n\r\n"
    );
    let answer = ask(
        gateway.addr,
        &[
            b"PROXY TCP4 192.0.2.55 127.0.0.1 5000 80\r\n",
            start.as_bytes(),
        ]
        .concat(),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let id = answer.split("/desktop/").nth(1).unwrap()[..36].to_owned();
    let page = format!(
        "GET /desktop/{id}/ HTTP/1.1\r\nHost: {HOST}\r\nX-Session-ID: {session}\r\nConnection: close\r\n\r\n"
    );
    for (header, expected) in [
        (
            &b"PROXY TCP4 192.0.2.55 127.0.0.1 5000 80\r\n"[..],
            "192.0.2.55",
        ),
        (&v2, "2001:db8::7"),
    ] {
        let answer = ask(gateway.addr, &[header, page.as_bytes()].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(desktop_sees(&gateway).0, expected);
    }
    for nonsense in [&b"PROXY TCP4 1.2.3.4\r\n"[..], page.as_bytes()] {
        let answer = ask(gateway.addr, nonsense).await;
        assert_eq!(answer, "", "a trusted balancer has to introduce its client");
    }
    gateway.stop().await;
}

/// What comes back until the end, or until nothing has come for a while.
async fn ask(addr: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(2), socket.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_full_jar_is_cleared_over_http_2_and_stops_no_websocket() {
    let directory = tempfile::tempdir().unwrap();
    let (gateway, cert) = with_tls(&directory).await;
    let session = gateway.session("pupil").await;
    let mut driver = JoinSet::new();
    let mut h2 = connect_h2(gateway.addr, &cert, &mut driver).await;
    let fill = |mut request: hyper::http::request::Builder| {
        for at in 0..180 {
            request = request.header("cookie", format!("x{at}={}", "v".repeat(4090)));
        }
        request.header("cookie", format!("__Host-Http-session={session}"))
    };
    for _ in 0..3 {
        let page = fill(Request::get(format!("https://{HOST}/")));
        let answer = h2.send_request(page.body(Empty::new()).unwrap()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 431);
        assert_eq!(answer.headers()["clear-site-data"], "\"cookies\"");
    }
    let events = Request::builder()
        .method(Method::CONNECT)
        .uri(format!("https://{HOST}/api/container/events"))
        .header("origin", ORIGIN)
        .header("sec-websocket-version", "13");
    let mut events = fill(events).body(Empty::new()).unwrap();
    events
        .extensions_mut()
        .insert(Protocol::from_static("websocket"));
    let answer = h2.send_request(events).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    drop((h2, answer, driver));
    gateway.stop().await;
}

#[tokio::test]
async fn plain_http_is_sent_to_the_encrypted_door() {
    let port = crate::support::gateway::own_ports() + 47;
    let listen = format!("127.0.0.1:{port}");
    let gateway = TestGateway::start_with(&[("HTTP_LISTEN", &listen)]).await;
    let addr: SocketAddr = listen.parse().unwrap();
    let answer = ask(
        addr,
        b"GET /desktop/x/?a=b HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
    assert!(
        answer.contains(&format!("location: {ORIGIN}/desktop/x/?a=b\r\n")),
        "{answer}"
    );
    let bad = ask(addr, b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
    gateway.stop().await;
}

#[tokio::test]
async fn one_client_cannot_take_all_connections() {
    let settings = [("MAX_CONNECTIONS_PER_CLIENT", "3"), ("WORKERS", "1")];
    let gateway = TestGateway::start_with(&settings).await;
    let health = format!("GET /healthz HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut socket = TcpStream::connect(gateway.addr).await.unwrap();
        socket.write_all(health.as_bytes()).await.unwrap();
        let mut first = [0; 12];
        socket.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200");
        held.push(socket);
    }
    assert_eq!(ask(gateway.addr, health.as_bytes()).await, "");
    held.clear();
    // A WebSocket counts for as long as it is open.
    let session = gateway.session("pupil").await;
    let (_, _, path) = desktop_of(&gateway, &session).await;
    let mut pictures = Vec::new();
    for _ in 0..3 {
        pictures.push(open_h1(&gateway, &path, &session).await);
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(ask(gateway.addr, health.as_bytes()).await, "");
    pictures.pop();
    eventually("a place is free again", || async {
        ask(gateway.addr, health.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_desktop_is_open_only_so_many_times() {
    let gateway = TestGateway::start_with(&[("MAX_STREAMS_PER_DESKTOP", "2")]).await;
    let session = gateway.session("pupil").await;
    let (_, _, path) = desktop_of(&gateway, &session).await;
    let first = open_h1(&gateway, &path, &session).await;
    let _second = open_h1(&gateway, &path, &session).await;
    let third = format!(
        "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nOrigin: {ORIGIN}\r\nX-Session-ID: {session}\r\n\
         Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: binary\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let answer = ask(gateway.addr, third.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(answer.contains("too_many_streams"), "{answer}");
    drop(first);
    eventually("a place is free again", || async {
        ask(gateway.addr, third.as_bytes())
            .await
            .starts_with("HTTP/1.1 101")
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn only_so_many_requests_are_under_way() {
    let gateway = TestGateway::start_with(&[("MAX_REQUESTS", "1")]).await;
    let session = gateway.session("pupil").await;
    let (_, _, path) = desktop_of(&gateway, &session).await;
    let get = |path: &str| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: {HOST}\r\nX-Session-ID: {session}\r\nConnection: close\r\n\r\n"
        )
    };
    let (list, health) = (get("/api/container/list"), get("/healthz"));
    // What has become a WebSocket is no request any more.
    let _picture = open_h1(&gateway, &path, &session).await;
    eventually("there is room", || async {
        ask(gateway.addr, list.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    })
    .await;

    // One that waits for the rest of its form. It may itself be refused for the sake of the request before it.
    let form = format!(
        "POST /logout HTTP/1.1\r\nHost: {HOST}\r\nCookie: __Host-Http-session={session}\r\n\
         Origin: {ORIGIN}\r\nContent-Length: 100\r\n\r\ncsrf_token="
    );
    let refused = async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let answer = ask(gateway.addr, list.as_bytes()).await;
        answer.starts_with("HTTP/1.1 503")
            && answer.contains("retry-after: 1\r\n")
            && answer.contains("too_many_requests")
    };
    let held = loop {
        let mut held = TcpStream::connect(gateway.addr).await.unwrap();
        held.write_all(form.as_bytes()).await.unwrap();
        if refused().await && refused().await {
            break held;
        }
    };
    let healthy = ask(gateway.addr, health.as_bytes()).await;
    assert!(healthy.starts_with("HTTP/1.1 200"), "{healthy}");
    let metrics = gateway.config.server.metrics.expect("an address");
    let counted = ask(metrics, get("/metrics").as_bytes()).await;
    assert!(
        counted.contains("deskgate_requests_in_flight 1\n"),
        "{counted}"
    );
    assert!(
        !counted.contains("deskgate_requests_refused_total 0\n"),
        "{counted}"
    );

    drop(held);
    eventually("it is over", || async {
        ask(gateway.addr, list.as_bytes())
            .await
            .starts_with("HTTP/1.1 200")
    })
    .await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_websocket_over_http_2_is_no_request_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (cert, key) = (file("tls.crt"), file("tls.key"));
    let settings = [
        ("TLS", "on"),
        ("TLS_CERT", &*cert),
        ("TLS_KEY", &*key),
        ("MAX_REQUESTS", "1"),
    ];
    let gateway = TestGateway::start_with(&settings).await;
    let session = gateway.session("pupil").await;
    let mut driver = JoinSet::new();
    let mut h2 = connect_h2(gateway.addr, &cert, &mut driver).await;
    let id = start_over_h2(&gateway, &mut h2, &session).await;
    let path = format!("/desktop/{id}/websockify");
    let mut picture = open_h2(&mut h2, &path, (&session, ORIGIN)).await.unwrap();
    assert!(next(&mut picture).await.is_some());
    eventually("there is room", || {
        let mut h2 = h2.clone();
        let request = Request::get(format!("https://{HOST}/api/container/list"))
            .header("x-session-id", &session)
            .body(Empty::new())
            .unwrap();
        async move { h2.send_request(request).await.unwrap().status() == StatusCode::OK }
    })
    .await;
    picture.send(Message::binary(vec![9; 40])).await.unwrap();
    assert_eq!(next(&mut picture).await, Some(Message::binary(vec![9; 40])));
    gateway.stop().await;
}

#[tokio::test]
async fn another_process_takes_over_without_a_refused_connection_or_a_cut_picture() {
    let old = TestGateway::start_with(&[("DRAIN", "20s")]).await;
    let listen = old.addr.to_string();
    let session = old.session("pupil").await;
    let (_, _, path) = desktop_of(&old, &session).await;
    let mut picture = open_h1(&old, &path, &session).await;
    assert!(next(&mut picture).await.is_some());

    let new = TestGateway::start_with(&[("LISTEN", &listen)]).await;
    let addr = old.addr;
    let health = format!("GET /healthz HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n");
    let visits = async {
        let begun = Instant::now();
        let mut count = 0;
        while begun.elapsed() < Duration::from_secs(2) {
            let answer = ask(addr, health.as_bytes()).await;
            assert!(
                answer.starts_with("HTTP/1.1 200"),
                "visit {count}: {answer}"
            );
            count += 1;
        }
        assert!(count > 100, "{count} visits");
    };
    let stopping = old.stop();
    let watching = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            picture.send(Message::binary(vec![9; 40])).await.unwrap();
            assert_eq!(next(&mut picture).await, Some(Message::binary(vec![9; 40])));
        }
        // The drain ends with the last stream.
        drop(picture);
    };
    tokio::join!(stopping, visits, watching);
    new.stop().await;
}
