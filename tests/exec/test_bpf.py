# SPDX-License-Identifier: MIT
"""stopexec next and watch by BPF: by name, command and control group, where a file is not enough."""
import os
import platform
import re
import shutil
import signal
import struct
import subprocess

import pytest

from conftest import AS_USER, KINDS, USER, Process, check_rights, until

CONTAINED = f'contained-{os.getpid()}'
KERNEL = tuple(map(int, platform.release().split('.')[:2]))


@pytest.fixture
def program(armed):
    return armed('glibc', 'suid')


def goes_on(world, tool, started):
    """From the stop to the program's end, as it is without us."""
    assert world.call('cont', started.pid).returncode == 0
    assert started.communicate(timeout=15)[0].startswith('uid')
    assert started.returncode == 7
    assert tool.wait() == 0


@pytest.mark.parametrize('kind', [*KINDS, 'go'])
def test_first_instruction(world, armed, kind):
    program = armed(kind, 'suid')
    plain = world.run(program, 'word')
    tool = world.next('--by', 'bpf', program.name)
    started = world.start(program, 'word')
    process = tool.stopped()
    assert process.pid == started.pid and process.state == 'T'
    assert process.program == str(program)
    assert process.counter == process.first_instruction
    check_rights(process, 'suid')
    assert 'given, as the file asks' in tool.said
    assert world.call('cont', process.pid).returncode == 0
    assert (started.communicate(timeout=15)[0], started.returncode) == plain
    assert tool.wait() == 0


@pytest.mark.parametrize('point', ['entry', 'main', 'getresuid'])
def test_points(world, program, point):
    tool = world.next('--by', 'bpf', '--at', point, program.name)
    started = world.start(program)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


@pytest.mark.parametrize('name, path', [
    ('{1}', '{0}/{1}'), ('{1}', './{1}'), ('{1}', '{1}'), ('{0}/{1}', '{0}/{1}'),
])
def test_names(world, folder, build, execer, name, path):
    """A NAME is the last part of whatever path was executed; a PATH is the whole of it."""
    own = f'named-{os.getpid()}'
    for file in (own, f'a-{own}', f'{own}-a'):
        shutil.copy(build('glibc'), folder / file)
    tool = world.next('--by', 'bpf', name.format(folder, own))
    for other in (f'a-{own}', f'{own}-a'):
        world.passes(tool, folder / other)
    started = world.start(execer, 'plain', path.format(folder, own), cwd=folder)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


def test_the_path_is_the_executed_one(world, folder, build):
    shutil.copy(build('glibc'), folder / 'probe')
    tool = world.next('--by', 'bpf', folder / 'probe')
    assert subprocess.run(['./probe'], cwd=folder, stdout=subprocess.PIPE, check=False,
                          env=world.environment).returncode == 7
    assert 'is stopped at' not in tool.said


@pytest.mark.parametrize('length', [1, 2, 7, 8, 9, 15, 16, 17, 100, 255])
def test_names_of_any_length(world, folder, build, length):
    name = 'probe' + 'x' * (length - 5) if length > 5 else 'p' * length
    shutil.copy(build('glibc'), folder / name)
    other = name[:-1] + 'y'
    shutil.copy(build('glibc'), folder / other)
    tool = world.next('--by', 'bpf', '--parent', os.getpid(), name) # not what another run calls so
    world.passes(tool, folder / other)
    started = world.start(folder / name)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


def described(kernel, structs):
    """The kernel's description of these members, each struct's in another one within, without a name: as it is
    where the kernel mixes them (CONFIG_RANDSTRUCT). See Documentation/bpf/btf.rst."""
    strings, types = b'\0', struct.pack('=IIII', 1, 1 << 24, 4, 32)  # 1: int
    strings += b'int\0'
    types += struct.pack('=IIIIII', 0, 4 << 24 | 1, 4, 1, 1, 0)  # 2: a struct in which nothing is that is looked for
    for n, (name, members) in enumerate(structs.items()):
        block = re.search(rf"^\[\d+\] STRUCT '{name}' .*((?:\n\t.*)+)", kernel, re.M)[1]
        places = [re.search(rf"\t'{member}' .* bits_offset=(\d+)", block) for member in members]
        if None in places:
            pytest.skip('this kernel itself has them in another struct')
        offsets = [int(place[1]) for place in places]
        inner = b''
        for member, offset in zip(members, offsets):
            inner += struct.pack('=III', len(strings), 1, offset - min(offsets))
            strings += member.encode() + b'\0'
        types += struct.pack('=III', 0, 4 << 24 | len(members), 4096) + inner
        types += struct.pack('=IIIIIIIII', len(strings), 4 << 24 | 2, 8192, 0, 2, 0, 0, 2 * n + 3, min(offsets))
        strings += name.encode() + b'\0'
    return struct.pack('=HBBIIIII', 0xeb9f, 1, 0, 24, 0, len(types), len(types), len(strings)) + types + strings


def test_structs_without_a_name(world, program, folder):
    kernel = subprocess.run(['bpftool', 'btf', 'dump', 'file', '/sys/kernel/btf/vmlinux'], stdout=subprocess.PIPE,
                            text=True, check=True).stdout
    (folder / 'btf').write_bytes(described(kernel, {'task_struct': ['real_parent', 'tgid'],
                                                    'linux_binprm': ['filename']}))
    own, world.program = world.program, 'unshare'
    tool = world.next('--propagation', 'private', 'sh', '-c',
                      f'mount --bind {folder}/btf /sys/kernel/btf/vmlinux && exec "$@"', 'sh',
                      own, 'next', '--by', 'bpf', '--parent', os.getpid(), program.name, verb='--mount')
    world.program = own
    started = world.start(program)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


def loader_of(program):
    words = subprocess.run(['readelf', '-l', program], stdout=subprocess.PIPE, text=True).stdout
    return words.split('interpreter: ')[1].split(']')[0]


@pytest.mark.parametrize('kind, options', [
    ('glibc', []), ('glibc', ['--library-path', '/nowhere', '--inhibit-cache']),
    ('musl', []), ('32-bit', [])])
def test_through_the_dynamic_loader(world, armed, kind, options):
    """What fanotify does not see, as nobody executes the file."""
    program = armed(kind, 'none')
    loader = loader_of(program)
    blind = world.next(program)
    tool = world.next('--by', 'bpf', program.name)
    others = [subprocess.Popen([loader, '/usr/bin/true'], stderr=subprocess.DEVNULL,
                               env=world.environment) for _ in range(8)]
    for other in others: # which are no starts of it, and don't count
        other.wait(10)
    started = world.start(loader, *options, program)
    process = tool.stopped()
    assert process.pid == started.pid and process.state == 'T'
    assert process.program == os.path.realpath(loader)
    assert process.counter == process.auxv(9)
    goes_on(world, tool, started)
    assert 'is stopped at' not in blind.said


def test_loaders_of_other_programs_go_on_while_it_is_busy(world, build, program, busy):
    other = build('glibc')
    tool = world.next('--by', 'bpf', '--exec', busy[1], program.name, verb='watch')
    started = world.start(program)
    until(lambda: Process(started.pid).state == 'T', what='the stop')
    assert world.run(loader_of(other), other)[1] == 7
    tool.end()
    assert started.wait(10) == 7


def test_other_points_are_not_reached_through_the_loader(world, program):
    tool = world.next('--by', 'bpf', '--at', 'main', program.name)
    started = world.start(loader_of(program), program)
    assert tool.stopped().pid == started.pid
    assert 'was started through the dynamic loader' in tool.said
    goes_on(world, tool, started)


@pytest.fixture(scope='session')
def image(armed, folder):
    root = folder / 'image'
    for name in ('lower/bin', 'merged', 'work'):
        (root / name).mkdir(parents=True)
    shutil.copy(armed('glibc-static', 'suid'), root / 'lower/bin' / CONTAINED)
    (root / 'lower/bin' / CONTAINED).chmod(0o4755)
    return root


def contained(world, image):
    """A container as podman makes it: its own namespaces, its root an overlay over an image."""
    return world.start(
        'unshare', '--mount', '--pid', '--fork', '--propagation', 'private', 'sh', '-c',
        f'mount -t tmpfs none {image}/work && mkdir {image}/work/upper {image}/work/work && '
        f'mount -t overlay -o lowerdir={image}/lower,upperdir={image}/work/upper,'
        f'workdir={image}/work/work none {image}/merged && '
        f'exec chroot --userspec={USER}:{USER} {image}/merged /bin/{CONTAINED}', user=False)


@pytest.mark.parametrize('words', [['--by', 'bpf', CONTAINED], ['--by', 'bpf', f'/bin/{CONTAINED}'],
                                   [f'{{0}}/lower/bin/{CONTAINED}']],
                         ids=['name', 'path', 'file of the image'])
def test_in_a_container(world, image, words):
    """Whose file is another one than the image's, though fanotify tells of the image's."""
    if '--by' not in words and KERNEL < (6, 5):
        pytest.skip('overlayfs hides from fanotify what is below it')
    tool = world.next(*(word.format(image) for word in words))
    started = contained(world, image)
    process = tool.stopped()
    assert process.state == 'T' and process.counter == process.first_instruction
    assert process.ids('Uid') == (USER, 0, 0)
    assert process.status['NSpid'].split()[-1] == '1'
    assert os.readlink(f'/proc/{process.pid}/root') == str(image / 'merged')
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0')
    assert started.returncode == 7 and tool.wait() == 0


def test_script(world, folder):
    script = folder / f'hello-{os.getpid()}'
    script.write_text('#!/usr/bin/env sh\necho hello $$\n')
    script.chmod(0o755)
    tool = world.next('--by', 'bpf', script.name)
    started = world.start(script)
    process = tool.stopped()
    assert os.path.basename(process.program) == 'env', 'whose exec of sh is another'
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0] == f'hello {process.pid}\n'


@pytest.mark.parametrize('how', ['vfork', 'spawn', 'thread', 'plain'])
def test_ways_to_execute(world, program, execer, how):
    tool = world.next('--by', 'bpf', program.name)
    started = world.start(execer, how, program)
    process = tool.stopped()
    assert process.counter == process.first_instruction
    check_rights(process, 'suid')
    world.call('cont', process.pid)
    assert started.communicate(timeout=15)[0].startswith(f'uid {USER} 0 0')
    assert started.returncode == 7


@pytest.mark.parametrize('how', ['plain', 'fexecve'])
def test_comm(world, folder, build, execer, how):
    """What ps shows: also of a program that was executed by descriptor, and so without a path."""
    if how == 'fexecve' and KERNEL < (6, 14):
        pytest.skip('before Linux 6.14 such a command is called by the number of its descriptor')
    name = f'{os.getpid()}-rather-long-name'
    shutil.copy(build('glibc'), folder / name)
    tool = world.next('--comm', name)
    for other in (name[:14], name[:9]):
        shutil.copy(build('glibc'), folder / other)
        world.passes(tool, folder / other)
    started = world.start(execer, how, folder / name)
    process = tool.stopped()
    assert process.read('comm').decode() == name[:15] + '\n'
    assert process.counter == process.first_instruction
    goes_on(world, tool, started)


def start_within(world, group, program):
    return world.start('sh', '-c', f'echo $$ > {group}/cgroup.procs; exec {" ".join(AS_USER)} {program}',
                       user=False)


@pytest.mark.parametrize('shown', [True, False], ids=['as shown', 'by its folder'])
def test_control_group(world, group, program, shown):
    named = f'/{group.name}' if shown else str(group)
    tool = world.next('--cgroup', named, program.name)
    world.passes(tool, program)
    started = start_within(world, group / 'inner', program)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


def test_a_control_group_mounted_elsewhere(world, group):
    """How far below the first group it is can't be seen then: a part of all groups is mounted there alone."""
    done = world.run('unshare', '--mount', '--propagation', 'private', 'sh', '-c',
                     'mount --bind "$0" /mnt && exec "$@"', group, world.program, 'next', '--cgroup', '/mnt', 'x',
                     user=False)
    assert done == ('stopexec: Where the control group /mnt stands can\'t be seen from here: '
                    'Operation not supported\n', 1)


def test_whatever_a_control_group_starts(world, group, program):
    tool = world.next('--cgroup', group, '--uid', USER)
    world.passes(tool, program)
    started = start_within(world, group, program)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


def test_only_this_user(world, program):
    tool = world.next('--by', 'bpf', '--uid', USER, program.name)
    assert world.run(program, user=False)[1] == 7
    started = world.start(program)
    assert tool.stopped().pid == started.pid
    goes_on(world, tool, started)


def test_only_below_this_parent(world, program):
    shell = subprocess.Popen(['sh', '-c', f'read line; sh -c "{program}; exit 9"'],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=world.environment)
    tool = world.next('--by', 'bpf', '--parent', shell.pid, program.name)
    world.passes(tool, program)
    shell.stdin.write(b'\n')
    shell.stdin.close()
    world.call('cont', tool.stopped().pid)
    assert shell.wait(10) == 9


def test_a_failed_exec_is_none(world, build, execer, folder):
    broken = folder / f'broken-{os.getpid()}'
    data = build('glibc').read_bytes()
    broken.write_bytes(data.replace(b'/lib64/ld-linux-x86-64.so.2', b'/lib64/no-linux-x86-64.so.2', 1))
    broken.chmod(0o755)
    tool = world.next('--by', 'bpf', '--wait', 1, broken.name)
    started = world.start(execer, 'plain', broken)
    assert started.communicate(timeout=10)[0].startswith('execer: No such file')
    assert tool.wait() == 1 and 'Nobody started it' in tool.said


def test_its_own_commands_pass(world, program, folder):
    """The command for a stopped program starts that program itself."""
    out = folder / 'watched-bpf'
    tool = world.next('--by', 'bpf', '--exec', f'{program} >> {out}', program.name, verb='watch')
    assert world.run(program)[1] == 7
    until(lambda: out.exists() and 'uid' in out.read_text())
    tool.popen.send_signal(signal.SIGINT)
    assert tool.wait() == 0 and tool.said.count('is stopped at') == 1


def test_several_names(world, folder, build):
    names = [f'{os.getpid()}-one-of-many-{number}' for number in range(20)]
    for name in names:
        shutil.copy(build('glibc'), folder / name)
    tool = world.next('--by', 'bpf', '--exec', 'true', *names, verb='watch')
    for name in (names[0], names[-1]):
        assert world.run(folder / name)[1] == 7
        until(lambda: f'{name}\n' in tool.said)


@pytest.mark.parametrize('words, code, sentence', [
    (['next'], 2, 'Give its path or name'),
    (['next', '--by', 'magic', 'x'], 2, '--by is fanotify or bpf'),
    (['next', '--by', 'fanotify', '--comm', 'x'], 2, 'work by BPF only'),
    (['next', '--by', 'bpf', 'ld-linux-x86-64.so.2'], 1, 'dynamic loader'),
    (['next', '--by', 'bpf', 'stopexec'], 1, 'stopexec itself'),
    (['next', '--comm', 'bash'], 1, 'your own shell'),
    (['next', '--by', 'bpf', 'x' * 256], 1, 'too long'),
    (['next', '--cgroup', '/no/such/group'], 1, 'no control group /no/such/group'),
    (['next', '--cgroup', '/'], 1, 'You are in the control group'),
])
def test_one_clear_sentence(world, words, code, sentence):
    done = world.call(*words)
    assert done.returncode == code and sentence in done.stderr
    assert len(done.stderr.splitlines()) == code


def test_refuses_the_shell_that_it_was_started_from(world, folder):
    """Which need not be the one that the user's entry in /etc/passwd names."""
    shell = folder / 'mksh'
    shutil.copy(os.path.realpath('/bin/sh'), shell)
    output, status = world.run(shell, '-c', f'{world.program} next --by bpf mksh; exit $?', user=False)
    assert status == 1 and 'mksh is your own shell' in output


@pytest.mark.parametrize('call, error, words, sentence', [
    ('bpf', 'ENOSYS', ['--by', 'bpf', 'x'], 'This kernel gives no BPF'),
    ('bpf', 'EPERM', ['--by', 'bpf', 'x'], 'not locked down'),
    ('fanotify_init', 'ENOSYS', ['/usr/bin/true'], 'no fanotify permission events'),
    ('bpf_load', 'EPERM', ['--by', 'bpf', 'x'], 'needs root'),
    ('bpf_load', 'EINVAL', ['--by', 'bpf', 'x'], 'does not take the BPF program'),
    ('bpf_attach', 'EINVAL', ['--by', 'bpf', 'x'], 'lets no BPF program see an exec'),
    ('fanotify_init', 'EINVAL', ['/usr/bin/true'], 'try --by bpf'),
    ('fanotify_mark', 'EINVAL', ['/usr/bin/true'], 'no fanotify permission events'),
])
def test_a_kernel_without_it(world, deny, call, error, words, sentence):
    done = subprocess.run([deny, call, error, world.program, 'next', *words], text=True, timeout=10,
                          env=world.environment, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_kernel_that_does_not_describe_itself(world):
    done = world.run('unshare', '--mount', '--propagation', 'private', 'sh', '-c',
                     'mount -t tmpfs none /sys/kernel/btf && exec "$@"', 'sh', world.program, 'next', '--by', 'bpf',
                     'x', user=False)
    assert done[1] == 1 and 'does not describe itself' in done[0], done[0]


def test_a_kernel_without_membarrier(world, program, deny):
    """Where nobody can tell when the program is through, a moment has to do."""
    own, world.program = world.program, deny
    tool = world.next('ENOSYS', own, 'next', '--count', 2, '--by', 'bpf', program.name, verb='membarrier')
    started = world.start(program)
    tool.stopped()
    tool.popen.kill()
    assert started.wait(10) == 7


def test_within_a_container_it_says_so(world):
    done = subprocess.run(['unshare', '--pid', '--fork', '--mount-proc', world.program, 'next', '--by',
                           'bpf', 'x'], env=world.environment, text=True, timeout=10,
                          stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and 'run stopexec on the host' in done.stderr


def test_the_kernel_is_left_as_it_was(world, program):
    """Nothing of ours is loaded any more, whoever was killed."""
    def loaded():
        if not shutil.which('bpftool'):
            pytest.skip('bpftool is not installed')
        return subprocess.run(['bpftool', 'prog', 'show', 'name', 'stopexec'], text=True,
                              stdout=subprocess.PIPE, check=False).stdout.count('raw_tracepoint')
    before = loaded()
    tool = world.next('--by', 'bpf', program.name)
    assert loaded() == before + 1
    tool.popen.kill()
    until(lambda: loaded() == before)
    assert Process(tool.popen.pid).state in ('gone', 'Z')
