"""Faults of messages and connections, limits and their violations, and the platform's clock."""
import hashlib
import hmac
import json
import ssl
import time

import pytest
from cloud_client import DEV, GW, SUB1, SUB2, Client, Raw, add_sub, connect_packet, gateway, online_sub, publish_packet, session_topic, sys_topic
from conftest import PATIENCE, wait_until

POST = sys_topic(DEV, "thing/event/property/post")
REPLY = POST + "_reply"
UP = f"/{DEV[0]}/{DEV[1]}/user/update"
GET = f"/{DEV[0]}/{DEV[1]}/user/get"
ID = f"{DEV[0]}/{DEV[1]}"

OFF = """
products = [ { productKey = a1EmuGw0001, nodeType = gateway }, { productKey = a1EmuPk0001 }
             { productKey = a1EmuSub001, nodeType = subdevice } ]
devices = [ { productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }
            { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef } ]
"""


@pytest.fixture
def device(cloud):
    with Client(cloud, DEV, subscribe=[REPLY, GET]) as c:
        yield c


def send(cloud, payload, qos=0):
    """One message to the device on its own topic."""
    cloud.request("POST", f"/devices/{ID}/raw", payload if isinstance(payload, bytes) else payload.encode(), topic=GET, qos=qos)


def taken(cloud, topic=UP):
    return [m["payload"] for m in cloud.messages(topic=topic, direction="up") if m["outcome"] == "taken"]


def arrived(device):
    return [m.payload.decode() for m in device.fence() if m.topic == GET]


# ---- messages from devices ----


def test_drop_up(cloud, device):
    cloud.fault("drop", direction="up", topic=UP, count=1, after=1)
    for i in range(3):
        device.publish(UP, str(i))
    assert taken(cloud) == ["0", "2"]
    lost = [m for m in cloud.messages(topic=UP) if m["outcome"] == "lost"]
    assert [(m["payload"], m["reason"]) for m in lost] == [("1", "dropped by a fault")]


def test_duplicate_up(cloud, device):
    cloud.fault("duplicate", direction="up", topic=POST, count=1)
    got = device.ask(POST, {"params": {"t": 1}})
    assert json.loads(device.receive_on(REPLY).payload)["id"] == got["id"]
    assert len(taken(cloud, POST)) == 2


def test_reorder_up(cloud, device):
    cloud.fault("reorder", direction="up", topic=UP, count=1, ms=3600000)
    for i in range(3):
        device.publish(UP, str(i))
    assert taken(cloud) == ["1", "0", "2"]


def test_reorder_up_waits_no_longer_than_ms(cloud, device):
    cloud.fault("reorder", direction="up", topic=UP, count=1, ms=3600000)
    device.publish(UP, "alone")
    assert taken(cloud) == []
    cloud.post("/clock", {"advance": "1h"})
    wait_until(lambda: taken(cloud) == ["alone"])


def test_delay_up_and_down(cloud, device):
    cloud.fault("delay", direction="up", topic=UP, ms=600000, count=1)
    cloud.fault("delay", direction="down", topic=GET, ms=600000, count=1)
    device.publish(UP, "late")
    device.publish(UP, "soon")
    assert taken(cloud) == ["soon"]
    send(cloud, "late")
    send(cloud, "soon")
    assert arrived(device) == ["soon"]
    cloud.post("/clock", {"advance": "10m"})
    wait_until(lambda: taken(cloud) == ["soon", "late"])
    assert device.receive_on(GET).payload == b"late"


def test_corrupt_up(cloud, device):
    cloud.fault("corrupt", direction="up", topic=UP, count=1, seed=7)
    device.publish(UP, "a" * 40)
    device.publish(UP, "a" * 40)
    first, second = cloud.messages(topic=UP)
    raw = bytes.fromhex(first["payloadHex"]) if "payloadHex" in first else first["payload"].encode()
    assert len(raw) == 40 and sum(b != ord("a") for b in raw) == 1
    assert second["payload"] == "a" * 40


# ---- messages to devices ----


def test_drop_duplicate_reorder_corrupt_down(cloud, device):
    cloud.fault("drop", direction="down", topic=GET, count=1)
    cloud.fault("duplicate", direction="down", topic=GET, count=1)
    cloud.fault("reorder", direction="down", topic=GET, after=1, count=1, ms=3600000)
    for i in range(5):
        send(cloud, str(i))
    got = arrived(device)
    assert got[:2] == ["1", "1"]  # 0 is lost, 1 comes twice
    assert got[2:] == ["3", "2", "4"]  # 3 overtakes 2
    cloud.fault("corrupt", direction="down", topic=GET, count=1, seed=3)
    send(cloud, "b" * 20)
    got = device.receive_on(GET).payload
    assert len(got) == 20 and sum(b != ord("b") for b in got) == 1
    reasons = [m.get("reason") for m in cloud.messages(topic=GET, direction="down")]
    assert reasons[0] == "dropped by a fault" and reasons[-1] == "corrupted by a fault"


def test_what_is_held_for_a_persistent_session_is_kept(cloud):
    with Client(cloud, DEV, clean=False) as c:
        assert c.subscribe(GET, qos=1) == [1]
        cloud.fault("delay", direction="down", topic=GET, ms=3600000)
        send(cloud, "kept", qos=1)
        c.fence()
    cloud.delete("/faults")
    with Client(cloud, DEV, clean=False) as c:
        assert c.receive_on(GET).payload == b"kept"


def test_faults_of_one_channel_and_one_direction(cloud, device):
    cloud.fault("drop", channel="https", topic=UP)
    cloud.fault("drop", direction="down", topic=UP)
    device.publish(UP, "1")
    assert taken(cloud) == ["1"]
    cloud.fault("drop", channel="mqtt", direction="up")
    device.publish(UP, "2")
    assert taken(cloud) == ["1"]


@pytest.mark.parametrize("own", [True, False])
def test_same_seed_same_behaviour(start_cloud, own):
    runs = []
    for seed in (5, 5, 6):
        cloud = start_cloud(OFF + "limits.profile = off\n" + ("" if own else f"faultSeed = {seed}\n"), name=f"c{len(runs)}")
        with Client(cloud, DEV) as c:
            cloud.fault("drop", direction="up", topic=UP, probability=0.4, **({"seed": seed} if own else {}))
            for i in range(60):
                c.publish(UP, str(i), qos=0)
            c.fence()
            runs.append(taken(cloud))
    assert runs[0] == runs[1] != runs[2]
    assert 15 < len(runs[0]) < 55


def test_faults_from_the_file(start_cloud):
    cloud = start_cloud(OFF + 'faults = [ { kind = drop, direction = up, channel = mqtt, after = 1, probability = 1, seed = 3 } ]\n')
    assert cloud.get("/faults")["faults"][0] | {"hits": 0} == {
        "id": 1, "kind": "drop", "device": None, "topic": None, "channel": "mqtt", "direction": "up", "code": 0, "ms": 0,
        "left": -1, "hits": 0, "after": 1, "seed": 3}
    with Client(cloud, DEV) as c:
        c.publish(UP, "0")
        c.publish(UP, "1")
    assert taken(cloud) == ["0"]


@pytest.mark.parametrize("spec", [
    {"kind": "drop", "direction": "left"}, {"kind": "drop", "probability": 0}, {"kind": "drop", "probability": 1.5},
    {"kind": "drop", "after": -1}, {"kind": "throttle"}, {"kind": "drop", "rate": 5}, {"kind": "stall", "probability": 0.5},
    {"kind": "stall", "count": 1}, {"kind": "status"}, {"kind": "nothing"}, {"kind": "drop", "count": 0}, {"kind": "drop", "x": 1}])
def test_malformed_faults_are_refused(cloud, spec):
    status, answer = cloud.request("POST", "/faults", spec)
    assert status == 400 and answer["error"]
    assert cloud.get("/faults")["faults"] == []


# ---- connections ----


def test_cut_behind_a_message(cloud, device):
    cloud.fault("cut", topic=UP, after=2, count=1)
    for i in range(3):
        device.publish(UP, str(i))  # the third is taken, and acknowledged
    device.closed.get(timeout=PATIENCE)
    assert taken(cloud) == ["0", "1", "2"]
    wait_until(lambda: cloud.device(*DEV[:2])["status"] == "OFFLINE")
    got = cloud.get("/violations", device=ID)["devices"][ID]
    assert [(v["limit"], v["done"]) for v in got] == [("fault", "connection cut")]
    wait_until(lambda: "cut by a fault" in cloud.process.stderr())


def test_nothing_passes_a_connection_that_is_cut(cloud):
    cloud.fault("cut", topic=UP, direction="up", after=1)
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(b"".join(publish_packet(UP, str(i).encode()) for i in range(10)))
        assert raw.at_end()
    assert taken(cloud) == ["0", "1"]


def test_kick_of_a_sub_device_behind_its_message(cloud):
    with gateway(cloud, subscribe=[session_topic(GW, "login_reply"), sys_topic(GW, "thing/topo/add_reply")]) as gw:
        add_sub(gw, SUB1, SUB2)
        for sub in (SUB1, SUB2):
            online_sub(gw, sub)
        topic = f"/{SUB1[0]}/{SUB1[1]}/user/update"
        cloud.fault("kick", device="/".join(SUB1[:2]), topic=topic, code=522, count=1)
        gw.publish(topic, "last")
        m = gw.receive_on(f"/ext/error/{GW[0]}/{GW[1]}")
        assert json.loads(m.payload)["code"] == 522
        assert taken(cloud, topic) == ["last"]
        assert cloud.device(*SUB2[:2])["status"] == "ONLINE" and cloud.device(*SUB1[:2])["status"] == "OFFLINE"


def test_half_close(cloud):
    with Raw(cloud) as raw:
        raw.login(DEV)
        assert cloud.fault("half_close", device=ID)["hits"] == 1
        assert raw.at_end()
        raw.send(publish_packet(UP, b"still heard"))
        cloud.wait_message(topic=UP)
    with Raw(cloud) as raw:
        raw.login(DEV)
        cloud.fault("half_close", direction="up", topic=UP)
        raw.send(publish_packet(UP, b"1"))
        assert raw.at_end()
        raw.send(publish_packet(UP, b"2"))
        wait_until(lambda: taken(cloud) == ["still heard", "1", "2"])


def test_stall_after_some_messages(cloud, device):
    fault = cloud.fault("stall", device=ID, after=2)
    device.publish(UP, "0")
    device.publish(UP, "1")
    device.publish(UP, "2", qos=0)
    with Client(cloud, GW) as other:  # somebody else's round trip
        other.publish(f"/{GW[0]}/{GW[1]}/user/update", "x")
    assert taken(cloud) == ["0", "1"]
    cloud.delete(f"/faults/{fault['id']}")
    wait_until(lambda: taken(cloud) == ["0", "1", "2"])


def test_throttle(cloud):
    """30 kB at 20,000 bytes a second, of which the first second's may come at once: what follows has to wait half a second."""
    cloud.fault("throttle", device=ID, rate=20000)
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(publish_packet(UP, b"x" * 30000, qos=1))
        assert raw.packet()[0] == 0x40
        start = time.monotonic()
        raw.send(publish_packet(UP, b"last", qos=1, mid=2))
        assert raw.packet()[0] == 0x40
        assert time.monotonic() - start > 0.2
    assert cloud.stats()["throttled"] >= 1


# ---- limits ----


def test_violations_are_shown(cloud, device):
    for i in range(300):  # some are too many
        device.publish(UP, str(i), qos=0)
    wait_until(lambda: cloud.stats()["published"] == 300)
    cloud.post("/clock", {"advance": 2})
    device.publish(UP + "/" + "x" * 128, "long", qos=0)
    device.publish(f"/{DEV[0]}/{DEV[1]}/user/1/2/3/4/5/6", "deep", qos=0)
    device.fence()
    for i in range(60):
        send(cloud, str(i), qos=1)
    got = cloud.get("/violations")
    assert got["totals"]["publishQos0"] >= 1 and got["totals"]["downPerSecond"] >= 1
    assert got["totals"]["topicBytes"] == 1 and got["totals"]["topicSlashes"] == 1
    kept = got["devices"][ID]
    assert len(kept) == 16 and kept[0]["limit"] == "downPerSecond" and kept[0]["done"] == "not sent"
    assert abs(kept[0]["time"] - cloud.get("/clock")["now"]) < 600000
    assert cloud.get("/violations", device="a1EmuGw0001/gw-0001")["devices"] == {}
    cloud.post("/reset")
    assert cloud.get("/violations") == {"totals": {}, "devices": {}}


def test_connects_a_minute_reopen_with_the_clock(cloud):
    for _ in range(5):
        with Raw(cloud) as raw:
            assert raw.login(DEV)[1] == b"\0\0"
    with Raw(cloud) as raw:
        assert raw.login(DEV)[1][1] != 0
    assert cloud.get("/violations", device=ID)["totals"]["connectPerMinute"] == 1
    cloud.post("/clock", {"advance": "1m"})
    with Raw(cloud) as raw:
        assert raw.login(DEV)[1] == b"\0\0"


def test_profile_off_lifts_the_rates(start_cloud):
    cloud = start_cloud(OFF + "limits.profile = off\n")
    with Client(cloud, DEV) as c:
        for i in range(100):
            c.publish(UP, str(i), qos=0)
        c.fence()
    assert len(taken(cloud)) == 100 and cloud.get("/violations")["totals"] == {}


# ---- the clock ----


def test_the_clock(cloud):
    before = cloud.get("/clock")
    assert before["aheadMs"] == 0
    got = cloud.post("/clock", {"advance": "31d"})
    assert got["aheadMs"] == 31 * 86400000 and got["now"] >= before["now"] + 31 * 86400000
    assert cloud.post("/clock", {"advance": 30})["aheadMs"] == 31 * 86400000 + 30000
    for bad in (-1, "d", "1y", "", None, 1.5, "99999999999999999999d", 101 * 365 * 86400):
        assert cloud.request("POST", "/clock", {"advance": bad})[0] == 400


@pytest.mark.parametrize("days, kept", [("6d", True), ("8d", False)])
def test_stored_messages_expire_after_seven_days(cloud, days, kept):
    with Client(cloud, DEV, clean=False) as c:
        assert c.subscribe(GET, qos=1) == [1]
    cloud.wait_status(*DEV[:2], "OFFLINE")
    send(cloud, "stored", qos=1)
    cloud.post("/clock", {"advance": days})
    with Client(cloud, DEV, clean=False) as c:
        assert [m.payload for m in c.fence() if m.topic == GET] == ([b"stored"] if kept else [])


def test_a_registration_connection_ends_after_15_seconds(cloud):
    """It ends by the platform's clock; a device would have to read its secret and go."""
    digest = hmac.new(b"EmuPs0123456789A", f"deviceName{DEV[1]}productKey{DEV[0]}random1".encode(), hashlib.sha256).hexdigest()
    cid = f"{DEV[1]}.{DEV[0]}|securemode=2,authType=register,random=1,signmethod=hmacsha256|"
    with Raw(cloud, ssl.create_default_context(cafile=cloud.ca)) as raw:
        raw.send(connect_packet(cid, f"{DEV[1]}&{DEV[0]}", digest))
        assert raw.packet() == (0x20, b"\0\0")
        assert raw.packet()[0] >> 4 == 3
        cloud.post("/clock", {"advance": "16s"})
        assert raw.at_end()
