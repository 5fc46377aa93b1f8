//! A Docker daemon in trouble: every wait for it ends, and what is not known is not taken for known.

use std::sync::Arc;
use std::time::Duration;

use deskgate::app::Core;
use deskgate::clock::{Clock, SystemClock};
use deskgate::config::raw::Raw;
use deskgate::config::{Config, EngineConfig, Reach};
use deskgate::desktop::DesktopError;
use deskgate::engine::docker::{Deadlines, DockerEngine};
use deskgate::engine::spec::{Belongings, ContainerSpec, Place};
use deskgate::engine::{Engine, EngineError, Percent, PullFailure};
use deskgate::model::desktop::{Desktop, State};
use deskgate::model::id::{DesktopId, UserId};
use deskgate::model::template::Template;
use deskgate::store::containers::Change;
use deskgate::store::starts::{Limits, Recorded};
use serde_json::{Value, json};

use crate::support::fake_daemon::{FakeDaemon, Mood, Step};
use crate::support::gateway::{PATIENCE, identity};

/// Short ones, so that a test need not wait as long as an operator would.
const DEADLINES: Deadlines = Deadlines {
    ping: Duration::from_millis(300),
    look: Duration::from_millis(300),
    registry: Duration::from_millis(300),
    silence: Duration::from_millis(300),
    pull: Duration::from_secs(10),
};

fn engine(daemon: &FakeDaemon) -> DockerEngine {
    let docker_host = daemon.host();
    DockerEngine::with_deadlines(EngineConfig { docker_host }, DEADLINES)
}

async fn soon<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, call).await.expect("an end")
}

fn container(name: &str, state: &Value) -> Value {
    json!({
        "Id": "abc",
        "Name": format!("/{name}"),
        "State": state,
        "Config": { "Labels": { "deskgate.instance": "test" } },
    })
}

fn layer(current: u64, total: u64) -> Step {
    Step::Say(json!({
        "id": "layer",
        "status": "Downloading",
        "progressDetail": { "current": current, "total": total },
    }))
}

fn says(error: &str) -> Step {
    Step::Say(json!({ "error": error, "errorDetail": { "message": error } }))
}

#[tokio::test]
async fn whatever_is_wrong_with_a_daemon_nothing_looks_lost() {
    for mood in [Mood::Hung, Mood::Breaking, Mood::Foreign, Mood::Garbled] {
        for connected in [false, true] {
            let daemon = FakeDaemon::start();
            let engine = engine(&daemon);
            if connected {
                soon(engine.ping()).await.expect("it is well");
            }
            daemon.be(mood);
            let away = matches!(mood, Mood::Hung | Mood::Breaking);
            let answers = [
                soon(engine.list("test")).await.err(),
                soon(engine.inspect("c")).await.err(),
                soon(engine.image_id("i")).await.err(),
                soon(engine.log_tail("c", 1)).await.err(),
                soon(engine.remove("c")).await.err(),
            ];
            for error in answers.iter().flatten().filter(|_| away) {
                assert!(error.is_away(), "{mood:?}: {error:?}");
            }
            let failed = answers.iter().flatten().count();
            // What is not JSON may be a log.
            let least = if mood == Mood::Garbled { 4 } else { 5 };
            assert!(failed >= least, "{mood:?}, {connected}: {answers:?}");
            daemon.be(Mood::Well);
            assert!(
                soon(engine.inspect("c"))
                    .await
                    .expect("an answer")
                    .is_none()
            );
        }
    }
}

#[tokio::test]
async fn how_a_container_ended_is_read() {
    let daemon = FakeDaemon::start();
    let ended = json!({ "Status": "exited", "ExitCode": 137, "OOMKilled": true });
    daemon.has_container(container("c", &ended));
    let seen = engine(&daemon).inspect("c").await.unwrap().unwrap();
    assert_eq!((seen.exit_code, seen.oom_killed), (Some(137), true));
    assert!(!seen.state.is_alive());
}

#[tokio::test]
async fn a_pull_ends_for_the_right_reason() {
    let no_host = "Get \"https://r.test/v2/\": dial tcp: lookup r.test: no such host";
    for (steps, expected) in [
        (vec![layer(1, 2), Step::Silence], Some(PullFailure::Stalled)),
        (
            vec![layer(1, 2), says(no_host)],
            Some(PullFailure::Registry),
        ),
        (
            vec![
                layer(1, 2),
                says("manifest for i:1 not found: manifest unknown"),
            ],
            Some(PullFailure::Unknown),
        ),
        // The end, and no image.
        (vec![layer(2, 2)], Some(PullFailure::Other)),
        (vec![layer(1, 2), Step::Break], None),
    ] {
        let daemon = FakeDaemon::start();
        daemon.pulls(&steps);
        let percent = Percent::default();
        let error = soon(engine(&daemon).pull("r.test/i:1", &percent)).await;
        match (error.expect_err("it fails"), expected) {
            (EngineError::Pull(failure, _), Some(expected)) => assert_eq!(failure, expected),
            (error, None) => assert!(error.is_away(), "{error:?}"),
            (error, _) => panic!("{steps:?}: {error:?}"),
        }
        assert!(percent.get() >= 25, "{steps:?}: {}", percent.get());
    }
    let daemon = FakeDaemon::start();
    daemon.pulls(&[says("write /x: no space left on device")]);
    let full = soon(engine(&daemon).pull("i:1", &Percent::default())).await;
    assert!(matches!(full, Err(EngineError::DiskFull(_))), "{full:?}");
    daemon.pulls(&[layer(2, 2)]);
    daemon.has_image("i:1");
    soon(engine(&daemon).pull("i:1", &Percent::default()))
        .await
        .expect("it is there");
}

/// Desktops on a daemon, one of which runs.
async fn running(daemon: &FakeDaemon) -> (Core, Desktop, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let mut raw = Raw::load(None, &|_| None);
    let database = format!("sqlite://{}/deskgate.db", data.path().display());
    for (key, value) in [
        ("PUBLIC_URL", "https://desk.test"),
        ("DATABASE_URL", &database),
        ("SECRET_KEY", "an-entirely-secret-key-for-tests"),
        ("OAUTH_ISSUER", "https://id.test"),
        ("OAUTH_CLIENT_ID", "test"),
        ("INSTANCE", "test"),
    ] {
        raw.set(key, value);
    }
    let config = Config::resolve(raw).unwrap();
    let core = Core::with_engine(&config, Arc::new(SystemClock), Arc::new(engine(daemon)))
        .await
        .unwrap();
    let now = SystemClock.timestamp();
    let user = core.database.upsert_user(&identity("pupil"), now).await;
    let (id, template) = (DesktopId::random(), Template::kasm("i".into(), 6901));
    let row = Desktop::queued(&template, id, user.unwrap().id, "test-c".into(), now);
    let limits = Limits {
        per_user: 9,
        total: 9,
        queued: 9,
        memory: u64::MAX,
        free: None,
        rate: None,
    };
    let recorded = core.database.record_start(&row, "docker", 1, limits).await;
    assert_eq!(recorded.unwrap(), Recorded::Yes);
    let way = [
        State::Queued,
        State::Creating,
        State::Starting,
        State::Running,
    ];
    for step in way.windows(2) {
        let change = Change::default();
        let moved = core.database.transition(id, step[0], step[1], change).await;
        assert!(moved.unwrap());
    }
    (core, row, data)
}

#[tokio::test]
async fn a_desktop_stays_as_it_is_until_the_engine_has_said_otherwise() {
    let daemon = FakeDaemon::start();
    let alive = container("test-c", &json!({ "Status": "running" }));
    daemon.has_container(alive.clone());
    let (core, row, _data) = running(&daemon).await;
    let status = async || {
        let row = core.database.find_desktop(row.id).await.unwrap().unwrap();
        (row.status, row.status_reason)
    };
    core.desktops.reconcile().await.expect("it is well");
    for mood in [Mood::Hung, Mood::Breaking, Mood::Foreign, Mood::Garbled] {
        daemon.be(mood);
        let passed = soon(core.desktops.reconcile()).await;
        assert!(matches!(passed, Err(DesktopError::Engine(_))), "{mood:?}");
        let row = core.desktops.get(row.id).await.unwrap().unwrap();
        let seen = soon(core.desktops.refresh(row)).await;
        assert!(seen.is_err(), "{mood:?}: {seen:?}");
        assert_eq!(status().await, (State::Running, None), "{mood:?}");
        assert!(
            soon(core.desktops.engine_ready()).await.is_err(),
            "{mood:?}"
        );
        daemon.be(Mood::Well);
        let report = core.desktops.reconcile().await.expect("it is well");
        assert_eq!((report.ended, report.orphans), (0, 0), "{mood:?}");
    }
    daemon.forget_containers();
    core.desktops.reconcile().await.expect("it is well");
    let gone = (State::Error, Some("disappeared".to_owned()));
    assert_eq!(status().await, gone);
    assert!(
        daemon
            .asked()
            .contains(&"DELETE /containers/test-c".to_owned())
    );
    core.tasks.stop(Duration::from_secs(1)).await;
}

const NO_QUOTA: &str = "quota size requested but no quota support";

/// A container for somebody new, with a home that is kept to a size.
async fn create(engine: &DockerEngine) -> Result<String, EngineError> {
    let mut template = Template::kasm("i".into(), 6901);
    template.home_quota = Some(1 << 30);
    let (id, user) = (DesktopId::random(), UserId::random());
    let now = SystemClock.timestamp();
    let row = Desktop::queued(&template, id, user, "test-c".into(), now);
    let place = Place {
        instance: "test",
        reach: Reach::Network,
        subnets: None,
    };
    let spec = ContainerSpec::new(&template, &row, "pw", place, &Belongings::default());
    soon(engine.create(&spec)).await
}

/// The sizes to which the daemon's volumes are kept.
fn sizes(daemon: &FakeDaemon) -> Vec<Option<String>> {
    let volumes = daemon.volumes().into_iter();
    volumes
        .map(|volume| volume["DriverOpts"]["size"].as_str().map(str::to_owned))
        .collect()
}

#[tokio::test]
async fn a_home_is_without_a_limit_only_where_the_engine_can_keep_none() {
    let daemon = FakeDaemon::start();
    let engine = engine(&daemon);
    let limited = Some((1_u64 << 30).to_string());
    create(&engine).await.expect("a container");
    assert_eq!(sizes(&daemon), std::slice::from_ref(&limited));
    daemon.refuses_quotas(Some(("400 Bad Request", NO_QUOTA)));
    create(&engine).await.expect("a container");
    assert_eq!(sizes(&daemon), [limited.clone(), None]);
    // Its disk was exchanged, say.
    daemon.refuses_quotas(None);
    create(&engine).await.expect("a container");
    assert_eq!(sizes(&daemon), [limited.clone(), None, limited]);
}

#[tokio::test]
async fn a_home_that_is_refused_for_another_reason_fails_the_start() {
    let filtered = "deskgate engine-filter: DriverOpts is not as the configuration says";
    for refusal in [
        (
            "500 Internal Server Error",
            "failed to set quota limit for projid 9",
        ),
        ("403 Forbidden", filtered),
    ] {
        let daemon = FakeDaemon::start();
        let engine = engine(&daemon);
        daemon.refuses_quotas(Some(refusal));
        let refused = create(&engine).await;
        assert!(
            matches!(refused, Err(EngineError::Refused(_))),
            "{refused:?}"
        );
        let made = "POST /containers/create".to_owned();
        assert!(!daemon.asked().contains(&made), "{refusal:?}");
        daemon.refuses_quotas(None);
        create(&engine).await.expect("a container");
        assert!(sizes(&daemon)[0].is_some(), "{refusal:?}");
    }
}
