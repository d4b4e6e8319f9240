//! The file: made, brought to the version of this program, or refused.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::display::display_safe;

/// `PRAGMA application_id`: "CSgn". `file` and this program know the file by it.
pub const APPLICATION_ID: i32 = 0x4353_676e;

/// What brings the schema from each version to the next; a new file takes all of them.
const MIGRATIONS: &[&str] = &[include_str!("schema.sql")];

/// Made anew by each writer that opens the file.
const VIEWS: &str = include_str!("views.sql");

/// `PRAGMA user_version` of files that this program writes.
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;

/// How long a statement waits for another one's lock.
const PATIENCE: Duration = Duration::from_secs(2);

/// Pages of the log, of 4 KiB, after which they go into the file: pages that many batches change go there once.
const LOG_PAGES: i64 = 4_096;

/// Memory for pages of the file in KiB, however large it is.
const CACHE_KIB: i64 = 4_096;

/// Statements that are kept ready.
const STATEMENTS: usize = 64;

/// The history cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such file.
    #[error("there is no history at {}: name a file with --db, or start the daemon", shown(path))]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// Its rights.
    #[error("you may not read {}: ask as root, or the daemon by its socket", shown(path))]
    Denied {
        /// Which.
        path: PathBuf,
    },
    /// It is something else, or damaged.
    #[error("{} is no history of countersign, or is damaged", shown(path))]
    NotAHistory {
        /// Which.
        path: PathBuf,
        /// What SQLite says.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// What was written last stands beside it, and cannot be read where nothing can be written.
    #[error(
        "{} was copied while it was written, into a folder that cannot be written: copy it and the files beside it elsewhere, or \
         take the copy with `sqlite3 FILE \".backup COPY\"`",
        shown(path)
    )]
    Unsettled {
        /// Which.
        path: PathBuf,
    },
    /// A later program wrote it.
    #[error(
        "{} has version {found} of the schema, this program knows {SCHEMA_VERSION}: use the program that wrote it",
        shown(path)
    )]
    Later {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i32,
    },
    /// SQLite refuses.
    #[error("the history does not answer")]
    Database(#[from] rusqlite::Error),
    /// A record in it is not one.
    #[error("a record of the history is damaged")]
    Record(#[from] serde_json::Error),
}

impl StoreError {
    /// What SQLite says, if it is SQLite that says it.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            StoreError::Database(error) | StoreError::NotAHistory { source: Some(error), .. } => {
                error.sqlite_error_code()
            }
            _ => None,
        }
    }
}

fn shown(path: &Path) -> String {
    display_safe(&path.to_string_lossy()).into_owned()
}

/// Opens the file to write, makes it if it is missing, and brings it to [`SCHEMA_VERSION`].
pub(super) fn open_to_write(path: &Path) -> Result<Connection, StoreError> {
    make_for_root_alone(path);
    let mut database = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
    let version = version(path, &database)?;
    if version == 0 {
        // Has to be said before the first table is there.
        database.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    database.pragma_update(None, "journal_mode", "WAL")?;
    // A batch that was committed survives the end of the daemon, not a loss of power: the file stays whole in both.
    database.pragma_update(None, "synchronous", "NORMAL")?;
    database.pragma_update(None, "journal_size_limit", LOG_PAGES * 4_096)?;
    database.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    database.pragma_update(None, "cache_size", -CACHE_KIB)?;
    // References are the writer's own doing, and to have them checked costs more than the rows.
    database.pragma_update(None, "foreign_keys", false)?;
    let transaction = database.transaction()?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or_default()) {
        transaction.execute_batch(migration)?;
    }
    transaction.execute_batch(VIEWS)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    transaction.commit()?;
    Ok(database)
}

/// SQLite gives what it puts beside the file the same rights. That the file is there, or cannot be made, it finds out itself.
fn make_for_root_alone(path: &Path) {
    drop(File::options().write(true).create_new(true).mode(0o600).open(path));
}

/// Opens the file to read; it is not changed, and who writes it is not held up.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    // Asked for, not opened: to close it again beside SQLite would give up SQLite's locks (fcntl(2)).
    match access(path, AccessFlags::R_OK) {
        Err(Errno::ENOENT) => return Err(StoreError::Missing { path: path.to_path_buf() }),
        Err(Errno::EACCES) => return Err(StoreError::Denied { path: path.to_path_buf() }),
        // SQLite says it in its own words.
        _ => {}
    }
    let database = match readable(path, path, OpenFlags::SQLITE_OPEN_READ_ONLY) {
        Err(error) if is_read_only(&error) && !beside(path, "-wal").exists() => {
            let fixed = fixed(path);
            readable(path, Path::new(&fixed), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)
        }
        opened => opened,
    };
    match database {
        Err(error) if is_read_only(&error) => Err(StoreError::Unsettled { path: path.to_path_buf() }),
        database => database,
    }
}

/// The open file, if it is a history.
fn readable(path: &Path, opened: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let database = open(opened, flags)?;
    match version(path, &database)? {
        0 => Err(StoreError::NotAHistory { path: path.to_path_buf(), source: None }),
        _ => Ok(database),
    }
}

/// Whether SQLite could not make what it puts beside a file that is written, to read it.
fn is_read_only(error: &StoreError) -> bool {
    matches!(error.code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly))
}

/// A file that SQLite puts beside another one.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// How SQLite is told that nobody writes the file, so that nothing has to be put beside it (sqlite.org/uri.html).
fn fixed(path: &Path) -> String {
    let mut text = "file:".to_owned();
    for &byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => text.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => text.push(byte.into()),
            byte => text.push_str(&format!("%{byte:02x}")),
        }
    }
    text + "?immutable=1"
}

/// Whether the file can be read: its header and its schema, not all of it.
///
/// # Errors
/// If it cannot.
pub fn check(path: &Path) -> Result<(), StoreError> {
    is_empty(&open_to_read(path)?).map(drop)
}

fn open(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let database = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    database.busy_timeout(PATIENCE)?;
    database.set_prepared_statement_cache_capacity(STATEMENTS);
    // Else SQLite plans a statement anew for each value that it is asked with.
    database.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // What a damaged or forged file says of itself runs nothing.
    database.pragma_update(None, "trusted_schema", false)?;
    database.pragma_update(None, "cell_size_check", true)?;
    Ok(database)
}

/// The version of the file's schema, 0 for an empty file.
fn version(path: &Path, database: &Connection) -> Result<i32, StoreError> {
    let number = |name| database.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let not_a_history = |source| StoreError::NotAHistory { path: path.to_path_buf(), source };
    let (application, version) = match (number("application_id"), number("user_version")) {
        (Ok(application), Ok(version)) => (application, version),
        (Err(error), _) | (_, Err(error)) => {
            return Err(match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => not_a_history(Some(error)),
                _ => error.into(),
            });
        }
    };
    match (application, version) {
        (0, 0) if is_empty(database)? => Ok(0),
        (APPLICATION_ID, version) if version > SCHEMA_VERSION => {
            Err(StoreError::Later { path: path.to_path_buf(), found: version })
        }
        (APPLICATION_ID, version) if version > 0 => Ok(version),
        _ => Err(not_a_history(None)),
    }
}

fn is_empty(database: &Connection) -> Result<bool, StoreError> {
    Ok(database.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?)
}
