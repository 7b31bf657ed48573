/* SPDX-License-Identifier: MIT */
/* The API's resources: what there is on this host, the mirrors, and what has happened. */
#ifndef PORTMIRRORD_API_H
#define PORTMIRRORD_API_H

struct api;
struct err;
struct keeper;
struct loop;
struct rest_api;

/* Paths outside the API: the first page, and what api_model's types are, for people. */
#define API_HOME	  "/"
#define API_DOCUMENTATION "/documentation"
extern const struct rest_model api_model;

struct api_config {
	struct loop *loop;
	struct keeper *keeper;
	const char *root; /* "": the system's own places */
};

int api_new(const struct api_config *config, struct api **api, struct err *e);
void api_free(struct api *api); /* ends the checks under way */

struct rest_api *api_rest(struct api *api);

/* The keeper's changes (enum keeper_change) wake those who wait for them. */
void api_changed(struct api *api, unsigned changes);

#endif
