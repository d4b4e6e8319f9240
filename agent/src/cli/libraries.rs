//! `countersign check --libraries`

use std::io::Write;

use super::arguments::CheckArguments;
use super::output::{Colour, colour, coloured, stdout};
use super::{Exit, Failure, Program};
use crate::api::{self, ClientError};
use crate::config::Config;
use crate::display::{display_safe, json_safe};
use crate::record::{LibraryFileRecord, LibraryFiles, ProbeState};

/// Processes that a line of the table names.
const SHOWN_PROCESSES: usize = 8;

pub(super) fn list(arguments: &CheckArguments, config: &Config, program: &Program) -> Result<Exit, Failure> {
    let socket = arguments.socket.as_ref().unwrap_or(&config.daemon.socket);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (files, enabled) = match runtime.block_on(api::libraries(socket)) {
        Ok(LibraryFiles { enabled, files }) => (files, Some(enabled)),
        // A socket that was named is meant.
        Err(ClientError::NoDaemon { .. }) if arguments.socket.is_none() => ((program.libraries)()?, None),
        Err(error) => return Err(error.into()),
    };
    if arguments.json {
        print_json(&files, &mut stdout())?;
    } else {
        print(&files, enabled, colour(), &mut stdout())?;
    }
    Ok(if files.is_empty() { Exit::Negative } else { Exit::Success })
}

fn print_json(files: &[LibraryFileRecord], output: &mut impl Write) -> std::io::Result<()> {
    for file in files {
        writeln!(output, "{}", json_safe(&serde_json::to_string(file)?))?;
    }
    Ok(())
}

/// `enabled` is the running daemon's word; nothing without one.
pub(super) fn print(
    files: &[LibraryFileRecord],
    enabled: Option<bool>,
    colour: bool,
    output: &mut impl Write,
) -> std::io::Result<()> {
    for file in files {
        let state = format!("{:<13}", file.state.as_str().replace('_', " "));
        let state = match file.state {
            ProbeState::Probed => coloured(&state, Colour::Good, colour),
            ProbeState::CanBeProbed => coloured(&state, Colour::Faint, colour),
            ProbeState::NotProbed => coloured(&state, Colour::Warning, colour),
        };
        let library = file.library.as_deref().unwrap_or("?");
        let name = format!("{library} {}", file.version.as_deref().unwrap_or(""));
        writeln!(
            output,
            "{state}  {:<20}  {}  {}",
            display_safe(name.trim_end()),
            display_safe(&file.path),
            processes(file)
        )?;
        if let Some(reason) = &file.reason {
            writeln!(output, "{:13}  {:<20}  → {}", "", "", display_safe(reason))?;
        }
    }
    let count = |state| files.iter().filter(|file| file.state == state).count();
    let summary = match enabled {
        Some(true) => format!(
            "{} files with TLS libraries in use: probed {}, not probed {}",
            files.len(),
            count(ProbeState::Probed),
            count(ProbeState::NotProbed)
        ),
        Some(false) => "libraries.enabled = false: the daemon probes nothing".to_owned(),
        None => format!(
            "no daemon is running: nothing is probed. {} files with TLS libraries in use, {} of them can be probed",
            files.len(),
            count(ProbeState::CanBeProbed)
        ),
    };
    writeln!(output, "\n{summary}")
}

fn processes(file: &LibraryFileRecord) -> String {
    let pids: Vec<String> = file.processes.iter().take(SHOWN_PROCESSES).map(u32::to_string).collect();
    let more = file.process_count.saturating_sub(pids.len() as u64);
    let beyond = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("pid {}{beyond}", pids.join(","))
}
