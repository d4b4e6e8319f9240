//! What an edge is, when it regresses, and what is forgotten.

use std::sync::Arc;

use super::*;
use crate::record::{EvidenceName, TlsRecord, sample};

const NOW: WallTime = WallTime(1_000_000 * QUIET);

fn after(hours: i64) -> WallTime {
    WallTime(NOW.0 + hours * QUIET)
}

/// A decided connection of a workload here to a server on another host of the internal networks.
fn connection(authentication: Authentication) -> ConnectionRecord {
    let mut connection = sample::connection(1);
    connection.decided = Some(NOW);
    connection.scope = Scope::EastWest;
    connection.observed_from = vec![SideName::Client];
    connection.authentication = authentication;
    connection.client.workload = Some(sample::unit("web.service").into());
    connection.server.address = "10.0.0.9".to_owned();
    connection.server.port = 443;
    connection
}

/// A mutual one, in which the client showed an identity.
fn proving(identity: &str, server: &str) -> ConnectionRecord {
    let mut connection = connection(Authentication::Mutual);
    connection.tls = Some(Arc::new(TlsRecord { handshake: "complete".into(), ..sample::tls() }));
    connection.evidence.client = EvidenceName::Certificate;
    connection.client.identity = Some(identity.to_owned());
    connection.server.address = server.to_owned();
    connection
}

/// Notes a connection that says one thing from its begin to its end.
fn note(edges: &Edges, authentication: Authentication, at: WallTime) -> NotedEdge {
    edges.note(&connection(authentication), None, at)
}

fn from(noted: NotedEdge) -> Option<Authentication> {
    noted.regression.map(|regression| regression.from)
}

#[test]
fn an_edge_that_loses_its_authentication_regresses_once() {
    let edges = Edges::default();
    assert_eq!(from(note(&edges, Authentication::ServerOnly, NOW)), None, "nothing was before");
    assert_eq!(from(note(&edges, Authentication::Mutual, after(1))), None, "more than before");
    assert_eq!(from(note(&edges, Authentication::Psk, after(1))), None, "both proved to have the key");
    let first = note(&edges, Authentication::ServerOnly, after(3));
    assert_eq!(first.regression, Some(Regression { from: Authentication::Mutual, last: after(1) }));
    assert!(first.regressed_now);
    let second = note(&edges, Authentication::ServerOnly, after(3));
    assert_eq!((from(second), second.regressed_now), (Some(Authentication::Mutual), false));
    let weaker = note(&edges, Authentication::None, after(3));
    assert_eq!((from(weaker), weaker.regressed_now), (Some(Authentication::Mutual), true));
    assert_eq!(edges.by_authentication(), [((Scope::EastWest, Authentication::None), 1)].into());
}

#[test]
fn an_edge_that_is_weaker_now_and_then_is_one_regression_until_it_has_recovered() {
    let edges = Edges::default();
    note(&edges, Authentication::Mutual, NOW);
    assert!(note(&edges, Authentication::None, NOW).regressed_now);
    note(&edges, Authentication::Mutual, WallTime(NOW.0 + 1));
    assert!(!note(&edges, Authentication::None, WallTime(NOW.0 + 2)).regressed_now, "mixed");
    assert!(!note(&edges, Authentication::None, after(9)).regressed_now, "it has not recovered");
    note(&edges, Authentication::Mutual, after(10));
    assert!(note(&edges, Authentication::None, after(11)).regressed_now, "it had");
}

#[test]
fn what_establishes_nothing_is_no_regression() {
    let edges = Edges::default();
    note(&edges, Authentication::Mutual, NOW);
    for nothing in [Authentication::Unknown, Authentication::NotEstablished] {
        assert_eq!(from(note(&edges, nothing, NOW)), None);
    }
    let mut silent = connection(Authentication::None);
    silent.protocol = "silent".into();
    assert_eq!(from(edges.note(&silent, None, NOW)), None, "a check whether the port is open");
    assert_eq!(edges.by_authentication(), [((Scope::EastWest, Authentication::Mutual), 1)].into());
}

#[test]
fn an_edge_on_which_nothing_was_established_yet_is_listed_as_what_it_is() {
    let edges = Edges::default();
    note(&edges, Authentication::NotEstablished, NOW);
    assert_eq!(edges.by_authentication(), [((Scope::EastWest, Authentication::NotEstablished), 1)].into());
}

#[test]
fn a_revision_repeats_or_replaces_what_the_connection_said() {
    let edges = Edges::default();
    let weak = edges.note(&connection(Authentication::ServerOnly), None, NOW);
    note(&edges, Authentication::Mutual, NOW);
    let again = edges.note(&connection(Authentication::ServerOnly), weak.edge, NOW);
    assert_eq!((again.edge, again.regression), (weak.edge, None), "the stronger one came later");
    let corrected = edges.note(&connection(Authentication::Mutual), weak.edge, NOW);
    assert_eq!(corrected.regression, None);
    let regressed = note(&edges, Authentication::None, NOW);
    let again = edges.note(&connection(Authentication::None), regressed.edge, NOW);
    assert_eq!((from(again), again.regressed_now), (Some(Authentication::Mutual), false));
}

#[test]
fn a_connection_is_not_held_against_its_own_mistake() {
    let edges = Edges::default();
    let first = note(&edges, Authentication::Mutual, NOW);
    let corrected = edges.note(&connection(Authentication::ServerOnly), first.edge, NOW);
    assert_eq!(corrected.regression, None);
    // Whose end it was turns out later: the edge that never was is gone.
    let mut named = connection(Authentication::ServerOnly);
    named.client.workload = Some(sample::unit("other.service").into());
    edges.note(&named, corrected.edge, NOW);
    assert_eq!(edges.sizes().edges, 1);
}

#[test]
fn ends_tell_edges_apart_and_what_is_not_known_makes_none() {
    let edges = Edges::default();
    let mut other_port = connection(Authentication::None);
    other_port.server.port = 80;
    let mut other_host = connection(Authentication::None);
    other_host.server.address = "10.0.0.8".to_owned();
    let mut other_client = connection(Authentication::None);
    other_client.client.workload = Some(sample::unit("db.service").into());
    note(&edges, Authentication::Mutual, NOW);
    for other in [&other_port, &other_host, &other_client] {
        assert_eq!(edges.note(other, None, NOW).regression, None);
    }
    assert_eq!(edges.sizes().edges, 4);
    let mut unknown = connection(Authentication::None);
    unknown.client.workload = None;
    let mut undecided = connection(Authentication::None);
    undecided.decided = None;
    for none in [&unknown, &undecided] {
        assert_eq!(edges.note(none, None, NOW), NotedEdge::default());
    }
    assert_eq!(edges.sizes().edges, 4);
}

#[test]
fn ends_outside_are_one_and_held_against_nothing() {
    let edges = Edges::default();
    for (address, authentication) in
        [("198.51.100.1", Authentication::Mutual), ("198.51.100.2", Authentication::ServerOnly)]
    {
        let mut outside = connection(authentication);
        outside.scope = Scope::NorthSouth;
        outside.server.address = address.to_owned();
        assert_eq!(edges.note(&outside, None, NOW).regression, None);
    }
    assert_eq!(edges.by_authentication(), [((Scope::NorthSouth, Authentication::ServerOnly), 1)].into());
}

#[test]
fn identities_reach_each_server_once_and_the_widest_come_first() {
    let edges = Edges::default();
    for (identity, server) in
        [("b", "10.0.0.1"), ("a", "10.0.0.1"), ("a", "10.0.0.2"), ("a", "10.0.0.1"), ("c", "10.0.0.1")]
    {
        edges.note(&proving(identity, server), None, NOW);
    }
    let mut here = proving("a", "10.0.0.1");
    here.observed_from = vec![SideName::Client, SideName::Server];
    here.server.workload = Some(sample::unit("db.service").into());
    edges.note(&here, None, NOW);
    let mut named = proving("a", "10.0.0.3");
    (named.evidence.server, named.server.identity) = (EvidenceName::Certificate, Some("db".to_owned()));
    edges.note(&named, None, NOW);
    named.server.address = "10.0.0.4".to_owned();
    edges.note(&named, None, NOW);
    let reaching = |identity: &str, servers| Reaching { identity: identity.to_owned(), servers };
    let widest = edges.widest(2);
    assert_eq!(widest, Widest { identities: vec![reaching("a", 4), reaching("b", 1)], left_out: 1 });
    assert_eq!(edges.sizes().reached, 6);
}

#[test]
fn who_did_not_prove_an_identity_reached_nothing_by_it() {
    let edges = Edges::default();
    let mut refused = proving("a", "10.0.0.1");
    refused.authentication = Authentication::NotEstablished;
    let mut inferred = proving("a", "10.0.0.1");
    inferred.evidence.client = EvidenceName::Inferred;
    // Whether the server is who it says is not known, nor what else this connection is.
    let mut doubtful = proving("a", "10.0.0.1");
    doubtful.authentication = Authentication::Unknown;
    for connection in [refused, inferred, doubtful] {
        edges.note(&connection, None, NOW);
    }
    assert_eq!(edges.widest(9), Widest::default());
}

#[test]
fn a_host_with_endless_edges_and_long_names_stays_within_the_bounds() {
    let edges = Edges::with_bounds(10, 5);
    for number in 0..100 {
        let mut long = proving(&format!("{number}{}\0", "é".repeat(4000)), "10.0.0.1");
        long.client.workload = Some(sample::unit(&format!("{number}{}", "é".repeat(4000))).into());
        edges.note(&long, None, NOW);
    }
    let sizes = EdgeSizes { edges: 10, edges_evicted: 90, reached: 5, reached_evicted: 95 };
    assert_eq!(edges.sizes(), sizes);
    let widest = edges.widest(9);
    assert_eq!(widest.identities.len(), 5);
    assert!(widest.identities.iter().all(|reaching| reaching.identity.len() <= MAX_NAME));
    let book = edges.lock();
    assert!(book.edges.each().all(|(name, _)| name.len() <= 2 * MAX_NAME + 8));
}
