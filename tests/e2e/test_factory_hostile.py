"""The production line among liars: a platform whose pages do not end or come twice, requests that two programs would read differently, texts that
want to command the operator's terminal."""
import json
import os
import pathlib
import re
import resource
import socket
import ssl
import subprocess
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import BUILD, PATIENCE, wait_until
from factory_world import PK, PS, authority, factory, start_factory  # noqa: F401  pylint: disable=unused-import

# ---- a platform that lies ----


class Liar:
    """A management API that answers what `answers` says: action -> function(parameters) -> members."""

    def __init__(self, authority, answers):  # pylint: disable=redefined-outer-name
        liar = self
        self.calls = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                text = urllib.parse.urlsplit(self.path).query + "&" + self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                params = dict(urllib.parse.parse_qsl(text))
                liar.calls.append((time.monotonic(), params["Action"], params))
                body = json.dumps({"Success": True, "RequestId": "1", **answers[params["Action"]](params)}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *args):  # pylint: disable=arguments-differ
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*map(str, authority.issue("platform")))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, action):
        return sum(a == action for _, a, _ in self.calls)


def devices(first, last, secret="s"):
    return {"ApplyDeviceList": {"ApplyDeviceInfo": [{"DeviceName": f"dev-{i:04}", "DeviceSecret": f"{secret * 20}{i:012}"} for i in range(first, last + 1)]}}


@pytest.fixture
def liar(authority, tmp_path):  # pylint: disable=redefined-outer-name
    """liar(pages=function(page) -> members, ..) -> a platform; .order(count) -> Popen."""
    made = []

    def make(pages=None, status="CREATE_SUCCESS"):
        platform = Liar(authority, {
            "BatchRegisterDevice": lambda p: {"Data": {"ApplyId": 7}},
            "BatchCheckDeviceNames": lambda p: {"Data": {"ApplyId": 7}},
            "BatchRegisterDeviceWithApplyId": lambda p: {"Data": {"ApplyId": 7}},
            "QueryBatchRegisterDeviceStatus": lambda p: {"Data": {"Status": status}},
            "QueryPageByApplyId": lambda p: pages(int(p["CurrentPage"])),
        })
        made.append(platform)
        (tmp_path / "secret").write_text(PS)

        def order(count):
            return subprocess.Popen([BUILD / "bin" / "causeway", "factory", "order", "--product", PK, "--count", str(count), "--batch", "b", "--names",
                                     "platform", "--product-secret", f"file:{tmp_path}/secret", "--access-key", "k", "--access-secret",
                                     f"file:{tmp_path}/secret", "--endpoint", f"https://127.0.0.1:{platform.server.server_port}", "--ca",
                                     authority.pem, "--db", tmp_path / "o.db"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        platform.order = order
        return platform

    yield make
    for platform in made:
        platform.server.shutdown()
        platform.server.server_close()


@pytest.mark.parametrize("pages,words,calls", [
    # never the last page
    (lambda n: {"PageCount": 1000000, **devices(1, 0)}, "gave 0 certificates of 60", 1),
    (lambda n: {"PageCount": n + 1, **devices(1, 50)}, "gave 50 certificates of 60", 40),
    # the first page again instead of the second
    (lambda n: {"PageCount": 2, **devices(1, 50)}, "gave 50 certificates of 60", 2),
    # more than were ordered, one name with two secrets, a secret that is too long
    (lambda n: {"PageCount": 2, **devices(50 * n - 49, 50 * n)}, "is not understood", 2),
    (lambda n: {"PageCount": 2, **devices(1, 50, "st"[n - 1])}, "is not understood", 2),
    (lambda n: {"PageCount": 2, **devices(1, 50, "secret")}, "is not understood", 1),
])
def test_pages_of_a_platform_that_lies(liar, pages, words, calls):  # pylint: disable=redefined-outer-name
    """Nothing of it is in stock, and it comes to an end. covers: C06"""
    platform = liar(pages)
    with platform.order(60) as order:
        text, _ = order.communicate(timeout=4 * PATIENCE)
    assert order.returncode == 1 and words in text and "Sanitizer" not in text, text
    assert platform.count("QueryPageByApplyId") == calls


def test_a_platform_that_never_begins_is_told_ever_less_often(liar):  # pylint: disable=redefined-outer-name
    """covers: C06"""
    platform = liar(status="CHECK_SUCCESS")
    action = "BatchRegisterDeviceWithApplyId"
    with platform.order(3) as order:
        wait_until(lambda: platform.count(action) >= 4, "the platform to be told four times")
        order.terminate()
        order.communicate(timeout=4 * PATIENCE)
    at = [when for when, what, _ in platform.calls if what == action]
    assert at[2] - at[1] > 0.4 and at[3] - at[2] > 0.9, at


# ---- requests that two programs would read differently ----


def body(device_id="SN1"):
    return json.dumps({"ProductKey": PK, "DeviceID": device_id, "Action": 0}).encode()


@pytest.mark.parametrize("head", [
    "Content-Length: 5\r\nContent-Length: %d",
    "Content-Length: %d\r\nContent-Length: 5",
    "Transfer-Encoding: chunked\r\nContent-Length: %d",
])
def test_a_request_with_two_lengths_is_not_served(factory, head):  # pylint: disable=redefined-outer-name
    """What one program takes for the rest of a body would be a request to another: nothing is made of it. covers: B01"""
    inner = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body("SMUGGLED")) + body("SMUGGLED")
    outer = b"0\r\n\r\n" + inner
    got = factory.raw(b"POST / HTTP/1.1\r\nHost: x\r\n" + (head % len(outer)).encode() + b"\r\n\r\n" + outer)
    assert b"DeviceSecret" not in got and b" 200 " not in got, got
    assert factory.report("SMUGGLED")["Status"] == "UNKNOWN_DEVICE"
    same = f"Content-Length: {len(body())}\r\n" * 2
    got = factory.raw(f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{same}\r\n".encode() + body())
    assert b'"Status":"OK"' in got


@pytest.mark.parametrize("target,status", [
    (b"http://line.example/api/v1/batches", b"404"), (b"HTTP://line.example:8000/api", b"404"),
    (b"http://line.example/", b"200"), (b"http://line.example", b"200"), (b"http://line.example/x/api/", b"200"),
])
def test_targets_in_absolute_form_are_paths(factory, target, status):  # pylint: disable=redefined-outer-name
    """covers: B01"""
    got = factory.raw(b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % (target, len(body())) + body())
    assert got.split(b" ")[1] == status, got


# ---- what goes to a terminal, and what stays in memory ----


def tool(*args, **more):
    return subprocess.run([BUILD / "bin" / "causeway", "factory", *map(str, args)], capture_output=True, timeout=4 * PATIENCE, check=False, **more)


def test_further_columns_do_not_command_the_terminal(tmp_path):
    """covers: B28"""
    (tmp_path / "x.csv").write_bytes(b"DeviceName,DeviceSecret,ProductKey,ProductSecret,Note\n" +
                                     f"board-1,{1:032x},{PK},{PS},a\x1b]0;x\x07\x7f\u009b2J\u202eb\n".encode())
    assert tool("import", "x.csv", "--batch", "b\u202e", "--db", "f.db", cwd=tmp_path).returncode == 0
    for verb in (["show", "board-1"], ["query"], ["batches"], ["audit"], ["show", "\x1b[2J\u009b"]):
        done = tool(*verb, "--db", "f.db", cwd=tmp_path)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", (done.stdout + done.stderr).decode()), (verb, done.stdout)


def test_a_further_column_is_no_second_status(tmp_path, start_factory):  # pylint: disable=redefined-outer-name
    """covers: B05 B55"""
    running = start_factory()
    (tmp_path / "x.csv").write_text(f"DeviceName,DeviceSecret,ProductKey,ProductSecret,Status,Color\nboard-1,{1:032x},{PK},{PS},Inactive,red\n")
    common = ["--db", running.db] + (["--key", running.key] if running.key else [])
    done = tool("import", tmp_path / "x.csv", "--batch", "b", *common)
    assert done.returncode == 0, done.stderr
    done = tool("product", "set", PK, "--reply-columns", "Color,status", *common)
    assert done.returncode == 1 and b"have a status of their own" in done.stderr, done.stderr
    assert tool("product", "set", PK, "--reply-columns", "Color", *common).returncode == 0
    pairs = json.loads(running.ask("SN1").body, object_pairs_hook=list)
    assert sorted(k for k, _ in pairs) == ["CRC32", "Color", "DeviceID", "DeviceName", "DeviceSecret", "ProductKey", "ProductSecret", "Status"], pairs


def test_no_memory_image_with_secrets_is_left_behind(start_factory):  # pylint: disable=redefined-outer-name
    """covers: B05"""
    if resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        pytest.skip("this machine leaves none anyhow")
    with open(f"/proc/{start_factory().process.ready['pid']}/limits", encoding="ascii") as limits:
        core, = [line for line in limits if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"], core


# ---- somebody who tidies up ----


def test_a_log_that_is_removed_loses_nothing(start_factory, tmp_path):  # pylint: disable=redefined-outer-name
    """What was answered is in the file after an orderly stop; meanwhile nothing more is. covers: B07"""
    running = start_factory(10)
    had = running.ask("SN1")["DeviceName"]
    log = running.db + "-wal"
    assert pathlib.Path(log).exists()
    os.unlink(log)
    busy = running.ask("SN2")
    assert busy.status == 503 and busy["Status"] == "BUSY", busy
    status, text = running.office.request("GET", "/health")
    assert status == 503 and "-wal was removed" in text["reasons"][0], text
    for _ in range(5):  # it does not give that up and open a new one
        assert running.ask("SN1")["Status"] == "BUSY"
    assert not pathlib.Path(log).exists()
    running.close_stations()
    running.process.stop()
    running.start()
    assert running.ask("SN1")["DeviceName"] == had
    assert running.ask("SN2")["Status"] == "OK"


# ---- standard files ----


def test_a_list_that_a_full_disk_cuts_off_is_no_success(start_factory):  # pylint: disable=redefined-outer-name
    running = start_factory(10)
    for verb in (["query", "--json"], ["query"], ["stock"], ["audit"], ["export", "--out", running.db + ".csv"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([BUILD / "bin" / "causeway", "factory", *verb, "--db", running.db], stdout=full, stderr=subprocess.PIPE, check=False,
                                  timeout=4 * PATIENCE)
        assert done.returncode == 1 and b"standard output cannot be written" in done.stderr, (verb, done)


def without(*command):
    """The command line of one that is started without standard files."""
    return ["sh", "-c", 'exec 0<&- 1>&- 2>&-; exec "$@"', "sh", *command]


def test_without_standard_files_a_log_goes_nowhere(tmp_path):
    """And not into whatever was opened next."""
    command = without(BUILD / "bin" / "causeway-factory", "--listen", "127.0.0.1:0", "--office", "127.0.0.1:0", "--ready-file", "ready", "--db", "f.db")
    with subprocess.Popen(command, cwd=tmp_path) as server:
        try:
            wait_until(lambda: (tmp_path / "ready").exists(), "the server")
            assert [os.readlink(f"/proc/{server.pid}/fd/{i}") for i in range(3)] == ["/dev/null"] * 3
        finally:
            server.terminate()
            assert server.wait(4 * PATIENCE) == 0


def test_without_standard_files_nothing_is_said_into_an_export(tmp_path):
    (tmp_path / "x.csv").write_text(f"DeviceName,DeviceSecret,ProductKey,ProductSecret\nboard-1,{1:032x},{PK},{PS}\n")
    for args in (["import", "x.csv", "--batch", "b"], ["export", "--out", "y.csv"]):
        assert subprocess.run(without(BUILD / "bin" / "causeway", "factory", *args, "--db", "f.db"), cwd=tmp_path, check=False, timeout=4 * PATIENCE).returncode == 0
    lines = (tmp_path / "y.csv").read_text().splitlines()
    assert len(lines) == 2 and lines[1].startswith("board-1,"), lines


@pytest.mark.parametrize("form", [["--db", "{}"], ["--db={}"]])
def test_a_password_does_not_stay_on_the_command_line(tmp_path, form):
    """Whoever writes it there all the same."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a database that does not answer: it waits there
        where = f"postgresql://line:geheim0815@127.0.0.1:{silent.getsockname()[1]}/stock"
        for command in ([BUILD / "bin" / "causeway-factory", "--listen", "127.0.0.1:0", "--office", "off", "--key", "k"],
                        [BUILD / "bin" / "causeway", "factory", "stock", "--key", "k"]):
            with subprocess.Popen([*command, *(f.format(where) for f in form)], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                try:
                    peer, _ = silent.accept()
                    with peer:
                        line = pathlib.Path(f"/proc/{process.pid}/cmdline").read_bytes()
                        assert b"geheim" not in line and b"postgresql://line:***@127.0.0.1" in line, line
                finally:
                    process.kill()
                    assert b"geheim" not in process.stderr.read()
