# SPDX-License-Identifier: MIT
"""Built for aarch64 by Debian's cross compiler, and run under qemu-user as far as that goes."""
import json
import os
import shutil
import signal
import subprocess

import pytest

from conftest import BUILD, HERE, TOP, USER, Process, until

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


def test_tracing(call):
    """Where the kernel is one that traces."""
    done = call('run', '--timeout', '1', '/usr/bin/true')
    if 'Function not implemented' in done.stderr:
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
        pytest.skip('qemu-user has neither ptrace(2) nor fanotify(7): run, --at, next and watch were built '
                    'for aarch64, and not run')
    assert done.returncode == 0 and 'is stopped at' in done.stderr
