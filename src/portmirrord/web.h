/* SPDX-License-Identifier: MIT */
/* The page at /: how things stand, at a glance, and the ways on into the API. */
#ifndef PORTMIRRORD_WEB_H
#define PORTMIRRORD_WEB_H

struct api;
struct buf;

/* base: what absolute URLs begin with. Returns 0 or a negative errno. */
int web_write(struct api *api, const char *base, struct buf *out);

#endif
