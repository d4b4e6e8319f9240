//! The compiler of the kernel programs, by one of two routes, and cargo's own tools.
//!
//! Stable Rust builds everything but the kernel programs. Those need a compiler with the core library
//! of the BPF target, and `bpf-linker`. `agent/build.rs` takes the same two routes.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::Step;
use super::debian::{self, Package};
use crate::process;

/// The linker whose output was seen to load on 6.1, 6.12 and 6.18.
const BPF_LINKER_VERSION: &str = "0.13.0";
/// Checks licences, sources and duplicates of the dependencies (`deny.toml`).
const CARGO_DENY_VERSION: &str = "0.20.2";
/// Debian's LLVM that `rustc-web` was built with; the linker must read the bitcode of that version.
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
/// The core library of the BPF target as Debian ships it.
const DEBIAN_BPF_CORE: &str = "/usr/lib/rustlib/bpfel-unknown-none";

/// Debian 12's compiler with a prebuilt BPF core library, and what `bpf-linker` builds against.
const DEBIAN_TOOLCHAIN: &[Package] = &[
    Package::named("rustc-web"),
    Package::named("libstd-rust-web-dev-bpf"),
    Package::named("llvm-22-dev"),
    Package::named("libpolly-22-dev"),
    // The bindings of bpf-linker to LLVM are compiled, and so is ring.
    Package::program("g++", "g++"),
];

/// How the kernel programs are compiled on this machine.
pub enum Route {
    /// rustup has a nightly with the sources of the core library.
    Nightly,
    /// Debian 12's packages.
    Debian,
}

impl Route {
    /// What the route takes from the package manager.
    pub fn packages(&self) -> Vec<Package> {
        match self {
            Self::Nightly => Vec::new(),
            Self::Debian => DEBIAN_TOOLCHAIN.to_vec(),
        }
    }

    /// `bpf-linker`, if it is not there yet.
    pub fn linker(&self) -> Option<Step> {
        if is_installed("bpf-linker", BPF_LINKER_VERSION) {
            return None;
        }
        let mut install = process::cargo();
        install.args(["install", "bpf-linker", "--locked", "--force", "--version"]);
        install.arg(BPF_LINKER_VERSION);
        if let Self::Debian = self {
            install.args(["--no-default-features", "--features", "llvm-22"]);
            install.env("LLVM_PREFIX", LLVM_PREFIX);
        }
        Some(Step::new(
            format!("cargo install bpf-linker {BPF_LINKER_VERSION} (about a minute)"),
            move || process::run(&mut install),
        ))
    }
}

/// Chooses the route that is ready, else the one that can be made ready.
pub fn route() -> Result<Route> {
    if has_debian_core() {
        return Ok(Route::Debian);
    }
    if has_nightly_sources() {
        return Ok(Route::Nightly);
    }
    if debian::is_bookworm() && process::is_root() {
        return Ok(Route::Debian);
    }
    let obstacle = if debian::is_bookworm() {
        "this is Debian 12, but installing packages needs root: run it as root"
    } else {
        "this is not Debian 12"
    };
    bail!(
        "the kernel programs need a Rust compiler with the BPF core library, and there is none ({obstacle}). \
         With rustup, any distribution will do:\n  \
         rustup toolchain install nightly --component rust-src\n  \
         cargo install bpf-linker --version {BPF_LINKER_VERSION}"
    );
}

fn has_debian_core() -> bool {
    Path::new(DEBIAN_BPF_CORE).is_dir() && Path::new("/usr/bin/rustc").exists()
}

fn has_nightly_sources() -> bool {
    let mut rustc = Command::new("rustc");
    // `cargo run` pins the toolchain by this variable, which the `+nightly` below must override.
    rustc.env_remove("RUSTUP_TOOLCHAIN");
    rustc.args(["+nightly", "--print", "sysroot"]);
    process::output_of(&mut rustc)
        .is_ok_and(|sysroot| Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir())
}

/// `cargo-deny`, if it is not there yet.
pub fn dependency_checker() -> Option<Step> {
    if is_installed("cargo-deny", CARGO_DENY_VERSION) {
        return None;
    }
    let mut install = process::cargo();
    install.args(["install", "cargo-deny", "--locked", "--force", "--version"]);
    install.arg(CARGO_DENY_VERSION);
    Some(Step::new(format!("cargo install cargo-deny {CARGO_DENY_VERSION} (some minutes)"), move || {
        process::run(&mut install)
    }))
}

/// Whether cargo installed this version. Cargo's list knows it without running the program, which
/// for a linker built against a removed LLVM would not even start.
fn is_installed(name: &str, version: &str) -> bool {
    let entry = format!("{name} v{version}:");
    process::find_program(name).is_some()
        && process::output_of(process::cargo().args(["install", "--list"]))
            .is_ok_and(|list| list.lines().any(|line| line == entry))
}
