"""Where a build gets its Dockerfile and its files from."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.parts import images
from tests.parts.command import viaduct
from tests.parts.site import serving

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.parts.contexts import Context


def test_dockerfile_on_standard_input_with_a_directory(context: Context) -> None:
    context.file("a", "from the directory")
    text = f"FROM {context.base}\nCOPY a /\nRUN cat /a\n"
    log = context.build("-f", "-", stdin=text.encode()).log
    assert log.step("RUN cat /a").output == ["from the directory"]


def test_dockerfile_alone_on_standard_input(context: Context) -> None:
    log = context.build(where="-", stdin=f"FROM {context.base}\nRUN echo alone\n".encode()).log
    assert log.step("RUN echo alone").output == ["alone"]
    both = context.build("-f", "-", where="-", stdin=b"FROM scratch", check=False)
    assert both.status == 1
    assert "can't use stdin for both build context and dockerfile" in both.stderr


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_archive_on_standard_input(context: Context, compress: Callable[[bytes], bytes]) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, text in (
            ("docker/Dockerfile", f"FROM {context.base}\nCOPY sub/file /\nRUN cat /file\n"),
            ("sub/file", "packed"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    log = context.build("-f", "docker/Dockerfile", where="-", stdin=compress(packed.getvalue())).log
    assert log.step("RUN cat /file").output == ["packed"]


def test_dockerfile_elsewhere_and_its_own_ignore_file(context: Context, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    text = f"FROM {context.base}\nCOPY . /in/\nRUN ls -A /in\n"
    (other / "my.Dockerfile").write_text(text)
    context.file("kept")
    context.file("left-out")
    context.file("also")
    context.file(".dockerignore", "kept\n")
    log = context.build("-f", str(other / "my.Dockerfile")).log
    assert log.step("RUN ls").output == [".dockerignore", "also", "left-out"]
    (other / "my.Dockerfile.dockerignore").write_text("left-out\n.dockerignore\n")
    log = context.build("-f", str(other / "my.Dockerfile")).log
    assert log.step("RUN ls").output == ["also", "kept"]


def test_lower_case_dockerfile_is_found(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo small\n", name="dockerfile")
    assert context.build().log.step("RUN").output == ["small"]


def test_dockerfile_and_context_from_the_web(context: Context, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "Dockerfile.web").write_text(f"FROM {context.base}\nCOPY a /\nRUN cat /a\n")
    with tarfile.open(site / "context.tar.gz", "w:gz") as archive:
        for name, text in (
            ("Dockerfile", f"FROM {context.base}\nCOPY b /\nRUN cat /b\n"),
            ("b", "from the web"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    context.file("a", "from here")
    with serving(site) as address:
        log = context.build("-f", f"http://{address}/Dockerfile.web").log
        assert log.step("RUN cat /a").output == ["from here"]
        log = context.build(where=f"http://{address}/context.tar.gz").log
        assert log.step("RUN cat /b").output == ["from the web"]
        log = context.build(where=f"http://{address}/Dockerfile.web", check=False).log
        assert '"/a": not found' in log.text


def test_git_repository_as_context(context: Context, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "sub").mkdir(parents=True)
    text = f"FROM {context.base}\nCOPY . /in/\nRUN ls -A /in && cat /in/a\n"
    (repository / "sub/Dockerfile").write_text(text)
    (repository / "sub/a").write_text("committed")
    git = ["git", "-C", str(repository), "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "."],
        ["commit", "--quiet", "--message=x"],
        ["tag", "v1"],
        ["update-server-info"],
    ):
        subprocess.run([*git, *command], check=True)
    with serving(tmp_path) as address:
        where = f"http://{address}/repository/.git#v1:sub"
        log = context.build(where=where).log
    assert log.step("RUN ls").output == ["Dockerfile", "a", "committed"]


def test_named_contexts_of_every_kind(context: Context, registry: str, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "f").write_text("named directory")
    context.dockerfile(
        "FROM base AS start\nCOPY --from=files f /\nCOPY --from=layout /bin/busybox /tool\n"
        "COPY --from=image /bin/busybox /tool2\nRUN cat /f && cmp /tool /tool2\n"
    )
    log = context.build(
        *["--build-context", f"base=docker-image://{context.base}"],
        *["--build-context", f"files={files}"],
        *["--build-context", f"layout=oci-layout://{images.busybox_layout()}"],
        *["--build-context", f"image=docker-image://{context.base}"],
    ).log
    assert log.step("RUN cat /f").output == ["named directory"]


def test_unchanged_files_are_not_copied_again_whatever_their_times(context: Context) -> None:
    context.dockerfile("FROM BASE\nCOPY . /in/\n")
    path = context.file("deep/file", "x", mode=0o640)
    context.build()
    os.utime(path, (1, 1))
    assert context.build().log.step("COPY").outcome == "CACHED"
    path.chmod(0o644)
    assert context.build().log.step("COPY").outcome == "DONE"
    path.chmod(0o640)
    assert context.build().log.step("COPY").outcome == "CACHED"


def test_build_args_come_from_the_environment_when_they_have_no_value(context: Context) -> None:
    context.dockerfile("FROM BASE\nARG A=default\nARG B=default\nRUN echo $A $B\n")
    log = context.build(
        "--build-arg", "A", "--build-arg", "B", env={**os.environ, "A": "from environment"}
    ).log
    assert log.step("RUN echo").output == ["from environment default"]


def test_unused_build_args_are_told(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    said = context.build("--build-arg", "NOBODY=1", "--build-arg", "HTTP_PROXY=x").stderr
    assert "One or more build-args [NOBODY] were not consumed" in said


def test_stage_can_be_built_upon_a_local_image(context: Context) -> None:
    """What `--load` put into our own store is a base like any other, without a registry."""
    context.dockerfile("FROM BASE\nRUN echo local > /origin\n")
    context.build("--platform", "linux/amd64,linux/arm64", "--load", "-t", "example.invalid/it:1")
    context.dockerfile("FROM example.invalid/it:1\nRUN cat /origin\n")
    log = context.build("--platform", "linux/arm64").log
    assert log.step("RUN cat").output == ["local"]


def test_links_in_a_context_lead_nowhere_and_odd_files_come_along(context: Context) -> None:
    """Links that lead out of the context stay links, and what they point to is not read."""
    secret = context.root.parent / "secret"
    secret.write_text("secret")
    (context.root / "link").symlink_to("../secret")
    (context.root / "dir").symlink_to("/etc")
    os.mkfifo(context.root / "pipe")
    context.file("name with spaces and ünïcode", "ok")
    context.dockerfile("FROM scratch\nCOPY . /\n")
    context.build("-o", f"type=local,dest={context.root.parent}/out")
    out = context.root.parent / "out"
    assert (out / "link").readlink().name == "secret"
    assert (out / "dir").is_symlink()
    assert (out / "name with spaces and ünïcode").read_text() == "ok"
    context.dockerfile("FROM BASE\nCOPY link /stolen\n")
    failed = context.build(check=False)
    assert failed.status == 1
    assert '"/secret": not found' in failed.stderr or '"/link": not found' in failed.stderr


def test_check_lists_problems_without_building(context: Context) -> None:
    context.dockerfile("from BASE as x\nRUN echo never\n")
    done = viaduct("build", "--check", str(context.root), check=False)
    assert done.returncode == 1
    assert b"never" not in done.stderr
