# SPDX-License-Identifier: MIT
"""At each step of what changes the kernel and the files, a system call or an allocation fails. The program then says
so in one sentence, or does without what failed; the same command run again makes all of it whole, and rm leaves
nothing. By -m places every place of the programs that leads to such a step sees one fail, of which some do in each run
of the suite, and a mirror's all; by -m long all steps fail, on each path to them."""
import collections
import contextlib
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from conftest import BUILD
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import ALLOCATION, ERRORS, Faults  # noqa: E402  pylint: disable=wrong-import-position

PROGRAM = BUILD / 'src/portmirrord/portmirrord'
MIRROR = ['add', 'ids', '--from', 'bridge:br0', '--to', 'port:vnet2', '--isolate', '--filter', 'not arp']
INLINE = ['inline', 'ids', '--guard', 'port:vnet1', '--through', 'port:in0,port:out0', '--on-failure', 'closed',
          '--filter', 'not arp']
# (A mmap is malloc's, or a sanitizer's, which ends the process then.)
CALLS = [kind for kind in ERRORS if kind != 'mmap']
VERBS = ['make', 'bring', 'apply', 'change', 'bypass', 'restore', 'rm', 'list']
OPTIONS = os.environ.get('ASAN_OPTIONS', 'exitcode=86') + ':verify_asan_link_order=0'


class Trial:
    """One verb, in a host where the session stands as the verb needs it."""

    def __init__(self, lab, pm, folder, make, verb):
        self.lab, self.pm, self.make, self.verb = lab, pm, make, verb
        # (libpcap's scanner ends the process, in words of its own or by a crash: nothing that we could mend.)
        self.faults = Faults(folder, BUILD / 'tests/preload/fail_alloc.so', EXEMPT='libpcap')
        self.empty, self.stdin = lab.host.state(), ''
        self.arguments = {'make': make, 'bring': ['apply', '-'], 'apply': ['apply'], 'change': ['apply', '-'],
                          'list': ['list', '--json']}.get(verb, [verb, 'ids'])
        self.files_empty = self.files()
        pm(*make)
        self.text = (pm.sessions / 'ids.yaml').read_text()
        self.remove()
        self.prepared = False
        self.prepare()
        result = self.run(self.faults.watched(pm.command(*self.arguments)), leaks=False)
        assert result.returncode == 0, result.stderr
        self.said, self.output, self.steps = result.stderr, result.stdout, self.faults.steps()
        self.whole = self.shown()
        self.remove()

    def files(self):
        """What portmirror keeps, by content, so that what it has left half is seen."""
        return {path: path.read_bytes() for path in self.pm.root.rglob('*') if path.is_file() and path.name != 'lock'}

    def run(self, command, leaks=True):
        """(Nobody can look for leaks in what is traced.)"""
        env = {**os.environ, **self.pm.env, 'ASAN_OPTIONS': f'{OPTIONS}:detect_leaks={int(leaks)}'}
        return self.lab.host.run(*command, check=False, env=env, stdin=self.stdin)

    def prepare(self):
        if self.prepared:
            return
        if self.verb in ('change', 'bypass', 'rm', 'list'):
            self.pm(*self.make)
        elif self.verb in ('apply', 'restore'):
            self.pm.sessions.mkdir(parents=True, exist_ok=True)
            (self.pm.sessions / 'ids.yaml').write_text(
                self.text + ('suspended: true\n' if self.verb == 'restore' else ''))
        if self.verb == 'change':
            self.stdin = self.text.replace('not arp', 'ip')
            assert self.stdin != self.text
        if self.verb == 'bring':
            self.stdin = self.text
        self.prepared, self.before, self.files_before = True, self.lab.host.state(False), self.files()

    def remove(self):
        self.prepared = False
        self.pm('rm', '--all')
        assert self.lab.host.back_to(self.empty), 'rm left something in the kernel'
        assert self.files() == self.files_empty, 'rm left files'

    def shown(self):
        """How it stands; nothing is left to be done."""
        assert self.pm.json('apply')['done'] == [], 'something was left to be done'
        return self.pm.json('list')

    def judge(self, result, kind, line, for_good):
        """What the run in which something failed must have said, and left. True: it did all there was to do."""
        told = [line for line in result.stderr.splitlines() if line not in self.said.splitlines()]
        if result.returncode == 0:
            assert result.stderr == self.said, 'it did all, and complains'
            if self.verb == 'list' and result.stdout != self.output:
                state, = json.loads(result.stdout)
                assert state['state'] == 'failed' and state['reasons'], f'it tells something else: {state}'
            return True
        unheard = for_good and kind == 'write' and not told
        if unheard:
            told = ["portmirror: can't write the output"]  # nor the sentence
        assert result.returncode == 1 and len(told) == 1 and told[0].startswith('portmirror: ')
        assert 'Success' not in told[0] and not told[0].endswith(': ')
        if kind == 'write' and line.startswith('write(1,'):
            assert "can't write the output" in told[0]
            return True
        # (What was in a file can't be put back where nothing can be written.)
        taken_back = not (for_good and 'taking it back failed too' in told[0] or
                          unheard and self.verb in ('bypass', 'restore'))
        if self.verb in ('make', 'bypass', 'restore') and taken_back:
            assert self.lab.host.back_to(self.before, programs=False), 'it failed, and changed the kernel'
            assert self.files() == self.files_before, 'it failed, and changed files'
        return False

    def recover(self, for_good):
        """The same command, without a failure. (Of rm, all may have been done but the last look; what could not be
        taken back, or not be taken away from a destination, stands, and apply does it.)"""
        again = self.run(self.pm.command(*self.arguments))
        if for_good and again.returncode != 0:
            self.pm('apply')
        assert again.returncode == 0 or (for_good and 'already' in again.stderr) or (
            self.verb == 'rm' and 'there is no session' in again.stderr), f'again: {again.stderr}'

    def attempt(self, kind, number, for_good):
        line = self.steps[kind][number]
        self.prepare()
        result = self.run(self.faults.failing(self.pm.command(*self.arguments), kind, number, for_good),
                          leaks=kind == ALLOCATION)
        try:
            if not self.judge(result, kind, line, for_good):
                if self.files() == self.files_before and self.lab.host.state(False) == self.before:
                    return  # as if it had never been run
                self.recover(for_good)
            assert self.shown() == self.whole, 'it stands otherwise'
            self.remove()
        except AssertionError as wrong:
            raise AssertionError(f'{kind} {number}{"+" * for_good} {line}: exit status {result.returncode}, '
                                 f'{result.stderr}{wrong}') from wrong

    def sweep(self, steps, for_good=False):
        """Tries these; all that goes wrong is told at the end."""
        wrong = []
        for kind, number in steps:
            try:
                self.attempt(kind, number, for_good)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                wrong.append(re.sub(r'\n *(assert|\+).*', '', str(error)))
                self.pm('rm', '--all', status=None)
                self.prepared = False
                for path in self.files().keys() - self.files_empty.keys():
                    path.unlink()
        assert not wrong, f'{len(wrong)} went wrong:\n' + '\n'.join(wrong)

    def sweep_all(self, kinds, for_good=False):
        self.sweep(self.faults.all_of(kinds), for_good)

    def sweep_places(self, tried, every=1):
        self.sweep(self.faults.one_for_each_place(STEPS, tried[every])[::every])


STEPS = [*CALLS, ALLOCATION]
ALL = [pytest.param(kinds, for_good, id=name, marks=pytest.mark.long) for name, kinds, for_good in (
    ('calls', CALLS, False), ('calls for good', CALLS, True),
    ('allocations', [ALLOCATION], False), ('allocations for good', [ALLOCATION], True))]


EVERY = pytest.mark.parametrize('every', [
    pytest.param(4, id='some'), pytest.param(1, id='each', marks=[pytest.mark.places, pytest.mark.long])])


@pytest.fixture(name='tried', scope='module')
def make_tried():
    """The places that have had their turn, by how many of them are tried. (Fewer are left to the tests behind.)"""
    return collections.defaultdict(set)


def mirror(lab, pm, folder, verb):
    engine = ['--engine', 'tc'] if pm.engine == 'tc' else ['--engine', 'bpf', '--snap', '96']
    return Trial(lab, pm, folder, [*MIRROR, *engine], verb)


# (In one of the two builds is enough for what takes so long.)
@pytest.mark.sanitized
@pytest.mark.lab(machines=3)
@pytest.mark.engine('tc')
@pytest.mark.parametrize('verb', VERBS)
def test_each_place_of_a_mirror_by_tc(lab, pm, tmp_path, tried, verb):
    mirror(lab, pm, tmp_path, verb).sweep_places(tried)


@pytest.mark.ordinary
@pytest.mark.lab(machines=3)
@pytest.mark.engine('bpf', 'clsact')
@pytest.mark.parametrize('verb', VERBS)
def test_each_place_of_a_mirror_by_bpf(lab, pm, tmp_path, tried, verb):
    mirror(lab, pm, tmp_path, verb).sweep_places(tried)


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('kinds, for_good', ALL)
@pytest.mark.parametrize('verb', VERBS)
def test_mirror(lab, pm, tmp_path, verb, kinds, for_good):
    mirror(lab, pm, tmp_path, verb).sweep_all(kinds, for_good)


@pytest.mark.lab(machines=3)
@pytest.mark.engine('tc')
def test_an_answer_of_the_kernel_is_lost(lab, pm, tmp_path):
    """What follows asks by the same socket, which must have been read to the end."""
    mirror(lab, pm, tmp_path, 'bypass').sweep_all(['recvfrom'])


@pytest.mark.lab(machines=3)
@pytest.mark.engine('clsact')
@pytest.mark.parametrize('kinds, for_good', ALL)
@pytest.mark.parametrize('verb', VERBS)
def test_mirror_without_tcx(lab, pm, tmp_path, verb, kinds, for_good):
    mirror(lab, pm, tmp_path, verb).sweep_all(kinds, for_good)


def inline(lab, pm, folder, verb):
    lab.host.ip(*(f'link add {side}0 type veth peer name {side}1' for side in ('in', 'out')),
                *(f'link set {side}{end} up' for side in ('in', 'out') for end in (0, 1)))
    return Trial(lab, pm, folder, INLINE, verb)


@pytest.mark.sanitized
@pytest.mark.engine('bpf')
@EVERY
@pytest.mark.parametrize('verb', VERBS)
def test_each_place_of_an_inline_session(lab, pm, tmp_path, tried, verb, every):
    inline(lab, pm, tmp_path, verb).sweep_places(tried, every)


@pytest.mark.parametrize('kinds, for_good', ALL)
@pytest.mark.parametrize('verb', VERBS)
def test_inline(lab, pm, tmp_path, verb, kinds, for_good):
    inline(lab, pm, tmp_path, verb).sweep_all(kinds, for_good)


READING = [['list'], ['list', '--json'], ['show', 'ids'], ['show', 'ids', '--json'], ['ports'], ['ports', '--json'],
           ['stats'], ['stats', '--json'], ['events'], ['events', '--json'], ['export'], ['export', '--json'],
           ['tc', 'ids'], ['doctor'], ['doctor', '--json'], ['apply', '--dry-run'], ['apply', '--dry-run', '--json'],
           ['rm', 'ids', '--dry-run', '--json'],
           ['add', 'two', '--from', 'port:vnet2', '--to', 'port:ids0', '--dry-run', '--json']]


class Reading:
    """A command that changes nothing."""

    def __init__(self, lab, pm, folder, *words, lacks=''):
        self.lab, self.pm, self.command, self.before = lab, pm, pm.command(*words), lab.host.state()
        libraries = [BUILD / f'tests/preload/{name}.so' for name in ['fail_alloc', *['lacks'] * bool(lacks)]]
        self.faults = Faults(folder, ':'.join(map(str, libraries)), EXEMPT='libpcap:lacks.so', LACKS=lacks)
        self.whole = self.run(self.faults.watched(self.command), leaks=False)
        self.faults.steps()

    def run(self, command, leaks):
        env = {**os.environ, **self.pm.env, 'ASAN_OPTIONS': f'{OPTIONS}:detect_leaks={int(leaks)}'}
        return self.lab.host.run(*command, check=False, env=env)

    def is_whole(self, result):
        return (result.returncode, result.stdout, result.stderr) == (
            self.whole.returncode, self.whole.stdout, self.whole.stderr)

    def sweep(self, steps):
        wrong = []
        for kind, number in steps:
            result = self.run(self.faults.failing(self.command, kind, number), leaks=kind == ALLOCATION)
            told = result.stderr.splitlines()
            failed = result.returncode == 1 and len(told) == 1 and told[0].startswith('portmirror: ')
            # (Of a session of which a part couldn't be read, that is told; and what doctor finds wrong it exits with.)
            shown = not told and (
                result.returncode == 0 and re.search(r'memory|\bfailed\b|\bpartial\b', result.stdout) or
                result.returncode == 1 and 'doctor' in self.command and
                re.search(r'\b[1-9]\d* (error|warning)|"(error|warning)"', result.stdout))
            if not (failed or shown or self.is_whole(result)):
                wrong.append(f'{kind} {number}: {result.returncode} {result.stderr}{result.stdout}')
        assert not wrong, '\n'.join(wrong)
        assert self.lab.host.state() == self.before

    def sweep_places(self, tried, every=1, but=('ioctl',)):
        """but: of what is left out where it can't be had. (An offload counts as off then: few drivers have all.)"""
        kinds = [kind for kind in STEPS if kind not in but]
        self.sweep(self.faults.one_for_each_place(kinds, tried[every])[::every])


@pytest.mark.sanitized
@pytest.mark.engine('tc')
@pytest.mark.lab(machines=3)
@EVERY
@pytest.mark.parametrize('verb', READING, ids=' '.join)
def test_what_is_only_read(lab, pm, tmp_path, tried, verb, every):
    """Whatever fails, that is said in a sentence, and nothing is told in part."""
    pm(*MIRROR)
    pm('add', 'now', '--from', 'port:vnet1', '--to', 'port:ids0', '--runtime')
    pm.root.joinpath('run/portmirror/events').write_text(
        '{"number":1,"time":1,"kind":"repaired","session":"ids","text":"vnet1: the filter was gone"}\n')
    reading = Reading(lab, pm, tmp_path, *verb)
    assert reading.whole.stdout and not reading.whole.stderr
    reading.sweep_places(tried, every)


@pytest.mark.ordinary
@pytest.mark.engine('bpf')
def test_what_is_read_of_copies_by_bpf(lab, pm, tmp_path, tried):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--engine', 'bpf')
    lab.ping()
    reading = Reading(lab, pm, tmp_path, 'stats', '--json')
    assert re.search('"frames": *[1-9]', reading.whole.stdout)
    reading.sweep_places(tried)


def test_what_is_read_of_a_broken_session(lab, pm, tmp_path, tried):
    pm.sessions.mkdir(parents=True)
    pm.sessions.joinpath('bad.yaml').write_text('from: [port:vnet1]\nto: [port:ids0]\nfilter: no such\n')
    reading = Reading(lab, pm, tmp_path, 'list', '--json')
    assert 'no pcap filter' in reading.whole.stdout
    reading.sweep_places(tried)


class Refused(Reading):
    """By the kernel. Where it can't be taken back, that is told."""

    def __init__(self, lab, pm, folder, *words, lacks):
        pm(*words)  # so that each of the runs finds the same: what the first of all makes is there
        pm('rm', '--all')
        super().__init__(lab, pm, folder, *words, lacks=lacks)

    def run(self, command, leaks):
        result = super().run(command, leaks)
        told = 'taking it back failed too' in result.stderr
        assert not (told and 'nothing was changed' in result.stderr)
        assert told or self.lab.host.back_to(self.before), f'it changed the kernel: {result.stderr}'
        self.pm('rm', '--all')
        return result


@pytest.mark.engine('tc')
def test_what_is_refused_anyway(lab, pm, tmp_path, tried):
    add = Refused(lab, pm, tmp_path, *MIRROR, '--engine', 'tc', lacks='mirred')
    assert 'nothing was changed' in add.whole.stderr
    add.sweep_places(tried)
    pm(*MIRROR)
    lab.host.ip('link set vnet2 down', 'link set vnet2 name gone')
    check = Reading(lab, pm, tmp_path, 'check', 'ids')
    assert 'waiting' in check.whole.stderr
    check.sweep_places(tried)


@pytest.mark.engine('tc')
def test_what_cannot_be_taken_back(lab, pm, tmp_path):
    """All messages to the kernel fail from one on."""
    trial = mirror(lab, pm, tmp_path, 'make')
    trial.sweep(trial.faults.one_for_each_place(['sendto', 'sendmsg'], set()), for_good=True)


class Following(Reading):
    """A command that goes on, until it has told so many lines."""
    lines = 2

    def run(self, command, leaks):
        env = {**os.environ, **self.pm.env, 'ASAN_OPTIONS': f'{OPTIONS}:detect_leaks={int(leaks)}'}
        process = self.lab.host.popen(*command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        told = ''.join(itertools.islice(process.stdout, self.lines))
        if told.count('\n') == self.lines:
            for pid in programs_of(process.pid):
                interrupt(pid)
        more, said = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, told + more, said)

    def is_whole(self, result):
        """The numbers aside, and how often they were told; or it was about to fail when the signal came."""
        same = (result.returncode, set(words(result.stdout)), result.stderr) == (0, set(words(self.whole.stdout)), '')
        return same or result.returncode == -signal.SIGINT


def words(text):
    return re.findall('[a-z]+', text)


def programs_of(pid):
    """The process, or what strace traces in it: nothing, where that has ended."""
    name = pathlib.Path(f'/proc/{pid}/comm').read_text().strip()
    children = pathlib.Path(f'/proc/{pid}/task/{pid}/children').read_text().split()
    return map(int, children) if name == 'strace' else [pid]


def interrupt(pid):
    """As soon as it waits for that, if it comes so far."""
    def waits():
        status = dict(line.split(':\t', 1) for line in open(f'/proc/{pid}/status', encoding='utf-8'))
        return status['State'][0] == 'Z' or int(status['SigBlk'], 16) & 1 << signal.SIGINT - 1
    with contextlib.suppress(OSError):  # it has ended
        while not waits():
            time.sleep(0.002)
        os.kill(pid, signal.SIGINT)


@pytest.mark.sanitized
@pytest.mark.engine('tc')
@EVERY
@pytest.mark.parametrize('lines, verb', [(2, ['stats', '--watch=0.1', '--json']), (3, ['stats', '--watch=0.1']),
                                         (1, ['events', '--watch', '--json']), (1, ['events', '--watch'])])
def test_what_is_followed(lab, pm, tmp_path, tried, lines, verb, every, monkeypatch):
    monkeypatch.setattr(Following, 'lines', lines)
    pm(*MIRROR)
    pm.root.joinpath('run/portmirror/events').write_text(
        '{"number":1,"time":1,"kind":"repaired","session":"ids","text":"vnet1: the filter was gone"}\n')
    Following(lab, pm, tmp_path, *verb).sweep_places(tried, every)


class Checking(Reading):
    def is_whole(self, result):
        """The same in all but the numbers."""
        return result.returncode == self.whole.returncode and verdict(result) == verdict(self.whole)


def verdict(result):
    return words(result.stdout.split('\n\n')[-1])


@pytest.mark.ordinary
@pytest.mark.engine('tc')
@EVERY
def test_each_place_of_a_check(lab, pm, tmp_path, tried, every):
    pm(*MIRROR)
    Checking(lab, pm, tmp_path, 'check', 'ids', '--seconds', '1', '--probe').sweep_places(tried, every)


@pytest.mark.ordinary
@pytest.mark.engine('tc')
@EVERY
def test_each_place_of_a_look_at_an_inline_session(lab, pm, tmp_path, tried, every):
    inline(lab, pm, tmp_path, 'list').prepare()
    for verb in (['show', 'ids'], ['doctor'], ['check', 'ids', '--seconds', '1']):
        Checking(lab, pm, tmp_path, *verb).sweep_places(tried, every)


class Start:
    """portmirrord is started: it ends and says why, or soon all is as it should be."""
    # glibc's: how it ends a process itself, and what regcomp() leaks where it fails.
    ABORT = 'cannot allocate memory for thread-local data: ABORT'
    LEAKS = 'leak:posix/regcomp.c\nleak:posix/regex_internal.c\n'

    def __init__(self, lab, pm, folder, *options):
        self.lab, self.pm, self.folder = lab, pm, folder
        # (libseccomp 2.5 crashes, or loads a filter without some of its rules.)
        self.faults = Faults(folder, BUILD / 'tests/preload/fail_alloc.so',
                             EXEMPT='libpcap:libcrypto:libgnutls:libseccomp')
        (folder / 'leaks').write_text(self.LEAKS)
        self.empty = lab.host.state()
        pm(*MIRROR, *options)
        self.text, self.whole = (pm.sessions / 'ids.yaml').read_text(), pm.json('list')
        pm('rm', 'ids')
        self.prepare()
        status, said = self.run(self.faults.watched([PROGRAM]), traced=True)
        assert status == 0, said
        self.said, self.steps = said, self.faults.steps()
        self.remove()

    def prepare(self):
        (self.pm.sessions / 'ids.yaml').write_text(self.text)

    def remove(self):
        self.pm('rm', '--all')
        assert self.lab.host.back_to(self.empty), 'rm left something in the kernel'

    def run(self, command, traced=False):
        """Until it ends, or all is whole and it is told to end: its exit status, and what it said."""
        env = {**os.environ, **self.pm.env, 'ASAN_OPTIONS': f'{OPTIONS}:detect_leaks={int(not traced)}',
               'LSAN_OPTIONS': f'suppressions={self.folder}/leaks:print_suppressions=0'}
        with open(self.folder / 'said', 'w+') as said:
            process = self.lab.host.popen(*command, stderr=said, env=env)
            end = time.monotonic() + 40  # what could not be read is looked for twice a minute
            while process.poll() is None and self.pm.json('list') != self.whole and time.monotonic() < end:
                time.sleep(0.02)
            if process.poll() is None:
                late = self.pm.json('list') != self.whole
                children = pathlib.Path(f'/proc/{process.pid}/task/{process.pid}/children')
                os.kill(int(children.read_text().split()[0]) if traced else process.pid, signal.SIGTERM)
                try:
                    process.wait(20)
                finally:
                    process.kill()
                assert not late, 'it runs, and does not do its work'
            said.seek(0)
            return process.returncode, said.read()

    def attempt(self, kind, number):
        self.prepare()
        said = status = ''
        try:
            status, said = self.run(self.faults.failing([PROGRAM], kind, number), traced=kind != ALLOCATION)
            told = [line for line in said.splitlines() if line not in [*self.said.splitlines(), self.ABORT]]
            assert all(line.startswith('portmirrord: ') and not line.endswith(': ') for line in told), 'no sentence'
            if status != 0:
                assert status == 1 and len(told) == 1 or self.ABORT in said, 'not one sentence'
                status, said = self.run([PROGRAM])
                assert status == 0, 'the next one did not do it'
            self.remove()
        except AssertionError as wrong:
            raise AssertionError(f'{kind} {number} {self.steps[kind][number]}: {status} {said}{wrong}') from wrong

    def sweep(self, steps):
        wrong = []
        for kind, number in steps:
            try:
                self.attempt(kind, number)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                wrong.append(re.sub(r'\n *(assert|\+).*', '', str(error)))
                self.pm('rm', '--all', status=None)
        assert not wrong, f'{len(wrong)} went wrong:\n' + '\n'.join(wrong)


@pytest.mark.sanitized
@pytest.mark.engine('tc')
@EVERY
def test_each_place_of_portmirrords_start(lab, pm, tmp_path, every):
    start = Start(lab, pm, tmp_path)
    start.sweep(start.faults.one_for_each_place(STEPS, set())[::every])


@pytest.mark.ordinary
@pytest.mark.engine('bpf')
def test_portmirrord_starts_where_bpf_fails(lab, pm, tmp_path):
    start = Start(lab, pm, tmp_path, '--engine', 'bpf')
    start.sweep(start.faults.one_for_each_place(['bpf'], set()))


@pytest.mark.parametrize('kinds, for_good', [each for each in ALL if 'good' not in each.id])
def test_portmirrord_starts(lab, pm, tmp_path, kinds, for_good):
    assert not for_good
    start = Start(lab, pm, tmp_path)
    start.sweep(start.faults.all_of(kinds))
