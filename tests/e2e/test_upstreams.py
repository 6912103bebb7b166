"""One suite for all kinds of upstreams: what a device and an operator may expect whatever the way to the platform is.

Cases know no kind by name: upstreams.py says how each is configured and what it cannot have. Devices speak the probe
plugin's lines, records are acknowledged with ack = delivered, so every answer here says what the platform has confirmed.
covers: L06 L07 M25 M26 M28 M29 J03
"""
import json
import shutil
import signal
import threading
import time

import pytest
from conftest import BUILD, ROOT, wait_until
from gw import PK, ask, cloud_conf, device_name, devices_conf, phone, secret, start_gateway  # noqa: F401
from test_gateway_records import Probe, record
from test_mosquitto import Mosquitto
from test_upstream_broker import Watcher
from test_upstream_broker import topic as site_topic
from upstreams import CANNOT, KINDS, POST, kinds_of_the_gateway, documented_table

DONE, PENDING, REFUSED = 0, 1, 2


def now_ms():
    return int(time.time() * 1000)


class Device(Probe):
    """A device with its own numbers: it emits properties N = 0, 1, 2 .., and keeps every line it was told."""

    def __init__(self, address):
        self.seen = []
        self.next = 0
        super().__init__(address)

    def line(self):
        self.seen.append(super().line())
        return self.seen[-1]

    def emit(self, count=1):
        """Emit records without waiting for their answers; their numbers."""
        numbers = range(self.next, self.next + count)
        for n in numbers:
            self.tell(f"E {n + 1} " + record(1, {"N": n}, time=now_ms()))
        self.next += count
        return list(numbers)

    def answers(self, n):
        """What it was told about record n, so far."""
        return [int(s.split()[2]) for s in self.seen if s.startswith(f"settled {n + 1} ")]

    def settled(self, numbers, code=DONE):
        """Wait until each of these records is settled for good; then each was settled once, so."""
        while not all(any(a != PENDING for a in self.answers(n)) for n in numbers):
            self.line()
        assert [[a for a in self.answers(n) if a != PENDING] for n in numbers] == [[code]] * len(numbers)

    def report(self, count=1):
        self.settled(self.emit(count))


class Emulator:
    """The platform's side of a case, played by causeway-cloud."""

    REST = {"property": "thing/event/property/post", "event": "thing/event/Overheat/post", "tag": "thing/deviceinfo/update"}

    def __init__(self, kind, start_cloud):
        self.kind = kind
        self.cloud = start_cloud(cloud_conf(3, node=kind.node, listeners=kind.listeners))
        self.addresses = {k: v.replace("127.0.0.1", "localhost") if kind.ca else v for k, v in self.cloud.process.ready.items()
                          if isinstance(v, str)}
        self.ca = f'ca = "{self.cloud.ca}"\n' if kind.ca else ""

    def wait_status(self, i, status):
        self.cloud.wait_status(PK, device_name(i), status)

    def payloads(self, i, what):
        topic = f"/{PK}/{device_name(i)}/user/update" if what == "raw" else f"/sys/{PK}/{device_name(i)}/{self.REST[what]}"
        return [m["payload"] for m in self.cloud.messages(topic=topic, direction="up", limit=500000) if m["outcome"] == "taken"]

    def command(self, i, properties, twice=False):
        """Set properties; the returned function waits for the code of the answer."""
        if self.kind.subscribes:  # online comes first; what has no subscription is not sent
            last = f"/{PK}/{device_name(i)}/user/#"
            wait_until(lambda: last in self.cloud.device(PK, device_name(i)).get("subscriptions", []), f"{last} to be subscribed")
        if self.kind.fetched:
            path = f"{PK}/{device_name(i)}"
            self.cloud.post(f"/devices/{path}/properties", properties, query={"async": 1})
            return lambda: json.loads(self.cloud.wait_message(
                topic=f"/sys/{path}/thing/service/property/set_reply", direction="up")["payload"])["code"]
        if twice:
            self.cloud.fault("duplicate", direction="down", topic="/sys/+/+/thing/service/property/set", count=1)
        join = ask(self.cloud, i, "/properties", properties)
        return lambda: join()[1]["reply"]["code"]

    def stall(self):
        """The returned function ends it."""
        fault = self.cloud.fault("stall")
        return lambda: self.cloud.delete(f"/faults/{fault['id']}")

    def kill(self):
        self.cloud.process.kill()

    def start(self, gateway):
        self.cloud.start()

    def end(self):
        pass


class Broker:
    """The same, played by Mosquitto and a client of it."""

    ca = ""

    def __init__(self, dir):
        self.mosquitto = Mosquitto(dir)
        self.turns = 0
        self.addresses = {"broker": f"127.0.0.1:{self.mosquitto.port}"}
        self.watch()

    def watch(self):
        self.watcher = Watcher(self.mosquitto)

    def wait_status(self, i, status):
        self.watcher.wait_last(site_topic(i, "state"), status.lower().encode())

    def payloads(self, i, what):
        self.turns += 1  # what the broker took before it took this has been handed on before this
        self.watcher.say(f"turn/{self.turns}", b"")
        self.watcher.wait(f"turn/{self.turns}")
        return [p.decode("utf-8", "replace") for p in self.watcher.of(site_topic(i, what))]

    def command(self, i, properties, twice=False):
        for _ in range(2 if twice else 1):
            self.watcher.say(site_topic(i, "command", "set"), json.dumps({"id": "4711", "params": properties}))
        return lambda: json.loads(self.watcher.wait(site_topic(i, "reply", "set")))["code"]

    def stall(self):
        self.mosquitto.process.signal(signal.SIGSTOP)
        return lambda: self.mosquitto.process.signal(signal.SIGCONT)

    def kill(self):
        self.watcher.close()
        self.mosquitto.process.kill()

    def start(self, gateway):
        """The watcher has to be there before the gateway is: Mosquitto keeps nothing for who is away."""
        gateway.process.signal(signal.SIGSTOP)
        assert self.mosquitto.start()
        self.watch()
        gateway.process.signal(signal.SIGCONT)

    def end(self):
        self.mosquitto.process.signal(signal.SIGCONT)
        self.watcher.close()
        self.mosquitto.stop()


class World:
    def __init__(self, name, platform, gateway):
        self.name, self.kind, self.platform, self.gateway = name, KINDS[name], platform, gateway
        self.cloud = getattr(platform, "cloud", None)  # for what only the emulator can do

    def connect(self, i=0, online=True):
        device = Device(self.gateway.process.ready["listeners"]["probes"])
        device.tell(f"I {phone(i)}")
        if online:
            device.until("online")
        return device

    def messages(self, i=0):
        """(N, id) of each property post of device i that the platform took, in its order."""
        got = [json.loads(p) for p in self.platform.payloads(i, "property")]
        return [(m["params"]["N"]["value"], m["id"]) for m in got if "N" in m["params"]]

    def arrived(self, i=0):
        """The numbers that arrived, each once, in the order of their first arrival; a repeat has the id of the first."""
        ids = {}
        for n, id in self.messages(i):
            assert ids.setdefault(n, id) == id
        return list(ids)


@pytest.fixture
def world(start_cloud, start_gateway, tmp_path):
    """world(kind, "ackTimeout = 2s") -> World with the upstream up."""
    platforms = []

    def start(name, upstream="", extra=""):
        kind = KINDS[name]
        plugins = tmp_path / "plugins"
        plugins.mkdir()
        for source in (BUILD / "tests" / "plugins" / "probe.so", BUILD / "plugins" / "jt808.so"):
            shutil.copy(source, plugins)
        platforms.append(Broker(tmp_path) if kind.platform == "mosquitto" else Emulator(kind, start_cloud))
        platform = platforms[-1]
        gateway = start_gateway(getattr(platform, "cloud", None), rates=kind.rates, endpoint="unused",
                                upstream=kind.upstream.format(**platform.addresses) + "\n" + upstream, extra=f"""
{platform.ca}pluginDir = "{plugins}"
listeners += {{ name = probes, protocol = probe, address = "127.0.0.1:0", ack = delivered, settings {{ speed = 9 }} }}
{extra}""")
        return World(name, platform, gateway.wait_up())
    yield start
    for platform in platforms:
        platform.end()


def conforms(test):
    """A case of the suite: for every kind that has it."""
    case = test.__name__.removeprefix("test_")
    return pytest.mark.parametrize("kind", [k for k in KINDS if (k, case) not in CANNOT])(test)


# ---- the suite itself ---------------------------------------------------------------------------

def test_every_kind_is_in_the_suite():
    """covers: L06"""
    assert sorted(kinds_of_the_gateway()) == sorted(KINDS)
    cases = {name.removeprefix("test_") for name, test in globals().items()
             if any(m.name == "parametrize" for m in getattr(test, "pytestmark", []))}
    assert len(cases) >= 14
    for (kind, case), why in CANNOT.items():
        assert kind in KINDS and case in cases and len(why) > 20, (kind, case)


def test_the_documentation_prints_what_kinds_cannot():
    assert documented_table() in (ROOT / "README.md").read_text()


# ---- devices ------------------------------------------------------------------------------------

@conforms
def test_a_device_comes_online(world, kind):
    w = world(kind)
    with w.connect() as d:
        d.report()
        w.platform.wait_status(0, "ONLINE")
        assert w.gateway.device(0)["state"] == "online"
        assert w.gateway.status()["upstreams"][0]["devicesOnline"] == 1


@conforms
def test_a_device_that_leaves_is_offline(world, kind):
    w = world(kind)
    with w.connect() as d, w.connect(1):
        d.report()
        w.platform.wait_status(0, "ONLINE")
    w.gateway.wait_state(0, "offline")
    w.platform.wait_status(0, "OFFLINE")


@conforms
def test_wrong_credentials_cost_only_their_device(world, kind):
    w = world(kind, "ackTimeout = 1s" if kind == "coap" else "")  # a wrong key of DTLS shows only in silence
    w.gateway.devices.write_text(devices_conf(3).replace(secret(1), "0" * 32))
    w.gateway.reload()
    with w.connect() as d, w.connect(1, online=False) as stranger, w.connect(2) as other:
        w.gateway.wait_state(1, "refused")
        assert w.gateway.device(1)["lastCode"] == w.kind.secret_code
        stranger.emit()
        d.report()
        other.report()
        assert stranger.answers(0) == [] and w.arrived(1) == []
        assert w.gateway.stats()["upstream.logins_refused"] >= 1
        w.gateway.wait_log("device.refused")


@conforms
def test_a_kicked_device_comes_back(world, kind):
    w = world(kind)
    with w.connect() as d, w.connect(1) as other:
        d.report()
        w.cloud.fault("kick", device=f"{PK}/{device_name(0)}")
        d.report()
        other.report()
        w.gateway.wait_stat("upstream.kicked", 1)
        assert w.arrived() == [0, 1]
        w.platform.wait_status(0, "ONLINE")


# ---- records ------------------------------------------------------------------------------------

@conforms
def test_records_of_every_kind_arrive(world, kind):
    w = world(kind)
    with w.connect() as d:
        d.tell("E 1 " + record(1, {"Volt": (1230, -2), "Big": 2**53 + 1}, time=now_ms()))
        d.tell("E 2 " + record(2, {"Level": 3}, name="Overheat", event_type=3, time=now_ms()))
        d.tell("E 3 " + record(3, {"Colour": "red"}))
        d.tell("E 4 " + record(4, b"\x01own topic", name="user/update", qos=1))
        d.settled([0, 1, 2, 3])

    def payload(what):
        return wait_until(lambda: w.platform.payloads(0, what), what)[0]
    assert '"Volt":{"value":12.30' in payload("property") and "9007199254740993" in payload("property")
    assert json.loads(payload("event"))["params"]["value"] == {"Level": 3}
    assert json.loads(payload("tag"))["params"] == [{"attrKey": "Colour", "attrValue": "red"}]
    assert "own topic" in payload("raw")


@conforms
def test_a_refused_record_is_settled_as_refused(world, kind):
    w = world(kind, "confirm = reply")
    with w.connect() as d:
        w.cloud.fault("refuse", topic=POST, code=6332, count=1)
        d.settled(d.emit(), REFUSED)
        d.report()
        w.gateway.wait_log("record.refused")
        assert "code=6332" in w.gateway.log_lines("record.refused")[0]
        stats = w.gateway.stats()
        assert stats["bridge.records_refused"] == 1 and stats["upstream.replies_failed"] == 1


@conforms
def test_the_reply_to_a_request_comes_back_under_its_id(world, kind):
    w = world(kind)
    with w.connect() as d:
        d.tell("E 1 " + record(1, {"N": 0}, request="my-request", time=now_ms()))
        assert d.until("reply ").split()[1:3] == ["my-request", "200"]
        d.settled([0])


@conforms
def test_order_is_kept_and_nothing_is_sent_twice(world, kind):
    w = world(kind)
    with w.connect() as d, w.connect(1) as other:
        numbers, others = d.emit(60), other.emit(60)
        d.settled(numbers)
        other.settled(others)
        assert [n for n, _ in w.messages(0)] == numbers and [n for n, _ in w.messages(1)] == others


# ---- commands -----------------------------------------------------------------------------------

def answer_command(device, code=200):
    device.tell(f"A {device.until('command ').split()[1]} {code}")


@conforms
def test_a_command_is_answered(world, kind):
    w = world(kind)
    with w.connect() as d:
        code = w.platform.command(0, {"Light": 1})
        answer_command(d)
        assert code() == 200
        assert w.gateway.stats()["bridge.commands_answered"] == 1


@conforms
def test_a_repeated_command_runs_once(world, kind):
    w = world(kind)
    with w.connect() as d:
        code = w.platform.command(0, {"Light": 1}, twice=True)
        answer_command(d)
        assert code() == 200
        w.gateway.wait_stat("bridge.commands_repeated", 1)
        d.report()  # what it was told until now is all there is
        assert len([s for s in d.seen if s.startswith("command ")]) == 1


# ---- the platform away, slow, or odd --------------------------------------------------------------

@conforms
def test_a_platform_that_comes_back_gets_what_it_did_not_confirm(world, kind):
    w = world(kind)
    with w.connect() as d, w.connect(1) as other:
        d.report(5)
        w.platform.kill()
        numbers, others = d.emit(20), other.emit(20)
        wait_until(lambda: not w.gateway.status()["up"], "the upstream to go down")
        assert all(d.answers(n) == [] for n in numbers)
        w.platform.start(w.gateway)
        d.settled(numbers)
        other.settled(others)
        assert w.arrived(0) == numbers and w.arrived(1) == others  # what was acknowledged before does not come again
        stats = w.gateway.stats()
        assert stats["upstream.disconnects"] >= 1 and stats["bridge.records_lost"] == 0


@conforms
def test_a_stalled_platform_delays_only_its_answers(world, kind):
    w = world(kind, "ackTimeout = 1s")
    with w.connect() as d:
        resume = w.platform.stall()
        [n] = d.emit()
        assert d.until("settled") == f"settled {n + 1} {PENDING}"
        with w.connect(1, online=False) as other:
            other.until("identified ")  # another device is served meanwhile
        assert w.gateway.status()["upstreams"][0]["queuedRecords"] == 1
        resume()
        wait_until(lambda: w.arrived() == [n], "the record")
        d.report()
        assert w.arrived() == [n, n + 1] and d.answers(n) == [PENDING]  # told once: who sends it again is told then


@conforms
def test_a_platform_that_asks_for_less_gets_it_later(world, kind):
    w = world(kind, KINDS[kind].confirm_too_many)
    with w.connect() as d:
        w.cloud.fault(**w.kind.too_many, count=1)
        numbers = d.emit(3)
        d.settled(numbers)
        assert w.arrived() == numbers
        assert w.gateway.stats()["upstream.resent"] >= 1


@conforms
def test_a_cut_connection_costs_nothing(world, kind):
    w = world(kind, "ackTimeout = 20s")
    with w.connect() as d, w.connect(1) as other:
        w.cloud.fault("cut", topic=POST, direction="up", count=1)
        numbers, others = d.emit(10), other.emit(10)
        d.settled(numbers)
        other.settled(others)
        assert w.arrived(0) == numbers and w.arrived(1) == others


@conforms
def test_messages_that_arrive_twice_or_late_change_no_answer(world, kind):
    w = world(kind, "ackTimeout = 20s")
    with w.connect() as d:
        w.cloud.fault("duplicate", topic=POST, direction="up", count=3)
        numbers = d.emit(6)
        d.settled(numbers)
        w.cloud.fault("reorder", topic=POST, direction="up", count=1)
        more = d.emit(6)
        d.settled(more)
        assert sorted(w.arrived()) == numbers + more


# ---- stopping, counting ---------------------------------------------------------------------------

@conforms
def test_a_stop_in_the_middle_loses_nothing_acknowledged(world, kind):
    w = world(kind)
    with w.connect() as d, w.connect(1) as other:
        stop = threading.Thread(target=w.gateway.process.stop)
        d.report(20)
        d.emit(100)
        other.emit(100)
        stop.start()
        for device in (d, other):
            with pytest.raises((AssertionError, ConnectionError)):
                while True:
                    device.line()
        stop.join()
        assert w.gateway.process.popen is None
        for i, device in enumerate((d, other)):
            acknowledged = [n for n in range(device.next) if device.answers(n) == [DONE]]
            arrived = w.arrived(i)
            assert set(acknowledged) <= set(arrived) and arrived == sorted(arrived)


@conforms
def test_a_stop_while_the_platform_is_stalled_ends(world, kind):
    w = world(kind, extra="stopTimeout = 500ms")
    with w.connect() as d:
        w.platform.stall()
        d.emit(5)
        w.gateway.process.stop()
        assert "daemon.stopped" in w.gateway.process.stderr()


@conforms
def test_counters_say_what_happened(world, kind):
    w = world(kind)
    with w.connect() as d:
        d.report(3)
        stats = w.gateway.stats()
        expected = {"upstream.up": 1, "upstream.connects": 1, "upstream.disconnects": 0, "upstream.connect_failed": 0,
                    "upstream.logins": w.kind.logins, "upstream.logins_refused": 0, "upstream.published": 3, "upstream.confirmed": 3,
                    "upstream.resent": 0, "upstream.kicked": 0, "bridge.records_delivered": 3, "bridge.records_refused": 0,
                    "lane.queued_records": 0, "lane.queued_bytes": 0, "lane.in_flight": 0, "bridge.devices_online": 1}
        assert {k: stats[k] for k in expected} == expected
