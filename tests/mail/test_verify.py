# SPDX-License-Identifier: MIT
"""--verify: what was exported again, beside the archive."""
import json
import subprocess

from conftest import PROGRAM, bounce, message


def verify(export, archive):
    done = subprocess.run([PROGRAM, '--json', '--verify', export, archive], capture_output=True, text=True)
    sums = json.loads(done.stdout)
    return done.returncode, [sums[k] for k in ('compared', 'missing', 'changed', 'doubled')], sums['messages']


TRACE = b'Return-Path: <a@b>\nDelivered-To: c\nReceived: from x by y;\n\tSat, 23 Aug 2008 10:00:00 +0000\n'


def test_all_is_there(mbox):
    archive = mbox(b'X-Mozilla-Status: 0001\n' + message(0), *map(message, range(1, 5)))
    export = mbox(*[TRACE + message(n) for n in (3, 1, 4, 0, 2)], name='export')
    assert verify(export, archive)[:2] == (0, [5, 0, 0, 0])


def test_differences(mbox):
    archive = mbox(*map(message, range(5)))
    export = mbox(message(0), message(0), message(1, b'other\n'), message(3), message(4), message(9), name='export')
    code, sums, said = verify(export, archive)
    assert (code, sums) == (1, [5, 1, 1, 1])
    assert {(m['fate'], m['message-id']) for m in said} == {
        ('doubled', '<m0@test>'), ('changed', '<m1@test>'), ('missing', '<m2@test>')}


def test_messages_without_a_header(mbox):
    """The server has given it one."""
    path = mbox(b'\nfirst\n\nsecond\n')
    assert bounce('--verify', mbox(b'Received: here\n\nfirst\n\nsecond\n', name='same'), path, fast=False).code == 0
    assert bounce('--verify', mbox(b'\nother\n\nsecond\n', name='other'), path, fast=False).code == 1
