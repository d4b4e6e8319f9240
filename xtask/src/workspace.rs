//! Where things are in this workspace.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Cargo's output folder, which `CARGO_TARGET_DIR` can move.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The agent as `cargo build --release` leaves it.
pub fn agent_binary() -> PathBuf {
    target().join("release/countersign")
}

/// The kernels of the kernel matrix, one folder each; `tests/tests/kernels` reads them there.
pub fn kernels() -> PathBuf {
    target().join("kernels")
}

/// The emulator that boots them, as its packages unpack, where the machine has none; `tests/tests/kernels` looks there.
pub fn emulator() -> PathBuf {
    target().join("emulator")
}

/// What is downloaded for the peers of the live tests and built of them; `tests/src/program.rs` looks there.
pub fn peers() -> PathBuf {
    root().join("target/peers")
}
