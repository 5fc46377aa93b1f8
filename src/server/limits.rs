//! How many may be connected, in total and from one address, how many requests may be under way, and how many
//! heads may be large.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::per_client::{PerClient, Slot};
use crate::telemetry::metrics::InFlight;

/// Largest amount of memory that one connection can make us hold, bytes: the head and the buffers of an
/// HTTP/2 connection whose peer sends and does not read. A connection that rests holds a hundredth of it.
pub const CONNECTION_MEMORY: u64 = 1024 * 1024;

/// Heads of HTTP/2 requests that are larger than one frame and under way at the same time.
const LARGE_HEADS: usize = 64;
/// Largest amount of memory that one of them takes, bytes: a megabyte as it is counted (RFC 9113 section
/// 6.5.2), made of the smallest fields.
const LARGE_HEAD_MEMORY: u64 = 4 * 1024 * 1024;

/// Raises the limit of open files of this process as far as the system allows, and says what it is then.
/// A desktop that is open takes two: one for the browser's connection and one for its own.
///
/// # Errors
/// The system does not tell its limits.
pub fn raise_open_files() -> io::Result<u64> {
    rlimit::increase_nofile_limit(u64::MAX)
}

/// Counts connections and what makes them large. Clones count together.
#[derive(Clone, Debug)]
pub struct Limits {
    total: u32,
    places: Arc<Semaphore>,
    large_heads: Arc<Semaphore>,
    per_client: PerClient,
    requests: Requests,
}

/// Counts the requests of all connections. One counts until its answer's last byte, and an upgrade until it is
/// granted: a WebSocket has a limit of its own.
#[derive(Clone, Debug)]
pub struct Requests {
    in_flight: InFlight,
    limit: u32,
}

impl Requests {
    /// At most `limit`.
    #[must_use]
    pub fn new(limit: u32, in_flight: InFlight) -> Self {
        Self { in_flight, limit }
    }

    /// One more; false if there are too many already, and then it does not count.
    pub(super) fn begin(&self) -> bool {
        self.in_flight.begin(self.limit)
    }

    /// One that counted is over.
    pub(super) fn end(&self) {
        self.in_flight.end();
    }
}

impl Limits {
    /// At most `total` connections, `per_client` from one address, and so many `requests`.
    #[must_use]
    pub fn new(total: u32, per_client: u32, requests: Requests) -> Self {
        Self {
            total,
            places: Arc::new(Semaphore::new(total as usize)),
            large_heads: Arc::new(Semaphore::new(LARGE_HEADS)),
            per_client: PerClient::new(per_client),
            requests,
        }
    }

    /// Most memory that connections can take at the same time, bytes.
    #[must_use]
    pub fn memory(&self) -> u64 {
        u64::from(self.total) * CONNECTION_MEMORY + LARGE_HEADS as u64 * LARGE_HEAD_MEMORY
    }

    /// A place, as soon as there is one. Until then nobody is accepted: they wait in the system's queue.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    /// The places for large heads.
    pub(super) fn large_heads(&self) -> Arc<Semaphore> {
        self.large_heads.clone()
    }

    /// The requests under way.
    pub(super) fn requests(&self) -> Requests {
        self.requests.clone()
    }

    /// A place for one more connection from `ip`.
    pub(super) fn admit(&self, ip: IpAddr) -> Option<Slot> {
        self.per_client.admit(ip)
    }
}
