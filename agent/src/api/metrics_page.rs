//! `/metrics` and `/healthz` over HTTP, and nothing else.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::ApiError;
use super::http::{self, Answer};

/// Most requests at once: a pair of Prometheus servers and some hands. Further ones wait in the kernel's backlog.
pub const MAX_SCRAPERS: usize = 8;
/// Time for a whole request with its answer; Prometheus gives up after 10 s by default.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept(2), which otherwise would fail again at once (EMFILE).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What `/healthz` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// 200: connections are seen and judged.
    Healthy,
    /// 200: connections are seen and judged, but something beside it does not work.
    Degraded(String),
    /// 503: why not.
    Unhealthy(String),
}

/// What is served.
#[derive(Clone)]
pub struct MetricsPage {
    /// Of the page that `render` gives.
    pub content_type: &'static str,
    /// The page.
    pub render: Arc<dyn Fn() -> String + Send + Sync>,
    /// The daemon's health.
    pub health: Arc<dyn Fn() -> Health + Send + Sync>,
}

impl fmt::Debug for MetricsPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsPage").field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// The bound port.
#[derive(Debug)]
pub struct MetricsServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl MetricsServer {
    /// Takes the port, or says what to do if somebody has it.
    pub fn bind(address: SocketAddr) -> Result<MetricsServer, ApiError> {
        let refused = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => ApiError::AddressInUse { address },
            _ => ApiError::Listen { address, source },
        };
        let listener = TcpListener::bind(address).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(MetricsServer { listener, address })
    }

    /// Where it listens: with the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`.
    pub async fn serve(self, page: MetricsPage, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let free = Arc::new(Semaphore::new(MAX_SCRAPERS));
        let mut connections = JoinSet::new();
        tokio::pin!(shutdown);
        loop {
            let accept = async {
                // The semaphore is never closed.
                let place = free.clone().acquire_owned().await;
                listener.accept().await.map(|(stream, _)| (stream, place))
            };
            let accepted = tokio::select! {
                accepted = accept => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut shutdown => return Ok(()),
            };
            let (stream, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a scrape");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let page = page.clone();
            connections.spawn(async move {
                let service = service_fn(move |request| {
                    let answer = route(&request, &page);
                    async { Ok::<_, Infallible>(answer) }
                });
                let exchange = http::connection().serve_connection(TokioIo::new(stream), service);
                // A scraper that hangs up or is too slow is its own affair.
                let _ = tokio::time::timeout(SCRAPE_TIMEOUT, exchange).await;
                drop(place);
            });
        }
    }
}

fn route(request: &Request<Incoming>, page: &MetricsPage) -> Response<Answer> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/healthz") {
        return http::text(StatusCode::NOT_FOUND, "there are /metrics and /healthz\n".to_owned());
    }
    if !http::is_read_only(request.method()) {
        return http::not_allowed();
    }
    if path == "/metrics" {
        return http::answer(StatusCode::OK, page.content_type, Answer::Whole((page.render)().into()));
    }
    match (page.health)() {
        Health::Healthy => http::text(StatusCode::OK, "ok\n".to_owned()),
        Health::Degraded(reason) => http::text(StatusCode::OK, format!("degraded: {reason}\n")),
        Health::Unhealthy(reason) => http::text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
