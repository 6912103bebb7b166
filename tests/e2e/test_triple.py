"""`causeway triple`: a product's certificate becomes a device's, over both ways, and every way it can end."""
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import threading

import pytest
from cloud_client import Client, Raw, connect_packet
from conftest import BUILD, PATIENCE

PK, PS, DN = "a1EmuPk0001", "EmuPs0123456789A", "dev-0001"


@pytest.fixture
def endpoints(cloud):
    host, port = cloud.mqtt
    return {"https": f"https://{cloud.process.ready['https']}", "mqtt": f"ssl://{host}:{port}"}


def triple(*args, stdin=None, env=None):
    if "mqtt" in args or "--no-whitelist" in args:
        # Paho says that its threads have ended a moment before they give back what OpenSSL keeps for each of them.
        env = {"ASAN_OPTIONS": "detect_leaks=0", **(env or {})}
    done = subprocess.run([BUILD / "bin" / "causeway", "triple", *map(str, args)], capture_output=True, text=True, input=stdin,
                          timeout=2 * PATIENCE, env={**os.environ, **(env or {})})
    assert not re.search("Sanitizer|runtime error", done.stderr), done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def ask(cloud, endpoints):
    def run(via, *more, pk=PK, dn=DN, ps=PS, **options):
        return triple("--via", via, "--endpoint", endpoints[via], "--ca", cloud.ca, *more, pk, dn, ps, **options)
    return run


@pytest.fixture(params=["https", "mqtt"])
def via(request):
    return request.param


def test_one_line_and_nothing_else(cloud, ask, via):
    """covers: A01 A02 E09 H36"""
    status, out, err = ask(via)
    assert (status, err) == (0, "")
    word, pk, dn, ds = out.rstrip("\n").split(" ")
    assert (word, pk, dn, len(ds)) == ("DeviceInfo:", PK, DN, 32) and out.count("\n") == 1
    with Client(cloud, (PK, DN, ds)) as device:
        assert device.code == 0
    assert cloud.stats()["registrations"] == 1
    assert ds not in cloud.process.stderr()


def test_both_ways_give_the_same(ask):
    """covers: E09"""
    assert ask("https")[1] == ask("mqtt")[1]


def test_the_secret_may_come_from_standard_input(ask, via):
    status, out, _ = ask(via, ps="-", stdin=PS + "\n")
    assert status == 0 and out.startswith("DeviceInfo: ")


def test_it_is_on_the_disk_before_it_is_printed_and_nothing_is_overwritten(cloud, ask, via, tmp_path):
    """covers: A04"""
    file = tmp_path / "cert"
    status, out, _ = ask(via, "--out", file)
    assert status == 0 and file.read_text() == out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    status, again, err = ask(via, "--out", file)
    assert status == 2 and again == "" and "not overwritten" in err and file.read_text() == out
    assert cloud.stats()["registrations"] == 1  # and nothing was asked for
    assert [f.name for f in tmp_path.glob("cert*")] == ["cert"]


@pytest.mark.parametrize("point,kept", [("triple.answered", False), ("triple.stored", True)])
def test_killed_at_each_step_nothing_was_confirmed_that_is_not_kept(cloud, ask, via, tmp_path, point, kept):
    """covers: A04"""
    file = tmp_path / "cert"
    status, out, _ = ask(via, "--out", file, env={"CW_CRASH_AT": point})
    assert status == -9 and out == ""
    assert file.exists() == kept
    if not kept:  # the device was never active: the platform gives the same again
        status, out, _ = ask(via, "--out", file)
        assert status == 0
    with Client(cloud, (PK, DN, file.read_text().split()[3])) as device:
        assert device.code == 0


def test_a_directory_that_takes_no_file_is_found_before_anything_is_asked(cloud, ask, via):
    status, out, err = ask(via, "--out", "/nowhere/cert")
    assert status == 2 and out == "" and "/nowhere/cert" in err
    assert cloud.stats()["registrations"] == 0


def test_a_device_that_took_its_certificate_is_refused_with_the_way_out(cloud, ask, via):
    """covers: A05"""
    out = ask(via)[1]
    with Client(cloud, (PK, DN, out.split()[3])):
        pass
    status, out, err = ask(via)
    assert status == 3 and out == ""
    assert "active" in err and "reset" in err and "issued" in err
    assert ("6289" if via == "https" else "CONNACK 4") in err


def test_the_switch_off_refuses_and_says_so(cloud, ask):
    """covers: A06 E06 E07"""
    cloud.post(f"/products/{PK}", {"registration": False})
    status, _, err = ask("https")
    assert status == 3 and "6288" in err and "switched off" in err
    status, _, err = ask("mqtt")
    assert status == 3 and "CONNACK 4" in err and "switched off" in err


def test_each_refusal_has_its_cause_and_remedy(cloud, ask, endpoints):
    """covers: H35"""
    assert "6250" in ask("https", pk="a1Nothing01")[2]
    assert "6100" in ask("https", dn="nobody-at-all")[2]
    status, _, err = ask("https", ps="x" * 16)
    assert status == 3 and "6600" in err and "ProductSecret" in err and "x" * 16 not in err
    texts = set()
    for code in (1, 2, 3, 4, 5):
        cloud.fault("connack", code=code, count=1)
        status, out, err = ask("mqtt")
        assert status == 3 and out == "" and f"CONNACK {code}" in err
        texts.add(err)
    assert len(texts) == 5
    cloud.fault("status", channel="https", code=503, count=1)
    status, _, err = ask("https")
    assert status == 3 and "503" in err and "later" in err


def test_without_preregistration(cloud, ask, endpoints):
    """covers: E03 E11 H31 H37"""
    status, out, err = ask("mqtt", "--no-whitelist", dn="sim-4600001")
    assert status == 0, err
    word, pk, dn, client_id, token = out.split()
    assert (word, pk, dn) == ("DeviceInfo:", PK, "sim-4600001")
    with Raw(cloud, ssl.create_default_context(cafile=cloud.ca)) as raw:
        raw.send(connect_packet(f"{client_id}|securemode=-2,authType=connwl|", f"{dn}&{pk}", token))
        assert raw.packet()[1][1] == 0


def test_the_other_topic_is_understood_too(start_cloud, tmp_path):
    """covers: H37"""
    cloud = start_cloud(f"""
products = [ {{ productKey = {PK}, productSecret = {PS}, nodeType = device }} ]
listeners {{ mqtt = "127.0.0.1:0", api = "127.0.0.1:0" }}
switches {{ regnwlTopic = register }}
""")
    host, port = cloud.mqtt
    status, out, err = triple("--no-whitelist", "--endpoint", f"ssl://{host}:{port}", "--ca", cloud.ca, PK, "sim-4600002", PS)
    assert status == 0 and len(out.split()) == 5, err


def test_cut_right_after_the_push_there_is_one_registration(cloud, ask):
    """covers: H40"""
    cloud.fault("cut", topic="/ext/register", direction="down", count=1)
    status, out, err = ask("mqtt")
    assert cloud.stats()["registrations"] == 1
    # Whether the push overtook the end of the connection is the network's choice; what is said fits what happened.
    assert (status == 0 and out.startswith("DeviceInfo: ")) or (status == 4 and "may have been given out" in err)


def test_bad_arguments_ask_nothing(cloud, ask, endpoints):
    """covers: E08 E09"""
    https, mqtt = endpoints["https"], endpoints["mqtt"]
    for args, word in [
        ((PK, DN), "usage"),
        (("short", DN, PS), "11"),
        ((PK, "abc", PS), "DeviceName"),
        ((PK, "has blank", PS), "DeviceName"),
        ((PK, DN, "tooshort"), "ProductSecret"),
        (("--no-whitelist", "--via", "https", PK, DN, PS), "MQTT only"),
        (("--endpoint", https.replace("https", "http"), PK, DN, PS), "TLS only"),
        (("--via", "mqtt", "--endpoint", mqtt.replace("ssl", "tcp"), PK, DN, PS), "TLS only"),
        (("--via", "pigeon", PK, DN, PS), "usage"),
    ]:
        status, out, err = triple(*args)
        assert status == 2 and out == "" and word in err, (args, err)
    status, _, err = ask("https", ps="P" * 20)
    assert "32 or 16" in err and status == 3  # a warning only; then the platform says no
    assert cloud.stats()["registrations"] == 0


def test_who_is_not_reached_is_named(ask, cloud, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        for via, scheme in (("https", "https"), ("mqtt", "ssl")):
            status, out, err = triple("--via", via, "--endpoint", f"{scheme}://127.0.0.1:{port}", PK, DN, PS)
            assert status == 4 and out == "" and "no registration was made" in err, err
    # A server nobody vouches for gets nothing.
    status, _, err = triple("--endpoint", f"https://{cloud.process.ready['https']}", PK, DN, PS)
    assert status == 4 and "certificate" in err
    host, port = cloud.mqtt
    status, _, err = triple("--via", "mqtt", "--endpoint", f"ssl://{host}:{port}", PK, DN, PS)
    assert status == 4 and "TLS" in err
    assert cloud.stats()["registrations"] == 0


@pytest.fixture
def liar(cloud, cloud_state):
    """liar(answer) -> address of an HTTPS server that says `answer` to everything and counts."""
    servers = []

    def start(answer):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(cloud_state / "server.pem", cloud_state / "server.key")
        listener = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    plain, _ = listener.accept()
                except OSError:
                    return
                try:
                    with tls.wrap_socket(plain, server_side=True) as s:
                        s.recv(65536)
                        s.sendall(answer)
                except OSError:
                    pass
        thread = threading.Thread(target=serve)
        thread.start()
        servers.append((listener, thread))
        return "127.0.0.1:%d" % listener.getsockname()[1]
    yield start
    for listener, thread in servers:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def reply(body):
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("answer", [
    b"", b"nonsense", reply(b"{"), reply(b"[]"), reply(b'{"code": 200}'), reply(b'{"code": 200, "data": "x"}'),
    reply(json.dumps({"code": 200, "data": {"productKey": PK, "deviceName": "other-one", "deviceSecret": "s" * 32}}).encode()),
    reply(json.dumps({"code": 200, "data": {"productKey": PK, "deviceName": DN, "deviceSecret": "s" * 500}}).encode()),
    reply(json.dumps({"code": 200, "data": {"productKey": PK, "deviceName": DN, "deviceSecret": "a b\n"}}).encode()),
    b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{",
    reply(b" " * 100000),
])
def test_wrong_peers_are_survived(cloud, liar, answer):
    status, out, err = triple("--endpoint", f"https://{liar(answer)}", "--ca", cloud.ca, PK, DN, PS)
    assert status == 4 and out == "" and "may have been given out" in err, (answer[:60], err)


@pytest.mark.parametrize("text,status,words", [
    (f"DeviceInfo: {PK} {DN} {'s' * 32}\n", 0, "device certificate"),
    (f"DeviceInfo: {PK} {DN} client token\n", 0, "ClientID"),
    (f'productKey = {PK}, deviceName = {DN}, deviceSecret = "{"s" * 32}"', 0, "device certificate"),
    (f'productKey = {PK}, productSecret = "{"p" * 32}"', 0, "product certificate"),
    (f'productKey = {PK}, productSecret = "{"p" * 16}"', 0, "product certificate"),
    (f'productKey = {PK}, productSecret = "{"p" * 20}"', 0, "32 or 16"),
    (f'productKey = {PK}, productSecret = "{"p" * 15}"', 2, "ProductSecret has 15 characters"),
    (f'productKey = {PK[:10]}, productSecret = "{"p" * 32}"', 2, "ProductKey has 10 characters; expected are 11"),
    (f'productKey = {PK}, deviceName = {DN}, deviceSecret = ""', 2, "DeviceSecret is empty"),
    (f'productKey = {PK}, deviceName = "", deviceSecret = "{"s" * 32}"', 2, "DeviceName is empty"),
    ("", 2, "ProductKey is empty"),
    ("DeviceInfo:", 2, "ProductKey is empty"),
    ("{{{", 2, ""),
])
def test_the_boot_check(tmp_path, text, status, words):
    """covers: A08"""
    file = tmp_path / "cert"
    file.write_text(text)
    file.chmod(0o600)
    got, out, err = triple("--check", file)
    assert got == status and words in out + err, (out, err)
    assert "s" * 32 not in out + err and "p" * 15 not in out + err


def test_the_boot_check_of_no_file(tmp_path):
    status, _, err = triple("--check", tmp_path / "none")
    assert status == 2 and "none" in err
