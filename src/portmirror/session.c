/* SPDX-License-Identifier: MIT */
#include "portmirror/session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/near.h"
#include "data/json.h"
#include "data/text.h"

static const struct {
	const char *name;
	enum direction direction;
} directions[] = {
	{"both", DIRECTION_BOTH},
	{"sent", DIRECTION_SENT},
	{"received", DIRECTION_RECEIVED},
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

void session_free(struct session *s)
{
	for (size_t i = 0; i < s->nfrom; i++)
		selector_free(&s->from[i]);
	for (size_t i = 0; i < s->nto; i++)
		selector_free(&s->to[i]);
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

	for (size_t i = 0; i < COUNT(directions); i++) {
		if (strcmp(text, directions[i].name) == 0) {
			*direction = directions[i].direction;
			return 0;
		}
	}
	return err_set(e, -EINVAL, "\"%s\" is no direction; it is both, sent or received",
		       text_shown(shown, text));
}

const char *direction_name(enum direction direction)
{
	for (size_t i = 0; i < COUNT(directions); i++)
		if (directions[i].direction == direction)
			return directions[i].name;
	return "none";
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

struct reader {
	struct session s; /* what is read so far */
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

/* A key whose only value is "mirror". */
static int read_mirror(struct reader *r, const json_t *value)
{
	char shown[TEXT_SHOWN];
	const char *text = text_of(r, value);

	if (!text)
		return -EINVAL;
	if (strcmp(text, "mirror") == 0)
		return 0;
	return err_set(r->e, -EINVAL, "\"%s\" is not known; it is mirror", text_shown(shown, text));
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

static int read_from(struct reader *r, const json_t *value)
{
	return read_selectors(r, "from", "source", SESSION_FROM_MAX, value, &r->s.from,
			      &r->s.nfrom);
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
	json_int_t n = json_integer_value(value);

	if (!json_is_integer(value) || n < (json_int_t)least || n > (json_int_t)most)
		return err_set(r->e, -EINVAL, "a whole number from %u to %u is wanted here", least,
			       most);
	*number = (unsigned)n;
	return 0;
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
	{"_type", read_mirror},	   {"name", read_name},
	{"mode", read_mirror},	   {"from", read_from},
	{"to", read_to},	   {"direction", read_direction},
	{"filter", read_filter},   {"attach", read_attach},
	{"engine", read_engine},   {"snap", read_snap},
	{"sample", read_sample},   {"sample-flows", read_sample_flows},
	{"rate", read_rate},	   {"balance", read_balance},
	{"isolate", read_isolate}, {"suspended", read_suspended},
	{"runtime", read_runtime},
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

/* What only the whole can tell. */
static int check_whole(struct reader *r)
{
	const struct session *s = &r->s;
	int ret;

	r->field[0] = '\0';
	if (*s->name == '\0')
		return err_set(r->e, -EINVAL, "the session has no name");
	if (s->nfrom == 0)
		return err_set(r->e, -EINVAL, "from is missing: what is to be mirrored?");
	if (s->nto == 0)
		return err_set(r->e, -EINVAL, "to is missing: where are the copies to go?");
	ret = check_loop(r);
	return ret < 0 ? ret : check_options(r);
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
	struct reader r = {.s.direction = DIRECTION_BOTH, .fallback = fallback, .e = e ? e : &own};
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

/* Only where it is wanted. */
static void put_if(json_t **object, bool wanted, const char *key, json_t *value)
{
	if (wanted)
		put(object, key, value);
	else
		json_decref(value);
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
	put_if(object, all || s->attach != ATTACH_AUTO, "attach",
	       json_string(attach_name(s->attach)));
	put_if(object, all || s->engine != ENGINE_AUTO, "engine",
	       json_string(engine_kind_name(s->engine)));
	put_number(object, "snap", s->snap, all);
	put_number(object, "sample", s->sample, all);
	put_if(object, all || s->sample_flows, "sample-flows", json_boolean(s->sample_flows));
	put_number(object, "rate", s->rate, all);
	put_if(object, all || s->balance, "balance", json_boolean(s->balance));
}

json_t *session_object(const struct session *s, bool all)
{
	json_t *object = json_object();

	put_if(&object, all, "_type", json_string("mirror"));
	put(&object, "name", json_string(s->name));
	put_if(&object, all, "mode", json_string("mirror"));
	put(&object, "from", array_of(s->from, s->nfrom));
	put(&object, "to", s->nto > 1 ? array_of(s->to, s->nto) : json_string(s->to[0].text));
	put_if(&object, all || s->direction != DIRECTION_BOTH, "direction",
	       json_string(direction_name(s->direction)));
	put_if(&object, all || s->filter, "filter",
	       s->filter ? json_string(s->filter) : json_null());
	put_engine(&object, s, all);
	put_if(&object, all || s->isolate, "isolate", json_boolean(s->isolate));
	put_if(&object, all || s->suspended, "suspended", json_boolean(s->suspended));
	put_if(&object, all, "runtime", json_boolean(s->runtime));
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

/* All but what is named by selectors, and the filter. */
static bool same_options(const struct session *a, const struct session *b)
{
	return a->direction == b->direction && a->attach == b->attach && a->engine == b->engine &&
	       a->snap == b->snap && a->sample == b->sample && a->sample_flows == b->sample_flows &&
	       a->rate == b->rate && a->balance == b->balance && a->isolate == b->isolate &&
	       a->suspended == b->suspended && a->runtime == b->runtime;
}

bool session_equal(const struct session *a, const struct session *b)
{
	return strcmp(a->name, b->name) == 0 && a->nfrom == b->nfrom && a->nto == b->nto &&
	       same_options(a, b) && !a->filter == !b->filter &&
	       (!a->filter || strcmp(a->filter, b->filter) == 0) &&
	       all_among(a->from, a->nfrom, b->from, b->nfrom) &&
	       all_among(a->to, a->nto, b->to, b->nto);
}
