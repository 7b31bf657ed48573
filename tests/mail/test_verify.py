# SPDX-License-Identifier: MIT
"""--verify: what was exported again, beside the archive."""
import json
import re
import subprocess

import pytest
from conftest import PROGRAM, bounce, crlf, message
from test_doubt import imap  # noqa: F401


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


@pytest.fixture
def account(imap, tmp_path):  # noqa: F811
    """An account to look at: its mailboxes, by name, are (flags, numbers of messages)."""
    def start(mailboxes, extensions=b''):
        def answer(_, command, server):
            name = (re.findall(rb'"([^"]*)"', server.line) or [b''])[-1]
            if command == 'CAPABILITY':
                return b'* CAPABILITY IMAP4rev1 %s\r\nOK' % extensions
            if command == 'LIST' and name == b'*':
                return b''.join(b'* LIST (%s) "/" "%s"\r\n' % (mailboxes[box][0], box) for box in mailboxes) + b'OK'
            if command == 'EXAMINE':
                server.messages = [crlf(message(n)) for n in mailboxes[name][1]]
                return b'* %d EXISTS\r\nOK' % len(server.messages)
            if command == 'UID':
                return b''.join(b'* %d FETCH (BODY[] {%d}\r\n%s)\r\n' % (n, len(m), m)
                                for n, m in enumerate(server.messages, 1)) + b'OK'
        server = imap(answer)

        def compare(*args):
            return bounce('--tls', 'off', '--password-file', tmp_path / 'password', '--verify',
                          server.url.replace('//', '//joe@'), *args, fast=False)
        return compare
    return start


@pytest.mark.parametrize('hidden', [False, True])
def test_gmail(account, mbox, hidden):
    """It has each message once, and labels show it as often as it bears some, or not at all; unless All Mail is hidden."""
    mailboxes = {b'INBOX': (b'', [0, 2]), b'Work': (b'', [0]), b'[Gmail]': (b'\\Noselect', []),
                 b'[Gmail]/All Mail': (b'\\All', [0, 1, 2]), b'[Gmail]/Important': (b'\\Important', [1, 2]),
                 b'[Gmail]/Spam': (b'\\Junk', [3]), b'[Gmail]/Trash': (b'\\Trash', [4])}
    if hidden:
        del mailboxes[b'[Gmail]/All Mail']
    compare = account(mailboxes, b'X-GM-EXT-1')
    done = compare(mbox(*map(message, (0, 0, 1, 2, 3, 4, 5))))
    assert done.out == f'compared 7: missing {1 + hidden}, changed 0, doubled 0\n', done.err
    mailboxes[b'[Gmail]/Trash'] = b'\\Trash', [4, 4]
    done = compare(mbox(*map(message, (2, 3, 4))))
    assert done.out == 'compared 3: missing 0, changed 0, doubled 1\n', done.err


def test_mailboxes_that_show_what_others_hold(account, mbox):
    compare = account({b'INBOX': (b'', [0]), b'A': (b'\\All', [0, 1]), b'I': (b'\\HasNoChildren \\Important', [0]),
                       b'J': (b'\\Junk', [1])})
    assert compare(mbox(*map(message, (0, 1)))).out == 'compared 2: missing 0, changed 0, doubled 0\n'
    assert compare('--folder', 'A', mbox(*map(message, (0, 1)))).out == 'compared 2: missing 0, changed 0, doubled 0\n'


def test_one_mailbox(account, mbox):
    """INBOX is written in any case; a name that is not there is no mailbox without mail."""
    compare = account({b'INBOX': (b'', [0]), b'InBox/a': (b'', [1]), b'Inboxes': (b'', [2]), b'A': (b'', [3])})
    for name, there in (('Inbox', (0, 1)), ('INBOX/a', (1,)), ('Inboxes', (2,)), ('A', (3,))):
        done = compare('--folder', name, mbox(*map(message, there)))
        assert done.code == 0 and done.out.endswith(' missing 0, changed 0, doubled 0\n'), done.err
    for name in 'a', 'B', 'INBOX/A':
        done = compare('--folder', name, mbox(message(3)))
        assert done.code == 1 and 'no mailbox of that name' in done.err and not done.out
