//! Compiles the kernel programs (`agent-ebpf`) and leaves the object in `OUT_DIR`, from where the
//! `kernel` room embeds it.
//!
//! They need a rustc with the BPF core library, by one of two routes: a rustc that brings one
//! prebuilt (Debian's `rustc-web` and `libstd-rust-web-dev-bpf`), or rustup's nightly with
//! `rust-src`. `cargo xtask setup` installs either.

use std::{
    env,
    error::Error,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "countersign-ebpf";

/// What the outer cargo sets for its own compilation and must not reach the inner one.
const OUTER_VARIABLES: [&str; 12] = [
    "RUSTC",
    "RUSTDOC",
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CLIPPY_ARGS",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_TARGET_DIR",
    "CARGO_INCREMENTAL",
    "RUSTUP_TOOLCHAIN",
    "RUSTC_LINKER",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?).join("..");
    let out = PathBuf::from(variable("OUT_DIR")?);
    for part in ["agent-ebpf/src", "agent-ebpf/Cargo.toml", "agent-ebpf/Cargo.lock", "agent-common/src"] {
        println!("cargo::rerun-if-changed={}", root.join(part).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=COUNTERSIGN_BPF_RUSTC");

    let search = search_path()?;
    if !env::split_paths(&search).any(|folder| folder.join("bpf-linker").is_file()) {
        return Err("bpf-linker is not installed; run: cargo xtask setup".into());
    }
    let target = out.join("agent-ebpf");
    let mut build = route()?;
    let flags = ["-Cdebuginfo=2", "-Clinker=bpf-linker", "-Clink-arg=--btf"].join("\x1f");
    build
        .args(["build", "--release", "--locked", "--target", TARGET, "--target-dir"])
        .arg(&target)
        .current_dir(root.join("agent-ebpf"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .env("PATH", search);
    if !build.status()?.success() {
        return Err("the kernel programs do not compile; the errors are above".into());
    }
    fs::copy(target.join(TARGET).join("release").join(OBJECT), out.join(OBJECT))?;
    Ok(())
}

/// The cargo command of the route at hand, without the outer cargo's environment.
fn route() -> Result<Command, Box<dyn Error>> {
    let rustc = env::var_os("COUNTERSIGN_BPF_RUSTC").unwrap_or_else(|| "/usr/bin/rustc".into());
    if sysroot(Command::new(&rustc)).is_some_and(|root| root.join("lib/rustlib").join(TARGET).is_dir()) {
        let mut cargo = Command::new(variable("CARGO")?);
        clear(&mut cargo);
        cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
        return Ok(cargo);
    }
    let mut nightly = Command::new("rustup");
    nightly.args(["run", "nightly", "rustc"]);
    if sysroot(nightly).is_some_and(|root| root.join("lib/rustlib/src/rust/library").is_dir()) {
        let mut cargo = Command::new("rustup");
        clear(&mut cargo);
        cargo.args(["run", "nightly", "cargo", "-Zbuild-std=core"]);
        return Ok(cargo);
    }
    Err("no compiler for the kernel programs (a rustc with the BPF core library, or rustup's nightly with \
         rust-src); run: cargo xtask setup"
        .into())
}

fn clear(command: &mut Command) {
    for name in OUTER_VARIABLES {
        command.env_remove(name);
    }
}

/// The sysroot of a rustc, if it runs.
fn sysroot(mut rustc: Command) -> Option<PathBuf> {
    clear(&mut rustc);
    let output = rustc.args(["--print", "sysroot"]).output().ok().filter(|output| output.status.success())?;
    Some(Path::new(String::from_utf8(output.stdout).ok()?.trim()).to_path_buf())
}

/// `PATH`, and where `cargo install` puts programs.
fn search_path() -> Result<OsString, Box<dyn Error>> {
    let installed = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")))
        .map(|home| home.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(env::split_paths(&path).chain(installed))?)
}

fn variable(name: &str) -> Result<OsString, Box<dyn Error>> {
    env::var_os(name).ok_or_else(|| format!("{name} is not set; cargo sets it").into())
}
