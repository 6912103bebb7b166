"""Causeway without the platform: any MQTT broker as its upstream, here a stock Mosquitto.

What goes up, what comes down, and who is there is seen by a Paho client in Python; faults are what happens to brokers: they stop,
stall, refuse.
"""
import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading

import paho.mqtt.client as mqtt
import pytest
from conftest import BUILD, ROOT, wait_until
from gw import PK, Gateway, device_name
from terminal import Terminal
from test_mosquitto import Mosquitto, make_certificates

CLIENTS = ["mosquitto", "paho"]


class BrokerGateway(Gateway):
    """causewayd whose only upstream is a broker: no certificate of a bridge, no platform."""

    def write_config(self, **changes):
        self.parts.update(changes)
        p = self.parts
        self.config.write_text(f"""
stateDir = "{self.dir}/state"
control = "unix:{self.control}"
workers = 2
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0", {p["listener"]} }} ]
upstreams {{ local {{ type = broker, endpoint = "{self.endpoint}", clientId = gateway-1, retryMin = 100ms, retryMax = 1s
  {p["upstream"]} }} }}
{p["extra"]}
""")
        self.config.chmod(0o600)


class Watcher:
    """Somebody else at the broker: sees all, says what it is told to."""

    def __init__(self, broker, name="watcher", filter="#", **login):
        self.messages = []
        self.lock = threading.Lock()
        self.client = mqtt.Client(name, clean_session=True)
        if "user" in login:
            self.client.username_pw_set(login["user"], login["password"])
        if "ca" in login:
            self.client.tls_set_context(ssl.create_default_context(cafile=str(login["ca"])))
        self.ready = threading.Event()
        self.client.on_connect = lambda client, *_: client.subscribe(filter, 1)
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
        with self.lock:
            self.messages.append((message.topic, message.payload, message.retain))

    def of(self, topic):
        with self.lock:
            return [payload for t, payload, _ in self.messages if t == topic]

    def wait(self, topic, condition=lambda payload: True):
        """The first payload of a topic that passes."""
        return wait_until(lambda: [p for p in self.of(topic) if condition(p)], f"a message on {topic}")[0]

    def wait_last(self, topic, payload):
        wait_until(lambda: self.of(topic)[-1:] == [payload], f"{topic} = {payload}")

    def say(self, topic, payload, **more):
        self.client.publish(topic, payload, qos=1, **more)

    def speeds(self):
        posts = [json.loads(p)["params"] for p in self.of(topic(0, "property"))]
        return [params["Speed"]["value"] for params in posts if "Speed" in params]


def topic(i, *levels):
    return "/".join(["site", PK, device_name(i), *levels])


BRIDGE = "site/bridges/gateway-1/state"


@pytest.fixture
def site(spawn, tmp_path):
    """site(tls=files, upstream=.., listener=..) -> (broker, watcher, gateway), connected unless up=False."""
    living = []

    def start(tls=None, broker_conf=(), login=None, up=True, extra="", **options):
        broker = Mosquitto(tmp_path, tls, broker_conf)
        living.append(broker.stop)
        watcher = Watcher(broker, **{**({"ca": tls["ca"]} if tls else {}), **(login or {})})
        living.append(watcher.close)
        endpoint = f"{'ssl' if tls else 'tcp'}://127.0.0.1:{broker.port}"
        options.setdefault("listener", "ack = delivered")
        gateway = BrokerGateway(spawn, tmp_path, None, endpoint=endpoint, extra=extra, **options)
        return broker, watcher, gateway.wait_up() if up else gateway

    yield start
    for end in reversed(living):
        end()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_records_go_up_and_commands_come_down(site, client, version):
    broker, watcher, gateway = site(upstream=f'client = {client}, mqttVersion = "{version}"')
    watcher.wait_last(BRIDGE, b"online")
    with gateway.terminal() as t:
        t.log_in()
        watcher.wait_last(topic(0, "state"), b"online")
        assert t.report_acked(speed=605) == 0
        wait_until(lambda: 60.5 in watcher.speeds(), "the speed")
        assert {json.loads(p)["method"] for p in watcher.of(topic(0, "property"))} == {"thing.event.property.post"}

        watcher.say(topic(0, "command", "set"), json.dumps({"id": "41", "params": {"HeartbeatInterval": 60}}))
        request = t.receive_id(0x8103)
        assert request.body == bytes([1]) + struct.pack(">IBI", 1, 4, 60)
        t.general_reply(request)
        answer = json.loads(watcher.wait(topic(0, "reply", "set")))
        assert answer["id"] == "41" and answer["code"] == 200

        watcher.say(topic(0, "command", "SendText"), json.dumps({"text": "hello"}))  # the parameters alone
        request = t.receive_id(0x8300)
        t.general_reply(request)
        assert json.loads(watcher.wait(topic(0, "reply", "SendText")))["code"] == 200
    watcher.wait_last(topic(0, "state"), b"offline")
    gateway.process.stop()
    watcher.wait_last(BRIDGE, b"offline")
    spoken = re.findall(r"New client connected from \S+ as gateway-1 \(p(\d), c1, k60\)", broker.log())
    assert spoken == ["5" if version == "5" else "2"]  # Mosquitto's 2 is MQTT 3.1.1
    assert not re.search(r"protocol error|malformed", broker.log(), re.I)
    assert "gateway-1 disconnected." in broker.log() or "Client gateway-1 disconnected" in broker.log()


@pytest.mark.parametrize("client", CLIENTS)
def test_plain_values_one_topic_each(site, client):
    broker, watcher, gateway = site(upstream=f"client = {client}, payload = plain, retain = [property]")
    with gateway.terminal() as t:
        t.log_in()
        assert t.report_acked(speed=605, alarm=1) == 0
        assert watcher.wait(topic(0, "property", "Speed")) == b"60.5"
        values = {t for t, _, _ in watcher.messages if t.startswith(topic(0, "property/"))}
        assert len(values) > 3
        alarms = wait_until(lambda: [p for t, p, _ in list(watcher.messages) if t.startswith(topic(0, "event/"))], "an event")
        assert set(json.loads(alarms[0])) == {"time", "value"}
        late = Watcher(broker, "late")  # what is kept is told to who comes later; events are not
        try:
            assert late.wait(topic(0, "property", "Speed")) == b"60.5"
            assert late.wait(topic(0, "state")) == b"online"
            with late.lock:
                assert all(retained for _, _, retained in late.messages)
                assert not [t for t, _, _ in late.messages if "/event/" in t]
        finally:
            late.close()


def test_templates_of_ones_own(site):
    broker, watcher, gateway = site(upstream="""
        topic = "plant/${kind}/${productKey}/dev-${deviceName}/${name}", state = "alive/${deviceName}", bridgeState = "alive/gw"
        command = "do/${productKey}/${deviceName}/${name}/${request}", reply = "did/${request}"
        """)
    watcher.wait_last("alive/gw", b"online")
    with gateway.terminal() as t:
        t.log_in()
        watcher.wait_last("alive/" + device_name(0), b"online")
        assert t.report_acked(speed=100) == 0
        watcher.wait(f"plant/property/{PK}/dev-{device_name(0)}/post")
        watcher.say(f"do/{PK}/{device_name(0)}/SendText/r-7", json.dumps({"params": {"text": "hello"}}))
        t.general_reply(t.receive_id(0x8300))
        answer = json.loads(watcher.wait("did/r-7"))
        assert answer["id"] == "r-7" and answer["code"] == 200


def test_every_command_ends_with_an_answer(site):
    broker, watcher, gateway = site(extra="commands { timeout = 1s }")
    with gateway.terminal() as t:
        t.log_in()
        watcher.wait_last(topic(0, "state"), b"online")

        def code(id, name, payload):
            watcher.say(topic(0, "command", name), payload)
            found = watcher.wait(topic(0, "reply", name), lambda p: json.loads(p)["id"] == id)
            return json.loads(found)["code"]

        assert code("1", "NoSuchThing", b'{"id": "1", "params": {}}') == 501
        assert code("2", "set", b'{"id": "2", "params": [1]}') == 460
        assert code("", "set", b"not JSON") == 460
        assert code("4", "SendText", b'{"id": 4, "params": {"text": "nobody answers"}}') == 408
    watcher.wait_last(topic(0, "state"), b"offline")
    assert code("5", "set", b'{"id": "5", "params": {"HeartbeatInterval": 60}}') == 404
    before = gateway.stats()["upstream.downlinks_odd"]
    watcher.say(topic(7, "command", "set"), b"{}")  # nobody's
    gateway.wait_stat("upstream.downlinks_odd", before + 1)


def test_a_retained_command_is_not_carried_out(site, tmp_path, spawn):
    broker, watcher, gateway = site()
    with gateway.terminal() as t:
        t.log_in()
        gateway.process.restart()
        gateway.wait_up()
    watcher.say(topic(0, "command", "SendText"), b'{"params": {"text": "again"}}', retain=True)
    watcher.wait(topic(0, "command", "SendText"))
    gateway.process.restart()
    gateway.wait_up()
    gateway.wait_log("a retained command")
    assert gateway.stats()["upstream.downlinks_odd"] >= 1


def test_the_will_tells_of_a_killed_bridge(site):
    broker, watcher, gateway = site()
    watcher.wait_last(BRIDGE, b"online")
    gateway.process.kill()
    watcher.wait_last(BRIDGE, b"offline")
    gateway.process.start()
    gateway.wait_up()
    watcher.wait_last(BRIDGE, b"online")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_broker_that_restarts_costs_no_acknowledged_record(site, client, monkeypatch):
    monkeypatch.setenv("LSAN_OPTIONS", f"suppressions={ROOT}/tests/lib/lsan.supp:print_suppressions=0")
    broker, watcher, gateway = site(upstream=f"client = {client}")
    with gateway.terminal() as t, gateway.terminal(1) as other:
        t.log_in()
        other.log_in()
        assert t.report_acked(speed=10) == 0
        sent = {t.report(speed=100 + i): (100 + i) / 10 for i in range(20)}
        broker.stop()
        wait_until(lambda: not gateway.status()["up"], "the gateway to notice")
        other.close()  # leaves while nobody can be told
        gateway.wait_gauge("net.connections", 1)
        sent.update({t.report(speed=200 + i): (200 + i) / 10 for i in range(20)})
        assert broker.start(), broker.log()
        wait_until(lambda: watcher.client.is_connected(), "the watcher to be back")
        gateway.wait_up()
        answers = {}
        while len(answers) < len(sent):
            message = t.receive_id(0x8001)
            serial, of, result = struct.unpack(">HHB", message.body[:5])
            if of == 0x0200 and serial in sent:
                answers[serial] = result
        assert t.report_acked(speed=555) == 0
        watcher.wait_last(topic(0, "state"), b"online")
        watcher.wait_last(topic(1, "state"), b"offline")
    after = Watcher(broker, "after")  # the broker kept nothing over its restart, so this is what was said since
    try:
        assert after.wait(topic(1, "state")) == b"offline"
    finally:
        after.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_stalled_broker_delays_and_loses_nothing(site, client):
    """SIGSTOP: nothing is acknowledged, nothing is lost, devices are told `pending` and later what became of it."""
    broker, watcher, gateway = site(upstream=f"client = {client}, ackTimeout = 200ms")
    with gateway.terminal() as t:
        t.log_in()
        assert t.report_acked(speed=10) == 0
        broker.process.signal(signal.SIGSTOP)
        try:
            results = [t.report_acked(speed=100 + i) for i in range(5)]
            assert results == [1] * 5  # not yet
            assert gateway.status()["upstreams"][0]["queuedRecords"] >= 5
        finally:
            broker.process.signal(signal.SIGCONT)
        gateway.wait_gauge("lane.queued_records", 0)
        assert t.report_acked(speed=200) == 0
        wait_until(lambda: 20.0 in watcher.speeds(), "the last one")
    seen = [s for i, s in enumerate(watcher.speeds()) if s not in watcher.speeds()[:i]]
    assert seen == [1.0] + [10 + i / 10 for i in range(5)] + [20.0], "all there, and in order"


@pytest.mark.parametrize("client", CLIENTS)
def test_tls(site, client, tmp_path):
    files = make_certificates(tmp_path)
    broker, watcher, gateway = site(tls=files, upstream=f"client = {client}", extra=f'ca = "{files["ca"]}"')
    with gateway.terminal() as t:
        t.log_in()
        assert t.report_acked(speed=333) == 0
        watcher.wait(topic(0, "property"))
    gateway.process.stop()
    watcher.wait_last(BRIDGE, b"offline")


@pytest.mark.parametrize("client", CLIENTS)
def test_somebody_elses_certificate_is_refused(site, client, tmp_path):
    files = make_certificates(tmp_path)
    (tmp_path / "other").mkdir()
    others = make_certificates(tmp_path / "other")
    broker, watcher, gateway = site(tls=files, upstream=f"client = {client}", extra=f'ca = "{others["ca"]}"', up=False)
    gateway.wait_log("certificate verify failed")
    assert not gateway.status()["up"]
    assert "gateway-1" not in broker.log()


def password_file(dir):
    path = dir / "passwords"
    subprocess.run(["mosquitto_passwd", "-c", "-b", path, "causeway", "right"], check=True, capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", path, "watcher", "watching"], check=True, capture_output=True)
    return ["allow_anonymous false", f"password_file {path}"]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_user_and_password(site, client, version, tmp_path):
    (tmp_path / "password").write_text("wrong\n")
    (tmp_path / "password").chmod(0o600)
    broker, watcher, gateway = site(
        broker_conf=password_file(tmp_path), login={"user": "watcher", "password": "watching"}, up=False,
        upstream=f'client = {client}, mqttVersion = "{version}", user = causeway, password = "file:{tmp_path}/password"')
    gateway.wait_log("the broker refused the connection")
    assert not gateway.status()["up"]
    (tmp_path / "password").write_text("right\n")
    gateway.process.restart()
    gateway.wait_up()
    assert "right" not in gateway.process.stderr()


@pytest.mark.parametrize("client", CLIENTS)
def test_with_mqtt_5_a_refused_message_is_settled_as_refused(site, client, tmp_path):
    """A broker says no to a topic: the device is answered, the record is counted and logged with the broker's code."""
    (tmp_path / "acl").write_text("user causeway\ntopic write site/+/+/state\ntopic write site/bridges/#\nuser watcher\ntopic read #\n")
    broker, watcher, gateway = site(  # with an unlimited queue Mosquitto 2.0.11 drops who was refused a message
        broker_conf=[*password_file(tmp_path), f"acl_file {tmp_path}/acl", "max_queued_messages 1000"], login={"user": "watcher", "password": "watching"},
        upstream=f'client = {client}, mqttVersion = "5", user = causeway, password = right')
    with gateway.terminal() as t:
        t.log_in()
        assert t.report_acked(speed=1) == 0  # it would send it for ever
    assert gateway.stats()["bridge.records_refused"] >= 1
    assert "code=135" in gateway.log_lines("record.refused")[0]  # not authorized
    assert watcher.of(topic(0, "property")) == []


def test_a_stop_in_the_middle_of_traffic_says_goodbye(site):
    broker, watcher, gateway = site()
    with gateway.terminal() as t, gateway.terminal(1) as other:
        t.log_in()
        other.log_in()
        for i in range(200):
            t.report(speed=i)
        gateway.process.stop()
    for i in (0, 1):
        watcher.wait_last(topic(i, "state"), b"offline")
    watcher.wait_last(BRIDGE, b"offline")


def test_a_stop_while_the_broker_is_stalled_ends(site):
    broker, watcher, gateway = site(extra="stopTimeout = 1s")
    with gateway.terminal() as t:
        t.log_in()
        watcher.wait_last(topic(0, "state"), b"online")
        broker.process.signal(signal.SIGSTOP)
        try:
            t.report(speed=1)
            gateway.process.stop()
        finally:
            broker.process.signal(signal.SIGCONT)


@pytest.mark.parametrize("setting, complaint", [
    ('topic = "a/${productkey}/${deviceName}"', r"topic: '\$\{productkey\}' is not known here; there are \$\{productKey\}, \$\{deviceName\}"),
    ('topic = "a/${deviceName}/+"', "topic: .* has a wildcard"),
    ('topic = "a//${deviceName}"', "topic: .* has an empty level"),
    ('topic = "a/${kind}"', r"topic: .* must have \$\{deviceName\}"),
    ('payload = plain, topic = "a/${deviceName}"', r"topic: .* must have \$\{name\}"),
    ('command = "a/${productKey}/x-${deviceName}/${name}"', r"\$\{deviceName\} must be a whole level"),
    ('retain = [everything]', "retain: 'everything' is not one of"),
    ('confirm = reply', "confirm: nobody replies"),
    ('mqttVersion = "5", cleanSession = false', "cleanSession = false needs"),
    ('password = x', "password without user"),
    ('endpoint = "ws://127.0.0.1:80"', "client mosquitto has no WebSocket"),
])
def test_what_makes_no_sense_is_an_error_of_the_configuration(tmp_path, setting, complaint):
    conf = tmp_path / "application.conf"
    endpoint = "" if "endpoint" in setting else 'endpoint = "tcp://127.0.0.1:1883", '
    conf.write_text(f"""
stateDir = "{tmp_path}/state", control = ""
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ local {{ type = broker, {endpoint}{setting} }} }}
""")
    (tmp_path / "devices.conf").write_text("")
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", conf], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert re.search(complaint, done.stdout + done.stderr), done.stdout + done.stderr


def printed(has):
    """The first block of the documentation that has this text in it."""
    text = (ROOT / "README.md").read_text()
    return next(block for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S) if has in block)


def test_the_configuration_of_the_documentation_runs_as_printed(spawn, tmp_path):
    """But for the addresses, which are somebody else's here."""
    broker = Mosquitto(tmp_path)
    watcher = Watcher(broker)
    try:
        conf = printed("type = broker\n")  # alone on its line: the whole configuration, not one of the short ones
        for here, there in (("0.0.0.0:7611", "127.0.0.1:0"), ("127.0.0.1:1883", f"127.0.0.1:{broker.port}"),
                            ("/tmp/causeway.sock", f"{tmp_path}/control.sock")):
            assert here in conf
            conf = conf.replace(here, there)
        (tmp_path / "application.conf").write_text(conf)
        (tmp_path / "devices.conf").write_text(printed("truck-0001, deviceSecret"))
        gateway = spawn("causewayd", "-c", tmp_path / "application.conf")
        with Terminal(gateway.ready["listeners"]["trucks"], "13800000001") as t:
            t.log_in()
            assert t.report_acked(speed=605) == 0
            for line in printed("site/trucks/truck-0001/state online").splitlines():
                where, what = line.split(" ")
                where = where.replace("HOST", socket.gethostname())
                assert watcher.wait(where) == what.encode()
    finally:
        watcher.close()
        broker.stop()
