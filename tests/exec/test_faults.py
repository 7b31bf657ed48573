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

from conftest import BUILD, USER, Process, World, until

MOST = 12  # of the calls of one function by one process; those behind are like the ones before,
MOST_OF = {'alloc': 40, 'openat': 30}  # but each of these may be for something else
AT_ONCE = 4
ERRORS = {'alloc': 'ENOMEM', 'eventfd': 'EMFILE', 'fanotify_init': 'EMFILE', 'fanotify_mark': 'ENOSPC',
          'fork': 'EAGAIN', 'kill': 'EPERM', 'mkdir': 'EROFS', 'mmap': 'ENOMEM', 'open': 'EMFILE',
          'openat': 'EMFILE', 'pidfd_open': 'EMFILE', 'pidfd_send_signal': 'EPERM', 'poll': 'ENOMEM EINTR',
          'ptrace': 'EPERM', 'recv': 'ENOMEM', 'recvmsg': 'ENOMEM', 'send': 'ENOBUFS', 'sendmsg': 'ENOBUFS',
          'setgroups': 'EPERM', 'setresgid': 'EAGAIN', 'setresuid': 'EAGAIN', 'setsid': 'EPERM',
          'sigtimedwait': 'EINTR', 'socketpair': 'EMFILE', 'tgkill': 'EPERM', 'unlink': 'EROFS',
          'waitpid': 'ECHILD', 'write': 'EIO EINTR'}


def faults_of(call, count):
    """In the library's words: one of these calls fails, and with one of its errors."""
    function = call.split()[1]
    return [f'{call} {number} {getattr(errno, error)}' for error in ERRORS.get(function, 'EIO').split()
            for number in range(1, min(count, MOST_OF.get(function, MOST)) + 1)]


class Trial:
    """One call of stopexec with a fault in it, and the program that it is about."""

    def __init__(self, folder, program, log, fails, too=None):
        self.world, self.program, self.log, self.fails, self.too = World(folder), program, log, fails, too
        self.log.unlink(missing_ok=True)
        self.tool, self.success = None, 0

    def stopexec(self, *words):
        with self.world.preloaded('fail_at', FAIL_LOG=str(self.log), **({'FAIL_AT': self.fails} if self.fails else {}),
                                  **({'FAIL_TOO': self.too} if self.too else {})):
            self.tool = self.world.stopexec(*words, stdout=subprocess.PIPE, text=True)

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
            assert 'will not show it' in self.tool.said or 'goes on: ' in self.tool.said, 'or there is a record'
            with contextlib.suppress(ProcessLookupError):
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
    if trial.tool.wait() != 7 or 'goes on: ' not in trial.tool.said: # 7 is the program's own
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
        program = folder / f'fails-{os.getpid()}-{n}'
        program.unlink(missing_ok=True)  # one may still run
        shutil.copy(armed('glibc', 'none'), program)
        made.put(program)
    return made


def records():
    """Those whose processes have ended."""
    folder = pathlib.Path('/run/hostkit/stopexec')
    return [path for path in folder.glob('*') if not os.path.exists(f'/proc/{path.name.split(".")[0]}')]


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

    # What both have made: one that waits longer looks more often.
    (calls, wrong), (again, wrong_again) = attempt(None), attempt(None)
    assert not wrong and not wrong_again, wrong or wrong_again
    both = collections.Counter(calls) & collections.Counter(again)
    faults = [one for call, count in both.items() for one in faults_of(call, count)]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(attempt, faults))
    assert not any(wrong for _, wrong in results), '\n'.join(wrong for _, wrong in results if wrong)
    assert not records()
    never = [name for name, (calls, _) in zip(faults, results) if not calls]
    assert len(never) < len(faults) * 0.1, 'and they have failed'


@pytest.mark.parametrize('call, sentence', [
    ('fstat 1', "The control group {} can't be looked at"),
    ('openat 1', "Where the control group {} stands can't be seen from here"),
    ('fstat 2', "Where the control group {} stands can't be seen from here"),
])
def test_a_control_group_that_cannot_be_looked_at(folder, group, programs, call, sentence):
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0 {call} {errno.EMFILE}')
    trial.stopexec('next', '--cgroup', group, program.name)
    assert not trial.judge() and sentence.format(group) in trial.tool.said
    trial.world.close()


@pytest.mark.parametrize('words, call, sentence', [
    (['next', 'id'], 'mmap 1', 'No memory could be shared with the guardians'),
    (['next', '--by', 'bpf', 'nobody'], 'mmap 2', "What BPF tells can't be read"),
    (['next', '--by', 'bpf', 'nobody'], 'mmap 4', "What BPF tells can't be read"),
    (['preload', 'status'], 'lstat 1', "stop.so can't be looked at"),
])
def test_what_lacks_memory(folder, programs, words, call, sentence):
    trial = Trial(folder, None, programs.get().with_suffix('.log'), f'0 {call} {errno.ENOMEM}')
    trial.stopexec(*words)
    assert not trial.judge() and sentence in trial.tool.said
    assert trial.calls()
    trial.world.close()


@pytest.mark.parametrize('words', [['--user', 'daemon'], ['--env', 'OF=its own']], ids=' '.join)
def test_no_memory_for_the_environment(folder, programs, words):
    """Which has more variables then; each allocation for them fails once."""
    said = []
    while not said or 'There is no program' not in said[-1]:
        trial = Trial(folder, None, programs.queue[0].with_suffix('.log'), f'0 alloc {len(said) + 1} {errno.ENOMEM}')
        trial.stopexec('run', *words, '/nobody')
        assert not trial.judge()
        said.append(trial.tool.said)
        trial.world.close()
    assert sum('There is no memory for the environment' in words for words in said) >= 3


@pytest.mark.parametrize('words', [['list'], ['list', '--json'], ['preload', 'status', '--json']], ids=' '.join)
def test_what_is_told_without_memory(folder, programs, words):
    program = programs.get()
    for number in range(1, 100):
        trial = Trial(folder, program, program.with_suffix('.log'), f'0 alloc {number} {errno.ENOMEM}')
        trial.stopexec(*words)
        done = trial.judge()
        trial.world.close()
        if not trial.calls():
            break
    assert done and number > 3, 'and each that is asked for has failed'


def lets_go(folder, programs, fails):
    """A process of stopexec's can't go on: nobody is kept waiting, and one sentence says why."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'{fails} {errno.ENOMEM}')
    trial.stopexec('next', '--count', 2, program)
    until(lambda: trial.watches() or trial.ended, what='the watch')
    assert trial.world.start(program).wait(15) == 7
    assert not trial.judge()
    trial.world.close()
    return trial.tool.said


@pytest.mark.parametrize('fails', ['poll 1+', 'read 1+', 'recv 1', 'write 1', 'eventfd_write 1', 'setresuid 1'])
def test_a_catcher_that_fails(folder, programs, fails):
    """While it lives, the kernel would let wait who starts the program."""
    assert 'as the catcher failed: Cannot allocate memory' in lets_go(folder, programs, f'0.3 {fails}')


@pytest.mark.parametrize('fails', ['poll 1+', 'poll 3+', 'recvmsg 1+', 'recvmsg 2+'])
def test_a_guardian_that_fails(folder, programs, fails):
    """What is stopped goes on, whether the guardian knows of it or not."""
    assert 'as a guardian failed: Cannot allocate memory' in lets_go(folder, programs, f'0.1.1 {fails}')


def test_a_guardian_without_memory_for_more(folder, programs):
    """There is room for eight at first: the ninth goes on, as do the others."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0.1.1 alloc 4 {errno.ENOMEM}')
    trial.stopexec('next', '--count', 20, program)
    until(lambda: trial.watches() or trial.ended, what='the watch')
    started = [trial.world.start(program) for _ in range(9)]
    assert [one.wait(15) for one in started] == [7] * 9
    assert not trial.judge() and 'as a guardian failed: Cannot allocate memory' in trial.tool.said
    trial.world.close()


def test_a_guardian_that_fails_when_stopexec_has_ended(folder, programs):
    """The seventh time that it waits: it has taken four orders, and seen stopexec's end and exit."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0.1.1 poll 7+ {errno.ENOMEM}')
    trial.stopexec('next', '--leave', program)
    until(trial.watches, what='the watch')
    started = trial.world.start(program)
    assert trial.tool.wait() == 0
    assert trial.stopped.state == 'T'
    assert started.wait(15) == 7, 'long before its time is up'
    assert '0.1.1 poll' in trial.calls()
    trial.world.close()


@pytest.mark.parametrize('late', ['0.3 setresuid 1', '0 ptrace 1', '0 send 1', '0.4 begin 1'])
def test_stopexec_is_killed_before_its_child_does_anything(folder, programs, late):
    """A catcher, a program to be run, a debugger, the one that tries breakpoints out: each waits for nothing then, and
    ends."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'{late} -1000')
    if late == '0 send 1':
        trial.stopexec('attach', '--strace', trial.left().pid)
    else:
        trial.stopexec(*(['next'] if 'setresuid' in late else ['run', '--at', 'main']), program)
    until(trial.calls, what='what is late')
    trial.tool.popen.kill()
    output = trial.tool.popen.communicate(timeout=15)[0]
    assert output.startswith('uid') if 'begin' in late else output == '', 'only there it was on its way'
    trial.world.close()


@pytest.mark.parametrize('call', ['ptrace 30', 'tgkill 1'])
def test_the_program_is_killed_while_it_is_led_to_main(folder, armed, call):
    """Its exit status is ours, whatever we were about to do."""
    program = armed('glibc-stripped', 'none')
    trial = Trial(folder, program, program.with_suffix('.log'), f'0 {call} -500')
    trial.stopexec('run', '--at', 'main', program)
    until(trial.calls, what='what is late')
    os.kill(next(pid for pid in trial.world.mine() if Process(pid).program == str(program)), signal.SIGKILL)
    assert trial.tool.wait() == 128 + signal.SIGKILL, trial.tool.said
    assert trial.tool.said.count('\n') == 1
    trial.world.close()


def test_an_exec_is_told_before_the_birth_of_what_executes(folder, programs):
    """Of two children's news the younger one's come first, where both wait."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), '0 waitpid 1+ -30')
    trial.stopexec('run', '--exec', '3', 'sh', '-c', f'sh -c "{program}; exit 5"; exit 6')
    assert trial.tool.stopped().program == str(program)
    trial.go_on(trial.stopped)
    assert trial.tool.wait() == 6
    trial.world.close()


@pytest.mark.parametrize('fails', [True, False])
def test_who_is_born_behind_the_exec_is_let_go(folder, programs, fails):
    """Of two whose news wait, the younger one's come first: its exec, and then the other's fork."""
    program = programs.get()
    begun = program.with_suffix('.begun')
    fault = [f'0 ptrace 18 {errno.EPERM}'] if fails else []
    trial = Trial(folder, program, program.with_suffix('.log'), *fault, '0 waitpid 1+ -30')
    trial.stopexec('run', '--exec', '2', 'sh', '-c',
                   f'(: > {begun}; (while [ -e {begun} ]; do :; done) & wait) & '
                   f'(until [ -e {begun} ]; do :; done; exec {program}) & wait; exit 6')
    if not fails:
        trial.success = 6
        assert trial.tool.stopped().program == str(program)
        assert {Process(pid).status['TracerPid'] for pid in trial.world.mine()} == {'0'}
        begun.unlink()
        trial.go_on(trial.stopped)
    assert trial.judge() != fails and ('could not be followed to its start' in trial.tool.said) == fails
    begun.unlink(missing_ok=True)
    until(lambda: not trial.world.mine(), what='the end of the others, who go on')
    trial.world.close()


def test_how_the_program_ended_is_lost(folder, programs):
    """Each call that asks for it fails once, as if somebody else had taken it."""
    program, said, behind = programs.get(), '', 0
    for number in range(1, 100):
        trial = Trial(folder, program, program.with_suffix('.log'), f'0 waitpid {number} {errno.ECHILD}')
        trial.success = 7
        trial.stopexec('run', program)
        until(lambda: trial.stopped or trial.ended, what='the stop')
        if trial.stopped and not trial.ended:
            trial.go_on(trial.stopped)
        trial.judge()
        said += trial.tool.said
        trial.world.close()
        behind += not trial.calls()
        if behind == 3: # how often it asks depends on when the program ends
            break
    assert re.search(r"How process \d+ ended can't be told: No child processes", said), said


def test_who_is_killed_while_being_let_go_is_let_go_all_the_same(folder, programs):
    """Else nobody could take its end as long as stopexec holds the other."""
    program = programs.get()
    runs = program.with_suffix('.runs')
    trial = Trial(folder, program, program.with_suffix('.log'), '0 ptrace 9 -500') # PTRACE_DETACH
    trial.stopexec('run', '--exec', 2, 'sh', '-c', f'(: > {runs}; while :; do :; done) & '
                   f'until [ -e {runs} ]; do :; done; exec {program}')
    until(trial.calls, what='what is late')
    shell = next(pid for pid in trial.world.mine() if Process(pid).read('comm') == b'sh\n')
    assert Process(shell).state == 't'
    os.kill(shell, signal.SIGKILL)
    process = trial.tool.stopped()
    assert process.program == str(program)
    assert Process(shell).status['TracerPid'] == '0'
    trial.go_on(process)
    assert trial.tool.wait() == 7
    runs.unlink()
    trial.world.close()


@pytest.mark.parametrize('number', range(1, 6))
def test_a_process_ends_while_it_is_listed(folder, programs, number):
    """Before it is looked at, or behind: it is there or not, and nothing is wrong."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0 openat {number} -300')
    tool = trial.world.next('--leave', program)
    started = trial.world.start(program)
    assert tool.stopped().pid == started.pid and tool.wait() == 0
    trial.stopexec('list')
    until(lambda: trial.calls() or trial.ended, what='what is late')
    started.kill()
    started.wait()
    assert trial.judge(), trial.tool.said
    trial.world.close()


def test_a_process_that_cannot_be_looked_at(folder, programs):
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0 openat 3 {errno.EMFILE}')
    process = trial.left()
    trial.stopexec('list')
    assert not trial.judge() and f"Process {process.pid} can't be looked at" in trial.tool.said
    trial.go_on(process)
    trial.world.close()


def test_somebody_undoes_the_stop(folder, programs):
    """So that the program runs, where nobody could look at its start: it is not left to itself."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), '0 ptrace 4 -500') # PTRACE_DETACH
    trial.stopexec('run', '--timeout', 2, 'sleep', '60')
    until(trial.calls, what='what is late')
    pid = next(pid for pid in trial.world.mine() if Process(pid).read('comm') == b'sleep\n')
    os.kill(pid, signal.SIGCONT)
    assert not trial.judge() and 'was not stopped in time' in trial.tool.said
    assert Process(pid).state == 'gone'
    trial.world.close()


def test_a_process_that_cannot_be_looked_at_any_more(folder, programs):
    """While it is held, which takes so many looks: it is not kept from going on."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0 openat 60+ {errno.EMFILE}')
    trial.stopexec('run', program)
    assert trial.tool.wait() == 7
    assert f"Process {trial.stopped.pid} goes on: it can't be looked at: Too many open files" in trial.tool.said
    trial.world.close()


@pytest.mark.parametrize('reaped', [True, False])
def test_the_program_is_killed_before_it_is_presented(folder, programs, reaped):
    """By next, or by run, whose child it is: there is nothing to be shown, and nothing wrong."""
    program = programs.get()
    trial = Trial(folder, program, program.with_suffix('.log'), f'0 pidfd_open {4 if reaped else 6} -500')
    if reaped:
        trial.stopexec('next', program)
        until(trial.watches, what='the watch')
        started = trial.world.start(program)
        until(trial.calls, what='what is late')
        started.kill()
        started.wait()
        assert trial.tool.wait() == 0, trial.tool.said
    else:
        trial.stopexec('run', program)
        until(trial.calls, what='what is late')
        os.kill(next(pid for pid in trial.world.mine() if Process(pid).program == str(program)), signal.SIGKILL)
        assert trial.tool.wait() == 128 + signal.SIGKILL, trial.tool.said
    assert 'is stopped at' not in trial.tool.said and ' goes on' not in trial.tool.said
    trial.world.close()


def test_no_memory_for_the_callers_environment(folder, programs):
    """Through sudo: each allocation for it fails once. The program never gets a part of it."""
    sudo, log, said = folder / 'sudo', programs.queue[0].with_suffix('.log'), ''
    library = BUILD / 'tests/preload/fail_at.so'
    shutil.copy('/bin/dash', sudo)
    for number in range(1, 50):
        environment = f'SUDO_UID={USER} PATH=/usr/bin FAIL_AT="0 alloc {number} {errno.ENOMEM}" FAIL_LOG={log}'
        done = subprocess.run([sudo, '-c', f'env -i {environment} LD_PRELOAD={library} {World(folder).program} '
                               'run --timeout 1 env; true'],
                              env={'CALLER': 'me', 'LAST': 'of all'}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, start_new_session=True, timeout=20, check=False)
        assert not done.stdout or ('CALLER=me' in done.stdout) == ('LAST=of all' in done.stdout)
        assert 'CALLER=me' not in done.stdout or 'SUDO_UID' not in done.stdout
        said += done.stderr
        if "can't be looked for" in said:
            break
    assert said.count('There is no memory for the environment') >= 2
