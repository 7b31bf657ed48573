/* SPDX-License-Identifier: MIT */
/*
 * newtap BRIDGE SENSOR NAME [WORD…]: makes a tap, puts it on the bridge, and sends frames into it
 * as a virtual machine does, one every 20 microseconds, until the first of them has arrived at the
 * device SENSOR. Prints how many microseconds that took, counted from before the tap was there and
 * from when it was up on the bridge. The words are for the command line: who reads it may take this
 * for a machine. Exits with 1, having said why, where none arrived within ten seconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KIND	 0x88b5 /* for local experiments */
#define EVERY_NS 20000
#define LIMIT_US 1e7

static void must(long result, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "newtap: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int listen_at(const char *name)
{
	struct sockaddr_ll where = {.sll_family = AF_PACKET, .sll_protocol = htons(KIND)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);

	where.sll_ifindex = (int)if_nametoindex(name);
	must(where.sll_ifindex ? 0 : -1, name);
	must(bind(fd, (struct sockaddr *)&where, sizeof(where)), "listening");
	return fd;
}

static void plug(const char *bridge, const char *name)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	must(fd, "socket");
	strncpy(request.ifr_name, bridge, IFNAMSIZ - 1);
	request.ifr_ifindex = (int)if_nametoindex(name);
	must(ioctl(fd, SIOCBRADDIF, &request), bridge);
	memset(&request, 0, sizeof(request));
	strncpy(request.ifr_name, name, IFNAMSIZ - 1);
	request.ifr_flags = IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &request), name);
	close(fd);
}

/* To the bridge itself, so that it isn't flooded to all ports. */
static void address_of(const char *bridge, unsigned char to[ETH_ALEN])
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	strncpy(request.ifr_name, bridge, IFNAMSIZ - 1);
	must(ioctl(fd, SIOCGIFHWADDR, &request), bridge);
	memcpy(to, request.ifr_hwaddr.sa_data, ETH_ALEN);
	close(fd);
}

int main(int argc, char **argv)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
	unsigned char got[64],
		frame[60] = {[6] = 2, [11] = 9, [12] = KIND >> 8, [13] = KIND & 0xff};
	double start, up;
	int sensor, tap;

	if (argc < 4)
		return 2;
	sensor = listen_at(argv[2]);
	address_of(argv[1], frame);
	tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	must(tap, "/dev/net/tun");
	strncpy(request.ifr_name, argv[3], IFNAMSIZ - 1);
	start = now();
	must(ioctl(tap, TUNSETIFF, &request), argv[3]);
	plug(argv[1], argv[3]);
	up = now();
	while (recv(sensor, got, sizeof(got), 0) < 0) {
		must(now() - start < LIMIT_US ? 0 : -1, "no frame was mirrored");
		must(write(tap, frame, sizeof(frame)), "sending");
		nanosleep(&(struct timespec){.tv_nsec = EVERY_NS}, NULL);
	}
	printf("%.0f %.0f\n", now() - start, now() - up);
	return 0;
}
