"""A CoAP platform written from RFC 7252 and the platform's documents, for one device: it knows nothing of the emulator's code nor
of libcoap. In the clear it has a UDP socket; with DTLS its datagrams go through openssl's s_server, one connection a peer.
"""
import hmac
import json
import os
import socket
import subprocess
import threading

from cloud_client import METHODS
from conftest import wait_until
from coap_client import ACK, CON, IV, Message, decrypt, derive, encode, encrypt, number  # noqa: F401

POST = 2


class Peer:
    """`answer(request, path)` may be replaced; `seen` has (path, decrypted payload, seq) of every publish, `faults` what is wrong."""

    def __init__(self, device, separate=False, success=(2, 5), secure=False):
        self.device, self.separate, self.success, self.secure = device, separate, success, secure
        self.seen, self.faults, self.logins, self.used, self.last = [], [], [], set(), {}
        self.key = self.token = None
        self.mid = 1

    # ---- what it answers ----

    def auth(self, message):
        body = json.loads(message.payload)
        pk, dn, secret = self.device
        content = "".join(k + str(body[k]) for k in sorted(body) if k not in ("sign", "signmethod", "version", "resources"))
        sign = hmac.new(secret.encode(), content.encode(), METHODS[body["signmethod"]]).hexdigest()
        if (body["productKey"], body["deviceName"]) != (pk, dn) or sign != body["sign"].lower():
            return (4, 1), b""
        if ("seq" in body) == self.secure or message.option(12) != b"\x32" or message.option(17) != b"\x32":
            self.faults.append(("auth", body, message.options))
        self.logins.append(body)
        self.token, random = os.urandom(8).hex(), os.urandom(8).hex()
        self.key, self.used = derive(secret, random), set()
        return (2, 5), json.dumps({"token": self.token, **({} if self.secure else {"random": random, "seqOffset": 7})}).encode()

    def publish(self, message, path):
        if message.option(2088) != (self.token or "").encode():
            return (4, 1), b""
        if self.secure:
            self.seen.append((path, message.payload, None))
            return self.success, b""
        seq = int(decrypt(self.key, message.option(2089)))
        if seq <= 7 or seq in self.used:
            self.faults.append(("seq", seq))
        self.used.add(seq)
        self.seen.append((path, decrypt(self.key, message.payload), seq))
        return self.success, b""

    def answer(self, message, path):
        if path == "auth":
            return self.auth(message)
        return self.publish(message, path) if path.startswith("topic/") else ((4, 4), b"")

    # ---- CoAP ----

    def datagram(self, data):
        """The datagrams that go back."""
        message = Message(data)
        if message.kind == ACK or message.code == 0:
            return []
        if message.mid in self.last:  # a repetition
            return self.last[message.mid]
        if message.code != POST or message.kind != CON or any(n == 11 and not v for n, v in message.options):
            self.faults.append(("request", message.code, message.kind))
        path = "/".join(v.decode() for n, v in message.options if n == 11)
        (major, minor), payload = self.answer(message, path)
        code, options = major << 5 | minor, [(2090, (123456789012345678).to_bytes(8, "big"))] if path.startswith("topic") else []
        if path.startswith("topic") and self.separate:
            self.mid += 1
            out = [encode(ACK, 0, message.mid), encode(CON, code, self.mid, message.token, options, payload)]
        else:
            out = [encode(ACK, code, message.mid, message.token, options, payload)]
        self.last = {message.mid: out}
        return out


class UdpPeer(Peer):
    def __init__(self, device, address=("127.0.0.1", 0), **options):
        super().__init__(device, **options)
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(address)
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.endpoint = f"coap://{host}:{self.sock.getsockname()[1]}"
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while True:
            data, who = self.sock.recvfrom(4096)
            if not data:
                return
            for out in self.datagram(data):
                self.sock.sendto(out, who)

    def close(self):
        with socket.socket(self.sock.family, socket.SOCK_DGRAM) as s:
            s.sendto(b"", self.sock.getsockname())
        self.thread.join()
        self.sock.close()


def is_taken(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


class DtlsPeer(Peer):
    """`arguments`: of s_server, for the key or the certificate."""

    def __init__(self, device, arguments, host="127.0.0.1", **options):
        super().__init__(device, secure=True, **options)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        self.endpoint = f"coaps://{host}:{port}"
        self.process = subprocess.Popen(["openssl", "s_server", "-dtls1_2", "-accept", f"127.0.0.1:{port}", "-quiet", *arguments],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        wait_until(lambda: is_taken(port), "s_server to listen")
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        while data := os.read(self.process.stdout.fileno(), 4096):
            for out in self.datagram(data):
                os.write(self.process.stdin.fileno(), out)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.thread.join()
        self.process.stdin.close()
        self.process.stdout.close()
