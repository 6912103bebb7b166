"""Stops in the middle of things: what was acknowledged is at the platform, whatever happens to the rest."""
import signal
import struct
import threading

from conftest import wait_until
from gw import GW, PK, device_name, start_gateway, world  # noqa: F401
from terminal import Closed
from test_gateway_delivery import online, speeds


class Reporter(threading.Thread):
    """Reports as fast as its window of unanswered reports allows, until the connection ends; keeps what was acknowledged."""

    def __init__(self, terminal, window=50):
        super().__init__()
        self.terminal, self.window = terminal, window
        self.acknowledged = []

    def run(self):
        sent = {}
        n = 0
        try:
            while n < 60000:
                while len(sent) < self.window:
                    sent[self.terminal.report(speed=n)] = n
                    n += 1
                message = self.terminal.receive_id(0x8001)
                serial, _, result = struct.unpack(">HHB", message.body[:5])
                speed = sent.pop(serial)
                if result == 0:
                    self.acknowledged.append(speed)
        except (Closed, OSError):
            pass


def report_until_stopped(cloud, gateway, stop):
    """Two terminals report, `stop` strikes; returns for each what was acknowledged and what the platform has."""
    terminals = online(cloud, gateway, 2)
    reporters = [Reporter(t) for t in terminals]
    for r in reporters:
        r.start()
    wait_until(lambda: all(len(r.acknowledged) > 200 for r in reporters), "traffic")
    stop()
    for r in reporters:
        r.join()
        r.terminal.close()
    return [(r.acknowledged, [s for s, _ in speeds(cloud, i)]) for i, r in enumerate(reporters)]


def test_a_stop_during_traffic_loses_nothing_that_was_acknowledged(world):
    """covers: M25 M28"""
    cloud, gateway = world(devices=2)
    pairs = report_until_stopped(cloud, gateway, gateway.process.stop)
    for acknowledged, arrived in pairs:
        assert set(acknowledged) <= set(arrived)
        assert arrived == sorted(arrived)
    assert "recordsLost=0" in gateway.process.stderr()
    for i in range(2):
        cloud.wait_status(PK, device_name(i), "OFFLINE")
    cloud.wait_status(*GW, "OFFLINE")


def test_a_stop_while_the_platform_reads_slowly_loses_nothing_that_was_acknowledged(world):
    """covers: M25 M28 M33"""
    cloud, gateway = world(devices=2, upstream="queueBytes = 64KiB, queueBytesPerDevice = 32KiB, rate = 500")
    pairs = report_until_stopped(cloud, gateway, gateway.process.stop)
    for acknowledged, arrived in pairs:
        assert set(acknowledged) <= set(arrived)
    assert "recordsLost=0" in gateway.process.stderr()


def test_a_crash_during_traffic_loses_nothing_that_was_delivered(world):
    """covers: M28"""
    cloud, gateway = world(devices=2, listener="ack = delivered")
    pairs = report_until_stopped(cloud, gateway, gateway.process.kill)
    for acknowledged, arrived in pairs:
        assert set(acknowledged) <= set(arrived)
    cloud.wait_status(*GW, "OFFLINE")
    gateway.process.start()
    gateway.wait_up()


def test_a_stop_without_a_platform_ends_after_its_time(world):
    """covers: M25"""
    cloud, gateway = world(extra="stopTimeout = 1s")
    [t] = online(cloud, gateway)
    cloud.process.stop()
    wait_until(lambda: not gateway.status()["up"], "the upstream to go down")
    assert t.report_acked() == 0
    gateway.wait_stat("lane.queued_records", 1)
    gateway.process.stop()
    assert "recordsLost=1" in gateway.process.stderr()
    t.close()


def test_a_second_signal_ends_the_gateway_at_once(world):
    cloud, gateway = world(extra="stopTimeout = 10m")
    [t] = online(cloud, gateway)
    cloud.fault("stall")
    assert t.report_acked() == 0
    gateway.wait_stat("lane.queued_records", 1)
    gateway.process.signal(signal.SIGTERM)
    gateway.wait_log("daemon.stopping")
    assert gateway.process.running()
    gateway.process.signal(signal.SIGINT)
    assert gateway.process.wait() == 128 + signal.SIGINT
    t.close()
    gateway.process.popen = None
    cloud.delete("/faults")


def test_a_stop_with_terminals_in_every_state_of_logging_in_ends(world):
    """covers: M25"""
    cloud, gateway = world(devices=3, listener="requireOnline = true", extra="stopTimeout = 1s")
    fault = cloud.fault("reply", topic="/ext/session/#")
    terminals = [gateway.terminal(i) for i in (0, 0, 0, 1, 2, 2)]
    for t in terminals:
        assert t.register() == 0
        t.send(0x0102, t.code)
    gateway.wait_stat("bridge.superseded", 2)
    strangers = [gateway.raw() for _ in range(3)]
    strangers[0].sendall(b"\x7e\x00")
    gateway.process.stop()
    for t in [*terminals, *strangers]:
        t.close()
    cloud.delete(f"/faults/{fault['id']}")


def test_a_stop_during_a_reload_waits_for_it(world):
    """covers: M25"""
    cloud, gateway = world()
    with open(gateway.devices, "a") as f:  # large enough that reading it takes a while
        for n in range(60000):
            f.write(f"199{n:08d} {{ productKey : {PK}, deviceName : many-{n}, deviceSecret : {n:032d} }}\n")
    gateway.process.signal(signal.SIGHUP)
    gateway.process.stop()
    assert "daemon.stopped" in gateway.process.stderr()


def test_a_change_during_a_reload_is_not_overlooked(world):
    """covers: M16"""
    _, gateway = world()
    whole = gateway.devices.read_text()
    many = "".join(f"199{n:08d} {{ productKey : {PK}, deviceName : many-{n}, deviceSecret : {n:032d} }}\n" for n in range(60000))
    gateway.devices.write_text(whole + many)
    gateway.process.signal(signal.SIGHUP)
    gateway.devices.write_text(whole + many + f"18800000000 {{ productKey : {PK}, deviceName : last-one, deviceSecret : {1:032d} }}\n")
    gateway.process.signal(signal.SIGHUP)
    wait_until(lambda: gateway.stats()["bridge.devices_known"] == 60004, "the last entry")
