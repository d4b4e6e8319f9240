//! `countersign check`

use std::io::Write;

use serde::Serialize;

use super::arguments::CheckArguments;
use super::output::{Colour, colour, coloured, stdout};
use super::{Exit, Failure, Program, libraries};
use crate::config::Config;
use crate::display::{display_safe, json_safe};

/// Value of `schema` in each line of `check --json`.
pub const CHECK_SCHEMA: &str = "countersign.check/1";

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckRow {
    /// What.
    pub name: String,
    /// Whether it works.
    pub status: CheckStatus,
    /// What was found.
    pub detail: String,
    /// What to do.
    pub remedy: Option<String>,
}

/// Whether something works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// In full.
    Works,
    /// The daemon runs without it, and sees less.
    Degraded,
    /// The daemon cannot run without it.
    Missing,
    /// No host lets it see this.
    Limit,
}

impl CheckStatus {
    fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Works => "works",
            CheckStatus::Degraded => "degraded",
            CheckStatus::Missing => "missing",
            CheckStatus::Limit => "limit",
        }
    }
}

pub(super) fn check(arguments: &CheckArguments, program: &Program) -> Result<Exit, Failure> {
    let config = Config::load(arguments.config.as_deref())?;
    if arguments.libraries {
        return libraries::list(arguments, &config, program);
    }
    let rows = (program.preflight)(&config);
    if arguments.json {
        print_json(&rows, &mut stdout())?
    } else {
        print_table(&rows, colour(), &mut stdout())?
    }
    let missing = rows.iter().any(|row| row.status == CheckStatus::Missing);
    Ok(if missing { Exit::Negative } else { Exit::Success })
}

pub(super) fn print_json(rows: &[CheckRow], output: &mut impl Write) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        schema: &'static str,
        #[serde(flatten)]
        row: &'a CheckRow,
    }
    for row in rows {
        let line = serde_json::to_string(&Line { schema: CHECK_SCHEMA, row })?;
        writeln!(output, "{}", json_safe(&line))?;
    }
    Ok(())
}

pub(super) fn print_table(rows: &[CheckRow], colour: bool, output: &mut impl Write) -> std::io::Result<()> {
    let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
    for row in rows {
        let status = format!("{:<8}", row.status.as_str());
        let status = match row.status {
            CheckStatus::Works => coloured(&status, Colour::Good, colour),
            CheckStatus::Degraded => coloured(&status, Colour::Warning, colour),
            CheckStatus::Missing => coloured(&status, Colour::Bad, colour),
            CheckStatus::Limit => coloured(&status, Colour::Faint, colour),
        };
        writeln!(output, "{status}  {:<width$}  {}", display_safe(&row.name), lines(&row.detail, width))?;
        if let Some(remedy) = &row.remedy {
            writeln!(output, "{:8}  {:<width$}  → {}", "", "", lines(remedy, width))?;
        }
    }
    let count = |status| rows.iter().filter(|row| row.status == status).count();
    let (degraded, missing) = (count(CheckStatus::Degraded), count(CheckStatus::Missing));
    let verdict = match (missing, degraded) {
        (0, 0) => "everything that is needed works here".to_owned(),
        (0, degraded) => format!("the daemon can run here; degraded: {degraded}"),
        (missing, degraded) => {
            format!("the daemon cannot run here; missing: {missing}, degraded: {degraded}")
        }
    };
    writeln!(output, "\n{verdict}")
}

/// Lines of a detail (the verifier's log has several) stand below each other.
fn lines(text: &str, width: usize) -> String {
    let indent = format!("\n{:1$}", "", width + 12);
    text.lines().map(display_safe).collect::<Vec<_>>().join(&indent)
}
