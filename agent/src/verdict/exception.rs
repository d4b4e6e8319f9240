//! Known findings, set apart by configuration: still visible, counted apart.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::civil::Date;

use super::Code;
use crate::record::{ConnectionRecord, EndpointRecord, ExceptionRecord};

/// An exception: somebody answers for a finding until a date.
#[derive(Debug, Clone, PartialEq)]
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

/// Which endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// All.
    Any,
    /// Those with an address in this network.
    Network(IpNet),
    /// Those of this systemd unit.
    Unit(String),
    /// Those whose owner runs this executable.
    Executable(String),
}

impl Selector {
    fn matches(&self, endpoint: &EndpointRecord) -> bool {
        match self {
            Selector::Any => true,
            Selector::Network(network) => {
                endpoint.address.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            Selector::Unit(unit) => {
                endpoint.workload.as_ref().and_then(|workload| workload.unit.as_ref()) == Some(unit)
            }
            Selector::Executable(path) => {
                endpoint.process.as_ref().and_then(|process| process.executable.as_ref()) == Some(path)
            }
        }
    }
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
