//! What runs containers. [`Engine`] is all that the rest of the program knows of it; [`docker`] is the
//! one there is, [`measured`] counts what it is asked. A container is described by a [`spec::ContainerSpec`], which is plain data.

pub mod docker;
pub mod measured;
mod memory;
pub mod probe;
pub mod spec;

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

use crate::model::id::DesktopId;
use crate::model::time::Timestamp;
use spec::{ContainerSpec, Network};

/// What can go wrong at the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody answers at its address.
    #[error("the container engine cannot be reached")]
    Unreachable(#[source] bollard::errors::Error),
    /// It took the request and did not answer in time.
    #[error("the container engine did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The port on the host is somebody else's.
    #[error("the host port is in use by something else")]
    PortTaken,
    /// A container of this name exists already.
    #[error("a container of this name exists already")]
    NameTaken,
    /// There is no such container.
    #[error("there is no such container")]
    NotFound,
    /// The image is not on this machine.
    #[error("the image is not on this machine")]
    ImageMissing,
    /// The image cannot be brought to this machine.
    #[error("the image cannot be pulled: {}", .0.as_str())]
    Pull(PullFailure, #[source] bollard::errors::Error),
    /// There is no room for an image, a container or its files.
    #[error("the disk of the container engine is full")]
    DiskFull(#[source] bollard::errors::Error),
    /// Every network of the configured range is in use.
    #[error("no network of DESKTOP_SUBNETS is free")]
    NoSubnet,
    /// It refused for another reason.
    #[error("the container engine refused")]
    Refused(#[source] bollard::errors::Error),
}

impl EngineError {
    /// Whether the engine is not there, so that nothing is known of the outcome.
    #[must_use]
    pub const fn is_away(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Timeout(_))
    }

    /// Why a pull that ended like this failed.
    #[must_use]
    pub const fn pull_failure(&self) -> PullFailure {
        match self {
            Self::Pull(failure, _) => *failure,
            _ => PullFailure::Other,
        }
    }
}

/// Why an image could not be brought here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullFailure {
    /// Its registry does not give it to us; some say the same of what they do not have.
    Denied,
    /// Its registry has no such image, or none for this machine.
    Unknown,
    /// Its registry was not heard, or not to the end.
    Registry,
    /// Nothing came any more.
    Stalled,
    /// The filter in front of the engine lets only images of templates through.
    Filtered,
    /// Anything else.
    Other,
}

impl PullFailure {
    /// For the log.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "its registry refuses",
            Self::Unknown => "its registry has no such image",
            Self::Registry => "its registry cannot be reached",
            Self::Stalled => "nothing comes any more",
            Self::Filtered => "no template has it, and the engine's filter lets no other through",
            Self::Other => "it failed",
        }
    }
}

/// What the engine says a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, never started.
    Created,
    /// Running.
    Running,
    /// Frozen.
    Paused,
    /// Its process has ended.
    Exited,
    /// Being removed or otherwise beyond use.
    Dead,
}

impl ContainerState {
    /// Its process is there, frozen or not.
    #[must_use]
    pub const fn is_alive(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// The engine's own word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// A container as the engine knows it.
#[derive(Clone, Debug)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its name, without the leading slash.
    pub name: String,
    /// What it is doing.
    pub state: ContainerState,
    /// Its labels.
    pub labels: HashMap<String, String>,
    /// Exit code, where its process has ended.
    pub exit_code: Option<i64>,
    /// Whether the memory limit ended it.
    pub oom_killed: bool,
    /// Its address on its network, while it runs.
    pub address: Option<IpAddr>,
    /// When it was made, by the engine's clock, if it says so.
    pub made_at: Option<Timestamp>,
}

/// What a container has taken of its host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// CPU time since it was started, over all cores.
    pub cpu: Duration,
    /// Bytes of memory, without what the system would give up for others.
    pub memory: u64,
    /// Bytes of memory that it may have.
    pub memory_limit: Option<u64>,
}

/// An image as the engine knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// The engine's id.
    pub id: String,
    /// References that lead to it.
    pub names: Vec<String>,
    /// Bytes on disk.
    pub size: i64,
    /// When it was built.
    pub created_at: Timestamp,
}

/// How far a pull is; clones show the same.
#[derive(Clone, Debug, Default)]
pub struct Percent(Arc<AtomicU8>);

impl Percent {
    /// 0 to 100.
    #[must_use]
    pub fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes how much of all there is has come. It never goes back when more turns out to be needed.
    pub fn note(&self, current: u64, total: u64) {
        let percent = current.saturating_mul(100) / total.max(1);
        let percent = u8::try_from(percent.min(100)).unwrap_or(100);
        self.0.fetch_max(percent, Ordering::Relaxed);
    }
}

/// A network that is one desktop's alone.
#[derive(Clone, Debug)]
pub struct OwnNetwork {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub desktop: DesktopId,
    /// When it was made, by the engine's clock, if it says so.
    pub made_at: Option<Timestamp>,
}

/// Something that happened to a container: its name, and what.
#[derive(Clone, Debug)]
pub struct Event {
    /// The container's name.
    pub name: String,
    /// `die`, `destroy`, `start`, ...
    pub action: String,
}

/// Runs containers.
///
/// Every call has a deadline, and a call that is repeated does no harm: a start that was under way when
/// a gateway died is simply done again by the next one. Containers are named by the caller, and the
/// engine lets a name exist once: that is the lock between gateways.
///
/// Whatever a method asks, `engine_filter` has to let through.
///
/// # Errors
/// [`EngineError::Unreachable`] and [`EngineError::Timeout`] mean that nothing is known of the outcome;
/// every other error means that nothing was done.
#[async_trait]
pub trait Engine: Send + Sync + Debug {
    /// Name in the database: host ports are unique within it.
    fn name(&self) -> &'static str;
    /// Whether it answers.
    async fn ping(&self) -> Result<(), EngineError>;
    /// Makes a network for containers of this installation, if it is not there.
    async fn prepare(&self, network: &Network, instance: &str) -> Result<(), EngineError>;
    /// Those networks of an installation that are one desktop's alone.
    async fn networks(&self, instance: &str) -> Result<Vec<OwnNetwork>, EngineError>;
    /// Removes such a network; fine when it is gone already, or a container is still in it.
    async fn remove_network(&self, network: &str) -> Result<(), EngineError>;
    /// Whether the image is on this machine.
    async fn has_image(&self, image: &str) -> Result<bool, EngineError> {
        Ok(self.image_id(image).await?.is_some())
    }
    /// The engine's id of the image that a reference leads to, if it is on this machine.
    async fn image_id(&self, image: &str) -> Result<Option<String>, EngineError>;
    /// Images on this machine.
    async fn images(&self) -> Result<Vec<Image>, EngineError>;
    /// Brings the image to this machine, and says how far it is.
    async fn pull(&self, image: &str, percent: &Percent) -> Result<(), EngineError>;
    /// Whether the image could be pulled, as far as its registry says without pulling.
    async fn can_pull(&self, image: &str) -> Result<(), EngineError>;
    /// Removes the volumes that carry all of these labels; returns how many there were. One in use is an error.
    async fn remove_volumes(&self, labels: &[(&str, String)]) -> Result<u64, EngineError>;
    /// Makes a container and returns its id.
    async fn create(&self, spec: &ContainerSpec) -> Result<String, EngineError>;
    /// Gives a container another name, which nothing else may have.
    async fn rename(&self, container: &str, name: &str) -> Result<(), EngineError>;
    /// Starts it; fine when it runs already.
    async fn start(&self, container: &str) -> Result<(), EngineError>;
    /// Stops it, frozen or not, by force after `grace`; fine when it has ended already.
    async fn stop(&self, container: &str, grace: Duration) -> Result<(), EngineError>;
    /// Freezes it, memory and connections kept; fine when it is frozen already.
    async fn pause(&self, container: &str) -> Result<(), EngineError>;
    /// Lets it go on; fine when it is not frozen.
    async fn unpause(&self, container: &str) -> Result<(), EngineError>;
    /// Removes it, running or not, and the network that it had alone; fine when they are gone already. Named volumes
    /// stay.
    async fn remove(&self, container: &str) -> Result<(), EngineError>;
    /// Runs a command in a running container and waits for its end, at most `limit`. Returns its exit code.
    async fn exec(
        &self,
        container: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<Option<i64>, EngineError>;
    /// Whether there is a volume of this name.
    async fn has_volume(&self, volume: &str) -> Result<bool, EngineError>;
    /// Removes a volume with all that is in it; fine when it is gone already.
    async fn remove_volume(&self, volume: &str) -> Result<(), EngineError>;
    /// Looks at one container, by name or id.
    async fn inspect(&self, container: &str) -> Result<Option<Container>, EngineError>;
    /// All containers of an installation, running or not.
    async fn list(&self, instance: &str) -> Result<Vec<Container>, EngineError>;
    /// What a container has taken of its host up to now, without waiting for a second look.
    async fn stats(&self, container: &str) -> Result<Stats, EngineError>;
    /// What happens to containers of an installation from now on; ends when the connection does.
    async fn events(&self, instance: &str) -> Result<BoxStream<'static, Event>, EngineError>;
    /// The last lines a container wrote, for the reason of a failure.
    async fn log_tail(&self, container: &str, lines: u32) -> Result<String, EngineError>;
    /// Bytes of this machine's memory that containers could have without swapping. `None` where the system does not say.
    async fn available_memory(&self) -> Option<u64> {
        memory::available().await
    }
}
