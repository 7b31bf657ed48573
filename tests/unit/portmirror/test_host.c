/* SPDX-License-Identifier: MIT */
/* A picture of the host that is kept, and the news of the kernel that change it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "base/mem.h"
#include "memory/memory.h"
#include "netlink/monitor.h"
#include "portmirror/host.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_of_filters_make_those_of_the_device_stale),
		cmocka_unit_test(news_of_a_shared_block_make_all_filters_stale),
		cmocka_unit_test(links_that_are_gone_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
