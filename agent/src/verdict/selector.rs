//! What an exception, a rule or an owner is about.

use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use ipnet::IpNet;

use super::glob::matches;
use crate::record::{EndpointRecord, WorkloadRecord};

/// Which ends of connections, or which workloads, are meant. Names are patterns: see [`matches`], with `/` parting them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// All.
    Any,
    /// By address.
    Network(IpNet),
    /// By unit of the system's manager.
    Unit(String),
    /// By unit of a user's manager: user, unit.
    UserUnit(String, String),
    /// By the path of the executable.
    Executable(String),
    /// By Kubernetes namespace.
    Namespace(String),
    /// By Kubernetes namespace and pod.
    Pod(String, String),
    /// By Kubernetes namespace and service account.
    ServiceAccount(String, String),
    /// By name of the container.
    Container(String),
}

/// Whether a workload is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Names of it that decide are not known.
    Unknown,
}

impl From<bool> for Meant {
    fn from(meant: bool) -> Self {
        if meant { Meant::Yes } else { Meant::No }
    }
}

/// Why a text selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// None of the forms.
    #[error(
        "`{0}` is not \"any\", an address, a network like \"10.0.0.0/8\", \"unit:NAME.service\", \"user_unit:USER/NAME.service\", \
         \"exe:/PATH\", \"namespace:NAME\", \"pod:NAMESPACE/NAME\", \"service_account:NAMESPACE/NAME\" or \"container:NAME\""
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
    /// `user_unit:` with nothing like a unit of a user.
    #[error("`{0}` is not a unit of a user: write \"user_unit:1000/backup.service\"")]
    UserUnit(String),
    /// `exe:` with a relative path.
    #[error("`{0}` is not an absolute path: write \"exe:/usr/sbin/nginx\"")]
    Executable(String),
    /// A name that cannot be one.
    #[error("`{0}` is not a name: write it without spaces and slashes")]
    Name(String),
    /// One name where there are two.
    #[error("`{0}` is not a namespace and a name: write \"NAMESPACE/NAME\", with * for any")]
    Pair(String),
    /// Where workloads are meant.
    #[error(
        "`{0}` means addresses, and a workload has none: select it by unit, pod, container or executable"
    )]
    NoWorkload(String),
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let Some((form, rest)) = text.split_once(':') else {
            return if text == "any" { Ok(Selector::Any) } else { network(text).map(Selector::Network) };
        };
        match form {
            "unit" if is_unit(rest) => Ok(Selector::Unit(rest.to_owned())),
            "unit" => Err(SelectorError::Unit(rest.to_owned())),
            "user_unit" => match pair(rest) {
                Some((user, unit)) if is_unit(&unit) => Ok(Selector::UserUnit(user, unit)),
                _ => Err(SelectorError::UserUnit(rest.to_owned())),
            },
            "exe" if Path::new(rest).is_absolute() => Ok(Selector::Executable(rest.to_owned())),
            "exe" => Err(SelectorError::Executable(rest.to_owned())),
            "namespace" | "container" if !is_name(rest) => Err(SelectorError::Name(rest.to_owned())),
            "namespace" => Ok(Selector::Namespace(rest.to_owned())),
            "container" => Ok(Selector::Container(rest.to_owned())),
            "pod" | "service_account" => {
                let (namespace, name) = pair(rest).ok_or_else(|| SelectorError::Pair(rest.to_owned()))?;
                Ok(match form {
                    "pod" => Selector::Pod(namespace, name),
                    _ => Selector::ServiceAccount(namespace, name),
                })
            }
            _ => network(text).map(Selector::Network),
        }
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|char: char| char == '/' || char.is_whitespace() || char.is_control())
}

fn is_unit(text: &str) -> bool {
    is_name(text) && text.contains('.')
}

fn pair(text: &str) -> Option<(String, String)> {
    let (one, other) = text.split_once('/')?;
    (is_name(one) && is_name(other)).then(|| (one.to_owned(), other.to_owned()))
}

impl Selector {
    /// A selector of workloads: any form but addresses.
    ///
    /// # Errors
    /// As [`Selector::from_str`], and for addresses.
    pub fn of_workloads(text: &str) -> Result<Selector, SelectorError> {
        match text.parse()? {
            Selector::Network(_) => Err(SelectorError::NoWorkload(text.to_owned())),
            selector => Ok(selector),
        }
    }

    /// Whether it means this end. Here `exe:` means the program that holds the socket, whatever it belongs to.
    pub(super) fn matches(&self, endpoint: &EndpointRecord) -> bool {
        match self {
            Selector::Any => true,
            Selector::Network(network) => {
                endpoint.address.parse::<IpAddr>().is_ok_and(|address| network.contains(&address))
            }
            Selector::Executable(pattern) => {
                let path = endpoint.process.as_ref().and_then(|process| process.executable.as_ref());
                path.is_some_and(|path| matches(pattern, path, '/'))
            }
            _ => endpoint.workload.as_ref().is_some_and(|workload| self.means(workload) == Meant::Yes),
        }
    }

    /// Whether it means this workload. Here `exe:` means a workload that is nothing but an executable.
    pub fn means(&self, workload: &WorkloadRecord) -> Meant {
        let is = |pattern: &str, name: &Option<String>| {
            name.as_ref().is_some_and(|name| matches(pattern, name, '/'))
        };
        match self {
            Selector::Any => Meant::Yes,
            Selector::Network(_) => Meant::No,
            // The executable stands for what could not be read.
            _ if workload.kind == "executable" && workload.unknown.is_some() => Meant::Unknown,
            // A user can give a unit of their own any name.
            Selector::Unit(unit) => (workload.unit_user.is_none() && is(unit, &workload.unit)).into(),
            Selector::UserUnit(user, unit) => {
                (is(user, &workload.unit_user) && is(unit, &workload.unit)).into()
            }
            Selector::Executable(path) => {
                (workload.kind == "executable" && matches(path, &workload.name, '/')).into()
            }
            Selector::Namespace(namespace) => of_pod(workload, &[(namespace, &workload.namespace)]),
            Selector::Pod(namespace, pod) => {
                of_pod(workload, &[(namespace, &workload.namespace), (pod, &workload.pod)])
            }
            Selector::ServiceAccount(namespace, account) => {
                of_pod(workload, &[(namespace, &workload.namespace), (account, &workload.service_account)])
            }
            Selector::Container(name) => match (&*workload.kind, workload.container_name()) {
                ("kubernetes" | "container", _) if workload.unit_user.is_some() => Meant::No,
                ("kubernetes" | "container", None) => Meant::Unknown,
                (_, own) => own.is_some_and(|own| matches(name, own, '/')).into(),
            },
        }
    }
}

/// A pod of which a name is missing may be meant, and so may a container of which it is not known whether it is one.
fn of_pod(workload: &WorkloadRecord, names: &[(&String, &Option<String>)]) -> Meant {
    let mut missing = false;
    for (pattern, name) in names {
        match name {
            Some(name) if matches(pattern, name, '/') => {}
            Some(_) => return Meant::No,
            None => missing = true,
        }
    }
    let may_be_pod = match &*workload.kind {
        "kubernetes" => true,
        "container" => workload.unknown.is_some() && workload.unit_user.is_none(),
        _ => false,
    };
    match missing {
        false => Meant::Yes,
        true if may_be_pod => Meant::Unknown,
        true => Meant::No,
    }
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Selector::Any => f.write_str("any"),
            Selector::Network(network) => network.fmt(f),
            Selector::Unit(unit) => write!(f, "unit:{unit}"),
            Selector::UserUnit(user, unit) => write!(f, "user_unit:{user}/{unit}"),
            Selector::Executable(path) => write!(f, "exe:{path}"),
            Selector::Namespace(namespace) => write!(f, "namespace:{namespace}"),
            Selector::Pod(namespace, pod) => write!(f, "pod:{namespace}/{pod}"),
            Selector::ServiceAccount(namespace, account) => {
                write!(f, "service_account:{namespace}/{account}")
            }
            Selector::Container(name) => write!(f, "container:{name}"),
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

#[cfg(test)]
mod tests;
