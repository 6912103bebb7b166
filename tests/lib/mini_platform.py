#!/usr/bin/python3
"""A small scripted platform for tests: enough MQTT 3.1.1 and gateway rules to say no.

It is a second opinion beside the emulator, so it shares no code with it or with the
gateway. It listens on a free port of 127.0.0.1 and prints one JSON object per line on
stdout for whatever happens (with two arguments, certificate and key, it speaks TLS; a third
is the CA that clients' certificates must come from); commands come the same way on stdin, each is answered by
{"ev":"done"}. Nothing is ever timed: it does what it is told.

Commands ("do"):
  connack code             answer the next CONNECT with this code (once)
  hold on                  1: keep PUBACKs back; 0: send those kept
  mute on                  1: answer no topo, login and post
  refuse dn code           answer topo add (what=topo), registration (what=register) or login of dn with this code, 0 forgets it
                           (what=post: its posts, alone or in packs)
  mute_packs on            1: answer no pack posts
  log_mode on              the log switch a gateway is told when it asks
  reply code               code of replies to posts from now on
  push topic payload qos   publish to the client
  drop                     close the connection
  silent on                1: answer no CONNECT
  deaf on                  1: read nothing from the client; 0: read on
  suback codes             answer the next SUBSCRIBE with these codes, topic by topic (once)
  half                     send the first half of a message and close the connection
  any on                   1: let in every client, whatever it says it is, and tell its last will
  twin on                  1: close each connection right after its CONNACK
  quit
"""
import hashlib
import hmac
import json
import select
import socket
import ssl
import struct
import sys
import time

BRIDGE = ("a1Gateway01", "gw-1", "gwsecret")
SECRETS = {}  # "pk/dn" -> secret; filled by command "device"


def say(**event):
    sys.stdout.write(json.dumps(event, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def text(value):
    raw = value.encode()
    return struct.pack(">H", len(raw)) + raw


def packet(first, body):
    n, out = len(body), bytearray([first])
    while True:
        byte, n = n & 127, n >> 7
        out.append(byte | (128 if n else 0))
        if not n:
            return bytes(out) + body


def sign(secret, content):
    return hmac.new(secret.encode(), content.encode(), hashlib.sha256).hexdigest()


class Client:
    def __init__(self, platform, sock):
        self.p, self.sock, self.buf = platform, sock, b""
        self.certified = isinstance(sock, ssl.SSLSocket) and bool(sock.getpeercert())
        self.greeted = False
        self.online, self.filters, self.sent, self.own = set(), set(), {}, []

    def write(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def publish(self, topic, payload, qos=0):
        raw = payload if isinstance(payload, bytes) else payload.encode()
        body = text(topic) + (struct.pack(">H", self.p.next_mid()) if qos else b"") + raw
        self.write(packet(0x30 | qos << 1, body))

    def feed(self, data):
        self.buf += data
        while len(self.buf) >= 2:
            n = shift = 0
            at = 1
            while True:
                if at >= len(self.buf):
                    return
                byte = self.buf[at]
                n |= (byte & 127) << shift
                shift += 7
                at += 1
                if not byte & 128:
                    break
            if len(self.buf) < at + n:
                return
            first, body = self.buf[0], self.buf[at:at + n]
            self.greeted = self.greeted or first >> 4 == 1 and body[:6] == b"\0\4MQTT"
            if not self.greeted:
                self.p.close()  # not MQTT
                return
            self.buf = self.buf[at + n:]
            self.packet(first, body)

    def packet(self, first, body):
        kind = first >> 4
        if kind == 1:
            self.connect(body)
        elif kind == 3:
            self.published(first, body)
        elif kind == 8:
            self.subscribe(body)
        elif kind == 12:
            self.write(packet(0xD0, b""))
        elif kind == 14:
            say(ev="disconnect")

    def connect(self, body):
        at, fields = 10, []
        while at + 2 <= len(body):
            n = struct.unpack(">H", body[at:at + 2])[0]
            fields.append(body[at + 2:at + 2 + n].decode())
            at += 2 + n
        client_id, user, password = (fields + ["", "", ""])[:3]
        if client_id == "causeway|securemode=2|" and user == "&" and self.certified:
            say(ev="connect", id=client_id, code=0)
            self.write(packet(0x20, bytes([0, 0])))
            self.publish("/ext/auth/identity/response", json.dumps({"productKey": BRIDGE[0], "deviceName": BRIDGE[1]}))
            return
        if self.p.silent:
            say(ev="connect", id=client_id, code=-1)
            return
        if self.p.any:
            code, self.p.connack = self.p.connack, 0
            say(ev="connect", id=client_id, level=body[6], clean=(body[7] >> 1) & 1, code=code, will=fields[1:3] if body[7] & 4 else None,
                will_qos=(body[7] >> 3) & 3, will_retain=(body[7] >> 5) & 1)
            self.write(packet(0x20, bytes([0, code])))
            if code:
                self.p.close()
            return
        base, pairs = client_id.split("|", 1)
        pairs = dict(x.split("=", 1) for x in pairs.rstrip("|").split(",") if x)
        content = "clientId%sdeviceName%sproductKey%s" % (base, BRIDGE[1], BRIDGE[0])
        if "timestamp" in pairs:
            content += "timestamp" + pairs["timestamp"]
        if self.certified and password == "":  # nothing is signed, and the form is the document's
            good = client_id.endswith("|securemode=2,signmethod=hmacsha1,timestamp=%s|" % pairs.get("timestamp"))
        elif pairs.get("authType") == "connwl":
            good = client_id == "issued-id|securemode=-2,authType=connwl|" and password == "issued-token" and self.p.tls
        else:
            good = (pairs.get("signmethod") == "hmacsha256" and password.lower() == sign(BRIDGE[2], content)
                    and pairs.get("securemode") == ("2" if self.p.tls else "3"))
        good = bool(good) and user == "%s&%s" % (BRIDGE[1], BRIDGE[0])
        keep_alive = struct.unpack(">H", body[8:10])[0]
        code, self.p.connack = self.p.connack, 0
        if code == 0 and not good:
            code = 4
        if code == 0 and not 30 <= keep_alive <= 1200:
            code = 2
        say(ev="connect", id=client_id, level=body[6], clean=(body[7] >> 1) & 1, code=code)
        self.write(packet(0x20, bytes([0, code])))
        if code or self.p.twin:
            self.p.close()

    def subscribe(self, body):
        mid, at, filters = body[:2], 2, []
        while at < len(body):
            n = struct.unpack(">H", body[at:at + 2])[0]
            filters.append(body[at + 2:at + 2 + n].decode())
            at += 3 + n
        if len(filters) > 8:
            say(ev="violation", what="more than 8 topics in a SUBSCRIBE")
        self.filters.update(filters)
        codes, self.p.suback = self.p.suback or [1] * len(filters), None
        self.write(packet(0x90, mid + bytes(codes)))

    def published(self, first, body):
        qos, n = (first >> 1) & 3, struct.unpack(">H", body[:2])[0]
        topic, at = body[2:2 + n].decode(), 2 + n
        mid = None
        if qos:
            mid, at = body[at:at + 2], at + 2
        payload = body[at:]
        say(ev="publish", topic=topic, qos=qos, retain=first & 1, payload=payload.decode("latin-1"))
        if qos and self.p.hold:
            self.p.held.append(mid)
        elif qos:
            self.write(packet(0x40, mid))
        self.act(topic, payload, qos)

    def act(self, topic, payload, qos):
        parts = topic.split("/")
        if self.p.mute or self.p.any:
            return
        gateway = "/%s/%s/" % BRIDGE[:2]
        if gateway in topic:
            now = time.monotonic()
            self.own = [t for t in self.own if now - t < 0.9] + [now]
            if len(self.own) > 30:
                say(ev="violation", what="more than 30 a second of the gateway itself")
        if topic == "/sys" + gateway + "thing/topo/add":
            self.topo(topic, json.loads(payload))
        elif topic == "/ext/ntp" + gateway + "request":
            sent = json.loads(payload)["deviceSendTime"]
            self.publish("/ext/ntp" + gateway + "response", json.dumps(
                {"deviceSendTime": sent, "serverRecvTime": str(int(sent) + 5000), "serverSendTime": str(int(sent) + 5000)}))
        elif topic == "/sys" + gateway + "thing/config/get":
            self.reply(topic, json.loads(payload)["id"], 6710, {})
        elif topic == "/sys" + gateway + "thing/config/log/get":
            self.reply(topic, json.loads(payload)["id"], 200, {"getType": "content", "content": {"mode": self.p.log_mode}})
        elif topic == "/sys" + gateway + "thing/log/post":
            self.reply(topic, json.loads(payload)["id"], 200, {})
        elif topic == "/sys" + gateway + "thing/event/property/pack/post":
            self.pack(topic, json.loads(payload), qos)
        elif topic in ("/sys" + gateway + "thing/sub/register", "/sys" + gateway + "thing/proxy/provisioning/product_register"):
            self.register(topic, json.loads(payload))
        elif topic.startswith("/ext/session" + gateway + "combine/"):
            self.session(topic, parts[-1], json.loads(payload))
        else:
            self.data(topic, parts, payload, qos)

    def sub_is_good(self, sub):
        secret = SECRETS.get("%s/%s" % (sub["productKey"], sub["deviceName"]))
        content = "clientId%sdeviceName%sproductKey%stimestamp%s" % (
            sub["clientId"], sub["deviceName"], sub["productKey"], sub["timestamp"])
        return secret is not None and sub["sign"] == sign(secret, content)

    def reply(self, topic, mid, code, data):
        self.publish(topic + "_reply", json.dumps({
            "id": mid, "code": code, "message": "success" if code == 200 else "no", "data": data}))

    def topo(self, topic, msg):
        names = [{"productKey": s["productKey"], "deviceName": s["deviceName"]} for s in msg["params"]]
        code = 200
        if len(names) > 30:
            say(ev="violation", what="more than 30 devices in a topology add")
        for s in msg["params"]:
            if "signmethod" not in s:
                say(ev="violation", what="signmethod missing in topology add")
            if not self.sub_is_good(s):
                code = 401
            code = self.p.refused.get(("topo", s["deviceName"]), code)
        if code == 200:
            self.p.related.update(n["productKey"] + "/" + n["deviceName"] for n in names)
        self.reply(topic, msg["id"], code, names)

    def pack(self, topic, msg, qos):
        """All of it is checked first; one bad member fails the pack."""
        subs, code = msg["params"]["subDevices"], 200
        names = [s["identity"]["deviceName"] for s in subs]
        if len(subs) > 20 or len(set(names)) != len(names) or sum(len(s.get("properties", {})) for s in subs) > 200:
            say(ev="violation", what="a pack over the limits")
        if qos != 1:
            say(ev="violation", what="a pack that is not QoS 1")
        for s in subs:
            if "%(productKey)s/%(deviceName)s" % s["identity"] not in self.online:
                say(ev="violation", what="a pack with a device that is not logged in")
            code = self.p.refused.get(("post", s["identity"]["deviceName"]), code)
        say(ev="pack", code=code, devices=names)
        if not self.p.mute_packs:
            self.reply(topic, msg["id"], code, {})

    def register(self, topic, msg):
        signed = topic.endswith("product_register")
        asked = (msg["params"]["proxieds"] if signed else msg["params"])[0]
        key = "%s/%s" % (asked["productKey"], asked["deviceName"])
        code = self.p.refused.get(("register", asked["deviceName"]), 200)
        if signed and asked["sign"] != sign("productsecret", "deviceName%sproductKey%srandom%s" % (
                asked["deviceName"], asked["productKey"], asked["random"])):
            code = 6600
        names = {"productKey": asked["productKey"], "deviceName": asked["deviceName"]}
        given = dict(names, deviceSecret=SECRETS.get(key, ""))
        if signed:
            bad = [dict(names, errorDetail={"code": code})] if code != 200 else []
            self.reply(topic, msg["id"], 200, {"successes": [] if bad else [given], "failures": bad})
        else:
            self.reply(topic, msg["id"], code, [given] if code == 200 else {})

    def session(self, topic, what, msg):
        if what in ("login", "batch_login"):
            subs = msg["params"]["deviceList"] if what == "batch_login" else [msg["params"]]
            if len(subs) > 5:
                say(ev="violation", what="more than 5 devices in a batch login")
            code = 200
            for s in subs:
                key = s["productKey"] + "/" + s["deviceName"]
                if "signMethod" not in s or not self.sub_is_good(s):
                    code = 6287
                if key not in self.p.related:
                    code = 6401
                code = self.p.refused.get(("login", s["deviceName"]), code)
            names = [{"productKey": s["productKey"], "deviceName": s["deviceName"]} for s in subs]
            if code == 200:
                self.online.update(n["productKey"] + "/" + n["deviceName"] for n in names)
            say(ev=what, code=code, devices=[n["deviceName"] for n in names])
            self.reply(topic, msg["id"], code, names if what == "batch_login" else names[0])
        elif what in ("logout", "batch_logout"):
            names = msg["params"] if what == "batch_logout" else [msg["params"]]
            if len(names) > 5:
                say(ev="violation", what="more than 5 devices in a batch logout")
            for n in names:
                say(ev="logout", device=n["deviceName"])
                self.online.discard(n["productKey"] + "/" + n["deviceName"])
            self.reply(topic, msg["id"], 200, msg["params"])

    def data(self, topic, parts, payload, qos):
        if parts[1] == "sys":
            key = parts[2] + "/" + parts[3]
        elif parts[1] in ("ota",):
            key = parts[4] + "/" + parts[5]
        elif parts[1] == "ext":
            return
        else:
            key = parts[1] + "/" + parts[2]
        if key not in self.online:
            say(ev="violation", what="publish without a session", device=key)
            pk, dn = key.split("/")
            self.publish("/ext/error/%s/%s" % BRIDGE[:2], json.dumps(
                {"id": "0", "code": 520, "message": "device session error",
                 "data": {"productKey": pk, "deviceName": dn}}))
            return
        if qos == 1:
            now = time.monotonic()
            times = [t for t in self.sent.get(key, []) if now - t < 0.9] + [now]
            self.sent[key] = times
            if len(times) > 10 and not self.p.fast:
                say(ev="violation", what="more than 10 a second", device=key)
        if topic.startswith("/sys/") and topic.endswith(("/post", "/update")):
            msg = json.loads(payload)
            if msg.get("sys", {}).get("ack", 1):
                self.reply(topic, msg["id"], self.p.refused.get(("post", key.split("/")[1]), self.p.reply_code), {})


class Platform:
    def __init__(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(16)
        self.client = self.tls = None
        if len(sys.argv) > 2:
            self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.tls.load_cert_chain(sys.argv[1], sys.argv[2])
            if len(sys.argv) > 3:
                self.tls.load_verify_locations(sys.argv[3])
                self.tls.verify_mode = ssl.CERT_REQUIRED
        self.log_mode = self.mute_packs = 0
        self.connack, self.hold, self.mute, self.twin, self.fast, self.reply_code = 0, 0, 0, 0, 0, 200
        self.silent, self.deaf, self.any, self.suback = 0, 0, 0, None
        self.held, self.refused, self.related, self.mid = [], {}, set(), 0

    def next_mid(self):
        self.mid = self.mid % 65535 + 1
        return self.mid

    def close(self):
        if self.client is not None:
            self.client.sock.close()
            self.client, self.held = None, []
            say(ev="closed")

    def command(self, c):
        do = c["do"]
        if do == "device":
            SECRETS[c["key"]] = c["secret"]
        elif do in ("connack", "mute", "twin", "fast", "silent", "deaf", "any", "suback", "log_mode", "mute_packs"):
            setattr(self, do, c["value"])
        elif do == "hold":
            self.hold = c["value"]
            while not self.hold and self.held and self.client:
                self.client.write(packet(0x40, self.held.pop(0)))
        elif do == "refuse":
            self.refused[(c.get("what", "login"), c["dn"])] = c["code"]
            if not c["code"]:
                del self.refused[(c.get("what", "login"), c["dn"])]
        elif do == "reply":
            self.reply_code = c["code"]
        elif do == "push" and self.client:
            self.client.publish(c["topic"], c["payload"], c.get("qos", 0))
        elif do == "unrelate":
            self.related.discard(c["key"])
            if c["key"] == "*":
                self.related.clear()
        elif do == "session" and self.client:
            self.client.online.discard(c["key"])
        elif do == "filters" and self.client:
            say(ev="filters", list=sorted(self.client.filters))
        elif do == "half" and self.client:
            self.client.write(packet(0x30, text("half/of/it") + b"x" * 100)[:50])
            self.close()
        elif do == "drop":
            self.close()
        say(ev="done", do=do)
        return do != "quit"

    def run(self):
        say(ev="port", port=self.listener.getsockname()[1])
        stdin, pending = sys.stdin.buffer.raw, b""
        while True:
            watch = [self.listener, stdin] + ([self.client.sock] if self.client and not self.deaf else [])
            ready = select.select(watch, [], [])[0]
            if stdin in ready:
                data = stdin.read(65536)
                if not data:
                    return
                pending += data
                while b"\n" in pending:
                    line, pending = pending.split(b"\n", 1)
                    if not self.command(json.loads(line)):
                        return
            if self.client and self.client.sock in ready:
                self.receive()
            if self.listener in ready:
                self.accept()

    def receive(self):
        while self.client:
            try:
                data = self.client.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            client = self.client
            client.feed(data)
            if not self.tls or self.client is not client or not client.sock.pending():
                return

    def accept(self):
        sock = self.listener.accept()[0]
        if self.tls:
            sock.settimeout(10)
            try:
                sock = self.tls.wrap_socket(sock, server_side=True)
            except OSError as e:
                say(ev="tls_failed", why=str(e))
                sock.close()
                return
            say(ev="tls", version=sock.version(), client=bool(sock.getpeercert()))
        self.close()  # one connection per identity: the older one goes
        self.client = Client(self, sock)


if __name__ == "__main__":
    Platform().run()
