//! XMPP (RFC 6120): the client opens a stream.

use super::sasl::plain_has_password;
use super::text::MAX_COMMANDS;
use super::{Credential, Dialogue, Match, Upgrade, begins};
use crate::tls::PEEK;

const STREAM: &[u8] = b"<stream:stream";

pub(super) fn xmpp(client: &[u8], _server: &[u8]) -> Match {
    let declared = begins(client, b"<?xml ");
    if declared != Match::Yes {
        return declared.or(begins(client, STREAM));
    }
    // Nothing but white space may stand between.
    let Some(end) = client.windows(2).position(|two| two == b"?>") else {
        return if client.len() < PEEK { Match::NotYet } else { Match::No };
    };
    match begins(client[end + 2..].trim_ascii_start(), STREAM) {
        Match::NotYet if client.len() >= PEEK => Match::No,
        found => found,
    }
}

/// STARTTLS, SASL PLAIN (also as of XEP-0388) and the password of XEP-0078.
pub(super) fn listen(client: &[u8], server: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut from_client = Elements { bytes: client, at: 0 };
    let mut is_plain = false;
    for _ in 0..MAX_COMMANDS {
        let Some(element) = from_client.next() else { return dialogue };
        match element.name {
            b"starttls" => return starttls(dialogue, from_client, element, server),
            b"auth" | b"authenticate" => {
                is_plain =
                    contains(element.attributes, b"'PLAIN'") || contains(element.attributes, b"\"PLAIN\"");
                if is_plain && from_client.content(element).is_some_and(plain_has_password) {
                    dialogue.note(Some(Credential::XmppPlain));
                }
            }
            b"initial-response" | b"response"
                if is_plain && from_client.content(element).is_some_and(plain_has_password) =>
            {
                dialogue.note(Some(Credential::XmppPlain));
            }
            b"password" if from_client.content(element).is_some_and(|password| !password.is_empty()) => {
                dialogue.note(Some(Credential::XmppPlain));
            }
            _ => {}
        }
        if dialogue.credential.is_some() {
            return dialogue.ended();
        }
    }
    dialogue.ended()
}

/// What the server makes of the client's wish: it proceeds, or ends the stream (RFC 6120 section 5.4.2).
fn starttls<'a>(
    dialogue: Dialogue,
    mut from_client: Elements<'a>,
    wish: Element<'a>,
    server: &[u8],
) -> Dialogue {
    let mut from_server = Elements { bytes: server, at: 0 };
    while let Some(element) = from_server.next() {
        match element.name {
            b"proceed" => {
                return match (from_client.close(wish), from_server.close(element)) {
                    (Some(client), Some(server)) => dialogue.switched(Upgrade::Xmpp, client, server),
                    _ => dialogue.asking(),
                };
            }
            b"failure" if contains(element.attributes, b"urn:ietf:params:xml:ns:xmpp-tls") => {
                return dialogue.ended();
            }
            _ => {}
        }
    }
    dialogue.asking()
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// A tag that arrived whole.
#[derive(Clone, Copy)]
struct Element<'a> {
    /// Without its namespace prefix; the name of an end tag begins with a slash.
    name: &'a [u8],
    attributes: &'a [u8],
    is_empty: bool,
    /// Bytes up to and with its `>`.
    end: usize,
}

/// The tags of one direction, as far as an opening needs XML.
#[derive(Clone, Copy)]
struct Elements<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Elements<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let rest = self.bytes.get(self.at..)?;
        let start = rest.iter().position(|&byte| byte == b'<')?;
        let rest = &rest[start + 1..];
        let mut quote = None;
        let length = rest.iter().position(|&byte| match (quote, byte) {
            (None, b'\'' | b'"') => {
                quote = Some(byte);
                false
            }
            (Some(open), _) if open == byte => {
                quote = None;
                false
            }
            (None, b'>') => true,
            _ => false,
        })?;
        self.at += start + 1 + length + 1;
        let (inside, is_empty) = match rest[..length].strip_suffix(b"/") {
            Some(inside) => (inside, true),
            None => (&rest[..length], false),
        };
        let name_end = inside.iter().position(u8::is_ascii_whitespace).unwrap_or(inside.len());
        let (name, attributes) = inside.split_at(name_end);
        let name = match name.iter().position(|&byte| byte == b':') {
            Some(colon) if !name.starts_with(b"/") => &name[colon + 1..],
            _ => name,
        };
        Some(Element { name, attributes, is_empty, end: self.at })
    }

    /// The text up to the next tag, once that has begun.
    fn content(&self, element: Element<'a>) -> Option<&'a [u8]> {
        let rest = self.bytes.get(element.end..)?;
        let length = rest.iter().position(|&byte| byte == b'<')?;
        if element.is_empty { None } else { Some(&rest[..length]) }
    }

    /// Where an element without content ends: with its tag, or with the end tag right behind.
    fn close(&mut self, element: Element<'a>) -> Option<usize> {
        if element.is_empty {
            return Some(element.end);
        }
        self.at = element.end;
        self.next().filter(|next| next.name.starts_with(b"/")).map(|next| next.end)
    }
}
