"""Faults of the channels other than MQTT: downloads, CoAP, bridges."""
import http.client
import json
import socket
import time
import urllib.error

import pytest
from bridge_client import BRIDGE, SUB1, Bridge
from cloud_client import DEV, Client, sys_topic
from coap_client import ACK, CON, Coap, encode
from hyperframe.frame import GoAwayFrame
from test_cloud_ota import fetch

POST = sys_topic(DEV, "thing/event/property/post")


@pytest.fixture
def link(cloud):
    """A link to a file, as a device is given it."""
    assert cloud.request("PUT", f"/products/{DEV[0]}/config", {"a": 1})[0] == 200
    topic = sys_topic(DEV, "thing/config/get")
    with Client(cloud, DEV, subscribe=[topic + "_reply"]) as device:
        return device.ask(topic, {"params": {"configScope": "product", "getType": "file"}})["data"]["url"]


def test_a_download_is_corrupted(cloud, link):
    good = fetch(cloud, link)[2]
    cloud.fault("corrupt", topic="/files/#", count=1)
    status, _, bad = fetch(cloud, link)
    assert status == 200 and len(bad) == len(good) and sum(a != b for a, b in zip(good, bad)) == 1
    assert fetch(cloud, link)[2] == good


def test_a_download_is_cut(cloud, link):
    cloud.fault("cut", topic="/files/#", count=1)
    with pytest.raises((urllib.error.URLError, http.client.HTTPException, OSError)):
        fetch(cloud, link)
    assert fetch(cloud, link)[0] == 200


def test_a_delayed_answer_of_coap_comes_separately(cloud):
    cloud.fault("delay", topic=POST, ms=700, count=1)
    with Coap(cloud, DEV) as c:
        c.auth(ackMode=1)
        options, data = c.secured(json.dumps({"id": "1", "params": {"t": 1}}).encode())
        began = time.monotonic()
        mid, token = c.send("topic" + POST, data, options)
        got = c.receive()
        assert (got.kind, got.code, got.mid) == (ACK, 0, mid)
        got = c.receive()
        assert (got.kind, got.status, got.token) == (CON, "2.05", token) and time.monotonic() - began >= 0.6  # its clock ticks in milliseconds
        c.sock.send(encode(ACK, 0, got.mid))


@pytest.mark.parametrize("kind, more", [("delay", {"topic": POST, "ms": 1000}), ("cut", {"topic": POST, "direction": "up"})])
def test_an_answer_of_coap_that_cannot_wait_is_lost(cloud, kind, more):
    """The repetition of the same message gets it."""
    cloud.fault(kind, count=1, **more)
    with Coap(cloud, DEV) as c:
        c.auth()
        options, data = c.secured(json.dumps({"id": "1", "params": {"t": 1}}).encode())
        mid, token = c.send("topic" + POST, data, options)
        with pytest.raises(socket.timeout):
            c.receive(0.5)
        c.send("topic" + POST, data, options, mid=mid, token=token)
        assert c.receive().status == "2.05"
    assert len([m for m in cloud.messages(topic=POST) if m["outcome"] == "taken"]) == 1


@pytest.mark.parametrize("farewell, result", [(False, "halfconn"), (True, "offline")])
def test_devices_of_a_bridge_that_was_cut_are_half_connected(cloud, farewell, result):
    with Bridge(cloud) as bridge:
        bridge.start()
        bridge.online(SUB1)
        if farewell:
            bridge.send(GoAwayFrame(0))
    cloud.wait_status(*SUB1[:2], "OFFLINE")
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")
    for pk, dn, _ in (SUB1, BRIDGE):
        assert cloud.request("POST", f"/devices/{pk}/{dn}/rrpc", b"x")[1]["result"] == result


def test_a_reply_through_a_script_is_delayed(cloud):
    cloud.add_product("a1RawPk0001", format="raw")
    raw = ("a1RawPk0001", "raw-0001", cloud.add_device("a1RawPk0001", "raw-0001")["deviceSecret"])
    script = b"""function rawDataToProtocol(b) { return {id: '1', version: '1.0', method: 'thing.event.property.post', params: {t: b[0]}}; }
    function protocolToRawData(j) { return [j.code & 255]; }"""
    assert cloud.request("POST", "/products/a1RawPk0001/script", script)[0] == 200
    cloud.fault("delay", topic=sys_topic(raw, "thing/event/property/post"), ms=700, count=1)
    with Client(cloud, raw, extra="_ss=1") as device:
        began = time.monotonic()
        device.publish(sys_topic(raw, "thing/model/up_raw"), b"\x07", 0)
        assert device.receive_on(sys_topic(raw, "thing/model/up_raw_reply")).payload == bytes([200])
        assert time.monotonic() - began >= 0.6  # its clock ticks in milliseconds
