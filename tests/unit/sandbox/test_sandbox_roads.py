"""Which way programs of another machine come to run, for machines that are not this one."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from viaduct.sandbox.binfmt import Registration, Status
from viaduct.sandbox.machines import MACHINES
from viaduct.sandbox.roads import (
    Facts,
    Host,
    Missing,
    Native,
    Private,
    Unseen,
    decide,
    levels,
    refusal,
)

_ARM64 = MACHINES["arm64"]
_QEMU = {"arm64": "/usr/bin/qemu-aarch64-static"}
_ENTRY = Registration("qemu-aarch64", "/qemu", "POCF", magic=_ARM64.magic, mask=_ARM64.mask)
_NEW = Facts("amd64", (6, 7), own_namespace=True, emulators=_QEMU)
_OLD = Facts("amd64", (6, 1), own_namespace=True, emulators=_QEMU)
_REGISTERED = Status(mounted=True, enabled=True, registrations=(_ENTRY,))


def _missing(facts: Facts, arch: str = "arm64") -> Missing:
    road = decide(arch, facts)
    assert isinstance(road, Missing)
    return road


def test_the_processors_own_programs_need_nothing() -> None:
    assert decide("amd64", _OLD) == Native()
    assert decide("386", replace(_OLD, relatives=("386",))) == Native()


def test_a_new_kernel_gives_a_table_of_our_own() -> None:
    assert decide("arm64", _NEW) == Private(_ARM64, _QEMU["arm64"])


def test_our_own_table_is_taken_even_where_the_host_has_a_handler() -> None:
    assert isinstance(decide("arm64", replace(_NEW, host=_REGISTERED)), Private)


def test_without_an_emulator_the_package_is_named() -> None:
    road = _missing(replace(_NEW, emulators={}))
    assert road.what == "cannot run arm64 programs: qemu-aarch64-static is not installed"
    assert road.hint == "sudo apt-get install qemu-user-static"


def test_an_old_kernel_uses_the_hosts_handler() -> None:
    assert decide("arm64", replace(_OLD, host=_REGISTERED)) == Host(_ENTRY)


def test_outside_of_our_namespace_only_the_hosts_handler_counts() -> None:
    facts = replace(_NEW, own_namespace=False, host=_REGISTERED)
    assert decide("arm64", facts) == Host(_ENTRY)


def test_an_old_kernel_without_handler_needs_one_command() -> None:
    road = _missing(replace(_OLD, host=Status(mounted=True, enabled=True)))
    assert road.hint == "sudo viaduct binfmt --install arm64"


def test_an_old_kernel_without_anything_needs_two() -> None:
    road = _missing(replace(_OLD, emulators={}, host=Status(mounted=True, enabled=True)))
    assert road.hint == (
        "sudo apt-get install qemu-user-static && sudo viaduct binfmt --install arm64"
    )


def test_a_handler_without_flag_f_is_refused_with_the_way_to_replace_it() -> None:
    entry = replace(_ENTRY, flags="OC")
    road = _missing(replace(_OLD, host=replace(_REGISTERED, registrations=(entry,))))
    assert "without flag F" in road.what
    assert road.hint == "sudo viaduct binfmt --uninstall qemu-aarch64 --install arm64"


def test_a_disabled_handler_or_table_is_none() -> None:
    off = replace(_REGISTERED, registrations=(replace(_ENTRY, enabled=False),))
    assert isinstance(decide("arm64", replace(_OLD, host=off)), Missing)
    assert isinstance(
        decide("arm64", replace(_OLD, host=replace(_REGISTERED, enabled=False))), Missing
    )


def test_a_table_that_cannot_be_seen_has_to_be_tried() -> None:
    assert decide("arm64", _OLD) == Unseen()


def test_an_unknown_machine_has_no_emulator() -> None:
    assert "no emulator is known for sparc64" in _missing(_NEW, "sparc64").what


@pytest.mark.parametrize(
    ("facts", "hint"),
    [
        (replace(_NEW, emulators={}), "sudo apt-get install qemu-user-static"),
        (_NEW, "sudo apt-get install --reinstall qemu-user-static"),
        (_OLD, "sudo viaduct binfmt --install arm64"),
    ],
)
def test_a_program_that_failed_to_run_is_explained(facts: Facts, hint: str) -> None:
    error = refusal("arm64", facts)
    assert error.what.startswith("cannot run arm64 programs: ")
    assert error.hint == hint


def test_levels_of_a_processor_need_all_below() -> None:
    v2 = frozenset("cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3".split())
    v3 = frozenset("abm avx avx2 bmi1 bmi2 f16c fma movbe xsave".split())
    v4 = frozenset("avx512bw avx512cd avx512dq avx512f avx512vl".split())
    assert levels(frozenset()) == ()
    assert levels(v2) == ("v2",)
    assert levels(v2 | v3 | v4) == ("v2", "v3", "v4")
    assert levels(v2 | v4) == ("v2",)
    assert levels(v3) == ()
