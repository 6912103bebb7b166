"""The CoAP channel in the symmetric mode: a client of the tests' own, from the documents."""
import base64
import json

import cbor2
import pytest

from cloud_client import DEV, GW, sign, sys_topic
from coap_client import ACK, CBOR, CON, JSON, NON, Coap, auth_body, decrypt, derive, encode, encrypt, number

PK, DN, SECRET = DEV
UPDATE = f"/{PK}/{DN}/user/update"
FORMATS = [(12, number(JSON)), (17, number(JSON))]


def ask_auth(c, body, options=FORMATS):
    return c.request("auth", body if isinstance(body, bytes) else json.dumps(body).encode(), options)


def test_login_and_publish(cloud):
    """covers: I02 I03 I05 I08 I15 I16 I17 I18 I19 I22 I24"""
    with Coap(cloud, DEV) as c:
        body = c.auth()
        assert len(body["random"]) == 16 and 1 <= body["seqOffset"] <= 9 and len(body["token"]) == 35
        got = c.publish(UPDATE, b'{"name":"hello world"}')
        assert got.status == "2.05" and got.payload == b""
        assert 18 <= len(got.option(2090)) <= 19 and got.option(2090).isdigit()
        message = cloud.wait_message(device=f"{PK}/{DN}")
        assert message["topic"] == UPDATE
        assert cloud.device(PK, DN)["status"] == "ONLINE"
        for i in range(8):
            assert c.publish(UPDATE, b"x").status == "2.05"
        assert cloud.stats()["connects"] == 1


def test_a_reply_comes_encrypted_with_the_answer(cloud):
    with Coap(cloud, DEV) as c:
        c.auth(method="hmacsha256")
        got = c.publish(sys_topic(DEV, "thing/event/property/post"), {"id": "7", "version": "1.0", "params": {"n": 1}})
        reply = json.loads(decrypt(c.key, got.payload))
        assert got.status == "2.05" and (reply["code"], reply["id"]) == (200, "7")


@pytest.mark.parametrize("method", [None, "hmacmd5", "hmacsha1", "hmacsha256"])
def test_methods(cloud, method):
    """covers: I11 I12 I14"""
    with Coap(cloud, DEV) as c:
        c.auth(method=method, timestamp="1524448722000", version="default", resources="coap")
        assert c.publish(UPDATE, b"x").status == "2.05"


def test_cbor(cloud):
    """covers: I08"""
    with Coap(cloud, DEV) as c:
        got = ask_auth(c, cbor2.dumps(auth_body(DEV, seq=16)), [(12, number(CBOR)), (17, number(CBOR))])
        assert got.status == "2.05" and got.option(12) == number(CBOR)
        body = cbor2.loads(got.payload)
        c.token, c.seq, c.key = body["token"].encode(), body["seqOffset"], derive(SECRET, body["random"])
        assert c.publish(UPDATE, b"x").status == "2.05"


def test_every_needed_field(cloud):
    """covers: I09 I13"""
    with Coap(cloud, DEV) as c:
        for field in ("productKey", "deviceName", "clientId", "sign", "seq"):
            body = auth_body(DEV)
            del body[field]
            assert ask_auth(c, body).status == "4.00"
        assert ask_auth(c, auth_body(DEV, clientId="c" * 65)).status == "4.00"
        assert ask_auth(c, auth_body(DEV, clientId="c" * 64)).status == "2.05"
        assert ask_auth(c, auth_body(DEV, ackMode=2)).status == "4.00"


def test_codes_of_auth(cloud):
    """covers: I01 I31"""
    with Coap(cloud, DEV) as c:
        assert ask_auth(c, {**auth_body(DEV), "extra": "1"}).status == "4.01"
        assert ask_auth(c, auth_body((PK, "unknown", SECRET))).status == "4.01"
        assert ask_auth(c, b"{nonsense").status == "4.00"
        assert ask_auth(c, {**auth_body(DEV), "signmethod": "hmacsha3"}).status == "4.00"
        assert ask_auth(c, auth_body(DEV), [(12, number(0))]).status == "4.15"
        assert ask_auth(c, auth_body(DEV), [(17, number(40))]).status == "4.06"
        assert ask_auth(c, auth_body(DEV), []).status == "2.05"
        for code in (1, 3, 4):
            got = c.request("auth", code=code)
            assert (got.status, got.payload) == ("4.05", b"")
            assert c.request("topic/a/b/c", code=code).status == "4.05"
        for path in (".well-known/core", "other", "auth/other"):
            for code in (1, 2):
                got = c.request(path, code=code)
                assert (got.status, got.payload) == ("4.04", b""), path
        cloud.post(f"/devices/{PK}/{DN}/disable")
        assert ask_auth(c, auth_body(DEV)).status == "4.03"


def test_tokens_end(cloud):
    """covers: I21"""
    with Coap(cloud, DEV) as c, Coap(cloud, DEV) as other:
        c.auth()
        options, data = c.secured(b"x")
        assert c.request("topic" + UPDATE, data, options[1:]).status == "4.01"
        assert c.request("topic" + UPDATE, data, [(2088, b"x" * 35), options[1]]).status == "4.01"
        assert c.publish(UPDATE, b"x").status == "2.05"
        other.auth()
        assert c.publish(UPDATE, b"x").status == "4.01"
        assert other.publish(UPDATE, b"x").status == "2.05"
        cloud.post("/clock", {"advance": 7 * 86400 - 5})
        assert other.publish(UPDATE, b"x").status == "2.05"
        cloud.post("/clock", {"advance": 6})
        assert other.publish(UPDATE, b"x").status == "4.01"


def test_online_for_ten_minutes(cloud):
    """covers: I05"""
    with Coap(cloud, DEV) as c:
        c.auth()
        assert cloud.device(PK, DN)["status"] != "ONLINE"
        c.publish(UPDATE, b"x")
        cloud.post("/clock", {"advance": 590})
        assert cloud.device(PK, DN)["status"] == "ONLINE"
        cloud.post("/clock", {"advance": 11})
        assert cloud.device(PK, DN)["status"] == "OFFLINE"


def test_sequence_numbers(cloud):
    """covers: I20"""
    with Coap(cloud, DEV) as c:
        first = c.auth()["seqOffset"]
        assert c.publish(UPDATE, b"x", seq=first).status == "2.05"
        assert c.publish(UPDATE, b"x", seq=first).status == "4.01"
        assert c.publish(UPDATE, b"x", seq=first - 1).status == "4.01"
        assert c.publish(UPDATE, b"x", seq=999999999999999).status == "2.05"
        assert c.publish(UPDATE, b"x", seq=first + 5).status == "2.05"
        assert c.publish(UPDATE, b"x", seq=first + 5).status == "4.01"
        assert c.publish(UPDATE, b"x", seq="12a").status == "4.00"
        good = encrypt(c.key, b"x")
        for bad in (b"", b"short", b"\0" * 16, encrypt(c.key, b"1" * 16)):
            assert c.request("topic" + UPDATE, good, [(2088, c.token), (2089, bad)]).status == "4.00"
        assert c.request("topic" + UPDATE, good, [(2088, c.token)]).status == "4.00"
        for bad in (b"", b"x" * 15, b"x" * 32):
            c.seq += 10
            options, _ = c.secured(b"")
            assert c.request("topic" + UPDATE, bad, options).status == "4.00"


def test_query_form_and_the_old_number(cloud):
    """covers: I23"""
    with Coap(cloud, DEV) as c:
        c.auth()
        options, data = c.secured(b"x")
        query = [(15, b"token=" + c.token), (15, b"seq=" + options[1][1].hex().encode())]
        assert c.request("topic" + UPDATE, data, query).status == "2.05"
        options, data = c.secured(b"x")
        wrong = [(15, b"token=wrong"), (15, b"seq=00")]
        assert c.request("topic" + UPDATE, data, options + wrong).status == "2.05"
        options, data = c.secured(b"x")
        assert c.request("topic" + UPDATE, data, [(61, c.token), options[1]]).status == "2.05"


def test_permissions_and_rates(start_cloud):
    """covers: I25 I32"""
    cloud = start_cloud()
    with Coap(cloud, DEV) as c:
        c.auth()
        assert c.publish(f"/{GW[0]}/{GW[1]}/user/update", b"x").status == "4.03"
        assert c.publish(f"/{PK}/{DN}/user2/x", b"x").status == "4.03"
        options, data = c.secured(b"x")
        assert c.request("topic" + UPDATE + "/", data, options + [(12, number(65000))]).status == "2.05"
        assert c.publish(UPDATE, b"x" * 1024).status == "2.05"
        assert c.publish(UPDATE, b"x" * 1025).status == "4.13"
        statuses = [c.publish(UPDATE, b"x").status for _ in range(40)]
        assert "4.29" in statuses and set(statuses) == {"2.05", "4.29"}


def test_separate_responses(cloud):
    """covers: I10"""
    with Coap(cloud, DEV) as c:
        c.auth(ackMode=1)
        options, data = c.secured(b"x")
        mid, token = c.send("topic" + UPDATE, data, options)
        got = c.receive()
        assert (got.kind, got.code, got.mid, got.token) == (ACK, 0, mid, b"")
        got = c.receive()
        assert (got.kind, got.status, got.token) == (CON, "2.05", token) and got.option(2090)
        again = c.receive()  # until it is acknowledged
        assert (again.kind, again.mid) == (CON, got.mid)
        c.sock.send(encode(ACK, 0, got.mid))
        options, data = c.secured(b"x")
        _, token = c.send("topic" + UPDATE, data, options, kind=NON)
        got = c.receive()
        assert (got.kind, got.status, got.token) == (NON, "2.05", token)


def test_a_repeated_message_is_carried_out_once(cloud):
    with Coap(cloud, DEV) as c:
        c.auth()
        options, data = c.secured(b"once")
        mid, token = c.send("topic" + UPDATE, data, options)
        first = c.receive()
        c.send("topic" + UPDATE, data, options, mid=mid, token=token)
        second = c.receive()
        assert first.status == second.status == "2.05" and first.option(2090) == second.option(2090)
        assert len(cloud.messages(device=f"{PK}/{DN}")) == 1


def test_faults(cloud):
    with Coap(cloud, DEV) as c:
        cloud.fault("status", code=503, count=1)
        assert ask_auth(c, auth_body(DEV)).status == "5.03"
        c.auth()
        cloud.fault("puback", device=f"{PK}/{DN}", count=1)
        options, data = c.secured(b"x")
        mid, token = c.send("topic" + UPDATE, data, options)
        cloud.wait_message(device=f"{PK}/{DN}")
        c.send("topic" + UPDATE, data, options, mid=mid, token=token)
        got = c.receive()
        assert (got.mid, got.status) == (mid, "2.05")
        with pytest.raises(TimeoutError):
            c.receive(timeout=0.05)
        assert len(cloud.messages(device=f"{PK}/{DN}")) == 1


def test_pull(cloud):
    with Coap(cloud, DEV) as c:
        c.auth()

        def pull(size):
            options, data = c.secured(json.dumps({"pageSize": size}).encode())
            got = c.request("pull", data, options)
            return json.loads(decrypt(c.key, got.payload)) if got.status == "2.05" else got.status

        assert pull("10") == []
        assert pull("11") == "4.00"
        for i in range(3):
            # Nobody answers; what counts is that the order was kept.
            assert cloud.request("POST", f"/devices/{PK}/{DN}/properties", {"n": i}, query={"async": "true"})[0] in (200, 202, 504)
        topics = [f"/sys/{PK}/{DN}/thing/service/property/set"]
        got = pull("2")
        assert [m["topic"] for m in got] == topics * 2 and got[0]["qos"] == 1
        assert json.loads(base64.b64decode(got[0]["payload"]))["params"] == {"n": 0}
        assert len(pull("2")) == 1 and pull("2") == []


def test_hostile_datagrams_end_nothing(cloud):
    with Coap(cloud, DEV) as c:
        c.auth()
        for data in (b"", b"\0", b"\x40", b"\xff" * 40, b"\x42\x02\0\1\1", encode(CON, 2, 1, b"abcd", [(11, b"auth")])[:-2],
                     b"\x44\x02\0\2abcd\xb4auth\xff", b"\x40\x02\0\3" + b"\xdd" * 600):
            c.sock.send(data)
        with Coap(cloud, DEV) as other:
            other.auth()
            assert other.publish(UPDATE, b"x").status == "2.05"
            assert other.request("/".join(["topic"] + ["s" * 60] * 6)).status == "4.04"
            assert other.request("auth", b"{}", [(27, number(8))]).status == "4.02"
