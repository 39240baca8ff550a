#!/bin/sh
# Run as root of a copy of this system, in a network namespace of its own: what an administrator does with the package.
echo "# install"
dpkg -i /tmp/sillon.deb >/dev/null
getent passwd sillon >/dev/null
sillon --version
systemd-analyze verify --man=no /usr/lib/systemd/system/sillon-*.service
test "$(stat -c %a /etc/sillon/controller.toml)" = 644
for page in sillon sillon-apply sillon-lease-accept; do
    zcat /usr/share/man/man1/$page.1.gz | grep -q '^\.TH'
done
# As bash does it when somebody types `sillon app` and a tab.
test "$(bash -c '. /usr/share/bash-completion/completions/sillon
    complete -p sillon >/dev/null
    COMP_WORDS=(sillon app) COMP_CWORD=1 && _sillon sillon app sillon && echo "${COMPREPLY[*]}"')" = apply
test -s /usr/share/zsh/vendor-completions/_sillon
test -s /usr/share/fish/vendor_completions.d/sillon.fish

echo "# the controller, as its unit runs it"
ip link set lo up
unit=/usr/lib/systemd/system/sillon-controller.service
of() { sed -n "s/^$1=//p" "$2"; }
cp /mnt/certificates/* /etc/sillon/
chown sillon: /etc/sillon/controller.key
install -d -o sillon -g sillon -m "$(of StateDirectoryMode $unit)" "/var/lib/$(of StateDirectory $unit)"
NOTIFY_SOCKET=/mnt/notify WATCHDOG_USEC=300000 setpriv --reuid "$(of User $unit)" --regid "$(of Group $unit)" --clear-groups \
    --bounding-set -all --inh-caps -all --no-new-privs $(of ExecStart $unit) >/mnt/controller.log 2>&1 &
echo $! >/mnt/controller.pid
# The test says when it has heard enough.
read -r _ </mnt/enough
kill -TERM $!
wait $!
test -s /var/lib/sillon/controller/fabric.db

echo "# remove, and what stays"
dpkg -r sillon >/dev/null
test ! -e /usr/bin/sillon
test ! -e /usr/share/man/man1/sillon.1.gz
test -s /etc/sillon/controller.toml
test -s /var/lib/sillon/controller/fabric.db
dpkg -P sillon >/dev/null
test ! -e /etc/sillon/controller.toml
test -s /var/lib/sillon/controller/fabric.db
echo "# done"
