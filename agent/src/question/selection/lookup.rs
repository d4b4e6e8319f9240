//! Looks clauses up in what repeats.

use rusqlite::Connection;
use serde_json::Value;

use super::{Numbers, Resolved, WORKLOAD_CALLED, fingerprints};
use crate::question::condition::{Clause, Place, Test, Wanted};
use crate::question::{Asker, QuestionError, Range};
use crate::record::SideName;
use crate::store::{StoreError, from_hex};

/// Rows between two words on how far it is.
const PAUSE: u64 = 1_024;

/// Fields of the record that `answer` has columns for.
const ANSWER_COLUMNS: [(&str, &str); 7] = [
    ("authentication", "authentication"),
    ("encryption", "encryption"),
    ("protocol", "protocol"),
    ("scope", "scope"),
    ("tls.server_name", "server_name"),
    ("tls.client_public_key_sha256", "client_public_key_sha256"),
    ("tls.server_public_key_sha256", "server_public_key_sha256"),
];

/// Looks clauses up.
pub(super) struct Lookup<'a> {
    pub database: &'a Connection,
    pub asker: &'a mut dyn Asker,
    /// What was looked up last: clauses ask for either end.
    pub last: Option<(String, Wanted, Numbers)>,
}

impl Lookup<'_> {
    pub fn clause(&mut self, clause: &Clause) -> Result<Resolved, QuestionError> {
        let mut resolved = Resolved::default();
        for test in clause {
            match test.place {
                Place::Answer => resolved.answers.extend(self.answers(test)?),
                Place::Endpoint(SideName::Client) => {
                    resolved.clients.extend(self.endpoints(test)?);
                    resolved.visitors.extend(self.visitors(test)?);
                }
                Place::Endpoint(SideName::Server) => resolved.servers.extend(self.endpoints(test)?),
                Place::Holders(SideName::Client) => resolved.client_holders.extend(self.holders(test)?),
                Place::Holders(SideName::Server) => resolved.server_holders.extend(self.holders(test)?),
                Place::Row => row(test, &mut resolved),
            }
        }
        self.held(&mut resolved)?;
        Ok(resolved)
    }

    /// Of which pairings these held sockets, and when.
    fn held(&self, resolved: &mut Resolved) -> Result<(), QuestionError> {
        let sql = "SELECT pairing, first_seen, seen_until FROM held JOIN holders ON id = holders WHERE holders = ?1";
        let mut statement = self.database.prepare_cached(sql)?;
        for holders in resolved.client_holders.iter().chain(&resolved.server_holders) {
            let mut rows = statement.query([holders])?;
            while let Some(row) = rows.next()? {
                let seen = Range { from: row.get(1)?, to: row.get::<_, i64>(2)?.saturating_add(1) };
                resolved.held.entry(row.get(0)?).or_default().add(seen);
            }
        }
        Ok(())
    }

    fn answers(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        let column = ANSWER_COLUMNS.iter().find(|(path, _)| test.path == *path);
        match (&test.wanted, column) {
            (Wanted::Is(value), Some((_, column))) => {
                self.numbers(&format!("SELECT id FROM answer WHERE {column} = ?1"), value)
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

    /// Clients of whom nothing but the address is known.
    fn visitors(&mut self, test: &Test) -> Result<Numbers, QuestionError> {
        match (&*test.path, test.wanted.is_null()) {
            ("address", false) => {
                self.numbers("SELECT id FROM visitor WHERE address = ?1", test.wanted.text())
            }
            _ => Ok(Numbers::default()),
        }
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
                self.numbers("SELECT endpoint FROM endpoint_name WHERE name = ?1", text)
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

/// What can be told by columns, else by the record.
fn row(test: &Test, resolved: &mut Resolved) {
    let text = test.wanted.text();
    match &*test.path {
        "client.port" => resolved.client_ports.extend(text.parse::<u16>()),
        "session_id" if !test.wanted.is_null() => resolved.session_ids.extend(from_hex::<16>(text)),
        _ => resolved.records.push(test.clone()),
    }
}
