/* SPDX-License-Identifier: MIT */
/*
 * A mirror session: what somebody wants copied, from where to where. Its saved form is the mirror
 * object of the API, in YAML. Pure: nothing here looks at the system.
 */
#ifndef PORTMIRROR_SESSION_H
#define PORTMIRROR_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "portmirror/selector.h"

struct buf;
struct err;

#define SESSION_NAME_MAX   63
#define SESSION_FROM_MAX   256
#define SESSION_FILTER_MAX 4096
#define SESSION_TO_MAX	   16
#define SESSION_SNAP_MIN   64 /* bytes: the headers that a flow is told by */
#define SESSION_SNAP_MAX   65535
#define SESSION_SAMPLE_MAX 1000000
#define SESSION_RATE_MAX   1000000 /* Mbit/s */

enum mode { MODE_MIRROR, MODE_INLINE };
enum direction { DIRECTION_SENT = 1, DIRECTION_RECEIVED = 2, DIRECTION_BOTH = 3 };
enum attach { ATTACH_AUTO, ATTACH_CLSACT, ATTACH_CLASSIC };
enum engine_kind { ENGINE_AUTO, ENGINE_TC, ENGINE_BPF };

/* Of an in-line session: what becomes of the traffic when the appliance fails; and what the
 * appliance is like inside: what goes in at one port comes out at the other, or it learns. */
enum on_failure { ON_FAILURE_UNSAID, ON_FAILURE_OPEN, ON_FAILURE_CLOSED };
enum appliance { APPLIANCE_WIRE, APPLIANCE_BRIDGE };
enum side { SIDE_INSIDE, SIDE_OUTSIDE, SIDES };

#define PROBE_INTERVAL	   100 /* milliseconds */
#define PROBE_INTERVAL_MIN 10
#define PROBE_INTERVAL_MAX 60000

struct session {
	char name[SESSION_NAME_MAX + 1];
	enum mode mode;
	struct selector *from; /* in-line: the guarded ones ("guard") */
	size_t nfrom;
	struct selector *to;
	size_t nto;
	enum direction direction;
	enum attach attach;
	enum engine_kind engine;
	/* What only the engine bpf can; 0 or false: not asked for. */
	unsigned snap;	   /* bytes of each frame that are copied */
	unsigned sample;   /* one frame in so many */
	bool sample_flows; /* or one flow in so many */
	unsigned rate;	   /* Mbit/s of copies */
	bool balance;	   /* each flow to one of the destinations */
	char *filter;	   /* pcap-filter(7), NULL for all frames */
	bool isolate;
	/* In-line only, which in turn has nothing from "to" to "balance", and no isolate. */
	struct selector through[SIDES];
	enum on_failure on_failure;
	enum appliance appliance;
	unsigned probe_interval; /* milliseconds */

	bool suspended; /* saved, but does nothing now */
	bool runtime;	/* where it is kept: /run instead of /etc */
};

void session_free(struct session *s); /* what it holds, not s itself; zeroed afterwards */
int session_copy(const struct session *s, struct session *copy, struct err *e);

/* A name: letters, digits, '.', '_', '-'; starts with a letter or digit; at most 63 bytes. */
int session_check_name(const char *name, struct err *e);

int direction_parse(const char *text, enum direction *direction, struct err *e);
const char *direction_name(enum direction direction);
int attach_parse(const char *text, enum attach *attach, struct err *e);
const char *attach_name(enum attach attach);
int engine_kind_parse(const char *text, enum engine_kind *engine, struct err *e);
const char *engine_kind_name(enum engine_kind engine);
const char *mode_name(enum mode mode);
const char *on_failure_name(enum on_failure on_failure);
const char *appliance_name(enum appliance appliance);
/* The first of its options, as a person writes it, that only the engine bpf can carry out; NULL:
 * there is none. */
const char *session_needs_bpf(const struct session *s);

/*
 * Reads a mirror object; field (at least SESSION_FIELD bytes) gets the path of the value that an
 * error is about ("from[1]"), so that the caller can find its line. The name may be absent where
 * fallback is given (a file's name); where both are there they must be equal.
 * Keys: _type ("mirror"), name, mode ("mirror", "inline"), from (an array of selectors, or one
 * selector), to (a selector, or an array), direction, filter, attach, engine, snap, sample,
 * sample-flows, rate, balance, isolate, suspended, runtime. In mode inline there are only name,
 * filter, suspended and runtime of these, and guard (like from), through (an array of two
 * selectors: inside, outside), on-failure, appliance, probe-interval; of the other mode's keys
 * their defaults do no harm. Any other is refused, with a hint at the key that was probably meant.
 * null is as good as an absent key. No source may be there twice, or be a destination.
 */
#define SESSION_FIELD 64
int session_read(const json_t *object, const char *fallback, struct session *s, char *field,
		 struct err *e);

/* The mirror object. all: with _type, mode, runtime and the attributes that have their default too
 * (the API's form); otherwise only those that differ (the saved form; runtime is told by the place
 * where that is kept). NULL: out of memory. */
json_t *session_object(const struct session *s, bool all);

/* The same in all; the order of the sources, and of the destinations, doesn't matter. */
bool session_equal(const struct session *a, const struct session *b);

#endif
