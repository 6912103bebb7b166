"""MQTT clients of the emulator's tests: Debian's paho-mqtt with the platform's login, and raw sockets for exact bytes.

Signatures are computed here once more, with Python's hmac, from the documents.
"""
import hashlib
import hmac
import json
import queue
import socket
import ssl
import struct

import paho.mqtt.client as paho

PATIENCE = 30

GW = ("a1EmuGw0001", "gw-0001", "0123456789abcdef0123456789abcd01")
DEV = ("a1EmuPk0001", "dev-0001", "0123456789abcdef0123456789abcdef")
SUB1 = ("a1EmuSub001", "sub-0001", "0123456789abcdef0123456789abcd11")
SUB2 = ("a1EmuSub001", "sub-0002", "0123456789abcdef0123456789abcd12")
SUB3 = ("a1EmuSub001", "sub-0003", "0123456789abcdef0123456789abcd13")

METHODS = {"hmacmd5": hashlib.md5, "hmacsha1": hashlib.sha1, "hmacsha256": hashlib.sha256}


def sign(secret, method, **fields):
    content = "".join(k + v for k, v in sorted(fields.items()))
    return hmac.new(secret.encode(), content.encode(), METHODS[method]).hexdigest()


def credentials(device, base="12345", method="hmacsha256", timestamp="789", securemode="3", extra=""):
    """(client id, user name, password)"""
    pk, dn, secret = device
    fields = {"clientId": base, "deviceName": dn, "productKey": pk}
    pairs = [f"securemode={securemode}", f"signmethod={method}"]
    if timestamp is not None:
        fields["timestamp"] = timestamp
        pairs.append(f"timestamp={timestamp}")
    if extra:
        pairs.append(extra)
    return f"{base}|{','.join(pairs)}|", f"{dn}&{pk}", sign(secret, method, **fields)


class Client:
    """paho-mqtt logged in as a device. Messages wait in a queue a topic."""

    def __init__(self, cloud, device, tls=False, version=paho.MQTTv311, clean=True, keepalive=60, subscribe=(), transport="tcp",
                 **login):
        login.setdefault("securemode", "2" if tls else "3")
        cid, user, password = credentials(device, **login)
        self.device = device
        self.inbox = queue.Queue()
        self.connack = queue.Queue()
        self.acks = queue.Queue()
        self.subacks = queue.Queue()
        self.closed = queue.Queue()
        self.next = 0
        self.mqtt = paho.Client(cid, clean_session=clean, protocol=version, transport=transport)
        self.mqtt.username_pw_set(user, password)
        if tls:
            self.mqtt.tls_set(ca_certs=cloud.ca, tls_version=ssl.PROTOCOL_TLSv1_2)
        self.mqtt.on_connect = lambda c, u, flags, rc: self.connack.put((rc, flags))
        self.mqtt.on_message = lambda c, u, m: self.inbox.put(m)
        self.mqtt.on_publish = lambda c, u, mid: self.acks.put(mid)
        self.mqtt.on_subscribe = lambda c, u, mid, granted: self.subacks.put(list(granted))
        self.mqtt.on_unsubscribe = lambda c, u, mid: self.subacks.put(None)
        self.mqtt.on_disconnect = lambda c, u, rc: self.closed.put(rc)
        self.mqtt.reconnect_delay_set(3600, 3600)  # one login a client: tests say when to come back
        self.mqtt.connect("localhost" if tls else cloud.mqtt[0], cloud.mqtt[1], keepalive)
        self.mqtt.loop_start()
        self.code, self.flags = self.connack.get(timeout=PATIENCE)
        if subscribe:
            assert 0x80 not in self.subscribe(*subscribe)

    def close(self):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()

    def vanish(self):
        """End the connection without DISCONNECT."""
        self.mqtt.reconnect_delay_set(3600, 3600)
        sock = self.mqtt.socket()
        self.mqtt._thread_terminate = True
        if sock is not None:
            sock.shutdown(socket.SHUT_RDWR)
        self.mqtt.loop_stop()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()

    def subscribe(self, *filters, qos=0):
        granted = []
        for i in range(0, len(filters), 8):
            self.mqtt.subscribe([(f, qos) for f in filters[i:i + 8]])
            granted += self.subacks.get(timeout=PATIENCE)
        return granted

    def unsubscribe(self, topic):
        self.mqtt.unsubscribe(topic)
        assert self.subacks.get(timeout=PATIENCE) is None

    def publish(self, topic, payload, qos=1):
        """QoS 1 waits for the PUBACK."""
        info = self.mqtt.publish(topic, payload if isinstance(payload, (bytes, str)) else json.dumps(payload), qos)
        if qos:
            info.wait_for_publish(PATIENCE)
            assert info.is_published()

    def receive(self, timeout=PATIENCE):
        return self.inbox.get(timeout=timeout)

    def receive_on(self, topic):
        """The next message on this topic; others in between are dropped."""
        while True:
            m = self.receive()
            if m.topic == topic:
                return m

    def fence(self):
        """After this everything the platform sent before has arrived: an NTP round trip, order is kept."""
        pk, dn, _ = self.device
        assert self.subscribe(f"/ext/ntp/{pk}/{dn}/response") == [0]
        self.publish(f"/ext/ntp/{pk}/{dn}/request", {"deviceSendTime": "fence"}, qos=0)
        seen = []
        while True:
            m = self.receive()
            if m.topic == f"/ext/ntp/{pk}/{dn}/response":
                return seen
            seen.append(m)

    def ask(self, topic, body, reply=None, qos=0):
        """Publish a request and return its reply as JSON; the reply topic must be subscribed."""
        self.next += 1
        body = {"id": str(self.next), "version": "1.0", **body}
        self.publish(topic, body, qos)
        while True:
            got = json.loads(self.receive_on(reply or topic + "_reply").payload)
            if got.get("id") == body["id"]:
                return got


def sys_topic(device, rest):
    return f"/sys/{device[0]}/{device[1]}/{rest}"


def session_topic(gateway, rest):
    return f"/ext/session/{gateway[0]}/{gateway[1]}/combine/{rest}"


def topo_entry(device, method="hmacSha256", timestamp="1524448722000"):
    pk, dn, secret = device
    cid = f"{pk}&{dn}"
    return {"productKey": pk, "deviceName": dn, "clientId": cid, "timestamp": timestamp, "signmethod": method,
            "sign": sign(secret, method.lower(), clientId=cid, deviceName=dn, productKey=pk, timestamp=timestamp)}


def login_entry(device, method="hmacsha256", timestamp="1581417203000", client_id=None, clean=None):
    pk, dn, secret = device
    cid = client_id or f"{pk}&{dn}"
    entry = {"productKey": pk, "deviceName": dn, "clientId": cid, "timestamp": timestamp, "signMethod": method,
             "sign": sign(secret, method.lower(), clientId=cid, deviceName=dn, productKey=pk, timestamp=str(timestamp))}
    if clean is not None:
        entry["cleanSession"] = clean
    return entry


def gateway(cloud, device=GW, **options):
    """A gateway that listens to all its replies."""
    options.setdefault("subscribe", [sys_topic(device, r) for r in (
        "thing/topo/add_reply", "thing/topo/delete_reply", "thing/topo/get_reply", "thing/topo/add/notify",
        "thing/topo/change", "thing/sub/register_reply")] + [session_topic(device, r) for r in (
            "login_reply", "logout_reply", "batch_login_reply", "batch_logout_reply")])
    return Client(cloud, device, **options)


def add_sub(gw, *subs):
    got = gw.ask(sys_topic(gw.device, "thing/topo/add"), {"method": "thing.topo.add", "params": [topo_entry(s) for s in subs]})
    assert got["code"] == 200, got
    return got


def login_sub(gw, sub, **options):
    return gw.ask(session_topic(gw.device, "login"), {"params": login_entry(sub, **options)})


def online_sub(gw, sub, **options):
    add_sub(gw, sub)
    got = login_sub(gw, sub, **options)
    assert got["code"] == 200, got


# ---- raw bytes ----


def text(s):
    data = s if isinstance(s, bytes) else s.encode()
    return struct.pack(">H", len(data)) + data


def packet(kind, body, flags=0):
    n, length = len(body), b""
    while True:
        n, low = n >> 7, n & 127
        length += bytes([low | (128 if n else 0)])
        if not n:
            return bytes([kind << 4 | flags]) + length + body


def connect_packet(cid, user, password, keepalive=60, clean=True, level=4, name="MQTT", will=False):
    flags = (2 if clean else 0) | (0xC0 if user is not None else 0) | (0x24 if will else 0)
    body = text(name) + bytes([level, flags]) + struct.pack(">H", keepalive) + text(cid)
    if will:
        body += text("/will") + text("gone")
    if user is not None:
        body += text(user) + text(password)
    return packet(1, body)


def publish_packet(topic, payload=b"", qos=0, mid=1, retain=False, dup=False):
    body = text(topic) + (struct.pack(">H", mid) if qos else b"") + payload
    return packet(3, body, flags=qos << 1 | (1 if retain else 0) | (8 if dup else 0))


def subscribe_packet(*filters, mid=1, qos=0):
    return packet(8, struct.pack(">H", mid) + b"".join(text(f) + bytes([qos]) for f in filters), flags=2)


class Raw:
    """A bare socket."""

    def __init__(self, cloud, context=None):
        self.sock = socket.create_connection(cloud.mqtt, timeout=PATIENCE)
        if context is not None:
            self.sock = context.wrap_socket(self.sock, server_hostname="localhost")

    def send(self, data):
        self.sock.sendall(data)
        return self

    def recv(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            if not more:
                raise EOFError(f"closed after {data!r}")
            data += more
        return data

    def packet(self):
        """(first byte, body)"""
        first = self.recv(1)[0]
        n = shift = 0
        while True:
            b = self.recv(1)[0]
            n |= (b & 127) << shift
            shift += 7
            if not b & 128:
                return first, self.recv(n)

    def at_end(self):
        """True when the other side closed without another byte."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def login(self, device, **options):
        pairs = {k: options.pop(k) for k in list(options) if k in ("base", "method", "timestamp", "securemode", "extra")}
        self.send(connect_packet(*credentials(device, **pairs), **options))
        return self.packet()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()
