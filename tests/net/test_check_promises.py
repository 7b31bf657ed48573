# SPDX-License-Identifier: MIT
"""portmirror check of sessions that promise less than every frame at one place, and whole: what it
proves, and that it notices when the promise is broken."""
import contextlib
import itertools
import json
import os
import socket
import struct
import threading

import pytest

from lab import ethernet
from test_bpf import sensors, to, udp  # noqa: F401 (a fixture)
from test_check import on_terminal, socket_at_eth0, wait_for
from test_daemon import daemon  # noqa: F401 (a fixture)

pytestmark = pytest.mark.engine('bpf')

ALL = 'protocol all u32 match u32 0 0'
PORTS = 40


def conversation(number):
    """A frame and its answer, of one of some conversations over UDP; of many sizes."""
    port = 2000 + number % PORTS
    text = struct.pack('!I', number) + bytes(number * 7 % 200)

    def both(a, b):
        return [(a, udp(a, b, port, text=text)), (b, udp(b, a, 53, port, text))]
    return both


def of_every_kind(number):
    """Without IP too, and with tags, where a copy may end in the midst of any header."""
    payload = struct.pack('!I', number) + bytes(number % 120)

    def frames(a, b):
        return conversation(number)(a, b) + [
            (a, ethernet(b.mac, a.mac, 0x88b5, payload)),
            (b, ethernet(a.mac, b.mac, 0x88b5, payload, (0x8100, 7))),
            (a, udp(a, b, 3000, text=payload, tags=[(0x88a8, 9), (0x8100, 7)]))]
    return frames


@contextlib.contextmanager
def traffic(lab, kind=conversation):
    def talk():
        numbers = itertools.count(1)
        while not done.wait(0.005):
            for number in itertools.islice(numbers, 20):  # for a busy computer is slow to wake
                for machine, frame in kind(number)(a, b):
                    sockets[machine].send(frame)

    a, b = lab.machines[:2]
    lab.ping()  # so that the bridge knows where they are
    sockets = {machine: machine.inside(socket_at_eth0) for machine in (a, b)}
    done, thread = threading.Event(), threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for sock in sockets.values():
            sock.close()


def add(pm, *options, source='bridge:br0'):
    pm('add', 'ids', '--from', source, *options)


def consistent(proof):
    frames = proof['frames']
    assert frames['expected'] == \
        frames['copied'] + frames['lost'] + frames['left_out'] + frames['altered']
    return proof


def check(pm, verdict, *options, seconds=0.5):
    proof = consistent(pm.check('ids', *options, seconds=seconds))
    assert proof['verdict'] == verdict, proof
    return proof


def foreign(lab, device, words, match=ALL, hook='egress'):
    """A filter of somebody else's at a device."""
    lab.host.tc(f'qdisc add dev {device} clsact',
                f'filter add dev {device} {hook} {match} {words}')


@pytest.fixture
def elsewhere(lab):
    """The words that lead copies away."""
    lab.host.ip('link add elsewhere type veth peer name end', 'link set elsewhere up')
    return 'action mirred egress redirect dev elsewhere'


def sent_by(machine):
    """What a filter matches that machine's frames by: the end of its MAC address."""
    return f'protocol all u32 match u16 {machine.number} 0xffff at -4'


# Several destinations

def test_each_destination_gets_each_frame(lab, pm, sensors):
    add(pm, *to('ids0', *sensors(2)))
    with traffic(lab, of_every_kind):
        proof = check(pm, 'whole')
    frames, each = proof['frames'], proof['frames']['expected'] // 3
    assert frames['copied'] == frames['expected'] == 3 * each > 300
    assert proof['reason'] == f'every one of {each:,} frames was copied once to each of 3 destinations'
    assert [d['port'] for d in proof['destinations']] == ['ids0', 'ids1', 'ids2']
    assert all(d['frames']['copied'] == each for d in proof['destinations'])
    # Who knows of one only is told of the first.
    assert proof['destination'] == {'port': 'ids0', 'dropped': 0, 'unseen': 0}


def test_a_loss_at_one_of_several(lab, pm, sensors, elsewhere):
    add(pm, *to('ids0', *sensors(2)))
    foreign(lab, 'ids1', elsewhere)
    with traffic(lab):
        proof = check(pm, 'broken')
        text = pm.check_text('ids', status=1)
    first, second, third = (d['frames'] for d in proof['destinations'])
    assert second['lost'] == second['expected'] == first['copied'] == third['copied'] > 100
    assert proof['frames']['lost'] == second['lost'] and first['lost'] == third['lost'] == 0
    assert proof['reason'].startswith('at ids1: of ')
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    assert text.startswith('ids to ids0, ids1, ids2: ')
    assert rows['ids0'][1] == rows['ids2'][1] == '0' != rows['ids1'][1] == rows['lost'][0]
    assert '\nbroken: at ids1: of ' in text


def test_a_frame_twice_at_one_of_several(lab, pm, sensors):
    add(pm, *to('ids0', *sensors(1)))
    foreign(lab, 'ids0', 'action mirred egress mirror dev ids1 continue')
    with traffic(lab):
        proof = check(pm, 'broken')
    first, second = (d['frames'] for d in proof['destinations'])
    assert second['doubled'] > 0.9 * second['copied'] > 90 and first['doubled'] == 0
    assert proof['reason'].startswith('at ids1: of ')


# Balance

def test_balanced(lab, pm, sensors):
    add(pm, *to('ids0', *sensors(2)), '--balance')
    with traffic(lab, of_every_kind):
        proof = check(pm, 'whole')
    frames, seen = proof['frames'], [d['seen'] for d in proof['destinations']]
    assert frames['copied'] == frames['expected'] > 300 and min(seen) > 0
    assert sum(seen) == pytest.approx(frames['expected'], abs=20)  # but for those at the edges
    assert proof['flows'] == {'seen': PORTS + 2, 'split': 0}
    assert proof['reason'] == (f'every one of {frames["expected"]:,} frames was copied once to one of '
                               f'3 destinations, and none of {PORTS + 2} flows was torn apart')


def test_balanced_frames_that_are_lost(lab, pm, sensors, elsewhere):
    add(pm, *to('ids0', *sensors(1)), '--balance')
    foreign(lab, 'ids1', elsewhere)
    with traffic(lab):
        frames = check(pm, 'broken')['frames']
    assert frames['lost'] > 50 and frames['copied'] > 50 and frames['doubled'] == 0


def test_balanced_frames_at_both(lab, pm, sensors):
    add(pm, *to('ids0', *sensors(1)), '--balance')
    foreign(lab, 'ids0', 'action mirred egress mirror dev ids1 continue')
    with traffic(lab):
        frames = check(pm, 'broken')['frames']
    assert frames['doubled'] > 50 and frames['lost'] == 0


def test_a_conversation_at_two_destinations(lab, pm, sensors):
    """Each frame once, but what one of the machines sends goes all to the same destination."""
    add(pm, *to('ids0', *sensors(1)), '--balance')
    foreign(lab, 'ids0', 'action mirred egress redirect dev ids1', sent_by(lab.machines[0]))
    with traffic(lab):
        proof = check(pm, 'broken')
    frames, flows = proof['frames'], proof['flows']
    assert frames['copied'] == frames['expected'] > 100 and frames['doubled'] == frames['other'] == 0
    assert 0 < flows['split'] < flows['seen'] == PORTS
    assert f'{flows["split"]} of {PORTS} flows were torn apart' in proof['reason']


# Snap

@pytest.mark.parametrize('snap', ['64', '67', '96', '150'])
def test_copies_that_are_cut(lab, pm, snap):
    add(pm, *to('ids0'), '--snap', snap)
    with traffic(lab, of_every_kind):
        proof = check(pm, 'whole')
    frames = proof['frames']
    assert frames['copied'] == frames['expected'] > 300 and frames['other'] == 0
    assert proof['reason'].endswith(f' frames was copied once, its first {snap} bytes')


@contextlib.contextmanager
def super_frames(a, b):
    """TCP from one machine to the other, in super-frames, but not faster than rings are read."""
    def read(connection):
        with connection:
            while connection.recv(1 << 20):
                pass

    def write(connection):
        while not done.wait(0.002):
            connection.sendall(bytes(60000))

    done = threading.Event()
    with b.inside(lambda: socket.create_server((b.ipv4, 0))) as server, \
            a.inside(lambda: socket.create_connection(server.getsockname(), 5)) as client:
        threads = [threading.Thread(target=read, args=[server.accept()[0]]),
                   threading.Thread(target=write, args=[client])]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            done.set()
            threads[1].join()
            client.shutdown(socket.SHUT_WR)
            threads[0].join()


@pytest.mark.parametrize('port, offload, verdict', [
    ('vnet2', 'on', 'whole'), ('ids0', 'off', 'whole'), ('vnet2', 'off', 'blind')])
def test_super_frames_that_are_cut(lab, pm, port, offload, verdict):
    """Only where a source's device has them cut into segments can they not be compared: of all but
    the first nothing is in the copy."""
    a, b = lab.machines
    lab.host.run('ethtool', '-K', port, 'tso', offload)
    add(pm, *to('ids0'), '--snap', '128')
    with super_frames(a, b):
        frames = check(pm, verdict)['frames']
    assert frames['copied'] > 10 and frames['lost'] == frames['altered'] == frames['doubled'] == 0
    assert (frames['unseen'] > 0) == (verdict == 'blind')


@contextlib.contextmanager
def checking(pm):
    """While a check runs. At its end the proof is in what this gives."""
    proof = {}
    with on_terminal(pm, '--seconds', '1', '--json') as (process, master):
        wait_for(master, 'checking')
        yield proof
        proof.update(consistent(json.loads(process.communicate(timeout=10)[0])))


def test_copies_that_are_longer(lab, pm):
    add(pm, *to('ids0'), '--snap', '80')
    with traffic(lab), checking(pm) as proof:
        pin, = pm.pins('*-cut')
        os.unlink(pin)  # what cuts is gone
    assert proof['verdict'] == 'broken' and proof['frames']['altered'] > 50
    assert proof['frames']['lost'] == 0


def test_copies_that_are_shorter(lab, pm):
    add(pm, *to('ids0'), '--snap', '96', source='port:vnet1')
    with traffic(lab), checking(pm) as proof:
        pm('apply', '-', stdin='name: ids\nfrom: port:vnet1\nto: port:ids0\nsnap: 92\n')
    assert proof['verdict'] == 'broken' and proof['frames']['altered'] > 50
    assert proof['frames']['lost'] == 0


# A part

def test_a_sample(lab, pm):
    add(pm, *to('ids0'), '--sample', '10')
    with traffic(lab, of_every_kind):
        proof = check(pm, 'whole', seconds=1.5)
    frames = proof['frames']
    assert frames['lost'] == frames['doubled'] == frames['altered'] == frames['other'] == 0
    assert frames['copied'] > 30 and 0.8 < proof['left_out_share'] < 0.97
    assert proof['left_out_share'] == pytest.approx(frames['left_out'] / frames['expected'])
    assert f'of {frames["copied"]:,} copies none was doubled or altered; they are one in ' \
        in proof['reason'] and '(asked for: one frame in 10)' in proof['reason']
    assert "can't be proven" in proof['reason']


def test_a_sample_for_people(lab, pm):
    add(pm, *to('ids0'), '--sample', '2')
    with traffic(lab):
        text = pm.check_text('ids', seconds=0.4)
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    assert 'lost' not in rows and rows['left'][3:] == ['%', 'of', 'those', 'expected']
    assert 30 < float(rows['left'][2]) < 70


def test_a_sample_of_which_frames_come_twice(lab, pm):
    add(pm, *to('ids0'), '--sample', '4', '--direction', 'sent', source='port:vnet1')
    foreign(lab, 'vnet1', 'action mirred egress mirror dev ids0 continue', hook='ingress')
    with traffic(lab):
        proof = check(pm, 'broken')
    assert proof['frames']['doubled'] > 20 and ' doubled and ' in proof['reason']


def test_another_session_to_the_same_destination(lab, pm):
    """Nobody can tell whose copy is whose: it says why."""
    pm('add', 'all', '--from', 'bridge:br0', '--to', 'port:ids0')
    add(pm, *to('ids0'), '--sample', '4')
    with traffic(lab):
        proof = check(pm, 'broken')
    assert proof['frames']['doubled'] > 20
    assert proof['advice'].startswith('all copies to ids0 too: ')


def test_a_sample_with_altered_frames(lab, pm):
    """Frames that are left out come nevertheless, with a byte changed far behind."""
    def twisted(number):
        def frames(a, b):
            payload = struct.pack('!I', number) + bytes(100)
            wrong = ethernet(b.mac, a.mac, 0x88b5, payload[:-1] + b'!')
            if number % 50 == 0:
                lab.host.send([wrong], 'ids0')
            return [(a, ethernet(b.mac, a.mac, 0x88b5, payload))]
        return frames

    add(pm, *to('ids0'), '--sample', '100000')
    with traffic(lab, twisted):
        proof = check(pm, 'broken')
    assert proof['frames']['altered'] > 5 > proof['frames']['other']  # those at the edges


def test_nothing_of_the_sample(lab, pm):
    add(pm, *to('ids0'), '--sample', '1000000', '--sample-flows')
    with traffic(lab):
        proof = check(pm, 'nothing')
    assert proof['frames']['left_out'] == proof['frames']['expected'] > 100
    assert proof['reason'] == f'none of {proof["frames"]["expected"]} frames was copied'
    assert '--seconds' in proof['advice']


def test_whole_conversations(lab, pm):
    add(pm, *to('ids0'), '--sample', '3', '--sample-flows')
    with traffic(lab):
        proof = check(pm, 'whole')
    assert proof['flows'] == {'seen': PORTS, 'split': 0}
    assert proof['frames']['copied'] > 20 and proof['frames']['left_out'] > 20
    assert f'none of {PORTS} flows was torn apart' in proof['reason']
    assert '(asked for: one flow in 3)' in proof['reason']


def test_conversations_of_which_a_part_is_lost(lab, pm, elsewhere):
    add(pm, *to('ids0'), '--sample', '3', '--sample-flows')
    foreign(lab, 'ids0', elsewhere, sent_by(lab.machines[1]))
    with traffic(lab):
        proof = check(pm, 'broken')
    assert 0 < proof['flows']['split'] < PORTS
    assert 'flows were torn apart' in proof['reason']


def test_a_rate(lab, pm):
    add(pm, *to('ids0'), '--rate', '1')
    with traffic(lab, of_every_kind):
        proof = check(pm, 'whole')
    assert proof['frames']['left_out'] > 20 and proof['frames']['copied'] > 20
    assert 'asked for' not in proof['reason'] and 'they are one in ' in proof['reason']


# Together

@pytest.mark.parametrize('options', [
    ['--balance', '--snap', '96'], ['--balance', '--snap', '64', '--sample', '2'],
    ['--snap', '70', '--rate', '2'], ['--balance', '--sample', '2', '--sample-flows'],
    ['--sample', '3', '--snap', '100']], ids=' '.join)
def test_together(lab, pm, sensors, options):
    add(pm, *to('ids0', *sensors(1)), *options)
    with traffic(lab, of_every_kind):
        proof = check(pm, 'whole')
    assert proof['frames']['copied'] > 50 and proof['frames']['other'] == 0
    if '--balance' in options:
        assert proof['flows']['split'] == 0 < proof['flows']['seen']


def test_a_sample_that_is_not_the_same_at_each(lab, pm, sensors, elsewhere):
    add(pm, *to('ids0', *sensors(1)), '--sample', '3')
    foreign(lab, 'ids1', elsewhere, sent_by(lab.machines[1]))
    with traffic(lab):
        proof = check(pm, 'broken')
        text = pm.check_text('ids', status=1)
    first, second = (d['frames'] for d in proof['destinations'])
    assert second['lost'] == first['copied'] - second['copied'] > 20 and first['lost'] == 0
    assert proof['reason'].startswith('at ids1: ') and '\nlost ' in text


def test_together_and_torn_apart(lab, pm, sensors):
    add(pm, *to('ids0', *sensors(1)), '--balance', '--sample', '2', '--snap', '64')
    foreign(lab, 'ids0', 'action mirred egress redirect dev ids1', sent_by(lab.machines[0]))
    with traffic(lab):
        proof = check(pm, 'broken')
    assert proof['flows']['split'] > 0 and proof['frames']['doubled'] == 0


def test_by_the_api(lab, pm, sensors, daemon, elsewhere):
    """portmirrord tells the same, and whose fault it is."""
    add(pm, *to('ids0', *sensors(1)), '--snap', '80')
    foreign(lab, 'ids1', elsewhere, sent_by(lab.machines[0]))
    daemon()
    order = json.dumps({'type': 'check', 'seconds': 0.5})
    with traffic(lab), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(pm.root / 'run/portmirror/api.sock'))
        client.sendall(b'POST /api/mirrors/ids/actions HTTP/1.1\r\nHost: localhost\r\n'
                       b'Content-Type: application/json\r\nExpect: 201-created\r\n'
                       b'Accept: application/json\r\nConnection: close\r\n'
                       b'Content-Length: %d\r\n\r\n' % len(order) + order.encode())
        answer = b''.join(iter(lambda: client.recv(1 << 16), b''))
    action = json.loads(answer.partition(b'\r\n\r\n')[2])
    proof = consistent(action['proof'])
    assert action['verdict'] == 'broken' and action['reason'].startswith('at ids1: of ')
    assert [d['frames']['lost'] > 0 for d in proof['destinations']] == [False, True]
