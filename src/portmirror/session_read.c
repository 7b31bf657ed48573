/* SPDX-License-Identifier: MIT */
/* A session from its object. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/near.h"
#include "data/text.h"
#include "portmirror/session.h"

struct reader {
	struct session s;    /* what is read so far */
	const char *sources; /* the key that its sources came under: "from" or "guard" */
	const char *fallback;
	char field[SESSION_FIELD]; /* the value being read */
	struct err *e;
};

/* The value's text; NULL where it is no string (or one that C can't hold), with the error set. */
static const char *text_of(const struct reader *r, const json_t *value)
{
	const char *text = json_string_value(value);

	if (text && strlen(text) == json_string_length(value))
		return text;
	err_set(r->e, -EINVAL, "a string is wanted here");
	return NULL;
}

static int read_bool(const struct reader *r, const json_t *value, bool *flag)
{
	if (!json_is_boolean(value))
		return err_set(r->e, -EINVAL, "true or false is wanted here");
	*flag = json_is_true(value);
	return 0;
}

/* The word that one of two names is; *number: which. */
static int read_word(const struct reader *r, const json_t *value, unsigned first,
		     const char *(*name)(unsigned number), unsigned *number)
{
	char shown[TEXT_SHOWN];
	const char *text = text_of(r, value);

	if (!text)
		return -EINVAL;
	for (unsigned i = first; i < first + 2; i++) {
		if (strcmp(text, name(i)) == 0) {
			*number = i;
			return 0;
		}
	}
	return err_set(r->e, -EINVAL, "\"%s\" is not known; it is %s or %s",
		       text_shown(shown, text), name(first), name(first + 1));
}

static const char *nth_mode(unsigned number)
{
	return mode_name((enum mode)number);
}

static const char *nth_on_failure(unsigned number)
{
	return on_failure_name((enum on_failure)number);
}

static const char *nth_appliance(unsigned number)
{
	return appliance_name((enum appliance)number);
}

/* A key whose only value is "mirror". */
static int read_type(struct reader *r, const json_t *value)
{
	char shown[TEXT_SHOWN];
	const char *text = text_of(r, value);

	if (!text)
		return -EINVAL;
	if (strcmp(text, "mirror") == 0)
		return 0;
	return err_set(r->e, -EINVAL, "\"%s\" is not known; it is mirror", text_shown(shown, text));
}

static int read_mode(struct reader *r, const json_t *value)
{
	unsigned number = 0;
	int ret = read_word(r, value, MODE_MIRROR, nth_mode, &number);

	r->s.mode = (enum mode)number;
	return ret;
}

static int read_name(struct reader *r, const json_t *value)
{
	const char *text = text_of(r, value);

	if (!text || session_check_name(text, r->e) < 0)
		return -EINVAL;
	if (r->fallback && strcmp(text, r->fallback) != 0)
		return err_set(r->e, -EINVAL, "\"%s\" where the session is called \"%s\"", text,
			       r->fallback);
	snprintf(r->s.name, sizeof(r->s.name), "%s", text);
	return 0;
}

/* One of a list of selectors, which has room for it. */
static int add_selector(struct reader *r, const char *key, const json_t *value,
			struct selector *items, size_t *count)
{
	const char *text = text_of(r, value);
	int ret = text ? selector_parse(text, &items[*count], r->e) : -EINVAL;

	if (ret < 0)
		return ret;
	(*count)++;
	for (size_t i = 0; i + 1 < *count; i++)
		if (selector_equal(&items[i], &items[*count - 1]))
			return err_set(r->e, -EINVAL, "\"%s\" is there already, as %s[%zu]", text,
				       key, i);
	return 0;
}

/* An array, or one: what are they called, and how many may there be? */
static int read_selectors(struct reader *r, const char *key, const char *what, size_t most,
			  const json_t *value, struct selector **items, size_t *found)
{
	size_t count = json_is_array(value) ? json_array_size(value) : 1;
	int ret = 0;

	if (count == 0)
		return err_set(r->e, -EINVAL, "at least one %s is wanted", what);
	if (count > most)
		return err_set(r->e, -E2BIG, "%zu %ss, more than a session may have (%zu)", count,
			       what, most);
	*items = calloc(count, sizeof(**items));
	if (!*items)
		return err_set(r->e, -ENOMEM, "out of memory");
	if (!json_is_array(value))
		return add_selector(r, key, value, *items, found);
	for (size_t i = 0; i < count && ret == 0; i++) {
		snprintf(r->field, sizeof(r->field), "%s[%zu]", key, i);
		ret = add_selector(r, key, json_array_get(value, i), *items, found);
	}
	return ret;
}

/* What the session is about. */
static int read_sources(struct reader *r, const char *key, const json_t *value)
{
	if (r->sources)
		return err_set(r->e, -EINVAL,
			       "from is what a mirror copies, guard is what an in-line session "
			       "guards: only one of them is wanted");
	r->sources = key;
	return read_selectors(r, key, "source", SESSION_FROM_MAX, value, &r->s.from, &r->s.nfrom);
}

static int read_from(struct reader *r, const json_t *value)
{
	return read_sources(r, "from", value);
}

static int read_guard(struct reader *r, const json_t *value)
{
	return read_sources(r, "guard", value);
}

static int read_through(struct reader *r, const json_t *value)
{
	if (!json_is_array(value) || json_array_size(value) != SIDES)
		return err_set(r->e, -EINVAL,
			       "an array of two selectors is wanted: the appliance's inside port, "
			       "and its outside port");
	for (size_t i = 0; i < SIDES; i++) {
		const char *text;
		int ret;

		snprintf(r->field, sizeof(r->field), "through[%zu]", i);
		text = text_of(r, json_array_get(value, i));
		ret = text ? selector_parse(text, &r->s.through[i], r->e) : -EINVAL;
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int read_on_failure(struct reader *r, const json_t *value)
{
	unsigned number = 0;
	int ret = read_word(r, value, ON_FAILURE_OPEN, nth_on_failure, &number);

	r->s.on_failure = (enum on_failure)number;
	return ret;
}

static int read_appliance(struct reader *r, const json_t *value)
{
	unsigned number = 0;
	int ret = read_word(r, value, APPLIANCE_WIRE, nth_appliance, &number);

	r->s.appliance = (enum appliance)number;
	return ret;
}

static int read_to(struct reader *r, const json_t *value)
{
	return read_selectors(r, "to", "destination", SESSION_TO_MAX, value, &r->s.to, &r->s.nto);
}

static int read_direction(struct reader *r, const json_t *value)
{
	const char *text = text_of(r, value);

	return text ? direction_parse(text, &r->s.direction, r->e) : -EINVAL;
}

static int read_attach(struct reader *r, const json_t *value)
{
	const char *text = text_of(r, value);

	return text ? attach_parse(text, &r->s.attach, r->e) : -EINVAL;
}

static int read_engine(struct reader *r, const json_t *value)
{
	const char *text = text_of(r, value);

	return text ? engine_kind_parse(text, &r->s.engine, r->e) : -EINVAL;
}

static int read_number(const struct reader *r, const json_t *value, unsigned least, unsigned most,
		       unsigned *number)
{
	double n = json_number_value(value); /* 128.0 is as good as 128 */

	if (!json_is_number(value) || n < least || n > most || n > (unsigned)n)
		return err_set(r->e, -EINVAL, "a whole number from %u to %u is wanted here", least,
			       most);
	*number = (unsigned)n;
	return 0;
}

static int read_probe_interval(struct reader *r, const json_t *value)
{
	return read_number(r, value, PROBE_INTERVAL_MIN, PROBE_INTERVAL_MAX, &r->s.probe_interval);
}

static int read_snap(struct reader *r, const json_t *value)
{
	return read_number(r, value, SESSION_SNAP_MIN, SESSION_SNAP_MAX, &r->s.snap);
}

static int read_sample(struct reader *r, const json_t *value)
{
	return read_number(r, value, 2, SESSION_SAMPLE_MAX, &r->s.sample);
}

static int read_sample_flows(struct reader *r, const json_t *value)
{
	return read_bool(r, value, &r->s.sample_flows);
}

static int read_rate(struct reader *r, const json_t *value)
{
	return read_number(r, value, 1, SESSION_RATE_MAX, &r->s.rate);
}

static int read_balance(struct reader *r, const json_t *value)
{
	return read_bool(r, value, &r->s.balance);
}

static int read_filter(struct reader *r, const json_t *value)
{
	char shown[TEXT_SHOWN];
	const char *text = text_of(r, value);

	if (!text)
		return -EINVAL;
	if (strlen(text) > SESSION_FILTER_MAX)
		return err_set(r->e, -E2BIG, "%zu bytes, more than a filter may have (%d)",
			       strlen(text), SESSION_FILTER_MAX);
	if (!text_printable(text))
		return err_set(r->e, -EINVAL, "\"%s\" holds control characters",
			       text_shown(shown, text));
	if (*text == '\0') /* as pcap-filter(7): all frames */
		return 0;
	r->s.filter = strdup(text);
	return r->s.filter ? 0 : err_set(r->e, -ENOMEM, "out of memory");
}

static int read_isolate(struct reader *r, const json_t *value)
{
	return read_bool(r, value, &r->s.isolate);
}

static int read_suspended(struct reader *r, const json_t *value)
{
	return read_bool(r, value, &r->s.suspended);
}

static int read_runtime(struct reader *r, const json_t *value)
{
	return read_bool(r, value, &r->s.runtime);
}

static const struct {
	const char *name;
	int (*read)(struct reader *r, const json_t *value);
} keys[] = {
	{"_type", read_type},
	{"name", read_name},
	{"mode", read_mode},
	{"from", read_from},
	{"to", read_to},
	{"direction", read_direction},
	{"filter", read_filter},
	{"attach", read_attach},
	{"engine", read_engine},
	{"snap", read_snap},
	{"sample", read_sample},
	{"sample-flows", read_sample_flows},
	{"rate", read_rate},
	{"balance", read_balance},
	{"isolate", read_isolate},
	{"suspended", read_suspended},
	{"runtime", read_runtime},
	{"guard", read_guard},
	{"through", read_through},
	{"on-failure", read_on_failure},
	{"appliance", read_appliance},
	{"probe-interval", read_probe_interval},
};

static int unknown_key(const struct reader *r, const char *key)
{
	struct near near = {.word = key};
	char shown[TEXT_SHOWN];

	for (size_t i = 0; i < COUNT(keys); i++)
		near_try(&near, keys[i].name);
	if (near.best)
		return err_set(r->e, -EINVAL, "unknown key \"%s\" (did you mean \"%s\"?)",
			       text_shown(shown, key), near.best);
	return err_set(r->e, -EINVAL, "unknown key \"%s\"", text_shown(shown, key));
}

/* null is as good as nothing: the API's form has it for what isn't set. */
static int read_key(struct reader *r, const char *key, const json_t *value)
{
	size_t i = 0;

	snprintf(r->field, sizeof(r->field), "%s", key);
	while (i < COUNT(keys) && strcmp(key, keys[i].name) != 0)
		i++;
	if (i == COUNT(keys))
		return unknown_key(r, key);
	if (json_is_null(value) || keys[i].read(r, value) == 0)
		return 0;
	return err_where(r->e, "%s", r->field); /* the code as it was set */
}

/* A source that is a destination too. */
static int check_loop(struct reader *r)
{
	const struct session *s = &r->s;

	for (size_t i = 0; i < s->nto; i++) {
		for (size_t j = 0; j < s->nfrom; j++) {
			if (!selector_equal(&s->from[j], &s->to[i]))
				continue;
			snprintf(r->field, sizeof(r->field), s->nto > 1 ? "to[%zu]" : "to", i);
			return err_set(r->e, -ELOOP,
				       "%s: a loop: \"%s\" is a source too (from[%zu])", r->field,
				       s->to[i].text, j);
		}
	}
	return 0;
}

/* Options that mean something only together. */
static int check_options(struct reader *r)
{
	const struct session *s = &r->s;
	const char *only = session_needs_bpf(s);

	if (s->sample_flows && s->sample == 0) {
		snprintf(r->field, sizeof(r->field), "sample-flows");
		return err_set(r->e, -EINVAL,
			       "sample-flows: sample is missing: one flow in how many?");
	}
	if (s->balance && s->nto < 2) {
		snprintf(r->field, sizeof(r->field), "balance");
		return err_set(r->e, -EINVAL,
			       "balance: at least two destinations are wanted to spread copies "
			       "over");
	}
	if (only && s->engine == ENGINE_TC) {
		snprintf(r->field, sizeof(r->field), "engine");
		return err_set(r->e, -EINVAL, "engine: tc can't do what is asked for (%s); bpf can",
			       only);
	}
	return 0;
}

/* An attribute that only a session of that mode has. */
struct own {
	bool there;
	const char *field;
};

static int check_own(struct reader *r, const struct own *own, size_t count, enum mode mode)
{
	for (size_t i = 0; i < count; i++) {
		if (!own[i].there)
			continue;
		snprintf(r->field, sizeof(r->field), "%s", own[i].field);
		return err_set(r->e, -EINVAL, "%s: only a session of mode %s has it", own[i].field,
			       mode_name(mode));
	}
	return 0;
}

static int missing(struct reader *r, const char *field, const char *question)
{
	snprintf(r->field, sizeof(r->field), "%s", field);
	return err_set(r->e, -EINVAL, "%s is missing: %s", field, question);
}

static bool sources_are(const struct reader *r, const char *key)
{
	return r->sources && strcmp(r->sources, key) == 0;
}

static int check_mirror(struct reader *r)
{
	const struct session *s = &r->s;
	const struct own others[] = {
		{sources_are(r, "guard"), "guard"},
		{s->through[0].text, "through"},
		{s->on_failure != ON_FAILURE_UNSAID, "on-failure"},
		{s->appliance != APPLIANCE_WIRE, "appliance"},
		{s->probe_interval != PROBE_INTERVAL, "probe-interval"},
	};
	int ret = check_own(r, others, COUNT(others), MODE_INLINE);

	if (ret < 0)
		return ret;
	if (s->nfrom == 0)
		return missing(r, "from", "what is to be mirrored?");
	if (s->nto == 0)
		return missing(r, "to", "where are the copies to go?");
	ret = check_loop(r);
	return ret < 0 ? ret : check_options(r);
}

/* The appliance's ports: two, and not guarded. */
static int check_through(struct reader *r)
{
	const struct session *s = &r->s;

	snprintf(r->field, sizeof(r->field), "through");
	if (selector_equal(&s->through[SIDE_INSIDE], &s->through[SIDE_OUTSIDE]))
		return err_set(r->e, -EINVAL, "through: the appliance's two ports are one: \"%s\"",
			       s->through[0].text);
	for (size_t i = 0; i < s->nfrom; i++)
		for (size_t side = 0; side < SIDES; side++)
			if (selector_equal(&s->from[i], &s->through[side]))
				return err_set(
					r->e, -ELOOP,
					"through: a loop: \"%s\" is guarded too (guard[%zu])",
					s->through[side].text, i);
	return 0;
}

static int check_inline(struct reader *r)
{
	const struct session *s = &r->s;
	const char *needs = session_needs_bpf(s);
	const struct own others[] = {
		{sources_are(r, "from"), "from"},
		{s->nto > 0, "to"},
		{s->direction != DIRECTION_BOTH, "direction"},
		{s->attach != ATTACH_AUTO, "attach"},
		{s->engine != ENGINE_AUTO, "engine"},
		{needs, needs},
		{s->isolate, "isolate"},
	};
	int ret = check_own(r, others, COUNT(others), MODE_MIRROR);

	if (ret < 0)
		return ret;
	if (s->nfrom == 0)
		return missing(r, "guard", "which machines?");
	if (!s->through[0].text)
		return missing(r, "through", "which are the appliance's two ports?");
	if (s->on_failure == ON_FAILURE_UNSAID)
		return missing(r, "on-failure",
			       "when the appliance fails, is the traffic to go straight on (open), "
			       "or to stop (closed)?");
	return check_through(r);
}

/* What only the whole can tell. */
static int check_whole(struct reader *r)
{
	r->field[0] = '\0';
	if (*r->s.name == '\0')
		return err_set(r->e, -EINVAL, "the session has no name");
	return r->s.mode == MODE_INLINE ? check_inline(r) : check_mirror(r);
}

static int read_object(struct reader *r, json_t *object)
{
	const char *key;
	json_t *value;

	if (!json_is_object(object))
		return err_set(r->e, -EINVAL, "a session is a mapping of keys to values");
	if (r->fallback) {
		int ret = session_check_name(r->fallback, r->e);

		if (ret < 0)
			return ret;
		snprintf(r->s.name, sizeof(r->s.name), "%s", r->fallback);
	}
	json_object_foreach(object, key, value)
	{
		int ret = read_key(r, key, value);

		if (ret < 0)
			return ret;
	}
	return check_whole(r);
}

int session_read(const json_t *object, const char *fallback, struct session *s, char *field,
		 struct err *e)
{
	struct err own = {0};
	struct reader r = {.s.direction = DIRECTION_BOTH,
			   .s.probe_interval = PROBE_INTERVAL,
			   .fallback = fallback,
			   .e = e ? e : &own};
	/* Jansson iterates over objects through a pointer to non-const only. */
	int ret = read_object(&r, (json_t *)(uintptr_t)object);

	if (ret < 0) {
		memcpy(field, r.field, SESSION_FIELD);
		session_free(&r.s);
		return ret;
	}
	*s = r.s;
	return 0;
}
