# Runs the Ignition $2 on the root tree $1, in a mount namespace of its own and in a folder with `config.ign`, `system`
# and `bin`.
set -eu

# Ignition keeps its state in /run between stages, as in an initramfs. It writes a user's SSH keys as that user, who
# could not reach a tree in somebody's home folder.
mount -t tmpfs tmpfs /run
mkdir /run/sysroot
mount --bind "$1" /run/sysroot

PATH="$PWD/bin:$PATH:/usr/sbin:/sbin"
export PATH IGNITION_SYSTEM_CONFIG_DIR="$PWD/system"
stage() {
	"$2" --root=/run/sysroot --platform=file --config-cache=/run/ignition.json --neednet=/run/neednet \
		--log-to-stdout --stage="$3"
}
stage "$@" fetch-offline
if [ -e /run/neednet ]; then
	echo 'this config needs the network'
	exit 1
fi
stage "$@" files
