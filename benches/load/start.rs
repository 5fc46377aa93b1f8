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
use deskgate::model::desktop::State as Status;
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
/// Desktops that are ended at the same time between two rounds.
const PARALLEL_ENDS: usize = 4;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// A start of people who never had a desktop, and have no home.
    Cold,
    /// One of people who have a home and the ended container of the time before, which goes first.
    Again,
    /// One with a container ready for each of them.
    Warm,
    /// A paused desktop, from the request that wakes it to its answer.
    Wake,
}

/// Whose starts are measured.
#[derive(clap::Args)]
pub struct Options {
    /// How many people start at once
    #[arg(long)]
    crowd: u32,
    /// How often
    #[arg(long)]
    rounds: u32,
    /// What they wait for
    #[arg(long)]
    kind: Kind,
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
    /// Until the gateway said that the desktop runs, where it was asked for one.
    told: Option<Duration>,
    /// Until the desktop had answered.
    seen: Duration,
}

/// One person.
struct Person {
    name: String,
    secret: String,
}

/// Starts them round after round, and prints one line: the kind, the crowd, p50 and p95 in milliseconds, and p50 until the gateway
/// said that it runs.
pub async fn run(options: Options) -> anyhow::Result<()> {
    let config = config(&options)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let core = Core::build(&config, clock.clone()).await?;
    let bench = Bench {
        people: people(&core, options.crowd).await?,
        desktops: core.desktops.clone(),
        metrics: core.metrics.clone(),
        engine: DockerEngine::new(config.engine.clone()),
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
    for container in bench.engine.list(&bench.options.instance).await? {
        bench.engine.remove(&container.id).await?;
    }
    let times = times?;
    let mut told: Vec<Duration> = times.iter().filter_map(|time| time.told).collect();
    let mut seen: Vec<Duration> = times.iter().map(|time| time.seen).collect();
    told.sort_unstable();
    seen.sort_unstable();
    let line = json!({
        "kind": bench.options.kind,
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
    engine: DockerEngine,
    options: Options,
}

impl Bench {
    /// The times of all starts.
    async fn rounds(&self, port: u16) -> anyhow::Result<Vec<Time>> {
        // The networks are there before anybody comes, as in a gateway that has run for a while.
        self.desktops.reconcile().await?;
        match self.options.kind {
            Kind::Wake => return self.wakes(port).await,
            // Whose old containers the first round that counts finds.
            Kind::Again => self.end(self.round(port).await?.1).await?,
            Kind::Cold | Kind::Warm => {}
        }
        let mut times = Vec::new();
        for _ in 0..self.options.rounds {
            if self.options.kind == Kind::Warm {
                self.fill().await?;
            }
            let (some, ids) = self.round(port).await?;
            times.extend(some);
            self.end(ids).await?;
        }
        Ok(times)
    }

    /// Ends desktops: those of people who come again keep their containers, as everybody's do for a while.
    async fn end(&self, ids: Vec<DesktopId>) -> anyhow::Result<()> {
        let by = &Actor::system("bench");
        let end = |id: DesktopId| async move {
            if self.options.kind == Kind::Again {
                let stopped = self.desktops.stop(id, by, Reason::Asked).await;
                stopped.map(drop)
            } else {
                let removed = self.desktops.remove(id, by, Reason::Asked).await;
                removed.map(drop)
            }
        };
        let ended = futures_util::stream::iter(ids)
            .map(end)
            .buffer_unordered(PARALLEL_ENDS);
        let ended: Vec<_> = ended.collect().await;
        ended.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(())
    }

    /// The times of all wakes of desktops that stay. They are paused at the engine, which the gateway takes for its own doing.
    async fn wakes(&self, port: u16) -> anyhow::Result<Vec<Time>> {
        let (_, ids) = self.round(port).await?;
        let mut times = Vec::new();
        for _ in 0..self.options.rounds {
            for id in &ids {
                let row = self.desktops.get(*id).await?.context("no row")?;
                self.engine.pause(&row.container_name).await?;
            }
            self.desktops.reconcile().await?;
            for id in &ids {
                let row = self.desktops.get(*id).await?.context("no row")?;
                ensure!(row.status == Status::Paused, "it is {:?}", row.status);
            }
            times.extend(self.together(port, Some(&ids)).await?.0);
        }
        self.end(ids).await?;
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
        self.together(port, None).await
    }

    /// The same, or with `ids` a visit of everybody to the desktop that is theirs already.
    async fn together(
        &self,
        port: u16,
        ids: Option<&[DesktopId]>,
    ) -> anyhow::Result<(Vec<Time>, Vec<DesktopId>)> {
        let together = Arc::new(Barrier::new(self.people.len()));
        let mut starts = JoinSet::new();
        for (number, person) in self.people.iter().enumerate() {
            let theirs = ids.map(|ids| ids[number]);
            let door = Door::of(format!("https://127.0.0.1:{port}"));
            let (peer, together) = (Peer::new(&door)?, together.clone());
            let secret = person.secret.clone();
            let name = person.name.clone();
            starts.spawn(async move {
                let connection = peer.connect(socket::SMALL).await;
                together.wait().await;
                let start = start(connection?, &peer.host, &secret, theirs);
                let start = tokio::time::timeout(PATIENCE, start).await;
                let (time, id) = start
                    .context("it took too long")?
                    .with_context(|| format!("no desktop for {name}"))?;
                anyhow::Ok((number, time, id))
            });
        }
        let done = starts.join_all().await;
        let mut done: Vec<_> = done.into_iter().collect::<anyhow::Result<_>>()?;
        // In the order of the people, so that each comes back to their own.
        done.sort_unstable_by_key(|(number, ..)| *number);
        Ok(done.into_iter().map(|(_, time, id)| (time, id)).unzip())
    }
}

/// From the request for a desktop, or for the page of the one that is there, to the first answer of that desktop.
async fn start(
    mut connection: Connection,
    host: &str,
    secret: &str,
    theirs: Option<DesktopId>,
) -> anyhow::Result<(Time, DesktopId)> {
    let who = format!("Host: {host}\r\nAuthorization: Bearer {secret}\r\n");
    let begun = Instant::now();
    let (id, told) = match theirs {
        Some(id) => (id, None),
        None => (
            ask_for_one(&mut connection, &who).await?,
            Some(begun.elapsed()),
        ),
    };
    let request = format!("GET /desktop/{id}/ HTTP/1.1\r\n{who}\r\n");
    connection.send(request.as_bytes()).await?;
    let answer = connection.head().await?;
    ensure!(answer.status == 200, "its page: status {}", answer.status);
    let seen = begun.elapsed();
    Ok((Time { told, seen }, id))
}

async fn ask_for_one(connection: &mut Connection, who: &str) -> anyhow::Result<DesktopId> {
    let request = format!(
        "POST /api/container/start HTTP/1.1\r\n{who}Prefer: wait=120\r\nContent-Length: 0\r\n\r\n"
    );
    let (status, answer) = exchange(connection, &request).await?;
    let container = &serde_json::from_slice::<Value>(&answer)?["container"];
    ensure!(
        status == 201 && container["status"] == "running",
        "status {status}: {container}"
    );
    Ok(container["id"].as_str().context("no id")?.parse()?)
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

/// Nearest rank, in milliseconds; nothing of nothing.
fn percentile(sorted: &[Duration], percent: usize) -> Option<u128> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(Duration::as_millis)
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
    let (home, warm) = match options.kind {
        Kind::Cold | Kind::Wake => ("none", 0),
        Kind::Again => ("volume", 0),
        Kind::Warm => ("none", options.crowd),
    };
    let template = format!(
        "id = 'desktop'\nimage = '{}'\nhome = '{home}'\nwarm = {warm}",
        demo::IMAGE
    );
    raw.templates.push(toml::from_str(&template)?);
    Ok(Config::resolve(raw)?)
}
