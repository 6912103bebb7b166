"""A client of the bridge channel that behaves on the wire as the platform's Java library does: no ALPN, first stream 3, HEADERS with
a priority and :path as the only pseudo header, pushes on even streams nobody promised.

Frames by Debian's python3-hyperframe, headers by python3-hpack; nothing of ours but the signatures.
"""
import base64
import hashlib
import hmac
import json
import socket
import ssl
import time
import urllib.request
import uuid

import hpack
from hyperframe.frame import (DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame,
                              WindowUpdateFrame)

PATIENCE = 30
BRIDGE = ("a1EmuGw0001", "gw-0001", "0123456789abcdef0123456789abcd01")
PLAIN_BRIDGE = ("a1EmuPk0001", "dev-0001", "0123456789abcdef0123456789abcdef")
SUB1 = ("a1EmuSub001", "sub-0001", "0123456789abcdef0123456789abcd11")
SUB2 = ("a1EmuSub001", "sub-0002", "0123456789abcdef0123456789abcd12")
DIGESTS = {"hmacmd5": hashlib.md5, "hmacsha1": hashlib.sha1, "hmacsha256": hashlib.sha256}


def digest(secret, method, text):
    return hmac.new(secret.encode(), text.encode(), DIGESTS[method]).hexdigest()


def unchecked():
    """TLS 1.2 without ALPN, SNI and any check of the certificate: the library's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Gone(Exception):
    """The server left; `text` is what its GOAWAY said."""

    def __init__(self, text, code=0):
        super().__init__(text)
        self.text, self.code = text, code


class Reply:
    def __init__(self):
        self.headers, self.body, self.ended = [], b"", False

    @property
    def status(self):
        return int(dict(self.headers)[":status"])

    def __getitem__(self, name):
        return dict(self.headers).get(name)

    def json(self):
        return json.loads(self.body)


class Push(Reply):
    stream = 0

    @property
    def topic(self):
        return self["x-topic"]

    @property
    def id(self):
        return self["x-message-id"]

    @property
    def qos(self):
        return int(self["x-qos"])

    @property
    def params(self):
        return self.json()["params"]

    @property
    def payload(self):
        return base64.b64decode(self.params["payload"], validate=True)


class Bridge:
    def __init__(self, cloud, device=BRIDGE, context=None, window=1073741824, settings=None):
        host, port = cloud.process.ready["http2"].rsplit(":", 1)
        self.cloud, self.device = cloud, device
        raw = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.sock = (context or unchecked()).wrap_socket(raw)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer = b""
        self.next = 3
        self.replies, self.pushes, self.order, self.pings = {}, [], [], []
        self.open_pushes = {}
        self.goaway = None
        self.server_settings = {}
        self.credit = 65535
        self.net_id = None
        self.auto_window = True
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SettingsFrame(0, settings=settings or {2: 1, 4: window, 5: 1048576, 6: 8192}))

    # ---- frames ----

    def send(self, frame):
        self.sock.sendall(frame.serialize())

    def _frame(self, timeout):
        """The next frame, or None in time."""
        deadline = time.monotonic() + timeout
        while True:
            if len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) >= 9 + length:
                    frame.parse_body(memoryview(self.buffer[9:9 + length]))
                    self.buffer = self.buffer[9 + length:]
                    return frame
            self.sock.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                more = self.sock.recv(65536)
            except socket.timeout:
                return None
            except (ConnectionResetError, ssl.SSLError) as problem:
                raise Gone(self.goaway or str(problem)) from None
            if not more:
                raise Gone(self.goaway or "closed")
            self.buffer += more

    def step(self, timeout=PATIENCE):
        """Take one frame; False when none came."""
        frame = self._frame(timeout)
        if frame is None:
            return False
        self.order.append((type(frame).__name__, frame.stream_id))
        if isinstance(frame, SettingsFrame):
            if "ACK" not in frame.flags:
                self.server_settings.update(frame.settings)
                self.send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame):
            self.pings.append(frame.opaque_data)
        elif isinstance(frame, GoAwayFrame):
            self.goaway = frame.additional_data.decode() or f"error {frame.error_code}"
            self.goaway_code = frame.error_code
        elif isinstance(frame, WindowUpdateFrame) and frame.stream_id == 0:
            self.credit += frame.window_increment
        elif isinstance(frame, HeadersFrame):
            reply = self._of(frame.stream_id)
            reply.headers = self.decoder.decode(frame.data)
            self._end(frame, reply)
        elif isinstance(frame, DataFrame):
            reply = self._of(frame.stream_id)
            reply.body += frame.data
            if self.auto_window and frame.flow_controlled_length:
                self.send(WindowUpdateFrame(0, frame.flow_controlled_length))
            self._end(frame, reply)
        elif isinstance(frame, RstStreamFrame):
            self._of(frame.stream_id).ended = True
        return True

    def _of(self, stream):
        if stream % 2 == 0:
            return self.open_pushes.setdefault(stream, Push())
        return self.replies.setdefault(stream, Reply())

    def _end(self, frame, reply):
        if "END_STREAM" not in frame.flags:
            return
        reply.ended = True
        if isinstance(reply, Push):
            reply.stream = frame.stream_id
            self.pushes.append(self.open_pushes.pop(frame.stream_id))

    # ---- requests ----

    def send_request(self, path, headers=(), body=None, end=True):
        stream, self.next = self.next, self.next + 2
        fields = [(":path", path), *headers, ("content-length", str(len(body or b"")))]
        frame = HeadersFrame(stream, data=self.encoder.encode(fields), flags=["END_HEADERS", "PRIORITY"])
        frame.stream_weight = 15
        if body is None:
            frame.flags.add("END_STREAM")
        out = frame.serialize()
        for at in range(0, len(body or b""), 16384):
            data = DataFrame(stream, data=body[at:at + 16384])
            if end and at + 16384 >= len(body):
                data.flags.add("END_STREAM")
            out += data.serialize()
        self.sock.sendall(out)
        return stream

    def reply(self, stream, timeout=PATIENCE):
        while not (stream in self.replies and self.replies[stream].ended):
            assert self.step(timeout), f"no answer on stream {stream}"
        return self.replies.pop(stream)

    def request(self, path, headers=(), body=None):
        return self.reply(self.send_request(path, headers, body))

    def login_headers(self, method="hmacmd5", timestamp="1795243061338", client_id=None, upper=False, clear="0", sign=None):
        pk, dn, secret = self.device
        client_id = client_id or f"{pk}-{dn}"
        text = f"clientId{client_id}deviceName{dn}productKey{pk}"
        text += f"timestamp{timestamp}" if timestamp else ""
        sign = sign or digest(secret, method or "hmacmd5", text)
        fields = [("x-auth-param-timestamp", timestamp)] if timestamp else []
        fields += [("x-auth-param-client-id", client_id), ("x-auth-name", "devicename"), ("x-auth-param-device-name", dn)]
        fields += [("x-auth-param-signmethod", method)] if method else []
        return fields + [("x-auth-param-product-key", pk), ("x-auth-param-sign", sign.upper() if upper else sign),
                         ("x-clear-session", clear)]

    def login(self, **options):
        return self.request("/message/echo/success", self.login_headers(**options))

    def topic(self, what):
        return f"/sys/{self.device[0]}/{self.device[1]}/bridge/{what}"

    def subscribe(self):
        for what in ("offline_reply", "push"):
            assert self.request("/message/sub" + self.topic(what)).status == 200
        return self

    def start(self, mode=None):
        """What the library does: login, subscriptions, net id."""
        assert self.login().status == 200
        self.subscribe()
        more = {} if mode is None else {"subDeviceConnectMode": mode}
        answer = auth(self.cloud, self.device, client_id=f"{self.device[0]}-{self.device[1]}", gateway=True, **more)
        assert answer["code"] == 200, answer
        self.net_id = answer["data"]["netId"]
        return self

    def online(self, device, expect=200, **more):
        answer = auth(self.cloud, device, netId=self.net_id, **more)
        assert answer["code"] == expect, answer
        return answer

    def post(self, device, topic, payload, qos=1, what="post", mid=None, change=()):
        params = {"deviceName": device[1], "payload": base64.b64encode(payload).decode(), "productKey": device[0], "topic": topic,
                  **dict(change)}
        body = json.dumps({"id": mid or str(uuid.uuid4()), "method": "fake", "params": params}, separators=(",", ":")).encode()
        return self.send_request("/message/pub" + self.topic(what), [("x-qos", str(qos))], body)

    def publish(self, device, topic, payload, qos=1, **more):
        return self.reply(self.post(device, topic, payload, qos, **more))

    def offline(self, device, net_id=None):
        """The pushed reply."""
        mid = str(uuid.uuid4())
        body = json.dumps({"id": mid, "method": "fake", "params": {"deviceName": device[1], "netId": net_id or self.net_id,
                                                                      "productKey": device[0]}}).encode()
        assert self.request("/message/pub" + self.topic("offline"), [("x-qos", "0")], body).status == 200
        answer = self.push(lambda p: p.topic == self.topic("offline_reply") and p.json()["id"] == mid)
        return answer.json()

    def push(self, fits=lambda p: True, timeout=PATIENCE):
        """The first push that fits, taken out."""
        while True:
            for p in self.pushes:
                if fits(p):
                    self.pushes.remove(p)
                    return p
            assert self.step(timeout), "no push"

    def ack(self, push):
        assert self.request("/message/ack", [("x-message-id", push.id)]).status == 200

    def wait_gone(self):
        """What the GOAWAY said, when the connection has ended."""
        try:
            while self.step():
                pass
        except Gone as gone:
            return gone.text
        raise AssertionError("the connection stays")

    def settle(self):
        """All that was sent before has arrived."""
        mark = len(self.pings)
        self.send(PingFrame(0, opaque_data=b"settled!"))
        while len(self.pings) == mark:
            assert self.step()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


def auth_form(device, client_id="null-null", gateway=False, method="hmacsha1", timestamp="1795243062208", **more):
    pk, dn, secret = device
    fields = {"productKey": pk, "deviceName": dn, "signmethod": method, "clientId": client_id,
              "isGateway": "true" if gateway else "false", "timestamp": timestamp, **{k: str(v) for k, v in more.items()}}
    text = "".join(k + v for k, v in sorted(fields.items()) if k not in ("sign", "signmethod"))
    fields.setdefault("sign", digest(secret, method, text).upper())
    return fields


def auth_raw(cloud, body):
    """One call of /auth/bridge with a body as the library writes it: nothing is percent-encoded."""
    request = urllib.request.Request(f"https://{cloud.process.ready['https']}/auth/bridge", data=body.encode(),
                                     headers={"Content-Type": "application/x-www-form-urlencoded"})
    with urllib.request.urlopen(request, timeout=PATIENCE, context=ssl.create_default_context(cafile=cloud.ca)) as answer:
        return json.load(answer)


def auth(cloud, device, **fields):
    return auth_raw(cloud, "&".join(f"{k}={v}" for k, v in auth_form(device, **fields).items()))
