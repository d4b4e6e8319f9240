"""A client on BoringSSL: `peer_curl_cffi.py ADDRESS PORT CA CHAIN KEY`."""

import sys

from curl_cffi import CurlOpt, requests

address, port, authority, chain, key = sys.argv[1:]
session = requests.Session(
    verify=authority,
    cert=(chain, key),
    http_version="v1",
    trust_env=False,
    curl_options={CurlOpt.RESOLVE: [f"server.test:{port}:{address}"]},
)
answer = session.get(f"https://server.test:{port}/", timeout=15, headers={"Connection": "close"})
print(answer.status_code, "OK" if answer.ok else "not OK", answer.text)
