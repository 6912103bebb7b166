"""The part of ./dev bench that asks causeway-factory for certificates, beside what it stands on: bare SQLite, bare libmicrohttpd."""
import contextlib
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request

PK = "a1BenchPk01"
PS = "PSfedcba9876543210fedcba98765432"
STATIONS = (1, 50, 500)
FREE = 30000           # certificates that both stocks of the comparison have free; rounds take less
TURN = 4000            # requests of one turn of the comparison, each second one a report
TURNS = 9
LARGE = 1000000
SCRAPES = 200
COUNTED = 200, 600     # requests under callgrind: the difference is that of 400


class Line:
    """Mixed into Bench. `large` may be set smaller, for tests of the bench itself."""
    large, stations = LARGE, STATIONS

    def factory(self):
        """Allocations a second of causeway-factory with stations that keep their connections, each answered when it is on the disk; bare
        SQLite and bare libmicrohttpd in the same run."""
        self.line_dir = self.dir / "factory"
        self.line_dir.mkdir()
        half = self.line_rates()
        self.line_latency(half)
        self.line_tls()
        self.line_memory()
        self.line_postgres()
        self.line_large()

    # ---- programs ----

    def make_sheet(self, name, count, used=0, first=0):
        """`used` of them are with a board already and written."""
        path = self.line_dir / f"{name}.csv"
        with open(path, "w", encoding="ascii") as out:
            out.write("DeviceName,DeviceSecret,ProductKey,DeviceID,Status\n")
            for i in range(first, first + count):
                out.write(f"dev-{i:08},{i:032x},{PK},{f'used-{i:08},written' if i < first + used else ','}\n")
        return path

    def run_line_tool(self, *args):
        done = subprocess.run([str(a) for a in (self.build / "bin" / "causeway", "factory", *args)], capture_output=True, text=True)
        if done.returncode != 0:
            raise self.Failed(f"causeway factory {args[0]}: {done.stderr}")
        return done.stdout

    def make_stock(self, name, count, used=0, db=None):
        """A database with so many certificates: where it is, and how long the import took."""
        where = [db, "--key", self.line_dir / f"{name}.key"] if db else [self.line_dir / f"{name}.db"]
        sheet = self.make_sheet(name, count, used)
        began = time.monotonic()
        self.run_line_tool("import", sheet, "--batch", name, "--product-secret", PS, "--db", *where)
        took = time.monotonic() - began
        sheet.unlink()
        return where, took

    @contextlib.contextmanager
    def line_server(self, where, conf="", name="causeway-factory"):
        import conftest
        place = self.line_dir / f"run-{time.monotonic_ns()}"
        place.mkdir()
        file = place / "factory.conf"
        file.write_text((conf or 'line = [ { listen = "127.0.0.1:0" } ]') + '\noffice = [ { listen = "127.0.0.1:0" } ]\nlog { level = warn }\n')
        args = ["--db", where[0], *where[1:], "-c", file]
        process = conftest.Process("causeway-factory", *args, dir=place, name=name).start()
        try:
            process.pid = process.popen.pid
            process.ports = [int(a.rsplit(":", 1)[1]) for a in process.ready["line"]]
            process.office = "http://" + process.ready["office"][0]
            yield process
            if " ERROR " in process.stderr():
                raise self.Failed("the server logged errors: " + process.stderr())
        finally:
            process.stop()

    def burn(self, port, *args, pid=0):
        """What the stations reached. Boards of each run have names of their own."""
        self.burned = getattr(self, "burned", 0) + 1
        argv = [self.tools / "bench_stations", "--to", port, "--product", PK, "--boards", f"b{self.burned}", "--pid", pid, *args]
        done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise self.Failed(f"bench_stations: {done.stderr}")
        return json.loads(done.stdout)

    def bare_commits(self, rows):
        file = self.line_dir / f"bare-{time.monotonic_ns()}.db"
        return self.tool("bench_factory", "commits", file, rows, self.seconds / 2)

    @staticmethod
    def line_counts(server):
        """(transactions, requests in them)"""
        text = Line.office_get(server, "/metrics").decode()
        return [float(re.search(rf"^causeway_factory_{name}_total (\S+)$", text, re.M).group(1)) for name in ("commits", "committed")]

    @staticmethod
    def middle(runs, of):
        return statistics.median(r[of] for r in runs)

    # ---- how many ----

    def line_rates(self):
        """With 1, 50 and 500 stations. What the most of them reach with ask and report."""
        where, _ = self.make_stock("rates", max(int(self.seconds * 150000), 3000))
        with self.line_server(where) as server, self.running([self.tools / "bench_factory", "http", 250]) as (http, http_pid):
            for stations in self.stations:
                result = self.line_turns(server, http, http_pid, stations)
                self.add_line_rows(stations, *result)
        return result[0]["both"]["per_second"]

    def line_turns(self, server, http, http_pid, stations):
        """Three turns of each, so that what else the machine does hits all alike; medians."""
        runs = {"both": [], "ask": [], "again": [], "http": [], "commits": [], "one": []}
        args = ["--stations", stations, "--seconds", self.seconds]
        before = self.line_counts(server)
        for _ in range(3):
            for mode in ("both", "ask", "again"):
                at = self.line_counts(server)
                runs[mode].append(self.burn(server.ports[0], *args, "--mode", mode, pid=server.pid))
                if mode == "ask":
                    commits, requests = (b - a for a, b in zip(at, self.line_counts(server)))
                    runs["commits"].append(self.bare_commits(max(round(requests / commits), 1)))
            runs["one"].append(self.bare_commits(1))
            runs["http"].append(self.burn(http, *args, "--mode", "again", pid=http_pid))
        commits, requests = (b - a for a, b in zip(before, self.line_counts(server)))
        figures = {name: {of: self.middle(r, of) for of in r[0]} for name, r in runs.items()}
        return figures, requests / commits

    def add_line_rows(self, stations, got, group):
        says = f"{stations} station{'s' if stations > 1 else ''}"
        bar = {"bar": ">= 2,000/s", "least": 2000} if stations >= 100 else {}
        self.add(f"factory, {says}: asked and reported in turn; bare libmicrohttpd answers a constant", got["both"]["per_second"], "/s",
                 got["http"]["per_second"], **bar)
        self.add(f"  new certificates only; bare SQLite, {'one row' if group < 1.5 else 'as many rows'} a commit", got["ask"]["per_second"], "/s",
                 got["commits"]["per_second"])
        self.add("  against bare SQLite, one row a commit", got["ask"]["per_second"], "/s", got["one"]["per_second"])
        self.add("  boards that ask again", got["again"]["per_second"], "/s", got["http"]["per_second"])
        self.add("  requests that shared a commit", group, "")
        self.add("  CPU a request; bare libmicrohttpd and a row of SQLite together", got["both"]["cpu_us"], "us",
                 got["http"]["cpu_us"] + got["commits"]["cpu_us"])

    def line_latency(self, full):
        """At half of what was reached, for 50 stations and more; from when a request was due to its answer."""
        where, _ = self.make_stock("latency", max(int(full * self.seconds), 3000))
        many = self.stations[-1]
        with self.line_server(where) as server:
            got = self.burn(server.ports[0], "--stations", many, "--seconds", self.seconds, "--rate", max(full / 2, 10), pid=server.pid)
        self.add(f"factory, {many} stations at half load ({got['per_second']:,.0f} a second): from due to answered, half of them below",
                 got["p50_us"] / 1000, "ms")
        self.add("  99 of 100 below", got["p99_us"] / 1000, "ms")

    def line_tls(self):
        import factory_world
        where, _ = self.make_stock("tls", max(int(self.seconds * 60000), 3000))
        certificate, key = factory_world.Authority(self.line_dir).issue("localhost")
        conf = ('line = [ { listen = "127.0.0.1:0" }, { listen = "127.0.0.1:0", tls { certificate = "%s", key = "%s" } } ]' % (certificate, key))
        many = self.stations[-1]
        runs = {0: [], 1: []}
        with self.line_server(where, conf) as server:
            for _ in range(3):
                for tls, into in runs.items():
                    into.append(self.burn(server.ports[tls], "--stations", many, "--seconds", self.seconds, *(["--tls"] if tls else []), pid=server.pid))
        self.add(f"factory, {many} stations over HTTPS; over HTTP", self.middle(runs[1], "per_second"), "/s", self.middle(runs[0], "per_second"))
        self.add("  CPU a request", self.middle(runs[1], "cpu_us"), "us", self.middle(runs[0], "cpu_us"))

    def line_memory(self):
        where, _ = self.make_stock("memory", 3000)
        many = self.stations[-1]
        with self.line_server(where) as server:
            self.burn(server.ports[0], "--requests", 100)
            before = self.rss(server.pid)
            argv = [self.tools / "bench_stations", "--to", server.ports[0], "--product", PK, "--stations", many, "--requests", 2 * many, "--hold"]
            p = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                json.loads(p.stdout.readline())
                held = self.rss(server.pid)
            finally:
                p.stdin.close()
                p.wait()
                p.stdout.close()
        self.add(f"factory: resident memory with {many} stations connected", held / 1048576, "MiB")
        self.add("  a station", max(0, held - before) / 1024 / many, "KiB")

    def line_postgres(self):
        """A cluster of its own that writes as a real one does; its processes' CPU is not in the figure."""
        from private_postgres import Cluster
        with Cluster(fsync="on", full_page_writes="on", autovacuum="on", shared_buffers="128MB") as cluster:
            where, _ = self.make_stock("postgres", max(int(self.seconds * 30000), 3000), db=cluster.database("line"))
            with self.line_server(where) as server:
                for stations in self.stations:
                    runs = [self.burn(server.ports[0], "--stations", stations, "--seconds", self.seconds, pid=server.pid) for _ in range(3)]
                    self.add(f"factory on PostgreSQL, {stations} station{'s' if stations > 1 else ''}: asked and reported in turn",
                             self.middle(runs, "per_second"), "/s")
                    self.add("  CPU a request, without PostgreSQL's", self.middle(runs, "cpu_us"), "us")

    # ---- a million ----

    def line_large(self):
        """A stock of a million, of which 30,000 are free, beside one of 50,000 with as many: turn by turn, with 50 stations."""
        count, free = self.large, min(FREE, self.large // 2)
        small, _ = self.make_stock("small", min(50000, count // 2), min(50000, count // 2) - free if count > 50000 else 0)
        large, took = self.make_stock("large", count, count - free)
        self.add(f"factory: import of {count:,} certificates", count / took, "rows/s")
        with self.line_server(small, name="small") as a, self.line_server(large, name="large") as b:
            runs = {a: [], b: []}
            for _ in range(TURNS):
                for server, into in runs.items():
                    into.append(self.burn(server.ports[0], "--stations", min(50, self.stations[-1]), "--requests", min(TURN, free // TURNS // 2),
                                          pid=server.pid))
            rates, cpu = ([self.middle(runs[s], of) for s in (b, a)] for of in ("per_second", "cpu_us"))
            self.line_page(b)
        self.add(f"factory, {count:,} certificates in stock; 50,000", rates[0], "/s", rates[1], bar="x0.8", least=0.8)
        self.add("  CPU a request", cpu[0], "us", cpu[1], bar="x1.2 at most", most=1.2)
        counted = [self.line_instructions(where) for where in (large, small)]
        self.add("  instructions of the stock for a request, one station (callgrind)", counted[0], "", counted[1], bar="x1.2 at most", most=1.2)
        self.line_audit()

    def line_page(self, server):
        """The page's figures; all that is burned was burned within the hour, so that nothing is spared. Then what a scrape of the metrics costs."""
        cpu, began = self.cpu_s(server.pid), time.monotonic()
        while "figures" not in json.loads(self.office_get(server, "/api/v1/line")):
            time.sleep(0.1)
        took = time.monotonic() - began
        self.add(f"factory, {self.large:,} certificates: the page's figures, which are given again for ten times as long as they took", took, "s")
        self.add("  CPU", self.cpu_s(server.pid) - cpu, "s")
        cpu = self.cpu_s(server.pid)
        for _ in range(SCRAPES):
            self.office_get(server, "/metrics")
        self.add("  CPU a scrape of the metrics", 1000 * (self.cpu_s(server.pid) - cpu) / SCRAPES, "ms", bar="<= 5 ms", most=5)

    @staticmethod
    def office_get(server, path):
        return urllib.request.urlopen(server.office + path, timeout=600).read()

    def line_instructions(self, where):
        return (self.count_line(where, COUNTED[1]) - self.count_line(where, COUNTED[0])) / (COUNTED[1] - COUNTED[0])

    def count_line(self, where, requests):
        done = subprocess.run([str(a) for a in ("valgrind", "--tool=callgrind", "--toggle-collect=cw_stock_serve",
                                                f"--callgrind-out-file={self.dir / 'callgrind'}", self.tools / "bench_factory", "fill", where[0],
                                                f"{where[0]}.key", PK, f"v{time.monotonic_ns()}", requests, 1)], capture_output=True, text=True)
        if done.returncode != 0:
            raise self.Failed(f"bench_factory fill: {done.stderr}")
        return int(re.search(r"Collected : (\d+)", done.stderr).group(1)) / 2

    def line_audit(self):
        """The stock without a network: half a million boards ask and report; then the log of all that is verified."""
        count = self.large // 2
        where, _ = self.make_stock("audit", count)
        got = self.tool("bench_factory", "fill", where[0], f"{where[0]}.key", PK, "fill", count, 500)
        self.add("factory: the stock without a network, 1,000 requests a commit", got["per_second"], "/s")
        self.add("  CPU a request", got["cpu_us"], "us")
        began = time.monotonic()
        said = self.run_line_tool("audit", "--verify", "--db", *where)
        took = time.monotonic() - began
        print("  " + said.strip().replace("\n", "\n  "), file=sys.stderr)
        self.add(f"factory: audit --verify of {2 * count:,} entries", took, "s")
        self.add("  entries a second", 2 * count / took, "/s")
