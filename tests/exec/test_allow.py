# SPDX-License-Identifier: MIT
"""A set-user-ID stopexec and /etc/hostkit/stopexec.allow, in a mount namespace of the test's own."""
import os
import pathlib
import shutil
import subprocess

import pytest

from conftest import USER

SETUP = r'''
set -e
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/up /run/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/up,workdir=/run/work overlay /etc
echo 'tester:x:%d:%d::/:/bin/sh' >> /etc/passwd
echo 'testers:x:61500:' >> /etc/group
mkdir -p /etc/hostkit
user() { setpriv --reuid=%d --regid=%d --groups=61500 "$@"; }
''' % (USER, USER, USER, USER)


@pytest.fixture
def lent(world, folder):
    copy = folder / 'stopexec-suid'
    copy.unlink(missing_ok=True)  # one may still run, as a guardian
    shutil.copy(world.program, copy)
    copy.chmod(0o4755)
    return copy


def private(world, lent, program, script):
    return subprocess.run(
        ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', SETUP + script],
        env={**world.environment, 'X': str(lent), 'P': str(program),
             'ALLOW': '/etc/hostkit/stopexec.allow'},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)


# Starts the program once stopexec watches, or has refused.
NEXT = r'''
user $X next --timeout 1 $P > /run/said 2>&1 & n=$!
until [ -s /run/said ]; do :; done
$P root || true
wait $n || echo status $?
cat /run/said
'''


@pytest.mark.parametrize('line', ['tester {}', '%testers /bin/false {} # comment', '# x\n tester\t{}'])
def test_allowed(world, lent, armed, line):
    program = armed('glibc', 'suid')
    (pathlib.Path(lent.parent) / 'allow').write_text(line.format(program) + '\n')
    done = private(world, lent, program, f'cp {lent.parent}/allow $ALLOW; chmod 644 $ALLOW\n' + NEXT)
    assert 'is stopped at its first instruction' in done.stdout, done.stdout
    assert 'uid 0 0 0' in done.stdout and 'status' not in done.stdout


@pytest.mark.parametrize('preparation, sentence', [
    ('true', 'there is no /etc'),
    ('echo "tester /bin/true" > $ALLOW', 'You may not stop'),
    ('echo "other $P" > $ALLOW', 'You may not stop'),
    ('echo "tester $P" > $ALLOW; chmod 666 $ALLOW', 'others than root can change it'),
    ('echo "tester $P" > $ALLOW; chown 61001 $ALLOW', 'others than root can change it'),
])
def test_refused(world, lent, armed, preparation, sentence):
    done = private(world, lent, armed('glibc', 'suid'), preparation + NEXT)
    assert sentence in done.stdout, done.stdout
    assert 'is stopped' not in done.stdout and 'status 1' in done.stdout


def test_run_as_the_caller(world, lent, armed):
    script = 'echo "tester $P" > $ALLOW; user $X run --timeout 1 -- $P; echo status $?'
    done = private(world, lent, armed('glibc', 'suid'), script.replace('$P;', '$P || echo ends $?;'))
    assert 'given, as the file asks' in done.stdout, done.stdout
    assert f'uid {USER} 0 0' in done.stdout and 'ends 7' in done.stdout


def test_what_is_run_is_what_was_allowed(world, lent, folder):
    """And not what a link leads to that has been changed since."""
    script, link = folder / 'says-its-name', folder / 'link-to-it'
    script.write_text('#!/bin/sh\necho called $0\n')
    script.chmod(0o755)
    link.symlink_to(script)
    done = private(world, lent, link, f'echo "tester {script}" > $ALLOW; user $X run --timeout 1 -- $P')
    assert f'called {script}\n' in done.stdout and 'is stopped' in done.stdout, done.stdout


@pytest.mark.parametrize('option, sentence', [
    ('--exec 2', 'Only root can stop at a later exec'),
    ('--at getgrouplist', 'executed another program before it came to the stop point'),
])
def test_what_an_allowed_program_executes_is_not_lent(world, lent, folder, armed, option, sentence):
    script = folder / 'executes-another'
    script.write_text(f'#!/bin/sh\nexec {armed("glibc", "suid")}\n')
    script.chmod(0o755)
    done = private(world, lent, script,
                   f'echo "tester $P" > $ALLOW; user $X run --timeout 1 {option} -- $P || echo ends $?')
    assert sentence in done.stdout and 'is stopped' not in done.stdout and 'ends 1' in done.stdout, done.stdout


def test_run_of_another_program_lends_nothing(world, lent, armed):
    script = 'echo "tester /bin/true" > $ALLOW; user $X run --timeout 1 -- $P || echo ends $?'
    done = private(world, lent, armed('glibc', 'suid'), script)
    assert 'without CAP_SYS_PTRACE' in done.stdout, done.stdout
    assert f'uid {USER} {USER} {USER}' in done.stdout and 'ends 7' in done.stdout


@pytest.mark.parametrize('words', ['preload install', 'attach 1', 'run -u 0 true', 'cont 1'])
def test_nothing_else_is_lent(world, lent, armed, words):
    done = private(world, lent, armed('glibc', 'suid'), f'user $X {words} && echo DONE; exit 0')
    assert 'DONE' not in done.stdout and 'stopexec: ' in done.stdout


@pytest.mark.parametrize('verb', ['run --', 'next'])
@pytest.mark.parametrize('call, sentence', [
    ('getgroups', "Your groups can't be found"),
    ('seteuid', "The rights of the caller can't be taken"),
    ('seteuid_root', "The rights of root can't be taken back"),
])
def test_where_rights_cannot_be_changed(world, lent, armed, deny, call, sentence, verb):
    """Then it does nothing, neither with more nor with less of them."""
    script = ('echo "tester $P" > $ALLOW\n'
              f'{deny} {call} EPERM /usr/bin/setpriv --reuid={USER} --regid={USER} --groups=61500 '
              f'$X {verb} $P || exit 0\n'
              'echo DONE')
    done = private(world, lent, armed('glibc', 'suid'), script)
    assert sentence in done.stdout and done.stdout.count('stopexec: ') == 1 and 'DONE' not in done.stdout, done.stdout


def test_where_rights_cannot_be_given_up(world, lent, armed, deny):
    """What is for no caller's rights is not done with root's."""
    script = (f'{deny} become_user EPERM /usr/sbin/chroot --userspec={USER}:{USER} / $X preload status || exit 0\n'
              'echo DONE')
    done = private(world, lent, armed('glibc', 'suid'), script)
    assert done.stdout == "stopexec: The rights of the caller can't be taken: Operation not permitted\n", done.stdout


def test_bpf_is_not_lent(world, lent, armed):
    script = 'echo "tester $P" > $ALLOW; user $X next --by bpf $P && echo DONE; exit 0'
    done = private(world, lent, armed('glibc', 'suid'), script)
    assert 'Only root can catch by BPF' in done.stdout and 'DONE' not in done.stdout, done.stdout


def test_helpers_run_as_the_caller(world, lent, armed):
    script = r'''echo "tester $P" > $ALLOW
setpriv --reuid=61001 --regid=61001 --groups=61500 $X watch --exec 'id -u; id -ru' $P & n=$!
sleep 0.3; $P > /dev/null || true; kill $n; wait $n || true'''
    done = private(world, lent, armed('glibc', 'suid'), script)
    assert done.stdout.splitlines().count(str(USER)) == 2, done.stdout
