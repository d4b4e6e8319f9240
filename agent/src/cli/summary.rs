//! What a replay amounts to: for people below the table, for programs as the last line.

use std::io::{self, Write};

use serde::Serialize;

use crate::capture_file::{Problem, ProblemKind, Summary};
use crate::display::display_safe;
use crate::replay::{Counts, Totals};

/// Value of `schema` in the last line of `replay --json`.
pub const REPLAY_SCHEMA: &str = "countersign.replay/1";

/// `countersign.replay/1`: what was read, and what was not and why.
#[derive(Debug, Serialize)]
pub(super) struct SummaryLine {
    schema: &'static str,
    packets: u64,
    bytes: u64,
    tcp_packets: u64,
    connections: u64,
    filtered: u64,
    open: u64,
    incomplete: u64,
    mid_stream: u64,
    unanswered: u64,
    empty_flows: u64,
    stray_packets: u64,
    refused: u64,
    cut: u64,
    evicted: u64,
    certificates: u64,
    quic_flows: u64,
    dtls_flows: u64,
    not_ip: u64,
    malformed: u64,
    truncated_packets: u64,
    fragments_dropped: u64,
    unsupported_links: Vec<(u32, u64)>,
    /// Inputs that could not be opened or are no captures, as the user named them.
    unreadable_inputs: Vec<String>,
    problems: Vec<String>,
    further_problems: u64,
}

pub(super) fn line(totals: &Totals, capture: &Summary) -> SummaryLine {
    SummaryLine {
        schema: REPLAY_SCHEMA,
        packets: capture.packets,
        bytes: capture.bytes,
        tcp_packets: capture.tcp_packets,
        connections: totals.connections,
        filtered: totals.filtered,
        open: totals.open,
        incomplete: totals.incomplete,
        mid_stream: capture.midstream_flows,
        unanswered: capture.attempts_without_answer,
        empty_flows: capture.empty_flows,
        stray_packets: capture.stray_packets,
        refused: totals.refused,
        cut: totals.cut,
        evicted: capture.flows_evicted,
        certificates: totals.certificates,
        quic_flows: capture.quic_flows,
        dtls_flows: capture.dtls_flows,
        not_ip: capture.not_ip,
        malformed: capture.malformed,
        truncated_packets: capture.cut_by_snap_length + capture.headers_cut,
        fragments_dropped: capture.fragments_dropped,
        unsupported_links: capture.unsupported_links.iter().map(|(link, count)| (*link, *count)).collect(),
        unreadable_inputs: unopened(capture).map(|problem| problem.name.clone()).collect(),
        problems: capture.problems.iter().map(ToString::to_string).collect(),
        further_problems: capture.further_problems,
    }
}

pub(super) fn print(totals: &Totals, capture: &Summary, output: &mut impl Write) -> io::Result<()> {
    writeln!(output)?;
    let mut row = |name: &str, text: String| match text.is_empty() {
        true => Ok(()),
        false => writeln!(output, "{name:<15} {text}"),
    };
    row("packets", format!("{} ({} bytes), {} of TCP", capture.packets, capture.bytes, capture.tcp_packets))?;
    let apart = some([
        (totals.open, "without an end in the capture"),
        (totals.incomplete, "not seen in full"),
        (totals.filtered, "more left out by the filter"),
        (totals.refused, "more left out for want of room"),
        (totals.cut, "looked at in part for want of room"),
    ]);
    let connections = totals.connections.to_string();
    row("connections", if apart.is_empty() { connections } else { format!("{connections}; {apart}") })?;
    row("authentication", counts(&totals.authentication))?;
    row("evidence", counts(&totals.evidence))?;
    row("unknown for", counts(&totals.unknown))?;
    row("protocol", counts(&totals.protocol))?;
    row("TLS version", counts(&totals.version))?;
    row("scope", counts(&totals.scope))?;
    row(
        "certificates",
        some([
            (totals.certificates, "different ones"),
            (totals.certificates_forgotten, "forgotten for want of room"),
        ]),
    )?;
    row("findings", counts(&totals.findings))?;
    row("not decoded", some([(capture.quic_flows, "QUIC flows"), (capture.dtls_flows, "DTLS flows")]))?;
    let names: Vec<_> = unopened(capture).map(|problem| display_safe(&problem.name)).collect();
    let interrupted = capture.problems.iter().filter(|one| one.kind == ProblemKind::Interrupted).count();
    let is_damage = |kind: &ProblemKind| !matches!(kind, ProblemKind::Unopened(_) | ProblemKind::Interrupted);
    let damaged =
        capture.problems.iter().filter(|one| is_damage(&one.kind)).map(|one| one.times).sum::<u64>()
            + capture.further_problems;
    row("not opened", names.join(", "))?;
    row(
        "not read",
        some([
            (capture.attempts_without_answer, "attempts without an answer"),
            (capture.empty_flows, "connections without a beginning and without a byte"),
            (capture.stray_packets, "TCP packets of no connection"),
            (capture.not_ip, "packets that are not IP"),
            (capture.malformed, "malformed packets"),
            (capture.headers_cut, "packets cut before the end of their headers"),
            (capture.cut_by_snap_length, "TCP packets cut by the snap length"),
            (capture.fragments_dropped, "fragments without the rest of their packet"),
            (capture.tunnelled_deeper, "packets in a tunnel within a tunnel"),
            (capture.unsupported_links.values().sum(), "packets of link types that are not supported"),
            (capture.flows_evicted, "idle connections given up for want of room"),
            (damaged, "damaged places, named on standard error"),
            (interrupted as u64, "inputs after an interruption"),
        ]),
    )
}

fn unopened(capture: &Summary) -> impl Iterator<Item = &Problem> {
    capture.problems.iter().filter(|problem| matches!(problem.kind, ProblemKind::Unopened(_)))
}

/// `900 tls, 12 http/1`
fn counts(counts: &Counts) -> String {
    let all = counts.descending().into_iter().map(|(name, count)| format!("{count} {name}"));
    all.collect::<Vec<_>>().join(", ")
}

/// Those that are not zero.
fn some<const N: usize>(counts: [(u64, &str); N]) -> String {
    let there = counts.into_iter().filter(|(count, _)| *count > 0);
    there.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
