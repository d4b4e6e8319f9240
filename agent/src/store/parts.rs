//! A connection taken apart into what repeats and what does not, and put together again.
//!
//! What repeats is the record itself with blanks where each connection has its own values. A field that is added to
//! the record is so kept without being named here; if no two connections have the same value in it, it belongs to the row.

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
#[derive(Debug, Clone, PartialEq, Hash, Default)]
pub(super) struct Held {
    pub owner: Option<Arc<ProcessRecord>>,
    pub holders: Vec<HolderRecord>,
}

/// A connection in parts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts {
    pub row: Row,
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

impl Parts {
    /// `None` if its id is not one of the time when it was opened: then it is of no agent.
    pub fn of(mut record: ConnectionRecord) -> Option<Parts> {
        let id = ConnectionId::parse(&record.id)?;
        let opened = record.opened.0;
        (id == ConnectionId::of(opened, id.chance)).then_some(())?;
        let session_id = match &record.session_id {
            Some(text) => Some(from_hex(text)?),
            None => None,
        };
        let (mut client, mut server) =
            (std::mem::take(&mut record.client), std::mem::take(&mut record.server));
        let rest = Rest {
            client_translated: std::mem::take(&mut client.translated),
            server_translated: std::mem::take(&mut server.translated),
            client_inherited_from: client.inherited_from.take(),
            server_inherited_from: server.inherited_from.take(),
        };
        let rest = match rest == Rest::default() {
            true => None,
            false => Some(serde_json::to_string(&rest).ok()?),
        };
        let after = |time: Option<WallTime>| time.map(|time| time.0 - opened);
        let row = Row {
            id,
            opened,
            revision: std::mem::take(&mut record.revision),
            r#final: std::mem::take(&mut record.r#final),
            client_port: std::mem::take(&mut client.port),
            decided: after(record.decided.take()),
            closed: after(record.closed.take()),
            close_reason: record.close_reason.take(),
            session_id,
            bytes: record.bytes.take(),
            examined: std::mem::take(&mut record.cleartext_examined),
            rest,
        };
        record.id.clear();
        record.session_id = None;
        record.opened = WallTime(0);
        let held = [&mut client, &mut server]
            .map(|end| Held { owner: end.process.take(), holders: std::mem::take(&mut end.processes) });
        Some(Parts { row, answer: record, client, server, held })
    }

    /// The record as it was.
    pub fn join(self) -> Result<ConnectionRecord, serde_json::Error> {
        let Parts { row, answer, mut client, mut server, held: [by_client, by_server] } = self;
        let rest: Rest = row.rest.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
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
