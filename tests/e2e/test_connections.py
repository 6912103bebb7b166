"""Connections that the gateway opens: TCP, TLS and serial lines to devices that wait. The protocol is the skeleton's."""
import os
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import tty

import pytest
from conftest import BUILD, wait_until
from gw import PK, ask, device_name, phone, start_gateway, wait_reported, world  # noqa: F401

QUICK = "retryMin = 20ms, retryMax = 200ms"


class Stream:
    """What a device on a socket and one on a serial line have in common: lines."""
    rest = b""

    def line(self):
        while b"\n" not in self.rest:
            got = self.read()
            assert got, "the gateway has ended the connection"
            self.rest += got
        line, self.rest = self.rest.split(b"\n", 1)
        return line.decode()

    def log_in(self, i=0):
        self.write(f"login,{phone(i)}\n".encode())
        assert self.line() == "ok,login"
        return self

    def report(self, value):
        self.write(f"temp,{value}\n".encode())
        assert self.line() == "ok,temp"


class Socket(Stream):
    def __init__(self, sock):
        self.sock = sock
        sock.settimeout(60)
        self.write, self.close = sock.sendall, sock.close

    def read(self):
        return self.sock.recv(4096)


class Device:
    """A device that listens; accept() gives the gateway's connection."""

    def __init__(self, host="127.0.0.1", port=0, context=None):
        self.sock = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.sock.settimeout(60)
        self.host, self.port = self.sock.getsockname()[:2]
        self.context = context

    @property
    def to(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.context else 'tcp'}://{host}:{self.port}"

    def accept(self):
        sock = self.sock.accept()[0]
        sock.settimeout(60)
        return Socket(self.context.wrap_socket(sock, server_side=True) if self.context else sock)

    def close(self):
        self.sock.close()


def entry(name, to, more=QUICK):
    return f'{{ name = {name}, protocol = skeleton, to = "{to}", {more} }}'


def connections(*entries):
    return f"connections = [ {', '.join(entries)} ]"


def shown(gateway, name="plc7"):
    return next((c for c in gateway.status()["connections"] if c["name"] == name), None)


def wait_shown(gateway, state, name="plc7"):
    return wait_until(lambda: shown(gateway, name)["state"] == state and shown(gateway, name), f"connection {name} {state}")


@pytest.fixture
def device():
    d = Device()
    yield d
    d.close()


def test_a_dialled_device_reports_and_is_commanded(world, device):
    cloud, gateway = world(extra=connections(entry("plc7", device.to)))
    d = device.accept().log_in()
    d.report("21.5")
    assert wait_reported(cloud, 0, "Temperature") == 21.5
    answer = ask(cloud, 0, "/services/SetInterval", {"seconds": 60})
    assert d.line() == "interval,60"
    d.write(b"ok,interval\n")
    assert answer()[1]["reply"]["code"] == 200

    c = shown(gateway)
    assert (c["state"], c["to"], c["attempts"], c["successes"], c["lastError"]) == ("up", device.to, 1, 1, "")
    assert c["address"] == f"127.0.0.1:{device.port}" and "nextMs" not in c
    status = gateway.cli("status").stdout
    assert re.search(rf"connection +plc7 +skeleton to {device.to}, up for \d+ s, 1 attempts, 1 successful\n", status)
    assert gateway.device(0)["via"] == "plc7"
    assert "connected over plc7" in gateway.cli("device", "show", phone(0)).stdout
    stats = gateway.stats()
    assert (stats["net.dialled"], stats["net.dials"], stats["net.dials_failed"]) == (1, 1, 0)
    gateway.process.stop()
    assert d.read() == b""
    assert gateway.log_lines("net.connection_down") == []  # it was our doing


def test_a_device_that_comes_and_goes(world):
    gone = Device()
    port = gone.port
    gone.close()
    cloud, gateway = world(extra=connections(entry("plc7", gone.to)))
    wait_until(lambda: shown(gateway)["attempts"] >= 4, "some attempts")
    c = shown(gateway)
    assert c["successes"] == 0 and c["lastError"] == f"127.0.0.1:{port}: connection refused"
    assert len(gateway.log_lines("net.connection_failed")) == 1  # the same words once
    assert "DOWN for" in gateway.cli("status").stdout or shown(gateway)["state"] != "waiting"

    device = Device(port=port)
    d = device.accept().log_in()
    d.report("1.5")
    assert wait_reported(cloud, 0, "Temperature") == 1.5
    d.close()
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    d = device.accept().log_in()  # whoever drops the last name of a socket closes it
    d.report("2.5")
    wait_until(lambda: cloud.device(PK, device_name(0))["reported"]["Temperature"]["value"] == 2.5, "the next value")
    assert len(gateway.log_lines("net.connection_up")) == 2 and len(gateway.log_lines("net.connection_down")) == 1
    assert "before: closed by the peer" in gateway.cli("status").stdout
    assert gateway.stats()["net.dialled_lost"] == 1
    device.close()


def test_a_device_nobody_knows_is_not_asked_in_a_circle(world, device):
    _, gateway = world(extra=connections(entry("plc7", device.to, "retryMin = 10ms, retryMax = 60s")))
    for _ in range(4):
        d = device.accept()
        d.close()
    waits = [int(n) for n in re.findall(r"net.connection_down.*?upMs=(\d+)", gateway.process.stderr())]
    assert len(waits) >= 3
    c = wait_shown(gateway, "waiting")
    assert c["nextMs"] - c["sinceMs"] >= 10 * 8 * 3 // 4  # it has doubled each time


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6")
def test_ipv6(world):
    try:
        device = Device("::1")
    except OSError:
        pytest.skip("no ::1 here")
    _, gateway = world(extra=connections(entry("plc7", device.to)))
    d = device.accept().log_in()
    d.report("1.5")
    assert shown(gateway)["address"] == f"[::1]:{device.port}"
    device.close()


def make_certificate(dir, name="localhost"):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-keyout", dir / "plc.key", "-out", dir / "plc.pem", "-subj", f"/CN={name}"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(dir / "plc.pem", dir / "plc.key")
    return context


def test_tls(world, tmp_path):
    device = Device(context=make_certificate(tmp_path))
    more = f'{QUICK}, tls {{ ca = "{tmp_path}/plc.pem", serverName = localhost }}'
    cloud, gateway = world(extra=connections(entry("plc7", device.to, more)))
    d = device.accept().log_in()
    d.report("3.5")
    assert wait_reported(cloud, 0, "Temperature") == 3.5

    # The name is wrong: nothing is said to such a device.
    gateway.write_config(extra=connections(entry("plc7", device.to, more.replace("localhost", "another"))))
    gateway.reload()
    with pytest.raises((ssl.SSLError, OSError)):
        device.accept()
    c = wait_until(lambda: shown(gateway)["lastError"] and shown(gateway), "a failure")
    assert c["successes"] == 0 and "another" in c["lastError"] or "name" in c["lastError"].lower()
    device.close()


# ---- serial lines ------------------------------------------------------------------------------


class Wire:
    """A pair of pseudo-terminals: the gateway opens one end, the device sits at the other."""

    def __init__(self, dir):
        self.ours, self.theirs = dir / "ttyDevice", dir / "ttyGateway"
        self.plug_in()

    @property
    def to(self):
        return f"serial://{self.theirs}"

    def plug_in(self):
        self.socat = subprocess.Popen(["socat", f"pty,raw,echo=0,link={self.ours}", f"pty,raw,echo=0,link={self.theirs}"])
        wait_until(lambda: self.ours.exists() and self.theirs.exists(), "the line")

    def pull_out(self):
        if self.socat.poll() is None:
            self.socat.terminate()
        self.socat.wait()


class Line(Stream):
    """The device at its end; every byte is sent alone."""

    def __init__(self, wire):
        self.fd = os.open(wire.ours, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.fd)

    def write(self, data):
        for b in data:
            os.write(self.fd, bytes([b]))

    def read(self):
        assert select.select([self.fd], [], [], 60)[0], "nothing came over the line"
        return os.read(self.fd, 4096)

    def close(self):
        os.close(self.fd)


@pytest.fixture
def wire(tmp_path):
    w = Wire(tmp_path)
    yield w
    w.pull_out()


def test_a_serial_line(world, wire):
    cloud, gateway = world(extra=connections(entry("bus1", wire.to, QUICK + ", serial { baud = 19200, stopBits = 2, rs485 = on }")))
    wait_shown(gateway, "up", "bus1")
    line = Line(wire).log_in()
    line.report("4.5")
    assert wait_reported(cloud, 0, "Temperature") == 4.5
    answer = ask(cloud, 0, "/services/SetInterval", {"seconds": 5})
    assert line.line() == "interval,5"
    line.write(b"ok,interval\n")
    assert answer()[1]["reply"]["code"] == 200
    assert shown(gateway, "bus1")["address"] == str(wire.theirs)[-63:]
    assert "cannot switch RS485" in gateway.log_lines("net.serial")[0]

    # Pulled out and plugged in again.
    wire.pull_out()
    line.close()
    c = wait_shown(gateway, "waiting", "bus1")
    assert c["lastError"]
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    wire.plug_in()
    wait_shown(gateway, "up", "bus1")
    line = Line(wire).log_in()
    line.report("5.5")
    wait_until(lambda: cloud.device(PK, device_name(0))["reported"]["Temperature"]["value"] == 5.5, "the next value")
    line.close()


def test_a_serial_line_that_somebody_else_has(world, wire, start_gateway):
    cloud, gateway = world(extra=connections(entry("bus1", wire.to)))
    wait_shown(gateway, "up", "bus1")
    # The same line under another name: a second daemon would do the same.
    gateway.write_config(extra=connections(entry("bus1", wire.to), entry("bus2", wire.to.replace("ttyGateway", "ttySame"))))
    os.symlink(os.readlink(wire.theirs), wire.theirs.parent / "ttySame")
    gateway.reload()
    c = wait_until(lambda: shown(gateway, "bus2")["lastError"] and shown(gateway, "bus2"), "the second to be refused")
    assert "ttySame is in use by another program" in c["lastError"]
    gateway.write_config(extra=connections(entry("bus2", wire.to.replace("ttyGateway", "ttySame"))))
    gateway.reload()
    wait_shown(gateway, "up", "bus2")


# ---- reload --------------------------------------------------------------------------------------


def test_reload_adds_changes_and_removes(world):
    first, second = Device(), Device()
    cloud, gateway = world(extra=connections(entry("a", first.to)))
    a = first.accept().log_in(0)

    # Another one beside it; the first stays as it is.
    gateway.write_config(extra=connections(entry("a", first.to), entry("b", second.to)))
    gateway.process.signal(signal.SIGHUP)
    b = second.accept().log_in(1)
    a.report("1.5")
    b.report("2.5")
    assert [(c["name"], c["attempts"]) for c in sorted(gateway.status()["connections"], key=lambda c: c["name"])] == [("a", 1), ("b", 1)]

    # One leads elsewhere, and one has other settings: both are dialled again, with these.
    third = Device()
    gateway.write_config(extra=connections(entry("a", third.to), entry("b", second.to, QUICK + ", settings { upperCase = true }")))
    gateway.reload()
    assert a.read() == b"" and b.read() == b""
    a = third.accept().log_in(0)
    b = second.accept().log_in(1)
    b.report("9.5")  # when the platform has it, the new login is through
    wait_until(lambda: cloud.device(PK, device_name(1))["reported"].get("Temperature", {}).get("value") == 9.5, "the value after the new login")
    answer = ask(cloud, 1, "/services/SetInterval", {"seconds": 7})
    assert b.line() == "INTERVAL,7"
    b.write(b"ok,interval\n")
    assert answer()[1]["reply"]["code"] == 200

    # A file that is wrong changes nothing.
    gateway.write_config(extra=connections(entry("a", "tcp://127.0.0.1"), entry("c", second.to)))
    wrong = gateway.cli("reload", check=False)
    assert wrong.returncode != 0 and "no port from 1 to 65535" in wrong.stdout + wrong.stderr
    a.report("3.5")
    assert sorted(c["name"] for c in gateway.status()["connections"]) == ["a", "b"]

    # Gone.
    gateway.write_config(extra="")
    gateway.reload()
    assert a.read() == b"" and b.read() == b""
    assert gateway.status()["connections"] == []
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    for d in (first, second, third):
        d.close()


# ---- what does not work is said before the start -----------------------------------------------------


def check(dir, *entries):
    config = dir / "application.conf"
    config.write_text(f"""
productKey = {PK}, deviceName = gw, deviceSecret = 0123456789abcdef0123456789abcdef
stateDir = "{dir}/state"
control = "unix:{dir}/control.sock"
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ cloud {{ endpoint = "tcp://127.0.0.1:1883" }} }}
{connections(*entries)}
""")
    (dir / "devices.conf").write_text("")
    return subprocess.run([BUILD / "bin" / "causeway", "config", "check", config], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("entries, expected", [
    ([entry("a", "udp://127.0.0.1:502")], 'accepted is tcp://host:port, tls://host:port or serial:///dev/'),
    ([entry("a", "tcp://127.0.0.1:0")], "no port from 1 to 65535"),
    ([entry("a", "tcp://::1:502")], "an IPv6 address needs brackets"),
    ([entry("a", "serial:///dev/ttyS1?baud=9600")], "stand in serial {"),
    ([entry("a", "tcp://127.0.0.1:502", "serial { baud = 9600 }")], "serial { } is given but"),
    ([entry("a", "serial:///dev/ttyS1", "serial { baud = 9601 }")], "serial.baud is 9601; there are 300,"),
    ([entry("a", "serial:///dev/ttyS1", "serial { parity = mark }")], '"mark"'),
    ([entry("a", "serial:///dev/ttyS1", "serial { dataBits = 9 }")], "dataBits"),
    ([entry("a", "tcp://127.0.0.1:502", 'tls { ca = "/etc/ca.pem" }')], "does not begin with tls://"),
    ([entry("a", "tls://127.0.0.1:802", 'tls { ca = "/no/such/ca.pem" }')], "/no/such/ca.pem"),
    ([entry("a", "tls://127.0.0.1:802", 'tls { certificate = "/c.pem" }')], "come together"),
    ([entry("a", "tcp://h:1", "retryMin = 2m")], "retryMin is longer than retryMax"),
    ([entry("a", "tcp://h:1"), entry("a", "tcp://h:2")], 'two connections are named "a"'),
    ([entry("trucks", "tcp://h:1")], 'a listener and a connection are both named "trucks"'),
    ([entry("a", "serial:///dev/ttyS1"), entry("b", "serial:///dev/ttyS1")], "both use /dev/ttyS1; one line is one connection"),
    ([entry("a", "tcp://h:1", "settings { answerTimout = 5s }")], '"answerTimeout"'),
    ([entry("a b", "tcp://h:1")], "letters, digits"),
    ([entry("a", "tcp://h:1", "limits { connections = 5 }")], '"connections"'),
    ([entry("a", "tcp://h:1", 'identity = ""')], "identity"),
    ([entry("a", "tcp://h:1").replace("skeleton", "modbuss")], '"modbuss"'),
])
def test_config_check(tmp_path, entries, expected):
    done = check(tmp_path, *entries)
    assert done.returncode == 1
    assert expected in done.stderr and "application.conf:" in done.stderr, done.stderr


def test_config_check_fine(tmp_path):
    """One device may have several connections, one line only one."""
    done = check(tmp_path,
                 entry("a", "tcp://plc.example:502"), entry("b", "tcp://plc.example:502"), entry("c", "tls://[2001:db8::7]:802"),
                 entry("d", "serial:///dev/ttyUSB0", "serial { baud = 115200, parity = even }, identity = meter-1, ack = delivered"))
    assert done.returncode == 0 and "fine; 1 listeners, 4 connections, 1 upstreams" in done.stdout, (done.stdout, done.stderr)


def test_the_reference_has_the_keys():
    text = subprocess.run([BUILD / "bin" / "causeway", "config", "reference"], capture_output=True, text=True, check=True).stdout
    for key in ("connections", "connectTimeout", "keepAliveProbes", "serial", "rtsOnSend", "serverName", "net.connection_up", "net.dials"):
        assert key in text


def test_stop_while_dialling(world):
    """An address that does not answer, a name that cannot be looked up, a line that is not there: nothing holds the stop."""
    _, gateway = world(extra=connections(entry("a", "tcp://192.0.2.1:502"), entry("b", "tcp://no-such-host.invalid:502"),
                                         entry("c", "serial:///dev/no-such-line")))
    wait_until(lambda: shown(gateway, "c")["attempts"] >= 2, "some attempts")
    assert "is not there" in shown(gateway, "c")["lastError"]
    gateway.process.stop()


def test_a_listener_is_not_needed(start_cloud, start_gateway, world, device):
    cloud, gateway = world(extra=connections(entry("plc7", device.to)))
    text = gateway.config.read_text()
    start = text.index("listeners = [")
    gateway.config.write_text(text[:start] + text[text.index("upstreams {"):])
    gateway.reload()
    d = device.accept().log_in()
    d.report("6.5")
    assert wait_reported(cloud, 0, "Temperature") == 6.5
