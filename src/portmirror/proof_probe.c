/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/err.h"

enum {
	PROBE_TYPE = 0x88b5, /* IEEE 802: local experimental EtherType 1 */
	PROBE_SIZES = ETH_FRAME_LEN - ETH_ZLEN + 1,
	PROBE_STEP = 617, /* prime to PROBE_SIZES: all sizes come up */
};

/* Written by field: every byte of a probe is defined. */
struct probe {
	uint8_t to[ETH_ALEN], from[ETH_ALEN];
	uint8_t type[2];
	char magic[16];
	uint64_t time, number; /* no two probes are the same */
	uint8_t padding[ETH_FRAME_LEN - ETH_HLEN - 32];
} __attribute__((packed));

_Static_assert(sizeof(struct probe) == ETH_FRAME_LEN, "a probe is at most a whole frame");

int probe_open(struct err *e)
{
	/* Protocol 0: it only sends. No PACKET_QDISC_BYPASS: that would leave out the filters. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	return fd < 0 ? err_sys(e, -errno, "cannot open a packet socket") : fd;
}

int probe_send(int fd, int ifindex, unsigned mtu, uint64_t number)
{
	struct probe probe = {
		.to = {0x02, 0x00, 0x5e, 0x70, 0x6d, 0x01},
		.from = {0x02, 0x00, 0x5e, 0x70, 0x6d, 0x02},
		.type = {PROBE_TYPE >> 8, PROBE_TYPE & 0xff},
		.magic = "portmirrorprobe",
		.number = number,
	};
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(PROBE_TYPE),
		.sll_ifindex = ifindex,
		.sll_halen = ETH_ALEN,
	};
	size_t most = (size_t)mtu + ETH_HLEN;
	size_t len = ETH_ZLEN + number * PROBE_STEP % PROBE_SIZES;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	probe.time = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	memset(probe.padding, (int)(number & 0xff), sizeof(probe.padding));
	if (len > most)
		len = most < ETH_ZLEN ? ETH_ZLEN : most;
	if (sendto(fd, &probe, len, MSG_DONTWAIT, (const struct sockaddr *)&address,
		   sizeof(address)) < 0)
		return -errno;
	return 0;
}
