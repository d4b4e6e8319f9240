//! How a command ends.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use hyper::StatusCode;

use crate::api::ClientError;
use crate::capture_file::CaptureError;
use crate::config::ConfigError;
use crate::question::QuestionError;
use crate::report::ReportError;

/// Exit codes; the help of the program lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, and the answer is yes.
    Success = 0,
    /// Done, and the answer is no: something that is needed is missing, or no capture could be read.
    Negative = 1,
    /// The arguments or the configuration are wrong.
    Usage = 2,
    /// It cannot be done here: no rights, no daemon, no support in the kernel.
    Unable = 3,
    /// Done in part: of the captures something could not be read, or there was no room for it.
    Partial = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is refused.
    #[error("{}", chain(.0))]
    Config(#[from] ConfigError),
    /// An argument is refused after parsing.
    #[error("{0}")]
    Usage(String),
    /// The daemon does not answer.
    #[error("{}", chain(.0))]
    Client(#[from] ClientError),
    /// The history does not answer.
    #[error("{}", chain(.0))]
    History(#[from] QuestionError),
    /// There is no report of the history.
    #[error("{}", chain(.0))]
    Report(#[from] ReportError),
    /// An input is no capture, or cannot be opened.
    #[error("{0}")]
    Capture(#[from] CaptureError),
    /// The daemon could not start or go on.
    #[error("{0:#}")]
    Daemon(anyhow::Error),
    /// Standard output is closed.
    #[error("standard output was closed")]
    BrokenPipe,
    /// Standard output cannot be written, or the runtime does not start.
    #[error("{0}")]
    Io(io::Error),
}

impl Failure {
    /// Its exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Config(_) | Failure::Usage(_) => Exit::Usage,
            Failure::History(QuestionError::Refused(_) | QuestionError::Unknown(_)) => Exit::Usage,
            Failure::Client(ClientError::Refused { status: StatusCode::BAD_REQUEST, .. }) => Exit::Usage,
            Failure::Capture(_) => Exit::Negative,
            Failure::BrokenPipe => Exit::Success,
            Failure::Client(_)
            | Failure::History(_)
            | Failure::Report(_)
            | Failure::Daemon(_)
            | Failure::Io(_) => Exit::Unable,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Failure::BrokenPipe } else { Failure::Io(error) }
    }
}

/// An error with all its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}
