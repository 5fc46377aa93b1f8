//! The gateway: the program itself, with settings under which everything that ends by itself does so within two minutes.

use std::time::Duration;

use clap::{Parser as _, ValueEnum};
use deskgate::cli::Cli;
use deskgate::config::raw::Raw;
use deskgate::telemetry;

use super::{CLIENT, CLIENT_SECRET, Place};

/// How often it is spoilt, and by how many bytes.
const SPOIL_PERIOD: Duration = Duration::from_millis(100);
const SPOIL_BYTES: usize = 8 * 1024;

/// How it is run.
#[derive(clap::Args)]
pub struct Options {
    /// Lose something all the time, to see that it is found out
    #[arg(long)]
    spoil: Option<Spoil>,
}

/// What is lost.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Spoil {
    /// Memory, 4.8 MB a minute
    Memory,
    /// A file descriptor every ten seconds
    Files,
}

/// Serves until it is ended by a signal.
pub async fn run(place: &Place, options: Options) -> anyhow::Result<()> {
    if let Some(spoil) = options.spoil {
        std::thread::spawn(move || lose(spoil));
    }
    let cli = Cli::parse_from(["deskgate", "serve"]);
    let raw = settings(place);
    let log = telemetry::init(&cli.log(&raw));
    // Its log says how it ended, and nobody is there any more who would ask.
    let _ = cli.run(raw, log).await;
    Ok(())
}

fn settings(place: &Place) -> Raw {
    let file = |name: &str| place.file(name).display().to_string();
    let mut raw = Raw::load(None, &|_| None);
    for (key, value) in [
        ("PUBLIC_URL", place.origin()),
        ("LISTEN", format!("127.0.0.1:{}", place.port)),
        (
            "METRICS_LISTEN",
            format!("127.0.0.1:{}", place.metrics_port),
        ),
        ("TLS_CERT", file("cert.pem")),
        ("TLS_KEY", file("key.pem")),
        (
            "DATABASE_URL",
            format!("sqlite://{}", place.database().display()),
        ),
        (
            "DOCKER_HOST",
            format!("unix://{}", place.engine().display()),
        ),
        (
            "SECRET_KEY",
            "only-for-the-benchmark-on-loopback".to_owned(),
        ),
        (
            "OAUTH_ISSUER",
            format!("http://localhost:{}", place.provider_port),
        ),
        ("OAUTH_CLIENT_ID", CLIENT.to_owned()),
        ("OAUTH_CLIENT_SECRET", CLIENT_SECRET.to_owned()),
    ] {
        raw.set(key, value);
    }
    for (key, value) in [
        ("LOG_FORMAT", "json"),
        ("WORKERS", "2"),
        ("PORT_RANGE", "16000-16499"),
        ("MAX_DESKTOPS", "400"),
        // As many as ordinary limits of open files allow without a warning.
        ("MAX_CONNECTIONS", "4000"),
        // Whether this machine has memory to spare is not the question.
        ("MIN_FREE_MEMORY", "off"),
        ("DESKTOP_ON_LOGOUT", "stop"),
        ("DESKTOP_IDLE_PAUSE", "20s"),
        ("DESKTOP_IDLE_STOP", "90s"),
        ("STOPPED_RETENTION", "20s"),
        ("SESSION_IDLE", "90s"),
        ("AUDIT_RETENTION", "1m"),
        ("DRAIN", "2s"),
    ] {
        raw.set(key, value);
    }
    raw
}

fn lose(spoil: Spoil) {
    let (mut memory, mut files) = (Vec::new(), Vec::new());
    for round in 0_u64.. {
        match spoil {
            Spoil::Memory => memory.push(vec![1_u8; SPOIL_BYTES]),
            Spoil::Files if round % 100 == 0 => {
                files.extend(std::fs::File::open("/proc/self/stat"));
            }
            Spoil::Files => {}
        }
        std::hint::black_box((&memory, &files));
        std::thread::sleep(SPOIL_PERIOD);
    }
}
