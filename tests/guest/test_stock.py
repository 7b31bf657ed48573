# SPDX-License-Identifier: MIT
"""What Debian's kernel has and others may lack: foreign matchall, flower, police, sample, netem and VLAN
devices on the port, and no tcx."""
import pytest

from lab import ethernet, ipv4

# What stands on vnet1, and which of the frames towards the machine it lets pass.
FOREIGN = {
    'matchall': (['qdisc add dev vnet1 clsact',
                  'filter add dev vnet1 ingress matchall action pass',
                  'filter add dev vnet1 egress matchall action pass'], True),
    'flower': (['qdisc add dev vnet1 clsact',
                'filter add dev vnet1 egress protocol ip pref 9 flower ip_proto icmp action drop'],
               False),
    'police': (['qdisc add dev vnet1 root handle 1: htb default 1',
                'class add dev vnet1 parent 1: classid 1:1 htb rate 1gbit',
                'qdisc add dev vnet1 parent 1:1 handle 2: sfq perturb 10',
                'filter add dev vnet1 parent 1:0 protocol all prio 1 handle 1 fw flowid 1',
                'qdisc add dev vnet1 ingress',
                'filter add dev vnet1 parent ffff: protocol all u32 match u32 0 0 '
                'police rate 1gbit burst 1mb mtu 64kb drop flowid :1'], True),
    'sample': (['qdisc add dev vnet1 clsact',
                'filter add dev vnet1 ingress matchall action sample rate 1 group 5'], True),
    'netem': (['qdisc add dev vnet1 root handle 1: netem loss 100%'], False),
    'multiq': (['qdisc add dev vnet1 root handle 1: prio bands 3',
                'qdisc add dev vnet1 parent 1:2 handle 20: netem delay 1ms'], True),
}


@pytest.mark.parametrize('foreign', FOREIGN)
def test_what_else_stands_on_the_port(lab, pm, foreign):
    a, b = lab.machines
    setup, passes = FOREIGN[foreign]
    lab.host.tc(*setup)
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    there = [ethernet(b.mac, a.mac, 0x800, ipv4(a.ipv4, b.ipv4, b'%d' % i)) for i in range(10)]
    back = [ethernet(a.mac, b.mac, 0x800, ipv4(b.ipv4, a.ipv4, b'%d' % i)) for i in range(10)]
    with lab.sensor.capture() as copies, a.capture() as own:
        a.send(there)
        b.send(back)
        assert copies.counts(20) == dict.fromkeys(there + back, 1)
        assert own.counts(10 * passes) == (dict.fromkeys(back, 1) if passes else {})
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_a_vlan_device_as_the_source(lab, pm):
    """Its frames have lost their tag, and are copied as the device has them."""
    a, b = lab.machines
    lab.host.ip('link set vnet1 nomaster', 'link add link vnet1 name vnet1.7 type vlan id 7',
                'link set vnet1.7 master br0 up')
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1.7', '--to', 'port:ids0')
    plain = ethernet(b.mac, a.mac, 0x88b5, b'in VLAN 7')
    tagged = ethernet(b.mac, a.mac, 0x88b5, b'in VLAN 7'.ljust(46, b'\0'), (0x8100, 7))
    with lab.sensor.capture() as copies, b.capture() as arrived:
        a.send([tagged, ethernet(b.mac, a.mac, 0x88b5, b'in none')])
        assert copies.counts(1) == arrived.counts(1) == {plain: 1}
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.engine('tc')
@pytest.mark.parametrize('lacks, kind', [('', 'bpf'), ('bpf', 'matchall'), ('bpf matchall', 'u32')])
def test_each_classifier_serves(lab, pm, lacks, kind):
    a, b = lab.machines
    environment = pm.preloaded('lacks', LACKS=lacks)
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', env=environment)
    filters = lab.host.json('tc', '-j', 'filter', 'show', 'dev', 'vnet1', 'ingress')
    assert {f['kind'] for f in filters} == {kind}
    frames = [ethernet(b.mac, a.mac, 0x88b5, b'%d' % i) for i in range(10)]
    with lab.sensor.capture() as copies:
        a.send(frames)
        assert copies.counts(10) == dict.fromkeys(frames, 1)
    pm('rm', 'ids', env=environment)
    assert lab.host.back_to(before)
