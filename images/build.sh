#!/bin/sh
# Builds the worker's machine image, as root, on Debian.
#
#   build.sh BOOTSTRAP OUT           the root file system, in the directory OUT
#   build.sh --disk BOOTSTRAP OUT    a disk that boots from GRUB as well, OUT.qcow2
#
# BOOTSTRAP is the program ganger-bootstrap (`cargo xtask bootstrap`). Packages come from the sources of this machine.
# Needs mmdebstrap, python3 with pip; for a disk also grub-pc-bin, grub-common, fdisk, e2fsprogs and qemu-utils.
set -eu

disk=
if [ "${1:-}" = --disk ]; then
    disk=yes
    shift
fi
bootstrap=$1
out=$2
here=$(cd "$(dirname "$0")" && pwd)
packages=systemd-sysv,udev,dbus,iproute2,python3,python3-venv,ca-certificates,git,procps,netbase
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources=/etc/apt/sources.list.d/debian.sources
if [ ! -e "$sources" ]; then
    sources=/etc/apt/sources.list
fi

rm -rf "$out"
if [ -n "$disk" ]; then
    packages=$packages,linux-image-cloud-amd64
fi
mmdebstrap --quiet --variant=minbase --mode=root --include="$packages" "$suite" "$out" - < "$sources"

# Wheels are fetched out here, where the index can be reached.
mkdir -p "$out/root/image/wheels"
python3 -m pip download --quiet --disable-pip-version-check --dest "$out/root/image/wheels" --requirement "$here/worker.txt"
cp -L "$here/provision.sh" "$here/worker.txt" "$out/root/image/"
cp -R "$here/overlay" "$out/root/image/"
cp "$bootstrap" "$out/root/image/ganger-bootstrap"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin WHEELS=/root/image/wheels chroot "$out" \
    sh /root/image/provision.sh /root/image/ganger-bootstrap
rm -rf "$out/root/image"
SYSTEMD_OFFLINE=1 systemctl --root "$out" enable systemd-networkd.service >/dev/null 2>&1 ||
    chroot "$out" systemctl enable systemd-networkd.service
echo ganger-worker > "$out/etc/hostname"
if [ -n "$disk" ]; then
    sh "$here/disk.sh" "$out"
fi
