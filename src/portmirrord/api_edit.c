/* SPDX-License-Identifier: MIT */
/* Changes of mirrors: the same files, lock and rules as the command line has. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "portmirror/edit.h"
#include "portmirror/filter.h"
#include "portmirror/op.h"
#include "portmirrord/api_private.h"

/* One request to change something, carried through keeper_edit(). */
struct change {
	const char *name;    /* of the mirror */
	const json_t *input; /* as the form has it; of a mirror to be put */
	const char *source;  /* a selector to be added or dropped */
	json_t *seen;	     /* what it is meant for; NULL: whatever is there */
	bool replace, drop, suspended;
	struct edit edit;
	json_t *ops;		   /* what was done, or would be */
	char field[SESSION_FIELD]; /* the attribute that an error is about; "": none */
	bool bad;		   /* the input is wrong, whatever the state of the host */
};

static void change_free(struct change *c)
{
	json_decref(c->ops);
	json_decref(c->seen);
}

static int refuse_change(const struct rest_call *call, const struct change *c, const struct err *e,
			 struct rest_fault *fault)
{
	const char *field = *c->field ? c->field : NULL;

	if (e->code == -ESTALE)
		return rest_refuse(fault, call->stale, "changed-meanwhile", NULL, "%s", e->text);
	if (c->bad && (e->code != -ENOMEM))
		return rest_refuse(fault, 400, "bad-value", field, "%s", e->text);
	if (e->code == -EEXIST)
		return rest_refuse(fault, 409, c->source ? "source-exists" : "mirror-exists",
				   c->source ? "selector" : "name", "%s", e->text);
	return api_refuse(e, field, fault);
}

static int carry_out(const struct rest_call *call, struct change *c,
		     int (*edit)(struct engine *engine, struct sessions *sessions, void *data,
				 struct err *e),
		     struct rest_fault *fault)
{
	struct err e = {0};

	if (keeper_edit(api_of(call)->keeper, edit, c, &e) < 0)
		return refuse_change(call, c, &e, fault);
	return 0;
}

/* Notes what the request is meant for, where it is for nothing else. */
static int note_seen(const struct rest_call *call, struct change *c, struct rest_fault *fault)
{
	const struct sessions *sessions = keeper_sessions(api_of(call)->keeper);
	const struct saved *saved = sessions_find(sessions, c->name);

	if (!call->stale || !saved || saved->broken)
		return 0;
	c->seen = session_object(&saved->session, true);
	return c->seen ? 0 : rest_no_memory(fault);
}

/* While the request waited for the lock, whoever had it may have changed the same mirror. */
static int check_seen(const struct change *c, const struct saved *saved, struct err *e)
{
	json_t *now cleanup(json_free_at) = NULL;

	if (!c->seen || !saved)
		return 0;
	if (!saved->broken && !(now = session_object(&saved->session, true)))
		return err_set(e, -ENOMEM, "out of memory");
	if (json_equal(c->seen, now))
		return 0;
	return err_set(e, -ESTALE,
		       "%s has just been changed by somebody else: get it again, and decide anew",
		       c->name);
}

/* Reads the mirror object, and lets libpcap look at its filter. */
static int read_session(struct change *c, const json_t *object, struct session *session,
			struct err *e)
{
	struct bytecode code cleanup(bytecode_free) = {0};
	int r;

	if (json_lacked()) /* an attribute may be missing, and be taken for its default */
		return err_set(e, -ENOMEM, "out of memory");
	r = session_read(object, NULL, session, c->field, e);

	if (r < 0) {
		c->bad = true;
		return r;
	}
	r = filter_compile(session->filter, &code, e);
	if (r < 0) {
		snprintf(c->field, sizeof(c->field), "filter");
		err_where(e, "filter");
		c->bad = r == -EINVAL;
		session_free(session);
	}
	return r;
}

static json_t *sentences(const struct op *ops, size_t nops)
{
	json_t *list = json_array();
	char text[200];

	for (size_t i = 0; list && i < nops; i++) {
		op_text(&ops[i], text, sizeof(text));
		if (json_array_append_new(list, json_string(text)) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

static int keep_ops(struct change *c, const struct outcome *outcome, struct err *e)
{
	c->ops = c->edit.dry ? sentences(outcome->view.plan.ops, outcome->view.plan.nops)
			     : sentences(outcome->done, outcome->ndone);
	return c->ops ? 0 : err_set(e, -ENOMEM, "out of memory");
}

static int put_object(struct engine *engine, struct sessions *sessions, struct change *c,
		      const json_t *object, struct err *e)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	struct session session = {0};
	int r = read_session(c, object, &session, e);

	if (r == 0)
		r = edit_put(engine, sessions, &session, c->replace, &c->edit, &outcome, e);
	return r < 0 ? r : keep_ops(c, &outcome, e);
}

/* What is about this request, and no part of the mirror. */
static bool take_flag(json_t *object, const char *name)
{
	bool is = json_is_true(json_object_get(object, name));

	(void)json_object_del(object, name);
	return is;
}

static int put(struct engine *engine, struct sessions *sessions, void *data, struct err *e)
{
	struct change *c = data;
	json_t *object cleanup(json_free_at) = json_copy((json_t *)(uintptr_t)c->input);
	const struct saved *saved = sessions_find(sessions, c->name);

	/* read_session() sees a lack of memory, here and in what follows. */
	(void)json_object_set_new(object, "name", json_string(c->name));
	c->edit.strict = take_flag(object, "strict");
	c->edit.dry = take_flag(object, "dry-run");
	if (c->replace && !saved)
		return err_set(e, -ENOENT, "there is no mirror named %s", c->name);
	if (check_seen(c, saved, e) < 0)
		return e->code;
	if (c->replace)
		(void)json_object_set_new(object, "runtime", json_boolean(saved->session.runtime));
	return put_object(engine, sessions, c, object, e);
}

/* The mirror as it would be, and what would be done for it. */
static json_t *tried(const struct change *c)
{
	json_t *object = json_pack("{s:s}", "name", c->name);

	if (json_object_update(object, (json_t *)(uintptr_t)c->input) < 0 ||
	    json_object_set(object, "planned", c->ops) < 0) {
		json_decref(object);
		return NULL;
	}
	return object;
}

int api_mirror_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
		      struct rest_fault *fault)
{
	struct change c cleanup(change_free) = {
		.name = json_string_value(json_object_get(input, "name")), .input = input};
	char *id cleanup(free_at) = strdup(c.name);

	if (!id)
		return rest_no_memory(fault);
	if (carry_out(call, &c, put, fault) < 0)
		return -1;
	if (c.edit.dry)
		return api_give(&made->resource, tried(&c), fault);
	made->id = take(id);
	return 0;
}

int api_mirror_replace(const struct rest_call *call, const json_t *input, struct rest_made *made,
		       struct rest_fault *fault)
{
	struct change c cleanup(change_free) = {.name = call->id, .input = input, .replace = true};

	if (note_seen(call, &c, fault) < 0 || carry_out(call, &c, put, fault) < 0)
		return -1;
	return c.edit.dry ? api_give(&made->resource, tried(&c), fault) : 0;
}

static int remove_mirror(struct engine *engine, struct sessions *sessions, void *data,
			 struct err *e)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	const struct change *c = data;
	size_t removed = 0;
	int r = check_seen(c, sessions_find(sessions, c->name), e);

	if (r == 0)
		r = edit_remove(engine, sessions, &c->name, 1, &c->edit, &removed, &outcome, e);
	if (r == 0 && outcome.nrefusals > 0)
		r = err_set(e, -EINVAL, "%s", outcome.refusals[0].text);
	return r;
}

int api_mirror_remove(const struct rest_call *call, struct rest_fault *fault)
{
	struct change c cleanup(change_free) = {.name = call->id};

	return note_seen(call, &c, fault) < 0 ? -1 : carry_out(call, &c, remove_mirror, fault);
}

/* Its place; the size of the array where it isn't there. */
static size_t find_source(const json_t *from, const char *source)
{
	size_t at = 0;

	while (at < json_array_size(from) &&
	       strcmp(json_string_value(json_array_get(from, at)), source) != 0)
		at++;
	return at;
}

/* The mirror with its sources as they will be. */
static int put_sources(struct engine *engine, struct sessions *sessions, void *data, struct err *e)
{
	struct change *c = data;
	const struct saved *saved = sessions_find(sessions, c->name);
	json_t *object cleanup(json_free_at) = NULL;
	json_t *from;
	size_t at;

	if (!saved || saved->broken)
		return err_set(e, -ENOENT, "there is no mirror named %s whose file can be read",
			       c->name);
	object = session_object(&saved->session, true);
	if (!object)
		return err_set(e, -ENOMEM, "out of memory");
	from = json_object_get(object, saved->session.mode == MODE_INLINE ? "guard" : "from");
	at = find_source(from, c->source);
	if (c->drop && json_array_remove(from, at) < 0)
		return err_set(e, -ENOENT, "the mirror %s has no source %s", c->name, c->source);
	if (!c->drop && at < json_array_size(from))
		return err_set(e, -EEXIST, "the mirror %s has the source %s already", c->name,
			       c->source);
	if (!c->drop)
		(void)json_array_append_new(from, json_string(c->source));
	c->replace = true;
	return put_object(engine, sessions, c, object, e);
}

int api_source_create(const struct rest_call *call, const json_t *input, struct rest_made *made,
		      struct rest_fault *fault)
{
	struct change c cleanup(
		change_free) = {.name = call->parent,
				.source = json_string_value(json_object_get(input, "selector"))};
	char *id cleanup(free_at) = strdup(c.source);

	if (!id)
		return rest_no_memory(fault);
	if (carry_out(call, &c, put_sources, fault) < 0) {
		if (fault->status == 400)
			snprintf(fault->field, sizeof(fault->field), "selector");
		return -1;
	}
	made->id = take(id);
	return 0;
}

int api_source_remove(const struct rest_call *call, struct rest_fault *fault)
{
	struct change c cleanup(
		change_free) = {.name = call->parent, .source = call->id, .drop = true};

	if (carry_out(call, &c, put_sources, fault) == 0)
		return 0;
	if (fault->status == 400) /* nothing in the request is wrong: it was the last one */
		fault->status = 409;
	return -1;
}

static int suspend(struct engine *engine, struct sessions *sessions, void *data, struct err *e)
{
	struct outcome outcome cleanup(outcome_free) = {0};
	struct change *c = data;
	int r = edit_suspend(engine, sessions, c->name, c->suspended, &c->edit, &outcome, e);

	return r < 0 ? r : keep_ops(c, &outcome, e);
}

int api_suspend(const struct rest_call *call, const char *name, bool suspended, bool dry,
		json_t **ops, struct rest_fault *fault)
{
	struct change c cleanup(
		change_free) = {.name = name, .suspended = suspended, .edit = {.dry = dry}};

	if (carry_out(call, &c, suspend, fault) < 0)
		return -1;
	*ops = take(c.ops);
	return 0;
}
