"""Docker's checks say what users of the peers read, and keep quiet where the peers do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from viaduct.dockerfile.lint.context import BaseFacts, LintContext, SourceFacts
from viaduct.oci.platform import Platform

Said = Callable[..., list[str]]

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "FROM scratch AS Upper",
            ["StageNameCasing: Stage name 'Upper' should be lowercase (line 1)"],
        ),
        (
            "FROM scratch as base",
            ["FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"],
        ),
        (
            "from scratch AS base",
            ["FromAsCasing: 'AS' and 'from' keywords' casing do not match (line 1)"],
        ),
        ("from scratch as base", []),
        (
            "From scratch as base\nFROM scratch",
            [
                "ConsistentInstructionCasing: Command 'From' should match the case of the command "
                "majority (uppercase) (line 1)"
            ],
        ),
        (
            "FROM scratch\ncopy a /a\ncopy b /b",
            [
                "ConsistentInstructionCasing: Command 'FROM' should match the case of the command "
                "majority (lowercase) (line 1)"
            ],
        ),
        ("arg x=1\nFROM scratch", []),
        (
            "FROM scratch AS a\nFROM scratch AS A",
            [
                "StageNameCasing: Stage name 'A' should be lowercase (line 2)",
                'DuplicateStageName: Duplicate stage name "a", stage names should be unique '
                "(line 2)",
            ],
        ),
        (
            "FROM scratch AS context",
            [
                "ReservedStageName: Stage name should not use the same name as reserved stage "
                '"context" (line 1)'
            ],
        ),
        (
            "FROM scratch\nMAINTAINER me",
            [
                "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using "
                "label (line 2)"
            ],
        ),
        (
            "FROM scratch\nCMD run",
            [
                "JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended "
                "behavior related to OS signals (line 2)"
            ],
        ),
        (
            'FROM scratch AS a\nSHELL ["/bin/x"]\nFROM a\nENTRYPOINT run',
            [],
        ),
        (
            "FROM scratch\nENV a b\nLABEL c d",
            [
                'LegacyKeyValueFormat: "ENV key=value" should be used instead of legacy '
                '"ENV key value" format (line 2)',
                'LegacyKeyValueFormat: "LABEL key=value" should be used instead of legacy '
                '"LABEL key value" format (line 3)',
            ],
        ),
        (
            'FROM scratch\nCMD ["a"]\nCOPY x /x\nCMD ["b"]',
            [
                "MultipleInstructionsDisallowed: Multiple CMD instructions should not be used in "
                "the same stage because only the last one will be used (line 2)"
            ],
        ),
        ('FROM scratch AS a\nCMD ["a"]\nFROM a\nCMD ["b"]', []),
        (
            "FROM scratch\nWORKDIR app/",
            [
                'WorkdirRelativePath: Relative workdir "app/" can have unexpected results if the '
                "base image changes (line 2)"
            ],
        ),
        ("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub", []),
        ("FROM scratch\nWORKDIR /app\nWORKDIR sub", []),
        (
            "FROM --platform=linux/arm64 scratch",
            [
                "FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant "
                'value "linux/arm64" (line 1)'
            ],
        ),
        ("FROM --platform=linux/arm64 scratch AS my_arm64", []),
        ("FROM --platform=linux/arm64 scratch AS linux", []),
        (
            "FROM --platform=${TARGETPLATFORM} scratch",
            [
                "RedundantTargetPlatform: Setting platform to predefined ${TARGETPLATFORM} in FROM "
                "is redundant as this is the default behavior (line 1)"
            ],
        ),
        (
            "FROM scratch\nEXPOSE 80/TcP 127.0.0.1:80:81 [::1]:8080:8080 90",
            [
                "ExposeProtoCasing: Defined protocol '80/TcP' in EXPOSE instruction should be "
                "lowercase (line 2)",
                "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or "
                "host-port mapping, found '127.0.0.1:80:81' (line 2)",
                "ExposeInvalidFormat: EXPOSE instruction should not define an IP address or "
                "host-port mapping, found '[::1]:8080:8080' (line 2)",
            ],
        ),
    ],
)
def test_text_is_that_of_the_peers(text: str, expected: list[str], said: Said) -> None:
    assert said(text) == expected


def test_empty_continuation_is_reported_once_where_the_instruction_ends(said: Said) -> None:
    text = "FROM scratch\nCOPY a \\\n\n  b \\\n\n  /x\n"
    assert said(text) == ["NoEmptyContinuation: Empty continuation line (line 6)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch\nARG foo\nCOPY x$foo /", []),
        ("FROM scratch AS a\nARG foo=x\nFROM a\nCOPY $foo /", []),
        ("FROM scratch AS a\nARG foo\nFROM a\nCOPY $foo /", []),
        ("FROM scratch\nRUN echo $foo", []),
        ("FROM scratch\nCOPY $foo /\nARG foo=1", ["Usage of undefined variable '$foo' (line 2)"]),
        (
            "FROM scratch\nENV PATH=$PAHT:/x",
            ["Usage of undefined variable '$PAHT' (did you mean $PATH?) (line 2)"],
        ),
        (
            "FROM scratch\nARG DIR_A=a\nCOPY ${DIR_B:-x} /",
            ["Usage of undefined variable '$DIR_B' (did you mean $DIR_A?) (line 3)"],
        ),
        ("FROM scratch\nENV a=1 b=$a", ["Usage of undefined variable '$a' (line 2)"]),
        ("FROM scratch\nARG a=1 b=$a", []),
        ("FROM scratch\nCOPY '$a' \\$b /", []),
        ("FROM scratch\nCOPY <<EOF /x\n$a\nEOF", ["Usage of undefined variable '$a' (line 2)"]),
        ("FROM scratch\nCOPY <<'EOF' /x\n$a\nEOF", []),
        (
            "FROM scratch\nRUN --mount=type=cache,target=/c/$a true",
            ["Usage of undefined variable '$a' (line 2)"],
        ),
        ("FROM scratch AS a\nONBUILD ENV x=1\nFROM a\nCOPY $x /", []),
    ],
)
def test_undefined_variables(text: str, expected: list[str], said: Said) -> None:
    found = said(text, rule="UndefinedVar")
    assert found == [f"UndefinedVar: {one}" for one in expected]


def test_variables_of_the_base_image_count_when_they_are_known(said: Said) -> None:
    text = "FROM base\nCOPY $HOME_DIR $OTHER /"
    known = LintContext(bases={0: BaseFacts(environment={"HOME_DIR": "/h"})})
    assert said(text, known) == ["UndefinedVar: Usage of undefined variable '$OTHER' (line 2)"]
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ARG base=scratch\nFROM $base", []),
        ("FROM --platform=$BUILDPLATFORM scratch", []),
        ("ARG DEBUG\nFROM scratch${DEBUG}", []),
        (
            "FROM --platform=$BULIDPLATFORM scratch",
            ["FROM argument 'BULIDPLATFORM' is not declared (did you mean BUILDPLATFORM?)"],
        ),
        (
            "ARG tag=latest\nFROM busybox:${tag}${version}",
            ["FROM argument 'version' is not declared"],
        ),
    ],
)
def test_undeclared_arguments_in_from(text: str, expected: list[str], said: Said) -> None:
    line = text.count("\n") + 1
    found = said(text, rule="UndefinedArgInFrom")
    assert found == [f"UndefinedArgInFrom: {one} (line {line})" for one in expected]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ARG VERSION\nFROM busybox:$VERSION", "busybox:$VERSION"),
        ("ARG IMAGE\nFROM $IMAGE", "$IMAGE"),
        ('ARG SFX="box:"\nFROM busy${SFX}', "busy${SFX}"),
        ('ARG VERSION="latest"\nFROM busybox:${VERSION}', ""),
        ('ARG VARIANT=""\nFROM busybox:stable${VARIANT}', ""),
        ("ARG VARIANT\nFROM busybox:stable${VARIANT}", ""),
    ],
)
def test_default_image_name(text: str, shown: str, said: Said) -> None:
    given = LintContext(build_args={"VERSION": "1", "IMAGE": "busybox", "SFX": "box:1"})
    expected = (
        [
            f"InvalidDefaultArgInFrom: Default value for ARG {shown} results in empty or invalid "
            "base image name (line 2)"
        ]
        if shown
        else []
    )
    assert said(text, given, rule="InvalidDefaultArgInFrom") == expected


def test_secrets_are_known_by_their_names(said: Said) -> None:
    text = """
FROM scratch
ARG SECRET_PASSPHRASE
ENV password=bar secret=baz
ARG super_duper_secret_token=foo auth=bar
ENV apikey=bar sunflower=foo
ENV PUBLIC_KEY=
ARG SECRET_PASSPHRASE_FILE
ENV password_file=bar
ARG AUTH_MODULE_VERSION
ENV MONKEY=1 authority=x
# check=skip=SecretsUsedInArgOrEnv // it is only a demonstration
ENV password=bar
"""
    keys = [line.split('"')[1] for line in said(text)]
    assert keys == [
        "SECRET_PASSPHRASE",
        "password",
        "secret",
        "super_duper_secret_token",
        "auth",
        "apikey",
    ]


def test_base_image_of_another_platform(said: Said) -> None:
    text = "ARG base=example.com/x\nFROM ${base}:1\nFROM --platform=$BUILDPLATFORM y"
    context = LintContext(
        platform=ARM64,
        bases={0: BaseFacts(platform=AMD64), 1: BaseFacts(platform=AMD64, wanted=AMD64)},
    )
    assert said(text, context) == [
        'InvalidBaseImagePlatform: Base image example.com/x:1 was pulled with platform "linux/'
        'amd64", expected "linux/arm64" for current build (line 2)'
    ]


def test_images_that_are_only_read_from_have_a_platform_too(said: Said) -> None:
    text = "FROM scratch\nCOPY --from=tools:1 /t /t\nRUN --mount=from=other,target=/o x\n"
    sources = (
        SourceFacts(
            2, "tools:1", platform=Platform("windows", "amd64", "", "10.0.1"), wanted=AMD64
        ),
        SourceFacts(3, "other", platform=AMD64, wanted=AMD64),
    )
    assert said(text, LintContext(sources=sources)) == [
        'InvalidBaseImagePlatform: Base image tools:1 was pulled with platform "windows(10.0.1)/'
        'amd64", expected "linux/amd64" for current build (line 2)'
    ]


@pytest.mark.parametrize(
    ("trigger", "rule"),
    [
        ("ENTRYPOINT x", "JSONArgsRecommended"),
        ("WORKDIR x", "WorkdirRelativePath"),
        ("ENV a b", "LegacyKeyValueFormat"),
        ("EXPOSE 80/TCP", "ExposeProtoCasing"),
        ("LABEL a=$NOPE", "UndefinedVar"),
        ("CMD a", "JSONArgsRecommended"),
    ],
)
def test_triggers_of_a_stage_are_checked_where_they_run(
    trigger: str, rule: str, said: Said
) -> None:
    text = f"FROM scratch AS a\nONBUILD {trigger}\nFROM a\nLABEL b=c\n"
    found = said(text)
    assert [one.partition(":")[0] for one in found] == [rule]
    assert found[0].endswith("(line 3)")


def test_copy_of_an_ignored_file(said: Said) -> None:
    asked: list[str] = []

    def ignored(path: str) -> bool:
        asked.append(path)
        return path in ("out/app", ".")

    text = """
FROM scratch AS a
ARG dir=out
COPY ./$dir/app src /
ADD https://example.com/x .. . /
FROM a
COPY --from=a out/app /
"""
    assert said(text, LintContext(ignored=ignored)) == [
        'CopyIgnoredFile: Attempting to Copy file "out/app" that is excluded by .dockerignore '
        "(line 3)",
        'CopyIgnoredFile: Attempting to Add file "." that is excluded by .dockerignore (line 4)',
    ]
    assert asked == ["out/app", "src", "..", "."]


def test_a_build_looks_only_at_the_stages_that_it_needs(said: Said) -> None:
    text = """
FROM scratch AS unused
CMD one
FROM scratch AS tools
CMD two
FROM scratch AS base
CMD three
FROM base
COPY --from=tools /x /x
RUN --mount=from=4,target=/m true
FROM scratch
CMD four
"""
    lines = [one.rpartition("line ")[2] for one in said(text, LintContext(all_stages=False))]
    assert lines == ["11)"]
    target = LintContext(all_stages=False, target="3")
    assert [one.rpartition("line ")[2] for one in said(text, target)] == ["4)", "6)", "11)"]
    assert len(said(text)) == 4
