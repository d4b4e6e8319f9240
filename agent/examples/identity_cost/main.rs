//! What it costs to know who is who: synthetic connections of processes in 2,000 containers, each with a certificate, from
//! the events to what is said of both ends. `cargo xtask bench identity` runs it and judges; it prints one line of JSON.
//!
//! `/proc`, cgroups and the state of containerd are files of its own, so that it needs no rights and always has the same
//! to read; what the real `/proc` costs is measured beside that.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

mod belonging;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use countersign::event::{
    AddressPair, Connect, Event, NetworkNamespace, PeerAsked, ProcessKey, SocketCookie, Task, Timestamp,
};
use countersign::identity::{Hierarchies, ProcessTable, ProcessTableLimits, Roots, WallClock};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde_json::json;

use belonging::{Said, certificate};
use countersign::connection::Fingerprint;
use countersign::record::{CertificateRecord, WallTime};

/// Containers, each with one process that stays.
const WORKLOADS: u32 = 2_000;
/// Connections of a second.
const RATE: u64 = 10_000;
/// Seconds of each phase.
const SECONDS: u64 = 12;
/// Processes that come, make a connection and go in a second: 10,000 in a minute.
const SHORT_LIVED: u64 = 167;
/// Looks at the real `/proc`.
const REAL_LOOKS: u32 = 2_000;
const SECOND: u64 = 1_000_000_000;
/// Nanoseconds of a tick of `/proc/PID/stat`.
const TICK: u64 = 10_000_000;

fn main() -> Result<()> {
    let host = Host::make(std::env::temp_dir().join(format!("countersign-identity-{}", std::process::id())))?;
    let mut table = host.table();
    let first = processor(|| host.long_lived().for_each(|task| drop(table.resolve(&task, Timestamp(0)))));
    let certificates = (0..WORKLOADS).map(certificate).collect();
    let said = Said::new()?;
    let mut load =
        Load { host: &host, table, said, certificates, now: Timestamp(SECOND), next: 0, sweeps: 0 };
    let reads = load.table.reads();
    let steady = processor(|| load.run(0));
    let (steady_reads, sweeps) = (load.table.reads() - reads - load.sweeps, load.sweeps);
    let mixed = processor(|| load.run(SHORT_LIVED));
    let mixed_reads = load.table.reads() - reads - steady_reads - load.sweeps;
    let connections = (RATE * SECONDS) as f64;
    let (processes, cgroups) = (load.table.sizes(), load.table.cgroup_sizes());
    ensure!(cgroups.entries == WORKLOADS as usize, "{} cgroups are known", cgroups.entries);
    let (is_right, workloads, presented) = load.said.result();
    ensure!(is_right, "the last connection has no owner, or its certificates do not fit");
    ensure!(
        (workloads, presented) == (WORKLOADS as usize, WORKLOADS as usize),
        "{workloads} and {presented} are listed"
    );
    println!(
        "{}",
        json!({
            "workloads": WORKLOADS,
            "connections": RATE * SECONDS,
            "steady_microseconds": steady / connections,
            "steady_reads": steady_reads,
            "sweep_reads_a_second": sweeps / SECONDS,
            "mixed_microseconds": mixed / connections,
            "mixed_processes": SHORT_LIVED * SECONDS,
            "mixed_reads": mixed_reads,
            "first_sighting_microseconds": first / f64::from(WORKLOADS),
            "real_exec_microseconds": real_exec(),
            "processes": processes.entries,
            "processes_bound": processes.bound,
            "cgroups": cgroups.entries,
            "cgroups_bound": cgroups.bound,
        })
    );
    Ok(())
}

/// Microseconds of processor time of this process.
fn processor(work: impl FnOnce()) -> f64 {
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF);
        usage.map_or(0, |usage| usage.user_time().num_microseconds() + usage.system_time().num_microseconds())
    };
    let before = spent();
    work();
    (spent() - before) as f64
}

/// What an exec costs where the process is in the real `/proc`.
fn real_exec() -> f64 {
    let clock = WallClock { wall_minus_boot: 0 };
    let mut table = ProcessTable::new(ProcessTableLimits::default(), clock);
    let process = ProcessKey { pid: std::process::id(), start_time: 0 };
    let event = Event::ProcessExecuted {
        at: Timestamp(0),
        task: task(process, 0),
        path: Bytes::from_static(b"/bin/example"),
    };
    table.observe(&event);
    processor(|| (0..REAL_LOOKS).for_each(|_| table.observe(&event))) / f64::from(REAL_LOOKS)
}

fn task(process: ProcessKey, cgroup: u64) -> Task {
    let mut comm = [0; 16];
    comm[..3].copy_from_slice(b"app");
    Task { process, thread: process.pid, uid: 0, cgroup, comm, kernel_thread: false }
}

/// A host with containers of containerd.
struct Host {
    root: PathBuf,
    cgroups: Vec<u64>,
}

impl Host {
    fn make(root: PathBuf) -> Result<Host> {
        let mut host = Host { root, cgroups: Vec::new() };
        for number in 0..WORKLOADS {
            host.container(number)?;
            host.process(Host::long_lived_key(number), number)?;
        }
        for number in 0..(SHORT_LIVED * SECONDS) as u32 {
            host.process(Host::short_lived_key(number), number % WORKLOADS)?;
        }
        Ok(host)
    }

    fn long_lived_key(number: u32) -> ProcessKey {
        ProcessKey { pid: 1_000 + number, start_time: u64::from(1_000 + number) * TICK }
    }

    fn short_lived_key(number: u32) -> ProcessKey {
        Host::long_lived_key(WORKLOADS + number)
    }

    fn id(number: u32) -> String {
        format!("{number:064x}")
    }

    fn pod(number: u32) -> String {
        format!("{number:08x}-0000-4000-8000-000000000000")
    }

    fn path(number: u32) -> String {
        format!("kubepods/burstable/pod{}/{}", Host::pod(number), Host::id(number))
    }

    fn container(&mut self, number: u32) -> Result<()> {
        let folder = self.root.join("cgroup").join(Host::path(number));
        fs::create_dir_all(&folder)?;
        self.cgroups.push(fs::metadata(&folder)?.ino());
        let bundle =
            self.root.join("run/containerd/io.containerd.runtime.v2.task/k8s.io").join(Host::id(number));
        fs::create_dir_all(&bundle)?;
        // As long as a usual one.
        let environment: Vec<String> =
            (0..200).map(|index| format!("VARIABLE_{index}={}", "x".repeat(60))).collect();
        let config = json!({
            "process": {"env": environment},
            "annotations": {
                "io.kubernetes.cri.container-name": "app",
                "io.kubernetes.cri.image-name": "registry.example/app:1",
                "io.kubernetes.cri.sandbox-namespace": "prod",
                "io.kubernetes.cri.sandbox-name": format!("app-{number}"),
                "io.kubernetes.cri.sandbox-uid": Host::pod(number),
            },
        });
        Ok(fs::write(bundle.join("config.json"), config.to_string())?)
    }

    fn process(&self, key: ProcessKey, workload: u32) -> Result<()> {
        let folder = self.root.join("proc").join(key.pid.to_string());
        fs::create_dir_all(folder.join("ns"))?;
        let (pid, ticks) = (key.pid, key.start_time / TICK);
        fs::write(
            folder.join("stat"),
            format!("{pid} (app) S 1 {pid} {pid} 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 {ticks} 1 1\n"),
        )?;
        fs::write(folder.join("cgroup"), format!("0::/{}\n", Host::path(workload)))?;
        fs::write(folder.join("status"), format!("Name:\tapp\nUid:\t0\t0\t0\t0\nNSpid:\t{pid}\t1\n"))?;
        symlink("/usr/bin/env", folder.join("exe"))?;
        Ok(symlink("pid:[4026532999]", folder.join("ns/pid"))?)
    }

    fn table(&self) -> ProcessTable {
        let mount = self.root.join("cgroup");
        let roots = Roots {
            proc: self.root.join("proc"),
            hierarchies: Hierarchies::parse(&format!(
                "1 1 0:1 / {} rw - cgroup2 cgroup2 rw\n",
                mount.display()
            )),
            host: self.root.clone(),
            administrator: nix::unistd::geteuid().as_raw(),
        };
        let limits =
            ProcessTableLimits { keep_after_exit: Duration::from_secs(5), ..ProcessTableLimits::default() };
        ProcessTable::with_roots(limits, WallClock { wall_minus_boot: 0 }, &roots)
    }

    fn long_lived(&self) -> impl Iterator<Item = Task> {
        (0..WORKLOADS).map(|number| self.task(number))
    }

    fn task(&self, number: u32) -> Task {
        task(Host::long_lived_key(number), self.cgroups[number as usize])
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        remove(&self.root);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = fs::remove_dir_all(folder) {
        println!("cannot remove {}: {error}", folder.display());
    }
}

/// Connections between the processes.
struct Load<'a> {
    host: &'a Host,
    table: ProcessTable,
    said: Said,
    /// By workload.
    certificates: Vec<(Arc<CertificateRecord>, Fingerprint)>,
    now: Timestamp,
    next: u32,
    /// Reads by sweeps, which look for exits that were lost and programs that were replaced.
    sweeps: u64,
}

impl Load<'_> {
    /// Runs a phase with so many short-lived processes in each second.
    fn run(&mut self, short_lived: u64) {
        for number in 0..RATE * SECONDS {
            self.now.0 += SECOND / RATE;
            let server = (number % u64::from(WORKLOADS)) as u32;
            if short_lived > 0 && number % (RATE / short_lived + 1) == 0 {
                let workload = self.next % WORKLOADS;
                let (key, cgroup) = self.fork_and_exec();
                self.connection((task(key, cgroup), workload), server);
                self.table.observe(&Event::ProcessExited { at: self.now, process: key });
            } else {
                let client = (number * 7 % u64::from(WORKLOADS)) as u32;
                self.connection((self.host.task(client), client), server);
            }
            if number % RATE == 0 {
                let before = self.table.reads();
                self.table.sweep(self.now);
                self.sweeps += self.table.reads() - before;
            }
        }
    }

    fn fork_and_exec(&mut self) -> (ProcessKey, u64) {
        let (key, workload) = (Host::short_lived_key(self.next), self.next % WORKLOADS);
        self.next += 1;
        let cgroup = self.host.cgroups[workload as usize];
        let parent = Host::long_lived_key(workload);
        self.table.observe(&Event::ProcessForked { at: self.now, parent, child: key });
        let path = Bytes::from_static(b"/usr/bin/env");
        self.table.observe(&Event::ProcessExecuted { at: self.now, task: task(key, cgroup), path });
        (key, cgroup)
    }

    /// What the daemon asks of the table for a connection with both ends here: twice when it begins, twice for each of its
    /// two records. Then what it says of the ends.
    fn connection(&mut self, (client, client_workload): (Task, u32), server_workload: u32) {
        let server = self.host.task(server_workload);
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (at, netns) = (self.now, NetworkNamespace(1));
        let connect = Connect { at, socket: SocketCookie(at.0), task: client, dialled: address(443), netns };
        let pair = AddressPair { local: address(443), remote: address(40_000) };
        let asked =
            PeerAsked { at, socket: SocketCookie(at.0 + 1), task: server, pair, netns, multipath: false };
        self.table.observe(&Event::Connect(connect));
        drop(self.table.resolve(&connect.task, at));
        self.table.observe(&Event::PeerAsked(asked));
        drop(self.table.resolve(&asked.task, at));
        drop((self.table.resolve(&client, at), self.table.resolve(&server, at)));
        let (client, server) = (self.table.resolve(&client, at), self.table.resolve(&server, at));
        let certificate = |workload: u32| &self.certificates[workload as usize];
        let ((client_leaf, client_print), (server_leaf, server_print)) =
            (certificate(client_workload), certificate(server_workload));
        let ends = [(&*client, client_leaf, *client_print), (&*server, server_leaf, *server_print)];
        self.said.connection(ends, WallTime(at.0.cast_signed()));
    }
}
