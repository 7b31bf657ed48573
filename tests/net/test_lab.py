# SPDX-License-Identifier: MIT
"""The lab itself: what the other tests rely on."""
import collections
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from lab import BROADCAST, Lab, bulk, ethernet, frames_of_every_kind, kind_of

pytestmark = pytest.mark.ordinary  # nothing here runs the program under test

MIRROR = 'protocol all u32 match u32 0 0 action mirred egress mirror dev ids0'


def test_machines_reach_each_other(lab):
    assert lab.ping()


@pytest.mark.lab(machines=3, ipv6=True, learn=True)
def test_machines_find_each_other(lab):
    assert lab.ping()
    assert lab.machines[0].run('ping', '-6', '-c1', '-W2', lab.machines[2].ipv6)


def test_a_lab_is_silent(lab):
    with lab.sensor.capture() as sensor, lab.machines[0].capture() as machine:
        assert sensor.frames(quiet=0.3) == []
        assert machine.frames(quiet=0) == []


@pytest.mark.lab(machines=3, ipv6=True, learn=True)
def test_a_lab_with_ipv6_is_silent(lab):
    with lab.machines[0].capture() as machine:
        assert machine.frames(quiet=1) == []


def test_frames_that_leave_are_captured(lab):
    a, b = lab.machines
    frame = ethernet(b.mac, a.mac, 0x88b5, b'out')
    with a.capture(sent=True) as capture, b.capture(sent=True) as nothing:
        before = a.counters()
        a.send([frame])
        assert capture.frames(1) == [frame]
        assert a.counters()[0] == before[0] + 1
        assert nothing.frames() == []


def test_bulk_tcp(lab):
    size, seconds = bulk(*lab.machines, seconds=0.1)
    assert size > 1_000_000 and seconds >= 0.1


def test_frames_of_every_kind_arrive_whole(lab):
    a, b = lab.machines
    frames = frames_of_every_kind(a, b)
    assert len(set(frames.values())) == len(frames)
    lab.host.state()  # the bridge forwards from now on
    with b.capture() as capture, a.capture() as answers:
        a.send(frames.values())
        assert capture.counts(len(frames)) == collections.Counter(frames.values())
        assert answers.frames() == []


def test_kinds_are_told(lab):
    a, b = lab.machines
    frames = frames_of_every_kind(a, b)
    assert kind_of(frames['VLAN 7, IPv4']) == 'VLAN 7, IPv4'
    assert kind_of(frames['VLAN 7 in 9 (802.1ad), IPv6']) == 'VLAN 9, VLAN 7, IPv6'
    assert kind_of(frames['no IP (EtherType 88b5)']) == 'EtherType 88b5'


def test_the_sensor_sees_only_what_is_mirrored(lab):
    a, b = lab.machines
    frames = frames_of_every_kind(a, b)
    lab.host.tc('qdisc add dev vnet1 clsact', f'filter add dev vnet1 ingress {MIRROR}')
    with lab.sensor.capture() as capture:
        b.send([ethernet(a.mac, b.mac, 0x88b5, b'the other way')])
        a.send(frames.values())
        assert capture.counts(len(frames)) == collections.Counter(frames.values())


def test_doubles_are_counted(lab):
    a, _ = lab.machines
    frame = ethernet(BROADCAST, a.mac, 0x88b5, b'twice')
    lab.host.tc('qdisc add dev vnet1 clsact', f'filter add dev vnet1 ingress {MIRROR} continue',
                f'filter add dev vnet1 ingress {MIRROR} continue')
    with lab.sensor.capture() as capture:
        a.send([frame])
        assert capture.counts(2) == {frame: 2}


@pytest.mark.parametrize('command', [
    'tc qdisc add dev vnet1 clsact',
    'tc qdisc add dev vnet2 root handle 1: htb',
    'tc actions add action mirred egress mirror dev ids0',
    'bridge link set dev vnet1 learning off',
    'bridge link set dev vnet1 isolated on',
    'ip link set vnet2 nomaster',
    'ip link set ids0 mtu 1400',
])
def test_state_shows_a_change(lab, command):
    before = lab.host.state()
    assert lab.host.state() == before
    lab.host.run(*command.split())
    assert lab.host.state() != before


@pytest.mark.parametrize('where', ['ingress', 'egress', 'parent 1:'])
def test_state_shows_filters(lab, where):
    lab.host.tc('qdisc add dev vnet1 clsact', 'qdisc add dev vnet1 root handle 1: htb')
    before = lab.host.state()
    lab.host.tc(f'filter add dev vnet1 {where} {MIRROR}')
    assert lab.host.state() != before
    assert not lab.host.back_to(before, seconds=0)
    lab.host.tc(f'filter del dev vnet1 {where}')
    assert lab.host.back_to(before)


def test_state_does_not_change_by_traffic(lab):
    lab.host.tc('qdisc add dev vnet1 clsact', f'filter add dev vnet1 ingress {MIRROR}')
    before = lab.host.state()
    assert lab.ping(count=5)
    assert lab.host.state() == before


def test_the_hosts_own_devices_stay_out_of_it():
    def links():
        return subprocess.run(['ip', '-o', 'link'], check=True, capture_output=True).stdout

    before, files = links(), os.listdir('/proc/self/fd')
    with Lab(machines=2):
        assert links() == before
    assert links() == before
    assert os.listdir('/proc/self/fd') == files


def test_a_killed_lab_leaves_nothing(wait_until):
    """Its namespaces go with its process: a cable's end that was put into one disappears."""
    program = ('import os, signal, sys; sys.path.insert(0, sys.argv[1]); import lab\n'
               'made = lab.Lab(machines=1)\n'
               'made.host.ip("link add probe type veth peer name probe0", "link set probe netns " +'
               ' sys.argv[2])\n'
               'os.kill(os.getpid(), signal.SIGKILL)\n')
    with Lab(machines=0) as keeper:
        with keeper.host.popen('sleep', '60') as sleeper:
            try:
                killed = subprocess.run([sys.executable, '-c', program,
                                         str(pathlib.Path(__file__).parent), str(sleeper.pid)],
                                        check=False)
                assert killed.returncode == -signal.SIGKILL
                wait_until(lambda: 'probe' not in keeper.host.run('ip', '-o', 'link').stdout)
            finally:
                sleeper.kill()


def test_kill_after_counts_and_kills(lab, tmp_path):
    library = pathlib.Path(os.environ.get('BUILD', 'build')) / 'tests/preload/kill_after.so'
    if not library.exists():
        pytest.skip(f'there is no {library}')
    count = tmp_path / 'count'
    env = {**os.environ, 'LD_PRELOAD': str(library.resolve()), 'COUNT_FILE': str(count)}
    lines = [f'qdisc add dev {dev} clsact' for dev in ('vnet1', 'vnet2', 'ids0')]

    def kinds():
        return [qdisc['dev'] for qdisc in lab.host.json('tc', '-j', 'qdisc', 'show')
                if qdisc['kind'] == 'clsact']

    result = lab.host.tc(*lines, env={**env, 'KILL_AT': '2', 'KILL_WHEN': 'before'}, check=False)
    assert result.returncode == -signal.SIGKILL and kinds() == ['vnet1']
    result = lab.host.tc(*lines[1:], env={**env, 'KILL_AT': '2'}, check=False)
    assert result.returncode == -signal.SIGKILL and sorted(kinds()) == ['ids0', 'vnet1', 'vnet2']
    lab.host.tc(*[line.replace('add', 'del') for line in lines], env=env)
    assert int(count.read_text()) == 3 and kinds() == []
