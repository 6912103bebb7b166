"""A user-information transmission device of GB/T 26875.3 for tests, written from the tables: frames, units, one connection."""
import datetime
import socket
import struct

CONTROL, SEND, CONFIRM, REQUEST, RESPONSE, DENY = range(1, 7)
CHINA = datetime.timezone(datetime.timedelta(hours=8))
CENTRE = bytes.fromhex("385B01000000")


def label(when=None):
    t = when or datetime.datetime.now(CHINA)
    return bytes([t.second, t.minute, t.hour, t.day, t.month, t.year - 2000])


def frame(command, serial, source, unit=b"", destination=CENTRE, time=None, version=b"\1\1"):
    body = struct.pack("<H", serial) + version + (time or label()) + source + destination + struct.pack("<HB", len(unit), command) + unit
    return b"@@" + body + bytes([sum(body) & 255]) + b"##"


def unit(kind, *objects):
    return bytes([kind, len(objects)]) + b"".join(objects)


def component(system, address, kind, number):
    return struct.pack("<BBBI", system, address, kind, number)


def component_state(status, text="", number=7, when=None):
    return component(1, 1, 40, number) + struct.pack("<H", status) + text.encode("gb18030").ljust(31, b"\0") + label(when)


def analogue(kind, raw, number=7, when=None):
    return component(1, 1, 31, number) + struct.pack("<Bh", kind, raw) + label(when)


class Frame:
    def __init__(self, data):
        assert data[:2] == b"@@" and data[-2:] == b"##" and sum(data[2:-3]) & 255 == data[-3], data.hex()
        self.serial, self.version, self.time = struct.unpack("<H", data[2:4])[0], data[4:6], data[6:12]
        self.source, self.destination, self.command = data[12:18], data[18:24], data[26]
        self.unit = data[27:-3]
        assert len(self.unit) == struct.unpack("<H", data[24:26])[0]


class Utd:
    """Blocking socket; every wait has a timeout that is only reached when something is broken."""

    def __init__(self, address, source="790300000000", transport="tcp", timeout=30):
        host, port = address.rsplit(":", 1)
        self.source, self.serial, self.pending, self.unread = bytes.fromhex(source), 0, b"", []
        self.datagram = transport == "udp"
        if self.datagram:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.connect((host, int(port)))
        else:
            self.sock = socket.create_connection((host, int(port)))
        self.sock.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, unit=b"", command=SEND, serial=None, **how):
        if serial is None:
            serial, self.serial = self.serial, (self.serial + 1) & 0xFFFF
        self.sock.sendall(frame(command, serial, self.source, unit, **how))
        return serial

    def _next(self):
        if self.datagram:
            return Frame(self.sock.recv(4096))
        while len(self.pending) < 30 or len(self.pending) < 30 + struct.unpack("<H", self.pending[24:26])[0]:
            data = self.sock.recv(65536)
            assert data, "the gateway has closed the connection"
            self.pending += data
        n = 30 + struct.unpack("<H", self.pending[24:26])[0]
        data, self.pending = self.pending[:n], self.pending[n:]
        return Frame(data)

    def receive(self, *commands, serial=None):
        """The first frame with one of these commands (and serial); others are kept for later."""
        for i, f in enumerate(self.unread):
            if f.command in commands and serial in (None, f.serial):
                return self.unread.pop(i)
        while True:
            f = self._next()
            assert f.destination == self.source
            if f.command in commands and serial in (None, f.serial):
                return f
            self.unread.append(f)

    def tell(self, *args, **how):
        """Send and wait for the answer: its command."""
        return self.receive(CONFIRM, DENY, serial=self.send(*args, **how)).command

    def is_closed(self):
        try:
            while self.sock.recv(65536):
                pass
        except ConnectionError:
            pass
        return True
