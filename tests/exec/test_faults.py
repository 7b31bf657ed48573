# SPDX-License-Identifier: MIT
"""Each call of stopexec's that can fail, fails once, in each of its processes: it says so in one sentence, or does what
it was asked all the same; and the program goes on to its end in either case."""
import collections
import concurrent.futures
import contextlib
import errno
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess

import pytest

from conftest import BUILD, Process, World, until

LIBRARY = BUILD / 'tests/preload/fail_at.so'
MOST = 12  # of the calls of one function by one process; those behind are like the ones before
AT_ONCE = 4
ERRORS = {'alloc': 'ENOMEM', 'eventfd': 'EMFILE', 'fanotify_init': 'EMFILE', 'fanotify_mark': 'ENOSPC', 'fork': 'EAGAIN',
          'kill': 'EPERM', 'mkdir': 'EROFS', 'open': 'EMFILE', 'openat': 'EMFILE', 'pidfd_open': 'EMFILE',
          'pidfd_send_signal': 'EPERM', 'poll': 'ENOMEM', 'ptrace': 'EPERM', 'recv': 'ENOMEM', 'recvmsg': 'ENOMEM',
          'send': 'ENOBUFS', 'sendmsg': 'ENOBUFS', 'setgroups': 'EPERM', 'setresgid': 'EAGAIN', 'setresuid': 'EAGAIN',
          'setsid': 'EPERM', 'sigtimedwait': 'EINTR', 'socketpair': 'EMFILE', 'tgkill': 'EPERM', 'unlink': 'EROFS',
          'waitpid': 'EINTR'}


def fault(call, number):
    """In the library's words: the number-th of these calls fails."""
    return f'{call} {number} {getattr(errno, ERRORS.get(call.split()[1], "EIO"))}'


class Trial:
    """One call of stopexec with a fault in it, and the program that it is about."""

    def __init__(self, folder, program, log, fails):
        self.world, self.program, self.log, self.fails = World(folder), program, log, fails
        self.log.unlink(missing_ok=True)
        self.tool, self.success = None, 0

    def stopexec(self, *words):
        plain = self.world.environment
        self.world.environment = {**plain, 'LD_PRELOAD': str(LIBRARY), 'FAIL_LOG': str(self.log),
                                  **({'FAIL_AT': self.fails} if self.fails else {})}
        self.tool = self.world.stopexec(*words, stdout=subprocess.PIPE, text=True)
        self.world.environment = plain

    def calls(self):
        """All of them, or the one that has failed."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def ended(self):
        return self.tool.popen.poll() is not None

    @property
    def stopped(self):
        """The process that it says it has stopped."""
        found = re.search(r'^Process (\d+) is stopped at', self.tool.said, re.M)
        return Process(int(found[1])) if found else None

    def watches(self):
        """There is a catcher, which its name tells; perhaps nobody could be told."""
        for pid in self.world.mine():
            with contextlib.suppress(OSError): # it has just ended
                if Process(pid).read('comm') == b'stopexec-catch\n':
                    return True
        return False

    def start_until_caught(self):
        until(lambda: self.watches() or self.ended, what='the watch')
        for _ in range(3):
            if not self.stopped and not self.ended:
                started = self.world.start(self.program)
                until(lambda: started.poll() is not None or self.stopped or self.ended, what='the end of either')

    def go_on(self, process):
        if self.world.call('cont', process.pid).returncode != 0:
            assert 'will not show it' in self.tool.said, 'or there is a record'
            os.kill(process.pid, signal.SIGCONT)

    def left(self):
        """A process that is left stopped, without a fault."""
        tool = self.world.stopexec('run', '--leave', self.program, stdout=subprocess.DEVNULL)
        assert tool.wait() == 0
        return tool.stopped()

    def judge(self):
        """True: it has done what it was asked. Else it has said what is wrong, once, and failed."""
        status = self.tool.wait()
        complaints = [line for line in self.tool.said.splitlines() if line.startswith('stopexec: ')]
        assert len(complaints) == (0 if status == self.success else 1), status
        return status == self.success


def leaves(trial):
    if trial.judge():
        assert trial.stopped.state == 'T'
        trial.go_on(trial.stopped)


def run_leave(trial):
    trial.stopexec('run', '-u', '61001', '--leave', '--at', 'main', trial.program)
    leaves(trial)


def next_leave(trial):
    trial.stopexec('next', '--leave', '--at', 'main', trial.program)
    trial.start_until_caught()
    leaves(trial)


def next_by_bpf(trial):
    trial.stopexec('next', '--leave', '--by', 'bpf', trial.program.name)
    trial.start_until_caught()
    leaves(trial)


def next_waits(trial):
    trial.stopexec('next', trial.program)
    trial.start_until_caught()
    if trial.stopped and not trial.ended:
        trial.go_on(trial.stopped)
    trial.judge()


def run_waits(trial):
    trial.stopexec('run', '--exec', '2', 'sh', '-c', f'{trial.program}; exit 7')
    until(lambda: trial.stopped or trial.ended, what='the stop')
    if trial.stopped and not trial.ended:
        trial.go_on(trial.stopped)
    if 'goes on: ' not in trial.tool.said or trial.tool.wait() != 7: # which is the program's own
        trial.success = 7
        trial.judge()


def cont(trial):
    process = trial.left()
    trial.stopexec('cont', process.pid)
    if not trial.judge() and process.state == 'T':
        os.kill(process.pid, signal.SIGCONT)


def list_json(trial):
    process = trial.left()
    trial.stopexec('list', '--json')
    assert not trial.judge() or f'"pid": {process.pid}' in trial.tool.popen.stdout.read()
    trial.go_on(process)


def attach(trial):
    process = trial.left()
    trial.stopexec('attach', '--strace', process.pid)
    if not trial.judge() and process.state == 'T':
        os.kill(process.pid, signal.SIGCONT)


SCENARIOS = [run_leave, run_waits, next_leave, next_by_bpf, next_waits, cont, list_json, attach]


@pytest.fixture
def programs(armed, folder):
    """Each is for one trial at a time."""
    made = queue.Queue()
    for n in range(AT_ONCE):
        program = folder / f'fails-{n}'
        program.unlink(missing_ok=True)  # one may still run
        shutil.copy(armed('glibc', 'none'), program)
        made.put(program)
    return made


def records():
    """Those whose processes have ended."""
    folder = pathlib.Path('/run/hostkit/stopexec')
    return [path for path in folder.glob('*') if not os.path.exists(f'/proc/{path.name}')]


@pytest.mark.parametrize('scenario', SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_each_call_fails_once(folder, programs, scenario):
    def attempt(fails):
        """The calls, and what is wrong."""
        program = programs.get()
        trial = Trial(folder, program, program.with_suffix('.log'), fails)
        wrong = None
        try:
            try:
                scenario(trial)
            finally:
                trial.world.close()
        except Exception as error:
            wrong = f'{fails}: {error!r} {trial.tool and trial.tool.said}'
        made = trial.calls()
        programs.put(program)
        return made, wrong

    calls, wrong = attempt(None)
    assert not wrong, wrong
    faults = [fault(call, number) for call, count in collections.Counter(calls).items()
              for number in range(1, min(count, MOST) + 1)]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(attempt, faults))
    assert not any(wrong for _, wrong in results), '\n'.join(wrong for _, wrong in results if wrong)
    assert not records()
    assert sum(1 for calls, _ in results if calls) > len(faults) * 0.9, 'and they have failed'


@pytest.mark.parametrize('call', ['poll', 'read'])
def test_a_catcher_that_can_take_nothing(folder, programs, call):
    """While it lives, the kernel would let wait who starts the program."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0.3 {call} 1+ {errno.ENOMEM}')
    trial.stopexec('next', program)
    until(lambda: trial.watches() or trial.ended, what='the watch')
    assert trial.world.start(program).wait(10) == 7
    assert not trial.judge() and 'the catcher' in trial.tool.said
    trial.world.close()
