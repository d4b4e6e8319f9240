"""Servers that take their connections in unusual ways: `odd_server.py MANNER ADDRESS PORT`.

Each answers one request per connection, except where the manner says otherwise.
"""

import array
import ctypes
import os
import signal
import socket
import sys

IPPROTO_MPTCP = 262
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


def answer(stream):
    data = b""
    while b"\r\n\r\n" not in data:
        part = stream.recv(65536)
        if not part:
            break
        data += part
    stream.sendall(RESPONSE)
    stream.close()


def accept_without_address(listener):
    """accept(2) with a null address: the kernel never asks for the peer's name."""
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        answer(socket.socket(fileno=libc.accept(listener.fileno(), None, None)))


def fork(listener):
    """The parent accepts, a child serves and is the last to let go."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        stream, _ = listener.accept()
        let_go, keeps = os.pipe()
        child = os.fork()
        if child == 0:
            # Until the parent has closed it.
            os.close(keeps)
            os.read(let_go, 1)
            answer(stream)
            os._exit(0)
        print(f"child {child}", flush=True)
        stream.close()
        os.close(let_go)
        os.close(keeps)


def pass_on(listener):
    """The parent accepts and hands the socket to a worker that was there before."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    worker = os.fork()
    if worker == 0:
        listener.close()
        ours.close()
        while True:
            _, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
            answer(socket.socket(fileno=descriptors[0]))
    print(f"worker {worker}", flush=True)
    while True:
        stream, _ = listener.accept()
        socket.send_fds(ours, [b"x"], [stream.fileno()])
        stream.close()


def drop_in_flight(listener):
    """The only descriptor is in a message that nobody will read: the kernel lets go of it."""
    while True:
        stream, _ = listener.accept()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.sendmsg(
            [b"x"],
            [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [stream.fileno(), theirs.fileno()]))],
        )
        stream.close()
        ours.close()
        theirs.close()


def never_accept(_listener):
    """The kernel finishes the handshakes; no process takes them."""
    signal.pause()


def activated(listener, accept):
    """The parent listens and keeps the socket; a child that gets it as descriptor 3 accepts (sd_listen_fds(3))."""
    child = os.fork()
    if child == 0:
        if listener.fileno() != 3:
            os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(sys.executable, [sys.executable, __file__, accept])
    print(f"child {child}", flush=True)
    os.wait()


def plain(listener):
    while True:
        stream, _ = listener.accept()
        answer(stream)


def main():
    if "LISTEN_FDS" in os.environ:
        listener = socket.socket(fileno=3)
        return accept_without_address(listener) if sys.argv[1] == "accept_without_address" else plain(listener)
    manner, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if manner.startswith("mptcp") else 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if manner == "defer_accept":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 10)
    if manner == "fast_open":
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
    listener.bind((address, port))
    listener.listen(512)
    {
        "accept_without_address": accept_without_address,
        "fork": fork,
        "pass_on": pass_on,
        "drop_in_flight": drop_in_flight,
        "never_accept": never_accept,
        "activated": lambda listener: activated(listener, "plain"),
        "activated_without_address": lambda listener: activated(listener, "accept_without_address"),
    }.get(manner, plain)(listener)


if __name__ == "__main__":
    main()
