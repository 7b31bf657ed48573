/* SPDX-License-Identifier: MIT */
#include "portmirrord/alone.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/file.h"
#include "base/mem.h"

static int refuse(pid_t holder, struct err *e)
{
	if (holder <= 0)
		return err_set(e, -EBUSY,
			       "portmirrord runs already, in another PID namespace: stop it first");
	return err_set(e, -EBUSY,
		       "portmirrord runs already, as process %d: stop it first, or, if it is the "
		       "service, give it these options by systemctl edit portmirrord",
		       (int)holder);
}

/*
 * A lock of fcntl(2), not of flock(2): it tells who holds it, and no child inherits it, so nothing
 * that outlives the process is in the next one's way. The byte that is locked is the network
 * namespace.
 */
int alone_stay(const char *root, struct err *e)
{
	char *folder cleanup(free_at) = string_fmt("%s/run/portmirror", root);
	char *path cleanup(free_at) = string_fmt("%s/run/portmirror/portmirrord.lock", root);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1}, held;
	int fd cleanup(fd_close_at) = -1;
	struct stat net;
	int r;

	if (!folder || !path)
		return err_set(e, -ENOMEM, "out of memory");
	r = folder_make(folder, 0755, e);
	if (r < 0)
		return r;
	if (stat("/proc/thread-self/ns/net", &net) < 0)
		return err_sys(e, -errno, "can't read /proc/thread-self/ns/net");
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY, 0600);
	if (fd < 0)
		return err_sys(e, -errno, "can't open the lock %s", path);
	lock.l_start = (off_t)net.st_ino;
	held = lock;
	if (fcntl(fd, F_GETLK, &held) < 0 ||
	    (held.l_type == F_UNLCK && fcntl(fd, F_SETLK, &lock) < 0))
		return err_sys(e, -errno, "can't lock %s", path);
	return held.l_type == F_UNLCK ? fd_take(&fd) : refuse(held.l_pid, e);
}
