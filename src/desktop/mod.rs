//! The life of a desktop: started, answered for, found, stopped, removed. The row in the database is
//! the intent, the engine is the fact, and [`reconcile`] brings the two together.

pub mod activity;
mod ages;
pub mod directory;
mod launch;
pub mod password;
mod ports;
pub mod readiness;
pub mod reaper;
pub mod reconcile;
mod schedule;
mod stop;
pub mod upstream;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast};

use crate::audit::Audit;
use crate::clock::Clock;
use crate::config::{DesktopConfig, Reach};
use crate::engine::spec::{Place, container_name};
use crate::engine::{Engine, EngineError};
use crate::model::audit::{Action, Actor, Event, Object};
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::model::template::Template;
use crate::model::user::User;
use crate::store::containers::Inserted;
use crate::store::{Database, StoreError};
use crate::tasks::Tasks;
use crate::telemetry::metrics::Metrics;
use ages::Ages;
use directory::{Directory, Entry};
use password::Passwords;
use upstream::{Dialer, Upstream};

/// Starts that the engine works on at the same time; it is nearly serial, more would only wait inside it.
const PARALLEL_STARTS: usize = 4;
/// How many changes a slow listener may be behind before it misses some.
const CHANGE_BACKLOG: usize = 256;
/// How many ports are proposed to the database before a start gives up.
const PORT_ATTEMPTS: usize = 64;

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
    /// Every port of the range is taken.
    #[error("no port of the range is free")]
    NoPort,
    /// There is no such desktop.
    #[error("there is no such desktop")]
    NotFound,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
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
    slots: Semaphore,
    changes: broadcast::Sender<Change>,
    /// Desktops that a task of this process is starting or stopping.
    in_hand: Mutex<HashSet<DesktopId>>,
    /// How long each has been idle, for the reaper.
    ages: Mutex<Ages>,
}

/// Something that happened to a desktop.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is like this now.
    To(Desktop),
    /// It was removed; this is how it was.
    Removed(Desktop),
}

impl Change {
    /// The desktop.
    #[must_use]
    pub fn desktop(&self) -> &Desktop {
        match self {
            Self::To(desktop) | Self::Removed(desktop) => desktop,
        }
    }
}

/// What a look-up by id found.
#[derive(Debug)]
pub enum Found {
    /// It runs.
    Running(Arc<Entry>),
    /// It does not run (yet, or any more).
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
                slots: Semaphore::new(PARALLEL_STARTS),
                changes: broadcast::channel(CHANGE_BACKLOG).0,
                in_hand: Mutex::default(),
                ages: Mutex::default(),
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

    /// The templates that `user` may start, in the order of the configuration.
    pub fn templates_for(&self, user: &User) -> impl Iterator<Item = &Arc<Template>> {
        self.inner
            .templates
            .iter()
            .filter(|template| user.is_in_any(&template.groups))
    }

    /// Every change of a desktop of this gateway, as it is recorded.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
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

    /// Starts a desktop of `template` (the user's first one if none is named) for `user`, or returns the
    /// live one. The flag says whether it is new. The desktop comes up in the background.
    ///
    /// # Errors
    /// The template is unknown or not for this user, a quota is used up, the last desktop is still stopping,
    /// no port is free, or engine or database do not answer. In none of these cases is a row left behind.
    pub async fn start(
        &self,
        user: &User,
        by: &Actor,
        template: Option<&str>,
    ) -> Result<(Desktop, bool), DesktopError> {
        let template = match template {
            Some(id) => self.template(id).ok_or(DesktopError::UnknownTemplate)?,
            None => self
                .templates_for(user)
                .next()
                .ok_or(DesktopError::TemplateNotAllowed)?,
        };
        if !user.is_in_any(&template.groups) {
            return Err(DesktopError::TemplateNotAllowed);
        }
        if let Some(live) = self.live(user, template).await? {
            return Ok((live, false));
        }
        // A start that cannot succeed is refused before it leaves a row behind.
        self.inner.parts.engine.ping().await?;
        self.check_quota(user).await?;
        let Some(desktop) = self.record(user, by, template).await? else {
            let live = self.live(user, template).await?;
            return live
                .map(|desktop| (desktop, false))
                .ok_or(DesktopError::StillStopping);
        };
        tracing::info!(desktop = %desktop.id, user = %user.id, template = %template.id, "desktop requested");
        self.note(
            &desktop,
            Event::new(Action::Start, by).detail("template", &template.id),
        );
        self.announce(Change::To(desktop.clone()));
        self.spawn_launch(desktop.clone());
        Ok((desktop, true))
    }

    async fn live(
        &self,
        user: &User,
        template: &Template,
    ) -> Result<Option<Desktop>, DesktopError> {
        let latest = self
            .inner
            .parts
            .database
            .find_latest_desktop(user.id, Some(&template.id))
            .await?;
        match latest {
            Some(desktop) if desktop.status == State::Stopping => Err(DesktopError::StillStopping),
            Some(desktop) if desktop.status.is_live() => Ok(Some(desktop)),
            _ => Ok(None),
        }
    }

    async fn check_quota(&self, user: &User) -> Result<(), DesktopError> {
        let config = &self.inner.parts.config;
        let (own, total) = self.inner.parts.database.count_live(user.id).await?;
        if own >= i64::from(config.max_per_user) {
            return Err(DesktopError::UserQuota(config.max_per_user));
        }
        if total >= i64::from(config.max_total) {
            return Err(DesktopError::TotalQuota(config.max_total));
        }
        Ok(())
    }

    /// Writes the intent. `None` when another start of the same desktop was first.
    async fn record(
        &self,
        user: &User,
        by: &Actor,
        template: &Template,
    ) -> Result<Option<Desktop>, DesktopError> {
        let parts = &self.inner.parts;
        let id = DesktopId::random();
        let mut desktop = Desktop {
            id,
            user_id: user.id,
            session_id: by.session,
            container_id: None,
            container_name: container_name(&parts.instance, id),
            image_name: template.image.clone(),
            template: template.id.clone(),
            status: State::Queued,
            status_reason: None,
            host_port: None,
            container_port: template.port,
            created_at: parts.clock.timestamp(),
            started_at: None,
            stopped_at: None,
            last_accessed: None,
            last_input: None,
            last_used: None,
            extensions: 0,
        };
        let proposals = match parts.config.reach {
            Reach::Network => vec![None],
            Reach::Port => self.free_ports(id).await?.into_iter().map(Some).collect(),
        };
        for port in proposals.into_iter().take(PORT_ATTEMPTS) {
            desktop.host_port = port;
            match parts
                .database
                .insert_desktop(&desktop, parts.engine.name())
                .await?
            {
                Inserted::Yes => return Ok(Some(desktop)),
                Inserted::AlreadyLive => return Ok(None),
                Inserted::PortTaken => {}
            }
        }
        Err(DesktopError::NoPort)
    }

    async fn free_ports(&self, id: DesktopId) -> Result<Vec<u16>, StoreError> {
        let parts = &self.inner.parts;
        let used = parts.database.ports_in_use(parts.engine.name()).await?;
        // Any number that differs between starts will do to spread them over the range.
        let seed = id
            .to_string()
            .bytes()
            .fold(0_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
        Ok(ports::candidates(&parts.config.ports, &used, seed))
    }

    /// Looks a desktop up by id: in memory while it runs, otherwise in the database.
    ///
    /// # Errors
    /// Only database and engine failures; a desktop that does not exist is `None`.
    pub async fn find(&self, id: DesktopId) -> Result<Option<Found>, DesktopError> {
        if let Some(entry) = self.inner.directory.get(id) {
            return Ok(Some(Found::Running(entry)));
        }
        let Some(desktop) = self.inner.parts.database.find_desktop(id).await? else {
            return Ok(None);
        };
        if desktop.status != State::Running {
            return Ok(Some(Found::NotRunning(Box::new(desktop))));
        }
        let Some(entry) = self.enter(&desktop).await? else {
            return Ok(Some(Found::NotRunning(Box::new(desktop))));
        };
        // It may have been stopped between the two steps; then the entry must not stay.
        let now = self.inner.parts.database.find_desktop(id).await?;
        if now.is_some_and(|desktop| desktop.status == State::Running) {
            return Ok(Some(Found::Running(entry)));
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
        Ok(Some(self.inner.directory.insert(entry)))
    }

    async fn upstream(
        &self,
        desktop: &Desktop,
        template: &Template,
    ) -> Result<Option<Upstream>, DesktopError> {
        let parts = &self.inner.parts;
        let addr = match parts.config.reach {
            Reach::Port => desktop
                .host_port
                .map(|port| (IpAddr::from(Ipv4Addr::LOCALHOST), port)),
            Reach::Network => {
                let container = parts.engine.inspect(&desktop.container_name).await?;
                let address = container.and_then(|container| container.address);
                address.map(|address| (address, desktop.container_port))
            }
        };
        let password = parts.passwords.of(desktop.id);
        Ok(addr.map(|addr| Upstream::new(template, SocketAddr::from(addr), &password)))
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

    /// Asks the engine what the container is doing, and takes note if it has ended behind our back.
    ///
    /// # Errors
    /// The engine does not answer; the caller still has the row.
    pub async fn refresh(&self, desktop: Desktop) -> Result<(Desktop, &'static str), DesktopError> {
        let container = self
            .inner
            .parts
            .engine
            .inspect(&desktop.container_name)
            .await?;
        let status = container
            .as_ref()
            .map_or("absent", |container| container.state.as_str());
        let should_run = matches!(desktop.status, State::Running | State::Paused);
        if !should_run || matches!(status, "running" | "paused") || !self.note_end(&desktop).await?
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
                // A missed change does no harm: the row is read again.
                let _ = changes.recv().await;
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
        let _ = self.inner.changes.send(change);
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
