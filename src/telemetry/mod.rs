//! How the program speaks to its operator: log set-up, and errors shown with all their causes.

pub mod metrics;

use std::error::Error;
use std::fmt;

use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;

/// Libraries that would write secrets when asked for detail: bollard logs the bodies of its requests,
/// with the passwords of desktops in them. They are kept quiet whatever the filter says.
const QUIET: [&str; 3] = ["bollard=info", "hyper=info", "h2=info"];

/// Starts logging to standard error. Called once, by `main`.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // The audit log is part of the stream unless the filter itself speaks of it.
    let audit = (!config.filter.contains("audit")).then_some("audit=info");
    let filter = QUIET
        .iter()
        .chain(&audit)
        .fold(filter, |filter, directive| match directive.parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        });
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if config.json {
        builder.json().init();
    } else {
        builder.with_target(false).init();
    }
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
