//! Why a configuration was refused, and where it says so.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::MAX_FILE_BYTES;
use crate::display::display_safe;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or may not be read.
    #[error("cannot read configuration file {}", display_safe(&path.to_string_lossy()))]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file of owners is not there or may not be read.
    #[error("cannot read {}, the `file` of [ownership]: put the owners there, or take the key out of the configuration",
        display_safe(&path.to_string_lossy()))]
    OwnersUnreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// More than [`MAX_FILE_BYTES`].
    #[error("configuration file {} is larger than {MAX_FILE_BYTES} bytes", display_safe(&path.to_string_lossy()))]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// A key or value is refused.
    #[error(transparent)]
    Invalid(#[from] InvalidConfig),
    /// A flag is refused.
    #[error("{flag}: {message}")]
    Flag {
        /// As it is typed.
        flag: &'static str,
        /// What is wrong and what is right.
        message: String,
    },
}

/// One place of a file that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}:{column}: {}{}", display_safe(&file.to_string_lossy()),
    if key.is_empty() { String::new() } else { format!("{}: ", display_safe(key)) }, display_safe(message))]
pub struct InvalidConfig {
    /// File.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Dotted (`metrics.listen`, `exception[0].expires`); empty if the text is no TOML at that place.
    pub key: String,
    /// What is wrong and what is right.
    pub message: String,
}

impl InvalidConfig {
    pub(super) fn at(file: &Path, text: &str, span: Range<usize>, message: String) -> Self {
        // A span may end a file that ends without a line feed, or fall within a character after a syntax error.
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |line_feed| line_feed + 1);
        InvalidConfig {
            file: file.to_path_buf(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            key: DeTable::parse(text).map(|table| key_at(table.get_ref(), start)).unwrap_or_default(),
            message,
        }
    }

    pub(super) fn from_toml(file: &Path, text: &str, refused: &toml::de::Error) -> Self {
        let message = refused.message().trim_end().replace('\n', ": ");
        Self::at(file, text, refused.span().unwrap_or(0..0), message)
    }
}

/// The dotted key whose name or value stands at a place, as deep as it goes.
fn key_at(table: &DeTable<'_>, place: usize) -> String {
    for (key, value) in table {
        if key.span().contains(&place) && !matches!(value.get_ref(), DeValue::Table(_)) {
            return key.get_ref().to_string();
        }
        if let Some(within) = within(value, place) {
            return format!("{}{within}", key.get_ref());
        }
    }
    String::new()
}

fn within(value: &toml::Spanned<DeValue<'_>>, place: usize) -> Option<String> {
    let here = value.span().contains(&place);
    match value.get_ref() {
        // The span of a section is its header: its keys stand outside it.
        DeValue::Table(table) => {
            let key = key_at(table, place);
            if key.is_empty() { here.then(String::new) } else { Some(format!(".{key}")) }
        }
        DeValue::Array(elements) => elements
            .iter()
            .enumerate()
            .find_map(|(index, element)| within(element, place).map(|within| format!("[{index}]{within}")))
            .or_else(|| here.then(String::new)),
        _ => here.then(String::new),
    }
}
