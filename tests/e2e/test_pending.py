"""Frames of devices that nobody knows yet: kept, listed, dropped, and delivered in order once the device is added. covers: M22"""
import json
import signal
import socket
import time

import pytest
from conftest import BUILD, wait_until
from gw import PK, cloud_conf, device_name, devices_conf, phone, secret, start_gateway, world  # noqa: F401
from terminal import Terminal, location
from test_identity import http_settings, identity, inventory, knock, logged_in  # noqa: F401

KEEP = "unknown = keep, ack = delivered, settings { identifyBy = any }"
STRANGER = 1  # phone(1) is not in devices.conf before it is added


def add(gateway, count=2):
    gateway.devices.write_text(devices_conf(count))
    gateway.reload()


@pytest.fixture
def strangers(world):
    """strangers(...) -> (cloud, gateway) where only device 0 is known and frames of others are kept."""
    def start(listener=KEEP, **options):
        cloud, gateway = world(listener=listener, **options)
        add(gateway, 1)
        return cloud, gateway
    return start


def terminal(gateway, i=STRANGER):
    return Terminal(gateway.address, phone(i))


def wait_frames(gateway, n):
    wait_until(lambda: gateway.stats()["pending.frames"] == n, f"{n} kept frames")


def listed(gateway):
    return {e["identity"]: e for e in json.loads(gateway.cli("pending", "list", "--json").stdout)}


def values(cloud, i):
    """(Speed, its time) of each property post of device i, as the platform has received them."""
    topic = f"/sys/{PK}/{device_name(i)}/thing/event/property/post"
    posts = [json.loads(m["payload"])["params"] for m in cloud.messages(topic=topic, direction="up")]
    return [(p["Speed"]["value"], p["Speed"]["time"]) for p in posts if "Speed" in p]


def order(cloud, i, n):
    return [v for v, _ in wait_until(lambda: len(values(cloud, i)) >= n and values(cloud, i), f"{n} posts")]


def test_frames_are_kept_and_delivered_in_order_once_the_device_is_added(strangers):
    """While it is connected: nothing is answered before, and afterwards the session goes on as its device."""
    cloud, gateway = strangers()
    with terminal(gateway) as t:
        for speed in (10, 20, 30):
            t.report(speed=speed)
        wait_frames(gateway, 3)
        entry = listed(gateway)[phone(STRANGER)]
        assert entry["frames"] == 3 and entry["listener"] == "trucks" and entry["protocol"] == "jt808" and entry["delivering"] == 0
        assert entry["peer"] == "%s:%d" % t.sock.getsockname()
        assert gateway.stats()["pending.delivered"] == 0 and gateway.stats()["bridge.records_delivered"] == 0
        add(gateway)
        gateway.wait_stat("pending.delivered", 3)
        wait_frames(gateway, 0)
        wait_until(lambda: gateway.device(STRANGER).get("connected"), "the live session to have the device")
        assert t.report_acked(speed=40) == 0  # the first answer of all is this one's
        assert order(cloud, STRANGER, 4) == [1, 2, 3, 4]
    assert listed(gateway) == {}
    assert len([line for line in gateway.log_lines("device.unknown") if phone(STRANGER) in line]) == 1


def test_a_device_that_has_gone_again_is_delivered_too(strangers):
    cloud, gateway = strangers(listener="unknown = keep, settings { identifyBy = any }")
    with terminal(gateway) as t:
        for speed in (10, 20):
            t.report(speed=speed)
        wait_frames(gateway, 2)
    identity(gateway, "add", phone(STRANGER), PK, device_name(STRANGER), text=secret(STRANGER))
    gateway.wait_stat("pending.delivered", 2)
    assert order(cloud, STRANGER, 2) == [1, 2]
    gateway.wait_gauge("bridge.devices_attached", 0)
    assert gateway.stats()["pending.lost"] == 0 and gateway.stats()["bridge.settles_late"] == 0


def test_log_ins_are_kept_silently_and_the_next_one_is_accepted(strangers):
    """The default way: a terminal is let in by its log-in only, before and after it is added."""
    cloud, gateway = strangers(listener="unknown = keep")
    with terminal(gateway) as t:
        knock(t)
        wait_frames(gateway, 1)
        t.report(speed=10)
        wait_frames(gateway, 2)
        add(gateway)
        gateway.wait_stat("pending.delivered", 2)
        assert t.report_acked(speed=90) == 1  # the number alone lets nobody in
        assert not gateway.device(STRANGER).get("connected")
        t.log_in()
        assert t.report_acked(speed=20) == 0
        assert order(cloud, STRANGER, 2)[:2] == [1, 2]


def test_kept_records_have_the_time_of_their_arrival(strangers):
    """A position without a time of its own: the one at which it came counts, not the one at which it was delivered."""
    cloud, gateway = strangers()
    before = time.time() * 1000
    with terminal(gateway) as t:
        t.send(0x0200, location(speed=10)[:22] + bytes(6))
        wait_frames(gateway, 1)
        after = time.time() * 1000
        wait_until(lambda: time.time() * 1000 > after + 1500, "time to pass")
        add(gateway)
        gateway.wait_stat("pending.delivered")
    assert order(cloud, STRANGER, 1) == [1]
    assert before - 1 <= values(cloud, STRANGER)[0][1] <= after


def test_an_http_source_that_learns_of_it_is_asked_with_the_next_frame(strangers, inventory):
    cloud, gateway = strangers(extra=http_settings(inventory, keepUnknown="0s"))
    with terminal(gateway) as t:
        for speed in (10, 20):
            t.report(speed=speed)
        wait_frames(gateway, 2)
        inventory.add(STRANGER)
        assert t.report_acked(speed=30) == 0  # behind those that were kept
        assert order(cloud, STRANGER, 3) == [1, 2, 3]


def test_while_the_platform_is_away_they_stay_and_nothing_is_acknowledged(strangers, start_cloud):
    cloud, gateway = strangers()
    with terminal(gateway) as t:
        t.report(speed=10)
        wait_frames(gateway, 1)
        cloud.process.popen.send_signal(signal.SIGSTOP)
        try:
            add(gateway)
            wait_until(lambda: listed(gateway)[phone(STRANGER)]["delivering"] == 1, "the frame on its way")
            assert gateway.stats()["pending.frames"] == 1 and gateway.stats()["pending.delivered"] == 0
            serial = t.report(speed=20)
        finally:
            cloud.process.popen.send_signal(signal.SIGCONT)
        assert t.expect_ack(serial, 0x0200) in (0, 1)  # 1: not yet, after ackTimeout
        gateway.wait_stat("pending.delivered")
        assert order(cloud, STRANGER, 2) == [1, 2]


def test_limits_of_one_identity_and_of_all(strangers):
    _, gateway = strangers(extra="pending { frames = 5, bytes = 64KiB }")
    with terminal(gateway) as t:
        for speed in range(10, 90, 10):
            t.report(speed=speed)
        gateway.wait_stat("pending.dropped", 3)
        entry = listed(gateway)[phone(STRANGER)]
        assert entry["frames"] == 5 and entry["dropped"] == 3
        shown = json.loads(gateway.cli("pending", "show", phone(STRANGER), "--json", "--plugin-dir", BUILD / "plugins").stdout)
        assert [f["decoded"]["fields"]["speed_kmh"] for f in shown] == [4, 5, 6, 7, 8]  # the oldest went
        others = [terminal(gateway, i) for i in range(2, 400)]
        for other in others:
            other.report(speed=1)
        wait_until(lambda: gateway.stats()["pending.kept"] == 8 + len(others), "all frames")
        assert gateway.stats()["pending.bytes"] <= 65536
        assert phone(STRANGER) not in listed(gateway)  # was not heard of for longest
        assert phone(399) in listed(gateway)
        for other in others:
            other.close()
    assert gateway.log_lines("pending.dropped")


def test_they_are_kept_for_so_long(strangers):
    _, gateway = strangers(extra="pending.time = 1s")
    with terminal(gateway) as t:
        t.report(speed=10)
        gateway.wait_stat("pending.dropped")
    wait_until(lambda: listed(gateway) == {}, "an empty list")


def test_a_thousand_identities_are_listed_shown_and_dropped(strangers):
    _, gateway = strangers()
    for i in range(100, 1100):
        with terminal(gateway, i) as t:
            t.report(speed=10)
    wait_frames(gateway, 1000)
    lines = gateway.cli("pending", "list").stdout.splitlines()
    assert len(lines) == 1000 and len(listed(gateway)) == 1000
    assert gateway.stats()["pending.identities"] == 1000
    shown = gateway.cli("pending", "show", phone(100), "--plugin-dir", BUILD / "plugins").stdout
    assert "7e0200" in shown and '"speed_kmh":1' in shown
    assert gateway.cli("pending", "drop", phone(100)).stdout == "1 frames dropped\n"
    assert gateway.cli("pending", "drop", phone(100), check=False).returncode == 1
    assert gateway.cli("pending", "show", phone(100), check=False).returncode == 1
    assert gateway.cli("pending", "drop", "--all").stdout == "999 frames dropped\n"
    assert gateway.cli("pending", "drop", check=False).returncode == 2
    assert listed(gateway) == {} and gateway.stats()["pending.bytes"] == 0


def test_many_that_are_added_at_once_are_all_delivered(strangers):
    cloud, gateway = strangers(devices=200)
    open_ones = []
    for i in range(1, 200):
        t = terminal(gateway, i)
        for speed in (10, 20):
            t.report(speed=speed)
        if i % 2:
            t.close()
        else:
            open_ones.append((i, t))
    wait_frames(gateway, 398)
    add(gateway, 200)
    gateway.wait_stat("pending.delivered", 398)
    for i, t in open_ones[:20]:
        wait_until(lambda i=i: gateway.device(i).get("connected"), f"device {i} to be let in")
        assert t.report_acked(speed=30) == 0
        assert order(cloud, i, 3) == [1, 2, 3]
    for _, t in open_ones:
        t.close()
    assert gateway.stats()["pending.lost"] == 0 and gateway.stats()["pending.dropped"] == 0


def test_a_full_lane_holds_the_replay_and_loses_nothing(strangers):
    cloud, gateway = strangers(upstream="queueBytesPerDevice = 4KiB", rates="ratePerDeviceQos1 = 20")
    with terminal(gateway) as t:
        for n in range(40):
            t.report(speed=10 * (n + 1))
        wait_frames(gateway, 40)
    add(gateway)
    gateway.wait_stat("pending.delivered", 40)
    assert gateway.stats()["bridge.records_busy"] > 0
    assert order(cloud, STRANGER, 40) == list(range(1, 41))


def test_the_listener_may_go_and_a_stop_says_what_is_lost(strangers):
    """Frames outlive their listener; they are in memory only, and the log says so."""
    cloud, gateway = strangers(listeners=f'{{ name = other, protocol = jt808, address = "127.0.0.1:0", {KEEP} }}')
    for i in (1, 2):
        with Terminal(gateway.process.ready["listeners"]["other"], phone(i)) as t:
            t.report(speed=10)
    wait_frames(gateway, 2)
    gateway.write_config(listeners="")
    add(gateway, 2)
    gateway.wait_stat("pending.delivered")
    assert order(cloud, 1, 1) == [1]
    assert list(listed(gateway)) == [phone(2)]
    gateway.process.popen.send_signal(signal.SIGTERM)
    assert gateway.process.popen.wait(60) == 0
    assert "frames=1" in gateway.log_lines("pending.lost")[0]


def test_a_line_of_text_is_kept_with_its_login(strangers):
    """The skeleton, whose readings do not say whose they are: they follow their login."""
    cloud, gateway = strangers(listeners='{ name = meters, protocol = skeleton, address = "127.0.0.1:0", unknown = keep }')
    host, port = gateway.process.ready["listeners"]["meters"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as s:
        lines = s.makefile("r")
        s.sendall(f"login,{phone(STRANGER)}\ntemp,21.5\ntemp,22.5\n".encode())
        wait_frames(gateway, 3)
        add(gateway)
        gateway.wait_stat("pending.delivered", 3)
        assert lines.readline() == "ok,login\n"  # the live session has its device
        s.sendall(b"temp,23.5\n")
        assert lines.readline() == "ok,temp\n"
        lines.close()
    wait_until(lambda: cloud.device(PK, device_name(STRANGER))["reported"]["Temperature"]["value"] == 23.5, "the last reading")
