"""The simulated fleet against the gateway: every message answered, every command obeyed, in both editions."""
import re
import signal
import subprocess
import threading

from conftest import BUILD
from gw import PK, device_name, start_gateway, world  # noqa: F401

SERVICES = [
    ("SendText", {"text": "hello", "tts": 1}),
    ("QueryParameters", {}),
    ("QueryParameters", {"ids": [1, 41]}),
    ("QueryAttributes", {}),
    ("QueryLocation", {}),
    ("TrackLocation", {"interval": 5, "duration": 60}),
    ("ConfirmAlarm", {"codes": ["emergency"]}),
    ("SetEvents", {"kind": 1, "items": [{"id": 1, "text": "a"}]}),
    ("AskQuestion", {"question": "?", "answers": [{"id": 1, "text": "y"}]}),
    ("ControlVehicle", {"doorLock": 1}),
    ("SetCircles", {"items": [{"id": 1, "latitude": 31.2, "longitude": 121.4, "radius": 100, "maxSpeed": 60}]}),
    ("DeleteCircles", {"ids": [1]}),
    ("CollectRecorder", {"command": 8}),
    ("RequestDriver", {}),
    ("TakePhoto", {"channel": 1}),
    ("SearchMedia", {}),
    ("UploadMedia", {}),
    ("SendTransparent", {"type": 65, "dataHex": "0102"}),
    ("SendPlatformKey", {"e": 65537, "n": "ab" * 128}),
]


def simulate(gateway, *args, timeout=60):
    """Start the fleet; returns a function that waits for its end."""
    process = subprocess.Popen([BUILD / "bin" / "causeway", "simulate", "jt808", "--connect", gateway.address, *args],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(stop=False):
        if stop:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=timeout)
        return process.returncode, out, err
    return finish


def test_a_fleet_reports_and_every_message_is_answered(world):
    cloud, gateway = world()
    code, out, err = simulate(gateway, "--devices", "3", "--rate", "60", "--for", "4s")()
    assert code == 0, (out, err)
    assert "all as expected" in out
    assert re.search(r"3 terminals: 3 authenticated, 3 registrations", out)
    sent = int(re.search(r"(\d+) messages", out.splitlines()[-1]).group(1))
    assert sent > 150
    stats = gateway.stats()
    assert stats["plugin.frames_in"] >= sent
    assert stats["plugin.frames_malformed"] == 0
    assert stats["plugin.refused_calls"] == 0


def test_the_fleet_obeys_every_service(world):
    cloud, gateway = world()
    finish = simulate(gateway, "--devices", "3", "--rate", "3")
    for i in range(3):
        cloud.wait_status(PK, device_name(i), "ONLINE")
    failed = []

    def run(i):
        for name, body in SERVICES:
            answer = cloud.post(f"/devices/{PK}/{device_name(i)}/services/{name}", body)
            if answer.get("result") != "answered" or answer["reply"]["code"] != 200:
                failed.append((i, name, answer))
    threads = [threading.Thread(target=run, args=(i,)) for i in (0, 2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    code, out, err = finish(stop=True)
    assert not failed, (failed, out)
    assert code == 0, (out, err)
    assert int(re.search(r"(\d+) commands answered", out).group(1)) >= 2 * len(SERVICES)


def test_unknown_numbers_are_refused_and_the_fleet_says_so(world):
    _, gateway = world()
    code, out, _ = simulate(gateway, "--first", "13900000001", "--devices", "1", "--for", "2s")()
    assert code == 1
    assert "registration refused (result 4)" in out


def test_a_wrong_command_line_says_what_is_wrong():
    def run(*args):
        done = subprocess.run([BUILD / "bin" / "causeway", "simulate", *args], capture_output=True, text=True, timeout=10)
        return done.returncode, done.stderr
    assert run("jt808")[0] == 2
    assert run("jt808", "--connect", "127.0.0.1:1", "--rate", "x") == (2, "causeway: simulate: --rate takes a number from 0 to 1000000: `x`\n")
    assert run("nonesuch", "--connect", "127.0.0.1:1")[0] == 2
    assert run("jt808", "--connect", "127.0.0.1:1", "--first", "12a")[0] == 2
