"""The simulated Modbus devices, asked by masters that are not ours: mbpoll, and a few lines of Python for what DTUs add."""
import re
import select
import signal
import socket
import struct
import subprocess

import pytest
from conftest import BUILD, wait_until


class Simulator:
    def __init__(self, *args):
        self.process = subprocess.Popen([BUILD / "bin" / "causeway", "simulate", "modbus", *map(str, args)],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def line(self, pattern):
        """The next line of its output that has this in it."""
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} did not come: {self.process.communicate()}")

    def finish(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.fixture
def simulate():
    started = []

    def start(*args):
        started.append(Simulator(*args))
        return started[-1]
    yield start
    for s in started:
        s.finish()


def crc(frame):
    value = 0xFFFF
    for b in frame:
        value ^= b
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return frame + struct.pack("<H", value)


class Master:
    """Where DTUs dial in."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(60)
        self.to = "127.0.0.1:%d" % self.sock.getsockname()[1]

    def accept(self):
        dtu = self.sock.accept()[0]
        dtu.settimeout(60)
        return dtu


@pytest.fixture
def master():
    m = Master()
    yield m
    m.sock.close()


def take(sock, n):
    got = b""
    while len(got) < n:
        more = sock.recv(n - len(got))
        assert more, f"the connection ended after {got.hex()}"
        got += more
    return got


def read(dtu, unit, address, count, front=0):
    dtu.sendall(crc(struct.pack(">BBHH", unit, 3, address, count)))
    answer = take(dtu, front + 5 + 2 * count)[front:]
    assert answer == crc(answer[:-2]) and answer[:3] == bytes([unit, 3, 2 * count])
    return list(struct.unpack(f">{count}H", answer[3:-2]))


def test_dtus_dial_in_register_and_are_polled(simulate, master):
    s = simulate("--connect", master.to, "--first", "868333031234567", "--devices", 2, "--units", "1,3-4", "--heartbeat", "50ms",
                 "--heartbeat-text", "www.usr.cn", "--prefix", "ID:", "--quiet")
    dtus = {}
    for _ in range(2):
        dtu = master.accept()
        assert take(dtu, 3) == b"ID:"
        dtus[take(dtu, 15).decode()] = dtu
    assert sorted(dtus) == ["868333031234567", "868333031234568"]
    dtu = dtus["868333031234567"]
    assert take(dtu, 10) == b"www.usr.cn" == take(dtu, 10)
    dtu.close()
    other = dtus["868333031234568"]
    other.close()
    again = [master.accept(), master.accept()]  # they dial again
    assert sorted(take(d, 18)[3:] for d in again) == [b"868333031234567", b"868333031234568"]
    s.finish()
    for d in again:
        d.close()


def test_units_answer_and_keep_what_is_written(simulate, master):
    s = simulate("--connect", master.to, "--first", "1", "--units", "1,3", "--split", 3, "--split-gap", "1ms", "--answer-delay", "1ms",
                 "--exceptions", "500-509,600:4")
    dtu = master.accept()
    assert take(dtu, 1) == b"1"
    assert all(2100 <= v <= 2300 for v in read(dtu, 1, 0, 100))
    high, low = read(dtu, 3, 100, 2)
    assert 20 <= struct.unpack(">f", struct.pack(">HH", high, low))[0] <= 30
    assert read(dtu, 3, 1000, 3) == [1000, 1001, 1002]
    dtu.sendall(crc(bytes.fromhex("030603e9007b")))
    assert take(dtu, 8) == crc(bytes.fromhex("030603e9007b"))
    assert read(dtu, 3, 1000, 3) == [1000, 123, 1002] and read(dtu, 1, 1000, 3) == [1000, 1001, 1002]
    s.line(r"1 unit 3: written by function 6 at address 1001")
    for address, code in ((500, 2), (509, 2), (495, 2), (600, 4)):
        dtu.sendall(crc(struct.pack(">BBHH", 1, 3, address, 10)))
        assert take(dtu, 5) == crc(bytes([1, 0x83, code]))
    # A unit that is not there is silent, and so is everybody to a broadcast, which is carried out.
    dtu.sendall(crc(bytes.fromhex("090300000001")) + crc(bytes.fromhex("0006044c0007")))
    assert read(dtu, 1, 1100, 1) == [7] and read(dtu, 3, 1100, 1) == [7]
    code, out, err = s.finish()
    assert code == 0 and "1 lines with 2 units: 1 of them asked" in out and "1 for units that are not there" in out, (out, err)
    dtu.close()


def test_what_is_no_request_is_told_at_the_end(simulate, master):
    s = simulate("--connect", master.to, "--first", "1", "--quiet")
    dtu = master.accept()
    take(dtu, 1)
    dtu.sendall(b"\x00" + crc(bytes.fromhex("010303e80001")))
    assert take(dtu, 7)[3:5] == b"\x03\xe8"
    dtu.close()
    code, out, _ = s.finish()
    assert code == 1 and "1 bytes that were no request: NOT all as expected" in out


def test_nobody_asks(simulate, master):
    s = simulate("--connect", master.to, "--first", "1", "--for", "300ms")
    dtu = master.accept()
    s.process.wait(60)
    code, out, _ = s.finish()
    assert code == 1 and "0 of them asked" in out
    dtu.close()


def test_registration_with_every_packet(simulate, master):
    simulate("--connect", master.to, "--first", "77", "--registration", "every", "--quiet")
    dtu = master.accept()
    assert take(dtu, 2) == b"77"
    assert read(dtu, 1, 1000, 1, front=2) == [1000]
    dtu.close()


def test_identities_of_a_file(simulate, master, tmp_path):
    file = tmp_path / "devices.conf"
    file.write_text("".join(f'"{i}" {{ productKey : a, deviceName : b, deviceSecret : c }}\n' for i in ("abc/1", "abc/7", "def/2")))
    s = simulate("--connect", master.to, "--identities", file)
    links = {}
    for _ in range(2):
        dtu = master.accept()
        links[take(dtu, 3)] = dtu
    assert read(links[b"abc"], 7, 1000, 1) == [1000] and read(links[b"abc"], 1, 1000, 1) == [1000] and read(links[b"def"], 2, 1000, 1) == [1000]
    code, out, _ = s.finish()
    assert code == 0 and "2 lines with 3 units: 2 of them asked" in out
    for d in links.values():
        d.close()


# ---- a server and a serial line, for mbpoll ------------------------------------------------------------


def mbpoll(*args):
    done = subprocess.run(["mbpoll", "-0", "-1", "-q", *map(str, args)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def values(text):
    return [int(v) for v in re.findall(r"^\[\d+\]: \t(-?\d+)", text, re.M)]


def test_a_server_is_polled_by_mbpoll(simulate):
    s = simulate("--listen", "127.0.0.1:0", "--units", "1-2", "--first", "1")
    port = s.line(r"listening on 127.0.0.1:(\d+)")[1]
    tcp = ("-m", "tcp", "-p", port)
    code, out = mbpoll(*tcp, "-a", 2, "-r", 1000, "-c", 4, "-t", 4, "127.0.0.1")
    assert code == 0 and values(out) == [1000, 1001, 1002, 1003], out
    code, out = mbpoll(*tcp, "-a", 1, "-r", 100, "-c", 2, "-t", "3:float", "-B", "127.0.0.1")
    floats = [float(v) for v in re.findall(r"^\[\d+\]: \t([\d.]+)", out, re.M)]
    assert code == 0 and len(floats) == 2 and all(20 <= v <= 30 for v in floats), out
    code, out = mbpoll(*tcp, "-a", 1, "-r", 1000, "-t", 4, "127.0.0.1", 55, 66)
    assert code == 0, out
    code, out = mbpoll(*tcp, "-a", 1, "-r", 1000, "-c", 3, "-t", 4, "127.0.0.1")
    assert values(out) == [55, 66, 1002], out
    code, out = mbpoll(*tcp, "-a", 1, "-r", 5, "-t", 0, "127.0.0.1", 1)
    assert code == 0, out
    code, out = mbpoll(*tcp, "-a", 1, "-r", 5, "-c", 1, "-t", 0, "127.0.0.1")
    assert values(out) == [1], out
    code, out = mbpoll(*tcp, "-a", 9, "-r", 0, "-c", 1, "-t", 4, "127.0.0.1")
    assert "Target device failed to respond" in out
    code, out, err = s.finish()
    assert code == 0, (out, err)


def test_a_serial_line_is_polled_by_mbpoll(simulate, tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    socat = subprocess.Popen(["socat", f"pty,raw,echo=0,link={ours}", f"pty,raw,echo=0,link={theirs}"])
    try:
        wait_until(lambda: ours.exists() and theirs.exists(), "the line")
        s = simulate("--serial", ours, "--units", "1,5", "--baud", 19200)
        s.line(r"open, with 2 units")
        code, out = mbpoll("-m", "rtu", "-b", 19200, "-P", "none", "-a", 5, "-r", 1000, "-c", 2, "-t", 4, theirs)
        assert code == 0 and values(out) == [1000, 1001], out
        code, out, err = s.finish()
        assert code == 0, (out, err)
    finally:
        socat.terminate()
        socat.wait()


def test_ascii_over_tcp(simulate, master):
    simulate("--connect", master.to, "--first", "1", "--framing", "ascii", "--registration", "none", "--quiet")
    dtu = master.accept()
    dtu.sendall(b":010303E80001" + b"%02X" % (-(1 + 3 + 0x03 + 0xE8 + 0 + 1) & 0xFF) + b"\r\n")
    assert take(dtu, 15) == b":01030203E8" + b"%02X" % (-(1 + 3 + 2 + 3 + 0xE8) & 0xFF) + b"\r\n"
    assert select.select([dtu], [], [], 0)[0] == []
    dtu.close()


@pytest.mark.parametrize("args, text", [
    ([], "takes one of --connect HOST:PORT, --listen HOST:PORT and --serial PATH"),
    (["--connect", "127.0.0.1:1", "--serial", "/dev/ttyS1"], "takes one of"),
    (["--listen", "nowhere"], "--listen takes HOST:PORT"),
    (["--serial", "/dev/ttyS1", "--baud", "77"], "serial.baud is 77; there are 300,"),
    (["--listen", "127.0.0.1:0", "--units", "1-300"], "--units: `1-300`"),
    (["--listen", "127.0.0.1:0", "--exceptions", "9-1"], "--exceptions: `9-1`"),
    (["--listen", "127.0.0.1:0", "--framing", "can"], "--framing: `can`"),
    (["--listen", "127.0.0.1:0", "--speed", "9"], "no such option: `--speed`"),
])
def test_a_wrong_command_line(args, text):
    done = subprocess.run([BUILD / "bin" / "causeway", "simulate", "modbus", *args], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and text in done.stderr, done.stderr
