"""The official Node SDK, unmodified, as a client of the emulator. It is no package of Debian: without it these tests are skipped.

    npm install --prefix DIR alibabacloud-iot-device-sdk; NODE_PATH=DIR/node_modules ./dev test -k node_sdk
"""
import json
import os
import pathlib
import queue
import shutil
import subprocess
import threading

import pytest
from conftest import PATIENCE, wait_until

SDK = "alibabacloud-iot-device-sdk"


def available():
    return shutil.which("node") is not None and subprocess.run(
        ["node", "-e", f"require.resolve('{SDK}')"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not available(), reason=f"node or its package {SDK} is not installed (see this file)")


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws", "wss"])
def test_the_node_sdk_as_device_and_gateway(cloud, scheme):
    """covers: H26 H50 O01"""
    script = pathlib.Path(__file__).with_name("node_sdk.js")
    node = subprocess.Popen(["node", script, f"{scheme}://localhost:{cloud.mqtt[1]}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            text=True, env={**os.environ, "NODE_EXTRA_CA_CERTS": cloud.ca})
    lines, seen = queue.Queue(), {}
    threading.Thread(target=lambda: [lines.put(line) for line in node.stdout], daemon=True).start()

    def until(*wanted):
        while not set(wanted) <= set(seen):
            line = json.loads(lines.get(timeout=PATIENCE))
            assert line["what"] != "error", line
            seen[line["what"]] = line
    try:
        until("postProps", "postEvent", "postTags", "deleteTags", "addTopo", "login", "subPostProps", "logout", "removeTopo")
        assert all(line["code"] == 200 for line in seen.values()), seen
        cloud.wait_message(topic="/a1EmuPk0001/dev-0001/user/update")
        answer = cloud.post("/devices/a1EmuPk0001/dev-0001/services/reboot", {"x": 7})
        assert answer["result"] == "answered" and answer["reply"]["code"] == 200
        until("onService")
        session = cloud.device("a1EmuPk0001", "dev-0001")["session"]
        assert (session["websocket"], session["tls"]) == (scheme.startswith("ws"), scheme.endswith("s") and scheme != "ws")
    finally:
        node.stdin.close()
        node.wait(PATIENCE)
        node.stdout.close()
    wait_until(lambda: cloud.stats()["connections"] == 0, "both gone")
