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

from conftest import AS_USER, BUILD, TOP, Process, Terminal, USER, check_status, compile_c, until

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
    assert 'constructed 1' in started.communicate(timeout=10)[0]
    assert '$1 = 0' in gdb.stdout and '__GI_kill' in gdb.stdout, gdb.stdout


@pytest.mark.parametrize('order', ['{0}:{1}', '{1}:{0}'])
def test_runs_before_the_constructors_of_libraries(world, stop, build, folder, order):
    """Also of one that is preloaded beside it."""
    (folder / 'early.c').write_text('#include <unistd.h>\n__attribute__((constructor)) static void '
                                    'early(void) { if (write(2, "early\\n", 6)) {} }\n')
    assert compile_c(folder / 'early.c', folder / 'early.so', options=['-shared', '-fPIC'])
    started = start(world, build('glibc'), LD_PRELOAD=order.format(folder / 'early.so', stop))
    cont_when_stopped(started.pid)
    lines = started.communicate(timeout=10)[1].splitlines()
    assert lines == [f'Sending SIGSTOP to myself (pid = {started.pid})', 'early']


def test_speaks_on_the_terminal_where_there_is_one(world, stop, build):
    """And the program's output and error are its own, as in a pipe or $(…)."""
    terminal = Terminal(world, before=f'LD_PRELOAD={stop}', program=build('glibc'),
                        behind=f'>{stop}.out 2>{stop}.err; echo ended $?')
    terminal.shows('(pid = ')
    cont_when_stopped(int(until(lambda: re.search(r'pid = (\d+)\)', terminal.shown))[1]))
    terminal.shows('ended 7')
    assert terminal.end() == 0
    assert stop.with_name('stop.so.out').read_text().startswith('uid')
    assert stop.with_name('stop.so.err').read_text() == ''


def test_attach_goes_on_from_it(world, stop, build):
    """stopexec's debugger takes what the library has stopped."""
    started = start(world, build('glibc'), LD_PRELOAD=stop)
    until(lambda: Process(started.pid).state == 'T')
    done = world.call('attach', started.pid, input='tbreak main\ncontinue\ndetach\n')
    assert re.search(r'breakpoint 1, .*in main', done.stdout), done.stdout + done.stderr
    out = started.communicate(timeout=10)[0]
    assert out.startswith('uid') and started.returncode == 7


def test_children_do_not_stop(world, stop):
    started = start(world, 'sh', '-c', 'id -u; true; echo "[$LD_PRELOAD]"', LD_PRELOAD=stop)
    cont_when_stopped(started.pid)
    assert started.communicate(timeout=10)[0] == f'{USER}\n[]\n'


def test_process_1_is_told_that_it_does_not_stop(world, stop, build):
    """The kernel takes no SIGSTOP for it from within its namespace (pid_namespaces(7))."""
    ended = subprocess.run(['unshare', '--pid', '--fork', 'env', f'LD_PRELOAD={stop}', build('glibc')], text=True,
                           env=world.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    assert ended.returncode == 7 and ended.stdout.startswith('uid'), ended
    assert ended.stderr == ('Process 1 can not stop itself, the kernel ignores that: start the program below an init '
                            '(docker run --init)\n')


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


def test_the_two_lines_of_the_post_still_build_it(world, folder, build):
    """As the README and the manual have them."""
    readme = re.findall(r'^\$ (gcc .*)$', (TOP / 'README.md').read_text(), re.M)
    page = re.findall(r'^\$ (gcc .*)$', (TOP / 'man/stopexec.1').read_text().replace('\\-', '-'), re.M)
    assert len(readme) == len(page) == 2
    (folder / 'src').symlink_to(TOP / 'src')
    shutil.copy(TOP / 'src/stopexec/stop.c', folder)
    for lines in (readme, page):
        for line in lines:
            subprocess.run(line.split(), cwd=folder, check=True)
        started = start(world, build('glibc'), LD_PRELOAD=folder / 'stop.so')
        cont_when_stopped(started.pid)
        assert started.communicate(timeout=10)[1].startswith('Sending SIGSTOP')
        (folder / 'stop.so').unlink()


def test_32_bit(world, armed):
    library = LIBRARIES / 'stop32.so'
    if not library.exists():
        pytest.skip('no 32-bit stop.so was built')
    program = armed('32-bit', 'none')
    shutil.copy(library, program.parent / 'stop32.so')
    started = start(world, program, LD_PRELOAD=program.parent / 'stop32.so')
    cont_when_stopped(started.pid)
    assert started.communicate(timeout=10)[1].startswith('Sending SIGSTOP')


# The library folders and /etc as copies that vanish with the namespace.
PRIVATE = r'''
set -e
for real in /usr /etc; do
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


def test_the_posts_way_for_suid_programs(world, armed, folder):
    """Its two lines, cp and chmod u+s: for everybody then."""
    program = armed('glibc', 'suid')
    script = RUN_SUID % (USER, USER, program) + rf'''
cp {TOP}/src/stopexec/stop.c /run && cd /run
gcc -fPIC -c -o stop.o stop.c
gcc -shared -o stop.so stop.o
cp stop.so "$FOLDER"
try --clear-groups
echo SETUID
chmod u+s "$FOLDER/stop.so"
try --clear-groups
$X preload status
'''
    done = private(world, script)
    before, after = done.stdout.split('SETUID')
    assert done.returncode == 0, done.stdout
    assert 'STOPPED' not in before and f'uid {USER} 0 0' in before
    assert 'STOPPED' in after and 'Sending SIGSTOP' in after and f'uid {USER} 0 0' in after
    check_status(after, 'suid')
    assert 'for EVERYBODY' in after


@pytest.mark.parametrize('rights', ['suid', 'setgid', 'setcap'])
def test_install_is_for_one_group(world, armed, rights):
    program = armed('glibc', rights)
    script = RUN_SUID % (USER, USER, program) + r'''
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
    plain = {'suid': f'uid {USER} 0 0', 'setcap': f'uid {USER} {USER} {USER}',
             'setgid': f'gid {USER} 0 0'}[rights]
    assert plain in member and 'secure 1' in member
    stranger = text.split('STRANGER')[1].split('AFTER')[0]
    assert 'STOPPED' not in stranger and plain in stranger
    assert 'Sending' not in stranger
    assert 'is removed' in stranger and '64-bit' in stranger
    assert 'STOPPED' not in text.split('AFTER')[1]


@pytest.mark.parametrize('preparation, sentence', [
    ('chmod o+w "$FOLDER"', 'can be changed by others'),
    ('chmod o+w "$FOLDER/.."', 'can be changed by others'),
    ('chown 61001 "$FOLDER"', 'can be changed by others'),
    ('echo other > "$FOLDER/stop.so"', 'is not the stop.so of stopexec'),
    ('OPTIONS="--group users"', 'no group of its own'),
    ('OPTIONS="--group nosuchgroup"', 'There is no group'),
    ('echo "clerk:x:4242:4242::/:/bin/sh" >> /etc/passwd; echo "clerks:x:4242:" >> /etc/group\n'
     'OPTIONS="--group clerks"', 'is the primary group of a user'),
    ('mkdir /run/from; echo other > /run/from/stop.so; FROM=/run/from', 'is not the stop.so of stopexec'),
    ('FROM=/run/nowhere', '/run/nowhere/stop.so'),
    ('printf "#!/bin/sh\\nexit 1\\n" > /usr/sbin/groupadd', 'The group stopexec could not be made'),
])
def test_install_refuses(world, preparation, sentence):
    """And nothing has changed then, no group has been made."""
    done = private(world, f'{preparation}\nls -l "$FOLDER" /etc > /run/before\n'
                          '$X preload install $OPTIONS --from "$FROM" && exit 9\n'
                          'ls -l "$FOLDER" /etc | cmp - /run/before && ! getent group stopexec\n')
    assert done.returncode == 0 and sentence in done.stdout, done.stdout


def test_status_for_others_than_root(world):
    done = private(world, '$X preload install --from "$FROM"\n'
                          f'setpriv --reuid={USER} --regid={USER} --clear-groups $X preload status\n'
                          f'setpriv --reuid={USER} --regid={USER} --clear-groups $X preload remove && exit 9\n'
                          'exit 0')
    assert done.returncode == 0 and 'only root and that group can tell' in done.stdout, done.stdout
    assert 'Only root can remove' in done.stdout


def test_install_where_nothing_can_be_written(world):
    done = private(world, 'mkdir "$FOLDER/stop.so.new"; $X preload install --from "$FROM" && exit 9; exit 0')
    assert done.returncode == 0 and "stop.so.new can't be written" in done.stdout


def test_install_where_there_is_no_room(world):
    """A part of it, or nothing, fits: nothing is left, and the sentence is the true one."""
    for left in (4, 0):
        done = private(world, 'mount -t tmpfs -o size=64k,mode=755 tmpfs /usr/lib32; cp "$FOLDER/libc.so.6" /run\n'
                              'mkdir /run/there; mount --bind /run/there /usr/lib/i386-linux-gnu || true\n'
                              f'head -c {60 - left}k /dev/zero > /usr/lib32/full; ln -s /run/libc.so.6 /usr/lib32\n'
                              'mkdir /run/from; cp "$FROM/stop.so" /run/from; cp "$FROM/stop.so" /run/from/stop32.so\n'
                              '$X preload install --from /run/from || echo status $?; ls /usr/lib32\n')
        assert "/usr/lib32/stop.so can't be written: No space left on device" in done.stdout, done.stdout
        assert 'status 1\nfull\nlibc.so.6\n' in done.stdout


@pytest.mark.parametrize('kinds', [1, 2])
def test_where_there_is_only_one_kind_of_programs(world, kinds):
    """No 32-bit C library; or no compiler for the 32-bit stop.so was there."""
    done = private(world, 'for at in /usr/lib32 /usr/lib/i386-linux-gnu; do\n'
                          '[ ! -d $at ] || mount -t tmpfs -o mode=755 tmpfs $at; done; mkdir -p /usr/lib32\n'
                          + 'cp "$FOLDER/libc.so.6" /usr/lib32\n' * (kinds - 1) +
                          'mkdir /run/from; cp "$FROM/stop.so" /run/from\n' +
                          '$X preload install --from /run/from && $X preload status --json && $X preload remove')
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(') is installed') == 1 and '(64-bit) is installed' in done.stdout
    assert done.stdout.count('"kind"') == kinds and done.stdout.count('is removed') == 1


def test_status_of_what_no_suid_program_takes(world):
    done = private(world, 'echo "guards:x:4243:one,two" >> /etc/group\n'
                          'cp "$FROM/stop.so" "$FOLDER"; chgrp 4242 "$FOLDER/stop.so"; $X preload status\n'
                          'echo other > "$FOLDER/stop.so"; chgrp guards "$FOLDER/stop.so"; $X preload status\n'
                          'rm "$FOLDER/stop.so"; $X preload remove && exit 9; exit 0\n')
    assert done.returncode == 0, done.stdout
    assert 'group 4242: not set-user-ID' in done.stdout and 'No stop.so is installed' in done.stdout
    assert 'guards (one, two): not the stop.so of stopexec' in done.stdout


def test_remove_leaves_others_alone(world):
    done = private(world, 'echo other > "$FOLDER/stop.so"; $X preload remove || true; cat "$FOLDER/stop.so"')
    assert 'stays' in done.stdout and 'other' in done.stdout


def test_needs_root(world):
    done = world.start(world.program, 'preload', 'install')
    assert 'Only root' in done.communicate(timeout=10)[0] and done.returncode == 1


def test_where_the_c_library_is_gone(world, folder):
    """While stopexec runs: nothing is told of, and nothing installed."""
    library = folder / 'gone'
    library.mkdir()
    libc = re.search(r'(/\S+/libc\.so\.6)', subprocess.run(['ldd', world.program], stdout=subprocess.PIPE,
                                                            text=True).stdout).group(1)
    for words in (['status'], ['install', '--from', LIBRARIES], ['remove']):
        shutil.copy(libc, library / 'libc.so.6')
        tool = world.stopexec('run', '--at', 'main', '--env', f'LD_LIBRARY_PATH={library}', world.program, 'preload',
                              *words, stdout=subprocess.PIPE, text=True)
        process = tool.stopped()
        (library / 'libc.so.6').unlink()
        assert world.call('cont', process.pid).returncode == 0
        assert tool.popen.communicate(timeout=15)[0] == '' and tool.popen.returncode == 1
        assert tool.said.endswith("stopexec: The folder of the C library that stopexec runs with can't be found\n")
