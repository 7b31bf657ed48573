/* SPDX-License-Identifier: MIT */
/* The file of events, torn and damaged: what is read is in order, and the next one gets the next
 * number. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/err.h"
#include "portmirror/events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static uint64_t check(const struct events *events)
{
	uint64_t last = 0;

	for (size_t i = 0; i < events_count(events); i++) {
		const struct event *event = events_nth(events, i);

		if (event->number <= last || !event->kind || !event->text)
			abort();
		last = event->number;
	}
	return last;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct events *events = NULL;
	char path[40] = "/tmp/fuzz-events-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		abort();
	if (write(fd, data, len) != (ssize_t)len)
		abort();
	if (events_open(path, &events, NULL) == 0) {
		check(events);
		if (write(fd, data, len) == (ssize_t)len)
			(void)events_follow(events, NULL);
		check(events);
		events_close(events);
	}
	unlink(path);
	close(fd);
	return 0;
}
