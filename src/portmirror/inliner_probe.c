/* SPDX-License-Identifier: MIT */
#include "portmirror/inliner_probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/inliner.h"

#define FEW 3 /* as many that don't come are no accident */

/* Local addresses of the session's own: one at each side, and a third that only sends. */
enum { AT_INSIDE, AT_OUTSIDE, NOWHERE };

static void address(const struct inline_state *state, uint8_t number, uint8_t mac[6])
{
	uint64_t key = state->key;

	mac[0] = 0x02;
	for (int i = 1; i < 5; i++, key >>= 8)
		mac[i] = (uint8_t)key;
	mac[5] = number;
}

/*
 * A learning bridge has seen AT_INSIDE inside: what goes in there for it, the bridge keeps back. A
 * wire doesn't.
 */
static const struct {
	uint8_t from, to;
	bool inside; /* where it goes in */
} ways[INLINE_WAYS] = {
	[INLINE_OUTWARD] = {AT_INSIDE, AT_OUTSIDE, true},
	[INLINE_INWARD] = {AT_OUTSIDE, AT_INSIDE, false},
	[INLINE_LEARNING] = {NOWHERE, AT_INSIDE, true},
};

void inliner_probe_make(const struct inline_state *state, enum inline_way way, uint64_t sent,
			uint8_t frame[INLINER_PROBE_LEN])
{
	struct inline_probe probe = {
		.type = htons(INLINE_PROBE_TYPE),
		.way = (uint8_t)way,
		.magic = INLINE_PROBE_MAGIC,
		.key = state->key,
		.sent = sent,
	};

	address(state, ways[way].to, probe.to);
	address(state, ways[way].from, probe.from);
	memset(frame, 0, INLINER_PROBE_LEN);
	memcpy(frame, &probe, sizeof(probe));
}

int inliner_probe_open(struct err *e)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd < 0 ? err_sys(e, -errno, "can't open a socket for probes") : fd;
}

void inliner_probe_send(int socket, const struct inline_state *state, uint64_t sent)
{
	for (int way = 0; way < INLINE_WAYS; way++) {
		uint32_t port = ways[way].inside ? state->inside : state->outside;
		struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)port};
		uint8_t frame[INLINER_PROBE_LEN];

		if (port == INLINE_NOWHERE)
			continue;
		inliner_probe_make(state, (enum inline_way)way, sent, frame);
		(void)sendto(socket, frame, sizeof(frame), MSG_DONTWAIT, (struct sockaddr *)&to,
			     sizeof(to));
	}
}

static void pause_for(unsigned milliseconds)
{
	struct timespec t = {.tv_sec = milliseconds / 1000,
			     .tv_nsec = (long)(milliseconds % 1000) * 1000000};

	nanosleep(&t, NULL);
}

static void compare(const struct inliner *before, const struct inliner *now,
		    struct inliner_trial *trial)
{
	for (int way = 0; way < INLINE_WAYS; way++) {
		const struct inline_probe_seen *seen = &now->probes[way];
		uint64_t took = seen->arrived - seen->sent;
		uint64_t came = seen->count - before->probes[way].count;

		/* (portmirrord sends its own.) */
		trial->came[way] = came < trial->sent ? (unsigned)came : trial->sent;
		if (trial->came[way] > 0 && seen->arrived > seen->sent &&
		    took > trial->longest[way])
			trial->longest[way] = took;
	}
}

int inliner_try(const char *house, const char *session, unsigned count, unsigned interval,
		unsigned wait, bool (*going_on)(void), struct inliner_trial *trial, struct err *e)
{
	struct inliner_trial made = {0};
	struct inliner before, now;
	int r = inliner_look(house, session, &before, e);
	int fd cleanup(fd_close_at) = r < 0 ? r : inliner_probe_open(e);

	if (fd < 0)
		return fd;
	while (made.sent < count && (!going_on || going_on())) {
		inliner_probe_send(fd, &before.state, inliner_now());
		made.sent++;
		pause_for(made.sent < count ? interval : wait);
		r = inliner_look(house, session, &now, e);
		if (r < 0)
			return r;
		compare(&before, &now, &made);
	}
	*trial = made;
	return 0;
}

bool inliner_learns(const struct inliner_trial *trial)
{
	return trial->came[INLINE_OUTWARD] >= FEW && trial->came[INLINE_INWARD] >= FEW &&
	       trial->came[INLINE_LEARNING] == 0;
}
