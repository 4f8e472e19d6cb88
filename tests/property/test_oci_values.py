"""Laws that hold for every reference, platform and document."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from viaduct.base.errors import ContentError, PlatformError, UsageError
from viaduct.oci import digest as digests
from viaduct.oci import models, platform, reference
from viaduct.oci.models import Manifest
from viaduct.oci.platform import Platform

component = st.from_regex(r"[a-z0-9]{1,5}((\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}", fullmatch=True)
paths = st.lists(component, min_size=1, max_size=4).map("/".join)
domains = st.from_regex(
    r"([a-zA-Z0-9]{1,8}(\.[a-zA-Z0-9][a-zA-Z0-9-]{0,4}[a-zA-Z0-9]){1,2}|localhost|\[:[0-9a-f:]{2,12}\])"
    r"(:[0-9]{1,5})?",
    fullmatch=True,
)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
hashes = st.binary(max_size=8).map(digests.of)


@given(domains, paths, st.none() | tags, st.none() | hashes)
def test_a_reference_of_the_grammar_is_split_into_its_parts(
    domain: str, path: str, tag: str | None, digest: str | None
) -> None:
    text = f"{domain}/{path}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    ref = reference.parse(text)
    assert (ref.domain, ref.path, ref.tag, ref.digest) == (domain, path, tag or "", digest)
    assert str(ref) == text
    assert reference.parse(ref.familiar) == ref


@given(st.text(st.sampled_from("aA0./:@-_[]%\n "), max_size=24) | st.text(max_size=12))
def test_any_text_is_a_reference_or_a_usage_error(text: str) -> None:
    try:
        ref = reference.parse(text)
    except UsageError:
        return
    assert reference.parse(str(ref)) == ref
    assert re.fullmatch(r"[a-z0-9._/-]+", ref.path)
    assert ".." not in ref.path.split("/")
    assert not ref.path.startswith(("/", "."))


names = st.sampled_from(
    "linux windows darwin amd64 x86_64 arm arm64 aarch64 armhf armel 386 i386 riscv64 v1 v2 v3 v5 "
    "v6 v7 v8 v8.1 v8.9 v9 v9.3 8 7 9 unknown".split()
)
systems = st.sampled_from("linux windows darwin macos freebsd unknown".split())
platforms = st.builds(
    Platform, systems, names, st.just("") | names, os_version=st.just(""), os_features=st.just(())
)


@given(platforms)
def test_normal_form_is_a_fixed_point_and_reads_back(value: Platform) -> None:
    normal = platform.normalize(value)
    assert platform.normalize(normal) == normal
    assert platform.parse(str(normal), local=normal) == normal


@given(platforms)
def test_every_platform_serves_itself_first(value: Platform) -> None:
    served = platform.compatible(value)
    assert served[0] == platform.normalize(value)
    assert len(set(served)) == len(served)


@given(platforms, st.lists(st.none() | platforms, max_size=6))
def test_the_choice_is_the_earliest_of_what_is_compatible(
    wanted: Platform, offered: list[Platform | None]
) -> None:
    order = list(platform.compatible(wanted))
    ranks = [
        order.index(platform.normalize(p)) if p and platform.normalize(p) in order else 99
        for p in offered
    ]
    chosen = platform.best(wanted, offered)
    if min(ranks, default=99) == 99:
        assert chosen is None
    else:
        assert chosen == ranks.index(min(ranks))


@given(st.text(max_size=20) | st.text(st.sampled_from("linuxarm64/v8().+%"), max_size=20))
def test_any_text_is_a_platform_or_a_platform_error(text: str) -> None:
    try:
        value = platform.parse(text)
    except PlatformError:
        return
    assert platform.normalize(value) == value


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                "schemaVersion mediaType config layers digest size annotations platform".split()
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_any_json_is_a_manifest_or_a_content_error(value: object) -> None:
    import msgspec

    try:
        read = models.decode(msgspec.json.encode(value), Manifest)
    except ContentError:
        return
    assert models.decode(models.encode(read), Manifest) == read
