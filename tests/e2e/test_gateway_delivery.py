"""From a terminal's report to the platform's confirmation, when everything works and when it does not."""
import json
import socket
import threading

from conftest import wait_until
from gw import GW, PK, device_name, phone, secret, start_gateway, wait_reported, world  # noqa: F401
from terminal import Closed, frame, location

POST = "/sys/+/+/thing/event/property/post"
DELIVERED = "ack = delivered"


def ident(i):
    return f"{PK}/{device_name(i)}"


def speeds(cloud, i, **filters):
    """(speed in tenths, message id) of every position of device i that the platform has taken, in its order."""
    got = []
    for m in cloud.messages(device=ident(i), topic=POST, direction="up", limit=500000, **filters):
        assert m["outcome"] == "taken", m
        body = json.loads(m["payload"])
        if "Speed" in body["params"]:
            speed = body["params"]["Speed"]
            got.append((round(float(speed["value"] if isinstance(speed, dict) else speed) * 10), body["id"]))
    return got


def online(cloud, gateway, count=1, first=0):
    terminals = [gateway.terminal(i).log_in() for i in range(first, first + count)]
    for i in range(first, first + count):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    gateway.wait_gauge("lane.queued_records", 0)  # what a log-in itself reports is through
    return terminals


def heartbeat(t):
    """A round trip that no report takes part in: what was answered before is in t.pending or was seen."""
    serial = t.send(0x0002)
    return t.expect_ack(serial, 0x0002)


def test_a_report_is_answered_only_when_the_platform_has_confirmed_it(world):
    """covers: M28 K13"""
    cloud, gateway = world(listener=DELIVERED, upstream="ackTimeout = 20s")
    [t] = online(cloud, gateway)
    fault = cloud.fault("stall")
    serial = t.report(speed=111)
    gateway.wait_gauge("lane.in_flight", 1)
    beat = t.send(0x0002)
    first = t.receive()
    assert first.id == 0x8001 and first.body[:2] == beat.to_bytes(2, "big")  # the report's answer is still to come
    cloud.delete(f"/faults/{fault['id']}")
    assert t.expect_ack(serial, 0x0200) == 0
    assert [s for s, _ in speeds(cloud, 0)] == [111]
    t.close()


def test_with_ack_received_the_answer_does_not_wait(world):
    """covers: M28"""
    cloud, gateway = world()
    [t] = online(cloud, gateway)
    fault = cloud.fault("stall")
    assert t.report_acked(speed=111) == 0
    cloud.delete(f"/faults/{fault['id']}")
    wait_until(lambda: [s for s, _ in speeds(cloud, 0)] == [111], "the report")
    t.close()


def test_an_unconfirmed_report_is_pending_and_its_copy_is_not_published_again(world):
    """covers: M28"""
    cloud, gateway = world(listener=DELIVERED, upstream="ackTimeout = 2s")
    [t] = online(cloud, gateway)
    fault = cloud.fault("stall")
    where = location(speed=222)
    serial = t.send(0x0200, where)
    assert t.expect_ack(serial, 0x0200) == 1
    assert gateway.stats()["bridge.records_pending"] == 1
    t.send(0x0200, where, serial=serial)
    gateway.wait_stat("bridge.records_duplicate", 1)
    cloud.delete(f"/faults/{fault['id']}")
    assert t.expect_ack(serial, 0x0200) == 0
    assert t.report_acked(speed=223) == 0
    assert [s for s, _ in speeds(cloud, 0)] == [222, 223]
    t.send(0x0200, where, serial=serial)  # long delivered: answered, not published
    assert t.expect_ack(serial, 0x0200) == 0
    assert t.report_acked(speed=224) == 0
    assert [s for s, _ in speeds(cloud, 0)] == [222, 223, 224]
    t.close()


def test_a_refused_report_is_answered_positively_counted_and_named(world):
    """covers: M28 K13"""
    cloud, gateway = world(listener=DELIVERED, upstream="confirm = reply")
    [t] = online(cloud, gateway)
    cloud.fault("refuse", topic=POST, code=6332, count=1)
    assert t.report_acked(speed=1) == 0
    assert t.report_acked(speed=2) == 0
    stats = gateway.stats()
    assert stats["bridge.records_refused"] == 1 and stats["upstream.replies_failed"] == 1
    gateway.wait_log("record.refused")
    assert "code=6332" in gateway.log_lines("record.refused")[0]
    assert wait_reported(cloud, 0, "Speed") == 0.2
    t.close()


def test_the_order_of_each_device_is_kept_under_load(world):
    """covers: M29 L07"""
    cloud, gateway = world(devices=4, listener=DELIVERED)
    terminals = online(cloud, gateway, 4)

    def drive(t):
        t.sock.sendall(b"".join(frame(0x0200, t.phone, 2000 + n, location(speed=1000 + n)) for n in range(250)))
        t.results = [t.expect_ack(2000 + n, 0x0200) for n in range(250)]
    threads = [threading.Thread(target=drive, args=(t,)) for t in terminals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i, t in enumerate(terminals):
        assert t.results == [0] * 250
        assert [s for s, _ in speeds(cloud, i)] == list(range(1000, 1250))
        t.close()
    assert gateway.stats()["bridge.records_refused"] == 0


def test_a_full_queue_stops_reading_and_nothing_is_lost_when_it_flows_again(world):
    """covers: M33 M29"""
    cloud, gateway = world(upstream="queueBytes = 64KiB, queueBytesPerDevice = 16KiB, ackTimeout = 60s")
    [t] = online(cloud, gateway)
    fault = cloud.fault("stall")
    count = 3000
    sender = threading.Thread(target=lambda: t.sock.sendall(
        b"".join(frame(0x0200, phone(0), n, location(speed=n)) for n in range(count))))
    sender.start()
    gateway.wait_stat("bridge.records_busy", 1)
    assert gateway.stats()["net.paused"] >= 1
    assert gateway.stats()["lane.queued_bytes"] <= 64 * 1024
    with gateway.terminal(1) as other:  # another connection lives on
        assert heartbeat(other) == 0
    cloud.delete(f"/faults/{fault['id']}")
    for n in range(count):
        assert t.expect_ack(n, 0x0200) == 0
    sender.join()
    wait_until(lambda: len(speeds(cloud, 0)) >= count, "all reports")
    assert [s for s, _ in speeds(cloud, 0)] == list(range(count))
    assert gateway.stats()["bridge.records_lost"] == 0
    t.close()


def test_a_platform_that_restarts_gets_what_it_did_not_confirm(world):
    """covers: H25 M26 M28 L06"""
    cloud, gateway = world(devices=2, listener=DELIVERED)
    terminals = online(cloud, gateway, 2)
    for n in range(20):
        assert terminals[0].report_acked(speed=n) == 0
    cloud.process.stop()
    wait_until(lambda: not gateway.status()["up"], "the upstream to go down")
    serials = [terminals[0].report(speed=100 + n) for n in range(50)]
    cloud.restart()
    assert [terminals[0].expect_ack(serial, 0x0200) for serial in serials] == [0] * 50
    for i in (0, 1):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    got = speeds(cloud, 0)
    assert [s for s, _ in got] == list(range(100, 150))
    assert len({number for _, number in got}) == 50
    assert gateway.stats()["upstream.disconnects"] == 1
    for t in terminals:
        t.close()


def test_what_is_in_flight_when_the_connection_is_cut_arrives(world):
    """covers: H25 M26 M28"""
    cloud, gateway = world(devices=2, listener=DELIVERED, upstream="ackTimeout = 20s")
    terminals = online(cloud, gateway, 2)
    fault = cloud.fault("puback", topic=POST)
    serials = [terminals[0].report(speed=100 + n) for n in range(20)]
    wait_until(lambda: len(speeds(cloud, 0)) == 20, "all reports, unconfirmed")
    cloud.delete(f"/faults/{fault['id']}")
    cloud.fault("cut")
    assert [terminals[0].expect_ack(serial, 0x0200) for serial in serials] == [0] * 20
    for i in (0, 1):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    got = speeds(cloud, 0)
    assert [s for s, _ in got] == list(range(100, 120)) * 2
    assert len(set(got)) == 20, "a repeat carries the id of the first"
    for t in terminals:
        t.close()


def test_a_kicked_device_logs_in_again_and_the_others_notice_nothing(world):
    """covers: L06 L07 M25"""
    cloud, gateway = world(devices=2)
    terminals = online(cloud, gateway, 2)
    cloud.fault("kick", device=ident(0))
    gateway.wait_stat("upstream.kicked", 1)
    assert terminals[0].report_acked(speed=5) == 0
    assert wait_reported(cloud, 0, "Speed") == 0.5
    assert cloud.device(PK, device_name(0))["status"] == "ONLINE"
    assert gateway.stats()["upstream.disconnects"] == 0
    logins = [m for m in cloud.messages(limit=1000, topic="/ext/session/#", direction="up") if device_name(1) in m["payload"]]
    assert len(logins) == 1
    for t in terminals:
        t.close()


def test_a_device_whose_relation_was_removed_is_related_again(world):
    """covers: L01 L03"""
    cloud, gateway = world()
    [t] = online(cloud, gateway)
    cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo", {"action": "delete", "productKey": PK, "deviceName": device_name(0)})
    gateway.wait_stat("upstream.kicked", 1)
    assert t.report_acked(speed=6) == 0
    assert wait_reported(cloud, 0, "Speed") == 0.6
    assert cloud.device(PK, device_name(0))["status"] == "ONLINE"
    t.close()


def test_a_bad_secret_in_a_batch_costs_only_its_own_device(world):
    """covers: L03 L04 M21"""
    cloud, gateway = world(devices=5)
    gateway.devices.write_text(gateway.devices.read_text().replace(secret(2), "f" * 32))
    gateway.reload()
    terminals = [gateway.terminal(i) for i in range(5)]
    for t in terminals:
        assert t.register() == 0
    for t in terminals:
        t.send(0x0102, t.code)
    for i in (0, 1, 3, 4):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    gateway.wait_state(2, "refused")
    shown = gateway.device(2)
    assert shown["lastCode"] != 0 and "compare its deviceSecret" in shown["lastText"]
    gateway.wait_log("device.refused")
    for t in terminals:
        t.close()


def test_more_devices_than_the_gateway_may_have_are_refused_and_named(world):
    """covers: L09 M13"""
    cloud, gateway = world(devices=3, upstream="maxDevices = 2")
    terminals = [gateway.terminal(i).log_in() for i in range(2)]
    for i in range(2):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    with gateway.terminal(2).log_in():
        gateway.wait_state(2, "refused")
        assert "maxDevices" in gateway.device(2)["lastText"]
        for i in range(2):
            assert cloud.device(PK, device_name(i))["status"] == "ONLINE"
    for t in terminals:
        t.close()


def test_terminals_are_served_while_the_platform_is_away(world):
    """covers: M21 M26 H25"""
    cloud, gateway = world()
    cloud.process.stop()
    wait_until(lambda: not gateway.status()["up"], "the upstream to go down")
    with gateway.terminal().log_in() as t:
        for n in range(10):
            assert t.report_acked(speed=n) == 0
        gateway.wait_stat("lane.queued_records", 10)
        assert gateway.cli("status", check=False).returncode == 1
        cloud.restart()
        wait_until(lambda: [s for s, _ in speeds(cloud, 0)] == list(range(10)), "all reports")
        cloud.wait_status(PK, device_name(0), "ONLINE")


def test_a_report_with_an_odd_clock_is_stamped_on_arrival(world):
    import datetime
    cloud, gateway = world()
    [t] = online(cloud, gateway)
    assert t.report_acked(speed=7, when=datetime.datetime(2001, 1, 1)) == 0
    assert wait_reported(cloud, 0, "Speed") == 0.7
    assert gateway.stats()["bridge.times_corrected"] == 1
    body = json.loads([m for m in cloud.messages(device=ident(0), topic=POST, limit=100) if "Speed" in m["payload"]][-1]["payload"])
    assert "RawTime" in body["params"]
    t.close()


def test_a_terminal_that_leaves_before_its_answer_costs_a_late_settle_and_no_record(world):
    """covers: M28 M29"""
    cloud, gateway = world(listener=DELIVERED, upstream="ackTimeout = 20s")
    [t] = online(cloud, gateway)
    fault = cloud.fault("stall")
    t.report(speed=321)
    gateway.wait_gauge("lane.in_flight", 1)
    t.sock.shutdown(socket.SHUT_RDWR)
    t.close()
    gateway.wait_gauge("net.connections", 0)
    cloud.delete(f"/faults/{fault['id']}")
    gateway.wait_stat("bridge.settles_late", 1)
    assert [s for s, _ in speeds(cloud, 0)] == [321]
    cloud.wait_status(PK, device_name(0), "OFFLINE")


def test_nothing_acknowledged_is_lost_when_the_gateway_is_killed(world):
    """covers: M28"""
    cloud, gateway = world(listener=DELIVERED, upstream="ackTimeout = 2s")
    acked = [set() for _ in range(3)]
    stop = threading.Event()

    def live(i):
        """A terminal that keeps five reports under way and comes back whenever its connection breaks."""
        number = 0
        while not stop.is_set():
            try:
                with gateway.terminal(i, version=2019 if i == 1 else 2013) as t:
                    t.log_in()
                    under_way = {}
                    while not stop.is_set():
                        while len(under_way) < 5:
                            number += 1
                            under_way[t.report(speed=number)] = number
                        answer = t.receive_id(0x8001).body
                        report = under_way.pop(int.from_bytes(answer[:2], "big"), None)
                        if report is not None and answer[2:4] == b"\x02\x00" and answer[4] == 0:
                            acked[i].add(report)
            except (Closed, OSError, AssertionError):
                stop.wait(0.01)  # nobody listens, or the gateway died while the terminal logged in

    terminals = [threading.Thread(target=live, args=(i,)) for i in range(3)]
    for t in terminals:
        t.start()
    try:
        for _ in range(3):
            before = sum(map(len, acked))
            wait_until(lambda: sum(map(len, acked)) > before + 500, "reports to be acknowledged")
            gateway.process.kill()
            gateway.process.start()
        before = [len(a) for a in acked]
        wait_until(lambda: all(len(a) > b for a, b in zip(acked, before)), "everybody to be back")
    finally:
        stop.set()
        for t in terminals:
            t.join()
    for i in range(3):
        assert acked[i] - {s for s, _ in speeds(cloud, i)} == set()
