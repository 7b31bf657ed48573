/* SPDX-License-Identifier: MIT */
#include "portmirror/facts.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/pkt_sched.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "netlink/nl.h"
#include "portmirror/facts_nm.h"
#include "portmirror/filter.h"
#include "portmirror/host.h"
#include "portmirror/plan.h"
#include "portmirror/store.h"

/* enum bpf_attach_type, newer than Debian 12's linux/bpf.h. */
#define TCX_INGRESS 46
#define TCX_EGRESS  47

#define TCX_PROGRAMS 64 /* BPF_MPROG_MAX: the kernel takes no more at one hook */

const struct fact_device *facts_device(const struct facts *facts, int ifindex)
{
	for (size_t i = 0; i < facts->count; i++)
		if (facts->devices[i].ifindex == ifindex)
			return &facts->devices[i];
	return NULL;
}

static bool is_ours(const struct pins *pins, uint32_t program)
{
	for (size_t i = 0; i < pins->count; i++)
		if (pins->items[i].program == program)
			return true;
	return false;
}

/* The programs at the hook that are not ours. */
static void ask_tcx(const struct host *host, int ifindex, int hook, struct fact_tcx *tcx)
{
	uint32_t ids[TCX_PROGRAMS] = {0}, count = TCX_PROGRAMS;
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);
	int fd cleanup(fd_close_at) = -1;

	/* Kernels before 6.6: -EINVAL. */
	if (bpf_prog_query(ifindex, (enum bpf_attach_type)hook, 0, NULL, ids, &count) < 0)
		return;
	for (uint32_t i = 0; i < count && i < TCX_PROGRAMS; i++) {
		if (is_ours(&host->pins, ids[i]))
			tcx->behind |= tcx->count == 0;
		else if (tcx->count++ == 0)
			tcx->id = ids[i];
	}
	if (tcx->count == 0)
		return;
	fd = bpf_prog_get_fd_by_id(tcx->id);
	if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		memcpy(tcx->name, info.name, sizeof(tcx->name) - 1);
}

static bool ask_offload(int fd, const char *port, uint32_t command)
{
	struct ethtool_value value = {.cmd = command};
	struct ifreq request = {.ifr_data = (void *)&value};

	memcpy(request.ifr_name, port, sizeof(request.ifr_name));
	return ioctl(fd, SIOCETHTOOL, &request) == 0 && value.data != 0;
}

static void ask_device(int fd, const struct host *host, const struct nl_link *link,
		       struct fact_device *d)
{
	d->tso = ask_offload(fd, link->name, ETHTOOL_GTSO);
	d->gso = ask_offload(fd, link->name, ETHTOOL_GGSO);
	d->tx_checksum = ask_offload(fd, link->name, ETHTOOL_GTXCSUM);
	ask_tcx(host, link->index, TCX_INGRESS, &d->tcx_sent);
	ask_tcx(host, link->index, TCX_EGRESS, &d->tcx_received);
}

static int involved(const struct plan *plan, struct ifindexes *all)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < plan->nstates; i++) {
		const struct session_state *st = &plan->states[i];

		for (size_t j = 0; r == 0 && j < st->session->nto; j++)
			if (st->to[j])
				r = ifindexes_add(all, st->to[j]);
		for (int side = 0; r == 0 && side < SIDES; side++)
			if (st->through[side])
				r = ifindexes_add(all, st->through[side]);
		for (size_t j = 0; r == 0 && j < st->from.count; j++)
			r = ifindexes_add(all, st->from.items[j]);
	}
	return r;
}

static int gather_devices(const struct plan *plan, const struct host *host, const char *root,
			  struct facts *facts, struct err *e)
{
	struct ifindexes all cleanup(ifindexes_free) = {0};
	int fd cleanup(fd_close_at) = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, -errno, "can't ask for devices' offloads");
	if (involved(plan, &all) < 0)
		return err_set(e, -ENOMEM, "out of memory");
	facts->devices = calloc(all.count + 1, sizeof(*facts->devices));
	if (!facts->devices)
		return err_set(e, -ENOMEM, "out of memory");
	for (size_t i = 0; i < all.count; i++) {
		const struct nl_link *link = nl_link_by_index(&host->links, all.items[i]);

		if (!link)
			continue;
		facts->devices[facts->count].ifindex = link->index;
		ask_device(fd, host, link, &facts->devices[facts->count++]);
	}
	return facts_gather_nm(host, root, facts, e);
}

enum { PUT_MIRRED, PUT_CLSACT, PUT_BPF, PUTS };

struct trial {
	bool lacks[PUTS];
	bool forbidden; /* which says nothing about the kernel */
};

static void refused(size_t message, int code, const char *words, void *data)
{
	struct trial *trial = data;

	(void)words;
	trial->forbidden |= code == -EPERM;
	if (message < PUTS)
		trial->lacks[message] = true;
}

/* In a thread of its own, whose network namespace ends with it: what apply would do, on lo. */
static void *try_kernel(void *data)
{
	static const uint8_t cookie[TC_COOKIE] = {0};
	static const struct sock_filter every = {.code = BPF_RET | BPF_K, .k = UINT32_MAX};
	const int lo = 1; /* LOOPBACK_IFINDEX */
	struct tc_rule rule = {
		.ifindex = lo,
		.parent = TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS),
		.pref = 1,
		.handle = 1,
		.match = TC_MATCH_BYTECODE,
		.code = &every,
		.ncode = 1,
		.mirred = 1,
	};
	struct nl_batch batch cleanup(nl_batch_free) = {0};
	struct nl *nl cleanup(nl_close_at) = NULL;
	struct facts *facts = data;
	struct trial trial = {0};

	if (unshare(CLONE_NEWNET) < 0 || nl_open(&nl, NULL) < 0)
		return NULL;
	tc_put_mirred(&batch, 1, lo, cookie, false);
	tc_put_qdisc_add(&batch, lo, TC_H_CLSACT, TC_H_MAKE(TC_H_CLSACT, 0), "clsact");
	tc_put_filter(&batch, &rule, false);
	if (nl_batch_send(nl, &batch, refused, &trial, NULL) < 0 || trial.forbidden)
		return NULL;
	facts->probed = true;
	facts->lacks_mirred = trial.lacks[PUT_MIRRED];
	facts->lacks_clsact = trial.lacks[PUT_CLSACT];
	/* The filter needs the other two. */
	facts->lacks_bpf =
		trial.lacks[PUT_BPF] && !trial.lacks[PUT_MIRRED] && !trial.lacks[PUT_CLSACT];
	return NULL;
}

static bool is_own(const struct sockaddr *address)
{
	const struct sockaddr_in6 *ipv6 = (const void *)address;

	return address &&
	       (address->sa_family == AF_INET ||
		(address->sa_family == AF_INET6 && !IN6_IS_ADDR_LINKLOCAL(&ipv6->sin6_addr)));
}

static int gather_addresses(const struct host *host, struct facts *facts, struct err *e)
{
	struct ifaddrs *all;
	int r = 0;

	if (getifaddrs(&all) < 0)
		return err_sys(e, -errno, "can't ask for this host's addresses");
	for (const struct ifaddrs *a = all; a && r == 0; a = a->ifa_next) {
		const struct nl_link *link = nl_link_by_name(&host->links, a->ifa_name);

		if (link && is_own(a->ifa_addr))
			r = ifindexes_add(&facts->addressed, link->index);
	}
	freeifaddrs(all);
	return r < 0 ? err_set(e, r, "out of memory") : 0;
}

/* The first number of a file of /proc isn't 0. False where it can't be read. */
static bool is_set(const char *path)
{
	char text[16] = "";
	int fd cleanup(fd_close_at) = open(path, O_RDONLY | O_CLOEXEC);

	return fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtol(text, NULL, 10) != 0;
}

/* (Of this network namespace. Connections are counted only while a rule asks for conntrack.) */
static bool bridges_track(void)
{
	return (is_set("/proc/sys/net/bridge/bridge-nf-call-iptables") ||
		is_set("/proc/sys/net/bridge/bridge-nf-call-ip6tables")) &&
	       is_set("/proc/sys/net/netfilter/nf_conntrack_count");
}

/* Meant as a session's file, as its suffix says. (What editors and packages leave behind has
 * another one.) */
static int is_misnamed(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');
	char name[SESSION_NAME_MAX + 1];

	return dot && *entry->d_name != '.' &&
	       (strcasecmp(dot, ".yaml") == 0 || strcasecmp(dot, ".yml") == 0) &&
	       store_name_of(entry->d_name, name, NULL) < 0;
}

static int gather_misnamed(const char *root, struct facts *facts, struct err *e)
{
	char *folder cleanup(free_at) = string_fmt("%s/etc/portmirror/sessions.d", root);
	struct dirent **entries = NULL;
	int count = folder ? scandir(folder, &entries, is_misnamed, alphasort) : 0;
	bool failed;

	if (count < 0)
		return errno == ENOENT ? 0 : err_sys(e, -errno, "%s", folder);
	facts->misnamed = calloc((size_t)count + 1, sizeof(*facts->misnamed));
	failed = !folder || !facts->misnamed;
	for (int i = 0; i < count; i++) {
		char *path = failed ? NULL : string_fmt("%s/%s", folder, entries[i]->d_name);

		failed |= !path;
		if (path)
			facts->misnamed[facts->nmisnamed++] = path;
		free(entries[i]);
	}
	free(entries);
	return failed ? err_set(e, -ENOMEM, "out of memory") : 0;
}

int facts_gather(const struct plan *plan, const struct host *host, const char *root,
		 struct facts *facts, struct err *e)
{
	struct facts made = {0};
	pthread_t thread;
	int r = gather_devices(plan, host, root ? root : "", &made, e);

	if (r == 0)
		r = facts_gather_fights(root ? root : "", &made, e);
	if (r == 0)
		r = gather_addresses(host, &made, e);
	if (r == 0)
		r = gather_misnamed(root ? root : "", &made, e);
	if (r < 0) {
		facts_free(&made);
		return r;
	}
	made.bridge_conntrack = bridges_track();
	if (pthread_create(&thread, NULL, try_kernel, &made) == 0)
		pthread_join(thread, NULL);
	*facts = made;
	return 0;
}

void facts_free(struct facts *facts)
{
	for (size_t i = 0; i < facts->count; i++)
		free(facts->devices[i].connection);
	free(facts->devices);
	for (size_t i = 0; i < facts->nfights; i++) {
		free(facts->fights[i].session);
		free(facts->fights[i].port);
	}
	free(facts->fights);
	free(facts->appliances);
	for (size_t i = 0; i < facts->nmisnamed; i++)
		free(facts->misnamed[i]);
	free(facts->misnamed);
	ifindexes_free(&facts->addressed);
	*facts = (struct facts){0};
}
