//! The agent on every supported kernel: Debian's 6.1 and 6.12 in an emulator, and the running one.
//!
//! What loads on the newest kernel proves nothing for the others: helpers and the verifier differ.
//! Each kernel runs the shipped binary on its defaults, with a peer whose connections are known, and
//! every connection must come out as the record that a user would trust.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test program; clippy's exemption covers test functions only"
)]

mod expected;
mod guest;
mod initramfs;
mod native;

use std::path::{Path, PathBuf};

use guest::Guest;

/// The agent as it is shipped.
fn agent() -> PathBuf {
    let path = std::env::var_os("COUNTERSIGN_BIN")
        .map_or_else(|| target().join("release/countersign"), PathBuf::from);
    assert!(path.is_file(), "{} is missing: cargo build --release -p countersign", path.display());
    path
}

fn target() -> PathBuf {
    // The peer lies in target/debug or target/release, whatever `CARGO_TARGET_DIR` says.
    let peer = Path::new(env!("CARGO_BIN_EXE_peer"));
    peer.ancestors().nth(2).unwrap().to_path_buf()
}

fn on_debian_kernel(series: &str) {
    let kernel = target().join("kernels").join(series).join("vmlinuz");
    assert!(kernel.is_file(), "{} is missing: cargo xtask setup", kernel.display());
    let sections = Guest::new(&kernel, series).run(&agent());
    let section = |name: &str| {
        sections
            .get(name)
            .unwrap_or_else(|| panic!("the guest printed no section {name}: {sections:#?}"))
            .as_str()
    };
    assert!(section("kernel").starts_with(&format!("{series}.")));
    assert!(
        section("version").starts_with("countersign "),
        "the agent does not start: {}",
        section("version")
    );
    assert_eq!(section("check_exit").trim(), "0", "something is missing on {series}: {}", section("check"));
    assert_eq!(section("run_exit").trim(), "0", "the daemon did not end cleanly: {}", section("run"));
    assert_eq!(section("peer_errors"), "", "the peer failed");
    expected::compare(section("truths"), section("watch"));
}

#[test]
fn debian_6_1() {
    on_debian_kernel("6.1");
}

#[test]
fn debian_6_12() {
    on_debian_kernel("6.12");
}

#[test]
fn running_kernel() {
    if !nix::unistd::geteuid().is_root() {
        let reason = "the agent needs root on the running kernel";
        assert!(std::env::var_os("CI").is_none_or(|value| value != "true"), "{reason}");
        eprintln!("skipped: {reason}");
        return;
    }
    let (truths, records) = native::run(&agent());
    expected::compare(&truths, &records);
}
