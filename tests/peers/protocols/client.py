"""A real client of a protocol in clear: `client.py PROTOCOL ADDRESS PORT USER PASSWORD`.

Says `answered` once the server has done what it was asked. An empty user connects without one.
"""

import asyncio
import imaplib
import poplib
import sys


def amqp(address, port, user, password):
    import pika

    credentials = pika.PlainCredentials(user, password)
    connection = pika.BlockingConnection(pika.ConnectionParameters(address, port, credentials=credentials))
    channel = connection.channel()
    channel.queue_declare("greetings")
    channel.basic_publish("", "greetings", b"hello")
    _, _, body = channel.basic_get("greetings", auto_ack=True)
    connection.close()
    return body == b"hello"


def amqp1(address, port, user, password):
    from proton import Message
    from proton.utils import BlockingConnection

    url = f"amqp://{user}:{password}@{address}:{port}"
    connection = BlockingConnection(url, timeout=15, allowed_mechs="PLAIN", allow_insecure_mechs=True)
    receiver = connection.create_receiver("/queue/greetings")
    connection.create_sender("/queue/greetings").send(Message(body="hello"))
    message = receiver.receive(timeout=15)
    receiver.accept()
    connection.close()
    return message.body == "hello"


def dns(address, port, _user, _password):
    import dns.message
    import dns.query

    answer = dns.query.tcp(dns.message.make_query("greeting.test", "A"), address, port=port, timeout=15)
    return "192.0.2.1" in str(answer)


def grpc(address, port, user, password):
    import grpc

    metadata = (("authorization", f"Bearer {password}"),) if user else ()
    with grpc.insecure_channel(f"{address}:{port}", options=(("grpc.enable_http_proxy", 0),)) as channel:
        return channel.unary_unary("/test.Greeter/Greet")(b"hello", metadata=metadata, timeout=15) == b"hello"


def imap(address, port, user, password):
    with imaplib.IMAP4(address, port, timeout=15) as connection:
        return connection.login(user, password)[0] == "OK"


def kafka(address, port, user, password):
    from confluent_kafka.admin import AdminClient

    settings = {"bootstrap.servers": f"{address}:{port}"}
    if user:
        settings |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanisms": "PLAIN"}
        settings |= {"sasl.username": user, "sasl.password": password}
    return bool(AdminClient(settings).list_topics(timeout=15).brokers)


def mongodb(address, port, user, password):
    import pymongo

    options = {"username": user, "password": password, "authMechanism": "PLAIN"} if user else {}
    with pymongo.MongoClient(address, port, directConnection=True, serverSelectionTimeoutMS=15000, **options) as client:
        return client.admin.command("ping")["ok"] == 1


def mysql(address, port, user, password):
    import pymysql

    connection = pymysql.connect(host=address, port=port, user=user, password=password, connect_timeout=15)
    with connection, connection.cursor() as cursor:
        cursor.execute("select 1")
        return cursor.fetchall() == ((1,),)


def nats(address, port, user, password):
    import nats

    async def talk():
        credentials = {"user": user, "password": password} if user else {}
        connection = await nats.connect(f"nats://{address}:{port}", allow_reconnect=False, connect_timeout=15, **credentials)
        subscription = await connection.subscribe("greetings")
        await connection.publish("greetings", b"hello")
        message = await subscription.next_msg(timeout=15)
        await connection.close()
        return message.data == b"hello"

    return asyncio.run(talk())


def pop3(address, port, user, password):
    connection = poplib.POP3(address, port, timeout=15)
    connection.user(user)
    answer = connection.pass_(password)
    connection.quit()
    return answer.startswith(b"+OK")


def zookeeper(address, port, _user, _password):
    from kazoo.client import KazooClient

    client = KazooClient(f"{address}:{port}")
    client.start(timeout=15)
    client.create("/greeting", b"hello")
    value, _ = client.get("/greeting")
    client.stop()
    client.close()
    return value == b"hello"


CLIENTS = {
    client.__name__: client for client in (amqp, amqp1, dns, grpc, imap, kafka, mongodb, mysql, nats, pop3, zookeeper)
}


def main():
    protocol, address, port, user, password = sys.argv[1:]
    if not CLIENTS[protocol](address, int(port), user, password):
        sys.exit("the answer is not the one that was asked for")
    print("answered")


if __name__ == "__main__":
    main()
