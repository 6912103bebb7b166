"""The office of causeway-factory over HTTP: the API, who may use it, and whom it refuses. (The page: test_factory_page.py.)"""
import concurrent.futures
import http.client
import json
import sqlite3

import pytest

from conftest import PATIENCE, wait_until
from factory_world import GUEST, MARIA, OFFICE_PK as PK, OFFICE_PS as PS, OPERATORS, Office, authority, guarded, office, secret, sheet as csv  # noqa: F401 (fixtures)
from postgres import postgres_server, shaky_postgres  # noqa: F401 (fixtures)

BT = "a1OfficeBt1"


# ---- what it does ----

def test_an_import_over_the_api_fills_the_stock(office):
    """covers: B24 B25 B26 B27 B29"""
    bom_crlf = "\ufeff" + csv(30).replace("\n", "\r\n")
    told = office.load(bom_crlf, "2026-11")
    assert {k: told[k] for k in ("batch", "read", "new", "known", "refused", "encoding", "products")} == {
        "batch": "2026-11", "read": 30, "new": 30, "known": 0, "refused": 0, "encoding": "UTF-8", "products": [PK]}
    assert office.load(csv(40), "2026-11")["known"] == 30
    batch = office.get("/batches")["batches"][0]
    assert (batch["name"], batch["productKey"], batch["file"], batch["total"], batch["count"]["free"]) == ("2026-11", PK, "list.csv", 40, 40)
    got = office.ask("SN-1")
    assert got["Status"] == "OK" and got["ProductSecret"] == PS
    assert office.ask("SN-1", 1)["Status"] == "OK"
    assert office.ask("SN-2")["Status"] == "OK"
    line = office.line(lambda x: x["figures"]["count"] == {"free": 38, "allocated": 1, "written": 1, "void": 0})
    assert sum(line["figures"]["count"].values()) == line["figures"]["total"] == 40
    assert line["products"][0]["productKey"] == PK and line["products"][0]["figures"]["allocatedHour"] == 2
    assert line["batches"][0]["endsInMs"] == pytest.approx(38 / 2 * 3600e3, rel=0.01)
    assert sum(line["rate"]["allocated"]) == 2 and sum(line["rate"]["written"]) == 1
    assert [(s["name"], s["allocated"], s["written"], s["unreported"]) for s in line["stations"]] == [("127.0.0.1", 2, 1, 1)]
    assert [e["what"] for e in line["recent"]][:3] == ["allocate", "write", "allocate"]
    assert {e["who"] for e in line["recent"] if e["what"] == "import"} == {"page:local"}


def test_a_refused_file_changes_nothing_and_says_where(office):
    """covers: B27 B26"""
    office.load(csv(5), "good")
    bad = csv(8, first=3).replace(f"board-0004,{secret(4)}", f"board-0004,{secret(99)}").replace(f"board-0008,{secret(8)}", "board-0008,")
    told = office.load(bad, "bad", expect=400)
    assert told["code"] == "REFUSED" and told["refused"] == 2 and told["message"]
    notes = [n for n in told["notes"] if n["refused"]]
    assert [(n["line"], n["column"]) for n in notes] == [(3, "DeviceSecret"), (7, "DeviceSecret")]
    assert secret(99) not in json.dumps(told)
    assert [b["name"] for b in office.get("/batches")["batches"]] == ["good"]
    assert "ProductSecret" in json.dumps(office.load(csv(2, first=50), "none", expect=400, product_secret=None))
    assert office.load(b"", "none", expect=400)["code"] == "BAD_REQUEST"
    assert office.load(csv(1), "", expect=400)["message"].startswith("batch")
    assert office.load(csv(1), "x" * 65, expect=400)["message"].startswith("batch")
    assert office.load(csv(1), "x", expect=400, product_secret="s" * 65)["message"].startswith("ProductSecret")
    assert office.load(csv(1), "x", expect=415, headers={"Content-Type": "text/plain"})["code"] == "BAD_REQUEST"


def test_a_bluetooth_product_is_marked_before_its_first_certificate_goes_out(office):
    """covers: B31"""
    import zlib
    office.load(csv(2, BT), "bt", bluetooth="1", productId="4711")
    got = office.ask("SN-1", product=BT)
    assert got["CRC32"] == f"{zlib.crc32((BT + got['DeviceName'] + got['DeviceSecret'] + PS + '4711').encode()):08X}"


def test_boards_are_found_by_either_name_with_their_history(office):
    """covers: B28"""
    office.load(csv(20) .replace("board-0003", "other-0003"))
    name = office.ask("AA:BB:CC:00:00:01")["DeviceName"]
    office.ask("AA:BB:CC:00:00:01", 1)
    for query in ({"text": "AA:BB:CC:00:00:01"}, {"text": name}, {"deviceName": name}, {"productKey": PK, "deviceId": "AA:BB:CC:00:00:01"}):
        told = office.get("/board", **query)
        assert (told["board"]["deviceName"], told["board"]["state"], told["board"]["batch"]) == (name, "written", "b-1")
        assert [e["what"] for e in told["history"]] == ["write", "allocate"]
        assert PS not in json.dumps(told) and "ecret" not in json.dumps(told).replace("DeviceSecret", "")
    assert office.get("/board", expect=404, text="nobody")["code"] == "NOT_FOUND"
    assert office.get("/board", expect=400)["code"] == "BAD_REQUEST"

    names = [d["deviceName"] for d in office.get("/devices", text="board-", most=500)["devices"]]
    assert len(names) == 19
    pages, after = [], None
    while True:
        page = office.get("/devices", text="board-", most=6, after=after)
        pages.append([d["deviceName"] for d in page["devices"]])
        after = page["next"]
        if after is None:
            break
    assert [len(p) for p in pages] == [6, 6, 6, 1] and sum(pages, []) == names
    assert [d["deviceName"] for d in office.get("/devices", state="written")["devices"]] == [name]
    assert office.get("/devices", batch="nothing")["devices"] == []
    assert office.get("/devices", expect=400, state="lost")["message"].startswith("state")
    assert office.get("/devices", expect=400, most="-3")["message"].startswith("most")


def test_a_certificate_is_voided_with_a_reason(office):
    office.load(csv(3))
    name = office.ask("SN-1")["DeviceName"]
    assert office.post("/void", {"productKey": PK, "deviceName": name}, expect=400)["message"].startswith("reason")
    assert office.post("/void", {"productKey": PK, "deviceName": name, "reason": "x" * 201}, expect=400)
    assert office.post("/void", {"productKey": PK, "deviceName": "nobody", "reason": "x"}, expect=404)["code"] == "NOT_FOUND"
    office.post("/void", {"productKey": PK, "deviceName": name, "reason": "scrapped <b>"})
    told = office.get("/board", text=name)
    assert (told["board"]["state"], told["board"]["reason"], told["history"][0]["who"]) == ("void", "scrapped <b>", "page:local")
    assert office.post("/void", {"productKey": PK, "deviceName": name, "reason": "again"}, expect=409)["code"] == "CONFLICT"
    assert office.ask("SN-1")["DeviceName"] != name  # the board gets another one
    assert office.get("/board", text="SN-1")["board"]["state"] == "allocated"


def test_a_certificate_that_changed_meanwhile_is_not_voided(office):
    """Free when somebody decided, a board's by the time the button was pressed."""
    office.load(csv(1))
    body = {"productKey": PK, "deviceName": office.ask("SN-1")["DeviceName"], "reason": "never used"}
    refused = office.post("/void", {**body, "seen": "free"}, expect=409)
    assert refused["code"] == "CONFLICT" and "allocated now" in refused["message"]
    assert office.get("/board", text="SN-1")["board"]["state"] == "allocated"
    office.post("/void", {**body, "seen": "allocated"})
    assert office.post("/void", {**body, "seen": "allocated"}, expect=409)  # two operators at once: the second is told


def test_batches_are_closed_opened_and_set(office):
    office.load(csv(3))
    office.post("/batch", {"name": "b-1", "closed": True})
    assert office.ask("SN-1")["Status"] == "BATCH_CLOSED"
    office.post("/batch", {"name": "b-1", "productKey": PK, "closed": False, "low": 10, "lease": "anonymous", "leaseMs": 3600000})
    batch = office.get("/batches", productKey=PK)["batches"][0]
    assert (batch["closed"], batch["low"], batch["lease"], batch["leaseMs"]) == (False, 10, "anonymous", 3600000)
    assert office.ask("SN-1")["Status"] == "OK"
    line = office.line(lambda x: x["figures"]["count"]["allocated"] == 1)
    assert {p["code"] for p in line["problems"]} >= {"LOW_BATCH", "REFUSED"} and line["refused"] == {"BATCH_CLOSED": 1}
    for wrong in ({"name": "b-1"}, {"closed": True}, {"name": "b-1", "lease": "forever"}, {"name": "b-1", "lease": "all", "leaseMs": 5}, {"name": "b-1", "low": "many"},
                  {"name": "b-1", "low": 2**63 - 1}, {"name": "b-1", "lease": "all", "leaseMs": 2**63 - 1}):
        assert office.post("/batch", wrong, expect=400)["code"] == "BAD_REQUEST"
    assert office.post("/batch", {"name": "nobody", "closed": True}, expect=404)


def test_allocations_without_report_are_shown_then_taken_back(office):
    office.load(csv(5))
    names = [office.ask(None)["DeviceName"] for _ in range(2)] + [office.ask("SN-1")["DeviceName"]]
    office.line(lambda x: any(p["code"] == "ANONYMOUS" for p in x["problems"]), "the problem")
    shown = office.post("/reclaim", {"anonymous": True, "doit": False})
    assert (shown["count"], shown["done"]) == (2, False) and {d["deviceName"] for d in shown["devices"]} == set(names[:2])
    assert len(office.get("/devices", state="allocated")["devices"]) == 3
    assert office.post("/reclaim", {"doit": True}, expect=400)["code"] == "BAD_REQUEST"  # everything: nobody's wish
    assert office.post("/reclaim", {"anonymous": True, "doit": True})["count"] == 2
    assert [d["deviceName"] for d in office.get("/devices", state="allocated")["devices"]] == names[2:]
    assert office.post("/reclaim", {"batch": "b-1", "productKey": PK, "doit": True})["count"] == 1
    assert office.line(lambda x: x["figures"]["count"]["free"] == 5)


def test_no_more_is_taken_back_than_was_shown(office):
    """A line goes on while an operator thinks about it: what a station got meanwhile is just being burned."""
    office.load(csv(5))
    lost = office.ask("SN-1")["DeviceName"]
    wait_until(lambda: office.post("/reclaim", {"batch": "b-1", "doit": False})["count"] == 1, "the allocation")
    shown = office.post("/reclaim", {"batch": "b-1", "doit": False})
    fresh = office.ask("SN-2")["DeviceName"]
    done = office.post("/reclaim", {"batch": "b-1", "until": shown["until"], "doit": True})
    assert (done["count"], [d["deviceName"] for d in done["devices"]]) == (1, [lost])
    assert [d["deviceName"] for d in office.get("/devices", state="allocated")["devices"]] == [fresh]


def test_product_settings_count_from_the_next_request_on(office):
    office.load("DeviceName,DeviceSecret,ProductKey,Colour\n" + f"board-1,{secret(1)},{PK},red\n")
    assert isinstance(office.ask("aa-bb-cc-dd-ee-ff")["CRC32"], str)
    told = office.post("/product", {"productKey": PK, "crcForm": "number", "replyColumns": "Colour"})["product"]
    assert (told["crcForm"], told["crcOrder"], told["replyColumns"]) == ("number", "code", ["Colour"])
    got = office.ask("aa-bb-cc-dd-ee-ff")
    assert isinstance(got["CRC32"], int) and got["Colour"] == "red"
    assert office.get("/products")["products"] == [told]
    assert office.post("/product", {"productKey": PK, "crcForm": "roman"}, expect=400)
    assert office.post("/product", {"productKey": PK, "productId": "x" * 40}, expect=400)
    assert office.post("/product", {"productKey": "a1Nobody"}, expect=404)


def test_the_audit_log_is_shown_and_verified(office):
    office.load(csv(3))
    office.ask("SN-1")
    entries = office.get("/audit")["entries"]
    assert [e["what"] for e in entries][:2] == ["allocate", "import"] and [e["number"] for e in entries] == sorted((e["number"] for e in entries), reverse=True)
    assert [e["deviceId"] for e in office.get("/audit", what="allocate")["entries"]] == ["SN-1"]
    told = office.get("/audit/verify")
    assert told["count"] == 0 and told["problems"] == [] and told["entries"] == len(entries) and len(told["heads"]) == 1
    with sqlite3.connect(office.dir / "factory.db") as db:
        db.execute("UPDATE audit SET who = 'somebody else' WHERE what = 'allocate'")
    db.close()
    told = office.get("/audit/verify")
    assert told["count"] >= 1 and told["problems"][0]["sentence"]


def test_fifty_pages_cost_one_look(office):
    """The line's figures are made once for all who ask within the same moment."""
    office.load(csv(10))
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: office.get("/line")["at"], range(50)))
    assert len(set(answers)) <= 3


def test_metrics_and_health(office):
    answer = office.request("GET", "/metrics")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4") and b"causeway_" in answer.body
    assert office.request("GET", "/health").json["status"] == "ok"


# ---- whom it refuses ----

def test_only_operators_get_in(guarded):
    assert guarded.request("GET", "/").status == 200 and guarded.request("GET", "/page.js").status == 200  # no data in them
    assert guarded.request("GET", "/health").status == 200
    for path in ("/metrics", "/api/v1/line", "/api/v1/devices", "/api/v1/audit", "/api/v1/audit/verify"):
        answer = guarded.request("GET", path)
        assert (answer.status, answer.json["code"]) == (401, "LOGIN"), path
        assert guarded.request("GET", path, headers=guarded.bearer("wrong")).status == 401
        assert guarded.request("GET", path, headers=guarded.bearer(GUEST)).status == 200
    assert guarded.get("/session")["name"] is None
    assert guarded.load(csv(1), expect=401)["code"] == "LOGIN"  # its file is not even taken
    guarded.load(csv(2), headers=guarded.bearer(MARIA))
    assert {e["who"] for e in guarded.get("/audit", headers=guarded.bearer(GUEST))["entries"]} == {"page:maria"}


def test_who_may_only_look_changes_nothing(guarded):
    guarded.load(csv(3), headers=guarded.bearer(MARIA))
    before = guarded.get("/audit", headers=guarded.bearer(MARIA))
    guest = guarded.bearer(GUEST)
    for path, body in (("/void", {"productKey": PK, "deviceName": "board-0001", "reason": "x"}), ("/batch", {"name": "b-1", "closed": True}),
                       ("/reclaim", {"batch": "b-1", "doit": False}), ("/product", {"productKey": PK, "crcForm": "number"})):
        assert guarded.post(path, body, expect=403, headers=guest)["code"] == "VIEW_ONLY"
    assert guarded.load(csv(5), expect=403, headers=guest)["code"] == "VIEW_ONLY"
    assert guarded.get("/audit", headers=guest) == before
    assert guarded.get("/session", headers=guest)["viewOnly"] is True


def log_in(office, name, token):
    answer = office.request("POST", "/api/v1/session", {"name": name, "token": token})
    cookie = answer.headers.get("Set-Cookie")
    return answer, cookie and {"Cookie": cookie.split(";")[0]}


def test_a_session_lasts_from_log_in_to_log_out(guarded):
    answer, cookie = log_in(guarded, "maria", MARIA)
    assert answer.status == 200 and answer.json["name"] == "maria"
    parts = [p.strip() for p in answer.headers["Set-Cookie"].split(";")]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(parts) and "Secure" not in parts
    name, value = parts[0].split("=")
    assert name == "causeway_" + guarded.address.rsplit(":", 1)[1] and len(value) == 64
    assert MARIA not in str(answer.headers) and MARIA.encode() not in answer.body
    assert guarded.get("/line", headers=cookie)["at"] and guarded.get("/session", headers=cookie)["how"] == "session"
    guarded.load(csv(1), headers=cookie)
    assert guarded.get("/line", headers={"Cookie": f"other=1; {cookie['Cookie']}; more=2"})
    for wrong in (f"{name}={'0' * 64}", f"{name}=", f"{name}={value}0", f"x{name}={value}", f"{name}"):
        assert guarded.request("GET", "/api/v1/line", headers={"Cookie": wrong}).status == 401, wrong
    out = guarded.request("DELETE", "/api/v1/session", headers=cookie)
    assert out.status == 200 and "Max-Age=0" in out.headers["Set-Cookie"] and out.json["name"] is None
    assert guarded.request("GET", "/api/v1/line", headers=cookie).status == 401


def test_sessions_are_bounded(guarded):
    """The session that was silent for longest ends for one more."""
    first = log_in(guarded, "maria", MARIA)[1]
    cookies = [log_in(guarded, "guest", GUEST)[1] for _ in range(128)]
    assert guarded.request("GET", "/api/v1/line", headers=first).status == 401
    assert guarded.request("GET", "/api/v1/line", headers=cookies[0]).status == 200
    assert guarded.request("GET", "/api/v1/line", headers=cookies[-1]).status == 200


def test_another_token_ends_an_operators_sessions(guarded):
    cookie, guest = log_in(guarded, "maria", MARIA)[1], log_in(guarded, "guest", GUEST)[1]
    config = guarded.dir / "factory.conf"
    config.write_text(config.read_text().replace(MARIA, "maria-has-a-new-token-now-0123"))
    guarded.process.signal(1)
    wait_until(lambda: guarded.request("GET", "/api/v1/line", headers=cookie).status == 401, "the end of the session")
    assert guarded.request("GET", "/api/v1/line", headers=guest).status == 200


def test_guessing_is_slowed_and_counted(guarded):
    cookie = log_in(guarded, "maria", MARIA)[1]
    assert log_in(guarded, "maria", GUEST)[0].status == 401  # another operator's token
    assert guarded.request("POST", "/api/v1/session", {"name": "maria"}).status == 400
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        statuses = list(pool.map(lambda n: log_in(guarded, "maria", f"guess-{n}")[0].status, range(12)))
    assert set(statuses) <= {401, 429} and 429 in statuses
    answer = log_in(guarded, "maria", MARIA)[0]  # the right one, from an address that guessed
    assert (answer.status, answer.json["code"]) == (429, "SLOW")
    assert guarded.request("GET", "/api/v1/line", headers=guarded.bearer(MARIA)).status == 429
    assert guarded.request("GET", "/api/v1/line", headers=cookie).status == 200  # who is in stays in
    metrics = guarded.request("GET", "/metrics", headers=cookie).body.decode()
    assert any("logins_refused" in row and not row.startswith("#") and float(row.split()[-1]) >= 8 for row in metrics.splitlines())
    assert "guess-" not in guarded.process.stderr() and "factory.login_refused" in guarded.process.stderr()


def test_a_foreign_page_cannot_drive_it(office):
    """CSRF and DNS rebinding."""
    office.load(csv(2))
    port = office.address.rsplit(":", 1)[1]
    closing = {"name": "b-1", "closed": True}
    for headers in ({"Origin": "http://evil.test"}, {"Origin": "null"}, {"Origin": f"http://127.0.0.1:{int(port) - 1}"}, {"Host": f"evil.test:{port}"},
                    {"Host": f"evil.test:{port}", "Origin": f"http://evil.test:{port}"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        answer = office.request("POST", "/api/v1/batch", closing, headers)
        assert (answer.status, answer.json["code"]) == (403, "FOREIGN"), headers
        assert office.load(csv(3), expect=403, headers=headers)["code"] == "FOREIGN"
    assert office.request("GET", "/api/v1/line", headers={"Host": f"evil.test:{port}"}).status == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"):
        assert office.request("POST", "/api/v1/batch", json.dumps(closing).encode(), {"Content-Type": kind}).status == 415
    assert office.get("/batches")["batches"][0]["closed"] is False and office.get("/batches")["batches"][0]["total"] == 2
    office.request("POST", "/api/v1/batch", closing, {"Origin": f"http://{office.address}", "Sec-Fetch-Site": "same-origin"})
    assert office.get("/batches")["batches"][0]["closed"] is True


def test_answers_are_not_kept_and_run_nothing(office):
    for path in ("/", "/page.css", "/api/v1/line", "/api/v1/nothing"):
        headers = office.request("GET", path).headers
        assert headers["Cache-Control"] == "no-store" and headers["X-Frame-Options"] == "DENY" and headers["X-Content-Type-Options"] == "nosniff"
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    page = office.request("GET", "/").body.decode()
    assert "<script>" not in page and " style=" not in page and "http://" not in page and "https://" not in page and " on" not in {a[:3] for a in page.split('"')}


def test_odd_requests_are_refused_in_words(office):
    for method, path, status in (("GET", "/api/v1/nothing", 404), ("GET", "/nothing", 404), ("PUT", "/api/v1/void", 405), ("GET", "/api/v1/void", 405), ("POST", "/", 404)):
        answer = office.request(method, path, b"" if method != "GET" else None)
        assert answer.status == status and set(answer.json) == {"code", "message"}, path
    for body in (b"", b"[]", b"{", b'{"a":1,"a":2}', b"\xff", b"[" * 5000, b'"x"'):
        answer = office.request("POST", "/api/v1/void", body, {"Content-Type": "application/json"})
        assert (answer.status, answer.json["code"]) == (400, "BAD_REQUEST"), body[:20]
    assert office.request("POST", "/api/v1/void", b" " * 70000, {"Content-Type": "application/json"}).status == 413
    assert office.get("/devices", text="'\"<>;--%_", most=5)["devices"] == []
    assert office.get("/devices", expect=400, text="\x01")["code"] == "BAD_REQUEST"
    assert office.request("GET", "/api/v1/devices?text=%ff%fe").status == 200


def test_a_hostile_device_id_stays_what_it_is(office):
    office.load(csv(2))
    hostile = "<img src=x onerror=alert(1)>\u202e\"'"
    assert office.ask(hostile)["Status"] == "OK"
    assert office.get("/board", text=hostile)["board"]["deviceId"] == hostile
    assert [e["deviceId"] for e in office.get("/audit", deviceId=hostile)["entries"]] == [hostile]


# ---- TLS and client certificates ----

def tls_of(authority):
    certificate, key = authority.issue("server")
    return f', tls {{ certificate = "{certificate}", key = "{key}", clientCa = "{authority.pem}" }}'


def test_client_certificates_name_the_operator(spawn, tmp_path, authority):
    office = Office(spawn, tmp_path, OPERATORS, tls=tls_of(authority))

    office.context = authority.context(authority.issue("maria"))
    assert (office.get("/session")["name"], office.get("/session")["how"]) == ("maria", "certificate")
    office.load(csv(2))
    assert {e["who"] for e in office.get("/audit")["entries"]} == {"page:maria"}
    office.context = authority.context(authority.issue("stranger"))  # of the same authority, but no operator
    assert office.get("/session")["name"] is None and office.request("GET", "/api/v1/line").status == 401
    office.context = authority.context()
    assert office.request("GET", "/api/v1/line").status == 401
    answer, cookie = log_in(office, "maria", MARIA)
    assert answer.status == 200 and "Secure" in answer.headers["Set-Cookie"]
    assert office.request("GET", "/api/v1/line", headers=cookie).status == 200


def test_without_operators_certificates_are_the_log_in(spawn, tmp_path, authority):
    office = Office(spawn, tmp_path, tls=tls_of(authority))
    office.context = authority.context()
    assert office.request("GET", "/api/v1/line").status == 401
    office.context = authority.context(authority.issue("stranger"))
    office.load(csv(1))
    assert {e["who"] for e in office.get("/audit")["entries"]} == {"page:stranger"}


# ---- trouble ----

def test_the_same_on_postgresql(spawn, tmp_path, postgres_server):
    """Two servers share one stock; the office of either shows what the line of the other did. Then the database goes and comes back."""
    url = postgres_server.database("office")
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    first = Office(spawn, folders[0], "node = one, wait = 200ms", db=url)
    first.load(csv(30), "shared", bluetooth="1", productId="4711")
    (folders[1] / "factory.key").write_bytes((folders[0] / "factory.key").read_bytes())
    (folders[1] / "factory.key").chmod(0o600)
    second = Office(spawn, folders[1], "node = two, wait = 200ms", db=url)
    names = {o.ask(f"SN-{i}")["DeviceName"] for i, o in enumerate([first, second] * 3)}
    assert len(names) == 6 and first.ask("SN-1", 1)["Status"] == "OK"
    second.post("/void", {"productKey": PK, "deviceName": first.get("/board", text="SN-2")["board"]["deviceName"], "reason": "x"})
    second.post("/batch", {"name": "shared", "low": 100})
    assert second.post("/reclaim", {"deviceId": "SN-3", "doit": True})["count"] == 1
    line = first.line(lambda x: x["figures"]["count"] == {"free": 25, "allocated": 3, "written": 1, "void": 1})
    assert line["batches"][0]["endsInMs"] > 0 and {p["code"] for p in line["problems"]} >= {"LOW_BATCH"}
    assert [d["deviceId"] for d in second.get("/devices", state="written")["devices"]] == ["SN-1"]
    assert [e["what"] for e in second.get("/board", text="SN-1")["history"]] == ["write", "allocate"]
    told = first.get("/audit/verify")
    assert told["count"] == 0 and {h.split()[0] for h in told["heads"]} == {"one", "two"}
    assert url not in first.process.stderr()


def test_a_database_that_goes_and_comes_back(spawn, tmp_path, shaky_postgres):
    office = Office(spawn, tmp_path, "wait = 200ms", db=shaky_postgres.url())
    office.load(csv(3))
    shaky_postgres.kill()
    line = wait_until(lambda: next((x for x in [office.get("/line")] if "figures" not in x), None), "the trouble")
    assert line["live"]["up"] is False and line["problems"][0]["code"] == "DATABASE"
    assert office.get("/devices", expect=503)["code"] == "UNAVAILABLE"
    assert office.load(csv(3, first=20), expect=503)["code"] == "UNAVAILABLE"
    assert office.post("/void", {"productKey": PK, "deviceName": "board-0001", "reason": "x"}, expect=503)["code"] == "UNAVAILABLE"
    shaky_postgres.start()
    office.line(lambda x: x["figures"]["total"] == 3 and x["live"]["up"], "the figures again")
    office.post("/void", {"productKey": PK, "deviceName": "board-0001", "reason": "x"})


def test_a_client_that_leaves_ends_nothing(office):
    import socket
    host, port = office.address.rsplit(":", 1)
    for path in ("/api/v1/line", "/api/v1/audit/verify", "/api/v1/devices"):
        for _ in range(10):
            with socket.create_connection((host, int(port))) as s:
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: {office.address}\r\n\r\n".encode())
    with socket.create_connection((host, int(port))) as s:  # half a file
        s.sendall(f"POST /api/v1/import?batch=x HTTP/1.1\r\nHost: {office.address}\r\nContent-Type: text/csv\r\nContent-Length: 100000\r\n\r\nDeviceName,".encode())
    assert office.get("/line")["live"]["up"] is True
    assert office.get("/batches")["batches"] == []


def test_an_import_keeps_nobody_waiting(spawn, tmp_path):
    """While one is at it (here: waits for the database), look-ups are answered; a second one is told to come again."""
    office = Office(spawn, tmp_path, "wait = 30s")
    office.load(csv(3))
    with sqlite3.connect(tmp_path / "factory.db", isolation_level=None) as db, concurrent.futures.ThreadPoolExecutor(2) as pool:
        db.execute("BEGIN IMMEDIATE")
        loads = [pool.submit(office.request, "POST", f"/api/v1/import?batch=second-{i}", csv(5, first=10 + 5 * i).encode(),
                             {"Content-Type": "text/csv", "X-Product-Secret": PS}) for i in range(2)]
        refused = next(concurrent.futures.as_completed(loads)).result()
        assert (refused.status, refused.json["code"]) == (503, "BUSY")
        assert office.get("/board", text="board-0001")["board"]["state"] == "free" and office.get("/line")["figures"]["total"] == 3
        db.execute("ROLLBACK")
        assert sorted(load.result().status for load in loads) == [200, 503]
    db.close()
    assert office.line(lambda x: x["figures"]["total"] == 8)


def test_import_limits(office):
    """A file over 64 MiB is refused in words; the server goes on."""
    host, port = office.address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        connection.putrequest("POST", "/api/v1/import?batch=big")
        connection.putheader("Content-Type", "text/csv")
        connection.putheader("Content-Length", str((64 << 20) + 1))
        connection.endheaders()
        piece = b"x" * (1 << 20)
        for _ in range(64):
            connection.send(piece)
        connection.send(b"x")
        answer = connection.getresponse()
        assert answer.status == 413 and json.loads(answer.read())["code"] == "TOO_LARGE"
    finally:
        connection.close()
    assert office.load(csv(2))["new"] == 2
