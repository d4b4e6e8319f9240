//! What the history costs: processor time of a record, bytes of a connection, and the time of questions.
//!
//! `cargo xtask bench store` runs it and judges. The connections have the skew of a busy host: few edges carry most of them,
//! programs come and go, and clients from elsewhere are many.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]

mod ask;
mod host;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use countersign::record::{Record, WallTime};
use countersign::store::{Reader, Retention, Writer};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::json;

use ask::ask;
use host::{Host, LASTING, opened};

/// Records of one transaction, as in the daemon.
const BATCH: usize = 1_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let connections: u64 = arguments.next().map_or(Ok(1_000_000), |count| count.parse())?;
    let folder = Folder(std::env::temp_dir().join(format!("countersign-store-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0)?;
    // One that is named is kept, and only asked the next time.
    let file = arguments.next().map_or_else(|| folder.0.join(countersign::store::FILE_NAME), PathBuf::from);
    if file.exists() {
        println!("{}", json!({"questions": ask(&file, connections)?}));
        return Ok(());
    }
    eprintln!("writing {connections} connections");
    let written = write(&file, connections)?;
    eprintln!("{} records in {:?} of processor time", written.records, written.processor);
    let bytes: u64 = Reader::open(&file)?.database().query_row(
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
        [],
        |row| row.get::<_, i64>(0).map(i64::cast_unsigned),
    )?;
    println!(
        "{}",
        json!({
            "connections": connections,
            "records": written.records,
            "processor_seconds": written.processor.as_secs_f64(),
            "longest_batch_seconds": written.longest.as_secs_f64(),
            "bytes": bytes,
            "resident_before_bytes": written.resident_before,
            "resident_bytes": written.resident,
            "questions": ask(&file, connections)?,
            "slices": tidy(&file, connections, bytes)?,
        })
    );
    Ok(())
}

/// Slices of each kind at most: what is long in one is long in them.
const SLICES: u64 = 1_000;

/// How long slices of retention take: name, number, and the longest in seconds.
fn tidy(file: &Path, connections: u64, bytes: u64) -> Result<serde_json::Value> {
    let mut writer = Writer::open(file)?;
    let all = Retention { oldest: WallTime(i64::MIN), max_bytes: u64::MAX, fold_before: None };
    let part = |of: u64| WallTime(opened(connections / of));
    let kinds = [
        ("folding", Retention { fold_before: Some(part(4)), ..all }),
        ("age", Retention { oldest: part(2), ..all }),
        ("size", Retention { max_bytes: bytes / 8, ..all }),
    ];
    let mut said = Vec::new();
    for (name, keep) in kinds {
        eprintln!("tidying: {name}");
        let (mut slices, mut longest, mut more) = (0, Duration::ZERO, true);
        while more && slices < SLICES {
            let began = Instant::now();
            more = writer.tidy(&keep)?.more;
            (slices, longest) = (slices + 1, longest.max(began.elapsed()));
        }
        said.push(json!({"name": name, "count": slices, "longest_seconds": longest.as_secs_f64()}));
    }
    Ok(said.into())
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

struct Written {
    records: u64,
    processor: Duration,
    longest: Duration,
    /// After the first tenth of the connections, and after all of them.
    resident_before: u64,
    resident: u64,
}

/// Writes the connections; making them is not measured.
fn write(file: &Path, connections: u64) -> Result<Written> {
    let host = Host::make();
    let mut writer = Writer::open(file)?;
    let mut written = Written {
        records: 0,
        processor: Duration::ZERO,
        longest: Duration::ZERO,
        resident_before: 0,
        resident: 0,
    };
    let mut batch: Vec<Record> = host.repeated();
    let mut lasting = Vec::new();
    for number in 0..connections {
        let last = host.connection(number);
        if number.is_multiple_of(LASTING) {
            let mut first = last.clone();
            (first.revision, first.r#final, first.closed, first.close_reason, first.bytes) =
                (0, false, None, None, None);
            batch.push(Record::Connection(Arc::new(first)));
            lasting.push(last);
        } else {
            batch.push(Record::Connection(Arc::new(last)));
        }
        if batch.len() + lasting.len() >= BATCH || number + 1 == connections {
            put(&mut writer, &batch, &mut written)?;
            batch.clear();
            batch.extend(lasting.drain(..).map(|record| Record::Connection(Arc::new(record))));
        }
        if number == connections / 10 {
            written.resident_before = resident()?;
        }
    }
    put(&mut writer, &batch, &mut written)?;
    written.resident = resident()?;
    Ok(written)
}

fn put(writer: &mut Writer, batch: &[Record], written: &mut Written) -> Result<()> {
    let (before, began) = (processor()?, Instant::now());
    writer.write(batch)?;
    written.processor += processor()? - before;
    written.longest = written.longest.max(began.elapsed());
    written.records += batch.len() as u64;
    Ok(())
}

/// Processor time of this thread, the kernel's for it included.
fn processor() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_THREAD)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.cast_unsigned()))
}

fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}
