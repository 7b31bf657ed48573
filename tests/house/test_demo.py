# SPDX-License-Identifier: MIT
"""./demo: the story holds, and nothing is left behind, however it ends."""
import pathlib
import signal
import subprocess
import tempfile
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


def leftovers():
    """What a demo could leave on this machine: namespaces, devices, folders, processes."""
    programs = []
    for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
        try:
            line = path.read_bytes().replace(b'\0', b' ')
        except OSError:
            continue
        if b'story.py' in line or b'build-demo/' in line:
            programs.append(line)
    return {
        'links': subprocess.run(['ip', '-o', 'link'], check=True, capture_output=True).stdout,
        'names': [str(path) for path in pathlib.Path('/run/netns').glob('demo-*')],
        'files': [str(path) for folder in ('/etc', '/run', '/dev/shm', tempfile.gettempdir())
                  for path in pathlib.Path(folder).glob('portmirror*')],
        'programs': sorted(programs),
    }


@pytest.fixture(autouse=True)
def nothing_left():
    before = leftovers()
    yield
    end = time.monotonic() + 5
    while leftovers() != before and time.monotonic() < end:
        time.sleep(0.05)
    assert leftovers() == before


def demo(*arguments, **options):
    return subprocess.run([TOP / 'demo', *arguments], check=False, capture_output=True, text=True,
                          timeout=300, stdin=subprocess.DEVNULL, **options)


def test_the_story_holds():
    result = demo()
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'Every frame came once' in result.stdout
    assert 'The host is as it was' in result.stdout
    assert '\033' not in result.stdout


@pytest.mark.parametrize('number, after', [
    (signal.SIGINT, 'A host with'), (signal.SIGINT, 'One command'), (signal.SIGINT, 'Now the two'),
    (signal.SIGINT, 'The proof'), (signal.SIGINT, 'portmirror rm'), (signal.SIGTERM, 'The proof'),
    (signal.SIGHUP, 'TCP in bulk')])
def test_it_can_be_interrupted(number, after):
    with subprocess.Popen([TOP / 'demo'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if after in line:
                break
        process.send_signal(number)
        process.communicate(timeout=20)
    assert process.returncode in (0, 128 + number)


def test_a_lab_to_be_kept_is_not_kept_half():
    with subprocess.Popen([TOP / 'demo', '--keep'], stdout=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if 'Now the two' in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT


def test_a_reader_that_goes_away_is_no_error_of_ours():
    result = subprocess.run(f'{TOP}/demo | head -n 1', shell=True, check=False, text=True,
                            capture_output=True, timeout=300, stdin=subprocess.DEVNULL)
    assert result.stderr == ''


def test_even_killed_it_leaves_nothing():
    with subprocess.Popen([TOP / 'demo'], stdout=subprocess.PIPE, text=True,
                          stdin=subprocess.DEVNULL) as process:
        for line in process.stdout:
            if 'The host is' in line or 'TCP' in line:
                break
        process.kill()
        process.communicate(timeout=20)


def test_a_kept_lab_works_and_is_taken_away():
    try:
        result = demo('--keep')
        assert result.returncode == 0, result.stdout + result.stderr
        assert '--clean' in result.stdout
        ping = ['ip', 'netns', 'exec', 'demo-web1', 'ping', '-c1', '-W2', '10.0.0.2']
        assert subprocess.run(ping, check=False, capture_output=True).returncode == 0
        command = ['ip', 'netns', 'exec', 'demo-host', 'env',
                   'PORTMIRROR_ROOT=/run/portmirror-demo',
                   TOP / 'build-demo/src/portmirror/portmirror', 'show', 'ids']
        assert 'vnet1' in subprocess.run(command, check=True, capture_output=True, text=True).stdout
        again = demo('--keep')
        assert again.returncode == 1 and '--clean' in again.stderr
    finally:
        assert demo('--clean').returncode == 0


def test_usage():
    assert 'Usage' in demo('--help').stdout
    wrong = demo('--fast')
    assert wrong.returncode == 2 and 'Usage' in wrong.stderr


@pytest.mark.parametrize('command', ['demo', 'check', 'bench'])
def test_an_ordinary_user_is_told_why(command):
    arguments = ['setup'] if command == 'bench' else []
    script = (TOP / command).read_bytes()
    setup = (TOP / '.ci/setup.sh').read_bytes()
    with tempfile.TemporaryDirectory() as folder:  # the tree itself may be closed to others
        copy = pathlib.Path(folder)
        copy.chmod(0o755)
        (copy / '.ci').mkdir()
        (copy / 'benchmarks').mkdir()
        for path, data in ((copy / command, script), (copy / '.ci/setup.sh', setup),
                           (copy / 'benchmarks/setup', b'')):
            path.write_bytes(data)
            path.chmod(0o755)
        result = subprocess.run([copy / command, *arguments], check=False, capture_output=True,
                                text=True, user='nobody', group='nogroup', extra_groups=[])
    assert result.returncode == 1 and result.stdout == ''
    assert result.stderr.count('\n') == 1 and 'needs root (it ' in result.stderr
