"""causeway-factory and its clients: ours (C, Node, Python, `factory request`, `factory station`), and older ones written the way the documents
describe them. Older servers: test_factory_old_servers.py, test_factory_station.py."""
import json
import subprocess
import sys

import pytest
from conftest import BUILD, PATIENCE
from factory_world import PK, PS, authority, start_factory, together  # noqa: F401
from line_clients import CLIENTS, NODE, linkkey, needs_node, node, request, run


def states(factory):
    """DeviceID -> state, of those that have one."""
    return {row["deviceId"]: row["state"] for row in factory.rows() if row["deviceId"]}


# ---- ours -----------------------------------------------------------------------------------------

def test_linkkey_and_device(start_factory, tmp_path):
    """covers: B50 B52 B53 B56 B58 B61 C09"""
    factory = start_factory(10)
    got = linkkey(tmp_path, factory.line, PK, "AA00BB11")
    cert = factory.ask("AA00BB11").json
    assert got.stdout == f"Product Key={PK}\nDevice Name={cert['DeviceName']}\nDevice Secret={cert['DeviceSecret']}\nProduct Secret={PS}\nDone\n", got.stderr
    assert states(factory) == {"AA00BB11": "written"}
    assert linkkey(tmp_path, factory.line, PK).returncode == 0  # without an id: reported with the one that the server made up
    assert len(states(factory)) == 2 and set(states(factory).values()) == {"written"}
    device = [BUILD / "tests" / "device", factory.line, PK, "AA00BB12"]
    assert run(*device, tmp_path / "nowhere" / "cert").returncode == 1 and states(factory)["AA00BB12"] == "allocated"
    assert run(*device, tmp_path / "flash").returncode == 0 and states(factory)["AA00BB12"] == "written"
    got = linkkey(tmp_path, factory.line, "a1EmuPk0009", "AA")
    assert got.returncode == 1 and "refused" in got.stderr


@pytest.mark.parametrize("options", [["--crc32", "number"], ["--crc32", "text"]])
def test_both_forms_of_the_check_sum(start_factory, tmp_path, options):
    """covers: B14"""
    factory = start_factory(10)
    factory.tool("product", "set", PK, *options)
    assert isinstance(factory.ask("A")["CRC32"], int if options[1] == "number" else str)
    assert linkkey(tmp_path, factory.line, PK, "A").returncode == 0
    assert request(factory.line, PK, "A").returncode == 0
    if NODE:
        assert node(f"console.log((await new line.Client({{ host: process.argv[1] }}).request('{PK}', 'A')).DeviceName)", factory.line).stdout.strip() == factory.ask("A")["DeviceName"]


def test_bluetooth(start_factory):
    """covers: B12 B31"""
    factory = start_factory(10)
    factory.tool("product", "set", PK, "--bluetooth", "--product-id", "4711")
    assert request(factory.line, PK, "A", "--product-id", "4711").returncode == 0
    got = request(factory.line, PK, "A")
    assert got.returncode == (0 if "ProductID" in factory.ask("A").json else 1)


@needs_node
def test_node(start_factory):
    """covers: B40 B41 B42 B43 B44 B45"""
    factory = start_factory(10)
    got = run(NODE, CLIENTS / "node" / "test.js", factory.line.replace("127.0.0.1", "localhost"), PK)
    assert got.returncode == 0 and got.stdout.count("DevInfo: {") == 3, got
    assert states(factory)["123456"] == "written" and len(states(factory)) == 2
    got = node("await new line.Client({ host: process.argv[1] }).request('nothing', 'A').catch((e) => console.log(e.code, e.status))", factory.line)
    assert got.stdout == "REFUSED UNKNOWN_PRODUCT\n"


def test_python(start_factory):
    factory = start_factory(10)
    got = run(sys.executable, CLIENTS / "python" / "station.py", factory.line, PK, "cat", input="A\nB\n")
    assert got.returncode == 0 and states(factory) == {"A": "written", "B": "written"}, got


def test_request(start_factory):
    """covers: B61 B15 C08"""
    factory = start_factory(12)
    replies = together(10, lambda i: request(factory.line, PK, f"SN{i}"))
    names = [json.loads(got.stdout)["DeviceName"] for got in replies]
    assert len(set(names)) == 10 and all(got.returncode == 0 for got in replies)
    got = request("--report", factory.line, PK, "SN3")
    assert got.returncode == 0 and json.loads(got.stdout) == {"ProductKey": PK, "DeviceID": "SN3", "Status": "OK"}
    assert request("--report", factory.line, PK, "SN99").returncode == 3
    assert [request(factory.line, PK).returncode for _ in range(3)] == [0, 0, 3]
    assert "OUT_OF_STOCK: " in request(factory.line, PK).stderr


def station(factory, *args, cwd, ids="", line=None):
    return subprocess.run([BUILD / "bin" / "causeway", "factory", "station", "--product", PK, "--server", line or factory.line, *map(str, args)], cwd=cwd,
                          input="".join(f"{i}\n" for i in ids), capture_output=True, text=True, timeout=PATIENCE)


def test_a_station_burns_two_hundred_boards(start_factory, tmp_path):
    """covers: B16 C07"""
    factory = start_factory(250)
    ids = [f"SN{i:04}" for i in range(200)]
    got = station(factory, "--write", 'cat > "$DEVICE_ID"', "--parallel", "10", "--journal", "journal", cwd=tmp_path, ids=ids)
    assert got.returncode == 0 and got.stdout.endswith("200 boards: 200 written and reported, 0 failed\n"), (got.stdout[-300:], got.stderr)
    names = {i: json.loads((tmp_path / i).read_text())["DeviceName"] for i in ids}
    assert len(set(names.values())) == 200
    assert {row["deviceId"]: row["deviceName"] for row in factory.rows() if row["state"] == "written"} == names
    again = station(factory, "--simulate", "20", "--prefix", "SN", cwd=tmp_path)
    assert again.returncode == 0


def test_a_station_outlives_a_killed_server(start_factory, tmp_path):
    """kill -9 of the server while boards are on their way; what could not be reported is reported by the next start."""
    factory = start_factory(100)
    popen = subprocess.Popen([BUILD / "bin" / "causeway", "factory", "station", "--product", PK, "--server", factory.line, "--retries", "0", "--write", "true",
                              "--parallel", "4", "--journal", "journal"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for i in range(60):
        popen.stdin.write(f"SN{i:02}\n")
        popen.stdin.flush()
        if i == 30:
            factory.kill()
    out, _ = popen.communicate(timeout=PATIENCE)
    factory.start()
    got = station(factory, "--write", "true", "--journal", "journal", cwd=tmp_path, ids=[f"SN{i:02}" for i in range(60)])
    assert got.returncode == 0, (out, got.stdout)
    assert states(factory) == {f"SN{i:02}": "written" for i in range(60)}


def test_stations_with_tokens_and_certificates(start_factory, authority, tmp_path):
    """HTTPS, a station by its token and one by its certificate; the same from Node."""
    cert, key = authority.issue("127.0.0.1")
    own = authority.issue("line-2")
    (tmp_path / "token").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "wrong").write_text("0123456789abcdef0123456789abcdeg\n")
    factory = start_factory(10, conf=f'''
        line = [ {{ listen = "127.0.0.1:0", tls {{ certificate = "{cert}", key = "{key}" }} }}
                 {{ listen = "127.0.0.1:0", tls {{ certificate = "{cert}", key = "{key}", clientCa = "{authority.pem}" }} }} ]
        stationsRequired = true
        stations = [ {{ name = line-1, token = "file:{tmp_path}/token" }}, {{ name = line-2, certificate = line-2 }} ]
    ''')
    tls = ["--ca", authority.pem]
    assert station(factory, *tls, "--token", f"file:{tmp_path}/token", "--write", "true", cwd=tmp_path, ids="A").returncode == 0
    assert station(factory, *tls, "--cert", own[0], "--key", own[1], "--write", "true", cwd=tmp_path, ids="B", line=factory.lines[1]).returncode == 0
    assert states(factory) == {"A": "written", "B": "written"}
    for options, status, why in [(tls, 3, "UNAUTHORIZED"), ([*tls, "--token", f"file:{tmp_path}/wrong"], 3, "UNAUTHORIZED"), (["--tls"], 4, "certificate")]:
        got = request(factory.line, PK, "C", *options)
        assert got.returncode == status and why in got.stderr, got
    assert "with a client certificate" in request(factory.lines[1], PK, "C", *tls).stderr
    if NODE:
        script = f"""
            const fs = require('fs');
            const read = (file) => fs.readFileSync(file);
            const ca = read('{authority.pem}');
            const one = new line.Client({{ host: process.argv[1], token: read('{tmp_path}/token').toString().trim(), tls: {{ ca }} }});
            const two = new line.Client({{ host: process.argv[2], tls: {{ ca, cert: read('{own[0]}'), key: read('{own[1]}') }} }});
            console.log((await one.request('{PK}', 'A')).DeviceName, (await two.request('{PK}', 'B')).DeviceName, (await two.report('{PK}', 'B')).Status);
            await new line.Client({{ host: process.argv[1], tls: true, retries: 0 }}).request('{PK}', 'A');"""
        got = node(script, *factory.lines)
        names = {row["deviceId"]: row["deviceName"] for row in factory.rows() if row["deviceId"]}
        assert got.stdout == f"{names['A']} {names['B']} OK\nUNREACHED\n", got


# ---- older ones -----------------------------------------------------------------------------------------

OLD_NODE = """
const http = require('http');
function post(more, pieces, then) {
  const [host, port] = process.argv[1].split(':');
  const req = http.request({ host, port, path: '/', method: 'POST', ...more }, (res) => {
    let text = '';
    res.setEncoding('utf8');
    res.on('data', (piece) => { text += piece; });
    res.on('end', () => then(text));
  });
  for (const piece of pieces) req.write(piece);
  req.end();
}
const ask = '{"ProductKey":"%s","DeviceID":"A","Action":0}';
post({}, [ask], (one) => { post({}, [ask.slice(0, 9), ask.slice(9)], (two) => { post({ headers: { 'Content-Length': ask.length } }, [ask], (three) => {
  post({ headers: { 'Content-Type': 'application/x-www-form-urlencoded', 'content-length': ask.length } }, [ask], (four) => {
    post({}, [ask.replace(':0', ':1')], (five) => {
      console.log(new Set([one, two, three, four].map((text) => JSON.parse(text).DeviceName)).size, JSON.parse(one).Status, five);
    }); }); }); }); });
"""


@needs_node
def test_an_old_node_client(start_factory):
    """http.request without Content-Type, with and without a length: chunks, then. covers: B01 B40"""
    factory = start_factory(10)
    got = run(NODE, "-e", OLD_NODE % PK, "--", factory.line)
    count, status, report = got.stdout.split(" ", 2)
    assert (count, status) == ("1", "OK") and json.loads(report) == {"ProductKey": PK, "DeviceID": "A", "Status": "OK"}, got
    assert states(factory) == {"A": "written"}


OLD_C = r'''
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
/* A request the way firmwares put it together; the reply is whatever comes until the connection ends, behind the first blank line. */
static char reply[4096];
static const char *post(int port, const char *format, const char *body)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char text[2048];
	int fd = socket(AF_INET, SOCK_STREAM, 0), n, len = 0;
	snprintf(text, sizeof(text), format, (int)strlen(body), body);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
		exit(9);
	send(fd, text, strlen(text), 0);
	while ((n = recv(fd, reply + len, sizeof(reply) - 1 - len, 0)) > 0)
		len += n;
	reply[len] = 0;
	close(fd);
	char *at = strstr(reply, "\r\n\r\n");
	return at == NULL ? "" : at + 4;
}
int main(int argc, char **argv)
{
	static const char *const formats[] = {
		"POST / HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s",
		"POST / HTTP/1.0\r\ncontent-length:%d\r\n\r\n%s",
		"POST / HTTP/1.1\r\nhost: 192.168.1.10\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s",
		"POST /get_triple HTTP/1.1\r\nHost:192.168.1.10:8000\r\nConnection: Close\r\nUser-Agent:\r\nContent-Length: %d\r\n\r\n%s",
		"POST http://192.168.1.10:8000/ HTTP/1.0\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n%s",
	};
	char ask[200], report[200];
	snprintf(ask, sizeof(ask), "{\"ProductKey\": \"%s\",\r\n\t\"DeviceID\": \"AA00\", \"Action\": 0}\r\n", argv[2]);
	snprintf(report, sizeof(report), "{\"Action\":1,\"DeviceID\":\"AA00\",\"ProductKey\":\"%s\"}", argv[2]);
	for (unsigned i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
		puts(post(atoi(argv[1]), formats[i], ask));
		puts(post(atoi(argv[1]), formats[i], report));
	}
	return 0;
}
'''


def test_an_old_c_client(start_factory, tmp_path):
    """A raw socket, HTTP/1.0 or something like 1.1, header names of any case. covers: B01 B08"""
    factory = start_factory(10)
    (tmp_path / "old.c").write_text(OLD_C)
    got = run("cc", tmp_path / "old.c", "-o", tmp_path / "old")
    assert got.returncode == 0, got.stderr
    got = run(tmp_path / "old", factory.line.rsplit(":", 1)[1], PK)
    lines = [json.loads(line) for line in got.stdout.splitlines()]
    assert [line["Status"] for line in lines] == ["OK"] * 10 and len({line["DeviceName"] for line in lines[::2]}) == 1
    assert states(factory) == {"AA00": "written"}
