/* SPDX-License-Identifier: MIT */
/* NetworkManager's connection files. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portmirror/facts.h"
#include "portmirror/facts_nm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct nm_connection connection;
	char *text = malloc(len + 1);

	if (!text)
		return 0;
	memcpy(text, data, len);
	text[len] = '\0';
	if (nm_connection_read(text, &connection) && !strstr(text, "tc"))
		abort();
	if (strlen(connection.id) >= sizeof(connection.id) ||
	    strlen(connection.uuid) >= sizeof(connection.uuid) ||
	    strlen(connection.interface) >= sizeof(connection.interface))
		abort();
	free(text);
	return 0;
}
