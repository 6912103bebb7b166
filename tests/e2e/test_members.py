"""Many devices behind one connection: all of a prefix at once, entries that come, go and change while it lasts, and identities that
may be unknown. Spoken by the plugin `many`. covers: M16"""
import shutil

import pytest
from conftest import BUILD, wait_until
from gw import PK, cloud_conf, device_name, secret, start_gateway  # noqa: F401
from test_gateway_records import Probe, record
from test_identity import identity

DEVICES = 12


def entry(identity, i, settings=""):
    return f'"{identity}" {{ productKey : {PK}, deviceName : {device_name(i)}, deviceSecret : {secret(i)} {settings} }}\n'


def fillers(count):
    """Entries nobody asks for; their certificates are nobody's."""
    return "".join(f'"dtu{i % 50:02d}/x{i}" {{ productKey : {PK}, deviceName : none-{i}, deviceSecret : {"0" * 32} }}\n'
                   for i in range(count))


class Many(Probe):
    """`line()` without the blank that stands where a name is missing."""
    def line(self):
        return super().line().rstrip()

    def all_of(self, prefix):
        """(names identified, count) of a MEMBERS question."""
        self.tell(f"M {prefix}")
        names = []
        while not (text := self.line()).startswith("members "):
            assert text.startswith("identified "), text
            names.append(text.split()[1])
        word = text.split()
        assert word[2] == prefix
        return sorted(names), int(word[1])

    def report(self, names):
        """A record of each device; all of them reach the platform."""
        for i, name in enumerate(names, 1):  # not tell(): it would skip a ticket that settles meanwhile
            self.sock.sendall(f"E {name} {i} {record(1, {'Volt': i})}\n".encode())
        assert sorted(self.until("settled") for _ in names) == [f"settled {i} 0" for i in range(1, len(names) + 1)]


@pytest.fixture
def many(start_cloud, start_gateway, tmp_path):
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    for source in (BUILD / "tests" / "plugins" / "many.so", BUILD / "plugins" / "jt808.so"):
        shutil.copy(source, plugins)
    cloud = start_cloud(cloud_conf(DEVICES))
    extra = f"""pluginDir = "{plugins}"
listeners += {{ name = units, protocol = many, address = "127.0.0.1:0", ack = delivered }}"""
    gateway = start_gateway(cloud, extra=extra).wait_up()

    def connect():
        return Many(gateway.process.ready["listeners"]["units"])
    return gateway, connect


def write(gateway, text):
    gateway.devices.write_text(text)
    gateway.reload()


def units(prefix, numbers, settings=""):
    return "".join(entry(f"{prefix}{i}", i, settings) for i in numbers)


def test_members_come_as_one_list_among_thousands(many):
    gateway, connect = many
    write(gateway, fillers(5000) + units("868333/", range(4)) + units("86833/", [5]) + units("868334/", [6]))
    with connect() as c, connect() as d, connect() as e:
        assert c.all_of("868333/") == ([f"868333/{i}" for i in range(4)], 4)
        assert d.all_of("86833/") == (["86833/5"], 1)
        assert e.all_of("nobody/") == ([], 0)
        c.report([f"868333/{i}" for i in range(4)])
        assert c.all_of("868333/") == ([], 4)  # they are here already
        assert gateway.stats()["bridge.members_attached"] == 5
    assert gateway.stats()["bridge.identify_unknown"] == 0
    assert gateway.log_lines("device.unknown") == []


def test_entries_that_come_go_and_change_while_it_lasts(many):
    gateway, connect = many
    write(gateway, units("d/", [0, 1]))
    with connect() as c:
        assert c.all_of("d/") == (["d/0", "d/1"], 2)
        write(gateway, fillers(5000) + units("d/", [0, 1, 2]))
        assert c.line() == "identified d/2"
        write(gateway, units("d/", [0, 2]))
        assert c.line() == "detached d/1"
        write(gateway, units("d/", [0]) + units("d/", [2], ", settings { speed = 3 }"))
        assert c.line() == "detached d/2"
        assert c.line() == "identified d/2"
        identity(gateway, "add", "d/7", PK, device_name(7), text=secret(7))
        assert c.line() == "identified d/7"
        identity(gateway, "remove", "d/7")
        assert c.line() == "detached d/7"
        c.tell("D d/0")
        assert c.until("detached") == "detached d/0"
        c.tell("I d/0")  # it answers again
        assert c.until("identified") == "identified d/0"


def test_entries_of_the_table_are_members_too(many):
    gateway, connect = many
    write(gateway, units("d/", [0]))
    for i in (1, 2):
        identity(gateway, "add", f"d/{i}", PK, device_name(i), text=secret(i))
    identity(gateway, "add", "d/0", PK, device_name(0), text=secret(0))  # both have it: once
    identity(gateway, "add", "e/3", PK, device_name(3), text=secret(3))
    with connect() as c:
        assert c.all_of("d/") == (["d/0", "d/1", "d/2"], 3)
        identity(gateway, "remove", "d/0")  # the file still has it
        write(gateway, units("d/", []))
        assert c.line() == "detached d/0"


def test_the_connection_that_asks_last_has_all_of_them(many):
    gateway, connect = many
    write(gateway, units("d/", range(3)))
    with connect() as old:
        old.all_of("d/")
        with connect() as new:
            assert new.all_of("d/") == (["d/0", "d/1", "d/2"], 3)
            assert sorted(old.line() for _ in range(3)) == [f"detached d/{i}" for i in range(3)]
            write(gateway, units("d/", range(4)))
            assert new.line() == "identified d/3"
            new.report([f"d/{i}" for i in range(4)])
    gateway.wait_gauge("bridge.devices_attached", 0)
    with connect() as again:  # and the prefix is free
        assert again.all_of("d/")[1] == 4


def test_more_than_a_connection_may_have_are_left_out_with_a_warning(many):
    gateway, connect = many
    write(gateway, "".join(f'"d/{i:03d}" {{ productKey : {PK}, deviceName : none-{i}, deviceSecret : {"0" * 32} }}\n' for i in range(320)))
    with connect() as c:
        names, count = c.all_of("d/")
        assert count == 300 and names == [f"d/{i:03d}" for i in range(300)]
    assert "most=300" in gateway.log_lines("members.limit")[0]


def test_an_optional_identity_that_nobody_knows_is_no_event(many):
    """Neither the log nor the alarm counter hears of it, and the connection stays though `unknown = close`."""
    gateway, connect = many
    write(gateway, units("d/", [0]))
    with connect() as c:
        c.tell("O d/9")
        assert c.until("refused") == "refused 1 d/9"
        c.tell("O d/0")
        assert c.until("identified") == "identified d/0"
        assert gateway.stats()["bridge.identify_unknown"] == 0
        assert gateway.stats()["bridge.identify_none"] == 1
        assert gateway.log_lines("device.unknown") == []
        c.tell("I d/9")
        assert c.until("refused") == "refused 1 d/9"
        wait_until(lambda: gateway.log_lines("device.unknown"), "the line about d/9")


def test_reloads_while_hundreds_of_members_come_and_go(many):
    gateway, connect = many
    connections = [connect() for _ in range(20)]
    try:
        write(gateway, fillers(5000))
        for i, c in enumerate(connections):
            c.sock.sendall(f"M dtu{i:02d}/\n".encode())
        for i, c in enumerate(connections):
            assert c.until("members") == f"members 100 dtu{i:02d}/"
        for count in (2500, 5000, 0, 5000):
            write(gateway, fillers(count))
            wait_until(lambda: gateway.stats()["bridge.devices_attached"] == 20 * count // 50, f"members of {count} entries")
    finally:
        for c in connections:
            c.__exit__()
    gateway.wait_gauge("bridge.devices_attached", 0)
