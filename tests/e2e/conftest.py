"""Fixtures of the end-to-end tests: real programs on real sockets, started and stopped here.

Programs come from $CW_BUILD_DIR/bin (default: build/bin of this tree). Each one gets a directory of its own,
says through a ready file where it listens, and must end by itself after SIGTERM: one that does
not, or that ends with an error, fails the test that started it. So does any process left behind.
"""
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CW_BUILD_DIR", ROOT / "build")).resolve()
PATIENCE = float(os.environ.get("CW_TEST_PATIENCE", "30"))  # seconds; only ever reached when something is broken

# What causewayd runs under, e.g. valgrind with its arguments; the other programs run as they are.
WRAPPER = shlex.split(os.environ.get("CW_TEST_WRAPPER", ""))


def pytest_configure(config):
    # Started in the background by a shell without job control, Python and what it starts would ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "slow: waits longer than ten seconds; runs only with CW_SLOW=1")


def pytest_collection_modifyitems(items):
    if os.environ.get("CW_SLOW") != "1":
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="set CW_SLOW=1 for tests that wait longer than ten seconds"))


def wait_until(condition, what="the condition", timeout=PATIENCE):
    """Poll until condition() is true and return what it gave. For states that announce themselves nowhere."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        pause.wait(0.01)


class Process:
    """One running program. Output goes to files in `dir`; `ready` is the content of its ready file."""

    def __init__(self, program, *args, dir, ready=True, env=None, name=None):
        self.name = name or pathlib.Path(program).name
        self.dir = pathlib.Path(dir)
        path = pathlib.Path(program)
        self.path = path if path.is_absolute() else BUILD / "bin" / program
        self.args = [str(a) for a in args]
        self.env = {**os.environ, **(env or {})}
        self.env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
        self.ready_file = self.dir / f"{self.name}.ready" if ready else None
        self.stdout_path = self.dir / f"{self.name}.out"
        self.stderr_path = self.dir / f"{self.name}.err"
        self.ready = {}
        self.started = False
        self.popen = None

    def start(self):
        """Once more after a stop it wants its ports back, which anybody's outgoing connection may hold for a while."""
        again, until = self.started, time.monotonic() + PATIENCE
        before = self.stderr_path.stat().st_size if self.stderr_path.exists() else 0
        self.started = True
        while True:
            try:
                return self._start()
            except AssertionError:
                said = self.stderr_path.read_bytes()[before:].decode(errors="replace")
                if not again or time.monotonic() > until or not re.search("address (already|is) in use", said):
                    raise
                time.sleep(0.2)

    def _start(self):
        argv = [*(WRAPPER if self.path.name == "causewayd" else []), str(self.path), *self.args]
        if self.ready_file is not None:
            self.ready_file.unlink(missing_ok=True)
            argv += ["--ready-file", str(self.ready_file)]
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.popen = subprocess.Popen(argv, stdout=out, stderr=err, env=self.env, cwd=self.dir)
        if self.ready_file is not None:
            try:
                wait_until(self._is_ready, f"readiness of {self.name}")
            except AssertionError:
                self.kill()
                raise AssertionError(f"{self.name} did not become ready:\n{self.stderr()}") from None
            self.ready = json.loads(self.ready_file.read_text())
        return self

    def _is_ready(self):
        if self.popen.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.popen.returncode}:\n{self.stderr()}")
        return self.ready_file.exists()

    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace") if self.stderr_path.exists() else ""

    def signal(self, number):
        self.popen.send_signal(number)

    def running(self):
        return self.popen is not None and self.popen.poll() is None

    def wait(self, timeout=PATIENCE):
        return self.popen.wait(timeout)

    def kill(self):
        """The hard way, for tests of crashes."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait(PATIENCE)
            self.popen = None

    def stop(self):
        """SIGTERM; the program must end by itself with status 0 and without a sanitizer's report."""
        if self.popen is None:
            return
        popen, self.popen = self.popen, None
        if popen.poll() is None:
            popen.send_signal(signal.SIGTERM)
        try:
            status = popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
            raise AssertionError(f"{self.name} did not stop after SIGTERM:\n{self.stderr()[-4000:]}") from None
        assert status == 0, f"{self.name} ended with {status}:\n{self.stderr()[-4000:]}"
        report = re.search(r"ERROR: \w+Sanitizer|runtime error:", self.stderr())
        assert report is None, self.stderr()[-8000:]

    def restart(self):
        self.stop()
        return self.start()


class Http:
    """A small JSON client for one base address."""

    def __init__(self, base):
        self.base = base

    def request(self, method, path, body=None, query=None, **more):
        """(status, decoded JSON or bytes). The query is query and more together; values of None are left out."""
        url = self.base + urllib.parse.quote(path)
        query = {k: v for k, v in {**(query or {}), **more}.items() if v is not None}
        if query:
            url += "?" + urllib.parse.urlencode(query)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        req = urllib.request.Request(url, data=data, method=method)
        try:
            with urllib.request.urlopen(req, timeout=PATIENCE) as answer:
                return answer.status, self._decode(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, self._decode(answer)

    @staticmethod
    def _decode(answer):
        data = answer.read()
        return json.loads(data) if "json" in (answer.headers.get("Content-Type") or "") else data

    def get(self, path, **query):
        status, body = self.request("GET", path, **query)
        assert status == 200, (path, status, body)
        return body

    def send(self, path, body=None, query=None, **more):
        """(status, answer) of a POST that sends something to a device. ONLINE comes before its gateway's subscriptions: as long as
        nothing was sent for want of these, it is asked again."""
        def ask():
            return self.request("POST", path, body if body is not None else b"", query, **more)

        status, answer = ask()
        if status == 409 and answer.get("result") == "unsubscribed":
            status, answer = wait_until(lambda: (a := ask())[1].get("result") != "unsubscribed" and a, f"{path} subscribed")
        return status, answer

    def post(self, path, body=None, expect=None, query=None, **more):
        if expect:
            status, answer = self.request("POST", path, body if body is not None else b"", query, **more)
        else:
            status, answer = self.send(path, body, query, **more)
        assert status == expect if expect else 200 <= status < 300, (path, status, answer)
        return answer

    def delete(self, path):
        status, answer = self.request("DELETE", path)
        assert status == 204, (path, status, answer)


class Cloud(Http):
    """A running causeway-cloud."""

    def __init__(self, process):
        super().__init__("")
        self.process = process
        self._read_ready()

    def _read_ready(self):
        self.base = "http://" + self.process.ready["api"] + "/api/v1"
        host, port = self.process.ready["mqtt"].rsplit(":", 1)
        self.mqtt = (host.strip("[]"), int(port))
        self.ca = self.process.ready.get("ca")

    def stop(self):
        """An outage. start() brings it back on the same addresses, with nothing remembered but its stock."""
        self.process.stop()

    def start(self):
        if "--mqtt" not in self.process.args:
            for name, address in self.process.ready.items():
                self.process.args += [f"--{name}", address] if name not in ("pid", "ca") else []
        self.process.start()
        self._read_ready()

    def restart(self):
        self.stop()
        self.start()

    def add_product(self, pk, node_type="device", **more):
        return self.post("/products", {"productKey": pk, "nodeType": node_type, **more})

    def add_device(self, pk, dn, secret=None):
        body = {"productKey": pk, "deviceName": dn}
        return self.post("/devices", body if secret is None else {**body, "deviceSecret": secret})

    def device(self, pk, dn):
        return self.get(f"/devices/{pk}/{dn}")

    def messages(self, **filters):
        return self.get("/messages", **filters)["messages"]

    def wait_message(self, **filters):
        """The first message that passes the filters."""
        return wait_until(lambda: self.messages(**filters), f"a message with {filters}")[0]

    def wait_status(self, pk, dn, status):
        wait_until(lambda: self.device(pk, dn)["status"] == status, f"{pk}/{dn} {status}")

    def stats(self):
        return self.get("/stats")

    def fault(self, kind, **more):
        return self.post("/faults", {"kind": kind, **more})


@pytest.fixture
def spawn(tmp_path):
    """spawn("causewayd", "-c", file) -> a started Process; all are stopped and checked at the end."""
    started = []

    def start(program, *args, **options):
        process = Process(program, *args, dir=options.pop("dir", tmp_path), **options).start()
        started.append(process)
        return process

    yield start
    problems = []
    for process in reversed(started):
        try:
            process.stop()
        except AssertionError as problem:
            problems.append(str(problem))
    assert not problems, "\n".join(problems)


@pytest.fixture(autouse=True)
def no_process_left():
    """Fails a test that leaves a child of ours behind (zombies included)."""
    before = set(children())
    yield
    left = set(children()) - before
    assert not left, f"processes left behind: {left}"


def children():
    """(pid, command) of every child of this process."""
    mine = os.getpid()
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        fields = stat.rsplit(")", 1)[1].split()
        if int(fields[1]) == mine:
            yield entry.name, stat.split("(", 1)[1].rsplit(")", 1)[0]


@pytest.fixture
def cloud_conf():
    """Text of the emulator's configuration file; override in a test module to have another."""
    return None


@pytest.fixture(scope="session")
def cloud_state(tmp_path_factory):
    """Certificates made once for all emulators of a run: making them is most of a start."""
    return tmp_path_factory.mktemp("cloud-state")


@pytest.fixture
def start_cloud(spawn, tmp_path, cloud_state):
    """start_cloud(conf_text) -> a running Cloud; None: the demonstration stock. tls_dir=None: certificates of its own.
    state: a file that outlives it."""

    def start(conf=None, name="causeway-cloud", tls_dir=cloud_state, state=None, program="causeway-cloud", **options):
        args = ["--free-ports"] + ([] if tls_dir is None else ["--tls-dir", tls_dir])
        args += [] if state is None else ["--state", state]
        if conf is not None:
            path = tmp_path / f"{name}.conf"
            path.write_text(conf)
            args += ["--config", path]
        return Cloud(spawn(program, *args, name=name, **options))

    return start


@pytest.fixture
def cloud(start_cloud, cloud_conf):
    return start_cloud(cloud_conf)
