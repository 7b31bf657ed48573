// SPDX-License-Identifier: MIT
/*
 * An appliance for tests: forwards whole frames between two devices, and misbehaves on command.
 *
 *     forwarder DEVICE DEVICE
 *
 * Reads commands from standard input, a line each, and answers each with "ok":
 *
 *     pass        forward (as at the beginning)
 *     drop        swallow everything
 *     hang        read nothing: what arrives piles up, and goes on when another command comes
 *     delay MS    forward each frame so much later
 *     echo        forward, and send each frame back where it came from too
 *     storm N     send each frame N times out of both
 *     replay      send the last frames (up to RECORD) once more, each out of both
 *
 * Offloads survive (PACKET_VNET_HDR): a super-frame stays one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECORD	  64
#define FRAME_MAX (1 << 17)
#define BUFFER	  (8 << 20)
#define TAG	  4
#define TAG_AT	  12
#define HEADER	  sizeof(struct virtio_net_hdr)
#define QUEUE_MAX 65536
#define BURST	  64

struct frame {
	struct frame *next;
	int64_t due; /* milliseconds */
	int from;    /* the port that it came in by */
	size_t len;  /* with its virtio header */
	unsigned char data[];
};

enum mode { PASS, DROP, HANG, DELAY, ECHO, STORM };

struct appliance {
	int sockets[2];
	enum mode mode;
	int number; /* of DELAY or STORM */
	struct frame *record[RECORD];
	size_t recorded;
	struct frame *first, **last; /* delayed ones */
	size_t waiting;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int open_port(const char *device)
{
	struct sockaddr_ll address = {.sll_family = AF_PACKET,
				      .sll_protocol = htons(ETH_P_ALL),
				      .sll_ifindex = (int)if_nametoindex(device)};
	struct packet_mreq all = {.mr_ifindex = address.sll_ifindex, .mr_type = PACKET_MR_PROMISC};
	int on = 1, size = BUFFER;
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die(device);
	return fd;
}

/* The tag that the kernel took off is put back, behind the addresses. */
static void put_tag(struct frame *f, const struct tpacket_auxdata *aux)
{
	struct virtio_net_hdr *header = (struct virtio_net_hdr *)(void *)f->data;
	unsigned char *at = f->data + HEADER + TAG_AT;
	uint16_t words[2] = {htons(aux->tp_status & TP_STATUS_VLAN_TPID_VALID ? aux->tp_vlan_tpid
									      : ETH_P_8021Q),
			     htons(aux->tp_vlan_tci)};

	memmove(at + TAG, at, f->len - HEADER - TAG_AT);
	memcpy(at, words, TAG);
	f->len += TAG;
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		header->csum_start += TAG;
	if (header->hdr_len)
		header->hdr_len += TAG;
}

static struct frame *receive(struct appliance *a, int from)
{
	static unsigned char buffer[FRAME_MAX];
	union {
		struct cmsghdr align;
		char room[256];
	} control;
	struct iovec part = {buffer, sizeof(buffer) - TAG};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.room,
				 .msg_controllen = sizeof(control.room)};
	ssize_t len = recvmsg(a->sockets[from], &message, MSG_DONTWAIT);
	struct frame *f;

	if (len < (ssize_t)(HEADER + ETH_HLEN))
		return NULL;
	f = calloc(1, sizeof(*f) + (size_t)len + TAG);
	if (!f)
		die("calloc");
	f->from = from;
	f->len = (size_t)len;
	memcpy(f->data, buffer, f->len);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		struct tpacket_auxdata aux;

		if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
			continue;
		memcpy(&aux, CMSG_DATA(c), sizeof(aux));
		if (aux.tp_status & TP_STATUS_VLAN_VALID)
			put_tag(f, &aux);
	}
	return f;
}

/* A frame that doesn't go out is lost, as it is in any appliance. */
static void transmit(const struct appliance *a, int to, const struct frame *f)
{
	(void)send(a->sockets[to], f->data, f->len, 0);
}

static void keep(struct appliance *a, struct frame *f)
{
	size_t at = a->recorded++ % RECORD;

	free(a->record[at]);
	a->record[at] = f;
}

static void replay(const struct appliance *a)
{
	for (size_t i = 0; i < RECORD; i++) {
		if (!a->record[i])
			continue;
		transmit(a, 0, a->record[i]);
		transmit(a, 1, a->record[i]);
	}
}

static void delay(struct appliance *a, struct frame *f)
{
	if (a->waiting == QUEUE_MAX) {
		free(f);
		return;
	}
	f->due = now() + a->number;
	f->next = NULL;
	*a->last = f;
	a->last = &f->next;
	a->waiting++;
}

static void handle(struct appliance *a, struct frame *f)
{
	switch (a->mode) {
	case DELAY:
		delay(a, f);
		return;
	case STORM:
		for (int i = 0; i < a->number; i++) {
			transmit(a, f->from, f);
			transmit(a, !f->from, f);
		}
		break;
	case ECHO:
		transmit(a, f->from, f);
		transmit(a, !f->from, f);
		break;
	case PASS:
		transmit(a, !f->from, f);
		break;
	case DROP:
	case HANG:
		break;
	}
	keep(a, f);
}

/* What was delayed long enough; milliseconds until the next, -1: none waits. */
static int release(struct appliance *a)
{
	while (a->first) {
		struct frame *f = a->first;
		int64_t left = f->due - now();

		if (left > 0)
			return (int)left;
		a->first = f->next;
		if (!a->first)
			a->last = &a->first;
		a->waiting--;
		transmit(a, !f->from, f);
		keep(a, f);
	}
	return -1;
}

static void command(struct appliance *a, const char *line)
{
	static const struct {
		const char *name;
		enum mode mode;
	} modes[] = {{"pass", PASS},   {"drop", DROP}, {"hang", HANG},
		     {"delay", DELAY}, {"echo", ECHO}, {"storm", STORM}};
	size_t len = strcspn(line, " \n");

	if (len == 6 && strncmp(line, "replay", len) == 0) {
		replay(a);
		puts("ok");
		return;
	}
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		if (strlen(modes[i].name) != len || strncmp(line, modes[i].name, len) != 0)
			continue;
		a->mode = modes[i].mode;
		a->number = line[len] == ' ' ? atoi(line + len) : 0;
		puts("ok");
		return;
	}
	puts("unknown");
}

/* The commands arrive whole: a line a write. */
static void obey(struct appliance *a)
{
	char line[128];
	ssize_t len = read(STDIN_FILENO, line, sizeof(line) - 1);

	if (len <= 0)
		exit(0);
	line[len] = '\0';
	command(a, line);
}

int main(int argc, char **argv)
{
	struct appliance a = {.last = &a.first};

	if (argc != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	a.sockets[0] = open_port(argv[1]);
	a.sockets[1] = open_port(argv[2]);
	puts("ready");
	for (;;) {
		struct pollfd wait[] = {
			{.fd = STDIN_FILENO, .events = POLLIN},
			{.fd = a.mode == HANG ? -1 : a.sockets[0], .events = POLLIN},
			{.fd = a.mode == HANG ? -1 : a.sockets[1], .events = POLLIN},
		};
		struct frame *f;

		if (poll(wait, 3, release(&a)) < 0 && errno != EINTR)
			die("poll");
		for (int i = 0; i < 2; i++)
			for (int n = 0; wait[i + 1].revents && n < BURST && (f = receive(&a, i));
			     n++)
				handle(&a, f);
		if (wait[0].revents)
			obey(&a);
	}
}
