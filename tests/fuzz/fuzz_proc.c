/* SPDX-License-Identifier: MIT */
/* The texts of /proc/PID: status, stat, syscall, maps, and the auxiliary vector. A process's name
 * and its mappings' paths stand in them as somebody has chosen them. */
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>

#include "stopexec/elffile.h"
#include "stopexec/proc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct mapping mapping;
	const char *text = (const char *)data;
	struct proc_status status;
	uint64_t value;

	(void)proc_status_parse(text, len, &status);
	(void)proc_start_parse(text, len, &value);
	(void)proc_terminal_parse(text, len);
	(void)proc_counter_parse(text, len, &value);
	if (proc_mapping_parse(text, len, &mapping) &&
	    !memchr(mapping.path, '\0', sizeof(mapping.path)))
		__builtin_trap();
	for (int wide = 0; wide <= 1; wide++) {
		(void)auxv_find(data, len, wide, AT_ENTRY, &value);
		(void)auxv_find(data, len, wide, AT_RANDOM, &value);
	}
	return 0;
}
