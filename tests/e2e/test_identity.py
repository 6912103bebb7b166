"""Where identities come from: the file, the table of `causeway identity`, a look-up over HTTP, and the device itself."""
import contextlib
import http.server
import json
import os
import random
import re
import signal
import sqlite3
import struct
import subprocess
import threading
import time
import urllib.parse

import pytest
from conftest import BUILD, wait_until
from gw import GW, PK, ask, cloud_conf, device_name, devices_conf, phone, secret, start_gateway, world  # noqa: F401 - fixtures

TOKEN = "tkn-" + os.urandom(12).hex()


def entry(i, name=None, its_secret=None):
    return f"{phone(i)} {{ productKey : {PK}, deviceName : {name or device_name(i)}, deviceSecret : {its_secret or secret(i)} }}\n"


class Inventory:
    """Somebody's device inventory, as `identity.http` asks it. What it says can be changed at any time."""

    def __init__(self):
        self.devices, self.asked, self.headers = {}, [], []
        self.say = None  # a function (handler, query) that answers instead
        self.hold = threading.Event()
        self.hold.set()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                query = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
                outer.asked.append(query)
                outer.headers.append(dict(self.headers))
                outer.hold.wait(60)
                if outer.say is not None:
                    outer.say(self, query)
                else:
                    outer.answer(self, query)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/who"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def add(self, i, **more):
        self.devices[phone(i)] = {"identity": phone(i), "productKey": PK, "deviceName": device_name(i), "deviceSecret": secret(i), **more}

    def answer(self, handler, query):
        found = [d for d in self.devices.values() if all(d.get(k) == v for k, v in query.items())]
        reply(handler, 200 if found else 404, json.dumps(found[0] if found else {}))

    def close(self):
        self.hold.set()
        if self.thread.is_alive():
            self.server.shutdown()
            self.thread.join()
        self.server.server_close()


def reply(handler, status, text):
    body = text.encode()
    with contextlib.suppress(OSError):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)


@pytest.fixture
def inventory():
    one = Inventory()
    yield one
    one.close()


def http_settings(inventory, **more):
    settings = {"url": f'"{inventory.url}"', "token": TOKEN, **more}
    return "identity.http { " + ", ".join(f"{k} = {v}" for k, v in settings.items()) + " }\n"


def identity(gateway, *args, text="", status=0, env=None):
    """The verb as an operator types it; what it prints."""
    done = subprocess.run([BUILD / "bin" / "causeway", "identity", *map(str, args), "-c", gateway.config], input=text, text=True,
                          capture_output=True, timeout=120, env=env)
    assert done.returncode == status, (args, done)
    gateway.said = getattr(gateway, "said", "") + done.stdout + done.stderr
    return done.stdout if status == 0 else done.stderr


def knock(t):
    """Say who one is, and wait for nothing: the frame of a registration."""
    t.send(0x0100, struct.pack(">HH", 31, 100) + b"MAKER" + b"MODEL-1".ljust(20, b"\0") + b"T000001" + b"\x01A12345")


def logged_in(gateway, cloud, i):
    t = gateway.terminal(i)
    t.log_in()
    cloud.wait_status(PK, device_name(i), "ONLINE")
    return t


def in_file(gateway, *numbers):
    gateway.devices.write_text("".join(entry(i) for i in numbers))
    gateway.reload()


# ---- the table ------------------------------------------------------------------------------------


def test_an_entry_of_the_table_counts_from_the_moment_it_was_added_until_it_is_removed(world):
    """covers: M06 M07 M16 O04"""
    cloud, gateway = world(devices=3)
    in_file(gateway, 0)
    with gateway.terminal(1) as t:
        assert t.register() == 4  # nobody knows it; and that is remembered
    assert identity(gateway, "add", phone(1), PK, device_name(1), text=secret(1) + "\n") == "1 added, 0 changed, 0 unchanged\n"
    with logged_in(gateway, cloud, 0) as other, logged_in(gateway, cloud, 1) as t:
        assert t.report_acked(speed=7) == 0
        assert identity(gateway, "add", phone(1), PK, device_name(1), text=secret(1) + "\n") == "0 added, 0 changed, 1 unchanged\n"
        assert t.report_acked() == 0
        assert identity(gateway, "remove", phone(1)) == "removed\n"
        assert t.is_closed()
        cloud.wait_status(PK, device_name(1), "OFFLINE")
        assert other.report_acked() == 0
    with gateway.terminal(1) as t:
        assert t.register() == 4
    assert "no entry" in identity(gateway, "remove", phone(1), status=1)
    assert gateway.log_lines("identity.edited")


def test_a_changed_entry_disconnects_its_device_and_nobody_else(world):
    """covers: M16"""
    cloud, gateway = world(devices=3)
    in_file(gateway)
    csv = "﻿ProductKey, DeviceName ,note,DeviceSecret,originalIdentity\r\n" + "".join(
        f'"{PK}",{device_name(i)},"a ""note"", quoted",{secret(i)},{phone(i)}\r\n' for i in range(3)) + "\r\n"
    file = gateway.dir / "stock.csv"
    file.write_text(csv)
    file.chmod(0o600)
    assert identity(gateway, "import", file) == "3 added, 0 changed, 0 unchanged\n"
    cloud.add_device(PK, "other-02", "e" * 32)
    with logged_in(gateway, cloud, 0) as same, logged_in(gateway, cloud, 1) as changed:
        devices = gateway.dir / "some.conf"
        devices.write_text(entry(0) + entry(1, "other-02", "e" * 32))
        assert identity(gateway, "import", devices) == "0 added, 1 changed, 1 unchanged\n"
        assert changed.is_closed()
        assert same.report_acked() == 0
        with gateway.terminal(1) as back:
            back.log_in()
            cloud.wait_status(PK, "other-02", "ONLINE")
        gateway.reload()
        assert same.report_acked() == 0
    listed = json.loads(identity(gateway, "list", "--json"))
    assert [(e["identity"], e["deviceName"]) for e in listed] == [(phone(0), device_name(0)), (phone(1), "other-02"), (phone(2), device_name(2))]
    assert all(secret(i) not in gateway.said for i in range(3))


@pytest.mark.parametrize("name, text, told", [
    ("a.csv", "ProductKey,DeviceName\n", "no column DeviceSecret"),
    ("a.csv", "ProductKey,DeviceName,DeviceSecret\n" + f"{PK},ok-1,{'a' * 32}\n{PK},b?d,{'a' * 32}\n{PK},ok-1,{'a' * 32}\n",
     "a.csv:3: device \"b?d\": productKey or deviceName"),
    ("a.csv", f'ProductKey,DeviceName,DeviceSecret\n{PK},"ok-1,{"a" * 32}\n', "a quoted field"),
    ("a.conf", f"x {{ productKey : {PK}, deviceName : n }}\n", "a.conf:1:3: device \"x\": deviceSecret is missing"),
    ("nowhere.csv", None, "nowhere.csv: No such file"),
])
def test_a_file_that_is_wrong_anywhere_imports_nothing(world, name, text, told):
    """covers: M16 M1D"""
    _, gateway = world(devices=1)
    if text is not None:
        (gateway.dir / name).write_text(text)
    said = identity(gateway, "import", gateway.dir / name, status=1)
    assert told in said
    assert identity(gateway, "list") == ""


def test_without_the_gateway_the_table_is_edited_directly_and_a_secret_never_stands_on_the_command_line(world):
    """covers: M16 O04"""
    cloud, gateway = world(devices=3)
    in_file(gateway)
    gateway.process.stop()
    one = gateway.dir / "one.secret"
    one.write_text(secret(0) + "\n")
    assert identity(gateway, "add", phone(0), PK, device_name(0), f"file:{one}").startswith("1 added")
    assert identity(gateway, "add", phone(1), PK, device_name(1), text=secret(1)).startswith("1 added")
    refused = identity(gateway, "add", phone(2), PK, device_name(2), secret(2), status=2)
    assert "command line" in refused and secret(2) not in refused
    identity(gateway, "add", phone(2), PK, device_name(2), text="\n", status=1)
    identity(gateway, "add", phone(2), status=2)
    identity(gateway, "remove", "nobody", status=1)
    state = gateway.dir / "state"
    assert identity(gateway, "rekey") == "2 entries are encrypted with a new key\n"
    for file in ("identities.db", "identity.key"):
        assert (state / file).stat().st_mode & 0o777 == 0o600
    for file in state.iterdir():
        if file.is_file():
            assert secret(0).encode() not in file.read_bytes() and secret(1).encode() not in file.read_bytes(), file
    gateway.process.start()
    gateway.wait_up()
    with logged_in(gateway, cloud, 0), logged_in(gateway, cloud, 1):
        assert gateway.stats()["identity.table_entries"] == 2
        assert identity(gateway, "rekey") == "2 entries are encrypted with a new key\n"
        assert identity(gateway, "remove", phone(1)) == "removed\n"


def test_a_row_that_was_tampered_with_and_a_wrong_key_are_said_clearly(world):
    """covers: O04"""
    cloud, gateway = world(devices=2)
    in_file(gateway)
    for i in range(2):
        identity(gateway, "add", phone(i), PK, device_name(i), text=secret(i))
    gateway.process.stop()
    state = gateway.dir / "state"
    with contextlib.closing(sqlite3.connect(state / "identities.db")) as db:
        db.execute("UPDATE identities SET sealed = (SELECT sealed FROM identities WHERE identity = ?) WHERE identity = ?", (phone(1), phone(0)))
        db.commit()
    gateway.process.start()
    gateway.wait_up()
    with gateway.terminal(0) as t, logged_in(gateway, cloud, 1):
        knock(t)
        gateway.wait_stat("identity.table_damaged", 1)
        gateway.wait_log("cannot be decrypted")
    assert "cannot be decrypted" in identity(gateway, "rekey", status=1)
    assert identity(gateway, "remove", phone(0)) == "removed\n"
    assert identity(gateway, "rekey").startswith("1 entries")
    gateway.process.stop()
    key = state / "identity.key"
    good = key.read_text()
    key.write_text("causeway-key 1 " + "0" * 16 + " " + "1" * 64 + "\n")
    assert "is not the key of" in identity(gateway, "list", status=1)
    started = subprocess.run([BUILD / "bin" / "causewayd", "-c", gateway.config], capture_output=True, text=True, timeout=60)
    assert started.returncode == 1 and "is not the key of" in started.stderr
    key.unlink()
    assert "is missing" in identity(gateway, "list", status=1)
    key.write_text(good)
    key.chmod(0o644)
    assert "chmod 0600" in identity(gateway, "list", status=1)
    key.chmod(0o600)
    assert device_name(1) in identity(gateway, "list")


def test_an_interrupted_change_of_key_loses_no_entry(world):
    """kill -9 at any moment of a rekey: the next one who opens the table finds the key that fits. covers: O04"""
    cloud, gateway = world(devices=2)
    in_file(gateway)
    gateway.process.stop()
    rows = [f"{phone(i)},{PK},dev-{i},{secret(i)}" for i in range(3000)]
    file = gateway.dir / "many.csv"
    file.write_text("identity,ProductKey,DeviceName,DeviceSecret\n" + "\n".join(rows) + "\n")
    assert identity(gateway, "import", file).startswith("3000 added")
    key = gateway.dir / "state" / "identity.key"
    killed = 0
    chance = random.Random(5)
    longest = 0.1
    for _ in range(12):
        began = time.monotonic()
        rekey = subprocess.Popen([BUILD / "bin" / "causeway", "identity", "rekey", "-c", gateway.config], stdout=subprocess.DEVNULL)
        try:
            rekey.wait(chance.uniform(0, longest))
            longest = max(0.01, time.monotonic() - began)
        except subprocess.TimeoutExpired:
            rekey.send_signal(signal.SIGKILL)
            rekey.wait()
            killed += 1
        assert len(identity(gateway, "list").splitlines()) == 3000  # opens: the key was found
    assert killed > 0
    assert key.stat().st_mode & 0o777 == 0o600
    assert identity(gateway, "rekey").startswith("3000 entries")  # decrypts each one
    # A kill in the middle of writing leaves the part file (.XXXXXX), a key that nothing was ever encrypted with.
    assert [f.name for f in key.parent.glob("identity.key*") if not re.fullmatch(r"identity\.key\.new\.\w{6}", f.name)] == ["identity.key"]
    assert identity(gateway, "import", file).startswith("0 added, 0 changed, 3000 unchanged")


def test_an_import_that_is_killed_is_there_or_not(world):
    """covers: O04"""
    _, gateway = world(devices=1)
    gateway.process.stop()
    file = gateway.dir / "many.csv"
    file.write_text("identity,ProductKey,DeviceName,DeviceSecret\n" +
                    "".join(f"{phone(i)},{PK},dev-{i},{secret(i)}\n" for i in range(3000)))
    chance = random.Random(7)
    for _ in range(8):
        one = subprocess.Popen([BUILD / "bin" / "causeway", "identity", "import", file, "-c", gateway.config], stdout=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            one.wait(chance.uniform(0, 0.15))
        one.kill()
        one.wait()
        assert len(identity(gateway, "list").splitlines()) in (0, 3000)
    identity(gateway, "import", file)
    assert len(identity(gateway, "list").splitlines()) == 3000


# ---- HTTP ------------------------------------------------------------------------------------------


def test_a_look_up_answers_both_ways_and_is_asked_once(world, inventory):
    """covers: M16 M17"""
    cloud, gateway = world(devices=3, extra=http_settings(inventory))
    in_file(gateway, 0)
    inventory.add(1)
    with logged_in(gateway, cloud, 1) as t:
        assert t.report_acked(speed=9) == 0
        assert inventory.asked == [{"identity": phone(1)}]
        assert inventory.headers[0]["Authorization"] == f"Bearer {TOKEN}"
        join = ask(cloud, 1, "/properties", {"HeartbeatInterval": 60})  # the device is known only there
        t.general_reply(t.receive_id(0x8103))
        assert join()[1]["reply"]["code"] == 200
    with logged_in(gateway, cloud, 1):
        assert len(inventory.asked) == 1  # kept
    with gateway.terminal(2) as t:
        assert t.register() == 4
    with gateway.terminal(2) as t:
        assert t.register() == 4
    assert inventory.asked == [{"identity": phone(1)}, {"identity": phone(2)}]  # also that it is unknown
    inventory.add(2)
    gateway.reload()
    with logged_in(gateway, cloud, 2):
        pass
    inventory.devices["seen-never"] = {**inventory.devices[phone(1)], "identity": "seen-never"}
    assert gateway.ask("/devices/seen-never") == (200, {"identity": "seen-never", "productKey": PK, "deviceName": device_name(1),
                                                        "state": "never seen", "connected": False})
    assert gateway.ask("/devices/nobody")[0] == 404


def test_many_questions_about_one_identity_are_one_and_nobody_else_waits(world, inventory):
    """covers: M17"""
    cloud, gateway = world(devices=3, extra=http_settings(inventory))
    in_file(gateway, 0)
    inventory.add(1)
    inventory.hold.clear()
    with contextlib.ExitStack() as all_of_them:
        waiting = [all_of_them.enter_context(gateway.terminal(1)) for _ in range(5)]
        for t in waiting:
            knock(t)
        wait_until(lambda: inventory.asked, "the question")
        with logged_in(gateway, cloud, 0) as other:  # the file's device does not wait for the inventory
            assert other.report_acked() == 0
        waiting[0].sock.close()
        inventory.hold.set()
        for t in waiting[1:]:
            assert t.receive_id(0x8100).body[2] == 0
        assert len(inventory.asked) == 1


def bad_json(handler, query):
    reply(handler, 200, "{ not json")


def another_identity(handler, query):
    reply(handler, 200, json.dumps({"identity": "somebody", "productKey": PK, "deviceName": "x1", "deviceSecret": "y" * 32}))


def broken_name(handler, query):
    reply(handler, 200, json.dumps({"productKey": PK, "deviceName": "x/../1", "deviceSecret": "y" * 32}))


def endless(handler, query):
    reply(handler, 200, '{"identity": "' + "a" * (1 << 20) + '"}')


def nothing(handler, query):
    handler.close_connection = True


def error_500(handler, query):
    reply(handler, 500, "internal " + "z" * 40)


@pytest.mark.parametrize("say", [bad_json, another_identity, broken_name, endless, nothing, error_500])
def test_an_answer_of_no_use_refuses_for_now_and_an_older_one_still_counts(world, inventory, say):
    """covers: M17"""
    cloud, gateway = world(devices=3, extra=http_settings(inventory, keep="10ms", keepUnknown="0s"))
    in_file(gateway)
    inventory.add(1)
    with logged_in(gateway, cloud, 1):
        pass
    inventory.say = say
    wait_until(lambda: len(inventory.asked) >= 1, "the first question")
    with logged_in(gateway, cloud, 1) as t:  # what it said before counts
        assert t.report_acked() == 0
        gateway.wait_stat("identity.stale", 1)
        with gateway.terminal(2) as stranger:  # nothing was said about this one
            knock(stranger)
            gateway.wait_stat("identity.http_failed", 2)
            gateway.wait_log("identity.later")
            assert t.report_acked() == 0
    inventory.say = None
    inventory.add(2)
    with logged_in(gateway, cloud, 2):
        gateway.wait_log("answers again")


def test_an_inventory_that_is_gone_or_silent_holds_up_nobody(world, inventory):
    """covers: M17"""
    cloud, gateway = world(devices=3, extra=http_settings(inventory, timeout="200ms"))
    in_file(gateway, 0)
    inventory.hold.clear()
    with gateway.terminal(1) as t:
        knock(t)
        gateway.wait_stat("identity.http_failed", 1)
        inventory.close()
        with gateway.terminal(2) as another:
            knock(another)
            gateway.wait_stat("identity.http_failed", 2)
            with logged_in(gateway, cloud, 0) as other:
                assert other.report_acked() == 0
    gateway.process.stop()  # also in the middle of it


# ---- order, and what is wrong -----------------------------------------------------------------------


def test_the_first_source_that_knows_counts(world, inventory):
    """covers: M16"""
    cloud, gateway = world(devices=4, extra=http_settings(inventory) + "identity.order = [http, sqlite]\n")
    inventory.add(0, deviceName=device_name(1), deviceSecret=secret(1))
    identity(gateway, "add", phone(0), PK, device_name(2), text=secret(2))
    identity(gateway, "add", phone(3), PK, device_name(3), text=secret(3))
    with gateway.terminal(0) as t, gateway.terminal(3) as second, gateway.terminal(1) as stranger:
        t.log_in()
        cloud.wait_status(PK, device_name(1), "ONLINE")
        second.log_in()
        cloud.wait_status(PK, device_name(3), "ONLINE")
        assert stranger.register() == 4  # devices.conf is not in the order
    assert "table out" not in identity(gateway, "list")


@pytest.mark.parametrize("settings, told", [
    ("identity.order = [devices, memory]", 'there is no source "memory"'),
    ("identity.order = [devices, devices]", "stands there twice"),
    ('identity.http.url = "ftp://x"', "identity.http.url"),
    ("identity.http { url = \"http://x\", tls { key = a.pem } }", "certificate and key come together"),
])
def test_wrong_settings_of_sources_are_refused(tmp_path, settings, told):
    """covers: M16"""
    conf = tmp_path / "application.conf"
    conf.write_text(f'productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = x\nstateDir = "{tmp_path}/s"\n'
                    f'upstreams.cloud.endpoint = "tcp://127.0.0.1:1"\n{settings}\n')
    (tmp_path / "devices.conf").write_text("")
    done = subprocess.run([BUILD / "bin" / "causewayd", "--check", "-c", conf], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and told in done.stderr, done


# ---- secrets ---------------------------------------------------------------------------------------------


def test_secrets_of_devices_can_stand_in_files_and_the_environment(start_cloud, start_gateway, tmp_path, monkeypatch):
    """covers: O04 M1D"""
    monkeypatch.setenv("CW_TEST_SECRET_1", secret(1))
    cloud = start_cloud(cloud_conf(4))
    gateway = start_gateway(cloud, devices=1).wait_up()
    (gateway.dir / "zero.secret").write_text(secret(0) + "\nsecond line\n")
    (gateway.dir / "zero.secret").chmod(0o604)
    gateway.devices.write_text(entry(0, its_secret='"file:zero.secret"') + entry(1, its_secret="${CW_TEST_SECRET_1}") +
                               entry(2, its_secret='"file:nowhere.secret"'))
    gateway.reload()
    with logged_in(gateway, cloud, 0), logged_in(gateway, cloud, 1), gateway.terminal(2) as t:
        assert t.register() == 4
    gateway.wait_log("cannot read")
    gateway.wait_log(f"chmod o-rwx {gateway.dir}/zero.secret")


def test_no_output_of_any_kind_has_a_secret(world, inventory):
    """A sweep over everything the gateway and its tools say, with secrets of every source. covers: O04 M1A"""
    cloud, gateway = world(devices=4, extra=http_settings(inventory, keep="1ms") + "log.level = debug\n")
    in_file(gateway, 0)
    inventory.add(1)
    identity(gateway, "add", phone(2), PK, device_name(2), text=secret(2))
    for i in range(3):
        with logged_in(gateway, cloud, i) as t:
            assert t.report_acked() == 0
    inventory.say = error_500
    with gateway.terminal(3) as t:
        knock(t)
        gateway.wait_stat("identity.http_failed", 1)
    inventory.say = lambda handler, query: reply(handler, 200, json.dumps(
        {"productKey": "bad key " + secret(3), "deviceName": "n", "deviceSecret": secret(3)}))
    with gateway.terminal(3) as t:
        knock(t)
        gateway.wait_stat("identity.http_failed", 2)
    (gateway.dir / "x.csv").write_text(f"ProductKey,DeviceName,DeviceSecret\n{PK},b?d,{secret(3)}\n")
    identity(gateway, "import", gateway.dir / "x.csv", status=1)
    identity(gateway, "add", "a", "b", "c", secret(3), status=2)
    said = gateway.said + identity(gateway, "list") + identity(gateway, "list", "--json") + identity(gateway, "rekey")
    for path in ("/status", "/stats", "/devices", "/identities", *(f"/devices/{phone(i)}" for i in range(4))):
        said += json.dumps(gateway.ask(path))
    for args in (["config", "print", gateway.config], ["config", "check", gateway.config], ["device", "list"], ["stats"], ["status"]):
        done = subprocess.run([BUILD / "bin" / "causeway", *args, *(["-c", gateway.config] if args[0] != "config" else [])],
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done
        said += done.stdout + done.stderr
    gateway.process.stop()
    said += gateway.process.stderr() + gateway.process.stdout()
    secrets = [TOKEN, secret("gw"), *(secret(i) for i in range(4)),
               (gateway.dir / "state" / "identity.key").read_text().split()[3]]
    assert [s for s in secrets if s in said] == []
    for file in (gateway.dir / "state").rglob("*"):
        if file.is_file() and file.name != "identity.key":
            assert [s for s in secrets if s.encode() in file.read_bytes()] == [], file


# ---- leaving, reloading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("remove", [False, True])
def test_an_entry_that_leaves_is_logged_out_and_loses_its_relation_only_when_told_so(world, remove):
    """covers: M16"""
    cloud, gateway = world(devices=3, extra="identity.removeTopology = true\n" if remove else "")
    identity(gateway, "add", phone(2), PK, device_name(2), text=secret(2))
    in_file(gateway, 0, 1)

    def related():
        return {d["deviceName"] for d in cloud.get("/devices") if d.get("gateway")}
    with logged_in(gateway, cloud, 0) as stays, logged_in(gateway, cloud, 1) as leaves, logged_in(gateway, cloud, 2) as removed:
        in_file(gateway, 0)
        identity(gateway, "remove", phone(2))
        assert leaves.is_closed() and removed.is_closed()
        cloud.wait_status(PK, device_name(1), "OFFLINE")
        cloud.wait_status(PK, device_name(2), "OFFLINE")
        deleted = cloud.messages(topic=f"/sys/{GW[0]}/{GW[1]}/thing/topo/delete")
        if remove:
            wait_until(lambda: len(cloud.messages(topic=f"/sys/{GW[0]}/{GW[1]}/thing/topo/delete")) == 2, "two relations deleted")
        else:
            assert deleted == []
        assert stays.report_acked() == 0


def reload_storm(world, entries, reloads, connected):
    cloud, gateway = world(devices=connected)
    text = devices_conf(connected) + "".join(
        f"x{i} {{ productKey : {PK}, deviceName : other-{i}, deviceSecret : {'f' * 32} }}\n" for i in range(entries - connected))
    gateway.devices.write_text(text)
    gateway.reload()
    with contextlib.ExitStack() as stack:
        terminals = [stack.enter_context(logged_in(gateway, cloud, i)) for i in range(connected)]
        stop = threading.Event()
        failed = []

        def load(mine):
            try:
                while not stop.is_set():
                    for t in mine:
                        assert t.report_acked() == 0
            except Exception as error:  # noqa: BLE001 - told by the test
                failed.append(error)
        threads = [threading.Thread(target=load, args=(terminals[k::2],)) for k in range(2)]
        for thread in threads:
            thread.start()
        before = gateway.stats()
        slowest = 0
        for n in range(reloads):
            if n % 10 == 5:  # now and then something else changes
                gateway.devices.write_text(text.replace(f"x{n} ", f"y{n} "))
            began = time.monotonic()
            said = gateway.ask("/reload", "POST")
            slowest = max(slowest, time.monotonic() - began)
            assert said[0] == 200 and "of these 0 disconnected" in said[1]["done"], said
        stop.set()
        for thread in threads:
            thread.join()
        after = gateway.stats()
        print(f"{reloads} reloads of {entries} entries, slowest {slowest * 1000:.0f} ms")
        assert failed == []
        assert after["net.closed"] == before["net.closed"]
        assert after["bridge.devices_online"] == connected
        assert after["bridge.reloads"] - before["bridge.reloads"] == reloads


def test_reloads_under_load_disconnect_nobody(world):
    """covers: M16"""
    reload_storm(world, 5000, 20, 10)


@pytest.mark.slow
def test_a_thousand_reloads_under_load_disconnect_nobody(world):
    """covers: M16"""
    reload_storm(world, 5000, 1000, 50)


@pytest.mark.slow
def test_reloads_of_the_largest_file_disconnect_nobody(world):
    """covers: M16"""
    reload_storm(world, 200000, 20, 50)
