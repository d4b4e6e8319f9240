//! Who holds the sockets of a connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::side::{HolderRole, OwnerSource, Side};
use super::{ConnectionKey, Connections, Sink};
use crate::event::{
    AddressPair, CloseReason, NetworkNamespace, PeerAsked, Released, Role, SocketCookie, Task,
};

impl Connections {
    /// Takes the owners of listening sockets, by their local address.
    pub fn set_listeners(
        &mut self,
        listeners: impl IntoIterator<Item = (NetworkNamespace, SocketAddr, Task)>,
    ) {
        self.listeners.clear();
        for (netns, address, task) in listeners {
            let oldest = self.listeners.entry((netns, address)).or_insert(task);
            // Prefork servers share the socket: the process that opened it came first.
            if task.process.start_time < oldest.process.start_time {
                *oldest = task;
            }
        }
    }

    pub(super) fn peer_asked(&mut self, event: &PeerAsked, sink: &mut dyn Sink) {
        let place = (event.netns, event.pair);
        let Some((key, role)) = self.held(event.socket, event.multipath.then_some(place)) else { return };
        let Some(side) = self.side_mut(key, role) else { return };
        let accepted = side.holders.iter().any(|holder| holder.role == HolderRole::Accept);
        let holder = if role == Role::Server && !accepted { HolderRole::Accept } else { HolderRole::Use };
        if side.hold(event.task, holder, OwnerSource::GetPeerName) {
            self.republish(key, sink);
        }
    }

    pub(super) fn released(&mut self, event: &Released, sink: &mut dyn Sink) {
        let place = (event.netns, event.pair);
        let Some((key, role)) = self.held(event.socket, event.multipath.then_some(place)) else { return };
        let Some(side) = self.side_mut(key, role) else { return };
        let news = side.hold(event.task, HolderRole::LastHolder, OwnerSource::Release);
        let Some(connection) = self.connections.get(&key) else { return };
        if connection.is_over() {
            self.finish(key, sink);
            return;
        }
        if news {
            self.republish(key, sink);
        }
        let older = self.connections.get(&key).is_some_and(|connection| connection.sequences.is_none());
        if older {
            // The kernel reports the end only of what was established under the agent: this is the last that is seen.
            self.end(event.socket, event.at, None, CloseReason::Unknown, sink);
        }
    }

    /// The connection and end that a socket belongs to. A multipath one is not the socket that packets show: it is found
    /// by the addresses of the passive subflow.
    fn held(
        &mut self,
        socket: SocketCookie,
        multipath: Option<(NetworkNamespace, AddressPair)>,
    ) -> Option<(ConnectionKey, Role)> {
        if let Some(found) = self.sockets.get(&socket) {
            return Some(*found);
        }
        let found = self.accepting.get(&multipath?);
        self.multipath_ambiguous += u64::from(found.is_none());
        Some((*found?, Role::Server))
    }

    pub(super) fn side_mut(&mut self, key: ConnectionKey, role: Role) -> Option<&mut Side> {
        self.connections.get_mut(&key)?.side_mut(role).as_deref_mut()
    }

    /// The owner of the socket that listens where this side was accepted.
    pub(super) fn listener_of(&self, side: &Side) -> Option<Task> {
        let local = side.pair.local;
        let any: IpAddr =
            if local.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // An IPv6 socket that listens everywhere accepts IPv4 too, unless it is told not to.
        [local.ip(), any, Ipv6Addr::UNSPECIFIED.into()]
            .into_iter()
            .find_map(|address| self.listeners.get(&(side.netns, SocketAddr::new(address, local.port()))))
            .copied()
    }

    /// Names the owner of the listening socket where no holder of the accepted one is known.
    pub(super) fn name_listener(&mut self, key: ConnectionKey, sink: &mut dyn Sink) {
        let Some(side) = self.connections.get(&key).and_then(|connection| connection.server.as_ref()) else {
            return;
        };
        if !side.holders.is_empty() {
            return;
        }
        let (socket, listener) = (side.socket, self.listener_of(side));
        let side = self.connections.get_mut(&key).and_then(|connection| connection.server.as_mut());
        if let (Some(side), Some(task)) = (side, listener) {
            side.hold(task, HolderRole::Accept, OwnerSource::Listener);
        }
        sink.owner_wanted(socket);
    }
}
