//! What keeps a capture from being opened, and what was wrong with one that could be read in part.

use std::io;

/// Why nothing of an input can be read.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// It cannot be opened or its first bytes cannot be read.
    #[error("cannot read {input}: {source}; check the name and the rights")]
    Open {
        /// As the user named it.
        input: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is compressed in a way that is not decoded.
    #[error("cannot read {input}: {problem}")]
    Compression {
        /// As the user named it.
        input: String,
        /// What, and what to do.
        problem: String,
    },
    /// It begins like no known format.
    #[error(
        "{input} is no capture: it begins with {begins}; pcap and pcapng are read, plain or compressed with gzip or zstd"
    )]
    NotACapture {
        /// As the user named it.
        input: String,
        /// Its first bytes in hexadecimal, or `nothing`.
        begins: String,
    },
    /// Not one of several inputs can be read; a line for each.
    #[error("{}", lines(.0))]
    NoneReadable(Vec<CaptureError>),
    /// More inputs than can be open at a time.
    #[error(
        "{given} captures are too many at a time: at most {most}; replay them in several runs, or join them first with mergecap"
    )]
    TooMany {
        /// How many were given.
        given: usize,
        /// How many there may be.
        most: usize,
    },
}

fn lines(errors: &[CaptureError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Something that could not be read while other things could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Index of the input.
    pub input: usize,
    /// Its name as the user gave it.
    pub name: String,
    /// Packets of this input that were read before.
    pub packet: u64,
    /// Where, in bytes from its start once decompressed.
    pub offset: u64,
    /// What.
    pub kind: ProblemKind,
    /// At how many places of the input, of which this is the first.
    pub times: u64,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Problem { name, packet, offset, kind, .. } = self;
        match kind {
            // It names the input, and there is no place in it.
            ProblemKind::Unopened(_) => kind.fmt(f),
            _ => {
                write!(f, "{name}: after packet {packet}, at byte {offset}: {kind}")?;
                match self.times {
                    0 | 1 => Ok(()),
                    2 => f.write_str("; the same at one later place"),
                    times => write!(f, "; the same at {} later places", times - 1),
                }
            }
        }
    }
}

/// What is wrong with a capture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProblemKind {
    /// It cannot be opened or is no capture ([`CaptureError`]); the other inputs were read.
    #[error("{0}")]
    Unopened(String),
    /// Reading was stopped by [`super::Stop`].
    #[error("the replay was interrupted; the rest was not read")]
    Interrupted,
    /// It ends within a packet or a block.
    #[error("it ends in the middle of a packet; the rest of the file is missing")]
    Truncated,
    /// A length or a structure is impossible and what follows cannot be found.
    #[error("it is damaged ({0}); nothing behind this place can be read")]
    Damaged(&'static str),
    /// A part is impossible; reading went on behind it.
    #[error("a part is damaged and was left out ({0})")]
    Skipped(&'static str),
    /// The source failed, or decompression did.
    #[error("reading failed: {0}")]
    Unreadable(String),
}

impl ProblemKind {
    /// Whether packets may be missing behind it until the end of the input.
    pub fn is_final(&self) -> bool {
        !matches!(self, ProblemKind::Skipped(_))
    }
}
