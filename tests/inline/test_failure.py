# SPDX-License-Identifier: MIT
"""The appliance fails: open lets all frames go straight on, closed stops them; and it comes back."""
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from appliances import INSIDE, ONE_WAY, OUTSIDE, Appliance, LearningBridge, Wire
from lab import BROADCAST, ethernet
from tcx import BPF_F_BEFORE, attach_tcx

pytestmark = pytest.mark.engine(ONE_WAY)


def events(pm, *kinds):
    lines = (pm.root / 'run/portmirror/events').read_text().splitlines()
    return [event for event in map(json.loads, lines) if event['kind'] in kinds]


def state(pm, name='ips'):
    return pm.json('show', name)


def arrives(a, b, text=b'are you there', timeout=2):
    """Whether a frame from a gets to b, and one from b to a, within so many seconds."""
    there, back = (ethernet(y.mac, x.mac, 0x88b6, text) for x, y in ((a, b), (b, a)))
    with b.capture() as at_b, a.capture() as at_a:
        a.send([there])
        b.send([back])
        return (at_b.counts(1, timeout=timeout, quiet=0.02)[there],
                at_a.counts(1, timeout=timeout, quiet=0.02)[back])


def cut(a, b, text=b'are you there'):
    return arrives(a, b, text, timeout=0.2) == (0, 0)


def as_promised(failure, a, b, text=b'are you there'):
    """While the appliance does not work."""
    return arrives(a, b, text) == (1, 1) if failure == 'open' else cut(a, b, text)


def teach(lab):
    for machine in lab.machines:
        machine.send([ethernet(BROADCAST, machine.mac, 0x88b6, b'here I am')])


BREAK = {
    'down': lambda lab, wire: lab.host.ip(f'link set {OUTSIDE} down'),
    'no carrier': lambda lab, wire: wire.ip('link set eth0 down'),
    'gone': lambda lab, wire: lab.host.ip(f'link del {INSIDE}'),
    'hung': lambda lab, wire: wire('hang'),
    'dropping': lambda lab, wire: wire('drop'),
}


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('failure', ['open', 'closed'])
@pytest.mark.parametrize('how', BREAK)
def test_it_fails(lab, pm, inline, appliance, daemon, wait_until, failure, how):
    wire = appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1', failure=failure)
    daemon()
    wait_until(lambda: state(pm)['appliance_state']['watched'])
    teach(lab)
    assert arrives(a, c) == (1, 1)
    BREAK[how](lab, wire)
    wait_until(lambda: events(pm, 'appliance-failed'))
    assert as_promised(failure, a, c)
    shown = state(pm)
    assert shown['state'] in ('partial', 'waiting')
    assert shown['appliance_state']['failures'] == 1
    assert shown['appliance_state']['failure'] in ('down', 'gone', 'silent')
    words = 'all frames go straight on' if failure == 'open' else 'no frame gets through'
    assert any(words in reason for reason in shown['reasons'])
    assert words in events(pm, 'appliance-failed')[0]['text']
    found = [finding for finding in pm.json('doctor', status=1) if finding['session'] == 'ips']
    assert any(finding['name'] == 'appliance-failed' and words in finding['sentence']
               for finding in found)
    if failure == 'open':
        assert shown['appliance_state']['counts']['straight']['frames'] > 0


def doctor_says(pm, words):
    return any(words in finding['sentence'] for finding in pm.json('doctor', status=1)
               if finding['name'] == 'appliance-failed' and finding['session'] == 'ips')


MEANWHILE = {'open': 'all frames go straight on', 'closed': 'no frame gets through'}


def sent_outward(capture):
    """When the probes outward among these frames were sent (CLOCK_MONOTONIC, ns)."""
    probes = [struct.unpack_from('=14xBx16xQ', frame) for frame in capture.frames(quiet=0)
              if frame[12:14] == b'\x88\xb5']
    return [sent for way, sent in probes if way == 0]


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('failure', MEANWHILE)
def test_after_three_probes_that_stay_away_it_has_failed(lab, pm, inline, appliance, daemon,
                                                         wait_until, failure):
    wire = appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1', failure=failure, more=('--probe-interval', 500))
    with wire.capture('eth0') as into, wire.capture('eth1', sent=True) as out:
        daemon()
        wait_until(lambda: sent_outward(out))
        teach(lab)
        assert arrives(a, c) == (1, 1)
        wire('drop')
        wait_until(lambda: events(pm, 'appliance-failed'))
        since_1970 = time.time_ns() - time.monotonic_ns()
        event = events(pm, 'appliance-failed')[0]
        failed = (event['time'] + 1) * 1000000 - since_1970
        last = max(sent_outward(out))
        assert len([sent for sent in sent_outward(into) if last < sent < failed]) == 3
    assert 'it lets no probes through' in event['text'] and MEANWHILE[failure] in event['text']
    assert state(pm)['appliance_state']['failure'] == 'silent'
    assert state(pm)['appliance_state']['failures'] == 1
    assert doctor_says(pm, MEANWHILE[failure])
    assert as_promised(failure, a, c)


MANY = {'name': 'many', 'from': ['port:many*'], 'to': 'port:ids0', 'engine': 'bpf'}


@pytest.mark.engine('bpf')
@pytest.mark.parametrize('way', ['a file', 'the API'])
def test_it_is_watched_while_the_daemon_has_much_to_do(lab, pm, inline, appliance, daemon, wait_until, tmp_path, way):
    """Links at tcx take their time on a busy host, and one comes after the other."""
    wire = appliance()
    lab.host.batch('ip', [f'link add many{i} type veth peer other{i}' for i in range(10)])
    inline('ips', 'vnet1', more=('--probe-interval', 20))
    daemon('strace', '-D', '-qq', '-o', tmp_path / 'trace', '-e', 'inject=bpf:delay_enter=3000', '-e', 'signal=none')
    wait_until(lambda: state(pm)['appliance_state']['watched'])
    if way == 'a file':
        (pm.sessions / 'many.yaml').write_text(json.dumps(MANY))
    else:
        lab.host.popen('curl', '-s', '--unix-socket', pm.root / 'run/portmirror/api.sock', '-H',
                       'Content-Type: application/json', '-d', json.dumps({'_type': 'mirror', **MANY}),
                       'http://localhost/api/mirrors', stdout=subprocess.DEVNULL)
    wait_until(lambda: pm.pins('many/*-sent'))
    wire('hang')
    wait_until(lambda: [event for event in events(pm, 'session-whole') if event['session'] == 'many'], 60)
    failed, whole = (events(pm, kind)[-1]['number'] for kind in ('appliance-failed', 'session-whole'))
    assert failed < whole
    pm('rm', 'many')


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('failure', MEANWHILE)
def test_one_that_never_answers(lab, pm, inline, appliance, daemon, wait_until, failure):
    """Both its ports are up, and nothing is between them."""
    appliance(Appliance)
    a, _, c = lab.machines
    inline('ips', 'vnet1', failure=failure, more=('--probe-interval', 20))
    assert cut(a, c)  # nobody has noticed yet
    daemon()
    wait_until(lambda: events(pm, 'appliance-failed'))
    assert 'it lets no probes through' in events(pm, 'appliance-failed')[0]['text']
    assert state(pm)['appliance_state']['failures'] == 1
    assert doctor_says(pm, MEANWHILE[failure])
    assert as_promised(failure, a, c, b'after that')
    assert len(events(pm, 'appliance-failed', 'appliance-back')) == 1


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('how', ['down', 'gone', 'hung'])
def test_it_comes_back(lab, pm, inline, appliance, daemon, wait_until, how):
    wire = appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 20))
    daemon()
    teach(lab)
    BREAK[how](lab, wire)
    wait_until(lambda: events(pm, 'appliance-failed'))
    assert state(pm)['appliance_state']['failure']
    if how == 'down':
        lab.host.ip(f'link set {OUTSIDE} up')
    elif how == 'hung':
        wire('pass')
    else:  # another device, and another program behind it
        wire.process.stdin.write('pass\n')
        wire.close()
        lab.host.ip(f'link del {OUTSIDE}', check=False)
        appliance()
    wait_until(lambda: events(pm, 'appliance-back'))
    wait_until(lambda: state(pm)['state'] == 'whole')
    before = state(pm)['appliance_state']
    assert arrives(a, c, b'through it again') == (1, 1)
    after = state(pm)['appliance_state']
    assert after['failure'] is None and after['failures'] == 1
    assert after['counts']['back_out']['frames'] == before['counts']['back_out']['frames'] + 1
    assert after['counts']['back_in']['frames'] == before['counts']['back_in']['frames'] + 1


def test_maps_that_were_made_anew_meanwhile(lab, pm, inline, appliance, daemon, wait_until):
    """Somebody ends the session and begins it again before the daemon looks: what it asks are the new ones."""
    wire = appliance()
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 20))
    running = daemon()
    wait_until(lambda: state(pm)['appliance_state']['watched'])
    running.send_signal(signal.SIGSTOP)
    pm('bypass', 'ips')
    pm('restore', 'ips')
    running.send_signal(signal.SIGCONT)
    wait_until(lambda: state(pm)['appliance_state']['watched'])
    with wire.capture('eth0') as probes:
        assert len(probes.frames(20, quiet=0)) >= 20
    assert state(pm)['appliance_state']['failures'] == 0
    wire('drop')
    wait_until(lambda: state(pm)['appliance_state']['failure'] == 'silent')
    assert len(events(pm, 'appliance-failed')) == 1


@pytest.mark.lab(machines=2)
def test_one_that_is_slower_than_its_probes_can_be_counted(lab, pm, inline, appliance, daemon, wait_until):
    """More are under way at once than are remembered."""
    wire = appliance()
    wire('delay 900')
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 10))
    daemon()
    wait_until(lambda: events(pm, 'appliance-back'))  # how slow it is nobody knew at first
    assert len(events(pm, 'appliance-failed')) == 1
    wire('drop')
    wait_until(lambda: len(events(pm, 'appliance-failed')) == 2, 5)


def test_it_is_not_back_while_nobody_knows(lab, pm, inline, appliance, daemon, wait_until, tmp_path):
    """The daemon can't read which probes came."""
    wire = appliance()
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 20))
    running = daemon()
    wire('drop')
    wait_until(lambda: events(pm, 'appliance-failed'))
    trace = tmp_path / 'trace'
    with subprocess.Popen(['strace', '-p', str(running.pid), '-o', trace, '-e', 'trace=bpf', '-e',
                           'inject=bpf:error=ENOMEM'], stderr=subprocess.DEVNULL) as tracer:
        wait_until(lambda: trace.exists() and trace.read_text().count('BPF_MAP_LOOKUP_ELEM') > 40)
        tracer.terminate()
    assert not events(pm, 'appliance-back')


@pytest.mark.lab(machines=2)
def test_connections_outlive_failure_and_return(lab, pm, inline, appliance, daemon, wait_until):
    wire = appliance()
    a, b = lab.machines
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 10))
    daemon()
    received, going = [], threading.Event()

    def receive(server):
        with server.accept()[0] as connection:
            while data := connection.recv(1 << 16):
                received.append(len(data))

    def send(client):
        while not going.is_set():
            client.sendall(bytes(1 << 12))
    with b.inside(lambda: socket.create_server((b.ipv4, 0))) as server:
        receiver = threading.Thread(target=receive, args=(server,))
        receiver.start()
        client = a.inside(lambda: socket.create_connection(server.getsockname(), 5))
        sender = threading.Thread(target=send, args=(client,))
        sender.start()
        for round_ in range(3):
            wire('hang')
            wait_until(lambda: len(events(pm, 'appliance-failed')) == round_ + 1)
            count = sum(received)
            wait_until(lambda: sum(received) > count)
            wire('pass')
            wait_until(lambda: len(events(pm, 'appliance-back')) == round_ + 1)
            count = sum(received)
            wait_until(lambda: sum(received) > count)
        going.set()
        sender.join()
        client.close()
        receiver.join()
    assert sum(received) > 0


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('failure', ['open', 'closed'])
def test_without_the_daemon_a_port_that_is_gone_is_noticed_by_the_kernel(lab, pm, inline, appliance,
                                                                          failure):
    appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1', failure=failure)
    teach(lab)
    assert arrives(a, c) == (1, 1)
    assert 'static' in pm('show', 'ips').stdout
    assert not state(pm)['appliance_state']['watched']
    lab.host.ip(f'link del {OUTSIDE}')
    assert as_promised(failure, a, c)
    count = state(pm)['appliance_state']['counts']
    assert count['straight' if failure == 'open' else 'stopped']['frames'] == 2


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('kind', [Wire, LearningBridge])
def test_probes_reach_no_machine_and_no_network(lab, pm, inline, appliance, daemon, wait_until, kind):
    made = appliance(kind)
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 10))
    captures = [machine.capture() for machine in lab.machines]
    with lab.host.capture('br0') as host, made.capture('eth0') as inside, \
            made.capture('eth1') as outside:
        daemon()
        if kind is Wire:
            made('storm 3')
        assert len(inside.frames(30, quiet=0)) >= 30 and len(outside.frames(30, quiet=0)) >= 30
        if kind is Wire:
            made('replay')
            made('hang')
            wait_until(lambda: events(pm, 'appliance-failed'))
            made('echo')
            wait_until(lambda: events(pm, 'appliance-back'))
        assert [frame for frame in host.frames() if frame[12:14] == b'\x88\xb5'] == []
    for capture in captures:
        assert capture.frames() == []
        capture.close()


@pytest.mark.lab(machines=3)
def test_the_daemon_follows_guarded_machines_that_come_and_move(lab, pm, appliance, daemon, wait_until):
    appliance()
    a, b, c = lab.machines
    daemon()
    pm('inline', 'ips', '--guard', 'port:vnet[12]', '--guard', 'port:vnet4', '--through',
       f'port:{INSIDE},port:{OUTSIDE}', '--on-failure', 'closed')

    def led(machine, to, text):
        frame = ethernet(to.mac, machine.mac, 0x88b6, text)
        before = state(pm)['appliance_state']['counts']['led_out']['frames']
        with to.capture() as capture:
            machine.send([frame])
            assert capture.counts(1)[frame] == 1
        return state(pm)['appliance_state']['counts']['led_out']['frames'] - before
    teach(lab)
    assert led(a, c, b'one') == 1
    late = lab.add_machine()
    wait_until(lambda: 'vnet4' in state(pm)['ports'] and state(pm)['state'] == 'whole')
    assert led(late, c, b'two') == 1
    # A machine's address moves to another guarded port.
    a.ip('link set eth0 down')
    late.ip(f'link set eth0 address {a.mac}')
    late.mac = a.mac
    assert led(late, c, b'three') == 1
    frame = ethernet(a.mac, c.mac, 0x88b6, b'to the new place')
    with late.capture() as capture:
        c.send([frame])
        assert capture.counts(1)[frame] == 1
    lab.host.ip('link set vnet2 nomaster')
    wait_until(lambda: state(pm)['ports'] == ['vnet1', 'vnet4'])


@pytest.mark.lab(machines=2)
def test_a_busy_appliance_is_not_a_failed_one(lab, pm, inline, appliance, daemon, wait_until):
    wire = appliance()
    wire('delay 150')
    inline('ips', 'vnet1', failure='open', more=('--probe-interval', 50))
    daemon()
    with wire.capture('eth0') as probes:
        assert len(probes.frames(40, quiet=0)) >= 40
    assert state(pm)['appliance_state']['watched']
    assert state(pm)['appliance_state']['failures'] == 0


def test_doctor_recognises_a_learning_bridge_by_its_probes(lab, pm, inline, appliance):
    appliance(LearningBridge)
    inline('ips', 'vnet1', 'vnet2')
    found = {finding['name']: finding for finding in pm.json('doctor', status=1)}
    assert '--appliance bridge' in found['appliance-learns']['cure']
    pm('rm', 'ips')
    inline('ips', 'vnet1', 'vnet2', more=('--appliance', 'bridge'))
    names = {finding['name'] for finding in pm.json('doctor', status=None)}
    assert 'appliance-learns' not in names and 'guarded-direct' in names


def test_doctor_finds_nothing_wrong_with_a_wire(lab, pm, inline, appliance):
    appliance()
    inline('ips', 'vnet1', 'vnet2')
    assert 'appliance' not in ' '.join(f['name'] for f in pm.json('doctor', status=None)
                                       if f['severity'] != 'hint')


@pytest.mark.engine('bpf')
@pytest.mark.parametrize('dev, hook', [('vnet1', 'ingress'), ('vnet1', 'egress'), ('aout0', 'ingress')])
def test_doctor_finds_foreign_programs_in_front(lab, pm, inline, appliance, dev, hook):
    appliance()
    inline('ips', 'vnet1')
    attach_tcx(lab, dev, hook)
    assert 'tcx-program' not in {finding['name'] for finding in pm.json('doctor', status=None)}
    attach_tcx(lab, dev, hook, BPF_F_BEFORE)
    finding, = [finding for finding in pm.json('doctor', status=1) if finding['name'] == 'tcx-program']
    assert f'tcx_{hook} dev {dev}' in finding['cure'] and finding['session'] == 'ips'


def test_doctor_and_check_tell_an_appliance_that_forwards_nothing(lab, pm, inline, appliance):
    wire = appliance()
    inline('ips', 'vnet1')
    assert pm('check', 'ips', '--seconds', 0.3).stdout.splitlines()[-1].startswith('whole')
    wire('drop')
    assert 'appliance-silent' in {f['name'] for f in pm.json('doctor', status=1)}
    proof = pm.json('check', 'ips', '--seconds', 0.3, status=1)
    assert proof['verdict'] == 'broken' and proof['probes']['outward']['came'] == 0
    pm('bypass', 'ips')
    assert 'ips is not carried out: ' in pm('check', 'ips', status=1).stderr


def test_check_tells_an_appliance_that_loses_probes(lab, pm, inline, appliance, wait_until):
    wire = appliance()
    inline('ips', 'vnet1')
    check = pm.popen('check', 'ips', '--seconds', '2', stdout=subprocess.PIPE)
    wait_until(lambda: wire.json('ip', '-j', '-s', 'link', 'show', 'eth0')[0]['stats64']['rx']['packets'] >= 3)
    wire('drop')
    assert check.stdout.read().splitlines()[-1] == 'broken: the appliance lost probes'
    assert check.wait(10) == 1


def test_a_check_without_a_socket(lab, pm, inline, appliance, tmp_path):
    """The last one, which the probes are sent by; those before it read what there is."""
    appliance()
    inline('ips', 'vnet1')
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}
    told = []
    for nth in range(1, 20):
        command = ['strace', '-o', tmp_path / 'trace', '-e', 'trace=socket', '-e',
                   f'inject=socket:error=EMFILE:when={nth}', *pm.command('check', 'ips', '--seconds', '0.1')]
        result = lab.host.run(*command, check=False, env=env)
        if 'INJECTED' not in (tmp_path / 'trace').read_text():
            break
        assert result.returncode == 1 and result.stderr.endswith(': Too many open files\n'), result.stderr
        told.append(result.stderr)
    assert result.returncode == 0 and told and all(text.count('\n') == 1 for text in told)


def test_doctor_finds_an_mtu_that_is_too_small(lab, pm, inline, appliance):
    appliance()
    inline('ips', 'vnet1')
    lab.host.ip(f'link set {INSIDE} mtu 1400')
    found = {finding['name']: finding for finding in pm.json('doctor', status=1)}
    assert found['appliance-mtu']['subject'] == INSIDE
    assert re.search('mtu 1500', found['appliance-mtu']['cure'])


def joins_a_bridge(lab):
    lab.host.ip('link add other type bridge', f'link set {INSIDE} master other')


NO_MORE = {'a port that joins a bridge': (joins_a_bridge, f'{INSIDE} is a port of other'),
           'a selector of two devices': (lambda lab: lab.host.ip('link add ain1 type veth peer spare'),
                                         'means 2 devices')}


@pytest.mark.engine('bpf', 'tc')
@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('failure', MEANWHILE)
@pytest.mark.parametrize('how', NO_MORE)
@pytest.mark.parametrize('who', ['the daemon', 'apply'])
def test_it_can_not_be_carried_out_any_more(lab, pm, appliance, daemon, wait_until, failure, how, who):
    """Not taken away: that would open what is closed."""
    appliance()
    a, _, c = lab.machines
    before = lab.host.state()
    pm('inline', 'ips', '--guard', 'port:vnet1', '--through', f'port:ain*,port:{OUTSIDE}', '--on-failure', failure)
    if who == 'the daemon':
        daemon()
    assert arrives(a, c) == (1, 1)
    do, words = NO_MORE[how]
    do(lab)
    if who == 'apply':
        said = pm('apply', status=1).stderr
        assert words in said and f'meanwhile {MEANWHILE[failure]} (on-failure: {failure})' in said
    else:
        wait_until(lambda: state(pm)['state'] == 'failed')
        wait_until(lambda: pm.json('apply', '--dry-run', status=None)['planned'] == [])
    shown = state(pm)
    assert shown['state'] == 'failed' and any(MEANWHILE[failure] in reason for reason in shown['reasons'])
    assert as_promised(failure, a, c, b'uninspected')
    found = [finding for finding in pm.json('doctor', status=None) if finding['session'] == 'ips']
    assert any(words in finding['sentence'] for finding in found)
    assert all(finding['cure'] == 'mend that, then: portmirror apply' for finding in found)
    assert 'ips is not carried out: through: ' in pm('check', 'ips', status=1).stderr
    count = 'straight' if failure == 'open' else 'stopped'
    assert state(pm)['appliance_state']['counts'][count]['frames'] == 2
    lab.host.ip('link del other' if 'bridge' in how else 'link del ain1')
    if who == 'apply':
        pm('apply')
    wait_until(lambda: state(pm)['state'] == 'whole' and pm.json('apply', '--dry-run')['planned'] == [])
    assert arrives(a, c, b'through it again') == (1, 1)
    pm('rm', 'ips')
    assert lab.host.back_to(before)


@pytest.mark.lab(machines=3)
@pytest.mark.parametrize('whose', ['a', 'z'])
def test_a_session_that_comes_later_takes_nothing_away(lab, pm, inline, appliance, whose):
    wire = appliance()
    a, _, c = lab.machines
    inline('ips', 'vnet1')
    wire('drop')
    said = pm('add', whose, '--from', 'port:vnet2', '--to', f'port:{INSIDE}', status=1).stderr
    assert f'{INSIDE} is a port of the appliance of ips' in said and 'nothing was changed' in said
    (pm.sessions / f'{whose}.yaml').write_text(f'name: {whose}\nfrom: port:vnet2\nto: port:{INSIDE}\n')
    assert f'{INSIDE} is a port of the appliance of ips' in pm('apply', status=1).stderr
    assert state(pm)['state'] == 'whole' and cut(a, c)
