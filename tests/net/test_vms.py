# SPDX-License-Identifier: MIT
"""Virtual machines, found by their processes: here processes that hold a tap as QEMU does."""
import fcntl
import os
import struct
import subprocess

import pytest

from conftest import BUILD
from lab import ethernet
from test_faults import EVERY, Reading

HOLDER = BUILD / 'tests/unit/portmirror/test-tap-holder'


class Vm:
    """A process with QEMU's command line that holds these taps, plugged into the bridge; root's, or that of
    the user with this number."""

    def __init__(self, lab, name, *taps, number=1, user=0):
        self.lab, self.taps = lab, taps
        words = ['qemu-system-x86_64', '-name', f'guest={name},debug-threads=on', '-uuid',
                 f'00000000-0000-0000-0000-{number:012d}']
        for i, _ in enumerate(taps):
            words += ['-netdev', '{"type":"tap","fd":"%d","id":"hostnet%d"}' % (30 + i, i),
                      '-device', '{"driver":"virtio-net-pci","netdev":"hostnet%d","id":"net%d",'
                      '"mac":"52:54:00:00:%02x:%02x"}' % (i, i, number, i)]
        environment = {**os.environ, 'TAPS': ' '.join(f'{30 + i}={tap}'
                                                      for i, tap in enumerate(taps)),
                       'OWNER': str(user)}
        self.process = lab.host.popen('bash', '-c', f'exec -a {words[0]} {HOLDER} "$@"', 'sh',
                                      *words[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      env=environment)
        if self.process.stdout.read(5) != 'ready':
            pytest.skip('no tap can be made here (/dev/net/tun)')
        for tap in taps:
            lab.host.ip(f'link set {tap} master br0 up')

    def stop(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        self.process.stdout.close()


@pytest.fixture
def vm(lab):
    running = []

    def start(*arguments, **options):
        running.append(Vm(lab, *arguments, **options))
        return running[-1]

    yield start
    for machine in running:
        if machine.process.poll() is None:
            machine.stop()


def test_machines_are_listed_with_their_cards(pm, vm):
    vm('web 1', 'tap0', 'tap1')
    vm('db1', 'tap2', number=2)
    vms = {machine['name']: machine for machine in pm.json('vms')}
    assert [nic['port'] for nic in vms['web 1']['nics']] == ['tap0', 'tap1']
    assert vms['db1']['nics'] == [{'port': 'tap2', 'mac': '52:54:00:00:02:00'}]
    assert {port['name']: port['vm'] for port in pm.json('ports')}['tap1'] == 'web 1'
    assert 'web 1' in pm('vms').stdout


@pytest.mark.parametrize('selector, ports', [
    ('vm:web1', ['tap0', 'tap1']),
    ('vm:web1/1', ['tap1']),
    ('vm:web1/52:54:00:00:01:00', ['tap0']),
    ('mac:52:54:00:00:01:01', ['tap1']),
    ('vm:00000000-0000-0000-0000-000000000001', ['tap0', 'tap1']),
])
def test_selectors_of_machines(pm, vm, selector, ports):
    vm('web1', 'tap0', 'tap1')
    pm('add', 'ids', '--from', selector, '--to', 'port:ids0')
    assert pm.json('show', 'ids')['ports'] == ports


def test_a_machine_that_restarts_with_another_tap_is_picked_up(lab, pm, vm):
    before = lab.host.state()
    web = vm('web1', 'tap0')
    pm('add', 'ids', '--from', 'vm:web1', '--to', 'port:ids0')
    assert pm.json('show', 'ids')['ports'] == ['tap0']
    web.stop()
    assert pm.json('show', 'ids')['state'] == 'waiting'
    assert 'waiting for the source vm:web1' in pm('apply').stderr
    other = vm('other', 'tap0', number=2)  # the name of the device means another machine now
    web = vm('web1', 'tap7')
    pm('apply')
    assert pm.json('show', 'ids')['ports'] == ['tap7']
    assert 'bpf' not in lab.host.run('tc', 'filter', 'show', 'dev', 'tap0', 'ingress').stdout
    web.stop()
    other.stop()
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_a_sensor_machine_that_restarts(lab, pm, vm):
    a, b = lab.machines
    sensor = vm('ids', 'tap5')
    pm('add', 'mirror', '--from', 'bridge:br0', '--to', 'vm:ids', '--isolate')
    assert pm.json('show', 'mirror')['destination'] == 'tap5'
    sensor.stop()
    pm('apply')
    assert pm.json('show', 'mirror')['state'] == 'waiting'
    vm('ids', 'tap6')
    pm('apply')
    shown = pm.json('show', 'mirror')
    assert (shown['state'], shown['destination']) == ('whole', 'tap6')
    frame = b'\2\0\0\0\0\2\2\0\0\0\0\1\x88\xb5'.ljust(60, b'.')
    with lab.host.capture('tap6', sent=True) as copies:
        a.send([frame])
        assert copies.counts(1) == {frame: 1}


def test_two_machines_of_one_name_are_ambiguous(lab, pm, vm):
    vm('web1', 'tap0')
    vm('web1', 'tap1', number=2)
    before = lab.host.state()
    result = pm('add', 'ids', '--from', 'vm:web1', '--to', 'port:ids0', status=1)
    assert 'web1' in result.stderr and result.stderr.count('\n') == 1
    assert lab.host.state() == before


def test_a_source_that_becomes_ambiguous_is_left_out_alone(pm, vm):
    """Whoever may run a machine may call it as he likes: no other machine's mirror is to end by that."""
    vm('web1', 'tap0')
    vm('db1', 'tap1', number=2)
    pm('add', 'ids', '--from', 'vm:web1', '--from', 'vm:db1', '--to', 'port:ids0')
    other = vm('web1', 'tap2', number=3)
    pm('apply', status=1)
    shown = pm.json('show', 'ids')
    assert (shown['state'], shown['ports']) == ('partial', ['tap1'])
    assert 'two machines are called "web1"' in shown['reasons'][0]
    assert 'nothing to do' in pm('apply', status=1).stdout
    pm('add', 'two', '--from', 'vm:web1', '--from', 'vm:db1', '--to', 'port:ids0', status=1)
    other.stop()
    pm('apply')
    shown = pm.json('show', 'ids')
    assert (shown['state'], shown['ports']) == ('whole', ['tap0', 'tap1'])


def test_a_destination_with_two_cards_is_refused(pm, vm):
    vm('ids', 'tap0', 'tap1')
    result = pm('add', 'mirror', '--from', 'port:vnet1', '--to', 'vm:ids', status=1)
    assert 'tap0' in result.stderr and 'NIC' in result.stderr
    pm('add', 'mirror', '--from', 'port:vnet1', '--to', 'vm:ids/1')
    assert pm.json('show', 'mirror')['destination'] == 'tap1'


MACVTAP = '52:54:00:00:00:77'


@pytest.fixture
def macvtap(lab, tmp_path):
    """The open device of a machine on a macvtap of up0, whose cable leads to up1."""
    lab.host.ip('link add up0 type veth peer name up1', 'link set up0 up', 'link set up1 up')
    made = lab.host.ip(f'link add link up0 name mvt0 address {MACVTAP} type macvtap mode bridge', 'link set mvt0 up',
                       check=False)
    if made.returncode != 0:
        pytest.skip('this kernel has no macvtap')
    number = lab.host.run('unshare', '--mount', 'sh', '-c',
                          'mount -t sysfs none /sys && cat /sys/class/net/mvt0/macvtap/*/dev').stdout
    node = tmp_path / 'tap'
    lab.host.run('mknod', '-m', '600', node, 'c', *number.strip().split(':'))
    with open(node, 'rb+', buffering=0) as tap:
        fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'mvt0', 0x1002))  # TUNSETIFF: IFF_TAP, IFF_NO_PI
        yield tap


@pytest.mark.parametrize('direction, copied', [('both', 'sent received'), ('sent', 'received'), ('received', 'sent')])
def test_a_macvtap_is_found_by_its_address(lab, pm, macvtap, direction, copied):
    """With sent and received swapped: what its machine sends leaves the host there."""
    pm('add', 'ids', '--from', f'mac:{MACVTAP}', '--to', 'port:ids0', '--direction', direction)
    other = '02:00:00:00:00:01'
    frames = {'sent': ethernet(other, MACVTAP, 0x88b5, b'sent'.ljust(46)),
              'received': ethernet(MACVTAP, other, 0x88b5, b'received'.ljust(46))}
    with lab.sensor.capture() as copies:
        macvtap.write(frames['sent'])
        lab.host.send([frames['received']], dev='up1')
        assert copies.counts(len(copied.split())) == {frames[name]: 1 for name in copied.split()}


@pytest.mark.sanitized
@pytest.mark.engine('tc')
@EVERY
def test_a_failure_at_each_place(lab, pm, vm, tmp_path, every):
    """What can't be read of a process is left out: it may end at any time, or not let us look."""
    vm('web 1', 'tap0', 'tap1')
    Reading(lab, pm, tmp_path, 'vms').sweep_places({every: set()}, every, but=('openat', 'read', 'readlink', 'ioctl'))
