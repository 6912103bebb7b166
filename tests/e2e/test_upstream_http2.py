"""The http2 upstream against the emulator: the same thread as over MQTT, by the bridge channel.

covers: L05 L06 L07 M14 M15 M20 M21 M22 M24 M35 M40
"""
import json
import signal
import socket
import struct
import threading

import pytest
from bridge_client import Bridge, auth
from conftest import PATIENCE, wait_until
from gw import GW, PK, ask, device_name, phone, secret, wait_reported
from h2_world import settings, start_gateway, stock, world  # noqa: F401  (fixtures)
from test_gateway_delivery import (  # noqa: F401  (cases that no kind of upstream has a say in, with `world` from here)
    heartbeat, ident, speeds, test_a_platform_that_restarts_gets_what_it_did_not_confirm,
    test_a_report_is_answered_only_when_the_platform_has_confirmed_it,
    test_an_unconfirmed_report_is_pending_and_its_copy_is_not_published_again,
    test_more_devices_than_the_gateway_may_have_are_refused_and_named,
    test_nothing_acknowledged_is_lost_when_the_gateway_is_killed, test_terminals_are_served_while_the_platform_is_away,
    test_the_order_of_each_device_is_kept_under_load, test_with_ack_received_the_answer_does_not_wait)
from test_gateway_thread import test_a_terminal_reports_and_is_commanded  # noqa: F401


class Cable:
    """What stands between the gateway and one address: can be pulled and put back."""

    def __init__(self, address):
        self.to = address.rsplit(":", 1)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.plugged, self.ends = True, []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            if not self.plugged:
                near.close()
                continue
            far = socket.create_connection((self.to[0], int(self.to[1])))
            self.ends += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(a, b):
        try:
            while data := a.recv(65536):
                b.sendall(data)
        except OSError:
            pass
        for s in (a, b):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def pull(self):
        self.plugged = False
        for s in self.ends:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.ends = []

    def plug(self):
        self.plugged = True

    def close(self):
        self.listener.close()
        self.pull()


@pytest.fixture
def cable():
    made = []

    def lay(cloud):
        made.append(Cable(cloud.process.ready["http2"]))
        return f"https://{made[-1].address}"
    lay.made = made
    yield lay
    for c in made:
        c.close()


def log_in(gateway, cloud, count, first=0):
    terminals = [gateway.terminal(i).log_in() for i in range(first, first + count)]
    for i in range(first, first + count):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    return terminals


def status(cloud, i):
    return cloud.device(PK, device_name(i))["status"]


def test_one_leaves_and_the_others_stay(world):
    """covers: M25 L08"""
    cloud, gateway = world()
    a, b = log_in(gateway, cloud, 2)
    assert cloud.device(PK, device_name(0))["session"]["channel"] == "http2"
    a.close()
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    assert status(cloud, 1) == "ONLINE" and b.report_acked() == 0
    b.close()


@pytest.mark.parametrize("confirm", ["transport", "reply"])
def test_a_report_is_delivered_by_either_confirmation(world, confirm):
    """covers: M28"""
    cloud, gateway = world(listener="ack = delivered", upstream=f"confirm = {confirm}")
    [t] = log_in(gateway, cloud, 1)
    assert t.report_acked(speed=123) == 0
    assert [s for s, _ in speeds(cloud, 0)] == [123]
    t.close()


def test_what_was_unconfirmed_when_the_connection_was_cut_is_sent_again_under_its_id(world):
    """covers: H25 M26 M28"""
    cloud, gateway = world(devices=5, listener="ack = delivered", upstream="ackTimeout = 20s")
    terminals = log_in(gateway, cloud, 5)
    gateway.wait_gauge("lane.queued_records", 0)
    fault = cloud.fault("puback", topic="/sys/+/+/thing/event/property/post")
    sent = [(t, [t.report(speed=100 + n) for n in range(3)]) for t in terminals]
    wait_until(lambda: all(len(speeds(cloud, i)) == 1 for i in range(5)), "one of each device, unconfirmed")
    cloud.delete(f"/faults/{fault['id']}")
    cloud.fault("cut")
    for i, (t, serials) in enumerate(sent):
        assert [t.expect_ack(serial, 0x0200) for serial in serials] == [0] * 3
        got = speeds(cloud, i)
        assert [s for s, _ in got] == [100, 100, 101, 102] and got[0] == got[1]
        t.close()


def test_a_thousand_records_in_flight_are_each_settled_once(world):
    """covers: M29"""
    cloud, gateway = world(devices=50, listener="ack = delivered", upstream="ratePerDeviceQos1 = 0")
    terminals = log_in(gateway, cloud, 50)
    sent = [(t, [t.report(speed=n) for n in range(20)]) for t in terminals]
    for t, serials in sent:
        for serial in serials:
            assert t.expect_ack(serial, 0x0200) == 0
    for i, t in enumerate(terminals):
        assert [s for s, _ in speeds(cloud, i)] == list(range(20))
        t.close()
    assert gateway.stats()["bridge.settles_late"] == 0


@pytest.mark.parametrize("promise", ["false", "true"])
def test_commands_arrive_pushed_by_either_way(world, promise):
    """covers: M32 K12 K13"""
    cloud, gateway = world(stock_of=stock(1, switches=f"switches {{ bridgePromise = {promise} }}\n"), devices=1)
    [t] = log_in(gateway, cloud, 1)
    join = ask(cloud, 0, "/properties", {"HeartbeatInterval": 60})
    if promise == "true":  # it hangs its pushes on requests, so there must be some
        wait_until(lambda: t.report() and gateway.stats()["upstream.downlinks"] > 0, "the push")
    request = t.receive_id(0x8103)
    assert request.body == bytes([1]) + struct.pack(">IBI", 1, 4, 60)
    t.general_reply(request)
    assert join()[1]["reply"]["code"] == 200
    wait_until(lambda: gateway.stats()["upstream.acknowledged"] > 0, "the acknowledgement")
    assert gateway.stats()["upstream.downlinks_odd"] == 0
    t.close()


def test_a_small_bridge_loses_all_with_the_link_and_brings_all_back(world, cable):
    """covers: M26 M13"""
    cloud, gateway = world(endpoint=cable, listener="ack = delivered")
    terminals = log_in(gateway, cloud, 3)
    cable.made[0].pull()
    for i in range(3):
        cloud.wait_status(PK, device_name(i), "OFFLINE")
        gateway.wait_state(i, "waiting")
    serial = terminals[0].report(speed=77)
    cable.made[0].plug()
    for i in range(3):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    assert terminals[0].expect_ack(serial, 0x0200) == 0  # nobody connected again
    for t in terminals:
        t.close()


def test_a_large_bridge_keeps_its_devices_over_a_lost_link_and_reports_who_left(world, cable):
    """covers: M13 M27 L08"""
    cloud, gateway = world(devices=10, endpoint=cable, upstream="large = true", listener="ack = delivered")
    terminals = log_in(gateway, cloud, 10)
    cable.made[0].pull()
    wait_until(lambda: not gateway.status()["up"], "the link to be gone")
    assert {status(cloud, i) for i in range(10)} == {"ONLINE"}
    terminals[3].close()
    gateway.wait_gauge("bridge.devices_attached", 9)
    serial = terminals[5].report(speed=99)
    assert status(cloud, 3) == "ONLINE"  # nobody could say so yet
    cable.made[0].plug()
    cloud.wait_status(PK, device_name(3), "OFFLINE")
    assert terminals[5].expect_ack(serial, 0x0200) == 0
    assert [status(cloud, i) for i in range(10)] == ["ONLINE"] * 3 + ["OFFLINE"] + ["ONLINE"] * 6
    assert gateway.stats()["upstream.logins"] == 10
    for t in terminals:
        t.close()


def test_a_large_bridge_that_was_killed_reports_those_that_do_not_come_back(world):
    """covers: M13 M27"""
    cloud, gateway = world(devices=4, upstream="large = true, returnTime = 2s")
    terminals = log_in(gateway, cloud, 4)
    gateway.process.kill()
    for t in terminals:
        t.close()
    assert {status(cloud, i) for i in range(4)} == {"ONLINE"}
    gateway.process.start()
    back = log_in(gateway, cloud, 2)
    for i in (2, 3):
        cloud.wait_status(PK, device_name(i), "OFFLINE")
    assert [status(cloud, i) for i in range(2)] == ["ONLINE"] * 2
    assert len(gateway.log_lines("upstream.absent")) == 1
    for t in back:
        t.close()
    for i in range(2):
        cloud.wait_status(PK, device_name(i), "OFFLINE")
    gateway.process.restart()  # and who left in order is not reported again
    gateway.wait_up()
    gateway.process.kill()
    assert b"sub-0" not in b"".join(f.read_bytes() for f in (gateway.dir / "state").glob("online-*.db"))
    gateway.process.start()


def test_an_orderly_stop_leaves_the_devices_of_a_large_bridge_online(world):
    """covers: M27"""
    cloud, gateway = world(upstream="large = true")
    terminals = log_in(gateway, cloud, 2)
    gateway.process.stop()
    assert {status(cloud, i) for i in range(2)} == {"ONLINE"}
    for t in terminals:
        t.close()


def test_two_thousand_devices_behind_a_large_bridge(world, spawn):
    """covers: M13 (in the small; more by hand)"""
    cloud, gateway = world(devices=2000, upstream="large = true, ratePerDeviceQos1 = 0")
    simulated = spawn("causeway", "simulate", "jt808", "--connect", gateway.address, "--identities", gateway.devices,
                      "--devices", "2000", "--rate", "500", "--quiet", ready=False, name="simulate")
    wait_until(lambda: gateway.stats()["bridge.devices_online"] == 2000, "all online", 4 * PATIENCE)
    simulated.signal(signal.SIGINT)
    assert simulated.wait(60) == 0, simulated.stdout()
    gateway.wait_gauge("bridge.devices_online", 0)
    wait_until(lambda: all(d["status"] == "OFFLINE" for d in cloud.get("/devices", limit=5000)["devices"]
                           if d["productKey"] == PK), "all offline")


def test_a_device_that_is_refused_comes_online_once_it_may(world):
    """covers: M21 M22"""
    cloud, gateway = world()
    cloud.post(f"/devices/{PK}/{device_name(0)}/disable")
    t = gateway.terminal(0).log_in()
    gateway.wait_state(0, "refused")
    assert gateway.device(0)["lastCode"] == 522
    [u] = log_in(gateway, cloud, 1, first=1)
    cloud.post(f"/devices/{PK}/{device_name(0)}/enable")
    cloud.wait_status(PK, device_name(0), "ONLINE")
    t.close()
    u.close()


def test_a_throttled_post_arrives_later_and_once(world):
    """covers: M28"""
    cloud, gateway = world(stock_of=stock(1, switches="switches { bridgeDropRepeats = true }\n"), devices=1,
                           listener="ack = delivered")
    [t] = log_in(gateway, cloud, 1)
    gateway.wait_gauge("lane.queued_records", 0)
    cloud.fault("status", code=429, count=2, channel="http2")
    assert t.report_acked(speed=55) == 0
    assert [s for s, _ in speeds(cloud, 0)] == [55]
    assert gateway.stats()["upstream.resent"] == 2
    t.close()


def test_an_answer_that_never_comes_is_asked_for_again_under_the_same_id(world):
    """covers: M28"""
    cloud, gateway = world(stock_of=stock(1, switches="switches { bridgeDropRepeats = true }\n"), devices=1,
                           upstream="ackTimeout = 300ms")
    [t] = log_in(gateway, cloud, 1)
    gateway.wait_gauge("lane.queued_records", 0)
    cloud.fault("puback", count=1)
    before = gateway.stats()["bridge.records_delivered"]
    t.report(speed=56)
    gateway.wait_stat("bridge.records_delivered", before + 1)
    assert [s for s, _ in speeds(cloud, 0)] == [56]
    t.close()


def test_a_platform_that_has_forgotten_a_device_gets_its_login_and_its_record(world):
    """covers: M24"""
    cloud, gateway = world(listener="ack = delivered")
    [t] = log_in(gateway, cloud, 1)
    gateway.wait_gauge("lane.queued_records", 0)
    cloud.fault("kick", device=ident(0))
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    assert t.report_acked(speed=57) == 0
    cloud.wait_status(PK, device_name(0), "ONLINE")
    assert [s for s, _ in speeds(cloud, 0)] == [57]
    t.close()


def test_a_device_taken_by_another_bridge_is_offline_here(world):
    cloud, gateway = world(stock_of=stock(1, switches="switches { bridgeKicks = true }\n") .replace(
        "devices = [", f"devices = [ {{ productKey = {GW[0]}, deviceName = other, deviceSecret = {secret('other')} }}\n"),
        devices=1)
    [t] = log_in(gateway, cloud, 1)
    with Bridge(cloud, (GW[0], "other", secret("other"))) as b:
        b.start()
        auth(cloud, (PK, device_name(0), secret(0)), netId=b.net_id)
        gateway.wait_stat("upstream.kicked", 1)
        cloud.wait_status(PK, device_name(0), "ONLINE")
    wait_until(lambda: gateway.stats()["upstream.logins"] >= 2, "it to be taken back")
    t.close()


@pytest.mark.parametrize("node_type", ["device", "gateway"])
def test_the_bridge_may_be_of_any_node_type_that_connects(world, node_type):
    cloud, gateway = world(stock_of=stock(1, node_type), devices=1)
    [t] = log_in(gateway, cloud, 1)
    assert t.report_acked() == 0
    t.close()


def test_wrong_credentials_of_the_bridge_are_named_and_tried_ever_more_slowly(start_cloud, start_gateway):  # noqa: F811
    cloud = start_cloud(stock().replace(secret("gw"), secret("another")))
    gateway = start_gateway(cloud, endpoint=f"https://{cloud.process.ready['http2']}", upstream=settings(cloud))
    gateway.wait_log("refused the login: status 401")
    gateway.wait_stat("upstream.connect_failed", 3)
    assert not gateway.status()["up"]


def test_a_certificate_of_somebody_else_is_refused(start_cloud, start_gateway, tmp_path):  # noqa: F811
    cloud, other = start_cloud(stock()), start_cloud(stock(), name="other", tls_dir=None)
    gateway = start_gateway(cloud, endpoint=f"https://{cloud.process.ready['http2']}", upstream=settings(cloud, ca=other.ca))
    gateway.wait_log("not correctly signed by the trusted CA")
    assert not gateway.status()["up"]


def test_a_net_id_that_is_not_known_any_more_is_fetched_again(world):
    cloud, gateway = world()
    cloud.fault("refuse", code=460, device=ident(0), count=1)
    t = gateway.terminal(0).log_in()
    cloud.wait_status(PK, device_name(0), "ONLINE")
    assert gateway.stats()["upstream.logins_refused"] == 1
    t.close()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_endpoint_may_be_a_name_or_an_address(world, host):
    cloud, gateway = world(endpoint=lambda cloud: f"https://{host}:{cloud.process.ready['http2'].rsplit(':', 1)[1]}/ignored")
    assert gateway.status()["up"]


def test_the_endpoint_may_be_an_ipv6_literal(start_cloud, start_gateway):  # noqa: F811
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    cloud = start_cloud(stock().replace('http2 = "127.0.0.1:0"', 'http2 = "[::1]:0"'))
    assert cloud.process.ready["http2"].startswith("[::1]:")
    start_gateway(cloud, endpoint=f"https://{cloud.process.ready['http2']}", upstream=settings(cloud)).wait_up()


def test_a_device_that_is_taken_from_the_file_goes_offline(world):
    """covers: L06"""
    cloud, gateway = world()
    a, b = log_in(gateway, cloud, 2)
    text = gateway.devices.read_text().splitlines(True)
    gateway.devices.write_text("".join(line for line in text if not line.startswith(phone(0))))
    gateway.reload()
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    assert status(cloud, 1) == "ONLINE"
    a.close()
    b.close()


def test_the_callers_id_goes_out_and_the_envelope_is_the_librarys(world):
    """covers: M40 M45"""
    cloud, gateway = world()
    [t] = log_in(gateway, cloud, 1)
    t.report(speed=31)
    message = cloud.wait_message(device=ident(0), topic="/sys/+/+/thing/event/property/post", direction="up")
    body = json.loads(message["payload"])
    assert body["method"] == "thing.event.property.post" and body["id"].isdigit()
    wait_reported(cloud, 0, "Speed")
    t.close()
