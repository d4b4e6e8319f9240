//! Ends of edges: who is meant when only one name per end is wanted.

use crate::record::{EndpointRecord, Scope, SideName};

/// The key of an end of an edge: its workload (`workload:KEY`), else the identity that it presented (`identity:NAME`), else its
/// address (`address:A`); clients from elsewhere of whom neither is known are all `external`, lest the edges of a public
/// server be as many as its visitors.
pub fn node_key(endpoint: &EndpointRecord, side: SideName, scope: Scope) -> String {
    if let Some(workload) = &endpoint.workload {
        return format!("workload:{}", workload.key());
    }
    if let Some(identity) = &endpoint.identity {
        return format!("identity:{identity}");
    }
    match (side, scope) {
        (SideName::Client, Scope::NorthSouth) => "external".to_owned(),
        _ => format!("address:{}", endpoint.address),
    }
}
