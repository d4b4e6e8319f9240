//! The history as an operator meets it: full and read-only file systems, damaged files, kill -9.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use countersign_tests::{
    Agent, AgentOptions, Mount, PATIENCE, Signal, Testbed, agent_binary, output_of, ready, request_to_self,
    until,
};

/// Times that the agent is killed.
const KILLS: usize = 50;
/// Daemons at a time.
const LANES: usize = 2;
/// What was said so long before the agent was killed has to be in the file: a batch waits for a second, and takes its time
/// where the machine is busy.
const BATCH: Duration = Duration::from_millis(2_000);

/// An agent that does not probe libraries: it ends at once.
fn wire_only() -> AgentOptions {
    AgentOptions { configuration: "[libraries]\nenabled = false\n".to_owned(), ..AgentOptions::default() }
}

fn database(agent: &Agent) -> PathBuf {
    agent.folder.join("data/countersign.db")
}

/// What sqlite3(1) answers.
fn ask(file: &Path, sql: &str) -> Result<String> {
    let answer =
        output_of(Command::new("sqlite3").args(["-readonly", "-cmd", ".timeout 5000"]).arg(file).arg(sql))?;
    Ok(answer.trim().to_owned())
}

/// Final records of connections to a port.
fn kept(file: &Path, port: u16) -> Result<u64> {
    let sql = format!(
        "SELECT count(*) FROM connection c JOIN pairing p ON p.id = c.pairing JOIN edge e ON e.id = p.edge \
         WHERE e.port = {port} AND c.revision % 2 = 1"
    );
    Ok(ask(file, &sql)?.parse()?)
}

/// A connection of this process, waited for in the file.
fn is_kept(agent: &Agent) -> Result<()> {
    let port = request_to_self(None, [127, 0, 0, 1].into())?;
    until("a connection in the history", PATIENCE, || {
        // A file that is being made has no tables yet.
        Ok(kept(&database(agent), port).ok().filter(|kept| *kept == 1))
    })
    .with_context(|| agent.log())
    .map(drop)
}

fn state_is(agent: &Agent, state: &str) -> Result<()> {
    until(&format!("the history to be {state}"), PATIENCE, || {
        Ok((agent.metric("countersign_history_state", &format!("\"{state}\""))? == 1.0).then_some(()))
    })
    .with_context(|| agent.log())
}

/// The health page, which stays one of success.
fn health(agent: &Agent) -> Result<String> {
    let (status, page) = agent.http("GET", "/healthz")?;
    ensure!(status == 200, "{status}: {page}");
    Ok(page)
}

/// Connections to one port, one after another, until it is told to stop; gives the client's port of each.
fn load(listener: &TcpListener, stop: &AtomicBool, done: &Mutex<Vec<u16>>) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        let port = client.local_addr()?.port();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n")?;
        server.read_exact(&mut [0; 18])?;
        drop((client, server));
        done.lock().map_err(|_| anyhow::anyhow!("the load panicked"))?.push(port);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[test]
fn what_was_seen_is_in_a_file_that_only_root_reads() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    use std::os::unix::fs::PermissionsExt as _;
    let agent = Agent::start(wire_only())?;
    is_kept(&agent)?;
    for end in ["", "-wal", "-shm"] {
        let mut name = database(&agent).into_os_string();
        name.push(end);
        let mode = fs::metadata(&name)?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", name.display());
    }
    assert_eq!(health(&agent)?, "ok\n");
    let file = database(&agent);
    agent.end(Signal::SIGTERM)?;
    assert_eq!(ask(&file, "PRAGMA integrity_check")?, "ok");
    Ok(())
}

#[test]
fn a_full_disk_stops_nothing_and_what_was_lost_is_said() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let folder = Testbed::shared().folder("full")?;
    let data = folder.join("data");
    fs::create_dir_all(&data)?;
    let _disk = Mount::new(&data, &["-t", "tmpfs", "-o", "size=6m", "tmpfs"])?;
    let agent = Agent::start(AgentOptions { folder: Some(folder), ..wire_only() })?;
    is_kept(&agent)?;
    let filler = data.join("filler");
    // Until nothing more fits.
    drop(fs::File::create(&filler)?.write_all(&vec![0; 8 << 20]));
    let stop = AtomicBool::new(false);
    let filled = std::thread::scope(|scope| {
        let asking = scope.spawn(|| questions(&agent, &stop));
        let filled = fill(&agent, &filler);
        stop.store(true, Ordering::Relaxed);
        let asked = asking.join().map_err(|_| anyhow::anyhow!("whoever asked panicked"))??;
        println!("{asked} questions were answered meanwhile");
        filled
    });
    let made = filled?;
    is_kept(&agent)?;
    let gap = until("the gap", PATIENCE, || {
        let lost = ask(&database(&agent), "SELECT lost FROM gap WHERE cause = 'history_full'")?;
        Ok(lost.lines().find_map(|line| line.parse::<f64>().ok()).filter(|lost| *lost > 0.0))
    })?;
    assert!(gap <= f64::from(made) * 2.0, "{gap} of {made}");
    assert!(agent.log().contains("no room is left on its disk"), "{}", agent.log());
    Ok(())
}

/// Asks the daemon until it is told to stop, and gives how often: each question is answered with what there is.
fn questions(agent: &Agent, stop: &AtomicBool) -> Result<usize> {
    let mut asked = 0;
    while !stop.load(Ordering::Relaxed) {
        for question in [&["connections", "--limit", "20"][..], &["edges"], &["workloads", "--history"]] {
            let mut command = Command::new(agent_binary());
            command.args(question).arg("--socket").arg(agent.folder.join("socket"));
            output_of(&mut command).with_context(|| format!("{question:?}: {}", agent.log()))?;
            asked += 1;
        }
    }
    Ok(asked)
}

/// More than fits, until that is noticed, and then room again. Gives the connections that were made.
fn fill(agent: &Agent, filler: &Path) -> Result<u32> {
    // Beyond what the file can take in its own free space, and beyond the queue.
    let mut made = 0;
    until("the disk to be noticed", PATIENCE, || {
        for _ in 0..500 {
            request_to_self(None, [127, 0, 0, 1].into())?;
        }
        made += 500;
        Ok((agent.metric("countersign_history_records_lost_total", "full")? > 0.0).then_some(()))
    })
    .with_context(|| agent.log())?;
    state_is(agent, "full")?;
    assert!(health(agent)?.starts_with("degraded: history: "), "{}", health(agent)?);
    // It watches on, perhaps behind all these connections.
    agent.fence().or_else(|_| agent.fence()).with_context(|| agent.log())?;
    fs::remove_file(filler)?;
    state_is(agent, "writing")?;
    assert_eq!(health(agent)?, "ok\n");
    Ok(made)
}

#[test]
fn a_file_that_cannot_be_written_is_waited_for() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(wire_only())?;
    let (file, folder) = (database(&agent), agent.folder.clone());
    is_kept(&agent)?;
    agent.end(Signal::SIGTERM)?;
    let text = file.to_str().context("a path that is text")?.to_owned();
    let bound = Mount::new(&file, &["--bind", &text])?;
    output_of(Command::new("mount").args(["-o", "remount,bind,ro", &text]))?;
    let agent = Agent::start(AgentOptions { folder: Some(folder), ..wire_only() })?;
    state_is(&agent, "read_only")?;
    assert!(health(&agent)?.contains("cannot be written"), "{}", health(&agent)?);
    drop(bound);
    state_is(&agent, "writing")?;
    is_kept(&agent)
}

#[test]
fn a_damaged_file_is_set_aside_and_one_that_was_removed_made_anew() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let agent = Agent::start(wire_only())?;
    let file = database(&agent);
    is_kept(&agent)?;
    // Everything into the file itself, and garbage over it.
    output_of(Command::new("sqlite3").arg(&file).arg("PRAGMA wal_checkpoint(TRUNCATE)"))?;
    let garbage = vec![0x5a; usize::try_from(fs::metadata(&file)?.len())?];
    fs::OpenOptions::new().write(true).open(&file)?.write_all(&garbage)?;
    let aside = until("the damaged file to be set aside", PATIENCE * 2, || {
        request_to_self(None, [127, 0, 0, 1].into())?;
        let names = fs::read_dir(agent.folder.join("data"))?.flatten().map(|entry| entry.path());
        let aside = |path: &PathBuf| {
            let name = path.to_string_lossy();
            name.contains(".corrupt-") && !name.ends_with("-wal") && !name.ends_with("-shm")
        };
        Ok(names.into_iter().find(aside))
    })
    .with_context(|| agent.log())?;
    let kept = fs::read(&aside)?;
    assert!(kept.windows(4_096).any(|page| *page == garbage[..4_096]), "what was damaged is kept");
    is_kept(&agent)?;
    until("the gap", PATIENCE, || {
        let gaps = ask(&file, "SELECT count(*) FROM gap WHERE cause = 'history_corrupt'")?;
        Ok((gaps == "1").then_some(()))
    })?;
    for end in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{}{end}", file.display())).context("remove the history")?;
    }
    until("a new file", PATIENCE * 2, || Ok(file.exists().then_some(())))?;
    is_kept(&agent)?;
    assert_eq!(health(&agent)?, "ok\n");
    Ok(())
}

#[test]
fn killed_fifty_times_under_load_it_misses_no_more_than_a_batch() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // Most of a round is waiting: several daemons, each with a file of its own, are killed side by side.
    let checked = std::thread::scope(|scope| {
        let lanes: Vec<_> =
            (0..LANES).map(|lane| scope.spawn(move || killed_again_and_again(lane))).collect();
        lanes.into_iter().try_fold(0, |sum, lane| -> Result<usize> {
            Ok(sum + lane.join().map_err(|_| anyhow::anyhow!("a lane panicked"))??)
        })
    })?;
    ensure!(checked > KILLS * 10, "only {checked} connections were old enough");
    println!("{checked} connections were in the files after {KILLS} kills");
    Ok(())
}

/// A lane's part of the kills; gives how many connections were looked for.
fn killed_again_and_again(lane: usize) -> Result<usize> {
    let folder = Testbed::shared().folder("killed")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut checked = 0;
    for round in (lane..KILLS).step_by(LANES) {
        let agent = Agent::start(AgentOptions { folder: Some(folder.clone()), ..wire_only() })?;
        let (file, log) = (database(&agent), agent.log());
        let (stop, done) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let begun = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let due = std::thread::scope(|scope| -> Result<Vec<u16>> {
            let loading = scope.spawn(|| load(&listener, &stop, &done));
            // Another moment of the batch each time.
            std::thread::sleep(Duration::from_millis(500 + (round as u64 * 37) % 1_000));
            let due = done.lock().map_or_else(|_| Vec::new(), |done| done.clone());
            // What the agent has said of its own connection it has said of those before.
            let said = agent.fence();
            std::thread::sleep(BATCH);
            let ended = agent.end(Signal::SIGKILL);
            stop.store(true, Ordering::Relaxed);
            loading.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
            said.and(ended).map(|_| due)
        })?;
        ensure!(ask(&file, "PRAGMA integrity_check")? == "ok", "round {round}: the file is damaged");
        let sql = format!(
            "SELECT c.client_port FROM connection c JOIN pairing p ON p.id = c.pairing \
             JOIN edge e ON e.id = p.edge WHERE e.port = {port} AND c.revision % 2 = 1 AND c.opened >= {begun}"
        );
        let answer = ask(&file, &sql)?;
        let kept: std::collections::HashSet<&str> = answer.lines().collect();
        checked += due.len();
        let missing = due.iter().filter(|client| !kept.contains(client.to_string().as_str())).count();
        ensure!(missing == 0, "round {round}: {missing} of {} are missing\n{log}", due.len());
    }
    Ok(checked)
}
