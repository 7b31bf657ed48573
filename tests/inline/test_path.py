# SPDX-License-Identifier: MIT
"""Frames take the way through the appliance, all of them, once, in both directions."""
import collections
import socket
import struct
import threading

import pytest

from appliances import INSIDE, OUTSIDE, LearningBridge, Filtering, Wire
from lab import BROADCAST, bulk, ethernet, frames_of_every_kind, ipv4, mac_bytes
from tcx import link_in_front

BOTH = pytest.mark.parametrize('kind', [Wire, LearningBridge])


def options(kind):
    return ('--appliance', 'bridge') if issubclass(kind, LearningBridge) else ()


def ping(a, b, version=4):
    to = b.ipv4 if version == 4 else b.ipv6
    return a.run('ping', f'-{version}', '-q', '-c', 3, '-i', 0.02, '-W', 2, to,
                 check=False).returncode == 0


def counts(pm, name='ips'):
    shown = pm.json('show', name)['appliance_state']['counts']
    return {key: value['frames'] for key, value in shown.items()}


def counted(before, after):
    return {key: after[key] - before[key] for key in after if after[key] != before[key]}


@pytest.mark.lab(machines=3)
@BOTH
def test_frames_of_every_kind_pass_once_in_each_direction(lab, pm, inline, appliance, kind):
    appliance(kind)
    a, _, c = lab.machines
    inline('ips', 'vnet1', more=options(kind))
    for sender, receiver in ((a, c), (c, a)):
        # A first frame teaches the bridges where the sender is.
        with receiver.capture() as first:
            sender.send([ethernet(receiver.mac, sender.mac, 0x88b6, b'here I am')])
            first.frames(1)
        frames = frames_of_every_kind(sender, receiver)
        before = counts(pm)
        with receiver.capture() as capture:
            sender.send(frames.values())
            assert capture.counts(len(frames)) == collections.Counter(frames.values())
        way = 'out' if sender is a else 'in'
        assert counted(before, counts(pm)) == {f'led_{way}': len(frames), f'back_{way}': len(frames)}


@pytest.mark.lab(machines=3, ipv6=True, learn=True)
@BOTH
def test_machines_talk_by_arp_neighbour_discovery_ipv4_and_ipv6(lab, inline, appliance, kind):
    appliance(kind)
    a, b, c = lab.machines
    inline('ips', 'vnet1', 'vnet2', more=options(kind))
    for x, y in ((a, c), (c, b), (a, b), (b, a)):
        assert ping(x, y) and ping(x, y, 6)
    table = {entry['mac']: entry['ifname'] for entry in lab.host.json('bridge', '-j', 'fdb', 'show')
             if entry.get('master') == 'br0' and entry.get('state') != 'permanent'}
    assert {machine.mac: table.get(machine.mac) for machine in lab.machines} == {
        machine.mac: machine.port for machine in lab.machines}


@pytest.mark.lab(machines=4)
@BOTH
def test_a_broadcast_arrives_once_at_each_machine(lab, pm, inline, appliance, kind):
    appliance(kind)
    inline('ips', 'vnet1', 'vnet2', more=options(kind))
    for sender in lab.machines:
        others = [machine for machine in lab.machines if machine is not sender]
        frames = [ethernet(BROADCAST, sender.mac, 0x88b6, b'all of you %d' % i + mac_bytes(sender.mac))
                  for i in range(20)]
        captures = [machine.capture() for machine in lab.machines]
        before = counts(pm)
        sender.send(frames)
        for machine, capture in zip(lab.machines, captures):
            wanted = collections.Counter(frames if machine in others else [])
            assert capture.counts(sum(wanted.values())) == wanted, machine
            capture.close()
        way = 'out' if sender.number <= 2 else 'in'
        assert counted(before, counts(pm)) == {f'led_{way}': 20, f'back_{way}': 20}


@pytest.mark.lab(machines=3)
def test_what_the_appliance_drops_arrives_nowhere_and_others_notice_nothing(lab, inline, appliance):
    wire = appliance()
    a, b, c = lab.machines
    inline('ips', 'vnet1')
    wire('drop')
    frames = frames_of_every_kind(a, c)
    with c.capture() as capture, b.capture() as other:
        a.send(frames.values())
        beyond = ethernet(c.mac, b.mac, 0x88b6, b'not guarded')
        b.send([beyond])
        assert capture.counts(1) == {beyond: 1}
        assert other.counts() == {}
    assert ping(b, c)


@pytest.mark.lab(machines=2)
def test_a_firewall_inside_blocks_what_it_blocks(lab, inline, appliance):
    appliance(Filtering)
    a, b = lab.machines
    inline('ips', 'vnet2', more=('--appliance', 'bridge'))

    def reaches(port):
        with b.inside(lambda: socket.create_server((b.ipv4, port))) as server:
            try:
                a.inside(lambda: socket.create_connection((b.ipv4, port), 0.3)).close()
                server.accept()[0].close()
                return True
            except TimeoutError:
                return False
    assert reaches(80) and not reaches(81) and reaches(82)


@pytest.mark.lab(machines=2)
@BOTH
def test_super_frames_arrive_whole_and_leave_whole(lab, pm, inline, appliance, kind):
    appliance(kind)
    a, b = lab.machines
    inline('ips', 'vnet1', more=options(kind))
    for sender, receiver in ((a, b), (b, a)):
        before = pm.json('show', 'ips')['appliance_state']['counts']
        received, _ = bulk(sender, receiver, 0.2)
        after = pm.json('show', 'ips')['appliance_state']['counts']
        ways = ('led_out', 'back_out') if sender is a else ('led_in', 'back_in')
        for way in ways:
            frames = after[way]['frames'] - before[way]['frames']
            length = (after[way]['bytes'] - before[way]['bytes']) / frames
            assert after[way]['bytes'] - before[way]['bytes'] > received * 0.99
            # (How long they are is TCP's choice, by how fast it goes.)
            assert length > 1514, f'{way}: {length} bytes a frame'


@pytest.mark.lab(machines=3)
def test_udp_and_multicast_pass(lab, inline, appliance):
    appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1')
    for sender, receiver in ((a, c), (c, a)):
        def listen(receiver=receiver):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind(('', 5000))
            group = struct.pack('4s4s', socket.inet_aton('239.1.2.3'),
                                socket.inet_aton(receiver.ipv4))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
            sock.settimeout(5)
            return sock

        def talk(sender=sender):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                            socket.inet_aton(sender.ipv4))
            return sock
        with receiver.inside(listen) as there, sender.inside(talk) as here:
            for to in (receiver.ipv4, '239.1.2.3'):
                here.sendto(to.encode(), (to, 5000))
                assert there.recv(100) == to.encode()


@pytest.mark.lab(machines=2)
def test_a_machine_gets_its_address_by_dhcp_through_the_appliance(lab, inline, appliance, tmp_path):
    appliance()
    client, server = lab.machines
    inline('ips', 'vnet1')
    client.ip('address flush dev eth0')
    dnsmasq = server.popen('dnsmasq', '--no-daemon', '--conf-file=/dev/null', '--port=0',
                           '--dhcp-range=10.0.0.100,10.0.0.150,1h', '--interface=eth0',
                           f'--dhcp-leasefile={tmp_path}/leases', '--user=root',
                           f'--pid-file={tmp_path}/pid')
    try:
        script = tmp_path / 'got'
        script.write_text('#!/bin/sh\n[ "$1" = bound ] && echo "got $ip"\nexit 0\n')
        script.chmod(0o755)
        said = client.run('busybox', 'udhcpc', '-i', 'eth0', '-n', '-q', '-f', '-t', '10', '-T', '1',
                          '-s', script).stdout
        assert 'got 10.0.0.1' in said
    finally:
        dnsmasq.terminate()
        dnsmasq.wait(10)


@pytest.mark.lab(machines=3, bridge='group_fwd_mask 0x4000')
def test_lldp_of_a_machine_and_the_hosts_own_pass(lab, inline, appliance):
    wire = appliance()
    a, b, c = lab.machines
    inline('ips', 'vnet1', 'vnet2')
    lldp = ethernet('01:80:c2:00:00:0e', a.mac, 0x88cc, b'from a machine')
    lab.host.ip('link set vnet3 type bridge_slave group_fwd_mask 0x4000',
                'link set vnet1 type bridge_slave group_fwd_mask 0x4000')
    with c.capture() as capture:
        a.send([lldp])
        assert capture.counts(1)[lldp] == 1
    # What the host says to one port alone is no business of the appliance.
    wire('drop')
    own = ethernet('01:80:c2:00:00:0e', '02:00:00:00:ee:ee', 0x88cc, b'from the host')
    with a.capture() as to_a, b.capture() as to_b:
        lab.host.send([own], 'vnet1')
        assert to_a.counts(1) == {own: 1}
        assert to_b.counts() == {}


@pytest.mark.lab(machines=3)
@BOTH
def test_only_the_filters_frames_take_the_way(lab, pm, inline, appliance, kind):
    appliance(kind)
    a, b, c = lab.machines
    inline('ips', 'vnet1', 'vnet2', more=('--filter', 'udp port 53', *options(kind)))
    b.send([ethernet(BROADCAST, b.mac, 0x88b6, b'here I am')])
    dns = struct.pack('!HHHH', 53, 53, 8 + 4, 0) + b'dns?'
    for sender, receiver in ((a, c), (c, a), (c, b)):
        head = ipv4(sender.ipv4, receiver.ipv4, b'dns?')[:20]
        head = head[:9] + b'\x11' + head[10:]
        led = ethernet(receiver.mac, sender.mac, 0x0800, head + dns)
        straight = ethernet(receiver.mac, sender.mac, 0x88b6, b'straight on')
        before = counts(pm)
        with receiver.capture() as capture:
            sender.send([led, straight])
            assert capture.counts(2) == {led: 1, straight: 1}
        way = 'in' if sender is c else 'out'
        assert counted(before, counts(pm)) == {f'led_{way}': 1, f'back_{way}': 1, 'unmatched': 1}


@pytest.mark.engine('tc', 'bpf', 'clsact')
@pytest.mark.lab(machines=3)
def test_a_mirror_of_a_guarded_port_sees_what_passes_the_appliance_once(lab, pm, inline, appliance):
    wire = appliance()
    a, _, c = lab.machines
    pm('add', 'before', '--from', 'port:vnet1', '--to', 'port:ids0')
    inline('ips', 'vnet1')
    frames = frames_of_every_kind(a, c)
    back = frames_of_every_kind(c, a)

    def sees():
        with lab.sensor.capture() as copies:
            a.send(frames.values())
            c.send(back.values())
            return copies.counts(len(frames) + len(back), timeout=0.5)
    wanted = collections.Counter([*frames.values(), *back.values()])
    assert sees() == wanted
    pm('rm', 'before')
    pm('add', 'after', '--from', 'port:vnet1', '--to', 'port:ids0')
    assert sees() == wanted
    wire('drop')
    assert sees() == {}


@pytest.mark.engine('bpf')
@pytest.mark.lab(machines=2)
def test_what_copies_before_the_appliance_has_seen_it_is_put_behind(lab, pm, inline, appliance):
    """Somebody has attached a mirror's program anew, in front."""
    wire = appliance()
    inline('ips', 'vnet1')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--engine', 'bpf')
    (link,), (program,) = pm.pins('ids/[0-9]*-sent'), pm.pins('ids/sent-*')
    link_in_front(lab, link, program, 'vnet1', 'ingress')
    wire('drop')
    frame = ethernet(lab.machines[1].mac, lab.machines[0].mac, 0x88b6, b'dropped')
    with lab.sensor.capture() as copies:
        lab.machines[0].send([frame])
        assert copies.counts(1) == {frame: 1}
    assert 'ips' in pm('apply').stdout
    with lab.sensor.capture() as copies:
        lab.machines[0].send([frame])
        assert copies.counts() == {}


@pytest.mark.lab(machines=2)
def test_other_ports_of_the_host_see_nothing(lab, inline, appliance):
    """What the host itself says at the appliance's ports reaches no machine."""
    appliance()
    a, b = lab.machines
    inline('ips', 'vnet1')
    with a.capture() as to_a, b.capture() as to_b:
        for port in (INSIDE, OUTSIDE):
            mac = lab.host.json('ip', '-j', 'link', 'show', port)[0]['address']
            lab.host.send([ethernet(BROADCAST, mac, 0x88b6, b'noise of the host')], port)
        assert to_a.counts() == {} and to_b.counts() == {}


@pytest.mark.lab(machines=2)
def test_connections_outlive_that_the_appliance_comes_and_goes(lab, pm, inline, appliance):
    appliance()
    a, b = lab.machines

    def carry():
        for _ in range(3):
            inline('ips', 'vnet1')
            pm('rm', 'ips')
    thread = threading.Thread(target=carry)
    thread.start()
    received, _ = bulk(a, b, 1)
    thread.join()
    assert received > 1 << 20
