"""`causeway plugin describe`: what a plugin says about itself, and what is wrong with one that cannot be loaded."""
import json
import subprocess

import pytest
from conftest import BUILD

BUILT_IN = sorted(p.stem for p in (BUILD / "plugins").glob("*.so"))


def plugin(*args):
    """(exit status, output, errors) of `causeway plugin ...`."""
    done = subprocess.run([BUILD / "bin" / "causeway", "plugin", *args], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_plugin_says_all_about_itself(name):
    status, text, _ = plugin("describe", name)
    assert status == 0 and text.startswith(f"{name} ")
    status, said, _ = plugin("describe", "--json", str(BUILD / "plugins" / f"{name}.so"))
    about = json.loads(said)
    assert status == 0 and about["name"] == name and about["abi"] in text
    assert about["maxFrame"] > 0 and about["maxOutstanding"] > 0

    def walk(fields, prefix):
        for field in fields:
            path = f"{prefix}.{field['name']}"
            assert path in text and field["help"] in text and field["type"] in text, path
            assert field["scope"], path
            if "default" in field:
                assert f"default {field['default'] or chr(34) * 2}" in text, path
            below = {"list": "[]", "values by name": ".NAME"}.get(field["type"], "")
            walk(field.get("fields", []), path + below)

    walk(about["settings"], f"protocols.{name}")
    for counter in about["counters"]:
        assert f"plugin.{name}.{counter['name']}" in text and counter["help"] in text
    for word in about["capabilities"]:
        assert f"capability     {word}: " in text


def test_the_skeleton_in_words():
    _, text, _ = plugin("describe", "skeleton")
    for line in ("takes commands", "longest frame  256 bytes", "duration, default 5s, 100ms to 60s",
                 "How long a command waits for the device's answer.", "plugin.skeleton.badLine"):
        assert line in text
    about = json.loads(plugin("describe", "--json", "skeleton")[1])
    assert about["capabilities"] == ["downlink"]
    timeout = about["settings"][0]
    assert timeout == {"name": "answerTimeout", "type": "duration", "default": "5s", "min": "100ms", "max": "60s",
                       "scope": ["protocol", "listener", "product", "device"], "help": timeout["help"]}


BAD = {
    "no_entry": "does not export cw_plugin_entry", "null": "cw_plugin_entry() returned NULL", "size": "begin it with CW_PLUGIN_INIT",
    "abi": "built for ABI 8.0", "minor": "rebuild it against the headers", "name": "'Bad Name' is not 1 to 31", "no_name": "'(none)'",
    "no_version": "has no version", "caps": "capability bits 0x40000000", "no_command": "CW_CAP_DOWNLINK but has no command()",
    "max_frame": "max_frame is 0", "no_settings": "has no settings()", "field_type": "unknown type 99", "field_help": "has no help text",
    "no_decoder": "has no decoder", "ops_size": "begin it with CW_DECODER_OPS_INIT", "no_frame": "has no frame()",
}


@pytest.mark.parametrize("name", sorted(p.stem for p in (BUILD / "tests" / "bad").glob("*.so")))
def test_a_broken_plugin_is_refused_with_the_reason(name):
    path = BUILD / "tests" / "bad" / f"{name}.so"
    for verb in (["describe"], ["describe", "--json"]):
        status, out, err = plugin(*verb, str(path))
        assert status == 1 and out == "" and err.startswith("causeway plugin describe: ") and str(path) in err
        assert BAD[name] in err, err
    status, out, _ = plugin("test", str(path))
    assert status == 1 and BAD[name] in out and "FAILED loads" in out and "0 of 1 kept" in out


def test_what_is_no_plugin_at_all(tmp_path):
    text = tmp_path / "text.so"
    text.write_text("no object\n" * 100)
    for path, sentence in ((text, "invalid ELF header"), (tmp_path / "none.so", "cannot open shared object")):
        status, _, err = plugin("describe", str(path))
        assert status == 1 and sentence in err
    status, _, err = plugin("describe", "jt809")
    assert status == 1 and "there is no plugin of that name" in err and "jt808" in err
    for args in ([], ["a", "b"], ["--nonsense", "a"]):
        assert plugin("describe", *args)[0] == 2
    assert plugin()[0] == 2 and "describe" in plugin()[2]
    assert "no such verb: dance" in plugin("dance")[2]
    assert plugin("--help")[0] == 0 and plugin("describe", "--help")[0] == 0


@pytest.mark.parametrize("entry, words", [
    ("abort();", "died of signal 6 (Aborted)"),
    ("exit(0);", "ended the process with status 0"),
    ("_exit(3);", "ended the process with status 3"),
])
@pytest.mark.parametrize("verb, status", [("describe", 1), ("fuzz", 3), ("replay", 1)])
def test_an_object_that_ends_the_process_when_it_is_loaded_does_not_do_so_without_a_word(tmp_path, entry, words, verb, status):
    (tmp_path / "bad.c").write_text("#include <stdlib.h>\n#include <unistd.h>\nvoid *cw_plugin_entry(void){ %s }\n" % entry)
    subprocess.run(["cc", "-w", "-shared", "-fPIC", "-o", tmp_path / "bad.so", tmp_path / "bad.c"], check=True)
    (tmp_path / "capture.hex").write_text("> 7e00\n")
    got, out, err = plugin(verb, str(tmp_path / "bad.so"), *([str(tmp_path / "capture.hex")] if verb == "replay" else []))
    assert got == status and words in err and "bad.so" in err, (out, err)
