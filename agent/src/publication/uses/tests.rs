//! Who shares a key with whom.

use super::*;
use crate::record::sample::unit;

const NOW: WallTime = WallTime(1_800_000_000_000_000_000);

fn pod(name: &str, account: Option<&str>) -> WorkloadRecord {
    WorkloadRecord {
        kind: "kubernetes".into(),
        name: format!("shop/{name}"),
        namespace: Some("shop".to_owned()),
        service_account: account.map(str::to_owned),
        ..WorkloadRecord::default()
    }
}

fn leaf(certificate: &str, key: &str) -> CertificateRecord {
    CertificateRecord {
        sha256: certificate.to_owned(),
        spki_sha256: Some(key.to_owned()),
        ..CertificateRecord::default()
    }
}

fn sharing(one: &WorkloadRecord, other: &WorkloadRecord) -> Option<Sharing> {
    let mut uses = Uses::default();
    uses.note(&leaf("c", "k"), one, NOW, None);
    uses.note(&leaf("c", "k"), other, NOW, None);
    uses.sharing(&leaf("c", "k"), other, NOW)
}

#[test]
fn a_certificate_or_key_of_two_workloads_is_shared() {
    let mut uses = Uses::default();
    uses.note(&leaf("c", "k"), &unit("web.service"), NOW, None);
    assert_eq!(uses.sharing(&leaf("c", "k"), &unit("web.service"), NOW), None);
    uses.note(&leaf("c", "k"), &unit("db.service"), NOW, None);
    let expected =
        |other: &str, same_certificate| Some(Sharing { others: vec![other.to_owned()], same_certificate });
    assert_eq!(uses.sharing(&leaf("c", "k"), &unit("web.service"), NOW), expected("db.service", true));
    assert_eq!(uses.sharing(&leaf("c", "k"), &unit("db.service"), NOW), expected("web.service", true));
    uses.note(&leaf("d", "l"), &unit("web.service"), NOW, None);
    uses.note(&leaf("e", "l"), &unit("db.service"), NOW, None);
    assert_eq!(uses.sharing(&leaf("e", "l"), &unit("db.service"), NOW), expected("web.service", false));
    // A renewed certificate with the old key is its owner's.
    uses.note(&leaf("f", "m"), &unit("web.service"), NOW, None);
    uses.note(&leaf("g", "m"), &unit("web.service"), NOW, None);
    assert_eq!(uses.sharing(&leaf("g", "m"), &unit("web.service"), NOW), None);
}

#[test]
fn replicas_sessions_and_what_is_not_known_share_nothing() {
    let session = |number| WorkloadRecord {
        slice: Some("user-1000.slice".to_owned()),
        ..unit(&format!("session-{number}.scope"))
    };
    let of_user = |name: &str| WorkloadRecord { unit_user: Some("eve".to_owned()), ..unit(name) };
    let program = |path: &str| WorkloadRecord {
        kind: "executable".into(),
        name: path.to_owned(),
        ..WorkloadRecord::default()
    };
    assert_eq!(sharing(&pod("web-1", Some("web")), &pod("web-2", Some("web"))), None);
    assert_eq!(sharing(&pod("web-1", None), &pod("web-2", None)), None);
    assert_eq!(sharing(&pod("web-1", Some("web")), &pod("web-2", None)), None);
    assert_eq!(sharing(&session(3), &session(4)), None);
    assert_eq!(sharing(&of_user("a.service"), &of_user("b.service")), None);
    assert_eq!(sharing(&program("/usr/bin/python3"), &program("/usr/bin/openssl")), None);
    assert!(sharing(&pod("web-1", Some("web")), &pod("db-1", Some("db"))).is_some());
    let elsewhere = WorkloadRecord { namespace: Some("bank".to_owned()), ..pod("web-1", None) };
    assert!(sharing(&pod("web-1", None), &elsewhere).is_some());
    assert!(sharing(&pod("web-1", None), &unit("web.service")).is_some());
    let unnamed = WorkloadRecord { namespace: None, ..pod("web-1", None) };
    assert_eq!(sharing(&unnamed, &unit("web.service")), None);
    assert!(sharing(&unit("web.service"), &session(3)).is_some());
    assert!(sharing(&unit("web.service"), &of_user("web.service")).is_some());
}

#[test]
fn a_presentation_counts_for_a_day() {
    let mut uses = Uses::default();
    uses.note(&leaf("c", "k"), &unit("old.service"), NOW, None);
    let later = WallTime(NOW.0 + KEEP + 1);
    uses.note(&leaf("c", "k"), &unit("new.service"), later, None);
    assert_eq!(uses.sharing(&leaf("c", "k"), &unit("new.service"), later), None);
    assert_eq!((uses.entries(), uses.evicted()), (1, 0), "what is over makes room");
    // It counts from the last time on.
    uses.note(&leaf("c", "k"), &unit("new.service"), WallTime(later.0 + KEEP), None);
    let latest = WallTime(later.0 + KEEP + 1);
    uses.note(&leaf("c", "k"), &unit("newer.service"), latest, None);
    assert!(uses.sharing(&leaf("c", "k"), &unit("newer.service"), latest).is_some());
}

#[test]
fn what_is_remembered_is_bounded_and_counted() {
    let mut uses = Uses::default();
    let key = |number: usize| leaf("c", &number.to_string());
    for number in 0..=MAX_KEYS {
        let name = format!("{}.service", number / MAX_KEYS_OF_ONE);
        uses.note(&key(number), &unit(&name), NOW, None);
        // What is in use stays, however old it is.
        uses.note(&key(5), &unit("0.service"), NOW, None);
    }
    assert_eq!((uses.entries(), uses.evicted()), (MAX_KEYS, 1));
    for number in 0..=MAX_WORKLOADS {
        uses.note(&key(5), &unit(&format!("{number}{}.service", "x".repeat(4096))), NOW, None);
    }
    let sharing = uses.sharing(&key(5), &unit("web.service"), NOW).unwrap();
    assert!(
        sharing.others.len() <= MAX_WORKLOADS && sharing.others.iter().all(|name| name.len() <= MAX_NAME)
    );
    assert!(uses.evicted() > 1 && uses.entries() <= MAX_KEYS);
    // The one that was not used for longest went first.
    for (number, known) in [(0, false), (1, true), (MAX_WORKLOADS, true)] {
        let name = format!("{number}x");
        assert_eq!(sharing.others.iter().any(|other| other.starts_with(&name)), known, "{sharing:?}");
    }
}

#[test]
fn nobody_pushes_out_what_others_presented() {
    let mut uses = Uses::default();
    uses.note(&leaf("c", "k"), &unit("web.service"), NOW, None);
    for number in 0..2 * MAX_KEYS {
        uses.note(&leaf("c", &number.to_string()), &unit("eve.service"), NOW, None);
    }
    assert_eq!(uses.entries(), MAX_KEYS_OF_ONE + 1);
    // His latest stay.
    for (number, known) in [(0, false), (2 * MAX_KEYS - 1, true), (2 * MAX_KEYS - MAX_KEYS_OF_ONE, true)] {
        assert_eq!(uses.of_keys.contains_key(&*number.to_string()), known, "{number}");
    }
    uses.note(&leaf("c", "k"), &unit("db.service"), NOW, None);
    assert!(uses.sharing(&leaf("c", "k"), &unit("db.service"), NOW).is_some());
}

#[test]
fn what_a_connection_takes_back_was_not_presented() {
    let mut uses = Uses::default();
    let (guessed, owner) = (unit("init.scope"), unit("web.service"));
    let first = uses.note(&leaf("c", "k"), &guessed, NOW, None);
    assert_eq!(uses.note(&leaf("c", "k"), &guessed, NOW, first), first, "said again");
    let better = uses.note(&leaf("c", "k"), &owner, NOW, first);
    assert_eq!(uses.sharing(&leaf("c", "k"), &owner, NOW), None);
    // Another connection says the same, and stands by it.
    assert_eq!(uses.note(&leaf("c", "k"), &owner, NOW, None), better);
    uses.take_back(better.unwrap());
    assert_eq!(uses.entries(), 1);
    uses.take_back(better.unwrap());
    assert_eq!((uses.entries(), uses.evicted()), (0, 0));
    assert!(uses.order.is_empty() && uses.of_keys.is_empty() && uses.of_presenters.is_empty());
    uses.take_back(better.unwrap());
}

#[test]
fn names_that_are_made_up_for_each_use_tell_nothing() {
    let container = |name: &str, image: Option<&str>| WorkloadRecord {
        kind: "container".into(),
        name: name.to_owned(),
        container: Some(name.to_owned()),
        container_id: Some("0123456789abcdef".to_owned()),
        image: image.map(str::to_owned),
        ..WorkloadRecord::default()
    };
    let web = unit("web.service");
    assert_eq!(sharing(&unit("worker@1.service"), &unit("worker@2.service")), None);
    assert!(sharing(&unit("worker@1.service"), &unit("other@1.service")).is_some());
    for made_up in ["run-u12.service", "run-r0af1.scope", "run-p71-i99.service", "run-71.scope"] {
        assert_eq!(sharing(&unit(made_up), &web), None, "{made_up}");
    }
    for given in ["run-parts.service", "run-db.service", "runner.service"] {
        assert!(sharing(&unit(given), &web).is_some(), "{given}");
    }
    let image = |image| container("eager_turing", Some(image));
    assert_eq!(sharing(&image("shop/web:1.2"), &container("a", Some("shop/web:1.3"))), None);
    assert_eq!(sharing(&image("r:5000/web"), &container("a", Some("r:5000/web@sha256:00"))), None);
    assert!(sharing(&image("r:5000/web"), &image("r:5000/db")).is_some());
    assert!(sharing(&container("web", None), &container("db", None)).is_some());
    assert_eq!(sharing(&container("0123456789ab", None), &web), None);
    // Two users' containers of one image are two; of one whose names are missing nothing is known.
    let of_user = |user: &str| WorkloadRecord { unit_user: Some(user.to_owned()), ..image("shop/web:1.2") };
    assert!(sharing(&of_user("eve"), &of_user("adam")).is_some());
    let unnamed = WorkloadRecord { unknown: Some("runtime_state_missing".into()), ..image("shop/web:1.2") };
    assert_eq!(sharing(&unnamed, &web), None);
}

#[test]
fn who_holds_both_ends_proves_nothing() {
    let connection = |client: u32, server: u32| {
        let mut connection = crate::record::sample::connection(1);
        for (end, uid) in [(&mut connection.client, client), (&mut connection.server, server)] {
            let process = crate::record::ProcessRecord { uid, ..crate::record::ProcessRecord::default() };
            end.process = Some(process.into());
            end.workload = Some(unit(&format!("{uid}.service")).into());
        }
        connection
    };
    assert!(in_one_hand(&connection(1000, 1000)));
    assert!(!in_one_hand(&connection(1000, 1001)));
    let mut of_root = connection(0, 0);
    assert!(in_one_hand(&of_root), "of one unit");
    of_root.server.workload = Some(unit("other.service").into());
    assert!(!in_one_hand(&of_root));
    of_root.server.process = None;
    assert!(!in_one_hand(&of_root));
    // A user id in one container is not that of another one, unless a user runs both.
    let mut pods = connection(1000, 1000);
    pods.client.workload = Some(pod("web-1", Some("web")).into());
    pods.server.workload = Some(pod("db-1", Some("db")).into());
    assert!(!in_one_hand(&pods));
    pods.server.workload = Some(pod("web-2", Some("web")).into());
    assert!(in_one_hand(&pods), "of one account");
    pods.server.workload =
        Some(WorkloadRecord { unit_user: Some("eve".to_owned()), ..pod("x", Some("x")) }.into());
    assert!(in_one_hand(&pods));
    pods.server.workload = Some(unit("db.service").into());
    assert!(in_one_hand(&pods));
}
