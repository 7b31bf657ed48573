# SPDX-License-Identifier: MIT
"""Built for aarch64 by Debian's cross compiler; run under qemu-user as far as that goes, and in an
emulated machine."""
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess

import pytest

import arm
from conftest import BUILD, HERE, TOP, USER, Process, check_status, until

QEMU = ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu']
CROSS = BUILD.with_name(BUILD.name + '-aarch64')


@pytest.fixture(scope='module')
def cross():
    """The folder with what was built."""
    for program in ('aarch64-linux-gnu-gcc', QEMU[0]):
        if not shutil.which(program):
            pytest.skip(f'{program} is not installed')
    if not (CROSS / 'build.ninja').exists():
        subprocess.run(['/usr/bin/meson', 'setup', CROSS, '--cross-file', HERE / 'aarch64.ini',
                        '-Dprograms=stopexec'], cwd=TOP, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(['ninja', '-C', CROSS, 'src/stopexec/stopexec', 'src/stopexec/stop.so'], check=True,
                   stdout=subprocess.DEVNULL)
    return CROSS / 'src/stopexec'


@pytest.fixture
def call(world, cross):
    def run(*words):
        return subprocess.run([*QEMU, cross / 'stopexec', *words], text=True, timeout=30, check=False,
                              env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return run


def test_it_is_built_for_aarch64(cross):
    for name in ('stopexec', 'stop.so'):
        head = (cross / name).read_bytes()[:20]
        assert head[:5] == b'\x7fELF\x02' and int.from_bytes(head[18:20], 'little') == 183


def test_what_needs_no_tracing(call):
    assert call('--version').stdout.startswith('stopexec ')
    assert isinstance(json.loads(call('list', '--json').stdout), list)
    assert json.loads(call('preload', 'status', '--json').stdout)[0]['kind'] == '64-bit'


@pytest.mark.parametrize('words, sentence', [
    (['run', '/no/such/program'], 'There is no program'),
    (['next', '/etc'], 'is a folder'),
    (['next', '/lib64/ld-linux-x86-64.so.2'], 'dynamic loader'),
    (['next', '--by', 'bpf', 'x'], 'built without BPF'),
    (['next', '/usr/bin/true'], 'no fanotify permission events'),
])
def test_one_clear_sentence(call, words, sentence):
    done = call(*words)
    assert done.returncode == 1 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_stop_so(world, cross, folder):
    program = folder / 'probe-aarch64'
    subprocess.run(['aarch64-linux-gnu-gcc', '-o', program, HERE / 'probe.c'], check=True)
    started = subprocess.Popen([*QEMU, '-E', f'LD_PRELOAD={cross}/stop.so', program],
                               env=world.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, user=USER, start_new_session=True)
    until(lambda: Process(started.pid).state == 'T', what='the stop')
    os.kill(started.pid, signal.SIGCONT)
    out, err = started.communicate(timeout=15)
    assert err == f'Sending SIGSTOP to myself (pid = {started.pid})\n'
    assert out.startswith(f'uid {USER} {USER}') and started.returncode == 7


# The rest is for a kernel with ptrace(2) and fanotify(7), which qemu-user has not: one guest for all.

LIBRARIES = pathlib.Path('/usr/aarch64-linux-gnu/lib')
LOADER = 'lib/ld-linux-aarch64.so.1'
BUILDS = {'dynamic': [], 'static': ['-static'], 'static-pie': ['-static-pie'], 'stripped': ['-s'],
          'static-stripped': ['-static', '-s']}
TWINS = {'stripped': 'dynamic', 'static-stripped': 'static'}
PASSWD = f'root::0:0::/:/bin/sh\nuser::{USER}:{USER}::/:/bin/sh\n'


@pytest.fixture(scope='module')
def probes(cross, folder):
    """The probe, built in several ways: paths by their names."""
    return {kind: compiled('probe.c', folder / f'arm-{kind}', options) for kind, options in BUILDS.items()}


def compiled(source, target, options=()):
    subprocess.run(['aarch64-linux-gnu-gcc', '-O1', '-o', target, HERE / source, *options], check=True)
    return target


@pytest.fixture(scope='module')
def guest(cross, probes, folder):
    if not shutil.which('qemu-system-aarch64'):
        pytest.skip('qemu-system-arm is not installed')
    try:
        kernel, busybox = arm.packages(TOP / 'build-guest')
    except subprocess.CalledProcessError as error:
        pytest.skip(f'Debian\'s kernel for arm64 can\'t be had: {error.output}')
    files = {'bin/stopexec': cross / 'stopexec', 'lib/stop.so': cross / 'stop.so',
             'lib/libc.so.6': LIBRARIES / 'libc.so.6', LOADER: LIBRARIES / 'ld-linux-aarch64.so.1',
             'etc/passwd': PASSWD.encode(), 'etc/group': f'user::{USER}:\n'.encode(),
             'late': compiled('late.c', folder / 'arm-late'), 'broken': probes['dynamic'].read_bytes().replace(b'/lib/ld-linux', b'/lib/no-linux', 1)}
    for kind, path in probes.items():
        files.update({f'none-{kind}': path, f'suid-{kind}': path, f'setgid-{kind}': path})
    with arm.Guest(kernel, busybox, files) as machine:
        assert machine.run('chmod 4755 /suid-*; chmod 2755 /setgid-*')[1] == 0
        yield machine


def first_instruction(file):
    return struct.unpack_from('<Q', file.read_bytes(), 24)[0]


class Stopped:
    """A process of the guest's that stopexec has stopped, as the guest's /proc shows it."""

    def __init__(self, guest, said):
        self.said = said
        self.pid = int(re.search(r'^Process (\d+) is stopped at', said, re.M)[1])
        self.status = guest.run(f'cat /proc/{self.pid}/status')[0]
        self.counter = int(guest.run(f'cat /proc/{self.pid}/syscall')[0].split()[-1], 16)
        words = guest.run(f'od -An -v -tx8 /proc/{self.pid}/auxv')[0].split()
        self.auxv = {int(key, 16): int(value, 16) for key, value in zip(words[::2], words[1::2])}

    @property
    def first(self):
        """Where its first instruction is: the loader's, or the static program's own."""
        return (self.auxv[7] + first_instruction(LIBRARIES / 'ld-linux-aarch64.so.1') if self.auxv.get(7)
                else self.auxv[9])


def next_in_guest(words):
    """The shell's command that starts it in the background, as $n, and waits until it watches. The file of what it
    says must be empty before: a background process of a busy machine may come to empty it only behind the look."""
    return f': >/run/said; stopexec next {words} 2>/run/said & n=$!; until grep -q Waiting /run/said; do :; done; '


def started(guest, how, point, program):
    """Stops the program of the user's by run, or by next, and leaves it so."""
    if how == 'run':
        said, status = guest.run(f'stopexec run --leave -u {USER} --at {point} {program} word >/run/out')
    else:
        said, status = guest.run(
            next_in_guest(f'--leave --at {point} {program}') +
            f"su user -c '{program} word; echo ended $?' >/run/out & wait $n; s=$?; cat /run/said; (exit $s)")
    assert status == 0, said
    return Stopped(guest, said)


def end(guest, process, how, rights):
    """It goes on to its end: what it says, and how it ends, are its own."""
    assert guest.run(f'stopexec cont {process.pid}') == ('', 0)
    said, _ = guest.run(f'while [ -e /proc/{process.pid} ]; do :; done; {"" if how == "run" else "wait; "}cat /run/out')
    uid = f'{USER} 0 0' if rights == 'suid' else f'{USER} {USER} {USER}'
    gid = f'{USER} 0 0' if rights == 'setgid' else f'{USER} {USER} {USER}'
    secure = int(rights != 'none')
    assert said.startswith(f'uid {uid} gid {gid} secure {secure} constructed 1 arguments 2 word\n'), said
    assert how == 'run' or said.endswith('ended 7\n')


@pytest.mark.parametrize('kind, rights', [*((kind, 'suid') for kind in BUILDS), ('dynamic', 'none'),
                                          ('static', 'setgid')])
@pytest.mark.parametrize('how', ['run', 'next'])
def test_first_instruction(guest, how, kind, rights):
    process = started(guest, how, 'first', f'/{rights}-{kind}')
    assert process.counter == process.first
    assert 'State:\tT (stopped)' in process.status and 'TracerPid:\t0\n' in process.status
    check_status(process.status, rights)
    assert ('given, as the file asks' if rights != 'none' else 'asks for none') in process.said
    end(guest, process, how, rights)


@pytest.mark.parametrize('kind', BUILDS)
@pytest.mark.parametrize('how', ['run', 'next'])
def test_points(guest, probes, how, kind):
    entry = started(guest, how, 'entry', f'/suid-{kind}')
    assert entry.counter == entry.auxv[9]
    end(guest, entry, how, 'suid')
    at_main = started(guest, how, 'main', f'/suid-{kind}')
    symbols = subprocess.run(['nm', probes[TWINS.get(kind, kind)]], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    # A static program hands __wrap_main to the C library, whose one instruction jumps to main.
    places = [int(value, 16) for value, name in re.findall(r'^(\w+) \w (main|__wrap_main)$', symbols, re.M)
              if name == 'main' or kind == 'static-stripped']
    assert any((at_main.counter - place) % 4096 == 0 for place in places)
    check_status(at_main.status, 'suid')
    end(guest, at_main, how, 'suid')


@pytest.mark.parametrize('kind', ['dynamic', 'stripped', 'static'])
def test_symbol(guest, kind):
    process = started(guest, 'run', 'getresuid', f'/suid-{kind}')
    assert 'is stopped at getresuid' in process.said and process.counter != process.first
    end(guest, process, 'run', 'suid')


def test_nobody_stays_stopped(guest):
    """By the time, after kill -9 of stopexec, and after an exec that failed."""
    assert guest.run('stopexec run --timeout 1 /none-dynamic 2>/dev/null')[1] == 7
    said, status = guest.run(
        next_in_guest('/none-dynamic') +
        '/none-dynamic & p=$!; until grep -q "T (stopped)" /proc/$p/status; do :; done; '
        'kill -9 $n; wait $p')
    assert status == 7 and said.startswith('uid 0 0 0'), said
    said, status = guest.run(
        next_in_guest('--wait 3 /broken') +
        '/broken; echo went on $?; wait $n; cat /run/said')
    assert 'went on 127' in said and 'could not execute /broken' in said


@pytest.mark.parametrize('ending, said', [
    ('wait $n', 'did not come to the stop point in time'),
    ('kill -9 $n; while grep -qs stopexec /proc/[0-9]*/comm; do :; done', ''),
])
def test_no_breakpoint_is_left(guest, ending, said):
    output, _ = guest.run(
        ': >/run/out; ' + next_in_guest('--at late --timeout 3 /late') +
        f'/late >/run/out & p=$!; until grep -q waits /run/out; do :; done; {ending}; '
        'kill -USR1 $p; wait $p; echo ended $?; cat /run/said')
    assert output.startswith('ended 7\n') and said in output


def test_stop_so_of_a_suid_program(guest):
    """As the post has it: in the library folder, set-user-ID."""
    said, status = guest.run(
        'chmod 4755 /lib/stop.so; '
        "su user -c 'LD_PRELOAD=stop.so exec /suid-dynamic' >/run/out 2>&1 & p=$!; "
        'until grep -q "T (stopped)" /proc/$p/status; do :; done; cat /proc/$p/status; kill -CONT $p; '
        'wait $p; s=$?; cat /run/out; chmod 755 /lib/stop.so; (exit $s)')
    assert status == 7 and re.search(r'^Sending SIGSTOP to myself \(pid = \d+\)$', said, re.M), said
    check_status(said, 'suid')
    assert f'uid {USER} 0 0' in said
