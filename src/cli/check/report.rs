//! What was checked and how it is: lines for people, or JSON for programs.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::json;

use crate::cli::output::{print, print_line};

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
        if as_json {
            let worst = self.lines.iter().map(|line| line.outcome).max();
            let worst = worst.unwrap_or(Outcome::Ok);
            print_line!("{:#}", json!({ "outcome": worst, "checks": self.lines }))?;
        } else {
            print(self.text())?;
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

    /// The lines for people: those of one check with the same remedy together, and the remedy once below them.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut groups: Vec<Vec<&Line>> = Vec::new();
        for line in &self.lines {
            let same = |group: &&mut Vec<&Line>| {
                let first = group[0];
                line.remedy.is_some() && first.check == line.check && first.remedy == line.remedy
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(line),
                None => groups.push(vec![line]),
            }
        }
        for group in groups {
            for line in &group {
                let outcome = line.outcome.as_str();
                _ = writeln!(text, "{outcome:<4} {:<14} {}", line.check, line.found);
            }
            if let Some(remedy) = &group[0].remedy {
                _ = writeln!(text, "{:<19} -> {remedy}", "");
            }
        }
        text
    }
}

#[cfg(test)]
impl Report {
    /// Check, outcome, what was found and what to do about it, line by line.
    pub(super) fn lines(
        &self,
    ) -> impl Iterator<Item = (&'static str, Outcome, &str, Option<&str>)> {
        let lines = self.lines.iter();
        lines.map(|line| {
            (
                line.check,
                line.outcome,
                &line.found[..],
                line.remedy.as_deref(),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remedy_is_said_once_below_the_lines_that_it_is_for() {
        let mut report = Report::default();
        report.warn("reach", "the door", "close it");
        report.ok("reach", "the provider");
        report.fail("reach", "the engine", "close it");
        report.fail("ports", "none", "close it");
        report.warn("ports", "few", "open some");
        let lines = [
            "warn reach          the door",
            "FAIL reach          the engine",
            "                    -> close it",
            "ok   reach          the provider",
            "FAIL ports          none",
            "                    -> close it",
            "warn ports          few",
            "                    -> open some",
        ];
        assert_eq!(report.text(), lines.join("\n") + "\n");
    }
}
