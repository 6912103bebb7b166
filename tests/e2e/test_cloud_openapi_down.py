"""The management API's calls to devices: publishes, broadcasts, RRPC, properties, services; desired values, tags, what was reported."""
import base64
import http.client
import json
import threading
import urllib.parse

import pytest
from cloud_client import DEV, GW, SUB1, SUB2, Client, sys_topic
from conftest import wait_until
from openapi_client import KEY, OpenApi, common, flat, sign


@pytest.fixture
def api(cloud):
    return OpenApi(cloud.process.ready["openapi"])


def named(device):
    return {"ProductKey": device[0], "DeviceName": device[1]}


def b64(data):
    return base64.b64encode(data).decode()


def meanwhile(work, respond):
    """work() in a thread while respond() plays the device; what work() gave."""
    got = []
    thread = threading.Thread(target=lambda: got.append(work()))
    thread.start()
    try:
        respond()
    finally:
        thread.join(30)
    return got[0]


def topic(device, rest):
    return f"/{device[0]}/{device[1]}/{rest}"


def test_pub(cloud, api):
    """covers: D30 K12"""
    with Client(cloud, DEV, subscribe=[topic(DEV, "user/get")]) as device:
        body = b"\x00\xff anything"
        got = api.ok("Pub", ProductKey=DEV[0], TopicFullName=topic(DEV, "user/get"), MessageContent=b64(body), Qos=1)
        assert isinstance(got["MessageId"], int)
        m = device.receive()
        assert (m.topic, m.payload, m.qos) == (topic(DEV, "user/get"), body, 1)
        api.ok("Pub", ProductKey=DEV[0], TopicFullName=topic(DEV, "user/get"), MessageContent=b64(b"second"))
        assert device.receive().qos == 0
    api.ok("Pub", ProductKey=DEV[0], TopicFullName=topic(DEV, "user/get"), MessageContent=b64(b"to nobody"))


@pytest.mark.parametrize("wrong, code", [
    ({"TopicFullName": sys_topic(DEV, "thing/service/property/set")}, "iot.messagebroker.InvalidFormattedTopicName"),
    ({"TopicFullName": topic(DEV, "user/+")}, "iot.messagebroker.InvalidFormattedTopicName"),
    ({"TopicFullName": topic(SUB1, "user/get")}, "iot.messagebroker.InvalidFormattedTopicName"),
    ({"TopicFullName": f"/{DEV[0]}/nobody-1/user/get"}, "iot.device.NotExistedDevice"),
    ({"TopicFullName": None}, "iot.messagebroker.NullTopicName"),
    ({"MessageContent": None}, "iot.messagebroker.NullMessageContent"),
    ({"MessageContent": "not base64!"}, "iot.messagebroker.MessageContentIsNotBase64Encode"),
    ({"MessageContent": "YQ="}, "iot.messagebroker.MessageContentIsNotBase64Encode"),
    ({"ProductKey": None}, "iot.prod.NullProductKey"),
])
def test_pub_is_refused(api, wrong, code):
    params = {"ProductKey": DEV[0], "TopicFullName": topic(DEV, "user/get"), "MessageContent": b64(b"x"), **wrong}
    assert api.fails("Pub", **params) == code


def test_broadcast_reaches_its_subscribers(cloud, api):
    """covers: D31"""
    third = api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="dev-0003")["Data"]
    second = api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="dev-0002")["Data"]
    devices = [DEV] + [(DEV[0], d["DeviceName"], d["DeviceSecret"]) for d in (second, third)]
    name = f"/broadcast/{DEV[0]}/news"
    with Client(cloud, devices[0], subscribe=[name]) as one, Client(cloud, devices[1], subscribe=[name]) as two, \
            Client(cloud, devices[2]) as three:
        got = api.ok("PubBroadcast", ProductKey=DEV[0], TopicFullName=name, MessageContent=b64(b"hello"))
        assert isinstance(got["MessageId"], int)
        assert one.receive().payload == two.receive().payload == b"hello"
        assert three.fence() == []
        assert api.refused("PubBroadcast", ProductKey=DEV[0], TopicFullName=name, MessageContent=b64(b"x")) == (400, "Throttling.User")
        api.ok("PubBroadcast", ProductKey=DEV[0], MessageContent=b64(b"all"))
        for client in (one, two, three):
            assert client.receive().topic.startswith(sys_topic(client.device, "broadcast/request/"))
        assert api.refused("PubBroadcast", ProductKey=DEV[0], MessageContent=b64(b"x")) == (400, "Throttling.User")


def test_rrpc(cloud, api):
    """covers: H07"""
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "rrpc/request/+")]) as device:
        def respond():
            m = device.receive()
            assert m.payload == b"\x01\xff"
            device.publish(m.topic.replace("/request/", "/response/"), b"\x02\xfe", 0)

        got = meanwhile(lambda: api.ok("RRpc", Timeout=8000, RequestBase64Byte=b64(b"\x01\xff"), **named(DEV)), respond)
        assert got["RrpcCode"] == "SUCCESS" and base64.b64decode(got["PayloadBase64Byte"]) == b"\x02\xfe"
        assert isinstance(got["MessageId"], int)
        assert api.ok("RRpc", TimeOut=1000, RequestBase64Byte=b64(b"x"), **named(DEV))["RrpcCode"] == "TIMEOUT"
    for wrong in ({"Timeout": 999}, {"Timeout": 8001}, {"Timeout": "x"}, {}):
        assert api.fails("RRpc", RequestBase64Byte=b64(b"x"), **wrong, **named(DEV)) == "iot.messagebroker.InvalidTimeoutValue"
    assert api.ok("RRpc", Timeout=1000, RequestBase64Byte=b64(b"x"), **named(SUB1))["RrpcCode"] == "OFFLINE"


def test_a_client_that_leaves_while_its_call_waits(cloud, api):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "rrpc/request/+")]) as device:
        impatient = OpenApi(api.address)
        connection = http.client.HTTPConnection(*api.address.rsplit(":", 1))
        params = common("RRpc", Timeout=8000, RequestBase64Byte=b64(b"x"), **named(DEV))
        params["Signature"] = sign(KEY[1], "GET", params)
        connection.request("GET", "/?" + urllib.parse.urlencode(params, quote_via=urllib.parse.quote))
        m = device.receive()
        connection.close()
        device.publish(m.topic.replace("/request/", "/response/"), b"late", 0)
        assert impatient.ok("QueryDeviceDetail", **named(DEV))


def test_set_property(cloud, api):
    """covers: D32"""
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/property/set")]) as device:
        got = api.ok("SetDeviceProperty", Items=json.dumps({"switch": 1}), **named(DEV))
        body = json.loads(device.receive().payload)
        assert body["method"] == "thing.service.property.set" and body["params"] == {"switch": 1}
        assert body["id"] == got["Data"]["MessageId"]
    assert api.fails("SetDeviceProperty", Items='{"a": 1}', **named(SUB1)) == "iot.messagebroker.OFFLINE"
    assert api.refused("SetDeviceProperty", **named(DEV)) == (400, "MissingItems")
    assert api.refused("SetDeviceProperty", Items="[1]", **named(DEV)) == (400, "InvalidParameter.Items")
    assert api.refused("SetDeviceProperty", Items="{", **named(DEV)) == (400, "InvalidParameter.Items")


def test_several_devices(cloud, api):
    """covers: D32 D33"""
    second = api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="dev-0002")["Data"]["DeviceSecret"]
    other = (DEV[0], "dev-0002", second)
    names = flat("DeviceName", [DEV[1], "dev-0002"])
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/service/+"), sys_topic(DEV, "thing/service/property/set")]) as one:
        with Client(cloud, other, subscribe=[sys_topic(other, "thing/service/+"), sys_topic(other, "thing/service/property/set")]) as two:
            api.ok("SetDevicesProperty", ProductKey=DEV[0], Items='{"a": 1}', **names)
            assert json.loads(one.receive().payload)["params"] == json.loads(two.receive().payload)["params"] == {"a": 1}
            api.ok("InvokeThingsService", ProductKey=DEV[0], Identifier="reboot", Args='{"delay": 5}', **names)
            for client in (one, two):
                body = json.loads(client.receive().payload)
                assert body["method"] == "thing.service.reboot" and body["params"] == {"delay": 5}
    assert api.fails("SetDevicesProperty", ProductKey=DEV[0], Items="{}") == "iot.device.NoneDeviceNameElement"
    assert api.fails("SetDevicesProperty", ProductKey=DEV[0], Items="{}", **flat("DeviceName", [DEV[1], "nobody-1"])) == \
        "iot.device.NotExistedDevice"
    assert api.fails("SetDevicesProperty", ProductKey=DEV[0], Items='{"a": 1}', **names) in ("iot.messagebroker.OFFLINE",
                                                                                              "iot.messagebroker.HALFCONN")
    many = flat("DeviceName", [f"name-{i:04}" for i in range(101)])
    assert api.fails("InvokeThingsService", ProductKey=DEV[0], Identifier="x", Args="{}", **many) == "iot.device.DeviceCountExceeded"


def test_services_by_the_model(cloud, api):
    """covers: D33"""
    service = {"outputData": [{"identifier": "n", "dataType": {"type": "int"}}], "inputData": []}
    tsl = {"properties": [], "events": [], "services": [
        {"identifier": "read", "callType": "sync", **service}, {"identifier": "reboot", "callType": "async", **service}]}
    api.ok("ImportThingModelTsl", ProductKey=DEV[0], TslStr=json.dumps(tsl))
    assert json.loads(api.ok("GetThingModelTsl", ProductKey=DEV[0])["Data"]["TslStr"]) == tsl
    assert api.refused("ImportThingModelTsl", ProductKey=DEV[0], TslStr='{"properties": 1}') == (400, "InvalidParameter.TslStr")
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "rrpc/request/+"), sys_topic(DEV, "thing/service/reboot")]) as device:
        def respond(code):
            m = device.receive()
            body = json.loads(m.payload)
            device.publish(m.topic.replace("/request/", "/response/"), {"id": body["id"], "code": code, "data": {"n": 7}}, 0)

        got = meanwhile(lambda: api.ok("InvokeThingService", Identifier="read", Args="{}", **named(DEV)), lambda: respond(200))
        assert json.loads(got["Data"]["Result"]) == {"n": 7} and got["Data"]["MessageId"]
        assert meanwhile(lambda: api.fails("InvokeThingService", Identifier="read", Args="{}", **named(DEV)),
                         lambda: respond(5092)) == "5092"
        got = api.ok("InvokeThingService", Identifier="reboot", Args="{}", **named(DEV))
        assert "Result" not in got["Data"] and json.loads(device.receive().payload)["id"] == got["Data"]["MessageId"]


def test_notify_a_gateway(cloud, api):
    where = {"GwProductKey": GW[0], "GwDeviceName": GW[1]}
    found = json.dumps([{"productKey": d[0], "deviceName": d[1]} for d in (SUB1, SUB2)])
    assert api.fails("NotifyAddThingTopo", DeviceListStr=found, **where) == "iot.messagebroker.OFFLINE"
    with Client(cloud, GW, subscribe=[sys_topic(GW, "thing/topo/add/notify")]) as gw:
        got = api.ok("NotifyAddThingTopo", DeviceListStr=found, **where)
        body = json.loads(gw.receive().payload)
        assert [d["deviceName"] for d in body["params"]] == [SUB1[1], SUB2[1]] and body["id"] == got["Data"]["MessageId"]
    unknown = json.dumps([{"productKey": DEV[0], "deviceName": "nobody-1"}])
    assert api.fails("NotifyAddThingTopo", DeviceListStr=unknown, **where) == "iot.device.NotExistedDevice"


def test_what_a_device_reported(cloud, api):
    with Client(cloud, DEV, subscribe=[sys_topic(DEV, "thing/event/property/post_reply"), sys_topic(DEV, "thing/event/alarm/post_reply")]) as device:
        device.ask(sys_topic(DEV, "thing/event/property/post"), {"params": {"temp": {"value": 21.5, "time": 1600000000000}, "on": 1}})
        device.ask(sys_topic(DEV, "thing/event/alarm/post"), {"params": {"value": {"level": 3}, "time": 1600000000001}})
    status = api.ok("QueryDevicePropertyStatus", **named(DEV))["Data"]["List"]["PropertyStatusInfo"]
    assert {p["Identifier"]: p["Value"] for p in status} == {"temp": "21.5", "on": "1"}
    window = {"StartTime": 1600000000000, "EndTime": 1600000000001}
    data = api.ok("QueryDevicePropertyData", Identifier="temp", **window, **named(DEV))["Data"]
    assert data["List"]["PropertyInfo"] == [{"Time": "1600000000000", "Value": "21.5"}]
    assert api.ok("QueryDevicePropertyData", Identifier="temp", StartTime=1, EndTime=2, **named(DEV))["Data"]["List"]["PropertyInfo"] == []
    events = api.ok("QueryDeviceEventData", Identifier="alarm", **window, **named(DEV))["Data"]["List"]["EventInfo"]
    assert json.loads(events[0]["OutputData"]) == {"level": 3}


def test_desired_values(cloud, api):
    got = api.ok("SetDeviceDesiredProperty", Items=json.dumps({"a": 1, "b": "x"}), **named(DEV))
    assert json.loads(got["Data"]["Versions"]) == {"a": 1, "b": 1}
    api.ok("SetDeviceDesiredProperty", Items='{"a": 2}', Versions='{"a": 1}', **named(DEV))
    status, body = api.call("SetDeviceDesiredProperty", Items='{"a": 3}', Versions='{"a": 1}', **named(DEV))
    assert status == 200 and body["Success"] is False and body["Code"].isdigit()
    rows = api.ok("QueryDeviceDesiredProperty", **flat("Identifier", ["a"]), **named(DEV))["Data"]["List"]["DesiredPropertyInfo"]
    assert [(r["Identifier"], r["Value"], r["Version"]) for r in rows] == [("a", "2", 2)]
    assert len(api.ok("QueryDeviceDesiredProperty", **named(DEV))["Data"]["List"]["DesiredPropertyInfo"]) == 2


def test_tags(api):
    api.ok("SaveDeviceProp", Props=json.dumps({"site": "north", "floor": "3"}), **named(DEV))
    api.ok("SaveDeviceProp", Props=json.dumps({"site": "south"}), **named(SUB1))
    assert json.loads(api.ok("QueryDeviceProp", **named(DEV))["Props"]) == {"site": "north", "floor": "3"}
    rows = api.ok("QueryDeviceByTags", **{"Tag.1.TagKey": "site", "Tag.1.TagValue": "south"})["Data"]["SimpleDeviceInfo"]
    assert [r["DeviceName"] for r in rows] == [SUB1[1]]
    api.ok("DeleteDeviceProp", PropKey="site", **named(DEV))
    assert json.loads(api.ok("QueryDeviceProp", **named(DEV))["Props"]) == {"floor": "3"}
    assert api.fails("DeleteDeviceProp", PropKey="site", **named(DEV)) == "iot.device.VerifyDeviceFailed"
    assert api.fails("SaveDeviceProp", Props='{"bad key!": "x"}', **named(DEV)) == "iot.device.VerifyDeviceFailed"


def test_reset(cloud, api):
    with Client(cloud, DEV):
        pass
    api.ok("ResetThing", **named(DEV))
    detail = api.ok("QueryDeviceDetail", **named(DEV))["Data"]
    assert detail["Status"] == "UNACTIVE" and detail["DeviceSecret"] == DEV[2]


def package(cloud):
    return str(cloud.post(f"/products/{DEV[0]}/packages", b"firmware " * 100, query={"version": "1.1", "name": "a.bin"})["id"])


def test_upgrades(cloud, api):
    firmware = package(cloud)
    info = api.ok("QueryOTAFirmware", FirmwareId=firmware)["FirmwareInfo"]
    assert (info["DestVersion"], info["FirmwareSize"], info["ProductKey"]) == ("1.1", 900, DEV[0])
    assert api.ok("ListOTAFirmware", ProductKey=DEV[0], CurrentPage=1, PageSize=10)["Total"] == 1
    where = {"ProductKey": DEV[0], "FirmwareId": firmware, "TargetSelection": "SPECIFIC"}
    with Client(cloud, DEV, subscribe=[f"/ota/device/upgrade/{DEV[0]}/{DEV[1]}"]) as device:
        device.publish(f"/ota/device/inform/{DEV[0]}/{DEV[1]}", {"id": "1", "params": {"version": "1.0"}})
        job = api.ok("CreateOTAStaticUpgradeJob", **where, **flat("TargetDeviceName", [DEV[1]]))["Data"]["JobId"]
        assert json.loads(device.receive().payload)["data"]["version"] == "1.1"
        device.publish(f"/ota/device/progress/{DEV[0]}/{DEV[1]}", {"id": "2", "params": {"step": "50", "desc": "half"}})
        wait_until(lambda: task(api, job)["Progress"] == "50")
        assert api.ok("QueryOTAJob", JobId=job)["Data"]["JobStatus"] == "IN_PROGRESS"
        assert api.fails("DeleteOTAFirmware", FirmwareId=firmware) == "iot.ota.OperationFailed"
        device.publish(f"/ota/device/inform/{DEV[0]}/{DEV[1]}", {"id": "3", "params": {"version": "1.1"}})
        wait_until(lambda: task(api, job)["TaskStatus"] == "SUCCEEDED")
    assert api.ok("QueryOTAJob", JobId=job)["Data"]["JobStatus"] == "COMPLETED"
    assert api.ok("ListOTAJobByFirmware", FirmwareId=firmware, CurrentPage=1, PageSize=10)["Data"]["SimpleOTAJobInfo"][0]["JobId"] == job
    assert api.ok("QueryDeviceDetail", **named(DEV))["Data"]["FirmwareVersion"] == "1.1"
    api.ok("DeleteOTAFirmware", FirmwareId=firmware)
    assert api.fails("QueryOTAFirmware", FirmwareId=firmware) == "iot.ota.NotExistedFirmware"
    assert api.fails("QueryOTAJob", JobId=job) == "iot.ota.NotExistedJob"


def task(api, job):
    return api.ok("ListOTATaskByJob", JobId=job, CurrentPage=1, PageSize=10)["Data"]["SimpleOTATaskInfo"][0]


def test_upgrades_that_are_canceled(cloud, api):
    firmware = package(cloud)
    where = {"ProductKey": DEV[0], "FirmwareId": firmware}
    job = api.ok("CreateOTAStaticUpgradeJob", TargetSelection="ALL", **where)["Data"]["JobId"]
    api.ok("CancelOTATaskByDevice", JobId=job, **flat("DeviceName", [DEV[1]]))
    assert task(api, job)["TaskStatus"] == "CANCELED"
    api.ok("CancelOTATaskByJob", JobId=job)
    assert api.refused("CreateOTAStaticUpgradeJob", TargetSelection="GRAY", **where) == (400, "InvalidParameter.TargetSelection")
    assert api.fails("CreateOTAStaticUpgradeJob", TargetSelection="SPECIFIC", **where) == "iot.device.NoneDeviceNameElement"
    assert api.refused("CreateOTAStaticUpgradeJob", TargetSelection="ALL", ProductKey=DEV[0]) == (400, "MissingFirmwareId")


def test_shadow(cloud, api):
    assert api.ok("GetDeviceShadow", **named(DEV))["ShadowMessage"] == "{}"
    wanted = {"method": "update", "state": {"desired": {"color": "red"}}, "version": 1}
    api.ok("UpdateDeviceShadow", ShadowMessage=json.dumps(wanted), **named(DEV))
    shadow = json.loads(api.ok("GetDeviceShadow", **named(DEV))["ShadowMessage"])
    assert shadow["state"]["desired"] == {"color": "red"} and shadow["version"] == 1
    assert api.fails("UpdateDeviceShadow", ShadowMessage=json.dumps(wanted), **named(DEV)) == "iot.shadow.UpdateFailed"
    assert api.refused("UpdateDeviceShadow", ShadowMessage="{}", **named(DEV)) == (400, "InvalidParameter.ShadowMessage")
