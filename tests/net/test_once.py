# SPDX-License-Identifier: MIT
"""A frame reaches a destination once, whatever overlaps."""
import os
import struct

import pytest

from lab import BROADCAST, ethernet, ipv4


def unicast(sender, to, text=b'hello'):
    return ethernet(to.mac, sender.mac, 0x0800, ipv4(sender.ipv4, to.ipv4, text))


def broadcast(sender, text=b'to all'):
    return ethernet(BROADCAST, sender.mac, 0x88b5, text)


def everything(lab):
    """Frames of every kind between every pair: (machine, frame) each."""
    sent = []
    for a in lab.machines:
        sent += [(a, unicast(a, b)) for b in lab.machines if b is not a]
        sent += [(a, broadcast(a)), (a, ethernet('01:00:5e:01:02:03', a.mac, 0x0800, b'group')),
                 (a, ethernet('02:00:00:00:aa:aa', a.mac, 0x88b5, b'to nobody: flooded'))]
    return sent


def passes(frame, sender, machines):
    """The frame goes in or out of a port of one of these."""
    to_one = [m for m in machines if frame.startswith(bytes.fromhex(m.mac.replace(':', '')))]
    group = frame[0] & 1 or frame.startswith(bytes.fromhex('02000000aaaa'))
    return sender in machines or bool(to_one) or bool(group)


def copies(lab, sent, expect, sensor=None):
    lab.ping()
    with (sensor or lab.sensor).capture() as capture:
        for machine, frame in sent:
            machine.send([frame])
        return capture.counts(expect)


@pytest.mark.lab(machines=4)
@pytest.mark.parametrize('selectors, mirrored', [
    (['port:vnet1', 'port:vnet2'], [0, 1]),
    (['bridge:br0'], [0, 1, 2, 3]),
    (['bridge:br0', 'port:vnet1', 'port:vnet*'], [0, 1, 2, 3]),
    (['port:vnet[234]'], [1, 2, 3]),
])
def test_several_sources(lab, pm, selectors, mirrored):
    pm('add', 'ids', *[word for s in selectors for word in ('--from', s)], '--to', 'port:ids0')
    sent = everything(lab)
    wanted = [lab.machines[i] for i in mirrored]
    expected = {frame: 1 for machine, frame in sent if passes(frame, machine, wanted)}
    assert copies(lab, sent, len(expected)) == expected


@pytest.mark.lab(machines=3)
def test_frames_that_the_host_sends(lab, pm):
    lab.host.ip('address add 10.0.0.254/24 dev br0')
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    frame = ethernet(BROADCAST, '02:00:00:00:00:fe', 0x88b5, b'from the host')
    with lab.sensor.capture() as capture:
        lab.host.send([frame], 'br0')
        assert capture.counts(1) == {frame: 1}


BRIDGE = '02:00:00:00:00:fe'


def to_and_from_the_host(lab):
    """Frames that enter at the first machine's port and reach the host, and what the host sends back."""
    a = lab.machines[0]
    lab.host.ip(f'link set br0 address {BRIDGE}')
    return [(a, ethernet(BRIDGE, a.mac, 0x88b5, b'to the host')), (a, broadcast(a)),
            (a, ethernet('01:00:5e:01:02:03', a.mac, 0x88b5, b'group'))], \
        ethernet(a.mac, BRIDGE, 0x88b5, b'from the host')


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('selectors', [['bridge:br0', 'port:br0'], ['port:*']])
@pytest.mark.parametrize('direction', ['both', 'sent'])
def test_a_bridge_s_own_device_beside_its_ports(lab, pm, selectors, direction):
    sent, back = to_and_from_the_host(lab)
    pm('add', 'ids', *[word for s in selectors for word in ('--from', s)], '--to', 'port:ids0',
       '--direction', direction)
    expected = {frame: 1 for _, frame in sent}
    if direction == 'both':
        expected[back] = 1
    with lab.sensor.capture() as capture:
        lab.host.send([back], 'br0')
        for machine, frame in sent:
            machine.send([frame])
        assert capture.counts(len(expected)) == expected
    assert pm.json('show', 'ids')['state'] == 'whole'


@pytest.mark.lab(machines=3)
def test_a_bridge_s_own_device_alone(lab, pm):
    sent, back = to_and_from_the_host(lab)
    pm('add', 'ids', '--from', 'port:br0', '--to', 'port:ids0')
    with lab.sensor.capture() as capture:
        lab.host.send([back], 'br0')
        for machine, frame in sent:
            machine.send([frame])
        assert capture.counts(4) == {back: 1, **{frame: 1 for _, frame in sent}}


@pytest.mark.lab(machines=3)
def test_a_port_that_joins_and_leaves_beside_the_bridge_s_own_device(lab, pm):
    """What the host receives is copied where it enters, or at the bridge's device where it enters elsewhere."""
    to_and_from_the_host(lab)
    pm('add', 'ids', '--from', 'port:vnet[23]', '--from', 'port:br0', '--to', 'port:ids0')
    for master, machine in (['master', 'br0'], lab.machines[0]), (['nomaster'], lab.machines[1]):
        lab.host.run('ip', 'link', 'set', 'vnet1', *master)
        pm('apply')
        frame = ethernet(BRIDGE, machine.mac, 0x88b5, b'to the host')
        with lab.sensor.capture() as capture:
            machine.send([frame])
            assert capture.counts(1) == {frame: 1}


@pytest.mark.lab(machines=3)
def test_equal_frames_are_copied_as_often_as_they_are_sent(lab, pm):
    a, b, _ = lab.machines
    pm('add', 'ids', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:ids0')
    lab.ping()
    one, all_of_them = unicast(a, b), broadcast(lab.machines[2])
    with lab.sensor.capture() as capture:
        a.send([one] * 500)
        lab.machines[2].send([all_of_them] * 500)
        assert capture.counts(1000) == {one: 500, all_of_them: 500}


@pytest.mark.lab(machines=3)
def test_two_sessions_with_the_same_destination(lab, pm):
    a, b, c = lab.machines
    pm('add', 'first', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', 'icmp')
    pm('add', 'second', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:ids0')
    pm('add', 'third', '--from', 'bridge:br0', '--to', 'port:ids0', '--direction', 'sent',
       '--filter', 'ether proto 0x88b5')
    sent = everything(lab)
    expected = {frame: 1 for machine, frame in sent
                if passes(frame, machine, [a, b]) or frame[12:14] == b'\x88\xb5'}
    assert copies(lab, sent, len(expected)) == expected


@pytest.mark.lab(machines=3)
def test_two_sessions_with_different_destinations(lab, pm):
    lab.host.ip('link add ids1 type veth peer name ids1p', 'link set ids1 up', 'link set ids1p up')
    pm('add', 'one', '--from', 'bridge:br0', '--to', 'port:ids0')
    pm('add', 'two', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:ids1')
    sent = everything(lab)
    lab.ping()
    with lab.sensor.capture() as first, lab.host.capture('ids1p') as second:
        for machine, frame in sent:
            machine.send([frame])
        assert first.counts(len(sent)) == {frame: 1 for _, frame in sent}
        expected = {frame: 1 for machine, frame in sent
                    if passes(frame, machine, lab.machines[:2])}
        assert second.counts(len(expected)) == expected


@pytest.mark.lab(machines=3)
def test_a_bridge_leaves_out_the_destination(lab, pm):
    a, b, _ = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:vnet3', '--isolate')
    assert pm.json('show', 'ids')['ports'] == ['vnet1', 'vnet2']
    sent = [(a, unicast(a, b)), (b, unicast(b, a)), (a, broadcast(a))]
    with lab.machines[2].capture() as capture:
        for machine, frame in sent:
            machine.send([frame])
        assert capture.counts(3) == {frame: 1 for _, frame in sent}


def test_a_tag_that_the_bridge_adds_makes_no_second_frame(lab, pm):
    a, b = lab.machines
    if lab.host.run('ip', 'link', 'set', 'br0', 'type', 'bridge', 'vlan_filtering', '1',
                    check=False).returncode:
        pytest.skip("this kernel's bridge has no VLAN filtering")
    lab.host.run('bridge', 'vlan', 'add', 'dev', 'vnet1', 'vid', '5', 'pvid', 'untagged')
    lab.host.run('bridge', 'vlan', 'add', 'dev', 'vnet2', 'vid', '5')
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    frame = ethernet(b.mac, a.mac, 0x88b5, b'untagged where it enters')
    assert copies(lab, [(a, frame)], 1) == {frame: 1}


def test_a_bridge_that_cuts_padding_off_makes_no_second_frame(lab, pm):
    a, b = lab.machines
    try:
        lab.host.sysctl(**{'net__bridge__bridge-nf-call-iptables': 1})
    except FileNotFoundError:
        pytest.skip('this kernel has no br_netfilter')
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    padded = unicast(a, b, b'short')
    with b.capture() as arrives:
        assert copies(lab, [(a, padded)], 1) == {padded: 1}
        frames = [f for f in arrives.frames(1) if f[12:14] == b'\x08\x00' and b'short' in f]
    assert [len(f) for f in frames] == [14 + 20 + 8 + 5], 'the bridge did not cut it'


@pytest.mark.parametrize('chain', [['a:vnet1>vnet2', 'b:vnet2>vnet1'],
                                   ['a:vnet1>vnet2', 'b:vnet2>ids0', 'c:ids0>vnet1']])
def test_a_loop_over_sessions_is_refused(lab, pm, chain):
    for link in chain:
        name, ends = link.split(':')
        source, to = ends.split('>')
        last = link == chain[-1]
        before = lab.host.state()
        result = pm('add', name, '--from', f'port:{source}', '--to', f'port:{to}',
                    status=1 if last else 0)
    assert 'loop' in result.stderr and 'vnet1' in result.stderr and result.stderr.count('\n') == 1
    assert lab.host.back_to(before) and len(pm.json('list')) == len(chain) - 1


def test_a_chain_is_no_loop(lab, pm):
    a, b = lab.machines
    lab.host.ip('link add tap0 type veth peer name tap0p', 'link set tap0 up', 'link set tap0p up')
    pm('add', 'one', '--from', 'port:vnet1', '--to', 'port:tap0')
    pm('add', 'two', '--from', 'port:tap0', '--to', 'port:ids0')
    assert copies(lab, [(a, unicast(a, b))], 1)[unicast(a, b)] == 1


PAIR = ('link add sp0 type veth peer name sp1', 'link set sp0 up', 'link set sp1 up')
MACVLAN = ('link add link ids0 name mac0 type macvlan mode bridge', 'link set mac0 up')


@pytest.mark.parametrize('devices, source, to, comes_to', [
    ([*PAIR], 'port:sp1', 'port:sp0', 'sp1'),
    ([*PAIR, 'link set sp1 master br0'], 'bridge:br0', 'port:sp0', 'vnet1'),
    ([*PAIR, 'link set sp1 master br0'], 'port:vnet1', 'port:sp0', 'vnet1'),
    ([*PAIR, 'link set sp1 master br0'], 'port:br0', 'port:sp0', 'br0'),
    ([*MACVLAN], 'port:ids0', 'port:mac0', 'ids0'),
    ([], 'port:vnet2', 'port:br0', 'vnet2')])
def test_a_loop_through_a_device_behind_the_destination_is_refused(lab, pm, devices, source, to, comes_to):
    lab.host.ip(*devices)
    before = lab.host.state()
    result = pm('add', 'ids', '--from', source, '--to', to, status=1)
    to = to.removeprefix('port:')
    assert result.stderr == (f'portmirror: ids: a loop: ids copies to {to}, from where frames come to {comes_to}, '
                             f'which ids mirrors to {to}, and so on back to ids; nothing was changed\n')
    assert lab.host.back_to(before) and not pm.json('list')


def test_a_loop_over_sessions_and_what_is_behind_a_destination_is_refused(lab, pm):
    lab.host.ip(*PAIR)
    pm('add', 'one', '--from', 'port:vnet1', '--to', 'port:sp0')
    before = lab.host.state()
    result = pm('add', 'two', '--from', 'port:sp1', '--to', 'port:vnet1', status=1)
    assert 'two copies to vnet1, which one mirrors to sp0, and so on back to two' in result.stderr
    assert lab.host.back_to(before)


@pytest.mark.parametrize('devices, source, to, options', [
    ([*PAIR, 'link add br1 type bridge', 'link set sp1 master br1'], 'bridge:br0', 'port:sp0', []),
    ([*PAIR, 'link set sp1 master br0'], 'port:vnet1', 'port:sp0', ['--direction', 'sent']),
    ([*PAIR], 'port:sp1', 'port:sp0', ['--direction', 'received']),
    ([*MACVLAN], 'port:ids0', 'port:mac0', ['--direction', 'sent'])])
def test_what_is_behind_a_destination_is_no_loop_by_itself(lab, pm, devices, source, to, options):
    lab.host.ip(*devices)
    pm('add', 'ids', '--from', source, '--to', to, *options)
    assert pm.json('show', 'ids')['state'] == 'whole'


def of_one_hash(lab):
    """A frame to each of the second and third machine, whose hashes would be the same without a key."""
    entry = lab.host.json('ip', '-j', 'link', 'show', 'vnet1')[0]['ifindex']
    first, second = (ethernet(to.mac, lab.machines[0].mac, 0x88b5, text * 86)
                     for to, text in zip(lab.machines[1:], (b'a', b'b')))
    states = []
    for frame in (first, second):
        state = entry << 32 ^ len(frame)
        for word in struct.unpack('<7Q', frame[:56]):
            state = (state ^ word) * 0x9e3779b97f4a7c15 & (1 << 64) - 1
            state ^= state >> 32
        states.append(state)
    last, = struct.unpack('<Q', first[56:64])
    return [first, second[:56] + struct.pack('<Q', states[0] ^ states[1] ^ last) + second[64:]]


@pytest.mark.lab(machines=3)
def test_no_frame_hides_behind_another(lab, pm):
    """Whoever sends them isn't mirrored, and knows how frames are told apart."""
    pm('add', 'ids', '--from', 'port:vnet2', '--from', 'port:vnet3', '--to', 'port:ids0')
    frames, processors = of_one_hash(lab), os.sched_getaffinity(0)
    lab.ping()
    os.sched_setaffinity(0, {min(processors)})
    try:
        with lab.sensor.capture() as capture:
            lab.machines[0].send(frames)
            assert capture.counts(2) == dict.fromkeys(frames, 1)
    finally:
        os.sched_setaffinity(0, processors)
