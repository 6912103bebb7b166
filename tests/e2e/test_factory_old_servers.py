"""Clients of the line's protocol: C and Node of ours, Python, the verb `request`; against older servers (line_peer.py) here."""
import concurrent.futures
import json
import shutil
import sys

import line_peer
import pytest
from conftest import BUILD
from line_clients import CLIENTS, NODE, PK, linkkey, needs_node, node, request, run
from line_peer import LinePeer

@pytest.fixture
def peer():
    peers = []

    def make(**more):
        peers.append(LinePeer(**more))
        return peers[-1]
    yield make
    for p in peers:
        p.close()


FORMS = pytest.mark.parametrize("form", list(line_peer.FORMS.values()), ids=list(line_peer.FORMS))


# ---- C -----------------------------------------------------------------------------------------

@FORMS
@pytest.mark.parametrize("number", [False, True], ids=["text", "number"])
@pytest.mark.parametrize("with_id", [False, True], ids=["no-id", "id"])
def test_linkkey_in_its_four_forms(peer, tmp_path, form, number, with_id):
    """covers: B32 B50 B52 B53 B61 B63"""
    old = peer(form=form, number=number, with_id=with_id)
    got = linkkey(tmp_path)
    assert got.returncode == 1 and "Error" in got.stderr  # nothing is stored
    got = linkkey(tmp_path, old.address, PK, "AA00BB11")
    assert got.returncode == 0, got.stderr
    secret = f"{1:032x}"
    shown = f"Product Key={PK}\nDevice Name=board-0001\nDevice Secret={secret}\nProduct Secret=PSfedcba9876543210\nDone\n"
    assert got.stdout == shown and linkkey(tmp_path).stdout == shown
    assert old.actions() == [0, 1] and old.written == {"AA00BB11"}
    assert (tmp_path / "cert").stat().st_mode & 0o077 == 0
    assert linkkey(tmp_path, old.address, PK, "AA00BB11").stdout == shown  # the same
    got = linkkey(tmp_path, old.address, PK)
    assert "board-0002" in got.stdout if with_id else got.returncode == 1 and "does not know" in got.stderr
    got = linkkey(tmp_path, PK, "by-hand", "ds", "ps")
    assert got.stdout == f"Product Key={PK}\nDevice Name=by-hand\nDevice Secret=ds\nProduct Secret=ps\nDone\n"
    assert linkkey(tmp_path, "one").returncode == 2


def test_c_client_reaches_names_ports_and_ipv6(peer, tmp_path):
    old = peer()
    assert linkkey(tmp_path, f"localhost:{old.port}", PK, "A").returncode == 0
    six = peer(family="::1")
    assert linkkey(tmp_path, six.address, PK, "A").returncode == 0
    assert "Host: [::1]:" in six.requests[0][0]
    six.close()
    got = linkkey(tmp_path, six.address, PK, "A")
    assert got.returncode == 1 and "no connection" in got.stderr


def test_c_client_sends_a_station_s_token(peer, tmp_path):
    old = peer()
    assert linkkey(tmp_path, old.address, PK, "A", token="s3cret").returncode == 0
    assert all("\r\nAuthorization: Bearer s3cret" in head for head, _ in old.requests)


@pytest.mark.parametrize("mishap", [line_peer.dropped, line_peer.empty, line_peer.truncated])
def test_device_asks_once_more_and_not_again_at_the_next_start(peer, tmp_path, mishap):
    """covers: B56 B57 C09"""
    old = peer()
    old.mishaps = [mishap]
    device = [BUILD / "tests" / "device", old.address, PK, "AA00BB11", tmp_path / "cert"]
    got = run(*device)
    assert got.returncode == 0 and got.stdout == f"device board-0001 of {PK} starts\n", got.stderr
    assert old.actions() == [0, 0, 1] and len(old.allocated) == 1
    assert run(*device).stdout == got.stdout and len(old.requests) == 3  # the second start asks nobody
    # A certificate that lost a part is none.
    (tmp_path / "cert").write_text((tmp_path / "cert").read_text().replace("DeviceName=board-0001", "DeviceName="))
    assert run(*device).returncode == 0 and old.actions() == [0, 0, 1, 0, 1]


@pytest.mark.parametrize("mishap", [line_peer.dropped, line_peer.empty])
def test_device_gives_up_after_the_second_time(peer, tmp_path, mishap):
    """covers: B57"""
    old = peer()
    old.mishaps = [mishap] * 3
    got = run(BUILD / "tests" / "device", old.address, PK, "AA00BB11", tmp_path / "cert")
    assert got.returncode == 1 and len(old.requests) == 2 and "no whole reply" in got.stderr
    assert not (tmp_path / "cert").exists()


@pytest.mark.parametrize("mishap", [line_peer.cut, line_peer.wrong_crc, line_peer.page, line_peer.endless])
def test_device_stores_nothing_that_is_wrong(peer, tmp_path, mishap):
    """covers: B54"""
    old = peer()
    old.mishaps = [mishap] * 2
    got = run(BUILD / "tests" / "device", old.address, PK, "AA00BB11", tmp_path / "cert")
    assert got.returncode == 1 and 1 not in old.actions() and not (tmp_path / "cert").exists(), got.stderr


def test_device_does_not_report_what_it_cannot_store(peer, tmp_path):
    """covers: B58"""
    old = peer()
    got = run(BUILD / "tests" / "device", old.address, PK, "AA00BB11", tmp_path / "nowhere" / "cert")
    assert got.returncode == 1 and "could not be stored" in got.stderr and old.actions() == [0]
    # A full disk: the file cannot grow.
    got = run("sh", "-c", f"trap '' XFSZ; ulimit -f 0; exec '{BUILD}/tests/device' {old.address} {PK} AA00BB11 '{tmp_path}/cert'")
    assert got.returncode == 1 and old.actions() == [0, 0] and list(tmp_path.iterdir()) == []


def test_c_client_of_a_bluetooth_product_whose_server_says_its_id(peer, tmp_path):
    """covers: B12 B55"""
    old = peer(extra={"ProductID": "8421", "Line": 7})
    assert linkkey(tmp_path, old.address, PK, "A").returncode == 0


def test_ten_lines_with_the_classic_names(peer, tmp_path):
    """covers: B50 B51 B59 B60; as C99 and as C++, each warning an error; by valgrind, where it is installed"""
    (tmp_path / "ten.c").write_text(r'''
#include <stdio.h>
#include <stdlib.h>
#include "triple_burn.h"
int main(int argc, char **argv)
{
	char pk[PRODUCT_KEY_LEN + 1] = "a1B2c3D4e5F", dn[DEVICE_NAME_LEN + 1], ps[PRODUCT_SECRET_LEN + 1], ds[DEVICE_SECRET_LEN + 1], did[DEVICE_ID_LEN + 1] = "";
	char *reply = send_req(0, pk, did, argv[argc - 1]);
	int rc = reply == NULL ? 9 : parse_data(reply, pk, dn, ps, ds, did);
	printf("%d %s %08lX\n", rc, rc == 0 ? dn : "-", (unsigned long)calc_crc32("123456789"));
	free(reply);
	return 0;
}
''')
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Wcast-qual", "-Werror", "-g", f"-I{CLIENTS}/c", tmp_path / "ten.c", CLIENTS / "c" / "triple_burn.c", "-o", tmp_path / "ten"]
    compilers = [["cc", "-std=c99", "-pedantic"]] + [["c++", "-x", "c++"]] * bool(shutil.which("c++"))
    old = peer()
    for compiler in compilers:
        got = run(*compiler, *strict)
        assert got.returncode == 0, got.stderr
        under = ["valgrind", "-q", "--leak-check=full", "--error-exitcode=9"] if shutil.which("valgrind") else []
        got = run(*under, tmp_path / "ten", old.address)
        assert got.stdout.startswith("0 board-") and got.stdout.endswith(" CBF43926\n") and got.returncode == 0, got.stderr
        old.mishaps = [line_peer.dropped]
        got = run(*under, tmp_path / "ten", old.address)
        assert got.stdout == "9 - CBF43926\n" and got.returncode == 0, got.stderr


@pytest.mark.parametrize("flags", [["-DTRIPLE_BURN_NO_HEAP"], ["-DTRIPLE_BURN_NO_SOCKETS"], ["-DTRIPLE_BURN_NO_HEAP", "-DTRIPLE_BURN_NO_SOCKETS"]])
def test_c_client_for_firmwares_needs_little(tmp_path, flags):
    """covers: B32"""
    got = run("cc", "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-Os", *flags, "-c", CLIENTS / "c" / "triple_burn.c", "-o", tmp_path / "x.o")
    assert got.returncode == 0, got.stderr
    needs = set(run("nm", "-u", tmp_path / "x.o").stdout.split()) - {"U"}
    if "-DTRIPLE_BURN_NO_HEAP" in flags:
        assert not needs & {"malloc", "free", "getaddrinfo"}
    if "-DTRIPLE_BURN_NO_SOCKETS" in flags:
        assert {n for n in needs if not n.startswith(("str", "mem", "__stack_chk", "_GLOBAL_OFFSET_TABLE_"))} <= {"malloc", "free"}


# ---- Node -----------------------------------------------------------------------------------------

@needs_node
@FORMS
@pytest.mark.parametrize("number", [False, True], ids=["text", "number"])
def test_node_test_program(peer, form, number):
    """covers: B40 B41 B42 B43 B44 B45"""
    old = peer(form=form, number=number)
    got = run(NODE, CLIENTS / "node" / "test.js", f"localhost:{old.port}" if form is line_peer.counted else old.address, PK)
    assert got.returncode == 0, got.stderr
    lines = got.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["DevInfo"] * 3 + ["reported"] and lines[1] == lines[2] != lines[0]
    assert json.loads(lines[1][len("DevInfo: "):])["DeviceName"] == "board-0002" and old.written == {"123456"}
    assert old.requests[0][1] == {"ProductKey": PK, "Action": 0}


@needs_node
def test_node_callbacks_when_nothing_comes(peer):
    """covers: B40 B44"""
    old = peer()
    old.mishaps = [line_peer.dropped, None, line_peer.empty, line_peer.dropped, line_peer.dropped, None, line_peer.cut]
    script = """
        const ip = process.argv[1];
        line.req_dev_cert(ip, 'a1B2c3D4e5F', 'A', (text, error) => { console.log(typeof text, JSON.parse(text).DeviceName, error);
        line.req_dev_cert(ip, 'a1B2c3D4e5F', 'A', (text, error) => { console.log(JSON.stringify(text), error.code);
        line.send_burn_result_by_did(ip, 'a1B2c3D4e5F', 'A', (text, error) => { console.log(JSON.parse(text).Status);
        line.send_burn_result_by_did(ip, 'a1B2c3D4e5F', 'A'); }); }); });"""
    got = node(script, old.address)
    assert got.stdout.splitlines() == ["string board-0001 undefined", '"" NO_DATA', "OK"], got
    assert got.stderr == "" and got.returncode == 0  # the last one, without a callback, met a cut reply


@needs_node
def test_node_promises(peer):
    """covers: B14 B15 B63"""
    old = peer()
    old.mishaps = [line_peer.busy, line_peer.dropped, line_peer.truncated]
    script = """
        const client = new line.Client({ host: process.argv[1], token: 't0k3n' });
        const cert = await client.request('a1B2c3D4e5F', 'A');
        console.log(cert.DeviceName, cert.DeviceID, (await client.report('a1B2c3D4e5F', cert.DeviceID)).Status, line.crc32('123456789').toString(16));"""
    got = node(script, old.address)
    assert got.stdout == "board-0001 A OK cbf43926\n", got
    assert old.actions() == [0, 0, 0, 0, 1] and all("Authorization: Bearer t0k3n" in head for head, _ in old.requests)
    for mishap, code in [(line_peer.wrong_crc, "CRC"), (line_peer.cut, "INVALID"), (line_peer.endless, "TOO_LONG"), (line_peer.page, "INVALID")]:
        old.mishaps = [mishap] * 4
        got = node("await new line.Client({ host: process.argv[1], retries: 0 }).request('a1B2c3D4e5F', 'A');", old.address)
        assert got.stdout == f"{code}\n" and got.returncode == 1, (mishap, got)
    old.refuse = {0: "OUT_OF_STOCK"}
    old.mishaps = []
    got = node("await new line.Client({ host: process.argv[1] }).request('a1B2c3D4e5F', 'A').catch((e) => console.log(e.code, e.status));", old.address)
    assert got.stdout == "REFUSED OUT_OF_STOCK\n"


@needs_node
def test_node_does_not_waste_certificates(peer):
    """A request without an id is not repeated once it may have been served. covers: B43"""
    old = peer()
    old.mishaps = [line_peer.dropped]
    got = node("await new line.Client({ host: process.argv[1] }).request('a1B2c3D4e5F', null);", old.address)
    assert got.stdout == "NO_DATA\n" and len(old.requests) == 1
    old.close()
    got = node("await new line.Client({ host: process.argv[1], retries: 1 }).request('a1B2c3D4e5F', null);", old.address)
    assert got.stdout == "UNREACHED\n"


@needs_node
def test_node_types_name_what_there_is():
    declared = (CLIENTS / "node" / "index.d.ts").read_text()
    names = node("console.log(Object.keys(line).join(' '));").stdout.split()
    assert len(names) == 6 and all(f"function {n}(" in declared or f"class {n} " in declared for n in names)


# ---- Python and the verb ------------------------------------------------------------------------------

def test_python_station(peer, tmp_path):
    """covers: C08"""
    old = peer()
    old.mishaps = [line_peer.dropped]
    burn = f"import json, sys; c = json.load(sys.stdin); open(r'{tmp_path}/' + c['DeviceName'], 'w').write(c['DeviceSecret'])"
    got = run(sys.executable, CLIENTS / "python" / "station.py", old.address, PK, sys.executable, "-c", burn, input="A\n\n B \nA\n",
              env={"STATION_TOKEN": "t"})
    assert got.stdout == "A board-0001 written\nB board-0002 written\nA board-0001 written\n" and got.returncode == 0, got
    assert (tmp_path / "board-0002").read_text() == f"{2:032x}" and old.written == {"A", "B"}
    got = run(sys.executable, CLIENTS / "python" / "station.py", old.address, PK, "false", input="C\n")
    assert got.returncode == 1 and "C -" in got.stdout and "C" not in old.written


@FORMS
@pytest.mark.parametrize("number", [False, True], ids=["text", "number"])
def test_request_prints_the_reply(peer, form, number):
    """covers: B61"""
    old = peer(form=form, number=number)
    got = request(old.address, PK, "SN01")
    assert got.returncode == 0 and json.loads(got.stdout) == {**old.certificate("board-0001", "SN01")}, got.stderr
    assert request(old.address, PK, "SN01").stdout == got.stdout
    assert json.loads(request(old.address, PK).stdout)["DeviceName"] == "board-0002"
    got = request("--report", old.address, PK, "SN01")
    assert got.returncode == 0 and json.loads(got.stdout)["Status"] == "OK" and old.written == {"SN01"}
    got = request("--report", old.address, PK, "SN02")
    assert got.returncode == 3 and "UNKNOWN_DEVICE" in got.stderr and json.loads(got.stdout)["Status"] == "UNKNOWN_DEVICE"


def test_request_tries_again_where_that_costs_nothing(peer):
    old = peer()
    for mishap in [line_peer.dropped, line_peer.empty, line_peer.truncated, line_peer.page, line_peer.busy]:
        old.mishaps = [mishap]
        assert request(old.address, PK, "SN01").returncode == 0
    assert len(old.requests) == 10 and len(old.allocated) == 1
    old.mishaps = [line_peer.dropped]
    assert request(old.address, PK).returncode == 4 and len(old.requests) == 11
    old.mishaps = [line_peer.busy]
    assert request(old.address, PK).returncode == 0 and len(old.requests) == 13  # BUSY: nothing was allocated


def test_request_s_exit_status(peer, tmp_path):
    """covers: B15"""
    old = peer(stock=1)
    for mishap, status, why in [(line_peer.wrong_crc, 1, "CRC32"), (line_peer.cut, 1, "no distribution server"), (line_peer.endless, 4, "longer than"),
                                (line_peer.page, 1, "no distribution server"), (line_peer.dropped, 4, "http://127.0.0.1:")]:
        old.mishaps = [mishap] * 2
        got = request(old.address, PK, "SN01")
        assert got.returncode == status and why in got.stderr, (mishap, got)
    got = request(old.address, PK, "SN02")
    assert got.returncode == 3 and got.stderr == "causeway factory request: OUT_OF_STOCK\n"
    old.refuse = {0: "QUOTA_EXCEEDED"}
    assert request(old.address, PK, "SN02").stderr == "causeway factory request: QUOTA_EXCEEDED: it is so?[31m\n"  # no escape reaches the terminal
    old.close()
    assert request(old.address, PK, "SN01").returncode == 4
    for wrong in [[], ["h"], ["h:0", PK], ["[::1", PK], ["h/x", PK], ["--report", "h", PK], ["--token", "secret", "h", PK], ["--bad", "h", PK],
                  ["--cert", "c", "h", PK], ["--crc-order", "x", "h", PK], ["--retries", "x", "h", PK]]:
        assert run(BUILD / "bin" / "causeway", "factory", "request", *wrong).returncode == 2, wrong
    (tmp_path / "token").write_text("\n")
    assert "first line" in request("--token", f"file:{tmp_path}/token", "h", PK).stderr


def test_request_of_a_bluetooth_product_and_in_the_order_of_the_text(peer):
    """covers: B11 B12"""
    old = peer()

    def reply(order, more=""):
        def send(connection, answer):
            cert = old.certificate("board-0001", None)
            cert["CRC32"] = line_peer.zlib.crc32(("".join(cert[p] for p in order) + more).encode())
            connection.sendall(line_peer.counted(200, json.dumps(cert).encode()))
        return send
    code, prose = ("ProductKey", "DeviceName", "DeviceSecret", "ProductSecret"), ("ProductKey", "ProductSecret", "DeviceName", "DeviceSecret")
    old.mishaps = [reply(code, "4711"), reply(code, "4711"), reply(prose), reply(prose)]
    assert request(old.address, PK, "A").returncode == 1
    assert request("--product-id", "4711", old.address, PK, "A").returncode == 0
    assert request(old.address, PK, "A").returncode == 1
    assert request("--crc-order", "prose", old.address, PK, "A").returncode == 0


def test_ten_requests_at_once(peer):
    """covers: C07 C08"""
    old = peer()
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        names = [json.loads(got.stdout)["DeviceName"] for got in pool.map(lambda i: request(old.address, PK, f"SN{i}"), range(10))]
    assert len(set(names)) == 10
