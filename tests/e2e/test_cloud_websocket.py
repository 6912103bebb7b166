"""MQTT in WebSockets on the port of MQTT: paho, python3-websockets, and raw bytes for what they never send."""
import asyncio
import base64
import os
import socket
import ssl
import struct

import paho.mqtt.client as paho
import pytest
import websockets
from cloud_client import (DEV, PATIENCE, Client, Raw, connect_packet, credentials, packet, publish_packet,
                          subscribe_packet)
from conftest import wait_until

TOPIC = f"/{DEV[0]}/{DEV[1]}/user/update"
GET = f"/{DEV[0]}/{DEV[1]}/user/get"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # of RFC 6455, 1.3


def request(**change):
    """An upgrade; a header of None is left out."""
    path = change.pop("path", "/")
    method = change.pop("method", "GET")
    version = change.pop("http", "HTTP/1.1")
    headers = {"Host": "localhost", "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": KEY,
               "Sec-WebSocket-Version": "13", **{k.replace("_", "-"): v for k, v in change.items()}}
    lines = [f"{method} {path} {version}"] + [f"{k}: {v}" for k, v in headers.items() if v is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(opcode, data=b"", fin=True, mask=True, rsv=0, length=None):
    """A client's frame; `length` lies about the payload."""
    n = len(data) if length is None else length
    head = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    bit = 0x80 if mask else 0
    head += bytes([bit | n]) if n < 126 else bytes([bit | 126]) + struct.pack(">H", n) if n < 65536 else \
        bytes([bit | 127]) + struct.pack(">Q", n)
    if not mask:
        return head + data
    key = os.urandom(4)
    return head + key + bytes(b ^ key[i % 4] for i, b in enumerate(data))


class Ws(Raw):
    """A bare WebSocket: what is sent is up to the test."""

    def __init__(self, cloud, context=None, upgrade=True, **change):
        super().__init__(cloud, context)
        self.carried = b""
        if upgrade:
            self.send(request(**change))
            self.head = self.http()
            assert self.head.startswith(b"HTTP/1.1 101 ")

    def http(self):
        head = b""
        while b"\r\n\r\n" not in head:
            head += super().recv(1)
        return head

    def frame(self):
        """(opcode, payload); a server never masks."""
        first, n = super().recv(2)
        assert first & 0x70 == 0 and n < 128
        if n == 126:
            n, = struct.unpack(">H", super().recv(2))
        elif n == 127:
            n, = struct.unpack(">Q", super().recv(8))
        return first & 0x0f, super().recv(n)

    def recv(self, n):
        """The MQTT inside, wherever its frames end."""
        while len(self.carried) < n:
            opcode, data = self.frame()
            assert opcode == 2
            self.carried += data
        got, self.carried = self.carried[:n], self.carried[n:]
        return got

    def closed_with(self):
        """The code of a close frame that is the last thing to come."""
        opcode, data = self.frame()
        assert opcode == 8 and self.at_end()
        return struct.unpack(">H", data)[0] if data else None


def login(securemode="3"):
    return connect_packet(*credentials(DEV, securemode=securemode))


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("version", [paho.MQTTv31, paho.MQTTv311])
def test_paho_over_ws_and_wss(cloud, tls, version):
    """covers: H50 H51 H26"""
    with Client(cloud, DEV, tls=tls, version=version, transport="websockets", subscribe=[GET]) as device:
        assert device.code == 0
        session = cloud.device(*DEV[:2])["session"]
        assert session["websocket"] is True and session["tls"] is tls and session["channel"] == "mqtt"
        device.publish(TOPIC, b"up")
        cloud.wait_message(topic=TOPIC)
        assert cloud.request("POST", f"/devices/{DEV[0]}/{DEV[1]}/raw", b"d" * 200000, topic=GET)[0] in (200, 202)
        assert device.receive().payload == b"d" * 200000
        device.publish(TOPIC, b"x" * 262144)
    with Client(cloud, DEV) as device:
        assert cloud.device(*DEV[:2])["session"]["websocket"] is False


def test_wss_is_checked_as_tls_is(cloud, start_cloud):
    """covers: H52"""
    other = start_cloud(name="other", tls_dir=None)
    with pytest.raises(ssl.SSLCertVerificationError):
        Ws(cloud, ssl.create_default_context(cafile=other.ca))
    with Ws(cloud, ssl.create_default_context(cafile=cloud.ca)) as ws:
        assert ws.send(frame(2, login("2"))).packet() == (0x20, b"\0\0")


@pytest.mark.parametrize("tls, securemode, code", [(False, "3", 0), (False, "2", 2), (True, "3", 2), (True, "2", 0)])
def test_securemode_is_that_of_the_channel(cloud, tls, securemode, code):
    """covers: H51"""
    with Ws(cloud, ssl.create_default_context(cafile=cloud.ca) if tls else None) as ws:
        assert ws.send(frame(2, login(securemode))).packet() == (0x20, bytes([0, code]))
        if code != 0:
            assert ws.at_end()


@pytest.mark.parametrize("wanted, agreed", [(None, None), (["mqtt"], "mqtt"), (["mqttv3.1"], "mqttv3.1"),
                                            (["other", "mqttv3.1", "mqtt"], "mqttv3.1"), (["other"], None)])
@pytest.mark.parametrize("path", ["/", "/mqtt?x=1"])
def test_any_path_and_the_sub_protocols_of_mqtt(cloud, wanted, agreed, path):
    """covers: H50"""
    async def talk():
        async with websockets.connect(f"ws://{cloud.mqtt[0]}:{cloud.mqtt[1]}{path}", subprotocols=wanted) as ws:
            assert ws.subprotocol == agreed
            await ws.send(login())
            assert await ws.recv() == b"\x20\2\0\0"
            await (await ws.ping(b"are you there"))
            await (await ws.ping())
            # Fragments: the library sends one frame for each piece.
            await ws.send(iter([b"\xc0", b"\0\xc0", b"\0"]))
            answers = b""
            while len(answers) < 4:
                answers += await ws.recv()
            assert answers == b"\xd0\0\xd0\0"
        assert ws.close_code == 1000
    asyncio.run(asyncio.wait_for(talk(), PATIENCE))


def test_the_accept_key_is_that_of_the_standard(cloud):
    with Ws(cloud, Connection="keep-alive, UPGRADE", Upgrade="WebSocket") as ws:
        assert f"\r\nSec-WebSocket-Accept: {ACCEPT}\r\n".encode() in ws.head
        assert b"Sec-WebSocket-Protocol" not in ws.head


def test_packets_are_split_over_frames_and_share_them(cloud):
    with Ws(cloud) as ws:
        for b in login():
            ws.send(frame(2, bytes([b])))
        assert ws.packet() == (0x20, b"\0\0")
        pub = publish_packet(TOPIC, b"p" * 300, qos=1)
        # End of one and beginning of the next in a frame, a ping between fragments, empty frames, and the socket split anywhere.
        data = frame(2, pub[:9], fin=False) + frame(9, b"!") + frame(0, b"", fin=False) + frame(0, pub[9:] + pub[:5]) + \
            frame(2) + frame(10, b"unasked") + frame(2, pub[5:] + b"\xc0\0")
        for i in range(0, len(data), 7):
            ws.send(data[i:i + 7])
        seen, mqtt = [], b""
        while len(mqtt) < 10:
            opcode, payload = ws.frame()
            seen.append((opcode, payload)) if opcode != 2 else None
            mqtt += payload if opcode == 2 else b""
        assert seen == [(10, b"!")]
        assert mqtt == b"\x40\2\0\1\x40\2\0\1\xd0\0"
    assert len(cloud.messages(topic=TOPIC)) == 2


def test_a_request_in_pieces_with_frames_behind_it(cloud):
    with Ws(cloud, upgrade=False) as ws:
        data = request() + frame(2, login() + b"\xc0\0")
        for i in range(0, len(data), 50):
            ws.send(data[i:i + 50])
        assert ws.http().startswith(b"HTTP/1.1 101 ")
        assert ws.recv(6) == b"\x20\2\0\0\xd0\0"


BAD_UPGRADES = {
    "a page": (request(Upgrade=None, Connection=None), b"400"),
    "no upgrade header": (request(Upgrade="h2c"), b"400"),
    "no connection header": (request(Connection="close"), b"400"),
    "no key": (request(Sec_WebSocket_Key=None), b"400"),
    "short key": (request(Sec_WebSocket_Key=base64.b64encode(b"x" * 15).decode()), b"400"),
    "key of no base64": (request(Sec_WebSocket_Key="!" * 22 + "=="), b"400"),
    "key twice": (request(X=f"1\r\nSec-WebSocket-Key: {KEY}"), b"400"),
    "old version": (request(Sec_WebSocket_Version="8"), b"426"),
    "HTTP/1.0": (request(http="HTTP/1.0"), b"400"),
    "another method": (request(method="GOT"), b"400"),
    "no colon": (b"GET / HTTP/1.1\r\nnonsense\r\n\r\n", b"400"),
    "bare line ends": (b"GET / HTTP/1.1\nHost: x\n\r\n\r\n", b"400"),
    "nothing": (b"G\r\n\r\n", b"400"),
    "endless": (b"GET / HTTP/1.1\r\nX: " + b"x" * 8200, b"431"),
}


@pytest.mark.parametrize("why", BAD_UPGRADES)
def test_a_bad_upgrade_is_answered_and_closed(cloud, why):
    data, status = BAD_UPGRADES[why]
    with Ws(cloud, upgrade=False) as ws:
        ws.send(data)
        head = ws.http()
        assert head.startswith(b"HTTP/1.1 " + status + b" ")
        if status == b"426":
            assert b"\r\nSec-WebSocket-Version: 13\r\n" in head


BAD_FRAMES = {
    "text": (frame(1, b"hello"), 1003),
    "unmasked": (frame(2, b"\xc0\0", mask=False), 1002),
    "reserved bit": (frame(2, b"\xc0\0", rsv=4), 1002),
    "unknown opcode": (frame(3, b"x"), 1002),
    "continues nothing": (frame(0, b"x"), 1002),
    "message in a message": (frame(2, b"\xc0", fin=False) + frame(2, b"\0"), 1002),
    "text in a message": (frame(2, b"\xc0", fin=False) + frame(1, b"x"), 1003),
    "long ping": (frame(9, b"x" * 126), 1002),
    "fragmented ping": (frame(9, b"x", fin=False), 1002),
    "length not minimal": (b"\x82\xfe\0\5" + b"\0" * 9, 1002),
    "length above 63 bits": (b"\x82\xff" + b"\xff" * 8 + b"\0" * 4, 1002),
    "too large": (frame(2, b"x", length=(1 << 20) + 1), 1009),
    "too large in pieces": (frame(2, b"\xc0\0", fin=False) + frame(0, b"x", length=(1 << 20) - 1), 1009),
    "goodbye": (frame(8, struct.pack(">H", 1001) + b"leaving"), 1001),
    "goodbye without a word": (frame(8), None),
    "goodbye of one byte": (frame(8, b"x"), 1002),
    "goodbye with a code nobody may send": (frame(8, struct.pack(">H", 1006)), 1002),
}


@pytest.mark.parametrize("why", BAD_FRAMES)
def test_a_bad_frame_is_answered_with_its_code(cloud, why):
    data, code = BAD_FRAMES[why]
    with Ws(cloud) as ws:
        assert ws.send(frame(2, login())).packet() == (0x20, b"\0\0")
        ws.send(data)
        while True:
            opcode, body = ws.frame()
            if opcode == 8:
                break
        assert (struct.unpack(">H", body)[0] if body else None) == code and ws.at_end()
    cloud.wait_status(*DEV[:2], "OFFLINE")


def test_pings_do_not_replace_those_of_mqtt_and_a_kick_closes_without_a_frame(cloud):
    with Ws(cloud) as ws, Raw(cloud) as other:
        assert ws.send(frame(2, login())).packet() == (0x20, b"\0\0")
        assert other.login(DEV)[1][1] == 0
        assert ws.at_end()
    wait_until(lambda: cloud.stats()["kicks"] == 1, "the kick")


def test_a_flood_of_pings_that_are_never_read_ends(cloud):
    flood = frame(9, b"x" * 125) * 500
    with Ws(cloud) as ws:
        ws.sock.settimeout(PATIENCE)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(2000):
                ws.send(flood)
    wait_until(lambda: cloud.stats()["slowClosed"] == 1, "the slow client closed")


def test_subscriptions_work_and_a_refused_connect_is_answered_in_a_frame(cloud):
    with Ws(cloud) as ws:
        ws.send(frame(2, login() + subscribe_packet(GET)))
        assert ws.recv(9) == b"\x20\2\0\0" + packet(9, b"\0\1\0")
    with Ws(cloud) as ws:
        assert ws.send(frame(2, connect_packet("x", "a&b", "c"))).packet() == (0x20, b"\0\4")
        assert ws.at_end()


def test_only_the_mqtt_port_upgrades(cloud):
    host, port = cloud.process.ready["api"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), PATIENCE) as s:
        s.sendall(request())
        assert not s.recv(100).startswith(b"HTTP/1.1 101")
