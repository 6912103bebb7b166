#!/usr/bin/env python3
"""Write the frames of tests/vectors/jt808.json as seeds for fuzz_jt808: seed_jt808.py DIRECTORY"""
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
out = sys.argv[1]
os.makedirs(out, exist_ok=True)
for v in json.load(open(os.path.join(here, "..", "vectors", "jt808.json"), encoding="utf-8")):
    raw = bytes.fromhex(v["hex"])[1:-1].replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")[:-1]
    for mode in (8, 10):
        with open(os.path.join(out, "%s-content-%d" % (v["name"], mode)), "wb") as f:
            f.write(bytes([mode]) + 2 * (len(raw).to_bytes(2, "big") + raw))
    for mode in (0, 1, 2):
        with open(os.path.join(out, "%s-%d" % (v["name"], mode)), "wb") as f:
            f.write(bytes([mode]) + bytes.fromhex(v["hex"]))
