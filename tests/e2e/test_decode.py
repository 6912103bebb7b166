"""`causeway decode` against the vectors of every protocol sheet: the tool that people debug devices with."""
import json
import struct
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from terminal import Message, frame, location, unescape  # noqa: E402


def decode(text, *args, protocol="jt808"):
    """(exit status, [objects], stderr) of `causeway decode` on that standard input."""
    data = text if isinstance(text, bytes) else text.encode()
    done = subprocess.run([BUILD / "bin" / "causeway", "decode", *args, protocol, "-"], input=data, capture_output=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def vectors(protocol):
    return json.loads((ROOT / "tests" / "vectors" / f"{protocol}.json").read_text())


JT808 = vectors("jt808")
HEADER = ("version", "message_id", "phone", "serial", "protocol_version", "body_len")


def check_header(got, vector):
    for key in HEADER:
        if key not in vector:
            continue
        want = vector[key]
        if key == "version" and want not in ("2011", "2013", "2019"):
            continue
        assert got["header"].get(key) == want, key


@pytest.mark.parametrize("vector", [v for v in JT808 if v["kind"] == "frame"], ids=lambda v: v["name"])
def test_a_jt808_frame_is_decoded_as_its_vector_says(vector):
    """covers: M01"""
    status, objects, err = decode(vector["hex"])
    frames = [o for o in objects if o["frame"]]
    assert frames, err
    expect = vector["expect"]
    if expect in ("accept", "accept_lenient"):
        assert len(frames) == 1 and frames[0]["ok"], frames
        assert frames[0]["frame"] == vector["hex"].lower()
        check_header(frames[0], vector)
        if not vector.get("fragment"):
            for key, want in vector.get("decoded", {}).items():
                assert frames[0]["fields"].get(key) == want, key
    elif expect == "reject":
        assert not frames[0]["ok"] and frames[0]["error"]["code"]
        assert status == 1
    if expect == "accept_lenient":
        _, strict, _ = decode(vector["hex"], "--set", "strict = true")
        refused = [o for o in strict if not o["ok"]]
        answers = [r for o in strict for r in o["replies"]]
        assert refused or answers, "strict mode must drop it or answer an error"


@pytest.mark.parametrize("version", [2013, 2019])
def test_the_answer_a_terminal_would_get_stands_beside_its_frame(version):
    """covers: M01"""
    def answers(message_id, body=b"", *args):
        _, objects, err = decode(frame(message_id, "13912345678", 7, body, version).hex(), *args)
        assert len(objects) == 1, err
        return [Message(unescape(bytes.fromhex(r)[1:-1])[:-1]) for r in objects[0]["replies"]]

    [general] = answers(0x0002)
    assert (general.id, general.body) == (0x8001, bytes.fromhex("0007000200"))
    [general] = answers(0x0200, location())
    assert general.body == bytes.fromhex("0007020000")
    [registered] = answers(0x0100, bytes(80) + b"A1")
    assert registered.id == 0x8100 and registered.body[:3] == b"\x00\x07\x00" and registered.body[3:]
    picture = struct.pack(">IBBBB", 5, 0, 0, 1, 2) + location() + b"jpeg"
    assert [(a.id, a.body) for a in answers(0x0801, picture)] == [(0x8001, bytes.fromhex("0007080100")), (0x8800, bytes(3) + b"\x05")]
    assert [a.id for a in answers(0x0004)] == ([0x8004])
    assert answers(0x0001, bytes(5)) == [] and answers(0x8104) == []
    assert answers(0x0200, b"\0", "--set", "strict = true")[0].body[4] == 2
    assert answers(0x0805, b"\0\1\1", "--set", "ackAnswers = false") == []


@pytest.mark.parametrize("vector", [v for v in JT808 if v["kind"] == "stream"], ids=lambda v: v["name"])
def test_a_jt808_stream_is_cut_as_its_vector_says(vector):
    _, objects, _ = decode(bytes.fromhex(vector["hex"]))
    good = [o["frame"] for o in objects if o["ok"]]
    # A delimiter that two frames share is shown with the first of them.
    assert [f.removeprefix("7e") for f in good] == [f["hex"].removeprefix("7e") for f in vector["decoded"]["frames"] if f["accept"]]
    pending = vector["decoded"].get("pending_hex", vector.get("pending_hex", ""))
    incomplete = [o["frame"] for o in objects if o["error"] and o["error"]["code"] == "incomplete"]
    assert incomplete == ([pending] if pending else [])


def groups():
    """Vectors of one sub-packaged message, in order: the last one carries what the whole decodes to."""
    last = [i for i, v in enumerate(JT808) if "reassembled_decoded" in v]
    for i in last:
        total = JT808[i]["fragment"]["total"] if isinstance(JT808[i]["fragment"], dict) else JT808[i]["fragment"][0]
        parts = [v for v in JT808[: i + 1] if v.get("fragment") and v["phone"] == JT808[i]["phone"]
                 and v["message_id"] == JT808[i]["message_id"]][-total:]
        yield JT808[i], parts


@pytest.mark.parametrize("last, parts", list(groups()), ids=lambda v: v["name"] if isinstance(v, dict) else "")
def test_sub_packages_are_put_together(last, parts):
    _, objects, _ = decode("\n".join(v["hex"] for v in parts))
    whole = [o for o in objects if o["ok"]][-1]["fields"]["reassembled_decoded"]
    for key, want in last["reassembled_decoded"].items():
        assert whole.get(key) == want, key


def test_what_is_no_hex_and_what_has_no_end_is_said():
    good = next(v["hex"] for v in JT808 if v["kind"] == "frame" and v["expect"] == "accept")
    status, objects, err = decode(f"zz\n{good[:20]}\n# a comment\n0x{good}\n")
    assert status == 1 and "line 1 is no hex" in err
    assert [o["ok"] for o in objects] == [False, True]
    assert objects[0]["error"]["code"] == "incomplete"


def test_settings_are_checked_and_unknown_protocols_name_the_known():
    good = next(v["hex"] for v in JT808 if v["kind"] == "frame" and v["expect"] == "accept")
    status, _, err = decode(good, "--set", "timezon = UTC")
    assert status == 1 and "timezone" in err
    status, _, err = decode(good, protocol="jt809")
    assert status == 1 and "jt808" in err
