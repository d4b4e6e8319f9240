use super::*;
use crate::record::SubjectAlternativeNames;
use crate::record::sample::unit;
use crate::verdict::MAX_TEMPLATE_BYTES;

fn rule(selector: &str, may_present: &[&str]) -> Arc<FitRule> {
    let templates = may_present.iter().map(|text| text.parse().unwrap()).collect();
    Arc::new(FitRule::new(Selector::of_workloads(selector).unwrap(), templates))
}

fn pod(namespace: &str, service_account: Option<&str>) -> WorkloadRecord {
    WorkloadRecord {
        kind: "kubernetes".into(),
        name: format!("{namespace}/web-1"),
        namespace: Some(namespace.to_owned()),
        pod: Some("web-1".to_owned()),
        service_account: service_account.map(str::to_owned),
        ..WorkloadRecord::default()
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn dns(names: &[&str]) -> CertificateRecord {
    let san = SubjectAlternativeNames { dns: texts(names), ..SubjectAlternativeNames::default() };
    CertificateRecord { san, subject: Some("CN=other".to_owned()), ..CertificateRecord::default() }
}

fn svid(id: &str) -> CertificateRecord {
    CertificateRecord { spiffe_id: Some(id.to_owned()), ..dns(&["any.name"]) }
}

/// Status and reason.
fn judged(
    workload: &WorkloadRecord,
    leaf: &CertificateRecord,
    rules: &[Arc<FitRule>],
) -> (&'static str, String) {
    let fit = fit(Some(workload), leaf, rules);
    (fit.status.as_str(), fit.reason.unwrap_or_default().into_owned())
}

fn fits(workload: &WorkloadRecord, leaf: &CertificateRecord, template: &str) -> bool {
    let answer = judged(workload, leaf, &[rule("any", &[template])]);
    assert!(matches!(answer.0, "fits" | "does_not_fit"), "{answer:?} {template}");
    answer.0 == "fits"
}

const SPIFFE: &str = "spiffe://prod/ns/{namespace}/sa/{service_account}";

#[test]
fn a_workload_may_present_what_its_rule_names() {
    let web = pod("shop", Some("web"));
    assert!(fits(&web, &svid("spiffe://prod/ns/shop/sa/web"), SPIFFE));
    for other in [
        "spiffe://prod/ns/shop/sa/admin",
        "spiffe://prod/ns/bank/sa/web",
        "spiffe://test/ns/shop/sa/web",
        "spiffe://prod/ns/shop/sa/web/x",
        "spiffe://prod/ns/SHOP/sa/web",
    ] {
        assert!(!fits(&web, &svid(other), SPIFFE), "{other}");
    }
    let web = unit("web.service");
    assert!(fits(&web, &dns(&["web.internal"]), "{unit}.internal"));
    assert!(fits(&web, &dns(&["WEB.Internal."]), "{unit}.INTERNAL"));
    assert!(!fits(&web, &dns(&["db.internal"]), "{unit}.internal"));
    assert!(!fits(&web, &dns(&["web.internal.evil"]), "{unit}.internal"));
}

#[test]
fn all_that_a_certificate_names_must_be_allowed() {
    let web = unit("web.service");
    let rules = [rule("unit:web.service", &["web.internal", "*.shop.example", "127.0.0.1"])];
    assert_eq!(judged(&web, &dns(&["web.internal", "www.shop.example"]), &rules).0, "fits");
    let mut leaf = dns(&["web.internal", "db.internal"]);
    assert_eq!(judged(&web, &leaf, &rules).0, "does_not_fit");
    assert_eq!(rules[0].beyond(&web, &leaf, 5), ["db.internal"]);
    assert_eq!(rules[0].beyond(&web, &dns(&["x"; 256]), 5).len(), 5);
    leaf.san.dns.pop();
    leaf.san.ip = texts(&["127.0.0.1"]);
    assert_eq!(judged(&web, &leaf, &rules).0, "fits");
    leaf.san.email = texts(&["root@web.internal"]);
    assert_eq!(judged(&web, &leaf, &rules).0, "does_not_fit");
    assert_eq!(judged(&web, &dns(&["*.internal"]), &rules).0, "does_not_fit");
    assert_eq!(judged(&web, &CertificateRecord::default(), &rules).0, "does_not_fit");
}

#[test]
fn kinds_of_names_do_not_stand_for_each_other() {
    let web = unit("web.service");
    // A SPIFFE ID that breaks the profile is only a URI.
    let mut leaf = CertificateRecord::default();
    leaf.san.uri = texts(&["spiffe://prod/web", "spiffe://prod/web"]);
    assert!(!fits(&web, &leaf, "spiffe://prod/web"));
    assert!(!fits(&web, &dns(&["spiffe://prod/web"]), "spiffe://prod/web"));
    let mut leaf = CertificateRecord::default();
    leaf.san.dns = texts(&["10.0.0.1"]);
    assert!(!fits(&web, &leaf, "10.0.0.1"));
    leaf.san = SubjectAlternativeNames { ip: texts(&["10.0.0.1"]), ..SubjectAlternativeNames::default() };
    assert!(fits(&web, &leaf, "10.0.0.1") && fits(&web, &leaf, "10.0.0.*") && !fits(&web, &leaf, "10.0.1.*"));
    leaf.san =
        SubjectAlternativeNames { uri: texts(&["https://web/x"]), ..SubjectAlternativeNames::default() };
    assert!(fits(&web, &leaf, "https://{unit}/*") && !fits(&web, &leaf, "https://{unit}"));
    leaf.san =
        SubjectAlternativeNames { email: texts(&["Web@a.example"]), ..SubjectAlternativeNames::default() };
    assert!(fits(&web, &leaf, "{unit}@a.example") && !fits(&web, &leaf, "{unit}@b.example"));
}

#[test]
fn the_subject_counts_where_there_is_nothing_else() {
    let web = unit("web.service");
    let mut leaf = CertificateRecord {
        subject: Some("CN=web.internal,O=Shop".to_owned()),
        ..CertificateRecord::default()
    };
    assert!(fits(&web, &leaf, "{unit}.internal"));
    assert!(fits(&web, &leaf, "CN={unit}.internal,O=Shop") && !fits(&web, &leaf, "CN={unit}.internal"));
    leaf.san.dns = texts(&["db.internal"]);
    assert!(!fits(&web, &leaf, "{unit}.internal"));
}

#[test]
fn the_first_rule_that_means_the_workload_decides() {
    let rules =
        [rule("unit:web.service", &["web.internal"]), rule("unit:*.service", &["{unit}.internal", "shared"])];
    assert_eq!(judged(&unit("web.service"), &dns(&["shared"]), &rules).0, "does_not_fit");
    assert_eq!(judged(&unit("db.service"), &dns(&["shared"]), &rules).0, "fits");
    assert_eq!(judged(&unit("db.scope"), &dns(&["shared"]), &rules).0, "no_rule");
    assert_eq!(judged(&unit("db.service"), &dns(&["shared"]), &[]).0, "no_rule");
    let answer = fit(Some(&unit("db.service")), &dns(&["x"]), &rules);
    assert_eq!(answer.rule.as_deref(), Some("unit:*.service"));
    assert_eq!(answer.expected, ["db.internal", "shared"]);
}

#[test]
fn what_is_not_known_neither_fits_nor_does_not() {
    let rules = [rule("namespace:*", &[SPIFFE]), rule("any", &["x"])];
    let leaf = svid("spiffe://prod/ns/shop/sa/web");
    assert_eq!(judged(&pod("shop", None), &leaf, &rules), ("unknown", "placeholder_unknown".into()));
    let mut unnamed = pod("shop", None);
    unnamed.namespace = None;
    assert_eq!(judged(&unnamed, &leaf, &rules), ("unknown", "workload_names_missing".into()));
    let answer = fit(None, &leaf, &rules);
    assert_eq!(
        (answer.status, answer.reason.as_deref()),
        (IdentityFitName::Unknown, Some("workload_unknown"))
    );
    // Another template of the rule may decide all the same.
    let rules = [rule("namespace:*", &[SPIFFE, "spiffe://prod/ns/shop/sa/*"])];
    assert_eq!(judged(&pod("shop", None), &leaf, &rules).0, "fits");
    let mut cut = dns(&["web.internal"]);
    cut.parse_error = Some("more entries of a list than are kept".to_owned());
    let rules = [rule("any", &["web.internal"])];
    assert_eq!(judged(&unit("a.service"), &cut, &rules), ("unknown", "certificate_not_read_in_full".into()));
    cut.san.dns.push("db.internal".to_owned());
    assert_eq!(judged(&unit("a.service"), &cut, &rules).0, "does_not_fit");
    let unread =
        CertificateRecord { parse_error: Some("not DER".to_owned()), ..CertificateRecord::default() };
    assert_eq!(judged(&unit("a.service"), &unread, &rules).0, "unknown");
}

#[test]
fn what_no_value_of_an_unknown_name_would_allow_does_not_fit() {
    let rules =
        [rule("namespace:*", &[SPIFFE, "{service_account}.{namespace}.svc", "CN={service_account},O=Shop"])];
    let web = pod("shop", None);
    let status = |leaf: &CertificateRecord| judged(&web, leaf, &rules);
    for id in
        ["spiffe://prod/ns/bank/sa/web", "spiffe://test/ns/shop/sa/web", "spiffe://prod/ns/shop/sa/web/x"]
    {
        assert_eq!(status(&svid(id)), ("does_not_fit", String::new()), "{id}");
    }
    for names in [["web.bank.svc", "web.shop.svc"], ["web.shop.svc", "a.web.shop.svc"]] {
        assert_eq!(status(&dns(&names)), ("does_not_fit", String::new()), "{names:?}");
    }
    assert_eq!(status(&CertificateRecord::default()), ("does_not_fit", String::new()));
    let subject =
        |name: &str| CertificateRecord { subject: Some(name.to_owned()), ..CertificateRecord::default() };
    assert_eq!(status(&subject("CN=web,O=Bank")), ("does_not_fit", String::new()));
    for leaf in [svid("spiffe://prod/ns/shop/sa/web"), dns(&["Web.shop.svc"]), subject("CN=web,O=Shop")] {
        assert_eq!(status(&leaf), ("unknown", "placeholder_unknown".into()));
    }
    let answer = fit(Some(&web), &dns(&["x"]), &rules);
    assert_eq!(answer.expected[0], "spiffe://prod/ns/shop/sa/{service_account}");
}

#[test]
fn a_spiffe_id_of_a_certificate_that_was_not_read_in_full_is_not_known_to_fit() {
    let leaf = CertificateRecord {
        san: SubjectAlternativeNames {
            uri: texts(&["spiffe://prod/web"]),
            ..SubjectAlternativeNames::default()
        },
        svid_problem: Some("not_read_in_full".into()),
        parse_error: Some("an extension did not parse".to_owned()),
        ..CertificateRecord::default()
    };
    let web = unit("web.service");
    let answer = judged(&web, &leaf, &[rule("any", &["spiffe://prod/{unit}"])]);
    assert_eq!(answer, ("unknown", "certificate_not_read_in_full".into()));
    assert_eq!(judged(&web, &leaf, &[rule("any", &["spiffe://prod/db"])]).0, "does_not_fit");
}

#[test]
fn names_of_kinds_that_are_not_read_are_not_known_to_fit() {
    let web = unit("web.service");
    let rules = [rule("any", &["web.internal", "spiffe://prod/web"])];
    let mut leaf = dns(&["web.internal"]);
    leaf.san.unread = 1;
    assert_eq!(judged(&web, &leaf, &rules), ("unknown", "certificate_not_read_in_full".into()));
    leaf.san.dns = texts(&["db.internal"]);
    assert_eq!(judged(&web, &leaf, &rules).0, "does_not_fit");
    leaf.san.dns.clear();
    leaf.subject = Some("CN=web.internal".to_owned());
    assert_eq!(judged(&web, &leaf, &rules), ("unknown", "certificate_not_read_in_full".into()));
    // Beside a SPIFFE ID no other name counts.
    leaf.spiffe_id = Some("spiffe://prod/web".to_owned());
    assert_eq!(judged(&web, &leaf, &rules).0, "fits");
}

#[test]
fn a_star_reaches_over_no_attribute_of_a_subject() {
    let web = unit("web.service");
    let fits = |subject: &str, template: &str| {
        let subject = Some(subject.to_owned());
        fits(&web, &CertificateRecord { subject, ..CertificateRecord::default() }, template)
    };
    assert!(fits("CN=x,O=Shop", "CN=*,O=Shop") && fits("CN=x+UID=1,O=Shop", "CN=*+UID=*,O=Shop"));
    assert!(!fits(r"CN=x\,O=Shop", "CN=*,O=Shop"));
    assert!(!fits("CN=x+O=Admin,O=Shop", "CN=*,O=Shop"));
    assert!(!fits("CN=x,O=Shop", "CN=*+O=Shop"));
    assert!(fits(r"CN=a\,b\+c,O=Shop", "CN=*,O=Shop") && fits(r"CN=a\,b,O=Shop", r"CN=*\,b,O=Shop"));
}

#[test]
fn a_hostile_name_of_a_workload_is_no_pattern_and_not_several_parts() {
    for name in [
        "*",
        "w*",
        "shop/sa/admin",
        "..",
        ".",
        "",
        "a b",
        "a\n",
        "web\u{202e}",
        "w%65b",
        r"a\x2fb",
        "é",
        &"x/".repeat(2048),
    ] {
        let answer =
            judged(&pod(name, Some("web")), &svid("spiffe://prod/ns/shop/sa/web"), &[rule("any", &[SPIFFE])]);
        assert_eq!(answer, ("unknown", "placeholder_unusable".into()), "{name}");
    }
    // In a DNS name a dot parts labels.
    let dotted = unit("a.b.service");
    let answer = judged(&dotted, &dns(&["a.b.internal"]), &[rule("any", &["{unit}.internal"])]);
    assert_eq!(answer, ("unknown", "placeholder_unusable".into()));
    assert!(fits(&dotted, &svid("spiffe://prod/unit/a.b"), "spiffe://prod/unit/{unit}"));
}

#[test]
fn hostile_names_of_a_certificate_fit_nothing() {
    let long = "x".repeat(4096);
    for name in [
        "",
        ".",
        "*",
        "web.internal\\00.evil",
        "web.internal \u{fffd}",
        "\"web.internal\"",
        "web.internal\u{200f}",
        &long,
    ] {
        assert!(!fits(&unit("web.service"), &dns(&[name]), "{unit}.internal"), "{name}");
        assert!(!fits(&unit("web.service"), &svid(name), "spiffe://prod/{unit}"), "{name}");
    }
}

#[test]
fn each_placeholder_is_a_name_of_the_workload() {
    let workload = WorkloadRecord {
        container: Some("c".to_owned()),
        image: Some("registry:5000/library/nginx:1.27@sha256:00".to_owned()),
        unit_user: Some("1000".to_owned()),
        ..pod("n", Some("s"))
    };
    let all = "spiffe://prod/{namespace}/{pod}/{service_account}/{container}/{image}/{user}";
    assert!(fits(&workload, &svid("spiffe://prod/n/web-1/s/c/nginx/1000"), all));
    let subject = CertificateRecord { subject: Some("CN=web@3".to_owned()), ..CertificateRecord::default() };
    assert!(fits(&unit("web@3.service"), &subject, "CN={unit}"));
    let web = WorkloadRecord { unit_user: Some("eve".to_owned()), ..unit("web.service") };
    let answer = judged(&web, &dns(&["web.internal"]), &[rule("any", &["{unit}.internal"])]);
    assert_eq!(answer, ("unknown", "placeholder_unknown".into()));
    let program = WorkloadRecord {
        kind: "executable".into(),
        name: "/usr/bin/curl".to_owned(),
        ..WorkloadRecord::default()
    };
    assert!(fits(&program, &dns(&["curl.internal"]), "{executable}.internal"));
    let answer =
        judged(&unit("a.service"), &dns(&["curl.internal"]), &[rule("any", &["{executable}.internal"])]);
    assert_eq!(answer, ("unknown", "placeholder_unknown".into()));
}

#[test]
fn a_template_is_printed_as_it_was_typed_and_checked() {
    for text in [
        SPIFFE,
        "{unit}.internal",
        "*.example.com",
        "10.0.0.1",
        "2001:db8::1",
        "https://{unit}/x",
        "{user}@example.com",
        "CN={unit},O=Shop",
        "localhost",
    ] {
        assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "spiffe://prod",
        "spiffe://Prod/web",
        "spiffe://prod/web/",
        "spiffe://{namespace}:1/web",
        "a..b",
        "a b",
        "web\n",
        "@example.com",
        "{unit",
        "unit}",
        "{{unit}}",
        "{}",
        "{Unit}",
        "{pid}.internal",
        &"a".repeat(MAX_TEMPLATE_BYTES + 1),
    ] {
        assert!(text.parse::<Template>().is_err(), "{text}");
    }
    let refusal = "{pid}.internal".parse::<Template>().unwrap_err().to_string();
    assert!(refusal.starts_with("`{pid}` is not one of {namespace}, {pod}, "), "{refusal}");
}
