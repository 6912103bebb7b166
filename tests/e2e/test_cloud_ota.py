"""Upgrades through the emulator: packages, batches, downloads by HTTPS and MQTT, with paho as the device and curl as its downloader."""
import hashlib
import json
import random
import ssl
import subprocess
import urllib.error
import urllib.request

import pytest
from cloud_client import DEV, GW, SUB1, Client, gateway, online_sub, sys_topic
from conftest import PATIENCE, wait_until

UPGRADE = f"/ota/device/upgrade/{DEV[0]}/{DEV[1]}"
INFORM = f"/ota/device/inform/{DEV[0]}/{DEV[1]}"
PROGRESS = f"/ota/device/progress/{DEV[0]}/{DEV[1]}"
FIRMWARE = random.Random(7).randbytes(300_001)


def package(cloud, data=FIRMWARE, pk=DEV[0], **query):
    return cloud.post(f"/products/{pk}/packages", data, query={"version": "2.0.0", **query})


def start(cloud, made, **batch):
    return cloud.post(f"/packages/{made['id']}/batches", batch)


def task(cloud, batch, name=DEV[1]):
    return {t["deviceName"]: t for t in cloud.get(f"/upgrades/{batch['id']}")["devices"]}[name]


def wait_state(cloud, batch, state):
    wait_until(lambda: task(cloud, batch)["state"] == state, f"the task {state}")


def pushed(device, topic=UPGRADE):
    return json.loads(device.receive_on(topic).payload)["data"]


def fetch(cloud, url, **headers):
    """(status, headers, body)"""
    trust = ssl.create_default_context(cafile=cloud.ca)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE, context=trust) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.code, answer.headers, answer.read()


def test_a_whole_upgrade(cloud, tmp_path):
    """covers: N04 N09"""
    made = package(cloud, signMethod="Md5", name="app.bin")
    with Client(cloud, DEV, subscribe=[UPGRADE]) as device:
        device.publish(INFORM, {"id": "1", "params": {"version": "1.0.0"}})
        batch = start(cloud, made)
        data = pushed(device)
        assert (data["size"], data["version"], data["signMethod"]) == (len(FIRMWARE), "2.0.0", "Md5")
        assert data["md5"] == data["sign"] == hashlib.md5(FIRMWARE).hexdigest()
        assert task(cloud, batch)["state"] == "NOTIFIED"

        # Interrupted after the first part, and resumed.
        file = tmp_path / "firmware"
        curl = ["curl", "-sS", "--fail", "--cacert", cloud.ca, "-o", file]
        subprocess.run([*curl, "-r", "0-99999", data["url"]], check=True, timeout=PATIENCE)
        assert file.stat().st_size == 100000
        device.publish(PROGRESS, {"id": "2", "params": {"step": "33", "desc": "a third"}})
        wait_state(cloud, batch, "IN_PROGRESS")
        assert (task(cloud, batch)["step"], task(cloud, batch)["text"]) == (33, "a third")
        subprocess.run([*curl, "-C", "-", data["url"]], check=True, timeout=PATIENCE)
        assert hashlib.md5(file.read_bytes()).hexdigest() == data["md5"]

        device.publish(PROGRESS, {"id": "3", "params": {"step": "100", "desc": "ota success"}})
        wait_until(lambda: task(cloud, batch)["step"] == 100, "step 100")
        assert task(cloud, batch)["state"] == "IN_PROGRESS"  # success is the version, not the step
        device.publish(INFORM, {"id": "4", "params": {"version": "2.0.0"}})
        wait_state(cloud, batch, "SUCCEEDED")
    shown = cloud.get(f"/upgrades/{batch['id']}")
    assert (shown["status"], shown["total"], shown["states"]["SUCCEEDED"]) == ("COMPLETED", 1, 1)
    assert cloud.device(*DEV[:2])["modules"] == {"default": "2.0.0"}
    cloud.delete(f"/packages/{made['id']}")
    assert fetch(cloud, data["url"])[0] == 404


def test_links_are_good_for_a_day_and_for_nothing_else(cloud):
    made = package(cloud)
    with Client(cloud, DEV, subscribe=[UPGRADE]) as device:
        start(cloud, made)
        url = pushed(device)["url"]
    status, headers, body = fetch(cloud, url)
    assert (status, headers["Content-Length"], body) == (200, str(len(FIRMWARE)), FIRMWARE)
    assert "chunked" not in (headers["Transfer-Encoding"] or "")
    status, headers, body = fetch(cloud, url, Range="bytes=300000-")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 300000-300000/{len(FIRMWARE)}", FIRMWARE[-1:])
    assert fetch(cloud, url[:-1])[0] == 403
    assert b"SignatureDoesNotMatch" in fetch(cloud, url.replace("Expires=", "Expires=1"))[2]
    assert fetch(cloud, url.split("?")[0])[0] == 403
    cloud.post("/clock", {"advance": "25h"})
    status, _, body = fetch(cloud, url)
    assert status == 403 and b"AccessDenied" in body


@pytest.mark.parametrize("clean", [True, False])
def test_who_was_away_is_told_when_it_comes(cloud, clean):
    """covers: N04"""
    with Client(cloud, DEV, clean=clean) as device:
        assert device.subscribe(UPGRADE, qos=1) == [1]
    cloud.wait_status(*DEV[:2], "OFFLINE")
    batch = start(cloud, package(cloud), devices=[DEV[1]])
    assert task(cloud, batch)["state"] == "QUEUED"
    assert cloud.device(*DEV[:2])["stored"] == 0
    for _ in range(2):  # and the next time again
        with Client(cloud, DEV, clean=clean) as device:
            if clean:
                assert device.subscribe(UPGRADE, qos=1) == [1]
            assert pushed(device)["version"] == "2.0.0"
        cloud.wait_status(*DEV[:2], "OFFLINE")
    assert task(cloud, batch)["state"] == "NOTIFIED"


def test_the_device_may_ask(cloud):
    get = sys_topic(DEV, "thing/ota/firmware/get")
    old = f"/ota/device/request/{DEV[0]}/{DEV[1]}"
    with Client(cloud, DEV, subscribe=[get + "_reply", old]) as device:
        ask = {"params": {"module": "MCU"}, "method": "thing.ota.firmware.get"}
        assert device.ask(get, ask)["data"] == {}
        batch = start(cloud, package(cloud, module="MCU", signMethod="SHA256", extData='{"k":"v"}'), tags={"t": "1"})
        got = device.ask(get, ask)
        assert got["code"] == 200 and got["data"]["module"] == "MCU" and "md5" not in got["data"]
        assert got["data"]["sign"] == hashlib.sha256(FIRMWARE).hexdigest()
        assert got["data"]["extData"] == {"k": "v", "t": "1"}
        assert task(cloud, batch)["state"] == "NOTIFIED"
        device.publish(old, {"id": "5", "params": {"module": "MCU"}}, qos=0)
        got = json.loads(device.receive_on(old).payload)
        assert (got["id"], got["code"], got["data"]["version"]) == ("5", "1000", "2.0.0")


def test_a_sub_device_is_told_through_its_gateway(cloud):
    topic = f"/ota/device/upgrade/{SUB1[0]}/{SUB1[1]}"
    made = package(cloud, pk=SUB1[0])
    batch = start(cloud, made, devices=[SUB1[1]])
    with gateway(cloud) as gw:
        online_sub(gw, SUB1)
        gw.subscribe(topic)
        assert pushed(gw, topic)["version"] == "2.0.0"
        gw.publish(f"/ota/device/progress/{SUB1[0]}/{SUB1[1]}", {"id": "1", "params": {"step": "-2", "desc": "no space"}})
        wait_until(lambda: task(cloud, batch, SUB1[1])["state"] == "FAILED", "the failure")
        assert task(cloud, batch, SUB1[1])["text"] == "download failed: no space"
        assert cloud.get(f"/devices/{SUB1[0]}/{SUB1[1]}/upgrades")["upgrades"][0]["state"] == "FAILED"


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def block(device, topic, data, offset, size):
    device.next += 1
    device.publish(topic, {"id": str(device.next), "version": "1.0", "params": {
        "fileInfo": {"streamId": data["streamId"], "fileId": data["streamFileId"]},
        "fileBlock": {"size": size, "offset": offset}}}, qos=0)
    frame = device.receive_on(topic + "_reply").payload
    n = int.from_bytes(frame[:2], "big")
    header = json.loads(frame[2:2 + n])
    assert header["id"] == str(device.next)
    if header["code"] != 200:
        assert len(frame) == 2 + n
        return header, None
    body = frame[2 + n:-2]
    assert int.from_bytes(frame[-2:], "little") == crc16(body)
    assert (header["data"]["bOffset"], header["data"]["bSize"]) == (offset, len(body))
    return header, body


def test_a_download_by_mqtt(cloud):
    topic = sys_topic(DEV, "thing/file/download")
    made = package(cloud, FIRMWARE[:200_003], protocol="mqtt")
    with Client(cloud, DEV, subscribe=[UPGRADE, topic + "_reply"]) as device:
        start(cloud, made)
        data = pushed(device)
        assert data["dProtocol"] == "mqtt" and "url" not in data
        got = b""
        while len(got) < data["size"]:
            got += block(device, topic, data, len(got), 50_000)[1]
        assert hashlib.md5(got).hexdigest() == data["md5"]
        assert block(device, topic, data, data["size"], 1)[0]["code"] == 460
        assert block(device, topic, {**data, "streamId": 99}, 0, 1)[0]["code"] == 460


def test_a_batch_is_canceled(cloud):
    made = package(cloud)
    batch = start(cloud, made)
    assert cloud.request("DELETE", f"/packages/{made['id']}")[0] == 409
    shown = cloud.post(f"/upgrades/{batch['id']}/cancel", {"deviceName": DEV[1]})
    assert (shown["status"], shown["states"]["CANCELED"]) == ("COMPLETED", 1)
    assert cloud.request("POST", f"/upgrades/{batch['id']}/cancel", {})[0] == 409
    with Client(cloud, DEV, subscribe=[UPGRADE]) as device:
        assert [m for m in device.fence() if m.topic == UPGRADE] == []
    cloud.delete(f"/packages/{made['id']}")
    assert cloud.get(f"/products/{DEV[0]}/packages")["packages"] == []


def test_a_batch_of_source_versions_takes_those_alone(cloud):
    cloud.add_device(DEV[0], "dev-0002")
    with Client(cloud, DEV) as device:
        device.publish(INFORM, {"id": "1", "params": {"version": "1.0.0"}})
        wait_until(lambda: cloud.device(*DEV[:2])["modules"], "the version")
    some = start(cloud, package(cloud), sourceVersions=["1.0.0", "1.0.1"])
    assert [t["deviceName"] for t in cloud.get(f"/upgrades/{some['id']}")["devices"]] == [DEV[1]]
    named = start(cloud, package(cloud, b"diff", version="3", sourceVersion="0.9"), devices=[DEV[1], "dev-0002"])
    assert named["states"]["FAILED"] == 2
    assert cloud.get(f"/products/{DEV[0]}/packages")["packages"][1]["sourceVersion"] == "0.9"


def test_uploads_are_bounded(start_cloud):
    cloud = start_cloud("limits.packages = 1100KiB\nproducts = [ { productKey = a1EmuPk0001 } ]\n")
    assert cloud.request("POST", "/products/a1EmuPk0001/packages", bytes(1_200_000), version="1")[0] == 413
    package(cloud, bytes(1_110_000))  # larger than what other paths take
    assert cloud.request("POST", "/products/a1EmuPk0001/packages", bytes(100_000), version="3")[0] == 400
    assert [p["version"] for p in cloud.get("/products/a1EmuPk0001/packages")["packages"]] == ["2.0.0"]
    assert cloud.request("POST", "/products", bytes(1_050_000))[0] == 413


def test_packages_and_tasks_are_there_after_a_restart(start_cloud, tmp_path):
    conf = f"""
products = [ {{ productKey = {DEV[0]} }} ]
devices = [ {{ productKey = {DEV[0]}, deviceName = {DEV[1]}, deviceSecret = {DEV[2]} }} ]
"""
    cloud = start_cloud(conf, state=tmp_path / "state.db")
    made = package(cloud, signMethod="SHA256", extData='{"k":"v"}')
    batch = start(cloud, made, timeoutMinutes=60)
    assert task(cloud, batch)["state"] == "QUEUED"  # one more pass of the loop: what came before it is written
    cloud.process.kill()
    cloud.start()
    assert cloud.get(f"/packages/{made['id']}") == {**made, "batches": 1}
    assert cloud.get(f"/upgrades/{batch['id']}")["timeoutMinutes"] == 60
    with Client(cloud, DEV, subscribe=[UPGRADE]) as device:
        data = pushed(device)
        assert fetch(cloud, data["url"])[2] == FIRMWARE
        device.publish(INFORM, {"id": "4", "params": {"version": "2.0.0"}})
        wait_state(cloud, batch, "SUCCEEDED")
    cloud.restart()
    assert task(cloud, batch)["state"] == "SUCCEEDED"
    assert start(cloud, made)["id"] > batch["id"]
