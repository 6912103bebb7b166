"""./dev bench: what gateway and emulator reach, the gateway beside what the bare libraries reach in the same run.

usage: bench.py BUILD_DIR [--only NAME ...] [--kind NAME ...] [--seconds N] [--json FILE]

All programs are real and run on this machine, the load too, so absolute figures say as much about the machine as about the
programs; ratios say more. "By CPU" is messages divided by the processor time their program took. Bars are those the project has
set itself; a row without one is for information.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from line import Line
from protocols import Protocols
from ways import WAYS, Ways

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOGINS = 10000
IDLE = 1400  # an MQTT gateway device has at most 1,500 sub-devices
GROUP = 50
STEADY = 5000
STOCK = 50000
FIRST = 13800000001
SECONDS = 2


class Failed(Exception):
    pass


class Row:
    def __init__(self, what, figure, unit, ceiling=None, bar=None, least=None, most=None, ratio=None):
        """`least` and `most` bound the ratio when there is a ceiling, else the figure; `bar` is how people say it."""
        self.what, self.figure, self.unit, self.ceiling, self.bar = what, figure, unit, ceiling, bar
        self.ratio = ratio if ratio is not None else (figure / ceiling if ceiling else None)
        self.least, self.most = least, most

    def reached(self, value):
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def verdict(self):
        if self.bar is None:
            return ""
        judged = self.ratio if self.ceiling and self.bar.startswith("x") else self.figure
        return "reached" if self.reached(judged) else "MISSED"

    def as_dict(self):
        return {"what": self.what, "figure": self.figure, "unit": self.unit, "ceiling": self.ceiling, "ratio": self.ratio,
                "bar": self.bar, "verdict": self.verdict() or None}


def number(value):
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def print_table(rows):
    cells = [("what", "figure", "", "bare", "ratio", "bar", "")]
    cells += [(r.what, number(r.figure), r.unit, number(r.ceiling), "" if r.ratio is None else f"{r.ratio:.2f}", r.bar or "", r.verdict())
              for r in rows]
    widths = [max(len(c[i]) for c in cells) for i in range(7)]
    for k, c in enumerate(cells):
        left = [c[0].ljust(widths[0]), c[1].rjust(widths[1]), c[2].ljust(widths[2]), c[3].rjust(widths[3]), c[4].rjust(widths[4]),
                c[5].ljust(widths[5]), c[6]]
        print("  ".join(left).rstrip())
        if k == 0:
            print("-" * (sum(widths) + 12))


class Bench(Protocols, Ways, Line):
    Failed = Failed
    vectors = ROOT / "tests" / "vectors"

    def __init__(self, build, kinds=(), seconds=SECONDS):
        self.build = build
        self.kinds, self.seconds = kinds, seconds
        self.tools = build / "bench"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="causeway-bench-"))
        self.rows, self.notes = [], []
        self.cache = {}
        self.runs = 0

    def add(self, *args, **more):
        row = Row(*args, **more)
        self.rows.append(row)
        print(f"  {row.what}: {number(row.figure)} {row.unit}", file=sys.stderr, flush=True)

    # ---- programs ----

    def load(self, mode, port, *args):
        argv = [self.tools / "bench_load", mode, "--to", port, *args]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120)
        if done.returncode != 0 or not done.stdout:
            raise Failed(f"{' '.join(str(a) for a in argv[1:])}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    @contextlib.contextmanager
    def idle(self, port, count, first=0, at_once=20):
        """`count` terminals logged in and silent."""
        argv = [self.tools / "bench_load", "idle", "--to", str(port), "--count", str(count), "--first", str(FIRST + first), "--at-once",
                str(at_once)]
        p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            line = p.stdout.readline()
            if not line or json.loads(line)["failed"]:
                raise Failed("idle terminals could not log in: " + line)
            yield json.loads(line)
        finally:
            p.stdin.close()
            p.wait()
            p.stdout.close()

    @contextlib.contextmanager
    def bare(self, mode):
        with self.running([self.tools / "bench_bare", mode]) as got:
            yield got

    @staticmethod
    @contextlib.contextmanager
    def running(argv):
        """A bare server: its port and process id."""
        p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield json.loads(p.stdout.readline())["port"], p.pid
        finally:
            p.stdin.close()
            p.wait()
            p.stdout.close()

    @contextlib.contextmanager
    def world(self, devices, workers=1, listener="", upstream="", conf=None, extra="", listeners=""):
        """The emulator and the gateway, with so many devices in their files. `upstream` may be made when the emulator runs."""
        import conftest
        import gw
        self.runs += 1
        place = self.dir / str(self.runs)
        place.mkdir()
        started = []

        def spawn(program, *args, **options):
            started.append(conftest.Process(program, *args, dir=options.pop("dir", place), **options).start())
            return started[-1]

        try:
            file = place / "cloud.conf"
            file.write_text(conf or gw.cloud_conf(devices))
            file.chmod(0o600)
            cloud = conftest.Cloud(spawn("causeway-cloud", "--free-ports", "--config", file, "--tls-dir", self.dir / "tls"))
            ways = {"upstream": upstream} if isinstance(upstream, str) else {"upstream": upstream(cloud), "rates": ""}
            gateway = gw.Gateway(spawn, place, cloud, devices=devices, listener=listener, extra=f"workers = {workers}\n{extra}",
                                 listeners=listeners, **ways)
            gateway.wait_up()
            gateway.port = int(gateway.address.rsplit(":", 1)[1])
            gateway.pid = gateway.process.popen.pid
            yield cloud, gateway
            self.check_log(gateway)
        finally:
            for process in reversed(started):
                process.stop()

    @staticmethod
    def check_log(gateway):
        errors = [line for line in gateway.process.stderr().splitlines() if " ERROR " in line]
        if errors:
            raise Failed("the gateway logged errors: " + errors[0])

    # ---- what is measured ----

    def frames(self):
        """Through sockets, framing and decoding: heartbeats, which the gateway answers itself; the best of three runs of each."""
        one = ["--count", 200, "--window", 1, "--seconds", 1]
        ten = ["--count", 200, "--window", 10, "--batch", 10, "--seconds", 1]
        with self.bare("each") as (each, each_pid), self.bare("read") as (read, read_pid), self.world(200) as (_, gateway):
            bare_one, got_one = self.turns([each, each_pid, one], [gateway.port, gateway.pid, one])
            bare_ten, count_ten, got_ten = self.turns([each, each_pid, ten], [read, read_pid, ["--per-answer", 10, *ten]],
                                                      [gateway.port, gateway.pid, ten])
        self.add("frames/s, one a read, each answered; bare libuv answers a constant", got_one["per_second"], "/s", bare_one["per_second"],
                 bar="x0.5", least=0.5)
        self.add("frames/s, ten a read, each answered; bare libuv answers a constant", got_ten["per_second"], "/s", bare_ten["per_second"],
                 bar="x0.5", least=0.5)
        self.add("  the same against libuv that reads and counts, one answer a read", got_ten["per_second"], "/s", count_ten["per_second"],
                 bar="x0.5", least=0.5)
        self.add("  CPU a frame, one a read", micro(got_one), "us", micro(bare_one))
        self.add("  CPU a frame, ten a read", micro(got_ten), "us", micro(bare_ten))

    def turns(self, *sides, times=3):
        """Each side in turn, several times, so that what else the machine does hits all alike; the best run of each."""
        best = [None] * len(sides)
        for _ in range(times):
            for k, (port, pid, args) in enumerate(sides):
                got = self.load("flood", port, "--pid", pid, *args)
                if got["refused"] or got["unasked"] or not got["messages"]:
                    raise Failed(f"messages were not answered as they should: {got}")
                if best[k] is None or got["per_second"] > best[k]["per_second"]:
                    best[k] = got
        return best

    def isolation(self):
        """What a process of its own for the decoder costs: heartbeats as in frames, decoder in causewayd and in a plugin host, in turn."""
        loads = (("one connection, one frame at a time", ["--count", 1, "--window", 1, "--seconds", 1]),
                 ("200 connections, one a read", ["--count", 200, "--window", 1, "--seconds", 1]),
                 ("200 connections, ten a read", ["--count", 200, "--window", 10, "--batch", 10, "--seconds", 1]))
        with self.world(200) as (_, inside), self.world(200, extra="isolation.protocols = [jt808]") as (_, apart):
            host = wait_until(lambda: [h["pid"] for h in apart.status()["pluginHosts"] if h["state"] == "up"], "a plugin host")[0]
            for name, args in loads:
                best = {}
                for _ in range(3):
                    for gateway in (inside, apart):
                        before = cpu_s(host)
                        got = self.load("flood", gateway.port, "--pid", gateway.pid, *args)
                        if got["refused"] or got["unasked"] or not got["messages"]:
                            raise Failed(f"messages were not answered as they should: {got}")
                        got["host_us"] = (cpu_s(host) - before) * 1e6 / got["messages"]
                        if gateway not in best or got["per_second"] > best[gateway]["per_second"]:
                            best[gateway] = got
                a, b = best[inside], best[apart]
                self.add(f"frames/s isolated, {name}; in causewayd", b["per_second"], "/s", a["per_second"])
                if "one connection" in name:
                    self.add("  from frame to answer", 1e6 / b["per_second"], "us", 1e6 / a["per_second"])
                self.add("  CPU a frame, both processes", micro(b) + b["host_us"], "us", micro(a))
                self.add("  of it in causewayd", micro(b), "us", micro(a))
            self.add("resident memory of a plugin host", rss(host) / 1048576, "MiB")

    def memory(self):
        """Resident bytes for each connection of an identified, silent terminal whose device is online at the platform."""
        with self.bare("each") as (port, pid):
            before = rss(pid)
            with self.idle(port, IDLE):
                bare = (rss(pid) - before) / IDLE
        known, new = self.connection_known(), self.connection_new()
        self.add("resident memory of an idle, identified connection (its device was here before)", known / 1024, "KiB", bare / 1024,
                 bar="<= 1.5 KiB", most=1.5)
        self.add("  the same with all that is kept of a device seen for the first time", new / 1024, "KiB", bare / 1024)

    def connection_known(self):
        with self.world(IDLE, upstream="loginRate = 0") as (_, gateway):
            self.introduce(gateway)
            return self.growth(gateway, 0, IDLE)

    def connection_new(self):
        """Beside a third that is there already, with what is made once."""
        with self.world(IDLE, upstream="loginRate = 0") as (_, gateway):
            with self.idle(gateway.port, IDLE // 3):
                wait_online(gateway, IDLE // 3)
                return self.growth(gateway, IDLE // 3, IDLE - IDLE // 3)

    def growth(self, gateway, first, count):
        before = rss(gateway.pid)
        with self.idle(gateway.port, count, first):
            wait_online(gateway, first + count)
            if gateway.stats()["net.connections"] != first + count:
                raise Failed("some idle connections are gone")
            return (rss(gateway.pid) - before) / count

    def introduce(self, gateway):
        """Every device was online once, few at a time, so that what is kept of devices is there and little else."""
        for first in range(0, IDLE, GROUP):
            self.group(gateway, first)

    def group(self, gateway, first):
        from conftest import wait_until
        with self.idle(gateway.port, GROUP, first):
            wait_online(gateway, GROUP)
        wait_until(lambda: gateway.status()["upstreams"][0]["devicesOnline"] == 0, "the devices to log out")

    def logins(self):
        """10,000 terminals connect, register and authenticate; the best of three runs of each."""
        for at_once, bar in ((512, 0.5), (LOGINS, 1.0)):
            bare, got = [], []
            for _ in range(3):
                with self.bare("each") as (port, _):
                    bare.append(self.load("login", port, "--count", LOGINS, "--at-once", at_once))
                with self.world(LOGINS, workers=2) as (_, gateway):
                    got.append(self.load("login", gateway.port, "--count", LOGINS, "--at-once", at_once, "--pid", gateway.pid))
            best, bare_best = min(got, key=lambda r: r["login_s"]), min(bare, key=lambda r: r["login_s"])
            how = f"{at_once} at once" if at_once < LOGINS else "all at once"
            self.add(f"{best['count']:,} terminals connect, register, authenticate, {how}", best["login_s"], "s", bare_best["login_s"],
                     bar=f"<= {bar} s", most=bar)

    def upstream(self):
        """Positions end to end over Paho, each answered on PUBACK, and Paho alone with the same bytes and window; the best of some runs."""
        devices, window = 200, 1000
        settings = f"loginRate = 0, inFlight = 30{window}, ratePerDeviceQos0 = 0"
        with self.world(devices, listener="ack = delivered", upstream=settings) as (cloud, gateway):
            def run(mode, *args):
                return self.load(mode, gateway.port, "--position", "--count", devices, "--pid", gateway.pid, "--seconds", SECONDS,
                                 "--warm-up", 1500, *args)

            full = [run("flood", "--window", 10) for _ in range(3)]
            got = max(full, key=lambda r: r["per_second"])
            half = max(int(got["per_second"] / 2), 100)
            slow = [run("rate", "--window", 64, "--rate", half) for _ in range(2)]
            steady = run("rate", "--window", 64, "--rate", STEADY)
            payload, arrived = self.sample(cloud)
            gateway.process.stop()
            alone = max((self.paho(cloud, payload, devices, window, SECONDS, 0) for _ in range(3)), key=lambda r: r["per_second"])
            slow_alone = min((self.paho(cloud, payload, devices, window, SECONDS, half) for _ in range(2)), key=lambda r: r["p99_ms"])
            steady_alone = self.paho(cloud, payload, devices, window, SECONDS, STEADY)
        answered = sum(r["messages"] for r in [*full, *slow, steady])
        if any(r["refused"] or r["unasked"] for r in [*full, *slow, steady]) or arrived < answered:
            raise Failed(f"{answered} positions were answered, {arrived} arrived: {full} {slow} {steady}")
        slow = min(slow, key=lambda r: r["p99_ms"])
        self.add("positions/s end to end at QoS 1, answered on PUBACK; Paho alone", got["per_second"], "/s", alone["per_second"],
                 bar="x0.7", least=0.7)
        self.add("  CPU a position, whole gateway", micro(got), "us", micro(alone))
        self.add(f"  CPU a position at {STEADY:,}/s", micro(steady), "us", micro(steady_alone), bar="x1.5", most=1.5)
        self.add(f"  latency p50 at half load ({half:,}/s)", slow["p50_ms"], "ms", slow_alone["p50_ms"])
        self.add("  latency p99 at half load", slow["p99_ms"], "ms", slow_alone["p99_ms"], bar="< 5 ms", most=5)

    def sample(self, cloud):
        """The bytes of one post as the emulator got them, and how many posts it got."""
        posts = cloud.messages(device="a1EmuSub001/sub-0001", topic="/sys/+/+/thing/event/property/post", direction="up")
        payload = self.dir / "payload.json"
        last = posts[-1]
        text = last["payload"] if isinstance(last["payload"], str) else json.dumps(last["payload"], separators=(",", ":"))
        payload.write_text(text)
        return payload, sum(d["up"] for d in cloud.get("/devices")["devices"])

    # ---- any broker ----

    def broker(self):
        """Positions end to end over an upstream of type broker to a stock Mosquitto, each answered on PUBACK, and a bare program of
        libuv and libmosquitto with the same bytes and load; the best of some runs of each, in turn."""
        import test_mosquitto
        devices, window = 200, 5
        place = self.dir / "broker"
        place.mkdir()
        broker = test_mosquitto.Mosquitto(place, extra=["log_type none"])
        try:
            payload = self.broker_sample(broker, place)
            load = ["--position", "--count", devices, "--seconds", SECONDS, "--warm-up", 500]
            with self.broker_gateway(broker, place, devices) as gateway, self.bare_broker(broker, payload) as (port, pid):
                sides = [(gateway.port, gateway.pid), (port, pid)]
                full = [[], []]
                for _ in range(3):
                    for k, (to, of) in enumerate(sides):
                        full[k].append(self.load("flood", to, "--pid", of, "--window", window, *load))
                got, bare = (max(runs, key=lambda r: r["per_second"]) for runs in full)
                steady, steady_bare = (self.load("rate", to, "--pid", of, "--window", 64, "--rate", STEADY, *load) for to, of in sides)
                half = max(int(got["per_second"] / 2), 100)
                slow, slow_bare = (min((self.load("rate", to, "--pid", of, "--window", 64, "--rate", half, *load) for _ in range(2)),
                                       key=lambda r: r["p99_ms"]) for to, of in sides)
        finally:
            broker.stop()
        if any(r["refused"] or r["unasked"] for r in [*full[0], steady, slow]):
            raise Failed(f"positions were refused or answered twice: {full[0]} {steady} {slow}")
        self.add("positions/s end to end over broker at QoS 1, answered on PUBACK; bare libuv + libmosquitto", got["per_second"], "/s",
                 bare["per_second"], bar="x0.8", least=0.8)
        self.add("  CPU a position", micro(got), "us", micro(bare), bar="<= 8 us", most=8)
        self.add(f"  share of a core at {STEADY:,}/s", steady["cpu_s"] / SECONDS * 100, "%", steady_bare["cpu_s"] / SECONDS * 100,
                 bar="<= 15 %", most=15)
        self.add(f"  latency p99 at half load ({half:,}/s)", slow["p99_ms"], "ms", slow_bare["p99_ms"], bar="< 5 ms", most=5)

    @contextlib.contextmanager
    def broker_gateway(self, broker, place, devices):
        import conftest
        import test_upstream_broker
        started = []

        def spawn(program, *args, **options):
            started.append(conftest.Process(program, *args, dir=options.pop("dir", place), **options).start())
            return started[-1]
        try:
            self.runs += 1
            gateway = test_upstream_broker.BrokerGateway(
                spawn, place, None, devices=devices, name=f"gateway-{self.runs}", endpoint=f"tcp://127.0.0.1:{broker.port}",
                listener="ack = delivered", extra="workers = 1").wait_up()
            gateway.port = int(gateway.address.rsplit(":", 1)[1])
            gateway.pid = gateway.process.popen.pid
            yield gateway
            self.check_log(gateway)
        finally:
            for process in started:
                process.stop()

    def broker_sample(self, broker, place):
        """The bytes of one position as they arrive at the broker."""
        import test_upstream_broker
        watcher = test_upstream_broker.Watcher(broker, filter="site/+/+/property")
        try:
            with self.broker_gateway(broker, place, 1) as gateway:
                self.load("flood", gateway.port, "--position", "--count", 1, "--window", 1, "--seconds", 0.2)
                from conftest import wait_until
                wait_until(lambda: any(b"Speed" in p for _, p, _ in list(watcher.messages)), "a position at the broker")
        finally:
            watcher.close()
        payload = place / "payload.json"
        payload.write_bytes([p for _, p, _ in watcher.messages if b"Speed" in p][-1])
        return payload

    def bare_broker(self, broker, payload):
        return self.running([self.tools / "bench_broker", "--broker", broker.port, "--payload", payload])

    # ---- the emulator's bridge channel ----

    def bridge(self):
        """publishes of a bridge to the emulator over HTTP/2 and TLS; load: h2load"""
        import base64
        import bridge_client as client
        import conftest
        place = self.dir / "bridge"
        place.mkdir()
        conf = place / "cloud.conf"
        stock = [f'{{ productKey = {pk}, deviceName = {dn}, deviceSecret = {secret} }}' for pk, dn, secret in (client.BRIDGE, client.SUB1)]
        conf.write_text("limits { profile = off }\nlog { level = warn }\nproducts = [ { productKey = a1EmuGw0001, nodeType = gateway }\n"
                        "  { productKey = a1EmuSub001, nodeType = subdevice } ]\ndevices = [ " + "\n".join(stock) + " ]\n")
        process = conftest.Process("causeway-cloud", "--config", conf, "--free-ports", dir=place).start()
        try:
            cloud = conftest.Cloud(process)
            net_id = client.auth(cloud, client.BRIDGE, gateway=True, subDeviceConnectMode=3)["data"]["netId"]
            if client.auth(cloud, client.SUB1, netId=net_id)["code"] != 200:
                raise Failed("the device did not come online")
            pk, dn = client.SUB1[:2]
            body = place / "body"
            body.write_text(json.dumps({"id": "05a4a962-f21d-48b1-82de-86fb8c2cc796", "method": "fake", "params": {
                "deviceName": dn, "payload": base64.b64encode(b"x" * 100).decode(), "productKey": pk, "topic": f"/{pk}/{dn}/user/update"}}))
            login = client.Bridge.login_headers(type("Who", (), {"device": client.BRIDGE})())
            headers = [a for name, value in [*login, ("x-qos", "1")] for a in ("-H", f"{name}: {value}")]
            url = f"https://{process.ready['http2']}/message/pub/sys/{client.BRIDGE[0]}/{client.BRIDGE[1]}/bridge/post"
            count = 100000 * SECONDS
            before = cpu_s(process.popen.pid)
            out = subprocess.run(["h2load", "-n", str(count), "-c", "1", "-m", "100", "-d", str(body), *headers, url],
                                 capture_output=True, text=True, timeout=120).stdout
            used = cpu_s(process.popen.pid) - before
            if f"{count} succeeded" not in out:
                raise Failed("h2load: " + out[-500:])
            rate = float(re.search(r"finished in [^,]+, ([0-9.]+) req/s", out).group(1))
            self.add("publishes of a bridge to the emulator, 100 bytes, 100 in flight, by CPU of one core", count / used, "/s",
                     bar=">= 50,000", least=50000)
            self.add("  CPU a publish", used / count * 1e6, "us")
            self.add("  by the clock, with the load beside it", rate, "/s")
        finally:
            process.stop()

    def paho(self, cloud, payload, devices, window, seconds, rate):
        import gw
        stock = self.dir / "stock"
        stock.write_text(f"{' '.join(gw.GW)} {gw.secret('gw')}\n" + "".join(
            f"{gw.PK} {gw.device_name(i)} {gw.secret(i)}\n" for i in range(devices)))
        argv = [self.tools / "bench_paho", "--uri", f"tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}", "--payload", payload, "--stock", stock,
                "--window", window, "--seconds", seconds, "--rate", rate]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise Failed(done.stderr)
        return json.loads(done.stdout)

    def emulator(self):
        """What causeway-cloud takes over MQTT with all its checks, limits off; the best of three runs of each. It has one thread,
        and the load wants a core beside it."""
        import hashlib
        import hmac
        import conftest
        stock = self.dir / "mqtt-stock"
        place = self.dir / "emulator"
        place.mkdir()
        pk, devices, secret = "a1EmuPk0001", ("dev-0001", "dev-0002"), "0123456789abcdef0123456789abcdef"
        conf = place / "cloud.conf"
        conf.write_text("products = [ { productKey = %s } ]\ndevices = [ %s ]\nlimits { profile = off }\nlog { level = warn }\n" % (
            pk, ", ".join(f"{{ productKey = {pk}, deviceName = {dn}, deviceSecret = {secret} }}" for dn in devices)))
        conf.chmod(0o600)
        stock.write_text("".join("%s %s 1|securemode=3,signmethod=hmacsha256,_ss=1| %s&%s %s\n" % (pk, dn, dn, pk, hmac.new(
            secret.encode(), f"clientId1deviceName{dn}productKey{pk}".encode(), hashlib.sha256).hexdigest()) for dn in devices))
        process = conftest.Process("causeway-cloud", "--free-ports", "--config", conf, dir=place).start()
        try:
            port, pid = process.ready["mqtt"].rsplit(":", 1)[1], process.popen.pid
            for what, bar, *args in (("QoS 1, each acknowledged and answered", 40000, "--qos", 1),
                                     ("QoS 1, sys.ack = 0", 100000, "--qos", 1, "--ack", 0), ("QoS 0", 100000, "--qos", 0)):
                runs = [self.emulator_run(pid, port, stock, args) for _ in range(3)]
                got = max(by_cpu for by_cpu, _ in runs)
                self.add(f"emulator: property posts/s over MQTT, {what}", max(by_clock for _, by_clock in runs), "/s",
                         bar=f">= {bar:,}", least=bar)
                self.add("  by CPU", got, "/s")
        finally:
            process.stop()

    def emulator_run(self, pid, port, stock, args):
        """Messages per second of the emulator's CPU, and of the clock."""
        before = cpu_s(pid)
        got = self.tool("bench_mqtt", "--to", port, "--stock", stock, *args)
        return got["sent"] / max(cpu_s(pid) - before, 0.01), got["per_second"]

    def stock(self):
        """A stock of 50,000 devices in a file: from the start of the emulator until all listens; the best of three starts."""
        import conftest
        place = self.dir / "stock"
        place.mkdir()
        conf = place / "cloud.conf"
        rows = "\n".join(f"{{ productKey = a1EmuPk0001, deviceName = dev-{i:05}, deviceSecret = {i:032x} }}" for i in range(STOCK))
        conf.write_text(f"products = [ {{ productKey = a1EmuPk0001 }} ]\nlog {{ level = warn }}\ndevices = [\n{rows}\n]\n")
        conf.chmod(0o600)
        for what, *args in (("certificates kept", "--tls-dir", place / "tls"), ("certificates made anew",)):
            runs = []
            for k in range(4 if args else 3):  # the first one makes those to be kept
                began = time.monotonic()
                process = conftest.Process("causeway-cloud", "--free-ports", "--config", conf, *args, dir=place).start()
                runs.append((time.monotonic() - began, cpu_s(process.popen.pid), rss(process.popen.pid)))
                process.stop()
            took, used, memory = min(runs)
            self.add(f"emulator: start with {STOCK:,} devices, {what}", took, "s", bar="< 1 s", most=1)
            self.add("  CPU", used, "s")
            self.add("  resident memory then", memory / 1024 / 1024, "MiB")

    def tool(self, name, *args):
        done = subprocess.run([str(a) for a in (self.tools / name, *args)], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise Failed(f"{name}: {done.stderr}")
        return json.loads(done.stdout)


def micro(result):
    """Microseconds of CPU for each message."""
    return result["cpu_s"] * 1e6 / max(result["messages"], 1)


def rss(pid):
    """Resident bytes of its own, shared pages counted in part."""
    text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss: +(\d+) kB", text, re.M).group(1)) * 1024


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_online(gateway, count):
    from conftest import wait_until
    wait_until(lambda: sum(u["devicesOnline"] for u in gateway.status()["upstreams"]) >= count, f"{count} devices online", timeout=90)


def wait_until(*args, **more):
    import conftest
    return conftest.wait_until(*args, **more)


Bench.micro, Bench.cpu_s, Bench.rss, Bench.wait_online, Bench.wait_until = (
    staticmethod(f) for f in (micro, cpu_s, rss, wait_online, wait_until))
PARTS = ("frames", "isolation", "decoders", "modbus", "memory", "logins", "upstream", "broker", "ways", "devices", "storms", "emulator", "stock", "bridge", "factory")


def main():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--only", action="append", choices=PARTS, help="measure this part only; may be given several times")
    parser.add_argument("--kind", action="append", choices=[w.name for w in WAYS], help="ways, devices and storms: this kind only")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long ways measures each run (2)")
    parser.add_argument("--json", type=pathlib.Path, help="also write the table to this file")
    options = parser.parse_args()
    os.environ["CW_BUILD_DIR"] = str(options.build.resolve())
    sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "lib")]
    bench = Bench(options.build.resolve(), options.kind or (), options.seconds)
    began, load = time.monotonic(), os.getloadavg()[0]
    failed = False
    for part in options.only or PARTS:
        print(f"{part}:", *getattr(bench, part).__doc__.split(), file=sys.stderr, flush=True)
        try:
            getattr(bench, part)()
        except Exception as problem:  # the other parts can still be measured
            failed = True
            bench.notes.append(f"{part} failed: {type(problem).__name__}: {problem}")
    print()
    print_table(bench.rows)
    print()
    print(f"{os.cpu_count()} cores, all programs on this machine; emulator: limits off; {time.monotonic() - began:.0f} s in all; load average when it began: {load:.1f}")
    if load > 0.5:
        print("Others were using the machine: rows by the clock say little then, those of CPU more.")
    for note in bench.notes:
        print(note)
    if options.json:
        options.json.write_text(json.dumps({"rows": [r.as_dict() for r in bench.rows], "notes": bench.notes}, indent=1) + "\n")
    shutil.rmtree(bench.dir, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
