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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_of_filters_make_those_of_the_device_stale),
		cmocka_unit_test(news_of_a_shared_block_make_all_filters_stale),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
