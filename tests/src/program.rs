//! Peers that are compiled here, each once per run: the compilers keep what did not change.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

use crate::{output_of, peer_script};

/// A compiled peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `peers/go`, by one of the toolchains.
    Go(GoBuild),
    /// `peers/owners.c`.
    Owners,
    /// `peers/openssl_peer.c` with the system's libraries.
    OpenSsl,
    /// The same, linked statically and stripped: nothing in it can be probed.
    OpenSslStatic,
    /// `peers/rustls` on rustls 0.21, with symbols.
    Rustls21,
    /// `peers/rustls` on rustls 0.23, with symbols.
    Rustls23,
}

/// How the Go peer is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoBuild {
    /// Release that set-up put into `target/peers`; `None` is Debian's.
    pub toolchain: Option<&'static str>,
    /// Without symbols and debug information.
    pub stripped: bool,
    /// Position-independent.
    pub pie: bool,
}

impl GoBuild {
    /// Debian's toolchain as it comes.
    pub const PLAIN: Self = Self { toolchain: None, stripped: false, pie: false };

    /// Releases that set-up downloads; all but the last for the full run only.
    pub const RELEASES: [&'static str; 3] = ["1.21.13", "1.25.5", "1.27.3"];

    /// Another toolchain as it comes.
    #[must_use]
    pub fn of(release: &'static str) -> Self {
        Self { toolchain: Some(release), ..Self::PLAIN }
    }
}

impl Program {
    /// Where it is, once it is built.
    ///
    /// # Errors
    /// When it does not compile, or its compiler is missing.
    pub fn path(self) -> Result<PathBuf> {
        static BUILT: Mutex<BTreeMap<Program, PathBuf>> = Mutex::new(BTreeMap::new());
        let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(path) = built.get(&self) {
            return Ok(path.clone());
        }
        let path = match self {
            Self::Go(build) => go(build),
            Self::Owners => c("owners", "owners.c", &[], &[]),
            Self::OpenSsl => openssl("openssl-peer", &[]),
            Self::OpenSslStatic => openssl("openssl-peer-static", &["-static", "-s"]),
            Self::Rustls21 => rustls("rustls21"),
            Self::Rustls23 => rustls("rustls23"),
        }
        .with_context(|| format!("build {self:?}"))?;
        built.insert(self, path.clone());
        Ok(path)
    }
}

/// Folder of what is built or downloaded for the tests.
pub(crate) fn built_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers")
}

/// The Python that has the packages which set-up downloaded.
///
/// # Errors
/// Before set-up.
pub fn python_with_packages() -> Result<PathBuf> {
    let python = built_folder().join("python/bin/python");
    ensure!(python.exists(), "{} is missing: run `cargo xtask setup`", python.display());
    Ok(python)
}

fn go(build: GoBuild) -> Result<PathBuf> {
    let GoBuild { toolchain, stripped, pie } = build;
    let go = match toolchain {
        None => PathBuf::from("go"),
        Some(release) => {
            let go = built_folder().join(format!("go-{release}/go/bin/go"));
            ensure!(go.exists(), "Go {release} is missing: run `cargo xtask setup --for full-test`");
            go
        }
    };
    let name = [Some("go-peer"), toolchain, stripped.then_some("stripped"), pie.then_some("pie")];
    let binary = built_folder().join(name.into_iter().flatten().collect::<Vec<_>>().join("-"));
    let mut command = Command::new(go);
    command.current_dir(peer_script("go")).args(["build", "-o"]).arg(&binary);
    command.env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    if stripped {
        command.arg("-ldflags=-s -w");
    }
    if pie {
        command.arg("-buildmode=pie");
    }
    output_of(command.arg(".")).map(|_| binary)
}

fn openssl(name: &str, flags: &[&str]) -> Result<PathBuf> {
    c(name, "openssl_peer.c", flags, &["-lssl", "-lcrypto"])
}

fn c(name: &str, source: &str, flags: &[&str], libraries: &[&str]) -> Result<PathBuf> {
    let folder = built_folder();
    std::fs::create_dir_all(&folder)?;
    let binary = folder.join(name);
    let mut command = Command::new("gcc");
    command.args(["-O2", "-Wall", "-Wextra", "-pthread", "-o"]).arg(&binary).args(flags);
    command.arg(peer_script(source)).args(libraries);
    output_of(&mut command).map(|_| binary)
}

fn rustls(name: &str) -> Result<PathBuf> {
    let target = built_folder().join("rustls");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    // From its own folder: nothing of the workspace's configuration or toolchain is meant for it.
    command.current_dir(peer_script("rustls")).args([
        "build",
        "--quiet",
        "--release",
        "--locked",
        "--target-dir",
    ]);
    command.arg(&target).args([OsStr::new("--bin"), OsStr::new(name)]);
    output_of(&mut command).map(|_| target.join("release").join(name))
}
