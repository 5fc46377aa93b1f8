//! A desktop that answers what a test tells it to, byte for byte, on connections that it keeps or ends as
//! told.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::fake_desktop_wire::server_config;

/// One answer.
#[derive(Clone, Copy, Debug)]
pub struct Say {
    /// How much of the request's body is waited for before it.
    pub after: usize,
    /// The bytes.
    pub bytes: &'static str,
    /// Whether the connection ends behind it.
    pub end: bool,
}

/// The bytes, and the connection stays.
pub fn say(bytes: &'static str) -> Say {
    let (after, end) = (0, false);
    Say { after, bytes, end }
}

/// The bytes, and the connection ends.
pub fn end(bytes: &'static str) -> Say {
    Say {
        end: true,
        ..say(bytes)
    }
}

/// What happened on one connection.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Everything that was read.
    pub bytes: Vec<u8>,
    /// How many whole heads that has.
    pub heads: usize,
    /// The other side has ended it.
    pub left: bool,
}

impl Seen {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The desktop: its connections follow one script each, in the order in which they come.
pub struct Scripted {
    seen: Arc<Mutex<Vec<Seen>>>,
    _tasks: JoinSet<()>,
}

impl Scripted {
    /// Takes the port, which must be free.
    pub async fn start(port: u16, scripts: &[&[Say]]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .expect("a free port");
        let acceptor = TlsAcceptor::from(server_config().0);
        let scripts: Vec<Vec<Say>> = scripts.iter().map(|script| script.to_vec()).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let shared = seen.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for script in scripts {
                let (tcp, _) = listener.accept().await.expect("a connection");
                let note = Note::new(&shared);
                connections.spawn(follow(tcp, acceptor.clone(), script, note));
            }
            drop(listener);
            while connections.join_next().await.is_some() {}
        });
        Self {
            seen,
            _tasks: tasks,
        }
    }

    /// What happened so far, a connection each.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// Where one connection writes down what happens.
struct Note {
    seen: Arc<Mutex<Vec<Seen>>>,
    place: usize,
}

impl Note {
    fn new(seen: &Arc<Mutex<Vec<Seen>>>) -> Self {
        let mut all = seen.lock().unwrap();
        all.push(Seen::default());
        Self {
            seen: seen.clone(),
            place: all.len() - 1,
        }
    }

    fn write(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap()[self.place]);
    }
}

async fn follow(tcp: TcpStream, acceptor: TlsAcceptor, script: Vec<Say>, note: Note) {
    let Ok(mut stream) = acceptor.accept(tcp).await else {
        return;
    };
    let mut read = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    for say in script {
        let mut head = None;
        loop {
            head = head.or_else(|| {
                let end = read.windows(4).position(|bytes| bytes == b"\r\n\r\n");
                end.map(|end| end + 4)
            });
            if head.is_some_and(|head| read.len() >= head + say.after) {
                break;
            }
            let Ok(count @ 1..) = stream.read(&mut buffer).await else {
                return note.write(|seen| seen.left = true);
            };
            read.extend_from_slice(&buffer[..count]);
            note.write(|seen| seen.bytes.extend_from_slice(&buffer[..count]));
        }
        note.write(|seen| seen.heads += 1);
        read.clear();
        if stream.write_all(say.bytes.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return note.write(|seen| seen.left = true);
        }
        if say.end {
            return;
        }
    }
    // Reads on, so that the other side's end is seen.
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        note.write(|seen| seen.bytes.extend_from_slice(&buffer[..count]));
    }
    note.write(|seen| seen.left = true);
}
