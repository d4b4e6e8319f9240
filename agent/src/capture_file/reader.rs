//! One capture, packet by packet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::{CaptureError, ProblemKind};
use super::input::{self, Input};
use super::pcap::Pcap;
use super::pcapng::PcapNg;
use super::window::Window;

/// With so many bytes at hand a next packet is likely whole: a full Ethernet frame with its headers.
const USUAL_PACKET: usize = 1600;

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
}

impl Reader {
    /// Opens a capture; no packet is read yet.
    pub fn open(input: &Input) -> Result<Self, CaptureError> {
        let opened = input::open(input)?;
        let window = Window::new(opened.bytes);
        let format = if PcapNg::begins(&opened.magic) {
            Format::PcapNg(PcapNg::default())
        } else if let Some(pcap) = Pcap::of(&opened.magic) {
            Format::Pcap(pcap)
        } else {
            return Err(CaptureError::NotACapture {
                input: input.to_string(),
                begins: printed(&opened.magic),
            });
        };
        Ok(Reader {
            window,
            format,
            head: None,
            ended: false,
            packets: 0,
            read: opened.read,
            total: opened.total,
            live: *input == Input::Stdin,
        })
    }

    /// The packet at hand and its bytes.
    pub fn packet(&self) -> Option<(Head, &[u8])> {
        let head = self.head?;
        Some((head, self.window.data().get(head.begin..head.begin + head.captured)?))
    }

    /// Goes on to the next packet and says when it was captured; `None` at the end. Problems go to `report`, with the
    /// number of packets before and the offset.
    pub fn advance(&mut self, report: &mut dyn FnMut(u64, u64, ProblemKind)) -> Option<u64> {
        if let Some(head) = self.head.take() {
            self.window.consume(head.consumed);
        }
        while !self.ended {
            let next = match &mut self.format {
                Format::Pcap(pcap) => pcap.next(&mut self.window),
                Format::PcapNg(pcapng) => pcapng.next(&mut self.window),
            };
            match next {
                Next::Packet(head) => {
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

    /// Going on would wait for a pipe: no whole packet is known to be at hand.
    pub fn would_wait(&self) -> bool {
        let after = self.head.map_or(0, |head| head.consumed);
        self.live && !self.ended && self.window.data().len() < after + USUAL_PACKET
    }

    /// Raw bytes read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn failure(&mut self) -> Option<ProblemKind> {
        self.window.take_failure().map(|error| ProblemKind::Unreadable(error.to_string()))
    }
}

fn printed(magic: &[u8]) -> String {
    if magic.is_empty() {
        return "nothing: it is empty".to_owned();
    }
    magic.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}
