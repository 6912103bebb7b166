"""A production line for tests: a running causeway-factory, a stock to give out, stations that ask.

from factory_world import start_factory  # pytest finds fixtures by their names in the test's module
"""
import csv
import http.client
import io
import json
import re
import socket
import ssl
import subprocess
import threading
import urllib.parse
import zlib

import pytest

from conftest import BUILD, PATIENCE, Http, wait_until

PK = "a1EmuPk0001"
PS = "EmuPs0123456789A"


def certificates(count, pk=PK, first=1, prefix="dev-"):
    """Rows as the platform's console gives them."""
    return [{"DeviceName": f"{prefix}{i:05}", "DeviceSecret": f"{zlib.crc32(f'{pk}{prefix}{i}'.encode()):08x}{i:024x}", "ProductKey": pk}
            for i in range(first, first + count)]


def csv_text(rows):
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def crc32(*texts):
    return zlib.crc32("".join(texts).encode())


class Reply:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)

    def __getitem__(self, key):
        return self.json[key]

    def __repr__(self):
        return f"{self.status} {self.body!r}"


class Station:
    """A client that keeps its connection, as programmer stations do. One thread at a time."""

    def __init__(self, address, token=None, tls=None, name=None):
        host, port = address.rsplit(":", 1)
        host = {"0.0.0.0": "127.0.0.1", "[::]": "::1"}.get(host, host.strip("[]"))
        kind = http.client.HTTPConnection if tls is None else http.client.HTTPSConnection
        self.connection = kind(host, int(port), timeout=PATIENCE, **({} if tls is None else {"context": tls}))
        self.headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def post(self, body, path="/", method="POST", headers=None, **more):
        body = body if isinstance(body, (bytes, type(None))) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.connection.request(method, path, body, {**self.headers, **(headers or {})}, **more)
        answer = self.connection.getresponse()
        return Reply(answer.status, answer.headers, answer.read())

    def ask(self, device_id=None, pk=PK):
        return self.post({"ProductKey": pk, "Action": 0, **({} if device_id is None else {"DeviceID": device_id})})

    def report(self, device_id, pk=PK):
        return self.post({"ProductKey": pk, "DeviceID": device_id, "Action": 1})

    def close(self):
        self.connection.close()


class Factory:
    """A running causeway-factory and the tool beside it."""

    def __init__(self, process, db, key=None):
        self.process, self.db, self.key = process, str(db), key
        self.stations = []
        self._read_ready()

    def _read_ready(self):
        ready = self.process.ready
        self.line = ready["line"][0] if ready["line"] else None
        self.lines = ready["line"]
        self.office = Http("http://" + ready["office"][0]) if ready["office"] else None
        self.field = ready.get("field", [])

    def station(self, token=None, line=0, tls=None):
        station = Station(self.lines[line], token, tls)
        self.stations.append(station)
        return station

    def close_stations(self):
        while self.stations:
            self.stations.pop().close()

    def ask(self, device_id=None, pk=PK, **more):
        """Each time on a connection of its own."""
        station = Station(self.line, **more)
        try:
            return station.ask(device_id, pk)
        finally:
            station.close()

    def report(self, device_id, pk=PK, **more):
        station = Station(self.line, **more)
        try:
            return station.report(device_id, pk)
        finally:
            station.close()

    def post(self, body, **more):
        station = Station(self.line)
        try:
            return station.post(body, **more)
        finally:
            station.close()

    def raw(self, data, shut=False):
        """What comes back until the server closes, for bytes as they are."""
        host, port = self.line.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as peer:
            peer.sendall(data)
            if shut:
                peer.shutdown(socket.SHUT_WR)
            got = b""
            while piece := peer.recv(65536):
                got += piece
            return got

    def metrics(self):
        """name -> value; labels are part of the name."""
        status, text = self.office.request("GET", "/metrics")
        assert status == 200, text
        return {name: float(value) for name, value in re.findall(r"^(causeway_factory_\S+) (\S+)$", text.decode(), re.M)}

    def metric(self, name):
        return self.metrics()[f"causeway_factory_{name}"]

    def health(self):
        return self.office.request("GET", "/health")

    def tool(self, *args, check=True):
        return run_tool(self.db, *args, key=self.key, check=check)

    def rows(self, *filters):
        """Certificates as `causeway factory query` shows them."""
        done = self.tool("query", "--json", "--limit", "0", *filters, check=False)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else []

    def import_rows(self, rows, batch="lot", *options):
        import_rows(self.db, rows, batch, *options, key=self.key)

    def kill(self):
        self.close_stations()
        self.process.kill()

    def start(self):
        """Again, where it was."""
        args = self.process.args
        if "--listen" in args and args[args.index("--listen") + 1].endswith(":0"):
            args[args.index("--listen") + 1] = self.line
        self.process.start()
        self._read_ready()


def run_tool(db, *args, key=None, check=True):
    keys = [] if key is None else ["--key", str(key)]
    done = subprocess.run([BUILD / "bin" / "causeway", "factory", *map(str, args), "--db", str(db), *keys], capture_output=True, text=True, timeout=300)
    assert not check or done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
    return done


def import_rows(db, rows, batch="lot", *options, key=None, folder="/tmp"):
    with_secret = "ProductSecret" in rows[0] or "--product-secret" in options
    import tempfile  # pylint: disable=import-outside-toplevel

    with tempfile.NamedTemporaryFile("w", suffix=".csv", dir=folder) as file:
        file.write(csv_text(rows))
        file.flush()
        return run_tool(db, "import", file.name, "--batch", batch, *options, *([] if with_secret else ["--product-secret", PS]), key=key)


@pytest.fixture
def start_factory(spawn, tmp_path):
    """start_factory(rows, conf="..") -> a running Factory. rows: what is imported first, or how many certificates; office and line on free
    ports unless the configuration says where they are."""
    made = []

    def start(rows=None, conf=None, db=None, key=None, batch="lot", name="causeway-factory", args=(), **options):
        db = tmp_path / "factory.db" if db is None else db
        rows = certificates(rows) if isinstance(rows, int) else rows
        if rows:
            import_rows(db, rows, batch, key=key, folder=tmp_path)
        argv = ["--db", db, *([] if key is None else ["--key", key]), *args]
        if conf is not None:
            path = tmp_path / f"{name}.conf"
            path.write_text(conf)
            argv += ["-c", path]
        if not re.search(r"^\s*line\b", conf or "", re.M):
            argv += ["--listen", "127.0.0.1:0"]
        if not re.search(r"^\s*office\b", conf or "", re.M):
            argv += ["--office", "127.0.0.1:0"]
        factory = Factory(spawn("causeway-factory", *argv, name=name, **options), db, key)
        made.append(factory)
        return factory

    yield start
    for factory in made:
        factory.close_stations()


@pytest.fixture
def factory(start_factory):
    """One with a thousand certificates of PK in stock."""
    return start_factory(1000)


def together(count, work):
    """work(i) in `count` threads at once; the results in order. The first exception is raised here."""
    results, errors = [None] * count, []
    gate = threading.Barrier(count)

    def run(i):
        try:
            gate.wait(PATIENCE)
            results[i] = work(i)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


class Authority:
    """Certificates for servers and stations, made in `folder`."""

    def __init__(self, folder, name="Line CA"):
        from cryptography.hazmat.primitives.asymmetric import ec  # pylint: disable=import-outside-toplevel

        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = self._name(name)
        self.certificate = self._sign(self.name, self.key.public_key(), ca=True)
        self.pem = folder / f"{name.replace(' ', '-')}.pem"
        self.pem.write_bytes(self._text(self.certificate))

    @staticmethod
    def _name(common):
        from cryptography import x509  # pylint: disable=import-outside-toplevel
        from cryptography.x509.oid import NameOID  # pylint: disable=import-outside-toplevel

        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    @staticmethod
    def _text(certificate):
        from cryptography.hazmat.primitives.serialization import Encoding  # pylint: disable=import-outside-toplevel

        return certificate.public_bytes(Encoding.PEM)

    def _sign(self, subject, public_key, ca=False, days=(-1, 30), purpose=None):
        import datetime  # pylint: disable=import-outside-toplevel
        import ipaddress  # pylint: disable=import-outside-toplevel

        from cryptography import x509  # pylint: disable=import-outside-toplevel
        from cryptography.hazmat.primitives import hashes  # pylint: disable=import-outside-toplevel

        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key)
                   .serial_number(x509.random_serial_number()).not_valid_before(now + datetime.timedelta(days=days[0]))
                   .not_valid_after(now + datetime.timedelta(days=days[1]))
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False))
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, common, **more):
        """(certificate file, key file)"""
        from cryptography.hazmat.primitives import serialization  # pylint: disable=import-outside-toplevel
        from cryptography.hazmat.primitives.asymmetric import ec  # pylint: disable=import-outside-toplevel

        key = ec.generate_private_key(ec.SECP256R1())
        certificate, key_file = self.folder / f"{common}.pem", self.folder / f"{common}.key"
        certificate.write_bytes(self._text(self._sign(self._name(common), key.public_key(), **more)))
        key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        key_file.chmod(0o600)
        return certificate, key_file

    def context(self, own=None):
        """For a client that trusts this authority, and shows a certificate of its own (two files)."""
        context = ssl.create_default_context(cafile=str(self.pem))
        if own is not None:
            context.load_cert_chain(*map(str, own))
        return context


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


# ---- the office: page and API ----

OFFICE_PK = "a1OfficePk1"
OFFICE_PS = "OfficeProductSecret0123456789abc"
MARIA, GUEST = "maria-token-0123456789abcdef", "guest-token-0123456789abcdef"
OPERATORS = f"""operators = [ {{ name = maria, token = "{MARIA}" }}, {{ name = guest, token = "{GUEST}", viewOnly = true }} ]"""


def secret(n):
    return f"{n:032x}"


def sheet(count, product=OFFICE_PK, first=1, header="DeviceName,DeviceSecret,ProductKey", prefix="board"):
    return "\n".join([header, *(f"{prefix}-{n:04d},{secret(n)},{product}" for n in range(first, first + count))]) + "\n"


class OfficeAnswer:
    def __init__(self, response):
        self.status, self.headers, self.body = response.status, response.headers, response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Office:
    """A running causeway-factory, asked as programs and browsers ask."""

    def __init__(self, spawn, dir, more="", office="127.0.0.1:0", tls="", db=None):
        self.dir = dir
        config = dir / "factory.conf"
        config.write_text(f"""db = "{db or dir / 'factory.db'}", keyFile = "{dir}/factory.key", line = [ {{ listen = "127.0.0.1:0" }} ]
office = [ {{ listen = "{office}" {tls} }} ], leaseCheck = 1m
{more}
""")
        self.process = spawn("causeway-factory", "-c", config, dir=dir)
        self.headers = {}
        self.context = None

    @property
    def address(self):
        return self.process.ready["office"][0]

    def request(self, method, path, body=None, headers=None, query=None, host=None):
        name, port = (host or self.address).rsplit(":", 1)
        connect = http.client.HTTPConnection if self.context is None else lambda *a, **k: http.client.HTTPSConnection(*a, context=self.context, **k)
        connection = connect(name.strip("[]"), int(port), timeout=PATIENCE)
        filled = {k: v for k, v in (query or {}).items() if v is not None}
        data, kind = body, {}
        if isinstance(body, dict):
            data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        try:
            connection.request(method, path + ("?" + urllib.parse.urlencode(filled) if filled else ""), data, {**kind, **self.headers, **(headers or {})})
            return OfficeAnswer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path, expect=200, headers=None, **query):
        answer = self.request("GET", "/api/v1" + path, headers=headers, query=query)
        assert answer.status == expect, (path, answer.status, answer.body)
        return answer.json

    def post(self, path, body=None, expect=200, headers=None):
        answer = self.request("POST", "/api/v1" + path, body if body is not None else {}, headers)
        assert answer.status == expect, (path, answer.status, answer.body)
        return answer.json

    def load(self, text, batch="b-1", expect=200, product_secret=OFFICE_PS, headers=None, **query):
        more = {"X-Product-Secret": product_secret} if product_secret else {}
        answer = self.request("POST", "/api/v1/import", text.encode() if isinstance(text, str) else text,
                              {"Content-Type": "text/csv", **more, **(headers or {})}, {"batch": batch, "file": "list.csv", **query})
        assert answer.status == expect, (answer.status, answer.body)
        return answer.json

    def ask(self, device_id, action=0, product=OFFICE_PK):
        """As a station."""
        host, port = self.process.ready["line"][0].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        try:
            connection.request("POST", "/", json.dumps({"ProductKey": product, "DeviceID": device_id, "Action": action}))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def line(self, fits, what="the figures"):
        """The state of the line, once it is as expected: answers are given again for a while."""
        def look():
            line = self.get("/line")
            return line if "figures" in line and fits(line) else None
        return wait_until(look, what)

    def bearer(self, token):
        return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def office(spawn, tmp_path):
    return Office(spawn, tmp_path)


@pytest.fixture
def guarded(spawn, tmp_path):
    """With operators: maria may do everything, guest may look."""
    return Office(spawn, tmp_path, OPERATORS)
