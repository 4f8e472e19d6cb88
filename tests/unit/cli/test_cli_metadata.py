from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from viaduct.base.errors import UsageError
from viaduct.base.events import Warned
from viaduct.cli import metadata
from viaduct.engine.request import BuildResult, BuiltImage
from viaduct.oci import digest, media
from viaduct.oci.models import Descriptor
from viaduct.oci.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = Descriptor(media_type=media.OCI_MANIFEST, digest=digest.of(b"m"), size=7)
INDEX = Descriptor(media_type=media.OCI_INDEX, digest=digest.of(b"i"), size=9)
ONE = BuiltImage(Platform("linux", "amd64"), MANIFEST, digest.of(b"c"))
TWO = BuiltImage(Platform("linux", "arm64"), MANIFEST, digest.of(b"d"))


def test_the_document_of_two_platforms_has_the_peers_keys() -> None:
    result = BuildResult(
        root=INDEX, images=(ONE, TWO), names=("docker.io/library/a:1", "b:2"), ref="xyz"
    )
    made = metadata.document(result, [], {}, builder="default/default0")
    document = json.loads(metadata.encode(made))
    assert document == {
        "buildx.build.ref": "default/default0/xyz",
        "containerimage.descriptor": {
            "mediaType": media.OCI_INDEX,
            "digest": INDEX.digest,
            "size": 9,
        },
        "containerimage.digest": INDEX.digest,
        "image.name": "docker.io/library/a:1,b:2",
    }
    assert list(document) == sorted(document)


def test_one_platform_also_has_a_config_digest() -> None:
    result = BuildResult(root=MANIFEST, images=(ONE,))
    document = metadata.document(result, [], {})
    assert document["containerimage.config.digest"] == ONE.config_digest


def test_the_file_is_indented_as_the_peers_indent_it() -> None:
    text = metadata.encode(metadata.document(BuildResult(root=MANIFEST), [], {})).decode()
    assert text.startswith('{\n  "containerimage.descriptor": {\n    "mediaType": ')


def test_warnings_are_listed_on_request() -> None:
    warning = Warned("look out", 1.0, rule="Rule")
    wanted = {"BUILDX_METADATA_WARNINGS": "true"}
    assert "buildx.build.warnings" not in metadata.document(BuildResult(), [warning], {})
    listed = metadata.document(BuildResult(), [warning], wanted)["buildx.build.warnings"]
    assert listed == [{"level": 1, "short": "UnVsZTogbG9vayBvdXQ="}]


def test_the_id_is_the_config_of_one_image_and_the_index_of_several() -> None:
    assert metadata.image_id(BuildResult(root=MANIFEST, images=(ONE,))) == ONE.config_digest
    assert metadata.image_id(BuildResult(root=INDEX, images=(ONE, TWO))) == INDEX.digest
    assert metadata.image_id(BuildResult()) == ""


def test_files_are_replaced_and_stale_ones_forgotten(tmp_path: Path) -> None:
    file = tmp_path / "id"
    metadata.write(str(file), b"one", "--iidfile")
    metadata.write(str(file), b"two", "--iidfile")
    assert file.read_bytes() == b"two"
    metadata.forget(str(file))
    metadata.forget(str(file))
    assert not file.exists()


def test_a_file_that_cannot_be_written_names_its_option(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write --iidfile"):
        metadata.write(str(tmp_path / "none" / "id"), b"x", "--iidfile")
