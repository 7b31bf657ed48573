# SPDX-License-Identifier: MIT
"""Network sensors of Debian: how each is started, and what it reports. A report is a Counter of lines
without what depends on the hour, so that two sensors which saw the same frames report the same."""
import collections
import hashlib
import re
import signal
import subprocess
import time

PORT = 9995  # where nfcapd listens


class Sensor:
    """A sensor that runs in a namespace and keeps its files in a folder of its own."""
    end = signal.SIGINT
    least = 1  # lines that it must have found in the traffic

    def __init__(self, namespace, folder):
        self.namespace, self.folder = namespace, folder
        folder.mkdir(parents=True)
        self.log = folder / 'log'
        self.process = None

    def start(self):
        with open(self.log, 'w', encoding='utf-8') as log:
            # In front of all others: some have small buffers, and don't say what was lost.
            self.process = self.namespace.popen('nice', '-n', '-20', *self.command(), cwd=self.folder,
                                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def command(self):
        raise NotImplementedError

    def stop(self):
        self.process.send_signal(self.end)
        self.process.wait(30)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def is_alive(self):
        return self.process.poll() is None

    def output(self, *command):
        result = subprocess.run(list(map(str, command)), cwd=self.folder, check=False, text=True,
                                errors='replace', stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert result.returncode == 0, f'{command}: {result.stderr}'
        return result.stdout

    def report(self):
        raise NotImplementedError


class Tcpdump(Sensor):
    least = 1000

    def command(self):
        return ['tcpdump', '-Z', 'root', '-B', 65536, '-i', 'eth0', '-w', 'frames.pcap']

    def report(self):
        assert '\n0 packets dropped by kernel' in self.log.read_text()
        lines = self.output('tcpdump', '-Z', 'root', '-nn', '-t', '-e', '-vv', '-r', 'frames.pcap')
        return collections.Counter(lines.splitlines())


class Tshark(Sensor):
    """Its captures are made by dumpcap; here without it in between, which may give up too early."""
    least = 30

    def command(self):
        return ['dumpcap', '-q', '-B', 64, '-i', 'eth0', '-w', 'frames.pcapng']

    def report(self):
        assert re.search(r"dropped on interface 'eth0': \d+/0 ", self.log.read_text())
        tables = ('conv,ip', 'conv,tcp', 'conv,udp', 'io,phs', 'expert')
        checks = ('ip.check_checksum', 'tcp.check_checksum', 'udp.check_checksum')
        text = self.output('tshark', '-n', '-q', '-r', 'frames.pcapng',
                           *(word for check in checks for word in ('-o', f'{check}:TRUE')),
                           *(word for table in tables for word in ('-z', table)))
        # The last columns of a conversation say when it began, and how long it was. And whether a window
        # was full depends on which of two frames that cross each other on the cable is seen first.
        return collections.Counter(' '.join(line.split()[:-2] if '<->' in line else line.split())
                                   for line in text.splitlines()
                                   if not re.search(r'is now completely full|^(Warn|Note|Chat)s ', line))


class Argus(Sensor):
    least = 15

    def command(self):
        return ['argus', '-X', '-i', 'eth0', '-w', 'flows.argus']

    def report(self):
        lines = self.output('racluster', '-r', 'flows.argus', '-n', '-L', '-1', '-c', ',', '-m', 'proto', 'saddr',
                            'sport', 'daddr', 'dport', '-s', 'proto', 'saddr', 'sport', 'dir', 'daddr',
                            'dport', 'spkts', 'dpkts', 'sbytes', 'dbytes', 'state', 'sloss', 'dloss',
                            '-', 'not man')
        return collections.Counter(lines.splitlines())


class P0f(Sensor):
    least = 10

    def command(self):
        return ['p0f', '-p', '-i', 'eth0', '-o', 'findings']

    def report(self):
        """But its guess of how long a machine has been up: that is of the moment."""
        lines = (self.folder / 'findings').read_text().splitlines()
        return collections.Counter(re.sub(r'^\[.*?\] ', '', line) for line in lines
                                   if 'mod=uptime' not in line)


class Arpwatch(Sensor):
    least = 6
    end = signal.SIGTERM

    def command(self):
        (self.folder / 'stations').touch()
        # Debian's -p is the opposite of promiscuous. It refuses a device that has no address.
        self.namespace.ip('address replace 192.0.2.1/32 dev eth0')
        return ['arpwatch', '-d', '-i', 'eth0', '-n', '10.0.0.0/24', '-f', self.folder / 'stations']

    def report(self):
        """What it would mail, and the stations that it knows."""
        told = [' '.join(line.split()) for line in self.log.read_text().splitlines()
                if re.match(r'\s*(Subject|ip address|(old |previous )?ethernet address):?', line, re.I)]
        known = [' '.join(line.split()[:2]) for line in
                 (self.folder / 'stations').read_text().splitlines()]
        return collections.Counter(told + known)


class Tcpflow(Sensor):
    least = 15

    def command(self):
        (self.folder / 'flows').mkdir()
        return ['tcpflow', '-i', 'eth0', '-o', 'flows']

    def report(self):
        return collections.Counter(
            f'{file.name} {file.stat().st_size} {hashlib.sha256(file.read_bytes()).hexdigest()}'
            for file in (self.folder / 'flows').iterdir() if file.name != 'report.xml')


class Softflowd(Sensor):
    """With nfcapd, which keeps what softflowd sends. It reads what tcpdump has recorded: on a device it asks
    libpcap for a ring whose blocks come only when they are full, and never gets the last ones."""
    least = 15

    def command(self):
        return ['tcpdump', '-Z', 'root', '-B', 65536, '-i', 'eth0', '-w', 'frames.pcap']

    def report(self):
        (self.folder / 'flows').mkdir()
        with open(self.log, 'a', encoding='utf-8') as log, self.namespace.popen(
                'nfcapd', '-w', 'flows', '-b', '127.0.0.1', '-p', PORT, '-t', 3600, cwd=self.folder,
                stdout=log, stderr=log) as nfcapd:
            self._wait_for(nfcapd)
            self.namespace.run('softflowd', '-d', '-r', 'frames.pcap', '-v', 9, '-n', f'127.0.0.1:{PORT}',
                               '-p', self.folder / 'pid', '-c', 'none',
                               cwd=self.folder)
            self._wait_for(nfcapd)
            nfcapd.terminate()
        text = self.output('nfdump', '-q', '-R', 'flows', '-N', '-A', 'proto,srcip,srcport,dstip,dstport',
                           '-o', 'fmt:%pr %sa %sp %da %dp %pkt %byt %flg')
        return collections.Counter(' '.join(line.split()) for line in text.splitlines())

    def _wait_for(self, nfcapd):
        """Until nfcapd listens, has taken all that was sent, and sleeps over an empty queue: a signal would
        make it drop what it has in hand."""
        def idle():
            with open(f'/proc/{nfcapd.pid}/stat', encoding='utf-8') as stat:
                asleep = stat.read().rpartition(')')[2].split()[0] == 'S'
            return asleep and re.search(f':{PORT:04X} .* 00000000:00000000 ',
                                        self.namespace.run('cat', '/proc/net/udp').stdout)

        end = time.monotonic() + 20
        while not idle() or not idle():
            assert nfcapd.poll() is None and time.monotonic() < end, self.log.read_text()


SENSORS = [Tcpdump, Tshark, Argus, P0f, Arpwatch, Tcpflow, Softflowd]
