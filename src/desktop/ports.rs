//! Which host port a new desktop gets. The database has the last word (a partial unique index); this
//! only proposes ports that are likely to be free.

use std::ops::RangeInclusive;

/// The free ports of `range` in the order to try them: from `seed` on and around, so that starts at the
/// same time do not all ask for the same one.
pub fn candidates(range: &RangeInclusive<u16>, used: &[u16], seed: u64) -> Vec<u16> {
    let mut free: Vec<u16> = range.clone().filter(|port| !used.contains(port)).collect();
    if !free.is_empty() {
        let count = free.len() as u64;
        let turn = usize::try_from(seed % count).unwrap_or_default();
        free.rotate_left(turn);
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_free_port_is_proposed_once_and_no_used_one() {
        for seed in 0..10 {
            let mut ports = candidates(&(7000..=7004), &[7001, 7003], seed);
            ports.sort_unstable();
            assert_eq!(ports, [7000, 7002, 7004]);
        }
        assert!(candidates(&(7000..=7001), &[7000, 7001], 3).is_empty());
    }
}
