//! Rust source as text: where code, comments, literals, tests and paths are. Knows no rule.
//!
//! A small lexer and brace counting, good enough for formatted code that compiles; not a parser.

use std::collections::BTreeSet;
use std::fs;
use std::iter::once;
use std::ops::Range;
use std::path::Path;

/// One file. `code`, `comments` and `production` have the length and lines of `text`, with the rest blanked.
pub struct Source {
    /// Relative to the repository, with forward slashes.
    pub path: String,
    pub text: String,
    /// Without comments and literals.
    pub code: String,
    pub comments: String,
    /// `code` without items under `#[cfg(test)]`; nothing in `tests.rs` and `*_tests.rs`.
    pub production: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let (comments, literals) = lex(text);
        let code = blank(text, comments.iter().chain(&literals).cloned());
        let mut gaps = Vec::new();
        let mut from = 0;
        for comment in &comments {
            gaps.push(from..comment.start);
            from = comment.end;
        }
        gaps.push(from..text.len());
        let production = if path.ends_with("/tests.rs") || path.ends_with("_tests.rs") {
            blank(&code, once(0..code.len()))
        } else {
            blank(&code, test_items(&code))
        };
        let comments = blank(text, gaps);
        let (path, text) = (path.to_owned(), text.to_owned());
        Self {
            path,
            text,
            code,
            comments,
            production,
        }
    }

    pub fn fault(&self, at: usize, what: &str) -> String {
        format!("{}:{}: {what}", self.path, line(&self.text, at))
    }

    /// The layer that this file belongs to, none for the two crate roots.
    pub fn top_module(&self) -> Option<&str> {
        let inside = self.path.strip_prefix("src/")?;
        let top = inside.split('/').next()?.trim_end_matches(".rs");
        (!matches!(inside, "lib.rs" | "main.rs")).then_some(top)
    }

    /// How many `super` lead from the top of this file to the crate root.
    fn depth(&self) -> usize {
        self.path
            .trim_start_matches("src/")
            .trim_end_matches("/mod.rs")
            .split('/')
            .count()
    }
}

pub fn tree(roots: &[&str]) -> Vec<Source> {
    let base =
        std::env::var("CARGO_MANIFEST_DIR").expect("cargo and nextest set CARGO_MANIFEST_DIR");
    let mut sources = Vec::new();
    for root in roots {
        walk(Path::new(&base), root, &mut sources);
    }
    assert!(
        !sources.is_empty(),
        "no source file under {roots:?} in {base}"
    );
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn walk(base: &Path, relative: &str, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(base.join(relative)) else {
        return; // benches/ may be absent
    };
    for entry in entries {
        let entry = entry.expect("a directory entry can be read");
        let path = format!("{relative}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            if !path.ends_with("/node_modules") {
                walk(base, &path, sources);
            }
        } else if entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "rs")
        {
            let text = fs::read_to_string(entry.path()).expect("a source file is UTF-8");
            sources.push(Source::new(&path, &text));
        }
    }
}

pub fn find<'a>(sources: &'a [Source], path: &str) -> &'a Source {
    sources
        .iter()
        .find(|source| source.path == path)
        .expect("the file exists")
}

/// Where comments are, and where string and character literals are.
fn lex(text: &str) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut comments, mut literals) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let end = match rest {
            [b'/', b'/' | b'*', ..] => at + comment_length(rest),
            [b'"', ..] => at + string_length(rest),
            [b'r', ..] if raw_string_length(rest) > 0 && starts_raw(&text.as_bytes()[..at]) => {
                at + raw_string_length(rest)
            }
            [b'\'', ..] => at + char_length(&text[at..]),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        let kind = if rest[0] == b'/' {
            &mut comments
        } else {
            &mut literals
        };
        kind.push(at..end);
        at = end;
    }
    (comments, literals)
}

fn comment_length(rest: &[u8]) -> usize {
    if rest[1] == b'/' {
        return rest
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(rest.len());
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string_length(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != b'"' {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Whether an `r` after `before` can begin a raw string: `r"`, `br"` or `cr"`, but not the end of a name.
fn starts_raw(before: &[u8]) -> bool {
    let before = before
        .strip_suffix(b"b")
        .or(before.strip_suffix(b"c"))
        .unwrap_or(before);
    before.last().is_none_or(|byte| !is_name(*byte))
}

/// Zero if `rest` does not begin a raw string.
fn raw_string_length(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [&b"\""[..], &b"#".repeat(hashes)].concat();
    let from = hashes + 2;
    let found = rest[from..]
        .windows(close.len())
        .position(|window| window == close);
    found.map_or(rest.len(), |offset| from + offset + close.len())
}

/// Zero if the quote begins a lifetime.
fn char_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((escaped, _))) => rest[escaped + 1..]
            .find('\'')
            .map_or(0, |at| escaped + at + 2),
        (Some(_), Some((close, '\''))) => close + 1,
        _ => 0,
    }
}

fn blank(text: &str, ranges: impl IntoIterator<Item = Range<usize>>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in ranges.into_iter().flatten() {
        if bytes[byte] != b'\n' {
            bytes[byte] = b' ';
        }
    }
    String::from_utf8(bytes).expect("ranges end at character boundaries")
}

/// Items under `#[cfg(test)]`, or another `cfg` that needs `test`.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    for (at, _) in code.match_indices("#[cfg(") {
        let end = closing(code, at + 1);
        let condition = &code[at..end];
        if words(condition, "test").is_empty() || condition.contains("not(test") {
            continue;
        }
        let last = body(code, end + 1).map_or_else(
            || {
                code[end..]
                    .find(';')
                    .map_or(code.len(), |semicolon| end + semicolon + 1)
            },
            |open| closing(code, open) + 1,
        );
        items.push(at..last.min(code.len()));
    }
    items
}

/// The modules that `lib.rs` declares, in order.
pub fn modules(code: &str) -> Vec<String> {
    let named = words(code, "mod")
        .into_iter()
        .map(|at| identifier(code, skip_space(code, at + 3)));
    named.map(str::to_owned).collect()
}

/// What follows each `crate::` (or as many `super::` as lead to the root), groups taken apart, with its place.
pub fn root_paths(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = BTreeSet::new();
    for at in words(code, "crate") {
        if code[at..].starts_with("crate::") {
            found.extend(first_names(code, at + "crate::".len()));
        }
    }
    let inline: Vec<Range<usize>> = (words(code, "mod").into_iter())
        .filter_map(|at| body(code, at).map(|open| open..closing(code, open)))
        .collect();
    for at in words(code, "super")
        .into_iter()
        .filter(|at| !code[..*at].ends_with("super::"))
    {
        let mut end = at;
        let mut steps = 0;
        while code[end..].starts_with("super::") {
            end += "super::".len();
            steps += 1;
        }
        let nested = inline.iter().filter(|range| range.contains(&at)).count();
        if steps == source.depth() + nested {
            found.extend(first_names(code, end));
        }
    }
    found.into_iter().collect()
}

/// The first name of each path in the use tree at `at`; macros and `self` are left out.
fn first_names(code: &str, at: usize) -> Vec<(usize, String)> {
    let starts = if code[at..].starts_with('{') {
        let group = at..closing(code, at);
        let mut depth = 0;
        let mut starts = vec![at + 1];
        for (offset, byte) in code[group].bytes().enumerate() {
            match byte {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b',' if depth == 1 => starts.push(at + offset + 1),
                _ => {}
            }
        }
        starts
    } else {
        vec![at]
    };
    let named = starts
        .into_iter()
        .map(|start| skip_space(code, start))
        .map(|start| {
            let star = code[start..].starts_with('*');
            (start, if star { "*" } else { identifier(code, start) })
        });
    let kept = named.filter(|(start, name)| {
        let macro_call = code[start + name.len()..].starts_with('!');
        !name.is_empty() && *name != "self" && !macro_call
    });
    kept.map(|(start, name)| (start, name.to_owned())).collect()
}

/// Where the braces of the item at `from` open, if it has any before it ends.
pub fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code[from..].bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.checked_sub(1)?,
            b'{' if depth == 0 => return Some(from + offset),
            b';' | b'}' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// The bracket that closes the one at `open`, or the end of the text.
pub fn closing(code: &str, open: usize) -> usize {
    let mut depth = 0_i32;
    for (offset, byte) in code[open..].bytes().enumerate() {
        depth += match byte {
            b'{' | b'(' | b'[' => 1,
            b'}' | b')' | b']' => -1,
            _ => 0,
        };
        if depth == 0 {
            return open + offset;
        }
    }
    code.len()
}

/// Where `word` stands as a whole word.
pub fn words(code: &str, word: &str) -> Vec<usize> {
    let bytes = code.as_bytes();
    let whole = |at: &usize| {
        let before = at.checked_sub(1).is_none_or(|index| !is_name(bytes[index]));
        before
            && bytes
                .get(at + word.len())
                .is_none_or(|byte| !is_name(*byte))
    };
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(whole)
        .collect()
}

pub fn identifier(code: &str, at: usize) -> &str {
    let name = &code[at..];
    let end = name
        .bytes()
        .position(|byte| !is_name(byte))
        .unwrap_or(name.len());
    &name[..end]
}

pub fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// Line number of a place, counted from 1.
pub fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii()
}
