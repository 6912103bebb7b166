"""`causeway doctor`: each upstream step by step, without disturbing a gateway that runs; and what `causeway status` exits with."""
import re
import socket
import subprocess
import threading

import pytest
from box import GDN, GPK, box  # noqa: F401
from cloud_client import Client
from conftest import BUILD, PATIENCE, wait_until

SECRET = "5" * 32


@pytest.fixture
def cloud_conf():
    return f"""
products = [ {{ productKey = {GPK}, productSecret = GwPs0123456789AB, nodeType = gateway }} ]
devices = [ {{ productKey = {GPK}, deviceName = {GDN}, deviceSecret = {SECRET} }} ]
"""


GIVEN = f"productKey = {GPK}, deviceName = {GDN}, deviceSecret = {SECRET}"


def doctor(box):
    """(status, {step: (verdict, text)}) of a configuration with one upstream."""
    done = subprocess.run([BUILD / "bin" / "causeway", "doctor", box.config], capture_output=True, text=True, timeout=2 * PATIENCE)
    assert not re.search("Sanitizer|runtime error", done.stderr), done.stderr
    assert SECRET not in done.stdout + done.stderr
    steps = {}
    for line in done.stdout.splitlines():
        found = re.match(r"  (\w+) +(ok|FAIL|-) +(.*)", line)
        if found:
            steps[found[1]] = (found[2], found[3])
    return done.returncode, steps, done.stdout + done.stderr


def upstream(endpoint, more=""):
    return f'upstreams {{ cloud {{ endpoint = "{endpoint}", retryMin = 50ms, retryMax = 200ms {more} }} }}'


def test_everything_works(cloud, box):
    """covers: A13"""
    status, steps, text = doctor(box.write(GIVEN))
    assert status == 0, text
    assert [steps[s][0] for s in ("name", "tcp", "tls", "login")] == ["ok"] * 4
    assert "CONNACK 0" in steps["login"][1] and "TLSv1" in steps["tls"][1] and "127.0.0.1" in steps["tcp"][1]


def test_in_the_clear(cloud, box):
    status, steps, _ = doctor(box.write(GIVEN, upstreams=upstream(f"tcp://{box.mqtt()}")))
    assert status == 0 and steps["tls"][0] == "-" and steps["login"][0] == "ok"


def test_the_name(box):
    status, steps, _ = doctor(box.write(GIVEN, upstreams=upstream("ssl://nothing.invalid:1883")))
    assert status == 1 and steps["name"][0] == "FAIL" and "resolver" in steps["name"][1] and steps["login"][0] == "-"


def test_a_name_that_depends_on_the_product(box):
    """What region makes of the kind coap is right as it is, and no name to look up."""
    status, steps, text = doctor(box.write("", upstreams="upstreams { cloud { type = coap, region = cn-shanghai } }"))
    assert status == 0 and [steps[s][0] for s in ("name", "login")] == ["-"] * 2, text
    status, steps, text = doctor(box.write("", upstreams=upstream("coaps://127.0.0.1:9", ", type = coap")))
    assert status == 0 and steps["tcp"][0] == "-" and "every device logs in by itself" in steps["login"][1], text


def test_tcp(cloud, box):
    """covers: A13"""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        status, steps, _ = doctor(box.write(GIVEN, upstreams=upstream(f"ssl://127.0.0.1:{port}")))
    assert status == 1 and steps["name"][0] == "ok" and steps["tcp"][0] == "FAIL" and "refused" in steps["tcp"][1]
    assert "firewall" in steps["tcp"][1] and steps["login"][0] == "-"


def test_tls(cloud, box):
    status, steps, text = doctor(box.write(GIVEN, upstreams=upstream(f"ssl://{box.mqtt()}", ', tls { ca = "/etc/hostname" }')))
    assert status == 1 and steps == {} and "tls.ca: /etc/hostname" in text and "PEM" in text


def test_a_foreign_authority(cloud, box, tmp_path):
    key, ca = tmp_path / "k.pem", tmp_path / "ca.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", ca, "-days", "2", "-subj", "/CN=other"],
                   check=True, capture_output=True)
    status, steps, _ = doctor(box.write(GIVEN, upstreams=upstream(f"ssl://{box.mqtt()}", f', tls {{ ca = "{ca}" }}')))
    assert status == 1 and steps["tls"][0] == "FAIL" and "not trusted" in steps["tls"][1] and "file of ca" in steps["tls"][1]
    status, steps, _ = doctor(box.write(GIVEN, upstreams=upstream(f"ssl://{box.mqtt()}", ", tls { verify = false }")))
    assert status == 0 and "not checked" in steps["tls"][1]


def test_login(cloud, box):
    """covers: A13 H35"""
    status, steps, _ = doctor(box.write(GIVEN.replace(SECRET, "6" * 32)))
    assert status == 1 and steps["tls"][0] == "ok" and steps["login"][0] == "FAIL"
    assert "CONNACK 4" in steps["login"][1] and "console" in steps["login"][1] and "6" * 32 not in steps["login"][1]
    cloud.post(f"/devices/{GPK}/{GDN}/disable")
    status, steps, _ = doctor(box.write(GIVEN))
    assert status == 1 and steps["login"][0] == "FAIL"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\x02\x00\x09"])
def test_a_peer_that_is_something_else(box, answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)
        thread = threading.Thread(target=serve)
        thread.start()
        status, steps, _ = doctor(box.write(GIVEN, upstreams=upstream("tcp://127.0.0.1:%d" % server.getsockname()[1])))
        thread.join()
    assert status == 1 and steps["tcp"][0] == "ok" and steps["login"][0] == "FAIL"


def test_what_waits_for_the_bridge_goes_on_waiting(cloud, box):
    topic = f"/{GPK}/{GDN}/user/get"
    with Client(cloud, (GPK, GDN, SECRET), clean=False, subscribe=[topic]):
        pass
    cloud.wait_status(GPK, GDN, "OFFLINE")
    cloud.request("POST", f"/devices/{GPK}/{GDN}/raw", b"kept", {"topic": topic, "qos": 1})
    for _ in range(2):
        assert doctor(box.write(GIVEN))[0] == 0
    with Client(cloud, (GPK, GDN, SECRET), clean=False) as bridge:
        assert bridge.receive_on(topic).payload == b"kept"


def test_a_running_gateway_keeps_its_login(cloud, box):
    """covers: A12 A13"""
    box.write(GIVEN).start().wait_up()
    connects = box.stats()["upstream.connects"]
    for _ in range(3):
        status, steps, text = doctor(box)
        assert status == 0 and "was asked" in steps["login"][1] and "is running" in text
    assert box.stats()["upstream.connects"] == connects and box.stats()["upstream.disconnects"] == 0
    assert box.cli("status")[0] == 0
    cloud.stop()
    wait_until(lambda: not box.status()["up"], "the upstream down")
    status, steps, _ = doctor(box)
    assert status == 1 and steps["tcp"][0] == "FAIL" and steps["login"][0] == "FAIL"
    assert box.cli("status")[0] == 1
    cloud.start()
    box.wait_up()
    box.process.stop()
    status, text = box.cli("status")
    assert status == 1 and "is causewayd running" in text  # and with the daemon away


def test_a_certificate_that_is_not_obtained_yet(cloud, box):
    status, steps, _ = doctor(box.write(f"productKey = {GPK}, deviceName = {GDN}, productSecret = GwPs0123456789AB"))
    assert status == 0 and steps["login"][0] == "-" and "first start" in steps["login"][1]
    assert cloud.stats()["registrations"] == 0


def test_a_wrong_configuration_and_a_wrong_command_line(box, tmp_path):
    box.write(GIVEN.replace(GPK, "short"))
    assert doctor(box)[0] == 1
    done = subprocess.run([BUILD / "bin" / "causeway", "doctor", "a", "b"], capture_output=True, text=True)
    assert done.returncode == 2 and "usage" in done.stderr


@pytest.mark.parametrize("settings,says", [
    ('endpoint = "https://127.0.0.1:1"', "does not begin with tcp://"),
    ('type = coap, endpoint = "tcp://127.0.0.1:1"', "does not begin with coaps://"),
])
def test_a_setting_that_is_wrong_comes_before_all_steps(cloud, box, settings, says):
    status, steps, text = doctor(box.write(GIVEN, upstreams=f"upstreams {{ cloud {{ {settings} }} }}"))
    assert status == 1 and list(steps) == ["config"] and steps["config"][0] == "FAIL" and says in text


def test_where_devices_log_in_by_themselves_no_login_of_the_bridge_is_claimed(cloud, box):
    box.write("", upstreams=f'upstreams {{ cloud {{ type = https, endpoint = "{box.https()}" }} }}')
    status, steps, text = doctor(box)
    assert status == 0 and "by itself" in steps["login"][1] and "accepted" not in text
    box.start()
    wait_until(lambda: box.status()["upstreams"][0]["up"], "the upstream up")
    status, steps, text = doctor(box)
    assert status == 0 and "by itself" in steps["login"][1] and "logged in" not in text


def test_advice_fits_the_failure(cloud, box):
    http2 = f'type = http2, endpoint = "https://{cloud.process.ready["http2"]}", authEndpoint = "{box.https()}/auth/bridge"'
    status, steps, _ = doctor(box.write(GIVEN.replace(SECRET, "6" * 32), upstreams=f"upstreams {{ cloud {{ {http2} }} }}"))
    assert status == 1 and "401" in steps["login"][1] and "deviceSecret" in steps["login"][1]
    status, steps, _ = doctor(box.write(GIVEN, upstreams=f"upstreams {{ cloud {{ {http2.replace(cloud.process.ready['http2'], cloud.process.ready['https'])} }} }}"))
    assert status == 1 and steps["login"][0] == "FAIL" and "deviceSecret" not in steps["login"][1]  # no HTTP/2 there
