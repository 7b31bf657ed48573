# SPDX-License-Identifier: MIT
"""bounce-mbox is killed behind each kind of byte that it or the server says: the first of a line, one within it, its
CR, its LF; nothing is lost then, and nothing doubled but what was in doubt. With EVERY_BYTE=1 in the environment it is
killed behind each byte, which takes minutes."""
import collections
import os
import threading

import pytest
from conftest import Tap, bounce, crlf, message
from test_server import certificate, context  # noqa: F401 (a fixture)

COUNT = 2
WAYS = {
    # a login, DATA, and a recipient that is refused for now: RSET
    'data': (b'AUTH PLAIN', b'PIPELINING', b'SIZE', b'ENHANCEDSTATUSCODES'),
    'one by one': (b'SIZE',),
    'bdat': (b'CHUNKING', b'PIPELINING', b'8BITMIME'),
    'lmtp': (b'PIPELINING',),
    'starttls': (b'STARTTLS', b'PIPELINING'),
}


def limits(said, way):
    if os.environ.get('EVERY_BYTE'):
        return range(1, len(said) + 1)
    if way == 'starttls':  # records, not lines
        return range(1, len(said) + 1, 101)
    found, start = set(), 0
    for line in said.splitlines(keepends=True):
        end = start + len(line)
        found |= {start + 1, (start + end) // 2, end - 1, end}
        start = end
    return sorted(found - {0})


class Trial:
    def __init__(self, smtp, folder, way, certificate):  # noqa: F811
        self.smtp, self.folder, self.way, self.certificate = smtp, folder, way, certificate
        (folder / 'password').write_text('secret\n')

    def server(self):
        def answer(verb, number, _server):
            if self.way == 'data' and (verb, number) == ('RCPT', 2):
                return b'450 4.2.0 later\r\n'
            return b'235 2.7.0 ok\r\n' if verb == 'AUTH' else None
        return self.smtp(extensions=WAYS[self.way], answer=answer, lmtp=self.way == 'lmtp',
                         tls=context(self.certificate) if self.way == 'starttls' else None)

    def arguments(self, journal, path, url):
        login = ('--user', 'joe', '--password-file', self.folder / 'password') if self.way == 'data' else ()
        scheme = 'lmtp' if self.way == 'lmtp' else 'smtp'
        return (*login, '--tls-ca', self.certificate / 'good.pem', '-j', journal, path, 'me@new.test', f'{scheme}://{url}')

    def dies(self, journal, path, server, side, limit):
        tap, lock = Tap(server.port, side, limit), threading.Lock()

        def kill():
            with lock:
                process.kill()
                process.wait()
        tap.at_limit = kill
        with lock:
            process = bounce(*self.arguments(journal, path, tap.url), popen=True)
        process.communicate(timeout=30)
        tap.close()
        server.rests()

    def is_cut_off(self, journal, path, server, side, limit):
        """The connection breaks once; what does bounce-mbox make of it?"""
        tap = Tap(server.port, side, limit)

        def once():
            tap.limit = None
        tap.at_limit = once
        done = bounce(*self.arguments(journal, path, tap.url))
        tap.close()
        server.rests()
        return done

    def whole(self, path, side):
        server = self.server()
        tap = Tap(server.port, side)
        done = bounce(*self.arguments(self.folder / 'whole', path, tap.url))
        assert done.code == 0 and len(server.messages) == COUNT, done.err
        return tap.passed[side]


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('side', ['client', 'server'])
def test_dies_behind_a_byte(smtp, mbox, tmp_path, certificate, way, side):  # noqa: F811
    path = mbox(*(message(n, b'.\n') for n in range(COUNT)))
    expected = collections.Counter(crlf(message(n, b'.\n')) for n in range(COUNT))
    trial = Trial(smtp, tmp_path, way, certificate)
    doubts = 0
    for limit in limits(trial.whole(path, side), way):
        server, journal = trial.server(), tmp_path / f'journal{limit}'
        trial.dies(journal, path, server, side, limit)
        again = trial.arguments(journal, path, f'127.0.0.1:{server.port}')
        doubt = bounce(*again).sums['in_doubt']
        server.rests()
        got = collections.Counter(server.messages)
        assert not got - expected, f'something was sent twice after byte {limit}'
        assert sum((expected - got).values()) <= doubt, f'something was lost after byte {limit}'
        if doubt:
            assert bounce('--resend-doubtful', *again).code == 0
            server.rests()
            got = collections.Counter(server.messages)
            assert not expected - got, f'something was lost after byte {limit}'
            assert sum((got - expected).values()) <= doubt, f'too much was doubled after byte {limit}'
        doubts += doubt
    assert doubts > 0  # some of the bytes are those behind which nobody can know


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('side', ['client', 'server'])
def test_the_connection_breaks_behind_a_byte(smtp, mbox, tmp_path, certificate, way, side):  # noqa: F811
    path = mbox(*(message(n, b'.\n') for n in range(COUNT)))
    expected = collections.Counter(crlf(message(n, b'.\n')) for n in range(COUNT))
    trial = Trial(smtp, tmp_path, way, certificate)
    for limit in limits(trial.whole(path, side), way):
        server, journal = trial.server(), tmp_path / f'journal{limit}'
        done = trial.is_cut_off(journal, path, server, side, limit)
        sums, got = done.sums, collections.Counter(server.messages)
        where = f'after byte {limit}: {done.err}'
        assert not got - expected, f'something was sent twice {where}'
        assert sums['sent'] + sums['in_doubt'] == COUNT or sums['trouble'], f'it does not add up {where}'
        assert sums['sent'] <= sum(got.values()), f'something was lost {where}'
        assert done.code == (0 if sums['sent'] == COUNT else 1)
        again = bounce(*trial.arguments(journal, path, f'127.0.0.1:{server.port}'))
        server.rests()
        assert again.sums['in_doubt'] == sums['in_doubt']
        assert again.sums['already_sent'] == sums['sent'], f'the journal is not what it should be {where}'
        got = collections.Counter(server.messages)
        assert not got - expected and sum((expected - got).values()) <= sums['in_doubt']
