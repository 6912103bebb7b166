"""What peers must not be able to do to the emulator: pages of other origins, growth without end, state that comes back."""
import http.client
import json
import socket
import threading
import urllib.parse

import pytest
from cloud_client import DEV, Client, sys_topic
from openapi_client import OpenApi, common


def call(address, method, path, body=None, **headers):
    """(status, body) with header fields just as given."""
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders(body)
    answer = connection.getresponse()
    data = answer.read()
    connection.close()
    return answer.status, data


# ---- pages of somebody else ----


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_changes_nothing(cloud, origin):
    api = cloud.process.ready["api"]
    body = json.dumps({"kind": "drop"}).encode()
    for headers in ({}, {"Content-Type": "text/plain"}):
        assert call(api, "POST", "/api/v1/faults", body, Origin=origin, **headers)[0] == 403
    assert call(api, "POST", "/api/v1/reset", Origin=origin)[0] == 403
    assert call(api, "GET", "/api/v1/messages/stream", Origin=origin)[0] == 403
    assert cloud.get("/faults")["faults"] == []


def test_the_emulators_own_page_and_programs_may(cloud):
    api = cloud.process.ready["api"]
    port = api.rsplit(":", 1)[1]
    assert call(api, "POST", "/api/v1/reset", Origin=f"http://{api}")[0] == 204
    assert call(api, "POST", "/api/v1/reset", Origin=f"http://localhost:{port}", Host=f"localhost:{port}")[0] == 204
    assert call(api, "POST", "/api/v1/reset")[0] == 204
    assert call(api, "GET", "/")[0] == 200


def test_a_name_that_was_made_to_resolve_here_is_refused(cloud):
    api = cloud.process.ready["api"]
    port = api.rsplit(":", 1)[1]
    for path in ("/", "/api/v1/devices", "/api/v1/messages"):
        assert call(api, "GET", path, Host=f"evil.test:{port}")[0] == 403
    assert call(api, "POST", "/api/v1/reset", Host=f"evil.test:{port}", Origin=f"http://evil.test:{port}")[0] == 403


def test_listening_for_others_any_name_will_do(start_cloud):
    cloud = start_cloud('listeners { api = "0.0.0.0:0" }')
    port = cloud.process.ready["api"].rsplit(":", 1)[1]
    assert call(f"127.0.0.1:{port}", "GET", "/api/v1/devices", Host=f"cloud.test:{port}")[0] == 200


def test_pages_do_not_sign_management_calls(cloud):
    openapi = cloud.process.ready["openapi"]
    assert OpenApi(openapi).ok("QueryDevice", ProductKey=DEV[0])
    assert call(openapi, "GET", "/?Action=QueryDevice", Origin="http://evil.test")[0] == 403


# ---- the state file ----


def test_what_a_device_nests_does_not_make_the_state_unreadable(start_cloud, tmp_path):
    cloud = start_cloud(state=tmp_path / "state.db")
    post = sys_topic(DEV, "thing/event/property/post")
    with Client(cloud, DEV, subscribe=[post + "_reply"]) as device:
        for depth, code in ((2046, 6207), (300, 6207), (200, 200)):
            value = "[" * depth + "]" * depth
            device.publish(post, f'{{"id": "{depth}", "version": "1.0", "params": {{"a": {value}}}}}')
            assert json.loads(device.receive().payload)["code"] == code, depth
        shadow = f'{{"method": "update", "version": 1, "state": {{"reported": {{"a": {"[" * 2045 + "]" * 2045}}}}}}}'
        device.publish(f"/shadow/update/{DEV[0]}/{DEV[1]}", shadow)
    tags = b'{"a":' + b"[" * 2046 + b"]" * 2046 + b"}"
    assert cloud.request("POST", f"/devices/{DEV[0]}/{DEV[1]}/jobs", b'{"jobDocument":' + tags + b"}")[0] == 400
    cloud.restart()
    assert "a" in cloud.device(*DEV[:2])["reported"]


def test_a_script_that_cannot_be_kept_is_refused(start_cloud, tmp_path):
    """It would keep everything else from being written, too."""
    cloud = start_cloud(state=tmp_path / "state.db")
    status, answer = cloud.request("POST", f"/products/{DEV[0]}/script", b"// \xff\xfe")
    assert status == 400 and "UTF-8" in answer["error"]
    made = cloud.add_device(DEV[0], "late-0001")
    cloud.process.kill()
    cloud.start()
    assert made["deviceSecret"]
    assert cloud.device(DEV[0], "late-0001")["status"] == "UNACTIVE"


def test_parameters_that_are_not_utf8_are_named(cloud):
    params = common("CreateProductTopic", ProductKey=DEV[0], Operation="SUB", TopicShortName="x")
    query = "&".join(f"{k}={urllib.parse.quote(v)}" for k, v in params.items()).replace("TopicShortName=x", "TopicShortName=%FF")
    status, body = call(cloud.process.ready["openapi"], "GET", "/?" + query)
    assert status == 400 and json.loads(body)["Message"] == "A parameter is not UTF-8."


def test_a_reset_is_not_undone_by_a_restart(start_cloud, tmp_path):
    cloud = start_cloud(state=tmp_path / "state.db")
    get = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, clean=False) as device:
        device.subscribe(get, qos=1)
        device.publish(sys_topic(DEV, "thing/event/property/post"),
                       {"id": "1", "version": "1.0", "method": "thing.event.property.post", "params": {"a": 1}})
    cloud.wait_status(*DEV[:2], "OFFLINE")
    cloud.post(f"/devices/{DEV[0]}/{DEV[1]}/raw", b"kept", query={"topic": get, "qos": 1, "async": 1})
    cloud.post(f"/devices/{DEV[0]}/{DEV[1]}/disable")
    cloud.post("/reset")
    cloud.restart()
    shown = cloud.device(*DEV[:2])
    assert shown["status"] == "OFFLINE" and shown.get("reported", {}) == {}
    with Client(cloud, DEV, clean=False) as device:
        assert device.code == 0 and not device.flags["session present"]
        assert device.fence() == []


def test_a_reset_ends_calls_that_wait(cloud):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/+")]) as device:
        results = []
        caller = threading.Thread(target=lambda: results.append(
            cloud.request("POST", f"/devices/{DEV[0]}/{DEV[1]}/services/x", {}, timeout=60000)))
        caller.start()
        device.receive()
        cloud.post("/reset")
        caller.join(20)
        assert results and results[0][0] == 410, results


def test_what_was_answered_survives_a_kill(start_cloud, tmp_path):
    cloud = start_cloud(state=tmp_path / "state.db")
    get = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, clean=False) as device:
        device.subscribe(get, qos=1)
    cloud.wait_status(*DEV[:2], "OFFLINE")
    for i in range(10):
        name = f"made-{i:04}"
        OpenApi(cloud.process.ready["openapi"]).ok("RegisterDevice", ProductKey=DEV[0], DeviceName=name)
        cloud.post(f"/devices/{DEV[0]}/{DEV[1]}/raw", f"message {i}".encode(), query={"topic": get, "qos": 1, "async": 1})
        cloud.process.kill()
        cloud.start()
        assert cloud.device(DEV[0], name)["status"] == "UNACTIVE"
    with Client(cloud, DEV, clean=False) as device:
        assert [device.receive().payload.decode() for _ in range(10)] == [f"message {i}" for i in range(10)]


def test_a_full_queue_of_kept_messages_is_said_and_makes_room_in_time(cloud):
    get = f"/{DEV[0]}/{DEV[1]}/user/get"
    send = f"/devices/{DEV[0]}/{DEV[1]}/raw"
    with Client(cloud, DEV, clean=False) as device:
        device.subscribe(get, qos=1)
    cloud.wait_status(*DEV[:2], "OFFLINE")
    for _ in range(1000):
        cloud.post(send, b"old", query={"topic": get, "qos": 1, "async": 1})
    cloud.request("POST", send, b"one more", topic=get, qos=1, **{"async": 1})
    last = cloud.messages(direction="down", limit=1)[-1]
    assert (last["payload"], last["outcome"]) == ("one more", "limited") and "wait already" in last["reason"]
    cloud.post("/clock", {"advance": "8d"})
    cloud.post(send, b"new", query={"topic": get, "qos": 1, "async": 1})
    assert cloud.messages(direction="down", limit=1)[-1]["outcome"] == "stored"


# ---- peers that begin and do not go on ----


@pytest.mark.parametrize("listener", ["https", "http2", "mqtt", "api", "openapi"])
def test_half_a_handshake_keeps_nobody_waiting(cloud, listener):
    """A TLS record header alone once kept the HTTPS listener, and with it the loop, busy for ever."""
    host, port = cloud.process.ready[listener].rsplit(":", 1)
    silent = [socket.create_connection((host, int(port)), timeout=30) for _ in range(20)]
    for s in silent:
        s.sendall(b"\x16\x03\x01")
    for _ in range(3):
        assert cloud.get("/stats")["online"] == 0
    with Client(cloud, DEV) as device:
        assert device.code == 0
    for s in silent:
        s.close()
