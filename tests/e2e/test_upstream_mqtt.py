"""The MQTT upstream against the emulator: WebSocket, certificates, packs, several bridges, what the bridge does for itself."""
import json
import os
import re
import socket
import subprocess
import threading

import pytest
from conftest import wait_until
from gw import GW, PK, cloud_conf, device_name, phone, secret, start_gateway, wait_reported, world  # noqa: F401

PACK = "/sys/+/+/thing/event/property/pack/post"
PACKS = "confirm = reply, packs { enabled = true, age = 30ms }"
DELIVERED = "ack = delivered"


def endpoint(cloud, scheme, host=None, path=""):
    return f"{scheme}://{host or cloud.mqtt[0]}:{cloud.mqtt[1]}{path}"


def one_report(cloud, gateway, speed=605):
    with gateway.terminal(0).log_in() as t:
        assert t.report_acked(speed=speed) == 0
        assert wait_reported(cloud, 0, "Speed") == speed / 10


def session(cloud, device=GW):
    return cloud.device(*device)["session"]


# ---- channels ----

@pytest.mark.parametrize("scheme,path,tls", [("ws", "", False), ("ws", "/mqtt", False), ("wss", "", True), ("ssl", "", True)])
def test_every_channel_carries_the_same_thread(start_cloud, start_gateway, scheme, path, tls):
    """covers: H50 H51 H09"""
    cloud = start_cloud(cloud_conf(1))
    gateway = start_gateway(cloud, devices=1, listener=DELIVERED, endpoint=endpoint(cloud, scheme, path=path),
                            extra=f'ca = "{cloud.ca}"').wait_up()
    one_report(cloud, gateway)
    seen = session(cloud)
    assert (seen["tls"], seen["websocket"]) == (tls, scheme.startswith("ws"))
    assert len(gateway.log_lines("upstream.plain")) == (0 if tls else 1)


@pytest.mark.parametrize("scheme", ["ssl", "wss"])
def test_an_authority_that_is_not_trusted_ends_it(start_cloud, start_gateway, tmp_path, scheme):
    """covers: H10 H52"""
    cloud = start_cloud(cloud_conf(1))
    other = tmp_path / "other.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=somebody else", "-keyout",
                    tmp_path / "other.key", "-out", other], check=True, capture_output=True)
    gateway = start_gateway(cloud, devices=1, endpoint=endpoint(cloud, scheme), extra=f'ca = "{other}"')
    gateway.wait_log("certificate verify failed")
    assert not gateway.status()["up"]
    assert cloud.device(*GW)["status"] != "ONLINE"


@pytest.mark.parametrize("scheme,more", [("tcp", ""), ("ws", ""), ("ssl", "client = mosquitto"), ("wss", "tls { verify = false }")])
def test_an_ipv6_address_is_an_endpoint(start_cloud, start_gateway, scheme, more):
    """covers: H70"""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no ::1 here")
    cloud = start_cloud(cloud_conf(1).replace('mqtt = "127.0.0.1:0"', 'mqtt = "[::1]:0"'))
    gateway = start_gateway(cloud, devices=1, listener=DELIVERED, endpoint=endpoint(cloud, scheme, host="[::1]"), upstream=more,
                            extra=f'ca = "{cloud.ca}"').wait_up()
    one_report(cloud, gateway)


@pytest.mark.parametrize("upstream,complaint", [
    ("qos = 2", "qos"), ("keepAlive = 29s", "keepAlive"), ("keepAlive = 1201s", "keepAlive"),
    ("packs { count = 21 }", "packs.count"), ('tls { minVersion = "1.3" }', "minVersion"),
    ('tls { minVersion = "1.1" }', "minVersion"), ('client = mosquitto, endpoint = "wss://localhost:443"', "client = paho"),
    ('endpoint = "wss://[::1]:443"', "IPv6"), ('endpoint = "ftp://localhost:443"', "ws:// or wss://"),
])
def test_settings_the_platform_would_refuse_are_errors(tmp_path, upstream, complaint):
    """covers: H05 H08 H14 H17"""
    from conftest import BUILD
    conf = tmp_path / "application.conf"
    (tmp_path / "devices.conf").write_text("")
    conf.write_text(f"""
productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {secret("gw")}
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ cloud {{ endpoint = "ssl://localhost:1883", {upstream} }} }}
""")
    conf.chmod(0o600)
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", conf], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and complaint in done.stderr + done.stdout, (done.stdout, done.stderr)


# ---- certificates ----

def with_certificates(text):
    return text.replace(f"productKey = {GW[0]}, productSecret = GwPs0123456789AB, nodeType = gateway",
                        f"productKey = {GW[0]}, nodeType = gateway, authentication = x509") \
               .replace(f'deviceName = {GW[1]}, deviceSecret = {secret("gw")}', f"deviceName = {GW[1]}")


@pytest.fixture
def certified(start_cloud, start_gateway, tmp_path):
    cloud = start_cloud(with_certificates(cloud_conf(1)))
    got = cloud.get(f"/devices/{GW[0]}/{GW[1]}/certificate")
    for kind in ("certificate", "privateKey"):
        path = tmp_path / f"{kind}.pem"
        path.write_text(got[kind])
        path.chmod(0o600)
    gateway = start_gateway(cloud, devices=1, listener=DELIVERED, identity="", endpoint=endpoint(cloud, "ssl"),
                            extra=f'ca = "{cloud.ca}"', upstream=f'tls {{ certificate = "{tmp_path}/certificate.pem", '
                            f'key = "{tmp_path}/privateKey.pem" }}').wait_up()
    return cloud, gateway


def names_file(gateway):
    return gateway.dir / "state" / "names-cloud"


def connects(cloud):
    return [m for m in cloud.messages(topic="/ext/auth/identity/response", limit=1000)]


def test_a_certificate_alone_is_enough(certified):
    """covers: F05 F06 F07 F08 F09 F12"""
    cloud, gateway = certified
    one_report(cloud, gateway)
    assert len(connects(cloud)) == 1  # pushed, because the first CONNECT named nobody
    assert session(cloud)["clientId"].startswith("causeway")
    assert names_file(gateway).read_text() == f"causeway-names 1 {GW[0]} {GW[1]}\n"
    assert os.stat(names_file(gateway)).st_mode & 0o777 == 0o600
    line = [x for x in gateway.log_lines("upstream.named")][0]
    assert GW[1] in line
    gateway.process.restart()
    gateway.wait_up()
    assert session(cloud)["clientId"].startswith(f"{GW[0]}.{GW[1]}")
    assert len(connects(cloud)) == 1
    one_report(cloud, gateway, speed=606)
    names_file(gateway).unlink()
    gateway.process.restart()
    gateway.wait_up()
    assert len(connects(cloud)) == 2
    assert names_file(gateway).exists()


def test_names_of_another_certificate_are_given_up(certified):
    cloud, gateway = certified
    gateway.process.stop()
    names_file(gateway).write_text(f"causeway-names 1 {GW[0]} somebody-else\n")
    gateway.process.start()
    gateway.wait_up()
    assert len(connects(cloud)) == 2
    assert names_file(gateway).read_text() == f"causeway-names 1 {GW[0]} {GW[1]}\n"


# ---- packs ----

def packed(cloud):
    """Device names of every pack the platform has taken or refused, in its order."""
    return [[s["identity"]["deviceName"] for s in json.loads(m["payload"])["params"]["subDevices"]]
            for m in cloud.messages(topic=PACK, direction="up", limit=500000)]


def log_in(gateway, count):
    terminals = [gateway.terminal(i).log_in() for i in range(count)]
    wait_until(lambda: gateway.status()["upstreams"][0]["devicesOnline"] == count, "all online")
    gateway.wait_gauge("lane.queued_records", 0)
    return terminals


def rounds(terminals, n, first=0):
    """n reports of every terminal, each waiting for its answer; what each was told."""
    told = [[] for _ in terminals]

    def one(i):
        for k in range(n):
            told[i].append(terminals[i].report_acked(speed=first + k))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(terminals))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return told


def reported_speeds(cloud, i):
    """What the platform took of device i, in its order, in packs and alone."""
    got = []
    for m in cloud.messages(direction="up", limit=500000):
        if not m["topic"].endswith("/post") or "property" not in m["topic"]:
            continue
        params = json.loads(m["payload"])["params"]
        members = params.get("subDevices", [{"identity": {"deviceName": m["topic"].split("/")[3]}, "properties": params}])
        got += [round(s["properties"]["Speed"]["value"] * 10) for s in members
                if s["identity"]["deviceName"] == device_name(i) and "Speed" in s.get("properties", {})]
    return got


def test_readings_of_several_devices_go_in_one_message(world):
    """covers: L07"""
    cloud, gateway = world(devices=8, listener=DELIVERED, upstream=PACKS)
    terminals = log_in(gateway, 8)
    assert rounds(terminals, 5) == [[0] * 5] * 8
    stats = gateway.stats()
    assert stats["upstream.packs"] > 0 and stats["upstream.packed"] > stats["upstream.packs"]
    assert max(len(p) for p in packed(cloud)) > 1
    for i in range(8):
        assert reported_speeds(cloud, i) == [0, 1, 2, 3, 4]
    assert stats["bridge.records_refused"] == 0


def test_a_refused_pack_comes_again_in_halves(world):
    cloud, gateway = world(devices=8, listener=DELIVERED, upstream="packs { enabled = true, age = 300ms }")
    terminals = log_in(gateway, 8)
    cloud.fault("refuse", topic=PACK, code=6306, count=2)
    assert rounds(terminals, 1) == [[0]] * 8
    stats = gateway.stats()
    assert stats["upstream.packs_split"] == 2 and stats["bridge.records_refused"] == 0
    assert gateway.log_lines("upstream.pack_split")
    for i in range(8):
        wait_reported(cloud, i, "Speed")


@pytest.mark.parametrize("fault", [{"kind": "duplicate"}, {"kind": "reorder", "ms": 200}, {"kind": "delay", "ms": 100}])
def test_replies_that_come_twice_late_or_in_another_order(world, fault):
    cloud, gateway = world(devices=8, listener=DELIVERED, upstream=PACKS)
    terminals = log_in(gateway, 8)
    cloud.fault(**fault, topic=PACK + "_reply", direction="down")
    assert rounds(terminals, 6) == [[0] * 6] * 8
    for i in range(8):
        assert reported_speeds(cloud, i) == list(range(6))
    assert gateway.stats()["bridge.records_refused"] == 0


def test_a_pack_without_a_reply_is_pending_and_comes_again_after_a_cut(world):
    cloud, gateway = world(devices=6, listener=DELIVERED, upstream=PACKS + ", ackTimeout = 1s")
    terminals = log_in(gateway, 6)
    fault = cloud.fault("drop", topic=PACK + "_reply", direction="down")
    told = rounds(terminals, 1)
    assert all(t in ([0], [1]) for t in told) and [1] in told  # who went alone had its reply
    cloud.delete(f"/faults/{fault['id']}")
    assert gateway.stats()["lane.in_flight"] > 0
    cloud.fault("cut")
    gateway.wait_gauge("lane.queued_records", 0)
    for i in range(6):
        assert set(reported_speeds(cloud, i)) == {0}
    assert rounds(terminals, 1, first=1) == [[0]] * 6
    stats = gateway.stats()
    assert stats["bridge.records_lost"] == stats["bridge.records_refused"] == 0


def test_a_cut_in_the_middle_of_packs_loses_nothing(world):
    """covers: H25"""
    cloud, gateway = world(devices=8, listener=DELIVERED, upstream=PACKS)
    terminals = log_in(gateway, 8)
    cloud.fault("cut", topic=PACK, direction="up", after=3, count=1)
    told = rounds(terminals, 8)
    gateway.wait_gauge("lane.queued_records", 0)
    for i in range(8):
        got = reported_speeds(cloud, i)
        assert sorted(set(got)) == list(range(8)), (got, told)
        firsts = [s for k, s in enumerate(got) if s not in got[:k]]
        assert firsts == list(range(8))
    assert gateway.stats()["upstream.disconnects"] >= 1


# ---- several bridges ----

def bridge(i):
    return GW[0], f"gw-{i + 1:04d}"


def bridges(n):
    return "bridges = [ " + ", ".join(f'{{ productKey = {GW[0]}, deviceName = {bridge(i)[1]}, deviceSecret = {secret(f"bridge{i}")} }}'
                                      for i in range(n)) + " ]"


def test_devices_spread_over_bridges_and_stay_where_they_are(start_cloud, start_gateway):
    """covers: L09"""
    count = 24
    stock = cloud_conf(count)
    gateways = "\n".join(f'  {{ productKey = {GW[0]}, deviceName = {bridge(i)[1]}, deviceSecret = {secret(f"bridge{i}")} }}'
                         for i in range(3))
    own = re.search(rf"  \{{ productKey = {GW[0]}, deviceName = {GW[1]}.*\n", stock).group(0)
    cloud = start_cloud(stock.replace(own, gateways + "\n"))
    gateway = start_gateway(cloud, devices=count, listener=DELIVERED, upstream=bridges(2), identity="").wait_up()

    def where():
        def ask():
            all_of = [cloud.device(PK, device_name(i)) for i in range(count)]
            return all(d["status"] == "ONLINE" for d in all_of) and [d["session"]["gateway"] for d in all_of]
        return wait_until(ask, "all devices online")

    def log_all_in():
        terminals = [gateway.terminal(i).log_in() for i in range(count)]
        found = where()
        for t in terminals:
            assert t.report_acked(speed=1) == 0
            t.close()
        return found

    first = log_all_in()
    assert set(first) == {f"{GW[0]}/{bridge(i)[1]}" for i in range(2)}
    gateway.process.restart()
    gateway.wait_up()
    assert log_all_in() == first
    gateway.process.stop()
    gateway.write_config(upstream=bridges(3))
    gateway.process.start()
    gateway.wait_up()
    third = log_all_in()
    moved = [b for a, b in zip(first, third) if a != b]
    assert 0 < len(moved) < count and set(moved) == {f"{GW[0]}/{bridge(2)[1]}"}


# ---- the bridge itself ----

def test_the_bridge_asks_the_time(world):
    """covers: K17"""
    cloud, gateway = world(devices=1)
    offset = wait_until(lambda: gateway.status()["upstreams"][0].get("clockOffsetMs", "none") != "none" and
                        [gateway.status()["upstreams"][0]["clockOffsetMs"]], "an offset")[0]
    assert abs(offset) < 5000


def test_the_bridge_posts_its_log_while_the_switch_is_on(world):
    """covers: K22"""
    cloud, gateway = world(devices=1)
    path = f"/devices/{GW[0]}/{GW[1]}/logs"
    assert cloud.get(path)["lines"] == []
    cloud.post(path, {"report": True})
    gateway.wait_log("upstream.log_switch")
    stranger = gateway.terminal(7)
    stranger.register()
    lines = wait_until(lambda: [x for x in cloud.get(path)["lines"] if x["code"] == "device.unknown"], "the line of a stranger")
    assert lines[0]["logLevel"] == "WARN" and lines[0]["module"] == "causeway" and phone(7) in lines[0]["logContent"]
    stranger.close()
    gateway.process.restart()  # asked for after the login, too
    gateway.wait_up()
    wait_until(lambda: len(gateway.log_lines("upstream.log_switch")) >= 1, "the switch after a restart")
    cloud.post(path, {"report": False})
    wait_until(lambda: "off" in gateway.log_lines("upstream.log_switch")[-1], "the switch off")
    assert gateway.told_secrets() == []
