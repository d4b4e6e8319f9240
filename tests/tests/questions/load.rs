//! Many who ask at once, one who does not read, and a capture that must not notice.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use countersign::record::PAGE_SCHEMA;
use countersign::store::Writer;
use countersign_tests::{Agent, AgentOptions, Testbed, output_of, ready, until};

use super::asked::{Whom, answer, ask};
use super::copied::connection;

/// At once.
const QUESTIONERS: usize = 20;
/// Questions of each of them.
const QUESTIONS: usize = 6;
/// A daemon works at a question for thirty seconds, lets others wait as long, and cuts who does not read off after ten.
const BOUND: Duration = Duration::from_secs(75);
/// Connections that the history begins with: more than fits between a daemon and who does not read.
const BEFORE: u64 = 5_000;
/// Most connections of a history in which a question is to take a while.
const MOST: u64 = 600_000;

/// A folder with a history that has something to read, and the file.
fn history() -> Result<(PathBuf, PathBuf)> {
    let folder = Testbed::shared().folder("load")?;
    let file = folder.join("data/countersign.db");
    std::fs::create_dir_all(folder.join("data"))?;
    write(&file, 0..BEFORE)?;
    Ok((folder, file))
}

/// An agent on it, which may fall behind when others use the processors.
fn agent(folder: PathBuf) -> Result<Agent> {
    // What was seen in 2026 would be too old one day.
    let configuration =
        "[libraries]\nenabled = false\n[capture]\nring_bytes = 67108864\n[history]\nmax_age_days = 3650\n";
    Agent::start(AgentOptions {
        configuration: configuration.to_owned(),
        folder: Some(folder),
        ..AgentOptions::default()
    })
}

fn write(file: &Path, numbers: Range<u64>) -> Result<()> {
    let mut writer = Writer::open(file)?;
    let numbers: Vec<u64> = numbers.collect();
    for batch in numbers.chunks(1_000) {
        let records = batch.iter().map(|number| connection(*number, &serde_json::json!({})));
        writer.write(&records.collect::<Result<Vec<_>>>()?)?;
    }
    Ok(())
}

/// Connections to the listener, one after another, until it is told to stop.
fn traffic(listener: &TcpListener, stop: &AtomicBool, made: &AtomicUsize) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        client.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        server.read_exact(&mut [0; 18])?;
        drop((client, server));
        made.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether a question was answered, all of it or what there was time for; else it was refused in words.
fn is_answered(output: &Output) -> Result<bool> {
    let (answer, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    match output.status.code() {
        Some(0 | 1) if answer.contains(PAGE_SCHEMA) => Ok(true),
        Some(4) if answer.contains(r#""cut":"time""#) => Ok(true),
        Some(3) if said.contains("too many") => Ok(false),
        code => bail!("{code:?}: {said}"),
    }
}

fn questioner(agent: &Agent, number: usize) -> Result<(usize, Duration)> {
    let socket = agent.folder.join("socket");
    // Some by what is counted, some by looking at each connection, some at large.
    let questions: [&[&str]; QUESTIONS] = [
        &["edges", "--json"],
        &["connections", "--json", "--limit", "2000"],
        &["connections", "--json", "--where", "bytes.client_to_server=null", "--limit", "50"],
        &["who", "10.0.0.2", "--json"],
        &["workloads", "--history", "--json"],
        &["certificates", "--json", "--expired"],
    ];
    let (mut answered, mut longest) = (0, Duration::ZERO);
    for turn in 0..QUESTIONS {
        let asked = Instant::now();
        let output = ask(Whom::Daemon(&socket), questions[(number + turn) % QUESTIONS])?;
        answered += usize::from(is_answered(&output)?);
        longest = longest.max(asked.elapsed());
    }
    Ok((answered, longest))
}

#[test]
fn twenty_ask_at_once_under_load_and_the_capture_loses_nothing() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (folder, file) = history()?;
    let agent = agent(folder)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (answered, longest) = std::thread::scope(|scope| -> Result<(usize, Duration)> {
        let load = scope.spawn(|| traffic(&listener, &stop, &made));
        let agent = &agent;
        let all: Vec<_> =
            (0..QUESTIONERS).map(|number| scope.spawn(move || questioner(agent, number))).collect();
        let outcomes: Vec<_> = all.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        stop.store(true, Ordering::Relaxed);
        load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        let (mut answered, mut longest) = (0, Duration::ZERO);
        for outcome in outcomes {
            let (count, time) = outcome.map_err(|_| anyhow::anyhow!("a questioner panicked"))??;
            (answered, longest) = (answered + count, longest.max(time));
        }
        Ok((answered, longest))
    })?;
    let all = QUESTIONERS * QUESTIONS;
    println!("{answered} of {all} questions were answered, the slowest after {longest:?}");
    ensure!(longest < BOUND, "{longest:?}");
    ensure!(answered * 3 > all, "only {answered} of {all} were answered");
    let (made, port) = (made.load(Ordering::Relaxed), listener.local_addr()?.port());
    ensure!(made > 100, "only {made} connections were made meanwhile");
    let sql = format!(
        "SELECT count(*) FROM connection c JOIN pairing p ON p.id = c.pairing JOIN edge e ON e.id = p.edge \
         WHERE e.port = {port} AND c.revision % 2 = 1"
    );
    until("all connections in the history", BOUND, || {
        let mut sqlite = std::process::Command::new("sqlite3");
        sqlite.args(["-readonly", "-cmd", ".timeout 5000"]).arg(&file).arg(&sql);
        let kept: usize = output_of(&mut sqlite)?.trim().parse()?;
        ensure!(kept <= made, "{kept} of {made}");
        if kept < made {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok((kept == made).then_some(()))
    })
    .with_context(|| agent.log())?;
    for lost in ["countersign_events_lost_total", "countersign_history_records_lost_total"] {
        ensure!(agent.metric(lost, "")? == 0.0, "{lost}: {}", agent.log());
    }
    Ok(())
}

#[test]
fn a_reader_that_stops_reading_is_cut_off_and_holds_nobody_up() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = agent(history()?.0)?;
    let socket = agent.folder.join("socket");
    // As many as are worked at, and each wants more than fits in a socket.
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut reader = UnixStream::connect(&socket)?;
        reader.write_all(b"GET /v1/connections?limit=100000 HTTP/1.1\r\nhost: x\r\n\r\n")?;
        reader.set_read_timeout(Some(BOUND))?;
        reader.read_exact(&mut [0; 15])?;
        stalled.push(reader);
    }
    let asked = Instant::now();
    agent.fence().context("the capture goes on")?;
    // It waits for a place until the first is cut off.
    let (lines, _) = answer(Whom::Daemon(&socket), &["edges"])?;
    ensure!(!lines.is_empty() && asked.elapsed() < BOUND, "{:?}", asked.elapsed());
    until("all to be cut off", BOUND, || {
        Ok((agent.log().matches("takes no answer").count() >= stalled.len()).then_some(()))
    })?;
    for mut reader in stalled {
        let mut rest = Vec::new();
        match reader.read_to_end(&mut rest) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => return Err(error.into()),
            _ => {}
        }
        let rest = String::from_utf8_lossy(&rest);
        ensure!(!rest.contains(PAGE_SCHEMA), "it was cut off, and its answer has an end");
    }
    Ok(())
}

/// Runs a question at a terminal, and gives what that showed.
fn at_a_terminal(whom: Whom<'_>, arguments: &[&str]) -> Result<String> {
    let command = whom.command(arguments);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
    let mut script = std::process::Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    // One that can show more than lines, whatever the tests themselves were started from.
    let output = script.env("TERM", "xterm").stdin(std::process::Stdio::null()).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_filter_without_an_index_shows_at_a_terminal_how_far_it_is() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (folder, file) = history()?;
    // Whole records are read for it: as many as it takes for that to be worth a word, however fast this program was built.
    let slow = ["connections", "--where", "cleartext_examined.server=7"];
    let mut written = BEFORE;
    let mut grow = || {
        if written >= MOST {
            return anyhow::Ok(false);
        }
        write(&file, written..written * 2)?;
        written *= 2;
        Ok(true)
    };
    let shown = loop {
        let shown = at_a_terminal(Whom::File(&file), &slow)?;
        if shown.contains("% of the history read") || !grow()? {
            break shown;
        }
    };
    ensure!(shown.contains("% of the history read") && shown.contains("nothing matches"), "{shown:?}");
    // The daemon takes as long, on average.
    grow()?;
    grow()?;
    let agent = agent(folder)?;
    let socket = agent.folder.join("socket");
    let asked = || at_a_terminal(Whom::Daemon(&socket), &slow);
    let all: Vec<String> = std::iter::repeat_with(asked).take(5).collect::<Result<_>>()?;
    let told = |shown: &String| shown.contains("the daemon reads its history, for ");
    ensure!(all.iter().any(told), "{all:?}");
    let output = ask(Whom::File(&file), &slow)?;
    ensure!(output.stderr.is_empty(), "where nobody looks nothing is shown: {output:?}");
    Ok(())
}
