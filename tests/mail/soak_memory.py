# SPDX-License-Identifier: MIT
"""Memory stays under 64 MB for archives of 20 GB. Takes minutes and that much of /var/tmp, so it runs by name only:

    BUILD=$PWD/build /usr/bin/python3 -m pytest tests/mail/soak_memory.py
"""
import os
import shutil
import subprocess
import sys
import tempfile

import pytest
from conftest import PROGRAM
from test_memory import MEASURE
from test_postfix import sink  # noqa: F401 (a fixture)

LIMIT = 64 * 1024


def write_archive(file, count, size):
    """Messages out of order by date, so that they must be sorted."""
    body = (b'x' * 70 + b'\n') * (size // 71)
    for n in range(count):
        seconds = n * 7919 % count
        file.write(b'From - Sat Aug 23 10:00:00 2008\nDate: %d Aug 2008 %02d:%02d:%02d +0000\nMessage-ID: <m%d@test>\n\n'
                   % (seconds // 86400 % 28 + 1, seconds // 3600 % 24, seconds // 60 % 60, seconds % 60, n) + body + b'\n')


@pytest.fixture
def folder():
    name = tempfile.mkdtemp(prefix='soak-', dir='/var/tmp')
    yield name
    shutil.rmtree(name)


def peak(*command, **options):
    done = subprocess.run([sys.executable, '-c', MEASURE, PROGRAM, '-q', *command], stdout=subprocess.PIPE, text=True, **options)
    code, kilobytes = map(int, done.stdout.split())
    assert code == 0
    return kilobytes


# few large messages, and so many small ones that their index alone would not fit
@pytest.mark.parametrize('count,size', [(300_000, 70_000), (10_000_000, 2_000)])
def test_twenty_gigabytes(folder, count, size):
    path = os.path.join(folder, 'mbox')
    with open(path, 'wb', buffering=1 << 20) as file:
        write_archive(file, count, size)
    assert peak('--dry-run', path, 'a@new.test', 'none.test') < LIMIT


def test_twenty_gigabytes_from_standard_input(folder):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.close(reader)
        with open(writer, 'wb', buffering=1 << 20) as file:
            write_archive(file, 300_000, 70_000)
        os._exit(0)
    os.close(writer)
    assert peak('--dry-run', '-', 'a@new.test', 'none.test', stdin=reader, env={**os.environ, 'TMPDIR': folder}) < LIMIT
    os.wait()


def test_a_million_in_the_journal(folder, sink):  # noqa: F811
    path, journal = os.path.join(folder, 'mbox'), os.path.join(folder, 'journal')
    with open(path, 'wb', buffering=1 << 20) as file:
        write_archive(file, 1_000_000, 71)
    for _ in range(2):  # the second one reads it all
        assert peak('-d', '0', '-j', journal, path, 'a@new.test', sink()) < LIMIT
