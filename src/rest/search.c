/* SPDX-License-Identifier: MIT */
/* NAME=VALUE in the query of a collection: only the items that have these values. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "rest/field.h"
#include "rest/work.h"

/* A query is written as a form's body is, and a browser sends it from a form. */
static int read_query(struct work *work, json_t **input)
{
	const char *query = work->route.query;
	struct err e = {0};
	int r = rest_read(query, strlen(query), REST_FORM_BODY, input, &e);

	if (r == -ENOMEM)
		return rest_no_memory(&work->fault);
	if (r < 0)
		return rest_refuse(&work->fault, 400, "bad-query", NULL, "the query: %s", e.text);
	return 0;
}

/* A link is named by its URL, or by the id at its end. */
static bool is_link_to(const json_t *link, const char *wanted)
{
	const char *href = json_string_value(json_object_get(link, "href"));
	const char *slash = href ? strrchr(href, '/') : NULL;

	return href &&
	       (strcmp(href, wanted) == 0 || (slash && route_is_segment(slash + 1, wanted)));
}

static bool is_equal(const json_t *value, const json_t *wanted)
{
	const char *href = json_string_value(json_object_get(wanted, "href"));

	if (href)
		return is_link_to(value, href);
	if (json_is_number(value) && json_is_number(wanted))
		return !(json_number_value(value) < json_number_value(wanted)) &&
		       !(json_number_value(value) > json_number_value(wanted));
	return json_equal(value, wanted);
}

/* Of an attribute with several values, one is enough: a search is for one value (see rest_form()).
 */
static bool matches(const json_t *value, const json_t *wanted)
{
	json_t *one;
	size_t i;

	if (!json_is_array(value))
		return is_equal(value, wanted);
	json_array_foreach(value, i, one)
	{
		if (is_equal(one, wanted))
			return true;
	}
	return false;
}

static bool is_wanted(const struct rest_type *type, const json_t *item, const json_t *wanted)
{
	for (const struct rest_field *field = type->fields; field->name; field++) {
		const json_t *value = field_get(wanted, field->name);

		if ((field->use & REST_SEARCH) && value && !json_is_null(value) &&
		    !matches(field_get(item, field->name), value))
			return false;
	}
	return true;
}

int search_items(struct work *work, json_t **items)
{
	const struct rest_type *type = work->route.type;
	json_t *input cleanup(json_free_at) = NULL;
	json_t *wanted cleanup(json_free_at) = NULL;
	json_t *found cleanup(json_free_at) = json_array();
	json_t *item;
	size_t i;

	if (!found)
		return rest_no_memory(&work->fault);
	if (read_query(work, &input) < 0)
		return -1;
	if (rest_form_check(type, REST_FORM_SEARCH, input, true, &wanted, &work->fault) < 0)
		return -1;
	json_array_foreach(*items, i, item)
	{
		if (is_wanted(type, item, wanted))
			json_array_append(found, item); /* json_lacked() is asked in the end */
	}
	json_decref(*items);
	*items = take(found);
	return 0;
}
