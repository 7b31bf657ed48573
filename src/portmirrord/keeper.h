/* SPDX-License-Identifier: MIT */
/*
 * The keeper holds the kernel to what the saved sessions say: it watches devices, traffic control,
 * session files and virtual machines, and reconciles when one of them changes. It always has the
 * picture of the host as of the last change, so that asking costs nothing.
 */
#ifndef PORTMIRRORD_KEEPER_H
#define PORTMIRRORD_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "portmirror/engine.h"

struct err;
struct events;
struct keeper;
struct loop;

/* A descriptor of a program or a map (portmirror/once_hold.h) that outlived an earlier process. */
struct keeper_kept {
	int fd;
	bool program;
};

/* What has changed, for those who listen (the API wakes its long polls). */
enum keeper_change {
	KEEPER_EVENTS = 1 << 0,
	KEEPER_SESSIONS = 1 << 1, /* saved ones, or their states */
	KEEPER_HOST = 1 << 2,	  /* devices, virtual machines */
};

struct keeper_config {
	struct loop *loop;
	const char *root;	    /* "": the system's own places */
	enum engine_kind preferred; /* what a session's engine auto means on this host */
	void (*changed)(unsigned changes, void *data);
	/* Now and then amid what takes long; may be NULL. */
	void (*busy)(void *data);
	/* For the journal: what becomes an event, and errors. */
	void (*log)(int priority, const char *sentence, void *data);
	void *data;
	/* Programs and maps: those that are handed to it, which it takes over; and, if not NULL,
	 * who learns which it holds. */
	const struct keeper_kept *kept;
	size_t nkept;
	void (*held)(bool held, bool program, const struct once_held *it, void *data);
};

/* Opens everything, and changes nothing. */
int keeper_new(const struct keeper_config *config, struct keeper **keeper, struct err *e);
/* Reconciles, and follows the host from now on, while the loop runs. */
void keeper_start(struct keeper *keeper);
void keeper_free(struct keeper *keeper); /* the kernel's state stays */

/* The sessions as of now, and how they stand; valid until the loop goes on. Never NULL; the
 * virtual machines are always among the host's. */
const struct sessions *keeper_sessions(const struct keeper *keeper);
const struct view *keeper_view(const struct keeper *keeper);
/* Counts up with every change of the view, counters included. */
uint64_t keeper_generation(const struct keeper *keeper);
struct events *keeper_events(struct keeper *keeper);
const struct store *keeper_store(const struct keeper *keeper);
/* What a session's engine auto comes to on this host, where nothing else speaks for either. */
enum engine_kind keeper_preferred(const struct keeper *keeper);

/* Reads everything anew. */
void keeper_renew(struct keeper *keeper);

/* Reads the counters of devices and actions anew into the view (one dump each), unless they are
 * younger than milliseconds. */
int keeper_refresh(struct keeper *keeper, unsigned milliseconds, struct err *e);

/*
 * For edits: takes the lock (waits for at most a quarter of a second: -EBUSY), calls edit() with
 * the engine and the saved sessions as they are now, and takes in what it did. edit() returns 0 or
 * a negative errno with the sentence in e, which is returned; see portmirror/edit.h.
 */
int keeper_edit(struct keeper *keeper,
		int (*edit)(struct engine *engine, struct sessions *sessions, void *data,
			    struct err *e),
		void *data, struct err *e);

/* For /metrics. */
struct keeper_counts {
	uint64_t reconciled; /* how often */
	uint64_t repaired;   /* what others had wiped or changed was put back */
	uint64_t overruns;   /* netlink messages were lost: everything was read anew */
	uint64_t failed;
};
void keeper_counts(const struct keeper *keeper, struct keeper_counts *counts);
/* The probes that were sent through the appliance of an in-line session, each way, since it is
 * watched; 0: it isn't. */
uint64_t keeper_probes(const struct keeper *keeper, const char *session);

#endif
