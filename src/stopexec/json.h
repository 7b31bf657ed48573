/* SPDX-License-Identifier: MIT */
/* JSON for "--json": written only, so a few functions over a buffer. */
#ifndef STOPEXEC_JSON_H
#define STOPEXEC_JSON_H

struct buf;
struct report;
struct report_hints;

/* A string with its quotes, made safe as for a terminal. */
void json_string(struct buf *b, const char *text);

/* "name": value, behind what is there, with a comma unless an object has just begun. */
void json_text(struct buf *b, const char *name, const char *value);
void json_number(struct buf *b, const char *name, long long value);

/* What report_write() says, as one object. Pure. */
void json_report(struct buf *b, const struct report *report, const struct report_hints *hints);

#endif
