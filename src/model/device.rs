//! What somebody uses, for people: a few words from `User-Agent` (RFC 9110 section 10.1.5). It says what the browser
//! claims to be, helps a person to tell their devices apart, and decides nothing.

/// Longest part of the header that is looked at, bytes.
const MAX_HEADER: usize = 512;
/// Longest name of a program that is not known, characters.
const MAX_NAME: usize = 32;

/// Marks of browsers. Most carry the marks of others too, so the first that fits is it.
const BROWSERS: [(&str, &str); 16] = [
    ("EdgiOS/", "Edge"),
    ("EdgA/", "Edge"),
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("OPiOS/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("YaBrowser/", "Yandex Browser"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

/// Marks of systems, in the same way.
const SYSTEMS: [(&str, &str); 10] = [
    ("iPad", "iPad"),
    ("iPhone", "iPhone"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Mac OS X", "macOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
];

/// Such as `Firefox on Windows`, `Chrome`, `curl`; empty if nothing can be said.
#[must_use]
pub fn from_user_agent(agent: &str) -> String {
    let mut ends = (0..=agent.len().min(MAX_HEADER)).rev();
    let end = ends.find(|at| agent.is_char_boundary(*at)).unwrap_or(0);
    let agent = &agent[..end];
    let find = |marks: &[(&str, &'static str)]| {
        let mut marks = marks.iter();
        marks
            .find(|(mark, _)| agent.contains(mark))
            .map(|(_, name)| *name)
    };
    let (browser, system) = (find(&BROWSERS), find(&SYSTEMS));
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) => name.to_owned(),
        (None, system) => match (program(agent), system) {
            (Some(program), Some(system)) => format!("{program} on {system}"),
            (Some(program), None) => program,
            (None, system) => system.unwrap_or_default().to_owned(),
        },
    }
}

/// The name of the first product, unless it is the one that everybody claims to be.
fn program(agent: &str) -> Option<String> {
    let name = agent.split(['/', ' ', '(', ';']).next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let good = !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain);
    (good && name != "Mozilla").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_use_is_known() {
        const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, expected) in [
            ("Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0".to_owned(), "Firefox on Windows"),
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(), "Firefox on Linux"),
            (format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/142.0.0.0 Safari/537.36"), "Chrome on Windows"),
            (format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"), "Edge on Windows"),
            (format!("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/142.0.0.0 Safari/537.36"), "Chrome on ChromeOS"),
            (format!("Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36"), "Chrome on Android"),
            (format!("Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36"), "Samsung Internet on Android"),
            (format!("Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/142.0.0.0 Safari/537.36 OPR/124.0.0.0"), "Opera on Linux"),
            (format!("Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/142.0.0.0 Safari/537.36"), "Chrome on Linux"),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15".to_owned(), "Safari on macOS"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0 Mobile/15E148 Safari/604.1".to_owned(), "Chrome on iPhone"),
            ("Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.7 Mobile/15E148 Safari/604.1".to_owned(), "Safari on iPad"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) FxiOS/145.0 Mobile/15E148 Safari/605.1.15".to_owned(), "Firefox on iPhone"),
        ] {
            assert_eq!(from_user_agent(&agent), expected, "{agent}");
        }
    }

    #[test]
    fn what_is_not_known_is_named_or_left_out() {
        for (agent, expected) in [
            ("", ""),
            ("Mozilla/5.0", ""),
            ("Mozilla/5.0 (Windows NT 10.0)", "Windows"),
            ("curl/8.15.0", "curl"),
            ("python-requests/2.32.5", "python-requests"),
            ("Go-http-client/2.0", "Go-http-client"),
            ("backup-tool/1 (Linux)", "backup-tool on Linux"),
            ("<script>alert(1)</script>", ""),
            ("\u{202e}evil/1", ""),
        ] {
            assert_eq!(from_user_agent(agent), expected, "{agent}");
        }
    }

    #[test]
    fn it_is_short_whatever_was_sent() {
        for agent in [
            "x".repeat(100_000),
            "\u{e4}".repeat(5000),
            format!("{}Firefox/1 Windows", " ".repeat(MAX_HEADER)),
            format!("{}/1 SamsungBrowser/1 ChromeOS CrOS", "y".repeat(MAX_NAME)),
        ] {
            assert!(from_user_agent(&agent).len() <= 64);
        }
    }
}
