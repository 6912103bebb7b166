"""Everything at once: plugin hosts killed while four protocols report, identities, listeners and connections that change, strangers
whose frames are kept, a platform that is cut off. What devices were told stays true, and SIGTERM leaves nothing behind.

`./dev check storm` blows (CW_CHAOS_SECONDS, 20 or more for many devices; CW_CHAOS_SEEDS), the suite does not. covers: M22
"""
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from chaos import DONE, Pipe, Roamer, wait_settled
from conftest import BUILD, ROOT, wait_until
from gw import PK, cloud_conf, device_name, phone, secret, start_gateway  # noqa: F401
from terminal import Terminal

SECONDS = float(os.environ.get("CW_CHAOS_SECONDS", "4"))
SEEDS = [int(s) for s in os.environ.get("CW_CHAOS_SEEDS", "1").split(",")]
LARGE = SECONDS >= 20
pytestmark = pytest.mark.skipif("CW_CHAOS_SECONDS" not in os.environ, reason="./dev check storm")
TRUCKS, OTHERS, ROAMERS = (200, 50, 5) if LARGE else (20, 5, 3)
DEVICES = TRUCKS + 3 * OTHERS + ROAMERS
STRANGERS = 1000 if LARGE else 40

PROFILES = """
protocols.modbus {
  gap = 0ms, settle = 0ms, spreadStart = false, answerTimeout = 500ms, lateGuard = 0ms, retries = 0, probeEvery = 1s
  profiles { meter { interval = 500ms, points = [ { property = voltage, area = holding, address = 1, type = uint16 } ] } }
}
"""


class Device(Roamer):
    """One that comes back when it is not answered: a ticket that died with its plugin host is answered by nobody."""

    def session(self):
        self.heard = time.monotonic()
        super().session()

    def hear(self, line):
        self.heard = time.monotonic()
        super().hear(line)

    def read(self, patience):
        return super().read(patience) and not (self.waiting and time.monotonic() - self.heard > 3)


class Peers:
    """Where the gateway dials: one that closes at once, one that says nothing, one that talks nonsense, one nobody listens at."""

    def __init__(self, chance):
        self.chance, self.ended, self.held = chance, False, []
        self.sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        gone = socket.create_server(("127.0.0.1", 0))
        self.ports = [s.getsockname()[1] for s in (*self.sockets, gone)]
        gone.close()
        self.threads = [threading.Thread(target=self.serve, args=(kind,), daemon=True) for kind in range(3)]
        for t in self.threads:
            t.start()

    def serve(self, kind):
        while not self.ended:
            try:
                sock = self.sockets[kind].accept()[0]
            except OSError:
                return
            if kind == 0:
                sock.close()
                continue
            self.held.append(sock)
            if kind == 2:
                try:
                    sock.sendall(self.chance.randbytes(3000))
                except OSError:
                    pass

    def close(self):
        self.ended = True
        for s in self.sockets:
            s.shutdown(socket.SHUT_RDWR)
            s.close()
        for t in self.threads:
            t.join()
        for s in self.held:
            s.close()


class Storm:
    def __init__(self, cloud, gateway, pipe, peers, seed):
        self.cloud, self.gateway, self.pipe, self.peers = cloud, gateway, pipe, peers
        self.chance = random.Random(seed)
        self.next_stranger = 5000
        self.history = []
        self.seen = set()  # pids of plugin hosts

    def entry(self, i):
        if i < TRUCKS or i >= TRUCKS + 3 * OTHERS:
            key = phone(i)
        elif i < TRUCKS + OTHERS:
            key = f"{i:012X}"
        elif i < TRUCKS + 2 * OTHERS:
            key = f"MN{i:05d}"
        else:
            key = f"86833303120{i:04d}/1"
        more = ", settings { profile = meter }" if "/" in key else ""
        return f'"{key}" {{ productKey : {PK}, deviceName : {device_name(i)}, deviceSecret : {secret(i)}{more} }}\n'

    def known(self, without=()):
        self.gateway.devices.write_text("".join(self.entry(i) for i in range(DEVICES) if i not in without))

    def fleet(self, name, first, count):
        path = self.gateway.dir / f"{name}.conf"
        path.write_text("".join(self.entry(i) for i in range(first, first + count)))
        path.chmod(0o600)
        return subprocess.Popen([BUILD / "bin" / "causeway", "simulate", name, "--connect", self.gateway.process.ready["listeners"][name],
                                 "--identities", path, "--rate", str(count), "--quiet"], stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    # ---- what happens ----

    def kill_host(self):
        hosts = [h for h in self.gateway.status()["pluginHosts"] if h.get("pid")]
        self.seen |= {h["pid"] for h in hosts}
        if hosts:
            try:
                os.kill(self.chance.choice(hosts)["pid"], signal.SIGKILL)
            except ProcessLookupError:
                pass

    def identities(self):
        """Some are gone and come again; those that are compared stay."""
        self.known(set(self.chance.sample(range(DEVICES - ROAMERS), DEVICES // 5)))
        self.gateway.process.signal(signal.SIGHUP)

    def identity(self):
        """Strangers are added and removed by hand, while they knock."""
        other = phone(self.next_stranger - self.chance.randint(1, STRANGERS))
        self.gateway.cli("identity", self.chance.choice(["remove", "drop"]), other, check=False)
        subprocess.run([BUILD / "bin" / "causeway", "identity", "add", other, PK, device_name(0), "--control",
                        f"unix:{self.gateway.control}"], input=secret(0), capture_output=True, text=True, timeout=60)

    def rules(self):
        self.gateway.write_config(listener=self.chance.choice(["unknown = keep", "unknown = close", "unknown = keep, requireOnline = true"]),
                                  listeners=self.listeners(), extra=self.gateway.extra + self.connections())
        self.gateway.process.signal(signal.SIGHUP)

    def listeners(self):
        more = self.chance.choice(["", '{ name = late, protocol = hj212, address = "127.0.0.1:0" }',
                                   '{ name = late, protocol = jt808, address = "127.0.0.1:0", unknown = keep }'])
        return f"""
          {{ name = jt808, protocol = jt808, address = "127.0.0.1:0", ack = delivered, unknown = keep }}
          {{ name = gb26875, protocol = gb26875, address = "127.0.0.1:0", ack = delivered }}
          {{ name = hj212, protocol = hj212, address = "127.0.0.1:0", ack = delivered }}
          {{ name = modbus, protocol = modbus, address = "127.0.0.1:0", settings {{ framing = rtu, registration {{ length = 15 }} }} }}
          {{ name = probe, protocol = probe, address = "127.0.0.1:0", ack = delivered }}
          {more}"""

    def connections(self):
        few = self.chance.sample(range(4), self.chance.randint(0, 4))
        kinds = ["modbus", "hj212", "gb26875", "jt808"]
        return "connections = [ %s ]\n" % ", ".join(
            f'{{ name = out{n}, protocol = {self.chance.choice(kinds)}, to = "tcp://127.0.0.1:{self.peers.ports[n]}", retryMin = 10ms, retryMax = 200ms'
            f'{", unknown = keep" if self.chance.random() < 0.5 else ""} }}' for n in few)

    def strangers(self):
        """More whom nobody knows: they report, and go."""
        for _ in range(STRANGERS // 4):
            self.next_stranger += 1
            try:
                with Terminal(self.gateway.process.ready["listeners"]["jt808"], phone(self.next_stranger)) as t:
                    t.report(speed=10)
            except OSError:
                pass

    def cut(self):
        self.pipe.cut(self.chance.random() < 0.5)

    def away(self):
        self.pipe.refusing = True
        self.pipe.cut(True)
        time.sleep(self.chance.uniform(0.1, 0.8))
        self.pipe.calm()

    def stall(self):
        self.pipe.stalled.set()
        time.sleep(self.chance.uniform(0.1, 0.8))
        self.pipe.calm()

    def look(self):
        """Operators look meanwhile."""
        for path in ("/pending", "/stats", "/status", "/devices", "/identities"):
            assert self.gateway.ask(path)[0] in (200, 404), path
        self.gateway.cli("pending", self.chance.choice(["list", "drop"]), *self.chance.choice([[], ["--all"]]), check=False)

    def blow(self):
        end = time.monotonic() + SECONDS
        kinds = [self.kill_host] * 4 + [self.identities, self.identity, self.rules, self.strangers, self.cut, self.away, self.stall, self.look]
        while time.monotonic() < end:
            kind = self.chance.choice(kinds)
            self.history.append(kind.__name__)
            kind()
            time.sleep(self.chance.uniform(0.0, 0.3))


def arrived(cloud, i):
    """The values of N that the platform has of device i."""
    topic = f"/sys/{PK}/{device_name(i)}/thing/event/property/post"
    return {json.loads(m["payload"])["params"]["N"]["value"] for m in cloud.messages(topic=topic, direction="up", limit=500000)
            if m["outcome"] == "taken" and "N" in json.loads(m["payload"])["params"]}


@pytest.mark.parametrize("isolated", ['"*"', "probe, modbus, hj212"])
@pytest.mark.parametrize("seed", SEEDS)
def test_hosts_die_and_everything_changes_and_what_was_acknowledged_is_there(start_cloud, start_gateway, tmp_path, monkeypatch, isolated, seed):
    monkeypatch.setenv("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lib/lsan.supp:print_suppressions=0")
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    shutil.copy(BUILD / "tests" / "plugins" / "probe.so", plugins)
    for name in ("jt808", "gb26875", "hj212", "modbus"):
        shutil.copy(BUILD / "plugins" / f"{name}.so", plugins)
    cloud = start_cloud(cloud_conf(DEVICES))
    pipe, peers = Pipe(cloud.mqtt, random.Random(seed)), Peers(random.Random(seed))
    storm = Storm(cloud, None, pipe, peers, seed)
    extra = f'pluginDir = "{plugins}", isolation {{ protocols = [{isolated}], crashes = 60, window = 1s }}\n' + PROFILES
    gateway = storm.gateway = start_gateway(cloud, devices=DEVICES, endpoint=f"tcp://127.0.0.1:{pipe.port}", listener="unknown = keep",
                                            listeners=storm.listeners(), extra=extra + storm.connections())
    gateway.extra = extra
    storm.known()
    gateway.wait_up().reload()
    at = gateway.process.ready["listeners"]["probe"]
    roamers = [Device(at, i, storm.chance) for i in range(DEVICES - ROAMERS, DEVICES)]
    fleets = []
    try:
        fleets = [storm.fleet(name, first, count) for name, first, count in (
            ("jt808", 0, TRUCKS), ("gb26875", TRUCKS, OTHERS), ("hj212", TRUCKS + OTHERS, OTHERS), ("modbus", TRUCKS + 2 * OTHERS, OTHERS))]
        for r in roamers:
            r.start()
        wait_until(lambda: all(r.told(DONE) for r in roamers), "the first records to be settled")
        storm.blow()
        pipe.calm()
        storm.known()
        gateway.write_config(listener="unknown = keep", listeners=storm.listeners(), extra=extra)
        wait_until(lambda: gateway.cli("reload", check=False).returncode == 0, "a reload")
        # Cut right after each login, it suspects a twin and waits longer each time.
        wait_until(lambda: gateway.status()["up"], "the upstream to come up", timeout=180)
        # It is the same as before: every roamer is served again.
        marks = {r.i: r.next for r in roamers}
        wait_until(lambda: all(max(r.told(DONE), default=-1) >= marks[r.i] for r in roamers), "every device to be served again", timeout=120)
        for r in roamers:
            r.emitting.clear()
        wait_settled(roamers, "every record to be settled")
        for f in fleets:
            assert f.poll() is None, f.communicate()
            f.send_signal(signal.SIGINT)
        for f in fleets:
            f.communicate(timeout=60)
        for r in roamers:
            r.ending.set()
        for r in roamers:
            r.join()
        gateway.cli("pending", "drop", "--all", check=False)
        stats = gateway.stats()
        storm.seen |= {h["pid"] for h in gateway.status()["pluginHosts"] if h.get("pid")}
        for gauge in ("net.connections", "bridge.devices_attached", "pending.frames", "pending.bytes"):
            wait_until(lambda: gateway.stats()[gauge] == 0, f"{gauge} to be nothing again, not {gateway.stats()[gauge]}")
        wait_until(lambda: gateway.stats()["pending.identities"] == 0, "nobody to be waited for")
        assert stats["pending.delivered"] + stats["pending.lost"] + stats["pending.dropped"] <= stats["pending.kept"] + stats["pending.dropped"]
        lost = {r.i: sorted(set(r.told(DONE)) - arrived(cloud, r.i)) for r in roamers}
        assert {i: n for i, n in lost.items() if n} == {}
        gateway.process.stop()
        assert [p for p in storm.seen if os.path.exists(f"/proc/{p}/cmdline") and b"plugin-host" in open(f"/proc/{p}/cmdline", "rb").read()] == []
    finally:
        print(seed, storm.history)
        for r in roamers:
            r.ending.set()
        for f in fleets:
            if f.poll() is None:
                f.kill()
                f.communicate()
        pipe.close()
        peers.close()
