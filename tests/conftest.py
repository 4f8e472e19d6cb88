"""What holds for every test: a clean environment, repeatable examples, nothing left out quietly."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from tests.parts import namespaces, users

if TYPE_CHECKING:
    from collections.abc import Iterator

_TESTS = Path(__file__).parent

# Examples are the same in every run, so that a failure can be repeated and a slow machine is no
# failure. `make soak` looks for new ones.
hypothesis.settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.register_profile(
    "search", parent=hypothesis.settings.get_profile("repeatable"), derandomize=False
)
_SOAKING = bool(os.environ.get("VIADUCT_SOAK_KILLS"))
hypothesis.settings.load_profile("search" if _SOAKING else "repeatable")

#: Variables of the person who runs the tests that would change what a build does.
_FOREIGN = ("BUILDKIT_", "BUILDX_", "DOCKER_", "GIT_", "VIADUCT_", "XDG_")
_FOREIGN_NAMES = frozenset(
    "SOURCE_DATE_EPOCH NO_COLOR CLICOLOR FORCE_COLOR REGISTRY_AUTH_FILE SSH_AUTH_SOCK "
    "HTTP_PROXY HTTPS_PROXY FTP_PROXY NO_PROXY ALL_PROXY COLUMNS LINES".split()
)
#: Tests may read these: they say how much to do, not how to do it.
_KEPT = frozenset({"VIADUCT_SOAK_KILLS"})

_skipped: list[str] = []


@pytest.fixture(scope="session")
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("home")
    # Pytest removes what it made for tests a few runs later.
    users.take(tmp_path_factory.getbasetemp())


_numbers = itertools.count()


@pytest.fixture(autouse=True)
def clean_env(_session_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, a Docker configuration and a state directory that are empty and nobody else's.

    Returns `$VIADUCT_HOME`, which is not made: most tests need none.
    """
    for name in list(os.environ):
        foreign = name.startswith(_FOREIGN) or name.upper() in _FOREIGN_NAMES
        if foreign and name not in _KEPT:
            monkeypatch.delenv(name)
    place = _session_home / str(next(_numbers))
    state = place / "state"
    monkeypatch.setenv("HOME", str(_session_home))
    monkeypatch.setenv("DOCKER_CONFIG", str(place / "docker"))
    monkeypatch.setenv("VIADUCT_HOME", str(state))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("TZ", "UTC")
    return state


@pytest.fixture
def as_root(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The test, but not its fixtures, runs as root of namespaces such as every build has: owners
    can be given and mounts be made, whoever runs the tests."""
    request.node.obj = namespaces.as_root(request.node.obj, tmp_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests under tests/live are `live` by their place; soak tests run only when asked for."""
    for item in items:
        if item.path.is_relative_to(_TESTS / "live"):
            item.add_marker(pytest.mark.live)
    if "soak" not in config.option.markexpr:
        kept: list[pytest.Item] = []
        left: list[pytest.Item] = []
        for item in items:
            (left if item.get_closest_marker("soak") else kept).append(item)
        config.hook.pytest_deselected(items=left)
        items[:] = kept


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail"):
        _skipped.append(report.nodeid)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Every user can do all that tests need, so a test that is skipped is one that nobody runs."""
    if _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _skipped:
        terminalreporter.write_line("skipped, which counts as a failure:", red=True)
        for nodeid in _skipped:
            terminalreporter.write_line(f"  {nodeid}", red=True)
