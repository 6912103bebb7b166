"""What `causeway config check` says of a gateway's configuration, before anything is started."""
import subprocess

import pytest
from conftest import BUILD
from gw import GW, devices_conf


@pytest.fixture
def check(tmp_path):
    """check(changes) -> (exit status, stdout, stderr) for a good configuration with some lines replaced."""
    def run(upstream='endpoint = "tcp://127.0.0.1:1"', bridge=None, extra="", listener="", devices=""):
        bridge = f"productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = made-up" if bridge is None else bridge
        (tmp_path / "devices.conf").write_text(devices_conf(2) + devices)
        path = tmp_path / "application.conf"
        path.write_text(f"""{bridge}
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0", {listener} }} ]
upstreams {{ cloud {{ {upstream} }} }}
{extra}
""")
        done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", path], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr
    return run


def test_a_good_file_is_fine_and_says_where_it_would_connect(check):
    """covers: M11 M12"""
    status, out, err = check()
    assert (status, err) == (0, "")
    assert "fine; 1 listeners, 1 upstreams, 2 devices" in out
    assert f"upstream cloud: tcp://127.0.0.1:1 as {GW[0]}/{GW[1]}" in out
    assert "made-up" not in out


def test_the_region_alone_gives_the_host_and_an_endpoint_overrides_it(check):
    """covers: H11"""
    _, out, _ = check(upstream="region = cn-shanghai")
    assert f"ssl://{GW[0]}.iot-as-mqtt.cn-shanghai.aliyuncs.com:1883" in out
    _, out, _ = check(upstream='region = cn-shanghai, endpoint = "ssl://broker.example:443"')
    assert "ssl://broker.example:443" in out and "cn-shanghai" not in out
    status, _, err = check(upstream="qos = 1")
    assert status == 1 and "endpoint is missing" in err


@pytest.mark.parametrize("extra, devices", [
    ("products.a1EmuSub001.settings { zeroSource = remote }", ""),
    ("", "utd { productKey : a1EmuSub001, deviceName : utd-1, deviceSecret : abcdef, settings { zeroSource = remote } }"),
])
def test_a_setting_where_its_protocol_does_not_take_it_is_refused(check, extra, devices):
    """covers: M03"""
    status, out, err = check(listener="protocol = gb26875", extra=extra, devices=devices)
    assert "zeroSource has no effect here; it is set in protocols.<name> or in settings {} of a listener or connection" in err, out
    assert status == 1
    status, out, err = check(listener="protocol = gb26875, settings { zeroSource = remote }", extra="protocols.gb26875 { zeroSource = remote }")
    assert status == 0, out + err


@pytest.mark.parametrize("value, good", [("29s", False), ("30s", True), ("1200s", True), ("1201s", False)])
def test_keep_alive_outside_the_platforms_range_is_an_error(check, value, good):
    """covers: H14"""
    status, _, err = check(upstream=f'endpoint = "tcp://127.0.0.1:1", keepAlive = {value}')
    assert (status == 0) == good
    if not good:
        assert "keepAlive" in err and "application.conf:3:" in err


@pytest.mark.parametrize("missing", ["productKey", "deviceName", "deviceSecret"])
def test_half_an_identity_names_the_missing_key(check, missing):
    parts = {"productKey": GW[0], "deviceName": GW[1], "deviceSecret": "made-up"}
    del parts[missing]
    status, _, err = check(bridge=", ".join(f"{k} = {v}" for k, v in parts.items()))
    assert status == 1 and f"{missing} is missing" in err and "made-up" not in err


@pytest.mark.parametrize("change, says", [
    ({"listener": "ack = journaled"}, "delivered"),
    ({"extra": 'control = "unix:control.sock"'}, "absolute path"),
    ({"listener": "ack = maybe"}, "received"),
    ({"listener": "limits { connectons = 5 }"}, '"connections"'),
    ({"listener": "limits { idleTime = soon }"}, "idleTime"),
    ({"listener": "settings { timezon = UTC }"}, '"timezone"'),
    ({"listener": "tls { certificate = a.pem, key = b.pem }"}, "say transport = tls"),
    ({"extra": "routes = [ { upstream = clod } ]"}, 'no upstream "clod"'),
    ({"extra": 'listeners += { name = trucks, protocol = jt808, address = "127.0.0.1:0" }'}, 'two listeners are named "trucks"'),
    ({"extra": 'listeners += { name = x, protocol = jt809, address = "127.0.0.1:0" }'}, "there are: jt808"),
    ({"extra": 'http2Endpoint = "https://h:443"'}, "authEndpoint is missing"),
    ({"extra": 'authEndpoint = "https://h/auth/bridge"'}, "endpoint is missing"),
    ({"extra": "a = ${nowhere}"}, "nowhere"),
    ({"extra": "a = [1,,2]"}, "application.conf:4:"),
])
def test_what_is_wrong_is_said_in_a_sentence(check, change, says):
    status, _, err = check(**change)
    assert status == 1 and says in err, err


@pytest.mark.parametrize("upstream", ['type = coap, endpoint = "coap://127.0.0.1:1"', 'type = https, endpoint = "https://127.0.0.1:1"',
                                      'type = broker, endpoint = "tcp://127.0.0.1:1"'])
def test_an_upstream_without_a_certificate_of_the_bridge_says_so(check, upstream):
    status, out, err = check(upstream=upstream, bridge="")
    assert (status, err) == (0, "")
    assert "needs no certificate of the bridge" in out and "null" not in out


def test_files_of_tls_stand_beside_the_file_that_names_them(check, tmp_path):
    for settings in ({"upstream": 'endpoint = "ssl://127.0.0.1:1", tls { ca = certs/ca.pem }'},
                     {"upstream": 'endpoint = "ssl://127.0.0.1:1", tls { certificate = certs/ca.pem, key = k.pem }'}):
        status, _, err = check(**settings)
        assert status == 1 and f"{tmp_path}/certs/ca.pem cannot be read" in err


HTTP2 = 'type = http2, endpoint = "https://127.0.0.1:1", authEndpoint = "https://127.0.0.1:1/auth"'
HTTPS = 'type = https, endpoint = "https://127.0.0.1:1"'
BROKER = 'type = broker, endpoint = "tcp://127.0.0.1:1"'
REGISTERED = f"productKey = {GW[0]}, deviceName = {GW[1]}, productSecret = 0123456789abcdef"


@pytest.mark.parametrize("change, says", [
    # files that a library would miss only when it connects
    *[({"upstream": kind + ", tls { " + tls + " }"}, "cannot be read")
      for kind in (HTTP2, HTTPS, BROKER, 'endpoint = "ssl://127.0.0.1:1"', 'type = coap, endpoint = "coaps://127.0.0.1:1", dtls = certificate')
      for tls in ('ca = "/nonexistent"', 'ca = "/dev/null"', 'ca = "/tmp"', 'certificate = "/nonexistent", key = "/nonexistent"')],
    ({"extra": 'ca = "/nonexistent"'}, "cannot be read"),
    ({"extra": 'identity.http { url = "https://h/x", tls.ca = "/nonexistent" }'}, "cannot be read"),
    # addresses
    ({"extra": 'identity.http.url = "https://h:99999/x"'}, "identity.http.url"),
    ({"extra": 'identity.http.url = "https://a b/x"'}, "identity.http.url"),
    ({"extra": 'identity.http { url = "https://h/x", token = "a\\nb" }'}, "line break"),
    ({"upstream": HTTPS.replace(":1", ":99999")}, "endpoint"),
    ({"upstream": HTTP2.replace("1/auth", "99999/auth")}, "authEndpoint"),
    ({"upstream": 'region = ""'}, "cn-shanghai"),
    ({"upstream": 'region = "cn shanghai"'}, "cn-shanghai"),
    ({"bridge": REGISTERED, "extra": 'registration.endpoint = "https://h:99999"'}, "registration"),
    ({"bridge": REGISTERED, "extra": 'registration.region = "x y"'}, "registration"),
    ({"upstream": 'type = broker, client = paho, endpoint = "ssl://[::1]:1"'}, "client = mosquitto"),
    ({"extra": 'listeners += { name = a, protocol = jt808, address = "192.0.2.1:0" }'}, "no address of this machine"),
    ({"extra": 'listeners += { name = a, protocol = jt808, address = "0.0.0.0:7611" }, listeners += { name = b, protocol = jt808, address = "127.0.0.1:7611" }'},
     'taken by listener "a"'),
    ({"extra": 'listeners += { name = a, protocol = jt808, address = "[::]:7611" }, listeners += { name = b, protocol = jt808, address = "127.0.0.1:7611" }'},
     'taken by listener "a"'),
    # names
    ({"extra": 'listeners += { name = "a\\"b", protocol = jt808, address = "127.0.0.1:0" }'}, "letters, digits"),
    ({"extra": 'upstreams { "" { endpoint = "tcp://127.0.0.1:2" } }'}, "letters, digits"),
    # what works against itself
    ({"extra": 'upstreams { b { endpoint = "tcp://127.0.0.1:1" } }'}, "each would end the other's connection"),
    ({"upstream": 'endpoint = "tcp://127.0.0.1:1", bridges = [ ' + ", ".join([f"{{ productKey = {GW[0]}, deviceName = g-01, deviceSecret = x }}"] * 2) + " ]"},
     "each would end the other's connection"),
    ({"upstream": BROKER + ", bridges = [ { productKey = a1EmuGw0001, deviceName = g-01, deviceSecret = x } ]"}, "there is no bridge"),
    ({"upstream": 'endpoint = "tcp://127.0.0.1:1", large = true'}, "HTTP/2 only"),
    ({"upstream": HTTPS + ", large = true"}, "HTTP/2 only"),
    ({"upstream": BROKER + ', reply = "site/${productKey}/${deviceName}/command/${name}"'}, "come back as a command"),
    ({"upstream": BROKER + ', command = "site/${productKey}/${deviceName}/${name}"'}, "come back as a command"),
    ({"upstream": BROKER + ', topic = "a/${deviceName}/${name}", command = "a/b/${productKey}/${deviceName}/${name}"'}, "come back as a command"),
    ({"upstream": HTTPS, "extra": 'identity.rules = [ { identity = "*", productKey = a1EmuSub001 } ]'}, "type = mqtt"),
    ({"extra": 'identity.rules = [ { identity = "*", productKey = a1EmuSub001, deviceName = "' + "x" * 40 + '${identity}" } ]'}, "makes no name"),
    # places
    ({"extra": 'stateDir = "/dev/null/state"'}, "no directory"),
    ({"extra": 'control = "unix:/tmp"'}, "no socket"),
    ({"extra": 'control = "unix:/dev/null"'}, "no socket"),
    ({"extra": 'identity.keyFile = "/nonexistent/key"'}, "no directory /nonexistent"),
    ({"extra": 'attachments.directory = "/dev/null/a"'}, "no directory"),
])
def test_what_a_start_would_trip_over_is_found_before(check, change, says):
    status, _, err = check(**change)
    assert status == 1 and says in err, err


def test_plain_topics_and_own_ones_may_stand_beside_commands(check):
    for more in ("", ", payload = plain", ', topic = "up/${deviceName}/${kind}/${name}", command = "down/${deviceName}/${productKey}/${name}"'):
        assert check(upstream=BROKER + more)[0] == 0


def test_the_control_socket_replaces_no_file_of_somebody_else(spawn, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("kept")
    path = tmp_path / "application.conf"
    path.write_text(f"""productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = made-up, stateDir = "{tmp_path}/state", control = "unix:{precious}"
listeners = [ {{ name = trucks, protocol = jt808, address = "127.0.0.1:0" }} ]
upstreams {{ cloud {{ endpoint = "tcp://127.0.0.1:1" }} }}
""")
    (tmp_path / "devices.conf").write_text("")
    done = subprocess.run([BUILD / "bin" / "causewayd", "-c", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "no socket" in done.stderr
    assert precious.read_text() == "kept"


def test_settings_of_products_and_devices_are_checked_too(check, tmp_path):
    assert check(extra="products.a1EmuSub001.settings { timezone = UTC }")[0] == 0
    status, _, err = check(extra="products.a1EmuSub001.settings { timezon = UTC }")
    assert status == 1 and "product a1EmuSub001" in err and '"timezone"' in err
    status, _, err = check(devices="7 { productKey : p, deviceName : d, deviceSecret : s, settings { timezon = UTC } }\n")
    assert status == 1 and 'device "7"' in err and '"timezone"' in err


def test_an_unknown_key_at_the_top_is_a_warning_with_the_nearest_one(check):
    status, _, err = check(extra="stopTimout = 5s")
    assert status == 0 and 'did you mean "stopTimeout"' in err


@pytest.mark.parametrize("upstream", ['endpoint = "tcp://127.0.0.1:1"', 'type = https, endpoint = "https://127.0.0.1:1"',
                                      'type = coap, endpoint = "coaps://127.0.0.1:1"', 'type = broker, endpoint = "tcp://127.0.0.1:1"'])
def test_a_large_bridge_where_there_is_none_is_refused(check, upstream):
    status, _, err = check(upstream=upstream + ", large = true")
    assert status == 1 and "HTTP/2 only" in err and "application.conf:3:" in err
    status, _, err = check(upstream=upstream)
    assert (status, "HTTP/2 only" in err) == (0, False)


def test_a_large_bridge_over_http2_is_no_warning(check):
    _, _, err = check(upstream='type = http2, endpoint = "https://127.0.0.1:1", authEndpoint = "https://127.0.0.1:1/auth/bridge", large = true')
    assert err == ""
