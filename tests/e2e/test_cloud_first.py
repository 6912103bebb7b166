"""The emulator's thread through everything: log in, topology, login, property post, property set from the API."""
import json
import threading

from cloud_client import GW, SUB1, gateway, online_sub, sys_topic


def test_a_gateway_brings_a_sub_device_online_and_is_commanded(cloud):
    """covers: L03 L07 K13 H21"""
    with gateway(cloud) as gw:
        assert gw.code == 0
        online_sub(gw, SUB1)
        assert cloud.device(*SUB1[:2])["status"] == "ONLINE"
        gw.subscribe(sys_topic(SUB1, "thing/event/property/post_reply"), sys_topic(SUB1, "thing/service/property/set"))
        got = gw.ask(sys_topic(SUB1, "thing/event/property/post"),
                     {"method": "thing.event.property.post", "params": {"Temp": {"value": 21.5, "time": 1600000000000}}}, qos=1)
        assert got == {"id": got["id"], "code": 200, "data": {}, "message": "success",
                       "method": "thing.event.property.post", "version": "1.0"}
        assert cloud.device(*SUB1[:2])["reported"]["Temp"] == {"value": 21.5, "time": 1600000000000}

        answers = []
        caller = threading.Thread(target=lambda: answers.append(
            cloud.post(f"/devices/{SUB1[0]}/{SUB1[1]}/properties", {"Power": 1})))
        caller.start()
        request = gw.receive_on(sys_topic(SUB1, "thing/service/property/set"))
        assert request.qos == 1
        body = json.loads(request.payload)
        assert body["method"] == "thing.service.property.set" and body["params"] == {"Power": 1}
        gw.publish(sys_topic(SUB1, "thing/service/property/set_reply"), {"id": body["id"], "code": 200, "data": {}}, 0)
        caller.join()
        assert answers[0]["result"] == "answered" and answers[0]["reply"]["code"] == 200
    cloud.wait_status(*GW[:2], "OFFLINE")
    assert cloud.device(*SUB1[:2])["status"] == "OFFLINE"
