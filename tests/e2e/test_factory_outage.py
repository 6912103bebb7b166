"""The stock is not there: a disk that is full, a file that is taken away, a PostgreSQL that stops. Nothing is given twice, nothing lost."""
import os
import resource
import shutil
import sqlite3
import threading

from conftest import wait_until
from factory_world import PK, certificates, factory, import_rows, start_factory  # noqa: F401  pylint: disable=unused-import
from postgres import shaky_postgres  # noqa: F401  pylint: disable=unused-import


def busy(reply):
    got = reply.json
    assert list(got) == ["ProductKey", "DeviceID", "Status", "Message"]
    assert (reply.status, got["Status"]) == (503, "BUSY") and int(reply.headers["Retry-After"]) > 0, reply
    return got["Message"]


def back(f, board):
    """The answer for `board` once it is no longer BUSY."""
    return wait_until(lambda: (reply := f.ask(board)).status == 200 and reply, "the storage's return")


def test_a_full_disk(start_factory):
    f = start_factory(1000, conf="leaseCheck = 100ms\n")
    name = f.ask("SN01")["DeviceName"]
    pid = f.process.popen.pid
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))  # the log is shorter, a commit is not
    for board in ("SN02", "SN01X", None):
        assert "nothing was allocated" in busy(f.ask(board))
    busy(f.report("SN01"))
    status, health = f.health()
    assert status == 503 and health["status"] == "failing" and health["reasons"], health
    assert f.metric("up") == 0
    assert "factory.database_down" in f.process.stderr()
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert back(f, "SN02")["DeviceName"] != name
    assert f.ask("SN01")["DeviceName"] == name and f.report("SN01")["Status"] == "OK"
    assert {row["deviceId"]: row["state"] for row in f.rows() if row["deviceId"]} == {"SN01": "written", "SN02": "allocated"}
    wait_until(lambda: f.health()[0] == 200, "health")
    assert f.process.stderr().count("factory.database_down") == 1 and f.process.stderr().count("factory.database_up") == 1


def test_a_file_that_is_replaced(start_factory, tmp_path):
    """Commits to a file that has no name any more would be lost; another file in its place knows of no board."""
    f = start_factory(100)
    name = f.ask("SN01")["DeviceName"]
    os.rename(f.db, tmp_path / "away.db")
    assert busy(f.ask("SN02"))
    assert not os.path.exists(f.db), "a new stock was made in its place"
    import_rows(tmp_path / "new.db", certificates(5), "new")
    shutil.copy(tmp_path / "new.db", f.db)
    busy(f.ask("SN02"))
    status, health = f.health()
    assert status == 503 and "replaced" in health["reasons"][0]
    os.rename(tmp_path / "away.db", f.db)
    assert back(f, "SN02")["DeviceName"] != name and f.ask("SN01")["DeviceName"] == name


def test_low_stock_is_said_once(start_factory):
    f = start_factory(certificates(10), conf="leaseCheck = 100ms\nlow = 8\n")

    def lines(what):
        return f.process.stderr().count(f"factory.{what} ")

    for i in range(3):
        f.ask(f"SN{i}")
    wait_until(lambda: lines("low") == 1, "the warning")
    for i in range(3, 10):
        f.ask(f"SN{i}")
    wait_until(lambda: lines("empty") == 1, "the error")
    f.import_rows(certificates(50, first=100), "more")
    wait_until(lambda: lines("refilled") == 1, "the good news")
    for i in range(100, 145):
        f.ask(f"SN{i}")
    wait_until(lambda: lines("low") == 2, "the second warning")
    assert (lines("low"), lines("empty"), lines("refilled")) == (2, 1, 1)
    free = {name: value for name, value in f.metrics().items() if name.startswith("causeway_factory_free{")}
    assert free == {f'causeway_factory_free{{product="{PK}",batch="lot"}}': 0, f'causeway_factory_free{{product="{PK}",batch="more"}}': 5}


def test_leases(start_factory):
    f = start_factory(certificates(3), conf="leaseCheck = 100ms\nlow = 0\n")
    f.tool("batch", "set", "lot", "--lease", "1ms", "--lease-of", "anonymous")
    f.ask()
    named = f.ask("SN01")["DeviceName"]
    wait_until(lambda: f.metric("reclaimed_total") == 1, "the lease's end")
    assert [row["deviceName"] for row in f.rows("--status", "allocated")] == [named]
    assert "factory.reclaimed" in f.process.stderr()


def test_postgres_that_stops(start_factory, shaky_postgres, tmp_path):
    url, key = shaky_postgres.url(), tmp_path / "line.key"
    f = start_factory(certificates(500), db=url, key=key, conf="wait = 1s\nleaseCheck = 100ms\n")
    told = {f"SN{i}": f.ask(f"SN{i}")["DeviceName"] for i in range(20)}
    stop, lock = threading.Event(), threading.Lock()

    def burn(i):
        k = 0
        while not stop.is_set():
            reply = f.ask(f"B{i}-{k}")
            if reply.status == 200:
                assert reply["Status"] == "OK"
                with lock:
                    told[f"B{i}-{k}"] = reply["DeviceName"]
                k += 1
            else:
                busy(reply)
            if k == 20:
                return

    threads = [threading.Thread(target=burn, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    shaky_postgres.kill()
    wait_until(lambda: f.metric("up") == 0, "the outage")
    wait_until(lambda: f.health()[0] == 503, "health")
    shaky_postgres.start()
    for thread in threads:
        thread.join()
    stop.set()
    assert len(told) == 20 + 8 * 20 and len(set(told.values())) == len(told), "a certificate was given to two boards"
    rows = {row["deviceId"]: row["deviceName"] for row in f.rows() if row["deviceId"]}
    assert rows == told
    wait_until(lambda: f.health()[0] == 200, "health")


def test_a_postgres_that_comes_later(start_factory, shaky_postgres, tmp_path):
    url, key = shaky_postgres.url(), tmp_path / "line.key"
    import_rows(url, certificates(10), key=key)
    shaky_postgres.stop()
    f = start_factory(db=url, key=key, conf="wait = 1s\nleaseCheck = 100ms\n")
    busy(f.ask("SN01"))
    shaky_postgres.start()
    assert back(f, "SN01")["Status"] == "OK"


def test_two_servers_share_one_stock(start_factory, shaky_postgres, tmp_path):
    from factory_world import together  # pylint: disable=import-outside-toplevel

    url, key = shaky_postgres.url(), tmp_path / "line.key"
    first = start_factory(certificates(400), db=url, key=key, conf="node = first\n", name="first")
    second = start_factory(db=url, key=key, conf="node = second\n", name="second")

    def burn(i):
        f = (first, second)[i % 2]
        station = f.station()
        return [(board, station.ask(board)["DeviceName"]) for board in [f"SN{i}-{k}" for k in range(20)] + [f"SHARED{k}" for k in range(20)]]

    answers = sum(together(16, burn), [])
    told = {}
    for board, name in answers:
        assert told.setdefault(board, name) == name, "one board got two certificates"
    assert len(set(told.values())) == len(told) == 16 * 20 + 20
    assert first.tool("audit", "--verify").returncode == 0


def test_health_is_back_with_the_first_commit(start_factory, shaky_postgres, tmp_path):
    """Not only when the database is next asked whether it is there, seconds later."""
    f = start_factory(certificates(5), db=shaky_postgres.url(), key=tmp_path / "line.key", conf="wait = 1s\n")
    shaky_postgres.kill()
    wait_until(lambda: any("was asked whether it is there" in reason for reason in f.health()[1]["reasons"]), "a look at the database")
    shaky_postgres.start()
    back(f, "SN01")
    assert f.health()[0] == 200, f.health()


def test_a_chain_that_was_edited_is_said_at_the_start(start_factory, tmp_path):
    """covers: C14"""
    import_rows(tmp_path / "edited.db", certificates(5))
    with sqlite3.connect(tmp_path / "edited.db") as db:
        assert db.execute("UPDATE chain SET number = number + 1").rowcount == 1
    db.close()
    f = start_factory(None, db=tmp_path / "edited.db")
    assert "audit --verify" in f.process.stderr() and "stations are served" not in f.process.stderr()
    status, health = f.health()
    assert status == 503 and "put a backup in place" in health["reasons"][0]
    busy(f.ask("SN01"))
