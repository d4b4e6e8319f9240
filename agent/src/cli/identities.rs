//! `countersign identities`

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::configuration::daemon_socket;
use super::list_arguments::IdentitiesArguments;
use super::output::{colour, stdout};
use super::table::cut;
use super::workloads::{self, WORKLOAD};
use super::{Exit, Failure};
use crate::api::WorkloadList;
use crate::display::display_safe;
use crate::record::{
    IDENTITY_SCHEMA, IdentityRecord, IdentityUseRecord, KnownWorkloadRecord, PresentedRecord, WallTime,
};

/// Widths in characters; longer names are cut with `…`, and `--json` has them whole.
const IDENTITY: usize = 44;
const ROLE: usize = 6;
const UNTIL: usize = 18;

pub(super) fn list(arguments: &IdentitiesArguments) -> Result<Exit, Failure> {
    let socket = daemon_socket(arguments.socket.as_deref(), arguments.config.as_deref())?;
    let list = workloads::ask(&socket)?;
    let mut output = stdout();
    let rows = rows(&list);
    if arguments.json {
        print_json(&rows, &mut output)?;
    } else {
        print(&rows, workloads::now(), colour(), &mut output)?;
        list.left_out.iter().try_for_each(|gap| workloads::print_left_out(gap, &mut output))?;
    }
    Ok(if rows.is_empty() { Exit::Negative } else { Exit::Success })
}

/// A certificate and a workload that presented it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    known: &'a KnownWorkloadRecord,
    presented: &'a PresentedRecord,
}

/// By identity, then by workload, the latest first.
pub(super) fn rows(list: &WorkloadList) -> Vec<Row<'_>> {
    let each = list
        .workloads
        .iter()
        .flat_map(|known| known.certificates.iter().map(move |presented| Row { known, presented }));
    let mut rows: Vec<Row<'_>> = each.collect();
    // Stable: workloads and their certificates stay in their order.
    rows.sort_by(|one, other| one.presented.identity.cmp(&other.presented.identity));
    rows
}

pub(super) fn print_json(rows: &[Row<'_>], output: &mut impl Write) -> io::Result<()> {
    let mut identities: BTreeMap<Option<&String>, IdentityRecord> = BTreeMap::new();
    for Row { known, presented } in rows {
        let record = identities.entry(presented.identity.as_ref()).or_insert_with(|| IdentityRecord {
            schema: IDENTITY_SCHEMA.into(),
            host: known.host.clone(),
            identity: presented.identity.clone(),
            presented: Vec::new(),
        });
        record.presented.push(IdentityUseRecord {
            workload: known.key.clone(),
            kind: known.workload.kind.clone(),
            name: known.workload.name.clone(),
            labels: known.labels.clone(),
            sha256: presented.sha256.clone(),
            spki_sha256: presented.spki_sha256.clone(),
            not_before: presented.not_before,
            not_after: presented.not_after,
            client: presented.client,
            server: presented.server,
            verification: presented.verification.clone(),
            identity_fit: presented.identity_fit.clone(),
            first_seen: presented.first_seen,
            last_seen: presented.last_seen,
        });
    }
    identities.values().try_for_each(|identity| workloads::write_json(identity, output))
}

pub(super) fn print(
    rows: &[Row<'_>],
    now: WallTime,
    colour: bool,
    output: &mut impl Write,
) -> io::Result<()> {
    writeln!(
        output,
        "{:<IDENTITY$} {:<WORKLOAD$} {:<ROLE$} {:<UNTIL$} FIT",
        "IDENTITY", "WORKLOAD", "ROLE", "VALID"
    )?;
    for Row { known, presented } in rows {
        let fit = presented.identity_fit.as_deref().map(|answer| workloads::fit(answer, colour));
        let line = format!(
            "{:<IDENTITY$} {:<WORKLOAD$} {:<ROLE$} {} {}",
            cut(&display_safe(&workloads::identity(presented)), IDENTITY),
            workloads::name(known),
            workloads::roles(presented),
            workloads::validity(presented, now, UNTIL, colour),
            fit.unwrap_or_default(),
        );
        writeln!(output, "{}", line.trim_end())?;
    }
    let mut identities: Vec<_> = rows.iter().map(|row| &row.presented.identity).collect();
    identities.dedup();
    let mut workloads: Vec<_> = rows.iter().map(|row| &row.known.key).collect();
    workloads.sort_unstable();
    workloads.dedup();
    writeln!(output, "\n{} identities of {} workloads", identities.len(), workloads.len())
}
