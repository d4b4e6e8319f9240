use super::*;

fn means(selector: &str, workload: &WorkloadRecord) -> Meant {
    Selector::of_workloads(selector).unwrap().means(workload)
}

fn systemd(unit: &str) -> WorkloadRecord {
    WorkloadRecord {
        kind: "systemd".into(),
        name: unit.to_owned(),
        unit: Some(unit.to_owned()),
        ..WorkloadRecord::default()
    }
}

fn pod() -> WorkloadRecord {
    WorkloadRecord {
        kind: "kubernetes".into(),
        name: "shop/web-1".to_owned(),
        namespace: Some("shop".to_owned()),
        pod: Some("web-1".to_owned()),
        container: Some("nginx".to_owned()),
        service_account: Some("web".to_owned()),
        ..WorkloadRecord::default()
    }
}

#[test]
fn a_selector_is_printed_as_it_was_typed() {
    for text in [
        "any",
        "10.0.0.0/8",
        "2001:db8::/32",
        "unit:web-*.service",
        "user_unit:1000/web.service",
        "exe:/usr/bin/*",
        "namespace:shop",
        "pod:shop/web-*",
        "service_account:*/default",
        "container:web",
    ] {
        assert_eq!(text.parse::<Selector>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "ANY",
        "web.service",
        "unit:",
        "unit:web",
        "unit:a/b.service",
        "unit:a b.service",
        "user_unit:web.service",
        "user_unit:1000/web",
        "exe:curl",
        "namespace:",
        "namespace:a/b",
        "pod:web-1",
        "pod:/web",
        "pod:a/b/c",
        "pod:shop/",
        "service_account:web",
        "container:",
        "container:a\u{7}",
        "owner:x",
    ] {
        assert!(text.parse::<Selector>().is_err(), "{text}");
    }
    let refusal = Selector::of_workloads("10.0.0.1").unwrap_err();
    assert_eq!(refusal, SelectorError::NoWorkload("10.0.0.1".to_owned()));
}

#[test]
fn a_workload_is_meant_by_any_of_its_names() {
    for selector in [
        "any",
        "namespace:shop",
        "namespace:s*",
        "pod:shop/web-*",
        "service_account:shop/web",
        "container:nginx",
    ] {
        assert_eq!(means(selector, &pod()), Meant::Yes, "{selector}");
    }
    for selector in [
        "namespace:prod",
        "pod:prod/web-1",
        "service_account:*/default",
        "container:web",
        "unit:web.service",
        "exe:/bin/sh",
    ] {
        assert_eq!(means(selector, &pod()), Meant::No, "{selector}");
    }
    let program = WorkloadRecord {
        kind: "executable".into(),
        name: "/usr/bin/curl".to_owned(),
        ..WorkloadRecord::default()
    };
    assert_eq!(means("exe:/usr/bin/*", &program), Meant::Yes);
    assert_eq!(means("exe:/usr/*", &program), Meant::No);
    assert_eq!(means("namespace:shop", &program), Meant::No);
}

#[test]
fn a_users_unit_does_not_pass_for_the_systems() {
    let mut unit = systemd("web.service");
    assert_eq!(
        (means("unit:web.service", &unit), means("user_unit:*/web.service", &unit)),
        (Meant::Yes, Meant::No)
    );
    unit.unit_user = Some("1000".to_owned());
    assert_eq!(
        (means("unit:web.service", &unit), means("user_unit:1000/*.service", &unit)),
        (Meant::No, Meant::Yes)
    );
    assert_eq!(means("user_unit:1001/web.service", &unit), Meant::No);
}

#[test]
fn names_that_are_not_known_are_not_taken_for_others() {
    let mut unnamed = pod();
    unnamed.service_account = None;
    assert_eq!(means("service_account:shop/web", &unnamed), Meant::Unknown);
    assert_eq!(means("service_account:prod/web", &unnamed), Meant::No);
    let container = WorkloadRecord {
        kind: "container".into(),
        name: "0123456789ab".to_owned(),
        container: Some("0123456789ab".to_owned()),
        container_id: Some("0123456789abcdef".to_owned()),
        unknown: Some("bundle_unreadable".into()),
        ..WorkloadRecord::default()
    };
    for selector in ["container:web", "namespace:shop", "pod:shop/web-1"] {
        assert_eq!(means(selector, &container), Meant::Unknown, "{selector}");
    }
    let of_user = WorkloadRecord { unit_user: Some("eve".to_owned()), ..container.clone() };
    let named = WorkloadRecord { unknown: None, ..container };
    for selector in ["container:web", "namespace:shop", "pod:shop/web-1"] {
        assert_eq!(means(selector, &of_user), Meant::No, "{selector}");
        assert_eq!(means(selector, &named), Meant::No, "{selector}");
    }
    let mut pod = pod();
    pod.service_account = None;
    pod.unknown = Some("service_account_not_told".into());
    assert_eq!(means("container:web", &pod), Meant::No);
    let unread = WorkloadRecord {
        kind: "executable".into(),
        name: "/usr/sbin/nginx".to_owned(),
        unknown: Some("cgroup_not_read".into()),
        ..WorkloadRecord::default()
    };
    for selector in ["unit:web.service", "container:web", "namespace:shop", "exe:/usr/sbin/nginx"] {
        assert_eq!(means(selector, &unread), Meant::Unknown, "{selector}");
    }
    assert_eq!(means("namespace:shop", &systemd("web.service")), Meant::No);
}
