# SPDX-License-Identifier: MIT
# Sourced by demo, check and bench: what each of them does before its own work. They start on a bare
# Debian 12, so nothing may be used here but what is always installed there.
# shellcheck shell=bash disable=SC2034

export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

# Every Debian package that anything here uses, by what it is for.
declare -rA PACKAGES=(
	[portmirror]='gcc libc6-dev clang bpftool meson ninja-build pkg-config
	              libbpf-dev libmnl-dev libjansson-dev libyaml-dev libpcap-dev libxxhash-dev
	              libexpat1-dev libmicrohttpd-dev libseccomp-dev'
	[programs]='libssl-dev libarchive-dev libgsasl-dev' # what the others are linked with
	[unit]='libcmocka-dev'
	[lint]='clang clang-format clang-tidy shellcheck'
	[fuzz]='clang libclang-rt-dev'
	[lab]='iproute2 iputils-ping python3'
	[pytest]='python3-pytest python3-yaml'
	[net]='ethtool nftables strace systemd'
	[inline]='nftables dnsmasq-base busybox-static'
	[guest]='qemu-system-x86 busybox-static cpio kmod'
	[vm]='qemu-system-x86 busybox-static cpio kmod libvirt-daemon-system libvirt-clients'
	[sensors]='arpwatch argus-client argus-server bind9-dnsutils curl dnsmasq-base ethtool iperf3 nfdump nginx-light
	           openssh-client openssh-server p0f softflowd tcpdump tcpflow tshark util-linux'
	[house]='bash-completion'
	[package]='debhelper dpkg-dev lintian libc6-dev-i386 lib32gcc-12-dev man-db systemd'
	[api]='curl openssl chromium chromium-driver python3-selenium prometheus'
	[mail]='postfix dovecot-imapd dovecot-lmtpd openssl strace zstd'
	[exec]='gdb strace linux-perf tmux util-linux libcap2-bin libc6-dev musl-tools busybox-static sudo openssh-client
	        iputils-ping procps libc6-dbg uidmap at cron fuse3 pkexec dbus libc6-dev-i386 lib32gcc-12-dev golang-go
	        pulseaudio gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
	        qemu-system-arm cpio'
	[coverage]='gcovr'
	[bench]='gdb lldb postfix openvswitch-switch netsniff-ng nftables ethtool gnuplot-nox wrk'
)

BOLD='' RED='' GREEN='' PLAIN=''
if [[ -t 1 && -z ${NO_COLOR-} && ${TERM-dumb} != dumb ]]; then
	BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[m'
fi

say() { printf '%s\n' "$*" >&2; }

die() {
	say "${0##*/}: $*"
	exit 1
}

# need_root WHY: the sentence for whoever is not.
need_root() {
	((EUID == 0)) || die "this needs root ($1). Try: sudo $0"
}

# packages GROUP…: installs what is missing; silent when nothing is.
packages() {
	local group missing=() wanted=() log
	for group; do
		# shellcheck disable=SC2206 # a list of words on purpose
		wanted+=(${PACKAGES[$group]})
	done
	mapfile -t missing < <(
		{
			dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || true
			printf 'wanted %s\n' "${wanted[@]}"
		} | awk '$1 == "installed" { have[$2] } $1 == "wanted" && !($2 in have) && !seen[$2]++ { print $2 }'
	)
	((${#missing[@]})) || return 0
	say "Installing Debian packages: ${missing[*]}"
	log=$(mktemp)
	if ! apt_get_install "${missing[@]}" >"$log" 2>&1 &&
		! { apt-get -qq update && apt_get_install "${missing[@]}"; } >>"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		die 'the packages could not be installed'
	fi
	rm -f "$log"
}

# Packages that bring a service must not start it. Without /run/systemd their scripts take the machine
# for one without systemd, where invoke-rc.d starts nothing in runlevel 1. The downloads come first:
# the host names may be looked up through a file below /run/systemd.
apt_get_install() {
	local -x DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
	local install=(apt-get -qq -y --no-install-recommends install)
	"${install[@]}" --download-only "$@" &&
		unshare --mount sh -c '[ ! -d /run/systemd ] || mount -t tmpfs none /run/systemd
		                       exec "$@"' sh "${install[@]}" --no-download "$@"
}

# quietly COMMAND…: its output only if it fails.
quietly() {
	local log status=0
	log=$(mktemp)
	"$@" >"$log" 2>&1 </dev/null || status=$?
	((status == 0)) || cat "$log" >&2
	rm -f "$log"
	return "$status"
}

# configure DIR MESON-OPTION…: once, and anew when the options are others than the last time. A folder
# that somebody else has configured is taken as it is.
configure() {
	local dir=$1
	shift
	if [[ -f $dir/.options && $(cat "$dir/.options") != "$*" ]]; then
		rm -rf "$dir"
	fi
	[[ -f $dir/build.ninja ]] ||
		{ quietly /usr/bin/meson setup "$dir" "$@" && printf '%s\n' "$*" >"$dir/.options"; }
}

# build DIR TARGET MESON-OPTION…: the target may be "all", or "build.ninja" to configure only.
build() {
	local dir=$1 target=$2
	shift 2
	configure "$dir" "$@" && quietly ninja -C "$dir" "$target"
}
