"""`causeway plugin test`: every rule has a plugin that breaks it, and what is said about it is what its author needs."""
import json
import re
import shutil

import pytest
from conftest import BUILD, ROOT
from test_plugin_describe import plugin

SCRIPTS = [str(p) for p in sorted((ROOT / "plugins" / "skeleton" / "tests").glob("*.wire"))]
FRAMES = str(ROOT / "tests" / "plugin" / "corpus" / "skeleton.txt")
SKELETON = str(BUILD / "plugins" / "skeleton.so")
SANITIZED = re.search(r"asan|tsan", str(BUILD)) is not None


def faults(out):
    """[(rule, sentence)] of what was printed."""
    return re.findall(r"^FAULT  (\w+): (.*)$", out, re.M)


def test_the_skeleton_keeps_every_rule():
    status, out, err = plugin("test", SKELETON, FRAMES, *SCRIPTS)
    assert status == 0, out + err
    assert "ok     scripts: 3 wire scripts" in out and re.search(r"(\d+) of \1 kept, 0 faults", out)
    assert re.search(r"ok     memory: \d\d places", out), "allocations were seen and made to fail"


# plugin, rule that says so, sentence, only in builds without a sanitizer of their own
NAUGHTY = [
    ("static", "statics", r"has the writable static frames_seen \(4 bytes\)", True),
    ("export", "exports", r"exports naughty_helper; it may export nothing but cw_plugin_entry", True),
    ("library", "libraries", r"needs the library libuv", True),
    ("leak", "leak", r"blocks of memory \(\d+ bytes\) are left after destroy\(\), the first 16 bytes allocated in event\(\)", False),
    ("torn", "split", r"split after byte 9 of frame \d+ \(\w+.wire line \d+\): it says `.*`, in one piece `.*`", False),
    ("torn", "truncate", r"`login` \(session.wire line 29\) cut off after byte 9 of 14: the part made", False),
    ("noise", "noise", r"of two good frames were found", False),
    ("talk", "budget", r"decode\(\) made 30\d\d host calls for \d+ bytes", False),
    ("slow", "budget", r"decode\(\) took \d+ ms of processor time", True),
    ("charge", "cap", r"bytes are still charged after CLOSED", False),
    ("eat", "cap", r"it asked for 1048576 bytes in one call with \d+ held already", True),
    ("done", "status", r"ended command 4711, which was not open", False),
    ("status", "status", r"event\(\) of kind 6 returned -6; it may return 0 or CW_ECLOSED", False),
    ("context", "status", r"the context of the connection is still set after CLOSED", False),
    ("kept", "identities", r"it answered the device after CW_REFUSED_KEPT", False),
    ("busy", "again", r"decode\(\) returned CW_EBUSY without identify\(\) in the same call", False),
    ("pure", "pure", r"frame\(\) says something else about the same \d+ bytes when asked again: first skip 0 length \d+ need \d+", False),
    ("cut", "cut", r"frame\(\) cut 300 bytes after skipping 0, of \d+ there are", False),
    ("record", "records", r"emitted bytes that are no record", False),
    ("memory", "memory", r"allocation \d+ of the session of \w+.wire fails: crashes with SEGV", True),
    ("resume", "resumed", r"resumed by a new instance before line \d+: crashes with ABRT \(Aborted\) in event\(\)", True),
    ("crash", "frames", r"`temp` \(session.wire line 30\): crashes with SEGV \(Segmentation fault\) in decode\(\); at hand: 74656d702c32312e350a", True),
    ("exit", "frames", r"ends the process with status 0 in decode\(\); at hand: 74656d702c32312e350a", False),
]


@pytest.mark.parametrize("name, rule, sentence, plain", NAUGHTY, ids=lambda v: v if isinstance(v, str) and v.isalpha() else "")
def test_a_plugin_that_breaks_a_rule_is_told_so(name, rule, sentence, plain):
    if plain and SANITIZED:
        pytest.skip("a sanitizer adds symbols and time, and takes crashes and allocations for itself")
    status, out, _ = plugin("test", "--all", "--only", rule, str(BUILD / "tests" / "naughty" / f"naughty_{name}.so"), *SCRIPTS)
    assert status == 1
    assert any(r == rule and re.search(sentence, s) for r, s in faults(out)), out
    assert {r for r, _ in faults(out)} == {rule}, "only asks for one rule alone"
    clause = dict(re.findall(r"^(\w+) +(.*)$", plugin("test", "--list")[1], re.M))[rule]
    assert f"the rule: {clause}" in out


def test_every_naughty_plugin_is_expected_here():
    assert {p.stem.removeprefix("naughty_") for p in (BUILD / "tests" / "naughty").glob("*.so")} == {n for n, *_ in NAUGHTY} | {"hang", "beyond"}  # beyond: for fuzzing


def test_a_plugin_that_hangs_is_ended_and_the_other_rules_go_on():
    path = str(BUILD / "tests" / "naughty" / "naughty_hang.so")
    status, out, _ = plugin("test", "--timeout", "1", "--only", "frames", path, *SCRIPTS)
    assert status == 1 and faults(out) == [("frames", "`temp` (session.wire line 30): hangs in decode(); at hand: 74656d702c32312e350a")]
    status, out, _ = plugin("test", "--timeout", "1", "--only", "libraries", path, *SCRIPTS)
    assert status == 0, out


def test_a_crash_ends_one_rule_and_no_other():
    if SANITIZED:
        pytest.skip("a sanitizer ends the process by itself")
    _, out, _ = plugin("test", str(BUILD / "tests" / "naughty" / "naughty_crash.so"), *SCRIPTS)
    assert "ok     loads" in out and "ok     statics" in out and "FAILED frames" in out and "FAILED kept" in out


def test_the_first_three_of_each_rule_are_shown_unless_all_are_asked_for():
    path = str(BUILD / "tests" / "naughty" / "naughty_torn.so")
    _, few, _ = plugin("test", path, *SCRIPTS)
    _, every, _ = plugin("test", "--all", path, *SCRIPTS)
    assert len([r for r, _ in faults(few) if r == "split"]) == 3 < len([r for r, _ in faults(every) if r == "split"])
    assert "(--all shows each)" in few and "(--all shows each)" not in every
    assert few.splitlines()[-1].split("(")[0].strip() == every.splitlines()[-1].strip()


def test_the_list_of_rules_and_json():
    status, out, _ = plugin("test", "--list")
    rules = re.findall(r"^(\w+) +\S", out, re.M)
    assert status == 0 and len(rules) == len(set(rules)) > 25
    as_json = [json.loads(line) for line in plugin("test", "--list", "--json")[1].splitlines()]
    assert [r["rule"] for r in as_json] == rules and all(r["what"] == "clause" and r["text"] for r in as_json)

    status, out, _ = plugin("test", "--json", "--only", "status", str(BUILD / "tests" / "naughty" / "naughty_status.so"), *SCRIPTS)
    said = [json.loads(line) for line in out.splitlines()]
    assert status == 1
    assert {"finding", "rule"} <= {s["what"] for s in said}
    assert sum(s.get("findings", 0) for s in said if s["what"] == "rule") >= 3
    assert all(s["rule"] == "status" for s in said if s["what"] == "finding")


def test_wrong_command_lines():
    for args in ([], ["--nonsense"], ["--only", "gravity", SKELETON]):
        assert plugin("test", *args)[0] == 2
    assert "there is no rule 'gravity'" in plugin("test", "--only", "gravity", SKELETON)[2]
    status, out, _ = plugin("test", "--help")
    assert status == 0 and "Exit status" in out


def test_a_folder_is_no_script(tmp_path):
    status, _, err = plugin("test", SKELETON, str(tmp_path))
    assert status == 2 and f"{tmp_path}: cannot be read" in err


def test_without_scripts_the_session_rule_has_nothing_to_say(tmp_path, monkeypatch):
    shutil.copy(SKELETON, tmp_path / "skeleton.so")
    monkeypatch.chdir(tmp_path)
    status, out, _ = plugin("test", "skeleton.so")  # found here, not in the system's folders
    assert status == 0 and "0 frames taken" in out


# ---- wire scripts ---------------------------------------------------------------------

WRONG_LINES = [
    ("> zz", "'zz' is neither two hexadecimal digits nor a text in quotes"),
    (">", "there are no bytes"),
    ('> "abc', "a text without its closing quote"),
    ('> "\\q"', "not \\q"),
    ('> "\\x4"', "\\x wants two hexadecimal digits"),
    ("> 4?", "is neither"),
    ("< 4", "nor ?? (any byte) nor * (any number of bytes)"),
    ("says 00", "'says' begins no line of a wire script"),
    ("identify", "say whom"),
    ("identify a maybe", "not 'maybe'"),
    ("settle", "done, pending, refused or lost"),
    ("record service x {}", "the kind of a record is properties, event"),
    ("record properties - {a}", "is no JSON"),
    ("command properties - {}", "the kind of a command is set, get, service"),
    ("done", "the code of a command's end must be a number"),
    ("wait 5", "a time looks like 500ms, 5s, 2m, 1h or 1d"),
    ("close now", "nothing may follow, but there is 'now'"),
    ("transport pigeon", "not 'pigeon'"),
    ("settings answerTimeout = 1", "with both braces"),
    ("block x 5 00", "the offset of a block must be a number"),
    ("skipped many", "the bytes passed over must be a number"),
    ("frame alone", "there are no bytes"),
]


@pytest.mark.parametrize("line, sentence", WRONG_LINES, ids=[line.split()[0] for line, _ in WRONG_LINES])
def test_a_script_that_cannot_be_read_says_where_and_why(tmp_path, line, sentence):
    script = tmp_path / "wrong.wire"
    script.write_text(f"# a comment\n\n{line}\n")
    status, out, err = plugin("test", SKELETON, str(script))
    assert status == 2 and out == ""
    assert f"{script}:3: " in err and sentence in err


LOGIN = '> "login,meter-1\\n"\nidentify meter-1\n< "ok,login\\n"\n'

MISMATCHES = [
    ('> "temp,1\\n"\nrecord properties - {"Temperature": 1}', 2,
     'expected `record properties - {"Temperature": 1}`, got only `refused: the frame "temp,1\\n" (bytes do not fit the protocol)`'),
    (LOGIN + '> "temp,1\\n"\nrecord properties - {"Temperature": 2}', 5,
     'expected `record properties - {"Temperature": 2}`, got `record properties - {"Temperature":1}` of meter-1'),
    (LOGIN + '> "temp,1\\n"\nrecord properties - {"Humidity": "*"}', 5, 'got `record properties - {"Temperature":1}`'),
    (LOGIN + '> "temp,1\\n"\nrecord event Alarm {}', 5, 'expected `record event Alarm {}`, got `record properties'),
    (LOGIN + '> "temp,1\\n"\nrecord @meter-2 properties', 5, "of meter-1"),
    (LOGIN + '> "temp,1\\n"\nrecord properties\n< "ok,temp\\n"', 6, 'expected `< "ok,temp\\n"`, got nothing'),
    (LOGIN + '> "temp,1\\n"\nrecord properties\nsettle done\n> "temp,2\\n"', 7, 'before this line it also said `< "ok,temp\\n"`'),
    (LOGIN + '> "temp,1\\n"\nrecord properties\nsettle done', 6, 'behind its last line it also said `< "ok,temp\\n"`'),
    (LOGIN + "settle done", 4, "no record waits for its ticket to settle"),
    ('> "login,meter-1\\n"\nidentify meter-2', 2, "expected `identify meter-2`, got `identify meter-1`"),
    ('> "login,meter-1\\n"\n> "temp,1\\n"', 2, "before this line it also said `identify meter-1`"),
    ('> "login,meter-1\\n"\nany\n> "temp,1\\n"', 3, "an identify() has no outcome yet"),
    ('> "login,meter-1\\n"\nidentify meter-1 refused\n< "ok,login\\n"', 3, 'expected `< "ok,login\\n"`, got `< "no,login\\n"`'),
    ("command service SetInterval {}", 1, "there is no device to give a command to"),
    (LOGIN + "command service Dance {}\ndone 200", 5, "expected `done 200`, got `done 501`"),
    (LOGIN + 'command service SetInterval {"seconds": 5}\n< "interval,5\\n"\nwait 4s\ndone 408', 7, "expected `done 408`, got nothing"),
    (LOGIN + "closed", 4, "expected `closed`, got nothing"),
    (LOGIN + "refused", 4, "expected `refused`, got nothing"),
    (LOGIN + '> "hello\\n"\nrefused no such line', 5, "expected that it logs 'no such line'"),
    ('> "' + "x" * 250 + '"\nskipped 7', 2, "expected `skipped 7`, got `skipped 250`"),
    ("settings { answerTimeout = 1ms }\n" + LOGIN, None, "answerTimeout"),
    ("settings { answerTimout = 1s }\n" + LOGIN, None, "answerTimeout"),
]


@pytest.mark.parametrize("text, line, sentence", MISMATCHES, ids=range(len(MISMATCHES)))
def test_a_script_that_fails_says_what_came_instead(tmp_path, text, line, sentence):
    script = tmp_path / "fails.wire"
    script.write_text(text + "\n")
    status, out, err = plugin("test", "--only", "scripts" if line else "loads", SKELETON, str(script))
    assert status == 1, out + err
    [(_, said)] = faults(out)
    assert sentence in said
    if line:
        assert said.startswith(f"{script}:{line}: ")


def test_everything_a_script_can_say(tmp_path):
    """Of the probe of tests/plugin/probe.c: each line tells it what to do, each event comes back as a line."""
    script = tmp_path / "probe.wire"
    script.write_text(r"""# All of it; the probe says each event as a line.
settings { speed = 8 }
open
< "open\n"
> "I meter-1\n"
identify meter-1 waiting
< "rc 0\n"
< "identified meter-1 a1Script000 meter-1 \n"
online
< "online\n"
offline
< "offline\n"
> 45 " 7 bf000107bf6474656d70c4822119" "0ccfffff\n"     # hex and text mixed: E 7 {0: 1, 7: {temp: ..}}
any
> "E 7 bf0001" "07bf616118ffffff\n"
record @meter-1 properties - {"a": 255}
< "rc 0" *
settle lost
< "settled 7 3\n"
> "E 8 bf000401677573657" "22f75700743010203ff\n"
record raw user/up 01 ?? *
< 72 63 2? 30 0a
settle done
< "settled 8 0\n"
> "T 4 1500\n"
< "rc 0\n"
wait 1s
wait 1s
< "timer 4\n"
command set - {"a": 1}
< "command 1 " *
> "A 1 200 bf6162f5ff\n"
done 200 {"b": true}
< "rc 0\n"
command rrpc sync 00ff
< "command 2 " *
> "A 2 200 6869\n"
done 200 "hi"
< "rc 0\n"
command service x {}
< "command 3 " *
cancel
< "cancelled 3\n"
reply 17 200 {"a": 1}
< "reply 17 200 " *
broadcast topic "hi"
< "broadcast " *
> "D\n"
left @meter-1
< "rc 0\n"
< "detached\n"
> "I meter-2\n"
identify * later
< "rc 0\n"
< "refused 4\n"
added meter-2
< "identified meter-2 " *
< "online\n"
detach @meter-2
< "detached\n"
> "Q\n"
refused
< "rc -4\n"
> "C 0\n"
closed
< "rc 0\n"
""".replace('> 45 " 7 bf000107bf6474656d70c4822119" "0ccfffff\\n"     # hex and text mixed: E 7 {0: 1, 7: {temp: ..}}\nany\n', ""))
    status, out, err = plugin("test", "--only", "scripts", str(BUILD / "tests" / "plugins" / "probe.so"), str(script))
    assert status == 0, out + err


def test_several_connections_in_one_script(tmp_path):
    script = tmp_path / "again.wire"
    script.write_text(LOGIN + "close\n" + LOGIN.replace("meter-1", "meter-2") + "close\nopen\n" + LOGIN)
    status, out, err = plugin("test", "--only", "scripts", SKELETON, str(script))
    assert status == 0, out + err
