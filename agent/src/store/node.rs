//! Ends of edges: who is meant when only one name per end is wanted.

use crate::record::{EndpointRecord, Scope, SideName};

/// Key of the node of all clients from elsewhere.
pub(crate) const EXTERNAL: &str = "external";

/// The key of an end of an edge: its workload (`workload:KEY`), else the identity that it presented (`identity:NAME`), else its
/// address (`address:A`); clients from elsewhere of whom neither is known are all `external`, lest the edges of a public
/// server be as many as its visitors.
pub fn node_key(endpoint: &EndpointRecord, side: SideName, scope: Scope) -> String {
    if side == SideName::Client && is_visitor(endpoint, scope) {
        return EXTERNAL.to_owned();
    }
    if let Some(workload) = &endpoint.workload {
        return format!("workload:{}", workload.key());
    }
    if let Some(identity) = &endpoint.identity {
        return format!("identity:{identity}");
    }
    format!("address:{}", endpoint.address)
}

/// Whether a client is from elsewhere, and nothing is known of it but its address.
pub(super) fn is_visitor(client: &EndpointRecord, scope: Scope) -> bool {
    scope == Scope::NorthSouth && client.workload.is_none() && client.identity.is_none()
}
