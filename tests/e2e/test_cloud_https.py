"""The HTTPS channel: curl and Python's urllib against the emulator's listener."""
import hashlib
import hmac
import http.client
import json
import pathlib
import socket
import ssl
import subprocess
import urllib.parse

import pytest
from cloud_client import DEV, GW, METHODS, SUB1, Client, sign, sys_topic
from conftest import PATIENCE, wait_until

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "platform-http.json").read_text())
PRODUCT_SECRET = "EmuPs0123456789A"


class Https:
    """One keep-alive connection of http.client. `request` gives (HTTP status, JSON or bytes, fields)."""

    def __init__(self, cloud):
        self.cloud = cloud
        self.host, port = cloud.process.ready["https"].rsplit(":", 1)
        self.port = int(port)
        self.context = ssl.create_default_context(cafile=cloud.ca)
        self.http = http.client.HTTPSConnection(self.host, self.port, context=self.context, timeout=PATIENCE)

    def request(self, method, path, body=b"", **fields):
        self.http.request(method, path, body, {k.replace("_", "-"): v for k, v in fields.items() if v is not None})
        answer = self.http.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if answer.headers["Content-Type"] == "application/json" else data, answer.headers

    def post(self, path, body=b"", **fields):
        status, answer, _ = self.request("POST", path, body, **fields)
        assert status == 200, (path, status, answer)
        return answer

    def auth(self, device=DEV, type="application/json", drop=None, **more):
        body = auth_body(device, **more)
        if drop is not None:
            del body[drop]
        return self.post("/auth", json.dumps(body), Content_Type=type)

    def token(self, device=DEV):
        got = self.auth(device)
        assert got["code"] == 0, got
        return got["info"]["token"]

    def publish(self, topic, payload=b"hello", token=None, type="application/octet-stream"):
        return self.post("/topic" + topic, payload, Content_Type=type, password=token)

    def raw(self):
        return self.context.wrap_socket(socket.create_connection((self.host, self.port), timeout=PATIENCE),
                                        server_hostname="localhost")


def auth_body(device, method=None, **more):
    pk, dn, secret = device
    more.setdefault("clientId", "127.0.0.1")
    signed = {"productKey": pk, "deviceName": dn, **{k: str(v) for k, v in more.items() if k != "version"}}
    body = {"productKey": pk, "deviceName": dn, **more, "sign": sign(secret, method or "hmacmd5", **signed)}
    return {**body, "signmethod": method} if method else body


def register_form(pk, dn, secret, method="hmacsha256", **change):
    content = f"deviceName{dn}productKey{pk}random8Ygb7ULYh53B6OA"
    digest = hmac.new(secret.encode(), content.encode(), METHODS[method.lower()]).hexdigest().upper()
    return urllib.parse.urlencode({"productKey": pk, "deviceName": dn, "random": "8Ygb7ULYh53B6OA", "sign": digest,
                                   "signMethod": method, **change})


def register(https, form, type="application/x-www-form-urlencoded"):
    return https.post("/auth/register/device", form, Content_Type=type)


@pytest.fixture
def https(cloud):
    return Https(cloud)


# ---- transport ----


def curl(https, path, *args):
    """(HTTP version, status, body)"""
    got = subprocess.run(["curl", "-sS", "--cacert", https.cloud.ca, "-o", "-", "-w", "\n%{http_version} %{http_code}", *args,
                          f"https://localhost:{https.port}{path}"], capture_output=True, timeout=PATIENCE, check=True)
    body, _, tail = got.stdout.rpartition(b"\n")
    return *tail.decode().split(), body


@pytest.mark.parametrize("option, version", [("--http1.0", "1"), ("--http1.1", "1.1")])
def test_both_versions_of_http(https, option, version):
    """covers: J01"""
    got, status, body = curl(https, "/auth", option, "--tls-max", "1.2", "-H", "Content-Type: application/json", "-d",
                             json.dumps(auth_body(DEV)))
    assert (got.startswith(version), status) == (True, "200")
    assert json.loads(body)["code"] == 0


def test_tls_below_1_2_and_plain_http_are_refused(https):
    """covers: J01"""
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(https.cloud.ca)
    old.set_ciphers("DEFAULT@SECLEVEL=0")
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection((https.host, https.port), timeout=PATIENCE) as bare, pytest.raises(ssl.SSLError):
        old.wrap_socket(bare, server_hostname="localhost")
    with socket.create_connection((https.host, https.port), timeout=PATIENCE) as bare:
        bare.sendall(b"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        try:
            assert b"HTTP" not in bare.recv(100)
        except ConnectionResetError:
            pass
    assert https.token()


def test_old_cipher_suites_work(https):
    """RSA key exchange with AES-CBC is what old device SDKs offer."""
    _, status, _ = curl(https, "/auth", "--tls-max", "1.2", "--ciphers", "AES128-SHA", "-X", "POST")
    assert status == "200"


def test_keep_alive(https):
    first = https.http.sock
    token = https.token()
    sock = https.http.sock
    assert first is None and sock is not None
    for i in range(3):
        https.publish(f"/{DEV[0]}/{DEV[1]}/user/update", b"%d" % i, token)
        assert https.http.sock is sock


def test_methods_queries_and_paths(https):
    """covers: J02"""
    for method in ("GET", "PUT", "DELETE", "HEAD"):
        status, _, fields = https.request(method, "/auth")
        assert (status, fields["Allow"]) == (405, "POST")
    assert https.request("POST", "/nothing/here")[0] == 404
    assert https.request("POST", "/topic")[0] == 404
    got = https.post("/auth?a=b", json.dumps(auth_body(DEV)), Content_Type="application/json")
    assert got["code"] == 10001
    token = https.token()
    got = https.post(f"/topic/{DEV[0]}/{DEV[1]}/user/update?x=1", b"1", Content_Type="application/octet-stream", password=token)
    assert got["code"] == 10001


def test_slow_clients_delay_nobody(https):
    """Half a request, a body that never ends and a download nobody reads: others are served meanwhile."""
    slow = [https.raw() for _ in range(20)]
    for i, s in enumerate(slow):
        s.sendall(b"POST /auth HTTP/1.1\r\nHost: x\r\n" if i % 2 else
                  b"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    with socket.create_connection((https.host, https.port), timeout=PATIENCE):  # not even a handshake
        assert https.token()
    for s in slow:
        s.close()


def test_huge_header_is_refused_and_the_next_client_served(https):
    with https.raw() as s:
        s.sendall(b"POST /auth HTTP/1.1\r\nHost: x\r\n")
        try:
            for i in range(100):
                s.sendall(b"X-%d: " % i + b"a" * 8000 + b"\r\n")
            s.sendall(b"\r\n")
            got = s.recv(100)
        except OSError:
            got = b""
    assert got == b"" or got.split()[1] in (b"431", b"400", b"413", b"414")
    assert https.token()


def test_chunked_body(https):
    def pieces():
        yield b"one"
        yield b"two"

    topic = f"/{DEV[0]}/{DEV[1]}/user/update"
    https.http.request("POST", "/topic" + topic, pieces(), {"Content-Type": "application/octet-stream", "password": https.token()},
                       encode_chunked=True)
    assert json.loads(https.http.getresponse().read())["code"] == 0
    assert https.cloud.wait_message(topic=topic)["payload"] == "onetwo"


# ---- /auth ----


@pytest.mark.parametrize("upper", [False, True])
def test_vectors_of_auth(https, upper):
    """covers: J08 J10"""
    for v in VECTORS["auth"]:
        body = dict(v["body"], sign=v["signUpper"] if upper else v["sign"])
        assert sign(DEV[2], v["signmethodUsed"], **{k: x for k, x in body.items()
                                                    if k not in ("sign", "signmethod", "version")}) == v["sign"]
        got = https.post("/auth", json.dumps(body), Content_Type="application/json; charset=utf-8")
        if "timestamp" in body:  # years ago
            assert got["code"] == 20000
        else:
            assert got["code"] == 0 and got["message"] == "success", (v["name"], got)
            assert len(got["info"]["token"]) == 32 and set(got["info"]["token"]) <= set("0123456789abcdef")
            assert len(json.dumps(got)) < 256


@pytest.mark.parametrize("method", [None, "hmacmd5", "hmacsha1", "hmacsha256"])
def test_sign_methods_and_timestamps(https, method):
    """covers: J07 J08"""
    now = https.cloud.get("/clock")["now"]
    assert https.auth(method=method, timestamp=str(now))["code"] == 0
    assert https.auth(method=method, timestamp=now - 14 * 60000)["code"] == 0
    assert https.auth(method=method, timestamp=str(now - 16 * 60000))["code"] == 20000
    assert https.auth(method=method, timestamp=str(now + 16 * 60000))["code"] == 20000
    assert https.auth(method=method, timestamp="soon")["code"] == 20000


@pytest.mark.parametrize("field", ["productKey", "deviceName", "clientId", "sign"])
def test_required_fields(https, field):
    """covers: J06"""
    assert https.auth(drop=field)["code"] == 10001


def test_parameters_of_auth(https):
    """covers: J05 J06 J11"""
    for type in (None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"):
        assert https.auth(type=type)["code"] == 10001
    for body in (b"", b"[]", b"{", b'{"productKey": {}}', json.dumps({f"k{i}": "v" for i in range(40)}).encode(), b"\xff" * 2000000):
        assert https.post("/auth", body, Content_Type="application/json")["code"] == 10001
    assert https.auth(clientId="x" * 65)["code"] == 10001
    assert https.auth(clientId="x" * 64)["code"] == 0
    body = dict(auth_body(DEV), signmethod="hmacsha512")
    assert https.post("/auth", json.dumps(body), Content_Type="application/json")["code"] == 10001
    assert https.auth((DEV[0], DEV[1], "wrong"))["code"] == 20000
    assert https.auth((DEV[0], "nobody", DEV[2]))["code"] == 20000
    assert https.auth(SUB1)["code"] == 20000
    https.cloud.post(f"/devices/{DEV[0]}/{DEV[1]}/disable")
    assert https.auth()["code"] == 20000
    assert https.cloud.stats()["authsRefused"] == 16 and https.cloud.stats()["auths"] == 1


# ---- /topic ----


def test_publish(https):
    """covers: J03 J12 J15 J18"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/update"
    token = https.token()
    assert https.cloud.device(*DEV[:2])["status"] == "UNACTIVE"
    got = [https.publish(topic, b"\x00\xff bytes", token) for _ in range(3)]
    assert [g["code"] for g in got] == [0, 0, 0] and "data" not in got[0]["info"]
    ids = [g["info"]["messageId"] for g in got]
    assert all(len(str(i)) == 18 for i in ids) and ids == sorted(set(ids))
    assert https.cloud.messages(topic=topic)[0]["payloadHex"] == b"\x00\xff bytes".hex()
    assert https.cloud.device(*DEV[:2])["status"] == "ONLINE"
    https.cloud.post("/clock", {"advance": "599s"})
    assert https.cloud.device(*DEV[:2])["status"] == "ONLINE"
    https.cloud.post("/clock", {"advance": 2})
    assert https.cloud.device(*DEV[:2])["status"] == "OFFLINE"


def test_alink_reply_in_data(https):
    got = https.publish(sys_topic(DEV, "thing/event/property/post"), b'{"id": "7", "params": {"t": 1}}', https.token())
    reply = json.loads(got["info"]["data"])
    assert (reply["id"], reply["code"]) == ("7", 200)
    assert https.cloud.device(*DEV[:2])["reported"]["t"]["value"] == 1


def test_publish_beside_mqtt(https):
    """The reply goes to the request's channel, what the platform says itself to the connection."""
    with Client(https.cloud, DEV, subscribe=[sys_topic(DEV, "thing/event/property/post_reply")]) as c:
        got = https.publish(sys_topic(DEV, "thing/event/property/post"), b'{"id": "8", "params": {"t": 2}}', https.token())
        assert json.loads(got["info"]["data"])["id"] == "8"
        assert [m for m in c.fence() if m.topic.endswith("post_reply")] == []
    assert https.cloud.device(*DEV[:2])["status"] == "ONLINE"  # by the visit


def test_codes_of_publish(https):
    """covers: J13 J14 J16 J17"""
    topic, token = f"/{DEV[0]}/{DEV[1]}/user/update", https.token()
    assert https.publish(topic, token=token, type="application/json")["code"] == 10001
    assert https.publish(topic)["code"] == 20002
    assert https.publish(topic, token="0" * 32)["code"] == 20003
    assert https.publish(topic, b"x" * 131072, token)["code"] == 0
    assert https.publish(topic, b"x" * 131073, token)["code"] == 10001
    assert https.publish(topic, b"x" * 3000000, token)["code"] == 10001
    for bad in (f"/{GW[0]}/{GW[1]}/user/update", f"/{DEV[0]}/{DEV[1]}/user2/nothing", "/", "/x", "//", f"/sys/{DEV[0]}/{DEV[1]}/thing/x"):
        assert https.publish(bad, token=token)["code"] == 30001, bad
    https.cloud.post("/clock", {"advance": "8d"})
    assert https.publish(topic, token=token)["code"] == 20001
    other = https.token()
    assert https.publish(topic, token=other)["code"] == 0
    https.cloud.post(f"/devices/{DEV[0]}/{DEV[1]}/disable")
    assert https.publish(topic, token=other)["code"] == 20003


def test_tokens_live_side_by_side_up_to_a_number(https):
    tokens = [https.token() for _ in range(9)]
    codes = [https.publish(f"/{DEV[0]}/{DEV[1]}/user/update", token=t)["code"] for t in tokens]
    assert codes == [20003] + [0] * 8
    https.cloud.delete(f"/devices/{DEV[0]}/{DEV[1]}")
    assert https.publish(f"/{DEV[0]}/{DEV[1]}/user/update", token=tokens[8])["code"] == 20003


def test_flow_limit(https):
    token = https.token()
    codes = [https.publish(f"/{DEV[0]}/{DEV[1]}/user/update", token=token)["code"] for _ in range(40)]
    assert 40000 in codes
    https.cloud.post("/clock", {"advance": 2})
    assert https.publish(f"/{DEV[0]}/{DEV[1]}/user/update", token=token)["code"] == 0


def test_gateway_brings_no_sub_device_online(https):
    """A request is no connection that a sub-device could be online through."""
    token = https.token(GW)
    assert https.publish(f"/ext/session/{GW[0]}/{GW[1]}/combine/login", b'{"id":"1","params":{}}', token)["code"] == 30001
    assert https.publish(f"/{SUB1[0]}/{SUB1[1]}/user/update", token=token)["code"] == 30001


# ---- the authentication host ----


def test_vectors_of_registration(https):
    """covers: J19"""
    https.cloud.post("/reset")
    for v in VECTORS["dynamicRegistration"]:
        got = register(https, v["formBody"])
        assert got == {"code": 200, "message": "success", "data": {"productKey": DEV[0], "deviceName": DEV[1], "deviceSecret": DEV[2]}}


def test_codes_of_registration(https):
    ok = register_form(*DEV[:2], PRODUCT_SECRET, "HmacMD5")
    assert register(https, ok)["code"] == 200
    for type in ("application/json", None):
        assert register(https, ok, type)["code"] == 460
    for field in ("productKey", "deviceName", "random", "sign", "signMethod"):
        assert register(https, register_form(*DEV[:2], PRODUCT_SECRET, **{field: ""}))["code"] == 460, field
    assert register(https, register_form("a1Nothing01", DEV[1], PRODUCT_SECRET))["code"] == 6250
    assert register(https, register_form(*DEV[:2], PRODUCT_SECRET, signMethod="md4"))["code"] == 6292
    assert register(https, register_form(*DEV[:2], "wrong"))["code"] == 6600
    assert register(https, register_form(DEV[0], "nobody", PRODUCT_SECRET))["code"] == 6100
    assert register(https, register_form(*SUB1[:2], "EmuSubPs01234567"))["code"] == 460
    https.publish(f"/{DEV[0]}/{DEV[1]}/user/update", token=https.token())
    assert register(https, ok)["code"] == 6289
    https.cloud.post(f"/products/{DEV[0]}", {"registration": False})
    assert register(https, ok)["code"] == 6288


def test_where_mqtt_is(https):
    port = https.cloud.mqtt[1]
    form = {"productKey": DEV[0], "deviceName": DEV[1], "clientId": "c", "resources": "mqtt"}
    type = "application/x-www-form-urlencoded"
    got = https.post("/auth/bootstrap", urllib.parse.urlencode(form), Content_Type=type, Host="cloud.test:8443")
    assert got["code"] == 200 and got["data"]["resources"]["mqtt"] == {"host": "cloud.test", "port": port}
    assert https.post("/auth/bootstrap", urllib.parse.urlencode({**form, "deviceName": "no"}), Content_Type=type)["code"] == 6100
    assert https.post("/auth/bootstrap", b"", Content_Type=type)["code"] == 460
    signed = {"clientId": "c", "deviceName": DEV[1], "productKey": DEV[0], "timestamp": "2524608000000"}
    form = {**signed, "signmethod": "hmacsha1", "sign": sign(DEV[2], "hmacsha1", **signed), "version": "default", "resources": "mqtt"}
    got = https.post("/auth/devicename", urllib.parse.urlencode(form), Content_Type=type)
    assert got["code"] == 200 and got["data"]["resources"]["mqtt"]["port"] == port
    assert got["data"]["iotId"] and got["data"]["iotToken"]
    form["sign"] = "0" * 40
    assert https.post("/auth/devicename", urllib.parse.urlencode(form), Content_Type=type)["code"] == 6287


# ---- faults ----


def test_faults_answer_with_codes_of_the_channel(https):
    """covers: J11 J16"""
    topic, token = f"/{DEV[0]}/{DEV[1]}/user/update", https.token()
    for code in (10000, 20004, 40000):
        https.cloud.fault("status", device="/".join(DEV[:2]), code=code, count=1)
        assert https.auth()["code"] == code
        https.cloud.fault("status", topic="/+/+/user/update", code=code, count=1)
        assert https.publish(topic, token=token)["code"] == code
    https.cloud.fault("status", code=503, count=1)
    assert https.request("POST", "/auth")[0] == 503
    assert https.auth()["code"] == 0


def test_a_withheld_answer(https):
    """The message was taken; its sender is never told."""
    topic, token = f"/{DEV[0]}/{DEV[1]}/user/update", https.token()
    https.cloud.fault("puback", device="/".join(DEV[:2]), count=1)
    with https.raw() as s:
        s.sendall(f"POST /topic{topic} HTTP/1.1\r\nHost: x\r\npassword: {token}\r\nContent-Type: application/octet-stream\r\n"
                  "Content-Length: 4\r\n\r\nkept".encode())
        assert https.cloud.wait_message(topic=topic)["payload"] == "kept"
        s.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            s.recv(1)
        https.cloud.post("/clock", {"advance": "61s"})  # nobody waits longer
        s.settimeout(PATIENCE)
        assert s.recv(1) == b""
    assert https.publish(topic, token=token)["code"] == 0


def test_stall_and_stop_with_requests_held(https):
    topic, token = f"/{DEV[0]}/{DEV[1]}/user/update", https.token()
    https.cloud.fault("stall", device="/".join(DEV[:2]))
    request = (f"POST /topic{topic} HTTP/1.1\r\nHost: x\r\npassword: {token}\r\nContent-Type: application/octet-stream\r\n"
               "Content-Length: 4\r\n\r\nlate").encode()
    with https.raw() as s:
        s.sendall(request)
        assert https.cloud.get("/stats")["published"] == 0
        https.cloud.delete("/faults")
        assert s.recv(20).split()[1] == b"200"
    https.cloud.fault("puback", device="/".join(DEV[:2]))
    s = https.raw()
    s.sendall(request)
    wait_until(lambda: https.cloud.get("/stats")["published"] == 2)
    https.cloud.process.stop()  # a request that waits holds nothing up
    s.close()


def test_faults_of_messages_on_a_request(https):
    """What a connection would carry later is an answer that comes later; what would cut it gives none."""
    token = https.token()
    post = sys_topic(DEV, "thing/event/property/post")
    body = b'{"id": "1", "params": {"t": 1}}'
    https.cloud.fault("drop", channel="https", direction="up", count=1)
    assert https.publish(post, body, token)["info"].get("data") is None
    https.cloud.fault("drop", channel="https", direction="down", count=1)
    assert https.publish(post, body, token)["info"].get("data") is None
    https.cloud.fault("cut", channel="https", direction="up", count=1)
    with pytest.raises((http.client.RemoteDisconnected, ConnectionError, ssl.SSLError)):
        https.publish(post, body, token)
    https.http.close()
    assert json.loads(https.publish(post, body, token)["info"]["data"])["code"] == 200
    https.cloud.fault("delay", topic=post, ms=3600000, count=1)
    with https.raw() as s:
        s.sendall(f"POST /topic{post} HTTP/1.1\r\nHost: x\r\npassword: {token}\r\nContent-Type: application/octet-stream\r\n"
                  f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: https.cloud.stats()["faultsApplied"] == 4)
        s.setblocking(False)
        with pytest.raises(ssl.SSLWantReadError):
            s.recv(1)
        https.cloud.post("/clock", {"advance": "1h"})
        s.settimeout(PATIENCE)
        assert s.recv(20).split()[1] == b"200"
