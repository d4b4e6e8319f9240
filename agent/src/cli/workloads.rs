//! `countersign workloads`

use std::io::{self, Write};

use super::ask::{self, Asked};
use super::configuration::daemon_socket;
use super::list::{
    WORKLOAD, ask as ask_table, fit, identity, name, now, print_left_out, roles, validity, write_json,
};
use super::list_arguments::WorkloadsArguments;
use super::output::{colour, stdout};
use super::rows::{TIME, counts, minute};
use super::table::cut;
use super::{Exit, Failure};
use crate::api::WorkloadList;
use crate::display::display_safe;
use crate::question::Described;
use crate::record::{
    IdentityFitName, IdentityFitRecord, KnownWorkloadRecord, LabelsRecord, RoleRecord, WallTime,
    WorkloadHistoryRecord, WorkloadRecord,
};

/// Widths in characters; longer names are cut with `…`, and `--json` has them whole.
const KIND: usize = 10;
const OWNER: usize = 16;
const CLIENT: usize = 26;
const IDENTITY: usize = 60;
const PURPOSE: usize = 100;

pub(super) fn list(arguments: WorkloadsArguments) -> Result<Exit, Failure> {
    arguments.check()?;
    if arguments.is_of_history() {
        let (question, history) = arguments.asked.parts();
        return ask::print(&question, &history, &mut |_| {});
    }
    let Asked { question, history } = arguments.asked;
    let socket = daemon_socket(history.whom.socket.as_deref(), history.whom.config.as_deref())?;
    let mut list = ask_table(&socket)?;
    let known = list.workloads.len();
    list.workloads.retain(|workload| question.wants(&described(workload)));
    let mut output = stdout();
    if history.json {
        print_json(&list, &mut output)?;
    } else {
        print(&list, known, now(), colour(), &mut output)?;
    }
    Ok(match (list.is_cut, list.workloads.is_empty()) {
        (true, _) => Exit::Partial,
        (false, true) => Exit::Negative,
        (false, false) => Exit::Success,
    })
}

/// What filters look at.
pub(super) fn described(known: &KnownWorkloadRecord) -> Described<'_> {
    Described {
        key: &known.key,
        workload: &known.workload,
        labels: known.labels.as_deref(),
        roles: [&known.client, &known.server],
        findings: &known.findings,
        identities: known.certificates.iter().filter_map(|one| one.identity.as_deref()).collect(),
    }
}

fn owner(labels: Option<&LabelsRecord>) -> Option<&str> {
    labels.and_then(|labels| labels.owner.as_deref())
}

/// The gaps come first, as the daemon sends them.
pub(super) fn print_json(list: &WorkloadList, output: &mut impl Write) -> io::Result<()> {
    list.left_out.iter().try_for_each(|gap| write_json(gap, output))?;
    list.workloads.iter().try_for_each(|workload| write_json(workload, output))
}

/// `known` counts the workloads before any filter.
pub(super) fn print(
    list: &WorkloadList,
    known: usize,
    now: WallTime,
    colour: bool,
    output: &mut impl Write,
) -> io::Result<()> {
    writeln!(output, "{}", header())?;
    for workload in &list.workloads {
        let counted = [&workload.client, &workload.server];
        let line = line(&workload.workload, &workload.key, workload.labels.as_deref(), counted);
        writeln!(output, "{}", line.trim_end())?;
        if let Some(purpose) = workload.labels.as_ref().and_then(|labels| labels.purpose.as_deref()) {
            writeln!(output, "{:KIND$} purpose: {}", "", cut(&display_safe(purpose), PURPOSE))?;
        }
        for presented in &workload.certificates {
            let identity = identity(presented.identity.as_deref(), Some(&presented.sha256));
            let roles = roles(presented.client, presented.server);
            let fit = presented.identity_fit.as_deref();
            let shown = shown(&identity, roles, validity(presented.not_after, now, 0, colour), fit, colour);
            writeln!(output, "{:KIND$} → {shown}", "")?;
        }
        let forgotten = workload.left_out.certificates;
        if forgotten > 0 {
            writeln!(output, "{:KIND$} → {forgotten} certificates more, forgotten for want of room", "")?;
        }
    }
    let shown = list.workloads.len();
    let without = list.workloads.iter().filter(|known| owner(known.labels.as_deref()).is_none()).count();
    let of = if shown == known { String::new() } else { format!(" of {known}") };
    writeln!(output, "\n{shown}{of} workloads, {without} without an owner")?;
    list.left_out.iter().try_for_each(|gap| print_left_out(gap, output))
}

fn header() -> String {
    format!(
        "{:<KIND$} {:<WORKLOAD$} {:<OWNER$} {:<CLIENT$} AS SERVER",
        "KIND", "WORKLOAD", "OWNER", "AS CLIENT"
    )
}

fn line(
    workload: &WorkloadRecord,
    key: &str,
    labels: Option<&LabelsRecord>,
    [client, server]: [&RoleRecord; 2],
) -> String {
    format!(
        "{:<KIND$} {:<WORKLOAD$} {:<OWNER$} {:<CLIENT$} {}",
        cut(&display_safe(&workload.kind), KIND),
        name(workload, key),
        owner_cell(labels),
        cut(&role(client), CLIENT),
        role(server),
    )
}

pub(super) fn history_header(output: &mut impl Write) -> io::Result<()> {
    writeln!(output, "{:<TIME$} {}", "LAST UTC", header())
}

/// A workload of the history.
pub(super) fn history_row(
    record: &WorkloadHistoryRecord,
    now: WallTime,
    colour: bool,
    output: &mut impl Write,
) -> io::Result<()> {
    let counted = [&record.client, &record.server];
    let line = line(&record.workload, &record.key, record.labels.as_ref(), counted);
    writeln!(output, "{:<TIME$} {}", minute(record.last_seen), line.trim_end())?;
    for one in &record.presented {
        let identity = identity(one.identity.as_deref(), one.certificate.as_deref());
        let roles = roles(one.client, one.server);
        let fit = one.identity_fit.as_ref();
        let shown = shown(&identity, roles, validity(one.not_after, now, 0, colour), fit, colour);
        writeln!(output, "{:TIME$} → {shown}", "")?;
    }
    match record.presented_left_out {
        0 => Ok(()),
        left_out => writeln!(output, "{:TIME$} → {left_out} more, earlier ones", ""),
    }
}

fn owner_cell(labels: Option<&LabelsRecord>) -> String {
    let text = match (owner(labels), labels.and_then(|labels| labels.environment.as_deref())) {
        (Some(owner), Some(environment)) => format!("{owner} ({environment})"),
        (None, Some(environment)) => format!("({environment})"),
        (Some(owner), None) => owner.to_owned(),
        (None, None) => "-".to_owned(),
    };
    cut(&display_safe(&text), OWNER)
}

/// `12 mutual, 3 none`
fn role(role: &RoleRecord) -> String {
    if role.connections == 0 { "-".to_owned() } else { counts(&role.authentication) }
}

/// What was presented, in which role, until when it is valid, and whether it fits.
fn shown(
    identity: &str,
    roles: &str,
    validity: String,
    fit_of: Option<&IdentityFitRecord>,
    colour: bool,
) -> String {
    let mut parts = vec![cut(&display_safe(identity), IDENTITY), roles.to_owned(), validity];
    // Where there is no rule there is no news.
    let answer = fit_of.filter(|answer| answer.status != IdentityFitName::NoRule);
    parts.extend(answer.map(|answer| fit(answer, colour)));
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}
