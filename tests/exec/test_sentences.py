# SPDX-License-Identifier: MIT
"""What is asked wrongly, or can't be done here, gets one sentence; and what a program is started as."""
import json
import os
import shutil
import subprocess

import pytest

from conftest import USER, Process, compile_c, must_run, until


@pytest.mark.parametrize('words, status, sentence', [
    (['next', '--parent', 'x', 'true'], 2, '--parent'),
    (['next', '--comm', ''], 2, '--comm wants a name'),
    (['preload', 'mend'], 2, '"mend" is none of install, remove, status'),
    (['run', '--env', '=x', 'true'], 2, '--env wants NAME=VALUE'),
    (['run', '-u', 'daemon:no-such-group', 'true'], 1, 'There is no group called "no-such-group"'),
    (['run', ''], 1, '"" is no name of a program'),
])
def test_words(world, words, status, sentence):
    done = world.call(*words)
    assert done.returncode == status and sentence in done.stderr.splitlines()[0]
    assert done.stderr.count('stopexec: ') == 1


def test_programs_that_the_kernel_would_not_load(world, build, folder):
    loop = folder / 'loop'
    loop.write_text(f'#!{loop}\n')
    loop.chmod(0o755)
    assert 'leads through too many interpreters' in world.call('run', loop).stderr
    foreign = folder / 'foreign'
    data = bytearray(build('glibc').read_bytes())
    data[18:20] = b'\xff\x7f' # e_machine
    foreign.write_bytes(data)
    foreign.chmod(0o755)
    assert 'of no format that it knows' in world.call('run', foreign).stderr


def test_a_function_that_is_chosen_at_run_time(world, build):
    done = world.call('run', '--at', 'strlen', build('glibc-static'))
    assert done.returncode == 1 and '(an IFUNC)' in done.stderr


@pytest.mark.parametrize('code, options', [
    ('for (volatile int i = 0; i < 9; i++) ; *(volatile int *)0 = 0;', []),
    ('__asm__("xor %esp, %esp; jmp 1f; .skip 64; 1: nop; hlt");', ['-m32']),
], ids=['64-bit', '32-bit, nor a stack'])
def test_a_program_without_a_main(world, folder, code, options):
    """Nor with what C programs begin with."""
    source, bare = folder / 'bare.c', folder / 'bare'
    source.write_text(f'void _start(void) {{ {code} }}\n')
    if options and not compile_c(source, bare, options=['-c', *options]):
        pytest.skip('this machine builds no 32-bit programs')
    assert compile_c(source, bare, options=['-nostdlib', '-static', '-s', *options])
    must_run(bare)
    done = world.call('run', '--at', 'main', bare)
    assert done.returncode == 1 and 'The main of process' in done.stderr and "can't be found" in done.stderr


def test_another_program_before_the_stop_point(world):
    done = world.call('run', '--timeout', 1, '--at', 'getgrouplist', 'sh', '-c', 'exec echo here')
    assert 'executed another program before it came to the stop point' in done.stderr
    assert 'is stopped at its first instruction' in done.stderr
    assert done.stdout == 'here\n' and done.returncode == 0


AROUND = ['sh', '-c', 'id -u; id -g; echo $USER $LOGNAME $HOME']


@pytest.mark.parametrize('user, group', [('daemon', 1), ('daemon:games', 60), ('daemon:4242', 4242)])
def test_a_user_with_a_name(world, user, group):
    done = world.call('run', '--timeout', 1, '-u', user, *AROUND)
    assert done.stdout == f'1\n{group}\ndaemon daemon /usr/sbin\n'


def test_the_last_setting_of_a_name_counts(world):
    done = world.call('run', '--timeout', 1, '--env', 'HOME=/a', '--env', 'HOME=/b', 'sh', '-c', 'echo $HOME')
    assert done.stdout == '/b\n'


def test_sudos_variable_without_sudo(world):
    """It may have been kept by a shell."""
    world.environment['SUDO_UID'] = str(USER)
    assert world.call('run', '--timeout', 1, 'id', '-u').stdout == f'{USER}\n'


def test_without_a_path(world):
    del world.environment['PATH']
    assert world.call('run', '--timeout', 1, 'echo', 'here').stdout == 'here\n'


def test_a_folder_of_the_path_that_is_too_long(world):
    world.environment['PATH'] = '/x' * 3000 + ':/usr/bin:/bin'
    assert subprocess.run([world.program, 'run', '--timeout', '1', 'echo', 'here'], env=world.environment, text=True,
                          stdout=subprocess.PIPE, timeout=20, check=True).stdout == 'here\n'


def test_what_a_user_stops_is_the_users(world, armed, folder):
    world.environment.pop('XDG_RUNTIME_DIR', None)
    assert 'XDG_RUNTIME_DIR is not set' in world.run(world.program, 'list')[0]
    output, status = world.run(world.program, 'run', '-u', 'daemon', 'true')
    assert status == 1 and 'Only root can start a program as another user' in output
    own = folder / 'own'
    own.mkdir()
    os.chown(own, USER, USER)
    world.environment['XDG_RUNTIME_DIR'] = str(own)
    assert 'Nothing of yours is stopped' in world.run(world.program, 'list')[0]
    left = world.start(world.program, 'run', '--leave', armed('glibc', 'none'))
    said = left.stdout.readline()
    assert 'is stopped at' in said and left.wait(10) == 0
    pid = int(said.split()[1])
    shown = world.run(world.program, 'list')[0].splitlines()[-1].split()
    assert shown[0] == str(pid) and str(USER) in shown, 'who has no name has a number'
    record = next((own / 'hostkit/stopexec').glob(f'{pid}.*'))
    record.write_text(record.read_text().replace(f' {USER} ', ' 0 '))
    assert 'was stopped by somebody else' in world.run(world.program, 'cont', pid)[0]
    assert Process(pid).state == 'T'
    record.parent.chmod(0)
    assert "can't be read" in world.run(world.program, 'list')[0]
    record.parent.chmod(0o755)
    record.write_text(record.read_text().replace(' 0 ', f' {USER} '))
    assert world.run(world.program, 'cont', pid) == ('', 0)


@pytest.mark.parametrize('options', [[], ['--json']])
def test_a_list_that_nobody_can_read(world, armed, options):
    tool = world.stopexec('run', '--leave', armed('glibc', 'none'), stdout=subprocess.DEVNULL)
    assert tool.wait() == 0
    with open('/dev/full', 'w', encoding='utf-8') as full:
        done = subprocess.run([world.program, 'list', *options], env=world.environment, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=10, check=False)
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and 'No space left' in done.stderr
    assert world.call('cont', tool.stopped().pid).returncode == 0


def test_a_list_tells_who_traces(world, armed, folder):
    if not shutil.which('strace'):
        pytest.skip('strace is not installed')
    tool = world.stopexec('run', '--leave', armed('glibc', 'none'), stdout=subprocess.DEVNULL)
    assert tool.wait() == 0
    process = tool.stopped()
    strace = world.start('strace', '-o', folder / 'traced', '-p', process.pid, user=False)
    until(lambda: process.status['TracerPid'] == str(strace.pid), what='the tracing')
    assert f'traced by {strace.pid}' in world.call('list').stdout
    row = next(row for row in json.loads(world.call('list', '--json').stdout) if row['pid'] == process.pid)
    assert row['state'] == 'traced' and row['tracer'] == strace.pid
    assert world.call('cont', process.pid).returncode == 0
    assert strace.wait(10) == 0


def test_attach_where_somebody_traces(world, folder):
    if not shutil.which('strace'):
        pytest.skip('strace is not installed')
    sleeper = world.start('sleep', 30)
    strace = world.start('strace', '-o', folder / 'traced', '-p', sleeper.pid, user=False)
    until(lambda: Process(sleeper.pid).status['TracerPid'] == str(strace.pid), what='the tracing')
    done = world.call('attach', sleeper.pid)
    assert done.returncode == 1 and f'is already traced, by process {strace.pid}' in done.stderr
    sleeper.kill()
    strace.wait(10)
