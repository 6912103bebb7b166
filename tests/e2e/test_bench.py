"""The programs of ./dev bench still do their work: what they reach is measured there, not here."""
import sys

import pytest
from conftest import BUILD, ROOT

sys.path[:0] = [str(ROOT / "tests" / "bench"), str(ROOT / "tests" / "lib")]
from bench import Bench, cpu_s, rss  # noqa: E402
from line import Line  # noqa: E402
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


class Small(Line):
    """The part factory with next to nothing; what it has measured is in rows."""
    Failed = AssertionError
    build, tools = BUILD, BUILD / "bench"
    seconds, large, stations = 0.05, 2000, (1, 8)

    def __init__(self, folder):
        self.dir = self.line_dir = folder
        self.rows = {}

    def add(self, what, figure, unit, ceiling=None, **bar):
        assert figure >= 0 and (ceiling is None or ceiling > 0), (what, figure, ceiling)
        self.rows[what] = figure

    tool, running = Bench.tool, staticmethod(Bench.running)
    cpu_s, rss = staticmethod(cpu_s), staticmethod(rss)


@pytest.fixture
def small(tmp_path):
    return Small(tmp_path)


def test_stations_burn_boards_at_full_speed_and_at_a_given_one(small):
    half = small.line_rates()
    small.line_latency(half)
    assert {"requests that shared a commit", "boards that ask again"} <= {what.strip() for what in small.rows}
    assert all(figure > 0 for what, figure in small.rows.items() if "CPU" not in what and "below" not in what)


def test_stations_burn_boards_over_tls_and_stay_connected(small):
    small.line_tls()
    small.line_memory()
    assert any("HTTPS" in what for what in small.rows)


def test_stations_burn_boards_from_postgresql(small):
    small.line_postgres()
    assert any("PostgreSQL, 8 stations" in what for what in small.rows)


def test_a_large_stock_is_compared_with_a_small_one(small, monkeypatch):
    monkeypatch.setattr(small, "line_instructions", lambda where: 1)  # valgrind is not for every test run
    small.line_large()
    assert small.rows["factory: audit --verify of 2,000 entries"] > 0


def test_who_is_refused_ends_the_load(small):
    where, _ = small.make_stock("few", 3)
    with small.line_server(where) as server, pytest.raises(AssertionError, match="OUT_OF_STOCK"):
        small.burn(server.ports[0], "--mode", "ask", "--requests", 4)
