/* SPDX-License-Identifier: MIT */
/* How far a change is that takes longer than a moment, on a terminal. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "portmirror/cli/app.h"

enum { SILENT_MS = 300, EVERY_MS = 100 };

static struct progress {
	int64_t begun, shown; /* milliseconds; 0: not yet */
} progress;

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool show(size_t done, size_t total, void *data)
{
	struct progress *p = data;
	int64_t t = now();

	if (p->begun == 0)
		p->begun = t;
	if (t - p->begun < SILENT_MS || t - p->shown < EVERY_MS)
		return true;
	p->shown = t;
	fprintf(stderr, "\r\033[K%zu of %zu changes in the kernel are done ", done, total);
	return true;
}

void app_show_progress(struct engine *engine)
{
	if (!isatty(STDERR_FILENO))
		return;
	engine->between = show;
	engine->between_data = &progress;
}

void app_end_progress(void)
{
	if (progress.shown != 0)
		fputs("\r\033[K", stderr);
	progress.shown = 0;
}
