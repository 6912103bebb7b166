"""A data logger of HJ 212 in Python, written from the standard's tables and independent of the C decoder."""
import datetime
import re
import socket
import threading


def crc(data):
    """The checksum of annex A: the register moves by eight bits before the byte goes in."""
    reg = 0xFFFF
    for byte in data:
        reg = (reg >> 8) ^ byte
        for _ in range(8):
            low, reg = reg & 1, reg >> 1
            if low:
                reg ^= 0xA001
    return reg


def frame(segment, end=b"\r\n", encoding="utf-8"):
    data = segment.encode(encoding)
    return b"##%04d" % len(data) + data + b"%04X" % crc(data) + end


def local(at=None):
    """14 digits of the station's clock, UTC+8."""
    at = at or datetime.datetime.now(datetime.timezone.utc)
    return (at + datetime.timedelta(hours=8)).strftime("%Y%m%d%H%M%S")


def ago(**span):
    return datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(**span)


def parse(segment):
    """Fields of a segment; CP as the text between its &&."""
    head, cp = segment.split("CP=", 1)
    fields = dict(part.split("=", 1) for part in head.split(";") if part)
    assert cp.startswith("&&") and cp.endswith("&&"), segment
    fields["CP"] = cp[2:-2]
    return fields


class Station:
    """One connection of a logger, or of a server that forwards for several."""
    _count = 0
    _lock = threading.Lock()

    def __init__(self, address, mn, pw="123456", st="32", timeout=30, udp=False):
        host, port = address.rsplit(":", 1)
        self.mn, self.pw, self.st = mn, pw, st
        if udp:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.settimeout(timeout)
            self.sock.connect((host, int(port)))
        else:
            self.sock = socket.create_connection((host, int(port)), timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    @classmethod
    def qn(cls):
        """A number nobody else in this run has."""
        with cls._lock:
            cls._count += 1
            return f"{local()}{cls._count % 1000:03d}"

    def segment(self, cn, cp="", flag=5, qn=None, mn=None, st=None, extra=""):
        qn = self.qn() if qn is None else qn
        return qn, (f"QN={qn};" if qn else "") + f"ST={st or self.st};CN={cn};PW={self.pw};MN={mn or self.mn};" + \
            (f"Flag={flag};" if flag is not None else "") + extra + f"CP=&&{cp}&&"

    def send(self, cn, cp="", **more):
        """The number of what was sent."""
        qn, segment = self.segment(cn, cp, **more)
        self.sock.sendall(frame(segment))
        return qn

    def raw(self, data):
        self.sock.sendall(data)

    def receive(self):
        """The next message of the centre, its checksum verified."""
        while True:
            if len(self.buffer) >= 12:
                assert re.fullmatch(rb"##\d{4}", self.buffer[:6]), self.buffer
                end = 6 + int(self.buffer[2:6]) + 6
                if len(self.buffer) >= end:
                    one, self.buffer = self.buffer[:end], self.buffer[end:]
                    assert one[-6:] == b"%04X\r\n" % crc(one[6:-6]), one
                    return parse(one[6:-6].decode())
            more = self.sock.recv(4096)
            assert more, "the gateway closed the connection"
            self.buffer += more

    def expect_answer(self, qn, cn="9014"):
        got = self.receive()
        assert (got["CN"], got["QN"], got["ST"], got["MN"]) == (cn, qn, "91", self.mn), got
        return got

    def silent(self, seconds=0.3):
        """Nothing comes for a while."""
        self.sock.settimeout(seconds)
        try:
            return not self.sock.recv(1)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(30)

    def answer(self, request, cn, cp=""):
        self.send(cn, cp, flag=4, qn=request["QN"], st="91")

    def obey(self, cn, *data, exe=1):
        """Take the request, tell data ((cp, flag) each, under the request's number), end it; returns the request."""
        request = self.receive()
        assert request["CN"] == cn, request
        self.answer(request, "9011", "QnRtn=1")
        for cp in data:
            self.send(cn, cp, flag=4, qn=request["QN"])
        self.answer(request, "9012", f"ExeRtn={exe}")
        return request
