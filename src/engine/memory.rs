//! How much memory this machine has left, as Linux says it.

/// Where Linux says it.
const MEMINFO: &str = "/proc/meminfo";

/// Bytes that can be had without swapping. `None` where the system does not say.
pub(super) async fn available() -> Option<u64> {
    parse(&tokio::fs::read_to_string(MEMINFO).await.ok()?)
}

/// `MemAvailable` of proc(5), which is in units of 1024 bytes.
fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_available_memory_is_read() {
        let text = "MemTotal:       24635556 kB\nMemFree:         1 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(parse(text), Some(2 << 20));
        assert_eq!(parse("MemTotal: 5 kB\n"), None);
        assert_eq!(parse("MemAvailable: lots\n"), None);
    }

    #[tokio::test]
    async fn this_machine_has_some() {
        assert!(available().await.is_some_and(|bytes| bytes > 1 << 20));
    }
}
