"""The upstream `coap`: every device with a session and a login of its own, by DTLS and in the symmetric mode, against the emulator."""
import json
import struct

import pytest
from conftest import wait_until
from gw import PK, cloud_conf, device_name, device_path, phone, start_gateway, wait_reported  # noqa: F401

SET = {"HeartbeatInterval": 60}
MODES = ["coap", "coaps"]
POST = f"/sys/{PK}/{device_name(0)}/thing/event/property/post"


def stock(devices, **limits):
    limits = {"coapSessions": 2000, **limits}
    return (cloud_conf(devices, **limits).replace("nodeType = subdevice", "nodeType = device")
            .replace('api = "127.0.0.1:0"', 'api = "127.0.0.1:0", coap = "127.0.0.1:0", coaps = "127.0.0.1:0"'))


def endpoint(cloud, mode):
    return f"{mode}://{cloud.process.ready[mode]}"


def settings(mode, **more):
    values = {"type": "coap", "dtls": "off" if mode == "coap" else "psk", **more}
    return "\n".join(f"{k} = {v}" for k, v in values.items())


@pytest.fixture
def coap_world(start_cloud, start_gateway):
    """coap_world("coap" or "coaps", devices=3, pull="0s", ...) -> (cloud, gateway)"""
    def start(mode, devices=3, limits=None, conf="", extra="", listener="ack = delivered", **upstream):
        cloud = start_cloud(stock(devices, **(limits or {})) + conf)
        gateway = start_gateway(cloud, devices=devices, endpoint=endpoint(cloud, mode), extra=extra, listener=listener,
                                upstream=settings(mode, **{"pull": "0s", **upstream}))
        return cloud, gateway.wait_up()
    return start


def logins(cloud):
    return cloud.stats()["connects"]


def posts(cloud, i=0, **more):
    return cloud.messages(device=f"{PK}/{device_name(i)}", direction="up", **more)


# ---- both modes -----------------------------------------------------------------------------------

@pytest.mark.parametrize("payload", ["json", "cbor"])
@pytest.mark.parametrize("mode", MODES)
def test_a_position_goes_up(coap_world, mode, payload):
    """covers: I01 I02 I03 I06 I08 I15 I16 I17 I18 I24 I26 I27 I29 I30"""
    cloud, gateway = coap_world(mode, payload=payload, extra="log { level = debug }")
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=605)
        assert wait_reported(cloud, 0, "Speed") == 60.5
        cloud.wait_status(PK, device_name(0), "ONLINE")
        assert gateway.device(0)["state"] == "online"
    assert posts(cloud, topic=POST)
    taken = gateway.log_lines("upstream.message")
    assert taken and all("messageId=" in line for line in taken)
    assert gateway.stats()["upstream.logins"] == 1


@pytest.mark.parametrize("method", ["hmacmd5", "hmacsha1", "hmacsha256"])
@pytest.mark.parametrize("mode", MODES)
def test_logins_are_signed_by_each_method(coap_world, mode, method):
    """covers: I11 I12 I27"""
    cloud, gateway = coap_world(mode, signMethod=method)
    with gateway.terminal(0).log_in() as t:
        t.report_acked()
    assert cloud.stats()["connectsRefused"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_separate_responses(coap_world, mode):
    """covers: I10"""
    cloud, gateway = coap_world(mode, ackMode=1)
    cloud.fault("delay", topic="/sys/#", ms=300, channel="coap", count=1)
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=300)
        assert wait_reported(cloud, 0, "Speed") == 30


@pytest.mark.parametrize("mode", MODES)
def test_one_login_is_enough_for_many_messages(coap_world, mode):
    """covers: I20 I22"""
    cloud, gateway = coap_world(mode)
    with gateway.terminal(0).log_in() as t:
        for speed in range(100):
            t.report_acked(speed=speed)
        reports = len(posts(cloud, topic=POST))
        assert reports >= 100
    with gateway.terminal(0).log_in() as t:  # who comes back still has its token
        t.report_acked(speed=7)
    assert logins(cloud) == 1 and gateway.stats()["upstream.logins"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_token_that_is_lost_costs_one_login_and_no_record(coap_world, mode):
    """covers: I21"""
    cloud, gateway = coap_world(mode)
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=10)
        if mode == "coap":
            cloud.restart()  # tokens are not kept
        else:
            cloud.fault("status", channel="coap", code=401, count=1)
        t.report_acked(speed=23)
        assert wait_reported(cloud, 0, "Speed") == 2.3
        t.report_acked(speed=24)
    assert len([m for m in posts(cloud, topic=POST, limit=100) if '"Speed":{"value":2.3,' in m["payload"]]) == 1
    assert gateway.stats()["upstream.logins"] == 2
    assert gateway.stats()["upstream.kicked"] == 1


def test_a_token_is_renewed_before_it_expires(coap_world):
    """covers: I21"""
    cloud, gateway = coap_world("coap", tokenRenew="500ms")
    with gateway.terminal(0).log_in() as t:
        def again():
            t.report_acked()
            return logins(cloud) >= 3
        wait_until(again, "three logins")
    assert gateway.stats()["upstream.kicked"] == 0 and cloud.stats()["connectsRefused"] == 0


@pytest.mark.parametrize("mode", MODES)
def test_a_restart_of_the_platform_loses_nothing(coap_world, mode):
    """covers: I21"""
    cloud, gateway = coap_world(mode, ackTimeout="1s")
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=10)
        cloud.stop()
        for speed in (20, 30):
            t.report(speed=speed)
        cloud.start()
        assert wait_until(lambda: wait_reported(cloud, 0, "Speed") == 3, "the last speed")


@pytest.mark.parametrize("mode, devices", [("coap", 320), ("coaps", 320)])
def test_hundreds_of_devices_each_with_its_own_login(coap_world, mode, devices):
    """covers: I33. More than one shard of sessions."""
    cloud, gateway = coap_world(mode, devices)
    terminals = [gateway.terminal(i).log_in() for i in range(devices)]
    for i, t in enumerate(terminals):
        t.report(speed=i)
    for i in range(devices):
        assert wait_reported(cloud, i, "Speed") == i / 10
    assert logins(cloud) == devices
    assert gateway.stats()["upstream.sessions"] == devices
    assert gateway.status()["upstreams"][0]["devicesOnline"] == devices
    for t in terminals:
        t.close()
    gateway.wait_gauge("upstream.sessions", 0)


# ---- refusals ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("code, reason", [(400, "4.00"), (403, "4.03"), (404, "4.04"), (405, "4.05"), (406, "4.06"), (415, "4.15")])
def test_codes_that_refuse_a_record(coap_world, code, reason):
    """covers: I31"""
    cloud, gateway = coap_world("coap")
    with gateway.terminal(0).log_in() as t:
        t.report_acked()
        cloud.fault("status", channel="coap", code=code, count=1)
        t.report_acked(speed=123)
        gateway.wait_stat("bridge.records_refused", 1)
        t.report_acked(speed=50)
        assert wait_reported(cloud, 0, "Speed") == 5
    assert any(f"code={code}" in line and reason in line for line in gateway.log_lines("record.refused"))


@pytest.mark.parametrize("code", [429, 500])
def test_codes_that_ask_for_patience(coap_world, code):
    """covers: I31"""
    cloud, gateway = coap_world("coap")
    with gateway.terminal(0).log_in() as t:
        t.report_acked()
        cloud.fault("status", channel="coap", code=code, count=1)
        t.report_acked(speed=123)
        assert wait_reported(cloud, 0, "Speed") == 12.3
    stats = gateway.stats()
    assert stats["bridge.records_refused"] == 0 and stats["upstream.resent"] == 1 and stats["upstream.logins"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_wrong_secret_is_refused_and_costs_nobody_else(coap_world, mode):
    """covers: I31 I33"""
    cloud, gateway = coap_world(mode, ackTimeout="1s")
    gateway.devices.write_text(gateway.devices.read_text().replace(
        gateway.devices.read_text().split("deviceSecret : ")[1][:32], "f" * 32, 1))
    gateway.reload()
    with gateway.terminal(0).log_in() as bad, gateway.terminal(1).log_in() as good:
        bad.report()
        good.report_acked(speed=40)
        assert wait_reported(cloud, 1, "Speed") == 4
        gateway.wait_state(0, "refused")
    assert any("4.01" in line or "handshake" in line for line in gateway.log_lines("device.refused"))


def test_a_disabled_device_is_refused_and_comes_back(coap_world):
    """covers: I31"""
    cloud, gateway = coap_world("coap")
    cloud.fault("status", channel="coap", code=500, count=1)
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=40)
        assert wait_reported(cloud, 0, "Speed") == 4
    assert gateway.stats()["upstream.logins"] == 1


def test_more_devices_than_allowed(coap_world):
    cloud, gateway = coap_world("coap", maxDevices=1)
    with gateway.terminal(0).log_in() as one:
        one.report_acked()
        with gateway.terminal(1).log_in():
            gateway.wait_state(1, "refused")
        one.report_acked()
    assert any("maxDevices" in line for line in gateway.log_lines("device.refused"))


# ---- silence ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_an_answer_that_is_lost_is_asked_for_again(coap_world, mode):
    """The repetition has the message's id, so that it is one message at the platform. covers: I21"""
    cloud, gateway = coap_world(mode, ackTimeout="4s")
    with gateway.terminal(0).log_in() as t:
        t.report_acked()
        cloud.fault("puback", channel="coap", count=1)
        t.report_acked(speed=77)
        t.report_acked(speed=78)  # in order: what went before it was settled
    assert len([m for m in posts(cloud, topic=POST, limit=100) if '"Speed":{"value":7.7,' in m["payload"]]) == 1
    assert gateway.stats()["bridge.records_pending"] == 0 and gateway.stats()["upstream.logins"] == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_device_whose_server_is_silent_delays_nobody(coap_world, mode):
    cloud, gateway = coap_world(mode, ackTimeout="500ms", inFlight=2)
    with gateway.terminal(0).log_in() as stalled, gateway.terminal(1).log_in() as other:
        stalled.report_acked()
        other.report_acked()
        fault = cloud.fault("stall", device=f"{PK}/{device_name(0)}", channel="coap")
        for speed in range(20):
            stalled.report(speed=speed)
        for speed in range(20):
            other.report_acked(speed=speed)
        gateway.wait_state(0, "waiting")
        other.report_acked(speed=99)
        cloud.delete(f"/faults/{fault['id']}")
        wait_until(lambda: wait_reported(cloud, 0, "Speed") == 1.9, "the last of what waited")
    params = [json.loads(m["payload"])["params"] for m in sorted(posts(cloud, topic=POST, limit=1000), key=lambda m: m["seq"])]
    speeds = [p["Speed"]["value"] for p in params if "Speed" in p]
    assert [s for n, s in enumerate(speeds) if n == 0 or s != speeds[n - 1]][-20:] == [s / 10 for s in range(20)]


def test_nobody_there(start_cloud, start_gateway):
    cloud = start_cloud(stock(1))
    gateway = start_gateway(cloud, devices=1, endpoint=endpoint(cloud, "coaps"), listener="ack = delivered",
                            upstream=settings("coaps", ackTimeout="500ms", pull="0s"))
    cloud.stop()
    with gateway.terminal(0).log_in() as t:
        t.report()
        wait_until(lambda: not gateway.status()["up"], "the upstream to be down")
        assert gateway.log_lines("upstream.down")
        cloud.start()
        wait_until(lambda: gateway.status()["up"], "the upstream to be up")
        wait_reported(cloud, 0, "Speed")


@pytest.mark.parametrize("mode", MODES)
def test_an_idle_session_is_closed_and_opened_for_the_next_message(coap_world, mode):
    cloud, gateway = coap_world(mode, sessionIdle="200ms")
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=10)
        gateway.wait_gauge("upstream.sessions", 0)
        assert gateway.device(0)["state"] == "online"
        t.report_acked(speed=20)
        assert wait_reported(cloud, 0, "Speed") == 2
    assert logins(cloud) == 1


# ---- size ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_a_record_above_the_limit_goes_in_parts(coap_world, mode):
    """covers: I04"""
    cloud, gateway = coap_world(mode, maxPayload=256)
    with gateway.terminal(0).log_in() as t:
        t.report_acked(speed=605)
        assert wait_reported(cloud, 0, "Speed") == 60.5
    stats = gateway.stats()
    assert stats["upstream.split"] >= 1 and stats["upstream.too_long"] == 0
    sent = posts(cloud, topic=POST)
    assert len(sent) > stats["bridge.records_delivered"]
    ids = [json.loads(m["payload"])["id"] for m in sent]
    assert len(set(ids)) == len(ids) and all(len(m["payload"]) <= 256 for m in sent)


# ---- down ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_commands_are_fetched(coap_world, mode):
    cloud, gateway = coap_world(mode, pull="200ms")
    with gateway.terminal(0).log_in() as t:
        t.report_acked()
        gateway.wait_state(0, "online")
        topic = f"/sys/{PK}/{device_name(0)}/thing/service/property/set"
        status, _ = cloud.request("POST", device_path(0) + "/properties", SET, query={"async": 1})
        request = t.receive_id(0x8103)
        assert request.body == bytes([1]) + struct.pack(">IBI", 1, 4, 60)
        t.general_reply(request)
        reply = cloud.wait_message(topic=topic + "_reply", direction="up")
        assert json.loads(reply["payload"])["code"] == 200
    assert gateway.stats()["bridge.commands_answered"] == 1


def test_a_platform_without_pull_is_asked_once(coap_world):
    cloud, gateway = coap_world("coap", pull="100ms", conf="switches { coapPull = false }\n")
    with gateway.terminal(0).log_in() as t:
        t.report_acked()
        gateway.wait_log("upstream.no_pull")
        t.report_acked()
    assert len(gateway.log_lines("upstream.no_pull")) == 1


# ---- the end ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", MODES)
def test_a_stop_with_sessions_open_is_clean(coap_world, mode):
    cloud, gateway = coap_world(mode, 20)
    terminals = [gateway.terminal(i).log_in() for i in range(20)]
    for t in terminals:
        t.report_acked()
    gateway.process.stop()
    assert gateway.process.stderr().count("daemon.stopped") == 1
    for t in terminals:
        t.close()
