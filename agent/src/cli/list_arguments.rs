//! What is typed to list workloads and their identities.

use std::path::PathBuf;

use clap::Args;

use super::Failure;
use super::ask::Asked;
use crate::question::WorkloadsQuestion;

pub(super) const WORKLOADS_EXAMPLES: &str = "\
EXAMPLES:
  countersign workloads
  countersign workloads --without-owner
  countersign workloads --unauthenticated --kind systemd,kubernetes
  countersign workloads --unit nginx.service --json
  countersign workloads --owner payments
  countersign workloads --since 7d --finding unauthenticated_east_west
  countersign workloads --history --where workload.namespace=prod --json
  countersign workloads --db /mnt/evidence/countersign.db

WHOSE:
  Without --history, --since, --until and --db these are the workloads of the daemon's table: who had connections since its \
  start. With one of them the history is asked, like all questions about it: --where, --limit and --after are for it alone.

COLUMNS:
  AS CLIENT and AS SERVER count connections by what was established on them. Below a workload stand the certificates that it \
  presented: identity, in which role, until when it is valid, and whether it fits. LAST is when a connection was seen last.

EXIT STATUS:
  0 if there is such a workload, 1 if there is none, 2 if it is not asked rightly, 3 without a daemon or a history, 4 if the \
  list is too long to be read whole or the answer was cut.";

pub(super) const IDENTITIES_EXAMPLES: &str = "\
EXAMPLES:
  countersign identities
  countersign identities --json
  countersign identities --check
  countersign identities --check --config tried.toml

CHECK:
  --check holds the certificates that the daemon has seen against the rules ([[identity]]) of a configuration, also of one \
  that is not loaded, and changes nothing: which fit, which do not and why, and for which workloads there is no rule.

EXIT STATUS:
  0  a certificate was presented here; with --check: all fit
  1  none was; with --check: or one does not fit, or for one there is no rule or no answer, or the daemon has forgotten some
  2  the configuration is wrong
  3  no daemon answers
  4  the list is too long to be read whole";

/// `workloads`
#[derive(Debug, Args)]
pub struct WorkloadsArguments {
    /// Show the workloads of the history, not those that the daemon has in its table; so do --since, --until and --db
    #[arg(long)]
    pub history: bool,
    /// Which, and whom to ask.
    #[command(flatten)]
    pub asked: Asked<WorkloadsQuestion>,
}

impl WorkloadsArguments {
    /// Whether the history is asked.
    pub(super) fn is_of_history(&self) -> bool {
        let question = &self.asked.question;
        self.history
            || question.since.is_some()
            || question.until.is_some()
            || self.asked.history.whom.db.is_some()
    }

    /// Refuses what the daemon's table does not answer.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let question = &self.asked.question;
        let of_history = [
            ("--where", !question.r#where.is_empty()),
            ("--limit", question.limit.is_some()),
            ("--after", question.after.is_some()),
        ];
        match of_history.into_iter().find(|(_, is_given)| *is_given && !self.is_of_history()) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Failure::Usage(format!("{name} asks the history: add --history, or a time")))
            }
        }
    }
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
