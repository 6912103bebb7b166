"""Plugins in processes of their own: what a decoder that crashes, hangs or eats memory costs, and whom."""
import os
import resource
import select
import shutil
import signal
import socket
import subprocess
import threading

import pytest
from conftest import BUILD, wait_until
from gw import PK, ask, cloud_conf, device_name, phone, start_gateway  # noqa: F401

SANITIZED = b"__asan_init" in (BUILD / "bin" / "causewayd").read_bytes() or b"__tsan_init" in (BUILD / "bin" / "causewayd").read_bytes()


class Line:
    """A device of the skeleton's protocol of lines, which the naughty plugin speaks, too."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), 30)
        self.sock.settimeout(30)
        self.file = self.sock.makefile("rb")

    def tell(self, *lines):
        self.sock.sendall(b"".join(line.encode() + b"\n" for line in lines))
        return self

    def hear(self):
        """The next line; None: closed."""
        try:
            line = self.file.readline()
        except ConnectionError:
            return None
        return line.decode().rstrip("\n") if line.endswith(b"\n") else None

    def until(self, start):
        while True:
            line = self.hear()
            assert line is not None, f"closed while waiting for {start!r}"
            if line.startswith(start):
                return line

    def log_in(self, i):
        self.tell(f"login,{phone(i)}")
        assert self.hear() == "ok,login"
        return self

    def report(self, value):
        self.tell(f"temp,{value}")
        assert self.until("ok,temp")
        return self

    def say_until_heard(self, line):
        """As devices do: what is not acknowledged is said again. A ticket that died with its host is not acknowledged."""
        while True:
            self.tell(line)
            if select.select([self.sock], [], [], 0.5)[0]:
                assert self.until("ok,temp")
                return

    def close(self):
        self.file.close()
        self.sock.close()


@pytest.fixture
def zoo(start_cloud, start_gateway, tmp_path):
    """zoo(isolation, devices=6) -> (cloud, gateway, connect(listener)); naughty and skeleton isolated, jt808 not; one worker."""
    made = []

    def start(isolation="", devices=6, protocols="naughty, skeleton", ack="received", more=""):
        plugins = tmp_path / "plugins"
        plugins.mkdir(exist_ok=True)
        for name in ("naughty", "probe"):
            shutil.copy(BUILD / "tests" / "plugins" / f"{name}.so", plugins)
        for name in ("jt808", "skeleton"):
            shutil.copy(BUILD / "plugins" / f"{name}.so", plugins)
        cloud = start_cloud(cloud_conf(devices))
        gateway = start_gateway(cloud, devices=devices, extra=f"""pluginDir = "{plugins}", workers = 1
listeners += {{ name = zoo, protocol = naughty, address = "127.0.0.1:0", ack = {ack} }}
listeners += {{ name = tame, protocol = skeleton, address = "127.0.0.1:0", ack = {ack} }}
isolation {{ protocols = [{protocols}], {isolation} }}
{more}""").wait_up()
        wait_hosts(gateway)

        def connect(listener="zoo"):
            made.append(Line(gateway.process.ready["listeners"][listener]))
            return made[-1]
        return cloud, gateway, connect
    yield start
    for line in made:
        line.close()


def hosts(gateway):
    return {h["protocol"]: h for h in gateway.status()["pluginHosts"]}


def wait_hosts(gateway, state="up"):
    wait_until(lambda: all(h["state"] == state for h in gateway.status()["pluginHosts"]), f"hosts {state}")
    return hosts(gateway)


def wait_value(cloud, i, value):
    wait_until(lambda: cloud.device(PK, device_name(i))["reported"].get("Temperature", {}).get("value") == value, f"{value} of {i}")


def alive(pid):
    try:
        os.kill(pid, 0)
        return True
    except ProcessLookupError:
        return False


def wait_deaths(gateway, n=1, protocol="naughty"):
    wait_until(lambda: hosts(gateway)[protocol]["deaths"] >= n, f"{n} deaths of {protocol}")


def poison(gateway):
    return sorted((gateway.dir / "state" / "poison").glob("*.txt"))


def field(line, name):
    return next(part[len(name) + 1:] for part in line.split() if part.startswith(name + "="))


# ---- who is hurt ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["crash", "abort", "exit", "eat", "late", "hang"])
def test_what_ends_a_decoder_hurts_only_the_connection_it_came_from(zoo, word):
    if word == "eat" and SANITIZED:
        pytest.skip("the sanitizers' memory has no limit")
    cloud, gateway, connect = zoo("memory = 64MiB, timeout = 500ms")
    with gateway.terminal(5) as truck:
        truck.log_in()
        good = connect().log_in(0).report(1.5)
        tame = connect("tame").log_in(1).report(2.5)
        bad = connect().log_in(2)
        pid = hosts(gateway)["naughty"]["pid"]
        bad.tell(word + ",now", "temp,9.9")
        assert bad.hear() is None, "closed, and nothing of the entry that crashed was sent"
        # The others notice nothing but that an answer takes a little.
        for value in (3.5, 4.5):
            good.report(value)
            tame.report(value)
            assert truck.report_acked(speed=10 * int(value)) == 0
        wait_value(cloud, 0, 4.5)
        now = wait_hosts(gateway)
        assert now["naughty"]["pid"] != pid and now["naughty"]["restarts"] == 1 and not alive(pid)
        assert now["skeleton"]["restarts"] == 0
        assert gateway.stats()["net.connections"] == 3
        died, = gateway.log_lines("plugin.host_died")
        assert f"device={phone(2)}" in died and "connections=2" in died and f"{phone(0)}" in field(died, "devices")
        assert field(died, "frame") == (word + ",now\n").encode().hex()
        file, = wait_until(lambda: poison(gateway), "the frame in a file")
        assert file.stat().st_mode & 0o777 == 0o600
        text = wait_until(lambda: file.read_text().endswith("\n") and file.read_text(), "all of it")
        assert phone(2) in text and "# protocol: naughty" in text and "# version: 1.0.0" in text
        assert [line for line in text.splitlines() if not line.startswith("#")] == [(word + ",now\n").encode().hex()]
        if word == "hang":
            assert gateway.stats()["plugin.host_hangs"] == 1
        assert gateway.stats()["plugin.poisonous_frames"] == 1
        # It may come back, and is served.
        connect().log_in(2).report(7)


def test_the_kept_frame_is_input_of_decode_and_of_plugin_replay(zoo):
    _, gateway, connect = zoo()
    connect().log_in(0).tell("abort,1")
    file, = wait_until(lambda: poison(gateway), "the frame in a file")
    wait_until(lambda: file.read_text().endswith("\n") and not file.read_text().endswith("why\n"), "all of it")
    done = subprocess.run([BUILD / "bin" / "causeway", "decode", "skeleton", file], capture_output=True, text=True, timeout=60)
    assert "\"frame\"" in done.stdout or "61626f72742c310a" in done.stdout, (done.stdout, done.stderr)
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "replay", "skeleton", file], capture_output=True, text=True, timeout=60)
    assert "61626f72742c310a" in done.stdout, (done.stdout, done.stderr)


def test_a_timer_that_crashes_names_the_device_and_no_frame(zoo):
    _, gateway, connect = zoo()
    good = connect().log_in(0)
    bad = connect().log_in(1).tell("timer")
    assert bad.hear() is None
    wait_deaths(gateway)
    died, = gateway.log_lines("plugin.host_died")
    assert f"device={phone(1)}" in died and "frame=-" in died
    good.report(1)
    assert poison(gateway) == []


def test_a_command_that_crashes_ends_with_a_code_and_the_next_is_served(zoo):
    cloud, gateway, connect = zoo()
    connect().log_in(0)
    other = connect().log_in(1)
    gateway.wait_state(0, "online")
    gateway.wait_state(1, "online")
    waiting = ask(cloud, 1, "/services/SetInterval", {"seconds": 60})
    assert other.hear() == "interval,60"
    status, answer = ask(cloud, 0, "/services/Deadly", {})()
    assert answer["reply"]["code"] == 500, answer
    assert waiting()[1]["reply"]["code"] == 500, "it ran when its decoder died"
    wait_hosts(gateway)
    waiting = ask(cloud, 1, "/services/SetInterval", {"seconds": 61})
    assert other.until("interval,61")
    other.tell("ok,interval")
    assert waiting()[1]["reply"]["code"] == 200


def test_records_handed_up_stay_and_nothing_is_acknowledged_twice(zoo):
    """The platform is asked to be slow: the record is on its way when its decoder dies."""
    cloud, gateway, connect = zoo(ack="delivered")
    good = connect().log_in(0).report(1)
    bad = connect().log_in(1)
    good.tell("temp,2")
    bad.tell("abort")
    assert bad.hear() is None
    wait_deaths(gateway)
    good.tell("temp,3")
    heard = [good.hear()]
    wait_value(cloud, 0, 3)
    good.tell("pid")
    while not heard[-1].startswith("pid"):
        heard.append(good.hear())
    assert 1 <= heard.count("ok,temp") <= 2 and set(heard[:-1]) == {"ok,temp"}, heard


def test_frames_that_were_read_and_not_yet_decoded_are_decoded_by_the_next_host(zoo):
    """Stopped from outside, the host decodes nothing; killed, what it had not finished with is not lost."""
    cloud, gateway, connect = zoo("timeout = 0s")
    devices = [connect().log_in(i) for i in range(3)]
    pid = hosts(gateway)["naughty"]["pid"]
    before = gateway.stats()["net.bytes_in"]
    os.kill(pid, signal.SIGSTOP)
    for i, d in enumerate(devices):
        d.tell(*(f"temp,{10 * i + n}" for n in range(5)), "temp,")
    sent = sum(len(f"temp,{10 * i + n}\n") for i in range(3) for n in range(5)) + 3 * len("temp,\n")
    wait_until(lambda: gateway.stats()["net.bytes_in"] - before >= sent, "everything read")
    os.kill(pid, signal.SIGKILL)
    for i, d in enumerate(devices):
        for _ in range(5):
            assert d.hear() == "ok,temp"
    for i in range(3):
        wait_value(cloud, i, 10 * i + 4)
    assert gateway.stats()["net.connections"] == 3
    assert poison(gateway) == []


# ---- the process ------------------------------------------------------------------------------------------


def test_a_host_may_be_killed_again_and_again_under_load(zoo):
    cloud, gateway, connect = zoo("crashes = 60")
    stop = threading.Event()
    lines = [connect().log_in(i) for i in range(4)]
    last = {}

    def device(i):
        n = 0
        while not stop.is_set():
            n += 1
            lines[i].say_until_heard(f"temp,{n}")
        last[i] = n
    threads = [threading.Thread(target=device, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for n in range(5):
        pid = wait_until(lambda: hosts(gateway)["naughty"]["state"] == "up" and hosts(gateway)["naughty"]["pid"], "a host")
        done = gateway.stats()["plugin.records"]
        wait_until(lambda: gateway.stats()["plugin.records"] > done, "work")
        os.kill(pid, signal.SIGKILL)
        wait_deaths(gateway, n + 1)
    stop.set()
    for t in threads:
        t.join(60)
    assert len(last) == 4 and gateway.stats()["net.connections"] == 4
    for i in range(4):
        wait_value(cloud, i, last[i])


def test_a_protocol_whose_host_keeps_dying_is_taken_out_of_service_and_comes_back(zoo):
    _, gateway, connect = zoo("crashes = 3, window = 1m, retry = 1h")
    tame = connect("tame").log_in(5)
    bystander = connect().log_in(4)
    for n in range(3):
        connect().log_in(n).tell("abort")
        wait_deaths(gateway, n + 1)
    wait_until(lambda: hosts(gateway)["naughty"]["state"] == "out of service", "out of service")
    assert bystander.hear() is None
    assert connect().hear() is None
    assert gateway.stats()["plugin.refused_out"] == 1
    assert gateway.stats()["plugin.taken_out"] == 1
    assert "out of service" in gateway.cli("status").stdout
    tame.report(1)
    gateway.reload()
    wait_hosts(gateway)
    connect().log_in(4).report(2)
    assert len(gateway.log_lines("plugin.back_in_service")) == 1


def test_out_of_service_ends_by_itself(zoo):
    _, gateway, connect = zoo("crashes = 1, retry = 1s")
    connect().log_in(0).tell("abort")
    wait_deaths(gateway)
    wait_until(lambda: gateway.log_lines("plugin.back_in_service"), "back")
    wait_hosts(gateway)
    connect().log_in(0).report(2)


def test_stopping_leaves_no_process_behind(zoo):
    _, gateway, connect = zoo(protocols='"*"')
    connect().log_in(0).report(1)
    pids = [h["pid"] for h in gateway.status()["pluginHosts"]]
    assert len(pids) == 3 and all(alive(p) for p in pids)
    gateway.process.stop()
    assert not any(alive(p) for p in pids)


def test_a_killed_causewayd_takes_its_hosts_along(zoo):
    _, gateway, connect = zoo()
    connect().log_in(0)
    pids = [h["pid"] for h in gateway.status()["pluginHosts"]]
    gateway.process.kill()
    wait_until(lambda: not any(alive(p) for p in pids), "no host without its causewayd")


def test_signals_of_the_terminal_do_not_end_a_host(zoo):
    _, gateway, connect = zoo()
    line = connect().log_in(0)
    pid = hosts(gateway)["naughty"]["pid"]
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, signum)
    line.report(1)
    assert hosts(gateway)["naughty"]["pid"] == pid


# ---- the sandbox --------------------------------------------------------------------------------------------


@pytest.mark.skipif(SANITIZED, reason="no filter of system calls in builds with sanitizers")
def test_a_decoder_in_its_box_opens_nothing_and_calls_nobody(zoo):
    _, gateway, connect = zoo()
    line = connect().log_in(0)
    assert hosts(gateway)["naughty"]["seccomp"] is True
    line.tell("open")
    assert line.until("open") == "open,-1"
    pid = hosts(gateway)["naughty"]["pid"]
    status = open(f"/proc/{pid}/status").read()
    assert "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    line.tell("socket")
    assert line.hear() is None
    wait_deaths(gateway)
    assert "SIGSYS" in gateway.log_lines("plugin.host_died")[0]


def test_a_host_holds_no_descriptor_of_causewayd(zoo):
    _, gateway, connect = zoo()
    connect().log_in(0)
    pid = hosts(gateway)["naughty"]["pid"]
    links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [link for link in links if link.startswith("socket:") or "state" in link], links


def test_without_a_filter_it_runs_open_and_says_so(zoo):
    _, gateway, connect = zoo("sandbox = off")
    line = connect().log_in(0)
    assert hosts(gateway)["naughty"]["seccomp"] is False
    assert "no seccomp" in gateway.cli("status").stdout
    if not SANITIZED:
        line.tell("open")
        assert line.until("open") == "open,-1", "the limit of descriptors holds without a filter"


NO_SECCOMP = """#!/usr/bin/python3
import ctypes, os, sys
lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
lib.seccomp_init.restype = ctypes.c_void_p
ctx = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(0x7fff0000)))  # allow
no = ctypes.c_uint32(0x00050001)  # EPERM
assert lib.seccomp_rule_add(ctx, no, lib.seccomp_syscall_resolve_name(b"seccomp"), 0) == 0
lib.seccomp_rule_add.argtypes = None
class Cmp(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]
assert lib.seccomp_rule_add_array(ctx, no, lib.seccomp_syscall_resolve_name(b"prctl"), 1, ctypes.byref(Cmp(0, 4, 22, 0))) == 0
assert lib.seccomp_load(ctx) == 0
os.execv({program!r}, [{program!r}, *sys.argv[1:]])
"""


@pytest.mark.skipif(SANITIZED, reason="no filter of system calls in builds with sanitizers")
@pytest.mark.parametrize("sandbox", ["preferred", "required"])
def test_where_the_system_allows_no_filter_it_is_said_or_refused(start_cloud, start_gateway, tmp_path, sandbox):
    """As in a container whose own filter forbids seccomp."""
    program = tmp_path / "causewayd-in-a-container"
    program.write_text(NO_SECCOMP.format(program=str(BUILD / "bin" / "causewayd")))
    program.chmod(0o755)
    cloud = start_cloud(cloud_conf(1))
    gateway = start_gateway(cloud, devices=1, program=program, extra=f"""workers = 1
isolation {{ protocols = [jt808], sandbox = {sandbox}, crashes = 2 }}""").wait_up()
    if sandbox == "preferred":
        wait_hosts(gateway)
        assert "seccomp" in gateway.log_lines("plugin.host_open")[0]
        with gateway.terminal(0) as truck:
            truck.log_in()
            assert truck.report_acked(speed=10) == 0
    else:
        wait_hosts(gateway, "out of service")
        assert all("could not start: seccomp" in line for line in gateway.log_lines("plugin.host_died"))


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user, which only root may")
def test_a_plain_user_runs_hosts_as_root_does(zoo, tmp_path):
    """Starting, watching and ending hosts needs no privilege."""
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", BUILD / "tests" / "test_plugin_isolated"],
                          capture_output=True, text=True, timeout=120, cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_decoder_prints_reaches_nobodys_terminal(zoo):
    if SANITIZED:
        pytest.skip("the sanitizers' reports go there")
    _, gateway, connect = zoo()
    line = connect().log_in(0).tell("print,secret")
    line.report(1)
    assert "a decoder prints" not in gateway.process.stderr()


# ---- configuration --------------------------------------------------------------------------------------------


def test_nothing_is_isolated_unless_asked_for(zoo):
    _, gateway, connect = zoo(protocols="")
    connect().log_in(0).report(1)
    assert gateway.status()["pluginHosts"] == []


def test_a_name_that_is_no_protocol_in_use_is_warned_of(zoo):
    _, gateway, _ = zoo(protocols="naughty, jt809")
    assert any("jt809" in line for line in gateway.log_lines("conf.warning"))


def test_a_change_of_isolation_needs_a_restart_and_says_so(zoo):
    _, gateway, _ = zoo()
    gateway.config.write_text(gateway.config.read_text().replace("isolation { protocols = [naughty, skeleton]",
                                                                 "isolation { protocols = [naughty]"))
    assert "isolation" in gateway.reload().split("needs a restart:")[1]


def test_settings_reach_a_decoder_in_its_process(zoo):
    cloud, gateway, connect = zoo(more="protocols { skeleton { upperCase = true } }")
    line = connect("tame").log_in(0)
    gateway.wait_state(0, "online")
    waiting = ask(cloud, 0, "/services/SetInterval", {"seconds": 60})
    assert line.hear() == "INTERVAL,60"
    line.tell("ok,interval")
    assert waiting()[1]["reply"]["code"] == 200


# ---- where the frames cannot be kept -----------------------------------------------------------------------


def test_a_folder_for_frames_that_cannot_be_written_is_said_and_costs_nothing_else(zoo):
    _, gateway, connect = zoo()
    (gateway.dir / "state" / "poison").write_text("a file where the folder should be")
    good = connect().log_in(0)
    connect().log_in(1).tell("abort")
    wait_deaths(gateway)
    wait_until(lambda: gateway.log_lines("plugin.poison_failed"), "the log to say so")
    assert "Not a directory" in gateway.log_lines("plugin.poison_failed")[0]
    good.report(1)


def test_a_disk_that_is_full_leaves_no_half_frame(zoo):
    _, gateway, connect = zoo()
    good = connect().log_in(0)
    # As on a full disk: every file ends behind its first 64 bytes.
    resource.prlimit(gateway.process.popen.pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
    connect().log_in(1).tell("abort")
    wait_deaths(gateway)
    resource.prlimit(gateway.process.popen.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wait_hosts(gateway)  # a plugin host shares memory, which has a size, too
    good.report(1)
    connect().log_in(2).tell("abort")
    wait_deaths(gateway, 2)
    whole = (b"abort\n".hex() + "\n")
    wait_until(lambda: any(phone(2) in f.read_text() and f.read_text().endswith(whole) for f in poison(gateway)), "the next is kept")
    assert all(f.read_text().endswith(whole) for f in poison(gateway))
