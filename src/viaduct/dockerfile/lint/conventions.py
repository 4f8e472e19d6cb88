"""Which spelling of an architecture a name wants, as far as it is known.

The table lists names that have been made the same way for years: of toolchains and packages, and
of projects' release files. It only has to be right, not complete: a name that is not in it is
never complained about.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from viaduct.dockerfile.lint.words import HOLE


class Convention(NamedTuple):
    """What a way of naming calls the two machines that most images are built for."""

    amd64: str
    arm64: str


GO = Convention("amd64", "arm64")
KERNEL = Convention("x86_64", "aarch64")
NODE = Convention("x64", "arm64")
MIXED = Convention("x86_64", "arm64")

# How the name goes on around the architecture, which is written @ here. Every such name has the
# part before: looking for that spares most words the expression, and most builds its compilation.
_SHAPES = (
    (GO, "GOARCH=", r"^GOARCH=@$"),
    (GO, "arch=", r"\[(?:[^\]]* )?arch=@[\] ]"),
    (GO, "linux-", r"linux-(?:image|headers)-@$"),
    (GO, "/usr/lib/jvm/", r"/usr/lib/jvm/[\w.-]*openjdk-@(?:/|$)"),
    (
        KERNEL,
        "linux-",
        r"(?<![\w@-])@-(?:(?:unknown|pc|alpine|redhat)-)?linux-(?:gnu|musl)(?:\b|$)",
    ),
    (KERNEL, ".rpm", r"\.@\.rpm$"),
    (KERNEL, "/ld-", r"/lib/ld-musl-@\.so|/ld-linux-@\.so"),
    # The releases before took other names.
    (KERNEL, "/s6-overlay-", r"/s6-overlay-@\.tar\.xz$"),
    (KERNEL, "/dumb-init_", r"/dumb-init_[^/_]+_@$"),
    (KERNEL, "/Mini", r"/Mini(?:conda|forge|mamba)[^/]*-Linux-@\.sh$"),
    (KERNEL, "/awscli-exe-linux-", r"/awscli-exe-linux-@[^/]*\.zip$"),
    (KERNEL, "/linux/static/", r"/linux/static/\w+/@/docker-"),
    (KERNEL, "/cmake-", r"/cmake-[^/]*-linux-@\.(?:sh|tar\.gz)$"),
    (GO, "/bin/linux/", r"/bin/linux/@/kube(?:ctl|adm|let|-\w+)"),
    (GO, "/helm-v", r"/helm-v[^/]*-linux-@\.tar\.gz"),
    (GO, "/go", r"/go[^/]*\.linux-@\.tar\.gz"),
    (
        GO,
        "_linux_",
        r"/(?:terraform|vault|consul|packer|nomad|boundary|waypoint)_[^/]*_linux_@\.zip",
    ),
    (GO, "/release/linux-", r"/(?:minio|mc)/release/linux-@/"),
    (NODE, "/node-v", r"/node-v[^/]*-linux-@\.tar\.[gx]z"),
)

_PROJECTS = (
    (
        GO,
        "argoproj/argo-cd caddyserver/caddy cloudflare/cloudflared coder/code-server "
        "containerd/containerd containerd/nerdctl containernetworking/plugins coredns/coredns "
        "docker/buildx etcd-io/etcd FiloSottile/age fluxcd/flux2 getsops/sops gohugoio/hugo "
        "jwilder/dockerize krallin/tini kubernetes-sigs/cri-tools kubernetes-sigs/kind "
        "kubernetes-sigs/kustomize mikefarah/yq moby/buildkit mozilla/sops nats-io/nats-server "
        "opencontainers/runc prometheus/alertmanager prometheus/node_exporter "
        "prometheus/prometheus rclone/rclone restic/restic tianon/gosu traefik/traefik",
    ),
    (KERNEL, "BurntSushi/ripgrep docker/compose sharkdp/bat sharkdp/fd"),
    (NODE, "actions/runner PowerShell/PowerShell"),
    (MIXED, "hadolint/hadolint google/go-containerregistry neovim/neovim"),
)

_GITHUB = re.compile(r"://github\.com/([\w.-]+/[\w.-]+)/releases/")


def wanted(text: str) -> Convention | None:
    """The convention of a word in which one architecture was replaced by `HOLE`; None when it is
    not known."""
    for convention, part, shape in _SHAPES:
        if part in text and re.search(shape.replace("@", HOLE), text):
            return convention
    project = _GITHUB.search(text)
    if project is None or not _stands_alone(text):
        return None
    known = _projects().get(project[1].lower())
    # Debian's packages are called by Debian's names, whoever makes them.
    return None if text.endswith(".deb") and known is not GO else known


def _stands_alone(text: str) -> bool:
    """Whether the hole is a part of the name, not glued to letters (`${ARCH}v7`, `x${BITS}`)."""
    at = text.find(HOLE)
    return not (text[at - 1 : at].isalnum() or text[at + 1 : at + 2].isalnum())


@cache
def _projects() -> dict[str, Convention]:
    return {name.lower(): convention for convention, names in _PROJECTS for name in names.split()}
