//! The client of the local API.

use std::io;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::WatchFilter;
use crate::display::display_safe;
use crate::question::Question;
use crate::record::{GAP_SCHEMA, GapRecord, KnownWorkloadRecord, LibraryFiles, WORKLOAD_SCHEMA};

/// Longest line taken from the daemon; a connection's record has a few kilobytes.
const MAX_LINE_BYTES: usize = 1 << 20;
/// Largest answer that is no stream: some thousand files with TLS libraries, in containers.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Most of a list of workloads that is read: 4,096 workloads and 8,192 certificates of usual size come to a tenth. What comes
/// behind is left out.
const MAX_LIST_BYTES: usize = 64 << 20;

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No socket, or nobody behind it.
    #[error(
        "no daemon answers on {}: start one with `countersign run`, or name its socket with --socket",
        display_safe(&path.to_string_lossy())
    )]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What connect(2) said.
        #[source]
        source: io::Error,
    },
    /// The socket's rights.
    #[error(
        "you may not open {}: ask as root, or as a member of the group that daemon.socket_group names",
        display_safe(&path.to_string_lossy())
    )]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// The daemon's answer.
    #[error("the daemon refuses ({status}): {}", display_safe(message))]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to the daemon broke: if it was killed or crashed, its log says more")]
    Broken(#[source] hyper::Error),
    /// Not what a daemon sends.
    #[error("the daemon sent {0}: do its version and this one fit?")]
    Unexpected(&'static str),
}

/// The stream of `/v1/watch`.
#[derive(Debug)]
pub struct WatchClient {
    body: Incoming,
    buffer: BytesMut,
    /// Up to here the buffer has no line feed.
    searched: usize,
}

impl WatchClient {
    /// Asks the daemon behind `socket` for what `filter` wants.
    pub async fn connect(socket: &Path, filter: &WatchFilter) -> Result<WatchClient, ClientError> {
        let query = filter.to_query();
        let separator = if query.is_empty() { "" } else { "?" };
        Ok(Self::lines_of(get(socket, format!("/v1/watch{separator}{query}")).await?))
    }

    fn lines_of(response: Response<Incoming>) -> WatchClient {
        WatchClient { body: response.into_body(), buffer: BytesMut::new(), searched: 0 }
    }

    /// The next line, without its line feed; `None` when the daemon ended the stream. Cancel safe.
    pub async fn next_line(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            let unsearched = &self.buffer[self.searched..];
            if let Some(length) = unsearched.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + length);
                self.buffer.advance(1);
                self.searched = 0;
                return match String::from_utf8(line.into()) {
                    Ok(line) => Ok(Some(line)),
                    Err(_) => Err(ClientError::Unexpected("a line that is not UTF-8")),
                };
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_LINE_BYTES {
                return Err(ClientError::Unexpected("a line of more than a megabyte"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
                Some(Err(error)) => return Err(ClientError::Broken(error)),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(ClientError::Unexpected("half a line")),
            }
        }
    }
}

/// Asks the daemon's history: lines, the last of which is a `countersign.page/1`.
///
/// # Errors
/// If no daemon answers, or it refuses.
pub async fn ask(socket: &Path, question: &Question) -> Result<WatchClient, ClientError> {
    let target = format!("/v1/{}?{}", question.name(), question.query());
    Ok(WatchClient::lines_of(get(socket, target).await?))
}

/// The page of `/v1/report`.
///
/// # Errors
/// If no daemon answers, or it refuses.
pub async fn report(socket: &Path) -> Result<Bytes, ClientError> {
    whole(get(socket, "/v1/report".to_owned()).await?).await
}

/// What `/v1/status` says.
pub async fn status(socket: &Path) -> Result<serde_json::Value, ClientError> {
    let bytes = whole(get(socket, "/v1/status".to_owned()).await?).await?;
    serde_json::from_slice(&bytes).map_err(|_| ClientError::Unexpected("a status that is not JSON"))
}

/// What `/v1/libraries` says.
pub async fn libraries(socket: &Path) -> Result<LibraryFiles, ClientError> {
    let bytes = whole(get(socket, "/v1/libraries".to_owned()).await?).await?;
    serde_json::from_slice(&bytes).map_err(|_| ClientError::Unexpected("a list that is not one of libraries"))
}

/// What `/v1/workloads` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WorkloadList {
    /// By key.
    pub workloads: Vec<KnownWorkloadRecord>,
    /// What the daemon had no room for.
    pub left_out: Vec<GapRecord>,
    /// There was more than this program takes.
    pub is_cut: bool,
}

/// What `/v1/workloads` says.
pub async fn workloads(socket: &Path) -> Result<WorkloadList, ClientError> {
    workloads_within(socket, MAX_LIST_BYTES).await
}

/// At most `bound` bytes of it.
pub(super) async fn workloads_within(socket: &Path, bound: usize) -> Result<WorkloadList, ClientError> {
    #[derive(serde::Deserialize)]
    struct Schema {
        schema: String,
    }
    const ANOTHER: ClientError = ClientError::Unexpected("a list that is not one of workloads");
    let mut lines = WatchClient::lines_of(get(socket, "/v1/workloads".to_owned()).await?);
    let (mut list, mut bytes) = (WorkloadList::default(), 0);
    while let Some(line) = lines.next_line().await? {
        bytes += line.len();
        if bytes > bound {
            list.is_cut = true;
            break;
        }
        // A later daemon may send kinds that this program does not know.
        match serde_json::from_str::<Schema>(&line).map_err(|_| ANOTHER)?.schema.as_str() {
            WORKLOAD_SCHEMA => list.workloads.push(serde_json::from_str(&line).map_err(|_| ANOTHER)?),
            GAP_SCHEMA => list.left_out.push(serde_json::from_str(&line).map_err(|_| ANOTHER)?),
            _ => {}
        }
    }
    Ok(list)
}

async fn get(socket: &Path, target: String) -> Result<Response<Incoming>, ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Denied { path: socket.to_path_buf() },
        _ => ClientError::NoDaemon { path: socket.to_path_buf(), source },
    })?;
    let (mut sender, connection) =
        http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
    tokio::spawn(connection);
    let request = Request::get(target)
        .header(HOST, "countersign")
        .body(Empty::new())
        .map_err(|_| ClientError::Unexpected("nothing: the filter cannot be sent"))?;
    let response = sender.send_request(request).await.map_err(ClientError::Broken)?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response);
    }
    let body = whole(response).await?;
    let message = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|body| body["error"].as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&body).trim().to_owned());
    Err(ClientError::Refused { status, message })
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
    body.map(|body| body.to_bytes())
        .map_err(|_| ClientError::Unexpected("an answer that breaks off or is too large"))
}

/// For tests of refusals that [`WatchFilter`] would not let through.
#[cfg(test)]
pub(super) async fn tests_get(socket: &Path, target: &str) -> Result<(), ClientError> {
    get(socket, target.to_owned()).await.map(drop)
}
