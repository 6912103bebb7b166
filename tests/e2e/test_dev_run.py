"""What `./dev run --upstream KIND` shows, for each kind: positions arrive, commands come back answered where there is a way down;
and that `./dev` installs what the build and the pages' commands need: on the machine of somebody who works here all of it is there anyway."""
import re
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT
from upstreams import kinds_of_the_gateway


@pytest.mark.parametrize("kind", kinds_of_the_gateway())
def test_the_same_thread_over_each_upstream(kind):
    done = subprocess.run([sys.executable, ROOT / "tests" / "lib" / "showcase.py", BUILD, "--upstream", kind, "--for", "1s"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "it works" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("protocol", sorted({f.stem for f in (BUILD / "plugins").glob("*.so")} - {"jt808", "skeleton"}))
def test_the_same_thread_with_each_protocol(protocol):
    """covers: M02"""
    done = subprocess.run([sys.executable, ROOT / "tests" / "lib" / "showcase.py", BUILD, "--protocol", protocol, "--for", "1s"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "it works" in done.stdout, done.stdout + done.stderr


def test_events_are_reports_at_a_broker_too():
    done = subprocess.run([sys.executable, ROOT / "tests" / "lib" / "showcase.py", BUILD, "--protocol", "gb26875", "--upstream", "broker", "--for", "1s"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "it works" in done.stdout, done.stdout + done.stderr


def test_the_production_line():
    """covers: B16 B17 C08"""
    done = subprocess.run([sys.executable, ROOT / "tests" / "lib" / "showcase_factory.py", BUILD, "--for", "1s"], capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0 and "200 of 200 boards got the certificate they have; 200 different" in done.stdout, done.stdout + done.stderr
    assert "All of it went well" in done.stdout


def packages(name):
    """One of the lists at the top of `dev`."""
    return set(re.search(rf"^{name}=\((.*?)\)", (ROOT / "dev").read_text(), re.S | re.M)[1].split())


def test_dev_installs_the_package_of_every_library_that_the_build_found():
    cache = (BUILD / "CMakeCache.txt").read_text()
    libraries = re.findall(r":FILEPATH=(/usr/lib/\S+\.(?:so|a))$", cache, re.M)
    assert len(libraries) > 10
    said = subprocess.run(["dpkg", "-S", *libraries], capture_output=True, text=True, check=True).stdout
    owners = {line.split(":")[0] for line in said.splitlines()}
    assert owners - packages("BUILD_PACKAGES") <= {"libcmocka-dev", "libmodbus-dev"}  # those are asked for by tests and bench only
    assert {"libcmocka-dev", "libmodbus-dev"} <= packages("TEST_PACKAGES")


def test_dev_installs_what_the_page_of_the_emulator_uses():
    page = (ROOT / "src/cloud/USING.md").read_text()
    used = set(re.findall(r"`([^`]+)`", re.search(r"They use (.*?) of Debian", page, re.S)[1]))
    assert len(used) > 5
    assert used - packages("TEST_PACKAGES") == {"bash"}  # it is always there
