# SPDX-License-Identifier: MIT
"""stop.so, and putting it in place: in a mount namespace of the test's own, over tmpfs folders, so
that the system stays as it is."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess

import pytest

from conftest import AS_USER, BUILD, HERE, Process, USER, check_status, until

LIBRARIES = pathlib.Path(os.environ.get('STOPEXEC_LIBRARIES', BUILD / 'src/stopexec'))
STOP = LIBRARIES / 'stop.so'


@pytest.fixture
def stop(folder):
    copy = folder / 'lib' / 'stop.so'
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(STOP, copy)
    return copy


def start(world, *words, **environment):
    return subprocess.Popen([*AS_USER, 'env', *(f'{k}={v}' for k, v in environment.items()),
                             *map(str, words)], env=world.environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            start_new_session=True)


def cont_when_stopped(pid):
    process = Process(pid)
    until(lambda: process.state == 'T', what='the stop')
    os.kill(pid, signal.SIGCONT)


def test_stops_and_speaks_on_stderr(world, stop, armed):
    started = start(world, armed('glibc', 'none'), LD_PRELOAD=stop)
    cont_when_stopped(started.pid)
    out, err = started.communicate(timeout=10)
    assert err == f'Sending SIGSTOP to myself (pid = {started.pid})\n'
    assert out.startswith('uid') and started.returncode == 7


def test_runs_before_all_constructors(world, stop, armed):
    started = start(world, armed('glibc', 'none'), LD_PRELOAD=stop)
    until(lambda: Process(started.pid).state == 'T')
    gdb = subprocess.run(['gdb', '-q', '-batch', '-p', str(started.pid), '-ex',
                          'print (int) constructed', '-ex', 'bt'],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    os.kill(started.pid, signal.SIGCONT)
    started.communicate(timeout=10)
    assert '$1 = 0' in gdb.stdout and 'call_init' in gdb.stdout or 'stop' in gdb.stdout


def test_children_do_not_stop(world, stop):
    started = start(world, 'sh', '-c', 'id -u; true; echo "[$LD_PRELOAD]"', LD_PRELOAD=stop)
    cont_when_stopped(started.pid)
    assert started.communicate(timeout=10)[0] == f'{USER}\n[]\n'


def test_others_in_the_list_stay(world, stop):
    other = '/usr/lib/x86_64-linux-gnu/libm.so.6'
    started = start(world, 'sh', '-c', 'echo "[$LD_PRELOAD]"', LD_PRELOAD=f'{stop}:{other}')
    cont_when_stopped(started.pid)
    assert other in started.communicate(timeout=10)[0]


def test_children_stop_when_asked(world, stop):
    started = start(world, 'sh', '-c', 'id -u; true', LD_PRELOAD=stop, STOP_CHILDREN=1)
    cont_when_stopped(started.pid)
    children = pathlib.Path(f'/proc/{started.pid}/task/{started.pid}/children')
    pids = []

    def go_on():
        if started.poll() is not None:
            return True
        for child in children.read_text().split():
            if Process(child).state == 'T':
                pids.append(child)
                os.kill(int(child), signal.SIGCONT)
        return False
    until(go_on)
    assert len(pids) == 1 and started.communicate()[0] == f'{USER}\n'


def test_the_two_lines_of_the_post_still_build_it(world, folder, armed):
    here = folder / 'by-hand'
    here.mkdir(exist_ok=True)
    shutil.copy(HERE.parents[1] / 'src/stopexec/stop.c', here)
    for line in ('gcc -fPIC -c -o stop.o stop.c', 'gcc -shared -o stop.so stop.o'):
        subprocess.run(line.split(), cwd=here, check=True)
    started = start(world, armed('glibc', 'none'), LD_PRELOAD=here / 'stop.so')
    cont_when_stopped(started.pid)
    assert started.communicate(timeout=10)[1].startswith('Sending SIGSTOP')


def test_32_bit(world, armed):
    library = LIBRARIES / 'stop32.so'
    if not library.exists():
        pytest.skip('no 32-bit stop.so was built')
    program = armed('32-bit', 'none')
    shutil.copy(library, program.parent / 'stop32.so')
    started = start(world, program, LD_PRELOAD=program.parent / 'stop32.so')
    cont_when_stopped(started.pid)
    assert started.communicate(timeout=10)[1].startswith('Sending SIGSTOP')


# The library folder and /etc as copies that vanish with the namespace.
PRIVATE = r'''
set -e
for real in "$FOLDER" /etc; do
	upper=$(mktemp -d /run/upper.XXXXXX)
	mount -t tmpfs -o mode=755 tmpfs "$upper"
	mkdir "$upper/up" "$upper/work"
	mount -t overlay -o "lowerdir=$real,upperdir=$upper/up,workdir=$upper/work" overlay "$real"
done
'''


def private(world, script):
    """Runs it as root in a mount namespace of its own, /run being private too."""
    libc = re.search(r'(/\S+)/libc\.so\.6', subprocess.run(
        ['ldd', '/bin/sh'], stdout=subprocess.PIPE, text=True).stdout).group(1)
    environment = {**world.environment, 'FOLDER': os.path.realpath(libc), 'X': world.program,
                   'FROM': str(LIBRARIES)}
    return subprocess.run(['unshare', '--mount', '--propagation', 'private', 'sh', '-c',
                           'mount -t tmpfs -o mode=755 tmpfs /run\n' + PRIVATE + script],
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, timeout=60)


RUN_SUID = r'''
try() {
	setpriv --reuid=%d --regid=%d "$@" env LD_PRELOAD=stop.so %s > /run/out 2>&1 & pid=$!
	i=0; s=
	while [ $i -lt 500 ] && [ -e /proc/$pid/stat ]; do
		s=$(cut -d' ' -f3 /proc/$pid/stat 2>/dev/null) || break
		[ "$s" = T ] && break
		[ "$s" = Z ] && break
		i=$((i+1)); sleep 0.01
	done
	[ "$s" = T ] && cat /proc/$pid/status && kill -CONT $pid && echo STOPPED
	wait $pid || true
	cat /run/out
}
'''


@pytest.mark.parametrize('rights', ['suid', 'setcap'])
def test_install_is_for_one_group(world, armed, rights):
    program = armed('glibc', rights)
    script = RUN_SUID % (USER, USER, program) + r'''
groupadd --system stopexec 2>/dev/null || true
$X preload install --from "$FROM"
stat -c '%a %U %G' "$FOLDER/stop.so"
$X preload status
$X preload status --json
echo MEMBER; try --groups=$(getent group stopexec | cut -d: -f3)
echo STRANGER; try --clear-groups
$X preload remove
$X preload status
echo AFTER; try --groups=$(getent group stopexec | cut -d: -f3)
'''
    done = private(world, script)
    text = done.stdout
    assert done.returncode == 0, text
    assert '4750 root stopexec' in text and 'Take it away' in text
    told = json.loads(re.search(r'^\[.*?\]$', text, re.M | re.S)[0])
    assert told[0]['kind'] == '64-bit' and told[0]['state'] == 'active'
    assert told[0]['mode'] == '4750' and told[0]['uid'] == 0 and told[0]['gid'] != 0
    member = text.split('MEMBER')[1].split('STRANGER')[0]
    assert 'STOPPED' in member and 'Sending SIGSTOP' in member
    check_status(member, rights)
    plain = f'uid {USER} 0 0' if rights == 'suid' else f'uid {USER} {USER} {USER}'
    assert plain in member and 'secure 1' in member
    stranger = text.split('STRANGER')[1].split('AFTER')[0]
    assert 'STOPPED' not in stranger and plain in stranger
    assert 'Sending' not in stranger
    assert 'is removed' in stranger and '64-bit' in stranger
    assert 'STOPPED' not in text.split('AFTER')[1]


@pytest.mark.parametrize('preparation, sentence', [
    ('chmod o+w "$FOLDER"', 'can be changed by others'),
    ('echo other > "$FOLDER/stop.so"', 'is not the stop.so of stopexec'),
    ('OPTIONS="--group users"', 'no group of its own'),
    ('OPTIONS="--group nosuchgroup"', 'There is no group'),
])
def test_install_refuses(world, preparation, sentence):
    done = private(world, f'groupadd --system stopexec 2>/dev/null || true; {preparation}\n'
                          '$X preload install $OPTIONS --from "$FROM" && exit 9; exit 0\n')
    assert done.returncode == 0 and sentence in done.stdout, done.stdout


def test_remove_leaves_others_alone(world):
    done = private(world, 'echo other > "$FOLDER/stop.so"; $X preload remove || true; cat "$FOLDER/stop.so"')
    assert 'stays' in done.stdout and 'other' in done.stdout


def test_needs_root(world):
    done = world.start(world.program, 'preload', 'install')
    assert 'Only root' in done.communicate(timeout=10)[0] and done.returncode == 1
