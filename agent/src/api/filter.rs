//! Which records a reader wants: the same on the command line, in the query and at the server.

use std::str::FromStr;

use crate::record::{Authentication, ConnectionRecord, EndpointRecord, Record, Scope};

/// What a reader wants. Values of one kind are alternatives, different kinds must all match; empty wants all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchFilter {
    /// What was established.
    pub authentication: Vec<Authentication>,
    /// Where the ends are.
    pub scope: Vec<Scope>,
    /// Codes, at least one of which the connection has.
    pub finding: Vec<String>,
    /// Processes that held either end.
    pub pid: Vec<u32>,
    /// systemd units of either end.
    pub unit: Vec<String>,
    /// Workloads of either end, by name, pod or container.
    pub workload: Vec<String>,
    /// Who answers for either end, by the file of owners.
    pub owner: Vec<String>,
    /// The server's port, or the one the client dialled.
    pub port: Vec<u16>,
    /// Only final revisions.
    pub closed: bool,
    /// Begin with the connections that are open when the reader comes.
    pub open: bool,
}

/// Why a query is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// No such filter.
    #[error(
        "`{0}` is not a filter: they are authentication, scope, finding, pid, unit, workload, owner, port, closed, open"
    )]
    Unknown(String),
    /// Not a value of this filter.
    #[error("{name}: {message}")]
    Value {
        /// The filter.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
}

impl WatchFilter {
    /// Reads `authentication=none&port=443&closed=true`.
    pub fn from_query(query: &str) -> Result<WatchFilter, FilterError> {
        let mut filter = WatchFilter::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "authentication" => filter.authentication.push(parsed("authentication", &value)?),
                "scope" => filter.scope.push(parsed("scope", &value)?),
                "finding" => filter.finding.push(value.into_owned()),
                "pid" => filter.pid.push(parsed("pid", &value)?),
                "unit" => filter.unit.push(value.into_owned()),
                "workload" => filter.workload.push(value.into_owned()),
                "owner" => filter.owner.push(value.into_owned()),
                "port" => filter.port.push(parsed("port", &value)?),
                "closed" => filter.closed = parsed("closed", &value)?,
                "open" => filter.open = parsed("open", &value)?,
                _ => return Err(FilterError::Unknown(name.into_owned())),
            }
        }
        Ok(filter)
    }

    /// The query that [`WatchFilter::from_query`] reads back.
    pub fn to_query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.authentication.iter().map(|name| ("authentication", name.as_str())));
        query.extend_pairs(self.scope.iter().map(|name| ("scope", name.as_str())));
        query.extend_pairs(self.finding.iter().map(|code| ("finding", code)));
        query.extend_pairs(self.pid.iter().map(|pid| ("pid", pid.to_string())));
        query.extend_pairs(self.unit.iter().map(|unit| ("unit", unit)));
        query.extend_pairs(self.workload.iter().map(|name| ("workload", name)));
        query.extend_pairs(self.owner.iter().map(|owner| ("owner", owner)));
        query.extend_pairs(self.port.iter().map(|port| ("port", port.to_string())));
        if self.closed {
            query.append_pair("closed", "true");
        }
        if self.open {
            query.append_pair("open", "true");
        }
        query.finish()
    }

    /// Whether a connection is wanted in this revision.
    pub fn matches(&self, connection: &ConnectionRecord) -> bool {
        let ends = [&connection.client, &connection.server];
        let server = &connection.server;
        wants(&self.authentication, |wanted| *wanted == connection.authentication)
            && wants(&self.scope, |wanted| *wanted == connection.scope)
            && wants(&self.finding, |code| connection.findings.iter().any(|found| found == code))
            && wants(&self.pid, |pid| ends.iter().any(|end| held_by(end, *pid)))
            && wants(&self.unit, |unit| ends.iter().any(|end| is_of_unit(end, unit)))
            && wants(&self.workload, |name| ends.iter().any(|end| is_of_workload(end, name)))
            && wants(&self.owner, |owner| ends.iter().any(|end| is_owned_by(end, owner)))
            && wants(&self.port, |port| server.port == *port || server.dialled_port == Some(*port))
            && (!self.closed || connection.r#final)
    }

    /// Whether a record of any kind is wanted. Gaps always are: they say what the rest does not.
    /// Findings and certificates name no process or port: a filter by those leaves them out.
    pub fn wants(&self, record: &Record) -> bool {
        match record {
            Record::Connection(connection) => self.matches(connection),
            Record::Gap(_) => true,
            Record::Finding(finding) => {
                wants(&self.finding, |code| *code == finding.code)
                    && WatchFilter { finding: Vec::new(), closed: false, open: false, ..self.clone() }
                        .is_empty()
            }
            Record::Certificate(_) => WatchFilter { closed: false, open: false, ..self.clone() }.is_empty(),
        }
    }

    fn is_empty(&self) -> bool {
        *self == WatchFilter::default()
    }
}

fn wants<T>(wanted: &[T], is: impl Fn(&T) -> bool) -> bool {
    wanted.is_empty() || wanted.iter().any(is)
}

fn held_by(end: &EndpointRecord, pid: u32) -> bool {
    end.process
        .iter()
        .chain(end.processes.iter().map(|holder| &holder.process))
        .any(|process| process.pid == pid)
}

fn is_of_unit(end: &EndpointRecord, unit: &str) -> bool {
    end.workload.as_ref().and_then(|workload| workload.unit.as_deref()) == Some(unit)
}

fn is_of_workload(end: &EndpointRecord, name: &str) -> bool {
    end.workload.as_ref().is_some_and(|workload| workload.has_name(name))
}

fn is_owned_by(end: &EndpointRecord, owner: &str) -> bool {
    end.labels.as_ref().and_then(|labels| labels.owner.as_deref()) == Some(owner)
}

fn parsed<T>(name: &'static str, value: &str) -> Result<T, FilterError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    value.parse().map_err(|error: T::Err| FilterError::Value { name, message: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sample::connection;
    use crate::record::{HolderRecord, LabelsRecord, ProcessRecord, WorkloadRecord};

    fn process(pid: u32) -> ProcessRecord {
        ProcessRecord { pid, start_time: 1, comm: "x".into(), ..ProcessRecord::default() }
    }

    fn query(text: &str) -> WatchFilter {
        WatchFilter::from_query(text).unwrap()
    }

    #[test]
    fn each_filter_selects_and_all_must_match() {
        let mut record = connection(1);
        record.authentication = Authentication::None;
        record.scope = Scope::EastWest;
        record.findings = vec!["unauthenticated_east_west".into()];
        record.client.process = Some(process(10).into());
        let accepted =
            HolderRecord { process: process(20).into(), role: "accept".into(), source: "getpeername".into() };
        record.server.processes = vec![accepted];
        record.server.workload =
            Some(WorkloadRecord { unit: Some("nginx.service".into()), ..WorkloadRecord::default() }.into());
        let pod = WorkloadRecord {
            name: "prod/db-0".into(),
            pod: Some("db-0".into()),
            container: Some("postgres".into()),
            ..WorkloadRecord::default()
        };
        record.client.workload = Some(pod.into());
        let labels = LabelsRecord { owner: Some("web team".into()), ..LabelsRecord::default() };
        record.server.labels = Some(labels.into());
        record.server.port = 8443;
        record.server.dialled_port = Some(443);
        for (text, expected) in [
            ("", true),
            ("authentication=none", true),
            ("authentication=mutual", false),
            ("authentication=mutual&authentication=none", true),
            ("scope=east_west&authentication=none", true),
            ("scope=loopback&authentication=none", false),
            ("finding=unauthenticated_east_west", true),
            ("finding=deprecated_tls_version", false),
            ("pid=10", true),
            ("pid=20", true),
            ("pid=30", false),
            ("unit=nginx.service", true),
            ("unit=nginx", false),
            ("workload=prod/db-0", true),
            ("workload=db-0", true),
            ("workload=postgres", true),
            ("workload=prod", false),
            ("workload=nginx.service", true),
            ("owner=web%20team", true),
            ("owner=web", false),
            ("owner=web%20team&workload=other", false),
            ("port=8443", true),
            ("port=443", true),
            ("port=80", false),
            ("closed=true", false),
            ("closed=false", true),
        ] {
            assert_eq!(query(text).matches(&record), expected, "{text}");
        }
        record.r#final = true;
        assert!(query("closed=true").matches(&record));
    }

    #[test]
    fn a_query_is_read_back_as_it_was_meant() {
        let filter = WatchFilter {
            authentication: vec![Authentication::None, Authentication::ServerOnly],
            scope: vec![Scope::Loopback],
            finding: vec!["a b&c=d".into()],
            pid: vec![1],
            unit: vec!["systemd-\\x2d ü.service".into()],
            workload: vec!["prod/db-0".into()],
            owner: vec!["web & co".into()],
            port: vec![1, 65535],
            closed: true,
            open: true,
        };
        assert_eq!(query(&filter.to_query()), filter);
        assert_eq!(WatchFilter::default().to_query(), "");
    }

    #[test]
    fn a_wrong_query_is_refused_with_its_name() {
        for (text, expected) in [
            ("colour=red", "`colour` is not a filter: they are authentication"),
            ("authentication=plaintext", "authentication: `plaintext` is not one of none, server_only"),
            ("port=70000", "port: number too large"),
            ("pid=-1", "pid: invalid digit"),
            ("closed=yes", "closed: provided string was not `true` or `false`"),
        ] {
            let refusal = WatchFilter::from_query(text).unwrap_err().to_string();
            assert!(refusal.starts_with(expected), "{refusal}");
        }
    }
}
