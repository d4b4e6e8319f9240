"""The same peer on asyncio, whose TLS goes through memory buffers: `peer_asyncio.py OPTIONS-AS-JSON`."""

import asyncio
import json
import sys

from peer import IANA, REQUEST, RESPONSE, context, dialled, with_identity


async def serve_one(reader, writer):
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(RESPONSE)
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError) as error:
        print(f"server: {error}", flush=True)
    finally:
        writer.close()


async def serve(options):
    tls = context(options) if options["version"] else None
    server = await asyncio.start_server(serve_one, options["address"], options["port"], ssl=tls, backlog=1024)
    await server.serve_forever()


async def connect(options):
    report = {"answered": False, "suite": None}
    tls = context(options) if options["version"] else None
    try:
        name = "server.test" if tls else None
        reader, writer = await asyncio.open_connection(
            options["address"], options["port"], ssl=tls, server_hostname=name
        )
        if tls:
            suite = writer.get_extra_info("cipher")[0]
            report["suite"] = IANA.get(suite, suite)
        writer.write(REQUEST)
        report["answered"] = b"200 OK" in (await reader.read()).upper()
        writer.close()
        await writer.wait_closed()
    except OSError as error:
        report["error"] = str(error)
    print(json.dumps(report), flush=True)


async def connect_crowd(options):
    streams, report = dialled(options)

    async def exchange(stream, identity):
        stream.setblocking(False)
        tls = with_identity(options, identity)
        try:
            reader, writer = await asyncio.open_connection(sock=stream, ssl=tls, server_hostname="server.test")
            writer.write(REQUEST)
            if b"200 OK" not in (await reader.read()).upper():
                report["answered"] = False
            writer.close()
            await writer.wait_closed()
        except OSError as error:
            report.update(answered=False, error=str(error))

    await asyncio.gather(*map(exchange, streams, options["identities"]))
    print(json.dumps(report), flush=True)


def main():
    options = json.loads(sys.argv[1])
    if options["role"] == "server":
        work = serve
    else:
        work = connect_crowd if options.get("identities") else connect
    asyncio.run(work(options))


if __name__ == "__main__":
    main()
