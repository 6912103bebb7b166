"""`causeway plugin replay`: captures of every kind through a decoder, two versions of one, and the gateway's own recordings."""
import json
import shutil
import signal
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT, wait_until
from gw import phone, start_gateway, world  # noqa: F401

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from pcap import ACK, ETHERNET, FIN, LOOP, NULL, RAW, RST, SLL, SLL2, SYN, Tcp, Wire  # noqa: E402
from terminal import frame, location  # noqa: E402

SKELETON = BUILD / "plugins" / "skeleton.so"
DEVICE, SERVER = ("10.0.0.5", 40001), ("10.0.0.1", 7611)


def replay(capture, *args, plugin=SKELETON, status=None):
    """(exit status, beats, summary) of --json."""
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", "--json", *args, plugin, capture], capture_output=True, timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines and lines[-1]["what"] == "summary", done.stderr
    if status is not None:
        assert done.returncode == status, done.stdout.decode()
    return lines[:-1], lines[-1]


def texts(beats, what):
    return [bytes.fromhex(b["hex"]).decode() for b in beats if b["what"] == what]


def values(beats):
    return [r["values"] for b in beats for r in b["records"]]


def session(wire, **how):
    """The skeleton's protocol: a login, two readings, their answers."""
    tcp = Tcp(wire, **how)
    tcp.up(b"login,dev1\n")
    tcp.down(b"ok,login\n")
    tcp.up(b"temp,21.5\n")
    tcp.down(b"ok,temp\n")
    tcp.up(b"temp,22\n")
    tcp.down(b"ok,temp\n")
    tcp.close()
    return wire


EXTENSIONS = bytes([60, 0]) + bytes(6) + bytes([6, 0]) + bytes(6)  # hop-by-hop, destination options, then TCP
FORMS = {
    "pcap": (dict(), lambda w: w.pcap()), "pcap, big-endian": (dict(), lambda w: w.pcap(">")),
    "pcap, nanoseconds": (dict(), lambda w: w.pcap(nano=True)), "pcap, big-endian, nanoseconds": (dict(), lambda w: w.pcap(">", True)),
    "pcapng": (dict(), lambda w: w.pcapng()), "pcapng, big-endian": (dict(), lambda w: w.pcapng(">")),
    "pcapng, nanoseconds": (dict(), lambda w: w.pcapng(nano=True)), "vlan": (dict(kind=ETHERNET, vlan=1), lambda w: w.pcap()),
    "two vlans": (dict(kind=ETHERNET, vlan=2), lambda w: w.pcapng()), "cooked": (dict(kind=SLL), lambda w: w.pcap()),
    "cooked v2": (dict(kind=SLL2), lambda w: w.pcapng()), "raw": (dict(kind=RAW), lambda w: w.pcap()),
    "loopback": (dict(kind=NULL), lambda w: w.pcap()), "loopback of OpenBSD": (dict(kind=LOOP), lambda w: w.pcap(">")),
}


@pytest.mark.parametrize("v6", [False, True], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("form", FORMS)
def test_a_capture_of_tcp_says_the_same_in_every_form(tmp_path, form, v6):
    how, write = FORMS[form]
    ends = dict(device=("2001:db8::5", 40001), server=("2001:db8::1", 7611)) if v6 else {}
    wire = session(Wire(**how, extensions=EXTENSIONS if v6 else b""), **ends)
    (tmp_path / "c").write_bytes(write(wire))
    beats, summary = replay(tmp_path / "c", status=0)
    assert texts(beats, "in") == ["login,dev1\n", "temp,21.5\n", "temp,22\n"]
    assert values(beats) == [{"Temperature": 21.5}, {"Temperature": 22}]
    assert {a["verdict"] for b in beats for a in b["answers"]} == {"same"} and summary["answersMissing"] == 0
    assert beats[0]["connection"] == ("[2001:db8::5]:40001" if v6 else "10.0.0.5:40001") and beats[-1]["what"] == "close"
    assert beats[1]["time"] == "2026-01-01T00:00:00.020Z"


def test_a_pcapng_without_times_is_played_too(tmp_path):
    (tmp_path / "c").write_bytes(session(Wire()).pcapng(simple=True))
    assert values(replay(tmp_path / "c", status=0)[0]) == [{"Temperature": 21.5}, {"Temperature": 22}]


def test_segments_out_of_order_sent_twice_and_overlapping_are_put_together(tmp_path):
    tcp = Tcp(Wire())  # its numbers wrap around in the middle
    text = b"login,dev1\n" + b"".join(b"temp,%d.5\n" % i for i in range(60))
    base = tcp.seq[0]
    pieces = [(at, text[at:at + 30]) for at in range(0, len(text), 20)]  # each overlaps the next by ten
    for k in range(0, len(pieces) - 2, 3):
        a, b, c = pieces[k:k + 3]
        for at, data in (c, b, c, a, b):
            tcp.up(data, seq=base + at)
    for at, data in pieces[-(len(pieces) % 3 or 3):]:
        tcp.up(data, seq=base + at)
    (tmp_path / "c").write_bytes(tcp.wire.pcap())
    beats, summary = replay(tmp_path / "c", status=0)
    assert values(beats) == [{"Temperature": i + 0.5} for i in range(60)]
    assert summary["gaps"] == 0 and summary["packetsRetransmitted"] > 0


def test_what_the_capture_lacks_is_a_gap_with_its_length(tmp_path):
    tcp = Tcp(Wire())
    tcp.up(b"login,dev1\n")
    tcp.up(b"temp,1\n", record=False)  # the capture has not seen it, the server has
    tcp.up(b"temp,2\n")
    tcp.down(b"ok,login\n")
    tcp.up(b"temp,3\n", cut=4)  # a snap length
    tcp.down(b"ok,temp\n")
    tcp.up(b"\n")
    tcp.close()
    (tmp_path / "c").write_bytes(tcp.wire.pcap())
    beats, summary = replay(tmp_path / "c")
    notes = [n for b in beats for n in b["notes"]]
    assert "7 bytes from the device are missing in the capture" in notes
    assert "4 bytes from the device are missing in the capture" in notes
    assert summary["gaps"] == 2 and {"Temperature": 2} in values(beats) and {"Temperature": 1} not in values(beats)


def test_connections_without_a_beginning_reset_and_begun_again_are_told_apart(tmp_path):
    wire = Wire()
    late = Tcp(wire, device=("10.0.0.6", 50000), syn=False)
    late.up(b"login,late\n")
    one = Tcp(wire)
    one.up(b"login,one\n")
    late.up(b"temp,1\n")
    one.up(b"temp,2\n")
    one.send(0, b"", RST)
    again = Tcp(wire, seq=77)  # the same four numbers
    again.up(b"login,again\n")
    again.up(b"temp,3\n")
    (tmp_path / "c").write_bytes(wire.pcap())
    beats, summary = replay(tmp_path / "c", status=0)
    assert summary["connections"] == 3 and values(beats) == [{"Temperature": 1}, {"Temperature": 2}, {"Temperature": 3}]
    assert "the capture begins in the middle of this connection" in beats[0]["notes"]


def test_the_port_says_which_side_is_the_device_and_leaves_others_out(tmp_path):
    wire = Wire()
    tcp = Tcp(wire, device=("10.0.0.5", 100), server=SERVER, syn=False)  # the lower port would be taken for a server's
    tcp.up(b"login,dev1\n")
    tcp.up(b"temp,4\n")
    other = Tcp(wire, server=("10.0.0.1", 22))
    other.up(b"SSH-2.0\n")
    wire.udp(("10.0.0.5", 4000), ("10.0.0.1", 53), b"temp,9\n")  # no protocol of datagrams
    (tmp_path / "c").write_bytes(wire.pcap())
    beats, summary = replay(tmp_path / "c", "--port", "7611", status=0)
    assert values(beats) == [{"Temperature": 4}] and beats[0]["connection"] == "10.0.0.5:100"
    assert summary["packetsFiltered"] == 4
    beats, _ = replay(tmp_path / "c", "--device-port", "100", status=0)
    assert values(beats) == [{"Temperature": 4}]


def test_datagrams_of_jt808_keep_their_edges(tmp_path):
    """covers: M01"""
    wire = Wire()
    for n in range(3):
        wire.udp(("10.0.0.5", 4000), ("10.0.0.1", 7612), frame(0x0200, phone(0), n, location(speed=n * 10)))
    (tmp_path / "c").write_bytes(wire.pcapng())
    sets = ("--settings", "authPolicy = any", "--settings", "identifyBy = any")
    beats, summary = replay(tmp_path / "c", *sets, plugin="jt808", status=0)
    assert summary["frames"] == 3 and [v["Speed"] for v in values(beats)] == [0, 1, 2]


@pytest.mark.parametrize("fields", [False, True])
def test_the_vectors_of_jt808_go_through_a_capture(tmp_path, fields):
    """covers: M01"""
    vectors = [v for v in json.loads((ROOT / "tests" / "vectors" / "jt808.json").read_text())
               if v["kind"] == "frame" and v["expect"] == "accept" and not v.get("fragment")]
    wire = Wire()
    for n, v in enumerate(vectors):
        tcp = Tcp(wire, device=("10.1.0.5", 20000 + n))
        data = bytes.fromhex(v["hex"])
        tcp.up(data[:7])
        tcp.up(data[7:])
        tcp.close()
    (tmp_path / "c").write_bytes(wire.pcap())
    beats, summary = replay(tmp_path / "c", "--settings", "authPolicy = any", "--settings", "identifyBy = any",
                            *(["--fields"] if fields else []), plugin="jt808")
    frames = [b for b in beats if b["what"] in ("in", "refused")]
    assert len(vectors) > 10 and [b["hex"] for b in frames] == [v["hex"].lower() for v in vectors]
    assert summary["refused"] == 0
    for beat, v in zip(frames, vectors, strict=True):
        for key, want in v.get("decoded", {}).items() if fields else ():
            assert beat["fields"].get(key) == want, key


def test_a_capture_that_scapy_wrote(tmp_path):
    scapy = pytest.importorskip("scapy.all")
    packets = []
    seq, ack = 1000, 9000
    head = scapy.Ether() / scapy.Dot1Q(vlan=3) / scapy.IP(src="10.0.0.5", dst="10.0.0.1")

    def tcp(flags, data=b"", up=True):
        nonlocal seq, ack
        ip = head if up else scapy.Ether() / scapy.Dot1Q(vlan=3) / scapy.IP(src="10.0.0.1", dst="10.0.0.5")
        ports = dict(sport=40001, dport=7611) if up else dict(sport=7611, dport=40001)
        packets.append(ip / scapy.TCP(**ports, flags=flags, seq=seq if up else ack, ack=ack if up else seq) / scapy.Raw(data))
        size = len(data) + ("S" in flags or "F" in flags)
        seq, ack = (seq + size, ack) if up else (seq, ack + size)
    tcp("S")
    tcp("SA", up=False)
    tcp("PA", b"login,dev1\n")
    tcp("PA", b"temp,7.25\n")
    packets[-2:] = packets[:-3:-1]  # out of order
    tcp("FA")
    tcp("FA", up=False)
    for write, name in ((scapy.wrpcap, "a.pcap"), (scapy.wrpcapng, "a.pcapng")):
        write(str(tmp_path / name), packets)
        beats, _ = replay(tmp_path / name, status=0)
        assert values(beats) == [{"Temperature": 7.25}] and beats[-1]["what"] == "close"


HEX = """# a session
> 6c6f67696e2c646576310a      # login,dev1
< 6f6b2c6c6f67696e0a
@two 2026-01-01T00:00:05.250Z > 6c6f67696e2c6e6f626f64790a
@lines +1000 74 65 6d 70 2c 0x31 0x0a
< 6e6f2c74656d700a
68690a
@lines close
"""


def test_lines_of_hex_have_directions_times_and_names(tmp_path):
    (tmp_path / "c.hex").write_text(HEX)
    beats, summary = replay(tmp_path / "c.hex", status=1)
    by = {(b["connection"], b["what"], b["time"][11:]) for b in beats}
    assert ("two", "in", "00:00:05.250Z") in by and ("lines", "in", "00:00:06.250Z") in by
    [first, *_] = [b for b in beats if b["what"] == "in"]
    assert first["answers"] == [{"hex": b"ok,login\n".hex(), "verdict": "same"}]
    [other] = [b for b in beats if b["records"]]
    assert other["answers"] == [{"hex": b"ok,temp\n".hex(), "verdict": "other"}]
    assert texts(beats, "missing") == ["no,temp\n"]
    [bad] = [b for b in beats if b["what"] == "refused"]
    assert bad["error"]["code"] == "malformed" and summary["answersOther"] == 1 and summary["refused"] == 1


def test_who_is_known_is_the_devices_files_choice(tmp_path):
    (tmp_path / "c.hex").write_text(HEX)
    (tmp_path / "devices.conf").write_text("dev1 { productKey = a1, deviceName = d, deviceSecret = 0123456789abcdef }\n")
    beats, summary = replay(tmp_path / "c.hex", "--identities", tmp_path / "devices.conf", status=1)
    assert summary["refusedIdentities"] == 1
    [two] = [b for b in beats if b["connection"] == "two" and b["what"] == "in"]
    assert two["answers"] == [{"hex": b"no,login\n".hex()}] and "identity nobody is not known" in two["notes"]


def test_timers_run_out_by_the_captures_clock(tmp_path):
    """A command's answer that never comes would be the plugin's own timer; jt808 waits for the rest of a message in parts."""
    part = frame(0x0200, phone(0), 5, location()[:20], fragment=(2, 1)).hex()
    (tmp_path / "c.hex").write_text(f"{part}\n+3600000 {frame(0x0002, phone(0), 6).hex()}\n")
    sets = ("--settings", "authPolicy = any", "--settings", "identifyBy = any")
    beats, _ = replay(tmp_path / "c.hex", *sets, plugin="jt808")
    asked = [b for b in beats if b["what"] == "timer" and b["answers"]]  # 0x8003: send the missing part again
    assert asked and asked[0]["answers"][0]["hex"].startswith("7e8003") and asked[0]["time"] < "2026-01-01T00:59"


def build(folder, name, change):
    """The skeleton with a word changed, as a plugin of its own."""
    shutil.copytree(ROOT / "plugins" / "skeleton", folder)
    source = folder / "skeleton.c"
    source.write_text(change(source.read_text()))
    out = folder / f"{name}.so"
    subprocess.run(["gcc", "-std=gnu11", "-fPIC", "-shared", "-fvisibility=hidden", f"-I{ROOT / 'include'}", *folder.glob("*.c"), "-o", out],
                   check=True)
    return out


def diff(a, b, capture, *args):
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", "--diff", b, *args, a, capture], capture_output=True,
                          timeout=60, text=True)
    return done.returncode, done.stdout, done.stderr


def test_two_versions_differ_where_they_say_something_else(tmp_path):
    (tmp_path / "c").write_bytes(session(Wire()).pcap())
    new = build(tmp_path / "new", "skeleton", lambda s: s.replace('"ok,temp\\n"', '"OK,temp\\n"').replace('"Temperature"', '"Temp"'))
    status, out, err = diff(SKELETON, SKELETON, tmp_path / "c")
    assert (status, out.splitlines()[-1]) == (0, "0 of 8 events differ"), err
    status, out, err = diff(SKELETON, new, tmp_path / "c")
    assert status == 1 and out.splitlines()[-1] == "3 of 8 events differ", out + err
    assert '-     record  {"kind":"properties","values":{"Temperature":21.5}}' in out
    assert '+     record  {"kind":"properties","values":{"Temp":21.5}}' in out
    assert b"OK,temp\n".hex() + " other" in out and "login" not in out and b"login".hex() not in out
    status, out, _ = diff(SKELETON, new, tmp_path / "c", "--json")
    changes = [json.loads(line) for line in out.splitlines()]
    assert [c["a"][0]["records"][0]["values"] for c in changes[:2]] == [{"Temperature": 21.5}, {"Temperature": 22}]
    assert [b["what"] for b in changes[2]["b"]] == ["missing", "missing"]  # what the other one has answered
    assert [c["b"][0]["records"][0]["values"] for c in changes[:2]] == [{"Temp": 21.5}, {"Temp": 22}]


def test_a_version_that_crashes_is_named_with_the_bytes_that_did_it(tmp_path):
    (tmp_path / "c").write_bytes(session(Wire()).pcap())
    crash = BUILD / "tests" / "naughty" / "naughty_crash.so"
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", crash, tmp_path / "c"], capture_output=True, timeout=60, text=True)
    assert done.returncode == 1 and b"temp,21.5\n".hex() in done.stderr and "at event 3" in done.stderr, done.stderr
    status, out, err = diff(SKELETON, crash, tmp_path / "c")
    assert status == 1 and "naughty_crash.so" in err and '-     record' in out


@pytest.mark.parametrize("what", [b"\xd4\xc3\xb2\xa1" + bytes(20) + b"\xff" * 40, b"{}\nnonsense\n", b"> 12 3\n", b"@ 12\n",
                                  b"\x0a\x0d\x0d\x0a\x1c\0\0\0" + bytes(20)])
def test_a_damaged_capture_is_said_to_be_one(tmp_path, what):
    (tmp_path / "c").write_bytes(what)
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", SKELETON, tmp_path / "c"], capture_output=True, timeout=60, text=True)
    assert done.returncode == 1 and "causeway plugin replay:" in done.stderr or "damaged" in done.stdout


def test_wrong_command_lines(tmp_path):
    for args in ([], ["a"], ["--port", "70000", "a", "b"], ["--port", "x", "a", "b"], ["--linger", "-1", "a", "b"], ["--start", "now", "a", "b"]):
        done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", *args], capture_output=True, timeout=60)
        assert done.returncode == 2 and b"usage:" in done.stderr, args
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", SKELETON, tmp_path / "none"], capture_output=True, timeout=60)
    assert done.returncode == 1 and b"none" in done.stderr


class Recorder:
    """`causeway trace .. --record` in the background."""

    def __init__(self, gateway, *what):
        self.file = gateway.dir / "recorded.rec"
        self.process = subprocess.Popen([BUILD / "bin" / "causeway", "trace", *what, "--control", f"unix:{gateway.control}", "--record",
                                         self.file], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def lines(self):
        text = self.file.read_text() if self.file.exists() else ""
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.process.stderr.close()


def listener_name(gateway):
    return gateway.status()["listeners"][0]["name"]


def test_a_recording_of_a_listener_is_played_again(world):
    """covers: M23"""
    cloud, gateway = world()
    recorder = Recorder(gateway, "--listener", listener_name(gateway))
    try:
        def begun():
            with gateway.raw() as s:  # somebody who says nothing, until the recording has begun
                s.close()
            return recorder.lines()
        wait_until(begun, "the recording to begin")
        with gateway.terminal(0) as t:
            t.log_in()
            t.report_acked()
            t.sock.sendall(b"\x01\x02\x03")
            t.report_acked()
        wait_until(lambda: [m for m in recorder.lines() if m["what"] == "closed" and m.get("conn") in
                            {d["conn"] for d in recorder.lines() if d["what"] == "data"}], "the end in the recording")
    finally:
        recorder.stop()
    assert recorder.file.stat().st_mode & 0o777 == 0o600
    beats, summary = replay(recorder.file, "--settings", "authPolicy = any", plugin="jt808", status=1)
    assert summary["noiseBytes"] == 3 and summary["refused"] == 0
    assert len([v for v in values(beats) if "Speed" in v]) == 2
    asked = [n for b in beats for n in b["notes"] if n.startswith(f"identity {phone(0)}")]
    assert asked and summary["answersSame"] > 0, "the decoder answers as it did"


def test_a_recording_of_one_device_is_played_again(world):
    """covers: M23"""
    cloud, gateway = world()
    recorder = Recorder(gateway, phone(0))
    try:
        with gateway.terminal(0) as t:
            t.log_in()
            wait_until(lambda: t.send(0x0002) is not None and recorder.lines(), "the trace to begin")
            t.report_acked()
            wait_until(lambda: [m for m in recorder.lines() if "7e0200" in m.get("hex", "")], "the report")
    finally:
        recorder.stop()
    beats, summary = replay(recorder.file, "--settings", "authPolicy = any", "--settings", "identifyBy = any", plugin="jt808")
    assert [v for v in values(beats) if "Speed" in v] and summary["refused"] == 0


def test_a_listener_that_is_not_there_is_not_recorded(world):
    cloud, gateway = world()
    recorder = Recorder(gateway, "--listener", "nowhere")
    assert recorder.process.wait(30) == 1
    assert b"there is no listener or connection of that name" in recorder.process.stderr.read()
    recorder.process.stderr.close()
