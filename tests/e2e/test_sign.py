"""`causeway sign mqtt`: the five values, and that an independent client logs in with them."""
import json
import subprocess

import paho.mqtt.client as mqtt
import pytest
from conftest import BUILD, ROOT, wait_until

DEVICE = ("a1EmuPk0001", "dev-0001", "0123456789abcdef0123456789abcdef")


def sign(*args, stdin=None):
    done = subprocess.run([BUILD / "bin" / "causeway", "sign", "mqtt", *args], capture_output=True, text=True, input=stdin, timeout=60)
    return done.returncode, dict(line.split(None, 1) for line in done.stdout.splitlines()), done.stderr


def test_an_independent_client_logs_in_with_what_is_printed(cloud):
    """covers: H60 H63"""
    status, out, _ = sign("--host", cloud.mqtt[0], "--tcp", *DEVICE)
    assert status == 0
    client = mqtt.Client(client_id=out["clientId"])
    client.username_pw_set(out["username"], out["password"])
    codes = []
    client.on_connect = lambda c, u, f, rc: codes.append(rc)
    client.connect(out["host"], cloud.mqtt[1], keepalive=60)
    client.loop_start()
    wait_until(lambda: codes, "CONNACK")
    client.disconnect()
    client.loop_stop()
    assert codes == [0]


@pytest.mark.parametrize("region", ["cn-shanghai", "ap-southeast-1", "ap-northeast-1", "us-west-1", "eu-central-1"])
def test_each_region_gives_its_host_and_a_custom_one_is_taken(region):
    """covers: H61"""
    _, out, _ = sign("--region", region, *DEVICE)
    assert out["host"] == f"a1EmuPk0001.iot-as-mqtt.{region}.aliyuncs.com" and out["port"] == "1883"
    assert sign(*DEVICE)[1]["host"] == "a1EmuPk0001.iot-as-mqtt.cn-shanghai.aliyuncs.com"
    assert sign("--host", "iot.example", *DEVICE)[1]["host"] == "iot.example"


def test_the_password_is_that_of_the_vectors():
    """covers: H64"""
    vector = next(v for v in json.loads((ROOT / "tests/vectors/platform-mqtt.json").read_text())["connect"]
                  if v["name"] == "csdk4-style-tls")
    _, out, _ = sign(vector["product_key"], vector["device_name"], "-", stdin=vector["device_secret"] + "\n")
    assert out["password"].lower() == vector["hex"]
    assert "signmethod=hmacsha256" in out["clientId"] and out["username"] == vector["mqtt_username"]


@pytest.mark.parametrize("args", [("a" * 21, "d", "s"), ("a", "d" * 33, "s"), ("a", "d", "s" * 65), ("a b", "d", "s"), ("a", "", "s")])
def test_what_is_too_long_or_no_name_is_refused_and_nothing_printed(args):
    """covers: H62 H63"""
    status, out, err = sign(*args)
    assert status == 1 and out == {} and "accepted" in err or "region or product key" in err
