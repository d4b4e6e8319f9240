//! Questions about the history: each on a thread of its own, within bounds, and never on the pipeline's.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Response, StatusCode};
use rusqlite::ErrorCode;
use tokio::net::unix::UCred;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::http::{self, Answer};
use super::local::error;
use crate::question::{Asker, Question, QuestionError};
use crate::record::WallTime;
use crate::report::{ReportError, report};
use crate::store::{Reader, StoreError};

/// Questions that are worked at: they share processors with whatever runs on this host. Others wait.
const MAX_AT_WORK: usize = 4;
/// Longest wait, and longest work.
const MAX_TIME: Duration = Duration::from_secs(30);
/// Most of one answer: the largest page of connections at twice their usual size.
const MAX_BYTES: u64 = 512 << 20;
/// Lines that are made before the reader takes them; a few kilobytes each.
const LINES_AHEAD: usize = 32;
/// A reader that takes no line for so long is cut off.
pub(super) const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });
/// Bytes of a report that are handed over at once.
const PAGE_PART: usize = 65_536;

const LINES: &str = "application/x-ndjson";
const PAGE: &str = "text/html; charset=utf-8";

/// Answers questions from one file.
#[derive(Debug, Clone)]
pub(super) struct Questions {
    file: Option<Arc<Path>>,
    at_work: Arc<Semaphore>,
}

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Peer {
    pub uid: Option<u32>,
    pub pid: Option<i32>,
    /// Told when it does not read: its connection is to be cut off.
    pub stalled: Arc<Notify>,
}

impl Peer {
    pub fn of(credentials: Option<&UCred>) -> Peer {
        let (uid, pid) = (credentials.map(UCred::uid), credentials.and_then(UCred::pid));
        Peer { uid, pid, stalled: Arc::default() }
    }
}

impl Questions {
    /// Of this file; `None` where no history is kept.
    pub fn of(file: Option<PathBuf>) -> Questions {
        Questions { file: file.map(Arc::from), at_work: Arc::new(Semaphore::new(MAX_AT_WORK)) }
    }

    /// The answer as lines, or why there is none.
    pub async fn answer(self, name: String, query: String, peer: Peer) -> Response<Answer> {
        match Question::parse(&name, &query) {
            Ok(question) => {
                let work = move |remote: Remote, file: &Path| remote.answer(file, &question, &query);
                self.made(LINES, peer, work).await
            }
            Err(refused) => refusal(&refused),
        }
    }

    /// The page for people, or why there is none.
    pub async fn report(self, peer: Peer) -> Response<Answer> {
        self.made(PAGE, peer, Remote::report).await
    }

    /// What a thread of its own makes of the file.
    async fn made(
        self,
        content_type: &'static str,
        peer: Peer,
        work: impl FnOnce(Remote, &Path) -> Result<(), QuestionError> + Send + 'static,
    ) -> Response<Answer> {
        let Some(file) = self.file else {
            return error(StatusCode::NOT_FOUND, "this daemon keeps no history");
        };
        let permit = tokio::time::timeout(MAX_TIME, self.at_work.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once");
        };
        let (lines_in, mut made) = mpsc::channel(LINES_AHEAD);
        let (refused_in, refused) = oneshot::channel();
        let began = Instant::now();
        let remote = Remote {
            lines: lines_in,
            runtime: Handle::current(),
            began,
            until: began + MAX_TIME,
            bytes_left: MAX_BYTES,
            gone: false,
            peer,
        };
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if let Err(failed) = work(remote, &file) {
                // Whoever asked has hung up.
                let _ = refused_in.send(failed);
            }
        });
        match made.recv().await {
            Some(first) => http::answer(StatusCode::OK, content_type, Answer::Made(Some(first), made)),
            None => match refused.await {
                Ok(refused) => refusal(&refused),
                Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the question was not answered"),
            },
        }
    }
}

fn refusal(refused: &QuestionError) -> Response<Answer> {
    let status = match refused {
        QuestionError::Unknown(_) | QuestionError::Store(StoreError::Missing { .. }) => StatusCode::NOT_FOUND,
        QuestionError::Refused(_) => StatusCode::BAD_REQUEST,
        // A question that takes too long ends with what it has; a page that is not whole is none.
        QuestionError::Store(error) if error.code() == Some(ErrorCode::OperationInterrupted) => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        QuestionError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    error(status, &refused.to_string())
}

/// Whoever asks, at the other end of a connection.
struct Remote {
    lines: mpsc::Sender<Bytes>,
    runtime: Handle,
    began: Instant,
    until: Instant,
    bytes_left: u64,
    gone: bool,
    peer: Peer,
}

impl Remote {
    fn answer(mut self, file: &Path, question: &Question, query: &str) -> Result<(), QuestionError> {
        let outcome = self.open(file).and_then(|mut reader| question.answer(&mut reader, now(), &mut self));
        self.log(question.name(), query, outcome.as_ref().map(|page| (page.count, page.cut.as_deref())));
        outcome.map(drop)
    }

    fn report(mut self, file: &Path) -> Result<(), QuestionError> {
        let outcome = self.open(file).and_then(|reader| {
            report(&reader, now()).map_err(|ReportError::Store(error)| QuestionError::Store(error))
        });
        self.log("report", "", outcome.as_ref().map(|_| (1, None)));
        // A reader who has gone is cut off: half a page never ends as if it were whole.
        for part in outcome?.as_bytes().chunks(PAGE_PART) {
            if self.line(part.to_vec()).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn open(&self, file: &Path) -> Result<Reader, QuestionError> {
        let mut reader = Reader::open(file)?;
        let until = self.until;
        reader.end_when(move || Instant::now() > until)?;
        Ok(reader)
    }

    /// Says who asked what, and what came of it: rows, and why there are not all.
    fn log(&self, question: &str, query: &str, outcome: Result<(u64, Option<&str>), &QuestionError>) {
        let milliseconds = self.began.elapsed().as_millis();
        let Peer { uid, pid, .. } = self.peer;
        match outcome {
            Ok((rows, cut)) => {
                tracing::info!(uid, pid, question, query, rows, cut, milliseconds, "answered a question");
            }
            Err(error) => {
                tracing::warn!(uid, pid, question, query, %error, milliseconds, "could not answer a question");
            }
        }
    }

    fn over(&self) -> ControlFlow<()> {
        let over = self.gone || self.bytes_left == 0 || Instant::now() > self.until;
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Asker for Remote {
    fn line(&mut self, line: Vec<u8>) -> ControlFlow<()> {
        if self.gone {
            return ControlFlow::Break(());
        }
        self.bytes_left = self.bytes_left.saturating_sub(line.len() as u64);
        match self.runtime.block_on(self.lines.send_timeout(line.into(), PATIENCE)) {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Closed(_)) => self.gone = true,
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                self.gone = true;
                self.peer.stalled.notify_one();
            }
        }
        self.over()
    }

    fn progress(&mut self, _done: f64) -> ControlFlow<()> {
        self.gone |= self.lines.is_closed();
        self.over()
    }

    fn why(&self) -> &'static str {
        match (self.gone, self.bytes_left) {
            (true, _) => "interrupted",
            (false, 0) => "bytes",
            (false, _) => "time",
        }
    }
}

fn now() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
