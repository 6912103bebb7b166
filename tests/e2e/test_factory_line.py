"""The distribution server of the production line: its protocol to the byte, and peers of every kind."""
import json
import os
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from conftest import BUILD, PATIENCE, wait_until
from factory_world import PK, PS, certificates, crc32, factory, run_tool, start_factory, together  # noqa: F401  pylint: disable=unused-import

KEYS = ["ProductKey", "ProductSecret", "DeviceSecret", "CRC32", "DeviceName", "DeviceID", "Status"]


def curl(*args):
    done = subprocess.run(["curl", "-sS", "--max-time", str(PATIENCE), *map(str, args)], capture_output=True, text=True, timeout=2 * PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(reply, status, http, device_id):
    got = reply.json
    assert list(got) == ["ProductKey", "DeviceID", "Status", "Message"], got
    assert (got["Status"], reply.status, got["DeviceID"]) == (status, http, device_id), got
    assert len(got["Message"]) > 10
    assert reply.headers["Content-Type"] == "application/json"
    return got["Message"]


# ---- the protocol ----------------------------------------------------------------------------


def test_a_certificate_for_curl(factory):
    """covers: B01, B05"""
    body = f'{{"ProductKey":"{PK}","DeviceID":"SN01","Action":0}}'
    url = f"http://{factory.line}"
    first = json.loads(curl("-d", body, url + "/"))
    assert list(first) == KEYS and first["Status"] == "OK" and first["DeviceID"] == "SN01" and first["ProductSecret"] == PS
    row = next(row for row in certificates(1000) if row["DeviceName"] == first["DeviceName"])
    assert (first["ProductKey"], first["DeviceSecret"]) == (row["ProductKey"], row["DeviceSecret"])
    for more in (["-H", "Content-Type:"], ["-H", "Content-Type: text/plain; charset=x"], ["-H", "Content-Type: application/json"]):
        assert json.loads(curl("-d", body, *more, url + "/cert/get?x=1")) == first


def test_the_check_sum(start_factory):
    """covers: B10, B11, B12, B13, B14"""
    rows = [{"DeviceName": name, "DeviceSecret": "0123456789abcdef0123456789abcdef", "ProductKey": "a1B2c3D4e5F", "ProductSecret": "PSfedcba9876543210"}
            for name in ("board-0001", "board-0007", "board-0262")]
    f = start_factory(rows)
    seen = {}
    for i in range(3):
        got = f.ask(f"SN{i}", pk="a1B2c3D4e5F")
        seen[got["DeviceName"]] = got["CRC32"]
        assert got["CRC32"] == f"{crc32(got['ProductKey'], got['DeviceName'], got['DeviceSecret'], got['ProductSecret']):08X}"
    assert seen == {"board-0001": "D78BA0C6", "board-0007": "069E836F", "board-0262": "00D3DCDF"}
    f.tool("product", "set", "a1B2c3D4e5F", "--crc32", "number")
    name = {"SN0": 3616252102, "SN1": 111051631, "SN2": 13884639}
    got = f.ask("SN0", pk="a1B2c3D4e5F")
    assert got["CRC32"] == int(seen[got["DeviceName"]], 16) and got["CRC32"] in name.values()
    f.tool("product", "set", "a1B2c3D4e5F", "--crc32", "text", "--bluetooth", "--product-id", "8421")
    board = next(i for i in range(3) if f.ask(f"SN{i}", pk="a1B2c3D4e5F")["DeviceName"] == "board-0001")
    assert f.ask(f"SN{board}", pk="a1B2c3D4e5F")["CRC32"] == "C189FC18"
    f.tool("product", "set", "a1B2c3D4e5F", "--no-bluetooth", "--crc-order", "prose")
    got = f.ask("SN0", pk="a1B2c3D4e5F")
    assert got["CRC32"] == f"{crc32(got['ProductKey'], got['ProductSecret'], got['DeviceName'], got['DeviceSecret']):08X}"


def test_a_missing_product(factory):
    """covers: B02"""
    reply = factory.post({"DeviceID": "SN01", "Action": 0})
    assert "ProductKey" in refused(reply, "BAD_REQUEST", 400, "SN01")
    assert factory.rows("--status", "allocated") == []


def test_action_is_zero_or_one(factory):
    """covers: B04"""
    for action in (2, -1, "x", None, True, [0]):
        refused(factory.post({"ProductKey": PK, "DeviceID": "SN01", "Action": action}), "BAD_REQUEST", 400, "SN01")
    assert "Action" in refused(factory.post({"ProductKey": PK, "DeviceID": "SN01"}), "BAD_REQUEST", 400, "SN01")
    assert factory.rows("--status", "allocated") == []
    name = factory.ask("SN01")["DeviceName"]
    assert factory.post({"ProductKey": PK, "DeviceID": "SN01", "Action": "0"})["DeviceName"] == name  # trap 5
    assert factory.metric("deviations_total") == 1


def test_a_board_that_asks_again(factory):
    """covers: B07"""
    station = factory.station()
    first = station.ask("SN01").json
    for _ in range(98):
        assert station.ask("SN01").json == first
    factory.kill()
    factory.start()
    assert factory.ask("SN01").json == first
    assert [row["deviceName"] for row in factory.rows("--status", "allocated")] == [first["DeviceName"]]


def test_allocated_then_written(factory):
    """covers: B06, B08"""
    name = factory.ask("SN01")["DeviceName"]
    assert [row["state"] for row in factory.rows("--device-name", name)] == ["allocated"]
    for _ in range(2):
        reply = factory.report("SN01")
        assert reply.body == f'{{"ProductKey":"{PK}","DeviceID":"SN01","Status":"OK"}}'.encode()
    row = factory.rows("--device-name", name)[0]
    assert row["state"] == "written" and row["written"] is not None
    assert factory.ask("SN01")["DeviceName"] == name
    assert factory.metric("written_total") == 1


def test_boards_without_an_id(factory):
    """covers: B03, B09, B63; traps 4 and 7"""
    asked = [factory.ask(), factory.ask(""), factory.post({"ProductKey": PK, "DeviceID": None, "Action": 0})]
    assert len({reply["DeviceName"] for reply in asked}) == 3
    assert factory.metric("anonymous_total") == 3
    for reply in asked:
        made_up = reply["DeviceID"]
        assert len(made_up) == 18 and made_up.startswith("CW") and int(made_up[2:], 16) >= 0
        assert factory.report(made_up)["Status"] == "OK"
    assert len(factory.rows("--status", "written")) == 3
    assert factory.ask("null")["DeviceName"] == factory.ask("null")["DeviceName"]
    assert factory.metric("anonymous_total") == 3
    refused(factory.post({"ProductKey": PK, "DeviceID": None, "Action": 1}), "BAD_REQUEST", 400, "")


def test_ids_are_bytes_unless_they_are_macs(start_factory):
    """Trap 3."""
    f = start_factory(certificates(20) + certificates(20, pk="a1EmuMac001"))
    assert f.ask("AA:BB:CC:00:11:22")["DeviceName"] != f.ask("aabbcc001122")["DeviceName"]
    f.tool("product", "set", "a1EmuMac001", "--normalize-mac")
    names = {f.ask(mac, pk="a1EmuMac001")["DeviceName"] for mac in ("AA:BB:CC:00:11:22", "aa-bb-cc-00-11-22", "aabbcc001122")}
    assert len(names) == 1
    assert f.ask("aa:bb:cc:00:11:22", pk="a1EmuMac001")["DeviceID"] == "aa:bb:cc:00:11:22"
    assert f.ask("板子 №1")["DeviceID"] == "板子 №1"


def test_refusals(start_factory):
    """The table of C.3. covers: B15, B17"""
    f = start_factory(certificates(2))
    refused(f.ask("SN01", pk="a1Unknown00"), "UNKNOWN_PRODUCT", 200, "SN01")
    refused(f.ask("SN01", pk="x" * 5000), "UNKNOWN_PRODUCT", 200, "SN01")
    refused(f.report("SN01"), "UNKNOWN_DEVICE", 200, "SN01")
    assert len({f.ask(f"SN0{i}")["DeviceName"] for i in range(2)}) == 2
    refused(f.ask("SN02"), "OUT_OF_STOCK", 200, "SN02")
    refused(f.ask(), "OUT_OF_STOCK", 200, "")
    assert f.ask("SN01")["Status"] == "OK"
    f.import_rows(certificates(1, first=50), "next")
    f.tool("batch", "close", "next")
    refused(f.ask("SN02"), "BATCH_CLOSED", 200, "SN02")
    assert f.ask("SN01")["Status"] == "OK"
    f.tool("batch", "open", "next")
    assert f.ask("SN02")["DeviceName"] == "dev-00050"
    m = f.metrics()
    assert [m[f"causeway_factory_answer_{name}_total"] for name in ("unknown_product", "unknown_device", "out_of_stock", "batch_closed")] == [2, 1, 2, 1]


def test_bad_requests(factory):
    """covers: B15"""
    for body in (b"", b"ProductKey=x&Action=0", b"[]", b"{", b'{"ProductKey":"' + PK.encode() + b'","DeviceID":"\xff","Action":0}', b"\x00" * 300):
        refused(factory.post(body), "BAD_REQUEST", 400, "")
    refused(factory.ask("x" * 129), "BAD_REQUEST", 400, "x" * 129)
    refused(factory.ask("a\rb"), "BAD_REQUEST", 400, "a\rb")
    refused(factory.post({"ProductKey": PK, "DeviceID": 7, "Action": 0}), "BAD_REQUEST", 400, "")
    assert "twice" in refused(factory.post(f'{{"ProductKey":"{PK}","DeviceID":"a","DeviceID":"b","Action":0}}'), "BAD_REQUEST", 400, "")
    assert "DeviceId is written DeviceID" in refused(factory.post({"ProductKey": PK, "DeviceId": "a", "Action": 0}), "BAD_REQUEST", 400, "")
    refused(factory.post(b" " * (64 * 1024 + 1)), "BAD_REQUEST", 413, "")
    assert factory.rows("--status", "allocated") == []
    assert factory.ask("x" * 128)["Status"] == "OK"
    assert factory.post({"ProductKey": PK, "DeviceID": "SN01", "Action": 0, "Filler": "y" * 60000, "a": {"b": [1]}})["Status"] == "OK"


def test_the_port_serves_nothing_else(factory):
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        reply = factory.post(None, method=method)
        refused(reply, "BAD_REQUEST", 405, "")
        assert reply.headers["Allow"] == "POST"
    for path in ("/api", "/api/", "/api/v1/batches", "/%61pi/v1/certificate?deviceId=SN01"):
        refused(factory.post({"ProductKey": PK, "DeviceID": "SN01", "Action": 0}, path=path), "BAD_REQUEST", 404, "")
    assert factory.post({"ProductKey": PK, "DeviceID": "SN01", "Action": 0}, path="/apis")["Status"] == "OK"


# ---- many at once ------------------------------------------------------------------------------


def test_many_stations_at_once(start_factory):
    """covers: B16"""
    f = start_factory(2000)

    def burn(i):
        station = f.station()
        names = []
        for k in range(40):
            name = station.ask(f"SN-{i}-{k}")["DeviceName"]
            assert station.report(f"SN-{i}-{k}")["Status"] == "OK"
            names.append(name)
        return names

    names = sum(together(50, burn), [])
    assert len(names) == len(set(names)) == 2000
    assert len(f.rows("--status", "written")) == 2000
    m = f.metrics()
    assert m["causeway_factory_committed_total"] == 4000 and m["causeway_factory_waiting"] == 0


def test_one_board_asked_for_by_all_at_once(start_factory):
    """Trap 2."""
    f = start_factory(100)
    for board in range(10):
        assert len({reply["DeviceName"] for reply in together(20, lambda i, board=board: f.ask(f"SN{board}"))}) == 1
    assert len(f.rows("--status", "allocated")) == 10


def test_more_boards_than_certificates(start_factory):
    """covers: B17"""
    f = start_factory(10)
    statuses = sorted(reply["Status"] for reply in together(20, lambda i: f.ask(f"SN{i}")))
    assert statuses == ["OK"] * 10 + ["OUT_OF_STOCK"] * 10


# ---- peers of every kind --------------------------------------------------------------------------


def head(body, version="1.1", more=""):
    return f"POST / HTTP/{version}\r\nHost: x\r\n{more}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def body_of(board):
    return f'{{"ProductKey":"{PK}","DeviceID":"{board}","Action":0}}'


def test_old_clients(factory):
    """HTTP/1.0, no Host, half closed, two requests in one segment, chunks, Expect: 100-continue, Connection: close."""
    name = factory.ask("SN01")["DeviceName"].encode()
    assert name in factory.raw(head(body_of("SN01"), "1.0"))
    assert name in factory.raw(head(body_of("SN01"), "1.0").replace(b"Host: x\r\n", b""))
    assert name in factory.raw(head(body_of("SN01"), more="Connection: close\r\n").replace(b"Host: x\r\n", b""))
    assert name in factory.raw(head(body_of("SN01"), "1.0"), shut=True)
    assert name in factory.raw(head(body_of("SN01"), more="Connection: close\r\n"), shut=True)
    two = factory.raw(head(body_of("SN01")) + head(body_of("SN02"), more="Connection: close\r\n"))
    assert two.count(b"HTTP/1.1 200") == 2 and two.index(b'"SN01"') < two.index(b'"SN02"') and name in two
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (body_of("SN01")[:10].encode(), body_of("SN01")[10:].encode())) + b"0\r\n\r\n"
    assert name in factory.raw(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked)
    assert name in curl("-H", "Expect: 100-continue", "-d", body_of("SN01"), f"http://{factory.line}/").encode()
    assert name in curl("--http1.0", "-d", body_of("SN01"), f"http://{factory.line}/").encode()


def test_a_client_that_shuts_its_half_gets_its_answer(factory):
    """Whatever other connections do: one that waits, one that has sent half a request."""
    host, port = factory.line.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as waiting, socket.create_connection((host, int(port))) as half:
        half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + body_of("SN01").encode())  # without Content-Length, so that its body is half a request
        half.shutdown(socket.SHUT_WR)
        assert b" 400 " in half.recv(1000)
        for _ in range(5):
            answer = factory.raw(head(body_of("SN01"), "1.0"), shut=True)
            assert b" 200 " in answer and b"DeviceName" in answer
            assert b" 200 " in factory.raw(head(body_of("SN01"), more="Connection: close\r\n"), shut=True)
        two = factory.raw(head(body_of("SN01")) + head(body_of("SN02")), shut=True)
        assert two.count(b"DeviceName") == 2
        name = factory.ask("SN01")["DeviceName"].encode()
        waiting.sendall(head(body_of("SN01")))
        assert name in waiting.recv(1000)


def test_one_connection_for_a_shift(factory):
    station = factory.station()
    for i in range(200):
        assert station.ask(f"SN{i}")["Status"] == "OK"
        assert station.post(b"nothing").status == 400
    assert station.connection.sock is not None


def test_stalled_peers_delay_nobody(factory):
    host, port = factory.line.rsplit(":", 1)
    stalled = [socket.create_connection((host, int(port))) for _ in range(100)]
    try:
        for i, peer in enumerate(stalled):
            whole = head(body_of(f"X{i}"))
            peer.sendall(whole[:1 + i * (len(whole) - 1) // len(stalled)])  # at most all but its last byte
        assert [factory.ask(f"SN{i}")["Status"] for i in range(20)] == ["OK"] * 20
        assert len(factory.rows("--status", "allocated")) == 20
    finally:
        for peer in stalled:
            peer.close()


def test_a_station_that_hangs_up_has_its_certificate_all_the_same(factory):
    """Trap 7: the reply is lost; the board asks again."""
    host, port = factory.line.rsplit(":", 1)
    for _ in range(5):
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(head(body_of("SN01")))
    wait_until(lambda: factory.metric("answer_ok_total") == 5, "five answers")
    name = factory.ask("SN01")["DeviceName"]
    assert [row["deviceName"] for row in factory.rows("--status", "allocated")] == [name]


def test_noise(factory):
    host, port = factory.line.rsplit(":", 1)
    for noise in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\r\n" * 100, b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
                  b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", b"A" * 100000,
                  b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"POST / HTTP/1.1\r\n" + b"X: y\r\n" * 10000 + b"\r\n"):
        with socket.create_connection((host, int(port))) as peer:
            try:
                peer.sendall(noise)
            except OSError:
                pass  # it has hung up in the middle of the longest
    assert factory.ask("SN01")["Status"] == "OK"


# ---- start and stop ----------------------------------------------------------------------------------


@pytest.fixture
def alone():
    """A network of one's own, in which port 8000 is free."""
    command = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if shutil.which("unshare") is None or shutil.which("ip") is None or subprocess.run([*command, "true"], capture_output=True).returncode != 0:
        pytest.skip("no network namespaces here")
    return command


def test_without_any_argument(alone, tmp_path):
    """covers: B20, B22"""
    script = f"""{BUILD}/bin/causeway-factory > out & pid=$!
        until grep -q '^Waiting for client request$' out; do :; done
        curl -sS -d '{body_of("SN01")}' http://127.0.0.1:8000/; echo; curl -sS http://127.0.0.1:8001/health; echo
        kill $pid; wait $pid; echo "ended with $?"; cat out"""
    done = subprocess.run([*alone, "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE)
    lines = done.stdout.splitlines()
    assert json.loads(lines[0])["Status"] == "UNKNOWN_PRODUCT", done
    assert json.loads(lines[1])["status"] == "ok" and lines[2] == "ended with 0", done
    assert lines.count("Waiting for client request") == 1 and "http://0.0.0.0:8000" in done.stdout
    assert f"stock   {tmp_path}/factory.db   (new, empty)" in lines
    assert (tmp_path / "factory.db").stat().st_mode & 0o777 == 0o600


def test_the_port_as_only_argument(alone, tmp_path):
    """covers: B21"""
    script = f"""{BUILD}/bin/causeway-factory 50000 > out & pid=$!
        until grep -q '^Waiting for client request$' out; do :; done
        curl -sS -d '{body_of("SN01")}' http://127.0.0.1:50000/; echo; kill $pid; wait $pid"""
    done = subprocess.run([*alone, "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=2 * PATIENCE)
    assert json.loads(done.stdout)["Status"] == "UNKNOWN_PRODUCT", done


def test_not_ready_where_the_port_is_taken(tmp_path):
    """covers: B22"""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        done = subprocess.run([BUILD / "bin" / "causeway-factory", "--listen", address, "--office", "off"], cwd=tmp_path, capture_output=True, text=True,
                              timeout=2 * PATIENCE)
    assert done.returncode == 1 and "Waiting" not in done.stdout and address in done.stderr and "--listen" in done.stderr


def test_wrong_arguments(tmp_path):
    for args in (["x"], ["70000"], ["8000", "8001"], ["--nothing"], ["-1"]):
        done = subprocess.run([BUILD / "bin" / "causeway-factory", *args], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 2 and "usage:" in done.stderr, args
    assert os.listdir(tmp_path) == []
    assert "usage:" in subprocess.run([BUILD / "bin" / "causeway-factory", "--help"], capture_output=True, text=True, check=True).stdout


def test_several_listeners(start_factory):
    f = start_factory(10, conf='line = [ { listen = "127.0.0.1:0" }, { listen = "[::1]:0" } ]\n')
    assert len(f.lines) == 2 and f.lines[1].startswith("[::1]:")
    assert f.station(line=0).ask("SN01").json == f.station(line=1).ask("SN01").json


class Burners:
    """Stations that ask until the server has gone, and remember what they were told."""

    def __init__(self, f, count, prefix):
        self.factory, self.prefix = f, prefix
        self.told, self.reported, self.lock = {}, set(), threading.Lock()
        self.threads = [threading.Thread(target=self._burn, args=(i,)) for i in range(count)]
        for thread in self.threads:
            thread.start()

    def _burn(self, i):
        from factory_world import Station  # pylint: disable=import-outside-toplevel

        station, k = Station(self.factory.line), 0
        try:
            while True:
                board = f"{self.prefix}-{i}-{k}"
                reply = station.ask(board)
                if reply["Status"] != "OK":
                    return
                with self.lock:
                    self.told[board] = reply["DeviceName"]
                if station.report(board)["Status"] == "OK":
                    with self.lock:
                        self.reported.add(board)
                k += 1
        except (OSError, Exception):  # pylint: disable=broad-except
            return
        finally:
            station.close()

    def join(self):
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def check_against_stock(f, told, reported):
    rows = {row["deviceId"]: row for row in f.rows() if row["deviceId"]}
    assert len(told) == len(set(told.values())), "a certificate was given to two boards"
    for board, name in told.items():
        assert rows[board]["deviceName"] == name
    for board in reported:
        assert rows[board]["state"] == "written"


def test_killed_at_any_moment(start_factory):
    """covers: B07, B16. What was answered is in the database, always."""
    f = start_factory(20000)
    told, reported = {}, set()
    for round_number in range(5):
        burners = Burners(f, 20, f"r{round_number}")
        wait_until(lambda burners=burners: len(burners.reported) > 50 + 37 * round_number, "some boards")
        f.process.kill()
        burners.join()
        told.update(burners.told)
        reported |= burners.reported
        f.start()
    check_against_stock(f, told, reported)
    for board in list(told)[::97]:
        assert f.ask(board)["DeviceName"] == told[board]
    audit = f.tool("audit", "--verify")
    assert audit.returncode == 0, audit.stdout


def test_stopped_under_load(start_factory):
    """A stop answers what is under way; nobody is cut off in the middle of an answer."""
    f = start_factory(20000)
    burners = Burners(f, 30, "b")
    wait_until(lambda: len(burners.reported) > 100, "some boards")
    f.process.stop()
    burners.join()
    check_against_stock(f, burners.told, burners.reported)
    rows = [row for row in f.rows() if row["deviceId"]]
    assert len(rows) == len(burners.told), "answers were lost on the way"
    assert sum(row["state"] == "written" for row in rows) == len(burners.reported)


def test_a_stalled_peer_does_not_keep_the_server(start_factory):
    f = start_factory(10, conf="stopTimeout = 200ms\n")
    host, port = f.line.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc")
        assert f.ask("SN01")["Status"] == "OK"
        f.process.stop()
        assert peer.recv(1000) == b""


def test_signals(start_factory):
    f = start_factory(10)
    f.process.signal(signal.SIGHUP)
    wait_until(lambda: "nothing to read" in f.process.stderr(), "the reload's line")
    assert f.ask("SN01")["Status"] == "OK"
    f.process.signal(signal.SIGINT)
    assert f.process.wait() == 0
