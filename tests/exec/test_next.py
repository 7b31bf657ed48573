# SPDX-License-Identifier: MIT
"""stopexec next and watch: programs that others start."""
import contextlib
import ctypes
import json
import os
import pathlib
import pwd
import re
import select
import shutil
import signal
import subprocess
import time

import pytest

from conftest import AS_USER, KINDS, NET_RAW, RIGHTS, USER, Process, Terminal, check_rights, until


@pytest.mark.parametrize('rights', RIGHTS)
@pytest.mark.parametrize('kind', [*KINDS, 'go'])
def test_first_instruction(world, armed, kind, rights):
    program = armed(kind, rights)
    plain = world.run(program, 'word')
    tool = world.next(program)
    started = world.start(program, 'word')
    process = tool.stopped()
    assert process.pid == started.pid
    assert process.state == 'T'
    assert process.program == str(program)
    assert process.counter == process.first_instruction
    check_rights(process, rights)
    assert ('given, as the file asks' if rights != 'none' else 'asks for none') in tool.said
    assert world.call('cont', process.pid).returncode == 0
    assert (started.communicate(timeout=15)[0], started.returncode) == plain
    assert tool.wait() == 0


@pytest.mark.parametrize('point', ['entry', 'main', 'getresuid'])
@pytest.mark.parametrize('kind', ['glibc', 'glibc-stripped', 'glibc-static', 'musl', '32-bit'])
def test_points(world, armed, kind, point):
    if (kind, point) == ('32-bit', 'getresuid'):
        pytest.skip('has getresuid32')
    tool = world.next('--at', point, armed(kind, 'suid'))
    started = world.start(armed(kind, 'suid'))
    process = tool.stopped()
    check_rights(process, 'suid')
    if point == 'entry':
        assert process.counter == process.auxv(9)
    assert started.poll() is None
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0')
    assert started.returncode == 7


# Programs from Debian's packages, with words that make them do something harmless.
REAL = [
    ['su', '--version'], ['sudo', '-V'], ['passwd', '--status'], ['ping', '-c1', '127.0.0.1'],
    ['mount', '--version'], ['chsh', '--help'], ['fusermount3', '-V'], ['pkexec', '--version'],
    ['newuidmap'], ['crontab', '-l'], ['at', '-V'], ['newgrp', 'nosuchgroup'], ['gpasswd'],
    ['expiry', '-c'], ['chfn', '--help'], ['umount', '--version'], ['ssh-agent', '-k'],
    ['/usr/lib/dbus-1.0/dbus-daemon-launch-helper', 'no.such.service'],
    ['/usr/lib/openssh/ssh-keysign'], ['/usr/lib/polkit-1/polkit-agent-helper-1'],
]


def found(name):
    program = shutil.which(name, path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if program is None:
        pytest.skip(f'{name} is not installed')
    return program


def real_rights(program):
    """The user and group ids, and the permitted capabilities, that the user gets from this file."""
    file = os.stat(program)
    asked = subprocess.run(['getcap', os.path.realpath(program)], stdout=subprocess.PIPE, text=True,
                           check=True).stdout
    return ((USER,) + (file.st_uid if file.st_mode & 0o4000 else USER,) * 2,
            (USER,) + (file.st_gid if file.st_mode & 0o2000 else USER,) * 2,
            NET_RAW if 'cap_net_raw' in asked else 0)


def timeless(text):
    """Without the times that ping tells."""
    return re.sub(r'\d+\.\d+(?!\.)|\d+(?= ?ms)', 'N', text)


@pytest.mark.parametrize('words', REAL, ids=lambda words: words[0].rsplit('/', 1)[-1])
def test_real_programs(world, words):
    program = found(words[0])
    uid, gid, capabilities = real_rights(program)
    plain = world.run(program, *words[1:])
    tool = world.next(words[0] if shutil.which(words[0]) else program)
    started = world.start(program, *words[1:])
    process = tool.stopped()
    assert process.pid == started.pid and process.state == 'T'
    assert process.program == os.path.realpath(program)
    assert process.counter == process.first_instruction
    assert process.ids('Uid') == uid and process.ids('Gid') == gid
    assert int(process.status['CapPrm'], 16) & capabilities == capabilities
    until(lambda: 'go on' in tool.said)
    asks = uid[1] != USER or gid[1] != USER or capabilities
    assert ('given, as the file asks' if asks else 'asks for none') in tool.said
    world.call('cont', process.pid)
    output = started.communicate(timeout=15)[0]
    assert started.returncode == plain[1]
    assert timeless(output) == timeless(plain[0])
    assert tool.wait() == 0


def test_beware_of_sudo_and_su(world):
    """In a PID namespace, where no root shell is open on a terminal, and where one is."""
    def said(words):
        return subprocess.run(['unshare', '--pid', '--fork', '--mount-proc', *words], text=True, timeout=20,
                              env=world.environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE,
                              check=False).stdout
    for program in ('su', 'sudo'):
        assert f'Beware: while {found(program)} is' in said([world.program, 'next', '--wait', '1', program])
    assert 'Beware' not in said([world.program, 'next', '--wait', '1', 'passwd'])
    # script(1) runs sh on a terminal of its own, until its input ends
    script = (f'mkfifo {world.folder}/fifo; script -qc "sh -c \'echo open >&2; read line; exit\'" /dev/null '
              f'< {world.folder}/fifo > {world.folder}/open & exec 9> {world.folder}/fifo; '
              f'until grep -q open {world.folder}/open; do :; done; '
              f'{world.program} next --wait 1 su; exec 9>&-; wait')
    shown = said(['sh', '-c', script])
    assert 'Waiting' in shown and 'Beware' not in shown


BUS = '''<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <user>messagebus</user>
  <listen>unix:path={0}/socket</listen>
  <auth>EXTERNAL</auth>
  <standard_system_servicedirs/>
  <servicehelper>{1}</servicehelper>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="*"/><allow receive_type="*"/>
  </policy>
</busconfig>
'''
SERVICE = '[D-BUS Service]\nName=hostkit.Probe\nExec={0}\nUser=root\n'
SERVICES = '/usr/share/dbus-1/system-services'


@pytest.mark.parametrize('way', ['fanotify', 'bpf'])
def test_a_bus_starts_its_helper(world, build, folder, way):
    """A bus of our own, that starts a service on demand by its SUID helper. The service's file is
    where the helper looks for it in the mount namespace of the bus alone."""
    helper = pathlib.Path('/usr/lib/dbus-1.0/dbus-daemon-launch-helper')
    if not helper.exists() or not shutil.which('dbus-daemon'):
        pytest.skip('dbus is not installed')
    home = folder / f'bus-{way}'
    home.mkdir()
    (home / 'bus.conf').write_text(BUS.format(home, helper))
    (home / 'hostkit.Probe.service').write_text(SERVICE.format(f'{home}/service'))
    (home / 'service').write_text(f'#!/bin/sh\n{build("glibc")} > {home}/out\n')
    (home / 'service').chmod(0o755)
    bus = world.start('unshare', '--mount', '--propagation', 'private', 'sh', '-c',
                      f'mount -t tmpfs none {SERVICES} && cp {home}/*.service {SERVICES} && '
                      f'exec dbus-daemon --nofork --config-file={home}/bus.conf', user=False)
    try:
        until(lambda: (home / 'socket').exists(), what='the bus')
        tool = world.next('--by', way, helper if way == 'fanotify' else helper.name)
        caller = subprocess.Popen(
            ['dbus-send', f'--bus=unix:path={home}/socket', '--print-reply',
             '--dest=org.freedesktop.DBus', '/', 'org.freedesktop.DBus.StartServiceByName',
             'string:hostkit.Probe', 'uint32:0'], env=world.environment, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        process = tool.stopped()
        assert process.state == 'T' and process.program == str(helper)
        assert process.counter == process.first_instruction
        assert process.ids('Uid') == (pwd.getpwnam('messagebus').pw_uid, 0, 0)
        parents = [process]
        while parents[-1].pid not in (bus.pid, 1):
            parents.append(Process(int(parents[-1].status['PPid'])))
        assert parents[-1].pid == bus.pid
        assert world.call('cont', process.pid).returncode == 0
        caller.communicate(timeout=15) # in vain: the service takes no name
        until(lambda: (home / 'out').exists() and (home / 'out').read_text())
        assert (home / 'out').read_text().startswith('uid 0 0 0')
        assert tool.wait() == 0
    finally:
        bus.terminate()
        bus.wait(10)


def test_busybox_static_suid(world, suid_busybox):
    tool = world.next(suid_busybox)
    started = world.start(suid_busybox, 'id', '-u')
    process = tool.stopped()
    assert process.counter == process.first_instruction
    check_rights(process, 'suid')
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0] == f'{USER}\n'


@pytest.mark.parametrize('how', ['vfork', 'spawn', 'fexecve', 'thread', 'plain'])
def test_ways_to_execute(world, armed, execer, how):
    program = armed('glibc', 'suid')
    tool = world.next(program)
    started = world.start(execer, how, program)
    process = tool.stopped()
    assert process.state == 'T' and process.counter == process.first_instruction
    check_rights(process, 'suid')
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0')
    assert started.returncode == 7


def test_every_exec_of_itself(world, execer, armed):
    tool = world.next('--count', 3, execer)
    started = world.start(execer, 'again', armed('glibc', 'none'), '2')
    for n in (1, 2, 3):
        process = tool.stopped(n)
        assert process.pid == started.pid
        assert process.counter == process.first_instruction
        world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith('uid')
    assert tool.wait() == 0


def test_a_failed_exec_goes_on_at_once(world, build, execer, folder):
    program = build('glibc')
    broken = folder / 'broken'
    data = program.read_bytes()
    broken.write_bytes(data.replace(b'/lib64/ld-linux-x86-64.so.2', b'/lib64/no-linux-x86-64.so.2', 1))
    broken.chmod(0o755)
    tool = world.next(broken)
    started = world.start(execer, 'plain', broken)
    assert started.communicate(timeout=10)[0].startswith('execer: No such file')
    assert started.returncode == 42
    until(lambda: 'could not execute' in tool.said)
    assert tool.popen.poll() is None, 'it still waits for a real start'
    tool.popen.send_signal(signal.SIGINT)
    assert tool.wait() == 128 + signal.SIGINT


def test_script(world, folder):
    script = folder / 'hello.sh'
    script.write_text('#!/bin/sh\necho hello $$\n')
    script.chmod(0o755)
    tool = world.next(script)
    started = world.start('sh', '-c', f'{script}; exit 3')
    process = tool.stopped()
    assert os.path.basename(process.program) in ('dash', 'bash')
    assert process.counter == process.first_instruction
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0] == f'hello {process.pid}\n'


def test_an_execer_under_strace(world, armed, folder):
    program = armed('glibc', 'none')
    tool = world.next('--timeout', 2, program)
    started = world.start('strace', '-f', '-o', folder / 'trace', 'sh', '-c', f'{program}; exit 9',
                          user=False)
    process = tool.stopped()
    assert process.status['TracerPid'] != '0'
    assert process.counter == process.first_instruction
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith('uid')
    assert started.returncode == 9


def test_an_execer_under_strace_stays_before_main(world, armed, folder):
    """Where somebody else traces, stopexec can't."""
    program = armed('glibc', 'none')
    tool = world.next('--timeout', 2, '--at', 'main', program)
    started = world.start('strace', '-f', '-o', folder / 'trace', program, user=False)
    process = tool.stopped()
    assert process.counter == process.first_instruction
    assert f'stays at its first instruction: process {started.pid} traces it already' in tool.said
    world.call('cont', process.pid)
    assert started.wait(15) == 7 and tool.wait() == 0


def test_init_of_a_pid_namespace(world, armed):
    program = armed('glibc', 'none')
    tool = world.next(program)
    started = world.start('unshare', '--pid', '--fork', program, user=False)
    process = tool.stopped()
    assert process.state == 'T' and process.status['NSpid'].split()[-1] == '1'
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith('uid 0')


def test_only_this_user(world, armed):
    program = armed('glibc', 'suid')
    tool = world.next('--uid', USER, program)
    assert world.run(program, user=False)[1] == 7
    started = world.start(program)
    assert tool.stopped().pid == started.pid
    world.call('cont', started.pid)
    assert started.wait(10) == 7


def test_each_start_has_its_time_to_come(world, armed):
    """What is looked at for longer than that is no time without a start."""
    program = armed('glibc', 'none')
    tool = world.next('--count', 2, '--wait', 2, '--timeout', 3, program)
    assert world.run(program)[1] == 7
    started = world.start(program)
    assert world.call('cont', tool.stopped(2).pid).returncode == 0
    assert started.wait(10) == 7 and tool.wait() == 0


def test_only_below_this_parent(world, armed):
    program = armed('glibc', 'suid')
    shell_in = subprocess.Popen(['sh', '-c', f'read line; {program}'], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=world.environment)
    tool = world.next('--parent', shell_in.pid, program)
    assert world.run(program)[1] == 7
    shell_in.stdin.write(b'\n')
    shell_in.stdin.close()
    world.call('cont', tool.stopped().pid)
    assert shell_in.wait(10) == 7


def test_main_where_all_signals_are_blocked(world, armed):
    """What a worker thread starts inherits that."""
    program = armed('glibc', 'suid')
    tool = world.next('--at', 'main', program)
    started = world.start(program, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65)))
    process = tool.stopped()
    assert 'is stopped at main' in tool.said and process.state == 'T'
    assert world.call('cont', process.pid).returncode == 0
    assert started.wait(10) == 7


def test_leave_list_cont(world, armed):
    program = armed('glibc', 'suid')
    tool = world.next('--leave', program)
    started = world.start(program)
    assert tool.wait() == 0
    process = Process(started.pid)
    assert process.state == 'T'
    listed = world.call('list').stdout
    line = next(line for line in listed.splitlines() if str(started.pid) in line)
    assert 'stopped' in line and str(program) in line
    assert world.call('cont', started.pid).returncode == 0
    assert started.wait(10) == 7
    assert str(started.pid) not in world.call('list').stdout
    assert world.call('cont', started.pid).returncode == 1


def test_json(world, armed):
    program = armed('glibc', 'suid')
    tool = world.next('--leave', '--json', '--timeout', 50, program, stdout=subprocess.PIPE, text=True)
    started = world.start(program)
    told = json.loads(tool.popen.communicate(timeout=10)[0])
    process = Process(started.pid)
    assert told['pid'] == started.pid and told['program'] == str(program)
    assert told['uid'] == {'real': USER, 'effective': 0, 'saved': 0}
    assert told['file'] == {'setuid': 0, 'capabilities': 'none'}
    assert told['privileges'] == 'given, as the file asks' and told['capabilities'] == 'all'
    assert int(told['counter'], 16) == process.counter == process.first_instruction
    assert f'-p {started.pid}' in told['gdb'] and told['seconds_left'] == 50
    listed = [entry for entry in json.loads(world.call('list', '--json').stdout)
              if entry['pid'] == started.pid]
    left = listed[0].pop('seconds_left')
    assert 40 < left <= 50
    assert listed == [{'pid': started.pid, 'state': 'stopped', 'uid': USER, 'euid': 0,
                       'stopped_by': 'root', 'program': str(program)}]
    world.call('cont', started.pid)
    assert started.wait(10) == 7
    assert not [entry for entry in json.loads(world.call('list', '--json').stdout)
                if entry['pid'] == started.pid]
    assert world.call('next', '--json', '--gdb', program).returncode == 2


def test_json_of_a_strange_name(world, build, folder):
    program = folder / 'a "quoted" \\ näme\n'
    shutil.copy(build('glibc'), program)
    tool = world.next('--leave', '--json', program, stdout=subprocess.PIPE, text=True)
    started = world.start(program)
    told = json.loads(tool.popen.communicate(timeout=10)[0])
    assert told['program'] == str(program).replace('\n', '?')
    world.call('cont', started.pid)
    assert started.wait(10) == 7


def test_leave_ends_with_the_time(world, armed):
    tool = world.next('--leave', '--timeout', 1, armed('glibc', 'suid'))
    started = world.start(armed('glibc', 'suid'))
    assert tool.wait() == 0
    assert started.wait(10) == 7


def test_attach(world, armed):
    tool = world.next('--leave', armed('glibc', 'suid'))
    started = world.start(armed('glibc', 'suid'))
    assert tool.wait() == 0
    done = world.call('attach', started.pid, input='detach\n')
    assert 'in main' in done.stdout, done.stdout + done.stderr
    assert started.wait(10) == 7


def test_a_debugger_that_attaches_ends_the_wait(world, armed):
    tool = world.next(armed('glibc', 'suid'))
    started = world.start(armed('glibc', 'suid'))
    process = tool.stopped()
    gdb = subprocess.Popen(['gdb', '-q', '-p', str(process.pid)], stdin=subprocess.PIPE,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=world.environment)
    assert tool.wait() == 0
    gdb.communicate(f'shell kill -CONT {process.pid}\nhandle SIGSTOP SIGCONT nostop noprint nopass\n'
                    'continue\n'.encode(), timeout=20)
    assert started.wait(10) == 7


def test_watch_runs_the_command_for_each(world, armed, folder):
    program = armed('glibc', 'suid')
    out = folder / 'watched'
    tool = world.next('--exec', f'grep ^Uid: /proc/{{pid}}/status >> {out}', program, verb='watch')
    for _ in range(3):
        assert world.run(program)[1] == 7
    tool.popen.send_signal(signal.SIGINT)
    assert tool.wait() == 0
    assert out.read_text() == f'Uid:\t{USER}\t0\t0\t0\n' * 3


def test_a_replaced_file_is_watched_too(world, armed, folder, build):
    program = folder / 'replaced'
    shutil.copy(build('glibc'), program)
    tool = world.next(program)
    shutil.copy(build('glibc'), folder / 'new')
    os.rename(folder / 'new', program)

    def caught():
        started = world.start(program)
        until(lambda: started.poll() is not None or Process(started.pid).state == 'T')
        return None if started.poll() is not None else started
    started = until(caught, 5)
    assert tool.stopped().pid == started.pid
    world.call('cont', started.pid)
    assert started.wait(10) == 7


def test_a_replaced_file_is_watched_no_more(world, armed, folder, build):
    """Who still has the old one may start it."""
    program, old = folder / 'replaced-again', folder / 'replaced-old'
    shutil.copy(build('glibc'), program)
    os.link(program, old)
    tool = world.next(program)
    shutil.copy(build('glibc'), folder / 'new')
    os.rename(folder / 'new', program)

    def caught():
        started = world.start(program)
        until(lambda: started.poll() is not None or Process(started.pid).state == 'T')
        return None if started.poll() is not None else started
    tool.popen.send_signal(signal.SIGSTOP) # so that none is reported until the old one has run
    started = until(caught, 5)
    assert world.run(old)[1] == 7
    tool.popen.send_signal(signal.SIGCONT)
    assert tool.stopped().pid == started.pid
    world.call('cont', started.pid)
    assert started.wait(10) == 7


def test_a_link_in_the_place_of_the_file_is_not_followed(world, armed, folder, build):
    """Else whoever may write there has others' programs stopped."""
    program, other = folder / 'becomes-a-link', folder / 'another'
    shutil.copy(build('glibc'), program)
    shutil.copy(build('glibc'), other)
    tool = world.next('--timeout', 2, program)
    program.unlink()
    program.symlink_to(other)
    end = time.monotonic() + 2 # it looks each second
    while time.monotonic() < end:
        world.passes(tool, other)


@pytest.fixture
def container(world, folder, build):
    """A process whose root no path of the host leads to; to be used as the folder that this is."""
    if shutil.which('busybox') is None:
        pytest.skip('busybox is not installed')
    root = folder / 'container'
    (root / 'bin').mkdir(parents=True, exist_ok=True)
    inside = world.start('unshare', '--mount', '--propagation', 'private', 'sh', '-ec', f"""
mount -t tmpfs none {root} && cd {root} && mkdir bin old
cp {shutil.which('busybox')} bin/busybox && cp {build('glibc-static')} bin/inside
ln -s /bin/inside bin/link && echo '#!/bin/inside' > bin/script && chmod 755 bin/script
pivot_root . old && exec /bin/busybox sh -c '/bin/busybox umount -l /old; echo ready; exec /bin/busybox sleep 60'
""", user=False)
    assert inside.stdout.readline() == 'ready\n'
    yield pathlib.Path(f'/proc/{inside.pid}/root')
    inside.kill()
    inside.wait(10)


@pytest.mark.parametrize('name', ['inside', 'link', 'script'])
def test_a_path_in_a_container(world, container, name):
    """Also where that is a link, or a script, whose other end is only there."""
    tool = world.next(container / 'bin' / name)
    started = world.start('nsenter', '--mount', '--target', container.parent.name, f'/bin/{name}', user=False)
    process = tool.stopped()
    assert process.pid == started.pid and process.counter == process.first_instruction
    world.call('cont', process.pid)
    assert started.wait(10) == 7 and tool.wait() == 0


def test_names_are_harmless_on_a_terminal(world, build, folder):
    strange, link = folder / 'title\033]0;hello\007', folder / 'plain-link'
    shutil.copy(build('glibc'), strange)
    link.symlink_to(strange)
    tool = world.next(link)
    assert f'start {folder}/title?]0;hello?\n' in tool.said


def catcher_of(tool):
    children = pathlib.Path(f'/proc/{tool.popen.pid}/task/{tool.popen.pid}/children')
    return int(until(lambda: children.read_text().split(), what='the catcher')[0])


def test_few_descriptors_forbid_no_exec(world, build):
    """What the catcher has no descriptor for, the kernel would not let be executed."""
    program = build('glibc')
    plain, world.program = world.program, '/bin/sh'
    tool = world.stopexec('-c', f'ulimit -Sn 24; exec {plain} next {program}').ready()
    world.program = plain
    os.kill(catcher_of(tool), signal.SIGSTOP)
    started = [world.start(program) for _ in range(30)]
    until(lambda: all(Process(one.pid).state == 'D' for one in started), what='an exec that waits, by each')
    os.kill(catcher_of(tool), signal.SIGCONT)
    world.call('cont', tool.stopped().pid)
    assert {one.wait(10) for one in started} == {7}
    assert tool.wait() == 0


def hangs(program):
    """A descriptor: as long as it is open, whoever executes the program hangs, as with a slow file system; it is
    readable once somebody does."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = libc.fanotify_init(0x5, os.O_RDONLY | os.O_CLOEXEC) # FAN_CLASS_CONTENT | FAN_CLOEXEC
    assert fd >= 0 and libc.fanotify_mark(fd, 1, ctypes.c_ulong(0x40000), -1, os.fsencode(program)) == 0
    return fd


def test_it_can_be_ended_while_an_exec_hangs(world, build, folder):
    """Which it has permitted: the script's interpreter is what hangs."""
    interpreter, script = folder / 'slow-interpreter', folder / 'slow-script'
    shutil.copy(build('glibc-static'), interpreter)
    script.write_text(f'#!{interpreter}\n')
    script.chmod(0o755)
    tool, slow = world.next(script), hangs(interpreter)
    try:
        started = world.start(script)
        assert select.select([slow], [], [], 10)[0]
        tool.popen.send_signal(signal.SIGINT)
        assert tool.wait() == 128 + signal.SIGINT
    finally:
        os.close(slow)
    assert started.wait(10) == 7


@pytest.mark.parametrize('way', ['fanotify', 'bpf'])
def test_no_start_is_missed_while_it_is_busy(world, build, busy, way):
    program, many = build('glibc-static'), 400
    tool = world.next('--by', way, '--exec', busy[1], program if way == 'fanotify' else program.name, verb='watch')
    started = [world.start(program, user=False) for _ in range(many)]
    for one in started:
        until(lambda pid=one.pid: Process(pid).state in 'TZ', what='its stop')
    assert not [one for one in started if one.poll() is not None]
    tool.end()
    assert {one.wait(20) for one in started} == {7}


def guarded(world, pid):
    """Somebody holds a pidfd of it: a guardian will let it go on."""
    for owner in world.mine():
        for info in pathlib.Path(f'/proc/{owner}/fdinfo').glob('*'):
            with contextlib.suppress(OSError):
                if re.search(rf'^Pid:\t{pid}$', info.read_text(), re.M):
                    return True
    return False


def test_what_has_gone_on_meanwhile_is_left_alone(world, folder, busy):
    """Its time was up while the watch was busy; since then, somebody else may have stopped it."""
    program = folder / 'sleeps'
    shutil.copy('/bin/sleep', program)
    tool = world.next('--timeout', 1, '--exec', busy[1], program, verb='watch')
    started = [world.start(program, 60)]
    until(lambda: f'Process {started[0].pid} is stopped' in tool.said, what='the first')
    started.append(world.start(program, 60))
    until(lambda: Process(started[1].pid).state == 'T', what='the stop of the other')
    until(lambda: not guarded(world, started[1].pid), what='the end of its time, as both guardians see it')
    until(lambda: Process(started[1].pid).state == 'S', what='its sleep')
    started[1].send_signal(signal.SIGSTOP)
    until(lambda: Process(started[1].pid).state == 'T', what='the stop of somebody else')
    busy[0].write_text('\n')
    until(lambda: 'went on unseen' in tool.said, what='the next')
    assert f'Process {started[1].pid} is stopped' not in tool.said
    assert Process(started[1].pid).state == 'T'
    for one in started:
        one.kill()
        one.wait(10)


@pytest.mark.parametrize('words, sentence', [
    (['next', '/no/such/program'], 'There is no program'),
    (['next', '/proc/99999999/root/bin/sh'], 'There is no program'),
    (['next', '/proc/1/root{0}/to-itself'], "to-itself can't be read"),
    (['next', '/etc'], 'is a folder'),
    (['next', '/lib64/ld-linux-x86-64.so.2'], 'dynamic loader'),
    (['next', '/bin/bash'], 'your own shell'),
    (['next', 'nosuchprogram'], 'There is no program called "nosuchprogram"'),
    (['next', '/etc/passwd'], 'is not executable'),
    (['next', '/dev/null'], 'is not a regular file'),
    (['next', '{0}/text'], 'first line names an interpreter'),
    (['next', '{0}/no-interpreter'], 'The interpreter "/no/such/interpreter" of'),
    (['next', '--uid', 'nobodyatall', 'true'], 'There is no user called "nobodyatall"'),
    (['next', '{0}/by-fifo'], 'is neither an ELF program nor a script'),
    (['watch', '--exec', 'true', '/bin/true', '/no/such'], 'There is no program'),
    (['attach', '1'], 'Process 1 is not stopped'),
    (['attach', '99999999'], 'There is no process 99999999'),
])
def test_one_clear_sentence(world, words, sentence):
    """And nothing is left marked: see World.close()."""
    for name, text in (('text', 'echo hello\n'), ('no-interpreter', '#!/no/such/interpreter\n'),
                       ('by-fifo', f'#!{world.folder}/no-end\n')):
        (world.folder / name).write_text(text)
        (world.folder / name).chmod(0o755)
    if not (world.folder / 'to-itself').is_symlink():
        (world.folder / 'to-itself').symlink_to('to-itself')
        os.mkfifo(world.folder / 'no-end')
    done = world.call(*(word.format(world.folder) for word in words))
    assert done.returncode == 1 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize('path, sentence', [('/etc', 'is a folder'), (f'/proc/{os.getpid()}/root/etc', 'Function not implemented')],
                         ids=['of the host', 'of a container'])
def test_without_openat2(world, path, sentence):
    """As in a sandbox. What is within a container can't be named then."""
    done = subprocess.run(['strace', '-qq', '-o', '/dev/null', '-e', 'inject=openat2:error=ENOSYS', world.program,
                           'next', path], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and sentence in done.stderr


def test_gives_up_waiting(world):
    done = world.call('next', '--wait', '1', '/usr/bin/true')
    assert done.returncode == 1 and 'Nobody started it' in done.stderr


@pytest.mark.parametrize('words, sentence', [
    (['next', '--timeout', '0', 'true'], '--timeout'),
    (['next', '--count', 'x', 'true'], '--count'),
    (['next', '--gdb', '--strace', 'true'], 'Give only one of'),
    (['next', '--tmux', 'true'], 'works only in a terminal of tmux'),
    (['watch', 'true'], 'One of --gdb, --strace and --exec is needed'),
    (['watch', '--gdb', '--exec', 'true', 'true'], 'Give only one of'),
    (['next', '--json', '--gdb', 'true'], 'both want stdout'),
    (['run'], 'PROGRAM'),
    (['cont'], 'PID'),
    (['cont', 'x'], 'no process'),
    (['attach', 'x'], '"x" is no process'),
    (['nxt', 'true'], 'nxt'),
])
def test_a_wrong_command_line(world, words, sentence):
    done = world.call(*words)
    assert done.returncode == 2 and sentence in done.stderr, done.stderr


def test_enter_lets_it_go_on(world, armed):
    """On stopexec's terminal; the program is another's."""
    program = armed('glibc', 'suid')
    terminal = Terminal(world, 'next', '--count', 2, program)
    terminal.shows('Waiting')
    for n in (1, 2):
        started = world.start(program)
        terminal.shows('press Enter', n)
        assert Process(started.pid).state == 'T'
        terminal.type('\n')
        assert started.communicate(timeout=10)[0].startswith(f'uid {USER} 0 0') and started.returncode == 7
    assert terminal.end() == 0


def test_enter_is_not_offered_from_the_background(world, armed):
    program = armed('glibc', 'suid')
    terminal = Terminal(world, 'next', '--timeout', 1, program, before='set -m; ', behind=' & wait; exit 9')
    terminal.shows('Waiting')
    started = world.start(program)
    terminal.shows('by itself after 1 s')
    assert 'press Enter' not in terminal.shown
    assert started.wait(10) == 7 and terminal.end() == 9


def test_tells_that_a_tracer_took_the_privileges(world, armed, folder):
    """An ordinary user's strace, that starts a SUID program."""
    program = armed('glibc', 'suid')
    tool = world.next('--timeout', 1, program)
    (folder / 'strace').mkdir()
    os.chown(folder / 'strace', USER, USER)
    output, status = world.run('strace', '-o', folder / 'strace/log', program)
    assert output.startswith(f'uid {USER} {USER} {USER}') and status == 7
    assert 'NOT given: it was traced by a process without CAP_SYS_PTRACE\n' in tool.said


def test_a_slow_tracer_hands_the_stop_on_late(world, armed, folder):
    """Where strace hardly gets any time, the program seems to run before it is stopped for good."""
    program, idle = armed('glibc', 'suid'), ('taskset', '-c', '0', 'chrt', '-i', '0')
    tool = world.next('--timeout', 1, program)
    with subprocess.Popen(['taskset', '-c', '0', 'sh', '-c', 'while :; do :; done']) as hog:
        try:
            started = world.start(*idle, 'strace', '-o', '/dev/null', program)
            until(lambda: tool.popen.poll() is not None, 60, 'the end of stopexec')
        finally:
            hog.kill()
    assert started.communicate(timeout=30)[0].startswith(f'uid {USER} ') and started.returncode == 7
    assert 'NOT given: it was traced by a process without CAP_SYS_PTRACE\n' in tool.said


def test_nothing_is_left_marked(world, armed):
    """As the kernel tells it: fanotify groups with marks, of whoever has such a descriptor."""
    def marks():
        found = []
        for info in pathlib.Path('/proc').glob('[0-9]*/fdinfo/*'):
            try:
                found += re.findall(r'fanotify ino:(\w+)', info.read_text())
            except OSError:
                continue
        return [mark for mark in found if int(mark, 16) == program.stat().st_ino]
    program = armed('glibc', 'suid')
    tool = world.next(program)
    assert len(marks()) == 1
    tool.popen.kill()
    until(lambda: not marks(), what='the end of the mark')


def test_without_standard_streams(world, armed):
    program = armed('glibc', 'suid')
    started = subprocess.Popen(['sh', '-c', f'exec {world.program} next --timeout 1 {program} '
                                            '<&- >&- 2>&-'],
                               env=world.environment, start_new_session=True)

    def caught():
        process = world.start(program)
        until(lambda: process.poll() is not None or Process(process.pid).state == 'T')
        return process if process.poll() is None else None
    process = until(caught)
    assert process.wait(10) == 7 and started.wait(10) == 0


def test_refuses_itself(world):
    assert 'stopexec itself' in world.call('next', world.program).stderr
    self = subprocess.run(['sh', '-c', f'exec {world.program} next /proc/$$/exe'], stderr=subprocess.PIPE, text=True,
                          env=world.environment, timeout=10, check=False)
    assert 'stopexec itself' in self.stderr


def test_needs_root(world, armed):
    done = world.start(world.program, 'next', armed('glibc', 'none'))
    assert 'needs root' in done.communicate(timeout=10)[0] and done.returncode == 1


def test_its_ancestors_pass(world, armed, folder):
    """The program that has started stopexec executes the watched one itself."""
    program, said = armed('glibc', 'none'), folder / 'said-to-ancestor'
    done = subprocess.run(
        ['sh', '-c', f'{world.program} next --wait 2 {program} 2>{said} & '
                     f'until grep -q Waiting {said}; do :; done; exec {program}'],
        env=world.environment, stdout=subprocess.PIPE, timeout=10, check=False)
    assert done.returncode == 7 and 'is stopped' not in said.read_text()
