//! HTTP/2 with prior knowledge by its connection preface (RFC 9113 section 3.4), gRPC by its first request's content type.

use super::cursor::{Cursor, Seen, crossed, heard};
use super::head::KEY_FIELDS;
use super::hpack::{Field, next_field};
use super::{Credential, Dialogue, Match, begins};
use crate::tls::PEEK;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// Its preface is there. Without a request it is told from gRPC by nothing: idle connections of pools, and checks of health.
pub(super) fn is_begun(client: &[u8]) -> bool {
    client.starts_with(PREFACE)
}

/// What is not gRPC.
pub(super) fn http2(client: &[u8], _server: &[u8]) -> Match {
    speaks(client, false)
}

/// What it is shows in the first request.
pub(super) fn grpc(client: &[u8], _server: &[u8]) -> Match {
    speaks(client, true)
}

fn speaks(client: &[u8], grpc: bool) -> Match {
    match (begins(client, PREFACE), first_request_is_grpc(client)) {
        (Match::Yes, Ok(is_grpc)) if is_grpc == grpc => Match::Yes,
        (Match::Yes, Err(Match::NotYet)) if client.len() < PEEK => Match::NotYet,
        (Match::Yes, Err(_)) if !grpc => Match::Yes,
        (Match::Yes, _) => Match::No,
        (other, _) => other,
    }
}

fn first_request_is_grpc(client: &[u8]) -> Seen<bool> {
    let mut client = Cursor::new(client);
    client.expect(PREFACE)?;
    loop {
        let Some(frame) = frame(&mut client)? else { continue };
        let mut block = frame.block;
        loop {
            match next_field(&mut block) {
                Ok(Some(field)) if field.is_named(b"content-type") && field.value.is_whole => {
                    return Ok(is_grpc(&field));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(Match::NotYet) if !frame.is_whole => return Err(Match::NotYet),
                // Fields that follow in another frame are not waited for.
                _ => return Ok(false),
            }
        }
    }
}

/// `application/grpc`, alone or with `+proto` and the like; not grpc-web, which is for browsers.
fn is_grpc(field: &Field) -> bool {
    field
        .value
        .after(b"application/grpc")
        .is_some_and(|mut rest| matches!(rest.next(), None | Some(b'+' | b';' | b' ')))
}

struct Fragment<'a> {
    block: Cursor<'a>,
    is_whole: bool,
}

/// The header block fragment of the next frame, if it has one.
fn frame<'a>(client: &mut Cursor<'a>) -> Seen<Option<Fragment<'a>>> {
    let length = client.big(3)?;
    let (kind, flags) = (client.byte()?, client.byte()?);
    let _stream = client.take(4)?;
    if kind != HEADERS && kind != CONTINUATION {
        client.take(length)?;
        return Ok(None);
    }
    let available = length.min(client.rest().len());
    let is_whole = available == length;
    let mut block = Cursor::new(client.take(available)?);
    if kind == HEADERS && flags & PADDED != 0 {
        let padding = usize::from(block.byte()?);
        if is_whole {
            let kept = block.rest().len().checked_sub(padding).ok_or(Match::No)?;
            block = Cursor::new(block.take(kept)?);
        }
    }
    if kind == HEADERS && flags & PRIORITY != 0 {
        block.take(5)?;
    }
    Ok(Some(Fragment { block, is_whole }))
}

/// A field that is divided between two frames is not looked at.
pub(super) fn listen(client: &[u8], _server: &[u8]) -> Dialogue {
    heard(requests(Cursor::new(client)))
}

fn requests(mut client: Cursor) -> Seen<Dialogue> {
    client.expect(PREFACE)?;
    loop {
        let Some(Fragment { mut block, .. }) = frame(&mut client)? else { continue };
        while let Ok(Some(field)) = next_field(&mut block) {
            if let Some(kind) = credential(&field) {
                return Ok(crossed(kind));
            }
        }
    }
}

fn credential(field: &Field) -> Option<Credential> {
    let has = |scheme: &[u8]| field.value.after(scheme).is_some_and(|mut rest| rest.next().is_some());
    if field.is_named(b"authorization") || field.is_named(b"proxy-authorization") {
        if has(b"basic ") {
            return Some(Credential::HttpBasic);
        }
        return has(b"bearer ").then_some(Credential::HttpBearer);
    }
    (KEY_FIELDS.iter().any(|name| field.is_named(name)) && has(b"")).then_some(Credential::HttpApiKey)
}

#[cfg(test)]
mod tests {
    use super::super::tests::assert_all_prefixes;
    use super::*;
    use crate::cleartext::{Name, Protocol, examine, name};

    const END_HEADERS: u8 = 0x04;

    /// Preface, an empty SETTINGS frame, and a request of these fields.
    fn request(fields: &[u8]) -> Vec<u8> {
        let length = u32::try_from(fields.len() + 2).unwrap().to_be_bytes();
        [
            PREFACE,
            b"\0\0\0\x04\0\0\0\0\0",
            &length[1..],
            &[HEADERS, END_HEADERS],
            b"\0\0\0\x01\x83\x86",
            fields,
        ]
        .concat()
    }

    /// A field with a name of the static table and a value as it is.
    fn field(index: u8, value: &[u8]) -> Vec<u8> {
        let index = if index < 15 { vec![index] } else { vec![0x0f, index - 15] };
        [&index[..], &[u8::try_from(value.len()).unwrap()], value].concat()
    }

    #[test]
    fn grpc_is_told_from_other_http_2() {
        assert_all_prefixes(Protocol::Grpc, &request(&field(31, b"application/grpc")), b"");
        assert_all_prefixes(Protocol::Grpc, &request(&field(31, b"application/grpc+proto")), b"");
        assert_all_prefixes(Protocol::Http2, &request(&field(31, b"application/grpc-web")), b"");
        assert_all_prefixes(Protocol::Http2, &request(&field(31, b"text/html")), b"");
        assert_all_prefixes(Protocol::Http2, &request(b""), b"");
        // By Huffman's code, as RFC 7541 has it: application/grpc.
        let huffman = b"\x0f\x10\x8b\x1d\x75\xd0\x62\x0d\x26\x3d\x4c\x4d\x65\x64";
        assert_all_prefixes(Protocol::Grpc, &request(huffman), b"");
        // A request too long for the prefix is HTTP/2.
        let long = request(&field(5, &[b'a'; 120]).repeat(3));
        assert_eq!(name(&long[..PEEK], b""), Name::Found(Protocol::Http2));
    }

    #[test]
    fn a_connection_without_a_request_has_a_name() {
        // SETTINGS and its acknowledgement, WINDOW_UPDATE, PING, GOAWAY.
        let idle = [
            PREFACE,
            b"\0\0\0\x04\0\0\0\0\0",
            b"\0\0\0\x04\x01\0\0\0\0",
            b"\0\0\x04\x08\0\0\0\0\0\0\x0f\0\0",
            b"\0\0\x08\x06\0\0\0\0\0abcdefgh",
            b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ]
        .concat();
        let settings = b"\0\0\0\x04\0\0\0\0\0";
        assert_eq!(name(&PREFACE[..PREFACE.len() - 1], b""), Name::Incomplete);
        for end in PREFACE.len()..=idle.len() {
            assert_eq!(name(&idle[..end], b""), Name::SoFar(Protocol::Http2), "{end}");
            assert_eq!(name(&idle[..end], settings), Name::SoFar(Protocol::Http2), "{end}");
        }
        // The request that comes at last still tells.
        let late = [&idle, &request(&field(31, b"application/grpc"))[PREFACE.len()..]].concat();
        assert_eq!(name(&late, settings), Name::Found(Protocol::Grpc));
        let late = [&idle, &request(&field(31, b"text/html"))[PREFACE.len()..]].concat();
        assert_eq!(name(&late, settings), Name::Found(Protocol::Http2));
    }

    #[test]
    fn credentials_are_seen_as_they_are_and_in_huffmans_code() {
        let said = |fields: &[u8]| examine(&request(fields), b"").dialogue.credential;
        assert_eq!(said(&field(23, b"Basic YTpi")), Some(Credential::HttpBasic));
        assert_eq!(said(&field(49, b"bearer abc")), Some(Credential::HttpBearer));
        assert_eq!(said(&field(23, b"Digest username=a")), None);
        assert_eq!(said(&field(23, b"Bearer ")), None);
        assert_eq!(said(b"\x00\x09x-api-key\x03abc"), Some(Credential::HttpApiKey));
        assert_eq!(said(b"\x00\x09x-api-kez\x03abc"), None);
        // "Bearer x" by Huffman's code.
        let huffman = HUFFMAN_BEARER;
        assert_eq!(
            said(&[&b"\x0f\x08"[..], &[0x80 | u8::try_from(huffman.len()).unwrap()], huffman].concat()),
            Some(Credential::HttpBearer)
        );
    }

    const HUFFMAN_BEARER: &[u8] = b"\xba\x51\xd8\x5b\x14\xf3";
}
