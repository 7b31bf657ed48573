# SPDX-License-Identifier: MIT
"""Closed: no frame of a guarded machine gets through uninspected, whatever becomes of the session."""
import contextlib
import socket
import threading

import pytest
import yaml

from appliances import INSIDE, ONE_WAY, OUTSIDE
from lab import BROADCAST, ethernet
from test_failure import arrives, as_promised, cut, events, state, teach

SAVED = {'name': 'ips', 'mode': 'inline', 'guard': ['port:vnet1'], 'on-failure': 'closed',
         'through': [f'port:{INSIDE}', f'port:{OUTSIDE}']}


def save(pm, **changes):
    """As a configuration manager does, or as it is found after a boot: nothing of it is in the kernel."""
    pm.sessions.mkdir(parents=True, exist_ok=True)
    (pm.sessions / 'ips.yaml').write_text(yaml.safe_dump({**SAVED, **changes}))


def second_bridge(lab, *ports):
    lab.host.ip('link add br1 type bridge mcast_snooping 0 forward_delay 0', 'link set br1 up',
                *[f'link set {port} master br1' for port in ports])


def told(pm, kind, words=''):
    """What the daemon said last of the session's state, which it has carried out then."""
    states = events(pm, 'session-whole', 'session-partial', 'session-failed')
    return bool(states) and states[-1]['kind'] == kind and words in states[-1]['text']


FAULTS = {
    'on a bridge': ({}, f'link set {INSIDE} master br0', 'must be on no bridge'),
    'two devices': ({'through': ['port:ain*', f'port:{OUTSIDE}']},
                    'link add ain1 type veth peer name other1', 'means 2 devices'),
    'the same': ({'through': ['port:ain0', 'port:ain[0]']}, None, 'are the same device'),
    'a loop': ({'guard': ['port:vnet1', 'port:ain[0]']}, None, 'a loop'),
}


@pytest.mark.parametrize('failure', ['open', 'closed'])
@pytest.mark.parametrize('how', FAULTS)
def test_one_that_fails_before_anything_of_it_is_there(lab, pm, appliance, how, failure):
    appliance()
    a, b = lab.machines
    before = lab.host.state()
    changes, command, words = FAULTS[how]
    if command:
        lab.host.ip(command)
    save(pm, **{'on-failure': failure, **changes})
    said = pm('apply', status=1).stderr
    assert words in said and ('no frame gets through' in said) == (failure == 'closed')
    assert as_promised(failure, a, b)
    assert state(pm)['state'] == 'failed' and pm('check', 'ips', status=1).stderr
    if how == 'on a bridge':
        lab.host.ip(f'link set {INSIDE} nomaster')
        pm('apply')
        assert state(pm)['state'] == 'whole' and arrives(a, b, b'through it') == (1, 1)
    pm('rm', 'ips')
    assert arrives(a, b, b'straight on') == (1, 1)
    if command:
        lab.host.ip('link del ain1' if how == 'two devices' else f'link set {INSIDE} nomaster')
    assert lab.host.back_to(before)


def test_a_filter_that_means_nothing(lab, pm, appliance, daemon, wait_until):
    """A name is no address: nobody knows which frames are meant."""
    appliance()
    a, b = lab.machines
    save(pm, filter='host no.such.name.invalid')
    said = pm('apply', status=1).stderr
    assert 'has the name no.such.name.invalid' in said and 'meanwhile no frame gets through (on-failure: closed)' in said
    assert cut(a, b)
    pm('bypass', 'ips')
    assert arrives(a, b) == (1, 1) and state(pm)['state'] == 'suspended'
    assert pm('restore', 'ips', status=1).stderr.endswith('; nothing was changed\n') and arrives(a, b) == (1, 1)
    save(pm, filter='host no.such.name.invalid')
    pm('apply', status=1)
    assert cut(a, b)
    daemon()
    other = pm.sessions / 'other.yaml'
    other.write_text('name: other\n')  # so all files are read anew
    wait_until(lambda: [event for event in events(pm, 'session-failed') if event['session'] == 'other'])
    other.unlink()
    assert cut(a, b)
    save(pm, filter='ether proto 0x88b6')
    wait_until(lambda: told(pm, 'session-whole'))
    assert arrives(a, b, b'through it') == (1, 1)
    save(pm, filter='host no.such.name.invalid')  # what leads somewhere goes on
    wait_until(lambda: told(pm, 'session-failed', 'has the name'))
    assert arrives(a, b, b'still') == (1, 1)


@pytest.mark.engine(ONE_WAY)
@pytest.mark.parametrize('how', FAULTS)
def test_but_who_makes_one_is_told_and_nothing_changes(lab, pm, appliance, how):
    appliance()
    a, b = lab.machines
    changes, command, words = FAULTS[how]
    if command:
        lab.host.ip(command)
    before = lab.host.state()
    wanted = {**SAVED, **changes}
    guards = [word for guard in wanted['guard'] for word in ('--guard', guard)]
    said = pm('inline', 'ips', *guards, '--through', ','.join(wanted['through']), '--on-failure', 'closed',
              status=1).stderr
    assert words in said and said.endswith('; nothing was changed\n') and 'gets through' not in said
    assert lab.host.state() == before and arrives(a, b) == (1, 1) and pm.json('list') == []


def test_the_daemon_finds_one_that_fails(lab, pm, appliance, daemon, wait_until):
    appliance()
    a, b = lab.machines
    lab.host.ip(f'link set {INSIDE} master br0')
    save(pm)
    daemon()
    wait_until(lambda: told(pm, 'session-failed', 'no frame gets through'))
    assert cut(a, b)
    lab.host.ip(f'link set {INSIDE} nomaster')
    wait_until(lambda: told(pm, 'session-whole', f'all that it guards is led through {INSIDE} and {OUTSIDE}'))
    assert arrives(a, b, b'through it') == (1, 1)


@pytest.mark.lab(machines=4)
@pytest.mark.parametrize('kind', ['wire', 'bridge'])
def test_a_machine_that_moves_to_another_bridge(lab, pm, inline, appliance, kind):
    """With no daemon: what hangs on its port goes with it."""
    appliance()
    a, b, c, d = lab.machines
    inline('ips', 'vnet1', 'vnet2', more=('--appliance', kind))
    second_bridge(lab, 'vnet4')
    teach(lab)
    assert arrives(a, c) == arrives(b, c) == (1, 1)
    for command in ('link set vnet1 nomaster', 'link set vnet1 master br1'):
        lab.host.ip(command)
        said = pm('apply', status=1).stderr
        assert 'meanwhile no frame gets through at 1 guarded port' in said, command
        with b.capture() as at_b, d.capture() as at_d:
            assert cut(a, d, command.encode()) and cut(a, b, command.encode())
            # Nor does the one get what is for the other: the appliance joins no bridges.
            assert at_b.frames(quiet=0) == at_d.frames(quiet=0) == []
        assert arrives(b, c, command.encode()) == (1, 1)
        assert state(pm)['ports'] == ['vnet2']
    checked = pm('check', 'ips', '--seconds', 0.1)
    assert 'vnet1 is on br1' in checked.stderr and checked.stdout.splitlines()[-1].startswith('whole')
    lab.host.ip('link set vnet1 master br0')
    pm('apply')
    assert state(pm)['state'] == 'whole' and arrives(a, c, b'back') == (1, 1)


@pytest.mark.engine(ONE_WAY)
@pytest.mark.lab(machines=3)
def test_where_it_went_it_takes_no_address_along(lab, pm, inline, appliance):
    """While a frame of another machine is on its way through the appliance."""
    wire = appliance()
    a, b, c = lab.machines
    inline('ips', 'vnet1', 'vnet2')
    second_bridge(lab, 'vnet1')
    pm('apply', status=1)
    wire('delay 200')
    for text in (b'before', b'after'):
        frame = ethernet(c.mac, b.mac, 0x88b6, text)
        with c.capture() as at_c:
            b.send([frame])
            if text == b'after':
                a.send([ethernet(c.mac, b.mac, 0x88b6, b'I am b')])
            assert at_c.counts(1, timeout=1) == {frame: 1}


@pytest.mark.lab(machines=4)
def test_the_daemon_follows_it_there(lab, pm, inline, appliance, daemon, wait_until):
    appliance()
    a, b, c, d = lab.machines
    inline('ips', 'vnet1', 'vnet2')
    daemon()
    second_bridge(lab, 'vnet4')
    teach(lab)
    lab.host.ip('link set vnet1 master br1')
    wait_until(lambda: told(pm, 'session-partial', 'vnet1 is on br1, and others are on br0'))
    assert cut(a, d) and arrives(b, c) == (1, 1)
    lab.host.ip('link set vnet2 master br1')  # where it went, they go
    wait_until(lambda: told(pm, 'session-whole'))
    assert arrives(a, d, b'through it') == arrives(b, d) == (1, 1)


@contextlib.contextmanager
def stream(*frames):
    """Sends these frames, each (machine, frame), again and again."""
    over = threading.Event()

    def opened():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind(('eth0', 0))
        return sock

    def send(sockets):
        while not over.wait(0.0005):
            for sock, (_, frame) in zip(sockets, frames):
                sock.send(frame)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(machine.inside(opened)) for machine, _ in frames]
        thread = threading.Thread(target=send, args=(sockets,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.mark.lab(machines=4)
def test_while_it_changes_not_a_frame_gets_past(lab, pm, inline, appliance):
    """The appliance lets nothing through."""
    wire = appliance()
    a, _, c, d = lab.machines
    inline('ips', 'vnet1', 'vnet2')
    second_bridge(lab, 'vnet4')
    teach(lab)
    wire('drop')
    file = pm.sessions / 'ips.yaml'
    both, host = ['port:vnet1', 'port:vnet2'], lab.host.ip
    steps = [
        lambda: save(pm, guard=both, filter='not port 22'),
        lambda: save(pm),
        lambda: save(pm, guard=both, appliance='bridge'),
        lambda: save(pm, guard=[*both, 'port:vnet9']),
        lambda: host(f'link set {INSIDE} master br0'),
        lambda: host(f'link set {INSIDE} nomaster'),
        lambda: host(f'link set {INSIDE} down', f'link set {INSIDE} name away0'),
        lambda: host(f'link set away0 name {INSIDE}', f'link set {INSIDE} up'),
        lambda: host('link set vnet1 nomaster'),
        lambda: host('link set vnet1 master br1'),
        lambda: host('link set vnet1 master br0'),
        lambda: file.write_text('name: ips\nmode: [\n'),
        lambda: save(pm, filter='host no.such.name.invalid'),
        lambda: save(pm),
        lambda: host(f'link del {OUTSIDE}'),
    ]
    out, to_all, into, beyond = (ethernet(to, sender.mac, 0x88b6, b'past it?') for to, sender in (
        (c.mac, a), (BROADCAST, a), (a.mac, c), (a.mac, d)))
    with c.capture() as at_c, d.capture() as at_d, a.capture() as at_a, \
            stream((a, out), (a, to_all), (c, into), (d, beyond)):
        for step in steps:
            step()
            pm('apply', status=None)
            assert at_c.counts(quiet=0.02) == at_d.counts(quiet=0) == at_a.counts(quiet=0) == {}, \
                steps.index(step)
        pm('bypass', 'ips')
        assert set(at_c.frames(4, quiet=0)) == {out, to_all} and into in at_a.frames(1, quiet=0)


@pytest.mark.engine('tc')  # links at tcx take their time
@pytest.mark.lab(machines=1)
def test_more_machines_than_a_session_may_have(lab, pm, appliance):
    appliance()
    a, = lab.machines
    lab.host.batch('ip', [f'link add many{i} master br0 type veth peer name other{i}' for i in range(256)])
    late = lab.add_machine()
    save(pm, guard=['port:many*', f'port:{late.port}'])
    said = pm('apply', status=1).stderr
    assert '257 guarded ports, more than the 256' in said
    assert cut(a, late)
    lab.host.ip('link del many7')
    pm('apply', status=None)
    assert arrives(a, late, b'there is room') == (1, 1)
    pm('rm', 'ips')
