//! Questions whose answer is a file, too: `countersign blast-radius` and `report`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;

use super::ask::{self, Asked, Source, WhomArguments};
use super::list::now;
use super::{Exit, Failure};
use crate::api;
use crate::display::display_safe;
use crate::question::BlastRadiusQuestion;
use crate::record::{BLAST_RADIUS_SCHEMA, BLAST_RADIUS_SUMMARY_SCHEMA};
use crate::report::{RadiusPicture, report};
use crate::store::Reader;

pub(super) const BLAST_RADIUS_EXAMPLES: &str = "\
EXAMPLES:
  countersign blast-radius spiffe://example.org/payments
  countersign blast-radius 3f2a90c1 --since 2026-11-20 --json     the first digits of a fingerprint
  countersign blast-radius CN=Issuing-CA --svg radius.svg          everything that an issuer signed
  countersign blast-radius db.internal --db /mnt/evidence/countersign.db

COLUMNS:
  STEPS is how many connections are between: 0 has it itself. `reached` is who was reached with it, and from there on, each \
  by a connection that was open at the time or later; `reached_by` is who could reach a server that presented it. TIME is when it could be \
  reached first, or from when on not any more; ~ is known to the hour only, because connections of that time are only counted.

EXIT STATUS:
  0 if it was seen, 1 if nothing is known of it, 2 if it is not asked rightly, 3 without a history, 4 if bounds left something out.";

pub(super) const REPORT_EXAMPLES: &str = "\
EXAMPLES:
  countersign report --output report.html
  countersign report --output report.html --db /mnt/evidence/countersign.db --force

The page needs nothing but itself: no network, no script. It is made whole or not at all.

EXIT STATUS:
  0 if it was written, 2 if the file exists and --force is not given, 3 without a history or if it cannot be written.";

/// `blast-radius`
#[derive(Debug, Args)]
pub struct BlastRadiusArguments {
    /// What is asked.
    #[command(flatten)]
    pub asked: Asked<BlastRadiusQuestion>,
    /// Draw a picture into this file, too
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long, requires = "svg")]
    pub force: bool,
}

/// `report`
#[derive(Debug, Args)]
pub struct ReportArguments {
    /// Where to write the page
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Whose.
    #[command(flatten)]
    pub whom: WhomArguments,
}

pub(super) fn blast_radius(arguments: BlastRadiusArguments) -> Result<Exit, Failure> {
    if let Some(file) = &arguments.svg {
        refuse_existing(file, arguments.force)?;
    }
    let mut picture = RadiusPicture::default();
    let (question, history) = arguments.asked.parts();
    let exit = ask::print(&question, &history, &mut |line| {
        if line.contains(BLAST_RADIUS_SUMMARY_SCHEMA) {
            parsed(line).into_iter().for_each(|summary| picture.summary(summary));
        } else if line.contains(BLAST_RADIUS_SCHEMA) {
            parsed(line).iter().for_each(|record| picture.add(record));
        }
    })?;
    match (&arguments.svg, picture.draw()) {
        (Some(file), Some(picture)) => write_whole(file, picture.as_bytes(), arguments.force)?,
        (Some(_), None) => writeln!(io::stderr(), "countersign: there is nothing to draw")?,
        (None, _) => {}
    }
    Ok(exit)
}

pub(super) fn write_report(arguments: &ReportArguments) -> Result<Exit, Failure> {
    refuse_existing(&arguments.output, arguments.force)?;
    let page = arguments.whom.answer(|source| match source {
        Source::Daemon(socket) => ask::in_runtime(async { Ok(api::report(socket).await?.into()) }),
        Source::File(file) => Ok(report(&Reader::open(file)?, now())?.into_bytes()),
    })?;
    write_whole(&arguments.output, &page, arguments.force)?;
    Ok(Exit::Success)
}

/// A line of the answer.
fn parsed<R: DeserializeOwned>(line: &str) -> Option<R> {
    serde_json::from_str(line).ok()
}

fn refuse_existing(file: &Path, force: bool) -> Result<(), Failure> {
    match !force && file.exists() {
        true => Err(Failure::Usage(format!(
            "{} exists: name another file, or replace it with --force",
            display_safe(&file.to_string_lossy())
        ))),
        false => Ok(()),
    }
}

/// Writes a file whole or not at all: beside it first, then in its place.
fn write_whole(file: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(name);
    let written = write_beside(&partial, bytes).and_then(|()| match force {
        true => fs::rename(&partial, file),
        // Unlike a renaming, a link fails where a file has come to be in the meantime.
        false => fs::hard_link(&partial, file).and_then(|()| fs::remove_file(&partial)),
    });
    written.map_err(|error| {
        let _ = fs::remove_file(&partial);
        let file = display_safe(&file.to_string_lossy()).into_owned();
        Failure::Io(io::Error::new(error.kind(), format!("{file} cannot be written: {error}")))
    })
}

fn write_beside(partial: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut output = File::create_new(partial)?;
    output.write_all(bytes)?;
    output.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_if_that_is_meant_and_no_part_is_left() {
        let folder = std::env::temp_dir().join(format!("countersign-graph-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("report.html");
        write_whole(&file, b"one", false).unwrap();
        assert!(matches!(refuse_existing(&file, false), Err(Failure::Usage(_))));
        assert!(write_whole(&file, b"two", false).is_err(), "it came to be in the meantime");
        assert_eq!(fs::read(&file).unwrap(), b"one");
        write_whole(&file, b"three", true).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"three");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
