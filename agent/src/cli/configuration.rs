//! `countersign config`

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::arguments::ConfigCommand;
use super::output::stdout;
use super::{Exit, Failure};
use crate::config::{Config, ConfigError, DEFAULT_TEXT};
use crate::display::display_safe;

pub(super) fn configuration(command: &ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::Default => stdout().write_all(DEFAULT_TEXT.as_bytes())?,
        ConfigCommand::Check { file } => {
            let mut config = Config::load(Some(file))?;
            config.read_owners()?;
            let counted = |count: usize, one: &str, several: &str| match count {
                0 => None,
                1 => Some(format!("1 {one}")),
                count => Some(format!("{count} {several}")),
            };
            let parts: Vec<String> = [
                counted(config.identities.len(), "rule on identities", "rules on identities"),
                counted(config.ownership.owners.len(), "owner", "owners"),
                counted(config.exceptions.len(), "exception", "exceptions"),
            ]
            .into_iter()
            .flatten()
            .collect();
            let parts = if parts.is_empty() { String::new() } else { format!(", with {}", parts.join(", ")) };
            let parts = match config.expired_exceptions() {
                0 => parts,
                expired => format!("{parts} ({expired} expired: they set nothing apart any more)"),
            };
            writeln!(stdout(), "{} is valid{parts}", display_safe(&file.to_string_lossy()))?;
        }
    }
    Ok(Exit::Success)
}

/// The daemon's socket: as typed, else as the configuration says; members of the socket's group need not be able to read that.
pub(super) fn daemon_socket(typed: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(socket) = typed {
        return Ok(socket.to_path_buf());
    }
    match Config::load(config) {
        Ok(config) => Ok(config.daemon.socket),
        Err(ConfigError::Unreadable { .. }) if config.is_none() => Ok(Config::default().daemon.socket),
        Err(error) => Err(error.into()),
    }
}
