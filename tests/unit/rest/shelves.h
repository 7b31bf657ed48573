/* SPDX-License-Identifier: MIT */
/*
 * A resource model with nothing of this project's in it: shelves with books on them, loans, what
 * happened, and orders that take their time. It proves that the library knows no mirrors, and gives
 * every rule of the API something to be tested on.
 */
#ifndef TESTS_REST_SHELVES_H
#define TESTS_REST_SHELVES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rest/api.h"

extern const struct rest_model shelves_model;
extern const struct rest_type book_type, shelf_type, event_type, order_type, library_type;

/* The application: its resources are JSON, its collections arrays. */
struct shelves {
	struct rest_api *api;
	json_t *shelves; /* of shelf, each with "books" beside what is shown */
	json_t *events;
	uint64_t first_event; /* its number */
	uint64_t visits;      /* counts up with every look at a shelf: a live attribute */
	struct rest_job *job; /* of the last order that takes its time; NULL: none */
	size_t orders;	      /* that were accepted */
	size_t cancelled;
};

int shelves_new(struct shelves *shelves);
void shelves_free(struct shelves *shelves);
void shelves_happen(struct shelves *shelves, const char *what); /* one more event */

/* The token that form bodies carry. */
#define SHELVES_TOKEN "0123456789abcdef"

#endif
