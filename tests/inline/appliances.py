# SPDX-License-Identifier: MIT
"""Appliances of several kinds, each in a namespace of its own beside the lab's host."""
import os
import pathlib
import subprocess

from lab import TCX, Namespace

BUILD = pathlib.Path(os.environ.get('BUILD', pathlib.Path(__file__).resolve().parents[2] / 'build'))
INSIDE, OUTSIDE = 'ain0', 'aout0'
# The engine of tests for which one is enough: clsact where the kernel has no tcx.
ONE_WAY = 'bpf' if TCX else 'tc'


class Appliance(Namespace):
    """A namespace with a device at each side. What happens between them is the caller's."""

    def __init__(self, lab):
        super().__init__('appliance')
        self.lab = lab
        self.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        for port, device, mac in ((INSIDE, 'eth0', '02:00:00:00:aa:00'),
                                  (OUTSIDE, 'eth1', '02:00:00:00:aa:01')):
            self.plug(port, device, mac)

    def plug(self, port, device, mac):
        self.lab.host.ip(f'link add {port} type veth peer name {device} address {mac} '
                         f'netns /proc/self/fd/{self.fd}', f'link set {port} up',
                         pass_fds=[self.fd])
        self.ip(f'link set {device} up')


class Wire(Appliance):
    """tests/inline/forwarder.c: wire("hang") and so on; see there."""

    def __init__(self, lab):
        super().__init__(lab)
        self.process = self.popen(BUILD / 'tests/inline/forwarder', 'eth0', 'eth1',
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout.readline() == 'ready\n'

    def __call__(self, command):
        self.process.stdin.write(command + '\n')
        self.process.stdin.flush()
        assert self.process.stdout.readline() == 'ok\n'

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(10)
        super().close()


class LearningBridge(Appliance):
    """A plain Linux bridge inside."""

    def __init__(self, lab):
        super().__init__(lab)
        if os.path.exists('/proc/sys/net/bridge'):
            # br_netfilter would cut the padding off short IP frames.
            self.sysctl(**{'net__bridge__bridge-nf-call-iptables': 0})
        self.ip('link add name br0 type bridge mcast_snooping 0 forward_delay 0 stp_state 0',
                'link set br0 up', 'link set eth0 master br0', 'link set eth1 master br0')


class Filtering(LearningBridge):
    """A bridge whose nftables let no TCP port 81 through."""

    def __init__(self, lab):
        super().__init__(lab)
        self.run('nft', '-f', '-', stdin='''
            table bridge filter {
                chain forward {
                    type filter hook forward priority 0; policy accept;
                    tcp dport 81 counter drop
                }
            }''')
