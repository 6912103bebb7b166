"""libcauseway as somebody else's program has it: installed below a prefix, found with pkg-config."""
import os
import re
import shutil
import socket
import subprocess

import pytest
from conftest import BUILD, PATIENCE, ROOT, wait_until
from gw import GW, PK, ask, cloud_conf, device_name, devices_conf, phone, secret, wait_reported


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    there = tmp_path_factory.mktemp("prefix")
    for component in ("libcauseway", "libcauseway-dev"):
        subprocess.run(["cmake", "--install", BUILD, "--prefix", there, "--component", component], check=True, capture_output=True)
    return there


def pkg_config(prefix, *args):
    path = next(prefix.rglob("causeway.pc")).parent
    done = subprocess.run(["pkg-config", *args, "causeway"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PKG_CONFIG_PATH": str(path)})
    return done.stdout.split()


def build(prefix, source, out, *args, compiler=("cc",), static=False):
    libs = pkg_config(prefix, "--libs", *(["--static"] if static else []))
    if static:  # ours from the archive, the system's as they come
        libs = ["-l:libcauseway.a" if flag == "-lcauseway" else flag for flag in libs]
    extra = ["-fsanitize=address,undefined"] if "asan" in str(BUILD) else ["-fsanitize=thread"] if "tsan" in str(BUILD) else []
    subprocess.run([*compiler, *args, *extra, source, *pkg_config(prefix, "--cflags"), *libs, "-o", out], check=True)
    return out


def test_what_is_installed(prefix):
    files = {str(f.relative_to(prefix)) for f in prefix.rglob("*") if not f.is_dir()}
    lib = str(next(prefix.rglob("causeway.pc")).parent.parent.relative_to(prefix))
    version = pkg_config(prefix, "--modversion")[0]
    assert files >= {f"include/causeway/{h}.h" for h in ("bridge", "bytes", "error", "record")}
    assert {f for f in files if f.startswith(f"{lib}/lib") or f.endswith("/causeway.pc")} == {
        f"{lib}/{f}" for f in ("libcauseway.a", "libcauseway.so", f"libcauseway.so.{version.split('.')[0]}", f"libcauseway.so.{version}",
                               "pkgconfig/causeway.pc")}
    needed = subprocess.run(["readelf", "-d", prefix / lib / "libcauseway.so"], capture_output=True, text=True, check=True).stdout
    assert f"soname: [libcauseway.so.{version.split('.')[0]}]" in needed
    assert str(BUILD) not in next(prefix.rglob("causeway.pc")).read_text()


@pytest.mark.parametrize("compiler", [["cc", "-std=c11", "-x", "c"], ["g++", "-std=c++17", "-x", "c++"]])
def test_the_header_is_strict_c_and_cpp_and_links(prefix, tmp_path, compiler):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"there is no {compiler[0]}")
    source = tmp_path / "one"
    source.write_text("""
#include <causeway/bridge.h>
int main(void)
{
	struct cw_bridge_setup setup;
	struct cw_bridge *b;
	char why[128];
	struct cw_sign_meta meta = { "a1Product01", 0, "dev-1", "s", 0 };
	struct cw_sign_out out;

	memset(&setup, 0, sizeof(setup));
	setup.size = sizeof(setup);
	if (cw_bridge_open(&setup, &b, why, sizeof(why)) != CW_ECONF)
		return 1;
	return cw_sign_mqtt(CW_REGION_GERMANY, &meta, &out);
}
""")
    program = build(prefix, source, tmp_path / "a.out", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *compiler[1:], compiler=compiler[:1])
    lib = str(next(prefix.rglob("libcauseway.so")).parent)
    subprocess.run([program], check=True, env={**os.environ, "LD_LIBRARY_PATH": lib}, timeout=PATIENCE)


class Meter:
    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.file = self.socket.makefile("rw")

    def say(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        return self

    def hear(self):
        return self.file.readline().rstrip("\n")

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.mark.parametrize("static", [False, True])
def test_the_example_bridges_its_toy_protocol(prefix, start_cloud, tmp_path, static):
    """covers: M01 M03 M04 M20 M21 M25 M32 M40"""
    cloud = start_cloud(cloud_conf(2))
    conf = tmp_path / "application.conf"
    conf.write_text(f"""
productKey = {GW[0]}, deviceName = {GW[1]}, deviceSecret = {secret("gw")}
upstreams {{ cloud {{ endpoint = "tcp://{cloud.mqtt[0]}:{cloud.mqtt[1]}", confirm = reply }} }}
""")
    (tmp_path / "devices.conf").write_text(devices_conf(2))
    program = build(prefix, ROOT / "tests/example/toy_bridge.c", tmp_path / "toy_bridge", "-Wall", static=static)
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert ("libcauseway" in linked) != static
    env = {**os.environ, "LD_LIBRARY_PATH": str(next(prefix.rglob("libcauseway.so")).parent)}
    with open(tmp_path / "toy.err", "w") as err:
        toy = subprocess.Popen([program, conf, "0"], stdout=subprocess.PIPE, stderr=err, text=True, env=env)
    try:
        host, port = re.search(r"(127\.0\.0\.1):(\d+)", toy.stdout.readline()).groups()
        meter = Meter((host, int(port)))
        assert meter.say(f"HELLO {phone(0)}").hear() == "OK"
        cloud.wait_status(PK, device_name(0), "ONLINE")
        assert meter.say("temp=21.50").hear() == "OK"
        assert wait_reported(cloud, 0, "temp") == 21.5
        assert meter.say("nonsense").hear() == "ERROR"
        assert meter.say("temp=1e").hear() == "ERROR"
        wait_until(lambda: f"/{PK}/{device_name(0)}/user/#" in cloud.device(PK, device_name(0)).get("subscriptions", []), "the subscriptions")
        join = ask(cloud, 0, "/properties", {"limit": 30})
        assert meter.hear() == 'SET {"limit":30}'
        assert join()[1]["reply"]["code"] == 200
        stranger = Meter((host, int(port)))
        assert stranger.say("HELLO nobody").hear() == "ERROR"
        stranger.close()
        again = Meter((host, int(port)))
        assert again.say(f"HELLO {phone(0)}").hear() == "OK"
        assert meter.hear() == "BYE"
        meter.close()
        assert again.say("temp=22.5").hear() == "OK"
        again.close()
        cloud.wait_status(PK, device_name(0), "OFFLINE")
        last = Meter((host, int(port)))
        assert last.say(f"HELLO {phone(1)}").hear() == "OK"
        toy.terminate()
        assert toy.wait(PATIENCE) == 0, (tmp_path / "toy.err").read_text()
        last.close()
        cloud.wait_status(PK, device_name(1), "OFFLINE")
    finally:
        toy.kill()
        toy.wait()
        toy.stdout.close()
