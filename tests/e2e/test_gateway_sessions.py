"""Terminals at the gateway's door and on its connections: who is let in, who stays, and what bad input costs."""
import socket
import ssl
import struct
import subprocess

import pytest
from conftest import wait_until
from gw import PK, device_name, phone, start_gateway, wait_reported, world  # noqa: F401
from terminal import Terminal, escape, frame, location
from test_identity import knock

STRANGER = "13999999999"


def heartbeat_works(t):
    serial = t.send(0x0002)
    assert t.expect_ack(serial, 0x0002) == 0


def logged_in(gateway, i=0, **options):
    t = gateway.terminal(i, **options)
    t.log_in()
    return t


def read_to_end(s):
    """Until the gateway has closed, however it does it."""
    try:
        while s.recv(65536):
            pass
    except ConnectionError:
        pass


# ---- who it is ------------------------------------------------------------------------------------


def test_an_unknown_terminal_is_told_so_closed_and_named_once_a_minute(world):
    """covers: M22"""
    _, gateway = world(listener="settings { unknownCloseDelay = 50ms }")
    for _ in range(3):
        with Terminal(gateway.address, STRANGER) as t:
            assert t.register() == 4
            assert t.is_closed()
    assert gateway.stats()["bridge.identify_unknown"] == 3
    assert len([line for line in gateway.log_lines("device.unknown") if STRANGER in line]) == 1


def test_an_unknown_terminal_may_stay_where_the_listener_keeps_it(world):
    """covers: M22"""
    _, gateway = world(listener="unknown = keep")
    with Terminal(gateway.address, STRANGER) as t:
        knock(t)
        knock(t)
        heartbeat_works(t)
        assert gateway.stats()["net.connections"] == 1
        assert gateway.stats()["pending.kept"] == 2


def test_what_a_terminal_reported_before_it_left_still_reaches_the_platform(world):
    """covers: M24 M25"""
    cloud, gateway = world()
    t = logged_in(gateway)
    assert t.report_acked(speed=444) == 0
    t.close()
    assert wait_reported(cloud, 0, "Speed") == 44.4
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    wait_until(lambda: gateway.status()["upstreams"][0]["queuedRecords"] == 0, "an empty queue")


def test_nobody_reports_before_he_is_identified(world):
    """covers: M24"""
    cloud, gateway = world()
    with gateway.terminal() as t:
        assert t.register() == 0
        t.report()
        heartbeat_works(t)
        assert cloud.device(PK, device_name(0))["status"] != "ONLINE"
    assert cloud.device(PK, device_name(0))["reported"] == {}


def test_a_wrong_code_is_refused_and_closed(world):
    _, gateway = world(listener="settings { authCloseDelay = 50ms }")
    with gateway.terminal() as t:
        assert t.register() == 0
        assert t.authenticate(b"WRONG-CODE-12345") == 1
        assert t.is_closed()
    assert gateway.stats()["bridge.devices_attached"] == 0


def test_a_frame_of_another_terminal_inside_a_session_is_dropped_and_counted(world):
    """covers: M06 M23"""
    cloud, gateway = world()
    with logged_in(gateway) as t:
        cloud.wait_status(PK, device_name(0), "ONLINE")
        t.send(0x0200, location(speed=777), phone=phone(1))
        assert t.report_acked(speed=500) == 0
        assert wait_reported(cloud, 0, "Speed") == 50
        assert cloud.device(PK, device_name(1))["reported"] == {}
        assert gateway.stats()["bridge.foreign_identity"] == 1
        gateway.wait_log("device.foreign")
        line = gateway.log_lines("device.foreign")[0]
        assert phone(0) in line and phone(1) in line


def test_a_second_connection_takes_over_and_the_platform_sees_nothing_of_it(world):
    """covers: M21 L06"""
    cloud, gateway = world()
    with logged_in(gateway) as old:
        cloud.wait_status(PK, device_name(0), "ONLINE")
        with logged_in(gateway) as new:
            assert old.is_closed()
            assert new.report_acked(speed=123) == 0
            assert wait_reported(cloud, 0, "Speed") == 12.3
            assert gateway.stats()["bridge.superseded"] == 1
            assert gateway.device(0)["superseded"] == 1
            logins = [m for m in cloud.messages(limit=1000) if "combine/" in m["topic"] and not m["topic"].endswith("_reply")]
            assert len(logins) == 1 and "logout" not in logins[0]["topic"], logins
            assert "device.offline" not in gateway.process.stderr()
    cloud.wait_status(PK, device_name(0), "OFFLINE")


def test_two_terminals_that_fight_for_one_identity_are_slowed_and_named(world):
    """covers: M21"""
    _, gateway = world()
    fighters = [logged_in(gateway) for _ in range(5)]  # the fifth is the fourth that takes it: from the next on they wait
    sixth = gateway.terminal()
    assert sixth.register() == 0
    sixth.send(0x0102, sixth.code)
    gateway.wait_log("device.contested")
    assert phone(0) in gateway.log_lines("device.contested")[0]
    heartbeat_works(fighters[-1])  # and as long as the other waits this one lives
    for t in fighters + [sixth]:
        t.close()
    gateway.wait_gauge("net.connections", 0)


def test_fifteen_hundred_reconnects_of_one_terminal_leave_no_session(world):
    """covers: M23 M25"""
    cloud, gateway = world(upstream="loginRate = 0")
    code = None
    for _ in range(1500):
        with gateway.terminal() as t:
            if code is None:
                t.log_in()
                code = t.code
            else:
                t.send(0x0102, code)
    gateway.wait_stat("net.accepted", 1500)  # the kernel may still hold some that this side has closed
    gateway.wait_gauge("net.connections", 0)
    gateway.wait_gauge("bridge.devices_attached", 0)
    with gateway.terminal() as t:
        assert t.authenticate(code) == 0
        assert t.report_acked() == 0
        stats = gateway.stats()
        assert stats["net.connections"] == 1 and stats["bridge.devices_attached"] == 1
        assert stats["net.accepted"] == 1501
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    gateway.wait_gauge("bridge.devices_online", 0)


def test_a_terminal_that_logs_out_goes_offline_and_may_log_in_again(world):
    """covers: M25"""
    cloud, gateway = world()
    with logged_in(gateway, 0) as t, logged_in(gateway, 1):
        cloud.wait_status(PK, device_name(0), "ONLINE")
        cloud.wait_status(PK, device_name(1), "ONLINE")
        serial = t.send(0x0003)
        assert t.expect_ack(serial, 0x0003) == 0
        cloud.wait_status(PK, device_name(0), "OFFLINE")
        assert cloud.device(PK, device_name(1))["status"] == "ONLINE"
        t.log_in()
        cloud.wait_status(PK, device_name(0), "ONLINE")


def test_a_device_that_must_be_online_is_refused_when_the_platform_refuses_it(world):
    """covers: M21 M22 K14"""
    cloud, gateway = world(listener="requireOnline = true, settings { authCloseDelay = 50ms }")
    cloud.post(f"/devices/{PK}/{device_name(0)}/disable")
    with gateway.terminal(0) as t:
        assert t.register() == 0
        assert t.authenticate() == 1
        assert t.is_closed()
    with logged_in(gateway, 1):
        assert cloud.device(PK, device_name(1))["status"] == "ONLINE"


def test_a_connection_that_waits_for_the_platform_is_overtaken_by_a_newer_one(world):
    """covers: M21"""
    cloud, gateway = world(listener="requireOnline = true")
    cloud.process.stop()
    wait_until(lambda: not gateway.status()["up"], "the upstream to go down")
    with gateway.terminal(0) as first, gateway.terminal(0) as second:
        for t, counter in ((first, "bridge.devices_attached"), (second, "bridge.superseded")):
            assert t.register() == 0
            t.send(0x0102, t.code)
            gateway.wait_stat(counter, 1)  # they may be on two workers: only this keeps their order
        cloud.restart()
        assert second.receive_id(0x8001).body[4] == 0
        assert second.report_acked() == 0
        cloud.wait_status(PK, device_name(0), "ONLINE")


# ---- deadlines and limits ---------------------------------------------------------------------------


def test_a_terminal_that_never_identifies_is_closed(world):
    _, gateway = world(listener="limits { identifyTime = 1s }")
    with gateway.terminal() as t:
        heartbeat_works(t)
        assert t.is_closed()
    gateway.wait_stat("net.closed_identify", 1)


def test_a_silent_terminal_is_closed_after_the_idle_time(world):
    cloud, gateway = world(listener="limits { idleTime = 1s }")
    with logged_in(gateway) as t:
        assert t.is_closed()
    gateway.wait_stat("net.closed_idle", 1)
    cloud.wait_status(PK, device_name(0), "OFFLINE")


def test_noise_is_counted_and_too_much_of_it_closes_the_connection(world):
    _, gateway = world()
    with gateway.raw() as s:
        s.sendall(b"\x55" * 65536)
        read_to_end(s)
    stats = gateway.stats()
    assert stats["plugin.closed_noise"] == 1 and stats["plugin.noise_bytes"] > 4096
    gateway.wait_log("frame.noise")


def test_a_little_noise_between_frames_costs_nothing(world):
    _, gateway = world()
    with logged_in(gateway) as t:
        for _ in range(20):
            t.sock.sendall(b"\x01\x02\x03" * 100)
            heartbeat_works(t)
        assert gateway.stats()["plugin.noise_bytes"] == 6000


def test_a_peer_that_never_reads_is_closed_at_its_limit(world):
    """covers: M33"""
    _, gateway = world(listener="limits { bytesPerConnection = 4KiB }")
    host, port = gateway.address.rsplit(":", 1)
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(30)
    s.connect((host, int(port)))
    many = b"".join(frame(0x0002, phone(0), n) for n in range(5000))
    with s, pytest.raises(ConnectionError):
        for _ in range(1000):
            s.sendall(many)
    gateway.wait_stat("net.closed_bytes", 1)
    gateway.wait_gauge("net.connections", 0)


def test_no_more_connections_than_the_limit(world):
    _, gateway = world(listener="limits { connections = 2 }")
    with gateway.terminal(0) as a, gateway.terminal(1) as b:
        heartbeat_works(a)
        heartbeat_works(b)
        with gateway.raw() as c:
            read_to_end(c)
        assert gateway.stats()["net.refused_connections"] == 1
        gateway.wait_log("net.refused")
    gateway.wait_gauge("net.connections", 0)
    with gateway.terminal(2) as c:
        heartbeat_works(c)


def test_no_more_connections_of_one_source_than_the_limit(world):
    _, gateway = world(listener="limits { connectionsPerSource = 1 }")
    with gateway.terminal(0) as a:
        heartbeat_works(a)
        with gateway.raw() as b:
            read_to_end(b)
        assert gateway.stats()["net.refused_source"] == 1


def test_connections_come_no_faster_than_the_accept_rate(world):
    _, gateway = world(listener="limits { acceptRate = 5 }")
    sockets = [gateway.raw() for _ in range(40)]
    gateway.wait_stat("net.refused_rate", 1)
    stats = gateway.stats()
    assert stats["net.accepted"] + stats["net.refused_rate"] <= 40
    for s in sockets:
        s.close()


@pytest.mark.parametrize("rules", ['deny = ["127.0.0.0/8"]', 'allow = ["192.0.2.0/24"]'])
def test_lists_say_who_may_connect(world, rules):
    _, gateway = world(listener=rules)
    with gateway.raw() as s:
        read_to_end(s)
    assert gateway.stats()["net.refused_list"] == 1


# ---- frames -----------------------------------------------------------------------------------------


def test_a_frame_torn_at_every_byte_is_one_frame(world):
    _, gateway = world()
    with logged_in(gateway) as t:
        before = gateway.stats()["plugin.frames_in"]
        whole = frame(0x0002, phone(0), 0x7e7d)
        for cut in range(1, len(whole)):
            seen = gateway.stats()["net.bytes_in"]
            t.sock.sendall(whole[:cut])
            gateway.wait_stat("net.bytes_in", seen + cut)
            t.sock.sendall(whole[cut:])
            assert t.expect_ack(0x7e7d, 0x0002) == 0
        stats = gateway.stats()
        assert stats["plugin.frames_in"] == before + len(whole) - 1
        assert stats["plugin.noise_bytes"] == 0 and stats["plugin.frames_malformed"] == 0


def test_glued_frames_are_all_answered_in_order(world):
    cloud, gateway = world()
    with logged_in(gateway) as t:
        t.sock.sendall(b"".join(frame(0x0200, phone(0), 1000 + n, location(speed=n)) for n in range(50)))
        for n in range(50):
            assert t.expect_ack(1000 + n, 0x0200) == 0
        wait_until(lambda: cloud.device(PK, device_name(0))["reported"].get("Speed", {}).get("value") == 4.9, "the last report")


def test_frames_that_share_a_delimiter_are_told_apart(world):
    _, gateway = world()
    with logged_in(gateway) as t:
        a, b = frame(0x0002, phone(0), 300), frame(0x0002, phone(0), 301)
        t.sock.sendall(a + b[1:])
        assert t.expect_ack(300, 0x0002) == 0 and t.expect_ack(301, 0x0002) == 0


def test_a_wrong_check_byte_costs_the_frame_and_not_the_session(world):
    _, gateway = world()
    with logged_in(gateway) as t:
        whole = bytearray(frame(0x0200, phone(0), 9, location()))
        whole[20] ^= 1
        t.sock.sendall(bytes(whole))
        heartbeat_works(t)
        assert gateway.stats()["plugin.frames_malformed"] == 1
        gateway.wait_log("frame.refused")
        assert phone(0) in gateway.log_lines("frame.refused")[0]


@pytest.mark.parametrize("length", [0, 5, 27, 29, 1000])
def test_a_length_that_does_not_fit_costs_no_more_than_the_frame(world, length):
    _, gateway = world(listener="settings { strict = true }")
    with logged_in(gateway) as t:
        head = struct.pack(">HH", 0x0200, length) + bytes.fromhex(phone(0).zfill(12)) + struct.pack(">H", 70)
        content = head + location()
        check = 0
        for byte in content:
            check ^= byte
        t.sock.sendall(b"\x7e" + escape(content + bytes([check])) + b"\x7e")
        heartbeat_works(t)
        assert gateway.stats()["plugin.frames_malformed"] == 1


def test_escapes_at_the_edge_of_a_frame_are_undone(world):
    _, gateway = world()
    found = {}
    for serial in range(65536):  # serials whose check byte has to be escaped: the escape is the frame's last content
        content = frame(0x0002, phone(0), serial)
        if content[-3:-2] == b"\x7d" and content[-2] in (1, 2):
            found.setdefault(content[-2], serial)
        if len(found) == 2:
            break
    with logged_in(gateway) as t:
        for serial in found.values():
            t.sock.sendall(frame(0x0002, phone(0), serial))
            assert t.expect_ack(serial, 0x0002) == 0
        assert gateway.stats()["plugin.frames_malformed"] == 0


@pytest.mark.parametrize("bad", [b"\x7e\x7d\x7e", b"\x7e\x7d\x03\x7e", b"\x7e" + b"\x00\x02\x7d" + b"\x7e", b"\x7e\x00\x7e",
                                 b"\x7e" + b"\xff" * 200 + b"\x7e"])
def test_broken_escapes_and_fragments_do_not_end_the_session(world, bad):
    _, gateway = world()
    with logged_in(gateway) as t:
        t.sock.sendall(bad)
        heartbeat_works(t)


def test_a_frame_without_end_closes_the_connection(world):
    _, gateway = world()
    with gateway.raw() as s:
        s.sendall(b"\x7e" + b"\x11" * 65536)
        read_to_end(s)
    stats = gateway.stats()
    assert stats["plugin.closed_partial"] + stats["plugin.noise_bytes"] > 0
    gateway.wait_gauge("net.connections", 0)


# ---- other ways in ----------------------------------------------------------------------------------


def certificate(dir):
    """A self-signed certificate of localhost: (certificate, key)."""
    cert, key = dir / "server.pem", dir / "server.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, capture_output=True)
    key.chmod(0o600)
    return cert, key


def test_a_terminal_may_come_over_tls(world, tmp_path):
    """covers: M03"""
    cert, key = certificate(tmp_path)
    cloud, gateway = world(transport="tls", listener=f'tls {{ certificate = "{cert}", key = "{key}" }}')
    context = ssl.create_default_context(cafile=cert)
    t = gateway.terminal(connect=False)
    t.connect(wrap=lambda s: context.wrap_socket(s, server_hostname="localhost"))
    with t:
        assert t.sock.version() == "TLSv1.2"
        t.log_in()
        for n in range(200):
            assert t.report_acked(speed=n) == 0
        wait_until(lambda: cloud.device(PK, device_name(0))["reported"].get("Speed", {}).get("value") == 19.9, "the last report")
    with gateway.raw() as s:
        s.sendall(frame(0x0002, phone(0), 1) * 10)
        read_to_end(s)
    gateway.wait_stat("net.tls_failed", 1)
    gateway.wait_log("net.tls_failed")


def test_a_terminal_may_come_over_udp(world):
    """covers: M03"""
    cloud, gateway = world(transport="udp")
    t = gateway.terminal(connect=False)
    host, port = gateway.address.rsplit(":", 1)
    t.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    t.sock.settimeout(30)
    t.sock.connect((host, int(port)))
    with t:
        t.log_in()
        assert t.report_acked(speed=321) == 0
        assert wait_reported(cloud, 0, "Speed") == 32.1
        t.sock.send(b"\x7e\x00")  # frames do not span datagrams
        t.sock.send(b"\x02\x7e")
        heartbeat_works(t)
        assert gateway.stats()["plugin.noise_bytes"] >= 2


def test_a_terminal_may_come_over_ipv6(world):
    """covers: M03"""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    cloud, gateway = world(listeners='{ name = six, protocol = jt808, address = "[::1]:0" }')
    with gateway.terminal(0, address=gateway.process.ready["listeners"]["six"]) as t:
        t.log_in()
        cloud.wait_status(PK, device_name(0), "ONLINE")
        assert t.report_acked() == 0


def proxy_v2(source, port):
    return (b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11]) + struct.pack(">H", 12) + socket.inet_aton(source)
            + socket.inet_aton("127.0.0.1") + struct.pack(">HH", port, 7611))


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.33 127.0.0.1 4711 7611\r\n", proxy_v2("192.0.2.33", 4711)], ids=["v1", "v2"])
def test_behind_a_balancer_the_terminal_is_known_by_its_own_address(world, header):
    """covers: M09"""
    cloud, gateway = world(listener='proxyFrom = ["127.0.0.1/32"], allow = ["192.0.2.33/32"]', extra="log { level = debug }")
    with gateway.terminal() as t:
        t.sock.sendall(header)
        t.log_in()
        cloud.wait_status(PK, device_name(0), "ONLINE")
    gateway.wait_log("net.closed")
    assert any("192.0.2.33:4711" in line for line in gateway.log_lines("net.closed"))
    with gateway.raw() as s:
        s.sendall(header.replace(b"192.0.2.33", b"192.0.2.44").replace(socket.inet_aton("192.0.2.33"), socket.inet_aton("192.0.2.44")))
        read_to_end(s)
    gateway.wait_stat("net.refused_list", 1)


def test_without_the_header_of_the_balancer_nobody_is_let_in(world):
    """covers: M09"""
    _, gateway = world(listener='proxyFrom = ["127.0.0.1/32"]')
    with gateway.raw() as s:
        s.sendall(frame(0x0002, phone(0), 1) * 10)
        read_to_end(s)
    gateway.wait_stat("net.proxy_bad", 1)
    gateway.wait_log("net.proxy_bad")


def test_both_header_generations_work_beside_each_other(world):
    """covers: M03"""
    cloud, gateway = world()
    with gateway.terminal(0, version=2019) as new, gateway.terminal(1) as old:
        for i, t in enumerate((new, old)):
            t.log_in()
            assert t.report_acked(speed=100 * (i + 1)) == 0
            assert wait_reported(cloud, i, "Speed") == 10 * (i + 1)


def test_a_connection_cut_in_the_middle_of_a_frame_leaves_nothing(world):
    _, gateway = world()
    whole = frame(0x0200, phone(0), 9, location())
    for cut in range(1, len(whole), 3):
        t = logged_in(gateway, 0) if cut == 1 else gateway.terminal(0)
        t.sock.sendall(whole[:cut])
        t.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        t.close()
    gateway.wait_gauge("net.connections", 0)
    gateway.wait_gauge("bridge.devices_attached", 0)
