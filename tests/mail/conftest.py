# SPDX-License-Identifier: MIT
"""bounce-mbox against servers of our own, on 127.0.0.1 and ports that the kernel chooses."""
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))
PROGRAM = os.environ.get('BOUNCE_MBOX', str(BUILD / 'src/bounce-mbox/bounce-mbox'))
FROM = b'From - Sat Aug 23 10:00:00 2008\n'


def until(condition, seconds=10, what='it'):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'{what} did not happen within {seconds} s'
        time.sleep(0.002)


def connections(listener):
    """Until it is closed."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        yield connection


def close_listener(listener, acceptor):
    """Not before nobody accepts there any more: the next listener may get the same descriptor, and lose a
    connection to this one's thread."""
    if listener.fileno() >= 0:
        listener.shutdown(socket.SHUT_RDWR)
        acceptor.join()
        listener.close()


class Smtp:
    """An SMTP server that does as it is told. answer(verb, number, server) may return a reply
    (bytes), None for the usual one, or an exception to raise: EOFError closes the connection."""

    def __init__(self, extensions=(b'SIZE 50000000', b'PIPELINING', b'8BITMIME'), answer=None,
                 lmtp=False, piece=None, tls=None):
        self.extensions = extensions
        self.answer = answer or (lambda verb, number, server: None)
        self.lmtp = lmtp
        self.piece = piece
        self.tls = tls
        self.messages = []
        self.commands = []
        self.accepted = self.open = 0
        self.lock = threading.Lock()
        self.counts = {}
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.url = f'{"lmtp" if lmtp else "smtp"}://127.0.0.1:{self.port}'
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        for connection in connections(self.listener):
            self.accepted += 1
            with self.lock:
                self.open += 1
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def rests(self):
        """Waits until it is done with all connections."""
        until(lambda: self.open == 0, what='the end of the sessions')

    def close(self):
        close_listener(self.listener, self.acceptor)

    def say(self, connection, reply):
        step = self.piece or len(reply) or 1
        for at in range(0, len(reply), step):
            connection.sendall(reply[at:at + step])

    def reply(self, connection, verb, usual, message=None):
        """Whether it is a good one; then the message is taken, before the client can know."""
        with self.lock:
            self.counts[verb] = self.counts.get(verb, 0) + 1
            said = self.answer(verb, self.counts[verb], self)
        if isinstance(said, BaseException):
            raise said
        good = said is None or said[:1] in b'23'
        if good and message is not None:
            self.messages.append(message)
        self.say(connection, usual if said is None else said)
        return good

    def serve(self, connection):
        sockets = [connection]
        try:
            self.reply(connection, 'GREETING', b'220 test\r\n')
            self.talk(sockets)
        except (EOFError, ConnectionError, ValueError, OSError):
            pass
        finally:
            # shutdown() too: makefile() holds the socket open
            try:
                sockets[-1].shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sockets[-1].close()
            with self.lock:
                self.open -= 1

    def hello(self):
        lines = [b'test', *self.extensions]
        return b''.join(b'250-' + line + b'\r\n' for line in lines[:-1]) + b'250 ' + lines[-1] + b'\r\n'

    def talk(self, sockets):
        """sockets: the connection, and what STARTTLS makes of it."""
        connection = sockets[0]
        stream = connection.makefile('rb')
        chunks, open_ = [], [False, False]
        while True:
            line = stream.readline()
            if not line.endswith(b'\n'):  # it died in the middle
                return
            assert line.endswith(b'\r\n'), line
            self.commands.append(line[:-2])
            verb = line.split()[0].decode().upper()
            if verb in ('EHLO', 'LHLO'):
                self.reply(connection, verb, self.hello())
            elif verb == 'DATA':
                if not all(open_):
                    self.say(connection, b'503 5.5.1 no recipients\r\n')
                elif self.reply(connection, verb, b'354 go\r\n'):
                    self.read_data(connection, stream)
                    open_ = [False, False]
            elif verb == 'BDAT':
                chunks.append(stream.read(int(line.split()[1])))
                if len(chunks[-1]) < int(line.split()[1]):
                    return
                last = line.upper().rstrip().endswith(b'LAST')
                self.reply(connection, verb, b'250 2.0.0 ok\r\n', b''.join(chunks) if last else None)
                if last:
                    chunks = []
            elif verb == 'STARTTLS' and self.tls:
                self.reply(connection, verb, b'220 go\r\n')
                connection = self.tls.wrap_socket(connection, server_side=True)
                sockets.append(connection)
                stream = connection.makefile('rb')
            elif verb == 'QUIT':
                self.reply(connection, verb, b'221 bye\r\n')
                return
            elif verb == 'RSET':
                self.reply(connection, verb, b'250 2.0.0 ok\r\n')
                open_ = [False, False]
            elif verb in ('MAIL', 'RCPT'):
                good = self.reply(connection, verb, b'250 2.0.0 ok\r\n')
                open_[verb == 'RCPT'] = good or open_[verb == 'RCPT']
            else:
                self.reply(connection, verb, b'250 2.0.0 ok\r\n')

    def read_data(self, connection, stream):
        lines = []
        while (line := stream.readline()) != b'.\r\n':
            if not line:
                raise EOFError
            self.reply_in_body(connection, len(lines))
            lines.append(line[1:] if line.startswith(b'.') else line)
        self.reply(connection, 'DOT', b'250 2.0.0 ok\r\n', b''.join(lines))

    def reply_in_body(self, connection, lines):
        with self.lock:
            said = self.answer('LINE', lines, self)
        if isinstance(said, BaseException):
            raise said
        if said:
            self.say(connection, said)


class Tap:
    """Between the two: what one side says is let through up to so many bytes, all connections together; then
    at_limit() is called, and the connection cut."""

    def __init__(self, port, side, limit=None):
        self.port, self.side, self.limit, self.at_limit = port, side, limit, lambda: None
        self.passed = {'client': b'', 'server': b''}
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'127.0.0.1:{self.listener.getsockname()[1]}'
        self.acceptor = threading.Thread(target=self.accept, daemon=True)
        self.acceptor.start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(('127.0.0.1', self.port))
            except OSError:
                return
            threading.Thread(target=self.pump, args=(near, far, 'client'), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, 'server'), daemon=True).start()

    def pump(self, source, target, side):
        limit = self.limit if side == self.side else None
        try:
            while data := source.recv(65536):
                room = len(data) if limit is None else limit - len(self.passed[side])
                target.sendall(data[:room])
                self.passed[side] += data[:room]
                if limit is not None and len(self.passed[side]) >= limit:
                    self.at_limit()
                    break
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        close_listener(self.listener, self.acceptor)


@pytest.fixture
def smtp():
    servers = []

    def make(*args, **options):
        servers.append(Smtp(*args, **options))
        return servers[-1]
    yield make
    for server in servers:
        server.close()


@pytest.fixture(scope='session')
def preload(tmp_path_factory):
    path = tmp_path_factory.mktemp('preload') / 'kill_write.so'
    subprocess.run(['cc', '-shared', '-fPIC', '-D_GNU_SOURCE', '-o', path, TOP / 'tests/mail/kill_write.c'],
                   check=True)
    return str(path)


class Result:
    def __init__(self, done):
        self.code = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()
        self.sums = json.loads(self.out) if self.out.startswith('{') else None


def bounce(*args, timeout=30, stdin=None, env=None, fast=True, popen=False):
    command = [PROGRAM, *(('--delay', '0', '--json', '--backoff', '0.002') if fast else ()), *map(str, args)]
    whole = {**os.environ, **(env or {})}
    if popen:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=whole)
    done = subprocess.run(command, capture_output=True, timeout=timeout, env=whole, input=stdin)
    result = Result(done)
    if result.sums:
        s = result.sums
        assert s['read'] == s['sent'] + s['skipped'] + s['already_sent'] + s['set_aside'] + s['failed']
    return result


@pytest.fixture
def mbox(tmp_path):
    """Writes messages, each given as the bytes of its header and body, into an mbox file."""
    def write(*messages, name='mbox', separator=FROM):
        path = tmp_path / name
        path.write_bytes(b''.join(separator + message + b'\n' for message in messages))
        return path
    return write


def message(n, body=b'text\n'):
    return (b'Date: Sat, 23 Aug 2008 10:%02d:%02d +0000\nMessage-ID: <m%d@test>\nSubject: %d\n\n'
            % (n // 60, n % 60, n, n) + body)


def crlf(text):
    return text.replace(b'\r\n', b'\n').replace(b'\n', b'\r\n')
