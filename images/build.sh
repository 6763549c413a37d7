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
if [ -z "$disk" ]; then
    exit 0
fi

# One partition for GRUB's own code, one for the system: made as files, so that neither a loop device nor a mount is needed.
raw=$out.raw
system=2 # MiB: where the system's partition begins
rm -f "$raw"
truncate -s 3G "$raw"
printf 'label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\nstart=4096, type=linux\n' |
    sfdisk --quiet "$raw"
echo 'LABEL=root / ext4 defaults,noatime 0 1' > "$out/etc/fstab"
kernel=$(basename "$out"/boot/vmlinuz-*)
initrd=$(basename "$out"/boot/initrd.img-*)
mkdir -p "$out/boot/grub"
cat > "$out/boot/grub/grub.cfg" <<GRUB
set timeout=0
serial --unit=0
terminal_output serial
search --label root --set root
linux /boot/$kernel root=LABEL=root rw console=ttyS0 quiet
initrd /boot/$initrd
boot
GRUB
mkfs.ext4 -q -F -L root -d "$out" -E offset=$((system << 20)) "$raw" $(((3 << 20) - (system << 10) - 1024))k

# What grub-install does on a disk that it can look at: boot.img is the first sector and loads the sector that is named at 0x5c; that
# one, the first of core.img, loads the rest, whose place is named at its end (0x1f4).
grub=/usr/lib/grub/i386-pc
grub-mkimage -O i386-pc -o "$out.core" -p '(hd0,gpt2)/boot/grub' \
    biosdisk part_gpt ext2 normal configfile linux boot serial terminal search search_label
put() { # FILE OFFSET: what is on standard input goes there
    dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
printf '\001\010\000\000\000\000\000\000' | put "$out.core" $((0x1f4)) # sector 2049
dd if="$grub/boot.img" of="$raw" bs=440 count=1 conv=notrunc status=none
printf '\000\010\000\000\000\000\000\000' | put "$raw" $((0x5c)) # sector 2048
dd if="$out.core" of="$raw" bs=512 seek=2048 conv=notrunc status=none
rm -f "$out.core"
qemu-img convert -O qcow2 "$raw" "$out.qcow2"
rm -f "$raw"
