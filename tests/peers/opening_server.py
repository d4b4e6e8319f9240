"""A server that speaks a protocol's opening in clear and then TLS: `opening_server.py PROTOCOL ADDRESS PORT CHAIN KEY CA`.

`http_connect` and `socks` are proxies: what they connect to is their own TLS server on the next port. Client certificates are
required. `http` and `ftp_login` stay in clear and answer whatever they are asked.
"""

import socket
import ssl
import struct
import sys
import threading


class Lines:
    """A stream read by lines and by counts, byte for byte: what follows an opening belongs to TLS."""

    def __init__(self, stream):
        self.stream = stream

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.stream.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def until(self, end):
        data = b""
        while not data.endswith(end):
            data += self.exactly(1)
        return data

    def send(self, data):
        self.stream.sendall(data)


def smtp(lines):
    lines.send(b"220 mail.test ESMTP\r\n")
    while b"STARTTLS" not in (command := lines.until(b"\r\n")).upper():
        lines.send(b"250-mail.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n" if b"HLO" in command.upper() else b"250 OK\r\n")
    lines.send(b"220 Ready\r\n")


def imap(lines):
    lines.send(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] ready\r\n")
    while b"STARTTLS" not in (command := lines.until(b"\r\n")).upper():
        lines.send(b"* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\n" + command.split(b" ")[0] + b" OK done\r\n")
    lines.send(command.split(b" ")[0] + b" OK Begin TLS\r\n")


def pop3(lines):
    lines.send(b"+OK mail.test\r\n")
    while b"STLS" not in lines.until(b"\r\n").upper():
        lines.send(b"+OK\r\nSTLS\r\n.\r\n")
    lines.send(b"+OK Begin TLS\r\n")


def ftp(lines):
    lines.send(b"220 ftp.test\r\n")
    while b"AUTH TLS" not in (command := lines.until(b"\r\n")).upper():
        lines.send(b"211-Features:\r\n AUTH TLS\r\n211 End\r\n" if b"FEAT" in command.upper() else b"500 No\r\n")
    lines.send(b"234 AUTH TLS OK\r\n")


def ldap(lines):
    head = lines.exactly(2)
    lines.exactly(head[1])
    lines.send(bytes.fromhex("300c02010178070a010004000400"))


def postgresql(lines):
    assert lines.exactly(8) == bytes.fromhex("0000000804d2162f")
    lines.send(b"S")


def mysql(lines):
    capabilities = 0x0200 | 0x0800 | 0x8000 | 0x80000
    greeting = (
        b"\x0a8.0.36\x00"
        + struct.pack("<I", 7)
        + b"abcdefgh\x00"
        + struct.pack("<H", capabilities & 0xFFFF)
        + b"\xff"
        + struct.pack("<HH", 2, capabilities >> 16)
        + b"\x15"
        + bytes(10)
        + b"ijklmnopqrst\x00mysql_native_password\x00"
    )
    lines.send(struct.pack("<I", len(greeting)) + greeting)
    head = lines.exactly(4)
    lines.exactly(head[0] | head[1] << 8 | head[2] << 16)


def xmpp(lines):
    while b"stream:stream" not in lines.until(b">"):
        pass
    lines.send(
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        b" id='1' from='server.test' version='1.0'><stream:features>"
        b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>"
    )
    while b"starttls" not in lines.until(b">"):
        pass
    lines.send(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")


def http_connect(lines):
    lines.until(b"\r\n\r\n")
    lines.send(b"HTTP/1.1 200 Connection established\r\n\r\n")


def socks(lines):
    lines.exactly(lines.exactly(2)[1])
    lines.send(b"\x05\x00")
    kind = lines.exactly(4)[3]
    lines.exactly({1: 4, 4: 16}.get(kind) or lines.exactly(1)[0])
    lines.exactly(2)
    lines.send(b"\x05\x00\x00\x01" + bytes(6))


def http(lines):
    lines.until(b"\r\n\r\n")
    lines.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")


def ftp_login(lines):
    lines.send(b"220 ftp.test\r\n")
    answers = {b"USER": b"331 Password\r\n", b"PASS": b"230 In\r\n", b"QUIT": b"221 Bye\r\n"}
    while True:
        lines.send(answers.get(lines.until(b"\r\n")[:4].upper(), b"502 No\r\n"))


IN_CLEAR = {"http": http, "ftp_login": ftp_login}
OPENINGS = {
    "smtp": smtp,
    "imap": imap,
    "pop3": pop3,
    "ftp": ftp,
    "ldap": ldap,
    "postgresql": postgresql,
    "mysql": mysql,
    "xmpp": xmpp,
    "http_connect": http_connect,
    "socks": socks,
}


def serve(stream, protocol, context):
    try:
        lines = Lines(stream)
        if protocol in IN_CLEAR:
            IN_CLEAR[protocol](lines)
            return
        OPENINGS[protocol](lines)
        with context.wrap_socket(stream, server_side=True) as inner:
            inner.recv(4096)
            inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    except (EOFError, OSError, ValueError):
        pass
    finally:
        stream.close()


def main():
    protocol, address, port, chain, key, authority = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    context.load_verify_locations(authority)
    context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server((address, int(port)))
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve, args=(stream, protocol, context), daemon=True).start()


if __name__ == "__main__":
    main()
