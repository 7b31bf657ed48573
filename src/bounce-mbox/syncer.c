/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/syncer.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"

struct syncer {
	int fd;
	int event; /* holds 1 + errno of the last sync */
	sem_t wanted;
	pthread_t thread;
	atomic_bool end;
};

static void *work(void *data)
{
	static const struct timespec nap = {.tv_nsec = 1000000};
	struct syncer *s = data;

	for (;;) {
		uint64_t result;

		while (sem_wait(&s->wanted) < 0)
			;
		if (s->end)
			return NULL;
		result = fdatasync(s->fd) < 0 ? 1 + (uint64_t)errno : 1;
		while (write(s->event, &result, sizeof(result)) < 0)
			nanosleep(&nap, NULL); /* whoever waits for it would wait for ever */
	}
}

int syncer_new(struct syncer **s, int fd, struct err *e)
{
	struct syncer *new = calloc(1, sizeof(*new));
	int r;

	if (!new)
		return err_set(e, -ENOMEM, "out of memory");
	new->fd = fd;
	new->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	(void)sem_init(&new->wanted, 0, 0);
	r = new->event < 0 ? errno : pthread_create(&new->thread, NULL, work, new);
	if (r != 0) {
		if (new->event >= 0)
			close(new->event);
		sem_destroy(&new->wanted);
		free(new);
		return err_sys(e, -r, "cannot start a thread");
	}
	*s = new;
	return 0;
}

void syncer_free(struct syncer *s)
{
	if (!s)
		return;
	s->end = true;
	(void)sem_post(&s->wanted);
	(void)pthread_join(s->thread, NULL);
	sem_destroy(&s->wanted);
	close(s->event);
	free(s);
}

void syncer_start(struct syncer *s)
{
	(void)sem_post(&s->wanted);
}

int syncer_done(struct syncer *s)
{
	uint64_t result;

	if (read(s->event, &result, sizeof(result)) != sizeof(result))
		return 0;
	return result == 1 ? 1 : -(int)(result - 1);
}

int syncer_fd(const struct syncer *s)
{
	return s->event;
}
