"""Dynamic registration of pre-registered devices over MQTT."""
import json
import pathlib
import ssl
import time

import pytest
from cloud_client import DEV, Client, Raw, connect_packet, credentials, sign, subscribe_packet

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "platform-mqtt.json").read_text())
PK, DN, PS = DEV[0], DEV[1], "EmuPs0123456789A"


def connect(cloud, client_id="m1|securemode=2,authType=register,random=123,signmethod=hmacsha1|", user=f"{DN}&{PK}",
            password=None, tls=True, **options):
    """A socket after CONNECT, and its CONNACK code."""
    if password is None:
        password = sign(PS, "hmacsha1", deviceName=DN, productKey=PK, random="123")
    raw = Raw(cloud, ssl.create_default_context(cafile=cloud.ca) if tls else None)
    raw.send(connect_packet(client_id, user, password, **options))
    first, body = raw.packet()
    assert first == 0x20
    return raw, body[1]


def refusal(cloud, *args, **options):
    raw, code = connect(cloud, *args, **options)
    with raw:
        assert code != 0 and raw.at_end()
    return code


def test_the_secret_is_pushed_without_a_subscription_and_logs_in(cloud):
    """covers: A05 H30 H32 H34 H36 H38"""
    raw, code = connect(cloud, keepalive=0)
    with raw:
        assert code == 0
        first, body = raw.packet()
        assert first == 0x30 and body[:15] == b"\x00\x0d/ext/register"
        pushed = json.loads(body[15:])
        assert pushed == {"productKey": PK, "deviceName": DN, "deviceSecret": DEV[2]}
        raw.send(b"\xc0\0")
        assert raw.packet() == (0xd0, b"")
        raw.send(b"\xe0\0")
        assert raw.at_end()
    assert cloud.device(PK, DN)["status"] == "UNACTIVE"  # a registration is no login
    with Client(cloud, (PK, DN, pushed["deviceSecret"])) as device:
        assert device.code == 0
    shown = cloud.messages(topic="/ext/register")
    assert len(shown) == 1 and DEV[2] not in json.dumps(shown) and DEV[2] not in cloud.process.stderr()


def test_every_registration_of_the_vectors(cloud):
    """covers: H32"""
    for v in VECTORS["dynreg_mqtt"]:
        cloud.request("POST", "/products", {"productKey": v["product_key"], "productSecret": v["product_secret"]})
        if v["auth_type"] == "register":
            cloud.request("POST", "/devices", {"productKey": v["product_key"], "deviceName": v["device_name"]})
        raw, code = connect(cloud, v["mqtt_client_id"], v["mqtt_username"], v["hex"].upper())
        with raw:
            assert code == 0, v["name"]
            assert f"/ext/{v['auth_type']}".encode() in raw.packet()[1], v["name"]


def test_each_code_is_produced(cloud):
    """covers: H33 H35"""
    assert refusal(cloud, tls=False) == 2
    assert refusal(cloud, client_id="m1|securemode=2,authType=register,signmethod=hmacsha1|") == 2
    assert refusal(cloud, client_id="m1|securemode=-2,authType=register,random=123,signmethod=hmacsha1|") == 2
    assert refusal(cloud, client_id="m1|authType=register,random=123,signmethod=hmacsha1|") == 2
    assert refusal(cloud, client_id="m1|securemode=2,authType=register,random=123,signmethod=none|") == 2
    assert refusal(cloud, client_id="m" * 65 + "|securemode=2,authType=register,random=123,signmethod=hmacsha1|") == 2
    assert refusal(cloud, password="0" * 40) == 4
    assert refusal(cloud, client_id="m1|securemode=2,authType=register,random=124,signmethod=hmacsha1|") == 4
    assert refusal(cloud, user=f"nobody&{PK}", password=sign(PS, "hmacsha1", deviceName="nobody", productKey=PK, random="123")) == 4
    assert refusal(cloud, user=DN) == 4
    # The product's secret over what a login signs is no registration, and the other way round.
    assert refusal(cloud, password=credentials((PK, DN, PS))[2]) == 4
    cloud.fault("connack", code=3, count=1)
    assert refusal(cloud) == 3
    assert cloud.stats()["registrations"] == 0  # a fault comes before anything is issued


def test_registration_off_refuses_new_ones_and_leaves_the_others_alone(cloud):
    """covers: A06 A15 E06 E07"""
    cloud.post(f"/products/{PK}", {"registration": False})
    assert refusal(cloud) == 4
    with Client(cloud, DEV) as device:
        assert device.code == 0
    cloud.post(f"/devices/{PK}/{DN}/reset")
    cloud.post(f"/products/{PK}", {"registration": True})
    raw, code = connect(cloud)
    raw.close()
    assert code == 0


def test_an_active_device_is_refused_until_reset_and_keeps_its_secret(cloud):
    """covers: D28"""
    with Client(cloud, DEV):
        pass
    assert refusal(cloud) == 4
    cloud.post(f"/devices/{PK}/{DN}/reset")
    assert cloud.device(PK, DN)["status"] == "UNACTIVE"
    raw, code = connect(cloud)
    with raw:
        assert code == 0 and json.loads(raw.packet()[1][15:])["deviceSecret"] == DEV[2]


def test_nothing_but_leaving_is_possible_after_a_registration(cloud):
    raw, code = connect(cloud)
    with raw:
        raw.packet()
        raw.send(subscribe_packet(f"/{PK}/{DN}/user/get"))
        assert raw.at_end()


@pytest.mark.slow
def test_who_stays_is_closed_after_15_seconds(cloud):
    """covers: H39"""
    raw, _ = connect(cloud)
    with raw:
        raw.packet()
        began = time.monotonic()
        assert raw.at_end()
        assert 14 < time.monotonic() - began < 20
