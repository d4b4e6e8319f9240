//! Questions as responders type them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use countersign_tests::agent_binary;
use serde_json::Value;

/// Who is asked.
#[derive(Debug, Clone, Copy)]
pub enum Whom<'a> {
    /// The daemon behind this socket.
    Daemon(&'a Path),
    /// A file.
    File(&'a Path),
}

impl Whom<'_> {
    /// The command that asks.
    pub fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new(agent_binary());
        command.args(arguments).stdin(Stdio::null());
        match self {
            Whom::Daemon(socket) => command.arg("--socket").arg(socket),
            Whom::File(file) => command.arg("--db").arg(file),
        };
        command
    }
}

pub fn ask(whom: Whom<'_>, arguments: &[&str]) -> Result<Output> {
    Ok(whom.command(arguments).output()?)
}

/// The records of an answer, and its last line.
pub fn answer(whom: Whom<'_>, arguments: &[&str]) -> Result<(Vec<Value>, Value)> {
    let output = ask(whom, &[arguments, &["--json"]].concat())?;
    let text = String::from_utf8(output.stdout)?;
    let mut lines = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let page = lines.pop().with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    ensure!(page["schema"] == "countersign.page/1", "{page}");
    Ok((lines, page))
}
