# SPDX-License-Identifier: MIT
"""An in-line session from beginning to end: made, shown, changed, interrupted, removed."""
import json
import os
import pathlib
import re
import sys

import pytest
import yaml

from appliances import INSIDE, OUTSIDE, Wire
from lab import BROADCAST, ethernet
from net_conftest import BUILD
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import Faults  # noqa: E402  pylint: disable=wrong-import-position

USUAL = ('inline', 'ips', '--guard', 'port:vnet1', '--through', f'port:{INSIDE},port:{OUTSIDE}',
         '--on-failure', 'closed')


def passes(a, b, text=b'do I get through?'):
    frame = ethernet(b.mac, a.mac, 0x88b6, text)
    with b.capture() as capture:
        a.send([frame])
        return capture.counts(1, timeout=0.3, quiet=0.02)[frame]


def test_rm_leaves_nothing(lab, pm, appliance):
    appliance()
    a, b = lab.machines
    before = lab.host.state()
    pm(*USUAL)
    assert lab.host.state() != before
    assert passes(a, b) == 1
    assert pm('rm', 'ips').stdout == '1 session removed\n'
    assert lab.host.back_to(before)
    assert passes(a, b, b'straight on') == 1


def test_doctor_finds_a_port_of_the_appliance_that_is_down(lab, pm, appliance):
    wire = appliance()
    pm(*USUAL)
    for namespace, device, state, cure in ((wire, 'eth0', 'without carrier', f'bring its end of {INSIDE} up'),
                                           (lab.host, INSIDE, 'down', f'ip link set {INSIDE} up')):
        namespace.ip(f'link set {device} down')
        finding, = [found for found in pm.json('doctor', status=None) if found['name'] == 'appliance-down']
        assert f'{INSIDE}, a port of the appliance, is {state}' in finding['sentence'] and cure in finding['cure']


@pytest.mark.engine('bpf')
def test_a_dry_run_changes_nothing(lab, pm, appliance):
    appliance()
    before = lab.host.state()
    planned = pm.json(*USUAL, '--dry-run')['planned']
    assert [op['op'] for op in planned] == ['maps.add', 'programs.load', *4 * ['link.add']]
    assert {op.get('port') for op in planned} == {None, 'vnet1', INSIDE, OUTSIDE}
    assert lab.host.state() == before and not pm.sessions.exists()
    said = pm(*USUAL, '--dry-run').stdout.splitlines()
    assert said[2] == 'would ips: attach a program on ain0 for what leaves the appliance inside'


def test_what_is_shown(lab, pm, appliance):
    appliance()
    said = pm(*USUAL, '--filter', 'tcp port 80', '--probe-interval', 50).stdout
    assert said == 'ips: whole, 1 port led through ain0 and aout0\n'
    assert [line.split() for line in pm('list').stdout.splitlines()] == [
        ['NAME', 'STATE', 'PORTS', 'DIRECTION', 'TO', 'FROM', 'FILTER'],
        ['ips', 'whole', '1', 'through', 'port:ain0', 'port:aout0', 'port:vnet1', 'tcp', 'port',
         '80']]
    shown = pm.json('show', 'ips')
    assert shown['mode'] == 'inline' and shown['guard'] == ['port:vnet1']
    assert shown['through'] == ['port:ain0', 'port:aout0'] and shown['on-failure'] == 'closed'
    assert shown['appliance'] == 'wire' and shown['probe-interval'] == 50
    assert shown['appliance_ports'] == [INSIDE, OUTSIDE] and shown['ports'] == ['vnet1']
    text = pm('show', 'ips').stdout
    assert 'closed: no frame gets through' in text and 'static' in text
    assert pm.json('list') == [shown]
    saved = yaml.safe_load(pm('export', 'ips').stdout)
    assert saved == {'name': 'ips', 'mode': 'inline', 'guard': ['port:vnet1'],
                     'through': ['port:ain0', 'port:aout0'], 'on-failure': 'closed',
                     'filter': 'tcp port 80', 'probe-interval': 50}


def test_what_is_shown_of_who_watches(lab, pm, appliance, daemon, wait_until):
    appliance()
    pm(*USUAL, '--runtime')
    assert pm.json('show', 'ips')['runtime'] and not pm.sessions.exists() and [*pm.runtime_sessions.glob('ips.*')]
    daemon()
    wait_until(lambda: 'by portmirrord' in pm('show', 'ips').stdout)
    pm('bypass', 'ips')
    text = pm('show', 'ips').stdout
    assert 'by nobody' in text and 'failures' not in text
    pm('rm', 'ips')


@pytest.mark.engine('bpf')  # a filter's program has another number each time
def test_export_and_apply_are_each_others_inverse(lab, pm, appliance, tmp_path):
    appliance()
    a, b = lab.machines
    pm(*USUAL, '--appliance', 'bridge')
    with_it = lab.host.state()
    text = pm('export').stdout
    pm('rm', '--all')
    (tmp_path / 'all.yaml').write_text(text)
    pm('apply', tmp_path / 'all.yaml')
    assert pm('export').stdout == text and passes(a, b) == 1
    assert lab.host.back_to(with_it)
    assert pm('apply').stdout.startswith('nothing to do')


@pytest.mark.lab(machines=3)
def test_changes_by_apply_touch_only_what_they_must(lab, pm, appliance, tmp_path, engine):
    appliance()
    a, b, c = lab.machines
    pm(*USUAL)
    session = yaml.safe_load(pm('export').stdout)

    def apply(**changes):
        (tmp_path / 's.yaml').write_text(yaml.safe_dump({**session, **changes}))
        return [op['op'] for op in pm.json('apply', tmp_path / 's.yaml')['done']]
    assert apply(**{'probe-interval': 500}) == []
    assert apply(**{'on-failure': 'open'}) == ['config.replace']
    added = ['link.add', 'link.add'] if engine == 'bpf' else ['qdisc.add', 'filter.add', 'filter.add']
    assert apply(guard=['port:vnet1', 'port:vnet2']) == ['config.replace', *added]
    assert passes(a, c) == passes(b, c) == 1
    done = apply(filter='not port 22')
    assert done[0] == 'programs.load' and done[-1] == 'pin.remove'
    assert {op.split('.')[1] for op in done} == {'load', 'replace', 'remove'}
    assert passes(a, c) == 1
    assert apply(guard=['port:vnet2'])[-1] != 'link.add'
    assert pm.json('show', 'ips')['ports'] == ['vnet2']
    assert passes(a, c) == passes(b, c) == 1
    assert pm('apply').stdout.startswith('nothing to do')


def test_bypass_and_restore(lab, pm, appliance):
    wire = appliance()
    a, b = lab.machines
    before = lab.host.state()
    pm(*USUAL)
    wire('drop')
    assert passes(a, b) == 0
    pm('bypass', 'ips')
    assert pm.json('show', 'ips')['state'] == 'suspended'
    shown = pm('show', 'ips').stdout
    assert re.search(r'^suspended +yes$', shown, re.M) and 'failures' not in shown
    assert passes(a, b) == 1 and lab.host.back_to(before)
    pm('restore', 'ips')
    assert passes(a, b) == 0


def test_it_waits_for_its_appliance(lab, pm, appliance):
    a, b = lab.machines
    said = pm(*USUAL)
    assert 'waiting for the appliance' in said.stderr and 'no frame gets through' in said.stderr
    assert pm.json('show', 'ips')['state'] == 'waiting'
    assert passes(a, b) == 0
    appliance()
    assert passes(a, b) == 0
    pm('apply')
    assert pm.json('show', 'ips')['state'] == 'whole' and passes(a, b) == 1
    pm('rm', 'ips')
    lab.host.ip(f'link del {INSIDE}')
    assert 'waiting' in pm(*USUAL[:-1], 'open').stderr
    assert passes(a, b) == 1
    pm('rm', 'ips')
    assert 'nothing was changed' in pm(*USUAL, '--strict', status=1).stderr


def test_tc_says_plainly_that_it_can_not_be_said(lab, pm, appliance):
    appliance()
    pm(*USUAL)
    assert "can't be said in commands of tc" in pm('tc', 'ips', status=1).stderr


def test_stats(lab, pm, appliance):
    appliance()
    a, b = lab.machines
    pm(*USUAL)
    for i in range(7):
        assert passes(a, b, b'%d' % i) == 1
    found = pm.json('stats', 'ips')[0]
    assert found['appliance']['led_out']['frames'] == found['appliance']['back_out']['frames'] == 7
    assert 'through ain0, aout0' in pm('stats').stdout


@pytest.mark.engine('bpf')
def test_maps_that_the_kernel_refuses(lab, pm, appliance, tmp_path):
    """Not for lack of memory, so it is not tried again: there is nothing else that could lead frames."""
    appliance()
    a, b = lab.machines
    before, faults = lab.host.state(), Faults(tmp_path, BUILD / 'tests/preload/fail_alloc.so')
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': 'detect_leaks=0:verify_asan_link_order=0'}
    add = pm.command(*USUAL)
    lab.host.run(*faults.watched(add), env=env)
    pm('rm', 'ips')
    refused = next(number for number, call in faults.steps()['bpf'].items() if 'BPF_MAP_CREATE' in call)
    result = lab.host.run(*faults.failing(add, 'bpf', refused, error='EINVAL'), env=env, check=False)
    assert result.returncode == 1 and result.stderr.count('\n') == 1 and 'Invalid argument' in result.stderr
    assert pm.json('list') == [] and passes(a, b) == 1 and lab.host.back_to(before)


@pytest.mark.engine('bpf')
@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('before, arguments, words', [
    ([], ('--guard', 'port:vnet1', '--through', 'port:vnet2,port:aout0'), 'on no bridge'),
    ([], ('--guard', 'port:ids0', '--through', 'port:ain0,port:aout0'), 'ids0 is on no bridge'),
    ([], ('--guard', 'port:ain0', '--through', 'port:ain0,port:aout0'), 'a loop'),
    ([], ('--guard', 'port:vnet1', '--through', 'port:ain0,port:ain0'), 'are one'),
    ([], ('--guard', 'port:vnet1', '--through', 'port:ain*,port:ain0'), 'same device'),
    ([], ('--guard', 'port:vnet1', '--through', 'port:vnet*,port:ain0'), 'means 3 devices'),
    ([('add', 'm', '--from', 'port:vnet2', '--to', 'port:ain0')],
     ('--guard', 'port:vnet1', '--through', 'port:ain0,port:aout0'), 'destination of m'),
    ([USUAL[:1] + ('other',) + USUAL[2:]],
     ('--guard', 'port:vnet1', '--through', 'port:ids0,port:aout0'), 'session other already'),
    ([USUAL[:1] + ('other',) + USUAL[2:]],
     ('--guard', 'port:vnet2', '--through', 'port:ain0,port:ids0'), 'session other already'),
])
def test_what_can_not_be(lab, pm, appliance, before, arguments, words):
    appliance()
    for command in before:
        pm(*command)
    state = lab.host.state()
    said = pm('inline', 'ips', *arguments, '--on-failure', 'open', status=None)
    assert said.returncode in (1, 2) and words in said.stderr, said.stderr
    assert lab.host.state() == state


@pytest.mark.engine('bpf')
@pytest.mark.parametrize('arguments, words', [
    ((), '--guard is missing'),
    (('--guard', 'port:a'), '--through is missing'),
    (('--guard', 'port:a', '--through', 'port:b'), 'two selectors with a comma'),
    (('--guard', 'port:a', '--through', 'port:b,port:c'), '--on-failure is missing'),
    (('--guard', 'port:a', '--through', 'port:b,port:c', '--on-failure', 'ajar'),
     'on-failure: "ajar" is not known; it is open or closed'),
    (('--guard', 'port:a', '--through', 'port:b,port:c', '--on-failure', 'open', '--appliance', 'hub'),
     'appliance: "hub" is not known; it is wire or bridge'),
    (('--guard', 'port:a', '--through', 'port:b,port:c', '--on-failure', 'open', '--probe-interval',
      '5'), 'milliseconds from 10 to 60000'),
    (('--guard', 'port:a', '--through', 'port:b,port:c', '--on-failure', 'open', '--probe-interval',
      '1e3'), "milliseconds from 10 to 60000, not '1e3'"),
    (('--guard', 'port:a', '--through', 'b,port:c', '--on-failure', 'open'), 'through[0]: '),
    (('--guard', 'port:\udcff', '--through', 'port:b,port:c', '--on-failure', 'open'), 'not UTF-8'),
    (('--guard', 'port:a', '--through', 'port:b,port:c', '--on-failure', 'open', '--filter', 'tpc'),
     'filter: '),
])
def test_wrong_usage(pm, arguments, words):
    assert words in pm('inline', 'ips', *arguments, status=2).stderr


@pytest.mark.parametrize('what', ['inline', 'rm'])
def test_killed_at_every_step_apply_completes_it(lab, pm, appliance, engine, what):
    appliance()
    a, b = lab.machines
    before = lab.host.state()
    steps = pm.changes(*USUAL)
    if what == 'rm':
        steps = pm.changes('rm', 'ips')
    assert steps > (20 if engine == 'bpf' and what == 'inline' else 4)
    pm('rm', '--all')
    for step in range(1, steps + 1):
        if what == 'inline':
            pm.kill_at(step, *USUAL)
            pm('apply')
            assert passes(a, b) == 1, step
            pm('rm', 'ips')
        else:
            pm(*USUAL)
            pm.kill_at(step, 'rm', 'ips')
            pm('apply', status=None)
        assert lab.host.back_to(before), step
        assert passes(a, b) == 1


@pytest.mark.lab(machines=2)
def test_a_session_of_the_same_name_changes_its_mode(lab, pm, appliance, tmp_path):
    appliance()
    a, b = lab.machines
    pm('add', 'ips', '--from', 'port:vnet1', '--to', 'port:ids0')
    with_mirror = lab.host.state()
    mirror = pm('export').stdout
    (tmp_path / 'in.yaml').write_text(yaml.safe_dump({
        'name': 'ips', 'mode': 'inline', 'guard': 'port:vnet1', 'on-failure': 'open',
        'through': [f'port:{INSIDE}', f'port:{OUTSIDE}']}))
    pm('apply', tmp_path / 'in.yaml')
    assert pm.json('show', 'ips')['state'] == 'whole'
    frame = ethernet(BROADCAST, a.mac, 0x88b6, b'copied no longer')
    with lab.sensor.capture() as copies:
        a.send([frame])
        assert copies.counts() == {}
    (tmp_path / 'out.yaml').write_text(mirror)
    pm('apply', tmp_path / 'out.yaml')
    assert lab.host.back_to(with_mirror) and passes(a, b) == 1


def test_a_file_that_can_not_be_read_leaves_the_path_as_it_is(lab, pm, appliance):
    appliance()
    a, b = lab.machines
    pm(*USUAL)
    state = lab.host.state()
    file = pm.sessions / 'ips.yaml'
    good = file.read_text()
    file.write_text(good + 'on_failure: open\n')
    pm('apply', status=1)
    assert lab.host.state() == state and passes(a, b) == 1
    said = pm('inline', 'other', *USUAL[2:], status=1).stderr
    assert 'vnet1 takes part in the in-line session ips already; nothing was changed' in said
    assert lab.host.state() == state
    file.write_text(good)
    assert pm('apply').stdout.startswith('nothing to do')
    assert json.loads(pm('list', '--json').stdout)[0]['state'] == 'whole' and Wire


def test_a_file_that_can_not_be_read_opens_nothing(lab, pm, appliance, daemon, wait_until):
    wire = appliance()
    a, b = lab.machines
    pm(*USUAL)
    daemon()
    file = pm.sessions / 'ips.yaml'
    good = file.read_text()
    state = lab.host.state()
    file.write_text('name: ips\nmode: [\n')
    wait_until(lambda: pm.json('show', 'ips')['state'] == 'failed')
    pm('apply', status=1)
    assert lab.host.state() == state and passes(a, b) == 1
    wire('drop')
    assert passes(a, b, b'straight on?') == 0
    lab.host.ip(f'link del {INSIDE}')
    assert passes(a, b, b'and now?') == 0
    file.write_text(good)
    wait_until(lambda: pm.json('show', 'ips')['state'] == 'waiting')
    assert passes(a, b, b'waiting') == 0


def earlier(pm):
    return [finding for finding in pm.json('doctor', status=None) if finding['name'] == 'earlier-filter']


PAST = 'protocol all u32 match u32 0 0 flowid 1:1'


@pytest.mark.engine('tc')
@pytest.mark.parametrize('hook, words', [('ingress', 'what vnet1 sends'),
                                         ('egress', 'what vnet1 receives')])
def test_a_filter_in_front_lets_frames_past_the_appliance(lab, pm, appliance, hook, words):
    wire = appliance()
    a, b = lab.machines if hook == 'ingress' else reversed(lab.machines)
    pm(*USUAL)
    wire('drop')
    assert passes(a, b) == 0 and earlier(pm) == []
    lab.host.tc(f'filter add dev vnet1 {hook} pref 1 {PAST}')
    assert passes(a, b, b'past it') == 1
    found, = earlier(pm)
    assert (found['session'], found['subject'], found['severity']) == ('ips', 'vnet1', 'warning')
    assert words in found['sentence'] and "don't go through the appliance" in found['sentence']
    above = int(found['cure'].split('a preference above ')[1].split(',')[0])
    lab.host.tc(f'filter del dev vnet1 {hook} pref 1',
                f'filter add dev vnet1 {hook} pref {above + 1} {PAST}')
    assert passes(a, b, b'no longer') == 0 and earlier(pm) == []


@pytest.mark.engine('tc')
def test_a_filter_in_front_keeps_back_what_the_appliance_lets_through(lab, pm, appliance):
    appliance()
    a, b = lab.machines
    pm(*USUAL)
    assert passes(b, a) == 1
    lab.host.tc(f'filter add dev {INSIDE} ingress pref 1 {PAST}')
    assert passes(b, a, b'no longer') == 0
    found, = earlier(pm)
    assert found['subject'] == INSIDE and 'go no further' in found['sentence']


@pytest.mark.engine('tc')
def test_it_goes_in_front_of_filters_that_were_there_before(lab, pm, appliance):
    wire = appliance()
    a, b = lab.machines
    lab.host.tc('qdisc add dev vnet1 clsact',
                *[f'filter add dev vnet1 {hook} pref 2 {PAST}' for hook in ('ingress', 'egress')])
    pm(*USUAL)
    wire('drop')
    assert passes(a, b) == passes(b, a) == 0 and earlier(pm) == []
