"""What only the upstream over HTTPS has: tokens, its codes, its sizes, no downlink. What all kinds have is in test_upstreams.py."""
import json
import re
import time

import pytest
from conftest import BUILD, wait_until
from gw import PK, cloud_conf, device_name, phone, start_gateway  # noqa: F401
from test_gateway_records import record
from test_upstreams import DONE, REFUSED, now_ms, world  # noqa: F401
from upstreams import POST

DEVICE = f"{PK}/{device_name(0)}"


def auths(w):
    """Logins the platform has accepted."""
    return w.gateway.stats()["upstream.logins"]


def test_a_token_is_used_until_the_platform_says_it_is_over(world):
    """covers: J05 J10 J12 J13 J16"""
    w = world("https")
    with w.connect() as d:
        d.report(3)
        assert auths(w) == 1
        w.cloud.post("/clock", {"advance": "8d"})
        d.report()
        assert auths(w) == 2 and w.gateway.stats()["upstream.kicked"] == 1
        assert [n for n, _ in w.messages()] == [0, 1, 2, 3]  # it arrived once
    w.gateway.wait_state(0, "offline")
    with w.connect() as d:  # and outlives the connection of its device
        d.next = 4
        d.report()
        assert auths(w) == 2


def test_a_token_is_renewed_before_it_is_over(world):
    """covers: J13"""
    w = world("https", "tokenRenewal = 1s")
    with w.connect() as d:
        w.gateway.wait_stat("upstream.logins", 3)
        d.report()
        stats = w.gateway.stats()
        assert stats["upstream.kicked"] == 0 and stats["upstream.logins_refused"] == 0
        assert "offline" not in d.seen


@pytest.mark.parametrize("code", [20001, 20002, 20003])
def test_a_message_whose_token_is_refused_leads_to_one_login(world, code):
    """covers: J13 J16"""
    w = world("https")
    with w.connect() as d:
        d.report()
        w.cloud.fault("status", channel="https", topic=POST, code=code, count=1)
        d.report()
        assert auths(w) == 2 and [n for n, _ in w.messages()] == [0, 1]


def test_a_fresh_token_that_does_not_help_is_no_reason_for_another(world):
    """covers: J13"""
    w = world("https")
    with w.connect() as d:
        d.report()
        w.cloud.fault("status", channel="https", topic=POST, code=20003, count=3)
        d.report()
        assert auths(w) == 2 and [n for n, _ in w.messages()] == [0, 1]


@pytest.mark.parametrize("code", [10000, 30001, 40000, 503])
def test_what_may_succeed_later_is_tried_again(world, code):
    """covers: J16"""
    w = world("https")
    with w.connect() as d, w.connect(1) as other:
        w.cloud.fault("status", channel="https", device=DEVICE, topic=POST, code=code, count=2)
        [n] = d.emit()
        other.report(5)  # nobody else waits
        d.settled([n])
        assert w.gateway.stats()["upstream.resent"] == 2 and auths(w) == 2
        assert [n for n, _ in w.messages()] == [0]


def test_a_message_that_is_never_taken_does_not_block_its_queue_for_ever(world):
    """covers: J16 J17"""
    w = world("https")
    with w.connect() as d:
        w.cloud.fault("status", channel="https", topic=POST, code=30001, count=5)
        numbers = d.emit(2)
        d.settled(numbers[:1], REFUSED)
        d.settled(numbers[1:], DONE)
        assert "code=30001" in w.gateway.log_lines("record.refused")[0]


def test_a_malformed_message_is_refused_at_once(world):
    """covers: J16"""
    w = world("https")
    with w.connect() as d:
        w.cloud.fault("status", channel="https", topic=POST, code=10001, count=1)
        d.settled(d.emit(), REFUSED)
        assert "code=10001" in w.gateway.log_lines("record.refused")[0]
        assert w.gateway.stats()["upstream.resent"] == 0


@pytest.mark.parametrize("code, state", [(20000, "refused"), (20004, "refused"), (10001, "refused"), (10000, "online"), (40000, "online")])
def test_codes_of_the_login(world, code, state):
    """covers: J11"""
    w = world("https", "retryMin = 100ms")
    fault = w.cloud.fault("status", channel="https", device=DEVICE, topic="/auth", code=code, count=1)
    with w.connect(online=False) as d:
        w.gateway.wait_state(0, state)
        assert w.gateway.stats()["upstream.logins_refused"] == (state == "refused")
        if state == "refused":
            assert w.gateway.device(0)["lastCode"] == code
        d.report()  # a refusal is no sentence for life
        assert w.gateway.device(0)["state"] == "online", fault


@pytest.mark.parametrize("method", ["hmacmd5", "hmacsha1", "hmacsha256"])
def test_ways_to_sign(world, method):
    """covers: J06 J08"""
    w = world("https", f"signMethod = {method}")
    with w.connect() as d:
        d.report()


def test_the_platforms_number_of_a_message_is_logged_with_all_its_digits(world):
    """covers: J15"""
    w = world("https", extra="log.level = debug")
    with w.connect() as d:
        d.report(2)
    lines = w.gateway.log_lines("upstream.message")
    numbers = [int(re.search(r" messageId=(\d{18}) ", line)[1]) for line in lines]
    assert numbers[1] > numbers[0] > 2**53
    near = time.time() * 1000 * 100000  # the emulator makes them of its clock; a double would have lost the end
    assert abs(numbers[0] - near) < 60_000 * 100000
    assert any(float(n) != n for n in numbers) or numbers[0] % 16 == 0


def test_a_long_record_goes_as_several_and_one_too_long_is_refused(world):
    """covers: J14"""
    w = world("https", "messageBytes = 1KiB")
    with w.connect() as d:
        d.tell("E 1 " + record(1, {f"P{i:02}": "x" * 60 for i in range(30)}, time=now_ms()))
        d.settled([0])
        d.tell("E 2 " + record(1, {"One": "x" * 1100}, time=now_ms()))
        d.settled([1], REFUSED)
        d.tell("E 3 " + record(4, b"x" * 1025, name="user/update"))
        d.settled([2], REFUSED)
        posts = [json.loads(m["payload"]) for m in w.cloud.messages(device=DEVICE, topic=POST, direction="up")]
        assert len(posts) > 2 and all(len(json.dumps(p)) < 1200 for p in posts)
        assert [name for p in posts for name in p["params"]] == [f"P{i:02}" for i in range(30)]
        assert len({p["id"] for p in posts}) == len(posts)
        stats = w.gateway.stats()
        assert stats["upstream.split"] == 1 and stats["upstream.too_long"] == 2 and stats["bridge.records_delivered"] == 1
        assert w.cloud.get("/violations")["totals"] == {}


def test_a_silent_platform_takes_the_link_down_and_an_answer_brings_it_back(world):
    """covers: L06 M26"""
    w = world("https", "timeout = 200ms, ackTimeout = 1m")
    with w.connect() as d, w.connect(1) as other:
        d.report()
        fault = w.cloud.fault("stall", channel="https")
        numbers, others = d.emit(3), other.emit(3)
        wait_until(lambda: not w.gateway.status()["up"], "the link to go down")
        assert "https://localhost" in w.gateway.status()["upstreams"][0]["lastError"]
        w.gateway.wait_state(0, "waiting")
        w.cloud.delete(f"/faults/{fault['id']}")
        d.settled(numbers)
        other.settled(others)
        assert auths(w) == 2  # tokens outlive the link
        assert w.arrived(0) == [0, *numbers] and w.arrived(1) == others


def test_a_platform_that_nobody_vouches_for_is_not_told_anything(start_cloud, start_gateway):
    """covers: H10 J01"""
    cloud = start_cloud(cloud_conf(1, node="device", listeners="https mqtt"))
    address = cloud.process.ready["https"]
    gateway = start_gateway(cloud, rates="type = https", endpoint=f"https://{address}", devices=1)
    gateway.wait_log("upstream.down")
    assert "certificate" in gateway.status()["upstreams"][0]["lastError"]
    assert not gateway.status()["up"] and gateway.stats()["upstream.connect_failed"] >= 1


def test_commands_are_told_to_be_impossible_before_anybody_tries(world):
    """covers: J03"""
    w = world("https")
    with w.connect() as d:
        d.report()
        assert w.gateway.device(0)["downlink"] is False
        assert w.gateway.status()["upstreams"][0]["downlink"] is False
        assert "cannot be sent commands: upstream cloud has no downlink" in w.gateway.cli("device", "show", phone(0)).stdout
        assert "no downlink" in w.gateway.cli("status").stdout
    assert len(w.gateway.log_lines("upstream.one_way")) == 1


def test_where_the_platform_is(start_cloud, start_gateway, tmp_path):
    """The region's public host by default, any other by endpoint. covers: J04"""
    import subprocess
    for text, error in (("region = cn-shanghai", None), ('endpoint = "https://[2001:db8::1]:8443/"', None),
                        ('endpoint = "http://host"', "does not begin with https://"), ('endpoint = "https://host/topic"', "is not like"),
                        ('endpoint = "https://"', "is not like"), ('endpoint = "https://user@host"', "is not like"),
                        ("region = cn-shanghai, inFlight = 9", "inFlight")):
        conf = tmp_path / "check.conf"
        (tmp_path / "devices.conf").write_text("")
        conf.write_text(f"""productKey = a, deviceName = b, deviceSecret = c
stateDir = "{tmp_path}/state", pluginDir = "{BUILD}/plugins"
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ cloud {{ type = https, {text} }} }}
""")
        conf.chmod(0o600)
        done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", conf], capture_output=True, text=True, timeout=60)
        assert (done.returncode == 0) == (error is None), (text, done.stdout, done.stderr)
        assert error is None or error in done.stdout + done.stderr, (text, done.stdout, done.stderr)
