//! The capture: made once, kept, and made anew when its parameters change.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{self, File};
use std::io::BufWriter;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::identities::Identities;
use super::mix::{self, Client, Dice, SERVERS, Version, rsa_of};
use super::pcap::Writer;
use super::peers::{Negotiated, Peers};
use super::segments::{self, MOST_CONNECTIONS};
use crate::process;

/// Raised with every change to what a capture of equal parameters holds.
const FORMAT: u32 = 2;
/// Connections that are open at a time.
const OPEN: usize = 100;
/// Connections that a thread makes ahead: enough that neither side waits for the other's odd bulk transfer.
const AHEAD: usize = 64;
/// Connections of the beginning: some seconds of work for tshark.
const BEGINNING: u64 = 4_000;
/// Time of the first packet, in nanoseconds since 1970: November 2023, when the certificates are valid.
const START: u64 = 1_700_000_000_000_000_000;
/// Least time between packets and, on top of it, a random part, both in nanoseconds: some 15,000 packets a
/// second, so that a connection lasts a few tenths of a second and what lingers after its end is of realistic size.
const GAP: u64 = 40_000;
const JITTER: usize = 50_000;

/// What makes captures differ.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    pub handshakes: u64,
}

/// What the file holds.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub bytes: u64,
    pub packets: u64,
    pub connections: u64,
    pub handshakes: u64,
    pub tls13: u64,
    pub rsa: u64,
    pub mutual: u64,
    pub resumed: u64,
    pub beginning: Beginning,
}

/// The first packets of the file.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginning {
    pub packets: u64,
    /// That ended within these packets; a hundred more are open.
    pub handshakes: u64,
}

/// Stands beside the file when it is complete.
#[derive(Serialize, Deserialize)]
struct Stamp {
    format: u32,
    parameters: Parameters,
    made: Made,
}

/// A complete capture.
pub struct Capture {
    pub file: PathBuf,
    pub made: Made,
}

impl Capture {
    /// Finds it in the folder, or makes it.
    pub fn obtain(folder: &Path, parameters: Parameters) -> Result<Self> {
        let file = folder.join("handshakes.pcap");
        let stamp_file = folder.join("handshakes.json");
        if let Some(made) = kept(&stamp_file, &file, &parameters) {
            return Ok(Self { file, made });
        }
        fs::create_dir_all(folder)?;
        if stamp_file.exists() {
            fs::remove_file(&stamp_file)?;
        }
        let made = process::timed("make the capture, once", || make(&file, &parameters))?;
        let stamp = Stamp { format: FORMAT, parameters, made };
        fs::write(&stamp_file, serde_json::to_vec_pretty(&stamp)?)?;
        Ok(Self { file, made: stamp.made })
    }
}

impl fmt::Display for Capture {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Made { bytes, packets, connections, handshakes, tls13, rsa, mutual, resumed, .. } = &self.made;
        write!(
            out,
            "{}: {} MB, {packets} packets, {connections} connections, {handshakes} handshakes ({tls13} TLS 1.3, {rsa} with RSA, {mutual} with client certificates, {resumed} resumed)",
            self.file.display(),
            bytes / 1_000_000,
        )
    }
}

/// What was made before, if it is what would be made now.
fn kept(stamp: &Path, file: &Path, parameters: &Parameters) -> Option<Made> {
    let stamp: Stamp = serde_json::from_slice(&fs::read(stamp).ok()?).ok()?;
    let complete = file.metadata().ok()?.len() == stamp.made.bytes;
    let same = stamp.format == FORMAT && stamp.parameters == *parameters;
    (complete && same).then_some(stamp.made)
}

/// One connection, ready to be written.
struct Ready {
    frames: VecDeque<Vec<u8>>,
    tls: Option<Negotiated>,
}

fn make(file: &Path, parameters: &Parameters) -> Result<Made> {
    let connections = mix::connections_for(parameters.handshakes);
    ensure!(connections <= MOST_CONNECTIONS, "at most {MOST_CONNECTIONS} connections have an address");
    let identities = Identities::make()?;
    let threads = thread::available_parallelism().map_or(1, NonZero::get) as u64;
    let output = BufWriter::with_capacity(1 << 20, File::create(file)?);
    thread::scope(|scope| {
        let identities = &identities;
        let makers = (0..threads).map(|first| {
            let (sender, receiver) = sync_channel(AHEAD);
            let numbers = (first..connections).step_by(threads as usize);
            scope.spawn(move || converse(identities, numbers, &sender));
            receiver
        });
        let mut source = Source { makers: makers.collect(), connections, next: 0 };
        write(output, &mut source, parameters)
    })
}

/// Makes the connections of these numbers until the other side has enough.
fn converse(identities: &Identities, numbers: impl Iterator<Item = u64>, sender: &SyncSender<Result<Ready>>) {
    let mut peers = Peers::new(identities);
    for number in numbers {
        let exchange = mix::exchange(number);
        let ready = peers.converse(&exchange).map(|conversation| {
            let server = exchange.tls.map_or(0, |handshake| handshake.server);
            let addresses = segments::addresses(number, server, exchange.tls.is_some());
            Ready {
                frames: segments::frames(number, addresses, &conversation.flights),
                tls: conversation.tls,
            }
        });
        if sender.send(ready).is_err() {
            return;
        }
    }
}

/// The connections by number, whichever thread made them.
struct Source {
    makers: Vec<Receiver<Result<Ready>>>,
    connections: u64,
    next: u64,
}

impl Source {
    fn next(&mut self) -> Result<Option<Ready>> {
        if self.next == self.connections {
            return Ok(None);
        }
        let maker = (self.next % self.makers.len() as u64) as usize;
        self.next += 1;
        let ready = self.makers.get(maker).context("no maker")?.recv().context("a maker died")??;
        Ok(Some(ready))
    }
}

fn write(output: BufWriter<File>, source: &mut Source, parameters: &Parameters) -> Result<Made> {
    let mut writer = Writer::new(output)?;
    let mut made = Made::default();
    let mut open: Vec<Ready> = Vec::with_capacity(OPEN);
    let mut dice = Dice(parameters.handshakes);
    let mut time = START;
    loop {
        while open.len() < OPEN {
            let Some(ready) = source.next()? else { break };
            open.push(ready);
        }
        if open.is_empty() {
            break;
        }
        let chosen = dice.below(open.len());
        let Some(connection) = open.get_mut(chosen) else { break };
        if let Some(frame) = connection.frames.pop_front() {
            writer.packet(time, &frame)?;
            time += GAP + dice.below(JITTER) as u64;
        } else {
            count(&mut made, open.swap_remove(chosen).tls.as_ref());
            if made.connections == BEGINNING {
                made.beginning = Beginning { packets: writer.packets(), handshakes: made.handshakes };
            }
            if made.connections.is_multiple_of(5_000) {
                println!(
                    "{} of {} connections, {} MB",
                    made.connections,
                    source.connections,
                    writer.bytes() / 1_000_000
                );
            }
        }
    }
    (made.bytes, made.packets) = (writer.bytes(), writer.packets());
    if made.beginning.packets == 0 {
        made.beginning = Beginning { packets: made.packets, handshakes: made.handshakes };
    }
    writer.finish()?;
    Ok(made)
}

fn count(made: &mut Made, tls: Option<&Negotiated>) {
    made.connections += 1;
    let Some(Negotiated { handshake, resumed }) = tls else { return };
    made.handshakes += 1;
    made.tls13 += u64::from(handshake.version == Version::Tls13);
    made.rsa += u64::from(handshake.server < rsa_of(SERVERS));
    made.mutual += u64::from(matches!(handshake.client, Client::Presents(_)));
    made.resumed += u64::from(*resumed);
}
