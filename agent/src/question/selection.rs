//! Which connections are wanted, by numbers: clauses are looked up once in what repeats, so that a connection costs a few
//! comparisons.

use rusqlite::{Connection, Row as SqlRow};
use rustc_hash::FxHashSet;
use serde_json::Value;

use super::condition::{Clause, Place, Test, Wanted};
use super::{Answering, Asker, QuestionError, Range};
use crate::record::{EndpointRecord, SideName};
use crate::store::{StoreError, from_hex};

/// Clauses of one question: more than there are options.
const MAX_CLAUSES: usize = 64;
/// Rows between two words on how far it is.
const PAUSE: u64 = 1_024;

/// Stands for all names of a workload, and its key.
pub(super) const WORKLOAD_CALLED: &str = "workload.*";

type Numbers = FxHashSet<i64>;

/// A clause, looked up.
#[derive(Debug, Default)]
struct Resolved {
    answers: Numbers,
    clients: Numbers,
    servers: Numbers,
    client_holders: Numbers,
    server_holders: Numbers,
    client_ports: Vec<u16>,
    session_ids: Vec<[u8; 16]>,
    /// What only the whole record shows.
    records: Vec<Test>,
}

impl Resolved {
    /// Whether connections with these ends and this answer fulfil it, all of them.
    fn holds(&self, pairing: &Pairing) -> bool {
        self.answers.contains(&pairing.answer)
            || self.clients.contains(&pairing.client)
            || self.servers.contains(&pairing.server)
    }

    /// Whether some may, by what each has of its own.
    fn is_open(&self) -> bool {
        !(self.client_holders.is_empty()
            && self.server_holders.is_empty()
            && self.client_ports.is_empty()
            && self.session_ids.is_empty()
            && self.records.is_empty())
    }

    fn is_nothing(&self) -> bool {
        let by_pairing = [&self.answers, &self.clients, &self.servers];
        !self.is_open() && by_pairing.iter().all(|numbers| numbers.is_empty())
    }

    fn holds_row(&self, own: &Own) -> bool {
        own.client_holders.is_some_and(|holders| self.client_holders.contains(&holders))
            || own.server_holders.is_some_and(|holders| self.server_holders.contains(&holders))
            || self.client_ports.contains(&own.client_port)
            || own.session_id.is_some_and(|id| self.session_ids.contains(&id))
    }
}

/// Connections with the same ends and the same answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pairing {
    pub client: i64,
    pub server: i64,
    pub answer: i64,
}

/// What a connection has of its own.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Own {
    pub client_holders: Option<i64>,
    pub server_holders: Option<i64>,
    pub client_port: u16,
    pub session_id: Option<[u8; 16]>,
}

impl Own {
    /// From the columns that begin there, in this order.
    pub fn of(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Own> {
        Ok(Own {
            client_holders: row.get(column)?,
            server_holders: row.get(column + 1)?,
            client_port: row.get(column + 2)?,
            session_id: row.get(column + 3)?,
        })
    }
}

/// Clauses that a pairing leaves open, a bit for each.
pub(super) type Open = u64;

/// What is wanted.
#[derive(Debug, Default)]
pub(super) struct Selection {
    clauses: Vec<Resolved>,
}

impl Selection {
    /// Looks the clauses up, and narrows the range to the time in which there can be such connections.
    pub fn resolve(
        answering: &mut Answering<'_>,
        clauses: &[Clause],
        range: &mut Range,
    ) -> Result<Selection, QuestionError> {
        if clauses.len() > MAX_CLAUSES {
            return Err(QuestionError::Refused(format!("more than {MAX_CLAUSES} conditions")));
        }
        let Answering { reader, asker, .. } = answering;
        let mut lookup = Lookup { database: reader.database(), asker: &mut **asker, last: None };
        let mut resolved = Vec::new();
        for clause in clauses {
            resolved.push(lookup.clause(clause, range)?);
        }
        Ok(Selection { clauses: resolved })
    }

    /// Whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        self.clauses.is_empty()
    }

    /// Whether nothing can be what is wanted.
    pub fn is_nothing(&self) -> bool {
        self.clauses.iter().any(Resolved::is_nothing)
    }

    /// Whether each connection must be looked at to know.
    pub fn needs_rows(&self) -> bool {
        self.clauses.iter().any(Resolved::is_open)
    }

    /// Whether a connection's whole record may be needed to know.
    pub fn needs_records(&self) -> bool {
        self.clauses.iter().any(|clause| !clause.records.is_empty())
    }

    /// At which ends of a pairing is what is wanted: client, server.
    pub fn sides(&self, pairing: &Pairing) -> [bool; 2] {
        let client = self.clauses.iter().any(|clause| clause.clients.contains(&pairing.client));
        let server = self.clauses.iter().any(|clause| clause.servers.contains(&pairing.server));
        // What is wanted of the connection as a whole is at its server's.
        [client, server || !client]
    }

    /// What a pairing leaves open; `None` if none of its connections is wanted.
    pub fn open(&self, pairing: &Pairing) -> Option<Open> {
        let mut open = 0;
        for (bit, clause) in self.clauses.iter().enumerate() {
            match clause.holds(pairing) {
                true => {}
                false if clause.is_open() => open |= 1 << bit,
                false => return None,
            }
        }
        Some(open)
    }

    /// What a connection leaves open that only its record can tell; `None` if it is not wanted.
    pub fn open_for_record(&self, open: Open, own: &Own) -> Option<Open> {
        let mut left = 0;
        for (bit, clause) in self.clauses.iter().enumerate().filter(|(bit, _)| open & (1 << bit) != 0) {
            match clause.holds_row(own) {
                true => {}
                false if !clause.records.is_empty() => left |= 1 << bit,
                false => return None,
            }
        }
        Some(left)
    }

    /// Whether a record fulfils what was left open.
    pub fn holds_record(&self, open: Open, record: &Value) -> bool {
        let mut left = self.clauses.iter().enumerate().filter(|(bit, _)| open & (1 << bit) != 0);
        left.all(|(_, clause)| clause.records.iter().any(|test| test.holds(record)))
    }

    /// The few ends one of which every wanted connection has: clients and servers; `None` if they are not few.
    pub fn few_ends(&self) -> Option<(&FxHashSet<i64>, &FxHashSet<i64>)> {
        const FEW: usize = 1_000;
        let count = |clause: &&Resolved| clause.clients.len() + clause.servers.len();
        let by_ends = self.clauses.iter().filter(|clause| clause.answers.is_empty() && !clause.is_open());
        let fewest = by_ends.min_by_key(count).filter(|clause| count(clause) <= FEW)?;
        Some((&fewest.clients, &fewest.servers))
    }
}

/// Looks clauses up.
struct Lookup<'a> {
    database: &'a Connection,
    asker: &'a mut dyn Asker,
    /// What was looked up last: clauses ask for either end.
    last: Option<(String, Wanted, Numbers)>,
}

impl Lookup<'_> {
    fn clause(&mut self, clause: &Clause, range: &mut Range) -> Result<Resolved, QuestionError> {
        let mut resolved = Resolved::default();
        for test in clause {
            match test.place {
                Place::Answer => resolved.answers.extend(self.answers(test)?),
                Place::Endpoint(SideName::Client) => resolved.clients.extend(self.endpoints(test)?),
                Place::Endpoint(SideName::Server) => resolved.servers.extend(self.endpoints(test)?),
                Place::Holders(SideName::Client) => resolved.client_holders.extend(self.holders(test)?),
                Place::Holders(SideName::Server) => resolved.server_holders.extend(self.holders(test)?),
                Place::Row => row(test, &mut resolved),
            }
        }
        let by_holders = clause.iter().all(|test| matches!(test.place, Place::Holders(_)));
        if by_holders {
            self.narrow(&resolved, range)?;
        }
        Ok(resolved)
    }

    /// To when these held sockets.
    fn narrow(&self, resolved: &Resolved, range: &mut Range) -> Result<(), QuestionError> {
        let sql = "SELECT first_seen, seen_until FROM holders WHERE id = ?1";
        let mut statement = self.database.prepare_cached(sql)?;
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for holders in resolved.client_holders.iter().chain(&resolved.server_holders) {
            let seen: (i64, i64) = statement.query_row([holders], |row| Ok((row.get(0)?, row.get(1)?)))?;
            (first, last) = (first.min(seen.0), last.max(seen.1));
        }
        *range = Range { from: range.from.max(first), to: range.to.min(last.saturating_add(1)) };
        Ok(())
    }

    fn answers(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        let column = ["authentication", "encryption", "protocol", "scope"].contains(&&*test.path);
        match &test.wanted {
            Wanted::Is(value) if column => {
                self.numbers(&format!("SELECT id FROM answer WHERE {} = ?1", test.path), value)
            }
            _ => self.matching("SELECT id, record FROM answer", test),
        }
    }

    fn endpoints(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        if let Some((path, wanted, numbers)) = &self.last
            && (path, wanted) == (&test.path, &test.wanted)
        {
            return Ok(numbers.clone());
        }
        let numbers = self.endpoints_of(test)?;
        self.last = Some((test.path.clone(), test.wanted.clone(), numbers.clone()));
        Ok(numbers)
    }

    fn endpoints_of(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        let text = test.wanted.text();
        match (&*test.path, test.wanted.is_null()) {
            ("address" | "identity", false) => {
                self.numbers(&format!("SELECT id FROM endpoint WHERE {} = ?1", test.path), text)
            }
            ("certificates", false) => self.presenting(text),
            ("socket", false) => self.socket(text),
            (WORKLOAD_CALLED, false) => {
                let sql = "SELECT e.id, e.record, w.key FROM endpoint e JOIN workload w ON w.id = e.workload";
                self.called(sql, text)
            }
            // Only servers' ports are kept with the end.
            ("port", false) => self.counted(
                "SELECT DISTINCT p.server FROM edge e JOIN pairing p ON p.edge = e.id WHERE e.port = ?1",
                text,
            ),
            (path, false) if path.starts_with("workload.") => {
                self.matching("SELECT id, record FROM endpoint WHERE workload IS NOT NULL", test)
            }
            _ => self.matching("SELECT id, record FROM endpoint", test),
        }
    }

    /// Servers at `address port`.
    fn socket(&mut self, socket: &str) -> Result<Numbers, QuestionError> {
        let (address, port) = socket.split_once(' ').unwrap_or_default();
        let at_port = Test::new("server.port", Wanted::Is(port.to_owned()));
        let mut servers = self.endpoints(&at_port)?;
        let here = self.numbers("SELECT id FROM endpoint WHERE address = ?1", address)?;
        servers.retain(|server| here.contains(server));
        Ok(servers)
    }

    /// Ends of workloads that are called so.
    fn called(&mut self, sql: &str, name: &str) -> Result<Numbers, QuestionError> {
        let wanted = Wanted::Is(name.to_owned());
        let trace = wanted.trace();
        let (mut numbers, mut read) = (Numbers::default(), 0_u64);
        let mut statement = self.database.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            read += 1;
            if read.is_multiple_of(PAUSE) && self.asker.progress(0.0).is_break() {
                return Err(QuestionError::interrupted());
            }
            let text = |column| row.get_ref(column)?.as_str().map_err(|_| rusqlite::Error::InvalidQuery);
            let (record, key) = (text(1)?, text(2)?);
            let may_be = trace.as_ref().is_none_or(|trace| record.contains(&**trace));
            if key == name || (may_be && is_called(record, name)?) {
                numbers.insert(row.get(0)?);
            }
        }
        Ok(numbers)
    }

    /// Ends that presented a certificate with a fingerprint that begins so.
    fn presenting(&mut self, prefix: &str) -> Result<Numbers, QuestionError> {
        let Some((first, last)) = fingerprints(prefix) else { return Ok(Numbers::default()) };
        let sql = "SELECT endpoint FROM certificate c JOIN endpoint_certificate e ON e.certificate = c.id \
                   WHERE c.sha256 BETWEEN ?1 AND ?2";
        let mut statement = self.database.prepare_cached(sql)?;
        let found = statement.query_map([first, last], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(found)
    }

    /// Sets of processes that held a socket, in which there is one that is wanted.
    fn holders(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        let (among, path) = test.path.split_once('.').unwrap_or((&test.path, ""));
        let owner = among == "process";
        if let "role" | "source" = path {
            let sql = format!("SELECT DISTINCT holders FROM holder WHERE position > 0 AND {path} = ?1");
            return self.numbers(&sql, test.wanted.text());
        }
        let path = if owner { path } else { path.strip_prefix("process.").unwrap_or_default() };
        let processes = match path {
            "pid" | "start_time" | "namespace_pid" => {
                self.counted(&format!("SELECT id FROM process WHERE {path} = ?1"), test.wanted.text())?
            }
            "started" => self.started(&test.wanted)?,
            _ => self.running(&Test { path: path.to_owned(), ..test.clone() })?,
        };
        let sql = "SELECT holders, position FROM holder WHERE process = ?1";
        let mut statement = self.database.prepare_cached(sql)?;
        let mut holders = Numbers::default();
        for process in processes {
            let mut rows = statement.query([process])?;
            while let Some(row) = rows.next()? {
                let position: i64 = row.get(1)?;
                if (position == 0) == owner {
                    holders.insert(row.get(0)?);
                }
            }
        }
        Ok(holders)
    }

    fn started(&mut self, wanted: &Wanted) -> Result<Numbers, QuestionError> {
        let time = serde_json::from_value::<crate::record::WallTime>(Value::String(wanted.text().to_owned()));
        let Ok(time) = time else { return Ok(Numbers::default()) };
        let mut statement = self.database.prepare_cached("SELECT id FROM process WHERE started = ?1")?;
        let found = statement.query_map([time.0], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(found)
    }

    /// Processes that run such a program.
    fn running(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        let text = test.wanted.text();
        let programs = match &*test.path {
            "executable" | "comm" => {
                self.numbers(&format!("SELECT id FROM program WHERE {} = ?1", test.path), text)?
            }
            _ => self.matching("SELECT id, record FROM program", test)?,
        };
        let mut processes = Numbers::default();
        if programs.is_empty() {
            return Ok(processes);
        }
        let mut statement = self.database.prepare_cached("SELECT id, program FROM process")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if programs.contains(&row.get(1)?) {
                processes.insert(row.get(0)?);
            }
        }
        Ok(processes)
    }

    fn numbers(&mut self, sql: &str, value: &str) -> Result<Numbers, QuestionError> {
        let mut statement = self.database.prepare_cached(sql)?;
        let found = statement.query_map([value], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(found)
    }

    /// The same by a value that is a number.
    fn counted(&mut self, sql: &str, value: &str) -> Result<Numbers, QuestionError> {
        let Ok(value) = value.parse::<i64>() else { return Ok(Numbers::default()) };
        let mut statement = self.database.prepare_cached(sql)?;
        let found = statement.query_map([value], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(found)
    }

    /// Numbers of records (the second column) that pass the test.
    fn matching(&mut self, sql: &str, test: &Test) -> Result<Numbers, QuestionError> {
        let trace = test.wanted.trace();
        let mut statement = self.database.prepare_cached(sql)?;
        let (mut rows, mut numbers, mut read) = (statement.query([])?, Numbers::default(), 0_u64);
        while let Some(row) = rows.next()? {
            read += 1;
            if read.is_multiple_of(PAUSE) && self.asker.progress(0.0).is_break() {
                return Err(QuestionError::interrupted());
            }
            let text = row.get_ref(1)?.as_str().map_err(|_| rusqlite::Error::InvalidQuery)?;
            if trace.as_ref().is_some_and(|trace| !text.contains(&**trace)) {
                continue;
            }
            let record: Value = serde_json::from_str(text).map_err(StoreError::Record)?;
            if test.wanted.holds(&record, &test.path) {
                numbers.insert(row.get(0)?);
            }
        }
        Ok(numbers)
    }
}

/// Whether an end's workload has this name.
fn is_called(record: &str, name: &str) -> Result<bool, StoreError> {
    let end: EndpointRecord = serde_json::from_str(record)?;
    Ok(end.workload.is_some_and(|workload| workload.has_name(name)))
}

/// What can be told by columns, else by the record.
fn row(test: &Test, resolved: &mut Resolved) {
    let text = test.wanted.text();
    match &*test.path {
        "client.port" => resolved.client_ports.extend(text.parse::<u16>()),
        "session_id" if !test.wanted.is_null() => resolved.session_ids.extend(from_hex::<16>(text)),
        _ => resolved.records.push(test.clone()),
    }
}

/// The first and the last fingerprint that begins so.
pub(super) fn fingerprints(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    let filled = |digit: &str| {
        from_hex::<32>(&format!("{prefix}{}", digit.repeat(64_usize.checked_sub(prefix.len())?)))
    };
    Some((filled("0")?, filled("f")?))
}
