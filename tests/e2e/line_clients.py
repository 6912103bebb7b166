"""The line's clients, started: the C examples, Node, the verb `request`."""
import os
import shutil
import subprocess

import pytest
from conftest import BUILD, PATIENCE, ROOT

PK = "a1B2c3D4e5F"
CLIENTS = ROOT / "src" / "factory" / "clients"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def run(*argv, cwd=None, env=None, **more):
    return subprocess.run([str(a) for a in argv], cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True,
                          timeout=PATIENCE, **more)


def request(server, *args, **more):
    return run(BUILD / "bin" / "causeway", "factory", "request", "--retries", "1", server, *args, **more)


def linkkey(tmp_path, *args, token=None):
    return run(BUILD / "tests" / "linkkey", *args, env={"LINKKEY_FILE": str(tmp_path / "cert"), **({"LINKKEY_TOKEN": token} if token else {})})


def node(script, *args, env=None):
    return run(NODE, "-e", f"const line = require({str(CLIENTS / 'node')!r});\n(async () => {{{script}}})().catch((e) => {{ console.log(e.code || e); "
               "process.exit(1); });", "--", *args, env=env)
