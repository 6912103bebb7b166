"""The decoders alone, and Modbus through the whole gateway beside bare code: parts of bench.py."""
import contextlib
import json
import re
import shutil
import signal
import struct
import subprocess
import threading
import time

MODBUS = ("framing = rtu, registration { length = 15 }, profile = p, spreadStart = false, settle = 0ms, "
          "profiles { p { interval = 10s, points = [ %s ] } }, report { mode = %s }")
FIRST_DTU = 868333031234567
BLOCKS = 32      # of ten registers, every twentieth from 300 on, which hold their own address
FULL_DTUS = 200
FULL_LINES = 32  # to one server, which takes 64
MANY = 1000
UPSTREAM = "loginRate = 0, inFlight = 1000, ratePerDeviceQos0 = 0, maxDevices = 20000"


def points(count, first=0, apart=10, each=10):
    return ", ".join(f"{{ property = p{k}, area = holding, address = {first + k // each * apart + k % each}, type = uint16 }}"
                    for k in range(count))


def crc(data):
    value = 0xFFFF
    for b in data:
        value ^= b
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return data + struct.pack("<H", value)


def answer(registers):
    return crc(struct.pack(">BBB", 1, 3, 2 * registers) + b"".join(struct.pack(">H", 300 + i) for i in range(registers))).hex()


class Protocols:
    """Mixed into Bench."""

    # ---- decoders alone ----

    def decoder_rows(self):
        """(what, plugin, frame, more of the command line, bar of microseconds)."""
        def vector(plugin, name):
            found = next(v for v in json.loads((self.vectors / f"{plugin}.json").read_text()) if v["name"] == name)
            return found.get("hex") or found["text"].encode().hex()

        def modbus(count, mode, records):
            return ["--set", MODBUS % (points(count), mode), "--first", str(FIRST_DTU).encode().hex(), "--poll", "--records", records]

        any_one = ["--set", "identifyBy = any"]
        return [
            ("jt808: position with five items", "jt808", vector("jt808", "0200-2019-location"), any_one, 1),
            ("gb26875: upload, one component", "gb26875", vector("gb26875", "fire-smoke-zone10-point2"), [], None),
            ("gb26875: upload, 22 components", "gb26875", vector("gb26875", "object-count-22-max-components"), [], None),
            ("hj212: 2011, air", "hj212", vector("hj212", "public-air-lowercase-crc"), [], None),
            ("hj212: 2051, water", "hj212", vector("hj212", "upload-minute-water"), [], None),
            ("modbus: poll of 10 registers, nothing changed", "modbus", answer(10), modbus(10, "change", 0), None),
            ("modbus: poll of 10 registers, all reported", "modbus", answer(10), modbus(10, "always", 1), None),
            ("modbus: poll of 100 registers, nothing changed", "modbus", answer(100), modbus(100, "change", 0), None),
            ("modbus: poll of 100 registers, all reported", "modbus", answer(100), modbus(100, "always", 1), None),
        ]

    def decoders(self):
        """Each decoder alone, through a host that discards: frame cut, decoded, written as records, answered; of Modbus the
        request too. The best of three runs; instructions are counted, and the same on any machine of this kind."""
        counts = shutil.which("valgrind") is not None
        if not counts:
            self.notes.append("valgrind is not installed: no instruction counts")
        for what, plugin, frame, more, bar in self.decoder_rows():
            best = max((self.decoder(plugin, frame, more, "--seconds", 0.5) for _ in range(3)), key=lambda r: r["per_second"])
            self.add(f"{what} ({best['frame_bytes']} bytes)", best["per_second"], "/s")
            self.add("  time each", 1e6 / best["per_second"], "us", bar=f"<= {bar} us" if bar else None, most=bar)
            if counts:
                few, many = (self.instructions(plugin, frame, more, n) for n in (1000, 5000))
                self.add("  instructions each (callgrind)", (many - few) / 4000, "")

    def decoder(self, plugin, frame, more, *how, under=()):
        argv = [*under, self.tools / "bench_decoder", *more, *how, self.build / "plugins" / f"{plugin}.so", frame]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True)
        if done.returncode != 0:
            raise self.Failed(f"bench_decoder {plugin}: {done.stderr}")
        return json.loads(done.stdout) if not under else done.stderr

    def instructions(self, plugin, frame, more, frames):
        """Of one run with so many frames; the difference of two runs is that of the frames."""
        text = self.decoder(plugin, frame, more, "--frames", frames,
                            under=("valgrind", "--tool=callgrind", f"--callgrind-out-file={self.dir / 'callgrind'}"))
        return int(re.search(r"Collected : (\d+)", text).group(1))

    # ---- Modbus through the gateway ----

    def modbus(self):
        """Polls of ten registers a second: the gateway (one worker) at full speed, DTUs that dial in with RTU and lines that it dials with MBAP,
        beside bare libuv and libmodbus with the same simulated devices; and 1,000 DTUs polled once a second."""
        self.modbus_dialled_in()
        self.modbus_dialling()
        for answer_delay in ("0s", "200ms"):
            self.modbus_once_a_second(answer_delay)

    @contextlib.contextmanager
    def simulated(self, *args):
        """`causeway simulate modbus`; when it is ended, it must have nothing to complain of."""
        p = subprocess.Popen([str(a) for a in (self.build / "bin" / "causeway", "simulate", "modbus", *args)], stdout=subprocess.PIPE,
                             text=True)
        try:
            yield p
        finally:
            p.send_signal(signal.SIGINT)
            p.communicate(timeout=60)

    @contextlib.contextmanager
    def modbus_world(self, count, identity, profile, settings, listeners="", extra=""):
        """The devices come by a reload, when all the rest is there."""
        import gw
        conf = gw.cloud_conf(count, members=20000)
        with self.world(count, conf=conf, upstream=UPSTREAM, listeners=listeners, extra=f"""{extra}
protocols.modbus {{ gap = 0ms, settle = 0ms, {settings}
  profiles {{ p {{ {profile} }} }} }}""") as (cloud, gateway):
            gateway.devices.write_text("".join(
                f'"{identity(i)}" {{ productKey : {gw.PK}, deviceName : {gw.device_name(i)}, deviceSecret : {gw.secret(i)}, '
                f"settings {{ profile = p }} }}\n" for i in range(count)))
            gateway.reload()
            yield cloud, gateway

    dtus = ('{ name = dtu, protocol = modbus, address = "127.0.0.1:0", limits { identifyTime = 60s, idleTime = 5m }, '
            "settings { framing = rtu, registration { length = 15 } } }")
    full = f"interval = 100ms, maxGap = 0, points = [ {points(10 * BLOCKS, 300, 20)} ]"

    def polled(self, gateway, seconds):
        """Answers and CPU of some seconds; there must be no request without answer."""
        def look():
            stats = gateway.stats()
            return stats["plugin.modbus.answers"], stats["plugin.modbus.timeouts"], self.cpu_s(gateway.pid), time.monotonic()
        before = look()
        threading.Event().wait(seconds)
        after = look()
        answers, timeouts, cpu, took = (b - a for a, b in zip(before, after))
        if timeouts or not answers:
            raise self.Failed(f"{answers} polls were answered, {timeouts} were not")
        return {"messages": answers, "per_second": answers / took, "cpu_s": cpu, "seconds": took}

    def modbus_dialled_in(self):
        got, bare = [], []
        for _ in range(3):
            argv = [self.tools / "bench_modbus", "uv", "--count", FULL_DTUS, "--blocks", BLOCKS, "--seconds", self.seconds]
            p = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)
            port = json.loads(p.stdout.readline())["port"]
            with self.simulated("--connect", f"127.0.0.1:{port}", "--first", FIRST_DTU, "--devices", FULL_DTUS, "--quiet"):
                bare.append(json.loads(p.communicate(timeout=60)[0]))
            with self.modbus_world(FULL_DTUS, lambda i: f"{FIRST_DTU + i}/1", self.full, "spreadStart = false", self.dtus) as (_, gateway):
                with self.simulated("--connect", gateway.process.ready["listeners"]["dtu"], "--first", FIRST_DTU, "--devices", FULL_DTUS,
                                    "--quiet"):
                    self.wait_online(gateway, FULL_DTUS)
                    threading.Event().wait(1)
                    got.append(self.polled(gateway, self.seconds))
        self.modbus_rows(f"modbus: polls/s, {FULL_DTUS} DTUs, RTU; bare libuv with checks", got, bare, 0.5)

    def modbus_dialling(self):
        got, bare = [], []
        for _ in range(3):
            with self.simulated("--listen", "127.0.0.1:0", "--units", 1) as server:
                port = int(re.search(r":(\d+)", server.stdout.readline()).group(1))
                bare.append(self.tool("bench_modbus", "libmodbus", "--to", port, "--count", FULL_LINES, "--blocks", BLOCKS, "--seconds",
                                      self.seconds))
                where = "connections = [ " + ", ".join(
                    f'{{ name = l{i}, protocol = modbus, to = "tcp://127.0.0.1:{port}", identity = line{i} }}' for i in range(FULL_LINES)) + " ]"
                with self.modbus_world(FULL_LINES, lambda i: f"line{i}", self.full, "spreadStart = false", extra=where) as (_, gateway):
                    self.wait_online(gateway, FULL_LINES)
                    threading.Event().wait(1)
                    got.append(self.polled(gateway, self.seconds))
        self.modbus_rows(f"modbus: polls/s, {FULL_LINES} lines dialled, MBAP; libmodbus asks them in turn", got, bare, 1)

    def modbus_rows(self, what, got, bare, bar):
        got, bare = (max(runs, key=lambda r: r["per_second"]) for runs in (got, bare))
        self.add(what, got["per_second"], "/s", bare["per_second"], bar=f"x{bar}", least=bar)
        self.add("  CPU a poll", self.micro(got), "us", self.micro(bare))

    def modbus_once_a_second(self, answer_delay):
        """All of it: ten registers each, that change all the time and are reported, over mqtt to the emulator."""
        profile = f"interval = 1s, points = [ {points(10)} ]"
        with self.modbus_world(MANY, lambda i: f"{FIRST_DTU + i}/1", profile, "report { mode = always }", self.dtus) as (_, gateway):
            before = self.rss(gateway.pid)
            with self.simulated("--connect", gateway.process.ready["listeners"]["dtu"], "--first", FIRST_DTU, "--devices", MANY, "--quiet",
                                "--answer-delay", answer_delay):
                self.wait_online(gateway, MANY)
                threading.Event().wait(3)
                delivered = gateway.stats()["bridge.records_delivered"]
                got = self.polled(gateway, max(self.seconds, 10))
                delivered = gateway.stats()["bridge.records_delivered"] - delivered
                memory = (self.rss(gateway.pid) - before) / MANY
        how = "" if answer_delay == "0s" else f", each answering after {answer_delay}"
        self.add(f"modbus: {MANY:,} DTUs polled once a second on one worker, all reported{how}", got["per_second"], "/s",
                 bar=f">= {MANY * 0.99:.0f}/s", least=MANY * 0.99)
        self.add("  share of a core, whole gateway", got["cpu_s"] / got["seconds"] * 100, "%")
        self.add("  CPU a poll, delivery to the platform included", self.micro(got), "us")
        self.add("  records delivered meanwhile", delivered / got["seconds"], "/s")
        self.add("  resident memory of a DTU, its connection, device and profile included", memory / 1024, "KiB")
