//! What a replay prints: a table and a summary, findings, or JSON Lines.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use serde::Serialize;

use super::output::{Colour, coloured};
use super::pem_folder::PemFolder;
use super::summary;
use super::table::{Row, print_gap, print_header};
use crate::capture_file::{Progress, Summary};
use crate::display::{display_safe, json_line};
use crate::record::{CertificateRecord, ConnectionRecord, FindingRecord, GapRecord, Severity, WallTime};
use crate::replay::{Output, Totals};

/// Bytes from which on lines are written: a record is 2 to 3 KiB.
const BUFFER: usize = 64 << 10;
const BAR_OF_FILES: &str = "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go";
/// How much there is nobody knows.
const BAR_OF_A_PIPE: &str = "{spinner} {bytes}, {bytes_per_sec}";

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Table { colour: bool },
    Findings { colour: bool },
    Json,
    JsonFindings,
}

/// Prints what a replay hands out.
pub(super) struct Printer<W: Write> {
    output: W,
    /// What is not written yet: records become text where they wait.
    lines: Vec<u8>,
    form: Form,
    certificates: Option<PemFolder>,
    /// The first certificate that could not be written, and how many in all.
    unwritten: Option<(io::Error, u64)>,
    bar: Option<ProgressBar>,
    /// Of the last line of the table.
    day: Option<Date>,
}

impl<W: Write> Printer<W> {
    pub fn new(output: W, form: Form, certificates: Option<PemFolder>, bar: bool) -> io::Result<Self> {
        let mut lines = Vec::with_capacity(2 * BUFFER);
        if matches!(form, Form::Table { .. }) {
            print_header(&mut lines)?;
        }
        // Until the length is known; that of a pipe never is.
        let bar = bar.then(|| ProgressBar::no_length().with_style(style(BAR_OF_A_PIPE)));
        Ok(Printer { output, lines, form, certificates, unwritten: None, bar, day: None })
    }

    /// The summary; everything is written when it returns.
    pub fn finish(&mut self, totals: &Totals, capture: &Summary) -> io::Result<()> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        match self.form {
            Form::Table { .. } => summary::print(totals, capture, &mut self.lines)?,
            Form::Findings { .. } if totals.findings.descending().is_empty() => {
                writeln!(self.lines, "nothing was found in {} connections", totals.connections)?;
            }
            Form::Json => json_line(&summary::line(totals, capture), &mut self.lines)?,
            Form::Findings { .. } | Form::JsonFindings => {}
        }
        self.write()
    }

    /// Why certificates are missing in their folder.
    pub fn certificates_failure(self) -> Option<io::Error> {
        let (first, count) = self.unwritten?;
        match count {
            1 => Some(first),
            _ => Some(io::Error::other(format!("{first}; {count} certificates in all could not be written"))),
        }
    }

    fn json(&mut self, record: &impl Serialize) -> io::Result<()> {
        json_line(record, &mut self.lines)?;
        self.write_if_much()
    }

    fn write_if_much(&mut self) -> io::Result<()> {
        if self.lines.len() < BUFFER { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> io::Result<()> {
        self.output.write_all(&self.lines).and_then(|()| self.output.flush()).map_err(|error| {
            let kind = error.kind();
            io::Error::new(
                kind,
                format!("standard output cannot be written, the rest is not printed: {error}"),
            )
        })?;
        self.lines.clear();
        Ok(())
    }
}

impl<W: Write> Output for Printer<W> {
    fn connection(&mut self, record: &ConnectionRecord) -> io::Result<()> {
        match self.form {
            Form::Json => self.json(record),
            Form::Table { colour } => {
                let day = day(record.closed.or(record.decided).unwrap_or(record.opened));
                if self.day != day {
                    self.day = day;
                    writeln!(self.lines, "-- {}", day.map_or("?".to_owned(), |day| day.to_string()))?;
                }
                writeln!(self.lines, "{}", Row::of(record).line(colour))?;
                self.write_if_much()
            }
            Form::Findings { .. } | Form::JsonFindings => Ok(()),
        }
    }

    fn certificate(&mut self, record: &CertificateRecord) -> io::Result<()> {
        if self.form == Form::Json { self.json(record) } else { Ok(()) }
    }

    fn der(&mut self, fingerprint: &[u8; 32], der: &[u8]) -> io::Result<()> {
        let written = self.certificates.as_ref().map_or(Ok(()), |folder| folder.write(fingerprint, der));
        // The records are worth more than a file: they go on, and the end says what is missing.
        if let Err(error) = written {
            self.unwritten.get_or_insert((error, 0)).1 += 1;
        }
        Ok(())
    }

    fn wants_der(&self) -> bool {
        self.certificates.is_some()
    }

    fn finding(&mut self, record: &FindingRecord) -> io::Result<()> {
        match self.form {
            Form::Json | Form::JsonFindings => self.json(record),
            Form::Findings { colour } => {
                print_finding(record, colour, &mut self.lines)?;
                self.write_if_much()
            }
            Form::Table { .. } => Ok(()),
        }
    }

    fn gap(&mut self, record: &GapRecord) -> io::Result<()> {
        match self.form {
            Form::Json | Form::JsonFindings => self.json(record),
            Form::Table { .. } | Form::Findings { .. } => print_gap(record, &mut self.lines),
        }
    }

    fn progress(&mut self, progress: Progress) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            if let Some(total) = progress.total
                && bar.length().is_none()
            {
                bar.set_length(total);
                bar.set_style(style(BAR_OF_FILES));
            }
            bar.set_position(progress.read);
        }
        // Whoever reads along a live capture wants what there is.
        self.write()
    }
}

/// Templates are constants that a test has tried; without one there is the default bar.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn print_finding(finding: &FindingRecord, colour: bool, output: &mut impl Write) -> io::Result<()> {
    let shade = match finding.severity {
        Severity::Info | Severity::Low => Colour::Faint,
        Severity::Medium => Colour::Warning,
        Severity::High | Severity::Critical => Colour::Bad,
    };
    let severity = coloured(&format!("{:<8}", finding.severity), shade, colour);
    let times = if finding.count == 1 { "once".to_owned() } else { format!("{} times", finding.count) };
    writeln!(
        output,
        "{severity} {} {}",
        display_safe(&finding.code),
        display_safe(finding.edge.as_deref().unwrap_or_default())
    )?;
    writeln!(output, "         {}, first {}, last {}", times, finding.first_seen, finding.last_seen)?;
    writeln!(output, "         {}", display_safe(&finding.summary))?;
    if let Some(exception) = &finding.exception {
        let (owner, reason) = (display_safe(&exception.owner), display_safe(&exception.reason));
        writeln!(
            output,
            "         set apart by {owner} until {}: {reason}",
            display_safe(&exception.expires)
        )?;
    }
    writeln!(output, "         → {}", display_safe(&finding.remedy))
}

fn day(time: WallTime) -> Option<Date> {
    let time = jiff::Timestamp::from_nanosecond(i128::from(time.0)).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).date())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_of_the_bars_are_ones() {
        for template in [BAR_OF_FILES, BAR_OF_A_PIPE] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
