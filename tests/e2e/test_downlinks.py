"""Every command of the platform over every kind of upstream: it reaches its device once and ends once, or is refused as documented.

Rows are commands, columns kinds; what a column cannot is in CANNOT with its reason. A broker's commands are
test_upstream_broker.py's, upgrades test_gateway_ota.py's.
"""
import dataclasses
import hashlib
import json
import threading

import pytest
from conftest import wait_until
from gw import GW, PK, device_name, start_gateway  # noqa: F401
from test_gateway_records import flat, record
from test_upstreams import world  # noqa: F401
from upstreams import KINDS

PATH = f"/devices/{PK}/{device_name(0)}"
PLATFORM_KINDS = [k for k, kind in KINDS.items() if kind.platform == "emulator"]


def topic(rest):
    return f"/sys/{PK}/{device_name(0)}/{rest}"


@dataclasses.dataclass
class Command:
    path: str
    body: object
    kind: int                 # CW_KIND_* the decoder sees
    part: bytes = b""         # of the record
    query: dict = dataclasses.field(default_factory=dict)
    method: str = "POST"
    reply: bytes = b""        # the decoder's
    answer: str = ""          # where the gateway's answer goes; empty: nothing goes back
    result: str = "answered"  # the platform's word for it; empty: it says none


COMMANDS = {
    "property set": Command(PATH + "/properties", {"Light": 1}, 33, flat("Light"), answer="thing/service/property/set_reply"),
    "property get": Command(PATH + "/properties", ["Light"], 34, flat("identifiers"), answer="thing/service/property/get_reply",
                            reply=flat({"Light": 1})),
    "service": Command(PATH + "/services/Beep", {"Times": 3}, 35, flat("Times") + flat(3), answer="thing/service/Beep_reply",
                       reply=flat({"Done": True})),
    "synchronous service": Command(PATH + "/services/Beep", {"Times": 4}, 35, flat("Times") + flat(4), {"sync": 1},
                                   answer="rrpc/response/+"),
    "raw bytes": Command(PATH + "/raw", b"\x01\xff", 36, flat(b"\x01\xff"), {"topic": topic("thing/model/down_raw"), "qos": 1},
                         result="delivered"),
    "custom topic": Command(PATH + "/raw", b"\x02\x00", 36, flat("user/get"), {"topic": f"/{PK}/{device_name(0)}/user/get", "qos": 1},
                            result="delivered"),
    "RRPC": Command(PATH + "/rrpc", b"ping", 37, flat(b"ping"), reply=b"pong", answer="rrpc/response/+"),
    "remote configuration": Command(f"/products/{PK}/config/push", {}, 39, flat("configId"), answer="thing/config/push_reply", result=""),
    "shadow": Command(PATH + "/shadow", {"desired": {"Colour": "red"}}, 40, flat("Colour") + flat("red"), method="PUT", result=""),
    "broadcast to all online": Command(f"/products/{PK}/broadcast", b"to all", 45, flat(b"to all"), result=""),
    "broadcast to subscribers": Command(f"/products/{PK}/broadcast", b"news", 45, flat(b"news"), {"name": "news"}, result=""),
}

NOBODY_WAITS = "over CoAP the platform cannot reach a device, only keep messages of QoS 1 until they are fetched; this one is not kept"
CANNOT = {("coap", c): NOBODY_WAITS for c in ("synchronous service", "RRPC", "remote configuration", "shadow",
                                              "broadcast to all online", "broadcast to subscribers")}
CANNOT.update({("https", c): "the platform has no downlink over HTTPS" for c in COMMANDS})


@pytest.fixture
def ask_platform():
    """Issue a command on a thread of its own: its answer comes when the device has answered."""
    threads = []

    def start(w, c):
        got = []
        t = threading.Thread(target=lambda: got.append(issue(w, c)))
        t.start()
        threads.append(t)

        def join():
            t.join()
            return got[0]
        return join
    yield start
    for t in threads:
        t.join()


def has_come_up(w):
    if w.kind.subscribes and w.gateway.status()["upstreams"][0]["downlink"]:  # this one is last
        last = f"/{PK}/{device_name(0)}/user/#"
        wait_until(lambda: last in w.cloud.device(PK, device_name(0)).get("subscriptions", []), f"{last} to be subscribed")


def issue(w, c, **more):
    return w.cloud.request(c.method, c.path, c.body, query={**c.query, **more})


def refused(w, name, c):
    """The platform says at once that it cannot: nothing reaches the gateway, nothing is left waiting."""
    status, answer = issue(w, c)
    assert status == 409 and answer["result"] == "offline" or answer.get("told") == 0 or answer.get("devices") == 0 or \
        (name == "shadow" and status == 200), (name, status, answer)


def carried_out(w, d, name, c, ends):
    if w.kind.fetched or not c.answer:
        status, answer = issue(w, c, **({"async": 1} if c.answer else {}))
        assert 200 <= status < 300, (name, status, answer)
        assert answer.get("result", "") in ({"delivered": ("stored", "delivered")}.get(c.result, (c.result, "stored"))), (name, answer)
        join = None
    else:
        join = w.ask(c)
    if c.kind == 45:
        assert bytes.fromhex(d.until("broadcast ").split()[1]).endswith(c.part + b"\xff"), name
        return
    _, number, text = d.until("command ").split()
    seen = bytes.fromhex(text)
    assert seen.startswith(b"\xbf\x00" + flat(c.kind)) and c.part in seen, (name, text)
    d.tell(f"A {number} 200 {c.reply.hex()}")
    ends.append(name)
    if join is not None:
        status, answer = join()
        assert status == 200 and answer.get("result", "") == c.result, (name, status, answer)
        assert answer.get("payload") == "pong" if c.kind == 37 else answer.get("reply", {"code": 200})["code"] == 200, (name, answer)


@pytest.mark.parametrize("kind", PLATFORM_KINDS)
def test_each_command_reaches_its_device_once_and_ends_once(world, kind, ask_platform):
    """covers: K12 K13 K18 K19 K20 M32 M34 H07"""
    w = world(kind)
    w.ask = lambda c: ask_platform(w, c)
    w.cloud.request("PUT", f"/products/{PK}/config", {"interval": 60}, query={"on": 1})
    with w.connect() as d, w.connect(1) as other:
        d.report()
        has_come_up(w)
        ends = []
        for name, c in COMMANDS.items():
            if (kind, name) in CANNOT:
                refused(w, name, c)
            else:
                carried_out(w, d, name, c, ends)
        wait_until(lambda: w.gateway.stats()["bridge.commands_answered"] >= len(ends), "all commands to end")
        d.report()  # what it was told until now is all there is
        other.report()
        told = [line.split()[0] for line in d.seen if line.startswith(("command ", "broadcast ", "cancelled "))]
        casts = sum((kind, n) not in CANNOT for n in COMMANDS if COMMANDS[n].kind == 45)
        assert sorted(told) == ["broadcast"] * casts + ["command"] * len(ends)
        configured = [line for line in other.seen if line.startswith("command ")]  # the only one that is for all of a product
        assert len(configured) == ("remote configuration" in ends)
        for name in ends:
            where = COMMANDS[name].answer
            rest = [n for n in ends if COMMANDS[n].answer == where]
            if where:
                wait_until(lambda: len(w.cloud.messages(topic=topic(where), direction="up")) == len(rest), f"one answer to {name}")
        stats = w.gateway.stats()
        assert (stats["bridge.commands_timed_out"], stats["bridge.commands_refused"], stats["upstream.downlinks_odd"]) == (0, 0, 0)
        assert stats["upstream.answers_lost"] == 0


def test_a_broadcast_to_subscribers_reaches_every_device_of_its_product_once(world):
    """covers: K20 M34"""
    w = world("mqtt")
    with w.connect() as a, w.connect(1) as b, w.connect(2) as c:
        has_come_up(w)
        assert w.cloud.post(f"/products/{PK}/broadcast", b"news", name="news")["devices"] == 1  # one connection heard it
        for d in (a, b, c):
            assert bytes.fromhex(d.until("broadcast ").split()[1]).endswith(flat(b"news") + b"\xff")
            d.report()
            assert len([s for s in d.seen if s.startswith("broadcast ")]) == 1
    # Nobody of a product is here: it ends, too.
    offline = w.gateway.stats()["bridge.commands_offline"]
    w.cloud.request("POST", "/clock", {"advance": "2s"})
    assert w.cloud.post(f"/products/{GW[0]}/broadcast", b"news", name="news")["devices"] == 1  # the bridge's own product
    w.gateway.wait_stat("bridge.commands_offline", offline + 1)


# ---- shadows ------------------------------------------------------------------------------------

SHADOW_REPORT = 7


@pytest.mark.parametrize("kind", ["mqtt", "http2", "coap", "https"])
def test_what_a_device_reports_to_its_shadow_is_there(world, kind):
    """covers: K18"""
    w = world(kind)
    with w.connect() as d:
        for n in range(1, 4):  # each replaces the one before, within one millisecond, too
            d.sock.sendall(f"E {n} {record(SHADOW_REPORT, {'Colour': f'shade {n}', 'List': [n]})}\n".encode())
        # Told in whatever order the acknowledgements came.
        assert sorted(d.line() for _ in range(6)) == ["rc 0"] * 3 + [f"settled {n} 0" for n in range(1, 4)]
        wait_until(lambda: w.cloud.get(PATH + "/shadow").get("state", {}).get("reported") == {"Colour": "shade 3", "List": [3]}, "the shadow")
        if kind in ("mqtt", "http2"):
            w.gateway.wait_stat("upstream.replies_ok", 3)
            assert w.gateway.stats()["upstream.replies_failed"] == 0


@pytest.mark.parametrize("kind", ["mqtt", "http2"])
def test_a_device_asks_for_its_shadow_and_hears_what_is_desired(world, kind):
    """covers: K18"""
    w = world(kind)
    w.cloud.request("PUT", PATH + "/shadow", {"desired": {"Colour": "blue"}})
    with w.connect() as d:
        has_come_up(w)
        d.tell("E 1 " + record(SHADOW_REPORT, {}))
        _, number, text = d.until("command ").split()
        assert bytes.fromhex(text).startswith(b"\xbf\x00" + flat(40)) and flat("Colour") + flat("blue") in bytes.fromhex(text)
        d.tell(f"A {number} 200")


def test_a_report_that_the_platform_refuses_is_told_to_the_operator(world):
    w = world("mqtt")
    with w.connect() as d:
        has_come_up(w)
        d.tell("E 1 " + record(SHADOW_REPORT, {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}}))
        assert d.until("settled") == "settled 1 0"  # the platform has it, and says afterwards what it thinks of it
        w.gateway.wait_log("upstream.reply_failed")
        assert "code=400" in w.gateway.log_lines("upstream.reply_failed")[0]
        assert w.gateway.stats()["upstream.replies_failed"] == 1


# ---- remote configuration -----------------------------------------------------------------------

CONFIG_GET = {"id": "1", "version": "1.0", "method": "thing.config.get", "params": {"configScope": "product", "getType": "file"}}


@pytest.mark.parametrize("kind", ["mqtt", "http2"])
def test_a_device_asks_for_its_configuration(world, kind):
    """covers: K19"""
    w = world(kind)
    config = b'{"interval": 60}'
    w.cloud.request("PUT", f"/products/{PK}/config", config, query={"on": 1})
    with w.connect() as d:
        has_come_up(w)
        d.tell("E 1 " + record(4, json.dumps(CONFIG_GET).encode(), name="thing/config/get", qos=1))
        _, number, text = d.until("command ").split()
        seen = bytes.fromhex(text)
        assert seen.startswith(b"\xbf\x00" + flat(39)) and flat("configSize") + flat(len(config)) in seen
        assert hashlib.sha256(config).hexdigest().encode() in seen and b"http" in seen
        d.tell(f"A {number} 200")
        w.gateway.wait_stat("bridge.commands_answered", 1)
        d.report()
        assert not w.cloud.messages(topic=topic("thing/config/get_reply_reply"))
        w.cloud.request("PUT", f"/products/{PK}/config", b"", query={"on": 0})
        d.tell("E 2 " + record(4, json.dumps(CONFIG_GET).encode(), name="thing/config/get", qos=1))
        w.gateway.wait_log("code=6713")


def test_the_bridges_own_configuration_is_noted_and_answered_but_not_applied(world):
    """covers: K19"""
    w = world("mqtt")
    first, second = b'{"first": 1}', b'{"second": 22}'
    assert "remoteConfig" not in w.gateway.status()["upstreams"][0]
    w.cloud.request("PUT", f"/products/{GW[0]}/config", first, query={"on": 1})
    w.cloud.wait_message(topic=f"/sys/{GW[0]}/{GW[1]}/thing/config/get", direction="up")  # asked after its login
    last = f"/{GW[0]}/{GW[1]}/user/#"
    wait_until(lambda: last in w.cloud.device(*GW).get("subscriptions", []), f"{last} to be subscribed")

    def noted():
        return w.gateway.status()["upstreams"][0].get("remoteConfig", {})
    for config in (first, second, second):
        w.cloud.request("PUT", f"/products/{GW[0]}/config", config, query={"on": 1})
        assert w.cloud.post(f"/products/{GW[0]}/config/push", {}) == {"told": 1}
        id = w.cloud.get(f"/products/{GW[0]}/config")["configId"]  # another one with each change, of the same bytes, too
        wait_until(lambda: noted().get("configId") == id, "the configuration to be noted")
        assert (noted()["size"], noted()["sha256"]) == (len(config), hashlib.sha256(config).hexdigest())
    replies = wait_until(lambda: [m for m in w.cloud.messages(topic=f"/sys/{GW[0]}/{GW[1]}/thing/config/push_reply", direction="up")] or None,
                         "answers")
    assert json.loads(replies[0]["payload"])["code"] == 200
    assert noted()["configId"] in w.gateway.cli("status").stdout
    assert "http" not in "".join(w.gateway.log_lines("upstream.config"))  # whoever has the link may read the file
    # After a restart it asks.
    before = noted()["configId"]
    w.gateway.process.stop()
    w.gateway.process.start()
    w.gateway.wait_up()
    wait_until(lambda: noted().get("configId") == before, "the configuration to be asked for")
