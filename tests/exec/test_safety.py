# SPDX-License-Identifier: MIT
"""Never a process left stopped, never an exec left waiting."""
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import time

import pytest

from conftest import AS_USER, BUILD, HERE, USER, Process, compile_c, record, until

STARTS, STARTERS = 1000, 8
KILLS = 200


WAYS = ['fanotify', 'bpf']


def by(way, program):
    """How the program is watched in this way."""
    return ['--by', way, program if way == 'fanotify' else program.name]


@pytest.mark.parametrize('way', WAYS)
def test_every_start_is_stopped_once(world, armed, folder, way):
    program = armed('glibc', 'suid')
    log = folder / f'stops-{way}'
    tool = world.next('--exec', f'grep -H ^State: /proc/{{pid}}/status >> {log}', *by(way, program),
                      verb='watch')
    loop = f'i=0; while [ $i -lt {STARTS // STARTERS} ]; do {program}; i=$((i+1)); done'
    starters = [world.start('sh', '-c', loop) for _ in range(STARTERS)]
    output = ''.join(starter.communicate(timeout=300)[0] for starter in starters)
    assert output.count('uid 61001') == STARTS
    tool.popen.send_signal(signal.SIGINT)
    assert tool.wait() == 0
    lines = log.read_text().splitlines()
    assert len(lines) == STARTS
    assert len({line.split(':')[0] for line in lines}) == STARTS, 'each process once'
    assert all('T (stopped)' in line for line in lines)


def family(world, tool):
    """stopexec, its catcher and its guardians, by their names."""
    found = {'stopexec': [tool.popen.pid], 'stopexec-catch': [], 'stopexec-guard': []}
    for pid in world.mine():
        try:
            name = pathlib.Path(f'/proc/{pid}/comm').read_text().strip()
        except OSError:
            continue
        if name in found and name != 'stopexec':
            found[name].append(pid)
    return found


def members(world, tool):
    """The same, once all are there under their names."""
    def whole():
        found = family(world, tool)
        return found if [len(pids) for pids in found.values()] == [1, 1, 2] else None
    return until(whole, what='the start of all')


def kill(*pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.mark.parametrize('way', WAYS)
def test_kill_at_random(world, armed, way):
    """Whoever is killed, and whenever: the programs go on, none hangs, and all come to their end."""
    program = armed('glibc', 'suid')
    dice = random.Random(2008)
    for _ in range(KILLS):
        tool = world.next('--count', 4, '--timeout', 30, *by(way, program))
        ours = members(world, tool)
        started = [world.start(program) for _ in range(4)]
        if dice.random() < 0.7:
            until(lambda: any(Process(p.pid).state == 'T' for p in started))
        first = dice.choice(['stopexec', 'stopexec-catch', 'stopexec-guard'])
        victims = ours[first][:1]
        if dice.random() < 0.5:
            victims += ours['stopexec' if first != 'stopexec' else 'stopexec-guard'][:1]
        kill(*victims)
        if first == 'stopexec-guard' and len(victims) == 1:
            kill(*ours['stopexec-guard'])
        for process in started:
            assert process.wait(10) == 7
        tool.wait()


def test_kill_the_launcher_at_random(world, armed):
    program = armed('glibc', 'suid')
    dice = random.Random(1)
    for _ in range(KILLS):
        tool = world.stopexec('run', '--at', dice.choice(['first', 'main']), program,
                              stdout=subprocess.PIPE, text=True)
        until(lambda: 'is stopped' in tool.said or dice.random() < 0.05)
        kill(tool.popen.pid)
        output = tool.popen.communicate(timeout=10)[0]
        # killed before the start: nothing ran; after it: the program came to its end
        assert output == '' or output.startswith('uid')
        until(lambda: not world.mine(), what='the end of all')


def test_no_exec_hangs_while_stopexec_is_stopped(world, armed):
    """Only the catcher answers: a stopexec that does not run delays nobody."""
    program = armed('glibc', 'suid')
    tool = world.next(program)
    os.kill(tool.popen.pid, signal.SIGSTOP)
    started = world.start(program)
    until(lambda: Process(started.pid).state == 'T')
    assert world.run(program)[1] == 7, 'the second start is not ours'
    os.kill(tool.popen.pid, signal.SIGCONT)
    world.call('cont', tool.stopped().pid)
    assert started.wait(10) == 7


@pytest.mark.parametrize('way', WAYS)
def test_stopexec_ends_though_somebody_has_stopped_its_catcher(world, armed, way):
    program = armed('glibc', 'suid')
    tool = world.next(*by(way, program))
    catcher = members(world, tool)['stopexec-catch'][0]
    os.kill(catcher, signal.SIGSTOP)
    until(lambda: Process(catcher).state == 'T')
    tool.popen.terminate()
    assert tool.wait() == 128 + signal.SIGTERM
    assert Process(catcher).state == 'gone' and world.run(program)[1] == 7


def test_what_bpf_has_stopped_goes_on_when_its_catcher_is_killed(world, armed):
    """Between the stop in the kernel and the guardians' knowledge of it: the catcher, stopped itself,
    has read nothing."""
    program = armed('glibc', 'suid')
    tool = world.next(*by('bpf', program))
    catcher = members(world, tool)['stopexec-catch'][0]
    os.kill(catcher, signal.SIGSTOP)
    started = world.start(program)
    until(lambda: Process(started.pid).state == 'T')
    kill(catcher)
    assert started.wait(10) == 7
    assert tool.wait() == 1 and 'Somebody ended the catcher' in tool.said


@pytest.mark.parametrize('guardian', [0, 1])
def test_a_guardian_is_killed(world, armed, guardian):
    program = armed('glibc', 'none')
    tool = world.next('--count', 2, program)
    guardians = members(world, tool)['stopexec-guard']
    started = world.start(program)
    process = tool.stopped()
    kill(guardians[guardian])
    assert started.wait(10) == 7
    assert tool.wait() == 1
    assert f"Process {process.pid} goes on: a process of stopexec's has ended" in tool.said
    assert 'Somebody ended a guardian: nothing more is stopped' in tool.said


@pytest.mark.parametrize('guardian', [0, 1])
def test_a_guardian_is_killed_after_leave(world, armed, guardian):
    """The other one does not wait for its own end."""
    program = armed('glibc', 'suid')
    tool = world.next('--leave', program)
    guardians = members(world, tool)['stopexec-guard']
    started = world.start(program)
    assert tool.wait() == 0
    assert Process(started.pid).state == 'T'
    kill(guardians[guardian])
    assert started.wait(10) == 7
    assert str(started.pid) not in world.call('list').stdout


def test_the_next_stop_of_a_process_has_a_time_of_its_own(world, armed, folder):
    """What was left stopped, went on and executes the program again: the first time is not the second's."""
    script = folder / f'again-{os.getpid()}'
    script.write_text(f'#!/bin/sh\n[ "$1" ] && exec {script}\nexit 7\n')
    script.chmod(0o755)
    tool = world.next('--leave', '--timeout', 5, script)
    guardians = members(world, tool)['stopexec-guard']
    started = world.start(script, 'again')
    assert tool.wait() == 0
    process = Process(started.pid)
    tool = world.next(script)
    assert world.call('cont', process.pid).returncode == 0
    tool.stopped()
    until(lambda: all(Process(pid).state == 'gone' for pid in guardians), what='the end of the first time')
    assert process.state == 'T'
    assert str(process.pid) in world.call('list').stdout
    assert world.call('cont', process.pid).returncode == 0
    assert started.wait(10) == 7 and tool.wait() == 0


@pytest.mark.parametrize('late', [False, True], ids=['', 'before the guardians have looked'])
def test_what_is_left_goes_on_when_the_user_has_logged_out(world, folder, late):
    """Which removes the folder of the records, and perhaps it is there again after the next login."""
    runtime = folder / f'runtime-{os.getpid()}-{late}'
    log = runtime / 'log'
    slow = [f'LD_PRELOAD={BUILD}/tests/preload/fail_at.so', f'FAIL_LOG={log}', 'FAIL_AT=0.1.1 open 2 -500',
            'FAIL_TOO=0.2.1 open 2 -500'] if late else []
    runtime.mkdir()
    os.chown(runtime, USER, USER)
    for again in (False, True):
        output = world.start('env', f'XDG_RUNTIME_DIR={runtime}', *slow, world.program, 'run', '--leave',
                             '--timeout', 1, 'sh', '-c', 'echo went on')
        # its end is that of the program, which has its output
        until(lambda: list(runtime.glob('hostkit/stopexec/[0-9]*')), what='the record')
        shutil.rmtree(runtime / 'hostkit')
        if again:
            (runtime / 'hostkit/stopexec').mkdir(parents=True)
        assert 'went on\n' in output.communicate(timeout=15)[0]
    assert log.exists() == late


def test_who_was_continued_and_then_stopped_by_somebody_else_stays_so(world, folder):
    """The guardians leave alone what "stopexec cont" has let go, in the image that it was left in, too."""
    program = folder / 'stays'
    shutil.copy('/bin/sleep', program)
    tool = world.next('--leave', '--timeout', 2, program)
    guardians = members(world, tool)['stopexec-guard']
    started = world.start(program, 60)
    process = Process(started.pid)
    assert tool.wait() == 0
    assert world.call('cont', process.pid).returncode == 0
    until(lambda: process.state == 'S', what='the sleep')
    started.send_signal(signal.SIGSTOP)
    until(lambda: all(Process(pid).state == 'gone' for pid in guardians), what='the end of its time')
    assert process.state == 'T'
    started.kill()
    started.wait()


def test_a_stop_of_another_session_keeps_its_record(world, armed, folder):
    """One stops a wrapper, the other what that executes: the first's end is none of the other's stop."""
    program, wrapper = armed('glibc', 'suid'), folder / f'wraps-{os.getpid()}'
    wrapper.write_text(f'#!/bin/sh\nexec {program}\n')
    wrapper.chmod(0o755)
    first, other = world.next(wrapper), world.next('--leave', program)
    started = world.start(wrapper)
    assert first.stopped().pid == started.pid
    os.kill(started.pid, signal.SIGCONT)
    assert first.wait() == 0 and other.wait() == 0
    assert str(started.pid) in world.call('list').stdout
    assert world.call('cont', started.pid).returncode == 0
    assert started.wait(10) == 7


def test_no_record_is_left_of_who_was_killed(world, armed):
    tool = world.next('--leave', armed('glibc', 'suid'))
    started = world.start(armed('glibc', 'suid'))
    assert tool.wait() == 0
    assert record(started.pid)
    started.kill()
    started.wait()
    until(lambda: not record(started.pid), what='the end of its record')


@pytest.mark.parametrize('way', WAYS)
def test_the_time_is_up_while_stopexec_is_stopped(world, armed, way):
    program = armed('glibc', 'suid')
    tool = world.next('--timeout', 1, *by(way, program))
    os.kill(tool.popen.pid, signal.SIGSTOP)
    started = world.start(program)
    until(lambda: Process(started.pid).state == 'T')
    assert started.wait(10) == 7, 'the guardians let it go on'
    os.kill(tool.popen.pid, signal.SIGCONT)


@pytest.mark.parametrize('most', [64, 24], ids=['that it has by itself', 'that it can have'])
def test_more_processes_than_descriptors(world, armed, most):
    """A guardian has one for each process that it holds."""
    program = armed('glibc', 'suid')
    tool = world.next('--leave', '--count', 30, '--timeout', 2, program,
                      preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (24, most)))
    started = [world.start(program) for _ in range(30)]
    assert [process.wait(10) for process in started] == [7] * 30
    assert tool.wait() == 0 or most == 24


def test_traced_processes_are_left_alone(world, armed):
    """A debugger has it: killing stopexec does not make it go on."""
    program = armed('glibc', 'suid')
    tool = world.stopexec('run', '-u', '61001', '--gdb', program, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE)
    process = tool.stopped()
    until(lambda: process.status['TracerPid'] != '0')
    gdb = int(process.status['TracerPid'])
    for line in tool.popen.stdout:
        if b'in main' in line: # before, gdb has children of its own
            break
    kill(tool.popen.pid)
    until(lambda: not family(world, tool)['stopexec-guard'])
    assert process.status['TracerPid'] == str(gdb)
    kill(process.pid, gdb)


@pytest.mark.parametrize('way', WAYS)
def test_what_somebody_traces_already_goes_on_too(world, armed, folder, way):
    """When stopexec is killed before it has looked who traces the process."""
    program, log = armed('glibc', 'none'), folder / f'trace-{way}'
    tool = world.next(*by(way, program))
    os.kill(tool.popen.pid, signal.SIGSTOP)
    started = world.start('strace', '-o', log, program, user=False)
    until(lambda: log.exists() and 'stopped by SIGSTOP' in log.read_text(), what='the stop')
    kill(tool.popen.pid)
    assert started.wait(10) == 7


def test_other_programs_are_not_delayed(world, armed):
    world.next(armed('glibc', 'suid'))
    for _ in range(20):
        assert subprocess.run([*AS_USER, 'true'], timeout=5).returncode == 0


# Where nobody may trace: a kernel with Yama says so in a file, and ptrace(2) fails.
YAMA = ('mount -t tmpfs none /proc/sys/kernel && mkdir /proc/sys/kernel/yama && '
        'echo 3 > /proc/sys/kernel/yama/ptrace_scope && exec "$@"')


@pytest.mark.parametrize('yama', [True, False])
def test_run_where_nothing_can_be_traced(world, armed, deny, yama):
    words = [deny, 'ptrace', 'EPERM', world.program, 'run', armed('glibc', 'suid')]
    if yama:
        words = ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', YAMA, 'sh', *words]
    output, status = world.run(*words, user=False)
    assert status == 1 and len(output.splitlines()) == 1, 'and it has not run'
    assert ('kernel.yama.ptrace_scope is 3' in output) == yama
    assert ('somebody else traces it, or root is needed' in output) != yama


def test_next_where_nothing_can_be_traced(world, armed, deny):
    """The first instruction needs no tracing; for main, the program goes on with a sentence."""
    program = armed('glibc', 'suid')
    for options, stops in (([], True), (['--at', 'main'], False)):
        own, world.program = world.program, deny
        tool = world.next('EPERM', own, 'next', '--timeout', 1, *options, program, verb='ptrace')
        world.program = own
        started = world.start(program)
        assert started.wait(10) == 7
        assert tool.wait() == (0 if stops else 1)
        assert ('is stopped at' in tool.said) == stops
        assert ("can't be traced" in tool.said) != stops


def test_cont_refuses_what_is_not_ours(world):
    sleeper = world.start('sleep', '30')
    done = world.call('cont', sleeper.pid)
    assert done.returncode == 1 and 'not one that stopexec has stopped' in done.stderr
    sleeper.kill()
    sleeper.wait()
    assert world.call('cont', '1').returncode == 1
    assert world.call('cont', 'x').returncode == 2


@pytest.fixture(scope='session')
def late(folder):
    target = folder / 'late'
    assert compile_c(HERE / 'late.c', target)
    return target


@pytest.mark.parametrize('words', [['next'], ['next', '--count', '2'], ['watch', '--exec', 'true']],
                         ids=lambda words: words[-1])
@pytest.mark.parametrize('ending', [None, signal.SIGTERM, signal.SIGKILL],
                         ids=['in time', 'TERM', 'KILL'])
def test_a_stop_point_that_nobody_comes_to(world, breakpoints, late, words, ending):
    with breakpoints():
        tool = world.next(*words[1:], '--at', 'late', '--timeout', 1 if ending is None else 30, late, verb=words[0])
    started = world.start(late)
    assert started.stdout.readline() == 'waits\n'
    if ending is not None:
        tool.popen.send_signal(ending)
        tool.wait()
        until(lambda: not family(world, tool)['stopexec-guard'], what='the end of the guardians')
    until(lambda: Process(started.pid).status['TracerPid'] == '0', what='the end of the tracing')
    os.kill(started.pid, signal.SIGUSR1)
    assert started.wait(10) == 7, 'no breakpoint is left in it'
    if ending is None:
        until(lambda: 'did not come to the stop point in time' in tool.said, what='the word of it')
    if ending == signal.SIGTERM:
        assert 'stopexec was ended before process' in tool.said


@pytest.mark.parametrize('libraries', [['fail_at'], ['no_breakpoints', 'fail_at']], ids=['the processor', 'the text'])
@pytest.mark.parametrize('words', [[], ['fork']], ids=['itself', 'its child'])
def test_it_is_ended_in_the_moment_when_the_program_is_there(world, late, folder, libraries, words):
    """It waits for both, and learns of its own end first: the program goes on from where it is; and its child, which
    would come there first."""
    log, said = folder / 'moment.log', ''
    for _ in range(5):  # the test may be too slow
        log.unlink(missing_ok=True)
        with world.preloaded(*libraries, FAIL_LOG=str(log), FAIL_AT='0 sigtimedwait 1+ -400'):
            tool = world.next('--at', 'late', late)
        started = world.start(late, *words)
        assert started.stdout.readline() == 'waits\n'
        waits = log.stat().st_size

        def is_late(tool=tool, waits=waits):
            tool.popen.send_signal(signal.SIGCHLD)
            return log.stat().st_size > waits
        until(is_late, what='its next wait')
        os.kill(started.pid, signal.SIGUSR1)
        until(lambda pid=started.pid: Process(pid).state in 'tT', what='the program at its stop point')
        tool.popen.terminate()
        assert started.wait(10) == 7 and started.stdout.read() == 'ends\n'
        tool.wait()
        said = tool.said
        if 'stopexec was ended before process' in said:
            break
    assert 'stopexec was ended before process' in said


@pytest.mark.parametrize('killed', [False, True])
def test_a_start_that_waits_has_its_whole_time_from_its_turn_on(world, late, killed):
    """And goes on behind that; or when stopexec is killed on the way to its stop point, which it comes to unharmed."""
    tool = world.next('--count', 2, '--leave', '--at', 'late', '--timeout', 2, late)
    first = world.start(late)
    assert first.stdout.readline() == 'waits\n'
    other = world.start(late)
    until(lambda: Process(other.pid).state == 'T', what='the stop of the other')
    caught = time.monotonic()
    until(lambda: time.monotonic() > caught + 1, what='a second')
    os.kill(first.pid, signal.SIGUSR1)
    assert other.stdout.readline() == 'waits\n'
    until(lambda: time.monotonic() > caught + 2.2, what='the time that it would have had at first')
    if killed:
        kill(tool.popen.pid)
        until(lambda: Process(other.pid).status['TracerPid'] == '0', what='the end of the tracing')
        until(lambda: first.poll() is not None, what='the end of the time of the first')
    os.kill(other.pid, signal.SIGUSR1)
    if not killed:
        assert tool.stopped(2).pid == other.pid and tool.wait() == 0
    assert [first.wait(10), other.wait(10)] == [7, 7]


def test_a_launcher_is_killed_on_the_way_to_a_stop_point(world, late):
    tool = world.stopexec('run', '--at', 'late', late, stdout=subprocess.PIPE, text=True)
    assert tool.popen.stdout.readline() == 'waits\n'
    program = next(pid for pid in world.mine() if Process(pid).program == str(late))
    kill(tool.popen.pid)
    until(lambda: not family(world, tool)['stopexec-guard'], what='the end of the guardians')
    os.kill(program, signal.SIGUSR1)
    assert tool.popen.stdout.read() == 'ends\n'
