"""src/cloud/USING.md is true: its shell blocks run as printed against a started emulator, and show what they are said to show."""
import re
import subprocess

import pytest

from conftest import BUILD, ROOT

PAGE = (ROOT / "src/cloud/USING.md").read_text()
OPTIONS = (ROOT / "src/cloud/options.c").read_text()
EXAMPLE = (ROOT / "conf/cloud.conf").read_text()
TIME = 60


def blocks():
    return re.findall(r"^```(sh|text)\n(.*?)^```$", PAGE, re.S | re.M)


def script(cloud):
    """All blocks as one script that says where each begins; the page's addresses are those of `cloud`."""
    ports = {name: address.rsplit(":", 1)[1] for name, address in cloud.process.ready.items() if name not in ("pid", "ca")}
    lines = ["set -e -o pipefail"]
    for number, (kind, text) in enumerate(blocks()):
        if text.startswith("# addresses\n"):
            text = "\n".join(["HOST=localhost", f"API={cloud.base}", f"CA={cloud.ca}"] +
                             [f"{name.upper()}={port}" for name, port in ports.items() if name != "api"]) + "\n"
        lines += [f"printf '\\n=== {number}\\n'", text] if kind == "sh" else []
    return "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n" + "\n".join(lines)


def test_every_block_runs_and_shows_what_the_page_prints(start_cloud, tmp_path):
    cloud = start_cloud(example())
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(["bash", "-c", script(cloud)], cwd=work, capture_output=True, text=True, timeout=TIME, errors="replace")
    assert done.returncode == 0, done.stdout + done.stderr
    (tmp_path / "shown").write_text(done.stdout + done.stderr)
    parts = re.split(r"\n=== (\d+)\n", done.stdout)
    shown = dict(zip(map(int, parts[1::2]), parts[2::2]))
    expected = [(number, text) for number, (kind, text) in enumerate(blocks()) if kind == "text"]
    assert len(expected) > 5
    for number, text in expected:
        for line in text.splitlines():
            pattern = "^" + ".*".join(map(re.escape, line.split("…"))) + "$"
            assert re.search(pattern, shown[number - 1], re.M), f"not printed: {line}\n{shown[number - 1]}\n{done.stderr}"


def example():
    """conf/cloud.conf with free ports."""
    text, n = re.subn(r'"127\.0\.0\.1:\d+"', '"127.0.0.1:0"', EXAMPLE)
    assert n == 7
    return text


def test_the_table_of_faults_is_that_of_the_program(cloud):
    kinds = {k["kind"]: k["help"] for k in cloud.get("/faults")["kinds"]}
    table = PAGE.split("| kind | what happens |\n| --- | --- |\n")[1].split("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M)) == kinds


def settings():
    """Names of all settings, tables as prefixes: from the rows of options.c."""
    return re.findall(r'CW_CONF(?:_MUST|_CHOICE|_TABLES)?\(struct (\w+), [^"]*?"([\w.]+)"', OPTIONS)


def test_the_example_names_every_setting():
    """Commented or not; each part of a dotted name."""
    found = settings()
    assert len(found) > 80
    prose = ("fault_conf",)  # listed in a sentence
    missing = [f"{table}: {name}" for table, name in found
               if not all(re.search(rf"\b{part}\b" + ("" if table in prose else r"\s*[={.]"), EXAMPLE) for part in name.split("."))]
    assert missing == []


def test_what_the_example_says_of_defaults_is_accepted(start_cloud):
    """With each commented limit, switch and setting in force it starts: no name in it is a dead one."""
    section = re.search(r"^limits \{.*?^\}", EXAMPLE, re.S | re.M).group(0)
    section = re.sub(r"^  # ", "  ", section, flags=re.M)
    switches = re.search(r"^# switches \{.*?^# \}", EXAMPLE, re.S | re.M).group(0)
    switches = re.sub(r"^# ", "", switches, flags=re.M)
    cloud = start_cloud(section + "\n" + switches)
    assert cloud.stats()["limits"] == "documented"


def test_help_fits_a_screen():
    """Lines and columns of a terminal of today; no tabs, which screens align as they like."""
    text = subprocess.run([BUILD / "bin/causeway-cloud", "--help"], capture_output=True, text=True, timeout=TIME, check=True).stdout
    lines = text.splitlines()
    assert len(lines) <= 40 and "\t" not in text
    assert max(map(len, lines)) <= 100, max(lines, key=len)


def test_the_map_has_every_file():
    """src/cloud/README.md names each file (a header with its .c), and none that does not exist."""
    room = ROOT / "src/cloud"
    text = (room / "README.md").read_text()
    named = set(re.findall(r"[`(]([\w/]+\.(?:c|h|json|html|js|css|md))[`)]", text))
    files = {p.relative_to(room).as_posix() for p in room.rglob("*") if p.is_file()} - {"README.md"}
    names = {f.rsplit("/", 1)[-1] for f in named}
    missing = [f for f in files if f.rsplit("/", 1)[-1] not in names and f.rsplit("/", 1)[-1].replace(".h", ".c") not in names]
    assert sorted(missing) == []
    base = {f.rsplit("/", 1)[-1] for f in files}
    assert sorted(n for n in names if n not in base and not n.startswith("openapi.json")) == []
