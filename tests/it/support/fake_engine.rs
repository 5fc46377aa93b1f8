//! An engine whose containers are strict fake desktops on real ports. It keeps Docker's rules: one
//! container per name, one listener per port, labels, and an error for what does not exist.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bollard::errors::Error;
use deskgate::engine::spec::{ContainerSpec, LABEL_INSTANCE, Network};
use deskgate::engine::{
    Container, ContainerState, Engine, EngineError, Event, Image, OwnNetwork, Percent, Stats,
};
use deskgate::model::time::Timestamp;
use futures_util::stream::{BoxStream, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast};

use super::fake_desktop::{FakeDesktop, FakeOptions};

mod changes;

#[derive(Debug)]
pub(super) struct Made {
    pub(super) id: String,
    pub(super) spec: ContainerSpec,
    pub(super) state: ContainerState,
    pub(super) ending: Ending,
    born: Option<Timestamp>,
    /// Held by the one who starts it; others wait for what comes of it.
    start: Arc<tokio::sync::Mutex<()>>,
}

/// How a container's process ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ending {
    pub exit_code: i64,
    pub oom_killed: bool,
}

/// Something that goes wrong.
pub type Trouble = fn() -> EngineError;

/// The engine; its switches provoke faults.
pub struct FakeEngine {
    /// Where the fake desktops live: containers outlive the gateway that starts them.
    home: Handle,
    pub(super) containers: Mutex<HashMap<String, Made>>,
    pub(super) desktops: Mutex<HashMap<String, Arc<FakeDesktop>>>,
    pub(super) specs: Mutex<Vec<ContainerSpec>>,
    /// What desktops are like, apart from what their environment says.
    pub fakes: Mutex<FakeOptions>,
    /// Commands that were run in containers, and images that were pulled.
    pub said: Mutex<Vec<String>>,
    /// What commands in containers end with.
    pub exec_code: AtomicI64,
    /// Home volumes and their labels.
    pub volumes: Mutex<HashMap<String, HashMap<String, String>>>,
    /// Networks of one desktop each.
    pub networks: Mutex<Vec<OwnNetwork>>,
    /// Images that were pulled.
    pulled: Mutex<Vec<String>>,
    /// Lets a pull of an image called `good/...` go on from its 40 %.
    pub pull_on: Notify,
    /// Answers nothing.
    pub down: AtomicBool,
    /// What pulls and the making of containers end with.
    pub pull_trouble: Mutex<Option<Trouble>>,
    pub create_trouble: Mutex<Option<Trouble>>,
    /// Containers end like this as soon as they are started.
    pub stillborn: Mutex<Option<Ending>>,
    /// What containers write; `{password}` is the one they were given.
    pub log: Mutex<String>,
    /// Who hears what happens; a test says it, so that others are not disturbed.
    pub(super) listeners: Mutex<Option<broadcast::Sender<Event>>>,
    /// What its clock says, if it says anything.
    pub clock: Mutex<Option<Timestamp>>,
    /// Containers are not shown: this is another engine for now.
    pub hidden: AtomicBool,
    /// A container whose stop and removal are refused.
    pub immovable: Mutex<Option<String>>,
    /// Wakes never end.
    pub stuck: AtomicBool,
    /// Pauses and wakes that were asked for, ever.
    pub pauses: AtomicUsize,
    pub unpauses: AtomicUsize,
    /// Desktops add headers that must not reach the browser.
    pub hostile: AtomicBool,
    /// Starts begin and do not end.
    pub held: AtomicBool,
    /// Looks for volumes and their removals begin and do not end.
    pub unseeing: AtomicBool,
    /// Desktops are ordinary echo servers.
    pub echo: AtomicBool,
    /// Stops begin and do not end.
    pub endless: AtomicBool,
    /// Renames begin and do not end.
    pub unnamed: AtomicBool,
    /// Bytes of memory that the machine has beside what containers that run may use; 0: it does not say.
    pub memory: AtomicU64,
    /// How often the images were made anew.
    pub image_version: AtomicUsize,
    /// Containers that were made, ever.
    pub created: AtomicUsize,
    /// Looks at what containers take, ever.
    pub looks: AtomicUsize,
    /// Starts under way and the most there ever were.
    pub starting: AtomicUsize,
    pub most_starting: AtomicUsize,
}

impl Default for FakeEngine {
    fn default() -> Self {
        Self {
            home: Handle::current(),
            containers: Mutex::default(),
            desktops: Mutex::default(),
            specs: Mutex::default(),
            fakes: Mutex::default(),
            said: Mutex::default(),
            exec_code: AtomicI64::default(),
            volumes: Mutex::default(),
            networks: Mutex::default(),
            pulled: Mutex::default(),
            pull_on: Notify::new(),
            down: AtomicBool::default(),
            pull_trouble: Mutex::default(),
            create_trouble: Mutex::default(),
            stillborn: Mutex::default(),
            log: Mutex::default(),
            listeners: Mutex::default(),
            clock: Mutex::default(),
            hidden: AtomicBool::default(),
            immovable: Mutex::default(),
            stuck: AtomicBool::default(),
            pauses: AtomicUsize::default(),
            unpauses: AtomicUsize::default(),
            hostile: AtomicBool::default(),
            held: AtomicBool::default(),
            unseeing: AtomicBool::default(),
            echo: AtomicBool::default(),
            endless: AtomicBool::default(),
            unnamed: AtomicBool::default(),
            memory: AtomicU64::default(),
            image_version: AtomicUsize::default(),
            created: AtomicUsize::default(),
            looks: AtomicUsize::default(),
            starting: AtomicUsize::default(),
            most_starting: AtomicUsize::default(),
        }
    }
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeEngine").finish_non_exhaustive()
    }
}

impl FakeEngine {
    fn check_move(&self, name: &str) -> Result<(), EngineError> {
        self.check()?;
        if self.immovable.lock().unwrap().as_deref() == Some(name) {
            // A process that cannot be killed; the engine itself is well.
            return Err(EngineError::Timeout(Duration::from_secs(1)));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), EngineError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(EngineError::Timeout(Duration::from_secs(1)));
        }
        Ok(())
    }

    /// The name of a container that is known by it or by its id.
    fn name_of(&self, container: &str) -> String {
        let containers = self.containers.lock().unwrap();
        let mut all = containers.iter();
        all.find(|(_, made)| made.id == container)
            .map_or_else(|| container.to_owned(), |(name, _)| name.clone())
    }

    fn is_hidden(&self) -> bool {
        self.hidden.load(Ordering::SeqCst)
    }

    fn view(name: &str, made: &Made) -> Container {
        Container {
            id: made.id.clone(),
            name: name.to_owned(),
            state: made.state,
            labels: made.spec.labels.clone(),
            exit_code: (made.state == ContainerState::Exited).then_some(made.ending.exit_code),
            oom_killed: made.ending.oom_killed,
            address: made.spec.network.internal.then_some([127, 0, 0, 1].into()),
            made_at: made.born,
        }
    }

    fn set(&self, name: &str, state: ContainerState) -> Result<(), EngineError> {
        let mut containers = self.containers.lock().unwrap();
        containers.get_mut(name).ok_or(EngineError::NotFound)?.state = state;
        Ok(())
    }

    pub(super) fn options(&self, spec: &ContainerSpec) -> FakeOptions {
        let options = self.fakes.lock().unwrap().clone();
        let said = |name: &str| {
            let mut pairs = spec.env.iter().filter_map(|pair| pair.split_once('='));
            pairs
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value.to_owned())
        };
        FakeOptions {
            password: said("VNC_PW").or(said("PASSWORD")).unwrap_or_default(),
            user: said("CUSTOM_USER").unwrap_or(options.user),
            prefix: said("SUBFOLDER").map(|path| path.trim_end_matches('/').to_owned()),
            echo: self.echo.load(Ordering::SeqCst),
            hostile_headers: self.hostile.load(Ordering::SeqCst),
            ..options
        }
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn name(&self) -> &'static str {
        "docker"
    }

    async fn ping(&self) -> Result<(), EngineError> {
        self.check()
    }

    async fn prepare(&self, network: &Network, _: &str) -> Result<(), EngineError> {
        self.check()?;
        if let Some(own) = network.own {
            let made = OwnNetwork {
                name: network.name.clone(),
                desktop: own.desktop,
                made_at: None,
            };
            self.networks.lock().unwrap().push(made);
        }
        Ok(())
    }

    async fn can_pull(&self, _: &str) -> Result<(), EngineError> {
        self.check()
    }

    async fn networks(&self, _: &str) -> Result<Vec<OwnNetwork>, EngineError> {
        self.check()?;
        Ok(self.networks.lock().unwrap().clone())
    }

    async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        self.check()?;
        let mut networks = self.networks.lock().unwrap();
        networks.retain(|network| network.name != name);
        Ok(())
    }

    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError> {
        self.check()?;
        let remote = image.starts_with("good/") || image.starts_with("bad/");
        let pulled = self.pulled.lock().unwrap().iter().any(|one| one == image);
        if remote && !pulled {
            return Ok(None);
        }
        let version = self.image_version.load(Ordering::SeqCst);
        Ok(Some(format!("sha256:{image}:{version}")))
    }

    async fn images(&self) -> Result<Vec<Image>, EngineError> {
        self.check()?;
        let pulled = self.pulled.lock().unwrap().clone();
        Ok(pulled
            .into_iter()
            .map(|name| Image {
                id: format!("sha256:{name}"),
                names: vec![name],
                size: 1000,
                created_at: Timestamp::from_millis(1_700_000_000_000),
            })
            .collect())
    }

    async fn pull(&self, image: &str, percent: &Percent) -> Result<(), EngineError> {
        self.said.lock().unwrap().push(format!("pull {image}"));
        self.check()?;
        if let Some(trouble) = *self.pull_trouble.lock().unwrap() {
            return Err(trouble());
        }
        if !image.starts_with("good/") {
            return Err(EngineError::ImageMissing);
        }
        percent.note(40, 100);
        self.pull_on.notified().await;
        self.pulled.lock().unwrap().push(image.to_owned());
        Ok(())
    }

    async fn remove_volumes(&self, labels: &[(&str, String)]) -> Result<u64, EngineError> {
        self.check()?;
        let mut volumes = self.volumes.lock().unwrap();
        let before = volumes.len();
        volumes.retain(|_, have| {
            let all = labels
                .iter()
                .all(|(name, value)| have.get(*name) == Some(value));
            !all
        });
        Ok(u64::try_from(before - volumes.len()).unwrap())
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError> {
        self.check()?;
        if let Some(trouble) = *self.create_trouble.lock().unwrap() {
            self.said.lock().unwrap().push("create in vain".to_owned());
            return Err(trouble());
        }
        let mut containers = self.containers.lock().unwrap();
        if containers.contains_key(&spec.name) {
            return Err(EngineError::NameTaken);
        }
        let number = self.created.fetch_add(1, Ordering::SeqCst);
        let id = format!("engine-{number}");
        let made = Made {
            id: id.clone(),
            spec: spec.clone(),
            state: ContainerState::Created,
            ending: Ending::default(),
            born: *self.clock.lock().unwrap(),
            start: Arc::default(),
        };
        containers.insert(spec.name.clone(), made);
        self.specs.lock().unwrap().push(spec.clone());
        if let Some(home) = &spec.home {
            let mut volumes = self.volumes.lock().unwrap();
            volumes.insert(home.name.clone(), home.labels.clone());
        }
        Ok(id)
    }

    async fn rename(&self, container: &str, to: &str) -> Result<(), EngineError> {
        self.check()?;
        self.said.lock().unwrap().push(format!("rename to {to}"));
        while self.unnamed.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let name = self.name_of(container);
        if name == to {
            return Err(changes::same_name());
        }
        let mut containers = self.containers.lock().unwrap();
        if containers.contains_key(to) {
            return Err(EngineError::NameTaken);
        }
        let made = containers.remove(&name).ok_or(EngineError::NotFound)?;
        containers.insert(to.to_owned(), made);
        let mut desktops = self.desktops.lock().unwrap();
        if let Some(desktop) = desktops.remove(&name) {
            desktops.insert(to.to_owned(), desktop);
        }
        Ok(())
    }

    async fn start(&self, container: &str) -> Result<(), EngineError> {
        self.check()?;
        let name = &*self.name_of(container);
        let turn = {
            let containers = self.containers.lock().unwrap();
            let made = containers.get(name).ok_or(EngineError::NotFound)?;
            made.start.clone()
        };
        let _turn = turn.lock().await;
        let spec = {
            let containers = self.containers.lock().unwrap();
            let made = containers.get(name).ok_or(EngineError::NotFound)?;
            if made.state == ContainerState::Running {
                return Ok(());
            }
            made.spec.clone()
        };
        let port = match spec.host_port {
            Some(port) => port,
            None if spec.network.internal => spec.port,
            None => panic!("a port is published"),
        };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_err() {
            return Err(EngineError::PortTaken);
        }
        let now = self.starting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_starting.fetch_max(now, Ordering::SeqCst);
        // A real engine takes a while, in which other things happen.
        tokio::time::sleep(Duration::from_millis(30)).await;
        while self.held.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let stillborn = *self.stillborn.lock().unwrap();
        if let Some(ending) = stillborn {
            self.starting.fetch_sub(1, Ordering::SeqCst);
            self.end(name, ending);
            return Ok(());
        }
        let starting = FakeDesktop::start_on(port, self.options(&spec));
        let desktop = self.home.spawn(starting).await.expect("a fake desktop");
        self.starting.fetch_sub(1, Ordering::SeqCst);
        self.desktops
            .lock()
            .unwrap()
            .insert(name.to_owned(), Arc::new(desktop));
        self.set(name, ContainerState::Running)
    }

    async fn exec(
        &self,
        name: &str,
        command: &[String],
        _: Duration,
    ) -> Result<Option<i64>, EngineError> {
        self.check()?;
        let known = self.desktops.lock().unwrap().contains_key(name);
        known.then_some(()).ok_or(EngineError::NotFound)?;
        let paused = (name.to_owned(), ContainerState::Paused);
        if self.all().contains(&paused) {
            let error = "it is paused".to_owned();
            return Err(EngineError::Refused(Error::DockerStreamError { error }));
        }
        let mut said = self.said.lock().unwrap();
        said.push(format!("exec {}", command.join(" ")));
        Ok(Some(self.exec_code.load(Ordering::SeqCst)))
    }

    async fn has_volume(&self, volume: &str) -> Result<bool, EngineError> {
        self.check()?;
        while self.unseeing.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(self.volumes.lock().unwrap().contains_key(volume))
    }

    async fn remove_volume(&self, volume: &str) -> Result<(), EngineError> {
        self.check()?;
        let said = format!("remove volume {volume}");
        self.said.lock().unwrap().push(said);
        while self.unseeing.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.volumes.lock().unwrap().remove(volume);
        Ok(())
    }

    async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        self.check_move(name)?;
        let said = format!("stop after {} s", grace.as_secs());
        self.said.lock().unwrap().push(said);
        while self.endless.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.desktops.lock().unwrap().remove(name);
        match self.set(name, ContainerState::Exited) {
            Err(EngineError::NotFound) => Ok(()),
            other => other,
        }
    }

    async fn pause(&self, name: &str) -> Result<(), EngineError> {
        self.check()?;
        self.pauses.fetch_add(1, Ordering::SeqCst);
        self.freeze(name, true)
    }

    async fn unpause(&self, name: &str) -> Result<(), EngineError> {
        self.check()?;
        self.unpauses.fetch_add(1, Ordering::SeqCst);
        if self.stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        // A real engine takes a while, in which more requests come.
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.freeze(name, false)
    }

    async fn remove(&self, container: &str) -> Result<(), EngineError> {
        let name = self.name_of(container);
        self.check_move(&name)?;
        if self.is_hidden() {
            return Ok(());
        }
        if let Some(spec) = self.spec_of(&name) {
            self.remove_network(&spec.network.name).await?;
        }
        self.vanish(&name);
        Ok(())
    }

    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError> {
        self.check()?;
        let name = &*self.name_of(container);
        let containers = self.containers.lock().unwrap();
        let found = containers.get(name).filter(|_| !self.is_hidden());
        Ok(found.map(|made| Self::view(name, made)))
    }

    async fn list(&self, instance: &str) -> Result<Vec<Container>, EngineError> {
        self.check()?;
        let containers = self.containers.lock().unwrap();
        let ours = |made: &Made| made.spec.labels[LABEL_INSTANCE] == instance && !self.is_hidden();
        let ours = containers.iter().filter(|(_, made)| ours(made));
        Ok(ours.map(|(name, made)| Self::view(name, made)).collect())
    }

    async fn stats(&self, name: &str) -> Result<Stats, EngineError> {
        self.check()?;
        self.looks.fetch_add(1, Ordering::SeqCst);
        if !self.desktops.lock().unwrap().contains_key(name) {
            return Err(EngineError::NotFound);
        }
        Ok(Stats {
            cpu: Duration::from_millis(1500),
            memory: 100 << 20,
            memory_limit: Some(1 << 30),
        })
    }

    async fn events(&self, _: &str) -> Result<BoxStream<'static, Event>, EngineError> {
        self.check()?;
        let mut listeners = self.listeners.lock().unwrap();
        let listeners = listeners.get_or_insert_with(|| broadcast::channel(64).0);
        let heard = futures_util::stream::unfold(listeners.subscribe(), async |mut listener| {
            Some((listener.recv().await.ok()?, listener))
        });
        Ok(heard.boxed())
    }

    async fn log_tail(&self, container: &str, _: u32) -> Result<String, EngineError> {
        self.check()?;
        let name = self.name_of(container);
        let log = self.log.lock().unwrap().clone();
        Ok(log.replace("{password}", &self.password(&name)))
    }

    async fn available_memory(&self) -> Option<u64> {
        self.memory_left()
    }
}
