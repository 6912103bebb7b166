"""CONNECT: versions, channels, the order of checks, takeover, keep-alive, clean session."""
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import time

import paho.mqtt.client as paho
import pytest
from cloud_client import (DEV, SUB1, Client, Raw, connect_packet, credentials, packet, publish_packet, subscribe_packet,
                          text)
from conftest import wait_until


def answer(cloud, *args, tls=False, **options):
    """CONNACK code of one raw CONNECT."""
    context = ssl.create_default_context(cafile=cloud.ca) if tls else None
    with Raw(cloud, context) as raw:
        raw.send(connect_packet(*args, **options))
        first, body = raw.packet()
        assert first == 0x20 and len(body) == 2
        return body[1]


@pytest.fixture
def relaxed(start_cloud):
    """An emulator without rate limits, for tests with many logins."""
    return start_cloud(RELAXED)


RELAXED = """
products = [ { productKey = a1EmuGw0001, nodeType = gateway }, { productKey = a1EmuPk0001, nodeType = device },
             { productKey = a1EmuSub001, nodeType = subdevice } ]
devices = [ { productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }
            { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }
            { productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 } ]
limits { profile = off }
"""


@pytest.mark.parametrize("version", [paho.MQTTv31, paho.MQTTv311])
@pytest.mark.parametrize("tls", [False, True])
def test_both_versions_log_in_on_one_port_in_the_clear_and_over_tls(cloud, version, tls):
    """covers: H01 H09 H12 H26"""
    with Client(cloud, DEV, tls=tls, version=version) as device:
        assert device.code == 0
        session = cloud.device(*DEV[:2])["session"]
        assert session["tls"] is tls and session["channel"] == "mqtt"
        assert cloud.device(*DEV[:2])["status"] == "ONLINE"


def test_ipv6(start_cloud):
    """covers: H70"""
    try:
        socket.socket(socket.AF_INET6).bind(("::1", 0))
    except OSError:
        pytest.skip("there is no ::1 here")
    cloud = start_cloud(RELAXED + "listeners { mqtt = \"[::1]:0\", api = \"[::1]:0\" }\n")
    assert cloud.mqtt[0] == "::1" and cloud.base.startswith("http://[::1]:")
    with Client(cloud, DEV) as device:
        assert device.code == 0 and cloud.device(*DEV[:2])["session"]["address"].startswith("[::1]:")


def test_other_protocol_levels_are_refused(relaxed):
    """covers: H01"""
    cid, user, password = credentials(DEV)
    assert answer(relaxed, cid, user, password, level=6) == 1
    assert answer(relaxed, cid, user, password, level=3) == 1  # the new name with the old level
    with Raw(relaxed) as raw:
        raw.send(connect_packet(cid, user, password, level=5))
        assert raw.recv(5) == bytes([0x20, 3, 0, 0x84, 0])  # CONNACK in the form of MQTT 5
        assert raw.at_end()


def test_a_client_of_mqtt_5_learns_the_reason(relaxed):
    got = threading.Event()
    codes = []
    client = paho.Client("x", protocol=paho.MQTTv5)
    client.on_connect = lambda c, u, f, rc, p=None: (codes.append(rc.value if hasattr(rc, "value") else rc), got.set())
    client.connect(*relaxed.mqtt)
    client.loop_start()
    assert got.wait(30)
    client.disconnect()
    client.loop_stop()
    assert codes[0] == 0x84


@pytest.mark.parametrize("what, expected, change", [
    ("channel", 2, dict(securemode="2")),
    ("no channel named", 0, None),
    ("unknown securemode", 2, dict(securemode="4")),
    ("unknown signmethod", 2, "signmethod=hmacsha512"),
    ("unknown authType", 2, "authType=other"),
    ("ID2", 5, "authType=id2"),
    ("base of 64", 0, dict(base="C" * 64)),
    ("base of 65", 2, dict(base="C" * 65)),
    ("pairs malformed", 2, "oops"),
    ("trailing comma", 0, dict(extra=" ")),
    ("a bar in a value", 0, dict(extra="lan=JS|WX")),
])
def test_the_client_identifier_decides(relaxed, what, expected, change):
    """covers: H16 H17 H18 G03"""
    cid, user, password = credentials(DEV)
    if isinstance(change, dict):
        cid, user, password = credentials(DEV, **change)
    elif isinstance(change, str):
        cid = cid[:-1] + "," + change + "|"
        if change.startswith("signmethod"):
            cid = f"12345|securemode=3,{change},timestamp=789|"
    else:
        cid = cid.replace("securemode=3,", "")
    assert answer(relaxed, cid, user, password) == expected, what
    if expected != 0:
        assert relaxed.stats()["connectsRefused"] == 1


def test_id2_is_refused_with_its_reason_in_the_log(relaxed):
    """covers: G03"""
    _, user, _ = credentials(DEV)
    cid = "x|securemode=8,signmethod=hmacsha1,timestamp=2524608000000,authype=id2|"
    assert answer(relaxed, cid, user, "") == 5
    wait_until(lambda: "ID2 is not supported" in relaxed.process.stderr(), "the log line")


def test_plain_mode_over_tls_and_secure_mode_in_the_clear_are_refused(relaxed):
    """covers: H18"""
    assert answer(relaxed, *credentials(DEV, securemode="3"), tls=True) == 2
    assert answer(relaxed, *credentials(DEV, securemode="2"), tls=True) == 0
    assert answer(relaxed, *credentials(DEV, securemode="-2")) == 2


def test_user_name_device_and_sign_give_4(relaxed):
    """covers: H20 D14"""
    cid, user, password = credentials(DEV)
    pk, dn, _ = DEV
    assert answer(relaxed, cid, f"{pk}&{dn}", password) == 4  # swapped
    assert answer(relaxed, cid, dn, password) == 4
    assert answer(relaxed, cid, None, None) == 4
    assert answer(relaxed, cid, f"other&{pk}", password) == 4
    assert answer(relaxed, cid, user, "0" * 64) == 4
    assert answer(relaxed, cid, user, password[:-1]) == 4
    assert answer(relaxed, cid, user, "") == 4
    refused = relaxed.device(pk, dn)["refused"]
    assert [r["code"] for r in refused] == [4, 4, 4]
    assert all("sign" in r["reason"] for r in refused)
    assert DEV[2] not in relaxed.process.stderr() and password not in relaxed.process.stderr()


@pytest.mark.parametrize("seconds, code", [(0, 2), (29, 2), (30, 0), (1200, 0), (1201, 2)])
def test_keep_alive_must_be_within_30_and_1200(relaxed, seconds, code):
    """covers: H13"""
    assert answer(relaxed, *credentials(DEV), keepalive=seconds) == code


def test_a_sub_device_cannot_connect_itself(relaxed):
    """covers: L02 D03"""
    assert answer(relaxed, *credentials(SUB1)) == 5


def test_an_earlier_check_wins(relaxed):
    """8.1: identifier before channel before keep-alive before user name before sign."""
    _, user, _ = credentials(DEV)
    assert answer(relaxed, "x" * 65 + "|securemode=2|", "bad", "bad", keepalive=1) == 2
    assert answer(relaxed, "x|securemode=3|", "bad", "bad", keepalive=1) == 2
    assert answer(relaxed, "x|securemode=3|", "bad", "bad") == 4
    relaxed.post(f"/devices/{DEV[0]}/{DEV[1]}/disable")
    assert answer(relaxed, "x|securemode=3|", user, "bad") == 4  # the sign is looked at before the state
    assert answer(relaxed, *credentials(DEV)) == 5
    relaxed.post(f"/devices/{DEV[0]}/{DEV[1]}/enable")
    assert answer(relaxed, *credentials(DEV)) == 0


def test_an_empty_client_id_needs_311_and_clean_session(relaxed):
    cid, user, password = credentials(DEV, base="")
    assert answer(relaxed, cid, user, password) == 0
    assert answer(relaxed, cid, user, password, clean=False) == 2
    assert answer(relaxed, cid, user, password, level=3, name="MQIsdp") == 2


def test_the_sixth_connect_of_a_minute_is_refused(cloud):
    for _ in range(5):
        assert answer(cloud, *credentials(DEV)) == 0
    assert answer(cloud, *credentials(DEV)) == 3


def test_a_second_login_closes_the_first_without_a_packet_and_before_its_connack(cloud):
    """covers: H24"""
    with Raw(cloud) as first, Raw(cloud) as second:
        assert first.login(DEV) == (0x20, b"\0\0")
        assert second.login(DEV) == (0x20, b"\0\0")
        # The answer to the second is here: the first must be at its end already, no byte in between.
        first.sock.setblocking(False)
        assert first.sock.recv(1) == b""
        assert cloud.stats()["kicks"] == 1
        assert cloud.device(*DEV[:2])["status"] == "ONLINE"
        second.send(b"\xc0\0")
        assert second.recv(2) == b"\xd0\0"


def test_session_present_only_where_state_was_kept(relaxed):
    """covers: H03"""
    def login(clean, level=4, name="MQTT"):
        with Raw(relaxed) as raw:
            reply = raw.login(DEV, clean=clean, level=level, name=name)
            raw.send(b"\xe0\0")
            assert raw.at_end()
            return reply
    assert login(clean=True) == (0x20, b"\0\0")
    assert login(clean=False) == (0x20, b"\0\0")
    assert login(clean=False) == (0x20, b"\1\0")
    assert login(clean=False, level=3, name="MQIsdp") == (0x20, b"\0\0")  # MQTT 3.1 has no such flag
    assert login(clean=True) == (0x20, b"\0\0")
    assert login(clean=False) == (0x20, b"\0\0")


def test_downlinks_of_qos_1_wait_for_a_session_that_is_not_clean(relaxed):
    """covers: H03"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    path = f"/devices/{DEV[0]}/{DEV[1]}/raw"
    with Client(relaxed, DEV, clean=False, subscribe=[topic]):
        pass
    relaxed.wait_status(*DEV[:2], "OFFLINE")
    for n in (b"one", b"two"):
        assert relaxed.post(path, n, topic=topic, qos=1)["result"] == "stored"
    assert relaxed.request("POST", path, b"lost", topic=topic, qos=0)[1]["result"] == "offline"
    with Client(relaxed, DEV, clean=False) as device:
        assert device.flags["session present"] == 1
        got = [device.receive() for _ in range(2)]
        assert [(m.payload, m.qos) for m in got] == [(b"one", 1), (b"two", 1)]
        assert device.fence() == []
    with Client(relaxed, DEV, clean=True):
        pass
    relaxed.wait_status(*DEV[:2], "OFFLINE")
    assert relaxed.request("POST", path, b"gone", topic=topic, qos=1)[1]["result"] == "offline"
    with Client(relaxed, DEV, clean=False) as device:
        assert device.flags["session present"] == 0
        assert device.fence() == []


def test_what_was_not_acknowledged_comes_again_with_dup(relaxed):
    """covers: H03"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Raw(relaxed) as raw:
        raw.login(DEV, clean=False)
        raw.send(subscribe_packet(topic))
        assert raw.packet() == (0x90, b"\0\1\0")
        relaxed.post(f"/devices/{DEV[0]}/{DEV[1]}/raw", b"x", topic=topic, qos=1)
        first, body = raw.packet()
        assert first == 0x32 and body.endswith(b"x")
    relaxed.wait_status(*DEV[:2], "OFFLINE")
    with Raw(relaxed) as raw:
        assert raw.login(DEV, clean=False) == (0x20, b"\1\0")
        first, body = raw.packet()
        assert first == 0x3a and body.endswith(b"x")
        mid = body[2 + len(topic):4 + len(topic)]
        raw.send(packet(4, mid)).send(b"\xe0\0")
        assert raw.at_end()
    relaxed.wait_status(*DEV[:2], "OFFLINE")
    assert relaxed.device(*DEV[:2])["stored"] == 0


def test_bytes_may_come_one_by_one(cloud):
    data = connect_packet(*credentials(DEV)) + subscribe_packet(f"/{DEV[0]}/{DEV[1]}/user/get") + b"\xc0\0"
    with Raw(cloud) as raw:
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(data)):
            raw.send(data[i:i + 1])
        assert raw.packet() == (0x20, b"\0\0")
        assert raw.packet() == (0x90, b"\0\1\0")
        assert raw.packet() == (0xd0, b"")


BEGINNINGS = {
    "publish before connect": publish_packet("/a/b"),
    "pingreq before connect": b"\xc0\0",
    "nonsense": b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: " + 80 * b"x" + b"\r\n\r\n",  # as long as its second byte says
    "five bytes of length": b"\x10\xff\xff\xff\xff\x01",
    "connack": b"\x20\x02\0\0",
}


@pytest.mark.parametrize("why", BEGINNINGS)
def test_malformed_beginnings_are_closed_without_a_packet(cloud, why):
    with Raw(cloud) as raw:
        assert raw.send(BEGINNINGS[why]).at_end()


NOT_ALLOWED = {
    "a second connect": connect_packet(*credentials(DEV)),
    "QoS 2": publish_packet(f"/{DEV[0]}/{DEV[1]}/user/update", b"x", qos=2),
    "QoS 3": packet(3, text("/a/b") + b"\0\1x", flags=6),
    "nine topics": subscribe_packet(*[f"/{DEV[0]}/{DEV[1]}/user/t{i}" for i in range(9)]),
    "subscribe without topics": packet(8, b"\0\1", flags=2),
    "wildcard topic": publish_packet("/a/+"),
    "payload above 256 KB": publish_packet(f"/{DEV[0]}/{DEV[1]}/user/update", b"x" * 262145),
    "huge length": b"\x30\xff\xff\xff\x7f",
    "pubrel": b"\x62\x02\0\1",
}


@pytest.mark.parametrize("why", NOT_ALLOWED)
def test_what_is_not_allowed_closes_the_connection(cloud, why):
    """covers: H05"""
    with Raw(cloud) as raw:
        assert raw.login(DEV)[1][1] == 0
        try:
            raw.send(NOT_ALLOWED[why])
        except (ConnectionResetError, BrokenPipeError):
            return
        assert raw.at_end()
    wait_until(lambda: cloud.stats()["connections"] == 0, "the connection gone")


def test_256_kb_are_still_taken(cloud):
    with Client(cloud, DEV) as device:
        device.publish(f"/{DEV[0]}/{DEV[1]}/user/update", b"x" * 262144)
        assert cloud.stats()["publishedBytes"] == 262144


def test_will_and_retain_are_ignored_and_noted(relaxed):
    """covers: H04"""
    topic = f"/{DEV[0]}/{DEV[1]}/user/update"
    with Raw(relaxed) as raw:
        assert raw.login(DEV, will=True, clean=False)[1][1] == 0
        raw.send(publish_packet(topic, b"kept?", qos=1, retain=True))
        assert raw.packet() == (0x40, b"\0\1")
    wait_until(lambda: "the will is ignored" in relaxed.process.stderr(), "the note on the will")
    assert "the retain bit is ignored" in relaxed.process.stderr()
    with Client(relaxed, DEV, subscribe=[topic]) as device:
        assert device.fence() == []  # nothing is replayed to a new subscriber


@pytest.mark.slow
def test_a_silent_client_is_closed_after_one_and_a_half_intervals(cloud):
    """covers: H15. 30 s is the smallest interval there is."""
    with Raw(cloud) as raw:
        assert raw.login(DEV, keepalive=30)[1][1] == 0
        began = time.monotonic()
        raw.sock.settimeout(60)
        assert raw.at_end()
        assert 44.5 < time.monotonic() - began < 60
        assert cloud.stats()["keepAliveClosed"] == 1


def openssl(cloud, *args):
    host, port = cloud.mqtt
    return subprocess.run(["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", "localhost", "-verify_hostname",
                           "localhost", "-CAfile", cloud.ca, *args], input=b"", capture_output=True, timeout=30)


def test_tls_12_only_with_a_certificate_that_verifies(cloud):
    """covers: H08 H10 H52"""
    good = openssl(cloud, "-tls1_2")
    assert b"Verify return code: 0 (ok)" in good.stdout
    for old in ("-tls1", "-tls1_1", "-tls1_3"):
        assert b"Cipher is (NONE)" in openssl(cloud, old).stdout


@pytest.mark.parametrize("suite", ["AES128-SHA", "AES256-SHA", "AES128-SHA256", "AES256-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"])
def test_suites_of_old_device_sdks_are_offered(cloud, suite):
    got = openssl(cloud, "-tls1_2", "-cipher", suite + ":@SECLEVEL=0")
    assert f"Cipher is {suite}".encode() in got.stdout


def test_a_pre_shared_key_opens_tls(cloud):
    (vector,) = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "platform-mqtt.json").read_text())["tls_psk"]
    key = vector["psk_hex"]
    cloud.add_product("a1B2c3D4e5F")
    cloud.add_device("a1B2c3D4e5F", "gw_dtu-01", vector["device_secret"])
    options = ["-tls1_2", "-cipher", "PSK-AES128-CBC-SHA:@SECLEVEL=0", "-psk_identity", vector["identity"], "-psk"]
    # The key is the digest's upper-case text, not its 32 bytes.
    good = openssl(cloud, *options, key.upper().encode().hex())
    assert b"Cipher is PSK-AES128-CBC-SHA" in good.stdout and good.returncode == 0
    assert openssl(cloud, *options, key).returncode != 0
    # Inside is an ordinary CONNECT with securemode 2.
    device = ("a1B2c3D4e5F", "gw_dtu-01", "0123456789abcdef0123456789ABCDEF")
    connect = connect_packet(*credentials(device, securemode="2"))
    host, port = cloud.mqtt
    with subprocess.Popen(["openssl", "s_client", "-quiet", "-connect", f"{host}:{port}", *options, key.upper().encode().hex()],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        client.stdin.write(connect)
        client.stdin.flush()
        assert client.stdout.read(4) == b"\x20\2\0\0"
        assert cloud.device(*device[:2])["session"]["tls"] is True
        client.kill()


def test_a_client_that_does_not_read_is_closed_and_memory_stays_bounded(start_cloud):
    cloud = start_cloud(RELAXED.replace("profile = off", "profile = off, outQueue = 1MiB"))
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Raw(cloud) as raw:
        raw.login(DEV)
        raw.send(subscribe_packet(topic))
        assert raw.packet()[0] == 0x90
        for _ in range(200):
            status, _ = cloud.request("POST", f"/devices/{DEV[0]}/{DEV[1]}/raw", b"x" * 200000, topic=topic)
            if status != 202:
                break
        wait_until(lambda: cloud.stats()["slowClosed"] == 1, "the slow client closed")
        assert cloud.stats()["online"] == 0
