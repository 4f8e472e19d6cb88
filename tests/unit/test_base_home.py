from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from viaduct.base.home import state_root, user_home

NOBODY = 4_000_000_000


@pytest.mark.parametrize("env", [{}, {"HOME": ""}])
def test_without_home_it_is_the_one_in_the_list_of_users(env: dict[str, str]) -> None:
    """As in a bare environment, and inside of a user namespace, where we are root."""
    mine = pwd.getpwuid(os.getuid())
    daemon = pwd.getpwnam("daemon")
    assert user_home(env) == Path(mine.pw_dir)
    assert user_home(env, uid=daemon.pw_uid) == Path(daemon.pw_dir)
    assert state_root(env, uid=daemon.pw_uid) == Path(daemon.pw_dir) / ".local/share/viaduct"
    assert user_home(env, uid=NOBODY) == Path("/")


def test_the_state_is_where_the_environment_says() -> None:
    env = {"HOME": "/home/me"}
    assert state_root(env, uid=1) == Path("/home/me/.local/share/viaduct")
    assert state_root(env, uid=0) == Path("/var/lib/viaduct")
    assert state_root({**env, "XDG_DATA_HOME": "/data"}, uid=1) == Path("/data/viaduct")
    assert state_root({**env, "VIADUCT_HOME": "/state"}, uid=1) == Path("/state")
