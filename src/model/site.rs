//! Whether two origins are one *site* to browsers, which then send cookies with `SameSite=Lax` into a frame of the one on
//! a page of the other.
//!
//! Browsers ask the list of public suffixes; this asks whether there is a common domain of more than one label. The two
//! differ below suffixes such as `co.uk`: there this says yes where browsers say no, so nothing may depend on it that a
//! browser must not be trusted with.

use url::{Host, Url};

/// Whether they share scheme and domain, as far as their names tell.
#[must_use]
pub fn is_same(one: &Url, other: &Url) -> bool {
    let same = match (one.host(), other.host()) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) => share_domain(one, other),
        (one, other) => one == other,
    };
    same && one.scheme() == other.scheme()
}

fn share_domain(one: &str, other: &str) -> bool {
    let parent = |name: &'_ str| name.find('.').map(|dot| dot + 1);
    let domains = [
        Some(one),
        Some(other),
        parent(one).map(|at| &one[at..]),
        parent(other).map(|at| &other[at..]),
    ];
    // All the world is below a domain of one label.
    let mut common = domains
        .into_iter()
        .flatten()
        .filter(|domain| domain.contains('.'));
    one == other || common.any(|domain| is_below(one, domain) && is_below(other, domain))
}

fn is_below(name: &str, domain: &str) -> bool {
    let rest = name.strip_suffix(domain);
    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_a_common_domain() {
        for (one, other, expected) in [
            (
                "https://desk.school.example",
                "https://desktops.school.example",
                true,
            ),
            (
                "https://school.example",
                "https://desktops.school.example",
                true,
            ),
            ("https://desktops.desk.test:8443", "https://desk.test", true),
            (
                "https://desk.school.example",
                "https://a.b.school.example",
                true,
            ),
            (
                "https://desk.school.example",
                "https://desktops.other.example",
                false,
            ),
            ("https://desk.example", "https://desktops.example", false),
            ("https://school.example", "https://oldschool.example", false),
            (
                "https://school.example",
                "https://a.oldschool.example",
                false,
            ),
            (
                "https://desk.school.example",
                "http://desktops.school.example",
                false,
            ),
            ("https://localhost", "https://127.0.0.1", false),
            ("https://localhost", "https://a.localhost", false),
            ("https://127.0.0.1", "https://127.0.0.1:8443", true),
            ("https://127.0.0.1", "https://127.0.1.1", false),
        ] {
            let url = |text| Url::parse(text).expect("a URL");
            assert_eq!(is_same(&url(one), &url(other)), expected, "{one} {other}");
            assert_eq!(is_same(&url(other), &url(one)), expected, "{other} {one}");
        }
    }
}
