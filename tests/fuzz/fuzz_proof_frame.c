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

	if (len < HEAD)
		return 0;
	frame.len = len - HEAD;
	frame.bytes = malloc(frame.len + !frame.len); /* of just this size */
	if (!frame.bytes)
		return 0;
	memcpy(frame.bytes, data + HEAD, frame.len);
	frame.gso_type = data[0];
	frame.tag = data[1] & 2 ? 0x81000007 : 0;
	frame.gso_size = (uint16_t)(data[2] << 8 | data[3]);

	enum frame_blur blur = data[1] & 1 ? FRAME_TCP_ID : FRAME_EXACT;

	if (frame_cut_begin(&cut, &frame, blur)) {
		while (frame_cut_next(&cut, &mark, &segment)) {
			if (segment > cut.frame.len || segment <= cut.payload)
				abort();
			payload += segment - cut.payload;
		}
		if (payload != cut.frame.len - cut.payload) /* each byte is in one segment */
			abort();
	} else {
		frame_mark(&frame, blur, &mark);
	}
	free(frame.bytes);
	return 0;
}
