/* SPDX-License-Identifier: MIT */
#include "stopexec/program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/err.h"
#include "base/mem.h"
#include "stopexec/proc.h"

enum {
	SCRIPT_START = 256, /* BINPRM_BUF_SIZE */
	SCRIPTS_NESTED = 5, /* as exec_binprm() in fs/exec.c allows */
	ANCESTORS = 64,
};

static bool read_fd(void *data, uint64_t offset, void *to, size_t len)
{
	int fd = *(const int *)data;

	return offset <= INT64_MAX && pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

struct elf_bytes program_bytes(const int *fd)
{
	union {
		const int *in;
		void *out;
	} data = {.in = fd}; /* read_fd() only reads it */

	return (struct elf_bytes){.read = read_fd, .data = data.out};
}

void program_close(struct program *program)
{
	if (program->fd >= 0)
		close(program->fd);
	program->fd = -1;
}

/* The length of "/proc/PID/root" where the path begins so: a link that realpath(3) would take for
 * "/", which it says in a container. 0: it does not. */
static size_t foreign_root(const char *path)
{
	static const char proc[] = "/proc/", root[] = "/root";
	size_t len = sizeof(proc) - 1;

	if (strncmp(path, proc, len) != 0)
		return 0;
	len += strspn(path + len, "0123456789");
	if (strncmp(path + len, root, sizeof(root) - 1) != 0 || path[len + sizeof(root) - 1] != '/')
		return 0;
	return len + sizeof(root) - 1;
}

int program_open(const char *real)
{
	size_t root = foreign_root(real);
	struct open_how how = {
		.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		.resolve = root > 0 ? RESOLVE_IN_ROOT : RESOLVE_NO_SYMLINKS,
	};
	char folder[64];
	int at cleanup(fd_close_at) = -1;
	long fd;

	if (root > 0) {
		snprintf(folder, sizeof(folder), "%.*s", (int)root, real);
		at = open(folder, O_PATH | O_CLOEXEC);
		if (at < 0)
			return -errno;
	}
	fd = syscall(SYS_openat2, at, real + root, &how, sizeof(how));
	if (fd < 0 && errno == ENOSYS && root == 0) /* a sandbox, or qemu-user */
		fd = open(real, (int)how.flags | O_NOFOLLOW);
	return fd < 0 ? -errno : (int)fd;
}

static bool executable_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 0111) != 0;
}

static int search_path(const char *name, const char *search, char path[4096], struct err *e)
{
	struct cursor c = cursor_of(search, strlen(search));
	const char *folder;
	size_t len;

	while (cursor_part(&c, ':', &folder, &len)) {
		if (snprintf(path, PATH_MAX, "%.*s/%s", (int)len, len > 0 ? folder : ".", name) >=
		    PATH_MAX)
			continue;
		if (executable_file(path))
			return 0;
	}
	return err_set(e, -ENOENT, "There is no program called \"%s\" in the PATH", name);
}

static int check_file(const struct program *p, struct stat *st, struct err *e)
{
	if (fstat(p->fd, st) < 0)
		return err_sys(e, -errno, "%s can't be read", p->path);
	if (S_ISDIR(st->st_mode))
		return err_set(e, -EISDIR, "%s is a folder, not a program", p->path);
	if (!S_ISREG(st->st_mode))
		return err_set(e, -EACCES, "%s is not a regular file", p->path);
	if ((st->st_mode & 0111) == 0)
		return err_set(e, -EACCES, "%s is not executable (chmod +x it)", p->path);
	return 0;
}

/* As whoever executes the script sees it. */
static int open_interpreter(const struct program *p, const char *interpreter)
{
	char path[PATH_MAX];
	size_t root = foreign_root(p->real);

	if (root == 0) {
		int fd = open(interpreter, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

		return fd < 0 ? -errno : fd;
	}
	snprintf(path, sizeof(path), "%.*s/%.255s", (int)root, p->real, interpreter);
	return program_open(path);
}

/* Follows "#!" lines down to the file that the kernel will load. */
static int find_image(struct program *p, struct err *e)
{
	int fd cleanup(fd_close_at) = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	char name[4096];
	struct stat st;

	if (fd < 0)
		return err_sys(e, -errno, "%s can't be looked at", p->path);
	snprintf(name, sizeof(name), "%s", p->path);
	for (int depth = 0; depth <= SCRIPTS_NESTED; depth++) {
		struct elf_bytes bytes = program_bytes(&fd);
		char start[SCRIPT_START], interpreter[256];
		struct elf_file elf;
		ssize_t len;

		if (elf_read(&bytes, &elf) == 0) {
			if (fstat(fd, &st) < 0)
				return err_sys(e, -errno, "%s can't be looked at", name);
			p->image_device = st.st_dev;
			p->image_inode = st.st_ino;
			p->script = depth > 0;
			return 0;
		}
		len = pread(fd, start, sizeof(start), 0);
		if (len <= 0 || !script_interpreter(start, (size_t)len, interpreter))
			return err_set(e, -ENOEXEC,
				       "%s is neither an ELF program nor a script whose first line "
				       "names an interpreter",
				       name);
		close(fd);
		fd = open_interpreter(p, interpreter);
		if (fd < 0)
			return err_sys(e, fd, "The interpreter \"%s\" of %s can't be opened",
				       interpreter, name);
		snprintf(name, sizeof(name), "%s", interpreter);
	}
	return err_set(e, -ELOOP, "%s leads through too many interpreters", p->path);
}

int program_find(const char *name, const char *search, struct program *program, struct err *e)
{
	struct program *p cleanup(free_at) = calloc(1, sizeof(*p));
	struct stat st;
	int result;

	if (p == NULL)
		return err_sys(e, -ENOMEM, "%s can't be looked for", name);
	if (strlen(name) >= sizeof(p->path) || *name == '\0')
		return err_set(e, -ENOENT, "\"%s\" is no name of a program", name);
	if (strchr(name, '/') != NULL) {
		snprintf(p->path, sizeof(p->path), "%s", name);
	} else {
		result = search_path(name, search, p->path, e);
		if (result < 0)
			return result;
	}
	if (foreign_root(p->path) > 0)
		snprintf(p->real, sizeof(p->real), "%s", p->path);
	else if (realpath(p->path, p->real) == NULL)
		return err_sys(e, -errno, "There is no program %s", p->path);
	p->fd = program_open(p->real);
	if (p->fd == -ENOENT)
		return err_sys(e, -ENOENT, "There is no program %s", p->path);
	if (p->fd < 0)
		return err_sys(e, p->fd, "%s can't be read", p->path);
	result = check_file(p, &st, e);
	if (result == 0) {
		p->device = st.st_dev;
		p->inode = st.st_ino;
		result = find_image(p, e);
	}
	if (result < 0) {
		close(p->fd);
		return result;
	}
	*program = *p;
	return 0;
}

static bool same_file(const struct program *p, const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_dev == p->device && st.st_ino == p->inode;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* The dynamic loader's name, or a library's. */
static bool is_library_name(const char *name)
{
	size_t len = strlen(name);

	return strstr(name, ".so.") != NULL || strcmp(name, "ld.so") == 0 ||
	       strncmp(name, "ld-", 3) == 0 || (len > 3 && strcmp(name + len - 3, ".so") == 0);
}

static bool is_loader(const struct program *p)
{
	int own cleanup(fd_close_at) = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct elf_bytes bytes = program_bytes(&own);
	struct elf_file elf;

	return is_library_name(last_part(p->real)) ||
	       (own >= 0 && elf_read(&bytes, &elf) == 0 && elf.interpreter[0] != '\0' &&
		same_file(p, elf.interpreter));
}

static bool is_shell_name(const char *path)
{
	static const char *const shells[] = {"sh",  "bash", "dash", "zsh",  "ksh",
					     "csh", "tcsh", "fish", "mksh", "yash"};

	for (size_t i = 0; i < COUNT(shells); i++)
		if (strcmp(last_part(path), shells[i]) == 0)
			return true;
	return false;
}

/* Is the program of the user's shell, or of a shell among those who started us, so? */
static bool own_shell(uid_t user, bool (*is)(const void *data, const char *shell), const void *data)
{
	const struct passwd *entry = getpwuid(user);
	struct proc_status status;
	pid_t pid = getppid();

	if (entry != NULL && entry->pw_shell != NULL && is(data, entry->pw_shell))
		return true;
	for (int i = 0; i < ANCESTORS && pid > 1; i++) {
		char path[4096];

		if (proc_program(pid, path) == 0 && is_shell_name(path)) {
			char exe[64];

			snprintf(exe, sizeof(exe), "/proc/%d/exe", pid);
			if (is(data, exe) || is(data, path))
				return true;
		}
		if (proc_status(pid, &status) < 0)
			break;
		pid = status.parent;
	}
	return false;
}

static bool shell_is_file(const void *program, const char *shell)
{
	return same_file(program, shell);
}

static bool shell_has_name(const void *name, const char *shell)
{
	return strcmp(last_part(name), last_part(shell)) == 0;
}

static int refuse_loader(const char *name, struct err *e)
{
	return err_set(
		e, -EPERM,
		"%s is the dynamic loader or a library: stopping it would stop every program "
		"that is started",
		name);
}

static int refuse_shell(const char *name, struct err *e)
{
	return err_set(e, -EPERM,
		       "%s is your own shell: the next command that you type, and every script, "
		       "would stop",
		       name);
}

int program_refuse(const struct program *program, uid_t user, struct err *e)
{
	if (is_loader(program))
		return refuse_loader(program->real, e);
	if (same_file(program, "/proc/self/exe"))
		return err_set(e, -EPERM, "%s is stopexec itself", program->real);
	if (own_shell(user, shell_is_file, program))
		return refuse_shell(program->real, e);
	return 0;
}

int program_refuse_name(const char *name, uid_t user, struct err *e)
{
	if (is_library_name(last_part(name)))
		return refuse_loader(name, e);
	if (strcmp(last_part(name), "stopexec") == 0)
		return err_set(e, -EPERM, "%s is stopexec itself", name);
	if (own_shell(user, shell_has_name, name))
		return refuse_shell(name, e);
	return 0;
}

bool program_gives_root(const char *name)
{
	return strcmp(last_part(name), "sudo") == 0 || strcmp(last_part(name), "su") == 0;
}

static bool is_root_shell(pid_t pid)
{
	struct proc_status status;
	char path[4096];

	return proc_status(pid, &status) == 0 && status.uid.real == 0 &&
	       status.uid.effective == 0 && proc_has_terminal(pid) &&
	       proc_program(pid, path) == 0 && is_shell_name(path) && !proc_descends(getpid(), pid);
}

bool program_root_shell_open(void)
{
	DIR *open = opendir("/proc");
	const struct dirent *entry;
	bool found = false;

	while (open != NULL && !found && (entry = readdir(open)) != NULL) {
		long pid = strtol(entry->d_name, NULL, 10);

		found = pid > 0 && pid <= INT_MAX && is_root_shell((pid_t)pid);
	}
	if (open != NULL)
		closedir(open);
	return found;
}
