//! A folder of certificates: each once, under its fingerprint, and nothing that is there already is touched.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use pem::{EncodeConfig, LineEnding, Pem};

/// Where certificates go.
#[derive(Debug)]
pub(super) struct PemFolder {
    folder: PathBuf,
    /// Folders that were not there before, the innermost first.
    made: Vec<PathBuf>,
}

impl PemFolder {
    /// Makes the folder if it is missing, and tries to write there.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let refused = |error: io::Error| {
            at(folder, &format!("{error}; name a folder for certificates that you may write to"))
        };
        let parts = folder.ancestors().filter(|part| !part.as_os_str().is_empty());
        let made = parts.take_while(|part| !part.exists()).map(Path::to_owned).collect();
        fs::create_dir_all(folder).map_err(refused)?;
        let made = PemFolder { folder: folder.to_owned(), made };
        let trial = folder.join(format!(".countersign-{}", std::process::id()));
        match File::create_new(&trial).and_then(|_| fs::remove_file(&trial)) {
            Ok(()) => Ok(made),
            Err(error) => {
                made.undo();
                Err(refused(error))
            }
        }
    }

    /// Removes the folders that [`PemFolder::new`] made, if they are empty.
    pub fn undo(self) {
        for folder in &self.made {
            // One that is not empty stays, and that is no error.
            let _ = fs::remove_dir(folder);
        }
    }

    /// Writes one certificate (RFC 7468). The same file from an earlier run is left alone, one that was broken off is written to its
    /// end; another one in its place is an error.
    pub fn write(&self, fingerprint: &[u8; 32], der: &[u8]) -> io::Result<()> {
        let mut name: String = fingerprint.iter().map(|byte| format!("{byte:02x}")).collect();
        name.push_str(".pem");
        let path = self.folder.join(name);
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let text = pem::encode_config(&Pem::new("CERTIFICATE", der), config);
        let file = match File::create_new(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => match there(&path, &text) {
                There::Whole => return Ok(()),
                There::Begun => File::create(&path),
                There::Other => {
                    return Err(at(&path, "there is another file of this name, which is left as it is"));
                }
            },
            created => created,
        };
        let mut file = file.map_err(|error| at(&path, &error.to_string()))?;
        file.write_all(text.as_bytes()).map_err(|error| {
            // Half a certificate is worse than none; if it cannot be removed either, the error says where it is.
            let _ = fs::remove_file(&path);
            at(&path, &error.to_string())
        })
    }
}

/// What stands where a certificate is to be written.
enum There {
    /// The same.
    Whole,
    /// The beginning of it, from a run that was killed.
    Begun,
    Other,
}

fn there(path: &Path, text: &str) -> There {
    let fits =
        fs::symlink_metadata(path).is_ok_and(|there| there.is_file() && there.len() <= text.len() as u64);
    if !fits {
        return There::Other;
    }
    match fs::read(path) {
        Ok(there) if there == text.as_bytes() => There::Whole,
        Ok(there) if text.as_bytes().starts_with(&there) => There::Begun,
        _ => There::Other,
    }
}

fn at(path: &Path, problem: &str) -> io::Error {
    io::Error::other(format!("cannot write {}: {problem}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_written_once_and_other_files_stay() {
        let folder = std::env::temp_dir().join(format!("countersign-pem-{}", std::process::id()));
        let certificates = PemFolder::new(&folder.join("a/b")).unwrap();
        certificates.write(&[0xab; 32], &[0x30; 60]).unwrap();
        let path = folder.join("a/b").join(format!("{}.pem", "ab".repeat(32)));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----\nMDAw"), "{text}");
        assert_eq!(pem::parse(&text).unwrap().contents(), [0x30; 60]);
        certificates.write(&[0xab; 32], &[0x30; 60]).unwrap();
        // A run was killed between making the file and writing it, or in the middle.
        for begun in ["", &text[..40]] {
            fs::write(&path, begun).unwrap();
            certificates.write(&[0xab; 32], &[0x30; 60]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "mine").unwrap();
        let refusal = certificates.write(&[0xab; 32], &[0x30; 60]).unwrap_err().to_string();
        assert!(refusal.contains("another file of this name"), "{refusal}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        fs::remove_dir_all(folder).unwrap();
    }
}
