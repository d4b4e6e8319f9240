//! Message heads as HTTP/1, RTSP and SIP share them: a start line, fields, an empty line, then a body (RFC 9112).

use memchr::memchr;

use super::text::{Line, Lines, MAX_COMMANDS, is_one_of, word};
use super::{Credential, Dialogue};

/// Fields whose value is a key or token by itself, as APIs and infrastructure commonly name them; in lower case, as
/// HTTP/2 sends them.
pub(super) const KEY_FIELDS: &[&[u8]] = &[
    b"x-api-key",
    b"x-apikey",
    b"api-key",
    b"apikey",
    b"x-api-token",
    b"x-auth-token",
    b"x-auth-key",
    b"x-access-token",
    b"x-subject-token",
    b"x-storage-token",
    b"private-token",
    b"job-token",
    b"deploy-token",
    b"x-vault-token",
    b"x-consul-token",
    b"x-nomad-token",
    b"x-goog-api-key",
    b"x-functions-key",
    b"x-rapidapi-key",
    b"x-gitlab-token",
    b"ocp-apim-subscription-key",
    b"dd-api-key",
];
/// Schemes of Authorization that are no registered ones and carry a key as it is.
const KEY_SCHEMES: &[&[u8]] = &[b"Token", b"ApiKey", b"Api-Key", b"GenieKey"];
/// Largest chunk whose length is read: any that could end within what is looked at.
const MAX_CHUNK_DIGITS: usize = 8;

/// A start line and the fields behind it, as far as they arrived.
pub(super) struct Head<'a> {
    bytes: &'a [u8],
    start: Line<'a>,
}

/// What follows a head.
enum Body {
    Length(usize),
    Chunked,
    /// Up to the end of the connection, if it is an answer.
    Unsaid,
}

impl<'a> Head<'a> {
    /// The head that begins at an offset, once its start line is whole.
    pub(super) fn read(bytes: &'a [u8], at: usize) -> Option<Self> {
        // An empty line before a request is to be ignored (RFC 9112 section 2.2).
        let start = Lines::from(bytes, at).find(|line| !line.text.is_empty())?;
        Some(Head { bytes, start })
    }

    /// The first line.
    pub(super) fn start(&self) -> &'a [u8] {
        self.start.text
    }

    fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        Lines::from(self.bytes, self.start.end).take_while(|line| !line.text.is_empty()).filter_map(|line| {
            let colon = memchr(b':', line.text)?;
            Some((&line.text[..colon], line.text[colon + 1..].trim_ascii()))
        })
    }

    /// The value of a field.
    pub(super) fn field(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.fields().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Bytes up to and with the empty line, once that arrived.
    pub(super) fn end(&self) -> Option<usize> {
        Lines::from(self.bytes, self.start.end).find(|line| line.text.is_empty()).map(|line| line.end)
    }

    /// The first credential of the fields.
    pub(super) fn credential(&self) -> Option<Credential> {
        self.fields().find_map(|(name, value)| credential(name, value))
    }

    /// Where the next message begins, once that is known. `unsaid` is what is meant if nothing is said of a body.
    pub(super) fn next(&self, unsaid: Option<usize>) -> Option<usize> {
        let end = self.end()?;
        match self.body() {
            Body::Length(length) => Some(end.saturating_add(length)),
            Body::Chunked => chunks_end(self.bytes, end),
            Body::Unsaid => Some(end.saturating_add(unsaid?)),
        }
    }

    fn body(&self) -> Body {
        if let Some(coding) = self.field(b"Transfer-Encoding") {
            return if coding.to_ascii_lowercase().ends_with(b"chunked") {
                Body::Chunked
            } else {
                Body::Unsaid
            };
        }
        match self.field(b"Content-Length") {
            Some(digits) if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
                let add = |length: usize, digit: &u8| {
                    length.saturating_mul(10).saturating_add(usize::from(digit - b'0'))
                };
                Body::Length(digits.iter().fold(0, add))
            }
            _ => Body::Unsaid,
        }
    }
}

/// RFC 9112 section 7.1.
fn chunks_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut lines = Lines::from(bytes, at);
    loop {
        let size = lines.next()?;
        let digits = size.text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if digits == 0 || digits > MAX_CHUNK_DIGITS {
            return None;
        }
        let length = std::str::from_utf8(&size.text[..digits]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return lines.find(|line| line.text.is_empty()).map(|line| line.end);
        }
        lines.pass(length)?;
        lines.next()?;
    }
}

/// The kind of a field's credential.
fn credential(name: &[u8], value: &[u8]) -> Option<Credential> {
    if is_one_of(name, &[b"Authorization", b"Proxy-Authorization"]) {
        let (scheme, rest) = word(value);
        return match scheme.to_ascii_lowercase().as_slice() {
            _ if rest.is_empty() => None,
            b"basic" => Some(Credential::HttpBasic),
            b"bearer" => Some(Credential::HttpBearer),
            _ => is_one_of(scheme, KEY_SCHEMES).then_some(Credential::HttpApiKey),
        };
    }
    (!value.is_empty() && is_one_of(name, KEY_FIELDS)).then_some(Credential::HttpApiKey)
}

/// The first credential of the client's messages, whose start lines name this version.
pub(super) fn credentials(client: &[u8], version: &[u8]) -> Dialogue {
    let mut dialogue = Dialogue::default();
    let mut at = 0;
    for _ in 0..MAX_COMMANDS {
        let Some(head) = Head::read(client, at) else { return dialogue };
        if !head.start().windows(version.len()).any(|window| window == version) {
            return dialogue.ended();
        }
        dialogue.note(head.credential());
        if dialogue.credential.is_some() {
            return dialogue.ended();
        }
        let Some(next) = head.next(Some(0)) else { return dialogue };
        at = next;
    }
    dialogue.ended()
}
