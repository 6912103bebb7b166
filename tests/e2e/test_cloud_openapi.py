"""The management API: what its gateway checks, and its actions on products, devices, batches and relations."""
import http.client
import json
import pathlib
import ssl
import time
import urllib.parse

import pytest
from cloud_client import DEV, GW, SUB1, SUB2, Client
from conftest import wait_until
from openapi_client import KEY, OpenApi, common, flat, sign, string_to_sign, xml_of

VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "vectors/platform-openapi.json").read_text())


@pytest.fixture
def api(cloud):
    return OpenApi(cloud.process.ready["openapi"])


def named(device):
    return {"ProductKey": device[0], "DeviceName": device[1]}


# ---- the gateway ----

def test_our_signer_agrees_with_the_vectors():
    for v in VECTORS["vectors"]:
        assert string_to_sign(v["method"], v["params"]) == v["string_to_sign"], v["name"]
        assert sign(v["access_key_secret"], v["method"], v["params"]) == v["signature"], v["name"]
    # A request of the Java SDK inside the bridge library, as it was seen.
    seen = json.loads((pathlib.Path(__file__).parents[1] / "vectors/platform-http.json").read_text())["http2"]["bridge"]["openApi"]
    params = dict(urllib.parse.parse_qsl(seen["requestLine"].split("?", 1)[1].split(" ")[0]))
    signature = params.pop("Signature")
    assert sign(seen["accessKeySecret"], "GET", params) == signature


@pytest.mark.parametrize("method, in_body", [("GET", False), ("POST", True), ("POST", False)])
def test_parameters_may_stand_in_query_or_body(api, method, in_body):
    status, _, data = api.raw("QueryDeviceDetail", method, in_body, **named(DEV))
    assert status == 200 and json.loads(data)["Data"]["DeviceSecret"] == DEV[2]


def test_query_and_body_are_signed_together_and_the_query_counts_first(api):
    params = common("QueryDeviceDetail", **named(DEV))
    params["Signature"] = sign(KEY[1], "POST", params)
    in_query = {k: params.pop(k) for k in ("Action", "ProductKey", "Timestamp")}
    connection = http.client.HTTPConnection(*api.address.rsplit(":", 1))
    connection.request("POST", "/?" + urllib.parse.urlencode(in_query, quote_via=urllib.parse.quote),
                       urllib.parse.urlencode({**params, "ProductKey": "other"}),
                       {"Content-Type": "application/x-www-form-urlencoded"})
    assert json.loads(connection.getresponse().read())["Data"]["DeviceName"] == DEV[1]
    connection.close()


def test_strange_bytes_in_values_are_signed_as_they_are(api):
    got = api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="Dev-_@.:01", Nickname="北京_探测器1")
    assert got["Data"]["Nickname"] == "北京_探测器1"
    assert api.fails("QueryDeviceDetail", ProductKey=DEV[0], DeviceName="a b+c*d~e/!'()&=%") == \
        "iot.device.InvalidFormattedDeviceName"
    assert api.fails("RegisterDevice", ProductKey=DEV[0], DeviceName="empty-nick", Nickname="  ") == "iot.device.CreateDeviceFailed"
    assert api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="empty-nick", Nickname="")


def test_a_wrong_signature_is_told_what_was_signed(api):
    params = common("QueryDeviceDetail", **named(DEV))
    params["Signature"] = sign("wrong secret", "GET", params)
    status, _, data = api.send("GET", params)
    body = json.loads(data)
    assert (status, body["Code"]) == (400, "SignatureDoesNotMatch")
    prefix = "Specified signature is not matched with our calculation. server string to sign is:"
    assert body["Message"] == prefix + string_to_sign("GET", params)
    params["Signature"] = sign(KEY[1], "POST", params)  # of another method
    assert json.loads(api.send("GET", params)[2])["Code"] == "SignatureDoesNotMatch"
    params["Signature"] = sign(KEY[1], "GET", params)  # a refused nonce is not used up
    assert json.loads(api.send("GET", params)[2])["Success"] is True


@pytest.mark.parametrize("wrong, status, code", [
    ({"Action": None}, 400, "MissingParameter"), ({"Version": None}, 400, "MissingParameter"),
    ({"AccessKeyId": None}, 400, "MissingParameter"), ({"SignatureMethod": None}, 400, "MissingParameter"),
    ({"SignatureVersion": ""}, 400, "MissingParameter"), ({"SignatureNonce": None}, 400, "MissingParameter"),
    ({"Timestamp": None}, 400, "MissingParameter"), ({"Version": "2017-04-20"}, 400, "InvalidVersion"),
    ({"AccessKeyId": "nobody"}, 404, "InvalidAccessKeyId.NotFound"),
    ({"Timestamp": "2020-10-23 08:00:00"}, 400, "InvalidTimeStamp.Format"),
    ({"Timestamp": "2020-02-30T08:00:00Z"}, 400, "InvalidTimeStamp.Format"),
    ({"Timestamp": "2020-10-23T08:00:00Z"}, 400, "InvalidTimeStamp.Expired"),
    ({"SignatureMethod": "HMAC-SHA256"}, 400, "InvalidSignatureMethod"),
    ({"SignatureVersion": "2.0"}, 400, "IncompleteSignature"),
    ({"SecurityToken": "token"}, 400, "InvalidSecurityToken.MismatchWithAccessKey"),
    ({"Action": "queryDevice"}, 404, "InvalidAction.NotFound"), ({"Action": "MakeCoffee"}, 404, "InvalidAction.NotFound"),
])
def test_the_gateway_refuses(api, wrong, status, code):
    params = common("QueryDeviceDetail", **named(DEV))
    params.update({k: v for k, v in wrong.items() if v is not None})
    for name in (k for k, v in wrong.items() if v is None):
        del params[name]
    params["Signature"] = sign(KEY[1], "GET", params)
    got, _, data = api.send("GET", params)
    assert (got, json.loads(data)["Code"]) == (status, code)


def test_format_signature_and_method(api):
    status, content_type, data = api.raw("QueryDeviceDetail", Format="YAML", **named(DEV))
    assert (status, content_type) == (400, "text/xml;charset=utf-8")
    assert xml_of(data).tag == "Error" and xml_of(data).findtext("Code") == "InvalidParameter.Format"
    params = common("QueryDeviceDetail")
    assert json.loads(api.send("GET", params)[2])["Code"] == "MissingParameter"
    params["Signature"] = "not Base64 of twenty bytes"
    assert json.loads(api.send("GET", params)[2])["Code"] == "IncompleteSignature"
    params["Signature"] = sign(KEY[1], "PUT", params)
    status, _, data = api.send("PUT", params)
    assert (status, json.loads(data)["Code"]) == (400, "UnsupportedHTTPMethod")


def test_timestamps_nonces_and_the_clock(cloud, api):
    now = time.time()
    for off in (-880, 880):
        assert api.ok("QueryDeviceDetail", at=now + off, **named(DEV))
    for off in (-960, 960):
        assert api.refused("QueryDeviceDetail", at=now + off, **named(DEV)) == (400, "InvalidTimeStamp.Expired")
    assert api.ok("QueryDeviceDetail", SignatureNonce="once", **named(DEV))
    assert api.refused("QueryDeviceDetail", SignatureNonce="once", **named(DEV)) == (400, "SignatureNonceUsed")


def test_keys(start_cloud):
    cloud = start_cloud("""
products = [ { productKey = a1EmuPk0001 } ]
devices = [ { productKey = a1EmuPk0001, deviceName = dev-0001 } ]
accessKeys = [ { id = first, secret = s1 }, { id = second, secret = s2 }, { id = third, secret = s3, active = false } ]
""")
    for key in (("first", "s1"), ("second", "s2")):
        api = OpenApi(cloud.process.ready["openapi"], key)
        assert api.ok("QueryDeviceDetail", SignatureNonce="of each key", **named(DEV))
    third = OpenApi(cloud.process.ready["openapi"], ("third", "s3"))
    assert third.refused("QueryDevice", ProductKey=DEV[0]) == (400, "InvalidAccessKeyId.Inactive")
    swapped = OpenApi(cloud.process.ready["openapi"], ("first", "s2"))
    assert swapped.refused("QueryDevice", ProductKey=DEV[0]) == (400, "SignatureDoesNotMatch")


def test_xml_is_the_default_and_holds_the_same(api):
    for form in (None, "XML", "xml"):
        status, content_type, data = api.raw("QueryDeviceDetail", Format=form, **named(DEV))
        assert (status, content_type) == (200, "text/xml;charset=utf-8")
        root = xml_of(data)
        assert root.tag == "QueryDeviceDetailResponse" and root.findtext("Success") == "true"
        assert root.findtext("Data/DeviceSecret") == DEV[2] and root.findtext("Data/UtcActive") == ""
    for name in ("list-0001", "list-0002"):
        api.ok("RegisterDevice", ProductKey=SUB1[0], DeviceName=name, Nickname="昵称_1")
    root = xml_of(api.raw("QueryDevice", Format="XML", ProductKey=SUB1[0], PageSize=50)[2])
    names = [e.text for e in root.findall("Data/DeviceInfo/DeviceName")]
    assert {"list-0001", "list-0002"} <= set(names) and len(names) == int(root.findtext("Total"))
    root = xml_of(api.raw("MakeCoffee", Format="XML")[2])
    assert root.tag == "Error" and root.findtext("Code") == "InvalidAction.NotFound"


def test_statuses_by_fault(cloud, api):
    cloud.post("/faults", {"kind": "status", "code": 503, "count": 1})
    assert api.refused("QueryDevice", ProductKey=DEV[0]) == (503, "ServiceUnavailable")
    cloud.post("/faults", {"kind": "status", "code": 500, "topic": "RegisterDevice", "count": 1})
    assert api.ok("QueryDevice", ProductKey=DEV[0])
    assert api.refused("RegisterDevice", ProductKey=DEV[0]) == (500, "InternalError")
    assert api.ok("RegisterDevice", ProductKey=DEV[0])


def test_an_action_has_its_rate(start_cloud):
    slow = start_cloud("""
products = [ { productKey = a1EmuPk0001 } ]
accessKeys = [ { id = EmuAccessKeyId01, secret = EmuAccessKeySecret0123456789AB } ]
limits { openapiPerSecond = 1 }
""")
    api = OpenApi(slow.process.ready["openapi"])

    def second_is_refused():
        answers = [api.call("QueryProduct", ProductKey=DEV[0]) for _ in range(2)]
        return answers[1][0] == 400 and answers[1][1]["Code"] == "Throttling.User"

    wait_until(second_is_refused, "two calls in one second")
    wait_until(lambda: api.call("QueryProduct", ProductKey=DEV[0])[0] == 200, "the next second")


def test_the_https_listener_serves_it_too(cloud):
    context = ssl.create_default_context(cafile=cloud.ca)
    api = OpenApi(cloud.process.ready["https"], context=context)
    assert api.ok("QueryDeviceDetail", **named(DEV))["Data"]["DeviceSecret"] == DEV[2]
    assert api.refused("MakeCoffee") == (404, "InvalidAction.NotFound")
    status, _, data = api.raw("BatchCheckDeviceNames", "POST", False, ProductKey=DEV[0], **flat("DeviceName", many_names()))
    assert status == 200 and json.loads(data)["Success"] is True


def many_names():
    return [f"0123456789-0123456789-query-{i:04}" for i in range(1000)]


def test_signature_version_3_is_named(api):
    connection = http.client.HTTPConnection(*api.address.rsplit(":", 1))
    connection.request("POST", "/", headers={"Authorization": "ACS3-HMAC-SHA256 Credential=x", "x-acs-action": "QueryDevice"})
    root = xml_of(connection.getresponse().read().decode())
    assert root.findtext("Code") == "IncompleteSignature" and "version 3" in root.findtext("Message")
    connection.close()


def test_more_than_a_call_may_have(api):
    many = {f"Extra{i}": "x" for i in range(2600)}
    params = {**common("QueryDevice"), **many}
    params["Signature"] = sign(KEY[1], "POST", params)
    assert api.send("POST", params)[0] == 400
    status, content_type, _ = api.send("POST", {"Action": "x" * (3 << 20), "Format": "JSON"})
    assert (status, content_type) == (413, "text/xml;charset=utf-8")


def test_no_secret_in_logs_or_errors(cloud, api):
    api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="new-0001")
    params = common("QueryDevice")
    params["Signature"] = sign("wrong", "GET", params)
    assert KEY[1] not in api.send("GET", params)[2]
    assert KEY[1] not in cloud.process.stderr()


# ---- devices ----

def test_register_device(cloud, api):
    """covers: C03"""
    got = api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName="new-0001", Nickname="detector_1")["Data"]
    assert got["ProductKey"] == DEV[0] and got["DeviceName"] == "new-0001" and got["Nickname"] == "detector_1"
    assert len(got["DeviceSecret"]) == 32 and len(got["IotId"]) == 30
    assert api.fails("RegisterDevice", ProductKey=DEV[0], DeviceName="new-0001") == "iot.device.AlreadyExistedDeviceName"
    made = api.ok("RegisterDevice", ProductKey=DEV[0])["Data"]
    assert len(made["DeviceName"]) == 20 and made["DeviceName"].isalnum() and "Nickname" not in made
    assert api.fails("RegisterDevice", ProductKey=DEV[0], DeviceName="a") == "iot.device.InvalidFormattedDeviceName"
    assert api.fails("RegisterDevice") == "iot.prod.NullProductKey"
    assert api.fails("RegisterDevice", ProductKey="no such!") == "iot.prod.InvalidFormattedProductkey"
    assert api.fails("RegisterDevice", ProductKey="a1NotThere1") == "iot.prod.NotExistedProduct"
    with Client(cloud, (DEV[0], "new-0001", got["DeviceSecret"])):
        assert api.ok("GetDeviceStatus", IotId=got["IotId"])["Data"]["Status"] == "ONLINE"


def test_query_device_detail(cloud, api):
    """covers: A14"""
    before = api.ok("QueryDeviceDetail", **named(DEV))["Data"]
    assert before["Status"] == "UNACTIVE" and before["NodeType"] == 0 and before["Region"] == "cn-shanghai"
    assert before["UtcActive"] == before["GmtActive"] == before["UtcOnline"] == before["IpAddress"] == ""
    utc = time.strptime(before["UtcCreate"], "%Y-%m-%dT%H:%M:%S.%fZ")
    gmt = time.strptime(before["GmtCreate"], "%Y-%m-%d %H:%M:%S")
    assert time.mktime(gmt) - time.mktime(utc) == 8 * 3600
    with Client(cloud, DEV):
        now = api.ok("QueryDeviceDetail", IotId=before["IotId"], ProductKey="ignored", DeviceName="ignored")["Data"]
        assert now["Status"] == "ONLINE" and now["IpAddress"] == "127.0.0.1" and now["UtcActive"].endswith("Z")
    wait_until(lambda: api.ok("QueryDeviceDetail", **named(DEV))["Data"]["Status"] == "OFFLINE")
    assert api.ok("QueryDeviceDetail", **named(GW))["Data"]["NodeType"] == 1
    assert api.fails("QueryDeviceDetail", ProductKey=DEV[0], DeviceName="nobody-1") == "iot.device.NotExistedDevice"
    assert api.fails("QueryDeviceDetail", ProductKey=DEV[0]) == "iot.device.NullDeviceName"
    assert api.fails("QueryDeviceDetail", IotId="x") == "iot.device.InvalidIoTId"
    assert api.fails("QueryDeviceDetail", IotId="x" * 30) == "iot.device.NotExistedDevice"


def test_query_device_in_pages(api):
    for i in range(9):
        api.ok("RegisterDevice", ProductKey=DEV[0], DeviceName=f"page-{i:04}")
    first = api.ok("QueryDevice", ProductKey=DEV[0], PageSize=4)
    assert (first["Page"], first["PageSize"], first["PageCount"], first["Total"]) == (1, 4, 3, 10)
    last = api.ok("QueryDevice", ProductKey=DEV[0], PageSize=4, CurrentPage=3)["Data"]["DeviceInfo"]
    assert [d["DeviceName"] for d in last] == ["page-0007", "page-0008"]
    time.strptime(last[0]["GmtCreate"], "%a, %d-%b-%Y %H:%M:%S GMT")
    for wrong in ({"PageSize": 51}, {"PageSize": 0}, {"CurrentPage": 0}, {"CurrentPage": "x"}):
        assert api.fails("QueryDevice", ProductKey=DEV[0], **wrong) == "iot.common.InvalidPageParams"


def test_lists_of_devices(cloud, api):
    with Client(cloud, DEV):
        got = api.ok("BatchGetDeviceState", ProductKey=DEV[0], **flat("DeviceName", [DEV[1], "nobody-1"]))
        assert [(d["DeviceName"], d["Status"]) for d in got["DeviceStatusList"]["DeviceStatus"]] == [(DEV[1], "ONLINE")]
        iot_id = got["DeviceStatusList"]["DeviceStatus"][0]["IotId"]
        assert api.ok("BatchGetDeviceState", **flat("IotId", [iot_id]))["DeviceStatusList"]["DeviceStatus"][0]["DeviceName"] == DEV[1]
        assert api.ok("QueryDeviceStatistics")["Data"] == {"deviceCount": 5, "activeCount": 1, "onlineCount": 1}
        assert api.ok("QueryDeviceByStatus", ProductKey=DEV[0], Status=1)["Data"]["SimpleDeviceInfo"][0]["DeviceName"] == DEV[1]
    details = api.ok("BatchQueryDeviceDetail", ProductKey=SUB1[0], **flat("DeviceName", [SUB2[1], SUB1[1]]))["Data"]["Data"]
    assert [d["DeviceSecret"] for d in details] == [SUB2[2], SUB1[2]]
    assert api.fails("BatchGetDeviceState", ProductKey=DEV[0]) == "iot.device.NoneDeviceNameElement"
    many = flat("DeviceName", [f"name-{i:04}" for i in range(51)])
    assert api.fails("BatchQueryDeviceDetail", ProductKey=DEV[0], **many) == "iot.device.DeviceCountExceeded"


def test_disable_enable_delete(cloud, api):
    with Client(cloud, DEV) as client:
        api.ok("DisableThing", **named(DEV))
        client.closed.get(timeout=30)
    assert api.ok("QueryDeviceDetail", **named(DEV))["Data"]["Status"] == "DISABLE"
    api.ok("EnableThing", **named(DEV))
    assert api.ok("GetDeviceStatus", **named(DEV))["Data"]["Status"] == "OFFLINE"
    api.ok("DeleteDevice", **named(DEV))
    assert api.fails("QueryDeviceDetail", **named(DEV)) == "iot.device.NotExistedDevice"
    again = api.ok("RegisterDevice", **named(DEV))["Data"]
    assert again["DeviceSecret"] != DEV[2]


def test_nicknames(api):
    iot_id = api.ok("QueryDeviceDetail", **named(DEV))["Data"]["IotId"]
    api.ok("BatchUpdateDeviceNickname", **{"DeviceNicknameInfo.1.IotId": iot_id, "DeviceNicknameInfo.1.Nickname": "name_1"})
    assert api.ok("QueryDeviceInfo", **named(DEV))["Data"]["Nickname"] == "name_1"
    assert api.fails("BatchUpdateDeviceNickname", **{"DeviceNicknameInfo.1.IotId": iot_id, "DeviceNicknameInfo.1.Nickname": "!"}) \
        == "iot.device.VerifyDeviceFailed"


# ---- batches ----

def finished(api, apply_id, pk=DEV[0]):
    def status():
        got = api.ok("QueryBatchRegisterDeviceStatus", ProductKey=pk, ApplyId=apply_id)["Data"]
        return got if got["Status"] not in ("CHECK", "CREATE") else None
    return wait_until(status, "the end of a batch")


def test_batch_with_made_up_names(api):
    """covers: C04"""
    apply_id = api.ok("BatchRegisterDevice", ProductKey=DEV[0], Count=10)["Data"]["ApplyId"]
    assert finished(api, apply_id)["Status"] == "CREATE_SUCCESS"
    page = api.ok("QueryPageByApplyId", ApplyId=apply_id, PageSize=4, CurrentPage=3)
    assert (page["Page"], page["PageSize"], page["PageCount"], page["Total"]) == (3, 4, 3, 10)
    rows = page["ApplyDeviceList"]["ApplyDeviceInfo"]
    assert len(rows) == 2
    detail = api.ok("QueryDeviceDetail", ProductKey=DEV[0], DeviceName=rows[1]["DeviceName"])["Data"]
    assert (detail["DeviceSecret"], detail["IotId"]) == (rows[1]["DeviceSecret"], rows[1]["IotId"])
    assert api.refused("QueryPageByApplyId", ApplyId=apply_id, PageSize=4) == (400, "MissingCurrentPage")
    assert api.fails("QueryPageByApplyId", ApplyId=apply_id, PageSize=51, CurrentPage=1) == "iot.common.InvalidPageParams"
    assert api.fails("BatchRegisterDevice", ProductKey=DEV[0], Count=1001) == "iot.device.DeviceCountExceeded"
    assert api.fails("BatchRegisterDevice", ProductKey=DEV[0], Count=0) == "iot.device.ApplyManyDevicesFailed"
    assert api.refused("BatchRegisterDevice", ProductKey=DEV[0]) == (400, "MissingCount")


def test_batch_with_checked_names(api):
    """covers: C05"""
    names = [f"batch-{i:04}" for i in range(1000)]
    form = {f"DeviceNameList.{i}.DeviceName": n for i, n in enumerate(names, 1)}
    form["DeviceNameList.2.DeviceNickname"] = "nick_2"
    apply_id = api.ok("BatchCheckDeviceNames", ProductKey=DEV[0], **form, **flat("DeviceName", ["loses"]))["Data"]["ApplyId"]
    assert finished(api, apply_id)["Status"] == "CHECK_SUCCESS"
    assert api.ok("BatchRegisterDeviceWithApplyId", ProductKey=DEV[0], ApplyId=apply_id)["Data"]["ApplyId"] == apply_id
    assert finished(api, apply_id) == {"Status": "CREATE_SUCCESS", "ValidList": {"Name": []}, "InvalidList": {"Name": []}}
    assert api.ok("QueryPageByApplyId", ApplyId=apply_id, PageSize=50, CurrentPage=20)["Total"] == 1000
    assert api.ok("QueryDeviceDetail", ProductKey=DEV[0], DeviceName=names[1])["Data"]["Nickname"] == "nick_2"


def test_a_thousand_names_in_the_query(api):
    status, _, data = api.raw("BatchCheckDeviceNames", "POST", False, ProductKey=DEV[0], **flat("DeviceName", many_names()))
    assert status == 200 and json.loads(data)["Success"] is True


def test_batches_that_fail(api):
    status, body = api.call("BatchCheckDeviceNames", ProductKey=DEV[0], **flat("DeviceName", ["APT$", "aw", "good-name"]))
    assert status == 200 and body["Success"] is False
    assert body["Data"]["InvalidDeviceNameList"]["InvalidDeviceName"] == ["APT$", "aw"]
    root = xml_of(api.raw("BatchCheckDeviceNames", Format="XML", ProductKey=DEV[0], **flat("DeviceName", ["APT$", "aw"]))[2])
    assert [e.text for e in root.findall("Data/InvalidDeviceNameList/InvalidDeviceName")] == ["APT$", "aw"]
    apply_id = api.ok("BatchCheckDeviceNames", ProductKey=DEV[0], **flat("DeviceName", [DEV[1], "free-0001"]))["Data"]["ApplyId"]
    got = finished(api, apply_id)
    assert got == {"Status": "CHECK_FAILED", "ValidList": {"Name": ["free-0001"]}, "InvalidList": {"Name": [DEV[1]]}}
    assert api.fails("BatchRegisterDeviceWithApplyId", ProductKey=DEV[0], ApplyId=apply_id) == "iot.device.IncorrentDeviceApplyInfo"
    assert api.fails("BatchCheckDeviceNames", ProductKey=DEV[0]) == "iot.device.NoneDeviceNameElement"
    assert api.fails("BatchRegisterDeviceWithApplyId", ProductKey=DEV[0]) == "iot.device.NullApplyId"
    assert api.fails("BatchRegisterDeviceWithApplyId", ProductKey=DEV[0], ApplyId="x") == "iot.device.InvalidFormattedApplyId"
    assert api.fails("QueryBatchRegisterDeviceStatus", ProductKey=DEV[0], ApplyId=1) == "iot.device.DeviceApplyIsNotFound"
    assert api.fails("QueryBatchRegisterDeviceStatus", ProductKey=SUB1[0], ApplyId=apply_id) == "iot.device.IncorrentDeviceApplyInfo"


# ---- products ----

def test_products(api):
    made = api.ok("CreateProduct", ProductName="sensors", NodeType=0, DataFormat=1)
    pk = made["ProductKey"]
    assert len(pk) == 11 and made["Data"]["ProductSecret"]
    assert api.ok("QueryProduct", ProductKey=pk)["Data"]["ProductName"] == "sensors"
    assert api.fails("CreateProduct", ProductName="sensors", NodeType=0) == "iot.prod.AlreadyExistedProductName"
    assert api.fails("CreateProduct", ProductName="x", NodeType=0) == "iot.prod.InvalidFormattedProductName"
    assert api.refused("CreateProduct", NodeType=0) == (400, "MissingProductName")
    api.ok("UpdateProduct", ProductKey=pk, ProductName="sensors-2")
    listed = api.ok("QueryProductList", PageSize=10, CurrentPage=1)["Data"]
    assert listed["Total"] == 4 and "sensors-2" in [p["ProductName"] for p in listed["List"]["ProductInfo"]]
    api.ok("RegisterDevice", ProductKey=pk, DeviceName="only-one")
    assert api.fails("DeleteProduct", ProductKey=pk) == "iot.prod.DeleteProductFailed"
    api.ok("DeleteDevice", ProductKey=pk, DeviceName="only-one")
    api.ok("DeleteProduct", ProductKey=pk)
    assert api.fails("QueryProduct", ProductKey=pk) == "iot.prod.NotExistedProduct"


def test_topic_classes(api):
    topic = api.ok("CreateProductTopic", ProductKey=DEV[0], TopicShortName="submit", Operation="SUB")["TopicId"]

    def classes():
        rows = api.ok("QueryProductTopic", ProductKey=DEV[0])["Data"]["ProductTopicInfo"]
        return {r["TopicShortName"]: (int(r["Id"]), r["Operation"]) for r in rows}

    assert classes()["submit"] == (topic, "1")
    assert api.fails("CreateProductTopic", ProductKey=DEV[0], TopicShortName="submit", Operation="PUB") == "iot.prodtopic.AlreadyExistedTopic"
    api.ok("UpdateProductTopic", TopicId=topic, TopicShortName="report", Operation="ALL")
    assert "submit" not in classes() and classes()["report"][1] == "2"
    api.ok("DeleteProductTopic", TopicId=classes()["report"][0])
    assert "report" not in classes()
    assert api.fails("DeleteProductTopic", TopicId=topic) == "iot.prodtopic.NotExistedTopic"
    assert api.fails("DeleteProductTopic", TopicId=classes()["update"][0]) == "iot.messagebroker.InvalidFormattedTopicName"


def test_certificates(start_cloud):
    """covers: D29 F04"""
    cloud = start_cloud("""
products = [ { productKey = a1EmuGw0001 } ]
devices = [ { productKey = a1EmuGw0001, deviceName = gw-0001 } ]
accessKeys = [ { id = EmuAccessKeyId01, secret = EmuAccessKeySecret0123456789AB } ]
""")
    api = OpenApi(cloud.process.ready["openapi"])
    assert api.fails("QueryDeviceCert", **named(GW)) == "iot.device.VerifyDeviceFailed"
    pk = api.ok("CreateProduct", ProductName="with-certs", NodeType=0, AuthType="x509")["ProductKey"]
    api.ok("RegisterDevice", ProductKey=pk, DeviceName="cert-0001")
    info = api.ok("QueryDeviceCert", ProductKey=pk, DeviceName="cert-0001")["DeviceCertInfo"]
    assert info["Certificate"].startswith("-----BEGIN CERTIFICATE-----") and "PRIVATE KEY" in info["PrivateKey"]
    assert info == api.ok("QueryDeviceCert", ProductKey=pk, DeviceName="cert-0001")["DeviceCertInfo"]


# ---- relations ----

def test_relations(cloud, api):
    cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo", {"action": "add", "productKey": SUB1[0], "deviceName": SUB1[1]})
    cloud.post(f"/devices/{GW[0]}/{GW[1]}/topo", {"action": "add", "productKey": SUB2[0], "deviceName": SUB2[1]})
    got = api.ok("GetThingTopo", PageNo=1, PageSize=1, **named(GW))["Data"]
    assert (got["Total"], got["PageCount"], got["CurrentPage"]) == (2, 2, 1)
    assert got["List"]["deviceInfo"][0]["DeviceName"] == SUB1[1]
    assert api.ok("GetGatewayBySubDevice", **named(SUB1))["Data"]["DeviceName"] == GW[1]
    assert api.ok("RemoveThingTopo", **named(SUB1))["Data"] is True
    assert api.ok("GetThingTopo", **named(GW))["Data"]["Total"] == 1
    assert api.fails("RemoveThingTopo", **named(SUB1)) == "iot.device.RemoveTopoRelationFailed"
    assert api.fails("GetGatewayBySubDevice", **named(SUB1)) == "iot.device.QueryTopoRelationFailed"
    assert api.fails("GetThingTopo", **named(DEV)) == "iot.device.QueryTopoRelationFailed"
