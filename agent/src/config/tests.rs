use super::*;
use crate::verdict::Selector;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("c.toml"))
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// Settings without a default are written `#key = …` or `#[section]`; prose has a space after the `#`.
fn with_optional_settings() -> String {
    let uncomment = |line: &'static str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => setting,
        _ => line,
    };
    DEFAULT_TEXT.lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_printed_default_is_the_default() {
    let printed = parse(DEFAULT_TEXT).unwrap();
    assert_eq!(Config { source: None, ..printed }, Config::default());
    assert_eq!(Config { source: None, ..parse("").unwrap() }, Config::default());
}

#[test]
fn every_key_stands_in_the_printed_default_with_a_sentence() {
    let file: ConfigFile = toml::from_str(&with_optional_settings()).unwrap();
    fn complete(value: &serde_json::Value, path: &str) {
        match value {
            serde_json::Value::Null => panic!("{path} is not in default.toml"),
            serde_json::Value::Object(members) => {
                members.iter().for_each(|(key, member)| complete(member, &format!("{path}.{key}")));
            }
            _ => {}
        }
    }
    let file = serde_json::to_value(file).unwrap();
    complete(&file, "");
    assert_eq!(file["exception"].as_array().unwrap().len(), 1);
    assert_eq!(file["identity"].as_array().unwrap().len(), 1);

    let mut before = "";
    for line in DEFAULT_TEXT.lines() {
        if line.trim_start_matches('#').split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) {
            assert!(before.starts_with("# ") && before.ends_with('.'), "no sentence before: {line}");
        }
        before = line;
    }
}

#[test]
fn an_exception_means_what_it_says() {
    let rule = &parse(&with_optional_settings()).unwrap().exceptions[0];
    assert_eq!(rule.from, Selector::Network("10.20.0.0/16".parse().unwrap()));
    assert_eq!(rule.to, Selector::Unit("legacy-db.service".into()));
    assert_eq!(rule.port, Some(5432));
    assert_eq!(rule.expires, jiff::civil::date(2030, 12, 31));
    let other = with_optional_settings()
        .replace("port = 5432", "port = \"any\"")
        .replace("\"2030-12-31\"", "2030-12-31")
        .replace("10.20.0.0/16", "exe:/usr/bin/curl");
    let other = &parse(&other).unwrap().exceptions[0];
    assert_eq!((other.port, other.expires), (None, rule.expires));
    assert_eq!(other.from.to_string(), "exe:/usr/bin/curl");
}

#[test]
fn a_refusal_names_file_line_and_key() {
    for (text, expected) in [
        ("[daemon]\nsokket = \"/x\"\n", "c.toml:2:1: daemon.sokket: unknown field `sokket`, expected one of"),
        ("[demon]\n", "c.toml:1:2: demon: unknown field `demon`, expected one of"),
        (
            "\n[metrics]\nenabled = \"yes\"\n",
            "c.toml:3:11: metrics.enabled: invalid type: string \"yes\", expected a boolean",
        ),
        (
            "[metrics]\nlisten = \"localhost\"\n",
            "c.toml:2:10: metrics.listen: `localhost` is not an address and a port",
        ),
        (
            "metrics.listen = \"0.0.0.0:1\"\n",
            "c.toml:1:18: metrics.listen: `0.0.0.0:1` can be reached by other hosts: use",
        ),
        ("[daemon]\nsocket = \"run/x\"\n", "c.toml:2:10: daemon.socket: `run/x` is not an absolute path"),
        (
            "[daemon]\ndata_dir = 5\n",
            "c.toml:2:12: daemon.data_dir: invalid type: integer `5`, expected a string",
        ),
        (
            "[scope]\ninternal = [\n \"10.0.0.0/8\",\n \"10.1.2.3/8\",\n]\n",
            "c.toml:4:2: scope.internal[1]: `10.1.2.3/8` has address bits beyond its prefix: write \"10.0.0.0/8\"",
        ),
        (
            "[scope]\ninternal = [\"lan\"]\n",
            "c.toml:2:13: scope.internal[0]: `lan` is not \"any\", an address, a network",
        ),
        (
            "[capture]\nring_bytes = 100000\n",
            "c.toml:2:14: capture.ring_bytes: 100000 is not a power of two: the next one is 131072",
        ),
        (
            "[capture]\nring_bytes = -1\n",
            "c.toml:2:14: capture.ring_bytes: -1 is not within 65536 to 268435456",
        ),
        (
            "[capture]\nmax_budget_bytes = 2048\n",
            "c.toml:2:20: capture.max_budget_bytes: start_budget_bytes is 32768 and max_budget_bytes 2048",
        ),
        ("[limits]\nsessions = 0\n", "c.toml:2:12: limits.sessions: 0 is not within 1 to 1000000"),
        (
            "[findings]\ndisabled = [\"plaintext\"]\n",
            "c.toml:2:13: findings.disabled[0]: `plaintext` is not a finding code: they are unauth",
        ),
        ("[log]\nlevel = \"verbose\"\n", "c.toml:2:9: log.level: `verbose` is not one of error, warn"),
        ("[log]\nformat = \"xml\"\n", "c.toml:2:10: log.format: `xml` is not one of text, json"),
        ("[log]\nlevel = info\n", "c.toml:2:9: "),
        ("[log]\nlevel = \"info\"\nlevel = \"warn\"\n", "c.toml:3:1: "),
    ] {
        let refusal = refusal(text);
        assert!(refusal.starts_with(expected), "{text}\n  gives {refusal}\n  not   {expected}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

#[test]
fn an_exception_is_refused_with_its_place() {
    let good = "[[exception]]\nfinding = \"unauthenticated_east_west\"\nfrom = \"any\"\nto = \"any\"\nport = 80\n\
        owner = \"o\"\nreason = \"r\"\nexpires = \"2030-01-01\"\n";
    assert_eq!(parse(good).unwrap().exceptions.len(), 1);
    let second = |from: &str, to: &str| format!("{good}{}", good.replace(from, to));
    for (text, expected) in [
        (second("expires = \"2030-01-01\"\n", ""), "c.toml:9:1: exception[1]: missing field `expires`"),
        (
            second("2030-01-01", "2030-02-30"),
            "c.toml:16:11: exception[1].expires: `2030-02-30` is not a date",
        ),
        (second("\"2030-01-01\"", "5"), "c.toml:16:11: exception[1].expires: `5` is not a date"),
        (second("2030-01-01", "2030-01-01T00:00:00"), "c.toml:16:11: exception[1].expires: "),
        (second("80", "70000"), "c.toml:13:8: exception[1].port: 70000 is not within 1 to 65535"),
        (
            second("80", "\"http\""),
            "c.toml:13:8: exception[1].port: `\"http\"` is not a port number or \"any\"",
        ),
        (second("\"o\"", "\" \""), "c.toml:14:9: exception[1].owner: is empty"),
        (
            second("from = \"any\"", "from = \"unit:x\""),
            "c.toml:11:8: exception[1].from: `x` is not a systemd unit",
        ),
        (
            second("to = \"any\"", "to = \"exe:curl\""),
            "c.toml:12:6: exception[1].to: `curl` is not an absolute path",
        ),
        (
            second("unauthenticated_east_west", "x"),
            "c.toml:10:11: exception[1].finding: `x` is not a finding code",
        ),
        (second("owner", "owners"), "c.toml:14:1: exception[1].owners: unknown field `owners`"),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.starts_with(expected), "gives {refusal}\n  not   {expected}");
    }
}

#[test]
fn a_rule_on_identities_means_what_it_says() {
    let config = parse(&with_optional_settings()).unwrap();
    let rule = &config.identities[0];
    assert_eq!((&*rule.name, &rule.workload), ("namespace:*", &Selector::Namespace("*".into())));
    assert_eq!(rule.may_present[1].to_string(), "{service_account}.{namespace}.svc");
    assert_eq!(config.ownership.file.as_deref(), Some(Path::new("/etc/countersign/owners.toml")));
    assert!(config.ownership.owners.is_empty());
}

#[test]
fn a_rule_on_identities_is_refused_with_its_place() {
    let good =
        "[[identity]]\nworkload = \"unit:web.service\"\nmay_present = [\"web.internal\", \"{unit}.svc\"]\n";
    assert_eq!(parse(good).unwrap().identities.len(), 1);
    let second = |from: &str, to: &str| {
        format!("{good}{}", good.replace("web.service", "db.service").replace(from, to))
    };
    let many = format!("[{}]", "\"x\", ".repeat(65));
    for (text, expected) in [
        (
            second("db.service", "web.service"),
            "c.toml:5:12: identity[1].workload: an earlier rule is for `unit:web.service`, too",
        ),
        (
            second("unit:db.service", "10.0.0.0/8"),
            "c.toml:5:12: identity[1].workload: `10.0.0.0/8` means addresses, and a workload has none",
        ),
        (
            second("{unit}", "{pid}"),
            "c.toml:6:32: identity[1].may_present[1]: `{pid}` is not one of {namespace}, {pod}",
        ),
        (second("{unit}", "{unit"), "c.toml:6:32: identity[1].may_present[1]: `{unit.svc` has a brace"),
        (
            second("{unit}.svc", "spiffe://Prod/x"),
            "c.toml:6:32: identity[1].may_present[1]: `spiffe://Prod/x` is not an identity: write a SPIFFE ID like",
        ),
        (
            second("[\"web.internal\", \"{unit}.svc\"]", "[]"),
            "c.toml:6:15: identity[1].may_present: names 0 identities: 1 to 64",
        ),
        (
            second("[\"web.internal\", \"{unit}.svc\"]", &many),
            "c.toml:6:15: identity[1].may_present: names 65 identities",
        ),
        (second("may_present", "may"), "c.toml:6:1: identity[1].may: unknown field `may`"),
        (
            "[ownership]\nfile = \"owners.toml\"\n".to_owned(),
            "c.toml:2:8: ownership.file: `owners.toml` is not an absolute",
        ),
    ] {
        let refusal = refusal(&text);
        assert!(refusal.starts_with(expected), "gives {refusal}\n  not   {expected}");
    }
}

#[test]
fn a_file_of_owners_is_read_with_the_configuration() {
    let folder = std::env::temp_dir().join(format!("countersign-owners-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (path, owners) = (folder.join("c.toml"), folder.join("owners.toml"));
    std::fs::write(&path, format!("[ownership]\nfile = {:?}\n", owners.to_str().unwrap())).unwrap();
    let loader = ConfigLoader { path: Some(path), overrides: Overrides::default() };
    assert!(matches!(loader.load().unwrap_err(), ConfigError::OwnersUnreadable { .. }));
    std::fs::write(&owners, "[[owner]]\nworkload = \"any\"\nowner = \"a\"\n").unwrap();
    assert_eq!(loader.load().unwrap().ownership.owners.len(), 1);
    std::fs::write(&owners, "[[owner]]\nworkload = 5\n").unwrap();
    let refusal = loader.load().unwrap_err().to_string();
    assert!(refusal.contains("owners.toml:2:12: owner[0].workload: invalid type"), "{refusal}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn no_truncation_or_stray_byte_of_the_default_panics() {
    let text = with_optional_settings();
    for end in (0..text.len()).step_by(7).filter(|end| text.is_char_boundary(*end)) {
        let _ = parse(&text[..end]);
        let _ = parse(&format!("{}\u{0}ü\"{}", &text[..end], &text[end..]));
    }
}

#[test]
fn flags_override_the_file_and_are_checked_like_it() {
    let mut config = parse("[daemon]\ndata_dir = \"/a\"\n").unwrap();
    let overrides = Overrides {
        data_dir: Some("/b".into()),
        socket: Some("/c/d.sock".into()),
        metrics_listen: Some("127.0.0.1:1".parse().unwrap()),
    };
    config.override_with(&overrides).unwrap();
    assert_eq!(config.daemon.data_dir, Path::new("/b"));
    assert_eq!(config.daemon.socket, Path::new("/c/d.sock"));
    assert_eq!(config.metrics.listen.port(), 1);

    let remote = Overrides { metrics_listen: Some("[::]:1".parse().unwrap()), ..Overrides::default() };
    let refusal = config.override_with(&remote).unwrap_err().to_string();
    assert!(refusal.starts_with("--metrics-listen: `[::]:1` can be reached by other hosts"), "{refusal}");
    config.metrics.allow_remote = true;
    config.override_with(&remote).unwrap();

    let long = Overrides { socket: Some(format!("/{}", "x".repeat(107)).into()), ..Overrides::default() };
    assert_eq!(
        config.override_with(&long).unwrap_err().to_string(),
        "--socket: is 108 bytes long: a socket's path has at most 107"
    );
}

#[test]
fn a_named_file_must_be_there_and_of_a_sensible_size() {
    let missing = Config::load(Some(Path::new("/nowhere/c.toml"))).unwrap_err();
    assert_eq!(missing.to_string(), "cannot read configuration file /nowhere/c.toml");
    let large = std::env::temp_dir().join(format!("countersign-large-{}.toml", std::process::id()));
    std::fs::File::create(&large).unwrap().set_len(MAX_FILE_BYTES + 1).unwrap();
    let refused = Config::load(Some(&large)).unwrap_err();
    std::fs::remove_file(&large).unwrap();
    assert!(matches!(refused, ConfigError::TooLarge { .. }), "{refused}");
    assert_eq!(Config::load(Some(Path::new("/dev/null"))).unwrap().identities, []);
}

#[test]
fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
    let pipe = std::env::temp_dir().join(format!("countersign-pipe-{}.toml", std::process::id()));
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let refused = Config::load(Some(&pipe)).unwrap_err();
    let owners = owners::load(&pipe).unwrap_err();
    std::fs::remove_file(&pipe).unwrap();
    assert!(matches!(owners, ConfigError::OwnersUnreadable { .. }), "{owners}");
    for refused in [refused, owners, Config::load(Some(Path::new("/dev/zero"))).unwrap_err()] {
        let source = std::error::Error::source(&refused).unwrap().to_string();
        assert_eq!(source, "it is neither a regular file nor /dev/null");
    }
}
