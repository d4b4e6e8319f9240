//! Answers of many lines.

use std::sync::Arc;

use bytes::Bytes;

use crate::api::LineSource;
use crate::display::json_line;
use crate::identity::WallClock;
use crate::kernel;
use crate::publication::Workloads;
use crate::record::{GAP_SCHEMA, GapRecord, WallTime};

/// The workloads by their keys, behind a line on those that found no room.
pub(super) fn workloads(workloads: Workloads) -> LineSource {
    let started = now();
    Arc::new(move || {
        let left_out = match workloads.sizes().workloads_left_out {
            0 => None,
            count => Some(GapRecord {
                schema: GAP_SCHEMA.into(),
                from: Some(started),
                to: now(),
                cause: "table_full".to_owned(),
                lost: Some(count),
            }),
        };
        let workloads = workloads.clone();
        let mut last: Option<String> = None;
        let each = std::iter::from_fn(move || {
            let next = workloads.after(last.as_deref())?;
            let line = line(&next);
            last = Some(next.key);
            Some(line)
        });
        Box::new(left_out.into_iter().map(|gap| line(&gap)).chain(each))
    })
}

fn now() -> WallTime {
    let clock = kernel::clock();
    WallClock { wall_minus_boot: clock.wall_minus_boot }.wall(clock.boot)
}

fn line(record: &impl serde::Serialize) -> Bytes {
    let mut line = Vec::new();
    match json_line(record, &mut line) {
        Ok(()) => line.into(),
        // Records have string keys and no failing serialiser; an empty line would be no lie either.
        Err(_) => Bytes::from_static(b"\n"),
    }
}
