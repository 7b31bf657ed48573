# SPDX-License-Identifier: MIT
"""What is not ours keeps working, and is there unchanged when we are gone."""
import pytest

from lab import ethernet, ipv4

FRAMES = 10
pytestmark = pytest.mark.engine('tc')  # the engine bpf touches no qdisc: test_bpf.py


def hello(lab, number=0):
    a, b = lab.machines[:2]
    return ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, b'%d' % number))


def answer(lab, number=0):
    a, b = lab.machines[:2]
    return ethernet(a.mac, b.mac, 0x0800, ipv4(b.ipv4, a.ipv4, b'%d' % number))


def add(pm, *more):
    return pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', *more)


def exchange(lab, expect=2 * FRAMES):
    """Ten different frames each way; what the sensor and the machine at vnet1 get of them."""
    a, b = lab.machines[:2]
    there = [hello(lab, i) for i in range(FRAMES)]
    back = [answer(lab, i) for i in range(FRAMES)]
    with lab.sensor.capture() as copies, a.capture() as own:
        a.send(there)
        b.send(back)
        assert copies.counts(expect) == dict.fromkeys(there + back, 1)
        assert own.counts(FRAMES, quiet=0) == dict.fromkeys(back, 1)  # it has been quiet


# Each makes state that administrators and other programs leave on a port, and says how its filter
# (which counts frames to another device) is recognised: the hooks where it hangs.
FOREIGN = {
    'clsact': (['qdisc add dev vnet1 clsact'], ['ingress', 'egress']),
    'ingress': (['qdisc add dev vnet1 ingress'], ['parent ffff:']),
    'htb': (['qdisc add dev vnet1 root handle 1: htb default 1',
             'class add dev vnet1 parent 1: classid 1:1 htb rate 10gbit'], ['parent 1:']),
    'libvirt': (['qdisc add dev vnet1 root handle 1: htb default 1',
                 'class add dev vnet1 parent 1: classid 1:1 htb rate 10gbit',
                 'qdisc add dev vnet1 ingress'], ['parent ffff:', 'parent 1:']),
}


def foreign_filter(hook, pref):
    return (f'filter add dev vnet1 {hook} protocol ip pref {pref} u32 match u32 0 0 '
            'action mirred egress mirror dev other0 continue')


@pytest.fixture
def other(lab):
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up',
                'link set other1 up')


@pytest.mark.parametrize('first', ['theirs', 'ours'])
@pytest.mark.parametrize('pref', [1, 5, 49152])
@pytest.mark.parametrize('qdiscs', FOREIGN)
def test_foreign_filters_go_on_in_either_order(lab, pm, other, qdiscs, pref, first):
    setup, hooks = FOREIGN[qdiscs]
    lab.host.tc(*setup)
    filters = [foreign_filter(hook, pref) for hook in hooks]
    if first == 'theirs':
        lab.host.tc(*filters)
        before = lab.host.state()
        add(pm)
    else:
        before = lab.host.state()
        add(pm)
        lab.host.tc(*filters)
    there, back = [[make(lab, i) for i in range(FRAMES)] for make in (hello, answer)]
    expected = {**(dict.fromkeys(there, 1) if hooks[0] in ('ingress', 'parent ffff:') else {}),
                **(dict.fromkeys(back, 1) if hooks != ['parent ffff:'] else {})}
    with lab.host.capture('other1') as theirs:
        exchange(lab)
        assert theirs.counts(len(expected), quiet=0) == expected
    assert pm.json('show', 'ids')['state'] == 'whole'
    pm('rm', 'ids')
    if first == 'ours':
        for hook in hooks:
            lab.host.tc(f'filter del dev vnet1 {hook} pref {pref}')
    assert lab.host.back_to(before)


def test_a_foreign_filter_that_ends_the_classification_hides_nothing(lab, pm):
    lab.host.tc('qdisc add dev vnet1 clsact',
                'filter add dev vnet1 ingress protocol all pref 10 u32 match u32 0 0 flowid 1:1',
                'filter add dev vnet1 egress protocol all pref 2 u32 match u32 0 0 flowid 1:1')
    before = lab.host.state()
    add(pm)
    exchange(lab)
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_foreign_filters_that_came_meanwhile_stay(lab, pm, other):
    add(pm)
    lab.host.tc(foreign_filter('ingress', 5))
    def show():
        text = lab.host.run('tc', 'filter', 'show', 'dev', 'vnet1', 'ingress', 'pref', '5').stdout
        return text.replace('\tused_hw_stats disabled\n', '')  # the kernel finds that out late

    before = show()
    pm('rm', 'ids')
    assert 'u32' in before and show() == before
    assert 'bpf' not in lab.host.run('tc', 'filter', 'show', 'dev', 'vnet1', 'ingress').stdout
    lab.host.tc('filter del dev vnet1 ingress')
    pm('apply')  # the qdisc is ours, and nobody needs it any more
    assert 'clsact' not in lab.host.run('tc', 'qdisc', 'show', 'dev', 'vnet1').stdout


def test_foreign_filters_that_went_meanwhile_stay_away(lab, pm, other):
    lab.host.tc('qdisc add dev vnet1 clsact', foreign_filter('ingress', 5))
    add(pm)
    lab.host.tc('filter del dev vnet1 ingress pref 5')
    lab.host.tc('qdisc add dev vnet2 clsact')
    pm('rm', 'ids')
    lab.host.tc('qdisc del dev vnet2 clsact')
    qdiscs = lab.host.run('tc', 'qdisc', 'show', 'dev', 'vnet1').stdout
    assert 'clsact' in qdiscs, 'it was there before us'
    assert lab.host.run('tc', 'filter', 'show', 'dev', 'vnet1', 'ingress').stdout == ''


def test_an_ingress_qdisc_without_a_classful_root_gets_the_posts_recipe(lab, pm):
    lab.host.tc('qdisc add dev vnet1 ingress')
    before = lab.host.state()
    add(pm)
    root = lab.host.json('tc', '-j', 'qdisc', 'show', 'dev', 'vnet1', 'root')[0]
    assert root['kind'] in ('prio', 'htb')
    exchange(lab)
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_classic_is_the_posts_recipe(lab, pm):
    before = lab.host.state()
    add(pm, '--attach', 'classic')
    kinds = {q['kind'] for q in lab.host.json('tc', '-j', 'qdisc', 'show', 'dev', 'vnet1')}
    assert 'ingress' in kinds and kinds & {'prio', 'htb'} and 'clsact' not in kinds
    exchange(lab)
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.parametrize('setup, options, words', [
    (['qdisc add dev vnet1 ingress'], ['--attach', 'clsact'], 'ingress qdisc'),
    (['qdisc add dev vnet1 clsact'], ['--attach', 'classic'], 'clsact'),
    (['qdisc add dev vnet1 ingress', 'qdisc add dev vnet1 root handle 7: pfifo limit 9'], [],
     'not ours to replace'),
    (['qdisc add dev vnet1 root handle 7: pfifo limit 9'], ['--attach', 'classic'],
     'not ours to replace'),
    (['qdisc add dev vnet1 ingress_block 7 clsact'], [], 'shares its filters'),
    (['qdisc add dev vnet1 egress_block 7 clsact'], [], 'shares its filters'),
])
def test_what_cannot_be_attached_is_refused_whole(lab, pm, setup, options, words):
    lab.host.tc(*setup)
    before = lab.host.state()
    result = pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0', *options, status=1)
    assert words in result.stderr and 'vnet1' in result.stderr and result.stderr.count('\n') == 1
    assert pm.json('list') == [] and lab.host.back_to(before)


def test_a_block_that_devices_share_harms_no_other_mirror(lab, pm, other):
    add(pm)
    mirrored = lab.host.state()
    for device in ('other0', 'other1'):
        lab.host.tc(f'qdisc add dev {device} ingress_block 7 egress_block 8 clsact')
    for pref in range(1, 9):
        lab.host.tc(*[f'filter add block {block} protocol ip pref {pref} u32 match u32 0 0 flowid 1:1'
                      for block in (7, 8)])
    assert pm.json('list')[0]['state'] == 'whole'
    pm('add', 'two', '--from', 'port:other0', '--to', 'port:ids0', status=1)
    assert 'nothing to do' in pm('apply').stdout
    lab.host.tc('qdisc del dev other0 clsact', 'qdisc del dev other1 clsact')
    assert lab.host.state() == mirrored
    exchange(lab)


def test_a_block_where_our_qdisc_was_stays(lab, pm):
    add(pm)
    lab.host.tc('qdisc del dev vnet1 clsact', 'qdisc add dev vnet1 ingress_block 7 clsact')
    pm('rm', 'ids')
    assert 'ingress_block 7' in lab.host.tc('qdisc show dev vnet1').stdout


def test_a_foreign_leaf_root_stays_where_clsact_can_be_added(lab, pm):
    lab.host.tc('qdisc add dev vnet1 root handle 7: tbf rate 1gbit burst 1mb latency 50ms')
    before = lab.host.state()
    add(pm)
    exchange(lab)
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_quality_of_service_stays_in_force(lab, pm):
    """A class that lets nothing through still lets nothing through, and what it drops is mirrored:
    the machine was sent it."""
    a, b = lab.machines
    lab.host.tc('qdisc add dev vnet1 root handle 1: htb default 1',
                'class add dev vnet1 parent 1: classid 1:1 htb rate 10gbit',
                'class add dev vnet1 parent 1: classid 1:2 htb rate 8bit burst 1',
                'qdisc add dev vnet1 parent 1:2 handle 2: pfifo limit 1',
                'filter add dev vnet1 parent 1: protocol all pref 9 u32 '
                'match u32 0 0 flowid 1:2')
    add(pm)
    back = [answer(lab, i) for i in range(FRAMES)]
    with a.capture() as own, lab.sensor.capture() as copies:
        b.send(back)
        assert copies.counts(FRAMES) == dict.fromkeys(back, 1)
        assert len(own.frames()) < 4


def test_removal_leaves_the_host_as_it_was(lab, pm):
    before = lab.host.state()
    add(pm)
    pm('add', 'two', '--from', 'bridge:br0', '--to', 'port:ids0', '--filter', 'ip')
    pm('add', 'three', '--from', 'bridge:br0', '--to', 'port:vnet2', '--isolate', '--runtime')
    pm('rm', 'three', 'ids')
    assert [s['name'] for s in pm.json('list')] == ['two']
    pm('rm', '--all')
    assert lab.host.back_to(before)
    assert not list((pm.root / 'run/portmirror').glob('*.json'))


@pytest.mark.parametrize('device', ['vnet1', 'ids0'])
def test_removal_where_a_device_has_vanished(lab, pm, device):
    add(pm)
    lab.host.ip(f'link del {device}')
    before = lab.host.state()
    pm('rm', 'ids')
    after = lab.host.state()
    assert 'clsact' not in str(after['qdisc']) and '9001' not in str(after)
    assert after['ip link'] == before['ip link']


def test_a_renamed_device_keeps_its_copies(lab, pm):
    add(pm)
    lab.host.ip('link set ids0 down', 'link set ids0 name sensor0', 'link set sensor0 up')
    with lab.sensor.capture() as copies:
        lab.machines[0].send([hello(lab)])
        assert copies.counts(1) == {hello(lab): 1}


def test_actions_of_others_keep_their_numbers(lab, pm):
    lab.host.tc('action add action mirred egress mirror dev vnet2 index 9001')
    before = lab.host.state()
    add(pm)
    assert pm.json('show', 'ids')['action'] == 9002
    exchange(lab)
    pm('rm', '--all')
    assert lab.host.back_to(before)


def test_another_root_is_another_house(lab, pm, tmp_path):
    add(pm)
    state = lab.host.state()
    (tmp_path / 'second').mkdir()
    second = type(pm)(lab.host, tmp_path / 'second')
    assert second.json('list') == []
    second('rm', '--all')
    second('apply')
    assert lab.host.state() == state
    second('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', 'arp')
    second('rm', 'ids')
    assert lab.host.back_to(state)


FLAGS = ('flood', 'mcast_flood', 'bcast_flood', 'learning', 'isolated')


def port_flags(lab, port):
    return {flag: value for link in lab.host.json('bridge', '-j', '-d', 'link', 'show', 'dev', port)
            for flag, value in link.items() if flag in FLAGS}


@pytest.mark.lab(machines=3)
def test_isolate_and_back(lab, pm):
    lab.host.run('bridge', 'link', 'set', 'dev', 'vnet3', 'mcast_flood', 'off')
    before = lab.host.state()
    flags = port_flags(lab, 'vnet3')
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:vnet3', '--isolate')
    assert port_flags(lab, 'vnet3') == {
        'flood': False, 'mcast_flood': False, 'bcast_flood': False, 'learning': False,
        'isolated': True}
    pm('add', 'two', '--from', 'port:vnet1', '--to', 'port:vnet3', '--isolate', '--filter', 'arp')
    pm('rm', 'ids')
    assert port_flags(lab, 'vnet3')['isolated']
    pm('rm', 'two')
    assert port_flags(lab, 'vnet3') == flags and lab.host.back_to(before)


@pytest.mark.lab(machines=3)
def test_isolate_leaves_alone_what_somebody_else_changed_since(lab, pm):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:vnet3', '--isolate')
    lab.host.run('bridge', 'link', 'set', 'dev', 'vnet3', 'learning', 'on')
    lab.host.run('bridge', 'link', 'set', 'dev', 'vnet3', 'isolated', 'off')
    pm('rm', 'ids')
    assert port_flags(lab, 'vnet3') == {
        'flood': True, 'mcast_flood': True, 'bcast_flood': True, 'learning': True,
        'isolated': False}


@pytest.mark.lab(machines=3)
def test_isolate_comes_again_when_the_port_rejoins_its_bridge(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:vnet3', '--isolate')
    lab.host.ip('link set vnet3 nomaster', 'link set vnet3 master br0')
    assert port_flags(lab, 'vnet3')['flood']
    pm('apply')
    assert not port_flags(lab, 'vnet3')['flood']


@pytest.mark.parametrize('taken', ['filter del dev vnet1 ingress', 'qdisc del dev vnet1 clsact',
                                   'actions flush action mirred'])
def test_somebody_else_takes_away_what_is_being_removed(lab, pm, taken):
    """Before each of the messages by which rm does it."""
    before = lab.host.state()
    add(pm)
    for number in range(1, pm.changes('rm', 'ids') + 1):
        add(pm)
        pm('rm', 'ids', env=pm.preloaded(KILL_AT=str(number), MEANWHILE=f'tc {taken} 2>&1 || :'))
        assert lab.host.back_to(before)


def test_somebody_else_keeps_taking_it_away(lab, pm):
    before = lab.host.state()
    result = pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', status=1,
                env=pm.preloaded(KILL_AT='all', MEANWHILE='tc qdisc del dev vnet1 clsact 2>/dev/null || :'))
    assert 'something else keeps changing the traffic control' in result.stderr and result.stderr.count('\n') == 1
    assert lab.host.back_to(before) and pm.json('list') == []


def test_a_filter_in_place_of_ours_that_sees_a_part_of_the_frames(lab, pm):
    """Somebody's own, with our action: for one protocol only."""
    before = lab.host.state()
    add(pm)
    lab.host.run('tc', 'filter', 'del', 'dev', 'vnet1', 'ingress')
    lab.host.run('tc', 'filter', 'add', 'dev', 'vnet1', 'ingress', 'protocol', 'arp', 'pref', '3', 'handle', '9001',
                 'bpf', 'bytecode', '1,6 0 0 4294967295', 'action', 'mirred', 'index', '9001')
    pm('apply')
    assert pm.json('show', 'ids')['state'] == 'whole'
    exchange(lab)
    pm('rm', 'ids')
    assert lab.host.back_to(before)
