/* SPDX-License-Identifier: MIT */
#include "stopexec/rights.h"

#include <endian.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cursor.h"
#include "base/mem.h"

static bool take_le32(struct cursor *c, uint32_t *value)
{
	if (!cursor_copy(c, value, sizeof(*value)))
		return false;
	*value = le32toh(*value);
	return true;
}

bool rights_parse_capabilities(const void *attribute, size_t len, uint64_t *permitted)
{
	struct cursor c = cursor_of(attribute, len);
	uint32_t version, low, inheritable, high = 0;

	if (!take_le32(&c, &version) || !take_le32(&c, &low) || !take_le32(&c, &inheritable))
		return false;
	version &= VFS_CAP_REVISION_MASK;
	if (version == VFS_CAP_REVISION_2 || version == VFS_CAP_REVISION_3) {
		if (!take_le32(&c, &high))
			return false;
	} else if (version != VFS_CAP_REVISION_1) {
		return false;
	}
	*permitted = (uint64_t)high << 32 | low;
	return true;
}

void rights_of_file(int fd, struct rights_asked *asked)
{
	char attribute[64];
	struct stat st;
	ssize_t len;

	*asked = (struct rights_asked){0};
	if (fstat(fd, &st) < 0)
		return;
	asked->set_uid = (st.st_mode & S_ISUID) != 0;
	/* Without the group's x, the bit meant mandatory locking (fs/exec.c). */
	asked->set_gid = (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP);
	asked->uid = st.st_uid;
	asked->gid = st.st_gid;
	len = fgetxattr(fd, "security.capability", attribute, sizeof(attribute));
	if (len > 0)
		(void)rights_parse_capabilities(attribute, (size_t)len, &asked->capabilities);
}

void rights_around(pid_t pid, int fd, struct rights_around *around)
{
	char path[64], theirs[64] = "", ours[64] = "";
	struct statvfs fs;

	*around = (struct rights_around){0};
	around->nosuid = fstatvfs(fd, &fs) == 0 && (fs.f_flag & ST_NOSUID) != 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
	if (readlink(path, theirs, sizeof(theirs) - 1) > 0 &&
	    readlink("/proc/self/ns/user", ours, sizeof(ours) - 1) > 0)
		around->user_namespace = strcmp(theirs, ours) != 0;
}

enum rights_verdict rights_judge(const struct rights_asked *asked, const struct proc_status *got,
				 const struct rights_around *around)
{
	bool ids = (!asked->set_uid || got->uid.effective == asked->uid) &&
		   (!asked->set_gid || got->gid.effective == asked->gid);
	bool capabilities = (got->permitted & asked->capabilities) == asked->capabilities;

	if (!asked->set_uid && !asked->set_gid && asked->capabilities == 0)
		return RIGHTS_NONE_ASKED;
	if (ids && capabilities)
		return RIGHTS_GIVEN;
	if (around->nosuid)
		return RIGHTS_NOSUID;
	if (got->no_new_privs)
		return RIGHTS_NO_NEW_PRIVS;
	if (around->user_namespace)
		return RIGHTS_USER_NAMESPACE;
	if (around->traced)
		return RIGHTS_TRACER;
	if (ids && (asked->capabilities & ~got->bounding) != 0)
		return RIGHTS_BOUNDING;
	return RIGHTS_UNCLEAR;
}

const char *rights_words(enum rights_verdict verdict)
{
	switch (verdict) {
	case RIGHTS_NONE_ASKED:
		return "the file asks for none";
	case RIGHTS_GIVEN:
		return "given, as the file asks";
	case RIGHTS_NOSUID:
		return "NOT given: its file system is mounted nosuid";
	case RIGHTS_NO_NEW_PRIVS:
		return "NOT given: the process has no_new_privs set";
	case RIGHTS_USER_NAMESPACE:
		return "NOT given: the process lives in another user namespace";
	case RIGHTS_TRACER:
		return "NOT given: it was traced by a process without CAP_SYS_PTRACE";
	case RIGHTS_BOUNDING:
		return "NOT given: the capability bounding set leaves some out";
	case RIGHTS_UNCLEAR:
		break;
	}
	return "NOT given, for a reason that the kernel does not tell";
}

/* capabilities(7), by number */
static const char *const names[] = {
	"chown",
	"dac_override",
	"dac_read_search",
	"fowner",
	"fsetid",
	"kill",
	"setgid",
	"setuid",
	"setpcap",
	"linux_immutable",
	"net_bind_service",
	"net_broadcast",
	"net_admin",
	"net_raw",
	"ipc_lock",
	"ipc_owner",
	"sys_module",
	"sys_rawio",
	"sys_chroot",
	"sys_ptrace",
	"sys_pacct",
	"sys_admin",
	"sys_boot",
	"sys_nice",
	"sys_resource",
	"sys_time",
	"sys_tty_config",
	"mknod",
	"lease",
	"audit_write",
	"audit_control",
	"setfcap",
	"mac_override",
	"mac_admin",
	"syslog",
	"wake_alarm",
	"block_suspend",
	"audit_read",
	"perfmon",
	"bpf",
	"checkpoint_restore",
};

void rights_name(struct buf *b, uint64_t capabilities, uint64_t all)
{
	const char *gap = "";

	if (capabilities == 0) {
		buf_str(b, "none");
		return;
	}
	if ((capabilities & all) == all) {
		buf_str(b, "all");
		return;
	}
	for (unsigned n = 0; n < 64; n++) {
		if ((capabilities >> n & 1) == 0)
			continue;
		if (n < COUNT(names))
			buf_fmt(b, "%scap_%s", gap, names[n]);
		else
			buf_fmt(b, "%scap_%u", gap, n);
		gap = ",";
	}
}
