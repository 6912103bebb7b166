"""What `cmake --install` and `cpack` make, used from where they put it."""
import os
import re
import shutil
import socket
import subprocess

import pytest
from conftest import BUILD, ROOT, wait_until
from gw import PK, device_name, start_gateway, world  # noqa: F401

SANITIZED = any(name in str(BUILD) for name in ("asan", "tsan"))


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    there = tmp_path_factory.mktemp("usr")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", there], check=True, capture_output=True)
    return there


def run(*args, **options):
    return subprocess.run(args, capture_output=True, text=True, timeout=120, **options)


def test_everything_is_where_a_distribution_would_put_it(prefix):
    """covers: A03"""
    files = {str(f.relative_to(prefix)) for f in prefix.rglob("*") if not f.is_dir()}
    plugins = {f.stem for f in (BUILD / "plugins").glob("*.so")} - {"skeleton"}
    assert files >= {"sbin/causewayd", "bin/causeway", "bin/causeway-cloud", "libexec/causeway-script",
                     "lib/systemd/system/causewayd.service", "lib/sysusers.d/causeway.conf",
                     "share/man/man8/causewayd.8", "share/man/man1/causeway.1", "share/man/man1/causeway-cloud.1",
                     "share/man/man5/causeway.conf.5", "share/doc/causeway/examples/application.conf",
                     "sbin/causeway-factory", "lib/systemd/system/causeway-factory.service", "lib/sysusers.d/causeway-factory.conf",
                     "share/man/man8/causeway-factory.8", "share/doc/causeway-factory/examples/factory.conf",
                     "share/doc/causeway-factory/clients/c/triple_burn.h", "share/doc/causeway-factory/clients/node/package.json"}
    assert {f for f in files if f.startswith("lib/causeway/plugins/")} >= {f"lib/causeway/plugins/{p}.so" for p in ("jt808",)}
    assert {f.split("/")[-1][:-3] for f in files if f.startswith("lib/causeway/plugins/")} <= plugins
    assert {f.split("/")[-1] for f in files if f.startswith("include/causeway/")} == {h.name for h in (ROOT / "include/causeway").glob("*.h")}
    for text in ("lib/systemd/system/causewayd.service", "share/man/man5/causeway.conf.5"):
        assert str(BUILD) not in (prefix / text).read_text()


def test_the_installed_tool_finds_the_installed_plugins(prefix):
    """covers: A03"""
    done = run(prefix / "bin/causeway", "config", "reference", cwd="/")
    assert done.returncode == 0 and "Protocol jt808" in done.stdout and "Protocol skeleton" not in done.stdout


def test_manual_pages_are_clean_and_name_every_verb(prefix):
    for page in prefix.glob("share/man/man*/*"):
        done = run("groff", "-man", "-ww", "-Tutf8", "-z", str(page))
        assert done.stderr == "", (page, done.stderr)
    text = (prefix / "share/man/man1/causeway.1").read_text()
    verbs = re.findall(r"^  ([a-z]+) ", run(prefix / "bin/causeway", "--help").stdout, re.M)
    assert len(verbs) > 10
    shown = run("man", "-l", str(prefix / "share/man/man1/causeway.1"), env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "120"}).stdout
    for verb in verbs:
        assert re.search(rf"\b{verb}\b", shown), verb
    assert ".SH causeway identity" in text
    for verb in re.findall(r"^  ([a-z]+) ", run(prefix / "bin/causeway", "factory", "--help").stdout, re.M):
        assert re.search(rf"causeway factory {verb}\b", shown), verb
    assert ".SH causeway factory import" in text and ".SH causeway plugin new" in text
    server = (prefix / "share/man/man8/causeway-factory.8").read_text()
    for option in re.findall(r"^ +(?:-\w, )?--([a-z-]+)", run(prefix / "sbin/causeway-factory", "--help").stdout, re.M):
        assert option.replace("-", "\\-") in server, option
    assert "stationsRequired" in (prefix / "share/man/man5/causeway.conf.5").read_text()


@pytest.mark.parametrize("program", ["causewayd", "causeway-factory"])
def test_the_unit_is_one(prefix, program):
    """covers: A07 B23"""
    unit = prefix / f"lib/systemd/system/{program}.service"
    assert f"ExecStart={prefix}/sbin/{program} -c" in unit.read_text()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    done = run("systemd-analyze", "verify", "--man=no", str(unit))
    said = [line for line in (done.stdout + done.stderr).splitlines() if f"{program}.service" in line]
    assert said == []


class Manager:
    """The service manager's end of NOTIFY_SOCKET."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        self.socket.setblocking(False)
        self.said = []

    def heard(self, word):
        while True:
            try:
                self.said += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return word in self.said

    def wait(self, word):
        wait_until(lambda: self.heard(word), f"{word} at the service manager, which heard {self.said}")
        self.said.remove(word)


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_is_told(world, prefix, tmp_path, abstract):
    """covers: A07"""
    name = f"causeway-test-{os.getpid()}" if abstract else str(tmp_path / "n")
    manager = Manager("\0" + name if abstract else name)
    cloud, gateway = world(program=prefix / "sbin/causewayd",
                           env={"NOTIFY_SOCKET": "@" + name if abstract else name, "WATCHDOG_USEC": "200000"})
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1")
    manager.wait("WATCHDOG=1")
    gateway.reload()
    manager.wait("RELOADING=1")
    manager.wait("READY=1")
    with gateway.terminal() as t:
        t.log_in()
        cloud.wait_status(PK, device_name(0), "ONLINE")
    gateway.process.stop()
    manager.wait("STOPPING=1")
    manager.socket.close()


@pytest.mark.skipif(SANITIZED, reason="packages are made of the plain build")
def test_the_debian_packages(tmp_path):
    """covers: A03 A07"""
    done = run("cpack", "-G", "DEB", "-B", str(tmp_path), cwd=BUILD)
    assert done.returncode == 0, done.stdout + done.stderr
    debs = {f.name.split("_")[0]: f for f in tmp_path.glob("*.deb")}
    assert set(debs) == {"causeway", "causeway-cloud", "causeway-factory", "libcauseway0", "libcauseway-dev"}
    depends = run("dpkg-deb", "-f", debs["causeway"], "Depends").stdout
    assert "libuv1" in depends and "libpaho-mqtt1.3" in depends and "causeway" not in depends
    root = tmp_path / "root"
    for deb in debs.values():
        subprocess.run(["dpkg-deb", "-x", deb, root], check=True)
    assert "ExecStart=/usr/sbin/causewayd -c" in (root / "usr/lib/systemd/system/causewayd.service").read_text()
    assert run(root / "usr/sbin/causewayd", "--version").stdout.startswith("causewayd ")
    assert "Protocol jt808" in run(root / "usr/bin/causeway", "config", "reference", cwd="/").stdout
    assert run(root / "usr/sbin/causeway-factory", "--version").stdout.startswith("causeway-factory ")
    for package, service in (("causeway", "causewayd"), ("causeway-factory", "causeway-factory")):
        control = tmp_path / f"control-{package}"
        subprocess.run(["dpkg-deb", "-e", debs[package], control], check=True)
        for script in ("postinst", "prerm", "postrm"):
            assert subprocess.run(["sh", "-n", control / script]).returncode == 0
        assert f"systemctl enable {service}.service" in (control / "postinst").read_text()
