//! What the agent says about the TLS libraries of this host.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Agent, PATIENCE, Process, agent_binary, at, text, until};

impl Agent {
    /// `check --libraries --json` on this agent's socket: a line for each file.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn library_files(&self) -> Result<Vec<Value>> {
        let text = self.check_libraries(&["--json"])?;
        text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
    }

    /// The table of `check --libraries`.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn library_table(&self) -> Result<String> {
        self.check_libraries(&[])
    }

    fn check_libraries(&self, more: &[&str]) -> Result<String> {
        let mut command = Command::new(agent_binary());
        command.args(["check", "--libraries", "--socket"]).arg(self.folder.join("socket"));
        command.arg("--config").arg(self.folder.join("countersign.toml")).args(more);
        // Without any file the answer is no, which the exit status says, too.
        let output = command.output().context("check --libraries")?;
        let known = matches!(output.status.code(), Some(0 | 1));
        ensure!(known, "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Waits until the agent knows of a file with `library` that a process or one of its descendants maps; gives all.
    ///
    /// # Errors
    /// When it does not come to know of any.
    pub fn library_files_of(&self, process: &Process, library: &str) -> Result<Vec<Value>> {
        self.wait_files(process, library, 1, |_| true)
    }

    /// The same for one that can be probed: waits until it is, with all its parts.
    ///
    /// # Errors
    /// When it is not.
    pub fn wait_probed(&self, process: &Process, library: &str) -> Result<()> {
        // NSS has certificates, TLS and hashes in a file each.
        let parts = if library == "nss" { 3 } else { 1 };
        self.wait_files(process, library, parts, |file| text(file, "/state") == "probed").map(drop)
    }

    fn wait_files(
        &self,
        process: &Process,
        library: &str,
        least: usize,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<Value>> {
        until(&format!("a file of pid {} with {library}", process.pid()), PATIENCE, || {
            let pids = process.tree();
            let mut files = self.library_files()?;
            files.retain(|file| text(file, "/library") == library && maps(file, &pids) && wanted(file));
            Ok((files.len() >= least).then_some(files))
        })
        .with_context(|| format!("it knows of {:#?}", self.library_files()))
    }
}

/// Whether one of the processes maps the file.
fn maps(file: &Value, pids: &[u32]) -> bool {
    let mapping = at(file, "/processes").as_array();
    mapping.is_some_and(|mapping| pids.iter().any(|pid| mapping.contains(&(*pid).into())))
}
