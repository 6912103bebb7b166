"""The gateway against a stock Mosquitto: what it says on the wire is read by somebody else's MQTT.

The emulator and the gateway come from one hand; a misreading of MQTT in both would not show. Here the broker is
Mosquitto, its log says what it received, and the platform's answers come from a Paho client in Python.
"""
import hashlib
import hmac
import json
import re
import socket
import ssl
import struct
import subprocess
import threading

import paho.mqtt.client as mqtt
import pytest
from conftest import ROOT, Process, wait_until
from gw import GW, PK, Gateway, device_name, secret, start_gateway  # noqa: F401


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Mosquitto:
    """A private broker; it cannot take port 0, so a free one is looked for and, if lost to another, looked for again."""

    def __init__(self, dir, tls=None, extra=()):
        self.dir, self.tls, self.extra = dir, tls, extra
        for _ in range(5):
            self.port = free_port()
            if self.start():
                return
        raise AssertionError(self.process.stderr())

    def start(self):
        lines = [f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false", "log_dest stderr", "log_type all",
                 "connection_messages true", "max_inflight_messages 0", "max_queued_messages 0", "user root"]
        lines = [line for line in lines if line.split()[0] not in [e.split()[0] for e in self.extra]] + list(self.extra)
        if self.tls:
            lines += [f"certfile {self.tls['certificate']}", f"keyfile {self.tls['key']}"]
        conf = self.dir / "mosquitto.conf"
        conf.write_text("\n".join(lines) + "\n")
        self.process = Process("/usr/sbin/mosquitto", "-c", conf, dir=self.dir, ready=False)
        self.process.start()
        return wait_until(lambda: self.listening() or not self.process.running(), "mosquitto to listen") is True

    def listening(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1):
                return self.process.running()
        except OSError:
            return False

    def stop(self):
        self.process.stop()

    def log(self):
        return self.process.stderr()


def sign(key, content):
    return hmac.new(key.encode(), content.encode(), hashlib.sha256).hexdigest()


class Platform:
    """Plays the platform's part: topology, logins, replies to posts. Writes down what came."""

    SECRETS = {f"{PK}/{device_name(i)}": secret(i) for i in range(3)}

    def __init__(self, broker, ca=None):
        self.posts, self.replies, self.problems, self.online = [], [], [], set()
        self.lock = threading.Lock()
        self.client = mqtt.Client("the-platform", clean_session=True)
        if ca:
            self.client.tls_set_context(ssl.create_default_context(cafile=str(ca)))
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.ready = threading.Event()
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self.on_message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self.ready.wait(30)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()

    def on_message(self, _client, _user, message):
        topic = message.topic
        if topic.endswith("_reply"):
            with self.lock:
                self.replies.append((topic, json.loads(message.payload)))
            return
        if "/thing/service/" in topic:
            return  # our own, coming back
        try:
            self.answer(topic, json.loads(message.payload), message.qos)
        except Exception as problem:  # an exception here would only end Paho's thread
            with self.lock:
                self.problems.append(f"{topic}: {problem!r} {message.payload!r}")

    def check_sign(self, sub):
        key = self.SECRETS[f"{sub['productKey']}/{sub['deviceName']}"]
        content = f"clientId{sub['clientId']}deviceName{sub['deviceName']}productKey{sub['productKey']}timestamp{sub['timestamp']}"
        assert sub["sign"].lower() == sign(key, content), "the signature of a device is wrong"

    def answer(self, topic, body, qos):
        names, code = {}, 200
        if topic in (f"/ext/ntp/{GW[0]}/{GW[1]}/request", f"/sys/{GW[0]}/{GW[1]}/thing/config/log/get", f"/sys/{GW[0]}/{GW[1]}/thing/config/get"):
            return  # what the gateway asks for itself; no answer is a fine answer
        if topic == f"/sys/{GW[0]}/{GW[1]}/thing/topo/add":
            assert len(body["params"]) <= 30
            for sub in body["params"]:
                self.check_sign(sub)
            names = [{"productKey": s["productKey"], "deviceName": s["deviceName"]} for s in body["params"]]
        elif topic.startswith(f"/ext/session/{GW[0]}/{GW[1]}/combine/"):
            names = self.session(topic.rsplit("/", 1)[1], body["params"])
        else:
            key = "/".join(topic.split("/")[2:4])
            assert key in self.online, "a publish of a device without a session"
            with self.lock:
                self.posts.append((topic, body, qos))
        self.client.publish(topic + "_reply", json.dumps({"id": body["id"], "code": code, "message": "success", "data": names}))

    def session(self, what, params):
        subs = params["deviceList"] if what.startswith("batch") else [params]
        assert len(subs) <= 5
        for sub in subs:
            key = f"{sub['productKey']}/{sub['deviceName']}"
            if what.endswith("login"):
                self.check_sign(sub)
                self.online.add(key)
            else:
                self.online.discard(key)
        names = [{"productKey": s["productKey"], "deviceName": s["deviceName"]} for s in subs]
        return names if what.startswith("batch") else names[0]

    def values(self, identifier):
        """Every value of a property that was posted, in order of arrival."""
        with self.lock:
            found = [body["params"].get(identifier) for topic, body, _ in self.posts if topic.endswith("/property/post")]
        return [v["value"] if isinstance(v, dict) and "value" in v else v for v in found if v is not None]

    def wait_value(self, identifier, value):
        wait_until(lambda: value in self.values(identifier), f"{identifier} = {value}")

    def send(self, i, method, params, id):
        topic = f"/sys/{PK}/{device_name(i)}/thing/service/{method}"
        self.client.publish(topic, json.dumps({"id": str(id), "version": "1.0", "params": params}), qos=1)

    def reply_to(self, id):
        def found():
            with self.lock:
                return [(topic, body) for topic, body in self.replies if str(body.get("id")) == str(id) and "/thing/service/" in topic]
        return wait_until(found, f"a reply to {id}")[0]


def make_certificates(dir):
    """A CA and a certificate for 127.0.0.1, alive for a day."""
    files = {name: dir / f"{name}.pem" for name in ("ca", "ca_key", "key", "request", "certificate")}
    extensions = dir / "extensions"
    extensions.write_text("subjectAltName = IP:127.0.0.1,DNS:localhost\n")

    def openssl(*args):
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", 1, "-subj", "/CN=Test CA", "-keyout", files["ca_key"],
            "-out", files["ca"])
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-keyout", files["key"], "-out", files["request"])
    openssl("x509", "-req", "-days", 1, "-in", files["request"], "-CA", files["ca"], "-CAkey", files["ca_key"], "-CAcreateserial",
            "-extfile", extensions, "-out", files["certificate"])
    return files


@pytest.fixture
def stock(spawn, tmp_path):
    """stock(tls=files, upstream=.., listener=..) -> (broker, platform, gateway), the bridge connected. In this order they live."""
    living = []

    def start(tls=None, **options):
        broker = Mosquitto(tmp_path, tls)
        living.append(broker.stop)
        platform = Platform(broker, tls and tls["ca"])
        living.append(platform.close)
        endpoint = f"{'ssl' if tls else 'tcp'}://127.0.0.1:{broker.port}"
        return broker, platform, Gateway(spawn, tmp_path, None, endpoint=endpoint, **options).wait_up()

    yield start
    for end in reversed(living):
        end()


def subscriptions(log, client):
    """The number of topics of each SUBSCRIBE that Mosquitto received from a client."""
    counts = []
    for line in log.splitlines():
        text = re.sub(r"^\d+: ", "", line)
        if text.startswith("Received SUBSCRIBE from " + client):
            counts.append(0)
        elif counts and re.match(r"\t\S+ \(QoS \d\)", text):
            counts[-1] += 1
        elif text.startswith("Received") and "SUBSCRIBE" in text:
            counts.append(0) if client in text else None
    return counts


def bridge_connection(log):
    """Client id, version, clean session, keep-alive and user name as Mosquitto understood them."""
    found = re.findall(r"New client connected from \S+ as (\S+) \(p(\d), c(\d), k(\d+), u'([^']*)'\)", log)
    return [c for c in found if c[0] != "the-platform"]


def check_wire(log):
    client, version, _clean, keep_alive, user = bridge_connection(log)[0]
    base, pairs = client.split("|", 1)
    assert 1 <= len(base) <= 64 and pairs.endswith("|")
    pairs = dict(p.split("=", 1) for p in pairs[:-1].split(","))
    assert pairs["signmethod"] in ("hmacsha256", "hmacsha1", "hmacmd5") and pairs["securemode"] in ("2", "3")
    assert user == f"{GW[1]}&{GW[0]}"
    assert version == "2" and 30 <= int(keep_alive) <= 1200  # Mosquitto's 2 is MQTT 3.1.1
    counts = subscriptions(log, client)
    assert counts and max(counts) <= 8 and min(counts) >= 1
    assert not re.search(r"protocol error|malformed", log, re.I)
    return client


def test_the_thread_over_a_stock_broker(stock):
    """covers: K01 L03 L07 M06 M20 M40"""
    broker, platform, gateway = stock(listener="ack = delivered")
    with gateway.terminal() as t:
        t.log_in()
        wait_until(lambda: f"{PK}/{device_name(0)}" in platform.online, "the device's login")
        assert t.report_acked(speed=605) == 0
        platform.wait_value("Speed", 60.5)  # the broker's acknowledgement may come before its delivery to us

        platform.send(0, "property/set", {"HeartbeatInterval": 60}, 41)
        request = t.receive_id(0x8103)
        assert request.body == bytes([1]) + struct.pack(">IBI", 1, 4, 60)
        t.general_reply(request)
        topic, body = platform.reply_to(41)
        assert topic == f"/sys/{PK}/{device_name(0)}/thing/service/property/set_reply" and body["code"] == 200

        platform.send(0, "SendText", {"text": "hello"}, 42)
        request = t.receive_id(0x8300)
        t.general_reply(request)
        assert platform.reply_to(42)[1]["code"] == 200
    wait_until(lambda: not platform.online, "the device's logout")
    client = check_wire(broker.log())
    received = re.findall(r"Received PUBLISH from " + re.escape(client) + r" \(d\d, q(\d), r(\d), m\d+, '([^']*)'", broker.log())
    assert {qos for qos, _, topic in received if topic.endswith("/property/post")} == {"1"}
    assert all(qos in "01" and retain == "0" for qos, retain, _ in received)
    assert not platform.problems


def test_a_broker_that_restarts_costs_no_acknowledged_record(stock, monkeypatch):
    """confirm = reply: a record counts as delivered when the platform's own answer is there. covers: K01"""
    monkeypatch.setenv("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lib/lsan.supp:print_suppressions=0")
    broker, platform, gateway = stock(listener="ack = delivered", upstream="confirm = reply")
    with gateway.terminal() as t:
        t.log_in()
        assert t.report_acked(speed=10) == 0
        sent = {t.report(speed=100 + i): (100 + i) / 10 for i in range(20)}
        broker.stop()
        wait_until(lambda: not gateway.status()["up"], "the gateway to notice")
        sent.update({t.report(speed=200 + i): (200 + i) / 10 for i in range(20)})
        assert broker.start(), broker.log()
        gateway.wait_up()
        answers = {}
        while len(answers) < len(sent):
            message = t.receive_id(0x8001)
            serial, of, result = struct.unpack(">HHB", message.body[:5])
            if of == 0x0200 and serial in sent:
                answers[serial] = result
        acknowledged = {sent[serial] for serial, result in answers.items() if result == 0}
        assert acknowledged <= set(platform.values("Speed")), "acknowledged, and the platform never had it"
        assert t.report_acked(speed=555) == 0
        assert 55.5 in platform.values("Speed")
    assert len(bridge_connection(broker.log())) >= 2
    assert not platform.problems


def test_tls_to_a_stock_broker(stock, tmp_path):
    """covers: K01"""
    files = make_certificates(tmp_path)
    broker, platform, gateway = stock(tls=files, extra=f'ca = "{files["ca"]}"', listener="ack = delivered")
    with gateway.terminal() as t:
        t.log_in()
        assert t.report_acked(speed=333) == 0
        platform.wait_value("Speed", 33.3)
    client = check_wire(broker.log())
    assert "securemode=2" in client
    assert not platform.problems


def test_a_broker_with_a_certificate_of_somebody_else_is_refused(spawn, tmp_path):
    files = make_certificates(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    others = make_certificates(other)
    broker = Mosquitto(tmp_path, files)
    try:
        gateway = Gateway(spawn, tmp_path, None, endpoint=f"ssl://127.0.0.1:{broker.port}", extra=f'ca = "{others["ca"]}"')
        gateway.wait_log("upstream.down")
        assert not gateway.status()["up"]
        assert not bridge_connection(broker.log())
    finally:
        broker.stop()
