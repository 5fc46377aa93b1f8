//! The life of a desktop: started, answered for, found, stopped, removed. The row in the database is
//! the intent, the engine is the fact, and [`reconcile`] brings the two together.

pub mod activity;
mod ages;
pub mod directory;
mod extend;
pub mod homes;
mod images;
mod launch;
pub mod lead;
mod log_tail;
mod looks;
mod nap;
mod networks;
mod news;
mod pace;
pub mod password;
mod pool;
mod ports;
pub mod pulls;
mod queue;
pub mod readiness;
pub mod reaper;
pub mod reconcile;
pub mod repair;
mod schedule;
mod sleep;
mod start;
mod stop;
mod trouble;
pub mod upstream;
mod usage;
mod warm;
mod warnings;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{DesktopConfig, Reach};
use crate::engine::spec::{LABEL_INSTANCE, LABEL_USER, Place, reach_of};
use crate::engine::{Engine, EngineError};
use crate::model::audit::{Event, Object};
use crate::model::desktop::{Desktop, State};
use crate::model::failpoint::Failpoint;
use crate::model::id::{DesktopId, UserId};
use crate::model::reason::Reason;
use crate::model::template::{Template, TlsVerify};
use crate::model::user::User;
use crate::rate::TooOften;
use crate::store::{Database, StoreError};
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces::Traces;
use ages::Ages;
use directory::{Directory, Entry};
pub use extend::Planned;
use lead::Leader;
pub use looks::{HOLD_PERIOD, Look, LookError};
pub use nap::Caller;
use news::News;
use pace::Pace;
use password::Passwords;
use pool::Pool;
pub use queue::QueuePlace;
use queue::StartQueue;
pub use sleep::Awake;
use upstream::{Dialer, Fingerprint, Upstream};
pub use usage::Usage;
use usage::Usages;
use warnings::Warnings;

/// How long somebody who looks at a desktop waits for the engine's word on it: pages ask again and again.
const GLANCE: Duration = Duration::from_secs(3);

/// Why something could not be done with a desktop.
#[derive(Debug, thiserror::Error)]
pub enum DesktopError {
    /// No template has this name.
    #[error("there is no such template")]
    UnknownTemplate,
    /// The user is in none of the template's groups.
    #[error("the template is not for this user")]
    TemplateNotAllowed,
    /// The last desktop of this template is still on its way down.
    #[error("the desktop is still stopping")]
    StillStopping,
    /// The user has as many as allowed.
    #[error("the user has {0} desktops already")]
    UserQuota(u32),
    /// There are as many as allowed.
    #[error("there are {0} desktops already")]
    TotalQuota(u32),
    /// The user makes desktops faster than they may.
    #[error(transparent)]
    StartRate(TooOften),
    /// Every port of the range is taken.
    #[error("no port of the range is free")]
    NoPort,
    /// As many starts are waiting as may.
    #[error("{} starts are waiting already", .0.position)]
    QueueFull(QueuePlace),
    /// The session that was to start it is over, or its user is not known any more.
    #[error("whoever starts the desktop is not signed in any more")]
    StarterGone,
    /// There is not enough memory for one more.
    #[error("there is no memory for another desktop")]
    NoMemory,
    /// Enough images are being pulled.
    #[error("too many images are being pulled")]
    TooManyPulls,
    /// There is no such desktop.
    #[error("there is no such desktop")]
    NotFound,
    /// It is not up, so that there is nothing to extend.
    #[error("the desktop is not up")]
    NotUp,
    /// Its end for this reason cannot be put off.
    #[error("the end of the desktop cannot be put off: {}", .0.as_str())]
    Fixed(Reason),
    /// The template is closed; the moment when it opens, on the clock there, if it ever does.
    #[error("the template is closed")]
    Closed(Option<String>),
    /// It is paused, and a WebSocket alone has woken it too often.
    #[error("the desktop is paused, and a WebSocket alone does not wake it any more")]
    Asleep,
    /// Nobody may look at it now.
    #[error(transparent)]
    Look(#[from] LookError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The image could not be brought to the engine, for everybody who waited for it.
    #[error(transparent)]
    Pull(Arc<EngineError>),
}

/// What the desktops of one installation need.
#[derive(Debug)]
pub struct Parts {
    /// Rows.
    pub database: Database,
    /// Containers.
    pub engine: Arc<dyn Engine>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Background work.
    pub tasks: Tasks,
    /// Templates and limits.
    pub config: DesktopConfig,
    /// Name of this installation.
    pub instance: String,
    /// Desktop passwords.
    pub passwords: Passwords,
    /// Counts.
    pub metrics: Metrics,
    /// Where time goes.
    pub traces: Traces,
    /// Who did what.
    pub audit: Audit,
}

/// The desktops of one installation. Clones share everything.
#[derive(Clone, Debug)]
pub struct Desktops {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Parts,
    templates: Vec<Arc<Template>>,
    directory: Directory,
    dialer: Dialer,
    queue: StartQueue,
    pool: Pool,
    pace: Pace,
    news: News,
    leader: Leader,
    watch: reconcile::Watch,
    /// Desktops that a task of this process is starting or stopping.
    in_hand: Mutex<HashSet<DesktopId>>,
    pulls: Mutex<pulls::Pulls>,
    /// How long each has been idle, for the reaper.
    ages: Mutex<Ages>,
    warnings: Mutex<Warnings>,
    due_homes: Mutex<homes::Due>,
    usages: Usages,
}

/// Something that happened to a desktop.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is like this now.
    To(Desktop),
    /// It waits for its turn, and has this place now.
    Moved(Desktop, QueuePlace),
    /// It will be stopped soon.
    Warning(Desktop),
    /// It was removed; this is how it was.
    Removed(Desktop),
}

impl Change {
    /// The desktop.
    #[must_use]
    pub fn desktop(&self) -> &Desktop {
        match self {
            Self::To(desktop)
            | Self::Moved(desktop, _)
            | Self::Warning(desktop)
            | Self::Removed(desktop) => desktop,
        }
    }
}

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Live desktops that are allowed.
    pub max_desktops: u32,
    /// Ports that live desktops have.
    pub ports_used: usize,
    /// Ports that there are; none where nothing is published.
    pub ports_total: usize,
}

/// What a look-up by id found.
#[derive(Debug)]
pub enum Found {
    /// It runs, or is paused and can be woken.
    Up(Arc<Entry>),
    /// It is not up (yet, or any more).
    NotRunning(Box<Desktop>),
}

impl Desktops {
    /// Desktops made of these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let templates = parts
            .config
            .templates
            .iter()
            .cloned()
            .map(Arc::new)
            .collect();
        Self {
            inner: Arc::new(Inner {
                templates,
                directory: Directory::default(),
                dialer: Dialer::new(),
                queue: StartQueue::new(parts.config.parallel_starts),
                pool: Pool::default(),
                pace: Pace::new(parts.config.start_rate, parts.clock.clone()),
                news: News::default(),
                leader: Leader::new(&parts.database),
                watch: reconcile::Watch::default(),
                in_hand: Mutex::default(),
                pulls: Mutex::default(),
                ages: Mutex::default(),
                warnings: Mutex::default(),
                due_homes: Mutex::default(),
                usages: Usages::default(),
                parts,
            }),
        }
    }

    /// The template with this id.
    #[must_use]
    pub fn template(&self, id: &str) -> Option<&Arc<Template>> {
        self.inner
            .templates
            .iter()
            .find(|template| template.id == id)
    }

    /// Every template, in the order of the configuration.
    #[must_use]
    pub fn templates(&self) -> &[Arc<Template>] {
        &self.inner.templates
    }

    /// The templates that `user` may start, in the order of the configuration.
    pub fn templates_for(&self, user: &User) -> impl Iterator<Item = &Arc<Template>> {
        self.inner
            .templates
            .iter()
            .filter(|template| user.may_start(template))
    }

    /// Every change of a desktop, as it is recorded, or soon after another gateway has recorded it.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        self.inner.news.subscribe()
    }

    /// Opens connections to desktops.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.inner.dialer
    }

    /// Whether the engine answers.
    pub async fn engine_ready(&self) -> Result<(), EngineError> {
        self.inner.parts.engine.ping().await
    }

    /// Looks a desktop up by id: in memory while it is up, otherwise in the database.
    ///
    /// # Errors
    /// Only database and engine failures; a desktop that does not exist is `None`.
    pub async fn find(&self, id: DesktopId) -> Result<Option<Found>, DesktopError> {
        if let Some(entry) = self.inner.directory.get(id) {
            return Ok(Some(Found::Up(entry)));
        }
        let Some(desktop) = self.inner.parts.database.find_desktop(id).await? else {
            return Ok(None);
        };
        if !desktop.status.is_up() {
            return Ok(Some(Found::NotRunning(Box::new(desktop))));
        }
        let Some(entry) = self.enter(&desktop).await? else {
            return Ok(Some(Found::NotRunning(Box::new(desktop))));
        };
        // It may have been stopped between the two steps; then the entry must not stay.
        let now = self.inner.parts.database.find_desktop(id).await?;
        if now.is_some_and(|desktop| desktop.status.is_up()) {
            return Ok(Some(Found::Up(entry)));
        }
        self.inner.directory.remove(id);
        Ok(None)
    }

    /// Makes the directory entry of a desktop. `None` when there is no way to it.
    async fn enter(&self, desktop: &Desktop) -> Result<Option<Arc<Entry>>, DesktopError> {
        let Some(template) = self.template(&desktop.template) else {
            return Ok(None);
        };
        let Some(upstream) = self.upstream(desktop, template).await? else {
            return Ok(None);
        };
        let entry = Entry::new(desktop.id, desktop.user_id, template.clone(), upstream);
        let entry = self.inner.directory.insert(entry);
        if desktop.status == State::Paused {
            entry.sleep.fall();
        }
        Ok(Some(entry))
    }

    async fn upstream(
        &self,
        desktop: &Desktop,
        template: &Template,
    ) -> Result<Option<Upstream>, DesktopError> {
        let parts = &self.inner.parts;
        let way = (desktop.host_port, desktop.container_port);
        let addr = self.address(template, &desktop.container_name, way).await?;
        let Some(addr) = addr else {
            return Ok(None);
        };
        let password = parts.passwords.of(desktop.id);
        let mut upstream = Upstream::new(template, desktop.id, addr, &password);
        if template.tls_verify == TlsVerify::Pin {
            let pinned = parts.database.pinned_certificate(desktop.id).await?;
            upstream.pin = pinned.and_then(|text| Fingerprint::from_base64(&text));
        }
        Ok(Some(upstream))
    }

    /// Where a container of `template` is reached: at its published port or at the one inside.
    async fn address(
        &self,
        template: &Template,
        container: &str,
        (published, inside): (Option<u16>, u16),
    ) -> Result<Option<SocketAddr>, DesktopError> {
        let parts = &self.inner.parts;
        Ok(match reach_of(template, parts.config.reach) {
            Reach::Port => published.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            Reach::Network => {
                let container = parts.engine.inspect(container).await?;
                let address = container.and_then(|container| container.address);
                address.map(|address| SocketAddr::from((address, inside)))
            }
        })
    }

    /// The desktop as recorded.
    pub async fn get(&self, id: DesktopId) -> Result<Option<Desktop>, DesktopError> {
        Ok(self.inner.parts.database.find_desktop(id).await?)
    }

    /// The user's newest desktop, of `template` if one is named.
    pub async fn latest(
        &self,
        user: &User,
        template: Option<&str>,
    ) -> Result<Option<Desktop>, DesktopError> {
        Ok(self
            .inner
            .parts
            .database
            .find_latest_desktop(user.id, template)
            .await?)
    }

    /// The user's desktops, newest first.
    pub async fn list(&self, user: &User) -> Result<Vec<Desktop>, DesktopError> {
        Ok(self.inner.parts.database.list_desktops(user.id).await?)
    }

    /// Everybody's desktops, oldest first.
    pub async fn list_all(&self) -> Result<Vec<Desktop>, DesktopError> {
        let parts = &self.inner.parts;
        Ok(parts.database.all_desktops(parts.engine.name()).await?)
    }

    /// Name of the installation.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.parts.instance
    }

    /// What runs the containers.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.inner.parts.engine.name()
    }

    /// How much room there is.
    pub async fn capacity(&self) -> Result<Capacity, DesktopError> {
        let parts = &self.inner.parts;
        let used = parts.database.ports_in_use(parts.engine.name()).await?;
        let publishes = parts.config.reach == Reach::Port;
        Ok(Capacity {
            max_desktops: parts.config.max_total,
            ports_used: used.len(),
            ports_total: if publishes {
                parts.config.ports.len()
            } else {
                0
            },
        })
    }

    /// Removes the volumes with a user's files; returns how many there were. Their desktops must be gone.
    pub async fn remove_homes(&self, user: UserId) -> Result<u64, DesktopError> {
        let parts = &self.inner.parts;
        let labels = [
            (LABEL_INSTANCE, parts.instance.clone()),
            (LABEL_USER, user.to_string()),
        ];
        Ok(parts.engine.remove_volumes(&labels).await?)
    }

    /// Asks the engine what the container is doing, and takes note if it has ended behind our back.
    ///
    /// # Errors
    /// The engine does not answer; the caller still has the row.
    pub async fn refresh(&self, desktop: Desktop) -> Result<(Desktop, &'static str), DesktopError> {
        let seen = self.inner.parts.engine.inspect(&desktop.container_name);
        let seen = tokio::time::timeout(GLANCE, seen).await;
        let container = seen.map_err(|_| EngineError::Timeout(GLANCE))??;
        let status = container
            .as_ref()
            .map_or("absent", |container| container.state.as_str());
        if !desktop.status.is_up()
            || matches!(status, "running" | "paused")
            || !self.note_end(&desktop).await?
        {
            return Ok((desktop, status));
        }
        let desktop = self.get(desktop.id).await?.ok_or(DesktopError::NotFound)?;
        Ok((desktop, status))
    }

    /// Waits until a desktop is no longer starting, at most `limit`, and returns it as it is then.
    ///
    /// # Errors
    /// Only database failures; a start that failed is a desktop in the state `error`.
    pub async fn wait_launched(
        &self,
        id: DesktopId,
        limit: Duration,
    ) -> Result<Option<Desktop>, DesktopError> {
        let mut changes = self.changes();
        let launched = async {
            loop {
                let desktop = self.get(id).await?;
                if desktop
                    .as_ref()
                    .is_none_or(|desktop| !desktop.status.is_launching())
                {
                    return Ok(desktop);
                }
                news::next_of(&mut changes, id).await;
            }
        };
        match tokio::time::timeout(limit, launched).await {
            Ok(desktop) => desktop,
            Err(_) => self.get(id).await,
        }
    }

    /// Somebody opens a page of this desktop: that is a sign of a person.
    pub fn opened(&self, desktop: &Entry) {
        desktop.used(self.inner.parts.clock.timestamp());
    }

    fn place(&self) -> Place<'_> {
        Place {
            instance: &self.inner.parts.instance,
            reach: self.inner.parts.config.reach,
            subnets: self.inner.parts.config.subnets,
        }
    }

    /// Stands still for ever if the chaos suite wants the gateway to be killed here.
    async fn reached(&self, point: Failpoint) {
        if cfg!(debug_assertions) && self.inner.parts.config.failpoint == Some(point) {
            tracing::error!(failpoint = point.as_str(), "standing at a failpoint");
            std::future::pending::<()>().await;
        }
    }

    /// Writes into the audit log what happened to a desktop.
    fn note(&self, desktop: &Desktop, event: Event) {
        let event = event
            .subject(desktop.user_id)
            .object(Object::Desktop(desktop.id));
        self.inner.parts.audit.record(event);
    }

    /// Tells listeners of a change. Nobody listening is fine.
    fn announce(&self, change: Change) {
        self.inner.news.tell(change);
    }

    /// Takes a desktop in hand, unless another task of this process has it.
    fn take_in_hand(&self, id: DesktopId) -> Option<InHand> {
        let mut set = self
            .inner
            .in_hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        set.insert(id).then(|| InHand {
            inner: self.inner.clone(),
            id,
        })
    }
}

/// A desktop that a task of this process is starting or stopping.
struct InHand {
    inner: Arc<Inner>,
    id: DesktopId,
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut set = self
            .inner
            .in_hand
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        set.remove(&self.id);
    }
}
