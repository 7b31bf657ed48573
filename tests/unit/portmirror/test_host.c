/* SPDX-License-Identifier: MIT */
/* A picture of the host that is kept, and the news of the kernel that change it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <linux/pkt_sched.h>
#include <sched.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "netlink/monitor.h"
#include "netlink/nl.h"
#include "portmirror/host.h"
#include "portmirror/once_hold.h"

static void news_of_filters_make_those_of_the_device_stale(void **state)
{
	const struct nl_news news = {.kind = NL_NEWS_FILTERS, .ifindex = 7};
	struct host host = {0};
	struct host_stale stale = {0};

	(void)state;
	assert_int_equal(scarce(host_take(&host, &news, &stale)), HOST_DIFFERS);
	assert_true(stale.actions);
	assert_false(stale.all_filters);
	assert_int_equal(stale.filters.count, 1);
	assert_int_equal(stale.filters.items[0], 7);
	ifindexes_free(&stale.filters);
}

static void news_of_a_shared_block_make_all_filters_stale(void **state)
{
	const struct nl_news news = {.kind = NL_NEWS_FILTERS};
	struct host host = {0};
	struct host_stale stale = {0};

	(void)state;
	assert_int_equal(host_take(&host, &news, &stale), HOST_DIFFERS);
	assert_true(stale.all_filters);
	assert_int_equal(stale.filters.count, 0);
}

static void a_new_device_is_taken_in(void **state)
{
	const struct nl_news news = {.kind = NL_NEWS_LINK, .link = {.index = 7, .name = "vnet7"}};
	struct host host cleanup(host_free) = {0};
	struct host_stale stale = {0};
	int r = 0;

	(void)state;
	for (unsigned nth = 1; memory_refuse(&nth);) {
		r = host_take(&host, &news, &stale);
		if (memory_refused()) {
			assert_int_equal(r, -ENOMEM);
			assert_int_equal(host.links.count, 0);
		}
	}
	assert_int_equal(r, HOST_DIFFERS);
	assert_int_equal(host.links.count, 1);
	assert_string_equal(host.links.items[0].name, "vnet7");
}

/* It came too late, or its bridge is another by now, which the device itself tells. */
static void flags_of_no_port_of_that_bridge_change_nothing(void **state)
{
	struct nl_link device = {.index = 7, .master = 2};
	struct host host = {.links = {.items = &device, .count = 1}};
	struct host_stale stale = {0};
	struct nl_news news = {.kind = NL_NEWS_BRPORT,
			       .link = {.index = 8, .master = 2, .brport = 1}};

	(void)state;
	assert_int_equal(host_take(&host, &news, &stale), HOST_SAME);
	news.link.index = 6;
	assert_int_equal(host_take(&host, &news, &stale), HOST_SAME);
	news.link = (struct nl_link){.index = 7, .master = 3, .brport = 1};
	assert_int_equal(host_take(&host, &news, &stale), HOST_SAME);
	assert_int_equal(device.brport, 0);
	news.link.master = 2;
	assert_int_equal(host_take(&host, &news, &stale), HOST_DIFFERS);
	assert_int_equal(device.brport, 1);
}

static int take_qdisc_anew(struct host *host, const struct nl_news *news, struct host_stale *stale)
{
	host->qdiscs.count = 0;
	return host_take(host, news, stale);
}

static void a_qdisc_is_taken_in_once(void **state)
{
	const struct nl_news news = {.kind = NL_NEWS_QDISC,
				     .qdisc = {.ifindex = 7,
					       .parent = TC_H_INGRESS,
					       .handle = 0xffff0000,
					       .kind = "clsact"}};
	struct host host cleanup(host_free) = {0};
	struct host_stale stale cleanup(host_stale_free) = {0};

	(void)state;
	assert_int_equal(scarce(take_qdisc_anew(&host, &news, &stale)), HOST_DIFFERS);
	assert_int_equal(stale.filters.count, 1);
	assert_int_equal(host_take(&host, &news, &stale), HOST_SAME);
	assert_int_equal(host.qdiscs.count, 1);
	assert_string_equal(host_qdisc_at(&host, 7, TC_H_INGRESS)->kind, "clsact");
	assert_null(host_qdisc_at(&host, 7, TC_H_ROOT));
	assert_null(host_qdisc_at(&host, 8, TC_H_INGRESS));
}

/* In a network namespace of its own: a device whose filters have come since the last look. */
static void filters_are_read_again(void **state)
{
	struct host host cleanup(host_free) = {0};
	struct host_stale stale cleanup(host_stale_free) = {0};
	struct once_hold hold cleanup(once_hold_free) = {0};
	struct nl *nl cleanup(nl_close_at) = NULL;
	struct err e = {0};

	(void)state;
	if (unshare(CLONE_NEWNET) < 0) {
		print_message("needs root, for a network namespace\n");
		skip();
	}
	assert_int_equal(nl_open(&nl, &e), 0);
	assert_int_equal(
		system("ip link add v1 type veth peer name v2 && tc qdisc add dev v1 clsact"), 0);
	assert_int_equal(host_look(nl, &hold, "none", false, &host, &e), 0);
	assert_int_equal(host.filters.count, 0);
	assert_int_equal(system("tc filter add dev v1 ingress u32 match u32 0 0 flowid 1:1"), 0);
	stale.all_filters = stale.actions = true;
	assert_int_equal(scarce(host_catch_up(nl, &hold, &host, &stale, &e)), 0);
	assert_false(stale.all_filters || stale.actions);
	assert_true(host.filters.count > 0);
	assert_string_equal(host.filters.items[0].kind, "u32");
}

static void links_that_are_gone_are_told(void **state)
{
	struct pin pins[] = {
		{.session = "ids", .name = "in-3", .kind = PIN_LINK, .ifindex = 3},
		{.session = "ids", .name = "in-4", .kind = PIN_LINK, .ifindex = 4},
		{.session = "ids", .name = "in-5", .kind = PIN_LINK, .ifindex = 5},
	};
	struct nl_link devices[] = {{.index = 3}, {.index = 4}};
	const struct pins before = {.items = pins, .count = COUNT(pins)};
	const struct pins now = {.items = &pins[1], .count = 1};
	const struct nl_links links = {.items = devices, .count = COUNT(devices)};
	struct ifindexes lost cleanup(ifindexes_free) = {0};

	(void)state;
	assert_int_equal(scarce(host_lost_links(&before, &now, &links, &lost, NULL)), 0);
	assert_int_equal(lost.count, 1); /* the device 5 itself is gone */
	assert_int_equal(lost.items[0], 3);
}

/* By it programs are told apart: a plan for a copy is to find those that there are. */
static void a_copy_has_the_same_key(void **state)
{
	const struct host host = {.key = 7};
	struct host copy;

	(void)state;
	assert_int_equal(scarce(host_copy(&host, &copy, NULL)), 0);
	assert_int_equal(copy.key, 7);
	host_free(&copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_of_filters_make_those_of_the_device_stale),
		cmocka_unit_test(news_of_a_shared_block_make_all_filters_stale),
		cmocka_unit_test(a_new_device_is_taken_in),
		cmocka_unit_test(flags_of_no_port_of_that_bridge_change_nothing),
		cmocka_unit_test(a_qdisc_is_taken_in_once),
		cmocka_unit_test(filters_are_read_again),
		cmocka_unit_test(links_that_are_gone_are_told),
		cmocka_unit_test(a_copy_has_the_same_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
