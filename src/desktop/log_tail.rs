//! The last lines of a container's log, made fit for a database, a page and a terminal. Whoever writes them may be a
//! program that someone else made, so they are few, plain text, and without the desktop's password.

/// Lines that are kept, the last ones.
pub(super) const LINES: u32 = 20;
/// Bytes that are kept, the last ones.
const MAX_BYTES: usize = 4096;
/// Stands for a secret.
const HIDDEN: &str = "***";

/// What is kept of `raw`, without any of `secrets`.
pub(super) fn tidy(raw: &str, secrets: &[&str]) -> String {
    // A secret that a control character splits is whole again without it, and one that the cut splits is a secret still.
    let mut text = plain(raw);
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, HIDDEN);
    }
    let lines = text
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.collect();
    let most = usize::try_from(LINES).unwrap_or(usize::MAX);
    let kept = lines[lines.len().saturating_sub(most)..].join("\n");
    last_bytes(&kept).to_owned()
}

/// The end of a text, from a whole character on.
fn last_bytes(text: &str) -> &str {
    let mut from = text.len().saturating_sub(MAX_BYTES);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    &text[from..]
}

/// A text without terminal sequences (ECMA-48), control characters, and those that turn the direction of writing.
fn plain(raw: &str) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw.chars();
    while let Some(next) = rest.next() {
        match next {
            '\u{1b}' => skip_sequence(&mut rest),
            // Programs that draw progress begin the same line again and again.
            '\n' | '\r' => text.push('\n'),
            '\t' => text.push(' '),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            other if other.is_control() => {}
            other => text.push(other),
        }
    }
    text
}

/// Passes over what follows an escape character.
fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    let kind = rest.next();
    if kind == Some('[') {
        // CSI: parameters, then one final character.
        rest.find(|next| matches!(next, '@'..='~'));
        return;
    }
    // A string of the terminal: until BEL, or ESC and a backslash.
    let is_string = matches!(kind, Some(']' | 'P' | '^' | '_' | 'X'));
    if is_string && rest.find(|next| matches!(next, '\u{7}' | '\u{1b}')) == Some('\u{1b}') {
        rest.next();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn control_characters_and_terminal_sequences_go() {
        for (raw, kept) in [
            ("one\r\ntwo\n\n", "one\ntwo"),
            ("\u{1b}[1;31mred\u{1b}[0m\ttext\u{7}", "red text"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;https://evil.test\u{1b}\\link", "link"),
            ("10 %\r20 %\r30 %", "10 %\n20 %\n30 %"),
            ("a\u{202e}b\0c", "abc"),
            ("ends in \u{1b}[", "ends in"),
            ("", ""),
        ] {
            assert_eq!(tidy(raw, &[]), kept, "{raw:?}");
        }
    }

    #[test]
    fn secrets_are_hidden_however_they_are_cut() {
        let tidied = tidy("VNC_PW=hunter2 and hun\u{1b}[0mter2", &["hunter2", ""]);
        assert_eq!(tidied, "VNC_PW=*** and ***");
        let long = format!("hunter2{}", "x".repeat(MAX_BYTES - 3));
        assert!(!tidy(&long, &["hunter2"]).contains("ter2"));
    }

    #[test]
    fn the_last_lines_are_kept() {
        let raw: Vec<String> = (0..100).map(|number| format!("line {number}")).collect();
        let kept = tidy(&raw.join("\n"), &[]);
        assert_eq!(kept.lines().count(), 20);
        assert!(kept.starts_with("line 80\n") && kept.ends_with("line 99"));
        let kept = tidy(&"ä".repeat(5000), &[]);
        assert_eq!(kept.len(), MAX_BYTES);
    }

    proptest! {
        #[test]
        fn whatever_is_written_becomes_few_plain_lines(raw in "(?s).{0,300}", secret in "[a-z]{3,8}") {
            let raw = format!("{raw}{secret}{raw}");
            let kept = tidy(&raw, &[&secret]);
            prop_assert!(kept.len() <= MAX_BYTES && kept.lines().count() <= 20);
            prop_assert!(!kept.contains(&secret));
            prop_assert!(kept.chars().all(|kept| kept == '\n' || !kept.is_control()));
        }
    }
}
