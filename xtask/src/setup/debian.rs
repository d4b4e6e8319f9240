//! Debian packages: which are missing, and installing them without starting anything.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Step;
use crate::process;

/// One package, and the program that makes it unnecessary if it came from elsewhere.
#[derive(Clone, Copy)]
pub struct Package {
    name: &'static str,
    program: Option<&'static str>,
}

impl Package {
    /// A package that nothing else can stand in for.
    pub const fn named(name: &'static str) -> Self {
        Self { name, program: None }
    }

    /// A package that is only wanted for this program.
    pub const fn program(name: &'static str, program: &'static str) -> Self {
        Self { name, program: Some(program) }
    }
}

/// The peers of the live tests, the tools of the fault injection, the load generators.
pub const TEST_PACKAGES: &[Package] = &[
    Package::program("openssl", "openssl"),
    Package::program("curl", "curl"),
    Package::program("nginx-light", "nginx"),
    Package::program("apache2", "apache2"),
    Package::program("haproxy", "haproxy"),
    Package::named("postgresql-15"),
    Package::program("wget", "wget"),
    Package::program("gnutls-bin", "gnutls-cli"),
    Package::program("python3", "python3"),
    Package::named("python3-venv"),
    Package::program("nodejs", "node"),
    Package::program("golang-go", "go"),
    Package::program("gcc", "gcc"),
    Package::named("libssl-dev"),
    Package::program("libnss3-tools", "certutil"),
    Package::program("iproute2", "ip"),
    Package::program("nftables", "nft"),
    Package::program("tcpdump", "tcpdump"),
    Package::program("mptcpize", "mptcpize"),
    Package::program("bpftool", "bpftool"),
    Package::program("prometheus", "prometheus"),
    Package::named("busybox-static"),
    Package::program("cpio", "cpio"),
    Package::program("runc", "runc"),
    Package::program("podman", "podman"),
    Package::program("containerd", "containerd"),
    Package::program("iperf3", "iperf3"),
    Package::program("wrk", "wrk"),
    Package::program("sqlite3", "sqlite3"),
    // 81 MB to load: nothing smaller says what a browser says of a page's policy.
    Package::program("chromium", "chromium"),
    // Servers that are talked to in clear: 135 MB together, and ZooKeeper with a Java runtime 245.
    Package::program("redis-server", "redis-server"),
    Package::named("dovecot-core"),
    Package::named("dovecot-imapd"),
    Package::named("dovecot-pop3d"),
    Package::named("dovecot-submissiond"),
    Package::program("slapd", "slapd"),
    Package::program("default-jre-headless", "java"),
    // The server as a library: the package of the server wants a whole desktop's runtime.
    Package::named("libzookeeper-java"),
    Package::program("sip-tester", "sipp"),
    Package::program("nats-server", "nats-server"),
    Package::program("mosquitto", "mosquitto"),
    Package::program("rabbitmq-server", "rabbitmq-server"),
    Package::program("dnsmasq-base", "dnsmasq"),
    Package::program("bird2", "bird"),
    Package::named("python3-qpid-proton"),
    // Both come with RabbitMQ and are named for their units.
    Package::program("erlang-base", "epmd"),
    Package::program("logrotate", "logrotate"),
];

/// Units that come with these packages and would start at the next boot of a machine that never asked for them.
const UNWANTED_UNITS: &[(&str, &str)] = &[
    ("nginx-light", "nginx.service"),
    ("apache2", "apache2.service"),
    ("apache2", "apache-htcacheclean.service"),
    ("haproxy", "haproxy.service"),
    ("postgresql-15", "postgresql.service"),
    ("prometheus", "prometheus.service"),
    ("prometheus", "prometheus-node-exporter.service"),
    ("containerd", "containerd.service"),
    ("podman", "podman.socket"),
    ("podman", "podman-restart.service"),
    ("podman", "podman-auto-update.timer"),
    ("redis-server", "redis-server.service"),
    ("dovecot-core", "dovecot.service"),
    ("dovecot-core", "dovecot.socket"),
    ("slapd", "slapd.service"),
    ("nats-server", "nats-server.service"),
    ("mosquitto", "mosquitto.service"),
    ("rabbitmq-server", "rabbitmq-server.service"),
    ("bird2", "bird.service"),
    ("erlang-base", "epmd.service"),
    ("erlang-base", "epmd.socket"),
    ("logrotate", "logrotate.timer"),
];

/// Debian asks this program before it starts a service on installation.
const POLICY: &str = "/usr/sbin/policy-rc.d";
/// Exit code 101 means: do not start it. The comment tells a left-over of ours from somebody else's.
const POLICY_TEXT: &str =
    "#!/bin/sh\n# countersign: set-up installs test peers, it starts no services\nexit 101\n";

/// Whether this is the Debian whose packages are named here.
pub fn is_bookworm() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| {
        let has = |wanted| text.lines().any(|line| line == wanted);
        has("ID=debian") && has("VERSION_ID=\"12\"")
    })
}

/// A step that installs what of `wanted` is missing, all at once; an error where that is impossible.
pub fn missing(wanted: &[Package]) -> Result<Option<Step>> {
    let installed = installed();
    let names: Vec<&'static str> = wanted
        .iter()
        .filter(|package| !installed.contains(package.name))
        .filter(|package| package.program.and_then(process::find_program).is_none())
        .map(|package| package.name)
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    if !is_bookworm() || !process::is_root() {
        bail!(
            "these are missing, and only root on Debian 12 can have them installed here: {}. \
             Install them (or what provides the same programs) and run it again",
            names.join(" ")
        );
    }
    Ok(Some(Step::new(format!("apt-get install {}", names.join(" ")), move || install(&names))))
}

fn installed() -> HashSet<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Package} ${db:Status-Abbrev}\n"]);
    // No dpkg: nothing is installed by it.
    let text = process::output_of(&mut query).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, status)| status.starts_with("ii"))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn install(names: &[&'static str]) -> Result<()> {
    update_index()?;
    let guard = NoServices::raise()?;
    // `--no-remove`: rustc-web conflicts with Debian's own rustc, and removing a user's compiler is
    // not set-up's business.
    process::run(apt_get().args(["install", "--yes", "--no-install-recommends", "--no-remove"]).args(names))?;
    drop(guard);
    disable_units(names)
}

/// Fetches the package lists.
pub fn update_index() -> Result<()> {
    process::run(apt_get().args(["update", "--quiet=2"]))
}

/// Downloads these packages (`name` or `name=version`) and unpacks them into the folder `root`, which begins empty; installs
/// nothing.
pub fn unpack<S: AsRef<OsStr>>(packages: &[S], root: &Path) -> Result<()> {
    let downloads = root.with_extension("downloads");
    for folder in [root, &downloads] {
        if folder.exists() {
            fs::remove_dir_all(folder)?;
        }
        fs::create_dir_all(folder)?;
    }
    process::run(
        apt_get()
            // Downloads as root go to a folder that apt's own user cannot write.
            .args(["-o", "APT::Sandbox::User=root", "--quiet", "download"])
            .args(packages)
            .current_dir(&downloads),
    )?;
    for archive in fs::read_dir(&downloads)? {
        process::run(Command::new("dpkg-deb").arg("-x").arg(archive?.path()).arg(root))?;
    }
    Ok(fs::remove_dir_all(&downloads)?)
}

/// The package and what else of its dependencies is not installed, each as `name=version`, whatever installed package would
/// have to make way for them.
pub fn closure(package: &str) -> Result<Vec<String>> {
    let plan = process::output_of(apt_get().args([
        "install",
        "--simulate",
        "--no-install-recommends",
        "--option=Debug::NoLocking=1",
        package,
    ]))?;
    // "Inst seabios (1.16.2-1 Debian:12.11/oldstable [all])", with "[installed version]" before it in an upgrade.
    let added = plan.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let version = rest.split_once('(')?.1.split(' ').next()?;
        Some(format!("{name}={version}"))
    });
    Ok(added.collect())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn disable_units(names: &[&'static str]) -> Result<()> {
    if process::find_program("systemctl").is_none() {
        return Ok(());
    }
    for (package, unit) in UNWANTED_UNITS {
        let unit_file = Path::new("/lib/systemd/system").join(unit);
        // systemd makes units of these scripts.
        let script = Path::new("/etc/init.d").join(unit.trim_end_matches(".service"));
        if names.contains(package) && (unit_file.exists() || script.exists()) {
            process::run(Command::new("systemctl").args(["--quiet", "disable", unit]))?;
        }
    }
    Ok(())
}

/// While it lives, no package starts a service; an administrator's own policy stays.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn raise() -> Result<Self> {
        let ours = match fs::read_to_string(POLICY) {
            // Left behind by a set-up that was killed.
            Ok(text) => text == POLICY_TEXT,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::write(POLICY, POLICY_TEXT)
                    .and_then(|()| fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755)))
                    .with_context(|| format!("cannot write {POLICY}"))?;
                true
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {POLICY}")),
        };
        Ok(Self { ours })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("warning: cannot remove {POLICY}, which keeps services from starting: {error}");
        }
    }
}
