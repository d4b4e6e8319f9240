//! `countersign identities`

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use super::configuration::daemon_socket;
use super::list::{self, CERTIFICATES_FORGOTTEN, WORKLOAD};
use super::list_arguments::IdentitiesArguments;
use super::output::{colour, stdout};
use super::table::cut;
use super::{Exit, Failure};
use crate::api::WorkloadList;
use crate::config::Config;
use crate::display::display_safe;
use crate::record::{
    GapRecord, IDENTITY_SCHEMA, IdentityFitName, IdentityFitRecord, IdentityRecord, IdentityUseRecord,
    KnownWorkloadRecord, PresentedRecord, WallTime,
};
use crate::verdict::{self, FitRule};

/// Widths in characters; longer names are cut with `…`, and `--json` has them whole.
const IDENTITY: usize = 44;
const ROLE: usize = 6;
const UNTIL: usize = 18;

pub(super) fn list(arguments: &IdentitiesArguments) -> Result<Exit, Failure> {
    // What is tried must be right before anybody is asked.
    let tried = arguments.check.then(|| Config::load(arguments.config.as_deref())).transpose()?;
    let socket = match (&arguments.socket, &tried) {
        (None, Some(config)) => config.daemon.socket.clone(),
        (typed, _) => daemon_socket(typed.as_deref(), arguments.config.as_deref())?,
    };
    let mut list = list::ask(&socket)?;
    let rules: Option<Vec<Arc<FitRule>>> =
        tried.map(|config| config.identities.into_iter().map(Arc::new).collect());
    if let Some(rules) = &rules {
        judge(&mut list, rules);
    }
    let mut output = stdout();
    let left_out = left_out(&list);
    let rows = rows(&list);
    if arguments.json {
        left_out.iter().try_for_each(|gap| list::write_json(gap, &mut output))?;
        print_json(&rows, &mut output)?;
    } else {
        print(&rows, list::now(), colour(), &mut output)?;
        if let Some(rules) = &rules {
            print_verdict(&rows, rules.len(), &mut output)?;
        }
        left_out.iter().try_for_each(|gap| list::print_left_out(gap, &mut output))?;
        if rules.is_some() && !left_out.is_empty() {
            writeln!(output, "-- whether all fit cannot be told of what is left out")?;
        }
    }
    Ok(exit(&rows, rules.is_some(), &left_out, list.is_cut))
}

/// What the daemon had no room for, with the certificates that workloads of the list presented besides.
pub(super) fn left_out(list: &WorkloadList) -> Vec<GapRecord> {
    let forgotten: u64 = list.workloads.iter().map(|known| known.left_out.certificates).sum();
    let forgotten = (forgotten > 0).then(|| list::gap(CERTIFICATES_FORGOTTEN, Some(forgotten)));
    list.left_out.iter().cloned().chain(forgotten).collect()
}

/// What is not in the list may not fit.
pub(super) fn exit(rows: &[Row<'_>], checks: bool, left_out: &[GapRecord], is_cut: bool) -> Exit {
    if checks && !rows.iter().all(|row| row.is(IdentityFitName::Fits)) {
        return Exit::Negative;
    }
    match is_cut {
        true => Exit::Partial,
        false if rows.is_empty() || (checks && !left_out.is_empty()) => Exit::Negative,
        false => Exit::Success,
    }
}

/// Answers anew whether certificates fit, by rules that the daemon need not have.
pub(super) fn judge(list: &mut WorkloadList, rules: &[Arc<FitRule>]) {
    for known in &mut list.workloads {
        for presented in &mut known.certificates {
            let answer = verdict::fit(Some(&known.workload), &presented.leaf(), rules);
            presented.identity_fit = Some(answer.into());
        }
    }
}

/// A certificate and a workload that presented it.
#[derive(Debug)]
pub(super) struct Row<'a> {
    known: &'a KnownWorkloadRecord,
    presented: &'a PresentedRecord,
}

impl Row<'_> {
    fn is(&self, status: IdentityFitName) -> bool {
        self.presented.identity_fit.as_ref().is_some_and(|answer| answer.status == status)
    }
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
    identities.values().try_for_each(|identity| list::write_json(identity, output))
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
        let fit = presented.identity_fit.as_deref().map(|answer| list::fit(answer, colour));
        let line = format!(
            "{:<IDENTITY$} {:<WORKLOAD$} {:<ROLE$} {} {}",
            cut(
                &display_safe(&list::identity(presented.identity.as_deref(), Some(&presented.sha256))),
                IDENTITY
            ),
            list::name(&known.workload, &known.key),
            list::roles(presented.client, presented.server),
            list::validity(presented.not_after, now, UNTIL, colour),
            fit.unwrap_or_default(),
        );
        writeln!(output, "{}", line.trim_end())?;
        if let Some(why) = presented.identity_fit.as_deref().and_then(why) {
            writeln!(output, "  → {}", display_safe(&why))?;
        }
    }
    let mut identities: Vec<_> = rows.iter().map(|row| &row.presented.identity).collect();
    identities.dedup();
    let mut workloads: Vec<_> = rows.iter().map(|row| &row.known.key).collect();
    workloads.sort_unstable();
    workloads.dedup();
    writeln!(output, "\n{} identities of {} workloads", identities.len(), workloads.len())
}

/// Why an answer is not yes.
fn why(answer: &IdentityFitRecord) -> Option<String> {
    let rule = answer.rule.as_deref().unwrap_or("no rule");
    match answer.status {
        IdentityFitName::DoesNotFit => {
            let expected = match answer.expected.is_empty() {
                true => "nothing that is known".to_owned(),
                false => answer.expected.join(", "),
            };
            Some(format!("by {rule} it may present {expected}"))
        }
        IdentityFitName::Unknown => {
            Some(format!("by {rule}: {}", answer.reason.as_deref().unwrap_or("unknown")))
        }
        IdentityFitName::Fits | IdentityFitName::NoRule => None,
    }
}

/// How the rules that were tried did, and the workloads for which there is none.
pub(super) fn print_verdict(rows: &[Row<'_>], rules: usize, output: &mut impl Write) -> io::Result<()> {
    let count = |status| rows.iter().filter(|row| row.is(status)).count();
    writeln!(
        output,
        "by {rules} rules: {} fit, {} do not fit, {} without a rule, {} unknown",
        count(IdentityFitName::Fits),
        count(IdentityFitName::DoesNotFit),
        count(IdentityFitName::NoRule),
        count(IdentityFitName::Unknown),
    )?;
    let without = rows.iter().filter(|row| row.is(IdentityFitName::NoRule));
    let without: BTreeSet<&str> = without.map(|row| row.known.key.as_str()).collect();
    without.into_iter().try_for_each(|key| writeln!(output, "no rule for {}", display_safe(key)))
}
