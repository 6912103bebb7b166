"""The emulator's stock by its API: names, batches, files of names and of certificates, clients that share a name."""
import io
import json
import queue
import re
import ssl
import subprocess
import tarfile
import urllib.error
import urllib.request

import paho.mqtt.client as paho
import pytest

from cloud_client import DEV, GW, PATIENCE, SUB1, Client, gateway, sign
from conftest import wait_until

PK, PS = DEV[0], "EmuPs0123456789A"


def settled(cloud, batch):
    """The batch once it is neither being checked nor created."""
    path = f"/batches/{batch['applyId']}"
    wait_until(lambda: cloud.get(path)["status"] not in ("CHECK", "CREATE"))
    return cloud.get(path)


# ---- products and devices ----


@pytest.mark.parametrize("spec, status", [
    ({"name": "abc"}, 400), ({"name": "a b c d"}, 400), ({"name": "仪表"}, 201), ({"name": "仪"}, 400), ({"name": "meter-1@(a)"}, 201),
    ({"productKey": "a1-Emu"}, 400), ({"authentication": "id2"}, 400), ({"authentication": "x509", "nodeType": "subdevice"}, 400),
    ({}, 201),
])
def test_products_are_named_by_the_rules(cloud, spec, status):
    """covers: D01"""
    got, body = cloud.request("POST", "/products", spec)
    assert got == status, body
    if status == 201:
        assert re.fullmatch(r"a1[0-9A-Za-z]{9}", body["productKey"]) and len(body["productSecret"]) == 16
    else:
        assert body["error"]


def test_a_products_name_is_unique_and_its_authentication_is_fixed(cloud):
    """covers: D01 D07"""
    pk = cloud.post("/products", {"name": "meters", "authentication": "x509"})["productKey"]
    assert cloud.request("POST", "/products", {"name": "meters"})[0] == 409
    assert cloud.request("POST", f"/products/{pk}", {"authentication": "secret"})[0] == 400
    other = cloud.post("/products", {})["productKey"]
    assert cloud.request("POST", f"/products/{other}", {"name": "meters"})[0] == 409
    assert cloud.post(f"/products/{other}", {"name": "others", "registration": False}) == {"name": "others", "registration": False}
    shown = {p["productKey"]: p for p in cloud.get("/products")["products"]}
    assert shown[pk]["authentication"] == "x509" and shown[other]["name"] == "others" and not shown[other]["registration"]
    cloud.add_device(other, "dev-0001")
    assert cloud.request("DELETE", f"/products/{other}")[0] == 409
    cloud.delete(f"/devices/{other}/dev-0001")
    cloud.delete(f"/products/{other}")
    assert cloud.request("POST", "/devices", {"productKey": other})[0] == 404


@pytest.mark.parametrize("name", ["abc", "a" * 33, "a bc", "dev/1", "仪表仪表", DEV[1]])
def test_illegal_names_are_refused(cloud, name):
    """covers: D10"""
    status, body = cloud.request("POST", "/devices", {"productKey": PK, "deviceName": name})
    assert status == (409 if name == DEV[1] else 400) and name in body["error"]


def test_names_and_nicknames(cloud):
    """covers: D10 D11 D12"""
    made = cloud.post("/devices", {"productKey": PK, "deviceName": "Dev-_@.:01", "nickname": "仪表"})
    assert made["nickname"] == "仪表" and cloud.device(PK, "Dev-_@.:01")["nickname"] == "仪表"
    assert cloud.request("POST", "/devices", {"productKey": PK, "deviceName": "dev-0009", "nickname": "abc"})[0] == 400
    assert cloud.request("GET", f"/devices/{PK}/dev-0009")[0] == 404  # not half made
    made = cloud.post("/devices", {"productKey": PK})
    assert re.fullmatch(r"[0-9A-Za-z]{20}", made["deviceName"]) and re.fullmatch(r"[0-9A-Za-z]{30}", made["iotId"])
    with Client(cloud, (PK, made["deviceName"], made["deviceSecret"])) as device:
        assert device.code == 0


def test_a_device_made_anew_has_another_secret(cloud):
    """covers: E10"""
    cloud.delete(f"/devices/{DEV[0]}/{DEV[1]}")
    made = cloud.add_device(*DEV[:2])
    with Client(cloud, DEV) as old:
        assert old.code == 4
    with Client(cloud, (*DEV[:2], made["deviceSecret"])) as new:
        assert new.code == 0


def test_fifty_thousand_devices_are_no_trouble(start_cloud):
    rows = "\n".join(f"  {{ productKey = {PK}, deviceName = dev-{i:06} }}" for i in range(50000))
    cloud = start_cloud(f"products = [ {{ productKey = {PK} }} ]\ndevices = [\n{rows}\n]\n")
    assert cloud.stats()["devices"] == 50000
    ids = {d["iotId"] for d in cloud.get("/devices", query={"limit": 50000})["devices"]}
    assert len(ids) == 50000


# ---- batches ----


def test_a_batch_with_made_up_names(cloud):
    """covers: D15 D19"""
    batch = cloud.post("/batches", {"productKey": PK, "count": 10}, expect=202)
    assert batch["status"] == "CREATE" and batch["count"] == 10
    got = settled(cloud, batch)
    assert got["status"] == "CREATE_SUCCESS" and len({d["deviceName"] for d in got["devices"]}) == 10
    first = got["devices"][0]
    with Client(cloud, (PK, first["deviceName"], first["deviceSecret"])) as device:
        assert device.code == 0
    assert [b["applyId"] for b in cloud.get("/batches", query={"product": PK})["batches"]] == [batch["applyId"]]
    assert cloud.get("/batches", query={"product": GW[0]})["batches"] == []
    for wrong in ({"count": 0}, {"count": 1001}, {}, {"names": []}, {"names": [5]}, {"names": ["dev-0009"] * 1001}):
        assert cloud.request("POST", "/batches", {"productKey": PK, **wrong})[0] == 400


def test_a_batch_of_names_is_checked_then_created(cloud):
    """covers: D18 C05"""
    status, body = cloud.request("POST", "/batches", {"productKey": PK, "names": ["APT$", "good-1", {"deviceName": "aw", "nickname": "x"}]})
    assert status == 400 and body["invalid"] == {"names": ["APT$", "aw"], "nicknames": ["x"]}
    batch = cloud.post("/batches", {"productKey": PK, "names": ["new-0001", DEV[1]]})
    got = settled(cloud, batch)
    assert (got["status"], got["valid"], got["invalid"]) == ("CHECK_FAILED", ["new-0001"], [DEV[1]])
    assert cloud.request("POST", f"/batches/{batch['applyId']}")[0] == 409
    batch = cloud.post("/batches", {"productKey": PK, "names": ["new-0001", {"deviceName": "new-0002", "nickname": "nick_2"}]})
    assert settled(cloud, batch)["status"] == "CHECK_SUCCESS"
    assert cloud.post(f"/batches/{batch['applyId']}", expect=202)["applyId"] == batch["applyId"]
    assert settled(cloud, batch)["status"] == "CREATE_SUCCESS"
    assert cloud.device(PK, "new-0002")["nickname"] == "nick_2"


def test_a_file_of_names_and_the_file_of_their_certificates(cloud):
    """covers: C02 D16 D20"""
    text = "\ufeffDeviceName,Nickname\r\nfile-0001,nick_1\r\n\"file-0002\",\r\n".encode()
    batch = cloud.post(f"/products/{PK}/names", text, expect=202)
    assert settled(cloud, batch)["status"] == "CREATE_SUCCESS"
    lines = cloud.get(f"/batches/{batch['applyId']}.csv").decode().splitlines()
    assert lines[0] == "DeviceName,DeviceSecret,ProductKey" and len(lines) == 3
    name, secret, pk = lines[2].split(",")
    assert (name, pk) == ("file-0002", PK)
    with Client(cloud, (pk, name, secret)) as device:
        assert device.code == 0
    lines = cloud.get(f"/batches/{batch['applyId']}.csv", query={"productSecret": "true"}).decode().splitlines()
    assert lines[0] == "DeviceName,DeviceSecret,ProductKey,ProductSecret" and lines[1].endswith(f",{PK},{PS}")
    assert cloud.request("GET", "/batches/1.csv")[0] == 404 and cloud.request("GET", "/batches/x")[0] == 404


def test_a_file_with_illegal_lines_creates_nothing(cloud):
    """covers: D16 D17 D18"""
    before = cloud.stats()["devices"]
    status, body = cloud.request("POST", f"/products/{PK}/names", b"DeviceName,Nickname\nfine-0001,\nab,\n" + DEV[1].encode() + b",\n")
    assert status == 400 and [(b["line"], b["deviceName"]) for b in body["lines"]] == [(3, "ab"), (4, DEV[1])]
    many = "DeviceName\n" + "".join(f"many-{i:04}\n" for i in range(1001))
    assert cloud.request("POST", f"/products/{PK}/names", many.encode())[0] == 400
    status, body = cloud.request("POST", f"/products/{PK}/names", b"\n" * (2097152 + 1))
    assert status == 400 and "2097152" in body["error"]
    assert cloud.stats()["devices"] == before and cloud.get("/batches")["batches"] == []


def test_certificates_verify_and_stay_the_same(start_cloud, tmp_path, cloud_state):
    """covers: D29 F02 F03"""
    cloud = start_cloud("", state=tmp_path / "state")
    pk = cloud.post("/products", {"name": "certified", "authentication": "x509"})["productKey"]
    batch = settled(cloud, cloud.post("/batches", {"productKey": pk, "count": 2}))
    assert batch["status"] == "CREATE_SUCCESS"
    name = batch["devices"][0]["deviceName"]
    pair = cloud.get(f"/devices/{pk}/{name}/certificate")
    assert pair["status"] == 1 and int(pair["certSN"]) > 0
    (tmp_path / "device.pem").write_text(pair["certificate"])
    (tmp_path / "device.key").write_text(pair["privateKey"])
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tmp_path / "device.pem", tmp_path / "device.key")
    authority = cloud_state / "device-ca.pem"
    assert authority.stat().st_mode & 0o077 == 0
    subprocess.run(["openssl", "verify", "-CAfile", authority, "-purpose", "sslclient", tmp_path / "device.pem"], check=True)
    lines = cloud.get(f"/batches/{batch['applyId']}.csv").decode().splitlines()
    assert lines[0] == "DeviceName,ProductKey,CertUrl" and "/files/" in lines[1] and len(lines) == 3
    url = lines[1].split(",")[2]
    with tarfile.open(fileobj=io.BytesIO(fetch(cloud, url))) as package:
        names = [d["deviceName"] for d in batch["devices"]]
        assert package.getnames() == [f"{n}.{end}" for n in names for end in ("crt", "key")]
        assert package.extractfile(f"{name}.key").read().decode() == pair["privateKey"]
    cloud.restart()
    assert cloud.get(f"/devices/{pk}/{name}/certificate") == pair
    assert cloud.get(f"/batches/{batch['applyId']}") == batch
    assert len(cloud.get(f"/batches/{batch['applyId']}.csv").decode().splitlines()) == 3
    assert cloud.post("/batches", {"productKey": pk, "count": 1})["applyId"] == batch["applyId"] + 1
    plain = cloud.post("/products", {})["productKey"]
    cloud.add_device(plain, "dev-0001")
    assert cloud.request("GET", f"/devices/{plain}/dev-0001/certificate")[0] == 409


def fetch(cloud, url):
    with urllib.request.urlopen(url, timeout=PATIENCE, context=ssl.create_default_context(cafile=cloud.ca)) as answer:
        return answer.read()


def test_a_package_of_certificates_is_there_for_thirty_days(start_cloud):
    """covers: F03"""
    cloud = start_cloud("")
    pk = cloud.post("/products", {"authentication": "x509"})["productKey"]
    batch = settled(cloud, cloud.post("/batches", {"productKey": pk, "count": 2}))
    cloud.delete(f"/devices/{pk}/{batch['devices'][0]['deviceName']}")
    csv = f"/batches/{batch['applyId']}.csv"
    (line,) = cloud.get(csv).decode().splitlines()[1:]
    url = line.split(",")[2]
    with tarfile.open(fileobj=io.BytesIO(fetch(cloud, url))) as package:
        assert package.extractfile("failed.txt").read().decode() == f"{batch['devices'][0]['deviceName']},the device was deleted\n"
    cloud.post("/clock", {"advance": "31d"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        fetch(cloud, url)
    assert refused.value.code == 403
    fresh = cloud.get(csv).decode().splitlines()[1].split(",")[2]
    assert fresh != url and fetch(cloud, fresh)


# ---- clients of a name ----


class Session:
    """One MQTT connection over TLS with these exact fields."""

    def __init__(self, cloud, client_id, user, password):
        self.messages, self.connack, self.closed = queue.Queue(), queue.Queue(), queue.Queue()
        self.mqtt = paho.Client(client_id, clean_session=True, protocol=paho.MQTTv311)
        self.mqtt.username_pw_set(user, password)
        self.mqtt.tls_set(ca_certs=cloud.ca, tls_version=ssl.PROTOCOL_TLSv1_2)
        self.mqtt.on_connect = lambda c, u, flags, rc: self.connack.put(rc)
        self.mqtt.on_message = lambda c, u, m: self.messages.put(m)
        self.mqtt.on_disconnect = lambda c, u, rc: self.closed.put(rc)
        self.mqtt.reconnect_delay_set(3600, 3600)
        self.mqtt.connect("localhost", cloud.mqtt[1], 60)
        self.mqtt.loop_start()
        self.code = self.connack.get(timeout=PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.mqtt.disconnect()
        self.mqtt.loop_stop()


def enroll(cloud, dn):
    """(ClientID, DeviceToken), or the CONNACK code of the refusal."""
    password = sign(PS, "hmacsha256", deviceName=dn, productKey=PK, random="r1")
    with Session(cloud, "mac|securemode=-2,authType=regnwl,random=r1,signmethod=hmacsha256|", f"{dn}&{PK}", password) as s:
        if s.code != 0:
            return s.code
        got = json.loads(s.messages.get(timeout=PATIENCE).payload)
    return got["clientId"], got["deviceToken"]


def come(cloud, dn, client):
    return Session(cloud, f"{client[0]}|securemode=-2,authType=connwl,_ss=1|", f"{dn}&{PK}", client[1])


def test_five_devices_share_a_name_until_one_is_kept(start_cloud):
    """covers: E11 E12 E13 E14 E15"""
    cloud = start_cloud(f"products = [ {{ productKey = {PK}, productSecret = {PS} }} ]\nlimits {{ profile = off }}\n")
    dn = "field-0001"
    clients = [enroll(cloud, dn) for _ in range(5)]
    assert len({c[0] for c in clients}) == 5 and len({c[1] for c in clients}) == 5
    assert enroll(cloud, dn) == 4
    (risk,) = cloud.get("/clients")["devices"]
    assert risk["deviceName"] == dn and [c["clientId"] for c in risk["clients"]] == [c[0] for c in clients]
    assert not any(c[1] in json.dumps(risk) for c in clients)
    path = f"/devices/{PK}/{dn}/clients"
    with come(cloud, dn, clients[0]) as a, come(cloud, dn, clients[1]) as b, come(cloud, dn, clients[2]) as c:
        assert (a.code, b.code, c.code) == (0, 0, 0)
        shown = cloud.get(path)["clients"]
        assert [s["connected"] for s in shown] == [True, True, True, False, False]
        assert all(s["first"] for s in shown[:3]) and shown[3]["first"] is None
        cloud.post(path, {"keep": clients[1][0]})
        assert a.closed.get(timeout=PATIENCE) != 0 and c.closed.get(timeout=PATIENCE) != 0
        with come(cloud, dn, clients[0]) as again:
            assert again.code == 5
        assert cloud.device(PK, dn)["status"] == "ONLINE" and b.closed.empty()
        cloud.delete(path)
        assert b.closed.get(timeout=PATIENCE) != 0
    with come(cloud, dn, clients[1]) as barred, come(cloud, dn, ("nobody", "x")) as unknown:
        assert (barred.code, unknown.code) == (5, 4)
    cloud.post(f"/devices/{PK}/{dn}/reset")
    fresh = enroll(cloud, dn)
    with come(cloud, dn, fresh) as s:
        assert s.code == 0
    assert cloud.request("POST", path, {"keep": "nobody"})[0] == 404


def test_tokens_survive_a_restart(start_cloud, tmp_path):
    cloud = start_cloud(f"products = [ {{ productKey = {PK}, productSecret = {PS} }} ]\nlimits {{ profile = off }}\n",
                        state=tmp_path / "state")
    client = enroll(cloud, "field-0001")
    iot_id = cloud.device(PK, "field-0001")["iotId"]
    cloud.restart()
    assert cloud.device(PK, "field-0001")["iotId"] == iot_id
    with come(cloud, "field-0001", client) as s:
        assert s.code == 0
    assert cloud.request("GET", "/messages")[0] == 200 and client[1] not in json.dumps(cloud.messages())


# ---- sub-devices ----


def test_secrets_of_sub_devices_are_not_in_the_log(cloud):
    with gateway(cloud) as gw:
        reply = gw.ask(f"/sys/{GW[0]}/{GW[1]}/thing/sub/register", {"method": "thing.sub.register", "params": [
            {"productKey": SUB1[0], "deviceName": SUB1[1]}]})
        assert reply["data"][0]["deviceSecret"] == SUB1[2]
        assert reply["data"][0]["iotId"] == cloud.device(*SUB1[:2])["iotId"]
    assert SUB1[2] not in json.dumps(cloud.messages())


def test_a_gateway_has_room_for_so_many_sub_devices(start_cloud):
    cloud = start_cloud(f"""products = [ {{ productKey = {GW[0]}, nodeType = gateway }}, {{ productKey = {SUB1[0]}, nodeType = subdevice }} ]
devices = [ {{ productKey = {GW[0]}, deviceName = {GW[1]} }} ]
limits {{ members = 2 }}
""")
    path = f"/devices/{GW[0]}/{GW[1]}/topo"
    for i in range(3):
        cloud.add_device(SUB1[0], f"sub-000{i}")
        status, _ = cloud.request("POST", path, {"action": "add", "productKey": SUB1[0], "deviceName": f"sub-000{i}"})
        assert status == (200 if i < 2 else 409)
