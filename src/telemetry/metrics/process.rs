//! The figures of this process that Prometheus' own client libraries give everywhere, under their names.

use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads `/proc/self` when it is asked.
#[derive(Debug)]
pub(super) struct ProcessFigures;

/// What `/proc` says.
struct Figures {
    cpu_seconds: f64,
    started_seconds: f64,
    resident_bytes: u64,
    open_files: u64,
    max_files: Option<u64>,
}

impl Figures {
    fn read() -> procfs::ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "ticks of a process are below 2^53"
        )]
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let booted = procfs::boot_time_secs()?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds since 1970 are below 2^53"
        )]
        let started_seconds = booted as f64 + seconds(stat.starttime);
        let max_files = match process.limits()?.max_open_files.soft_limit {
            LimitValue::Value(files) => Some(files),
            LimitValue::Unlimited => None,
        };
        Ok(Self {
            cpu_seconds: seconds(stat.utime + stat.stime),
            started_seconds,
            resident_bytes: stat.rss * procfs::page_size(),
            open_files: u64::try_from(process.fd_count()?).unwrap_or(u64::MAX),
            max_files,
        })
    }
}

impl Collector for ProcessFigures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        // A system that hides it is no reason to hide the other figures.
        let Ok(figures) = Figures::read() else {
            return Ok(());
        };
        let cpu = encoder.encode_descriptor(
            "process_cpu_seconds",
            "CPU time of the process",
            None,
            MetricType::Counter,
        )?;
        ConstCounter::new(figures.cpu_seconds).encode(cpu)?;
        let mut gauge = |name, help, value: u64| {
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)
        };
        gauge(
            "process_resident_memory_bytes",
            "Resident memory",
            figures.resident_bytes,
        )?;
        gauge(
            "process_open_fds",
            "Open file descriptors",
            figures.open_files,
        )?;
        if let Some(files) = figures.max_files {
            gauge(
                "process_max_fds",
                "File descriptors that may be open",
                files,
            )?;
        }
        let started = encoder.encode_descriptor(
            "process_start_time_seconds",
            "When the process began, since 1970",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(figures.started_seconds).encode(started)
    }
}
