# SPDX-License-Identifier: MIT
"""Foreign programs at a device's tcx hooks."""
import ctypes
import os
import platform
import struct

BPF = {'x86_64': 321, 'aarch64': 280}[platform.machine()]
BPF_PROG_LOAD, BPF_OBJ_PIN, BPF_OBJ_GET, BPF_PROG_ATTACH, BPF_LINK_CREATE = 5, 6, 7, 8, 28
BPF_PROG_TYPE_SCHED_CLS = 3
BPF_F_BEFORE = 1 << 3
HOOKS = {'ingress': 46, 'egress': 47}

_libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    """The system call, with attributes as struct.pack() takes them."""
    attributes = ctypes.create_string_buffer(struct.pack(*attributes), 128)
    result = _libc.syscall(BPF, command, attributes, 128)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attach_tcx(lab, dev, hook, flags=0):
    """A program that lets every frame pass, and no other program see it. It stays with the device."""
    code = ctypes.create_string_buffer(struct.pack('<BBhi BBhi', 0xb7, 0, 0, 0, 0x95, 0, 0, 0))
    text = ctypes.create_string_buffer(b'MIT')
    program = bpf(BPF_PROG_LOAD, ('IIQQIIQII16s', BPF_PROG_TYPE_SCHED_CLS, 2,
                                  ctypes.addressof(code), ctypes.addressof(text), 0, 0, 0, 0, 0,
                                  b'greedy'))
    index = lab.host.json('ip', '-j', 'link', 'show', dev)[0]['ifindex']
    lab.host.inside(lambda: bpf(BPF_PROG_ATTACH, ('IIII', index, program, HOOKS[hook], flags)))
    os.close(program)


def link_in_front(lab, link, program, dev, hook):
    """Exchanges a pinned link for one by which a pinned program runs before all others."""
    def pinned(path):
        name = ctypes.create_string_buffer(os.fsencode(path))
        return ctypes.addressof(name), name
    link.unlink()
    at, _name = pinned(program)
    program = bpf(BPF_OBJ_GET, ('QII', at, 0, 0))
    index = lab.host.json('ip', '-j', 'link', 'show', dev)[0]['ifindex']
    made = lab.host.inside(lambda: bpf(BPF_LINK_CREATE, ('IIII', program, index, HOOKS[hook], BPF_F_BEFORE)))
    at, _name = pinned(link)
    bpf(BPF_OBJ_PIN, ('QII', at, made, 0))
    os.close(made)
    os.close(program)
