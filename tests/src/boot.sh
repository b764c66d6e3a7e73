# Boots the root tree $1 as a machine with the console $2. Runs as pid 1 of new namespaces and becomes its systemd.
set -eu
tree=$1 console=$2
mount --bind "$tree" "$tree"
cd "$tree"

mount -t proc -o nosuid,nodev,noexec proc proc
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs sys
if grep -q '^[^:]*:[^:]' /proc/self/cgroup; then
	# Controllers in hierarchies of version 1, each with its own mount, as systemd calls hybrid.
	mount -t tmpfs -o nosuid,nodev,noexec,mode=0755 tmpfs sys/fs/cgroup
	while IFS=: read -r _ controllers _; do
		name=${controllers#name=}
		mkdir "sys/fs/cgroup/${name:-unified}"
		if [ -n "$controllers" ]; then
			mount -t cgroup -o "nosuid,nodev,noexec,$controllers" cgroup "sys/fs/cgroup/$name"
		else
			mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup/unified
		fi
	done </proc/self/cgroup
else
	mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
fi
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
# The kubelet wants these and would change them: the kernel is the host's.
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
	kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
	file=proc/sys/${setting%=*}
	[ -e "$file" ] || continue
	mkdir -p dev/.settings
	copy=dev/.settings/${file##*/}
	echo "${setting#*=}" >"$copy"
	mount --bind "$copy" "$file"
done
# An overlay cannot be the upper layer of another, so what containerd unpacks lies beside the tree.
if [ -d var/lib/containerd ]; then
	mkdir -p "${0%/*}/containerd"
	mount --bind "${0%/*}/containerd" var/lib/containerd
fi
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
