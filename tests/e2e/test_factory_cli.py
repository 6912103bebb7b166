"""`causeway factory`: the stock of a production line from the command line. Certificates come from files, also as they are with their boards, so
that no server is needed."""
import csv
import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import urllib.request
import zlib

import pytest
from conftest import BUILD, PATIENCE, wait_until
from postgres import postgres, postgres_server  # noqa: F401  pylint: disable=unused-import

PK, PK2, PS = "a1EmuPk0001", "a1EmuPk0002", "EmuPs0123456789A"
SECRETS = re.compile(r"[0-9a-f]{32}")


def secret(i):
    return f"{i:032x}"


@pytest.fixture
def factory(tmp_path):
    """Run a verb on tmp_path/factory.db: what it printed, or with status=.. both streams."""
    def run(*args, status=0, env=None, db="factory.db"):
        words = [BUILD / "bin" / "causeway", "factory", *map(str, args)]
        if db is not None:
            words += ["--db", str(tmp_path / db)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=4 * PATIENCE, cwd=tmp_path, env={**os.environ, **(env or {})})
        assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
        assert not SECRETS.search(done.stderr) and PS not in done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr
    return run


@pytest.fixture
def sheet(tmp_path):
    """A CSV: rows as tuples, or `count` free certificates of PK."""
    def make(name="batch.csv", head="DeviceName,DeviceSecret,ProductKey,ProductSecret", rows=None, count=10, encoding="utf-8", end="\n"):
        if rows is None:
            rows = [(f"board-{i:04}", secret(i), PK, PS) for i in range(count)]
        path = tmp_path / name
        path.write_bytes(end.join([head, *(",".join(map(str, r)) for r in rows), ""]).encode(encoding))
        return path
    return make


BOARDS = "DeviceName,DeviceSecret,ProductKey,ProductSecret,DeviceID,Status"


@pytest.fixture
def line(factory, sheet):
    """Four certificates: written, allocated, free, free."""
    factory("import", sheet(head=BOARDS, rows=[("board-0001", secret(1), PK, PS, "SN01", "Written"), ("board-0002", secret(2), PK, PS, "SN02", "Allocated"),
                                               ("board-0003", secret(3), PK, PS, "", ""), ("board-0004", secret(4), PK, PS, "", "Free")]), "--batch", "line-7")
    return factory


def counts(factory, **more):
    return {p["productKey"]: p["count"] for p in json.loads(factory("stock", "--json", **more))}


def names(factory, *filters):
    return [r["deviceName"] for r in json.loads(factory("query", *filters, "--json"))]


# ---- import ----


def test_a_file_becomes_a_batch_and_is_known_the_second_time(factory, sheet, tmp_path):
    """covers: B24 B27 B29"""
    path = sheet("c-2026-11.csv", count=100)
    said = factory("import", path, "--batch", "2026-11", "--product", PK)
    assert said.splitlines() == [f"{path}: 100 rows read, 100 new, 0 known, 0 refused", f"batch 2026-11, product {PK}"]
    assert "100 rows read, 0 new, 100 known, 0 refused" in factory("import", path, "--batch", "2026-11")
    batch, = json.loads(factory("batches", "--json"))
    assert (batch["name"], batch["productKey"], batch["file"], batch["count"]["free"], batch["total"]) == ("2026-11", PK, "c-2026-11.csv", 100, 100)
    assert batch["imported"].startswith("20") and batch["imported"].endswith("Z")
    table = factory("batches").splitlines()
    assert table[0].split()[:8] == ["BATCH", "PRODUCT", "STATE", "FREE", "ALLOCATED", "WRITTEN", "VOID", "TOTAL"]
    assert table[1].split()[:8] == ["2026-11", PK, "open", "100", "0", "0", "0", "100"]
    assert counts(factory)[PK] == {"free": 100, "allocated": 0, "written": 0, "void": 0}
    for name in ("factory.db", "factory.db.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert secret(7).encode() not in (tmp_path / "factory.db").read_bytes()


def test_an_import_of_what_is_known_names_no_batch_of_its_own(factory, sheet):
    """covers: B24"""
    path = sheet()
    factory("import", path, "--batch", "a")
    said = factory("import", path, "--batch", "b").splitlines()
    assert said[1:] == ["nothing new for batch b: those known stay in the batch they came with"]
    assert [b["name"] for b in json.loads(factory("batches", "--json"))] == ["a"]


def test_the_first_import_says_that_a_key_was_made(tmp_path, sheet):
    """covers: B24"""
    path = sheet()
    words = [BUILD / "bin" / "causeway", "factory", "import", path, "--batch", "a", "--db", "new.db"]
    first, second = (subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=PATIENCE) for _ in range(2))
    assert first.stderr.startswith("new.db.key is new: keep a copy of it") and second.stderr == ""


def test_what_a_spreadsheet_left_of_a_secret_is_refused_or_warned_of(factory, sheet):
    """covers: B24 B25"""
    for number in ("1.23E+31", "1E+31", "5e-7"):
        said = factory("import", sheet(rows=[("b1", number, PK, PS)]), "--batch", "b", status=1)
        assert "2: DeviceSecret: is a number that a spreadsheet" in said and "nothing was imported" in said
    told = json.loads(factory("import", sheet(rows=[("b1", "short", PK, PS), ("b2", "0" * 29 + "1e5", PK, PS), ("b3", secret(3), PK, PS)]), "--batch", "b",
                              "--json"))
    problem, = told["problems"]
    assert (problem["line"], problem["column"], problem["refused"]) == (2, "DeviceSecret", False) and "5 characters" in problem["sentence"]
    assert told["new"] == 3


def test_boards_of_an_older_tool_come_over(factory, sheet):
    """covers: B26"""
    head = "DeviceName,DeviceSecret,ProductKey,ProductSecret,DeviceID,Status"
    rows = [("b1", secret(1), PK, PS, "SN1", "已烧录"), ("b2", secret(2), PK, PS, "SN2", "已分配"), ("b3", secret(3), PK, PS, "", "未分配"),
            ("b4", secret(4), PK, PS, "SN4", "WRITTEN")]
    for encoding, batch in (("utf-8", "a"), ("gbk", "b")):
        factory("import", sheet(head=head, rows=rows, encoding=encoding), "--batch", batch)
        assert counts(factory)[PK] == {"free": 1, "allocated": 1, "written": 2, "void": 0}
    said = factory("import", sheet(head=head, rows=[("b3", secret(3), PK, PS, "SN3", "")]), "--batch", "a", status=1)
    assert "here already without a board" in said and "causeway factory void" in said
    assert "Written (已烧录)" in factory("import", sheet(head=head, rows=[("b5", secret(5), PK, PS, "SN5", "burnt")]), "--batch", "a", status=1)


@pytest.mark.parametrize("more", [{}, {"productSecret": "true"}])
def test_what_the_platform_gives_out_comes_in_unchanged(cloud, factory, tmp_path, more):
    """covers: B25 B26 C02 D20"""
    batch = cloud.post("/batches", {"productKey": PK, "count": 10}, expect=202)
    wait_until(lambda: cloud.get(f"/batches/{batch['applyId']}")["status"] == "CREATE_SUCCESS", "the batch")
    text = cloud.get(f"/batches/{batch['applyId']}.csv", query=more)
    (tmp_path / "batch.csv").write_bytes(text)
    lines = text.decode().split("\r\n")
    assert len(lines) == 12  # the names of the columns, a line each, and the end
    if not more:
        assert "no column ProductSecret" in factory("import", "batch.csv", "--batch", "b", status=1)
    factory("import", "batch.csv", "--batch", "b", *([] if more else ["--product-secret", PS]))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + text)
    assert "0 new, 10 known" in factory("import", "bom.csv", "--batch", "b", *([] if more else ["--product-secret", PS]))
    factory("export", "--out", "out.csv")
    with open(tmp_path / "out.csv", newline="") as f:
        rows = list(csv.DictReader(f))
    assert sorted(f"{r['DeviceName']},{r['DeviceSecret']},{r['ProductKey']}" for r in rows) == sorted(",".join(x.split(",")[:3]) for x in lines[1:-1])
    assert {r["ProductSecret"] for r in rows} == {lines[1].split(",")[3] if more else PS}


def test_the_product_secret_comes_from_a_file_and_a_wrong_length_is_warned_of(factory, sheet, tmp_path):
    """covers: B26"""
    path = sheet(head="DeviceName,DeviceSecret", rows=[("n1", secret(1))])
    (tmp_path / "ps").write_text("notOfTheUsualLength\n")
    assert "no column ProductKey" in factory("import", path, "--batch", "b", status=1)
    done = json.loads(factory("import", path, "--batch", "b", "--product", PK, "--product-secret", "file:ps", "--json"))
    assert (done["new"], done["warnings"], done["products"]) == (1, 1, [PK])
    assert done["problems"] == [{"line": 2, "column": "ProductSecret", "refused": False, "sentence": done["problems"][0]["sentence"]}]
    assert "19 characters" in done["problems"][0]["sentence"] and "notOf" not in json.dumps(done)
    assert "cannot read nowhere" in factory("import", path, "--batch", "b", "--product", PK, "--product-secret", "file:nowhere", status=1)


def test_a_line_that_is_wrong_keeps_all_ten_thousand_out(factory, sheet):
    """covers: B27"""
    rows = [(f"n{i:05}", secret(i), PK, PS) for i in range(10000)]
    factory("import", sheet("first.csv", rows=rows[:1]), "--batch", "b")
    rows[1233] = ("n 1233", secret(1233), PK, PS)
    said = factory("import", sheet("x.csv", rows=rows), "--batch", "b", status=1)
    assert "x.csv:1235: DeviceName" in said and "1 of 10000 rows are refused; nothing was imported" in said
    assert "10000 rows read, 0 new" in said
    rows[1233] = ("n1233", secret(1233), PK, PS)
    rows[0] = (rows[0][0], secret(77), PK, PS)
    told = json.loads(factory("import", sheet("x.csv", rows=rows), "--batch", "b", "--json", status=1).splitlines()[0])
    assert told["refused"] == 1 and told["problems"][0]["line"] == 2 and told["problems"][0]["column"] == "DeviceSecret"
    assert counts(factory)[PK]["free"] == 1
    all_wrong = factory("import", sheet("y.csv", rows=[(f"a b{i}", secret(i), PK, PS) for i in range(50)]), "--batch", "b", status=1)
    assert all_wrong.count("y.csv:") == 21 and "... and 30 more" in all_wrong


def test_one_file_may_have_several_products(factory, sheet):
    rows = [(f"n{i}", secret(i), PK if i % 3 else PK2, PS) for i in range(9)]
    factory("import", sheet(rows=rows), "--batch", "both")
    assert {p: c["free"] for p, c in counts(factory).items()} == {PK: 6, PK2: 3}
    assert [b["name"] for b in json.loads(factory("batches", "--json"))] == ["both", "both"]
    assert factory("stock").splitlines()[-1].split()[:2] == ["all", "9"]
    assert "another product" in factory("import", sheet("o.csv", rows=rows), "--batch", "both", "--product", PK, status=1)


def test_gbk_with_further_columns(factory, sheet):
    factory("import", sheet(head="DeviceName,DeviceSecret,ProductKey,ProductSecret,颜色", rows=[("n1", secret(1), PK, PS, "红")], encoding="gbk", end="\r\n"),
            "--batch", "生产线")
    row, = json.loads(factory("query", "--batch", "生产线", "--json"))
    assert row["extra"] == {"颜色": "红"}
    assert "生产线" in factory("query")
    assert "is not UTF-8" in factory("import", sheet("x.csv", "DeviceName,DeviceSecret,ProductKey,ProductSecret,c", [("n2", secret(2), PK, PS, "红")], encoding="gbk"),
                                     "--batch", "b", "--encoding", "utf-8", status=1)


def test_a_product_is_told_what_it_is_at_its_import(factory, sheet):
    """covers: B31"""
    path = sheet()
    assert "--bluetooth: 10 rows have no ProductID" in factory("import", path, "--batch", "b", "--bluetooth", status=1)
    assert json.loads(factory("product", "show", "--json")) == []
    factory("import", path, "--batch", "b", "--bluetooth", "--product-id", "4711", "--crc32", "number", "--crc-order", "prose", "--normalize-mac",
            "--reply-columns", "Color,Size", "--lease", "24h", "--lease-of", "all", "--low", "500")
    product, = json.loads(factory("product", "show", "--json"))
    assert product == {"productKey": PK, "bluetooth": True, "productId": "4711", "crcForm": "number", "crcOrder": "prose", "normalizeMac": True,
                       "replyColumns": ["Color", "Size"]}
    batch, = json.loads(factory("batches", "--json"))
    assert (batch["lease"], batch["leaseMs"], batch["low"]) == ("all", 86400000, 500)
    assert "batches low: " in factory("stock")
    factory("product", "set", PK, "--no-bluetooth", "--crc32", "text")
    product, = json.loads(factory("product", "show", PK, "--json"))
    assert (product["bluetooth"], product["crcForm"], product["crcOrder"], product["normalizeMac"]) == (False, "text", "prose", True)
    factory("product", "set", PK2, "--bluetooth", status=1)
    factory("product", "show", PK2, status=1)


def test_an_import_that_is_killed_half_way_leaves_nothing(factory, sheet):
    path = sheet(count=3000)
    factory("import", path, "--batch", "b", status=-9, env={"CW_CRASH_AT": "stock.import.piece"})
    assert json.loads(factory("batches", "--json")) == [] and json.loads(factory("stock", "--json")) == []
    assert "3000 rows read, 3000 new" in factory("import", path, "--batch", "b")
    assert "all as they were written" in factory("audit", "--verify")


# ---- look-ups ----


def test_a_board_is_found_and_its_secrets_are_not_shown(line):
    """covers: B28 B29"""
    said = line("query", "--device-id", "SN01").splitlines()
    assert len(said) == 2
    assert said[1].split()[:6] == ["board-0001", PK, "line-7", "Written", "SN01", "cli:" + said[1].split("cli:")[1].split()[0]]
    shown = line("show", "board-0002")
    fields = dict(re.findall(r"^(\w+)\s+(.*)$", shown, re.M))
    assert (fields["DeviceName"], fields["ProductKey"], fields["Batch"], fields["Status"], fields["DeviceID"]) == ("board-0002", PK, "line-7", "Allocated", "SN02")
    assert fields["DeviceSecret"] == fields["ProductSecret"] == "********" and fields["Written"] == "-" and fields["Allocated"] != "-"
    assert "DeviceName     board-0001" in line("show", "SN01")
    for verb in (["query"], ["show", "board-0001"], ["audit"], ["stats"], ["batches"]):
        for as_json in ([], ["--json"]):
            said = line(*verb, *as_json)
            assert secret(1) not in said and PS not in said
    assert "no certificate has this DeviceName" in line("show", "board-9999", status=1)
    assert "nothing fits" in line("query", "--device-name", "board-9999", status=1)
    assert counts(line)[PK] == {"free": 2, "allocated": 1, "written": 1, "void": 0}


def test_filters_fit_together_and_lists_have_pages(line):
    """covers: B28"""
    assert names(line, "--status", "Free") == ["board-0003", "board-0004"]
    assert names(line, "--status", "allocated", "--batch", "line-7", "--product", PK) == ["board-0002"]
    assert names(line, "--text", "SN0") == ["board-0001", "board-0002"]
    assert names(line, "--since", "1h", "--status", "written") == ["board-0001"]
    line("query", "--since", "2020-01-01", "--until", "2020-02-01T08:00:00+08:00", status=1)
    first = json.loads(line("query", "--limit", "3", "--json"))
    assert [r["deviceName"] for r in first] == ["board-0001", "board-0002", "board-0003"]
    assert names(line, "--limit", "3", "--after", first[-1]["id"]) == ["board-0004"]
    for wrong in (["--status", "gone"], ["--since", "yesterday"], ["--since", "30"], ["--limit", "x"], ["--limit", "-1"], ["--nothing"], ["word"]):
        line("query", *wrong, status=2)


def test_figures_and_stations(line):
    """covers: B29"""
    said = json.loads(line("stats", "--json", "--slot", "1h", "--slots", "3"))
    assert said["figures"]["count"] == {"free": 2, "allocated": 1, "written": 1, "void": 0} and said["figures"]["total"] == 4
    assert len(said["rate"]["allocated"]) == 3 and said["rate"]["slotMs"] == 3600000
    assert sum(said["rate"]["allocated"]) == said["figures"]["allocatedHour"]
    text = line("stats")
    assert re.search(r"stock +2 +1 +1 +0 +4\n", text)
    line("stats", "--slots", "0", status=2)


# ---- changes ----


def test_batches_are_closed_opened_and_set(line):
    def batch():
        return json.loads(line("batches", "--json"))[0]
    assert "closed" in line("batch", "close", "line-7") and batch()["closed"] is True
    assert "batches closed: 1" in line("stock")
    line("batch", "open", "line-7", "--product", PK)
    assert batch()["closed"] is False
    line("batch", "set", "line-7", "--lease", "30m", "--low", "3")
    assert (batch()["lease"], batch()["leaseMs"], batch()["low"]) == ("anonymous", 1800000, 3)
    assert "30 min, anonymous" in line("batches")
    line("batch", "set", "line-7", "--lease", "none")
    assert batch()["lease"] == "none"
    line("batch", "close", "line-8", status=1)
    for wrong in (["set", "line-7"], ["shut", "line-7"], ["close", "line-7", "--low", "3"], ["set", "line-7", "--lease", "30"], ["set", "line-7", "--lease-of", "all"]):
        line("batch", *wrong, status=2)


def test_a_certificate_is_made_void_with_a_reason(line):
    line("void", PK, "board-0003", status=2)
    assert line("void", PK, "board-0003", "--reason", "label torn") == f"board-0003 of {PK} is void\n"
    assert json.loads(line("void", PK, "--device-id", "SN02", "--reason", "chip broken", "--json"))["deviceName"] == "board-0002"
    assert counts(line)[PK] == {"free": 1, "allocated": 0, "written": 1, "void": 2}
    shown = line("show", "board-0003")
    assert "label torn" in shown and re.search(r"^Status +Void$", shown, re.M)
    line("void", PK, "board-0003", "--reason", "again", status=1)
    line("void", PK, "--device-id", "SN99", "--reason", "x", status=1)
    assert re.search(r"void +cli:\S+ .*board-0003 .*label torn", line("audit", "--what", "void"))


def test_unreported_allocations_come_back_only_with_yes(line):
    assert names(line, "--status", "allocated") == ["board-0002"]
    assert "board-0002" not in line("reclaim")  # not an hour old
    assert "SN02" in line("reclaim", "--older", "0s")
    assert counts(line)[PK]["allocated"] == 1
    assert json.loads(line("reclaim", "--older", "0s", "--device-id", "SN01", "--yes", "--json")) == []
    assert [r["deviceName"] for r in json.loads(line("reclaim", "--older", "0s", "--yes", "--json"))] == ["board-0002"]
    assert counts(line)[PK] == {"free": 3, "allocated": 0, "written": 1, "void": 0}
    line("reclaim", "--status", "free", status=2)


# ---- export, audit, backup ----


def test_an_export_has_everything_is_audited_and_comes_in_again(line, tmp_path):
    assert line("export", "--out", "out.csv") == "out.csv: 4 certificates with their secrets\n"
    out = tmp_path / "out.csv"
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with open(out, newline="") as f:
        rows = {r["DeviceName"]: r for r in csv.DictReader(f)}
    assert (rows["board-0001"]["DeviceSecret"], rows["board-0001"]["ProductSecret"], rows["board-0001"]["DeviceID"], rows["board-0001"]["Status"]) == (
        secret(1), PS, "SN01", "Written")
    before = out.read_bytes()
    assert "is not overwritten" in line("export", "--out", "out.csv", status=1)
    assert out.read_bytes() == before and not list(tmp_path.glob("out.csv.*"))
    assert len(line("audit", "--what", "export").splitlines()) == 2
    assert "4 new" in line("import", "out.csv", "--batch", "line-7", db="other.db")
    assert counts(line, db="other.db") == counts(line)
    assert "1 certificates" in line("export", "--status", "allocated", "--out", "one.csv")
    line("export", "--out", "/nowhere/x.csv", status=1)
    line("export", status=2)


def test_an_edited_database_is_found(line, tmp_path):
    head = line("audit", "--head")
    (tmp_path / "head").write_text(head)
    assert head.split()[1].isdigit()
    line("void", PK, "board-0003", "--reason", "x")
    assert "all as they were written, and the heads are there" in line("audit", "--verify", "--against", "head")
    assert json.loads(line("audit", "--verify", "--json")) == []
    entries = json.loads(line("audit", "--json", "--newest", "--limit", "1"))
    assert (entries[0]["what"], entries[0]["deviceName"], entries[0]["text"]) == ("void", "board-0003", "x")
    with sqlite3.connect(tmp_path / "factory.db") as db:
        db.execute("UPDATE cert SET state = 0 WHERE device_name = 'board-0001'")
    db.close()
    said = line("audit", "--verify", status=1)
    assert "board-0001" in said and "do not fit" in said
    assert len(json.loads(line("audit", "--verify", "--json", status=1).partition("causeway")[0])) >= 1
    line("audit", "--what", "nonsense", status=2)
    line("audit", "--against", "head", status=2)


def test_a_backup_comes_back_only_with_its_key_and_into_an_empty_place(line, tmp_path):
    said = line("backup", "copy.db")
    assert "factory.db.key" in said and "key is not in it" in said
    assert "copy.db" in line("backup", "copy.db", status=1)
    assert "is there; stop the servers" in line("restore", "copy.db", status=1)
    (tmp_path / "new").mkdir()
    assert "there is no key" in line("restore", "copy.db", db="new/factory.db", status=1)
    line("import", "batch.csv", "--batch", "x", db="other.db")
    shutil.copy(tmp_path / "other.db.key", tmp_path / "new" / "factory.db.key")
    assert "name the key file that belongs" in line("restore", "copy.db", db="new/factory.db", status=1)
    assert not (tmp_path / "new" / "factory.db").exists()
    shutil.copy(tmp_path / "factory.db.key", tmp_path / "new" / "factory.db.key")
    line("restore", "copy.db", db="new/factory.db")
    assert counts(line, db="new/factory.db") == counts(line)
    assert stat.S_IMODE((tmp_path / "new" / "factory.db").stat().st_mode) == 0o600
    bad = bytearray((tmp_path / "copy.db").read_bytes())
    bad[3 * 4096:9 * 4096] = bytes(6 * 4096)
    (tmp_path / "bad.db").write_bytes(bad)
    line("restore", "bad.db", "--key", tmp_path / "factory.db.key", db="new/again.db", status=1)
    assert not (tmp_path / "new" / "again.db").exists()
    line("restore", "nowhere.db", db="new/again.db", status=1)


# ---- devices in the field ----


def test_the_table_of_devices_in_the_field(factory, sheet, tmp_path):
    """covers: C16"""
    path = sheet("field.csv", "deviceId,productKey,deviceName,deviceSecret,iotId,registerTime",
                 [("AA00BB11", PK, "", "", "", ""), ("AA00BB12", PK, "dev-2", secret(2), "iot-2", "2026-11-20T08:00:00Z")])
    assert factory("devices", "import", path) == f"{path}: 2 devices, 2 new, 0 known\n"
    assert "0 new, 2 known" in factory("devices", "import", path)
    listed = {d["deviceId"]: d for d in json.loads(factory("devices", "list", "--json"))}
    assert listed["AA00BB11"]["registerTime"] is None and listed["AA00BB12"]["registerTime"].startswith("2026-11-20T08:00:00")
    assert secret(2) not in factory("devices", "list") + factory("devices", "list", "--json")
    factory("export", "--devices", "--out", "table.csv")
    with open(tmp_path / "table.csv", newline="") as f:
        table = list(csv.reader(f))
    assert table[0] == ["deviceId", "registerTime", "activateTime", "productKey", "deviceName", "deviceSecret", "iotId"]
    assert table[1] == ["AA00BB11", "", "", PK, "", "", ""]
    assert table[2][3:] == [PK, "dev-2", secret(2), "iot-2"] and table[2][1].startswith("2026-11-20T08:00:00")
    assert "2 new" in factory("devices", "import", "table.csv", db="other.db")
    factory("devices", "remove", "AA00BB11")
    assert [d["deviceId"] for d in json.loads(factory("devices", "list", "--json"))] == ["AA00BB12"]
    factory("devices", "remove", "AA00BB11", status=1)
    wrong = sheet("wrong.csv", "deviceId,registerTime", [("x" * 200, ""), ("ok", "soon")])
    said = factory("devices", "import", wrong, "--product", PK, status=1)
    assert "wrong.csv:2: deviceId: is too long" in said and "wrong.csv:3: registerTime" in said and "nothing was imported" in said
    assert "is none of" in factory("devices", "import", sheet("w.csv", "deviceId,productkey,colour", []), status=1)


# ---- beside a server, and with another database ----


class Line:
    """A station's view of a running server."""

    def __init__(self, process):
        self.url = f"http://{process.ready['line'][0]}"

    def ask(self, action, device_id, pk=PK):
        body = json.dumps({"ProductKey": pk, "DeviceID": device_id, "Action": action}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url, body), timeout=PATIENCE) as reply:
            return json.loads(reply.read())


def crc(*parts):
    return f"{zlib.crc32(''.join(parts).encode()):08X}"


def test_what_is_done_beside_a_running_server_counts_at_once(factory, sheet, spawn, tmp_path):
    """covers: B26 B28 B29 B31"""
    factory("import", sheet(count=3), "--batch", "line-7")
    server = Line(spawn("causeway-factory", "--db", tmp_path / "factory.db", "--listen", "127.0.0.1:0", "--office", "127.0.0.1:0", dir=tmp_path))
    got = server.ask(0, "SN01")
    assert (got["Status"], got["ProductSecret"]) == ("OK", PS)
    name, ds = got["DeviceName"], got["DeviceSecret"]
    assert got["CRC32"] == crc(PK, name, ds, PS)
    assert re.search(rf"{name} +{PK} +line-7 +Allocated +SN01", factory("query", "--device-id", "SN01"))
    assert server.ask(1, "SN01")["Status"] == "OK"
    assert re.search(r"^Status +Written$", factory("show", name), re.M)
    assert counts(factory)[PK] == {"free": 2, "allocated": 0, "written": 1, "void": 0}
    factory("product", "set", PK, "--bluetooth", "--product-id", "4711")
    assert server.ask(0, "SN01")["CRC32"] == crc(PK, name, ds, PS, "4711")
    factory("batch", "close", "line-7")
    assert (server.ask(0, "SN01")["Status"], server.ask(0, "SN02")["Status"]) == ("OK", "BATCH_CLOSED")
    assert server.ask(0, "SN01", PK2)["Status"] == "UNKNOWN_PRODUCT"
    ps2 = "0123456789abcdef"
    factory("import", sheet("two.csv", "DeviceName,DeviceSecret", [("x1", secret(1))]), "--batch", "b", "--product", PK2, "--product-secret", ps2,
            "--bluetooth", "--product-id", "4711", "--crc-order", "prose")
    assert server.ask(0, "SN01", PK2)["CRC32"] == crc(PK2, ps2, "x1", secret(1), "4711")
    factory("void", PK2, "x1", "--reason", "chip broken")
    assert server.ask(0, "SN01", PK2)["Status"] == "OUT_OF_STOCK"
    factory("backup", "copy.db")
    factory("export", "--out", "out.csv")
    assert "all as they were written" in factory("audit", "--verify")
    assert json.loads(factory("stats", "--json"))["figures"]["writtenHour"] == 1


def test_the_verbs_work_on_postgresql(factory, sheet, tmp_path, postgres):
    """covers: B24 B27 B28 B29 C16"""
    key = ["--key", tmp_path / "pg.key"]
    env = {"CAUSEWAY_FACTORY_DB": postgres}

    def run(*args, **more):
        return factory(*args, *key, db=None, env=env, **more)
    path = sheet(head=BOARDS, rows=[("board-0001", secret(1), PK, PS, "SN01", "Written"), ("board-0002", secret(2), PK, PS, "SN02", "Allocated"),
                                    *((f"board-{i:04}", secret(i), PK, PS, "", "") for i in range(3, 3000))])
    assert "2999 rows read, 2999 new" in run("import", path, "--batch", "b", "--lease", "24h")
    assert "0 new, 2999 known" in run("import", path, "--batch", "b")
    wrong = sheet("wrong.csv", rows=[("board-0001", secret(5), PK, PS), ("new-1", secret(6), PK, PS)])
    assert "1 of 2 rows are refused" in run("import", wrong, "--batch", "b", status=1)
    assert "Written" in run("show", "SN01")
    run("void", PK, "board-0003", "--reason", "x")
    assert [r["deviceName"] for r in json.loads(run("reclaim", "--older", "0s", "--yes", "--json"))] == ["board-0002"]
    assert json.loads(run("stock", "--json"))[0]["count"] == {"free": 2997, "allocated": 0, "written": 1, "void": 1}
    run("batch", "close", "b")
    run("export", "--out", "pg.csv", "--status", "written")
    assert "SN01" in (tmp_path / "pg.csv").read_text()
    assert "1 new" in run("devices", "import", sheet("f.csv", "deviceId,productKey", [("AA", PK)]))
    assert "AA" in run("devices", "list")
    assert "all as they were written" in run("audit", "--verify")
    run("stats")
    run("backup", "copy.db", status=1)
    run("restore", "pg.csv", status=1)


# ---- the command line ----


def test_where_the_database_is(factory, sheet, tmp_path):
    path = sheet(count=1)
    assert "there is no such database" in factory("batches", status=1)
    assert "nowhere.csv: No such file" in factory("import", "nowhere.csv", "--batch", "b", status=1)
    assert not (tmp_path / "factory.db").exists()
    factory("import", path, "--batch", "b", db=None, env={"CAUSEWAY_FACTORY_DB": str(tmp_path / "env.db")})
    assert (tmp_path / "env.db").exists()
    factory("import", path, "--batch", "b", db=None)
    assert (tmp_path / "factory.db").exists()
    (tmp_path / "f.conf").write_text(f'db = "{tmp_path}/conf.db"\nkeyFile = "{tmp_path}/conf.key"\nnode = first\n')
    factory("import", path, "--batch", "b", "-c", "f.conf", db=None, env={"CAUSEWAY_FACTORY_DB": "other.db"})
    assert (tmp_path / "conf.db").exists() and (tmp_path / "conf.key").exists() and not (tmp_path / "other.db").exists()
    assert factory("audit", "--head", "--config", "f.conf", db=None).startswith("first 1 ")
    factory("batches", "-c", "nowhere.conf", db=None, status=1)
    assert "PASSWORD" not in factory("batches", db=None, env={"CAUSEWAY_FACTORY_DB": "postgresql://me:PASSWORD@127.0.0.1:1/x"}, status=1)


def test_wrong_command_lines_are_told(factory):
    for words in ([], ["nonsense"], ["import"], ["import", "x.csv"], ["query", "--db"], ["void", PK], ["devices"], ["devices", "burn"], ["devices", "remove"],
                  ["product", "set", PK], ["product", "show", PK, "--bluetooth"], ["import", "x.csv", "--batch", "b" * 65],
                  ["import", "x.csv", "--batch", "b", "--crc32", "roman"], ["import", "x.csv", "--batch", "b", "--encoding", "ebcdic"], ["backup"], ["restore"]):
        said = factory(*words, status=2, db=None)
        assert "usage:" in said or "--help" in said
    assert factory("query", "--nosuch", status=2, db=None).startswith("causeway factory query: ")
    for verb in ("import", "batches", "batch", "product", "stock", "stats", "query", "show", "void", "reclaim", "export", "audit", "devices", "backup", "restore"):
        assert factory(verb, "--help", db=None).startswith(f"usage: causeway factory {verb}")
    assert "causeway factory VERB" in factory("--help", db=None)
