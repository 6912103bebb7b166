"""application.conf and devices.conf as users of the Java bridge libraries have them start the gateway as they are. The files are in
tests/vectors/java; only the places in @...@ are filled in.

covers: A09 E01 M11 M12 M13 M14 M15 M1D
"""
import shutil
import ssl
import subprocess

import pytest
from conftest import BUILD, ROOT
from gw import GW, PK, cloud_conf, device_name, phone, secret
from terminal import Terminal

FILES = ROOT / "tests" / "vectors" / "java"
CORE = ["core-sample", "core-colons", "core-large", "core-json", "core-leftovers"]
DEVICES = ["devices-plain", "devices-quoted", "devices-json", "devices-shared"]


@pytest.fixture
def platform(start_cloud):
    conf = cloud_conf(2).replace("listeners {", 'listeners { http2 = "127.0.0.1:0", https = "127.0.0.1:0",')
    return start_cloud(conf)


class Java:
    """A directory with the files of a Java program, and causewayd started on them."""

    def __init__(self, spawn, tmp_path, cloud, application, devices, *args, own=""):
        self.dir = tmp_path / "java"
        self.dir.mkdir(mode=0o700, exist_ok=True)
        ready = cloud.process.ready
        self.words = {
            "HTTP2": f'https://{ready["http2"]}', "AUTH": f'https://{ready["https"]}/auth/bridge',
            "PK": GW[0], "DN": GW[1], "DS": secret("gw"), "DIR": str(self.dir),
        }
        for i in range(2):
            self.words |= {f"ID{i}": phone(i), f"SPK{i}": PK, f"SDN{i}": device_name(i), f"SDS{i}": secret(i)}
        self.put(application + ".conf", "application.conf")
        self.put(devices + ".conf", "devices.conf")
        if "core-bridge.conf" in (self.dir / "application.conf").read_text():
            self.put("core-bridge.conf", "core-bridge.conf")
        # Only where this test's directories are stands in a file of its own.
        (self.dir / "gateway.conf").write_text('include "application.conf"\n' + own)
        (self.dir / "gateway.conf").chmod(0o600)
        self.process = spawn("causewayd", "-c", self.dir / "gateway.conf", *args, dir=self.dir,
                             env={"SSL_CERT_FILE": str(cloud.ca)})

    def put(self, name, to):
        text = (FILES / name).read_text()
        for word, value in self.words.items():
            text = text.replace(f"@{word}@", value)
        assert "@" not in text, text
        (self.dir / to).write_text(text)
        (self.dir / to).chmod(0o600)


OWN = """
stateDir = "state", control = ""
listeners = [ { name = trucks, protocol = jt808, address = "127.0.0.1:0" } ]
"""
SERVER_OWN = 'stateDir = "state", control = ""\n'


def wait_online(cloud, i):
    cloud.wait_status(PK, device_name(i), "ONLINE")


def drive(cloud, address, wrap=None):
    """Both devices of the files log in and report; the platform has their messages under their own names."""
    for i in range(2):
        terminal = Terminal(address, phone(i), connect=False)
        terminal.connect(wrap)
        with terminal as t:
            t.log_in()
            wait_online(cloud, i)
            t.report()
            cloud.wait_message(topic=f"/sys/{PK}/{device_name(i)}/thing/event/property/post")


@pytest.mark.parametrize("application", CORE)
@pytest.mark.parametrize("devices", DEVICES)
def test_files_of_the_core_library_start_the_gateway_as_they_are(spawn, tmp_path, platform, application, devices):
    java = Java(spawn, tmp_path, platform, application, devices, own=OWN)
    drive(platform, java.process.ready["listeners"]["trucks"])
    said = java.process.stderr()
    # What has no effect is said in one line each.
    for key in ("networkKey", "isMultiGwMode", "registerEndpoint"):
        assert said.count(f'unknown setting \\"{key}') == (1 if application == "core-leftovers" else 0)
    assert ("subDeviceConnectMode = 1 behaves as the small bridge" in said) == (application == "core-leftovers")
    assert said.count("identity.skipped") == (1 if devices in ("devices-quoted", "devices-shared") else 0)  # no secret; no entry


def test_the_core_library_s_file_alone_starts_and_says_that_no_device_can_connect(spawn, tmp_path, platform):
    java = Java(spawn, tmp_path, platform, "core-sample", "devices-plain", own=SERVER_OWN)
    platform.wait_status(*GW, "ONLINE")
    assert "no device can connect" in java.process.stderr()


def test_a_socket_server_listens_for_the_protocol_that_the_command_names(spawn, tmp_path, platform):
    java = Java(spawn, tmp_path, platform, "server-tcp", "devices-plain", "--protocol", "jt808", own=SERVER_OWN)
    drive(platform, java.process.ready["listeners"]["socketServer-0"])


def make_key_store(dir, *options):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", dir / "key.pem", "-out", dir / "cert.pem",
                    "-days", "2", "-subj", "/CN=gateway"], check=True, capture_output=True)
    subprocess.run(["openssl", "pkcs12", "-export", *options, "-inkey", dir / "key.pem", "-in", dir / "cert.pem", "-name", "gateway",
                    "-passout", "pass:changeit", "-out", dir / "server.p12"], check=True, capture_output=True)


@pytest.mark.parametrize("options", [[], ["-legacy"]], ids=["new", "legacy"])
def test_a_socket_server_with_a_key_store_speaks_tls(spawn, tmp_path, platform, options):
    make_key_store(tmp_path, *options)
    (tmp_path / "java").mkdir(mode=0o700)
    shutil.copy(tmp_path / "server.p12", tmp_path / "java" / "server.p12")
    (tmp_path / "java" / "server.p12").chmod(0o600)
    java = Java(spawn, tmp_path, platform, "server-tls", "devices-plain", "--protocol", "jt808", own=SERVER_OWN)
    context = ssl.create_default_context(cafile=tmp_path / "cert.pem")
    context.check_hostname = False
    drive(platform, java.process.ready["listeners"]["socketServer-0"], wrap=context.wrap_socket)


@pytest.mark.parametrize("content, told", [
    (b"\xfe\xed\xfe\xed\0\0\0\2", "keytool -importkeystore"),
    (b"nothing of the kind", "is not a PKCS#12 key store"),
    (None, "cannot be read"),
])
def test_a_key_store_that_cannot_be_used_is_refused_with_what_to_do(tmp_path, content, told):
    if content is not None:
        (tmp_path / "server.p12").write_bytes(content)
    (tmp_path / "devices.conf").write_text("")
    (tmp_path / "application.conf").write_text(f"""
        productKey = a1EmuGw0001, deviceName = gw, deviceSecret = 0123456789abcdef0123456789abcdef
        upstreams {{ cloud {{ endpoint = "tcp://127.0.0.1:9" }} }}
        socketServer {{ protocol = jt808, ports = 0, keyStoreFile = "{tmp_path}/server.p12", keyPassword = changeit }}
    """)
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", tmp_path / "application.conf"], capture_output=True, text=True)
    assert done.returncode == 1 and told in done.stderr, done.stderr
    assert "changeit" not in done.stderr


def test_a_wrong_password_of_a_key_store_is_said_without_the_password(tmp_path):
    make_key_store(tmp_path)
    (tmp_path / "devices.conf").write_text("")
    (tmp_path / "application.conf").write_text(f"""
        productKey = a1EmuGw0001, deviceName = gw, deviceSecret = 0123456789abcdef0123456789abcdef
        upstreams {{ cloud {{ endpoint = "tcp://127.0.0.1:9" }} }}
        socketServer {{ protocol = jt808, ports = 0, keyStoreFile = "{tmp_path}/server.p12", keyPassword = guessed }}
    """)
    done = subprocess.run([BUILD / "bin" / "causeway", "config", "check", tmp_path / "application.conf"], capture_output=True, text=True)
    assert done.returncode == 1 and "the password is wrong" in done.stderr and "guessed" not in done.stderr
