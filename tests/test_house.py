"""The rules of the house: style, types, import directions, sizes, words, and a light start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import pytest

TOP = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent

#: Modules may have this many lines; at 400 look for the second idea in one.
WANTED, LIMIT = 400, 700
#: Modules between the two, each with the reason why it is one idea.
LONG: dict[str, str] = {}

#: What light commands must not have imported: each costs every command milliseconds that only some
#: commands get something for.
HEAVY = (
    "asyncio",
    "backports.zstd",
    "click",
    "concurrent.futures",
    "dataclasses",
    "email",
    "gettext",
    "hashlib",
    "http.client",
    "http.server",
    "importlib.metadata",
    "isal",
    "multiprocessing",
    "random",
    "rich",
    "shutil",
    "sqlite3",
    "ssl",
    "subprocess",
    "tarfile",
    "tempfile",
    "unittest",
    "xml",
    "zlib_ng",
)


def _tool(*argv: str) -> None:
    done = subprocess.run(
        [BIN / argv[0], *argv[1:]], cwd=TOP, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(argv)}\n{done.stdout}{done.stderr}"


def _tracked() -> list[Path]:
    """Files of the repository; of the whole directory where git is not used."""
    done = subprocess.run(
        ["git", "-c", f"safe.directory={TOP}", "ls-files", "-z", "--cached"],
        cwd=TOP,
        capture_output=True,
        check=False,
    )
    names = [name for name in done.stdout.decode().split("\0") if name]
    found = [TOP / name for name in names] or [*(TOP / "src").rglob("*"), *TOP.glob("*")]
    return [path for path in found if path.is_file()]


def test_code_follows_the_style() -> None:
    _tool("ruff", "check", "--quiet", ".")


def test_code_is_laid_out_by_the_formatter() -> None:
    _tool("ruff", "format", "--check", "--quiet", ".")


@pytest.mark.timeout(400)
def test_types_hold() -> None:
    _tool("mypy", "--no-error-summary")


def test_imports_go_down_the_stairs_only() -> None:
    _tool("lint-imports")


def test_packages_have_empty_init_files() -> None:
    full = [
        str(path.relative_to(TOP))
        for path in (TOP / "src/viaduct").rglob("__init__.py")
        if path.parent.name != "viaduct" and path.read_text().strip()
    ]
    assert full == []


def test_modules_hold_one_idea_each() -> None:
    sizes = {
        str(path.relative_to(TOP)): len(path.read_bytes().splitlines())
        for path in sorted((TOP / "src").rglob("*.py"))
    }
    assert {name: size for name, size in sizes.items() if size > LIMIT} == {}
    long = {name: size for name, size in sizes.items() if size > WANTED and name not in LONG}
    assert long == {}, "split these, or say in LONG why they are one idea"
    assert [name for name in LONG if sizes.get(name, 0) <= WANTED] == [], "no longer long"


def test_every_dependency_is_imported_somewhere() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[^\w.-]", line)[0].replace("-", "_") for line in project["dependencies"]}
    pattern = re.compile(r"^\s*(?:import (\w+)|from (\w+)(?: import (\w+))?)", re.MULTILINE)
    imported = set()
    for path in (TOP / "src").rglob("*.py"):
        for whole, package, part in pattern.findall(path.read_text()):
            imported |= {whole, package, f"{package}.{part}"}
    assert names - imported == set()


def test_typed_values_are_read_in_one_place() -> None:
    """Anywhere else, two threads that read a class for the first time would kill the process."""
    forbidden = re.compile(r"msgspec\.convert\(|json\.decode\([^)]*\btype=|\.Decoder\(")
    found = [
        f"{path.relative_to(TOP)}: {match[0]}"
        for path in sorted((TOP / "src").rglob("*.py"))
        if path.name != "decoding.py"
        for match in forbidden.finditer(path.read_text())
    ]
    assert found == [], "use viaduct.base.decoding"


def test_machine_and_its_registries_are_named_nowhere() -> None:
    """What is true of one machine only does not belong into the repository."""
    words = {*_package_hosts(), str(TOP)}
    found = []
    for path in _tracked():
        text = path.read_bytes()
        found += [
            f"{path.relative_to(TOP)}: {word}" for word in sorted(words) if word.encode() in text
        ]
    assert found == []


def _package_hosts() -> set[str]:
    """Hosts that this machine's pip and apt are told to use, the public ones aside."""
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    apt = Path("/etc/apt")
    lists = [apt / "sources.list", *apt.glob("sources.list.d/*")]
    texts = [path.read_text(errors="replace") for path in lists if path.is_file()]
    urls = re.findall(r"https?://[^\s'\"]+", "\n".join([pip.stdout, *texts]))
    hosts = {urlsplit(url).hostname or "" for url in urls}
    public = ("debian.org", "pypi.org", "pythonhosted.org", "ubuntu.com")
    return {host for host in hosts if host and not host.endswith(public)}


@pytest.mark.parametrize("command", [("version",), ("--help",), ("build", "--help"), ("ls",)])
def test_a_command_imports_only_what_it_needs(command: tuple[str, ...], tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from viaduct.cli.main import run\n"
        f"run('viaduct', {list(command)!r})\n"
        f"print(*sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        # Where somebody has chosen a context of Docker's, more is needed.
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.split() == []


def test_scripts_are_sound_shell() -> None:
    for path in [*(TOP / "scripts").glob("*.sh"), TOP / ".ci/run"]:
        subprocess.run(["bash", "-n", path], check=True)
        assert path.stat().st_mode & 0o100, f"{path} is not executable"


def test_locks_pin_everything_and_name_no_index() -> None:
    for path in TOP.glob("requirements*.lock"):
        text = path.read_text()
        assert "index-url" not in text
        assert "://" not in text
        wanted = len(re.findall(r"^[a-z0-9]", text, re.MULTILINE | re.IGNORECASE))
        assert wanted == len(re.findall(r"^[a-z0-9._-]+==", text, re.MULTILINE | re.IGNORECASE))


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for page in [*TOP.glob("*.md"), *TOP.glob("docs/**/*.md"), *TOP.glob("bench/*.md")]:
        broken += [
            f"{page.relative_to(TOP)}: {target}"
            for target in re.findall(r"\]\(([^)#\s]+)", page.read_text())
            if "://" not in target and not (page.parent / target).exists()
        ]
    assert broken == []
