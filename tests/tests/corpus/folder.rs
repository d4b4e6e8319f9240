//! Where the corpus is, and what its inventory says.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The folder of captures and truths.
#[derive(Debug)]
pub struct Folder(PathBuf);

/// What the inventory says about a capture; the other columns are for people.
#[derive(Debug)]
pub struct Capture {
    /// Relative to the folder of captures, which is also its name everywhere else.
    pub file: String,
    /// Applications in clear that tshark dissected: `http:2 smtp:1`.
    pub applications: String,
    /// The protocol that switched to TLS.
    pub upgrade: String,
    /// Upstream's expected output: paths, or names of Zeek's tests, separated by blanks.
    pub ground_truth: String,
}

impl Folder {
    /// The folder, or why these tests are skipped.
    pub fn find() -> Result<Self, String> {
        let path = env::var_os("COUNTERSIGN_CORPUS")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"), PathBuf::from);
        if path.join("dev/inventory.tsv").is_file() {
            Ok(Self(path))
        } else {
            Err("no corpus: neither COUNTERSIGN_CORPUS nor ../shared/corpus has dev/inventory.tsv".to_owned())
        }
    }

    /// A path in it.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// A capture by its name.
    pub fn capture(&self, file: &str) -> PathBuf {
        self.0.join("dev").join(file)
    }

    /// A text file in it; some upstream outputs are not UTF-8.
    pub fn text(&self, relative: impl AsRef<Path>) -> Result<String> {
        let path = self.path(relative);
        let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The captures of the inventory.
    pub fn captures(&self) -> Result<Vec<Capture>> {
        let text = self.text("dev/inventory.tsv")?;
        let mut lines = text.lines();
        let header = lines.next().context("the inventory is empty")?;
        let columns: HashMap<&str, usize> =
            header.split('\t').enumerate().map(|(place, name)| (name, place)).collect();
        let column = |name: &str| columns.get(name).copied().with_context(|| format!("no column {name}"));
        let (file, applications) = (column("file")?, column("plaintext_app(conns)")?);
        let (upgrade, ground_truth) = (column("upgrade")?, column("ground_truth")?);
        Ok(lines
            .map(|line| {
                let fields: Vec<&str> = line.split('\t').collect();
                let field = |place: usize| fields.get(place).copied().unwrap_or_default().to_owned();
                Capture {
                    file: field(file),
                    applications: field(applications),
                    upgrade: field(upgrade),
                    ground_truth: field(ground_truth),
                }
            })
            .collect())
    }
}
