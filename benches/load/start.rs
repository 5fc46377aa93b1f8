//! How long a start takes, as the person who presses the button sees it: a gateway in this process, the real engine, and
//! a crowd that asks for a desktop each in the same moment (`scripts/bench-start`).

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use deskgate::app::{App, Core};
use deskgate::authn::session::Login;
use deskgate::clock::{Clock, SystemClock};
use deskgate::config::Config;
use deskgate::config::raw::Raw;
use deskgate::demo;
use deskgate::engine::Engine as _;
use deskgate::engine::docker::DockerEngine;
use deskgate::model::audit::Actor;
use deskgate::model::id::DesktopId;
use deskgate::model::reason::Reason;
use deskgate::model::user::{Identity, Role};
use deskgate::telemetry::metrics::state::State;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::peer::{Connection, Door, Peer};
use crate::socket;
use crate::tls::Pair;

/// How long a crowd may take to have its desktops, and the pool to be full.
const PATIENCE: Duration = Duration::from_secs(300);
/// Desktops that are removed at the same time between two rounds.
const PARALLEL_REMOVES: usize = 4;

/// Whose starts are measured.
#[derive(clap::Args)]
pub struct Options {
    /// How many people start at once
    #[arg(long)]
    crowd: u32,
    /// How often
    #[arg(long)]
    rounds: u32,
    /// Keep a container ready for each of them
    #[arg(long)]
    warm: bool,
    /// Name of the installation in the engine's labels
    #[arg(long)]
    instance: String,
    /// Host ports for desktops
    #[arg(long, default_value = "19000-19199")]
    ports: String,
    /// What the gateway presents
    #[command(flatten)]
    pair: Pair,
}

/// How long one start took.
struct Time {
    /// Until the gateway said that the desktop runs.
    told: Duration,
    /// Until the desktop had answered.
    seen: Duration,
}

/// One person.
struct Person {
    name: String,
    secret: String,
}

/// Starts them round after round, and prints one line: the crowd, p50 and p95 in milliseconds, and p50 until the gateway said that it
/// runs.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = config(&options)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let core = Core::build(&config, clock.clone()).await?;
    let engine = DockerEngine::new(config.engine.clone());
    let bench = Bench {
        people: people(&core, options.crowd).await?,
        desktops: core.desktops.clone(),
        metrics: core.metrics.clone(),
        options,
    };
    let app = App::on(core, config, clock)?;
    let port = app.local_addr()?.port();
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let measured = async {
        let times = bench.rounds(port).await;
        stop.cancel();
        times
    };
    let ((), times) = tokio::join!(app.run(stopped), measured);
    for container in engine.list(&bench.options.instance).await? {
        engine.remove(&container.id).await?;
    }
    let (mut told, mut seen): (Vec<Duration>, Vec<Duration>) = times?
        .into_iter()
        .map(|time| (time.told, time.seen))
        .unzip();
    told.sort_unstable();
    seen.sort_unstable();
    let line = json!({
        "warm": bench.options.warm,
        "crowd": bench.options.crowd,
        "starts": seen.len(),
        "told": percentile(&told, 50),
        "p50": percentile(&seen, 50),
        "p95": percentile(&seen, 95),
    });
    println!("{line}");
    Ok(())
}

/// What the rounds need.
struct Bench {
    people: Vec<Person>,
    desktops: deskgate::desktop::Desktops,
    metrics: deskgate::telemetry::metrics::Metrics,
    options: Options,
}

impl Bench {
    /// The times of all starts.
    async fn rounds(&self, port: u16) -> anyhow::Result<Vec<Time>> {
        // The networks are there before anybody comes, as in a gateway that has run for a while.
        self.desktops.reconcile().await?;
        let mut times = Vec::new();
        for _ in 0..self.options.rounds {
            if self.options.warm {
                self.fill().await?;
            }
            let (some, ids) = self.round(port).await?;
            times.extend(some);
            let by = &Actor::system("bench");
            let removed = futures_util::stream::iter(ids)
                .map(|id| self.desktops.remove(id, by, Reason::Asked))
                .buffer_unordered(PARALLEL_REMOVES);
            let removed: Vec<_> = removed.collect().await;
            removed.into_iter().collect::<Result<Vec<_>, _>>()?;
        }
        Ok(times)
    }

    /// Waits until there is a container for everybody.
    async fn fill(&self) -> anyhow::Result<()> {
        let count = self.options.crowd;
        let full =
            format!("deskgate_pool_members{{template=\"desktop\",state=\"ready\"}} {count}\n");
        let begun = Instant::now();
        while !self.metrics.open_metrics(State::default()).contains(&full) {
            ensure!(begun.elapsed() < PATIENCE, "the pool is never full");
            self.desktops.fill_pool().await?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// One start of everybody: how long each took, and which desktop it is.
    async fn round(&self, port: u16) -> anyhow::Result<(Vec<Time>, Vec<DesktopId>)> {
        let together = Arc::new(Barrier::new(self.people.len()));
        let mut starts = JoinSet::new();
        for person in &self.people {
            let door = Door::of(format!("https://127.0.0.1:{port}"));
            let (peer, together) = (Peer::new(&door)?, together.clone());
            let secret = person.secret.clone();
            let name = person.name.clone();
            starts.spawn(async move {
                let connection = peer.connect(socket::SMALL).await;
                together.wait().await;
                let start = start(connection?, &peer.host, &secret);
                let start = tokio::time::timeout(PATIENCE, start).await;
                start
                    .context("it took too long")?
                    .with_context(|| format!("no desktop for {name}"))
            });
        }
        let done = starts.join_all().await;
        let done: Vec<_> = done.into_iter().collect::<anyhow::Result<_>>()?;
        Ok(done.into_iter().unzip())
    }
}

/// From the request for a desktop to the first answer of that desktop.
async fn start(
    mut connection: Connection,
    host: &str,
    secret: &str,
) -> anyhow::Result<(Time, DesktopId)> {
    let who = format!("Host: {host}\r\nAuthorization: Bearer {secret}\r\n");
    let begun = Instant::now();
    let request = format!(
        "POST /api/container/start HTTP/1.1\r\n{who}Prefer: wait=120\r\nContent-Length: 0\r\n\r\n"
    );
    let (status, answer) = exchange(&mut connection, &request).await?;
    let told = begun.elapsed();
    let container = &serde_json::from_slice::<Value>(&answer)?["container"];
    ensure!(
        status == 201 && container["status"] == "running",
        "status {status}: {container}"
    );
    let id = container["id"].as_str().context("no id")?;
    let request = format!("GET /desktop/{id}/ HTTP/1.1\r\n{who}\r\n");
    connection.send(request.as_bytes()).await?;
    let answer = connection.head().await?;
    ensure!(answer.status == 200, "its page: status {}", answer.status);
    let seen = begun.elapsed();
    Ok((Time { told, seen }, id.parse()?))
}

async fn exchange(connection: &mut Connection, request: &str) -> anyhow::Result<(u16, Vec<u8>)> {
    connection.send(request.as_bytes()).await?;
    let answer = connection.head().await?;
    while connection.buffer.len() < answer.body {
        connection.more().await?;
    }
    let body = connection.buffer.drain(..answer.body).collect();
    Ok((answer.status, body))
}

/// Nearest rank, in milliseconds.
fn percentile(sorted: &[Duration], percent: usize) -> u128 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0, Duration::as_millis)
}

async fn people(core: &Core, count: u32) -> anyhow::Result<Vec<Person>> {
    let mut people = Vec::new();
    for number in 0..count {
        let name = format!("pupil-{number}");
        let identity = Identity {
            issuer: "https://id.test".into(),
            subject: name.clone(),
            username: name.clone(),
            name: None,
            email: None,
            role: Role::Student,
            groups: Vec::new(),
        };
        let now = SystemClock.timestamp();
        let user = core.database.upsert_user(&identity, now).await?;
        let session = core.sessions.create(&user, Login::default()).await?;
        let secret = session.expose().to_owned();
        people.push(Person { name, secret });
    }
    Ok(people)
}

fn config(options: &Options) -> anyhow::Result<Config> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let directory = options.pair.certificate.parent().context("no directory")?;
    let database = directory.join(format!("{}.db", options.instance));
    let docker = std::env::var("DOCKER_HOST").ok();
    let mut raw = Raw::load(None, &|name| {
        docker.clone().filter(|_| name == "DOCKER_HOST")
    });
    for (key, value) in [
        ("PUBLIC_URL", format!("https://localhost:{port}")),
        ("LISTEN", format!("127.0.0.1:{port}")),
        ("TLS_CERT", options.pair.certificate.display().to_string()),
        ("TLS_KEY", options.pair.key.display().to_string()),
        ("DATABASE_URL", format!("sqlite://{}", database.display())),
        (
            "SECRET_KEY",
            "only-for-the-benchmark-on-loopback".to_owned(),
        ),
        ("OAUTH_ISSUER", "https://id.test".to_owned()),
        ("OAUTH_CLIENT_ID", "bench".to_owned()),
        ("METRICS_LISTEN", "off".to_owned()),
        ("INSTANCE", options.instance.clone()),
        ("PORT_RANGE", options.ports.clone()),
        ("MAX_DESKTOPS", "200".to_owned()),
        ("START_RATE", "1000/1m".to_owned()),
        ("DRAIN", "1s".to_owned()),
    ] {
        raw.set(key, value);
    }
    let warm = if options.warm { options.crowd } else { 0 };
    let template = format!(
        "id = 'desktop'\nimage = '{}'\nhome = 'none'\nwarm = {warm}",
        demo::IMAGE
    );
    raw.templates.push(toml::from_str(&template)?);
    Ok(Config::resolve(raw)?)
}
