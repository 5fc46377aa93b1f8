//! A relay in front of a server that can fall silent as a machine does that dies: what was sent is acknowledged, nothing is
//! answered, no connection is closed. Connections that it had then stay dead when it is back.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

pub struct Relay {
    pub addr: SocketAddr,
    state: Arc<State>,
    _running: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Odd while it is silent.
    turns: AtomicU64,
    /// It falls silent when a client says this.
    word: Mutex<Option<&'static str>>,
    said: Notify,
    /// How often clients said `watched`.
    watched: Mutex<&'static str>,
    times: AtomicUsize,
}

impl State {
    /// Notes what a client says, which goes on to the server even if it is the word.
    fn hear(&self, bytes: &[u8]) {
        let says = |word: &str| {
            let mut windows = bytes.windows(word.len().max(1));
            windows.any(|window| window == word.as_bytes())
        };
        if says(*self.watched.lock().unwrap()) {
            self.times.fetch_add(1, Ordering::SeqCst);
        }
        let mut word = self.word.lock().unwrap();
        if word.is_some_and(says) {
            *word = None;
            self.turns.fetch_add(1, Ordering::SeqCst);
            self.said.notify_one();
        }
    }

    /// Whether a connection that was made in this turn still lives.
    fn lives(&self, born: u64) -> bool {
        born.is_multiple_of(2) && self.turns.load(Ordering::SeqCst) == born
    }
}

impl Relay {
    pub async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let state = Arc::new(State::default());
        let shared = state.clone();
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(link(client, server, shared.clone()));
            }
        });
        Self {
            addr,
            state,
            _running: running,
        }
    }

    /// Falls silent as soon as a client says `word`, which the server still hears, and returns then.
    pub async fn silent_at(&self, word: &'static str) {
        *self.state.word.lock().unwrap() = Some(word);
        self.state.said.notified().await;
    }

    /// Is there again, for new connections.
    pub fn come_back(&self) {
        let before = self.state.turns.fetch_add(1, Ordering::SeqCst);
        assert!(!before.is_multiple_of(2), "it was silent");
    }

    /// Begins to count how often clients say `word`.
    pub fn watch(&self, word: &'static str) {
        *self.state.watched.lock().unwrap() = word;
        self.state.times.store(0, Ordering::SeqCst);
    }

    pub fn times(&self) -> usize {
        self.state.times.load(Ordering::SeqCst)
    }
}

async fn link(client: TcpStream, server: SocketAddr, state: Arc<State>) {
    let born = state.turns.load(Ordering::SeqCst);
    let server = TcpStream::connect(server).await.expect("the server");
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (asking, answering) = (state.clone(), state);
    tokio::join!(
        pump(from_client, to_server, move |bytes| {
            let lived = asking.lives(born);
            if lived {
                asking.hear(bytes);
            }
            lived
        }),
        pump(from_server, to_client, move |_| answering.lives(born)),
    );
}

/// Passes bytes on while `passes` says so, and drops them otherwise. A dead connection is never closed.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut passes: impl FnMut(&[u8]) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if passes(&buffer[..count]) && to.write_all(&buffer[..count]).await.is_err() {
            break;
        }
    }
    if !passes(&[]) {
        std::future::pending::<()>().await;
    }
}
