//! Answers of the history as tables: one kind of record, one table.

use std::io::{self, Write};

use serde::de::DeserializeOwned;

use super::list::now;
use super::output::columns;
use super::{prose, rows, table, workloads};
use crate::display::{display_safe, json_safe};
use crate::record::{
    BLAST_RADIUS_SCHEMA, BLAST_RADIUS_SUMMARY_SCHEMA, CERTIFICATE_SCHEMA, CHANGE_SCHEMA,
    CHANGE_SUMMARY_SCHEMA, CONNECTION_SCHEMA, CertificateRecord, ConnectionRecord, EDGE_SCHEMA, EVENT_SCHEMA,
    EXPLANATION_SCHEMA, EdgeRecord, ExplanationRecord, FINDING_SCHEMA, FindingRecord, GAP_SCHEMA, GapRecord,
    PAGE_SCHEMA, PageRecord, SUBJECT_SCHEMA, SubjectRecord, WORKLOAD_HISTORY_SCHEMA, WallTime,
    WorkloadHistoryRecord,
};

/// Prints the lines of one answer.
pub(super) struct Printer<W> {
    pub(super) output: W,
    json: bool,
    pub(super) colour: bool,
    /// Schema of the last line, which the header fits.
    schema: String,
    page: Option<PageRecord>,
    /// The day of the last line, named where another one begins.
    day: String,
}

impl<W: Write> Printer<W> {
    pub fn new(output: W, json: bool, colour: bool) -> Self {
        Printer { output, json, colour, schema: String::new(), page: None, day: String::new() }
    }

    pub fn print(&mut self, line: &str) -> io::Result<()> {
        if self.json {
            return writeln!(self.output, "{}", json_safe(line));
        }
        #[derive(serde::Deserialize)]
        struct Schema {
            #[serde(default)]
            schema: String,
        }
        let schema = serde_json::from_str::<Schema>(line).map(|line| line.schema).unwrap_or_default();
        let is_new = schema != self.schema;
        match &*schema {
            CONNECTION_SCHEMA => self.row(line, is_new, Self::connection),
            CERTIFICATE_SCHEMA => self.row(line, is_new, Self::certificate),
            FINDING_SCHEMA => self.row(line, is_new, Self::finding),
            SUBJECT_SCHEMA => self.row(line, is_new, |printer, subject: &SubjectRecord, _| {
                prose::subject(subject, &mut printer.output)
            }),
            EXPLANATION_SCHEMA => self.row(line, is_new, |printer, explanation: &ExplanationRecord, _| {
                prose::explanation(explanation, columns(), &mut printer.output)
            }),
            EDGE_SCHEMA => self.row(line, is_new, Self::edge),
            WORKLOAD_HISTORY_SCHEMA => self.row(line, is_new, Self::workload),
            BLAST_RADIUS_SUMMARY_SCHEMA => self.row(line, is_new, Self::radius_summary),
            BLAST_RADIUS_SCHEMA => self.row(line, is_new, Self::radius),
            EVENT_SCHEMA => self.row(line, is_new, Self::event),
            CHANGE_SUMMARY_SCHEMA => self.row(line, is_new, Self::change_summary),
            CHANGE_SCHEMA => self.row(line, is_new, Self::change),
            GAP_SCHEMA => self
                .row(line, is_new, |printer, gap: &GapRecord, _| table::print_gap(gap, &mut printer.output)),
            PAGE_SCHEMA => {
                self.page = serde_json::from_str(line).ok();
                Ok(())
            }
            // A later daemon may send kinds that this program does not know.
            _ => Ok(()),
        }?;
        self.schema = schema;
        Ok(())
    }

    fn row<R: DeserializeOwned>(
        &mut self,
        line: &str,
        is_new: bool,
        print: impl FnOnce(&mut Self, &R, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        match serde_json::from_str(line) {
            Ok(record) => print(self, &record, is_new),
            Err(error) => {
                let error = error.to_string();
                writeln!(self.output, "-- a record that this version cannot read: {}", display_safe(&error))
            }
        }
    }

    fn connection(&mut self, record: &ConnectionRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            table::print_header(&mut self.output)?;
            self.day.clear();
        }
        let shown = record.closed.or(record.decided).unwrap_or(record.opened);
        self.day(shown)?;
        writeln!(self.output, "{}", table::Row::of(record).line(self.colour))
    }

    fn edge(&mut self, edge: &EdgeRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            rows::edge_header(&mut self.output)?;
        }
        rows::edge(edge, &mut self.output)
    }

    fn workload(&mut self, workload: &WorkloadHistoryRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            workloads::history_header(&mut self.output)?;
        }
        workloads::history_row(workload, now(), self.colour, &mut self.output)
    }

    fn certificate(&mut self, certificate: &CertificateRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            rows::certificate_header(&mut self.output)?;
        }
        rows::certificate(certificate, now(), &mut self.output)
    }

    fn finding(&mut self, finding: &FindingRecord, is_new: bool) -> io::Result<()> {
        if is_new {
            rows::finding_header(&mut self.output)?;
        }
        rows::finding(finding, &mut self.output)
    }

    /// Names the day where another one begins.
    fn day(&mut self, time: WallTime) -> io::Result<()> {
        let day = date(time);
        if day != self.day {
            writeln!(self.output, "-- {day}")?;
            self.day = day;
        }
        Ok(())
    }

    /// Says what the answer does not have.
    pub fn finish(mut self) -> io::Result<()> {
        let Some(page) = self.page.take().filter(|_| !self.json) else { return self.output.flush() };
        match (&page.cut, page.count) {
            (Some(why), _) => writeln!(self.output, "-- the answer was cut: {}", display_safe(why))?,
            (None, 0) => writeln!(self.output, "nothing matches")?,
            (None, _) => {}
        }
        if let Some(next) = &page.next {
            writeln!(self.output, "-- there is more: --after {}", display_safe(next))?;
        }
        self.output.flush()
    }
}

/// `2026-11-22`
pub(super) fn date(time: WallTime) -> String {
    time.to_string().chars().take("2026-11-22".len()).collect()
}
