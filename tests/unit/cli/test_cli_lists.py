from __future__ import annotations

import json

import pytest

from viaduct.base.errors import UsageError
from viaduct.cli import builder_list, image_list, usage_list
from viaduct.cli.builder_list import BuilderState, NodeState, platform_text
from viaduct.cli.image_list import StoredImage
from viaduct.cli.listing import aligned
from viaduct.oci import digest, reference
from viaduct.store.keep import Record

NOW = 1_800_000_000.0
ID = str(digest.of(b"image"))
SHORT = ID[7:19]
IMAGES = [
    StoredImage(
        ID,
        str(digest.of(b"index")),
        reference.parse("localhost:5000/app:1"),
        NOW - 3600 * 5,
        72_789_123,
        ("linux/amd64", "linux/arm64"),
    ),
    StoredImage(str(digest.of(b"old")), "", None, NOW - 86400 * 30, 512),
    StoredImage(ID, "", reference.parse("alpine"), NOW - 60, 7_000_000, ("linux/amd64",)),
]


def test_columns_are_at_least_ten_wide_with_three_spaces_between() -> None:
    assert aligned([["A", "B"], ["a long cell", "x"], ["y"]]) == (
        "A             B\na long cell   x\ny\n"
    )
    assert aligned([["A", "B"]]) == "A         B\n"
    assert aligned([]) == ""


def test_images_are_listed_newest_first() -> None:
    old = str(digest.of(b"old"))[7:19]
    assert image_list.render(IMAGES, NOW) == (
        "REPOSITORY           TAG       IMAGE ID       CREATED              SIZE      PLATFORMS\n"
        f"alpine               <none>    {SHORT}   About a minute ago   7MB       linux/amd64\n"
        f"localhost:5000/app   1         {SHORT}   5 hours ago          72.8MB    "
        "linux/amd64, linux/arm64\n"
        f"<none>               <none>    {old}   4 weeks ago          512B\n"
    )


def test_ids_alone_are_each_printed_once() -> None:
    assert image_list.render(IMAGES, NOW, quiet=True).splitlines() == [
        SHORT,
        str(digest.of(b"old"))[7:19],
    ]
    assert image_list.render(IMAGES[:1], NOW, quiet=True, no_trunc=True) == f"{ID}\n"


def test_images_can_be_formatted() -> None:
    form = r"{{.Repository}}:{{.Tag}}\t{{.Size}}"
    assert image_list.render(IMAGES[:1], NOW, form=form) == "localhost:5000/app:1\t72.8MB\n"
    table = image_list.render(IMAGES[:1], NOW, form=r"table {{.Tag}}\t{{.CreatedSince}}")
    assert table == "TAG       CREATED\n1         5 hours ago\n"
    (line,) = image_list.render(IMAGES[:1], NOW, form="json").splitlines()
    assert json.loads(line)["Repository"] == "localhost:5000/app"
    assert "DIGEST" in image_list.render(IMAGES, NOW, digests=True).splitlines()[0]


def test_a_wrong_column_is_told() -> None:
    with pytest.raises(UsageError, match="can't evaluate field Repo in type image"):
        image_list.render(IMAGES, NOW, form="{{.Repo}}")


BUILDERS = [
    BuilderState("broken", "", error="no such file"),
    BuilderState(
        "multi-builder",
        "docker-container",
        (
            NodeState(
                "multi-builder0",
                "local",
                "running",
                "v1",
                ("linux/amd64", "linux/amd64/v2", "linux/arm64"),
            ),
        ),
        current=True,
        last_activity=NOW,
    ),
    BuilderState(
        "default", "docker", (NodeState("default", "default", "running", "", ("linux/amd64",)),)
    ),
]


def test_builders_are_listed_as_in_the_guide() -> None:
    assert builder_list.render(BUILDERS) == (
        "NAME/NODE          DRIVER/ENDPOINT    STATUS    PLATFORMS\n"
        "multi-builder *    docker-container\n"
        "  multi-builder0     local            running   linux/amd64 (+2), linux/arm64\n"
        "default            docker\n"
        "  default            default          running   linux/amd64\n"
        "broken                                error\n"
    )


def test_builders_as_json_have_one_line_each() -> None:
    lines = [json.loads(line) for line in builder_list.render(BUILDERS, form="json").splitlines()]
    assert [line["Name"] for line in lines] == ["multi-builder", "default", "broken"]
    assert lines[0]["Nodes"][0]["Platforms"] == ["linux/amd64", "linux/amd64/v2", "linux/arm64"]
    assert lines[0]["Current"] is True
    assert lines[2]["Err"] == "no such file"


def test_a_template_gives_a_line_for_each_builder_and_node() -> None:
    assert builder_list.render(BUILDERS, form="{{.Name}}").splitlines() == [
        "multi-builder",
        "multi-builder0",
        "default",
        "default",
        "broken",
    ]


def test_what_is_broken_is_complained_about() -> None:
    node = NodeState("n0", "e", "error", error="gone")
    assert builder_list.complaints([*BUILDERS, BuilderState("n", "remote", (node,))]) == [
        "Cannot load builder broken: no such file",
        "Failed to get status for n (n0): gone",
    ]


@pytest.mark.parametrize(
    ("detected", "fixed", "most", "text"),
    [
        ("linux/amd64 linux/arm64", "", 4, "linux/amd64, linux/arm64"),
        ("linux/amd64 linux/amd64/v2 linux/386", "", 0, "linux/amd64, linux/amd64/v2, linux/386"),
        ("linux/riscv64 linux/arm64 linux/amd64 linux/amd64/v2 linux/arm/v7 linux/s390x", "", 3,
         "linux/amd64 (+2), linux/arm64, linux/arm/v7, (2 more)"),
        ("linux/amd64 linux/386 linux/mips64", "", 4, "linux/amd64, linux/mips64, linux/386"),
        ("linux/amd64", "linux/arm64", 4, "linux/amd64, linux/arm64*"),
        ("", "", 4, ""),
    ],
)  # fmt: skip
def test_platforms_are_cut_to_the_well_known(
    detected: str, fixed: str, most: int, text: str
) -> None:
    assert platform_text(detected.split(), fixed.split(), most=most) == text


RECORDS = [
    Record(
        id="aaa",
        size=3_071_000,
        created=NOW - 100,
        last_used=NOW - 40,
        uses=2,
        parents=("p",),
        description="mount / from",
    ),
    Record(
        id="bbb",
        size=1_000,
        created=NOW,
        in_use=True,
        mutable=True,
        shared=True,
        type="internal",
    ),
]


def test_usage_has_marks_and_sums() -> None:
    assert usage_list.render(RECORDS, NOW) == (
        "ID        RECLAIMABLE   SIZE      LAST ACCESSED\n"
        "aaa       true          3.071MB   40 seconds ago\n"
        "bbb*      false         1kB*\n"
        "Shared:\t\t1kB\nPrivate:\t3.071MB\nReclaimable:\t3.071MB\nTotal:\t\t3.072MB\n"
    )


def test_filtered_or_formatted_usage_has_no_sums() -> None:
    assert "Total" not in usage_list.render(RECORDS, NOW, filtered=True)
    assert (
        usage_list.render(RECORDS, NOW, form="{{.ID}} {{.Type}}") == "aaa regular\nbbb internal\n"
    )


def test_pretty_usage_shows_every_property() -> None:
    text = usage_list.render(RECORDS[:1], NOW, form="pretty")
    assert "Parents:\n - p\n" in text
    assert "Description:  mount / from\n" in text
    assert "Last used:    40 seconds ago\n" in text
    assert text.endswith("Total:\t\t3.071MB\n")


def test_what_a_step_is_called_does_not_drive_the_terminal() -> None:
    record = Record(id="a", description="RUN echo \x1b[2J\n  hello")
    assert "Description:  RUN echo hello\n" in usage_list.render([record], NOW, form="pretty")
