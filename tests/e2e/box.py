"""A gateway whose identities the test decides, beside the emulator."""
import json
import os
import re
import subprocess
import sys

import pytest
from conftest import BUILD, PATIENCE, ROOT, wait_until
from gw import UnixConnection

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from terminal import Terminal  # noqa: E402

GPK, GPS, GDN = "a1EmuGw0001", "GwPs0123456789AB", "gw-0001"
SPK = "a1EmuSub001"
KEY, KEY_SECRET = "EmuAccessKeyId77", "EmuAccessKeySecret0123456789XY"


class Box:
    """One gateway whose certificate the test decides."""

    def __init__(self, spawn, dir, cloud):
        self.spawn, self.cloud = spawn, cloud
        self.dir = dir / "gw"
        self.dir.mkdir(mode=0o700)
        self.state = self.dir / "state"
        self.config = self.dir / "application.conf"
        self.control = self.dir / "control.sock"
        (self.dir / "devices.conf").write_text("".join(
            f"1390000000{i} {{ productKey = {SPK}, deviceName = sub-{i}, deviceSecret = {'d' * 32} }}\n" for i in range(3)))
        (self.dir / "devices.conf").chmod(0o600)
        self.runs = 0
        self.process = None

    def https(self):
        return f"https://{self.cloud.process.ready['https']}"

    def mqtt(self):
        return "%s:%d" % self.cloud.mqtt

    def write(self, identity, upstreams=None, registration="endpoint = ${https}", more=""):
        """`identity`: the lines that say who the bridge is."""
        upstreams = upstreams or f'upstreams {{ cloud {{ endpoint = "ssl://{self.mqtt()}", retryMin = 50ms, retryMax = 200ms }} }}'
        self.config.write_text(f"""
https = "{self.https()}", mqtt = "ssl://{self.mqtt()}"
{identity}
registration {{ {registration} }}
ca = "{self.cloud.ca}"
stateDir = "{self.state}"
control = "unix:{self.control}"
workers = 1
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
{upstreams}
{more}
""")
        self.config.chmod(0o600)
        return self

    def start(self, ready=True, env=None):
        self.runs += 1
        self.process = self.spawn("causewayd", "-c", self.config, dir=self.dir, name=f"causewayd{self.runs}", ready=ready, env=env)
        return self

    def run(self, env=None):
        """A start that ends by itself: (status, log)."""
        done = subprocess.run([BUILD / "bin" / "causewayd", "-c", self.config], capture_output=True, text=True, timeout=2 * PATIENCE,
                              env={**os.environ, **(env or {})})
        assert not re.search("Sanitizer|runtime error", done.stderr), done.stderr
        return done.returncode, done.stderr

    def check(self):
        done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", self.config], capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def status(self):
        connection = UnixConnection(self.control)
        try:
            connection.request("GET", "/api/v1/status")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def reachable(self):
        try:
            return self.status()
        except OSError:
            return None

    def wait_up(self):
        wait_until(lambda: (self.reachable() or {}).get("up"), "the upstream to come up")
        return self

    def cli(self, *args):
        done = subprocess.run([BUILD / "bin" / "causeway", *args, "--control", f"unix:{self.control}"], capture_output=True, text=True,
                              timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def ask(self, path, method="GET"):
        connection = UnixConnection(self.control)
        try:
            connection.request(method, "/api/v1" + path)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def stats(self):
        return self.ask("/stats")[1]

    def wait_stat(self, name, at_least=1):
        return wait_until(lambda: self.stats()[name] >= at_least and self.stats()[name], f"{name} >= {at_least}")

    def terminal(self, phone):
        return Terminal(self.process.ready["listeners"]["trucks"], phone)

    def kept(self):
        return sorted(self.state.glob("bridge-*.json"))  # a file being written has more behind that


@pytest.fixture
def box(spawn, tmp_path, cloud):
    box = Box(spawn, tmp_path, cloud)
    yield box
    for log in box.dir.glob("*.err"):
        text = log.read_text()
        assert GPS not in text and KEY_SECRET not in text and KEY not in text, log
        for file in box.kept():
            secret = json.loads(file.read_text()).get("deviceSecret")
            assert secret is None or secret not in text
