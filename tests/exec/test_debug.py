# SPDX-License-Identifier: MIT
"""gdb on a process that stopexec has caught: at main, with all its privileges, and on to its end."""
import re
import shutil
import subprocess

import pytest

from conftest import KINDS, RIGHTS, USER, check_status, until

# Where gdb can't be told "main": the name is stripped, or Go's. There stopexec goes to main.
UNSTRIPPED = {'glibc-stripped': 'glibc', 'glibc-static-stripped': 'glibc-static',
              'musl-stripped': 'musl', '32-bit-stripped': '32-bit', 'go': 'go'}


def main_of(program, name):
    symbols = subprocess.run(['nm', program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(re.search(rf'^(\w+) \w {re.escape(name)}$', symbols, re.M)[1], 16)


class Debugged:
    """A program that is watched by --gdb, and started by the user."""

    def __init__(self, world, program, *options):
        self.plain = world.run(program, 'word')
        self.tool = world.next('--gdb', *options, program, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
        self.started = world.start(program, 'word')

    def at_main(self):
        """What gdb says there; then it lets go."""
        process = self.tool.stopped()
        assert process.pid == self.started.pid
        until(lambda: process.status['TracerPid'] != '0', what='gdb')
        said = self.tool.popen.communicate(
            'printf "counter %p\\n", $pc\ninfo symbol $pc\n'
            f'shell cat /proc/{process.pid}/status\ndetach\n', timeout=40)[0]
        assert 'detached' in said, said
        return said


@pytest.mark.parametrize('kind', [*KINDS, 'go'])
def test_gdb_reaches_main(world, armed, build, kind):
    point = ['--at', 'main'] if kind in UNSTRIPPED else []
    debugged = {rights: Debugged(world, armed(kind, rights), *point) for rights in RIGHTS}
    for rights, one in debugged.items():
        said = one.at_main()
        if kind in UNSTRIPPED:
            address = main_of(build(UNSTRIPPED[kind]), 'main.main' if kind == 'go' else 'main')
            assert (int(re.search(r'counter (\w+)', said)[1], 16) - address) % 4096 == 0
        else:
            assert re.search(r'^(\(gdb\) )*main( \+ \d+)? in section \.text', said, re.M), said
        check_status(said, rights)
        output, status = one.started.communicate(timeout=15)[0], one.started.returncode
        assert (output, status) == one.plain, 'as without us'


def test_pulseaudio(world, folder):
    """The case of 2008: a SUID pulseaudio, started by another process."""
    pulseaudio = shutil.which('pulseaudio')
    if pulseaudio is None:
        pytest.skip('pulseaudio is not installed')
    copy = folder / 'pulseaudio'
    shutil.copy(pulseaudio, copy)
    copy.chmod(0o4755)
    plain = world.run(copy, '--version')
    tool = world.next('--at', 'main', '--gdb', copy, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                      text=True)
    started = world.start('sh', '-c', f'{copy} --version; exit $?')
    process = tool.stopped()
    assert process.pid != started.pid and process.program == str(copy)
    said = tool.popen.communicate('x/a $sp\nprint (char *) ((char **) $rsi)[1]\n'
                                  f'shell cat /proc/{process.pid}/status\ndetach\n', timeout=30)[0]
    # main was called, and has not begun: what calls it stands on top of the stack
    assert re.search(r'<__libc_start_call_main\+\d+>', said), said
    assert '"--version"' in said
    assert f'Uid:\t{USER}\t0\t0\t0' in said and f'Gid:\t{USER}\t{USER}' in said
    assert 'detached' in said
    assert (started.communicate(timeout=10)[0], started.returncode) == plain
