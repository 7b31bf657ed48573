# SPDX-License-Identifier: MIT
"""At each step of bounce-mbox a system call or an allocation fails: nothing is lost, nothing is sent twice but what was
reported in doubt, and it says what went wrong. Some of the steps in each run; EVERY_STEP=1 tries all of them, which
takes long."""
import collections
import gzip
import mailbox
import os
import pathlib
import subprocess
import sys

import pytest
from conftest import BUILD, PROGRAM, Result, bounce, crlf, message
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import ALLOCATION, ERRORS, Faults  # noqa: E402  pylint: disable=wrong-import-position

EVERY = 1 if os.environ.get('EVERY_STEP') else 5


class Trial:
    """An archive that is sent: these messages, but for some that are set aside, as the server takes none so large."""

    def __init__(self, server, folder, archive, messages, aside=(), stdin=None):
        self.server, self.folder, self.archive, self.stdin = server, folder, archive, stdin
        self.expected = collections.Counter(crlf(text) for text in messages)
        self.aside = list(aside)
        # (libcrypto and libarchive crash where they find no memory for what they begin with.)
        self.faults = Faults(folder, BUILD / 'tests/preload/fail_alloc.so', EXEMPT='libcrypto:libarchive')
        self.journal, self.rejects = folder / 'journal', folder / 'rejects'
        self.check_last(self.run(self.faults.watched(self.command())))
        self.steps = self.faults.steps()
        self.forget()

    def command(self):
        return [PROGRAM, '--delay', '0', '--json', '--backoff', '0.002', '-j', self.journal, '--rejects', self.rejects,
                self.archive, 'me@new.test', self.server.url]

    def run(self, command):
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=60, input=self.stdin)
        self.server.rests()
        try:
            return Result(done)
        except ValueError as error:
            raise AssertionError(f'it printed half an object: {done}') from error

    def forget(self):
        self.server.messages.clear()
        self.journal.unlink(missing_ok=True)
        self.rejects.unlink(missing_ok=True)

    def got(self):
        return collections.Counter(self.server.messages)

    def check_last(self, done):
        """What the last run of all must have come to."""
        assert done.code == (1 if self.aside else 0) and done.sums['set_aside'] == len(self.aside), done.err
        assert done.sums['sent'] + done.sums['already_sent'] == sum(self.expected.values()), done.sums
        kept = [text.get_payload() for text in mailbox.mbox(self.rejects)]
        assert set(kept) == set(self.aside), 'what was set aside is not there'

    def judge(self, done, kind):
        """What the run in which something failed has said."""
        fates = [line for line in done.err.splitlines() if line.startswith(('in doubt: ', 'set aside: '))]
        told = [line for line in done.err.splitlines() if line not in fates]
        assert done.code in (0, 1), 'it did not end by itself'
        assert all(line.startswith('bounce-mbox: ') and not line.endswith(': ') for line in told), 'no sentence'
        assert 'Success' not in done.err, 'no reason'
        if done.code == 0:
            assert self.got() == self.expected, f'it says that it has sent all: {done.sums} {self.got()}'
        elif kind != 'write':  # (what could not be written may have been the sentence)
            assert len(told) == 1 or not told and fates, 'not one sentence'

    def recover(self):
        """Runs it again, without a failure; then with what is in doubt."""
        status = bounce('--status', self.journal, fast=False) if self.journal.exists() else None
        assert not status or status.code == 0, status.err
        doubt = status.out.count('in doubt: ') if status else 0
        done = self.run(self.command())
        lost, doubled = self.expected - self.got(), self.got() - self.expected
        assert not doubled, 'something was sent twice'
        assert done.sums and done.sums['in_doubt'] == doubt >= sum(lost.values()), (
            f'something was lost: {done.sums} {done.err} {lost}')
        if doubt:
            self.run([*self.command(), '--resend-doubtful'])
            lost, doubled = self.expected - self.got(), self.got() - self.expected
            assert not lost and sum(doubled.values()) <= doubt, 'what was in doubt is not sent'
        done = self.run(self.command())
        assert done.sums['sent'] == 0, 'the journal does not hold all'
        self.check_last(done)
        assert set(self.folder.iterdir()) <= self.kept, 'a file was left'

    def attempt(self, kind, number):
        self.kept = {*self.folder.iterdir(), self.journal, self.rejects, self.faults.log}
        done = None
        try:
            done = self.run(self.faults.failing(self.command(), kind, number))
            self.judge(done, kind)
            self.recover()
        except AssertionError as wrong:
            said = f'exit status {done.code}, {done.err}' if done else ''
            raise AssertionError(f'{kind} {number} {self.steps[kind][number]}: {said}{wrong}') from wrong
        finally:
            self.forget()

    def sweep(self):
        """Tries them; all that goes wrong is told at the end."""
        wrong = []
        for kind, number in [(kind, number) for kind in [*ERRORS, ALLOCATION] for number in self.steps[kind]][::EVERY]:
            try:
                self.attempt(kind, number)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                wrong.append(str(error).split('\nassert', maxsplit=1)[0])
        assert not wrong, f'{len(wrong)} went wrong:\n' + '\n'.join(wrong)


@pytest.mark.parametrize('kept', ['plain', 'packed', 'stdin', 'aside'])
def test_a_step_fails(smtp, mbox, tmp_path, kept):
    messages, aside, server, stdin = list(map(message, range(3))), [], smtp(), None
    path = mbox(*messages)
    if kept == 'packed':
        path.write_bytes(gzip.compress(path.read_bytes()))
    elif kept == 'stdin':
        path, stdin = '-', path.read_bytes()
    elif kept == 'aside':
        aside = ['large\n' * 300]
        path = mbox(messages[0], message(9, aside[0].encode()), *messages[1:])
        server = smtp(extensions=(b'SIZE 1000', b'PIPELINING'))
    folder = tmp_path / 'work'
    folder.mkdir()
    Trial(server, folder, path, messages, aside, stdin).sweep()
