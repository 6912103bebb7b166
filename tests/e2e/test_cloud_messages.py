"""Topics, permissions, subscriptions, limits, and what devices report."""
import json
import threading

import pytest
from cloud_client import (DEV, GW, SUB1, SUB2, SUB3, Client, Raw, gateway, online_sub, publish_packet,
                          subscribe_packet, sys_topic)
from conftest import wait_until

DEV2 = ("a1EmuPk0001", "dev-0002", "0123456789abcdef0123456789abcde0")


def path(device, rest=""):
    return f"/devices/{device[0]}/{device[1]}{rest}"


def ident(device):
    return f"{device[0]}/{device[1]}"


@pytest.fixture
def device(cloud):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/event/+/post_reply")]) as client:
        yield client


def post(client, params, **more):
    return client.ask(sys_topic(client.device, "thing/event/property/post"),
                      {"method": "thing.event.property.post", "params": params, **more})


def test_every_packet_of_the_standard_is_answered(cloud):
    """covers: H02"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Raw(cloud) as raw:
        assert raw.login(DEV) == (0x20, b"\0\0")
        raw.send(subscribe_packet(topic, mid=5, qos=2))
        assert raw.packet() == (0x90, b"\0\5\1")
        raw.send(publish_packet(f"/{DEV[0]}/{DEV[1]}/user/update", b"x", qos=1, mid=6))
        assert raw.packet() == (0x40, b"\0\6")
        raw.send(b"\xc0\0")
        assert raw.packet() == (0xd0, b"")
        raw.send(b"\xa2" + bytes([4 + len(topic)]) + b"\0\7\0" + bytes([len(topic)]) + topic.encode())
        assert raw.packet() == (0xb0, b"\0\7")
        raw.send(b"\xe0\0")
        assert raw.at_end()


def test_messages_keep_the_publishers_qos(cloud):
    """covers: H06 K12"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV) as device:
        for wanted, sent in ((0, 1), (1, 0)):
            device.subscribe(topic, qos=wanted)
            cloud.post(path(DEV, "/raw"), b"x", topic=topic, qos=sent)
            assert device.receive().qos == sent


def test_custom_classes_of_a_product_map_to_every_device(cloud):
    """covers: K01 K07 K08"""
    cloud.add_device(*DEV2)
    cloud.post(f"/products/{DEV[0]}/topics", {"topic": "report", "permission": "publish"})
    with Client(cloud, DEV2) as device:
        for rest in ("user/update", "user/update/error", "update", "pub", "report"):
            device.publish(f"/{DEV2[0]}/{DEV2[1]}/{rest}", rest)
    assert [(m["payload"], m["outcome"]) for m in cloud.messages(device=ident(DEV2), direction="up")] == [
        (rest, "taken") for rest in ("user/update", "user/update/error", "update", "pub", "report")]


def test_a_publish_to_a_subscribe_only_or_undeclared_topic_is_acknowledged_and_dropped(cloud, device):
    """covers: K03"""
    cloud.post(f"/products/{DEV[0]}/topics", {"topic": "user/orders", "permission": "subscribe"})
    for rest in ("user/orders", "elsewhere", "user/with-dash"):
        device.publish(f"/{DEV[0]}/{DEV[1]}/{rest}", "x")  # QoS 1: returns after the PUBACK
    device.publish(sys_topic(DEV, "thing/service/property/set"), "{}")
    device.publish("/nowhere", "x")
    got = cloud.messages(device=ident(DEV), direction="up")
    assert [m["outcome"] for m in got] == ["dropped"] * 5 and all(m["reason"] for m in got)
    assert cloud.stats()["droppedPermission"] == 5
    wait_until(lambda: "cloud.dropped" in cloud.process.stderr(), "the log line")


def test_custom_topics_are_at_most_128_bytes_and_7_slashes(cloud, device):
    """The platform's own topics are deeper and longer, and exempt."""
    base = f"/{DEV[0]}/{DEV[1]}/user"
    fits, long, deep = base + "/" + "x" * (127 - len(base)), base + "/" + "x" * (128 - len(base)), base + "/1/2/3/4/5"
    assert len(fits) == 128 and deep.count("/") == 8
    for topic in (fits, base + "/1/2/3/4", long, deep):
        device.publish(topic, "x")
    assert [m["outcome"] for m in cloud.messages(direction="up")] == ["taken", "taken", "dropped", "dropped"]
    assert device.subscribe(fits, long, deep) == [0, 0x80, 0x80]


def test_wildcard_classes_only_with_permission_subscribe(cloud):
    """covers: K09"""
    for permission, expected in (("publish", 400), ("both", 400), ("subscribe", 201)):
        status, _ = cloud.request("POST", f"/products/{DEV[0]}/topics", {"topic": "user/+/error", "permission": permission})
        assert status == expected


def test_topics_of_others_are_refused(cloud, device):
    """covers: K04"""
    cloud.add_device(*DEV2)
    other = f"/{DEV2[0]}/{DEV2[1]}/user"
    assert device.subscribe(other + "/get", sys_topic(DEV2, "thing/service/+"), "#", "/+/+/user/get", f"/{DEV[0]}/+/user/get") == [0x80] * 5
    device.publish(other + "/update", "x")
    assert cloud.messages(device=ident(DEV), direction="up")[-1]["reason"] == "topic of another device"


def test_wildcard_filters(cloud, device):
    """covers: K09"""
    base = f"/{DEV[0]}/{DEV[1]}/user"
    assert device.subscribe(base + "/#", base + "/+/x", base + "/a-b") == [0, 0, 0x80]
    for rest in ("update", "update/error"):
        cloud.post(path(DEV, "/raw"), rest.encode(), topic=f"{base}/{rest}")
        assert device.receive().payload == rest.encode()


def test_filters_that_mqtt_does_not_know_are_refused_one_by_one(cloud):
    base = f"/{DEV[0]}/{DEV[1]}/user"
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(subscribe_packet(base + "/bad#", base + "/get", base + "/#/x", base + "/b+"))
        assert raw.packet() == (0x90, b"\0\1\x80\0\x80\x80")


def test_the_list_of_subscriptions_and_unsubscribe(cloud, device):
    """covers: K11"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    device.subscribe(topic)
    assert topic in cloud.device(*DEV[:2])["subscriptions"]
    device.unsubscribe(topic)
    assert topic not in cloud.device(*DEV[:2])["subscriptions"]
    status, got = cloud.request("POST", path(DEV, "/raw"), b"x", topic=topic)
    assert status == 409 and got["result"] == "unsubscribed"


def test_the_101st_subscription_is_refused(cloud):
    with Client(cloud, DEV) as device:
        granted = device.subscribe(*[f"/{DEV[0]}/{DEV[1]}/user/t{i}" for i in range(101)])
        assert granted == [0] * 100 + [0x80]
        assert device.subscribe(f"/{DEV[0]}/{DEV[1]}/user/t5") == [0]  # one of them again is fine


def test_wildcards_cannot_be_published_to(cloud, device):
    """covers: K10"""
    for rest in ("user/+", "user/#"):
        assert cloud.request("POST", path(DEV, "/raw"), b"x", topic=f"/{DEV[0]}/{DEV[1]}/{rest}")[0] == 400
    assert cloud.request("POST", path(DEV, "/raw"), b"x", topic=f"/{DEV[0]}/dev-0002/user/get")[0] == 400


def test_system_topics_without_subscribe_with_ss(cloud):
    with Client(cloud, DEV, extra="_ss=1") as device:
        assert post(device, {"a": 1})["code"] == 200
        assert cloud.request("POST", path(DEV, "/raw"), b"x", topic=f"/{DEV[0]}/{DEV[1]}/user/get")[0] == 409


def test_a_trace_suffix_is_no_part_of_the_topic(cloud, device):
    device.publish(sys_topic(DEV, "thing/event/property/post") + "?_rid=17", {"id": "1", "params": {"a": 1}}, 1)
    assert json.loads(device.receive().payload)["code"] == 200


def test_the_envelope_of_requests(cloud, device):
    """covers: O02"""
    topic, reply = sys_topic(DEV, "thing/event/property/post"), sys_topic(DEV, "thing/event/property/post_reply")

    def ask(body):
        device.publish(topic, body, 0)
        return json.loads(device.receive_on(reply).payload)
    assert ask({"id": 7, "params": {"a": 1}})["id"] == "7"
    assert ask({"id": "1|exp-topic|/sys/x", "params": {"a": 1}})["id"] == "1|exp-topic|/sys/x"
    assert ask({"params": {"a": 1}}) == {"id": "0", "code": 460, "data": {}, "message": "request parameter error",
                                         "method": "thing.event.property.post", "version": "1.0"}
    assert ask({"id": "1", "method": "thing.event.property.get", "params": {}})["code"] == 6300
    assert ask({"id": "1"})["code"] == 460
    assert ask({"id": "1", "params": [1]})["code"] == 460
    assert ask("not json")["code"] == 6207
    assert ask({"id": "1", "params": {f"p{i}": i for i in range(201)}})["code"] == 6106
    assert ask({"id": "1", "sys": {"ack": 1}, "params": {"a": 1}})["code"] == 200
    device.publish(topic, {"id": "9", "sys": {"ack": 0}, "params": {"quiet": 5}}, 0)
    assert device.fence() == []
    assert cloud.device(*DEV[:2])["reported"]["quiet"]["value"] == 5


def test_reports_are_shown(cloud, device):
    """covers: D23"""
    ask = lambda rest, method, params: device.ask(sys_topic(DEV, rest), {"method": method, "params": params})
    device.subscribe(sys_topic(DEV, "thing/event/property/batch/post_reply"), sys_topic(DEV, "thing/event/property/history/post_reply"),
                     sys_topic(DEV, "thing/deviceinfo/update_reply"), sys_topic(DEV, "thing/deviceinfo/delete_reply"))
    assert post(device, {"plain": 1, "stamped": {"value": "x", "time": 5}, "deep": {"a": {"b": [1, 2]}}})["code"] == 200
    assert ask("thing/event/alarm/post", "thing.event.alarm.post", {"value": {"level": 3}, "time": 9})["code"] == 200
    assert ask("thing/event/property/batch/post", "thing.event.property.batch.post",
               {"properties": {"t": [{"value": 1, "time": 1}, {"value": 2, "time": 2}]}, "events": {}})["code"] == 200
    assert ask("thing/event/property/history/post", "thing.event.property.history.post",
               [{"identity": {"productKey": DEV[0], "deviceName": DEV[1]}, "properties": [{"h": {"value": 4, "time": 1}}]}])["code"] == 200
    assert ask("thing/event/property/history/post", "thing.event.property.history.post",
               [{"identity": {"productKey": GW[0], "deviceName": GW[1]}, "properties": []}])["code"] == 6401
    assert ask("thing/deviceinfo/update", "thing.deviceinfo.update",
               [{"attrKey": "site", "attrValue": "3"}, {"attrKey": "gone", "attrValue": "x"}])["code"] == 200
    assert ask("thing/deviceinfo/update", "thing.deviceinfo.update", [{"attrKey": "1st", "attrValue": "x"}])["code"] == 460
    assert ask("thing/deviceinfo/delete", "thing.deviceinfo.delete", [{"attrKey": "gone"}])["code"] == 200
    device.publish(f"/ota/device/inform/{DEV[0]}/{DEV[1]}", {"id": "1", "params": {"version": "1.0.1", "module": "MCU"}})
    device.publish(f"/ota/device/inform/{DEV[0]}/{DEV[1]}", {"id": "2", "params": {"version": "2.0"}})
    shown = cloud.device(*DEV[:2])
    assert shown["reported"]["plain"]["value"] == 1 and shown["reported"]["stamped"] == {"value": "x", "time": 5}
    assert shown["reported"]["deep"]["value"] == {"a": {"b": [1, 2]}}
    assert shown["reported"]["t"] == {"value": 2, "time": 2} and shown["reported"]["h"] == {"value": 4, "time": 1}
    assert shown["events"]["alarm"] == {"value": {"level": 3}, "time": 9}
    assert shown["tags"] == {"site": "3"}
    assert shown["modules"] == {"MCU": "1.0.1", "default": "2.0"}


def test_packs(cloud):
    with gateway(cloud) as gw:
        online_sub(gw, SUB1)
        online_sub(gw, SUB2)
        topic = sys_topic(GW, "thing/event/property/pack/post")
        gw.subscribe(topic + "_reply")
        pack = lambda params: gw.ask(topic, {"method": "thing.event.property.pack.post", "params": params})["code"]
        member = lambda d, **p: {"identity": {"productKey": d[0], "deviceName": d[1]}, "properties": {k: {"value": v, "time": 1} for k, v in p.items()}}
        assert pack({"properties": {"own": {"value": 1, "time": 1}}, "subDevices": [member(SUB1, a=1), member(SUB2, a=2)]}) == 200
        assert cloud.device(*SUB2[:2])["reported"]["a"] == {"value": 2, "time": 1}
        assert pack({"subDevices": [member(SUB1, a=9), member(SUB3, a=9)]}) == 6401
        assert cloud.device(*SUB1[:2])["reported"]["a"]["value"] == 1  # one failure fails all
        assert pack({"subDevices": [member(("x" * 11, "nobody"), a=9)]}) == 6100
        assert pack({"subDevices": [member(SUB1)] * 21}) == 6357
        assert pack({"events": {f"e{i}": {"value": {}, "time": 1} for i in range(21)}}) == 6356
        assert pack({"properties": {f"p{i}": {"value": i} for i in range(201)}}) == 6106


def test_desired_values(cloud, device):
    """covers: K21"""
    ask = lambda verb, params: device.ask(sys_topic(DEV, f"thing/property/desired/{verb}"),
                                          {"method": f"thing.property.desired.{verb}", "params": params})
    device.subscribe(sys_topic(DEV, "thing/property/desired/get_reply"), sys_topic(DEV, "thing/property/desired/delete_reply"))
    cloud.post(path(DEV, "/properties"), {"power": 1}, desired=1)
    cloud.post(path(DEV, "/properties"), {"power": 0, "level": 3}, desired=1)
    assert ask("get", ["power", "level", "none"])["data"] == {"power": {"value": 0, "version": 2}, "level": {"value": 3, "version": 1}}
    assert ask("delete", {"power": {"version": 1}, "level": {}})["code"] == 200
    assert ask("get", ["power", "level"])["data"] == {"power": {"value": 0, "version": 2}}
    assert cloud.device(*DEV[:2])["desired"]["power"]["value"] == 0


@pytest.mark.parametrize("sent", ["100", 100])
def test_time_in_the_type_of_the_request(cloud, device, sent):
    """covers: K17"""
    response = f"/ext/ntp/{DEV[0]}/{DEV[1]}/response"
    device.subscribe(response)
    device.publish(f"/ext/ntp/{DEV[0]}/{DEV[1]}/request", {"deviceSendTime": sent}, 0)
    got = json.loads(device.receive_on(response).payload)
    assert got["deviceSendTime"] == sent and type(got["serverSendTime"]) is type(sent) is type(got["serverRecvTime"])
    assert int(got["serverSendTime"]) >= int(got["serverRecvTime"]) > 1600000000000


@pytest.mark.parametrize("qos, limit", [(0, 30), (1, 10)])
def test_what_exceeds_the_rate_is_dropped_in_silence(cloud, qos, limit):
    topic = f"/{DEV[0]}/{DEV[1]}/user/update"
    with Raw(cloud) as raw:
        assert raw.login(DEV)[1][1] == 0
        raw.send(b"".join(publish_packet(topic, b"x", qos=qos, mid=i + 1) for i in range(3 * limit)))
        for _ in range(3 * limit if qos else 0):
            assert raw.packet()[0] == 0x40  # acknowledged all the same
        raw.send(b"\xc0\0")
        assert raw.packet()[0] == 0xd0
    got = [m["outcome"] for m in cloud.messages(device=ident(DEV), direction="up")]
    # All in one second, or in two when it changed in between.
    assert got.count("taken") in (limit, *range(limit + 1, 2 * limit + 1)) and got.count("dropped") >= limit
    assert cloud.stats()["droppedLimit"] == got.count("dropped")
    assert cloud.device(*DEV[:2])["dropped"] == got.count("dropped")


def test_another_devices_rate_is_its_own(cloud):
    with gateway(cloud) as gw:
        online_sub(gw, SUB1)
        online_sub(gw, SUB2)
        for sub in (SUB1, SUB2):
            for i in range(10):
                gw.publish(f"/{sub[0]}/{sub[1]}/user/update", "x")
        assert cloud.stats()["droppedLimit"] == 0


# ---- calls from the cloud ----


def answering(cloud, client, call, respond):
    """Run the API call while the device answers its one message."""
    result = []
    caller = threading.Thread(target=lambda: result.append(call()))
    caller.start()
    respond(client.receive())
    caller.join()
    return result[0]


def test_a_service_call_and_its_answer(cloud):
    """covers: K13 D33"""
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/+")]) as device:
        def respond(m):
            body = json.loads(m.payload)
            assert m.topic == sys_topic(DEV, "thing/service/reboot") and body["method"] == "thing.service.reboot"
            assert body["params"] == {"delay": 5} and m.qos == 1
            device.publish(m.topic + "_reply", {"id": "other", "code": 200, "data": {}}, 0)  # not ours
            device.publish(m.topic + "_reply", {"id": int(body["id"]), "code": 100001, "data": {"why": "busy"}}, 0)
        status, got = answering(cloud, device, lambda: cloud.request("POST", path(DEV, "/services/reboot"), {"delay": 5}), respond)
        assert status == 200 and got["reply"]["code"] == 100001 and got["reply"]["data"] == {"why": "busy"}


def test_an_asynchronous_call_returns_at_once(cloud):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/+")]) as device:
        got = cloud.post(path(DEV, "/services/reboot"), {}, expect=202, **{"async": 1})
        assert got["result"] == "delivered" and json.loads(device.receive().payload)["id"] == got["id"]


def test_calls_that_cannot_succeed_say_why(cloud):
    assert cloud.request("POST", path(DEV, "/properties"), {"a": 1})[1]["result"] == "offline"
    with Client(cloud, DEV) as device:
        assert cloud.request("POST", path(DEV, "/properties"), {"a": 1})[1]["result"] == "unsubscribed"
        device.subscribe(sys_topic(DEV, "thing/service/property/set"))
        status, got = cloud.request("POST", path(DEV, "/properties"), {"a": 1}, query={"timeout": 50})
        assert (status, got["result"]) == (504, "timeout")
    assert cloud.request("POST", path(DEV, "/properties"), b"nonsense")[0] == 400
    assert cloud.request("POST", path(DEV, "/properties"), [1])[0] == 400
    assert cloud.request("POST", "/devices/a1EmuPk0001/nobody/properties", {})[0] == 404


def test_synchronous_services_ride_on_rrpc(cloud):
    """covers: D33 H07"""
    topics = [sys_topic(DEV, "rrpc/request/+"), f"/ext/rrpc/+{sys_topic(DEV, 'thing/service/+')}"]

    def respond(device):
        def answer(m):
            body = json.loads(m.payload)
            device.publish(m.topic.replace("/rrpc/request/", "/rrpc/response/"), {"id": body["id"], "code": 200, "data": {"n": 1}}, 0)
        return answer
    for extra, start in (("ext=0", sys_topic(DEV, "rrpc/request/")), ("ext=1", "/ext/rrpc/")):
        with Client(cloud, DEV, extra=extra, subscribe=topics) as device:
            status, got = answering(cloud, device, lambda: cloud.request("POST", path(DEV, "/services/read"), {}, sync=1), respond(device))
            assert status == 200 and got["reply"]["data"] == {"n": 1}
            assert cloud.messages(direction="down", topic="#")[-1]["topic"].startswith(start)


def test_rrpc_carries_bytes_both_ways(cloud):
    """covers: H07"""
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "rrpc/request/+")]) as device:
        def respond(m):
            assert m.payload == b"\x01\xff" and m.qos == 0
            device.publish(m.topic.replace("request", "response"), b"\xfe\x00", 0)
        status, got = answering(cloud, device, lambda: cloud.request("POST", path(DEV, "/rrpc"), b"\x01\xff"), respond)
        assert (status, got["payloadHex"]) == (200, "fe00")


def test_rrpc_on_a_custom_topic_answers_on_the_same_topic(cloud):
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, subscribe=[f"/ext/rrpc/+{topic}"]) as device:
        assert cloud.request("POST", path(DEV, "/rrpc"), b"x", topic=topic)[0] == 400  # this client did not say ext=1
    with Client(cloud, DEV, extra="ext=1", subscribe=[f"/ext/rrpc/+{topic}"]) as device:
        status, got = answering(cloud, device, lambda: cloud.request("POST", path(DEV, "/rrpc"), b"x", topic=topic),
                                lambda m: device.publish(m.topic, b"pong", 0))
        assert (status, got["payload"]) == (200, "pong")


def test_raw_bytes_down_and_up(cloud):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/model/down_raw")]) as device:
        def respond(m):
            assert m.payload == b"\x00\x01\x02"
            device.publish(sys_topic(DEV, "thing/model/down_raw_reply"), b"\x80", 0)
        status, got = answering(cloud, device, lambda: cloud.request("POST", path(DEV, "/raw"), b"\x00\x01\x02"), respond)
        assert (status, got["payloadHex"]) == (200, "80")
        device.publish(sys_topic(DEV, "thing/model/up_raw"), b"\xaa\xbb")
        assert cloud.messages(device=ident(DEV), direction="up")[-1]["payloadHex"] == "aabb"
