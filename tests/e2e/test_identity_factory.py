"""Boards that the production line burned are known to the gateway: out of the store itself, and by asking the server."""
import json
import os
import shutil
import struct
import subprocess
import urllib.request

import pytest
from conftest import BUILD, PATIENCE, wait_until
from gw import GW, PK, ask, device_name, phone, secret, start_gateway, world  # noqa: F401 - fixtures
from terminal import Closed

TOKEN = "gateway-" + os.urandom(12).hex()
PRODUCT_SECRET = "SubPs0123456789A"


class Factory:
    """The line and the field of causeway-factory; the certificates are those of the emulator's sub-devices."""

    def __init__(self, spawn, dir):
        self.spawn, self.dir = spawn, dir / "factory"
        self.dir.mkdir(mode=0o700)
        self.db, self.config = self.dir / "factory.db", self.dir / "factory.conf"
        self.runs = 0
        self.process = None
        for name in ("server.key", "server.pem"):
            self.file(name).write_text("")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.file("server.key"), "-out", self.file("server.pem"),
                        "-days", "2", "-subj", "/CN=factory", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
        self.field = "127.0.0.1:0"

    def file(self, name):
        return self.dir / name

    def tool(self, *args):
        done = subprocess.run([BUILD / "bin" / "causeway", "factory", *args, "--db", self.db], capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, (args, done)
        return done.stdout

    def stock(self, *numbers):
        csv = self.file("batch.csv")
        csv.write_text("DeviceName,DeviceSecret,ProductKey,ProductSecret\n" + "".join(
            f"{device_name(i)},{secret(i)},{PK},{PRODUCT_SECRET}\n" for i in numbers))
        self.tool("import", csv, "--batch", "line-7")
        return self

    def start(self):
        self.config.write_text(f"""
db = "{self.db}"
line = [ {{ listen = "127.0.0.1:0" }} ], office = []
field {{ listeners = [ {{ listen = "{self.field}", tls {{ certificate = "{self.file("server.pem")}", key = "{self.file("server.key")}" }} }} ]
         anybody = true, gatewayToken = {TOKEN} }}
""")
        self.runs += 1
        self.process = self.spawn("causeway-factory", "-c", self.config, dir=self.dir, name=f"factory{self.runs}")
        self.field = self.process.ready["field"][0]  # again there after a restart
        return self

    def burn(self, i, device_id=None):
        """A station asks for board i and reports."""
        for action in (0, 1):
            body = json.dumps({"ProductKey": PK, "DeviceID": device_id or phone(i), "Action": action}).encode()
            with urllib.request.urlopen(urllib.request.Request(f"http://{self.process.ready['line'][0]}/", body), timeout=PATIENCE) as answer:
                got = json.loads(answer.read())
            assert got["Status"] == "OK", got
        return self


@pytest.fixture
def factory(spawn, tmp_path):
    return Factory(spawn, tmp_path)


@pytest.fixture(params=["file", "https"])
def settings(request, factory):
    """How the gateway knows; further settings of identity.factory."""
    def make(**more):
        if request.param == "file":
            more = {"db": f'"{factory.db}"', **more}
        else:
            more = {"url": f'"https://{factory.field}/api/v1/identity"', "token": TOKEN, "tls": f'{{ ca = "{factory.file("server.pem")}" }}', **more}
        return "identity { order = [factory], factory { " + ", ".join(f"{k} = {v}" for k, v in more.items()) + " } }\n"
    make.by_file = request.param == "file"
    return make


def logged_in(gateway, cloud, i, name=None):
    t = gateway.terminal(i)
    t.log_in()
    cloud.wait_status(PK, name or device_name(i), "ONLINE")
    return t


def knock(t):
    """The frame of a registration, without waiting for its answer."""
    t.send(0x0100, struct.pack(">HH", 31, 100) + b"MAKER" + b"MODEL-1".ljust(20, b"\0") + b"T000001" + b"\x01A12345")


def accepted(gateway, i):
    """One attempt of a device, which may be told no or to come again."""
    try:
        with gateway.terminal(i, timeout=2) as t:  # who cannot be looked up now is not answered
            return t.register() == 0
    except (Closed, OSError):
        return False


def test_a_board_burned_on_the_line_is_known_at_once(world, factory, settings):
    """covers: C14 M16 M17"""
    factory.stock(0, 1, 2).start().burn(0)
    cloud, gateway = world(devices=3, extra=settings())
    with logged_in(gateway, cloud, 0) as t:
        assert t.report_acked(speed=9) == 0
    with gateway.terminal(1) as t:
        assert t.register() == 4  # nobody burned it yet
    factory.burn(1)
    wait_until(lambda: accepted(gateway, 1), "the board burned meanwhile")
    with logged_in(gateway, cloud, 1):
        pass
    assert gateway.device(1)["productKey"] == PK
    text = gateway.process.stderr() + factory.process.stderr()
    assert secret(0) not in text and secret(1) not in text and TOKEN not in text


def test_a_command_finds_a_board_that_was_never_seen(world, factory, settings):
    """covers: M17"""
    factory.stock(0, 1).start().burn(0).burn(1)
    cloud, gateway = world(devices=3, extra=settings())
    with logged_in(gateway, cloud, 0) as t:
        join = ask(cloud, 0, "/properties", {"HeartbeatInterval": 60})
        t.general_reply(t.receive_id(0x8103))
        assert join()[1]["reply"]["code"] == 200
    assert gateway.ask(f"/devices/{phone(1)}")[1]["deviceName"] == device_name(1)
    assert gateway.ask("/devices/nobody")[0] == 404


def test_known_devices_come_back_while_the_factory_is_away(world, factory, settings):
    factory.stock(0, 1, 2).start().burn(0)
    cloud, gateway = world(devices=3, extra=settings(keep="10ms", keepUnknown="0s", timeout="500ms"))
    with logged_in(gateway, cloud, 0):
        pass
    factory.process.stop()
    away = factory.dir / "away"
    for file in factory.dir.glob("factory.db*"):
        away.mkdir(exist_ok=True)
        shutil.move(file, away / file.name)
    with logged_in(gateway, cloud, 0):  # staleIfError
        pass
    with gateway.terminal(1) as t:
        knock(t)
        gateway.wait_stat("identity.factory_failed" if settings.by_file else "identity.http_failed")
    gateway.wait_stat("identity.stale")
    gateway.wait_log("identity.source")
    assert gateway.status()["up"]
    for file in away.iterdir():
        shutil.move(file, factory.dir / file.name)
    factory.start().burn(1)
    wait_until(lambda: accepted(gateway, 1), "the board, once the factory is there again")
    gateway.wait_log("answers again")


def test_the_gateway_starts_before_there_is_a_store(world, factory):
    cloud, gateway = world(devices=3, extra=f'identity {{ order = [factory], factory {{ db = "{factory.db}" }} }}\n')
    with gateway.terminal(0) as t:
        knock(t)
        gateway.wait_stat("identity.factory_failed")
    assert not factory.db.exists()  # it makes none
    factory.stock(0).start().burn(0)
    wait_until(lambda: accepted(gateway, 0), "the board")


def test_a_restored_store_is_another_file(world, factory):
    factory.stock(0, 1).start().burn(0)
    cloud, gateway = world(devices=3, extra=f'identity {{ order = [factory], factory {{ db = "{factory.db}", keep = 10ms, keepUnknown = 0s }} }}\n')
    with logged_in(gateway, cloud, 0):
        pass
    copy = factory.dir / "copy.db"
    factory.burn(1)
    factory.tool("backup", copy)
    factory.process.stop()
    for file in factory.dir.glob("factory.db-*"):
        file.unlink()
    os.rename(copy, factory.db)
    with logged_in(gateway, cloud, 1):
        pass
    assert gateway.stats().get("identity.factory_failed", 0) == 0


def test_a_board_is_also_known_by_its_device_name_and_by_another_form_of_its_mac(world, factory):
    factory.stock(0, 1).start()
    factory.tool("product", "set", PK, "--normalize-mac")
    factory.burn(0, "00:01:38:00:00:01").burn(1, phone(1))
    cloud, gateway = world(devices=3, extra=f'identity {{ order = [factory], factory {{ db = "{factory.db}" }} }}\n')
    for identity in ("00:01:38:00:00:01", "00-01-38-00-00-01", "000138000001", device_name(0)):
        assert gateway.ask(f"/devices/{identity}")[1]["deviceName"] == device_name(0), identity
    with logged_in(gateway, cloud, 1):
        pass


def test_the_store_as_one_of_several_sources(world, factory):
    factory.stock(1).start().burn(1)
    cloud, gateway = world(devices=1, extra=f'identity.factory {{ db = "{factory.db}" }}\n', limits={})
    with logged_in(gateway, cloud, 0):  # devices.conf
        pass


@pytest.mark.parametrize("settings,text", [
    ('identity.factory { db = "a", url = "https://x/y" }', "identity.factory has db and url"),
    ('identity.factory.db = "postgresql://h/d"', "identity.factory.keyFile is missing"),
    ('identity.factory.url = "ftp://x"', "identity.factory.url"),
    ('identity.factory { url = "https://x", tls { key = a.pem } }', "identity.factory.tls: certificate and key come together"),
    ('identity.order = [factry]', "there are devices, sqlite, factory, http and rules"),
])
def test_settings_that_cannot_work_are_told_at_the_start(tmp_path, settings, text):
    (tmp_path / "devices.conf").write_text("")
    conf = tmp_path / "application.conf"
    conf.write_text(f"""
productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {"5" * 32}
stateDir = "{tmp_path}/state", control = ""
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ cloud {{ endpoint = "tcp://127.0.0.1:1" }} }}
{settings}
""")
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", conf], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode != 0 and text in done.stdout + done.stderr, done
