//! What lists of workloads and of their identities have in common: the answer of the daemon, what it left out, and cells.

use std::io::{self, Write};
use std::path::Path;

use super::Failure;
use super::output::{Colour, coloured};
use super::table::{cut, cut_path};
use crate::api::{self, WorkloadList};
use crate::display::{display_safe, json_line};
use crate::record::{
    GAP_SCHEMA, GapRecord, IdentityFitName, IdentityFitRecord, KnownWorkloadRecord, WallTime, WorkloadRecord,
};

/// Width in characters of the name of a workload; longer ones are cut with `…`.
pub(super) const WORKLOAD: usize = 32;
/// Cause of a gap: the list is longer than this program takes.
const LIST_CUT: &str = "list_cut";
/// Cause of a gap: certificates that workloads of the list presented.
pub(super) const CERTIFICATES_FORGOTTEN: &str = "certificates_forgotten";

/// What the daemon knows, by kind and name.
pub(super) fn ask(socket: &Path) -> Result<WorkloadList, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut list = runtime.block_on(api::workloads(socket))?;
    let order = |one: &KnownWorkloadRecord| (one.workload.kind.clone(), one.key.clone());
    list.workloads.sort_by_cached_key(order);
    if list.is_cut {
        list.left_out.push(gap(LIST_CUT, None));
    }
    Ok(list)
}

/// What a list does not have.
pub(super) fn gap(cause: &str, lost: Option<u64>) -> GapRecord {
    GapRecord { schema: GAP_SCHEMA.into(), from: None, to: now(), cause: cause.to_owned(), lost }
}

pub(super) fn now() -> WallTime {
    WallTime(i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX))
}

pub(super) fn write_json(record: &impl serde::Serialize, output: &mut impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    json_line(record, &mut line)?;
    output.write_all(&line)
}

pub(super) fn print_left_out(gap: &GapRecord, output: &mut impl Write) -> io::Result<()> {
    let lost = gap.lost.map_or_else(|| "some".to_owned(), |lost| lost.to_string());
    let (what, why) = match &*gap.cause {
        LIST_CUT => ("", "the list is longer than this program takes"),
        CERTIFICATES_FORGOTTEN => (" certificates", "the daemon had no room for more"),
        _ => ("", "the daemon had no room for more"),
    };
    writeln!(output, "-- {lost}{what} are left out: {why} ({})", display_safe(&gap.cause))
}

/// What it is called, aligned; the kind stands beside it.
pub(super) fn name(workload: &WorkloadRecord, key: &str) -> String {
    let name = key.strip_prefix(&*workload.kind).and_then(|rest| rest.strip_prefix(':'));
    let name = display_safe(name.unwrap_or(key));
    match &*workload.kind {
        "executable" => cut_path(&name, WORKLOAD),
        _ => cut(&name, WORKLOAD),
    }
}

/// The identity, else the fingerprint.
pub(super) fn identity(identity: Option<&str>, sha256: Option<&str>) -> String {
    identity.map_or_else(|| format!("sha256:{}", sha256.unwrap_or_default()), str::to_owned)
}

/// By connections as client and as server.
pub(super) fn roles(client: u64, server: u64) -> &'static str {
    match (client > 0, server > 0) {
        (true, true) => "both",
        (true, false) => "client",
        (false, _) => "server",
    }
}

/// `until 2026-12-01`, or since when not any more; at least `width` wide.
pub(super) fn validity(end: Option<WallTime>, now: WallTime, width: usize, colour: bool) -> String {
    let Some(end) = end else { return " ".repeat(width) };
    let date: String = end.to_string().chars().take("2026-12-01".len()).collect();
    match end < now {
        true => coloured(&format!("{:<width$}", format!("expired {date}")), Colour::Bad, colour),
        false => format!("{:<width$}", format!("until {date}")),
    }
}

pub(super) fn fit(answer: &IdentityFitRecord, colour: bool) -> String {
    let shade = match answer.status {
        IdentityFitName::Fits => Colour::Good,
        IdentityFitName::DoesNotFit => Colour::Bad,
        IdentityFitName::NoRule | IdentityFitName::Unknown => Colour::Faint,
    };
    coloured(&answer.status.as_str().replace('_', " "), shade, colour)
}
