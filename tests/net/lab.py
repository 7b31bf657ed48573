# SPDX-License-Identifier: MIT
"""A lab in network namespaces: a host with a bridge, machines on it, and a sensor beside it.

    host                         machines[0]        machines[1]
      br0 ─┬─ vnet1 ───────────── eth0 10.0.0.1
           └─ vnet2 ──────────────────────────────── eth0 10.0.0.2
      ids0 ── eth0 (sensor)

A namespace lives as long as this process holds it open, so nothing of a lab outlives the process,
however that ends. Nothing runs in it but what the test starts.
"""
import collections
import contextlib
import ctypes
import fcntl
import itertools
import json
import os
import pathlib
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
import time

CLONE_NEWNET, CLONE_NEWNS = 0x40000000, 0x20000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
SO_RCVBUFFORCE = 33
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8913, 0x8914, 1, 0x40
SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFNAME = 0x8916, 0x891c, 0x8923
SIOCSARP, ARPHRD_ETHER, ATF_COM, ATF_PERM = 0x8955, 1, 2, 4
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 0x10, 0x40

# Programs at a device's hooks without any qdisc came with Linux 6.6.
TCX = tuple(map(int, re.findall(r'\d+', os.uname().release)[:2])) >= (6, 6)

_libc = ctypes.CDLL(None, use_errno=True)


def _must(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def own_bpf_file_system():
    """For portmirror's engine bpf: one at its place, for this process and those that it starts."""
    _must(_libc.unshare(CLONE_NEWNS))
    _must(_libc.mount(b'none', b'/', None, MS_REC | MS_PRIVATE, None))
    _must(_libc.mount(b'bpf', b'/sys/fs/bpf', b'bpf', 0, None))


@contextlib.contextmanager
def _and_back():
    """After the block this thread is in the network namespace in which it was before it."""
    home = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _must(_libc.setns(home, CLONE_NEWNET))
        os.close(home)


def _file_in_memory(text=''):
    file = open(os.memfd_create('lab'), 'w+', encoding='utf-8')
    file.write(text)
    file.seek(0)
    return file


def _wait(process, seconds):
    """For its end, asleep. (Popen.wait() with a time-out looks every now and then.)"""
    end = os.pidfd_open(process.pid)
    try:
        if not select.select([end], [], [], seconds)[0]:
            raise subprocess.TimeoutExpired(process.args, seconds)
    finally:
        os.close(end)
    process.wait()


class Namespace:
    """A network namespace without a name."""

    def __init__(self, name):
        self.name = name
        with _and_back():
            _must(_libc.unshare(CLONE_NEWNET))
            self.fd = os.open('/proc/thread-self/ns/net', os.O_RDONLY | os.O_CLOEXEC)
        self.up('lo')

    def __repr__(self):
        return f'<namespace {self.name}>'

    def close(self):
        if self.fd >= 0:
            for pin in self.pins(''):
                shutil.rmtree(pin)
            os.close(self.fd)
            self.fd = -1

    def inside(self, function):
        """The result of function(), called in this namespace: sockets made there stay in it."""
        with _and_back():
            _must(_libc.setns(self.fd, CLONE_NEWNET))
            return function()

    def popen(self, *command, **options):
        return self.inside(lambda: subprocess.Popen(list(map(str, command)), **{'text': True, **options}))

    def run(self, *command, check=True, stdin='', timeout=60, **options):
        """Runs the command to its end: a CompletedProcess with its stdout and stderr as text. (Files in memory take an
        emulated host half the time that pipes take.)"""
        with _file_in_memory(stdin) as given, _file_in_memory() as out, _file_in_memory() as err:
            with self.popen(*command, stdin=given, stdout=out, stderr=err, **options) as process:
                try:
                    _wait(process, timeout)
                except BaseException:
                    process.kill()
                    raise
            said = [file.seek(0) or file.read() for file in (out, err)]
        if check and process.returncode != 0:
            raise AssertionError(f'in {self.name}: {" ".join(map(str, command))}: '
                                 f'exit status {process.returncode}\n{stdin}{"".join(said)}')
        return subprocess.CompletedProcess(command, process.returncode, *said)

    def json(self, *command):
        return json.loads(self.run(*command).stdout or 'null')

    def batch(self, tool, lines, **options):
        """Runs many commands of ip, tc or bridge in one process of it."""
        lines = [lines] if isinstance(lines, str) else lines
        return self.run(tool, '-batch', '-', stdin='\n'.join(lines) + '\n', **options)

    def ip(self, *lines, **options):
        return self.batch('ip', lines, **options)

    def tc(self, *lines, **options):
        return self.batch('tc', lines, **options)

    def sysctl(self, **values):
        """sysctl(net__ipv4__ip_forward=1): a dot of the name is two underscores here."""
        def body():
            for name, value in values.items():
                pathlib.Path('/proc/sys', *name.split('__')).write_text(str(value))
        self.inside(body)

    def up(self, dev):
        """Sets the device up."""
        self._ioctl(SIOCSIFFLAGS, struct.pack('16sH22x', dev.encode(), IFF_UP))

    def rename(self, old, new):
        """Gives the device, which is up, another name, for which it goes down for a moment (netdevice(7))."""
        self._ioctl(SIOCSIFFLAGS, struct.pack('16sH22x', old.encode(), 0))
        self._ioctl(SIOCSIFNAME, struct.pack('16s16s8x', old.encode(), new.encode()))
        self.up(new)

    def wait_for_carrier(self, dev):
        """What the kernel notes of a carrier a moment after it has come: until then, frames sent there are dropped."""
        end = time.monotonic() + 10
        flags = struct.pack('16s24x', dev.encode())
        while not struct.unpack_from('H', flags, 16)[0] & IFF_RUNNING:
            assert time.monotonic() < end, f'{self.name}: {dev} has no carrier'
            time.sleep(0.001)
            flags = self._ioctl(SIOCGIFFLAGS, flags)
        self._ioctl(SIOCSIFFLAGS, flags)  # as they are: it waits for the lock under which this was noted

    def _ioctl(self, request, argument):
        def body():
            with socket.socket() as sock:
                return fcntl.ioctl(sock, request, argument)
        return self.inside(body)

    def send(self, frames, dev='eth0'):
        """Puts frames (bytes, the Ethernet header first, without its checksum) on the device."""
        def body():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
                sock.bind((dev, 0))
                for frame in frames:
                    sock.send(frame)
        self.inside(body)

    def capture(self, dev='eth0', sent=False):
        return Capture(self, dev, sent)

    def counters(self, dev='eth0'):
        """The device's own: (frames sent, frames received, bytes sent, bytes received)."""
        stats = self.json('ip', '-j', '-s', 'link', 'show', dev)[0]['stats64']
        return tuple(stats[way][what] for what in ('packets', 'bytes') for way in ('tx', 'rx'))

    def state(self, programs=True):
        """All that tc, ip and bridge tell of this namespace's devices, without what changes by
        itself, and what is pinned: two of these are equal if and only if the configuration is. (VLANs
        count where a bridge filters them.)
        programs: also the numbers of BPF programs, which are others where the same is loaded again."""
        links = self._links()
        state = self._tc_state(programs)
        state['ip link'] = _steady(links)
        if any(link.get('linkinfo', {}).get('info_data', {}).get('vlan_filtering') for link in links):
            state['bridge vlan'] = self.json('bridge', '-j', 'vlan')
        state['pins'] = sorted(map(str, self.pins('**/*')))
        return state

    def _tc_state(self, programs):
        """By one process: which qdiscs there are tells what to ask next."""
        with self.popen('tc', '-batch', '-', stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tc:
            def shown(what):
                # The qdisc of lo, shown without a device's name, ends the answer.
                print(what, 'qdisc show dev lo', sep='\n', file=tc.stdin, flush=True)
                lines = list(itertools.takewhile(lambda line: not re.match(r'qdisc \S+ \S+ (?!dev )', line), tc.stdout))
                # How long ago, how often: not what was configured.
                text = re.sub(r' (?:installed|used|firstused) \d+ sec', '', ''.join(lines))
                return text if programs else re.sub(r' id \d+ ', ' ', text)

            state = {'qdisc': shown('qdisc show'), 'action': shown('actions list action mirred')}
            parents = collections.defaultdict(set)
            for kind, handle, dev in re.findall(r'^qdisc (\S+) (\S+) dev (\S+)', state['qdisc'], re.M):
                if kind == 'clsact':
                    parents[dev] |= {'ingress', 'egress'}
                elif kind != 'noqueue':  # which can have neither classes nor filters
                    parents[dev] |= {'root', f'parent {handle}'}
            for dev, its in parents.items():
                state[f'class {dev}'] = shown(f'class show dev {dev}')
                for parent in sorted(its - {'parent 0:'}):
                    state[f'filter {dev} {parent}'] = shown(f'filter show dev {dev} {parent}')
            tc.stdin.close()
            assert tc.wait(60) == 0
        return state

    def _links(self, seconds=2.0):
        """All links, as soon as bridges have taken note of each port's carrier, which they do a moment later."""
        end = time.monotonic() + seconds
        while True:
            links = self.json('ip', '-j', '-d', 'link')
            if time.monotonic() > end or not any(
                    {'UP', 'LOWER_UP'} <= set(link['flags']) and
                    link.get('linkinfo', {}).get('info_slave_data', {}).get('state') == 'disabled' for link in links):
                return links
            time.sleep(0.01)

    def pins(self, pattern):
        """What portmirror has pinned for this namespace, by names below the folder of its house."""
        houses = pathlib.Path('/sys/fs/bpf/portmirror')
        return list(houses.glob(f'*-{os.fstat(self.fd).st_ino}/{pattern}')) if houses.exists() else []

    def back_to(self, state, seconds=2.0, programs=True):
        """True as soon as state() equals an earlier one. (The kernel lets go of a deleted filter's
        action a moment later.) The differences are printed."""
        end = time.monotonic() + seconds
        while (now := self.state(programs)) != state:
            if time.monotonic() > end:
                for key in sorted(state.keys() | now.keys()):
                    if state.get(key) != now.get(key):
                        print(f'{key}\n  was: {state.get(key)}\n  is:  {now.get(key)}')
                return False
        return True


def _steady(value):
    """The value without the bridge's running timers, and without what the kernel notes of a carrier within a second
    ("up", RUNNING): LOWER_UP tells of it at once."""
    if isinstance(value, dict):
        return {key: _steady(item) for key, item in value.items()
                if not key.endswith('_timer') and key != 'operstate'}
    if isinstance(value, list):
        return [_steady(item) for item in value if item != 'NO-CARRIER']
    return value


class Capture:
    """Every frame that arrives at a device (or with sent: leaves by it) from the moment this is made,
    as on the wire: a VLAN tag that the kernel keeps beside the frame is put back."""

    def __init__(self, namespace, dev, sent):
        def make():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, int(not sent))
            sock.bind((dev, ETH_P_ALL))
            return sock

        self._socket = namespace.inside(make)
        self._frames, self._sent = [], sent

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def _receive(self):
        frame, ancillary, _, address = self._socket.recvmsg(1 << 17, 256, socket.MSG_DONTWAIT)
        for _, kind, data in ancillary:
            if kind != PACKET_AUXDATA:
                continue
            status, tci, tpid = struct.unpack('=I12xHH', data)
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                frame = frame[:12] + struct.pack('!HH', tpid, tci) + frame[12:]
        if (address[2] == socket.PACKET_OUTGOING) == self._sent:
            self._frames.append(frame)

    def frames(self, expect=0, timeout=5.0, quiet=0.05):
        """All frames so far. Waits until there are at least so many (or for timeout seconds), and
        then until none has come for the quiet time, so that one too many is seen too."""
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic() if len(self._frames) < expect else quiet
            if left < 0 or not select.select([self._socket], [], [], left)[0]:
                return list(self._frames)
            self._receive()
            if time.monotonic() > end + 10:
                raise AssertionError('the frames do not stop')

    def forget(self):
        """What has come so far."""
        self._frames.clear()

    def counts(self, expect=0, **options):
        """How often each frame came, by content."""
        return collections.Counter(self.frames(expect, **options))


def _sockaddr(address):
    return struct.pack('HH4s8x', socket.AF_INET, 0, socket.inet_aton(address))


class Machine(Namespace):
    """A machine on the host's bridge: eth0 inside, port on the host."""

    def __init__(self, name, number):
        super().__init__(name)
        self.number = number
        self.port = f'vnet{number}'
        self.mac = f'02:00:00:00:00:{number:02x}'
        self.ipv4 = f'10.0.0.{number}'
        self.ipv6 = f'fd00::{number:x}'

    def set_ipv4(self):
        """By netdevice(7): a process of ip for each machine would take an emulated host long."""
        self._ioctl(SIOCSIFADDR, b'eth0'.ljust(16, b'\0') + _sockaddr(self.ipv4) + bytes(8))
        self._ioctl(SIOCSIFNETMASK, b'eth0'.ljust(16, b'\0') + _sockaddr('255.255.255.0') + bytes(8))

    def know_ipv4(self, machines):
        """It need not ask who has their addresses (arp(7))."""
        for machine in machines:
            self._ioctl(SIOCSARP, _sockaddr(machine.ipv4) + struct.pack('H6s8x', ARPHRD_ETHER, mac_bytes(machine.mac)) +
                        struct.pack('i16x16s', ATF_COM | ATF_PERM, b'eth0'))


class Lab:
    """Lab(machines=2): see above. With the default options no frame is ever sent but by the test:
    IPv6 is off, and the machines know each other's MAC addresses.

    names      of the machines (then machines is their number)
    bridge     options of br0, as for "ip link add … type bridge"
    ipv6       gives the machines IPv6 addresses too; their multicast reports are over soon
    learn      the machines find each other by ARP and neighbour discovery
    """

    def __init__(self, machines=2, names=None, bridge='', ipv6=False, learn=False):
        self._close = contextlib.ExitStack()
        self.ipv6, self.learn = ipv6, learn
        self.machines = []
        names = names or [f'machine{number}' for number in range(1, machines + 1)]
        with contextlib.ExitStack() as stack:
            self._close = stack
            self.host = self._namespace(Namespace('host'))
            self.host.sysctl(net__ipv6__conf__default__disable_ipv6=1)
            if os.path.exists('/proc/sys/net/bridge'):
                # br_netfilter would cut the padding off short IP frames.
                self.host.sysctl(**{'net__bridge__bridge-nf-call-iptables': 0})
            self.sensor = self._namespace(Namespace('sensor'))
            self._add(names, [f'link add br0 type bridge mcast_snooping 0 forward_delay 0 {bridge}'],
                      [('ids0', self.sensor, '02:00:00:00:ff:01', 'eth0')])
            self.host.up('br0')
            if ipv6:
                for machine in self.machines:
                    with machine.capture(sent=True) as reports:
                        reports.frames(quiet=0.05)
            self._close = stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._close.close()

    def _namespace(self, namespace):
        self._close.callback(namespace.close)
        if self.ipv6:
            namespace.sysctl(net__ipv6__conf__default__disable_ipv6=0,
                             net__ipv6__conf__default__accept_dad=0,
                             net__ipv6__conf__default__mldv2_unsolicited_report_interval=1,
                             net__ipv6__conf__default__router_solicitations=0,
                             net__ipv6__conf__default__addr_gen_mode=1)
        else:
            namespace.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        return namespace

    def cable(self, port, namespace, mac, end='eth0'):
        """A device of the host whose other end is in the namespace."""
        self._plug([(port, namespace, mac, end)])

    def _plug(self, cables, before=(), after=()):
        """By one process of ip, which also does what comes before and after it."""
        self.host.ip(*before, *[line for port, namespace, mac, end in cables for line in (
            f'link add {port} type veth peer name {end} address {mac} netns /proc/self/fd/{namespace.fd}',
            f'link set {port} up')], *after, pass_fds=[namespace.fd for _, namespace, _, _ in cables])
        for _, namespace, _, end in cables:
            namespace.up(end)
        for port, *_ in cables:
            self.host.wait_for_carrier(port)

    def add_machine(self, name=None):
        """Plugs one more machine into the bridge."""
        self._add([name or f'machine{len(self.machines) + 1}'])
        return self.machines[-1]

    def _add(self, names, before=(), cables=()):
        new = [self._namespace(Machine(name, number))
               for number, name in enumerate(names, len(self.machines) + 1)]
        self.machines += new
        self._plug([*cables, *((machine.port, machine, machine.mac, 'eth0') for machine in new)], before,
                   [f'link set {machine.port} master br0' for machine in new])
        for machine in self.machines:
            if machine in new:
                machine.set_ipv4()
            others = [] if self.learn else [other for other in self.machines if other is not machine and
                                            (machine in new or other in new)]
            machine.know_ipv4(others)
            if self.ipv6:
                machine.ip(*[f'address add {machine.ipv6}/64 dev eth0 nodad'] * (machine in new),
                           *[f'neighbour replace {other.ipv6} lladdr {other.mac} dev eth0 nud permanent'
                             for other in others])

    def ping(self, count=1):
        """True if the first machine reaches all the others: the bridge has learnt them too."""
        return all(self.machines[0].run('ping', '-q', '-c', count, '-i', '0.01', '-W', '1',
                                        other.ipv4, check=False).returncode == 0
                   for other in self.machines[1:])


def bulk(a, b, seconds=0.5, pause=0):
    """TCP as fast as it goes from machine a to machine b, with so many seconds between two megabytes: (bytes
    received, seconds that it took)."""
    def receive():
        connection = server.accept()[0]
        with connection:
            while size := connection.recv_into(buffer):
                received.append(size)

    received, block, buffer = [], bytes(1 << 20), bytearray(1 << 20)
    with b.inside(lambda: socket.create_server((b.ipv4, 0))) as server:
        receiver = threading.Thread(target=receive, daemon=True)
        receiver.start()
        with a.inside(lambda: socket.create_connection(server.getsockname(), 5)) as client:
            start = time.monotonic()
            while time.monotonic() < start + seconds:
                client.sendall(block)
                time.sleep(pause)
        receiver.join()
    return sum(received), time.monotonic() - start


# Frames, built by hand: a lab's tests want to say each byte, and scapy takes half a second to load.

BROADCAST = 'ff:ff:ff:ff:ff:ff'


def mac_bytes(mac):
    return bytes.fromhex(mac.replace(':', ''))


def ethernet(to, sender, kind, payload, *tags):
    """A frame; tags are (TPID, VLAN) pairs, the outer first. Padded to the least length."""
    head = mac_bytes(to) + mac_bytes(sender)
    head += b''.join(struct.pack('!HH', *tag) for tag in tags)
    return (head + struct.pack('!H', kind) + payload).ljust(60, b'\0')


def _checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return struct.pack('!H', ~total & 0xffff)


def _echo_reply(kind, text, pseudo=b''):
    """Unasked, so that nobody answers it."""
    data = struct.pack('!BxHHH', kind, 0, 0x4c61, 0) + text
    return data[:2] + _checksum(pseudo + data) + data[4:]


def ipv4(sender, to, text):
    data = _echo_reply(0, text)
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(data), 0, 0, 64, socket.IPPROTO_ICMP, 0,
                       socket.inet_aton(sender), socket.inet_aton(to))
    return head[:10] + _checksum(head) + head[12:] + data


def ipv6(sender, to, text):
    ends = socket.inet_pton(socket.AF_INET6, sender) + socket.inet_pton(socket.AF_INET6, to)
    data = _echo_reply(129, text,
                       ends + struct.pack('!II', 8 + len(text), socket.IPPROTO_ICMPV6))
    return struct.pack('!IHBB', 6 << 28, len(data), socket.IPPROTO_ICMPV6, 64) + ends + data


def arp(machine, target):
    """Who has target? Tell machine."""
    return struct.pack('!HHBBH6s4s6s4s', 1, 0x800, 6, 4, 1, mac_bytes(machine.mac),
                       socket.inet_aton(machine.ipv4), bytes(6), socket.inet_aton(target))


def frames_of_every_kind(a, b, text=b'of every kind'):
    """By kind, a frame from machine a to machine b that b does not answer. The text makes them
    differ from others."""
    v4, v6 = ipv4(a.ipv4, b.ipv4, text), ipv6(a.ipv6, b.ipv6, text)
    return {
        'ARP': ethernet(BROADCAST, a.mac, 0x806, arp(a, '10.0.0.250') + text),
        'IPv4': ethernet(b.mac, a.mac, 0x800, v4),
        'IPv6': ethernet(b.mac, a.mac, 0x86dd, v6),
        'VLAN 7, IPv4': ethernet(b.mac, a.mac, 0x800, v4, (0x8100, 7)),
        'VLAN 7 in 9 (802.1ad), IPv6': ethernet(b.mac, a.mac, 0x86dd, v6, (0x88a8, 9), (0x8100, 7)),
        'no IP (EtherType 88b5)': ethernet(b.mac, a.mac, 0x88b5, text),
        'multicast': ethernet('01:00:5e:00:00:fb', a.mac, 0x800,
                              ipv4(a.ipv4, '224.0.0.251', text)),
        'long, 1514 bytes': ethernet(b.mac, a.mac, 0x88b5, text.ljust(1500, b'.')),
    }


def kind_of(frame):
    """The kind of a frame in the words of a table: "ARP", "VLAN 7, IPv4", …"""
    kind, at, words = struct.unpack_from('!H', frame, 12)[0], 14, []
    while kind in (0x8100, 0x88a8):
        words.append(f'VLAN {struct.unpack_from("!H", frame, at)[0] & 0xfff}')
        kind, at = struct.unpack_from('!H', frame, at + 2)[0], at + 4
    words.append({0x800: 'IPv4', 0x806: 'ARP', 0x86dd: 'IPv6'}.get(kind, f'EtherType {kind:04x}'))
    return ', '.join(words)
