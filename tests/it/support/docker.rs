//! Desktops on the real engine, for the tests that `scripts/test` runs where there is one.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use deskgate::app::Core;
use deskgate::clock::{Clock, SystemClock};
use deskgate::config::raw::Raw;
use deskgate::config::{Config, FilterConfig};
use deskgate::demo;
use deskgate::engine::Engine;
use deskgate::engine::docker::DockerEngine;
use deskgate::model::audit::Actor;
use deskgate::model::desktop::{Desktop, State};
use deskgate::model::id::{DesktopId, RequestId};
use deskgate::model::user::User;

use super::gateway::identity;
use super::wire_engine::Filtered;

/// How long a desktop may take until it runs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Desktops on the real engine, under a name of their own.
pub struct Real {
    pub core: Core,
    pub config: Config,
    pub engine: DockerEngine,
    pub instance: String,
    /// What it was told, for a program that is told the same.
    pub values: Vec<(&'static str, String)>,
    _data: tempfile::TempDir,
}

/// What an installation of a test's own is told.
struct Settings {
    values: Vec<(&'static str, String)>,
    templates: Vec<String>,
    instance: String,
    data: tempfile::TempDir,
}

impl Settings {
    fn new(range: &str, reach: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let tag: String = RequestId::random().to_string().chars().take(8).collect();
        let instance = format!("test-{tag}");
        let database = format!("sqlite://{}/deskgate.db", data.path().display());
        let values = vec![
            ("PUBLIC_URL", "https://desk.test".to_owned()),
            ("DATABASE_URL", database),
            ("SECRET_KEY", "an-entirely-secret-key-for-tests".to_owned()),
            ("OAUTH_ISSUER", "https://id.test".to_owned()),
            ("OAUTH_CLIENT_ID", "test".to_owned()),
            ("KASM_IMAGE", demo::IMAGE.to_owned()),
            ("INSTANCE", instance.clone()),
            ("PORT_RANGE", range.to_owned()),
            ("DESKTOP_REACH", reach.to_owned()),
        ];
        Self {
            values,
            templates: Vec::new(),
            instance,
            data,
        }
    }

    fn raw(&self) -> Raw {
        let mut raw = Raw::load(None, &|_| None);
        for (key, value) in &self.values {
            raw.set(key, value.clone());
        }
        let templates = self.templates.iter();
        let templates = templates.map(|text| toml::from_str(text).unwrap());
        raw.templates.extend(templates);
        raw
    }
}

impl Real {
    pub async fn new(range: &str) -> Self {
        Self::with(range, "port").await
    }

    pub async fn with(range: &str, reach: &str) -> Self {
        Self::of(range, reach, None).await
    }

    /// With desktops of another template than the default one.
    pub async fn of(range: &str, reach: &str, template: Option<&str>) -> Self {
        let mut settings = Settings::new(range, reach);
        settings.templates.extend(template.map(str::to_owned));
        Self::build(settings).await
    }

    /// With these templates instead of the default one.
    pub async fn with_templates(range: &str, templates: &[String]) -> Self {
        let mut settings = Settings::new(range, "port");
        settings.templates = templates.to_vec();
        Self::build(settings).await
    }

    /// Behind a filter, through which everything goes.
    pub async fn filtered(range: &str, templates: &[String], engine: &Path) -> (Self, Filtered) {
        let mut settings = Settings::new(range, "port");
        settings.templates = templates.to_vec();
        let config = FilterConfig::resolve(settings.raw()).unwrap();
        let filter = Filtered::start(config, engine).await;
        let host = ("DOCKER_HOST", filter.docker_host());
        settings.values.push(host);
        (Self::build(settings).await, filter)
    }

    async fn build(settings: Settings) -> Self {
        let config = Config::resolve(settings.raw()).unwrap();
        let core = Core::build(&config, Arc::new(SystemClock)).await.unwrap();
        let engine = DockerEngine::new(config.engine.clone());
        Self {
            core,
            config,
            engine,
            instance: settings.instance,
            values: settings.values,
            _data: settings.data,
        }
    }

    pub async fn user(&self, name: &str) -> User {
        self.core
            .database
            .upsert_user(&identity(name), SystemClock.timestamp())
            .await
            .unwrap()
    }

    /// A desktop of a template, running.
    pub async fn desktop_of(&self, user: &User, template: &str) -> Desktop {
        let desktops = &self.core.desktops;
        let started = desktops.start(user, &tester(), Some(template)).await;
        self.running(started.unwrap().0.id).await
    }

    /// Waits for a desktop that was started until it runs.
    pub async fn running(&self, id: DesktopId) -> Desktop {
        let launched = self.core.desktops.wait_launched(id, PATIENCE).await;
        let desktop = launched.unwrap().expect("its row is there");
        let why = (&desktop.status_reason, &desktop.status_detail);
        assert_eq!(desktop.status, State::Running, "{why:?}");
        desktop
    }

    /// Removes every container, volume and network of this test.
    pub async fn clean(self) {
        for container in self.engine.list(&self.instance).await.unwrap() {
            self.engine.remove(&container.id).await.unwrap();
        }
        let label = format!("label=deskgate.instance={}", self.instance);
        for (kind, remove) in [("volume", "rm"), ("network", "rm")] {
            let listed = docker(&[kind, "ls", "-q", "--filter", &label]);
            for id in listed.lines() {
                docker(&[kind, remove, id]);
            }
        }
        self.core.tasks.stop(Duration::from_secs(1)).await;
    }
}

pub fn tester() -> Actor {
    Actor::system("test")
}

pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker")
        .args(arguments)
        .output()
        .expect("the docker client");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a container can connect to a port.
pub fn reaches(container: &str, address: &str, port: u16) -> bool {
    let target = format!("/dev/tcp/{address}/{port}");
    let knock = format!("timeout 2 bash -c 'exec 3<>{target}' && echo reached || echo refused");
    let said = docker(&["exec", container, "bash", "-c", &knock]);
    match said.trim() {
        "reached" => true,
        "refused" => false,
        other => panic!("{other:?}"),
    }
}
