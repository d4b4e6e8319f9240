"""Clients with unusual manners: `odd_client.py MANNER ADDRESS PORT`. Exits 0 if it was answered."""

import os
import socket
import sys

IPPROTO_MPTCP = 262
REQUEST = b"GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n"


def main():
    manner, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    stream = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if manner == "mptcp" else 0)
    stream.settimeout(15)
    stream.connect((address, port))
    if manner == "getpeername":
        for _ in range(3):
            stream.getpeername()
        if os.fork() == 0:
            # Another process of the client's side asks, too.
            stream.getpeername()
            os._exit(0)
        os.wait()
    stream.sendall(REQUEST)
    data = b""
    try:
        while part := stream.recv(65536):
            data += part
    except OSError:
        pass
    sys.exit(0 if b"200 OK" in data else 1)


if __name__ == "__main__":
    main()
