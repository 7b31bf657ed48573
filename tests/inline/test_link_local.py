# SPDX-License-Identifier: MIT
"""What stations of one link say to each other, STP and LLDP, goes where it goes without a session:
through the appliance where the host's bridge forwards it, and to the host where it doesn't."""
import socket
import struct

import pytest

from lab import BROADCAST, ethernet, mac_bytes

BRIDGES, NEAREST = '01:80:c2:00:00:00', '01:80:c2:00:00:0e'
LLDP = 0x88cc
FORWARDS_LLDP = 'group_fwd_mask 0x4000'


def bpdu(mac, priority=0xffff):
    """A configuration BPDU of a bridge that would be the root (IEEE 802.1D, 9.3.1), in 802.3's LLC.
    With its least priority it never is."""
    bridge = struct.pack('!H', priority) + mac_bytes(mac)
    text = b'\x42\x42\x03' + bytes(5) + bridge + bytes(4) + bridge + struct.pack(
        '!H4H', 0x8001, 0, 20 << 8, 2 << 8, 15 << 8)
    return ethernet(BRIDGES, mac, len(text), text)


def lldp(mac):
    """Chassis and port by their address, a time to live, the end (IEEE 802.1AB, 8)."""
    address = mac_bytes(mac)
    return ethernet(NEAREST, mac, LLDP, b'\x02\x07\x04' + address + b'\x04\x07\x03' + address +
                    b'\x06\x02\x00\x78\x00\x00')


def listen(dev, kind):
    """What the host's own lldpd has: a socket for one EtherType, behind the bridge's own hook."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((dev, kind))
    sock.settimeout(0.05)
    return sock


def heard(sock):
    frames = []
    try:
        while True:
            frames.append(sock.recv(2048))
    except TimeoutError:
        return frames


def what_passes(lab, a, c):
    """The kinds that get from a to c, and from c to a; how often the host hears LLDP of each."""
    found = []
    for sender, receiver in ((a, c), (c, a)):
        frames = {'bpdu': bpdu(sender.mac), 'lldp': lldp(sender.mac)}
        with lab.host.inside(lambda dev=sender.port: listen(dev, LLDP)) as host, \
                receiver.capture() as capture:
            sender.send(frames.values())
            arrived = capture.counts(2, timeout=0.3)
            found.append(({kind: arrived[frame] for kind, frame in frames.items()},
                          heard(host).count(frames['lldp'])))
    return found


def led(pm):
    counts = pm.json('show', 'ips')['appliance_state']['counts']
    return [counts[way]['frames'] for way in ('led_out', 'back_out', 'led_in', 'back_in')]


# What Linux's bridge does with them: br_handle_frame() in net/bridge/br_input.c.
@pytest.mark.parametrize('passes', [
    pytest.param({'bpdu': 1, 'lldp': 0}, marks=pytest.mark.lab(machines=3)),
    pytest.param({'bpdu': 1, 'lldp': 1}, marks=pytest.mark.lab(machines=3, bridge=FORWARDS_LLDP)),
    pytest.param({'bpdu': 0, 'lldp': 0}, marks=pytest.mark.lab(machines=3, bridge='stp_state 1')),
], ids=['plain bridge', 'one that forwards LLDP', 'one with STP'])
def test_they_pass_as_without_a_session(lab, pm, inline, appliance, wait_until, passes):
    wire = appliance()
    a, _, c = lab.machines
    # (A bridge with STP forwards all else only when it has listened and learned for a while.)
    wait_until(lambda: {port['state'] for port in lab.host.json('bridge', '-j', 'link')} ==
               {'forwarding'}, 20)
    without = what_passes(lab, a, c)
    assert without == [(passes, 1 - passes['lldp'])] * 2
    inline('ips', 'vnet1')
    assert what_passes(lab, a, c) == without
    # What the machine says goes through the appliance first, whatever the bridge makes of it; what
    # the bridge has for the machine, too.
    assert led(pm) == [2, 2, sum(passes.values()), sum(passes.values())]
    wire('drop')
    assert what_passes(lab, a, c) == [({'bpdu': 0, 'lldp': 0}, 0),
                                      ({'bpdu': 0, 'lldp': 0}, 1 - passes['lldp'])]
    pm('rm', 'ips')
    assert what_passes(lab, a, c) == without


def states(namespace):
    return {port['ifname']: port['state'] for port in namespace.json('bridge', '-j', 'link')}


def told(namespace, device, what='info_data'):
    return namespace.json('ip', '-j', '-d', 'link', 'show', device)[0]['linkinfo'][what]


def becomes_a_switch(machine, priority, *ports):
    """A bridge inside, as quick as STP may be."""
    machine.ip('address flush dev eth0',
               f'link add br1 type bridge mcast_snooping 0 hello_time 100 forward_delay 200 '
               f'max_age 600 stp_state 1 priority {priority}',
               *[f'link set {port} master br1' for port in ports], 'link set br1 up')


def hears(namespace, device, count=1):
    """Waits until the device got so many more BPDUs."""
    with namespace.capture(device) as capture:
        frames = []
        while sum(frame[:6] == mac_bytes(BRIDGES) for frame in frames) < count:
            assert len(frames) < len(frames := capture.frames(len(frames) + 1, quiet=0))


CHANGES = [('bypass', 'ips'), ('restore', 'ips'), ('rm', 'ips')]


@pytest.mark.ordinary  # it waits for the kernel's timers
@pytest.mark.engine('bpf')
@pytest.mark.lab(machines=2, bridge='hello_time 100 stp_state 1 priority 8192')
@pytest.mark.parametrize('priority', [4096, 12288], ids=['it is the root', 'the host is'])
def test_a_guarded_bridge_keeps_its_port_state(lab, pm, inline, appliance, wait_until, priority):
    appliance()
    a = lab.machines[0]
    inline('ips', 'vnet1')
    becomes_a_switch(a, priority, 'eth0')
    inside, outside = (a, 'br1', 'eth0'), (lab.host, 'br0', 'vnet1')
    root, other = (inside, outside) if priority < 8192 else (outside, inside)

    def settled():
        return (told(*root[:2])['root_port'], told(*other[:2])['root_port'] > 0) == (0, True) and \
            told(other[0], other[2], 'info_slave_data')['root_id'] == \
            told(*root[:2])['bridge_id'] and \
            states(a)['eth0'] == states(lab.host)['vnet1'] == 'forwarding'
    wait_until(settled, 20)
    for command in CHANGES:
        pm(*command)
        hears(other[0], other[2])  # what keeps it so
        assert settled(), command


@pytest.mark.ordinary  # it waits for the kernel's timers
@pytest.mark.engine('bpf')
@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('guarded', [['vnet1'], ['vnet1', 'vnet9']], ids=['one', 'both'])
def test_a_loop_through_a_guarded_machine_stays_broken(lab, pm, inline, appliance, wait_until,
                                                       guarded):
    """Two NICs of it are on the host's bridge, and it bridges them: STP blocks one, as long as what
    it says by the other comes back."""
    appliance()
    a, b, c = lab.machines
    lab.cable('vnet9', a, '02:00:00:00:00:99', end='eth1')
    lab.host.ip('link set vnet9 master br0')
    inline('ips', *guarded)
    becomes_a_switch(a, 32768, 'eth0', 'eth1')
    broken = {'eth0': 'forwarding', 'eth1': 'blocking'}
    wait_until(lambda: states(a) == broken, 20)
    for command in CHANGES:
        pm(*command)
        hears(a, 'eth1')
        assert states(a) == broken, command
        call = ethernet(BROADCAST, c.mac, 0x88b6, b'all of you, once: ' + command[0].encode())
        with b.capture() as at_b, c.capture() as at_c:
            c.send([call])
            assert at_b.counts(1)[call] == 1 and at_c.counts()[call] == 0


@pytest.mark.engine('bpf')
@pytest.mark.lab(machines=2, bridge='hello_time 100 stp_state 1')
def test_what_the_hosts_bridge_says_is_no_business_of_the_appliance(lab, inline, appliance):
    """Its word is for the port alone. Were it lost with the appliance, a machine with a bridge inside
    would open what the host's STP keeps closed."""
    wire = appliance()
    a, b = lab.machines
    inline('ips', 'vnet1')
    wire('drop')
    with a.capture() as guarded, b.capture() as other, wire.capture('eth1') as outside:
        words = [capture.frames(2)[:2] for capture in (guarded, other)]
        assert outside.frames() == []
    assert all(word[:6] == mac_bytes(BRIDGES) for frames in words for word in frames)
