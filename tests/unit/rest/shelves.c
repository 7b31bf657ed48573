/* SPDX-License-Identifier: MIT */
#include "shelves.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "rest/work.h"

static const char *const genres[] = {"novel", "science", "cookery", NULL};

static const char *const variants[] = {"saved", "current", NULL};

static const struct rest_field library_fields[] = {
	{.name = "version", .sample = "\"1.0\"", .help = "The version of the library."},
	{.name = "features", .multiple = true, .sample = "[\"loans\"]", .help = "What it can."},
	{0},
};

static const struct rest_field shelf_fields[] = {
	{.name = "name",
	 .use = REST_CREATE | REST_SEARCH | REST_BRIEF,
	 .mandatory = true,
	 .maxlen = 16,
	 .regex = "[a-z][a-z0-9 /;-]*",
	 .sample = "\"upper\"",
	 .help = "What it is called."},
	{.name = "places",
	 .kind = REST_NUMBER,
	 .whole = true,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH,
	 .has_limits = true,
	 .min = 1,
	 .max = 100,
	 .fallback = "10",
	 .sample = "40",
	 .help = "How many books fit."},
	{.name = "labels",
	 .multiple = true,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH,
	 .maxlen = 20,
	 .most = 4,
	 .fallback = "[]",
	 .sample = "[\"old\", \"rare\"]",
	 .help = "What is written on it."},
	{.name = "locked",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH,
	 .fallback = "false",
	 .sample = "true",
	 .help = "Whether it has a door that is locked."},
	{.name = "trial",
	 .kind = REST_BOOLEAN,
	 .use = REST_CREATE | REST_UPDATE | REST_TRIAL,
	 .fallback = "false",
	 .help = "Only tell what would come of it."},
	{.name = "room",
	 .kind = REST_LINK,
	 .use = REST_SEARCH,
	 .sample = "{\"href\": \"http://localhost/api/shelves/_\"}",
	 .help = "The shelf that it stands on."},
	{.name = "visits",
	 .kind = REST_NUMBER,
	 .use = REST_LIVE,
	 .sample = "7",
	 .help = "How often it was looked at."},
	{0},
};

static const struct rest_field book_fields[] = {
	{.name = "title",
	 .use = REST_CREATE | REST_UPDATE | REST_BRIEF,
	 .mandatory = true,
	 .minlen = 1,
	 .maxlen = 40,
	 .sample = "\"A Tale\"",
	 .help = "Its title."},
	{.name = "genre",
	 .use = REST_CREATE | REST_UPDATE | REST_SEARCH,
	 .choices = genres,
	 .sample = "\"novel\"",
	 .help = "What it is about."},
	{.name = "isbn",
	 .use = REST_CREATE | REST_UPDATE,
	 .sample = "\"3-16\"",
	 .help = "One of the numbers."},
	{.name = "shelfmark",
	 .use = REST_CREATE | REST_UPDATE,
	 .sample = "\"A1\"",
	 .help = "The other."},
	{0},
};

static const struct rest_constraint numbers[] = {
	{.mandatory = true, .field = "isbn"},
	{.mandatory = true, .field = "shelfmark"},
};

/* A book has at most one number. */
static const struct rest_constraint book_constraints[] = {
	{.mandatory = true, .field = "title"},
	{.field = "genre"},
	{.exclusive = true, .group = numbers, .ngroup = COUNT(numbers)},
};

static const struct rest_field event_fields[] = {
	{.name = "text",
	 .use = REST_SEARCH | REST_BRIEF,
	 .sample = "\"opened\"",
	 .help = "What happened."},
	{0},
};

static const char *const kinds[] = {"rebind", "dust", "burn", "copy", NULL};

static const struct rest_field order_fields[] = {
	{.name = "type",
	 .use = REST_CREATE,
	 .mandatory = true,
	 .choices = kinds,
	 .sample = "\"rebind\"",
	 .help = "What is to be done."},
	{.name = "seconds",
	 .kind = REST_NUMBER,
	 .use = REST_CREATE,
	 .has_limits = true,
	 .min = 1,
	 .max = 60,
	 .fallback = "5",
	 .sample = "5",
	 .help = "How long."},
	{0},
};

static struct shelves *of(const struct rest_call *call)
{
	return call->context;
}

static int missing(struct rest_fault *fault, const char *id)
{
	return rest_refuse(fault, 404, "no-such-thing", NULL, "there is no \"%s\"", id);
}

static json_t *find(const json_t *array, const char *id, size_t *at)
{
	for (*at = 0; *at < json_array_size(array); ++*at) {
		json_t *item = json_array_get(array, *at);

		if (strcmp(json_string_value(json_object_get(item, "id")), id) == 0)
			return item;
	}
	return NULL;
}

/* The library. */

static int get_library(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	(void)call;
	*resource = json_pack("{s:s, s:[s]}", "version", "1.0", "features", "loans");
	return *resource ? 0 : rest_no_memory(fault);
}

/* Shelves. */

static json_t *show_shelf(const struct rest_call *call, const json_t *shelf)
{
	const char *id = json_string_value(json_object_get(shelf, "id"));
	json_t *shown = json_deep_copy(shelf);

	(void)json_object_del(shown, "books");
	(void)json_object_del(shown, "trial");
	if (json_object_set_new(shown, "room", rest_link(call, "shelves", id, NULL, NULL)) < 0 ||
	    json_object_set_new(shown, "visits", json_integer((json_int_t)++of(call)->visits)) <
		    0) {
		json_decref(shown);
		return NULL;
	}
	return shown;
}

static int list_shelves(const struct rest_call *call, struct rest_list *list,
			struct rest_fault *fault)
{
	json_t *shelf;
	size_t i;

	json_array_foreach(of(call)->shelves, i, shelf)
	{
		if (json_array_append_new(list->items, show_shelf(call, shelf)) < 0)
			return rest_no_memory(fault);
	}
	return 0;
}

static int get_shelf(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	size_t at;
	json_t *shelf = find(of(call)->shelves, call->id, &at), *shown;

	if (!shelf)
		return missing(fault, call->id);
	shown = show_shelf(call, shelf);
	if (!shown || (call->variant && strcmp(call->variant, "current") == 0 &&
		       json_object_set_new(shown, "places", json_integer(1)) < 0)) {
		json_decref(shown);
		return rest_no_memory(fault);
	}
	*resource = shown;
	return 0;
}

static bool is_trial(const json_t *input)
{
	return json_is_true(json_object_get(input, "trial"));
}

static int create_shelf(const struct rest_call *call, const json_t *input, struct rest_made *made,
			struct rest_fault *fault)
{
	const char *name = json_string_value(json_object_get(input, "name"));
	json_t *shelf = json_deep_copy(input);
	size_t at;

	if (is_trial(input)) {
		made->resource = shelf;
		return 0;
	}
	if (find(of(call)->shelves, name, &at)) {
		json_decref(shelf);
		return rest_refuse(fault, 409, "shelf-exists", "name",
				   "there is a shelf named \"%s\" already", name);
	}
	if (json_object_set_new(shelf, "id", json_string(name)) < 0 ||
	    json_object_set_new(shelf, "books", json_array()) < 0 ||
	    json_array_append(of(call)->shelves, shelf) < 0) {
		json_decref(shelf);
		return rest_no_memory(fault);
	}
	json_decref(shelf);
	made->id = strdup(name);
	rest_api_changed(call->api, &shelf_type);
	return 0;
}

static int replace_shelf(const struct rest_call *call, const json_t *input, struct rest_made *made,
			 struct rest_fault *fault)
{
	size_t at;
	json_t *shelf = find(of(call)->shelves, call->id, &at);

	if (!shelf)
		return missing(fault, call->id);
	if (is_trial(input)) {
		made->resource = json_deep_copy(input);
		return 0;
	}
	return json_object_update(shelf, (json_t *)(uintptr_t)input) < 0 ? rest_no_memory(fault)
									 : 0;
}

static int remove_shelf(const struct rest_call *call, struct rest_fault *fault)
{
	size_t at;

	if (!find(of(call)->shelves, call->id, &at))
		return missing(fault, call->id);
	return json_array_remove(of(call)->shelves, at);
}

/* Books. */

static json_t *books_of(const struct rest_call *call, struct rest_fault *fault)
{
	size_t at;
	const json_t *shelf = find(of(call)->shelves, call->parent, &at);

	if (!shelf) {
		(void)missing(fault, call->parent);
		return NULL;
	}
	return json_object_get(shelf, "books");
}

static int list_books(const struct rest_call *call, struct rest_list *list,
		      struct rest_fault *fault)
{
	json_t *books = books_of(call, fault);

	return !books ? -1 : json_array_extend(list->items, books) < 0 ? rest_no_memory(fault) : 0;
}

static int get_book(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	const json_t *books = books_of(call, fault);
	size_t at;
	json_t *book = books ? find(books, call->id, &at) : NULL;

	if (!book)
		return books ? missing(fault, call->id) : -1;
	*resource = json_incref(book);
	return 0;
}

static int create_book(const struct rest_call *call, const json_t *input, struct rest_made *made,
		       struct rest_fault *fault)
{
	json_t *books = books_of(call, fault);
	json_t *book;

	if (!books)
		return -1;
	book = json_deep_copy(input);
	if (json_object_set_new(book, "id", json_sprintf("%zu", json_array_size(books) + 1)) < 0 ||
	    json_array_append(books, book) < 0) {
		json_decref(book);
		return rest_no_memory(fault);
	}
	made->id = strdup(json_string_value(json_object_get(book, "id")));
	made->resource = book;
	return 0;
}

/* What happened. */

static int list_events(const struct rest_call *call, struct rest_list *list,
		       struct rest_fault *fault)
{
	list->first = of(call)->first_event;
	return json_array_extend(list->items, of(call)->events) < 0 ? rest_no_memory(fault) : 0;
}

static int get_event(const struct rest_call *call, json_t **resource, struct rest_fault *fault)
{
	size_t at;
	json_t *event = find(of(call)->events, call->id, &at);

	if (!event)
		return missing(fault, call->id);
	*resource = json_incref(event);
	return 0;
}

void shelves_happen(struct shelves *shelves, const char *what)
{
	uint64_t number = shelves->first_event + json_array_size(shelves->events);
	json_t *event =
		json_pack("{s:o, s:s}", "id", json_sprintf("%" PRIu64, number), "text", what);

	if (json_array_append_new(shelves->events, event) < 0)
		abort();
	rest_api_changed(shelves->api, &event_type);
}

/* Orders. */

static void cancel_order(void *data)
{
	struct shelves *shelves = data;

	shelves->job = NULL;
	shelves->cancelled++;
}

static int create_order(const struct rest_call *call, const json_t *input, struct rest_made *made,
			struct rest_fault *fault)
{
	const char *type = json_string_value(json_object_get(input, "type"));
	size_t at;

	if (!find(of(call)->shelves, call->parent, &at))
		return missing(fault, call->parent);
	if (strcmp(type, "burn") == 0)
		return rest_refuse(fault, 409, "never", "type", "books are not burnt here");
	of(call)->orders++;
	if (strcmp(type, "dust") == 0)
		return 0;
	made->job = rest_job_new(call, cancel_order, call->context);
	if (!made->job)
		return rest_refuse(fault, 503, "busy", NULL, "too much to do");
	if (strcmp(type, "copy") == 0) /* done before anybody has asked */
		rest_job_done(made->job, 200,
			      json_pack("{s:s, s:s}", "_type", "order", "type", type));
	else
		of(call)->job = made->job;
	return 0;
}

static const struct rest_ops library_ops = {.get = get_library};
static const struct rest_ops shelf_ops = {.list = list_shelves,
					  .get = get_shelf,
					  .create = create_shelf,
					  .replace = replace_shelf,
					  .remove = remove_shelf};
static const struct rest_ops book_ops = {
	.list = list_books, .get = get_book, .create = create_book};
static const struct rest_ops event_ops = {.list = list_events, .get = get_event};
static const struct rest_ops order_ops = {.create = create_order};

const struct rest_type library_type = {.name = "library",
				       .summary = "The library.",
				       .fields = library_fields,
				       .ops = &library_ops};
const struct rest_type book_type = {.name = "book",
				    .plural = "books",
				    .summary = "A book.",
				    .fields = book_fields,
				    .constraints = book_constraints,
				    .nconstraints = COUNT(book_constraints),
				    .ops = &book_ops};
const struct rest_type order_type = {.name = "order",
				     .plural = "orders",
				     .summary = "Something to be done.",
				     .fields = order_fields,
				     .ops = &order_ops};
static const struct rest_type *const shelf_subs[] = {&book_type, &order_type, NULL};
const struct rest_type shelf_type = {.name = "shelf",
				     .plural = "shelves",
				     .summary = "A shelf <with> books.",
				     .fields = shelf_fields,
				     .subs = shelf_subs,
				     .variants = variants,
				     .ops = &shelf_ops};
const struct rest_type event_type = {.name = "event",
				     .plural = "events",
				     .summary = "What happened.",
				     .fields = event_fields,
				     .ops = &event_ops};
static const struct rest_type *const types[] = {&shelf_type, &event_type, NULL};
const struct rest_model shelves_model = {
	.title = "library", .entry = &library_type, .types = types};

int shelves_new(struct shelves *shelves)
{
	struct err e = {0};

	*shelves = (struct shelves){.first_event = 5, .events = json_array()};
	shelves->shelves = json_pack("[{s:s, s:s, s:i, s:[], s:b, s:[{s:s, s:s, s:s}]}]", "id",
				     "low", "name", "low", "places", 20, "labels", "locked", 0,
				     "books", "id", "1", "title", "Ulysses", "genre", "novel");
	if (!shelves->events || !shelves->shelves)
		return -ENOMEM;
	if (rest_api_new(&shelves_model, shelves, &shelves->api, &e) < 0)
		return e.code;
	shelves->api->last_job = 0; /* the first is number 1, so that tests can name it */
	return 0;
}

void shelves_free(struct shelves *shelves)
{
	rest_api_free(shelves->api);
	json_decref(shelves->shelves);
	json_decref(shelves->events);
}
