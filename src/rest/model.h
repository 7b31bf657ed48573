/* SPDX-License-Identifier: MIT */
/*
 * What an application declares of its resources, once. Representations, forms, the checks of what
 * comes in, the pages for a browser, the placeholder "_" and the documentation all come from it.
 *
 * The rules are those of the essay "Thoughts on RESTful API Design" (Geert Jansen): one entry
 * point, URLs that alternate collection and id, links and forms that a client follows.
 */
#ifndef REST_MODEL_H
#define REST_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct rest_api;
struct rest_job;
struct rest_type;

enum rest_kind {
	REST_STRING,
	REST_NUMBER,
	REST_BOOLEAN,
	REST_LINK,   /* an object link: {"href": …}, or null */
	REST_OBJECT, /* anything else that is only ever shown */
};

/* What an attribute is for; 0: it is only shown. */
enum rest_use {
	REST_CREATE = 1 << 0, /* may be given where a resource is created */
	REST_UPDATE = 1 << 1, /* may be changed */
	REST_SEARCH = 1 << 2, /* a collection may be searched by it: NAME=VALUE in the query */
	REST_LIVE = 1 << 3,   /* changes by itself (a counter, a state): no part of the ETag */
	REST_BRIEF = 1 << 4,  /* shown in a collection's table for a browser */
	REST_TRIAL = 1 << 5,  /* asks to try only: the form that stands by the answer doesn't */
};

/* An attribute. Zero limits are none. */
struct rest_field {
	const char *name;
	enum rest_kind kind;
	bool multiple;	/* an array of them; one value alone is taken for an array of one */
	unsigned use;	/* enum rest_use */
	bool mandatory; /* where a resource is created, or replaced */
	bool whole;	/* numbers: without a fraction */
	bool has_limits;
	double min, max;	    /* numbers, where has_limits is set */
	size_t minlen, maxlen;	    /* strings: bytes; also of each of several */
	size_t most;		    /* values, where there may be several */
	const char *regex;	    /* strings: POSIX extended, of the whole value */
	const char *const *choices; /* strings: the only values; ends with NULL */
	const char *fallback;	    /* the default, as JSON; NULL: null */
	const char *sample;	    /* the placeholder's value, as JSON */
	const char *help;	    /* one sentence, in plain text */
};

/* Which fields of a form must and may be there together. A field of the declaration that no
 * constraint names is optional, or mandatory where it says so. */
struct rest_constraint {
	bool mandatory;
	const char *field;		     /* or, where NULL, a group: */
	bool exclusive;			     /* only the first match of the group counts */
	const struct rest_constraint *group; /* ngroup of them */
	size_t ngroup;
};

/* Why a request is refused: what the caller of the API gets as a resource of type "fault". */
struct rest_fault {
	unsigned status;
	const char *code; /* stable, for programs: "mirror-exists"; static */
	char field[64];	  /* the attribute that it is about, in dotted notation; "": none */
	struct err why;	  /* the sentence */
};

/* Fills the fault in; field may be NULL. Returns -1, as the operations do that fail. */
int rest_refuse(struct rest_fault *fault, unsigned status, const char *code, const char *field,
		const char *format, ...) __attribute__((format(printf, 5, 6)));
int rest_no_memory(struct rest_fault *fault);

/* The request that an operation serves. Borrowed for the call. */
struct rest_call {
	struct rest_api *api;
	void *context; /* the application's */
	const struct rest_type *type;
	const char *parent;  /* the id of the resource that the collection belongs to; NULL: none */
	const char *id;	     /* NULL: the collection */
	const char *variant; /* "saved" of /mirrors/ids;saved; NULL */
	const char *base;    /* "http://localhost", what absolute URLs begin with */
	const char *user;    /* who asks, for people: "uid 0", "tcp:192.0.2.1:40000" */
	/* Of replace and remove: meant for what get() has just told, and to be refused with this
	 * status where it is no longer so (If-Match, PATCH); 0: for whatever is there. */
	unsigned stale;
};

/* An object link to /api/COLLECTION/ID, or /api/COLLECTION/ID/SUB/SUBID where sub isn't NULL: a new
 * {"href": …}; NULL: out of memory. collection and sub are the plural names. */
json_t *rest_link(const struct rest_call *call, const char *collection, const char *id,
		  const char *sub, const char *subid);

/* A collection as the application tells it. */
struct rest_list {
	json_t *items;	/* an array, made by the caller, to be filled: each with an "id" */
	uint64_t first; /* the number of the first item, where older ones are gone (events) */
};

/* What a creation led to. The library frees it, also where it failed after all. */
struct rest_made {
	char *id;	  /* of what was created, for get(); to be freed. NULL: no resource */
	json_t *resource; /* what it looks like; NULL: ask get(). Without an id: shown as it is */
	struct rest_job *job; /* the work goes on: answered with 202 and its monitor */
};

/*
 * What can be done with resources of a type; what is NULL can't (405). All return 0, or -1 with the
 * fault filled in; list() and get() with an unknown parent or id refuse with 404. A resource is an
 * object with "id" and the declared attributes; the library adds _type, href and link.
 */
struct rest_ops {
	int (*list)(const struct rest_call *call, struct rest_list *list, struct rest_fault *fault);
	int (*get)(const struct rest_call *call, json_t **resource, struct rest_fault *fault);
	/* input: checked by the form, with the defaults filled in; borrowed. */
	int (*create)(const struct rest_call *call, const json_t *input, struct rest_made *made,
		      struct rest_fault *fault);
	/* PUT and PATCH: the whole new input. made: its resource, where that isn't what get()
	 * tells afterwards (it was only tried). */
	int (*replace)(const struct rest_call *call, const json_t *input, struct rest_made *made,
		       struct rest_fault *fault);
	int (*remove)(const struct rest_call *call, struct rest_fault *fault);
	/* Where there is one of these two there is get(), too. */
};

struct rest_type {
	const char *name;    /* "mirror" */
	const char *plural;  /* "mirrors": the segment of its URL; NULL: a singleton at /api */
	const char *summary; /* one sentence */
	const struct rest_field *fields;	   /* ends with a NULL name */
	const struct rest_constraint *constraints; /* of form/create; NULL: as the fields say */
	size_t nconstraints;
	const struct rest_type *const *subs; /* sub-collections; ends with NULL; may be NULL */
	const char *const *variants;	     /* ends with NULL; may be NULL */
	const struct rest_ops *ops;
	bool fresh; /* its operations look at the world anew each time: no answer is kept */
};

/* The whole: the singleton at /api, and the collections below it. */
struct rest_model {
	const char *title; /* for people: "portmirror" */
	/* Where the application serves a first page of its own, and rest_document(): paths that
	 * every page links to. NULL: nowhere. */
	const char *home, *documentation;
	const struct rest_type *entry;
	const struct rest_type *const *types; /* ends with NULL */
	/*
	 * Counts up whenever something that the operations tell may have changed in another way
	 * than by a request or rest_api_changed(). With it, an answer to GET is kept until then,
	 * and given to whoever asks for the same. NULL: each is made anew.
	 */
	uint64_t (*generation)(void *context);
};

#endif
