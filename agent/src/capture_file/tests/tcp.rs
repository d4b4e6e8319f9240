//! Flows: beginnings, ends, and what is between.

use super::build::*;
use super::*;
use crate::event::Beginning;

#[test]
fn a_connection_is_told_as_its_client_saw_it() {
    let replayed = replay(&capture(&connection()));
    let [established] = replayed.established()[..] else { panic!("{:?}", replayed.events) };
    assert_eq!(established.pair.local, "10.0.0.1:40000".parse().unwrap());
    assert_eq!(established.pair.remote, "10.0.0.2:443".parse().unwrap());
    assert_eq!((established.first_sent, established.first_received), (CLIENT_ISN + 1, SERVER_ISN + 1));
    assert_eq!(established.beginning, Beginning::Seen);
    assert_eq!(established.at.0, 1_000_000_001_000);
    assert_eq!(replayed.said(), (b"hello".to_vec(), b"welcome".to_vec()));
    assert_eq!(replayed.closed(), [(5, 7, CloseReason::Fin)]);
    let Summary { flows, tcp_packets, packets, midstream_flows, attempts_without_answer, .. } =
        replayed.summary;
    assert_eq!((flows, tcp_packets, packets, midstream_flows, attempts_without_answer), (1, 8, 8, 0, 0));
}
