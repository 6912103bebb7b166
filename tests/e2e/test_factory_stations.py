"""Who may ask for what: tokens, client certificates, addresses, products, quotas; and reloading all of it."""
import resource
import signal
import socket
import ssl
import subprocess

import pytest

from conftest import BUILD, PATIENCE, wait_until
from factory_world import Authority, PK, Station, authority, certificates, start_factory, together  # noqa: F401  pylint: disable=unused-import

TOKEN = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


def check(tmp_path, text):
    path = tmp_path / "check.conf"
    path.write_text(text)
    return subprocess.run([BUILD / "bin" / "causeway-factory", "--check", "-c", path], capture_output=True, text=True, timeout=PATIENCE)


def unauthorized(reply, device_id="SN01"):
    assert (reply.status, reply["Status"], reply["DeviceID"], reply["ProductKey"]) == (401, "UNAUTHORIZED", device_id, PK), reply
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    return reply["Message"]


def test_tokens(start_factory, tmp_path):
    (tmp_path / "two.token").write_text(OTHER + "\n")
    (tmp_path / "two.token").chmod(0o600)
    f = start_factory(100, conf=f"""
        stationsRequired = true
        stations = [ {{ name = one, token = "{TOKEN}" }}, {{ name = two, token = "file:two.token" }} ]
        log.level = debug
    """)
    unauthorized(f.ask("SN01"))
    unauthorized(f.ask("SN01", token="wrong"))
    unauthorized(f.ask("SN01", token=TOKEN + "0"))
    unauthorized(f.post({"ProductKey": PK, "DeviceID": "SN01", "Action": 0}, headers={"Authorization": "Basic eDp5"}))
    unauthorized(f.post({"ProductKey": PK, "DeviceID": "SN01", "Action": 0}, path=f"/?token={TOKEN}"))
    assert f.rows("--status", "allocated") == []
    assert f.ask("SN01", token=TOKEN)["Status"] == "OK"
    assert f.ask("SN02", token=OTHER)["Status"] == "OK"
    assert {row["deviceId"]: row["station"] for row in f.rows("--status", "allocated")} == {"SN01": "one", "SN02": "two"}
    assert f.metric("answer_unauthorized_total") == 5
    secrets = {TOKEN, OTHER, *(row["DeviceSecret"] for row in certificates(100)), "EmuPs0123456789A"}
    f.process.stop()
    logged = f.process.stderr() + f.process.stdout()
    assert "factory.refused" in logged and "factory.answer" in logged
    assert [secret for secret in secrets if secret in logged] == []


def test_products_of_a_station(start_factory):
    f = start_factory(certificates(10) + certificates(10, pk="a1EmuOther1"), conf=f"""
        stations = [ {{ name = one, token = "{TOKEN}", products = [ {PK} ] }} ]
    """)
    assert f.ask("SN01", token=TOKEN)["Status"] == "OK"
    reply = f.ask("SN01", pk="a1EmuOther1", token=TOKEN)
    assert (reply.status, reply["Status"]) == (401, "UNAUTHORIZED")
    assert f.report("SN01", pk="a1EmuOther1", token=TOKEN)["Status"] == "UNAUTHORIZED"
    assert f.ask("SN02", pk="a1EmuOther1")["Status"] == "OK"  # not listed, and none has to be
    unauthorized(f.ask("SN03", token=OTHER), "SN03")  # who comes with a token means it


def test_stations_by_address(start_factory):
    f = start_factory(100, conf="""
        line = [ { listen = "127.0.0.1:0" }, { listen = "[::1]:0" } ]
        stationsRequired = true
        stations = [ { name = bench, addresses = [ "127.0.0.0/8" ] } ]
    """)
    assert f.station(line=0).ask("SN01")["Status"] == "OK"
    unauthorized(f.station(line=1).ask("SN01"))
    assert [row["station"] for row in f.rows("--status", "allocated")] == ["bench"]


def test_quotas(start_factory):
    f = start_factory(100, conf=f"""
        stations = [ {{ name = one, token = "{TOKEN}", quota = 5 }}, {{ name = two, token = "{OTHER}" }} ]
    """)
    statuses = [reply["Status"] for reply in together(12, lambda i: f.ask(f"SN{i}", token=TOKEN))]
    assert sorted(statuses) == ["OK"] * 5 + ["QUOTA_EXCEEDED"] * 7
    reply = f.ask("SN99", token=TOKEN)
    assert reply.status == 200 and reply["Status"] == "QUOTA_EXCEEDED" and "quota" in reply["Message"]
    done = next(i for i, status in enumerate(statuses) if status == "OK")
    assert f.ask(f"SN{done}", token=TOKEN)["Status"] == "OK"  # a board that has one already
    assert f.report(f"SN{done}", token=TOKEN)["Status"] == "OK"
    assert f.ask("SN99", token=OTHER)["Status"] == "OK"
    f.kill()
    f.start()
    assert f.ask("SN100", token=TOKEN)["Status"] == "QUOTA_EXCEEDED"


def test_tls_and_client_certificates(start_factory, authority, tmp_path):
    from cryptography.x509.oid import ExtendedKeyUsageOID  # pylint: disable=import-outside-toplevel

    server = authority.issue("localhost")
    f = start_factory(100, conf=f"""
        line = [
          {{ listen = "127.0.0.1:0", tls {{ certificate = "{server[0]}", key = "{server[1]}" }} }}
          {{ listen = "127.0.0.1:0", tls {{ certificate = "{server[0]}", key = "{server[1]}", clientCa = "{authority.pem}" }} }}
        ]
        stations = [ {{ name = one, certificate = "prog-1.line", products = [ {PK} ] }}, {{ name = two, token = "{TOKEN}" }} ]
    """)
    assert f.station(line=0, tls=authority.context()).ask("SN01")["Status"] == "OK"
    own = authority.context(authority.issue("prog-1.line", purpose=ExtendedKeyUsageOID.CLIENT_AUTH))
    station = f.station(line=1, tls=own)
    for i in range(3):
        assert station.ask(f"ONE{i}")["Status"] == "OK"
    assert station.ask("ONE9", pk="a1EmuOther1")["Status"] == "UNAUTHORIZED"
    assert f.station(line=1, tls=authority.context(authority.issue("prog-7.line"))).ask("SEVEN")["Status"] == "OK"
    assert {row["deviceId"]: row["station"] for row in f.rows("--status", "allocated")} == {
        "SN01": "127.0.0.1", "ONE0": "one", "ONE1": "one", "ONE2": "one", "SEVEN": "cert:prog-7.line"}
    # Without one, or with a wrong one: an answer that says so, also with a token.
    assert "client certificate" in unauthorized(f.station(line=1, tls=authority.context()).ask("SN01"))
    assert "client certificate" in unauthorized(f.station(TOKEN, line=1, tls=authority.context()).ask("SN01"))
    stranger = Authority(tmp_path, "Other CA")
    wrong = {
        "of another authority": stranger.issue("prog-1.line-foreign"),
        "run out": authority.issue("prog-1.line-old", days=(-9, -2)),
        "not in force yet": authority.issue("prog-1.line-new", days=(2, 9)),
        "for servers only": authority.issue("prog-1.line-server", purpose=ExtendedKeyUsageOID.SERVER_AUTH),
    }
    for what, files in wrong.items():
        try:
            reply = f.station(line=1, tls=authority.context(files)).ask("SN01")
        except (ssl.SSLError, ConnectionError):
            raise AssertionError(f"{what}: no answer that a client could read") from None
        assert "client certificate" in unauthorized(reply), what
    with pytest.raises(OSError):  # plain HTTP to a port of HTTPS
        Station(f.lines[0]).ask("SN01")
    assert f.station(line=1, tls=own).ask("ONE0")["Status"] == "OK"


def test_reload(start_factory, tmp_path):
    before = f'stations = [ {{ name = one, token = "{TOKEN}" }} ]\nstationsRequired = true\n'
    f = start_factory(100, conf=before)
    path = tmp_path / "causeway-factory.conf"

    def reload(text, line):
        seen = f.process.stderr().count(line)
        path.write_text(text)
        f.process.signal(signal.SIGHUP)
        wait_until(lambda: f.process.stderr().count(line) > seen, line)

    station = f.station(TOKEN)
    assert station.ask("SN01")["Status"] == "OK"
    reload(f'stations = [ {{ name = two, token = "{OTHER}" }} ]\nstationsRequired = true\n', "daemon.reload ")
    unauthorized(station.ask("SN01"))
    assert f.ask("SN01", token=OTHER)["Status"] == "OK"
    reload("stations = [ { name = two } ]\n", "daemon.reload_failed")  # nothing says how it is known
    assert f.ask("SN01", token=OTHER)["Status"] == "OK"
    reload('stationsRequired = false\nwait = 1s\nnode = other\n', "daemon.reload ")
    assert "wait" in f.process.stderr().split("factory.restart")[1] and "node" in f.process.stderr().split("factory.restart")[1]
    assert f.ask("SN01")["Status"] == "OK"
    for _ in range(20):
        reload(before, "daemon.reload ")
    assert f.metric("reloads_total") == 22


def test_the_office_is_not_for_everybody(tmp_path):
    """Issue: page and /api listen on 127.0.0.1 unless tokens or client certificates are on."""
    done = check(tmp_path, 'office = [ { listen = "0.0.0.0:8001" } ]\n')
    assert done.returncode == 1 and "operators" in done.stderr and "127.0.0.1" in done.stderr
    assert check(tmp_path, f'office = [ {{ listen = "0.0.0.0:8001" }} ]\noperators = [ {{ name = m, token = "{TOKEN}" }} ]\n').returncode == 0
    assert check(tmp_path, 'office = [ { listen = "127.0.0.1:8001" } ]\n').returncode == 0
    assert check(tmp_path, 'office = [ { listen = "[::1]:8001" } ]\n').returncode == 0
    assert "::" in check(tmp_path, 'office = [ { listen = "[::]:8001" } ]\n').stderr
    done = subprocess.run([BUILD / "bin" / "causeway-factory", "--office", "0.0.0.0:0", "--listen", "127.0.0.1:0"], cwd=tmp_path, capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.returncode == 1 and "operators" in done.stderr


def test_an_office_with_the_stations_authority_is_warned_about(tmp_path, authority):
    """Every station's certificate would be an operator's."""
    certificate, key = authority.issue("server")
    tls = f'tls {{ certificate = "{certificate}", key = "{key}", clientCa = "{authority.pem}" }}'
    text = f'line = [ {{ listen = "127.0.0.1:0", {tls} }} ]\noffice = [ {{ listen = "127.0.0.1:0", {tls} }} ]\n'
    done = check(tmp_path, text)
    assert done.returncode == 0 and "the same authority" in done.stderr, done
    done = check(tmp_path, text + f'operators = [ {{ name = m, token = "{TOKEN}" }} ]\n')
    assert done.returncode == 0 and "the same authority" not in done.stderr, done


def test_a_reload_does_not_open_the_office(start_factory, tmp_path):
    """A file that is fine for a start may not be for listeners that are open already: they stay until a restart."""
    before = f'office = [ {{ listen = "0.0.0.0:0" }} ]\noperators = [ {{ name = m, token = "{TOKEN}" }} ]\n'
    f = start_factory(1, conf=before)
    path = tmp_path / "causeway-factory.conf"
    for text in ('office = [ { listen = "127.0.0.1:0" } ]\n', "office = []\n"):
        assert check(tmp_path, text).returncode == 0
        seen = f.process.stderr().count("daemon.reload")
        path.write_text(text)
        f.process.signal(signal.SIGHUP)
        wait_until(lambda: f.process.stderr().count("daemon.reload") > seen, "the reload")  # noqa: B023  pylint: disable=cell-var-from-loop
        assert f.office.request("GET", "/api/v1/batches")[0] == 401
        assert f.process.stderr().count("daemon.reload_failed") == seen + 1 and "everybody" in f.process.stderr()


@pytest.mark.parametrize("front", ["line", "field", "office"])
def test_one_peer_does_not_take_all_connections(start_factory, front):
    """Who opens connections and says nothing keeps nobody else out, at none of the listeners."""
    f = start_factory(1, conf='field { listeners = [ { listen = "127.0.0.1:0" } ], anybody = true }\n')
    host, port = f.process.ready[front][0].rsplit(":", 1)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    silent = []
    try:
        silent += [socket.create_connection((host, int(port)), timeout=PATIENCE) for _ in range(4200)]
        with socket.create_connection((host, int(port)), timeout=PATIENCE, source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert other.recv(1000).startswith(b"HTTP/1.1 ")
    finally:
        for c in silent:
            c.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


WRONG = {
    "line = []\noffice = []": "nothing to listen on",
    'line = [ { listen = "8000" } ]': "listen",
    'line = [ { listen = "host.example:8000" } ]': "no address",
    'line = [ { listen = "127.0.0.1:0", tls { certificate = x.pem } } ]': "both certificate and key",
    'line = [ { listen = "127.0.0.1:0", tls { clientCa = x.pem } } ]': "clientCa needs",
    'stations = [ { name = a, token = "x y" } ]': "without blanks",
    'stations = [ { name = "a b", addresses = [ "1.2.3.4" ] } ]': "without blanks",
    'stations = [ { name = a, addresses = [ "1.2.3.4/99" ] } ]': "1.2.3.4/99",
    'stations = [ { name = a, certificate = x }, { name = a, certificate = y } ]': "two are named",
    'stations = [ { name = a, certificate = x }, { name = b, certificate = x } ]': "same certificate",
    f'stations = [ {{ name = a, token = "{TOKEN}" }}, {{ name = b, token = "{TOKEN}" }} ]': "same token",
    'db = "postgresql://u:geheim@127.0.0.1/x"': "keyFile is missing",
    'line = [ { listen = "127.0.0.1:0", tls { certificate = nowhere.pem, key = nowhere.key } } ]': "cannot read",
    "openapi.accessKey = x": "belong together",
    "lineTypo = 7": "lineTypo",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_check_finds(tmp_path, text):
    done = check(tmp_path, text + "\n")
    assert done.returncode == 1 and WRONG[text] in done.stderr, done
    started = subprocess.run([BUILD / "bin" / "causeway-factory", "-c", tmp_path / "check.conf"], capture_output=True, text=True, timeout=PATIENCE, cwd=tmp_path)
    assert (started.returncode, WRONG[text] in started.stderr) == (1, True), started
    assert "geheim" not in done.stderr and TOKEN not in done.stderr


def test_the_example_file_is_fine():
    example = BUILD.parent / "conf" / "factory.conf"
    example = example if example.exists() else BUILD.parents[1] / "conf" / "factory.conf"
    done = subprocess.run([BUILD / "bin" / "causeway-factory", "--check", "-c", example], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and "fine" in done.stdout, done
    reference = subprocess.run([BUILD / "bin" / "causeway", "config", "reference"], capture_output=True, text=True, check=True).stdout
    text = example.read_text()
    for key in ("quotaPeriod", "stationsRequired", "leaseCheck", "stopTimeout", "clientCa", "viewOnly", "keyFile", "gatewayToken"):
        assert key in reference and key in text, key
