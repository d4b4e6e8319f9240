//! Whether these tests can run here at all.

/// `true` if the process may make namespaces and load kernel programs.
///
/// Otherwise says loudly that the test was skipped; where `CI=true` a skip would hide that nothing was
/// proven, so there it fails.
///
/// # Panics
/// Without root where `CI=true`.
#[must_use]
#[track_caller]
pub fn ready() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "live tests need root, and CI may not skip them");
    eprintln!("SKIPPED {}: live tests need root", std::panic::Location::caller());
    false
}
