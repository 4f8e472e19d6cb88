"""The local store on the command line: pull, push, images, tag, rmi, run, save, load."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import pty
import signal
import subprocess
import tarfile
import termios
from typing import TYPE_CHECKING

import pytest
from tests.parts import images, readers, rootfs, traces
from tests.parts.command import VIADUCT, viaduct
from tests.parts.contexts import BOTH
from tests.parts.users import ordinary_user

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.parts.contexts import Context
    from tests.parts.users import User


@pytest.fixture(autouse=True)
def _nothing_is_left(clean_env: Path) -> Iterator[None]:
    """No process and no mount outlives a command."""
    yield
    assert traces.settled(str(clean_env)) == []
    assert traces.mounts(clean_env) == []


def _text(*arguments: str, stdin: bytes = b"") -> str:
    """What a command that succeeds prints on standard output."""
    return viaduct(*arguments, stdin=stdin).stdout.decode()


def _fails(*arguments: str, status: int = 1) -> str:
    """What a command that fails prints on standard error."""
    done = viaduct(*arguments, check=False)
    assert done.returncode == status, done.stderr.decode()
    return done.stderr.decode()


def _listed(*options: str) -> list[dict[str, str]]:
    lines = _text("images", "--format", "json", *options).splitlines()
    return [json.loads(line) for line in lines]


def _platforms(name: str) -> str:
    (found,) = _listed(name)
    return found["Platforms"]


# --- pull, images, tag, rmi ----------------------------------------------------------------------


def test_one_platform_is_pulled_unless_more_are_asked_for(busybox: str) -> None:
    said = _text("pull", busybox)
    digest = json.loads(_text("imagetools", "inspect", "--format", "{{json .Manifest}}", busybox))
    assert f"Digest: {digest['digest']}\n" in said
    assert said.endswith(f"Status: Downloaded newer image for {busybox}\n{busybox}\n")
    assert _platforms(busybox) == "linux/amd64"
    assert "Image is up to date for" in _text("pull", busybox)
    assert _text("pull", "-q", "--platform", "linux/arm64", busybox) == f"{busybox}\n"
    assert _platforms(busybox) == "linux/amd64, linux/arm64"
    (found,) = _listed(busybox)
    assert found["Digest"] == digest["digest"]
    assert found["Tag"] == "1"


def test_all_platforms_come_at_once(busybox: str, clean_env: Path) -> None:
    _text("pull", "--all-platforms", busybox)
    assert _platforms(busybox) == "linux/amd64, linux/arm64"
    readers.check_layout(clean_env / "content")
    assert readers.raw(f"oci:{clean_env / 'content'}:{busybox}") == readers.raw(
        f"docker://{busybox}"
    )


def test_a_platform_that_is_not_there_lists_those_that_are(busybox: str) -> None:
    said = _fails("pull", "--platform", "linux/s390x", busybox)
    assert f"{busybox} has no image for linux/s390x" in said
    assert "it has linux/amd64, linux/arm64" in said
    assert _listed() == []


def test_an_image_has_names_and_an_id(busybox: str) -> None:
    _text("pull", busybox)
    short = _text("images", "-q").strip()
    _text("tag", busybox, "mine")
    _text("tag", short, "example.com/other:2")
    names = {(each["Repository"], each["Tag"]) for each in _listed()}
    host, _, _ = busybox.partition("/")
    assert names == {(f"{host}/busybox", "1"), ("mine", "latest"), ("example.com/other", "2")}
    assert len(_text("images", "-q").splitlines()) == 1
    said = _fails("rmi", short)
    assert "must be forced" in said
    assert "example.com/other:2" in said
    assert _text("rmi", "mine") == "Untagged: mine:latest\n"
    removed = _text("rmi", "-f", short).splitlines()
    assert removed[:2] == [f"Untagged: {busybox}", "Untagged: example.com/other:2"] or removed[
        :2
    ] == ["Untagged: example.com/other:2", f"Untagged: {busybox}"]
    assert all(line.startswith("Deleted: sha256:") for line in removed[2:])
    assert len(removed) == 2 + 4
    assert _listed() == []


def test_images_that_are_not_there_are_told_and_do_not_keep_the_others(busybox: str) -> None:
    _text("pull", busybox)
    done = viaduct("rmi", "nosuch", busybox, check=False)
    assert done.returncode == 1
    assert b"no such image: nosuch:latest" in done.stderr
    assert f"Untagged: {busybox}".encode() in done.stdout
    assert viaduct("rmi", "-f", "nosuch").stderr.count(b"no such image") == 1
    for command in (["tag", "nosuch", "x"], ["push", "nosuch"], ["save", "nosuch"]):
        assert "no such image: nosuch:latest" in _fails(*command)


def test_lists_are_filtered(context: Context) -> None:
    context.dockerfile("FROM scratch\nLABEL a=b\n")
    _text("build", "-q", "--load", "-t", "one:1", "-t", "two/three:1", str(context.root))
    context.dockerfile("FROM scratch\nLABEL a=c\n")
    _text("build", "-q", "--load", "-t", "one:2", str(context.root))

    def names(*options: str) -> list[str]:
        return sorted(f"{each['Repository']}:{each['Tag']}" for each in _listed(*options))

    assert names("one") == ["one:1", "one:2"]
    assert names("one:2") == ["one:2"]
    assert names("--filter", "reference=*/three") == ["two/three:1"]
    assert names("--filter", "label=a=b") == ["one:1", "two/three:1"]
    assert names("--filter", "label=a") == ["one:1", "one:2", "two/three:1"]
    assert names("--filter", "since=one:1") == ["one:2"]
    assert names("--filter", "before=one:2", "one") == ["one:1"]
    assert names("--filter", "dangling=true") == []
    assert "invalid filter 'refrence'" in _fails("images", "--filter", "refrence=x")
    assert "no such image: nosuch" in _fails("images", "--filter", "since=nosuch")


# --- run -----------------------------------------------------------------------------------------


def test_an_image_that_is_not_here_is_pulled_and_run(busybox: str) -> None:
    done = viaduct("run", "--rm", "--platform", "linux/arm64", busybox, "uname", "-m")
    assert done.stdout == b"aarch64\n"
    assert b"pulling" in done.stderr
    again = viaduct("run", "--rm", "--platform", "linux/arm64", busybox, "uname", "-m")
    assert again.stdout == b"aarch64\n"
    assert again.stderr == b"", "it is here now"
    assert _text("run", "--rm", busybox, "uname", "-m") == "x86_64\n"
    assert _platforms(busybox) == "linux/amd64, linux/arm64"


def test_a_platform_that_an_image_lacks_is_told_before_anything_runs(busybox: str) -> None:
    for _ in range(2):
        said = _fails("run", "--platform", "linux/s390x", busybox, "true", status=125)
        assert "has no image for linux/s390x" in said
        assert "linux/amd64, linux/arm64" in said
        _text("pull", busybox)


def test_the_exit_status_is_the_programs(busybox: str) -> None:
    for script, status in (("exit 0", 0), ("exit 7", 7), ("sh -c 'kill -9 $$'; exit $?", 137)):
        done = viaduct("run", busybox, "sh", "-c", script, check=False)
        assert done.returncode == status
        assert b"ERROR" not in done.stderr
    assert "not found" in _fails("run", busybox, "nosuch", status=127)
    assert _fails("run", busybox, "/etc/passwd", status=126)
    assert "no such image" in _fails("run", "--pull", "never", "nosuch", status=125)


def test_programs_have_streams_of_their_own(busybox: str) -> None:
    script = "cat; echo out; echo err >&2"
    done = viaduct("run", "-i", busybox, "sh", "-c", script, stdin=b"in\n")
    assert (done.stdout, done.stderr.splitlines()[-1:]) == (b"in\nout\n", [b"err"])
    done = viaduct("run", busybox, "sh", "-c", script, stdin=b"in\n")
    assert done.stdout == b"out\n", "without -i there is no input"


def test_options_change_what_the_image_says(context: Context, tmp_path: Path) -> None:
    context.dockerfile(
        "FROM BASE\nRUN echo worker:x:1234:1234::/home/worker:/bin/sh >> /etc/passwd\n"
        "ENV A=image B=image\nWORKDIR /work\nUSER worker\n"
        'ENTRYPOINT ["echo"]\nCMD ["hello"]\n'
    )
    _text("build", "-q", "--load", "-t", "app", str(context.root))
    assert _text("run", "--rm", "--name", "box", "app") == "hello\n"
    assert _text("run", "app", "-x", "--rm") == "-x --rm\n"
    shell = ["run", "--entrypoint", "sh"]
    assert _text(*shell, "app", "-c", "pwd; id -un; echo $HOME") == "/work\nworker\n/home/worker\n"
    assert _text(*shell, "-w", "/tmp", "-u", "0", "app", "-c", "pwd; id -u") == "/tmp\n0\n"
    (tmp_path / "env").write_text("# comment\nB=file\nC=file\nHOST_ONLY\n")
    done = viaduct(
        *[*shell, "--env-file", str(tmp_path / "env"), "-e", "C=option", "-e", "FROM_HERE"],
        *["app", "-c", "echo $A $B $C $FROM_HERE ${HOST_ONLY-unset}"],
        env={**os.environ, "FROM_HERE": "here"},
    )
    assert done.stdout == b"image file option here unset\n"
    assert _text(*shell, "--hostname", "box", "app", "-c", "hostname") == "box\n"
    assert _text("run", "--entrypoint", "", "app", "echo", "bare") == "bare\n"


def test_directories_of_the_machine_are_shown_inside(busybox: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("outside\n")
    volume = f"{tmp_path}:/data"
    assert _text("run", "-v", volume, busybox, "cat", "/data/file") == "outside\n"
    _text("run", "-v", volume, busybox, "touch", "/data/new")
    assert (tmp_path / "new").exists()
    script = "touch /data/denied 2>/dev/null || echo read-only"
    assert _text("run", "-v", f"{volume}:ro", busybox, "sh", "-c", script) == "read-only\n"
    made = tmp_path / "made"
    _text("run", "-v", f"{made}:/out", busybox, "touch", "/out/file")
    assert (made / "file").exists()


def test_what_a_program_writes_is_thrown_away(busybox: str, clean_env: Path) -> None:
    _text("run", busybox, "touch", "/left")
    assert _text("run", busybox, "sh", "-c", "ls /left 2>/dev/null || echo gone") == "gone\n"
    script = "touch /x 2>/dev/null || echo read-only"
    assert _text("run", "--read-only", busybox, "sh", "-c", script) == "read-only\n"
    assert len(os.listdir(clean_env / "snapshots")) == 1


def test_the_network_is_the_machines_or_none(busybox: str) -> None:
    script = "ls /sys/class/net | wc -l"
    assert _text("run", "--network", "none", busybox, "sh", "-c", script).strip() == "1"
    host = len(os.listdir("/sys/class/net"))
    assert _text("run", busybox, "sh", "-c", script).strip() == str(host)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-w", "relative"], "needs to be an absolute path"),
        (["-d"], "there is no daemon"),
        (["-it"], "the input device is not a TTY"),
        (["-p", "80:80"], "shares this machine's network"),
        (["--network", "bridge"], 'network mode "bridge" is not supported'),
        (["--pull", "often"], "invalid pull option"),
        (["-v", "named:/data"], "named volumes do not exist here"),
        (["-v", "/tmp"], "invalid volume specification"),
        (["-e", "=x"], "invalid environment variable"),
        (["--env-file", "/nonexistent"], "cannot read --env-file"),
        (["--platform", "linux/a/b/c"], "cannot parse platform"),
        (["-u", "nobody-here"], "unable to find user"),
        (["--memory", "1g"], "unknown flag: --memory"),
    ],
)
def test_options_that_make_no_sense_are_told(busybox: str, options: list[str], said: str) -> None:
    assert said in _fails("run", *options, busybox, "true", status=125)


def test_an_image_for_another_machine_only_runs_with_a_warning(context: Context) -> None:
    context.dockerfile("FROM BASE\n")
    _text("build", "-q", "--load", "--platform", "linux/arm64", "-t", "app", str(context.root))
    done = viaduct("run", "app", "uname", "-m")
    assert done.stdout == b"aarch64\n"
    assert b"does not match the detected host platform" in done.stderr


def test_an_image_without_a_name_runs_by_its_id(context: Context) -> None:
    context.dockerfile("FROM BASE\nCMD echo built\n")
    image = _text("build", "-q", str(context.root)).strip()
    assert _text("run", "--rm", image) == "built\n"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_program_and_leaves_nothing(
    busybox: str, clean_env: Path, number: signal.Signals, status: int
) -> None:
    with subprocess.Popen(
        [*VIADUCT, "run", busybox, "sh", "-c", "echo ready; sleep 1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        run.send_signal(number)
        assert run.wait(timeout=60) == status
    assert len(os.listdir(clean_env / "snapshots")) == 1, "only the image's own layer"


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_terminal_is_the_programs(busybox: str, runtime: str) -> None:
    """Its size, too: without one, editors and pagers have nothing to draw on."""
    _text("pull", "-q", busybox)
    main, other = pty.openpty()
    termios.tcsetwinsize(other, (33, 99))
    script = "stty size; tty; read line; echo got $line; exit 3"
    with subprocess.Popen(
        [*VIADUCT, "run", "-it", busybox, "sh", "-c", script],
        env={**os.environ, "VIADUCT_RUNTIME": runtime},
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
    ) as run:
        os.close(other)
        said = b""
        while b"/dev/" not in said:
            said += os.read(main, 1024)
        os.write(main, b"typed\n")
        while b"got typed" not in said:
            said += os.read(main, 1024)
        assert run.wait(timeout=60) == 3
        assert b"33 99\r\n" in said
    os.close(main)


# --- push ----------------------------------------------------------------------------------------


def test_a_built_index_is_pushed_later_as_it_is(
    context: Context, registry: str, clean_env: Path, tmp_path: Path
) -> None:
    context.dockerfile("FROM BASE\nRUN uname -m > /machine\n")
    name = f"{registry}/store-push:1"
    _text("build", "-q", *BOTH, "--load", "-t", name, str(context.root))
    said = _text("push", name)
    pushed = readers.raw(f"docker://{name}")
    assert pushed == readers.raw(f"oci:{clean_env / 'content'}:{name}")
    assert said.splitlines()[0] == f"The push refers to repository [{registry}/store-push]"
    (found,) = _listed(name)
    assert said.splitlines()[-1] == f"1: digest: {found['Digest']} size: {len(pushed)}"
    for arch, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        root = readers.unpack(f"docker://{name}", tmp_path / arch, platform=f"linux/{arch}")
        assert (root / "machine").read_text() == f"{machine}\n"


def test_one_platform_of_an_image_is_pushed(busybox: str, registry: str) -> None:
    name = f"{registry}/store-push-one:1"
    _text("pull", "--all-platforms", busybox)
    _text("tag", busybox, name)
    assert _text("push", "-q", "--platform", "linux/arm64", name) == f"{name}\n"
    assert readers.config(f"docker://{name}", "linux/arm64")["architecture"] == "arm64"
    assert "manifests" not in readers.document(f"docker://{name}")


def test_what_was_not_pulled_is_pushed_from_where_it_is(busybox: str, registry: str) -> None:
    name = f"{registry}/store-push-rest:1"
    _text("pull", "--platform", "linux/arm64", busybox)
    _text("tag", busybox, name)
    _text("push", name)
    assert readers.raw(f"docker://{name}") == readers.raw(f"docker://{busybox}")
    assert readers.platforms(f"docker://{name}") == ["linux/amd64", "linux/arm64"]


# --- save and load -------------------------------------------------------------------------------


@pytest.fixture
def saved(context: Context, tmp_path: Path) -> Path:
    """An archive of a two-platform image under two names; its base was never fetched whole."""
    context.dockerfile("FROM BASE\nCOPY file /file\n")
    (context.root / "file").write_text("saved\n")
    tags = ["-t", "saved:1", "-t", "example.com/saved:2"]
    _text("build", "-q", *BOTH, "--load", *tags, str(context.root))
    path = tmp_path / "saved.tar"
    _text("save", "-o", str(path), "saved:1", "example.com/saved:2")
    return path


def test_a_blob_that_lost_its_end_is_told_and_fetched_again(
    busybox: str, clean_env: Path, tmp_path: Path
) -> None:
    _text("pull", "-q", busybox)
    blobs = (clean_env / "content/blobs/sha256").iterdir()
    layer = max(blobs, key=lambda path: path.stat().st_size)
    layer.chmod(0o600)
    os.truncate(layer, 100)
    target = tmp_path / "saved.tar"
    said = _fails("save", "-o", str(target), busybox)
    assert f"sha256:{layer.name} was damaged on disk and has been removed" in said
    assert not target.exists()
    _text("save", "-o", str(target), busybox)
    with tarfile.open(target) as archive:
        assert archive.getmember(f"blobs/sha256/{layer.name}").size == layer.stat().st_size > 100


def test_a_full_disk_below_an_archive_is_told(saved: Path) -> None:
    said = _fails("save", "-o", "/dev/full", "saved:1")
    assert "cannot write /dev/full: No space left on device" in said


def test_other_tools_read_what_was_saved(saved: Path, clean_env: Path, tmp_path: Path) -> None:
    original = readers.raw(f"oci:{clean_env / 'content'}:example.com/saved:2")
    for tag in ("1", "2"):
        assert readers.raw(f"oci-archive:{saved}:{tag}") == original
    root = readers.unpack(f"oci-archive:{saved}:1", tmp_path / "oci", platform="linux/arm64")
    assert (root / "file").read_text() == "saved\n"
    for name in ("saved:1", "example.com/saved:2"):
        root = readers.unpack(f"docker-archive:{saved}:{name}", tmp_path / name.replace("/", "-"))
        assert (root / "file").read_text() == "saved\n"
    assert saved.stat().st_mode & 0o777 == 0o644
    for arch in ("amd64", "arm64"):
        assert readers.buildah_pull(f"oci-archive:{saved}:1", tmp_path / f"b-{arch}", arch=arch)


def test_what_was_saved_is_loaded_elsewhere(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _listed("saved")[0]["Digest"]
    monkeypatch.setenv("VIADUCT_HOME", str(tmp_path / "elsewhere"))
    said = _text("load", "-i", str(saved))
    assert said == "Loaded image: saved:1\nLoaded image: example.com/saved:2\n"
    assert _listed("saved")[0]["Digest"] == before
    assert _platforms("saved") == "linux/amd64, linux/arm64"
    run = ["run", "--pull", "never", "--platform", "linux/arm64", "saved:1"]
    assert _text(*run, "cat", "/file") == "saved\n"
    readers.check_layout(tmp_path / "elsewhere/content")


def test_archives_go_through_pipes_compressed_or_not(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = viaduct("save", "saved:1").stdout
    monkeypatch.setenv("VIADUCT_HOME", str(tmp_path / "elsewhere"))
    assert _text("load", stdin=gzip.compress(piped, 1)) == "Loaded image: saved:1\n"
    assert _text("load", "-q", stdin=piped) == "Loaded image: saved:1\n"


def test_one_platform_is_saved_alone(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "one.tar"
    _text("save", "--platform", "linux/arm64", "-o", str(path), "saved:1")
    assert readers.config(f"oci-archive:{path}", "linux/arm64")["architecture"] == "arm64"
    assert readers.config(f"docker-archive:{path}", "linux/arm64")["architecture"] == "arm64"
    assert path.stat().st_size < saved.stat().st_size
    said = _fails("save", "--platform", "linux/s390x", "saved:1")
    assert "it has: linux/amd64, linux/arm64" in said


def test_an_index_of_which_one_platform_is_here_is_saved_as_that(
    busybox: str, tmp_path: Path
) -> None:
    path = tmp_path / "saved.tar"
    _text("pull", "--platform", "linux/arm64", busybox)
    _text("save", "-o", str(path), busybox)
    assert readers.config(f"docker-archive:{path}:{busybox}")["architecture"] == "arm64"


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_of_other_tools_are_loaded(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "archive.tar"
    name = ":example.com/other:3" if kind == "docker-archive" else ":other:3"
    subprocess.run(
        [
            *["skopeo", "--insecure-policy", "--override-arch", "arm64", "copy", "--quiet"],
            *[f"oci:{images.busybox_layout()}:latest", f"{kind}:{path}{name}"],
        ],
        check=True,
    )
    assert _text("load", "-i", str(path)) == f"Loaded image: {name[1:]}\n"
    assert _platforms(name[1:]) == "linux/arm64"
    assert _text("run", name[1:], "uname", "-m") == "aarch64\n"


def test_an_archive_of_an_image_without_a_name_tells_its_id(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar"
    source = f"oci:{images.busybox_layout()}:latest"
    argv = ["skopeo", "--insecure-policy", "copy", "--quiet", source, f"oci-archive:{path}"]
    subprocess.run(argv, check=True)
    said = _text("load", "-i", str(path))
    assert said.startswith("Loaded image ID: sha256:")
    image = said.split()[-1]
    _text("tag", image, "now:named")
    assert _text("run", "now:named", "echo", "here") == "here\n"


def test_an_old_docker_archive_links_layers_that_are_the_same(tmp_path: Path) -> None:
    """As Docker before version 25 wrote it: a directory for each layer."""
    layer = rootfs.busybox("amd64")
    diff_id = "sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["echo", "old"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id, diff_id]},
    }
    manifest = [
        {
            "Config": "c0ffee.json",
            "RepoTags": ["old:1", "old:2"],
            "Layers": ["aaa/layer.tar", "bbb/layer.tar"],
        }
    ]
    path = tmp_path / "old.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(layer, "aaa/layer.tar")
        link = tarfile.TarInfo("bbb/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../aaa/layer.tar"
        archive.addfile(link)
        for name, document in (("c0ffee.json", config), ("manifest.json", manifest)):
            data = json.dumps(document).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert _text("load", "-i", str(path)) == "Loaded image: old:1\nLoaded image: old:2\n"
    assert _text("run", "old:2") == "old\n"


def _archive(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


_ZERO = "sha256:" + "0" * 64
_INDEX = {
    "schemaVersion": 2,
    "manifests": [
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": _ZERO,
            "size": 2,
        }
    ],
}


@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (b"no archive at all" * 100, "hint: check that the file is a tar archive"),
        (_archive(**{"a/file": b"x"}), "neither index.json nor manifest.json"),
        (_archive(**{"index.json": b"{"}), "index.json is malformed"),
        (_archive(**{"index.json": json.dumps(_INDEX).encode()}), f"lacks {_ZERO}"),
        (
            _archive(
                **{
                    f"blobs/sha256/{'0' * 64}": b"{}",
                    "index.json": json.dumps(_INDEX).encode(),
                }
            ),
            "instead of",
        ),
        (_archive(**{"manifest.json": b'{"Config": 1}'}), "manifest.json is malformed"),
        (
            _archive(**{"manifest.json": b'[{"Config": "../../etc/passwd", "Layers": []}]'}),
            "lacks ../../etc/passwd",
        ),
    ],
)
def test_archives_that_make_no_sense_are_told(archive: bytes, said: str, clean_env: Path) -> None:
    done = viaduct("load", stdin=archive, check=False)
    assert done.returncode == 1
    assert said in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert _listed() == []
    assert os.listdir(clean_env / "content/ingest") == []


def test_an_archive_cannot_reach_out_of_itself(tmp_path: Path) -> None:
    """Links and pipes in it are names, not files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        link = tarfile.TarInfo("config.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        fifo = tarfile.TarInfo("layer.tar")
        fifo.type = tarfile.FIFOTYPE
        archive.addfile(fifo)
        document = json.dumps([{"Config": "config.json", "Layers": ["layer.tar"]}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(document)
        archive.addfile(info, io.BytesIO(document))
    done = viaduct("load", stdin=out.getvalue(), check=False)
    assert done.returncode == 1
    assert b"the archive lacks config.json" in done.stderr


# --- an ordinary user ----------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["with sub-ids", "without"])
def user(request: pytest.FixtureRequest) -> Iterator[User]:
    with ordinary_user(subids=request.param == "with sub-ids") as made:
        yield made


def test_an_ordinary_user_does_all_of_it(user: User, busybox: str, registry: str) -> None:
    def said(*arguments: str) -> str:
        return user.viaduct(*arguments).stdout.decode()

    said("pull", "--all-platforms", busybox)
    for arch, machine in (("amd64", "x86_64"), ("arm64", "aarch64")):
        run = ["run", "--rm", "--platform", f"linux/{arch}", busybox]
        assert said(*run, "sh", "-c", "uname -m; id -u") == f"{machine}\n0\n"
    name = f"{registry}/store-{user.name}:1"
    said("tag", busybox, name)
    said("push", name)
    assert readers.raw(f"docker://{name}") == readers.raw(f"docker://{busybox}")
    archive = user.home / "saved.tar"
    said("save", "-o", str(archive), busybox)
    assert readers.raw(f"oci-archive:{archive}") == readers.raw(f"docker://{busybox}")
    said("rmi", name, busybox)
    assert said("images", "-q") == ""
    assert said("load", "-i", str(archive)) == f"Loaded image: {busybox}\n"
    assert said("run", busybox, "echo", "loaded") == "loaded\n"
    said("prune", "-af")
    assert "Total:\t\t0B" in said("du")
    assert said("run", busybox, "echo", "again") == "again\n"
    assert traces.settled(str(user.home)) == []


def test_files_of_other_ids_can_be_removed(user: User, busybox: str) -> None:
    """A step writes as other users; only inside of the namespaces may they be deleted."""
    root = user.home / "context"
    root.mkdir(exist_ok=True)
    (root / "Dockerfile").write_text(
        f"FROM {busybox}\nRUN mkdir -p /a/b && touch /a/b/c && (chown -R 77:88 /a; chmod 0700 /a)\n"
    )
    user.own(root)
    user.viaduct("build", "-q", str(root))
    user.viaduct("prune", "-af")
    state = user.home / ".local/share/viaduct"
    assert os.listdir(state / "snapshots") == []
    assert os.listdir(state / "trash") == []


# --- many at once, and killed --------------------------------------------------------------------


def test_the_same_image_is_pulled_by_several_at_once(busybox: str, clean_env: Path) -> None:
    pulls = [
        subprocess.Popen(
            [*VIADUCT, "pull", "-q", "--all-platforms", busybox], stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    assert [pull.communicate()[0] for pull in pulls] == [f"{busybox}\n".encode()] * 3
    assert [pull.returncode for pull in pulls] == [0, 0, 0]
    readers.check_layout(clean_env / "content")


@pytest.mark.parametrize("command", ["pull", "load"])
def test_after_a_killed_command_the_next_one_succeeds(
    command: str, registry: str, tmp_path: Path, clean_env: Path
) -> None:
    name = f"{registry}/store-killed:1"
    images.push(images.debian_layout(), name)
    if command == "load":
        path = tmp_path / "archive.tar"
        source = f"oci:{images.debian_layout()}:latest"
        copy = ["skopeo", "--insecure-policy", "copy", "--quiet", "--all", source]
        subprocess.run([*copy, f"oci-archive:{path}:{name}"], check=True)
        argv = ["load", "-i", str(path)]
    else:
        argv = ["pull", "-q", "--all-platforms", name]
    for megabytes in (1, 40, 80):
        with subprocess.Popen([*VIADUCT, *argv], stdout=subprocess.DEVNULL) as running:
            while running.poll() is None and _stored(clean_env) < megabytes * 1_000_000:
                pass
            running.kill()
        for blob in (clean_env / "content/blobs/sha256").iterdir():
            assert blob.stat().st_mode & 0o777 == 0o444
    _text(*argv)
    assert os.listdir(clean_env / "content/ingest") == []
    assert readers.check_layout(clean_env / "content") == 7
    assert _platforms(name) == "linux/amd64, linux/arm64"


def _stored(state: Path) -> int:
    """Bytes in the content store, those on their way in among them."""
    size = 0
    for folder in ("content/ingest", "content/blobs/sha256"):
        for path in (state / folder).glob("*"):
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
    return size


def test_a_platform_is_fetched_from_wherever_the_image_is(
    busybox: str, registry: str, tmp_path: Path
) -> None:
    """The name it has here says nothing about that; where it was pulled from does."""
    _text("pull", "--platform", "linux/amd64", busybox)
    _text("tag", busybox, f"{registry}/store-nowhere:1")
    _text("rmi", busybox)
    run = ["run", "--platform", "linux/arm64", f"{registry}/store-nowhere:1"]
    assert _text(*run, "uname", "-m") == "aarch64\n"
    _text("rmi", f"{registry}/store-nowhere:1")
    assert "no such repository" in _fails(*run, "uname", "-m", status=125)
