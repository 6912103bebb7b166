"""plugins/README.md, from its first command to its last: the made-up meter becomes a plugin that is built, tested, run and installed.

A block behind "File `NAME`:" is written to that file, a block of sh is run, and each line of a block of text behind one must have
been printed by it (... stands for anything). All of it is one shell that ends with the first command that fails.
"""
import os
import re
import shutil
import socket
import subprocess

import pytest
from conftest import BUILD, ROOT

PAGE = ROOT / "plugins" / "README.md"
FENCE = re.compile(r"^(?:File `(?P<file>[^`]+)`:\n\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.S | re.M)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def steps():
    """(kind, file name or None, body) of each block of the tutorial."""
    page = PAGE.read_text()
    tutorial = page[page.index("## The protocol\n"):page.index("## What every decoder does\n")]
    return [(m["kind"], m["file"], m["body"]) for m in FENCE.finditer(tutorial)]


def script(ports):
    out = ["set -e"]
    for number, (kind, name, body) in enumerate(steps()):
        if name:
            out += [f"cat > {name} <<'END_OF_FILE'", body.rstrip("\n"), "END_OF_FILE"]
        elif kind == "sh":
            for port, real in ports.items():
                body = body.replace(port, real)
            out += [f"echo '@@@ {number}'", body]
            if "plugin new" in body:
                out += [f"sed -i 's/{port}/{real}/' application.conf" for port, real in ports.items()]
    return "\n".join(out) + "\n"


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """The headers as they are installed."""
    there = tmp_path_factory.mktemp("kit")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", there, "--component", "libcauseway-dev"], check=True, capture_output=True)
    return there


def missing():
    return [p for p in ("mosquitto", "nc", "xxd") if shutil.which(p, path=os.environ["PATH"] + ":/usr/sbin") is None]


def test_the_tutorial_from_its_first_command_to_its_last(kit, tmp_path):
    """covers: M01 M03"""
    assert not missing()
    env = {**os.environ, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}:/usr/sbin", "PKG_CONFIG_PATH": str(kit / "lib" / "pkgconfig"),
           "CMAKE_PREFIX_PATH": str(kit)}
    ports = {"1883": str(free_port()), "7700": str(free_port())}
    done = subprocess.run(["bash", "-c", script(ports)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    said = dict(re.findall(r"^@@@ (\d+)\n(.*?)(?=^@@@ |\Z)", done.stdout, re.S | re.M))
    ran = None
    for number, (kind, name, body) in enumerate(steps()):
        if kind == "sh":
            ran = str(number)
        elif not name and ran is not None:
            for line in body.splitlines():
                pattern = "^" + ".*".join(re.escape(part) for part in line.split("...")) + "$"
                assert re.search(pattern, said[ran], re.M), f"{line}\n--- was not printed:\n{said[ran]}"
    assert [f.name for f in (tmp_path / "watermeter" / "root").rglob("*.so")] == ["watermeter.so"]


def test_the_tutorial_shows_files_and_what_is_printed():
    kinds = [kind for kind, name, _ in steps() if not name]
    assert kinds.count("sh") >= 7 and kinds.count("text") >= 4
    assert {name for _, name, _ in steps() if name} >= {"watermeter.h", "frame.c", "decode.c", "command.c", "plugin.c", "devices.conf"}
