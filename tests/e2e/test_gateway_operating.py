"""What an operator does with a running gateway: look, trace, reload, stop; and what wrong files say."""
import json
import os
import re
import signal
import subprocess

import pytest
from conftest import BUILD, ROOT, wait_until
from gw import (GW, PK, ask, device_name, device_path, phone, secret, start_gateway, wait_reported,  # noqa: F401
                world)
from terminal import Terminal, frame, location


def online(cloud, gateway, i=0, **options):
    t = gateway.terminal(i, **options).log_in()
    cloud.wait_status(PK, device_name(i), "ONLINE")
    return t


def entry(i, name=None, key=None):
    return (f"{phone(i)} {{ productKey : {PK}, deviceName : {name or device_name(i)}, "
            f"deviceSecret : {key or secret(i)} }}\n")


def run(*args, **options):
    return subprocess.run([BUILD / "bin" / args[0], *args[1:]], capture_output=True, text=True, timeout=60, **options)


# ---- looking ----------------------------------------------------------------------------------------


def test_status_says_what_is_up_and_its_exit_status_too(world):
    """covers: A12 M20"""
    cloud, gateway = world()
    with online(cloud, gateway):
        done = gateway.cli("status")
        assert "up " in done.stdout and "1 connected, 1 online" in done.stdout and gateway.address in done.stdout
        status = json.loads(gateway.cli("status", "--json").stdout)
        assert status["up"] and status["devices"] == {"known": 3, "attached": 1, "online": 1}
        cloud.process.stop()
        wait_until(lambda: gateway.cli("status", check=False).returncode == 1, "status to fail")
        assert "DOWN" in gateway.cli("status", check=False).stdout
    gateway.process.stop()
    done = gateway.cli("status", check=False)
    assert done.returncode == 1 and "is causewayd running" in done.stderr


def test_every_counter_is_shown_and_described(world):
    """covers: M20"""
    _, gateway = world()
    shown = json.loads(gateway.cli("stats", "--json").stdout)
    lines = gateway.cli("stats").stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(shown)
    listed = {f"{module}.{name}" for module, name in
              re.findall(r"X\((?:COUNTER|GAUGE), (\w+), (\w+),", (ROOT / "src/base/stat_list.h").read_text())}
    assert listed <= set(shown) and any(name.startswith("plugin.jt808.") for name in shown)
    reference = run("causeway", "config", "reference").stdout
    assert [name for name in sorted(listed) if name not in reference] == []


def test_devices_are_listed_shown_and_kicked(world):
    """covers: M25 M31"""
    cloud, gateway = world()
    with online(cloud, gateway, 0) as t, online(cloud, gateway, 1) as other:
        listed = json.loads(gateway.cli("device", "list", "--json").stdout)
        assert sorted(d["identity"] for d in listed) == [phone(0), phone(1)]
        assert json.loads(gateway.cli("device", "list", "--state", "offline", "--json").stdout) == []
        shown = gateway.cli("device", "show", phone(0)).stdout
        assert PK in shown and device_name(0) in shown and "online" in shown
        assert "never seen" in gateway.cli("device", "show", phone(2)).stdout
        done = gateway.cli("device", "show", "13999999999", check=False)
        assert done.returncode == 1 and "devices.conf" in done.stderr
        gateway.cli("device", "kick", phone(0))
        assert t.is_closed()
        cloud.wait_status(PK, device_name(0), "OFFLINE")
        assert other.report_acked() == 0
        done = gateway.cli("device", "kick", phone(0), check=False)
        assert done.returncode == 1 and "connected" in done.stderr
    with online(cloud, gateway, 0):
        pass


class Trace:
    """`causeway trace` in the background."""

    def __init__(self, gateway, identity, name="one"):
        self.file = gateway.dir / f"{name}.trace"
        self.out = gateway.dir / f"{name}.out"
        with open(self.out, "wb") as out:
            self.process = subprocess.Popen([BUILD / "bin" / "causeway", "trace", identity, "--control",
                                             f"unix:{gateway.control}", "--record", self.file], stdout=out,
                                            stderr=subprocess.DEVNULL)

    def lines(self):
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def wait(self, what, hexes=""):
        return wait_until(lambda: [m for m in self.lines() if m["what"] == what and hexes in m.get("hex", "")],
                          f"{what} {hexes} in the trace")[0]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


def test_a_trace_shows_frames_both_ways_commands_and_settles_to_everybody_who_follows(world):
    """covers: M23 M42"""
    cloud, gateway = world(listener="ack = delivered")
    with online(cloud, gateway) as t:
        traces = [Trace(gateway, phone(0), name) for name in ("one", "two")]
        try:
            for trace in traces:  # followed once a frame of the connection that is there shows up
                wait_until(lambda: t.send(0x0002) is not None and trace.lines(), "the trace to begin")
            where = frame(0x0200, phone(0), 900, location(speed=15))
            t.sock.sendall(where)
            assert t.expect_ack(900, 0x0200) == 0
            join = ask(cloud, 0, "/properties", {"HeartbeatInterval": 60})
            t.general_reply(t.receive_id(0x8103))
            assert join()[1]["reply"]["code"] == 200
            t.sock.sendall(b"\x01\x02\x03" + frame(0x0002, phone(0), 901))
            assert t.expect_ack(901, 0x0002) == 0
            gateway.cli("device", "kick", phone(0))
            for trace in traces:
                trace.wait("in", where.hex())
                trace.wait("out")
                trace.wait("settled")
                trace.wait("command")
                trace.wait("answered")
                trace.wait("noise", "010203")
                trace.wait("leave")
                trace.wait("closed")
                assert "settled" in trace.out.read_text()
        finally:
            for trace in traces:
                trace.stop()
    assert [trace.file.stat().st_mode & 0o777 for trace in traces] == [0o600] * 2  # terminals' codes are in it


def test_a_trace_begins_with_the_next_connection_of_a_device_that_is_not_there(world):
    """covers: M23"""
    cloud, gateway = world()
    trace = Trace(gateway, phone(0))
    try:
        code = None

        def comes():
            nonlocal code
            with gateway.terminal(0) as t:
                if code is None:
                    t.log_in()
                    code = t.code
                else:
                    t.authenticate(code)
                t.report_acked()
            return trace.lines()
        wait_until(comes, "the trace of a later connection")
        trace.wait("attached")
        trace.wait("in")
        trace.wait("closed")
    finally:
        trace.stop()


# ---- reload -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["verb", "signal"])
def test_a_reload_touches_only_what_has_changed(world, how):
    """covers: M16 M1D"""
    cloud, gateway = world(devices=4)
    cloud.add_device(PK, "fresh-01", "c" * 32)
    gateway.devices.write_text("".join(entry(i) for i in range(3)))
    gateway.reload()
    with online(cloud, gateway, 0) as same, online(cloud, gateway, 1) as changed, online(cloud, gateway, 2) as removed:
        gateway.devices.write_text(entry(0) + entry(1, "fresh-01", "c" * 32) + entry(3))
        if how == "verb":
            said = gateway.reload()
            assert "1 added, 1 removed, 1 changed, 1 unchanged" in said and "2 disconnected" in said
        else:
            gateway.process.signal(signal.SIGHUP)
            gateway.wait_stat("bridge.reloads", 2)
        assert changed.is_closed() and removed.is_closed()
        assert same.report_acked(speed=11) == 0
        cloud.wait_status(PK, device_name(1), "OFFLINE")
        cloud.wait_status(PK, device_name(2), "OFFLINE")
        with gateway.terminal(1) as back, gateway.terminal(3) as added, gateway.terminal(2) as stranger:
            back.log_in()
            cloud.wait_status(PK, "fresh-01", "ONLINE")
            added.log_in()
            cloud.wait_status(PK, device_name(3), "ONLINE")
            assert stranger.register() == 4
        stats = gateway.stats()
        assert stats["bridge.devices_known"] == 3
        assert wait_reported(cloud, 0, "Speed") == 1.1


@pytest.mark.parametrize("file, text, place", [
    ("devices", "13800000001 { productKey : \n", "devices.conf:"),
    ("config", "listeners = [ {{{\n", "application.conf:"),
])
def test_a_bad_file_changes_nothing_and_is_named_with_its_line(world, file, text, place):
    """covers: M16 M1D"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        path = getattr(gateway, file)
        path.write_text(path.read_text() + text)
        done = gateway.cli("reload", check=False)
        assert done.returncode == 1 and "nothing changed" in done.stderr
        assert re.search(re.escape(place) + r"\d+", done.stderr), done.stderr
        assert gateway.stats()["bridge.reloads_failed"] == 1
        gateway.wait_log("daemon.reload_failed")
        assert t.report_acked() == 0
        assert gateway.stats()["bridge.devices_known"] == 3


def test_an_entry_that_lacks_a_key_is_skipped_counted_and_named(world):
    """covers: M1D"""
    cloud, gateway = world()
    gateway.devices.write_text(entry(0) + f"{phone(1)} {{ productKey : {PK}, deviceName : {device_name(1)} }}\n")
    assert "1 skipped" in gateway.reload()
    assert gateway.stats()["bridge.entries_skipped"] == 1
    gateway.wait_log("identity.skipped")
    assert "devices.conf:2" in gateway.log_lines("identity.skipped")[0]
    done = run("causeway", "config", "check", gateway.config)
    assert done.returncode == 1 and "devices.conf:2" in done.stderr
    with online(cloud, gateway, 0):
        pass


def listener(name, more=""):
    return f'{{ name = {name}, protocol = jt808, address = "127.0.0.1:0" {more} }}'


def test_listeners_come_and_go_with_a_reload(world):
    """covers: M16"""
    cloud, gateway = world()
    with online(cloud, gateway, 0) as stays:
        gateway.write_config(listeners=listener("cars"))
        gateway.reload()
        [address] = [x["address"] for x in gateway.status()["listeners"] if x["name"] == "cars"]
        with gateway.terminal(1, address=address) as t:
            t.log_in()
            cloud.wait_status(PK, device_name(1), "ONLINE")
            gateway.write_config(listeners="")
            gateway.reload()
            assert t.is_closed()
        cloud.wait_status(PK, device_name(1), "OFFLINE")
        assert [x["name"] for x in gateway.status()["listeners"]] == ["trucks"]
        with pytest.raises(ConnectionError):
            gateway.raw(address)
        assert stays.report_acked() == 0


def test_changed_rules_of_a_listener_apply_to_new_connections(world):
    """covers: M16"""
    cloud, gateway = world()
    with online(cloud, gateway, 0) as old:
        gateway.write_config(listener="ack = delivered, limits { idleTime = 1s }")
        gateway.reload()
        with online(cloud, gateway, 1) as new:
            fault = cloud.fault("stall")
            assert old.report_acked() == 0
            serial = new.report()
            gateway.wait_stat("lane.in_flight", 2)
            cloud.delete(f"/faults/{fault['id']}")
            assert new.expect_ack(serial, 0x0200) == 0
            assert new.is_closed()
        assert old.report_acked() == 0
        assert gateway.stats()["net.closed_idle"] == 1


def test_a_listener_that_cannot_be_made_takes_the_others_back(world):
    """covers: M16"""
    cloud, gateway = world()
    with online(cloud, gateway, 0) as t:
        gateway.write_config(listener="ack = delivered", listeners=listener("cars") + "\n" + listener("ghost").replace(
            "127.0.0.1:0", "192.0.2.1:7611"))
        done = gateway.cli("reload", check=False)
        assert done.returncode == 1 and "ghost" in done.stderr and "nothing changed" in done.stderr
        wait_until(lambda: [x["name"] for x in gateway.status()["listeners"]] == ["trucks"], "the old listeners")
        fault = cloud.fault("stall")
        with gateway.terminal(1) as new:  # answers on arrival, as before
            new.log_in()
            assert new.report_acked() == 0
        cloud.delete(f"/faults/{fault['id']}")
        assert t.report_acked() == 0


def test_what_needs_a_restart_is_named(world):
    """covers: M16"""
    _, gateway = world()
    gateway.write_config(upstream="ackTimeout = 5s")
    assert "needs a restart: upstreams" in gateway.reload()
    gateway.write_config(upstream="", extra="commands { queue = 3 }")
    said = gateway.reload()
    assert "commands" in said
    gateway.write_config(extra="log { level = debug }")
    gateway.reload()
    with gateway.terminal() as t:
        t.log_in()
    gateway.wait_log("net.closed")


# ---- starting and stopping --------------------------------------------------------------------------


def test_the_stop_verb_ends_the_gateway_and_its_control_socket(world):
    """covers: M25"""
    cloud, gateway = world()
    with online(cloud, gateway):
        gateway.cli("stop")
        assert gateway.process.wait() == 0
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    cloud.wait_status(*GW, "OFFLINE")
    assert not gateway.control.exists() and not gateway.process.ready_file.exists()
    assert "daemon.stopped" in gateway.process.stderr()


def test_a_second_gateway_on_one_state_directory_is_refused(world):
    _, gateway = world()
    done = run("causewayd", "-c", gateway.config)
    assert done.returncode == 1 and "in use by another causewayd" in done.stderr
    assert gateway.status()["up"]


def test_after_a_kill_the_gateway_starts_again_and_knows_the_codes(world):
    """covers: M23 H25"""
    cloud, gateway = world()
    with online(cloud, gateway) as t:
        code = t.code
    gateway.wait_gauge("bridge.devices_attached", 0)
    gateway.process.stop()
    gateway.process.start()
    gateway.wait_up()
    with gateway.terminal() as t:
        assert t.authenticate(code) == 0
        cloud.wait_status(PK, device_name(0), "ONLINE")
        gateway.process.kill()
        assert gateway.control.exists()  # nobody has tidied up
    gateway.process.start()
    gateway.wait_up()
    with gateway.terminal() as t:
        assert t.authenticate(code) == 0
        assert t.report_acked(speed=4) == 0
        assert wait_reported(cloud, 0, "Speed") == 0.4


def test_the_log_as_json_is_json_line_by_line(world):
    cloud, gateway = world(extra="log { format = json, level = debug }", listener="settings { unknownCloseDelay = 20ms }")
    with online(cloud, gateway) as t, Terminal(gateway.address, "13999999999") as stranger:
        stranger.register()
        t.sock.sendall(b"\x7e\xff\xfe\"\\\n\x7e")
        t.send(0x0200, location(), phone="13999999998")
        t.report_acked()
    gateway.process.stop()
    lines = [json.loads(line) for line in gateway.process.stderr().splitlines()]
    assert {"daemon.ready", "device.unknown", "device.foreign", "daemon.stopped"} <= {line["id"] for line in lines}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]) for line in lines)


def test_no_secret_is_written_anywhere(world):
    """covers: O04"""
    cloud, gateway = world(extra="log { level = debug }", listener="settings { authSecret = topsecretcode1 }")
    trace = Trace(gateway, phone(0))
    with online(cloud, gateway) as t:
        t.report_acked()
        gateway.devices.write_text(gateway.devices.read_text().replace(secret(2), "d" * 32))
        gateway.reload()
        said = gateway.cli("status", "--json").stdout + gateway.cli("device", "list", "--json").stdout + gateway.cli("stats").stdout
        said += gateway.cli("device", "show", phone(0)).stdout + run("causeway", "config", "check", gateway.config).stdout
    trace.stop()
    gateway.process.stop()
    said += gateway.process.stderr() + gateway.process.stdout() + trace.file.read_text() + trace.out.read_text()
    for text in [secret("gw"), "d" * 32, "topsecretcode1", *(secret(i) for i in range(3))]:
        assert text not in said
    for path in (gateway.dir / "state").rglob("*"):
        assert not path.is_file() or secret(0).encode() not in path.read_bytes()


def test_a_file_that_everybody_may_read_is_warned_about(world):
    _, gateway = world()
    gateway.devices.chmod(0o644)
    gateway.config.chmod(0o644)
    gateway.process.restart()
    for name in ("devices.conf", "application.conf"):
        gateway.wait_log(f"chmod o-rwx {gateway.dir}/{name}")


def test_version_and_help_are_told(world):
    for program in ("causewayd", "causeway"):
        done = run(program, "--version")
        assert done.returncode == 0
        for word in ("plugin ABI", "libuv", "Paho", "Mbed TLS", "OpenSSL", "SQLite"):
            assert word in done.stdout
        done = run(program, "--help")
        assert done.returncode == 0 and "usage:" in done.stdout
    assert run("causewayd", "--nonsense").returncode == 2
    assert run("causeway", "nonsense").returncode == 2
    assert run("causeway", "status", "--control", "tcp:1").returncode == 2


# ---- wrong configurations ---------------------------------------------------------------------------

GOOD = f"""
productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = 0123456789abcdef0123456789abcdef
stateDir = "STATE", control = "unix:STATE.sock"
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ cloud {{ endpoint = "tcp://127.0.0.1:9" }} }}
"""


def check(tmp_path, text, devices=""):
    """config check of a file: (exit status, what it said)."""
    config = tmp_path / "application.conf"
    config.write_text(text.replace("STATE", str(tmp_path / "state")))
    config.chmod(0o600)
    (tmp_path / "devices.conf").write_text(devices)
    (tmp_path / "devices.conf").chmod(0o600)
    done = run("causeway", "config", "check", config)
    return done.returncode, done.stdout + done.stderr


def test_a_good_file_is_fine(tmp_path):
    """covers: M11 M12"""
    status, said = check(tmp_path, GOOD, entry(0))
    assert status == 0 and "1 listeners, 1 upstreams, 1 devices" in said


@pytest.mark.parametrize("wrong, told", [
    (("deviceSecret = 0123456789abcdef0123456789abcdef", ""), ["deviceSecret"]),
    (("protocol = jt808", "protocol = jt809"), ["application.conf:4:", "jt809", "there are:", "jt808"]),
    (("address =", "adress ="), ["application.conf:4", "adress", "address"]),
    (('"tcp://127.0.0.1:9"', '"http://127.0.0.1:9"'), ["endpoint"]),
    (("listeners =", "http2Endpoint = x, listeners ="), ["platform", "authEndpoint"]),
    (('"127.0.0.1:0"', '"127.0.0.1:99999"'), ["application.conf:4:", "127.0.0.1:99999"]),
    (("name = trucks", "name = trucks, transport = tls"), ["tls", "certificate"]),
    (("name = trucks", "name = trucks, ack = journaled"), ["journaled", "received"]),
    (("name = trucks", "name = trucks, settings { timezone = Moon }"), ["application.conf:4:", "trucks", "timezone", "Moon"]),
    (("name = trucks", "name = trucks, settings { timezon = UTC }"), ["application.conf:4:53", "timezon", '"timezone"']),
    (("upstreams {", "protocols.jt808 { strict = maybe }, upstreams {"), ["application.conf:5:28", "strict", "maybe"]),
    (("name = trucks", "name = trucks, limits { idleTime = 1 fortnight }"), ["idleTime"]),
    (("protocol = jt808", "protocol = skeleton, transport = udp"), ["application.conf:4:", "skeleton", "UDP"]),
    (("upstreams {", "routes = [ { upstream = nowhere } ], upstreams {"), ["nowhere"]),
    (("cloud {", "cloud { qos = 2,"), ["qos", "2"]),
])
def test_a_wrong_setting_is_named_with_what_would_be_right(tmp_path, wrong, told):
    """covers: M12 M14 H05"""
    assert wrong[0] in GOOD
    status, said = check(tmp_path, GOOD.replace(*wrong))
    assert status == 1, said
    for word in told:
        assert word in said, (word, said)
    done = run("causewayd", "-c", tmp_path / "application.conf")
    assert done.returncode == 1, done.stderr
    assert "daemon.failed" in done.stderr
    assert not (tmp_path / "state.sock").exists()


NO_LISTENERS = "".join(f"{line}\n" for line in GOOD.splitlines() if not line.startswith("listeners"))


@pytest.mark.parametrize("server, told", [
    ("address = \"127.0.0.1\", ports = [9123]", ["application.conf", "protocol", "there are:", "jt808"]),
    ("protocol = jt808, listenType = sctp", ["listenType", "sctp", "tcp"]),
    ("protocol = jt808, keyStoreFile = none.p12", ["application.conf:3:3", "key store", "none.p12", "cannot be read"]),
    ("protocol = jt808, keyStoreFile = old.jks", ["application.conf:3:3", "JKS", "keytool -importkeystore", "PKCS12"]),
    ("protocol = jt808, adress = localhost", ["adress", "address"]),
    ("protocol = jt808, ports = [99999]", ["99999"]),
])
def test_a_wrong_socket_server_of_the_java_library_is_refused_with_what_to_do(tmp_path, server, told):
    """covers: M11 M12"""
    (tmp_path / "old.jks").write_bytes(bytes.fromhex("feedfeed00000002") + bytes(32))  # how a JKS file begins
    server = server.replace("old.jks", f'"{tmp_path}/old.jks"')
    status, said = check(tmp_path, NO_LISTENERS + f"socketServer {{ {server} }}")
    assert status == 1
    for word in told:
        assert word in said, (word, said)


def test_a_socket_server_of_the_java_library_is_a_listener(world):
    """covers: M11"""
    _, gateway = world()
    gateway.process.stop()
    text = gateway.config.read_text()
    start, end = text.index("listeners = ["), text.index("upstreams {")
    server = 'socketServer { address = "127.0.0.1", ports = [0], listenType = tcp, backlog = 100, unsecured = true }\n'
    gateway.config.write_text(text[:start] + server + text[end:])
    gateway.process.args += ["--protocol", "jt808"]
    gateway.process.start()
    with gateway.terminal(address=gateway.process.ready["listeners"]["socketServer-0"]) as t:
        t.log_in()
    assert "daemon.reload_failed" not in gateway.reload() + gateway.process.stderr()


def test_an_unknown_key_is_warned_about_with_the_nearest_known_one(tmp_path):
    """covers: M12"""
    status, said = check(tmp_path, GOOD.replace("listeners =", "worker = 3, listeners ="))
    assert status == 0 and "worker" in said and "workers" in said


def test_a_file_that_is_not_there_is_said_so(tmp_path):
    done = run("causewayd", "-c", tmp_path / "nowhere.conf")
    assert done.returncode == 1 and "nowhere.conf" in done.stderr
    done = run("causeway", "config", "check", tmp_path / "nowhere.conf")
    assert done.returncode == 1 and "nowhere.conf" in done.stderr


def test_what_devices_want_kept_is_for_the_gateway_alone(world):
    """covers: M12"""
    _, gateway = world()
    with gateway.terminal() as t:
        t.log_in()
    state = gateway.dir / "state"
    assert state.stat().st_mode & 0o777 == 0o700
    assert {f.name: oct(f.stat().st_mode & 0o777) for f in state.iterdir() if f.is_file() and f.stat().st_mode & 0o077} == {}


def test_a_corrupt_state_file_stops_the_start_with_its_name(world):
    _, gateway = world()
    gateway.process.stop()
    state = gateway.dir / "state"
    for beside in state.glob("devices.db-*"):
        beside.unlink()
    (state / "devices.db").write_bytes(b"this is no database at all, whatever its name says" * 100)
    done = run("causewayd", "-c", gateway.config)
    assert done.returncode == 1 and "devices.db" in done.stderr
    os.unlink(state / "devices.db")
    gateway.process.start()
    gateway.wait_up()
