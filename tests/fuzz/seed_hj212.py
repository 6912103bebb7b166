#!/usr/bin/env python3
"""Write the frames of tests/vectors/hj212.json as seeds for fuzz_hj212: seed_hj212.py DIRECTORY"""
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
out = sys.argv[1]
os.makedirs(out, exist_ok=True)


def text(t):
    return bytes([0x60 | len(t)]) + t.encode() if len(t) < 24 else bytes([0x78, len(t)]) + t.encode()


def service(name, *members):
    body = bytes([0xa0 | len(members)]) + b"".join(text(k) + (text(v) if isinstance(v, str) else bytes([v])) for k, v in members)
    return b"!" + b"\xa3\x00\x18\x23\x01" + text(name) + b"\x07" + body


COMMANDS = [service("getTime"), service("queryHistory", ("kind", "hour"), ("begin", "20160801000000"), ("end", "20160802000000")),
            service("setPassword", ("newPW", "654321")), service("stopRealtime"), service("setMinInterval", ("minInterval", 10))]
vectors = json.load(open(os.path.join(here, "..", "vectors", "hj212.json"), encoding="utf-8"))
segments = []
for v in vectors:
    frame = v["text"].encode()
    for mode in (0, 1, 2, 8):
        with open(os.path.join(out, f"{v['name']}-{mode}"), "wb") as f:
            f.write(bytes([mode]) + frame)
    if v["decoded"].get("valid") and "frames" not in v["decoded"]:
        segments.append(frame[6:].rstrip()[:-4])
        for mode in (4, 6, 5):
            with open(os.path.join(out, f"{v['name']}-{mode}"), "wb") as f:
                f.write(bytes([mode]) + segments[-1])
for i, command in enumerate(COMMANDS):
    with open(os.path.join(out, f"command-{i}"), "wb") as f:
        f.write(b"\x04" + b"\n".join(segments[:2] + [command] + segments))
