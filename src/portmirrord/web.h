/* SPDX-License-Identifier: MIT */
/* The page at /: how things stand, at a glance, and the ways on into the API. */
#ifndef PORTMIRRORD_WEB_H
#define PORTMIRRORD_WEB_H

struct buf;
struct keeper;

/* base: what absolute URLs begin with. Returns 0 or a negative errno. */
int web_write(struct keeper *keeper, const char *base, struct buf *out);

#endif
