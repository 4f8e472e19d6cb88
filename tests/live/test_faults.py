"""Bad input and broken surroundings: exit 1, a message with place and remedy, a usable store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.parts import front, images, machine, readers
from tests.parts.contexts import BOTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.parts.contexts import Built, Context


def _home() -> Path:
    return Path(os.environ["VIADUCT_HOME"])


@pytest.fixture(autouse=True)
def _store_stays_usable(context: Context) -> Iterator[None]:
    """After every fault the next build on the same store succeeds, and every blob is whole."""
    yield
    context.dockerfile("FROM BASE\nRUN echo still works\nCOPY good /\n")
    context.file("good", "data")
    assert context.build("--load", "-t", "after:1").log.outcomes("RUN") == {"DONE"}
    readers.check_layout(_home() / "content")


def _refused(context: Context, *options: str, **how: object) -> Built:
    """A build that fails as faults have to: exit 1, and no traceback."""
    failed = context.build(*options, check=False, **how)  # type: ignore[arg-type]  # build's own
    assert failed.status == 1, failed.stderr
    assert "Traceback" not in failed.stderr
    assert "internal error" not in failed.stderr
    assert "ERROR: failed to build: " in failed.stderr
    return failed


_MISTAKES = (
    ("FROM BASE\nCOPY onlyone\n", 2, "COPY requires at least two arguments"),
    ("FROM BASE\nENV\n", 2, "ENV requires at least one argument"),
    ("FROM BASE\nRUN --mont=type=cache true\n", 2, "unknown flag: --mont"),
    ("FROM BASE\nRUN <<EOF\ncat\n", 2, "unterminated heredoc"),
    ("FROM BASE\nEXPOSE nothing\n", 2, "invalid containerPort: nothing"),
    ("FROM BASE\nENV a=${b!c}\n", 2, "unsupported modifier (!) in substitution"),
    ("RUN true\nFROM BASE\n", 1, "no build stage in current context"),
    ("FROM ${nothing}\n", 1, "base name (${nothing}) should not be blank"),
    ("FROM BASE AS a\nCOPY --from=b x /\nFROM BASE AS b\nFROM a\n", 2, "b"),
)


def test_mistakes_in_a_dockerfile_are_shown_where_they_are(context: Context) -> None:
    for text, line, said in _MISTAKES:
        path = context.dockerfile(text)
        failed = _refused(context)
        assert said in failed.stderr
        assert f"{path}:{line}\n" in failed.stderr
        assert f"   {line} | >>> " in failed.stderr


def test_unknown_instruction_is_answered_with_a_suggestion(context: Context) -> None:
    context.dockerfile("FROM BASE\n\nRUNN echo hello\n")
    failed = _refused(context)
    assert "unknown instruction: RUNN (did you mean RUN?)" in failed.stderr
    assert "   3 | >>> RUNN echo hello" in failed.stderr


def test_unknown_target_is_answered_with_a_suggestion(context: Context) -> None:
    context.dockerfile("FROM BASE AS build\nFROM BASE AS final\n")
    failed = _refused(context, "--target", "finla")
    assert 'target stage "finla" could not be found' in failed.stderr
    assert "did you mean final?" in failed.stderr


def test_unknown_stage_of_a_copy_is_answered_with_a_suggestion(context: Context) -> None:
    """It may be an image for all we know, so a registry is asked; here there is none."""
    context.dockerfile("FROM BASE AS builder\nFROM BASE\nCOPY --from=biulder /x /\n")
    failed = _refused(context, "--registry-mirror", "docker.io=http://127.0.0.1:9")
    assert "(did you mean builder?)" in failed.stderr
    assert "   3 | >>> COPY --from=biulder /x /" in failed.stderr


def test_file_that_is_not_in_the_context_is_named_with_its_place(context: Context) -> None:
    context.dockerfile("FROM BASE\nCOPY src/main.c /src/\n")
    context.file("src/other.c")
    failed = _refused(context)
    assert '"/src/main.c": not found' in failed.stderr
    assert "   2 | >>> COPY src/main.c /src/" in failed.stderr


def test_file_that_dockerignore_leaves_out_is_explained(context: Context) -> None:
    context.dockerfile("FROM BASE\nCOPY dist/app /app\n")
    context.file("dist/app")
    context.file(".dockerignore", "dist\n")
    failed = _refused(context)
    assert '"/dist/app": not found' in failed.stderr
    assert ".dockerignore" in failed.stderr.partition("ERROR: failed")[2]


def test_missing_context_and_dockerfile_are_named(context: Context) -> None:
    nowhere = str(context.root / "nowhere")
    failed = _refused(context, where=nowhere)
    assert f'unable to prepare context: path "{nowhere}" not found' in failed.stderr
    failed = _refused(context)
    assert "failed to read dockerfile: open " in failed.stderr
    assert "no such file or directory" in failed.stderr
    assert "-f" in failed.stderr
    context.dockerfile("")
    assert "the Dockerfile cannot be empty" in _refused(context).stderr


def test_base_without_the_platform_lists_what_it_has(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    failed = _refused(context, "--platform", "linux/amd64,linux/s390x")
    assert "no match for platform in manifest" in failed.stderr
    assert "linux/s390x" in failed.stderr
    assert "hint: it has: linux/amd64, linux/arm64" in failed.stderr
    assert "   1 | >>> FROM" in failed.stderr


def test_unreachable_registry_is_named(context: Context) -> None:
    context.dockerfile("FROM 127.0.0.1:9/base:1\n")
    failed = _refused(context)
    assert "127.0.0.1:9" in failed.stderr
    assert "refused" in failed.stderr
    assert "   1 | >>> FROM 127.0.0.1:9/base:1" in failed.stderr
    assert "hint: " in failed.stderr


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "credentials"), (403, "denies"), (404, "not found")],
)
def test_refusing_registry_is_quoted(
    context: Context, registry: str, status: int, said: str
) -> None:
    body = b'{"errors":[{"code":"X","message":"it says no"}]}'
    with front.running_front(
        registry, front.answering("GET HEAD", "/v2/private/", status, body)
    ) as proxy:
        context.dockerfile(f"FROM {proxy.address}/private/base:1\n")
        failed = _refused(context)
    assert f"{proxy.address}/private/base:1" in failed.stderr
    assert said in failed.stderr
    assert "hint: " in failed.stderr


@pytest.mark.parametrize("what", ["blobs", "manifests"])
def test_wrong_content_from_a_registry_is_refused(
    context: Context, registry: str, what: str
) -> None:
    def corrupt(data: bytes) -> bytes:
        return data[:-1] + bytes([data[-1] ^ 1])

    name = f"corrupt-{what}"
    images.push(images.busybox_layout(), f"{registry}/{name}/base:1")
    with front.running_front(
        registry, front.changing("GET", f"/v2/{name}/base/{what}/sha256:", corrupt)
    ) as proxy:
        context.dockerfile(f"FROM {proxy.address}/{name}/base:1\nRUN true\n")
        failed = _refused(context)
    assert "sha256:" in failed.stderr
    assert "digest" in failed.stderr or "content" in failed.stderr


@pytest.mark.parametrize("where", ["step", "layer", "export"])
def test_full_disk_is_told_and_leaves_a_usable_store(context: Context, where: str) -> None:
    context.dockerfile(
        {
            "step": "FROM BASE\nRUN dd if=/dev/zero of=/big bs=1M count=64\n",
            "layer": "FROM BASE\nRUN true\n",
            "export": "FROM scratch\nCOPY noise /\n",
        }[where]
    )
    context.file("noise", os.urandom(5 << 20))
    size = {"step": "16m", "layer": "1500k", "export": "8m"}[where]
    # The same file system must serve again once there is room. Source and place are both named, or
    # mount repeats the owner that it reads, who is nobody inside of a user namespace.
    around = machine.after(
        f"mount -t tmpfs -o size={size} tmpfs '{_home()}'\n"
        'if "$@"; then exit 9; else status=$?; fi\n'
        f"mount -t tmpfs -o remount,size=200m tmpfs '{_home()}'\n"
        '"$@" 2>/dev/null >&2 || exit 8\n'
        "exit $status"
    )
    _home().mkdir(parents=True)
    failed = _refused(context, "--load", "-t", "big:1", around=around)
    assert "o space left on device" in failed.stderr
    assert "free some" in failed.stderr


def test_step_that_filled_the_disk_gives_it_back(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN dd if=/dev/zero of=/big bs=1M count=64\n")
    around = machine.after(
        f"mount -t tmpfs -o size=16m tmpfs '{_home()}'\n"
        'if "$@"; then exit 9; else status=$?; fi\n'
        f"head -c 8M /dev/zero > '{_home()}/room' || exit 8\n"
        "exit $status"
    )
    _home().mkdir(parents=True)
    failed = _refused(context, around=around)
    assert 'of=/big bs=1M count=64" did not complete successfully: exit code: 1' in failed.stderr
    assert "free some disk space" in failed.stderr


def test_no_permission_to_make_namespaces_names_the_knob(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    done = context.build(check=False, around=machine.without_namespaces())
    assert done.status == 1
    assert "max_user_namespaces" in done.stderr
    assert "hint: " in done.stderr
    assert "Traceback" not in done.stderr


def test_container_that_hides_parts_of_proc_is_explained(context: Context) -> None:
    """The kernel shows no fresh /proc to those who see the old one in part only."""
    context.dockerfile("FROM BASE\nRUN true\n")
    hide = "mount --bind /proc/sys /proc/sys; mount -o remount,bind,ro /proc/sys"
    done = context.build(check=False, around=machine.after(hide))
    assert done.status == 1
    assert "cannot mount a fresh /proc" in done.stderr
    assert "systempaths=unconfined" in done.stderr


def test_missing_runtime_names_its_package(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    failed = _refused(context, around=machine.without("runc", "crun"))
    assert "no OCI runtime is installed" in failed.stderr
    assert "apt-get install" in failed.stderr


def test_missing_emulator_is_told_before_any_step(context: Context) -> None:
    context.dockerfile("FROM BASE\nRUN echo hello\n")
    failed = _refused(
        context, *BOTH, around=machine.without_emulators("qemu-aarch64-static", "qemu-aarch64")
    )
    assert "arm64" in failed.stderr
    assert "sudo apt-get install qemu-user-static" in failed.stderr
    assert "exec format error" not in failed.stderr
    assert [name for name in failed.log.names if "RUN" in name] == []


def test_program_of_another_machine_is_never_a_bare_exec_format_error(context: Context) -> None:
    """S-35."""
    context.dockerfile(
        "FROM --platform=linux/arm64 BASE AS arm\n"
        "FROM BASE\nCOPY --from=arm /bin/busybox /tool\nRUN /tool true\n"
    )
    failed = _refused(context, "--platform", "linux/amd64")
    assert "linux/arm64" in failed.stderr.partition("ERROR: failed")[2]
    assert "TARGETARCH" in failed.stderr
