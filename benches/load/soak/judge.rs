//! Whether the gateway kept its promises: a line `pass` or `FAIL` for each, and the table of figures.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::ledger::{Books, Ledger};
use super::sample::{Emptied, Observer, Sample, mb};
use super::{Load, Place};

/// How old the oldest entry of the audit log may be: its retention of a minute, the 30 s between two cleanings, and
/// what a busy machine adds.
const OLDEST: Duration = Duration::from_secs(120);
/// Sessions for each person: the one in use, and those left behind in the two minutes before their removal.
const SESSIONS: f64 = 2.0;
/// How large the database's log may become: it is folded in at 4 MB, when nobody reads.
const WAL: u64 = 16 << 20;
/// How far open files, threads and tasks may drift in the whole time that counts, in hundredths of what is open.
const DRIFT: f64 = 15.0;
/// How much more memory may be in use at the end of the time that counts, whatever its length, MB: people come and go,
/// and an allocator keeps what it may need again.
const MEMORY_SLACK: f64 = 2.0;
/// What the gateway may warn of when a desktop dies or the engine refuses, as its log has it.
const WARNINGS: [&str; 2] = ["a desktop ended by itself", "start failed"];

struct Verdicts {
    good: bool,
}

impl Verdicts {
    fn check(&mut self, good: bool, what: impl std::fmt::Display) {
        println!("{} {what}", if good { "pass" } else { "FAIL" });
        self.good &= good;
    }
}

/// Prints verdicts and table; returns whether all promises were kept.
pub fn run(
    (load, place): (&Load, &Place),
    observer: &Observer,
    ledger: &Ledger,
    emptied: &Emptied,
) -> anyhow::Result<bool> {
    let mut verdicts = Verdicts { good: true };
    let books = ledger.now();
    let warm: Vec<&Sample> = observer
        .samples
        .iter()
        .filter(|sample| sample.at >= load.warm_up())
        .collect();
    let (first, last) = warm
        .first()
        .zip(warm.last())
        .context("nothing was read after the warm-up")?;
    errors(&mut verdicts, &books, &emptied.sample);
    log(&mut verdicts, place, &books)?;
    growth(&mut verdicts, load, &warm);
    rows(&mut verdicts, load, &warm);
    let left = if emptied.left.is_empty() {
        "nothing".to_owned()
    } else {
        emptied.left.join(", ")
    };
    verdicts.check(
        emptied.left.is_empty(),
        format_args!(
            "left {} s after everybody went home: {left}",
            emptied.took.as_secs()
        ),
    );
    table(&[
        ("before", &observer.before),
        ("warm", first),
        ("at the end", last),
        ("empty", &emptied.sample),
    ]);
    work(&books, observer);
    Ok(verdicts.good)
}

/// No error but those that were made.
fn errors(verdicts: &mut Verdicts, books: &Books, end: &Sample) {
    verdicts.check(
        books.errors.is_empty(),
        format_args!("errors that nobody made: {}", counts(&books.errors)),
    );
    let made = |what: &str| books.injected.get(what).copied().unwrap_or_default();
    let (deaths, refusals) = (made("desktops that died"), made("engine errors at a start"));
    verdicts.check(
        deaths > 0 && refusals > 0 && !books.suffered.is_empty(),
        format_args!(
            "errors that were made: {}; {}",
            counts(&books.injected),
            counts(&books.suffered)
        ),
    );
    let any = |_: &str| true;
    #[expect(clippy::cast_precision_loss, reason = "counts below a million")]
    for (what, seen, limit) in [
        (
            "starts that failed",
            end.sum("deskgate_desktop_start_failures_total", any),
            refusals as f64,
        ),
        (
            "failed calls to the engine",
            end.sum("deskgate_engine_errors_total", any),
            refusals as f64,
        ),
        (
            "failed logins",
            end.sum("deskgate_login_failures_total", any),
            0.0,
        ),
        (
            "requests refused by a limit",
            end.sum("deskgate_rate_limited_total", any)
                + end.metric("deskgate_requests_refused_total"),
            0.0,
        ),
        (
            "wakes that failed",
            end.metric("deskgate_desktop_wakes_total{outcome=\"failure\"}"),
            0.0,
        ),
        (
            "entries of the audit log lost",
            end.sum("deskgate_audit_lost_total", any),
            0.0,
        ),
        (
            "errors of the gateway's own (500)",
            end.sum("deskgate_requests_total", |labels| {
                labels.contains("status=\"500\"")
            }),
            0.0,
        ),
    ] {
        verdicts.check(
            seen <= limit,
            format_args!("by the metrics, {what}: {seen} (made: {limit})"),
        );
    }
    let acts = [
        "deskgate_desktop_pauses_total",
        "deskgate_desktop_wakes_total{outcome=\"success\"}",
    ];
    let [pauses, wakes] = acts.map(|series| end.metric(series));
    verdicts.check(
        pauses > 0.0 && wakes > 0.0,
        format_args!("desktops fell asleep {pauses} times and woke {wakes} times"),
    );
}

/// Nothing in the log that an operator would have to see, but what was made.
fn log(verdicts: &mut Verdicts, place: &Place, books: &Books) -> anyhow::Result<()> {
    let text = fs::read_to_string(place.log()).context("the gateway has no log")?;
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| Value::from(line));
        let level = line["level"].as_str().unwrap_or("ERROR");
        if ["WARN", "ERROR"].contains(&level) {
            let message = line["fields"]["message"]
                .as_str()
                .map_or_else(|| line.to_string(), str::to_owned);
            *found.entry(message).or_default() += 1;
        }
    }
    let made: u64 = books.injected.values().sum();
    let good = found
        .iter()
        .all(|(message, &count)| WARNINGS.contains(&&**message) && count <= made);
    verdicts.check(
        good,
        format_args!("warnings in the log: {}", counts(&found)),
    );
    Ok(())
}

/// Memory, files and threads do not grow.
fn growth(verdicts: &mut Verdicts, load: &Load, warm: &[&Sample]) {
    let minutes = warm.last().zip(warm.first()).map_or(0.0, |(last, first)| {
        last.at.saturating_sub(first.at).as_secs_f64() / 60.0
    });
    let limit = MEMORY_SLACK + f64::from(load.growth) / 1000.0 * minutes;
    for (what, read) in [
        (
            "anonymous memory",
            (|sample| mb(sample.anonymous)) as fn(&Sample) -> f64,
        ),
        ("resident memory", |sample| mb(sample.resident)),
    ] {
        let line = Line::through(warm, read);
        let grown = line.a_minute * minutes;
        verdicts.check(
            grown <= limit,
            format_args!(
                "{what}: {grown:+.1} MB in {minutes:.1} minutes after the warm-up, {:+.0} kB a minute, around {:.1} MB (limit {limit:.1} MB)",
                1000.0 * line.a_minute,
                line.mean
            ),
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "counts below a million")]
    for (what, read) in [
        (
            "open files",
            (|sample| sample.open_files() as f64) as fn(&Sample) -> f64,
        ),
        ("threads", |sample| sample.threads as f64),
        ("tasks", |sample| sample.metric("deskgate_tasks")),
    ] {
        let line = Line::through(warm, read);
        let drift = 100.0 * line.a_minute * minutes / line.mean;
        verdicts.check(
            drift <= DRIFT,
            format_args!(
                "{what}: {drift:+.1} % in {minutes:.1} minutes around {:.0} (limit {DRIFT})",
                line.mean
            ),
        );
    }
}

/// Rows and files of the database are bounded by what is kept.
fn rows(verdicts: &mut Verdicts, load: &Load, warm: &[&Sample]) {
    let oldest = warm
        .iter()
        .map(|sample| sample.oldest)
        .max()
        .unwrap_or_default();
    verdicts.check(
        oldest <= OLDEST,
        format_args!(
            "oldest entry of the audit log: {} s (limit {})",
            oldest.as_secs(),
            OLDEST.as_secs()
        ),
    );
    let most = |table: &str| {
        warm.iter()
            .map(|sample| sample.rows(table))
            .max()
            .unwrap_or_default()
    };
    let (sessions, desktops, people) = (most("oauth_sessions"), most("containers"), most("users"));
    let limit = SESSIONS * f64::from(load.people);
    #[expect(clippy::cast_precision_loss, reason = "counts below a million")]
    verdicts.check(
        sessions as f64 <= limit && desktops as f64 <= limit && people <= i64::from(load.people),
        format_args!("rows at most: {sessions} sessions and {desktops} desktops (limit {limit}) of {people} people"),
    );
    let wal = warm
        .iter()
        .map(|sample| sample.wal)
        .max()
        .unwrap_or_default();
    verdicts.check(
        wal <= WAL,
        format_args!(
            "the database's log at most: {:.1} MB (limit {:.1})",
            mb(wal),
            mb(WAL)
        ),
    );
}

/// A straight line through what was read (least squares).
struct Line {
    a_minute: f64,
    mean: f64,
}

impl Line {
    fn through(samples: &[&Sample], read: fn(&Sample) -> f64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a few hundred samples")]
        let count = samples.len() as f64;
        let points: Vec<(f64, f64)> = samples
            .iter()
            .map(|sample| (sample.at.as_secs_f64() / 60.0, read(sample)))
            .collect();
        let mean_of = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
        let (x, y) = (mean_of(|point| point.0), mean_of(|point| point.1));
        let above: f64 = points
            .iter()
            .map(|point| (point.0 - x) * (point.1 - y))
            .sum();
        let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        Self {
            a_minute: if below > 0.0 { above / below } else { 0.0 },
            mean: y,
        }
    }
}

fn table(columns: &[(&str, &Sample)]) {
    type Cell = fn(&Sample) -> String;
    let row = |name: &str, cell: Cell| {
        let cells: Vec<String> = columns.iter().map(|(_, sample)| cell(sample)).collect();
        println!("| {name} | {} |", cells.join(" | "));
    };
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    println!("\n| | {} |\n|---|---|---|---|---|", names.join(" | "));
    row("resident memory, MB", |sample| {
        format!("{:.1}", mb(sample.resident))
    });
    row("anonymous memory, MB", |sample| {
        format!("{:.1}", mb(sample.anonymous))
    });
    row("threads", |sample| sample.threads.to_string());
    row("tasks", |sample| {
        sample.metric("deskgate_tasks").to_string()
    });
    row("open files", |sample| sample.open_files().to_string());
    row("by kind", |sample| counts(&sample.files));
    row("tunnels", |sample| {
        sample.metric("deskgate_tunnels").to_string()
    });
    row("host ports in use", |sample| {
        sample.metric("deskgate_ports_used").to_string()
    });
    row("sessions", |sample| {
        sample.rows("oauth_sessions").to_string()
    });
    row("desktops, ended ones too", |sample| {
        sample.rows("containers").to_string()
    });
    row("entries of the audit log", |sample| {
        sample.rows("audit_log").to_string()
    });
    row("database and its log, MB", |sample| {
        format!("{:.1} + {:.1}", mb(sample.database), mb(sample.wal))
    });
    row("CPU time, s", |sample| {
        format!("{:.1}", sample.metric("process_cpu_seconds_total"))
    });
}

fn work(books: &Books, observer: &Observer) {
    println!("\ndone: {}", counts(&books.done));
    let last = observer.samples.last();
    let sum = |name: &str| last.map_or(0.0, |sample| sample.sum(name, |_| true));
    println!(
        "the gateway: {} requests, {:.1} GB through tunnels",
        sum("deskgate_requests_total"),
        sum("deskgate_tunnel_bytes_total") / 1e9,
    );
    for (what, mut times) in [
        ("a key and its echo", books.echoes.clone()),
        ("a start", books.starts.clone()),
    ] {
        times.sort_unstable();
        let at = |hundredths: usize| {
            times.get((times.len() * hundredths / 100).min(times.len().saturating_sub(1)))
        };
        let ms = |hundredths| at(hundredths).map_or(0, Duration::as_millis);
        println!(
            "{what}: p50 {} ms, p99 {} ms, of {}",
            ms(50),
            ms(99),
            times.len()
        );
    }
}

fn counts<N: std::fmt::Display, C: std::fmt::Display>(all: &BTreeMap<N, C>) -> String {
    if all.is_empty() {
        return "none".to_owned();
    }
    let all: Vec<String> = all
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    all.join(", ")
}
