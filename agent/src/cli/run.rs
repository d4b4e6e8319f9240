//! `countersign run`

use super::arguments::RunArguments;
use super::{DaemonStart, Exit, Failure, Program};
use crate::config::ConfigLoader;
use crate::logging;

pub(super) fn run(arguments: RunArguments, program: &Program) -> Result<Exit, Failure> {
    let overrides = arguments.overrides();
    let loader = ConfigLoader { path: arguments.config, overrides, known_codes: program.finding_codes };
    let config = loader.load()?;
    let logging = logging::start(config.log).map_err(|error| Failure::Daemon(error.into()))?;
    (program.daemon)(DaemonStart { config, loader, logging }).map_err(Failure::Daemon)?;
    Ok(Exit::Success)
}
