"""Waits for a line, then becomes a script: `late.py SCRIPT ARGUMENTS...`. What that imports is loaded late."""

import os
import runpy
import sys

print("waiting", flush=True)
sys.stdin.readline()
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
