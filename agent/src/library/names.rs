//! The names that functions of interest have in symbol tables.

use super::Hook;

/// What a name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// A point for this.
    Hook(Hook),
    /// Java, whose TLS is compiled while it runs.
    Java,
    /// `NSC_GetFunctionList` of NSS' softoken.
    FunctionList,
}

/// Functions of C, each followed by the null that ends a string: a longer name that only begins so is another one.
pub const EXACT: &[(&[u8], Name)] = &[
    (b"d2i_X509\0", Name::Hook(Hook::OpenSslPeer)),
    (b"i2d_X509\0", Name::Hook(Hook::OpenSslOwn)),
    (b"X509_STORE_CTX_set_default\0", Name::Hook(Hook::OpenSslVerifyBegin)),
    (b"X509_verify_cert\0", Name::Hook(Hook::OpenSslVerify)),
    (b"X509_STORE_CTX_get_error\0", Name::Hook(Hook::OpenSslVerifyResult)),
    (b"CRYPTO_BUFFER_new_from_CBS\0", Name::Hook(Hook::BoringSslFromCbs)),
    (b"CRYPTO_BUFFER_new\0", Name::Hook(Hook::BoringSslNew)),
    (b"gnutls_pcert_import_x509_raw\0", Name::Hook(Hook::GnuTlsPeer)),
    (b"gnutls_hash_fast\0", Name::Hook(Hook::GnuTlsHash)),
    (b"gnutls_privkey_sign_data2\0", Name::Hook(Hook::GnuTlsSign)),
    (b"gnutls_pubkey_verify_data2\0", Name::Hook(Hook::GnuTlsVerifySignature)),
    (b"gnutls_certificate_verify_peers\0", Name::Hook(Hook::GnuTlsVerifyPeers)),
    (b"gnutls_certificate_verify_peers2\0", Name::Hook(Hook::GnuTlsVerifyPeers2)),
    (b"gnutls_certificate_verify_peers3\0", Name::Hook(Hook::GnuTlsVerifyPeers3)),
    (b"CERT_NewTempCertificate\0", Name::Hook(Hook::NssPeer)),
    (b"SSL_AuthCertificate\0", Name::Hook(Hook::NssVerify)),
    (b"NSC_GetFunctionList\0", Name::FunctionList),
    (b"_dl_debug_state\0", Name::Hook(Hook::LinkerState)),
    (b"JNI_CreateJavaVM\0", Name::Java),
];

/// What the mangled names of rustls' functions, in either mangling, and of BoringSSL's contain.
pub const MANGLED: &[&[u8]] = &[
    b"CertificatePayloadTls13",
    b"CertificatePayloadTLS13",
    b"18verify_server_cert",
    b"18verify_client_cert",
    b"11CommonState8send_msg",
    BORINGSSL_SEND,
];

/// A function of C++ by its mangled name, which its arguments follow: their types have changed their names.
const BORINGSSL_SEND: &[u8] = b"_ZN4bssl15tls_add_messageE";

/// rustls' function of no trait.
const RUSTLS_SEND: &str = "rustls::common_state::CommonState::send_msg";

/// Types of rustls 0.22 and 0.23, then of 0.21, with the trait and its function that are of interest.
const FUNCTIONS: &[(&str, &str, Hook)] = &[
    ("msgs::handshake::CertificatePayloadTls13", "msgs::codec::Codec>::read", Hook::RustlsPayload13),
    (
        "webpki::server_verifier::WebPkiServerVerifier",
        "verify::ServerCertVerifier>::verify_server_cert",
        Hook::RustlsVerify,
    ),
    (
        "webpki::client_verifier::WebPkiClientVerifier",
        "verify::ClientCertVerifier>::verify_client_cert",
        Hook::RustlsVerify,
    ),
    ("msgs::handshake::CertificatePayloadTLS13", "msgs::codec::Codec>::read", Hook::RustlsPayload13),
    ("verify::WebPkiVerifier", "verify::ServerCertVerifier>::verify_server_cert", Hook::RustlsVerify),
    (
        "verify::AllowAnyAuthenticatedClient",
        "verify::ClientCertVerifier>::verify_client_cert",
        Hook::RustlsVerify,
    ),
    (
        "verify::AllowAnyAnonymousOrAuthenticatedClient",
        "verify::ClientCertVerifier>::verify_client_cert",
        Hook::RustlsVerify,
    ),
];

/// The hook of a mangled name.
pub fn mangled(symbol: &str) -> Option<Name> {
    if symbol.as_bytes().starts_with(BORINGSSL_SEND) {
        return Some(Name::Hook(Hook::BoringSslSend));
    }
    let demangled = rustc_demangle::try_demangle(symbol).ok()?;
    // Without the hash. The newer mangling writes a type as it stands before its functions.
    let path = format!("{demangled:#}");
    if path.replace(['<', '>'], "") == RUSTLS_SEND {
        return Some(Name::Hook(Hook::RustlsSend));
    }
    let (implementor, function) = path.strip_prefix("<rustls::")?.split_once(" as rustls::")?;
    FUNCTIONS
        .iter()
        .find(|(known, name, _)| *known == implementor && *name == function)
        .map(|(_, _, hook)| Name::Hook(*hook))
}
