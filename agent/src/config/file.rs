//! The file as it is typed: every key optional, every value with its place.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::fcntl::OFlag;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{ConfigError, MAX_FILE_BYTES};

type Typed<T> = Option<Spanned<T>>;

/// What stands in the file. A section or key that is left out keeps its default.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConfigFile {
    pub(super) daemon: DaemonFile,
    pub(super) metrics: MetricsFile,
    pub(super) history: HistoryFile,
    pub(super) scope: ScopeFile,
    pub(super) capture: CaptureFile,
    pub(super) libraries: LibrariesFile,
    pub(super) limits: LimitsFile,
    pub(super) findings: FindingsFile,
    pub(super) ownership: OwnershipFile,
    pub(super) identity: Vec<Spanned<IdentityFile>>,
    pub(super) exception: Vec<Spanned<ExceptionFile>>,
    pub(super) log: LogFile,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct DaemonFile {
    pub data_dir: Typed<String>,
    pub socket: Typed<String>,
    pub socket_group: Typed<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MetricsFile {
    pub enabled: Typed<bool>,
    pub listen: Typed<String>,
    pub allow_remote: Typed<bool>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct HistoryFile {
    pub enabled: Typed<bool>,
    pub max_age_days: Typed<i64>,
    pub max_size_mib: Typed<i64>,
    pub fold_after_days: Typed<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ScopeFile {
    pub internal: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CaptureFile {
    pub start_budget_bytes: Typed<i64>,
    pub max_budget_bytes: Typed<i64>,
    pub ring_bytes: Typed<i64>,
    pub cgroup_root: Typed<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LibrariesFile {
    pub enabled: Typed<bool>,
    pub max_files: Typed<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsFile {
    pub connections: Typed<i64>,
    pub processes: Typed<i64>,
    pub certificates: Typed<i64>,
    pub sessions: Typed<i64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct FindingsFile {
    pub disabled: Option<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct OwnershipFile {
    pub file: Typed<String>,
}

/// Which identities workloads may present.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityFile {
    pub workload: Spanned<String>,
    pub may_present: Spanned<Vec<Spanned<String>>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LogFile {
    pub level: Typed<String>,
    pub format: Typed<String>,
}

/// All required: a known finding without an owner or an end is a forgotten one.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionFile {
    pub finding: Spanned<String>,
    pub from: Spanned<String>,
    pub to: Spanned<String>,
    /// A number, or the text `any`.
    pub port: Spanned<toml::Value>,
    pub owner: Spanned<String>,
    pub reason: Spanned<String>,
    /// A date, as text or as TOML's own.
    pub expires: Spanned<toml::Value>,
}

/// The text of a configuration file, refused beyond [`MAX_FILE_BYTES`].
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_path_buf(), source };
    let mut text = String::new();
    let file = open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_path_buf() });
    }
    Ok(text)
}

/// Opening a FIFO would wait for its writer, and a running daemon reads its files again.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() || is_null_device(&metadata) {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a regular file nor /dev/null"))
}

/// By its number (Documentation/admin-guide/devices.txt): an empty file that is always there.
fn is_null_device(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == nix::sys::stat::makedev(1, 3)
}
