//! How the program speaks to its operator: log set-up, errors shown with all their causes, metrics and traces.

pub mod filter;
pub mod metrics;
pub mod traces;

use std::error::Error;
use std::fmt;

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{DefaultFields, Format};
use tracing_subscriber::layer::{Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::config::LogConfig;
pub use filter::LogFilter;

/// Whoever writes lines, behind a filter that can be changed.
type Lines<W> = tracing_subscriber::fmt::Layer<
    Layered<reload::Layer<EnvFilter, Registry>, Registry>,
    DefaultFields,
    Format,
    W,
>;

/// Starts logging to standard error. Called once, by `main`. What it returns changes the filter.
#[must_use]
pub fn init(config: &LogConfig) -> LogFilter {
    begin(
        config,
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr),
    )
}

/// The same to another place, without colours.
#[must_use]
pub fn init_to<W>(config: &LogConfig, writer: W) -> LogFilter
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_ansi(false);
    begin(config, lines.with_writer(writer))
}

fn begin<W>(config: &LogConfig, lines: Lines<W>) -> LogFilter
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter::build(&config.filter, &config.filter));
    // A line that cannot be written is lost. Saying so in the same place would end the program.
    let lines = lines.log_internal_errors(false);
    let registry = tracing_subscriber::registry().with(filter);
    if config.json {
        registry.with(lines.json()).init();
    } else {
        registry.with(lines.with_target(false)).init();
    }
    LogFilter::new(&config.filter, move |filter| handle.reload(filter).is_ok())
}

/// Shows an error followed by each of its sources, on one line.
#[derive(Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
