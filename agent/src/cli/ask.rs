//! Questions about the history: the daemon's or a file's, printed as tables or as the lines that they are.

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::answer::Printer;
use super::ask_examples::*;
use super::list::now;
use super::output::{colour, stdout};
use super::{Exit, Failure};
use crate::api::{self, ClientError};
use crate::config::{Config, ConfigError};
use crate::question::{
    Asker, CertificatesQuestion, ConnectionsQuestion, DiffQuestion, EdgesQuestion, ExplainQuestion,
    FindingsQuestion, Question, TimelineQuestion, WhoQuestion,
};
use crate::record::PageRecord;
use crate::store::{FILE_NAME, Reader, StoreError};

/// Work that takes longer shows how far it is.
const SHORT: Duration = Duration::from_millis(500);
/// Between two signs that the daemon is at work.
const TICK: Duration = Duration::from_millis(100);

/// What can be asked of the history.
#[derive(Debug, Subcommand)]
pub enum AskCommand {
    /// Show connections of the history, the newest first
    #[command(after_help = CONNECTIONS_EXAMPLES)]
    Connections(Box<Asked<ConnectionsQuestion>>),
    /// Show who reached whom, how often and how authenticated
    #[command(after_help = EDGES_EXAMPLES)]
    Edges(Box<Asked<EdgesQuestion>>),
    /// Show certificates that were presented, those that expire first at the beginning
    #[command(after_help = CERTIFICATES_EXAMPLES)]
    Certificates(Box<Asked<CertificatesQuestion>>),
    /// Show all that is known of an address, a process, a workload, an identity or a certificate
    #[command(after_help = WHO_EXAMPLES)]
    Who(Box<Asked<WhoQuestion>>),
    /// Tell the evidence of one connection, in order, in words
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Box<Asked<ExplainQuestion>>),
    /// Show what is wrong, the worst first
    #[command(after_help = FINDINGS_EXAMPLES)]
    Findings(Box<Asked<FindingsQuestion>>),
    /// Say what happened to a workload, an identity, a certificate, a key, an issuer or an edge: first and last use, rotations, regressions
    #[command(after_help = TIMELINE_EXAMPLES)]
    Timeline(Box<Asked<TimelineQuestion>>),
    /// Say what changed between two times: edges, identities and certificates
    #[command(after_help = DIFF_EXAMPLES)]
    Diff(Box<Asked<DiffQuestion>>),
}

/// A question, and whom to ask.
#[derive(Debug, Args)]
pub struct Asked<Q: Args> {
    /// What is asked.
    #[command(flatten)]
    pub question: Q,
    /// Whom.
    #[command(flatten)]
    pub history: HistoryArguments,
}

/// Which history is asked, and how its answer is printed.
#[derive(Debug, Args)]
pub struct HistoryArguments {
    /// Which.
    #[command(flatten)]
    pub whom: WhomArguments,
    /// One JSON object per line, with all fields; the last one says whether that was all
    #[arg(long)]
    pub json: bool,
}

/// Which history is asked.
#[derive(Debug, Args)]
pub struct WhomArguments {
    /// Ask this file, also of another host [default: the daemon, and without one the file in its data folder]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["socket", "config"])]
    pub db: Option<PathBuf>,
    /// The daemon's socket [default: as the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The daemon's configuration, to find its socket and its data folder
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub config: Option<PathBuf>,
}

/// Who answers.
pub(super) enum Source<'a> {
    /// The daemon behind this socket.
    Daemon(&'a Path),
    File(&'a Path),
}

pub(super) fn ask(command: AskCommand) -> Result<Exit, Failure> {
    let (question, history) = command.parts();
    print(&question, &history, &mut |_| {})
}

/// Prints an answer, and shows `seen` each of its lines.
pub(super) fn print(
    question: &Question,
    history: &HistoryArguments,
    seen: &mut dyn FnMut(&str),
) -> Result<Exit, Failure> {
    let mut printer = Printer::new(stdout(), history.json, colour());
    let page = history.ask(question, &mut |line| {
        seen(line);
        printer.print(line)
    })?;
    printer.finish()?;
    Ok(exit(&page))
}

impl AskCommand {
    /// What is asked, and whom.
    pub(super) fn parts(self) -> (Question, HistoryArguments) {
        match self {
            AskCommand::Connections(asked) => asked.parts(),
            AskCommand::Edges(asked) => asked.parts(),
            AskCommand::Certificates(asked) => asked.parts(),
            AskCommand::Who(asked) => asked.parts(),
            AskCommand::Explain(asked) => asked.parts(),
            AskCommand::Findings(asked) => asked.parts(),
            AskCommand::Timeline(asked) => asked.parts(),
            AskCommand::Diff(asked) => asked.parts(),
        }
    }
}

impl<Q: Args + Into<Question>> Asked<Q> {
    pub(super) fn parts(self) -> (Question, HistoryArguments) {
        (self.question.into(), self.history)
    }
}

/// What an answer's last line says to scripts.
pub(super) fn exit(page: &PageRecord) -> Exit {
    match (&page.cut, page.count) {
        (Some(_), _) => Exit::Partial,
        (None, 0) => Exit::Negative,
        (None, _) => Exit::Success,
    }
}

/// Takes the lines of an answer.
pub(super) type Lines<'a> = &'a mut dyn FnMut(&str) -> io::Result<()>;

impl HistoryArguments {
    /// Hands all lines of the answer to `print`, also the last one, and returns that.
    pub(super) fn ask(&self, question: &Question, print: Lines<'_>) -> Result<PageRecord, Failure> {
        self.whom.answer(|source| match source {
            Source::Daemon(socket) => ask_daemon(socket, question, &mut *print),
            Source::File(file) => ask_file(file, question, &mut *print),
        })
    }
}

impl WhomArguments {
    /// Asks the daemon, and without one its file.
    pub(super) fn answer<T>(
        &self,
        mut ask: impl FnMut(Source<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if let Some(file) = &self.db {
            return ask(Source::File(file));
        }
        let daemon = match Config::load(self.config.as_deref()) {
            Ok(config) => config.daemon,
            // Members of the socket's group need not be able to read it.
            Err(ConfigError::Unreadable { .. }) if self.config.is_none() => Config::default().daemon,
            Err(error) => return Err(error.into()),
        };
        let socket = self.socket.as_deref().unwrap_or(&daemon.socket);
        match ask(Source::Daemon(socket)) {
            // Whoever names a socket means a daemon.
            Err(Failure::Client(ClientError::NoDaemon { .. })) if self.socket.is_none() => {
                ask(Source::File(&daemon.data_dir.join(FILE_NAME)))
            }
            answered => answered,
        }
    }
}

fn ask_daemon(socket: &Path, question: &Question, print: Lines<'_>) -> Result<PageRecord, Failure> {
    let mut progress = Progress::default();
    let page = in_runtime(async {
        let mut answer = progress.wait(api::ask(socket, question)).await?;
        let mut page = None;
        while let Some(line) = progress.wait(answer.next_line()).await? {
            progress.clear();
            page = serde_json::from_str::<PageRecord>(&line).ok();
            print(&line)?;
        }
        Ok(page.ok_or(ClientError::Unexpected("an answer without its end: its log says why"))?)
    });
    progress.clear();
    page
}

/// Runs what asks a daemon to its end.
pub(super) fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn ask_file(file: &Path, question: &Question, print: Lines<'_>) -> Result<PageRecord, Failure> {
    let mut reader = Reader::open(file)?;
    let mut here = Here { print, failed: None, progress: Progress::default() };
    let page = question.answer(&mut reader, now(), &mut here);
    here.progress.clear();
    match here.failed {
        Some(error) => Err(error.into()),
        None => Ok(page?),
    }
}

/// Whoever asks, at this terminal.
struct Here<'a> {
    print: Lines<'a>,
    failed: Option<io::Error>,
    progress: Progress,
}

impl Asker for Here<'_> {
    fn line(&mut self, line: Vec<u8>) -> ControlFlow<()> {
        if self.failed.is_some() {
            return ControlFlow::Break(());
        }
        self.progress.clear();
        let text = String::from_utf8_lossy(&line);
        match (self.print)(text.trim_end_matches('\n')) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    fn progress(&mut self, done: f64) -> ControlFlow<()> {
        if let Some(bar) = self.progress.shown("{bar:40} {percent} % of the history read, {eta} left") {
            bar.set_position((done.clamp(0.0, 1.0) * 100.0) as u64);
        }
        ControlFlow::Continue(())
    }
}

/// How far an answer is, where a terminal shows it.
struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        Progress { bar: None, began: Instant::now() }
    }
}

impl Progress {
    /// The bar, once this takes long.
    fn shown(&mut self, template: &str) -> Option<&ProgressBar> {
        if self.began.elapsed() <= SHORT || !io::stderr().is_terminal() {
            return None;
        }
        Some(self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(template);
            style.map_or(bar.clone(), |style| bar.with_style(style))
        }))
    }

    fn clear(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// Shows that the daemon is at work, until something comes from it.
    async fn wait<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            match tokio::time::timeout(TICK, &mut work).await {
                Ok(came) => return came,
                Err(_) => {
                    if let Some(bar) = self.shown("{spinner} the daemon reads its history, for {elapsed}") {
                        bar.tick();
                    }
                }
            }
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::History(error.into())
    }
}
