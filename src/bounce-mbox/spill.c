/* SPDX-License-Identifier: MIT */
#include "bounce-mbox/spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/store.h"

#define HEAP_MAX ((size_t)8 * 1024 * 1024)
#define STEP_MAX ((size_t)64 * 1024 * 1024)

static int grow_heap(struct spill *s, size_t room, struct err *e)
{
	void *bytes = realloc(s->bytes, room);

	if (!bytes)
		return err_set(e, -ENOMEM, "out of memory");
	s->bytes = bytes;
	s->room = room;
	return 0;
}

/* The file's blocks are taken now: a full disk is an error here, and no signal later. */
static int take_blocks(int fd, size_t room, const char *folder, struct err *e)
{
	int code = posix_fallocate(fd, 0, (off_t)room);

	return code ? err_sys(e, -code, "cannot make a temporary file in %s", folder) : 0;
}

static int grow_mapped(struct spill *s, size_t room, const char *folder, struct err *e)
{
	int r = take_blocks(s->fd, room, folder, e);
	void *bytes;

	if (r < 0)
		return r;
	bytes = mremap(s->bytes, s->room, room, MREMAP_MAYMOVE);
	if (bytes == MAP_FAILED)
		return err_sys(e, -errno, "cannot map a temporary file");
	s->bytes = bytes;
	s->room = room;
	return 0;
}

static int move_to_file(struct spill *s, size_t room, const char *folder, struct err *e)
{
	int fd cleanup(fd_close_at) = -1;
	int r = store_temporary(folder, &fd, e);
	void *bytes;

	if (r == 0)
		r = take_blocks(fd, room, folder, e);
	if (r < 0)
		return r;
	bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bytes == MAP_FAILED)
		return err_sys(e, -errno, "cannot map a temporary file");
	if (s->room > 0)
		memcpy(bytes, s->bytes, s->room);
	free(s->bytes);
	*s = (struct spill){.bytes = bytes, .room = room, .fd = fd_take(&fd), .mapped = true};
	return 0;
}

int spill_grow(struct spill *s, size_t room, const char *folder, struct err *e)
{
	size_t step = s->room < STEP_MAX ? s->room : STEP_MAX;

	if (room <= s->room)
		return 0;
	if (room < s->room + step)
		room = s->room + step;
	if (room < 4096)
		room = 4096;
	if (s->mapped)
		return grow_mapped(s, room, folder, e);
	if (!folder || room <= HEAP_MAX)
		return grow_heap(s, room, e);
	return move_to_file(s, room, folder, e);
}

void spill_rest(const struct spill *s)
{
	if (s->mapped)
		(void)madvise(s->bytes, s->room, MADV_DONTNEED); /* shared: nothing is lost */
}

int spill_read(const struct spill *s, size_t at, void *bytes, size_t len, struct err *e)
{
	if (!s->mapped) {
		memcpy(bytes, (const char *)s->bytes + at, len);
		return 0;
	}
	for (char *to = bytes; len > 0;) {
		ssize_t n = pread(s->fd, to, len, (off_t)at);

		if (n <= 0)
			return err_sys(e, n < 0 ? -errno : -EIO, "cannot read a temporary file");
		to += n;
		at += (size_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void spill_free(struct spill *s)
{
	if (s->mapped) {
		(void)munmap(s->bytes, s->room);
		fd_close_at(&s->fd);
	} else {
		free(s->bytes);
	}
	*s = (struct spill){0};
}
