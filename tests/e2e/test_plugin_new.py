"""`causeway plugin new`: a folder outside of this tree that builds both ways, is tested and runs, and is the skeleton under another name."""
import os
import subprocess

import pytest
from conftest import BUILD, ROOT
from test_plugin_describe import plugin

ENV = {**os.environ, "PATH": f"{BUILD / 'bin'}:{os.environ['PATH']}"}


@pytest.fixture(scope="module", params=["build tree", "installed"])
def kit(request, tmp_path_factory):
    """Environment in which the headers are found: in the build tree, and as they are installed."""
    if request.param == "build tree":
        return {**ENV, "PKG_CONFIG_PATH": str(BUILD / "kit"), "CMAKE_PREFIX_PATH": str(BUILD / "kit")}
    there = tmp_path_factory.mktemp("kit")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", there, "--component", "libcauseway-dev"], check=True, capture_output=True)
    files = {str(f.relative_to(there)) for f in there.rglob("*") if f.is_file()}
    headers = {f"include/causeway/{h}.h" for h in ("plugin", "decoder", "host", "record", "command", "bytes", "conf_field", "error")}
    assert headers | {"lib/pkgconfig/causeway-plugin.pc"} < files
    assert not any(str(ROOT) in (there / f).read_text() for f in files if f.endswith((".pc", ".cmake")))
    return {**ENV, "PKG_CONFIG_PATH": str(there / "lib/pkgconfig"), "CMAKE_PREFIX_PATH": str(there)}


def sh(command, cwd, env):
    return subprocess.run(["bash", "-ec", command], cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def test_the_new_folder_builds_is_tested_and_installed_both_ways(kit, tmp_path):
    """covers: M03"""
    status, out, err = plugin("new", "gauge7", str(tmp_path / "mine"))
    assert status == 0 and "make check" in out, err
    made = tmp_path / "mine"
    done = sh(f"make check CFLAGS='-O1 -Wall -Wextra -Werror -Wpedantic' && make install DESTDIR={tmp_path}/root && make clean", made, kit)
    assert done.returncode == 0 and "0 faults" in done.stdout, done.stdout + done.stderr
    assert [p.name for p in (tmp_path / "root").rglob("*.so")] == ["gauge7.so"] and not list(made.glob("*.so"))
    done = sh(f"cmake -B build -DCMAKE_INSTALL_PREFIX=/usr && cmake --build build && ctest --test-dir build && "
              f"DESTDIR={tmp_path}/staged cmake --install build",  # the kit of the build tree would put it among the plugins built here
              made, kit)
    assert done.returncode == 0 and "100% tests passed" in done.stdout, done.stdout + done.stderr
    assert [p.name for p in (tmp_path / "staged").rglob("*.so")] == ["gauge7.so"] and not (BUILD / "plugins" / "gauge7.so").exists()
    described = plugin("describe", str(made / "build" / "gauge7.so"))
    assert described[0] == 0 and described[1].startswith("gauge7 1.0.0")


def test_the_place_of_the_headers_is_said_or_asked_for(tmp_path):
    assert plugin("new", "gauge7", str(tmp_path / "mine"))[0] == 0
    bare = {k: v for k, v in ENV.items() if k != "PKG_CONFIG_PATH"} | {"PKG_CONFIG_LIBDIR": str(tmp_path)}
    done = sh("make", tmp_path / "mine", bare)
    assert done.returncode == 2 and "make PKG_CONFIG_PATH=PREFIX/lib/pkgconfig" in done.stderr, done.stderr
    done = sh(f"make PKG_CONFIG_PATH={BUILD}/kit", tmp_path / "mine", bare)
    assert done.returncode == 0 and (tmp_path / "mine" / "gauge7.so").exists(), done.stderr


def test_the_configuration_in_it_is_fine_and_its_secrets_are_the_owners(tmp_path):
    assert plugin("new", "gauge7", str(tmp_path / "mine"))[0] == 0
    env = {**ENV, "PKG_CONFIG_PATH": str(BUILD / "kit")}
    done = sh("make && causewayd --check -c application.conf", tmp_path / "mine", env)
    assert done.returncode == 0 and "fine; 1 listeners, 1 upstreams, 1 devices" in done.stdout, done.stdout + done.stderr
    assert {f.name: f.stat().st_mode & 0o777 for f in (tmp_path / "mine").glob("*.conf")} == {"application.conf": 0o600, "devices.conf": 0o600}


def test_it_is_another_name_for_what_is_built_here(tmp_path):
    assert plugin("new", "gauge7", str(tmp_path / "mine"))[0] == 0
    made = {str(f.relative_to(tmp_path / "mine")): f.read_text() for f in (tmp_path / "mine").rglob("*") if f.is_file()}
    assert set(made) == {"plugin.c", "gauge7.c", "gauge7.h", "Makefile", "CMakeLists.txt", "README.md", ".gitignore", "application.conf",
                         "devices.conf", "tests/session.wire", "tests/commands.wire", "tests/refused.wire"}
    for name, text in made.items():
        text = text.replace(str(tmp_path), "")
        assert "skeleton" not in text.lower() and "@CONTROL@" not in text and "sk_" not in text.replace("gauge7", ""), name
    source = ROOT / "plugins" / "skeleton"
    for name in ("plugin.c", "skeleton.c", "skeleton.h", "tests/session.wire"):
        text = (source / name).read_text()
        for old, new in (("skeleton", "gauge7"), ("SKELETON", "GAUGE7"), ("Skeleton", "Gauge7"), ("sk_", "gauge7_")):
            text = text.replace(old, new)
        assert made[name.replace("skeleton", "gauge7")] == text, name


@pytest.mark.parametrize("name", ["", "Meter", "7up", "water-meter", "../evil", "a" * 32, "zähler", "plugin", "a b"])
def test_bad_names_are_refused_and_nothing_is_made(tmp_path, name):
    status, _, err = plugin("new", name, str(tmp_path / "mine"))
    assert status == 1 and ("cannot name a protocol" in err or "is the name of something else" in err)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_never_touched(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "plugin.c").write_text("mine")
    status, _, err = plugin("new", "gauge7", str(mine))
    assert status == 1 and "exists already; nothing was changed" in err and (mine / "plugin.c").read_text() == "mine"
    status, _, err = plugin("new", "gauge7", str(tmp_path / "no" / "such"))
    assert status == 1 and "cannot make" in err
    for args in ([], ["a", "b", "c"], ["--nonsense"]):
        assert plugin("new", *args)[0] == 2
    assert plugin("new", "--help")[0] == 0


def test_make_says_what_is_missing(tmp_path):
    assert plugin("new", "gauge7", str(tmp_path / "mine"))[0] == 0
    done = sh("make", tmp_path / "mine", {**ENV, "PKG_CONFIG_PATH": "", "PKG_CONFIG_LIBDIR": str(tmp_path)})
    assert done.returncode != 0 and "PKG_CONFIG_PATH=PREFIX/lib/pkgconfig" in done.stderr
