"""`causeway plugin fuzz`: what is broken is found from a wire script in a few seconds, made small and run again."""
import re
import shutil
import subprocess

import pytest
from conftest import BUILD, ROOT

SKELETON = ROOT / "plugins" / "skeleton"
SANITIZED = "-fsanitize" in (BUILD / "build.ninja").read_text()


def fuzz(*args, cwd=None):
    """(exit status, all it printed)"""
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", "fuzz", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=300, cwd=cwd, text=True, errors="replace")
    return done.returncode, done.stdout


@pytest.fixture
def seeds(tmp_path):
    """A login and an answer to nothing: no reading is in it, which is what most of the broken ones are broken for."""
    folder = tmp_path / "seeds"
    folder.mkdir()
    (folder / "login.wire").write_text('> "login,meter-1\\n"\nidentify meter-1\n< "ok,login\\n"\n> "ok,interval\\n"\n')
    return folder


def found(out):
    assert "FOUND: " in out, out
    case = re.search(r"written to (\S+\.case)", out)[1]
    return case, re.search(r"FOUND: (.*)", out)[1]


NAUGHTY = {"crash": "Segmentation fault", "hang": "the decoder hangs", "exit": "status 0", "eat": "Abort", "cut": "Abort", "charge": "Abort",
           "leak": "Abort", "beyond": "Segmentation fault", "context": "Abort"}


@pytest.mark.skipif(SANITIZED, reason="sanitizers end the process in their own way")
@pytest.mark.parametrize("what", NAUGHTY)
def test_a_broken_plugin_is_found_out_made_small_and_run_again(tmp_path, seeds, what):
    plugin = BUILD / "tests" / "naughty" / f"naughty_{what}.so"
    status, out = fuzz("--for", "120", "--timeout", "1", "--seed", "7", "--out", tmp_path, plugin, seeds)
    case, how = found(out)
    assert status == 1 and NAUGHTY[what] in how, out
    size = (tmp_path / case.rsplit("/", 1)[1]).stat().st_size
    assert size < 90, out
    status, out = fuzz("--repro", case, "--timeout", "1", plugin)
    assert status == 1 and NAUGHTY[what] in out, out
    if what == "crash":
        assert "a frame is decoded: 74656d702c" in out, "it says what happens"


def test_a_plugin_that_is_in_order_stays_so(tmp_path):
    status, out = fuzz("--for", "2", "--out", tmp_path, BUILD / "plugins" / "skeleton.so", SKELETON / "tests")
    assert status == 0 and "nothing found" in out and "no coverage and no sanitizer" in out, out
    cases = int(re.search(r"(\d+) cases in", out)[1])
    assert cases > 100 and not list(tmp_path.glob("*.case"))


@pytest.mark.parametrize("protocol", ["jt808"])
def test_a_built_in_plugin_is_driven_too(tmp_path, protocol):
    (tmp_path / "frames.hex").write_text("7e0002000001391234560100014a7e\n")
    status, out = fuzz("--for", "2", "--set", "authPolicy = any", "--out", tmp_path, BUILD / "plugins" / f"{protocol}.so", tmp_path / "frames.hex")
    assert status == 0, out


@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang")
def test_sources_are_fuzzed_with_coverage_and_sanitizers(tmp_path, seeds):
    source = tmp_path / "meter"
    shutil.copytree(SKELETON, source)
    text = (source / "skeleton.c").read_text()
    assert "read_decimal(struct cw_bytes s, int64_t *mantissa, int *exponent)\n{\n" in text
    # One byte behind a block of the heap, and only for a reading that begins with 4.
    text = text.replace("read_decimal(struct cw_bytes s, int64_t *mantissa, int *exponent)\n{\n",
                        "read_decimal(struct cw_bytes s, int64_t *mantissa, int *exponent)\n{\n"
                        "\tif (s.len > 1 && s.ptr[0] == '4') {\n"
                        "\t\tvolatile char *p = malloc(s.len);\n\t\tp[s.len] = 1;\n\t\tfree((void *)p);\n\t}\n")
    (source / "skeleton.c").write_text(text)
    (source / "tests" / "main.c").write_text("int main(void)\n{\n\treturn 0;\n}\n")
    plugin = BUILD / "plugins" / "skeleton.so"  # as it was built; the sources are what is looked at
    status, out = fuzz("--for", "200", "--seed", "3", "--out", tmp_path, "--source", source, plugin, seeds)
    case, _ = found(out)
    assert status == 1 and "heap-buffer-overflow" in out and "read_decimal" in out, out
    status, out = fuzz("--repro", case, "--source", source, plugin)
    assert status == 1 and "heap-buffer-overflow" in out, out
    status, out = fuzz("--repro", case, plugin)
    assert status == 0 and "no harm is done" in out, out


@pytest.mark.skipif(not shutil.which("clang"), reason="needs clang")
def test_cases_are_kept_for_the_next_time(tmp_path, seeds):
    kept = tmp_path / "kept"
    kept.mkdir()
    status, out = fuzz("--for", "2", "--out", tmp_path, "--corpus", kept, "--source", SKELETON, BUILD / "plugins" / "skeleton.so", seeds)
    assert status == 0 and len(list(kept.iterdir())) > 3, out


def test_wrong_command_lines_and_what_cannot_be_done(tmp_path):
    skeleton = BUILD / "plugins" / "skeleton.so"
    for args in ([], ["--for", "0", skeleton], ["--for", "1m", skeleton], ["--timeout", "-1", skeleton], ["--repro", "a", skeleton, "b"]):
        status, out = fuzz(*args)
        assert status == 2 and "usage:" in out, args
    for args, text in ((["--out", tmp_path / "none", skeleton], "none"), ([tmp_path / "none.so"], "cannot load"),
                       ([skeleton, tmp_path / "none.wire"], "none.wire"), (["--set", "nothing = 1", skeleton], "nothing"),
                       (["--source", tmp_path, skeleton], "no .c file"), (["--source", SKELETON, "--clang", "/none", skeleton], "/none"),
                       (["--repro", tmp_path / "none", skeleton], "none")):
        status, out = fuzz("--for", "1", *args)
        assert status == 3 and text in out, (args, out)
