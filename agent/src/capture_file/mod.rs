//! Capture files: pcap and pcapng → the same events as the kernel's.
//!
//! Enters: captures, plain or compressed, from files or standard input, as one timeline. Leaves: [`Event`]s in order of time,
//! as the *client's* socket would have reported them: the observer sees both directions at one place and takes its part.
//! Everything that was not looked at is counted ([`Summary`]). Refuses: interpreting payload, beyond the first bytes of a
//! connection whose opening is missing and UDP that is only counted. All memory is bounded, however long the captures.
//!
//! ```text
//!  input (bytes) ─► window ─► pcap | pcapng (packets) ─► timeline
//!    ─► link ─► network (fragments, tunnels) ─► flows (table) ─► Event
//!                                           └─► datagrams (counted)
//! ```

mod datagram;
mod delivery;
mod error;
mod flow;
mod flows;
mod fragments;
mod gzip;
mod input;
mod link;
mod network;
mod packet;
mod pcap;
mod pcapng;
mod plain;
mod reader;
mod stop;
mod succession;
mod summary;
mod table;
#[cfg(test)]
mod tests;
mod timeline;
mod tunnel;
mod waiting;
mod window;
mod zstd;

pub use error::{CaptureError, Problem, ProblemKind};
pub use input::Input;
pub use stop::Stop;
pub use summary::Summary;

use crate::event::{Decision, Event, SocketCookie, Timestamp};
use datagram::Datagrams;
use flows::Flows;
use network::{Context, Network};
use packet::Transport;
use timeline::Timeline;

/// Packets read in one go if none of them gives an event: bounds the time between two looks at the progress.
const BATCH: usize = 1000;
/// Time (nanoseconds) that passes in one go if no packet gives an event: bounds how late it is noticed that it has.
const STEP: u64 = 1_000_000_000;
/// A step back in time up to this (nanoseconds) is disorder within a capture, and the packet counts as simultaneous with the
/// one before. A greater one begins another capture in the same file: its own time counts.
const DISORDER_MAX: u64 = 60_000_000_000;

/// How to read.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct CaptureOptions {
    /// Ends reading early; nobody requests it unless told to.
    pub stop: Stop,
}

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Raw (compressed) bytes read so far, of all inputs.
    pub read: u64,
    /// Raw bytes in all; `None` if an input does not tell its length.
    pub total: Option<u64>,
}

/// Captures being read.
pub struct CaptureSource {
    timeline: Timeline,
    network: Network,
    flows: Flows,
    datagrams: Datagrams,
    summary: Summary,
    now: Timestamp,
    ended: bool,
}

impl std::fmt::Debug for CaptureSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureSource").field("now", &self.now).finish_non_exhaustive()
    }
}

impl CaptureSource {
    /// Opens all inputs as one timeline: merged by time of capture, ties by order of the inputs. Reads to the first packet of
    /// each.
    ///
    /// # Errors
    ///
    /// If none of them can be opened and is a capture: see [`CaptureError`]. While others can be read, one that cannot is among
    /// [`Summary::problems`], and so is damage.
    pub fn open(inputs: &[Input], options: CaptureOptions) -> Result<CaptureSource, CaptureError> {
        let mut summary = Summary::default();
        let timeline = Timeline::open(inputs, &options.stop, &mut summary)?;
        Ok(CaptureSource {
            timeline,
            network: Network::default(),
            flows: Flows::default(),
            datagrams: Datagrams::default(),
            summary,
            now: Timestamp::default(),
            ended: false,
        })
    }

    /// Reads on and hands events in order of time to `each`; `false` at the end of all inputs. Flows that are open then get no
    /// [`Event::Closed`].
    ///
    /// Returns behind the first packet that gives events, so that what is decided on them holds for the next packet; where none
    /// does, after a thousand of them or when a second has passed.
    pub fn drain(&mut self, each: &mut dyn FnMut(Event<&[u8]>)) -> bool {
        let mut handed = false;
        let began = self.now;
        for _ in 0..BATCH {
            if self.ended {
                return false;
            }
            let Some(input) = self.timeline.advance(&mut self.summary) else { return self.finish(each) };
            self.take(input, &mut |event| {
                handed = true;
                each(event);
            });
            if handed || self.now.0.abs_diff(began.0) >= STEP {
                break;
            }
        }
        true
    }

    /// Going on would wait for a pipe: whatever is known should be shown before.
    pub fn would_wait(&self) -> bool {
        self.timeline.would_wait()
    }

    /// Takes what is wanted of a flow: its next packet follows it. A flow that is stopped costs a table look-up per packet.
    pub fn decide(&mut self, socket: SocketCookie, decision: Decision) {
        self.flows.decide(socket, decision);
    }

    /// Nothing more of a flow is wanted by anyone.
    pub fn forget(&mut self, socket: SocketCookie) {
        self.flows.decide(socket, Decision::Stop);
    }

    /// How far reading has come.
    pub fn progress(&self) -> Progress {
        let (read, total) = self.timeline.progress();
        Progress { read, total }
    }

    /// When the last packet was captured, in nanoseconds since the Unix epoch; goes back only where a file holds several
    /// captures in disorder.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What was read, and what was not looked at and why.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Index of the input in which a flow was first met; `None` if it was forgotten: for want of room, or
    /// because its addresses were used anew.
    pub fn input_of(&self, socket: SocketCookie) -> Option<usize> {
        self.flows.input_of(socket)
    }

    fn take(&mut self, input: usize, each: &mut dyn FnMut(Event<&[u8]>)) {
        let Some((head, bytes)) = self.timeline.packet(input) else { return };
        self.now = on_the_clock(self.now, head.at, &mut self.summary);
        self.summary.packets += 1;
        self.summary.bytes += bytes.len() as u64;
        self.flows.sweep(self.now, &mut self.summary, each);
        let (now, flows, datagrams) = (self.now, &mut self.flows, &mut self.datagrams);
        if let Some(packet) = plain::frame(head.link, bytes) {
            flows.take(&packet, (now, input), &mut self.summary, each);
            self.summary.tcp_packets += 1;
            return;
        }
        let cut = head.original.saturating_sub(head.captured);
        let context = Context { at: now.0, cut };
        self.network.frame(
            head.link,
            bytes,
            context,
            &mut self.summary,
            &mut |packet, summary| match packet {
                Transport::Tcp(packet) => {
                    flows.take(packet, (now, input), summary, each);
                    summary.tcp_packets += 1;
                }
                Transport::Udp(packet) => datagrams.take(&packet, summary),
            },
        );
        self.summary.fragments_dropped = self.network.fragments_dropped();
    }

    fn finish(&mut self, each: &mut dyn FnMut(Event<&[u8]>)) -> bool {
        self.ended = true;
        self.flows.finish(self.now, &mut self.summary, each);
        self.network.finish();
        self.summary.fragments_dropped = self.network.fragments_dropped();
        false
    }
}

/// The time of a packet, see [`DISORDER_MAX`].
fn on_the_clock(now: Timestamp, at: u64, summary: &mut Summary) -> Timestamp {
    if at >= now.0 {
        return Timestamp(at);
    }
    summary.time_went_backwards += 1;
    if now.0 - at > DISORDER_MAX { Timestamp(at) } else { now }
}
