from __future__ import annotations

import os
import pwd
import re
import signal
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

import viaduct as package
from viaduct.base.errors import Canceled, DockerfileError, StepFailed
from viaduct.base.spans import Source, Span
from viaduct.cli.commands import IMAGETOOLS, REGISTRY, ROOT
from viaduct.cli.failure import Interrupted, explain, status_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Run

# The program with commands of our own: one that fails in an unexpected way, one that waits.
PROGRAM = textwrap.dedent(
    """
    import sys, time
    from viaduct.cli import main
    from viaduct.cli.command import implements
    from viaduct.cli.commands import Row

    @implements("boom")
    def boom(session, args):
        raise KeyError("surprise")

    @implements("wait")
    def wait(session, args):
        try:
            print("waiting", flush=True)
            time.sleep(60)
        finally:
            print("cleaned up", flush=True)

    main.root.rows += (Row("boom", "__main__:boom", ""), Row("wait", "__main__:wait", ""))
    main.main()
    """
)
ALL = [*((row.name,) for row in ROOT), *(("imagetools", row.name) for row in IMAGETOOLS)]
ALL += [("registry", row.name) for row in REGISTRY]


def test_the_version_is_one_line(viaduct: Run) -> None:
    done = viaduct("version")
    assert re.fullmatch(rf"viaduct v{re.escape(package.__version__)} linux/\w+\n", done.stdout)
    assert (done.returncode, done.stderr) == (0, "")


def test_help_groups_commands_by_what_they_are_for(viaduct: Run) -> None:
    for args in ((), ("--help",), ("-h",)):
        done = viaduct(*args)
        assert done.returncode == 0
        assert "Build:\n  build " in done.stdout
        assert "\nMachine:\n" in done.stdout


@pytest.mark.parametrize("group", ["imagetools", "registry"])
def test_a_group_without_a_command_shows_what_there_is(group: str, viaduct: Run) -> None:
    for args in ((group,), (group, "--debug"), (group, "--help")):
        done = viaduct(*args)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"Usage:  viaduct {group} [OPTIONS] COMMAND" in done.stdout


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_has_one_line_of_at_most_100_columns(
    path: tuple[str, ...], viaduct: Run
) -> None:
    done = viaduct(*path, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage:  viaduct {' '.join(path)} [OPTIONS]")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    options = [line for line in lines if re.match(r"  (-\w, |    )--", line)]
    assert len(options) >= 3
    for line in options:
        assert re.search(r"\S  +[A-Z]", line), line


def test_help_needs_none_of_the_heavy_parts() -> None:
    program = (
        "import sys\nfrom viaduct.cli import main\n"
        "status = main.run('viaduct', sys.argv[1:])\n"
        "heavy = {'rich', 'ssl', 'sqlite3', 'asyncio', 'msgspec', 'isal'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    for args in (["--help"], ["version"], ["build", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True
        )
        assert done.stderr == "[]\n", args


@pytest.mark.parametrize(
    ("args", "stderr"),
    [
        (
            ("biuld",),
            'ERROR: unknown command: "biuld"\nhint: did you mean build?\n\n'
            "Usage:  viaduct [OPTIONS] COMMAND\n\nRun 'viaduct --help' for more information\n",
        ),
        (
            ("build", "--puhs", "."),
            "ERROR: unknown flag: --puhs\nhint: did you mean --push?\n\n"
            "Usage:  viaduct build [OPTIONS] PATH | URL | -\n\n"
            "Run 'viaduct build --help' for more information\n",
        ),
        (
            ("build",),
            "ERROR: 'viaduct build' requires 1 argument\n\n"
            "Usage:  viaduct build [OPTIONS] PATH | URL | -\n\n"
            "Run 'viaduct build --help' for more information\n",
        ),
        (
            ("imagetools", "inspct"),
            'ERROR: unknown command: "inspct"\nhint: did you mean inspect?\n\n'
            "Usage:  viaduct imagetools [OPTIONS] COMMAND\n\n"
            "Run 'viaduct imagetools --help' for more information\n",
        ),
        (
            ("build", "--push", "."),
            "ERROR: failed to build: tag is needed when pushing to registry\n"
            "hint: name the image: --tag registry/repository:tag\n",
        ),
        (
            ("b", "--load=true", "-t=A", "."),
            'ERROR: failed to build: invalid tag "A": invalid reference format\n'
            "hint: the repository name must be lowercase; write it as registry/repository:tag\n",
        ),
        (
            ("imagetools", "inspect", "--raw", "--format", "x", "y"),
            "ERROR: format and raw cannot be used together\n",
        ),
    ],
)
def test_misuse_is_explained_on_standard_error(
    args: tuple[str, ...], stderr: str, viaduct: Run
) -> None:
    done = viaduct(*args)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", stderr)


def test_global_options_may_stand_before_or_after_the_command(viaduct: Run) -> None:
    for args in (("--builder", "x", "-D", "version"), ("version", "-D", "--builder=x")):
        assert viaduct(*args).returncode == 0


def test_an_unexpected_error_shows_no_traceback_unless_asked(viaduct: Run, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = (sys.executable, str(program))
    done = viaduct("boom", command=command)
    assert done.returncode == 1
    assert done.stderr == (
        "ERROR: internal error: KeyError: 'surprise'\n"
        "hint: this is a bug in Viaduct; repeat with --debug to see where, and report it\n"
    )
    told = viaduct("boom", "--debug", command=command)
    assert "Traceback (most recent call last)" in told.stderr
    assert told.stderr.endswith("ERROR: internal error: KeyError: 'surprise'\n")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_unwinds_and_names_itself_in_the_status(
    number: signal.Signals, status: int, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen(
        [sys.executable, str(program), "wait"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (status, "cleaned up\n", "ERROR: canceled\n")


def test_a_current_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    done = subprocess.run(
        [
            "sh",
            "-c",
            'cd "$1" && rmdir "$1" && "$2" -m viaduct build .',
            "sh",
            gone,
            sys.executable,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ERROR: the current directory is not there any more\n"
        'hint: change to another one, or to its successor: cd "$PWD"\n'
    )


def test_help_is_a_command_too(viaduct: Run) -> None:
    for words in ((), ("build",), ("imagetools", "inspect"), ("run",)):
        done = viaduct("help", *words)
        assert (done.returncode, done.stdout) == (0, viaduct(*words, "--help").stdout)
    assert 'unknown command: "biuld"' in viaduct("help", "biuld").stderr


def test_output_that_finds_no_room_is_told() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "viaduct", "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"ERROR: cannot write the output: No space left on device\n"


@pytest.mark.parametrize("home", [{}, {"HOME": ""}])
def test_without_home_programs_still_find_it(home: dict[str, str]) -> None:
    """Before a namespace makes us root, whose home is another."""
    program = (
        "import os\nfrom viaduct.cli import main\n"
        "main.run('viaduct', ['version'])\nprint(os.environ['HOME'])\n"
    )
    env = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", program], env={**env, **home}, capture_output=True, check=True
    )
    assert done.stdout.decode().splitlines()[-1] == pwd.getpwuid(os.getuid()).pw_dir


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "viaduct", "--help"],
            stdout=gone,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.stderr == b""


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_trouble(closed: str) -> None:
    program = "from viaduct.cli import main; main.main()"
    done = subprocess.run(
        ["sh", "-c", f'"$1" -c "$2" version {closed}', "sh", sys.executable, program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_docker_may_call_us_as_its_plugin(tmp_path: Path, viaduct: Run) -> None:
    plugin = tmp_path / "docker-buildx"
    plugin.write_text(f"#!{sys.executable}\nfrom viaduct.cli.main import main\nmain()\n")
    plugin.chmod(0o755)
    done = viaduct("buildx", "build", "--nope", command=(str(plugin),))
    assert "Run 'docker buildx build --help'" in done.stderr
    assert viaduct("buildx", "version", command=(str(plugin),)).returncode == 0


def test_an_error_in_a_dockerfile_shows_the_place() -> None:
    source = Source("Dockerfile", "FROM scratch\nRUNN x\n")
    error = DockerfileError(
        "unknown instruction: RUNN", hint="did you mean RUN?", where=Span(source, 2, 2)
    )
    assert explain(error, debug=False) == (
        "Dockerfile:2\n"
        "--------------------\n"
        "   1 |     FROM scratch\n"
        "   2 | >>> RUNN x\n"
        "   3 |     \n"
        "--------------------\n"
        "ERROR: unknown instruction: RUNN\n"
        "hint: did you mean RUN?\n"
    )


def test_statuses() -> None:
    assert status_of(StepFailed("x", exit_code=7)) == 1
    assert status_of(Canceled()) == 130
    assert status_of(KeyboardInterrupt()) == 130
    assert status_of(Interrupted(143)) == 143


def test_summaries_and_headings_are_complete() -> None:
    for row in (*ROOT, *IMAGETOOLS, *REGISTRY):
        assert row.summary
        assert not row.summary.endswith(".")
    assert all(row.heading for row in ROOT)
