//! From the driver's lines to one table: medians over the rounds, and their ratio to nginx.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Where the lines are, and where the table goes.
#[derive(clap::Args)]
pub struct Options {
    /// The driver's lines
    #[arg(long)]
    results: PathBuf,
    /// Description of the machine, put above the table
    #[arg(long)]
    machine: Option<PathBuf>,
    /// File for the table, which is printed anyway
    #[arg(long)]
    out: Option<PathBuf>,
}

/// The peer that the others are compared with.
const REFERENCE: &str = "nginx";
/// Names in lines and in the table, in the table's order.
const PEERS: [(&str, &str); 6] = [
    (REFERENCE, "nginx"),
    ("nginx-auth", "nginx + auth_request"),
    ("haproxy", "HAProxy"),
    ("caddy", "Caddy"),
    ("chp", "configurable-http-proxy"),
    ("deskgate", "Deskgate"),
];
/// Cores kept busy by others from which on a run is said to be disturbed.
const DISTURBED: f64 = 0.1;

/// One line of the table.
struct Row {
    /// The measurement's label and the field of its line.
    label: &'static str,
    field: &'static str,
    title: &'static str,
    /// What Deskgate may use at most.
    limit: &'static str,
}

const fn row(
    label: &'static str,
    field: &'static str,
    title: &'static str,
    limit: &'static str,
) -> Row {
    Row {
        label,
        field,
        title,
        limit,
    }
}

const ROWS: [Row; 17] = [
    row(
        "request",
        "cost",
        "CPU per request, 1 kB answer, µs",
        "0.8 × nginx",
    ),
    row(
        "body",
        "cost",
        "CPU per MB of HTTP body, ms",
        "0.65 × nginx",
    ),
    row(
        "connect",
        "cost",
        "CPU per connection, full handshake, µs",
        "0.5 × nginx",
    ),
    row(
        "resume",
        "cost",
        "CPU per connection, resumed, µs",
        "0.55 × nginx",
    ),
    row(
        "echo-1",
        "cost",
        "CPU per 64 B echo, 1 connection, µs",
        "0.9 × nginx",
    ),
    row(
        "echo-32",
        "cost",
        "CPU per 64 B echo, 32 connections, µs",
        "0.65 × nginx",
    ),
    row(
        "flood-16",
        "cost",
        "CPU per MB, 16 kB frames flat out, ms",
        "0.6 × nginx",
    ),
    row(
        "flood-64",
        "cost",
        "CPU per MB, 64 kB frames flat out, ms",
        "0.5 × nginx",
    ),
    row(
        "paced-16",
        "cost",
        "CPU per 16 kB frame, 10 × 60 fps, µs",
        "0.65 × nginx",
    ),
    row(
        "paced-64",
        "cost",
        "CPU per 64 kB frame, 10 × 60 fps, µs",
        "0.55 × nginx",
    ),
    row(
        "idle",
        "fresh_kb",
        "memory per idle WebSocket, fresh, kB",
        "20",
    ),
    row(
        "idle",
        "used_kb",
        "memory per idle WebSocket, after use, kB",
        "20",
    ),
    row(
        "latency",
        "p50_us",
        "latency at 1000 requests/s, p50, µs",
        "",
    ),
    row(
        "latency",
        "p99_us",
        "latency at 1000 requests/s, p99, µs",
        "1 × nginx",
    ),
    row(
        "echo-1",
        "p99_us",
        "latency of an echo, 1 connection, p99, µs",
        "1 × nginx",
    ),
    row(
        "paced-16",
        "p99_us",
        "time between 16 kB frames, p99, µs",
        "1 × nginx",
    ),
    row(
        "request",
        "busy",
        "share of a core while serving requests",
        "",
    ),
];

/// Values by label, field and peer.
type Values = BTreeMap<(String, String, String), Vec<f64>>;

/// Put behind a figure of a measurement that had errors.
const MARK: &str = " !";

/// Reads the lines and prints the table.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let text = fs::read_to_string(&options.results)
        .with_context(|| format!("cannot read {}", options.results.display()))?;
    let mut values = Values::new();
    let mut others = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let line: Value = serde_json::from_str(line).context("a line is no JSON")?;
        let (Some(peer), Some(label)) = (line["peer"].as_str(), line["label"].as_str()) else {
            bail!("a line has no peer or label");
        };
        for (field, value) in line.as_object().into_iter().flatten() {
            if let Some(value) = value.as_f64() {
                let key = (label.to_owned(), field.clone(), peer.to_owned());
                values.entry(key).or_default().push(value);
            }
        }
        others.extend(line["others"].as_f64());
    }

    let mut out = String::new();
    if let Some(machine) = &options.machine {
        out = fs::read_to_string(machine)
            .with_context(|| format!("cannot read {}", machine.display()))?;
        out.push('\n');
    }
    out.push_str(&table(&values)?);
    out.push_str(&disturbance(others)?);
    print!("{out}");
    if let Some(path) = &options.out {
        fs::write(path, &out).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn table(values: &Values) -> anyhow::Result<String> {
    let mut out = String::from("| cost of the proxy |");
    for (_, title) in PEERS {
        write!(out, " {title} |")?;
    }
    out.push_str(" Deskgate at most |\n|---|");
    out.push_str(&"---|".repeat(PEERS.len() + 1));
    out.push('\n');
    let of = |label: &str, field: &str, peer: &str| {
        let key = (label.into(), field.into(), peer.into());
        values.get(&key).map_or(&[][..], Vec::as_slice)
    };
    for row in &ROWS {
        write!(out, "| {} |", row.title)?;
        let reference = median(of(row.label, row.field, REFERENCE)).filter(|base| *base > 0.0);
        for (peer, _) in PEERS {
            let Some(value) = median(of(row.label, row.field, peer)) else {
                out.push_str(" – |");
                continue;
            };
            write!(out, " {}", figure(value))?;
            if let Some(base) = reference.filter(|_| peer != REFERENCE) {
                write!(out, " ({:.2})", value / base)?;
            }
            let failed = of(row.label, "errors", peer).iter().sum::<f64>() > 0.0;
            write!(out, "{} |", if failed { MARK } else { "" })?;
        }
        writeln!(out, " {} |", row.limit)?;
    }
    out.push_str("| errors in all measurements |");
    for (peer, _) in PEERS {
        let rounds = values
            .iter()
            .filter(|((_, field, of), _)| field == "errors" && of == peer);
        let counts: Vec<f64> = rounds.flat_map(|(_, counts)| counts.clone()).collect();
        if counts.is_empty() {
            out.push_str(" – |");
        } else {
            write!(out, " {} |", counts.iter().sum::<f64>())?;
        }
    }
    out.push_str(" 0 |\n\nIn brackets: the ratio to nginx.");
    if out.contains(MARK) {
        write!(
            out,
            " Behind{MARK}: there were errors, and the figure is of little worth."
        )?;
    }
    Ok(out)
}

/// Says how quiet the machine was.
fn disturbance(others: Vec<f64>) -> anyhow::Result<String> {
    let mut out = String::new();
    if let Some(share) = median(&others) {
        let most = others.into_iter().fold(0.0, f64::max);
        writeln!(
            out,
            " Other processes kept {share:.2} cores busy in the median measurement, {most:.2} at most."
        )?;
        if share > DISTURBED {
            out.push_str("**The machine was not quiet: CPU times are somewhat too high, latencies mean nothing.**\n");
        }
    }
    Ok(out)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(sorted[middle - 1], upper))
}

/// Three digits, as far as they are there.
fn figure(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
