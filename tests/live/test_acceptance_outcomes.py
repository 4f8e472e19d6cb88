"""Acceptance: what comes out of a migration, and the concepts behind it (S-01 to S-15)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from tests.parts import debs, machine, readers, rootfs
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH, Context
from tests.parts.docker_engine import running_engine
from tests.parts.published import MACHINES, Published
from tests.parts.site import meeting

from viaduct.sandbox import probe
from viaduct.sandbox.machines import MACHINES as EMULATED

if TYPE_CHECKING:
    from pathlib import Path


def test_s01_a_docker_container_builder_targets_both_platforms_in_one_build(
    context: Context, registry: str
) -> None:
    name = f"{registry}/s01:1"
    viaduct("create", "--name", "multi-builder", "--driver", "docker-container", "--use")
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    built = context.build(*BOTH, "-t", name, "--push")
    assert 'building with "multi-builder" instance using docker-container driver' in built.stderr
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]


def test_s02_after_registration_foreign_steps_of_every_kind_run(context: Context) -> None:
    """As on a Linux where a build has to rely on what was registered for the whole machine."""
    with tarfile.open(rootfs.debian("arm64")) as archive:
        for place, name in (
            ("lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1"),
            ("lib/libc.so.6", "usr/lib/aarch64-linux-gnu/libc.so.6"),
            ("usr/local/bin/dash", "usr/bin/dash"),
            ("usr/local/bin/uname", "usr/bin/uname"),
        ):
            data = archive.extractfile(name)
            assert data is not None
            context.file(f"root/{place}", data.read(), mode=0o755)
    script = "#!/usr/local/bin/dash\n/usr/local/bin/uname -m\n"
    context.file("root/usr/local/bin/script", script, mode=0o755)
    context.dockerfile(
        "FROM BASE\nCOPY root /\n"
        "RUN echo static; /bin/busybox uname -m\n"
        "RUN echo dynamic; /usr/local/bin/uname -m\n"
        "RUN echo script; script\n"
        "RUN echo children; dash -c 'uname -m | sh -c \"dash -c cat\"'\n"
    )
    ours = " ".join(VIADUCT)
    around = machine.with_own_table(f"{ours} binfmt --install all 2>/dev/null", old_kernel=True)
    log = context.build("--platform", "linux/arm64", around=around).log
    for kind in ("static", "dynamic", "script", "children"):
        assert log.step(f"echo {kind}").output == [kind, "aarch64"]


def test_s03_one_index_maps_each_platform_to_a_complete_image_of_its_own(
    published: Published, tmp_path: Path
) -> None:
    index = readers.document(published.reference)
    assert readers.platforms(published.reference) == ["linux/amd64", "linux/arm64"]
    assert len({entry["digest"] for entry in index["manifests"]}) == 2
    layout = tmp_path / "layout"
    copy = ("copy", "--quiet", "--all", "--src-tls-verify=false", published.reference)
    subprocess.run(["skopeo", "--insecure-policy", *copy, f"oci:{layout}:it"], check=True)
    # An index; then for each platform a manifest, a configuration and two or more layers.
    assert readers.check_layout(layout) >= 1 + 2 * 3


def test_s04_an_inspect_command_confirms_both_entries(published: Published) -> None:
    page = viaduct("imagetools", "inspect", published.name).stdout.decode()
    shown = re.findall(r"^  Platform: +(.*)$", page, re.MULTILINE)
    assert shown == readers.platforms(published.reference) == ["linux/amd64", "linux/arm64"]


def test_s05_configurations_and_programs_are_of_the_platform_that_the_index_says(
    published: Published, context: Context, registry: str, tmp_path: Path
) -> None:
    viaduct("verify", *BOTH, published.name)
    for arch in MACHINES:
        config = readers.config(published.reference, f"linux/{arch}")
        assert (config["os"], config["architecture"]) == ("linux", arch)
        root = readers.unpack(published.reference, tmp_path / arch, platform=f"linux/{arch}")
        with (root / "bin/busybox").open("rb") as program:
            assert _architecture(program.read(64)) == arch
    context.dockerfile("FROM scratch\nCOPY a /a\n")
    context.file("a")
    name = f"{registry}/s05:1"
    context.build("--platform", "linux/arm/v7,linux/arm/v6", "-t", name, "--push")
    assert readers.platforms(f"docker://{name}") == ["linux/arm/v7", "linux/arm/v6"]
    for variant in ("v7", "v6"):
        config = readers.config(f"docker://{name}", f"linux/arm/{variant}")
        assert (config["architecture"], config["variant"]) == ("arm", variant)
    viaduct("verify", "--platform", "linux/arm/v7,linux/arm/v6", name)


def _architecture(header: bytes) -> str:
    """Whose machine code a program is, by the two bytes that its ELF header has for that."""
    assert header[:4] == b"\x7fELF"
    return {0x3E: "amd64", 0xB7: "arm64"}[int.from_bytes(header[18:20], "little")]


def test_s06_without_platform_the_image_is_a_plain_manifest_of_this_machine(
    context: Context, registry: str
) -> None:
    context.dockerfile("FROM BASE\nRUN true\n")
    name = f"{registry}/s06:1"
    context.build("-t", name, "--push")
    manifest = readers.document(f"docker://{name}")
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    here = {machine: arch for arch, machine in MACHINES.items()}[os.uname().machine]
    assert readers.config(f"docker://{name}", f"linux/{here}")["architecture"] == here


def test_s07_a_client_without_a_platform_gets_its_own_architecture(
    published: Published, tmp_path: Path
) -> None:
    for arch in MACHINES:
        asked = ("--override-arch", arch, "inspect", "--tls-verify=false", published.reference)
        found = subprocess.run(["skopeo", *asked], check=True, capture_output=True)
        assert json.loads(found.stdout)["Architecture"] == arch
    pulled = readers.buildah_pull(published.reference, tmp_path, arch=debs.native())
    told = json.loads(readers.buildah(tmp_path, "inspect", "--type", "image", pulled))
    assert told["OCIv1"]["architecture"] == debs.native()


def test_s08_one_command_builds_every_variant_and_assembles_the_list(
    context: Context, registry: str
) -> None:
    name = f"{registry}/s08:1"
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    steps = context.build(*BOTH, "-t", name, "--push").log
    for arch, said in MACHINES.items():
        assert steps.step(f"[linux/{arch} 2/2] RUN").output == [said]
    index = readers.document(f"docker://{name}")
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert len(index["manifests"]) == 2


def test_s09_a_list_of_platforms_and_a_repeated_option_are_equal(
    context: Context, registry: str
) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    listed, repeated = f"{registry}/s09:listed", f"{registry}/s09:repeated"
    context.build("--platform", "linux/amd64,linux/arm64", "-t", listed, "--push")
    context.build(
        *("--platform", "linux/amd64", "--platform", "linux/arm64"), "-t", repeated, "--push"
    )
    assert readers.platforms(f"docker://{listed}") == ["linux/amd64", "linux/arm64"]
    assert readers.raw(f"docker://{listed}") == readers.raw(f"docker://{repeated}")


def test_s10_drivers_and_nodes_are_chosen_by_name_and_platform(
    context: Context, registry: str
) -> None:
    """Every driver that is offered and every appended node is the engine on this machine; one that
    could not be is refused when it is created."""
    for driver in ("docker-container", "kubernetes"):
        viaduct("create", "--name", driver, "--driver", driver)
        assert f"Driver: {driver}\n" in viaduct("inspect", driver).stdout.decode()
    refused = viaduct("create", "--driver", "remote", "tcp://localhost:1234", check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(b'ERROR: driver "remote" is not available')
    viaduct("create", "--name", "two", "--node", "near", "--platform", "linux/amd64")
    viaduct("create", "--name", "two", "--append", "--node", "far", "--platform", "linux/arm64")
    page = viaduct("inspect", "two").stdout.decode()
    assert re.findall(r"^(?:Name|Platforms): +(.*)$", page, re.MULTILINE) == [
        *("two", "near", "linux/amd64*", "far", "linux/arm64*")
    ]
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    name = f"{registry}/s10:1"
    context.build("--builder", "two", *BOTH, "-t", name, "--push")
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]


def test_s11_rebuilds_are_cached_and_independent_work_runs_in_parallel(context: Context) -> None:
    """No request is answered before another one of its kind is waiting."""
    with meeting(2) as url:
        context.dockerfile(f"FROM BASE\nRUN wget -q -O /got {url}\nRUN uname -m\n")
        assert context.build(*BOTH).log.outcomes("RUN") == {"DONE"}
    again = context.build(*BOTH).log
    for platform in ("linux/amd64", "linux/arm64"):
        assert again.outcomes(f"[{platform}") == {"CACHED"}
    with meeting(2) as url:
        context.dockerfile(
            f"FROM BASE AS one\nRUN wget -q -O /one {url}\n"
            f"FROM BASE AS two\nRUN wget -q -O /two {url}\n"
            "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n"
        )
        assert context.build().log.outcomes("RUN") == {"DONE"}


@pytest.mark.parametrize("output", ["--push", "-otype=registry"])
def test_s12_push_is_an_output_that_needs_no_local_image_store(
    context: Context, registry: str, tmp_path: Path, output: str
) -> None:
    name = f"{registry}/s12:{output.strip('-').replace('=', '-')}"
    context.dockerfile("FROM BASE\nRUN true\n")
    with running_engine(tmp_path) as engine:
        env = {**os.environ, "DOCKER_HOST": engine.address}
        context.build(*BOTH, output, "-t", name, env=env)
        assert engine.archives == []
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]
    assert viaduct("images", "-q").stdout == b""


def test_s13_nothing_has_to_be_installed_besides_the_package(
    context: Context, registry: str, tmp_path: Path
) -> None:
    """The wheel alone, unpacked; its first command is a build for two platforms."""
    build = ("-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "wheel"))
    subprocess.run([sys.executable, *build], cwd=debs.TOP, check=True, capture_output=True)
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    place = tmp_path / "package"
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(place)], check=True)
    (info,) = importlib.metadata.distributions(path=[str(place)])
    (script,) = info.entry_points.select(group="console_scripts", name="viaduct")
    where = f"import {script.module} as m; print(m.__file__, file=sys.stderr); m.{script.attr}()"
    name = f"{registry}/s13:1"
    context.dockerfile("FROM BASE\nRUN uname -m\n")
    command = ["build", *BOTH, "-t", name, "--push", str(context.root)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {where}", *command],
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr.startswith(f"{place}/viaduct/cli/main.py\n".encode())
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]


def test_s14_the_kernel_chooses_the_emulator_by_the_elf_header(context: Context) -> None:
    """Two programs that differ in their header's machine alone; and the kernel's table decides,
    for where an entry is switched off nothing is emulated."""
    context.file("programs/one", probe.program(EMULATED["arm64"]), mode=0o755)
    context.file("programs/two", probe.program(EMULATED["riscv64"]), mode=0o755)
    table, ours = "/proc/sys/fs/binfmt_misc", " ".join(VIADUCT)
    script = f"{ours} binfmt --install arm64,riscv64 2>/dev/null"
    run = ("cat", f"{table}/qemu-aarch64", f"{table}/qemu-riscv64")
    entries = subprocess.run(
        [*machine.with_own_table(script), *run], check=True, capture_output=True, text=True
    ).stdout
    magics = re.findall(r"^magic (7f454c46[0-9a-f]+)$", entries, re.MULTILINE)
    assert [magic[36:40] for magic in magics] == ["b700", "f300"]
    programs = context.root / "programs"
    both = f"cd {programs}; for p in one two; do ./$p && echo $p ran || echo $p did not; done"
    for switch, said in (("", "one ran\ntwo ran\n"), ("riscv64", "one ran\ntwo did not\n")):
        off = f"; echo 0 > {table}/qemu-{switch}" if switch else ""
        done = subprocess.run(
            [*machine.with_own_table(script + off), "sh", "-c", both],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == said, done.stderr


def test_s15_one_host_produces_all_platforms_and_shows_what_emulation_costs(
    context: Context, tmp_path: Path
) -> None:
    """On a machine without any network."""
    arches = ("amd64", "arm64", "riscv64", "ppc64le", "s390x")
    for arch in arches:
        if arch == debs.native():
            program = (rootfs.busybox_tree(arch) / "bin/busybox").read_bytes()
        else:
            program = probe.program(EMULATED[arch])
        context.file(f"bin/{arch}", program, mode=0o755)
    context.dockerfile(
        'FROM scratch\nARG TARGETARCH\nCOPY bin/$TARGETARCH /busybox\nRUN ["/busybox", "true"]\n'
    )
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    archive = tmp_path / "image.tar"
    log = context.build(
        *("--platform", ",".join(f"linux/{arch}" for arch in arches)),
        *("-o", f"type=oci,dest={archive}"),
        around=("unshare", *user, "--net"),
    ).log
    assert readers.platforms(f"oci-archive:{archive}") == [f"linux/{arch}" for arch in arches]
    for arch in arches:
        lines = log.step(f"[linux/{arch} 2/2] RUN").lines
        assert (f"emulated (linux/{arch})" in lines) == (arch != debs.native())
        assert re.fullmatch(r"DONE \d+\.\ds", lines[-1])
