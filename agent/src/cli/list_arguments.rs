//! What is typed to list workloads and their identities.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;

use super::arguments::DaemonArguments;

pub(super) const WORKLOADS_EXAMPLES: &str = "\
EXAMPLES:
  countersign workloads
  countersign workloads --without-owner
  countersign workloads --unauthenticated --kind systemd,kubernetes
  countersign workloads --unit nginx.service --json
  countersign workloads --owner payments

COLUMNS:
  AS CLIENT and AS SERVER count connections since the daemon's start by what was established on them. Below a workload
  stand the certificates that it presented: identity, in which role, until when it is valid, and whether it fits.

EXIT STATUS:
  0 if there is such a workload, 1 if there is none, 4 if the list is too long to be read whole.";

pub(super) const IDENTITIES_EXAMPLES: &str = "\
EXAMPLES:
  countersign identities
  countersign identities --json
  countersign identities --check
  countersign identities --check --config tried.toml

CHECK:
  --check holds the certificates that the daemon has seen against the rules ([[identity]]) of a configuration, also of one
  that is not loaded, and changes nothing: which fit, which do not and why, and for which workloads there is no rule.

EXIT STATUS:
  0  a certificate was presented here; with --check: all fit
  1  none was; with --check: or one does not fit, or for one there is no rule or no answer, or the daemon has forgotten some
  2  the configuration is wrong
  3  no daemon answers
  4  the list is too long to be read whole";

/// Kinds of workload.
const KINDS: [&str; 5] = ["systemd", "kubernetes", "container", "executable", "kernel"];

/// `workloads`
#[derive(Debug, Args)]
pub struct WorkloadsArguments {
    /// Only workloads of this kind
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = PossibleValuesParser::new(KINDS))]
    pub kind: Vec<String>,
    /// Only this systemd unit
    #[arg(long, value_name = "UNIT")]
    pub unit: Vec<String>,
    /// Only the workload, pod or container of this name
    #[arg(long, value_name = "NAME")]
    pub workload: Vec<String>,
    /// Only workloads of this owner, by the file of owners
    #[arg(long, value_name = "OWNER")]
    pub owner: Vec<String>,
    /// Only workloads that nobody owns
    #[arg(long, conflicts_with = "owner")]
    pub without_owner: bool,
    /// Only workloads with connections on which they did not prove who they are
    #[arg(long)]
    pub unauthenticated: bool,
    /// One JSON object per line, with all fields
    #[arg(long)]
    pub json: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub daemon: DaemonArguments,
}

/// `identities`
#[derive(Debug, Args)]
pub struct IdentitiesArguments {
    /// Hold them against the rules of a configuration, loaded or not
    #[arg(long)]
    pub check: bool,
    /// One JSON object per line, with all fields
    #[arg(long)]
    pub json: bool,
    /// The daemon's socket [default: as the configuration says]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Configuration with the rules, which also says where the socket is [default: /etc/countersign/countersign.toml if it
    /// is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
