use super::*;
use crate::question::made::{History, certificate, from_to, minute, presents};
use crate::record::*;

const HOSTILE: &str =
    "</style></title><script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u{202e}\u{ffff}\u{1b}&amp;";

fn page(history: &History) -> String {
    report(&Reader::open(&history.folder.file()).unwrap(), minute(1_440)).unwrap()
}

/// Every name that a stranger can choose is hostile.
fn hostile() -> History {
    let name = format!("{HOSTILE}{}", "x".repeat(4_096));
    let mut one = from_to(&name, &format!("{name}2"), 1);
    presents(&mut one.client, "one", &name);
    one.authentication = Authentication::Unknown;
    one.evidence.reason = Some(name.clone().into());
    one.host = Some(name.clone());
    one.findings = vec![name.clone().into()];
    let finding = FindingRecord {
        schema: FINDING_SCHEMA.into(),
        id: name.clone(),
        code: name.clone().into(),
        severity: Severity::High,
        host: None,
        connection: None,
        certificate: None,
        workload: None,
        edge: None,
        first_seen: minute(1),
        last_seen: minute(2),
        resolved: None,
        count: 1,
        summary: name.clone(),
        remedy: name.clone().into(),
        controls: vec![name.clone().into()],
        exception: Some(ExceptionRecord { owner: name.clone(), reason: name.clone(), expires: name.clone() }),
    };
    let gap = GapRecord {
        schema: GAP_SCHEMA.into(),
        from: None,
        to: minute(3),
        cause: name.clone(),
        lost: Some(5),
    };
    let others =
        vec![certificate("one", &name, &name, 0), Record::Finding(finding.into()), Record::Gap(gap.into())];
    History::of("report-hostile", vec![one], others)
}

#[test]
fn hostile_names_stay_text() {
    let page = page(&hostile());
    assert!(!page.contains("<script") && !page.contains("<img"), "a name became an element");
    assert_eq!(page.matches("</style>").count(), 1);
    assert_eq!(page.matches("</title>").count(), 1 + page.matches("<title>").count() - 1);
    assert!(page.contains("&lt;script&gt;alert(1)"), "and is shown");
    for hidden in ['\u{202e}', '\u{1b}', '\u{ffff}'] {
        assert!(!page.contains(hidden), "{hidden:?}");
    }
    assert!(page.len() < 100_000, "{} bytes", page.len());
}

#[test]
fn nothing_is_loaded_and_nothing_runs() {
    let page = page(&hostile());
    assert!(page.contains("content=\"default-src 'none'; style-src 'sha256-"));
    for forbidden in [" style=", "src=\"", "<link", "<script", "url(", "@import"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let elsewhere = page.matches("://").count() - page.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(elsewhere, 0, "no address but the name of SVG");
}

#[test]
fn the_page_has_the_numbers() {
    let plain =
        |minutes| ConnectionRecord { authentication: Authentication::None, ..from_to("web", "db", minutes) };
    let mut connections: Vec<ConnectionRecord> =
        (0..1_234).map(|number| from_to("web", "api", number)).collect();
    connections.extend([plain(1), plain(2)]);
    presents(&mut connections[0].client, "one", "spiffe://test/web");
    let history = History::of(
        "report-numbers",
        connections,
        vec![certificate("one", "spiffe://test/web", "CN=issuer", 0)],
    );
    let first = page(&history);
    assert!(first.contains("1,236 connections of 3 workloads on 2 edges"), "{first}");
    assert!(first.contains("1,234</td><td class=\"number\">99.8 %"));
    assert!(first.contains("spiffe://test/web"));
    assert!(first.contains("Overdue"), "it ended at 16:40 and was presented on the same day");
    history.fold_before(500);
    assert!(page(&history).contains("502 connections are only counted any more"), "{}", page(&history));
}

#[test]
fn an_empty_history_has_a_page() {
    let page = page(&History::of("report-empty", vec![], vec![]));
    assert!(page.contains("0 connections of 0 workloads"));
    assert_eq!(page.matches("None in this history.").count(), 3);
}

#[test]
fn many_are_drawn_in_part_and_the_rest_is_counted() {
    let connections = (0..500)
        .map(|number| from_to(&format!("client{number}"), &format!("server{}", number % 90), number))
        .collect();
    let page = page(&History::of("report-many", connections, vec![]));
    let boxes = page.matches("class=\"box\"").count();
    let lines = page.matches("<path class=\"line").count() - 1;
    assert!(boxes <= 56, "{boxes}");
    assert!(page.contains(&format!("and {} edges more", 500 - lines)), "{lines}");
}

#[test]
fn a_blast_radius_is_drawn_in_columns() {
    let step = |client: &str, server: &str| StepRecord {
        client: format!("workload:systemd:{client}"),
        server: format!("workload:systemd:{server}"),
        port: 443,
        at: minute(1),
        to_the_hour: false,
        authentication: Authentication::Mutual,
        connection: None,
    };
    let record = |relation, node: &str, path: Vec<StepRecord>| BlastRadiusRecord {
        schema: BLAST_RADIUS_SCHEMA.into(),
        relation,
        node: format!("workload:systemd:{node}"),
        distance: path.len() as u32,
        arrival: Some(minute(1)),
        departure: None,
        to_the_hour: false,
        external: false,
        authentication: path.last().map(|step| step.authentication),
        path,
        direct: None,
    };
    let mut drawn = RadiusPicture::default();
    assert!(RadiusPicture::default().draw().is_none());
    drawn.add(&record(RelationName::Holds, HOSTILE, vec![]));
    drawn.add(&record(RelationName::Reached, "b", vec![step(HOSTILE, "b")]));
    drawn.add(&record(RelationName::Reached, "c", vec![step(HOSTILE, "b"), step("b", "c")]));
    drawn.add(&record(RelationName::ReachedBy, "z", vec![step("z", HOSTILE)]));
    for number in 0..100 {
        let name = format!("d{number}");
        drawn.add(&record(RelationName::Reached, &name, vec![step(HOSTILE, &name); 3]));
    }
    let svg = drawn.draw().unwrap();
    assert_eq!(svg.matches("class=\"head\"").count(), 5);
    assert_eq!(
        svg.matches("class=\"line mutual\"").count(),
        3 + 40 + 1,
        "three ways, to the forty that fit, legend"
    );
    assert!(svg.contains("and 60 more"));
    assert!(!svg.contains("<script") && !svg.contains("<img") && !svg.contains('\u{ffff}'));
}
