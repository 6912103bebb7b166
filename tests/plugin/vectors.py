#!/usr/bin/python3
"""Turns the vectors of a protocol into a corpus of the conformance program: vectors.py NAME VECTORS.json OUT."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import terminal  # noqa: E402

PHONE = "013812345678"


def jt808_session(vectors):
    """Every message a terminal can send, as if one terminal sent them all."""
    out = []
    for version in ("2013",):
        phone = PHONE if version == "2013" else PHONE.zfill(20)
        serial = 0
        for v in vectors:
            if v["kind"] != "frame" or v["expect"] != "accept" or v["version"] != version or int(v["message_id"], 16) & 0x8000:
                continue
            content = terminal.unescape(bytes.fromhex(v["hex"])[1:-1])[:-1]
            if content[2] & 0x20:
                continue  # parts of longer messages keep their own serial numbers
            body = content[-v["body_len"]:] if v["body_len"] else b""
            out.append((v["name"], terminal.frame(int(v["message_id"], 16), phone, serial, body, int(version))))
            serial += 1
        # A picture in three parts, and one that never becomes whole.
        media = bytes.fromhex("00000007 00 00 01 01".replace(" ", "")) + bytes(28) + bytes(range(256)) * 4
        for part in range(3):
            out.append((f"media-{version}-{part}", terminal.frame(0x0801, phone, serial, media[part * 400:part * 400 + 400], int(version), (3, part + 1))))
            serial += 1
        out.append((f"media-{version}-open", terminal.frame(0x0801, phone, serial, media[:400], int(version), (3, 1))))
    # Registering and authenticating come first; nobody logs out before the commands of corpus/jt808.txt.
    out.sort(key=lambda step: step[0][:4] not in ("0100", "0102"))
    return [step for step in out if step[0][:4] != "0003"]


def hj212_kind(v):
    decoded = v["decoded"]
    return "b" if "frames" in decoded or decoded.get("error") == "incomplete" else "f" if decoded["valid"] else "r"


def hj212_session(vectors):
    """One device's life: everything it can send, its answers last."""
    return [(v["name"], v["text"].encode()) for v in vectors
            if v["decoded"].get("MN") == "010000A8900016F000169DC0" and v["name"] != "missing-crlf-at-end-of-buffer"]


def jt808_kind(v):
    if v["kind"] == "stream":
        return "b"
    return {"accept": "f", "reject": "r", "reject_or_resync": "w"}.get(v["expect"], "b")


def gb26875_kind(v):
    """Streams and what ends in the middle are bytes; so is the longest frame: cut off, it takes more than two others as its own."""
    decoded = v["decoded"]
    if "frames" in decoded or decoded.get("error") == "incomplete" or decoded.get("length", 0) > 500:
        return "b"
    if not decoded["valid"]:
        return "f" if decoded["error"] == "adu" else "r"
    return "w" if decoded["command"] in (1, 4) else "f"


def gb26875_session(vectors):
    """All uploads, as if one device sent them all."""
    out = []
    for serial, v in enumerate(v for v in vectors if v["decoded"]["valid"] and v["decoded"].get("command") == 2):
        head = bytes.fromhex(v["hex"])
        body = serial.to_bytes(2, "little") + head[4:12] + bytes.fromhex("790300000000") + head[18:-3]
        out.append((v["name"], b"@@" + body + bytes([sum(body) & 255]) + b"##"))
    return out


def modbus_frames(vectors):
    """The corpus runs with MBAP: those frames can stand alone. All other vectors have tests of their own."""
    return [{**v, "name": v["id"]} for v in vectors["vectors"] if v["kind"] == "adu" and v["transport"] == "tcp"]


def modbus_kind(v):
    """A header promises so many bytes: cut off behind it, the longest takes more than two others as its own."""
    return "b" if len(v["hex"]) > 40 else "f"


def main(name, source, target):
    vectors = json.loads(pathlib.Path(source).read_text())
    if name == "modbus":
        vectors = modbus_frames(vectors)
    kind, session = {"jt808": (jt808_kind, jt808_session), "gb26875": (gb26875_kind, gb26875_session),
                     "hj212": (hj212_kind, hj212_session), "modbus": (modbus_kind, lambda vectors: [])}[name]
    lines = [f"# Made from {pathlib.Path(source).name}."]
    lines += [f"{kind(v)} {v['name']} {v['hex'] if 'hex' in v else v['text'].encode().hex()}" for v in vectors]
    lines += [f"s {step} {frame.hex()}" for step, frame in session(vectors)]
    pathlib.Path(target).write_text("\n".join(lines) + "\n")


main(*sys.argv[1:])
