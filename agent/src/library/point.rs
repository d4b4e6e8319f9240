//! Where a file can be probed, and for what.

use crate::event::Library;

/// A function that is worth a probe. What is read there, and at its entry or its return, is the kernel programs' matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// `d2i_X509`: the peer's certificates are parsed in place.
    OpenSslPeer,
    /// `i2d_X509`: the own certificates are written into a message.
    OpenSslOwn,
    /// `X509_STORE_CTX_set_default`: a peer is about to be verified.
    OpenSslVerifyBegin,
    /// `X509_verify_cert`.
    OpenSslVerify,
    /// `X509_STORE_CTX_get_error`: its result.
    OpenSslVerifyResult,
    /// `CRYPTO_BUFFER_new_from_CBS`.
    BoringSslFromCbs,
    /// `CRYPTO_BUFFER_new`.
    BoringSslNew,
    /// `bssl::tls_add_message`: what is about to be sent.
    BoringSslSend,
    /// `gnutls_pcert_import_x509_raw`: the peer's leaf.
    GnuTlsPeer,
    /// `gnutls_hash_fast`: the messages of a handshake of TLS 1.3.
    GnuTlsHash,
    /// `gnutls_privkey_sign_data2`: for the own certificate.
    GnuTlsSign,
    /// `gnutls_pubkey_verify_data2`: with the peer's certificate.
    GnuTlsVerifySignature,
    /// `gnutls_certificate_verify_peers`: the status is its fourth argument.
    GnuTlsVerifyPeers,
    /// `gnutls_certificate_verify_peers2`: the status is its second argument.
    GnuTlsVerifyPeers2,
    /// `gnutls_certificate_verify_peers3`: the status is its third argument.
    GnuTlsVerifyPeers3,
    /// `CERT_NewTempCertificate`.
    NssPeer,
    /// `SSL_AuthCertificate`.
    NssVerify,
    /// `NSC_DigestUpdate`: what is sent is hashed.
    NssDigest,
    /// `crypto/tls.(*Conn).serverHandshake`: which connection its goroutine serves.
    GoServer,
    /// `crypto/tls.(*Conn).verifyServerCertificate`.
    GoPeerOfClient,
    /// `crypto/tls.(*Conn).processCertsFromClient`.
    GoPeerOfServer,
    /// `crypto/tls.(*certificateMsgTLS13).marshal` and that of `certificateMsg`, with the chain at 24 (Go 1.22 and older).
    GoOwnAt24,
    /// The same with the chain at 0 (since Go 1.23).
    GoOwnAt0,
    /// `crypto/x509.(*Certificate).Verify`.
    GoVerify,
    /// rustls: the certificates of TLS 1.3 are read, `CertificatePayloadTls13` (0.22 and 0.23) or `…TLS13` (0.21).
    RustlsPayload13,
    /// rustls: a verifier that it comes with is called, `verify_server_cert` or `verify_client_cert`.
    RustlsVerify,
    /// rustls: `CommonState::send_msg`.
    RustlsSend,
    /// `_dl_debug_state` of the dynamic linker: the libraries of a process have changed.
    LinkerState,
}

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Point {
    /// What it is good for.
    pub hook: Hook,
    /// Offset in the file of the function's first instruction.
    pub offset: u64,
}

impl Hook {
    /// All of them.
    pub const ALL: [Hook; 28] = [
        Hook::OpenSslPeer,
        Hook::OpenSslOwn,
        Hook::OpenSslVerifyBegin,
        Hook::OpenSslVerify,
        Hook::OpenSslVerifyResult,
        Hook::BoringSslFromCbs,
        Hook::BoringSslNew,
        Hook::BoringSslSend,
        Hook::GnuTlsPeer,
        Hook::GnuTlsHash,
        Hook::GnuTlsSign,
        Hook::GnuTlsVerifySignature,
        Hook::GnuTlsVerifyPeers,
        Hook::GnuTlsVerifyPeers2,
        Hook::GnuTlsVerifyPeers3,
        Hook::NssPeer,
        Hook::NssVerify,
        Hook::NssDigest,
        Hook::GoServer,
        Hook::GoPeerOfClient,
        Hook::GoPeerOfServer,
        Hook::GoOwnAt24,
        Hook::GoOwnAt0,
        Hook::GoVerify,
        Hook::RustlsPayload13,
        Hook::RustlsVerify,
        Hook::RustlsSend,
        Hook::LinkerState,
    ];

    /// The library it belongs to; nothing for the dynamic linker.
    pub fn library(self) -> Option<Library> {
        Some(match self {
            Hook::OpenSslPeer
            | Hook::OpenSslOwn
            | Hook::OpenSslVerifyBegin
            | Hook::OpenSslVerify
            | Hook::OpenSslVerifyResult => Library::OpenSsl,
            Hook::BoringSslFromCbs | Hook::BoringSslNew | Hook::BoringSslSend => Library::BoringSsl,
            Hook::GnuTlsPeer
            | Hook::GnuTlsHash
            | Hook::GnuTlsSign
            | Hook::GnuTlsVerifySignature
            | Hook::GnuTlsVerifyPeers
            | Hook::GnuTlsVerifyPeers2
            | Hook::GnuTlsVerifyPeers3 => Library::GnuTls,
            Hook::NssPeer | Hook::NssVerify | Hook::NssDigest => Library::Nss,
            Hook::GoServer
            | Hook::GoPeerOfClient
            | Hook::GoPeerOfServer
            | Hook::GoOwnAt24
            | Hook::GoOwnAt0
            | Hook::GoVerify => Library::Go,
            Hook::RustlsPayload13 | Hook::RustlsVerify | Hook::RustlsSend => Library::Rustls,
            Hook::LinkerState => return None,
        })
    }

    /// Certificates of the peer are read there.
    pub fn shows_peer(self) -> bool {
        matches!(
            self,
            Hook::OpenSslPeer
                | Hook::BoringSslFromCbs
                | Hook::BoringSslNew
                | Hook::GnuTlsPeer
                | Hook::NssPeer
                | Hook::GoPeerOfClient
                | Hook::GoPeerOfServer
                | Hook::RustlsPayload13
                | Hook::RustlsVerify
        )
    }

    /// Own certificates are read there.
    pub fn shows_own(self) -> bool {
        matches!(
            self,
            Hook::OpenSslOwn
                | Hook::BoringSslSend
                | Hook::GnuTlsSign
                | Hook::NssDigest
                | Hook::GoOwnAt24
                | Hook::GoOwnAt0
                | Hook::RustlsSend
        )
    }
}
