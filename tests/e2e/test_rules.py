"""Provisioning rules: a device nobody knows gets its certificate from the platform, once, and keeps it."""
import pytest
from box import GDN, GPK, GPS, KEY, KEY_SECRET, SPK, box  # noqa: F401
from conftest import wait_until

SPS, DPK, DPS = "SubPs0123456789A", "a1EmuPk0001", "EmuPs0123456789A"
PHONES = [f"1391234000{i}" for i in range(8)]


@pytest.fixture
def cloud_conf():
    names = "\n".join(f"{{ productKey = {pk}, deviceName = {dn} }}" for pk in (SPK, DPK) for dn in PHONES)
    return f"""
products = [ {{ productKey = {GPK}, productSecret = {GPS}, nodeType = gateway }},
             {{ productKey = {SPK}, productSecret = {SPS}, nodeType = subdevice }},
             {{ productKey = {DPK}, productSecret = {DPS}, nodeType = device }} ]
devices = [ {{ productKey = {GPK}, deviceName = {GDN}, deviceSecret = {"5" * 32} }}
{names} ]
accessKeys = [ {{ id = {KEY}, secret = {KEY_SECRET} }} ]
limits {{ profile = off }}
"""


GIVEN = f"productKey = {GPK}, deviceName = {GDN}, deviceSecret = {'5' * 32}"


@pytest.fixture
def gateway(box, cloud):
    """gateway(rules) -> the box, not yet started."""
    def write(rules, more="", identity=GIVEN):
        return box.write(identity, more=f"identity {{ ruleRetryMin = 20ms, ruleRetryMax = 1s, rules = [ {rules} ] }}\n{more}")
    return write


def ways(cloud, box):
    https, mqtt = box.https(), f"ssl://{box.mqtt()}"
    account = (f'popClientProfile {{ accessKey = {KEY}, accessSecret = {KEY_SECRET}, name = cn-shanghai, region = cn-shanghai, product = Iot, '
               f'endpoint = "{https}" }}')
    return {
        "gateway": (f"{{ identity = \"139*\", productKey = {SPK} }}", ""),
        "product": (f"{{ identity = \"139*\", productKey = {SPK}, productSecret = {SPS} }}", ""),
        "https": (f"{{ identity = \"139*\", productKey = {DPK}, productSecret = {DPS}, by = https, endpoint = \"{https}\" }}", ""),
        "mqtt": (f"{{ identity = \"139*\", productKey = {DPK}, productSecret = {DPS}, by = mqtt, endpoint = \"{mqtt}\" }}", ""),
        "openapi": (f"{{ identity = \"139*\", productKey = {SPK}, by = openapi }}", account),
    }


@pytest.fixture(params=["gateway", "product", "https", "mqtt", "openapi"])
def way(request):
    return request.param


def registered(terminal):
    return terminal.log_in()


def test_the_first_frame_of_an_unknown_device_brings_its_certificate(cloud, box, gateway, way):
    """covers: E02 E04 E16"""
    gateway(*ways(cloud, box)[way]).start().wait_up()
    with registered(box.terminal(PHONES[0])):
        box.wait_stat("provision.obtained")
        if way in ("gateway", "product", "openapi"):
            cloud.wait_status(SPK, PHONES[0], "ONLINE")
    assert box.stats()["provision.asked"] == 1
    box.process.stop()
    assert not list(box.state.glob("asked-*"))
    box.start().wait_up()  # from the table now
    with registered(box.terminal(PHONES[0])):
        pass
    assert box.stats()["provision.asked"] == 0 and box.stats()["identity.table_entries"] == 1


def test_the_openapi_creates_what_is_not_there(cloud, box, gateway):
    gateway(*ways(cloud, box)["openapi"]).start().wait_up()
    with registered(box.terminal("13988887777")):
        cloud.wait_status(SPK, "13988887777", "ONLINE")


def test_many_at_once_are_asked_for_once_each(cloud, box, gateway, way):
    gateway(*ways(cloud, box)[way]).start().wait_up()
    terminals = [box.terminal(p) for p in PHONES for _ in range(2)]
    for t in terminals:
        t.send(0x0100, b"\0" * 37)
    box.wait_stat("provision.obtained", len(PHONES))
    for t in terminals:
        t.close()
    assert box.stats()["provision.asked"] == len(PHONES)


@pytest.mark.parametrize("point,asked_again", [("rules.asked", True), ("rules.answered", True), ("rules.stored", False)])
@pytest.mark.parametrize("way", ["https", "mqtt"])
def test_killed_at_each_step(cloud, box, gateway, way, point, asked_again):
    """covers: A04 E02"""
    gateway(*ways(cloud, box)[way]).start(env={"CW_CRASH_AT": point})
    box.wait_up()
    with box.terminal(PHONES[0]) as terminal:
        terminal.send(0x0100, b"\0" * 37)
        assert box.process.wait() == -9
    box.process.popen = None
    asked = cloud.stats()["registrations"]
    assert asked == (0 if point == "rules.asked" else 1)
    (mark,) = box.state.glob("asked-*")
    box.start().wait_up()
    with box.terminal(PHONES[0]) as terminal:
        terminal.send(0x0100, b"\0" * 37)
        if not asked_again:  # it was in the table: known
            wait_until(lambda: box.stats()["identity.table_entries"] == 1, "the table's entry")
            assert box.stats()["provision.asked"] == 0 and cloud.stats()["registrations"] == asked
            return
        box.wait_stat("provision.lost")
        assert str(mark) in box.process.stderr() and "delete" in box.process.stderr()
    assert cloud.stats()["registrations"] == asked  # not in silence
    mark.unlink()  # the way out
    box.cli("reload")
    with registered(box.terminal(PHONES[0])):
        box.wait_stat("provision.obtained")
    assert cloud.stats()["registrations"] == asked + 1


@pytest.mark.parametrize("point", ["rules.answered", "rules.stored"])
@pytest.mark.parametrize("way", ["gateway", "openapi"])
def test_killed_where_asking_again_is_harmless(cloud, box, gateway, way, point):
    gateway(*ways(cloud, box)[way]).start(env={"CW_CRASH_AT": point})
    box.wait_up()
    with box.terminal(PHONES[0]) as terminal:
        terminal.send(0x0100, b"\0" * 37)
        assert box.process.wait() == -9
    box.process.popen = None
    box.start().wait_up()
    with registered(box.terminal(PHONES[0])):
        cloud.wait_status(SPK, PHONES[0], "ONLINE")
    assert box.stats()["provision.asked"] == (1 if point == "rules.answered" else 0)


def test_a_refusal_is_kept_and_backed_off_and_says_what_to_do(cloud, box, gateway):
    """covers: E06 A06"""
    cloud.post(f"/products/{DPK}", {"registration": False})
    gateway(*ways(cloud, box)["https"]).start().wait_up()
    with box.terminal(PHONES[0]) as terminal:
        terminal.send(0x0100, b"\0" * 37)
        box.wait_stat("provision.refused")
    assert "switched off" in box.process.stderr() and PHONES[0] in box.process.stderr()
    assert not list(box.state.glob("asked-*"))
    cloud.post(f"/products/{DPK}", {"registration": True})
    box.cli("reload")
    with registered(box.terminal(PHONES[0])):
        box.wait_stat("provision.obtained")


def test_a_name_that_the_platform_does_not_take_is_refused_and_counted(cloud, box, gateway):
    """covers: E16 D10"""
    gateway(f"{{ identity = \"*\", productKey = {SPK}, deviceName = \"${{identity}}-of-a-name-that-is-too-long\" }}").start().wait_up()
    with box.terminal(PHONES[0]) as terminal:
        terminal.send(0x0100, b"\0" * 37)
        box.wait_stat("provision.names_refused")
    assert "provision.name" in box.process.stderr() and box.stats()["provision.asked"] == 0


def test_a_template_names_the_device_and_the_first_rule_counts(cloud, box, gateway):
    """covers: E16"""
    cloud.post("/devices", {"productKey": SPK, "deviceName": f"t-{PHONES[1]}"})
    gateway(f"""{{ identity = "999*", productKey = {DPK} }}
                {{ identity = "139*", productKey = {SPK}, deviceName = "t-${{identity}}" }}
                {{ identity = "*", productKey = {DPK} }}""").start().wait_up()
    with registered(box.terminal(PHONES[1])):
        cloud.wait_status(SPK, f"t-{PHONES[1]}", "ONLINE")


def test_the_platform_away_is_no_refusal(cloud, box, gateway):
    gateway(*ways(cloud, box)["https"]).start().wait_up()
    cloud.stop()
    with box.terminal(PHONES[0]) as terminal:
        terminal.send(0x0100, b"\0" * 37)
        box.wait_stat("provision.unreached")
    assert not list(box.state.glob("asked-*"))
    cloud.start()

    def again():
        with box.terminal(PHONES[0]) as t:
            t.send(0x0100, b"\0" * 37)
            return box.stats()["provision.obtained"]
    wait_until(again, "the certificate")


@pytest.mark.parametrize("rules,word", [
    (f'{{ identity = "*", productKey = {DPK}, by = https, productSecret = {DPS}, endpoint = "http://127.0.0.1:1" }}', "TLS only"),
    (f'{{ identity = "*", productKey = {DPK}, by = mqtt, productSecret = {DPS}, endpoint = "tcp://127.0.0.1:1" }}', "TLS only"),
    (f'{{ identity = "*", productKey = {DPK}, by = https }}', "need the productSecret"),
    (f'{{ identity = "*", productKey = {DPK}, deviceName = "car-${{imai}}" }}', "'${imai}' is not known here; there are ${identity}"),
    (f'{{ identity = "*", productKey = {DPK}, deviceName = "${{mac}}-${{imei" }}', "'${' is not known here"),
    (f'{{ identity = "*", productKey = {DPK}, by = openapi }}', "popClientProfile"),
    (f'{{ identity = "*", productKey = short }}', "5 characters"),
    (f'{{ identity = "*", productKey = {DPK}, deviceName = same }}', "for every device"),
    (f'{{ identity = "*", productKey = {DPK}, upstream = nowhere }}', "nowhere"),
    (f'{{ productKey = {DPK} }}', "identity"),
])
def test_rules_that_cannot_work_are_errors(cloud, box, gateway, rules, word):
    """covers: E08"""
    status, text = gateway(rules).check()
    assert status != 0 and word in text, text


def test_what_rules_obtain_needs_the_table_before_them(box, gateway):
    status, text = gateway(f'{{ identity = "*", productKey = {SPK} }}', more="identity.order = [devices, rules]").check()
    assert status != 0 and "sqlite must stand before rules" in text
