"""Upstreams and routes come, go and change with a reload, while devices report: nobody is disconnected, nothing lost or overtaken.

covers: J01 M16
"""
import shutil
import signal
import threading

import pytest
from conftest import wait_until
from gw import GW, PK, ask, cloud_conf, device_name, phone, secret, start_gateway  # noqa: F401
from test_gateway_delivery import heartbeat, online, speeds
from test_mosquitto import Mosquitto
from test_upstream_broker import Watcher
from test_upstream_mqtt import endpoint

DELIVERED = "ack = delivered, requireOnline = true"
TWIN = "gw-0002"


def stock(name=GW[1], **changes):
    return cloud_conf(3, **changes).replace(f"deviceName = {GW[1]}", f"deviceName = {name}")


class World:
    """Two platforms with the same devices; the second knows the gateway by another name unless told otherwise."""

    def __init__(self, start_cloud, start_gateway, **options):
        self.first = start_cloud(stock())
        self.second = start_cloud(stock(TWIN), name="second")
        self.gateway = start_gateway(self.first, listener=DELIVERED, **options).wait_up()

    def endpoint(self, cloud):
        return f"tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}"

    def lead_to_second(self, name="cloud"):
        """The gateway's own upstream, or one beside it, is at the second platform."""
        return (f'{name} {{ endpoint = "{self.endpoint(self.second)}", retryMin = 100ms, retryMax = 1s, ratePerDeviceQos1 = 0'
                f', bridges = [ {{ productKey = {GW[0]}, deviceName = {TWIN}, deviceSecret = {secret("gw")} }} ] }}')

    def add_second(self, routes):
        self.gateway.write_config(extra=f"upstreams {{ {self.lead_to_second('other')} }}\nroutes = {routes}")

    def replace(self):
        self.gateway.write_config()
        text = self.gateway.config.read_text()
        start = text.index("upstreams {")
        end = text.index("} }", start) + 3
        self.gateway.config.write_text(text[:start] + f"upstreams {{ {self.lead_to_second()} }}" + text[end:])

    def settled(self, times=1):
        wait_until(lambda: len(self.gateway.log_lines("daemon.upstreams_settled")) >= times, "all devices to have moved")


@pytest.fixture
def two(start_cloud, start_gateway):
    return lambda **options: World(start_cloud, start_gateway, **options)


class Reporter(threading.Thread):
    """A terminal that reports 1, 2, 3 .. and waits for each answer."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal, self.sent, self.results, self.stopping = terminal, 0, [], False
        self.start()

    def run(self):
        while not self.stopping:
            self.sent += 1
            self.results.append(self.terminal.report_acked(speed=self.sent))

    def reach(self, more=20):
        target = self.sent + more
        wait_until(lambda: len(self.results) >= target, f"{target} answers")

    def stop(self):
        self.stopping = True
        self.join()
        assert len(self.results) == self.sent
        return self.sent


def whole(first, second, i, sent):
    """Each report is at one of the platforms, in order, the first platform's before the second's. Twice is allowed, lost is not."""
    a, b = ([s for s, _ in speeds(cloud, i)] for cloud in (first, second))
    assert sorted(set(a + b)) == list(range(1, sent + 1))
    assert a == sorted(a) and b == sorted(b)
    if a and b:
        assert a[-1] <= b[0]
    return a, b


def command_answered(cloud, t, meanwhile=lambda: None):
    """Set a property of device 0; its terminal agrees."""
    last = f"/{PK}/{device_name(0)}/user/#"
    wait_until(lambda: last in cloud.device(PK, device_name(0)).get("subscriptions", []), "the subscription")
    answer = ask(cloud, 0, "/properties", {"HeartbeatInterval": 77})
    command = t.receive()
    meanwhile()
    t.send(0x0001, command.serial.to_bytes(2, "big") + command.id.to_bytes(2, "big") + b"\0")
    assert answer()[1]["reply"]["code"] == 200


def test_a_changed_endpoint_moves_all_devices_without_a_disconnect(two):
    w = two()
    terminals = online(w.first, w.gateway, 3)
    reporters = [Reporter(t) for t in terminals]
    for r in reporters:
        r.reach()
    w.replace()
    assert "upstreams: 0 added, 0 removed, 1 changed; 3 devices move" in w.gateway.reload()
    w.settled()
    for r in reporters:
        r.reach()
    for i, r in enumerate(reporters):
        sent = r.stop()
        assert set(r.results) == {0}
        a, b = whole(w.first, w.second, i, sent)
        assert a and b and len(a) + len(b) == sent
        assert w.first.device(PK, device_name(i))["status"] == "OFFLINE"
        assert w.second.device(PK, device_name(i))["status"] == "ONLINE"
    stats = w.gateway.stats()
    assert stats["net.closed"] == 0 and stats["bridge.devices_moved"] == 3 and stats["bridge.records_lost"] == 0
    assert stats["upstream.up"] == 1 and stats["bridge.devices_online"] == 3
    command_answered(w.second, terminals[0])
    for t in terminals:
        t.close()


def test_the_same_bridge_is_never_connected_twice(two):
    """The new connection would make the platform end the old one before that has delivered what it has."""
    w = two()
    [t] = online(w.first, w.gateway)
    r = Reporter(t)
    r.reach()
    w.gateway.write_config(upstream="keepAlive = 200s")
    assert "1 changed" in w.gateway.reload()
    w.settled()
    r.reach()
    sent = r.stop()
    assert [s for s, _ in speeds(w.first, 0)] == list(range(1, sent + 1))
    assert set(r.results) == {0}
    assert w.gateway.log_lines("upstream.down") == []
    assert w.gateway.stats()["net.closed"] == 0
    t.close()


def test_an_upstream_is_added_and_a_route_moves_one_device_only(two):
    w = two()
    terminals = online(w.first, w.gateway, 2)
    reporters = [Reporter(t) for t in terminals]
    w.add_second(f'[ {{ identity = "{phone(1)}", upstream = other }}, {{ upstream = cloud }} ]')
    for r in reporters:
        r.reach()
    assert "upstreams: 1 added, 0 removed, 0 changed; 1 devices move" in w.gateway.reload()
    w.settled()
    for r in reporters:
        r.reach()
    counts = [r.stop() for r in reporters]
    assert [set(r.results) for r in reporters] == [{0}, {0}]
    a, b = whole(w.first, w.second, 0, counts[0])
    assert b == [] and len(a) == counts[0]
    a, b = whole(w.first, w.second, 1, counts[1])
    assert a and b and len(a) + len(b) == counts[1]
    assert w.gateway.stats()["bridge.devices_moved"] == 1
    offline = [line for line in w.gateway.log_lines("device.offline") if phone(0) in line]
    assert offline == []
    # and back: the upstream goes, and with it its route
    w.gateway.write_config(extra="")
    assert "upstreams: 0 added, 1 removed, 0 changed; 1 devices move" in w.gateway.reload()
    w.settled(2)
    assert "other" in w.gateway.log_lines("upstream.gone")[0]
    assert [u["name"] for u in w.gateway.status()["upstreams"]] == ["cloud"]
    for i, t in enumerate(terminals):
        assert t.report_acked(speed=counts[i] + 1) == 0
        assert speeds(w.first, i)[-1][0] == counts[i] + 1
    assert w.gateway.stats()["net.closed"] == 0
    for t in terminals:
        t.close()


def test_what_a_dead_platform_did_not_take_is_carried_over(two):
    """covers: M28"""
    w = two(extra="stopTimeout = 500ms", upstream="ackTimeout = 60s")
    [t] = online(w.first, w.gateway)
    assert t.report_acked(speed=1) == 0
    w.first.process.kill()
    wait_until(lambda: not w.gateway.status()["upstreams"][0]["up"], "the loss to be noticed")
    serials = [t.report(speed=s) for s in range(2, 12)]
    heartbeat(t)
    w.gateway.wait_gauge("lane.queued_records", 10)
    w.replace()
    w.gateway.config.write_text(w.gateway.config.read_text() + "\nstopTimeout = 500ms\n")
    w.gateway.reload()
    serials += [t.report(speed=s) for s in range(12, 15)]
    for serial in serials:
        assert t.expect_ack(serial, 0x0200) == 0
    assert [s for s, _ in speeds(w.second, 0)] == list(range(2, 15))
    assert w.gateway.stats()["bridge.records_lost"] == 0
    w.gateway.wait_gauge("lane.queued_records", 0)
    assert w.gateway.stats()["lane.queued_bytes"] == 0
    t.close()


def test_a_bad_file_changes_nothing(two):
    w = two()
    [t] = online(w.first, w.gateway)
    good = w.gateway.config.read_text()
    for bad, said in (("upstreams { more { type = mqtt, endpoint = \"nonsense\" } }", "endpoint"),
                      ("routes = [ { upstream = nowhere } ]", "nowhere"),
                      (f"upstreams {{ {w.lead_to_second('other')} }}\nlisteners = ${{listeners}} [ {{ name = b, protocol = jt808, address = \"192.0.2.1:1\" }} ]", "192.0.2.1")):
        w.gateway.config.write_text(good + "\n" + bad + "\n")
        done = w.gateway.cli("reload", check=False)
        assert done.returncode != 0 and "nothing changed" in done.stdout + done.stderr and said in done.stdout + done.stderr
        assert [u["name"] for u in w.gateway.status()["upstreams"]] == ["cloud"]
        assert t.report_acked() == 0
    assert w.gateway.log_lines("upstream.leaving") == []
    assert w.gateway.stats()["bridge.devices_moved"] == 0
    t.close()


def test_a_product_goes_to_a_broker(two, tmp_path):
    if not shutil.which("mosquitto") and not shutil.which("/usr/sbin/mosquitto"):
        pytest.skip("no mosquitto")
    w = two()
    mosquitto = Mosquitto(tmp_path)
    watcher = Watcher(mosquitto)
    try:
        terminals = online(w.first, w.gateway, 2)
        reporters = [Reporter(t) for t in terminals]
        for r in reporters:
            r.reach()
        w.gateway.write_config(extra=f'upstreams {{ site {{ type = broker, endpoint = "tcp://127.0.0.1:{mosquitto.port}" }} }}\n'
                                     f'routes = [ {{ productKey = {PK}, upstream = site }} ]')
        assert "1 added, 0 removed, 0 changed; 2 devices move" in w.gateway.reload()
        w.settled()
        for r in reporters:
            r.reach()
        counts = [r.stop() for r in reporters]
        assert [set(r.results) for r in reporters] == [{0}, {0}]
        for i, sent in enumerate(counts):
            there = [s for s, _ in speeds(w.first, i)]
            assert there == list(range(1, len(there) + 1)) and 0 < len(there) < sent
        for t in terminals:
            t.close()
        assert w.gateway.stats()["bridge.records_lost"] == 0
    finally:
        watcher.close()
        mosquitto.stop()


def test_a_command_under_way_is_answered_over_the_way_it_came(two):
    """covers: M33"""
    w = two()
    [t] = online(w.first, w.gateway)
    w.replace()
    command_answered(w.first, t, meanwhile=w.gateway.reload)
    w.settled()
    w.second.wait_status(PK, device_name(0), "ONLINE")
    command_answered(w.second, t)
    t.close()


def test_a_renewed_certificate_makes_the_connection_anew(start_cloud, start_gateway, tmp_path):
    """covers: M16"""
    cloud = start_cloud(cloud_conf(1))
    ca = tmp_path / "ca.pem"
    shutil.copy(cloud.ca, ca)
    gateway = start_gateway(cloud, listener=DELIVERED, endpoint=endpoint(cloud, "ssl"), extra=f'ca = "{ca}"').wait_up()
    [t] = online(cloud, gateway)
    assert "upstreams" not in gateway.reload()
    ca.write_text(ca.read_text() + "\n" + ca.read_text())
    assert "upstreams: 0 added, 0 removed, 1 changed; 1 devices move" in gateway.reload()
    assert t.report_acked(speed=5) == 0
    t.close()
    assert gateway.stats()["bridge.records_lost"] == 0


def test_reloads_one_after_the_other_and_a_stop_in_between(two):
    w = two()
    terminals = online(w.first, w.gateway, 3)
    reporters = [Reporter(t) for t in terminals]
    for n in range(6):
        if n % 2 == 0:
            w.replace()
        else:
            w.gateway.write_config()
        before = len(w.gateway.log_lines("daemon.upstreams_settled"))
        w.gateway.process.popen.send_signal(signal.SIGHUP)
        w.settled(before + 1)
        for r in reporters:
            r.reach(3)
    counts = [r.stop() for r in reporters]
    for i, r in enumerate(reporters):
        assert set(r.results) == {0}
        got = [s for s, _ in speeds(w.first, i)] + [s for s, _ in speeds(w.second, i)]
        assert sorted(set(got)) == list(range(1, counts[i] + 1))
    assert w.gateway.stats()["net.closed"] == 0
    w.replace()
    w.gateway.process.popen.send_signal(signal.SIGHUP)
    w.gateway.wait_log("upstream.leaving")
    w.gateway.process.stop()
    for t in terminals:
        t.close()
