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
            let config = Config::load(Some(file))?;
            let exceptions = match config.exceptions.len() {
                0 => String::new(),
                1 => ", with 1 exception".to_owned(),
                count => format!(", with {count} exceptions"),
            };
            let exceptions = match config.expired_exceptions() {
                0 => exceptions,
                expired => format!("{exceptions} ({expired} expired: they set nothing apart any more)"),
            };
            writeln!(stdout(), "{} is valid{exceptions}", display_safe(&file.to_string_lossy()))?;
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
