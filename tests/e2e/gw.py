"""Fixtures of tests that run causewayd: a gateway beside the emulator, its configuration, its control socket."""
import hashlib
import http.client
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading

import pytest
from conftest import BUILD, ROOT, wait_until

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from terminal import Terminal  # noqa: E402

GW = ("a1EmuGw0001", "gw-0001")
PK = "a1EmuSub001"


# Every decoder of every test in a process of its own: CW_TEST_ISOLATED=1.
ISOLATED = 'isolation.protocols = ["*"]' if os.environ.get("CW_TEST_ISOLATED") == "1" else ""


def device_name(i):
    return f"sub-{i + 1:04d}"


def cloud_conf(devices=3, node="subdevice", listeners="mqtt", **limits):
    """Stock of one gateway and `devices` devices; secrets are made up here and live as long as the test."""
    limits = {"profile": "off", **limits}
    lines = [
        f'products = [ {{ productKey = {GW[0]}, productSecret = GwPs0123456789AB, nodeType = gateway }},',
        f'             {{ productKey = {PK}, productSecret = SubPs0123456789A, nodeType = {node} }} ]',
        'devices = [',
        f'  {{ productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {secret("gw")} }}',
    ]
    for i in range(devices):
        lines.append(f'  {{ productKey = {PK}, deviceName = {device_name(i)}, deviceSecret = {secret(i)} }}')
    lines += [']', "listeners { " + ", ".join(f'{name} = "127.0.0.1:0"' for name in (*listeners.split(), "api")) + " }", 'messages { keep = 500000 }',
              "limits { " + ", ".join(f"{k} = {v}" for k, v in limits.items()) + " }"]
    return "\n".join(lines) + "\n"


SEED = os.urandom(16)


def secret(i):
    """The secret of device i, or of the gateway ("gw"): made up for this run, so that a test may look for it in every output."""
    return hashlib.md5(SEED + str(i).encode()).hexdigest()


def phone(i):
    return f"138{i + 1:08d}"


def devices_conf(devices=3):
    return "".join(f"{phone(i)} {{ productKey : {PK}, deviceName : {device_name(i)}, deviceSecret : {secret(i)} }}\n"
                   for i in range(devices))


def wait_reported(cloud, i, identifier):
    """The value of a property of sub-device i once the platform has it."""
    return wait_until(lambda: cloud.device(PK, device_name(i))["reported"].get(identifier), f"property {identifier}")["value"]


def device_path(i):
    return f"/devices/{PK}/{device_name(i)}"


def ask(cloud, i, rest, body, **query):
    """Send something down from the platform on a thread of its own; the returned function waits for (status, answer)."""
    result = []
    thread = threading.Thread(target=lambda: result.append(cloud.send(device_path(i) + rest, body, query=query)))
    thread.start()

    def join():
        thread.join()
        return result[0]
    return join


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Operator:
    """Asks a running gateway over its control socket; `control` is the path of that."""
    control = None

    def ask(self, path, method="GET"):
        """(status, JSON) of the control socket, without the tool in between."""
        connection = UnixConnection(self.control)
        try:
            connection.request(method, "/api/v1" + path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stats(self):
        return self.ask("/stats")[1]

    def status(self):
        return self.ask("/status")[1]

    def wait_stat(self, name, at_least=1):
        return wait_until(lambda: self.stats()[name] >= at_least and self.stats()[name], f"{name} >= {at_least}")


class Gateway(Operator):
    """causewayd with its files in one directory."""

    def __init__(self, spawn, dir, cloud, devices=3, listener="", extra="", upstream="", name="causewayd", endpoint=None,
                 transport="tcp", listeners="", rates="ratePerDeviceQos1 = 0", identity=None,
                 program="causewayd", env=None):
        self.dir = pathlib.Path(dir) / name
        self.dir.mkdir(mode=0o700)
        self.config = self.dir / "application.conf"
        self.devices = self.dir / "devices.conf"
        self.control = self.dir / "control.sock"
        self.devices.write_text(devices_conf(devices))
        self.devices.chmod(0o600)
        self.endpoint = endpoint or f"tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}"
        self.parts = {"listener": listener, "extra": extra, "upstream": upstream, "transport": transport,
                      "listeners": listeners, "rates": rates,
                      "identity": f'productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {secret("gw")}'
                      if identity is None else identity}
        self.write_config()
        self.process = spawn(program, "-c", self.config, dir=self.dir, name=name, env=env)

    def write_config(self, **changes):
        self.parts.update(changes)
        p = self.parts
        self.config.write_text(f"""
{p["identity"]}
stateDir = "{self.dir}/state"
control = "unix:{self.control}"
workers = 2
listeners = [
  {{ name = trucks, protocol = jt808, address = "127.0.0.1:0", transport = {p["transport"]}
     {p["listener"]} }}
  {p["listeners"]}
]
upstreams {{ cloud {{ endpoint = "{self.endpoint}", retryMin = 100ms, retryMax = 1s, {p["rates"]}
  {p["upstream"]} }} }}
{p["extra"]}
{ISOLATED if ISOLATED and "isolation" not in p["extra"] else ""}
""")
        self.config.chmod(0o600)

    @property
    def address(self):
        return self.process.ready["listeners"]["trucks"]

    def terminal(self, i=0, address=None, **options):
        return Terminal(address or self.address, phone(i), **options)

    def raw(self, address=None):
        """A socket to a listener."""
        host, port = (address or self.address).rsplit(":", 1)
        return socket.create_connection((host.strip("[]"), int(port)), 30)

    def cli(self, *args, check=True):
        done = subprocess.run([BUILD / "bin" / "causeway", *args, "--control", f"unix:{self.control}"],
                              capture_output=True, text=True, timeout=60)
        if check:
            assert done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
        return done

    def device(self, i):
        return self.ask(f"/devices/{phone(i)}")[1]

    def wait_gauge(self, name, value):
        wait_until(lambda: self.stats()[name] == value, f"{name} == {value}")

    def wait_log(self, text):
        wait_until(lambda: text in self.process.stderr(), f"{text!r} in the log")

    def log_lines(self, id):
        """The log's lines of one id."""
        return [line for line in self.process.stderr().splitlines() if line.split(" ")[2:3] == [id]]

    def wait_up(self):
        wait_until(lambda: self.status()["up"], "the upstream to come up")
        return self

    def wait_state(self, i, state):
        wait_until(lambda: self.device(i)["state"] == state, f"device {i} {state}")

    def reload(self):
        return self.cli("reload").stdout

    def told_secrets(self):
        """Files of this gateway's output that hold a secret, none one hopes."""
        secrets = set(re.findall(r"deviceSecret\s*[:=]\s*(\w{32})", self.config.read_text() + self.devices.read_text()))
        return [f.name for f in self.dir.glob("*.*") if f.suffix in (".out", ".err", ".trace")
                if any(s in f.read_text(errors="replace") for s in secrets)]


@pytest.fixture
def start_gateway(spawn, tmp_path):
    """start_gateway(cloud, ...) -> a Gateway; afterwards none may have written a secret anywhere."""
    made = []

    def start(cloud, **options):
        made.append(Gateway(spawn, tmp_path, cloud, **options))
        return made[-1]
    yield start
    assert [told for g in made for told in g.told_secrets()] == []


@pytest.fixture
def world(start_cloud, start_gateway, tmp_path):
    """world(devices=3, listener="ack = delivered", ...) -> (cloud, gateway), the bridge logged in."""
    def start(devices=3, limits=None, **options):
        cloud = start_cloud(cloud_conf(devices, **(limits or {})))
        stock = tmp_path / "causeway-cloud.conf"  # from now on a restart of the platform keeps its address
        stock.write_text(stock.read_text().replace('mqtt = "127.0.0.1:0"', f'mqtt = "127.0.0.1:{cloud.mqtt[1]}"'))
        return cloud, start_gateway(cloud, devices=devices, **options).wait_up()
    return start
