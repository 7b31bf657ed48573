# SPDX-License-Identifier: MIT
"""The API's server on real sockets: clients that do as they please, and library (library.c), an API
that serves books."""
import contextlib
import os
import pathlib
import resource
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import pytest

from daemon import own_bpf_file_system

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))
LIBRARY = BUILD / 'tests/api/library'
TOKEN = 'correct-horse-battery-staple'


def pytest_configure(config):
    if os.geteuid() == 0:
        own_bpf_file_system()
    config.addinivalue_line('markers', 'ordinary: not with the sanitizers, which change what it measures')
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def until(condition, seconds=10, what='it'):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f'{what} did not happen within {seconds} s'
        time.sleep(0.005)


class Answer:
    """A status, the headers (names in small letters, each with a list of values), a body."""

    def __init__(self, head, body):
        lines = head.decode('latin-1').split('\r\n')
        self.version, status, *_ = lines[0].split(' ')
        self.status, self.headers, self.body = int(status), {}, body
        for line in lines[1:]:
            name, _, value = line.partition(': ')
            self.headers.setdefault(name.lower(), []).append(value)

    def header(self, name):
        return ', '.join(self.headers[name]) if name in self.headers else None

    @property
    def text(self):
        return self.body.decode()


class Client:
    """A connection on which anything can be sent. What came too early for one answer is kept for the
    next."""

    def __init__(self, connection):
        connection.settimeout(20)
        self.socket, self.rest = connection, b''

    def send(self, data):
        self.socket.sendall(data)
        return self

    def _more(self):
        data = self.socket.recv(65536)
        self.rest += data
        return bool(data)

    def answer(self, head=False):
        """The next answer; None where the connection ends first. head: it has no body."""
        while b'\r\n\r\n' not in self.rest:
            if not self._more():
                assert self.rest == b'', f'the answer ends early: {self.rest}'
                return None
        start, _, self.rest = self.rest.partition(b'\r\n\r\n')
        answer = Answer(start, b'')
        bare = head or answer.status in (100, 204, 304)
        length = 0 if bare else int(answer.header('content-length'))
        while len(self.rest) < length:
            assert self._more(), 'the body ends early'
        answer.body, self.rest = self.rest[:length], self.rest[length:]
        return answer

    def ended(self):
        """Waits for the end of the connection; what came before."""
        with contextlib.suppress(ConnectionResetError):
            while self._more():
                pass
        return self.rest

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def request(method='GET', target='/api', headers=(), body=None, host='localhost'):
    lines = [f'{method} {target} HTTP/1.1']
    if host is not None:
        lines.append(f'Host: {host}')
    lines += [f'{name}: {value}' for name, value in dict(headers).items()]
    if body is not None:
        lines.append(f'Content-Length: {len(body)}')
    return '\r\n'.join([*lines, '', '']).encode() + (body or b'')


def counts_of(answer):
    """What library's /metrics says, by name."""
    assert answer.status == 200, answer.text
    return {name: int(value) for name, value in map(str.split, answer.text.splitlines())}


class Server:
    def __init__(self, folder, options=(), where=(), token=TOKEN, tcp=True, **popen):
        self.path, self.folder = folder / 'api.sock', folder
        where = where or [f'unix:{self.path}'] + ['tcp:127.0.0.1:0'] * tcp
        if token is not None:
            secret = folder / 'token'
            secret.write_text(token + '\n')
            secret.chmod(0o600)
            options = ['--token', secret, *options]
        self.errors = open(folder / 'log', 'w+', encoding='utf-8')
        self.process = subprocess.Popen([LIBRARY, *options, *where], stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True, **popen)
        port = self.process.stdout.readline()
        if not port:
            self.process.wait(10)
        self.port = int(port or 0)

    @property
    def log(self):
        return (self.folder / 'log').read_text()

    def unix(self):
        client = socket.socket(socket.AF_UNIX)
        client.connect(str(self.path))
        return Client(client)

    def tcp(self):
        return Client(socket.create_connection(('127.0.0.1', self.port)))

    def tls(self, certificate):
        context = ssl.create_default_context(cafile=certificate)
        plain = socket.create_connection(('127.0.0.1', self.port))
        return Client(context.wrap_socket(plain, server_hostname='localhost'))

    def ask(self, *args, connect=None, **options):
        with (connect or self.unix)() as client:
            return client.send(request(*args, **options)).answer(head=args[:1] == ('HEAD',))

    def counts(self):
        return counts_of(self.ask('GET', '/metrics'))

    def memory(self):
        """Resident bytes."""
        status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text()
        return int(status.partition('VmRSS:')[2].split()[0]) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(20)
        self.process.stdout.close()
        self.errors.close()
        return code


@pytest.fixture
def folder():
    """A folder that other users can enter, unlike pytest's."""
    path = pathlib.Path(tempfile.mkdtemp(prefix='api-'))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def serve(folder):
    """serve(OPTION…): a library, which must end well."""
    servers = []

    def make(*options, **more):
        servers.append(Server(folder, options, **more))
        assert servers[-1].process.poll() is None, servers[-1].log
        return servers[-1]

    yield make
    for server in servers:
        assert server.stop() == 0, server.log
        assert 'Sanitizer' not in server.log and 'runtime error' not in server.log, server.log


@pytest.fixture
def refuse(folder):
    """refuse(OPTION…): why a library does not start."""
    def make(*options, **more):
        server = Server(folder, options, **more)
        code = server.stop()
        assert code == 1, (code, server.log)
        return server.log
    return make


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture(scope='session')
def certificate(tmp_path_factory):
    """(certificate, key) of localhost, signed by itself."""
    folder = tmp_path_factory.mktemp('tls')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                    '-nodes', '-days', '2', '-subj', '/CN=localhost', '-addext',
                    'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', 'key.pem',
                    '-out', 'cert.pem'], cwd=folder, check=True, capture_output=True)
    (folder / 'key.pem').chmod(0o600)
    return folder / 'cert.pem', folder / 'key.pem'
