# SPDX-License-Identifier: MIT
"""What an IMAP server may have is asked for, and put there again only where it says that it is not there."""
import contextlib
import json
import re
import signal
import socket
import threading

import pytest
from conftest import bounce, close_listener, connections, crlf, message


class Imap:
    """A server with one mailbox that does as it is told: answer(session, command, server) may return what to say instead
    of the usual (bytes; their last line gets the command's tag), or an exception to raise: EOFError closes the connection.
    For APPEND it is asked when the message is there."""
    capabilities = b'IMAP4rev1 UIDPLUS'

    def __init__(self, password, answer):
        self.password, self.answer = password, answer
        self.messages, self.said, self.sessions, self.line = [], [], 0, b''
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'imap://127.0.0.1:{self.listener.getsockname()[1]}'
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        for connection in connections(self.listener):
            self.sessions += 1
            with connection, connection.makefile('rwb', buffering=0) as stream, contextlib.suppress(EOFError, OSError):
                self.serve(stream, self.sessions)

    def usual(self, command, line, stream):
        """What there is to say before OK, and behind it."""
        if command == 'CAPABILITY':
            return b'* CAPABILITY %s\r\n' % self.capabilities, b''
        if command == 'APPEND':
            stream.write(b'+ go\r\n')
            size, body = int(re.search(rb'\{(\d+)', line)[1]), b''
            while len(body) < size:
                body += stream.read(size - len(body))
            stream.readline()
            self.messages.append(body)
            return b'', b'[APPENDUID 7 %d]' % len(self.messages) if b'UIDPLUS' in self.capabilities else b''
        if command == 'EXAMINE':
            return b'* %d EXISTS\r\n* OK [UIDVALIDITY 7] ok\r\n' % len(self.messages), b''
        if command == 'UID' and b'SEARCH' in line:
            wanted = re.search(rb'<.*>', line)[0]
            return b'* SEARCH%s\r\n' % b''.join(b' %d' % n for n, m in enumerate(self.messages, 1) if wanted in m), b''
        return b'', b''

    def serve(self, stream, session):
        greeting = self.answer(session, 'GREETING', self)
        if isinstance(greeting, BaseException):
            raise greeting
        stream.write((greeting or b'* PREAUTH hi') + b'\r\n')
        while line := stream.readline():
            tag, command = line.split()[:2]
            command = command.decode()
            self.said.append(command)
            self.line = line
            before, behind = self.usual(command, line, stream)
            reply = self.answer(session, command, self)
            if isinstance(reply, BaseException):
                raise reply
            if reply is None:
                reply = before + tag + b' OK ' + behind
            else:
                before, end, last = reply.rpartition(b'\r\n')
                reply = before + end + tag + b' ' + last
            stream.write(reply + b'\r\n')

    def bounce(self, *args, **options):
        return bounce('--tls', 'off', '--timeout', '5', '--password-file', self.password, *args, 'joe', self.url, **options)

    def close(self):
        close_listener(self.listener, self.acceptor)


@pytest.fixture
def imap(tmp_path):
    servers = []
    (tmp_path / 'password').write_text('never asked for\n')

    def start(answer):
        servers.append(Imap(tmp_path / 'password', answer))
        return servers[-1]
    yield start
    for server in servers:
        server.close()


BANDWIDTH = b'Account exceeded command or bandwidth limits.'


@pytest.mark.parametrize('command,words', [('APPEND', b'NO [OVERQUOTA] %s (Failure)' % BANDWIDTH),
                                           ('CREATE', b'* BYE [OVERQUOTA] %s\r\nNO so' % BANDWIDTH)])
def test_gmails_limit_of_a_day(imap, mbox, tmp_path, command, words):
    """It is waited for. The code is that of a full mailbox, for which messages are set aside, and the run ends."""
    server = imap(lambda _, said, server: words if said == command else None)
    args = '-j', tmp_path / 'j', '--folder', 'New', mbox(*map(message, range(4)))
    process = server.bounce(*args, popen=True)
    try:
        said = next(line for line in process.stderr if b'going on in' in line)
        assert BANDWIDTH in said and b'going on in 3600 s' in said
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert [json.loads(out)[key] for key in ('sent', 'set_aside', 'failed')] == [0, 0, 0]
    server.messages.clear()  # none was kept
    server.answer = lambda *_: None
    assert server.bounce(*args).code == 0 and server.messages == [crlf(message(n)) for n in range(4)]


def test_gmail_puts_off_a_login(imap, mbox):
    """That is no wrong password."""
    def answer(session, command, server):
        if session == 1 and command == 'APPEND' and len(server.messages) == 2:
            return EOFError()
        if session == 2 and command in ('GREETING', 'LOGIN'):
            return b'* OK hi' if command == 'GREETING' else b'NO [ALERT] %s (Failure)' % BANDWIDTH
    server = imap(answer)
    done = server.bounce(mbox(*map(message, range(4))))
    assert done.code == 0 and server.messages == [crlf(message(n)) for n in range(4)], done.err
    assert server.sessions == 3 and 'LOGIN' in server.said


def test_a_server_without_keywords(imap, mbox):
    """$Forwarded is one, though the archive keeps it as a flag."""
    flags = []

    def answer(_, command, server):
        if command == 'APPEND':
            flags.append(re.search(rb'\((.*?)\)', server.line)[1].split())
            return b'NO [CANNOT] no keywords here' if flags[-1][1:] else None
    for fields in b'X-Mozilla-Status: 1001\n', b'X-Mozilla-Status: 1001\nX-Mozilla-Keys: work\n':
        flags.clear()
        done = imap(answer).bounce(mbox(fields + message(0)))
        assert done.sums['sent'] == 1 and 'without their keywords' in done.err, done.err
        assert flags[0][:2] == [b'\\Seen', b'$Forwarded'] and flags[1:] == [[b'\\Seen']]


@pytest.mark.parametrize('word', ['EXAMINE', 'UID'])
@pytest.mark.parametrize('journal', [True, False])
def test_breaks_again_while_it_asks(imap, mbox, tmp_path, word, journal):
    """The doubt is still there on the third connection."""
    server = imap(lambda session, command, _: EOFError() if (session, command) in ((1, 'APPEND'), (2, word)) else None)
    done = server.bounce(*(('-j', tmp_path / 'j') if journal else ()), mbox(message(0)))
    assert done.code == 0 and server.messages == [crlf(message(0))], done.err
    assert server.sessions == 3 and server.said.count('APPEND') == 1


def test_a_run_that_comes_to_nothing_in_between(imap, mbox, tmp_path):
    """One that may ask, and gets no further than the greeting: what was in doubt before is so behind it."""
    path, journal = mbox(message(0)), tmp_path / 'j'

    def gives_up(session, command, _):
        return EOFError() if session > 1 or command == 'APPEND' else None
    server = imap(gives_up)
    assert server.bounce('-j', journal, path).code == 1
    assert 'in doubt 1' in bounce('--status', journal, fast=False).out
    server.answer = lambda *_: b'* BYE not now'
    done = server.bounce('-j', journal, path)
    assert done.code == 1 and 'not now' in done.err and 'in doubt 1' in bounce('--status', journal, fast=False).out
    server.answer = lambda *_: None
    assert server.bounce('-j', journal, path).sums['sent'] == 1
    assert server.messages == [crlf(message(0))]
    assert 'sent 1, in doubt 0' in bounce('--status', journal, fast=False).out


def test_asked_in_vain_each_time(imap, mbox, tmp_path):
    """It is in doubt, not set aside: set aside means that it is not there."""
    server = imap(lambda session, command, _: EOFError() if command in ('APPEND', 'EXAMINE') else None)
    done = server.bounce('-j', tmp_path / 'j', '--rejects', tmp_path / 'rejects', mbox(message(0)))
    assert done.sums['in_doubt'] == 1 and done.sums['set_aside'] == 0, done.err
    assert 'in doubt 1' in bounce('--status', tmp_path / 'j', fast=False).out


def test_smtp_resent_in_vain(smtp, mbox, tmp_path):
    """A second attempt that is refused tells nothing of the first one."""
    path, journal = mbox(message(0)), tmp_path / 'j'
    server = smtp(answer=lambda verb, *_: EOFError() if verb == 'DOT' else None)
    assert bounce('-j', journal, path, 'me@new.test', server.url).sums['in_doubt'] == 1
    for verb in 'GREETING', 'RCPT', 'DOT':
        server.answer = lambda said, *_, verb=verb: b'550 no\r\n' if said == verb else None
        bounce('-j', journal, '--resend-doubtful', path, 'me@new.test', server.url)
        assert 'in doubt 1' in bounce('--status', journal, fast=False).out, verb
    server.answer = lambda *_: None
    assert bounce('-j', journal, path, 'me@new.test', server.url).sums['in_doubt'] == 1 and not server.messages
    assert bounce('-j', journal, '--resend-doubtful', path, 'me@new.test', server.url).sums['sent'] == 1
    assert 'sent 1, in doubt 0' in bounce('--status', journal, fast=False).out


@pytest.mark.parametrize('command', ['EXAMINE', 'UID'])
@pytest.mark.parametrize('words', [b'NO [INUSE] busy', b'NO Server Unavailable. 15', b'BAD what'], ids=['inuse', 'bare', 'bad'])
def test_the_server_does_not_tell(imap, mbox, tmp_path, command, words):
    """That it refuses to look does not mean that the message is not there: it is in doubt until it tells."""
    def answer(session, said, server):
        if said == 'LIST' and server.said[-2:-1] == ['EXAMINE']:
            return b'* LIST () "/" INBOX\r\nOK'
        return EOFError() if (session, said) == (1, 'APPEND') else words if said == command else None
    server, path = imap(answer), mbox(message(0), message(1))
    done = server.bounce('-j', tmp_path / 'j', path)
    assert (done.sums['in_doubt'], done.sums['sent'], done.sums['set_aside']) == (1, 1, 0), done.err
    copy = (tmp_path / 'j').read_bytes()
    server.answer = lambda *_: None
    assert server.bounce('-j', tmp_path / 'j', path).sums['sent'] == 1
    assert server.messages == [crlf(message(n)) for n in range(2)]
    (tmp_path / 'j').write_bytes(copy)
    server.answer = answer
    server.sessions = 1
    assert server.bounce('-j', tmp_path / 'j', '--resend-doubtful', path).sums['sent'] == 1
    assert server.messages.count(crlf(message(0))) == 2


@pytest.mark.parametrize('found', [False, True], ids=['sent', 'found'])
@pytest.mark.parametrize('journal', [True, False])
@pytest.mark.parametrize('uids', [True, False])
def test_a_shared_id(imap, mbox, tmp_path, journal, uids, found):
    """A list's copy and a direct one: the first one, which was sent, or found, is not taken for the second, in doubt.
    Where the server tells no UIDs it may be either."""
    same = [message(0, b'one\n'), message(0, b'two\n')]

    def answer(session, said, server):
        if said != 'APPEND':
            return None
        if server.messages[-1] == crlf(same[1]) and session == 1 + found:
            server.messages.pop()  # it never arrived
            return EOFError()
        return EOFError() if found and session == 1 else None
    server = imap(answer)
    server.capabilities = b'IMAP4rev1 UIDPLUS' if uids else b'IMAP4rev1'
    path, keeps = mbox(*same), ('-j', tmp_path / 'j') if journal else ()
    done = server.bounce('--rate', '50/s', *keeps, path)
    known = uids or found  # a search tells UIDs, too
    assert (done.sums['sent'], done.sums['in_doubt']) == ((2, 0) if known else (1, 1)), done.err
    assert server.messages == [crlf(m) for m in (same if known else same[:1])]
    assert known or 'may be another message' in done.out
    if journal and not known:
        assert server.bounce(*keeps, '--resend-doubtful', path).sums['sent'] == 1
        assert server.messages == [crlf(m) for m in same]
