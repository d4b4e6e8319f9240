//! What both servers share: limits and responses.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioTimer;
use tokio::sync::mpsc::Receiver;

use super::Watcher;

/// Time in which a request must be complete.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest head of a request, and most that is written ahead of a slow reader: the least that hyper allows.
const BUFFER_BYTES: usize = 8192;
/// Most header fields: browsers and scrapers send about ten.
const MAX_HEADERS: usize = 64;

/// One request per connection: nothing idle is kept, and the bounds on connections are bounds on work.
pub(super) fn connection() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .keep_alive(false)
        .max_headers(MAX_HEADERS)
        .max_buf_size(BUFFER_BYTES);
    builder
}

/// Body of a response: at hand, one part after the other as fast as the reader takes them, lines as they come, or as a
/// thread makes them.
pub(super) enum Answer {
    Whole(Bytes),
    Made(Option<Bytes>, Receiver<Bytes>),
    Parts(Box<dyn Iterator<Item = Bytes> + Send>),
    Lines(Pin<Box<dyn Future<Output = (Watcher, Option<Bytes>)> + Send>>),
}

impl Answer {
    pub fn lines(watcher: Watcher) -> Self {
        Answer::Lines(Box::pin(next(watcher)))
    }
}

async fn next(mut watcher: Watcher) -> (Watcher, Option<Bytes>) {
    let line = watcher.next_line().await;
    (watcher, line)
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Answer::Whole(bytes) if bytes.is_empty() => None,
            Answer::Whole(bytes) => Some(std::mem::take(bytes)),
            Answer::Parts(parts) => parts.next(),
            Answer::Made(first, further) => match first.take() {
                Some(first) => Some(first),
                None => ready!(further.poll_recv(context)),
            },
            Answer::Lines(future) => {
                let (watcher, line) = ready!(future.as_mut().poll(context));
                match line {
                    Some(_) => *self = Answer::lines(watcher),
                    None => *self = Answer::Whole(Bytes::new()),
                }
                line
            }
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Answer::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Answer::Made(..) | Answer::Parts(_) | Answer::Lines(_) => SizeHint::default(),
        }
    }
}

pub(super) fn answer(status: StatusCode, content_type: &'static str, body: Answer) -> Response<Answer> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn text(status: StatusCode, text: String) -> Response<Answer> {
    answer(status, "text/plain; charset=utf-8", Answer::Whole(text.into()))
}

/// Both servers only ever show.
pub(super) fn is_read_only(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

pub(super) fn not_allowed() -> Response<Answer> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are served here\n".to_owned());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}
