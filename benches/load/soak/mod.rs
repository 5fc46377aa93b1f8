//! A school at a whole gateway, for minutes: people log in, start desktops, watch and touch them, leave them in every
//! way there is, and come back, while what the gateway takes of its machine is read from outside (`scripts/soak`).
//!
//! Two processes: `gateway` is the program itself, on its own engine client, database, reaper and proxy; `people` is
//! everything around it, so that none of that is taken for the gateway's: the people, the `OpenID` provider, and an
//! engine whose containers are strict fake desktops.

mod browser;
mod daemon;
mod gateway;
mod judge;
mod ledger;
mod person;
mod random;
mod sample;
mod stream;
#[path = "../../../tests/it/support"]
#[expect(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "what the tests stand on, of which a load needs a part"
)]
mod support {
    pub mod echo;
    pub mod fake_desktop;
    pub mod fake_desktop_wire;
    pub mod fake_engine;
    mod fake_engine_hands;
    pub mod fake_rfb;
}

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use deskgate::clock::SystemClock;
use deskgate::demo::accounts::Account;
use deskgate::demo::provider::{ClientRegistration, Provider};
use deskgate::tasks::Tasks;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::peer::{Door, Peer};
use daemon::Daemon;
use ledger::Ledger;
use person::Person;
use sample::Observer;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long it may take to be empty again when everybody has left: a session that was left behind ends after 90 s, and
/// what has ended is cleared away every 30 s.
const EMPTYING: Duration = Duration::from_secs(180);
/// How long everybody may take to leave.
const FAREWELL: Duration = Duration::from_secs(60);
/// How often the gateway is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What both processes call the client at the provider.
const CLIENT: &str = "soak";
const CLIENT_SECRET: &str = "only-for-the-soak-on-loopback";

/// Which part.
#[derive(clap::Args)]
pub struct Options {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Run the gateway
    Gateway(gateway::Options),
    /// Run everything around it
    People(Load),
}

/// Where everything is.
#[derive(clap::Args, Clone, Debug)]
pub struct Place {
    /// Directory of the database, the engine's socket and the log; the certificate is there already
    #[arg(long)]
    directory: PathBuf,
    /// Port of the gateway's front door
    #[arg(long)]
    port: u16,
    /// Port of its metrics
    #[arg(long)]
    metrics_port: u16,
    /// Port of the provider
    #[arg(long)]
    provider_port: u16,
}

/// What is put on the gateway.
#[derive(clap::Args, Clone, Debug)]
pub struct Load {
    /// How many people
    #[arg(long, default_value_t = 200)]
    people: u16,
    /// How long they stay, minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Where their chances come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Largest growth of the memory that counts as none, kB a minute
    #[arg(long, default_value_t = 500)]
    growth: u32,
}

impl Load {
    /// How long everybody stays.
    fn length(&self) -> Duration {
        Duration::from_secs(60 * self.minutes)
    }

    /// After what time what is read counts: everybody has been there a few times, what is kept for a while has been
    /// thrown away as often, and the allocator has most of what it needs.
    fn warm_up(&self) -> Duration {
        (self.length() * 3 / 5).min(Duration::from_secs(360))
    }

    /// Within what time the people come for the first time.
    fn arrival(&self) -> Duration {
        (self.length() * 2 / 15).min(Duration::from_secs(80))
    }
}

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn database(&self) -> PathBuf {
        self.file("deskgate.db")
    }

    fn engine(&self) -> PathBuf {
        self.file("engine.sock")
    }

    fn log(&self) -> PathBuf {
        self.file("deskgate.log")
    }

    fn origin(&self) -> String {
        format!("https://localhost:{}", self.port)
    }
}

/// Runs a part. The people's ends with 1 if a promise was broken.
pub async fn run(options: Options) -> anyhow::Result<()> {
    match options.part {
        Part::Gateway(more) => gateway::run(&options.place, more).await,
        Part::People(load) => people(&options.place, &load).await,
    }
}

async fn people(place: &Place, load: &Load) -> anyhow::Result<()> {
    let ledger = Arc::new(Ledger::default());
    let tasks = Tasks::new();
    let daemon = Daemon::start(&place.engine(), &ledger, load.seed)?;
    provider(place, load).await?.serve(&tasks);
    println!("{}", serde_json::json!({ "pid": std::process::id() }));
    let pid = daemon.client(PATIENCE).await?;
    let mut observer = Observer::start(place, pid).await?;
    observer.wait_until_ready(PATIENCE).await?;

    let stop = CancellationToken::new();
    let begun = Instant::now();
    let mut present = JoinSet::new();
    let peer = Peer::new(&Door::of(format!("https://127.0.0.1:{}", place.port)))?;
    for number in 0..load.people {
        let person = Person::new(number, (&peer, place), (&ledger, load.seed))?;
        let later = load.arrival() * u32::from(number) / u32::from(load.people);
        present.spawn(person.live(later, stop.clone()));
    }
    let faults = daemon.trouble(load.arrival());
    while begun.elapsed() < load.length() {
        sleep(LOOK).await;
        observer.look(begun.elapsed()).await?;
        observer.tell(&ledger);
    }
    // What is broken on purpose from now on could no longer be told from what is not.
    faults.cancel();
    stop.cancel();
    let farewell = async { while present.join_next().await.is_some() {} };
    let everybody = tokio::time::timeout(FAREWELL, farewell).await;
    if everybody.is_err() {
        ledger.error("leaving", &format!("{} people do not leave", present.len()));
        present.shutdown().await;
    }
    let emptied = observer.wait_until_empty(EMPTYING).await?;
    let good = judge::run((load, place), &observer, &ledger, &emptied)?;
    tasks.stop(Duration::from_secs(1)).await;
    if !good {
        bail!("a promise was broken");
    }
    Ok(())
}

/// A provider that knows everybody.
async fn provider(place: &Place, load: &Load) -> anyhow::Result<Provider> {
    let accounts: Vec<Account> = (0..load.people)
        .map(|number| {
            // They are needed as long as the process lives.
            let text = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
            Account {
                username: text(person::name(number)),
                subject: text(format!("soak-{number}")),
                given_name: "Pupil",
                family_name: text(number.to_string()),
                email: text(format!("{}@school.example", person::name(number))),
                role: ("ROLE_STUDENT", "Schüler"),
                groups: &[(1, "klasse.8a", "Klasse 8a")],
            }
        })
        .collect();
    let client = ClientRegistration {
        client_id: CLIENT.to_owned(),
        client_secret: CLIENT_SECRET.to_owned(),
        redirect_uris: vec![format!("{}/authorize", place.origin())],
        post_logout_redirect_uris: vec![format!("{}/", place.origin())],
    };
    let listen = ([127, 0, 0, 1], place.provider_port).into();
    Provider::for_accounts(accounts.leak(), listen, client, Arc::new(SystemClock))
        .await
        .context("no provider")
}
