//! What a client prefers, as `Accept-Language` and `Accept-Encoding` say it (RFC 9110, section 12.4.2).

/// Reads one range such as `de-AT;q=0.8` into its name and quality; `None` if it cannot be read.
#[must_use]
pub fn parse_range(range: &str) -> Option<(&str, f32)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let quality = match parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q="))) {
        Some(value) => value
            .trim()
            .parse()
            .ok()
            .filter(|q| (0.0..=1.0).contains(q))?,
        None => 1.0,
    };
    Some((name, quality))
}
