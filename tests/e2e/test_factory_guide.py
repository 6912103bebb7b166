"""conf/FACTORY.md is true: its shell blocks run as printed, one after the other in one directory, and show what they are said to show."""
import os
import re
import socket
import subprocess

from conftest import BUILD, ROOT

PAGE = (ROOT / "conf/FACTORY.md").read_text()
EXAMPLE = (ROOT / "conf/factory.conf").read_text()
PORTS = re.findall(r"\b8(?:00[01]|44\d)\b", PAGE)
TIME = 300


def blocks(page):
    return re.findall(r"^```(sh|text)\n(.*?)^```$", page, re.S | re.M)


def free_ports(count):
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def here():
    """The page with free ports of the loopback in place of its own, the programs' defaults too."""
    names = sorted(set(PORTS))
    ports = dict(zip(names, map(str, free_ports(len(names)))))
    page = re.sub(r"\b8(?:00[01]|44\d)\b", lambda m: ports[m.group()], PAGE).replace("0.0.0.0:", "127.0.0.1:")
    page, n = re.subn(r"^causeway-factory > ", f"causeway-factory --listen 127.0.0.1:{ports['8000']} --office 127.0.0.1:{ports['8001']} > ",
                      page, flags=re.M)
    page, m = re.subn(r"^causeway-factory -c factory.conf > ", f"causeway-factory -c factory.conf --office 127.0.0.1:{ports['8001']} > ",
                      page, flags=re.M)
    assert n == 1 and m > 0
    return page


def script(page):
    lines = ["set -e -o pipefail"]
    for number, (kind, text) in enumerate(blocks(page)):
        lines += [f"printf '\\n=== {number}\\n'", text] if kind == "sh" else []
    return "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n" + "\n".join(lines)


def test_every_block_runs_and_shows_what_the_page_prints(tmp_path):
    """covers: B01 B06 B07 C11 C12 C13 C15 C16"""
    work = tmp_path / "work"
    work.mkdir()
    page = here()
    environment = {k: v for k, v in os.environ.items() if k != "CAUSEWAY_FACTORY_DB"} | {"PATH": f"{BUILD}/bin:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script(page)], cwd=work, capture_output=True, text=True, timeout=TIME, env=environment)
    (tmp_path / "shown").write_text(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    parts = re.split(r"\n=== (\d+)\n", done.stdout)
    shown = dict(zip(map(int, parts[1::2]), parts[2::2]))
    expected = [(number, text) for number, (kind, text) in enumerate(blocks(page)) if kind == "text"]
    assert len(expected) > 20
    for number, text in expected:
        for line in text.splitlines():
            pattern = "^" + ".*".join(map(re.escape, line.split("…"))) + "$"
            assert re.search(pattern, shown[number - 1], re.M), f"not printed: {line}\n{shown[number - 1]}\n{done.stderr}"


def reference():
    """What `causeway config reference` says of causeway-factory: names of settings."""
    text = subprocess.run([BUILD / "bin/causeway", "config", "reference"], capture_output=True, text=True, check=True).stdout
    section = text.split("\nSettings of causeway-factory\n")[1].split("\nLog ids\n")[0]
    return re.findall(r"^(\S+)$", section, re.M)


def all_on():
    """conf/factory.conf with every setting that it shows in a comment."""
    lines = []
    for line in EXAMPLE.splitlines():
        shown = re.match(r"(\s*)# (\s*(?:\w+ = .*|\{ .*|\}))$", line)
        lines.append(shown[1] + shown[2] if shown else line)
    return "\n".join(lines) + "\n"


def test_the_example_names_every_setting():
    """As a setting, in a comment or not: each part of a name that has several."""
    settings = reference()
    assert len(settings) > 50
    shown = re.sub(r"(?<=\s)#(?! ?\w+ =).*", "", all_on())
    assert "quotaPeriod =" in shown
    missing = [name for name in settings if not all(re.search(rf"\b{part.rstrip('[]')}\s*[={{]", shown) for part in name.split("."))]
    assert missing == []


def test_what_the_example_shows_is_accepted(tmp_path):
    """With everything that stands there in comments in force no name is a dead one, and no value of another form."""
    text = all_on()
    for name in re.findall(r'"?file:([\w.-]+)"?', text):
        (tmp_path / name).write_text(f"{name}-{'0123456789' * 2}\n")
    for name in re.findall(r"= ([\w-]+\.(?:pem|key))\b", text):
        (tmp_path / name).write_text("")
    (tmp_path / "factory.conf").write_text(text)
    done = subprocess.run([BUILD / "bin/causeway-factory", "--check", "-c", "factory.conf"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + text
    assert "2 listeners for stations, 1 for the office, 1 for devices in the field, 1 station, 2 operators" in done.stdout
