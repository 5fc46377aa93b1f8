//! How the installation is, for whoever looks after it: figures of now, the last half hour, and what is wrong.
//! What the database counts is of all gateways; what is counted in memory is of this one.

mod alerts;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

pub use alerts::Alert;

use crate::clock::Clock;
use crate::desktop::{DesktopError, Desktops};
use crate::model::desktop::{Desktop, State};
use crate::model::id::DesktopId;
use crate::model::time::Timestamp;
use crate::model::user::User;
use crate::store::Database;
use crate::store::overview::{DesktopFilter, DesktopOrder, Page, Sort};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::history::Sample;

/// Desktops whose use of the host is looked at, the last used first.
const LOOKED_AT: u32 = 100;
/// Desktops that are shown of them, those with the most CPU first.
const BUSIEST: usize = 8;

/// Until when the gateway's certificate is good, as whoever serves it says. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CertificateEnd(Arc<AtomicI64>);

impl CertificateEnd {
    /// Takes note of it, seconds since 1970.
    pub fn note(&self, seconds: Option<i64>) {
        self.0.store(seconds.unwrap_or_default(), Ordering::Relaxed);
    }

    fn get(&self) -> Option<Timestamp> {
        let seconds = self.0.load(Ordering::Relaxed);
        (seconds > 0).then(|| Timestamp::from_millis(seconds.saturating_mul(1000)))
    }
}

/// Looks at everything.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Counts what is stored.
    pub database: Database,
    /// Knows room, engine and pool.
    pub desktops: Desktops,
    /// Counts what happens.
    pub metrics: Metrics,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Until when the certificate is good.
    pub certificate: CertificateEnd,
    /// When the gateway started.
    pub started_at: Timestamp,
}

/// How the installation is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// Of the program.
    pub version: &'static str,
    /// Its name on the engine.
    pub instance: String,
    /// When this gateway did.
    pub started_at: Timestamp,
    /// How long ago that is.
    pub uptime_seconds: i64,
    /// People who ever signed in and were not forgotten.
    pub users: i64,
    /// Sessions that are not over.
    pub sessions: i64,
    /// How many, in which state.
    pub desktops: DesktopFigures,
    /// Of the host.
    pub ports: Ports,
    /// Where everything is stored.
    pub database: Part,
    /// What runs the containers.
    pub engine: Part,
    /// How they went.
    pub starts: Starts,
    /// WebSockets that are open to desktops, of this gateway.
    pub tunnels: i64,
    /// What they carried.
    pub bytes: Bytes,
    /// Containers that are kept ready, of each template that has some.
    pub pool: Vec<PoolOfTemplate>,
    /// Until when the gateway's certificate is good; null without TLS here.
    pub certificate_expires_at: Option<Timestamp>,
    /// What somebody should look at, the gravest first.
    pub alerts: Vec<Alert>,
    /// The last half hour of this gateway, oldest first.
    pub history: Vec<Step>,
    /// The desktops that take the most CPU, of the hundred that were used last.
    pub busiest: Vec<Busy>,
}

/// Desktops, over all gateways.
#[derive(Debug, Serialize, ToSchema)]
pub struct DesktopFigures {
    /// Those that hold a port.
    pub live: i64,
    /// Live ones that are allowed.
    pub max: u32,
    /// Every state with its number; `starting` is apart here.
    pub by_status: BTreeMap<&'static str, i64>,
}

/// Host ports that lead to desktops.
#[derive(Debug, Serialize, ToSchema)]
pub struct Ports {
    /// Somebody's.
    pub used: usize,
    /// All; 0 where nothing is published.
    pub total: usize,
}

/// Something behind the gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct Part {
    /// Its make.
    pub kind: &'static str,
    /// Whether it answers.
    pub status: Health,
    /// How long its last answer took.
    pub latency_ms: f64,
}

/// Whether it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It does.
    Ok,
    /// It does not, or not in time.
    Unavailable,
}

/// Starts since this gateway began, and how long the last ones took.
#[derive(Debug, Serialize, ToSchema)]
pub struct Starts {
    /// In a running desktop.
    pub succeeded: u64,
    /// Otherwise.
    pub failed: u64,
    /// Half of the last two hundred took no longer; null if there was none.
    pub p50_ms: Option<u64>,
    /// Nineteen of twenty took no longer.
    pub p95_ms: Option<u64>,
}

/// What tunnels have carried since this gateway began.
#[derive(Debug, Serialize, ToSchema)]
pub struct Bytes {
    /// Input.
    pub to_desktop: u64,
    /// Pictures.
    pub to_browser: u64,
}

/// Containers of a template that are kept ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct PoolOfTemplate {
    /// Its id.
    pub template: String,
    /// Wait for somebody.
    pub ready: i64,
    /// Soon will.
    pub warming: i64,
    /// As many as there should be.
    pub wanted: u32,
}

/// Some seconds of the past.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Step {
    /// When they ended.
    pub at: Timestamp,
    /// Starts that ended in a running desktop in them.
    pub starts: u64,
    /// Starts that failed in them.
    pub failures: u64,
    /// Open at the end.
    pub tunnels: i64,
    /// Bytes.
    pub to_desktop_per_second: u64,
    /// Bytes.
    pub to_browser_per_second: u64,
}

/// A desktop that takes much.
#[derive(Debug, Serialize, ToSchema)]
pub struct Busy {
    /// Which.
    pub id: DesktopId,
    /// Of which template.
    pub template: String,
    /// Name of its owner.
    pub username: String,
    /// Of one core, since the last look; null at the first one.
    pub cpu_percent: Option<f64>,
    /// Without what the system would give up for others.
    pub memory_bytes: u64,
    /// What it may have.
    pub memory_limit_bytes: Option<u64>,
}

impl Watch {
    /// How everything is now.
    ///
    /// # Errors
    /// The database does not answer. An engine that does not is part of the answer.
    pub async fn look(&self) -> Result<Overview, DesktopError> {
        let now = self.clock.timestamp();
        let counts = self.database.counts(now).await?;
        let mut by_status: BTreeMap<_, _> = State::ALL.map(|known| (known.as_str(), 0)).into();
        let mut live = 0;
        for (known, count) in counts.desktops {
            by_status.insert(known.as_str(), count);
            live += if known.is_live() { count } else { 0 };
        }
        let begun = Instant::now();
        let ok = self.database.ping().await.is_ok();
        let database = part(self.database.kind(), ok, begun);
        let begun = Instant::now();
        let ok = self.desktops.engine_ready().await.is_ok();
        let engine = part(self.desktops.engine_name(), ok, begun);
        let capacity = self.desktops.capacity().await?;
        let counted = self.metrics.counted(now);
        let times = self.metrics.start_times();
        let millis = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut samples = self.metrics.samples();
        samples.push(counted);
        let busiest = match engine.status {
            Health::Ok => self.busiest().await?,
            Health::Unavailable => Vec::new(),
        };
        let mut overview = Overview {
            version: env!("CARGO_PKG_VERSION"),
            instance: self.desktops.instance().to_owned(),
            started_at: self.started_at,
            uptime_seconds: now.millis().saturating_sub(self.started_at.millis()) / 1000,
            users: counts.users,
            sessions: counts.sessions,
            desktops: DesktopFigures {
                live,
                max: capacity.max_desktops,
                by_status,
            },
            ports: Ports {
                used: capacity.ports_used,
                total: capacity.ports_total,
            },
            database,
            engine,
            starts: Starts {
                succeeded: counted.starts,
                failed: counted.failures,
                p50_ms: times.map(|times| millis(times.p50)),
                p95_ms: times.map(|times| millis(times.p95)),
            },
            tunnels: counted.tunnels,
            bytes: Bytes {
                to_desktop: counted.to_desktop,
                to_browser: counted.to_browser,
            },
            pool: self.pool(),
            certificate_expires_at: self.certificate.get(),
            alerts: Vec::new(),
            history: steps(&samples),
            busiest,
        };
        overview.alerts = alerts::of(&overview, now);
        Ok(overview)
    }

    fn pool(&self) -> Vec<PoolOfTemplate> {
        let templates = self.desktops.templates().iter();
        let kept = templates.filter(|template| template.warm > 0);
        let pools = kept.map(|template| {
            let (ready, warming) = self.metrics.pool_of(&template.id);
            PoolOfTemplate {
                template: template.id.clone(),
                ready,
                warming,
                wanted: template.warm,
            }
        });
        pools.collect()
    }

    async fn busiest(&self) -> Result<Vec<Busy>, DesktopError> {
        let filter = DesktopFilter {
            status: vec![State::Running],
            ..DesktopFilter::default()
        };
        let sort = Sort {
            by: DesktopOrder::LastAccessed,
            descending: true,
        };
        let page = Page {
            limit: LOOKED_AT,
            offset: 0,
        };
        let listed = self.database.list_all_desktops(&filter, sort, page).await?;
        let desktops = listed.rows.iter().map(|(desktop, _)| desktop);
        let usage = self.desktops.usage(desktops).await;
        let busy = |(desktop, owner): &(Desktop, User)| {
            let usage = usage.get(&desktop.id)?;
            Some(Busy {
                id: desktop.id,
                template: desktop.template.clone(),
                username: owner.identity.username.clone(),
                cpu_percent: usage.cpu_percent,
                memory_bytes: usage.memory,
                memory_limit_bytes: usage.memory_limit,
            })
        };
        let mut all: Vec<Busy> = listed.rows.iter().filter_map(busy).collect();
        all.sort_by(|one, other| {
            let cpu = |busy: &Busy| busy.cpu_percent.unwrap_or_default();
            let by_cpu = cpu(other).total_cmp(&cpu(one));
            by_cpu.then(other.memory_bytes.cmp(&one.memory_bytes))
        });
        all.truncate(BUSIEST);
        Ok(all)
    }
}

/// With how long the answer took.
fn part(kind: &'static str, ok: bool, begun: Instant) -> Part {
    let millis = begun.elapsed().as_secs_f64() * 1000.0;
    Part {
        kind,
        status: if ok { Health::Ok } else { Health::Unavailable },
        latency_ms: (millis * 100.0).round() / 100.0,
    }
}

/// What happened between each two samples.
fn steps(samples: &[Sample]) -> Vec<Step> {
    let pairs = samples.windows(2).filter_map(|pair| {
        let [before, after] = pair else { return None };
        let millis = u64::try_from(after.at.since(before.at).as_millis()).ok()?;
        let rate = |now: u64, then: u64| {
            let bytes = u128::from(now.saturating_sub(then)) * 1000;
            u64::try_from(bytes / u128::from(millis.max(1))).unwrap_or(u64::MAX)
        };
        Some(Step {
            at: after.at,
            starts: after.starts.saturating_sub(before.starts),
            failures: after.failures.saturating_sub(before.failures),
            tunnels: after.tunnels,
            to_desktop_per_second: rate(after.to_desktop, before.to_desktop),
            to_browser_per_second: rate(after.to_browser, before.to_browser),
        })
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_what_happened_between_samples() {
        let sample = |seconds: i64, starts, to_browser| Sample {
            at: Timestamp::from_millis(seconds * 1000),
            starts,
            to_browser,
            tunnels: 2,
            ..Sample::default()
        };
        assert!(steps(&[sample(0, 0, 0)]).is_empty());
        let seen = steps(&[
            sample(0, 1, 500),
            sample(10, 4, 20_500),
            sample(12, 4, 20_600),
        ]);
        let told: Vec<_> = seen
            .iter()
            .map(|step| (step.starts, step.to_browser_per_second, step.tunnels))
            .collect();
        assert_eq!(told, [(3, 2000, 2), (0, 50, 2)]);
        let at_once = steps(&[sample(5, 0, 0), sample(5, 0, 7)]);
        assert_eq!(
            at_once[0].to_browser_per_second, 7000,
            "no division by nothing"
        );
    }

    #[test]
    fn the_end_of_a_certificate_is_shared() {
        let end = CertificateEnd::default();
        assert_eq!(end.get(), None);
        end.clone().note(Some(5));
        assert_eq!(end.get(), Some(Timestamp::from_millis(5000)));
    }
}
