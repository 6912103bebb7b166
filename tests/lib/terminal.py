"""A JT/T 808 terminal in Python, written from the standard's text and independent of the C decoder."""
import datetime
import socket
import struct


def escape(data):
    return data.replace(b"\x7d", b"\x7d\x01").replace(b"\x7e", b"\x7d\x02")


def unescape(data):
    return data.replace(b"\x7d\x02", b"\x7e").replace(b"\x7d\x01", b"\x7d")


def frame(message_id, phone, serial, body=b"", version=2013, fragment=None):
    attributes = len(body) | (0x2000 if fragment else 0)
    if version == 2019:
        head = struct.pack(">HHB", message_id, attributes | 0x4000, 1) + bytes.fromhex(phone.zfill(20))
    else:
        head = struct.pack(">HH", message_id, attributes) + bytes.fromhex(phone.zfill(12))
    head += struct.pack(">H", serial)
    if fragment:
        head += struct.pack(">HH", *fragment)
    content = head + body
    check = 0
    for byte in content:
        check ^= byte
    return b"\x7e" + escape(content + bytes([check])) + b"\x7e"


def bcd_time(when=None):
    when = when or datetime.datetime.now(datetime.timezone(datetime.timedelta(hours=8)))
    return bytes.fromhex(when.strftime("%y%m%d%H%M%S"))


def location(lat=31_230_416, lon=121_473_701, speed=605, alarm=0, status=3, when=None, items=b""):
    return struct.pack(">IIIIHHH", alarm, status, lat, lon, 12, speed, 90) + bcd_time(when) + items


class Message:
    def __init__(self, content):
        self.id, attributes = struct.unpack(">HH", content[:4])
        at = 15 if attributes & 0x4000 else 10
        self.serial = struct.unpack(">H", content[at:at + 2])[0]
        at += 2
        self.fragment = None
        if attributes & 0x2000:
            self.fragment = struct.unpack(">HH", content[at:at + 4])
            at += 4
        self.body = content[at:]

    def __repr__(self):
        return f"Message(0x{self.id:04x}, serial={self.serial}, body={self.body.hex()})"


class Closed(Exception):
    pass


class Terminal:
    """Blocking socket; every wait has a timeout that is only reached when something is broken."""

    def __init__(self, address, phone, version=2013, timeout=30, connect=True):
        self.phone, self.version, self.timeout = phone, version, timeout
        self.serial = 0
        self.pending = b""
        self.code = None
        self.address = address
        if connect:
            self.connect()

    def connect(self, wrap=None):
        host, port = self.address.rsplit(":", 1)
        self.sock = socket.create_connection((host.strip("[]"), int(port)), self.timeout)
        if wrap:
            self.sock = wrap(self.sock)
        self.pending = b""

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, message_id, body=b"", phone=None, serial=None, fragment=None):
        if serial is None:
            serial, self.serial = self.serial, (self.serial + 1) & 0xFFFF
        self.sock.sendall(frame(message_id, phone or self.phone, serial, body, self.version, fragment))
        return serial

    def receive(self):
        while True:
            start = self.pending.find(b"\x7e")
            end = self.pending.find(b"\x7e", start + 1) if start >= 0 else -1
            if end > start + 1:
                content = unescape(self.pending[start + 1:end])
                self.pending = self.pending[end + 1:]
                return Message(content[:-1])
            data = self.sock.recv(65536)
            if not data:
                raise Closed()
            self.pending += data

    def receive_id(self, message_id):
        while True:
            message = self.receive()
            if message.id == message_id:
                return message

    def is_closed(self):
        """True once the gateway has closed; reads what is left before."""
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def general_reply(self, message, result=0):
        self.send(0x0001, struct.pack(">HHB", message.serial, message.id, result))

    def expect_ack(self, serial, message_id):
        """The platform's general reply to one of our messages; returns its result."""
        while True:
            message = self.receive_id(0x8001)
            answered, of, result = struct.unpack(">HHB", message.body[:5])
            if (answered, of) == (serial, message_id):
                return result

    def register(self):
        maker, model, plate = b"MAKER", b"MODEL-1".ljust(20, b"\0"), "沪A12345".encode("gbk")
        if self.version == 2019:
            maker, model, ident = b"CN001MAKER\0", b"MODEL-1".ljust(30, b"\0"), b"T000001".ljust(30, b"\0")
        else:
            ident = b"T000001"
        body = struct.pack(">HH", 31, 100) + maker + model + ident + bytes([1]) + plate
        serial = self.send(0x0100, body)
        answer = self.receive_id(0x8100)
        assert struct.unpack(">H", answer.body[:2])[0] == serial
        if answer.body[2] == 0:
            self.code = answer.body[3:]
        return answer.body[2]

    def authenticate(self, code=None):
        code = self.code if code is None else code
        body = bytes([len(code)]) + code + b"123456789012345" + b"V1.0".ljust(20, b"\0") if self.version == 2019 else code
        serial = self.send(0x0102, body)
        return self.expect_ack(serial, 0x0102)

    def log_in(self):
        assert self.register() == 0
        assert self.authenticate() == 0
        return self

    def report(self, **fields):
        return self.send(0x0200, location(**fields))

    def report_acked(self, **fields):
        return self.expect_ack(self.report(**fields), 0x0200)

