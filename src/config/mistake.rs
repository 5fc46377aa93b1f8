//! What is wrong with a configuration, said so that it can be mended without the source code.

use std::fmt;

/// One wrong setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting's key, or the file.
    pub key: String,
    /// What was found there; never a secret.
    pub found: Option<String>,
    /// What it should be.
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.found {
            Some(found) => write!(
                f,
                "{}: found {found:?}, expected {}",
                self.key, self.expected
            ),
            None => write!(f, "{}: {}", self.key, self.expected),
        }
    }
}

/// All the mistakes of a configuration together.
#[derive(Clone, Debug, thiserror::Error)]
pub struct ConfigError(pub Vec<Mistake>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "the configuration has {count} mistake{plural}:")?;
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        Ok(())
    }
}
