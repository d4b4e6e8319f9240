"""A blocking TLS or plaintext peer on Python's ssl: `peer.py OPTIONS-AS-JSON`.

A client with `identities` (pairs of chain and key) makes a connection with each, all at once on a thread each, and
reports `connections`: pairs of local port and number of the identity.
"""

import json
import socket
import ssl
import sys
import threading

REQUEST = b"GET / HTTP/1.1\r\nHost: server.test\r\nUser-Agent: a client of the tests\r\nAccept: */*\r\nConnection: close\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
IANA = {
    "ECDHE-ECDSA-AES256-GCM-SHA384": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256": "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384": "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
}


def context(options):
    server = options["role"] == "server"
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    version = ssl.TLSVersion.TLSv1_2 if options["version"] == "1.2" else ssl.TLSVersion.TLSv1_3
    made.minimum_version = made.maximum_version = version
    made.set_alpn_protocols(["http/1.1"])
    made.load_verify_locations(options["ca"])
    if options.get("chain"):
        made.load_cert_chain(options["chain"], options["key"])
    if server:
        made.verify_mode = {
            "no": ssl.CERT_NONE,
            "optional": ssl.CERT_OPTIONAL,
            "require": ssl.CERT_REQUIRED,
        }[options["request"]]
    return made


def receive(stream, end):
    """Reads until `end`, or the peer's end if that is None."""
    data = b""
    while end is None or end not in data:
        part = stream.recv(65536)
        if not part:
            break
        data += part
    return data


def serve_one(tls, stream):
    try:
        if tls:
            stream = tls.wrap_socket(stream, server_side=True)
        receive(stream, b"\r\n\r\n")
        stream.sendall(RESPONSE)
        if tls:
            stream = stream.unwrap()
    except OSError as error:
        print(f"server: {error}", flush=True)
    finally:
        stream.close()


def serve(options):
    tls = context(options) if options["version"] else None
    family = socket.AF_INET6 if ":" in options["address"] else socket.AF_INET
    listener = socket.create_server((options["address"], options["port"]), family=family, backlog=1024)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=serve_one, args=(tls, stream), daemon=True).start()


def connect(options):
    report = {"answered": True, "resumed": None, "suite": None}
    tls = context(options) if options["version"] else None
    session = None
    for attempt in range(2 if options.get("resume") else 1):
        try:
            stream = socket.create_connection((options["address"], options["port"]), 15)
            if tls:
                stream = tls.wrap_socket(stream, server_hostname="server.test", session=session)
                report["suite"] = IANA.get(stream.cipher()[0], stream.cipher()[0])
                if attempt:
                    report["resumed"] = stream.session_reused
            stream.sendall(REQUEST)
            if b"200 OK" not in receive(stream, None).upper():
                report["answered"] = False
            if tls:
                session = stream.session
        except OSError as error:
            report["answered"] = False
            report["error"] = str(error)
        finally:
            stream.close()
    print(json.dumps(report), flush=True)


def dialled(options):
    """A connection per identity, all there before the first handshake begins, and the report on them."""
    streams = [socket.create_connection((options["address"], options["port"]), 15) for _ in options["identities"]]
    connections = [[stream.getsockname()[1], number] for number, stream in enumerate(streams)]
    return streams, {"answered": True, "connections": connections}


def with_identity(options, identity):
    chain, key = identity
    return context({**options, "chain": chain, "key": key})


def connect_crowd(options):
    streams, report = dialled(options)
    contexts = [with_identity(options, identity) for identity in options["identities"]]
    begin = threading.Barrier(len(streams))

    def exchange(tls, stream):
        begin.wait()
        try:
            with tls.wrap_socket(stream, server_hostname="server.test") as inner:
                inner.sendall(REQUEST)
                if b"200 OK" not in receive(inner, None).upper():
                    report["answered"] = False
        except OSError as error:
            report.update(answered=False, error=str(error))

    threads = [threading.Thread(target=exchange, args=each) for each in zip(contexts, streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(report), flush=True)


def main():
    options = json.loads(sys.argv[1])
    if options["role"] == "server":
        serve(options)
    elif options.get("identities"):
        connect_crowd(options)
    else:
        connect(options)


if __name__ == "__main__":
    main()
