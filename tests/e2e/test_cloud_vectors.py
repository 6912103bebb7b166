"""The golden vectors of the platform's channels against the running emulator: those that no test of a channel of its own plays."""
import json
import pathlib
import socket
import ssl

import pytest
from cloud_client import GW, PATIENCE, Raw, connect_packet, gateway, session_topic, sys_topic

FILES = pathlib.Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((FILES / "platform-mqtt.json").read_text())
HTTP = json.loads((FILES / "platform-http.json").read_text())
COAP = json.loads((FILES / "cloud-coap.json").read_text())


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


def test_a_batch_login_as_it_stands_in_the_vectors(cloud):
    """covers: L07"""
    batch = VECTORS["subdevice_batch_login"]
    for d in batch["devices"]:
        ensure(cloud, d["productKey"], d["deviceName"], d["device_secret"], "subdevice")
        cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo", {"action": "add", "productKey": d["productKey"], "deviceName": d["deviceName"]})
    with gateway(cloud) as gw:
        gw.publish(session_topic(GW, "batch_login"), batch["payload"], qos=0)
        reply = json.loads(gw.receive_on(session_topic(GW, "batch_login_reply")).payload)
        assert (reply["id"], reply["code"]) == (json.loads(batch["payload"])["id"], 200)
        assert [(d["productKey"], d["deviceName"]) for d in reply["data"]] == \
            [(d["productKey"], d["deviceName"]) for d in batch["devices"]]
        assert all(cloud.device(d["productKey"], d["deviceName"])["status"] == "ONLINE" for d in batch["devices"])


def test_logins_of_sub_devices_as_the_c_sdk_writes_them(start_cloud):
    """Topic and payload as they stand. covers: L07"""
    who, bridge = HTTP["identity"], HTTP["bridge"]
    gw_device = (bridge["productKey"], bridge["deviceName"], bridge["deviceSecret"])
    cloud = start_cloud(f"""products = [ {{ productKey = {bridge["productKey"]}, nodeType = gateway }}
  {{ productKey = {who["productKey"]}, nodeType = subdevice }} ]
devices = [ {{ productKey = {bridge["productKey"]}, deviceName = {bridge["deviceName"]}, deviceSecret = {bridge["deviceSecret"]} }}
  {{ productKey = {who["productKey"]}, deviceName = {who["deviceName"]}, deviceSecret = {who["deviceSecret"]} }} ]
""")
    cloud.post(f"/devices/{gw_device[0]}/{gw_device[1]}/topo",
               {"action": "add", "productKey": who["productKey"], "deviceName": who["deviceName"]})
    with gateway(cloud, gw_device) as gw:
        for v in HTTP["http2"]["subDeviceLogin"]:
            gw.publish(v["topic"], json.dumps(v["payload"]), qos=0)
            reply = json.loads(gw.receive_on(v["topic"] + "_reply").payload)
            assert reply["code"] == 200, (v, reply)


def test_the_first_datagram_of_a_coap_device_byte_by_byte(cloud):
    """The answer has the vector's header, option and members; token and random are the platform's own. covers: I02"""
    ask, answer = (bytes.fromhex(d["hex"]) for d in COAP["datagrams"][:2])
    host, port = cloud.process.ready["coap"].rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(PATIENCE)
        s.connect((host, int(port)))
        s.send(ask)
        got = s.recv(2000)
    head, body = got.split(b"\xff", 1)
    want_head, want_body = answer.split(b"\xff", 1)
    assert head == want_head
    assert json.loads(body).keys() == json.loads(want_body).keys() == COAP["authResponseExample"]["body"].keys()
