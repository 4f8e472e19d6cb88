"""Platforms are named and matched as containerd does it."""

from __future__ import annotations

import pytest

from viaduct.base.errors import PlatformError
from viaduct.oci import platform
from viaduct.oci.platform import Platform

AMD64 = Platform("linux", "amd64")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("Linux/x86-64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("aarch64", "linux/arm64"),
        ("Aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm", "linux/arm/v7"),
        ("armhf", "linux/arm/v7"),
        ("armel", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6"),
        ("i386", "linux/386"),
        ("linux/i386/v5", "linux/386"),
        ("linux/i686", "linux/386"),
        ("ppc64le", "linux/ppc64le"),
        ("ppc64el", "linux/ppc64le"),
        ("s390x", "linux/s390x"),
        ("riscv64", "linux/riscv64"),
        ("loongarch64", "linux/loong64"),
        ("macos", "darwin/amd64"),
        ("linux", "linux/amd64"),
        ("local", "linux/amd64"),
        ("windows(10.0.17763)/amd64", "windows/amd64"),
        ("unheard/of", "unheard/of"),
    ],
)
def test_names_come_out_in_their_usual_form(text: str, name: str) -> None:
    assert str(platform.parse(text, local=AMD64)) == name


def test_os_options_are_kept() -> None:
    parsed = platform.parse("windows(10.0%2B1+win32k+a)/amd64", local=AMD64)
    assert parsed.os_version == "10.0+1"
    assert parsed.os_features == ("a", "win32k")
    assert platform.parse("linux(+gpu)", local=AMD64).os_features == ("gpu",)
    assert platform.parse("windows()", local=AMD64) == Platform("windows", "amd64")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "linux/",
        "linux//v8",
        "/arm64",
        "a/b/c/d",
        "linux/*",
        "*",
        "linux/arm 64",
        "frobnicator",
        "linux(/arm64",
        "linux)/arm64",
        "linux(a)b/arm64",
        "linux/arm64(1)",
        "lin.ux/arm64",
    ],
)
def test_nonsense_is_refused_with_the_form_to_use(text: str) -> None:
    with pytest.raises(PlatformError) as caught:
        platform.parse(text)
    assert "linux/arm64" in caught.value.hint


def test_lists_keep_the_first_mention() -> None:
    found = platform.parse_list(["linux/arm64,aarch64", " linux/amd64 ,", "x86_64"], local=AMD64)
    assert [str(p) for p in found] == ["linux/arm64", "linux/amd64"]


def served(wanted: str) -> list[str]:
    return [str(p) for p in platform.compatible(platform.parse(wanted, local=AMD64))]


def test_older_levels_serve_newer_machines() -> None:
    arm = ["linux/arm/v8", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]
    assert served("linux/amd64") == ["linux/amd64", "linux/386"]
    assert served("linux/amd64/v3") == [
        "linux/amd64/v3",
        "linux/amd64/v2",
        "linux/amd64",
        "linux/386",
    ]
    assert served("linux/386") == ["linux/386"]
    assert served("linux/arm/v7") == arm[1:]
    assert served("linux/arm/v6") == arm[2:]
    assert served("linux/arm/v4") == ["linux/arm/v4"]
    assert served("linux/arm64") == ["linux/arm64", *arm]
    assert served("linux/arm64/v8.1") == ["linux/arm64/v8.1", "linux/arm64", *arm]
    assert served("linux/arm64/v9") == [
        "linux/arm64/v9",
        *(f"linux/arm64/v8.{n}" for n in range(5, 0, -1)),
        "linux/arm64",
        *arm,
    ]
    assert served("linux/arm64/v9.6")[:8] == [
        *(f"linux/arm64/v9.{n}" for n in range(6, 0, -1)),
        "linux/arm64/v9",
        "linux/arm64/v8.9",
    ]
    assert served("linux/arm64/v10") == ["linux/arm64/v10"]
    assert served("linux/s390x") == ["linux/s390x"]


def test_the_best_entry_wins_not_the_first() -> None:
    offered = [
        Platform("linux", "arm", "v6"),
        None,
        Platform("linux", "amd64"),
        Platform("linux", "arm", "v7"),
        Platform("unknown", "unknown"),
        Platform("linux", "arm64", "v8"),
    ]
    assert platform.best(Platform("linux", "arm64"), offered) == 5
    assert platform.best(Platform("linux", "arm", "v8"), offered) == 3
    assert platform.best(Platform("linux", "arm", "v6"), offered) == 0
    assert platform.best(Platform("linux", "amd64", "v3"), offered) == 2
    assert platform.best(Platform("linux", "riscv64"), offered) is None
    assert platform.best(Platform("windows", "amd64"), offered) is None


def test_among_equals_the_first_wins_and_required_features_count() -> None:
    plain = Platform("linux", "amd64")
    gpu = Platform("linux", "amd64", os_features=("gpu",))
    assert platform.best(plain, [plain, plain]) == 0
    assert platform.best(plain, [gpu, plain]) == 1
    assert platform.best(gpu, [plain, gpu]) == 1


def test_windows_builds_must_agree() -> None:
    offered = [
        Platform("windows", "amd64", os_version="10.0.14393.1066"),
        Platform("windows", "amd64", os_version="10.0.17763.5", os_features=("win32k",)),
    ]
    assert platform.best(Platform("windows", "amd64", os_version="10.0.17763"), offered) == 1
    assert platform.best(Platform("windows", "amd64", os_version="10.0.99"), offered) is None
    assert platform.best(Platform("windows", "amd64"), offered) == 0


def test_the_machine_has_a_platform_and_a_path_name() -> None:
    assert platform.native().os == "linux"
    assert Platform("linux", "arm", "v7").path_name == "linux_arm_v7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frob", '"frob": unknown operating system or architecture: invalid argument'),
        ("linux/a/b/c", '"linux/a/b/c": cannot parse platform specifier: invalid argument'),
        ("*/amd64", '"*/amd64": wildcards not yet supported: invalid argument'),
        ("linux/", '"" is an invalid component of "linux/": platform specifier component must'),
        ("$/x", '"$" is an invalid OS component of "$/x": OSAndVersion specifier component must'),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_field(text: str, message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        platform.parse(text)
    assert caught.value.what.startswith(message)
    assert caught.value.hint == "write it as os/arch[/variant], like linux/arm64"


@pytest.mark.parametrize(
    "text",
    [
        "linux/arm/v7",
        "windows(10.0.20348.1)/amd64",
        "windows(10.0+win32k)/amd64",
        "linux(+a%2Bb)/arm64",
    ],
)
def test_the_full_name_can_be_read_again(text: str) -> None:
    assert platform.parse(text).full == text
