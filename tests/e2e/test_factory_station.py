"""`causeway factory station` against an older server, which can be as unpleasant as it likes (line_peer.py). covers: B32 B53 B58 C07 C08"""
import json
import os
import pty
import re
import signal
import subprocess

import line_peer
import pytest
from conftest import BUILD, PATIENCE, wait_until
from line_peer import LinePeer

PK = "a1B2c3D4e5F"


@pytest.fixture
def peer():
    peers = []

    def make(**more):
        peers.append(LinePeer(**more))
        return peers[-1]
    yield make
    for p in peers:
        p.close()


def gate(tmp_path):
    """The other end of the fifo that a command reads (`cat gate`), once it does. Closed, the command ends."""
    def reached():
        try:
            return os.open(tmp_path / "gate", os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return None
    return wait_until(reached, "the command at its gate")


class Station:
    def __init__(self, server, *args, cwd, stdin=subprocess.PIPE):
        self.popen = subprocess.Popen([str(a) for a in (BUILD / "bin" / "causeway", "factory", "station", "--product", PK, "--server", server, *args)],
                                      cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ids(self, *ids):
        self.popen.stdin.write("".join(f"{i}\n" for i in ids))
        self.popen.stdin.flush()

    def end(self):
        out, self.err = self.popen.communicate(timeout=PATIENCE)
        self.lines = out.splitlines()
        return self.popen.returncode


def station(server, *args, cwd, ids=()):
    s = Station(server, *args, cwd=cwd)
    if ids:
        s.ids(*ids)
    s.status = s.end()
    return s


BURN = 'test -n "$DEVICE_SECRET" && cat > "$DEVICE_ID.json" && printf "%s" "$PRODUCT_KEY $DEVICE_NAME $DEVICE_SECRET $PRODUCT_SECRET" > "$DEVICE_ID.env"'


@pytest.mark.parametrize("form", list(line_peer.FORMS.values()), ids=list(line_peer.FORMS))
@pytest.mark.parametrize("parallel", [1, 4])
def test_boards_are_written_and_reported(peer, tmp_path, form, parallel):
    old = peer(form=form)
    ids = [f"AA{i:04}" for i in range(20)]
    s = station(old.address, "--write", BURN, "--parallel", parallel, cwd=tmp_path, ids=ids)
    assert s.status == 0 and s.lines[-1] == "20 boards: 20 written and reported, 0 failed", (s.lines, s.err)
    assert sorted(s.lines[:-1]) == [f"{i} {old.allocated[i]} written" for i in ids]
    assert len(set(old.allocated.values())) == 20 and old.written == set(ids)
    for i in ids:
        assert old.actions(i) == [0, 1]
        cert = json.loads((tmp_path / f"{i}.json").read_text())
        assert cert == old.certificate(old.allocated[i], i)
        assert (tmp_path / f"{i}.env").read_text() == f"{PK} {cert['DeviceName']} {cert['DeviceSecret']} {cert['ProductSecret']}"


def test_ids_as_scanners_write_them(peer, tmp_path):
    old = peer()
    s = Station(old.address, "--write", "cat > /dev/null", cwd=tmp_path)
    s.popen.stdin.write("  A-1 \r\n\r\nB 2\rC\t\n" + "x" * 129 + "\nD\x01\n" + "y" * 128 + "   \nlast")
    assert s.end() == 1 and s.lines[-1] == "5 boards: 5 written and reported, 2 failed", s.err
    assert [line.rsplit(" ", 2)[0] for line in s.lines if line.endswith(" written")] == ["A-1", "B 2", "C", "y" * 128, "last"]
    assert [why in "".join(s.lines) for why in ("longer than the 128 bytes", "control characters")] == [True, True]


def test_a_serial_scanner(peer, tmp_path):
    old = peer()
    master, slave = pty.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    s = Station(old.address, "--write", "true", "--scanner", path, "--baud", "115200", "--journal", "j", cwd=tmp_path, stdin=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "j").exists(), "the station's journal")  # the scanner is open by then
    os.write(master, b"AA01\r")
    os.write(master, b"AA0")
    wait_until(lambda: old.written == {"AA01"}, "the first board")
    os.write(master, b"2\r\n")
    wait_until(lambda: old.written == {"AA01", "AA02"}, "the second board")
    os.close(master)
    assert s.end() == 1 and "is gone" in s.err and s.lines == ["AA01 board-0001 written", "AA02 board-0002 written", "2 boards: 2 written and reported, 0 failed"]
    missing = station(old.address, "--write", "true", "--scanner", tmp_path / "no", cwd=tmp_path)
    assert missing.status == 1 and "is not there" in missing.err


def test_what_is_not_written_is_not_reported(peer, tmp_path):
    old = peer()
    s = station(old.address, "--write", 'case "$DEVICE_ID" in A) exit 3;; B) kill -9 $$;; C) sleep 100;; esac', "--write-timeout", "1", cwd=tmp_path, ids="ABCD")
    assert s.status == 1 and old.written == {"D"} and old.actions("A") == [0]
    assert s.lines == ["A board-0001 not written: the command ended with status 3", "B board-0002 not written: the command was ended by signal 9 (Killed)",
                       "C board-0003 not written: the command did not end within 1 s and was killed", "D board-0004 written",
                       "4 boards: 1 written and reported, 3 failed"]
    assert station(old.address, "--write", "true", cwd=tmp_path, ids="A").lines[0] == "A board-0001 written"  # the same certificate


def test_nothing_is_in_a_command_s_arguments(peer, tmp_path):
    old = peer()
    s = station(old.address, "--write", "tr '\\0' ' ' < /proc/$$/cmdline > args; cat > /dev/null", cwd=tmp_path, ids="A")
    args = (tmp_path / "args").read_text()
    assert s.status == 0 and args.startswith("sh -c tr") and "board" not in args and "PSfed" not in args
    s = station(old.address, "--write", "esptool --name {deviceName}", cwd=tmp_path)
    assert s.status == 2 and "not replaced" in s.err


def test_a_command_that_is_not_there_costs_no_certificate(peer, tmp_path):
    old = peer()
    (tmp_path / "plain.sh").write_text("true")
    for command, why in (("./nosuch.sh", "No such file"), ("./plain.sh $DEVICE_ID", "Permission denied")):
        s = station(old.address, "--write", command, cwd=tmp_path, ids="A")
        assert s.status == 1 and why in s.err and s.lines == []
    assert old.allocated == {} and old.requests == []
    s = station(old.address, "--write", "./nosuch.sh; true", cwd=tmp_path, ids="A")  # sh's to say
    assert s.lines[0] == "A board-0001 written"


def test_a_command_that_does_not_read_or_that_is_slow(peer, tmp_path):
    old = peer(extra={"Column": "x" * 30000})
    s = station(old.address, "--write", "exec <&-; true", cwd=tmp_path, ids="A")
    assert s.lines[0] == "A board-0001 written"
    s = station(old.address, "--write", 'test "$(wc -c)" -gt 30000', cwd=tmp_path, ids="A")
    assert s.lines[0] == "A board-0001 written"


def test_mishaps_cost_no_second_certificate(peer, tmp_path):
    """A board meets one after the other; each is tried again with the same id."""
    old = peer()
    old.mishaps = [line_peer.dropped, line_peer.truncated, line_peer.page, None, line_peer.empty, line_peer.busy]
    s = station(old.address, "--write", "true", cwd=tmp_path, ids="A")
    assert s.status == 0 and len(old.allocated) == 1 and old.actions() == [0, 0, 0, 0, 1, 1, 1], s.lines
    old.slow = True
    assert station(old.address, "--write", "true", cwd=tmp_path, ids="B").status == 0


def test_refusals_and_wrong_replies_burn_nothing(peer, tmp_path):
    old = peer(stock=1)
    old.mishaps = [line_peer.wrong_crc, line_peer.cut, None]
    s = station(old.address, "--retries", "0", "--write", "echo burned >> log", cwd=tmp_path, ids="ABC")
    assert s.status == 1 and not (tmp_path / "log").exists() and 1 not in old.actions()
    assert re.match("A - .*CRC32", s.lines[0]) and re.match("B - .*no distribution server|B - OUT", s.lines[1]) and s.lines[2] == "C - OUT_OF_STOCK"


def journal(tmp_path):
    return [tuple(line.split("\t")) for line in (tmp_path / "j").read_text().splitlines()]


def test_written_and_not_reported_yet_is_reported_later(peer, tmp_path):
    """The server refuses or is gone when a board is to be reported: after the next board, at the end, and at the next start."""
    old = peer()
    old.refuse = {1: "BUSY"}
    args = ["--retries", "0", "--journal", "j", "--write", "true"]
    s = station(old.address, *args, cwd=tmp_path, ids="AB")
    assert s.status == 1 and s.lines[0] == "A board-0001 written, not reported yet: BUSY: it is so?[31m", s.lines
    assert s.lines[-1] == "2 boards: 0 written and reported, 0 failed; 2 written and not reported yet: start again with this journal"
    assert journal(tmp_path) == [(w, PK, f"board-000{n}", i) for n, i in [(1, "A"), (2, "B")] for w in ("got", "written")]
    assert (tmp_path / "j").stat().st_mode & 0o077 == 0 and f"{1:032x}" not in (tmp_path / "j").read_text()
    port = old.port
    old.close()
    s = station(f"127.0.0.1:{port}", *args, cwd=tmp_path)
    assert s.status == 1 and "still not reported" in s.lines[0] and len(s.lines) == 3 and len(journal(tmp_path)) == 4
    new = peer()
    new.allocated = {"A": "board-0001", "B": "board-0002"}
    s = station(new.address, *args, cwd=tmp_path, ids="C")
    assert s.status == 0 and new.written == {"A", "B", "C"}
    assert s.lines[:2] == [f"{i} board-000{n} was written before, is reported now" for n, i in [(1, "A"), (2, "B")]]
    assert s.lines[-1] == "1 board: 1 written and reported, 0 failed; 2 reported that were written before"
    s = station(new.address, *args, cwd=tmp_path)
    assert s.status == 0 and (tmp_path / "j").read_text() == ""  # nothing is open


def test_a_later_board_takes_an_earlier_report_along(peer, tmp_path):
    old = peer()
    old.mishaps = [None, line_peer.dropped]
    s = station(old.address, "--retries", "0", "--write", "true", cwd=tmp_path, ids="AB")
    assert s.status == 0 and s.lines[2] == "A board-0001 was written before, is reported now" and old.written == {"A", "B"}


@pytest.mark.parametrize("when", ["before it is written", "before it is reported"])
def test_a_killed_station(peer, tmp_path, when):
    """kill -9 while the command runs, and while the report is under way."""
    old = peer()
    os.mkfifo(tmp_path / "gate")
    write = "cat gate" if when == "before it is written" else "true"
    if when != "before it is written":
        old.mishaps = [None, lambda connection, answer: s.popen.kill()]
    s = Station(old.address, "--write", write, "--journal", "j", cwd=tmp_path)
    s.ids("A")
    if when == "before it is written":
        there = gate(tmp_path)
        s.popen.kill()
        s.popen.wait(PATIENCE)
        os.close(there)
    assert s.end() == -9
    with open(tmp_path / "j", "a") as torn:
        torn.write("writt")  # what a power cut leaves
    again = station(old.address, "--write", "true", "--journal", "j", cwd=tmp_path)
    if when == "before it is written":
        assert old.actions() == [0] and "A has board-0001, and nobody knows whether it was written" in again.err
        assert station(old.address, "--write", "true", "--journal", "j", cwd=tmp_path, ids="A").lines[0] == "A board-0001 written"
        assert station(old.address, "--write", "true", "--journal", "j", cwd=tmp_path).err == ""
    else:
        assert again.lines[0] == "A board-0001 was written before, is reported now" and again.status == 0
    assert old.written == {"A"}


def test_journals_belong_to_one_station_and_are_journals(peer, tmp_path):
    old = peer()
    s = Station(old.address, "--write", "true", "--journal", "j", cwd=tmp_path)
    s.ids("A")
    wait_until(lambda: old.written == {"A"}, "the first board")
    other = station(old.address, "--write", "true", "--journal", "j", cwd=tmp_path)
    assert other.status == 1 and "another station" in other.err
    assert s.end() == 0
    for text in ["hello\n", "got\tx\ty\n", "got\t" + "p" * 21 + "\ty\tz\n", "x" * 1000 + "\n"]:
        (tmp_path / "bad").write_text(text)
        got = station(old.address, "--write", "true", "--journal", "bad", cwd=tmp_path, ids="B")
        assert got.status == 1 and "no journal" in got.err and (tmp_path / "bad").read_text() == text
    assert station(old.address, "--write", "true", "--journal", "no/where", cwd=tmp_path, ids="B").status == 1 and old.written == {"A"}


def test_a_full_disk_under_the_journal_burns_nothing(peer, tmp_path):
    old = peer()
    got = subprocess.run(["sh", "-c", f"trap '' XFSZ; ulimit -f 0; exec {BUILD}/bin/causeway factory station --product {PK} --server {old.address} "
                          f"--write 'echo burned >&2' --journal j"], input="A\n", cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert got.returncode == 1 and "make room" in got.stdout and "burned" not in got.stderr and old.actions() == [0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_after_the_boards_in_hand(peer, tmp_path, number):
    old = peer()
    os.mkfifo(tmp_path / "gate")
    s = Station(old.address, "--write", "cat gate", cwd=tmp_path)
    s.ids("A", "B", "C")
    there = gate(tmp_path)
    s.popen.send_signal(number)
    os.close(there)
    assert s.end() == 0 and s.lines == ["A board-0001 written", "1 board: 1 written and reported, 0 failed"] and list(old.allocated) == ["A"]
    idle = Station(old.address, "--write", "true", "--journal", "j", cwd=tmp_path)
    wait_until(lambda: (tmp_path / "j").exists(), "the station to be up")
    idle.popen.send_signal(number)
    assert idle.end() == 0 and idle.lines == ["0 boards: 0 written and reported, 0 failed"]


def test_simulated_boards(peer, tmp_path):
    old = peer(stock=300)
    s = station(old.address, "--simulate", "100", "--parallel", "8", cwd=tmp_path)
    assert s.status == 0 and s.lines[-1] == "100 boards: 100 written and reported, 0 failed" and len(old.written) == 100
    s = station(old.address, "--simulate", "100", cwd=tmp_path)
    assert s.status == 0 and len(old.written) == 200  # other ids
    for _ in range(2):
        s = station(old.address, "--simulate", "3", "--prefix", "X-", cwd=tmp_path)
        assert s.lines[0] == f"X-00001 {old.allocated['X-00001']} written" and len(old.written) == 203


def test_an_id_in_hand_is_taken_once(peer, tmp_path):
    old = peer()
    os.mkfifo(tmp_path / "gate")
    s = Station(old.address, "--write", 'test "$DEVICE_ID" = B || cat gate', "--parallel", "2", cwd=tmp_path)
    s.ids("A")
    there = gate(tmp_path)
    s.ids("A", "B")
    wait_until(lambda: "B" in old.written, "B in the other hand")
    os.close(there)
    assert s.end() == 0 and "A is in hand already" in s.err and old.actions("A") == [0, 1]


def test_mistakes_with_tls_are_told_with_their_remedy(spawn, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.pem", "-days", "2", "-subj", "/CN=factory",
                    "-addext", "subjectAltName=DNS:elsewhere"], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "factory.conf").write_text(
        'line = [ { listen = "127.0.0.1:0" }, { listen = "127.0.0.1:0", tls { certificate = tls.pem, key = tls.key } } ], office = []\n')
    plain, tls = spawn("causeway-factory", "-c", tmp_path / "factory.conf", dir=tmp_path, name="factory").ready["line"]
    for address, args, hint in [(tls, [], "--tls)"), (plain, ["--tls"], "without --tls"), (tls, ["--tls"], "--ca FILE"),
                                (tls, ["--ca", "tls.pem"], "--ca has to be the authority")]:
        got = subprocess.run([BUILD / "bin" / "causeway", "factory", "request", "--retries", "0", *args, address, PK, "AA01"], cwd=tmp_path, capture_output=True,
                             text=True, timeout=PATIENCE)
        assert got.returncode == 4 and hint in got.stderr, (args, got)


def test_a_station_s_token_and_command_line(peer, tmp_path):
    old = peer()
    (tmp_path / "token").write_text("t0k3n\nmore\n")
    s = station(old.address, "--token", "file:token", "--write", 'env | grep -c t0k3n; true', cwd=tmp_path, ids="A")
    assert s.status == 0 and all("\r\nAuthorization: Bearer t0k3n\r\n" in head for head, _ in old.requests) and s.err == "0\n"
    for wrong, why in [([], "--write is missing"), (["--write", "x", "--parallel", "0"], "from 1 to"), (["--simulate", "x"], "from 1"), (["more"], "options only"),
                       (["--simulate", "1", "--scanner", "/dev/null"], "--scanner reads"), (["--write", "x", "--prefix", "y"], "--prefix is for"),
                       (["--token", "secret"], "file:PATH"), (["--token", "file:no"], "no")]:
        got = station(old.address, *wrong, cwd=tmp_path)
        assert got.status == 2 and why in got.err, (wrong, got.err)
