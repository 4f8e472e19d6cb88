from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli import outputs
from viaduct.engine.request import Annotation, Output
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path


def only(value: str) -> Output:
    (output,) = outputs.parse([value])
    return output


@pytest.mark.parametrize(
    ("value", "output"),
    [
        ("out", Output("local", dest="out")),
        ("-", Output("tar", dest="-")),
        ("type=local,dest=out", Output("local", dest="out")),
        ("type=tar,dest=o.tar", Output("tar", dest="o.tar")),
        ("type=tar", Output("tar", dest="-")),
        ("type=oci,dest=o.tar", Output("oci", dest="o.tar")),
        ("type=oci", Output("oci", dest="-")),
        ("type=oci,tar=false,dest=out", Output("oci", dest="out", tar=False)),
        ("type=docker", Output("docker", load=True)),
        ("type=docker,dest=o.tar", Output("docker", dest="o.tar")),
        ("type=image", Output("image")),
        ("type=image,push=true", Output("image", push=True)),
        ("type=registry", Output("image", push=True)),
        ("type=cacheonly", Output("cacheonly")),
        ('type=image,"name=a:1,b:2"', Output("image", names=("a:1", "b:2"))),
        ("type=image,compression=zstd,compression-level=19,force-compression=true",
         Output("image", compression="zstd", compression_level=19, force_compression=True)),
        ("type=image,push-by-digest=true,name-canonical=true,registry.insecure=1",
         Output("image", push_by_digest=True, name_canonical=True, insecure=True)),
        ("type=image,oci-mediatypes=false,store=false",
         Output("image", oci_mediatypes=False, store=False)),
        ("type=oci,dest=x,rewrite-timestamp=true,source-date-epoch=12",
         Output("oci", dest="x", rewrite_timestamp=True, epoch=12)),
        ("type=local,dest=x,platform-split=false", Output("local", dest="x", platform_split=False)),
        (" Type=local,DEST=x", Output("local", dest="x")),
        ("type=image,unpack=true,prefer-nondist-layers=true", Output("image")),
        ("a=b", Output("local", dest="a=b")),
    ],
)  # fmt: skip
def test_an_output_is_read(value: str, output: Output) -> None:
    assert only(value) == output


def test_annotations_know_their_level_and_platform() -> None:
    value = (
        "type=image,annotation.a=1,annotation-index.b=2,"
        "annotation-manifest-descriptor[linux/arm64/v8].c=3"
    )
    assert only(value).annotations == (
        Annotation("a", "1"),
        Annotation("b", "2", "index"),
        Annotation("c", "3", "manifest-descriptor", Platform("linux", "arm64")),
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("dest=x", "type is required for output"),
        ("type=local", "dest is required for local exporter"),
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=local,dest=-", "dest cannot be stdout for local exporter"),
        ("type=foo", 'exporter "foo" could not be found'),
        ("type=image,nonsense", "invalid value nonsense"),
        ("type=image,push=maybe", "non-bool value specified for push: 'maybe'"),
        ("type=image,compression=lzma", "unsupported compression type lzma"),
        ("type=image,compression-level=x", "non-integer value 'x' specified for compression-level"),
        ("type=image,compression-level=10", "compression-level 10 is out of range for gzip"),
        ("type=image,compresion=zstd", "unknown key 'compresion' for image exporter"),
        ("type=local,dest=x,push=true", "unknown key 'push' for local exporter"),
        ("type=image,compression=zstd,oci-mediatypes=false",
         'exporter option "compression=zstd" conflicts with "oci-mediatypes=false"'),
        ("type=image,annotation.a=1,oci-mediatypes=false",
         'cannot export annotations with "oci-mediatypes=false"'),
        ("type=image,annotation-foo.a=1", "unrecognized annotation type foo"),
        ("type=image,oci-artifact=true,oci-mediatypes=false",
         'exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"'),
        ("type=image,unpack=true,rewrite-timestamp=true",
         'exporter option "rewrite-timestamp" conflicts with "unpack"'),
        ("type=local,dest=x,mode=move", 'invalid local exporter mode "move"'),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_the_peers_words(value: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        outputs.parse([value])
    assert caught.value.what == message


def test_a_misspelt_key_is_suggested() -> None:
    with pytest.raises(UsageError) as caught:
        outputs.parse(["type=image,compresion=zstd"])
    assert caught.value.hint == "did you mean compression?"


def test_only_one_output_goes_to_standard_output() -> None:
    with pytest.raises(UsageError, match="multiple outputs configured to write to stdout"):
        outputs.parse(["-", "type=oci"])


@pytest.mark.parametrize("value", ["-", "type=tar", "type=oci", "type=docker,dest=-"])
def test_no_archive_goes_to_a_terminal(value: str) -> None:
    with pytest.raises(UsageError, match="refusing to write to console"):
        outputs.parse([value], stdout_is_terminal=True)


def test_a_directory_is_not_a_file_and_a_file_not_a_directory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=f"destination directory {file} is a file"):
        outputs.parse([str(file)])
    with pytest.raises(UsageError, match=f"destination file {tmp_path} is a directory"):
        outputs.parse([f"type=oci,dest={tmp_path}"])


def test_push_and_load_join_what_is_there() -> None:
    image, local = Output("image"), Output("local", dest="x")
    assert outputs.with_push([image, local]) == (Output("image", push=True), local)
    assert outputs.with_push([local]) == (local, Output("image", push=True))
    assert outputs.with_load([Output("docker", load=True)]) == (Output("docker", load=True),)
    assert outputs.with_load([Output("docker", dest="f")])[1] == Output("image", load=True)


def test_tags_name_every_image_output() -> None:
    made = outputs.with_names(
        [Output("image", names=("other",)), Output("oci", dest="f"), Output("local", dest="x")],
        ["app", "localhost:5000/app:1"],
    )
    names = ("docker.io/library/app:latest", "localhost:5000/app:1")
    assert [output.names for output in made] == [names, names, ()]


def test_without_tags_the_output_names_itself() -> None:
    (made,) = outputs.with_names([Output("image", names=("ghcr.io/a/b",))], [])
    assert made.names == ("ghcr.io/a/b:latest",)


def test_a_push_needs_a_name() -> None:
    with pytest.raises(UsageError, match="tag is needed when pushing to registry"):
        outputs.with_names([Output("image", push=True)], [])


def test_a_push_by_digest_has_no_tag() -> None:
    output = Output("image", push=True, push_by_digest=True, names=("ghcr.io/a/b",))
    assert outputs.with_names([output], [])[0].names == ("ghcr.io/a/b",)
    with pytest.raises(UsageError, match=r"can't push tagged ref ghcr\.io/a/b:1 by digest"):
        outputs.with_names([output], ["ghcr.io/a/b:1"])


def test_a_bad_tag_is_told_with_its_reason() -> None:
    with pytest.raises(UsageError) as caught:
        outputs.complete_tag("Repo/App")
    assert caught.value.what == 'invalid tag "Repo/App": invalid reference format'
    assert caught.value.hint


def test_deleting_is_for_directories_below_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "here/link").symlink_to("../there")
    monkeypatch.chdir(tmp_path / "here")
    outputs.check_deletes(outputs.parse(["type=local,dest=out,mode=delete", "../anywhere"]))
    for dest in (".", "..", "../there", "link", str(tmp_path)):
        made = outputs.parse([f"type=local,dest={dest},mode=delete"])
        with pytest.raises(UsageError, match="requires --allow=buildx"):
            outputs.check_deletes(made)
