//! Both ways to the sockets that are open now, compared on this host.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use nix::{
    libc,
    sched::{CloneFlags, unshare},
    sys::resource::{Resource, getrlimit, setrlimit},
};

use super::{
    super::{existing, *},
    Pair, cookie_of, source,
};
use crate::{
    event::{AddressPair, Role},
    kernel::existing::files,
};

/// What both ways must say of a connected socket: where, its addresses, its role, its holder (to the hundredth of a second,
/// which is what `/proc` tells of a start).
type Seen = (u64, AddressPair, Option<Role>, Option<(u32, u64, u32, u64)>);

fn owner(task: crate::event::Task) -> (u32, u64, u32, u64) {
    (task.process.pid, task.process.start_time / 10_000_000, task.uid, task.cgroup)
}

fn connected(found: &ExistingSockets) -> BTreeMap<u64, Seen> {
    let seen = found.events.iter().map(|event| {
        let seen = (event.netns.0, event.pair, event.role, event.owner.map(owner));
        (event.socket.0, seen)
    });
    seen.collect()
}

fn listening(found: &ExistingSockets) -> BTreeMap<u64, Seen> {
    let seen = found.listeners.iter().map(|listener| {
        let pair = AddressPair { local: listener.local, remote: listener.local };
        (listener.socket.0, (listener.netns.0, pair, None, Some(owner(listener.owner))))
    });
    seen.collect()
}

fn by_files() -> ExistingSockets {
    files::read(Path::new("/proc")).unwrap()
}

/// Whether `/proc` shows this process what another one holds; a sandbox may have an init that nobody may look into.
fn is_readable(seen: &Seen) -> bool {
    seen.3.is_none_or(|(pid, ..)| std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok())
}

/// Ends with the test.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Another process that holds the socket, too.
fn second_holder(stream: &TcpStream) -> Holder {
    // A start in another hundredth of a second than the test's own.
    std::thread::sleep(Duration::from_millis(20));
    let stdin = std::os::fd::OwnedFd::from(stream.try_clone().unwrap());
    Holder(Command::new("sleep").arg("600").stdin(Stdio::from(stdin)).spawn().unwrap())
}

/// A pair in a network namespace in which no process is: only a descriptor leads to it.
fn elsewhere() -> (Pair, File) {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        (Pair::new(Ipv4Addr::LOCALHOST), File::open("/proc/thread-self/ns/net").unwrap())
    };
    std::thread::spawn(work).join().unwrap()
}

#[test]
fn proc_and_sock_diag_show_what_the_iterator_shows() {
    let Some(mut source) = source(&KernelOptions::default()) else { return };
    let dual = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let mapped = TcpStream::connect((Ipv4Addr::LOCALHOST, dual.local_addr().unwrap().port())).unwrap();
    let (accepted, _) = dual.accept().unwrap();
    let (four, six) = (Pair::new(Ipv4Addr::LOCALHOST), Pair::new(Ipv6Addr::LOCALHOST));
    let child = second_holder(&six.server);
    let (distant, _namespace) = elsewhere();

    let first = source.existing().unwrap();
    let found = by_files();
    let second = source.existing().unwrap();

    let own = |stream: &TcpStream| connected(&found).get(&cookie_of(stream).0).copied().unwrap();
    for stream in [&mapped, &accepted, &four.client, &four.server, &six.client, &distant.client] {
        let (_, pair, _, holder) = own(stream);
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        assert_eq!(pair.local, canonical(stream.local_addr().unwrap()));
        assert_eq!(pair.remote, canonical(stream.peer_addr().unwrap()));
        assert_eq!(holder.unwrap().0, std::process::id());
    }
    assert_eq!(own(&accepted).2, Some(Role::Server));
    assert_eq!(own(&six.server).3.unwrap().0, child.0.id(), "the youngest holder");
    assert_eq!(own(&four.client).0, own_network_namespace().0);
    assert_ne!(own(&distant.client).0, own(&four.client).0);

    // And of the whole host: whatever did not change in between.
    let mut compared = 0;
    for sockets in [connected, listening] {
        let (first, found, second) = (sockets(&first), sockets(&found), sockets(&second));
        for (socket, seen) in first.iter().filter(|(socket, seen)| second.get(socket) == Some(seen)) {
            if is_readable(seen) {
                assert_eq!(found.get(socket), Some(seen), "socket {socket}");
                compared += 1;
            }
        }
        let invented = |socket: &u64| !first.contains_key(socket) && !second.contains_key(socket);
        let invented = found.iter().find(|(socket, seen)| invented(socket) && seen.3.is_some());
        assert_eq!(invented, None, "only /proc shows it");
    }
    eprintln!("{compared} sockets of this host are the same by both ways");
}

#[test]
fn of_a_multipath_connection_only_the_listener_is_told() {
    let Some(mut source) = source(&KernelOptions::default()) else { return };
    let multipath = |address: SocketAddr| {
        // SAFETY: takes numbers only.
        let descriptor = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 262) };
        assert!(descriptor >= 0, "this kernel has no multipath TCP");
        // SAFETY: socket(2) has just returned this descriptor, and nothing else owns it.
        let socket = unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) };
        let SocketAddr::V4(address) = address else { panic!("IPv4 only") };
        (socket, nix::sys::socket::SockaddrIn::from(address))
    };
    let (listener, any) = multipath(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    nix::sys::socket::bind(listener.as_raw_fd(), &any).unwrap();
    nix::sys::socket::listen(&listener, nix::sys::socket::Backlog::new(4).unwrap()).unwrap();
    let listener = TcpListener::from(listener);
    let (client, to) = multipath(listener.local_addr().unwrap());
    nix::sys::socket::connect(client.as_raw_fd(), &to).unwrap();
    let (server, _) = listener.accept().unwrap();
    let local = listener.local_addr().unwrap();
    let by_iterator = source.existing().unwrap();
    for found in [&by_iterator, &by_files()] {
        let heard: Vec<_> = found.listeners.iter().filter(|seen| seen.local == local).collect();
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert_eq!(heard[0].owner.process.pid, std::process::id());
        let port = local.port();
        let met = connected(found)
            .values()
            .any(|(_, pair, ..)| [pair.local.port(), pair.remote.port()].contains(&port));
        assert!(!met, "it would be met twice: by its file and by its packets");
    }
    drop((client, server));
}

/// Accepts and keeps connections until its input ends.
const ACCEPTOR: &str = "
import resource, socket, sys, threading
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
listener = socket.create_server(('127.0.0.1', 0), backlog=4096)
print(listener.getsockname()[1], flush=True)
kept = [listener.accept()[0] for _ in range(int(sys.argv[1]))]
print('all', flush=True)
sys.stdin.read()
";

#[test]
fn twenty_thousand_sockets_are_found_in_a_second() {
    const PAIRS: usize = 10_000;
    const BOUND: Duration = Duration::from_secs(1);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < PAIRS as u64 + 1000 {
        eprintln!("skipped: no process may have 11,000 files here");
        return;
    }
    let Some(mut source) = source(&KernelOptions::default()) else { return };
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", ACCEPTOR, &PAIRS.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut server = Holder(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    let port: u16 = line().parse().unwrap();
    let clients: Vec<TcpStream> =
        (0..PAIRS).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap()).collect();
    assert_eq!(line(), "all");
    let clients: BTreeSet<u64> = clients.iter().map(|client| cookie_of(client).0).collect();
    for (name, pass) in [
        ("the iterator", &mut (|| source.existing().unwrap()) as &mut dyn FnMut() -> ExistingSockets),
        ("/proc and sock_diag", &mut by_files),
    ] {
        let mut timed = || {
            let started = Instant::now();
            (pass(), started.elapsed())
        };
        // Others may have the processor meanwhile: the quickest of three counts.
        let passes = [timed(), timed(), timed()];
        let (found, took) = passes.into_iter().min_by_key(|(_, took)| *took).unwrap();
        eprintln!("{name}: {} connected sockets in {took:?}", found.events.len());
        assert!(took < BOUND, "{name} took {took:?}");
        let found = connected(&found);
        let held_by =
            |pid: u32| found.values().filter(move |seen| seen.3.is_some_and(|owner| owner.0 == pid));
        let own = clients.iter().filter(|client| {
            found.get(client).and_then(|seen| seen.3).is_some_and(|owner| owner.0 == std::process::id())
        });
        assert_eq!(own.count(), PAIRS, "{name}");
        assert_eq!(
            held_by(server.0.id()).filter(|seen| seen.2 == Some(Role::Server)).count(),
            PAIRS,
            "{name}"
        );
    }
}

#[test]
fn without_the_iterator_the_other_way_is_taken() {
    let Some(mut source) = source(&KernelOptions::default()) else { return };
    assert_eq!(source.without_iterator(), None);
    let pair = Pair::new(Ipv4Addr::LOCALHOST);
    let refused = KernelError::iterator("taken away by a test");
    source.unavailable.push(Unavailable::new(existing::PROGRAM, &refused));
    assert!(source.without_iterator().unwrap().contains("taken away"));
    let found = source.existing().unwrap();
    for cookie in pair.cookies() {
        assert_eq!(connected(&found)[&cookie.0].3.unwrap().0, std::process::id());
    }
}
