# SPDX-License-Identifier: MIT
"""Kernels that lack a part: tests/preload/lacks.c hides it, the real kernel says so."""
import pytest

from lab import ethernet

pytestmark = pytest.mark.engine('tc')


def add(pm, lacks, *arguments, **options):
    return pm('add', 'ids', *arguments, '--to', 'port:ids0',
              env=pm.preloaded('lacks', LACKS=lacks), **options)


def test_without_mirred_it_says_so_in_the_kernels_words(lab, pm):
    before = lab.host.state()
    result = add(pm, 'mirred', '--from', 'bridge:br0', status=1)
    assert 'TC action' in result.stderr and 'nothing was changed' in result.stderr
    assert result.stderr.count('\n') == 1
    assert pm.json('list') == [] and lab.host.back_to(before)


def test_without_clsact_it_says_so(lab, pm):
    before = lab.host.state()
    result = add(pm, 'clsact', '--from', 'port:vnet1', status=1)
    assert 'qdisc kind is unknown' in result.stderr and result.stderr.count('\n') == 1
    assert pm.json('list') == [] and lab.host.back_to(before)


@pytest.mark.parametrize('lacks, kind', [('', 'bpf'), ('bpf matchall', 'u32')])
@pytest.mark.parametrize('attach', ['auto', 'classic'])
def test_the_next_best_classifier_is_found_by_trying(lab, pm, lacks, kind, attach):
    a, b = lab.machines
    before = lab.host.state()
    add(pm, lacks, '--from', 'port:vnet1', '--attach', attach)
    hook = ['ingress'] if attach == 'auto' else ['parent', 'ffff:']
    filters = lab.host.json('tc', '-j', 'filter', 'show', 'dev', 'vnet1', *hook)
    assert {f['kind'] for f in filters} == {kind}
    frames = [ethernet(b.mac, a.mac, 0x88b5, b'%d' % i) for i in range(10)]
    back = [ethernet(a.mac, b.mac, 0x88b5, b'%d' % i) for i in range(10)]
    with lab.sensor.capture() as copies:
        a.send(frames)
        b.send(back)
        assert copies.counts(20) == dict.fromkeys(frames + back, 1)
    assert 'nothing to do' in pm('apply', env=pm.preloaded('lacks', LACKS=lacks)).stdout
    pm('rm', 'ids', env=pm.preloaded('lacks', LACKS=lacks))
    assert lab.host.back_to(before)


def test_two_sessions_of_u32_do_not_disturb_each_other(lab, pm):
    a, b = lab.machines
    before = lab.host.state()
    lacks = pm.preloaded('lacks', LACKS='bpf matchall')
    lab.host.ip('link add ids1 type veth peer name ids1p', 'link set ids1 up', 'link set ids1p up')
    add(pm, 'bpf matchall', '--from', 'port:vnet1')
    pm('add', 'two', '--from', 'port:vnet1', '--to', 'port:ids1', env=lacks)
    frame = ethernet(b.mac, a.mac, 0x88b5, b'to both')
    with lab.sensor.capture() as first, lab.host.capture('ids1p') as second:
        a.send([frame])
        assert first.counts(1) == second.counts(1) == {frame: 1}
    pm('rm', 'ids', env=lacks)
    with lab.sensor.capture() as first, lab.host.capture('ids1p') as second:
        a.send([frame])
        assert (first.counts(), second.counts(1)) == ({}, {frame: 1})
    pm('rm', '--all', env=lacks)
    lab.host.ip('link del ids1')
    assert lab.host.back_to(before)


@pytest.mark.parametrize('arguments, words', [
    (['--from', 'bridge:br0'], 'copied twice'),
    (['--from', 'port:vnet1', '--filter', 'arp'], 'filter'),
])
def test_what_needs_bpf_is_refused_without_it(lab, pm, arguments, words):
    before = lab.host.state()
    result = add(pm, 'bpf matchall', *arguments, status=1)
    assert 'cls_bpf' in result.stderr and words in result.stderr
    assert pm.json('list') == [] and lab.host.back_to(before)


def test_prio_is_taken_for_granted_only_until_the_kernel_refuses_it(lab, pm):
    before = lab.host.state()
    add(pm, 'prio', '--from', 'port:vnet1', '--attach', 'classic')
    root = lab.host.json('tc', '-j', 'qdisc', 'show', 'dev', 'vnet1', 'root')
    assert [q['kind'] for q in root] == ['htb']
    pm('rm', 'ids')
    assert lab.host.back_to(before)
