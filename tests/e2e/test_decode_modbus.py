"""`causeway decode modbus` shows every vector as the vectors say. covers: M03"""
import json
import subprocess

import pytest
from conftest import BUILD, ROOT

VECTORS = json.loads((ROOT / "tests" / "vectors" / "modbus.json").read_text())["vectors"]


def decode(lines, **settings):
    sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    run = subprocess.run([BUILD / "bin" / "causeway", "decode", *sets, "modbus", "-"], input="\n".join(lines) + "\n",
                         capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in run.stdout.splitlines()], run


def shown(frame):
    return {**frame["header"], **frame["fields"]}


def of(kind):
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] == kind]


@pytest.mark.parametrize("v", of("adu"))
@pytest.mark.parametrize("hints", [True, False])
def test_frames_of_both_directions(v, hints):
    """With what the vector knows, and with nothing but the bytes."""
    settings = {"quantity": v.get("requested_quantity", 0)}
    if hints:
        settings |= {"framing": v["transport"], "direction": v["dir"]}
    frames, run = decode([v["hex"]], **settings)
    assert run.returncode == 0 and len(frames) == 1 and frames[0]["ok"], run.stdout
    got = shown(frames[0])
    said = got.pop("dir")
    if not hints and said != v["dir"]:  # the answers that are their request again
        assert v["expect"]["fc"] in (5, 6, 16, 22)
    assert got == v["expect"]


@pytest.mark.parametrize("v", of("invalid"))
@pytest.mark.parametrize("hints", [True, False])
def test_frames_that_are_none(v, hints):
    frames, run = decode([v["hex"]], **({"framing": v["transport"], "direction": v["dir"]} if hints else {}))
    assert run.returncode == 1 and len(frames) == 1 and not frames[0]["ok"], run.stdout
    assert frames[0]["fields"]["error"] == v["expect"]["error"]
    assert frames[0]["error"]["text"].startswith(v["expect"]["error"])
    assert frames[0]["frame"] == v["hex"].lower()


@pytest.mark.parametrize("v", of("dtu"))
def test_envelopes_of_dtus(v):
    frames, run = decode([v["hex"]], envelope=v["envelope"])
    assert run.returncode == 0 and len(frames) == 1, run.stdout
    want = dict(v["expect"])
    got = shown(frames[0])
    assert {key: got.get(key) for key in want} == want
    assert frames[0]["replies"] == ([want["reply"].lower()] if "reply" in want else [])


def test_an_answer_is_read_as_its_request_said():
    request, answer = "1A2B00000006010100130013", "1A2B00000006010103CD6B05"
    frames, _ = decode([request, answer])
    assert frames[0]["header"]["dir"] == "request"
    assert len(frames[1]["fields"]["bits"]) == 0x13
    frames, _ = decode([answer])
    assert len(frames[0]["fields"]["bits"]) == 24
    # A write's answer is its request again.
    write = "01050001FF00DDFA"
    frames, _ = decode([write, write])
    assert [f["header"]["dir"] for f in frames] == ["request", "response"]


def test_a_capture_with_noise_and_heartbeats():
    settings = {"framing": "rtu", "heartbeats": '[{ hex = "FE", reply = "FE" }]', "registration": "{ mode = once, length = 15 }"}
    frames, _ = decode(["383638333333303331323334353637FE1103006B00037687FFFF110306AE415652434049AD"], **settings)
    assert [shown(f).get("event") for f in frames] == ["register", "heartbeat", None, None, None]
    assert shown(frames[0])["id"] == "868333031234567" and frames[1]["replies"] == ["fe"]
    assert [f["ok"] for f in frames] == [True, True, True, False, True] and frames[3]["frame"] == "ffff"
    assert frames[4]["fields"]["registers"] == [44609, 22098, 17216]


def test_the_two_families_of_envelopes_beyond_the_vectors():
    """PROT's lone FE, DDP's deregistration and data behind the closing 7B, the family between 7B and 7D."""
    frames, _ = decode(["FE", "FE0103"], envelope="prot")
    assert [shown(f)["event"] for f in frames] == ["heartbeat", "heartbeat", "data"]
    frames, _ = decode(["7B02001031333931323334353637387B", "7B09001031333931323334353637387B" "01030200E639CE"], envelope="ddp")
    assert [shown(f)["event"] for f in frames] == ["deregister", "data", "data"]
    assert frames[0]["replies"] == ["7b82001031333931323334353637387b"] and frames[2]["fields"]["data"] == "01030200E639CE"
    frames, _ = decode(["7B300C0031333931323334353637387D", "7B320F00313339313233343536373801027D"], envelope="braces")
    assert shown(frames[0])["event"] == "heartbeat" and frames[0]["replies"] == ["7b300c0031333931323334353637387d"]
