"""A server of a protocol in clear, where no package has a small one: `server.py PROTOCOL ADDRESS PORT USER PASSWORD`.

`grpc`, `kafka_mock` and `mysql*` are servers that come with libraries. `kafka_sasl` and `mongodb` are scripted: they read and answer
as much as their real clients ask, and let in whoever shows the password.
"""

import asyncio
import signal
import socket
import struct
import sys
import threading

USER, PASSWORD = sys.argv[4:]


def grpc(address, port):
    import concurrent.futures

    import grpc

    class Greeter(grpc.GenericRpcHandler):
        def service(self, _details):
            return grpc.unary_unary_rpc_method_handler(lambda request, _context: request)

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(1), handlers=(Greeter(),))
    server.add_insecure_port(f"{address}:{port}")
    server.start()
    server.wait_for_termination()


def kafka_mock(_address, _port):
    """The mock broker of librdkafka, which chooses its own port on the loopback device."""
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    (broker,) = producer.list_topics(timeout=15).brokers.values()
    print(f"listens on port {broker.port}", flush=True)
    signal.pause()


def mysql(address, port, clear):
    from mysql_mimic import IdentityProvider, MysqlServer, NativePasswordAuthPlugin, User
    from mysql_mimic.auth import AbstractClearPasswordAuthPlugin

    class ClearPassword(AbstractClearPasswordAuthPlugin):
        name = "mysql_clear_password"

        async def check(self, username, password):
            return username if (username, password) == (USER, PASSWORD) else None

    class Users(IdentityProvider):
        def get_plugins(self):
            return [ClearPassword() if clear else NativePasswordAuthPlugin()]

        async def get_user(self, username):
            stored = None if clear else NativePasswordAuthPlugin.create_auth_string(PASSWORD)
            return User(name=username, auth_string=stored, auth_plugin=self.get_plugins()[0].name)

    async def serve():
        server = MysqlServer(identity_provider=Users())
        await server.start_server(host=address, port=port)
        await server.serve_forever()

    asyncio.run(serve())


class Stream:
    """A connection read by counts."""

    def __init__(self, connection):
        self.connection = connection

    def exactly(self, count):
        data = b""
        while len(data) < count:
            part = self.connection.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def send(self, data):
        self.connection.sendall(data)


PLAIN = f"\0{USER}\0{PASSWORD}".encode()


def kafka_sasl(stream, address, port):
    """A broker that knows four requests, the oldest version of each that its client asks for."""
    host = address.encode()
    metadata = struct.pack(">iih", 1, 0, len(host)) + host + struct.pack(">ihii", port, -1, 0, 0)
    versions = struct.pack(">hi", 0, 4) + b"".join(
        struct.pack(">hhh", key, 0, most) for key, most in ((3, 1), (17, 1), (18, 0), (36, 0))
    )
    while True:
        request = stream.exactly(struct.unpack(">i", stream.exactly(4))[0])
        key, version, correlation = struct.unpack(">hhi", request[:8])
        if key == 18:
            # An unknown version is answered in the oldest one, with error 35.
            body = versions if version == 0 else struct.pack(">h", 35) + versions[2:]
        elif key == 17:
            body = struct.pack(">hih", 0, 1, 5) + b"PLAIN"
        elif key == 36:
            body = struct.pack(">hhi", 0 if request.endswith(PLAIN) else 58, -1, 0)
        else:
            body = metadata
        stream.send(struct.pack(">ii", len(body) + 4, correlation) + body)


def mongodb(stream, _address, _port):
    """A server that knows hello, saslStart and ping, in both forms of commands."""
    import bson

    hello = {"ok": 1, "helloOk": True, "ismaster": True, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21}
    hello |= {"maxBsonObjectSize": 1 << 24, "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000}
    while True:
        length, identifier, _, operation = struct.unpack("<iiii", stream.exactly(16))
        body = stream.exactly(length - 16)
        # Either flags and the kind of the section, or flags, a namespace and two counts.
        start = 5 if operation == 2013 else body.index(b"\0", 4) + 9
        command = bson.decode(body[start:])
        answer = {"ok": 1}
        if next(iter(command)).lower() in ("hello", "ismaster"):
            answer = hello
        elif "saslStart" in command:
            answer = {"ok": int(command["payload"] == PLAIN), "conversationId": 1, "done": True, "payload": b""}
        document = bson.encode(answer)
        reply = b"\0" * 5 + document if operation == 2013 else struct.pack("<iqii", 8, 0, 0, 1) + document
        stream.send(struct.pack("<iiii", len(reply) + 16, 1, identifier, 2013 if operation == 2013 else 1) + reply)


def scripted(script):
    def talk(connection, address, port):
        with connection:
            try:
                script(Stream(connection), address, port)
            except (EOFError, OSError):
                pass

    def serve(address, port):
        listener = socket.create_server((address, port))
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=talk, args=(connection, address, port), daemon=True).start()

    return serve


SERVERS = {
    "grpc": grpc,
    "kafka_mock": kafka_mock,
    "kafka_sasl": scripted(kafka_sasl),
    "mongodb": scripted(mongodb),
    "mysql_clear": lambda address, port: mysql(address, port, True),
    "mysql_native": lambda address, port: mysql(address, port, False),
}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
