//! What names this host in records.

use std::fs;

use nix::net::if_::if_nameindex;
use rustc_hash::FxHashMap;

use crate::connection::Connection;
use crate::event::NetworkNamespace;

/// Names of the host, as records carry them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Host {
    /// `/proc/sys/kernel/hostname`.
    pub name: Option<String>,
    /// `/etc/machine-id` (machine-id(5)).
    pub id: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// `/proc/sys/kernel/osrelease`.
    pub kernel: Option<String>,
}

impl Host {
    /// Reads them; what cannot be read stays `None`.
    pub fn read() -> Host {
        let line = |path: &str| {
            let text = fs::read_to_string(path).ok()?;
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        };
        Host {
            name: line("/proc/sys/kernel/hostname"),
            id: line("/etc/machine-id"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
            kernel: line("/proc/sys/kernel/osrelease"),
        }
    }
}

/// Names of the interfaces of the agent's own network namespace; those of others cannot be named from here.
#[derive(Debug, Default)]
pub struct Interfaces {
    own: NetworkNamespace,
    names: FxHashMap<u32, String>,
}

impl Interfaces {
    /// No names yet.
    pub fn new(own: NetworkNamespace) -> Self {
        Interfaces { own, names: FxHashMap::default() }
    }

    /// Reads the names anew; what cannot be read stays unnamed.
    pub fn learn(&mut self) {
        let Ok(interfaces) = if_nameindex() else { return };
        self.names = interfaces
            .into_iter()
            .map(|interface| (interface.index(), interface.name().to_string_lossy().into_owned()))
            .collect();
    }

    /// The name of the interface on which a connection was first seen, if all its sockets are in the own namespace.
    pub fn name(&self, connection: &Connection) -> Option<String> {
        let mut sides = connection.client.iter().chain(&connection.server);
        if self.own.0 == 0 || !sides.all(|side| side.netns == self.own) {
            return None;
        }
        self.names.get(&connection.interface).cloned()
    }
}
