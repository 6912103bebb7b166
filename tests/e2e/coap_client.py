"""A CoAP client of the emulator's tests, written from RFC 7252 and the platform's documents: raw datagrams, AES by
python3-cryptography. It knows nothing of the emulator's code.
"""
import hashlib
import json
import os
import socket
import struct

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from cloud_client import METHODS, sign

PATIENCE = 10
CON, NON, ACK, RST = range(4)
POST = 2
JSON, CBOR = 50, 60
IV = b"543yhjy97ae7fyfg"


def number(n):
    return n.to_bytes((n.bit_length() + 7) // 8, "big")


def encode(kind, code, mid, token=b"", options=(), payload=b""):
    """options: (number, bytes), in any order; equal numbers keep theirs."""
    out = bytes([1 << 6 | kind << 4 | len(token), code]) + struct.pack(">H", mid) + token
    last = 0
    for num, value in sorted(options, key=lambda o: o[0]):
        head, tail = 0, b""
        for n, shift in ((num - last, 4), (len(value), 0)):
            if n < 13:
                head |= n << shift
            elif n < 269:
                head, tail = head | 13 << shift, tail + bytes([n - 13])
            else:
                head, tail = head | 14 << shift, tail + struct.pack(">H", n - 269)
        out += bytes([head]) + tail + value
        last = num
    return out + (b"\xff" + payload if payload else b"")


class Message:
    def __init__(self, data):
        self.kind, tkl, self.code = data[0] >> 4 & 3, data[0] & 15, data[1]
        self.mid = struct.unpack(">H", data[2:4])[0]
        self.token, at, num = data[4:4 + tkl], 4 + tkl, 0
        self.options, self.payload = [], b""
        while at < len(data):
            if data[at] == 0xFF:
                self.payload = data[at + 1:]
                break
            parts, at = [data[at] >> 4, data[at] & 15], at + 1
            for i, n in enumerate(parts):
                if n == 13:
                    parts[i], at = data[at] + 13, at + 1
                elif n == 14:
                    parts[i], at = struct.unpack(">H", data[at:at + 2])[0] + 269, at + 2
            num += parts[0]
            self.options.append((num, data[at:at + parts[1]]))
            at += parts[1]

    @property
    def status(self):
        return f"{self.code >> 5}.{self.code & 31:02}"

    def option(self, num):
        return next((v for n, v in self.options if n == num), None)


def derive(secret, random):
    return hashlib.sha256(f"{secret},{random}".encode()).digest()[8:24]


def encrypt(key, data):
    pad = padding.PKCS7(128).padder()
    enc = Cipher(algorithms.AES(key), modes.CBC(IV)).encryptor()
    return enc.update(pad.update(data) + pad.finalize()) + enc.finalize()


def decrypt(key, data):
    dec = Cipher(algorithms.AES(key), modes.CBC(IV)).decryptor()
    pad = padding.PKCS7(128).unpadder()
    return pad.update(dec.update(data) + dec.finalize()) + pad.finalize()


def auth_body(device, method=None, seq="10", **more):
    pk, dn, secret = device
    body = {"productKey": pk, "deviceName": dn, "clientId": f"{pk}&{dn}", **({} if seq is None else {"seq": seq}), **more}
    body["sign"] = sign(secret, method or "hmacmd5", **{k: str(v) for k, v in body.items() if k not in ("version", "resources")})
    return body if method is None else {**body, "signmethod": method}


class Coap:
    """One UDP socket to the plain listener."""

    def __init__(self, cloud, device=None):
        host, port = cloud.process.ready["coap"].rsplit(":", 1)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.connect((host, int(port)))
        self.sock.settimeout(PATIENCE)
        self.device = device
        self.mid = int.from_bytes(os.urandom(2), "big")
        self.seq = None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.sock.close()

    def receive(self, timeout=PATIENCE):
        self.sock.settimeout(timeout)
        return Message(self.sock.recv(4096))

    def send(self, path, payload=b"", options=(), kind=CON, code=POST, mid=None, token=None):
        if mid is None:
            self.mid = mid = (self.mid + 1) & 0xFFFF
        segments = [(11, s.encode()) for s in path.strip("/").split("/")]
        token = struct.pack(">I", mid) if token is None else token
        self.sock.send(encode(kind, code, mid, token, segments + list(options), payload))
        return mid, token

    def request(self, path, payload=b"", options=(), **more):
        mid, token = self.send(path, payload, options, **more)
        got = self.receive()
        assert got.token == token
        if more.get("kind", CON) == CON:
            assert (got.kind, got.mid) == (ACK, mid)
        return got

    def auth(self, **more):
        got = self.request("auth", json.dumps(auth_body(self.device, **more)).encode(), [(12, number(JSON)), (17, number(JSON))])
        assert got.status == "2.05", got.status
        body = json.loads(got.payload)
        self.token = body["token"].encode()
        self.seq = body["seqOffset"]
        self.key = derive(self.device[2], body["random"])
        return body

    def secured(self, payload, seq=None):
        """(options, payload) of a request with the login's token; counts up from seqOffset + 1."""
        if seq is None:
            self.seq = seq = self.seq + 1
        return [(2088, self.token), (2089, encrypt(self.key, str(seq).encode()))], encrypt(self.key, payload)

    def publish(self, topic, payload, seq=None, **more):
        options, data = self.secured(payload if isinstance(payload, bytes) else json.dumps(payload).encode(), seq)
        return self.request("topic" + topic, data, options, **more)
