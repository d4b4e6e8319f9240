//! What is typed. One definition gives the parser, the help, the man page and the completions.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use super::Failure;
use super::ask::AskCommand;
use super::configuration::daemon_socket;
use super::graph::{BLAST_RADIUS_EXAMPLES, BlastRadiusArguments, REPORT_EXAMPLES, ReportArguments};
use super::list_arguments::{
    IDENTITIES_EXAMPLES, IdentitiesArguments, WORKLOADS_EXAMPLES, WorkloadsArguments,
};
use crate::api::WatchFilter;
use crate::config::Overrides;
use crate::record::{Authentication, Scope};
use crate::verdict::Code;

const PROGRAM_EXAMPLES: &str = "\
EXAMPLES:
  countersign check                            what works on this host, and why the rest does not
  countersign run                              the daemon, on its embedded defaults
  countersign watch --scope east_west          connections between internal addresses, live
  countersign workloads --without-owner        who is here, and owned by nobody
  countersign identities --check               which identities were presented, and if they fit
  countersign connections --since 2h           what the daemon remembers; also of a copy (--db)
  countersign blast-radius 3f2a90c1            whom it reached, and who could through it
  countersign diff --before 7d                 what changed since last week
  countersign report --output report.html      all of that as one page
  countersign replay incident.pcapng.gz        the same answers from a capture, without rights
  countersign config default                   the configuration with every key explained

EXIT STATUS:
  0  done; the answer is yes
  1  done; the answer is no: something that is needed is missing (check), there is none (workloads, identities, \
     questions about the history), a certificate does not fit (identities --check), nothing could be read (replay)
  2  the arguments or the configuration are wrong
  3  it cannot be done here: no rights, no daemon, no history, no support in the kernel
  4  done in part: a capture could not be read in full (replay), an answer was cut";

const CHECK_EXAMPLES: &str = "\
EXAMPLES:
  countersign check
  countersign check --json
  countersign check --libraries
  countersign check --libraries --json
  countersign check --config /etc/countersign/countersign.toml

EXIT STATUS:
  0 if the daemon can run here, 1 if something that it needs is missing. What is merely degraded does not count.
  With --libraries: 0 if there is a process with a TLS library, 1 if there is none.

LIBRARIES:
  --libraries lists the files with TLS libraries that processes map: whether the running daemon probes them, why it does \
  not, and in which processes they are. Without a daemon it looks itself, and says what could be probed.";

const RUN_EXAMPLES: &str = "\
EXAMPLES:
  countersign run
  countersign run --config /etc/countersign/countersign.toml
  countersign run --data-dir /srv/a --socket /srv/a/socket --metrics-listen 127.0.0.1:19965

SIGNALS:
  SIGHUP reads the configuration again; if it is wrong the old one stays and the log says why.
  SIGTERM and SIGINT end the daemon and take its programs out of the kernel.";

const WATCH_EXAMPLES: &str = "\
EXAMPLES:
  countersign watch
  countersign watch --authentication none,unknown --scope east_west
  countersign watch --port 443 --unit nginx.service
  countersign watch --workload prod/db-0 --owner payments
  countersign watch --finding unauthenticated_east_west --json
  countersign watch --closed --count 100 --json

COLUMNS:
  The mark before the time is + for a new connection, ~ for one that is known better now, . for its end.
  EVIDENCE is how the client's side of the answer is known; /high and /medium say how surely.
  Filters of one kind are alternatives, different kinds must all match. Certificates, findings and gaps are \
  printed with --json only, save that a gap always has its line.";

const REPLAY_EXAMPLES: &str = "\
EXAMPLES:
  countersign replay incident.pcapng
  countersign replay monday.pcap.gz tuesday.pcap.zst --scope east_west
  countersign replay incident.pcap --findings
  countersign replay incident.pcap --port 443 --certificates seen --json
  tcpdump -i eth0 -w - tcp | countersign replay -

INPUT:
  pcap and pcapng, plain, gzip or zstd; - is standard input, which is also read if no FILE is named. Several captures \
  are one timeline. Connections are printed when they end, those without an end when the capture does.

COLUMNS:
  As in watch; CLIENT has its port. TIME is when the connection ended, else when it was decided; a line names each new day.

SIGNALS:
  SIGINT (Ctrl-C) and SIGTERM end the reading: open connections and the summary are printed. A pipe is \
  read on until its writer closes it, for a second at most. What was not read to its end counts as interrupted. A \
  second signal ends at once.

EXIT STATUS:
  0  all was read
  1  nothing could be read: no file can be opened and is a capture, or every packet is of an unsupported link type
  2  the arguments or the configuration are wrong
  3  the output or a certificate cannot be written
  4  a part was not read: one of several files cannot be opened or is no capture, a capture is damaged, truncated or \
     was interrupted, packets are of unsupported link types, or there was more than there was room for: what could \
     be read is printed, and the rest is said on standard error";

const CONFIG_EXAMPLES: &str = "\
EXAMPLES:
  countersign config default > /etc/countersign/countersign.toml
  countersign config check /etc/countersign/countersign.toml";

const COMPLETION_EXAMPLES: &str = "\
EXAMPLES:
  countersign completion bash > /etc/bash_completion.d/countersign
  countersign completion zsh > /usr/local/share/zsh/site-functions/_countersign
  countersign completion fish > /etc/fish/completions/countersign.fish";

const MAN_EXAMPLES: &str = "\
EXAMPLES:
  countersign man > /usr/local/share/man/man8/countersign.8";

/// Audits the identity of every TCP connection of this host: who talked to whom, and did each side prove who it is?
#[derive(Debug, Parser)]
#[command(name = "countersign", version, after_help = PROGRAM_EXAMPLES, max_term_width = 110)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what works on this host, what does not, why, and what to do
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArguments),
    /// Run the daemon
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArguments),
    /// Show connections live, as the daemon sees them
    #[command(after_help = WATCH_EXAMPLES)]
    Watch(Box<WatchArguments>),
    /// List the workloads that have or had connections here: whose they are, what they present, how they authenticate
    #[command(after_help = WORKLOADS_EXAMPLES)]
    Workloads(Box<WorkloadsArguments>),
    /// List the identities that workloads presented here, or try rules on them
    #[command(after_help = IDENTITIES_EXAMPLES)]
    Identities(IdentitiesArguments),
    /// Questions about the history.
    #[command(flatten)]
    Ask(AskCommand),
    /// Say whom an identity, a certificate, a key or an issuer reached, and who could reach what through it
    #[command(after_help = BLAST_RADIUS_EXAMPLES)]
    BlastRadius(Box<BlastRadiusArguments>),
    /// Write the history as one page for people
    #[command(after_help = REPORT_EXAMPLES)]
    Report(ReportArguments),
    /// Answer from captures what the daemon answers live
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(Box<ReplayArguments>),
    /// Print the default configuration, or check one
    #[command(after_help = CONFIG_EXAMPLES)]
    Config(ConfigArguments),
    /// Print completions for a shell
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion(CompletionArguments),
    /// Print the manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

/// `check`
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// List TLS libraries instead: what was found, in which processes, what is probed, and why something is not
    #[arg(long)]
    pub libraries: bool,
    /// The daemon's socket, for --libraries [default: as the configuration says]
    #[arg(long, value_name = "PATH", requires = "libraries")]
    pub socket: Option<PathBuf>,
    /// Configuration to check with [default: /etc/countersign/countersign.toml if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One JSON object per line
    #[arg(long)]
    pub json: bool,
}

/// `run`
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Configuration [default: /etc/countersign/countersign.toml if it is there, else embedded defaults]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for what outlives the daemon; overrides daemon.data_dir
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Unix socket for readers; overrides daemon.socket
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Address and port of the metrics page; overrides metrics.listen
    #[arg(long, value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,
}

impl RunArguments {
    /// What overrides the file.
    pub(super) fn overrides(&self) -> Overrides {
        Overrides {
            data_dir: self.data_dir.clone(),
            socket: self.socket.clone(),
            metrics_listen: self.metrics_listen,
        }
    }
}

/// Filters that hold for live connections and captures.
#[derive(Debug, Args)]
pub struct FilterArguments {
    /// Only connections where this was established
    #[arg(long, value_name = "ANSWER", value_delimiter = ',', value_parser = authentication())]
    pub authentication: Vec<Authentication>,
    /// Only connections between such ends
    #[arg(long, value_name = "SCOPE", value_delimiter = ',', value_parser = scope())]
    pub scope: Vec<Scope>,
    /// Only connections with such a finding
    #[arg(long, value_name = "CODE", value_delimiter = ',')]
    pub finding: Vec<String>,
    /// Only connections to this port of the server, as it has it or as it was dialled
    #[arg(long, value_name = "PORT", value_delimiter = ',')]
    pub port: Vec<u16>,
}

impl FilterArguments {
    /// Refuses findings that there are not.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.finding.iter().find(|code| !Code::NAMES.contains(&code.as_str())) {
            None => Ok(()),
            Some(code) => {
                let known = Code::NAMES.join(", ");
                Err(Failure::Usage(format!("--finding: `{code}` is not a finding code: they are {known}")))
            }
        }
    }

    /// What is wanted.
    pub(super) fn filter(&self) -> WatchFilter {
        WatchFilter {
            authentication: self.authentication.clone(),
            scope: self.scope.clone(),
            finding: self.finding.clone(),
            port: self.port.clone(),
            ..WatchFilter::default()
        }
    }
}

/// Where the daemon answers.
#[derive(Debug, Args)]
pub struct DaemonArguments {
    /// The daemon's socket [default: as the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The daemon's configuration, to find its socket
    #[arg(long, value_name = "FILE", conflicts_with = "socket")]
    pub config: Option<PathBuf>,
}

impl DaemonArguments {
    /// Its socket.
    pub(super) fn socket(&self) -> Result<PathBuf, Failure> {
        daemon_socket(self.socket.as_deref(), self.config.as_deref())
    }
}

/// `watch`
#[derive(Debug, Args)]
pub struct WatchArguments {
    /// Which connections.
    #[command(flatten)]
    pub filters: FilterArguments,
    /// Only connections that this process held, on either end
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Only connections of this systemd unit, on either end
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Only connections of the workload, pod or container of this name, on either end
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only connections of this owner, on either end, by the file of owners
    #[arg(long, value_name = "OWNER")]
    pub owner: Vec<String>,
    /// Only the last word on each connection, when it has ended
    #[arg(long)]
    pub closed: bool,

    /// Begin with the connections that are open now
    #[arg(long, conflicts_with = "closed")]
    pub open: bool,
    /// Stop after so many connections were printed
    #[arg(long, value_name = "N")]
    pub count: Option<NonZeroU64>,
    /// One JSON object per line, with all fields
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

impl WatchArguments {
    /// What is wanted from the daemon.
    pub(super) fn filter(&self) -> WatchFilter {
        WatchFilter {
            pid: self.pid.clone(),
            unit: self.unit.clone(),
            workload: self.workload.clone(),
            owner: self.owner.clone(),
            closed: self.closed,
            open: self.open,
            ..self.filters.filter()
        }
    }
}

/// `replay`
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// Captures; - is standard input
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Which connections.
    #[command(flatten)]
    pub filters: FilterArguments,
    /// Only what was found, with how often
    #[arg(long)]
    pub findings: bool,
    /// Write each certificate once to DIR/SHA256.pem; DIR is made if it is missing, other files there stay
    #[arg(long, value_name = "DIR")]
    pub certificates: Option<PathBuf>,
    /// One JSON object per line, with all fields
    #[arg(long)]
    pub json: bool,
    /// Configuration with policy and internal networks [default: /etc/countersign/countersign.toml if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// `config`
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// Which.
    #[command(subcommand)]
    pub command: ConfigCommand,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the default configuration, with every key explained
    Default,
    /// Check a configuration; what is wrong is named with file, line and key
    Check {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// `completion`
#[derive(Debug, Args)]
pub struct CompletionArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

fn authentication() -> impl TypedValueParser<Value = Authentication> {
    PossibleValuesParser::new(Authentication::ALL.iter().map(|name| name.as_str()))
        .try_map(|name| name.parse::<Authentication>())
}

fn scope() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.iter().map(|name| name.as_str()))
        .try_map(|name| name.parse::<Scope>())
}
