"""Fixtures of tests that run causewayd: a gateway beside the emulator, its configuration, its control socket."""
import json
import pathlib
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT, wait_until

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from terminal import Terminal  # noqa: E402

GW = ("a1EmuGw0001", "gw-0001")
PK = "a1EmuSub001"
PHONES = ["13800000001", "13800000002", "13800000003"]


def device_name(i):
    return f"sub-{i + 1:04d}"


def cloud_conf(devices=3, **limits):
    """Stock of one gateway and `devices` sub-devices; secrets are made up here and live as long as the test."""
    limits = {"profile": "off", **limits}
    lines = [
        f'products = [ {{ productKey = {GW[0]}, productSecret = GwPs0123456789AB, nodeType = gateway }},',
        f'             {{ productKey = {PK}, productSecret = SubPs0123456789A, nodeType = subdevice }} ]',
        'devices = [',
        f'  {{ productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {secret("gw")} }}',
    ]
    for i in range(devices):
        lines.append(f'  {{ productKey = {PK}, deviceName = {device_name(i)}, deviceSecret = {secret(i)} }}')
    lines += [']', 'listeners { mqtt = "127.0.0.1:0", api = "127.0.0.1:0" }',
              "limits { " + ", ".join(f"{k} = {v}" for k, v in limits.items()) + " }"]
    return "\n".join(lines) + "\n"


def secret(i):
    return f"s{i}".ljust(32, "0")


def phone(i):
    return f"138{i + 1:08d}"


def devices_conf(devices=3):
    return "".join(f"{phone(i)} {{ productKey : {PK}, deviceName : {device_name(i)}, deviceSecret : {secret(i)} }}\n"
                   for i in range(devices))


def wait_reported(cloud, i, identifier):
    """The value of a property of sub-device i once the platform has it."""
    return wait_until(lambda: cloud.device(PK, device_name(i))["reported"].get(identifier), f"property {identifier}")["value"]


class Gateway:
    """causewayd with its files in one directory."""

    def __init__(self, spawn, dir, cloud, devices=3, listener="", extra="", upstream="", name="causewayd", endpoint=None,
                 transport="tcp"):
        self.dir = pathlib.Path(dir) / name
        self.dir.mkdir(mode=0o700)
        self.config = self.dir / "application.conf"
        self.devices = self.dir / "devices.conf"
        self.control = self.dir / "control.sock"
        self.devices.write_text(devices_conf(devices))
        self.devices.chmod(0o600)
        self.endpoint = endpoint or f"tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}"
        self.parts = {"listener": listener, "extra": extra, "upstream": upstream, "transport": transport}
        self.write_config()
        self.process = spawn("causewayd", "-c", self.config, dir=self.dir, name=name)

    def write_config(self, **changes):
        self.parts.update(changes)
        p = self.parts
        self.config.write_text(f"""
productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {secret("gw")}
stateDir = "{self.dir}/state"
control = "unix:{self.control}"
workers = 2
listeners = [
  {{ name = trucks, protocol = jt808, address = "127.0.0.1:0", transport = {p["transport"]}
     {p["listener"]} }}
]
upstreams {{ cloud {{ endpoint = "{self.endpoint}", retryMin = 100ms, retryMax = 1s, ratePerDeviceQos1 = 0
  {p["upstream"]} }} }}
{p["extra"]}
""")
        self.config.chmod(0o600)

    @property
    def address(self):
        return self.process.ready["listeners"]["trucks"]

    def terminal(self, i=0, **options):
        return Terminal(self.address, phone(i), **options)

    def cli(self, *args, check=True):
        done = subprocess.run([BUILD / "bin" / "causeway", *args, "--control", f"unix:{self.control}"],
                              capture_output=True, text=True, timeout=60)
        if check:
            assert done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
        return done

    def stats(self):
        return json.loads(self.cli("stats", "--json").stdout)

    def status(self):
        return json.loads(self.cli("status", "--json", check=False).stdout)

    def wait_stat(self, name, at_least):
        return wait_until(lambda: self.stats()[name] >= at_least and self.stats()[name], f"{name} >= {at_least}")

    def wait_log(self, text):
        wait_until(lambda: text in self.process.stderr(), f"{text!r} in the log")

    def wait_up(self):
        wait_until(lambda: self.status()["up"], "the upstream to come up")
        return self


@pytest.fixture
def start_gateway(spawn, tmp_path):
    def start(cloud, **options):
        return Gateway(spawn, tmp_path, cloud, **options)
    return start


@pytest.fixture
def world(start_cloud, start_gateway):
    """world(devices=3, listener="ack = delivered", ...) -> (cloud, gateway), the bridge logged in."""
    def start(devices=3, limits=None, **options):
        cloud = start_cloud(cloud_conf(devices, **(limits or {})))
        return cloud, start_gateway(cloud, devices=devices, **options).wait_up()
    return start
