//! Known findings, set apart by configuration: still visible, counted apart.

use jiff::civil::Date;

use super::{Code, Selector};
use crate::record::{ConnectionRecord, ExceptionRecord};

/// An exception: somebody answers for a finding until a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exception {
    /// Which finding.
    pub code: Code,
    /// Which clients.
    pub from: Selector,
    /// Which servers.
    pub to: Selector,
    /// Which server port; `None` for any.
    pub port: Option<u16>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Last day on which it holds (UTC).
    pub expires: Date,
}

impl Exception {
    /// Whether it is about this finding of this connection, whatever the date.
    pub fn covers(&self, code: Code, connection: &ConnectionRecord) -> bool {
        self.code == code
            && self.port.is_none_or(|port| port == connection.server.port)
            && self.from.matches(&connection.client)
            && self.to.matches(&connection.server)
    }

    /// Whether its last day is over.
    pub fn has_expired(&self, today: Date) -> bool {
        self.expires < today
    }

    /// As it is printed.
    pub fn record(&self) -> ExceptionRecord {
        ExceptionRecord {
            owner: self.owner.clone(),
            reason: self.reason.clone(),
            expires: self.expires.to_string(),
        }
    }
}
