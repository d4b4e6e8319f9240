//! ClientHello and ServerHello (RFC 8446 section 4.1, RFC 5246 section 7.4.1).

use super::ja4::{Ja4, Ja4Source};
use super::message::Cursor;
use super::{
    CertificateType, EncryptedClientHello, IncompleteReason, MAX_COMPRESSIONS, SessionHandle, Version,
};

/// Application protocols kept: browsers offer two, the longest known client eleven.
const MAX_ALPN: usize = 32;
/// Extensions looked at: the IANA table has about 60.
const MAX_EXTENSIONS: usize = 256;
/// SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const HELLO_RETRY_REQUEST_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Certificate types (IANA TLS Certificate Types).
const X509: u8 = 0;
const RAW_PUBLIC_KEY: u8 = 2;

/// Extension types (IANA TLS ExtensionType).
mod extension {
    pub const SERVER_NAME: u16 = 0;
    /// cert_type (RFC 6091).
    pub const CERTIFICATE_TYPE: u16 = 9;
    pub const SIGNATURE_ALGORITHMS: u16 = 13;
    pub const ALPN: u16 = 16;
    pub const CLIENT_CERTIFICATE_TYPE: u16 = 19;
    pub const SERVER_CERTIFICATE_TYPE: u16 = 20;
    pub const COMPRESS_CERTIFICATE: u16 = 27;
    pub const DELEGATED_CREDENTIAL: u16 = 34;
    pub const SESSION_TICKET: u16 = 35;
    /// key_share until draft 22.
    pub const KEY_SHARE_OF_DRAFTS: u16 = 40;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const KEY_SHARE: u16 = 51;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
    /// draft-ietf-tls-esni-01 to -06.
    pub const ENCRYPTED_SERVER_NAME: u16 = 0xffce;
}

#[derive(Debug, Default)]
pub(super) struct ClientHello {
    pub random: [u8; 32],
    pub session_id: Option<SessionId>,
    pub ticket: Option<SessionHandle>,
    pub version: Option<Version>,
    pub server_name: Option<String>,
    pub alpn: Vec<String>,
    pub early_data: bool,
    pub encrypted_client_hello: Option<EncryptedClientHello>,
    pub ja4: Option<Ja4>,
    pub delegated_credential: bool,
    pub certificate_compression: Vec<u16>,
    pub client_certificate_types: OfferedTypes,
    /// Raw public keys, for either side.
    pub raw_public_key: bool,
}

/// What the client may show in place of a chain of certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OfferedTypes {
    pub raw_public_key: bool,
    pub other: bool,
}

#[derive(Debug, Default)]
pub(super) struct ServerHello {
    pub retry: bool,
    pub random: [u8; 32],
    /// What the server issued or echoed; none in TLS 1.3, where it means nothing (RFC 8446 section 4.1.3).
    pub session_id: Option<SessionHandle>,
    pub version: Option<Version>,
    pub cipher_suite: u16,
    pub group: Option<u16>,
    pub alpn: Option<String>,
    pub pre_shared_key: bool,
    pub client_certificate_type: Option<CertificateType>,
    pub server_certificate_type: Option<CertificateType>,
}

/// Longest session ID (RFC 5246 section 7.4.1.2).
const SESSION_ID_MAX: usize = 32;

/// A session ID that a client offers. Few servers take it: it is hashed when one does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionId {
    bytes: [u8; SESSION_ID_MAX],
    length: u8,
}

impl SessionId {
    /// `None` if it is empty, which offers nothing, or longer than it may be.
    pub fn of(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; SESSION_ID_MAX];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        // At most SESSION_ID_MAX.
        (!id.is_empty()).then_some(SessionId { bytes, length: id.len() as u8 })
    }

    pub fn handle(&self) -> SessionHandle {
        SessionHandle::of(&self.bytes[..usize::from(self.length)])
    }
}

/// What both hellos begin with.
struct Opening<'a> {
    /// legacy_version.
    version: u16,
    random: [u8; 32],
    session_id: &'a [u8],
}

impl<'a> Opening<'a> {
    /// `None` if it is cut, or the session ID longer than it may be.
    fn read(cursor: &mut Cursor<'a>) -> Option<Self> {
        let (version, random) = (cursor.u16()?, *cursor.take(32)?.first_chunk()?);
        let session_id = cursor.vector8().filter(|id| id.len() <= SESSION_ID_MAX)?;
        Some(Opening { version, random, session_id })
    }
}

pub(super) fn client_hello(body: &[u8]) -> Result<ClientHello, IncompleteReason> {
    let mut cursor = Cursor(body);
    let mut read = || Some((Opening::read(&mut cursor)?, cursor.vector16()?, cursor.vector8()?));
    let (Opening { version, random, session_id }, suites, _compression_methods) =
        read().ok_or(IncompleteReason::Malformed)?;
    if !suites.len().is_multiple_of(2) {
        return Err(IncompleteReason::Malformed);
    }
    let mut hello = ClientHello {
        random,
        session_id: SessionId::of(session_id),
        version: highest_legacy(version),
        ..ClientHello::default()
    };
    let mut source = Ja4Source {
        legacy_version: version,
        cipher_suites: suites.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect(),
        ..Ja4Source::default()
    };
    for_each_extension(cursor.vector16(), |kind, data| {
        source.extensions.push(kind);
        let mut cursor = Cursor(data);
        match kind {
            extension::SERVER_NAME => hello.server_name = Some(text(server_name(data)?)),
            extension::ALPN => {
                hello.alpn = protocols(data)?;
                source.first_protocol = first_protocol(data).unwrap_or_default();
            }
            extension::SIGNATURE_ALGORITHMS => source.signature_algorithms = data,
            extension::CLIENT_CERTIFICATE_TYPE => {
                let types = cursor.vector8().unwrap_or_default();
                let offered = &mut hello.client_certificate_types;
                offered.raw_public_key = types.contains(&RAW_PUBLIC_KEY);
                offered.other |= types.iter().any(|&kind| ![X509, RAW_PUBLIC_KEY].contains(&kind));
                hello.raw_public_key |= offered.raw_public_key;
            }
            extension::SERVER_CERTIFICATE_TYPE => {
                hello.raw_public_key |= cursor.vector8().unwrap_or_default().contains(&RAW_PUBLIC_KEY);
            }
            extension::CERTIFICATE_TYPE => {
                let types = cursor.vector8().unwrap_or_default();
                hello.client_certificate_types.other |= types.iter().any(|&kind| kind != X509);
            }
            extension::COMPRESS_CERTIFICATE => {
                let algorithms = cursor.vector8().unwrap_or_default().chunks_exact(2).take(MAX_COMPRESSIONS);
                hello.certificate_compression =
                    algorithms.map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            }
            extension::DELEGATED_CREDENTIAL => hello.delegated_credential = true,
            extension::SESSION_TICKET if !data.is_empty() => hello.ticket = Some(SessionHandle::of(data)),
            extension::EARLY_DATA => hello.early_data = true,
            extension::ENCRYPTED_CLIENT_HELLO => {
                // ECHClientHelloType (RFC 9849 section 5).
                hello.encrypted_client_hello = Some(match data.first() {
                    Some(0) => EncryptedClientHello::OuterOrGrease,
                    Some(1) => EncryptedClientHello::Inner,
                    _ => EncryptedClientHello::Unrecognised,
                });
            }
            extension::ENCRYPTED_SERVER_NAME => {
                hello.encrypted_client_hello.get_or_insert(EncryptedClientHello::ServerName);
            }
            extension::SUPPORTED_VERSIONS => {
                let list = cursor.vector8()?;
                source.supported_versions = Some(list);
                let offered = list.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                hello.version = offered.filter_map(Version::from_wire).max().or(hello.version);
            }
            _ => {}
        }
        Some(())
    })?;
    hello.ja4 = Some(source.fingerprint());
    Ok(hello)
}

/// ServerHello of SSLv3 to TLS 1.3, and of its drafts.
pub(super) fn server_hello(body: &[u8]) -> Result<ServerHello, IncompleteReason> {
    let version = Cursor(body).u16().and_then(Version::from_wire);
    if let Some(version) = version.filter(|version| version.is_modern()) {
        return server_hello_of_draft(version, body);
    }
    let mut cursor = Cursor(body);
    let mut read = || Some((Opening::read(&mut cursor)?, cursor.u16()?, cursor.u8()?));
    let (Opening { version, random, session_id }, cipher_suite, _compression_method) =
        read().ok_or(IncompleteReason::Malformed)?;
    if !(0x0300..=0x0303).contains(&version) {
        return Err(IncompleteReason::Malformed);
    }
    let mut hello = ServerHello {
        retry: random == HELLO_RETRY_REQUEST_RANDOM,
        random,
        version: Version::from_wire(version),
        cipher_suite,
        ..ServerHello::default()
    };
    // SSLv3 has none (RFC 6101 section 5.6.1.3).
    hello.read_extensions(if version == 0x0300 { None } else { cursor.vector16() })?;
    let version = hello.version.ok_or(IncompleteReason::Malformed)?;
    if !version.is_modern() && !session_id.is_empty() {
        hello.session_id = Some(SessionHandle::of(session_id));
    }
    Ok(hello)
}

/// ServerHello of TLS 1.3 before draft 22: without session ID and compression, the version in its own place.
fn server_hello_of_draft(version: Version, body: &[u8]) -> Result<ServerHello, IncompleteReason> {
    let mut cursor = Cursor(body);
    let mut read = || {
        let _version = cursor.u16()?;
        let random = *cursor.take(32)?.first_chunk()?;
        let cipher_suite = cursor.u16()?;
        Some((random, cipher_suite, cursor.vector16()?))
    };
    let (random, cipher_suite, extensions) = read().ok_or(IncompleteReason::Malformed)?;
    let version = match version {
        // Drafts before 16 called themselves final, and said which they were in an extension of their own.
        Version::Tls13 => Version::Tls13Draft(0),
        // In that place such a version means nothing.
        version if version.has_final_form() => return Err(IncompleteReason::Malformed),
        version => version,
    };
    let mut hello = ServerHello { random, version: Some(version), cipher_suite, ..ServerHello::default() };
    hello.read_extensions(Some(extensions))?;
    Ok(hello)
}

/// HelloRetryRequest as a message of its own (draft 21 and before): its version.
pub(super) fn hello_retry_request_of_draft(body: &[u8]) -> Result<Version, IncompleteReason> {
    let version = Cursor(body).u16().and_then(Version::from_wire);
    version
        .filter(|version| version.is_modern() && !version.has_final_form())
        .ok_or(IncompleteReason::Malformed)
}

impl ServerHello {
    fn read_extensions(&mut self, list: Option<&[u8]>) -> Result<(), IncompleteReason> {
        let mut group_of_draft = None;
        for_each_extension(list, |kind, data| {
            let mut cursor = Cursor(data);
            match kind {
                extension::ALPN => self.alpn = protocols(data)?.into_iter().next(),
                extension::PRE_SHARED_KEY => self.pre_shared_key = true,
                extension::SUPPORTED_VERSIONS => self.version = Version::from_wire(cursor.u16()?),
                extension::KEY_SHARE => self.group = Some(cursor.u16()?),
                extension::KEY_SHARE_OF_DRAFTS => group_of_draft = cursor.u16(),
                extension::CLIENT_CERTIFICATE_TYPE => {
                    self.client_certificate_type = cursor.u8().map(CertificateType::from_wire);
                }
                extension::SERVER_CERTIFICATE_TYPE => {
                    self.server_certificate_type = cursor.u8().map(CertificateType::from_wire);
                }
                extension::CERTIFICATE_TYPE => {
                    let both = cursor.u8().map(CertificateType::from_wire);
                    self.client_certificate_type = self.client_certificate_type.or(both);
                    self.server_certificate_type = self.server_certificate_type.or(both);
                }
                _ => {}
            }
            Some(())
        })?;
        if self.version != Some(Version::Tls13) {
            self.group = self.group.or(group_of_draft);
        }
        Ok(())
    }
}

/// legacy_version: above 1.2 it means 1.2, since 1.3 is only offered by extension (RFC 8446 section 4.1.2).
fn highest_legacy(version: u16) -> Option<Version> {
    if version > 0x0303 && version >> 8 == 3 { Some(Version::Tls12) } else { Version::from_wire(version) }
}

/// Calls `each` with type and body until it refuses one. A list that is cut is malformed; bytes after it are not
/// looked at.
fn for_each_extension<'a>(
    list: Option<&'a [u8]>,
    mut each: impl FnMut(u16, &'a [u8]) -> Option<()>,
) -> Result<(), IncompleteReason> {
    let mut cursor = Cursor(list.unwrap_or_default());
    for _ in 0..MAX_EXTENSIONS {
        if cursor.0.is_empty() {
            return Ok(());
        }
        let read = cursor.u16().and_then(|kind| Some((kind, cursor.vector16()?)));
        let (kind, data) = read.ok_or(IncompleteReason::Malformed)?;
        each(kind, data).ok_or(IncompleteReason::Malformed)?;
    }
    Err(IncompleteReason::Malformed)
}

/// The first host_name of a server_name extension (RFC 6066 section 3).
fn server_name(data: &[u8]) -> Option<&[u8]> {
    let mut list = Cursor(Cursor(data).vector16()?);
    let _name_type = list.u8()?;
    list.vector16()
}

/// The list of an ALPN extension (RFC 7301 section 3.1), at most [`MAX_ALPN`].
fn protocols(data: &[u8]) -> Option<Vec<String>> {
    let mut list = Cursor(Cursor(data).vector16()?);
    let mut protocols = Vec::new();
    while !list.0.is_empty() && protocols.len() < MAX_ALPN {
        protocols.push(text(list.vector8()?));
    }
    Some(protocols)
}

/// The first value of an ALPN extension, which need not be UTF-8.
fn first_protocol(data: &[u8]) -> Option<&[u8]> {
    Cursor(Cursor(data).vector16()?).vector8()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
