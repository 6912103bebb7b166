"""The server that devices in the field ask for their certificate, in front of the emulator's management API."""
import concurrent.futures
import hashlib
import hmac
import http.client
import json
import os
import socket
import sqlite3
import ssl
import subprocess
import threading
import time
import urllib.parse
import urllib.request
import uuid

import pytest
from cloud_client import Client
from conftest import BUILD, PATIENCE, wait_until
from openapi_client import OpenApi
from postgres import postgres, postgres_server  # noqa: F401 - fixtures

PK, NO_PK = "a1EmuPk0001", "a1NoSuch001"
KEY, KEY_SECRET = "EmuAccessKeyId77", "EmuAccessKeySecret0123456789XY"
SHARED, TOKEN, BATCH, GATEWAY = ("%s-%s" % (name, os.urandom(12).hex()) for name in ("shared", "any", "batch", "gateway"))


@pytest.fixture
def cloud_conf():
    return f"""
products = [ {{ productKey = {PK}, productSecret = EmuPs0123456789A }} ]
accessKeys = [ {{ id = {KEY}, secret = {KEY_SECRET} }} ]
limits {{ profile = off }}
"""


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """A certificate authority, a server's certificate and those of two clients: files by name."""
    dir = tmp_path_factory.mktemp("authority")

    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=dir)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=the line's authority")
    for name in ("server", "sn-cert-1", "gw-1"):
        (dir / f"{name}.ext").write_text("subjectAltName = IP:127.0.0.1" if name == "server" else "extendedKeyUsage = clientAuth")
        run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{name}.pem", "-days", "2",
            "-extfile", f"{name}.ext")
    return dir


class Way:
    """TCP between the server and the platform, which can hold what the platform answers."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.to = (host, int(port))
        self.when = lambda: False
        self.passing = threading.Event()
        self.held = threading.Event()  # an answer waits
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.sockets = [self.listener]
        threading.Thread(target=self.accept, daemon=True).start()

    def hold(self, when=lambda: True):
        """From now on an answer for which when() is true stays here until release()."""
        self.passing.clear()
        self.when = when
        return self

    def release(self):
        self.when = lambda: False
        self.passing.set()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self.to)
            except OSError:
                near.close()
                continue
            self.sockets += [near, far]
            threading.Thread(target=self.pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, True), daemon=True).start()

    def pump(self, source, sink, answers):
        try:
            while data := source.recv(65536):
                if answers and self.when():
                    self.held.set()
                    self.passing.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self):
        self.release()
        for s in self.sockets:
            s.close()


class Field:
    """causeway-factory with a listener for devices in the field."""

    def __init__(self, spawn, dir, cloud, authority):
        self.spawn, self.cloud, self.authority = spawn, cloud, authority
        self.way = Way(cloud.process.ready["https"])
        self.dir = dir / "factory"
        self.dir.mkdir(mode=0o700)
        self.db, self.key, self.config = self.dir / "factory.db", self.dir / "factory.key", self.dir / "factory.conf"
        self.runs = 0
        self.process = None
        self.got = set()  # secrets

    def write(self, field=f"sharedKey = {SHARED}, gatewayToken = {GATEWAY}", openapi=None, tls="", more="", listen="127.0.0.1:0"):
        account = f"accessKey = {KEY}, accessSecret = {KEY_SECRET}, " if openapi is None else openapi
        tls = tls.replace("@", f"{self.authority}/")
        self.config.write_text(f"""
db = "{self.db}", keyFile = "{self.key}"
line = [ {{ listen = "127.0.0.1:0" }} ], office = [ {{ listen = "127.0.0.1:0" }} ]
field {{ listeners = [ {{ listen = "{listen}", {tls} }} ], {field} }}
openapi {{ {account} endpoint = "https://{self.way.address}", ca = "{self.cloud.ca}" }}
{more}
""")
        self.config.chmod(0o600)
        return self

    def start(self, env=None):
        self.runs += 1
        self.process = self.spawn("causeway-factory", "-c", self.config, dir=self.dir, name=f"factory{self.runs}", env=env)
        return self

    def check(self):
        done = subprocess.run([BUILD / "bin" / "causeway-factory", "-c", self.config, "--check"], capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def try_tool(self, *args):
        done = subprocess.run([BUILD / "bin" / "causeway", "factory", *args, "--db", self.db, "--key", self.key], capture_output=True, text=True,
                              timeout=PATIENCE, cwd=self.dir)
        return done.returncode, done.stdout + done.stderr

    def tool(self, *args):
        status, said = self.try_tool(*args)
        assert status == 0, (args, said)

    def know(self, *ids, product=PK):
        """Ids into device_table, as the operator does it."""
        file = self.dir / "ids.csv"
        file.write_text("deviceId,productKey,deviceName\n" + "".join(
            f"{i[0]},{product},{i[1]}\n" if isinstance(i, tuple) else f"{i},{product},\n" for i in ids))
        self.tool("devices", "import", file)
        return self

    def row(self, device_id):
        """The row as it lies in the database, but for its secret, which is sealed."""
        db = sqlite3.connect(f"file:{self.db}?mode=ro", uri=True)
        try:
            db.row_factory = sqlite3.Row
            return dict(db.execute('SELECT * FROM device_table WHERE "deviceId" = ?', (device_id,)).fetchone())
        finally:
            db.close()

    def connect(self, certificate=None):
        host, port = self.process.ready["field"][0].rsplit(":", 1)
        if "tls" not in self.config.read_text().split("openapi")[0]:
            return http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        context = ssl.create_default_context(cafile=self.authority / "ca.pem")
        if certificate:
            context.load_cert_chain(self.authority / f"{certificate}.pem", self.authority / f"{certificate}.key")
        return http.client.HTTPSConnection(host, int(port), timeout=PATIENCE, context=context)

    def send(self, method, target, body=None, headers=None, certificate=None):
        """(status, JSON, headers)"""
        c = self.connect(certificate)
        try:
            c.request(method, target, body, headers or {})
            answer = c.getresponse()
            said = json.loads(answer.read())
            self.got |= {said["deviceSecret"]} if "deviceSecret" in said else set()
            return answer.status, said, answer.headers
        finally:
            c.close()

    def ask(self, device_id, token=None, certificate=None, **changes):
        """A device's request, signed unless it has a token or a certificate."""
        query = {"deviceId": device_id} if token or certificate else signed(device_id)
        query = {k: v for k, v in {**query, **changes}.items() if v is not None}
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.send("GET", "/api/v1/certificate?" + urllib.parse.urlencode(query), None, headers, certificate)[:2]

    def stats(self):
        with urllib.request.urlopen(f"http://{self.process.ready['office'][0]}/metrics", timeout=PATIENCE) as answer:
            pairs = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}

    def look_up(self, token=GATEWAY, certificate=None, **query):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.send("GET", "/api/v1/identity?" + urllib.parse.urlencode(query), None, headers, certificate)[:2]


def signed(device_id, at=None, nonce=None, key=SHARED):
    nonce, at = nonce or uuid.uuid4().hex, str(int(at or time.time()))
    sign = hmac.new(key.encode(), f"{device_id}\n{nonce}\n{at}".encode(), hashlib.sha256).hexdigest()
    return {"deviceId": device_id, "nonce": nonce, "time": at, "sign": sign}


@pytest.fixture
def field(spawn, tmp_path, cloud, authority):
    one = Field(spawn, tmp_path, cloud, authority)
    yield one
    one.way.close()
    secrets = {SHARED, TOKEN, BATCH, GATEWAY, KEY_SECRET} | one.got
    for log in list(one.dir.glob("*.err")) + list(one.dir.glob("*.out")):
        assert not [s for s in secrets if s in log.read_text()], log


def calls(cloud):
    """(calls of the management API, those of them that the service refused); without our own."""
    stats = cloud.stats()
    return stats["openapiCalls"] - getattr(cloud, "own_calls", 0), stats["openapiFailed"]


def secret_of(cloud, name, product=PK):
    """As the platform has it."""
    cloud.own_calls = getattr(cloud, "own_calls", 0) + 1
    return OpenApi(cloud.process.ready["openapi"], (KEY, KEY_SECRET)).ok("QueryDeviceDetail", ProductKey=product, DeviceName=name)["Data"]["DeviceSecret"]


# QueryDeviceDetail, which says that there is no such device, and RegisterDevice.
ONE_REGISTRATION = (2, 1)


def test_the_first_request_registers_and_the_second_asks_nobody(cloud, field):
    """covers: C10 C11 C12 C14 C15 C16 C17 C18"""
    field.write().start().know("AA:BB:CC:00:11:22")
    before = field.row("AA:BB:CC:00:11:22")
    assert set(before) == {"deviceId", "registerTime", "activateTime", "productKey", "deviceName", "deviceSecret", "iotId"}
    assert before["registerTime"] == before["activateTime"] == 0 and before["deviceSecret"] is None
    since = int(time.time() * 1000)
    status, got = field.ask("AA:BB:CC:00:11:22")
    assert status == 200 and set(got) == {"productKey", "deviceName", "deviceSecret"}
    assert (got["productKey"], got["deviceName"]) == (PK, "AA:BB:CC:00:11:22")
    assert calls(cloud) == ONE_REGISTRATION
    device = cloud.device(PK, got["deviceName"])
    assert secret_of(cloud, got["deviceName"]) == got["deviceSecret"]
    row = field.row("AA:BB:CC:00:11:22")
    assert since <= row["registerTime"] <= row["activateTime"] <= time.time() * 1000 and row["iotId"] == device["iotId"]
    assert got["deviceSecret"].encode() not in bytes(row["deviceSecret"])
    assert field.ask("AA:BB:CC:00:11:22") == (200, got) and calls(cloud) == ONE_REGISTRATION
    assert field.row("AA:BB:CC:00:11:22") == row  # activateTime is the first hand-out
    with Client(cloud, (PK, got["deviceName"], got["deviceSecret"])):
        cloud.wait_status(PK, got["deviceName"], "ONLINE")
    field.process.restart()
    assert field.ask("AA:BB:CC:00:11:22") == (200, got) and calls(cloud) == ONE_REGISTRATION


def test_query_form_and_json_are_one_request(cloud, field):
    """covers: C11 C12"""
    field.write(f"tokens = [ {{ name = any, token = {TOKEN} }} ]").start().know("sn-0001")
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    got = field.ask("sn-0001", token=TOKEN)
    assert got[0] == 200
    form = {**bearer, "Content-Type": "application/x-www-form-urlencoded"}
    for method, target, body, headers in [
        ("POST", "/api/v1/certificate?deviceId=sn-0001", None, bearer),
        ("POST", "/api/v1/certificate", "deviceId=sn-0001", form),
        ("POST", "/api/v1/certificate", '{"deviceId": "sn-0001"}', bearer),
        ("POST", "/api/v1/certificate", ' \n{"deviceId": "sn-0001", "more": [1]}', {**bearer, "Content-Type": "application/json"}),
    ]:
        status, answer, head = field.send(method, target, body, headers)
        assert (status, answer) == got and head["Cache-Control"] == "no-store", (target, body, answer)
    for method, target, body, status in [
        ("GET", "/api/v1/certificate", None, 400), ("GET", "/api/v1/certificate?deviceId=", None, 400),
        ("GET", "/api/v1/certificate?deviceId=" + "x" * 129, None, 400), ("GET", "/api/v1/certificate?deviceId=a%0Ab", None, 400),
        ("GET", "/api/v1/certificate?deviceId=%FF", None, 400), ("POST", "/api/v1/certificate", '{"deviceId": 7}', 400),
        ("POST", "/api/v1/certificate", '{"deviceId": "sn', 400), ("POST", "/api/v1/certificate", '{"deviceId": ["sn-0001"]}', 400),
        ("DELETE", "/api/v1/certificate?deviceId=sn-0001", None, 405), ("GET", "/api/v1/other", None, 404), ("GET", "/", None, 404),
    ]:
        got, answer, _ = field.send(method, target, body, bearer)
        assert got == status and answer["code"] and answer["message"], (target, body, answer)


def test_an_unknown_device_is_illegal_and_the_platform_is_not_asked(cloud, field):
    """covers: C13"""
    field.write().start().know("sn-0001")
    for _ in range(2):
        status, answer = field.ask("sn-0002")
        assert (status, answer["code"]) == (403, "ILLEGAL_DEVICE") and "illegal device" in answer["message"]
    assert calls(cloud) == (0, 0)


def test_many_requests_at_once_register_once(cloud, field):
    """covers: C15"""
    field.write().start().know("sn-0001", "sn-0002")
    field.way.hold()
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(field.ask, i) for i in ["sn-0001", "sn-0002"] * 6]
        wait_until(lambda: field.stats()["causeway_field_asked_total"] == 12, "all requests")
        field.way.release()
        answers = [a.result() for a in asked]
    assert all(status == 200 for status, _ in answers)
    assert len({a["deviceSecret"] for _, a in answers}) == 2 and calls(cloud) == (4, 2)


def two_servers(cloud, field, spawn):
    field.write().start().know("sn-0001")
    other = Field(spawn, field.dir, cloud, field.authority)
    other.db, other.key = field.db, field.key
    other.write(more="node = second").start()
    for server in (field, other):
        server.way.hold()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.ask, "sn-0001") for server in (field, other) * 4]
        for server in (field, other):
            wait_until(lambda: server.stats()["causeway_field_asked_total"] == 4 and server.way.held.is_set(), "all requests")
        for server in (field, other):
            server.way.release()
        answers = [a.result() for a in asked]
    other.way.close()
    assert all(status == 200 for status, _ in answers), answers
    assert len({a["deviceSecret"] for _, a in answers}) == 1
    assert len(cloud.get("/devices")["devices"]) == 1


def test_two_servers_on_one_file_register_once(cloud, field, spawn):
    """covers: C15"""
    two_servers(cloud, field, spawn)


def test_two_servers_on_one_postgresql_register_once(cloud, field, spawn, postgres):
    """covers: C15"""
    field.db = postgres
    two_servers(cloud, field, spawn)


def test_killed_between_registration_and_storage_the_next_request_finds_the_device(cloud, field):
    """covers: C15"""
    field.write().start(env={"CW_CRASH_AT": "field.registered"}).know("sn-0001")
    with pytest.raises((OSError, http.client.HTTPException)):
        field.ask("sn-0001")
    assert field.process.wait() == -9
    field.process.popen = None
    secret = secret_of(cloud, "sn-0001")
    assert field.row("sn-0001")["deviceSecret"] is None and calls(cloud) == ONE_REGISTRATION
    field.start()
    assert field.ask("sn-0001") == (200, {"productKey": PK, "deviceName": "sn-0001", "deviceSecret": secret})
    assert calls(cloud) == (3, 1)  # it asked for it, and registered nothing
    assert field.row("sn-0001")["iotId"] == cloud.device(PK, "sn-0001")["iotId"]


def test_killed_while_the_platforms_answer_is_on_its_way(cloud, field):
    """covers: C15"""
    field.write().start().know("sn-0001")
    field.way.hold(lambda: cloud.get("/devices")["devices"])  # the answer to RegisterDevice, and none before
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        lost = pool.submit(field.ask, "sn-0001")
        wait_until(field.way.held.is_set, "the registration")
        field.process.kill()
        with pytest.raises((OSError, http.client.HTTPException)):
            lost.result()
    field.way.release()
    field.start()
    status, got = field.ask("sn-0001")
    assert status == 200 and got["deviceSecret"] == secret_of(cloud, "sn-0001") and calls(cloud) == (3, 1)


def test_a_device_that_takes_too_long_is_told_to_come_again_and_the_registration_goes_on(cloud, field):
    field.write(f"sharedKey = {SHARED}, answerTimeout = 1s").start().know("sn-0001")
    field.way.hold()
    status, answer = field.ask("sn-0001")
    assert (status, answer["code"]) == (503, "UNAVAILABLE")
    field.way.release()
    wait_until(lambda: field.row("sn-0001")["deviceSecret"], "the certificate")
    assert field.ask("sn-0001")[0] == 200 and calls(cloud) == ONE_REGISTRATION


def test_the_platform_is_away_and_comes_back(cloud, field):
    field.write().start().know("sn-0001", "sn-0002")
    got = field.ask("sn-0001")
    cloud.stop()
    status, answer, head = field.send("GET", "/api/v1/certificate?" + urllib.parse.urlencode(signed("sn-0002")))
    assert (status, answer["code"]) == (503, "UNAVAILABLE") and int(head["Retry-After"]) > 0
    assert field.ask("sn-0001") == got  # what is known needs nobody
    cloud.start()
    status, answer = field.ask("sn-0002")
    assert status == 200 and answer["deviceSecret"] == secret_of(cloud, "sn-0002")


def test_what_the_platform_refuses_is_told_with_its_code(cloud, field):
    field.write().start().know("sn-0001", product=NO_PK).know("sn-0002")
    status, answer = field.ask("sn-0001")
    assert (status, answer["code"], answer["platformCode"]) == (502, "PLATFORM_REFUSED", "iot.prod.NotExistedProduct")
    assert "productKey" in answer["message"]
    cloud.add_product(NO_PK)
    assert field.ask("sn-0001")[0] == 200
    field.process.stop()
    field.write(openapi=f"accessKey = {KEY}, accessSecret = wrong, ").start()
    status, answer = field.ask("sn-0002")
    assert (status, answer["code"], answer["platformCode"]) == (502, "PLATFORM_REFUSED", "SignatureDoesNotMatch")
    field.process.stop()
    field.write(openapi="").start()
    status, answer = field.ask("sn-0002")
    assert (status, answer["code"]) == (503, "UNAVAILABLE") and "openapi" in answer["message"]


def test_names_are_made_by_the_template_and_belong_to_one_device(cloud, field):
    """covers: C15 D10"""
    field.write(f'sharedKey = {SHARED}, deviceName = "dev-${{deviceId}}"').start()
    field.know("7", "8", ("sn/8", "own-name-8"), "sn-9", ("10", "dev-7"))
    ids = field.dir / "bad.csv"
    ids.write_text("deviceId,productKey\nfine,%s\nsn/9,%s\n" % (PK, PK))
    for more in ([], ["-c", field.config]):
        status, said = field.try_tool("devices", "import", ids, *more)
        assert status == 1 and "deviceId sn/9 makes no DeviceName" in said and "DeviceName of its own" in said, said
    assert field.ask("8")[1]["deviceName"] == "dev-8"
    assert field.ask("sn/8")[1]["deviceName"] == "own-name-8"
    before = calls(cloud)
    status, answer = field.ask("7")
    assert status == 503 and "dev-7" in answer["message"] and "deviceId 10" in answer["message"] and calls(cloud) == before
    assert field.ask("10")[1]["deviceName"] == "dev-7"
    assert field.ask("7")[0] == 503


# ---- who may ask ------------------------------------------------------------------------------------------------


def refused(answer):
    status, body = answer
    assert (status, body["code"]) == (401, "UNAUTHORIZED"), answer
    return body["message"]


def test_signed_requests(field):
    """covers: C20"""
    field.write(f"sharedKey = {SHARED}, clockSkew = 1m").start().know("sn-0001", "sn-0002")
    assert field.ask("sn-0001")[0] == 200
    once = signed("sn-0001")
    assert field.ask("sn-0001", **once)[0] == 200
    assert "used already" in refused(field.ask("sn-0001", **once))
    assert "used already" in refused(field.ask("sn-0001", **{**once, "sign": once["sign"].upper()}))
    body = json.dumps({**signed("sn-0001"), "time": int(time.time())})
    once = signed("sn-0001")
    status, _, _ = field.send("POST", "/api/v1/certificate", json.dumps({**once, "time": int(once["time"])}))
    assert status == 200 and body
    refused(field.ask("sn-0001", sign=None))
    refused(field.ask("sn-0001", nonce=None))
    refused(field.ask("sn-0001", sign="0" * 64))
    refused(field.ask("sn-0001", **signed("sn-0001", key="another")))
    refused(field.ask("sn-0002", **{**signed("sn-0001"), "deviceId": "sn-0002"}))
    assert "clock" in refused(field.ask("sn-0001", **signed("sn-0001", at=time.time() - 120)))
    assert "clock" in refused(field.ask("sn-0001", **signed("sn-0001", at=time.time() + 120)))
    refused(field.ask("sn-0001", token=TOKEN))


def test_tokens_are_for_their_ids_and_products(field, cloud):
    """covers: C20"""
    cloud.add_product(NO_PK)
    field.write(f"""tokens = [ {{ name = batch-7, token = {BATCH}, ids = ["AA00*", one], products = [{PK}] }},
                               {{ name = any, token = {TOKEN} }} ]""").start()
    field.know("AA000001", "one-", "four").know("AA000002", product=NO_PK)
    assert field.ask("AA000001", token=BATCH)[0] == 200
    refused(field.ask("one-", token=BATCH))
    refused(field.ask("AA000002", token=BATCH))  # of another product
    assert field.row("AA000002")["activateTime"] == 0 and calls(cloud) == ONE_REGISTRATION
    assert field.ask("AA000009", token=BATCH)[1]["code"] == "ILLEGAL_DEVICE"
    assert field.ask("AA000002", token=TOKEN)[0] == field.ask("four", token=TOKEN)[0] == 200
    refused(field.ask("four", token=TOKEN + "x"))
    refused(field.send("GET", "/api/v1/certificate?deviceId=four")[:2])


TLS = 'tls { certificate = "@server.pem", key = "@server.key" }'
MUTUAL = 'tls { certificate = "@server.pem", key = "@server.key", clientCa = "@ca.pem" }'


def test_https_and_client_certificates(field):
    """covers: C20"""
    field.write("ownCertificate = true, gateways = [gw-1]", tls=MUTUAL).start().know("sn-cert-1", "sn-0002")
    answer = field.ask("sn-cert-1", certificate="sn-cert-1")
    assert answer[0] == 200, answer
    refused(field.ask("sn-0002", certificate="sn-cert-1"))
    try:
        refused(field.send("GET", "/api/v1/certificate?deviceId=sn-cert-1")[:2])
    except OSError:
        pass  # refused by TLS already
    assert field.look_up(token=None, certificate="gw-1", identity="sn-cert-1")[0] == 200
    refused(field.look_up(token=None, certificate="sn-cert-1", identity="sn-cert-1"))
    field.process.stop()
    field.write("", tls=MUTUAL).start()
    assert field.ask("sn-0002", certificate="sn-cert-1")[0] == 200


def test_the_way_is_secured_or_the_operator_says_otherwise(field):
    """covers: C20"""
    status, text = field.write(listen="0.0.0.0:0").check()
    assert status != 0 and "without TLS" in text and "field.plain" in text
    assert field.write(f"sharedKey = {SHARED}, plain = true", listen="0.0.0.0:0").check()[0] == 0
    assert field.write(tls=TLS, listen="0.0.0.0:0").check()[0] == 0
    status, text = field.write("").check()
    assert status != 0 and "anybody" in text
    field.write("anybody = true").start().know("sn-0001")
    assert field.send("GET", "/api/v1/certificate?deviceId=sn-0001")[0] == 200


@pytest.mark.parametrize("settings,text", [
    ("sharedKey = short", "field.sharedKey has 5 characters"),
    (f"sharedKey = {SHARED}, deviceName = same", "so all devices would get one name"),
    (f'sharedKey = {SHARED}, deviceName = "a b ${{deviceId}}"', "makes no DeviceName"),
    (f"tokens = [ {{ name = a, token = {TOKEN} }}, {{ name = b, token = {TOKEN} }} ]", "the same name or token"),
    (f"gatewayToken = {TOKEN}, tokens = [ {{ name = a, token = {TOKEN} }} ]", "field.gatewayToken is the token of a"),
], ids=["short", "one name", "no name", "twice", "the gateway's"])
def test_settings_that_cannot_work_are_told_at_the_start(field, settings, text):
    status, said = field.write(settings).check()
    assert status != 0 and text in said and TOKEN not in said, said


def test_too_many_requests(field):
    field.write(f"tokens = [ {{ name = any, token = {TOKEN} }} ], gatewayToken = {GATEWAY}, perId = 2, perAddress = 6").start().know("sn-0001", "sn-0002")
    assert [field.ask("sn-0001", token=TOKEN)[0] for _ in range(3)] == [200, 200, 429]
    assert field.ask("sn-0002", token=TOKEN)[0] == 200
    assert field.ask("sn-0002", token="wrong" * 5)[0] == 401  # counts for the address, not for the id
    assert field.ask("sn-0002", token=TOKEN)[0] == 200
    status, answer, head = field.send("GET", "/api/v1/certificate?deviceId=sn-0002", headers={"Authorization": f"Bearer {TOKEN}"})
    assert (status, answer["code"]) == (429, "TOO_MANY_REQUESTS") and 0 < int(head["Retry-After"]) <= 60 and "address" in answer["message"]
    assert field.look_up(identity="sn-0001")[0] == 200  # gateways are not counted
    assert field.look_up(identity="sn-0001", token="wrong" * 5)[0] == 429


# ---- gateways ------------------------------------------------------------------------------------------------------


def test_gateways_look_identities_up(field):
    field.write().start().know("sn-0001", "sn-0002")
    field.ask("sn-0001")
    status, got = field.look_up(identity="sn-0001")
    assert status == 200 and set(got) == {"identity", "productKey", "deviceName", "deviceSecret"} and got["identity"] == "sn-0001"
    assert field.look_up(productKey=PK, deviceName="sn-0001") == (200, got)
    assert field.look_up(identity="sn-0002")[0] == 404  # not registered: nobody logs in with it
    assert field.look_up(identity="sn-0003")[0] == field.look_up(productKey=PK, deviceName="sn-0003")[0] == 404
    assert field.look_up(productKey=PK)[0] == field.look_up()[0] == 400
    refused(field.look_up(identity="sn-0001", token=None))
    refused(field.look_up(identity="sn-0001", token=SHARED))
    refused(field.ask("sn-0001", token=GATEWAY))  # a gateway is no device


def test_gone_clients_and_a_stop_leave_nothing_behind(cloud, field):
    field.write(more="stopTimeout = 300ms").start().know(*[f"sn-{i:04d}" for i in range(40)])
    field.way.hold()
    connections = [field.connect() for _ in range(40)]
    for i, c in enumerate(connections):
        c.request("GET", "/api/v1/certificate?" + urllib.parse.urlencode(signed(f"sn-{i:04d}")))
    wait_until(lambda: field.stats()["causeway_field_asked_total"] == 40 and field.way.held.is_set(), "all requests")
    for c in connections[:20]:
        c.close()
    field.process.stop()  # with a sanitizer: nothing is lost or used twice
    for c in connections[20:]:
        c.close()
    field.way.release()
    field.start()
    assert field.ask("sn-0001")[0] == field.ask("sn-0030")[0] == 200


def test_a_fleet_that_powers_up_does_not_keep_the_page_waiting(field):
    """What an operator does comes after a few look-ups of devices, not after all of those that wait."""
    fleet = 200
    field.write()
    ids = field.dir / "fleet.csv"
    ids.write_text("deviceId,productKey,deviceName,deviceSecret\n" + "".join(f"sn-{i:04d},{PK},sn-{i:04d},{i:032x}\n" for i in range(fleet)))
    lot = field.dir / "lot.csv"
    lot.write_text(f"DeviceName,DeviceSecret,ProductKey\nboard-1,{1:032x},{PK}\n")
    field.tool("devices", "import", ids)
    field.tool("import", lot, "--batch", "lot", "--product-secret", "EmuPs0123456789A")
    field.start()
    db = sqlite3.connect(field.db, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    connections = [field.connect() for _ in range(fleet)]
    for i, c in enumerate(connections):
        c.request("GET", "/api/v1/certificate?" + urllib.parse.urlencode(signed(f"sn-{i:04d}")))
    wait_until(lambda: field.stats()["causeway_field_asked_total"] == fleet, "all requests")
    host, port = field.process.ready["office"][0].rsplit(":", 1)
    operator = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    operator.request("POST", "/api/v1/batch", json.dumps({"name": "lot", "productKey": PK, "low": 7}), {"Content-Type": "application/json"})
    field.stats()
    field.stats()  # the server has read it
    db.execute("ROLLBACK")
    assert operator.getresponse().status == 200
    assert [c.getresponse().status for c in connections] == [200] * fleet
    order = [what for (what,) in db.execute("SELECT what FROM audit WHERE what IN ('handout', 'batch') ORDER BY number")]
    db.close()
    assert order.count("handout") == fleet and order.index("batch") < fleet / 2, order.index("batch")
    for c in [operator, *connections]:
        c.close()
    field.got |= {f"{i:032x}" for i in range(1, fleet)}
