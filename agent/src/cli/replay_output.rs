//! What a replay prints: a table and a summary, findings, or JSON Lines.

use std::io::{self, BufWriter, Write};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::civil::Date;
use serde::Serialize;

use super::output::{Colour, coloured};
use super::pem_folder::PemFolder;
use super::summary;
use super::table::{Row, print_gap, print_header};
use crate::capture_file::{Progress, Summary};
use crate::display::{display_safe, json_safe};
use crate::record::{CertificateRecord, ConnectionRecord, FindingRecord, GapRecord, Severity, WallTime};
use crate::replay::{Output, Totals};

/// Bytes written at a time: a record is 2 to 3 KiB.
const BUFFER: usize = 64 << 10;

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
    output: BufWriter<W>,
    form: Form,
    certificates: Option<PemFolder>,
    /// The first certificate that could not be written, and how many in all.
    unwritten: Option<(io::Error, u64)>,
    bar: Option<ProgressBar>,
    /// Of the last line of the table.
    day: Option<Date>,
    line: Vec<u8>,
}

impl<W: Write> Printer<W> {
    pub fn new(output: W, form: Form, certificates: Option<PemFolder>, bar: bool) -> io::Result<Self> {
        let mut output = BufWriter::with_capacity(BUFFER, output);
        if matches!(form, Form::Table { .. }) {
            print_header(&mut output)?;
        }
        let bar = bar.then(ProgressBar::no_length);
        Ok(Printer { output, form, certificates, unwritten: None, bar, day: None, line: Vec::new() })
    }

    /// The summary; everything is written when it returns.
    pub fn finish(&mut self, totals: &Totals, capture: &Summary) -> io::Result<()> {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        match self.form {
            Form::Table { .. } => summary::print(totals, capture, &mut self.output)?,
            Form::Findings { .. } if totals.findings.descending().is_empty() => {
                writeln!(self.output, "nothing was found in {} connections", totals.connections)?;
            }
            Form::Json => self.json(&summary::line(totals, capture))?,
            Form::Findings { .. } | Form::JsonFindings => {}
        }
        self.output.flush()
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
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)?;
        // Most lines are plain ASCII, which needs no look at each character. Without an early end it is done in wide registers.
        if !self.line.iter().fold(true, |plain, byte| plain & matches!(byte, 0x20..=0x7e)) {
            let text = String::from_utf8_lossy(&self.line);
            let safe = json_safe(&text).into_owned();
            self.line = safe.into_bytes();
        }
        self.line.push(b'\n');
        self.output.write_all(&self.line)
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
                    writeln!(self.output, "-- {}", day.map_or("?".to_owned(), |day| day.to_string()))?;
                }
                writeln!(self.output, "{}", Row::of(record).line(colour))
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
            Form::Findings { colour } => print_finding(record, colour, &mut self.output),
            Form::Table { .. } => Ok(()),
        }
    }

    fn gap(&mut self, record: &GapRecord) -> io::Result<()> {
        match self.form {
            Form::Json | Form::JsonFindings => self.json(record),
            Form::Table { .. } | Form::Findings { .. } => print_gap(record, &mut self.output),
        }
    }

    fn progress(&mut self, progress: Progress) -> io::Result<()> {
        if let Some(bar) = &self.bar {
            if let Some(total) = progress.total
                && bar.length().is_none()
            {
                bar.set_length(total);
                let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} to go";
                // The template is a constant that a test has tried; without it there is the default bar.
                bar.set_style(
                    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
                );
            }
            bar.set_position(progress.read);
        }
        // Whoever reads along a live capture wants what there is.
        self.output.flush()
    }
}

fn print_finding(finding: &FindingRecord, colour: bool, output: &mut impl Write) -> io::Result<()> {
    let (name, shade) = match finding.severity {
        Severity::Info => ("info", Colour::Faint),
        Severity::Low => ("low", Colour::Faint),
        Severity::Medium => ("medium", Colour::Warning),
        Severity::High => ("high", Colour::Bad),
        Severity::Critical => ("critical", Colour::Bad),
    };
    let severity = coloured(&format!("{name:<8}"), shade, colour);
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
