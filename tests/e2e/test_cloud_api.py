"""The emulator's own API: stock, messages, the stream of them, faults, counters, and its document."""
import json
import pathlib
import re
import signal
import socket
import threading
import time
import urllib.request

import pytest
from cloud_client import (DEV, GW, SUB1, SUB2, Client, Raw, credentials, gateway, login_sub, add_sub, online_sub,
                          publish_packet, session_topic, sys_topic, topo_entry)
from conftest import ROOT, Process, wait_until


def path(device, rest=""):
    return f"/devices/{device[0]}/{device[1]}{rest}"


def property_post(client, params=None):
    return {"id": "1", "version": "1.0", "method": "thing.event.property.post", "params": params or {"a": 1}}


# ---- stock ----


def test_devices_are_listed_with_their_state(cloud):
    """covers: A14 D21"""
    assert {d["status"] for d in cloud.get("/devices")["devices"]} == {"UNACTIVE"}
    with Client(cloud, DEV):
        shown = cloud.device(*DEV[:2])
        assert shown["status"] == "ONLINE" and shown["active"] == shown["lastOnline"] > 0
        assert shown["session"]["clientId"] == credentials(DEV)[0]
    cloud.wait_status(*DEV[:2], "OFFLINE")
    assert "session" not in cloud.device(*DEV[:2])


def test_products_and_devices_are_made_with_secrets(cloud):
    """covers: C01 E20 D11"""
    product = cloud.add_product("a1NewPk0001")
    assert len(product["productSecret"]) == 16
    made = cloud.add_device("a1NewPk0001", "new-0001")
    assert len(made["deviceSecret"]) == 32
    with Client(cloud, ("a1NewPk0001", "new-0001", made["deviceSecret"])) as device:
        assert device.code == 0


def test_a_raw_product_is_commanded_in_bytes_only(cloud):
    """covers: D06"""
    cloud.add_product("a1RawPk0001", format="raw")
    raw = ("a1RawPk0001", "raw-0001", cloud.add_device("a1RawPk0001", "raw-0001")["deviceSecret"])
    assert [p["format"] for p in cloud.get("/products")["products"] if p["productKey"] == raw[0]] == ["raw"]
    with Client(cloud, raw, subscribe=[sys_topic(raw, "thing/model/down_raw")]) as device:
        assert cloud.request("POST", path(raw, "/properties"), {"a": 1})[0] == 409
        cloud.post(path(raw, "/raw"), b"\x01\x02", query={"async": 1})
        assert device.receive().payload == b"\x01\x02"


@pytest.mark.parametrize("name, status", [("abc", 400), ("abcd", 201), ("x" * 32, 201), ("x" * 33, 400), ("a b c", 400),
                                          ("Dev-_@.:01", 201), ("dev-0001", 409)])
def test_device_names(cloud, name, status):
    """covers: D10"""
    assert cloud.request("POST", "/devices", {"productKey": DEV[0], "deviceName": name})[0] == status


def test_a_disabled_device_is_closed_and_refused_until_enabled(cloud):
    """covers: D27"""
    with Client(cloud, DEV) as device:
        cloud.post(path(DEV, "/disable"))
        assert device.closed.get(timeout=30) is not None
    assert cloud.device(*DEV[:2])["status"] == "DISABLED"
    with Client(cloud, DEV) as device:
        assert device.code == 5
    cloud.post(path(DEV, "/enable"))
    with Client(cloud, DEV) as device:
        assert device.code == 0


def test_a_deleted_device_is_closed_and_unknown(cloud):
    """covers: D24 E10"""
    with Client(cloud, DEV) as device:
        cloud.delete(path(DEV))
        assert device.closed.get(timeout=30) is not None
    assert cloud.request("GET", path(DEV))[0] == 404
    with Client(cloud, DEV) as device:
        assert device.code == 4


# ---- messages ----


def test_messages_are_filtered(cloud):
    """covers: D25"""
    with Client(cloud, DEV, subscribe=[f"/{DEV[0]}/{DEV[1]}/user/get"]) as device:
        for n in range(3):
            device.publish(f"/{DEV[0]}/{DEV[1]}/user/update", str(n))
        cloud.post(path(DEV, "/raw"), b"down", topic=f"/{DEV[0]}/{DEV[1]}/user/get")
        every = cloud.messages()
        assert [m["payload"] for m in every] == ["0", "1", "2", "down"]
        assert [m["seq"] for m in every] == sorted(m["seq"] for m in every)
        assert [m["payload"] for m in cloud.messages(direction="down")] == ["down"]
        assert [m["payload"] for m in cloud.messages(topic=f"/{DEV[0]}/+/user/update", limit=2)] == ["1", "2"]
        assert [m["payload"] for m in cloud.messages(since=every[2]["seq"])] == ["down"]
        assert cloud.messages(device=f"{GW[0]}/{GW[1]}") == []
        assert cloud.get("/messages")["newest"] == every[-1]["seq"]
    assert cloud.request("GET", "/messages", direction="sideways")[0] == 400


def test_the_log_of_messages_is_bounded(start_cloud):
    cloud = start_cloud("""
products = [ { productKey = a1EmuPk0001 } ]
devices = [ { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef } ]
limits.profile = off
messages.keep = 5
""")
    with Client(cloud, DEV) as device:
        for n in range(12):
            device.publish(f"/{DEV[0]}/{DEV[1]}/user/update", str(n))
    assert [m["payload"] for m in cloud.messages()] == ["7", "8", "9", "10", "11"]


def events(stream):
    for line in stream:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def test_the_stream_shows_messages_as_they_come(cloud):
    url = f"{cloud.base}/messages/stream?direction=up&device={DEV[0]}/{DEV[1]}"
    with urllib.request.urlopen(url, timeout=30) as stream, Client(cloud, DEV) as device:
        assert stream.headers["Content-Type"] == "text/event-stream"
        stream.readline()  # its first comment: from now on nothing is missed
        for n in range(50):
            device.publish(f"/{DEV[0]}/{DEV[1]}/user/update", str(n))
        got = events(stream)
        assert [next(got)["payload"] for _ in range(50)] == [str(n) for n in range(50)]


def test_stopping_ends_waiting_calls_and_streams(start_cloud):
    cloud = start_cloud()
    stream = urllib.request.urlopen(cloud.base + "/messages/stream", timeout=30)
    stream.readline()
    results = []
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/+")]) as device:
        caller = threading.Thread(target=lambda: results.append(cloud.request("POST", path(DEV, "/services/x"), {}, timeout=60000)))
        caller.start()
        device.receive()
        cloud.process.stop()
        caller.join()
        assert results[0] == (410, {"result": "gone", "id": results[0][1]["id"]})
    stream.close()


def test_a_caller_that_leaves_does_no_harm(cloud):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/+")]) as device:
        host, port = cloud.process.ready["api"].rsplit(":", 1)
        sock = socket.create_connection((host, int(port)))
        sock.sendall(f"POST /api/v1{path(DEV, '/services/x')}?timeout=60000 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode())
        request = device.receive()
        sock.close()
        device.publish(request.topic + "_reply", {"id": json.loads(request.payload)["id"], "code": 200, "data": {}}, 0)
        assert device.fence() == []
    assert cloud.stats()["online"] == 0


# ---- faults ----


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_a_connect_is_refused_as_often_as_told(cloud, code):
    cloud.fault("connack", code=code, count=2, device=f"{DEV[0]}/{DEV[1]}")
    for expected in (code, code, 0):
        with Raw(cloud) as raw:
            assert raw.login(DEV)[1][1] == expected
    assert cloud.get("/faults")["faults"] == [] and cloud.stats()["faultsApplied"] == 2


def test_a_puback_is_withheld_and_reading_stops_at_a_hundred(cloud):
    topic = f"/{DEV[0]}/{DEV[1]}/user/update"
    cloud.fault("puback", topic=topic)
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(publish_packet(topic, b"x", qos=1) + publish_packet(f"/{DEV[0]}/{DEV[1]}/pub", b"x", qos=1, mid=2) + b"\xc0\0")
        assert raw.packet() == (0x40, b"\0\2")  # the second only
        assert raw.packet() == (0xd0, b"")
        raw.send(b"".join(publish_packet(topic, b"x", qos=1, mid=i) for i in range(3, 102)))
        wait_until(lambda: cloud.stats()["published"] == 101, "a hundred unacknowledged")
        raw.send(publish_packet(topic, b"too many", qos=1, mid=200))
        assert cloud.get("/faults")["faults"][0]["hits"] == 100
        assert cloud.stats()["published"] == 101


def test_replies_are_dropped_and_requests_refused(cloud):
    topic = sys_topic(DEV, "thing/event/property/post")
    with Client(cloud, DEV, subscribe=[topic + "_reply"]) as device:
        cloud.fault("reply", topic=topic, count=1)
        device.publish(topic, property_post(device), 0)
        assert device.fence() == []
        cloud.fault("refuse", topic="/sys/+/+/thing/event/property/post", code=6106, count=1)
        device.publish(topic, property_post(device, {"b": 2}), 0)
        assert json.loads(device.receive_on(topic + "_reply").payload)["code"] == 6106
        assert "b" not in cloud.device(*DEV[:2])["reported"] and "a" in cloud.device(*DEV[:2])["reported"]
        device.publish(topic, property_post(device), 0)
        assert json.loads(device.receive_on(topic + "_reply").payload)["code"] == 200


def test_replies_come_late(cloud):
    topic = sys_topic(DEV, "thing/event/property/post")
    with Client(cloud, DEV, subscribe=[topic + "_reply"]) as device:
        cloud.fault("delay", topic=topic, ms=300, count=1)
        began = time.monotonic()
        device.publish(topic, property_post(device), 0)
        assert device.fence() == []  # others are answered meanwhile
        assert json.loads(device.receive_on(topic + "_reply").payload)["code"] == 200
        assert time.monotonic() - began >= 0.25
        cloud.fault("delay", ms=3600000)
        device.publish(topic, property_post(device), 0)  # still waiting when the emulator stops


def test_logins_are_refused(cloud):
    with gateway(cloud) as gw:
        add_sub(gw, SUB1)
        cloud.fault("refuse", topic="/ext/session/#", code=429, count=1)
        assert login_sub(gw, SUB1)["code"] == 429
        assert login_sub(gw, SUB1)["code"] == 200


def test_a_device_is_kicked(cloud):
    with gateway(cloud) as gw:
        online_sub(gw, SUB1)
        online_sub(gw, SUB2)
        assert cloud.fault("kick", device=f"{SUB1[0]}/{SUB1[1]}")["hits"] == 1
        told = json.loads(gw.receive_on(f"/ext/error/{GW[0]}/{GW[1]}").payload)
        assert told["code"] == 427 and told["data"]["deviceName"] == SUB1[1]
        assert cloud.device(*SUB2[:2])["status"] == "ONLINE"
        cloud.fault("kick", device=f"{SUB2[0]}/{SUB2[1]}", code=522)
        assert json.loads(gw.receive_on(f"/ext/error/{GW[0]}/{GW[1]}").payload)["code"] == 522
        assert cloud.device(*GW[:2])["status"] == "ONLINE"


def test_connections_are_cut(cloud):
    with Raw(cloud) as one, Raw(cloud) as two:
        one.login(DEV)
        two.login(GW)
        assert cloud.fault("cut", device=f"{DEV[0]}/{DEV[1]}")["hits"] == 1
        assert one.at_end()
        two.send(b"\xc0\0")
        assert two.recv(2) == b"\xd0\0"
        assert cloud.fault("cut")["hits"] == 1
        assert two.at_end()


def test_reading_stalls_until_the_fault_is_taken_away(cloud):
    with Client(cloud, DEV) as device:
        fault = cloud.fault("stall", device=f"{DEV[0]}/{DEV[1]}")
        info = device.mqtt.publish(f"/{DEV[0]}/{DEV[1]}/user/update", b"waits", 1)
        with Client(cloud, GW) as other:
            assert other.fence() == []  # others are served meanwhile
        assert not info.is_published() and cloud.stats()["published"] == 1
        cloud.delete(f"/faults/{fault['id']}")
        info.wait_for_publish(30)
        assert info.is_published()


@pytest.mark.parametrize("spec", [{}, {"kind": "nothing"}, {"kind": "connack", "code": 6}, {"kind": "refuse"}, {"kind": "delay"},
                                  {"kind": "puback", "count": 0}, {"kind": "puback", "typo": 1}, {"kind": 5}, [], "x"])
def test_faults_that_make_no_sense_are_refused(cloud, spec):
    status, got = cloud.request("POST", "/faults", spec)
    assert status == 400 and got["error"]
    assert cloud.get("/faults")["faults"] == []


def test_reset_ends_everything_but_the_stock(cloud):
    cloud.fault("connack", code=3)
    cloud.delete("/faults")
    with gateway(cloud) as gw:
        online_sub(gw, SUB1)
        cloud.fault("stall")
        cloud.post("/reset", expect=204)
        assert gw.closed.get(timeout=30) is not None
    assert cloud.get("/faults")["faults"] == [] and cloud.messages() == []
    assert cloud.device(*GW[:2])["subDevices"] == [] and cloud.device(*SUB1[:2])["status"] == "OFFLINE"
    assert len(cloud.get("/devices")["devices"]) == 5


# ---- the document, the program ----


def test_every_documented_path_exists_and_every_path_is_documented(cloud):
    """The OpenAPI document and the running program name the same operations."""
    document = json.loads((ROOT / "src" / "cloud" / "api" / "openapi.json").read_text())
    assert document["openapi"].startswith("3.")
    batch = cloud.post("/batches", {"productKey": DEV[0], "count": 1}, expect=202)
    values = {"pk": DEV[0], "dn": DEV[1], "productKey": DEV[0], "service": "x", "id": "1", "applyId": str(batch["applyId"])}
    seen = set()
    for template, operations in document["paths"].items():
        real = re.sub(r"\{(\w+)\}", lambda m: values[m.group(1)], template)
        for method in ("GET", "POST", "DELETE", "PUT", "PATCH"):
            status = exists(cloud, method, real)
            documented = method.lower() in operations
            assert (status is not None) == documented, (method, template, status)
            if documented:
                seen.add((method, re.sub(r"\{\w+\}", "{}", template)))
                codes = operations[method.lower()]["responses"]
                assert str(status) in codes, f"{method} {template} answered {status}, documented are {list(codes)}"
    source = (ROOT / "src" / "cloud" / "api" / "api.c").read_text()
    routes = {(m, re.sub(r"\{\w+\}", "{}", p.replace("{pk}/{dn}", "{x}/{y}"))[len("/api/v1"):])
              for m, p in re.findall(r'\{ "(\w+)", "(/api/v1[^"]*)"', source)}
    assert seen == routes


def exists(cloud, method, real):
    """Status of a request without a body, None without such an operation; only the head is read (one path never ends)."""
    host, port = cloud.process.ready["api"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as sock:
        sock.sendall(f"{method} /api/v1{real} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        answer = sock.recv(64)
        status = int(answer.split()[1])
        while status == 404 and (more := sock.recv(4096)):
            answer += more
    if status == 405 or b"no such path" in answer:
        return None
    if method == "DELETE" and real == path(DEV):
        cloud.add_device(*DEV)
    return status


def test_unknown_paths_and_methods(cloud):
    assert cloud.request("GET", "/nothing")[0] == 404
    assert cloud.request("PUT", "/devices", {})[0] == 405
    assert cloud.request("POST", "/devices", b"x" * 2700000)[0] == 413


def run(tmp_path, *args):
    process = Process("causeway-cloud", *args, dir=tmp_path, ready=False).start()
    status = process.wait()
    process.popen = None
    return status, process.stdout(), process.stderr()


def test_help_version_and_wrong_options(tmp_path):
    status, out, _ = run(tmp_path, "--help")
    assert status == 0 and "--config" in out
    status, out, _ = run(tmp_path, "--version")
    assert status == 0 and re.match(r"causeway-cloud \d+\.\d+\.\d+\n", out.splitlines(True)[-1])
    status, _, err = run(tmp_path, "--wrong")
    assert status == 2 and "--help" in err
    status, _, err = run(tmp_path, "stray")
    assert status == 2 and "stray" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_it_cleanly(start_cloud, number):
    cloud = start_cloud(tls_dir=None)
    ready = cloud.process.ready_file
    ca = pathlib.Path(cloud.ca)
    with Client(cloud, DEV) as device:
        cloud.process.signal(number)
        assert cloud.process.wait() == 0
        assert device.closed.get(timeout=30) is not None
    assert not ready.exists() and not ca.exists()


def test_certificates_in_a_state_directory_are_used_again(start_cloud, tmp_path):
    cloud = start_cloud(tls_dir=tmp_path / "state")
    before = pathlib.Path(cloud.ca).read_bytes()
    assert (tmp_path / "state" / "server.key").stat().st_mode & 0o777 == 0o600
    addresses = cloud.mqtt, cloud.base
    cloud.restart()
    assert (cloud.mqtt, cloud.base) == addresses
    assert pathlib.Path(cloud.ca).read_bytes() == before
    with Client(cloud, DEV, tls=True) as device:
        assert device.code == 0


def test_certificates_from_files(start_cloud, cloud_state, tmp_path):
    made = start_cloud(tls_dir=tmp_path / "made").ca.rsplit("/", 1)[0]
    conf = CONF + f'tls {{ certificate = "{made}/server.pem", key = "{made}/server.key", ca = "{made}/ca.pem" }}'
    cloud = start_cloud(conf, name="second", tls_dir=None)
    assert cloud.ca == f"{made}/ca.pem"
    with Client(cloud, DEV, tls=True) as device:
        assert device.code == 0


CONF = """
products = [ { productKey = a1EmuPk0001 } ]
devices = [ { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef } ]
"""


@pytest.mark.parametrize("text, complaint", [
    ("limits { profil = off }", 'did you mean "limits.profile"'),
    ("products = [ { productSecret = x } ]", "productKey"),
    ("products = [ { productKey = a1EmuPk0001, nodeType = sub } ]", "subdevice"),
    ("devices = [ { productKey = a1None, deviceName = dev-0001 } ]", 'no product "a1None"'),
    ("products = [ { productKey = a1EmuPk0001 }, { productKey = a1EmuPk0001 } ]", "exists already"),
    ("products = [ { productKey = a1EmuPk0001 } ], devices = [ { productKey = a1EmuPk0001, deviceName = a } ]", "4 to 32"),
    ("tls { certificate = x.pem }", "belong together"),
    ("listeners.mqtt = nowhere", "listeners.mqtt"),
    ("listeners.mqtt = \"127.0.0.1:0\", listeners.api = \"192.0.2.1:1\"", "listeners.api"),
    ("faults = [ { kind = connack } ]", "connack needs 1 to 5"),
    ("products = [", "1:"),
])
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path, cloud_state, text, complaint):
    path = tmp_path / "wrong.conf"
    path.write_text(text)
    status, _, err = run(tmp_path, "--free-ports", "--tls-dir", cloud_state, "--config", path)
    assert status == 1 and complaint in err, err


@pytest.mark.parametrize("which", ["mqtt", "api"])
def test_an_address_in_use_is_an_error(cloud, tmp_path, cloud_state, which):
    status, _, err = run(tmp_path, "--tls-dir", cloud_state, f"--{which}", cloud.process.ready[which])
    assert status == 1 and f"listeners.{which}" in err and cloud.process.ready[which] in err


def test_the_example_file_shows_every_setting_with_its_default():
    """What is commented out in conf/cloud.conf is what the tables in options.c say."""
    source = (ROOT / "src" / "cloud" / "options.c").read_text()
    example = re.sub(r"^# ?", "", (ROOT / "conf" / "cloud.conf").read_text(), flags=re.M)
    for name in re.findall(r'"((?:limits|switches|messages|log|tls|listeners)\.\w+)"', source):
        assert re.search(rf"\b{name.split('.')[1]}\b", example), f"{name} is missing in conf/cloud.conf"


def test_switches(start_cloud):
    cloud = start_cloud(CONF + """
switches { strictSecuremode = false, keepAliveAbove1200 = clamp, topoMove = false, kickTopic = logout_reply }
products += { productKey = a1EmuGw0001, nodeType = gateway }
products += { productKey = a1EmuSub001, nodeType = subdevice, registration = false,
              topics = [ { topic = report, permission = publish } ] }
devices += { productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }
devices += { productKey = a1EmuGw0001, deviceName = gw-0002, deviceSecret = x, disabled = true }
devices += { productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 }
faults = [ { kind = connack, code = 3, count = 1, device = a1EmuPk0001/dev-0001 } ]
log { format = json, level = warn }
""")
    with Client(cloud, DEV, securemode="2") as device:
        assert device.code == 3  # the fault of the file
    with Client(cloud, DEV, securemode="2", keepalive=5000) as device:
        assert device.code == 0
    assert json.loads(cloud.process.stderr().splitlines()[0])["id"] == "cloud.refused"
    second = ("a1EmuGw0001", "gw-0002", "x")
    with Client(cloud, second) as device:
        assert device.code == 5
    cloud.post(path(second, "/enable"))
    with gateway(cloud) as gw, gateway(cloud, second) as other:
        online_sub(gw, SUB1)
        gw.publish(f"/{SUB1[0]}/{SUB1[1]}/report", "x")
        assert cloud.messages(direction="up", topic="#")[-1]["outcome"] == "taken"
        got = other.ask(sys_topic(second, "thing/topo/add"), {"method": "thing.topo.add", "params": [topo_entry(SUB1)]})
        assert got["code"] == 6619
        got = gw.ask(sys_topic(GW, "thing/sub/register"), {"method": "thing.sub.register", "params": [
            {"productKey": SUB1[0], "deviceName": SUB1[1]}]})
        assert got["code"] == 6288
        cloud.fault("kick", device=f"{SUB1[0]}/{SUB1[1]}")
        assert json.loads(gw.receive_on(session_topic(GW, "logout_reply")).payload)["code"] == 427


def test_a_subscription_may_take_its_time(start_cloud):
    cloud = start_cloud(CONF + "switches.subscribeDelay = 300ms")
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, subscribe=[topic]):
        assert cloud.request("POST", path(DEV, "/raw"), b"early", topic=topic)[1]["result"] == "unsubscribed"
        wait_until(lambda: cloud.request("POST", path(DEV, "/raw"), b"x", topic=topic)[0] == 202, "the subscription")


def test_what_it_prints_can_be_used(start_cloud):
    cloud = start_cloud()
    out = cloud.process.stdout()
    assert f"mqtt        {cloud.process.ready['mqtt']} " in out
    assert f"api         http://{cloud.process.ready['api']}/ " in out
    assert f"ca          {cloud.ca}" in out and "limits      documented" in out
    assert re.search(r"device      gateway a1EmuGw0001 gw-0001 [0-9a-f]{32}", out)
