//! The program with a socket of systemd's: it answers there, and another one takes over without anybody being
//! turned away.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway that has been given the listening socket, and is killed if the test fails.
struct Activated(Child);

impl Activated {
    /// As systemd does it (`sd_listen_fds(3)`): the socket is descriptor 3, and the number of the process is in
    /// the environment.
    fn start(socket: &TcpListener, data: &std::path::Path) -> Self {
        let socket: OwnedFd = socket.try_clone().unwrap().into();
        let database = format!("sqlite://{}/deskgate.db", data.display());
        let command = r#"exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" serve"#;
        let child = Command::new("sh")
            .args(["-c", command, env!("CARGO_BIN_EXE_deskgate")])
            .current_dir(data)
            .env_clear()
            .envs([
                ("PUBLIC_URL", "https://desk.test"),
                // Nobody may listen here, so that it would not start without the socket.
                ("LISTEN", "192.0.2.1:8443"),
                ("METRICS_LISTEN", "off"),
                ("TLS", "off"),
                ("DATABASE_URL", &database),
                ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
                ("OAUTH_ISSUER", "https://id.test"),
                ("OAUTH_CLIENT_ID", "test"),
                ("DOCKER_HOST", "unix:///nowhere/docker.sock"),
                ("DRAIN", "1s"),
            ])
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("a shell"))
    }

    /// Asks it to stop, and waits until it has.
    fn stop(&mut self) -> ExitStatus {
        let id = self.0.id().to_string();
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM $0", &id])
            .status();
        assert!(asked.unwrap().success());
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not stop");
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // It is over already, unless the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// One request on a new connection.
fn visit(addr: SocketAddr) -> std::io::Result<String> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: desk.test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn the_socket_of_systemd_is_passed_on_without_a_refused_connection() {
    let data = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let (over, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Who comes before anybody answers waits in the queue of the socket.
    let mut first = Activated::start(&socket, data.path());
    let answer = visit(addr).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    thread::scope(|scope| {
        let visitors: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let answer = visit(addr).map_err(|error| error.to_string());
                        assert!(
                            answer
                                .as_ref()
                                .is_ok_and(|text| text.starts_with("HTTP/1.1 200")),
                            "visit {}: {answer:?}",
                            visits.load(Ordering::Relaxed)
                        );
                        visits.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        let more = |count: usize| {
            let (begun, before) = (Instant::now(), visits.load(Ordering::Relaxed));
            while visits.load(Ordering::Relaxed) < before + count {
                let failed = visitors.iter().any(thread::ScopedJoinHandle::is_finished);
                assert!(!failed && begun.elapsed() < PATIENCE, "too few visits");
                thread::sleep(Duration::from_millis(5));
            }
        };
        // In turns, three times over: the old one goes while the new one starts.
        for _ in 0..3 {
            more(50);
            let second = Activated::start(&socket, data.path());
            assert!(first.stop().success(), "a clean stop");
            first = second;
        }
        more(200);
        over.store(true, Ordering::Relaxed);
    });
    assert!(first.stop().success(), "a clean stop");
}
