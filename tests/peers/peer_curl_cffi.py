"""A client on BoringSSL: `peer_curl_cffi.py ADDRESS PORT VERSION CA CHAIN KEY...`.

With `PEER_TWICE` in its environment a single one asks twice.
With more than one identity it makes a connection with each, all at once on a thread each, and prints the local port and the
number of the identity of each as JSON.
"""

import json
import os
import sys
import threading

from curl_cffi import Curl, CurlInfo, CurlOpt

# CURL_SSLVERSION_TLSv1_2 and its _MAX_ for the same version (curl/curl.h); 7 is TLS 1.3.
VERSIONS = {"1.2": 6 | 6 << 16, "1.3": 7 | 7 << 16}

address, port, version, authority, *files = sys.argv[1:]
identities = list(zip(files[::2], files[1::2]))


def ask(chain, key):
    """The answer and the local port."""
    body = []
    curl = Curl()
    options = {
        CurlOpt.URL: f"https://server.test:{port}/",
        CurlOpt.RESOLVE: [f"server.test:{port}:{address}"],
        CurlOpt.PROXY: "",
        CurlOpt.CAINFO: authority,
        CurlOpt.SSLCERT: chain,
        CurlOpt.SSLKEY: key,
        CurlOpt.SSLVERSION: VERSIONS[version],
        # CURL_HTTP_VERSION_1_1
        CurlOpt.HTTP_VERSION: 2,
        CurlOpt.HTTPHEADER: [b"User-Agent: a client of the tests", b"Connection: close"],
        CurlOpt.TIMEOUT_MS: 60_000,
        CurlOpt.WRITEFUNCTION: body.append,
    }
    # The handle keeps the session, and forgets where to write.
    for _ in range(2 if "PEER_TWICE" in os.environ else 1):
        for option, value in options.items():
            curl.setopt(option, value)
        curl.perform()
    status, local = curl.getinfo(CurlInfo.RESPONSE_CODE), curl.getinfo(CurlInfo.LOCAL_PORT)
    curl.close()
    return status, local, b"".join(body)


if len(identities) == 1:
    status, _, text = ask(*identities[0])
    print(status, "OK" if status == 200 else "not OK", text)
else:
    answers = [None] * len(identities)

    def keep(number):
        answers[number] = ask(*identities[number])

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(len(identities))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answered = all(answer and answer[0] == 200 for answer in answers)
    print(json.dumps({"answered": answered, "connections": [[answer[1], number] for number, answer in enumerate(answers)]}))
