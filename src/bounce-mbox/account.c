/* SPDX-License-Identifier: MIT */
/* One message at a time lies in an unlinked file, so that memory and disk stay flat. */
#include "bounce-mbox/account.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "bounce-mbox/dial.h"
#include "bounce-mbox/link.h"
#include "bounce-mbox/run.h"
#include "bounce-mbox/sender.h"
#include "bounce-mbox/store.h"

struct reader {
	struct link_owner owner; /* first: piece() gets its address */
	struct store spool;	 /* of one message */
	uint64_t len;		 /* of what is there of it */
	verify_visit *visit;
	void *data;
};

static int take_piece(struct link_owner *owner, const char *bytes, size_t len, bool last,
		      struct err *e)
{
	struct reader *r = (struct reader *)owner;
	int fd = r->spool.folders[0].fd;

	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, (off_t)r->len);

		if (n < 0)
			return err_sys(e, -errno, "cannot write a temporary file");
		bytes += n;
		len -= (size_t)n;
		r->len += (uint64_t)n;
	}
	if (!last)
		return 0;

	struct item item = {.len = r->len & ((UINT64_C(1) << 44) - 1)};
	int code = r->visit(r->data, &r->spool, &item, e);

	r->len = 0;
	if (code == 0 && ftruncate(fd, 0) < 0)
		code = err_sys(e, -errno, "cannot empty a temporary file");
	return code;
}

static bool is_read(const struct link *l, const struct link_owner *owner)
{
	(void)l;
	return owner->fetched;
}

static int read_all(struct reader *r, struct link *l, struct err *e)
{
	int code = dial(l, &r->owner, e);

	if (code == 0)
		code = link_fetch(l, r->owner.run->options->folder, e);
	if (code == 0)
		code = dial_until(l, &r->owner, is_read, e);
	return code < 0 ? code : link_keeps_one(l);
}

int account_walk(void *export, verify_visit *visit, void *data, struct err *e)
{
	const struct account *account = export;
	struct reader r = {.spool = {.fd = -1}, .visit = visit, .data = data};
	struct link *l = NULL;
	size_t folder = 0;
	int fd = -1, code = store_temporary(account->temporary, &fd, e);

	if (code == 0)
		code = store_add_folder(&r.spool, "the account", "a temporary file", FOLDER_MBOX,
					&folder, e);
	if (code == 0) {
		r.spool.folders[0].fd = fd_take(&fd);
		r.spool.folders[0].format = MBOX_CL2; /* nothing in it is quoted */
		r.owner = (struct link_owner){
			.run = account->run, .piece = take_piece, .now = sender_now()};
		l = link_new(&r.owner);
		code = l ? read_all(&r, l, e) : err_set(e, -ENOMEM, "out of memory");
	}
	link_free(l);
	secret_free(r.owner.secret);
	store_free(&r.spool);
	fd_close_at(&fd);
	return code;
}
