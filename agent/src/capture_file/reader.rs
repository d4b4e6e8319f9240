//! One capture, packet by packet.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{CaptureError, ProblemKind};
use super::input::{self, Input};
use super::pcap::Pcap;
use super::pcapng::PcapNg;
use super::stop::Stop;
use super::window::Window;

/// A packet whose bytes are the first of the window.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// When it was captured, in nanoseconds since the Unix epoch.
    pub at: u64,
    /// Type of its first header (LINKTYPE_ registry of tcpdump.org).
    pub link: u32,
    /// Where its bytes begin in the window.
    pub begin: usize,
    /// How many bytes of it there are.
    pub captured: usize,
    /// How many bytes it had, at least `captured`.
    pub original: usize,
    /// Bytes of the window up to its end, padding included.
    pub consumed: usize,
}

/// What comes next in a capture.
pub enum Next {
    /// A packet.
    Packet(Head),
    /// Nothing: it ended as it should.
    End,
    /// Nothing, or something else had to be left out.
    Problem(ProblemKind),
}

enum Format {
    Pcap(Pcap),
    PcapNg(PcapNg),
    /// Compressed data that is damaged before it says.
    Unknown,
}

/// An open capture.
pub struct Reader {
    window: Window,
    format: Format,
    head: Option<Head>,
    ended: bool,
    /// Packets read, the one at hand included.
    packets: u64,
    read: Arc<AtomicU64>,
    /// Raw bytes in all, if known.
    pub total: Option<u64>,
    /// It is a pipe that may be slow.
    live: bool,
    stop: Stop,
    /// What is wrong with the first bytes already.
    damaged: Option<io::Error>,
}

impl Reader {
    /// Opens one of so many captures; no packet is read yet.
    pub fn open(input: &Input, captures: usize, stop: &Stop) -> Result<Self, CaptureError> {
        let opened = input::open(input, stop)?;
        let window = Window::new(opened.bytes, captures);
        let (format, damaged) = match opened.magic {
            Ok(magic) => (format(&magic).ok_or_else(|| not_a_capture(input, &magic))?, None),
            Err(error) => (Format::Unknown, Some(error)),
        };
        Ok(Reader {
            window,
            format,
            head: None,
            ended: false,
            packets: 0,
            read: opened.read,
            total: opened.total,
            live: opened.live,
            stop: stop.clone(),
            damaged,
        })
    }

    /// The packet at hand and its bytes.
    #[inline]
    pub fn packet(&self) -> Option<(Head, &[u8])> {
        let head = self.head?;
        Some((head, self.window.data().get(head.begin..head.begin + head.captured)?))
    }

    /// Goes on to the next packet and says when it was captured; `None` at the end. Problems go to `report`, with the
    /// number of packets before and the offset.
    #[inline]
    pub fn advance(&mut self, report: &mut dyn FnMut(u64, u64, ProblemKind)) -> Option<u64> {
        if let Some(head) = self.head.take() {
            self.window.consume(head.consumed);
        }
        while !self.ended {
            if !self.live && self.stop.is_requested() {
                self.ended = true;
                report(self.packets, self.window.offset(), ProblemKind::Interrupted);
                return None;
            }
            let next = match &mut self.format {
                Format::Pcap(pcap) => pcap.next(&mut self.window),
                Format::PcapNg(pcapng) => pcapng.next(&mut self.window),
                Format::Unknown => Next::End,
            };
            match next {
                Next::Packet(head) => {
                    self.window.approach(head.consumed);
                    self.head = Some(head);
                    self.packets += 1;
                    return Some(head.at);
                }
                Next::End => self.ended = true,
                Next::Problem(kind) => {
                    // A failure of the source shows as an end in the middle, or even between two packets.
                    self.ended = kind.is_final();
                    let kind = if self.ended { self.failure().unwrap_or(kind) } else { kind };
                    report(self.packets, self.window.offset(), kind);
                }
            }
        }
        if let Some(kind) = self.failure() {
            report(self.packets, self.window.offset(), kind);
        }
        None
    }

    /// Going on may wait for a pipe: no whole packet is known to be at hand.
    pub fn would_wait(&self) -> bool {
        if !self.live || self.ended {
            return false;
        }
        let after = self.head.map_or(0, |head| head.consumed);
        let at_hand = self.window.data().get(after..).unwrap_or_default();
        match &self.format {
            Format::Pcap(pcap) => !pcap.is_whole(at_hand),
            Format::PcapNg(pcapng) => !pcapng.is_whole(at_hand),
            Format::Unknown => false,
        }
    }

    /// Raw bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn failure(&mut self) -> Option<ProblemKind> {
        let error = self.damaged.take().or_else(|| self.window.take_failure())?;
        // A pipe that was left before its end is not damaged.
        if self.live && self.stop.is_requested() {
            return Some(ProblemKind::Interrupted);
        }
        Some(ProblemKind::Unreadable(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                "the compressed data ends too early, the rest is missing".to_owned()
            }
            _ => error.to_string(),
        }))
    }
}

fn format(magic: &[u8]) -> Option<Format> {
    if PcapNg::begins(magic) {
        return Some(Format::PcapNg(PcapNg::default()));
    }
    Pcap::of(magic).map(Format::Pcap)
}

fn not_a_capture(input: &Input, magic: &[u8]) -> CaptureError {
    CaptureError::NotACapture { input: input.to_string(), begins: printed(magic) }
}

fn printed(magic: &[u8]) -> String {
    if magic.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    magic.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
