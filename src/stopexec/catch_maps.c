/* SPDX-License-Identifier: MIT */
#include "stopexec/catch_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "stopexec/catch_program.h"

enum { RING = 1 << 16 }; /* bytes: 4,096 events */

void catch_maps_close(struct catch_maps *maps)
{
	fd_close_at(&maps->control);
	fd_close_at(&maps->ring);
	*maps = (struct catch_maps){-1, -1};
}

int catch_refused(int code, const char *lack, struct err *e)
{
	switch (-code) {
	case EPERM:
		return err_set(e, code,
			       "Catching by BPF needs root (CAP_BPF and CAP_PERFMON), and a kernel "
			       "that is not locked down");
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:
		return err_sys(e, code, "Nothing can be watched by BPF");
	default:
		return err_sys(e, -EOPNOTSUPP, "%s", lack);
	}
}

int catch_maps_make(struct catch_maps *maps, struct err *e)
{
	static const char lack[] = "This kernel gives no BPF for it "
				   "(bpf(2) with ring buffers, Linux 5.12)";
	LIBBPF_OPTS(bpf_map_create_opts, memory, .map_flags = BPF_F_MMAPABLE);
	struct catch_maps got = {-1, -1};
	int result = 0;

	got.control = bpf_map_create(BPF_MAP_TYPE_ARRAY, "stopexec_word", sizeof(uint32_t),
				     sizeof(struct catch_control), 1, &memory);
	if (got.control < 0)
		result = got.control;
	if (result == 0)
		got.ring = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "stopexec_ring", 0, 0, RING, NULL);
	if (result == 0 && got.ring < 0)
		result = got.ring;
	if (result == 0) {
		*maps = got;
		return 0;
	}
	catch_maps_close(&got);
	return catch_refused(result, lack, e);
}

struct catch_control *catch_maps_control(const struct catch_maps *maps)
{
	void *at = mmap(NULL, sizeof(struct catch_control), PROT_READ | PROT_WRITE, MAP_SHARED,
			maps->control, 0);

	return at == MAP_FAILED ? NULL : at;
}

/* The program runs within an RCU section, and this waits for the end of those. */
void catch_maps_wait(void)
{
	struct timespec moment = {.tv_nsec = 20000000};

	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
		nanosleep(&moment, NULL); /* not with nohz_full; it runs for microseconds */
}

static int go_on(void *nothing, void *data, size_t len)
{
	const struct catch_event *event = data;
	int pidfd cleanup(fd_close_at) = -1;

	(void)nothing;
	(void)len; /* of one event */
	pidfd = pidfd_open((pid_t)event->pid, 0);
	if (pidfd >= 0)
		pidfd_send_signal(pidfd, SIGCONT, NULL, 0);
	return 0;
}

void catch_maps_drain(const struct catch_maps *maps)
{
	struct catch_control *control = catch_maps_control(maps);
	struct ring_buffer *ring = ring_buffer__new(maps->ring, go_on, NULL, NULL);

	if (control != NULL) {
		__atomic_store_n(&control->on, 0, __ATOMIC_SEQ_CST);
		catch_maps_wait(); /* it may have read its word before */
		munmap(control, sizeof(*control));
	}
	if (ring != NULL)
		(void)ring_buffer__consume(ring);
	ring_buffer__free(ring);
}
