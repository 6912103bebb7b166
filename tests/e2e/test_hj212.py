"""HJ 212 through the real gateway: the vectors at the tool and at the wire, both editions, requests, forwarding servers."""
import json
import re
import signal
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT, wait_until
from gw import PK, ask, device_name, phone, secret, start_gateway, wait_reported, world  # noqa: F401

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from station import Station, ago, frame, local  # noqa: E402

VECTORS = json.loads((ROOT / "tests" / "vectors" / "hj212.json").read_text())
LISTENER = '{ name = water, protocol = hj212, transport = %s, address = "127.0.0.1:0", %s }'


@pytest.fixture
def water(world):
    """water(settings="..", ..) -> (cloud, gateway); the devices' MN are as devices.conf has them."""
    def start(settings="", transport="tcp", more="", **options):
        cloud, gateway = world(listeners=LISTENER % (transport, f"{more}{', ' if more else ''} settings {{ {settings} }}"), **options)
        return cloud, gateway
    return start


def address(gateway):
    return gateway.process.ready["listeners"]["water"]


def station(gateway, i=0, **more):
    return Station(address(gateway), phone(i), **more)


def event(cloud, i, name):
    """The parameters of the newest event of that name, once it is there."""
    message = cloud.wait_message(topic=f"/sys/{PK}/{device_name(i)}/thing/event/{name}/post")
    payload = message["payload"] if isinstance(message, dict) else message[-1]["payload"]
    payload = json.loads(payload) if isinstance(payload, str) else payload
    return payload["params"]["value"] if "value" in payload["params"] else payload["params"]


# ---- the decode tool -----------------------------------------------------------------------------

def decode(data, *args):
    done = subprocess.run([BUILD / "bin" / "causeway", "decode", *args, "hj212", "-"], input=data.hex().encode(), capture_output=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_a_vector_is_decoded_as_it_says(vector):
    """covers: M02"""
    decoded = vector["decoded"]
    status, objects, err = decode(vector["text"].encode())
    if decoded.get("error") == "incomplete":
        assert [(o["ok"], o["error"]["code"], o["fields"]) for o in objects] == [(False, "incomplete", {"needMore": decoded["needMore"]})]
        return
    frames = [o for o in objects if o["fields"]]
    assert [o["fields"] for o in frames] == decoded.get("frames", [decoded]), err
    assert [o["ok"] for o in frames] == [f["valid"] for f in decoded.get("frames", [decoded])]
    assert sum(len(o["frame"]) // 2 for o in objects if not o["fields"]) == decoded.get("skipped", 0)
    if "reply" in vector:
        want = [vector["reply"]["text"]] if vector["reply"] else []
        assert [bytes.fromhex(r).decode() for o in objects for r in o["replies"]] == want


def test_deviations_have_names_and_settings():
    """covers: M02"""
    good = "QN=20160801085857223;ST=32;CN=2011;PW=123456;MN=M1;Flag=5;CP=&&DataTime=20160801085857;w01018-Rtd=2.2&&"
    data = frame(good)[:-6] + b"FFFF\r\n"
    status, objects, _ = decode(data)
    assert status == 1 and not objects[0]["ok"]
    assert objects[0]["header"]["deviations"] == ["crcUnused"]
    assert "crcUnused" in objects[0]["error"]["text"]
    status, objects, _ = decode(data, "--set", "deviations.crcUnused = accept")
    assert status == 0 and objects[0]["ok"] and objects[0]["fields"]["lenient"]
    assert objects[0]["header"]["names"] == {"w01018": {"name": "COD", "unit": "mg/L"}}
    assert objects[0]["records"][0]["values"] == {"w01018_Rtd": 2.2}
    status, objects, _ = decode(frame(good)[:-2] + b"\n", "--set", "deviations.crlf = refuse")
    assert status == 1 and objects[0]["fields"] == {"valid": False, "error": "deviation"}


# ---- uploads -------------------------------------------------------------------------------------

def test_the_vectors_answers_at_the_wire(water):
    """covers: M02"""
    mn = "010000A8900016F000169DC0"
    cloud, gateway = water("answerTimeCalibration = false")
    gateway.devices.write_text(gateway.devices.read_text().replace(phone(0), mn))
    gateway.reload()
    with Station(address(gateway), mn) as s:
        for vector in VECTORS:
            if not vector.get("reply") or vector["decoded"].get("MN") != mn:
                continue
            s.raw(vector["text"].encode())
            want = vector["reply"]["text"].encode()
            got = b""
            while len(got) < len(want):
                got += s.sock.recv(len(want) - len(got))
            assert got == want, vector["name"]


def test_real_time_data_become_properties_with_their_digits(water):
    """covers: M02"""
    cloud, gateway = water(more="ack = delivered")
    with station(gateway) as s:
        qn = s.send("2011", f"DataTime={local()};w01018-Rtd=40.10,w01018-Flag=N;w21003-Rtd=,w21003-Flag=D")
        s.expect_answer(qn)
        cloud.wait_status(PK, device_name(0), "ONLINE")
        assert wait_reported(cloud, 0, "w01018_Rtd") == 40.1
        assert wait_reported(cloud, 0, "w21003_Flag") == "D"
        qn = s.send("2051", f"DataTime={local(ago(minutes=10))[:-2]}00;w01018-Avg=41.5,w01018-Flag=N")
        s.expect_answer(qn)
        assert event(cloud, 0, "minuteData")["factors"] == [{"code": "w01018", "avg": 41.5, "flag": "N"}]


def test_the_edition_of_2005(water):
    """covers: M02"""
    cloud, gateway = water("mapCodes = true")
    with station(gateway) as s:
        s.send("2011", f"DataTime={local()};011-Rtd=231.0,011-Flag=N", flag=None, qn="")
        assert wait_reported(cloud, 0, "w01018_Rtd") == 231
        s.send("2011", f"DataTime={local()};011-Rtd=232.0", flag=1, qn="20261121160000001")
        got = s.receive()
        assert (got["CN"], got["CP"], got["ST"]) == ("9014", "QN=20261121160000001", "91") and "QN" not in got and "Flag" not in got
        answer = ask(cloud, 0, "/services/getAlarmLimits", {"polId": "011"})
        request = s.receive()
        assert (request["CN"], request["Flag"], request["CP"]) == ("1021", "3", "PolId=011")
        inside = "QN=" + request["QN"] + ";"
        s.send("9011", inside + "QnRtn=1", flag=None, qn="", st="91")
        s.send("1021", "011-LowValue=1.1,011-UpValue=9.9", flag=None, qn="")
        s.send("9012", inside + "ExeRtn=1", flag=None, qn="", st="91")
        reply = answer()[1]["reply"]
        assert reply["code"] == 200 and reply["data"]["factors"] == [{"code": "w01018", "lowValue": 1.1, "upValue": 9.9}]


def test_while_the_platform_is_away_nothing_is_acknowledged(water):
    """covers: M02"""
    cloud, gateway = water(more="ack = delivered", upstream="ackTimeout = 500ms")
    with station(gateway) as s:
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        cloud.stop()
        data = frame(s.segment("2011", f"DataTime={local()};w01018-Rtd=1.5", qn="20261121160000007")[1])
        s.raw(data)
        gateway.wait_stat("plugin.hj212.unanswered")
        assert s.silent()
        cloud.start()
        gateway.wait_up()
        s.raw(data)  # what was not answered is sent again
        s.expect_answer("20261121160000007")
        wait_reported(cloud, 0, "w01018_Rtd")
        assert gateway.stats()["plugin.hj212.repeatedFrame"] == 1


def test_a_data_area_cut_in_two_and_gbk(water):
    cloud, gateway = water()
    with station(gateway) as s:
        whole = f"DataTime={local()};i11001-Info=//" + "\u6e05\u6d17\u7ba1\u8def" + "//"
        s.raw(frame(s.segment("3020", whole)[1], encoding="gbk"))
        assert s.receive()["CN"] == "9014"
        assert event(cloud, 0, "fieldInfo")["value"] == "\u6e05\u6d17\u7ba1\u8def"
        head = f"QN=20261121160000009;ST=32;CN=2061;PW=123456;MN={phone(0)};Flag=7;"
        s.raw(frame(head + f"PNUM=2;PNO=1;CP=&&DataTime={local()[:10]}0000;w0101"))
        s.expect_answer("20261121160000009")
        s.raw(frame(head + "PNUM=2;PNO=2;CP=8-Avg=2.0&&"))
        s.expect_answer("20261121160000009")
        assert event(cloud, 0, "hourData")["factors"] == [{"code": "w01018", "avg": 2}]


# ---- requests --------------------------------------------------------------------------------------

def test_requests_and_their_results(water):
    """covers: M02"""
    cloud, gateway = water()
    with station(gateway) as s:
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        cloud.wait_status(PK, device_name(0), "ONLINE")
        answer = ask(cloud, 0, "/services/getTime", {})
        assert s.obey("1011", "SystemTime=20261121160000")["Flag"] == "5"
        assert answer()[1]["reply"] == {**answer()[1]["reply"], "code": 200, "data": {"exeRtn": 1, "systemTime": 1795248000000}}
        answer = ask(cloud, 0, "/properties", {"RtdInterval": 60})
        assert s.obey("1062")["CP"] == "RtdInterval=60"
        assert answer()[1]["reply"]["code"] == 200
        assert wait_reported(cloud, 0, "RtdInterval") == 60
        answer = ask(cloud, 0, "/services/calibrate", {"polId": "w01018"})
        s.obey("3011", exe=5)
        assert answer()[1]["reply"]["code"] == 101005
        answer = ask(cloud, 0, "/services/stopRealtime", {})
        s.answer(s.receive(), "9013")
        assert answer()[1]["reply"]["code"] == 200
        answer = ask(cloud, 0, "/services/queryHistory", {"kind": "hour", "begin": "20261121080000", "end": "20261121090000"})
        request = s.receive()
        assert request["CP"] == "BeginTime=20261121080000;EndTime=20261121090000"
        s.answer(request, "9011", "QnRtn=1")
        for hour in ("08", "09"):
            s.expect_answer(s.send("2061", f"DataTime=20261121{hour}0000;w01018-Avg=1.{hour}"))
        s.answer(request, "9012", "ExeRtn=1")
        data = answer()[1]["reply"]["data"]
        assert data["packetCount"] == 2 and [p["factors"][0]["avg"] for p in data["packets"]] == [1.08, 1.09]


def test_a_new_password_survives_the_gateway(water, world):
    """covers: M02"""
    cloud, gateway = water('password = "123456"')
    with station(gateway) as s:
        s.expect_answer(s.send("2021", "SB1-RS=1"))
        cloud.wait_status(PK, device_name(0), "ONLINE")
        answer = ask(cloud, 0, "/services/setPassword", {"newPW": "abc987"})
        assert s.obey("1072")["CP"] == "NewPW=abc987"
        assert answer()[1]["reply"]["code"] == 200
    gateway.process.restart()
    gateway.wait_up()
    with station(gateway) as s:
        s.send("2021", "SB1-RS=0")  # the old one
        gateway.wait_stat("plugin.hj212.password")
        s.pw = "abc987"
        s.expect_answer(s.send("2021", "SB1-RS=0"))
    assert "abc987" not in gateway.process.stderr()


def test_a_logger_that_asks_for_the_time(water):
    """covers: M02"""
    cloud, gateway = water()
    with station(gateway) as s:
        s.expect_answer(s.send("1013", "PolId=w01018"), "9013")
        request = s.obey("1012")
        assert re.fullmatch(r"PolId=w01018;SystemTime=\d{14}", request["CP"])
        assert event(cloud, 0, "timeCalibrationRequest") == {"polId": "w01018"}


# ---- connections -------------------------------------------------------------------------------------

def test_a_forwarding_server_speaks_for_several(water):
    """covers: M02"""
    cloud, gateway = water()
    with station(gateway) as s:
        for i in range(3):
            s.send("2011", f"DataTime={local()};w01018-Rtd={i}.5", mn=phone(i))
            assert s.receive()["MN"] == phone(i)
        for i in range(3):
            assert wait_reported(cloud, i, "w01018_Rtd") == i + 0.5
            cloud.wait_status(PK, device_name(i), "ONLINE")
        answer = ask(cloud, 2, "/services/startRealtime", {})
        request = s.receive()
        assert request["MN"] == phone(2)
        s.send("9012", "ExeRtn=1", flag=4, qn=request["QN"], st="91", mn=phone(2))
        assert answer()[1]["reply"]["code"] == 200


def test_one_frame_a_datagram(water):
    cloud, gateway = water(transport="udp")
    with station(gateway, udp=True) as s:
        s.expect_answer(s.send("2011", f"DataTime={local()};w01018-Rtd=3.25"))
        assert wait_reported(cloud, 0, "w01018_Rtd") == 3.25
        s.raw(frame(s.segment("2021", "SB1-RS=1", qn="20261121160000011")[1], end=b""))  # no line end, no wait for one
        s.expect_answer("20261121160000011")


def test_a_device_may_be_allowed_what_its_listener_refuses(water):
    """covers: M02"""
    cloud, gateway = water()
    text = gateway.devices.read_text().replace(f"{phone(1)} {{", f"{phone(1)} {{ settings {{ deviations {{ crcUnused = accept }} }}, ")
    gateway.devices.write_text(text)
    gateway.reload()
    with station(gateway, 1) as s:
        s.raw(frame(s.segment("2021", "SB1-RS=1", qn="20261121160000021")[1])[:-6] + b"FFFF\r\n")
        s.expect_answer("20261121160000021")
    with station(gateway, 0) as s:
        s.raw(frame(s.segment("2021", "SB1-RS=1")[1])[:-6] + b"FFFF\r\n")
        s.expect_answer(s.send("2021", "SB1-RS=0"))
        assert gateway.stats()["plugin.hj212.refused"] == 1


# ---- the simulator -------------------------------------------------------------------------------------

def simulate(gateway, *args):
    process = subprocess.Popen([BUILD / "bin" / "causeway", "simulate", "hj212", "--connect", address(gateway), *args],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(stop=False):
        if stop:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err
    return finish


def test_a_fleet_of_loggers_reports_and_is_answered(water):
    """covers: M02"""
    cloud, gateway = water()
    code, out, err = simulate(gateway, "--devices", "3", "--first", phone(0), "--rate", "60", "--for", "3s")()
    assert code == 0, (out, err)
    assert "3 loggers: 3 were answered" in out and "all as expected" in out
    stats = gateway.stats()
    assert stats["plugin.frames_malformed"] == 0 and stats["plugin.hj212.unmatched"] == 0 and stats["plugin.refused_calls"] == 0
    assert stats["plugin.hj212.joined"] > 0 and stats["plugin.hj212.lateData"] > 0


SERVICES = [
    ("setTimeout", {"overTime": 10, "reCount": 3}), ("getTime", {}), ("setTime", {}), ("getRtdInterval", {}), ("setRtdInterval", {"rtdInterval": 60}),
    ("startRealtime", {}), ("stopRealtime", {}), ("startFacilityState", {}), ("stopFacilityState", {}),
    ("queryHistory", {"kind": "hour", "begin": "20261121080000", "end": "20261121100000"}),
    ("queryHistory", {"kind": "facility", "begin": "20261120000000", "end": "20261121000000"}),
    ("calibrate", {"polId": "w01018"}), ("sampleNow", {"polId": "w01018"}), ("clean", {"polId": "w01018"}), ("setPassword", {"newPW": "654321"}),
    ("startRealtime", {}),
]
ONLY_2017 = [
    ("getMinInterval", {}), ("setMinInterval", {"minInterval": 5}), ("compareSample", {"polId": "w01018"}), ("keepSample", {}),
    ("setSamplingCycle", {"polId": "w01018", "cstartTime": "000000", "cTime": 2}), ("getSamplingCycle", {"polId": "w01018"}),
    ("getSamplingDuration", {"polId": "w01018"}), ("getInstrumentId", {"polId": "w01018"}), ("getInfo", {"infoId": "i12001"}),
    ("setParameter", {"polId": "w01018", "infoId": "i13004", "value": 168}),
]
ONLY_2005 = [
    ("getAlarmLimits", {"polId": "011"}), ("setAlarmLimits", {"polId": "011", "low": 1, "up": 9}), ("getCentreAddress", {}),
    ("setCentreAddress", {"alarmTarget": "192.0.2.1"}), ("getReportTime", {}), ("setReportTime", {"reportTime": "0130"}),
    ("queryAlarms", {"begin": "20261121080000", "end": "20261121100000"}), ("setSamplingTimes", {"polId": "011", "cTime": "0"}),
]


def test_the_loggers_obey_every_service(water):
    """covers: M02"""
    cloud, gateway = water()
    finish = simulate(gateway, "--devices", "3", "--first", phone(0), "--rate", "3")
    for i in range(3):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    failed = []
    for i, services in ((0, SERVICES + ONLY_2017), (2, SERVICES + ONLY_2005)):
        for name, body in services:
            answer = cloud.post(f"/devices/{PK}/{device_name(i)}/services/{name}", body)
            if answer.get("result") != "answered" or answer["reply"]["code"] != 200:
                failed.append((i, name, answer))
    answer = cloud.post(f"/devices/{PK}/{device_name(2)}/services/getInfo", {"infoId": "i12001"})
    assert answer["reply"]["code"] == 405
    code, out, err = finish(stop=True)
    assert not failed, (failed, out)
    assert code == 0, (out, err)
    assert int(re.search(r"(\d+) requests answered", out).group(1)) >= 2 * len(SERVICES) + len(ONLY_2017) + len(ONLY_2005)


def test_a_fleet_that_nobody_knows_says_so(water):
    _, gateway = water()
    code, out, _ = simulate(gateway, "--first", "13900000001", "--for", "1s")()
    assert code == 1 and "NOT all as expected" in out
