//! The agent's JSON Lines, as a reader of the contract keeps them: the highest revision of each connection.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::PATIENCE;

/// What `watch --json` has printed so far.
#[derive(Debug, Clone, Default)]
pub struct Records {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By id, which sorts by time.
    connections: BTreeMap<String, Value>,
    /// Certificates, findings, gaps in order of arrival.
    others: Vec<Value>,
    /// Violations of the contract.
    violations: Vec<String>,
    /// What the agent says in gaps that it lost since connections were last taken, whatever the cause.
    unread: usize,
    ended: bool,
}

/// Connections that were taken from what an agent printed.
#[derive(Debug)]
pub struct Taken {
    /// Each is final; oldest first.
    pub records: Vec<Value>,
    /// What the agent says in gaps that it lost meanwhile: records of any kind, events of the kernel.
    pub unread: usize,
}

/// No further connection has come for so long: no more is to be expected.
const QUIET: Duration = Duration::from_secs(2);

impl State {
    /// The ids of the final connections to a server port.
    fn closed_to(&self, port: u16) -> Vec<String> {
        let all: Vec<&Value> = self.connections.values().collect();
        let closed = to_port(&all, port).filter(|record| at(record, "/final") == &Value::Bool(true));
        closed.map(|record| text(record, "/id").to_owned()).collect()
    }
}

impl Records {
    /// Reads lines until the stream ends. One thread only reads: an agent drops what a slow reader does not take.
    pub fn read_from(&self, stream: impl Read + Send + 'static) {
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let records = self.clone();
        std::thread::spawn(move || {
            for line in lines {
                records.add(&line);
            }
            records.lock().ended = true;
            records.shared.changed.notify_all();
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: &str) {
        let mut guard = self.lock();
        let state = &mut *guard;
        match serde_json::from_str::<Value>(line) {
            Err(error) => state.violations.push(format!("no JSON ({error}): {line}")),
            Ok(record) if text(&record, "/schema") == "countersign.connection/1" => {
                let id = text(&record, "/id").to_owned();
                if let Some(earlier) = state.connections.get(&id) {
                    let (old, new) = (at(earlier, "/revision").as_u64(), at(&record, "/revision").as_u64());
                    // The same line comes again when another reader asks for what is open.
                    if earlier == &record {
                        return;
                    }
                    if new <= old {
                        let message = format!("revision {new:?} of {id} follows {old:?}");
                        state.violations.push(message);
                    }
                    if at(earlier, "/final") == &Value::Bool(true) {
                        state.violations.push(format!("{id} was revised after its final record"));
                    }
                }
                state.connections.insert(id, record);
            }
            Ok(record) => {
                // Only gaps lose something, and some cannot say how much.
                let lost = at(&record, "/lost").as_u64().map_or(0, |lost| lost as usize);
                state.unread = state.unread.saturating_add(lost);
                state.others.push(record);
            }
        }
        drop(guard);
        self.shared.changed.notify_all();
    }

    /// Waits until `choose` finds what it looks for among the connections, oldest first.
    ///
    /// # Errors
    /// When it does not within `patience`; says which connections there are.
    pub fn wait_for<T>(
        &self,
        what: &str,
        patience: Duration,
        mut choose: impl FnMut(&[&Value]) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            let all: Vec<&Value> = state.connections.values().collect();
            if let Some(found) = choose(&all) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                let ended = if state.ended { " (the watch has ended)" } else { "" };
                let last: Vec<String> = all.iter().rev().take(4).map(|record| record.to_string()).collect();
                let others: Vec<String> = state.others.iter().rev().take(4).map(Value::to_string).collect();
                bail!(
                    "no record of {what}{ended}; the last are:\n{}\nand of other kinds:\n{}",
                    last.join("\n"),
                    others.join("\n")
                );
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The `count` (or more) connections to a server port, oldest first, once each is final.
    ///
    /// # Errors
    /// When they do not come.
    pub fn closed_to(&self, port: u16, count: usize) -> Result<Vec<Value>> {
        self.wait_for(&format!("{count} closed connection(s) to port {port}"), PATIENCE, |all| {
            let found: Vec<&Value> = to_port(all, port).collect();
            let are_final = || found.iter().all(|record| at(record, "/final") == &Value::Bool(true));
            // Copied once there are enough: this is asked at each record that comes.
            (found.len() >= count && are_final())
                .then(|| found.iter().map(|record| (*record).clone()).collect())
        })
        .with_context(|| {
            let found: Vec<String> = self.so_far_to(port).iter().map(Value::to_string).collect();
            let gaps = self.others("gap").len();
            format!("{} record(s) to port {port} ({gaps} gaps):\n{}", found.len(), found.join("\n"))
        })
    }

    /// Takes the connections to a server port, oldest first, once `count` of them are final, or fewer if the agent says that it
    /// lost some: for thousands, which need not be kept.
    ///
    /// # Errors
    /// When they do not come.
    pub fn take_closed_to(&self, port: u16, count: usize) -> Result<Taken> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        let (mut before, mut since) = (0, Instant::now());
        let ids = loop {
            let known = state.connections.len();
            // Of thousands, each is not looked at each time that one comes.
            let ids = if known + state.unread < count { Vec::new() } else { state.closed_to(port) };
            // What was dropped may have been of any kind: whatever still comes is waited for.
            if ids.len() != before {
                (before, since) = (ids.len(), Instant::now());
            }
            let quiet = since.elapsed() >= QUIET;
            if ids.len() >= count || (quiet && state.unread > 0 && ids.len() + state.unread >= count) {
                break ids;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.ended {
                let gaps: Vec<&Value> =
                    state.others.iter().filter(|record| !at(record, "/cause").is_null()).collect();
                bail!(
                    "{} of {count} connections to port {port}, {} not to be had: {gaps:?}",
                    ids.len(),
                    state.unread
                );
            }
            let wait = self.shared.changed.wait_timeout(state, left.min(QUIET));
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        };
        let records = ids.iter().filter_map(|id| state.connections.remove(id)).collect();
        Ok(Taken { records, unread: std::mem::take(&mut state.unread) })
    }

    /// The one connection to a server port, once it is final.
    ///
    /// # Errors
    /// When it does not come, or is reported as more than one record.
    pub fn one_closed_to(&self, port: u16) -> Result<Value> {
        let mut found = self.closed_to(port, 1)?;
        match (found.pop(), found.len()) {
            (Some(record), 0) => Ok(record),
            (last, more) => bail!("{} records for one connection: {found:?} {last:?}", more + 1),
        }
    }

    /// The first connection to a server port that is decided, open or not.
    ///
    /// # Errors
    /// When it does not come.
    pub fn decided_to(&self, port: u16) -> Result<Value> {
        self.wait_for(&format!("a connection to port {port}"), PATIENCE, |all| {
            to_port(all, port).next().cloned()
        })
    }

    /// Connections to a server port so far.
    #[must_use]
    pub fn so_far_to(&self, port: u16) -> Vec<Value> {
        let state = self.lock();
        let all: Vec<&Value> = state.connections.values().collect();
        to_port(&all, port).cloned().collect()
    }

    /// Records of another schema so far: `certificate`, `finding`, `gap`.
    #[must_use]
    pub fn others(&self, kind: &str) -> Vec<Value> {
        let schema = format!("countersign.{kind}/1");
        self.lock().others.iter().filter(|record| text(record, "/schema") == schema).cloned().collect()
    }

    /// Where the contract of revisions was broken, or a line was no JSON.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }
}

/// Connections whose server port, dialled or real, is `port`.
fn to_port<'a>(all: &'a [&'a Value], port: u16) -> impl Iterator<Item = &'a Value> {
    let port = u64::from(port);
    all.iter().copied().filter(move |record| {
        ["/server/port", "/server/dialled_port"]
            .iter()
            .any(|pointer| at(record, pointer).as_u64() == Some(port))
    })
}

/// The value at a JSON pointer, null if there is none.
#[must_use]
pub fn at<'a>(record: &'a Value, pointer: &str) -> &'a Value {
    record.pointer(pointer).unwrap_or(&Value::Null)
}

/// The string at a JSON pointer, empty if there is none.
#[must_use]
pub fn text<'a>(record: &'a Value, pointer: &str) -> &'a str {
    at(record, pointer).as_str().unwrap_or_default()
}
