use super::*;
use crate::question::made::{History, certificate, from_to, minute, presents, sha256};
use crate::record::{Authentication, ConnectionRecord, Record};

const THIEF: &str = "spiffe://test/a";

/// As [`from_to`], where the client presents the certificate of [`THIEF`].
fn stolen(server: &str, minutes: i64) -> ConnectionRecord {
    let mut connection = from_to("a", server, minutes);
    presents(&mut connection.client, "one", THIEF);
    connection
}

fn of(subject: &str) -> BlastRadiusQuestion {
    BlastRadiusQuestion { subject: subject.to_owned(), ..BlastRadiusQuestion::default() }
}

/// Who has this relation to the subject: name and distance.
fn who(answer: &[serde_json::Value], relation: &str) -> Vec<(String, u64)> {
    let records = answer.iter().filter(|record| record["relation"] == relation);
    let short = |node: &serde_json::Value| node.as_str().unwrap().replace("workload:systemd:", "");
    records.map(|record| (short(&record["node"]), record["distance"].as_u64().unwrap())).collect()
}

fn is(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
    expected.iter().map(|(name, distance)| ((*name).to_owned(), *distance)).collect()
}

#[test]
fn it_spreads_only_forwards_in_time() {
    let connections = vec![
        stolen("b", 10),
        from_to("b", "before", 5),
        from_to("b", "after", 20),
        from_to("after", "earlier", 15),
        from_to("after", "later", 25),
    ];
    let history = History::of("spread-time", connections, vec![]);
    let answer = history.ask(of(THIEF));
    assert_eq!(who(&answer, "holds"), is(&[("a", 0)]));
    assert_eq!(who(&answer, "reached"), is(&[("b", 1), ("after", 2), ("later", 3)]));
    let later = answer.last().unwrap();
    assert_eq!(later["arrival"], minute(25).to_string());
    let path: Vec<_> = later["path"].as_array().unwrap().iter().map(|step| step["at"].clone()).collect();
    assert_eq!(path, [10, 20, 25].map(|at| minute(at).to_string()));
    assert_eq!(later["path"][2]["connection"], from_to("after", "later", 25).id);
    assert_eq!(answer[0]["reached_directly"], 1);
    assert_eq!(answer[0]["reached_onwards"], 2);
    assert_eq!(history.ask(of("spiffe://test/nobody")), [] as [serde_json::Value; 0]);
}

#[test]
fn a_connection_that_is_open_then_passes_on() {
    let pool = |server: &str, end: Option<i64>| ConnectionRecord {
        closed: end.map(minute),
        r#final: end.is_some(),
        ..from_to("b", server, 1)
    };
    let connections =
        vec![stolen("b", 10), pool("over", Some(9)), pool("open", Some(11)), pool("for-good", None)];
    let answer = History::of("spread-open", connections, vec![]).ask(of(THIEF));
    assert_eq!(who(&answer, "reached"), is(&[("b", 1), ("open", 2), ("for-good", 2)]));
    assert_eq!(answer[3]["arrival"], minute(10).to_string());
}

#[test]
fn the_soonest_way_counts_and_who_was_reached_directly_too_is_told() {
    let connections = vec![stolen("b", 10), from_to("b", "c", 20), stolen("c", 30), from_to("c", "d", 25)];
    let answer = History::of("spread-soonest", connections, vec![]).ask(of(THIEF));
    assert_eq!(who(&answer, "reached"), is(&[("b", 1), ("c", 2), ("d", 3)]));
    let c = &answer[3];
    assert_eq!(c["arrival"], minute(20).to_string(), "by way of b");
    assert_eq!(c["direct"]["authentication"], serde_json::json!({ "mutual": 1 }), "and straight on, later");
    assert_eq!((&answer[0]["reached_directly"], &answer[0]["reached_onwards"]), (&2.into(), &1.into()));
}

#[test]
fn circles_end() {
    let connections =
        vec![stolen("b", 10), from_to("b", "a", 20), from_to("a", "c", 30), from_to("c", "b", 40)];
    let answer = History::of("spread-circle", connections, vec![]).ask(of(THIEF));
    assert_eq!(who(&answer, "reached"), is(&[("b", 1), ("a", 2), ("c", 3)]));
}

#[test]
fn who_could_reach_a_server_is_followed_backwards() {
    let mut served = from_to("client", "s", 20);
    presents(&mut served.server, "one", THIEF);
    let connections = vec![
        served,
        from_to("before", "client", 10),
        from_to("too-late", "client", 30),
        from_to("first", "before", 5),
        from_to("also-too-late", "before", 15),
    ];
    let answer = History::of("spread-back", connections, vec![]).ask(of(THIEF));
    assert_eq!(who(&answer, "holds"), is(&[("s", 0)]));
    assert_eq!(who(&answer, "reached_by"), is(&[("client", 1), ("before", 2), ("first", 3)]));
    let way = answer.last().unwrap()["path"].as_array().unwrap();
    assert_eq!(way[0]["client"], "workload:systemd:first");
    assert_eq!(way[2]["server"], "workload:systemd:s");
}

#[test]
fn all_certificates_of_an_identity_a_key_or_an_issuer_are_meant() {
    let mut second = from_to("e", "f", 12);
    presents(&mut second.client, "two", THIEF);
    let mut other = from_to("g", "h", 14);
    presents(&mut other.client, "three", "spiffe://test/g");
    let mut three = certificate("three", "spiffe://test/g", "CN=issuer", 0);
    if let Record::Certificate(three) = &mut three {
        let three = std::sync::Arc::make_mut(three);
        three.san.uri = vec!["spiffe://test/g".to_owned(), "urn:g".to_owned()];
    }
    let certificates =
        vec![certificate("one", THIEF, "CN=issuer", 0), certificate("two", THIEF, "CN=issuer", 0), three];
    let history = History::of("spread-subject", vec![stolen("b", 10), second, other], certificates);
    let holders = |subject: &str| {
        let answer = history.ask(of(subject));
        let names: Vec<String> = who(&answer, "holds").into_iter().map(|(name, _)| name).collect();
        (answer[0]["understood_as"][0].as_str().unwrap().to_owned(), names.join(" "))
    };
    let found = |what: &str, names: &str| (what.to_owned(), names.to_owned());
    assert_eq!(holders(THIEF), found("identity", "a e"));
    assert_eq!(holders("urn:g"), found("alternative_name", "g"));
    assert_eq!(holders("spiffe://test/g"), found("identity", "g"));
    assert_eq!(holders("CN=issuer"), found("issuer", "a e g"));
    assert_eq!(holders(&sha256("two")[..12]), found("certificate", "e"));
    assert_eq!(holders(&sha256("key of three").to_uppercase()), found("key", "g"));
    assert!(history.ask(of(&sha256("two")[..6])).is_empty(), "too short to mean one");
}

#[test]
fn hours_that_are_only_counted_pass_on_and_are_marked() {
    let connections =
        vec![stolen("b", 10), from_to("b", "c", 5), from_to("b", "c", 20), from_to("c", "d", 30)];
    let history = History::of("spread-folded", connections, vec![]);
    history.fold_before(60);
    let answer = history.ask(of(THIEF));
    assert_eq!(who(&answer, "reached"), is(&[("b", 1), ("c", 2), ("d", 3)]));
    assert_eq!(answer[2]["to_the_hour"], false);
    assert_eq!(answer[3]["to_the_hour"], true, "there was one before and one after, and perhaps one at once");
    assert_eq!(answer[4]["to_the_hour"], true, "what comes after is known no better");
    assert_eq!(answer[4]["path"][2]["connection"], serde_json::Value::Null);
}

#[test]
fn what_the_bounds_leave_out_is_said() {
    let connections = vec![stolen("b", 10), stolen("c", 11), from_to("b", "d", 20), from_to("d", "e", 30)];
    let history = History::of("spread-bounds", connections, vec![]);
    let cut = |question: BlastRadiusQuestion| {
        let answer = history.ask(question);
        (who(&answer, "reached").len(), answer[0]["cut"].clone())
    };
    assert_eq!(cut(of(THIEF)), (4, serde_json::json!([])));
    assert_eq!(cut(BlastRadiusQuestion { depth: Some(3), ..of(THIEF) }), (4, serde_json::json!([])));
    assert_eq!(cut(BlastRadiusQuestion { depth: Some(2), ..of(THIEF) }), (3, serde_json::json!(["depth"])));
    assert_eq!(cut(BlastRadiusQuestion { limit: Some(2), ..of(THIEF) }), (2, serde_json::json!(["nodes"])));
}

#[test]
fn only_what_is_of_the_period_counts() {
    let connections = vec![stolen("b", 10), stolen("c", 20), from_to("b", "d", 30), from_to("c", "e", 40)];
    let history = History::of("spread-period", connections, vec![]);
    let period = |since: Option<i64>, until: Option<i64>| BlastRadiusQuestion {
        since: since.map(|since| Moment::At(minute(since))),
        until: until.map(|until| Moment::At(minute(until))),
        ..of(THIEF)
    };
    assert_eq!(who(&history.ask(period(Some(15), None)), "reached"), is(&[("c", 1), ("e", 2)]));
    assert_eq!(who(&history.ask(period(None, Some(35))), "reached"), is(&[("b", 1), ("c", 1), ("d", 2)]));
}

#[test]
fn who_was_turned_away_has_reached_nobody() {
    let refused = ConnectionRecord { authentication: Authentication::NotEstablished, ..stolen("closed", 5) };
    let answer = History::of("spread-refused", vec![stolen("b", 10), refused], vec![]).ask(of(THIEF));
    assert_eq!(who(&answer, "reached"), is(&[("b", 1)]));
    assert_eq!(answer[0]["refused"], 1);
    assert_eq!(answer[2]["direct"]["authentication"], serde_json::json!({ "mutual": 1 }));
}
