/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "portmirror/engine.h"
#include "portmirror/filter.h"
#include "portmirror/session.h"
#include "portmirror/store.h"

static void add(struct sessions *sessions, const char *name, const char *filter)
{
	struct session session = {.filter = filter ? strdup(filter) : NULL};

	(void)strcpy(session.name, name);
	assert_int_equal(sessions_put(sessions, &session), 0);
}

static void a_filter_that_is_known_is_not_compiled_again(void **state)
{
	/* What no filter is compiled to. */
	struct sock_filter mark = {.code = 6, .k = 42};
	const struct bytecode known[] = {{&mark, 1}, {&mark, 1}, {NULL, 0}, {&mark, 1}};
	struct sessions kept cleanup(sessions_free) = {0}, now cleanup(sessions_free) = {0};
	struct engine engine = {.known = {&kept, known}};
	struct bytecode *made;
	struct err e = {0};

	(void)state;
	add(&kept, "a", "arp");
	add(&kept, "b", "arp");
	add(&kept, "c", "arp"); /* libpcap had no memory for it, for example */
	add(&kept, "d", NULL);
	add(&now, "a", "arp");
	add(&now, "b", "ip");
	add(&now, "c", "arp");
	add(&now, "d", "ip");
	add(&now, "e", "arp");
	assert_int_equal(engine_compile(&engine, &now, &made, &e), 0);
	for (size_t i = 0; i < now.count; i++) {
		assert_true(i == 0 ? made[i].count == 1 : made[i].count > 1);
		if (i == 0)
			assert_memory_equal(made[i].code, &mark, sizeof(mark));
		bytecode_free(&made[i]);
	}
	free(made);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_filter_that_is_known_is_not_compiled_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
