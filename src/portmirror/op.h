/* SPDX-License-Identifier: MIT */
/* What an operation is called, for people and for programs. */
#ifndef PORTMIRROR_OP_H
#define PORTMIRROR_OP_H

#include <jansson.h>
#include <stddef.h>

struct op;

/* "add the qdisc clsact to vnet1": a clause in the infinitive. Cut at size. */
void op_text(const struct op *op, char *text, size_t size);

/* {"op": "qdisc.add", "port": "vnet1", …}; session: its name, or NULL for a leftover's. NULL: out
 * of memory. */
json_t *op_object(const struct op *op, const char *session);

#endif
