/* SPDX-License-Identifier: MIT */
/*
 * By BPF: a program in the kernel looks at every exec, and sends SIGSTOP where the rule fits; see
 * catch_program.h for the program and catch_maps.h for what it tells.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/catch_loop.h"
#include "stopexec/catch_maps.h"
#include "stopexec/catch_program.h"
#include "stopexec/guardian.h"

static const ino_t first_pid_namespace = 0xEFFFFFFC; /* PROC_PID_INIT_INO */

struct by_bpf {
	struct catch_maps maps;
	struct catch_control *control;
	struct ring_buffer *ring;
	int link; /* as long as it is open, the program runs */
};

/* The offset of a member, in bytes, also of structs without a name within: so are those whose
 * members the kernel's compiler puts into a random order (CONFIG_RANDSTRUCT, __randomize_layout).
 */
static bool member_offset(const struct btf *btf, const struct btf_type *type, const char *name,
			  uint32_t *offset)
{
	const struct btf_member *members = btf_members(type);

	for (uint32_t i = 0; i < btf_vlen(type); i++) {
		const char *is = btf__name_by_offset(btf, members[i].name_off);
		const struct btf_type *inner = btf__type_by_id(btf, members[i].type);
		uint32_t at = btf_member_bit_offset(type, i) / 8, within;

		if (is != NULL && strcmp(is, name) == 0) {
			*offset = at;
			return true;
		}
		if ((is == NULL || *is == '\0') && inner != NULL && btf_is_composite(inner) &&
		    member_offset(btf, inner, name, &within)) {
			*offset = at + within;
			return true;
		}
	}
	return false;
}

static bool find_offset(const struct btf *btf, const char *name, const char *member,
			uint32_t *offset)
{
	int id = btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT);

	return id > 0 && member_offset(btf, btf__type_by_id(btf, (uint32_t)id), member, offset);
}

static int find_offsets(struct catch_offsets *o, struct err *e)
{
	struct btf *btf = btf__load_vmlinux_btf();
	bool found = btf != NULL &&
		     find_offset(btf, "task_struct", "real_parent", &o->task_parent) &&
		     find_offset(btf, "task_struct", "tgid", &o->task_tgid) &&
		     find_offset(btf, "linux_binprm", "filename", &o->exec_filename);

	btf__free(btf);
	return found ? 0
		     : err_set(e, -EOPNOTSUPP,
			       "This kernel does not describe itself (CONFIG_DEBUG_INFO_BTF), "
			       "which "
			       "catching by BPF needs");
}

static int load(struct by_bpf *b, const struct catch_filter *filter, int *program, struct err *e)
{
	static const char lack[] = "This kernel does not take the BPF program "
				   "(Linux 5.12 is needed)";
	struct bpf_insn *insns cleanup(free_at) = NULL;
	struct catch_offsets offsets;
	size_t count;
	int fd, result = find_offsets(&offsets, e);

	if (result < 0)
		return result;
	result = catch_program(filter, &offsets, b->maps.control, b->maps.ring, &insns, &count);
	if (result == -ENAMETOOLONG)
		return err_set(e, result, "A name is too long for BPF: %d bytes at most",
			       CATCH_NAME_MOST);
	if (result < 0)
		return err_sys(e, result, "The BPF program can't be made");
	fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "stopexec", "GPL", insns, count, NULL);
	if (fd < 0)
		return catch_refused(fd, lack, e);
	*program = fd;
	return 0;
}

static int attach(struct by_bpf *b, int program, struct err *e)
{
	static const char lack[] = "This kernel lets no BPF program see an exec "
				   "(CONFIG_BPF_EVENTS)";

	b->link = bpf_raw_tracepoint_open("sched_process_exec", program);
	return b->link < 0 ? catch_refused(b->link, lack, e) : 0;
}

/* BPF counts processes as the first PID namespace does. */
static int check_namespace(struct err *e)
{
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == first_pid_namespace)
		return 0;
	return err_set(e, -EOPNOTSUPP,
		       "BPF can't be used from within a container: run stopexec on the host");
}

static struct catch_filter filter_of(const struct catch_loop *l, long count)
{
	const struct catch_rule *rule = l->rule;

	return (struct catch_filter){
		.names = rule->names,
		.nnames = rule->nnames,
		.comm = rule->comm,
		.any_user = rule->any_user,
		.uid = rule->uid,
		.cgroup = rule->cgroup.id,
		.cgroup_level = rule->cgroup.level,
		.parent = rule->parent,
		.spared = l->spared,
		.nspared = l->nspared,
		.counted = count >= 0,
	};
}

/* The program tells first, and stops then. */
static void way_let_go(struct catch_loop *l, pid_t pid)
{
	(void)l;
	catch_maps_wait();
	kill(pid, SIGCONT);
}

/* Returns what ring_buffer__consume() wants: 0. */
static int tell(void *data, void *bytes, size_t len)
{
	struct catch_loop *l = data;
	const struct catch_event *event = bytes;
	struct caught caught = {0};

	(void)len; /* of one event */
	caught.stop.pid = (pid_t)event->pid;
	caught.loader = event->name == CATCH_LOADER;
	caught.program = caught.loader ? 0 : event->name;
	caught.stop.tracer = TRACER_UNKNOWN;
	if (catch_is_other(l, &caught)) /* now: stopexec may be busy for long */
		way_let_go(l, caught.stop.pid);
	else if (catch_hold(l, &caught))
		catch_tell(l, &caught);
	else
		catch_let_go(l, &caught);
	return 0;
}

static int start(struct by_bpf *b, struct catch_loop *l, long count, struct err *e)
{
	struct catch_filter filter = filter_of(l, count);
	int program cleanup(fd_close_at) = -1;
	int result = catch_maps_make(&b->maps, e);

	if (result < 0)
		return result;
	b->control = catch_maps_control(&b->maps);
	if (b->control != NULL)
		b->ring = ring_buffer__new(b->maps.ring, tell, l, NULL);
	if (b->ring == NULL)
		return err_sys(e, -errno, "What BPF tells can't be read");
	result = load(b, &filter, &program, e);
	if (result < 0)
		return result;
	*b->control = (struct catch_control){.on = 1, .wanted = count};
	result = guardian_drains(l->guardian, &b->maps);
	if (result < 0)
		return err_sys(e, result, "No guardian is there, so nothing is watched");
	return attach(b, program, e);
}

static void way_close(struct catch_loop *l)
{
	struct by_bpf *b = l->data;

	fd_close_at(&b->link);
	ring_buffer__free(b->ring);
	catch_maps_close(&b->maps);
	free(b);
	l->data = NULL;
}

static int way_open(struct catch_loop *l, long count, int *fd, struct err *e)
{
	struct by_bpf *b;
	int result = check_namespace(e);

	if (result < 0)
		return result;
	b = calloc(1, sizeof(*b));
	if (b == NULL)
		return err_sys(e, -ENOMEM, "Nothing can be watched");
	*b = (struct by_bpf){.maps = {-1, -1}, .link = -1};
	l->data = b;
	libbpf_set_print(NULL);
	result = start(b, l, count, e);
	if (result < 0)
		way_close(l);
	else
		*fd = ring_buffer__epoll_fd(b->ring);
	return result;
}

static void way_serve(struct catch_loop *l)
{
	const struct by_bpf *b = l->data;

	(void)ring_buffer__consume(b->ring);
}

static void way_look(struct catch_loop *l)
{
	(void)l; /* a name stays a name */
}

static void way_more(struct catch_loop *l, long count)
{
	const struct by_bpf *b = l->data;

	__atomic_fetch_add(&b->control->wanted, count, __ATOMIC_SEQ_CST);
}

static void way_pass(struct catch_loop *l, pid_t helper)
{
	const struct by_bpf *b = l->data;

	__atomic_store_n(&b->control->helper, (uint64_t)helper, __ATOMIC_SEQ_CST);
}

static void way_end(struct catch_loop *l)
{
	const struct by_bpf *b = l->data;

	catch_maps_drain(&b->maps);
}

const struct catch_way catch_bpf = {
	.open = way_open,
	.serve = way_serve,
	.look = way_look,
	.more = way_more,
	.pass = way_pass,
	.let_go = way_let_go,
	.end = way_end,
	.close = way_close,
};
