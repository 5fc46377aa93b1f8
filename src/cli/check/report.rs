//! What was checked and how it is: lines for people, or JSON for programs.

use serde::Serialize;
use serde_json::json;

use crate::cli::output::print_line;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    Warn,
    Fail,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Line {
    check: &'static str,
    outcome: Outcome,
    found: String,
    remedy: Option<String>,
}

/// All of them, in the order in which they were looked at.
#[derive(Debug, Default)]
pub(super) struct Report {
    lines: Vec<Line>,
}

impl Report {
    pub(super) fn ok(&mut self, check: &'static str, found: impl Into<String>) {
        self.note(check, Outcome::Ok, found.into(), None);
    }

    pub(super) fn warn(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(check, Outcome::Warn, found.into(), Some(remedy.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: &'static str,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.note(check, Outcome::Fail, found.into(), Some(remedy.into()));
    }

    fn note(
        &mut self,
        check: &'static str,
        outcome: Outcome,
        found: String,
        remedy: Option<String>,
    ) {
        self.lines.push(Line {
            check,
            outcome,
            found,
            remedy,
        });
    }

    /// Prints it, and fails if something did.
    pub(super) fn finish(self, as_json: bool) -> anyhow::Result<()> {
        let worst = self.lines.iter().map(|line| line.outcome).max();
        let worst = worst.unwrap_or(Outcome::Ok);
        if as_json {
            print_line!("{:#}", json!({ "outcome": worst, "checks": self.lines }))?;
        } else {
            for line in &self.lines {
                print_line!(
                    "{:<4} {:<14} {}",
                    line.outcome.as_str(),
                    line.check,
                    line.found
                )?;
                if let Some(remedy) = &line.remedy {
                    print_line!("{:<19} -> {remedy}", "")?;
                }
            }
        }
        let failed = self
            .lines
            .iter()
            .filter(|line| line.outcome == Outcome::Fail);
        match failed.count() {
            0 => Ok(()),
            1 => anyhow::bail!("1 check failed"),
            count => anyhow::bail!("{count} checks failed"),
        }
    }
}
