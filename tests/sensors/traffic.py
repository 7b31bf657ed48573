# SPDX-License-Identifier: MIT
"""Mixed traffic by real programs: nginx and curl, sshd and ssh, dnsmasq and dig, iperf3, ping."""
import contextlib
import pathlib
import socket
import subprocess
import time

from lab import BROADCAST, arp, ethernet

# All on one processor: each has a queue of its own for frames that arrive at a veth, and with two of them
# a stream's frames could overtake each other, before or behind the mirror.
PINNED = ('taskset', '--cpu-list', '0')
QUIET = {'stdout': subprocess.DEVNULL, 'stderr': subprocess.DEVNULL}
PAGES = {'small': 700, 'page': 20_000, 'large': 1_000_000}

NGINX = '''
daemon off; user root; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/nginx-1; proxy_temp_path {folder}/nginx-2;
  fastcgi_temp_path {folder}/nginx-3; uwsgi_temp_path {folder}/nginx-4; scgi_temp_path {folder}/nginx-5;
  server {{ listen 80; root {folder}/www; }}
}}
'''
SSHD = '''
HostKey {folder}/host-key
AuthorizedKeysFile {folder}/user-key.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
'''
# sshd insists on a folder below /run that Debian makes when it starts as a service.
SSHD_START = 'mount -t tmpfs none /run && mkdir /run/sshd && exec /usr/sbin/sshd "$@"'


class Traffic:
    """The servers on one machine of the lab, and what the other says to them."""

    def __init__(self, lab, folder):
        self.client, self.server = lab.machines
        self.folder = pathlib.Path(folder)
        for machine in lab.machines:
            # Small windows: a burst must fit where frames wait before a veth (1,000 of them), and in
            # the buffers of sensors that don't say what they lost.
            machine.sysctl(net__ipv4__tcp_rmem='4096 65536 131072')
        (self.folder / 'www').mkdir()
        for name, size in PAGES.items():
            text = ''.join(f'{name} {number}\n' for number in range(size // 8))
            (self.folder / 'www' / name).write_text(text[:size])
        for key in ('host-key', 'user-key'):
            subprocess.run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', self.folder / key],
                           check=True)
        self._running = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as self._running:
            for name, text in (('nginx', NGINX), ('sshd', SSHD)):
                (self.folder / f'{name}.conf').write_text(text.format(folder=self.folder))
            self._serve('nginx', '-c', self.folder / 'nginx.conf')
            self._serve('unshare', '--mount', 'sh', '-c', SSHD_START, 'sshd', '-D', '-e', '-f',
                        self.folder / 'sshd.conf')
            self._serve('dnsmasq', '--keep-in-foreground', '--conf-file=/dev/null', '--no-resolv',
                        '--no-hosts', '--user=root', '--pid-file', f'--listen-address={self.server.ipv4}',
                        '--bind-interfaces', '--host-record=www.example.test,10.0.0.2,fd00::2',
                        '--txt-record=example.test,' + 'long ' * 45, '--local=/test/')
            self._serve('iperf3', '--server')
            for port in (80, 22, 53, 5201):
                self._answers(port)
            self._running = self._running.pop_all()
        return self

    def __exit__(self, *_):
        self._running.close()

    def _serve(self, *command):
        process = self.server.popen(*PINNED, *command, stdin=subprocess.DEVNULL, **QUIET)
        self._running.callback(process.wait)
        self._running.callback(process.terminate)

    def _answers(self, port):
        """Waits until the server listens. From inside the server: nothing is seen on the wire."""
        end = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError):
                address = (self.server.ipv4, port)
                self.server.inside(lambda: socket.create_connection(address, 1)).close()
                return
            assert time.monotonic() < end, f'no server at port {port}'
            time.sleep(0.05)

    def _run(self, *command, status=0):
        result = self.client.run(*PINNED, *command, check=False)
        assert result.returncode == status, f'{command}: {result.stdout}{result.stderr}'
        return result.stdout

    def web(self):
        at = f'http://{self.server.ipv4}'
        for name in PAGES:
            self._run('curl', '-s', '-o', '/dev/null', f'{at}/{name}', '--limit-rate', '4M')
        self._run('curl', '-s', '-o', '/dev/null', f'{at}/small', f'{at}/nothing', f'{at}/page')
        self._run('curl', '-s', '-r', '100-199', f'{at}/page')
        self._run('curl', '-s', f'{at}:81/', status=7)  # nobody there: a reset

    def large_page(self):
        self._run('curl', '-s', '-o', '/dev/null', f'http://{self.server.ipv4}/large')

    def shell(self):
        options = ['-F', 'none', '-i', self.folder / 'user-key', '-o', 'StrictHostKeyChecking=no',
                   '-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR']
        address = f'root@{self.server.ipv4}'
        assert self._run('ssh', *options, address, 'seq', '20000').endswith('\n20000\n')
        self._run('scp', *options, f'{address}:{self.folder}/www/page', '/dev/null')

    def names(self):
        dig = ['dig', f'@{self.server.ipv4}', '+tries=1']
        self._run(*dig, 'www.example.test')
        self._run(*dig, 'www.example.test', 'AAAA')
        self._run(*dig, 'example.test', 'TXT', '+bufsize=4096')
        self._run(*dig, '+tcp', 'www.example.test')
        self._run(*dig, 'nobody.test')

    def bulk(self):
        iperf = ['iperf3', '--client', self.server.ipv4, '--time', '1']
        self._run(*iperf, '--bitrate', '40M')
        self._run(*iperf, '--bitrate', '40M', '--reverse')
        self._run(*iperf, '--udp', '--bitrate', '5M', '--length', '1400')

    def others(self):
        self._run('ping', '-q', '-c', '5', '-i', '0.02', '-s', '1000', self.server.ipv4)
        # Somebody's address moves to another card and back.
        claim = arp(self.client, '10.0.0.77')
        for mac in ('02:00:00:00:77:01', '02:00:00:00:77:02', '02:00:00:00:77:01'):
            card = bytes.fromhex(mac.replace(':', ''))
            answer = claim[:7] + b'\2' + card + socket.inet_aton('10.0.0.77') + claim[18:]
            self.client.send([ethernet(BROADCAST, mac, 0x806, answer)])

    def round(self):
        for kind in (self.web, self.shell, self.names, self.bulk, self.others):
            kind()

    def rounds(self, seconds):
        """Goes on for so long, in whole rounds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.round()


