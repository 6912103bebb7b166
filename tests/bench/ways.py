"""The parts of ./dev bench that go over every way to the platform: positions, memory, logins, the platform's return.

What is beside a kind's figure is a program of its library alone, with the same bytes to the same emulator.
"""
import base64
import contextlib
import hashlib
import hmac
import json
import ssl
import subprocess
import threading
import time
import urllib.request

DEVICES = 200
IDLE_EACH = 900  # devices in the measure of memory; of CoAP each has a socket more
LOGINS = 10000
BACK_RATE = 1000  # positions a second while the platform is away and comes back
OUTAGE = 1        # seconds


class Way:
    """How the gateway is told to go there, and what the library alone reaches."""

    def __init__(self, name, says, upstream, listeners="mqtt", node="subdevice", bare=None, ca=False, bar=None, extra="", limits=None):
        self.name, self.says, self.upstream, self.listeners, self.node = name, says, upstream, listeners, node
        self.bare, self.ca, self.bar, self.extra, self.limits = bare, ca, bar, extra, limits or {}


MQTT = 'type = mqtt, endpoint = "tcp://{mqtt}", loginRate = 0, inFlight = 1000, ratePerDeviceQos0 = 0, ratePerDeviceQos1 = 0, maxDevices = 20000'
COAP = "ratePerDeviceQos0 = 0, ratePerDeviceQos1 = 0, loginRate = 0, pull = 0s, maxDevices = 20000"
WAYS = [
    Way("mqtt", "mqtt, client paho", MQTT, bare="paho_alone", bar=0.7, limits={"members": 20000}),
    Way("packs", "mqtt, client paho, packs", MQTT + ", packs.enabled = true", bare="paho_alone", bar=3, limits={"members": 20000}),
    Way("mosquitto", "mqtt, client mosquitto", MQTT + ", client = mosquitto", bare="mosquitto_alone", limits={"members": 20000}),
    Way("http2", "http2", 'type = http2, endpoint = "https://{http2}", authEndpoint = "https://{https}/auth/bridge", ratePerDeviceQos0 = 0, '
        "ratePerDeviceQos1 = 0, loginParallel = 64", "http2 https mqtt", bare="nghttp2_alone", ca=True, bar=0.6),
    Way("https", "https", 'type = https, endpoint = "https://{https}", ratePerDevice = 0, loginRate = 0', "https mqtt", "device",
        bare="curl_alone", ca=True),
    Way("coaps", "coap, DTLS", 'type = coap, endpoint = "coaps://{coaps}", dtls = psk, ' + COAP, "coaps mqtt", "device",
        bare="coap_alone", limits={"coapSessions": 20000}),
    Way("coap", "coap, symmetric", 'type = coap, endpoint = "coap://{coap}", dtls = off, ' + COAP, "coap mqtt", "device",
        bare="coap_alone", limits={"coapSessions": 20000}),
]


class Ways:
    """Mixed into Bench."""

    @contextlib.contextmanager
    def way(self, way, devices, listener="ack = delivered"):
        import gw
        with self.world(devices, listener=listener, conf=gw.cloud_conf(devices, node=way.node, listeners=way.listeners, **way.limits),
                        upstream=lambda cloud: self.settings_of(way, cloud)) as (cloud, gateway):
            yield cloud, gateway

    @staticmethod
    def settings_of(way, cloud):
        at = {k: v.replace("127.0.0.1", "localhost") if way.ca else v for k, v in cloud.process.ready.items() if isinstance(v, str)}
        text = way.upstream
        for name, address in at.items():
            text = text.replace("{%s}" % name, address)
        return text + (f', tls {{ ca = "{cloud.ca}" }}' if way.ca else "")

    # ---- positions ----

    def ways(self):
        """Positions end to end over every kind of upstream, each answered when the platform has confirmed it, and what its library
        alone reaches with the same bytes; the best of three runs of each."""
        for way in WAYS:
            if self.kinds and way.name not in self.kinds:
                continue
            with self.way(way, DEVICES) as (cloud, gateway):
                runs = [self.load("flood", gateway.port, "--position", "--count", DEVICES, "--pid", gateway.pid, "--seconds", self.seconds,
                                  "--warm-up", 1000, "--window", 10) for _ in range(3)]
                if any(r["refused"] or r["unasked"] or not r["messages"] for r in runs):
                    raise self.Failed(f"{way.name}: positions were refused or answered twice: {runs}")
                got = max(runs, key=lambda r: r["per_second"])
                payload = self.one_position(cloud)
                gateway.process.stop()
                alone = max((getattr(self, way.bare)(way, cloud, payload) for _ in range(3)), key=lambda r: r["per_second"])
            if alone["failed"]:
                raise self.Failed(f"{way.name}: the bare program was refused: {alone}")
            self.add(f"{way.says}: positions/s end to end, each answered on the platform's confirmation", got["per_second"], "/s",
                     alone["per_second"], bar=f"x{way.bar}" if way.bar else None, least=way.bar)
            self.add("  CPU a position, whole gateway", self.micro(got), "us", self.micro(alone))

    def one_position(self, cloud):
        """The bytes of one position as the platform got them."""
        import gw
        topic = f"/sys/{gw.PK}/{gw.device_name(0)}/thing/event/property/post"
        found = [m for m in cloud.messages(topic=topic, direction="up", limit=100)]
        path = self.dir / "position.json"
        if found:
            text = found[-1]["payload"]
        else:  # it came in a pack
            text = json.dumps({"id": "1", "version": "1.0", "params": {"Speed": {"value": 60.5, "time": 1795243061338},
                                                                      "Direction": {"value": 90, "time": 1795243061338},
                                                                      "GeoLocation": {"value": {"CoordinateSystem": 1, "Longitude": 121.473701,
                                                                                                "Latitude": 31.230416, "Altitude": 12},
                                                                                      "time": 1795243061338}},
                               "method": "thing.event.property.post"}, separators=(",", ":"))
            if self.last_position is not None:
                text = self.last_position
        self.last_position = text if isinstance(text, str) else json.dumps(text, separators=(",", ":"))
        path.write_text(self.last_position)
        return path

    def stock_file(self, gateway=True):
        import gw
        path = self.dir / "stock.txt"
        path.write_text((f"{' '.join(gw.GW)} {gw.secret('gw')}\n" if gateway else "") + "".join(
            f"{gw.PK} {gw.device_name(i)} {gw.secret(i)}\n" for i in range(DEVICES)))
        return path

    def paho_alone(self, way, cloud, payload):
        return self.tool("bench_paho", "--uri", f"tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}", "--payload", payload, "--stock", self.stock_file(),
                         "--window", 1000, "--seconds", self.seconds)

    def mosquitto_alone(self, way, cloud, payload):
        """libmosquitto and libuv with terminals before them, everything on a topic of the gateway device itself."""
        import gw
        pk, dn = gw.GW
        sign = hmac.new(gw.secret("gw").encode(), f"clientId1deviceName{dn}productKey{pk}".encode(), hashlib.sha256).hexdigest()
        argv = [self.tools / "bench_broker", "--broker", cloud.mqtt[1], "--payload", payload, "--login",
                "1|securemode=3,signmethod=hmacsha256|", f"{dn}&{pk}", sign, f"/sys/{pk}/{dn}/thing/event/property/post"]
        with self.running(argv) as (port, pid):
            got = self.load("flood", port, "--position", "--count", DEVICES, "--pid", pid, "--seconds", self.seconds, "--warm-up", 500,
                            "--window", 5)
        return {**got, "failed": got["refused"]}

    def nghttp2_alone(self, way, cloud, payload):
        import bridge_client as client
        import gw
        bridge = (*gw.GW, gw.secret("gw"))
        self.auth_all(cloud, bridge, DEVICES)
        login, bodies = self.dir / "login", self.dir / "bodies"
        login.write_text("".join(f"{name}: {value}\n" for name, value in client.Bridge.login_headers(type("Who", (), {"device": bridge})())))
        text = base64.b64encode(payload.read_bytes()).decode()
        bodies.write_text("".join(json.dumps({"id": f"05a4a962-f21d-48b1-82de-86fb8c2c{i:04d}", "method": "fake", "params": {
            "deviceName": gw.device_name(i), "payload": text, "productKey": gw.PK,
            "topic": f"/sys/{gw.PK}/{gw.device_name(i)}/thing/event/property/post"}}, separators=(",", ":")) + "\n" for i in range(DEVICES)))
        return self.tool("bench_h2", "--to", cloud.process.ready["http2"].rsplit(":", 1)[1], "--login", login, "--bodies", bodies, "--path",
                         f"/message/pub/sys/{bridge[0]}/{bridge[1]}/bridge/post", "--window", DEVICES, "--seconds", self.seconds)

    def auth_all(self, cloud, bridge, count):
        """Devices 0 to count - 1 logged in behind the bridge, by libcurl alone."""
        import bridge_client as client
        import gw
        net_id = client.auth(cloud, bridge, gateway=True)["data"]["netId"]
        requests = self.dir / "auths"
        requests.write_text("".join("/auth/bridge\t\t" + "&".join(f"{k}={v}" for k, v in client.auth_form(
            (gw.PK, gw.device_name(i), gw.secret(i)), netId=net_id).items()) + "\n" for i in range(count)))
        got = self.tool("bench_curl", "--url", f"https://{cloud.process.ready['https']}", "--requests", requests, "--window", 64, "--once",
                        "--field", "Content-Type: application/x-www-form-urlencoded", "--want", '"code":200')
        if got["failed"]:
            raise self.Failed(f"devices could not log in by libcurl alone: {got}")
        return got

    def curl_alone(self, way, cloud, payload):
        import gw
        requests, text = self.dir / "requests", payload.read_text()
        context = ssl.create_default_context(cafile=cloud.ca)
        lines = []
        for i in range(DEVICES):
            dn = gw.device_name(i)
            sign = hmac.new(gw.secret(i).encode(), f"clientId1deviceName{dn}productKey{gw.PK}".encode(), hashlib.sha256).hexdigest()
            body = {"productKey": gw.PK, "deviceName": dn, "clientId": "1", "signmethod": "hmacsha256", "sign": sign}
            ask = urllib.request.Request(f"https://{cloud.process.ready['https']}/auth", data=json.dumps(body).encode(),
                                         headers={"Content-Type": "application/json"})
            with urllib.request.urlopen(ask, timeout=30, context=context) as answer:
                token = json.load(answer)["info"]["token"]
            lines.append(f"/topic/sys/{gw.PK}/{dn}/thing/event/property/post\tpassword: {token}\t{text}\n")
        requests.write_text("".join(lines))
        return self.tool("bench_curl", "--url", f"https://{cloud.process.ready['https']}", "--requests", requests, "--window", 8, "--seconds",
                         self.seconds, "--want", '"code":0')

    def coap_alone(self, way, cloud, payload):
        more = ["--dtls"] if way.name == "coaps" else []
        return self.tool("bench_coap", "--to", cloud.process.ready[way.name].rsplit(":", 1)[1], "--stock", self.stock_file(gateway=False),
                         "--payload", payload, "--seconds", self.seconds, *more)

    # ---- memory ----

    def devices(self):
        """Resident bytes of the gateway for each device that is online over each kind of upstream, its silent connection included."""
        for way in WAYS:
            if way.name in ("packs",) or (self.kinds and way.name not in self.kinds):
                continue
            first = IDLE_EACH // 3
            with self.way(way, IDLE_EACH) as (_, gateway):
                with self.idle(gateway.port, first):
                    self.wait_online(gateway, first)
                    got = self.growth(gateway, first, IDLE_EACH - first)
            self.add(f"{way.says}: resident memory of a device that is online, seen for the first time", got / 1024, "KiB")

    # ---- logins, and the platform's return ----

    def storms(self):
        """10,000 devices log in behind a bridge: terminals and devices together, then the devices alone after the connection was cut;
        then the platform restarts while positions come in."""
        for way in WAYS:
            if way.name in ("packs", "mosquitto") or (self.kinds and way.name not in self.kinds):
                continue
            many = LOGINS if way.name in ("mqtt", "http2") else 1000
            with self.way(way, many) as (cloud, gateway):
                bare = None
                if way.name == "http2":
                    import gw
                    self.auth_all(cloud, (*gw.GW, gw.secret("gw")), 1)
                began = time.monotonic()
                with self.idle(gateway.port, many, at_once=512):
                    self.wait_online(gateway, many)
                    self.add(f"{way.says}: {many:,} terminals connect, their devices log in, all online", time.monotonic() - began, "s")
                    if way.name in ("mqtt", "http2"):
                        rate, cpu = self.login_again(cloud, gateway, many)
                        if way.name == "http2":
                            gateway.process.popen.send_signal(19)
                            bare = many / self.auth_all(cloud, (*gw.GW, gw.secret("gw")), many)["seconds"]
                            gateway.process.popen.send_signal(18)
                        self.add(f"{way.says}: device logins after the connection was cut", rate, "/s", bare,
                                 bar=">= 5,000/s" if way.name == "http2" else None, least=5000 if way.name == "http2" else None)
                        self.add("  CPU a login", cpu * 1e6, "us")
            many = 1000
            with self.way(way, many) as (cloud, gateway):
                back, queued, more = self.return_of(cloud, gateway, many)
                self.add(f"{way.says}: all of {many:,} devices online and {queued:,} queued positions through after the platform's return",
                         back, "s")
                self.add("  the last device online", more, "s")

    def login_again(self, cloud, gateway, many):
        """Logins a second, and CPU seconds of each, after the connection was cut."""
        import gw
        before, cpu = gateway.stats()["upstream.logins"], self.cpu_s(gateway.pid)
        cloud.fault("cut", device="/".join(gw.GW))
        began = done = None
        deadline = time.monotonic() + 120
        while done is None:
            count = gateway.stats()["upstream.logins"] - before
            now = time.monotonic()
            if began is None and count > 0:
                began, first = now, count
            if count >= many:
                done = now
            if now > deadline:
                raise self.Failed(f"{count} of {many} devices logged in again within two minutes")
            time.sleep(0.005)
        return (many - first) / (done - began), (self.cpu_s(gateway.pid) - cpu) / many

    def return_of(self, cloud, gateway, many):
        """(until all is well again, how much was queued, until all devices are online), in seconds from when the platform listens."""
        argv = [self.tools / "bench_load", "rate", "--to", gateway.port, "--position", "--count", many, "--at-once", 64, "--rate", BACK_RATE,
                "--window", 64, "--seconds", 60]
        p = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, text=True)
        try:
            self.wait_online(gateway, many)
            start = gateway.stats()["bridge.records_delivered"]
            self.wait_until(lambda: gateway.stats()["bridge.records_delivered"] > start + BACK_RATE / 2, "positions to flow")
            logins = gateway.stats()["upstream.logins"]
            cloud.process.kill()
            threading.Event().wait(OUTAGE)
            cloud.start()
            began, online = time.monotonic(), None
            queued = gateway.status()["upstreams"][0]["queuedRecords"]
            deadline = began + 90
            while True:
                s, stats, now = gateway.status()["upstreams"][0], gateway.stats(), time.monotonic()
                if online is None and stats["upstream.logins"] >= logins + many and s["devicesOnline"] >= many:
                    online = now - began
                if online is not None and s["queuedRecords"] < BACK_RATE / 20:
                    break
                if now > deadline:
                    raise self.Failed(f"not whole after 90 s: {s}")
                time.sleep(0.01)
            if stats["bridge.records_lost"]:
                raise self.Failed(f"{stats['bridge.records_lost']} records were lost")
            return now - began, queued, online
        finally:
            p.kill()
            p.wait()
            p.stdout.close()
