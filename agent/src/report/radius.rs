//! The picture of a blast radius: who could reach the subject on the left, who has it in the middle, whom it reached on the right.

use std::collections::BTreeMap;

use super::layers::{Boxed, Column, Line, MAX_BOXES, picture};
use super::text::{minute, short};
use crate::record::{BlastRadiusRecord, BlastRadiusSummaryRecord, RelationName};

/// Columns on either side: what is farther away stands in the last one.
const MAX_COLUMNS: i64 = 6;

/// Takes the records of an answer, and draws what fits.
#[derive(Debug, Default)]
pub struct RadiusPicture {
    summary: Option<BlastRadiusSummaryRecord>,
    /// By column: 0 is who has it.
    columns: BTreeMap<i64, Column>,
    /// Lines with the columns of [`RadiusPicture::columns`].
    lines: Vec<(i64, i64, Line)>,
}

impl RadiusPicture {
    /// Begins with what the picture is of.
    pub fn summary(&mut self, summary: BlastRadiusSummaryRecord) {
        self.summary = Some(summary);
    }

    /// Adds somebody; the nearest come first, as they are answered.
    pub fn add(&mut self, record: &BlastRadiusRecord) {
        let distance = i64::from(record.distance).min(MAX_COLUMNS);
        let column = if record.relation == RelationName::ReachedBy { -distance } else { distance };
        let boxes = self.columns.entry(column).or_default();
        if boxes.boxes.len() >= MAX_BOXES {
            boxes.left_out += 1;
            return;
        }
        boxes.boxes.push(Boxed {
            key: record.node.clone(),
            label: short(&record.node).to_owned(),
            explanation: explanation(record),
            authentication: record.authentication,
        });
        let step = match record.relation {
            RelationName::Holds => None,
            RelationName::Reached => record.path.last(),
            RelationName::ReachedBy => record.path.first(),
        };
        let Some(step) = step else { return };
        let peer = match record.relation {
            RelationName::ReachedBy => &step.server,
            _ => &step.client,
        };
        let Some(near) = self.column_of(peer, column) else { return };
        let (from, to) =
            if record.relation == RelationName::ReachedBy { (column, near) } else { (near, column) };
        let line = Line {
            from: (0, step.client.clone()),
            to: (0, step.server.clone()),
            authentication: step.authentication,
            explanation: format!(
                "{} → {}:{} {} {}",
                short(&step.client),
                short(&step.server),
                step.port,
                step.authentication,
                minute(step.at)
            ),
        };
        self.lines.push((from, to, line));
    }

    /// The column nearer to the middle in which somebody stands.
    fn column_of(&self, node: &str, column: i64) -> Option<i64> {
        let nearer = (0..column.abs()).rev().map(|distance| distance * column.signum());
        let has = |column: &i64| {
            let boxes = self.columns.get(column).map(|column| &column.boxes);
            boxes.is_some_and(|boxes| boxes.iter().any(|boxed| boxed.key == node))
        };
        nearer.into_iter().find(has)
    }

    /// The picture as a file of SVG; `None` if nobody was added.
    pub fn draw(mut self) -> Option<String> {
        if self.columns.is_empty() {
            return None;
        }
        let first = *self.columns.keys().next()?;
        let last = *self.columns.keys().next_back()?;
        let title = self.summary.as_ref().map_or_else(String::new, |summary| {
            let left_out = if summary.cut.is_empty() { "" } else { " (not all: its bounds left out more)" };
            format!("Blast radius of {}{left_out}", summary.subject)
        });
        let place = |column: i64| usize::try_from(column - first).unwrap_or(0);
        let lines: Vec<Line> = self
            .lines
            .drain(..)
            .map(|(from, to, line)| Line {
                from: (place(from), line.from.1),
                to: (place(to), line.to.1),
                ..line
            })
            .collect();
        let columns: Vec<Column> = (first..=last)
            .map(|number| Column {
                title: heading(number),
                ..self.columns.remove(&number).unwrap_or_default()
            })
            .collect();
        Some(picture(&title, &columns, &lines, true).into_string())
    }
}

fn heading(column: i64) -> String {
    let far = if column.abs() == MAX_COLUMNS { " or more" } else { "" };
    match column {
        0 => "Has it".to_owned(),
        1 => "Reached with it".to_owned(),
        -1 => "Connected to it".to_owned(),
        2.. => format!("Then {column} steps on{far}"),
        _ => format!("{} steps before{far}", -column),
    }
}

fn explanation(record: &BlastRadiusRecord) -> String {
    let when = match (record.arrival, record.departure) {
        (Some(arrival), _) => format!(" from {}", minute(arrival)),
        (None, Some(departure)) => format!(" until {}", minute(departure)),
        (None, None) => String::new(),
    };
    let known = if record.to_the_hour { ", known to the hour" } else { "" };
    format!("{}{when}{known}", record.node)
}
