"""Thing models in the emulator: what is checked, left out, refused, kept and shown."""
import json
import threading

import pytest
from cloud_client import DEV, GW, SUB1, SUB2, Client, sign, sys_topic
from conftest import wait_until

TSL = {
    "schema": "https://iotx-tsl.oss-ap-southeast-1.aliyuncs.com/schema.json",
    "profile": {"productKey": DEV[0]},
    "properties": [
        {"identifier": "Temp", "name": "temperature", "accessMode": "rw", "required": False,
         "dataType": {"type": "float", "specs": {"min": "-40", "max": "85", "step": "0.1", "unit": "C"}}},
        {"identifier": "Count", "accessMode": "r", "dataType": {"type": "int", "specs": {"min": "0", "max": "100"}}},
        {"identifier": "Mode", "accessMode": "rw", "dataType": {"type": "enum", "specs": {"0": "off", "2": "auto"}}},
        {"identifier": "On", "accessMode": "rw", "dataType": {"type": "bool", "specs": {"0": "off", "1": "on"}}},
        {"identifier": "Name", "accessMode": "rw", "dataType": {"type": "text", "specs": {"length": "8"}}},
        {"identifier": "When", "accessMode": "rw", "dataType": {"type": "date"}},
        {"identifier": "Ratio", "accessMode": "rw", "dataType": {"type": "double"}},
        {"identifier": "List", "accessMode": "rw", "dataType": {"type": "array", "specs": {"size": "3", "item": {"type": "int"}}}},
        {"identifier": "Place", "accessMode": "rw", "dataType": {"type": "struct", "specs": [
            {"identifier": "lon", "dataType": {"type": "double", "specs": {"min": "-180", "max": "180"}}},
            {"identifier": "lat", "dataType": {"type": "double", "specs": {"min": "-90", "max": "90"}}}]}},
    ],
    "events": [
        {"identifier": "post", "type": "info", "method": "thing.event.property.post", "outputData": []},
        {"identifier": "Alarm", "type": "alert", "method": "thing.event.Alarm.post",
         "outputData": [{"identifier": "level", "dataType": {"type": "int", "specs": {"min": "1", "max": "5"}}}]},
    ],
    "services": [
        {"identifier": "set", "callType": "async", "inputData": [], "outputData": [], "method": "thing.service.property.set"},
        {"identifier": "Reset", "callType": "async", "method": "thing.service.Reset", "inputData": [
            {"identifier": "delay", "required": True, "dataType": {"type": "int", "specs": {"min": "0", "max": "60"}}}], "outputData": []},
        {"identifier": "Read", "callType": "sync", "method": "thing.service.Read", "inputData": [],
         "outputData": [{"identifier": "n", "dataType": {"type": "int"}}]},
    ],
    "functionBlocks": [{"functionBlockId": "motor", "properties": [
        {"identifier": "Speed", "dataType": {"type": "int", "specs": {"min": "0", "max": "9000"}}}]}],
}

BAD = [("Temp", 85.5, 6307), ("Temp", "1", 6307), ("Count", 1.5, 6306), ("Count", 101, 6306), ("Mode", 1, 6309), ("On", 2, 6308),
       ("On", True, 6308), ("Name", "ninebytes", 6310), ("When", 1, 6311), ("When", "soon", 6311), ("Ratio", "x", 6322),
       ("List", 1, 6328), ("List", [1, 2, 3, 4], 6324), ("List", [1, "x"], 6325), ("Place", 5, 6312), ("Place", {"alt": 1}, 6304),
       ("Place", {"lon": 181}, 6322), ("Unknown", 1, 6320), ("Temp", {"value": 1, "time": "x"}, 6326), ("Speed", 1, 6320),
       ("motor:Speed", 9001, 6306)]
GOOD = {"Temp": 85, "Count": 100, "Mode": 2, "On": 1, "Name": "12345678", "When": "1700000000000", "Ratio": 1e300, "List": [1, 2, 3],
        "Place": {"lon": 1, "lat": 2.5}, "motor:Speed": 9000}


def path(device, rest=""):
    return f"/devices/{device[0]}/{device[1]}{rest}"


def ask(client, device, topic, params, id="7", **more):
    """The reply to one request."""
    topic = sys_topic(device, topic)
    method = topic.split("/", 4)[4].replace("/", ".")
    client.publish(topic, {"id": id, "version": "1.0", "method": method, "params": params, **more}, 0)
    return json.loads(client.receive_on(topic + "_reply").payload)


def post(client, device, params):
    return ask(client, device, "thing/event/property/post", params)["code"]


CONF = """
limits.profile = off
switches.strictModel = %s
products = [
  { productKey = a1EmuGw0001, nodeType = gateway }
  { productKey = a1EmuPk0001, tsl = "%s" }
  { productKey = a1EmuSub001, nodeType = subdevice, tsl = "%s" }
]
devices = [
  { productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }
  { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }
  { productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 }
  { productKey = a1EmuSub001, deviceName = sub-0002, deviceSecret = 0123456789abcdef0123456789abcd12 }
]
"""


@pytest.fixture
def modelled(start_cloud, tmp_path):
    def start(strict=False):
        (tmp_path / "tsl.json").write_text(json.dumps(TSL))
        return start_cloud(CONF % (str(strict).lower(), tmp_path / "tsl.json", tmp_path / "tsl.json"))
    return start


def test_values_that_break_the_model_are_left_out(modelled):
    """covers: M43"""
    cloud = modelled()
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert post(device, DEV, GOOD) == 200
        for name, value, _ in BAD:
            assert post(device, DEV, {name: value}) == 200
        assert ask(device, DEV, "thing/event/Alarm/post", {"value": {"level": 9}, "time": 1})["code"] == 200
        assert ask(device, DEV, "thing/event/Nothing/post", {"value": {}, "time": 1})["code"] == 200
    shown = cloud.device(*DEV[:2])
    assert {k: v["value"] for k, v in shown["reported"].items()} == GOOD
    assert shown["events"] == {} and shown["eventLog"] == []
    assert cloud.stats()["modelDropped"] == len(BAD) + 2


def test_strict_the_first_bad_value_gives_its_code(modelled):
    """covers: M43"""
    cloud = modelled(strict=True)
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert post(device, DEV, GOOD) == 200
        for name, value, code in BAD:
            assert (name, value, post(device, DEV, {"On": 0, name: value})) == (name, value, code)
        assert ask(device, DEV, "thing/event/Alarm/post", {"value": {"level": 9}})["code"] == 6306
        assert ask(device, DEV, "thing/event/Alarm/post", {"value": {"depth": 9}})["code"] == 6304
        assert ask(device, DEV, "thing/event/Nothing/post", {"value": {}})["code"] == 5160
        assert ask(device, DEV, "thing/event/Alarm/post", {"value": {"level": 5}, "time": 11})["code"] == 200
        batch = {"properties": {"Count": [{"value": 1, "time": 1}, {"value": 101, "time": 2}]}}
        assert ask(device, DEV, "thing/event/property/batch/post", batch)["code"] == 6306
        history = [{"properties": [{"Count": {"value": 1, "time": 1}}, {"Count": {"value": "x", "time": 2}}]}]
        assert ask(device, DEV, "thing/event/property/history/post", history)["code"] == 6306
    shown = cloud.device(*DEV[:2])
    assert shown["reported"]["On"]["value"] == 1, "a refused post changes nothing"
    assert shown["events"]["Alarm"] == {"value": {"level": 5}, "time": 11}
    assert [(e["event"], e["value"], e["time"]) for e in shown["eventLog"]] == [("Alarm", {"level": 5}, 11)]


def login(cloud, gw, device):
    pk, dn, secret = device
    fields = {"clientId": "c", "deviceName": dn, "productKey": pk, "timestamp": "1"}
    s = {**fields, "signmethod": "hmacSha256", "sign": sign(secret, "hmacsha256", **fields)}
    assert ask(gw, GW, "thing/topo/add", [s])["code"] == 200


def test_a_pack_fails_as_a_whole(modelled):
    cloud = modelled()
    with Client(cloud, GW, extra="_ss=1") as gw:
        login(cloud, gw, SUB1)

        def pack(*subs, **own):
            return ask(gw, GW, "thing/event/property/pack/post", {**own, "subDevices": list(subs)})["code"]

        def sub(device, properties, events=None):
            return {"identity": {"productKey": device[0], "deviceName": device[1]}, "properties": properties, "events": events or {}}
        assert pack(sub(SUB1, {"On": {"value": 1, "time": 1}}), sub(SUB1, {"Count": {"value": 101}})) == 6306
        assert pack(sub(SUB1, {"On": {"value": 1}}, {"Alarm": {"value": {"level": 0}}})) == 6306
        assert pack(sub(SUB1, {"On": {"value": 1}}), sub(SUB2, {"On": {"value": 1}})) == 6401
        assert pack(sub((SUB1[0], "sub-9999"), {})) == 6100
        assert pack(*[sub(SUB1, {})] * 21) == 6357
        assert pack(events={f"E{i}": {"value": {}} for i in range(21)}) == 6356
        assert pack(properties={f"P{i}": {"value": 1} for i in range(201)}) == 6106
        assert cloud.device(*SUB1[:2])["reported"] == {}
        assert pack(sub(SUB1, {"On": {"value": 1, "time": 5}}, {"Alarm": {"value": {"level": 2}, "time": 6}}), properties={"x": 1}) == 200
    assert cloud.device(*SUB1[:2])["reported"] == {"On": {"value": 1, "time": 5}}
    assert cloud.device(*SUB1[:2])["events"] == {"Alarm": {"value": {"level": 2}, "time": 6}}
    assert cloud.device(*GW[:2])["reported"]["x"]["value"] == 1


def test_history_does_not_replace_newer_values(cloud):
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert post(device, DEV, {"a": {"value": 10, "time": 1000}}) == 200
        history = [{"identity": {"productKey": DEV[0], "deviceName": DEV[1]},
                    "properties": [{"a": {"value": 1, "time": 500}, "b": {"value": 2, "time": 500}}, {"b": {"value": 3, "time": 600}}]}]
        assert ask(device, DEV, "thing/event/property/history/post", history)["code"] == 200
        batch = {"properties": {"c": [{"value": 1, "time": 2}, {"value": 2, "time": 3}, {"value": 9, "time": 1}]}}
        assert ask(device, DEV, "thing/event/property/batch/post", batch)["code"] == 200
        foreign = [{"identity": {"productKey": SUB1[0], "deviceName": SUB1[1]}, "properties": [{"a": {"value": 1}}]}]
        assert ask(device, DEV, "thing/event/property/history/post", foreign)["code"] == 6401
        assert ask(device, DEV, "thing/event/property/history/post", [{"properties": [5]}])["code"] == 460
    assert {k: (v["value"], v["time"]) for k, v in cloud.device(*DEV[:2])["reported"].items()} == {
        "a": (10, 1000), "b": (3, 600), "c": (2, 3)}


def test_the_model_is_shown_to_devices(modelled):
    cloud = modelled()
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert ask(device, DEV, "thing/dsltemplate/get", {})["data"] == TSL
        short = ask(device, DEV, "thing/dynamicTsl/get", {"nodes": ["type", "identifier"], "addDefault": False})["data"]
        assert short["properties"][0] == {"identifier": "Temp", "dataType": {"type": "float"}}
        assert [s["identifier"] for s in short["services"]] == ["Reset", "Read"] and "profile" not in short
        full = ask(device, DEV, "thing/dynamicTsl/get", {"nodes": ["identifier"], "addDefault": True})["data"]
        assert [e["identifier"] for e in full["events"]] == ["post", "Alarm"]
        assert ask(device, DEV, "thing/dynamicTsl/get", {"nodes": 5})["code"] == 460


def called(cloud, device, rest, body, respond, **query):
    """A call of the API while the device answers it."""
    result = []
    caller = threading.Thread(target=lambda: result.append(cloud.request("POST", path(DEV, rest), body, query=query)))
    caller.start()
    respond(device.receive())
    caller.join()
    return result[0]


def test_calls_are_checked_against_the_model(modelled):
    """covers: D32 D33 D23"""
    cloud = modelled()
    with Client(cloud, DEV, extra="_ss=1") as device:
        def refused(rest, body):
            status, got = cloud.request("POST", path(DEV, rest), body)
            assert status == 400, got
            return got["code"]
        assert refused("/properties", {"Temp": 99}) == 6307
        assert refused("/properties", {"Count": 1}) == 6320, "read only"
        assert refused("/properties", {"Nope": 1}) == 6320
        assert refused("/properties", {}) == 460
        assert refused("/services/Nope", {}) == 5161
        assert refused("/services/Reset", {}) == 6302
        assert refused("/services/Reset", {"delay": 61}) == 6306
        assert device.inbox.empty()

        def answer(data):
            def respond(m):
                body = json.loads(m.payload)
                reply = m.topic.replace("/rrpc/request/", "/rrpc/response/") if "/rrpc/" in m.topic else m.topic + "_reply"
                device.publish(reply, {"id": body["id"], "code": 200, "data": data}, 0)
            return respond
        status, got = called(cloud, device, "/properties", {"Temp": 20.5}, answer({}))
        assert status == 200 and got["reply"]["code"] == 200
        status, got = called(cloud, device, "/services/Reset", {"delay": 60}, answer({}))
        assert status == 200 and "modelCode" not in got
        status, got = called(cloud, device, "/services/Read", {}, answer({"n": 4}))  # declared sync: over RRPC
        assert status == 200 and "modelCode" not in got
        assert "/rrpc/request/" in cloud.messages(direction="down", topic="#")[-1]["topic"]
        status, got = called(cloud, device, "/services/Read", {}, answer({"n": "four"}))
        assert status == 200 and got["modelCode"] == 6306
    calls = cloud.device(*DEV[:2])["calls"]
    assert [(c["call"], c["input"], c["result"], c["code"], c.get("output")) for c in calls] == [
        ("property/set", {"Temp": 20.5}, "answered", 200, {}), ("Reset", {"delay": 60}, "answered", 200, {}),
        ("Read", {}, "answered", 200, {"n": 4}), ("Read", {}, "answered", 200, {"n": "four"})]


def test_desired_values_wait_for_the_device(modelled):
    """covers: K21"""
    cloud = modelled()
    for n in range(2):
        cloud.post(path(DEV, "/properties"), {"On": n}, desired=1)
    assert cloud.request("POST", path(DEV, "/properties"), {"On": 5}, query={"desired": 1})[0] == 400
    kept = cloud.device(*DEV[:2])["desired"]["On"]
    assert kept["value"] == 1 and kept["version"] == 2 and kept["time"] > 0
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert ask(device, DEV, "thing/property/desired/get", ["On", "Temp"])["data"] == {"On": {"value": 1, "version": 2}}
        assert ask(device, DEV, "thing/property/desired/delete", {"On": {"version": 1}})["code"] == 200
        assert ask(device, DEV, "thing/property/desired/get", ["On"])["data"] == {"On": {"value": 1, "version": 2}}
        assert ask(device, DEV, "thing/property/desired/delete", {"On": {"version": 2}})["code"] == 200
        assert ask(device, DEV, "thing/property/desired/get", ["On"])["data"] == {}
        assert ask(device, DEV, "thing/property/desired/get", [f"P{i}" for i in range(201)])["code"] == 6104
        cloud.post(path(DEV, "/properties"), {"On": 0}, desired=1)
        assert ask(device, DEV, "thing/property/desired/get", ["On"])["data"] == {"On": {"value": 0, "version": 3}}


def test_tags_by_devices_and_by_people(cloud):
    """covers: M44 K16"""
    with Client(cloud, DEV, extra="_ss=1") as device:
        def tag(key, value):
            return ask(device, DEV, "thing/deviceinfo/update", [{"attrKey": key, "attrValue": value, "domain": "SYSTEM"}])["code"]
        assert tag("room", "A-1.b_2") == 200 and tag("room", "厅") == 200
        for key, value in (("1st", "x"), ("a b", "x"), ("", "x"), ("k" * 65, "x"), ("k", "a b"), ("k", 5)):
            assert tag(key, value) == 460
        assert cloud.device(*DEV[:2])["tags"] == {"room": "厅"}
        assert cloud.post(path(DEV, "/tags"), {"floor": "2", "room": None})["tags"] == {"floor": "2"}
        assert cloud.request("POST", path(DEV, "/tags"), {"no good": "2"})[0] == 400
        assert ask(device, DEV, "thing/deviceinfo/delete", [{"attrKey": "floor"}])["code"] == 200
    assert cloud.device(*DEV[:2])["tags"] == {}


def test_found_devices_are_shown_and_the_gateway_asked_to_add_them(cloud):
    with Client(cloud, GW, extra="_ss=1") as gw:
        entry = {"productKey": SUB1[0], "deviceName": SUB1[1]}
        assert ask(gw, GW, "thing/list/found", [entry])["data"] == {}
        assert ask(gw, GW, "thing/list/found", [{**entry, "productKey": "a1Nothing01"}])["code"] == 6250
        assert ask(gw, GW, "thing/list/found", [{**entry, "deviceName": "a b"}])["code"] == 6280
        assert ask(gw, GW, "thing/list/found", {})["code"] == 460
        assert list(cloud.device(*GW[:2])["found"]) == ["/".join(SUB1[:2])]
        cloud.post(path(GW, "/topo"), {"action": "notify", **entry})
        m = gw.receive_on(sys_topic(GW, "thing/topo/add/notify"))
        assert json.loads(m.payload)["params"] == [entry]


def test_broadcasts_reach_subscribers_or_everybody(cloud):
    """covers: D31 K20"""
    two = ("a1EmuPk0001", "dev-0002", cloud.add_device("a1EmuPk0001", "dev-0002")["deviceSecret"])
    three = ("a1EmuPk0001", "dev-0003", cloud.add_device("a1EmuPk0001", "dev-0003")["deviceSecret"])
    news = f"/broadcast/{DEV[0]}/news"
    with Client(cloud, DEV, subscribe=[news]) as a, Client(cloud, two, subscribe=[f"/broadcast/{DEV[0]}/+"]) as b, Client(cloud, three) as c:
        def cast(expect=202, **query):
            status, got = cloud.request("POST", f"/products/{DEV[0]}/broadcast", b"hello", query=query)
            assert status == expect, got
            return got
        assert cast(name="news")["devices"] == 2
        assert a.receive().topic == news and b.receive().payload == b"hello"
        cast(429, name="news")
        got = cast()
        assert got["devices"] == 3
        for client, device in ((a, DEV), (b, two), (c, three)):
            m = client.receive()
            assert m.topic == sys_topic(device, f"broadcast/request/{got['id']}") and m.payload == b"hello"
        cast(429)
        for name in ("a/b", "+", ""):
            cast(400, name=name)
        assert c.inbox.empty()


def test_a_model_that_is_none_is_refused_and_the_old_one_stays(modelled):
    cloud = modelled()
    url = f"/products/{DEV[0]}/tsl"
    bad = [([], "object"), ({"properties": 5}, "properties"), ({"properties": [{}]}, "identifier"),
           ({"properties": [{"identifier": "a"}]}, "dataType.type"),
           ({"properties": [{"identifier": "a", "dataType": {"type": "number"}}]}, "number"),
           ({"properties": [{"identifier": "a", "dataType": {"type": "int", "specs": {"min": "5", "max": "1"}}}]}, "min"),
           ({"properties": [{"identifier": "a", "dataType": {"type": "bool"}}] * 2}, "twice"),
           ({"services": [{"identifier": "a", "callType": "maybe"}]}, "callType")]
    for model, word in bad:
        status, got = cloud.request("POST", url, model)
        assert status == 400 and word in got["error"], (model, got)
    assert cloud.get(url) == TSL
    assert cloud.post(url, TSL) == {"properties": 10, "events": 1, "services": 2}
    cloud.post(url, {})
    assert cloud.get(url) == {}
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert post(device, DEV, {"Unknown": 1}) == 200
    assert cloud.device(*DEV[:2])["reported"]["Unknown"]["value"] == 1


def test_a_connection_that_was_cut_is_half_connected(cloud):
    device = Client(cloud, DEV, subscribe=[sys_topic(DEV, "rrpc/request/+")])
    device.vanish()
    cloud.wait_status(*DEV[:2], "OFFLINE")
    wait_until(lambda: cloud.request("POST", path(DEV, "/rrpc"), b"x")[1]["result"] == "halfconn", "the cut")
    with Client(cloud, DEV):
        pass
    cloud.wait_status(*DEV[:2], "OFFLINE")
    assert cloud.request("POST", path(DEV, "/rrpc"), b"x")[1]["result"] == "offline"


def test_models_scripts_and_what_was_set_survive_a_restart(start_cloud, tmp_path):
    cloud = start_cloud(state=tmp_path / "state.db")
    cloud.post(f"/products/{DEV[0]}/tsl", TSL)
    cloud.request("POST", f"/products/{DEV[0]}/script", b"function transformPayload() {}")
    cloud.post(path(DEV, "/properties"), {"On": 1}, desired=1)
    cloud.post(path(DEV, "/tags"), {"floor": "2"})
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert ask(device, DEV, "thing/event/Alarm/post", {"value": {"level": 5}, "time": 11})["code"] == 200
    cloud.request("POST", path(DEV, "/services/Reset"), {"delay": 1})
    cloud.restart()
    assert cloud.get(f"/products/{DEV[0]}/tsl") == TSL
    assert cloud.get(f"/products/{DEV[0]}/script")["script"] == "function transformPayload() {}"
    shown = cloud.device(*DEV[:2])
    assert shown["desired"]["On"]["version"] == 1 and shown["tags"] == {"floor": "2"} and shown["eventLog"][0]["event"] == "Alarm"
    assert shown["calls"][0]["call"] == "Reset" and shown["calls"][0]["result"] == "offline"
