"""Upgrades of devices behind the gateway: the gateway downloads and checks the file, the decoder sends it in blocks.

covers: N01 N02 N04 N05 N06 N07
"""
import hashlib
import json
import random
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import wait_until
from gw import PK, cloud_conf, device_name, start_gateway  # noqa: F401

FIRMWARE = random.Random(11).randbytes(50_001)


@pytest.fixture
def trucks(start_cloud, start_gateway):
    """A platform with HTTPS for downloads, a gateway that trusts it, one terminal logged in."""
    cloud = start_cloud(cloud_conf(2).replace("listeners {", 'listeners { https = "127.0.0.1:0",'))
    extra = f'ca = "{cloud.ca}"\nfirmware {{ retry = 10ms, attempts = 3, stall = 1s }}\n' if cloud.ca else ""
    gateway = start_gateway(cloud, devices=2, extra=extra + "protocols.jt808 { fragmentPause = 10ms }\n").wait_up()
    with gateway.terminal() as t:
        t.log_in()
        gateway.wait_state(0, "online")
        yield cloud, gateway, t


def package(cloud, data=FIRMWARE, **query):
    return cloud.post(f"/products/{PK}/packages", data, query={"version": "2.0.0", **query})


def begin(cloud, made):
    return cloud.post(f"/packages/{made['id']}/batches", {})


def task(cloud, batch):
    return {t["deviceName"]: t for t in cloud.get(f"/upgrades/{batch['id']}")["devices"]}[device_name(0)]


def steps(cloud):
    topic = f"/ota/device/progress/{PK}/{device_name(0)}"
    return [int(json.loads(m["payload"])["params"]["step"]) if isinstance(m["payload"], str) else int(m["payload"]["params"]["step"])
            for m in cloud.messages(topic=topic)]


def take_upgrade(t):
    """The upgrade as the terminal sees it: parts answered one by one, put together: (type, version, file)."""
    body, total = {}, None
    while total is None or len(body) < total:
        m = t.receive()
        assert m.id == 0x8108, m
        total, index = m.fragment or (1, 1)
        body[index] = m.body
        t.send(0x0001, struct.pack(">HHB", m.serial, m.id, 0))
    whole = b"".join(body[i] for i in sorted(body))
    kind, _, length = whole[0], whole[1:6], whole[6]
    version, rest = whole[7:7 + length], whole[7 + length:]
    size = struct.unpack(">I", rest[:4])[0]
    assert len(rest) - 4 == size
    return kind, version.decode(), rest[4:]


@pytest.mark.parametrize("method", ["Md5", "SHA256"])
def test_a_terminal_gets_the_whole_file_and_the_platform_sees_its_progress(trucks, method):
    cloud, gateway, t = trucks
    batch = begin(cloud, package(cloud, signMethod=method))
    assert take_upgrade(t) == (0, "2.0.0", FIRMWARE)
    wait_until(lambda: gateway.stats()["bridge.commands_answered"] == 1, "the upgrade to be through")
    seen = wait_until(lambda: steps(cloud), "progress")
    assert seen == sorted(seen) and 0 <= seen[0] <= 100
    assert task(cloud, batch)["state"] in ("NOTIFIED", "IN_PROGRESS")
    # The file is there for the next device; nothing is downloaded twice.
    stats = gateway.stats()
    assert (stats["firmware.files"], stats["firmware.downloads"], stats["firmware.bytes"]) == (1, 1, len(FIRMWARE))
    with gateway.terminal(1) as other:
        other.log_in()
        gateway.wait_state(1, "online")
        begin(cloud, package(cloud, version="2.0.1", signMethod=method))
        assert take_upgrade(other)[2] == FIRMWARE
    assert gateway.stats()["firmware.downloads"] == 1


def test_a_cut_download_goes_on_where_it_ended(trucks):
    cloud, gateway, t = trucks
    cloud.fault("cut", channel="https", count=1, after=0)
    begin(cloud, package(cloud))
    assert take_upgrade(t)[2] == FIRMWARE
    assert gateway.stats()["firmware.downloads"] >= 1


class Server:
    """A download server that lies, or is slow, as `answer(handler)` says."""

    def __init__(self, answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                answer(self)

            def log_message(self, *_):
                pass
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/firmware?token=of-this-link"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()


def reply(handler, body, status=200, **headers):
    handler.send_response(status)
    for name, value in {"Content-Length": len(body), **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    handler.wfile.write(body)


def notice(cloud, url, data=FIRMWARE, size=None, digest=None, method="SHA256"):
    """The platform's push, with whatever file the test wants announced."""
    digest = digest or {"SHA256": hashlib.sha256, "MD5": hashlib.md5}[method](data).hexdigest()
    payload = {"code": "1000", "id": 77, "message": "success",
               "data": {"size": len(data) if size is None else size, "version": "3", "url": url, "sign": digest, "signMethod": method}}
    cloud.post(f"/devices/{PK}/{device_name(0)}/raw", json.dumps(payload).encode(),
               query={"topic": f"/ota/device/upgrade/{PK}/{device_name(0)}"})


@pytest.mark.parametrize("what, step", [
    (dict(digest="0" * 64), -3), (dict(size=len(FIRMWARE) - 1), -3), (dict(size=len(FIRMWARE) + 1), -3),
    (dict(digest="12"), -3), (dict(method="MD5", digest="f" * 32), -3)])
def test_a_file_that_is_not_what_was_announced_never_reaches_the_device(trucks, what, step):
    cloud, gateway, t = trucks
    with Server(lambda h: reply(h, FIRMWARE)) as server:
        notice(cloud, server.url, **what)
        wait_until(lambda: steps(cloud) == [step], f"progress {step}")
    assert gateway.stats()["firmware.failed"] == 1
    assert "of-this-link" not in gateway.process.stderr()
    assert t.report_acked() == 0  # the very next thing it hears: nothing of the upgrade came before


@pytest.mark.parametrize("status", [404, 500])
def test_a_download_that_fails_is_progress_minus_two(trucks, status):
    cloud, gateway, t = trucks
    asked = []
    with Server(lambda h: (asked.append(1), reply(h, b"no", status))) as server:
        notice(cloud, server.url)
        wait_until(lambda: steps(cloud) == [-2], "progress -2")
    assert len(asked) == (1 if status == 404 else 3)
    assert t.report_acked() == 0


def test_an_interrupted_download_is_resumed_with_a_range_even_after_a_restart(trucks):
    cloud, gateway, t = trucks
    ranges = []

    def half(h):
        ranges.append(h.headers.get("Range"))
        start = int(ranges[-1].split("=")[1].split("-")[0]) if ranges[-1] else 0
        body = FIRMWARE[start:]
        h.send_response(206 if start else 200)
        h.send_header("Content-Length", str(len(body)))
        h.end_headers()
        h.wfile.write(body[:20_000])  # and then the connection ends
        h.close_connection = True
    with Server(half) as server:
        notice(cloud, server.url)
        assert take_upgrade(t)[2] == FIRMWARE
    assert ranges == [None, "bytes=20000-", "bytes=40000-"]


def test_a_server_that_stalls_is_given_up_and_one_without_ranges_starts_anew(trucks):
    cloud, gateway, t = trucks
    release = threading.Event()
    asked = []

    def stall(h):
        asked.append(h.headers.get("Range"))
        if len(asked) > 1:
            reply(h, FIRMWARE)  # the whole file, whatever was asked for
            return
        h.send_response(200)
        h.send_header("Content-Length", str(len(FIRMWARE)))
        h.end_headers()
        h.wfile.write(FIRMWARE[:10_000])
        h.wfile.flush()
        release.wait(60)
    with Server(stall) as server:
        notice(cloud, server.url)
        assert take_upgrade(t)[2] == FIRMWARE
        release.set()
    assert asked == [None, "bytes=10000-"]


def test_a_device_that_goes_while_its_file_is_on_the_way_is_told_nothing_and_the_gateway_stops_cleanly(trucks):
    cloud, gateway, t = trucks
    release = threading.Event()
    begun = threading.Event()

    def stall(h):
        begun.set()
        release.wait(60)
    with Server(stall) as server:
        notice(cloud, server.url)
        assert begun.wait(60)
        t.close()
        gateway.wait_stat("bridge.commands_offline", 1)
        gateway.process.stop()
        release.set()
