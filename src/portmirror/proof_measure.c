/* SPDX-License-Identifier: MIT */
/* The measurement: reads the rings, marks what is in them, and notes it in the books. */
#include <linux/virtio_net.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include "portmirror/proof_book.h"
#include "portmirror/proof_probe.h"
#include "portmirror/proof_ring.h"
#include "portmirror/proof_run.h"

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
};

static uint64_t clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* What leaves or enters at a source is to be found at all destinations. */
static bool add(const struct watch *watch, const struct frame_mark *mark,
		const struct book_view *view)
{
	const struct run *run = watch->run;
	size_t first = watch->destination && run->nbooks > 1 ? watch->number : 0;
	size_t end = watch->destination ? first + 1 : run->nbooks;
	bool added = true;

	for (size_t i = first; i < end; i++)
		added &= book_add(run->books[i], mark, view, run->now / MILLISECOND);
	return added;
}

static void note(struct watch *watch, const struct frame_mark *mark, const struct book_view *view,
		 size_t len)
{
	if (!add(watch, mark, view)) {
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

/* A UDP super-frame is cut always: few devices take it whole. One of which the copy is the
 * beginning only is a frame as any other. */
static bool must_cut(const struct run *run, const struct frame *frame)
{
	if (frame->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return false;
	if (run->terms.snap && frame->len > frame_room(frame, run->terms.snap))
		return false;
	return run->terms.blur == FRAME_TCP_ID || (frame->gso_type != VIRTIO_NET_HDR_GSO_TCPV4 &&
						   frame->gso_type != VIRTIO_NET_HDR_GSO_TCPV6);
}

/* It may be one of a super-frame's segments, which the kernel made after it had copied the
 * super-frame's first bytes. */
static bool may_be_copied_otherwise(const struct watch *watch, const struct book_view *view,
				    const struct frame *frame)
{
	return watch->run->terms.snap && watch->cuts && view->side == BOOK_RECEIVED &&
	       frame_is_tcp_data(frame);
}

static void see_frame(struct watch *watch, const struct frame *frame, const struct book_view *view)
{
	const struct frame_terms *terms = &watch->run->terms;
	bool too_long = watch->destination && terms->snap && frame_too_long(frame, terms->snap);
	struct frame_mark mark;

	frame_mark(frame, terms, &mark);
	if (too_long)
		mark.key = ~mark.key; /* so it is none of the frames that were to be copied */
	note(watch, &mark, view, frame->len);
}

static void see_segments(struct watch *watch, const struct frame *frame,
			 const struct book_view *view)
{
	struct frame_mark mark;
	struct frame_cut cut;
	size_t len;

	if (!frame_cut_begin(&cut, frame, &watch->run->terms)) {
		watch->unseen++;
		return;
	}
	watch->run->cut += view->inside && !watch->destination;
	while (frame_cut_next(&cut, &mark, &len))
		note(watch, &mark, view, len);
}

static void see(const struct ring_frame *seen, void *data)
{
	struct watch *watch = data;
	struct run *run = watch->run;
	struct frame frame = seen->frame;
	uint64_t time = seen->time - run->ahead;
	struct book_view view = {
		.side = watch->destination ? BOOK_COPIED
			: seen->outgoing   ? BOOK_RECEIVED
			: watch->bridge	   ? BOOK_PASSED
					   : BOOK_SENT,
		.source = watch->number,
		.inside = time >= run->start && time < run->end,
	};

	if (seen->partial) {
		watch->unseen++;
		return;
	}
	frame_pull_tag(&frame);
	if (may_be_copied_otherwise(watch, &view, &frame))
		watch->unseen += view.inside;
	else if (must_cut(run, &frame))
		see_segments(watch, &frame, &view);
	else
		see_frame(watch, &frame, &view);
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
	for (size_t i = 0; i < run->nbooks; i++)
		book_sweep(run->books[i], SWEEP_PARTS, run->now / MILLISECOND);
}

static void send_round(struct run *run)
{
	const struct proof_request *request = run->request;
	const struct watch *sources = &run->watches[request->nto];

	for (size_t i = 0; i < request->nsources; i++) {
		if (request->sources[i].direction & DIRECTION_RECEIVED &&
		    probe_send(run->probe_fd, request->sources[i].ifindex, sources[i].mtu,
			       run->probe_rounds * request->nsources + i) == 0)
			run->probes++;
	}
	run->probe_rounds++;
}

/* Spread evenly over the time but its last tenth, in rounds over all sources. Where a machine is so
 * slow that the last ones go out behind it, the time is longer. */
static void send_probes(struct run *run)
{
	uint64_t span = (run->end - run->start) / 10 * 9;
	uint64_t before = run->probe_rounds;

	if (run->ended)
		return;
	while (run->probe_rounds < run->request->probes &&
	       run->now >= run->start + span / run->request->probes * run->probe_rounds)
		send_round(run);
	if (run->probe_rounds == before)
		return;
	run->now = clock_read(CLOCK_MONOTONIC);
	if (run->now >= run->end)
		run->end = run->now + MILLISECOND;
}

uint64_t proof_unseen(const struct watch *watch)
{
	return watch->unseen + ring_drops(watch->ring);
}

static void add_counts(struct proof_counts *sum, const struct proof_counts *c)
{
	sum->expected += c->expected;
	sum->copied += c->copied;
	sum->lost += c->lost;
	sum->left_out += c->left_out;
	sum->doubled += c->doubled;
	sum->altered += c->altered;
	sum->other += c->other;
	if (c->flows > sum->flows) /* each book has them all */
		sum->flows = c->flows;
	sum->split += c->split;
}

void proof_count(const struct run *run, struct proof_counts *counts)
{
	struct proof_counts one;

	*counts = (struct proof_counts){.cut = run->cut};
	for (size_t i = 0; i < run->nbooks; i++) {
		book_counts(run->books[i], &one);
		add_counts(counts, &one);
	}
	for (size_t i = 0; i < run->nrings; i++)
		counts->unseen += proof_unseen(&run->watches[i]);
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
	proof_count(run, &counts);
	if (!request->progress(share, &counts, request->data)) {
		run->ended = true;
		run->end = clock_read(CLOCK_MONOTONIC);
	}
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

static void watch_all(struct run *run)
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

void proof_measure(struct run *run)
{
	int nice = set_nice(HURRY);

	watch_all(run);
	(void)set_nice(nice);
}
