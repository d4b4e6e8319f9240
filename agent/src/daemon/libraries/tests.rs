use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::stat::Mode;

use super::*;
use crate::kernel::{KernelError, KernelOptions, KernelSource, has_rights};
use crate::library::Hook;

fn refused(transient: bool) -> RefusedPoint {
    let point = Point { hook: Hook::OpenSslPeer, offset: 16 };
    let hook = "libcrypto at 0x10".to_owned();
    let error = KernelError::Attach { program: "d2i_x509", hook, reason: "no memory".to_owned(), transient };
    RefusedPoint { point, error }
}

#[test]
fn at_the_last_attempt_what_attached_is_kept() {
    assert_eq!(outcome(3, &[], false), ProbeOutcome::Whole);
    assert!(matches!(outcome(3, &[refused(true)], false), ProbeOutcome::Later(_)));
    assert!(
        matches!(outcome(3, &[refused(true)], true), ProbeOutcome::Part(reason) if reason.contains("no memory"))
    );
    assert!(matches!(outcome(0, &[refused(true)], true), ProbeOutcome::None(_)));
    assert!(matches!(outcome(3, &[refused(false)], false), ProbeOutcome::Part(_)));
}

/// A folder like `/proc` of two processes. The `maps` of the second one are a pipe, which holds a sweep up.
struct TwoProcesses(PathBuf);

impl TwoProcesses {
    fn new(mapped: &Path) -> Self {
        let proc = std::env::temp_dir().join(format!("countersign-first-sweep-{}", std::process::id()));
        let (first, second) = (proc.join("7"), proc.join("8"));
        fs::create_dir_all(first.join("map_files")).unwrap();
        fs::create_dir_all(&second).unwrap();
        symlink(mapped, first.join("map_files/1000-1fff")).unwrap();
        let line = format!("1000-1fff r-xp 00000000 fe:00 100 {}\n", mapped.display());
        fs::write(first.join("maps"), line).unwrap();
        nix::unistd::mkfifo(&second.join("maps"), Mode::S_IRWXU).unwrap();
        TwoProcesses(proc)
    }
}

impl Drop for TwoProcesses {
    fn drop(&mut self) {
        // What stays behind is a few bytes in a temporary folder.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[test]
fn what_the_first_sweep_has_found_is_seen_before_it_is_over() {
    let root = nix::unistd::geteuid().is_root();
    let output = Command::new("ldd").arg("/usr/bin/openssl").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let library = text.split_whitespace().find(|word| word.starts_with('/') && word.contains("libcrypto"));
    let (true, Some(library)) = (root, library) else {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this test needs root and OpenSSL");
        eprintln!("skipped: needs root and OpenSSL");
        return;
    };
    let proc = TwoProcesses::new(Path::new(library));
    let source = KernelSource::start(&KernelOptions::default()).unwrap();
    let (watch, notices) = Watch::start(&proc.0, 10, source.prober(), Metrics::new("6.18")).unwrap();
    notices.begin();
    let deadline = Instant::now() + Duration::from_secs(30);
    while watch.rows.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "nothing is seen");
        std::thread::sleep(Duration::from_millis(5));
    }
    let path = watch.rows.lock().unwrap()[0].path.clone();
    // The sweep goes on once the pipe has a writer, and finds that it is over.
    drop(File::options().write(true).open(proc.0.join("8/maps")).unwrap());
    watch.end();
    watch.join();
    assert_eq!(path, library);
}

#[test]
fn a_file_of_which_nothing_can_be_probed_keeps_nothing_attached() {
    if !has_rights() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this test needs root");
        eprintln!("skipped: needs root");
        return;
    }
    let source = KernelSource::start(&KernelOptions::default()).unwrap();
    let (detaching, detached) = channel();
    let ending = Arc::new(AtomicBool::new(false));
    let mut probes =
        Probes { prober: source.prober(), attached: FxHashMap::default(), detaching, lacking: 0, ending };
    let file = File::open("/proc/self/exe").unwrap();
    let metadata = file.metadata().unwrap();
    let key = FileKey::of(&metadata);
    let beyond = Point { hook: Hook::OpenSslPeer, offset: 1 << 40 };
    let outcome = probes.probe(key, &file, &[beyond], false);
    assert!(matches!(outcome, ProbeOutcome::None(_)), "{outcome:?}");
    assert!(probes.attached.is_empty());
    assert_eq!(detached.try_recv().map(|probed| probed.attached()), Ok(0));
}

#[test]
fn what_is_refused_because_the_agent_ends_is_not_said_to_be_refused() {
    if !has_rights() {
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "this test needs root");
        eprintln!("skipped: needs root");
        return;
    }
    let source = KernelSource::start(&KernelOptions::default()).unwrap();
    let (detaching, _detached) = channel();
    let ending = Arc::new(AtomicBool::new(true));
    let mut probes =
        Probes { prober: source.prober(), attached: FxHashMap::default(), detaching, lacking: 0, ending };
    // The maps of its programs go with it.
    drop(source);
    let file = File::open("/proc/self/exe").unwrap();
    let key = FileKey::of(&file.metadata().unwrap());
    let point = Point { hook: Hook::OpenSslPeer, offset: 4096 };
    let outcome = probes.probe(key, &file, &[point], false);
    assert!(matches!(&outcome, ProbeOutcome::Later(reason) if reason == "the agent ends"), "{outcome:?}");
    assert!(probes.attached.is_empty());
}
