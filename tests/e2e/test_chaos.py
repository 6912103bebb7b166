"""Every way up under a storm of faults: what devices are told stays true, and told once.

A run is told by its kind and seed, but no two are alike: `./dev check storm` blows (CW_CHAOS_SECONDS, CW_CHAOS_SEEDS, a list), the suite does not.
covers: J03 L07 M28 M29
"""
import json
import os
import random
import shutil
import signal
import threading
import time

import pytest
from chaos import DONE, LOST, PENDING, Pipe, REFUSED, Roamer, Storm, wait_settled
from conftest import BUILD, ROOT, wait_until
from gw import PK, cloud_conf, device_name, devices_conf, secret, start_gateway  # noqa: F401
from test_upstreams import Broker, Emulator, World
from upstreams import KINDS, Kind

SECONDS = float(os.environ.get("CW_CHAOS_SECONDS", "4"))
pytestmark = pytest.mark.skipif("CW_CHAOS_SECONDS" not in os.environ, reason="./dev check storm")
SEEDS = [int(s) for s in os.environ.get("CW_CHAOS_SEEDS", "1").split(",")]

COAP = Kind('type = coap, endpoint = "coap://{coap}", dtls = off, pull = 0s', "mqtt coap", node="device", rates="ratePerDeviceQos0 = 0")
COAPS = Kind('type = coap, endpoint = "coaps://{coaps}", dtls = psk, pull = 0s', "mqtt coaps", node="device", rates="ratePerDeviceQos0 = 0")
ALWAYS = ["freeze", "kill"]
PIPED = ["pipe_cut", "pipe_stall", "pipe_dribble", "pipe_refuse"]
FAULTS = ["puback", "reply", "delay", "delay_all", "duplicate", "reorder", "refuse", "throttle", "stall", "kick", "cut",
          "half_close"]
# The platform acknowledges what it then refuses (MQTT, HTTP/2) and a notice that is delayed behind an acknowledgement
# comes too late: neither can be asked of confirm = transport. A reply whose code was changed on its way is one with another code.
TRANSPORT = [f for f in FAULTS if f not in ("refuse", "delay_all")] + ["corrupt"]
# name: (kind, further settings, faults, the emulator's name of its channel, its own code for "not now", addresses behind pipes)
WAYS = {
    "mqtt-paho": (KINDS["mqtt"], "client = paho", TRANSPORT + PIPED + ["connack"], "mqtt", 0, ["mqtt"]),
    "mqtt-mosquitto": (KINDS["mqtt"], "client = mosquitto", TRANSPORT + PIPED + ["connack"], "mqtt", 0, ["mqtt"]),
    "mqtt-reply": (KINDS["mqtt"], "confirm = reply", FAULTS + PIPED + ["connack"], "mqtt", 0, ["mqtt"]),
    "mqtt-packs": (KINDS["mqtt"], "confirm = reply, packs { enabled = true }", FAULTS + PIPED + ["connack"], "mqtt", 0, ["mqtt"]),
    "http2": (KINDS["http2"], "", TRANSPORT + PIPED + ["unavailable"], "http2", 503, ["http2", "https"]),
    "http2-reply": (KINDS["http2"], "confirm = reply", FAULTS + PIPED + ["unavailable"], "http2", 503, ["http2", "https"]),
    "http2-large": (KINDS["http2"], "large = true", TRANSPORT + PIPED + ["unavailable"], "http2", 503, ["http2", "https"]),
    "https": (KINDS["https"], "", FAULTS + PIPED + ["unavailable"], "https", 503, ["https"]),
    "coap": (COAP, "ackTimeout = 2s", FAULTS, "coap", 0, []),
    "coaps": (COAPS, "ackTimeout = 2s", FAULTS, "coap", 0, []),
    "broker-paho": (KINDS["broker"], "client = paho", PIPED, None, 0, ["broker"]),
    "broker-mosquitto": (KINDS["broker"], "client = mosquitto", PIPED, None, 0, ["broker"]),
}
DEVICES = 5


class Weather(World):
    """A world whose platform may be killed: what it had is kept here."""

    def __init__(self, name, way, platform, gateway):
        self.kind, _, _, self.channel, self.unavailable, _ = WAYS[name]
        self.name, self.platform, self.gateway = name, platform, gateway
        self.cloud = getattr(platform, "cloud", None)
        self.before = [[] for _ in range(DEVICES)]
        self.blind = []  # times in which the platform took what nobody saw

    def freeze(self, seconds):
        process = self.cloud.process if self.cloud else self.platform.mosquitto.process
        process.signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.signal(signal.SIGCONT)

    def remember(self):
        for i in range(DEVICES):
            self.before[i] += self.present(i)

    def kill_and_start(self):
        begin = time.time()
        self.remember()
        self.platform.kill()
        time.sleep(random.uniform(0, 0.5))
        self.platform.start(self.gateway)
        self.blind.append((begin - 0.2, time.time()))

    def messages(self, i=0):
        return self.before[i] + self.present(i)

    def present(self, i):
        """What the platform of now has of device i: posts of its own, and its part of packs."""
        if "packs" not in self.name:
            return super().messages(i)
        got = []
        for m in self.cloud.messages(direction="up", limit=500000):
            body = json.loads(m["payload"]) if m["outcome"] == "taken" and "/thing/event/property/" in m["topic"] else None
            if body and m["topic"].startswith(f"/sys/{PK}/{device_name(i)}/"):
                got.append(body["params"])
            elif body and m["topic"].endswith("/pack/post"):
                got += [s["properties"] for s in body["params"]["subDevices"] if s["identity"]["deviceName"] == device_name(i)]
        return [(p["N"]["value"], None) for p in got if "N" in p]

    def seen(self, when):
        return not any(a <= when <= b for a, b in self.blind)


@pytest.fixture
def weather(start_cloud, start_gateway, tmp_path, monkeypatch):
    monkeypatch.setenv("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lib/lsan.supp:print_suppressions=0")
    ends = []

    def start(name, chance, extra=""):
        kind, more, _, _, _, piped = WAYS[name]
        plugins = tmp_path / "plugins"
        plugins.mkdir()
        for source in (BUILD / "tests" / "plugins" / "probe.so", BUILD / "plugins" / "jt808.so"):
            shutil.copy(source, plugins)
        if kind.platform == "mosquitto":
            platform = Broker(tmp_path)
        else:
            platform = Emulator(kind, lambda conf: start_cloud(cloud_conf(DEVICES, node=kind.node, listeners=kind.listeners, coapSessions=2000)))
        ends.append(platform.end)
        pipes = []
        addresses = dict(platform.addresses)
        for one in piped:
            host, port = addresses[one].rsplit(":", 1)
            pipes.append(Pipe((host, int(port)), chance))
            ends.append(pipes[-1].close)
            addresses[one] = f"{host}:{pipes[-1].port}"
        gateway = start_gateway(getattr(platform, "cloud", None), devices=DEVICES, rates=kind.rates, endpoint="unused",
                                upstream=kind.upstream.format(**addresses) + f"\n{more}\n" +
                                ("" if "ackTimeout" in more else "ackTimeout = 1s"), extra=f"""
{platform.ca}pluginDir = "{plugins}"
stopTimeout = 1s
commands.timeout = 2s
listeners += {{ name = probes, protocol = probe, address = "127.0.0.1:0", ack = delivered, settings {{ speed = 9 }} }}
{extra}""")
        return Weather(name, WAYS[name], platform, gateway.wait_up()), pipes
    yield start
    for end in reversed(ends):
        end()


def check_device(w, d, i, history):
    got = w.messages(i)
    ids = {}
    for n, id in got:
        assert ids.setdefault(n, id) == id, f"record {n} of device {i} arrived under two ids"
    first = list(ids)
    told_twice = {n: a for n, a in d.outcomes.items() if len(a) > 1}
    assert told_twice == {}, f"device {i} was told twice"
    untold = set(range(d.next)) - set(d.outcomes) - d.orphans
    assert untold == set(), f"device {i} was never told"
    lost = [n for n, when in {**d.told(DONE), **d.told(PENDING)}.items() if n not in ids and w.seen(when)]
    done = d.told(DONE)
    assert [n for n in lost if n in done] == [], f"acknowledged to device {i} and not at the platform"
    if not w.blind:
        assert lost == [], f"told 'pending' to device {i} and never brought"
    if "reorder" not in history and "delay_all" not in history:
        assert first == sorted(first), f"order of device {i}"
    codes = {code for answers in d.outcomes.values() for code, _ in answers}
    assert codes <= {DONE, PENDING}, (i, {n: a for n, a in d.outcomes.items() if a[0][0] not in (DONE, PENDING)})


class Commander(threading.Thread):
    """Sends commands down all the time; each call must come back."""

    def __init__(self, w):
        super().__init__(daemon=True)
        self.w, self.ending, self.results = w, threading.Event(), []

    def run(self):
        while not self.ending.wait(0.15):
            i = random.randrange(DEVICES)
            try:
                self.results.append(self.w.cloud.request("POST", f"/devices/{PK}/{device_name(i)}/properties", {"Light": 1}, query={"timeout": "1s", "async": 1})[0])
            except OSError:
                self.results.append("away")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", WAYS)
def test_a_storm(weather, way, seed):
    chance = random.Random(f"{way} {seed}")
    w, pipes = weather(way, chance)
    devices = [Roamer(w.gateway.process.ready["listeners"]["probes"], i, chance) for i in range(DEVICES)]
    for d in devices:
        d.start()
    wait_until(lambda: all(d.told(DONE) for d in devices), "all devices at work")
    commander = Commander(w) if w.cloud and way not in ("https", "coap", "coaps") else None
    storm = Storm(w, pipes, chance, SECONDS, WAYS[way][2] + ALWAYS)
    try:
        if commander:
            commander.start()
        storm.blow()
        if commander:
            commander.ending.set()
            commander.join()
        for d in devices:
            d.emitting.clear()
        wait_settled(devices, f"everything settled after {storm.history}")
        wait_until(lambda: w.gateway.stats()["lane.queued_records"] == 0, f"empty queues after {storm.history}", timeout=120)
        stats = w.gateway.stats()
        for i, d in enumerate(devices):
            check_device(w, d, i, storm.history)
        assert stats["bridge.records_lost"] == 0
        wait_until(lambda: sum(w.gateway.stats()[f"bridge.commands_{k}"] for k in ("answered", "refused", "offline", "timed_out"))
                   == w.gateway.stats()["bridge.commands_accepted"], "every command ended")
        for d in devices:
            assert len(set(d.commands)) == len(d.commands)
        # and once more, into the next squall
        for d in devices:
            d.emitting.set()
        getattr(storm, chance.choice([k for k in storm.kinds if k not in ("kill", "freeze")]))()
        began = time.monotonic()
        w.gateway.process.stop()
        took = time.monotonic() - began
        storm.calm()
        if took > 5:
            print("stop took", took)
        for i, d in enumerate(devices):
            d.ending.set()
        for d in devices:
            d.join()
        for i, d in enumerate(devices):
            ids = {n for n, _ in w.messages(i)}
            assert [n for n, when in d.told(DONE).items() if n not in ids and w.seen(when)] == []
    finally:
        print(way, seed, storm.history)
        for d in devices:
            d.ending.set()
