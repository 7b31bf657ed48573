/* SPDX-License-Identifier: MIT */
/* From a plan to the kernel: one message an operation, sent together. */
#ifndef PORTMIRROR_ACT_H
#define PORTMIRROR_ACT_H

struct engine;
struct err;
struct outcome;
struct view;

/*
 * Carries out the operations of view->plan. What the kernel has carried out is appended to
 * outcome->done, what it refuses for good to outcome->refusals; what it refuses because the host
 * has changed meanwhile is passed over, and what it says it lacks is remembered in engine->lacks:
 * the next look plans anew.
 */
int act(struct engine *engine, const struct view *view, struct outcome *outcome, struct err *e);

#endif
