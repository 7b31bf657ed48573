# SPDX-License-Identifier: MIT
"""stopexec run: programs that we start ourselves."""
import concurrent.futures
import glob
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import BUILD, HERE, KINDS, RIGHTS, USER, Process, Terminal, check_rights, compile_c, record, until


def run(world, *arguments, **options):
    return world.stopexec('run', '-u', USER, *arguments, stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL, text=True, **options)


def finish(world, tool, process):
    """Lets it go on; its output and exit status."""
    assert world.call('cont', process.pid).returncode == 0
    output = tool.popen.communicate(timeout=15)[0]
    return output, tool.popen.returncode


@pytest.mark.parametrize('rights', RIGHTS)
@pytest.mark.parametrize('kind', [*KINDS, 'go'])
def test_first_instruction(world, armed, kind, rights):
    program = armed(kind, rights)
    tool = run(world, '--', program, 'one', 'two')
    process = tool.stopped()
    assert process.state == 'T'
    assert process.status['TracerPid'] == '0'
    assert process.program == str(program)
    assert process.counter == process.first_instruction
    check_rights(process, rights)
    assert ('given, as the file asks' if rights != 'none' else 'asks for none') in tool.said
    assert finish(world, tool, process) == world.run(program, 'one', 'two')


@pytest.mark.parametrize('kind', [*KINDS, 'go'])
def test_main(world, armed, kind):
    program = armed(kind, 'suid')
    tool = run(world, '--at', 'main', program)
    process = tool.stopped()
    assert process.state == 'T'
    check_rights(process, 'suid')
    if 'stripped' not in kind:
        name = 'main.main' if kind == 'go' else 'main'
        symbols = subprocess.run(['nm', program], stdout=subprocess.PIPE, text=True).stdout
        address = next(int(line.split()[0], 16) for line in symbols.splitlines()
                       if line.split()[-1] == name)
        assert (process.counter - address) % 4096 == 0
    assert finish(world, tool, process) == world.run(program)


@pytest.mark.parametrize('kind', ['glibc', 'glibc-static', 'glibc-no-pie', 'musl', '32-bit'])
def test_entry(world, armed, kind):
    tool = run(world, '--at', 'entry', armed(kind, 'suid'))
    process = tool.stopped()
    assert process.counter == process.auxv(9)
    assert finish(world, tool, process)[1] == 7


@pytest.mark.parametrize('symbol', ['construct', 'getresuid'])
def test_symbol(world, armed, symbol):
    tool = run(world, '--at', symbol, armed('glibc', 'suid'))
    process = tool.stopped()
    assert f'is stopped at {symbol}' in tool.said
    assert finish(world, tool, process)[1] == 7


def text_is_as_in_its_files(process):
    """Of the program and its libraries."""
    with open(f'/proc/{process.pid}/mem', 'rb') as memory:
        for line in process.read('maps').decode().splitlines():
            addresses, rights, offset, _, inode, *path = line.split(None, 5)
            if 'x' not in rights or inode == '0':
                continue
            start, end = (int(word, 16) for word in addresses.split('-'))
            memory.seek(start)
            text = memory.read(end - start)
            file = pathlib.Path(path[0].strip()).read_bytes()[int(offset, 16):][:end - start]
            if text[:len(file)] != file:
                return False
    return True


@pytest.mark.parametrize('kind', ['glibc', 'glibc-static-pie', 'glibc-stripped', 'musl', '32-bit-stripped', 'go'])
def test_main_by_breakpoints_of_either_kind(world, breakpoints, armed, kind):
    program = armed(kind, 'suid')
    with breakpoints():
        tool = run(world, '--at', 'main', program)
    process = tool.stopped()
    assert text_is_as_in_its_files(process)
    assert finish(world, tool, process) == world.run(program)


@pytest.mark.parametrize('way', ['run', 'next'])
def test_a_child_that_comes_to_the_point_first(world, breakpoints, folder, way):
    program = folder / 'forks'
    assert compile_c(HERE / 'forks.c', program)
    with breakpoints():
        tool = run(world, '--at', 'late', program) if way == 'run' else world.next('--at', 'late', program)
    started = None if way == 'run' else world.start(program)
    process = tool.stopped()
    assert started is None or started.pid == process.pid
    assert world.call('cont', process.pid).returncode == 0
    assert (started.wait(10) if started else tool.wait()) == 7


def test_gdb_reaches_main_and_leaves_it_running(world, armed):
    program = armed('glibc', 'suid')
    done = world.call('run', '-u', USER, '--gdb', program,
                      input='shell grep ^Uid: /proc/`pgrep -fx ' + str(program) + '`/status\ndetach\n')
    assert 'in main' in done.stdout and f'{USER}\t0\t0\t0' in done.stdout
    assert f'uid {USER} 0 0' in done.stdout
    assert done.returncode == 7


def test_where_there_is_no_gdb(world, armed):
    world.environment['PATH'] = '/nowhere'
    done = world.call('run', '--gdb', armed('glibc', 'suid'))
    assert done.returncode == 7 and 'could not be started; is it installed?' in done.stderr


def test_strace_sees_the_first_call(world, armed):
    done = world.call('run', '-u', USER, '--strace', armed('glibc', 'suid'))
    assert done.returncode == 7
    assert 'exited with 7' in done.stderr and 'brk(NULL)' in done.stderr


def test_nth_exec(world, folder):
    script = folder / 'script.py'
    script.write_text('#!/usr/bin/env python3\nprint("script")\n')
    script.chmod(0o755)
    for n, name in ((1, 'env'), (2, 'python3')):
        tool = run(world, '--exec', n, script)
        process = tool.stopped()
        assert os.path.basename(process.program).startswith(name)
        assert finish(world, tool, process) == ('script\n', 0)
    assert 'ended after 2 of 3 execs' in world.call('run', '-u', USER, '--exec', '3', script).stderr


@pytest.mark.parametrize('how', ['vfork', 'spawn', 'thread', 'plain', 'fexecve'])
def test_nth_exec_of_what_it_starts(world, armed, execer, how):
    """Children and threads count as well."""
    program = armed('glibc', 'suid')
    tool = run(world, '--exec', 2, execer, how, program)
    process = tool.stopped()
    assert process.state == 'T' and process.status['TracerPid'] == '0'
    assert process.program == str(program)
    assert process.counter == process.first_instruction
    check_rights(process, 'suid')
    assert finish(world, tool, process) == world.run(program)


@pytest.mark.parametrize('below', [False, True])
def test_nth_exec_when_the_first_thread_has_ended(world, armed, execer, below):
    """Its end is told when the others have ended; until then it is waited for by us alone."""
    program = armed('glibc', 'suid')
    words = [execer, 'thread-alone', program]
    if below:
        words = ['sh', '-c', ' '.join([*map(str, words), '; exit $?'])]
    tool = run(world, '--exec', 3 if below else 2, *words)
    process = tool.stopped()
    assert process.program == str(program)
    assert finish(world, tool, process) == world.run(program)


def test_who_is_let_go_executes_and_ends(world, armed, execer):
    """By a thread that takes the first one's place, which is told to nobody."""
    program = armed('glibc', 'suid')
    tool = run(world, '--exec', 2, execer, 'other', program)
    process = tool.stopped()
    assert process.program == str(program)
    assert finish(world, tool, process) == world.run(program)


@pytest.mark.parametrize('n', [2, 3, 4])
def test_nth_exec_of_many(world, armed, n):
    """In the order in which they happen; whoever else was started runs on, traced by nobody."""
    program = armed('glibc', 'suid')
    tool = run(world, '--at', 'main' if n == 4 else 'first', '--exec', n, 'sh', '-c',
               f'(read line; exit) & {program} 1; {program} 2; {program} 3; exit 5')
    process = tool.stopped()
    assert process.read('cmdline').decode().split('\0') == [str(program), str(n - 1), '']
    check_rights(process, 'suid')
    assert {Process(pid).status['TracerPid'] for pid in world.mine()} == {'0'}
    output, status = finish(world, tool, process)
    assert status == 5 and [line.split()[-1] for line in output.splitlines()] == ['1', '2', '3']


def test_whoever_waits_in_vfork_is_let_go_too(world):
    """A shell that waits so stops only when its child has been let go. (It needs an order of events that comes once in
    forty times on a busy machine.)"""
    def once(_):
        tool = world.stopexec('run', '--leave', '--exec', '4', 'sh', '-c',
                              'id & sh -c "id & id; wait; exec id"; wait; exit 3', stdout=subprocess.DEVNULL)
        process = tool.stopped()
        assert tool.wait() == 0
        until(lambda: process.state == 'T', what='the stop')
        os.kill(process.pid, signal.SIGCONT)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(once, range(200)))
    until(lambda: not world.mine(), what='the end of all of them')


def test_a_program_with_threads_does_not_come_to_the_exec(world):
    """The kernel tells of its end when all of its threads' were taken."""
    tool = run(world, '--exec', 2, sys.executable, '-c', 'import threading, time\n'
               'for _ in range(3): threading.Thread(target=time.sleep, args=(60,)).start()')
    until(lambda: [pid for pid in world.mine() if len(glob.glob(f'/proc/{pid}/task/*')) == 4], what='the threads')
    tool.popen.terminate()
    assert tool.wait() == 1 and 'could not be followed to its start' in tool.said


def test_nth_exec_when_the_program_has_ended(world, armed):
    """A daemon: what it left behind executes, and its own exit status is ours."""
    program = armed('glibc', 'suid')
    tool = run(world, '--exec', 2, 'sh', '-c',
               f'(while kill -0 $$ 2>/dev/null; do :; done; exec {program}) & exit 3')
    process = tool.stopped()
    assert process.program == str(program) and process.status['TracerPid'] == '0'
    check_rights(process, 'suid')
    output, status = finish(world, tool, process)
    assert output.startswith(f'uid {USER} 0 0') and status == 3


def test_through_sudo_itself(world, armed):
    """Which forks: the program is a child of the one that was started."""
    if not shutil.which('sudo'):
        pytest.skip('sudo is not installed')
    program = armed('glibc', 'none')
    tool = world.stopexec('run', '--at', 'main', '--exec', '2', 'sudo', '-n', program,
                          stdout=subprocess.PIPE, text=True)
    process = tool.stopped()
    assert process.program == str(program) and process.state == 'T'
    output, status = finish(world, tool, process)
    assert output.startswith('uid 0 0 0') and status == 7


@pytest.mark.parametrize('how', ['cont', 'signal', 'time', 'killed'])
def test_sudo_goes_on_with_what_it_waits_for(world, armed, how):
    """It stops itself while that is stopped."""
    if not shutil.which('sudo'):
        pytest.skip('sudo is not installed')
    program = armed('glibc', 'none')
    tool = world.stopexec('run', *([] if how in ('signal', 'killed') else ['--leave']), '--timeout', 2 if how == 'time' else 30,
                          '--exec', '2', 'sudo', '-n', f'--preserve-env={world.mark.split("=")[0]}', program,
                          stdout=subprocess.DEVNULL)
    process = tool.stopped()
    until(lambda: [pid for pid in world.mine() if pid != process.pid and Process(pid).state == 'T'],
          what='the stop of sudo')
    if how == 'killed':
        tool.popen.kill()
    if how == 'signal':
        os.kill(process.pid, signal.SIGCONT)
    assert tool.wait() == {'signal': 7, 'killed': -signal.SIGKILL}.get(how, 0)
    if how == 'cont':
        assert world.call('cont', process.pid).returncode == 0
    until(lambda: process.state == 'gone' and not world.mine(), what='the end of all')


def test_killed_while_it_follows(world, armed):
    """What it followed runs on by itself."""
    program = armed('glibc', 'suid')
    tool = run(world, '--exec', 100, 'sh', '-c', f'sleep 0.3 & {program}; wait; {program}; exit 4')
    until(lambda: len(world.mine()) > 4, what='the start')
    tool.popen.kill()
    assert tool.popen.communicate(timeout=10)[0].count('arguments 1') == 2


def test_keeps_what_is_the_users(world, folder):
    where = folder / 'where'
    where.mkdir(exist_ok=True)
    tool = run(world, '--env', 'COLOUR=blue', 'sh', '-c',
               'echo $COLOUR; pwd; id -u; ulimit -n; umask', cwd=where,
               preexec_fn=lambda: os.umask(0o027))
    output, status = finish(world, tool, tool.stopped())
    lines = output.split()
    assert lines[:3] == ['blue', str(where), str(USER)] and lines[4] == '0027' and status == 0


def test_where_its_caller_ignores_the_end_of_children(world):
    ignore = {'preexec_fn': lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN), 'restore_signals': False}
    done = world.call('run', '--timeout', 1, 'sh', '-c', 'exit 7', **ignore)
    assert done.returncode == 7 and 'is stopped at its first instruction' in done.stderr


@pytest.mark.parametrize('words, sentence', [
    (['--at', 'main', '--env', 'LD_PRELOAD={1}', '{0}'], 'did not come to the stop point in time'),
    (['--exec', 2, 'sh', '-c', 'echo Sending SIGSTOP >&2; kill -STOP $$; exec {0}'],
     'could not be followed to its start'),
], ids=['before main', 'before the second exec'])
@pytest.mark.parametrize('goes_on', [True, False], ids=['goes on', 'stays'])
def test_stopped_on_the_way(world, armed, words, sentence, goes_on):
    """Who is stopped by somebody else stays so, as without us, until somebody lets it go on."""
    program = armed('glibc', 'none')
    stop = BUILD / 'src/stopexec/stop.so'
    tool = run(world, '--timeout', 30 if goes_on else 1, *(str(word).format(program, stop) for word in words))
    if not goes_on:
        assert tool.wait() == 1 and sentence in tool.said
        return

    until(lambda: 'Sending SIGSTOP' in tool.said, what='the word before')
    pid = until(lambda: next((pid for pid in world.mine() if Process(pid).state in 'Tt'), None), what='the stop')
    os.kill(pid, signal.SIGCONT)
    assert finish(world, tool, tool.stopped())[1] == 7


def test_end_by_signal(world):
    tool = run(world, 'sh', '-c', 'kill -TERM $$')
    assert finish(world, tool, tool.stopped())[1] == 128 + signal.SIGTERM


def test_goes_on_when_the_time_is_up(world, armed):
    tool = run(world, '--timeout', 1, armed('glibc', 'suid'))
    assert tool.wait(10) == 7


def test_a_signal_for_us_is_for_the_program(world):
    tool = run(world, 'sleep', '60')
    tool.stopped()
    tool.popen.terminate()
    assert tool.wait(10) == 128 + signal.SIGTERM


def test_a_signal_for_us_is_for_the_program_that_runs(world):
    tool = run(world, 'sleep', '60')
    process = tool.stopped()
    until(lambda: record(process.pid), what='the record')
    os.kill(process.pid, signal.SIGCONT)
    until(lambda: not record(process.pid), what='that it is no longer held')
    tool.popen.terminate()
    assert tool.wait(10) == 128 + signal.SIGTERM


def test_tells_why_privileges_are_missing(world, armed):
    tool = world.stopexec('run', '-u', USER, 'setpriv', '--no-new-privs', armed('glibc', 'suid'))
    tool.end()
    tool = run(world, '--exec', 2, 'setpriv', '--no-new-privs', armed('glibc', 'suid'))
    process = tool.stopped()
    until(lambda: 'privileges' in tool.said)
    assert 'no_new_privs' in tool.said
    assert finish(world, tool, process)[1] == 7


def test_unprivileged_tracer(world, armed):
    program = armed('glibc', 'suid')
    tool = world.start(world.program, 'run', '--timeout', '1', program)
    output = tool.communicate(timeout=15)[0]
    assert 'traced by a process without CAP_SYS_PTRACE' in output
    assert f'uid {USER} {USER} {USER}' in output and tool.returncode == 7


@pytest.mark.parametrize('words, sentence', [
    (['/no/such/program'], 'There is no program /no/such/program'),
    (['nosuchprogram'], 'There is no program called "nosuchprogram"'),
    (['/etc'], 'is a folder'),
    (['/etc/passwd'], 'is not executable'),
    (['-u', 'nobodyatall', 'true'], 'There is no user called "nobodyatall"'),
    (['--at', 'nosuchfunction', 'true'], 'nosuchfunction'),
])
def test_one_clear_sentence(world, words, sentence):
    done = world.call('run', *words)
    assert done.returncode == 1 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_number_of_execs(world):
    done = world.call('run', '--exec', '0', 'true')
    assert done.returncode == 2 and '--exec' in done.stderr


def test_script_without_interpreter(world, folder):
    script = folder / 'plain-text'
    script.write_text('echo hello\n')
    script.chmod(0o755)
    done = world.call('run', script)
    assert done.returncode == 1 and 'first line names an interpreter' in done.stderr


def test_enter_lets_it_go_on(world, armed):
    terminal = Terminal(world, 'run', '-u', USER, 'sh', '-c', f"'{armed('glibc', 'suid')} | cat; exit 5'")
    terminal.shows('press Enter')
    terminal.type('\n')
    assert terminal.end() == 5


def test_what_is_left_outlives_the_shells_job(world, armed):
    """With which the kernel would end what is stopped."""
    terminal = Terminal(world, 'run', '-u', USER, '--leave', armed('glibc', 'suid'), before='set -m; ',
                        behind='; echo left $?; read line')
    terminal.shows('left 0')
    process = Process(int(re.search(r'Process (\d+) is stopped', terminal.shown)[1]))
    assert process.state == 'T'
    assert world.call('cont', process.pid).returncode == 0
    terminal.shows(f'uid {USER} 0 0')
    terminal.type('\n')
    assert terminal.end() == 0


def test_in_the_background_it_waits_at_its_leisure(world):
    """What is typed there is for whatever is in the foreground, and may lie there for long."""
    terminal = Terminal(world, 'run', 'sleep', '60', before='set -m;', behind='& exec sleep 60')
    terminal.shows('by itself after')
    process = Process(int(re.search(r'^Process (\d+) is stopped', terminal.shown, re.M)[1]))
    tool = Process(int(process.status['PPid']))
    terminal.type('\n')
    terminal.shows('\n\r\n')
    waits = 'voluntary_ctxt_switches'
    before = int(tool.status[waits])
    until(lambda: int(tool.status[waits]) > before + 10, what='waiting')
    assert process.state == 'T'
    os.kill(process.pid, signal.SIGKILL)
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == 128 + signal.SIGTERM


def test_it_ends_though_the_terminal_has_stopped_its_debugger(world):
    """Which is in the background, and stopexec with it, until somebody lets that go on."""
    terminal = Terminal(world, 'run', '--gdb', '/bin/sleep', '60', before='set -m;', behind='& exec sleep 60')
    terminal.shows('is stopped at')
    process = Process(int(re.search(r'^Process (\d+) is stopped', terminal.shown, re.M)[1]))
    tool = int(process.status['PPid'])
    until(lambda: [pid for pid in world.mine() if Process(pid).state == 'T' and Process(pid).read('comm') == b'gdb\n'],
          what='the stop of gdb')
    os.kill(tool, signal.SIGTERM)
    os.kill(tool, signal.SIGCONT)
    until(lambda: Process(tool).state in ('Z', 'gone'), what='the end of stopexec')
    assert process.state == 'gone', 'what comes is for the program too'
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.end() == 128 + signal.SIGTERM


def test_a_terminal_that_hangs_up(world, armed):
    """Where that ends nobody (nohup), the program is held on; and stopexec waits at its leisure."""
    terminal = Terminal(world, 'run', '-u', USER, armed('glibc', 'suid'), before="trap '' HUP; exec")
    terminal.shows('press Enter')
    process = Process(int(re.search(r'^Process (\d+) is stopped', terminal.shown, re.M)[1]))
    os.close(terminal.master)
    waits = 'voluntary_ctxt_switches'
    tool = Process(terminal.pid)
    until(lambda: tool.status['SigIgn'][-1] in '13579bdf', what='the shell to be stopexec')
    before = int(tool.status[waits])
    until(lambda: int(tool.status[waits]) > before + 10, what='waiting')
    assert process.state == 'T' and world.call('cont', process.pid).returncode == 0
    assert os.waitstatus_to_exitcode(os.waitpid(terminal.pid, 0)[1]) == 7


def test_interrupt_at_the_terminal_ends_the_program(world):
    terminal = Terminal(world, 'run', 'sleep', '60')
    terminal.shows('press Enter')
    terminal.type('\x03')
    assert terminal.end() == 128 + signal.SIGINT


def test_the_programs_output_stays_its_own(world, armed):
    done = world.call('run', '-u', USER, '--timeout', '1', armed('glibc', 'suid'))
    assert done.stdout == world.run(armed('glibc', 'suid'))[0] and 'is stopped' in done.stderr


def test_through_sudo_the_environment_is_the_callers(world, folder):
    """What sudo does, by a shell of that name: root, another environment, SUDO_UID."""
    sudo = folder / 'sudo'
    shutil.copy('/bin/dash', sudo)
    done = subprocess.run(
        [sudo, '-c', f'env -i SUDO_UID={USER} PATH=/usr/bin {world.program} run --timeout 1 '
                     'sh -c "id -u; echo [\\$CALLER] [\\$SUDO_UID]"; true'],
        env={**world.environment, 'CALLER': 'me'}, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL, start_new_session=True, timeout=20)
    assert done.stdout == f'{USER}\n[me] []\n'


def test_tells_that_the_file_system_is_nosuid(world, armed):
    program = armed('glibc', 'suid')
    done = subprocess.run(
        ['unshare', '--mount', '--propagation', 'private', 'sh', '-c',
         f'mount --bind {program.parent} {program.parent}; '
         f'mount -o remount,bind,nosuid {program.parent}; '
         f'{world.program} run -u {USER} --timeout 1 {program}'],
        env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=20)
    assert 'mounted nosuid' in done.stderr and done.stdout.startswith(f'uid {USER} {USER}')


def test_tells_that_it_lives_in_another_user_namespace(world, armed):
    """Where the file's owner is nobody: the kernel ignores the bit."""
    program = armed('glibc', 'suid')
    words = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups', 'unshare', '--user']
    if subprocess.run([*words, 'true'], check=False).returncode != 0:
        pytest.skip('an ordinary user can make no user namespace here')
    tool = world.next(program)
    started = world.start(*words[4:], program)
    process = tool.stopped()
    until(lambda: 'privileges' in tool.said)
    assert 'NOT given: the process lives in another user namespace' in tool.said
    assert process.ids('Uid') == (USER, USER, USER)
    world.call('cont', process.pid)
    assert started.wait(10) == 7


def test_in_a_new_window_of_tmux(world, armed, folder):
    if not shutil.which('tmux'):
        pytest.skip('tmux is not installed')
    socket = folder / 'tmux'
    server = ['tmux', '-S', str(socket)]
    subprocess.run([*server, 'new-session', '-d', 'sleep 60'], env=world.environment, check=True)
    try:
        world.environment['TMUX'] = f'{socket},1,0'
        tool = run(world, '--tmux', armed('glibc', 'suid'))
        process = tool.stopped()
        until(lambda: process.status['TracerPid'] != '0', what='gdb')
        until(lambda: 'in main' in subprocess.run([*server, 'capture-pane', '-p'], text=True,
                                                  stdout=subprocess.PIPE).stdout)
        subprocess.run([*server, 'send-keys', 'detach', 'Enter', 'quit', 'Enter'], check=True)
        assert tool.wait() == 7
    finally:
        subprocess.run([*server, 'kill-server'])


def test_a_window_that_tmux_does_not_open(world, armed, folder):
    """Its server has ended meanwhile."""
    if not shutil.which('tmux'):
        pytest.skip('tmux is not installed')
    world.environment['TMUX'] = f'{folder}/no-such-socket,1,0'
    tool = run(world, '--tmux', armed('glibc', 'suid'))
    assert tool.wait() == 7 and 'stopexec: tmux did not open a window\n' in tool.said, tool.said


def test_strace_in_a_new_window_of_tmux(world, armed, folder):
    """It goes on by itself, once strace is there."""
    if not shutil.which('tmux') or not shutil.which('strace'):
        pytest.skip('tmux or strace is not installed')
    socket = folder / 'tmux-strace'
    server = ['tmux', '-S', str(socket)]
    subprocess.run([*server, 'new-session', '-d', 'sleep 60'], env=world.environment, check=True)
    try:
        world.environment['TMUX'] = f'{socket},1,0'
        tool = run(world, '--tmux', '--strace', armed('glibc', 'suid'))
        assert tool.wait() == 7
    finally:
        subprocess.run([*server, 'kill-server'])
