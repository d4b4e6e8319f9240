//! Configuration: what the operator typed and what it means.
//!
//! Enters: a TOML file, else the embedded defaults (`default.toml`, which documents every key), and the flags that
//! override it. Leaves: [`Config`], in which every value has been checked. Refuses: unknown keys, values out of
//! their bounds, and anything it would have to guess; the error names file, line and key.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::ownership::Owners;
use crate::verdict::{Code, Exception, FitRule};

mod error;
mod file;
mod meaning;
mod owners;
#[cfg(test)]
mod tests;

pub use error::{ConfigError, InvalidConfig};
pub use file::ConfigFile;

/// The commented default, as `countersign config default` prints it.
pub const DEFAULT_TEXT: &str = include_str!("default.toml");
/// Read when no file is named, if it is there.
pub const DEFAULT_PATH: &str = "/etc/countersign/countersign.toml";

/// Largest configuration file, and largest file of owners: a thousand exceptions fit, a mistaken log file does not.
pub const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most exceptions: each is tried on each finding.
pub const MAX_EXCEPTIONS: usize = 1000;
/// Most rules on identities: each is tried on each new pair of workload and certificate.
pub const MAX_IDENTITY_RULES: usize = 1000;
/// Most identities of one rule: they stand in each record that the rule judged.
pub const MAX_MAY_PRESENT: usize = 64;
/// Most rules on owners: each is tried on each new workload and certificate.
pub const MAX_OWNER_RULES: usize = 4096;
/// Longest owner, purpose or environment in bytes: they stand in each record of what they are about.
pub const MAX_LABEL_BYTES: usize = 256;
/// Most internal networks: each is tried on each new connection.
pub const MAX_INTERNAL_NETWORKS: usize = 1000;
/// Smallest start budget: below it a ClientHello does not fit.
pub const MIN_BUDGET_BYTES: u32 = 1024;
/// Largest budget: user space may hold this much of each direction of each undecided connection.
pub const MAX_BUDGET_BYTES: u32 = 1 << 20;
/// Smallest ring: it must hold a few of the largest records, 4 KiB each.
pub const MIN_RING_BYTES: u32 = 64 << 10;
/// Largest ring: locked kernel memory.
pub const MAX_RING_BYTES: u32 = 256 << 20;
/// Most files probed at once: each takes a few descriptors and a uprobe per function.
pub const MAX_PROBED_FILES: u32 = 4096;
/// Longest time for which history is kept, in days: ten years.
pub const MAX_HISTORY_DAYS: u32 = 3_650;
/// Smallest room for history in MiB: below it what repeats leaves none for connections.
pub const MIN_HISTORY_MIB: u32 = 16;
/// Largest room for history in MiB: a terabyte.
pub const MAX_HISTORY_MIB: u32 = 1 << 20;
/// Largest table: about a gigabyte if all were filled with connections.
pub const MAX_TABLE_ENTRIES: u32 = 1_000_000;

/// A configuration that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// File it was read from; `None` for the embedded defaults.
    pub source: Option<PathBuf>,
    /// `[daemon]`
    pub daemon: DaemonConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[history]`
    pub history: HistoryConfig,
    /// `[scope]`
    pub scope: ScopeConfig,
    /// `[capture]`
    pub capture: CaptureConfig,
    /// `[libraries]`
    pub libraries: LibrariesConfig,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[findings]`
    pub findings: FindingsConfig,
    /// `[ownership]`
    pub ownership: OwnershipConfig,
    /// `[[identity]]`
    pub identities: Vec<FitRule>,
    /// `[[exception]]`
    pub exceptions: Vec<Exception>,
    /// `[log]`
    pub log: LogConfig,
}

/// `[daemon]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonConfig {
    /// Folder for what outlives the daemon; absolute.
    pub data_dir: PathBuf,
    /// Unix socket; absolute, at most [`MAX_SOCKET_PATH_BYTES`] long.
    pub socket: PathBuf,
    /// Group that may read it beside root; `None`: nobody.
    pub socket_group: Option<String>,
}

/// Longest path of a Unix socket: `sun_path` has 108 bytes with the final NUL (unix(7)).
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// `[metrics]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Whether to listen at all.
    pub enabled: bool,
    /// Where; a loopback address unless `allow_remote`.
    pub listen: SocketAddr,
    /// Other addresses than loopback are meant.
    pub allow_remote: bool,
}

/// `[history]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryConfig {
    /// Whether what was seen is kept in a file.
    pub enabled: bool,
    /// For how long.
    pub max_age: Duration,
    /// Bytes that it may take.
    pub max_bytes: u64,
    /// After what time short connections that repeat are only counted; `None`: never.
    pub fold_after: Option<Duration>,
}

const DAY: Duration = Duration::from_hours(24);

/// `[scope]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeConfig {
    /// Networks added to the built-in ones.
    pub internal: Vec<IpNet>,
}

/// `[capture]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Bytes of each direction that every connection starts with.
    pub start_budget_bytes: u32,
    /// Bytes of each direction at most; not below the former.
    pub max_budget_bytes: u32,
    /// Size of the ring buffer, a power of two.
    pub ring_bytes: u32,
    /// Where to attach; `None`: the root of the mounted cgroup v2 hierarchy.
    pub cgroup_root: Option<PathBuf>,
}

/// `[libraries]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibrariesConfig {
    /// Whether TLS libraries are probed.
    pub enabled: bool,
    /// Files probed at once.
    pub max_files: usize,
}

/// `[limits]`: entries of each table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Open connections.
    pub connections: usize,
    /// Processes.
    pub processes: usize,
    /// Certificates.
    pub certificates: usize,
    /// TLS sessions.
    pub sessions: usize,
}

/// `[findings]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingsConfig {
    /// Known codes that are not to be reported.
    pub disabled: Vec<Code>,
}

/// `[ownership]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnershipConfig {
    /// File of owners; absolute.
    pub file: Option<PathBuf>,
    /// What stands in it, once [`Config::read_owners`] has read it.
    pub owners: Arc<Owners>,
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogConfig {
    /// Least important level written.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// Levels of log messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something works less well than asked for.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            source: None,
            daemon: DaemonConfig {
                data_dir: "/var/lib/countersign".into(),
                socket: "/run/countersign/countersign.sock".into(),
                socket_group: Some("countersign".into()),
            },
            metrics: MetricsConfig {
                enabled: true,
                listen: SocketAddr::from(([127, 0, 0, 1], 19964)),
                allow_remote: false,
            },
            history: HistoryConfig {
                enabled: true,
                max_age: 30 * DAY,
                max_bytes: 2048 << 20,
                fold_after: Some(7 * DAY),
            },
            scope: ScopeConfig { internal: Vec::new() },
            capture: CaptureConfig {
                start_budget_bytes: 32 << 10,
                max_budget_bytes: 128 << 10,
                ring_bytes: 8 << 20,
                cgroup_root: None,
            },
            libraries: LibrariesConfig { enabled: true, max_files: 256 },
            limits: LimitsConfig {
                connections: 131_072,
                processes: 32_768,
                certificates: 16_384,
                sessions: 65_536,
            },
            findings: FindingsConfig { disabled: Vec::new() },
            ownership: OwnershipConfig::default(),
            identities: Vec::new(),
            exceptions: Vec::new(),
            log: LogConfig { level: LogLevel::Info, format: LogFormat::Text },
        }
    }
}

/// What the command line sets over the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--metrics-listen`
    pub metrics_listen: Option<SocketAddr>,
}

/// Everything needed to read the configuration, once or again at SIGHUP.
#[derive(Debug, Clone)]
pub struct ConfigLoader {
    /// File named on the command line; `None`: [`DEFAULT_PATH`] if it is there, else the defaults.
    pub path: Option<PathBuf>,
    /// Flags.
    pub overrides: Overrides,
}

impl ConfigLoader {
    /// Reads and checks the file and that of the owners, and applies the flags.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let mut config = Config::load(self.path.as_deref())?;
        config.read_owners()?;
        config.override_with(&self.overrides)?;
        Ok(config)
    }
}

impl Config {
    /// Exceptions whose last day is over (UTC).
    pub fn expired_exceptions(&self) -> usize {
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
        self.exceptions.iter().filter(|exception| exception.has_expired(today)).count()
    }

    /// Reads and checks `path`; without one [`DEFAULT_PATH`] if it is there, else the defaults.
    pub fn load(path: Option<&Path>) -> Result<Config, ConfigError> {
        let (path, optional) = match path {
            Some(path) => (path, false),
            None => (Path::new(DEFAULT_PATH), true),
        };
        match file::read(path) {
            Ok(text) => Config::parse(&text, path),
            Err(ConfigError::Unreadable { source, .. })
                if optional && source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(Config::default())
            }
            Err(error) => Err(error),
        }
    }

    /// Checks a text; `name` is the file's name in errors.
    pub fn parse(text: &str, name: &Path) -> Result<Config, ConfigError> {
        let file: ConfigFile =
            toml::from_str(text).map_err(|refused| InvalidConfig::from_toml(name, text, &refused))?;
        let mut config = meaning::of(file)
            .map_err(|refused| InvalidConfig::at(name, text, refused.span, refused.message))?;
        config.source = Some(name.to_path_buf());
        Ok(config)
    }

    /// Reads and checks the file of owners, if one is named. Only who answers for records needs it.
    pub fn read_owners(&mut self) -> Result<(), ConfigError> {
        if let Some(path) = &self.ownership.file {
            self.ownership.owners = Arc::new(owners::load(path)?);
        }
        Ok(())
    }

    /// Applies what the command line says over the file.
    pub fn override_with(&mut self, overrides: &Overrides) -> Result<(), ConfigError> {
        let flag = |flag, message| ConfigError::Flag { flag, message };
        if let Some(data_dir) = &overrides.data_dir {
            self.daemon.data_dir =
                meaning::absolute(data_dir).map_err(|message| flag("--data-dir", message))?;
        }
        if let Some(socket) = &overrides.socket {
            self.daemon.socket = meaning::socket_path(socket).map_err(|message| flag("--socket", message))?;
        }
        if let Some(listen) = overrides.metrics_listen {
            self.metrics.listen = meaning::metrics_address(listen, self.metrics.allow_remote)
                .map_err(|message| flag("--metrics-listen", message))?;
        }
        Ok(())
    }
}
