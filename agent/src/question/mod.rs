//! Question: what responders ask of the history.
//!
//! Enters: a question, as typed or as the query of a request, and a file of the store. Leaves: lines of JSON with the names of the public record, and
//! one last line that says whether that was all. Refuses: printing, and knowing where the file is from: the
//! daemon's and a copy on a laptop give the same lines.

use std::ops::ControlFlow;

use rusqlite::ErrorCode;
use serde::Serialize;

use crate::display::json_line;
use crate::record::{PAGE_SCHEMA, PageRecord, WallTime};
use crate::store::{Reader, StoreError};

mod blast_radius;
mod certificates;
mod condition;
mod connections;
mod counts;
mod diff;
mod edges;
mod explain;
mod fields;
mod findings;
#[cfg(test)]
pub(crate) mod made;
mod moment;
mod names;
#[cfg(test)]
mod openapi_tests;
mod paging;
mod selection;
mod strength;
mod subject;
#[cfg(test)]
mod tests;
mod timeline;
mod times;
mod walk;
mod who;
mod words;
mod workloads;

pub use blast_radius::BlastRadiusQuestion;
pub use certificates::CertificatesQuestion;
pub use condition::{Condition, ConditionError};
pub use connections::ConnectionsQuestion;
pub use diff::DiffQuestion;
pub use edges::{EdgeOrder, EdgesQuestion};
pub use explain::ExplainQuestion;
pub use findings::FindingsQuestion;
pub use moment::{Moment, MomentError, Span, SpanError};
pub use timeline::TimelineQuestion;
pub use who::WhoQuestion;
pub use workloads::{Described, WorkloadsQuestion};

/// Records of a page if nothing else is asked for.
pub const DEFAULT_LIMIT: u32 = 100;
/// Most records of a page.
pub const MAX_LIMIT: u32 = 100_000;

/// A question that cannot be answered.
#[derive(Debug, thiserror::Error)]
pub enum QuestionError {
    /// There is no such question.
    #[error("there is no question `{0}`")]
    Unknown(String),
    /// It is not asked rightly.
    #[error("{0}")]
    Refused(String),
    /// The history does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl QuestionError {
    /// Whoever asked wants no more: ends an answer from within.
    pub(crate) fn interrupted() -> QuestionError {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT);
        rusqlite::Error::SqliteFailure(code, None).into()
    }
}

impl From<rusqlite::Error> for QuestionError {
    fn from(error: rusqlite::Error) -> Self {
        QuestionError::Store(error.into())
    }
}

/// Whoever asks: takes the lines, hears how far it is, and may hang up.
pub trait Asker {
    /// Takes a line of the answer, with its line feed. `Break` ends the answer behind it.
    fn line(&mut self, line: Vec<u8>) -> ControlFlow<()>;

    /// Is called every few milliseconds: how much of the work is done, from 0 to 1. `Break` ends the answer.
    fn progress(&mut self, done: f64) -> ControlFlow<()>;

    /// Why it ended the answer: `interrupted` `time` `bytes`.
    fn why(&self) -> &'static str {
        "interrupted"
    }
}

/// What one question is answered with.
pub(crate) struct Answering<'a> {
    /// The file.
    pub reader: &'a mut Reader,
    /// When it was asked.
    pub now: WallTime,
    asker: &'a mut dyn Asker,
    count: u64,
    /// Why the answer has less than there is, though nobody ended it.
    pub left_out: Option<&'static str>,
}

impl Answering<'_> {
    /// Hands a record over.
    pub fn record(&mut self, record: &impl Serialize) -> Result<ControlFlow<()>, QuestionError> {
        let mut line = Vec::new();
        json_line(record, &mut line).map_err(StoreError::Record)?;
        self.count += 1;
        Ok(self.asker.line(line))
    }

    /// Says how far it is.
    pub fn progress(&mut self, done: f64) -> ControlFlow<()> {
        self.asker.progress(done)
    }

    /// The same, and ends the answer where no more is wanted.
    pub fn go_on(&mut self, done: f64) -> Result<(), QuestionError> {
        match self.progress(done) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(QuestionError::interrupted()),
        }
    }
}

/// Where an answer ends.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the next page begins.
    pub next: Option<String>,
    /// Whoever asked has hung up.
    pub interrupted: bool,
}

macro_rules! questions {
    ($($(#[$meta:meta])* $variant:ident($question:ty) = $name:literal),+ $(,)?) => {
        /// What can be asked. Names and fields are those of the local API (`/v1/NAME?FIELD=VALUE`) and of the command line.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[serde(untagged)]
        pub enum Question { $($(#[$meta])* $variant($question)),+ }

        impl Question {
            /// All names.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// Its name.
            pub fn name(&self) -> &'static str {
                match self { $(Question::$variant(_) => $name),+ }
            }

            /// As a request asks it.
            ///
            /// # Errors
            /// If there is no such question, or a field that it does not have.
            pub fn parse(name: &str, query: &str) -> Result<Question, QuestionError> {
                let refused = |error| QuestionError::Refused(format!("{name}: {error}"));
                match name {
                    $($name => serde_html_form::from_str(query).map(Question::$variant).map_err(refused),)+
                    _ => Err(QuestionError::Unknown(name.to_owned())),
                }
            }

            fn records(&self, answering: &mut Answering<'_>) -> Result<End, QuestionError> {
                match self { $(Question::$variant(question) => question.answer(answering)),+ }
            }
        }

        $(impl From<$question> for Question {
            fn from(question: $question) -> Question { Question::$variant(question) }
        })+
    };
}

questions! {
    /// Connections, the newest first.
    Connections(ConnectionsQuestion) = "connections",
    /// Who reached whom.
    Edges(EdgesQuestion) = "edges",
    /// What was presented.
    Certificates(CertificatesQuestion) = "certificates",
    /// All that is known of somebody or something.
    Who(WhoQuestion) = "who",
    /// The evidence of one connection.
    Explain(ExplainQuestion) = "explain",
    /// What is wrong.
    Findings(FindingsQuestion) = "findings",
    /// Whom somebody reached, and who could reach what through them.
    BlastRadius(BlastRadiusQuestion) = "blast-radius",
    /// What happened to somebody, in the order of time.
    Timeline(TimelineQuestion) = "timeline",
    /// What changed between two times.
    Diff(DiffQuestion) = "diff",
    /// Who had connections; `workloads` is the daemon's present table.
    Workloads(WorkloadsQuestion) = "workload-history",
}

impl Question {
    /// The query of the request that asks it.
    pub fn query(&self) -> String {
        // Fields are texts, numbers and lists of them, which all have a form.
        serde_html_form::to_string(self).unwrap_or_default()
    }

    /// Answers with a page of lines; the last one is a [`PageRecord`].
    ///
    /// # Errors
    /// If it is not asked rightly, or the history cannot be read. Lines may have been handed over before.
    pub fn answer(
        &self,
        reader: &mut Reader,
        now: WallTime,
        asker: &mut dyn Asker,
    ) -> Result<PageRecord, QuestionError> {
        let mut answering = Answering { reader, now, asker, count: 0, left_out: None };
        let end = match self.records(&mut answering) {
            // A long statement ends by the progress handler of whoever opened the file.
            Err(QuestionError::Store(error)) if error.code() == Some(ErrorCode::OperationInterrupted) => {
                End { next: None, interrupted: true }
            }
            end => end?,
        };
        let page = PageRecord {
            schema: PAGE_SCHEMA.into(),
            question: self.name().into(),
            asked: now,
            count: answering.count,
            next: end.next,
            cut: end.interrupted.then(|| answering.asker.why()).or(answering.left_out).map(Into::into),
        };
        // Whoever hung up does not hear it.
        let _ = answering.record(&page)?;
        Ok(page)
    }
}

/// When connections were opened, in nanoseconds: from the first, before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub from: i64,
    pub to: i64,
}

impl Range {
    /// All times.
    pub const ALL: Range = Range { from: i64::MIN, to: i64::MAX };

    /// What both have.
    pub fn and(self, other: Range) -> Range {
        Range { from: self.from.max(other.from), to: self.to.min(other.to) }
    }

    /// From the first moment of either to the last one.
    pub fn or(self, other: Range) -> Range {
        Range { from: self.from.min(other.from), to: self.to.max(other.to) }
    }

    /// As it is asked for.
    pub fn of(since: Option<Moment>, until: Option<Moment>, now: WallTime) -> Range {
        Range {
            from: since.map_or(Range::ALL.from, |since| since.resolve(now).0),
            to: until.map_or(Range::ALL.to, |until| until.resolve(now).0),
        }
    }
}
