"""Plugins built against earlier versions of the ABI go on working: the binaries of tests/plugin/abi, never built anew. covers: M03"""
import json
import platform
import shutil
import socket
import subprocess

import pytest
from conftest import BUILD, ROOT
from gw import PK, ask, device_name, secret, start_gateway, wait_reported, world  # noqa: F401

KEPT = sorted((ROOT / "tests/plugin/abi").glob("*-x86_64.so"))
pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the binaries are for x86_64")


def run(*args):
    return subprocess.run([BUILD / "bin" / "causeway", *args], capture_output=True, text=True, timeout=300)


def test_the_first_stable_one_is_kept():
    assert KEPT and KEPT[0].name == "skeleton-1.0-x86_64.so"


@pytest.mark.parametrize("plugin", KEPT, ids=lambda p: p.stem)
def test_it_says_what_it_was_built_for_and_keeps_the_rules(plugin):
    told = json.loads(run("plugin", "describe", "--json", plugin).stdout)
    assert told["name"] == "skeleton" and told["abi"] == plugin.stem.split("-")[1]
    done = run("plugin", "test", "--only", "scripts", plugin, *sorted((ROOT / "plugins/skeleton/tests").glob("session.wire")))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize("plugin", KEPT, ids=lambda p: p.stem)
def test_a_device_works_with_it(world, tmp_path, plugin, isolated):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    shutil.copy(plugin, plugins / "skeleton.so")
    shutil.copy(BUILD / "plugins" / "jt808.so", plugins)
    extra = f'pluginDir = "{plugins}"' + ("\nisolation { protocols = [skeleton] }" if isolated else "")
    cloud, gateway = world(devices=1, extra=extra, listeners='{ name = meters, protocol = skeleton, address = "127.0.0.1:0" }')
    gateway.devices.write_text(f"meter-1 {{ productKey : {PK}, deviceName : {device_name(0)}, deviceSecret : {secret(0)} }}\n")
    gateway.reload()
    host, port = gateway.process.ready["listeners"]["meters"].rsplit(":", 1)
    with socket.create_connection((host, int(port)), 30) as s, s.makefile("rw") as lines:
        def say(text):
            lines.write(text + "\n")
            lines.flush()
        say("login,meter-1")
        assert lines.readline() == "ok,login\n"
        say("temp,21.50")
        assert lines.readline() == "ok,temp\n"
        assert wait_reported(cloud, 0, "Temperature") == 21.5
        answer = ask(cloud, 0, "/services/SetInterval", {"seconds": 60})
        assert lines.readline() == "interval,60\n"
        say("ok,interval")
        assert answer()[1]["reply"]["code"] == 200
