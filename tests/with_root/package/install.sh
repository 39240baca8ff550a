#!/bin/sh
# Installs the package on a copy of this system that only this process and its children see, and runs what is said there.
# install.sh FOLDER PACKAGE: FOLDER is empty, and is seen there as /mnt.
set -eu
folder=$1 package=$2
mount -t tmpfs none "$folder/over"
mkdir "$folder/over/upper" "$folder/over/work" "$folder/over/root"
root=$folder/over/root
mount -t overlay none -o "lowerdir=/,upperdir=$folder/over/upper,workdir=$folder/over/work" "$root"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t tmpfs none "$root/run"
mount --bind "$folder/shared" "$root/mnt"
cp "$package" "$root/tmp/sillon.deb"
exec chroot "$root" sh -eu /mnt/inside.sh
