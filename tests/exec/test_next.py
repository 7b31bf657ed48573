# SPDX-License-Identifier: MIT
"""stopexec next and watch: programs that others start."""
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

import pytest

from conftest import AS_USER, KINDS, RIGHTS, USER, Process, check_rights, until


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


@pytest.mark.parametrize('words', REAL, ids=lambda words: words[0].rsplit('/', 1)[-1])
def test_real_programs(world, words):
    program = shutil.which(words[0], path=os.environ['PATH'] + ':/usr/sbin:/sbin')
    if program is None:
        pytest.skip(f'{words[0]} is not installed')
    real = pathlib.Path(program).resolve()
    mode = real.stat()
    plain = world.run(program, *words[1:])
    tool = world.next(program)
    started = world.start(program, *words[1:])
    process = tool.stopped()
    assert process.pid == started.pid and process.state == 'T'
    assert process.program == str(real)
    assert process.counter == process.first_instruction
    assert process.ids('Uid') == ((USER,) + (mode.st_uid,) * 2 if mode.st_mode & 0o4000
                                  else (USER,) * 3)
    assert process.ids('Gid') == ((USER,) + (mode.st_gid,) * 2 if mode.st_mode & 0o2000
                                  else (USER,) * 3)
    asked = subprocess.run(['getcap', real], stdout=subprocess.PIPE, text=True).stdout
    if 'cap_net_raw' in asked:
        assert int(process.status['CapPrm'], 16) & 1 << 13
    assert 'NOT given' not in tool.said
    assert ('SUDO' in tool.said) is False
    if words[0] in ('su', 'sudo'):
        assert 'Beware' in tool.said
    world.call('cont', process.pid)
    output = started.communicate(timeout=15)[0]
    assert started.returncode == plain[1]
    if words[0] != 'ping':
        assert output == plain[0]
    assert tool.wait() == 0


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


def test_busybox_static_suid(world, folder):
    busybox = shutil.which('busybox')
    if busybox is None:
        pytest.skip('busybox is not installed')
    copy = folder / 'busybox'
    shutil.copy(busybox, copy)
    copy.chmod(0o4755)
    tool = world.next(copy)
    started = world.start(copy, 'id', '-u')
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


def test_only_below_this_parent(world, armed):
    program = armed('glibc', 'suid')
    shell = world.start('sh', '-c', 'read line; ' + str(program), user=False)
    shell_in = subprocess.Popen(['sh', '-c', f'read line; {program}'], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, env=world.environment)
    shell.wait(10)
    tool = world.next('--parent', shell_in.pid, program)
    assert world.run(program)[1] == 7
    shell_in.stdin.write(b'\n')
    shell_in.stdin.close()
    world.call('cont', tool.stopped().pid)
    assert shell_in.wait(10) == 7


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


@pytest.mark.parametrize('words, sentence', [
    (['next', '/no/such/program'], 'There is no program'),
    (['next', '/etc'], 'is a folder'),
    (['next', '/lib64/ld-linux-x86-64.so.2'], 'dynamic loader'),
    (['next', '/bin/bash'], 'your own shell'),
    (['next', '--wait', '1', '/usr/bin/true'], 'Nobody started it'),
])
def test_one_clear_sentence(world, words, sentence):
    done = world.call(*words)
    assert done.returncode == 1 and sentence in done.stderr


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


def test_needs_root(world, armed):
    done = world.start(world.program, 'next', armed('glibc', 'none'))
    assert 'needs root' in done.communicate(timeout=10)[0] and done.returncode == 1


def test_its_ancestors_pass(world, armed):
    """The program that has started stopexec executes the watched one itself."""
    program = armed('glibc', 'none')
    done = subprocess.run(
        ['sh', '-c', f'{world.program} next --wait 2 {program} 2>/dev/null & sleep 0.5; exec {program}'],
        env=world.environment, stdout=subprocess.PIPE, timeout=10)
    assert done.returncode == 7
