# SPDX-License-Identifier: MIT
"""portmirror doctor: each finding, provoked for real; and its cure, carried out."""
import itertools
import json
import os
import shutil
import subprocess

import pytest

from lab import BROADCAST, ethernet
from tcx import BPF_F_BEFORE, attach_tcx

pytestmark = pytest.mark.engine('tc')


def mirror(pm, *options, source='port:vnet1', to='port:ids0', name='ids'):
    pm('add', name, '--from', source, '--to', to, *options)


def findings(pm):
    """By name; the exit status must be right."""
    found = pm.json('doctor', status=None)
    bad = any(finding['severity'] != 'hint' for finding in found)
    assert pm('doctor', status=int(bad))
    assert [f['severity'] for f in found] == sorted((f['severity'] for f in found),
                                                    key=['error', 'warning', 'hint'].index)
    return {finding['name']: finding for finding in found}


def only(pm, name, severity, text, subject=None):
    """The finding of that name, where nothing else is found but hints."""
    found = findings(pm)
    assert [n for n, f in found.items() if f['severity'] != 'hint' or n == name] == [name]
    finding = found[name]
    assert finding['severity'] == severity and text in finding['sentence']
    if subject:
        assert finding['subject'] == subject
    return finding


def cure(lab, pm, finding):
    """Types the cure into a shell: afterwards the finding is gone."""
    environment = {**os.environ, **pm.env,
                   'PATH': f'{os.path.dirname(pm.program)}:{os.environ["PATH"]}'}
    lab.host.run('sh', '-c', finding['cure'], env=environment, cwd=pm.root)
    assert finding['name'] not in findings(pm)


def test_all_is_well(lab, pm):
    assert pm('doctor').stdout == \
        'All is well: no session is saved, and none has left anything behind\n'
    before = lab.host.state()
    assert pm.json('doctor') == []
    assert lab.host.state() == before
    mirror(pm)
    lab.host.run('ethtool', '-K', 'ids0', 'tso', 'off', 'gso', 'off', 'tx', 'off')
    assert pm('doctor').stdout == 'All is well: 1 session, nothing in the way of a copy\n'


def test_for_people(lab, pm):
    mirror(pm)
    lab.host.ip('link set ids0 down')
    lines = pm('doctor', status=1).stdout.splitlines()
    assert lines[0] == 'error    ids: the destination ids0 is down: all copies are lost'
    assert lines[1] == '         cure: ip link set dev ids0 up'
    assert lines[2].startswith('hint     ids: offloads of the destination ids0 are on')
    assert lines[-1] == '1 error, 1 hint'


def test_a_destination_that_is_down(lab, pm):
    mirror(pm)
    mirror(pm, name='web', source='port:vnet2')
    lab.host.ip('link set ids0 down')
    assert sum(f['name'] == 'destination-down' for f in pm.json('doctor', status=1)) == 1
    cure(lab, pm, only(pm, 'destination-down', 'error', 'ids0 is down', 'ids0'))


def test_a_destination_without_carrier(lab, pm, wait_until):
    mirror(pm)
    lab.sensor.ip('link set eth0 down')
    only(pm, 'destination-no-carrier', 'error', 'ids0 has no carrier', 'ids0')
    lab.sensor.ip('link set eth0 up')
    assert 'destination-no-carrier' not in findings(pm)


def test_a_destination_with_a_smaller_mtu(lab, pm):
    mirror(pm, source='bridge:br0')
    lab.host.ip('link set vnet2 mtu 4000')
    cure(lab, pm, only(pm, 'destination-mtu', 'warning', 'MTU of 1500, the source vnet2 one of 4000',
                       'ids0'))


def is_isolated_by_the_cure(lab, pm, destination):
    """It becomes a port of the bridge too; all else of the session stays as it is."""
    before = pm.json('show', 'ids')
    lab.host.ip(f'link set {destination} master br0')
    cure(lab, pm, only(pm, 'destination-floods', 'warning', f'{destination} is a port of br0 too', destination))
    after = pm.json('show', 'ids')
    assert after.pop('isolate') and not before.pop('isolate')
    assert after == before


@pytest.mark.parametrize('options', [
    ['--filter', 'ether proto 0x800 and not host 10.0.0.9', '--direction', 'sent', '--runtime'],
    ['--snap', '128', '--sample', '10', '--sample-flows', '--rate', '50', '--engine', 'bpf']])
def test_a_destination_that_is_a_flooding_bridge_port(lab, pm, options):
    mirror(pm, *options)
    is_isolated_by_the_cure(lab, pm, 'ids0')


@pytest.mark.lab(machines=3)
def test_a_destination_that_hears_the_host(lab, pm):
    """The bridge floods what the host itself sends to every port, whatever its flags (br_flood())."""
    mirror(pm, '--isolate', source='bridge:br0', to='port:vnet3')
    assert 'destination-hears-host' not in findings(pm)
    lab.host.ip('address add 10.0.0.254/24 dev br0')
    finding = only(pm, 'destination-hears-host', 'warning', 'vnet3 is a port of br0, at which this host has an address',
                   'vnet3')
    frame = ethernet(BROADCAST, '02:00:00:00:00:fe', 0x88b5, b'from the host')
    for copies in 2, 1:
        with lab.machines[2].capture() as capture:
            lab.host.send([frame], 'br0')
            assert capture.counts(copies) == {frame: copies}
        cure(lab, pm, finding)
    assert pm.json('show', 'ids')['state'] == 'whole'


def test_each_of_several_destinations(lab, pm):
    """What is wrong with the second is told as of the first."""
    lab.host.ip('link add ids1 type veth peer name ids1p', 'link set ids1p up')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--to', 'port:ids1')
    cure(lab, pm, only(pm, 'destination-down', 'error', 'ids1 is down', 'ids1'))
    lab.host.ip('link set vnet1 mtu 1600', 'link set ids0 mtu 1600')
    cure(lab, pm, only(pm, 'destination-mtu', 'warning', 'ids1 has an MTU of 1500', 'ids1'))
    hints = [f for f in pm.json('doctor') if f['name'] == 'destination-offloads']
    assert [hint['subject'] for hint in hints] == ['ids0', 'ids1']
    is_isolated_by_the_cure(lab, pm, 'ids1')


def test_a_part_of_a_large_frame_fits(lab, pm):
    """Copies that are cut need no MTU as large as the sources have."""
    a = lab.machines[0]
    lab.host.ip('link set vnet1 mtu 4000')
    a.ip('link set eth0 mtu 4000')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--snap', '1514')
    large = ethernet(BROADCAST, a.mac, 0x88b5, bytes(range(200)) * 15)
    with lab.sensor.capture() as capture:
        a.send([large])
        assert capture.counts(1) == {large[:1514]: 1}
    assert 'destination-mtu' not in findings(pm)
    pm('rm', 'ids')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--snap', '1515')
    only(pm, 'destination-mtu', 'warning', 'MTU of 1500, the source vnet1 one of 4000', 'ids0')


@pytest.mark.parametrize('hook', ['egress', 'root'])
def test_a_destination_behind_a_redirect(lab, pm, hook):
    lab.host.ip('link add elsewhere type veth peer name end')
    if hook == 'egress':
        lab.host.tc('qdisc add dev ids0 clsact')
        where = 'egress'
    else:
        lab.host.tc('qdisc add dev ids0 root handle 5: htb')
        where = 'parent 5:'
    lab.host.tc(f'filter add dev ids0 {where} pref 9 protocol all u32 match u32 0 0 '
                'action mirred egress redirect dev elsewhere')
    mirror(pm)
    cure(lab, pm, only(pm, 'destination-redirected', 'warning',
                       'redirects the copies that it matches to elsewhere', 'ids0'))


def test_a_mirror_of_the_destination_takes_nothing(lab, pm):
    lab.host.ip('link add elsewhere type veth peer name end')
    lab.host.tc('qdisc add dev ids0 clsact',
                'filter add dev ids0 egress protocol all u32 match u32 0 0 '
                'action mirred egress mirror dev elsewhere',
                'filter add dev ids0 ingress protocol all u32 match u32 0 0 '
                'action mirred egress redirect dev elsewhere')
    mirror(pm)
    assert 'destination-redirected' not in findings(pm)


@pytest.mark.parametrize('hook, text', [('ingress', 'what vnet1 sends'),
                                        ('egress', 'what vnet1 receives')])
def test_an_earlier_filter_that_ends_the_classification(lab, pm, hook, text):
    lab.host.ip('link add elsewhere type veth peer name end')
    mirror(pm)
    lab.host.tc(f'filter add dev vnet1 {hook} pref 2 protocol all u32 match u32 0 0 '
                'action mirred egress mirror dev elsewhere pipe')
    cure(lab, pm, only(pm, 'earlier-filter', 'warning', text, 'vnet1'))


def test_an_earlier_filter_that_cannot_be_overtaken(lab, pm):
    lab.host.tc('qdisc add dev vnet1 clsact',
                'filter add dev vnet1 ingress pref 1 protocol all u32 match u32 0 0 flowid 1:1')
    mirror(pm)
    finding = only(pm, 'earlier-filter', 'warning', 'u32 filter with preference 1', 'vnet1')
    assert finding['cure'].endswith('tc filter show dev vnet1 ingress')


def test_earlier_filters_that_go_on(lab, pm):
    lab.host.ip('link add elsewhere type veth peer name end')
    mirror(pm)
    lab.host.tc('filter add dev vnet1 ingress pref 1 protocol all u32 match u32 0 0 '
                'action mirred egress mirror dev elsewhere continue',
                'filter add dev vnet1 ingress pref 9 protocol all u32 match u32 0 0 flowid 1:1')
    assert 'earlier-filter' not in findings(pm)


@pytest.fixture
def needs_tcx(lab):
    try:
        attach_tcx(lab, 'br0', 'ingress')
    except OSError as error:
        pytest.skip(f'this kernel has no tcx: {error}')


@pytest.mark.parametrize('dev, hook, found', [
    ('vnet1', 'ingress', True), ('vnet1', 'egress', False),  # the session has one direction
    ('ids0', 'egress', True), ('ids0', 'ingress', False)])
def test_tcx_programs(lab, pm, needs_tcx, dev, hook, found):
    mirror(pm, '--direction', 'sent')
    attach_tcx(lab, dev, hook)
    if not found:
        assert 'tcx-program' not in findings(pm)
        return
    finding = only(pm, 'tcx-program', 'warning', 'the tcx program greedy (id ', dev)
    assert f'tcx_{hook} dev {dev}' in finding['cure']


@pytest.mark.engine('bpf')
def test_our_own_tcx_programs_hide_nothing(lab, pm, needs_tcx):
    mirror(pm)
    assert 'tcx-program' not in findings(pm)
    attach_tcx(lab, 'vnet1', 'egress')
    assert 'tcx-program' not in findings(pm)  # it stands behind
    attach_tcx(lab, 'vnet1', 'ingress', BPF_F_BEFORE)
    finding = findings(pm)['tcx-program']
    assert finding['sentence'].startswith('the tcx program greedy (id ') and 'vnet1 sends first' in finding['sentence']


@pytest.mark.engine('bpf')
def test_what_is_left_of_the_engine_bpf(lab, pm):
    mirror(pm)
    for path in pm.sessions.iterdir():
        path.unlink()
    finding = findings(pm)['leftovers']
    assert finding['cure'] == 'portmirror apply' and 'no longer saved have left' in finding['sentence']
    pm('apply')
    assert 'leftovers' not in findings(pm) and not pm.pins('*')


@pytest.fixture
def manager(lab, tmp_path):
    """A process called NetworkManager."""
    program = tmp_path / 'NetworkManager'
    shutil.copy('/bin/sleep', program)
    with lab.host.popen(program, '1000') as process:
        try:
            yield process
        finally:
            process.kill()


def connection(pm, uuid='5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03', interface='vnet1', tc='[tc]\n'):
    folder = pm.root / 'etc/NetworkManager/system-connections'
    folder.mkdir(parents=True)
    (folder / 'port.nmconnection').write_text(
        f'[connection]\nid=the port\nuuid={uuid}\ninterface-name={interface}\n\n{tc}')


def is_called(process, name):
    with open(f'/proc/{process.pid}/comm') as comm:
        return comm.read() == name + '\n'


def test_networkmanager(lab, pm, manager, wait_until):
    mirror(pm)
    connection(pm)
    wait_until(lambda: is_called(manager, 'NetworkManager'))
    finding = only(pm, 'networkmanager', 'warning', 'a tc setting for vnet1', 'vnet1')
    assert finding['cure'] == \
        "nmcli connection modify '5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03' remove tc"
    manager.kill()
    manager.wait()
    assert 'networkmanager' not in findings(pm)


@pytest.mark.parametrize('options, active, found', [
    ({'tc': ''}, None, False), ({'interface': 'vnet2'}, None, False),
    ({'interface': ''}, '5fb06bd0-0bb0-7ffb-45f1-d6edd65f3e03', True),
    ({}, '00000000-0000-0000-0000-000000000000', False)])
def test_which_connections_of_networkmanager_matter(lab, pm, manager, wait_until, options, active,
                                                    found):
    mirror(pm)
    connection(pm, **options)
    if active:
        index = lab.host.json('ip', '-j', 'link', 'show', 'vnet1')[0]['ifindex']
        devices = pm.root / 'run/NetworkManager/devices'
        devices.mkdir(parents=True)
        (devices / str(index)).write_text(f'[device]\nmanaged=1\nconnection-uuid={active}\n')
    wait_until(lambda: is_called(manager, 'NetworkManager'))
    assert ('networkmanager' in findings(pm)) == found


def test_offloads(lab, pm):
    mirror(pm)
    finding = only(pm, 'destination-offloads', 'hint', 'offloads of the destination ids0', 'ids0')
    cure(lab, pm, finding)


def test_behind_the_firewall_of_proxmox(lab, pm):
    lab.host.ip('link add fwpr100p0 type veth peer name fwln100i0', 'link add fwbr100i0 type bridge',
                'link add tap100i0 type veth peer name nic',
                'link set fwpr100p0 master br0', 'link set fwln100i0 master fwbr100i0',
                'link set tap100i0 master fwbr100i0')
    mirror(pm, source='bridge:br0')
    only(pm, 'firewall-bridge', 'hint', 'between the machine and fwpr100p0', 'fwpr100p0')
    mirror(pm, source='port:tap100i0', name='two')
    only(pm, 'firewall-bridge', 'warning', 'tap100i0 and fwpr100p0 are both mirrored')
    pm('rm', '--all')
    lab.host.ip('link set fwpr100p0 nomaster', 'link set fwpr100p0 up', 'link set fwln100i0 up')
    mirror(pm, to='port:fwpr100p0')
    only(pm, 'firewall-bridge', 'warning', 'between the destination fwpr100p0 and its machine')


def test_the_device_of_a_bridge(lab, pm):
    mirror(pm, source='port:br0')
    only(pm, 'bridge-device', 'warning', 'br0 is a bridge', 'br0')
    pm('rm', 'ids')
    mirror(pm, '--from', 'port:vnet1', source='port:br0')
    only(pm, 'bridge-device', 'warning', 'but not all in this session', 'br0')
    pm('rm', 'ids')
    mirror(pm, source='port:br0')
    mirror(pm, name='web')
    only(pm, 'bridge-device', 'warning', 'but not all in this session', 'br0')
    pm('rm', '--all')
    for direction, adds in (('both', 'only what this host itself sends there'),
                            ('received', 'only what this host itself sends there'), ('sent', 'nothing')):
        mirror(pm, '--from', 'bridge:br0', '--direction', direction, source='port:br0')
        only(pm, 'bridge-device', 'hint', f'br0 is mirrored beside ports of it: it adds {adds}', 'br0')
        pm('rm', 'ids')


def doubled(lab, pm, talk):
    """How many frames are copied twice of what two machines talk, until the check has ended."""
    check = pm.popen('check', 'ids', '--seconds', '1', '--json', stdout=subprocess.PIPE)
    while check.poll() is None:
        talk(*lab.machines)
    return json.loads(check.communicate()[0])['frames']['doubled']


def test_fragments_that_the_bridge_puts_together(lab, pm):
    """What conntrack makes of them is cut anew when they have all entered."""
    try:
        lab.host.sysctl(**{'net__bridge__bridge-nf-call-iptables': 1})
    except FileNotFoundError:
        pytest.skip('this kernel has no br_netfilter')
    mirror(pm, source='bridge:br0')
    lab.ping()
    assert 'bridge-netfilter' not in findings(pm)  # nobody asks for conntrack
    if lab.host.run('nft', '-f', '-', check=False,
                    stdin='table ip t {\nchain c {\ntype filter hook forward priority 0\n'
                          'ct state established accept\n}\n}\n').returncode:
        pytest.skip("this kernel's packet filter has no conntrack")
    lab.ping()
    only(pm, 'bridge-netfilter', 'warning', 'br0 hands IP to the packet filter', 'br0')
    assert doubled(lab, pm, lambda a, b: a.run('ping', '-q', '-c', '1', '-s', '4000', b.ipv4)) > 1
    pm('rm', 'ids')
    mirror(pm)
    assert 'bridge-netfilter' not in findings(pm)  # one end
    pm('rm', 'ids')
    mirror(pm, '--direction', 'sent', source='bridge:br0')
    assert 'bridge-netfilter' not in findings(pm)


def test_frames_that_wait_in_a_shaper(lab, pm):
    if lab.host.run('ip', 'link', 'add', 'ifb7', 'type', 'ifb', check=False).returncode:
        pytest.skip('this kernel has no ifb')
    redirect = 'action mirred egress redirect dev ifb7'
    lab.host.ip('link set ifb7 up')
    lab.host.tc('qdisc add dev vnet1 clsact', 'qdisc add dev ifb7 root tbf rate 10mbit burst 2k latency 100ms',
                f'filter add dev vnet1 ingress protocol all pref 9 u32 match u32 0 0 {redirect}',
                f'filter add dev vnet1 egress protocol 0x88b6 pref 9 u32 match u32 0 0 {redirect}')
    mirror(pm, source='bridge:br0')
    finding = only(pm, 'source-queued', 'warning', 'what vnet1 sends is led to ifb7', 'vnet1')
    numbers = itertools.count(1000)
    assert doubled(lab, pm, lambda a, b: a.send([ethernet(b.mac, a.mac, 0x88b5, b'%d' % next(numbers) * 200)
                                                 for _ in range(100)])) > 10
    cure(lab, pm, finding)
    assert pm.json('show', 'ids')['direction'] == 'sent'


def test_leftovers(lab, pm):
    mirror(pm)
    (pm.sessions / 'ids.yaml').unlink()
    cure(lab, pm, only(pm, 'leftovers', 'warning', 'left 2 things in the kernel'))
    assert pm('doctor').stdout.startswith('All is well: no session is saved')


def test_a_qdisc_left_over(lab, pm, wait_until):
    mirror(pm)
    (pm.sessions / 'ids.yaml').unlink()
    lab.host.tc('filter del dev vnet1 ingress', 'filter del dev vnet1 egress')
    # The kernel lets go of the action a moment later.
    wait_until(lambda: lab.host.tc('actions del action mirred index 9001',
                                   check=False).returncode == 0)
    cure(lab, pm, only(pm, 'leftovers', 'warning', 'left 1 thing in the kernel; apply would remove the qdisc clsact from vnet1'))


def test_sessions_of_another_root(lab, pm, tmp_path):
    mirror(pm)
    (tmp_path / 'other').mkdir()
    found = pm.json('doctor', '--root', tmp_path / 'other')
    assert [(f['name'], f['severity']) for f in found] == [('another-root', 'hint')]


def test_a_session_file_by_another_name(lab, pm):
    pm.sessions.mkdir(parents=True)
    for name in 'ids.yml', '.yml', 'ids.yaml.bak', 'ids.yaml~':
        (pm.sessions / name).write_text('from: port:vnet1\nto: port:ids0\n')
    finding = only(pm, 'file-not-read', 'hint', "ids.yml is not read: its name doesn't end in .yaml",
                   str(pm.sessions / 'ids.yml'))
    (pm.sessions / 'ids.yml').rename(pm.sessions / 'ids.yaml')
    assert finding['cure'] == 'rename it, then: portmirror apply'
    pm('apply')
    assert 'file-not-read' not in findings(pm) and pm.json('show', 'ids')['state'] == 'whole'


def test_session_files_that_no_session_can_have(lab, pm):
    pm.sessions.mkdir(parents=True)
    files = ('Web Server.yaml', '_x.yaml', 'foo.YAML', 'pay@prod.yaml', f'{"n" * 64}.yaml')
    for name in files:
        (pm.sessions / name).write_text('from: port:vnet1\nto: port:ids0\n')
    found = {finding['subject']: finding['sentence'] for finding in pm.json('doctor')}
    assert sorted(found) == sorted(str(pm.sessions / name) for name in files)
    for subject, sentence in found.items():
        assert ("doesn't end in .yaml" if 'foo' in subject else 'is no name of a session: 1 to 63') in sentence


def test_sessions_that_are_not_whole(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--from', 'port:later', '--to', 'port:ids0')
    finding = only(pm, 'source-absent', 'hint', 'waiting for the source port:later')
    assert finding['session'] == 'ids' and 'another host' in finding['cure']
    pm('rm', 'ids')
    mirror(pm, to='port:later')
    only(pm, 'session-not-whole', 'warning', 'waiting for the destination port:later')
    pm('rm', 'ids')
    mirror(pm)
    lab.host.tc('qdisc del dev vnet1 clsact')
    cure(lab, pm, only(pm, 'session-not-applied', 'warning', 'the kernel differs'))
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet1\nto: port:vnet1\n')
    only(pm, 'session-failed', 'error', 'ids.yaml')
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet*\nto: port:br?\n')
    lab.host.ip('link add br9 type bridge')
    finding = only(pm, 'session-failed', 'error', 'means 2 devices')
    assert finding['cure'].startswith('portmirror rm ids')
