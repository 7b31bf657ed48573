# SPDX-License-Identifier: MIT
"""Which engine copies where nobody says it."""
import collections
import os
import pathlib
import sys

import pytest

from conftest import BUILD
from lab import TCX, ethernet, ipv4
from test_daemon import daemon  # noqa: F401
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import Faults  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.engine('auto')


def frames_of(lab, count):
    a, b = lab.machines[:2]
    return [ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, bytes([i] * 100))) for i in range(count)]


def copied_once(lab):
    frames = frames_of(lab, 5)
    with lab.sensor.capture() as copies:
        lab.machines[0].send(frames)
        return copies.counts(5) == collections.Counter(frames)


def test_few_ports(lab, pm):
    """By tcx it is in nobody's way: whoever limits a machine's bandwidth finds the port as if it were not there."""
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    shown = pm.json('show', 'ids')
    assert (shown['by'], shown['engine'], shown['state']) == ('bpf' if TCX else 'tc', 'auto', 'whole')
    assert copied_once(lab)
    if TCX:
        assert lab.host.tc('qdisc show').stdout == before['qdisc']
        lab.host.tc('qdisc add dev vnet1 ingress')
        assert copied_once(lab)
        lab.host.tc('qdisc del dev vnet1 ingress')
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_many_ports(lab, pm):
    """A link at tcx holds up everybody who asks for devices: so many of them nobody gets unasked."""
    lab.host.batch('ip', [f'link add many{i} master br0 type veth peer other{i}' for i in range(100)])
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    assert pm.json('show', 'ids')['by'] == 'tc'
    assert copied_once(lab)
    pm('add', 'few', '--from', 'port:vnet1', '--to', 'port:ids0')  # likewise, for its frames are the same
    assert {pm.json('show', name)['by'] for name in ('ids', 'few')} == {'tc'}
    assert copied_once(lab)
    pm('rm', 'ids', 'few')
    assert lab.host.back_to(before)


def test_beside_a_session_that_has_its_engine(lab, pm):
    """Its frames are the same as the other's, and come once."""
    before = lab.host.state()
    pm('add', 'one', '--engine', 'tc', '--from', 'port:vnet1', '--to', 'port:ids0')
    pm('add', 'two', '--from', 'bridge:br0', '--to', 'port:ids0')
    assert pm.json('show', 'two')['by'] == 'tc'
    assert copied_once(lab)
    pm('rm', 'one')
    assert pm.json('show', 'two')['by'] == 'tc'  # what a session has it keeps
    pm('bypass', 'two')
    pm('restore', 'two')
    assert pm.json('show', 'two')['by'] == ('bpf' if TCX else 'tc')
    assert copied_once(lab)
    pm('rm', 'two')
    assert lab.host.back_to(before)


def test_two_engines_by_name(lab, pm):
    before = lab.host.state()
    pm('add', 'one', '--engine', 'tc', '--from', 'port:vnet1', '--to', 'port:ids0')
    added = pm('add', 'two', '--engine', 'bpf', '--from', 'bridge:br0', '--to', 'port:ids0', status=None)
    assert 'frames that one copies there too, by the engine tc, arrive twice' in added.stdout + added.stderr
    assert pm.json('show', 'two')['state'] == 'partial'
    pm('rm', 'one', 'two')
    assert lab.host.back_to(before)


@pytest.mark.skipif(not TCX, reason='nothing would be tried that the kernel could refuse')
def test_the_daemon_does_without_what_is_refused_at_once(lab, pm, daemon, wait_until):
    """Before it tells anybody how things stand."""
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet1\nto: port:ids0\n')
    running = daemon('setpriv', '--bounding-set', '-bpf,-sys_admin', '--inh-caps', '-all')
    wait_until(lambda: running.events('session-whole'))
    assert "by the engine tc, because bpf can't be had" in running.events('session-whole')[0]['text']
    assert running.events('session-partial', 'error') == []
    assert copied_once(lab)


@pytest.mark.skipif(not TCX, reason='nothing would be tried that the kernel could refuse')
def test_a_map_that_the_kernel_refuses(lab, pm, tmp_path):
    """Not for lack of memory, so it is not tried again."""
    before, faults = lab.host.state(), Faults(tmp_path, BUILD / 'tests/preload/fail_alloc.so')
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': 'detect_leaks=0:verify_asan_link_order=0'}
    add = pm.command('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    lab.host.run(*faults.watched(add), env=env)
    assert pm.json('show', 'ids')['by'] == 'bpf'
    pm('rm', 'ids')
    refused = next(number for number, call in faults.steps()['bpf'].items() if 'BPF_MAP_CREATE' in call)
    lab.host.run(*faults.failing(add, 'bpf', refused, error='EINVAL'), env=env)
    assert pm.json('show', 'ids')['by'] == 'tc' and copied_once(lab)
    pm('rm', 'ids')
    by_name = faults.failing([*add, '--engine', 'bpf'], 'bpf', refused, error='EINVAL')
    result = lab.host.run(*by_name, env=env, check=False)
    assert result.returncode == 1 and "the engine bpf can't be had: " in result.stderr
    assert 'Invalid argument' in result.stderr and result.stderr.count('\n') == 1
    assert pm.json('list') == [] and lab.host.back_to(before)
