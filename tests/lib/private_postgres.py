#!/usr/bin/python3
"""A PostgreSQL server of a test's own: made in a temporary folder, on a unix socket there, gone afterwards. Never the machine's service.

    private_postgres.py COMMAND [ARG ..]

runs COMMAND with the connection string in CW_TEST_DB and ends with its exit status. COMMAND may write a line
stop, start, kill, pause or resume into the first of the two file descriptors that CW_TEST_DB_CONTROL names, and reads a
line from the other when that is done. PostgreSQL refuses root, so root's servers run as user postgres, or nobody.
"""
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SETTINGS = {
    "fsync": "off", "full_page_writes": "off", "synchronous_commit": "on", "listen_addresses": "''", "shared_buffers": "16MB",
    "max_connections": "60", "autovacuum": "off", "max_wal_senders": "0", "wal_level": "minimal", "logging_collector": "off",
    "lc_messages": "C", "timezone": "UTC", "deadlock_timeout": "100ms",
}


def programs():
    """The folder of initdb and postgres: Debian keeps them out of PATH."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    if found:
        return os.path.dirname(found[-1])
    initdb = shutil.which("initdb")
    assert initdb, "no PostgreSQL server here; apt-get install postgresql-15"
    return os.path.dirname(os.path.realpath(initdb))


def account():
    """Whom a server of root's is to be: a user and a group. None: ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
            return user.pw_uid, user.pw_gid
        except KeyError:
            pass
    raise AssertionError("neither a user postgres nor nobody")


def as_account(command):
    """`command` as that user, ended with us however we end."""
    who = account()
    return ["setpriv", "--pdeathsig", "QUIT", *([f"--reuid={who[0]}", f"--regid={who[1]}", "--clear-groups"] if who else []), *command]


def sweep():
    """What was left by those that were killed; their servers went with them."""
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "cw-pg-[0-9]*-*")):
        if not os.path.exists(f"/proc/{os.path.basename(folder).split('-')[2]}"):
            shutil.rmtree(folder, ignore_errors=True)


class Cluster:
    """start() and stop() as often as one likes; close() removes everything. A context manager, started."""

    def __init__(self, **settings):
        sweep()
        self.folder = tempfile.mkdtemp(prefix=f"cw-pg-{os.getpid()}-")
        self.data = os.path.join(self.folder, "data")
        self.log = os.path.join(self.folder, "log")
        self.server = None
        try:
            if account():
                os.chown(self.folder, *account())
            os.chmod(self.folder, 0o755)
            subprocess.run(as_account([os.path.join(programs(), "initdb"), "--no-sync", "--auth=trust", "--username=causeway", "--encoding=UTF8",
                                       "--locale=C", "--no-instructions", "--pgdata", self.data]), check=True, capture_output=True, cwd="/")
            with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="ascii") as conf:
                for name, value in {**SETTINGS, "unix_socket_directories": f"'{self.folder}'", **settings}.items():
                    conf.write(f"{name} = {value}\n")
            # Who is called so needs a password.
            hba = os.path.join(self.data, "pg_hba.conf")
            with open(hba, encoding="ascii") as old:
                rules = old.read()
            with open(hba, "w", encoding="ascii") as new:
                new.write("local all guarded scram-sha-256\n" + rules)
        except BaseException:
            self.close()
            raise

    def url(self, database="postgres", user="causeway", password=None, query=""):
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@/{database}?host={self.folder}{query}"

    def environment(self):
        return {**os.environ, "PGHOST": self.folder, "PGUSER": "causeway", "PGDATABASE": "postgres"}

    def sql(self, text, database="postgres"):
        """What psql prints: columns with | between. For set-up and for looking behind the program's back."""
        done = subprocess.run([os.path.join(programs(), "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database],
                              input=text, env=self.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def database(self, name):
        """The connection string of a database of its own, empty."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql(f"CREATE DATABASE {name}")
        return self.url(name)

    def ready(self):
        return subprocess.run([os.path.join(programs(), "pg_isready"), "-q"], env=self.environment(), check=False).returncode == 0

    def start(self):
        assert self.server is None
        with open(self.log, "ab") as log:
            self.server = subprocess.Popen(as_account([os.path.join(programs(), "postgres"), "-D", self.data]), stdin=subprocess.DEVNULL,
                                           stdout=log, stderr=log, cwd="/", start_new_session=True)
        while not self.ready():
            assert self.server.poll() is None, open(self.log, encoding="utf-8", errors="replace").read()[-2000:]
            time.sleep(0.02)
        return self

    def end(self, how):
        if self.server is None:
            return
        self.server.send_signal(how)
        self.server.wait()
        self.server = None

    def stop(self):
        """As an administrator does it: connections are told and closed, what is committed is kept."""
        self.end(signal.SIGINT)

    def kill(self):
        """As a crash does it: nobody is told. What it had started must be gone, and its shared memory, before the next start."""
        if self.server is None:
            return
        children = self.children()
        self.server.kill()
        for child in children:
            send(child, signal.SIGKILL)
        self.server.wait()
        self.server = None
        while any(os.path.exists(f"/proc/{child}") and state(child) not in "ZX" for child in children):
            time.sleep(0.01)

    def pause(self):
        """Connections stay and nothing answers: a network that swallows everything."""
        for pid in [self.server.pid, *self.children()]:
            send(pid, signal.SIGSTOP)

    def resume(self):
        for pid in [*self.children(), self.server.pid]:
            send(pid, signal.SIGCONT)

    def children(self):
        found = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            try:
                with open(path, encoding="utf-8", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == self.server.pid:
                found.append(int(path.split("/")[2]))
        return found

    def close(self):
        if self.server is not None:
            self.resume()
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *ignored):
        self.close()


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def state(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def run(cluster, command):
    orders, their_orders = os.pipe()
    their_answers, answers = os.pipe()
    environment = {**os.environ, "CW_TEST_DB": cluster.url(), "CW_TEST_DB_CONTROL": f"{their_orders},{their_answers}"}
    with subprocess.Popen(command, env=environment, pass_fds=(their_orders, their_answers)) as child:
        os.close(their_orders)
        os.close(their_answers)
        try:
            with os.fdopen(orders, encoding="ascii") as lines:
                for line in lines: # until the command has ended
                    {"stop": cluster.stop, "start": cluster.start, "kill": cluster.kill, "pause": cluster.pause, "resume": cluster.resume}[line.strip()]()
                    os.write(answers, b"\n")
            return child.wait()
        except BaseException:
            child.kill()
            raise


def main(arguments):
    if not arguments:
        sys.exit(__doc__)
    # A timeout of the test runner must not leave a server behind.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with Cluster() as cluster:
        return run(cluster, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
