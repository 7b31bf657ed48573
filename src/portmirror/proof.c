/* SPDX-License-Identifier: MIT */
#include "portmirror/proof.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "netlink/link.h"
#include "netlink/nl.h"
#include "portmirror/proof_book.h"
#include "portmirror/proof_probe.h"
#include "portmirror/proof_ring.h"
#include "portmirror/proof_run.h"

enum {
	ENTRIES = 1 << 20, /* of all books: twice 300,000 frames a second for 1.5 seconds */
	LARGE_UP_TO = 16,  /* sources; with more of them blocks are small */
	BLOCKS_MIN = 3,
};

static bool is_destination(const struct proof_request *request, size_t ring)
{
	return ring < request->nto;
}

static int ifindex_of(const struct proof_request *request, size_t ring)
{
	return is_destination(request, ring) ? request->to[ring]
					     : request->sources[ring - request->nto].ifindex;
}

/* How many blocks one of the destinations, or sources, gets. A frame may be seen at two sources,
 * where it enters and where it leaves, and is copied once; or once to each destination. */
static size_t share_of(const struct proof_request *request, bool destination, size_t blocks)
{
	size_t copies = request->promise.balance ? 1 : request->nto;
	size_t for_copies = blocks * copies / (copies + 2);
	size_t share =
		destination ? for_copies / request->nto : (blocks - for_copies) / request->nsources;

	return share > BLOCKS_MIN ? share : BLOCKS_MIN;
}

static struct ring_spec spec_of(const struct proof_request *request, size_t ring)
{
	size_t block = request->nsources <= LARGE_UP_TO ? LARGE_BLOCK : SMALL_BLOCK;
	bool destination = is_destination(request, ring);

	return (struct ring_spec){
		.ifindex = ifindex_of(request, ring),
		.direction = destination ? DIRECTION_RECEIVED
					 : request->sources[ring - request->nto].direction,
		.code = request->code,
		.ncode = request->ncode,
		.block_size = block,
		.blocks = share_of(request, destination, RINGS_MEMORY / block),
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
		specs[i] = spec_of(request, i);
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
	for (size_t i = 0; i < run->nbooks; i++)
		book_free(run->books[i]);
	free(run->books);
	fd_close_at(&run->probe_fd);
}

static bool is_source(const struct proof_request *request, int ifindex)
{
	for (size_t i = 0; i < request->nsources; i++)
		if (request->sources[i].ifindex == ifindex)
			return true;
	return false;
}

static int check_request(const struct proof_request *request, struct err *e)
{
	if (request->nsources == 0 || request->nsources >= UINT16_MAX)
		return err_set(e, -EINVAL, "cannot compare the frames of %zu devices",
			       request->nsources);
	if (request->nto == 0 || request->nto > SESSION_TO_MAX)
		return err_set(e, -EINVAL, "cannot look at %zu destinations", request->nto);
	if (!(request->seconds > 0 && request->seconds <= PROOF_SECONDS_MAX))
		return err_set(e, -EINVAL,
			       "the time to measure must be above 0 and up to %d seconds",
			       PROOF_SECONDS_MAX);
	for (size_t i = 0; i < request->nto; i++) {
		if (is_source(request, request->to[i]))
			return err_set(e, -EINVAL, "the destination is also a source");
	}
	return 0;
}

static int read_links(struct nl_links *links, struct err *e)
{
	struct nl *nl cleanup(nl_close_at) = NULL;
	int r = nl_open(&nl, e);

	if (r < 0)
		return r;
	do
		r = nl_links(nl, links, e);
	while (r == -EINTR); /* devices came or went in the midst of it */
	return r;
}

/* What the devices are like: their kind and MTU, and whether TCP super-frames stay whole at all of
 * them. */
static int look_at_devices(struct run *run, const struct nl_links *links, struct err *e)
{
	run->terms.blur = FRAME_EXACT;
	for (size_t i = 0; i < run->nrings; i++) {
		int ifindex = ifindex_of(run->request, i);
		const struct nl_link *link = nl_link_by_index(links, ifindex);

		if (!link)
			return err_set(e, -ENODEV, "there is no device with index %d any more",
				       ifindex);
		run->watches[i].bridge = strcmp(link->kind, "bridge") == 0;
		run->watches[i].mtu = link->mtu;
		run->watches[i].cuts = !ring_takes_super_frames(link->name);
		if (run->watches[i].cuts)
			run->terms.blur = FRAME_TCP_ID;
	}
	return 0;
}

static uint64_t dropped_by(const struct nl_links *links, int ifindex)
{
	const struct nl_link *link = nl_link_by_index(links, ifindex);

	return link ? link->tx_dropped : 0;
}

/* Frames that the destinations' drivers dropped between two looks. */
static void count_dropped(const struct proof_request *request, const struct nl_links *before,
			  const struct nl_links *after, struct proof_result *result)
{
	for (size_t i = 0; i < request->nto; i++) {
		uint64_t then = dropped_by(before, request->to[i]);
		uint64_t now = dropped_by(after, request->to[i]);

		result->destinations[i].dropped = now > then ? now - then : 0;
	}
}

static void conclude_destinations(struct run *run, struct proof_result *result)
{
	for (size_t i = 0; i < run->nbooks; i++)
		book_close(run->books[i]);
	for (size_t i = 0; i < result->ndestinations; i++) {
		struct proof_destination_result *d = &result->destinations[i];

		d->seen = run->watches[i].seen.sent;
		d->unseen = proof_unseen(&run->watches[i]);
		if (run->request->promise.balance)
			continue;
		book_counts(run->books[i], &d->counts);
		d->counts.unseen = d->unseen;
	}
}

/* Everything is measured: fills in the result. */
static void conclude(struct run *run, struct proof_result *result)
{
	uint64_t frames = 0, bytes = 0;

	conclude_destinations(run, result);
	proof_count(run, &result->counts);
	for (size_t i = 0; i < result->nsources; i++) {
		const struct watch *watch = &run->watches[result->ndestinations + i];
		struct proof_source_result *source = &result->sources[i];

		*source = watch->seen;
		source->unseen = proof_unseen(watch);
		frames += source->sent + source->received;
		bytes += source->bytes;
	}
	result->promise = run->request->promise;
	result->probes = run->probes;
	result->as_segments = run->terms.blur == FRAME_TCP_ID && !run->terms.snap;
	result->seconds = (double)(run->end - run->start) / (double)SECOND;
	if (result->seconds > 0) {
		result->frames_per_second = (double)frames / result->seconds;
		result->bits_per_second = (double)bytes * 8 / result->seconds;
	}
}

static unsigned kind_of_books(const struct proof_promise *promise)
{
	return (promise->partial ? BOOK_PARTIAL : BOOK_FULL) |
	       (promise->balance ? BOOK_FLOWS : BOOK_FULL) |
	       (promise->whole_flows ? BOOK_WHOLE_FLOWS : BOOK_FULL);
}

/* They share the memory that one would have. */
static bool make_books(struct run *run)
{
	const struct proof_promise *promise = &run->request->promise;
	size_t count = promise->balance ? 1 : run->request->nto, limit = ENTRIES;

	run->books = calloc(count, sizeof(struct book *));
	if (!run->books)
		return false;
	for (size_t n = count; n > 1; n = (n + 1) / 2)
		limit /= 2;
	for (; run->nbooks < count; run->nbooks++) {
		run->books[run->nbooks] = book_new(limit, kind_of_books(promise));
		if (!run->books[run->nbooks])
			return false;
	}
	return true;
}

static int make_room(struct run *run, struct proof_result *result, struct err *e)
{
	const struct proof_request *request = run->request;

	run->nrings = request->nto + request->nsources;
	run->watches = calloc(run->nrings, sizeof(*run->watches));
	run->polls = calloc(run->nrings, sizeof(*run->polls));
	result->sources = calloc(request->nsources, sizeof(*result->sources));
	result->nsources = request->nsources;
	result->destinations = calloc(request->nto, sizeof(*result->destinations));
	result->ndestinations = request->nto;
	if (!run->watches || !run->polls || !result->sources || !result->destinations ||
	    !make_books(run))
		return err_sys(e, -ENOMEM, "cannot prepare the comparison");
	return 0;
}

static int prepare(struct run *run, struct proof_result *result, struct err *e)
{
	const struct proof_request *request = run->request;
	const struct proof_promise *promise = &request->promise;
	int r = make_room(run, result, e);

	if (r < 0)
		return r;
	run->terms.snap = promise->snap;
	run->terms.flows = promise->balance || promise->whole_flows;
	for (size_t i = 0; i < run->nrings; i++) {
		bool destination = is_destination(request, i);

		run->watches[i] = (struct watch){
			.run = run,
			.destination = destination,
			.number = (uint16_t)(destination ? i : i - request->nto),
		};
	}
	if (request->probes > 0) {
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
	int r = prepare(run, result, e);

	if (r == 0)
		r = read_links(&before, e);
	if (r == 0)
		r = look_at_devices(run, &before, e);
	if (r == 0)
		r = open_rings(run, e);
	if (r < 0)
		return r;
	proof_measure(run);
	r = read_links(&after, e);
	if (r < 0)
		return r;
	count_dropped(run->request, &before, &after, result);
	conclude(run, result);
	proof_judge(run->request, result);
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
	free(result->destinations);
	*result = (struct proof_result){0};
}
