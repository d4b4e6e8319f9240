use super::*;
use crate::question::made::{History, certificate, from_to, minute, presents, sha256};
use crate::record::{Authentication, ConnectionRecord};

const NAME: &str = "spiffe://test/a";

/// As [`from_to`] from `a` to `b`, where the client presents this certificate.
fn with(certificate: &str, minutes: i64) -> ConnectionRecord {
    named(certificate, NAME, minutes)
}

fn named(certificate: &str, identity: &str, minutes: i64) -> ConnectionRecord {
    let mut connection = from_to("a", "b", minutes);
    presents(&mut connection.client, certificate, identity);
    connection
}

fn of(subject: &str) -> TimelineQuestion {
    TimelineQuestion { subject: Some(subject.to_owned()), ..TimelineQuestion::default() }
}

fn kind(answer: &[serde_json::Value], kind: &str) -> Vec<serde_json::Value> {
    answer.iter().filter(|event| event["kind"] == kind).cloned().collect()
}

#[test]
fn a_rotation_says_how_long_both_were_in_use() {
    let connections = vec![with("old", 1), with("new", 10), with("old", 12), with("new", 20)];
    let certificates =
        vec![certificate("old", NAME, "CN=issuer", 0), certificate("new", NAME, "CN=issuer", 7)];
    let history = History::of("timeline-overlap", connections, certificates);
    let answer = history.ask(of(NAME));
    let rotations = kind(&answer, "rotation");
    assert_eq!(rotations.len(), 1);
    let (event, rotation) = (&rotations[0], &rotations[0]["rotation"]);
    assert_eq!((&event["at"], &event["role"]), (&minute(10).to_string().into(), &"client".into()));
    assert_eq!(
        (&event["certificate"], &rotation["replaces"]),
        (&sha256("new").into(), &sha256("old").into())
    );
    assert_eq!(rotation["overlap_seconds"], 2 * 60 + 1, "to the end of its last connection");
    assert_eq!(rotation["lag_seconds"], 3 * 60);
    assert_eq!(rotation["completed"], true);
    let seen = |name: &str| {
        let of = |event: &&serde_json::Value| event["certificate"] == sha256(name);
        kind(&answer, "first_seen").iter().filter(of).count()
            + kind(&answer, "last_seen").iter().filter(of).count()
    };
    assert_eq!((seen("old"), seen("new")), (2, 2));
    assert_eq!(kind(&history.ask(of(&sha256("old"))), "rotation").len(), 1, "what came after it is told too");
    let times: Vec<&str> = answer.iter().map(|event| event["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_rotation_without_overlap_and_one_that_is_not_over() {
    let connections = vec![with("one", 1), with("two", 10), with("three", 20), with("two", 30)];
    let answer = History::of("timeline-gap", connections, vec![]).ask(of("a"));
    let rotations = kind(&answer, "rotation");
    assert_eq!(rotations[0]["rotation"]["overlap_seconds"], -(9 * 60 - 1));
    assert_eq!(
        rotations[0]["rotation"]["lag_seconds"],
        serde_json::Value::Null,
        "only its fingerprint is known"
    );
    assert_eq!(rotations[1]["rotation"]["completed"], false, "the old one was in use later than the new one");
    assert_eq!(rotations.len(), 2);
}

#[test]
fn another_identity_is_a_successor_only_when_the_old_one_is_not_used_any_more() {
    let renamed = vec![named("one", "a.old", 1), named("two", "a.new", 10)];
    let answer = History::of("timeline-renamed", renamed, vec![]).ask(of("a.old"));
    let rotations = kind(&answer, "rotation");
    assert_eq!(rotations[0]["identity"], "a.new");
    assert_eq!(rotations[0]["rotation"]["replaces_identity"], "a.old");
    let several =
        vec![named("one", "x", 1), named("two", "y", 10), named("one", "x", 11), named("two", "y", 20)];
    let answer = History::of("timeline-several", several, vec![]).ask(of("a"));
    assert!(kind(&answer, "rotation").is_empty(), "a workload may have two identities");
}

#[test]
fn an_edge_that_gets_weaker_is_told_with_when_it_came_back() {
    let plain =
        |minutes| ConnectionRecord { authentication: Authentication::None, ..from_to("a", "b", minutes) };
    let server = |minutes| ConnectionRecord {
        authentication: Authentication::ServerOnly,
        ..from_to("a", "b", minutes)
    };
    let unknown =
        |minutes| ConnectionRecord { authentication: Authentication::Unknown, ..from_to("a", "b", minutes) };
    let connections = vec![
        from_to("a", "b", 1),
        unknown(5),
        server(10),
        plain(20),
        plain(25),
        server(30),
        from_to("a", "b", 40),
        plain(50),
    ];
    let history = History::of("timeline-regression", connections, vec![]);
    let told = |answer: &[serde_json::Value]| -> Vec<String> {
        let one = |event: &serde_json::Value| {
            let regression = &event["regression"];
            let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
            let at =
                [&event["at"], &regression["back"]].map(|at| text(at).chars().skip(14).take(2).collect());
            let [at, back]: [String; 2] = at;
            format!("{at} {} > {} {back}", text(&regression["from"]), text(&regression["to"]))
        };
        kind(answer, "regression").iter().map(one).collect()
    };
    let expected = ["10 mutual > server_only 40", "20 server_only > none 30", "50 mutual > none "];
    assert_eq!(told(&history.ask(of("a"))), expected);
    assert_eq!(told(&history.ask(of("workload:systemd:b"))), expected);
    history.fold_before(22);
    let folded = kind(&history.ask(of("a")), "regression");
    assert_eq!(folded.len(), 3, "hours that are only counted have the order of their first connections");
}

#[test]
fn an_edge_that_goes_back_and_forth_says_so() {
    let one = |minutes| match minutes % 2 {
        0 => from_to("a", "b", minutes),
        _ => ConnectionRecord { authentication: Authentication::None, ..from_to("a", "b", minutes) },
    };
    let answer = History::of("timeline-mixed", (0..100).map(one).collect(), vec![]).ask(of("a"));
    let regressions = kind(&answer, "regression");
    assert_eq!(regressions.len(), 16);
    assert_eq!(regressions[15]["regression"]["cut"], true);
    assert_eq!(regressions[14]["regression"]["cut"], false);
}

#[test]
fn a_timeline_has_pages_and_a_period() {
    let connections = vec![with("one", 1), with("two", 10), with("three", 20)];
    let history = History::of("timeline-pages", connections, vec![]);
    let all = history.ask(of("a"));
    let page = |after| history.ask(TimelineQuestion { limit: Some(4), after, ..of("a") });
    assert_eq!([page(None), page(Some(4)), page(Some(8))].concat(), all);
    let since = Some(Moment::At(minute(10)));
    let later = history.ask(TimelineQuestion { since, ..of("a") });
    assert!(!later.is_empty() && later.len() < all.len());
    assert!(later.iter().all(|event| event["at"].as_str().unwrap() >= &*minute(10).to_string()));
    assert!(history.ask(of("nobody")).is_empty());
}

#[test]
fn an_edge_has_its_own_timeline() {
    let plain = ConnectionRecord { authentication: Authentication::None, ..from_to("a", "b", 15) };
    let elsewhere = ConnectionRecord { authentication: Authentication::None, ..from_to("c", "b", 5) };
    let mut other_port = with("third", 40);
    other_port.server.port = 444;
    let connections =
        vec![with("old", 1), elsewhere, with("new", 10), plain, other_port, from_to("c", "b", 50)];
    let history = History::of("timeline-edge", connections, vec![]);
    let edge = |port| TimelineQuestion {
        client: Some("a".to_owned()),
        server: Some("systemd:b".to_owned()),
        port,
        ..TimelineQuestion::default()
    };
    let answer = history.ask(edge(Some(443)));
    let name =
        serde_json::json!({"client": "workload:systemd:a", "server": "workload:systemd:b", "port": 443});
    assert!(answer.iter().all(|event| event["edge"] == name), "{answer:#?}");
    let of_edge = answer.iter().filter(|event| event["node"].is_null() && event["regression"].is_null());
    let seen: Vec<_> = of_edge.map(|event| (&event["kind"], event["at"].as_str().unwrap())).collect();
    let (first, last) = (minute(1).to_string(), WallTime(minute(15).0 + 1_000_000_000).to_string());
    assert_eq!(seen, [(&"first_seen".into(), &*first), (&"last_seen".into(), &*last)]);
    assert_eq!(kind(&answer, "rotation")[0]["certificate"], sha256("new"));
    assert_eq!((kind(&answer, "rotation").len(), kind(&answer, "regression").len()), (1, 1));
    let both = history.ask(edge(None));
    let third = both.iter().filter(|event| event["certificate"] == sha256("third")).count();
    assert_eq!((third, kind(&both, "first_seen").len()), (2, 5), "two edges, three leaves");
    let to_server = TimelineQuestion { server: Some("b".to_owned()), ..TimelineQuestion::default() };
    assert_eq!(kind(&history.ask(to_server), "regression").len(), 1);
    for refused in ["", "subject=a&client=b", "subject=", "port=443", "subject=a&port=443"] {
        let question = crate::question::Question::parse("timeline", refused).unwrap();
        let mut all = crate::question::tests::Everything::default();
        let mut reader = crate::store::Reader::open(&history.folder.file()).unwrap();
        assert!(question.answer(&mut reader, minute(60), &mut all).is_err(), "{refused}");
    }
}
