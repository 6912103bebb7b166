"""The programs of ./dev bench still do their work: what they reach is measured there, not here."""
import sys

import pytest
from conftest import BUILD, ROOT

sys.path.insert(0, str(ROOT / "tests" / "bench"))
from protocols import Protocols  # noqa: E402


class Decoders(Protocols):
    Failed = AssertionError
    build, tools, vectors = BUILD, BUILD / "bench", ROOT / "tests" / "vectors"


ROWS = Decoders().decoder_rows()


@pytest.mark.parametrize("row", ROWS, ids=[r[0] for r in ROWS])
def test_a_decoder_takes_its_frames_and_makes_records(row):
    _, plugin, frame, more, _ = row
    got = Decoders().decoder(plugin, frame, more, "--frames", 200)
    assert got["frames"] == 200 and got["records"] == (0 if more[-2:] == ["--records", 0] else max(200, got["records"]))
