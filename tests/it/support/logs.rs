//! What the gateway logs, for the tests that say what an operator must be told. The log is that of the whole
//! process; the runner gives each test a process of its own.

use std::io;
use std::sync::{Arc, Mutex};

use deskgate::config::LogConfig;
use deskgate::telemetry::{self, LogFilter};
use tracing_subscriber::fmt::MakeWriter;

/// The lines so far.
#[derive(Clone, Default)]
pub struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    /// Begins to listen. Once per process.
    pub fn capture() -> Self {
        let logs = Self::default();
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::INFO)
            .with_ansi(false)
            .with_writer(logs.clone())
            .init();
        logs
    }

    /// Begins to listen as the program does, with a filter that can be changed.
    pub fn capture_with(filter: &str) -> (Self, LogFilter) {
        let logs = Self::default();
        let config = LogConfig {
            filter: filter.to_owned(),
            json: false,
        };
        let filter = telemetry::init_to(&config, logs.clone());
        (logs, filter)
    }

    /// The lines in which `text` stands.
    pub fn with(&self, text: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        let lines = std::str::from_utf8(&bytes).unwrap().lines();
        lines
            .filter(|line| line.contains(text))
            .map(str::to_owned)
            .collect()
    }

    /// Forgets the lines so far.
    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

impl io::Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
