# SPDX-License-Identifier: MIT
import collections
import json
import os
import pathlib
import sys
import tempfile
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import spread  # noqa: E402  pylint: disable=wrong-import-position
from lab import TCX, Lab, own_bpf_file_system  # noqa: E402  pylint: disable=wrong-import-position

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))

ENGINES = os.environ.get('ENGINES', 'tc bpf' if TCX else 'tc').split()
# The engine bpf as it is without tcx, by filters at clsact: on kernels that have it a third one.
CLSACT = 'clsact'
# What portmirror chooses by itself.
AUTO = 'auto'
LOOK_FOR_LEAKS = 10


def pytest_configure(config):
    if os.geteuid() == 0:
        own_bpf_file_system()
    config.addinivalue_line('markers', 'engine(name, …): runs with these engines only')
    config.addinivalue_line('markers', 'lab(…): the arguments of the Lab that the test gets')
    config.addinivalue_line('markers', 'ordinary: runs with the ordinary build only, not with the '
                                       'sanitizers too')
    config.addinivalue_line('markers', 'sanitized: runs with the sanitizers only')
    config.addinivalue_line('markers', 'places: one failure for each place of a program')
    config.addinivalue_line('markers', 'long: takes minutes; runs only where -m names it')


def pytest_collection_modifyitems(config, items):
    if 'long' not in config.option.markexpr:
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker('long')])
        items[:] = [item for item in items if not item.get_closest_marker('long')]
    for item in items:
        marker = item.get_closest_marker('engine')
        if marker and marker.args == ('bpf',) and not TCX:
            item.add_marker(pytest.mark.skip(reason='this kernel has no tcx (Linux 6.6)'))
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason='only root can make network namespaces'))


def engines(named):
    """Those of the names that $ENGINES has too; all, where it has none of them."""
    chosen = [name for name in named if name in ENGINES or name == CLSACT]
    if not set(named) & set(ENGINES):
        chosen = named
    return list(dict.fromkeys('bpf' if name == CLSACT and not TCX else name for name in chosen))


def pytest_generate_tests(metafunc):
    """All that portmirror does by itself it does with both engines."""
    if 'engine' in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker('engine')
        metafunc.parametrize('engine', engines(marker.args) if marker else ENGINES)


@pytest.fixture
def lab(request):
    marker = request.node.get_closest_marker('lab')
    with Lab(**(marker.kwargs if marker else {})) as made:
        yield made


class Portmirror:
    """The program under test, run in a namespace, with its files below a folder of its own."""
    looked_for_leaks = collections.Counter()

    def __init__(self, namespace, root, engine=AUTO):
        self.namespace, self.root, self.engine = namespace, root, engine
        self.sessions = root / 'etc/portmirror/sessions.d'
        self.runtime_sessions = root / 'run/portmirror/sessions.d'
        self.program = os.environ.get('PORTMIRROR', BUILD / 'src/portmirror/portmirror')

    @property
    def by_tcx(self):
        """What copies hangs on no qdisc."""
        return self.engine in ('bpf', AUTO) and TCX

    def pins(self, pattern):
        return sorted(self.namespace.pins(pattern))

    @property
    def asked_for(self):
        """The engine that a session asks for."""
        return 'bpf' if self.engine == CLSACT else 'auto'

    def command(self, *arguments):
        if self.engine == CLSACT and arguments[0] == 'add' and '--engine' not in arguments:
            arguments = [*arguments, '--engine', self.asked_for]
        return [self.program, *arguments]

    def __call__(self, *arguments, status=0, **options):
        """Runs it. The exit status must be the one named (None: 0, 1 or 2); anything else is a
        crash or a sanitizer's report."""
        options.setdefault('env', {**os.environ, **self.env, **self._leaks(arguments)})
        result = self.namespace.run(*self.command(*arguments), check=False, **options)
        allowed = (0, 1, 2) if status is None else (status,)
        assert result.returncode in allowed, (
            f'portmirror {" ".join(map(str, arguments))}: exit status {result.returncode}\n'
            f'{result.stdout}{result.stderr}')
        return result

    def _leaks(self, arguments):
        """LeakSanitizer takes half of the time of a small program's: it looks when a verb is called with these options
        for the first times. (Whoever gives an environment, to let something fail, has it look each time.)"""
        words = str(arguments[:1]), *(str(word) for word in arguments if str(word).startswith('-'))
        self.looked_for_leaks[words] += 1
        often = self.looked_for_leaks[words] > LOOK_FOR_LEAKS
        return {'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'} if often else {}

    @property
    def env(self):
        # (tc: whatever must run programs hangs them at clsact)
        return {'PORTMIRROR_ROOT': str(self.root),
                'PORTMIRROR_ENGINE': 'tc' if self.engine == CLSACT else self.engine,
                'NO_COLOR': '1'}

    def json(self, *arguments, **options):
        return json.loads(self(*arguments, '--json', **options).stdout)

    def check(self, name, *options, seconds=0.5, by=()):
        """The proof as JSON, its verdict being what the exit status tells. On a busy machine it may be blind for
        lack of time: it says so, and is asked again. by: a command that runs it."""
        for _ in range(5):
            command = self.command('check', name, '--seconds', seconds, '--json', *options)
            result = self.namespace.run(*by, *command, check=False, env={**os.environ, **self.env})
            proof = json.loads(result.stdout)
            assert result.returncode == (0 if proof['verdict'] == 'whole' else 1), proof
            if proof['verdict'] != 'blind':
                break
        return proof

    def check_text(self, name, *options, seconds=0.3, status=0):
        """The same as people get to see it."""
        for _ in range(5):
            result = self('check', name, '--seconds', seconds, *options, status=None)
            if '\nblind: ' not in result.stdout:
                break
        assert result.returncode == status, result.stdout
        return result.stdout

    def popen(self, *arguments, **options):
        options.setdefault('env', {**os.environ, **self.env})
        return self.namespace.popen(*self.command(*arguments), **options)

    def preloaded(self, library='kill_after', **variables):
        """The environment in which tests/preload/kill_after.c counts, and kills; or another's."""
        return {**os.environ, **self.env, **variables,
                'LD_PRELOAD': str(BUILD / f'tests/preload/{library}.so'),
                'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'}

    def changes(self, *arguments, **options):
        """Runs it, and returns how many messages that change the kernel's state it sent."""
        counter = self.root / 'changes'
        self(*arguments, env=self.preloaded(COUNT_FILE=str(counter)), **options)
        count = int(counter.read_text()) if counter.exists() else 0
        counter.unlink(missing_ok=True)
        return count

    def moments(self, count):
        """Those of so many changes at which a test kills it, or has somebody else at work."""
        return spread(range(1, count + 1))

    def kill_at(self, count, *arguments, when='after', **options):
        """Runs it until the count-th such message, where it dies: "before" or "after" sending it."""
        env = self.preloaded(KILL_AT=str(count), KILL_WHEN=when)
        return self.namespace.run(*self.command(*arguments), check=False, env=env, **options)


@pytest.fixture
def pm(lab, tmp_path, engine):
    root = tmp_path / 'root'
    root.mkdir()
    with tempfile.TemporaryDirectory(dir='/dev/shm') as run:  # in memory, as /run is
        (root / 'run').symlink_to(run)
        yield Portmirror(lab.host, root, engine)


@pytest.fixture
def wait_until():
    """wait_until(condition): polls it until it holds, and fails after ten seconds."""
    def wait(condition, seconds=10.0):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, 'what was waited for did not happen'
            time.sleep(0.01)
    return wait
