"""What `./dev run --upstream KIND` shows, for each kind: positions arrive, commands come back answered where there is a way down."""
import subprocess
import sys

import pytest
from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "lib"))
from showcase import UPSTREAMS  # noqa: E402


@pytest.mark.parametrize("kind", UPSTREAMS)
def test_the_same_thread_over_each_upstream(kind):
    done = subprocess.run([sys.executable, ROOT / "tests" / "lib" / "showcase.py", BUILD, "--upstream", kind, "--for", "1s"],
                          capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "it works" in done.stdout, done.stdout + done.stderr
