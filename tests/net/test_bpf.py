# SPDX-License-Identifier: MIT
"""What only the engine bpf can, and what it does without."""
import collections
import contextlib
import ctypes
import errno
import itertools
import json
import os
import pathlib
import pty
import re
import socket
import struct
import subprocess
import sys
import time

import pytest

from conftest import BUILD
from lab import bulk, ethernet, frames_of_every_kind, ipv4
from tcx import bpf
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / 'preload'))
from faults import Faults  # noqa: E402  pylint: disable=wrong-import-position

pytestmark = pytest.mark.engine('bpf', 'clsact')


@pytest.fixture
def sensors(lab):
    """Makes so many sensors beside the lab's own: a device ids1, ids2, … each, and its other end."""
    def make(count):
        for n in range(1, count + 1):
            lab.host.ip(f'link add ids{n} type veth peer name seen{n}', f'link set ids{n} up',
                        f'link set seen{n} up')
        return [f'ids{n}' for n in range(1, count + 1)]
    return make


@contextlib.contextmanager
def captures(lab, count):
    """The lab's sensor, and so many of those beside it."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(lab.sensor.capture())] + [
            stack.enter_context(lab.host.capture(f'seen{n}')) for n in range(1, count + 1)]


def to(*devices):
    return [word for device in devices for word in ('--to', f'port:{device}')]


def numbered(lab, count, size=100):
    a, b = lab.machines[:2]
    return [ethernet(b.mac, a.mac, 0x88b5, struct.pack('!I', i).ljust(size - 14, b'.'))
            for i in range(count)]


def udp(sender, receiver, port, to_port=53, text=b'?', kind=0x0800, tags=(), fragment=0):
    """A datagram; fragment: the IPv4 header's flags and offset."""
    data = struct.pack('!HHHH', port, to_port, 8 + len(text), 0) + text
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 20 + len(data), 7, fragment, 64,
                       socket.IPPROTO_UDP, 0, socket.inet_aton(sender.ipv4),
                       socket.inet_aton(receiver.ipv4))
    return ethernet(receiver.mac, sender.mac, kind, head + data, *tags)


def copied(pm, name='ids'):
    """The session's counters."""
    return next(s for s in pm.json('stats') if s['name'] == name)


@pytest.mark.engine('bpf')
def test_no_qdisc_is_touched_and_foreign_filters_go_on(lab, pm):
    a, b = lab.machines
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up',
                'link set other1 up')
    lab.host.tc('qdisc add dev vnet1 root handle 1: htb', 'qdisc add dev vnet1 ingress',
                'filter add dev vnet1 parent ffff: protocol all pref 1 u32 match u32 0 0 '
                'action mirred egress mirror dev other0')
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    state = lab.host.state()
    assert state.pop('pins') and state == {key: value for key, value in before.items()
                                           if key != 'pins'}
    frames = frames_of_every_kind(a, b)
    with lab.sensor.capture() as ours, lab.host.capture('other1') as theirs:
        a.send(frames.values())
        once = collections.Counter(frames.values())
        assert ours.counts(len(frames)) == once and theirs.counts(len(frames)) == once
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.engine('clsact')
def test_without_tcx_foreign_filters_go_on(lab, pm):
    """In front of ours, and behind it: there one takes away what is copied all the same."""
    a, b = lab.machines
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up',
                'link set other1 up', 'link add gone0 type veth peer name gone1',
                'link set gone0 up', 'link set gone1 up')
    lab.host.tc('qdisc add dev vnet1 root handle 1: htb', 'qdisc add dev vnet1 clsact',
                'filter add dev vnet1 ingress protocol all pref 1 u32 match u32 0 0 '
                'action mirred egress mirror dev other0 continue',
                'filter add dev vnet1 ingress protocol ip pref 9 u32 match u32 0 0 '
                'action mirred egress redirect dev gone0')
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    assert [q['dev'] for q in lab.host.json('tc', '-j', 'qdisc', 'show')
            if q['kind'] == 'clsact'] == ['vnet1', 'vnet2']
    frames = frames_of_every_kind(a, b)
    taken = [f for f in frames.values() if f[12:14] == b'\x08\x00']
    passed = collections.Counter(frames.values()) - collections.Counter(taken)
    with lab.sensor.capture() as ours, lab.host.capture('other1') as theirs, b.capture() as own:
        a.send(frames.values())
        once = collections.Counter(frames.values())
        assert ours.counts(len(frames)) == once and theirs.counts(len(frames)) == once
        assert taken and own.counts(passed.total()) == passed
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.engine('clsact')
def test_without_tcx_another_qdisc_may_be_in_the_way(lab, pm):
    a, b = lab.machines
    lab.host.tc('qdisc add dev vnet1 ingress')
    before = lab.host.state()
    add = ['add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0']
    refusal = pm(*add, status=1).stderr
    assert refusal.count('\n') == 1 and 'nothing was changed' in refusal
    assert ("vnet1 can't be mirrored by the engine bpf without tcx (Linux 6.6): another qdisc is where "
            "clsact would be; the engine tc goes along with that") in refusal
    assert lab.host.back_to(before)
    pm('add', 'tc', '--engine', 'tc', '--from', 'port:vnet1', '--to', 'port:ids0')
    pm('apply', '-', stdin='name: ids\nengine: bpf\nfrom: bridge:br0\nto: port:ids0\n', status=None)
    shown = {name: pm.json('show', name) for name in ('ids', 'tc')}
    assert [shown[name]['state'] for name in shown] == ['partial', 'whole']
    doubled, hindered = shown['ids']['reasons']
    assert doubled.startswith('frames that tc copies there too, by the engine tc, arrive twice')
    assert 'vnet1' in hindered
    frame, = numbered(lab, 1)
    with lab.sensor.capture() as copies:
        b.send([frame])
        assert copies.counts(1)[frame] >= 1  # (two engines know nothing of each other's copies)
    pm('rm', 'tc')
    lab.host.tc('qdisc del dev vnet1 ingress')
    pm('apply')
    assert pm.json('show', 'ids')['state'] == 'whole'
    with lab.sensor.capture() as copies:
        a.send([frame])
        assert copies.counts(1) == {frame: 1}


@pytest.mark.engine('clsact')
def test_where_copies_can_not_be_cut_there_are_none(lab, pm):
    lab.host.tc('qdisc add dev ids0 ingress')
    before = lab.host.state()
    refusal = pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--snap', '96',
                 status=1).stderr
    assert "copies can't be shortened at ids0" in refusal and refusal.count('\n') == 1
    assert lab.host.back_to(before)


def test_where_the_program_that_cuts_is_refused(lab, pm, sensors, tmp_path):
    """All sessions' copies are cut by one: none is made before it is there, at the second try."""
    other, = sensors(1)
    before = lab.host.state()
    for name, device in (('one', 'ids0'), ('two', other)):
        pm('add', name, '--from', 'port:vnet1', *to(device), '--snap', '96')
    text = pm('export').stdout
    pm('rm', '--all')
    (tmp_path / 'both.yaml').write_text(text)
    faults = Faults(tmp_path, BUILD / 'tests/preload/fail_alloc.so')
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': 'detect_leaks=0:verify_asan_link_order=0'}
    apply = pm.command('apply', tmp_path / 'both.yaml', '--json')
    lab.host.run(*faults.watched(apply), env=env)
    pm('rm', '--all')
    calls = faults.steps()['bpf']
    loaded, = (number for number, call in calls.items() if 'prog_name="cut_copy"' in call)
    refused = min(number for number, call in calls.items() if number > loaded and 'BPF_OBJ_PIN' in call)
    result = lab.host.run(*faults.failing(apply, 'bpf', refused, error='EPERM'), env=env)
    done = [op['text'] for op in json.loads(result.stdout)['done']]
    assert done.index('load the program that shortens copies') < min(
        number for number, text in enumerate(done) if ' on vnet1 ' in text)
    assert 'nothing to do' in pm('apply').stdout
    pm('rm', '--all')
    assert lab.host.back_to(before)


def test_a_session_whose_file_somebody_has_removed(lab, pm):
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    (pm.sessions / 'ids.yaml').unlink()
    assert 'no session named other' in pm('rm', 'other', status=1).stderr
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.engine('clsact')
def test_more_filters_than_a_process_may_have_descriptors(lab, pm):
    lab.host.ip(*(line for i in range(30) for line in (
        f'link add d{i} type veth peer name e{i}', f'link set d{i} master br0')))
    before = lab.host.state()
    pm.namespace.run('prlimit', '--nofile=32', *pm.command('add', 'ids', '--from', 'bridge:br0',
                                                          '--to', 'port:ids0'),
                     env={**os.environ, **pm.env})
    assert len(pm.json('show', 'ids')['ports']) == 32 and 'nothing to do' in pm('apply').stdout
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.ordinary  # (test_crash.py says why)
def test_killed_while_copies_are_to_be_cut(lab, pm):
    """No frame is ever copied whole."""
    a, b = lab.machines
    before = lab.host.state()
    add = ['add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--snap', '96']
    count = pm.changes(*add)
    removal = pm.changes('rm', 'ids')
    assert lab.host.back_to(before)
    frame, = numbered(lab, 1)

    def copies(least):
        with lab.sensor.capture() as seen:
            a.send([frame])
            assert seen.counts(least, timeout=0.1) in ({frame[:96]: 1}, {})[:2 - least]

    for at in pm.moments(count):
        pm.kill_at(at, *add)
        copies(0)
        pm('apply')
        copies(1)
        assert 'nothing to do' in pm('apply').stdout
        pm.kill_at(min(at, removal), 'rm', 'ids')
        copies(0)
        pm('apply')
        assert lab.host.back_to(before), at


def test_the_engine_of_a_session(lab, pm):
    before = lab.host.state()
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--engine', 'tc')
    assert pm.json('show', 'ids')['by'] == 'tc' and not pm.pins('*')
    text = pm('export', 'ids').stdout
    assert 'engine: tc' in text
    pm('apply', '-', stdin=text.replace('tc', 'bpf'))
    shown = pm.json('show', 'ids')
    assert (shown['by'], shown['engine'], shown['state']) == ('bpf', 'bpf', 'whole')
    assert (lab.host.tc('qdisc show').stdout == before['qdisc']) == pm.by_tcx
    frames = numbered(lab, 3)
    with lab.sensor.capture() as sensor:
        lab.machines[0].send(frames)
        assert sensor.counts(3) == collections.Counter(frames)
    pm('apply', '-', stdin=text)
    assert not pm.pins('*') and 'nothing to do' in pm('apply').stdout
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_tc_prints_how_tc_would_do_it(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    commands = pm.json('tc', 'ids')['commands']
    assert any('mirred egress mirror dev ids0' in command for command in commands)
    pm('rm', 'ids')
    lab.host.run('sh', '-e', stdin='\n'.join(commands))
    frames = numbered(lab, 2)
    with lab.sensor.capture() as copies:
        lab.machines[0].send(frames)
        assert copies.counts(2) == collections.Counter(frames)
    pm('add', 'few', '--from', 'port:vnet2', '--to', 'port:ids0', '--sample', '9')
    refusal = pm('tc', 'few', status=1).stderr
    assert 'no command of tc can do (sample)' in refusal and refusal.count('\n') == 1


def test_snap_cuts_the_copy_only(lab, pm):
    a, b = lab.machines
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0', '--snap', '96')
    frames = frames_of_every_kind(a, b)
    with lab.sensor.capture() as copies, b.capture() as own:
        a.send(frames.values())
        assert own.counts(len(frames)) == collections.Counter(frames.values())
        cut = [frame[:96] for frame in frames.values()]
        assert copies.counts(len(frames)) == collections.Counter(cut)
    assert copied(pm)['copied'] == {'frames': len(frames), 'bytes': sum(map(len, cut))}
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_snap_of_super_frames_and_of_two_sessions(lab, pm):
    a, b = lab.machines
    pm('add', 'short', '--from', 'port:vnet1', '--to', 'port:ids0', '--snap', '128')
    pm('add', 'whole', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', 'ether proto 0x88b5')
    with lab.sensor.capture() as copies:
        size, _ = bulk(a, b, 0.2)
        seen = copies.frames(20)
    assert size > 1 << 20 and max(map(len, seen)) == 128
    frame, = numbered(lab, 1, 1000)
    with lab.sensor.capture() as copies:
        a.send([frame])
        assert copies.counts(2) == {frame: 1, frame[:128]: 1}


def test_sample_takes_one_in_n_each_frame_once(lab, pm):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0', '--sample', '10')
    frames = numbered(lab, 4000)
    with lab.sensor.capture() as copies, b.capture() as own:
        a.send(frames)
        assert len(own.frames(len(frames))) == len(frames)
        seen = copies.counts(300)
    # 400 expected, with a standard deviation of 19: beyond 8 of those once in 10^15 times. Looked at
    # twice, where they enter and where they leave, it would be twice as many.
    assert 250 < seen.total() < 550 and set(seen.values()) == {1}
    assert copied(pm)['copied']['frames'] == seen.total()


def test_sample_flows_takes_whole_conversations(lab, pm):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--sample', '4', '--sample-flows')
    flows = [(udp(a, b, port), udp(b, a, 53, port)) for port in range(2000, 2400)]
    with lab.sensor.capture() as copies:
        a.send([there for there, _ in flows])
        b.send([back for _, back in flows])
        seen = copies.counts(150)
    taken = [there in seen for there, _ in flows]
    assert taken == [back in seen for _, back in flows]
    assert 50 < sum(taken) < 160  # 100 of 400, with a standard deviation of 9
    assert set(seen.values()) == {1}


def test_rate_sheds_copies_and_nothing_else(lab, pm):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--rate', '1')
    frames = numbered(lab, 500, 1000)
    with lab.sensor.capture() as copies, b.capture() as own:
        a.send(frames)
        assert own.counts(len(frames)) == collections.Counter(frames)
        seen = copies.counts(60)
    stats = copied(pm)
    assert stats['copied']['frames'] == seen.total()
    assert stats['copied']['frames'] + stats['shed'] == len(frames)
    assert pm('stats').stdout.splitlines()[1].split()[-1] == str(stats['shed'])
    # A burst of 64 KiB, and a frame for each 8 ms that sending took.
    assert 65 <= seen.total() < 400 and stats['lost_before'] == 0


def test_each_of_several_destinations_gets_each_frame_once(lab, pm, sensors):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', *to('ids0', *sensors(2)))
    assert pm.json('show', 'ids')['destinations'] == ['ids0', 'ids1', 'ids2']
    frames = frames_of_every_kind(a, b)
    with captures(lab, 2) as seen:
        a.send(frames.values())
        for one in seen:
            assert one.counts(len(frames)) == collections.Counter(frames.values())
    assert copied(pm)['copied']['frames'] == 3 * len(frames)
    lab.host.ip('link del ids2')
    shown = pm.json('show', 'ids')
    assert shown['state'] == 'partial' and 'port:ids2' in shown['reasons'][0]
    pm('apply', status=None)
    with lab.sensor.capture() as one:
        a.send(frames.values())
        assert one.counts(len(frames)) == collections.Counter(frames.values())
    pm('rm', 'ids')
    assert not pm.pins('*')


def owners(lab, count, frames, send):
    """Which of the sensors got each frame; each must have been copied once in all."""
    with captures(lab, count) as seen:
        send()
        end = time.monotonic() + 5
        while sum(map(collections.Counter.total, by := [one.counts() for one in seen])) < len(frames):
            assert time.monotonic() < end, by
    assert sum(by, collections.Counter()) == collections.Counter(frames)
    return {frame: next(i for i, counts in enumerate(by) if frame in counts) for frame in frames}


def test_balance_keeps_conversations_together_and_moves_few(lab, pm, sensors):
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', *to('ids0', *sensors(2)), '--balance')
    flows = [(udp(a, b, port), udp(b, a, 53, port)) for port in range(3000, 3300)]
    there, back = [f for f, _ in flows], [f for _, f in flows]

    def where(count):
        return owners(lab, count, there + back, lambda: (a.send(there), b.send(back)))

    first = where(2)
    assert all(first[x] == first[y] for x, y in flows)
    share = collections.Counter(first[x] for x in there)
    assert all(60 < share[i] < 140 for i in range(3)), share  # 100 each
    lab.host.ip('link del ids2')
    pm('apply', status=None)
    second = where(1)
    assert all(second[x] == first[x] for x in there if first[x] != 2), 'a flow was moved needlessly'
    assert {second[x] for x in there if first[x] == 2} == {0, 1}


def test_balance_goes_by_what_both_directions_have_in_common(lab, pm, sensors):
    """Tags, fragments and tunnels: pairs of frames, the second a fragment or an answer of the first."""
    a, b = lab.machines
    pm('add', 'ids', '--from', 'port:vnet1', *to('ids0', *sensors(1)), '--balance')
    for n in range(12):
        pairs = [
            (udp(a, b, 4000 + n, tags=[(0x8100, 7)]), udp(b, a, 53, 4000 + n, tags=[(0x8100, 7)])),
            (udp(a, b, 5000 + n, fragment=0x2000), udp(a, b, 9, 9, fragment=0x0010)),
            (udp(a, b, 6000 + n, 4789), udp(b, a, 7000 + 3 * n, 4789)),
            (ethernet(b.mac, a.mac, 0x88b5, bytes([n])), ethernet(a.mac, b.mac, 0x88b5, bytes([n]))),
        ]
        frames = [frame for pair in pairs for frame in pair]
        by = owners(lab, 1, frames, lambda: (
            a.send([f for f in frames if f[6:12] == frames[0][6:12]]),
            b.send([f for f in frames if f[6:12] != frames[0][6:12]])))
        assert all(by[x] == by[y] for x, y in pairs)


def test_a_session_that_leaves_something_out_takes_nothing_from_others(lab, pm):
    a, _ = lab.machines
    pm('add', 'all', '--from', 'bridge:br0', '--to', 'port:ids0')
    pm('add', 'few', '--from', 'bridge:br0', '--to', 'port:ids0', '--sample', '1000000')
    frames = numbered(lab, 200)
    with lab.sensor.capture() as copies:
        a.send(frames)
        assert copies.counts(200) == collections.Counter(frames)


@pytest.mark.parametrize('options, words', [
    (['--snap', '63'], 'from 64 to 65535'), (['--sample', '1'], 'from 2 to 1000000'),
    (['--rate', '0'], 'from 1 to 1000000'), (['--engine', 'ebpf'], 'auto, tc or bpf'),
    (['--sample-flows'], 'sample is missing'), (['--balance'], 'at least two destinations'),
    (['--engine', 'tc', '--snap', '100'], "tc can't do what is asked for (snap)"),
    (['--to', 'port:ids0'], 'is there already'),
])
def test_wrong_usage(lab, pm, options, words):
    result = pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', *options, status=2)
    assert words in result.stderr and not pm.pins('*')


def hindered(pm, how, *arguments):
    """Runs it where eBPF can't be had."""
    enter = {'no bpffs': ['unshare', '--mount', 'sh', '-c',
                          'while umount /sys/fs/bpf 2>/dev/null; do :; done; exec "$@"', 'sh'],
             'locked down': ['setpriv', '--bounding-set', '-bpf,-sys_admin', '--inh-caps', '-all']}
    return pm.namespace.run(*enter[how], *pm.command(*arguments), check=False,
                            env={**os.environ, **pm.env})


@pytest.mark.parametrize('how, words', [('no bpffs', 'mount -t bpf -o mode=700 bpf /sys/fs/bpf'),
                                        ('locked down', 'BPF is locked down')])
def test_where_it_cannot_be_had(lab, pm, how, words):
    """Asked for by name it fails with a sentence; otherwise tc does it, with a note."""
    before = lab.host.state()
    add = ['add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0']
    for only in (['--engine', 'bpf'], ['--snap', '100']):
        result = hindered(pm, how, *add, *only)
        assert result.returncode == 1 and words in result.stderr, result
        assert 'nothing was changed' in result.stderr and result.stderr.count('\n') == 1
        assert lab.host.back_to(before)
    if pm.engine == 'clsact':
        return  # what isn't asked for by name tc does anyway
    result = hindered(pm, how, *add)
    assert result.returncode == 0 and words in result.stderr and 'ids: whole' in result.stdout
    assert not pm.pins('*')
    frames = numbered(lab, 3)
    with lab.sensor.capture() as copies:
        lab.machines[0].send(frames)
        assert copies.counts(3) == collections.Counter(frames)
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@pytest.mark.engine('bpf')
@pytest.mark.ordinary  # (LeakSanitizer can't look while strace does)
def test_what_takes_long_tells_how_far_it_is(lab, pm, tmp_path):
    """As links at tcx do on a busy host. Only on a terminal; and all of it is taken away again."""
    slowly = ['strace', '-qq', '-o', tmp_path / 'trace', '-e', 'inject=bpf,unlink,unlinkat:delay_enter=20000']
    for arguments in (('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0'), ('rm', 'ids')):
        master, slave = pty.openpty()
        with lab.host.popen(*slowly, *pm.command(*arguments), env={**os.environ, **pm.env}, stderr=slave,
                            stdout=subprocess.PIPE) as process:
            os.close(slave)
            said = b''
            with contextlib.suppress(OSError):  # its end
                while data := os.read(master, 4096):
                    said += data
            assert process.wait(60) == 0
        os.close(master)
        assert re.search(rb'\d+ of \d+ changes in the kernel are done', said), said
        assert said.split(b'\r\x1b[K')[-1] == b''
        assert pm.json('list') == [] or pm('show', 'ids').stderr == ''


@pytest.mark.engine('bpf', 'clsact')
@pytest.mark.parametrize('verb', ['add', 'rm'])
def test_somebody_else_removes_the_pins(lab, pm, verb):
    """Before each of the changes: what comes of that is told, and the next time all is whole, or gone."""
    add = ['add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--snap', '96', '--engine', 'bpf']
    before, own = lab.host.state(), [] if verb == 'add' else add
    if own:
        pm(*own)
    count = pm.changes(*(add if verb == 'add' else ['rm', 'ids']))
    pm('rm', '--all')
    for number in pm.moments(count):
        if own:
            pm(*own)
        meanwhile = pm.preloaded(KILL_AT=str(number),
                                 MEANWHILE='cd /sys/fs/bpf/portmirror 2>/dev/null || exit 0; find . -type f -delete')
        done = pm(*(add if verb == 'add' else ['rm', 'ids']), env=meanwhile, status=None)
        assert done.returncode in (0, 1) and done.stderr.count('\n') == done.returncode, done.stderr
        if verb == 'add' and done.returncode == 0:
            pm('apply')
            assert pm.json('show', 'ids')['state'] == 'whole'
        pm('rm', '--all')
        assert lab.host.back_to(before)


@pytest.mark.engine('bpf', 'clsact')
def test_the_last_pin_of_another_namespace_goes_meanwhile(lab, pm):
    """And with it the folder in which ours is just being made."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--engine', 'bpf')
    removed = pm.root / 'removed'
    remove = f'rmdir /sys/fs/bpf/portmirror 2>&- && touch {removed} || :'
    for number in range(1, 4):  # (the first steps make the folders)
        pm('rm', 'ids')
        meanwhile = pm.preloaded(KILL_AT=str(number), MEANWHILE=remove)
        pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--engine', 'bpf', env=meanwhile)
        assert pm.json('show', 'ids')['state'] == 'whole'
    assert removed.exists()


BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_OBJ_GET = 1, 2, 7
PORTS = 4096  # COPY_PORTS_MAX


class PortCounters:
    """The map in which a session's programs count, port by port."""

    def __init__(self, pm, session):
        path = ctypes.create_string_buffer(os.fsencode(pm.pins(f'{session}/ports')[0]))
        self.map = bpf(BPF_OBJ_GET, ('QII', ctypes.addressof(path), 0, 0))
        cpus = pathlib.Path('/sys/devices/system/cpu/possible').read_text()
        self.cpus = int(re.findall(r'\d+', cpus)[-1]) + 1

    def fill(self, frames=0):
        """With ports that were there once, each having copied so many frames of 100 bytes on each CPU."""
        key = ctypes.create_string_buffer(8)
        value = ctypes.create_string_buffer(struct.pack('QQQQ', frames, 100 * frames, 0, 0) * self.cpus)
        for ifindex, received in itertools.product(range(100000, 100000 + PORTS), (0, 1)):
            struct.pack_into('II', key, 0, ifindex, received)
            if not self._update(key, value):
                break

    def _update(self, key, value):
        """False if it is full. The kernel fetches memory for it a little at a time (kernel/bpf/memalloc.c)."""
        while True:
            try:
                bpf(BPF_MAP_UPDATE_ELEM, ('IIQQQ', self.map, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
            except OSError as error:
                if error.errno == errno.E2BIG:
                    return False
                assert error.errno == errno.ENOMEM, error
                time.sleep(0.001)
            else:
                return True


def test_what_can_not_be_counted_is_copied(lab, pm):
    a = lab.machines[0]
    pm('add', 'ids', '--from', 'port:vnet1', '--engine', 'bpf', *to('ids0'))
    PortCounters(pm, 'ids').fill()
    sent = numbered(lab, 5)
    with lab.sensor.capture() as capture:
        a.send(sent)
        assert capture.frames(5) == sent


def test_ports_that_are_gone_leave_room_to_count_others(lab, pm, wait_until):
    """As on a host whose machines have come and gone for long. In all, none of their copies is forgotten. (A copy is
    counted once it has gone, so it may have arrived before; and not while the kernel fetches memory for its port.)"""
    a, b = lab.machines

    def copies():
        stats = pm.json('stats', 'ids')[0]
        return (stats['copied']['frames'],
                next(source for source in stats['sources'] if source['port'] == machine.port)['copies']['frames'])

    def counted():
        early = [ethernet(a.mac, machine.mac, 0x88b5, b'early')]
        with lab.sensor.capture() as capture:
            machine.send(early)
            assert capture.frames(1) == early
        time.sleep(0.1)
        return copies()[1]

    pm('add', 'ids', '--from', 'bridge:br0', '--engine', 'bpf', '--direction', 'sent', *to('ids0'))
    counters = PortCounters(pm, 'ids')
    for _ in range(2):
        counters.fill(frames=3)
        full = pm.json('stats', 'ids')[0]['copied']['frames']
        machine = lab.add_machine()
        pm('apply')
        wait_until(counted)
        before = copies()
        assert before[0] - full == before[1]
        with lab.sensor.capture() as capture:
            sent = [ethernet(a.mac, machine.mac, 0x88b5, b'%d' % i) for i in range(5)]
            machine.send(sent)
            assert capture.frames(5) == sent
        wait_until(lambda: copies() == (before[0] + 5, before[1] + 5))


@pytest.mark.parametrize('how', ['another name', 'another device'])
def test_what_is_no_destination_any_more_gets_nothing(lab, pm, how):
    """Its device is called otherwise, or another one has its index, as those that come from other namespaces may."""
    a = lab.machines[0]
    lab.host.ip('link add spy0 type veth peer name seen0', 'link set spy0 up', 'link set seen0 up')
    pm('add', 'ids', '--from', 'port:vnet1', '--engine', 'bpf', *to('spy0'))
    index = lab.host.json('ip', '-j', 'link', 'show', 'spy0')[0]['ifindex']
    if how == 'another name':
        lab.host.ip('link set spy0 down', 'link set spy0 name other', 'link set other up')
    else:
        lab.host.ip('link del spy0')
        pm('apply')
        lab.host.ip(f'link add other index {index} type veth peer name seen0', 'link set other up', 'link set seen0 up')
    lab.host.wait_for_carrier('other')
    pm('apply')
    assert pm.json('show', 'ids')['state'] == 'waiting'
    with lab.host.capture('seen0') as capture:
        a.send(numbered(lab, 5))
        assert capture.frames() == []
    assert 'nothing to do' in pm('apply').stdout
    lab.host.ip('link del other', 'link add spy0 type veth peer name seen0', 'link set spy0 up', 'link set seen0 up')
    lab.host.wait_for_carrier('spy0')
    pm('apply')
    with lab.host.capture('seen0') as capture:
        a.send(numbered(lab, 5))
        assert len(capture.frames(5)) == 5


def test_a_frame_for_which_no_destination_is_there_is_lost_once(lab, pm):
    """However many ports it passes."""
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--engine', 'bpf', *to('ids0'))
    lab.host.ip('link del ids0')
    pm('apply')
    sent = numbered(lab, 5)
    with b.capture() as arrived:
        a.send(sent)
        assert arrived.frames(5) == sent
    assert pm.json('stats', 'ids')[0]['lost_before'] == 5
