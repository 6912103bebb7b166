"""Upgrades over every kind of upstream that has downlinks: offered, fetched and checked by the gateway, told to the device, reported.

What a decoder does with the file is test_gateway_ota.py's; here the way of the offer is another each time: pushed over
MQTT and HTTP/2, asked for after the version was reported over CoAP.
"""
import dataclasses
import json
import random

import pytest
from conftest import wait_until
from gw import PK, device_name, start_gateway  # noqa: F401
from test_gateway_records import flat, record
from test_upstreams import world  # noqa: F401
from upstreams import KINDS

FIRMWARE = random.Random(12).randbytes(20_001)
OTA_VERSION, OTA_PROGRESS, OTA_NOTICE = 5, 6, 38


@pytest.fixture
def start(world, monkeypatch):
    """start(kind) -> a world whose platform has HTTPS for downloads, which the gateway trusts."""
    def start(name):
        kind = KINDS[name]
        listeners = " ".join(dict.fromkeys((kind.listeners + " https").split()))
        monkeypatch.setitem(KINDS, name, dataclasses.replace(kind, listeners=listeners, ca=True))
        return world(name, extra="firmware { retry = 10ms, attempts = 3 }")
    return start


@pytest.mark.parametrize("kind", ["mqtt", "http2", "coap"])
def test_an_upgrade_is_offered_fetched_told_and_reported(start, kind):
    """covers: N01 N02 N05 N07 K15"""
    w = start(kind)
    path = f"{PK}/{device_name(0)}"

    def state():
        return {t["deviceName"]: t for t in w.cloud.get(f"/upgrades/{batch['id']}")["devices"]}[device_name(0)]["state"]
    with w.connect() as d:
        made = w.cloud.post(f"/products/{PK}/packages", FIRMWARE, query={"version": "2.0.0", "signMethod": "SHA256"})
        batch = w.cloud.post(f"/packages/{made['id']}/batches", {"devices": [device_name(0)]})
        if w.kind.subscribes:
            wait_until(lambda: f"/ota/device/upgrade/{path}" in w.cloud.device(PK, device_name(0)).get("subscriptions", []), "the subscription")
        d.tell("E 1 " + record(OTA_VERSION, {"version": "1.0.0"}, name=""))
        _, number, text = d.until("command ").split()
        notice = bytes.fromhex(text)
        assert notice.startswith(b"\xbf\x00" + flat(OTA_NOTICE)) and flat("2.0.0") in notice and flat("size") + flat(len(FIRMWARE)) in notice
        stats = w.gateway.stats()  # it is here before the device hears of it
        assert (stats["firmware.downloads"], stats["firmware.bytes"], stats["firmware.failed"]) == (1, len(FIRMWARE), 0)
        d.tell("E 2 " + record(OTA_PROGRESS, {"step": 60, "desc": "half"}, name=""))
        assert d.until("settled 2") == "settled 2 0"
        wait_until(lambda: state() == "IN_PROGRESS", "the platform to see progress")
        d.tell(f"A {number} 200")
        d.tell("E 3 " + record(OTA_VERSION, {"version": "2.0.0"}, name=""))
        assert d.until("settled 3") == "settled 3 0"
        wait_until(lambda: state() == "SUCCEEDED", "the upgrade to be through")
        w.gateway.wait_stat("bridge.commands_answered", 1)
        d.report()
        assert len([line for line in d.seen if line.startswith("command ")]) == 1
        progress = w.cloud.messages(topic=f"/ota/device/progress/{path}", direction="up")
        assert [json.loads(m["payload"])["params"]["step"] for m in progress] == ["60"]


@pytest.mark.parametrize("kind", ["mqtt", "http2", "coap"])
def test_a_file_that_does_not_come_is_told_to_the_platform_and_not_to_the_device(start, kind):
    """covers: N04 N06"""
    w = start(kind)
    with w.connect() as d:
        made = w.cloud.post(f"/products/{PK}/packages", FIRMWARE, query={"version": "2.0.0"})
        w.cloud.fault("status", channel="https", code=404)
        w.cloud.post(f"/packages/{made['id']}/batches", {"devices": [device_name(0)]})
        d.tell("E 1 " + record(OTA_VERSION, {"version": "1.0.0"}, name=""))

        def steps():
            return [json.loads(m["payload"])["params"]["step"] for m in
                    w.cloud.messages(topic=f"/ota/device/progress/{PK}/{device_name(0)}", direction="up")]
        wait_until(lambda: steps() == ["-2"], "progress -2")
        w.gateway.wait_stat("firmware.failed", 1)
        d.report()
        assert not [line for line in d.seen if line.startswith("command ")]
