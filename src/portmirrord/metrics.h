/* SPDX-License-Identifier: MIT */
/* What Prometheus reads: counters and states, in its text format. */
#ifndef PORTMIRRORD_METRICS_H
#define PORTMIRRORD_METRICS_H

struct buf;
struct keeper;
struct rest_server;

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* server: whose counters are told; may be NULL. Returns 0 or a negative errno. */
int metrics_write(struct keeper *keeper, const struct rest_server *server, struct buf *out);

#endif
