//! The house rules as tests: layering, sizes, headers, spawns, global state, unused dependencies and the share of
//! documentation.
//!
//! Each rule has a test over the real tree here, and one in `samples` that feeds it a bad sample, so that it is
//! known to fail. How source text is read, as text and with nothing but std, is the matter of `source`.

#[path = "tidy/samples.rs"]
mod samples;
#[path = "tidy/source.rs"]
mod source;

use std::ops::RangeInclusive;

use source::{
    Source, body, closing, find, identifier, line, modules, root_paths, skip_space, tree, words,
};

/// The layers, highest first. `src/lib.rs` must declare all of them in this order and may add others.
const LAYERS: &str = "cli demo app server gateway api portal respond proxy authz authn desktop engine store request \
                      telemetry tasks config clock model";
/// Names that say nothing about what a module is responsible for; dependency cycles start there.
const VAGUE_NAMES: [&str; 5] = ["util", "common", "helpers", "types", "prelude"];
const MAX_FILE_LINES: usize = 600;
const MAX_FUNCTION_LINES: usize = 100;
/// Documentation lines per hundred non-blank lines under `src/`: below, code is unexplained; above, it is buried.
const DOC_PERCENT: RangeInclusive<f64> = 12.0..=20.0;
/// Types that make a `static` item changeable.
const CHANGEABLE: [&str; 8] = [
    "Mutex", "RwLock", "Atomic", "OnceLock", "OnceCell", "LazyLock", "LazyCell", "RefCell",
];

#[test]
fn layers_exist_and_point_downward() {
    let sources = tree(&["src"]);
    let layers = modules(&find(&sources, "src/lib.rs").code);
    let mut faults = missing_layers(&layers, &sources);
    for source in &sources {
        faults.extend(upward_edges(source, &layers));
    }
    report("layering", &faults);
}

#[test]
fn files_and_functions_are_short() {
    each(&["src", "tests", "benches"], "size", |source| {
        let mut faults = long_file(source);
        faults.extend(long_functions(source));
        faults
    });
}

#[test]
fn every_file_says_what_it_is_responsible_for() {
    each(&["src", "tests", "benches"], "header", missing_header);
}

#[test]
fn every_reminder_names_an_issue() {
    each(&["src", "tests", "benches"], "reminder", loose_reminders);
}

#[test]
fn nothing_unwraps_outside_tests() {
    each(&["src"], "unwrap", unwraps);
}

#[test]
fn only_tasks_spawns() {
    each(&["src"], "spawn", spawns);
}

#[test]
fn there_is_no_global_mutable_state() {
    each(&["src"], "global state", global_state);
}

#[test]
fn a_desktops_state_is_written_in_one_place() {
    each(&["src"], "state", state_changes);
}

#[test]
fn module_names_say_what_they_hold() {
    each(&["src"], "module name", vague_names);
}

#[test]
fn documentation_is_neither_thin_nor_thick() {
    let share = doc_percent(&tree(&["src"]));
    println!("documentation: {share:.1} % of the lines in src/ without tests");
    report("documentation", &wrong_share(share));
}

#[test]
fn every_dependency_is_used() {
    let manifest = std::fs::read_to_string("Cargo.toml").expect("the manifest");
    let faults = unused_dependencies(&manifest, &tree(&["src"]), &tree(&["tests", "benches"]));
    report("dependency", &faults);
}

/// Layers that `lib.rs` does not declare, declares out of order, or that have no file.
fn missing_layers(layers: &[String], sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut last = 0;
    for name in LAYERS.split_whitespace() {
        let Some(at) = layers.iter().position(|layer| layer == name) else {
            faults.push(format!("src/lib.rs: layer `{name}` is not declared"));
            continue;
        };
        if at < last {
            faults.push(format!(
                "src/lib.rs: layer `{name}` is declared above `{}`, which is higher",
                layers[last]
            ));
        }
        last = last.max(at);
        let homes = [format!("src/{name}.rs"), format!("src/{name}/mod.rs")];
        if !sources.iter().any(|source| homes.contains(&source.path)) {
            faults.push(format!(
                "layer `{name}` has no file: {}",
                homes.join(" or ")
            ));
        }
    }
    faults
}

/// Uses of a module that stands above the file's own, and of names in the crate root, which hide an edge.
fn upward_edges(source: &Source, layers: &[String]) -> Vec<String> {
    let Some(own) = source.top_module() else {
        return Vec::new(); // lib.rs and main.rs stand above all layers
    };
    let Some(own_at) = layers.iter().position(|layer| layer == own) else {
        return vec![format!(
            "{}: `{own}` is not declared in src/lib.rs",
            source.path
        )];
    };
    let mut faults = Vec::new();
    for (at, name) in root_paths(source) {
        let what = match layers.iter().position(|layer| *layer == name) {
            Some(used_at) if used_at < own_at => {
                format!("`{own}` uses `{name}`, which is above it")
            }
            Some(_) => continue,
            None => format!("`crate::{name}` is not a module; name the module that holds it"),
        };
        faults.push(source.fault(at, &what));
    }
    faults
}

fn long_file(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= MAX_FILE_LINES {
        return Vec::new();
    }
    vec![format!(
        "{}: {lines} lines, more than {MAX_FILE_LINES}",
        source.path
    )]
}

fn long_functions(source: &Source) -> Vec<String> {
    let code = &source.code;
    let mut faults = Vec::new();
    for at in words(code, "fn") {
        let name = identifier(code, skip_space(code, at + 2));
        let Some(open) = body(code, at).filter(|_| !name.is_empty()) else {
            continue; // a function pointer type, or a declaration without a body
        };
        let lines = line(code, closing(code, open)) - line(code, at) + 1;
        if lines > MAX_FUNCTION_LINES {
            let what = format!("fn {name} has {lines} lines, more than {MAX_FUNCTION_LINES}");
            faults.push(source.fault(at, &what));
        }
    }
    faults
}

fn missing_header(source: &Source) -> Vec<String> {
    let first = source.text.lines().find(|text| !text.trim().is_empty());
    let said = first.is_some_and(|text| {
        text.strip_prefix("//!")
            .is_some_and(|rest| !rest.trim().is_empty())
    });
    if said {
        return Vec::new();
    }
    vec![format!(
        "{}: does not open with a `//!` line that says what it is for",
        source.path
    )]
}

fn loose_reminders(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (index, text) in source.comments.lines().enumerate() {
        let marked = ["TODO", "FIXME"]
            .iter()
            .any(|mark| !words(text, mark).is_empty());
        let numbered = text
            .split('#')
            .skip(1)
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if marked && !numbered {
            faults.push(format!(
                "{}:{}: no issue number: {}",
                source.path,
                index + 1,
                text.trim()
            ));
        }
    }
    faults
}

fn unwraps(source: &Source) -> Vec<String> {
    let faults = source.production.match_indices(".unwrap()");
    faults
        .map(|(at, _)| source.fault(at, "`.unwrap()` outside tests"))
        .collect()
}

fn spawns(source: &Source) -> Vec<String> {
    if source.path == "src/tasks.rs" {
        return Vec::new();
    }
    let ways = ["tokio::spawn", "task::spawn(", "task::spawn_local"];
    let found = ways
        .iter()
        .flat_map(|way| source.production.match_indices(way));
    found
        .map(|(at, way)| source.fault(at, &format!("`{way}`: spawn through `Tasks`")))
        .collect()
}

/// Statements that change the state of a desktop, but for the one that asks `State::may_become` first.
fn state_changes(source: &Source) -> Vec<String> {
    let statements = source.text.match_indices("UPDATE containers SET");
    let changes = statements.filter(|(at, _)| {
        let statement = &source.text[*at..];
        let columns = statement.split("WHERE").next().unwrap_or_default();
        words(columns, "status").into_iter().any(|at| {
            let rest = &columns[skip_space(columns, at + "status".len())..];
            rest.starts_with('=')
        })
    });
    let own = usize::from(source.path == "src/store/containers.rs");
    let others = changes.skip(own);
    others
        .map(|(at, _)| source.fault(at, "a state that `Database::transition` does not write"))
        .collect()
}

fn global_state(source: &Source) -> Vec<String> {
    let code = &source.production;
    let mut faults = Vec::new();
    for at in words(code, "lazy_static")
        .into_iter()
        .chain(words(code, "thread_local"))
    {
        faults.push(source.fault(at, "global state behind a macro"));
    }
    for at in words(code, "static")
        .into_iter()
        .filter(|at| !code[..*at].ends_with('\''))
    {
        let item = &code[at..];
        let end = item.find(['=', ';', '{']).unwrap_or(item.len());
        let declared = &item[..end];
        let changeable = !words(declared, "mut").is_empty()
            || CHANGEABLE.iter().any(|kind| declared.contains(kind));
        if changeable {
            faults.push(source.fault(at, &format!("global mutable state: {}", declared.trim())));
        }
    }
    faults
}

fn vague_names(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    let path = source.path.trim_end_matches(".rs");
    if let Some(name) = path.split('/').find(|part| VAGUE_NAMES.contains(part)) {
        faults.push(format!("{}: `{name}` names no responsibility", source.path));
    }
    for at in words(&source.code, "mod") {
        let name = identifier(&source.code, skip_space(&source.code, at + 3));
        if VAGUE_NAMES.contains(&name) {
            faults.push(source.fault(at, &format!("`mod {name}` names no responsibility")));
        }
    }
    if path == "src/error" || path == "src/error/mod" {
        faults.push(format!(
            "{}: errors belong to the module that has them",
            source.path
        ));
    }
    faults
}

/// The share of documentation in documentation and product code; tests explain themselves by name.
fn doc_percent(sources: &[Source]) -> f64 {
    let is_doc = |text: &&str| text.starts_with("///") || text.starts_with("//!");
    let lines = |text: fn(&Source) -> &str| {
        let all = sources.iter().flat_map(move |source| text(source).lines());
        all.map(str::trim).filter(|line| !line.is_empty())
    };
    let documentation = lines(|source| &source.text).filter(is_doc).count();
    let written = documentation + lines(|source| &source.production).count();
    let exact = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    exact(documentation) * 100.0 / exact(written.max(1))
}

fn wrong_share(percent: f64) -> Vec<String> {
    if DOC_PERCENT.contains(&percent) {
        return Vec::new();
    }
    let (low, high) = (DOC_PERCENT.start(), DOC_PERCENT.end());
    vec![format!(
        "{percent:.1} % of the lines in src/ without tests are documentation, wanted {low} to {high} %"
    )]
}

/// Dependencies whose crate nothing names: it is compiled, checked for advisories and shipped for nothing.
fn unused_dependencies(manifest: &str, product: &[Source], tests: &[Source]) -> Vec<String> {
    let names = |sources: &[Source], name: &str| {
        let mut sources = sources.iter();
        sources.any(|source| !words(&source.code, name).is_empty())
    };
    let mut section = "";
    let mut faults = Vec::new();
    for line in manifest.lines() {
        if let Some(title) = line.strip_prefix('[') {
            section = title.trim_end_matches(']');
            continue;
        }
        let Some((name, _)) = line.split_once(" = ") else {
            continue;
        };
        let name = name.trim_end();
        let word = name.replace('-', "_");
        let used = match section {
            "dependencies" => names(product, &word),
            "dev-dependencies" => names(product, &word) || names(tests, &word),
            _ => true,
        };
        if !used && !name.starts_with('#') {
            faults.push(format!(
                "Cargo.toml: nothing names `{word}`, so [{section}] needs no {name}"
            ));
        }
    }
    faults
}

fn each(roots: &[&str], rule: &str, check: impl Fn(&Source) -> Vec<String>) {
    let faults: Vec<String> = tree(roots).iter().flat_map(check).collect();
    report(rule, &faults);
}

fn report(rule: &str, faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} against the {rule} rule:\n  {}\n",
        faults.len(),
        faults.join("\n  ")
    );
}
