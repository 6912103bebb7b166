"""The bridge channel (HTTP/2) of the emulator, against clients that are not ours: hyperframe/hpack in the manner of the platform's Java
library, python3-h2 with promises, nghttp and h2load. See bridge_client.py."""
import base64
import json
import pathlib
import socket
import ssl
import subprocess
import uuid

import h2.config
import h2.connection
import h2.events
import pytest
from bridge_client import (BRIDGE, PLAIN_BRIDGE, SUB1, SUB2, Bridge, Gone, auth, auth_form, auth_raw, unchecked)
from cloud_client import Client
from conftest import wait_until
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PingFrame, RstStreamFrame, WindowUpdateFrame

ALL = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "platform-http.json").read_text())
VECTORS = ALL["http2"]


def topic(device, rest="user/update"):
    return f"/{device[0]}/{device[1]}/{rest}"


def sys_topic(device, rest):
    return f"/sys/{device[0]}/{device[1]}/{rest}"


@pytest.fixture
def bridge(cloud):
    with Bridge(cloud) as b:
        yield b.start()


def send_down(cloud, device, text="hi"):
    """A service call of QoS 1 that nobody waits for."""
    return cloud.post(f"/devices/{device[0]}/{device[1]}/services/say", {"text": text}, **{"async": 1})


def said(push):
    return json.loads(push.payload)["params"]["text"]


def stock(cloud, pk, *names, node_type="device"):
    cloud.add_product(pk, node_type)
    for dn, secret in names:
        cloud.add_device(pk, dn, secret)


# ---- TLS and HTTP/2 ----


@pytest.mark.parametrize("offer, chosen", [(["h2"], "h2"), (["http/1.1", "h2"], "h2"), (None, None)])
def test_alpn_h2_is_chosen_and_none_goes_on(cloud, offer, chosen):
    context = unchecked()
    if offer:
        context.set_alpn_protocols(offer)
    with Bridge(cloud, context=context) as b:
        assert b.sock.selected_alpn_protocol() == chosen
        assert b.sock.version() == "TLSv1.2"
        assert b.login().status == 200


def test_other_alpn_alone_fails_the_handshake(cloud):
    context = unchecked()
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises(ssl.SSLError):
        Bridge(cloud, context=context)
    # The other ports do not look at it.
    host, port = cloud.mqtt
    context.wrap_socket(socket.create_connection((host, port))).close()


def test_settings_and_windows_of_the_profile(cloud):
    with Bridge(cloud) as b:
        b.login()
        assert b.server_settings == {3: 16384, 4: 16777215}
        assert b.credit == 16777215


def test_plain_text_and_http1_are_refused(cloud):
    host, port = cloud.process.ready["http2"].rsplit(":", 1)
    with socket.create_connection((host, int(port))) as s:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert s.recv(100) == b""
    with unchecked().wrap_socket(socket.create_connection((host, int(port)))) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while s.recv(100):
            pass
    wait_until(lambda: cloud.stats()["malformed"] == 1, "the bad preface counted")


def test_ping_is_answered(cloud):
    with Bridge(cloud) as b:
        b.settle()
        assert b.pings == [b"settled!"]


def test_a_large_body_before_any_settings_is_taken(cloud):
    """The official C SDK takes windows of 16 MiB for granted and does not wait."""
    with Bridge(cloud) as b:
        b.send_request("/message/echo/success", b.login_headers())
        stream = b.send_request("/message/pub" + b.topic("post"), [("x-qos", "0")], b" " * 300000)
        assert b.reply(stream).status == 400


# ---- login ----


@pytest.mark.parametrize("options", [{"method": None, "timestamp": None}, {"method": "hmacsha1", "timestamp": None},
                                     {"method": "hmacsha256"}, {"upper": True}, {"timestamp": "1"},
                                     {"client_id": "anything at all"}])
def test_logins_that_are_accepted(cloud, options):
    with Bridge(cloud) as b:
        reply = b.login(**options)
        assert reply.status == 200 and reply["x-request-id"].isdigit() and reply.body == b""
        assert cloud.device(*BRIDGE[:2])["session"]["channel"] == "http2"


@pytest.mark.parametrize("vector", ALL["http2"]["deviceName"], ids=lambda v: v["name"])
def test_logins_of_the_vectors(cloud, vector):
    who = ALL["bridge"]
    stock(cloud, who["productKey"], (who["deviceName"], who["deviceSecret"]), node_type="gateway")
    with Bridge(cloud) as b:
        assert b.request("/message/echo/success", list(vector["headers"].items())).status == 200


@pytest.mark.parametrize("change, status", [({"sign": "00" * 16}, 401), ({"method": "hmacsha512", "sign": "00"}, 401)])
def test_refused_logins_are_answered_and_the_connection_closed(cloud, change, status):
    with Bridge(cloud) as b:
        reply = b.login(**change)
        assert reply.status == status and reply["x-response-status"] == str(status)
        assert reply.json()["code"] == status
        assert b.wait_gone() == "login refused"
    assert cloud.device(*BRIDGE[:2])["status"] == "UNACTIVE"


def test_unknown_disabled_and_sub_devices_may_not_log_in(cloud):
    cloud.post("/devices/a1EmuPk0001/dev-0001/disable")
    for device, status in ((("a1EmuGw0001", "nobody", "x"), 401), (PLAIN_BRIDGE, 403), (SUB1, 403)):
        with Bridge(cloud, device) as b:
            assert b.login().status == status


def test_any_device_may_be_a_bridge(cloud):
    """covers: M08"""
    with Bridge(cloud, PLAIN_BRIDGE) as b:
        b.start().online(SUB1)
        assert b.publish(SUB1, topic(SUB1), b"x").status == 200


def test_requests_before_the_login_get_401(cloud):
    with Bridge(cloud) as b:
        assert b.request("/message/sub" + b.topic("push")).status == 401
        assert b.request("/message/pub" + b.topic("post"), [("x-qos", "0")], b"{}").status == 401
        assert b.request("/message/ack", [("x-message-id", "1")]).status == 401
        assert b.login().status == 200
    with Bridge(cloud) as b:
        assert b.request("/message/echo/success").status == 401


def test_login_headers_on_another_request_are_a_login(cloud):
    with Bridge(cloud) as b:
        assert b.request("/message/ack", b.login_headers()).status == 200
        assert b.request("/message/sub" + b.topic("push")).status == 200


def test_another_identity_on_the_same_connection_is_refused(cloud):
    with Bridge(cloud) as b:
        assert b.login().status == 200
        b.device = PLAIN_BRIDGE
        assert b.login().status == 403
        assert b.wait_gone() == "login refused"


def test_paths(cloud, bridge):
    own = bridge.topic
    for path, status in (("/message//sub/" + own("push"), 200), ("/message/sub" + own("push").replace("-", "%2D"), 200),
                         ("/message/sub/sys/a1EmuPk0001/dev-0001/bridge/push", 403), ("/message/sub" + own("post"), 403),
                         ("/message/sub", 400), ("/message/pub/", 400), ("/message/sub%zz", 400), ("/message/pub_with_resp/x", 404),
                         ("/stream/open/c/iot/sys/thing/file/upload", 404), ("/", 404), ("/" + "x" * 400, 400),
                         ("/message/pub" + own("push"), 403)):
        reply = bridge.request(path)
        assert reply.status == status, path
        assert reply.status == 200 or reply.json()["code"] == status


def test_eight_connections_of_an_identity_the_ninth_replaces_the_oldest(cloud):
    bridges = [Bridge(cloud) for _ in range(8)]
    for b in bridges:
        assert b.login().status == 200
    with Bridge(cloud) as ninth:
        assert ninth.login().status == 200
        assert bridges[0].wait_gone() == "replaced"
        for b in bridges[1:]:
            b.settle()
        assert cloud.device(*BRIDGE[:2])["status"] == "ONLINE"
    for b in bridges:
        b.close()
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")


# ---- /auth/bridge ----


def test_net_id_is_the_same_for_ever_and_needs_no_connection(cloud):
    first = auth(cloud, BRIDGE, client_id="x", gateway=True)
    assert first["code"] == 200 and set(first["data"]) == {"iotId", "iotToken", "netId"}
    net_id = first["data"]["netId"]
    assert len(net_id) == 24 and net_id.isalnum()
    cloud.restart()
    assert auth(cloud, BRIDGE, client_id="x", gateway=True)["data"]["netId"] == net_id
    assert auth(cloud, SUB1, netId=net_id)["code"] == 200
    cloud.wait_status(*SUB1[:2], "ONLINE")
    assert cloud.device(*BRIDGE[:2])["status"] == "UNACTIVE"


def test_a_net_id_is_known_to_an_emulator_that_was_started_anew(cloud):
    net_id = auth(cloud, BRIDGE, gateway=True)["data"]["netId"]
    cloud.restart()
    assert auth(cloud, SUB1, netId=net_id)["code"] == 200


@pytest.mark.parametrize("vector", VECTORS["bridge"]["authBridge"], ids=lambda v: v["name"])
def test_calls_of_the_vectors(cloud, vector):
    """As the library made them. The net id is the only thing of ours in them: that call is signed anew in the same spelling."""
    who = ALL["bridge"]
    owner = (who["productKey"], who["deviceName"], who["deviceSecret"])
    stock(cloud, owner[0], owner[1:], node_type="gateway")
    form = vector["formBody"]
    net_id = auth(cloud, owner, gateway=True)["data"]["netId"]
    if "netId" in form:
        fields = dict(pair.split("=") for pair in form.split("&"))
        signed = auth_form(PLAIN_BRIDGE, client_id=fields["clientId"], timestamp=fields["timestamp"], netId=net_id)
        form = "&".join(f"{k}={signed[k]}" for k in fields)
    answer = auth_raw(cloud, form)
    assert answer["code"] == 200 and answer["data"]["netId"] == net_id


def test_names_with_colon_and_at_are_not_percent_encoded(cloud, bridge):
    stock(cloud, "a1EmuOdd001", ("a:b@c.d-e_f", "s" * 32))
    device = ("a1EmuOdd001", "a:b@c.d-e_f", "s" * 32)
    bridge.online(device)
    assert bridge.publish(device, topic(device), b"odd").status == 200


def test_refusals_of_devices(cloud, bridge):
    stock(cloud, "a1EmuGone01", ("gone", "s" * 32))
    cloud.delete("/devices/a1EmuGone01/gone")
    cloud.post("/devices/a1EmuSub001/sub-0002/disable")
    net = bridge.net_id
    for code, device, more in ((6100, (SUB1[0], "nobody", "x"), {}), (521, ("a1EmuGone01", "gone", "x"), {}), (522, SUB2, {}),
                               (6287, SUB1, {"sign": "00" * 20}), (460, SUB1, {"netId": "0" * 24}), (460, SUB1, {"netId": ""}),
                               (460, SUB1, {"sign": ""}), (460, SUB1, {"method": "hmacmd5", "signmethod": "none"}),
                               (460, BRIDGE, {})):
        answer = auth(cloud, device, **{"netId": net, **more})
        assert answer["code"] == code, (device, more, answer)
        assert answer["message"]
    assert cloud.device(*SUB1[:2])["status"] == "UNACTIVE"


@pytest.mark.parametrize("method", ["hmacmd5", "hmacsha1", "hmacsha256"])
def test_methods_and_unknown_fields_are_part_of_the_sign(bridge, method):
    bridge.online(SUB1, method=method, somethingNew="yes")


def test_members_are_limited(start_cloud):
    cloud = start_cloud(CONF.format("limits { membersSmallBridge = 1, membersLargeBridge = 2 }"))
    with Bridge(cloud) as b:
        b.start().online(SUB1)
        b.online(SUB1)
        b.online(SUB2, expect=428)
        b.start(mode=3).online(SUB2)
        b.online(PLAIN_BRIDGE, expect=428)


def test_logins_of_one_bridge_are_limited_by_a_setting(start_cloud):
    cloud = start_cloud(CONF.format("limits { bridgeLogins = 1 }"))
    with Bridge(cloud) as b:
        b.start()
        codes = [auth(cloud, SUB1, netId=b.net_id)["code"] for _ in range(5)]
        assert 429 in codes and codes[0] == 200


def test_faults_refuse_a_login(cloud, bridge):
    cloud.fault("status", device="a1EmuSub001/sub-0001", code=503, count=1)
    bridge.online(SUB1, expect=503)
    cloud.fault("refuse", device="a1EmuSub001/sub-0001", code=429, count=1)
    bridge.online(SUB1, expect=429)
    bridge.online(SUB1)


# ---- devices ----

CONF = """
products = [
  {{ productKey = a1EmuGw0001, nodeType = gateway }}
  {{ productKey = a1EmuPk0001, nodeType = device }}
  {{ productKey = a1EmuSub001, nodeType = subdevice }}
]
devices = [
  {{ productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }}
  {{ productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }}
  {{ productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 }}
  {{ productKey = a1EmuSub001, deviceName = sub-0002, deviceSecret = 0123456789abcdef0123456789abcd12 }}
]
listeners {{ mqtt = "127.0.0.1:0", api = "127.0.0.1:0", http2 = "127.0.0.1:0", https = "127.0.0.1:0" }}
{}
"""


def test_online_publish_offline(cloud, bridge):
    bridge.online(SUB1)
    device = cloud.device(*SUB1[:2])
    assert device["status"] == "ONLINE" and device["gateway"] == "a1EmuGw0001/gw-0001"
    reply = bridge.publish(SUB1, topic(SUB1), b"hello")
    assert reply.status == 200 and reply["x-message-id"].isdigit() and reply["x-request-id"].isdigit() and reply.body == b""
    message = cloud.wait_message(device="a1EmuSub001/sub-0001", direction="up")
    assert message["payload"] == "hello" and message["qos"] == 1
    assert bridge.offline(SUB1)["code"] == 200
    assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"
    assert bridge.publish(SUB1, topic(SUB1), b"late").status == 403


def test_offline_reply_has_the_form_of_the_profile(bridge):
    bridge.online(SUB1)
    answer = bridge.offline(SUB1)
    assert answer["data"] == {"productKey": SUB1[0], "deviceName": SUB1[1]}
    assert bridge.offline(SUB1)["code"] == 520
    assert bridge.offline(SUB1, net_id="0" * 24)["code"] == 460
    assert bridge.offline((SUB1[0], "nobody"))["code"] == 460


def test_message_ids_are_never_the_same(bridge):
    bridge.online(SUB1)
    streams = [bridge.post(SUB1, topic(SUB1), b"x") for _ in range(5)]
    assert len({bridge.reply(s)["x-message-id"] for s in streams}) == 5


def test_envelopes_of_the_vectors_are_taken(cloud, bridge):
    for vector in VECTORS["bridge"]["publish"]:
        envelope = json.loads(vector["body"])
        envelope["params"].update(productKey=SUB1[0], deviceName=SUB1[1], topic=topic(SUB1))
        bridge.online(SUB1)
        body = json.dumps(envelope, separators=(",", ":")).encode()
        headers = [tuple(h) for h in vector["headers"] if h[0] == "x-qos"]
        assert bridge.request("/message/pub" + bridge.topic("post"), headers, body).status == 200
        assert cloud.wait_message(device="a1EmuSub001/sub-0001")["payload"].startswith("hello")


def test_reports_of_the_vectors_are_carried_out(cloud, bridge):
    """covers: K08"""
    bridge.online(SUB1)
    for vector in VECTORS["bridge"]["tsl"]:
        name = vector["topic"].replace("a1EmuPk0001/dev-0001", "a1EmuSub001/sub-0001")
        assert bridge.publish(SUB1, name, vector["payload"].encode(), qos=0).status == 200, vector["call"]
    device = cloud.device(*SUB1[:2])
    assert device["reported"]["temperature"]["value"] == 25
    assert "alarm" in device["events"]
    assert bridge.publish(SUB1, topic(SUB1, "update"), b"x").status == 200


def test_replies_of_the_platform_come_as_pushes_behind_the_answer(bridge):
    bridge.online(SUB1)
    body = b'{"id":"77","method":"thing.event.property.post","params":{"temperature":25},"version":"1.0"}'
    stream = bridge.post(SUB1, sys_topic(SUB1, "thing/event/property/post"), body)
    push = bridge.push()
    assert bridge.replies[stream].status == 200
    assert push.topic == bridge.topic("push") and push.qos == 0
    assert push.params["productKey"] == SUB1[0] and push.params["deviceName"] == SUB1[1]
    assert push.params["topic"] == sys_topic(SUB1, "thing/event/property/post_reply")
    reply = json.loads(push.payload)
    assert reply["id"] == "77" and reply["code"] == 200
    envelope = push.json()
    assert envelope["version"] == "1.0" and envelope["method"] == "thing.bridge.push" and envelope["id"]


@pytest.mark.parametrize("change, status", [
    ({"payload": "{}!!"}, 400), ({"payload": "aGk"}, 400), ({"productKey": ""}, 400), ({"deviceName": None}, 400), ({"topic": ""}, 400),
    ({"payload": 5}, 400), ({"deviceName": "sub-0002"}, 403), ({"topic": topic(SUB2)}, 403), ({"topic": topic(BRIDGE)}, 403),
    ({"topic": "/sys/a1EmuSub001/sub-0001/no/such/topic"}, 403), ({"topic": "/"}, 403), ({"payload": None}, 200), ({"payload": ""}, 200),
    ({"topic": topic(SUB1)[1:]}, 200)])
def test_envelopes_and_their_statuses(bridge, change, status):
    bridge.online(SUB1)
    reply = bridge.publish(SUB1, topic(SUB1), b"x", change=change)
    assert reply.status == status and (status == 200 or reply.json()["code"] == status)


@pytest.mark.parametrize("body", [b"{", b"[]", b'"text"', b'{"params":5}', b"\xff\xfe", b"[" * 5000, b'{"params":{}}'])
def test_bodies_that_are_no_envelope(bridge, body):
    assert bridge.request("/message/pub" + bridge.topic("post"), [("x-qos", "0")], body).status == 400


def test_a_publish_without_body(bridge):
    assert bridge.request("/message/pub" + bridge.topic("post"), [("x-qos", "0")]).status == 400


def test_malformed_headers(bridge):
    assert bridge.request("/message/pub" + bridge.topic("post"), [("x-qos", "one")], b"{}").status == 400
    assert bridge.request("/message/ack", [("x-message-id", "no number")]).status in (200, 400)


def test_sizes(cloud, bridge):
    bridge.online(SUB1)
    assert bridge.publish(SUB1, topic(SUB1), b"x" * 262144).status == 200
    assert bridge.publish(SUB1, topic(SUB1), b"x" * 262145).status == 413
    assert bridge.publish(SUB1, topic(SUB1), b"x" * 1100000).status == 413
    bridge.settle()


def test_a_body_above_16_mib_is_413(bridge):
    stream = bridge.send_request("/message/pub" + bridge.topic("post"), [("x-qos", "0")], b"", end=False)
    sent = 0
    while sent <= 16 << 20:
        while bridge.credit - sent < 16384:
            assert bridge.step()
        bridge.send(DataFrame(stream, data=b" " * 16384))
        sent += 16384
        if bridge.server_settings.get(4, 0) <= sent:
            break
    while stream not in bridge.replies and sent <= (16 << 20) + 16384:
        assert bridge.step()
        bridge.send(DataFrame(stream, data=b" " * 8192))
        sent += 8192
    bridge.send(DataFrame(stream, data=b"", flags=["END_STREAM"]))
    assert bridge.reply(stream).status == 413


def test_flow_limit_is_429(cloud, bridge):
    bridge.online(SUB1)
    streams = [bridge.post(SUB1, topic(SUB1), b"x", qos=1) for _ in range(40)]
    assert {bridge.reply(s).status for s in streams} == {200, 429}


def test_a_device_moves_to_the_bridge_where_it_came_online_last(cloud, bridge):
    with Bridge(cloud, PLAIN_BRIDGE) as other:
        other.start()
        bridge.online(SUB1)
        other.online(SUB1)
        assert cloud.device(*SUB1[:2])["gateway"] == "a1EmuPk0001/dev-0001"
        assert bridge.publish(SUB1, topic(SUB1), b"x").status == 403
        assert other.publish(SUB1, topic(SUB1), b"x").status == 200
        bridge.settle()
        assert bridge.pushes == []


def test_a_kick_is_told_by_a_switch(start_cloud):
    cloud = start_cloud(CONF.format("switches { bridgeKicks = true }"))
    with Bridge(cloud) as old, Bridge(cloud, PLAIN_BRIDGE) as new:
        old.start().online(SUB1)
        new.start().online(SUB1)
        push = old.push()
        assert push.params["topic"] == "/ext/error/a1EmuGw0001/gw-0001" and push.params["deviceName"] == "sub-0001"
        told = json.loads(push.payload)
        assert told["code"] == 427 and told["data"] == {"productKey": SUB1[0], "deviceName": SUB1[1]}


def test_disabling_and_deleting_a_device(cloud, bridge):
    bridge.online(SUB1)
    bridge.online(SUB2)
    cloud.post("/devices/a1EmuSub001/sub-0001/disable")
    push = bridge.push()
    assert push.params["topic"] == sys_topic(SUB1, "thing/disable")
    assert bridge.publish(SUB1, topic(SUB1), b"x").status == 403
    bridge.online(SUB1, expect=522)
    cloud.delete("/devices/a1EmuSub001/sub-0002")
    assert bridge.push().params["topic"] == sys_topic(SUB2, "thing/delete")
    bridge.online(SUB2, expect=521)
    cloud.post("/devices/a1EmuSub001/sub-0001/enable")
    bridge.online(SUB1)


def test_disabling_and_deleting_the_bridge(cloud, bridge):
    bridge.online(SUB1)
    cloud.post("/devices/a1EmuGw0001/gw-0001/disable")
    bridge.wait_gone()
    assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"
    with Bridge(cloud) as again:
        assert again.login().status == 403
    cloud.post("/devices/a1EmuGw0001/gw-0001/enable")
    with Bridge(cloud) as again:
        again.start().online(SUB1)
        cloud.delete("/devices/a1EmuGw0001/gw-0001")
        again.wait_gone()
    assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"


def test_the_same_identity_over_mqtt_takes_it_from_the_bridge(cloud, bridge):
    bridge.online(SUB1)
    with Client(cloud, BRIDGE):
        bridge.wait_gone()
        assert cloud.device(*BRIDGE[:2])["session"]["channel"] == "mqtt"
        with Bridge(cloud) as again:
            assert again.login().status == 200
            assert cloud.device(*BRIDGE[:2])["session"]["channel"] == "http2"


def test_a_broadcast_to_subscribers_reaches_a_bridge_once_for_all_its_devices(cloud, bridge):
    """As the Java library's broadcast() needs it: no device named, the topic inside. covers: D31"""
    bridge.online(SUB1)
    bridge.online(SUB2)
    assert cloud.post(f"/products/{SUB1[0]}/broadcast", b"news for all", name="news")["devices"] == 2
    push = bridge.push()
    assert push.topic == sys_topic(BRIDGE, "bridge/push") and push.payload == b"news for all"
    assert push.params["topic"] == f"/broadcast/{SUB1[0]}/news"
    assert "productKey" not in push.params and "deviceName" not in push.params
    bridge.settle()
    assert bridge.pushes == []


def test_answers_have_what_the_java_library_waits_for(cloud, bridge):
    """Without the header a publish never completes there, and without the members no upgrade starts."""
    vectors = VECTORS["bridge"]
    answer = auth(cloud, SUB1, netId=bridge.net_id)
    assert answer["code"] == 200 and isinstance(answer["data"]["netId"], str) and answer["data"]["netId"]
    assert answer.keys() >= vectors["authBridgeReply"][0]["body"].keys()
    headers = dict(bridge.publish(SUB1, topic(SUB1), b"x").headers)
    assert set(headers) >= set(dict(vectors["publishReply"]["accepted"])) and headers[":status"] == "200"
    made = cloud.post(f"/products/{SUB1[0]}/packages", b"firmware", version="2.0.0", signMethod="Md5")
    cloud.post(f"/packages/{made['id']}/batches", {})
    want = vectors["otaPush"]
    push = bridge.push()
    assert push.params["topic"] == want["topic"].replace("a1EmuPk0001/dev-0001", f"{SUB1[0]}/{SUB1[1]}")
    got, want = json.loads(push.payload), json.loads(want["payload"])
    assert got.keys() >= want.keys() and got["data"].keys() >= want["data"].keys()
    assert {k: type(v) for k, v in got["data"].items() if k in want["data"]} == {k: type(v) for k, v in want["data"].items()}


def test_small_bridge_takes_its_devices_along(cloud, bridge):
    """The Java library has two connections after a start that failed: the last one counts."""
    bridge.online(SUB1)
    with Bridge(cloud) as second:
        second.login()
        bridge.close()
        wait_until(lambda: cloud.device(*BRIDGE[:2])["session"]["address"], "a session")
        second.settle()
        assert cloud.device(*SUB1[:2])["status"] == "ONLINE"
        assert second.publish(SUB1, topic(SUB1), b"x").status == 200
    cloud.wait_status(*SUB1[:2], "OFFLINE")
    assert cloud.device(*BRIDGE[:2])["status"] == "OFFLINE"
    with Bridge(cloud) as again:
        assert again.login().status == 200
        again.net_id = bridge.net_id
        assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"
        again.online(SUB1)


def test_large_bridge_leaves_its_devices_online(cloud):
    """covers: L08"""
    with Bridge(cloud) as b:
        b.start(mode=3).online(SUB1)
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")
    assert cloud.device(*SUB1[:2])["status"] == "ONLINE"
    send_down(cloud, SUB1, "while away")
    with Bridge(cloud) as again:
        assert again.login().status == 200
        assert said(again.push()) == "while away"
        assert again.publish(SUB1, topic(SUB1), b"x").status == 200
        again.settle()
        assert again.pushes == []


def test_large_bridge_survives_a_restart_with_a_state_file(start_cloud, tmp_path):
    cloud = start_cloud(None, state=tmp_path / "cloud.db")
    with Bridge(cloud) as b:
        net_id = b.start(mode=3).net_id
        b.online(SUB1)
        b.online(SUB2)
        assert b.offline(SUB2)["code"] == 200
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")
    cloud.restart()
    cloud.wait_status(*SUB1[:2], "ONLINE")
    assert cloud.device(*SUB2[:2])["status"] == "OFFLINE"
    with Bridge(cloud) as again:
        assert again.login().status == 200
        assert again.publish(SUB1, topic(SUB1), b"x").status == 200
        send_down(cloud, SUB1)
        assert said(again.push()) == "hi", "the subscriptions were kept"
        again.net_id = net_id
        again.online(SUB2)
    cloud.process.kill()
    cloud.start()
    cloud.wait_status(*SUB2[:2], "ONLINE")


def test_a_bridge_that_comes_back_without_subscribing_is_taken_to_have_both(cloud):
    """The library subscribes at its start only, and the emulator may have been restarted."""
    with Bridge(cloud) as b:
        assert b.login().status == 200
        b.net_id = auth(cloud, BRIDGE, gateway=True)["data"]["netId"]
        b.online(SUB1)
        send_down(cloud, SUB1, "kept")
        b.settle()
        assert b.pushes == []
        cloud.post("/clock", {"advance": "6s"})
        assert said(b.push()) == "kept"


# ---- pushes ----


def test_a_push_is_headers_and_data_on_an_even_stream(cloud, bridge):
    bridge.online(SUB1)
    bridge.order.clear()
    send_down(cloud, SUB1)
    push = bridge.push()
    assert bridge.order == [("HeadersFrame", 2), ("DataFrame", 2)] and push.stream == 2
    assert [name for name, _ in push.headers] == [":status", "x-topic", "x-message-id", "x-qos", "x-generate-time"]
    assert push["x-qos"] == "1" and push.id.isdigit() and len(push["x-generate-time"]) == 13
    assert push.topic == bridge.topic("push")
    bridge.ack(push)
    assert cloud.stats()["pushAcks"] == 1
    send_down(cloud, SUB1)
    assert bridge.push().stream == 4


def test_unknown_acks_are_fine(bridge):
    for mid in ("1", "18446744073709551616", "not a number"):
        assert bridge.request("/message/ack", [("x-message-id", mid)]).status in (200, 400)
    assert bridge.request("/message/ack").status == 200


def test_what_is_not_acknowledged_comes_first_after_a_reconnect(cloud, bridge):
    bridge.online(SUB1)
    for text in ("one", "two", "three"):
        send_down(cloud, SUB1, text)
    pushes = [bridge.push() for _ in range(3)]
    bridge.ack(pushes[1])
    bridge.close()
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")
    with Bridge(cloud) as again:
        again.start()
        got = [again.push() for _ in range(2)]
        assert [said(p) for p in got] == ["one", "three"]
        assert [p.id for p in got] == [pushes[0].id, pushes[2].id]


def test_x_clear_session_drops_them(cloud, bridge):
    bridge.online(SUB1)
    send_down(cloud, SUB1)
    bridge.push()
    bridge.close()
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")
    with Bridge(cloud) as again:
        assert again.login(clear="1").status == 200
        again.subscribe()
        again.settle()
        assert again.pushes == []


def test_offline_drops_what_waits_for_the_device(cloud, bridge):
    bridge.online(SUB1)
    bridge.online(SUB2)
    send_down(cloud, SUB1, "gone")
    send_down(cloud, SUB2, "stays")
    assert {said(bridge.push()), said(bridge.push())} == {"gone", "stays"}
    bridge.offline(SUB1)
    bridge.close()
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")
    with Bridge(cloud) as again:
        again.start()
        assert said(again.push()) == "stays"
        again.settle()
        assert again.pushes == []


def test_at_most_100_are_outstanding_and_replies_pass_them(start_cloud):
    cloud = start_cloud(CONF.format("limits { profile = off }"))
    with Bridge(cloud) as bridge:
        bridge.start().online(SUB1)
        for i in range(120):
            send_down(cloud, SUB1, str(i))
        first = [bridge.push() for _ in range(100)]
        bridge.settle()
        assert bridge.pushes == []
        assert bridge.offline(SUB1[:2], net_id="0" * 24)["code"] == 460
        for push in first[:20]:
            bridge.ack(push)
        assert [said(bridge.push()) for _ in range(20)] == [str(i) for i in range(100, 120)]


def test_repetition_after_30_s(cloud, bridge):
    """By the platform's clock, which is put forward."""
    bridge.online(SUB1)
    send_down(cloud, SUB1, "one")
    send_down(cloud, SUB1, "two")
    first = [bridge.push(), bridge.push()]
    bridge.ack(first[0])
    cloud.post("/clock", {"advance": "29s"})
    bridge.settle()
    assert bridge.pushes == []
    cloud.post("/clock", {"advance": "2s"})
    again = bridge.push()
    assert again.id == first[1].id and said(again) == "two" and again.stream != first[1].stream
    assert cloud.stats()["pushRepeats"] == 1
    bridge.ack(again)
    cloud.post("/clock", {"advance": "60s"})
    bridge.settle()
    assert bridge.pushes == [] and cloud.stats()["pushAcks"] == 2


def test_resets_and_credit_on_pushed_streams_do_no_harm(cloud, bridge):
    bridge.online(SUB1)
    send_down(cloud, SUB1)
    push = bridge.push()
    bridge.send(WindowUpdateFrame(push.stream, 1000))
    bridge.send(RstStreamFrame(push.stream, 7))
    bridge.settle()
    assert cloud.stats()["undeliverable"] == 1
    send_down(cloud, SUB1)
    assert said(bridge.push()) == "hi"


def test_pushes_go_to_the_connection_that_logged_in_last(cloud, bridge):
    with Bridge(cloud) as second:
        second.login()
        bridge.online(SUB1)
        send_down(cloud, SUB1)
        assert said(second.push()) == "hi"
        bridge.settle()
        assert bridge.pushes == []
    wait_until(lambda: len(cloud.process.stderr().split("closed by the client")) > 1, "the second gone")
    bridge.settle()
    assert said(bridge.push()) == "hi", "unacknowledged there, so it comes here"


def test_no_push_topic_subscribed_yet_offline_replies_pass(cloud):
    """A program without a downlink handler subscribes offline_reply alone."""
    with Bridge(cloud) as b:
        b.login()
        b.request("/message/sub" + b.topic("offline_reply"))
        b.net_id = auth(cloud, BRIDGE, gateway=True)["data"]["netId"]
        b.online(SUB1)
        send_down(cloud, SUB1)
        assert b.offline(SUB1)["code"] == 200
        b.settle()
        assert b.pushes == []


def test_the_connections_window_is_kept(cloud, bridge):
    """65,535 bytes for all streams together, and more only by WINDOW_UPDATE on stream 0: pushes and refusals alike."""
    bridge.online(SUB1)
    bridge.auto_window = False
    for _ in range(3):
        send_down(cloud, SUB1, "x" * 30000)  # 40 kB each in Base64
    bridge.push()
    bridge.settle()
    part = sum(len(p.body) for p in bridge.open_pushes.values())
    refusal = bridge.send_request("/nowhere")
    bridge.settle()
    assert refusal in bridge.replies and bridge.replies[refusal].body == b"", "the refusal's text waits for window"
    assert 0 < part < 40000
    bridge.send(WindowUpdateFrame(0, 1000000))
    bridge.push()
    bridge.push()
    assert bridge.reply(refusal).json()["code"] == 404


def test_credit_given_once_for_all_is_used(bridge):
    """Refusals of more than 65,535 bytes in all, to a client that gave 2 GiB of credit at the start and gives no more."""
    bridge.auto_window = False
    bridge.send(WindowUpdateFrame(0, 0x7fff0000))
    for _ in range(4):
        streams = [bridge.send_request("/nowhere/at/all") for _ in range(500)]
        for stream in streams:
            assert bridge.reply(stream).json()["code"] == 404


def test_credit_beyond_what_there_can_be_ends_the_connection(bridge):
    bridge.send(WindowUpdateFrame(0, 0x7fffffff))
    bridge.wait_gone()
    assert bridge.goaway_code == 3


def test_a_push_larger_than_the_clients_stream_window_is_given_up(cloud):
    with Bridge(cloud, window=10000) as b:
        b.start().online(SUB1)
        send_down(cloud, SUB1, "x" * 20000)
        send_down(cloud, SUB1, "small")
        assert said(b.push()) == "small"
        assert cloud.stats()["undeliverable"] == 1


def test_a_bridge_that_does_not_read_is_closed_and_delays_nobody(start_cloud):
    cloud = start_cloud(CONF.format("limits { profile = off, outQueue = 256KiB }"))
    with Bridge(cloud) as slow, Bridge(cloud, PLAIN_BRIDGE) as other:
        slow.start().online(SUB1)
        other.start().online(SUB2)
        request = slow.encoder.encode([(":path", "/message/ack"), ("content-length", "0")])

        def flood():
            """Requests whose answers are never read."""
            out = b""
            for _ in range(2000):
                out += HeadersFrame(slow.next, data=request, flags=["END_HEADERS", "END_STREAM"]).serialize()
                slow.next += 2
            try:
                slow.sock.sendall(out)
            except OSError:
                pass
            return cloud.stats()["slowClosed"] == 1

        wait_until(flood, "the slow bridge closed")
        assert other.publish(SUB2, topic(SUB2), b"x").status == 200
        cloud.wait_status(*SUB1[:2], "OFFLINE")


def test_pushes_wait_for_a_bridge_that_reads_slowly(start_cloud):
    cloud = start_cloud(CONF.format("limits { profile = off, outQueue = 256KiB }"))
    with Bridge(cloud) as slow:
        slow.start().online(SUB1)
        slow.send(WindowUpdateFrame(0, 0x7fff0000))
        slow.settle()
        for i in range(60):
            send_down(cloud, SUB1, str(i) * 100000)
        assert [said(slow.push())[0] for i in range(60)] == [str(i)[0] for i in range(60)]
        assert cloud.stats()["slowClosed"] == 0


def test_commands_reach_devices_and_their_answers_come_back(cloud, bridge):
    bridge.online(SUB1)
    import threading
    answers = []
    call = threading.Thread(target=lambda: answers.append(cloud.post("/devices/a1EmuSub001/sub-0001/properties", {"light": 1})))
    call.start()
    push = bridge.push()
    bridge.ack(push)
    request = json.loads(push.payload)
    assert push.params["topic"] == sys_topic(SUB1, "thing/service/property/set") and request["params"] == {"light": 1}
    reply = json.dumps({"id": request["id"], "code": 200, "data": {}}).encode()
    assert bridge.publish(SUB1, push.params["topic"] + "_reply", reply, qos=0).status == 200
    call.join()
    assert len(answers) == 1


# ---- faults ----


def test_status_fault_answers_before_anything_is_looked_at(cloud, bridge):
    cloud.fault("status", code=503, count=1)
    reply = bridge.request("/message/sub" + bridge.topic("push"))
    assert reply.status == 503 and reply["x-response-status"] == "503"
    cloud.fault("status", device="a1EmuGw0001/gw-0001", code=429, count=1)
    with Bridge(cloud) as b:
        assert b.login().status == 429
        assert b.login().status == 200


def test_puback_fault_leaves_a_publish_without_answer(cloud, bridge):
    bridge.online(SUB1)
    cloud.fault("puback", device="a1EmuSub001/sub-0001", count=1)
    silent = bridge.post(SUB1, topic(SUB1), b"one")
    assert bridge.publish(SUB1, topic(SUB1), b"two").status == 200
    bridge.settle()
    assert silent not in bridge.replies
    assert cloud.wait_message(device="a1EmuSub001/sub-0001", direction="up")["payload"] == "one"


def test_repeated_ids_are_taken_twice_and_by_a_switch_once(start_cloud, cloud):
    for where, times in ((cloud, 2), (start_cloud(CONF.format("switches { bridgeDropRepeats = true }"), name="once"), 1)):
        with Bridge(where) as b:
            b.start().online(SUB1)
            where.fault("puback", device="a1EmuSub001/sub-0001", count=1)
            b.post(SUB1, topic(SUB1), b"x", mid="the-same")
            assert b.publish(SUB1, topic(SUB1), b"x", mid="the-same").status == 200
            assert b.publish(SUB1, topic(SUB1), b"y", mid="another").status == 200
            payloads = [m["payload"] for m in where.messages(device="a1EmuSub001/sub-0001", direction="up")]
            assert payloads == ["x"] * times + ["y"]
            where.post("/clock", {"advance": "601s"})
            assert b.publish(SUB1, topic(SUB1), b"x", mid="the-same").status == 200
            assert len(where.messages(device="a1EmuSub001/sub-0001", direction="up")) == times + 2


def test_stall_fault_stops_reading(cloud, bridge):
    bridge.online(SUB1)
    made = cloud.fault("stall", device="a1EmuGw0001/gw-0001")
    stream = bridge.post(SUB1, topic(SUB1), b"x")
    send_down(cloud, SUB1)
    bridge.push()
    assert stream not in bridge.replies
    cloud.delete(f"/faults/{made['id']}")
    assert bridge.reply(stream).status == 200


def test_cut_fault_closes_the_connections(cloud, bridge):
    cloud.fault("cut", device="a1EmuGw0001/gw-0001")
    bridge.wait_gone()
    cloud.wait_status(*BRIDGE[:2], "OFFLINE")


def test_cut_leaves_the_devices_of_a_large_bridge_online(cloud):
    with Bridge(cloud) as b:
        b.start(mode=3).online(SUB1)
        cloud.fault("cut", device="a1EmuGw0001/gw-0001")
        b.wait_gone()
    assert cloud.device(*SUB1[:2])["status"] == "ONLINE"


# ---- hostile clients ----


def test_frames_that_break_the_rules_end_the_connection_only(cloud, bridge):
    for frames in (HeadersFrame(4, data=b"\x82", flags=["END_HEADERS", "END_STREAM"]), DataFrame(99, data=b"x"), WindowUpdateFrame(2, 5),
                   HeadersFrame(1, data=b"\xff\xff\xff\xff\xff", flags=["END_HEADERS", "END_STREAM"])):
        with Bridge(cloud) as b:
            b.send(frames)
            with pytest.raises((Gone, OSError)):
                while True:
                    b.send(PingFrame(0, opaque_data=b"anything"))
                    b.step()
    bridge.settle()


def test_bytes_in_pieces(cloud):
    with Bridge(cloud) as b:
        real, b.sock = b.sock, None

        class Slow:
            def sendall(self, data):
                for i in range(len(data)):
                    real.sendall(data[i:i + 1])

            def __getattr__(self, name):
                return getattr(real, name)

        b.sock = Slow()
        b.start().online(SUB1)
        send_down(cloud, SUB1)
        push = b.push()
        b.send(RstStreamFrame(push.stream, 8))
        b.send(WindowUpdateFrame(0, 5))
        assert b.publish(SUB1, topic(SUB1), b"x").status == 200


def test_many_unfinished_bodies_are_bounded(cloud, bridge):
    bridge.online(SUB1)
    streams = [bridge.send_request("/message/pub" + bridge.topic("post"), [("x-qos", "0")], b"", end=False) for _ in range(300)]
    for stream in streams[:50]:
        bridge.send(RstStreamFrame(stream, 8))
    assert bridge.publish(SUB1, topic(SUB1), b"x").status == 200


# ---- clients by others ----


class Standard:
    """python3-h2 as it is: checks everything that comes, and takes promised pushes."""

    def __init__(self, cloud):
        host, port = cloud.process.ready["http2"].rsplit(":", 1)
        context = ssl.create_default_context(cafile=cloud.ca)
        context.set_alpn_protocols(["h2"])
        self.sock = context.wrap_socket(socket.create_connection((host, int(port)), timeout=30), server_hostname="localhost")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.events = []

    def request(self, path, headers=(), body=None, end=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", "POST" if body else "GET"), (":scheme", "https"), (":authority", "localhost"),
                                      (":path", path), *headers], end_stream=body is None and end)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def wait(self, kind, fits=lambda e: True):
        while True:
            for e in self.events:
                if isinstance(e, kind) and fits(e):
                    self.events.remove(e)
                    return e
            data = self.sock.recv(65536)
            assert data, "closed"
            self.events += self.h2.receive_data(data)
            self.flush()


def test_python_h2_with_promises(start_cloud):
    cloud = start_cloud(CONF.format("switches { bridgePromise = true }"))
    fields = Bridge.login_headers(type("Fake", (), {"device": BRIDGE})())
    c = Standard(cloud)
    stream = c.request("/message/echo/success", fields)
    got = c.wait(h2.events.ResponseReceived)
    assert got.stream_id == stream and dict(got.headers)[":status"] == "200"
    c.request(f"/message/sub/sys/{BRIDGE[0]}/{BRIDGE[1]}/bridge/push")
    c.wait(h2.events.ResponseReceived)
    net_id = auth(cloud, BRIDGE, gateway=True)["data"]["netId"]
    assert auth(cloud, SUB1, netId=net_id)["code"] == 200
    carrier = c.request("/message/ack", end=False)
    c.h2.ping(b"promised")
    c.flush()
    c.wait(h2.events.PingAckReceived)
    send_down(cloud, SUB1, "promised")
    promise = c.wait(h2.events.PushedStreamReceived)
    assert promise.parent_stream_id == carrier
    headers = c.wait(h2.events.ResponseReceived, lambda e: e.stream_id == promise.pushed_stream_id)
    assert dict(headers.headers)["x-qos"] == "1"
    data = c.wait(h2.events.DataReceived, lambda e: e.stream_id == promise.pushed_stream_id)
    assert json.loads(base64.b64decode(json.loads(data.data)["params"]["payload"]))["params"]["text"] == "promised"
    c.request("/message/ack", [("x-message-id", dict(headers.headers)["x-message-id"])])
    wait_until(lambda: cloud.stats()["pushAcks"] == 1, "the acknowledgement")
    c.sock.close()


def test_nghttp_sees_a_refusal(cloud):
    host = cloud.process.ready["http2"]
    out = subprocess.run(["nghttp", "-v", "--no-verify-peer", f"https://{host}/message/echo/success"], capture_output=True, text=True,
                         timeout=30).stdout
    assert ":status: 401" in out and "END_STREAM" in out and "GOAWAY" in out and "login refused" in out


def test_h2load_publishes(start_cloud, tmp_path):
    """Login headers on every request: the first is the login, the others name the same identity."""
    cloud = start_cloud(CONF.format("limits { profile = off }"))
    auth(cloud, BRIDGE, gateway=True)
    body = tmp_path / "body"
    payload = base64.b64encode(b"x" * 100).decode()
    body.write_text(json.dumps({"id": str(uuid.uuid4()), "method": "fake", "params": {"deviceName": BRIDGE[1], "payload": payload,
                                "productKey": BRIDGE[0], "topic": topic(BRIDGE)}}))
    headers = Bridge.login_headers(type("Fake", (), {"device": BRIDGE})())
    args = [a for name, value in [*headers, ("x-qos", "1")] for a in ("-H", f"{name}: {value}")]
    out = subprocess.run(["h2load", "-n", "2000", "-c", "2", "-m", "50", "-d", str(body), *args,
                          f"https://{cloud.process.ready['http2']}/message/pub/sys/{BRIDGE[0]}/{BRIDGE[1]}/bridge/post"],
                         capture_output=True, text=True, timeout=60).stdout
    assert "2000 succeeded, 0 failed" in out, out
    assert cloud.stats()["published"] == 2000
