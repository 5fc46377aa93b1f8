//! Cookies of a head that are too many to be kept. A script can fill a browser's jar with far more than a
//! head may have (180 cookies of 4 KiB), and a request that is only refused would lock its sender out. So
//! whoever judges cookies gets to see that there are too many, and those that no script can have made.

use std::ops::Range;

/// Bytes of a Cookie line above which cookies are taken out of it.
pub(super) const LONG: usize = 16 * 1024;
/// Bytes of such a line that stay whatever they say: more than anybody accepts.
const WITNESS: usize = 10 * 1024;
/// How the names of cookies begin that no script can set (draft-ietf-httpbis-rfc6265bis, section 4.1.3).
const OURS: &[u8] = b"__Host-Http-";
const NAME: &[u8] = b"cookie:";

/// Whether a line, or what there is of it, is a Cookie field.
pub(super) fn is_field(line: &[u8]) -> bool {
    line.get(..NAME.len())
        .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
}

/// Which bytes of a line, or of what there is of it, are to be taken out: whole cookies in a row, with the
/// semicolon behind each. The reading as a list of cookies stays the same but for those.
pub(super) fn surplus(line: &[u8]) -> Option<Range<usize>> {
    if !is_field(line) {
        return None;
    }
    let semicolon = |from: usize| {
        let rest = line.get(from..)?;
        let at = rest.iter().position(|byte| *byte == b';')?;
        Some(from + at + 1)
    };
    let mut from = semicolon(WITNESS)?;
    let mut to = from;
    while let Some(end) = semicolon(to) {
        let cookie = super::line::trim(&line[to..end]);
        if !cookie.starts_with(OURS) {
            to = end;
        } else if from < to {
            break;
        } else {
            (from, to) = (end, end);
        }
    }
    (from < to).then_some(from..to)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::tests::{Outcome, refusal, run_cutting, with};
    use super::super::{MAX_HEAD, Refusal};

    /// The cookies of the only Cookie field of `head`.
    fn cookies(head: &str) -> Vec<&str> {
        let line = head.lines().find_map(|line| line.strip_prefix("Cookie: "));
        line.unwrap().split(';').map(str::trim).collect()
    }

    /// What is left of a head with these cookies, and how much it is.
    fn left(sent: &[String], more: &str, steps: &[usize]) -> Result<String, Refusal> {
        let head = with(&format!("Cookie: {}\r\n{more}", sent.join("; ")));
        let mut bytes = head.into_bytes();
        let Outcome { passed, ends, .. } = match run_cutting(&mut bytes, steps) {
            Outcome {
                refusal: Some(refusal),
                ..
            } => return Err(refusal),
            outcome => outcome,
        };
        assert_eq!((passed, ends), (bytes.len(), vec![bytes.len()]));
        assert!(bytes.len() <= MAX_HEAD, "{} bytes", bytes.len());
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_full_jar_leaves_what_is_ours_and_that_there_was_more() {
        let ours = "__Host-Http-session=secret".to_owned();
        let more = format!("X-More: {}\r\n", "m".repeat(12 * 1024));
        for at in [0, 1, 60, 179, 180] {
            let mut sent: Vec<String> = (0..180)
                .map(|count| format!("x{count}={}", "v".repeat(4090)))
                .collect();
            sent.insert(at, ours.clone());
            for steps in [
                &[usize::MAX / 4][..],
                &[65_536],
                &[1460],
                &[1, 8192, 16_000],
            ] {
                let head = left(&sent, &more, steps).unwrap();
                assert!(head.ends_with(&format!("{more}\r\n")));
                let kept = cookies(&head);
                assert_eq!(kept.iter().filter(|cookie| **cookie == ours).count(), 1);
                assert!(kept.concat().len() > 8 * 1024, "nobody would notice");
            }
        }
    }

    #[test]
    fn cookies_without_an_end_are_refused_as_what_they_are() {
        let cookies = |text: &str| with(&format!("Cookie: {text}\r\n"));
        for text in ["x".repeat(40_000), "__Host-Http-x=1; ".repeat(3000)] {
            let refused = refusal(cookies(&text));
            assert_eq!(refused, Some(Refusal::CookiesTooLarge));
        }
        let endless = cookies(&format!("x={}; ", "v".repeat(4000)).repeat(300));
        let refused = run_cutting(&mut endless.into_bytes(), &[16_384]).refusal;
        assert_eq!(refused, Some(Refusal::CookiesTooLarge));
        let others = format!("X-Cookie: {}\r\n", "x=1; ".repeat(4000)).repeat(2);
        assert_eq!(refusal(with(&others)), Some(Refusal::HeadTooLarge));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn only_whole_foreign_cookies_are_taken_out(
            sent in vec(("(__Host-Http-)?[a-z]{1,3}", "[ -:<-~]{0,30}", 0_usize..4000), 0..40),
            step in 1_usize..40_000,
        ) {
            let sent: Vec<String> = sent
                .into_iter()
                .map(|(name, value, more)| {
                    let more = if name.starts_with('_') { 0 } else { more };
                    format!("{name}={}{}", value.trim(), "v".repeat(more))
                })
                .collect();
            let head = left(&sent, "", &[step]).unwrap();
            let mut all = sent.iter().map(|cookie| cookie.trim());
            let kept = cookies(&head);
            for cookie in kept.iter().filter(|cookie| !cookie.is_empty()) {
                prop_assert!(all.any(|sent| sent == *cookie), "{cookie} is none or moved");
            }
            let ours = |cookie: &&str| cookie.starts_with("__Host-Http-");
            let sent_ours = sent.iter().map(String::as_str).filter(ours).count();
            prop_assert_eq!(kept.into_iter().filter(ours).count(), sent_ours);
        }
    }
}
