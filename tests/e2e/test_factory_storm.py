"""The production line's servers die at random moments, and their database does: what stations were told stays true.

`./dev check storm` kills a hundred times (CW_CHAOS_KILLS, a quarter of that where more goes on at the same time; CW_CHAOS_SEEDS, a
list); the suite a few. A run is told by its seed, but
no two are alike.
covers: B07 B16 B17 C07
"""
import contextlib
import os
import random
import resource
import sqlite3
import subprocess
import threading

import pytest

from conftest import BUILD, wait_until
from factory_world import PK, PS, certificates, csv_text, run_tool, start_factory  # noqa: F401  pylint: disable=unused-import
from line_storm import Line
from postgres import shaky_postgres  # noqa: F401  pylint: disable=unused-import

KILLS = int(os.environ.get("CW_CHAOS_KILLS", "4"))
SEEDS = [int(s) for s in os.environ.get("CW_CHAOS_SEEDS", "1").split(",")] if "CW_CHAOS_KILLS" in os.environ else [1]
ORDERED, ACCESS = "a1OrdProd01", ("EmuAccessKeyId01", "EmuAccessKeySecret0123456789AB")
SOME = max(4, KILLS // 4)
STOCK = 1500 + 500 * KILLS
pytestmark = pytest.mark.parametrize("seed", SEEDS)


class Storm:
    """Servers on one stock, and stations that use them."""

    def __init__(self, servers, rows, seed, **line):
        self.servers, self.rows, self.rng = servers, rows, random.Random(seed)
        self.addresses = [server.line for server in servers]
        self.line = Line(lambda: self.addresses, seed, **line)
        self.pause = threading.Event()

    def somewhere(self, most=0.25):
        """A random moment; now and then not before it was seen that stations are served again."""
        before = self.line.answers
        if self.rng.random() < 0.7:
            wait_until(lambda: self.line.answers > before + 20 or self.line.wrong, "answers")
        self.pause.wait(self.rng.uniform(0, most))

    def kill_server(self):
        server = self.rng.choice(self.servers)
        server.kill()
        self.line.check(self.rows)
        server.start()

    def end(self, loaded=None):
        """All is checked; `loaded`: how many certificates there are."""
        before = self.line.answers
        wait_until(lambda: self.line.answers > before + 100 or self.line.wrong, "answers")
        self.line.stop()
        server = self.servers[0]
        server.tool("batch", "set", "lot", "--lease", "none")  # from here on nothing changes
        self.line.check(self.rows)
        rows = self.rows()
        assert len({name for _, name, _ in rows}) == len(rows)
        assert loaded is None or len(rows) == loaded
        shown = server.rows("--product", PK)
        for state, word in enumerate(("free", "allocated", "written", "void")):
            assert sum(r["state"] == word for r in shown) == sum(s == state for _, _, s in rows)
        audit = server.tool("audit", "--verify", check=False)
        assert audit.returncode == 0, audit.stdout
        assert len(self.line.told) > 100 and len(self.line.acknowledged) > 50
        for server in self.servers:  # of those that were killed nobody else looks
            assert "Sanitizer" not in server.process.stderr(), server.process.stderr()[-8000:]


@contextlib.contextmanager
def storm(servers, rows, seed, **line):
    made = Storm(servers, rows, seed, **line)
    try:
        yield made
    finally:
        made.line.stop()


def sqlite_rows(path):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        return db.execute("SELECT device_id, device_name, state FROM cert WHERE product_key = ?", (PK,)).fetchall()


def postgres_rows(cluster):
    text = cluster.sql(f"SELECT COALESCE(device_id, ''), device_name, state FROM cert WHERE product_key = '{PK}'")
    return [(board or None, name, int(state)) for board, name, state in (line.split("|") for line in text.splitlines())]


def test_server_killed(start_factory, seed):
    f = start_factory(certificates(STOCK))
    with storm([f], lambda: sqlite_rows(f.db), seed) as s:
        for n in range(KILLS):
            s.somewhere()
            s.kill_server()
            if n % 20 == 19:
                audit = f.tool("audit", "--verify", check=False)
                assert audit.returncode == 0, audit.stdout
        s.end(STOCK)


class Office(threading.Thread):
    """What operators do while all this happens; imports are killed, too."""

    WORK = ["bring", "bring_and_die", "save", "take_back", "order"]

    def __init__(self, f, line, folder, seed, start_cloud):
        super().__init__()
        self.f, self.line, self.folder, self.rng = f, line, folder, random.Random(seed)
        self.start_cloud, self.cloud, self.ordered = start_cloud, None, 0
        self.loaded, self.done, self.wrong, self.stopping = 0, [], [], threading.Event()

    def run(self):
        try:
            while not self.stopping.is_set():
                name = self.WORK[len(self.done)] if len(self.done) < len(self.WORK) else self.rng.choice(self.WORK)
                getattr(self, name)()
                self.done.append(name)
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(repr(error))

    def _file(self, count):
        rows = certificates(count, prefix=f"lot{len(self.done)}-")
        path = self.folder / "lot.csv"
        path.write_text(csv_text(rows))
        return path

    def bring(self):
        run_tool(self.f.db, "import", self._file(50), "--batch", f"more{len(self.done)}", "--product-secret", PS)
        self.loaded += 50

    def bring_and_die(self):
        command = [BUILD / "bin" / "causeway", "factory", "import", self._file(3000), "--batch", f"more{len(self.done)}", "--product-secret", PS,
                   "--db", self.f.db]
        with subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as tool:
            with contextlib.suppress(subprocess.TimeoutExpired):
                tool.wait(self.rng.uniform(0, 0.1))
            tool.kill()
            tool.wait()

    def save(self):
        told = dict(self.line.told)
        path = self.folder / f"backup{len(self.done)}.db"
        self.f.tool("backup", path)
        with contextlib.closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        saved = {board: name for board, name, _ in sqlite_rows(path)}
        assert told.items() <= saved.items(), "a backup lacks what stations were told before it"
        path.unlink()

    def take_back(self):
        done = self.f.tool("reclaim", "--older", "1h", "--yes", check=False)  # nothing is as old
        assert done.returncode in (0, 1), done.stderr

    def order(self):
        if self.cloud is None:
            self.cloud = self.start_cloud()
            self.cloud.add_product(ORDERED)
            for name, secret in (("ps", PS), ("access", ACCESS[1])):
                (self.folder / name).write_text(secret + "\n")
        self.f.tool("order", "--product", ORDERED, "--count", "20", "--batch", "ordered", "--product-secret", f"file:{self.folder}/ps", "--endpoint",
                    "https://" + self.cloud.process.ready["https"], "--access-key", ACCESS[0], "--access-secret", f"file:{self.folder}/access",
                    "--ca", self.cloud.ca)
        self.ordered += 20

    def end(self):
        self.stopping.set()
        self.join()
        assert not self.wrong, self.wrong


def test_server_killed_while_the_office_works(start_factory, start_cloud, tmp_path, seed):
    f = start_factory(certificates(STOCK))
    with storm([f], lambda: sqlite_rows(f.db), seed) as s:
        office = Office(f, s.line, tmp_path, seed, start_cloud)
        office.start()
        try:
            for _ in range(SOME):
                s.somewhere()
                s.kill_server()
            wait_until(lambda: office.wrong or len(office.done) > len(office.WORK), "the office's work")
        finally:
            office.end()
        s.end()
        names = {name for _, name, _ in s.rows()}
        assert len(names) >= STOCK + office.loaded
        assert len(f.rows("--product", ORDERED)) == office.ordered > 0


def test_server_killed_while_leases_end(start_factory, seed):
    """What was reported stays; everything else comes back."""
    f = start_factory(certificates(400 + 100 * SOME), conf="leaseCheck = 100ms\nlow = 0\n")
    f.tool("batch", "set", "lot", "--lease", "150ms", "--lease-of", "all")
    with storm([f], lambda: sqlite_rows(f.db), seed, leases=True) as s:
        for _ in range(SOME):
            s.somewhere()
            s.kill_server()
        s.end(400 + 100 * SOME)


def test_disk_full_and_server_killed(start_factory, seed):
    f = start_factory(certificates(STOCK), conf="leaseCheck = 100ms\n")

    def disk(room):
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(f.process.popen.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    with storm([f], lambda: sqlite_rows(f.db), seed) as s:
        for n in range(SOME):
            s.somewhere()
            disk(s.rng.randrange(4096, 1 << 19))
            s.pause.wait(s.rng.uniform(0, 0.2))
            if n % 2:
                s.kill_server()  # with the disk full; the next process has room
            else:
                disk(resource.RLIM_INFINITY)
            s.line.check(s.rows)
        s.end(STOCK)


@pytest.mark.parametrize("servers", [1, 2])
def test_servers_and_postgres_killed(start_factory, shaky_postgres, tmp_path, servers, seed):
    url, key = shaky_postgres.url(), tmp_path / "line.key"
    conf = "wait = 2s\nleaseCheck = 100ms\n"
    made = [start_factory(certificates(STOCK) if i == 0 else None, db=url, key=key, conf=f"node = n{i}\n" + conf, name=f"server{i}")
            for i in range(servers)]
    with storm(made, lambda: postgres_rows(shaky_postgres), seed) as s:
        for n in range(SOME):
            s.somewhere()
            if n % 3 == 2:
                shaky_postgres.kill()
                s.pause.wait(s.rng.uniform(0, 0.2))
                shaky_postgres.start()
                s.line.check(s.rows)
            else:
                s.kill_server()
        s.end(STOCK)
