//! The composition root: the only file that names every concrete type, and the order in which they
//! start and stop.

mod metrics;
mod sweeps;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::api::{self, Api, ApiState};
use crate::audit::Audit;
use crate::authn::api_tokens::{self, ApiTokens};
use crate::authn::cookies::Cookies;
use crate::authn::oidc::Oidc;
use crate::authn::origin::{Origin, OriginGuard};
use crate::authn::recheck::RefreshTokens;
use crate::authn::session::Sessions;
use crate::authn::sign_out::SignOut;
use crate::authn::ticket::Tickets;
use crate::authn::{self, Authenticator};
use crate::authz::policy::Classes;
use crate::clock::Clock;
use crate::config::{Config, Secret, ServerConfig};
use crate::desktop::password::Passwords;
use crate::desktop::{self, Desktops, activity};
use crate::engine::Engine;
use crate::engine::docker::DockerEngine;
use crate::engine::measured::Measured;
use crate::gateway::Gateway;
use crate::gateway::files::Files;
use crate::gateway::limits::Limits as RateLimits;
use crate::model::id::RequestId;
use crate::outbound::TrustError;
use crate::overview::{CertificateEnd, Watch};
use crate::people::People;
use crate::picture::Pictures;
use crate::proxy::confine::Confinement;
use crate::proxy::{self, Proxy};
use crate::rate::Limiter;
use crate::request::client_addr::TrustedProxies;
use crate::request::{ConnectionInfo, Request, Response};
use crate::server::certificate::{self, Certificate, CertificateError};
use crate::server::limits::{self, Limits, Requests};
use crate::server::listener::Listener;
use crate::server::redirect::Redirect;
use crate::server::workers::Workers;
use crate::server::{self, Door, Handler};
use crate::store::{Database, StoreError};
use crate::tasks::Tasks;
use crate::telemetry::metrics::{Metrics, history};
use crate::telemetry::traces::Traces;
use crate::telemetry::{ErrorChain, LogFilter, filter};
use tls::Tls;

/// Open files that are no connections of browsers or desktops: listeners, database, engine, logs.
const RESERVED_FILES: u64 = 200;
/// How often expired sessions and old entries of the audit log are removed.
const CLEANING: Duration = Duration::from_secs(30);

/// Why the gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database.
    #[error("the database cannot be used")]
    Store(#[from] StoreError),
    /// Roots for the provider or an authority.
    #[error("other servers cannot be asked")]
    Trust(#[from] TrustError),
    /// The certificate.
    #[error("TLS cannot be set up")]
    Certificate(#[from] CertificateError),
    /// The socket.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The sockets of systemd.
    #[error("the inherited sockets cannot be used")]
    Inherited(#[source] io::Error),
    /// The threads.
    #[error("the workers do not start")]
    Workers(#[source] io::Error),
}

/// State and desktops without a front door: all that `cleanup` and `user` need, and the base of [`App`].
#[derive(Debug)]
pub struct Core {
    /// Users, sessions, rows.
    pub database: Database,
    /// The life of desktops.
    pub desktops: Desktops,
    /// Who is logged in.
    pub sessions: Arc<Sessions>,
    /// What programs may do in somebody's name.
    pub tokens: ApiTokens,
    /// Background work.
    pub tasks: Tasks,
    /// Counts.
    pub metrics: Metrics,
    /// Where time goes.
    pub traces: Traces,
    /// Who did what.
    pub audit: Audit,
    /// What is stored about everybody.
    pub people: People,
    /// What is logged, if it is to be changed.
    pub log: LogFilter,
}

impl Core {
    /// Opens the database, applies migrations, and prepares the rest without asking anybody.
    pub async fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let engine = Arc::new(DockerEngine::new(config.engine.clone()));
        Self::with_engine(config, clock, engine).await
    }

    /// The same on another engine.
    pub async fn with_engine(
        config: &Config,
        clock: Arc<dyn Clock>,
        engine: Arc<dyn Engine>,
    ) -> Result<Self, AppError> {
        let database = Database::open(&config.database).await?;
        let instance = match &config.desktops.instance {
            Some(name) => name.clone(),
            None => database.instance().await?,
        };
        Self::of(config, clock, engine, (database, instance))
    }

    /// The same on a database that is there and up to date: a command beside a gateway, which may be of another version,
    /// leaves its schema alone.
    pub async fn build_unchanged(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let database = Database::open_unchanged(&config.database).await?;
        let instance = match &config.desktops.instance {
            Some(name) => Some(name.clone()),
            None => database.known_instance().await?,
        };
        // Without a name no gateway has been here, and no container can be its own.
        let instance = instance.unwrap_or_else(|| RequestId::random().to_string());
        let engine = Arc::new(DockerEngine::new(config.engine.clone()));
        Self::of(config, clock, engine, (database, instance))
    }

    fn of(
        config: &Config,
        clock: Arc<dyn Clock>,
        engine: Arc<dyn Engine>,
        (database, instance): (Database, String),
    ) -> Result<Self, AppError> {
        let (tasks, metrics) = (Tasks::new(), Metrics::default());
        let traces = Traces::start(config.traces.as_ref(), &instance, &metrics)?;
        let engine = Measured::new(engine, metrics.clone(), traces.clone());
        let engine = Arc::new(engine);
        let audit = Audit::new(database.clone(), clock.clone(), metrics.clone());
        let desktops = Desktops::new(desktop::Parts {
            database: database.clone(),
            engine,
            clock: clock.clone(),
            tasks: tasks.clone(),
            config: config.desktops.clone(),
            instance,
            passwords: Passwords::new(&config.secret_key, config.desktops.password.clone()),
            metrics: metrics.clone(),
            traces: traces.clone(),
            audit: audit.clone(),
        });
        let tokens = ApiTokens::new(database.clone(), clock.clone(), audit.clone());
        let sessions = Arc::new(Sessions::new(
            database.clone(),
            clock,
            config.sessions,
            &metrics,
        ));
        let people = People::new(
            database.clone(),
            sessions.clone(),
            desktops.clone(),
            audit.clone(),
        );
        Ok(Self {
            database,
            desktops,
            sessions,
            tokens,
            tasks,
            metrics,
            traces,
            audit,
            people,
            log: LogFilter::detached(),
        })
    }
}

/// A gateway that listens and has not begun to answer.
pub struct App {
    listener: Listener,
    redirect: Option<Listener>,
    door: Door,
    tls: Tls,
    workers: Workers,
    gateway: Arc<Gateway>,
    server: ServerConfig,
    audit_retention: Option<Duration>,
    clock: Arc<dyn Clock>,
    log: LogFilter,
}

impl Handler for Gateway {
    async fn handle(&self, connection: ConnectionInfo, request: Request) -> Response {
        Gateway::handle(self, connection, request).await
    }
}

impl App {
    /// Puts everything together and opens the socket.
    ///
    /// # Errors
    /// The database cannot be used, a certificate or trusted root is unusable, or the address cannot be listened
    /// on. Engine and provider are not asked: a gateway starts while they are down.
    pub async fn build(
        config: Config,
        clock: Arc<dyn Clock>,
        log: LogFilter,
    ) -> Result<Self, AppError> {
        let mut core = Core::build(&config, clock.clone()).await?;
        core.log = log;
        Self::on(core, config, clock)
    }

    /// Puts a front door on `core`.
    pub fn on(core: Core, config: Config, clock: Arc<dyn Clock>) -> Result<Self, AppError> {
        let Core {
            database,
            desktops,
            sessions,
            tokens,
            tasks,
            metrics,
            traces,
            audit,
            people,
            log,
        } = core;
        let server = config.server;
        let (origin, confinement) = origins(&server, &config.secret_key);
        let parts = proxy::Parts {
            dialer: desktops.dialer().clone(),
            tasks: tasks.clone(),
            clock: clock.clone(),
            metrics: metrics.clone(),
            max_streams: server.max_streams_per_desktop,
        };
        let proxy = Proxy::new(parts, confinement);
        let sign_out = SignOut {
            sessions: sessions.clone(),
            desktops: desktops.clone(),
            audit: audit.clone(),
            tasks: tasks.clone(),
            on_logout: config.sessions.on_logout,
        };
        let api = Api::new(ApiState {
            desktops: desktops.clone(),
            sign_out: sign_out.clone(),
            tokens: tokens.clone(),
            people,
            database: database.clone(),
            audit: audit.clone(),
            clock: clock.clone(),
            tasks: tasks.clone(),
            log: log.clone(),
            classes: Classes::new(config.teacher_groups),
            look: config.teacher_look,
            pictures: Pictures::new(desktops.dialer().clone()),
            pictures_told: Arc::new(Limiter::new(api::PICTURE_NEWS, clock.clone())),
            origin: origin.portal().as_str().into(),
            watch: watch(&database, &desktops, &metrics, &clock),
        });
        check_open_files(server.max_connections);
        let tls = tls::prepare(&server, (&clock, &metrics, &audit))?;
        let (listener, redirect) = listeners(&server)?;
        let workers = Workers::start(server.workers).map_err(AppError::Workers)?;
        let trusted = TrustedProxies::new(server.trusted.clone());
        let door = door(&server, &tls, (&trusted, &metrics));
        let files = Files::new(origin.portal().as_str());
        let authenticator = Authenticator::new(authn::Parts {
            database: database.clone(),
            clock: clock.clone(),
            sessions,
            tokens,
            tickets: Tickets::new(&config.secret_key, clock.clone()),
            refresh: RefreshTokens::new(&config.secret_key, config.oidc.recheck),
            oidc: Oidc::new(config.oidc, clock.clone())?,
            cookies: Cookies::new(&config.secret_key),
            origin,
        });
        let counted = (audit.clone(), metrics.clone());
        let limits = RateLimits::new(server.login_rate, clock.clone(), counted);
        let gateway = Gateway {
            files,
            limits,
            authenticator: Arc::new(authenticator),
            desktops,
            proxy,
            api,
            database,
            tasks,
            metrics,
            traces,
            audit,
            sign_out,
            trusted,
        };
        Ok(Self {
            listener,
            redirect,
            door,
            tls,
            workers,
            gateway: Arc::new(gateway),
            server,
            audit_retention: config.audit_retention,
            clock,
            log,
        })
    }

    /// Where it listens, with the port that the system chose.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Background work, for whoever runs beside the gateway.
    #[must_use]
    pub fn tasks(&self) -> &Tasks {
        &self.gateway.tasks
    }

    /// Answers until `stop` is ready; then drains: no new connections, requests finish, tunnels go on
    /// until the drain time is over, activity is written, the database closed. Desktops keep running.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Self {
            listener,
            redirect,
            door,
            tls,
            workers,
            gateway,
            server,
            audit_retention,
            clock,
            log,
        } = self;
        let tasks = gateway.tasks.clone();
        let Tls {
            certificate,
            acme,
            challenges,
            ..
        } = tls;
        spawn_log_watch(&tasks, log);
        spawn_upkeep(&gateway, certificate.clone(), audit_retention);
        gateway.audit.spawn_writer(&tasks);
        gateway.desktops.spawn_reconciler();
        gateway.desktops.spawn_pool();
        tracing::info!(
            listen = %server.listen,
            public_url = %server.public_url,
            database = gateway.database.kind(),
            workers = server.workers.get(),
            max_connections = server.max_connections,
            max_memory_mib = door.limits.memory() / (1024 * 1024),
            "listening"
        );
        server::spawn(listener, &door, &gateway, (&tasks, workers.handles()));
        if let Some(listener) = redirect {
            let handler = Arc::new(Redirect::new(&server.public_url, challenges));
            let door = Door {
                acceptor: None,
                ..door
            };
            server::spawn(listener, &door, &handler, (&tasks, workers.handles()));
        }
        if let Some(acme) = acme {
            tasks.until_soft("certificate orders", acme.run());
        }
        metrics::spawn(server.metrics, &gateway, (certificate, clock));
        stop.await;
        tracing::info!(drain_seconds = server.drain.as_secs(), "stopping");
        // Who signs out while streams drain is heard too; no task may outlive the start of a stop.
        let sessions = gateway.authenticator.sessions();
        let drained = tokio::select! {
            drained = tasks.stop(server.drain) => drained,
            () = sessions.watch() => false,
        };
        gateway.desktops.flush_activity().await;
        if let Err(error) = gateway.authenticator.sessions().flush().await {
            tracing::warn!(error = %ErrorChain(&error), "last uses of sessions could not be written");
        }
        if let Err(error) = gateway.authenticator.tokens().flush().await {
            tracing::warn!(error = %ErrorChain(&error), "last uses of API tokens could not be written");
        }
        gateway.audit.flush().await;
        gateway.traces.stop().await;
        gateway.database.close().await;
        // Connections to the database and the engine may live on the workers until here.
        drop(workers);
        tracing::info!(drained, "stopped");
    }
}

/// Our hosts, and how desktops are kept to theirs.
fn origins(server: &ServerConfig, secret_key: &Secret) -> (OriginGuard, Confinement) {
    let url = server.public_url.clone();
    let origin = OriginGuard::new(url, server.desktop_origin.as_ref(), secret_key);
    let origin = origin.framing(server.desktop_frame);
    let framed_by = origin.framed_by().map(Origin::as_str);
    let confinement = Confinement::new(origin.desktops().as_str(), framed_by);
    (origin, confinement)
}

/// Warns when the system allows fewer open files than the connections that are allowed can take.
fn check_open_files(max_connections: u32) {
    let wanted = 2 * u64::from(max_connections) + RESERVED_FILES;
    match limits::raise_open_files() {
        Ok(files) if files < wanted => {
            tracing::warn!(
                files,
                wanted,
                "fewer open files are allowed than MAX_CONNECTIONS can take"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "the limit of open files is unknown"),
    }
}

/// How the front door is kept.
fn door(server: &ServerConfig, tls: &Tls, (trusted, metrics): (&TrustedProxies, &Metrics)) -> Door {
    let requests = Requests::new(server.max_requests, metrics.in_flight().clone());
    Door {
        acceptor: tls.acceptor.clone(),
        proxy_protocol: server.proxy_protocol.then(|| trusted.clone()),
        limits: Limits::new(
            server.max_connections,
            server.max_connections_per_client,
            requests,
        ),
    }
}

/// The door's socket and that of the redirect: from systemd, in this order, or opened here.
fn listeners(server: &ServerConfig) -> Result<(Listener, Option<Listener>), AppError> {
    let bind = |address| Listener::bind(address).map_err(|error| AppError::Listen(address, error));
    let mut inherited = Listener::inherited()
        .map_err(AppError::Inherited)?
        .into_iter();
    let listener = inherited.next().map_or_else(|| bind(server.listen), Ok)?;
    let redirect = match server.http_listen {
        Some(address) => Some(inherited.next().map_or_else(|| bind(address), Ok)?),
        None => None,
    };
    Ok((listener, redirect))
}

/// Who looks at everything.
fn watch(
    database: &Database,
    desktops: &Desktops,
    metrics: &Metrics,
    clock: &Arc<dyn Clock>,
) -> Watch {
    Watch {
        database: database.clone(),
        desktops: desktops.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        certificate: CertificateEnd::default(),
        started_at: clock.timestamp(),
    }
}

/// Logs as configured when the time of another filter is over.
fn spawn_log_watch(tasks: &Tasks, log: LogFilter) {
    tasks.every("log filter", filter::LOOK_PERIOD, move || {
        if log.restore_in_time() {
            tracing::info!(
                filter = log.configured(),
                "the log is filtered as configured again"
            );
        }
        std::future::ready(())
    });
}

/// The work that comes round by itself.
fn spawn_upkeep(
    gateway: &Arc<Gateway>,
    certificate: Option<Arc<Certificate>>,
    audit_retention: Option<Duration>,
) {
    let tasks = &gateway.tasks;
    let (authenticator, desktops) = (&gateway.authenticator, &gateway.desktops);
    let (watcher, listener) = (authenticator.clone(), authenticator.clone());
    tasks.until_soft(
        "session watch",
        async move { watcher.sessions().watch().await },
    );
    tasks.until_soft(
        "session news",
        async move { listener.sessions().listen().await },
    );
    let tokens = authenticator.tokens().clone();
    tasks.every("API token check", api_tokens::RECHECK, move || {
        let tokens = tokens.clone();
        async move {
            if let Err(error) = tokens.recheck().await {
                tracing::debug!(error = %ErrorChain(&error), "API tokens in use could not be checked");
            }
        }
    });
    sweeps::spawn(gateway);
    desktops.spawn_flusher();
    desktops.spawn_reaper();
    desktops.spawn_waker();
    let keeper = desktops.clone();
    tasks.every("home retention", CLEANING, move || {
        let desktops = keeper.clone();
        async move { desktops.remove_ripe_homes().await }
    });
    desktops.spawn_news();
    desktops.spawn_leader();
    let flusher = authenticator.clone();
    tasks.every("session flush", activity::FLUSH_PERIOD, move || {
        let authenticator = flusher.clone();
        async move {
            if let Err(error) = authenticator.sessions().flush().await {
                tracing::warn!(error = %ErrorChain(&error), "last uses of sessions could not be written");
            }
            if let Err(error) = authenticator.tokens().flush().await {
                tracing::warn!(error = %ErrorChain(&error), "last uses of API tokens could not be written");
            }
        }
    });
    let (asking, period) = (gateway.clone(), authenticator.recheck_period());
    tasks.every("identity recheck", period, move || {
        let gateway = asking.clone();
        async move { gateway.recheck().await }
    });
    let cleaner = authenticator.clone();
    tasks.every("session cleaning", CLEANING, move || {
        let authenticator = cleaner.clone();
        async move {
            if let Err(error) = authenticator.sessions().clean(false).await {
                tracing::warn!(error = %ErrorChain(&error), "expired sessions could not be removed");
            }
            if let Err(error) = authenticator.tokens().clean(false).await {
                tracing::warn!(error = %ErrorChain(&error), "expired API tokens could not be removed");
            }
        }
    });
    if let Some(retention) = audit_retention {
        let audit = gateway.audit.clone();
        tasks.every("audit retention", CLEANING, move || {
            let audit = audit.clone();
            async move {
                if let Err(error) = audit.clean(retention, false).await {
                    tracing::warn!(error = %ErrorChain(&error), "old entries of the audit log could not be removed");
                }
            }
        });
    }
    let (figures, shown) = (gateway.api.watch().clone(), certificate.clone());
    let look = move || {
        let ends = shown.as_ref().and_then(|used| used.expires_at());
        figures.certificate.note(ends);
        figures.metrics.keep_sample(figures.clock.timestamp());
    };
    look();
    tasks.every("figures", history::PERIOD, move || {
        look();
        std::future::ready(())
    });
    if let Some(certificate) = certificate {
        tasks.every("certificate watch", certificate::WATCH_PERIOD, move || {
            let certificate = certificate.clone();
            async move { certificate.refresh() }
        });
    }
}
