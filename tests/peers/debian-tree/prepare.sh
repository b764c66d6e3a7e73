# Turns a bootstrapped Debian tree, $1, into a stand-in for an operating system image whose first boot is still to come.
set -eu
cd "$1"

# "uninitialized" is what an image ships. An empty file would mean "not the first boot": systemd would then skip the
# presets, which are the only way in which Ignition enables a unit.
echo uninitialized >etc/machine-id
rm -f var/lib/dbus/machine-id

# The bootstrapper leaves the build machine's own name and resolver here.
echo localhost >etc/hostname
rm -f etc/resolv.conf
: >etc/fstab

# Ignition as Debian and Fedora build it relabels what it wrote, and fails when no policy is named.
mkdir -p etc/selinux
echo SELINUXTYPE=targeted >etc/selinux/config

# Fedora CoreOS has this group; node configs put their administrators into it.
groupadd --root "$PWD" --system wheel

# firstboot would ask questions on the console; there is no console to log in at, no disk to check, nothing to upgrade.
for unit in systemd-firstboot.service systemd-fsck@.service console-getty.service getty@.service \
	systemd-pstore.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
	e2scrub_reap.service fstrim.timer; do
	ln -sfn /dev/null "etc/systemd/system/$unit"
done
