# SPDX-License-Identifier: MIT
"""gdb on a process that stopexec has caught: at main, with all its privileges, and on to its end."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import AS_USER, KINDS, RIGHTS, USER, Process, check_status, until
from test_next import REAL, found, real_rights, timeless

# Where gdb can't be told "main": the name is stripped, or Go's. There stopexec goes to main.
UNSTRIPPED = {'glibc-stripped': 'glibc', 'glibc-static-stripped': 'glibc-static',
              'musl-stripped': 'musl', '32-bit-stripped': '32-bit', 'go': 'go'}


def main_of(program, name):
    symbols = subprocess.run(['nm', program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(re.search(rf'^(\w+) \w {re.escape(name)}$', symbols, re.M)[1], 16)


class Debugged:
    """A program that is watched by --gdb, and started by the user."""

    def __init__(self, world, program, *options):
        self.plain = world.run(program, 'word')
        self.tool = world.next('--gdb', *options, program, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        self.started = world.start(program, 'word')

    def at_main(self):
        """What gdb says there; then it lets go."""
        process = self.tool.stopped()
        assert process.pid == self.started.pid
        until(lambda: process.status['TracerPid'] != '0', what='gdb')
        said = self.tool.popen.communicate(
            'printf "counter %p\\n", $pc\ninfo symbol $pc\n'
            f'shell cat /proc/{process.pid}/status\ndetach\n', timeout=40)[0]
        assert 'detached' in said, said
        return said


@pytest.mark.parametrize('kind', [*KINDS, 'go'])
def test_gdb_reaches_main(world, armed, build, kind):
    point = ['--at', 'main'] if kind in UNSTRIPPED else []
    debugged = {rights: Debugged(world, armed(kind, rights), *point) for rights in RIGHTS}
    for rights, one in debugged.items():
        said = one.at_main()
        if kind in UNSTRIPPED:
            address = main_of(build(UNSTRIPPED[kind]), 'main.main' if kind == 'go' else 'main')
            assert (int(re.search(r'counter (\w+)', said)[1], 16) - address) % 4096 == 0
        else:
            assert re.search(r'^(\(gdb\) )*main( \+ \d+)? in section \.text', said, re.M), said
        check_status(said, rights)
        output, status = one.started.communicate(timeout=15)[0], one.started.returncode
        assert (output, status) == one.plain, 'as without us'


# Before main's first instruction, on top of the stack: the C library's address that it returns to.
AT_MAIN = 'x/a $sp\nprint (char *) ((char **) $rsi)[0]\n'


def at_main(tool, process, commands=''):
    """gdb in a program without symbols, which stopexec has stopped at main: what it says."""
    until(lambda: process.status['TracerPid'] != '0', what='gdb')
    said = tool.popen.communicate(f'{AT_MAIN}{commands}shell cat /proc/{process.pid}/status\ndetach\n',
                                  timeout=40)[0]
    assert 'detached' in said, said
    return said


@pytest.mark.parametrize('words', REAL, ids=lambda words: words[0].rsplit('/', 1)[-1])
def test_gdb_reaches_main_of_real_programs(world, words):
    program = found(words[0])
    plain = world.run(program, *words[1:])
    tool = world.next('--at', 'main', '--gdb', program, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                      text=True)
    started = world.start(program, *words[1:])
    process = tool.stopped()
    assert process.pid == started.pid
    said = at_main(tool, process)
    assert re.search(r'<__libc_start_call_main\+\d+>', said), said
    assert f'"{program}"' in said
    uid, gid, capabilities = real_rights(program)
    for kind, ids in (('Uid', uid), ('Gid', gid)):
        assert '{}:\t{}\t{}\t{}\t'.format(kind, *ids) in said, said
    assert int(re.search(r'^CapPrm:\t(\w+)', said, re.M)[1], 16) & capabilities == capabilities
    output = started.communicate(timeout=15)[0]
    assert (timeless(output), started.returncode) == (timeless(plain[0]), plain[1]), 'as without us'


def test_gdb_reaches_main_of_busybox(world, suid_busybox):
    """Static, and without any symbol."""
    tool = world.next('--at', 'main', '--gdb', suid_busybox, stdin=subprocess.PIPE,
                      stdout=subprocess.PIPE, text=True)
    started = world.start(suid_busybox, 'id', '-u')
    process = tool.stopped()
    said = at_main(tool, process, 'print $rdi\nprint (char *) ((char **) $rsi)[1]\n')
    assert f'"{suid_busybox}"' in said and '"id"' in said and re.search(r'= 3$', said, re.M), said
    check_status(said, 'suid')
    assert started.communicate(timeout=15)[0] == f'{USER}\n' and started.returncode == 0


@pytest.mark.parametrize('how', ['plain', 'vfork', 'spawn', 'fexecve', 'thread'])
def test_gdb_reaches_main_however_it_was_executed(world, armed, execer, how):
    program = armed('glibc', 'suid')
    tool = world.next('--gdb', program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started = world.start(execer, how, program)
    process = tool.stopped()
    until(lambda: process.status['TracerPid'] != '0', what='gdb')
    said = tool.popen.communicate(f'info symbol $pc\nshell cat /proc/{process.pid}/status\ndetach\n',
                                  timeout=40)[0]
    assert re.search(r'^(\(gdb\) )*main( \+ \d+)? in section \.text', said, re.M), said
    check_status(said, 'suid')
    assert (started.communicate(timeout=15)[0], started.returncode) == world.run(program)


def test_gdb_reaches_main_of_a_pid_namespaces_init(world, armed):
    program = armed('glibc', 'suid')
    tool = world.next('--gdb', program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started = world.start('unshare', '--pid', '--fork', *AS_USER, program, user=False)
    process = tool.stopped()
    assert process.status['NSpid'].split()[-1] == '1'
    until(lambda: process.status['TracerPid'] != '0', what='gdb')
    said = tool.popen.communicate(f'info symbol $pc\nshell cat /proc/{process.pid}/status\ndetach\n',
                                  timeout=40)[0]
    assert re.search(r'^(\(gdb\) )*main( \+ \d+)? in section \.text', said, re.M), said
    check_status(said, 'suid')
    assert (started.communicate(timeout=15)[0], started.returncode) == world.run(program)


def test_what_somebody_traces_already_is_held_without_a_debugger(world, armed, folder):
    """As no second one can attach; strace goes on with it, to its end."""
    program = armed('glibc', 'none')
    tool = world.next('--gdb', program)
    started = world.start('strace', '-o', folder / 'trace', program, user=False)
    process = tool.stopped()
    until(lambda: 'No debugger can attach' in tool.said)
    assert process.status['TracerPid'] in tool.said
    assert world.call('cont', process.pid).returncode == 0
    assert started.communicate(timeout=15)[0].startswith('uid') and started.returncode == 7
    assert 'exited with 7' in (folder / 'trace').read_text() and tool.wait() == 0


@pytest.mark.parametrize('debugger, words', [('gdb', ' in main ()'), ('strace', 'exit_group(7)'),
                                             ('perf', 'Captured and wrote')])
def test_the_commands_that_are_printed_work(world, armed, folder, debugger, words):
    """As they stand there, pasted into another terminal."""
    if not shutil.which(debugger):
        pytest.skip(f'{debugger} is not installed')
    program = armed('glibc', 'suid')
    tool = world.next(program)
    started = world.start(program, 'word')
    tool.stopped()
    until(lambda: 'go on' in tool.said)
    line = re.search(rf'^  {debugger} +(.*)$', tool.said, re.M)[1]
    path = f'{pathlib.Path(world.program).parent}:{os.environ["PATH"]}'
    with open(folder / f'said-by-{debugger}', 'w+') as file: # into a pipe, perf puts its data
        subprocess.run(line, shell=True, input='detach\n', stdout=file, text=True, timeout=40, check=False,
                       stderr=subprocess.STDOUT, env={**world.environment, 'PATH': path}, cwd=folder)
        file.seek(0)
        said = file.read()
    assert words in said
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0'), said
    assert started.returncode == 7 and tool.wait() == 0


def test_a_tracer_that_outlives_the_command_keeps_the_program(world, armed, folder):
    """Then it is for the tracer to say when it goes on."""
    program, trace = armed('glibc', 'suid'), folder / 'trace-of-watch'
    tool = world.next('--exec', f'setsid strace -q -p {{pid}} -o {trace} & '
                                'until grep -q "^TracerPid:.[1-9]" /proc/{pid}/status; do :; done; echo over >&2',
                      program, verb='watch')
    started = world.start(program)
    until(lambda: 'over' in tool.said, what='strace')
    time.sleep(0.2) # it is shown that nothing happens
    assert Process(started.pid).state in 'Tt'
    os.kill(started.pid, signal.SIGCONT)
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0') and started.returncode == 7
    tool.popen.send_signal(signal.SIGINT)
    assert tool.wait() == 0
    until(lambda: 'exited with 7' in trace.read_text(), what='the end of the trace')


def test_strace_by_next(world, armed):
    program = armed('glibc', 'suid')
    tool = world.next('--strace', program)
    started = world.start(program)
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0') and started.returncode == 7
    assert tool.wait() == 0 and 'exited with 7' in tool.said and 'brk(NULL)' in tool.said


@pytest.mark.parametrize('point', ['main', 'getresuid'])
def test_attach_behind_the_start_goes_nowhere_by_itself(world, armed, point):
    """gdb would run through to the program's end, looking for a main that is over."""
    program = armed('glibc', 'suid')
    tool = world.next('--leave', '--at', point, program)
    started = world.start(program)
    assert tool.wait() == 0
    counter = Process(started.pid).counter
    said = world.call('attach', started.pid, input='printf "counter %p\\n", $pc\ndetach\n').stdout
    assert f'counter {counter:#x}' in said, said
    assert started.communicate(timeout=15)[0].startswith('uid') and started.returncode == 7


def test_a_debugger_that_is_not_there_is_a_failure(world, armed):
    """The program goes on, but nobody has seen what was to be seen."""
    sentence = 'could not be started; is it installed?'
    program = armed('glibc', 'none')
    tool = world.next('--leave', program)
    started = world.start(program)
    assert tool.wait() == 0
    world.environment['PATH'] = '/nowhere'
    done = world.call('attach', started.pid)
    assert done.returncode == 1 and sentence in done.stderr
    assert started.wait(15) == 7
    tool = world.next('--strace', program)
    assert world.run(program, user=False)[1] == 7
    assert tool.wait() == 1 and sentence in tool.said


@pytest.fixture
def pulseaudio(folder):
    program = shutil.which('pulseaudio')
    if program is None:
        pytest.skip('pulseaudio is not installed')
    copy = folder / 'pulseaudio'
    shutil.copy(program, copy)
    copy.chmod(0o4755)
    return copy


def test_pulseaudio(world, pulseaudio, folder):
    """The case of 2008: the sound server, SUID, started by another process; and it serves behind the
    debugger, as the user."""
    home = folder / 'pulse-home'
    home.mkdir()
    os.chown(home, USER, USER)
    world.environment.update(HOME=str(home), XDG_RUNTIME_DIR=str(home))
    tool = world.next('--at', 'main', '--gdb', pulseaudio, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                      text=True)
    started = world.start('sh', '-c', f'{pulseaudio} -n --daemonize=no --exit-idle-time=-1 '
                                      '-L module-null-sink -L module-native-protocol-unix; exit $?')
    process = tool.stopped()
    assert process.pid != started.pid and process.program == str(pulseaudio)
    said = at_main(tool, process, 'print (char *) ((char **) $rsi)[1]\n')
    assert re.search(r'<__libc_start_call_main\+\d+>', said), said
    assert '"-n"' in said
    assert f'Uid:\t{USER}\t0\t0\t0' in said and f'Gid:\t{USER}\t{USER}' in said
    until(lambda: (home / 'pulse/native').exists(), what='its socket')
    assert process.ids('Uid') == (USER, USER, USER), 'it gives the privileges up by itself'
    done = world.run('pactl', 'list', 'short', 'sinks')
    assert done[1] == 0 and 'module-null-sink' in done[0]
    world.run(pulseaudio, '--kill')
    assert started.wait(15) == 0


def test_a_command_ends_with_stopexec_but_not_by_the_terminals_signal(world, armed):
    """That reaches the command by itself, which may have another use for it, as gdb has."""
    program = armed('glibc', 'none')
    tool = world.next('--exec', 'exec sleep 60', program, verb='watch')
    started = world.start(program)

    def sleeps():
        return [pid for pid in world.mine() if Process(pid).read('comm') == b'sleep\n']
    until(sleeps, what='the command')
    tool.popen.send_signal(signal.SIGINT)
    until(lambda: int(Process(tool.popen.pid).status['ShdPnd'], 16) == 0, what='that it was taken')
    assert sleeps() and tool.popen.poll() is None and Process(started.pid).state == 'T'
    tool.popen.send_signal(signal.SIGTERM)
    assert tool.wait() == 0 and not sleeps()
    assert started.wait(10) == 7
