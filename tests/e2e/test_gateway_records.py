"""All kinds of records and commands through the real gateway, spoken by the probe plugin: what no protocol of ours uses is tested too."""
import json
import shutil
import socket
import threading

import pytest
from conftest import BUILD, wait_until
from gw import PK, cloud_conf, device_name, phone, start_gateway, wait_reported  # noqa: F401


# ---- the flat encoding of records, written from the words of record.h ------------------------

def head(major, value):
    for limit, info, size in ((24, None, 0), (0x100, 24, 1), (0x10000, 25, 2), (0x100000000, 26, 4)):
        if value < limit:
            return bytes([major << 5 | value]) if info is None else bytes([major << 5 | info]) + value.to_bytes(size, "big")
    return bytes([major << 5 | 27]) + value.to_bytes(8, "big")


def flat(value):
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, tuple):  # decimal: mantissa, exponent
        return b"\xc4\x82" + flat(value[1]) + flat(value[0])
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(flat, value))
    return head(5, len(value)) + b"".join(flat(k) + flat(v) for k, v in value.items())


def record(kind, body, **more):
    keys = {"name": 1, "time": 2, "flags": 3, "event_type": 4, "dedup": 5, "request": 6, "qos": 8}
    return flat({0: kind, **{keys[k]: v for k, v in more.items()}, 7: body}).hex()


class Probe:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), 30)
        self.file = self.sock.makefile("r", newline="\n")  # not "rw": writing there drops what was read ahead
        assert self.line() == "open"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.sock.close()

    def line(self):
        text = self.file.readline()
        assert text.endswith("\n"), "the gateway has closed the connection"
        return text[:-1]

    def until(self, start):
        while True:
            text = self.line()
            if text.startswith(start):
                return text

    def tell(self, text, rc=0):
        self.sock.sendall(text.encode() + b"\n")
        got = self.until("rc ")
        assert got == f"rc {rc}", (text, got)

    def identify(self, i=0):
        self.tell(f"I {phone(i)}")
        self.until("online")
        return self


@pytest.fixture
def probes(start_cloud, start_gateway, tmp_path):
    """(cloud, gateway, connect) with a listener for the probe plugin."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for source in (BUILD / "tests" / "plugins" / "probe.so", BUILD / "plugins" / "jt808.so"):
        shutil.copy(source, plugins)
    cloud = start_cloud(cloud_conf(3))
    extra = f"""pluginDir = "{plugins}"
listeners += {{ name = probes, protocol = probe, address = "127.0.0.1:0", ack = delivered, settings {{ speed = 9 }} }}
attachments.maxBytes = 2KiB"""
    gateway = start_gateway(cloud, extra=extra).wait_up()
    return cloud, gateway, lambda: Probe(gateway.process.ready["listeners"]["probes"])


def topic_of(i, rest):
    return f"/sys/{PK}/{device_name(i)}/{rest}"


def up(cloud, topic):
    return cloud.wait_message(topic=topic, direction="up")


def test_numbers_keep_their_digits_and_structures_their_shape(probes):
    """covers: M40 K13"""
    cloud, _, connect = probes
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(1, {"Volt": (1230, -2), "Big": 2**53 + 1, "List": [1, {"a": None}], "Neg": -5}, time=1_790_000_000_000))
        assert p.until("settled") == "settled 1 0"
    text = up(cloud, topic_of(0, "thing/event/property/post"))["payload"]
    assert '"Volt":{"value":12.30' in text and "9007199254740993" in text
    params = json.loads(text)["params"]
    assert params["List"]["value"] == [1, {"a": None}] and params["Neg"]["value"] == -5


def test_events_carry_parameters_and_their_type_stays_with_us(probes):
    """covers: M41 M42 K13"""
    cloud, _, connect = probes
    with connect() as p:
        p.identify()
        for kind in (1, 2, 3):
            p.tell(f"E {kind} " + record(2, {"Level": kind}, name="Overheat", event_type=kind, time=1_795_000_000_000))
            assert p.until("settled") == f"settled {kind} 0"
    message = json.loads(up(cloud, topic_of(0, "thing/event/Overheat/post"))["payload"])
    assert message["params"]["value"] == {"Level": 1} and "type" not in message["params"]


def test_a_tag_is_created_and_then_replaced(probes):
    """covers: M44 K16"""
    cloud, _, connect = probes
    with connect() as p:
        p.identify()
        for n, colour in enumerate(("red", "blue"), 1):
            p.tell(f"E {n} " + record(3, {"Colour": colour}))
            assert p.until("settled") == f"settled {n} 0"
    assert wait_until(lambda: cloud.device(PK, device_name(0))["tags"].get("Colour") == "blue", "the second value")


def test_bytes_on_a_topic_arrive_as_they_are_with_the_qos_asked_for(probes):
    """covers: M30 K02 K05"""
    cloud, _, connect = probes
    data = bytes(range(256))
    with connect() as p:
        p.identify()
        for n, qos in enumerate((0, 1), 1):
            p.tell(f"E {n} " + record(4, data, name=f"user/up{qos}", qos=qos))
            assert p.until("settled") == f"settled {n} 0"
    for qos in (0, 1):
        message = up(cloud, f"/{PK}/{device_name(0)}/user/up{qos}")
        assert message["qos"] == qos
        assert bytes.fromhex(message["payloadHex"]) == data


def test_a_topic_that_is_none_is_refused_to_its_sender(probes):
    """covers: K06"""
    _, gateway, connect = probes
    with connect() as p:
        p.identify()
        for n, name in enumerate(("user/a-b", "user//x", "user/+", ""), 1):
            p.tell(f"E {n} " + record(4, b"x", name=name))
            assert p.until("settled") == f"settled {n} 2", name
    assert gateway.stats()["bridge.records_refused"] == 4


def test_the_platforms_reply_comes_back_under_the_callers_id(probes):
    """covers: M45"""
    cloud, _, connect = probes
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(1, {"A": 1}, request="4711"))
        assert p.until("reply").startswith("reply 4711 200")
    assert json.loads(up(cloud, topic_of(0, "thing/event/property/post"))["payload"])["id"] == "4711"


def test_ota_version_and_progress_arrive(probes):
    cloud, _, connect = probes
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(5, {"version": "1.2.3"}, name="MCU"))
        p.tell("E 2 " + record(6, {"step": 50, "desc": "half"}, name="MCU"))
        p.until("settled 2")
    inform = json.loads(up(cloud, f"/ota/device/inform/{PK}/{device_name(0)}")["payload"])
    assert inform["params"] == {"version": "1.2.3", "module": "MCU"}
    progress = json.loads(up(cloud, f"/ota/device/progress/{PK}/{device_name(0)}")["payload"])
    assert progress["params"] == {"step": "50", "desc": "half", "module": "MCU"}


def test_a_copy_of_a_message_joins_the_first_and_is_not_published_again(probes):
    cloud, gateway, connect = probes
    text = record(1, {"A": 1}, dedup=b"same")
    with connect() as p:
        p.identify()
        p.tell("E 1 " + text)
        assert p.until("settled") == "settled 1 0"
        p.tell("E 2 " + text)
        assert p.until("settled") == "settled 2 0"
    with connect() as p:  # and on another connection
        p.identify()
        p.tell("E 3 " + text)
        assert p.until("settled") == "settled 3 0"
    assert gateway.stats()["bridge.records_duplicate"] == 2
    assert len(cloud.messages(topic=topic_of(0, "thing/event/property/post"))) == 1


def test_a_clock_that_is_wrong_is_replaced_and_kept_beside(probes):
    cloud, gateway, connect = probes
    with connect() as p:
        p.identify()
        p.tell("E 1 " + record(1, {"A": 1}, time=946_684_800_000))  # 2000-01-01
        p.until("settled 1")
    params = json.loads(up(cloud, topic_of(0, "thing/event/property/post"))["payload"])["params"]
    assert params["A"]["time"] > 1_700_000_000_000 and params["RawTime"]["value"] == 946_684_800_000
    assert gateway.stats()["bridge.times_corrected"] == 1


def test_bad_records_are_refused_to_the_decoder_and_nobody_else_notices(probes):
    _, gateway, connect = probes
    with connect() as p:
        p.identify()
        for text in ("", "00", "a0", "bf", flat({0: 1, 7: {"a": b"\xff"}}).hex()[:-2], flat({0: 99, 7: {}}).hex(),
                     flat({0: 1, 7: 5}).hex(), flat({0: 2, 1: b"bytes", 7: {}}).hex()):
            p.tell("E 1 " + text, rc=-6)
        p.tell("E 2 " + record(1, {"A": 1}))
        assert p.until("settled") == "settled 2 0"
    assert gateway.stats()["plugin.refused_calls"] >= 8


def test_records_before_the_identity_is_known_are_refused_and_counted(probes):
    """covers: M24"""
    _, gateway, connect = probes
    with connect() as p:
        p.tell("E 1 " + record(1, {"A": 1}), rc=-15)
        p.tell(f"L {phone(0)}")
        assert p.until("known") == f"known {phone(0)} {PK} {device_name(0)} "
        p.tell("E 1 " + record(1, {"A": 1}), rc=-15)
    assert gateway.stats()["bridge.records_unidentified"] == 2


def test_what_a_decoder_saves_comes_back_after_a_restart(probes):
    _, gateway, connect = probes
    with connect() as p:
        p.identify()
        p.tell("S cafe01")
        p.tell("S " + "00" * 4097, rc=-11)
    gateway.process.stop()
    gateway.process.start()
    gateway.wait_up()
    with connect() as p:
        p.tell(f"I {phone(0)}")
        assert p.until("identified").endswith(" cafe01")


def test_product_and_device_names_are_in_the_event(probes):
    """covers: M31 M23"""
    _, _, connect = probes
    with connect() as p:
        p.tell(f"I {phone(1)}")
        assert p.until("identified") == f"identified {phone(1)} {PK} {device_name(1)} "


def test_a_detached_device_goes_offline_and_the_connection_stays(probes):
    """covers: M25"""
    cloud, _, connect = probes
    with connect() as p:
        p.identify()
        p.tell("D")
        p.until("detached")
        cloud.wait_status(PK, device_name(0), "OFFLINE")
        p.identify()
        cloud.wait_status(PK, device_name(0), "ONLINE")


def call(cloud, path, body, **query):
    answers = []
    t = threading.Thread(target=lambda: answers.append(cloud.send(f"/devices/{PK}/{device_name(0)}/{path}", body, **query)))
    t.start()

    def join():
        t.join()
        return answers[0]
    return join


def test_a_command_ends_as_the_decoder_says(probes):
    """covers: M32"""
    cloud, gateway, connect = probes
    with connect() as p:
        p.identify()
        join = call(cloud, "services/Beep", {"Times": 3})
        _, number, _ = p.until("command").split(" ")
        p.tell(f"A {number} 200 " + flat({"Done": True}).hex())
        status, answer = join()
        assert status == 200 and answer["reply"]["code"] == 200 and answer["reply"]["data"] == {"Done": True}
        join = call(cloud, "services/Beep", {"Times": 3})
        _, number, _ = p.until("command").split(" ")
        p.tell(f"A {number} 100001")
        p.tell(f"A {number} 200")  # a second ending is ignored
        status, answer = join()
        assert answer["reply"]["code"] == 100001
    stats = gateway.stats()
    assert stats["bridge.commands_answered"] == 1 and stats["bridge.commands_refused"] == 1


def test_a_broadcast_reaches_the_sessions_of_the_product(probes):
    """covers: M34 K20"""
    cloud, _, connect = probes
    with connect() as a, connect() as b:
        for i, p in enumerate((a, b)):
            p.identify(i)
            status, answer = cloud.request("POST", f"/devices/{PK}/{device_name(i)}/raw", b"hello", topic=topic_of(i, "broadcast/request/7"))
            assert status == 202, answer
        for p in (a, b):
            assert p.until("broadcast").endswith(flat({7: b"hello"}).hex()[2:] + "ff")  # the record's last member and its end mark


def test_an_attachment_is_written_whole_and_a_large_one_refused(probes):
    _, gateway, connect = probes
    with connect() as p:
        p.identify()
        p.tell("P " + "41" * 2049, rc=-11)
        p.sock.sendall(b"P " + b"42" * 100 + b"\n")
        name = p.until("attached").split(" ")[1]
    path = gateway.dir / "state" / "attachments" / name
    wait_until(path.exists, "the attachment")
    assert path.read_bytes() == b"B" * 100


def test_timers_fire_and_delayed_closes_close(probes):
    _, _, connect = probes
    with connect() as p:
        p.tell("T 5 10")
        assert p.until("timer") == "timer 5"
        p.tell("C 20")
        assert p.file.readline() == ""
