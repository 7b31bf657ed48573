/* SPDX-License-Identifier: MIT */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/store.h"

#define PIECE ((size_t)256 * 1024)

/* What the archive library reads. */
struct source {
	int fd;
	char *bytes;	/* of PIECE */
	uint64_t total; /* read so far */
	uint64_t end;	/* of what is not zero */
};

static la_ssize_t read_source(struct archive *reader, void *data, const void **bytes)
{
	struct source *s = data;
	ssize_t n = read(s->fd, s->bytes, PIECE);
	size_t len = n > 0 ? (size_t)n : 0;

	if (n < 0) {
		archive_set_error(reader, errno, "%s", strerror(errno));
		return -1;
	}
	while (len > 0 && s->bytes[len - 1] == 0)
		len--;
	if (len > 0)
		s->end = s->total + len;
	s->total += (uint64_t)n;
	*bytes = s->bytes;
	return n;
}

/* The library takes for the end what it can't unpack behind a whole part. */
static int check_rest(struct archive *reader, struct source *s, const char *name, struct err *e)
{
	uint64_t unpacked = (uint64_t)archive_filter_bytes(reader, -1);
	const void *bytes;
	la_ssize_t n;

	do
		n = read_source(reader, s, &bytes);
	while (n > 0 && s->end <= unpacked);
	if (n < 0)
		return err_sys(e, -errno, "cannot read %s", name);
	if (s->end <= unpacked)
		return 0;
	return err_set(e, -EINVAL,
		       "what is behind byte %" PRIu64 " of %s can't be unpacked: it is damaged, or "
		       "no part of it; unpack it by hand to see",
		       unpacked, name);
}

static void reader_free_at(struct archive **reader)
{
	archive_read_free(*reader);
}

static bool packed(const char *start, ssize_t len)
{
	static const struct {
		size_t len;
		char bytes[7];
	} magic[] = {{2, "\x1f\x8b"},
		     {6, "\xfd"
			 "7zXZ"},
		     {4, "\x28\xb5\x2f\xfd"},
		     {3, "BZh"}};

	for (size_t i = 0; i < COUNT(magic); i++)
		if (len >= (ssize_t)magic[i].len && !memcmp(start, magic[i].bytes, magic[i].len))
			return true;
	return false;
}

int store_temporary(const char *folder, int *fd, struct err *e)
{
	char *path cleanup(free_at) = NULL;

	*fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (*fd >= 0)
		return 0;
	path = store_path(folder, "bounce-mbox.XXXXXX");
	if (!path)
		return store_no_memory(e);
	*fd = mkostemp(path, O_CLOEXEC);
	if (*fd < 0)
		return err_sys(e, -errno, "cannot make a temporary file in %s", folder);
	(void)unlink(path);
	return 0;
}

static int write_all(int fd, const char *bytes, size_t len, const char *folder, struct err *e)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0)
			return err_sys(e, -errno, "cannot write a temporary file in %s", folder);
		bytes += n;
		len -= (size_t)n;
	}
	return 0;
}

/* 0, or 1 where it is not what was asked for. */
static int copy_all(struct archive *reader, int to, const char *name, enum unpack what,
		    const struct store_wishes *wishes, struct err *e)
{
	char *bytes cleanup(free_at) = malloc(PIECE);
	struct archive_entry *entry;
	bool wanted = what != UNPACK_MBOX;

	if (!bytes)
		return store_no_memory(e);
	int r = archive_read_next_header(reader, &entry);

	if (r == ARCHIVE_EOF)
		return !wanted;
	for (;;) {
		la_ssize_t n = r < ARCHIVE_WARN ? -1 : archive_read_data(reader, bytes, PIECE);

		if (!wanted && (n <= 0 || store_look_at(bytes, (size_t)n) != STORE_MBOX))
			return 1;
		wanted = true;
		if (n < 0)
			return err_set(e, -EINVAL, "cannot unpack %s: %s", name,
				       archive_error_string(reader));
		if (n == 0)
			return 0;
		int code = write_all(to, bytes, (size_t)n, wishes->temporary, e);

		if (code < 0)
			return code;
		store_tell(wishes, "unpacking", name, (uint64_t)archive_filter_bytes(reader, 0));
	}
}

int store_unpack(int fd, const char *name, enum unpack what, const struct store_wishes *wishes,
		 int *copy, struct err *e)
{
	struct source source = {.fd = fd};
	char *bytes cleanup(free_at) = NULL; /* the reader's, to its end */
	struct archive *reader cleanup(reader_free_at) = NULL;
	int to cleanup(fd_close_at) = -1;
	int r;

	*copy = -1;
	if (what != UNPACK_ALL) {
		char start[8];
		ssize_t n = pread(fd, start, sizeof(start), 0);

		if (n < 0)
			return err_sys(e, -errno, "cannot read %s", name);
		if (!packed(start, n))
			return 0;
	}
	r = store_temporary(wishes->temporary, &to, e);
	if (r < 0)
		return r;
	bytes = malloc(PIECE);
	source.bytes = bytes;
	reader = archive_read_new();
	if (!reader || !bytes)
		return store_no_memory(e);
	archive_read_support_filter_gzip(reader);
	archive_read_support_filter_xz(reader);
	archive_read_support_filter_zstd(reader);
	archive_read_support_filter_bzip2(reader);
	archive_read_support_format_raw(reader);
	archive_read_support_format_empty(reader);
	if (archive_read_open(reader, &source, NULL, read_source, NULL) != ARCHIVE_OK)
		return err_set(e, -EINVAL, "cannot read %s: %s", name,
			       archive_error_string(reader));
	r = copy_all(reader, to, name, what, wishes, e);
	if (r == 0)
		r = check_rest(reader, &source, name, e);
	if (r != 0)
		return r < 0 ? r : 0;
	if (lseek(to, 0, SEEK_SET) < 0)
		return err_sys(e, -errno, "cannot read a temporary file in %s", wishes->temporary);
	*copy = fd_take(&to);
	return 0;
}
