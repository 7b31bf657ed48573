/* SPDX-License-Identifier: MIT
 * frames: prints a line for every frame that a network card of this machine sends or gets: the
 * card, the way, the length, and a hash of the bytes. It is the whole sensor of a guest that has
 * nothing else.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static uint64_t fnv1a(const uint8_t *data, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ data[i]) * 0x100000001b3;
	return hash;
}

/* The kernel takes a frame's outer VLAN tag out, and tells it beside. Returns the length with it.
 */
static size_t put_tag_back(uint8_t *frame, size_t size, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (!(aux.tp_status & TP_STATUS_VLAN_VALID) || size < 12)
			continue;
		uint16_t tag[] = {htons(aux.tp_vlan_tpid), htons(aux.tp_vlan_tci)};

		memmove(frame + 12 + sizeof(tag), frame + 12, size - 12);
		memcpy(frame + 12, tag, sizeof(tag));
		return size + sizeof(tag);
	}
	return size;
}

/* Prints the next frame, if it is a network card's. */
static int tell(int fd)
{
	static uint8_t frame[1 << 16];
	union {
		char room[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
		struct cmsghdr align;
	} control;
	struct sockaddr_ll from;
	struct iovec into = {frame, sizeof(frame) - 4};
	struct msghdr message = {.msg_name = &from,
				 .msg_namelen = sizeof(from),
				 .msg_iov = &into,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t got = recvmsg(fd, &message, 0);
	char dev[IF_NAMESIZE] = "";

	if (got < 0)
		return -1;
	if (from.sll_hatype != ARPHRD_ETHER)
		return 0;
	size_t size = put_tag_back(frame, (size_t)got, &message);

	printf("frame %s %s %zu %016" PRIx64 "\n", if_indextoname((unsigned)from.sll_ifindex, dev),
	       from.sll_pkttype == PACKET_OUTGOING ? "sent" : "got", size, fnv1a(frame, size));
	return fflush(stdout);
}

int main(void)
{
	int fd = socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)), yes = 1;

	if (fd >= 0 && setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &yes, sizeof(yes)) == 0) {
		printf("frames: ready\n");
		fflush(stdout);
		while (tell(fd) == 0)
			;
	}
	perror("frames");
	return 1;
}
