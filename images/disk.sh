#!/bin/sh
# Makes a disk that boots from GRUB by BIOS, as root, on Debian.
#
#   disk.sh ROOT    of the root file system in the directory ROOT, which has a kernel: ROOT.qcow2
#
# Needs grub-pc-bin, grub-common, fdisk, e2fsprogs and qemu-utils.
set -eu

out=$1

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
