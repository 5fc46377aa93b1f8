//! Connections to desktops that carry one exchange after another, where a desktop allows it.
//!
//! KasmVNC answers one request per connection and says so; its connections end with their answer. Other
//! desktops keep theirs, and one page load then costs a handful of TLS handshakes instead of a hundred.
//! A link that rests does so for a few seconds only: websockify has a process for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::link::Link;
use crate::model::id::DesktopId;
use crate::stream::WorkerId;

/// How long a link may rest.
pub const REST: Duration = Duration::from_secs(3);
/// How many links of one worker to one desktop may rest.
const MAX_RESTING: usize = 32;

type Rests = HashMap<(WorkerId, DesktopId), Vec<Resting>>;

/// The links that rest, of all workers: each is used again by its own worker only.
#[derive(Clone, Debug, Default)]
pub struct Links(Arc<Mutex<Rests>>);

#[derive(Debug)]
struct Resting {
    link: Link,
    since: Instant,
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Rests> {
        // The map is whole between any two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link that has rested and is still good.
    pub fn take(&self, worker: WorkerId, desktop: DesktopId) -> Option<Link> {
        loop {
            // The lock is not held while the link is looked at.
            let Resting { mut link, since } = self.lock().get_mut(&(worker, desktop))?.pop()?;
            // A desktop that has closed it in the meantime is noticed here.
            if since.elapsed() < REST && link.is_quiet() {
                return Some(link);
            }
        }
    }

    /// Lets a link rest whose exchange is over, if it is fit for another one.
    pub fn put(&self, worker: WorkerId, desktop: DesktopId, mut link: Link) {
        if !link.is_settled() {
            return;
        }
        link.rest();
        let since = Instant::now();
        let mut links = self.lock();
        let resting = links.entry((worker, desktop)).or_default();
        if resting.len() < MAX_RESTING {
            resting.push(Resting { link, since });
        }
    }

    /// Closes what has rested for too long.
    pub fn sweep(&self) {
        self.lock().retain(|_, resting| {
            resting.retain(|link| link.since.elapsed() < REST);
            !resting.is_empty()
        });
    }
}
