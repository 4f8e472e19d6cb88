"""The checks for several platforms find mistakes and leave alone what was done on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from viaduct.dockerfile.lint.context import BaseFacts, Binary, LintContext

Said = Callable[..., list[str]]


def hardcoded(said: Said, body: str, **more: str) -> list[str]:
    return said(f"FROM debian:12\n{body}", rule="HardcodedArchitecture", **more)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "RUN curl -O https://example.com/a-linux-amd64.tgz",
            'URL "https://example.com/a-linux-amd64.tgz" fetches amd64 for every platform',
        ),
        ("RUN wget http://example.com/Linux_ARM64/a", "fetches ARM64 for every platform"),
        ("ADD https://example.com/a-armv7.zip /", "fetches armv7 for every platform"),
        ("RUN apt-get install -y libc6:i386", 'Package "libc6:i386" is for i386 only'),
        ("RUN npm install @esbuild/linux-x64", 'Package "@esbuild/linux-x64" is for x64 only'),
        ("RUN dnf install -y glibc.x86_64", 'Package "glibc.x86_64" is for x86_64 only'),
        (
            "COPY --from=x /usr/lib/aarch64-linux-gnu/libz.so /lib/",
            'Path "/usr/lib/aarch64-linux-gnu/libz.so" exists on aarch64 only',
        ),
        ("ENV GOARCH=arm64", "GOARCH=arm64 compiles for arm64 on every platform"),
        ("RUN GOOS=linux GOARCH=amd64 go build", "GOARCH=amd64 compiles for amd64"),
        ("RUN export GOARCH=amd64; go build", "GOARCH=amd64 compiles for amd64"),
        (
            "RUN cargo build --target x86_64-unknown-linux-musl",
            'Target triple "x86_64-unknown-linux-musl" stands for x86_64 on every platform',
        ),
        (
            "RUN crane export --platform=linux/amd64 alpine",
            '"--platform=linux/amd64" asks for amd64 on every platform',
        ),
        ("RUN dotnet publish -r linux-x64", '"linux-x64" says x64 on every platform'),
        ("ARG ARCH=amd64", '"ARCH=amd64" says amd64 on every platform'),
        ("ENV FILE=tool_linux_64bit.zip", "says linux_64bit on every platform"),
        ('ENTRYPOINT ["/app-linux-amd64"]', 'Path "/app-linux-amd64" exists on amd64 only'),
        ("COPY --from=amd64/busybox /bin/sh /", 'Image "amd64/busybox" is for amd64 only'),
        (
            'RUN echo "deb [arch=amd64 signed-by=/k] https://example.com x y" > /etc/apt/x.list',
            "says amd64 on every platform",
        ),
        ('RUN ["/bin/sh", "-c", "curl -O https://example.com/a-x86_64"]', "fetches x86_64"),
        ("RUN <<EOF\nset -e\ncurl -O https://example.com/a-x86_64\nEOF", "fetches x86_64"),
        ("RUN <<EOF bash\ncurl -O https://example.com/a-x86_64\nEOF", "fetches x86_64"),
        ("RUN curl https://example.com/a-x86_64 https://example.com/b-x86_64", "(and 1 more"),
    ],
)
def test_one_architecture_is_found(body: str, expected: str, said: Said) -> None:
    found = hardcoded(said, body)
    assert len(found) == 1
    assert expected in found[0]


@pytest.mark.parametrize(
    "body",
    [
        # conditions
        'RUN case "$x" in amd64) curl -O https://e.com/a-x64;; *) exit 1;; esac',
        "RUN if [ $(uname -m) = x86_64 ]; then apt install a:amd64; else apt install b; fi",
        'RUN if test "$TARGETARCH" != arm64; then curl -O https://e.com/a-x86_64; fi',
        "RUN [[ $(arch) == x86_64 ]] && curl -O https://e.com/a-x86_64",
        "RUN a=$(case $TARGETARCH in (amd64) echo x86_64;; esac) && curl https://e.com/$a",
        "RUN <<EOF\nif [ $TARGETARCH = amd64 ]\nthen\n  curl -O https://e.com/a-x86_64\nfi\nEOF",
        # several architectures
        "RUN for a in amd64 arm64 s390x; do make GOARCH=$a; done",
        "RUN make linux-amd64 && make linux-arm64",
        "RUN GOARCH=amd64 make\nRUN GOARCH=arm64 make",
        "COPY --from=b /out/amd64/app /amd64\nCOPY --from=b /out/arm64/app /arm64",
        "RUN rustup target add x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu",
        # said on purpose
        "ARG SHA_AMD64=x\nENV URL_X86_64=https://example.com/a-x86_64",
        "ARG URL=https://e.com/a-amd64\nRUN if [ $TARGETARCH = amd64 ]; then curl $URL; fi",
        "RUN curl -O https://e.com/a-${TARGETARCH:-amd64}",
        "RUN curl -O https://e.com/a-${ARCH/x86_64/amd64}",
        # not this image's machine code
        "RUN GOOS=windows GOARCH=amd64 go build",
        "ENV GOOS=darwin GOARCH=arm64",
        "RUN curl -O https://e.com/a-darwin-arm64",
        "RUN apt-get install gcc-aarch64-linux-gnu g++-x86-64-linux-gnu crossbuild-essential-arm64",
        "RUN apt-get install qemu-system-x86_64 && cp /usr/bin/qemu-aarch64-static /x",
        "COPY patches/fix-arm64.patch /src/",
        # text
        'RUN echo "for amd64 only" && sed -i s/amd64/x/ y && grep -q x86_64 z || true',
        "RUN true # curl https://e.com/a-amd64",
        "# curl https://e.com/a-amd64\nRUN true",
        "LABEL arch=amd64",
        "RUN cat > /x <<EOF\ncurl https://e.com/a-amd64\nEOF",
        # words that only look like one
        "RUN dpkg --add-architecture i386 && apt-get update\nRUN apt-get install -y libc6:i386",
        "RUN curl -O https://e.com/samd64/arm64x/0x64/i3861/harm64",
        "RUN rm -rf /usr/lib/x86_64-linux-gnu/doc",
        # powershell
        'SHELL ["powershell", "-Command"]\nRUN Invoke-WebRequest https://e.com/a-amd64',
    ],
)
def test_what_chooses_or_only_mentions_an_architecture_is_left_alone(body: str, said: Said) -> None:
    assert hardcoded(said, body) == []


@pytest.mark.parametrize(
    "text",
    [
        "FROM debian AS build-arm64\nRUN curl -O https://e.com/a-arm64",
        "FROM debian AS x-386\nFROM x-386\nRUN curl -O https://e.com/a-i686",
        "FROM --platform=linux/amd64 debian\nRUN curl -O https://e.com/a-amd64",
        "FROM mcr.example.com/windows/nanoserver\nRUN curl -O https://e.com/a-amd64",
        "# escape=`\nFROM servercore\nRUN curl -O https://e.com/a-amd64",
    ],
)
def test_stages_for_one_architecture_may_name_it(text: str, said: Said) -> None:
    assert said(text, rule="HardcodedArchitecture") == []


@pytest.mark.parametrize("name", ["Dockerfile.arm64", "docker/amd64/Dockerfile", "x86_64.docker"])
def test_files_for_one_architecture_may_name_it(name: str, said: Said) -> None:
    assert hardcoded(said, "RUN curl -O https://e.com/a-arm64", name=name) == []


def test_an_image_for_one_architecture_is_one_finding(said: Said) -> None:
    text = "FROM arm32v7/debian\nRUN curl -O https://e.com/a-armhf\nENV B=armhf"
    assert said(text, rule="HardcodedArchitecture") == [
        'HardcodedArchitecture: Image "arm32v7/debian" is for arm32v7 only (line 1)'
    ]


def test_a_fetched_file_is_reported_once(said: Said) -> None:
    body = """RUN curl -O https://e.com/a-amd64.tar.gz && \\
    tar xzf a-amd64.tar.gz && \\
    mv a-amd64/bin/* /usr/bin/
RUN ln -s /opt/a-amd64 /opt/a
"""
    assert [line.rpartition("line ")[2] for line in hardcoded(said, body)] == ["2)"]


def test_the_place_is_the_line_and_column_of_the_architecture(
    checked: Callable[..., object],
) -> None:
    report = checked(
        "FROM a\nRUN true && \\\n  # why\n  curl 'https://e.com/x-amd64' && \\\n  true\n"
    )
    (finding,) = report.findings  # type: ignore[attr-defined]  # the fixture's report
    where = finding.where
    assert (where.start, where.end, where.column) == (4, 4, 25)


def test_the_place_in_a_here_document_is_its_line(checked: Callable[..., object]) -> None:
    report = checked("FROM a\nRUN <<-EOF bash\n\tset -e\n\tcurl https://e.com/x-amd64\n\tEOF\n")
    (finding,) = report.findings  # type: ignore[attr-defined]  # the fixture's report
    assert (finding.where.start, finding.where.column) == (4, 23)


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("RUN echo $TARGETARCH ${TARGETARCH} $TARGETOS", ["TARGETARCH", "TARGETOS"]),
        ("RUN GOARCH=${TARGETARCH:-amd64} make", ["TARGETARCH"]),
        ("RUN x=$(echo $(printf %s $BUILDARCH))", ["BUILDARCH"]),
        ("RUN <<EOF\necho $TARGETPLATFORM\nEOF", ["TARGETPLATFORM"]),
        ("RUN bash <<EOF\necho $TARGETPLATFORM\nEOF", ["TARGETPLATFORM"]),
        ("RUN if [ $TARGETARCH = arm64 ]; then true; fi", ["TARGETARCH"]),
        ("RUN case $TARGETARCH in x) true;; esac", ["TARGETARCH"]),
        ("COPY $TARGETARCH/x /", ["TARGETARCH"]),
        ("COPY --chown=$TARGETOS x /", ["TARGETOS"]),
        ("ENV A=$TARGETVARIANT", ["TARGETVARIANT"]),
        ("WORKDIR /$TARGETARCH", ["TARGETARCH"]),
        ("RUN echo $TARGETSTAGE $TARGETARCHES", []),
        ("ARG TARGETARCH\nRUN echo $TARGETARCH", []),
        ("ENV TARGETARCH=x\nRUN echo $TARGETARCH", []),
        ("RUN TARGETARCH=$(uname -m); echo $TARGETARCH", []),
        ("RUN read TARGETARCH < /x && echo $TARGETARCH", []),
        ("RUN for TARGETARCH in a b; do echo $TARGETARCH; done", []),
        ("RUN echo '$TARGETARCH' \\$TARGETARCH", []),
        ("RUN cat > x <<EOF\n$TARGETARCH\nEOF", []),
        ("RUN echo ${TARGETOS:-linux}", []),
        ("CMD echo $TARGETARCH", []),
    ],
)
def test_undeclared_platform_arguments(body: str, names: list[str], said: Said) -> None:
    found = said(f"ARG TARGETARCH\nFROM debian\n{body}", rule="UndeclaredPlatformArg")
    assert [line.split("$")[1].split()[0] for line in found] == names


def test_an_argument_declared_below_its_use_is_named_with_its_line(said: Said) -> None:
    assert said("FROM a\nRUN echo $TARGETARCH\nARG TARGETARCH", rule="UndeclaredPlatformArg") == [
        "UndeclaredPlatformArg: $TARGETARCH is empty here: ARG TARGETARCH comes later, on line 3 "
        "(line 2)"
    ]


def test_an_argument_of_the_base_image_or_stage_is_declared(said: Said) -> None:
    text = "FROM a\nRUN echo $TARGETARCH"
    known = LintContext(bases={0: BaseFacts(environment={"TARGETARCH": "x"})})
    assert said(text, known) == []
    assert said("FROM a AS b\nARG TARGETARCH\nFROM b\nRUN echo $TARGETARCH") == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("FROM a\nARG TARGETARCH=amd64", ['"amd64"']),
        ('FROM a\nARG TARGETVARIANT=""', ["empty"]),
        ("ARG TARGETPLATFORM=linux/amd64\nFROM a", ['"linux/amd64"']),
        ("FROM scratch\nARG TARGETARCH=${TARGETARCH:-amd64}", ['"amd64"']),
        ("ARG TARGETARCH=${TARGETARCH:-amd64}\nFROM a", []),
        ("FROM a\nARG TARGETARCH\nARG TARGETARCH=${TARGETARCH:-amd64}", []),
        ("FROM a\nARG TARGETARCH TARGETOS=linux ARCH=amd64", []),
    ],
)
def test_a_default_of_a_platform_argument_wins(text: str, shown: list[str], said: Said) -> None:
    line = 1 + text[: text.find("ARG TARGET")].count("\n")
    found = said(text, rule="PlatformArgDefault")
    assert [one.partition("it is ")[2] for one in found] == [
        f"{one} on every platform (line {line})" for one in shown
    ]


@pytest.mark.parametrize(
    ("text", "target", "count"),
    [
        ("FROM --platform=$BUILDPLATFORM a\nCMD x", "", 1),
        ("FROM --platform=${BUILDPLATFORM:-linux/amd64} a\nCOPY x /", "", 1),
        ("FROM --platform=linux/$BUILDARCH a\nCMD x", "", 1),
        ("FROM --platform=$BUILDPLATFORM a AS b\nFROM b\nCMD x", "", 1),
        ("FROM --platform=$BUILDPLATFORM a AS b\nCMD x\nFROM b", "", 1),
        ("FROM --platform=$BUILDPLATFORM a AS b\nCOPY . /src\nRUN make\nFROM b", "", 0),
        ("FROM --platform=$BUILDPLATFORM a AS b\nCOPY . /src\nFROM b\nRUN make", "", 1),
        ("FROM --platform=$BUILDPLATFORM a AS b\nCMD x\nFROM c", "b", 1),
        ("FROM --platform=$BUILDPLATFORM a AS b\nCMD x\nFROM c", "", 0),
        ("FROM --platform=$BUILDPLATFORM scratch\nCOPY x /", "", 0),
        ("FROM --platform=$BUILDPLATFORM a AS lint\nRUN --mount=target=. lint ./...", "", 0),
        ("FROM --platform=$BUILDPLATFORM a AS dev\nCOPY . /src", "", 0),
        ("FROM --platform=$BUILDPLATFORM a AS dev\nCOPY . /src", "dev", 1),
        ("FROM a\nCMD x", "", 0),
    ],
)
def test_final_stage_on_the_build_platform(text: str, target: str, count: int, said: Said) -> None:
    found = said(text, LintContext(target=target), rule="FinalStageOnBuildPlatform")
    assert len(found) == count


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("", "--platform=linux/arm64", True),
        ("--platform=$BUILDPLATFORM", "--platform=$TARGETPLATFORM", True),
        ("", "--platform=$BUILDPLATFORM", True),
        ("--platform=$BUILDPLATFORM", "--platform=${BUILDPLATFORM}", False),
        ("", "--platform=$TARGETPLATFORM", False),
        ("--platform=$BUILDPLATFORM", "", False),
    ],
)
def test_platform_of_a_stage_reference(first: str, second: str, found: bool, said: Said) -> None:
    text = f"FROM {first} a AS base\nFROM {second} base"
    assert bool(said(text, rule="PlatformFlagOnStage")) is found


def test_stage_reference_by_argument_is_seen(said: Said) -> None:
    text = "ARG from=base\nFROM a AS base\nFROM --platform=linux/arm64 $from"
    assert said(text, rule="PlatformFlagOnStage") == [
        'PlatformFlagOnStage: --platform=linux/arm64 has no effect: "base" is a stage, built for '
        "the target platform (line 3)"
    ]


@pytest.mark.parametrize(
    ("start", "found"),
    [
        ("FROM a@sha256:{}", True),
        ("FROM --platform=$BUILDPLATFORM a@sha256:{}", True),
        ("FROM --platform=linux/amd64 a@sha256:{}", False),
        ("FROM a@sha256:{} AS only-amd64", False),
    ],
)
def test_base_pinned_to_one_manifest(start: str, found: bool, said: Said) -> None:
    pinned = LintContext(bases={0: BaseFacts(is_single_manifest=True)})
    text = start.format("0" * 64)
    assert bool(said(text, pinned, rule="BasePinnedToPlatform")) is found
    assert said(text, rule="BasePinnedToPlatform") == []


@pytest.mark.parametrize(
    ("body", "wants"),
    [
        ("RUN curl https://e.com/helm-v3-linux-$(uname -m).tar.gz", "amd64"),
        ("RUN a=`uname -m`; curl https://e.com/v1/bin/linux/$a/kubectl", "amd64"),
        ("RUN GOARCH=$(uname -m) go build", "amd64"),
        ("ENV JAVA_HOME=/usr/lib/jvm/java-17-openjdk-$TARGETARCH", ""),
        ("RUN cargo build --target=$TARGETARCH-unknown-linux-gnu", "x86_64"),
        ("COPY --from=x /usr/lib/${TARGETARCH}-linux-gnu/a.so /", "x86_64"),
        ("RUN ls /usr/lib/$(dpkg --print-architecture)-linux-gnu", "x86_64"),
        ("RUN curl https://e.com/dist/v20/node-v20-linux-$TARGETARCH.tar.xz", "x64"),
        ("RUN curl https://github.com/mikefarah/yq/releases/download/v4/yq_linux_$(arch)", "amd64"),
        ("RUN curl https://github.com/nobody/knows/releases/download/v4/x_linux_$(arch)", ""),
        ("RUN curl https://e.com/helm-v3-linux-$TARGETARCH.tar.gz", ""),
        ("RUN a=$(uname -m | sed s/x86_64/amd64/); curl https://e.com/helm-v3-linux-$a.tar.gz", ""),
        (
            "RUN a=$(uname -m); [ $a = x86_64 ] && a=amd64; curl https://e.com/helm-v3-linux-$a.tar.gz",
            "",
        ),
        ("RUN curl https://e.com/helm-v3-linux-${TARGETARCH/amd64/x86_64}.tar.gz", ""),
    ],
)
def test_names_of_the_other_convention(body: str, wants: str, said: Said) -> None:
    text = f"FROM debian\nARG TARGETARCH\n{body}"
    found = said(text, rule="ArchitectureNamingMismatch")
    assert [one.partition("called ")[2].split()[0].strip(":") for one in found] == (
        [wants] if wants else []
    )


def test_only_the_names_that_differ_are_told(said: Said) -> None:
    url = "https://github.com/neovim/neovim/releases/download/stable/nvim-linux-$(uname -m).tar.gz"
    assert said(f"FROM debian\nRUN curl {url}") == [
        "ArchitectureNamingMismatch: `uname -m` gives aarch64 where it is called arm64: "
        f"…{url[-79:]} (line 2)"
    ]


def test_copied_programs_for_one_machine(said: Said) -> None:
    files = {
        "one": (Binary("bin/one", "arm64"),),
        "same": (Binary("a", "amd64"), Binary("b", "amd64")),
        "both": (Binary("a", "amd64"), Binary("b", "arm64")),
    }
    context = LintContext(binaries=lambda names: sum((files.get(n, ()) for n in names), ()))
    text = """
FROM a
ARG TARGETARCH
COPY one /
COPY same script /
COPY both /
COPY one-$TARGETARCH one /
COPY --from=b one /
FROM c AS d-arm64
COPY one /
"""
    assert said(text, context) == [
        'SingleArchBinaryCopied: "bin/one" is a program for arm64 only, copied into the image of '
        "every platform (line 3)",
        'SingleArchBinaryCopied: "a" and 1 more are programs for amd64 only, copied into the image '
        "of every platform (line 4)",
    ]
