"""Raw products: bytes through a script, both ways; scripts that fail, and scripts that attack."""
import json
import threading
import time

import pytest
from cloud_client import DEV, Client, sys_topic
from conftest import wait_until

SCRIPT = """
var methods = {1: 'thing.event.property.post', 2: 'thing.event.Alarm.post', 3: 'reply', 4: 'nothing.useful'};
function rawDataToProtocol(bytes) {
    if (bytes[0] === 3) return {id: String(bytes[1] * 16777216 + bytes[2] * 65536 + bytes[3] * 256 + bytes[4]), code: 200, data: {n: bytes[5]}};
    if (bytes[0] === 9) throw new RangeError('no such frame');
    if (bytes[0] === 8) return 5;
    if (bytes[0] === 7) return undefined;
    if (bytes[0] === 2) return {id: String(bytes[1]), version: '1.0', method: methods[2], params: {value: {level: bytes[2]}, time: 5}};
    return {id: String(bytes[1]), version: '1.0', method: methods[bytes[0]], params: {Temp: {value: bytes[2], time: 1000}}};
}
function protocolToRawData(json) {
    var id = Number(json.id), head = [0xfe, id >>> 24, id >>> 16, id >>> 8, id];
    if (json.code !== undefined) return [0xc0, id, json.code >> 8, json.code & 0xff];
    if (json.method === 'thing.service.property.set') return head.concat([json.params.Temp]);
    if (json.method === 'thing.service.Bad') return 'text';
    if (json.method === 'thing.service.None') return null;
    return new Uint8Array(head.concat([0x55]));
}
function transformPayload(topic, bytes) {
    return {topic: topic, sum: bytes.reduce(function (a, b) { return a + b; }, 0)};
}
"""


@pytest.fixture
def raw(cloud):
    """A raw product with the script above: its device."""
    cloud.add_product("a1RawPk0001", format="raw")
    device = ("a1RawPk0001", "raw-0001", cloud.add_device("a1RawPk0001", "raw-0001")["deviceSecret"])
    load(cloud, SCRIPT)
    return device


def load(cloud, text):
    status, got = cloud.request("POST", "/products/a1RawPk0001/script", text.encode())
    assert status == 200, got


def errors(cloud):
    return cloud.get("/products/a1RawPk0001/script")["errors"]


def path(device, rest=""):
    return f"/devices/{device[0]}/{device[1]}{rest}"


def up(client, device, data):
    client.publish(sys_topic(device, "thing/model/up_raw"), data, 0)
    return client.receive_on(sys_topic(device, "thing/model/up_raw_reply")).payload


def test_bytes_become_properties_and_the_reply_becomes_bytes(cloud, raw):
    """covers: D06"""
    with Client(cloud, raw, extra="_ss=1") as device:
        assert up(device, raw, bytes([1, 42, 23])) == bytes([0xc0, 42, 0, 200])
        assert up(device, raw, bytes([2, 43, 4])) == bytes([0xc0, 43, 0, 200])
    shown = cloud.device(*raw[:2])
    assert shown["reported"] == {"Temp": {"value": 23, "time": 1000}}
    assert shown["events"] == {"Alarm": {"value": {"level": 4}, "time": 5}}
    assert [m["topic"] for m in cloud.messages(topic="#") if m["outcome"] == "decoded"] == [
        sys_topic(raw, "thing/event/property/post"), sys_topic(raw, "thing/event/Alarm/post")]
    assert errors(cloud) == []


def test_failures_are_shown_and_answered(cloud, raw):
    """covers: D06"""
    with Client(cloud, raw, extra="_ss=1") as device:
        for data, code in ((b"\x09\x01", 26002), (b"\x08", 26007), (b"\x07", 26007), (b"\x04\x01", 6450)):
            assert json.loads(up(device, raw, data))["code"] == code
        shown = errors(cloud)
        assert [(e["code"], e["line"], e["function"]) for e in shown] == [(26002, 5, "rawDataToProtocol"), (26007, 0, "rawDataToProtocol")]
        assert shown[0]["message"] == "RangeError: no such frame" and shown[0]["inputHex"] == "0901"
        assert shown[0]["device"] == "/".join(raw[:2])
        load(cloud, "function rawDataToProtocol(b) {\n  return {\n")
        assert json.loads(up(device, raw, b"\x01"))["code"] == 26002
        assert "SyntaxError" in errors(cloud)[-1]["message"] and errors(cloud)[-1]["line"] > 0
        load(cloud, "var nothing = 1;")
        assert json.loads(up(device, raw, b"\x01"))["code"] == 26006
        for _ in range(25):
            up(device, raw, b"\x01")
        assert len(errors(cloud)) == 20
    assert cloud.stats()["scriptErrors"] == 29


def called(cloud, url, body, client, respond, **query):
    result = []
    caller = threading.Thread(target=lambda: result.append(cloud.request("POST", url, body, query=query)))
    caller.start()
    respond(client.receive())
    caller.join()
    return result[0]


@pytest.mark.parametrize("ext", ["ext=0", "ext=1"])
def test_calls_arrive_as_bytes_and_so_do_their_answers(cloud, raw, ext):
    """covers: D06"""
    with Client(cloud, raw, extra="_ss=1," + ext, subscribe=["/ext/rrpc/+" + sys_topic(raw, "thing/model/down_raw")]) as device:
        def answer(topic, payload):
            def respond(m):
                assert m.topic.startswith(topic) and m.payload[0] == 0xfe and m.payload[5:] == payload
                reply = m.topic + "_reply" if topic.endswith("down_raw") else m.topic.replace("/rrpc/request/", "/rrpc/response/")
                device.publish(reply, b"\x03" + m.payload[1:5] + b"\x07", 0)
            return respond
        down = sys_topic(raw, "thing/model/down_raw")
        status, got = called(cloud, path(raw, "/properties"), {"Temp": 77}, device, answer(down, b"\x4d"))
        assert status == 200 and got["reply"]["code"] == 200 and got["reply"]["data"] == {"n": 7}
        status, got = called(cloud, path(raw, "/services/Any"), {}, device, answer(down, b"\x55"))
        assert status == 200 and got["reply"]["data"] == {"n": 7}
        rrpc = sys_topic(raw, "rrpc/request/") if ext == "ext=0" else "/ext/rrpc/"
        status, got = called(cloud, path(raw, "/services/Any"), {}, device, answer(rrpc, b"\x55"), sync=1)
        assert status == 200 and got["reply"]["data"] == {"n": 7}
        for service in ("Bad", "None"):
            status, got = cloud.request("POST", path(raw, "/services/" + service), {})
            assert (status, got["code"]) == (400, 26007)
        assert cloud.post(path(raw, "/raw"), b"\1\2", query={"async": 1})["result"] == "delivered"
        assert device.receive().payload == b"\1\2"


def test_custom_topics_are_transformed(cloud, raw):
    topic = f"/{raw[0]}/{raw[1]}/user/update"
    with Client(cloud, raw) as device:
        device.publish(topic, bytes([1, 2, 250]), 1)
        wait_until(lambda: [m for m in cloud.messages(topic=topic) if m["outcome"] == "transformed"], "the transformed payload")
        m = [m for m in cloud.messages(topic=topic) if m["outcome"] == "transformed"][0]
        assert json.loads(m["payload"]) == {"topic": topic, "sum": 253}


HOSTILE = {
    "loop": "function rawDataToProtocol() { for (;;); }",
    "loop at the start": "for (;;);",
    "loop in native code": "function rawDataToProtocol() { return Array.prototype.indexOf.call({length: 4294967295}, 1); }",
    "regular expression": "function rawDataToProtocol() { return /^(a+)+$/.test(new Array(40).join('a') + 'b'); }",
    "memory": "function rawDataToProtocol() { var a = []; for (;;) a.push(new Array(1000).join('x') + a.length); }",
    "one large block": "function rawDataToProtocol() { return new Uint8Array(1 << 30); }",
    "doubling": "function rawDataToProtocol() { var s = 'x'; for (;;) s += s; }",
    "recursion": "function rawDataToProtocol() { function f() { return f() + 1; } return f(); }",
    "native recursion": "function rawDataToProtocol() { var f = function () { return [1].map(f); }; return f(); }",
    "deep result": "function rawDataToProtocol() { var o = {}; for (var i = 0; i < 1e5; i++) o = {o: o}; return o; }",
    "cycle": "function rawDataToProtocol() { var o = {}; o.o = o; return o; }",
    "getter": "function rawDataToProtocol() { return {get a() { throw {get lineNumber() { throw 1; }, toString: function () { throw 2; }}; }}; }",
    "toJSON": "function rawDataToProtocol() { return {toJSON: function () { for (;;); }}; }",
    "length": "function rawDataToProtocol() { var a = {}; a.__proto__ = null; return a; }\n"
              "function protocolToRawData() { var a = []; a.length = 4294967295; return a; }",
    "large result": "function rawDataToProtocol() { return {method: new Array(1 << 20).join('x')}; }",
    "clobbering": "Object.prototype.method = 5; JSON.stringify = null; Array = null; Error = null;\nfunction rawDataToProtocol() { return {}; }",
    "finaliser": "function rawDataToProtocol() { Duktape.fin({}, function () { for (;;); }); return {}; }",
    "error loop": "function rawDataToProtocol() { Duktape.errCreate = function (e) { for (;;); }; null.x; }",
    "nothing but noise": "\u0001\u0002\ufffd}}}}((((",
    "deep nesting": "var a = " + "[" * 50000 + "]" * 50000 + ";",
    "thread": "function rawDataToProtocol() { var t = new Duktape.Thread(function f() { for (;;); }); Duktape.Thread.resume(t); }",
}

BYSTANDER_BOUND = 2.0  # seconds; a blocked loop would take the whole of the script's time, times the messages


@pytest.fixture
def cloud_conf():
    return """
    limits { profile = off, scriptTime = 500ms }
    products = [ { productKey = a1EmuPk0001 } ]
    devices = [ { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef } ]
    """


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_scripts_harm_nobody(cloud, raw, name):
    load(cloud, HOSTILE[name])
    with Client(cloud, raw, extra="_ss=1") as device, Client(cloud, DEV, extra="_ss=1") as other:
        for _ in range(2):
            device.publish(sys_topic(raw, "thing/model/up_raw"), b"\x01\x02", 0)
            start = time.monotonic()
            other.publish(sys_topic(DEV, "thing/event/property/post"), {"id": "1", "params": {"a": 1}}, 0)
            other.receive_on(sys_topic(DEV, "thing/event/property/post_reply"))
            assert time.monotonic() - start < BYSTANDER_BOUND
            assert json.loads(device.receive_on(sys_topic(raw, "thing/model/up_raw_reply")).payload)["code"] in (26002, 26006, 26007, 6450)
        load(cloud, SCRIPT)
        assert up(device, raw, bytes([1, 42, 23])) == bytes([0xc0, 42, 0, 200])


def test_what_waits_for_a_script_is_bounded(cloud, raw):
    load(cloud, HOSTILE["loop"])
    with Client(cloud, raw, extra="_ss=1") as device:
        for _ in range(1010):
            device.publish(sys_topic(raw, "thing/model/up_raw"), b"\x01", 0)
        assert json.loads(device.receive_on(sys_topic(raw, "thing/model/up_raw_reply")).payload)["code"] in (26002, 26010)
        wait_until(lambda: cloud.stats()["published"] >= 1010, "all messages")
        cloud.request("DELETE", path(raw))  # its calls go with it
    assert cloud.get("/products/a1RawPk0001/script")["script"] == HOSTILE["loop"]


def test_a_script_from_the_configuration(start_cloud, tmp_path):
    (tmp_path / "parse.js").write_text(SCRIPT)
    cloud = start_cloud(f"""
    products = [ {{ productKey = a1RawPk0001, format = raw, script = "{tmp_path}/parse.js" }} ]
    devices = [ {{ productKey = a1RawPk0001, deviceName = raw-0001, deviceSecret = s }} ]
    """)
    device = ("a1RawPk0001", "raw-0001", "s")
    with Client(cloud, device, extra="_ss=1") as client:
        assert up(client, device, bytes([1, 42, 23])) == bytes([0xc0, 42, 0, 200])
