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

/// A start line and the fields behind it, as far as they arrived.
pub(super) struct Head<'a> {
    bytes: &'a [u8],
    start: Line<'a>,
}

/// What follows a head (RFC 9112 section 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    Chunked,
    /// Nothing, or, if it is an answer, all up to the end of the connection.
    Unsaid,
    /// Lengths that contradict each other, or a coding without an end of its own.
    Unclear,
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

    /// What follows it, once all its fields are there.
    pub(super) fn body(&self) -> Body {
        let codings = self.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"Transfer-Encoding"));
        if let Some((_, coding)) = codings.last() {
            let is_chunked = coding.to_ascii_lowercase().ends_with(b"chunked");
            return if is_chunked { Body::Chunked } else { Body::Unclear };
        }
        let values = self.fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"Content-Length"));
        // Repeated by those who join messages: then all have to say the same (section 6.3).
        let lengths = values.flat_map(|(_, value)| value.split(|&byte| byte == b',')).map(length);
        lengths.fold(Body::Unsaid, |body, length| match (body, length) {
            (Body::Unsaid, Some(length)) => Body::Length(length),
            (Body::Length(first), Some(length)) if first == length => body,
            _ => Body::Unclear,
        })
    }
}

/// Decimal digits; what exceeds 64 bits is the most they hold.
fn length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    let add = |length: u64, digit: &u8| length.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| digits.iter().fold(0, add))
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
        // RTSP has no chunks (RFC 2326 section 4.4).
        let (Some(end), Body::Length(_) | Body::Unsaid) = (head.end(), head.body()) else { return dialogue };
        at = match head.body() {
            Body::Length(length) => end.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)),
            _ => end,
        };
    }
    dialogue.exhausted()
}
