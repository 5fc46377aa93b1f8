//! Bad samples: each rule meets one that it must refuse and a look-alike that it must let pass.

use super::*;

fn layers() -> Vec<String> {
    LAYERS.split_whitespace().map(str::to_owned).collect()
}

/// Asserts that `check` finds one fault per expected text, in order, each containing that text.
#[track_caller]
fn expect(check: impl Fn(&Source) -> Vec<String>, path: &str, text: &str, expected: &[&str]) {
    let faults = check(&Source::new(path, text));
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, part) in faults.iter().zip(expected) {
        assert!(fault.contains(part), "{fault:?} should contain {part:?}");
    }
}

#[track_caller]
fn expect_edges(path: &str, text: &str, expected: &[&str]) {
    expect(
        |source| upward_edges(source, &layers()),
        path,
        text,
        expected,
    );
}

#[test]
fn an_upward_edge_is_found_in_a_path_and_in_groups() {
    expect_edges(
        "src/store/mod.rs",
        "fn f() {\n    crate::api::g();\n}",
        &["src/store/mod.rs:2: `store` uses `api`"],
    );
    let group = "use crate::{\n    clock::{Clock, api},\n    model, proxy::headers,\n    self,\n};";
    expect_edges(
        "src/store/mod.rs",
        group,
        &["src/store/mod.rs:3: `store` uses `proxy`"],
    );
    expect_edges(
        "src/model/id.rs",
        "pub(in crate::config) fn f() {}",
        &["`model` uses `config`"],
    );
}

#[test]
fn an_upward_edge_is_found_behind_super() {
    expect_edges(
        "src/clock.rs",
        "use super::{app, model};",
        &["`clock` uses `app`"],
    );
    expect_edges(
        "src/store/user.rs",
        "use super::super::api::x;",
        &["`store` uses `api`"],
    );
    expect_edges("src/store/user.rs", "use super::api::x;", &[]);
    expect_edges(
        "src/clock.rs",
        "mod tests {\n    use super::*;\n    use super::super::cli;\n}",
        &["clock.rs:3:"],
    );
}

#[test]
fn downward_edges_comments_and_literals_pass() {
    let fine = "//! See [`crate::cli`].\nuse crate::{store::Database, api::json};\nfn f() { crate::on_pool!(); \"crate::cli::x\"; }";
    expect_edges("src/api/mod.rs", fine, &[]);
    expect_edges("src/main.rs", "use crate::anything;", &[]);
}

#[test]
fn a_name_in_the_crate_root_hides_an_edge() {
    expect_edges(
        "src/clock.rs",
        "use crate::Gateway;",
        &["`crate::Gateway` is not a module"],
    );
    expect_edges(
        "src/clock.rs",
        "use crate::*;",
        &["`crate::*` is not a module"],
    );
    expect_edges("src/stray.rs", "", &["`stray` is not declared"]);
}

#[test]
fn a_missing_or_misplaced_layer_is_found() {
    let text = format!("pub mod {};", LAYERS.replace(' ', ";\npub mod "));
    let sources: Vec<Source> = layers()
        .iter()
        .map(|layer| Source::new(&format!("src/{layer}/mod.rs"), ""))
        .collect();
    assert_eq!(missing_layers(&modules(&text), &sources), [""; 0]);

    let swapped = text
        .replace("api", "x")
        .replace("store", "api")
        .replace("mod x", "mod store");
    assert!(missing_layers(&modules(&swapped), &sources)[0].contains("is declared above"));
    let commented = text.replace("pub mod api", "// pub mod api");
    let read = modules(&Source::new("src/lib.rs", &commented).code);
    assert_eq!(
        missing_layers(&read, &sources),
        ["src/lib.rs: layer `api` is not declared"]
    );
    assert!(missing_layers(&modules(&text), &sources[1..])[0].contains("`cli` has no file"));
}

#[test]
fn a_long_file_is_found() {
    expect(long_file, "src/a.rs", &"\n".repeat(MAX_FILE_LINES), &[]);
    expect(
        long_file,
        "src/a.rs",
        &"\n".repeat(MAX_FILE_LINES + 1),
        &["601 lines"],
    );
}

#[test]
fn a_long_function_is_found() {
    let function = |lines: usize| {
        format!(
            "struct S;\nfn f(x: [u8; 2]) {{\n{}}}\n",
            "    '{';\n".repeat(lines - 2)
        )
    };
    expect(
        long_functions,
        "src/a.rs",
        &function(MAX_FUNCTION_LINES),
        &[],
    );
    expect(
        long_functions,
        "src/a.rs",
        &function(MAX_FUNCTION_LINES + 1),
        &["src/a.rs:2: fn f has 101 lines"],
    );
    let declared = format!(
        "trait T {{\n    fn f();\n{}}}\ntype F = fn(u8);",
        "\n".repeat(200)
    );
    expect(long_functions, "src/a.rs", &declared, &[]);
}

#[test]
fn a_missing_header_is_found() {
    expect(
        missing_header,
        "src/a.rs",
        "use x;\n//! late",
        &["src/a.rs: does not open"],
    );
    expect(
        missing_header,
        "src/a.rs",
        "//!\nuse x;",
        &["src/a.rs: does not open"],
    );
    expect(missing_header, "src/a.rs", "", &["src/a.rs: does not open"]);
    expect(missing_header, "src/a.rs", "\n//! What it is.\n", &[]);
}

#[test]
fn a_reminder_without_an_issue_is_found() {
    let text = "// TODO: later\n/* TODO(#7): soon */\nlet x = \"TODO\"; // FIXME\n// TODOS\n";
    expect(
        loose_reminders,
        "src/a.rs",
        text,
        &["src/a.rs:1: no issue", "src/a.rs:3: no issue"],
    );
}

#[test]
fn an_unwrap_outside_tests_is_found() {
    let text = "fn f() {\n    x.unwrap();\n    x.unwrap_or(1); // .unwrap()\n}\n#[cfg(test)]\nmod tests {\n    fn g() { x.unwrap(); }\n}\n";
    expect(unwraps, "src/a.rs", text, &["src/a.rs:2: `.unwrap()`"]);
    expect(
        unwraps,
        "src/a.rs",
        &text.replace("(test)", "(not(test))"),
        &["a.rs:2:", "a.rs:7:"],
    );
    expect(unwraps, "src/a/tests.rs", text, &[]);
    expect(unwraps, "src/a/b_tests.rs", text, &[]);
    let after =
        "#[cfg(test)]\nuse a::b;\n#[cfg(all(test, unix))]\nmod tests;\nfn f() { x.unwrap() }";
    expect(unwraps, "src/a.rs", after, &["src/a.rs:5:"]);
}

#[test]
fn an_untracked_spawn_is_found() {
    let text = "fn f() {\n    tokio::spawn(g());\n    tokio::task::spawn_blocking(h);\n    tasks.spawn(\"name\", g());\n}";
    expect(spawns, "src/a.rs", text, &["src/a.rs:2: `tokio::spawn`"]);
    expect(spawns, "src/tasks.rs", text, &[]);
    expect(
        spawns,
        "src/a.rs",
        "use tokio::task;\nfn f() { task::spawn(g()); }",
        &["src/a.rs:2:"],
    );
}

#[test]
fn global_mutable_state_is_found() {
    for item in [
        "static mut N: u8 = 0;",
        "static N: AtomicU8 = x();",
        "pub static N: std::sync::OnceLock<u8> = x();",
    ] {
        expect(
            global_state,
            "src/a.rs",
            item,
            &["global mutable state: static"],
        );
    }
    expect(
        global_state,
        "src/a.rs",
        "lazy_static! { static ref N: u8 = 0; }",
        &["behind a macro"],
    );
    let fine =
        "static N: &'static str = \"Mutex\";\nfn f(m: &'static Mutex<u8>) { const M: u8 = 1; }";
    expect(global_state, "src/a.rs", fine, &[]);
}

#[test]
fn a_vague_name_is_found() {
    expect(vague_names, "src/util/mod.rs", "", &["`util` names no"]);
    expect(vague_names, "src/a/helpers.rs", "", &["`helpers` names no"]);
    expect(
        vague_names,
        "src/a.rs",
        "mod prelude {}",
        &["`mod prelude`"],
    );
    expect(
        vague_names,
        "src/error.rs",
        "",
        &["src/error.rs: errors belong"],
    );
    expect(vague_names, "src/respond/error.rs", "mod utilisation;", &[]);
}

#[test]
fn a_wrong_share_of_documentation_is_found() {
    let share = |lines: usize| {
        let text = format!(
            "{}\n{}",
            "//! doc\n".repeat(lines),
            "code();\n".repeat(100 - lines)
        );
        wrong_share(doc_percent(&[Source::new("src/a.rs", &text)]))
    };
    assert_eq!(
        share(11),
        ["11.0 % of the lines in src/ without tests are documentation, wanted 12 to 20 %"]
    );
    assert_eq!(share(12), [""; 0]);
    assert_eq!(share(20), [""; 0]);
    assert_eq!(share(21).len(), 1);
}

#[test]
fn the_lexer_tells_code_from_comments_and_literals() {
    let text = "a /* b /* c */ d */ e // f\n\"g\\\"h\" i r#\"j\"k\"# l 'm' 'n '\\'' o b'\"' p br\"q\\\" r '\u{e9}' s r#t";
    let source = Source::new("src/a.rs", text);
    let code: Vec<&str> = source.code.split_whitespace().collect();
    assert_eq!(
        code,
        [
            "a", "e", "i", "l", "'n", "o", "b", "p", "b", "r", "s", "r#t"
        ]
    );
    let comments: Vec<&str> = source.comments.split_whitespace().collect();
    assert_eq!(comments, ["/*", "b", "/*", "c", "*/", "d", "*/", "//", "f"]);
    assert_eq!(
        (source.code.len(), source.comments.len()),
        (text.len(), text.len())
    );
}

#[test]
fn a_dependency_that_nothing_names_is_found() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nused-here = \"1\" # why\nidle = { version = \"1\" }\n\
                    tested = \"1\"\n# gone = \"1\"\n[dev-dependencies]\ntested = \"1\"\nalso-idle = \"1\"\n";
    let product = [Source::new(
        "src/lib.rs",
        "use used_here::x; // idle\nconst S: &str = \"idle\";",
    )];
    let tests = [Source::new("tests/x.rs", "tested::run();")];
    let faults = unused_dependencies(manifest, &product, &tests);
    assert_eq!(faults.len(), 3, "{faults:#?}");
    for (fault, part) in faults.iter().zip(["`idle`", "`tested`", "`also_idle`"]) {
        assert!(fault.contains(part), "{fault:?} should contain {part:?}");
    }
}

#[test]
fn a_second_statement_that_changes_a_state_is_found() {
    let change = "fn f() {\n    q(\"UPDATE containers SET gateway = $1,\n        status = $2 WHERE id = $3\");\n}\n";
    let other = "fn f() { q(\"UPDATE containers SET status_reason = $1 WHERE status = $2\"); }\n";
    let found = ["a state that `Database::transition` does not write"];
    expect(state_changes, "src/store/starts.rs", change, &found);
    expect(state_changes, "src/store/starts.rs", other, &[]);
    expect(state_changes, "src/store/containers.rs", change, &[]);
    let twice = change.repeat(2);
    expect(state_changes, "src/store/containers.rs", &twice, &found);
}
