"""Secrets: a step gets them, and nothing else ever does."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

from tests.parts.filetree import build_tree

if TYPE_CHECKING:
    from pathlib import Path

    from tests.parts.contexts import Context

_VALUE = "hunter2-correct-horse"


def _holders(root: Path, value: bytes) -> list[str]:
    """Files below `root` that hold the value, as they are or inside of gzip."""
    found = []
    for at, _, names in os.walk(root):
        for name in names:
            path = os.path.join(at, name)
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            with open(path, "rb") as file:
                data = file.read()
            if data[:2] == b"\x1f\x8b":
                data += gzip.decompress(data)
            if value in data or value in os.fsencode(path):
                found.append(path)
    return found


def test_a_secret_is_in_no_layer_history_log_record_or_cache(
    context: Context, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text(_VALUE)
    home, out = tmp_path / "home", tmp_path / "out"
    context.dockerfile(
        "FROM BASE\n"
        "RUN --mount=type=secret,id=file --mount=type=secret,id=var,env=TOKEN"
        ' test "$(cat /run/secrets/file)" = "$TOKEN" && echo seen ${#TOKEN} > /o\n'
        "RUN --mount=type=secret,id=file,target=/etc/token,mode=0444 wc -c < /etc/token >> /o\n"
    )
    env = {**os.environ, "VIADUCT_HOME": str(home), "SECRET_IN_ENV": _VALUE}
    built = context.build(
        *("--secret", f"id=file,src={secret}", "--secret", "id=var,env=SECRET_IN_ENV"),
        *("-o", f"type=oci,dest={out},tar=false", "--metadata-file", str(tmp_path / "metadata")),
        env=env,
    )
    assert "seen" not in built.stderr.split("RUN", maxsplit=1)[0]
    assert _VALUE not in built.stderr
    assert _VALUE not in built.stdout
    assert _holders(home, _VALUE.encode()) == []
    assert _holders(out, _VALUE.encode()) == []
    assert _VALUE not in (tmp_path / "metadata").read_text()


def test_the_value_of_a_secret_does_not_decide_what_is_cached(
    context: Context, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    context.dockerfile("FROM BASE\nRUN --mount=type=secret,id=s true\n")
    for value in ("one", "two"):
        secret.write_text(value)
        built = context.build("--secret", f"id=s,src={secret}")
    assert built.log.step("--mount=type=secret").outcome == "CACHED"


def test_secrets_that_are_not_there_are_no_file_and_an_empty_variable(context: Context) -> None:
    context.dockerfile(
        "FROM BASE\nRUN --mount=type=secret,id=none --mount=type=secret,id=no,env=VAR"
        ' ls /run/secrets/none > /o 2>&1 || echo "[${VAR-unset}]" > /o\n'
        "RUN --mount=type=secret,id=unset wc -c < /run/secrets/unset > /p\n"
    )
    tree = build_tree(context, "--secret", "id=unset,env=VIADUCT_NO_SUCH_VARIABLE")
    assert tree.text("o") == "[]\n"
    assert tree.text("p") == "0\n"
    context.dockerfile("FROM BASE\nRUN --mount=type=secret,id=none,required true\n")
    failed = context.build(check=False)
    assert (failed.status, "secret none: not found" in failed.stderr) == (1, True)
