# SPDX-License-Identifier: MIT
"""The Debian packages: built from this tree, looked over by lintian, installed and purged on a copy of
this machine's file system that vanishes afterwards."""
import pathlib
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
NAMES = ('portmirror', 'portmirrord', 'bounce-mbox', 'stopexec')

# $1: a folder; the rest: a command, run where / may be written to and nothing stays. What was written
# is in $1/upper afterwards.
ON_A_COPY = r'''
set -e
mount -t tmpfs none "$1"
cd "$1"
shift
mkdir upper work root
mount -t overlay -o lowerdir=/,upperdir=upper,workdir=work none root
mount -t proc none root/proc
mount --rbind /dev root/dev
mount -t tmpfs none root/run
mkdir root/packages
mount --bind "$PACKAGES" root/packages
chroot root sh -ec "$@"
umount root/packages
rmdir root/packages
find upper -type f -printf '%P\n' -o -type l -printf '%P\n'
'''
# What dpkg and its triggers write for themselves, and the group, which outlives its package so that no
# other takes over what it owned.
NOT_THE_PACKAGES = ('var/lib/dpkg/', 'var/cache/', 'var/log/', 'etc/ld.so.cache', 'etc/.pwd.lock', 'etc/group',
                    'etc/gshadow', 'var/lib/systemd/', 'Creating group ')


def run(*command, **options):
    result = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, **options)
    assert result.returncode == 0, result.stdout
    return result.stdout


@pytest.fixture(scope='session')
def packages(tmp_path_factory):
    """The folder that dpkg-buildpackage leaves them in."""
    folder = tmp_path_factory.mktemp('packages')
    shutil.copytree(TOP, folder / 'hostkit', ignore=shutil.ignore_patterns('build*', '.git', '__pycache__'),
                    symlinks=True)
    run('dpkg-buildpackage', '-us', '-uc', '-b', f'-j{len(NAMES)}', cwd=folder / 'hostkit')
    return folder


@pytest.fixture
def on_a_copy(packages, tmp_path):
    """on_a_copy(SCRIPT): what it printed, and the files that it has left, one a line."""
    def made(script):
        return run('unshare', '--mount', 'sh', '-c', ON_A_COPY, 'sh', str(tmp_path), script,
                   env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin', 'PACKAGES': str(packages), 'RUNLEVEL': '1',
                        'DEBIAN_FRONTEND': 'noninteractive', 'LC_ALL': 'C.UTF-8'}).splitlines()
    return made


def deb(name):
    return f'/packages/{name}_*_amd64.deb'


def test_there_is_a_package_a_program(packages):
    built = {path.name.split('_')[0] for path in packages.glob('*.deb')}
    assert {name for name in built if not name.endswith('-dbgsym')} == set(NAMES)


def test_lintian_has_nothing_to_say(packages):
    changes, = packages.glob('*.changes')
    run('lintian', '--allow-root', '--fail-on', 'error,warning', changes)


def test_they_work_where_they_are_installed(on_a_copy):
    said = on_a_copy(f'dpkg -i {" ".join(map(deb, NAMES))} >/dev/null\n'
                     + ''.join(f'{name} --version; man -w {name}\n' for name in NAMES)
                     + 'stopexec preload status; systemd-analyze verify /lib/systemd/system/portmirror*.service')
    for name in NAMES:
        assert any(line.startswith(f'{name} ') for line in said), said
        assert any(line.startswith('/usr/share/man/man') and f'/{name}.' in line for line in said), said
    assert not [line for line in said if 'service:' in line], said


@pytest.mark.parametrize('name', NAMES)
def test_each_goes_as_it_came(on_a_copy, name):
    """portmirrord needs portmirror; the others nothing of each other."""
    also = 'portmirror' if name == 'portmirrord' else ''
    both = ' '.join(filter(None, (name, also)))
    said = on_a_copy(f'dpkg -i {deb(name)} {deb(also) if also else ""} >/dev/null\n'
                     f'dpkg --purge {both} >/dev/null')
    assert [line for line in said if not line.startswith(NOT_THE_PACKAGES)] == []
