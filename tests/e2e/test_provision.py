"""The bridge's own certificate: registered once, found or created, kept, and what is left of it after a crash at each step."""
import json
import os
import stat

import pytest
from box import GDN, GPK, GPS, KEY, KEY_SECRET, SPK, box  # noqa: F401
from conftest import wait_until


@pytest.fixture
def cloud_conf():
    return f"""
products = [ {{ productKey = {GPK}, productSecret = {GPS}, nodeType = gateway }},
             {{ productKey = {SPK}, productSecret = SubPs0123456789A, nodeType = subdevice }} ]
devices = [ {{ productKey = {GPK}, deviceName = {GDN} }}, {{ productKey = {GPK}, deviceName = gw-0002 }} ]
accessKeys = [ {{ id = {KEY}, secret = {KEY_SECRET} }} ]
"""


REGISTER = f"productKey = {GPK}, deviceName = {GDN}, productSecret = {GPS}"


@pytest.mark.parametrize("registration", ["endpoint = ${https}", "via = mqtt, endpoint = ${mqtt}"])
def test_it_registers_once_and_logs_in_with_what_it_got(cloud, box, registration):
    """covers: A10 A11 E05 H38"""
    status, text = box.write(REGISTER, registration=registration).check()
    assert status == 0 and "would register" in text and f"{GPK}/{GDN}" in text and cloud.stats()["registrations"] == 0
    assert not box.state.exists()  # a check leaves nothing behind
    box.start().wait_up()
    assert cloud.stats()["registrations"] == 1
    cloud.wait_status(GPK, GDN, "ONLINE")
    (file,) = box.kept()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())["state"] == "obtained"
    box.process.stop()
    box.start().wait_up()
    assert cloud.stats()["registrations"] == 1
    assert "obtained already" in box.check()[1]


def test_without_preregistration_it_logs_in_by_its_token_ever_after(cloud, box):
    """covers: E03 H37"""
    cloud.post(f"/products/{GPK}", {"registration": True})
    box.write(REGISTER.replace(GDN, "free-0001"), registration="type = regnwl, endpoint = ${mqtt}").start().wait_up()
    wait_until(box.kept, "what was obtained")
    wait_until(lambda: json.loads(box.kept()[0].read_text())["state"] == "obtained", "what was obtained")
    got = json.loads(box.kept()[0].read_text())
    assert got["clientId"] and got["deviceToken"] and "deviceSecret" not in got
    cloud.wait_status(GPK, "free-0001", "ONLINE")
    assert got["deviceToken"] not in box.process.stderr()
    box.process.stop()
    box.start().wait_up()
    assert json.loads(box.kept()[0].read_text()) == got and "provision.obtained" not in box.process.stderr()


def test_regnwl_is_for_mqtt_only(box):
    """covers: E03 E09"""
    http2 = f'upstreams {{ cloud {{ type = http2, endpoint = "https://127.0.0.1:1", authEndpoint = "{box.https()}/auth/bridge" }} }}'
    status, text = box.write(REGISTER, upstreams=http2, registration="type = regnwl").check()
    assert status != 0 and "regnwl" in text and "type = register" in text
    status, text = box.write(REGISTER, registration="type = regnwl, via = https").check()
    assert status != 0 and "MQTT only" in text


@pytest.mark.parametrize("identity,missing", [
    (f"productKey = {GPK}, deviceName = {GDN}", "deviceSecret"),
    (f"productKey = {GPK}, deviceName = {GDN}, deviceSecret = \"\"", "deviceSecret"),
    (f"productKey = {GPK}, deviceSecret = {'s' * 32}", "deviceName"),
    (f"deviceName = {GDN}, deviceSecret = {'s' * 32}", "productKey"),
    (f"productKey = {GPK}, productSecret = {GPS}", "deviceName"),
    (f"deviceName = {GDN}, productSecret = {GPS}", "productKey"),
    (f"productKey = {GPK}", "deviceName"),
    ("", "productKey"),
    (f"productKey = {GPK}, popClientProfile {{ accessKey = {KEY} }}", "popClientProfile.accessSecret"),
    (f"productKey = {GPK}, deviceName = {GDN}, popClientProfile {{ accessKey = {KEY} }}", "deviceSecret"),
    (f"popClientProfile {{ accessKey = {KEY} }}", "productKey"),
])
def test_a_half_given_identity_names_what_is_missing_and_calls_nobody(cloud, box, identity, missing):
    """covers: M19"""
    box.write(identity)
    status, text = box.check()
    assert status != 0 and f"{missing} is missing" in text, text
    status, log = box.run()
    assert status == 1 and f"{missing} is missing" in log
    assert cloud.stats()["registrations"] == 0


def test_the_parts_are_measured(box):
    """covers: A08"""
    status, text = box.write(f"productKey = {GPK[:10]}, deviceName = {GDN}, deviceSecret = {'s' * 32}").check()
    assert status != 0 and "10 characters; expected are 11" in text
    status, text = box.write(REGISTER.replace(GPS, "short")).check()
    assert status != 0 and "ProductSecret has 5 characters" in text


@pytest.mark.parametrize("registration", ['endpoint = "http://127.0.0.1:1"', 'via = mqtt, endpoint = "tcp://127.0.0.1:1"'])
def test_it_asks_over_tls_only(cloud, box, registration):
    """covers: E08"""
    status, text = box.write(REGISTER, registration=registration).check()
    assert status != 0 and "TLS only" in text
    assert box.run()[0] == 1 and not box.kept() and cloud.stats()["registrations"] == 0


def test_it_waits_for_the_platform_and_says_so(cloud, box):
    """covers: A12 A13"""
    box.write(REGISTER)
    cloud.stop()
    box.start(ready=False)
    state = wait_until(lambda: box.reachable() and box.status()["waitingFor"] and "tried again" in box.status()["waitingFor"][0] and box.status(),
                       "what it waits for")
    assert state["up"] is False and f"{GPK}/{GDN}" in state["waitingFor"][0] and "no registration was made" in state["waitingFor"][0]
    status, text = box.cli("status")
    assert status == 1 and "waiting for" in text
    status, text = box.cli("device", "list")
    assert status == 1 and f"{GPK}/{GDN}" in text
    status, text = box.cli("reload")
    assert status == 1
    cloud.start()
    box.wait_up()
    assert cloud.stats()["registrations"] == 1 and box.cli("status")[0] == 0


def test_stopped_while_it_waits_it_asks_again_next_time(cloud, box):
    box.write(REGISTER)
    cloud.stop()
    box.start(ready=False)
    wait_until(lambda: box.reachable() and box.status()["waitingFor"] and "tried again" in box.status()["waitingFor"][0], "the first attempt")
    box.process.stop()
    assert not box.kept()  # nothing was asked that somebody could have answered
    cloud.start()
    box.start().wait_up()


def test_refused_it_says_what_to_do_and_goes_on_when_that_is_done(cloud, box):
    """covers: A06 E06 H35"""
    cloud.post(f"/products/{GPK}", {"registration": False})
    box.write(REGISTER).start(ready=False)
    wait_until(lambda: box.reachable() and box.status()["waitingFor"] and "switched off" in box.status()["waitingFor"][0], "the refusal")
    assert not box.kept()
    cloud.post(f"/products/{GPK}", {"registration": True})
    box.wait_up()


@pytest.mark.parametrize("point,kept,asked", [
    ("provision.asked", "asked", 0), ("provision.answered", "asked", 1), ("provision.stored", "obtained", 1)])
@pytest.mark.parametrize("registration", ["endpoint = ${https}", "via = mqtt, endpoint = ${mqtt}"])
def test_killed_at_each_step(cloud, box, point, kept, asked, registration):
    """covers: A04 H40"""
    box.write(REGISTER, registration=registration)
    assert box.run(env={"CW_CRASH_AT": point})[0] == -9
    (file,) = box.kept()
    assert json.loads(file.read_text())["state"] == kept and cloud.stats()["registrations"] == asked
    if kept == "asked":
        status, log = box.run()
        assert status == 1 and "never stored" in log and str(file) in log and "delete the file" in log
        assert box.check()[0] != 0 and "never stored" in box.check()[1]
        assert cloud.stats()["registrations"] == asked  # not asked again in silence
        file.unlink()  # the way out
    box.start().wait_up()
    assert cloud.stats()["registrations"] == (asked if kept == "obtained" else asked + 1)


def test_an_answer_that_is_lost_is_not_asked_for_again(cloud, box):
    """covers: H40"""
    cloud.fault("drop", topic="/ext/register", direction="down", count=1)
    cloud.fault("cut", topic="/ext/register", direction="down", count=1)
    box.write(REGISTER, registration="via = mqtt, endpoint = ${mqtt}").start(ready=False)
    wait_until(lambda: "provision.lost" in box.process.stderr() or "provision.obtained" in box.process.stderr(), "an end of it")
    assert cloud.stats()["registrations"] == 1
    if "provision.lost" in box.process.stderr():
        assert "restart" in box.status()["waitingFor"][0] and box.kept()


def test_a_damaged_file_is_not_guessed_at(cloud, box):
    box.write(REGISTER).start().wait_up()
    box.process.stop()
    (file,) = box.kept()
    whole = file.read_text()
    for text, word in [(whole[:-20], "damaged"), ("", "damaged"), ("[]", "damaged"), (whole.replace('"version":1', '"version":9'), "newer")]:
        file.write_text(text)
        status, log = box.run()
        assert status == 1 and word in log, (text, log)
    assert cloud.stats()["registrations"] == 1


def test_each_bridge_of_an_upstream_obtains_its_own(cloud, box):
    """covers: E02"""
    box.write("", upstreams=f"""upstreams {{ cloud {{ endpoint = "ssl://{box.mqtt()}", retryMin = 50ms, retryMax = 200ms, bridges = [
        {{ productKey = {GPK}, deviceName = {GDN}, productSecret = {GPS} }}, {{ productKey = {GPK}, deviceName = gw-0002, productSecret = {GPS} }} ] }} }}""")
    box.start().wait_up()
    assert cloud.stats()["registrations"] == 2 and len(box.kept()) == 2
    cloud.wait_status(GPK, "gw-0002", "ONLINE")


# ---- popClientProfile -------------------------------------------------------------------------------------

def profile(cloud, **changes):
    keys = {"accessKey": KEY, "accessSecret": KEY_SECRET, "name": "cn-shanghai", "region": "cn-shanghai", "product": "Iot",
            "endpoint": f'"https://{cloud.process.ready["https"]}"', **changes}
    return f"productKey = {GPK}\npopClientProfile {{ " + ", ".join(f"{k} = {v}" for k, v in keys.items() if v is not None) + " }"


def mac_names():
    """What the Java library would make of each interface of this machine."""
    names = {}
    for path in sorted(os.listdir("/sys/class/net")):
        mac = open(f"/sys/class/net/{path}/address").read().strip()
        if len(mac) == 17 and mac != "00:00:00:00:00:00":
            names[path] = "-".join(f"{int(part, 16):X}" for part in mac.split(":"))
    return names


needs_mac = pytest.mark.skipif(not mac_names(), reason="no interface with a MAC address here")


@needs_mac
def test_the_device_named_after_this_machine_is_created_then_found(cloud, box):
    """covers: M18 M1A M1B M1C M1E"""
    interface, name = sorted(mac_names().items())[-1]
    box.write(profile(cloud, interface=interface, product="iot"))
    status, text = box.check()
    assert status == 0 and name in text and "3 devices" in text and interface in text, text
    assert cloud.request("GET", f"/devices/{GPK}/{name}")[0] == 404  # nothing was created
    box.start().wait_up()
    assert cloud.device(GPK, name)["status"] == "ONLINE"
    line = next(line for line in box.process.stderr().splitlines() if "provision.becomes" in line)
    assert name in line and "3 devices" in line and " WARN " in line
    calls = box.process.stderr().count("provision.device")
    assert calls == 1 and "created" in box.process.stderr()
    box.process.stop()
    box.start().wait_up()  # kept: asks nobody
    assert "provision.device" not in box.process.stderr() and "provision.becomes" in box.process.stderr()
    box.process.stop()
    for file in box.kept():
        file.unlink()
    box.start().wait_up()  # found
    assert "was there already" in box.process.stderr()


@needs_mac
def test_an_interface_is_chosen_or_named(cloud, box):
    box.write(profile(cloud))
    status, text = box.check()
    if status == 0:
        assert any(name in text for name in mac_names().values())
    box.write(profile(cloud, interface="nothere0"))
    status, text = box.check()
    assert status != 0 and "nothere0" in text


def test_a_given_device_counts_before_the_profile(cloud, box):
    """covers: M19"""
    secret = cloud.post("/devices", {"productKey": GPK, "deviceName": "gw-0009"})["deviceSecret"]
    box.write(profile(cloud) + f"\ndeviceName = gw-0009, deviceSecret = {secret}").start().wait_up()
    assert not box.kept() and cloud.device(GPK, "gw-0009")["status"] == "ONLINE"


@pytest.mark.parametrize("key", ["accessKey", "accessSecret", "name", "region", "product", "endpoint"])
def test_all_six_keys_are_needed(cloud, box, key):
    """covers: M19 M1A"""
    status, text = box.write(profile(cloud, **{key: None})).check()
    assert status != 0 and f"popClientProfile.{key} is missing" in text


@needs_mac
@pytest.mark.parametrize("changes,words", [
    ({"accessSecret": "x" * 30}, ["SignatureDoesNotMatch", "accessSecret", "request id"]),
    ({"accessKey": "Nobody"}, ["InvalidAccessKeyId.NotFound", "accessKey", "request id"]),
])
def test_refusals_show_the_code_and_no_key(cloud, box, changes, words):
    """covers: M1A"""
    interface = sorted(mac_names())[-1]
    box.write(profile(cloud, interface=interface, **changes)).start(ready=False)
    wait_until(lambda: box.reachable() and box.status()["waitingFor"] and words[0] in box.status()["waitingFor"][0], "the refusal")
    text = box.status()["waitingFor"][0] + box.process.stderr()
    assert all(word in text for word in words) and "x" * 30 not in text and "Nobody" not in text


@needs_mac
def test_throttled_it_comes_again(cloud, box):
    interface, name = sorted(mac_names().items())[-1]
    cloud.fault("status", channel="openapi", code=503, count=2)
    box.write(profile(cloud, interface=interface)).start().wait_up()
    assert cloud.device(GPK, name)["status"] == "ONLINE"


def test_the_profile_is_called_over_tls_only(cloud, box):
    status, text = box.write(profile(cloud, endpoint='"http://127.0.0.1:1"')).check()
    assert status != 0 and "TLS" in text
