/* SPDX-License-Identifier: MIT */
#include "portmirror/proof.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_net.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "base/err.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "netlink/nl.h"
#include "portmirror/proof_book.h"
#include "portmirror/proof_frame.h"
#include "portmirror/proof_probe.h"
#include "portmirror/proof_ring.h"

#define SECOND	    UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)

enum {
	/* A copy made at a queueing discipline may be seen long before the frame itself. */
	LEAD = 200, /* milliseconds that the rings run before what counts begins */
	TAIL = 300, /* and after it */
	PROGRESS_EVERY = 50,
	WAIT = 10,
	HURRY = -15,	  /* nice value while measuring: the rings fill while another has the CPU */
	SWEEP_EVERY = 10, /* milliseconds */
	SWEEP_PARTS = 50, /* of the book: all of it twice a second */
	TURN = 8,	  /* blocks read from one ring before it is the next one's turn */
	ENTRIES = 1 << 20, /* of the book: twice 300,000 frames a second for 1.5 seconds */
	RINGS_MEMORY = 64 << 20,
	LARGE_BLOCK = 512 << 10, /* holds seven super-frames of 64 KB */
	SMALL_BLOCK = 128 << 10, /* holds one */
	LARGE_UP_TO = 16,	 /* sources; with more of them blocks are small */
	BLOCKS_MIN = 3,
};

struct run;

/* One ring, and what was seen there. */
struct watch {
	struct run *run;
	struct ring *ring;
	bool destination;
	uint16_t source;
	unsigned mtu;
	uint64_t unseen; /* but for the ring's own drops */
	struct proof_source_result seen;
};

struct run {
	const struct proof_request *request;
	/* The destination's, then the sources'. */
	struct watch *watches;
	struct ring *rings;
	struct pollfd *polls;
	size_t nrings;
	struct book *book;
	enum frame_blur blur;
	uint64_t cut;
	/* All times are nanoseconds of CLOCK_MONOTONIC. */
	uint64_t ahead; /* of CLOCK_REALTIME, in which the rings stamp */
	uint64_t now, start, end, swept, shown;
	int probe_fd;
	uint64_t probe_rounds, probes;
};

static uint64_t clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static void note(struct watch *watch, const struct frame_mark *mark, const struct book_view *view,
		 size_t len)
{
	if (!book_add(watch->run->book, mark, view, watch->run->now / MILLISECOND)) {
		watch->unseen++;
		return;
	}
	if (!view->inside)
		return;
	watch->seen.bytes += len;
	if (view->side == BOOK_RECEIVED)
		watch->seen.received++;
	else
		watch->seen.sent++;
}

/* A UDP super-frame is cut always: few devices take it whole. */
static bool must_cut(const struct run *run, const struct frame *frame)
{
	if (frame->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return false;
	return run->blur == FRAME_TCP_ID || (frame->gso_type != VIRTIO_NET_HDR_GSO_TCPV4 &&
					     frame->gso_type != VIRTIO_NET_HDR_GSO_TCPV6);
}

static void see(const struct ring_frame *seen, void *data)
{
	struct watch *watch = data;
	struct run *run = watch->run;
	uint64_t time = seen->time - run->ahead;
	struct book_view view = {
		.side = watch->destination ? BOOK_COPIED
			: seen->outgoing   ? BOOK_RECEIVED
					   : BOOK_SENT,
		.source = watch->source,
		.inside = time >= run->start && time < run->end,
	};
	struct frame_mark mark;
	struct frame_cut cut;
	size_t len;

	if (seen->partial) {
		watch->unseen++;
		return;
	}
	if (!must_cut(run, &seen->frame)) {
		frame_mark(&seen->frame, run->blur, &mark);
		note(watch, &mark, &view, seen->frame.len);
		return;
	}
	if (!frame_cut_begin(&cut, &seen->frame, run->blur)) {
		watch->unseen++;
		return;
	}
	run->cut += view.inside && !watch->destination;
	while (frame_cut_next(&cut, &mark, &len))
		note(watch, &mark, &view, len);
}

/* One round over all rings. True: there may be more. */
static bool read_rings(struct run *run, size_t turn)
{
	bool more = false;

	for (size_t i = 0; i < run->nrings; i++) {
		struct watch *watch = &run->watches[i];
		size_t n = 0;

		while (n < turn && ring_read(watch->ring, see, watch))
			n++;
		more |= n == turn;
	}
	return more;
}

static void sweep(struct run *run)
{
	if (run->now - run->swept < SWEEP_EVERY * MILLISECOND)
		return;
	run->swept = run->now;
	book_sweep(run->book, SWEEP_PARTS, run->now / MILLISECOND);
}

static void send_round(struct run *run)
{
	const struct proof_request *request = run->request;

	for (size_t i = 0; i < request->nsources; i++) {
		if (request->sources[i].direction & DIRECTION_RECEIVED &&
		    probe_send(run->probe_fd, request->sources[i].ifindex, run->watches[i + 1].mtu,
			       run->probe_rounds * request->nsources + i) == 0)
			run->probes++;
	}
	run->probe_rounds++;
}

/* Spread evenly over the time but its last tenth, in rounds over all sources. */
static void send_probes(struct run *run)
{
	uint64_t span = (run->end - run->start) / 10 * 9;

	while (run->probe_rounds < run->request->probes && run->now < run->end &&
	       run->now >= run->start + span / run->request->probes * run->probe_rounds)
		send_round(run);
}

static void count(struct run *run, struct proof_counts *counts)
{
	book_counts(run->book, counts);
	counts->cut = run->cut;
	counts->unseen = 0;
	for (size_t i = 0; i < run->nrings; i++)
		counts->unseen += run->watches[i].unseen + ring_drops(&run->rings[i]);
}

static void show_progress(struct run *run)
{
	const struct proof_request *request = run->request;
	struct proof_counts counts;
	double share;

	if (!request->progress || run->now < run->start || run->now >= run->end ||
	    run->now - run->shown < PROGRESS_EVERY * MILLISECOND)
		return;
	share = run->shown == 0 ? 0
				: (double)(run->now - run->start) / (double)(run->end - run->start);
	run->shown = run->now;
	count(run, &counts);
	if (!request->progress(share, &counts, request->data))
		run->end = clock_read(CLOCK_MONOTONIC);
}

/* A device that goes down leaves an error behind at which poll() would return for ever. */
static void wait_for_frames(struct run *run)
{
	if (poll(run->polls, run->nrings, WAIT) <= 0)
		return;
	for (size_t i = 0; i < run->nrings; i++) {
		int code;
		socklen_t len = sizeof(code);

		if (run->polls[i].revents & POLLERR)
			(void)getsockopt(run->polls[i].fd, SOL_SOCKET, SO_ERROR, &code, &len);
	}
}

/* Sets the calling thread's nice value, if that is allowed, and returns the one that it had. */
static int set_nice(int nice)
{
	int before = getpriority(PRIO_PROCESS, 0);

	(void)setpriority(PRIO_PROCESS, 0, nice);
	return before;
}

static void measure(struct run *run)
{
	bool more;

	run->now = clock_read(CLOCK_MONOTONIC);
	run->ahead = clock_read(CLOCK_REALTIME) - run->now;
	run->start = run->now + LEAD * MILLISECOND;
	run->end = run->start + (uint64_t)(run->request->seconds * (double)SECOND);
	run->swept = run->now;
	while (run->now < run->end + TAIL * MILLISECOND) {
		more = read_rings(run, TURN);
		sweep(run);
		send_probes(run);
		show_progress(run);
		if (!more)
			wait_for_frames(run);
		run->now = clock_read(CLOCK_MONOTONIC);
	}
	read_rings(run, RINGS_MEMORY / SMALL_BLOCK);
}

/* The destination's ring gets a third of the memory, for it sees all copies. */
static struct ring_spec spec_of(const struct proof_request *request,
				const struct proof_source *source)
{
	size_t block = request->nsources <= LARGE_UP_TO ? LARGE_BLOCK : SMALL_BLOCK;
	size_t blocks = RINGS_MEMORY / block;
	size_t share = (blocks - blocks / 3) / request->nsources;

	return (struct ring_spec){
		.ifindex = source ? source->ifindex : request->to_ifindex,
		.direction = source ? source->direction : DIRECTION_RECEIVED,
		.code = request->code,
		.ncode = request->ncode,
		.block_size = block,
		.blocks = !source	       ? blocks / 3
			  : share > BLOCKS_MIN ? share
					       : BLOCKS_MIN,
	};
}

static int open_rings(struct run *run, struct err *e)
{
	const struct proof_request *request = run->request;
	struct ring_spec *specs cleanup(free_at) = calloc(run->nrings, sizeof(*specs));
	int r;

	if (specs) /* once there are rings, they are opened: run_close() relies on it */
		run->rings = calloc(run->nrings, sizeof(*run->rings));
	if (!run->rings)
		return err_sys(e, -ENOMEM, "cannot prepare the comparison");
	for (size_t i = 0; i < run->nrings; i++)
		specs[i] = spec_of(request, i > 0 ? &request->sources[i - 1] : NULL);
	r = rings_open(run->rings, specs, run->nrings, e);
	for (size_t i = 0; i < run->nrings && r == 0; i++) {
		run->watches[i].ring = &run->rings[i];
		run->polls[i] = (struct pollfd){.fd = run->rings[i].fd, .events = POLLIN};
		r = ring_start(&run->rings[i], e);
	}
	return r;
}

static void run_close(struct run *run)
{
	rings_close(run->rings, run->rings ? run->nrings : 0);
	free(run->rings);
	free(run->watches);
	free(run->polls);
	book_free(run->book);
	fd_close_at(&run->probe_fd);
}

static int check_request(const struct proof_request *request, struct err *e)
{
	if (request->nsources == 0 || request->nsources >= UINT16_MAX)
		return err_set(e, -EINVAL, "cannot compare the frames of %zu devices",
			       request->nsources);
	if (!(request->seconds > 0 && request->seconds <= PROOF_SECONDS_MAX))
		return err_set(e, -EINVAL,
			       "the time to measure must be above 0 and up to %d seconds",
			       PROOF_SECONDS_MAX);
	for (size_t i = 0; i < request->nsources; i++) {
		if (request->sources[i].ifindex == request->to_ifindex)
			return err_set(e, -EINVAL, "the destination is also a source");
	}
	return 0;
}

static int read_links(struct nl_links *links, struct err *e)
{
	struct nl *nl cleanup(nl_close_at) = NULL;
	int r = nl_open(&nl, e);

	while (r == 0) {
		r = nl_links(nl, links, e);
		if (r != -EINTR)
			break;
		r = 0; /* devices came or went in the midst of it */
	}
	return r;
}

/* What the devices are like: their MTU, and whether TCP super-frames stay whole at all of them. */
static int look_at_devices(struct run *run, const struct nl_links *links, struct err *e)
{
	const struct proof_request *request = run->request;

	run->blur = FRAME_EXACT;
	for (size_t i = 0; i <= request->nsources; i++) {
		int ifindex = i > 0 ? request->sources[i - 1].ifindex : request->to_ifindex;
		const struct nl_link *link = nl_link_by_index(links, ifindex);

		if (!link)
			return err_set(e, -ENODEV, "there is no device with index %d any more",
				       ifindex);
		run->watches[i].mtu = link->mtu;
		if (!ring_takes_super_frames(link->name))
			run->blur = FRAME_TCP_ID;
	}
	return 0;
}

static uint64_t dropped_by(const struct nl_links *links, int ifindex)
{
	const struct nl_link *link = nl_link_by_index(links, ifindex);

	return link ? link->tx_dropped : 0;
}

static const char *missing_direction(const struct proof_request *request,
				     const struct proof_result *result)
{
	uint64_t sent = 0, received = 0;
	unsigned asked = 0;

	for (size_t i = 0; i < request->nsources; i++) {
		asked |= request->sources[i].direction;
		sent += result->sources[i].sent;
		received += result->sources[i].received;
	}
	if (asked & DIRECTION_SENT && sent == 0)
		return "sent";
	if (asked & DIRECTION_RECEIVED && received == 0)
		return "received";
	return NULL;
}

static void judge(const struct proof_request *request, struct proof_result *result)
{
	const struct proof_counts *c = &result->counts;
	const char *missing = missing_direction(request, result);
	char *why = result->why;
	size_t room = sizeof(result->why);

	if (c->lost + c->doubled + c->altered > c->unseen) {
		result->verdict = PROOF_BROKEN;
		snprintf(why, room,
			 "of %" PRIu64 " frames %" PRIu64 " were lost, %" PRIu64
			 " doubled and %" PRIu64 " altered",
			 c->expected, c->lost, c->doubled, c->altered);
	} else if (result->dropped > 0) {
		result->verdict = PROOF_BROKEN;
		snprintf(why, room, "the destination took %" PRIu64 " frames and dropped them",
			 result->dropped);
	} else if (c->unseen > 0) {
		result->verdict = PROOF_BLIND;
		snprintf(why, room,
			 "%" PRIu64 " frames could not be compared: the rings had no room for "
			 "them, or they can't be cut as the kernel does",
			 c->unseen);
	} else if (missing) {
		result->verdict = PROOF_NOTHING;
		snprintf(why, room, "no frame was %s at any source in that time", missing);
	} else {
		result->verdict = PROOF_WHOLE;
		snprintf(why, room, "each of %" PRIu64 " frames was copied once, and whole",
			 c->expected);
	}
}

/* Everything is measured: fills in the result. */
static void conclude(struct run *run, struct proof_result *result)
{
	uint64_t frames = 0, bytes = 0;

	book_close(run->book);
	count(run, &result->counts);
	result->unseen_at_destination = run->watches[0].unseen + ring_drops(&run->rings[0]);
	for (size_t i = 0; i < result->nsources; i++) {
		struct watch *watch = &run->watches[i + 1];
		struct proof_source_result *source = &result->sources[i];

		*source = watch->seen;
		source->unseen = watch->unseen + ring_drops(watch->ring);
		frames += source->sent + source->received;
		bytes += source->bytes;
	}
	result->probes = run->probes;
	result->as_segments = run->blur == FRAME_TCP_ID;
	result->seconds = (double)(run->end - run->start) / (double)SECOND;
	if (result->seconds > 0) {
		result->frames_per_second = (double)frames / result->seconds;
		result->bits_per_second = (double)bytes * 8 / result->seconds;
	}
}

static int prepare(struct run *run, struct proof_result *result, struct err *e)
{
	size_t n = run->request->nsources;

	run->nrings = n + 1;
	run->watches = calloc(n + 1, sizeof(*run->watches));
	run->polls = calloc(n + 1, sizeof(*run->polls));
	run->book = book_new(ENTRIES);
	result->sources = calloc(n, sizeof(*result->sources));
	result->nsources = n;
	if (!run->watches || !run->polls || !run->book || !result->sources)
		return err_sys(e, -ENOMEM, "cannot prepare the comparison");
	for (size_t i = 0; i <= n; i++) {
		run->watches[i] = (struct watch){
			.run = run, .destination = i == 0, .source = (uint16_t)(i > 0 ? i - 1 : 0)};
	}
	if (run->request->probes > 0) {
		run->probe_fd = probe_open(e);
		if (run->probe_fd < 0)
			return run->probe_fd;
	}
	return 0;
}

static int run_all(struct run *run, struct proof_result *result, struct err *e)
{
	struct nl_links before cleanup(nl_links_free) = {0};
	struct nl_links after cleanup(nl_links_free) = {0};
	int to = run->request->to_ifindex;
	int nice, r;

	r = prepare(run, result, e);
	if (r == 0)
		r = read_links(&before, e);
	if (r == 0)
		r = look_at_devices(run, &before, e);
	if (r == 0)
		r = open_rings(run, e);
	if (r < 0)
		return r;
	nice = set_nice(HURRY);
	measure(run);
	(void)set_nice(nice);
	r = read_links(&after, e);
	if (r < 0)
		return r;
	if (dropped_by(&after, to) > dropped_by(&before, to))
		result->dropped = dropped_by(&after, to) - dropped_by(&before, to);
	conclude(run, result);
	judge(run->request, result);
	return 0;
}

int proof_run(const struct proof_request *request, struct proof_result *result, struct err *e)
{
	struct run run = {.request = request, .probe_fd = -1};
	struct proof_result new = {0};
	int r = check_request(request, e);

	if (r == 0) {
		r = run_all(&run, &new, e);
		run_close(&run);
	}
	if (r == 0)
		*result = new;
	else
		proof_result_free(&new);
	return r;
}

void proof_result_free(struct proof_result *result)
{
	free(result->sources);
	*result = (struct proof_result){0};
}

const char *proof_verdict_name(enum proof_verdict verdict)
{
	switch (verdict) {
	case PROOF_WHOLE:
		return "whole";
	case PROOF_BROKEN:
		return "broken";
	case PROOF_BLIND:
		return "blind";
	case PROOF_NOTHING:
		return "nothing";
	}
	return "";
}
