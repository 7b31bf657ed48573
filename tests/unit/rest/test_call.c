/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/mem.h"
#include "data/json.h"
#include "rest/model.h"

static void test_a_link_is_absolute_and_escaped(void **state)
{
	struct rest_call call = {.base = "http://localhost"};
	json_t *plain cleanup(json_free_at) = rest_link(&call, "ports", "vnet1", NULL, NULL);
	json_t *deep cleanup(json_free_at) =
		rest_link(&call, "vms", "a b/;\xc3\xa4", "nics", "0?#%");

	(void)state;
	assert_string_equal(json_string_value(json_object_get(plain, "href")),
			    "http://localhost/api/ports/vnet1");
	assert_string_equal(json_string_value(json_object_get(deep, "href")),
			    "http://localhost/api/vms/a%20b%2F%3B%C3%A4/nics/0%3F%23%25");
}

static void test_a_refusal_is_kept(void **state)
{
	struct rest_fault fault = {0};

	(void)state;
	assert_int_equal(rest_refuse(&fault, 409, "mirror-exists", "name", "there is %s already",
				     "ids"),
			 -1);
	assert_int_equal(fault.status, 409);
	assert_string_equal(fault.code, "mirror-exists");
	assert_string_equal(fault.field, "name");
	assert_string_equal(fault.why.text, "there is ids already");
	assert_int_equal(rest_refuse(&fault, 404, "no-mirror", NULL, "gone"), -1);
	assert_string_equal(fault.field, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_is_absolute_and_escaped),
		cmocka_unit_test(test_a_refusal_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
