/* SPDX-License-Identifier: MIT */
/*
 * Holds taps as a virtual machine does, under whatever command line it is given. The environment
 * tells which: TAPS="FD=NAME ..." (a name twice: two queues; no name: no device on it), made in
 * the network namespace we are in, or, with FOREIGN set, in a new one: "stay" in it, or come
 * "back". With OWNER, a number, it goes on as that user, as QEMU does. Says "ready" and waits for
 * the end of its input. Exits with 77 where it can't make them.
 */
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The kernel's random one may look as if libvirt had given it. */
static int change_address(int tap)
{
	struct ifreq request = {0};

	if (ioctl(tap, SIOCGIFHWADDR, &request) < 0)
		return -1;
	request.ifr_hwaddr.sa_data[0] = 2;
	return ioctl(tap, SIOCSIFHWADDR, &request);
}

static int hold(int number, const char *name, size_t len)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0 || len >= IFNAMSIZ)
		return -1;
	memcpy(request.ifr_name, name, len);
	if (len > 0 && (ioctl(fd, TUNSETIFF, &request) < 0 || change_address(fd) < 0))
		return -1;
	if (dup3(fd, number, O_CLOEXEC) < 0)
		return -1;
	return close(fd);
}

static int hold_all(const char *taps)
{
	while (*taps) {
		char *name;
		long number = strtol(taps, &name, 10);
		size_t len;

		name += *name == '=';
		len = strcspn(name, " ");
		if (hold((int)number, name, len) < 0)
			return -1;
		taps = name + len;
		taps += *taps == ' ';
	}
	return 0;
}

/* /proc shows it as that user's only while it could be traced, which setuid(2) ends. */
static int become(const char *owner)
{
	uid_t user = (uid_t)strtoul(owner, NULL, 10);

	return setgid(user) < 0 || setuid(user) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0 ? -1 : 0;
}

int main(void)
{
	const char *taps = getenv("TAPS"), *foreign = getenv("FOREIGN"), *owner = getenv("OWNER");
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	char byte;

	if (!taps || home < 0 || (foreign && unshare(CLONE_NEWNET) < 0) || hold_all(taps) < 0)
		return 77;
	if (foreign && strcmp(foreign, "back") == 0 && setns(home, CLONE_NEWNET) < 0)
		return 77;
	if (owner && become(owner) < 0)
		return 77;
	if (write(STDOUT_FILENO, "ready", 5) != 5)
		return 1;
	return read(STDIN_FILENO, &byte, 1) == 0 ? 0 : 1;
}
