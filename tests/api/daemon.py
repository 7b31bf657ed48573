# SPDX-License-Identifier: MIT
"""portmirrord in a lab: real bridges and frames, and clients of its API."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))
sys.path.insert(0, str(TOP / 'tests/net'))

from lab import TCX, Lab, ethernet, ipv4, own_bpf_file_system  # noqa: E402,F401 (for those that import this)

TOKEN = 'correct-horse-battery-staple'


def until(condition, seconds=10, what='what was waited for'):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, (f'{what() if callable(what) else what} did not happen within '
                                        f'{seconds} s')
        time.sleep(0.01)
    return value


class Answer:
    def __init__(self, raw):
        head, _, self.body = raw.partition(b'\r\n\r\n')
        first, *lines = head.decode('latin-1').split('\r\n')
        self.status = int(first.split(' ')[1])
        self.headers = {name.lower(): value for name, _, value in
                        (line.partition(': ') for line in lines)}

    @property
    def text(self):
        return self.body.decode()

    @property
    def value(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'{self.status} {self.headers}\n{self.text}'


class Daemon:
    """The daemon, in a host's namespace, with its files below a folder of its own."""

    def __init__(self, namespace, root, *options, env=None):
        self.namespace, self.root = namespace, root
        self.sessions = root / 'etc/portmirror/sessions.d'
        self.socket = root / 'run/portmirror/api.sock'
        self.env = {'PORTMIRROR_ROOT': str(root), 'NO_COLOR': '1'}
        self.options, self.started = options, 0
        self.start(env)

    def start(self, env=None):
        self.started += 1
        self.errors = open(self.root / f'log{self.started}', 'w+', encoding='utf-8')
        self.process = self.namespace.popen(
            BUILD / 'src/portmirrord/portmirrord', '--root', self.root, *self.options,
            stderr=self.errors, env={**os.environ, **(env or {})})
        until(self._answers, what='the first answer')

    def _answers(self):
        assert self.process.poll() is None, self.log
        try:
            return self.get('/healthz', accept='*/*').status == 200
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except ConnectionResetError:  # by what the one before it left, as it ended too: the fork of a check
            return False

    @property
    def pid(self):
        """The process itself: what enters the namespace becomes it."""
        return self.process.pid

    @property
    def log(self):
        return ''.join((self.root / f'log{i + 1}').read_text() for i in range(self.started))

    def connect(self):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(str(self.socket))
        return connection

    def send(self, method, path, body=None, accept='application/json', **headers):
        """Sends a request on a connection of its own, which is returned."""
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body), 'application/json'
            headers.setdefault('content_type', kind)
        data = body.encode() if isinstance(body, str) else body or b''
        headers = {'host': 'localhost', 'connection': 'close', 'accept': accept,
                   **({'content_length': len(data)} if body is not None else {}), **headers}
        lines = [f'{method} {path.removeprefix("http://localhost")} HTTP/1.1']
        lines += [f'{name.replace("_", "-")}: {value}' for name, value in headers.items()]
        connection = self.connect()
        connection.sendall('\r\n'.join([*lines, '', '']).encode() + data)
        return connection

    @staticmethod
    def receive(connection):
        raw = b''
        with connection:
            while data := connection.recv(65536):
                raw += data
        return Answer(raw)

    def ask(self, *arguments, **options):
        return self.receive(self.send(*arguments, **options))

    def get(self, path, **options):
        return self.ask('GET', path, **options)

    def post(self, path, body, **options):
        return self.ask('POST', path, body, **options)

    def follow(self, resource, rel, kind=None):
        """The href of a resource's link."""
        found = [link['href'] for link in resource['link']
                 if link['rel'] == rel and (kind is None or link.get('type') == kind)]
        assert len(found) == 1, (rel, kind, resource['link'])
        return found[0]

    def act(self, mirror, **action):
        return self.post(f'/api/mirrors/{mirror}/actions', action)

    def cli(self, *arguments, status=0, **options):
        result = self.namespace.run(BUILD / 'src/portmirror/portmirror', *arguments, check=False,
                                    env={**os.environ, **self.env}, **options)
        allowed = (0, 1, 2) if status is None else (status,)
        assert result.returncode in allowed, f'{result.stdout}{result.stderr}'
        return result

    def cli_json(self, *arguments, **options):
        return json.loads(self.cli(*arguments, '--json', **options).stdout)

    def state(self, mirror):
        return self.get(f'/api/mirrors/{mirror}').value['state']

    def memory(self):
        """Resident bytes."""
        status = pathlib.Path(f'/proc/{self.pid}/status').read_text()
        return int(status.partition('VmRSS:')[2].split()[0]) * 1024

    def descriptors(self):
        return len(os.listdir(f'/proc/{self.pid}/fd'))

    def children(self):
        path = pathlib.Path(f'/proc/{self.pid}/task/{self.pid}/children')
        return [int(pid) for pid in path.read_text().split()]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()

    def stop(self):
        """Its end must be a good one."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.errors.close()
        assert status == 0, self.log
        assert 'Sanitizer' not in self.log and 'runtime error' not in self.log, self.log


class Vm:
    """A process with QEMU's command line that holds a tap of this name on the bridge."""

    def __init__(self, host, name, tap, number=1):
        holder = BUILD / 'tests/unit/portmirror/test-tap-holder'
        words = ['qemu-system-x86_64', '-name', f'guest={name},debug-threads=on', '-uuid',
                 f'00000000-0000-0000-0000-{number:012d}', '-netdev',
                 '{"type":"tap","fd":"30","id":"hostnet0"}', '-device',
                 '{"driver":"virtio-net-pci","netdev":"hostnet0","id":"net0",'
                 f'"mac":"52:54:00:00:00:{number:02x}"}}']
        self.process = host.popen('bash', '-c', f'exec -a {words[0]} {holder} "$@"', 'sh', *words[1:],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  env={**os.environ, 'TAPS': f'30={tap}'})
        self.ready = self.process.stdout.read(5) == 'ready'
        if self.ready:
            host.ip(f'link set {tap} master br0 up')

    def stop(self):
        if self.process.poll() is None:
            self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()
