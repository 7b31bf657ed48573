/* SPDX-License-Identifier: MIT */
/* Frames from the wire, super-frames among them, as the proof marks and cuts them. In front of the
 * frame: two bytes for the kind of super-frame and what is left out, two for the segments' size. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "portmirror/proof_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { HEAD = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct frame_mark mark;
	struct frame_cut cut;
	struct frame frame = {0};
	size_t payload = 0, segment;
	uint8_t *bytes;

	if (len < HEAD)
		return 0;
	frame.len = len - HEAD;
	frame.bytes = bytes = malloc(frame.len + !frame.len); /* of just this size */
	if (!bytes)
		return 0;
	memcpy(bytes, data + HEAD, frame.len);
	frame.gso_type = data[0];
	frame.tag = data[1] & 2 ? 0x81000007 : 0;
	frame.gso_size = (uint16_t)(data[2] << 8 | data[3]);

	const struct frame_terms terms = {
		.blur = data[1] & 1 ? FRAME_TCP_ID : FRAME_EXACT,
		.flows = data[1] & 4,
		.snap = data[1] & 8 ? 64 + (data[1] >> 4) * 8 : 0,
	};

	if (frame_cut_begin(&cut, &frame, &terms)) {
		while (frame_cut_next(&cut, &mark, &segment)) {
			if (segment > cut.frame.len || segment <= cut.payload)
				abort();
			payload += segment - cut.payload;
		}
		if (payload != cut.frame.len - cut.payload) /* each byte is in one segment */
			abort();
	} else {
		frame_pull_tag(&frame);
		if (terms.snap)
			(void)frame_too_long(&frame, terms.snap);
		(void)frame_is_tcp_data(&frame);
		frame_mark(&frame, &terms, &mark);
	}
	free(bytes);
	return 0;
}
