//! Deskgate itself, in this process, with an engine whose only desktop is the stub.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use deskgate::app::{App, Core};
use deskgate::authn::session::Login;
use deskgate::clock::{Clock, SystemClock};
use deskgate::config::Config;
use deskgate::config::raw::Raw;
use deskgate::engine::spec::{ContainerSpec, Network};
use deskgate::engine::{
    Container, ContainerState, Engine, EngineError, Event, Image, OwnNetwork, Percent, Stats,
};
use deskgate::model::audit::Actor;
use deskgate::model::user::{Identity, Role};
use futures_util::stream::{self, BoxStream};
use serde_json::json;

use crate::tls::Pair;

/// How long the desktop may take to be ready.
const START_TIME: Duration = Duration::from_secs(30);

/// How the gateway is run.
#[derive(clap::Args)]
pub struct Options {
    /// Threads that carry traffic
    #[arg(long, default_value = "1")]
    pub workers: NonZeroUsize,
    /// Port of the stub on 127.0.0.1
    #[arg(long)]
    pub stub_port: u16,
    /// `NAME=VALUE` of a setting of the gateway, in place of its default
    #[arg(long = "set")]
    settings: Vec<String>,
    /// Call `mark` for each line on the standard input, so that a profiler can tell one measurement from the next
    #[arg(long)]
    marks: bool,
    /// What all proxies of a run present
    #[command(flatten)]
    pub pair: Pair,
}

/// Serves until it is ended by a signal.
///
/// As soon as the desktop is ready, prints one line: `{"port": …, "prefix": "/desktop/<id>/", "cookie":
/// "name=value", "pid": …}`.
pub fn run(options: Options) -> anyhow::Result<()> {
    if options.marks {
        std::thread::spawn(|| {
            let lines = std::io::stdin().lines().enumerate();
            lines.for_each(|(at, _)| mark(at));
        });
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(serve(options))
}

/// Where one measurement ends and the next begins: callgrind writes down what it has counted before it comes here
/// (`--dump-before`).
#[inline(never)]
fn mark(at: usize) {
    std::hint::black_box(at);
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let config = config(&options)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let engine = Arc::new(StubEngine::default());
    let core = Core::with_engine(&config, clock.clone(), engine).await?;
    let identity = Identity {
        issuer: "https://id.test".into(),
        subject: "bench".into(),
        username: "bench".into(),
        name: None,
        email: None,
        role: Role::Student,
        groups: Vec::new(),
    };
    let user = core
        .database
        .upsert_user(&identity, clock.timestamp())
        .await?;
    let session = core.sessions.create(&user, Login::default()).await?;
    let desktops = core.desktops.clone();
    let app = App::on(core, config, clock)?;
    let port = app.local_addr()?.port();
    let ready = async {
        let (started, _) = desktops.start(&user, &Actor::system("bench"), None).await?;
        let id = started.id;
        let desktop = desktops.wait_launched(id, START_TIME).await?;
        let desktop = desktop.context("the desktop is gone")?;
        anyhow::ensure!(
            desktop.status.as_str() == "running",
            "the desktop is {}: {:?}",
            desktop.status.as_str(),
            desktop.status_reason
        );
        let line = json!({
            "port": port,
            "prefix": format!("/desktop/{id}/"),
            "cookie": format!("__Host-Http-session={}", session.expose()),
            "pid": std::process::id(),
        });
        println!("{line}");
        std::future::pending::<anyhow::Result<()>>().await
    };
    tokio::select! {
        // Without signals it is ended the hard way.
        () = app.run(async { drop(deskgate::server::signal::stop_requested().await) }) => Ok(()),
        failed = ready => failed,
    }
}

fn config(options: &Options) -> anyhow::Result<Config> {
    let mut raw = Raw::load(None, &|_| None);
    let stub = options.stub_port.to_string();
    // The origin names the port, so it has to be known before it is listened on.
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    for (key, value) in [
        ("PUBLIC_URL", format!("https://localhost:{port}")),
        ("LISTEN", format!("127.0.0.1:{port}")),
        ("TLS_CERT", options.pair.certificate.display().to_string()),
        ("TLS_KEY", options.pair.key.display().to_string()),
        ("DATABASE_URL", "sqlite::memory:".to_owned()),
        (
            "SECRET_KEY",
            "only-for-the-benchmark-on-loopback".to_owned(),
        ),
        ("OAUTH_ISSUER", "https://id.test".to_owned()),
        ("OAUTH_CLIENT_ID", "bench".to_owned()),
        ("METRICS_LISTEN", "127.0.0.1:0".to_owned()),
        ("WORKERS", options.workers.to_string()),
        ("PORT_RANGE", format!("{stub}-{stub}")),
        // Its desktop is a stub, and takes none.
        ("MIN_FREE_MEMORY", "off".to_owned()),
        ("DRAIN", "1s".to_owned()),
    ] {
        raw.set(key, value);
    }
    for setting in &options.settings {
        let (key, value) = setting
            .split_once('=')
            .with_context(|| format!("--set takes NAME=VALUE, not {setting}"))?;
        raw.set(key, value);
    }
    Ok(Config::resolve(raw)?)
}

/// An engine whose containers are a name: the stub is what listens on their port.
#[derive(Debug, Default)]
struct StubEngine {
    containers: Mutex<HashMap<String, (ContainerSpec, ContainerState)>>,
}

impl StubEngine {
    fn containers<T>(
        &self,
        work: impl FnOnce(&mut HashMap<String, (ContainerSpec, ContainerState)>) -> T,
    ) -> T {
        work(
            &mut self
                .containers
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn set(&self, name: &str, state: ContainerState) -> Result<(), EngineError> {
        self.containers(|all| all.get_mut(name).map(|made| made.1 = state))
            .ok_or(EngineError::NotFound)
    }

    fn view(name: &str, (spec, state): &(ContainerSpec, ContainerState)) -> Container {
        Container {
            id: name.to_owned(),
            name: name.to_owned(),
            state: *state,
            labels: spec.labels.clone(),
            exit_code: None,
            oom_killed: false,
            address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            made_at: None,
        }
    }
}

#[async_trait]
impl Engine for StubEngine {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn ping(&self) -> Result<(), EngineError> {
        Ok(())
    }

    async fn prepare(&self, _: &Network, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn image_id(&self, _: &str) -> Result<Option<String>, EngineError> {
        Ok(Some("sha256:0".into()))
    }

    async fn rename(&self, name: &str, to: &str) -> Result<(), EngineError> {
        let made = self.containers(|all| all.remove(name));
        let made = made.ok_or(EngineError::NotFound)?;
        self.containers(|all| all.insert(to.to_owned(), made));
        Ok(())
    }

    async fn images(&self) -> Result<Vec<Image>, EngineError> {
        Ok(Vec::new())
    }

    async fn remove_volumes(&self, _: &[(&str, String)]) -> Result<u64, EngineError> {
        Ok(0)
    }

    async fn pull(&self, _: &str, _: &Percent) -> Result<(), EngineError> {
        Ok(())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        let made = (spec.clone(), ContainerState::Created);
        self.containers(|all| all.insert(spec.name.clone(), made));
        Ok(spec.name.clone())
    }

    async fn start(&self, name: &str) -> Result<(), EngineError> {
        self.set(name, ContainerState::Running)
    }

    async fn exec(&self, _: &str, _: &[String], _: Duration) -> Result<Option<i64>, EngineError> {
        Ok(Some(0))
    }

    async fn can_pull(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn networks(&self, _: &str) -> Result<Vec<OwnNetwork>, EngineError> {
        Ok(Vec::new())
    }

    async fn remove_network(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn has_volume(&self, _: &str) -> Result<bool, EngineError> {
        Ok(false)
    }

    async fn remove_volume(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    async fn stop(&self, name: &str, _: Duration) -> Result<(), EngineError> {
        self.set(name, ContainerState::Exited)
    }

    async fn pause(&self, name: &str) -> Result<(), EngineError> {
        self.set(name, ContainerState::Paused)
    }

    async fn unpause(&self, name: &str) -> Result<(), EngineError> {
        self.set(name, ContainerState::Running)
    }

    async fn remove(&self, name: &str) -> Result<(), EngineError> {
        self.containers(|all| all.remove(name));
        Ok(())
    }

    async fn inspect(&self, name: &str) -> Result<Option<Container>, EngineError> {
        Ok(self.containers(|all| all.get(name).map(|made| Self::view(name, made))))
    }

    async fn list(&self, _: &str) -> Result<Vec<Container>, EngineError> {
        Ok(self.containers(|all| {
            all.iter()
                .map(|(name, made)| Self::view(name, made))
                .collect()
        }))
    }

    async fn stats(&self, _: &str) -> Result<Stats, EngineError> {
        Ok(Stats::default())
    }

    async fn events(&self, _: &str) -> Result<BoxStream<'static, Event>, EngineError> {
        Ok(Box::pin(stream::pending()))
    }

    async fn log_tail(&self, _: &str, _: u32) -> Result<String, EngineError> {
        Ok(String::new())
    }
}
