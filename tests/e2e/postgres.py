"""A real PostgreSQL for tests: one server a session, a database a test, and one that may be taken away and brought back.

from postgres import postgres, postgres_server, shaky_postgres   # pytest finds fixtures by their names in the test's module
"""
import itertools
import os
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "lib"))

import private_postgres  # noqa: E402  pylint: disable=wrong-import-position

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server():
    """A private_postgres.Cluster for the whole session: leave it running."""
    with private_postgres.Cluster() as cluster:
        yield cluster


@pytest.fixture
def postgres(postgres_server):
    """The connection string of an empty database."""
    return postgres_server.database(f"test{next(_numbers)}")


@pytest.fixture
def shaky_postgres():
    """A Cluster of the test's own: stop(), start(), kill(), pause(), resume(), url(), sql()."""
    with private_postgres.Cluster() as cluster:
        yield cluster
