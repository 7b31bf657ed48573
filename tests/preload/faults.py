# SPDX-License-Identifier: MIT
"""A program under test meets a failure at one step of its: a system call that strace lets fail, or an allocation
that fail_alloc.c refuses. Steps are counted from 1; those before main() are left alone."""
import collections
import re

# What each call is made to fail with: what a full disk, a table that is full or a lack of memory bring.
ERRORS = {
    'bind': 'ENOMEM', 'bpf': 'ENOMEM', 'clone3': 'EAGAIN', 'connect': 'ENETUNREACH', 'dup3': 'EMFILE',
    'epoll_create1': 'EMFILE', 'epoll_ctl': 'ENOMEM', 'eventfd2': 'EMFILE', 'fallocate': 'ENOSPC', 'fchmod': 'EIO',
    'fcntl': 'EMFILE', 'fdatasync': 'EIO', 'flock': 'ENOLCK', 'fsync': 'EIO', 'ftruncate': 'EIO', 'getdents64': 'EIO',
    'getrandom': 'EIO', 'getsockname': 'ENOBUFS', 'getsockopt': 'ENOBUFS', 'inotify_add_watch': 'ENOSPC',
    'inotify_init1': 'EMFILE', 'ioctl': 'ENOMEM', 'lseek': 'EIO', 'mkdir': 'EIO', 'mmap': 'ENOMEM',
    'mremap': 'ENOMEM', 'newfstatat': 'EIO', 'openat': 'EMFILE', 'poll': 'ENOMEM', 'pread64': 'EIO',
    'pwrite64': 'ENOSPC', 'read': 'EIO', 'readlink': 'EIO', 'recvfrom': 'ENOBUFS', 'recvmsg': 'ENOBUFS',
    'rename': 'EIO', 'renameat': 'ENOSPC', 'rmdir': 'EIO', 'sendmsg': 'ENOBUFS', 'sendto': 'ENOBUFS',
    'setsockopt': 'ENOBUFS', 'signalfd4': 'EMFILE', 'socket': 'EMFILE', 'statfs': 'EIO', 'timerfd_create': 'EMFILE',
    'unlink': 'EIO', 'unlinkat': 'EIO', 'write': 'ENOSPC',
}
ALLOCATION = 'allocation'


def _calls(log):
    """The calls of a log of strace, as (thread, name, line): those before main(), and those from there on."""
    text = log.read_text(errors='replace')
    found = [(m[1], m[2], m[0]) for m in re.finditer(r'^(\d+) +(\w+)\(.*$', text, re.M)]
    main = next(i for i, (_, _, line) in enumerate(found) if 'munmap(NULL, 0)' in line)
    return found[:main], found[main:]


class Faults:
    """folder: for the log and the count. library: fail_alloc.so, and what it is told besides."""

    def __init__(self, folder, library, **options):
        self.log, self.counter = folder / 'strace', folder / 'allocations'
        self.preload = [f'LD_PRELOAD={library}', *(f'{name}={value}' for name, value in options.items())]

    def _strace(self, command, preload, *options):
        settings = [word for setting in preload for word in ('-E', setting)]
        return ['env', 'LC_ALL=C', 'strace', '-f', '--seccomp-bpf', '-e', 'signal=none', '-o', self.log,
                *options, *settings, *command]

    def watched(self, command):
        """The command, so that afterwards steps() can tell its steps."""
        names = ','.join(f'?{name}' for name in ['munmap', *ERRORS])
        return self._strace(command, [*self.preload, f'COUNT_FILE={self.counter}'], '-e', f'trace={names}')

    def steps(self):
        """Of what was watched: by kind, the numbers of its steps and what each was. (What could not be written to
        stderr nobody could tell.)"""
        before, own = _calls(self.log)
        steps = collections.defaultdict(dict)
        count = collections.Counter((thread, name) for thread, name, _ in before)
        for thread, name, line in own:
            count[thread, name] += 1
            if ' write(2, ' not in line:
                steps[name].setdefault(count[thread, name], line.split(None, 1)[1])
        steps[ALLOCATION] = {n: '' for n in range(1, int(self.counter.read_text()) + 1)}
        return steps

    def failing(self, command, kind, number, for_good=False):
        """The command, in which this step fails; for good: and all of its kind behind it."""
        at = f'{number}+' if for_good else str(number)
        if kind == ALLOCATION:
            return ['env', 'LC_ALL=C', *self.preload, f'FAIL_AT={at}', *command]
        return self._strace(command, self.preload, '-e', f'trace={kind}',
                            '-e', f'inject={kind}:error={ERRORS[kind]}:when={at}')
