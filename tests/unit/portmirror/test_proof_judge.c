/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "memory/memory.h"
#include "netlink/link.h"
#include "portmirror/engine.h"
#include "portmirror/proof.h"
#include "portmirror/proof_check.h"

/* A hundred frames from one source to three destinations, as they should be. */
static struct proof_source source;
static struct proof_source_result seen;
static struct proof_destination_result at[3];
static struct proof_request request;
static struct proof_result result;

static int set_up(void **state)
{
	(void)state;
	source = (struct proof_source){1, DIRECTION_SENT};
	seen = (struct proof_source_result){.sent = 100};
	for (int i = 0; i < 3; i++)
		at[i] = (struct proof_destination_result){
			.counts = {.expected = 100, .copied = 100}, .seen = 100};
	request = (struct proof_request){.sources = &source, .nsources = 1, .nto = 3};
	result = (struct proof_result){.counts = {.expected = 300, .copied = 300},
				       .sources = &seen,
				       .nsources = 1,
				       .destinations = at,
				       .ndestinations = 3};
	return 0;
}

static void lose(int destination, uint64_t frames)
{
	at[destination].counts.copied -= frames;
	at[destination].counts.lost += frames;
	result.counts.copied -= frames;
	result.counts.lost += frames;
}

static void overlook(uint64_t *count, uint64_t frames)
{
	*count += frames;
	result.counts.unseen += frames;
}

static void judged(enum proof_verdict verdict, const char *why)
{
	proof_judge(&request, &result);
	if (result.verdict != verdict || !strstr(result.why, why))
		fail_msg("%s: %s", proof_verdict_name(result.verdict), result.why);
}

static void test_whole(void **state)
{
	(void)state;
	judged(PROOF_WHOLE, "");
	result.counts.other = 5; /* is nobody's fault */
	judged(PROOF_WHOLE, "");
}

static void test_the_worst_is_blamed(void **state)
{
	(void)state;
	lose(0, 2);
	lose(1, 3);
	lose(2, 1);
	judged(PROOF_BROKEN, "of 100 frames 3 were lost, 0 doubled and 0 altered");
	assert_int_equal(result.blamed, 1);
}

/* What a source's ring had no room for may explain a loss anywhere, what a destination's had no
 * room for only one there. */
static void test_unseen_explains(void **state)
{
	(void)state;
	lose(1, 3);
	overlook(&at[0].unseen, 50);
	judged(PROOF_BROKEN, "3 were lost");
	assert_int_equal(result.blamed, 1);
	overlook(&at[1].unseen, 2);
	judged(PROOF_BROKEN, "3 were lost");
	overlook(&seen.unseen, 1);
	judged(PROOF_BLIND, "53 frames could not be compared");
}

static void test_dropped(void **state)
{
	(void)state;
	at[1].dropped = 4;
	at[2].dropped = 7;
	judged(PROOF_BROKEN, "took 7 frames and dropped them");
	assert_int_equal(result.blamed, 2);
}

static void test_nothing(void **state)
{
	(void)state;
	source.direction = DIRECTION_BOTH;
	judged(PROOF_NOTHING, "no frame was received");
}

/* With balance there is one account for all destinations. */
static void test_balance(void **state)
{
	(void)state;
	result.promise.balance = true;
	for (int i = 0; i < 3; i++)
		at[i].counts = (struct proof_counts){0};
	result.counts = (struct proof_counts){.expected = 100, .copied = 100, .flows = 9};
	judged(PROOF_WHOLE, "");
	result.counts.split = 2;
	judged(PROOF_BROKEN, "0 altered, and 2 of 9 flows were torn apart");
	assert_int_equal(result.blamed, 3);
	overlook(&at[1].unseen, 2);
	judged(PROOF_BLIND, "");
}

static void test_a_part(void **state)
{
	(void)state;
	request.nto = result.ndestinations = 1;
	result.promise.partial = true;
	result.counts = (struct proof_counts){.expected = 100, .copied = 10, .left_out = 90};
	at[0].counts = result.counts;
	judged(PROOF_WHOLE, "of 100 frames 10 were copied");
	at[0].counts.doubled = 1;
	judged(PROOF_BROKEN, "of a part of 100 frames 0 were lost, 1 doubled and 0 altered");
	at[0].counts.doubled = 0;
	at[0].counts.altered = 1;
	judged(PROOF_BROKEN, "1 altered");
	at[0].counts.altered = 0;
	result.counts.copied = 0;
	at[0].counts.copied = 0;
	judged(PROOF_NOTHING, "none of 100 frames was copied");
}

/* What one of them has another must have too, where nothing is shed copy by copy. */
static void test_the_same_part(void **state)
{
	(void)state;
	result.promise.partial = true;
	result.counts = (struct proof_counts){.expected = 300, .copied = 27, .left_out = 273};
	for (int i = 0; i < 3; i++)
		at[i].counts = (struct proof_counts){
			.expected = 100, .copied = i == 1 ? 7 : 10, .left_out = i == 1 ? 93 : 90};
	judged(PROOF_WHOLE, "");
	result.promise.same_part = true;
	judged(PROOF_BROKEN, "of a part of 100 frames 3 were lost, 0 doubled and 0 altered");
	assert_int_equal(result.blamed, 1);
	assert_int_equal(at[1].counts.lost, 3);
	assert_int_equal(at[1].counts.left_out, 90);
	assert_int_equal(at[0].counts.lost + at[2].counts.lost, 0);
	assert_int_equal(result.counts.lost, 3);
	assert_int_equal(result.counts.left_out, 270);
}

/* Its book was full: what it has not seen at all is not lost there. */
static void test_the_same_part_of_less(void **state)
{
	(void)state;
	request.nto = result.ndestinations = 2;
	result.promise.partial = result.promise.same_part = true;
	result.counts = (struct proof_counts){.expected = 105, .copied = 12, .left_out = 93};
	at[0].counts = (struct proof_counts){.expected = 100, .copied = 10, .left_out = 90};
	at[1].counts = (struct proof_counts){.expected = 5, .copied = 2, .left_out = 3};
	judged(PROOF_BROKEN, "of a part of 5 frames 3 were lost, 0 doubled and 0 altered");
	assert_int_equal(result.blamed, 1);
	assert_int_equal(at[1].counts.lost, 3);
	assert_int_equal(at[1].counts.left_out, 0);
	assert_int_equal(result.counts.lost, 3);
	assert_int_equal(result.counts.left_out, 90);
}

/* At one of them there was nothing to be compared. */
static void test_an_idle_destination(void **state)
{
	(void)state;
	result.promise.partial = true;
	result.counts = (struct proof_counts){.expected = 300, .copied = 20, .left_out = 280};
	for (int i = 0; i < 3; i++)
		at[i].counts = (struct proof_counts){
			.expected = 100, .copied = i == 2 ? 0 : 10, .left_out = i == 2 ? 100 : 90};
	judged(PROOF_NOTHING, "none of 100 frames was copied");
	assert_int_equal(result.blamed, 2);
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

static void told(const struct proof_check *c, const char *verdict, const char *advice)
{
	struct buf b cleanup(buf_free) = {0};

	proof_check_judge(c, &b);
	assert_non_null(strstr(buf_text(&b), verdict));
	buf_clear(&b);
	proof_check_advise(c, &b);
	if (strcmp(buf_text(&b), advice) != 0)
		fail_msg("%s", buf_text(&b));
}

static void test_what_is_said(void **state)
{
	struct nl_link to = {.index = 5, .name = "ids0", .tx_queue_len = 1000};
	struct session session = {.name = "ids"};
	int from = 5;
	struct session_state st = {.session = &session, .from = {.items = &from, .count = 1}};
	struct view view = {.host.links = {.items = &to, .count = 1}};
	struct proof_check c = {.view = &view, .st = &st, .to = {&to}, .nto = 1};
	json_t *object;

	(void)state;
	request.nto = result.ndestinations = 1;
	result.counts = at[0].counts = (struct proof_counts){.expected = 1, .copied = 1};
	judged(PROOF_WHOLE, "");
	c.result = result;
	told(&c, "the one frame was copied once",
	     "that is little traffic to prove anything; --seconds N looks longer, --probe sends "
	     "frames of its own");
	result.counts = at[0].counts = (struct proof_counts){.expected = 100, .lost = 100};
	at[0].dropped = 7;
	judged(PROOF_BROKEN, "100 were lost");
	c.result = result;
	told(&c, "100 were lost",
	     "its reader is too slow, or its queue too short: ip link set dev ids0 txqueuelen "
	     "10000");
	to.tx_queue_len = 20;
	told(&c, "100 were lost",
	     "its reader is too slow, or its queue too short: ip link set dev ids0 txqueuelen "
	     "1000");
	object = scarce_made(proof_check_object(&c));
	assert_string_equal(json_string_value(json_object_get(object, "verdict")), "broken");
	json_decref(object);
}

/* Nothing of it in part, where memory lacks. */
static void test_what_is_told_of_a_part(void **state)
{
	struct nl_link links[] = {{.index = 1, .name = "vnet1"},
				  {.index = 5, .name = "ids0"},
				  {.index = 6, .name = "ids1"}};
	struct session session = {.name = "ids"};
	int from = 1;
	struct session_state st = {.session = &session, .from = {.items = &from, .count = 1}};
	struct view view = {.host.links = {.items = links, .count = 3}};
	struct proof_check c = {.view = &view, .st = &st, .to = {&links[1], &links[2]}, .nto = 2};
	const json_t *destinations;
	json_t *object;

	(void)state;
	request.nto = result.ndestinations = 2;
	result.promise.partial = result.promise.whole_flows = true;
	result.counts = (struct proof_counts){.expected = 200, .copied = 50, .left_out = 150};
	at[0].counts = at[1].counts =
		(struct proof_counts){.expected = 100, .copied = 25, .left_out = 75};
	judged(PROOF_WHOLE, "");
	c.result = result;
	object = scarce_made(proof_check_object(&c));
	assert_float_equal(json_real_value(json_object_get(object, "left_out_share")), 0.75, 0.001);
	assert_non_null(json_object_get(object, "flows"));
	assert_int_equal(json_array_size(json_object_get(object, "sources")), 1);
	destinations = json_object_get(object, "destinations");
	assert_int_equal(json_array_size(destinations), 2);
	assert_non_null(json_object_get(json_array_get(destinations, 1), "frames"));
	json_decref(object);
}

/* Of a session that is whole. */
static void test_destinations_of_two_names(void **state)
{
	struct nl_link links[] = {{.index = 5, .name = "ids0"}, {.index = 6, .name = "ids1"}};
	struct session session = {.name = "ids", .nto = 3};
	struct session_state st = {.session = &session, .to = {5, 6, 5}, .in_kernel = true};
	struct view view = {.host.links = {.items = links, .count = 2},
			    .plan = {.states = &st, .nstates = 1}};
	struct proof_check c = {.view = &view};
	struct err e = {0};

	(void)state;
	assert_int_equal(proof_check_find(&c, "none", &e), -ENOENT);
	assert_int_equal(proof_check_find(&c, "ids", &e), 0);
	assert_int_equal(c.nto, 2);
	assert_ptr_equal(c.to[0], &links[0]);
	assert_ptr_equal(c.to[1], &links[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_whole),
		TEST(test_the_worst_is_blamed),
		TEST(test_unseen_explains),
		TEST(test_dropped),
		TEST(test_nothing),
		TEST(test_balance),
		TEST(test_a_part),
		TEST(test_the_same_part),
		TEST(test_the_same_part_of_less),
		TEST(test_an_idle_destination),
		TEST(test_what_is_said),
		TEST(test_what_is_told_of_a_part),
		cmocka_unit_test(test_destinations_of_two_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
