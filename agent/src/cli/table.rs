//! The live table: one line per connection and revision.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use super::output::{Colour, coloured};
use crate::display::display_safe;
use crate::record::{Authentication, ConnectionRecord, EndpointRecord, EvidenceName, GapRecord, WallTime};

/// Widths in characters: what fits a usual name or any IPv4 address with its port, and 119 columns without findings.
/// Longer names are cut with `…`; `--json` has them whole.
const CLIENT: usize = 21;
const SERVER: usize = 24;
const PROTOCOL: usize = 11;
const EVIDENCE: usize = 18;

/// The cells, safe to print and not yet aligned.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    mark: char,
    time: String,
    scope: &'static str,
    client: String,
    server: String,
    protocol: String,
    authentication: Authentication,
    evidence: String,
    findings: String,
}

impl Row {
    pub fn of(record: &ConnectionRecord) -> Row {
        let version = record.tls.as_ref().and_then(|tls| tls.version.as_deref());
        let protocol = match version {
            Some(version) => Cow::Owned(format!("{} {version}", record.protocol)),
            None => Cow::Borrowed(record.protocol.as_ref()),
        };
        let port = record.server.port;
        let port = format!(":{port}");
        let server = match name(&record.server, SERVER - port.len()) {
            Some(name) => name + &port,
            None => address(&record.server),
        };
        // A process has its pid; an address alone needs its port to be found again in the capture.
        let client = name(&record.client, CLIENT).unwrap_or_else(|| address(&record.client));
        Row {
            mark: match (record.r#final, record.revision) {
                (true, _) => '.',
                (false, 0) => '+',
                _ => '~',
            },
            time: time(record.closed.or(record.decided).unwrap_or(record.opened)),
            scope: record.scope.as_str(),
            client,
            server,
            protocol: cut(&display_safe(&protocol), PROTOCOL),
            authentication: record.authentication,
            evidence: cut(&evidence(record), EVIDENCE),
            findings: notes(record),
        }
    }

    pub fn line(&self, colour: bool) -> String {
        let authentication = format!("{:<15}", self.authentication.as_str());
        let shade = match self.authentication {
            Authentication::Mutual | Authentication::Psk => Colour::Good,
            Authentication::ServerOnly | Authentication::NotEstablished => Colour::Warning,
            Authentication::None | Authentication::Anonymous => Colour::Bad,
            Authentication::Unknown => Colour::Faint,
        };
        let line = format!(
            "{} {:<8} {:<11} {:>CLIENT$} → {:<SERVER$} {:<PROTOCOL$} {} {:<EVIDENCE$} {}",
            self.mark,
            self.time,
            self.scope,
            self.client,
            self.server,
            self.protocol,
            coloured(&authentication, shade, colour),
            self.evidence,
            self.findings
        );
        line.trim_end().to_owned()
    }
}

pub(super) fn print_header(output: &mut impl Write) -> io::Result<()> {
    writeln!(
        output,
        "  {:<8} {:<11} {:>CLIENT$} → {:<SERVER$} {:<PROTOCOL$} {:<15} {:<EVIDENCE$} FINDINGS",
        "TIME UTC", "SCOPE", "CLIENT", "SERVER:PORT", "PROTOCOL", "AUTHENTICATION", "EVIDENCE"
    )
}

pub(super) fn print_gap(gap: &GapRecord, output: &mut impl Write) -> io::Result<()> {
    let lost = gap.lost.map_or("unknown".to_owned(), |lost| lost.to_string());
    let from = gap.from.map_or("?".to_owned(), time);
    let cause = display_safe(&gap.cause);
    writeln!(output, "-- not seen from {from} to {}: {cause}, lost: {lost}", time(gap.to))
}

fn time(time: WallTime) -> String {
    match jiff::Timestamp::from_nanosecond(i128::from(time.0)) {
        Ok(time) => time.strftime("%H:%M:%S").to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// The workload and the pid, which is never cut, else the process; without both only the address is known.
fn name(end: &EndpointRecord, width: usize) -> Option<String> {
    let process = end.process.as_ref();
    let workload = end.workload.as_ref().map(|workload| match &*workload.kind {
        "executable" => Path::new(&workload.name)
            .file_name()
            .map_or_else(|| workload.name.as_str().into(), |name| name.to_string_lossy()),
        _ => workload.name.as_str().into(),
    });
    let name = workload.or_else(|| process.map(|process| process.comm.as_str().into()))?;
    let pid = process.map_or(String::new(), |process| format!("[{}]", process.pid));
    Some(cut(&display_safe(&name), width.saturating_sub(pid.len())) + &pid)
}

fn address(end: &EndpointRecord) -> String {
    let address = display_safe(&end.address);
    match address.contains(':') {
        true => format!("[{address}]:{}", end.port),
        false => format!("{address}:{}", end.port),
    }
}

fn evidence(record: &ConnectionRecord) -> String {
    let evidence = record.evidence.client;
    let text = match (evidence, &record.evidence.reason, record.confidence.client) {
        _ if record.authentication == Authentication::Unknown => {
            record.evidence.reason.clone().unwrap_or_else(|| evidence.as_str().into())
        }
        (EvidenceName::Unknown, Some(reason), _) => reason.clone(),
        (_, _, Some(confidence)) => format!("{evidence}/{confidence}").into(),
        _ => evidence.as_str().into(),
    };
    display_safe(&text).into_owned()
}

/// Findings, then the identities that certificates named; of a server that showed none, the name that it was asked for.
fn notes(record: &ConnectionRecord) -> String {
    let mut notes = record.findings.clone();
    let client = record.client.identity.as_deref().unwrap_or("?");
    let asked = record.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    match (record.server.identity.as_deref(), asked) {
        (Some(server), _) => notes.push(format!("({client} → {server})").into()),
        (None, Some(asked)) => notes.push(format!("({client} → asked:{asked})").into()),
        (None, None) if record.client.identity.is_some() => notes.push(format!("({client} → ?)").into()),
        (None, None) => {}
    }
    display_safe(&notes.join(" ")).into_owned()
}

pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// The same of a path, of which the end tells most.
pub(super) fn cut_path(path: &str, width: usize) -> String {
    let length = path.chars().count();
    if length <= width {
        return path.to_owned();
    }
    ['…'].into_iter().chain(path.chars().skip((length + 1).saturating_sub(width))).collect()
}
