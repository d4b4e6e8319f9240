//! Conditions on fields of `countersign.connection/1`, and where the store keeps these fields.

use std::borrow::Cow;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{QuestionError, fields};
use crate::record::SideName;

/// `FIELD=VALUE`: a field of a record with its path (`tls.ja4`, `server.workload.namespace`) has this value. Of a list,
/// one element has it. `null` is meant where something is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    field: String,
    value: String,
}

impl Condition {
    /// As an alternative, of connections.
    pub(super) fn of_connection(&self) -> Result<Test, QuestionError> {
        fields::check(std::slice::from_ref(self), fields::connection())?;
        Ok(Test::new(&self.field, self.wanted()))
    }

    /// The path of its field.
    pub(super) fn field(&self) -> &str {
        &self.field
    }

    /// Whether a record, of which all fields are there, fulfils it.
    pub(super) fn holds(&self, record: &Value) -> bool {
        self.wanted().holds(record, &self.field)
    }

    fn wanted(&self) -> Wanted {
        if self.value == "null" { Wanted::Null } else { Wanted::Is(self.value.clone()) }
    }
}

/// What was typed is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not FIELD=VALUE")]
pub struct ConditionError(String);

impl FromStr for Condition {
    type Err = ConditionError;

    fn from_str(text: &str) -> Result<Self, ConditionError> {
        match text.split_once('=') {
            Some((field, value)) => Ok(Condition { field: field.to_owned(), value: value.to_owned() }),
            None => Err(ConditionError(text.chars().take(100).collect())),
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.field, self.value)
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;

    fn try_from(text: String) -> Result<Self, ConditionError> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.to_string()
    }
}

/// What a field is to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    /// Missing.
    Null,
    Is(String),
    /// Hex that begins so.
    Begins(String),
}

impl Wanted {
    pub fn text(&self) -> &str {
        match self {
            Wanted::Is(text) | Wanted::Begins(text) => text,
            Wanted::Null => "",
        }
    }

    pub fn is_null(&self) -> bool {
        *self == Wanted::Null
    }

    /// Whether a text is wanted.
    pub fn holds_text(&self, text: &str) -> bool {
        match self {
            Wanted::Is(wanted) => text == wanted,
            Wanted::Begins(wanted) => text.starts_with(wanted.as_str()),
            Wanted::Null => false,
        }
    }

    /// Whether the field of this path is what is wanted.
    pub fn holds(&self, value: &Value, path: &str) -> bool {
        match value {
            Value::Array(elements) => elements.iter().any(|element| self.holds(element, path)),
            Value::Object(fields) if !path.is_empty() => {
                let (name, rest) = path.split_once('.').unwrap_or((path, ""));
                fields.get(name).map_or(self.is_null(), |value| self.holds(value, rest))
            }
            Value::Object(_) => false,
            Value::Null => self.is_null(),
            _ if !path.is_empty() => false,
            Value::String(text) => self.holds_text(text),
            Value::Bool(value) => self.holds_text(if *value { "true" } else { "false" }),
            Value::Number(number) => self.holds_text(&number.to_string()),
        }
    }

    /// What JSON contains that has this value somewhere; `None` if that cannot be said.
    pub fn trace(&self) -> Option<Cow<'_, str>> {
        let quoted = serde_json::to_string(self.text()).ok()?;
        (!self.is_null()).then(|| Cow::Owned(quoted[1..quoted.len() - 1].to_owned()))
    }
}

/// Where a field is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Once for many connections: what was said of them.
    Answer,
    /// Once for many connections: an end, without its processes.
    Endpoint(SideName),
    /// Once for many connections: processes that held an end.
    Holders(SideName),
    /// With each connection.
    Row,
}

/// One alternative of a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Test {
    pub place: Place,
    /// Within the place; of a row that of the record.
    pub path: String,
    pub wanted: Wanted,
}

/// Fields that each connection has of its own.
const OF_ROWS: [&str; 10] = [
    "id",
    "revision",
    "final",
    "session_id",
    "opened",
    "decided",
    "closed",
    "close_reason",
    "cleartext_examined",
    "bytes",
];

impl Test {
    /// Of a field of the record.
    pub fn new(field: &str, wanted: Wanted) -> Test {
        let (first, rest) = field.split_once('.').unwrap_or((field, ""));
        let side = match first {
            "client" => SideName::Client,
            "server" => SideName::Server,
            _ => {
                let place = if OF_ROWS.contains(&first) { Place::Row } else { Place::Answer };
                return Test { place, path: field.to_owned(), wanted };
            }
        };
        let place = match rest.split('.').next().unwrap_or_default() {
            // Nobody held it: no row of theirs says so.
            "process" | "processes" if wanted.is_null() => Place::Row,
            "process" | "processes" => Place::Holders(side),
            "translated" | "inherited_from" => Place::Row,
            "port" if side == SideName::Client => Place::Row,
            _ => Place::Endpoint(side),
        };
        let path = if place == Place::Row { field } else { rest };
        Test { place, path: path.to_owned(), wanted }
    }

    /// Of a field of either end.
    pub fn either(field: &str, wanted: &Wanted) -> [Test; 2] {
        ["client", "server"].map(|end| Test::new(&format!("{end}.{field}"), wanted.clone()))
    }

    /// Whether a record is one that is wanted; only of rows.
    pub fn holds(&self, record: &Value) -> bool {
        self.wanted.holds(record, &self.path)
    }
}

/// Alternatives, of which one must hold.
pub(super) type Clause = Vec<Test>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_field_of_the_record_and_its_value() {
        for text in [
            "tls.ja4=x",
            "server.workload.namespace=a=b",
            "client.process.uid=0",
            "client.processes.role=use",
        ] {
            let condition: Condition = text.parse().unwrap();
            assert_eq!(condition.to_string(), text);
            assert!(condition.of_connection().is_ok(), "{text}");
        }
        for wrong in [
            "",
            "tls.ja4",
            "tls=x",
            "colour=red",
            "client.process.colour=1",
            "tls.ja4.x=1",
            ".=1",
            "client.=1",
        ] {
            let condition = wrong.parse::<Condition>();
            assert!(condition.is_err() || condition.is_ok_and(|one| one.of_connection().is_err()), "{wrong}");
        }
    }

    #[test]
    fn a_value_is_found_in_lists_and_as_what_it_is() {
        let record = serde_json::json!({
            "a": [{"b": 1}, {"b": "x\"y"}], "c": null, "d": true, "e": {"f": null}
        });
        let holds = |text: &str| {
            let (path, value) = text.split_once('=').unwrap();
            let wanted = if value == "null" { Wanted::Null } else { Wanted::Is(value.to_owned()) };
            let trace = wanted.trace();
            let found = wanted.holds(&record, path);
            assert!(!found || trace.is_none_or(|trace| record.to_string().contains(&*trace)), "{text}");
            found
        };
        for text in ["a.b=1", "a.b=x\"y", "c=null", "c.x=null", "d=true", "e.f=null", "e.g=null"] {
            assert!(holds(text), "{text}");
        }
        for text in ["a.b=2", "a=1", "c=0", "d=1", "d.x=true", "e=null"] {
            assert!(!holds(text), "{text}");
        }
        assert!(Wanted::Begins("ab".into()).holds(&serde_json::json!({"x": ["abcd"]}), "x"));
    }
}
