//! A whole gateway in this process: real sockets, a real database, the demo's OpenID provider, and an
//! engine whose containers are fake desktops.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use deskgate::app::{App, Core};
use deskgate::authn::session::{Login, Sessions};
use deskgate::authn::token::SessionSecret;
use deskgate::clock::Clock;
use deskgate::config::Config;
use deskgate::config::raw::Raw;
use deskgate::demo::provider::{ClientRegistration, Provider};
use deskgate::desktop::Desktops;
use deskgate::model::user::{Identity, Role};
use deskgate::store::Database;
use deskgate::tasks::Tasks;
use deskgate::telemetry::LogFilter;
use deskgate::telemetry::metrics::Metrics;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::browser::{Browser, ORIGIN};
use super::fake_desktop::FakeDesktop;
use super::fake_engine::FakeEngine;
use super::manual_clock::ManualClock;

/// How long anything in a test may take that should take milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Instead of a setting's key: the value is the inside of a `[[template]]` table.
pub const TEMPLATE: &str = "template";

pub struct TestGateway {
    pub addr: SocketAddr,
    pub engine: Arc<FakeEngine>,
    pub config: Config,
    /// The time that it goes by.
    pub clock: Arc<ManualClock>,
    /// What it does by itself can be asked for here.
    pub desktops: Desktops,
    data: Arc<TempDir>,
    settings: Vec<(String, String)>,
    stop: CancellationToken,
    running: JoinSet<()>,
    tasks: Tasks,
    beside: Tasks,
}

/// The first of fifty ports that belong to this test process alone: the runner starts a process for each
/// test. They lie below those that the system gives to outgoing connections.
pub fn own_ports() -> u16 {
    10_000 + u16::try_from(std::process::id() % 440).expect("less than 440") * 50
}

impl TestGateway {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further settings. `file` names a `deskgate.toml` whose templates count.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let data = Arc::new(TempDir::new().expect("a directory"));
        Self::start_in(data, Arc::default(), Arc::default(), settings).await
    }

    /// With a log whose filter can be changed.
    pub async fn start_logging(log: LogFilter, settings: &[(&str, &str)]) -> Self {
        let data = Arc::new(TempDir::new().expect("a directory"));
        let parts = (Arc::default(), Arc::default());
        Self::start_on(data, parts, log, settings).await
    }

    /// Another gateway on the same database, engine and clock, with the same settings.
    pub async fn another(&self) -> Self {
        self.another_on(self.engine.clone()).await
    }

    /// The same with its own way to an engine.
    pub async fn another_on(&self, engine: Arc<FakeEngine>) -> Self {
        let settings = self.settings.iter();
        let settings: Vec<_> = settings.map(|(key, value)| (&**key, &**value)).collect();
        Self::start_in(self.data.clone(), engine, self.clock.clone(), &settings).await
    }

    /// Stops this gateway without a goodbye, as a kill would, and starts another one on its database.
    pub async fn killed_and_started_again(mut self) -> Self {
        self.tasks.hard().cancel();
        self.running.shutdown().await;
        self.another().await
    }

    /// Ends this gateway without a goodbye, as a kill would.
    pub async fn kill(mut self) {
        self.tasks.hard().cancel();
        self.running.shutdown().await;
    }

    /// The same with other settings, and on an empty database if there is a `backup` to restore.
    pub async fn killed_and_started_with(
        mut self,
        settings: &[(&str, &str)],
        backup: Option<TempDir>,
    ) -> Self {
        self.tasks.hard().cancel();
        self.running.shutdown().await;
        let data = backup.map_or_else(|| self.data.clone(), Arc::new);
        Self::start_in(data, self.engine.clone(), self.clock.clone(), settings).await
    }

    /// A gateway on the data in a directory, with an engine that another one has used.
    pub async fn start_beside(engine: Arc<FakeEngine>, data: TempDir) -> Self {
        Self::start_in(Arc::new(data), engine, Arc::default(), &[]).await
    }

    /// The same with the same provider, while this one runs.
    pub async fn sibling(&self) -> Self {
        let mut settings: Vec<_> = self
            .settings
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        settings.push(("OAUTH_ISSUER", &self.config.oidc.issuer));
        let (data, engine) = (self.data.clone(), self.engine.clone());
        Self::start_in(data, engine, self.clock.clone(), &settings).await
    }

    async fn start_in(
        data: Arc<TempDir>,
        engine: Arc<FakeEngine>,
        manual: Arc<ManualClock>,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_on(data, (engine, manual), LogFilter::detached(), settings).await
    }

    async fn start_on(
        data: Arc<TempDir>,
        (engine, manual): (Arc<FakeEngine>, Arc<ManualClock>),
        log: LogFilter,
        settings: &[(&str, &str)],
    ) -> Self {
        let clock: Arc<dyn Clock> = manual.clone();
        let beside = Tasks::new();
        let client = ClientRegistration {
            client_id: "test".into(),
            client_secret: "test-secret".into(),
            redirect_uris: vec![format!("{ORIGIN}/authorize")],
            post_logout_redirect_uris: vec![format!("{ORIGIN}/")],
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let provider = Provider::bind(listen, client, clock.clone())
            .await
            .expect("a provider");
        let mut raw = Raw::load(None, &|_| None);
        for (key, value) in [
            ("PUBLIC_URL", ORIGIN.to_owned()),
            ("LISTEN", "127.0.0.1:0".to_owned()),
            ("TLS", "off".to_owned()),
            (
                "DATABASE_URL",
                format!("sqlite://{}/deskgate.db", data.path().display()),
            ),
            ("SECRET_KEY", "an-entirely-secret-key-for-tests".to_owned()),
            ("OAUTH_ISSUER", provider.issuer()),
            ("OAUTH_CLIENT_ID", "test".to_owned()),
            ("OAUTH_CLIENT_SECRET", "test-secret".to_owned()),
            ("ROLE_TEACHER", "ROLE_TEACHER".to_owned()),
            ("ROLE_ADMIN", "ROLE_ADMIN".to_owned()),
            (
                "PORT_RANGE",
                format!("{}-{}", own_ports(), own_ports() + 48),
            ),
            ("DRAIN", "1s".to_owned()),
            ("METRICS_LISTEN", format!("127.0.0.1:{}", own_ports() + 49)),
        ] {
            raw.set(key, value);
        }
        for (key, value) in settings {
            if *key == TEMPLATE {
                raw.templates.push(toml::from_str(value).expect("a table"));
            } else {
                raw.set(key, *value);
            }
        }
        if let Some((_, file)) = settings.iter().find(|(key, _)| *key == "file") {
            raw.templates = Raw::load(Some(Path::new(file)), &|_| None).templates;
        }
        provider.serve(&beside);
        let config = Config::resolve(raw).expect("a configuration");
        let mut core = Core::with_engine(&config, clock.clone(), engine.clone())
            .await
            .expect("a core");
        core.log = log;
        let desktops = core.desktops.clone();
        let app = App::on(core, config.clone(), clock).expect("an app");
        let addr = app.local_addr().expect("an address");
        let tasks = app.tasks().clone();
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(app.run(stop.clone().cancelled_owned()));
        Self {
            addr,
            engine,
            config,
            clock: manual,
            desktops,
            data,
            settings: settings
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            stop,
            running,
            tasks,
            beside,
        }
    }

    pub fn browser(&self) -> Browser {
        Browser::new(self.addr)
    }

    pub fn data(&self) -> PathBuf {
        self.data.path().to_owned()
    }

    /// Keeps the data directory beyond the gateway's end.
    pub fn keep_data(&self) -> Arc<TempDir> {
        self.data.clone()
    }

    /// A session of somebody with this name, without the way through the provider.
    pub async fn session(&self, name: &str) -> String {
        self.session_of(&identity(name)).await
    }

    /// A session of somebody like this.
    pub async fn session_of(&self, identity: &Identity) -> String {
        let clock: Arc<dyn Clock> = self.clock.clone();
        let database = Database::connect(&self.config.database)
            .await
            .expect("the database");
        let user = database
            .upsert_user(identity, clock.timestamp())
            .await
            .expect("a user");
        let sessions = Sessions::new(
            database.clone(),
            clock,
            self.config.sessions,
            &Metrics::default(),
        );
        let secret: SessionSecret = sessions
            .create(&user, Login::default())
            .await
            .expect("a session");
        database.close().await;
        secret.expose().to_owned()
    }

    /// A program that acts for somebody with this name and role.
    pub async fn program_as(&self, name: &str, role: Role) -> Browser {
        let somebody = Identity {
            role,
            ..identity(name)
        };
        self.program_of(&somebody).await
    }

    /// A program that acts for somebody like this.
    pub async fn program_of(&self, somebody: &Identity) -> Browser {
        let session = self.session_of(somebody).await;
        self.browser()
            .with("authorization", &format!("Bearer {session}"))
    }

    /// A program that acts for somebody with this name.
    pub async fn program(&self, name: &str) -> Browser {
        let session = self.session(name).await;
        self.browser()
            .with("authorization", &format!("Bearer {session}"))
    }

    /// Starts a desktop and waits until it runs; returns its JSON.
    pub async fn running_desktop(&self, program: &mut Browser) -> Value {
        let prefer = [("prefer", "wait=20")];
        let started = program
            .send(hyper::Method::POST, "/api/container/start", &prefer, "")
            .await;
        let container = started.json()["container"].clone();
        assert_eq!(container["status"], "running", "{}", started.text());
        container
    }

    /// The fake desktop behind a container's JSON.
    pub fn desktop(&self, container: &Value) -> Arc<FakeDesktop> {
        self.engine
            .desktop(container["container_name"].as_str().expect("a name"))
    }

    /// Begins the stop and waits for its end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.running.join_next())
            .await
            .expect("it stops");
        self.beside.stop(Duration::ZERO).await;
    }
}

/// Somebody with this name, as a provider would put it.
pub fn identity(name: &str) -> Identity {
    Identity {
        issuer: "https://id.test".into(),
        subject: name.into(),
        username: name.into(),
        name: None,
        email: None,
        role: Role::Student,
        groups: Vec::new(),
    }
}

/// Asks until the answer is yes.
pub async fn eventually<F, Fut>(what: &str, mut ask: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}
