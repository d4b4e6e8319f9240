//! What a TLS library of this host did, as uprobes saw it. Certificates and outcomes only: no keys, no payload.

use bytes::Bytes;

use super::{SocketCookie, Task, Timestamp};

/// A TLS library, by the functions it was recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Library {
    /// OpenSSL and what exports its functions.
    OpenSsl,
    /// BoringSSL.
    BoringSsl,
    /// GnuTLS.
    GnuTls,
    /// Mozilla NSS.
    Nss,
    /// crypto/tls of Go.
    Go,
    /// rustls.
    Rustls,
}

impl Library {
    /// All of them.
    pub const ALL: [Library; 6] =
        [Library::OpenSsl, Library::BoringSsl, Library::GnuTls, Library::Nss, Library::Go, Library::Rustls];

    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Library::OpenSsl => "openssl",
            Library::BoringSsl => "boringssl",
            Library::GnuTls => "gnutls",
            Library::Nss => "nss",
            Library::Go => "go",
            Library::Rustls => "rustls",
        }
    }
}

/// Whose certificates went through the library, seen from the process that uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Presenter {
    /// They were parsed out of a Certificate message that was received.
    Peer,
    /// They were written into a Certificate message.
    Own,
}

/// How a call was joined to a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketBy {
    /// The thread that made the call received from this TCP socket last (sock_recv_length tracepoint).
    LastReceive,
    /// The library's own structures name the file descriptor.
    Descriptor,
}

/// The socket of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LibrarySocket {
    /// Which.
    pub socket: SocketCookie,
    /// How that is known.
    pub by: SocketBy,
    /// When the thread last received from it; 0 if that was not seen. Calls about one flight share it.
    pub received_at: Timestamp,
}

/// Who called what, and on which socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibraryCall {
    /// When.
    pub at: Timestamp,
    /// The caller.
    pub task: Task,
    /// The library.
    pub library: Library,
    /// Where the call belongs, if that is known.
    pub socket: Option<LibrarySocket>,
}

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LibraryForm {
    /// The certificate_list of a Certificate message behind its three bytes of length: RFC 5246 section 7.4.2, or with
    /// extensions RFC 8446 section 4.4.2. Which one, the version of the connection says.
    List,
    /// One certificate in DER, the leaf of its chain.
    Leaf,
    /// One certificate in DER, which follows the one before on the same thread.
    Following,
}

/// A run of certificate bytes. Runs of one call follow one another in order of their offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LibraryBytes {
    /// Who and where.
    pub call: LibraryCall,
    /// Whose certificates.
    pub presenter: Presenter,
    /// What `total` bytes are.
    pub form: LibraryForm,
    /// Length of the whole.
    pub total: u32,
    /// Where `bytes` stand in it.
    pub offset: u32,
    /// At most what the kernel program's bound leaves; a whole that is longer stays truncated.
    pub bytes: Bytes,
}

/// What a library said about the peer's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LibraryVerdict {
    /// It was verified, without an error.
    Verified,
    /// It was verified, and found wanting; the library's own error number.
    Failed {
        /// OpenSSL: X509_V_ERR_*; GnuTLS: bits of gnutls_certificate_status_t; NSS: PRErrorCode; 0 if not known.
        code: i32,
    },
    /// A verifier was called; what it said was not seen. OpenSSL: another one than its own.
    Attempted,
}

/// See [`LibraryVerdict`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LibraryVerification {
    /// Who and where.
    pub call: LibraryCall,
    /// What it said.
    pub verdict: LibraryVerdict,
}
