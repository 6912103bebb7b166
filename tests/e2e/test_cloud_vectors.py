"""The golden vectors of the MQTT sheet against the running emulator."""
import json
import pathlib
import ssl

import pytest
from cloud_client import GW, Raw, connect_packet, gateway, session_topic, sys_topic

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "platform-mqtt.json").read_text())


def ensure(cloud, pk, dn, secret, node_type="device"):
    cloud.request("POST", "/products", {"productKey": pk, "nodeType": node_type})
    cloud.request("DELETE", f"/devices/{pk}/{dn}")
    cloud.add_device(pk, dn, secret)


def connack(cloud, client_id, user, password, tls):
    context = ssl.create_default_context(cafile=cloud.ca) if tls else None
    with Raw(cloud, context) as raw:
        raw.send(connect_packet(client_id, user, password))
        first, body = raw.packet()
        assert first == 0x20
        return body[1]


@pytest.mark.parametrize("case", ["lower", "upper"])
def test_every_login_of_the_vectors_is_accepted(cloud, case):
    """covers: H16 H17 H19 H20 H21 H22"""
    for v in VECTORS["connect"]:
        ensure(cloud, v["product_key"], v["device_name"], v["device_secret"])
        digest = v["hex"].upper() if case == "upper" else v["hex"]
        assert connack(cloud, v["mqtt_client_id"], v["mqtt_username"], digest, v["securemode"] == "2") == 0, v["name"]


def test_digests_that_must_not_verify_are_refused_with_4(cloud):
    by_name = {v["name"]: v for v in VECTORS["connect"]}
    for n in VECTORS["connect_negative"]:
        v = by_name[n["must_not_equal_vector"]]
        ensure(cloud, v["product_key"], v["device_name"], v["device_secret"])
        assert connack(cloud, v["mqtt_client_id"], v["mqtt_username"], n["hex"], False) == 4, n["name"]


def test_a_token_nobody_issued_is_refused_with_4(cloud):
    v = next(v for v in VECTORS["connect_no_signature"] if v["name"] == "connwl")
    dn, pk = v["mqtt_username"].split("&")
    ensure(cloud, pk, dn, "whatever")
    assert connack(cloud, v["mqtt_client_id"], v["mqtt_username"], v["mqtt_password"], True) == 4


def test_sub_devices_sign_as_the_vectors_say(cloud):
    """covers: L07"""
    with gateway(cloud) as gw:
        for v in VECTORS["subdevice_sign"]:
            ensure(cloud, v["product_key"], v["device_name"], v["device_secret"], "subdevice")
            entry = {"productKey": v["product_key"], "deviceName": v["device_name"], "timestamp": v["timestamp"], "sign": v["hex"]}
            if v["client_id"] is not None:
                entry["clientId"] = v["client_id"]
            if v["kind"] == "thing.topo.add":
                got = gw.ask(sys_topic(GW, "thing/topo/add"),
                             {"method": "thing.topo.add", "params": [{**entry, "signmethod": v["sign_method_on_wire"]}]})
                assert got["code"] == 200, (v["name"], got)
                continue
            cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo",
                       {"action": "add", "productKey": v["product_key"], "deviceName": v["device_name"]})
            entry["signMethod"] = v["sign_method_on_wire"]
            if "clean_session" in v:
                entry["cleanSession"] = v["clean_session"]
            got = gw.ask(session_topic(GW, "login"), {"params": entry})
            assert got["code"] == 200, (v["name"], got)


def test_a_login_that_signs_clean_session_is_refused(cloud):
    n = VECTORS["subdevice_negative"][0]
    v = next(v for v in VECTORS["subdevice_sign"] if v["name"] == n["must_not_equal_vector"])
    ensure(cloud, v["product_key"], v["device_name"], v["device_secret"], "subdevice")
    cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo", {"action": "add", "productKey": v["product_key"], "deviceName": v["device_name"]})
    with gateway(cloud) as gw:
        got = gw.ask(session_topic(GW, "login"), {"params": {
            "productKey": v["product_key"], "deviceName": v["device_name"], "clientId": v["client_id"],
            "timestamp": v["timestamp"], "signMethod": v["sign_method_on_wire"], "sign": n["hex"], "cleanSession": "true"}})
        assert got["code"] == 6287
        assert got["data"] == {"productKey": v["product_key"], "deviceName": v["device_name"]}
