"""The same peer on asyncio, whose TLS goes through memory buffers: `peer_asyncio.py OPTIONS-AS-JSON`."""

import asyncio
import json
import sys

from peer import IANA, REQUEST, RESPONSE, context


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


if __name__ == "__main__":
    OPTIONS = json.loads(sys.argv[1])
    asyncio.run(serve(OPTIONS) if OPTIONS["role"] == "server" else connect(OPTIONS))
