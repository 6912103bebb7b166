"""causeway config print and get, as a shell sees them."""
import json
import os
import subprocess

import pytest

CAUSEWAY = os.path.join(os.environ.get("CW_BUILD_DIR", os.path.join(os.path.dirname(__file__), "..", "..", "build")), "bin", "causeway")

DOCUMENT = """
a { b = 10s, size = 64KiB, n = 3.7, on = yes, list = [1, two, "th ree"], deviceSecret = "file:/x" }
a.c = ${a.n}x
e = ${?CW_TEST_VARIABLE}
"""


def run(*args, stdin=DOCUMENT, env=None):
    return subprocess.run([CAUSEWAY, "config", *args], input=stdin, capture_output=True, text=True, env=env)


def test_print_gives_sorted_json_of_the_resolved_file(tmp_path):
    (tmp_path / "x.conf").write_text(DOCUMENT + 'include "more"\n')
    (tmp_path / "more.properties").write_text("p.q = 1\n")
    done = run("print", "--format", "json", str(tmp_path / "x.conf"), env=dict(os.environ, CW_TEST_VARIABLE="v"))
    assert done.returncode == 0
    tree = json.loads(done.stdout)
    assert tree["a"]["c"] == "3.7x" and tree["a"]["n"] == 3.7 and tree["e"] == "v" and tree["p"] == {"q": "1"}
    assert list(tree) == sorted(tree)


def test_print_hocon_reads_the_same_again():
    first = run("print", "--format", "hocon", "-").stdout
    assert json.loads(run("print", "-", stdin=first).stdout) == json.loads(run("print", "-").stdout)


@pytest.mark.parametrize("kind, path, want", [
    ("string", "a.n", "3.7"), ("int", "a.n", "3"), ("long", "a.n", "3"), ("double", "a.n", "3.7"), ("boolean", "a.on", "true"),
    ("bytes", "a.size", "65536"), ("duration-ms", "a.b", "10000"), ("duration-ns", "a.b", "10000000000"),
    ("list-string", "a.list", "1\ntwo\nth ree"), ("string", '"a"."b"', "10s"),
])
def test_get_converts(kind, path, want):
    done = run("get", "--as", kind, path, "-")
    assert (done.returncode, done.stdout) == (0, want + "\n")


@pytest.mark.parametrize("args, words", [
    (("get", "--as", "int", "a.on", "-"), ["a.on", "stdin:2:42", "an integer"]),
    (("get", "a.nothing", "-"), ["a.nothing", "not set"]),
    (("print", "/nonexistent.conf"), ["/nonexistent.conf", "no such file"]),
])
def test_what_is_wrong_is_said_and_ends_with_one(args, words):
    done = run(*args)
    assert done.returncode == 1 and done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


def test_a_wrong_command_line_ends_with_two():
    assert run("get", "a").returncode == 2
    assert run("print", "--format", "xml", "-").returncode == 2
    assert run("nonsense").returncode == 2
