//! From which socket a thread received last: what chains are joined to connections by.

use std::{
    io::{BufRead, BufReader, Lines, Read, Write},
    net::Ipv4Addr,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use aya::maps::Array;
use countersign_common::{BEYOND_SLOTS, RECEIVES_MAX};

use super::{
    super::*,
    Pair,
    library::{Folder, OPENSSL, Presented, all, linked, party, points, probe, runs_of},
    roomy, source,
};
use crate::{
    event::{SocketBy, Timestamp},
    library::Hook,
};

/// Receives as it is told and has OpenSSL parse a certificate as it stands in a message, in the same thread or in another one.
const RECEIVER: &str = "
import ctypes, socket, sys, threading
crypto = ctypes.CDLL(sys.argv[1])
crypto.d2i_X509.restype = ctypes.c_void_p
der = open(sys.argv[2], 'rb').read()
entry = len(der).to_bytes(3, 'big') + der
message = ctypes.create_string_buffer(len(entry).to_bytes(3, 'big') + entry)
def stream(protocol):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    listener.bind(('127.0.0.1', 0))
    listener.listen()
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
    client.connect(listener.getsockname())
    return client, listener.accept()[0]
def datagrams():
    receiver, sender = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    receiver.bind(('127.0.0.1', 0))
    sender.connect(receiver.getsockname())
    return sender, receiver
pairs = {'tcp': stream(0), 'other': stream(0), 'udp': datagrams(), 'unix': socket.socketpair()}
try:
    pairs['mptcp'] = stream(262)
except OSError:
    pass
def parse():
    place = ctypes.c_void_p(ctypes.addressof(message) + 6)
    assert crypto.d2i_X509(None, ctypes.byref(place), ctypes.c_long(len(der)))
for line in sys.stdin:
    word = line.strip()
    if word == 'parse':
        parse()
    elif word == 'elsewhere':
        thread = threading.Thread(target=parse)
        thread.start()
        thread.join()
    elif word.startswith('cookie '):
        cookie = pairs[word[7:]][1].getsockopt(socket.SOL_SOCKET, 57, 8)
        print(int.from_bytes(cookie, sys.byteorder), flush=True)
        continue
    elif word in pairs:
        sender, receiver = pairs[word]
        sender.send(b'x')
        assert receiver.recv(1) == b'x'
    else:
        print('none', flush=True)
        continue
    print('done', flush=True)
";

struct Receiver {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _folder: Folder,
}

impl Receiver {
    fn start() -> Receiver {
        let folder = Folder::new();
        let der = folder.path().join("leaf");
        std::fs::write(&der, &party(&folder, "server", Presented::SelfSigned).chain[0]).unwrap();
        let mut child = Command::new("python3")
            .args(["-c", RECEIVER])
            .args([libcrypto(), der])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Receiver { child, orders, answers, _folder: folder }
    }

    fn obey(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answers.next().unwrap().unwrap()
    }

    /// Receives over each of these.
    fn receive(&mut self, names: &[&str]) {
        for name in names {
            assert_eq!(self.obey(name), "done", "{name}");
        }
    }

    fn cookie(&mut self, name: &str) -> SocketCookie {
        SocketCookie(self.obey(&format!("cookie {name}")).parse().unwrap())
    }

    /// Where a certificate that is parsed now belongs.
    fn parsed(&mut self, source: &mut KernelSource, order: &str) -> Option<(SocketCookie, Timestamp)> {
        assert_eq!(self.obey(order), "done");
        let events = all(source);
        let [run] = runs_of(&events, self.child.id())[..] else { panic!("not one certificate: {events:?}") };
        run.call.socket.map(|joined| {
            assert_eq!(joined.by, SocketBy::LastReceive);
            (joined.socket, joined.received_at)
        })
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // One that has ended is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn libcrypto() -> PathBuf {
    linked("/usr/bin/openssl", "libcrypto")
}

#[test]
fn a_thread_is_known_by_its_last_receive_up_to_the_bound() {
    let Some(mut source) = source(&roomy()) else { return };
    let _probed = probe(&mut source, &libcrypto(), &OPENSSL);
    let mut receiver = Receiver::start();
    let (tcp, other) = (receiver.cookie("tcp"), receiver.cookie("other"));
    assert_eq!(receiver.parsed(&mut source, "parse"), None, "nothing was received");
    let mut before = Timestamp(0);
    for _ in 0..RECEIVES_MAX {
        receiver.receive(&["tcp"]);
        let (socket, at) = receiver.parsed(&mut source, "parse").unwrap();
        assert_eq!(socket, tcp);
        assert!(at > before);
        before = at;
    }
    receiver.receive(&["tcp"]);
    assert_eq!(receiver.parsed(&mut source, "parse"), Some((tcp, before)), "no longer noted");
    assert_eq!(receiver.parsed(&mut source, "elsewhere"), None, "another thread has received nothing");
    receiver.receive(&["other"]);
    assert_eq!(receiver.parsed(&mut source, "parse").unwrap().0, other);
    for _ in 0..2 {
        receiver.receive(&["tcp"]);
        assert_eq!(
            receiver.parsed(&mut source, "parse"),
            None,
            "the other socket is not the last one any more"
        );
        receiver.receive(&["other"]);
    }
}

#[test]
fn a_receive_over_anything_else_ends_the_memory_of_a_tcp_socket() {
    let Some(mut source) = source(&roomy()) else { return };
    let _probed = probe(&mut source, &libcrypto(), &OPENSSL);
    let mut receiver = Receiver::start();
    let tcp = receiver.cookie("tcp");
    for between in ["udp", "unix", "mptcp"] {
        receiver.receive(&["tcp"]);
        assert_eq!(receiver.parsed(&mut source, "parse").unwrap().0, tcp);
        if receiver.obey(between) == "none" {
            println!("skipped: no {between} on this host");
            continue;
        }
        let joined = receiver.parsed(&mut source, "parse").map(|(socket, _)| socket);
        assert_ne!(joined, Some(tcp), "{between}");
    }
}

#[test]
fn the_tracepoint_of_receives_is_there_as_long_as_a_library_is_probed() {
    let Some(source) = source(&roomy()) else { return };
    let mut prober = source.prober();
    let attached = || {
        let mut pair = Pair::new(Ipv4Addr::LOCALHOST);
        let [_, receiver] = pair.cookies();
        for _ in 0..=RECEIVES_MAX {
            pair.client.write_all(b"x").unwrap();
            pair.server.read_exact(&mut [0]).unwrap();
        }
        let mut ebpf = source.ebpf.lock().unwrap();
        let beyond: Array<_, u64> = Array::try_from(ebpf.map_mut("BEYOND").unwrap()).unwrap();
        beyond.get(&(receiver.0 as u32 % BEYOND_SLOTS as u32), 0).unwrap() == receiver.0
    };
    prober.load(|| true);
    assert!(!attached(), "it is loaded only");
    let linker = linked("/usr/bin/openssl", "ld-linux");
    let of_linker = prober.probe(&linker, &points(&linker, &[(Hook::LinkerState, "_dl_debug_state")]));
    assert!(of_linker.attached() == 1 && !attached(), "the linker is no library");
    let file = libcrypto();
    let peer = points(&file, &[(Hook::OpenSslPeer, "d2i_X509")]);
    let (one, other) = (prober.probe(&file, &peer), prober.probe(&file, &peer));
    assert!(attached());
    drop(one);
    assert!(attached());
    drop(other);
    assert!(!attached());
    let again = prober.probe(&file, &peer);
    assert!(attached() && again.refused().is_empty());
}
