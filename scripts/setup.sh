#!/usr/bin/env bash
# Makes this checkout ready: missing Debian packages, a virtual environment in .venv with the locked
# dependencies, Viaduct itself in it. Quick and silent when nothing is to do.
#
#   scripts/setup.sh run     what building images needs (make setup, make demo)
#   scripts/setup.sh test    that, and what the test suite needs (make test)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

level=${1:-run}
case $level in run | test) ;; *)
    echo "usage: scripts/setup.sh [run|test]" >&2
    exit 2
    ;;
esac

# Debian keeps runc in sbin, which an ordinary user's PATH lacks.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() { printf 'setup: %s\n' "$*" >&2; }

# --- Debian packages -------------------------------------------------------------------------------

# One "command:package" each; a machine that has the command by other means needs no package.
run_needs=(runc:runc qemu-aarch64-static:qemu-user-static newuidmap:uidmap)
test_needs=(crun:crun skopeo:skopeo buildah:buildah umoci:umoci git:git ssh-agent:openssh-client tmux:tmux
    runuser:util-linux)
# Nice to have: installed along with the others, not insisted on.
extras=(crun)

find_python() {
    local candidate
    for candidate in /usr/bin/python3 python3 python3.14 python3.13 python3.12 python3.11; do
        # ensurepip is what Debian leaves out of python3 and keeps in python3-venv.
        if "$candidate" -c 'import ensurepip, sqlite3, ssl, sys; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

missing=()
needs=("${run_needs[@]}")
if [ "$level" = test ]; then needs+=("${test_needs[@]}"); fi
for need in "${needs[@]}"; do
    # Either runtime serves; the tests want both.
    if [ "$need" = runc:runc ] && [ "$level" = run ] && command -v crun >/dev/null; then continue; fi
    command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
done
if [ ! -x .venv/bin/python ] && ! find_python >/dev/null; then missing+=(python3 python3-venv); fi

install_packages() {
    local packages=("$@" "${extras[@]}") as_root=()
    if [ "$(id -u)" -ne 0 ]; then as_root=(sudo -n); fi
    # A recommended package may be a daemon that starts itself; none is wanted.
    local install=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive
        apt-get install -y -q --no-install-recommends "${packages[@]}")
    if [ -z "$(find /var/lib/apt/lists -name '*_Packages*' -print -quit 2>/dev/null)" ]; then
        "${as_root[@]}" apt-get update -q
    fi
    "${install[@]}" || { "${as_root[@]}" apt-get update -q && "${install[@]}"; }
}

if [ ${#missing[@]} -gt 0 ]; then
    line="apt-get install -y --no-install-recommends ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
        say "this machine lacks what these Debian packages hold: ${missing[*]}"
        say "install the like of them with your package manager, then run make again"
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ] && ! sudo -n true 2>/dev/null; then
        say "some packages are missing, and installing them needs root. Run this once, then make again:"
        say "    sudo $line"
        exit 1
    fi
    say "installing ${missing[*]}"
    install_packages "${missing[@]}" >&2 || {
        say "could not install the packages; this is what is needed: $line"
        exit 1
    }
fi

# --- virtual environment ---------------------------------------------------------------------------

mkdir -p .work
# Two make runs in one checkout wait for each other; the lock goes with this shell.
exec 9>.work/setup.lock
flock 9

locks=(requirements.lock requirements-build.lock)
if [ "$level" = test ]; then locks=(requirements-dev.lock); fi
wanted=$(cat "${locks[@]}" pyproject.toml | sha256sum)
stamp=.venv/.viaduct-$level

if ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    python=$(find_python) || {
        say "no Python 3.11 or newer with venv was found: apt-get install python3 python3-venv"
        exit 1
    }
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
fi

if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || [ ! -x .venv/bin/viaduct ]; then
    say "installing the locked Python dependencies"
    # Twice quiet: a machine with several configured indexes otherwise warns once per index and package.
    pip=(.venv/bin/python -m pip -qq --disable-pip-version-check)
    "${pip[@]}" install --require-hashes "${locks[@]/#/--requirement=}"
    # The build backend is locked too, so nothing is fetched here.
    "${pip[@]}" install --no-deps --no-build-isolation --editable .
    printf '%s\n' "$wanted" >"$stamp"
fi

# Written ahead because a checkout may be read-only for the one who runs it, and because an
# environment with PYTHONDONTWRITEBYTECODE would otherwise compile everything at every start.
.venv/bin/python -m compileall -q src >&2
