# Boots the root tree $1 as a machine with the console $2. Runs as pid 1 of new namespaces and becomes its systemd.
set -eu
tree=$1 console=$2
mount --bind "$tree" "$tree"
cd "$tree"

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
# What has no namespace belongs to the host: settings of its kernel are not the machine's to change.
for path in sys sysrq-trigger irq bus fs; do
	[ -e "proc/$path" ] || continue
	mount --bind "proc/$path" "proc/$path"
	mount -o remount,bind,ro "proc/$path"
done
mount --bind proc/sys/net proc/sys/net
mount -o remount,bind,rw proc/sys/net

mount -t tmpfs -o nosuid,mode=0755 tmpfs dev
mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs run
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs tmp
mkdir dev/pts dev/shm
mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts dev/pts
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs dev/shm
for device in null zero full random urandom tty; do
	: >"dev/$device"
	mount --bind "/dev/$device" "dev/$device"
done
: >dev/console
mount --bind "$console" dev/console
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

# The host's file systems are gone afterwards: nothing in the machine can reach them.
pivot_root . .
umount -l .
exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	setpriv --bounding-set -sys_module,-sys_time,-sys_rawio,-syslog \
	/sbin/init systemd.show_status=1 systemd.journald.forward_to_console=1
