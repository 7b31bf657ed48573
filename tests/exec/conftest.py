# SPDX-License-Identifier: MIT
"""stopexec on real programs. A folder of root's on a file system that is not nosuid; users are bare
numbers, so that the system's files stay as they are; and no process may be left behind."""
import contextlib
import errno
import functools
import itertools
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import uuid

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))
HERE = pathlib.Path(__file__).resolve().parent
USER = 61001
# How many times as long as on this machine everything may take, in a guest that is emulated.
PATIENCE = int(os.environ.get('PATIENCE', 1))

# A shell starts what is in the background with this signal ignored, and stopexec would keep it so.
signal.signal(signal.SIGINT, signal.default_int_handler)

AS_USER = ['setpriv', f'--reuid={USER}', f'--regid={USER}', '--clear-groups']


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason='only root can stop the programs of others'))


def until(condition, seconds=10, what='it'):
    seconds *= PATIENCE
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'{what} did not happen within {seconds} s'
        time.sleep(0.002)


def environment_of(folder):
    """That of a process below /proc. While it executes a program it is empty for a moment; for good, where the process
    has ended, or is the kernel's."""
    for _ in range(20):
        environment = (folder / 'environ').read_bytes()
        if environment:
            return environment
        os.readlink(folder / 'exe')
        time.sleep(0.001)
    return b''


def record(pid):
    """The file by which "stopexec list" knows it, where there is one."""
    return next(pathlib.Path('/run/hostkit/stopexec').glob(f'{pid}.*'), None)


class Process:
    """A process as /proc shows it."""

    def __init__(self, pid):
        self.pid = pid

    def read(self, name):
        return pathlib.Path(f'/proc/{self.pid}/{name}').read_bytes()

    @property
    def status(self):
        return dict(line.split(':\t', 1) for line in self.read('status').decode().splitlines()
                    if ':\t' in line)

    @property
    def state(self):
        try:
            return self.status['State'][0]
        except (FileNotFoundError, ProcessLookupError):
            return 'gone'

    def all_of_it(self):
        """What tells why it is still there."""
        said = [str(self.pid)]
        for name in ('cmdline', 'stat', 'wchan', 'syscall', 'stack'):
            try:
                said.append(f'{name}: {self.read(name).decode(errors="replace").strip()}')
            except OSError as error:
                said.append(f'{name}: {error.strerror}')
        return ' '.join(said)

    def ids(self, kind):
        return tuple(int(word) for word in self.status[kind].split()[:3])

    @property
    def capabilities(self):
        return int(self.status['CapEff'], 16)

    @property
    def counter(self):
        # While a tracer takes note of its stop, it counts as running.
        words = until(lambda: [word for word in self.read('syscall').split() if word != b'running'])
        return int(words[-1], 16)

    @property
    def program(self):
        return os.readlink(f'/proc/{self.pid}/exe')

    @property
    def wide(self):
        with open(f'/proc/{self.pid}/exe', 'rb') as file:
            return file.read(5)[4] == 2

    def auxv(self, wanted):
        word = 'QQ' if self.wide else 'II'
        data = self.read('auxv')
        return dict(struct.iter_unpack('=' + word, data)).get(wanted, 0)

    @property
    def first_instruction(self):
        """The dynamic loader's entry; in a static program its own."""
        base = self.auxv(7)
        if base == 0:
            return self.auxv(9)
        for line in self.read('maps').decode().splitlines():
            if int(line.split('-')[0], 16) == base:
                loader = pathlib.Path(f'/proc/{self.pid}/root' + line.split(None, 5)[5]).read_bytes()
                offset, size = (24, '=Q') if loader[4] == 2 else (24, '=I')
                return base + struct.unpack_from(size, loader, offset)[0]
        raise AssertionError('no loader is mapped')


class Stopexec:
    """A running stopexec: what it says, and the processes that it has stopped."""

    def __init__(self, arguments, environment, log, **options):
        self.log = log
        with open(log, 'wb') as err:
            self.popen = subprocess.Popen(arguments, stderr=err, env=environment,
                                          start_new_session=True, **options)

    @property
    def said(self):
        return self.log.read_text(errors='replace')

    def stopped(self, count=1, seconds=10):
        """The last of so many processes, once they were reported."""
        def look():
            pids = re.findall(r'^Process (\d+) is stopped at', self.said, re.M)
            if len(pids) < count:
                assert self.popen.poll() is None or 'is stopped at' in self.said, self.said
                return None
            return Process(int(pids[count - 1]))
        return until(look, seconds, 'a stop')

    def ready(self):
        until(lambda: 'Waiting' in self.said or self.popen.poll() is not None, what='the watch')
        assert 'Waiting' in self.said, self.said
        return self

    def wait(self, seconds=15):
        return self.popen.wait(seconds)

    def end(self):
        if self.popen.poll() is None:
            self.popen.terminate()
            self.popen.wait(10)


class Terminal:
    """A terminal on which a shell runs stopexec, or another program, with these words, and what comes before
    and behind."""

    def __init__(self, world, *words, before='', behind='', program=None):
        command = ' '.join([before, str(program or world.program), *map(str, words), behind])
        self.shown = ''
        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve('/bin/sh', ['sh', '-c', command], world.environment)

    def read(self):
        if select.select([self.master], [], [], 0)[0]:
            with contextlib.suppress(OSError): # the other end is closed
                self.shown += os.read(self.master, 4096).decode(errors='replace')

    def shows(self, text, count=1):
        def look():
            self.read()
            return self.shown.count(text) >= count
        until(look, what=f'"{text}" on the terminal')

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self):
        """Its exit status."""
        def ended():
            self.read() # it waits for that
            return os.waitpid(self.pid, os.WNOHANG)[1:] if os.waitid(
                os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) else None
        status = until(ended, what='the end')[0]
        self.read()
        os.close(self.master)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


class World:
    """One test's: its folder, its mark in the environment of all that it starts."""

    def __init__(self, folder):
        self.folder = folder
        self.mark = f'STOPEXEC_TEST={uuid.uuid4()}'
        name, value = self.mark.split('=')
        self.environment = {**os.environ, name: value}
        for name in ('SUDO_UID', 'TMUX', 'LD_PRELOAD'):
            self.environment.pop(name, None)
        self.program = os.environ.get('STOPEXEC', str(BUILD / 'src/stopexec/stopexec'))
        self.started = []
        self.logs = itertools.count(1)  # (for threads, too)

    def stopexec(self, *arguments, **options):
        """Starts it in the background."""
        tool = Stopexec([self.program, *map(str, arguments)], self.environment,
                        self.folder / f'{os.getpid()}-{id(self)}-{next(self.logs)}.log', **options)
        self.started.append(tool)
        return tool

    @contextlib.contextmanager
    def preloaded(self, *libraries, **variables):
        """Within it a stopexec gets these libraries of tests/preload."""
        plain = self.environment
        preload = ':'.join(str(BUILD / f'tests/preload/{library}.so') for library in libraries)
        self.environment = {**plain, 'LD_PRELOAD': preload, **variables}
        try:
            yield
        finally:
            self.environment = plain

    def next(self, *arguments, verb='next', **options):
        return self.stopexec(verb, *arguments, **options).ready()

    def call(self, *arguments, **options):
        """Runs it to its end."""
        return subprocess.run([self.program, *map(str, arguments)], env=self.environment,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True, timeout=30, **options)

    def start(self, *words, user=True, **options):
        """Starts a program as the user."""
        return subprocess.Popen([*(AS_USER if user else []), *map(str, words)],
                                env=self.environment, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
                                **options)

    def run(self, *words, user=True, **options):
        done = self.start(*words, user=user, **options)
        return done.communicate(timeout=30)[0], done.returncode

    def mine(self):
        """The processes that this test has started, zombies aside."""
        found = []
        for path in pathlib.Path('/proc').glob('[0-9]*'):
            try:
                if self.mark.encode() in environment_of(path):
                    found.append(int(path.name))
            except OSError:
                continue
        return found

    def passes(self, tool, program):
        """A start of the program is none of the tool's."""
        assert self.run(program)[1] == 7
        assert 'is stopped at' not in tool.said

    def close(self):
        for tool in self.started:
            tool.end()
        left = []
        try:
            until(lambda: not self.mine(), 20, 'the end of all processes')
        finally:
            for pid in self.mine():
                left.append(Process(pid).all_of_it())
                with contextlib.suppress(ProcessLookupError):  # it may just have ended
                    os.kill(pid, signal.SIGKILL)
            assert not left, '\n'.join(left)


@pytest.fixture(scope='session')
def folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix='stopexec-', dir='/var/tmp'))
    path.chmod(0o755)
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        pytest.skip('/var/tmp is mounted nosuid')
    yield path
    shutil.rmtree(path)


@pytest.fixture
def world(folder):
    made = World(folder)
    yield made
    made.close()


@pytest.fixture(params=['the processor', 'the text'])
def breakpoints(request, world):
    """Within it a stopexec has its breakpoints there. (On a machine whose processor has none, both are in the text.)"""
    return (contextlib.nullcontext if request.param == 'the processor' else lambda: world.preloaded('no_breakpoints'))


def compile_c(source, target, compiler='gcc', options=()):
    command = [compiler, '-O1', '-o', str(target), str(source), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode == 0


def runs(program):
    """Whether the kernel runs programs of this kind: one under PVM, a hypervisor, runs none of 32 bits."""
    try:
        subprocess.run([program], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    except OSError as error:
        assert error.errno == errno.ENOEXEC, error
        return False
    return True


def must_run(program, asked=runs):
    if not asked(program):
        pytest.skip('this kernel runs no programs of this kind')


KINDS = {
    'glibc': ('gcc', []),
    'glibc-no-pie': ('gcc', ['-no-pie']),
    'glibc-static': ('gcc', ['-static']),
    'glibc-static-pie': ('gcc', ['-static-pie']),
    'glibc-stripped': ('gcc', ['-s']),
    'glibc-static-stripped': ('gcc', ['-static', '-s']),
    'musl': ('musl-gcc', []),
    'musl-static': ('musl-gcc', ['-static']),
    'musl-static-pie': ('musl-gcc', ['-static-pie']),
    'musl-stripped': ('musl-gcc', ['-s']),
    '32-bit': ('gcc', ['-m32', '-idirafter', '/usr/include/x86_64-linux-gnu']),
    '32-bit-stripped': ('gcc', ['-m32', '-s', '-idirafter', '/usr/include/x86_64-linux-gnu']),
}

GO = '''package main

import (
\t"fmt"
\t"os"
)

func main() {
\tfmt.Println("go", os.Getuid(), os.Geteuid())
\tos.Exit(7)
}
'''


@pytest.fixture(scope='session')
def build(folder):
    """build(kind): the probe of that kind, plain; skips what this machine can't build or run."""
    made, known = {}, functools.cache(runs)

    def make(kind):
        target = folder / f'probe-{os.getpid()}-{kind}' # BPF goes by names: of this run alone
        if kind == 'go':
            if not shutil.which('go'):
                return None
            (folder / 'probe.go').write_text(GO)
            done = subprocess.run(['go', 'build', '-o', target, folder / 'probe.go'], cwd=folder,
                                  env={**os.environ, 'CGO_ENABLED': '0', 'GO111MODULE': 'off',
                                       'GOCACHE': str(folder / 'gocache')})
            return target if done.returncode == 0 else None
        compiler, options = KINDS[kind]
        if not shutil.which(compiler):
            return None
        return target if compile_c(HERE / 'probe.c', target, compiler, options) else None

    def get(kind):
        if kind not in made:
            made[kind] = make(kind)
        if made[kind] is None:
            pytest.skip(f'this machine builds no {kind} programs')
        must_run(made[kind], known)
        return made[kind]

    return get


@pytest.fixture(scope='session')
def execer(folder):
    target = folder / 'execer'
    assert compile_c(HERE / 'execer.c', target, options=['-pthread'])
    return target


@pytest.fixture(scope='session')
def deny(folder):
    target = folder / 'deny'
    assert compile_c(HERE / 'deny.c', target)
    return target


@pytest.fixture
def group():
    """A control group with another in it."""
    for mount in ('/sys/fs/cgroup', '/sys/fs/cgroup/unified'):
        made = pathlib.Path(mount) / f'stopexec-{os.getpid()}'
        if not os.path.exists(f'{mount}/cgroup.procs') or not os.path.exists(
                f'{mount}/cgroup.controllers'):
            continue
        (made / 'inner').mkdir(parents=True)
        yield made
        (made / 'inner').rmdir()
        made.rmdir()
        return
    pytest.skip('no control groups of version 2 are mounted')


@pytest.fixture
def busy(world, folder):
    """A command that keeps a watch busy until somebody writes to the fifo."""
    fifo = folder / f'busy-{os.getpid()}'
    os.mkfifo(fifo)
    yield fifo, f'read line < {fifo}'
    fifo.unlink()


@pytest.fixture(scope='session')
def suid_busybox(folder):
    busybox = shutil.which('busybox')
    if busybox is None:
        pytest.skip('busybox is not installed')
    copy = folder / 'busybox'
    shutil.copy(busybox, copy)
    copy.chmod(0o4755)
    return copy


RIGHTS = ['none', 'suid', 'setgid', 'setcap']
NET_RAW = 1 << 13


@pytest.fixture(scope='session')
def armed(build, folder):
    """armed(kind, rights): a copy of the probe that asks for these privileges."""
    def make(kind, rights):
        plain = build(kind)
        target = folder / f'{plain.name}-{rights}'
        if not target.exists():
            shutil.copy(plain, target)
            os.chmod(target, 0o755)
            if rights == 'suid':
                os.chmod(target, 0o4755)
            elif rights == 'setgid':
                os.chown(target, 0, 0)
                os.chmod(target, 0o2755)
            elif rights == 'setcap':
                subprocess.run(['setcap', 'cap_net_raw+ep', target], check=True)
        return target
    return make


def rights_of(uid, gid, capabilities, rights):
    assert uid == ((USER, 0, 0) if rights == 'suid' else (USER, USER, USER))
    assert gid == ((USER, 0, 0) if rights == 'setgid' else (USER, USER, USER))
    if rights == 'suid':
        assert capabilities != 0
    else:
        assert capabilities == (NET_RAW if rights == 'setcap' else 0)


def check_rights(process, rights):
    """The process has the ids of the user, and what the file asks for."""
    rights_of(process.ids('Uid'), process.ids('Gid'), process.capabilities, rights)


def check_status(status, rights):
    """The same, from the text of /proc/PID/status."""
    uid, gid = (tuple(map(int, re.search(rf'^{kind}:\t(\d+)\t(\d+)\t(\d+)', status, re.M).groups()))
                for kind in ('Uid', 'Gid'))
    rights_of(uid, gid, int(re.search(r'^CapEff:\t(\w+)', status, re.M)[1], 16), rights)
