"""What DTUs and their configuration do besides Modbus: envelopes, ASCII, echoes, packets in front of answers, pushed frames."""
import json
import socket
import struct
import subprocess
import threading

import pytest
from conftest import BUILD, wait_until
from gw import PK, ask, device_name, secret, start_gateway, wait_reported, world  # noqa: F401
from modbus_peer import Unit, crc
from test_modbus import entry, listener, start, stat

ID = "13912345678"

POINTS = """
protocols.modbus {
  defaults { gap = 0ms, settle = 0ms, spreadStart = false, answerTimeout = 500ms, lateGuard = 0ms, retries = 0 }
  profiles { meter {
    interval = 200ms, mergeWrites = true, writeFallback = true
    points = [
      { property = level, area = input, address = 0, type = uint16, scale = 0.1 }
      { property = low, address = 10, type = uint16, access = rw }
      { property = high, address = 11, type = int32, access = rw }
      { property = place, address = 20, type = string, length = 8, charset = gbk, access = rw }
    ]
  } }
}
"""


def rtu(unit, pdu):
    frame = bytes([unit]) + pdu
    return frame + crc(frame)


def unescape(data):
    return data.replace(b"\xfd\xee", b"\xfe").replace(b"\xfd\xed", b"\xfd")


def escape(data):
    return data.replace(b"\xfd", b"\xfd\xed").replace(b"\xfe", b"\xfd\xee")


class Wire:
    """How one kind of DTU wraps serial bytes."""
    hello = b""

    def take(self, data):
        """(request as unit and PDU or None, rest) of what came."""
        if len(data) < 8:
            return None, data
        end = 9 + data[6] if data[1] in (15, 16) else 8
        if len(data) < end:
            return None, data
        assert crc(data[:end - 2]) == data[end - 2:end]
        return data[:end - 2], data[end:]

    def give(self, unit, pdu):
        return rtu(unit, pdu)


class Every(Wire):
    """The identity in front of each packet, too."""
    hello = ID.encode()

    def give(self, unit, pdu):
        return ID.encode() + rtu(unit, pdu)


class Echo(Wire):
    hello = ID.encode()
    request = b""

    def take(self, data):
        request, rest = super().take(data)
        if request:
            self.request = request + crc(request)
        return request, rest

    def give(self, unit, pdu):
        return self.request + rtu(unit, pdu)


class Ascii(Wire):
    hello = ID.encode()

    def take(self, data):
        if b"\n" not in data:
            return None, data
        line, rest = data.split(b"\n", 1)
        assert line[:1] == b":" and line[-1:] == b"\r"
        frame = bytes.fromhex(line[1:-1].decode())
        assert sum(frame) & 255 == 0
        return frame[:-1], rest

    def give(self, unit, pdu):
        frame = bytes([unit]) + pdu
        return b":" + (frame + bytes([-sum(frame) & 255])).hex().encode() + b"\r\n"  # lower case, as some do


class Prot(Wire):
    hello = bytes.fromhex("78563412") + ID.encode() + b"\0" + bytes([192, 168, 1, 66]) + b"\0"

    def take(self, data):
        if data.endswith(b"\xfd"):
            return None, data
        return super().take(unescape(data))

    def give(self, unit, pdu):
        return escape(rtu(unit, pdu)) + b"\xfe"


class Ddp(Wire):
    tail = False

    def packet(self, kind, data=b""):
        return b"\x7b" + bytes([kind]) + struct.pack(">H", 16 + len(data)) + ID.encode() + data + b"\x7b"

    @property
    def hello(self):
        return self.packet(1, bytes([10, 128, 0, 5]) + struct.pack(">H", 5001))

    def take(self, data):
        while len(data) >= 4:
            length = struct.unpack(">H", data[2:4])[0]
            if len(data) < length:
                break
            packet, data = data[:length], data[length:]
            assert packet[0] == packet[-1] == 0x7B and packet[4:15] == ID.encode()
            if packet[1] == 0x89:
                return super().take(packet[15:-1])[0], data
            assert packet[1] == 0x81
        return None, data

    def give(self, unit, pdu):
        if self.tail:
            return self.packet(9) + rtu(unit, pdu)
        return self.packet(9, rtu(unit, pdu))


class DdpTail(Ddp):
    tail = True


class Braces(Wire):
    def packet(self, kind, data=b""):
        return b"\x7b" + bytes([kind]) + struct.pack("<H", 12 + len(data)) + ID.encode() + data + b"\x7d"

    @property
    def hello(self):
        return self.packet(0x31) + self.packet(0x30)

    def take(self, data):
        while len(data) >= 4:
            length = 4 + struct.unpack("<H", data[2:4])[0]
            if len(data) < length:
                break
            packet, data = data[:length], data[length:]
            assert packet[0] == 0x7B and packet[-1] == 0x7D and packet[4:15] == ID.encode()
            if packet[1] == 0x32:
                return super().take(packet[15:-1])[0], data
        return None, data

    def give(self, unit, pdu):
        return self.packet(0x32, rtu(unit, pdu))


class Peer:
    def __init__(self, address, wire, unit, udp=False):
        host, port = address.rsplit(":", 1)
        self.wire, self.unit, self.udp = wire, unit, udp
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
        self.sock.connect((host, int(port)))
        self.sock.settimeout(60)
        self.sock.sendall(wire.hello)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        data = b""
        try:
            while got := self.sock.recv(4096):
                data += got
                while True:
                    request, data = self.wire.take(data)
                    if request is None:
                        break
                    out = self.wire.give(request[0], self.unit.answer(request[1:]))
                    for piece in ([out] if self.udp else [out[:1], out[1:4], out[4:]]):
                        self.sock.sendall(piece)
        except OSError:
            pass

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.thread.join(60)


def registers(text):
    raw = text.encode("gbk").ljust(8, b"\0")
    return {20 + i: raw[2 * i] << 8 | raw[2 * i + 1] for i in range(4)}


def device():
    u = Unit(holding={10: 1, 11: 0xFFFF, 12: 0xFEFD, **registers("泵房")}, input={0: 0xFDFE})
    u.refuse[(6, 10)] = 1
    return u


@pytest.fixture
def peers():
    made = []

    def dial(*args, **more):
        made.append(Peer(*args, **more))
        return made[-1]
    yield dial
    for p in made:
        p.close()


@pytest.mark.parametrize("wire, settings, udp", [
    (Every, "registration { length = 11, mode = every }", False),
    (Echo, "registration { length = 11 }, localEcho = true", False),
    (Ascii, "framing = ascii, registration { length = 11 }", False),
    (Prot, "envelope = prot", False),
    (Ddp, "envelope = ddp", False),
    (DdpTail, "envelope = ddp", False),
    (Ddp, "envelope = ddp", True),
    (DdpTail, "envelope = ddp", True),
    (Braces, "envelope = braces", False),
], ids=["every", "echo", "ascii", "prot", "ddp", "ddp-tail", "ddp-udp", "ddp-tail-udp", "braces"])
def test_what_dtus_wrap_around_serial_bytes(world, peers, wire, settings, udp):
    """covers: M02 M05 M09"""
    text = listener("dtu", settings)
    if udp:
        text = text.replace("protocol = modbus,", "protocol = modbus, transport = udp,")
    cloud, gateway = start(world, entry(0, ID + "/1"), listeners=text, extra=POINTS)
    unit = device()
    peers(gateway.process.ready["listeners"]["dtu"], wire(), unit, udp=udp)
    assert wait_reported(cloud, 0, "level") == 6502.2  # FDFE x 0.1, which PROT escapes
    assert wait_reported(cloud, 0, "high") == -259
    assert wait_reported(cloud, 0, "place") == "泵房"

    # 01 for function 6: 16 is tried; neighbours of one set are one request; text in the device's character set.
    answer = ask(cloud, 0, "/properties", {"low": 7})()[1]["reply"]
    assert answer["code"] == 200, answer
    assert unit.holding[10] == 7
    unit.seen.clear()
    assert ask(cloud, 0, "/properties", {"low": 8, "high": 65537})()[1]["reply"]["code"] == 200
    assert [p.hex() for p in unit.seen if p[0] in (6, 16)] == ["10000a000306" + "0008" + "00010001"]
    assert ask(cloud, 0, "/properties", {"place": "水"})()[1]["reply"]["code"] == 200
    assert {k: unit.holding[k] for k in range(20, 24)} == registers("水")
    assert stat(gateway, "timeouts") == 0


def decode(lines, *more):
    done = subprocess.run([BUILD / "bin" / "causeway", "decode", *more, "modbus", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_envelopes_are_recognised_when_nobody_names_them():
    lines = {
        Prot.hello.hex(): {"event": "register", "device_id": "78563412", "phone": ID, "ip": "192.168.1.66"},
        escape(rtu(1, bytes.fromhex("0304fefd1234"))).hex(): {"event": "data", "data": rtu(1, bytes.fromhex("0304fefd1234")).hex().upper()},
        "fe": {"event": "heartbeat"},
        Ddp().hello.hex(): {"event": "register", "device_id": ID, "ip": "10.128.0.5", "port": 5001, "reply": "7B810010" + ID.encode().hex() + "7B"},
        Ddp().give(1, b"\3\2\0\1").hex(): {"event": "data", "device_id": ID, "data": rtu(1, b"\3\2\0\1").hex().upper()},
        Braces().give(1, b"\3\2\0\1").hex(): {"event": "data", "device_id": ID, "data": rtu(1, b"\3\2\0\1").hex().upper()},
    }
    frames, err = decode(lines)
    assert [f["ok"] for f in frames] == [True] * len(lines), (frames, err)
    for f, (_, expected) in zip(frames, lines.items()):
        assert {k: f["fields"].get(k) for k in expected} == expected
    # Unit 7B, and text in registers, are no envelopes; ASCII as it stands on the wire.
    frames, err = decode([rtu(0x7B, bytes.fromhex("0300000001")).hex(), rtu(0x7B, b"\1\2\x31\x32").hex(), rtu(1, b"\3\x10" + b"1" * 16).hex(), ":1103006B00037E"])
    assert [f["ok"] for f in frames] == [True] * 4, (frames, err)
    assert [f["header"]["dir"] for f in frames] == ["request", "response", "response", "request"]
    assert frames[3]["fields"] == {"address": 107, "quantity": 3}


def check(gateway, devices, **more):
    gateway.write_config(**more)
    gateway.devices.write_text(devices)
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", gateway.config], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_mistakes_that_config_check_finds(world):
    cloud, gateway = start(world, entry(0, ID + "/1"), listeners=listener("dtu", "registration { length = 11 }"), extra=POINTS)
    good = entry(0, ID + "/1", "profile = meter")
    assert check(gateway, good, extra=POINTS)[0] == 0
    for settings, said in (("profile = metre", 'protocols.modbus.profiles, not "metre"'), ("profile = meter, unit = 0", "unit = 0 is a broadcast")):
        rc, text = check(gateway, entry(0, ID + "/1", settings), extra=POINTS)
        assert rc != 0 and f'device "{ID}/1"' in text and said in text, text
    points = ", ".join(f"{{ property = p{i}, address = {300 * i} }}" for i in range(40))
    rc, text = check(gateway, good, extra=f"protocols.modbus.profiles.meter {{ interval = 5s, points = [ {points} ] }}")
    assert rc == 0 and "warning: " in text and "polling takes 2.5 seconds each second" in text, text
    rc, text = check(gateway, good, extra=POINTS.replace("gap = 0ms", "gapp = 0ms"))
    assert rc != 0 and '"gapp"; did you mean "gap"' in text, text


def test_defaults_count_where_no_other_place_says_it(world, peers):
    """The polls of a DTU in front of which a listener says more; digits in a pattern as everybody writes them."""
    text = listener("dtu", 'registration { pattern = "^(ID:)?(\\\\d{11})$", group = 2, quiet = 20ms }, answerTimeout = 400ms')
    cloud, gateway = start(world, entry(0, ID + "/1"), listeners=text, extra=POINTS)

    class Named(Wire):
        hello = b"ID:" + ID.encode()
    peers(gateway.process.ready["listeners"]["dtu"], Named(), device())
    assert wait_reported(cloud, 0, "low") == 1
    wait_until(lambda: stat(gateway, "answers") > 6, "three cycles, at a gap and settle of nothing")
