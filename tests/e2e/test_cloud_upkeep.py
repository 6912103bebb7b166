"""Shadow, remote configuration, device logs and diagnosis, jobs: paho is the device."""
import hashlib
import json

from cloud_client import DEV, Client, sys_topic
from conftest import wait_until
from test_cloud_ota import fetch

UPDATE = f"/shadow/update/{DEV[0]}/{DEV[1]}"
GET = f"/shadow/get/{DEV[0]}/{DEV[1]}"
PATH = f"/devices/{DEV[0]}/{DEV[1]}"


def put(cloud, path, body, expect=200, **query):
    status, answer = cloud.request("PUT", path, body, **query)
    assert status == expect, answer
    return answer


def shadow(device, body):
    device.publish(UPDATE, body, qos=0)
    return json.loads(device.receive_on(GET).payload)


def test_a_shadow_reported_and_desired(cloud):
    """covers: K18"""
    put(cloud, PATH + "/shadow", {"desired": {"color": "green"}})
    with Client(cloud, DEV, subscribe=[GET]) as device:
        got = shadow(device, {"method": "get"})
        assert got["payload"]["state"] == {"reported": {}, "desired": {"color": "green"}}
        assert got["version"] == 1 and 1_500_000_000 < got["timestamp"] < 100_000_000_000
        assert got["payload"]["metadata"]["desired"]["color"].keys() == {"timestamp"}
        got = shadow(device, {"method": "update", "state": {"reported": {"color": "green"}, "desired": "null"}, "version": 2})
        assert got == {"method": "reply", "payload": {"status": "success", "version": 2}, "timestamp": got["timestamp"]}
        got = shadow(device, {"method": "update", "state": {"reported": {"color": "red"}}, "version": 2})
        assert got["payload"]["status"] == "error" and got["payload"]["content"]["errorcode"] == "409"
        put(cloud, PATH + "/shadow", {"desired": {"color": "blue"}})
        got = json.loads(device.receive_on(GET).payload)
        assert got["method"] == "control" and got["payload"]["state"]["desired"] == {"color": "blue"}
    assert cloud.get(PATH + "/shadow")["state"] == {"reported": {"color": "green"}, "desired": {"color": "blue"}}
    put(cloud, PATH + "/shadow", {"desired": {"a": 1}, "version": 3}, expect=409)
    put(cloud, PATH + "/shadow", {"desired": [1]}, expect=400)


def test_a_configuration_is_set_fetched_and_pushed(cloud):
    """covers: K19"""
    text = json.dumps({"interval": 30, "name": "prüfen"}, ensure_ascii=False).encode()
    get, push = sys_topic(DEV, "thing/config/get"), sys_topic(DEV, "thing/config/push")
    ask = {"method": "thing.config.get", "params": {"configScope": "product", "getType": "file"}}
    with Client(cloud, DEV, subscribe=[get + "_reply", push]) as device:
        assert device.ask(get, ask)["code"] == 6710
        assert cloud.request("POST", f"/products/{DEV[0]}/config/push", {})[0] == 409
        put(cloud, f"/products/{DEV[0]}/config", text)
        data = device.ask(get, ask)["data"]
        assert (data["configSize"], data["sign"], data["signMethod"]) == (len(text), hashlib.sha256(text).hexdigest(), "Sha256")
        assert fetch(cloud, data["url"])[2] == text
        assert cloud.post(f"/products/{DEV[0]}/config/push", {}) == {"told": 1}
        got = json.loads(device.receive_on(push).payload)
        assert got["method"] == "thing.config.push" and got["params"]["configId"] == data["configId"]
        device.publish(push + "_reply", {"id": got["id"], "code": 200, "data": {}})
        put(cloud, f"/products/{DEV[0]}/config", b"", on=0)
        assert device.ask(get, ask)["code"] == 6713
        put(cloud, f"/products/{DEV[0]}/config", b"", on=1)
        assert device.ask(get, ask)["code"] == 200
    cloud.post("/clock", {"advance": "31m"})
    assert fetch(cloud, data["url"])[0] == 403
    assert put(cloud, f"/products/{DEV[0]}/config", b"{", expect=400)["error"].startswith("not JSON")
    put(cloud, f"/products/{DEV[0]}/config", b"[" + b"1," * 33000 + b"1]", expect=400)


def test_the_device_posts_its_log(cloud):
    """covers: D25"""
    post, get, told = (sys_topic(DEV, r) for r in ("thing/log/post", "thing/config/log/get", "thing/config/log/push"))
    line = {"utcTime": "2020-03-06T15:15:27.464+0800", "logLevel": "ERROR", "module": "net", "code": "4103",
            "traceContext": "1", "logContent": "no route"}
    with Client(cloud, DEV, subscribe=[post + "_reply", get + "_reply", told]) as device:
        ask = {"method": "thing.config.log.get", "params": {"configScope": "device", "getType": "content"}}
        assert device.ask(get, ask)["data"] == {"getType": "content", "content": {"mode": 0}}
        assert cloud.post(PATH + "/logs", {"report": True}) == {"result": "delivered"}
        assert json.loads(device.receive_on(told).payload)["params"] == {"getType": "content", "content": {"mode": 1}}
        assert device.ask(get, ask)["data"]["content"] == {"mode": 1}
        assert device.ask(post, {"method": "thing.log.post", "params": [line, line]})["code"] == 200
        assert device.ask(post, {"method": "thing.log.post", "params": [line] * 41})["code"] == 460
    shown = cloud.get(PATH + "/logs")
    assert shown["report"] and [one["logContent"] for one in shown["lines"]] == ["no route"] * 2
    assert shown["lines"][0]["received"] > 0


def test_the_device_posts_the_state_of_its_network(cloud):
    post = sys_topic(DEV, "_thing/diag/post")
    with Client(cloud, DEV, subscribe=[post + "_reply"]) as device:
        wifi = {"wifi": {"rssi": -75, "snr": 20, "per": 0, "err_stats": "10,02,01"}, "_time": 1583478933000}
        assert device.ask(post, {"params": {"p": wifi, "model": "quantity=single|format=simple|time=now"}})["code"] == 200
        assert device.ask(post, {"params": {"p": [wifi, wifi], "model": "quantity=batch|time=history"}})["code"] == 200
    assert [type(d["p"]) for d in cloud.get(PATH + "/logs")["diagnosis"]] == [dict, list]


def test_a_job_is_told_asked_for_and_reported(cloud):
    notify, get, update = (sys_topic(DEV, "thing/job/" + r) for r in ("notify", "get", "update"))
    first = cloud.post(PATH + "/jobs", {"reboot": 1})["taskId"]
    with Client(cloud, DEV, subscribe=[notify, get + "_reply", update + "_reply"]) as device:
        got = device.ask(get, {"params": {"taskId": "$next"}})["data"]
        assert got["task"] == {"taskId": first, "status": "SENT", "jobDocument": {"reboot": 1}}
        second = cloud.post(PATH + "/jobs", {"n": 2})["taskId"]
        assert json.loads(device.receive_on(notify).payload)["params"]["task"]["taskId"] == second
        done = {"taskId": first, "status": "SUCCEEDED", "progress": 100, "statusDetails": {"k": "v"}}
        got = device.ask(update, {"params": done})
        assert got["code"] == 200 and got["data"] == {"taskId": first}
        assert [t["status"] for t in device.ask(get, {"params": {"taskId": "$list"}})["data"]["tasks"]] == ["SUCCEEDED", "SENT"]
    assert cloud.get(PATH + "/jobs")["jobs"][first]["statusDetails"] == {"k": "v"}
    cloud.delete(f"{PATH}/jobs/{first}")
    assert list(cloud.get(PATH + "/jobs")["jobs"]) == [second]


def test_a_device_is_told_to_connect_anew(cloud):
    topic = sys_topic(DEV, "thing/bootstrap/notify")
    assert cloud.request("POST", PATH + "/bootstrap", {})[0] == 409
    with Client(cloud, DEV, subscribe=[topic]) as device:
        cloud.post(PATH + "/bootstrap", {"cmd": 0})
        got = json.loads(device.receive_on(topic).payload)
        assert got["params"] == {"cmd": 0}
        device.publish(topic + "_reply", {"id": got["id"], "code": 200, "data": {}})


def test_all_of_it_is_there_after_a_restart(start_cloud, tmp_path):
    cloud = start_cloud(f"""
products = [ {{ productKey = {DEV[0]} }} ]
devices = [ {{ productKey = {DEV[0]}, deviceName = {DEV[1]}, deviceSecret = {DEV[2]} }} ]
""", state=tmp_path / "state.db")
    put(cloud, PATH + "/shadow", {"desired": {"a": {"b": 1}}})
    put(cloud, f"/products/{DEV[0]}/config", b'{"c":1}', on=0)
    cloud.post(PATH + "/logs", {"report": True})
    job = cloud.post(PATH + "/jobs", {"d": 1})["taskId"]
    before = [cloud.get(PATH + "/shadow"), cloud.get(f"/products/{DEV[0]}/config"), cloud.get(PATH + "/jobs")]
    cloud.process.kill()
    cloud.start()
    assert [cloud.get(PATH + "/shadow"), cloud.get(f"/products/{DEV[0]}/config"), cloud.get(PATH + "/jobs")] == before
    assert before[2]["jobs"][job]["status"] == "QUEUED" and cloud.get(PATH + "/logs")["report"]
    wait_until(lambda: cloud.device(*DEV[:2])["shadow"] == before[0], "the shadow beside the other documents")
