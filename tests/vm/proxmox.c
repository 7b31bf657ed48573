/* SPDX-License-Identifier: MIT
 * Preloaded, it makes Debian's QEMU take "-id NUMBER", which only Proxmox's knows: main() gets two
 * other words in their place. /proc/PID/cmdline goes on showing what was said, as it shows where
 * the strings are.
 */
#include <string.h>

__attribute__((constructor)) static void forget_id(int argc, char **argv)
{
	static char other[] = "-nodefaults";

	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "-id") == 0)
			argv[i] = argv[i + 1] = other;
}
