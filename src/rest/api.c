/* SPDX-License-Identifier: MIT */
/* The api as an object, and what its callers do with requests' answers. */
#include "rest/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"
#include "base/mem.h"
#include "rest/keep.h"
#include "rest/work.h"

static int add_types(struct rest_api *api, struct err *e)
{
	const struct rest_model *model = api->model;
	size_t count = 0;

	while (model->types[count])
		count++;
	api->types = calloc(count + 2, sizeof(const struct rest_type *));
	if (!api->types)
		return err_set(e, -ENOMEM, "out of memory");
	memcpy(api->types, model->types, count * sizeof(const struct rest_type *));
	api->types[count] = &job_type;
	if (model_facts(api, &job_type, api, e) < 0 ||
	    model_facts(api, model->entry, api->context, e) < 0)
		return e->code;
	for (size_t i = 0; i < count; i++) {
		if (model_facts(api, model->types[i], api->context, e) < 0)
			return e->code;
	}
	return 0;
}

int rest_api_new(const struct rest_model *model, void *context, struct rest_api **api,
		 struct err *e)
{
	struct rest_api *made;
	struct err ignored = {0};

	if (!e)
		e = &ignored;
	if (model_check(model, e) < 0)
		return e->code;
	made = calloc(1, sizeof(*made));
	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	made->model = model;
	made->context = context;
	made->last_job = rest_numbers_start();
	if (add_types(made, e) < 0) {
		rest_api_free(made);
		return e->code;
	}
	*api = made;
	return 0;
}

void rest_api_free(struct rest_api *api)
{
	if (!api)
		return;
	api->changed = NULL;
	jobs_free(api);
	keep_free(api);
	for (size_t i = 0; i < api->nfacts; i++)
		json_decref(api->facts[i].sample);
	free(api->facts);
	free(api->types);
	free(api);
}

const struct facts *api_facts(const struct rest_api *api, const struct rest_type *type)
{
	const struct facts *facts = api->facts;

	while (facts->type != type) /* every type of the model is there */
		facts++;
	return facts;
}

void rest_api_listen(struct rest_api *api,
		     void (*changed)(const struct rest_type *type, uint64_t job, void *data),
		     void *data)
{
	api->changed = changed;
	api->data = data;
}

void rest_api_changed(struct rest_api *api, const struct rest_type *type)
{
	api->changes++;
	if (api->changed)
		api->changed(type, 0, api->data);
}

void rest_response_free(struct rest_response *response)
{
	for (size_t i = 0; i < response->nheaders; i++)
		free(response->headers[i].value);
	response->nheaders = 0;
	buf_free(&response->body);
}

const char *rest_response_header(const struct rest_response *response, const char *name)
{
	for (size_t i = 0; i < response->nheaders; i++) {
		if (strcasecmp(response->headers[i].name, name) == 0)
			return response->headers[i].value;
	}
	return NULL;
}
