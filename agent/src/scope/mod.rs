//! Scope: where the two ends of a connection are.
//!
//! Enters: two addresses, the networks that count as internal, and this host's own addresses. Leaves: `loopback`,
//! `east_west` or `north_south`. Refuses: looking at ports, names or who dialled what: the addresses that the sockets
//! have decide.

use std::net::IpAddr;

use ipnet::IpNet;
use nix::ifaddrs::getifaddrs;
use rustc_hash::FxHashSet;

use crate::record::Scope;

/// Networks that are internal everywhere: RFC 1918, RFC 6598 (shared), RFC 3927 and RFC 4291 (link-local), RFC 4193 (unique local).
pub const INTERNAL: [&str; 7] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "fe80::/10",
    "fc00::/7",
];

/// What counts as internal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    internal: Vec<IpNet>,
    own: FxHashSet<IpAddr>,
}

impl Networks {
    /// The built-in internal networks, further ones, and no address of this host yet.
    pub fn new(further: &[IpNet]) -> Self {
        let built_in = INTERNAL.iter().filter_map(|network| network.parse().ok());
        Networks { internal: built_in.chain(further.iter().copied()).collect(), own: FxHashSet::default() }
    }

    /// Learns the addresses of this network namespace's interfaces. They change seldom: once a minute is enough, since the
    /// addresses of sockets on this host count as its own in any case.
    ///
    /// # Errors
    /// If the kernel does not list its interfaces; what was known stays.
    pub fn learn_own(&mut self) -> nix::Result<()> {
        self.own = getifaddrs()?
            .filter_map(|interface| {
                let address = interface.address?;
                let v4 = address.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))
            })
            .collect();
        Ok(())
    }

    /// Where the two ends are. `local` says of each whether its socket is on this host.
    pub fn scope(&self, client: IpAddr, server: IpAddr, local: (bool, bool)) -> Scope {
        if client.is_loopback() && server.is_loopback() {
            return Scope::Loopback;
        }
        if self.is_internal(client, local.0) && self.is_internal(server, local.1) {
            Scope::EastWest
        } else {
            Scope::NorthSouth
        }
    }

    fn is_internal(&self, address: IpAddr, local: bool) -> bool {
        local
            || address.is_loopback()
            || self.internal.iter().any(|network| network.contains(&address))
            || self.own.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(client: &str, server: &str) -> Scope {
        let further = ["203.0.113.0/24".parse().unwrap()];
        Networks::new(&further).scope(client.parse().unwrap(), server.parse().unwrap(), (false, false))
    }

    #[test]
    fn loopback_is_only_what_has_both_ends_there() {
        assert_eq!(scope("127.0.0.1", "127.9.9.9"), Scope::Loopback);
        assert_eq!(scope("::1", "::1"), Scope::Loopback);
        assert_eq!(scope("10.0.0.1", "127.0.0.1"), Scope::EastWest);
    }

    #[test]
    fn internal_networks_are_east_west_with_each_other_only() {
        assert_eq!(scope("10.1.2.3", "192.168.0.9"), Scope::EastWest);
        assert_eq!(scope("100.64.0.1", "172.31.255.1"), Scope::EastWest);
        assert_eq!(scope("fd00::1", "fe80::1"), Scope::EastWest);
        assert_eq!(scope("10.1.2.3", "172.32.0.1"), Scope::NorthSouth);
        assert_eq!(scope("8.8.8.8", "10.1.2.3"), Scope::NorthSouth);
        assert_eq!(scope("10.1.2.3", "203.0.113.7"), Scope::EastWest);
    }

    #[test]
    fn the_host_s_own_addresses_are_internal_even_when_public() {
        let networks = Networks::new(&[]);
        let (own, other) = ("198.51.100.1".parse().unwrap(), "198.51.100.2".parse().unwrap());
        assert_eq!(networks.scope(own, own, (true, true)), Scope::EastWest);
        assert_eq!(networks.scope(own, other, (true, false)), Scope::NorthSouth);
    }
}
