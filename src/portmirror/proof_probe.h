/* SPDX-License-Identifier: MIT */
/* The proof's own frames, for when there is too little traffic. */
#ifndef PORTMIRROR_PROOF_PROBE_H
#define PORTMIRROR_PROOF_PROBE_H

#include <stdint.h>

struct err;

/* A socket to send probes from; a descriptor that the caller closes, or a negative errno. */
int probe_open(struct err *e);

/*
 * Sends a probe out of the device. mtu: of the device; number: tells the probes of one run apart
 * and varies their size. Returns 0 or a negative errno (-ENETDOWN: the device is down).
 */
int probe_send(int fd, int ifindex, unsigned mtu, uint64_t number);

#endif
