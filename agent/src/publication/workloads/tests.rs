//! What is counted, what is taken back, and what is forgotten.

use super::*;
use crate::ownership::{Owned, OwnerRule};
use crate::record::*;
use crate::verdict::Selector;

const NOW: WallTime = WallTime(1_000);

fn workload(name: &str) -> Arc<WorkloadRecord> {
    Arc::new(WorkloadRecord { kind: "systemd".into(), name: name.into(), ..WorkloadRecord::default() })
}

/// A connection of which the client's end is on this host.
fn outgoing(name: &str, authentication: Authentication) -> ConnectionRecord {
    let mut connection = sample::connection(1);
    connection.observed_from = vec![SideName::Client];
    connection.client.workload = Some(workload(name));
    connection.authentication = authentication;
    connection
}

fn leaf(name: &str) -> CertificateRecord {
    CertificateRecord {
        sha256: format!("sha256 of {name}"),
        spki_sha256: Some(format!("key of {name}")),
        subject: Some(format!("CN={name}")),
        san: SubjectAlternativeNames { dns: vec![name.to_owned()], ..SubjectAlternativeNames::default() },
        not_after: Some(WallTime(7)),
        ..CertificateRecord::default()
    }
}

/// The client presents a leaf.
fn presenting(mut connection: ConnectionRecord, leaf: &CertificateRecord) -> ConnectionRecord {
    connection.client.certificates = vec![leaf.sha256.clone()];
    connection.client.identity = leaf.san.dns.first().cloned();
    connection
}

fn note(book: &Workloads, connection: &ConnectionRecord, at: WallTime) -> Noted {
    let mut noted = Noted::default();
    book.note(connection, Leaves::default(), at, &mut noted);
    noted
}

fn present(book: &Workloads, connection: &ConnectionRecord, leaf: &CertificateRecord, at: WallTime) -> Noted {
    let mut noted = Noted::default();
    book.note(connection, Leaves { client: Some(leaf), server: None }, at, &mut noted);
    noted
}

fn all(book: &Workloads) -> Vec<KnownWorkloadRecord> {
    let mut all: Vec<KnownWorkloadRecord> = Vec::new();
    while let Some(next) = book.after(all.last().map(|last| last.key.as_str())) {
        all.push(next);
    }
    all
}

fn named(book: &Workloads, name: &str) -> KnownWorkloadRecord {
    all(book).into_iter().find(|known| known.workload.name == name).unwrap()
}

#[test]
fn a_connection_counts_once_however_many_revisions_it_has() {
    let book = Workloads::new(Some("host".to_owned()));
    let mut connection = outgoing("a.service", Authentication::Unknown);
    connection.evidence.reason = Some("incomplete".into());
    connection.findings = vec!["peer_not_verified".into(), "peer_not_verified".into()];
    let mut noted = note(&book, &connection, NOW);
    let first = named(&book, "a.service");
    assert_eq!(first.client.unknown, BTreeMap::from([("incomplete".into(), 1)]));
    assert_eq!(first.findings, BTreeMap::from([("peer_not_verified".into(), 1)]));
    assert_eq!((first.open_connections, first.host.as_deref()), (1, Some("host")));

    connection.authentication = Authentication::Mutual;
    connection.evidence.reason = None;
    connection.findings.clear();
    connection.scope = Scope::EastWest;
    connection.r#final = true;
    book.note(&connection, Leaves::default(), WallTime(2_000), &mut noted);
    let last = named(&book, "a.service");
    assert_eq!(last.client.connections, 1);
    assert_eq!(last.client.authentication, BTreeMap::from([(Authentication::Mutual, 1)]));
    assert_eq!(last.scopes, BTreeMap::from([(Scope::EastWest, 1)]));
    assert!(last.client.unknown.is_empty() && last.findings.is_empty(), "{last:?}");
    assert_eq!((last.open_connections, last.server.connections), (0, 0));
    assert_eq!((last.first_seen, last.last_seen), (NOW, WallTime(2_000)));
}

#[test]
fn both_ends_of_a_local_connection_count_and_a_remote_one_does_not() {
    let book = Workloads::new(None);
    let mut connection = outgoing("client.service", Authentication::ServerOnly);
    connection.server.workload = Some(workload("server.service"));
    note(&book, &connection, NOW);
    assert_eq!(all(&book).len(), 1, "the server's end is on another host");
    connection.observed_from.push(SideName::Server);
    note(&book, &connection, NOW);
    let (client, server) = (named(&book, "client.service"), named(&book, "server.service"));
    assert_eq!((client.client.connections, client.server.connections), (2, 0));
    assert_eq!((server.client.connections, server.server.connections), (0, 1));
    // A workload that connects to itself is both.
    connection.server.workload = connection.client.workload.clone();
    note(&book, &connection, NOW);
    let client = named(&book, "client.service");
    assert_eq!((client.client.connections, client.server.connections), (3, 1));
}

#[test]
fn a_workload_that_was_a_mistake_is_not_listed_when_the_owner_is_known_better() {
    let book = Workloads::new(None);
    let secret = leaf("a");
    let mut connection = presenting(outgoing("parent.service", Authentication::Mutual), &secret);
    let mut noted = present(&book, &connection, &secret, NOW);
    connection.client.workload = Some(workload("child.service"));
    book.note(&connection, Leaves { client: Some(&secret), server: None }, NOW, &mut noted);
    let all = all(&book);
    assert_eq!(all.iter().map(|known| known.workload.name.as_str()).collect::<Vec<_>>(), ["child.service"]);
    assert_eq!(all[0].certificates.len(), 1);
    assert_eq!(book.sizes(), WorkloadSizes { workloads: 1, presented: 1, ..WorkloadSizes::default() });
}

#[test]
fn a_leaf_is_told_with_its_names_and_what_peers_did_about_it() {
    let book = Workloads::new(None);
    let secret = leaf("a.test");
    let mut connection = presenting(outgoing("a.service", Authentication::Mutual), &secret);
    connection.server.verification = Some(VerificationName::Verified);
    // Its record is forgotten at first.
    let mut noted = note(&book, &presenting(connection.clone(), &leaf("a.test")), NOW);
    connection.server.verification = Some(VerificationName::FailedOverridden);
    book.note(&connection, Leaves { client: Some(&secret), server: None }, NOW, &mut noted);
    let known = named(&book, "a.service");
    let [presented] = &known.certificates[..] else { panic!("{known:?}") };
    assert_eq!((presented.client, presented.server), (1, 0));
    assert_eq!(presented.verification, BTreeMap::from([(VerificationName::FailedOverridden, 1)]));
    assert_eq!(presented.identity.as_deref(), Some("a.test"));
    assert_eq!(presented.identity_fit.as_ref().map(|fit| fit.status), Some(IdentityFitName::NoRule));
    // The leaf at hand is the one that was presented, or none.
    present(&book, &connection, &leaf("another"), NOW);
    assert_eq!(named(&book, "a.service").certificates.len(), 1);
}

#[test]
fn owners_and_rules_are_those_in_force_when_a_workload_is_told() {
    let book = Workloads::new(None);
    let secret = leaf("a.test");
    let mut connection = presenting(outgoing("a.service", Authentication::Mutual), &secret);
    let unit = WorkloadRecord { unit: Some("a.service".into()), ..(*workload("a.service")).clone() };
    connection.client.workload = Some(unit.into());
    present(&book, &connection, &secret, NOW);
    let answer = |book: &Workloads| {
        let known = named(book, "a.service");
        let fit = known.certificates[0].identity_fit.as_ref().map(|fit| fit.status);
        (known.labels.and_then(|labels| labels.owner.clone()), fit)
    };
    assert_eq!(answer(&book), (None, Some(IdentityFitName::NoRule)));
    for (owner, may_present, fit) in
        [("one", "b.test", IdentityFitName::DoesNotFit), ("two", "{unit}.test", IdentityFitName::Fits)]
    {
        let selector: Selector = "unit:*.service".parse().unwrap();
        let labels = LabelsRecord { owner: Some(owner.to_owned()), ..LabelsRecord::default() };
        let rule = OwnerRule { owned: Owned::Workload(selector.clone()), labels: labels.into() };
        let identities = vec![Arc::new(FitRule::new(selector, vec![may_present.parse().unwrap()]))];
        book.set_rules(Arc::new(Owners::new(vec![rule])), identities);
        assert_eq!(answer(&book), (Some(owner.to_owned()), Some(fit)));
    }
}

#[test]
fn a_leaf_that_was_forgotten_is_named_once_it_is_known() {
    let book = Workloads::new(None);
    let secret = leaf("a.test");
    let mut connection = presenting(outgoing("a.service", Authentication::Mutual), &secret);
    connection.client.identity = None;
    note(&book, &connection, NOW);
    assert_eq!(named(&book, "a.service").certificates[0].subject, None);
    connection.client.identity = Some("a.test".to_owned());
    present(&book, &connection, &secret, NOW);
    let presented = named(&book, "a.service").certificates.remove(0);
    assert_eq!((presented.subject.as_deref(), presented.client), (Some("CN=a.test"), 2));
    assert_eq!((presented.spki_sha256, presented.not_after), (secret.spki_sha256, secret.not_after));
    // It is forgotten again: what is known of it stays.
    connection.client.identity = None;
    note(&book, &connection, NOW);
    let presented = named(&book, "a.service").certificates.remove(0);
    assert_eq!(presented.identity.as_deref(), Some("a.test"));
    assert_eq!(presented.subject.as_deref(), Some("CN=a.test"));
}

#[test]
fn a_leaf_that_did_not_parse_says_so_where_it_was_presented() {
    let book = Workloads::new(None);
    let broken = CertificateRecord { parse_error: Some("trailing data".to_owned()), ..leaf("a.test") };
    present(&book, &presenting(outgoing("a.service", Authentication::Mutual), &broken), &broken, NOW);
    let presented = named(&book, "a.service").certificates.remove(0);
    assert_eq!(presented.parse_error.as_deref(), Some("trailing data"));
}

#[test]
fn names_without_end_take_bounded_room_and_are_counted() {
    let book = Workloads::new(None);
    let mut secret = leaf("a");
    secret.san.dns = (0..256).map(|index| format!("{index:0>1024}")).collect();
    secret.subject = Some("s".repeat(64 << 10));
    present(&book, &presenting(outgoing("a.service", Authentication::Mutual), &secret), &secret, NOW);
    let known = named(&book, "a.service");
    let presented = &known.certificates[0];
    let listed = usize::from(presented.identity.is_some()) + presented.san.dns.len();
    assert_eq!((listed, presented.subject.as_ref()), (3, None));
    assert_eq!(presented.names_left_out, 256 - 2 + 1, "{presented:?}");
    assert!(serde_json::to_string(&known).unwrap().len() < 8 << 10);
}

#[test]
fn lists_have_bounds_and_say_what_they_left_out() {
    let book = Workloads::new(None);
    for number in 0..20 {
        let secret = leaf(&format!("{number}.test"));
        let mut connection = presenting(outgoing("a.service", Authentication::Mutual), &secret);
        let process = ProcessRecord {
            pid: number,
            executable: Some(format!("/bin/{number}")),
            uid: number,
            ..ProcessRecord::default()
        };
        connection.client.process = Some(Arc::new(process));
        present(&book, &connection, &secret, WallTime(i64::from(number)));
    }
    let known = named(&book, "a.service");
    assert_eq!((known.executables.len(), known.users.len(), known.certificates.len()), (8, 8, 8));
    assert_eq!(known.left_out, LeftOutRecord { executables: 12, users: 12, certificates: 12 });
    assert_eq!(known.users[0], "0");
    assert_eq!(known.process.map(|process| process.pid), Some(19));
    // The latest leaves are kept, the latest first.
    let names: Vec<_> = known.certificates.iter().filter_map(|one| one.identity.clone()).collect();
    assert_eq!(names, (12..20).rev().map(|number| format!("{number}.test")).collect::<Vec<_>>());
    let sizes = book.sizes();
    assert_eq!((sizes.presented, sizes.presented_left_out), (8, 12));
}

#[test]
fn the_longest_unseen_is_forgotten_first_and_none_with_an_open_connection() {
    let book = Workloads::with_bounds(None, 2, 8);
    let names = |book: &Workloads| -> Vec<String> {
        all(book).iter().map(|known| known.workload.name.clone()).collect()
    };
    let closed = |name: &str, at| {
        let connection = ConnectionRecord { r#final: true, ..outgoing(name, Authentication::None) };
        note(&book, &connection, WallTime(at));
    };
    let open = note(&book, &outgoing("open", Authentication::None), WallTime(1));
    closed("old", 2);
    closed("new", 3);
    assert_eq!(names(&book), ["new", "open"]);
    assert_eq!(book.sizes().workloads_left_out, 1);
    book.ended(&open, WallTime(4));
    assert_eq!(named(&book, "open").open_connections, 0);
    closed("newer", 5);
    assert_eq!(names(&book), ["newer", "open"]);
    closed("newest", 6);
    assert_eq!(names(&book), ["newer", "newest"]);
    // What was forgotten takes nothing back, and all open ones leave no room.
    let mut forgotten = open;
    let again = ConnectionRecord { r#final: true, ..outgoing("newer", Authentication::Mutual) };
    book.note(&again, Leaves::default(), WallTime(7), &mut forgotten);
    for name in ["newer", "newest"] {
        note(&book, &outgoing(name, Authentication::None), WallTime(8));
    }
    closed("none", 9);
    assert_eq!((names(&book), book.sizes().workloads_left_out), (vec!["newer".into(), "newest".into()], 4));
    assert_eq!(named(&book, "newer").client.connections, 3);
}

#[test]
fn leaves_of_all_workloads_have_one_bound() {
    let book = Workloads::with_bounds(None, 8, 2);
    for name in ["a", "b", "c"] {
        let secret = leaf(name);
        present(&book, &presenting(outgoing(name, Authentication::Mutual), &secret), &secret, NOW);
    }
    // All have one: the oldest goes.
    let listed = |name| named(&book, name).certificates.len();
    assert_eq!([listed("a"), listed("b"), listed("c")], [0, 1, 1]);
    assert_eq!(named(&book, "a").left_out.certificates, 1);
    assert_eq!((book.sizes().presented, book.sizes().presented_left_out), (2, 1));
}

#[test]
fn a_workload_that_is_forgotten_makes_room_with_its_leaves() {
    let book = Workloads::with_bounds(None, 1, 8);
    for name in ["a", "b"] {
        let secret = leaf(name);
        let connection = presenting(outgoing(name, Authentication::Mutual), &secret);
        present(&book, &ConnectionRecord { r#final: true, ..connection }, &secret, NOW);
    }
    assert_eq!((book.sizes().workloads, book.sizes().presented), (1, 1));
}

#[test]
fn a_workload_with_many_leaves_makes_room_for_one_without() {
    let book = Workloads::with_bounds(None, 8, 4);
    let show = |name: &str, leaf_name: &str, at| {
        let secret = leaf(leaf_name);
        present(&book, &presenting(outgoing(name, Authentication::Mutual), &secret), &secret, WallTime(at));
    };
    show("few", "old", 0);
    for number in 0..10 {
        show("many", &number.to_string(), 1 + number);
    }
    show("new", "new", 20);
    let listed = |name| named(&book, name).certificates.len();
    assert_eq!([listed("few"), listed("many"), listed("new")], [1, 2, 1]);
    assert_eq!((book.sizes().presented, book.sizes().presented_left_out), (4, 8));
}

#[test]
fn a_guessed_owner_presented_nothing() {
    let book = Workloads::new(None);
    let secret = leaf("a");
    let mut connection = presenting(outgoing("a.service", Authentication::Mutual), &secret);
    connection.client.owner_source = Some("listener".into());
    present(&book, &connection, &secret, NOW);
    assert_eq!(named(&book, "a.service").certificates, []);
}

#[test]
fn a_workload_without_room_counts_once_for_each_connection() {
    let book = Workloads::with_bounds(None, 1, 8);
    note(&book, &outgoing("open", Authentication::None), NOW);
    let refused = outgoing("refused", Authentication::None);
    let mut noted = note(&book, &refused, NOW);
    for _ in 0..3 {
        book.note(&refused, Leaves::default(), NOW, &mut noted);
    }
    assert_eq!(book.sizes().workloads_left_out, 1);
    note(&book, &refused, NOW);
    assert_eq!(book.sizes().workloads_left_out, 2);
}

#[test]
fn long_paths_and_names_are_cut() {
    let book = Workloads::new(None);
    let mut connection = outgoing("a.service", Authentication::None);
    let process = ProcessRecord {
        executable: Some("/é".repeat(2000)),
        user: Some("u".repeat(4096)),
        ..ProcessRecord::default()
    };
    connection.client.process = Some(Arc::new(process));
    note(&book, &connection, NOW);
    let known = named(&book, "a.service");
    for text in [&known.executables[0], &known.users[0]] {
        assert!(text.len() <= 256 && text.len() > 250 && text.ends_with('…'), "{text}");
    }
}

/// Whatever comes and goes in whatever order, the book says what a new count of all last words says.
#[test]
fn a_long_random_walk_ends_with_the_sums_of_the_last_words() {
    let book = Workloads::new(None);
    let mut state = 1_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut open: Vec<(ConnectionRecord, Noted)> = Vec::new();
    let mut last_words: Vec<ConnectionRecord> = Vec::new();
    for step in 0..4_000 {
        let now = WallTime(step);
        let secret = leaf(&random(3).to_string());
        let choice = random(4);
        let place = random(open.len().max(1) as u64) as usize;
        if choice == 0 && !open.is_empty() {
            let (mut connection, noted) = open.swap_remove(place);
            book.ended(&noted, now);
            connection.r#final = true;
            last_words.push(connection);
            continue;
        }
        let authentication = Authentication::ALL[random(7) as usize];
        let mut connection = presenting(outgoing(&format!("{}.service", random(5)), authentication), &secret);
        if random(2) == 0 {
            connection.observed_from.push(SideName::Server);
            connection.server.workload = Some(workload(&format!("{}.service", random(5))));
            connection.server.verification = Some(VerificationName::ALL[random(5) as usize]);
            connection.evidence.reason = Some(["lost", "budget"][random(2) as usize].into());
        }
        let leaves = Leaves { client: Some(&secret), server: None };
        if choice == 1 && !open.is_empty() {
            let (before, noted) = &mut open[place];
            book.note(&connection, leaves, now, noted);
            *before = connection;
        } else {
            let mut noted = Noted::default();
            book.note(&connection, leaves, now, &mut noted);
            open.push((connection, noted));
        }
    }
    let expected = Workloads::new(None);
    for connection in open.iter().map(|(connection, _)| connection).chain(&last_words) {
        let name = connection.client.identity.clone().unwrap();
        present(&expected, connection, &leaf(&name), NOW);
    }
    let timeless = |book: &Workloads| -> Vec<KnownWorkloadRecord> {
        let mut all = all(book);
        for known in &mut all {
            (known.first_seen, known.last_seen) = (NOW, NOW);
            known.certificates.iter_mut().for_each(|one| (one.first_seen, one.last_seen) = (NOW, NOW));
            known.certificates.sort_by(|one, other| one.sha256.cmp(&other.sha256));
        }
        all
    };
    assert_eq!(timeless(&book), timeless(&expected));
    assert_eq!(book.sizes(), expected.sizes());
    assert!(open.len() > 100 && last_words.len() > 100);
}
