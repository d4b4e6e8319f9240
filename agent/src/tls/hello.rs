//! ClientHello and ServerHello (RFC 8446 section 4.1, RFC 5246 section 7.4.1).

use tls_parser::{parse_tls_handshake_client_hello, parse_tls_handshake_server_hello};

use super::message::Cursor;
use super::{IncompleteReason, SessionHandle, Version};

/// Application protocols kept: browsers offer two, the longest known client eleven.
const MAX_ALPN: usize = 32;
/// Extensions looked at: the IANA table has about 60.
const MAX_EXTENSIONS: usize = 256;
/// SHA-256 of "HelloRetryRequest" (RFC 8446 section 4.1.3).
const HELLO_RETRY_REQUEST_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
    0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// Extension types (IANA TLS ExtensionType).
mod extension {
    pub const SERVER_NAME: u16 = 0;
    pub const ALPN: u16 = 16;
    pub const SESSION_TICKET: u16 = 35;
    pub const PRE_SHARED_KEY: u16 = 41;
    pub const EARLY_DATA: u16 = 42;
    pub const SUPPORTED_VERSIONS: u16 = 43;
    pub const KEY_SHARE: u16 = 51;
    pub const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
}

#[derive(Debug, Default)]
pub(super) struct ClientHello {
    pub random: [u8; 32],
    pub session_id: Option<SessionHandle>,
    pub ticket: Option<SessionHandle>,
    pub version: Option<Version>,
    pub server_name: Option<String>,
    pub alpn: Vec<String>,
    pub early_data: bool,
    pub encrypted_client_hello: bool,
}

#[derive(Debug, Default)]
pub(super) struct ServerHello {
    pub retry: bool,
    pub random: [u8; 32],
    pub session_id: Option<SessionHandle>,
    pub version: Option<Version>,
    pub cipher_suite: u16,
    pub group: Option<u16>,
    pub alpn: Option<String>,
    pub pre_shared_key: bool,
}

pub(super) fn client_hello(body: &[u8]) -> Result<ClientHello, IncompleteReason> {
    let (_, contents) =
        parse_tls_handshake_client_hello(body).map_err(|_error| IncompleteReason::Malformed)?;
    let mut hello = ClientHello {
        random: contents.random.try_into().map_err(|_error| IncompleteReason::Malformed)?,
        session_id: contents.session_id.map(SessionHandle::of),
        version: highest_legacy(contents.version.0),
        ..ClientHello::default()
    };
    for_each_extension(contents.ext, |kind, data| {
        let mut cursor = Cursor(data);
        match kind {
            extension::SERVER_NAME => hello.server_name = Some(text(server_name(data)?)),
            extension::ALPN => hello.alpn = protocols(data)?,
            extension::SESSION_TICKET if !data.is_empty() => hello.ticket = Some(SessionHandle::of(data)),
            extension::EARLY_DATA => hello.early_data = true,
            extension::ENCRYPTED_CLIENT_HELLO => hello.encrypted_client_hello = true,
            extension::SUPPORTED_VERSIONS => {
                let offered =
                    cursor.vector8()?.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
                hello.version = offered.filter_map(Version::from_wire).max().or(hello.version);
            }
            _ => {}
        }
        Some(())
    })?;
    Ok(hello)
}

pub(super) fn server_hello(body: &[u8]) -> Result<ServerHello, IncompleteReason> {
    let (_, contents) =
        parse_tls_handshake_server_hello(body).map_err(|_error| IncompleteReason::Malformed)?;
    let random: [u8; 32] = contents.random.try_into().map_err(|_error| IncompleteReason::Malformed)?;
    let mut hello = ServerHello {
        retry: random == HELLO_RETRY_REQUEST_RANDOM,
        random,
        session_id: contents.session_id.map(SessionHandle::of),
        version: Version::from_wire(contents.version.0),
        cipher_suite: contents.cipher.0,
        ..ServerHello::default()
    };
    for_each_extension(contents.ext, |kind, data| {
        let mut cursor = Cursor(data);
        match kind {
            extension::ALPN => hello.alpn = protocols(data)?.into_iter().next(),
            extension::PRE_SHARED_KEY => hello.pre_shared_key = true,
            extension::SUPPORTED_VERSIONS => hello.version = Version::from_wire(cursor.u16()?),
            extension::KEY_SHARE => hello.group = Some(cursor.u16()?),
            _ => {}
        }
        Some(())
    })?;
    if hello.version.is_none() { Err(IncompleteReason::Malformed) } else { Ok(hello) }
}

impl Version {
    /// From a code point; TLS 1.3 drafts 23 to 28 have the record layout of the final version.
    pub(super) fn from_wire(version: u16) -> Option<Version> {
        match version {
            0x0300 => Some(Version::Ssl3),
            0x0301 => Some(Version::Tls10),
            0x0302 => Some(Version::Tls11),
            0x0303 => Some(Version::Tls12),
            0x0304 | 0x7f17..=0x7f1c => Some(Version::Tls13),
            _ => None,
        }
    }

    /// As the public record names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Ssl3 => "SSLv3",
            Version::Tls10 => "1.0",
            Version::Tls11 => "1.1",
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        }
    }
}

/// legacy_version: above 1.2 it means 1.2, since 1.3 is only offered by extension (RFC 8446 section 4.1.2).
fn highest_legacy(version: u16) -> Option<Version> {
    if version > 0x0303 && version >> 8 == 3 { Some(Version::Tls12) } else { Version::from_wire(version) }
}

/// Calls `each` with type and body until it refuses one. A list that is cut is malformed; bytes after it are not
/// looked at.
fn for_each_extension(
    list: Option<&[u8]>,
    mut each: impl FnMut(u16, &[u8]) -> Option<()>,
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
