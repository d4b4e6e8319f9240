//! The process table over fixtures and over real processes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::process::NANOSECONDS_PER_TICK;
use super::*;
use crate::event::{Event, ProcessKey, Task, Timestamp};
use crate::record::ExecutableChange;

const CLOCK: WallClock = WallClock { wall_minus_boot: 1_700_000_000_000_000_000 };
const SECOND: u64 = 1_000_000_000;
const NOW: Timestamp = Timestamp(1_000 * SECOND);

/// A `/proc` and a cgroup tree of our own.
struct Fixture {
    root: PathBuf,
}

impl Fixture {
    fn new() -> Fixture {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("countersign-identity-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let root = std::env::temp_dir().join(name);
        std::fs::create_dir_all(root.join("proc")).unwrap();
        std::fs::create_dir_all(root.join("cgroup")).unwrap();
        Fixture { root }
    }

    fn process(&self, pid: u32, ticks: u64, comm: &str, executable: &str, cgroup: &str) {
        let folder = self.root.join("proc").join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let stat = format!("{pid} ({comm}) S 1 1 1 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 {ticks} 1 1\n");
        std::fs::write(folder.join("stat"), stat).unwrap();
        std::fs::write(folder.join("status"), "Name:\tx\nUid:\t33\t33\t33\t33\n").unwrap();
        std::fs::write(folder.join("cgroup"), format!("0::{cgroup}\n")).unwrap();
        let _ = std::fs::remove_file(folder.join("exe"));
        std::os::unix::fs::symlink(executable, folder.join("exe")).unwrap();
    }

    fn gone(&self, pid: u32) {
        std::fs::remove_dir_all(self.root.join("proc").join(pid.to_string())).unwrap();
    }

    /// Replaces its parent and session.
    fn family(&self, pid: u32, ticks: u64, comm: &str, (parent, session): (u32, u32)) {
        let stat = format!(
            "{pid} ({comm}) S {parent} 1 {session} 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 {ticks} 1 1\n"
        );
        std::fs::write(self.root.join("proc").join(pid.to_string()).join("stat"), stat).unwrap();
    }

    fn table(&self, max_processes: usize) -> ProcessTable {
        let mount = self.root.join("cgroup");
        let roots = Roots {
            proc: self.root.join("proc"),
            hierarchies: Hierarchies::parse(&format!(
                "1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n",
                mount.display()
            )),
            host: self.root.join("host"),
            administrator: nix::unistd::geteuid().as_raw(),
        };
        ProcessTable::with_roots(
            ProcessTableLimits { max_processes, keep_after_exit: Duration::from_secs(30) },
            CLOCK,
            &roots,
        )
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn key(pid: u32, ticks: u64) -> ProcessKey {
    ProcessKey { pid, start_time: ticks * NANOSECONDS_PER_TICK }
}

fn task(process: ProcessKey, comm: &[u8]) -> Task {
    let mut name = [0; 16];
    name[..comm.len()].copy_from_slice(comm);
    Task { process, thread: process.pid, uid: 0, cgroup: 0, comm: name, kernel_thread: false }
}

fn executed(task: Task, path: &'static str) -> Event {
    Event::ProcessExecuted { at: NOW, task, path: Bytes::from_static(path.as_bytes()) }
}

#[test]
fn a_service_is_named_by_unit_executable_and_user() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "nginx", "/usr/sbin/nginx", "/system.slice/nginx.service");
    let known = fixture.table(9).resolve(&task(key(70, 500), b"nginx"), NOW);
    assert_eq!(known.record.executable.as_deref(), Some("/usr/sbin/nginx"));
    assert_eq!((known.record.comm.as_str(), known.record.uid), ("nginx", 0));
    assert_eq!(known.record.user.as_deref(), Some("root"));
    assert_eq!(known.record.start_time, 500);
    assert_eq!(known.record.started, Some(CLOCK.wall(Timestamp(5 * SECOND))));
    let workload = known.workload.as_ref().unwrap();
    assert_eq!((&*workload.kind, workload.unit.as_deref()), ("systemd", Some("nginx.service")));
    assert_eq!(known.executable_unknown, None);
}

#[test]
fn outside_of_units_the_executable_is_the_workload() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "curl", "/usr/bin/curl", "/");
    let known = fixture.table(9).resolve(&task(key(70, 500), b"curl"), NOW);
    let workload = known.workload.as_ref().unwrap();
    assert_eq!((&*workload.kind, workload.name.as_str()), ("executable", "/usr/bin/curl"));
}

#[test]
fn a_reused_pid_is_never_taken_for_the_process_that_had_it() {
    let fixture = Fixture::new();
    fixture.process(70, 900, "impostor", "/tmp/impostor", "/");
    let mut table = fixture.table(9);
    let old = table.resolve(&task(key(70, 500), b"victim"), NOW);
    assert_eq!(old.record.executable, None);
    assert_eq!(old.executable_unknown, Some(ProcessUnknown::ExitedBeforeRead));
    assert_eq!(old.record.comm, "victim");
    let new = table.resolve(&task(key(70, 900), b"impostor"), NOW);
    assert_eq!(new.record.executable.as_deref(), Some("/tmp/impostor"));
    let exact = ProcessKey { start_time: 500 * NANOSECONDS_PER_TICK + 7, ..old.key };
    assert_eq!(
        table.resolve(&task(exact, b"victim"), NOW).key,
        old.key,
        "a start from /proc is rounded down"
    );
    let next = table.resolve(&task(key(70, 501), b"next"), NOW);
    assert_eq!((next.key, next.record.comm.as_str()), (key(70, 501), "next"));
    let same_tick = ProcessKey { start_time: exact.start_time + 1, ..exact };
    assert!(!same_tick.agrees(exact), "two exact starts are two processes");
}

#[test]
fn an_unknown_start_time_takes_that_of_proc() {
    let fixture = Fixture::new();
    fixture.process(70, 900, "curl", "/usr/bin/curl", "/");
    let mut table = fixture.table(9);
    let known = table.resolve(&task(ProcessKey { pid: 70, start_time: 0 }, b"curl"), NOW);
    assert_eq!(known.record.start_time, 900);
    assert_eq!(table.resolve(&task(key(70, 900), b"curl"), NOW).key, known.key);
}

#[test]
fn a_program_that_is_gone_before_it_is_read_keeps_the_name_it_was_started_by() {
    let fixture = Fixture::new();
    let mut table = fixture.table(9);
    let curl = task(key(70, 500), b"curl");
    table.observe(&executed(curl, "/usr/bin/curl"));
    let known = table.resolve(&curl, NOW);
    assert_eq!(known.record.executable.as_deref(), Some("/usr/bin/curl"));
    assert_eq!(known.executable_source, ExecutableSource::ExecPath);
    assert_eq!(known.executable_unknown, Some(ProcessUnknown::ExitedBeforeRead));
    let script = task(key(71, 500), b"run");
    table.observe(&executed(script, "./run"));
    assert_eq!(table.resolve(&script, NOW).executable_source, ExecutableSource::ExecRelativePath);
}

#[test]
fn no_file_is_read_after_the_first_sighting() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "curl", "/usr/bin/curl", "/system.slice/job.service");
    let mut table = fixture.table(9);
    let curl = task(key(70, 500), b"curl");
    let first = table.resolve(&curl, NOW);
    fixture.gone(70);
    assert_eq!(table.resolve(&curl, NOW), first);
    table.observe(&Event::ProcessExited { at: NOW, process: curl.process });
    assert_eq!(table.resolve(&curl, NOW), first, "its sockets are released after its exit");
}

#[test]
fn a_prefork_worker_that_never_execs_has_its_parents_program_and_its_own_user() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "nginx", "/usr/sbin/nginx", "/system.slice/nginx.service");
    let mut table = fixture.table(9);
    let (parent, child) = (key(70, 500), key(71, 600));
    table.observe(&Event::ProcessForked { at: NOW, parent, child });
    let grandchild = key(72, 700);
    table.observe(&Event::ProcessForked { at: NOW, parent: child, child: grandchild });
    for process in [child, grandchild] {
        let known = table.resolve(&Task { uid: 33, ..task(process, b"worker") }, NOW);
        assert_eq!(known.record.executable.as_deref(), Some("/usr/sbin/nginx"));
        assert_eq!(known.executable_source, ExecutableSource::Inherited);
        assert_eq!((known.record.pid, known.record.uid), (process.pid, 33));
        assert_eq!(known.record.comm, "worker");
        assert_eq!(known.workload.as_ref().unwrap().name, "nginx.service");
        assert_eq!(known.record.start_time * NANOSECONDS_PER_TICK, process.start_time);
    }
}

#[test]
fn the_name_of_a_thread_is_not_that_of_its_process() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "java", "/usr/bin/java", "/");
    let mut table = fixture.table(9);
    let thread = Task { thread: 99, ..task(key(70, 500), b"pool-1") };
    assert_eq!(table.resolve(&thread, NOW).record.comm, "java");
    assert_eq!(table.resolve(&task(key(70, 500), b"renamed"), NOW).record.comm, "renamed");
    assert_eq!(table.resolve(&thread, NOW).record.comm, "renamed");
}

#[test]
fn a_setuid_after_the_first_sighting_is_noticed() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "sshd", "/usr/sbin/sshd", "/");
    let mut table = fixture.table(9);
    let sshd = task(key(70, 500), b"sshd");
    assert_eq!(table.resolve(&sshd, NOW).record.uid, 0);
    let known = table.resolve(&Task { uid: 3_999_999_999, ..sshd }, NOW);
    assert_eq!((known.record.uid, known.record.user.as_deref()), (3_999_999_999, None));
}

#[test]
fn a_kernel_thread_is_a_workload_of_the_kernel() {
    let kworker = Task { kernel_thread: true, ..task(key(70, 500), b"kworker/0:1") };
    let known = Fixture::new().table(9).resolve(&kworker, NOW);
    assert!(known.kernel_thread);
    assert_eq!(known.executable_unknown, Some(ProcessUnknown::KernelThread));
    assert_eq!(known.workload.as_ref().unwrap().kind, "kernel");
}

#[test]
fn a_deleted_program_keeps_its_path_and_says_so() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "old", "/nowhere/old (deleted)", "/");
    let known = fixture.table(9).resolve(&task(key(70, 500), b"old"), NOW);
    assert_eq!(known.record.executable.as_deref(), Some("/nowhere/old"));
    assert_eq!(known.record.executable_changed, Some(ExecutableChange::Deleted));
    let named = fixture.root.join("x (deleted)");
    std::fs::write(&named, "").unwrap();
    fixture.process(71, 500, "x", named.to_str().unwrap(), "/");
    let known = fixture.table(9).resolve(&task(key(71, 500), b"x"), NOW);
    assert_eq!(known.record.executable.as_deref(), named.to_str());
    assert_eq!(known.record.executable_changed, None);
}

#[test]
fn hostile_names_are_kept_as_text() {
    let fixture = Fixture::new();
    let evil = task(key(70, 500), b"a\n\x1b[31m\xff");
    let mut table = fixture.table(9);
    table.observe(&Event::ProcessExecuted { at: NOW, task: evil, path: Bytes::from_static(b"/tmp/\xff\n") });
    let known = table.resolve(&evil, NOW);
    assert_eq!(known.record.comm, "a\n\u{1b}[31m\u{fffd}");
    assert_eq!(known.record.executable.as_deref(), Some("/tmp/\u{fffd}\n"));
}

#[test]
fn a_gone_process_is_placed_by_the_id_of_its_cgroup() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new();
    let folder = fixture.root.join("cgroup/system.slice/job.service");
    std::fs::create_dir_all(&folder).unwrap();
    let id = std::fs::metadata(&folder).unwrap().ino();
    let mut table = fixture.table(9);
    let known = table.resolve(&Task { cgroup: id, ..task(key(70, 500), b"curl") }, NOW);
    assert_eq!(known.workload.as_ref().unwrap().unit.as_deref(), Some("job.service"));
}

#[test]
fn a_process_that_was_moved_between_hook_and_look_does_not_name_its_former_cgroup() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new();
    for unit in ["containerd.service", "web.service"] {
        std::fs::create_dir_all(fixture.root.join("cgroup").join(unit)).unwrap();
    }
    let cgroup = std::fs::metadata(fixture.root.join("cgroup/containerd.service")).unwrap().ino();
    let mut table = fixture.table(9);
    fixture.process(70, 500, "runc", "/usr/bin/runc", "/web.service");
    table.observe(&executed(Task { cgroup, ..task(key(70, 500), b"runc") }, "/usr/bin/runc"));
    // It is gone before it is read: the id of its cgroup is all there is.
    let known = table.resolve(&Task { cgroup, ..task(key(71, 500), b"ctr") }, NOW);
    assert_eq!(known.workload.as_ref().unwrap().name, "containerd.service");
}

#[test]
fn a_parent_that_was_moved_after_it_was_met_is_placed_again() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "web", "/usr/bin/web", "/init.service");
    fixture.process(71, 600, "worker", "/usr/bin/web", "/init.service");
    fixture.family(71, 600, "worker", (70, 70));
    let mut table = fixture.table(9);
    table.resolve(&Task { cgroup: 7, ..task(key(71, 600), b"worker") }, NOW);
    fixture.process(70, 500, "web", "/usr/bin/web", "/web.service");
    let met = Task { cgroup: 8, ..task(key(70, 500), b"web") };
    assert_eq!(table.resolve(&met, NOW).workload.as_ref().unwrap().name, "web.service");
    let reads = table.reads();
    table.resolve(&met, NOW);
    assert_eq!(table.reads(), reads, "once");
}

#[test]
fn a_runtime_that_writes_late_names_processes_that_are_known_already() {
    let fixture = Fixture::new();
    let id = "4f1c0a6de2b97c3585d1e0f6a7b8c9d04f1c0a6de2b97c3585d1e0f6a7b8c9d0";
    fixture.process(70, 500, "web", "/usr/bin/web", &format!("/docker/{id}"));
    let mut table = fixture.table(9);
    let web = task(key(70, 500), b"web");
    assert_eq!(table.resolve(&web, NOW).workload.as_ref().unwrap().name, id[..12]);
    let folder = fixture.root.join("host/var/lib/docker/containers").join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let config = format!(r#"{{"ID":"{id}","Name":"/shop","Config":{{"Image":"nginx"}}}}"#);
    std::fs::write(folder.join("config.v2.json"), config).unwrap();
    table.sweep(Timestamp(NOW.0 + 11 * SECOND));
    assert_eq!(table.resolve(&web, NOW).workload.as_ref().unwrap().name, "shop");
}

#[test]
fn another_program_is_noticed_without_the_event_of_its_exec() {
    let fixture = Fixture::new();
    let program = |name: &str| {
        let path = fixture.root.join(name);
        std::fs::write(&path, "").unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (shell, curl) = (program("shell"), program("curl"));
    let of = |known: &KnownProcess| known.record.executable.clone().unwrap();
    let mut table = fixture.table(9);
    fixture.process(70, 500, "shell", &shell, "/");
    table.resolve(&task(key(70, 500), b"shell"), NOW);
    // A fork that has another name by now.
    table.observe(&Event::ProcessForked { at: NOW, parent: key(70, 500), child: key(71, 600) });
    fixture.process(71, 600, "curl", &curl, "/");
    let child = table.resolve(&task(key(71, 600), b"curl"), NOW);
    assert_eq!((of(&child), child.executable_source), (curl.clone(), ExecutableSource::Link));
    // The same name: the sweep sees the file.
    fixture.process(70, 500, "shell", &curl, "/");
    assert_eq!(of(&table.resolve(&task(key(70, 500), b"shell"), NOW)), shell);
    table.sweep(NOW);
    assert_eq!(of(&table.resolve(&task(key(70, 500), b"shell"), NOW)), curl);
}

#[test]
fn a_process_that_executes_from_a_thread_is_not_forgotten_with_its_leader() {
    let fixture = Fixture::new();
    fixture.process(70, 500, "java", "/usr/bin/java", "/");
    let mut table = fixture.table(2);
    let java = task(key(70, 500), b"java");
    table.resolve(&java, NOW);
    table.observe(&Event::ProcessExited { at: NOW, process: java.process });
    table.observe(&executed(java, "/usr/bin/java"));
    table.sweep(Timestamp(NOW.0 + 31 * SECOND));
    assert_eq!(table.sizes().entries, 1);
    for pid in [80, 81] {
        fixture.process(pid, 500, "x", "/bin/x", "/");
        table.resolve(&task(key(pid, 500), b"x"), NOW);
    }
    assert_eq!((table.sizes().evicted, table.sizes().refused), (0, 1), "it lives");
}

#[test]
fn the_tree_of_cgroups_is_not_walked_for_every_unknown_id() {
    use std::os::unix::fs::MetadataExt;
    let fixture = Fixture::new();
    let mut table = fixture.table(9);
    table.resolve(&Task { cgroup: 1, ..task(key(70, 500), b"a") }, NOW);
    let folder = fixture.root.join("cgroup/late.service");
    std::fs::create_dir_all(&folder).unwrap();
    let cgroup = std::fs::metadata(&folder).unwrap().ino();
    table.observe(&executed(Task { cgroup, ..task(key(71, 500), b"b") }, "/bin/b"));
    let soon = table.resolve(&Task { cgroup, ..task(key(71, 500), b"b") }, NOW);
    let workload = soon.workload.as_ref().unwrap();
    assert_eq!((workload.name.as_str(), workload.unknown.as_deref()), ("/bin/b", Some("cgroup_not_read")));
    let later = Timestamp(NOW.0 + 6 * SECOND);
    let known = table.resolve(&Task { cgroup, ..task(key(72, 500), b"c") }, later);
    assert_eq!(known.workload.as_ref().unwrap().name, "late.service");
}

#[test]
fn exited_processes_are_forgotten_in_time_and_the_bound_holds() {
    let fixture = Fixture::new();
    let mut table = fixture.table(3);
    for pid in 1..=3 {
        table.observe(&executed(task(key(pid, 500), b"x"), "/bin/x"));
    }
    table.observe(&executed(task(key(4, 500), b"x"), "/bin/x"));
    assert_eq!(table.sizes(), TableSize { entries: 3, bound: 3, evicted: 0, refused: 1 });
    let full = table.resolve(&task(key(5, 500), b"y"), NOW);
    assert_eq!(full.executable_unknown, Some(ProcessUnknown::TableFull));
    table.observe(&Event::ProcessExited { at: NOW, process: key(2, 500) });
    table.observe(&executed(task(key(6, 500), b"x"), "/bin/x"));
    assert_eq!(table.sizes().evicted, 1);
    // None of them is in /proc: the sweep notices, although no exit was reported.
    table.sweep(NOW);
    assert_eq!(table.sizes().entries, 3);
    table.sweep(Timestamp(NOW.0 + 31 * SECOND));
    assert_eq!(table.sizes().entries, 0);
}

#[test]
fn the_queues_of_a_host_that_forks_wildly_stay_bounded() {
    let fixture = Fixture::new();
    fixture.process(1, 1, "init", "/sbin/init", "/init.scope");
    let mut table = fixture.table(64);
    for number in 0..10_000_u32 {
        let child = key(100 + number % 300, 1_000 + u64::from(number));
        table.observe(&Event::ProcessForked { at: NOW, parent: key(1, 1), child });
        table.observe(&Event::ProcessExited { at: NOW, process: child });
    }
    assert!(table.sizes().entries <= 64);
    table.sweep(Timestamp(NOW.0 + 31 * SECOND));
    assert_eq!(table.sizes().entries, 1, "the parent lives");
}

/// Ends the process that the test started, whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The start time that the kernel would report, in nanoseconds.
fn real_key(pid: u32) -> ProcessKey {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let ticks = stat.rsplit_once(") ").unwrap().1.split(' ').nth(19).unwrap();
    key(pid, ticks.parse().unwrap())
}

fn real_table() -> ProcessTable {
    ProcessTable::new(ProcessTableLimits::default(), CLOCK)
}

fn sleeping() -> Running {
    let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    // spawn returns after execve; the new program's link is there.
    Running(child)
}

#[test]
fn a_real_process_is_resolved() {
    let child = sleeping();
    let pid = child.0.id();
    let known = real_table().resolve(&task(real_key(pid), b"sleep"), NOW);
    let executable = known.record.executable.clone().unwrap();
    assert!(executable.ends_with("/sleep") || executable.contains("coreutils"), "{executable}");
    assert_eq!(known.record.comm, "sleep");
    assert_eq!(known.executable_source, ExecutableSource::Link);
}

#[test]
fn a_real_process_with_a_wrong_start_time_is_another_one() {
    let child = sleeping();
    let mut process = real_key(child.0.id());
    process.start_time += 5 * NANOSECONDS_PER_TICK;
    let known = real_table().resolve(&task(process, b"sleep"), NOW);
    assert_eq!(known.record.executable, None);
    assert!(matches!(
        known.executable_unknown,
        Some(ProcessUnknown::ExitedBeforeRead | ProcessUnknown::OtherPidNamespace)
    ));
}

#[test]
fn a_real_process_that_came_and_went_is_named_and_then_forgotten() {
    let mut child = sleeping();
    let process = real_key(child.0.id());
    let sleep = task(process, b"sleep");
    let mut table = real_table();
    table.observe(&executed(sleep, "/usr/bin/sleep"));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let known = table.resolve(&sleep, NOW);
    assert!(known.record.executable.is_some());
    let living = known.record.parents.len();
    // The exit event was lost.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut now = NOW;
    while table.sizes().entries > living {
        assert!(Instant::now() < deadline, "an exited process is never forgotten");
        now = Timestamp(now.0 + 31 * SECOND);
        table.sweep(now);
    }
}

#[test]
fn parents_are_told_up_to_the_leader_of_the_session() {
    let fixture = Fixture::new();
    for (pid, comm, family) in [
        (1, "init", (0, 1)),
        (10, "sshd", (1, 10)),
        (20, "bash", (10, 20)),
        (30, "make", (20, 20)),
        (40, "curl", (30, 20)),
    ] {
        fixture.process(pid, 100 + u64::from(pid), comm, &format!("/bin/{comm}"), "/");
        fixture.family(pid, 100 + u64::from(pid), comm, family);
    }
    let mut table = fixture.table(9);
    let known = table.resolve(&task(key(40, 140), b"curl"), NOW);
    let parents: Vec<_> =
        known.record.parents.iter().map(|parent| (parent.pid, parent.comm.as_str())).collect();
    assert_eq!(parents, [(30, "make"), (20, "bash")]);
    assert_eq!(known.record.parents[0].executable.as_deref(), Some("/bin/make"));
    assert_eq!(known.record.parents[1].start_time, 120);
    assert_eq!(table.resolve(&task(key(20, 120), b"bash"), NOW).record.parents, [], "it leads its session");
    // A fork that never execs, of a fork that never execs; make and bash are over by now.
    table.observe(&Event::ProcessForked { at: NOW, parent: key(40, 140), child: key(41, 150) });
    table.observe(&Event::ProcessForked { at: NOW, parent: key(41, 150), child: key(42, 151) });
    fixture.gone(30);
    fixture.gone(20);
    let reads = table.reads();
    let known = table.resolve(&Task { cgroup: 7, ..task(key(42, 151), b"curl") }, NOW);
    let parents: Vec<_> = known.record.parents.iter().map(|parent| parent.pid).collect();
    assert_eq!(parents, [41, 40, 30, 20]);
    assert!(table.reads() - reads <= 1, "parents come from the table");
}

#[test]
fn a_family_without_end_is_not_followed() {
    let fixture = Fixture::new();
    for pid in 1..=60 {
        fixture.process(pid, u64::from(pid), "x", "/bin/x", "/");
        fixture.family(pid, u64::from(pid), "x", (pid - 1, 1));
    }
    // Two that call each other parent.
    fixture.process(70, 5, "x", "/bin/x", "/");
    fixture.family(70, 5, "x", (71, 1));
    fixture.process(71, 5, "x", "/bin/x", "/");
    fixture.family(71, 5, "x", (70, 1));
    let mut table = fixture.table(99);
    assert_eq!(table.resolve(&task(key(60, 60), b"x"), NOW).record.parents.len(), 16);
    assert!(table.resolve(&task(key(70, 5), b"x"), NOW).record.parents.len() <= 16);
}

#[test]
fn a_process_that_has_the_pid_of_a_parent_by_now_is_no_parent() {
    let fixture = Fixture::new();
    fixture.process(30, 900, "impostor", "/bin/impostor", "/");
    fixture.family(30, 900, "impostor", (1, 1));
    fixture.process(40, 500, "curl", "/bin/curl", "/");
    fixture.family(40, 500, "curl", (30, 20));
    assert_eq!(fixture.table(9).resolve(&task(key(40, 500), b"curl"), NOW).record.parents, []);
}

#[test]
fn a_process_of_a_container_is_told_with_its_pid_there() {
    let fixture = Fixture::new();
    fixture.process(40, 500, "app", "/app", "/");
    let folder = fixture.root.join("proc/40");
    std::fs::create_dir_all(folder.join("ns")).unwrap();
    std::os::unix::fs::symlink("pid:[4026532999]", folder.join("ns/pid")).unwrap();
    std::fs::write(folder.join("status"), "Name:\tapp\nNSpid:\t40\t7\nUid:\t0\n").unwrap();
    let mut table = fixture.table(9);
    let known = table.resolve(&task(key(40, 500), b"app"), NOW);
    assert_eq!((known.record.pid_namespace, known.record.namespace_pid), (Some(4_026_532_999), Some(7)));
    // A worker of it that never execs.
    fixture.process(41, 600, "app", "/app", "/");
    std::fs::write(fixture.root.join("proc/41/status"), "NSpid:\t41\t8\n").unwrap();
    table.observe(&Event::ProcessForked { at: NOW, parent: key(40, 500), child: key(41, 600) });
    let known = table.resolve(&task(key(41, 600), b"app"), NOW);
    assert_eq!((known.record.pid_namespace, known.record.namespace_pid), (Some(4_026_532_999), Some(8)));
}

#[test]
fn a_path_of_another_mount_namespace_says_so() {
    let fixture = Fixture::new();
    let mounts = |pid: u32, inode: u64| {
        let folder = fixture.root.join(format!("proc/{pid}/ns"));
        std::fs::create_dir_all(&folder).unwrap();
        std::os::unix::fs::symlink(format!("mnt:[{inode}]"), folder.join("mnt")).unwrap();
    };
    fixture.process(1, 1, "init", "/sbin/init", "/");
    fixture.process(40, 500, "app", "/usr/sbin/nginx", "/");
    fixture.process(41, 500, "nginx", "/usr/sbin/nginx", "/");
    for (pid, inode) in [(1, 4_026_531_841), (40, 4_026_532_999), (41, 4_026_531_841)] {
        mounts(pid, inode);
    }
    let mut table = fixture.table(9);
    for (pid, expected) in [(40, Some(4_026_532_999)), (41, None)] {
        let known = table.resolve(&task(key(pid, 500), b"app"), NOW);
        assert_eq!(known.record.mount_namespace, expected, "{pid}");
    }
}

/// A real process that runs a copy of `sleep` of its own.
fn copied() -> (Fixture, PathBuf, Running) {
    let fixture = Fixture::new();
    let path = fixture.root.join("copy");
    std::fs::copy("/bin/sleep", &path).unwrap();
    let child = Running(Command::new(&path).arg("60").stdin(Stdio::null()).spawn().unwrap());
    (fixture, path, child)
}

/// What a table says of the executable after it was changed, at the first sighting and later.
fn changed(change: impl Fn(&std::path::Path)) -> [Option<ExecutableChange>; 2] {
    let (_fixture, path, child) = copied();
    let sleep = task(real_key(child.0.id()), b"copy");
    let mut table = real_table();
    let before = table.resolve(&sleep, NOW);
    assert_eq!(before.record.executable.as_deref(), path.to_str());
    assert_eq!(before.record.executable_changed, None);
    assert_eq!(before.record.executable_inode.map(|inode| inode > 0), Some(true));
    change(&path);
    table.sweep(NOW);
    let later = table.resolve(&sleep, NOW).record.executable_changed;
    [real_table().resolve(&sleep, NOW).record.executable_changed, later]
}

#[test]
fn an_executable_that_is_deleted_or_replaced_while_it_runs_is_told() {
    let deleted = changed(|path| std::fs::remove_file(path).unwrap());
    assert_eq!(deleted, [Some(ExecutableChange::Deleted); 2]);
    let replaced = changed(|path| {
        let new = path.with_extension("new");
        std::fs::copy("/bin/sleep", &new).unwrap();
        std::fs::rename(new, path).unwrap();
    });
    assert_eq!(replaced, [Some(ExecutableChange::Replaced); 2]);
    // Moved away first: whoever comes later sees a program with another name.
    let moved = changed(|path| {
        std::fs::rename(path, path.with_extension("old")).unwrap();
        std::fs::copy("/bin/sleep", path).unwrap();
    });
    assert_eq!(moved, [None, Some(ExecutableChange::Replaced)]);
}

#[test]
fn ten_thousand_processes_a_minute_leave_no_wrong_name() {
    let fixture = Fixture::new();
    fixture.process(1, 1, "init", "/sbin/init", "/init.scope");
    let mut table = fixture.table(4096);
    for number in 0..10_000_u32 {
        // Pids come again after 300; each has a program of its own.
        let process = key(100 + number % 300, 1_000 + u64::from(number) * 2);
        let at = Timestamp(NOW.0 + u64::from(number) * 6_000_000);
        table.observe(&Event::ProcessForked { at, parent: key(1, 1), child: process });
        let path = format!("/bin/p{number}");
        let event = Event::ProcessExecuted { at, task: task(process, b"p"), path: Bytes::from(path.clone()) };
        table.observe(&event);
        table.observe(&Event::ProcessExited { at, process });
        if number % 170 == 0 {
            table.sweep(at);
        }
        let known = table.resolve(&task(process, b"p"), at);
        assert_eq!(
            (known.record.pid, known.record.executable.as_deref()),
            (process.pid, Some(path.as_str()))
        );
        assert_eq!(known.key, process);
    }
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let unknown: std::collections::BTreeSet<_> =
        WorkloadUnknown::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(unknown.len(), WorkloadUnknown::ALL.len());
    let names: std::collections::BTreeSet<_> =
        ProcessUnknown::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), ProcessUnknown::ALL.len());
}

#[test]
fn a_real_child_that_forks_without_exec_is_named_after_it_is_gone() {
    let parent = sleeping();
    let parent_key = real_key(parent.0.id());
    let mut table = real_table();
    // A pid beyond the kernel's largest (PID_MAX_LIMIT, 2^22) never exists.
    let child = key(5_000_000, parent_key.start_time / NANOSECONDS_PER_TICK);
    table.observe(&Event::ProcessForked { at: NOW, parent: parent_key, child });
    table.observe(&Event::ProcessExited { at: NOW, process: child });
    let known = table.resolve(&task(child, b"sleep"), NOW);
    assert!(known.record.executable.is_some());
    assert_eq!(known.executable_source, ExecutableSource::Inherited);
}
