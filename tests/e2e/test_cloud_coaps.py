"""CoAP over DTLS with pre-shared keys: libcoap's own client and openssl's, neither of which knows the emulator."""
import json
import pathlib
import re
import subprocess

import pytest

from cloud_client import DEV, METHODS
from coap_client import auth_body
from conftest import PATIENCE

import hmac

PK, DN, SECRET = DEV
UPDATE = f"/{PK}/{DN}/user/update"
STAMP = "2524608000000"


def psk(method="hmacsha256", content=None, device=DEV):
    """(identity, key)"""
    pk, dn, secret = device
    content = content or f"id{pk}&{dn}timestamp{STAMP}"
    key = hmac.new(secret.encode(), content.encode(), METHODS[method]).hexdigest().upper()
    return f"devicename|{method}|{pk}&{dn}|{STAMP}", key


def post(cloud, path, payload, options=(), identity=None, wait="5", extra=()):
    """(payload of the answer, what the client printed about it)"""
    user, key = identity or psk()
    url = f"coaps://{cloud.process.ready['coaps']}/{path.lstrip('/')}"
    argv = ["coap-client-openssl", "-m", "post", "-u", user, "-k", key, "-B", wait, "-v", "6", "-e", payload, *extra]
    for number, value in options:
        argv += ["-O", f"{number},{value}"]
    done = subprocess.run([*argv, url], capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout, done.stdout + done.stderr


def login(cloud, **more):
    body = json.dumps(auth_body(DEV, seq=None, **more))
    out, _ = post(cloud, "auth", body.replace("&", "%26"))
    return json.loads(re.search(r"\{\"token\".*?\}", out).group(0))["token"]


def test_login_and_publish(cloud):
    """covers: I02 I07 I26 I27 I29 I30"""
    token = login(cloud)
    assert re.fullmatch("[0-9a-f]{32}", token)
    _, text = post(cloud, f"topic{UPDATE}", "hello", [(2088, token)])
    assert "2.05" in text
    message = cloud.wait_message(device=f"{PK}/{DN}")
    assert message["topic"] == UPDATE
    _, text = post(cloud, f"topic{UPDATE}", "hello", [(2088, "no")])
    assert "4.01" in text


@pytest.mark.parametrize("method", ["hmacmd5", "hmacsha1", "hmacsha256"])
def test_methods_of_keys(cloud, method):
    """covers: I27"""
    _, text = post(cloud, "nowhere", "x", identity=psk(method))
    assert "4.04" in text


def test_wrong_keys_get_no_answer(cloud):
    user, key = psk()
    for identity in ((user, key.lower()), (user + "|x", key), ("nonsense", key)):
        _, text = post(cloud, "nowhere", "x", identity=identity, wait="1")
        assert "4.04" not in text


def test_the_manuals_text(start_cloud):
    """covers: I27"""
    cloud = start_cloud("switches { pskText = manual }\n" + STOCK)
    _, text = post(cloud, "nowhere", "x", identity=psk(content=f"{PK}&{DN}{STAMP}"))
    assert "4.04" in text
    _, text = post(cloud, "nowhere", "x", wait="1")
    assert "4.04" not in text


STOCK = f"""
products = [ {{ productKey = {PK}, productSecret = EmuPs0123456789A, nodeType = device }} ]
devices = [ {{ productKey = {PK}, deviceName = {DN}, deviceSecret = {SECRET} }} ]
"""


@pytest.mark.parametrize("suite", ["PSK-AES128-CBC-SHA", "PSK-AES128-CCM8", "PSK-AES128-GCM-SHA256"])
def test_suites(cloud, suite):
    user, key = psk()
    done = subprocess.run(["openssl", "s_client", "-dtls1_2", "-connect", cloud.process.ready["coaps"], "-psk_identity", user, "-psk",
                           key.encode().hex(), "-cipher", suite], input="", capture_output=True, text=True, timeout=PATIENCE)
    assert f"Cipher is {suite}" in done.stdout, done.stdout + done.stderr


def test_a_client_that_restarts_from_the_same_port(cloud):
    """Its first session never said goodbye."""
    port = free_port()
    for _ in range(3):
        _, text = post(cloud, "nowhere", "x", extra=["-p", port])
        assert "4.04" in text


def free_port():
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def test_registration(cloud):
    vectors = json.loads((pathlib.Path(__file__).parents[1] / "vectors" / "cloud-coap.json").read_text())
    body = vectors["coapDynamicRegistration"]["body"]
    out, _ = post(cloud, "auth/register/device", json.dumps(body))
    assert json.loads(re.search(r"\{\"deviceName.*\}", out).group(0))["deviceSecret"] == SECRET
    _, text = post(cloud, "auth/register/device", json.dumps({**body, "sign": "0" * 64}))
    assert "4.01" in text


def test_sessions_are_bounded(start_cloud):
    cloud = start_cloud("limits { coapSessions = 2 }\n" + STOCK)
    for _ in range(5):
        _, text = post(cloud, "nowhere", "x")
        assert "4.04" in text
