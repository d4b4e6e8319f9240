//! What a connection has of its own, and how a record becomes whole again out of that and what repeats ([`super::repeated`]).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::record::{
    ByteCounts, CloseReasonName, ConnectionRecord, DirectionBytes, EndpointRecord, HolderRecord,
    ProcessRecord, WallTime,
};

/// What a connection has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub id: ConnectionId,
    pub opened: i64,
    pub revision: u32,
    pub r#final: bool,
    pub client_port: u16,
    pub decided: Option<i64>,
    pub closed: Option<i64>,
    pub close_reason: Option<CloseReasonName>,
    pub session_id: Option<[u8; 16]>,
    pub bytes: Option<ByteCounts>,
    pub examined: DirectionBytes,
    /// JSON of [`Rest`], if there is any.
    pub rest: Option<String>,
}

/// Who held one side's socket.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Held {
    pub owner: Option<Arc<ProcessRecord>>,
    pub holders: Vec<HolderRecord>,
}

/// A connection in parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts {
    pub row: Row,
    /// The address of the client, if its end has none.
    pub visitor: Option<String>,
    /// The record with blanks, and without its ends.
    pub answer: ConnectionRecord,
    pub client: EndpointRecord,
    pub server: EndpointRecord,
    pub held: [Held; 2],
}

/// What few connections have.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rest {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    client_translated: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    server_translated: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_inherited_from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server_inherited_from: Option<String>,
}

/// Connections that were opened in the same nanosecond are moved on, by less than this many: an agent that finds connections
/// older than itself meets all of them at once.
pub(super) const MAX_SHIFT: i64 = NANOSECONDS_PER_MILLISECOND;

/// Nanoseconds in a row that are tried.
pub(super) const MAX_TRIES: i64 = 1_000;

/// The id of a connection, split where its time ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ConnectionId {
    pub milliseconds: i64,
    pub chance: [u8; 10],
}

impl ConnectionId {
    /// `None` if it is no UUID of version 7 (RFC 9562 section 5.7).
    pub fn parse(text: &str) -> Option<ConnectionId> {
        let id = Uuid::try_parse(text).ok()?;
        (id.get_version_num() == 7).then_some(())?;
        let [a, b, c, d, e, f, chance @ ..] = id.into_bytes();
        Some(ConnectionId { milliseconds: i64::from_be_bytes([0, 0, a, b, c, d, e, f]), chance })
    }

    /// Of what the store keeps of it.
    pub fn of(opened: i64, chance: [u8; 10]) -> ConnectionId {
        ConnectionId { milliseconds: opened / NANOSECONDS_PER_MILLISECOND, chance }
    }

    /// From where on a connection whose nanosecond is taken looks for a free one: its id has been drawn by chance, so that they do not
    /// queue up.
    pub fn spread(self) -> i64 {
        let [.., a, b, c, d] = self.chance;
        1 + i64::from(u32::from_be_bytes([a, b, c, d])) % (MAX_SHIFT - MAX_TRIES - 1)
    }

    /// When connections with such an id were opened, in nanoseconds: from, to.
    pub fn opened(self) -> (i64, i64) {
        let from = self.milliseconds.saturating_mul(NANOSECONDS_PER_MILLISECOND);
        (from, from.saturating_add(NANOSECONDS_PER_MILLISECOND - 1))
    }
}

impl std::fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.milliseconds.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&self.chance);
        Uuid::from_bytes(bytes).hyphenated().fmt(f)
    }
}

const NANOSECONDS_PER_MILLISECOND: i64 = 1_000_000;

impl Row {
    /// `None` if its id is not one of the time when it was opened: then it is of no agent.
    pub fn of(record: &ConnectionRecord) -> Option<Row> {
        let id = ConnectionId::parse(&record.id)?;
        let opened = record.opened.0;
        (id == ConnectionId::of(opened, id.chance)).then_some(())?;
        let session_id = match &record.session_id {
            Some(text) => Some(from_hex(text)?),
            None => None,
        };
        let after = |time: Option<WallTime>| time.map(|time| time.0.saturating_sub(opened));
        Some(Row {
            id,
            opened,
            revision: record.revision,
            r#final: record.r#final,
            client_port: record.client.port,
            decided: after(record.decided),
            closed: after(record.closed),
            close_reason: record.close_reason,
            session_id,
            bytes: record.bytes,
            examined: record.cleartext_examined,
            rest: Rest::of(record)?,
        })
    }
}

impl Rest {
    /// As JSON; `Some(None)` if there is nothing.
    fn of(record: &ConnectionRecord) -> Option<Option<String>> {
        let ConnectionRecord { client, server, .. } = record;
        let nothing = client.translated.is_empty()
            && server.translated.is_empty()
            && client.inherited_from.is_none()
            && server.inherited_from.is_none();
        if nothing {
            return Some(None);
        }
        let rest = Rest {
            client_translated: client.translated.clone(),
            server_translated: server.translated.clone(),
            client_inherited_from: client.inherited_from.clone(),
            server_inherited_from: server.inherited_from.clone(),
        };
        Some(Some(serde_json::to_string(&rest).ok()?))
    }
}

impl Parts {
    /// The record as it was.
    pub fn join(self) -> Result<ConnectionRecord, serde_json::Error> {
        let Parts { row, visitor, answer, mut client, mut server, held: [by_client, by_server] } = self;
        let rest: Rest = row.rest.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
        client.address = visitor.unwrap_or(client.address);
        client.port = row.client_port;
        client.translated = rest.client_translated;
        server.translated = rest.server_translated;
        client.inherited_from = rest.client_inherited_from;
        server.inherited_from = rest.server_inherited_from;
        for (end, held) in [(&mut client, by_client), (&mut server, by_server)] {
            end.process = held.owner;
            end.processes = held.holders;
        }
        let at = |after: Option<i64>| after.map(|after| WallTime(row.opened.saturating_add(after)));
        Ok(ConnectionRecord {
            id: row.id.to_string(),
            revision: row.revision,
            r#final: row.r#final,
            session_id: row.session_id.map(|id| to_hex(&id)),
            opened: WallTime(row.opened),
            decided: at(row.decided),
            closed: at(row.closed),
            close_reason: row.close_reason,
            client,
            server,
            cleartext_examined: row.examined,
            bytes: row.bytes,
            ..answer
        })
    }
}

/// Bytes of lower- or upper-case hex; `None` if it is not that, or not so many.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    (digits.len() == 2 * N).then_some(())?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    Some(bytes)
}

/// Lower-case hex.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
