//! What an exception is about.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;

use crate::record::EndpointRecord;

/// Which ends of connections are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// All.
    Any,
    /// By address.
    Network(IpNet),
    /// By systemd unit.
    Unit(String),
    /// By the path of the executable.
    Executable(String),
}

/// Why a text selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// None of the forms.
    #[error(
        "`{0}` is not \"any\", an address, a network like \"10.0.0.0/8\", \"unit:NAME.service\" or \"exe:/PATH\""
    )]
    Unrecognised(String),
    /// Address bits beyond the prefix.
    #[error("`{given}` has address bits beyond its prefix: write \"{meant}\" for the network")]
    HostBits {
        /// As typed.
        given: String,
        /// Probably meant.
        meant: IpNet,
    },
    /// `unit:` with nothing like a unit.
    #[error("`{0}` is not a systemd unit: write its full name, like \"unit:nginx.service\"")]
    Unit(String),
    /// `exe:` with a relative path.
    #[error("`{0}` is not an absolute path: write \"exe:/usr/sbin/nginx\"")]
    Executable(String),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        if text == "any" {
            Ok(Selector::Any)
        } else if let Some(unit) = text.strip_prefix("unit:") {
            if unit.contains('.') && !unit.contains(['/', ' ']) {
                Ok(Selector::Unit(unit.to_owned()))
            } else {
                Err(SelectorError::Unit(unit.to_owned()))
            }
        } else if let Some(path) = text.strip_prefix("exe:") {
            if Path::new(path).is_absolute() {
                Ok(Selector::Executable(path.to_owned()))
            } else {
                Err(SelectorError::Executable(path.to_owned()))
            }
        } else {
            network(text).map(Selector::Network)
        }
    }
}

impl Selector {
    /// Whether it means this end.
    pub(super) fn matches(&self, endpoint: &EndpointRecord) -> bool {
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

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selector::Any => f.write_str("any"),
            Selector::Network(network) => network.fmt(f),
            Selector::Unit(unit) => write!(f, "unit:{unit}"),
            Selector::Executable(path) => write!(f, "exe:{path}"),
        }
    }
}

/// A network, or an address as the network of it alone.
pub fn network(text: &str) -> Result<IpNet, SelectorError> {
    let unrecognised = || SelectorError::Unrecognised(text.to_owned());
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().map_err(|_| unrecognised())?,
    };
    if network.trunc() != network {
        return Err(SelectorError::HostBits { given: text.to_owned(), meant: network.trunc() });
    }
    Ok(network)
}
