//! What was read of the captures, and what was not looked at and why.

use std::collections::BTreeMap;

use super::error::{Problem, ProblemKind};

/// Most problems that are kept: a file with more is not described better by more.
pub const PROBLEMS_MAX: usize = 64;
/// Most link types that are told apart among the unsupported ones: a file has a handful at most.
pub const LINK_TYPES_MAX: usize = 64;

/// Counters over all inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Packets read.
    pub packets: u64,
    /// Bytes of them that the captures hold.
    pub bytes: u64,
    /// TCP packets among them, those inside of tunnels included.
    pub tcp_packets: u64,
    /// TCP connections reported, those of which the beginning is missing included.
    pub flows: u64,
    /// Reported connections of which the TCP handshake is not in the captures.
    pub midstream_flows: u64,
    /// Connections that were not reported because no payload and no opening handshake of them is in the captures.
    pub empty_flows: u64,
    /// SYNs (repetitions not counted) that led to no connection: refused, not answered, or the answer is not in the captures.
    pub attempts_without_answer: u64,
    /// UDP address pairs on which QUIC was recognised; not decoded.
    pub quic_flows: u64,
    /// UDP address pairs on which DTLS was recognised; not decoded.
    pub dtls_flows: u64,
    /// Packets with QUIC or DTLS of address pairs that found no room to be told apart.
    pub datagrams_not_told_apart: u64,
    /// Packets that carry neither IPv4 nor IPv6.
    pub not_ip: u64,
    /// Packets with headers that do not parse.
    pub malformed: u64,
    /// TCP packets of which the capture holds only the beginning (snap length).
    pub cut_by_snap_length: u64,
    /// Packets of which the capture does not even hold the headers (snap length).
    pub headers_cut: u64,
    /// IP fragments seen.
    pub fragments: u64,
    /// IP fragments that were dropped: the rest never came, they overlapped, or there was no room.
    pub fragments_dropped: u64,
    /// Packets of which the inner packet was looked at (GRE, VXLAN, GENEVE, GTP-U, IP in IP, PPTP).
    pub tunnelled: u64,
    /// Packets in a tunnel inside of a tunnel: not looked at.
    pub tunnelled_deeper: u64,
    /// Packets of link types that are not supported, by number (LINKTYPE_ registry of tcpdump.org).
    pub unsupported_links: BTreeMap<u32, u64>,
    /// Open connections that were given up for room; reported as closed for an unknown reason.
    pub flows_evicted: u64,
    /// Packets of connections that had ended before: repetitions and last acknowledgements.
    pub late_packets: u64,
    /// TCP packets of no known connection that begin none: resets, those with neither SYN nor ACK, and those sent to their
    /// own sender.
    pub stray_packets: u64,
    /// Resets with a sequence number that their receiver would not have accepted: ignored.
    pub resets_ignored: u64,
    /// Packets older than the one before them.
    pub time_went_backwards: u64,
    /// What could not be read.
    pub problems: Vec<Problem>,
    /// Problems beyond those that are kept, each place of them.
    pub further_problems: u64,
}

impl Summary {
    /// What is left out for the same reason again is counted where it was met first.
    pub(super) fn problem(&mut self, problem: Problem) {
        let is_same = |known: &&mut Problem| known.input == problem.input && known.kind == problem.kind;
        if matches!(problem.kind, ProblemKind::Skipped(_))
            && let Some(known) = self.problems.iter_mut().find(is_same)
        {
            known.times += 1;
        } else if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        } else {
            self.further_problems += 1;
        }
    }

    pub(super) fn unsupported_link(&mut self, link: u32) {
        if self.unsupported_links.len() < LINK_TYPES_MAX || self.unsupported_links.contains_key(&link) {
            *self.unsupported_links.entry(link).or_default() += 1;
        } else {
            self.malformed += 1;
        }
    }
}
