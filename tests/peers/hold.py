"""Maps libraries and waits for the end of its input: `hold.py NAME...`; `curl_cffi` is imported, the rest is dlopen(3)ed."""

import ctypes
import importlib
import sys

for name in sys.argv[1:]:
    if ".so" in name:
        ctypes.CDLL(name)
    else:
        importlib.import_module(name)
print("holding", flush=True)
sys.stdin.read()
