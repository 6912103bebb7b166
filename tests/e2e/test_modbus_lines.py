"""The Modbus decoder on all three ways in: DTUs that dial in, a server that is dialled, slaves on a serial line; all simulated."""
from conftest import wait_until
from gw import PK, ask, device_name, secret, start_gateway, wait_reported, world  # noqa: F401
from test_connections import QUICK, Wire
from test_simulate_modbus import simulate  # noqa: F401

PROFILES = """
protocols.modbus.graceTime = 0s
protocols.modbus.profiles.meter {
  points = [
    { property = "voltage", area = input, address = 0, type = uint16, scale = 0.1, interval = 200ms, report { mode = always } }
    { property = "temperature", area = input, address = 100, type = float32, interval = 200ms, report { mode = always } }
    { property = "place", area = holding, address = 1000, type = uint16, interval = 200ms }
    { property = "setpoint", area = holding, address = 1100, type = uint16, access = rw, interval = 200ms }
  ]
}
"""


def identities(*names):
    return "".join(f'"{name}" {{ productKey : {PK}, deviceName : {device_name(i)}, deviceSecret : {secret(i)}, settings {{ profile = meter }} }}\n'
                   for i, name in enumerate(names))


def check(cloud, count):
    """Each device reports its moving and its fixed values, and takes a set."""
    for i in range(count):
        assert 210 <= wait_reported(cloud, i, "voltage") <= 230
        assert 20 <= wait_reported(cloud, i, "temperature") <= 30
        assert wait_reported(cloud, i, "place") == 1000
        answer = ask(cloud, i, "/properties", {"setpoint": 40 + i})()
        assert answer[1]["reply"]["code"] == 200, answer
        wait_until(lambda: cloud.device(PK, device_name(i))["reported"].get("setpoint", {}).get("value") == 40 + i, "the new value")


def start(world, extra, *names):
    cloud, gateway = world(devices=4, extra=PROFILES + extra)
    gateway.devices.write_text(identities(*names))
    gateway.process.restart()
    gateway.wait_up()
    return cloud, gateway


def test_a_server_is_dialled(world, simulate):
    s = simulate("--listen", "127.0.0.1:0", "--units", "1-2", "--split", 5, "--split-gap", "1ms")
    port = s.line(r"listening on 127.0.0.1:(\d+)")[1]
    cloud, gateway = start(world, f'connections = [ {{ name = plc7, protocol = modbus, to = "tcp://127.0.0.1:{port}", identity = plc7, {QUICK} }} ]',
                           "plc7/1", "plc7/2")
    check(cloud, 2)
    assert gateway.ask("/devices/plc7%2F2")[1]["via"] == "plc7"
    code, out, err = s.finish()
    assert code == 0, (out, err)
    # Gone, and there again.
    cloud.wait_status(PK, device_name(1), "OFFLINE")
    simulate("--listen", f"127.0.0.1:{port}", "--units", "1-2")
    cloud.wait_status(PK, device_name(1), "ONLINE")


def test_slaves_on_a_serial_line(world, simulate, tmp_path):
    wire = Wire(tmp_path)
    try:
        s = simulate("--serial", wire.ours, "--units", "1,7", "--baud", 19200, "--split", 1, "--split-gap", "1ms")
        cloud, _ = start(world, f'connections = [ {{ name = bus1, protocol = modbus, to = "{wire.to}", identity = bus1, serial {{ baud = 19200 }}, {QUICK} }} ]',
                         "bus1/1", "bus1/7")
        check(cloud, 2)
        code, out, err = s.finish()
        assert code == 0, (out, err)
    finally:
        wire.pull_out()


def test_dtus_dial_in(world, simulate):
    listener = ('listeners += { name = dtus, protocol = modbus, address = "127.0.0.1:0", settings { settle = 10ms, '
                'registration { length = 15 }, heartbeats = [ { text = ping } ] } }')
    names = [f"86833303123456{dtu}/{unit}" for dtu in (7, 8) for unit in (1, 2)]
    cloud, gateway = start(world, listener, *names)
    s = simulate("--connect", gateway.process.ready["listeners"]["dtus"], "--identities", gateway.devices, "--heartbeat", "50ms", "--answer-delay", "1ms")
    check(cloud, 4)
    code, out, err = s.finish()
    assert code == 0 and "2 lines with 4 units: 2 of them asked" in out, (out, err)
