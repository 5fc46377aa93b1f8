//! How many connections one client address has open, so that no single client takes all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::request::client_addr::client_of;

/// Counts the connections of each client. Clones share the counts. There is an entry only for a client with
/// an open connection, so that memory is bounded by the connections.
#[derive(Clone, Debug)]
pub struct PerClient {
    limit: u32,
    counts: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// The place of one connection; given back on drop.
#[derive(Debug)]
#[must_use = "the place is given back when this is dropped"]
pub struct Slot {
    counter: PerClient,
    client: IpAddr,
}

impl PerClient {
    /// Admits at most `limit` connections of one client at the same time.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            counts: Arc::default(),
        }
    }

    /// A place for one more connection of `ip`, or `None` when it has all that it may have.
    ///
    /// IPv6 is counted by /64.
    #[must_use]
    pub fn admit(&self, ip: IpAddr) -> Option<Slot> {
        let client = client_of(ip);
        let mut counts = self.lock();
        let count = counts.get(&client).copied().unwrap_or(0);
        if count >= self.limit {
            return None;
        }
        counts.insert(client, count + 1);
        drop(counts);
        let counter = self.clone();
        Some(Slot { counter, client })
    }

    /// A panic cannot leave a count half changed, so that a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counter.lock();
        match counts.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_client_has_no_more_than_the_limit() {
        let counter = PerClient::new(2);
        let first = counter.admit(ip("192.0.2.1")).expect("first");
        let _second = counter.clone().admit(ip("192.0.2.1")).expect("second");
        assert!(counter.admit(ip("192.0.2.1")).is_none());
        assert!(counter.admit(ip("192.0.2.2")).is_some());
        drop(first);
        assert!(counter.admit(ip("192.0.2.1")).is_some());
        assert!(PerClient::new(0).admit(ip("192.0.2.1")).is_none());
    }

    #[test]
    fn clients_are_ipv4_addresses_and_ipv6_networks() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let counter = PerClient::new(1);
            let _slot = counter.admit(ip(one)).expect("admitted");
            assert_eq!(counter.admit(ip(other)).is_none(), same, "{one} {other}");
        }
    }

    #[test]
    fn a_panic_elsewhere_does_not_stop_the_counting() {
        let counter = PerClient::new(1);
        let poisoner = counter.clone();
        let panicked = thread::spawn(move || {
            let _slot = poisoner.admit(ip("192.0.2.1"));
            let _guard = poisoner.lock();
            panic!("poisons the lock");
        });
        // The guard is dropped before the slot, which then finds the lock poisoned.
        assert!(panicked.join().is_err() && counter.counts.is_poisoned());
        assert!(counter.admit(ip("192.0.2.1")).is_some());
        assert!(counter.lock().is_empty());
    }

    #[test]
    fn threads_share_the_limit() {
        let (counter, barrier) = (PerClient::new(3), Barrier::new(8));
        let admitted = thread::scope(|scope| {
            let admit = || {
                let slot = counter.admit(ip("192.0.2.1"));
                barrier.wait();
                usize::from(slot.is_some())
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(admit)).collect();
            let counts = threads.into_iter().map(|thread| thread.join().unwrap());
            counts.sum::<usize>()
        });
        assert_eq!(admitted, 3);
        assert!(counter.lock().is_empty());
    }

    proptest! {
        #[test]
        fn the_counts_are_those_of_the_open_connections(
            steps in prop::collection::vec((0_u8..4, any::<bool>()), 0..100),
            limit in 0_u32..5,
        ) {
            let counter = PerClient::new(limit);
            let mut open: [Vec<Slot>; 4] = Default::default();
            for (client, arrives) in steps {
                let slots = &mut open[usize::from(client)];
                if arrives {
                    let slot = counter.admit(IpAddr::from([192, 0, 2, client]));
                    prop_assert_eq!(slot.is_some(), slots.len() < limit as usize);
                    slots.extend(slot);
                } else {
                    slots.pop();
                }
                let busy = open.iter().filter(|slots| !slots.is_empty()).count();
                prop_assert_eq!(counter.lock().len(), busy);
            }
        }
    }
}
