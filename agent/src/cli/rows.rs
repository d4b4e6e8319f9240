//! Rows of the tables that answer questions about the history: at most 120 columns before the findings.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};

use super::table::cut;
use crate::display::display_safe;
use crate::record::{CertificateRecord, EdgeRecord, FindingRecord, NodeRecord, WallTime};

/// Widths in characters; longer names are cut with `…`, and `--json` has them whole.
const NODE: usize = 28;
const SERVER: usize = 32;
const COUNTS: usize = 28;
pub(super) const TIME: usize = 16;

pub(super) fn edge_header(output: &mut impl Write) -> io::Result<()> {
    writeln!(
        output,
        "{:<TIME$} {:>NODE$} → {:<SERVER$} {:<COUNTS$} FINDINGS",
        "LAST UTC", "CLIENT", "SERVER:PORT", "CONNECTIONS"
    )
}

pub(super) fn edge(edge: &EdgeRecord, output: &mut impl Write) -> io::Result<()> {
    let port = format!(":{}", edge.port);
    let server = cut(&name(&edge.server), SERVER - port.len());
    let line = format!(
        "{:<TIME$} {:>NODE$} → {:<SERVER$} {:<COUNTS$} {}",
        minute(edge.last_seen),
        cut(&name(&edge.client), NODE),
        format!("{server}{port}"),
        cut(&counts(&edge.authentication), COUNTS),
        counts(&edge.findings),
    );
    writeln!(output, "{}", line.trim_end())
}

const IDENTITY: usize = 44;
const CODE: usize = 38;

pub(super) fn certificate_header(output: &mut impl Write) -> io::Result<()> {
    writeln!(
        output,
        "{:<11} {:<8} {:<IDENTITY$} {:<13} {:<TIME$} PRESENTED BY",
        "NOT AFTER", "SHA256", "IDENTITY", "ROLE", "LAST UTC"
    )
}

pub(super) fn certificate(
    certificate: &CertificateRecord,
    now: WallTime,
    output: &mut impl Write,
) -> io::Result<()> {
    let day = |time: WallTime| time.to_string().chars().take("2026-11-22".len()).collect::<String>();
    let end = certificate
        .not_after
        .map_or_else(|| "?".to_owned(), |end| format!("{}{}", day(end), if end < now { "!" } else { "" }));
    let identity = crate::certificate::identity(certificate);
    let unread = certificate.parse_error.as_deref().unwrap_or("?");
    let identity = identity.unwrap_or_else(|| format!("({unread})"));
    let line = format!(
        "{end:<11} {:<8} {:<IDENTITY$} {:<13} {:<TIME$} {}",
        cut_short(&certificate.sha256),
        cut(&display_safe(&identity), IDENTITY),
        display_safe(&certificate.roles.join(",")),
        certificate.last_seen.map(minute).unwrap_or_default(),
        display_safe(&certificate.workloads.join(" ")),
    );
    writeln!(output, "{}", line.trim_end())
}

/// As many digits as name a certificate.
fn cut_short(sha256: &str) -> String {
    display_safe(&sha256.chars().take(8).collect::<String>()).into_owned()
}

pub(super) fn finding_header(output: &mut impl Write) -> io::Result<()> {
    writeln!(output, "{:<8} {:<CODE$} {:>8}  {:<TIME$} SUMMARY", "SEVERITY", "CODE", "COUNT", "LAST UTC")
}

pub(super) fn finding(finding: &FindingRecord, output: &mut impl Write) -> io::Result<()> {
    let line = format!(
        "{:<8} {:<CODE$} {:>8}  {:<TIME$} {}",
        finding.severity,
        cut(&display_safe(&finding.code), CODE),
        finding.count,
        minute(finding.last_seen),
        display_safe(&finding.summary),
    );
    writeln!(output, "{}", line.trim_end())
}

/// The name without what kind of name it is, where that shows.
fn name(node: &NodeRecord) -> String {
    let key = &node.key;
    let (_, name) = key.split_once(':').unwrap_or(("", key));
    let known = node.workload.as_ref().map_or(name, |workload| &workload.name);
    let is_address = key.starts_with("address:") && name.contains(':');
    display_safe(&if is_address { format!("[{name}]") } else { known.to_owned() }).into_owned()
}

/// `12 mutual, 3 none`
pub(super) fn counts<K: Display>(counts: &BTreeMap<K, u64>) -> String {
    let mut each: Vec<(u64, String)> =
        counts.iter().map(|(name, count)| (*count, name.to_string())).collect();
    each.sort_by(|one, other| other.0.cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    let each: Vec<String> = each.into_iter().map(|(count, name)| format!("{count} {name}")).collect();
    display_safe(&each.join(", ")).into_owned()
}

/// `2026-11-22 09:30`
pub(super) fn minute(time: WallTime) -> String {
    time.to_string().replace('T', " ").chars().take(TIME).collect()
}
