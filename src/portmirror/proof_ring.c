/* SPDX-License-Identifier: MIT */
#include "portmirror/proof_ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/mem.h"

enum {
	FRAME_SIZE = 2048, /* of no meaning in TPACKET_V3, but checked */
	ADDRESS_AT = TPACKET_ALIGN((int)sizeof(struct tpacket3_hdr)),
	THREADS = 8,
	RETIRE_AFTER = 40, /* milliseconds until a block that isn't full is handed over */
};

size_t ring_filter(enum direction direction, const struct sock_filter *code, size_t ncode,
		   struct sock_filter *out)
{
	size_t n = 0;

	if (direction != DIRECTION_BOTH) {
		bool in = direction == DIRECTION_SENT;

		out[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_B | BPF_ABS,
							(uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
		out[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PACKET_OUTGOING,
							(uint8_t)!in, (uint8_t)in);
		out[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	}
	for (size_t i = 0; i < ncode; i++) {
		out[n] = code[i];
		if (code[i].code == (BPF_RET | BPF_K) && code[i].k != 0)
			out[n].k = UINT32_MAX;
		n++;
	}
	if (ncode == 0)
		out[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	return n;
}

static int set(const struct ring *ring, int option, const void *value, socklen_t len)
{
	return setsockopt(ring->fd, SOL_PACKET, option, value, len) < 0 ? -errno : 0;
}

static int set_filter(const struct ring *ring, const struct ring_spec *spec)
{
	struct sock_filter *code cleanup(free_at) =
		calloc(spec->ncode + RING_FILTER_EXTRA, sizeof(*code));
	struct sock_fprog program = {.filter = code};

	if (!code)
		return -ENOMEM;
	program.len = (uint16_t)ring_filter(spec->direction, spec->code, spec->ncode, code);
	return setsockopt(ring->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0
		       ? -errno
		       : 0;
}

/* The order matters: the header's layout is fixed by what is set before the ring is made. */
static int set_up(struct ring *ring, const struct ring_spec *spec, const char **step)
{
	struct tpacket_req3 request = {
		.tp_block_size = (unsigned)spec->block_size,
		.tp_block_nr = (unsigned)spec->blocks,
		.tp_frame_size = FRAME_SIZE,
		.tp_frame_nr = (unsigned)(spec->block_size / FRAME_SIZE * spec->blocks),
		.tp_retire_blk_tov = RETIRE_AFTER,
	};
	int version = TPACKET_V3, on = 1, r;

	*step = "choose the layout of";
	r = set(ring, PACKET_VERSION, &version, sizeof(version));
	if (r == 0)
		r = set(ring, PACKET_VNET_HDR, &on, sizeof(on));
	if (r < 0)
		return r;
	/* Since 4.20; the filter does the same, only later. */
	if (spec->direction == DIRECTION_SENT)
		(void)set(ring, PACKET_IGNORE_OUTGOING, &on, sizeof(on));
	*step = "set the filter of";
	r = set_filter(ring, spec);
	if (r < 0)
		return r;
	*step = "get memory for";
	r = set(ring, PACKET_RX_RING, &request, sizeof(request));
	if (r < 0)
		return r;
	*step = "map";
	ring->map = mmap(NULL, spec->block_size * spec->blocks, PROT_READ | PROT_WRITE, MAP_SHARED,
			 ring->fd, 0);
	if (ring->map == MAP_FAILED) {
		ring->map = NULL;
		return -errno;
	}
	return 0;
}

static void ring_close(struct ring *ring)
{
	if (ring->map)
		munmap(ring->map, ring->block_size * ring->blocks);
	fd_close_at(&ring->fd);
	*ring = (struct ring){.fd = -1};
}

static int ring_open(struct ring *ring, const struct ring_spec *spec, struct err *e)
{
	struct ring new = {
		.fd = -1,
		.ifindex = spec->ifindex,
		.block_size = spec->block_size,
		.blocks = spec->blocks,
	};
	const char *step = "make";
	int r;

	if (spec->ncode > BPF_MAXINSNS - RING_FILTER_EXTRA)
		return err_set(e, -E2BIG, "the filter is too long: %zu instructions", spec->ncode);
	/* Protocol 0: no frame comes before ring_start() binds it. */
	new.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (new.fd < 0)
		return err_sys(e, -errno, "cannot open a packet socket");
	r = set_up(&new, spec, &step);
	if (r < 0) {
		ring_close(&new);
		return err_sys(e, r, "cannot %s a packet ring", step);
	}
	*ring = new;
	return 0;
}

/* A thread's share of the rings: every step-th. */
struct share {
	pthread_t thread;
	struct ring *rings;
	const struct ring_spec *specs; /* NULL: close them */
	size_t first, step, count;
	struct err err;
};

static void *work_on_share(void *data)
{
	struct share *share = data;

	for (size_t i = share->first; i < share->count; i += share->step) {
		if (!share->specs)
			ring_close(&share->rings[i]);
		else if (ring_open(&share->rings[i], &share->specs[i], &share->err) < 0)
			break;
	}
	return NULL;
}

/* Where there can be no thread the caller does its work. */
static int work_on_all(struct ring *rings, const struct ring_spec *specs, size_t count,
		       struct err *e)
{
	struct share shares[THREADS] = {0};
	size_t nshares = count < THREADS ? count : THREADS;
	bool started[THREADS] = {false};
	int r = 0;

	for (size_t i = 0; i < nshares; i++) {
		shares[i] = (struct share){.rings = rings,
					   .specs = specs,
					   .first = i,
					   .step = nshares,
					   .count = count};
		started[i] = i > 0 && pthread_create(&shares[i].thread, NULL, work_on_share,
						     &shares[i]) == 0;
	}
	for (size_t i = 0; i < nshares; i++) {
		if (!started[i])
			work_on_share(&shares[i]);
	}
	for (size_t i = 0; i < nshares; i++) {
		if (started[i])
			pthread_join(shares[i].thread, NULL);
		if (shares[i].err.code < 0 && r == 0)
			r = err_set(e, shares[i].err.code, "%s", shares[i].err.text);
	}
	return r;
}

int rings_open(struct ring *rings, const struct ring_spec *specs, size_t count, struct err *e)
{
	for (size_t i = 0; i < count; i++)
		rings[i] = (struct ring){.fd = -1};
	return work_on_all(rings, specs, count, e);
}

void rings_close(struct ring *rings, size_t count)
{
	(void)work_on_all(rings, NULL, count, NULL);
}

int ring_start(struct ring *ring, struct err *e)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ring->ifindex,
	};

	if (bind(ring->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(e, -errno, "cannot listen at device %d", ring->ifindex);
	return 0;
}

static uint32_t tag_of(const struct tpacket3_hdr *header)
{
	uint32_t tpid = ETH_P_8021Q;

	if (!(header->tp_status & TP_STATUS_VLAN_VALID))
		return 0;
	if (header->tp_status & TP_STATUS_VLAN_TPID_VALID)
		tpid = header->hv1.tp_vlan_tpid;
	return tpid << 16 | (header->hv1.tp_vlan_tci & 0xffff);
}

/* The kernel lays out a tpacket3_hdr, a sockaddr_ll, and, right in front of the frame, a
 * virtio_net_hdr (tpacket_rcv() in net/packet/af_packet.c). */
static void read_frame(uint8_t *at, struct ring_frame *out)
{
	struct tpacket3_hdr header;
	struct sockaddr_ll address;
	struct virtio_net_hdr offload;

	memcpy(&header, at, sizeof(header));
	memcpy(&address, at + ADDRESS_AT, sizeof(address));
	memcpy(&offload, at + header.tp_mac - sizeof(offload), sizeof(offload));
	*out = (struct ring_frame){
		.frame = {.bytes = at + header.tp_mac,
			  .len = header.tp_snaplen,
			  .tag = tag_of(&header),
			  .gso_type = offload.gso_type,
			  .gso_size = offload.gso_size},
		.time = (uint64_t)header.tp_sec * 1000000000 + header.tp_nsec,
		.outgoing = address.sll_pkttype == PACKET_OUTGOING,
		.partial = header.tp_snaplen < header.tp_len,
	};
}

bool ring_read(struct ring *ring, void (*each)(const struct ring_frame *frame, void *data),
	       void *data)
{
	uint8_t *block = ring->map + ring->next * ring->block_size;
	struct tpacket_hdr_v1 *head = &((struct tpacket_block_desc *)(void *)block)->hdr.bh1;
	struct ring_frame frame;
	size_t at;

	if (!(__atomic_load_n(&head->block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
		return false;
	at = head->offset_to_first_pkt;
	for (uint32_t left = head->num_pkts; left > 0; left--) {
		uint32_t next;

		memcpy(&next, block + at, sizeof(next));
		read_frame(block + at, &frame);
		each(&frame, data);
		at += next;
	}
	__atomic_store_n(&head->block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	ring->next = (ring->next + 1) % ring->blocks;
	return true;
}

/* The kernel sets its count back at every reading. */
uint64_t ring_drops(struct ring *ring)
{
	struct tpacket_stats_v3 stats;
	socklen_t len = sizeof(stats);

	if (getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0)
		ring->drops += stats.tp_drops;
	return ring->drops;
}

static int ask(int fd, const char *name, void *command)
{
	struct ifreq request = {.ifr_data = command};

	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	return ioctl(fd, SIOCETHTOOL, &request) < 0 ? -errno : 0;
}

/* How many features the kernel knows; 0 where it can't be asked. */
static uint32_t count_features(int fd, const char *name)
{
	struct ethtool_sset_info *info cleanup(free_at) =
		calloc(1, sizeof(*info) + sizeof(uint32_t));

	if (!info)
		return 0;
	info->cmd = ETHTOOL_GSSET_INFO;
	info->sset_mask = 1 << ETH_SS_FEATURES;
	if (ask(fd, name, info) < 0 || info->sset_mask == 0)
		return 0;
	return info->data[0];
}

/* Of the three features that make a device take TCP super-frames, how many are on? */
static unsigned count_tso(const struct ethtool_gstrings *names,
			  const struct ethtool_gfeatures *features)
{
	static const char *const wanted[] = {"tx-tcp-segmentation", "tx-tcp6-segmentation",
					     "tx-tcp-ecn-segmentation"};
	unsigned found = 0;

	for (uint32_t i = 0; i < names->len; i++) {
		const char *name = (const char *)names->data + (size_t)i * ETH_GSTRING_LEN;

		for (size_t w = 0; w < COUNT(wanted); w++) {
			if (strncmp(name, wanted[w], ETH_GSTRING_LEN) == 0 &&
			    features->features[i / 32].active & UINT32_C(1) << i % 32)
				found++;
		}
	}
	return found;
}

bool ring_takes_super_frames(const char *name)
{
	int fd cleanup(fd_close_at) = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t count = fd < 0 ? 0 : count_features(fd, name);
	uint32_t blocks = (count + 31) / 32;
	struct ethtool_gstrings *names cleanup(free_at) = NULL;
	struct ethtool_gfeatures *features cleanup(free_at) = NULL;

	if (count == 0)
		return false;
	names = calloc(1, sizeof(*names) + (size_t)count * ETH_GSTRING_LEN);
	features = calloc(1, sizeof(*features) + blocks * sizeof(features->features[0]));
	if (!names || !features)
		return false;
	names->cmd = ETHTOOL_GSTRINGS;
	names->string_set = ETH_SS_FEATURES;
	names->len = count;
	features->cmd = ETHTOOL_GFEATURES;
	features->size = blocks;
	if (ask(fd, name, names) < 0 || ask(fd, name, features) < 0)
		return false;
	return count_tso(names, features) == 3;
}
