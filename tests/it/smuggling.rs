//! Request smuggling: what two readers could understand differently is refused at the door, and the
//! second request that such a message may hide never reaches a desktop.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::smuggling_cases::{CANARY, CASES, Case, Expect};
use crate::support::gateway::{PATIENCE, TestGateway};

/// What came back, and whether the gateway closed the connection.
async fn send(addr: std::net::SocketAddr, bytes: &[u8], patience: Duration) -> (String, bool) {
    let mut socket = TcpStream::connect(addr).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let ended = tokio::time::timeout(patience, socket.read_to_end(&mut answer)).await;
    (String::from_utf8_lossy(&answer).into_owned(), ended.is_ok())
}

#[tokio::test]
async fn nothing_is_smuggled() {
    let gateway = TestGateway::start().await;
    let mut pupil = gateway.program("pupil").await;
    let container = gateway.running_desktop(&mut pupil).await;
    let desktop = gateway.desktop(&container);
    let session = gateway.session("pupil").await;
    let id = container["id"].as_str().unwrap().to_owned();
    let addr = gateway.addr;

    // The canary is one that would arrive: the same bytes, sent honestly, do.
    let honest = Case {
        name: "honest",
        raw: CANARY.as_bytes(),
        expect: Expect::Passed,
    };
    let (answer, _) = send(
        addr,
        &honest.render(&id, &session),
        Duration::from_millis(500),
    )
    .await;
    let arrived = || {
        let requests = desktop.requests();
        let canaries = requests
            .iter()
            .filter(|seen| seen.target.contains("canary"));
        canaries.count()
    };
    assert_eq!(arrived(), 1, "{answer}");

    let mut trying = JoinSet::new();
    for case in CASES {
        let bytes = case.render(&id, &session);
        trying.spawn(async move {
            let patience = match case.expect {
                Expect::Refused(_) => PATIENCE,
                Expect::Passed => Duration::from_millis(500),
            };
            (case, send(addr, &bytes, patience).await)
        });
        if trying.len() == 16 {
            check(trying.join_next().await.unwrap().unwrap());
        }
    }
    while let Some(tried) = trying.join_next().await {
        check(tried.unwrap());
    }
    assert_eq!(arrived(), 1, "none but the honest one");
    gateway.stop().await;
}

fn check((case, (answer, ended)): (&Case, (String, bool))) {
    let name = case.name;
    match case.expect {
        Expect::Refused(status) => {
            let first = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&first), "{name}: {answer}");
            assert_eq!(answer.matches("\r\n\r\n").count(), 1, "{name}: {answer}");
            assert!(ended, "{name} leaves the connection open");
        }
        Expect::Passed => {
            assert!(answer.starts_with("HTTP/1."), "{name}: {answer}");
            assert!(!answer.contains("malformed_request"), "{name}: {answer}");
        }
    }
}
