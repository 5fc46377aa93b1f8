//! Somebody else, who asks for `/healthz` on a new connection again and again, and how long that took.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::task::JoinSet;

use crate::peer::Peer;
use crate::socket;

/// Where the other one comes from: limits for each address must not touch them.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Between two questions.
const PERIOD: Duration = Duration::from_millis(200);
/// A question that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks until it is dropped or ended.
pub struct Probe {
    found: Arc<Mutex<Found>>,
    _asking: JoinSet<()>,
}

/// What the answers were.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Good answers.
    pub answers: usize,
    /// Questions without a good answer.
    pub failures: usize,
    /// Why the last of them failed.
    pub reason: String,
    /// The longest that an answer took, the handshake included.
    pub longest: Duration,
}

impl Probe {
    /// Begins to ask.
    pub fn start(peer: &Peer) -> Self {
        let peer = peer.from(ADDRESS);
        let found = Arc::new(Mutex::new(Found::default()));
        let mut asking = JoinSet::new();
        let shared = Arc::clone(&found);
        asking.spawn(async move {
            loop {
                let begin = Instant::now();
                let answer = tokio::time::timeout(PATIENCE, ask(&peer)).await;
                let took = begin.elapsed();
                {
                    let mut found = shared.lock().unwrap_or_else(PoisonError::into_inner);
                    found.longest = found.longest.max(took);
                    match answer.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer in time"))) {
                        Ok(()) => found.answers += 1,
                        Err(error) => {
                            found.failures += 1;
                            found.reason = format!("{error:#}");
                        }
                    }
                }
                tokio::time::sleep(PERIOD.saturating_sub(took)).await;
            }
        });
        Self {
            found,
            _asking: asking,
        }
    }

    /// What has been found until now.
    pub fn found(&self) -> Found {
        self.found
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Found {
    /// Whether everybody was served, and nobody waited longer than this.
    pub fn is_good(&self, limit: Duration) -> bool {
        self.failures == 0 && self.answers > 0 && self.longest <= limit
    }
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "/healthz {} times, {} failures, longest {} ms",
            self.answers,
            self.failures,
            self.longest.as_millis()
        )?;
        if self.failures > 0 {
            write!(f, " ({})", self.reason)?;
        }
        Ok(())
    }
}

async fn ask(peer: &Peer) -> anyhow::Result<()> {
    let mut connection = peer.connect(socket::SMALL).await?;
    let request = format!(
        "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        peer.host
    );
    connection.send(request.as_bytes()).await?;
    let answer = connection.head().await?;
    if answer.status != 200 {
        bail!("status {}", answer.status);
    }
    Ok(())
}
