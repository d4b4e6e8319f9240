//! What a source finds at its start, counts, and leaves behind.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use super::{super::*, PATIENCE, Pair, both_copies, collect, cookie_of, established_of, segments_of, source};
use crate::event::{Role, Travel};

#[test]
fn a_connection_older_than_the_agent_is_found_with_its_holder() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let Some(mut source) = source(&both_copies()) else { return };
    let found = source.existing().unwrap();
    for (stream, role) in [(&client, None), (&server, Some(Role::Server))] {
        let existing = found.events.iter().find(|existing| existing.socket == cookie_of(stream)).unwrap();
        assert_eq!(existing.role, role);
        assert_eq!(existing.pair.local, stream.local_addr().unwrap());
        assert_eq!(existing.pair.remote, stream.peer_addr().unwrap());
        let owner = existing.owner.unwrap();
        assert_eq!(owner.process.pid, std::process::id());
        assert_ne!((owner.process.start_time, existing.netns.0), (0, 0));
        assert_eq!(owner.uid, nix::unistd::getuid().as_raw());
    }
    let heard = found.listeners.iter().find(|seen| seen.local == listener.local_addr().unwrap()).unwrap();
    assert_eq!(heard.owner.process.pid, std::process::id());

    // Its packets are of no use and ship nothing; a newer connection marks the end of the waiting.
    client.write_all(b"old").unwrap();
    server.read_exact(&mut [0; 3]).unwrap();
    let newer = Pair::new(Ipv4Addr::LOCALHOST);
    let marker = newer.cookies()[0];
    let events = collect(&mut source, |events| established_of(events, marker).is_some());
    assert!(segments_of(&events, cookie_of(&client), Travel::Sent).is_empty());
}

#[test]
fn a_process_is_told_from_fork_to_exit() {
    let Some(mut source) = source(&both_copies()) else { return };
    let mut child = std::process::Command::new("/bin/true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let events = collect(&mut source, |events| {
        events.iter().any(|event| matches!(event, Event::ProcessExited { process, .. } if process.pid == pid))
    });
    let forked = events.iter().find_map(|event| match event {
        Event::ProcessForked { parent, child, .. } if child.pid == pid => Some((*parent, *child)),
        _ => None,
    });
    let (parent, child) = forked.unwrap();
    assert_eq!(parent.pid, std::process::id());
    let executed = events.iter().find_map(|event| match event {
        Event::ProcessExecuted { task, path, .. } if task.process == child => Some((*task, path.clone())),
        _ => None,
    });
    let (task, path) = executed.unwrap();
    assert_eq!(path, b"/bin/true".as_slice());
    assert_eq!(task.comm, *b"true\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn a_full_ring_is_counted() {
    let Some(mut source) = source(&KernelOptions { ring_bytes: 65_536, ..both_copies() }) else {
        return;
    };
    let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
    let [client, server] = pair.cookies();
    let budget = Decision::Budget { sent: 1 << 20, received: 1 << 20 };
    source.decide(client, budget).unwrap();
    source.decide(server, budget).unwrap();
    for _ in 0..40 {
        pair.client.write_all(&[1; 4096]).unwrap();
        pair.server.read_exact(&mut [0; 4096]).unwrap();
    }
    assert_ne!(source.losses().ring_full, 0);
    // The source goes on afterwards.
    source.drain(usize::MAX, &mut |_| {});
    let newer = Pair::new(Ipv4Addr::LOCALHOST);
    let marker = newer.cookies()[0];
    collect(&mut source, |events| established_of(events, marker).is_some());
}

#[test]
fn dropping_the_source_detaches_everything() {
    let Some(source) = source(&both_copies()) else { return };
    // Those of libraries are loaded with the first probe.
    let ids: Vec<u32> = {
        let ebpf = source.ebpf.lock().unwrap();
        let loaded = ebpf.programs().filter_map(|(_, program)| program.info().ok());
        loaded.map(|information| information.id()).collect()
    };
    assert_eq!(ids.len(), 12);
    drop(source);
    let deadline = Instant::now() + PATIENCE;
    // The kernel frees programs a moment after their last user.
    while aya::programs::loaded_programs().flatten().any(|program| ids.contains(&program.id())) {
        assert!(Instant::now() < deadline, "still loaded");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_ring_of_an_odd_size_is_refused_with_a_reason() {
    let refused = KernelSource::start(&KernelOptions { ring_bytes: 100_000, ..both_copies() });
    assert!(matches!(refused.err(), Some(KernelError::RingSize { bytes: 100_000 })));
}

#[test]
fn an_ipv4_address_is_not_shown_as_mapped() {
    let record = countersign_common::PairRecord {
        local: [0, 0, u32::from_be(0xffff), u32::from_ne_bytes([127, 0, 0, 1])],
        remote: [0, 0, 0, u32::from_be(1)],
        local_port: 1,
        remote_port: 2,
        family: countersign_common::family::INET6,
    };
    let pair = decode::pair_of(&record).unwrap();
    assert_eq!(pair.local, SocketAddr::from(([127, 0, 0, 1], 1)));
    assert_eq!(pair.remote, SocketAddr::from((Ipv6Addr::LOCALHOST, 2)));
}

#[test]
fn the_preflight_agrees_with_the_start() {
    let Some(_source) = source(&both_copies()) else { return };
    let checks = preflight(&KernelOptions::default());
    let missing: Vec<_> = checks.iter().filter(|check| check.status == CheckStatus::Missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for program in [
        "connect4",
        "ingress",
        "task_file",
        "older sockets",
        "sched_process_exec",
        "library probes",
        "sock_recv_length",
    ] {
        assert!(checks.iter().any(|check| check.name == program && check.status == CheckStatus::Works));
    }
}

#[test]
fn the_preflight_says_what_to_do_without_a_cgroup() {
    let options = KernelOptions { cgroup_root: Some("/nowhere".into()), ..Default::default() };
    let checks = preflight(&options);
    let cgroup = checks.iter().find(|check| check.name == "cgroup v2").unwrap();
    assert_eq!(cgroup.status, CheckStatus::Missing);
    assert!(cgroup.remedy.is_some());
}
