# SPDX-License-Identifier: MIT
"""add, apply, rm, list, show, export: sessions as files, and the kernel as the files say."""
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from conftest import Portmirror
from faults import spread
from lab import ethernet, ipv4, ipv6

HELLO = b'hello'


def frame(sender, to, text=HELLO):
    return ethernet(to.mac, sender.mac, 0x0800, ipv4(sender.ipv4, to.ipv4, text))


def seen(lab, send, expect):
    """What the sensor sees of what send() sends."""
    with lab.sensor.capture() as capture:
        send()
        return capture.counts(expect)


def test_add_copies_what_the_machine_sends_and_receives(lab, pm):
    a, b = lab.machines
    pm('add', 'ids', '--from', f'port:{a.port}', '--to', 'port:ids0')
    there, back = frame(a, b), frame(b, a)
    assert seen(lab, lambda: (a.send([there]), b.send([back])), 2) == {there: 1, back: 1}


@pytest.mark.parametrize('direction', ['sent', 'received'])
def test_direction_is_the_machines(lab, pm, direction):
    a, b = lab.machines
    pm('add', 'ids', '--from', f'port:{a.port}', '--to', 'port:ids0', '--direction', direction)
    frames = {'sent': frame(a, b), 'received': frame(b, a)}
    assert seen(lab, lambda: (a.send([frames['sent']]), b.send([frames['received']])), 1) == {
        frames[direction]: 1}


@pytest.mark.parametrize('attach', ['auto', 'classic'])
def test_frames_of_any_protocol_are_copied_whole(lab, pm, attach):
    a, b = lab.machines
    pm('add', 'ids', '--from', f'port:{a.port}', '--to', 'port:ids0', '--attach', attach)
    kinds = [
        ethernet(b.mac, a.mac, 0x0806, bytes(28)),
        ethernet(b.mac, a.mac, 0x88b5, b'of no protocol'),
        ethernet('01:80:c2:00:00:0e', a.mac, 0x88cc, b'\2\7\4lldp'),
        ethernet(b.mac, a.mac, 0x86dd, ipv6('fd00::1', 'fd00::2', HELLO)),
        ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, HELLO), (0x8100, 5)),
        ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, HELLO), (0x88a8, 7), (0x8100, 5)),
        ethernet(b.mac, a.mac, 46, b'\xaa\xaa\3\0\0\0' + bytes(40)),  # IEEE 802.3 with LLC
        ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, bytes(1400))),
    ]
    back = [b_frame[6:12] + b_frame[:6] + b_frame[12:] for b_frame in kinds if b_frame[0] != 1]
    # LLDP's address stays on its link: the bridge passes it on to nobody, but it was sent.
    got = seen(lab, lambda: (a.send(kinds), b.send(back)), len(kinds) + len(back))
    assert got == {**dict.fromkeys(kinds, 1), **dict.fromkeys(back, 1)}


def test_filter_runs_in_the_kernel(lab, pm):
    a, b = lab.machines
    pm('add', 'web', '--from', f'port:{a.port}', '--to', 'port:ids0', '--filter',
       'icmp and greater 200 or vlan 5')
    small, large = frame(a, b), frame(a, b, bytes(300))
    tagged = ethernet(b.mac, a.mac, 0x88b5, b'', (0x8100, 5))
    other = ethernet(b.mac, a.mac, 0x88b5, b'', (0x8100, 6))
    got = seen(lab, lambda: a.send([small, large, tagged, other]), 2)
    assert got == {large: 1, tagged: 1}


def test_a_wrong_filter_is_refused_in_libpcaps_words(lab, pm):
    before = lab.host.state()
    result = pm('add', 'web', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', 'tcp prt 80',
                status=2)
    assert 'syntax error' in result.stderr and 'tcp prt 80' in result.stderr
    assert not list(pm.root.glob('**/*.yaml')) and lab.host.state() == before


def test_saved_form_is_yaml_and_apply_is_idempotent(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--from', 'bridge:br0', '--to', 'port:ids0',
       '--direction', 'sent', '--filter', 'not arp')
    assert (pm.sessions / 'ids.yaml').read_text() == (
        'name: ids\nfrom:\n  - port:vnet1\n  - bridge:br0\nto: port:ids0\ndirection: sent\n'
        'filter: not arp\n')
    state = lab.host.state()
    assert 'nothing to do' in pm('apply').stdout
    assert pm.json('apply')['done'] == []
    assert lab.host.state() == state


def test_apply_makes_good_what_is_missing(lab, pm):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    if pm.by_tcx:
        port, = lab.host.json('ip', '-j', 'link', 'show', 'vnet1')
        for pin in pm.pins(f'ids/{port["ifindex"]}-*') + pm.pins('ids/received-*'):
            pin.unlink()
    else:
        lab.host.tc('qdisc del dev vnet1 clsact')
        lab.host.tc('filter del dev vnet2 egress')
    assert pm.json('list')[0]['state'] == 'partial'
    assert 'vnet1' in pm('apply').stdout
    assert pm.json('list')[0]['state'] == 'whole'
    assert 'nothing to do' in pm('apply').stdout
    a, b = lab.machines
    there, back = frame(a, b), frame(b, a)
    assert seen(lab, lambda: (a.send([there]), b.send([back])), 2) == {there: 1, back: 1}


def test_files_edited_by_hand(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet2\nto: port:ids0\n')
    (pm.sessions / 'two.yaml').write_text('from: [port:vnet1]\nto: port:ids0\nfilter: arp\n')
    pm('apply')
    assert [(s['name'], s['ports']) for s in pm.json('list')] == [('ids', ['vnet2']),
                                                                 ('two', ['vnet1'])]
    (pm.sessions / 'two.yaml').unlink()
    pm('apply')
    assert 'clsact' not in lab.host.run('tc', 'qdisc', 'show', 'dev', 'vnet1').stdout


def test_a_file_that_cannot_be_read_leaves_its_session_alone(lab, pm):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    path = pm.sessions / 'ids.yaml'
    whole = path.read_text()
    state = lab.host.state()
    for text, words in [
            (whole[:12], 'ids.yaml'), (whole + 'form: x\n', 'did you mean "from"'),
            ('from: [port:vnet1\n', 'ids.yaml:'), (whole.replace('ids', 'other', 1), 'name'),
            (whole + 'filter: tcp prt\n', 'syntax error'), (whole + 'filter: outbound\n', '--direction'),
            ('', 'ids.yaml'), (whole + 'mode: inline\n', 'mode')]:
        path.write_text(text)
        result = pm('apply', status=1)
        assert words in result.stderr and result.stderr.count('\n') == 1, text
        assert lab.host.state() == state, text
        assert pm.json('list')[0]['state'] == 'failed'
    path.unlink()
    os.mkfifo(path)  # nobody writes to it
    assert 'is no regular file' in pm('apply', status=1).stderr and lab.host.state() == state
    pm('apply', '-', stdin=whole)
    assert path.read_text() == whole
    there = frame(a, b)
    assert seen(lab, lambda: a.send([there]), 1) == {there: 1}


def test_export_is_what_apply_reads(lab, pm, tmp_path):
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0', '--filter', 'ip')
    pm('add', 'web', '--from', 'port:vnet1', '--to', 'port:ids0', '--runtime')
    listed = pm.json('list')
    text = pm('export').stdout
    assert 'runtime: true' in text
    pm('rm', '--all')
    assert lab.host.back_to(before)
    file = tmp_path / 'all.yaml'
    file.write_text(text)
    pm('apply', file)
    assert pm.json('list') == listed
    assert (pm.runtime_sessions / 'web.yaml').exists()
    pm('rm', '--all')
    pm('apply', '-', stdin=text)
    assert pm.json('list') == listed
    assert pm('export', 'web').stdout.startswith('name: web\n')


def test_apply_of_a_folder_is_all_or_nothing(lab, pm, tmp_path):
    folder = tmp_path / 'sessions'
    folder.mkdir()
    (folder / 'a.yaml').write_text('name: a\nfrom: port:vnet1\nto: port:ids0\n')
    (folder / 'b.yaml').write_text('name: b\nfrom: vnet1\nto: port:ids0\n')
    before = lab.host.state()
    result = pm('apply', folder, status=1)
    assert f'{folder}/b.yaml:2: from' in result.stderr
    assert pm.json('list') == [] and lab.host.state() == before
    (folder / 'b.yaml').write_text('name: b\nfrom: port:vnet2\nto: port:ids0\n')
    pm('apply', folder)
    assert [s['state'] for s in pm.json('list')] == ['whole', 'whole']


@pytest.mark.engine('tc')
def test_a_destination_must_be_an_ethernet_device(lab, pm):
    lab.host.ip('tuntap add dev tun0 mode tun')
    before = lab.host.state()
    result = pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:tun0', status=1)
    assert result.stderr == 'portmirror: ids: to: tun0 is no Ethernet device; nothing was changed\n'
    assert lab.host.state() == before and pm.json('list') == []


@pytest.mark.engine('tc')
def test_a_host_without_machines(lab, pm):
    assert pm.json('vms') == []
    assert pm('vms').stdout == 'no process holds a tap device open: no virtual machine runs here\n'


@pytest.mark.engine('tc')
def test_who_writes_slowly_keeps_nobody_waiting(lab, pm):
    """Nor who reads slowly what was done."""
    apply = lab.host.popen(*pm.command('apply', '-'), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                           env={**os.environ, **pm.env})
    apply.stdin.write('name: ids\nfrom: port:vnet1\n')
    apply.stdin.flush()
    pm('add', 'two', '--from', 'port:vnet2', '--to', 'port:ids0', timeout=10)
    fcntl.fcntl(apply.stdout, fcntl.F_SETPIPE_SZ, 4096)
    apply.stdin.write('to: port:ids0\n---\n' + '---\n'.join(
        f'name: many{i}\nfrom: port:vnet2\nto: port:ids0\n' for i in range(60)))
    apply.stdin.close()
    while 'many59' not in pm('list').stdout:
        time.sleep(0.01)
    pm('rm', 'two', timeout=20)
    assert apply.poll() is None, 'it still waits for its reader'
    assert 'many59' in apply.stdout.read() and apply.wait() == 0


@pytest.mark.engine('tc')
def test_export_tells_of_what_it_cannot_read(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--runtime')
    pm('add', 'web', '--from', 'port:vnet1', '--to', 'port:ids0')
    (pm.sessions / 'web.yaml').write_text('name: web\nfrm: port:vnet1\n')
    for options, whole in (([], 'name: ids'), (['--json'], '"runtime": true')):
        result = pm('export', *options, status=1)
        assert whole in result.stdout and 'web.yaml:2' in result.stderr and result.stderr.count('\n') == 1
    assert 'there is no session named nobody' in pm('export', 'nobody', status=1).stderr


IDS = 'name: ids\nfrom: port:vnet1\nto: port:ids0\n'


@pytest.mark.engine('tc')
@pytest.mark.parametrize('text, words', [
    (f'{IDS}---\n{IDS}', 'standard input:5: a second session named ids'),
    ('# nothing\n', 'standard input: holds no session'),
    ('# ' + 'x' * (1 << 20), 'standard input: more than'),
    (f'{IDS}filter: port http or\n', 'standard input: ids: filter: '),
    (f'{IDS}runtime: true\n', 'ids: a session of that name is saved for good; remove it first'),
], ids=['twice', 'none', 'large', 'filter', 'runtime'])
def test_apply_refuses_in_one_sentence(lab, pm, text, words):
    pm('apply', '-', stdin=IDS)
    before = lab.host.state()
    result = pm('apply', '-', stdin=text, status=1)
    assert result.stderr.count('\n') == 1 and words in result.stderr
    assert lab.host.state() == before


def test_dry_run_changes_nothing_and_tells_what_would(lab, pm):
    before = lab.host.state()
    arguments = ['add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0']
    planned = pm.json(*arguments, '--dry-run')['planned']
    assert [op['op'] for op in planned] == {
        'tc': ['action.add', 'qdisc.add', 'filter.add', 'filter.add'],
        'tcx': ['maps.add', 'programs.load', 'link.add', 'link.add'],
        'clsact': ['maps.add', 'programs.load', 'qdisc.add', 'filter.add', 'filter.add']}[
            'tc' if pm.engine == 'tc' else 'tcx' if pm.by_tcx else 'clsact']
    assert lab.host.state() == before and pm.json('list') == []
    assert pm.json(*arguments)['done'] == planned
    assert pm.json('apply', '--dry-run')['planned'] == []
    state = lab.host.state()
    assert 'would remove' in pm('rm', 'ids', '--dry-run').stdout
    assert lab.host.state() == state and len(pm.json('list')) == 1
    pm('add', 'two', '--from', 'port:nowhere', '--to', 'port:nobody')
    assert pm('rm', 'two', '--dry-run').stdout == 'nothing would change in the kernel\n'


def test_show(lab, pm):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    shown = pm.json('show', 'ids')
    assert shown['ports'] == ['vnet1', 'vnet2'] and shown['destination'] == 'ids0'
    assert shown['state'] == 'whole' and shown['direction'] == 'both'
    text = pm('show', 'ids').stdout
    assert 'vnet1 vnet2' in text and str(pm.sessions / 'ids.yaml') in text
    assert 'no session named nids' in pm('show', 'nids', status=1).stderr


def test_for_people(lab, pm):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0', '--filter', 'not arp')
    pm('add', 'two', '--from', 'port:nowhere', '--to', 'port:ids0')
    (pm.sessions / 'web.yaml').write_text('from: nonsense\n')
    titles, ids, two, web = (line.split() for line in pm('list').stdout.splitlines())
    assert titles == ['NAME', 'STATE', 'PORTS', 'DIRECTION', 'TO', 'FROM', 'FILTER']
    assert ids == ['ids', 'whole', '2', 'both', 'port:ids0', 'bridge:br0', 'not', 'arp']
    assert two == ['two', 'waiting', '0', 'both', 'port:ids0', 'port:nowhere'] and web == ['web', 'failed', '0']
    name, state, reason, path = pm('show', 'web').stdout.splitlines()
    assert name.split() == ['name', 'web'] and state.split() == ['state', 'failed']
    assert reason.startswith(' ' * 13) and 'web.yaml:1' in reason
    assert path.split() == ['file', f'{pm.sessions}/web.yaml']
    (reason,) = [line for line in pm('show', 'two').stdout.splitlines() if line[0] == ' ']
    assert reason.strip() == pm.json('show', 'two')['reasons'][0]


@pytest.mark.engine('tc')
def test_show_tells_that_the_kernel_differs(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet1\nto: port:ids0\nfilter: arp\n')
    assert 'portmirror apply mends it' in pm('show', 'ids').stdout
    pm('apply')
    assert 'mends' not in pm('show', 'ids').stdout


def test_show_tells_of_the_options_that_are_on(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--to', 'port:vnet2', '--balance', '--snap', '128',
       '--sample', '4', '--sample-flows', '--rate', '100')
    shown = dict(line.split(None, 1) for line in pm('show', 'ids').stdout.splitlines() if line[0] != ' ')
    assert [shown[name] for name in ('snap', 'sample', 'rate', 'balance')] == [
        '128 bytes', 'one flow in 4', '100 Mbit/s', 'yes']
    pm('rm', 'ids')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--sample', '4')
    text = pm('show', 'ids').stdout
    assert 'one frame in 4' in text and 'snap' not in text and 'rate' not in text
    assert 'nothing would change' in pm('apply', '--dry-run').stdout


def test_a_selector_that_matches_nothing_yet_waits(lab, pm):
    result = pm('add', 'ids', '--from', 'port:vnet3', '--from', 'vm:web1', '--to', 'port:ids0')
    assert 'waiting for the source port:vnet3' in result.stderr
    assert pm.json('show', 'ids')['state'] == 'waiting'
    machine = lab.add_machine()
    assert pm.json('apply')['sessions'][0]['ports'] == [machine.port]
    there = frame(machine, lab.machines[0])
    assert seen(lab, lambda: machine.send([there]), 1) == {there: 1}


def test_strict_refuses_what_would_wait(lab, pm):
    before = lab.host.state()
    result = pm('add', 'ids', '--from', 'port:vnet3', '--to', 'port:ids0', '--strict', status=1)
    assert 'port:vnet3' in result.stderr and 'nothing was changed' in result.stderr
    assert pm.json('list') == [] and lab.host.state() == before


def test_a_destination_that_waits_and_comes(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:late0')
    assert pm.json('show', 'ids')['state'] == 'waiting'
    lab.host.ip('link set ids0 down', 'link set ids0 name late0', 'link set late0 up')
    pm('apply')
    there = frame(*lab.machines)
    assert seen(lab, lambda: lab.machines[0].send([there]), 1) == {there: 1}


def test_a_sensor_that_restarts_needs_one_message(lab, pm):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    lab.host.ip('link del ids0')
    assert pm.json('show', 'ids')['state'] == 'waiting'
    assert 'waiting for the destination' in pm('apply').stderr
    lab.cable('ids0', lab.sensor, '02:00:00:00:ff:01')
    assert pm.changes('apply') == 1
    there = frame(a, b)
    assert seen(lab, lambda: a.send([there]), 1) == {there: 1}
    assert 'nothing to do' in pm('apply').stdout


def test_concurrent_invocations_take_turns(lab, pm):
    before = lab.host.state()
    running = [pm.popen('add', f's{i}', '--from', f'port:vnet{1 + i % 2}', '--to', 'port:ids0',
                        '--filter', f'udp port {i + 1}', stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE) for i in range(12)]
    for process in running:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
    assert [s['state'] for s in pm.json('list')] == ['whole'] * 12
    running = [pm.popen('rm', f's{i}', stdout=subprocess.PIPE, stderr=subprocess.PIPE)
               for i in range(12)]
    assert [process.communicate(timeout=60) and process.returncode for process in running] == [0] * 12
    assert pm.json('list') == [] and lab.host.back_to(before)


def test_filters_share_what_takes_long_to_close(lab, pm, tmp_path):
    """A packet socket, by which libpcap learns what lo can do: for each, the kernel waits."""
    for i in range(3):
        pm('add', f's{i}', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', f'udp port {i + 1}')
    lab.host.run('strace', '-f', '-e', 'trace=socket', '-o', tmp_path / 'log', *pm.command('list'),
                 env={**os.environ, **pm.env, 'ASAN_OPTIONS': 'detect_leaks=0'})
    assert (tmp_path / 'log').read_text().count('(AF_PACKET') == 1


def test_names_are_taken_once(lab, pm):
    arguments = ['add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0']
    pm(*arguments)
    state = lab.host.state()
    assert 'portmirror rm ids' in pm(*arguments, status=1).stderr
    assert lab.host.state() == state


@pytest.mark.parametrize('arguments, words', [
    (['a/b', '--from', 'port:vnet1', '--to', 'port:ids0'], 'a/b'),
    (['a\tb', '--from', 'port:vnet1', '--to', 'port:ids0'], r'a\x09b'),
    (['', '--from', 'port:vnet1', '--to', 'port:ids0'], 'name'),
    (['.hidden', '--from', 'port:vnet1', '--to', 'port:ids0'], '.hidden'),
    (['x' * 64, '--from', 'port:vnet1', '--to', 'port:ids0'], '63'),
    (['ids', '--from', 'vnet1', '--to', 'port:ids0'], 'port:vnet1'),
    (['ids', '--from', 'port:', '--to', 'port:ids0'], 'from'),
    (['ids', '--from', 'port:vnet1,port:vnet2', '--to', 'port:ids0'], 'several selectors: give each by itself'),
    (['ids', '--from', 'vm:web1,vm:db1', '--to', 'port:ids0'], 'several selectors: give each by itself'),
    (['ids', '--from', 'port:vnet1'], '--to is missing'),
    (['ids', '--to', 'port:ids0'], '--from is missing'),
    (['ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--direction', 'up'], 'received'),
    (['ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--attach', 'tcx'], 'clsact'),
    (['ids', '--from', 'port:vnet1', '--to', 'port:vnet1'], 'loop'),
    (['ids', '--from', 'mac:02:00', '--to', 'port:ids0'], 'mac:02:00'),
    (['ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--fil', 'ip'], '--fil'),
    (['ids', 'two', '--from', 'port:vnet1', '--to', 'port:ids0'], 'two'),
    (['ids', '--from', 'port:\udcff', '--to', 'port:ids0'], 'not UTF-8'),
])
def test_wrong_usage_is_one_sentence_and_exit_status_2(lab, pm, arguments, words):
    before = lab.host.state()
    result = pm('add', *arguments, status=2)
    sentence, hint = result.stderr.rstrip('\n').split('\n')
    assert words in sentence and '--help' in hint and result.stdout == ''
    assert not list(pm.root.glob('**/*.yaml')) and lab.host.state() == before


def test_without_privilege_it_says_so(lab, pm):
    command = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all',
               '--bounding-set=-all', *map(str, pm.command('list'))]
    result = lab.host.run(*command, check=False)
    assert result.returncode == 1 and 'sudo portmirror list' in result.stderr


def test_who_is_root_may_where_capabilities_can_not_be_asked_for(lab, pm, tmp_path):
    command = ['strace', '-o', tmp_path / 'trace', '-e', 'trace=capget', '-e', 'inject=capget:error=EPERM',
               *pm.command('list')]
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}
    assert 'no session' in lab.host.run(*command, env=env).stdout
    assert 'INJECTED' in (tmp_path / 'trace').read_text()


def test_an_engine_that_nobody_knows(lab, pm):
    before = lab.host.state()
    env = {**os.environ, **pm.env, 'PORTMIRROR_ENGINE': 'steam'}
    for verb in (['list'], ['apply'], ['ports'], ['vms'], ['rm', 'ids'], ['stats'], ['bypass', 'ids']):
        result = pm(*verb, status=1, env=env)
        assert result.stderr.startswith('portmirror: PORTMIRROR_ENGINE: ') and result.stderr.count('\n') == 1
        assert '"steam"' in result.stderr and lab.host.state() == before


# Which of the files it reads is a folder instead, or which folder a file.
@pytest.mark.engine('tc')
@pytest.mark.parametrize('spoilt, verbs', [
    ('etc/portmirror/sessions.d', [['list'], ['show', 'ids'], ['export'], ['stats'], ['stats', '-w'], ['doctor'],
                                   ['check', 'ids'], ['tc', 'ids'], ['apply'], ['bypass', 'ids'], ['rm', '--all']]),
    ('run/portmirror/undo.json', [['list'], ['doctor'], ['check', 'ids'], ['tc', 'ids'], ['apply', '--dry-run'],
                                  ['apply'], ['bypass', 'ids'], ['rm', '--all']]),
    ('run/portmirror', [['apply'], ['rm', '--all'], ['add', 'two', '--from', 'port:vnet1', '--to', 'port:ids0']]),
    ('run/portmirror/events', [['events'], ['events', '--json'], ['events', '-w']]),
])
def test_what_can_not_be_read_is_told_in_one_sentence(lab, pm, spoilt, verbs):
    path = pm.root / spoilt
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text('')
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    before = lab.host.state()
    for verb in verbs:
        result = pm(*verb, status=1)
        assert str(path) in result.stderr and result.stderr.count('\n') == 1, f'{verb}: {result.stderr}'
        assert result.stderr.startswith('portmirror: ') and lab.host.state() == before
    if spoilt == 'run/portmirror/undo.json':
        assert (pm.sessions / 'ids.yaml').exists(), 'it is forgotten'
        path.rmdir()
        pm('rm', 'ids')


@pytest.mark.engine('tc')
def test_a_boot_that_has_no_name(lab, pm, tmp_path):
    """Without it nobody could tell whether what was noted is of this boot."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    before = lab.host.state()
    (tmp_path / 'short').write_text('1234\n')
    result = lab.host.run('unshare', '--mount', 'sh', '-c',
                          f'mount --bind {tmp_path}/short /proc/sys/kernel/random/boot_id && exec "$@"', 'sh',
                          *map(str, pm.command('rm', 'ids')), check=False, env={**os.environ, **pm.env})
    assert result.returncode == 1
    assert result.stderr == 'portmirror: /proc/sys/kernel/random/boot_id is too short\n'
    assert lab.host.state() == before and (pm.sessions / 'ids.yaml').exists()


@pytest.mark.engine('tc')
@pytest.mark.parametrize('most, arguments, words', [
    (4, ['stats', '-w', '--json'], "can't watch"),
    (4, ['events', '-w'], "can't watch"),
    (5, ['events', '-w'], 'run/portmirror/events'),  # once it watches
    (4, ['rm', '--all'], "can't open the lock"),
])
def test_too_few_descriptors(lab, pm, most, arguments, words):
    pm('apply')
    command = ['prlimit', f'--nofile={most}', *map(str, pm.command(*arguments))]
    result = lab.host.run(*command, check=False, env={**os.environ, **pm.env})
    assert result.returncode == 1 and words in result.stderr and result.stderr.count('\n') == 1
    assert result.stderr.endswith(': Too many open files\n') and result.stdout == ''


def test_rm_wants_names_or_all(lab, pm):
    assert 'name the sessions to remove, or say --all' in pm('rm', status=2).stderr
    assert 'either names or --all' in pm('rm', 'ids', '--all', status=2).stderr


@pytest.mark.engine('tc')
@pytest.mark.parametrize('arguments, done', [(['apply'], 'remove the qdisc clsact from vnet1\n'),
                                             (['rm', 'ids'], '1 session removed\n')])
def test_what_the_kernel_refuses_another_session_is_told(lab, pm, arguments, done):
    """All else is done, and told, all the same."""
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    (pm.sessions / 'two.yaml').write_text('from: port:vnet2\nto: port:ids0\n')
    if arguments == ['apply']:
        (pm.sessions / 'ids.yaml').unlink()
    result = pm(*arguments, status=1, env=pm.preloaded('lacks', LACKS='mirred'))
    assert 'the kernel refuses to make action' in result.stderr and result.stderr.count('\n') == 1
    assert done in result.stdout
    pm('rm', 'two')
    assert lab.host.back_to(before)


def test_results_that_cannot_be_written_are_an_error(lab, pm):
    """Also where they don't wait for the end, being more than a page."""
    def fails(*arguments):
        with open('/dev/full', 'w') as full:
            process = pm.popen(*arguments, stdout=full, stderr=subprocess.PIPE)
            assert process.wait(30) == 1
            told = process.stderr.read()
            assert told.startswith("portmirror: can't write the output") and told.count('\n') == 1
            return told

    assert fails('list').endswith(': No space left on device\n')
    fails('list', '--json')
    pm.sessions.mkdir(parents=True, exist_ok=True)
    for name in 'abcdefghijklmnopqrstuvwxyz':
        (pm.sessions / f'{name}.yaml').write_text('from: port:none\nto: port:ids0\n')
    fails('list', '--json')
    fails('stats', '-w', '0.1', '--json')
    fails('stats', '-w', '0.1')


def watches(pid):
    """Whether the process has an inotify watch."""
    try:
        return any('inotify wd' in info.read_text() for info in pathlib.Path(f'/proc/{pid}/fdinfo').iterdir())
    except FileNotFoundError:  # one that it has just closed
        return False


@pytest.mark.engine('tc')
def test_without_events_it_says_so(lab, pm):
    assert pm('events').stdout == 'no event since the last boot: portmirrord has not run\n'
    assert pm.json('events') == []


@pytest.mark.engine('bpf')
def test_a_watch_follows_numbers_that_begin_anew(lab, pm, wait_until, tmp_path):
    """Somebody removes the file; portmirrord starts anew, and counts from 1."""
    def event(number, time, text):
        return json.dumps({'number': number, 'time': time, 'kind': 'started', 'session': '', 'text': text}) + '\n'
    events = pm.root / 'run/portmirror/events'
    events.parent.mkdir(parents=True)
    events.write_text(''.join(event(i, 1700000000000 + i, f'old {i}') for i in range(1, 10)))
    said = tmp_path / 'said'
    with open(said, 'w') as out, pm.popen('events', '-w', '--json', stdout=out) as process:
        wait_until(lambda: 'old 9' in said.read_text())
        events.unlink()
        events.write_text(event(1, 1800000000000, 'new 1'))
        wait_until(lambda: 'new 1' in said.read_text())
        with open(events, 'a') as file:
            file.write(event(2, 1800000000001, 'new 2'))
        wait_until(lambda: 'new 2' in said.read_text())
        process.terminate()
    numbers = [json.loads(line)['number'] for line in said.read_text().splitlines()]
    assert numbers == [*range(1, 10), 1, 2]


@pytest.mark.engine('tc')
@pytest.mark.parametrize('before', [True, False])
def test_events_that_can_not_be_written_end_the_watch(lab, pm, wait_until, before):
    """Those of before, or one that comes."""
    events, event = pm.root / 'run/portmirror/events', '{"number": 1, "time": 1700000000, "kind": "started", "text": "on"}\n'
    pm('apply')
    events.write_text(event if before else '')
    with open('/dev/full', 'w') as full:
        process = pm.popen('events', '-w', stdout=full, stderr=subprocess.PIPE)
        if not before:
            wait_until(lambda: watches(process.pid))
            events.write_text(event)
        assert process.wait(30) == 1
        assert process.stderr.read() == "portmirror: can't write the output: No space left on device\n"


@pytest.mark.engine('bpf')
def test_what_a_session_before_has_left_and_stays_is_told(lab, pm, tmp_path):
    """The new one is saved, and apply does the rest. (The first thing that is removed is of the new one's own.)"""
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    (pm.sessions / 'ids.yaml').unlink()
    command = ['strace', '-o', tmp_path / 'trace', '-e', 'trace=unlink', '-e',
               'inject=unlink:error=EPERM:when=2+',
               *pm.command('add', 'two', '--from', 'port:vnet2', '--to', 'port:ids0')]
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}
    result = lab.host.run(*command, check=False, env=env)
    assert result.returncode == 1 and 'Operation not permitted' in result.stderr, result.stderr
    assert result.stderr.count('\n') == 1 and result.stdout == ''
    assert 'portmirror apply mends it' in pm.json('show', 'two')['reasons'][0]
    pm('apply')
    assert pm.json('show', 'two')['state'] == 'whole'
    pm('rm', 'two')
    assert lab.host.back_to(before)


def test_ports(lab, pm):
    ports = {port['name']: port for port in pm.json('ports')}
    assert ports['vnet1']['bridge'] == 'br0' and ports['vnet1']['state'] == 'up'
    assert 'lo' not in ports and 'vnet1' in pm('ports').stdout


@pytest.mark.parametrize('name', [b'd\xff', b'd\xff2345678901\xc3\xa9'])
def test_devices_of_any_name(lab, pm, name):
    """The kernel takes all bytes but a few (dev_valid_name()); no output may fail for them."""
    lab.host.inside(lambda: subprocess.run([b'ip', b'link', b'add', name, b'type', b'veth'], check=True))
    told = [port['name'] for port in pm.json('ports') if port['name'].startswith('d')]
    assert len(told) == 1 and told[0].startswith('d?') and told[0] in pm('ports').stdout
    pm('add', 'ids', '--from', 'port:d*', '--to', 'port:ids0')
    assert pm.json('show', 'ids')['ports'] == told
    script = pm('tc', 'ids').stdout
    for verb in (['list'], ['vms'], ['export'], ['doctor'], ['apply'], ['rm', 'ids']):
        json.loads(pm(*verb, '--json', status=None).stdout)
    lab.host.run('sh', '-e', stdin=script)


def test_json_of_every_verb_that_has_it(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    for verb in (['list'], ['show', 'ids'], ['ports'], ['vms'], ['export'], ['apply'],
                 ['apply', '--dry-run'], ['rm', 'ids', '--dry-run'], ['rm', 'ids']):
        json.loads(pm(*verb, '--json').stdout)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_half_done(lab, pm, number):
    """Whenever it comes, the session is there whole, or not at all."""
    before = lab.host.state()
    for delay in spread(range(12)):
        process = pm.popen('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0',
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(delay / 1000)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode in (0, -number)
        sessions = pm.json('list')
        assert [s['state'] for s in sessions] == ['whole'] * len(sessions)
        pm('rm', '--all')
        assert lab.host.back_to(before)


def test_waiting_for_another_can_be_interrupted(lab, pm, wait_until):
    pm('apply')  # makes the lock's file
    with open(pm.root / 'run/portmirror/lock') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        process = pm.popen('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0',
                           stderr=subprocess.PIPE)
        assert 'waiting for another portmirror' in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.stderr.close()
        assert process.wait(10) == -signal.SIGINT
    assert pm.json('list') == []


def test_rm_leaves_no_session_of_the_same_name(lab, pm):
    """A configuration manager has brought one for good of which there was one for this boot only."""
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--runtime')
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet2\nto: port:ids0\n')
    pm('apply')
    assert [s['ports'] for s in pm.json('list')] == [['vnet2']]
    pm('rm', 'ids')
    assert pm.json('list') == [] and pm.json('apply')['done'] == []
    assert lab.host.back_to(before)


@pytest.mark.engine('tc')
def test_what_is_noted_is_kept_apart_by_network_namespace(lab, pm):
    """Used in another one, with the same folder, it doesn't forget what is to be put back in this one."""
    before = lab.host.state()
    lab.host.ip('link set vnet2 type bridge_slave learning off')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:vnet2', '--isolate')
    other = Portmirror(lab.sensor, pm.root, pm.engine)
    lab.sensor.ip('link add look0 type veth peer name look1')
    there = lab.sensor.state()
    other('add', 'look', '--from', 'port:eth0', '--to', 'port:look0')
    pm('rm', 'ids')
    lab.host.ip('link set vnet2 type bridge_slave learning on')
    assert lab.host.back_to(before)
    other('rm', 'look')
    assert lab.sensor.back_to(there)
    assert not (pm.root / 'run/portmirror/undo.json').exists()
