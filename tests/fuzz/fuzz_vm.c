/* SPDX-License-Identifier: MIT */
/* Command lines of machines, which any user may choose. */
#include <stdint.h>
#include <stdlib.h>

#include "portmirror/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct vm vm = {.pid = 1};
	struct vm_hints hints = {0};

	vm_read_cmdline((const char *)data, len, "qemu-system-x86", &vm, &hints);
	vm_free(&vm);
	free(hints.items);
	return 0;
}
