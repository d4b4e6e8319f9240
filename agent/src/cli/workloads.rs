//! `countersign workloads`

use std::io::{self, Write};

use super::list::{WORKLOAD, ask, fit, identity, name, now, print_left_out, roles, validity, write_json};
use super::list_arguments::WorkloadsArguments;
use super::output::{colour, stdout};
use super::table::cut;
use super::{Exit, Failure};
use crate::api::WorkloadList;
use crate::display::display_safe;
use crate::record::{
    Authentication, IdentityFitName, KnownWorkloadRecord, LabelsRecord, PresentedRecord, RoleRecord, WallTime,
};

/// Widths in characters; longer names are cut with `…`, and `--json` has them whole.
const KIND: usize = 10;
const OWNER: usize = 16;
const CLIENT: usize = 26;
const IDENTITY: usize = 60;
const PURPOSE: usize = 100;

pub(super) fn list(arguments: &WorkloadsArguments) -> Result<Exit, Failure> {
    let socket = arguments.daemon.socket()?;
    let mut list = ask(&socket)?;
    let known = list.workloads.len();
    list.workloads.retain(|workload| is_wanted(arguments, workload));
    let mut output = stdout();
    if arguments.json {
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

pub(super) fn is_wanted(arguments: &WorkloadsArguments, known: &KnownWorkloadRecord) -> bool {
    let workload = &known.workload;
    let any = |wanted: &[String], is: &dyn Fn(&str) -> bool| {
        wanted.is_empty() || wanted.iter().any(|wanted| is(wanted))
    };
    let owner = owner(known.labels.as_deref());
    any(&arguments.kind, &|kind| workload.kind == kind)
        && any(&arguments.unit, &|unit| workload.unit.as_deref() == Some(unit))
        && any(&arguments.workload, &|name| workload.has_name(name) || known.key == name)
        && any(&arguments.owner, &|wanted| owner == Some(wanted))
        && !(arguments.without_owner && owner.is_some())
        && (!arguments.unauthenticated || is_unauthenticated(known))
}

fn owner(labels: Option<&LabelsRecord>) -> Option<&str> {
    labels.and_then(|labels| labels.owner.as_deref())
}

/// Whether it has connections on which it did not prove who it is. A server that is asked for nothing proves nothing, too.
pub(super) fn is_unauthenticated(known: &KnownWorkloadRecord) -> bool {
    let has = |role: &RoleRecord, answer| role.authentication.get(&answer).is_some_and(|count| *count > 0);
    [Authentication::None, Authentication::Anonymous]
        .into_iter()
        .any(|answer| has(&known.client, answer) || has(&known.server, answer))
        || has(&known.client, Authentication::ServerOnly)
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
    writeln!(
        output,
        "{:<KIND$} {:<WORKLOAD$} {:<OWNER$} {:<CLIENT$} AS SERVER",
        "KIND", "WORKLOAD", "OWNER", "AS CLIENT"
    )?;
    for workload in &list.workloads {
        let line = format!(
            "{:<KIND$} {:<WORKLOAD$} {:<OWNER$} {:<CLIENT$} {}",
            cut(&display_safe(&workload.workload.kind), KIND),
            name(workload),
            owner_cell(workload.labels.as_deref()),
            cut(&role(&workload.client), CLIENT),
            role(&workload.server),
        );
        writeln!(output, "{}", line.trim_end())?;
        if let Some(purpose) = workload.labels.as_ref().and_then(|labels| labels.purpose.as_deref()) {
            writeln!(output, "{:KIND$} purpose: {}", "", cut(&display_safe(purpose), PURPOSE))?;
        }
        for presented in &workload.certificates {
            writeln!(output, "{:KIND$} → {}", "", certificate(presented, now, colour))?;
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
    if role.connections == 0 {
        return "-".to_owned();
    }
    let each = role.authentication.iter().map(|(answer, count)| format!("{count} {answer}"));
    each.collect::<Vec<_>>().join(", ")
}

fn certificate(presented: &PresentedRecord, now: WallTime, colour: bool) -> String {
    let mut parts = vec![
        cut(&display_safe(&identity(presented)), IDENTITY),
        roles(presented).to_owned(),
        validity(presented, now, 0, colour),
    ];
    // Where there is no rule there is no news.
    let answer = presented.identity_fit.as_deref().filter(|answer| answer.status != IdentityFitName::NoRule);
    parts.extend(answer.map(|answer| fit(answer, colour)));
    parts.retain(|part| !part.is_empty());
    parts.join("  ")
}
