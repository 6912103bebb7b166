"""What root makes in a service's folder, the service can use: `causeway factory import` before and while the server runs."""
import os
import shutil
import subprocess

import pytest

from conftest import BUILD
from factory_world import certificates, csv_text

NOBODY = 65534


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_files_of_root_belong_to_the_folders_owner(tmp_path):
    """covers: B24"""
    home = tmp_path / "service"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    (tmp_path / "batch.csv").write_text(csv_text([{**c, "ProductSecret": "EmuPs0123456789A"} for c in certificates(3)]))

    def tool(*words):
        return subprocess.run([f"{BUILD}/bin/causeway", "factory", *words], check=True, capture_output=True, text=True, timeout=60)

    tool("import", str(tmp_path / "batch.csv"), "--batch", "b", "--db", str(home / "factory.db"))
    left = {f.name: (f.stat().st_uid, f.stat().st_gid, f.stat().st_mode & 0o777) for f in home.iterdir()}
    assert {"factory.db", "factory.db.key"} <= set(left)
    assert set(left.values()) == {(NOBODY, NOBODY, 0o600)}, left

    (tmp_path / "factory.conf").write_text(f'db = "{home}/factory.db"\n')
    said = tool("backup", str(home / "copy.db"), "-c", str(tmp_path / "factory.conf")).stdout
    assert f"copy of {home}/factory.db." in said
    assert (home / "copy.db").stat().st_uid == NOBODY
    shutil.copy(home / "factory.db.key", home / "restored.db.key")  # with its mode
    tool("restore", str(home / "copy.db"), "--db", str(home / "restored.db"))
    assert (home / "restored.db").stat().st_uid == NOBODY
    assert (home / "restored.db.key").stat().st_uid == NOBODY  # root has put it there
