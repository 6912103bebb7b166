"""Limits of every channel: what exceeds them is answered as documented, and shows at /violations."""
import json

import pytest
from bridge_client import BRIDGE, SUB1, SUB2, Bridge, auth
from cloud_client import DEV, GW, Client, gateway, sys_topic
from coap_client import Coap
from openapi_client import OpenApi

STOCK = """
products = [ { productKey = a1EmuGw0001, nodeType = gateway }, { productKey = a1EmuPk0001 }
             { productKey = a1EmuSub001, nodeType = subdevice } ]
devices = [ { productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }
            { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }
            { productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 }
            { productKey = a1EmuSub001, deviceName = sub-0002, deviceSecret = 0123456789abcdef0123456789abcd12 } ]
accessKeys = [ { id = EmuAccessKeyId01, secret = EmuAccessKeySecret0123456789AB } ]
limits { %s }
"""
ID = f"{DEV[0]}/{DEV[1]}"


@pytest.fixture
def limited(start_cloud):
    return lambda limits: start_cloud(STOCK % limits)


def shown(cloud, limit, device=None):
    """It is counted, and noted for the device."""
    got = cloud.get("/violations")
    if device is None:
        return got["totals"].get(limit, 0)
    assert got["totals"].get(limit, 0) >= 1, got
    return [v["done"] for v in got["devices"].get(device, []) if v["limit"] == limit]


def test_of_one_request(limited):
    cloud = limited("properties = 3, events = 1, pack = 1, history = 2, logLines = 2")
    with gateway(cloud) as gw:
        asked = (
            ("properties", "thing/event/property/post", {f"p{i}": 1 for i in range(4)}, 6106),
            ("events", "thing/event/property/pack/post", {"events": {"a": {}, "b": {}}}, 6356),
            ("pack", "thing/event/property/pack/post", {"subDevices": [{}, {}]}, 6357),
            ("history", "thing/event/property/history/post", [{}, {}, {}], 460),
            ("logLines", "thing/log/post", [{}, {}, {}], 460))
        for limit, path, params, code in asked:
            topic = sys_topic(GW, path)
            gw.subscribe(topic + "_reply")
            assert gw.ask(topic, {"params": params})["code"] == code, limit
            assert shown(cloud, limit, f"{GW[0]}/{GW[1]}") == ["refused"]
        topic = sys_topic(GW, "thing/event/property/post")
        assert gw.ask(topic, {"params": {f"p{i}": 1 for i in range(3)}})["code"] == 200


def test_of_shadows(limited):
    cloud = limited("shadowAttributes = 2, shadowBytes = 100, shadowPerSecond = 1000")
    get, update = (f"/shadow/{w}/{DEV[0]}/{DEV[1]}" for w in ("get", "update"))
    with Client(cloud, DEV, subscribe=[get]) as device:
        for limit, state, code in (("shadowAttributes", {"a": 1, "b": 1, "c": 1}, "408"), ("shadowBytes", {"a": "x" * 100}, "400")):
            device.publish(update, {"method": "update", "state": {"reported": state}, "version": 1}, qos=0)
            assert json.loads(device.receive_on(get).payload)["payload"]["content"]["errorcode"] == code
            assert shown(cloud, limit, ID) == ["refused"]


@pytest.mark.parametrize("profile", ["documented", "off"])
def test_of_shadow_requests(limited, profile):
    cloud = limited(f"profile = {profile}, shadowPerSecond = 1")
    get, update = (f"/shadow/{w}/{DEV[0]}/{DEV[1]}" for w in ("get", "update"))
    with Client(cloud, DEV, subscribe=[get]) as device:
        for _ in range(8):  # within three seconds at the latest
            device.publish(update, {"method": "get"}, qos=0)
        answered = len([m for m in device.fence() if m.topic == get])
    assert shown(cloud, "shadowPerSecond") == 8 - answered
    assert (answered == 8) == (profile == "off")


def test_of_configurations_and_classes(limited):
    cloud = limited("configBytes = 64, topicClasses = 1")
    assert cloud.request("PUT", f"/products/{DEV[0]}/config", {"a": "x" * 80})[0] >= 400
    assert shown(cloud, "configBytes") == 1
    cloud.post(f"/products/{DEV[0]}/topics", {"topic": "own/0", "permission": "both"})
    assert cloud.request("POST", f"/products/{DEV[0]}/topics", {"topic": "own/1", "permission": "both"})[0] >= 400
    assert shown(cloud, "topicClasses") == 1


@pytest.mark.parametrize("topic, limit", [("all", "broadcastEvery"), (None, "broadcastAllEvery")])
def test_of_broadcasts(limited, topic, limit):
    cloud = limited("broadcastEvery = 1h, broadcastAllEvery = 1h")
    query = {"name": topic} if topic else {}
    assert cloud.request("POST", f"/products/{DEV[0]}/broadcast", b"x", query=query)[0] == 202
    assert cloud.request("POST", f"/products/{DEV[0]}/broadcast", b"x", query=query)[0] == 429
    assert shown(cloud, limit) == 1


def test_of_bridges(limited):
    cloud = limited("bridgeLogins = 1000, membersSmallBridge = 1, membersLargeBridge = 1, payload = 1KiB")
    with Bridge(cloud) as bridge:
        bridge.start()
        bridge.online(SUB1)
        bridge.online(SUB2, expect=428)
        assert shown(cloud, "membersSmallBridge", f"{BRIDGE[0]}/{BRIDGE[1]}") == ["refused with 428"]
        assert bridge.publish(SUB1, f"/{SUB1[0]}/{SUB1[1]}/user/update", b"x" * 1024).status == 200
        assert bridge.publish(SUB1, f"/{SUB1[0]}/{SUB1[1]}/user/update", b"x" * 1025).status == 413
        assert shown(cloud, "payload", f"{BRIDGE[0]}/{BRIDGE[1]}") == ["refused with 413"]


@pytest.mark.parametrize("profile, codes", [("documented", {200, 429}), ("off", {200})])
def test_of_logins_of_a_bridge(limited, profile, codes):
    cloud = limited(f"profile = {profile}, bridgeLogins = 1")
    with Bridge(cloud) as bridge:
        bridge.start()
        # Two at the border of a second pass, eight in a row do not.
        assert {auth(cloud, SUB1, netId=bridge.net_id)["code"] for _ in range(8)} == codes
        assert bool(shown(cloud, "bridgeLogins")) == (429 in codes)


def test_of_coap(limited):
    cloud = limited("coapBody = 16")
    with Coap(cloud, DEV) as coap:
        coap.auth()
        topic = f"/{DEV[0]}/{DEV[1]}/user/update"
        assert coap.publish(topic, b"x" * 16).status == "2.05"
        assert coap.publish(topic, b"x" * 17).status == "4.13"
    assert shown(cloud, "coapBody", ID) == ["refused with 4.13"]


@pytest.mark.parametrize("profile", ["documented", "off"])
def test_of_management_calls(limited, profile):
    cloud = limited(f"profile = {profile}, openapiPerSecond = 1")
    api = OpenApi(cloud.process.ready["openapi"])
    got = [api.call("QueryDeviceDetail", ProductKey=DEV[0], DeviceName=DEV[1])[1] for _ in range(8)]
    refused = [a for a in got if a.get("Code") == "Throttling.User"]
    assert bool(refused) == (profile == "documented")
    assert shown(cloud, "openapiPerSecond") == len(refused)


def test_the_platform_sends_only_where_a_class_allows_it_whatever_the_way(limited):
    cloud = limited("profile = off")
    topic = f"/{SUB1[0]}/{SUB1[1]}/own/up"
    cloud.post(f"/products/{SUB1[0]}/topics", {"topic": "own/up", "permission": "publish"})

    def sent():
        return cloud.request("POST", f"/devices/{SUB1[0]}/{SUB1[1]}/raw", b"x", topic=topic, qos=1)[1]["result"]
    assert sent() == "unsubscribed"  # away
    with Bridge(cloud) as bridge:
        bridge.start()
        bridge.online(SUB1)
        assert sent() == "unsubscribed"
    assert {m["reason"] for m in cloud.messages(topic=topic)} == {"no topic class allows subscribing"}
