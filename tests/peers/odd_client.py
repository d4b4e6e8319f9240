"""Clients with unusual manners: `odd_client.py MANNER ADDRESS PORT`. Exits 0 if it was answered."""

import os
import socket
import struct
import sys
import time

IPPROTO_MPTCP = 262
SOL_MPTCP = 284
MPTCP_INFO = 1
TCPI_OPT_SYN_DATA = 32
FIN, SYN, PSH, ACK = 1, 2, 8, 16
REQUEST = b"GET / HTTP/1.1\r\nHost: server.test\r\nConnection: close\r\n\r\n"


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def forged_join(address, port):
    """A connection of our own making whose SYN says MP_JOIN (RFC 8684 section 3.2) to a server that speaks plain TCP.

    The kernel knows of no such connection: a packet filter must keep it from resetting ours.
    """
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    raw.settimeout(15)
    raw.connect((address, 0))
    own = socket.inet_aton(raw.getsockname()[0])
    peer = socket.inet_aton(address)
    own_port, sequence, expected = 61000, 1000, 0

    def send(flags, options=b"", data=b""):
        head = struct.pack(
            "!HHIIBBHHH", own_port, port, sequence, expected, (20 + len(options)) // 4 << 4, flags, 65535, 0, 0
        )
        pseudo = own + peer + struct.pack("!BBH", 0, 6, len(head) + len(options) + len(data))
        segment = head + options + data
        total = checksum(pseudo + segment)
        raw.send(segment[:16] + struct.pack("!H", total) + segment[18:])

    def receive():
        while True:
            packet = raw.recv(65536)
            segment = packet[(packet[0] & 15) * 4 :]
            theirs, ours, number = struct.unpack("!HHI", segment[:8])
            if (theirs, ours) == (port, own_port):
                return number, segment[13], segment[segment[12] >> 4 << 2 :]

    join = bytes([30, 12, 0x10, 1]) + struct.pack("!II", 0x11223344, 0x55667788)
    send(SYN, join)
    number, flags, _ = receive()
    if flags & (SYN | ACK) != SYN | ACK:
        sys.exit(1)
    sequence, expected = sequence + 1, number + 1
    send(ACK)
    send(PSH | ACK, data=REQUEST)
    sequence += len(REQUEST)
    answer = b""
    while True:
        number, flags, data = receive()
        if number == expected:
            answer += data
            expected += len(data) + (flags & FIN)
            send(ACK)
            if flags & FIN:
                break
    send(FIN | ACK)
    time.sleep(0.2)
    sys.exit(0 if b"200 OK" in answer else 1)


def main():
    manner, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if manner == "forged_join":
        forged_join(address, port)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    multipath = manner.startswith("mptcp")
    stream = socket.socket(family, socket.SOCK_STREAM, IPPROTO_MPTCP if multipath else 0)
    stream.settimeout(15)
    request = REQUEST
    if manner == "fast_open":
        stream.sendto(request[:20], socket.MSG_FASTOPEN, (address, port))
        request = request[20:]
    else:
        stream.connect((address, port))
    if manner == "mptcp_join":
        # A second subflow is opened once the first has carried data.
        stream.sendall(request[:20])
        request = request[20:]
        deadline = time.monotonic() + 10
        while not stream.getsockopt(SOL_MPTCP, MPTCP_INFO, 96)[0]:
            if time.monotonic() > deadline:
                sys.exit("no second subflow")
            time.sleep(0.01)
    if manner == "getpeername":
        for _ in range(3):
            stream.getpeername()
        if os.fork() == 0:
            # Another process of the client's side asks, too.
            stream.getpeername()
            os._exit(0)
        os.wait()
    stream.sendall(request)
    data = b""
    try:
        while part := stream.recv(65536):
            data += part
    except OSError:
        pass
    if manner == "fast_open" and not stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[5] & TCPI_OPT_SYN_DATA:
        sys.exit("the server did not take the data of the SYN")
    sys.exit(0 if b"200 OK" in data else 1)


if __name__ == "__main__":
    main()
