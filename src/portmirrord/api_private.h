/* SPDX-License-Identifier: MIT */
/* What the files of the API share; for api*.c only. */
#ifndef PORTMIRRORD_API_PRIVATE_H
#define PORTMIRRORD_API_PRIVATE_H

#include "portmirror/engine.h"
#include "portmirrord/api.h"
#include "portmirrord/keeper.h"
#include "rest/api.h"
#include "rest/model.h"

struct actions;

struct api {
	struct loop *loop;
	struct keeper *keeper;
	const char *root;
	struct rest_api *rest;
	struct actions *actions;
};

extern const struct rest_type api_bridges, api_members, api_ports; /* api_host.c */
extern const struct rest_type api_vms, api_nics;
extern const struct rest_type api_mirrors, api_sources, api_taps; /* api_mirror.c, api_parts.c */
extern const struct rest_type api_actions;			  /* api_action.c */
extern const struct rest_type api_events, api_findings;		  /* api_told.c */

static inline struct api *api_of(const struct rest_call *call)
{
	return call->context;
}

/* A counter that is shown; brief: REST_BRIEF or 0. */
#define API_COUNTER(what, brief, words)                                                            \
	{                                                                                          \
		.name = (what), .kind = REST_NUMBER, .use = REST_LIVE | (brief), .sample = "1234", \
		.help = (words)                                                                    \
	}

/* api.c: what all of them need. */

/* Counters of devices and actions, at most a second old. */
void api_refresh(const struct rest_call *call);
/* Puts the resource into the list; NULL: memory is out. Returns 0, or -1 with the fault. */
int api_append(struct rest_list *list, json_t *resource, struct rest_fault *fault);
/* Hands the resource over; NULL: memory is out. */
int api_give(json_t **to, json_t *resource, struct rest_fault *fault);
int api_unknown(const char *what, const char *id, struct rest_fault *fault); /* 404 */
/* A failure of the keeper, or of the kernel, in its words; field may be NULL. */
int api_refuse(const struct err *e, const char *field, struct rest_fault *fault);

/* api_host.c: the id under which a device is found (its name, but of a device "_", which is the
 * placeholder's), and the device; NULL: there is none. */
#define API_DEVICE 24
const char *api_device_id(const struct nl_link *link, char id[API_DEVICE]);
const struct nl_link *api_device(const struct rest_call *call, const char *id);
/* null where there is none. */
json_t *api_port_link(const struct rest_call *call, const struct nl_link *link);

/* api_mirror.c: the state of the mirror with that id; NULL: the fault is filled in. */
const struct session_state *api_mirror(const struct rest_call *call, const char *id,
				       struct rest_fault *fault);

/* api_edit.c: changes of mirrors. */
int api_mirror_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
		      struct rest_fault *fault);
int api_mirror_replace(const struct rest_call *call, const json_t *input, struct rest_made *made,
		       struct rest_fault *fault);
int api_mirror_remove(const struct rest_call *call, struct rest_fault *fault);
int api_source_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
		      struct rest_fault *fault);
int api_source_remove(const struct rest_call *call, struct rest_fault *fault);
/* Suspends, or restores. ops gets what was done, or with dry would be: an array of sentences. */
int api_suspend(const struct rest_call *call, const char *name, bool suspended, bool dry,
		json_t **ops, struct rest_fault *fault);

/* api_action.c */
int api_actions_new(struct api *api, struct err *e);
void api_actions_free(struct actions *actions);

#endif
