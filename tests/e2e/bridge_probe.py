"""A program that uses libcauseway (tests/lib/bridge_probe.c), driven line by line."""
import json
import os
import shlex
import subprocess
import threading

from conftest import BUILD, PATIENCE

WRAPPER = shlex.split(os.environ.get("CW_PROBE_WRAPPER", ""))  # e.g. valgrind with its arguments


class Probe:
    def __init__(self, dir):
        self.err = open(dir / "probe.err", "ab")
        self.popen = subprocess.Popen([*WRAPPER, str(BUILD / "tests" / "bridge_probe")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=self.err, text=True)
        self.lines = []
        self.came = threading.Condition()
        self.calls = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.popen.stdout:
            with self.came:
                self.lines.append(json.loads(line))
                self.came.notify_all()
        with self.came:
            self.lines.append({"what": "eof"})
            self.came.notify_all()

    def say(self, *words):
        self.popen.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.popen.stdin.flush()

    def seen(self, what, **fields):
        return [m for m in self.lines if m["what"] == what and all(m.get(k) == v for k, v in fields.items())]

    def wait(self, what, count=1, **fields):
        """The count-th line of its kind with these fields."""
        with self.came:
            ok = self.came.wait_for(lambda: len(self.seen(what, **fields)) >= count or self.lines[-1:] == [{"what": "eof"}], PATIENCE)
            got = self.seen(what, **fields)
        assert ok and len(got) >= count, (what, fields, count, self.lines[-20:], self.stderr())
        return got[count - 1]

    def open(self, name, **words):
        before = len(self.seen("opened"))
        flags = [k if v is True else f"{k}={v}" for k, v in words.items()]
        self.say("open", name, *flags)
        done = self.wait("opened", before + 1)
        assert done["rc"] == "0", done
        return self

    def call(self, *words):
        """Makes a call that has a completion; its number."""
        self.say(*words)
        self.calls += 1
        return self.calls

    def done(self, number):
        """(rc, code) of a call."""
        m = self.wait("done", call=number)
        return int(m["rc"]), int(m.get("code", "0"))

    def policy(self, what, value):
        """From now on callbacks of this kind return value; silent 1: commands wait for an answer of the test."""
        before = len(self.seen("policy"))
        self.say("policy", what, value)
        self.wait("policy", before + 1)

    def online(self, bridge, identity, *more):
        assert self.done(self.call("online", bridge, identity, *more)) == (0, 0)

    def close(self, bridge, drain=0):
        self.say("close", bridge, drain)
        assert self.wait("closed")["rc"] == "0"

    def stderr(self):
        self.err.flush()
        with open(self.err.name, errors="replace") as f:
            return f.read()

    def end(self):
        self.popen.stdin.close()
        status = self.popen.wait(PATIENCE)
        self.reader.join()
        self.popen.stdout.close()
        self.err.close()
        with open(self.err.name, errors="replace") as f:
            text = f.read()
        assert status == 0 and "Sanitizer" not in text, (status, text[-6000:])
        return text
