//! Captures made byte by byte, and what is read of them.

pub(super) mod build;
mod corrupt;
mod files;
mod links;
mod networks;
mod succession;
mod tcp;

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::event::{CloseReason, Event, Travel};

/// A file that goes away with it.
struct Temporary(PathBuf);

impl Temporary {
    fn holding(bytes: &[u8]) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("countersign-capture-{}-{count}", std::process::id()));
        std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
        Temporary(path)
    }

    fn input(&self) -> Input {
        Input::File(self.0.clone())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        _ = std::fs::remove_file(&self.0);
    }
}

/// Everything that comes of captures.
struct Replayed {
    events: Vec<Event>,
    summary: Summary,
}

impl Replayed {
    /// What each flow's client and server said, in the order of the events.
    fn said(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut client, mut server) = (Vec::new(), Vec::new());
        for event in &self.events {
            if let Event::Segment(segment) = event {
                match segment.travel {
                    Travel::Sent => client.extend_from_slice(&segment.bytes),
                    Travel::Received => server.extend_from_slice(&segment.bytes),
                }
            }
        }
        (client, server)
    }

    fn established(&self) -> Vec<crate::event::Established> {
        let established = |event: &Event| match event {
            Event::Established(event) => Some(*event),
            _ => None,
        };
        self.events.iter().filter_map(established).collect()
    }

    fn closed(&self) -> Vec<(u64, u64, CloseReason)> {
        let closed = |event: &Event| match event {
            Event::Closed(event) => Some((event.sent, event.received, event.reason)),
            _ => None,
        };
        self.events.iter().filter_map(closed).collect()
    }

    fn problems(&self) -> Vec<ProblemKind> {
        self.summary.problems.iter().map(|problem| problem.kind.clone()).collect()
    }
}

fn try_replay(files: &[&[u8]]) -> Result<Replayed, CaptureError> {
    let files: Vec<Temporary> = files.iter().map(|bytes| Temporary::holding(bytes)).collect();
    let inputs: Vec<Input> = files.iter().map(Temporary::input).collect();
    let mut source = CaptureSource::open(&inputs, CaptureOptions::default())?;
    let mut events = Vec::new();
    while source.drain(&mut |event| events.push(kept(event))) {}
    Ok(Replayed { events, summary: source.summary().clone() })
}

/// An event to be kept: a capture gives no others.
fn kept(event: Event<&[u8]>) -> Event {
    match event {
        Event::Established(event) => Event::Established(event),
        Event::Segment(segment) => Event::Segment(segment.to_owned()),
        Event::Closed(event) => Event::Closed(event),
        other => panic!("{other:?}"),
    }
}

fn replay(file: &[u8]) -> Replayed {
    try_replay(&[file]).unwrap()
}
