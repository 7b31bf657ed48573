# SPDX-License-Identifier: MIT
"""A program under test meets a failure at one step of its: a system call that strace lets fail, or an allocation
that fail_alloc.c refuses. Steps are counted from 1; those before main() are left alone.

With $AT_MOST only so many of the steps of one test have their turn, from the first to the last, whatever places
they are called from: to learn of those takes longer than all the rest.
"""
import collections
import os
import re

AT_MOST = int(os.environ.get('AT_MOST', 0))

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


def spread(steps):
    """Those of the steps that have their turn."""
    steps = list(steps)
    if not AT_MOST or len(steps) <= AT_MOST:
        return steps
    return [steps[(len(steps) - 1) * i // max(AT_MOST - 1, 1)] for i in range(AT_MOST)]


class Call:
    def __init__(self, thread, name, line):
        self.thread, self.name, self.line, self.path = thread, name, line, ()

    def places(self):
        """Those of its callers that are of a program of ours, as addresses in its file; of the last of them also with
        the address that it called in a library."""
        found, below = [], 0
        for caller in self.path:
            known = re.match(r' > ([^(]*).*\[(0x\w+)\]', caller)
            address = int(known[2], 16) if known else 0
            if known and '/src/' in known[1]:
                if not found:
                    found = [below << 32 | address]
                found.append(address)
            below = address
        return found


def _calls(log):
    """The calls of a log of strace -k, each with those who called, its path."""
    calls, begun, last = [], {}, None
    for line in log.read_text(errors='replace').splitlines():
        if line.startswith(' > '):
            last.path += (line,)
        elif found := re.match(r'(\d+) +(\w+)\(', line):
            last = begun[found[1]] = Call(found[1], found[2], line.split(None, 1)[1])
            calls.append(last)
        elif found := re.match(r'(\d+) +<\.\.\. \w+ resumed', line):
            last = begun[found[1]]
    return calls


def _ends(steps):
    """Of the steps that were come to on the same path, the first and the last: (path, number) to number."""
    paths = collections.defaultdict(list)
    for path, number in steps:
        paths[path].append(number)
    return {numbers[at] for numbers in paths.values() for at in (0, -1)}


def _cover(steps):
    """Of steps with their places, the fewest, or nearly, that are reached from all these places."""
    left, chosen = set().union(*steps.values()), []
    while left:
        step = max(steps, key=lambda step: len(left & steps[step]))
        left -= steps[step]
        chosen.append(step)
    return chosen


class Faults:
    """folder: for the log and the paths. library: fail_alloc.so, and what it is told besides."""

    def __init__(self, folder, library, **options):
        self.log, self.paths, self.places = folder / 'strace', folder / 'allocations', {}
        self.preload = [f'LD_PRELOAD={library}', *(f'{name}={value}' for name, value in options.items())]

    def _strace(self, command, preload, *options):
        settings = [word for setting in preload for word in ('-E', setting)]
        return ['env', 'LC_ALL=C', 'strace', '-f', '--seccomp-bpf', '-e', 'signal=none', '-o', self.log,
                *options, *settings, *command]

    def watched(self, command):
        """The command, so that afterwards steps() can tell its steps."""
        names = ','.join(f'?{name}' for name in ['munmap', *ERRORS])
        return self._strace(command, [*self.preload, f'PATHS_FILE={self.paths}'], *['-k'] * (not AT_MOST),
                            '-e', f'trace={names}')

    def steps(self):
        """Of what was watched: by kind, the numbers of its steps and what each was. Where the same callers came to the
        same step again and again, as in a loop, only the first and the last. (What could not be written to stderr
        nobody could tell.)"""
        calls = _calls(self.log)
        main = next(i for i, call in enumerate(calls) if call.line.startswith('munmap(NULL, 0)'))
        end = next(i for i, call in enumerate(calls) if str(self.paths) in call.line)
        found, count = collections.defaultdict(dict), collections.Counter()
        for i, call in enumerate(calls[:end]):
            count[call.thread, call.name] += 1
            if i > main and not call.line.startswith('write(2, '):
                found[call.name].setdefault(count[call.thread, call.name], call)
        steps = {}
        for name, numbered in found.items():
            chosen = numbered if AT_MOST else _ends((call.path, number) for number, call in numbered.items())
            steps[name] = {number: call.line for number, call in numbered.items() if number in chosen}
            for number in steps[name]:
                self.places[name, number] = set(numbered[number].places())
        paths = [line.split() for line in self.paths.read_text().splitlines()]
        ends = sorted(_ends((path[0], number) for number, path in enumerate(paths, 1)))
        steps[ALLOCATION] = dict.fromkeys(ends, '')
        for number in ends:
            self.places[ALLOCATION, number] = {int(place, 16) for place in paths[number - 1][1:]}
        return collections.defaultdict(dict, steps)

    def all_of(self, kinds):
        """All steps of these kinds: (kind, number)."""
        return spread(step for kind in kinds for step in self.places if step[0] == kind)

    def one_for_each_place(self, kinds, tried):
        """As few of the steps of these kinds as need to fail so that, of all places of the program that lead to such a
        step, each has led to one that fails. Those tried are left out, and get the new ones added."""
        if AT_MOST:
            return self.all_of(kinds)
        places = {step: its - tried for step, its in self.places.items() if step[0] in kinds}
        tried |= set().union(*places.values())
        return _cover(places)

    def failing(self, command, kind, number, for_good=False, error=None):
        """The command, in which this step fails; for good: and all of its kind behind it. error: of a system call, if
        not the usual one."""
        at = f'{number}+' if for_good else str(number)
        if kind == ALLOCATION:
            return ['env', 'LC_ALL=C', *self.preload, f'FAIL_AT={at}', *command]
        return self._strace(command, self.preload, '-e', f'trace={kind}',
                            '-e', f'inject={kind}:error={error or ERRORS[kind]}:when={at}')
