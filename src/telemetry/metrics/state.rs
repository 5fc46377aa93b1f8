//! What is looked up when somebody asks for the metrics, rather than counted as it happens. What could not be found
//! out is left out: an old figure would look like a true one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::model::desktop::State as DesktopState;

/// How things are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The database.
    pub database: Health,
    /// The engine.
    pub engine: Health,
    /// Connections to the database.
    pub pool: Pool,
    /// Tasks of this gateway: its upkeep, connections, tunnels, starts.
    pub tasks: usize,
    /// Whether this gateway is the one that does what only one should.
    pub leads: bool,
    /// What the database counts, if it answers.
    pub counted: Option<Counted>,
    /// Until when the certificate is good, seconds since 1970; none without TLS.
    pub certificate_expires: Option<i64>,
}

/// Whether something answers, and how soon.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    /// It does.
    pub up: bool,
    /// How long that took.
    pub took: Duration,
}

/// Connections to the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Open and in use.
    pub used: u32,
    /// Open and at rest.
    pub idle: u32,
    /// As many as may be open.
    pub max: u32,
}

/// What the database counts, over all gateways.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Desktops in each state.
    pub desktops: Vec<(DesktopState, i64)>,
    /// Live desktops that are allowed.
    pub max_desktops: u32,
    /// The most live desktops that one person has.
    pub most_of_one_user: i64,
    /// People with a live desktop.
    pub users_with_desktops: i64,
    /// People who ever signed in.
    pub users: i64,
    /// Sessions that are not over.
    pub sessions: i64,
    /// Host ports in use.
    pub ports_used: usize,
    /// Host ports that there are; none where nothing is published.
    pub ports: usize,
}

/// The latest [`State`], written by whoever answers a scrape.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(Arc<Mutex<State>>);

impl Latest {
    /// Replaces it.
    pub fn put(&self, state: State) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

/// Writes gauges with one label each.
struct Writer<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Writer<'_, '_> {
    fn labelled(
        &mut self,
        (name, help): (&str, &str),
        label: &str,
        rows: &[(&str, f64)],
    ) -> std::fmt::Result {
        let mut descriptor = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (value, number) in rows {
            let family = [(label, *value)];
            ConstGauge::new(*number).encode(descriptor.encode_family(&family)?)?;
        }
        Ok(())
    }

    fn plain(&mut self, name: &str, help: &str, number: f64) -> std::fmt::Result {
        let descriptor = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(number).encode(descriptor)
    }
}

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let state = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut writer = Writer(&mut encoder);
        let up = |health: Health| f64::from(u8::from(health.up));
        writer.plain(
            "database_up",
            "Whether the database answers",
            up(state.database),
        )?;
        writer.plain(
            "database_ping_seconds",
            "How long its last answer took",
            state.database.took.as_secs_f64(),
        )?;
        writer.plain("engine_up", "Whether the engine answers", up(state.engine))?;
        writer.plain(
            "engine_ping_seconds",
            "How long its last answer took",
            state.engine.took.as_secs_f64(),
        )?;
        let pool = state.pool;
        writer.labelled(
            ("database_connections", "Open connections to the database"),
            "state",
            &[("used", pool.used.into()), ("idle", pool.idle.into())],
        )?;
        writer.plain(
            "database_connections_max",
            "Connections to the database that may be open",
            pool.max.into(),
        )?;
        writer.plain(
            "tasks",
            "Tasks under way: upkeep, connections, tunnels, starts",
            number(i64::try_from(state.tasks).unwrap_or(i64::MAX)),
        )?;
        writer.plain(
            "leader",
            "Whether this gateway leads those on its database",
            f64::from(u8::from(state.leads)),
        )?;
        if let Some(counted) = &state.counted {
            counted.write(&mut writer)?;
        }
        if let Some(expires) = state.certificate_expires {
            writer.plain(
                "certificate_expiry_timestamp_seconds",
                "Until when the certificate is good",
                number(expires),
            )?;
        }
        Ok(())
    }
}

impl Counted {
    fn write(&self, writer: &mut Writer<'_, '_>) -> std::fmt::Result {
        let rows = DesktopState::ALL.map(|state| {
            let of_state = self.desktops.iter().find(|(found, _)| *found == state);
            (
                state.as_str(),
                number(of_state.map_or(0, |(_, count)| *count)),
            )
        });
        writer.labelled(("desktops", "Desktops, over all gateways"), "state", &rows)?;
        for (name, help, count) in [
            (
                "desktops_max",
                "Live desktops that are allowed",
                i64::from(self.max_desktops),
            ),
            (
                "user_desktops_max",
                "The most live desktops that one person has",
                self.most_of_one_user,
            ),
            (
                "users_with_desktops",
                "People with a live desktop",
                self.users_with_desktops,
            ),
            ("users", "People who ever signed in", self.users),
            ("sessions", "Sessions that are not over", self.sessions),
            (
                "ports_used",
                "Host ports that desktops have",
                i64::try_from(self.ports_used).unwrap_or(i64::MAX),
            ),
            (
                "ports",
                "Host ports that there are",
                i64::try_from(self.ports).unwrap_or(i64::MAX),
            ),
        ] {
            writer.plain(name, help, number(count))?;
        }
        Ok(())
    }
}

/// Prometheus knows only floats, which are exact far beyond any count of ours.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts and times are below 2^53"
)]
fn number(count: i64) -> f64 {
    count as f64
}
