"""Logins that need no DeviceSecret: client certificates, and ClientIDs with tokens (registration without pre-registration)."""
import json
import os
import ssl
import struct
import subprocess

import pytest
from cloud_client import (DEV, GW, SUB1, Client, Raw, connect_packet, credentials, packet, publish_packet, sign,
                          subscribe_packet)
from conftest import wait_until

X_PK = "a1EmuX50901"
XDEV = (X_PK, "cert-0001", "unused")
OTHER = (X_PK, "cert-0002", "unused")
PK, PS = DEV[0], "EmuPs0123456789A"
STOCK = """
products = [ { productKey = a1EmuX50901, nodeType = device, authentication = x509 }
             { productKey = a1EmuPk0001, productSecret = EmuPs0123456789A }
             { productKey = a1EmuGw0001, nodeType = gateway, authentication = x509 }
             { productKey = a1EmuSub001, productSecret = EmuSubPs01234567, nodeType = subdevice } ]
devices = [ { productKey = a1EmuX50901, deviceName = cert-0001 }, { productKey = a1EmuX50901, deviceName = cert-0002 }
            { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }
            { productKey = a1EmuGw0001, deviceName = gw-0001 }
            { productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 } ]
limits { profile = off }
switches { %s }
"""


@pytest.fixture
def cloud(start_cloud):
    return start_cloud(STOCK % "")


# ---- certificates ----


@pytest.fixture
def identity(cloud, tmp_path):
    """identity(device) -> a TLS context with the device's certificate, and the paths of the pair."""
    def make(device):
        got = cloud.get(f"/devices/{device[0]}/{device[1]}/certificate")
        paths = []
        for kind in ("certificate", "privateKey"):
            paths.append(tmp_path / f"{device[1]}.{kind}")
            fd = os.open(paths[-1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "w") as f:
                f.write(got[kind])
        context = ssl.create_default_context(cafile=cloud.ca)
        context.load_cert_chain(*paths)
        return context
    return make


def attempt(cloud, context, client_id, user, password, **options):
    """CONNACK code, and the first packet behind an acceptance that is not an answer to PINGREQ."""
    with Raw(cloud, context) as raw:
        raw.send(connect_packet(client_id, user, password, **options))
        first, body = raw.packet()
        assert first == 0x20
        if body[1] != 0:
            assert raw.at_end()
            return body[1], None
        raw.send(b"\xc0\0")
        first, body = raw.packet()
        return 0, None if first == 0xd0 else (first, body)


@pytest.mark.parametrize("client_id, user, password", [
    ("causeway|securemode=2|", "&", ""),
    (".|securemode=2,signmethod=hmacsha256,timestamp=2524608000000|", "&", "a" * 64),  # the C SDK's form
    ("x|securemode=2|", None, None),
    ("x|securemode=2|", "", ""),
])
def test_a_certificate_alone_tells_who_it_is(cloud, identity, client_id, user, password):
    """covers: F02 F05 F06 F07 F08"""
    context = identity(XDEV)
    code, pushed = attempt(cloud, context, client_id, user, password)
    assert code == 0
    first, body = pushed
    topic = b"/ext/auth/identity/response"
    assert first == 0x30 and body[:2 + len(topic)] == struct.pack(">H", len(topic)) + topic
    assert json.loads(body[2 + len(topic):]) == {"productKey": XDEV[0], "deviceName": XDEV[1]}
    assert cloud.device(*XDEV[:2])["status"] in ("ONLINE", "OFFLINE")
    assert cloud.messages(topic=topic.decode())[0]["outcome"] == "delivered"


def test_with_names_the_password_may_be_empty_and_nothing_is_pushed(cloud, identity):
    """covers: F09 F10 F12"""
    context = identity(XDEV)
    for client_id in ("1|securemode=2,signmethod=hmacsha1,timestamp=789|", "1|securemode=2|"):
        assert attempt(cloud, context, client_id, f"{XDEV[1]}&{X_PK}", "") == (0, None)
    with Raw(cloud, context) as raw:
        raw.send(connect_packet("1|securemode=2|", f"{XDEV[1]}&{X_PK}", ""))
        assert raw.packet() == (0x20, b"\0\0")
        topic = f"/{X_PK}/{XDEV[1]}/user/update"
        raw.send(publish_packet(topic, b"x", qos=1))
        assert raw.packet() == (0x40, b"\0\1")
        assert cloud.wait_message(topic=topic)["outcome"] == "taken"


def test_what_a_certificate_does_not_open(cloud, identity):
    """covers: F05 F11 D07"""
    context, user = identity(XDEV), f"{XDEV[1]}&{X_PK}"
    plain = ssl.create_default_context(cafile=cloud.ca)
    cid = "1|securemode=2|"
    assert attempt(cloud, plain, cid, user, "")[0] == 4
    assert attempt(cloud, plain, cid, "&", "")[0] == 4
    # The sign of an X.509 device's secret is worth nothing, with and without TLS.
    secret = cloud.device(*XDEV[:2]).get("deviceSecret") or "0" * 32
    assert attempt(cloud, plain, *credentials((*XDEV[:2], secret), securemode="2"))[0] == 4
    assert attempt(cloud, None, *credentials((*XDEV[:2], secret)))[0] == 4
    assert attempt(cloud, context, cid, f"{OTHER[1]}&{X_PK}", "")[0] == 4
    assert attempt(cloud, context, cid, f"{DEV[1]}&{PK}", "")[0] == 4  # a product with secrets
    assert attempt(cloud, context, cid, user, "", keepalive=20)[0] == 2
    assert attempt(cloud, context, cid, user, "", keepalive=300)[0] == 0
    assert attempt(cloud, context, "1|securemode=3|", user, "")[0] == 2
    cloud.post(f"/devices/{X_PK}/{XDEV[1]}/disable")
    assert attempt(cloud, context, cid, user, "")[0] == 5
    assert attempt(cloud, context, cid, "&", "")[0] == 5
    reasons = [r["reason"] for r in cloud.device(*XDEV[:2])["refused"]]
    assert any("client certificate" in r for r in reasons) and "device is disabled" in reasons
    # A device with a secret is not disturbed by a certificate it happens to show.
    assert attempt(cloud, context, *credentials(DEV, securemode="2"))[0] == 0


def test_a_deleted_device_takes_its_certificate_with_it(cloud, identity):
    context = identity(OTHER)
    assert attempt(cloud, context, "1|securemode=2|", "&", "")[0] == 0
    cloud.delete(f"/devices/{X_PK}/{OTHER[1]}")
    cloud.add_device(*OTHER[:2])
    assert attempt(cloud, context, "1|securemode=2|", "&", "")[0] == 4
    assert attempt(cloud, context, "1|securemode=2|", f"{OTHER[1]}&{X_PK}", "")[0] == 4


def test_a_certificate_of_another_authority_is_refused_in_the_handshake(cloud, tmp_path):
    """covers: F05"""
    key, cert = tmp_path / "k.pem", tmp_path / "c.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "1",
                    "-subj", "/CN=cert-0001"], check=True, capture_output=True)
    context = ssl.create_default_context(cafile=cloud.ca)
    context.load_cert_chain(cert, key)
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        attempt(cloud, context, "1|securemode=2|", "&", "")
    wait_until(lambda: "not of the emulator's authority" in cloud.process.stderr(), "the reason in the log")


def test_a_gateway_with_a_certificate_has_sub_devices_with_secrets(cloud, identity):
    """covers: F12"""
    import cloud_client
    context = identity(GW)
    with Raw(cloud, context) as raw:
        raw.send(connect_packet("1|securemode=2,_ss=1|", "&", ""))
        assert raw.packet() == (0x20, b"\0\0") and raw.packet()[0] == 0x30
        body = {"id": "1", "version": "1.0", "method": "thing.topo.add", "params": [cloud_client.topo_entry(SUB1)]}
        raw.send(publish_packet(f"/sys/{GW[0]}/{GW[1]}/thing/topo/add", json.dumps(body).encode()))
        assert b'"code":200' in raw.packet()[1]
        body = {"id": "2", "params": cloud_client.login_entry(SUB1)}
        raw.send(publish_packet(f"/ext/session/{GW[0]}/{GW[1]}/combine/login", json.dumps(body).encode()))
        assert b'"code":200' in raw.packet()[1]
        assert cloud.device(*SUB1[:2])["status"] == "ONLINE"


# ---- tokens ----


def register(cloud, dn, mode="-2", extra="", ps=PS, pk=PK, tls=True, method="hmacsha256", packets=1):
    """CONNACK code and what was pushed, [(topic, body)], of a registration without pre-registration."""
    password = sign(ps, method, deviceName=dn, productKey=pk, random="r1")
    client_id = f"{dn}.{pk}|securemode={mode},authType=regnwl,random=r1,signmethod={method}{extra}|"
    with Raw(cloud, ssl.create_default_context(cafile=cloud.ca) if tls else None) as raw:
        raw.send(connect_packet(client_id, f"{dn}&{pk}", password, keepalive=0))
        first, body = raw.packet()
        if body[1] != 0:
            assert raw.at_end()
            return body[1], []
        pushed = []
        for _ in range(packets):
            first, body = raw.packet()
            assert first == 0x30
            n, = struct.unpack(">H", body[:2])
            pushed.append((body[2:2 + n].decode(), json.loads(body[2 + n:])))
        raw.send(b"\xc0\0")
        assert raw.packet()[0] == 0xd0  # nothing else was pushed
        return 0, pushed


def token_login(cloud, got, mode="-2", token=None, base=None):
    """A socket after a login by token, and its CONNACK code."""
    raw = Raw(cloud, ssl.create_default_context(cafile=cloud.ca))
    raw.send(connect_packet(f"{base or got['clientId']}|securemode={mode},authType=connwl|", f"{got['deviceName']}&{PK}",
                            got["deviceToken"] if token is None else token))
    return raw, raw.packet()[1][1]


@pytest.mark.parametrize("mode", ["2", "-2"])
def test_a_name_nobody_knew_gets_a_client_id_and_a_token_and_logs_in_with_them(cloud, mode):
    """covers: E03 H31 H37 H23 H33 H34"""
    code, [(topic, got)] = register(cloud, "free-0001", mode)
    assert code == 0 and topic == "/ext/regnwl"
    assert set(got) == {"productKey", "deviceName", "clientId", "deviceToken"} and got["deviceName"] == "free-0001"
    raw, code = token_login(cloud, got)
    with raw:
        assert code == 0
        raw.send(subscribe_packet(f"/{PK}/free-0001/user/get"))
        assert raw.packet() == (0x90, b"\0\1\0")
        assert cloud.device(PK, "free-0001")["status"] == "ONLINE"
    shown = json.dumps(cloud.messages()) + cloud.process.stderr()
    assert got["deviceToken"] not in shown and PS not in shown


@pytest.mark.parametrize("switch, topics", [("regnwl", ["/ext/regnwl"]), ("register", ["/ext/register"]),
                                            ("both", ["/ext/regnwl", "/ext/register"])])
def test_the_topic_of_the_token_is_a_switch(start_cloud, switch, topics):
    """covers: X20 H36"""
    cloud = start_cloud(STOCK % f"regnwlTopic = {switch}")
    code, pushed = register(cloud, "free-0001", packets=len(topics))
    assert code == 0 and [t for t, _ in pushed] == topics
    assert len({json.dumps(b) for _, b in pushed}) == 1


def test_what_a_registration_without_a_name_is_refused_for(start_cloud):
    """covers: H31 H33 H35"""
    cloud = start_cloud(STOCK % 'instanceId = "iot-0001"')
    assert register(cloud, "free-0001", extra=",instanceId=iot-0002")[0] == 2
    assert register(cloud, "free-0001", extra=",instanceId=iot-0001")[0] == 0
    assert register(cloud, "free-0002")[0] == 0
    assert register(cloud, "free-0003", tls=False)[0] == 2
    assert register(cloud, "free-0003", mode="3")[0] == 2
    assert register(cloud, "free-0003", ps="wrong")[0] == 4
    assert register(cloud, "no", )[0] == 4  # too short for a DeviceName
    assert register(cloud, "free-0003", pk=SUB1[0], ps="EmuSubPs01234567")[0] == 4
    cloud.post(f"/products/{PK}", {"registration": False})
    assert register(cloud, "free-0003")[0] == 4
    assert cloud.stats()["registrations"] == 2
    cloud.post(f"/products/{PK}", {"registration": True})
    cloud.fault("connack", code=3, count=1)
    assert register(cloud, "free-0003")[0] == 3
    assert cloud.request("GET", f"/devices/{PK}/free-0003")[0] == 404  # nothing was issued
    assert register(cloud, "free-0003")[0] == 0


def test_the_sixth_client_of_a_name_is_refused(cloud):
    """covers: E11"""
    for i in range(5):
        assert register(cloud, "free-0001")[0] == 0, i
    assert register(cloud, "free-0001")[0] == 4
    assert cloud.device(PK, "free-0001")["refused"]


def test_clients_of_one_name_are_online_together_and_each_only_once(cloud):
    """covers: H24"""
    first, second = (register(cloud, "free-0001")[1][0][1] for _ in range(2))
    assert first["clientId"] != second["clientId"]
    a, code_a = token_login(cloud, first)
    b, code_b = token_login(cloud, second)
    with a, b:
        assert (code_a, code_b) == (0, 0)
        for raw in (a, b):
            raw.send(b"\xc0\0")
            assert raw.packet()[0] == 0xd0
        again, code = token_login(cloud, first)
        with again:
            assert code == 0 and a.at_end()
            b.send(b"\xc0\0")
            assert b.packet()[0] == 0xd0
            assert cloud.stats()["kicks"] == 1
            # Subscriptions are each client's own; a message to the name goes to those that want it.
            topic = f"/{PK}/free-0001/user/get"
            b.send(subscribe_packet(topic))
            assert b.packet() == (0x90, b"\0\1\0")
            cloud.post(f"/devices/{PK}/free-0001/raw", b"x", topic=topic, qos=1)
            assert b.packet()[0] == 0x32
            again.send(b"\xc0\0")
            assert again.packet()[0] == 0xd0
    cloud.wait_status(PK, "free-0001", "OFFLINE")


def test_switching_and_clearing_close_the_others_and_refuse_them_with_5(cloud):
    """covers: E03 E14 E15"""
    kept, other = (register(cloud, "free-0001")[1][0][1] for _ in range(2))
    path = f"/devices/{PK}/free-0001/clients"
    (a, _), (b, _) = token_login(cloud, kept), token_login(cloud, other)
    with a, b:
        cloud.post(path, {"keep": kept["clientId"]})
        assert b.at_end()
        a.send(b"\xc0\0")
        assert a.packet()[0] == 0xd0
        late, code = token_login(cloud, other)
        with late:
            assert code == 5 and late.at_end()
        cloud.delete(path)
        assert a.at_end()
    late, code = token_login(cloud, kept)
    with late:
        assert code == 5 and late.at_end()
    assert register(cloud, "free-0001")[0] == 0  # two of five are used up


def test_a_token_opens_nothing_else(cloud):
    """covers: H23"""
    got = register(cloud, "free-0001")[1][0][1]
    other = register(cloud, "free-0002")[1][0][1]

    def refusal(*args, **options):
        raw, code = token_login(cloud, *args, **options)
        with raw:
            assert raw.at_end()
        return code
    assert refusal(got, token="0" * 32) == 4
    assert refusal(got, token="") == 4
    assert refusal(got, token=other["deviceToken"]) == 4
    assert refusal(got, base=other["clientId"]) == 4
    assert refusal({**got, "deviceName": "free-0002"}) == 4
    assert refusal(got, mode="3") == 2
    with Raw(cloud) as raw:  # in the clear
        raw.send(connect_packet(f"{got['clientId']}|authType=connwl|", f"free-0001&{PK}", got["deviceToken"]))
        assert raw.packet() == (0x20, b"\0\2") and raw.at_end()
    cloud.post(f"/devices/{PK}/free-0001/disable")
    assert refusal(got) == 5
    assert len(cloud.device(PK, "free-0001")["refused"]) >= 4


def test_a_name_that_lives_by_its_secret_is_not_given_away(cloud):
    with Client(cloud, DEV) as device:
        assert device.code == 0
    assert register(cloud, DEV[1])[0] == 4
