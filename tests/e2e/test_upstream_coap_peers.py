"""The upstream `coap` against servers that are not the emulator: a CoAP platform in Python, openssl's DTLS, libcoap's own server."""
import json
import subprocess

import pytest
from coap_peer import DtlsPeer, UdpPeer
from conftest import wait_until
from gw import PK, cloud_conf, device_name, secret, start_gateway  # noqa: F401
from test_cloud_coaps import psk
from test_upstream_coap import POST, settings

DEVICE = (PK, device_name(0), secret(0))


@pytest.fixture
def peer_of():
    made = []

    def start(kind, *args, **options):
        made.append(kind(DEVICE, *args, **options))
        return made[-1]
    yield start
    for peer in made:
        peer.close()


def run(start_gateway, peer, reports=5, name="causewayd", **more):
    mode = peer.endpoint.split(":")[0]
    gateway = start_gateway(None, devices=1, endpoint=peer.endpoint, listener="ack = delivered", name=name,
                            extra="log { level = debug }", upstream=settings(mode, **{"pull": "0s", "ackTimeout": "2s", **more}))
    with gateway.wait_up().terminal(0).log_in() as t:
        for speed in range(reports):
            t.report_acked(speed=speed)
    assert peer.faults == []
    assert len(peer.logins) == 1
    bodies = [json.loads(payload) for path, payload, _ in peer.seen if "/" + path.removeprefix("topic/") == POST]
    assert [b["params"]["Speed"]["value"] for b in bodies if "Speed" in b["params"]] == [s / 10 for s in range(reports)]
    return gateway


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_symmetric_mode(start_gateway, peer_of, address, separate):
    """covers: I01 I03 I10 I15 I16 I17 I18 I20 I22 I24"""
    peer = peer_of(UdpPeer, (address, 0), separate=separate)
    gateway = run(start_gateway, peer, ackMode=int(separate))
    assert [seq for _, _, seq in peer.seen] == list(range(8, 8 + len(peer.seen)))
    assert peer.logins[0].get("ackMode") == ("1" if separate else None)
    assert all("messageId=123456789012345678" in line for line in gateway.log_lines("upstream.message"))


def test_success_may_be_another_code(start_gateway, peer_of):
    run(start_gateway, peer_of(UdpPeer, success=(2, 4)))


def test_unknown_tokens_are_told_apart_from_refusals(start_gateway, peer_of):
    """A token that is lost again and again is a failure of the login, tried again ever more slowly; no record is given up. covers: I21 I31"""
    peer = peer_of(UdpPeer)
    good, refusals = peer.publish, []

    def publish(message, path):
        if len(refusals) < 3:
            refusals.append(path)
            return (4, 1), b""
        return good(message, path)
    peer.publish = publish
    gateway = start_gateway(None, devices=1, endpoint=peer.endpoint, listener="ack = delivered",
                            upstream=settings("coap", pull="0s", ackTimeout="30s"))
    with gateway.wait_up().terminal(0).log_in() as t:
        t.report_acked()
    assert len(refusals) == 3 and gateway.stats()["bridge.records_refused"] == 0
    assert gateway.log_lines("device.offline")


@pytest.mark.parametrize("method", ["hmacmd5", "hmacsha1", "hmacsha256"])
def test_dtls_with_the_one_suite_of_the_platforms_sdks(start_gateway, peer_of, method):
    """covers: I02 I26 I27 I29 I30"""
    identity, key = psk(method, device=DEVICE)
    run(start_gateway, peer_of(DtlsPeer, ["-nocert", "-psk_identity", identity, "-psk", key.encode().hex(), "-cipher", "PSK-AES128-CBC-SHA"]),
        signMethod=method)


@pytest.fixture
def certificate(tmp_path):
    """(authority, arguments of s_server) for localhost"""
    def run(*argv):
        subprocess.run(["openssl", *argv], cwd=tmp_path, check=True, capture_output=True)
    run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
    run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "s.key", "-out", "s.csr", "-subj", "/CN=server")
    (tmp_path / "ext").write_text("subjectAltName=DNS:localhost\n")
    run("x509", "-req", "-in", "s.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext", "-out", "s.pem")
    return tmp_path / "ca.pem", ["-cert", tmp_path / "s.pem", "-key", tmp_path / "s.key"]


def test_dtls_with_a_certificate(start_gateway, peer_of, certificate):
    """covers: I28"""
    ca, arguments = certificate
    run(start_gateway, peer_of(DtlsPeer, arguments, host="localhost"), dtls="certificate", tls=f'{{ ca = "{ca}" }}')


@pytest.mark.parametrize("wrong", ["name", "authority"])
def test_a_certificate_that_does_not_fit(start_gateway, peer_of, certificate, tmp_path, wrong):
    """covers: I28"""
    ca, arguments = certificate
    if wrong == "authority":
        ca = tmp_path / "other.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-out", ca, "-days", "2", "-subj",
                        "/CN=other"], check=True, capture_output=True)
    peer = peer_of(DtlsPeer, arguments, host="127.0.0.1" if wrong == "name" else "localhost")
    gateway = start_gateway(None, devices=1, endpoint=peer.endpoint, extra="stopTimeout = 0s", upstream=settings(
        "coaps", pull="0s", dtls="certificate", tls=f'{{ ca = "{ca}" }}'))
    with gateway.terminal(0).log_in() as t:
        t.report()
        gateway.wait_log("not for this host" if wrong == "name" else "local issuer certificate")
    assert peer.logins == [] and gateway.stats()["upstream.logins"] == 0


def test_a_server_without_such_a_path(start_gateway):
    """libcoap's own server: 4.04 or 4.05 to the login refuses the device, and the log says why. covers: I01 I31"""
    import socket
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    server = subprocess.Popen(["coap-server-notls", "-A", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        gateway = start_gateway(None, devices=1, endpoint=f"coap://127.0.0.1:{port}", upstream=settings("coap", pull="0s"))
        with gateway.terminal(0).log_in():
            gateway.wait_state(0, "refused")
        assert any("4.0" in line for line in gateway.log_lines("device.refused"))
    finally:
        server.kill()
        server.wait()


@pytest.mark.parametrize("upstream, says", [
    ("endpoint = \"coaps://h\", dtls = off", "dtls = off"), ("endpoint = \"coap://h\", dtls = certificate", "needs coaps"),
    ("endpoint = \"coaps://h\", dtls = certificate", "tls.ca"), ("endpoint = \"ssl://h\"", "coaps://"),
    ("endpoint = \"coaps://h\", maxPayload = 1", "maxPayload")])
def test_settings_that_contradict_each_other(start_gateway, upstream, says):
    with pytest.raises(AssertionError) as caught:
        start_gateway(None, devices=1, endpoint="-", upstream=f"type = coap, {upstream}")
    assert says in str(caught.value)
