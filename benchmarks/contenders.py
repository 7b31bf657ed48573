# SPDX-License-Identifier: MIT
"""The ways to mirror the ports vnet1, vnet2, … of a lab's host to ids0, each with all that it needs.

A contender is entered for some ports (with contender(ports): …) and then mirrors them; left, it has taken
everything away that it set up. base: the name of the contender without a mirror that it is compared with.
took: how many seconds the mirror took to be set up, the last time.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import time

from common import BUILD, PORTMIRROR
from lab import BROADCAST, ethernet

MIRROR = 'protocol {} u32 match u8 0 0 action mirred egress mirror dev ids0'
TIMEOUT = 10


def until(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f'{what} did not come in {TIMEOUT} s')
        time.sleep(0.01)


@contextlib.contextmanager
def running(host, *command, **options):
    """A program that runs in the host's namespace meanwhile. (Under load netsniff-ng has gone
    on for more than ten seconds after SIGTERM.)"""
    process = host.popen(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(TIMEOUT)


class Contender:
    name, base, copies = 'no mirror', 'no mirror', False
    took = 0.0

    def __init__(self, lab, folder):
        self.lab, self.host, self.folder = lab, lab.host, pathlib.Path(folder)

    @contextlib.contextmanager
    def __call__(self, ports):
        yield

    @contextlib.contextmanager
    def timed(self):
        start = time.perf_counter()
        yield
        self.took = time.perf_counter() - start


class Portmirror(Contender):
    copies = True
    name, options, sensors = 'portmirror', ['--engine', 'tc'], ['ids0']

    def run(self, *arguments):
        return self.host.run(PORTMIRROR, *arguments, env={**os.environ, 'PORTMIRROR_ROOT': str(self.folder)})

    @contextlib.contextmanager
    def __call__(self, ports):
        with self.timed():
            self.run('add', 'bench', *self.options, *[f'--from=port:{port}' for port in ports],
                     *[f'--to=port:{sensor}' for sensor in self.sensors])
        try:
            yield
        finally:
            self.run('rm', 'bench')


class Bpf(Portmirror):
    """By the engine bpf. Options are compared with it, not with no mirror."""
    name, options = 'portmirror, engine bpf', ['--engine', 'bpf']


def with_option(title, *options, more_sensors=()):
    """A kind of contender: the engine bpf with an option."""
    class Option(Bpf):
        name, base = title, Bpf.name

        def __init__(self, lab, folder):
            super().__init__(lab, folder)
            self.options, self.sensors = [*self.options, *options], ['ids0', *more_sensors]
    return Option


class WithDaemon(Portmirror):
    name = 'portmirror, its daemon running'

    @contextlib.contextmanager
    def __call__(self, ports):
        with running(self.host, BUILD / 'src/portmirrord/portmirrord', '--root', self.folder):
            until((self.folder / 'run/portmirror/events').exists, 'the daemon')
            with super().__call__(ports):
                yield


class Recipe(Contender):
    """The four commands of 2010: ingress and a classful root qdisc, a u32 filter on each."""
    name, protocol, copies = 'the classic recipe', 'ip', True

    def __init__(self, lab, folder):
        super().__init__(lab, folder)
        self.root = 'prio'
        if self.host.tc('qdisc add dev ids0 root prio', check=False).returncode == 0:
            self.host.tc('qdisc del dev ids0 root')
        else:
            self.root = 'htb'

    @contextlib.contextmanager
    def __call__(self, ports):
        mirror = MIRROR.format(self.protocol)
        with self.timed():
            for port in ports:
                for line in (f'qdisc add dev {port} ingress', f'filter add dev {port} parent ffff: {mirror}',
                             f'qdisc replace dev {port} root handle 1: {self.root}',
                             f'filter add dev {port} parent 1: {mirror}'):
                    self.host.run('tc', *line.split())
        try:
            yield
        finally:
            for port in ports:
                self.host.tc(f'qdisc del dev {port} root', f'qdisc del dev {port} ingress', check=False)


class NftDup(Contender):
    """Netfilter's hooks of a device, which its egress has had since Linux 5.16."""
    name, copies = 'nft dup', True

    @contextlib.contextmanager
    def __call__(self, ports):
        chains = ''.join(f'chain {port}_{hook} {{ type filter hook {hook} device "{port}" priority 0; '
                         f'dup to "ids0"; }}\n' for port in ports for hook in ('ingress', 'egress'))
        with self.timed():
            self.host.run('nft', '-f', '-', stdin=f'table netdev bench {{\n{chains}}}\n')
        try:
            yield
        finally:
            self.host.run('nft', 'delete table netdev bench')


class Copier(Contender):
    """A program that reads all frames and writes them again: netsniff-ng, one process a port."""
    name, copies = 'netsniff-ng, in user space', True

    @contextlib.contextmanager
    def __call__(self, ports):
        with contextlib.ExitStack() as stack:
            with self.timed():
                for port in ports:
                    stack.enter_context(running(self.host, 'netsniff-ng', '--in', port, '--out', 'ids0',
                                                '--silent', '--no-promisc', '--ring-size', '64MiB'))
                for machine in self.lab.machines: # it has no word for "ready"
                    if machine.port in ports:
                        until(lambda machine=machine: self.works(machine), 'netsniff-ng')
            yield

    def works(self, machine):
        before = self.lab.sensor.counters()[1]
        machine.send([ethernet(BROADCAST, machine.mac, 0x88b5, b'is there a copier?')])
        time.sleep(0.02)
        return self.lab.sensor.counters()[1] > before


class Switch(Contender):
    """Open vSwitch in place of the bridge, with its datapath in user space: a switch of another kind."""
    name = base = 'Open vSwitch, no mirror'
    mirrored = False

    def ovs(self, *arguments):
        return self.host.run(*arguments, env=self.environment())

    def environment(self):
        return {**os.environ, **{f'OVS_{name}DIR': str(self.folder / 'ovs') for name in ('RUN', 'LOG', 'DB', 'SYSCONF')}}

    @contextlib.contextmanager
    def __call__(self, ports):
        folder, environment = self.folder / 'ovs', self.environment()
        folder.mkdir(exist_ok=True)
        database, socket = folder / 'conf.db', f'unix:{folder}/db.sock'
        database.unlink(missing_ok=True)
        self.ovs('ovsdb-tool', 'create', database, '/usr/share/openvswitch/vswitch.ovsschema')
        all_ports = [machine.port for machine in self.lab.machines]
        with contextlib.ExitStack() as stack:
            stack.enter_context(running(self.host, 'ovsdb-server', database, f'--remote=p{socket}', env=environment))
            until((folder / 'db.sock').exists, 'ovsdb-server')
            stack.enter_context(running(self.host, 'ovs-vswitchd', socket, f'--unixctl={folder}/ctl',
                                        env=environment))
            for machine in self.lab.machines: # it forwards what has its checksums only
                machine.run('ethtool', '-K', 'eth0', 'tx', 'off')
                stack.callback(machine.run, 'ethtool', '-K', 'eth0', 'tx', 'on')
            self.host.ip(*[f'link set {port} nomaster' for port in all_ports])
            stack.callback(self.host.ip, *[f'link set {port} master br0' for port in all_ports])
            self.ovs('ovs-vsctl', f'--db={socket}', f'--timeout={TIMEOUT}', 'add-br', 'ovs0', '--', 'set', 'bridge', 'ovs0',
                     'datapath_type=netdev',
                     *[word for port in [*all_ports, 'ids0'] for word in ('--', 'add-port', 'ovs0', port)])
            stack.callback(self.ovs, 'ovs-vsctl', f'--db={socket}', f'--timeout={TIMEOUT}', 'del-br', 'ovs0')
            if self.mirrored:
                with self.timed():
                    self.mirror(socket, ports)
            yield

    def mirror(self, socket, ports):
        gets = [word for port in [*ports, 'ids0'] for word in ('--', f'--id=@{port}', 'get', 'port', port)]
        among = ','.join(f'@{port}' for port in ports)
        self.ovs('ovs-vsctl', f'--db={socket}', f'--timeout={TIMEOUT}', *gets, '--', '--id=@m', 'create', 'mirror', 'name=bench',
                 f'select-src-port={among}', f'select-dst-port={among}', 'output-port=@ids0', '--', 'set', 'bridge', 'ovs0',
                 'mirrors=@m')
        self.ovs('ovs-appctl', f'--target={self.folder}/ovs/ctl', 'revalidator/purge')


class SwitchMirror(Switch):
    name, mirrored, copies = 'Open vSwitch, its mirror', True, True


CONTENDERS = [Contender, Portmirror, Bpf, Recipe, NftDup, Copier, Switch, SwitchMirror]
