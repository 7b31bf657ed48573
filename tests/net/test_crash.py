# SPDX-License-Identifier: MIT
"""Killed at any message, the next run completes it or takes it back. (Who is killed tells nothing to a sanitizer: only
the change of a session runs with one.)"""
import contextlib
import os
import threading

import pytest

from lab import BROADCAST, ethernet, ipv4

SESSIONS = {
    'one port': ['--from', 'port:vnet1', '--to', 'port:ids0'],
    'a bridge': ['--from', 'bridge:br0', '--to', 'port:ids0', '--filter', 'not arp'],
    'classic': ['--from', 'bridge:br0', '--to', 'port:ids0', '--attach', 'classic'],
    'isolated': ['--from', 'bridge:br0', '--to', 'port:vnet2', '--isolate'],
}


@pytest.fixture
def foreign(lab):
    """Something of others on a port of ours, which must never change."""
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up')
    lab.host.tc('qdisc add dev vnet2 clsact',
                'filter add dev vnet2 ingress protocol ip pref 9 u32 match u32 0 0 '
                'action mirred egress mirror dev other0 continue')


def theirs(lab):
    return lab.host.run('tc', 'filter', 'show', 'dev', 'vnet2', 'ingress', 'pref', '9').stdout


def steady(pm):
    return 'nothing to do' in pm('apply').stdout


@pytest.mark.ordinary
@pytest.mark.engine('tc', 'bpf', 'clsact')
@pytest.mark.parametrize('when', ['before', 'after'])
@pytest.mark.parametrize('session', ['one port', 'a bridge', 'isolated'])
def test_killed_while_it_adds(lab, pm, foreign, session, when):
    before, their_filter = lab.host.state(), theirs(lab)
    arguments = ['add', 'ids', *SESSIONS[session]]
    count = pm.changes(*arguments)
    whole = pm.json('list')
    pm('rm', 'ids')
    assert count >= 4 and lab.host.back_to(before)
    # bpf(2) has done all when it returns: to be killed before a call is to be killed after the last.
    last = 1 if pm.engine != 'tc' and when == 'before' else count
    for at in pm.moments(last):
        assert pm.kill_at(at, *arguments, when=when).returncode == -9
        assert theirs(lab) == their_filter
        pm('apply')
        assert pm.json('list') == whole and steady(pm), at
        pm('rm', 'ids')
        assert lab.host.back_to(before), at
        pm.kill_at(at, *arguments, when=when)
        pm('rm', 'ids')
        assert lab.host.back_to(before), at
        assert pm.engine == 'tc' or not os.path.exists('/sys/fs/bpf/portmirror')


@pytest.mark.ordinary
@pytest.mark.engine('tc', 'bpf', 'clsact')
@pytest.mark.parametrize('session', SESSIONS)
def test_killed_while_it_removes(lab, pm, session):
    before = lab.host.state()
    pm('add', 'ids', *SESSIONS[session])
    count = pm.changes('rm', 'ids')
    assert count >= 2 and lab.host.back_to(before)
    # (An action that a deleted filter still holds is asked for again: the count is not always the
    # same.)
    for at in pm.moments(count):
        pm('add', 'ids', *SESSIONS[session])
        status = pm.kill_at(at, 'rm', 'ids').returncode
        assert status == -9 or (status == 0 and at > 2)
        pm('apply')
        assert pm.json('list') == [] and lab.host.back_to(before), at


@pytest.mark.engine('tc', 'bpf', 'clsact')
@pytest.mark.lab(machines=3)
def test_killed_while_it_changes_a_session(lab, pm):
    """From one port, copied plainly, to all of a bridge, where each frame must be copied once."""
    before = lab.host.state()
    one = f'name: ids\nfrom: port:vnet1\nto: port:ids0\nengine: {pm.asked_for}\n'
    many = f'name: ids\nfrom: bridge:br0\nto: port:ids0\nengine: {pm.asked_for}\n'
    pm('apply', '-', stdin=one)
    count = pm.changes('apply', '-', stdin=many)
    a = lab.machines[0]
    for at in pm.moments(count):
        pm('apply', '-', stdin=one)
        pm.kill_at(at, 'apply', '-', stdin=many)
        frame = ethernet(BROADCAST, a.mac, 0x88b5, b'%d' % at)
        with lab.sensor.capture() as copies:
            a.send([frame])
            assert frame in copies.counts(1), 'vnet1 is mirrored before, meanwhile and after'
        pm('apply')
        with lab.sensor.capture() as copies:
            a.send([frame])
            assert copies.counts(1) == {frame: 1}
        assert steady(pm)
    pm('rm', 'ids')
    assert lab.host.back_to(before)


@contextlib.contextmanager
def traffic(a, b):
    """Meanwhile frames go from machine a to machine b, each another one: the list of them."""
    sent, over = [], threading.Event()

    def body():
        while not over.wait(0.002):
            frames = [ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, b'%d' % i))
                      for i in range(len(sent), len(sent) + 50)]
            a.send(frames)
            sent.extend(frames)

    sender = threading.Thread(target=body)
    sender.start()
    try:
        yield sent
    finally:
        over.set()
        sender.join()


@pytest.mark.ordinary
def test_no_frame_is_missing_while_sessions_come_and_go_beside(lab, pm):
    """A session under traffic, and others around it that are added, killed at each step, and removed: each frame
    of the first is copied once."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--direction', 'sent')
    other = ['add', 'two', '--from', 'port:vnet2', '--to', 'port:ids0', '--filter', 'arp']
    count = pm.changes(*other)
    pm('rm', 'two')
    with lab.sensor.capture() as copies:
        with traffic(*lab.machines) as sent:
            for at in pm.moments(count):
                pm.kill_at(at, *other)
                pm('rm', 'two', status=None)
        assert copies.counts(len(sent)) == dict.fromkeys(sent, 1)


@pytest.mark.ordinary
def test_the_machines_own_frames_all_arrive_while_sessions_change(lab, pm):
    """(Where a session needs a qdisc that isn't there, the kernel stops the port's queue for a moment
    to add it: here one session stands already.)"""
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    with b.capture() as own:
        with traffic(a, b) as sent:
            for _ in range(10):
                pm('add', 'two', '--from', 'bridge:br0', '--to', 'port:ids0', '--filter', 'arp')
                pm('rm', 'two')
        assert own.counts(len(sent)) == dict.fromkeys(sent, 1)
