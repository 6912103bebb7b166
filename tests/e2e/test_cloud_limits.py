"""Limits of MQTT: what is documented for excess happens, and shows."""
import time

import pytest
from cloud_client import (DEV, GW, Client, Raw, publish_packet, subscribe_packet, sys_topic)
from conftest import wait_until

TOPIC = f"/{DEV[0]}/{DEV[1]}/user/update"
DEV2 = (DEV[0], "dev-0002", "0123456789abcdef0123456789abcdee")
STOCK = """
products = [ { productKey = a1EmuPk0001 } ]
devices = [ { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }
            { productKey = a1EmuPk0001, deviceName = dev-0002, deviceSecret = 0123456789abcdef0123456789abcdee } ]
limits { %s }
"""
FREE = "connectPerMinute = 16, publishQos0 = 1000000, publishQos1 = 1000000, downPerSecond = 1000000"


@pytest.fixture
def limited(start_cloud):
    """limited("payload = 4KiB") -> an emulator with these limits besides rates that are out of the way."""
    return lambda limits, rates=FREE: start_cloud(STOCK % f"{rates}, {limits}")


def code(cloud, device):
    with Raw(cloud) as raw:
        return raw.login(device)[1][1]


def reasons(cloud, device=DEV):
    return [(r["code"], r["reason"]) for r in cloud.device(*device[:2])["refused"]]


def test_connects_of_the_account(limited):
    cloud = limited("accountConnects = 1")

    def refused():
        assert {code(cloud, DEV), code(cloud, DEV2)} <= {0, 3}
        return any("of the account" in why for d in (DEV, DEV2) for c, why in reasons(cloud, d) if c == 3)
    assert any(refused() for _ in range(8))  # two at the border of a second pass, eight times in a row do not


@pytest.mark.parametrize("limit, text", [("publishQos0 = 1", "device's"), ("accountUp = 1", "account's")])
def test_publishes_above_a_rate_vanish_and_show(start_cloud, limit, text):
    cloud = start_cloud(STOCK % f"connectPerMinute = 16, publishQos0 = 1000, {limit}".replace("publishQos0 = 1000, publishQos0", "publishQos0"))
    with Client(cloud, DEV) as device:
        for _ in range(20):
            device.publish(TOPIC, b"x", qos=0)
        wait_until(lambda: cloud.stats()["published"] == 20, "all of them seen")
        dropped = [m for m in cloud.messages(topic=TOPIC) if m["outcome"] == "dropped"]
        assert dropped and all(f"{text} publish rate" in m["reason"] for m in dropped)
        assert cloud.stats()["droppedLimit"] == len(dropped) == cloud.device(*DEV[:2])["dropped"]


def test_downlinks_of_the_account(limited):
    cloud = limited("accountDown = 1")
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, subscribe=[topic]):
        got = [cloud.request("POST", f"/devices/{DEV[0]}/{DEV[1]}/raw", b"x", topic=topic, qos=1)[1]["result"] for _ in range(5)]
        assert "limited" in got and "delivered" in got


def test_a_connection_above_its_throughput_is_read_later_and_nobody_else_waits(limited):
    cloud = limited("throughput = 256KiB")
    with Raw(cloud) as fast, Raw(cloud) as other:
        assert fast.login(DEV)[1][1] == 0 and other.login(DEV2)[1][1] == 0
        began = time.monotonic()
        for i in range(8):
            fast.send(publish_packet(TOPIC, b"x" * 100000, qos=1, mid=i + 1))
        # In the meantime the other one is served at once.
        other.send(b"\xc0\0")
        assert other.packet()[0] == 0xd0 and time.monotonic() - began < 1.5
        for i in range(8):
            assert fast.packet()[0] == 0x40
        # 800 kB at 256 KiB/s, one second of it in advance, the last piece without waiting.
        assert 1.5 < time.monotonic() - began < 20
    assert cloud.stats()["throttled"] >= 1
    assert cloud.stats()["publishedBytes"] == 800000


@pytest.mark.parametrize("size", [4097, 300000, 400000])
def test_a_payload_above_the_limit_closes_and_shows(limited, size):
    cloud = limited("payload = 4KiB")
    with Client(cloud, DEV) as device:
        device.publish(TOPIC, b"x" * 4096)
    with Raw(cloud) as raw:
        assert raw.login(DEV)[1][1] == 0
        try:
            raw.send(publish_packet(TOPIC, b"x" * size, qos=1))
        except (ConnectionResetError, BrokenPipeError):
            pass
        assert raw.at_end()
    shown = [m for m in cloud.messages(device=f"{DEV[0]}/{DEV[1]}") if m["outcome"] == "refused"]
    assert len(shown) == 1 and "payload above" in shown[0]["reason"] and shown[0]["payload"] == ""
    if size < 320000:  # beyond that not even the topic is read
        assert shown[0]["topic"] == TOPIC


def test_qos_2_closes_and_shows(limited):
    cloud = limited("payload = 4KiB")
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(publish_packet(TOPIC, b"x", qos=2))
        assert raw.at_end()
    assert [(m["outcome"], m["reason"]) for m in cloud.messages(topic=TOPIC)] == [("refused", "QoS 2 does not exist here")]


def test_custom_topics_too_long_or_too_deep(limited):
    cloud = limited("topicBytes = 64, topicSlashes = 5")
    base = f"/{DEV[0]}/{DEV[1]}/user/"
    with Client(cloud, DEV) as device:
        assert device.subscribe(base + "a/b", base + "a/b/c", base + "x" * 60) == [0, 0x80, 0x80]
        device.publish(base + "a/b", b"")
        device.publish(base + "a/b/c", b"")
        device.publish(base + "x" * 60, b"")
        assert device.subscribe(sys_topic(DEV, "thing/service/" + "y" * 60 + "/a/b/c")) == [0]  # the platform's own are not measured
    assert [m["outcome"] for m in cloud.messages(topic="/+/+/user/#")] == ["taken", "dropped", "dropped"]
    assert [c for c, why in reasons(cloud) if "too long, too deep" in why] == [0x80, 0x80]


def test_refused_subscriptions_show(limited):
    cloud = limited("subscriptions = 3, topicsPerSubscribe = 4")
    base = f"/{DEV[0]}/{DEV[1]}/user/"
    with Client(cloud, DEV) as device:
        assert device.subscribe(base + "a", base + "b", base + "c", base + "d") == [0, 0, 0, 0x80]
        assert device.subscribe(f"/{GW[0]}/{GW[1]}/user/a", base + "a") == [0x80, 0]
    assert [why.split(": ")[1] for c, why in reasons(cloud) if c == 0x80] == [
        "too many of this device", "not a topic of this device"]
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(subscribe_packet(base + "#/x"))
        assert raw.packet() == (0x90, b"\0\1\x80")
        assert "wildcards are malformed" in reasons(cloud)[-1][1]
        raw.send(subscribe_packet(*[base + str(i) for i in range(5)]))
        assert raw.at_end()
    assert "topics in one SUBSCRIBE" in reasons(cloud)[-1][1]
    assert cloud.stats()["subscribesRefused"] == 4


def test_topic_classes_of_a_product(limited):
    cloud = limited("topicClasses = 2")
    path = f"/products/{DEV[0]}/topics"
    for i in range(2):
        cloud.post(path, {"topic": f"own/{i}", "permission": "publish"})
    status, answer = cloud.request("POST", path, {"topic": "own/2", "permission": "publish"})
    assert status >= 400 and "topicClasses" in answer["error"]
    cloud.post(path, {"topic": "own/1", "permission": "both"})  # a change is none more


def test_fifty_classes_by_default(cloud):
    path = f"/products/{DEV[0]}/topics"
    for i in range(50):
        cloud.post(path, {"topic": f"own/{i}", "permission": "publish"})
    assert cloud.request("POST", path, {"topic": "own/50", "permission": "publish"})[0] >= 400


def test_profile_off_lifts_the_rates_and_not_the_sizes(start_cloud):
    cloud = start_cloud(STOCK % "profile = off, accountConnects = 1, accountUp = 1, publishQos1 = 1, throughput = 1KiB, payload = 4KiB")
    for _ in range(7):
        assert code(cloud, DEV) == 0
    with Client(cloud, DEV) as device:
        for _ in range(20):
            device.publish(TOPIC, b"x" * 4000)
    assert all(m["outcome"] == "taken" for m in cloud.messages(topic=TOPIC))
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(publish_packet(TOPIC, b"x" * 4097))
        assert raw.at_end()
