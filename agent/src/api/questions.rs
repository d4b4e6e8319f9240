//! Questions about the history: each on a thread of its own, within bounds, and never on the pipeline's.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use hyper::{Response, StatusCode};
use tokio::net::unix::UCred;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use super::http::Answer;
use super::local::{error, lines};
use crate::question::{Asker, Question, QuestionError};
use crate::record::WallTime;
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
        let question = match Question::parse(&name, &query) {
            Ok(question) => question,
            Err(refused) => return refusal(&refused),
        };
        let Some(file) = self.file else {
            return error(StatusCode::NOT_FOUND, "this daemon keeps no history");
        };
        let permit = tokio::time::timeout(MAX_TIME, self.at_work.acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "too many questions at once");
        };
        let (lines_in, mut made) = mpsc::channel(LINES_AHEAD);
        let (refused_in, refused) = oneshot::channel();
        let reader = Remote {
            lines: lines_in,
            runtime: Handle::current(),
            until: Instant::now() + MAX_TIME,
            bytes_left: MAX_BYTES,
            gone: false,
            stalled: peer.stalled.clone(),
        };
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let outcome = reader.answer(&file, &question, &query, &peer);
            if let Err(failed) = outcome {
                // Whoever asked has hung up.
                let _ = refused_in.send(failed);
            }
        });
        match made.recv().await {
            Some(first) => lines(Answer::Made(Some(first), made)),
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
        QuestionError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    error(status, &refused.to_string())
}

/// Whoever asks, at the other end of a connection.
struct Remote {
    lines: mpsc::Sender<Bytes>,
    runtime: Handle,
    until: Instant,
    bytes_left: u64,
    gone: bool,
    stalled: Arc<Notify>,
}

impl Remote {
    fn answer(
        mut self,
        file: &Path,
        question: &Question,
        query: &str,
        peer: &Peer,
    ) -> Result<(), QuestionError> {
        let (began, until) = (Instant::now(), self.until);
        let mut reader = Reader::open(file)?;
        reader.end_when(move || Instant::now() > until)?;
        let outcome = question.answer(&mut reader, now(), &mut self);
        let milliseconds = began.elapsed().as_millis();
        let name = question.name();
        match &outcome {
            Ok(page) => tracing::info!(
                uid = peer.uid,
                pid = peer.pid,
                question = name,
                query,
                rows = page.count,
                cut = page.cut.as_deref(),
                milliseconds,
                "answered a question"
            ),
            Err(error) => tracing::warn!(
                uid = peer.uid,
                pid = peer.pid,
                question = name,
                query,
                %error,
                milliseconds,
                "could not answer a question"
            ),
        }
        outcome.map(drop)
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
                self.stalled.notify_one();
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
