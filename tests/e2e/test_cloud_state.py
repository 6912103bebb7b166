"""What the emulator remembers with --state: over a stop, over kill -9, and what it says of a file it cannot use."""
import os
import sqlite3
import subprocess

import pytest

from cloud_client import DEV, GW, SUB1, Client, session_topic, sign, sys_topic
from conftest import BUILD, wait_until

STOCK = """
limits.profile = off
products = [ { productKey = a1EmuGw0001, nodeType = gateway }, { productKey = a1EmuPk0001, nodeType = device },
             { productKey = a1EmuSub001, nodeType = subdevice } ]
devices = [ { productKey = a1EmuGw0001, deviceName = gw-0001, deviceSecret = 0123456789abcdef0123456789abcd01 }
            { productKey = a1EmuPk0001, deviceName = dev-0001, deviceSecret = 0123456789abcdef0123456789abcdef }
            { productKey = a1EmuSub001, deviceName = sub-0001, deviceSecret = 0123456789abcdef0123456789abcd11 } ]
"""
TOPIC = f"/{DEV[0]}/{DEV[1]}/user/get"


@pytest.fixture
def remembering(start_cloud, tmp_path):
    return start_cloud(STOCK, state=tmp_path / "state.db")


def stop_gently(cloud):
    cloud.restart()


def kill_hard(cloud):
    cloud.process.kill()
    cloud.start()


@pytest.fixture(params=[stop_gently, kill_hard], ids=["stop", "kill"])
def again(request):
    return request.param


def relate(gateway, device):
    pk, dn, secret = device
    fields = {"productKey": pk, "deviceName": dn, "clientId": "c", "timestamp": "1"}
    entry = {**fields, "signmethod": "hmacSha1", "sign": sign(secret, "hmacsha1", **fields)}
    return gateway.ask(sys_topic(GW, "thing/topo/add"), {"method": "thing.topo.add", "params": [entry]})


def test_stock_secrets_and_deletions_are_there_again(remembering, again):
    made = remembering.add_product("a1Made00001")
    device = remembering.add_device("a1Made00001", "made-0001")
    remembering.delete(f"/devices/{DEV[0]}/{DEV[1]}")
    again(remembering)
    assert {p["productKey"] for p in remembering.get("/products")["products"]} >= {"a1Made00001", DEV[0]}
    with Client(remembering, ("a1Made00001", "made-0001", device["deviceSecret"])) as client:
        assert client.code == 0
    status, _ = remembering.request("GET", f"/devices/{DEV[0]}/{DEV[1]}")
    assert status == 404  # the configuration file still names it, but it was deleted
    assert made["productKey"] == "a1Made00001"


def test_topology_and_reported_state_are_there_again(remembering, again):
    with Client(remembering, GW, subscribe=[sys_topic(GW, "thing/topo/add_reply"),
                                            session_topic(GW, "login_reply")]) as gateway:
        assert relate(gateway, SUB1)["code"] == 200
    with Client(remembering, DEV, subscribe=[sys_topic(DEV, "thing/event/property/post_reply")]) as client:
        assert client.ask(sys_topic(DEV, "thing/event/property/post"),
                          {"method": "thing.event.property.post", "params": {"level": 7}})["code"] == 200
    again(remembering)
    assert remembering.device(*SUB1[:2])["gateway"] == f"{GW[0]}/{GW[1]}"
    assert remembering.device(*DEV[:2])["reported"]["level"]["value"] == 7
    assert remembering.device(*DEV[:2])["status"] == "OFFLINE"


def test_kept_messages_and_subscriptions_are_there_again(remembering, again):
    with Client(remembering, DEV, clean=False, subscribe=[TOPIC]):
        pass
    remembering.wait_status(*DEV[:2], "OFFLINE")
    for payload in (b"one", b"two", b"\0\xff"):
        assert remembering.post(f"/devices/{DEV[0]}/{DEV[1]}/raw", payload, topic=TOPIC, qos=1)["result"] == "stored"
    again(remembering)
    with Client(remembering, DEV, clean=False) as client:
        assert client.flags["session present"] == 1
        assert [client.receive().payload for _ in range(3)] == [b"one", b"two", b"\0\xff"]
        client.fence()
    remembering.wait_status(*DEV[:2], "OFFLINE")
    again(remembering)
    with Client(remembering, DEV, clean=False) as client:  # delivered is delivered
        assert client.fence() == []


def test_the_file_is_ours_alone(remembering, tmp_path):
    for path in tmp_path.glob("state.db*"):
        if path.is_file():
            assert path.stat().st_mode & 0o777 == 0o600, path
    second = subprocess.run([BUILD / "bin" / "causeway-cloud", "--state", tmp_path / "state.db"], capture_output=True, text=True, timeout=60)
    assert second.returncode == 1
    assert "state.db" in second.stderr and "in use by another process" in second.stderr


@pytest.mark.parametrize("content, says", [
    (b"no database at all, but long enough to be looked at as one........" * 20, "not a database"),
    ("newer", "made by a newer causeway-cloud (schema 99, this one knows 1)"),
    ("damaged", "\"a1EmuPk0001/dev-0001\" is damaged; move the file away to begin anew"),
    ("directory", "Is a directory"),
])
def test_a_file_it_cannot_use_is_named(tmp_path, start_cloud, content, says):
    path = tmp_path / "state.db"
    if content == "directory":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        cloud = start_cloud(None, state=path)
        cloud.process.stop()
        with sqlite3.connect(path) as db:
            db.execute("PRAGMA user_version = 99" if content == "newer" else
                       "UPDATE device SET body = '{' WHERE id = 'a1EmuPk0001/dev-0001'")
        db.close()
    run = subprocess.run([BUILD / "bin" / "causeway-cloud", "--state", path], capture_output=True, text=True, timeout=60)
    assert run.returncode == 1
    assert str(path) in run.stderr and says in run.stderr


def test_a_full_disk_is_said_and_nothing_is_lost_when_there_is_room_again(start_cloud, tmp_path):
    """A limit on the file's size stands for the full disk."""
    script = tmp_path / "limited"
    script.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 300\nexec {BUILD}/bin/causeway-cloud \"$@\"\n")
    script.chmod(0o755)
    cloud = start_cloud(STOCK, state=tmp_path / "state.db", program=script)
    topic = f"/{DEV[0]}/{DEV[1]}/user/get"
    with Client(cloud, DEV, clean=False, subscribe=[topic]):
        pass
    cloud.wait_status(*DEV[:2], "OFFLINE")
    for _ in range(20):
        cloud.post(f"/devices/{DEV[0]}/{DEV[1]}/raw", os.urandom(60000), topic=topic, qos=1)
    wait_until(lambda: "cloud.state" in cloud.process.stderr(), "the complaint")
    assert cloud.device(*DEV[:2])["status"] == "OFFLINE"  # it goes on
    with Client(cloud, DEV, clean=False) as client:
        assert len([client.receive() for _ in range(20)]) == 20
