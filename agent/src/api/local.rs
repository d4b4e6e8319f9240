//! The local API: HTTP/1.1 on a Unix socket.

use std::convert::Infallible;
use std::fs::{DirBuilder, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use nix::unistd::{Gid, chown};
use tokio::task::JoinSet;

use super::access::Access;
use super::http::{self, Answer};
use super::questions::{Peer, Questions};
use super::{ApiError, Hub, WatchFilter};
use crate::question::Question;

/// Most readers at once, each with a task and a socket; people and a few collectors.
pub const MAX_WATCHERS: usize = 32;
/// Further ones that are told so; beyond, connections are cut off without a word.
const MAX_TURNED_AWAY: usize = 8;
/// Time that readers get at the end to take what is queued for them.
const FAREWELL: Duration = Duration::from_secs(2);
/// Pause after a failed accept(2), which otherwise would fail again at once (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// An answer that is made when it is asked for.
pub type AnswerSource = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;

/// An answer of many lines, each with its line feed, that are made one by one while the reader takes them.
pub type LineSource = Arc<dyn Fn() -> Box<dyn Iterator<Item = Bytes> + Send> + Send + Sync>;

/// What is answered from outside of this room.
#[derive(Clone)]
pub struct Answers {
    /// `/v1/status`
    pub status: AnswerSource,
    /// `/v1/libraries`
    pub libraries: AnswerSource,
    /// `/v1/workloads`
    pub workloads: LineSource,
    /// The file of the history, of which all else is asked; `None` if none is kept.
    pub history: Option<PathBuf>,
}

/// The bound socket; dropping it removes the file.
#[derive(Debug)]
pub struct LocalServer {
    listener: UnixListener,
    access: Access,
    file: SocketFile,
}

impl LocalServer {
    /// Binds `path` for root and the members of `group`. A socket that nobody answers on is replaced.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<LocalServer, ApiError> {
        let access = Access::of_group(group);
        let failed = |action| move |source| ApiError::Socket { action, path: path.to_path_buf(), source };
        make_folder(path, access.group()).map_err(failed("create the folder of"))?;
        remove_stale(path)?;
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        let metadata = path.symlink_metadata().map_err(failed("examine"))?;
        let file = SocketFile { path: path.to_path_buf(), device: metadata.dev(), inode: metadata.ino() };
        give_to(path, access.group());
        std::fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(failed("restrict"))?;
        listener.set_nonblocking(true).map_err(failed("listen on"))?;
        Ok(LocalServer { listener, access, file })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Serves until `shutdown`, then ends all streams and lets readers take what is queued.
    pub async fn serve(
        self,
        hub: Hub,
        answers: Answers,
        shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let LocalServer { listener, access, file: _file } = self;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        let mut connections = JoinSet::new();
        let questions = Questions::of(answers.history.clone());
        tokio::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut shutdown => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a reader");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            while connections.try_join_next().is_some() {}
            if connections.len() >= MAX_WATCHERS + MAX_TURNED_AWAY {
                tracing::warn!(bound = MAX_WATCHERS, "too many readers: one is cut off");
                continue;
            }
            let crowded = connections.len() >= MAX_WATCHERS;
            let credentials = stream.peer_cred().ok();
            let allowed = credentials.as_ref().is_some_and(|peer| access.allows(peer));
            let peer = Peer::of(credentials.as_ref());
            let (hub, answers, questions) = (hub.clone(), answers.clone(), questions.clone());
            connections.spawn(async move {
                let stalled = peer.stalled.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let routed = match (allowed, crowded) {
                        (false, _) => Ok(error(StatusCode::FORBIDDEN, DENIED)),
                        (true, true) => Ok(error(StatusCode::SERVICE_UNAVAILABLE, CROWDED)),
                        (true, false) => {
                            asked(&request).map_or_else(|| Ok(route(&request, &hub, &answers)), Err)
                        }
                    };
                    let (questions, peer) = (questions.clone(), peer.clone());
                    async move {
                        Ok::<_, Infallible>(match routed {
                            Ok(answer) => answer,
                            Err(Asked::Question { name, query }) => questions.answer(name, query, peer).await,
                            Err(Asked::Report) => questions.report(peer).await,
                        })
                    }
                });
                let served = http::connection().serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    // A reader that hangs up or sends no HTTP is its own affair.
                    _ = served => {}
                    () = stalled.notified() => tracing::info!("a reader that takes no answer is cut off"),
                }
            });
        }
        hub.close();
        let farewell = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
        Ok(())
    }
}

/// The OpenAPI document on all that is served here.
const DESCRIPTION: &str = include_str!("openapi.json");

/// The history as one page for people.
const REPORT: &str = "/v1/report";

const DENIED: &str = "only root and members of the socket's group may read";
const CROWDED: &str = "too many readers at once";

/// What a request asks of the history.
enum Asked {
    Question { name: String, query: String },
    Report,
}

fn asked(request: &Request<Incoming>) -> Option<Asked> {
    let path = request.uri().path();
    match *request.method() == hyper::Method::GET {
        true if is_question(path) => Some(Asked::Question {
            name: path["/v1/".len()..].to_owned(),
            query: request.uri().query().unwrap_or_default().to_owned(),
        }),
        true if path == REPORT => Some(Asked::Report),
        _ => None,
    }
}

fn is_question(path: &str) -> bool {
    path.strip_prefix("/v1/").is_some_and(|name| Question::NAMES.contains(&name))
}

fn route(request: &Request<Incoming>, hub: &Hub, answers: &Answers) -> Response<Answer> {
    if !http::is_read_only(request.method()) {
        return http::not_allowed();
    }
    match request.uri().path() {
        "/v1/watch" => match WatchFilter::from_query(request.uri().query().unwrap_or_default()) {
            // Not subscribed for HEAD: nobody would read.
            Ok(_) if request.method() == hyper::Method::HEAD => lines(Answer::Whole(Bytes::new())),
            Ok(filter) => lines(Answer::lines(hub.watch(filter))),
            Err(refused) => error(StatusCode::BAD_REQUEST, &refused.to_string()),
        },
        "/v1/status" => json(StatusCode::OK, &(answers.status)()),
        "/v1/libraries" => json(StatusCode::OK, &(answers.libraries)()),
        "/v1/workloads" => lines(Answer::Parts((answers.workloads)())),
        "/v1/openapi.json" => {
            http::answer(StatusCode::OK, "application/json", Answer::Whole(DESCRIPTION.into()))
        }
        // Only HEAD comes here: nobody would read the answer.
        path if is_question(path) || path == REPORT => lines(Answer::Whole(Bytes::new())),
        _ => {
            let questions = Question::NAMES.join(", /v1/");
            let all = "/v1/watch, /v1/status, /v1/libraries, /v1/workloads, /v1/openapi.json, /v1/report";
            error(StatusCode::NOT_FOUND, &format!("there are {all}, /v1/{questions}"))
        }
    }
}

fn lines(body: Answer) -> Response<Answer> {
    http::answer(StatusCode::OK, "application/x-ndjson", body)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Answer> {
    http::answer(status, "application/json", Answer::Whole(format!("{value}\n").into()))
}

pub(super) fn error(status: StatusCode, message: &str) -> Response<Answer> {
    json(status, &serde_json::json!({ "error": message }))
}

/// The folder is made for the socket only if it is not there: rights of a shared one are not ours to change.
fn make_folder(path: &Path, group: Option<Gid>) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o750).create(folder)?;
    give_to(folder, group);
    Ok(())
}

fn give_to(path: &Path, group: Option<Gid>) {
    if let Some(group) = group
        && let Err(error) = chown(path, None, Some(group))
    {
        tracing::warn!(path = %path.display(), %group, %error, "cannot give to the group: only root may open it");
    }
}

fn remove_stale(path: &Path) -> Result<(), ApiError> {
    let failed = |action| move |source| ApiError::Socket { action, path: path.to_path_buf(), source };
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("examine")(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(ApiError::NotASocket { path: path.to_path_buf() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(ApiError::SocketInUse { path: path.to_path_buf() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed("remove the stale socket"))
        }
        Err(error) => Err(failed("find out who answers on")(error)),
    }
}

/// Removes its file, unless another daemon has put its own there meanwhile.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self
            .path
            .symlink_metadata()
            .is_ok_and(|file| (file.dev(), file.ino()) == (self.device, self.inode))
        {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
