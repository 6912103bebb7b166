"""Modbus through the whole gateway: DTUs that dial in, devices that are dialled, serial-line frames and MBAP."""
import json
import socket
import struct
import subprocess
import sys

import pytest
from conftest import BUILD, wait_until
from gw import PK, ask, device_name, secret, start_gateway, wait_reported, world  # noqa: F401
from modbus_peer import Dtu, Unit

IMEI = ["868333031234567", "868333031234568"]

PROFILES = """
protocols.modbus {
  gap = 0ms, settle = 0ms, spreadStart = false, answerTimeout = 500ms, lateGuard = 0ms, retries = 0, probeEvery = 1s, graceTime = 0s
  profiles {
    meter {
      interval = 200ms
      points = [
        { property = voltageA, area = input, address = 0, type = float32, order = CDAB }
        { property = energy, area = input, address = 2, type = uint32, scale = 0.01 }
        { property = setpoint, area = holding, address = 100, type = int16, scale = 0.1, access = rw, min = -20, max = 80, readBack = true }
        { property = pump, area = coil, address = 5, type = bool, access = rw }
        { property = mode, ref = "40011", type = uint16, access = rw, map { "0" = off, "1" = auto } }
        { area = holding, address = 4, type = bit, bit = 3, event { id = overTemp, when = rising, data = [energy] } }
      ]
      services { reset { steps = [ { write = pump, value = false }, { wait = 50ms }, { write = pump, value = true } ] } }
    }
  }
}
"""


def unit(voltage=230.5, energy=123456, setpoint=205, mode=1):
    high, low = struct.unpack(">HH", struct.pack(">f", voltage))
    return Unit(holding={4: 0, 10: mode, 100: setpoint}, input={0: low, 1: high, 2: energy >> 16, 3: energy & 0xFFFF}, coils={5: True})


def listener(name, settings):
    return f'{{ name = {name}, protocol = modbus, address = "127.0.0.1:0", settings {{ {settings} }} }}'


def entry(i, identity, settings="profile = meter"):
    return (f'"{identity}" {{ productKey : {PK}, deviceName : {device_name(i)}, deviceSecret : {secret(i)}'
            + (f", settings {{ {settings} }} }}\n" if settings else " }\n"))


RTU = 'framing = rtu, registration { length = 15 }, heartbeats = [ { text = "www.usr.cn" }, { hex = FE, reply = FE } ]'


@pytest.fixture
def dtus():
    made = []

    def dial(gateway, listener, *args, **more):
        made.append(Dtu(gateway.process.ready["listeners"][listener], *args, **more))
        return made[-1]
    yield dial
    for d in made:
        d.close()


def start(world, *entries, listeners="", extra=PROFILES, devices=4):
    cloud, gateway = world(devices=devices, listeners=listeners, extra=extra)
    gateway.devices.write_text("".join(entries))
    gateway.reload()
    return cloud, gateway


def wait_value(cloud, i, name, value):
    def look():
        got = cloud.device(PK, device_name(i))["reported"].get(name)
        return got is not None and got["value"] == value
    wait_until(look, f"{name} = {value} of device {i}")


def stat(gateway, name):
    return gateway.stats()[f"plugin.modbus.{name}"]


def test_two_units_behind_a_dtu_that_dials_in(world, dtus):
    """covers: M01 M02 M03 M06 M08"""
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), entry(1, IMEI[0] + "/17"), listeners=listener("dtu", RTU))
    units = {1: unit(), 17: unit(voltage=-1.5, energy=7, setpoint=-5, mode=0)}
    dtus(gateway, "dtu", b"www.usr.cn" + IMEI[0].encode(), units, heartbeat=b"www.usr.cn", pieces=True)
    assert wait_reported(cloud, 0, "voltageA") == 230.5
    assert wait_reported(cloud, 0, "energy") == 1234.56
    assert wait_reported(cloud, 0, "setpoint") == 20.5
    assert wait_reported(cloud, 0, "mode") == "auto"
    assert wait_reported(cloud, 1, "voltageA") == -1.5
    assert wait_reported(cloud, 1, "energy") == 0.07
    assert wait_reported(cloud, 1, "setpoint") == -0.5
    assert wait_reported(cloud, 1, "mode") == "off"

    # Written, read back, and reported as the device has it.
    status, answer = ask(cloud, 0, "/properties", {"setpoint": 25.5, "mode": "off"})()
    assert answer["reply"]["code"] == 200
    assert units[1].holding[100] == 255 and units[1].holding[10] == 0 and units[17].holding[100] == -5
    wait_value(cloud, 0, "setpoint", 25.5)
    wait_value(cloud, 0, "mode", "off")
    assert ask(cloud, 1, "/properties", {"pump": 0})()[1]["reply"]["code"] == 200
    assert units[17].coils[5] is False and units[1].coils[5] is True
    wait_until(lambda: cloud.device(PK, device_name(1))["reported"]["pump"]["value"] in (0, False), "the pump is off")

    # Refused before anything is sent: all of the set, or none of it.
    for body in ({"setpoint": 81}, {"setpoint": "warm"}, {"energy": 1}, {"mode": "never"}, {"pump": 1, "nothing": 1}):
        assert ask(cloud, 0, "/properties", body)()[1]["reply"]["code"] == 460, body
    assert units[1].holding[100] == 255 and units[1].coils[5] is True

    # A service is a sequence of writes.
    units[1].seen.clear()
    assert ask(cloud, 0, "/services/reset", {})()[1]["reply"]["code"] == 200
    assert [p.hex() for p in units[1].seen if p[0] == 5] == ["0500050000", "050005ff00"]

    # A value that changes, and a bit that rises.
    units[1].input[3] += 1
    wait_value(cloud, 0, "energy", 1234.57)
    units[1].holding[4] = 8
    wait_until(lambda: cloud.messages(topic=f"/sys/{PK}/{device_name(0)}/thing/event/overTemp/post"),
               "the event")
    assert stat(gateway, "heartbeats") > 2 and stat(gateway, "timeouts") == 0
    assert "error" not in gateway.process.stderr()


def test_exceptions_and_units_that_fall_silent(world, dtus):
    """covers: M01"""
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), entry(1, IMEI[0] + "/2"), listeners=listener("dtu", RTU))
    units = {1: unit(), 2: unit()}
    units[1].refuse = {(6, 100): 4}
    dtus(gateway, "dtu", IMEI[0].encode(), units)
    wait_value(cloud, 0, "energy", 1234.56)
    wait_value(cloud, 1, "energy", 1234.56)
    assert ask(cloud, 0, "/properties", {"setpoint": 1})()[1]["reply"]["code"] == 100004
    units[2].silent = True
    cloud.wait_status(PK, device_name(1), "OFFLINE")
    assert stat(gateway, "unitsLost") == 1
    units[1].input[3] += 1
    wait_value(cloud, 0, "energy", 1234.57)  # the other one keeps its rate
    units[2].silent = False
    units[2].input[3] += 2
    cloud.wait_status(PK, device_name(1), "ONLINE")
    wait_value(cloud, 1, "energy", 1234.58)
    assert stat(gateway, "unitsBack") == 1


def test_registers_that_a_device_does_not_have(world, dtus):
    """covers: M01"""
    profiles = PROFILES.replace("interval = 200ms", "interval = 200ms, maxGap = 8")
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), listeners=listener("dtu", RTU), extra=profiles)
    u = unit()
    del u.holding[10]
    dtus(gateway, "dtu", IMEI[0].encode(), {1: u})
    wait_value(cloud, 0, "setpoint", 20.5)
    u.holding[4] = 8
    wait_until(lambda: cloud.messages(topic=f"/sys/{PK}/{device_name(0)}/thing/event/overTemp/post"),
               "the event of the point beside it")
    assert "mode" not in cloud.device(PK, device_name(0))["reported"]
    assert stat(gateway, "refusedPoints") == 1
    gateway.wait_log("unit 1 refuses to be read at holding 10 (point mode)")


def test_two_dtus_and_one_that_comes_back(world, dtus):
    """covers: M06"""
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), entry(1, IMEI[1] + "/1"), listeners=listener("dtu", RTU))
    a, b = unit(energy=100), unit(energy=200)
    first = dtus(gateway, "dtu", IMEI[0].encode(), {1: a})
    dtus(gateway, "dtu", IMEI[1].encode(), {1: b})
    wait_value(cloud, 0, "energy", 1)
    wait_value(cloud, 1, "energy", 2)
    # The network is lost without a word: a second connection takes the place of the first.
    a = unit(energy=300)
    dtus(gateway, "dtu", IMEI[0].encode(), {1: a})
    wait_value(cloud, 0, "energy", 3)
    assert first.closed.wait(60)
    assert cloud.device(PK, device_name(1))["status"] == "ONLINE"


def test_an_unknown_dtu_is_closed_and_named(world, dtus):
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), listeners=listener("dtu", RTU))
    stranger = dtus(gateway, "dtu", b"999999999999999", {1: unit()})
    gateway.wait_log("999999999999999")
    assert stranger.closed.wait(60)


def test_a_dtu_that_dials_again_was_never_offline(world, dtus):
    """The grace time after a lost connection, and without it."""
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1", "profile = meter, graceTime = 60s"), entry(1, IMEI[1] + "/1"),
                           listeners=listener("dtu", RTU))
    first = dtus(gateway, "dtu", IMEI[0].encode(), {1: unit()})
    other = dtus(gateway, "dtu", IMEI[1].encode(), {1: unit()})
    cloud.wait_status(PK, device_name(0), "ONLINE")
    cloud.wait_status(PK, device_name(1), "ONLINE")
    first.close()
    other.close()
    cloud.wait_status(PK, device_name(1), "OFFLINE")
    gateway.wait_gauge("bridge.devices_attached", 0)
    assert cloud.device(PK, device_name(0))["status"] == "ONLINE"
    dtus(gateway, "dtu", IMEI[0].encode(), {1: unit(energy=7)})
    wait_value(cloud, 0, "energy", 0.07)
    assert gateway.log_lines("device.offline") == [line for line in gateway.log_lines("device.offline") if device_name(0) not in line]


def test_devices_are_added_and_removed_while_the_dtu_is_there(world, dtus):
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), listeners=listener("dtu", RTU))
    dtus(gateway, "dtu", IMEI[0].encode(), {1: unit(), 2: unit(energy=5)})
    wait_value(cloud, 0, "energy", 1234.56)
    gateway.devices.write_text(entry(0, IMEI[0] + "/1") + entry(1, IMEI[0] + "/2"))
    gateway.reload()
    wait_value(cloud, 1, "energy", 0.05)
    gateway.devices.write_text(entry(0, IMEI[0] + "/1"))
    gateway.reload()
    cloud.wait_status(PK, device_name(1), "OFFLINE")


def test_mbap_frames_of_a_dtu_that_converts(world, dtus):
    """covers: M01"""
    settings = "framing = tcp, registration { mode = once, until = \"\\r\\n\" }, maxOutstanding = 4"
    cloud, gateway = start(world, entry(0, "DTU-7/3"), listeners=listener("dtu", settings))
    u = unit()
    dtus(gateway, "dtu", b"DTU-7\r\n", {3: u}, framing="tcp", pieces=True)
    wait_value(cloud, 0, "energy", 1234.56)
    assert ask(cloud, 0, "/properties", {"setpoint": -20})()[1]["reply"]["code"] == 200
    assert u.holding[100] == 65536 - 200
    wait_value(cloud, 0, "setpoint", -20)


def test_profiles_that_are_wrong_are_named(world):
    bad = PROFILES.replace("type = float32, order = CDAB", "type = float32, order = ABDC")
    cloud, gateway = start(world, entry(0, IMEI[0] + "/1"), listeners=listener("dtu", RTU))
    gateway.write_config(extra=bad)
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", gateway.config], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert 'profile "meter", point 1 voltageA: order must be' in done.stdout + done.stderr


SERVER = """
import asyncio, logging, sys
from pymodbus.datastore import ModbusSequentialDataBlock, ModbusServerContext, ModbusSlaveContext
from pymodbus.server import StartAsyncTcpServer
import pymodbus.server.async_io as server_module
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer

block = ModbusSequentialDataBlock(0, [0] * 200)
block.setValues(11, [1])
block.setValues(101, [205])
inputs = ModbusSequentialDataBlock(0, [0] * 200)
inputs.setValues(1, [0x8000, 0x4366, 0x0001, 0xE240])
store = ModbusSlaveContext(di=ModbusSequentialDataBlock(0, [0] * 200), co=ModbusSequentialDataBlock(0, [1] * 200), hr=block, ir=inputs)

async def main():
    server = await StartAsyncTcpServer(ModbusServerContext(slaves=store, single=True), address=("127.0.0.1", int(sys.argv[2])),
        framer={"tcp": ModbusSocketFramer, "rtu": ModbusRtuFramer}[sys.argv[1]], defer_start=True)
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def pymodbus(tmp_path):
    pytest.importorskip("pymodbus")
    started = []

    def serve(framing):
        script = tmp_path / "server.py"
        script.write_text(SERVER)
        with socket.create_server(("127.0.0.1", 0)) as s:
            port = s.getsockname()[1]
        p = subprocess.Popen([sys.executable, script, framing, str(port)])
        started.append(p)

        def up():
            assert p.poll() is None
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        wait_until(up, "pymodbus to listen")
        return port
    yield serve
    for p in started:
        p.kill()
        p.wait()


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
def test_a_server_of_others_is_dialled(world, pymodbus, framing):
    """pymodbus as the device. covers: M01"""
    port = pymodbus(framing)
    cloud, gateway = start(world, entry(0, "plc7"), extra=PROFILES + f"""
connections = [ {{ name = plc7, protocol = modbus, to = "tcp://127.0.0.1:{port}", identity = plc7, retryMin = 20ms, retryMax = 200ms
                   settings {{ framing = {framing} }} }} ]""")
    wait_value(cloud, 0, "voltageA", 230.5)
    wait_value(cloud, 0, "energy", 1234.56)
    wait_value(cloud, 0, "setpoint", 20.5)
    assert ask(cloud, 0, "/properties", {"setpoint": 30})()[1]["reply"]["code"] == 200
    wait_value(cloud, 0, "setpoint", 30)
    assert ask(cloud, 0, "/properties", {"pump": False})()[1]["reply"]["code"] == 200
    wait_until(lambda: cloud.device(PK, device_name(0))["reported"]["pump"]["value"] in (0, False), "the pump is off")


def test_a_recording_of_a_dialled_server_is_played_again(world, pymodbus, tmp_path):
    """The recording says that the gateway dialled, so a replay reads MBAP without being told. covers: M23"""
    port = pymodbus("tcp")
    cloud, gateway = start(world, entry(0, "plc7"), extra=PROFILES + f"""
connections = [ {{ name = plc7, protocol = modbus, to = "tcp://127.0.0.1:{port}", identity = plc7, retryMin = 20ms, retryMax = 200ms }} ]""")
    wait_value(cloud, 0, "voltageA", 230.5)
    record = tmp_path / "plc7.rec"
    trace = subprocess.Popen([BUILD / "bin" / "causeway", "trace", "--listener", "plc7", "--record", record, "--control",
                              f"unix:{gateway.control}"], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: record.exists() and record.read_text().count('"data"') > 3, "the recording")
    finally:
        trace.terminate()
        trace.wait(30)
    first = json.loads(record.read_text().splitlines()[0])
    assert (first["what"], first["dialled"], first["serial"], first["datagram"]) == ("midway", True, False, False)
    settings = tmp_path / "settings.conf"
    settings.write_text("profile = meter, " + PROFILES[PROFILES.index("profiles {"):PROFILES.rindex("}")])
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", "--summary", "--json", "--settings", settings, "--identity", "plc7",
                           "modbus", record], capture_output=True, text=True, timeout=60)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["frames"] > 3 and summary["noiseBytes"] == 0, done.stdout + done.stderr
