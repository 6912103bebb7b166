"""GB/T 26875.3 and HJ 212 devices that come twice, come unknown, lie, fall silent or never stop. covers: M01 M02 M22"""
import json
import random
import socket

import pytest
from conftest import wait_until
from gw import PK, ask, device_name, devices_conf, phone, secret, start_gateway, wait_reported, world  # noqa: F401
from test_gb26875 import UTD, fire  # noqa: F401
from test_hj212 import event, station, water  # noqa: F401

from station import crc, frame, local  # noqa: E402 - found where the two above have put it
from utd import CONFIRM, CONTROL, DENY, REQUEST, RESPONSE, SEND, Utd, analogue, component_state, label, unit
from utd import frame as utd_frame


def listed(gateway):
    return {e["identity"]: e for e in json.loads(gateway.cli("pending", "list", "--json").stdout)}


def posts(cloud, i, rest):
    """Parameters of each message to that topic, in the order in which the platform has received them."""
    found = cloud.messages(topic=f"/sys/{PK}/{device_name(i)}/thing/event/{rest}/post", direction="up", limit=10000)
    return [(json.loads(m["payload"]) if isinstance(m["payload"], str) else m["payload"])["params"] for m in found]


def events(cloud, i, name):
    """(value, time) of each event of that name."""
    return [(p["value"], p["time"]) for p in posts(cloud, i, name)]


def history(cloud, i, name):
    """The same of late ones."""
    return [(e[name]["value"], e[name]["time"]) for p in posts(cloud, i, "property/history") for d in p for e in d["events"] if name in e]


# ---- one device, several connections ------------------------------------------------------------------------

def test_a_logger_on_two_connections_is_heard_on_both_and_asked_on_the_newest(water):
    cloud, gateway = water()
    with station(gateway) as old:
        old.expect_answer(old.send("2011", f"DataTime={local()};w01018-Rtd=1.5"))
        cloud.wait_status(PK, device_name(0), "ONLINE")
        with station(gateway) as new:
            new.expect_answer(new.send("2011", f"DataTime={local()};w01018-Rtd=2.5"))
            old.expect_answer(old.send("2011", f"DataTime={local()};w21003-Rtd=3.5"))  # not cut off
            assert wait_reported(cloud, 0, "w21003_Rtd") == 3.5
            answer = ask(cloud, 0, "/services/getTime", {})
            new.obey("1011", "SystemTime=20261121160000")
            assert answer()[1]["reply"]["code"] == 200
            assert old.silent()
        # The newer one has gone: the device is still there, and is asked over the older one.
        wait_until(lambda: gateway.stats()["net.connections"] == 1, "the newer connection to end")
        old.expect_answer(old.send("2021", "SB1-RS=1"))
        answer = ask(cloud, 0, "/services/getTime", {})
        old.obey("1011", "SystemTime=20261121160001")
        assert answer()[1]["reply"]["code"] == 200
        assert cloud.device(PK, device_name(0))["status"] == "ONLINE"
    cloud.wait_status(PK, device_name(0), "OFFLINE")


def test_a_utd_that_dials_again_replaces_its_connection(fire):
    cloud, gateway, where = fire()
    with Utd(where) as old:
        assert old.tell() == CONFIRM
        cloud.wait_status(PK, device_name(0), "ONLINE")
        with Utd(where) as new:
            assert new.tell(unit(26, b"\3new")) == CONFIRM
            assert wait_reported(cloud, 0, "configText") == "new"
            assert old.is_closed()
            wait = ask(cloud, 0, "/services/readUtdClock", {})
            request = new.receive(REQUEST)
            new.send(unit(28, label()), command=RESPONSE, serial=request.serial)
            assert wait()[1]["reply"]["code"] == 200


# ---- unknown = keep -------------------------------------------------------------------------------------------

def test_frames_of_a_utd_that_nobody_knows_are_kept_and_delivered_in_order(fire):
    cloud, gateway, where = fire(identities=(), listener="unknown = keep, ack = delivered")
    with Utd(where) as t:
        for i in range(3):
            t.send(unit(3, analogue(3, 100 + i)))
        wait_until(lambda: gateway.stats()["pending.frames"] == 3, "three kept frames")
        assert listed(gateway)[UTD]["frames"] == 3
        gateway.devices.write_text(f'"{UTD}" {{ productKey : {PK}, deviceName : {device_name(0)}, deviceSecret : {secret(0)} }}\n')
        gateway.reload()
        gateway.wait_stat("pending.delivered", 3)
        wait_until(lambda: gateway.stats()["pending.frames"] == 0, "none left")
        # None of the three was confirmed: the first answer is that of a new frame.
        assert t.tell(unit(3, analogue(3, 200)), serial=77) == CONFIRM
        assert t.unread == []
    seen = wait_until(lambda: len(events(cloud, 0, "analogueReport")) >= 4 and events(cloud, 0, "analogueReport"), "all four")
    assert [v["raw"] for v, _ in seen] == [100, 101, 102, 200]
    times = [t for _, t in seen]
    assert times == sorted(times)


def test_frames_of_a_logger_that_nobody_knows_are_kept_and_delivered_in_order(water):
    cloud, gateway = water(more="unknown = keep, ack = delivered")
    gateway.devices.write_text(devices_conf(1))
    gateway.reload()
    with station(gateway, 1) as s:
        for i in range(3):
            s.send("2061", f"DataTime=202611210{i}0000;w01018-Avg={i}")
        wait_until(lambda: gateway.stats()["pending.frames"] == 3, "three kept frames")
        assert listed(gateway)[phone(1)]["frames"] == 3 and s.silent()
        gateway.devices.write_text(devices_conf(2))
        gateway.reload()
        gateway.wait_stat("pending.delivered", 3)
        wait_until(lambda: gateway.stats()["pending.frames"] == 0, "none left")
        s.expect_answer(s.send("2061", "DataTime=20261121040000;w01018-Avg=4"))
    seen = wait_until(lambda: len(history(cloud, 1, "hourData")) >= 4 and history(cloud, 1, "hourData"), "all four")
    assert [v["factors"][0]["avg"] for v, _ in seen] == [0, 1, 2, 4]


# ---- answers late, twice, never, to nothing ------------------------------------------------------------------------

def test_requests_to_a_utd_that_answers_as_it_likes(fire):
    cloud, gateway, where = fire('firstReads = "", requestTime = 300ms')
    with Utd(where) as t:
        assert t.tell() == CONFIRM
        cloud.wait_status(PK, device_name(0), "ONLINE")
        for command in (CONFIRM, DENY, RESPONSE):  # answers to nothing
            t.send(unit(21, b"\1" + label()), command=command, serial=999)
        gateway.wait_stat("plugin.gb26875.unmatched", 3)
        # Two at once: one exchange is open, the other waits; the first is never answered.
        first = ask(cloud, 0, "/services/readUtdStatus", {})
        sent = [t.receive(REQUEST) for _ in range(4)]
        assert len({f.serial for f in sent}) == 1
        second = ask(cloud, 0, "/services/readUtdVersion", {})
        assert first()[1]["reply"]["data"]["message"] == "timeout"
        t.send(unit(21, b"\1" + label()), command=RESPONSE, serial=sent[0].serial)  # too late
        request = t.receive(REQUEST)
        assert request.unit[0] == 85
        for _ in range(2):  # twice
            t.send(unit(25, b"\3\4"), command=RESPONSE, serial=request.serial)
        assert second()[1]["reply"]["data"]["objects"] == [{"version": "3.4"}]
        # A storm of denies costs the resends and no more.
        wait = ask(cloud, 0, "/services/initialise", {})
        for _ in range(4):
            check = t.receive(CONTROL)
            t.send(command=DENY, serial=check.serial)
        for _ in range(50):
            t.send(command=DENY, serial=check.serial)
        reply = wait()[1]["reply"]
        assert (reply["code"], reply["data"]["message"]) == (400, "denied")
        assert t.tell(unit(26, b"\2ok")) == CONFIRM


def test_a_history_of_five_hundred_packets(water):
    cloud, gateway = water()
    with station(gateway) as s:
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        cloud.wait_status(PK, device_name(0), "ONLINE")
        answer = ask(cloud, 0, "/services/queryHistory", {"kind": "minute", "begin": "20261101000000", "end": "20261105000000"})
        request = s.receive()
        s.answer(request, "9011", "QnRtn=1")
        for i in range(500):
            qn = f"202611211600{i // 100:02d}{i % 100:03d}"
            data = frame(s.segment("2051", f"DataTime=202611{1 + i // 144:02d}{i % 144 // 6:02d}{i % 6}000;w01018-Avg={i}", qn=qn)[1])
            s.raw(data)
            if i % 50 == 7:
                s.raw(data)  # its answer was lost
                s.expect_answer(qn)
            s.expect_answer(qn)
        s.answer(request, "9012", "ExeRtn=1")
        s.answer(request, "9012", "ExeRtn=1")  # twice
        s.answer({"QN": "20000101000000000"}, "9012", "ExeRtn=1")  # to nothing
        reply = answer()[1]["reply"]
        assert reply["code"] == 200 and reply["data"]["packetCount"] == 500
        told = [p["factors"][0]["avg"] for p in reply["data"]["packets"]]
        assert told == list(range(len(told))) and 0 < len(told) <= 20
        seen = wait_until(lambda: len(history(cloud, 0, "minuteData")) >= 500 - len(told) and history(cloud, 0, "minuteData"), "the rest as history")
        assert sorted(v["factors"][0]["avg"] for v, _ in seen) == list(range(len(told), 500))
        gateway.wait_stat("plugin.hj212.unmatched", 2)


def test_a_logger_that_answers_late_or_with_wrong_numbers(water):
    cloud, gateway = water("overTime = 1s, reCount = 1")
    with station(gateway) as s:
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        cloud.wait_status(PK, device_name(0), "ONLINE")
        answer = ask(cloud, 0, "/services/getTime", {})
        request, again = s.receive(), s.receive()
        assert request["QN"] == again["QN"]
        s.send("9011", "QnRtn=1", flag=4, qn="20000101000000000", st="91")
        reply = answer()[1]["reply"]
        assert (reply["code"], reply["data"]["message"]) == (408, "the device did not answer")
        s.answer(request, "9011", "QnRtn=1")
        s.answer(request, "9012", "ExeRtn=1")
        gateway.wait_stat("plugin.hj212.unmatched", 3)
        # One after the other, each with its own number, while a notification is open too.
        one, two = ask(cloud, 0, "/services/getRtdInterval", {}), ask(cloud, 0, "/services/stopRealtime", {})
        requests = {r["CN"]: r for r in (s.receive(), s.receive())}
        assert requests["1061"]["QN"] != requests["2012"]["QN"]
        s.answer(requests["2012"], "9013")
        s.send("1061", "RtdInterval=90", flag=4, qn=requests["1061"]["QN"])
        s.answer(requests["1061"], "9012", "ExeRtn=1")
        assert one()[1]["reply"]["data"]["rtdInterval"] == 90 and two()[1]["reply"]["code"] == 200
        assert wait_until(lambda: s.send("9015", "") and s.receive()["CN"] == "9013", "a heartbeat's answer")


# ---- data areas cut in pieces, numbers that lie ------------------------------------------------------------------------

def test_pieces_are_not_acknowledged_before_the_whole_is_delivered(water):
    cloud, gateway = water(more="ack = delivered", upstream="ackTimeout = 300ms")
    with station(gateway) as s:
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        cloud.wait_status(PK, device_name(0), "ONLINE")
        cloud.stop()
        qn = "20261121160000019"
        head = f"QN={qn};ST=32;CN=2061;PW=123456;MN={phone(0)};Flag=7;PNUM=2;"
        s.raw(frame(head + f"PNO=1;CP=&&DataTime={local()[:10]}0000;w0101"))
        s.expect_answer(qn)
        last = frame(head + "PNO=2;CP=8-Avg=2.0&&")
        s.raw(last)
        gateway.wait_stat("plugin.hj212.unanswered")
        s.raw(last)
        gateway.wait_stat("plugin.hj212.unanswered", 2)
        assert s.silent()
        cloud.start()
        gateway.wait_up()
        s.raw(last)
        s.expect_answer(qn)
        assert event(cloud, 0, "hourData")["factors"] == [{"code": "w01018", "avg": 2}]
        s.expect_answer(s.send("2021", "SB1-RS=0"))
    assert len(events(cloud, 0, "hourData") + history(cloud, 0, "hourData")) == 1


def test_numbers_of_packets_that_lie_grow_nothing(water):
    cloud, gateway = water()
    with station(gateway) as s:
        head = f"ST=32;CN=2061;PW=123456;MN={phone(0)};Flag=7;"
        for pnum, pno in (("9999", "1"), ("9999", "9999"), ("2", "3"), ("2", "0"), ("0", "0"), ("", ""), ("99999", "1"), ("-1", "x")):
            s.raw(frame(f"QN=20261121160000021;{head}PNUM={pnum};PNO={pno};CP=&&DataTime=20261121150000;w0101"))
        for i in range(500):  # beginnings without an end
            s.raw(frame(f"QN=20261121160001{i:03d};{head}PNUM=300;PNO={i % 300 + 1};CP=&&{'x' * 900}"))
        qn = s.send("2021", "SB1-RS=1")
        wait_until(lambda: s.receive()["QN"] == qn, "the answer to a good one")
        assert gateway.stats()["plugin.hj212.joinsDropped"] >= 496


# ---- noise, cut and joined streams, many devices ------------------------------------------------------------------------

def test_a_storm_of_noise_between_good_frames(fire):
    rng = random.Random(26875)
    cloud, gateway, where = fire()
    with Utd(where) as t:
        assert t.tell() == CONFIRM
        for _ in range(40):
            good = unit(3, analogue(3, rng.randrange(1000)))
            bad = bytearray(utd_frame(SEND, 9, bytes.fromhex(UTD), good))
            how = rng.randrange(4)
            if how == 0:
                bad[rng.randrange(2, len(bad) - 3)] ^= 1 << rng.randrange(8)
            elif how == 1:
                bad = bad[:rng.randrange(3, len(bad))]
            elif how == 2:
                bad = b"@" * rng.randrange(1, 9)
            else:
                bad[24:26] = b"\xff\xff"
            t.sock.sendall(bytes(bad))
            # A frame cut off swallows the next one at most until it is complete; what is not answered is sent again.
            for _ in range(3):
                serial = t.send(good)
                t.sock.settimeout(1)
                try:
                    t.receive(CONFIRM, serial=serial)
                    break
                except TimeoutError:
                    continue
                finally:
                    t.sock.settimeout(30)
            else:
                pytest.fail(f"no frame was confirmed after {bytes(bad).hex()}")


def test_endless_frames_without_line_ends_and_long_ones(water):
    cloud, gateway = water()
    with station(gateway) as s:
        data = b"".join(frame(s.segment("2011", f"DataTime={local()};w01018-Rtd={i}", qn=f"20261121160002{i:03d}")[1], end=b"") for i in range(200))
        for i in range(0, len(data), 37):
            s.raw(data[i:i + 37])
        for i in range(200):
            s.expect_answer(f"20261121160002{i:03d}")
        assert gateway.stats()["plugin.hj212.crlf"] >= 199
        long = f"DataTime={local()};" + ";".join(f"w{i:05d}-Rtd={i}.25,w{i:05d}-Flag=N" for i in range(110))
        qn, segment = s.segment("2011", long)
        assert 3000 < len(segment) <= 4096
        s.raw(frame(segment))
        s.expect_answer(qn)
        assert wait_reported(cloud, 0, "w00109_Rtd") == 109.25
        raw = s.segment("3020", "DataTime=20261121160000;i11001-Info=//")[1][:-2].encode() + b"\xff\xfe\x80\xd5//&&"
        s.raw(b"##%04d" % len(raw) + raw + b"%04X\r\n" % crc(raw))  # neither UTF-8 nor GBK
        assert s.receive()["CN"] == "9014"
        for mn in ('A"B\\', "M" * 128, "%s%n", "\u4e2d", "../x", "a:b"):
            s.send("2021", "SB1-RS=1", mn=mn)
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        # Beyond 4096 it is noise, of which the gateway takes so much and then ends that connection, and no other.
        with station(gateway, 1) as other:
            over = frame(other.segment("2011", "x" * 4090)[1])
            other.raw(over + over[:2000])
            gateway.wait_stat("net.closed")
        s.expect_answer(s.send("2021", "SB1-RS=0"))


def test_a_reload_while_requests_run_leaves_them_alone(fire):
    cloud, gateway, where = fire()
    with Utd(where) as t:
        assert t.tell() == CONFIRM
        cloud.wait_status(PK, device_name(0), "ONLINE")
        wait = ask(cloud, 0, "/services/readUtdConfig", {})
        request = t.receive(REQUEST)
        gateway.reload()
        t.send(unit(26, b"\2ok"), command=RESPONSE, serial=request.serial)
        assert wait()[1]["reply"]["data"]["objects"] == [{"description": "ok"}]
        assert t.tell(unit(2, component_state(2, "after"))) == CONFIRM


def test_a_thousand_utds_on_udp_from_one_socket(fire):
    known = [f"{i:04X}00000000" for i in range(1, 4)]
    cloud, gateway, where = fire(identities=known, listener="transport = udp")
    host, port = where.rsplit(":", 1)
    
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((host, int(port)))
        sock.settimeout(30)
        for i in range(1000):
            sock.send(utd_frame(SEND, 1, i.to_bytes(6, "little"), unit(21, b"\1" + label())))
    # From sockets of their own the known ones are served.
    for identity in known:
        with Utd(where, identity, transport="udp") as t:
            assert t.tell(unit(26, b"\1x")) == CONFIRM
    for i in range(3):
        assert wait_reported(cloud, i, "configText") == "x"
