/* SPDX-License-Identifier: MIT */
/* What the operations of a model call: refusing, and linking. */
#include <stdarg.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "rest/model.h"
#include "rest/route.h"

int rest_refuse(struct rest_fault *fault, unsigned status, const char *code, const char *field,
		const char *format, ...)
{
	va_list args;

	fault->status = status;
	fault->code = code;
	(void)snprintf(fault->field, sizeof(fault->field), "%s", field ? field : "");
	va_start(args, format);
	(void)err_setv(&fault->why, -1, format, args);
	va_end(args);
	return -1;
}

int rest_no_memory(struct rest_fault *fault)
{
	return rest_refuse(fault, 500, "out-of-memory", NULL, "the server is out of memory");
}

json_t *rest_link(const struct rest_call *call, const char *collection, const char *id,
		  const char *sub, const char *subid)
{
	struct buf b cleanup(buf_free) = {0};

	buf_fmt(&b, "%s/api/%s/", call->base, collection);
	route_segment(&b, id);
	if (sub) {
		buf_fmt(&b, "/%s/", sub);
		route_segment(&b, subid);
	}
	if (buf_status(&b) < 0)
		return NULL;
	return json_pack("{s:s}", "href", buf_text(&b));
}
