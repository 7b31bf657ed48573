# SPDX-License-Identifier: MIT
"""At each step of bounce-mbox a system call or an allocation fails: nothing is lost, nothing is sent twice but what was
reported in doubt, and it says what went wrong. In each run every place of the program that leads to such a step sees
one fail; EVERY_STEP=1 tries all steps, on each path to them, which takes long."""
import collections
import errno
import gzip
import imaplib
import mailbox
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from conftest import BUILD, FROM, PROGRAM, Result, bounce, crlf, message, until
from test_imap import TAKEOUT, Dovecot
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import ALLOCATION, ERRORS, Faults  # noqa: E402  pylint: disable=wrong-import-position

BEGINNINGS = ('in doubt: ', 'set aside: ', 'failed: ', 'missing: ', 'changed: ', 'doubled: ', 'might be refused: ')


class Trial:
    """A command that goes well, and then meets a failure at each of its steps. tried: the places that have seen one,
    so that fewer are left to the tests that come later."""
    tried = set()
    timeout = 300  # of one run, beside much else

    def __init__(self, folder, stdin=None):
        self.folder, self.stdin = folder, stdin
        # (These crash where they find no memory: libgsasl 2.2.0 frees a SCRAM session's words twice then.)
        exempt = 'libcrypto:libssl:libgsasl:libarchive'
        self.faults = Faults(folder, BUILD / 'tests/preload/fail_alloc.so', EXEMPT=exempt)
        self.kept, self.step = set(), ''
        done = self.run(self.faults.watched(self.command()))
        self.check_last(done)
        self.usual = done.err.splitlines()  # what is told anyway
        self.steps = self.faults.steps()
        self.forget()

    def run(self, command):
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=self.timeout,
                              input=self.stdin, env={**os.environ, 'TMPDIR': str(self.folder)})
        self.rests()
        try:
            return Result(done)
        except ValueError as error:
            raise AssertionError(f'it printed half an object: {done}') from error

    def rests(self):
        """Waits until the server is done with it."""

    def forget(self):
        """As if it had never run."""

    def judge(self, done, kind):
        """What the run in which something failed has said."""
        fates = [line for line in done.err.splitlines() if line.startswith(BEGINNINGS)]
        told = [line for line in done.err.splitlines() if line not in fates and line not in self.usual]
        told = [line for n, line in enumerate(told) if not any(later.startswith(line) for later in told[n + 1:])]
        assert done.code in (0, 1), 'it did not end by itself'
        assert all(line.startswith('bounce-mbox: ') and not line.endswith(': ') for line in told), 'no sentence'
        assert 'Success' not in done.err, 'no reason'
        if self.is_whole(done):
            return
        assert done.code == 1, f'it says that all is well: {done.sums}'
        if kind != 'write':  # (what could not be written may have been the sentence)
            assert len(told) == 1 or not told and fates and done.sums, 'not one sentence'

    def recover(self):
        """Runs it again, without a failure."""
        self.check_last(self.run(self.command()))

    def attempt(self, kind, number):
        self.kept = {*self.folder.iterdir(), *self.may_stay()}
        self.step = self.steps[kind][number]
        done = None
        try:
            done = self.run(self.faults.failing(self.command(), kind, number))
            self.judge(done, kind)
            self.recover()
            assert set(self.folder.iterdir()) <= self.kept, 'a file was left'
        except AssertionError as wrong:
            said = f'exit status {done.code}, {done.err}' if done else ''
            raise AssertionError(f'{kind} {number} {self.step}: {said}{wrong}') from wrong
        finally:
            self.forget()

    def may_stay(self):
        return {self.faults.log}

    def sweep(self):
        """Tries them; all that goes wrong is told at the end."""
        wrong, kinds, faults = [], [*ERRORS, ALLOCATION], self.faults
        steps = faults.all_of(kinds) if 'EVERY_STEP' in os.environ else faults.one_for_each_place(kinds, self.tried)
        for kind, number in steps:
            try:
                self.attempt(kind, number)
            except (AssertionError, subprocess.TimeoutExpired) as error:
                wrong.append(str(error).split('\nassert', maxsplit=1)[0])
        assert not wrong, f'{len(wrong)} went wrong:\n' + '\n'.join(wrong)


class Sending(Trial):
    """An archive that is sent: these messages, but for some that are set aside, as the server takes none so large."""

    known = b''  # what the journal holds at first: of the archive, message 0
    known_rejects = b''

    def __init__(self, server, folder, archive, messages, aside=(), stdin=None):
        self.server, self.archive = server, archive
        self.expected = collections.Counter(crlf(text) for text in messages)
        self.aside = list(aside)
        self.journal, self.rejects = folder / 'journal', folder / 'rejects'
        self.restore()
        super().__init__(folder, stdin)

    def restore(self):
        for path, text in (self.journal, self.known), (self.rejects, self.known_rejects):
            path.unlink(missing_ok=True)
            if text:
                path.write_bytes(text)

    def command(self):
        return [PROGRAM, '--delay', '0', '--json', '--backoff', '0.002', '-j', self.journal, '--rejects', self.rejects,
                self.archive, *self.target()]

    def target(self):
        return 'me@new.test', self.server.url

    def rests(self):
        self.server.rests()

    def forget(self):
        self.server.messages.clear()
        self.restore()

    def got(self):
        return collections.Counter(self.server.messages)

    def may_stay(self):
        return {*super().may_stay(), self.journal, self.rejects}

    def check_last(self, done):
        """What the last run of all must have come to."""
        assert done.code == (1 if self.aside else 0) and done.sums['set_aside'] == len(self.aside), done.err
        count = sum(self.expected.values()) + bool(self.known)
        assert done.sums['sent'] + done.sums['already_sent'] == count, done.sums
        kept = [text.get_payload() for text in mailbox.mbox(self.rejects)]
        assert set(kept) == set(self.aside), 'what was set aside is not there'

    def is_whole(self, done):
        if done.code == 0:
            assert self.got() == self.expected, f'it says that it has sent all: {done.sums} {self.got()}'
        return done.code == 0

    def recover(self):
        """Runs it again, without a failure; then with what is in doubt."""
        status = bounce('--status', self.journal, fast=False) if self.journal.exists() else None
        assert not status or status.code == 0, status.err
        doubt = self.left_in_doubt(status.out.count('in doubt: ') if status else 0)
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

    def left_in_doubt(self, doubt):
        """How many of the doubts the next run can't clear up."""
        return doubt


class LargeJournal(Sending):
    """What the journal knows, by lines of the first bounce-mbox, lies in a file."""
    known = b'<m0@test>\n' + b''.join(b'%d\n' % n for n in range(550000))


class TornJournal(Sending):
    """The last line is half of one."""
    known = b'<m0@test>\n@0000abcd in'


class Imap(Sending):
    """A tree that goes to an account, with its folders, flags and dates. Each attempt has an account of its own."""
    def __init__(self, server, folder, archive, messages):
        self.number = 1
        super().__init__(server, folder, archive, messages)

    def check_last(self, done):
        if self.number == 1:  # all texts are there; test_imap.py tells what else is to come with them
            assert sorted(text for *_, text in self.got()) == sorted(self.expected), done.err
            self.expected = self.got()
        super().check_last(done)

    @property
    def user(self):
        return f'faults{self.number}'

    def target(self):
        return ('--tls-ca', self.server.folder / 'good.pem', '--password-file', self.server.password, self.user,
                f'imap://127.0.0.1:{self.server.port}')

    def rests(self):
        self.server.rests(self.user)

    def forget(self):
        self.restore()
        shutil.rmtree(self.server.folder / 'home' / self.user, ignore_errors=True)
        self.number += 1

    def got(self):
        return self.server.all_mails(self.user)

    def left_in_doubt(self, doubt):
        return 0  # the server is asked


class Unkept(Imap):
    """Without a journal, a run itself remembers what it has sent."""

    def __init__(self, *args):
        super().__init__(*args)
        self.usual.append('bounce-mbox: without --journal, the next run will send all of it again')

    def command(self):
        return [word for word in super().command() if word not in ('-j', self.journal)]

    def recover(self):
        assert not self.got() - self.expected, 'something was sent twice'


class Telling(Trial):
    """What sends nothing: it tells all, or what went wrong."""
    def __init__(self, folder, *words):
        self.words, self.told = [PROGRAM, '--json', *words], None
        super().__init__(folder)

    def command(self):
        return self.words

    def check_last(self, done):
        self.told = self.told or self.facts(done)
        assert self.is_whole(done), done.err

    def facts(self, done):
        return done.code, {name: fact for name, fact in done.sums.items() if name != 'seconds'}

    def is_whole(self, done):
        if done.sums is None or done.sums.get('trouble'):
            return False
        assert self.facts(done) == self.told or 'the server cannot be asked' in done.err, f'it told {done.sums}'
        return True


class Comparing(Trial):
    """--verify: it never says of what differs that it does not, nor the other way round."""

    def __init__(self, folder, archive, export, sums, *options):
        self.words = [PROGRAM, '--json', *options, '--verify', export, *archive]
        self.sums = dict(zip(('compared', 'missing', 'changed', 'doubled'), sums))
        super().__init__(folder)

    def command(self):
        return self.words

    def check_last(self, done):
        assert self.is_whole(done), f'it found {done.sums}, {done.err}'

    def is_whole(self, done):
        if done.sums is None:
            return False
        fates = collections.Counter(found['fate'] for found in done.sums['messages'])
        assert {name: done.sums[name] for name in self.sums} == self.sums, f'it found {done.sums}'
        assert fates == collections.Counter({name: self.sums[name] for name in ('missing', 'changed', 'doubled')
                                             if self.sums[name]}), f'it told {done.sums}'
        assert done.code == 1, done.err
        return True


class ComparingAccount(Comparing):
    def __init__(self, server, user, *args):
        self.server, self.user = server, user
        super().__init__(*args)

    def rests(self):
        self.server.rests(self.user)


class Sorting(Trial):
    """So many messages that their index lies in a file, and is sorted there, in more than one run."""
    def __init__(self, folder, archive, count):
        self.archive, self.count = archive, count
        super().__init__(folder)

    def command(self):
        return [PROGRAM, '--json', '--dry-run', self.archive]

    def check_last(self, done):
        assert self.is_whole(done), done.err

    def is_whole(self, done):
        assert not done.sums or done.sums['total'] == done.sums['skipped'] == self.count, done.sums
        return done.code == 0

    def judge(self, done, kind):
        super().judge(done, kind)
        if kind == 'fallocate' or kind == 'pread64' and ', 16384, ' in self.step:  # no order without
            assert done.code == 1, 'it goes on'


class Server(Dovecot):
    def rests(self, user):
        """Waits for the end of the user's sessions."""
        def over():
            log = (self.folder / 'log').read_text()
            ends = re.findall(rf'imap\({user}\).*(?:Disconnected|closed|Logged out)', log)
            return log.count(f'Login: user=<{user}>') <= len(ends)
        try:
            until(over, 60, what='the end of the session')  # (dovecot has taken more than ten seconds)
        except AssertionError as late:
            raise AssertionError(f'{late}; dovecot says: {(self.folder / "log").read_text()[-2000:]}') from late

    def login(self, user):
        client = imaplib.IMAP4('127.0.0.1', self.port)
        client.login(user, 'secret')
        return client

    def all_mails(self, user):
        return collections.Counter((name, frozenset(flags), date, text) for name in self.folders(user)
                                   if self.count(user, name) for flags, date, text in self.mails(user, name))

    def count(self, user, name):
        client = self.login(user)
        count = int(client.select(f'"{name}"', readonly=True)[1][0])
        client.logout()
        return count


@pytest.fixture(name='dovecot', scope='module')
def make_dovecot():
    server = Server()
    yield server
    server.stop()


@pytest.fixture(name='work')
def make_work(tmp_path):
    """Where a file that is left is seen."""
    folder = tmp_path / 'work'
    folder.mkdir()
    return folder


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def thunderbird(folder):
    """A profile with mail of every kind, one account being elsewhere; and its messages."""
    local, outside = folder / 'profile/Mail/Local Folders', folder / 'outside'
    texts = list(map(message, range(9)))
    write(folder / 'profile/prefs.js', b'user_pref("mail.server.server1.directory", "%s");\n' % bytes(outside))
    write(outside / 'Old', FROM + texts[0] + b'\n')
    write(local / 'Inbox', FROM + texts[1] + b'\n')
    write(local / 'Inbox.msf', b'// an index\n')
    write(local / 'Inbox.sbd/Deep.gz', gzip.compress(FROM + texts[2] + b'\n'))
    write(local / 'Many/cur/1:2,S', texts[3])
    write(local / 'Many/new/2.gz', gzip.compress(texts[4]))
    write(local / 'Many/tmp/3', b'half of')
    write(local / 'Many/.Sub/cur/4:2,', texts[5])
    write(local / 'Many/.Sub/new/5', texts[6])
    write(local / 'Letters/6.eml', texts[7])
    write(local / 'Letters/7.emlx', b'%d\n%s' % (len(texts[8]), texts[8]))
    return folder / 'profile', texts


class AsideAgain(Sending):
    """An earlier run has set a message aside, and all lose a field."""
    large = 'large\n' * 300
    known_rejects = FROM + b'X-Bounce-Mbox-Refused: too large\n' + message(9, large.encode()) + b'\n'

    def command(self):
        return [*super().command(), '--remove', 'X-Odd']


def test_a_step_fails_where_one_is_set_aside_again(smtp, mbox, work):
    large, server = AsideAgain.large, smtp(extensions=(b'SIZE 1000', b'PIPELINING'))
    path = mbox(*(b'X-Odd: 1\n' + text for text in (message(0), message(9, large.encode()), message(1))))
    AsideAgain(server, work, path, [message(0), message(1)], [large]).sweep()


@pytest.mark.parametrize('kept', ['plain', 'packed', 'stdin', 'aside', 'tree', 'letter'])
def test_a_step_fails(smtp, mbox, tmp_path, work, kept):
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
    elif kept == 'tree':
        path, messages = thunderbird(tmp_path)
    elif kept == 'letter':
        path, messages = tmp_path / 'letter', messages[:1]
        path.write_bytes(messages[0])
    trial = Sending(server, work, path, messages, aside, stdin)
    trial.sweep()


def test_a_step_fails_by_a_large_journal(smtp, mbox, work):
    LargeJournal(smtp(), work, mbox(message(0), message(1)), [message(1)]).sweep()


def test_a_step_fails_by_a_torn_journal(smtp, mbox, work):
    TornJournal(smtp(), work, mbox(message(0), message(1)), [message(1)]).sweep()


@pytest.mark.parametrize('what', ['status', 'dry run', 'check'])
def test_a_step_of_telling_fails(smtp, mbox, tmp_path, work, what):
    """By a journal that knows of one message sent, one in doubt and one refused; one is new."""
    archive, journal = mbox(*map(message, range(4))), tmp_path / 'journal'
    answers = {('DOT', 2): EOFError(), ('DOT', 3): b'554 5.7.1 no\r\n'}
    bounce('-j', journal, mbox(*map(message, range(3)), name='old'), 'me@new.test',
           smtp(answer=lambda verb, number, _: answers.get((verb, number))).url)
    if what == 'status':
        trial = Telling(work, '--status', journal)
        assert trial.told == (0, {'sent': 1, 'in_doubt': 1, 'refused': 1, 'left': 0})
    elif what == 'dry run':
        trial = Telling(work, '--dry-run', '-j', journal, archive, 'me@new.test', 'nowhere.test')
        told = trial.told[1]
        assert [told[name] for name in ('total', 'already_sent', 'in_doubt', 'skipped')] == [4, 1, 1, 2]
    else:
        trial = Telling(work, '--check', '-d', '1', archive, 'me@new.test', smtp().url)
        assert [found['fate'] for found in trial.told[1]['messages']] == ['might be refused'] * 4
    trial.sweep()


def test_a_step_fails_by_imap(dovecot, tmp_path, work):
    tree = tmp_path / 'tree'
    labelled = b'X-GM-THRID: 1\nX-Gmail-Labels: =?UTF-8?Q?Opened,Inbox,?=\n =?utf-8?B?w5xiZXI=?=\n' + message(1)
    write(tree / 'In', FROM + b'X-Mozilla-Status: 0005\nX-Mozilla-Keys: $label1 work\n' + message(0) + b'\n')
    write(tree / 'Takeout', TAKEOUT + labelled + b'\n')
    write(tree / 'Maildir/cur/1:2,Sa', message(2))
    write(tree / 'Maildir/new/.keep', b'')
    write(tree / 'Maildir/dovecot-keywords', b'0 later\n')
    Imap(dovecot, work, tree, [message(0), labelled, message(2)]).sweep()


def test_a_step_fails_without_a_journal(dovecot, mbox, work):
    Unkept(dovecot, work, mbox(message(0), message(1)), [message(0), message(1)]).sweep()


@pytest.mark.parametrize('function, error, sentence', [
    ('0 fork', errno.EAGAIN, 'cannot run "echo secret": Resource temporarily unavailable'),
    ('0 poll', errno.ENOMEM, 'cannot run "echo secret": Cannot allocate memory'),
    ('0 poll', errno.EINTR, ''),
    ('0 read', errno.EIO, 'cannot run "echo secret": Input/output error'),
    ('0.1 dup2', errno.EBUSY, 'the command "echo secret" failed'),
], ids=['fork', 'poll', 'interrupted poll', 'read', 'dup2'])
def test_a_step_of_the_password_command_fails(smtp, mbox, tmp_path, function, error, sentence):
    """And all others of that function's, one at a time."""
    archive, log, said = mbox(message(0)), tmp_path / 'log', ''
    server = smtp(extensions=(b'AUTH PLAIN',), answer=lambda verb, *_: b'235 ok\r\n' if verb == 'AUTH' else None)
    for number in range(1, 100):
        log.unlink(missing_ok=True)
        done = bounce('--user', 'joe', '--password-command', 'echo secret', archive, 'me@new.test', server.url,
                      env={'LD_PRELOAD': BUILD / 'tests/preload/fail_at.so', 'FAIL_LOG': log,
                           'FAIL_AT': f'{function} {number} {error}'})
        said += done.err
        assert done.code == (0 if server.messages else 1), done.err
        if not log.exists():
            break
        server.messages.clear()
    assert number > 1 and server.messages
    assert sentence in said and bool(said) == bool(sentence)


# What an archive of messages 0 to 4 has, and what of it is exported: two are missing or changed, one is there twice.
EXPORT = [message(0), message(0), message(1, b'other\n'), message(3), message(4), message(9)]


@pytest.mark.parametrize('kept', ['plain', 'packed', 'maildir'])
def test_a_step_of_verify_fails(mbox, tmp_path, work, kept):
    archive, export = mbox(*map(message, range(5))), mbox(*EXPORT, name='export')
    if kept == 'packed':
        for path in (archive, export):
            path.write_bytes(gzip.compress(path.read_bytes()))
    elif kept == 'maildir':
        export = tmp_path / 'maildir'
        for n, text in enumerate(EXPORT):
            write(export / f'cur/{n}:2,', text)
    Comparing(work, [archive], export, (5, 1, 1, 1)).sweep()


def test_a_step_of_verify_by_imap_fails(dovecot, mbox, work):
    assert dovecot.bounce('--folder', 'A', mbox(*EXPORT, name='export'), user='export').code == 0
    account = f'imap://export@127.0.0.1:{dovecot.port}'
    ComparingAccount(dovecot, 'export', work, [mbox(*map(message, range(5)))], account, (5, 1, 1, 1),
                     '--tls-ca', dovecot.folder / 'good.pem', '--password-file', dovecot.password).sweep()


def test_a_step_of_sorting_many_fails(tmp_path, work):
    """More than half a million messages, the first being the newest."""
    count, path = 540000, tmp_path / 'mbox'
    path.write_bytes(FROM + b'Date: Sat, 23 Aug 2008 10:00:00 +0000\n\n' +
                     FROM + b'Date: Wed, 23 Aug 2000 10:00:00 +0000\n\n' + (FROM + b'\n') * (count - 2))
    Sorting(work, path, count).sweep()
