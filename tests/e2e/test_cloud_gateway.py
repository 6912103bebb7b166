"""Gateways: topology, sub-device sessions, kicks and their codes."""
import json

import pytest
from cloud_client import (DEV, GW, SUB1, SUB2, SUB3, Client, add_sub, gateway, login_entry, login_sub,
                          online_sub, session_topic, sys_topic, topo_entry)

GW2 = ("a1EmuGw0001", "gw-0002", "0123456789abcdef0123456789abcd02")


def topo(gw, verb, params):
    return gw.ask(sys_topic(gw.device, f"thing/topo/{verb}"), {"method": f"thing.topo.{verb}", "params": params})


def names(*devices):
    return [{"productKey": d[0], "deviceName": d[1]} for d in devices]


def error(gw):
    return json.loads(gw.receive_on(f"/ext/error/{gw.device[0]}/{gw.device[1]}").payload)


@pytest.fixture
def gw(cloud):
    with gateway(cloud) as client:
        yield client


@pytest.fixture
def gw2(cloud):
    cloud.add_device(*GW2)
    with gateway(cloud, GW2) as client:
        yield client


def test_add_get_and_delete(cloud, gw):
    """covers: L01 L03"""
    got = topo(gw, "add", [topo_entry(SUB1), topo_entry(SUB2, "hmacMd5")])
    assert got["code"] == 200 and got["data"] == names(SUB1, SUB2) and got["method"] == "thing.topo.add"
    assert sorted(cloud.device(*GW[:2])["subDevices"]) == [f"{SUB1[0]}/{SUB1[1]}", f"{SUB2[0]}/{SUB2[1]}"]
    assert topo(gw, "add", [topo_entry(SUB1, "hmacSha1")])["code"] == 200  # again: no harm
    assert topo(gw, "get", {})["data"] == names(SUB1, SUB2)
    assert topo(gw, "get", "{}")["data"] == names(SUB1, SUB2)  # one SDK sends the text {}
    assert topo(gw, "delete", names(SUB1))["data"] == names(SUB1)
    assert topo(gw, "get", {})["data"] == names(SUB2)
    assert topo(gw, "delete", names(SUB1))["code"] == 6401
    assert login_sub(gw, SUB1)["code"] == 6401


def test_timestamp_as_a_number_and_either_spelling_of_the_method(gw):
    entry = topo_entry(SUB1)
    entry["timestamp"] = int(entry["timestamp"])
    entry["signMethod"] = entry.pop("signmethod")
    assert topo(gw, "add", [entry])["code"] == 200
    entry = login_entry(SUB1, timestamp=1581417203000)
    assert gw.ask(session_topic(GW, "login"), {"params": entry})["code"] == 200


def test_refusals_of_add(cloud, gw):
    bad = topo_entry(SUB1)
    bad["sign"] = "0" * 64
    assert topo(gw, "add", [bad])["code"] == 401
    assert topo(gw, "add", [])["code"] == 460
    assert topo(gw, "add", {})["code"] == 460
    assert topo(gw, "add", [{"productKey": "x"}])["code"] == 460
    assert topo(gw, "add", [topo_entry((SUB1[0], "nobody", "x"))])["code"] == 6100
    assert topo(gw, "add", [topo_entry(GW)])["code"] == 6402
    cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/disable")
    assert topo(gw, "add", [topo_entry(SUB1)])["code"] == 6204
    # One wrong entry: nothing is added.
    assert topo(gw, "add", [topo_entry(SUB2), bad])["code"] == 401
    assert topo(gw, "get", {})["data"] == []


def test_the_1501st_relation_is_refused(cloud, gw):
    """covers: E18"""
    cloud.request("POST", "/reset")
    with gateway(cloud) as again:
        many = [(SUB1[0], f"many-{i:04}", "secret") for i in range(1501)]
        for d in many:
            cloud.add_device(*d)
            if d is not many[-1]:
                cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo", {"action": "add", "productKey": d[0], "deviceName": d[1]})
        assert topo(again, "add", [topo_entry(many[-1])])["code"] == 6400
        assert topo(again, "add", [topo_entry(many[0])])["code"] == 200


def test_a_direct_device_gets_no_sub_devices(cloud):
    """covers: D03"""
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/topo/add_reply")]) as device:
        assert topo(device, "add", [topo_entry(SUB1)])["code"] == 460


def test_login_and_logout(cloud, gw):
    """covers: L06 D21"""
    add_sub(gw, SUB1)
    assert cloud.device(*SUB1[:2])["status"] == "UNACTIVE"
    got = login_sub(gw, SUB1)
    assert got == {"id": got["id"], "code": 200, "message": "success", "data": names(SUB1)[0],
                   "method": "combine.login", "version": "1.0"}
    assert cloud.device(*SUB1[:2])["session"]["gateway"] == f"{GW[0]}/{GW[1]}"
    assert login_sub(gw, SUB1)["code"] == 200  # online already
    got = gw.ask(session_topic(GW, "logout"), {"params": names(SUB1)[0]})
    assert got["code"] == 200 and got["data"] == names(SUB1)[0]
    assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"
    assert gw.ask(session_topic(GW, "logout"), {"params": names(SUB1)[0]})["code"] == 520


def test_a_numeric_id_comes_back_as_text(gw):
    gw.publish(session_topic(GW, "logout"), {"id": 123, "params": names(SUB1)[0]}, 0)
    got = json.loads(gw.receive_on(session_topic(GW, "logout_reply")).payload)
    assert got["id"] == "123" and got["code"] == 520


def test_refusals_of_login(cloud, gw):
    assert login_sub(gw, SUB1)["code"] == 6401
    add_sub(gw, SUB1)
    assert gw.ask(session_topic(GW, "login"), {"params": {}})["code"] == 460
    assert gw.ask(session_topic(GW, "login"), {"params": {**login_entry(SUB1), "sign": "0" * 64}})["code"] == 6287
    assert login_sub(gw, (SUB1[0], "nobody", "x"))["code"] == 6100
    cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/disable")
    assert login_sub(gw, SUB1)["code"] == 522
    cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/enable")
    cloud.delete(f"/devices/{SUB1[0]}/{SUB1[1]}")
    got = login_sub(gw, SUB1)
    assert got["code"] == 521 and got["data"] == names(SUB1)[0]
    assert cloud.stats()["loginsRefused"] == 6


def test_a_deleted_device_made_anew_has_another_secret(cloud, gw):
    """covers: D24 E10"""
    add_sub(gw, SUB1)
    cloud.delete(f"/devices/{SUB1[0]}/{SUB1[1]}")
    made = cloud.add_device(SUB1[0], SUB1[1])
    assert made["deviceSecret"] != SUB1[2]
    assert topo(gw, "add", [topo_entry(SUB1)])["code"] == 401
    assert topo(gw, "add", [topo_entry((SUB1[0], SUB1[1], made["deviceSecret"]))])["code"] == 200


def test_the_sixth_login_of_a_minute_is_429(gw):
    add_sub(gw, SUB1)
    for _ in range(5):
        assert login_sub(gw, SUB1)["code"] == 200
        assert gw.ask(session_topic(GW, "logout"), {"params": names(SUB1)[0]})["code"] == 200
    assert login_sub(gw, SUB1)["code"] == 429


def test_batch_login_is_all_or_nothing_and_at_most_five(cloud, gw):
    add_sub(gw, SUB1, SUB2)
    batch = lambda *subs: gw.ask(session_topic(GW, "batch_login"), {"params": {"deviceList": [login_entry(s) for s in subs]}})
    got = batch(SUB1, SUB2, SUB3)
    assert got["code"] == 6401 and got["data"] == names(SUB3)
    assert cloud.device(*SUB1[:2])["status"] == "UNACTIVE"
    assert batch(SUB1, SUB2)["data"] == names(SUB1, SUB2)
    assert cloud.device(*SUB2[:2])["status"] == "ONLINE"
    assert batch()["code"] == 460
    assert batch(SUB1, SUB1, SUB1, SUB1, SUB1, SUB1)["code"] == 460
    logout = lambda *subs: gw.ask(session_topic(GW, "batch_logout"), {"params": names(*subs)})
    assert logout(SUB1, SUB3)["code"] == 520
    assert cloud.device(*SUB1[:2])["status"] == "ONLINE"
    assert logout(SUB1, SUB2)["data"] == names(SUB1, SUB2)
    assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"


def test_one_sign_method_beside_the_device_list(gw):
    add_sub(gw, SUB1)
    entry = login_entry(SUB1)
    method = entry.pop("signMethod")
    got = gw.ask(session_topic(GW, "batch_login"), {"params": {"deviceList": [entry], "signMethod": method}})
    assert got["code"] == 200


def test_a_tail_in_the_sub_devices_client_id_is_signed_and_heeded(cloud, gw):
    """_ss=1 there: system topics come without SUBSCRIBE."""
    add_sub(gw, SUB1)
    entry = login_entry(SUB1, client_id=f"{SUB1[0]}.{SUB1[1]}|_ss=1,_v=sdk-c-3.2.0|")
    assert gw.ask(session_topic(GW, "login"), {"params": entry})["code"] == 200
    assert cloud.device(*SUB1[:2])["systemTopics"] is True
    got = gw.ask(sys_topic(SUB1, "thing/event/property/post"), {"method": "thing.event.property.post", "params": {"a": 1}})
    assert got["code"] == 200


def test_the_end_of_the_gateway_ends_its_sub_devices(cloud):
    with gateway(cloud) as gw:
        online_sub(gw, SUB1)
        online_sub(gw, SUB2)
        gw.vanish()
    cloud.wait_status(*GW[:2], "OFFLINE")
    assert {cloud.device(*s[:2])["status"] for s in (SUB1, SUB2)} == {"OFFLINE"}
    with gateway(cloud) as gw:
        assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"  # no one comes back by itself
        assert login_sub(gw, SUB1)["code"] == 200  # the relation has stayed


def test_a_move_to_another_gateway(cloud, gw, gw2):
    online_sub(gw, SUB1)
    assert topo(gw2, "add", [topo_entry(SUB1)])["code"] == 200
    told = error(gw)
    assert told["code"] == 6401 and told["data"] == names(SUB1)[0] and told["id"] == "0"
    change = json.loads(gw.receive_on(sys_topic(GW, "thing/topo/change")).payload)
    assert change["params"] == {"status": 1, "subList": names(SUB1)} and change["method"] == "thing.topo.change"
    assert cloud.device(*SUB1[:2])["gateway"] == f"{GW2[0]}/{GW2[1]}"
    assert login_sub(gw2, SUB1)["code"] == 200
    assert login_sub(gw, SUB1)["code"] == 6401


def test_a_direct_login_kicks_the_same_device_from_its_gateway(cloud, gw):
    online_sub(gw, DEV)
    with Client(cloud, DEV) as device:
        assert device.code == 0
        told = error(gw)
        assert told["code"] == 427 and told["data"] == names(DEV)[0]
        # and back: a login through the gateway closes the direct connection
        assert login_sub(gw, DEV)["code"] == 200
        assert device.closed.get(timeout=30) is not None


@pytest.mark.parametrize("path, code, status, down", [("disable", 522, 8, "thing/disable"), (None, 521, 1, "thing/delete")])
def test_disable_and_delete_end_the_session_and_tell_the_gateway(cloud, gw, path, code, status, down):
    """covers: D27 K14"""
    online_sub(gw, SUB1)
    gw.subscribe(sys_topic(SUB1, down))
    if path:
        cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/{path}")
    else:
        cloud.delete(f"/devices/{SUB1[0]}/{SUB1[1]}")
    first = gw.receive()  # the message, then the end of the session, then the topology
    assert first.topic == sys_topic(SUB1, down) and first.qos == 1
    assert json.loads(first.payload)["params"] == {}
    assert error(gw)["code"] == code
    change = json.loads(gw.receive_on(sys_topic(GW, "thing/topo/change")).payload)
    assert change["params"] == {"status": status, "subList": names(SUB1)}
    if path:
        assert cloud.device(*SUB1[:2])["status"] == "DISABLED"
        cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/enable")
        change = json.loads(gw.receive_on(sys_topic(GW, "thing/topo/change")).payload)
        assert change["params"]["status"] == 2
        assert login_sub(gw, SUB1)["code"] == 200


def test_the_clouds_side_of_topology(cloud, gw):
    act = lambda action: cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo",
                                    {"action": action, "productKey": SUB1[0], "deviceName": SUB1[1]})
    act("notify")
    got = json.loads(gw.receive_on(sys_topic(GW, "thing/topo/add/notify")).payload)
    assert got["params"] == names(SUB1) and got["method"] == "thing.topo.add.notify"
    act("add")
    got = json.loads(gw.receive_on(sys_topic(GW, "thing/topo/change")).payload)
    assert got["params"]["status"] == 0
    assert login_sub(gw, SUB1)["code"] == 200
    act("delete")
    assert error(gw)["code"] == 6401


def test_a_publish_without_a_session_is_answered_520(cloud, gw):
    add_sub(gw, SUB1)
    topic = sys_topic(SUB1, "thing/event/property/post")
    gw.publish(topic, {"id": "77", "version": "1.0", "method": "thing.event.property.post", "params": {"a": 1}}, 1)
    told = error(gw)
    assert told["code"] == 520 and told["id"] == "77" and told["data"] == names(SUB1)[0]
    assert "reported" in cloud.device(*SUB1[:2]) and cloud.device(*SUB1[:2])["reported"] == {}
    gone = cloud.messages(device=f"{SUB1[0]}/{SUB1[1]}", direction="up")
    assert gone[-1]["outcome"] == "dropped" and cloud.stats()["droppedSession"] == 1


def test_520_comes_at_most_once_a_sub_device_and_second(cloud, gw):
    add_sub(gw, SUB1)
    for i in range(8):
        gw.publish(sys_topic(SUB1, "thing/event/property/post"), {"id": str(i), "params": {}}, 0)
    seen = [m for m in gw.fence() if m.topic.startswith("/ext/error/")]
    assert 1 <= len(seen) <= 2  # two when a second began in between


def test_subscriptions_of_a_sub_device_end_with_its_session(cloud, gw):
    online_sub(gw, SUB1)
    assert gw.subscribe(sys_topic(SUB1, "thing/service/+")) == [0]
    assert gw.subscribe(sys_topic(SUB2, "thing/service/+")) == [0x80]  # not logged in
    assert cloud.device(*SUB1[:2])["subscriptions"] == [sys_topic(SUB1, "thing/service/+")]
    gw.ask(session_topic(GW, "logout"), {"params": names(SUB1)[0]})
    assert login_sub(gw, SUB1)["code"] == 200
    assert cloud.device(*SUB1[:2])["subscriptions"] == []


def test_clean_session_false_keeps_what_came_for_the_sub_device(cloud, gw):
    topic = f"/{SUB1[0]}/{SUB1[1]}/user/get"
    online_sub(gw, SUB1, clean="false")
    gw.subscribe(topic)
    gw.ask(session_topic(GW, "logout"), {"params": names(SUB1)[0]})
    assert cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/raw", b"later", topic=topic, qos=1)["result"] == "stored"
    assert login_sub(gw, SUB1, clean="false")["code"] == 200
    assert gw.receive_on(topic).payload == b"later"
    gw.ask(session_topic(GW, "logout"), {"params": names(SUB1)[0]})
    cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/raw", b"never", topic=topic, qos=1)
    assert login_sub(gw, SUB1)["code"] == 200  # default: clean
    assert gw.fence() == []


def test_a_sub_device_fetches_its_secret(gw):
    """covers: L04"""
    got = gw.ask(sys_topic(GW, "thing/sub/register"), {"method": "thing.sub.register", "params": names(SUB1)})
    assert got["code"] == 200 and got["data"][0]["deviceSecret"] == SUB1[2]
