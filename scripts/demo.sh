#!/usr/bin/env bash
# Shows the whole road on this machine, with no Docker daemon and nothing from the internet but
# Debian packages: a registry, a two-platform base image, a two-platform build with push, a look at
# what was pushed, and both variants pulled and run. Leaves nothing behind.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/viaduct-demo.XXXXXX")
registry=
cleanup() {
    if [ -n "$registry" ]; then
        kill "$registry" 2>/dev/null || true
        wait "$registry" 2>/dev/null || true
    fi
    # What a rootless build unpacked may belong to sub-ids, which only a user namespace may delete.
    rm -rf "$work" 2>/dev/null || unshare --map-root-user --map-auto rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A store and a configuration of its own: the demo neither sees nor changes the user's.
export VIADUCT_HOME=$work/home DOCKER_CONFIG=$work/docker
unset DOCKER_DEFAULT_PLATFORM SOURCE_DATE_EPOCH

bold= plain=
if [ -t 1 ]; then bold=$(printf '\033[1m') plain=$(printf '\033[0m'); fi
step() { printf '\n%s== %s%s\n' "$bold" "$*" "$plain"; }
viaduct() {
    printf '%s$ viaduct %s%s\n' "$bold" "$*" "$plain"
    .venv/bin/viaduct "$@"
}

step "A registry of its own, on this machine only"
port=$(.venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
at=localhost:$port
mkdir "$work/registry"
printf '%s$ viaduct registry serve --addr 127.0.0.1:%s --root DIR &%s\n' "$bold" "$port" "$plain"
.venv/bin/viaduct registry serve --addr "127.0.0.1:$port" --root "$work/registry" \
    >"$work/registry.log" 2>&1 &
registry=$!
for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
    kill -0 "$registry" 2>/dev/null || break
    sleep 0.1
done
if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    cat "$work/registry.log" >&2
    echo "demo: the registry did not start" >&2
    exit 1
fi

step "A base image for two architectures, from Debian's busybox-static packages"
mkdir -p "$work/base/rootfs"
for arch in amd64 arm64; do
    scripts/busybox-rootfs.sh "$arch" "$work/base/rootfs/$arch"
done
cat >"$work/base/Dockerfile" <<'EOF'
FROM scratch
ARG TARGETARCH
COPY rootfs/$TARGETARCH/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["sh"]
EOF
viaduct build --platform linux/amd64,linux/arm64 -t "$at/base:1" --push "$work/base"

step "The example: one Dockerfile, two platforms, one pushed image"
viaduct build --platform linux/amd64,linux/arm64 --build-arg "BASE=$at/base:1" \
    -t "$at/hello:1" --push examples/hello

step "What was pushed"
viaduct imagetools inspect "$at/hello:1"

for pair in amd64:x86_64 arm64:aarch64; do
    platform=linux/${pair%%:*} machine=${pair##*:}
    step "The $platform variant, pulled and run"
    viaduct pull --platform "$platform" "$at/hello:1"
    viaduct run --rm --platform "$platform" "$at/hello:1" uname -m | tee "$work/said"
    if ! grep -qx "$machine" "$work/said"; then
        echo "demo: expected $machine from the $platform variant" >&2
        exit 1
    fi
    viaduct run --rm --platform "$platform" "$at/hello:1"
done

step "Done"
echo "Built, pushed, inspected and run on this machine; the registry and the store are gone again."
