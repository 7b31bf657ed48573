# SPDX-License-Identifier: MIT
"""No loop, whatever the appliance sends: each frame that it puts out is at most one frame further on,
and never comes back into it."""
import collections

import pytest

from appliances import INSIDE, ONE_WAY, OUTSIDE
from lab import BROADCAST, ethernet, frames_of_every_kind

STORM = 5

pytestmark = pytest.mark.engine(ONE_WAY)


def every_way(machines):
    frames = []
    for sender in machines:
        for receiver in machines:
            if sender is not receiver:
                frames += [(sender, frame) for frame in
                           frames_of_every_kind(sender, receiver, b'from %d to %d' % (
                               sender.number, receiver.number)).values()]
    return frames


def quiet(namespace, dev, seconds=0.2):
    with namespace.capture(dev, sent=True) as sent, namespace.capture(dev) as received:
        return sent.frames(quiet=seconds) == [] and received.frames(quiet=0) == []


@pytest.mark.lab(machines=4, ipv6=True)
@pytest.mark.parametrize('command', [f'storm {STORM}', 'echo'])
def test_an_appliance_that_echoes_everything(lab, inline, appliance, command):
    wire = appliance()
    inline('ips', 'vnet1', 'vnet2')
    frames = every_way(lab.machines)
    for machine in lab.machines:
        machine.send([ethernet(BROADCAST, machine.mac, 0x88b6, b'here I am')])
    wire(command)
    copies = STORM if command != 'echo' else 1
    with wire.capture('eth0') as inside, wire.capture('eth1') as outside:
        for sender, frame in frames:
            sender.send([frame])
        led_in = inside.frames(1, quiet=0.3) + outside.frames(quiet=0.1)
    # Each frame was led in once, or not at all: nothing that came out went in again.
    assert max(collections.Counter(led_in).values()) == 1
    assert len(led_in) <= len(frames)
    # And all is silent afterwards, at the appliance and in the network.
    assert quiet(wire, 'eth0') and quiet(lab.host, 'br0')
    # The bridge knows each machine where it is, whatever was echoed.
    table = {entry['mac']: entry['ifname'] for entry in lab.host.json('bridge', '-j', 'fdb', 'show')
             if entry.get('master') == 'br0' and entry.get('state') != 'permanent'}
    for machine in lab.machines:
        assert table.get(machine.mac) == machine.port
    assert copies


@pytest.mark.lab(machines=3)
def test_an_echo_does_not_come_back_to_its_machine(lab, inline, appliance):
    wire = appliance()
    a, b, c = lab.machines
    inline('ips', 'vnet1', 'vnet2')
    for machine in lab.machines:
        machine.send([ethernet(BROADCAST, machine.mac, 0x88b6, b'here I am')])
    wire('echo')
    with a.capture() as back:
        a.send(frames_of_every_kind(a, c).values())
        a.send(frames_of_every_kind(a, b).values())
        assert back.frames(quiet=0.3) == []


@pytest.mark.lab(machines=3)
def test_a_replay_is_over_when_it_is_over(lab, inline, appliance):
    wire = appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1', 'vnet2')
    frames = [frame for _, frame in every_way(lab.machines)]
    a.send(frames_of_every_kind(a, c).values())
    c.send(frames_of_every_kind(c, a).values())
    with wire.capture('eth0') as inside, wire.capture('eth1') as outside:
        for _ in range(3):
            wire('replay')
        assert inside.frames(quiet=0.2) == [] and outside.frames(quiet=0.1) == []
    assert quiet(lab.host, 'br0') and frames


@pytest.mark.lab(machines=3)
def test_frames_of_its_own_go_no_further_than_they_may(lab, pm, inline, appliance):
    """A reset that it sends in a guarded machine's name arrives; what bears a stranger's address
    enters no network, and teaches the bridge nothing."""
    wire = appliance()
    a, b, c = lab.machines
    inline('ips', 'vnet1')
    with a.capture() as at_a, b.capture() as at_b, c.capture() as at_c:
        for machine in lab.machines:
            machine.send([ethernet(BROADCAST, machine.mac, 0x88b6, b'here I am')])
        assert [len(at.frames(2)) for at in (at_a, at_b, at_c)] == [2, 2, 2]
    reset = ethernet(c.mac, a.mac, 0x88b6, b'in the name of a')
    to_a = ethernet(a.mac, c.mac, 0x88b6, b'in the name of c')
    stranger = ethernet(BROADCAST, '02:00:00:00:77:77', 0x88b6, b'nobody knows me')
    stolen = ethernet(BROADCAST, c.mac, 0x88b6, b'I am not c')
    with a.capture() as at_a, b.capture() as at_b, c.capture() as at_c:
        wire.send([reset, stranger, stolen], 'eth1')
        wire.send([to_a], 'eth0')
        assert at_c.counts(1) == {reset: 1}
        assert at_a.counts(1) == {to_a: 1}
        assert at_b.counts() == {}
    assert pm.json('show', 'ips')['appliance_state']['counts']['strangers']['frames'] == 2
    assert '02:00:00:00:77:77' not in lab.host.run('bridge', 'fdb', 'show').stdout
    entry = lab.host.run('bridge', 'fdb', 'get', c.mac, 'br', 'br0').stdout
    assert 'vnet3' in entry


@pytest.mark.lab(machines=2)
def test_the_two_ports_connected_to_each_other(lab, inline, appliance):
    """A cable instead of an appliance: everything comes straight back."""
    made = appliance()
    a, b = lab.machines
    inline('ips', 'vnet1')
    made('storm 3')
    frames = frames_of_every_kind(a, b)
    with b.capture() as capture:
        a.send(frames.values())
        counts = capture.counts(3 * len(frames))
    assert set(counts.values()) == {3}
    for port in (INSIDE, OUTSIDE):
        assert quiet(lab.host, port)
