/* SPDX-License-Identifier: MIT */
#include "portmirrord/machines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/mem.h"
#include "portmirror/host.h"

/* When to look again for the owner of a tap, in milliseconds after the last look. */
static const int retries[] = {10, 50, 200, 1000, 4000};

enum {
	/* Looking takes at most a fifth of the time, whatever happens; */
	REST_PER_LOOK = 4,
	/* and in between, every millisecond or so, other news has its turn. */
	STEPS_AT_ONCE = 1000,
};

/* A process that runs a machine; its end is told by its pidfd. */
struct process {
	struct machines *machines;
	pid_t pid;
	int fd;
	struct loop_watch *watch;
	bool lives; /* while the list is brought up to date */
};

struct machines {
	struct loop *loop;
	struct host *host;
	void (*changed)(void *data);
	void *data;
	struct ifindexes young; /* taps whose owner isn't known for sure */
	size_t tried;
	struct vms_search *search; /* NULL: none under way */
	int64_t began;
	bool overtaken; /* by the end of a process that it may have seen */
	int64_t not_before;
	struct loop_timer timer;
	struct process **processes; /* by pid */
	size_t nprocesses, processes_room;
};

static void look(void *data);

static void look_in(struct machines *m, int64_t milliseconds)
{
	int64_t rest = m->not_before - loop_now();
	int64_t in = rest > milliseconds ? rest : milliseconds;

	if (!m->timer.set || m->timer.at > loop_now() + in)
		loop_timer_set(m->loop, &m->timer, in, look, m);
}

static void process_free(struct process *p)
{
	loop_unwatch(p->machines->loop, p->watch);
	fd_close_at(&p->fd);
	free(p);
}

static void ended(uint32_t events, void *data)
{
	struct process *p = data;

	(void)events;
	/* Once is enough: the look that follows drops it. */
	loop_unwatch(p->machines->loop, p->watch);
	p->watch = NULL;
	p->machines->overtaken = true;
	look_in(p->machines, 0);
}

/* Linux 5.3. Without it a machine's end is noticed when its tap goes. */
static int process_add(struct machines *m, pid_t pid)
{
	struct process *p;

	if (array_room(&m->processes, &m->processes_room, m->nprocesses, sizeof(struct process *)) <
	    0)
		return -ENOMEM;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct process){.machines = m, .pid = pid, .lives = true};
	p->fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (p->fd >= 0) /* an unwatched one is tried again at the next look */
		(void)loop_watch(m->loop, p->fd, EPOLLIN, ended, p, &p->watch, NULL);
	m->processes[m->nprocesses++] = p;
	return 0;
}

static struct process *find(const struct machines *m, pid_t pid)
{
	for (size_t i = 0; i < m->nprocesses; i++)
		if (m->processes[i]->pid == pid &&
		    (m->processes[i]->watch || m->processes[i]->fd < 0))
			return m->processes[i];
	return NULL;
}

static int watch_processes(struct machines *m)
{
	size_t kept = 0;
	int r = 0;

	for (size_t i = 0; i < m->nprocesses; i++)
		m->processes[i]->lives = false;
	for (size_t i = 0; i < m->host->vms.count && r == 0; i++) {
		struct process *p = find(m, m->host->vms.items[i].pid);

		if (p)
			p->lives = true;
		else
			r = process_add(m, m->host->vms.items[i].pid);
	}
	for (size_t i = 0; i < m->nprocesses; i++) {
		if (m->processes[i]->lives)
			m->processes[kept++] = m->processes[i];
		else
			process_free(m->processes[i]);
	}
	m->nprocesses = kept;
	return r;
}

static bool has_owner(const struct vms *vms, const char *port)
{
	for (size_t i = 0; i < vms->count; i++)
		for (size_t j = 0; j < vms->items[i].nnics; j++)
			if (strcmp(vms->items[i].nics[j].port, port) == 0)
				return vms->items[i].named;
	return false;
}

static void drop_settled(struct machines *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->young.count; i++) {
		const struct nl_link *link = nl_link_by_index(&m->host->links, m->young.items[i]);

		if (link && !has_owner(&m->host->vms, link->name))
			m->young.items[kept++] = m->young.items[i];
	}
	m->young.count = kept;
}

/* Takes over what was found. */
static int renew(struct machines *m, struct vms *found, bool *changed)
{
	*changed = !vms_equal(found, &m->host->vms);
	vms_free(&m->host->vms);
	m->host->vms = *found;
	return watch_processes(m);
}

static int begin(struct machines *m)
{
	m->began = loop_now();
	m->overtaken = false;
	return vms_search_new("/proc", &m->search, NULL);
}

/* Some steps of a search. 0: there are more; 1: it is over, or it failed: a negative errno. */
static int search(struct machines *m, bool *changed)
{
	struct vms found = {0};
	int r = m->search ? 0 : begin(m);

	if (r == 0)
		r = vms_search_go_on(m->search, STEPS_AT_ONCE, &found, NULL);
	if (r == 0)
		return 0;
	vms_search_free(m->search);
	m->search = NULL;
	m->not_before = loop_now() + REST_PER_LOOK * (loop_now() - m->began);
	if (r > 0)
		r = renew(m, &found, changed);
	return r < 0 ? r : 1;
}

static void look(void *data)
{
	struct machines *m = data;
	bool changed = false;
	int r = search(m, &changed);

	if (r == 0) {
		loop_timer_set(m->loop, &m->timer, 0, look, m);
		return;
	}
	if (r < 0)
		look_in(m, retries[COUNT(retries) - 1]); /* out of memory or of descriptors */
	if (m->overtaken)
		look_in(m, 0);
	drop_settled(m);
	if (m->young.count > 0 && m->tried < COUNT(retries))
		look_in(m, retries[m->tried++]);
	else
		m->young.count = 0;
	if (changed)
		m->changed(m->data);
}

int machines_taps(struct machines *m, struct ifindexes *taps)
{
	for (size_t i = 0; i < taps->count; i++)
		if (ifindexes_add(&m->young, taps->items[i]) < 0)
			return -ENOMEM;
	if (taps->count > 0) {
		m->tried = 0;
		look_in(m, 0);
	}
	taps->count = 0;
	return 0;
}

int machines_new(struct loop *loop, struct host *host, void (*changed)(void *data), void *data,
		 struct machines **machines, struct err *e)
{
	struct machines *made = calloc(1, sizeof(*made));
	struct vms found = {0};
	bool others;
	int r;

	if (!made)
		return err_set(e, -ENOMEM, "out of memory");
	*made = (struct machines){.loop = loop, .host = host, .changed = changed, .data = data};
	r = vms_find("/proc", &found, e);
	if (r == 0 && renew(made, &found, &others) < 0)
		r = err_set(e, -ENOMEM, "out of memory");
	if (r < 0) {
		machines_free(made);
		return r;
	}
	*machines = made;
	return 0;
}

void machines_free(struct machines *m)
{
	if (!m)
		return;
	loop_timer_clear(m->loop, &m->timer);
	vms_search_free(m->search);
	for (size_t i = 0; i < m->nprocesses; i++)
		process_free(m->processes[i]);
	free(m->processes);
	ifindexes_free(&m->young);
	free(m);
}
