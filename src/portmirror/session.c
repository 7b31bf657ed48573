/* SPDX-License-Identifier: MIT */
#include "portmirror/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "data/json.h"
#include "data/text.h"

static const char *const directions[] = {
	[DIRECTION_SENT] = "sent",
	[DIRECTION_RECEIVED] = "received",
	[DIRECTION_BOTH] = "both",
};

static const char *const attaches[] = {
	[ATTACH_AUTO] = "auto",
	[ATTACH_CLSACT] = "clsact",
	[ATTACH_CLASSIC] = "classic",
};

static const char *const engines[] = {
	[ENGINE_AUTO] = "auto",
	[ENGINE_TC] = "tc",
	[ENGINE_BPF] = "bpf",
};

static const char *const modes[] = {[MODE_MIRROR] = "mirror", [MODE_INLINE] = "inline"};

static const char *const on_failures[] = {
	[ON_FAILURE_UNSAID] = "",
	[ON_FAILURE_OPEN] = "open",
	[ON_FAILURE_CLOSED] = "closed",
};

static const char *const appliances[] = {
	[APPLIANCE_WIRE] = "wire",
	[APPLIANCE_BRIDGE] = "bridge",
};

void session_free(struct session *s)
{
	for (size_t i = 0; i < s->nfrom; i++)
		selector_free(&s->from[i]);
	for (size_t i = 0; i < s->nto; i++)
		selector_free(&s->to[i]);
	for (size_t i = 0; i < SIDES; i++)
		selector_free(&s->through[i]);
	free(s->from);
	free(s->to);
	free(s->filter);
	*s = (struct session){0};
}

static bool is_name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '.' || c == '_' || c == '-';
}

int session_check_name(const char *name, struct err *e)
{
	char shown[TEXT_SHOWN];
	size_t len = 0;

	while (is_name_char(name[len]))
		len++;
	if (name[len] == '\0' && len > 0 && len <= SESSION_NAME_MAX && !strchr("._-", name[0]))
		return 0;
	return err_set(e, -EINVAL,
		       "\"%s\" is no name of a session: 1 to %d letters, digits, '.', '_' and '-', "
		       "the first a letter or digit",
		       text_shown(shown, name), SESSION_NAME_MAX);
}

int direction_parse(const char *text, enum direction *direction, struct err *e)
{
	char shown[TEXT_SHOWN];

	for (size_t i = DIRECTION_SENT; i < COUNT(directions); i++) {
		if (strcmp(text, directions[i]) == 0) {
			*direction = (enum direction)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "\"%s\" is no direction; it is both, sent or received",
		       text_shown(shown, text));
}

const char *direction_name(enum direction direction)
{
	return directions[direction];
}

int attach_parse(const char *text, enum attach *attach, struct err *e)
{
	char shown[TEXT_SHOWN];

	for (size_t i = 0; i < COUNT(attaches); i++) {
		if (strcmp(text, attaches[i]) == 0) {
			*attach = (enum attach)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "\"%s\" is no way to attach; it is auto, clsact or classic",
		       text_shown(shown, text));
}

const char *attach_name(enum attach attach)
{
	return attaches[attach];
}

int engine_kind_parse(const char *text, enum engine_kind *engine, struct err *e)
{
	char shown[TEXT_SHOWN];

	for (size_t i = 0; i < COUNT(engines); i++) {
		if (strcmp(text, engines[i]) == 0) {
			*engine = (enum engine_kind)i;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "\"%s\" is no engine; it is auto, tc or bpf",
		       text_shown(shown, text));
}

const char *engine_kind_name(enum engine_kind engine)
{
	return engines[engine];
}

const char *mode_name(enum mode mode)
{
	return modes[mode];
}

const char *on_failure_name(enum on_failure on_failure)
{
	return on_failures[on_failure];
}

const char *appliance_name(enum appliance appliance)
{
	return appliances[appliance];
}

const char *session_needs_bpf(const struct session *s)
{
	return s->snap		 ? "snap"
	       : s->sample_flows ? "sample-flows"
	       : s->sample	 ? "sample"
	       : s->rate	 ? "rate"
	       : s->balance	 ? "balance"
	       : s->nto > 1	 ? "more than one destination"
				 : NULL;
}

static json_t *array_of(const struct selector *items, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; array && i < count; i++) {
		if (json_array_append_new(array, json_string(items[i].text)) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

/* Adds the member (whose reference it takes) unless something failed before. */
static void put(json_t **object, const char *key, json_t *value)
{
	if (json_object_set_new(*object, key, value) < 0) {
		json_decref(*object);
		*object = NULL;
	}
}

/* 0: not set. */
static void put_number(json_t **object, const char *key, unsigned number, bool all)
{
	if (number || all)
		put(object, key, number ? json_integer(number) : json_null());
}

/* How it copies. */
static void put_engine(json_t **object, const struct session *s, bool all)
{
	if (all || s->attach != ATTACH_AUTO)
		put(object, "attach", json_string(attach_name(s->attach)));
	if (all || s->engine != ENGINE_AUTO)
		put(object, "engine", json_string(engine_kind_name(s->engine)));
	put_number(object, "snap", s->snap, all);
	put_number(object, "sample", s->sample, all);
	if (all || s->sample_flows)
		put(object, "sample-flows", json_boolean(s->sample_flows));
	put_number(object, "rate", s->rate, all);
	if (all || s->balance)
		put(object, "balance", json_boolean(s->balance));
}

static void put_filter(json_t **object, const struct session *s, bool all)
{
	if (all || s->filter)
		put(object, "filter", s->filter ? json_string(s->filter) : json_null());
}

static void put_mirror(json_t **object, const struct session *s, bool all)
{
	put(object, "from", array_of(s->from, s->nfrom));
	put(object, "to", s->nto > 1 ? array_of(s->to, s->nto) : json_string(s->to[0].text));
	if (all || s->direction != DIRECTION_BOTH)
		put(object, "direction", json_string(direction_name(s->direction)));
	put_filter(object, s, all);
	put_engine(object, s, all);
	if (all || s->isolate)
		put(object, "isolate", json_boolean(s->isolate));
}

static void put_inline(json_t **object, const struct session *s, bool all)
{
	put(object, "guard", array_of(s->from, s->nfrom));
	put(object, "through", array_of(s->through, SIDES));
	put(object, "on-failure", json_string(on_failure_name(s->on_failure)));
	if (all || s->appliance != APPLIANCE_WIRE)
		put(object, "appliance", json_string(appliance_name(s->appliance)));
	put_filter(object, s, all);
	if (all || s->probe_interval != PROBE_INTERVAL)
		put(object, "probe-interval", json_integer(s->probe_interval));
}

json_t *session_object(const struct session *s, bool all)
{
	json_t *object = json_object();

	if (all)
		put(&object, "_type", json_string("mirror"));
	put(&object, "name", json_string(s->name));
	if (all || s->mode != MODE_MIRROR)
		put(&object, "mode", json_string(mode_name(s->mode)));
	if (s->mode == MODE_INLINE)
		put_inline(&object, s, all);
	else
		put_mirror(&object, s, all);
	if (all || s->suspended)
		put(&object, "suspended", json_boolean(s->suspended));
	if (all)
		put(&object, "runtime", json_boolean(s->runtime));
	return object;
}

int session_copy(const struct session *s, struct session *copy, struct err *e)
{
	json_t *object cleanup(json_free_at) = session_object(s, true);
	char field[SESSION_FIELD];

	if (!object)
		return err_set(e, -ENOMEM, "out of memory");
	return session_read(object, NULL, copy, field, e);
}

static bool all_among(const struct selector *items, size_t count, const struct selector *others,
		      size_t nothers)
{
	size_t found = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < nothers; j++)
			found += selector_equal(&items[i], &others[j]);
	return found == count;
}

static bool same_through(const struct session *a, const struct session *b)
{
	return a->mode != MODE_INLINE ||
	       (selector_equal(&a->through[SIDE_INSIDE], &b->through[SIDE_INSIDE]) &&
		selector_equal(&a->through[SIDE_OUTSIDE], &b->through[SIDE_OUTSIDE]) &&
		a->on_failure == b->on_failure && a->appliance == b->appliance &&
		a->probe_interval == b->probe_interval);
}

/* All but what is named by selectors, and the filter. */
static bool same_options(const struct session *a, const struct session *b)
{
	return a->mode == b->mode && a->direction == b->direction && a->attach == b->attach &&
	       a->engine == b->engine && a->snap == b->snap && a->sample == b->sample &&
	       a->sample_flows == b->sample_flows && a->rate == b->rate &&
	       a->balance == b->balance && a->isolate == b->isolate &&
	       a->suspended == b->suspended && a->runtime == b->runtime;
}

bool session_equal(const struct session *a, const struct session *b)
{
	return strcmp(a->name, b->name) == 0 && a->nfrom == b->nfrom && a->nto == b->nto &&
	       same_options(a, b) && !a->filter == !b->filter &&
	       (!a->filter || strcmp(a->filter, b->filter) == 0) && same_through(a, b) &&
	       all_among(a->from, a->nfrom, b->from, b->nfrom) &&
	       all_among(a->to, a->nto, b->to, b->nto);
}
