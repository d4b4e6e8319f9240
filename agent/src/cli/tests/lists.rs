//! Workloads and identities, as they are listed.

use std::sync::Arc;

use super::*;
use crate::api::WorkloadList;
use crate::cli::{identities, list, workloads};
use crate::verdict::{FitRule, Template};

const NOW: WallTime = WallTime(1_700_000_000_000_000_000);

fn list_of(workloads: Vec<KnownWorkloadRecord>) -> WorkloadList {
    WorkloadList { workloads, ..WorkloadList::default() }
}

fn shown_workloads(list: &WorkloadList) -> String {
    let mut output = Vec::new();
    workloads::print(list, list.workloads.len(), NOW, false, &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

fn shown_identities(list: &WorkloadList, json: bool) -> String {
    let (rows, mut output) = (identities::rows(list), Vec::new());
    match json {
        true => identities::print_json(&rows, &mut output).unwrap(),
        false => identities::print(&rows, NOW, false, &mut output).unwrap(),
    }
    String::from_utf8(output).unwrap()
}

fn with_owner(mut known: KnownWorkloadRecord, owner: &str) -> KnownWorkloadRecord {
    let labels = LabelsRecord { owner: Some(owner.to_owned()), ..LabelsRecord::default() };
    known.labels = Some(labels.into());
    known
}

fn renamed(mut known: KnownWorkloadRecord, workload: WorkloadRecord) -> KnownWorkloadRecord {
    known.key = workload.key();
    known.workload = workload.into();
    known
}

#[test]
fn workloads_are_aligned_lines_with_what_they_present() {
    let mut owned = sample::known_workload("billing.service");
    let labels = LabelsRecord {
        owner: Some("payments".into()),
        purpose: Some("charges\u{1b}[2J cards".into()),
        environment: Some("prod".into()),
    };
    owned.labels = Some(labels.into());
    let fit = IdentityFitRecord {
        status: IdentityFitName::DoesNotFit,
        rule: None,
        expected: vec!["x".into()],
        reason: None,
    };
    owned.certificates[0].identity_fit = Some(fit.into());
    let name = "/usr/bin/a-name-that-is-longer-than-its-column-is-wide";
    let program =
        WorkloadRecord { kind: "executable".into(), name: name.into(), ..WorkloadRecord::default() };
    let mut bare = renamed(sample::known_workload(name), program);
    bare.certificates[0].not_after = Some(WallTime(0));
    bare.certificates[0].identity = None;
    bare.client = RoleRecord::default();
    let gap = GapRecord {
        schema: GAP_SCHEMA.into(),
        from: None,
        to: WallTime(0),
        cause: "table_full".into(),
        lost: Some(7),
    };
    let list = WorkloadList { workloads: vec![owned, bare], left_out: vec![gap], is_cut: false };
    let fingerprint = "ab".repeat(26);
    assert_eq!(
        shown_workloads(&list),
        format!(
            "KIND       WORKLOAD                         OWNER            AS CLIENT                  AS SERVER\n\
             systemd    billing.service                  payments (prod)  3 mutual                   2 none\n\
             {0:10} purpose: charges\\u{{1b}}[2J cards\n\
             {0:10} → billing.service.test  client  until 2027-01-15  does not fit\n\
             executable …-longer-than-its-column-is-wide -                -                          2 none\n\
             {0:10} → sha256:{fingerprint}…  client  expired 1970-01-01\n\
             \n2 workloads, 1 without an owner\n\
             -- 7 are left out: the daemon had no room for more (table_full)\n",
            ""
        )
    );
}

#[test]
fn filters_of_workloads_select_and_all_must_match() {
    let mut owned = with_owner(sample::known_workload("billing.service"), "payments");
    owned.server = RoleRecord::default();
    let pod = WorkloadRecord {
        kind: "kubernetes".into(),
        name: "prod/db-0".into(),
        unit: Some("cri-containerd-0.scope".into()),
        pod: Some("db-0".into()),
        ..WorkloadRecord::default()
    };
    let mut pod = renamed(sample::known_workload("prod/db-0"), pod);
    pod.client.authentication = [(Authentication::ServerOnly, 3)].into();
    // A server that asks for no certificate is not the one that proves nothing.
    pod.server.authentication = [(Authentication::ServerOnly, 3)].into();
    let all = [owned, pod];
    for (line, expected) in [
        ("", "11"),
        ("--kind systemd", "10"),
        ("--kind systemd,kubernetes", "11"),
        ("--kind container", "00"),
        ("--unit cri-containerd-0.scope", "01"),
        ("--workload db-0", "01"),
        ("--workload systemd:billing.service", "10"),
        ("--owner payments", "10"),
        ("--owner payments --kind kubernetes", "00"),
        ("--without-owner", "01"),
        ("--unauthenticated", "01"),
        ("--identity billing.service.test", "10"),
        ("--authentication mutual", "10"),
        ("--finding unauthenticated_east_west --kind kubernetes", "01"),
    ] {
        let Command::Workloads(arguments) = parse(&format!("countersign workloads {line}")).unwrap() else {
            panic!("{line}")
        };
        let question = &arguments.asked.question;
        assert!(!arguments.is_of_history() && arguments.check().is_ok(), "{line}");
        let wanted =
            all.iter().map(|known| if question.wants(&workloads::described(known)) { '1' } else { '0' });
        assert_eq!(wanted.collect::<String>(), expected, "{line}");
    }
    for (line, is_of_history, is_refused) in [
        ("--history", true, false),
        ("--since 2h --limit 5", true, false),
        ("--db x --where key=x --after 7", true, false),
        ("--limit 5", false, true),
        ("--where key=x", false, true),
    ] {
        let Command::Workloads(arguments) = parse(&format!("countersign workloads {line}")).unwrap() else {
            panic!("{line}")
        };
        assert_eq!(
            (arguments.is_of_history(), arguments.check().is_err()),
            (is_of_history, is_refused),
            "{line}"
        );
    }
}

#[test]
fn identities_are_listed_with_each_workload_that_presents_them() {
    let mut shared = sample::known_workload("b.service");
    shared.certificates[0].identity = Some("a.service.test".to_owned());
    let list =
        list_of(vec![sample::known_workload("z.service"), sample::known_workload("a.service"), shared]);
    assert_eq!(
        shown_identities(&list, false),
        "IDENTITY                                     WORKLOAD                         ROLE   VALID              FIT\n\
         a.service.test                               a.service                        client until 2027-01-15\n\
         a.service.test                               b.service                        client until 2027-01-15\n\
         z.service.test                               z.service                        client until 2027-01-15\n\
         \n2 identities of 3 workloads\n"
    );
    let text = shown_identities(&list, true);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["schema"], "countersign.identity/1");
    assert_eq!(lines[0]["identity"], "a.service.test");
    let presented = lines[0]["presented"].as_array().unwrap();
    let workloads: Vec<_> = presented.iter().map(|one| &one["workload"]).collect();
    assert_eq!(workloads, ["systemd:a.service", "systemd:b.service"]);
}

fn rule(workload: &str, may_present: &[&str]) -> Arc<FitRule> {
    let templates = may_present.iter().map(|text| text.parse::<Template>().unwrap()).collect();
    Arc::new(FitRule::new(workload.parse().unwrap(), templates))
}

fn of_unit(name: &str) -> KnownWorkloadRecord {
    let unit = Some(name.to_owned());
    let workload =
        WorkloadRecord { kind: "systemd".into(), name: name.into(), unit, ..WorkloadRecord::default() };
    renamed(sample::known_workload(name), workload)
}

fn tried(list: &mut WorkloadList, rules: &[Arc<FitRule>]) -> String {
    identities::judge(list, rules);
    let mut output = Vec::new();
    identities::print_verdict(&identities::rows(list), rules.len(), &mut output).unwrap();
    shown_identities(list, false) + &String::from_utf8(output).unwrap()
}

#[test]
fn rules_that_are_tried_say_what_fits_what_does_not_and_what_they_forget() {
    let mut list = list_of(vec![of_unit("a.service"), of_unit("b.service"), of_unit("c.service")]);
    let fits =
        IdentityFitRecord { status: IdentityFitName::Fits, rule: None, expected: vec![], reason: None };
    // What the daemon's own rules said does not count.
    list.workloads[2].certificates[0].identity_fit = Some(fits.into());
    let rules =
        [rule("unit:a.service", &["{unit}.service.test"]), rule("unit:b.service", &["x.test", "y.test"])];
    let text = tried(&mut list, &rules);
    let (_, text) = text.split_once('\n').unwrap();
    assert_eq!(
        text,
        "a.service.test                               a.service                        client until 2027-01-15   fits\n\
         b.service.test                               b.service                        client until 2027-01-15   does not fit\n  \
         → by unit:b.service it may present x.test, y.test\n\
         c.service.test                               c.service                        client until 2027-01-15   no rule\n\
         \n3 identities of 3 workloads\n\
         by 2 rules: 1 fit, 1 do not fit, 1 without a rule, 0 unknown\n\
         no rule for systemd:c.service\n"
    );
}

#[test]
fn what_is_left_out_is_said_in_every_form_and_does_not_fit() {
    let mut list = list_of(vec![of_unit("a.service")]);
    identities::judge(&mut list, &[rule("any", &["a.service.test"])]);
    let exit = |list: &WorkloadList, checks| {
        identities::exit(&identities::rows(list), checks, &identities::left_out(list), list.is_cut)
    };
    assert_eq!(exit(&list, true), Exit::Success);
    list.workloads[0].left_out.certificates = 3;
    assert_eq!((exit(&list, true), exit(&list, false)), (Exit::Negative, Exit::Success));
    assert_eq!(identities::left_out(&list)[0].lost, Some(3));
    assert!(shown_workloads(&list).contains("→ 3 certificates more, forgotten for want of room\n"));
    list.workloads[0].left_out.certificates = 0;
    list.left_out.push(list::gap("table_full", Some(7)));
    assert_eq!((exit(&list, true), exit(&list, false)), (Exit::Negative, Exit::Success));
    let mut lines = Vec::new();
    workloads::print_json(&list, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert!(lines.starts_with(r#"{"schema":"countersign.gap/1""#) && lines.lines().count() == 2, "{lines}");
    list.is_cut = true;
    assert_eq!((exit(&list, true), exit(&list, false)), (Exit::Partial, Exit::Partial));
    identities::judge(&mut list, &[]);
    assert_eq!(exit(&list, true), Exit::Negative);
}

#[test]
fn a_certificate_that_is_not_remembered_in_full_is_not_said_to_fit() {
    let rules = [rule("any", &["a.service.test"])];
    let mut list = list_of(vec![of_unit("a.service")]);
    assert!(tried(&mut list, &rules).contains("1 fit, 0 do not"));
    let whole = list.workloads[0].certificates[0].clone();
    let cut = PresentedRecord { names_left_out: 1, ..whole.clone() };
    let nameless = PresentedRecord {
        spki_sha256: None,
        subject: None,
        san: SubjectAlternativeNames::default(),
        ..whole.clone()
    };
    let odd = PresentedRecord { parse_error: Some("odd".to_owned()), ..whole };
    for presented in [cut, nameless, odd] {
        list.workloads[0].certificates = vec![presented];
        let text = tried(&mut list, &rules);
        assert!(text.contains("0 fit, 0 do not fit, 0 without a rule, 1 unknown"), "{text}");
        assert!(text.contains("→ by any: certificate_not_read_in_full"), "{text}");
    }
}

#[test]
fn names_of_workloads_that_others_choose_cannot_touch_the_terminal() {
    let hostile = "a\x1b[2J\n\u{202e}\u{9b}\"b".repeat(400);
    let mut known = renamed(
        sample::known_workload(&hostile),
        WorkloadRecord {
            kind: hostile.clone().into(),
            name: hostile.clone(),
            container: Some(hostile.clone()),
            ..WorkloadRecord::default()
        },
    );
    let label = Some(hostile.clone());
    let labels = LabelsRecord { owner: label.clone(), purpose: label.clone(), environment: label.clone() };
    known.labels = Some(labels.into());
    known.executables = vec![hostile.clone()];
    known.users = vec![hostile];
    known.certificates[0].identity = label;
    let list = list_of(vec![known]);
    let mut lines = shown_identities(&list, true).into_bytes();
    list::write_json(&list.workloads[0], &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    let table = shown_identities(&list, false) + &shown_workloads(&list);
    assert_eq!((table.lines().count(), lines.lines().count()), (4 + 6, 2), "{table}");
    for line in table.lines().chain(lines.lines()) {
        assert_eq!(display_safe(line), line);
    }
    assert!(table.lines().all(|line| line.chars().count() < 150), "{table}");
    let read: KnownWorkloadRecord = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(read, list.workloads[0]);
}
