/* SPDX-License-Identifier: MIT */
/*
 * blast DEVICE SECONDS: puts the frame that it reads from stdin on the device, again and again,
 * past its queueing discipline, and prints "FRAMES SECONDS".
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int open_device(const char *name)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_ifindex = (int)if_nametoindex(name)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) < 0) {
		perror(name);
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	unsigned char frame[1514];
	struct mmsghdr batch[BATCH] = {0};
	unsigned long sent = 0;
	struct iovec bytes = {.iov_base = frame};
	double start, seconds;
	int fd;

	if (argc != 3)
		return 2;
	fd = open_device(argv[1]);
	bytes.iov_len = fread(frame, 1, sizeof(frame), stdin);
	for (int i = 0; i < BATCH; i++) {
		batch[i].msg_hdr.msg_iov = &bytes;
		batch[i].msg_hdr.msg_iovlen = 1;
	}
	start = now();
	do {
		int n = sendmmsg(fd, batch, BATCH, 0);

		if (n < 0 && errno != ENOBUFS) {
			perror("sendmmsg");
			return 1;
		}
		sent += n > 0 ? (unsigned long)n : 0;
		seconds = now() - start;
	} while (seconds < strtod(argv[2], NULL));
	printf("%lu %.6f\n", sent, seconds);
	return 0;
}
