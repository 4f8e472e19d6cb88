#!/usr/bin/env bash
# Makes a small root file system from Debian's busybox-static, for any architecture, without running
# a program of that architecture.
#
#   scripts/busybox-rootfs.sh ARCH DIR     ARCH is amd64 or arm64; DIR is made and must not exist
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ $# -ne 2 ]; then
    echo "usage: scripts/busybox-rootfs.sh ARCH DIR" >&2
    exit 2
fi
arch=$1 root=$2

# The applets are the same on every architecture, so the one that runs here can list them.
native=$(dpkg --print-architecture)
own=$("$top/scripts/debs.sh" "$native" busybox-static)
deb=$("$top/scripts/debs.sh" "$arch" busybox-static)
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
dpkg-deb -x "$own" "$tools"
dpkg-deb -x "$deb" "$tools/$arch"

mkdir "$root"
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,usr/local/bin,etc,root,home,tmp,var,proc,sys,dev}
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
install -m 755 "$tools/$arch/bin/busybox" "$root/bin/busybox"
"$tools/bin/busybox" --list-full | while read -r applet; do
    [ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
done

cat >"$root/etc/passwd" <<EOF
root:x:0:0:root:/root:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
EOF
cat >"$root/etc/group" <<EOF
root:x:0:
nogroup:x:65534:
EOF
printf 'root:*:::::::\n' >"$root/etc/shadow"
chmod 640 "$root/etc/shadow"
printf 'ID=busybox\nPRETTY_NAME="BusyBox from Debian"\n' >"$root/etc/os-release"
