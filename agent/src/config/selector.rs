//! What an exception is about.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;

/// A known finding that somebody answers for until a day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRule {
    /// Code of the finding.
    pub finding: String,
    /// The client.
    pub from: Selector,
    /// The server.
    pub to: Selector,
    /// Of the server; `None`: any.
    pub port: Option<u16>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Last day on which it holds, UTC.
    pub expires: jiff::civil::Date,
}

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
pub(super) fn network(text: &str) -> Result<IpNet, SelectorError> {
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
