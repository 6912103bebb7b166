"""The http2 upstream against a platform that is not ours (h2_peer.py): what a well-behaved one does that the emulator does
not, and what a bad one does."""
import base64
import json
import subprocess
import threading

import pytest
from conftest import wait_until
from gw import GW, PK, device_name, start_gateway  # noqa: F401  (fixture)
from h2_peer import GW as BRIDGE
from h2_peer import Peer

PUB, OFFLINE, ACK, LOGIN = "bridge/post", "bridge/offline", "/message/ack", "/message/echo/success"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    d = tmp_path_factory.mktemp("peer")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=peer", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1", "-keyout", d / "key.pem",
                    "-out", d / "cert.pem"], check=True, capture_output=True)
    return d / "cert.pem", d / "key.pem"


@pytest.fixture
def pair(certificate, start_gateway):  # noqa: F811
    """pair(upstream="...", settings={...}) -> (peer, gateway)"""
    peers = []

    def start(upstream="", host="127.0.0.1", script=None, auth=None, up=True, certs=certificate, **options):
        listener = options.pop("listener", "ack = delivered")
        peer = Peer(*certs, **options)
        peers.append(peer)
        peer.script.update(script or {})
        peer.auth = auth
        conf = (f'type = http2, authEndpoint = "https://127.0.0.1:{peer.https.server_port}/auth/bridge", '
                f'tls {{ ca = "{certificate[0]}" }}, ratePerDeviceQos0 = 0\n{upstream}')
        gateway = start_gateway(None, endpoint=f"https://{host}:{peer.port}", upstream=conf, listener=listener)
        return peer, gateway.wait_up() if up else gateway
    yield start
    for peer in peers:
        peer.stop()


def down(text, topic="user/get", **params):
    pk, dn = PK, device_name(0)
    params = {"productKey": pk, "deviceName": dn, "topic": f"/{pk}/{dn}/{topic}", **params}
    return {"id": "1", "params": {**params, "payload": base64.b64encode(text).decode()}}


def service(n):
    body = json.dumps({"id": str(n), "version": "1.0", "method": "thing.service.SendText", "params": {"text": f"no {n}"}})
    return down(body.encode(), topic=f"x/../../../sys/{PK}/{device_name(0)}") | {"params": {
        "productKey": PK, "deviceName": device_name(0), "topic": f"/sys/{PK}/{device_name(0)}/thing/service/SendText",
        "payload": base64.b64encode(body.encode()).decode()}}


def speeds(peer):
    found = []
    for r in peer.of(PUB):
        params = r.payload.get("params", {})
        if "Speed" in params:
            s = params["Speed"]
            found.append(round(float(s["value"] if isinstance(s, dict) else s) * 10))
    return found


def log_in(gateway, i=0):
    t = gateway.terminal(i).log_in()
    gateway.wait_state(i, "online")
    gateway.wait_gauge("lane.queued_records", 0)
    return t


def test_login_and_subscriptions_are_the_librarys(pair):
    """covers: M14 M15 M20"""
    peer, gateway = pair(upstream="large = true")
    login, sub1, sub2 = peer.requests[:3]
    assert login.stream == 3 and login.path == LOGIN and peer.link.alpn == "h2"
    assert login.headers["x-auth-param-client-id"] == f"{GW[0]}-{GW[1]}" and login.headers["x-clear-session"] == "0"
    assert login.headers["content-length"] == "0" and not any(k.startswith("x-sdk") for k in login.headers)
    assert [sub1.path, sub2.path] == [f"/message/sub/sys/{BRIDGE}/bridge/offline_reply", f"/message/sub/sys/{BRIDGE}/bridge/push"]
    assert peer.forms[0]["isGateway"] == "true" and peer.forms[0]["subDeviceConnectMode"] == "3"
    assert peer.link.settings[4] >= 1 << 20
    t = log_in(gateway)
    form = peer.forms[1]
    assert (form["deviceName"], form["isGateway"], form["netId"], form["clientId"]) == (device_name(0), "false", "net0001", "null-null")
    assert t.report_acked(speed=9) == 0
    r = peer.of(PUB)[-1]
    assert r.headers["x-qos"] == "1" and list(r.envelope) == ["id", "method", "params"] and r.envelope["method"] == "fake"
    assert list(r.envelope["params"]) == ["deviceName", "payload", "productKey", "topic"]
    t.close()
    leave = peer.wait(OFFLINE)[0].envelope
    assert leave["params"] == {"deviceName": device_name(0), "netId": "net0001", "productKey": PK}
    peer.link.push({"id": leave["id"], "code": "520"}, qos=0, topic=f"/sys/{BRIDGE}/bridge/offline_reply")
    gateway.wait_stat("upstream.replies_ok", 1)


def test_without_alpn_it_goes_on_as_http2(pair):
    peer, gateway = pair(upstream="alpn = false", alpn=())
    assert peer.link.alpn is None and gateway.status()["up"]


@pytest.mark.parametrize("form", ["bare", "continued", "trailers", "promise", "bytes"])
def test_pushes_of_every_form_are_taken_and_acknowledged_after_that(pair, form):
    """covers: M32 L07"""
    peer, gateway = pair()
    t = log_in(gateway)
    for n in range(1, 6):
        peer.link.push(service(n), message_id=str(9000000000 + n), form=form)
        request = t.receive_id(0x8300)
        assert request.body[1:] == f"no {n}".encode()
        t.general_reply(request)
        ack = peer.wait(ACK, n)[-1]
        assert ack.headers["x-message-id"] == str(9000000000 + n) and ack.headers["content-length"] == "0"
        assert peer.wait(f"bridge/post", 1)
        assert t.report_acked(speed=n) == 0  # the tables of both directions are still in step
    assert len(peer.links) == 1 and gateway.stats()["upstream.downlinks_odd"] == 0
    t.close()


def test_pushes_that_are_of_no_use_are_acknowledged_and_counted(pair):
    peer, gateway = pair()
    t = log_in(gateway)
    useless = [b"{", b"[]", b'{"params":3}', {"id": "1", "params": {"payload": "{}!!"}}, down(b"", topic="x", deviceName="nobody"),
               b"", b"\xff\xfe", down(b"{}", topic="y") | {"params": {"topic": "no slash", "payload": ""}}]
    for i, body in enumerate(useless):
        peer.link.push(body, message_id=f"u{i}")
    peer.link.push(service(1), message_id="other", topic="/not/subscribed")
    wait_until(lambda: {r.headers["x-message-id"] for r in peer.of(ACK)} >= {f"u{i}" for i in range(len(useless))} | {"other"},
               "all acknowledged")
    assert gateway.stats()["upstream.downlinks_odd"] == len(useless) + 1
    peer.link.push(service(2), message_id="a" * 100, qos=1)  # an id that nobody can give back: taken, without acknowledgement
    peer.link.push(service(3), message_id=None, qos=None)
    for n in (2, 3):
        request = t.receive_id(0x8300)
        assert request.body[1:] == f"no {n}".encode()
        t.general_reply(request)
    assert len(peer.of(ACK)) == len(useless) + 1 and len(peer.links) == 1
    t.close()


def test_small_windows_and_one_stream_at_a_time_are_kept_to(pair):
    """covers: M35"""
    peer, gateway = pair(settings={4: 25, 3: 1})  # some forty windows a report
    t = log_in(gateway)
    serials = [t.report(speed=n) for n in range(6)]
    peer.link.push(service(1))
    request = t.receive_id(0x8300)
    t.general_reply(request)
    assert [t.expect_ack(s, 0x0200) for s in serials] == [0] * 6
    assert speeds(peer) == list(range(6)) and peer.trouble == []
    peer.wait(ACK)
    t.close()


def test_a_reset_request_is_sent_again_with_the_same_envelope(pair):
    """covers: M28"""
    peer, gateway = pair()
    t = log_in(gateway)
    count = len(peer.of(PUB))
    seen = []

    def script(link, r):
        seen.append(r)
        if len(seen) <= 2:
            link.reset(r)
        elif len(seen) == 3:
            link.answer(r, 503, body=b'{"code":503,"message":"later"}')
        else:
            link.answer(r)
    peer.script["post"] = script
    assert t.report_acked(speed=44) == 0
    assert len(seen) == 4 and len({r.body for r in seen}) == 1
    assert len(peer.of(PUB)) == count + 4 and len(peer.links) == 1
    t.close()


def test_a_record_refused_for_good_is_counted_and_the_next_one_goes(pair):
    peer, gateway = pair()
    t = log_in(gateway)
    answers = [413]
    peer.script["post"] = lambda link, r: link.answer(r, answers.pop() if answers else 200, body=b'{"message":"too large"}')
    assert t.report_acked(speed=45) == 0
    assert t.report_acked(speed=46) == 0
    assert gateway.stats()["bridge.records_refused"] == 1
    gateway.wait_log("too large")
    t.close()


def test_after_goaway_what_is_under_way_ends_and_the_rest_goes_over_the_next_connection(pair):
    """covers: M35"""
    peer, gateway = pair()
    t, u = log_in(gateway, 0), log_in(gateway, 1)
    held = []
    peer.script["post"] = lambda link, r: held.append(r)
    first = t.report(speed=51)
    wait_until(lambda: held, "the first message")
    link = peer.link
    link.go_away(last=held[0].stream)
    second = u.report(speed=52)
    peer.script["post"] = lambda link, r: link.answer(r)
    link.h2.state_machine.state = type(link.h2.state_machine.state).SERVER_OPEN  # it has said goodbye, and still answers
    link.answer(held[0])
    assert t.expect_ack(first, 0x0200) == 0
    peer.wait_links(2)
    assert u.expect_ack(second, 0x0200) == 0
    assert sorted(speeds(peer)) == [51, 52]
    t.close()
    u.close()


def test_a_silent_platform_is_asked_and_given_up(pair):
    """covers: M35"""
    peer, gateway = pair(upstream="keepAlive = 1s")
    wait_until(lambda: peer.link.pings, "a PING")
    assert int.from_bytes(peer.link.pings[0], "big") > 1_500_000_000_000
    link = peer.link
    link.flush = lambda: None  # no PING is answered any more
    link.send = lambda data: None
    peer.wait_links(2)
    gateway.wait_log("nothing was heard for")


def test_answers_that_stay_out_are_pending_and_cost_the_others_nothing(pair):
    """covers: M28 M33"""
    peer, gateway = pair(upstream="ackTimeout = 500ms")
    t, u = log_in(gateway, 0), log_in(gateway, 1)
    peer.script["post"] = lambda link, r: link.answer(r) if r.envelope["params"]["deviceName"] != device_name(0) else None
    assert t.report_acked(speed=61) == 1
    assert u.report_acked(speed=62) == 0
    del peer.script["post"]
    gateway.wait_gauge("lane.queued_records", 0)
    same = [r.envelope["id"] for r in peer.of(PUB) if r.payload.get("params", {}).get("Speed") is not None]
    assert len(same) >= 3 and len(set(same)) == 2
    t.close()
    u.close()


def test_a_platform_that_takes_no_bytes_stops_the_devices_and_not_the_process(pair):
    peer, gateway = pair(upstream="queueBytesPerDevice = 2KiB")
    t = log_in(gateway)
    peer.script["post"] = None
    for n in range(100):
        t.report(speed=n)
    gateway.wait_stat("bridge.records_busy", 1)
    assert gateway.status()["up"]
    del peer.script["post"]
    peer.link.close()
    wait_until(lambda: sorted(set(speeds(peer))) == list(range(100)), "all reports")
    t.close()


def test_a_platform_that_closes_after_each_login_is_taken_for_a_twin(pair):
    peer, gateway = pair(up=False)
    peer.script["push"] = lambda link, r: (link.answer(r), threading.Timer(0.3, link.close).start())
    for link in list(peer.links):  # those that were faster than this script
        link.close()
    wait_until(lambda: gateway.log_lines("upstream.twin"), "the twin to be named")


@pytest.mark.parametrize("reply", [{"code": 500, "message": "not today"}, {"code": 200, "data": {}}, {"x": 1}, "text"])
def test_without_a_net_id_the_bridge_says_why_and_tries_again(pair, reply):
    replies = [reply]
    peer, gateway = pair(auth=lambda form: replies.pop() if replies else None)
    gateway.wait_log("no net id for the bridge")
    assert len(peer.links) == 2


def test_device_logins_are_repeated_when_the_platform_is_out_of_breath(pair):
    def auth(form):
        count[0] += form["isGateway"] == "false"
        return {"code": 429, "message": "limit"} if form["isGateway"] == "false" and count[0] < 3 else None
    count = [0]
    peer, gateway = pair(auth=auth)
    t = gateway.terminal(0).log_in()
    gateway.wait_state(0, "online")
    assert count[0] == 3 and gateway.stats()["upstream.logins_refused"] == 2
    t.close()


def test_lies_end_the_connection_and_never_the_process(pair):
    """Bytes that are no HTTP/2, headers without end, windows beyond all bounds, answers nobody asked for."""
    peer, gateway = pair()
    lies = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 64, b"\xff" * 64,
            bytes.fromhex("0000040800000000007fffffff") * 3,                      # WINDOW_UPDATE: too much
            bytes.fromhex("000001010400000063") + b"\x88",                        # an answer to stream 99
            bytes.fromhex("000005010400000002") + b"\xff\xff\xff\xff\xff",        # HPACK: an index beyond the table
            bytes.fromhex("000000090400000002"),                                  # CONTINUATION of nothing
            bytes.fromhex("000004070000000000") + b"\0\0\0\0",                    # GOAWAY: too short
            bytes.fromhex("ffffff000000000002") + b"x" * 100]                     # a frame of 16 MiB
    for n, lie in enumerate(lies, 1):
        with peer.link.lock:
            peer.link.sock.sendall(lie)
        if n == len(lies):
            peer.link.close()
        peer.wait_links(n + 1)
        wait_until(lambda: gateway.status()["up"], "it to be back")
    t = log_in(gateway)
    assert t.report_acked(speed=71) == 0
    t.close()


def test_a_header_list_without_end_is_cut(pair):
    peer, gateway = pair()
    with peer.link.lock:
        block = peer.link.block([("x-long", "v" * 8000)] * 1)
        peer.link.sock.sendall(len(block).to_bytes(3, "big") + bytes([1, 0, 0, 0, 0, 2]) + block)
        try:
            for _ in range(2000):
                peer.link.sock.sendall(len(block).to_bytes(3, "big") + bytes([9, 0, 0, 0, 0, 2]) + block)
        except OSError:
            pass
    peer.wait_links(2)
    gateway.wait_log("header fields")


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_refused_login_names_the_status(pair, status):
    peer, gateway = pair(up=False, script={LOGIN: lambda link, r: link.answer(r, status, body=b'{"message":"no"}')})
    gateway.wait_log(f"refused the login: status {status}")


def test_a_name_with_two_addresses_takes_the_one_that_answers(pair):
    """localhost is ::1 and 127.0.0.1 where both are; only the second listens."""
    peer, gateway = pair(host="localhost")
    assert gateway.status()["up"] and len(peer.links) == 1


@pytest.mark.parametrize("large", ["true", "false"])
def test_a_reply_that_is_missing_when_the_link_drops_is_waited_for_again(pair, large):
    """covers: M28 (confirm = reply)"""
    def reply(link, r):
        link.answer(r)
        if not silent:
            params = r.envelope["params"]
            body = json.dumps({"id": r.payload["id"], "code": 200, "data": {}, "message": "success"}).encode()
            link.push({"id": "1", "params": {"productKey": PK, "deviceName": params["deviceName"],
                                             "topic": params["topic"] + "_reply",
                                             "payload": base64.b64encode(body).decode()}}, message_id="r")
    silent = []
    peer, gateway = pair(upstream=f"confirm = reply, large = {large}", script={"post": reply})
    t = log_in(gateway)
    count = len(peer.of(PUB))
    silent.append(1)
    serial = t.report(speed=81)
    peer.wait(PUB, count + 1)
    gateway.wait_stat("upstream.confirmed", count + 1)
    silent.clear()
    peer.link.close()
    assert t.expect_ack(serial, 0x0200) == 0
    first, second = peer.of(PUB)[count:count + 2]
    assert first.body == second.body
    t.close()
