//! What is logged, and changing it while the gateway runs: for a while, and then it is again as configured.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{ParseError, Targets};

/// Libraries that would write secrets when asked for detail: bollard logs the bodies of its requests,
/// with the passwords of desktops in them. They are kept quiet whatever the filter says.
const QUIET: [&str; 3] = ["bollard=info", "hyper=info", "h2=info"];
/// The target of the audit log.
const AUDIT: &str = "audit";
/// How long a filter may be, bytes.
const MAX_LENGTH: usize = 1000;
/// How often it is looked whether a filter's time is over.
pub const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// Why a filter does not count.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Nothing is said.
    #[error("it is empty")]
    Empty,
    /// Nobody needs so many words.
    #[error("it has more than {MAX_LENGTH} bytes")]
    TooLong,
    /// It is not understood.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// There is no log whose filter could be changed.
    #[error("logging was not begun by this program")]
    Detached,
}

/// The filter of this process's log; clones change the same one.
#[derive(Clone)]
pub struct LogFilter(Arc<Inner>);

struct Inner {
    configured: String,
    /// Makes a filter count. `false` if there is none to change.
    reload: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
    changed: Mutex<Option<Changed>>,
}

/// A filter that counts for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What it says.
    pub filter: String,
    /// When it ends.
    pub until: Instant,
}

impl LogFilter {
    pub(super) fn new(
        configured: &str,
        reload: impl Fn(EnvFilter) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            configured: configured.to_owned(),
            reload: Box::new(reload),
            changed: Mutex::default(),
        }))
    }

    /// Where somebody else logs, as in tests: nothing can be changed.
    #[must_use]
    pub fn detached() -> Self {
        Self::new("", |_| false)
    }

    /// The filter of the settings.
    #[must_use]
    pub fn configured(&self) -> &str {
        &self.0.configured
    }

    /// The filter that counts instead of it, if one does.
    #[must_use]
    pub fn changed(&self) -> Option<Changed> {
        self.state().clone()
    }

    /// Makes `filter` count for a while; what counted before is forgotten.
    ///
    /// # Errors
    /// It is no filter. Then nothing changes.
    pub fn change(&self, filter: &str, lasts: Duration) -> Result<(), FilterError> {
        check(filter)?;
        let mut changed = self.state();
        if !(self.0.reload)(build(filter, &self.0.configured)) {
            return Err(FilterError::Detached);
        }
        *changed = Some(Changed {
            filter: filter.to_owned(),
            until: Instant::now() + lasts,
        });
        Ok(())
    }

    /// Makes the configured filter count again. `false` if it does already.
    #[must_use]
    pub fn restore(&self) -> bool {
        self.restore_if(|_| true)
    }

    /// The same if the time of another one is over.
    #[must_use]
    pub fn restore_in_time(&self) -> bool {
        self.restore_if(|changed| changed.until <= Instant::now())
    }

    fn restore_if(&self, is_over: impl Fn(&Changed) -> bool) -> bool {
        let mut changed = self.state();
        if !changed.as_ref().is_some_and(is_over) {
            return false;
        }
        *changed = None;
        (self.0.reload)(build(&self.0.configured, &self.0.configured))
    }

    fn state(&self) -> MutexGuard<'_, Option<Changed>> {
        // It is whole between any two calls.
        self.0
            .changed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogFilter")
            .field("configured", &self.0.configured)
            .field("changed", &*self.state())
            .finish_non_exhaustive()
    }
}

/// What the settings take as well: levels, and levels of targets.
fn check(filter: &str) -> Result<(), FilterError> {
    if filter.trim().is_empty() {
        return Err(FilterError::Empty);
    }
    if filter.len() > MAX_LENGTH {
        return Err(FilterError::TooLong);
    }
    filter.parse::<Targets>()?;
    Ok(())
}

/// A filter that keeps secrets out, and the audit log in: only the settings may take that away.
pub(super) fn build(filter: &str, configured: &str) -> EnvFilter {
    let built = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let of_audit = |directive: &&str| directive.trim().starts_with(AUDIT);
    let audit: Vec<&str> = configured.split(',').filter(of_audit).collect();
    let audit = if audit.is_empty() {
        vec!["audit=info"]
    } else {
        audit
    };
    QUIET
        .iter()
        .chain(&audit)
        .fold(built, |built, directive| match directive.trim().parse() {
            Ok(directive) => built.add_directive(directive),
            Err(_) => built,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter() -> (LogFilter, Arc<Mutex<Vec<String>>>) {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = said.clone();
        let filter = LogFilter::new("info", move |filter| {
            heard.lock().unwrap().push(filter.to_string());
            true
        });
        (filter, said)
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_by_itself() {
        let (filter, said) = filter();
        assert!(!filter.restore(), "there is nothing to restore");
        filter.change("debug", Duration::from_secs(60)).unwrap();
        assert_eq!(filter.changed().unwrap().filter, "debug");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!filter.restore_in_time());
        filter.change("trace", Duration::from_secs(60)).unwrap();
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(!filter.restore_in_time(), "the new one has its own time");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(filter.restore_in_time() && !filter.restore_in_time());
        assert_eq!(filter.changed(), None);
        let said = said.lock().unwrap();
        assert_eq!(said.len(), 3);
        assert_eq!(said[2], build("info", "info").to_string());
    }

    #[test]
    fn what_is_no_filter_changes_nothing() {
        let (filter, said) = filter();
        let long = "a=info,".repeat(200);
        for bad in ["", " ", "deskgate=loud", "a=b=c", &*long] {
            let refused = filter.change(bad, Duration::from_secs(60));
            assert!(refused.is_err(), "{bad:?}");
        }
        assert_eq!(filter.changed(), None);
        assert!(said.lock().unwrap().is_empty());
        let detached = LogFilter::detached();
        let refused = detached.change("info", Duration::from_secs(60));
        assert!(matches!(refused, Err(FilterError::Detached)));
    }

    #[test]
    fn secrets_stay_out_and_the_audit_log_in_unless_the_settings_say_otherwise() {
        for (filter, configured, audit) in [
            ("trace", "info", "audit=info"),
            ("off", "info", "audit=info"),
            ("info,audit=off", "info", "audit=info"),
            ("debug", "info, audit=off", "audit=off"),
            ("debug,audit=info", "audit=off", "audit=off"),
        ] {
            let built = build(filter, configured).to_string();
            let built: Vec<&str> = built.split(',').collect();
            for wanted in [audit, "bollard=info", "hyper=info", "h2=info"] {
                assert!(built.contains(&wanted), "{filter}: {built:?}");
            }
            let named = built
                .iter()
                .filter(|directive| directive.starts_with(AUDIT));
            assert_eq!(named.count(), 1, "{filter}: {built:?}");
        }
    }
}
