"""libcauseway against the emulator: what the Java library offers, and exactly one completion whatever happens."""
import json
import subprocess

import pytest
from bridge_probe import Probe
from conftest import BUILD, ROOT, wait_until
from gw import GW, PK, ask, cloud_conf, device_name, device_path, devices_conf, phone, secret, wait_reported  # noqa: F401

POST = "/sys/+/+/thing/event/property/post"
DEVICES = 4
TIMED_OUT, CLOSED, EOFFLINE, REFUSED, BUSY, ENOENT, UNSUPPORTED = -9, -3, -15, -14, -2, -7, -13


def ident(i):
    return f"{PK}/{device_name(i)}"


def user_topic(i, rest="user/update"):
    return f"/{PK}/{device_name(i)}/{rest}"


class World:
    """The emulator, and a program with libcauseway beside it."""

    def __init__(self, cloud, dir, probe, kind="mqtt"):
        self.cloud, self.dir, self.probe, self.kind = cloud, dir, probe, kind
        self.files(dir / "application.conf")

    def files(self, path, upstream="", extra=""):
        """As they are for MQTT; over HTTP/2 those of the Java library, with settings of ours beside its keys."""
        ready = self.cloud.process.ready
        way = f"""upstreams {{ cloud {{ endpoint = "tcp://{self.cloud.mqtt[0]}:{self.cloud.mqtt[1]}" """
        if self.kind == "http2":
            way = f"""http2Endpoint : "https://{ready['http2']}", authEndpoint : "https://{ready['https']}/auth/bridge"
ca = "{self.cloud.ca}"
upstreams {{ platform {{"""
        path.write_text(f"""
productKey : {GW[0]}, deviceName : {GW[1]}, deviceSecret : {secret("gw")}
{way}
  retryMin = 100ms, retryMax = 1s, ratePerDeviceQos0 = 0, ratePerDeviceQos1 = 0 {upstream} }} }}
{extra}
""")
        (path.parent / "devices.conf").write_text(devices_conf(DEVICES))
        for f in (path, path.parent / "devices.conf"):
            f.chmod(0o600)
        return path

    def open(self, name="b", upstream="", extra="", **words):
        self.probe.open(name, file=self.files(self.dir / "application.conf", upstream, extra), **words)
        self.probe.wait("state", up=1)
        return self

    def online(self, i=0, bridge="b"):
        self.probe.online(bridge, phone(i), 20000)
        if self.kind == "http2":
            return self
        # The subscriptions follow the login, this one last; what has none is not sent.
        last = user_topic(i, "user/#")
        wait_until(lambda: last in self.cloud.device(PK, device_name(i)).get("subscriptions", []), f"{last} to be subscribed")
        return self

    def payloads(self, i, topic):
        return [m["payload"] for m in self.cloud.messages(device=ident(i), topic=topic, direction="up", limit=100000)]


@pytest.fixture
def probe(tmp_path):
    p = Probe(tmp_path)
    yield p
    text = p.end()
    assert secret("gw") not in text and not any(secret(i) in text for i in range(DEVICES))


def conf_for_all(devices):
    return cloud_conf(devices).replace('api = "127.0.0.1:0" }', 'api = "127.0.0.1:0", http2 = "127.0.0.1:0", https = "127.0.0.1:0" }')


@pytest.fixture(params=["mqtt", "http2"])
def world(request, start_cloud, tmp_path, probe):
    return World(start_cloud(conf_for_all(DEVICES)), tmp_path, probe, request.param)


@pytest.fixture(params=["thread", "driven"])
def both(request, world):
    """The same world with the loop on the library's thread, and driven by the program."""
    return world.open(**({"drive": True} if request.param == "driven" else {}))


# ---- the way up


def test_a_device_goes_online_publishes_reports_and_goes_offline(both):
    """covers: M20 M21 M23 M25 M28 M30 M40 M41 M44 M45"""
    cloud, probe = both.cloud, both.probe
    both.online()
    cloud.wait_status(PK, device_name(0), "ONLINE")
    calls = [
        probe.call("publish", "b", phone(0), 5000, user_topic(0), 0, "00ff0041"),
        probe.call("publish", "b", phone(0), 5000, "user/update", 1, "00ff0042"),
        probe.call("publish", "b", phone(0), 5000, f"/sys/{PK}/{device_name(0)}/thing/event/x/post", 1, b'{"id":"5","params":{}}'.hex()),
        probe.call("properties", "b", phone(0), 5000, "4711", '{"Speed":12.30}'),
        probe.call("event", "b", phone(0), 5000, "4712", '{"Level":3}', "Overheat", 2),
        probe.call("tags", "b", phone(0), 5000, "4713", '{"colour":"red"}'),
        probe.call("tags", "b", phone(0), 5000, "4714", '{"colour":"blue"}'),
    ]
    assert [probe.done(c) for c in calls] == [(0, 0)] * len(calls)
    sent = cloud.messages(device=ident(0), topic=user_topic(0), direction="up")
    assert [(m["qos"], m["payloadHex"]) for m in sent] == [(0, "00ff0041"), (1, "00ff0042")]
    assert wait_reported(cloud, 0, "Speed") == 12.3
    post = both.payloads(0, POST)[-1]
    assert json.loads(post)["id"] == "4711" and "12.30" in post
    event = json.loads(both.payloads(0, "/sys/+/+/thing/event/Overheat/post")[0])
    assert event["id"] == "4712" and event["params"]["value"] == {"Level": 3}
    wait_until(lambda: cloud.device(PK, device_name(0)).get("tags") == {"colour": "blue"}, "the second tag")
    for request in ("4711", "4712", "4713", "4714"):
        assert probe.wait("reply", request=request)["code"] == 200
    assert probe.done(probe.call("offline", "b", phone(0), 5000)) == (0, 0)
    cloud.wait_status(PK, device_name(0), "OFFLINE")
    assert probe.done(probe.call("publish", "b", phone(0), 5000, "user/update", 0, "00")) == (EOFFLINE, 0)
    assert probe.done(probe.call("offline", "b", phone(0), 5000)) == (ENOENT, 0)
    both.online()  # and once more
    probe.close("b", 2000)
    cloud.wait_status(PK, device_name(0), "OFFLINE")


def test_a_refused_device_and_a_refused_report_have_the_platforms_code(world):
    """covers: M22 M28"""
    world.probe.say("certificate", "meter-7", PK, device_name(2), secret(2))
    world.open(upstream=", confirm = reply")
    cloud, probe = world.cloud, world.probe
    cloud.post(f"/devices/{ident(1)}/disable")
    rc, code = probe.done(probe.call("online", "b", phone(1), 20000))
    assert rc == REFUSED and code > 0
    assert probe.done(probe.call("online", "b", "stranger", 20000))[0] == ENOENT
    world.online()
    cloud.fault("refuse", topic=POST, code=6332, count=1)
    assert probe.done(probe.call("properties", "b", phone(0), 20000, "1", '{"Speed":1}')) == (REFUSED, 6332)
    assert probe.wait("reply", request="1")["code"] == 6332
    assert probe.done(probe.call("properties", "b", phone(0), 20000, "2", '{"Speed":2}')) == (0, 0)


def test_a_thousand_records_of_eight_threads_end_once_each(world):
    """covers: M29"""
    world.open(upstream=", queueBytesPerDevice = 8MiB").online()
    world.probe.say("storm", "b", phone(0), 8, 250)
    storm = world.probe.wait("storm")
    assert storm["done"] == 2000 and storm["sum"].startswith("ok=2000 ")
    assert len(world.cloud.messages(device=ident(0), direction="up", topic=user_topic(0), limit=100000)) == 1000
    world.probe.say("status", "b")
    assert world.probe.wait("status")["text"] == "up=1 online=1 open=0"


def test_a_stalled_platform_costs_time_and_no_completion(both):
    """covers: M28"""
    cloud, probe = both.cloud, both.probe
    both.online()
    fault = cloud.fault("stall")
    late = [probe.call("publish", "b", phone(0), 300, "user/update", 1, "0a") for _ in range(20)]
    assert [probe.done(c)[0] for c in late] == [TIMED_OUT] * 20
    patient = probe.call("publish", "b", phone(0), 0, "user/update", 1, "0b")
    cloud.delete(f"/faults/{fault['id']}")
    assert probe.done(patient) == (0, 0)
    # What timed out was kept and came, too, in order.
    assert len(cloud.messages(device=ident(0), direction="up", topic=user_topic(0))) == 21


def test_a_cut_in_the_middle_neither_loses_nor_doubles_a_completion(world):
    """covers: M26 M28"""
    world.open().online()
    cloud, probe = world.cloud, world.probe
    fault = cloud.fault("puback", topic=user_topic(0))
    calls = [probe.call("publish", "b", phone(0), 0, "user/update", 1, "0c") for _ in range(30)]
    wait_until(lambda: len(cloud.messages(device=ident(0), direction="up", topic=user_topic(0))) >= 1, "the first publish")
    cloud.delete(f"/faults/{fault['id']}")
    cloud.fault("cut")
    probe.wait("state", up=0)
    probe.wait("device", state="offline")
    probe.wait("state", 2, up=1)
    assert [probe.done(c) for c in calls] == [(0, 0)] * 30
    probe.wait("device", state="online", count=2)


@pytest.mark.parametrize("drive", [False, True])
def test_close_in_the_middle_completes_everything_once(world, drive):
    """covers: M28"""
    world.open(**({"drive": True} if drive else {})).online()
    fault = world.cloud.fault("stall")
    calls = [world.probe.call("publish", "b", phone(0), 0, "user/update", 1, "0d") for _ in range(50)]
    calls.append(world.probe.call("online", "b", phone(1)))
    calls.append(world.probe.call("offline", "b", phone(0), 30000))
    world.probe.close("b", 200)
    assert {world.probe.done(c)[0] for c in calls[:51]} == {CLOSED}
    world.probe.done(calls[51])
    world.cloud.delete(f"/faults/{fault['id']}")


def test_close_delivers_what_it_has_time_for(both):
    """covers: M28"""
    both.online()
    calls = [both.probe.call("publish", "b", phone(0), 0, "user/update", 1, "0d") for _ in range(50)]
    both.probe.close("b", 20000)
    assert [both.probe.done(c) for c in calls] == [(0, 0)] * 50
    assert len(both.cloud.messages(device=ident(0), direction="up", topic=user_topic(0))) == 50


def test_close_right_behind_a_storm(world):
    world.open().online()
    world.probe.say("storm", "b", phone(0), 8, 500, "close")
    storm = world.probe.wait("storm")
    assert storm["done"] == 4000, storm


def test_a_platform_that_is_away_at_first(world):
    """covers: M20"""
    world.cloud.stop()
    world.probe.open("b", file=world.dir / "application.conf")
    assert world.probe.done(world.probe.call("online", "b", phone(0), 200)) == (TIMED_OUT, 0)
    early = world.probe.call("online", "b", phone(1), 0, "early")
    assert world.probe.done(early) == (0, 0)
    publish = world.probe.call("publish", "b", phone(1), 0, "user/update", 1, "0e")
    world.cloud.start()
    world.probe.wait("state", up=1)
    assert world.probe.done(publish) == (0, 0)
    world.probe.wait("device", state="online", identity=phone(1))


# ---- the way down


def test_commands_are_answered_by_the_program(both):
    """covers: M32"""
    cloud, probe = both.cloud, both.probe
    both.online()
    assert ask(cloud, 0, "/properties", {"Light": 12.5})()[1]["reply"]["code"] == 200
    set_ = probe.wait("command")
    assert set_["kind"] == "33" and json.loads(set_["json"]) == {"Light": 12.5} and set_["identity"] == phone(0)
    status, answer = ask(cloud, 0, "/services/Reboot", {"delay": 3})()
    assert answer["reply"]["code"] == 200 and answer["reply"]["data"] == {"done": 1}
    assert probe.wait("command", 2)["name"] == "Reboot"
    status, answer = cloud.request("POST", device_path(0) + "/rrpc", b'{"not": "a map for us"}')
    assert status == 200 and "not" in json.dumps(answer)
    probe.policy("command", UNSUPPORTED)
    assert ask(cloud, 0, "/services/Reboot", {})()[1]["reply"]["code"] == 501
    probe.policy("command", 0)
    probe.policy("silent", 1)
    join = ask(cloud, 0, "/services/Later", {})
    id = probe.wait("command", name="Later")["id"]
    probe.say("answer", "b", id, 100001, '{"left":7}')
    reply = join()[1]["reply"]
    assert reply["code"] == 100001 and reply["data"] == {"left": 7}
    probe.say("answer", "b", id, 200)  # once more is nothing


def test_a_command_nobody_answers_ends_by_its_deadline_or_with_its_device(world):
    """covers: M32 M33"""
    world.open(extra="commands.timeout = 1s").online().online(1)
    cloud, probe = world.cloud, world.probe
    probe.policy("silent", 1)
    join = ask(cloud, 0, "/services/Slow", {})
    assert join()[1]["reply"]["code"] == 408
    assert probe.wait("cancelled")["id"] == probe.wait("command", name="Slow")["id"]
    join = ask(cloud, 1, "/services/Left", {})
    probe.wait("command", name="Left")
    assert probe.done(probe.call("offline", "b", phone(1), 5000)) == (0, 0)
    status, answer = join()
    assert status != 200 or answer["reply"]["code"] == 404


def test_messages_and_broadcasts_reach_the_program(both):
    """covers: M32 M34"""
    cloud, probe = both.cloud, both.probe
    both.online().online(1)
    cloud.post(device_path(0) + "/raw", b"\x00hello", topic=user_topic(0, "user/get"))
    m = probe.wait("message")
    assert (m["topic"], m["payload"], m["identity"]) == (user_topic(0, "user/get"), "\x00hello", phone(0))
    cloud.post(device_path(1) + "/raw", b"raw", **{"async": "true"})
    m = probe.wait("message", identity=phone(1))
    assert m["topic"] == f"/sys/{PK}/{device_name(1)}/thing/model/down_raw"
    cloud.post(f"/products/{PK}/broadcast", b"to all")
    assert {probe.wait("broadcast", n + 1)["deviceName"] for n in range(2)} == {device_name(0), device_name(1)}
    assert {m["payload"] for m in probe.seen("broadcast")} == {"to all"}


def upgrade(cloud, version):
    made = cloud.post(f"/products/{PK}/packages", b"firmware" * 100, query={"version": version, "signMethod": "SHA256"})
    batch = cloud.post(f"/packages/{made['id']}/batches", {})

    def task():
        return {t["deviceName"]: t for t in cloud.get(f"/upgrades/{batch['id']}")["devices"]}[device_name(0)]
    return task


def test_an_upgrade_is_offered_accepted_and_reported(both):
    """covers: N01 N02 N03 N05 N06 N07 N08"""
    cloud, probe = both.cloud, both.probe
    both.online()
    assert probe.done(probe.call("version", "b", phone(0), 5000, "9", "1.0.1")) == (0, 0)
    wait_until(lambda: cloud.device(PK, device_name(0)).get("modules") == {"default": "1.0.1"}, "the version")
    task = upgrade(cloud, "2.0.0")
    offered = probe.wait("upgrade")
    assert offered["version"] == "2.0.0" and offered["bytes"] == 800 and offered["method"] == "SHA256"
    assert len(offered["sign"]) == 64 and offered["url"].startswith("https://") and offered["identity"] == phone(0)
    for step in (10, 100):
        assert probe.done(probe.call("progress", "b", phone(0), 5000, "12", step, "going")) == (0, 0)
    wait_until(lambda: task()["step"] == 100, "the steps")
    sent = [json.loads(p) for p in both.payloads(0, "/ota/device/progress/+/+")]
    assert [(p["id"], p["params"]["step"]) for p in sent] == [("12", "10"), ("12", "100")]
    assert probe.done(probe.call("version", "b", phone(0), 5000, "13", "2.0.0")) == (0, 0)
    wait_until(lambda: task()["state"] == "SUCCEEDED", "success")


def test_an_upgrade_that_is_refused_is_reported_so(world):
    """covers: N05"""
    world.open().online()
    world.probe.policy("upgrade", BUSY)
    assert world.probe.done(world.probe.call("version", "b", phone(0), 5000, "9", "1.0.1")) == (0, 0)
    task = upgrade(world.cloud, "2.0.0")
    world.probe.wait("upgrade")
    wait_until(lambda: task()["state"] == "FAILED", "the refusal")
    assert [json.loads(p)["params"]["step"] for p in world.payloads(0, "/ota/device/progress/+/+")] == ["-1"]


def test_a_device_that_the_platform_kicks_comes_back_and_one_it_disables_is_told(world):
    """covers: M22 M26"""
    if world.kind == "http2":
        pytest.skip("over HTTP/2 the platform tells a bridge of neither")
    world.open().online().online(1)
    cloud, probe = world.cloud, world.probe
    cloud.fault("kick", device=ident(0))
    probe.wait("device", identity=phone(0), state="offline")
    probe.wait("device", identity=phone(0), state="online", count=2)
    cloud.post(f"/devices/{ident(1)}/disable")
    wait_until(lambda: [m for m in probe.seen("device", identity=phone(1)) if m["state"] in ("refused", "offline")], "the word about it")
    assert probe.done(probe.call("publish", "b", phone(0), 5000, "user/update", 1, "0f")) == (0, 0)


# ---- identities and bridges


def test_certificates_come_from_the_program(world):
    """covers: M17 M31"""
    world.probe.say("certificate", "meter-7", PK, device_name(2), secret(2))
    world.open()
    assert world.probe.done(world.probe.call("online", "b", "meter-7", 20000)) == (0, 0)
    world.cloud.wait_status(PK, device_name(2), "ONLINE")
    assert world.probe.seen("lookup", identity="meter-7")
    assert world.probe.done(world.probe.call("online", "b", "meter-8", 20000))[0] == ENOENT
    m = world.probe.wait("device", identity="meter-7", state="online")
    assert (m["productKey"], m["deviceName"]) == (PK, device_name(2))


def test_a_second_session_of_a_device_takes_it_over_without_an_offline(world):
    """covers: M23"""
    world.open().online()
    cloud, probe = world.cloud, world.probe
    since = len(cloud.messages(device=ident(0)))
    probe.online("b", phone(0), 20000)
    assert len(probe.seen("device", identity=phone(0), state="superseded")) == 1
    assert not [m for m in cloud.messages(device=ident(0))[since:] if "logout" in m["topic"]]
    assert probe.done(probe.call("publish", "b", phone(0), 5000, "user/update", 1, "10")) == (0, 0)
    calls = []
    for _ in range(3):  # on and off in a row: an offline ends an online that has not come true; what was said last counts
        calls += [probe.call("offline", "b", phone(0), 5000), probe.call("online", "b", phone(0), 20000)]
    ends = [probe.done(c)[0] for c in calls]
    assert ends[-1] == 0 and set(ends[1::2]) <= {0, CLOSED} and set(ends[::2]) == {0}
    assert probe.done(probe.call("publish", "b", phone(0), 5000, "user/update", 1, "11")) == (0, 0)


def test_two_bridges_in_one_program(start_cloud, tmp_path, probe):
    """covers: M08"""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    clouds = [start_cloud(cloud_conf(DEVICES), name=f"causeway-cloud-{n}") for n in ("one", "two")]
    worlds = [World(c, tmp_path / n, probe) for c, n in zip(clouds, ("one", "two"))]
    worlds[0].open("one")
    worlds[1].probe.open("two", file=worlds[1].files(tmp_path / "two" / "application.conf"), drive=True)
    probe.wait("state", 2, up=1)
    for n, name in enumerate(("one", "two")):
        probe.online(name, phone(n), 20000)
        clouds[n].wait_status(PK, device_name(n), "ONLINE")
        assert clouds[n].device(PK, device_name(1 - n))["status"] != "ONLINE"
    probe.close("one", 1000)
    assert probe.done(probe.call("publish", "two", phone(1), 5000, "user/update", 1, "12")) == (0, 0)
    probe.close("two", 1000)


def test_the_bridge_obtains_its_own_certificate_once_and_devices_wait_for_it(start_cloud, tmp_path, probe):
    """covers: A10 E05 M12 M20"""
    conf = conf_for_all(DEVICES).replace("devices = [", f"devices = [\n  {{ productKey = {GW[0]}, deviceName = gw-new }}", 1)
    cloud = start_cloud(conf)
    file = tmp_path / "application.conf"

    def write(state):
        file.write_text(f"""
productKey = {GW[0]}, deviceName = gw-new, productSecret = GwPs0123456789AB
registration {{ endpoint = "https://{cloud.process.ready['https']}" }}
ca = "{cloud.ca}"
{state}
upstreams {{ cloud {{ endpoint = "tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}" }} }}
""")
        (tmp_path / "devices.conf").write_text(devices_conf(DEVICES))
        for f in (file, tmp_path / "devices.conf"):
            f.chmod(0o600)
    write("")
    probe.say("open", "b", f"file={file}")
    refused = probe.wait("opened")
    assert refused["rc"] == "-16" and "stateDir" in refused["why"]
    write(f'stateDir = "{tmp_path}/state"')
    fault = cloud.fault("status", code=503)
    probe.open("b", file=file)
    first, second = probe.call("online", "b", phone(0), 25000), probe.call("online", "b", phone(1), 25000)
    assert probe.done(probe.call("online", "b", phone(2), 300)) == (TIMED_OUT, 0)
    assert probe.done(probe.call("publish", "b", phone(0), 5000, "user/update", 1, "00")) == (EOFFLINE, 0)
    assert probe.done(probe.call("offline", "b", phone(1), 5000)) == (0, 0)
    assert probe.done(second) == (CLOSED, 0)
    assert cloud.stats()["registrations"] == 0
    cloud.delete(f"/faults/{fault['id']}")
    assert probe.done(first) == (0, 0)
    cloud.wait_status(GW[0], "gw-new", "ONLINE")
    probe.close("b", 1000)
    probe.open("b", file=file)  # kept
    probe.wait("state", 2, up=1)
    assert cloud.stats()["registrations"] == 1
    probe.close("b", 0)
    # Closed while it is still asked for.
    for kept in (tmp_path / "state").rglob("*"):
        if kept.is_file() and kept.name != "lock":
            kept.unlink()
    cloud.fault("stall")
    probe.open("b", file=file, drive=True)
    last = probe.call("online", "b", phone(0))
    probe.close("b", 1000)
    assert probe.done(last) == (CLOSED, 0)


# ---- what is handed out


def names_of(*args):
    out = subprocess.run(["nm", *args], capture_output=True, text=True, check=True).stdout
    return sorted(line.split()[2].split("@")[0] for line in out.splitlines() if len(line.split()) == 3 and line.split()[1] != "A")


@pytest.mark.skipif("asan" in str(BUILD) or "tsan" in str(BUILD), reason="the sanitizers add names of their own")
def test_nothing_but_the_documented_names_is_exported():
    """covers: M05"""
    header = (ROOT / "include/causeway/bridge.h").read_text()
    declared = sorted(set(__import__("re").findall(r"CW_BRIDGE_API [\w ]+?\*?(cw_\w+)\(", header)))
    assert len(declared) > 20
    assert names_of("-D", "--defined-only", BUILD / "lib/libcauseway.so") == declared
    assert names_of("-g", "--defined-only", BUILD / "lib/libcauseway.a") == declared
    text = (ROOT / "src/libcauseway/exports").read_text()
    assert sorted(line for line in text.splitlines() if line.startswith("cw_")) == declared
