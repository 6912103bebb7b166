"""What goes over the upstream `coap` beside positions: all kinds of records by the probe plugin, their limits, and the platform's replies."""
import json
import shutil

import pytest
from conftest import BUILD
from gw import PK, device_name, start_gateway  # noqa: F401
from test_gateway_records import Probe, record, topic_of, up
from test_upstream_coap import MODES, endpoint, settings, stock

OTA = 5


@pytest.fixture
def probes(start_cloud, start_gateway, tmp_path):
    """probes("coap" or "coaps", ...) -> (cloud, gateway, connect)"""
    def start(mode, **more):
        plugins = tmp_path / "plugins"
        plugins.mkdir()
        for source in (BUILD / "tests" / "plugins" / "probe.so", BUILD / "plugins" / "jt808.so"):
            shutil.copy(source, plugins)
        cloud = start_cloud(stock(2))
        extra = f"""pluginDir = "{plugins}"
listeners += {{ name = probes, protocol = probe, address = "127.0.0.1:0", ack = delivered, settings {{ speed = 9 }} }}"""
        gateway = start_gateway(cloud, devices=2, endpoint=endpoint(cloud, mode), extra=extra,
                                upstream=settings(mode, **{"pull": "0s", **more})).wait_up()
        return cloud, gateway, lambda: Probe(gateway.process.ready["listeners"]["probes"])
    return start


@pytest.mark.parametrize("mode", MODES)
def test_bytes_on_topics_of_the_device(probes, mode):
    """covers: K08 I03 I32"""
    cloud, _, connect = probes(mode)
    data = bytes(range(256))
    with connect() as p:
        p.identify()
        for n, name in enumerate(("pub", "user/up", "update"), 1):
            p.tell(f"E {n} " + record(4, data, name=name, qos=1))
            assert p.until("settled") == f"settled {n} 0"
    for name in ("pub", "user/up", "update"):
        assert bytes.fromhex(up(cloud, f"/{PK}/{device_name(0)}/{name}")["payloadHex"]) == data


@pytest.mark.parametrize("mode", MODES)
def test_long_records_are_split_or_refused_and_never_cut(probes, mode):
    """covers: I04"""
    cloud, gateway, connect = probes(mode)
    body = {f"P{i}": "x" * 90 for i in range(40)}
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(1, body))
        assert p.until("settled") == "settled 1 0"
        got = {}
        for message in cloud.messages(topic=topic_of(0, "thing/event/property/post"), direction="up", limit=100):
            assert len(message["payload"]) <= 1024
            got.update({k: v["value"] for k, v in json.loads(message["payload"])["params"].items()})
        assert got == body
        assert gateway.stats()["upstream.split"] == 1
        p.tell("E 2 " + record(2, {"Text": "y" * 1200}, name="Overheat", event_type=1))
        assert p.until("settled") == "settled 2 2"
        p.tell("E 3 " + record(4, bytes(1025), name="user/up"))
        assert p.until("settled") == "settled 3 2"
        p.tell("E 4 " + record(4, bytes(1024), name="user/up"))
        assert p.until("settled") == "settled 4 0"
    stats = gateway.stats()
    assert stats["upstream.too_long"] == 2 and stats["bridge.records_refused"] == 2


@pytest.mark.parametrize("mode", MODES)
def test_the_platforms_reply_comes_back_under_the_callers_id(probes, mode):
    """covers: M45"""
    cloud, _, connect = probes(mode)
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(1, {"A": 1}, request="4711"))
        assert p.until("reply").startswith("reply 4711 200")
        cloud.fault("refuse", topic=topic_of(0, "thing/event/property/post"), code=460, count=1)
        p.tell("E 2 " + record(1, {"A": 1}, request="4712"))
        assert p.until("reply").startswith("reply 4712 460")


@pytest.mark.parametrize("mode", MODES)
def test_delivered_may_mean_the_platforms_reply(probes, mode):
    cloud, gateway, connect = probes(mode, confirm="reply")
    with connect() as p:
        p.identify()
        cloud.fault("refuse", topic=topic_of(0, "thing/event/property/post"), code=460, count=1)
        p.tell("E 1 " + record(1, {"A": 1}))
        assert p.until("settled") == "settled 1 2"
        cloud.fault("reply", topic=topic_of(0, "thing/event/property/post"), count=1)
        p.tell("E 2 " + record(1, {"A": 2}))
        assert p.until("settled") == "settled 2 0"
    assert gateway.stats()["upstream.resent"] == 1


def test_a_version_is_followed_by_the_question_for_another_one(probes):
    """The platform pushes no upgrade over CoAP: it is asked for, as the platform's own SDK does."""
    cloud, gateway, connect = probes("coap")
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(OTA, {"version": "1.0.0"}, name=""))
        assert p.until("settled") == "settled 1 0"
        asked = cloud.wait_message(topic=f"/ota/device/request/{PK}/{device_name(0)}", direction="up")
        assert json.loads(asked["payload"])["params"]["version"] == "1.0.0"


@pytest.mark.parametrize("dtls, says", [("psk", "coaps://${productKey}.coap.cn-shanghai.link.aliyuncs.com:5684"),
                                        ("off", "coap://${productKey}.coap.cn-shanghai.link.aliyuncs.com:5682")])
def test_hosts_come_from_product_and_region(start_gateway, dtls, says):
    """covers: I06 I07"""
    gateway = start_gateway(None, devices=1, endpoint="-", upstream=f"endpoint = null, region = cn-shanghai, type = coap, dtls = {dtls}")
    gateway.wait_log(says)
