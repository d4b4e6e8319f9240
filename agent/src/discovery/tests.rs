use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::files::{GRACE, MAX_REFUSALS, RETRY};
use super::*;

/// A made procfs: what its processes map are real files.
struct Proc(PathBuf);

impl Proc {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("countersign-discovery-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        Proc(folder)
    }

    fn maps(&self, pid: u32, files: &[&Path]) {
        let folder = self.0.join(pid.to_string());
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("map_files")).unwrap();
        let mut maps = String::new();
        for (number, file) in files.iter().enumerate() {
            let range = format!("{0:x}000-{0:x}fff", number + 1);
            maps.push_str(&format!("{range} r-xp 00000000 fe:00 {} {}\n", 100 + number, file.display()));
            symlink(file, folder.join("map_files").join(range)).unwrap();
        }
        fs::write(folder.join("maps"), maps).unwrap();
    }

    fn file(&self, name: &str, like: &Path) -> PathBuf {
        let path = self.0.join(name);
        fs::copy(like, &path).unwrap();
        path
    }
}

impl Drop for Proc {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The dynamic linker of this test: a file that can be probed, wherever the test runs.
fn linker() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let path = maps.lines().filter_map(|line| line.split_whitespace().nth(5));
    path.into_iter().find(|path| path.contains("/ld-")).map(PathBuf::from).unwrap()
}

/// What was ordered: `+` to probe, `-` to release.
fn look(discovery: &mut Discovery, pid: u32, now: Instant) -> String {
    let mut orders = String::new();
    discovery.look(pid, now, &mut |order| orders.push(sign(&order))).unwrap();
    orders
}

fn expire(discovery: &mut Discovery, now: Instant) -> String {
    let mut orders = String::new();
    discovery.expire(now, &mut |order| orders.push(sign(&order)));
    orders
}

fn sign(order: &Order) -> char {
    match order {
        Order::Probe { .. } => '+',
        Order::Release { .. } => '-',
    }
}

#[test]
fn a_file_is_probed_once_and_until_a_while_after_its_last_user() {
    let proc = Proc::new("once");
    let plain = proc.file("plain", Path::new("/proc/self/maps"));
    let linker = linker();
    proc.maps(7, &[&plain, &linker]);
    proc.maps(8, &[&linker]);
    let mut discovery = Discovery::new(&proc.0, 10);
    let now = Instant::now();
    assert_eq!(look(&mut discovery, 7, now), "+");
    assert_eq!(look(&mut discovery, 7, now), "");
    assert_eq!(look(&mut discovery, 8, now), "");
    assert_eq!(discovery.examined(), 2);
    discovery.gone(7, now);
    assert_eq!(expire(&mut discovery, now + 2 * GRACE), "", "8 still uses it");
    // It has unmapped it.
    proc.maps(8, &[&plain]);
    look(&mut discovery, 8, now);
    assert_eq!(expire(&mut discovery, now + GRACE - Duration::from_secs(1)), "");
    assert_eq!(expire(&mut discovery, now + GRACE), "-");
    proc.maps(9, &[&linker]);
    assert_eq!(look(&mut discovery, 9, now + GRACE), "+", "it came back");
}

#[test]
fn files_of_one_name_and_files_that_were_replaced_are_told_apart() {
    let proc = Proc::new("replaced");
    let (one, other) = (proc.file("one", &linker()), proc.file("other", &linker()));
    proc.maps(7, &[&one]);
    proc.maps(8, &[&other]);
    let mut discovery = Discovery::new(&proc.0, 10);
    let now = Instant::now();
    assert_eq!(look(&mut discovery, 7, now), "+");
    assert_eq!(look(&mut discovery, 8, now), "+");
    // An upgrade puts a new file in the place of the old one, whose inode its probes keep from being given away.
    let _probed = fs::File::open(&one).unwrap();
    fs::remove_file(&one).unwrap();
    proc.file("one", &linker());
    assert_eq!(look(&mut discovery, 7, now), "+");
}

#[test]
fn no_more_files_are_probed_than_may_be() {
    let proc = Proc::new("bound");
    let files: Vec<PathBuf> = (0..4).map(|number| proc.file(&format!("file{number}"), &linker())).collect();
    proc.maps(7, &files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    // Files of others than root have a quarter.
    let room = if nix::unistd::Uid::effective().is_root() { 3 } else { 12 };
    let mut discovery = Discovery::new(&proc.0, room);
    assert_eq!(look(&mut discovery, 7, Instant::now()), "+++");
    assert_eq!(discovery.probed_files(), 3);
}

#[test]
fn a_sweep_finds_all_and_forgets_who_is_gone() {
    let proc = Proc::new("sweep");
    let linker = linker();
    proc.maps(7, &[&linker]);
    let mut discovery = Discovery::new(&proc.0, 10);
    let now = Instant::now();
    let mut orders = String::new();
    let mut sweep = |discovery: &mut Discovery, now| {
        let mut order = |order| orders.push(sign(&order));
        let mut living = discovery.processes().unwrap();
        living.retain(|pid| discovery.look(*pid, now, &mut order).is_ok());
        discovery.keep(&living, now, &mut order);
    };
    sweep(&mut discovery, now);
    fs::remove_dir_all(proc.0.join("7")).unwrap();
    sweep(&mut discovery, now);
    sweep(&mut discovery, now + GRACE);
    assert_eq!(orders, "+-");
    assert!(discovery.look(7, now, &mut |_| {}).is_err());
}

#[test]
fn a_process_announces_its_libraries_once_its_linker_is_probed() {
    let proc = Proc::new("announces");
    let linker = linker();
    proc.maps(7, &[&linker]);
    let mut discovery = Discovery::new(&proc.0, 10);
    let now = Instant::now();
    let mut key = None;
    let first = discovery.look(7, now, &mut |order| {
        if let Order::Probe { key: of, .. } = order {
            key = Some(of);
        }
    });
    assert_eq!(first.unwrap(), Look { announces: false, links: true });
    discovery.probed(key.unwrap(), ProbeOutcome::Whole, now);
    assert_eq!(discovery.look(7, now, &mut |_| {}).unwrap(), Look { announces: true, links: true });
}

#[test]
fn a_file_that_found_no_room_is_probed_when_there_is_some() {
    let proc = Proc::new("room");
    let (one, other) = (proc.file("one", &linker()), proc.file("other", &linker()));
    proc.maps(7, &[&one]);
    proc.maps(8, &[&other]);
    let mut discovery = Discovery::new(&proc.0, 1);
    let now = Instant::now();
    assert_eq!(look(&mut discovery, 7, now), "+");
    assert_eq!(look(&mut discovery, 8, now), "");
    // Its place is wanted before its time is over.
    discovery.gone(7, now);
    proc.maps(9, &[&proc.file("third", &linker())]);
    assert_eq!(look(&mut discovery, 9, now), "-+");
    discovery.gone(9, now);
    assert_eq!(expire(&mut discovery, now + GRACE), "-");
    assert_eq!(look(&mut discovery, 8, now + GRACE), "+");
}

#[test]
fn a_change_of_attributes_makes_no_new_file_of_one_that_is_probed() {
    use std::os::unix::fs::PermissionsExt as _;
    let proc = Proc::new("attributes");
    let file = proc.file("file", &linker());
    proc.maps(7, &[&file]);
    let mut discovery = Discovery::new(&proc.0, 10);
    let now = Instant::now();
    assert_eq!(look(&mut discovery, 7, now), "+");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(look(&mut discovery, 7, now), "");
}

#[test]
fn files_of_others_than_root_take_a_quarter_of_the_room() {
    if !nix::unistd::Uid::effective().is_root() {
        eprintln!("skipped: only root can give files away");
        return;
    }
    let proc = Proc::new("others");
    let files: Vec<PathBuf> = (0..3).map(|number| proc.file(&format!("file{number}"), &linker())).collect();
    for file in &files {
        std::os::unix::fs::chown(file, Some(65_534), None).unwrap();
    }
    proc.maps(7, &files.iter().map(PathBuf::as_path).collect::<Vec<_>>());
    let mut discovery = Discovery::new(&proc.0, 8);
    assert_eq!(look(&mut discovery, 7, Instant::now()), "++");
    let own = proc.file("own", &linker());
    proc.maps(8, &[&own]);
    assert_eq!(look(&mut discovery, 8, Instant::now()), "+");
}

#[test]
fn what_was_refused_for_now_is_tried_again_ever_more_rarely_and_then_given_up() {
    let proc = Proc::new("again");
    proc.maps(7, &[&linker()]);
    let mut discovery = Discovery::new(&proc.0, 10);
    let mut now = Instant::now();
    let mut tried = 0;
    let mut refused = |discovery: &mut Discovery, now| {
        let mut key = None;
        let mut take = |order| {
            if let Order::Probe { key: of, last, .. } = order {
                key = Some(of);
                assert_eq!(last, tried + 1 == MAX_REFUSALS);
            }
        };
        discovery.look(7, now, &mut take).unwrap();
        if let Some(key) = key {
            discovery.probed(key, ProbeOutcome::Later("no memory".to_owned()), now);
            tried += 1;
        }
        tried
    };
    let mut pause = RETRY;
    for attempt in 1..=MAX_REFUSALS {
        assert_eq!(refused(&mut discovery, now), attempt);
        assert_eq!(refused(&mut discovery, now + pause - Duration::from_secs(1)), attempt, "too early");
        assert_eq!(discovery.probed_files(), 0);
        now += pause;
        pause *= 2;
    }
    assert_eq!(refused(&mut discovery, now + 10 * pause), MAX_REFUSALS, "it is given up");
    assert_eq!(discovery.rows().len(), 0, "the linker is no library");
    // Whoever comes when there is enough of it is probed for good.
    let mut other = Discovery::new(&proc.0, 10);
    let now = Instant::now();
    let mut key = None;
    for (at, outcome) in
        [(now, ProbeOutcome::Later("no memory".to_owned())), (now + RETRY, ProbeOutcome::Whole)]
    {
        let mut take = |order| {
            if let Order::Probe { key: of, .. } = order {
                key = Some(of);
            }
        };
        other.look(7, at, &mut take).unwrap();
        other.probed(key.take().unwrap(), outcome, at);
    }
    assert_eq!(other.probed_files(), 1);
    assert_eq!(look(&mut other, 7, now + 10 * RETRY), "");
}
