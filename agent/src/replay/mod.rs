//! Replay: the rooms at work on captures instead of a host.
//!
//! Enters: a [`CaptureSource`] and what to judge by. Leaves, through an [`Output`]: the last word on each connection when it
//! has ended, each certificate once, each finding with its count at the end, and [`Totals`]. Everything from the typed event on
//! goes through the same rooms as live. Refuses: clocks (time is what the capture says: equal input gives equal output), files
//! (the capture's room reads them, the command line writes) and guessing how a connection ended that the capture does not show.
//!
//! ```text
//!  CaptureSource ──events──► Connections ──► Publisher (compose, judge, count) ──► Output
//!        ▲───────────────── decisions ───────────────┘
//! ```

mod publisher;
#[cfg(test)]
mod tests;
mod totals;

use std::io;
use std::sync::Arc;

use crate::api::WatchFilter;
use crate::capture_file::{CaptureSource, Progress};
use crate::config::Config;
use crate::connection::{Connections, Limits};
use crate::event::{Event, Timestamp};
use crate::ownership::Owners;
use crate::publication::{policy, policy_version};
use crate::record::{CertificateRecord, ConnectionRecord, FindingRecord, GAP_SCHEMA, GapRecord, WallTime};
use crate::scope::Networks;
use crate::verdict::Policy;

use publisher::{Order, Publisher};
pub use totals::{Counts, Totals};

/// Connections at a time: those of which the capture shows no end stay to the last packet, about 1 KiB each.
const MAX_CONNECTIONS: usize = 32_768;
/// Bytes that connections hold together while they are looked at: what remains of 64 MiB beside full tables of connections and
/// findings, and thousands of handshakes at a time.
const MAX_HELD: usize = 12 << 20;
/// Sessions remembered for resumption, about 300 bytes each.
const MAX_SESSIONS: usize = 16_384;
/// Certificates remembered, 1 to 2 KiB each: one that is met again after so many others is printed again.
const MAX_CERTIFICATES: usize = 8192;
/// Between two looks at everything that only time changes, in nanoseconds of the capture's time.
const TICK: u64 = 1_000_000_000;
/// Events between two such looks where the capture's time stands still.
const MAX_EVENTS_PER_TICK: u32 = 16_384;
/// Packets after which the progress is shown anew, and a complaint of the output noticed.
const PROGRESS_STEP: u64 = 1000;

/// What to judge by and what is wanted.
#[derive(Debug)]
pub struct Settings {
    /// What is asked of connections.
    pub policy: Policy,
    /// Its name in records.
    pub policy_version: Arc<str>,
    /// Whose identities are.
    pub owners: Arc<Owners>,
    /// What is internal. This host's own addresses mean nothing in a capture.
    pub networks: Networks,
    /// Names of the inputs, as they were given.
    pub names: Vec<Arc<str>>,
    /// Which connections, with their certificates and findings, are wanted.
    pub filter: WatchFilter,
    /// Bytes of each direction to look at: first, and at most.
    pub budgets: (u32, u32),
}

impl Settings {
    /// As a configuration says.
    pub fn new(config: &Config, names: Vec<Arc<str>>, filter: WatchFilter) -> Self {
        Settings {
            policy: policy(config),
            policy_version: policy_version(config),
            owners: Arc::clone(&config.ownership.owners),
            networks: Networks::new(&config.scope.internal),
            names,
            filter,
            budgets: (config.capture.start_budget_bytes, config.capture.max_budget_bytes),
        }
    }
}

/// Takes what leaves the room, in the order in which the capture shows it. An error ends the replay.
pub trait Output {
    /// A connection has ended, or the capture has.
    fn connection(&mut self, record: &ConnectionRecord) -> io::Result<()>;
    /// A certificate is named for the first time, by the connection that follows.
    fn certificate(&mut self, record: &CertificateRecord) -> io::Result<()>;
    /// The bytes of a certificate, once, if [`Output::wants_der`].
    fn der(&mut self, fingerprint: &[u8; 32], der: &[u8]) -> io::Result<()>;
    /// Whether bytes of certificates are wanted.
    fn wants_der(&self) -> bool;
    /// What was found, after all connections.
    fn finding(&mut self, record: &FindingRecord) -> io::Result<()>;
    /// What found no room, after all connections.
    fn gap(&mut self, record: &GapRecord) -> io::Result<()>;
    /// So much of the input has been read.
    fn progress(&mut self, progress: Progress) -> io::Result<()>;
}

/// Reads the source to its end.
///
/// # Errors
/// Those of the output; what is wrong with the input stands in the source's summary.
pub fn replay(source: &mut CaptureSource, settings: Settings, output: &mut dyn Output) -> io::Result<Totals> {
    let (start_budget, max_budget) = settings.budgets;
    let limits = Limits {
        connections: MAX_CONNECTIONS,
        sessions: MAX_SESSIONS,
        start_budget,
        max_budget,
        held: MAX_HELD,
    };
    let mut connections = Connections::of_capture(limits);
    let mut publisher = Publisher::new(settings, output);
    let mut metronome = Metronome::default();
    let mut begun = Vec::new();
    let mut shown = 0;
    loop {
        let more = source.drain(&mut |event| {
            publisher.now = event.at();
            if metronome.strikes(event.at()) {
                connections.tick(event.at(), &mut publisher);
            }
            if let Event::Established(established) = &event
                && publisher.has_several_files()
            {
                begun.push(established.socket);
            }
            connections.handle(event, &mut publisher);
        });
        // No connection begins and ends with the same packet.
        for socket in begun.drain(..).filter(|socket| connections.knows(*socket)) {
            publisher.met_in(socket, source.input_of(socket));
        }
        // Packets that are not looked at move the time, too.
        if metronome.strikes(source.now()) {
            connections.tick(source.now(), &mut publisher);
        }
        for order in publisher.orders.drain(..) {
            match order {
                Order::Decide(socket, decision) => source.decide(socket, decision),
                Order::Forget(socket) => source.forget(socket),
            }
        }
        if !more || source.would_wait() || source.summary().packets >= shown + PROGRESS_STEP {
            shown = source.summary().packets;
            publisher.progress(source.progress())?;
        }
        if !more {
            break;
        }
    }
    connections.finish_all(source.now(), &mut publisher);
    let sizes = connections.sizes();
    let refused = sizes.refused;
    if refused > 0 {
        publisher.gap(&GapRecord {
            schema: GAP_SCHEMA.into(),
            from: None,
            to: WallTime(i64::try_from(source.now().0).unwrap_or(i64::MAX)),
            cause: "table_full".to_owned(),
            lost: Some(refused),
        })?;
    }
    publisher.finish(refused, sizes.readings_cut)
}

/// Says once per second of the capture's time that time has passed.
#[derive(Debug, Default)]
struct Metronome {
    last: Timestamp,
    events: u32,
}

impl Metronome {
    fn strikes(&mut self, now: Timestamp) -> bool {
        self.events += 1;
        // A clock that was set back counts anew from there.
        let due = now.since(self.last) >= TICK || now < self.last || self.events >= MAX_EVENTS_PER_TICK;
        if due {
            *self = Metronome { last: now, events: 0 };
        }
        due
    }
}
