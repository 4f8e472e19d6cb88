#!/usr/bin/env bash
# Fetches Debian packages of any architecture and prints the paths of the .deb files, one a line.
#
#   scripts/debs.sh ARCH PACKAGE…                      these packages alone
#   scripts/debs.sh --with-dependencies ARCH PACKAGE…  these and all that they need, from nothing
#
# ARCH is Debian's name (amd64, arm64). PACKAGE may be an apt pattern such as '?essential'. Nothing is
# installed and the machine's own apt and dpkg configuration stays untouched: apt runs on a private
# state in .work/apt/ARCH, with the machine's sources and keys, as whoever calls. What was fetched
# once is not fetched again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

whole=
if [ "${1:-}" = --with-dependencies ]; then
    whole=yes
    shift
fi
if [ $# -lt 2 ]; then
    echo "usage: scripts/debs.sh [--with-dependencies] ARCH PACKAGE…" >&2
    exit 2
fi
arch=$1
shift

if ! command -v apt-get >/dev/null; then
    echo "debs: apt-get is not here; Debian packages are fetched with it" >&2
    exit 1
fi

state=$PWD/.work/apt/$arch
mkdir -p "$state/lists/partial" "$state/archives/partial"
exec 9>"$state/lock"
flock 9

touch "$state/status"
cat >"$state/apt.conf" <<EOF
// Hooks of the machine are for the machine's own packages.
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Invoke;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Architectures;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
// Root would otherwise hand the download to a user who may not write here.
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State "$state";
Dir::State::status "$state/status";
Dir::State::lists "$state/lists";
Dir::Cache "$state";
Dir::Cache::archives "$state/archives";
Dir::Log "$state";
EOF

apt() { apt-get -c "$state/apt.conf" -qq "$@"; }
get() {
    if [ $whole ]; then apt install --download-only -y "$@"; else apt download "$@"; fi
}

# Prints the paths that the packages have once they are here. apt leaves out of its answer what it
# finds in its archive or in the current directory, so both are an empty one.
paths() {
    (cd "$state/none" && get --print-uris -o Dir::Cache::archives="$state/none" "$@") |
        awk -v dir="$state/archives/" '/^\x27/ { print dir $2 }'
}

here() { [ -s "$1" ] && xargs -d '\n' ls -d -- <"$1" >/dev/null 2>&1; }

fetch() {
    paths "$@" >"$answer.new" || return
    here "$answer.new" || (cd "$state/archives" && get "$@" >&2) || return
    here "$answer.new" && mv "$answer.new" "$answer"
}

# The answer to a question asked before needs no apt at all.
mkdir -p "$state/none/partial" "$state/answers"
answer=$state/answers/$(printf '%s\n' "$whole" "$@" | sha256sum | cut -c1-16)
if ! here "$answer"; then
    # The second try is for lists that are missing or name versions the archive no longer has. One
    # source of several that fails to answer is no reason to give up.
    fetch "$@" 2>/dev/null || {
        apt update || true
        fetch "$@"
    } || {
        echo "debs: could not fetch $* for $arch; do this machine's apt sources offer $arch?" >&2
        exit 1
    }
fi
cat "$answer"
