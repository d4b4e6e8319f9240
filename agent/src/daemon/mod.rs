//! Daemon: the rooms at work, each on a thread of its own where it may have to wait.
//!
//! Enters: a configuration. Leaves: records to those who watch and to the history, metrics, log lines, for as long as it runs.
//! One thread ([`engine`]) carries events from the kernel through connections and verdicts to the publisher, one writes the
//! [`history`], one looks for [`libraries`]; the first one serves readers and listens to signals. Refuses: starting half:
//! what cannot be had is an error that says what to do, but a full disk or a slow reader stops nothing.

mod answers;
mod engine;
mod heartbeat;
mod history;
mod libraries;
mod orders;
mod publisher;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::api::{AnswerSource, Answers, ApiError, Health, Hub, LocalServer, MetricsPage, MetricsServer};
use crate::config::{Config, ConfigError};
use crate::connection::{Connections, Limits};
use crate::display::display_safe;
use crate::identity::{ProcessTable, ProcessTableLimits, WallClock};
use crate::kernel::{self, KernelError, KernelOptions, KernelSource};
use crate::logging::Logging;
use crate::metrics::{ConfigReload, MAX_CERTIFICATES, MAX_IDENTITIES, Metrics, TEXT_CONTENT_TYPE};
use crate::publication::{Certificates, Edges, Host, Interfaces, Workloads, policy, policy_version};
use crate::scope::Networks;
use crate::store;

use engine::{Command, Engine};
use heartbeat::Heartbeat;
use history::{History, HistoryThread};
use libraries::{Rows, Watch};
use orders::Orders;
use publisher::{Parts, Publisher};

/// The engine beats at least this often, else the daemon calls itself unhealthy.
const PULSE: Duration = Duration::from_secs(10);
/// Bytes that connections hold together while they are looked at: thousands of handshakes at a time, with long chains. Who
/// opens connections and leaves holes in them gets no more.
const MAX_HELD: usize = 64 << 20;

/// Why the daemon does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The kernel programs.
    #[error("the kernel programs do not run: `countersign check` says what works here and what to do")]
    Kernel(#[from] KernelError),
    /// The socket or the metrics port.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The data folder.
    #[error("cannot use the data folder {}: name another with --data-dir", display_safe(&path.to_string_lossy()))]
    DataFolder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another daemon uses the data folder.
    #[error("another daemon uses {}: name another folder with --data-dir", display_safe(&path.to_string_lossy()))]
    DataFolderInUse {
        /// Which.
        path: PathBuf,
    },
    /// The capabilities are missing.
    #[error("not enough rights: run it as root, or with the capabilities that `countersign check` lists")]
    Rights,
    /// The threads and their runtime.
    #[error("cannot start the daemon's threads")]
    Runtime(#[source] io::Error),
    /// The engine ended by itself.
    #[error("the engine stopped: this is a defect; its last words are in the log")]
    EngineStopped,
}

/// Runs until SIGTERM or SIGINT. `read_again` reads the configuration anew on SIGHUP.
///
/// # Errors
/// If something that the daemon cannot do without is missing.
pub fn run(
    config: &Config,
    logging: Logging,
    read_again: impl Fn() -> Result<Config, ConfigError>,
) -> Result<(), DaemonError> {
    if !kernel::has_rights() {
        return Err(DaemonError::Rights);
    }
    kernel::share_memory_between_threads();
    let host = Host::read();
    let metrics = Metrics::new(host.kernel.as_deref().unwrap_or("unknown"));
    metrics.exceptions_expired(config.expired_exceptions());
    let hub = Hub::new();
    // What another daemon may hold comes first: nothing is attached if it is taken.
    let local = LocalServer::bind(&config.daemon.socket, config.daemon.socket_group.as_deref())?;
    let page = config.metrics.enabled.then(|| MetricsServer::bind(config.metrics.listen)).transpose()?;
    let heartbeat = Heartbeat::in_folder(&config.daemon.data_dir)
        .map_err(|source| data_folder_error(config.daemon.data_dir.clone(), source))?;
    raise_descriptor_limit();
    let source = KernelSource::start(&kernel_options(config))?;
    let workloads = Workloads::new(host.name.clone());
    let edges = Edges::default();
    let kept = config.history.enabled.then(|| {
        let path = config.daemon.data_dir.join(store::FILE_NAME);
        HistoryThread::start(path, &config.history, metrics.clone(), hub.clone())
    });
    let (keeper, history) = kept.transpose().map_err(DaemonError::Runtime)?.unzip();
    let history = history.unwrap_or_default();
    let publisher = publisher(config, &host, (&metrics, &hub, &history), (&workloads, &edges));
    let connections = Connections::new(limits(config));
    let (commands, received) = mpsc::channel();
    let (orders, prober) = (Orders { commands, waker: source.waker() }, source.prober());
    let mut engine = Engine::new(source, connections, publisher, heartbeat);
    let pulse = engine.pulse();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DaemonError::Runtime)?;
    let watch = match config.libraries.enabled {
        true => {
            let max_files = config.libraries.max_files;
            let (watch, notices) = Watch::start(Path::new("/proc"), max_files, prober, metrics.clone())
                .map_err(DaemonError::Runtime)?;
            engine.tell_of_processes(notices);
            Some(watch)
        }
        false => None,
    };
    let (ended, has_ended) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name("engine".to_owned())
        .spawn(move || {
            engine.run(&received);
            if ended.send(()).is_err() {
                tracing::debug!("the daemon ended before its engine");
            }
        })
        .map_err(DaemonError::Runtime)?;
    let rows = watch.as_ref().map(|watch| Arc::clone(&watch.rows)).unwrap_or_default();
    let logging = Arc::new(Mutex::new(logging));
    let service = Service { config, metrics, hub, history, logging, pulse, orders, rows, workloads, edges };
    let outcome = runtime.block_on(service.serve(local, page, has_ended, &read_again));
    if let Some(watch) = &watch {
        watch.end();
    }
    stop(&service.orders, thread);
    if let Some(watch) = watch {
        watch.join();
    }
    // The engine has said its last words.
    if let Some(keeper) = keeper {
        keeper.stop();
    }
    outcome
}

/// What the serving thread holds.
struct Service<'a> {
    config: &'a Config,
    metrics: Metrics,
    hub: Hub,
    history: History,
    logging: Arc<Mutex<Logging>>,
    pulse: Arc<AtomicU64>,
    orders: Orders,
    rows: Rows,
    workloads: Workloads,
    edges: Edges,
}

impl Service<'_> {
    async fn serve(
        &self,
        local: LocalServer,
        page: Option<MetricsServer>,
        mut engine_ended: oneshot::Receiver<()>,
        read_again: &impl Fn() -> Result<Config, ConfigError>,
    ) -> Result<(), DaemonError> {
        let (end, ending) = watch::channel(false);
        let until_end = |mut ending: watch::Receiver<bool>| async move {
            // An error means that the sender is gone: the end, too.
            drop(ending.wait_for(|over| *over).await);
        };
        let mut hang_up = signal(SignalKind::hangup()).map_err(DaemonError::Runtime)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(DaemonError::Runtime)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(DaemonError::Runtime)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            socket = %local.path().display(),
            metrics = page.as_ref().map_or("off".to_owned(), |page| page.address().to_string()),
            config = self.config.source.as_ref().map_or("built-in".to_owned(), |path| path.display().to_string()),
            "watching every TCP connection of this host"
        );
        let answers = Answers {
            status: self.status(),
            libraries: self.libraries(),
            workloads: answers::workloads(self.workloads.clone()),
            history: Some(self.config.daemon.data_dir.join(store::FILE_NAME)),
        };
        let readers = tokio::spawn(local.serve(self.hub.clone(), answers, until_end(ending.clone())));
        let scrapers = page.map(|page| tokio::spawn(page.serve(self.page(), until_end(ending.clone()))));
        notify(&[sd_notify::NotifyState::Ready]);
        let outcome = loop {
            tokio::select! {
                _ = hang_up.recv() => {
                    notify(&[sd_notify::NotifyState::Reloading]);
                    self.reload(read_again());
                    notify(&[sd_notify::NotifyState::Ready]);
                }
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                _ = &mut engine_ended => break Err(DaemonError::EngineStopped),
            }
        };
        notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping");
        end.send_replace(true);
        drop(readers.await);
        if let Some(scrapers) = scrapers {
            drop(scrapers.await);
        }
        outcome
    }

    fn reload(&self, read: Result<Config, ConfigError>) {
        match read {
            Ok(config) => {
                let fixed = fixed_keys_changed(self.config, &config);
                if !fixed.is_empty() {
                    tracing::warn!(keys = fixed.join(", "), "these keys take effect with the next start");
                }
                self.logging.lock().unwrap_or_else(PoisonError::into_inner).set_level(config.log.level);
                self.metrics.exceptions_expired(config.expired_exceptions());
                let policy = policy(&config);
                let version = policy_version(&config);
                let networks = Networks::new(&config.scope.internal);
                let owners = Arc::clone(&config.ownership.owners);
                self.orders.give(Command::Reload { policy, version, networks, owners });
                self.metrics.config_reload(ConfigReload::Applied);
                tracing::info!("configuration reloaded");
            }
            Err(error) => {
                self.metrics.config_reload(ConfigReload::Refused);
                let reason = chain(&error);
                tracing::error!(reason, "configuration not reloaded: the old one stays in force");
            }
        }
    }

    fn page(&self) -> MetricsPage {
        let (pulse, started, history) = (Arc::clone(&self.pulse), Instant::now(), self.history.clone());
        let health = Arc::new(move || match (silence(&pulse, started), history.trouble()) {
            (silence, _) if silence > PULSE => {
                Health::Unhealthy(format!("the engine has not moved for {} s", silence.as_secs()))
            }
            (_, Some(trouble)) => Health::Degraded(format!("history: {trouble}")),
            _ => Health::Healthy,
        });
        let (metrics, hub, logging) = (self.metrics.clone(), self.hub.clone(), Arc::clone(&self.logging));
        let (workloads, edges, is_healthy) =
            (self.workloads.clone(), self.edges.clone(), Arc::clone(&health));
        let render = move || {
            // Trouble with the history has a state of its own.
            metrics.healthy(!matches!(is_healthy(), Health::Unhealthy(_)));
            metrics.watch_clients(hub.subscribers());
            metrics.watch_records_dropped(hub.lost());
            metrics.log_lines_suppressed(logging.lock().unwrap_or_else(PoisonError::into_inner).suppressed());
            metrics.edges(&edges.by_authentication());
            metrics.blast_radius(&edges.widest(MAX_IDENTITIES));
            let clock = kernel::clock();
            let now = WallClock { wall_minus_boot: clock.wall_minus_boot }.wall(clock.boot);
            metrics.certificates_expiring(&workloads.expiring(MAX_CERTIFICATES, now));
            metrics.render_text()
        };
        MetricsPage { content_type: TEXT_CONTENT_TYPE, render: Arc::new(render), health }
    }

    fn libraries(&self) -> AnswerSource {
        let (rows, enabled) = (Arc::clone(&self.rows), self.config.libraries.enabled);
        Arc::new(move || {
            let files = &*rows.lock().unwrap_or_else(PoisonError::into_inner);
            serde_json::json!({ "enabled": enabled, "files": files })
        })
    }

    fn status(&self) -> AnswerSource {
        let (hub, pulse, started) = (self.hub.clone(), Arc::clone(&self.pulse), Instant::now());
        let version = policy_version(self.config);
        Arc::new(move || {
            serde_json::json!({
                "version": env!("CARGO_PKG_VERSION"),
                "uptime_seconds": started.elapsed().as_secs(),
                "watching": hub.subscribers(),
                "healthy": silence(&pulse, started) <= PULSE,
                "policy_version": version,
            })
        })
    }
}

fn data_folder_error(path: PathBuf, source: io::Error) -> DaemonError {
    match source.kind() {
        io::ErrorKind::WouldBlock => DaemonError::DataFolderInUse { path },
        _ => DaemonError::DataFolder { path, source },
    }
}

/// How long the engine has not moved. Its pulse counts nanoseconds since boot.
fn silence(pulse: &AtomicU64, started: Instant) -> Duration {
    match pulse.load(Ordering::Relaxed) {
        0 => started.elapsed(),
        last => Duration::from_nanos(kernel::clock().boot.0.saturating_sub(last)),
    }
}

fn stop(orders: &Orders, thread: JoinHandle<()>) {
    // If the engine is gone already, joining it is all there is to do.
    orders.give(Command::Stop);
    thread.thread().unpark();
    if thread.join().is_err() {
        tracing::error!("the engine panicked");
    }
}

/// Each probe is a descriptor, and some hundred are many for the usual limit of 1,024.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files: fewer libraries can be probed");
    }
}

/// Tells the service manager, if there is one (sd_notify(3)).
fn notify(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

fn publisher(
    config: &Config,
    host: &Host,
    (metrics, hub, history): (&Metrics, &Hub, &History),
    (workloads, edges): (&Workloads, &Edges),
) -> Publisher {
    let clock = WallClock { wall_minus_boot: kernel::clock().wall_minus_boot };
    let process_limits =
        ProcessTableLimits { max_processes: config.limits.processes, ..ProcessTableLimits::default() };
    let mut publisher = Publisher::new(Parts {
        host: host.clone(),
        clock,
        networks: Networks::new(&config.scope.internal),
        interfaces: Interfaces::new(kernel::own_network_namespace()),
        processes: ProcessTable::new(process_limits, clock),
        certificates: Certificates::new(config.limits.certificates),
        workloads: workloads.clone(),
        edges: edges.clone(),
        policy: policy(config),
        policy_version: policy_version(config),
        hub: hub.clone(),
        history: history.clone(),
        metrics: metrics.clone(),
    });
    publisher.set_owners(Arc::clone(&config.ownership.owners));
    publisher
}

/// What the kernel room is to start with.
pub fn kernel_options(config: &Config) -> KernelOptions {
    KernelOptions {
        cgroup_root: config.capture.cgroup_root.clone(),
        ring_bytes: config.capture.ring_bytes,
        start_budget: config.capture.start_budget_bytes,
        ..KernelOptions::default()
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        connections: config.limits.connections,
        sessions: config.limits.sessions,
        start_budget: config.capture.start_budget_bytes,
        max_budget: config.capture.max_budget_bytes,
        held: MAX_HELD,
    }
}

/// Keys that differ and are only read at the start.
fn fixed_keys_changed(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("daemon", old.daemon != new.daemon),
        ("metrics", old.metrics != new.metrics),
        ("history", old.history != new.history),
        ("capture", old.capture != new.capture),
        ("libraries", old.libraries != new.libraries),
        ("limits", old.limits != new.limits),
        ("log.format", old.log.format != new.log.format),
    ]
    .into_iter()
    .filter_map(|(key, changed)| changed.then_some(key))
    .collect()
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
