# SPDX-License-Identifier: MIT
"""portmirrord: whatever happens on the host, the kernel is soon as the sessions say."""
import collections
import contextlib
import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from conftest import BUILD
from lab import BROADCAST, ethernet, ipv4
from test_vms import vm  # pylint: disable=unused-import

PROGRAM = BUILD / 'src/portmirrord/portmirrord'
__all__ = ['vm']


class Daemon:
    """portmirrord in the lab's host, with the files of pm."""

    def __init__(self, lab, pm, *before, pass_fds=(), **environment):
        self.lab, self.pm = lab, pm
        self.events_file = pm.root / 'run/portmirror/events'
        self.first = self.last()
        self.said = tempfile.TemporaryFile('w+')
        self.process = lab.host.popen(*before, PROGRAM, stderr=self.said, pass_fds=pass_fds,
                                      env={**os.environ, **pm.env, **environment})
        self.pid = self.process.pid

    def events(self, *kinds):
        """What has happened since it was started."""
        try:
            lines = self.events_file.read_text().splitlines()
        except FileNotFoundError:
            return []
        events = [json.loads(line) for line in lines]
        return [event for event in events if event['number'] > self.first and
                (not kinds or event['kind'] in kinds)]

    def answers(self):
        """Whether it has come as far as to serve: then its first look is behind it."""
        assert self.process.poll() is None, self.errors()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            try:
                client.connect(str(self.pm.root / 'run/portmirror/api.sock'))
            except (FileNotFoundError, ConnectionRefusedError):
                return False
            client.sendall(b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
            return client.recv(4096).startswith(b'HTTP/1.1 200')

    def last(self):
        self.first = 0
        return max((event['number'] for event in self.events()), default=0)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        self.process.wait(10)
        self.said.close()

    def errors(self):
        self.said.seek(0)
        return self.said.read()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(20) == 0, self.errors()
        self.said.close()


@pytest.fixture
def daemon(lab, pm, wait_until):
    with contextlib.ExitStack() as stack:
        def start(*before, ready=True, **options):
            made = Daemon(lab, pm, *before, **options)
            stack.callback(lambda: made.process.poll() is None and made.stop())
            if ready:
                wait_until(made.answers, 20)
            return made
        yield start


def is_copied(lab, frame=None):
    """True if the sensor gets what the first machine sends, once."""
    a = lab.machines[0]
    frame = frame or ethernet(BROADCAST, a.mac, 0x88b5, b'are you there')
    with lab.sensor.capture() as copies:
        a.send([frame])
        return copies.counts(1, timeout=0.05, quiet=0.02) == {frame: 1}


def attached(lab, pm, port):
    """True if something of ours looks at what the port's machine sends."""
    if not pm.by_tcx:
        return 'bpf' in lab.host.run('tc', 'filter', 'show', 'dev', port, 'ingress').stdout
    link, = lab.host.json('ip', '-j', 'link', 'show', port)
    return bool(pm.pins(f'*/{link["ifindex"]}-sent'))


def filters(lab):
    """The (preference, handle) of each filter on what the first machine sends."""
    shown = lab.host.run('tc', 'filter', 'show', 'dev', 'vnet1', 'ingress').stdout
    return set(re.findall(r'pref (\d+) bpf.* handle (0x[0-9a-f]+)', shown))


def whole(pm, name='ids'):
    shown = pm.json('show', name)
    return shown['state'] == 'whole' and not shown['reasons']


def flood(a, b, least, meanwhile):
    """Sends different frames from a to b, at least so many, and as long as meanwhile() takes; what was sent."""
    frames, ended = [], threading.Event()

    def send():
        while len(frames) < least or not ended.is_set():
            more = [ethernet(b.mac, a.mac, 0x0800, ipv4(a.ipv4, b.ipv4, b'%d' % (len(frames) + i)))
                    for i in range(20)]
            a.send(more)
            frames.extend(more)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        meanwhile()
    finally:
        ended.set()
        sender.join()
    return frames


def status_of(daemon, key):
    """A line of /proc/PID/status."""
    for line in open(f'/proc/{daemon.pid}/status'):
        if line.startswith(key + ':'):
            return line.split(None, 1)[1].strip()
    raise KeyError(key)


def test_a_port_that_appears_is_mirrored_and_one_that_goes_is_told(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    running = daemon()
    late = lab.add_machine()
    frame = ethernet(BROADCAST, late.mac, 0x88b5, b'late')
    with lab.sensor.capture() as copies:
        wait_until(lambda: late.send([frame]) or copies.frames(1, timeout=0.05))
    assert whole(pm)
    wait_until(lambda: running.events('port-joined'))
    lab.host.ip('link del vnet3')
    wait_until(lambda: running.events('port-left'))
    assert [(event['kind'], event['session'], event['text'].split(' ')[0])
            for event in running.events('port-joined', 'port-left')] == [
                ('port-joined', 'ids', 'vnet3'), ('port-left', 'ids', 'vnet3')]
    assert whole(pm)


def test_a_port_that_changes_bridge_or_name_is_followed(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    pm('add', 'glob', '--from', 'port:tap*', '--to', 'port:ids0')
    daemon()
    lab.host.ip('link set vnet2 nomaster')
    wait_until(lambda: pm.json('show', 'ids')['ports'] == ['vnet1'] and whole(pm))
    assert not attached(lab, pm, 'vnet2')
    lab.host.ip('link set vnet2 down', 'link set vnet2 name tap2', 'link set tap2 up')
    wait_until(lambda: whole(pm, 'glob'))
    assert attached(lab, pm, 'tap2')


def test_a_machine_that_restarts_is_mirrored_again(lab, pm, daemon, vm, wait_until):
    web = vm('web1', 'tap0')
    pm('add', 'ids', '--from', 'vm:web1', '--to', 'port:ids0')
    running = daemon()
    web.stop()
    wait_until(lambda: running.events('session-waiting'))
    vm('other', 'tap0', number=2)
    vm('web1', 'tap7')
    wait_until(lambda: pm.json('show', 'ids')['ports'] == ['tap7'] and whole(pm))
    assert attached(lab, pm, 'tap7') and not attached(lab, pm, 'tap0')


# Holds a queue of a tap beside a machine.
BESIDE = r'''
import fcntl, os, struct
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'tap0', 0x1102))
print('ready', flush=True)
input()
'''


def test_a_machine_that_ends_is_noticed_where_its_tap_stays(lab, pm, daemon, vm, wait_until):
    """No news comes of the device: its process is what tells."""
    web = vm('web1', 'tap0')
    beside = lab.host.popen('/usr/bin/python3', '-c', BESIDE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert beside.stdout.readline() == 'ready\n'
        pm('add', 'ids', '--from', 'vm:web1', '--to', 'port:ids0')
        running = daemon()
        assert whole(pm) and not running.events('session-waiting')
        before, = lab.host.json('ip', '-j', 'link', 'show', 'tap0')
        web.stop()
        wait_until(lambda: running.events('session-waiting'))
        wait_until(lambda: not attached(lab, pm, 'tap0'))
        assert lab.host.json('ip', '-j', 'link', 'show', 'tap0') == [before]
        assert not running.events('error')
    finally:
        beside.communicate('\n', 10)


# Holds a tap under no name at first, as a libvirtd that has yet to become QEMU.
YOUNG = r'''
import fcntl, os, struct, sys, time
tap = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(tap, 0x400454ca, struct.pack('16sH22x', b'tap0', 0x1002))
os.set_inheritable(tap, True)
time.sleep(0.3)
os.execv(sys.executable, ['qemu-system-x86_64', '-c', 'input()', '-name', 'guest=web1'])
'''


def test_a_machine_that_says_its_name_late_is_found(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'vm:web1', '--to', 'port:ids0')
    running = daemon()
    young = lab.host.popen('/usr/bin/python3', '-c', YOUNG, stdin=subprocess.PIPE)
    try:
        wait_until(lambda: running.events('port-joined'))
        assert pm.json('show', 'ids')['ports'] == ['tap0'] and whole(pm)
    finally:
        young.communicate('\n', 10)


@pytest.mark.lab(machines=3)
def test_a_sensor_that_returns_costs_one_message_a_session(lab, pm, daemon, wait_until):
    """Also where its programs share a map: three machines, whose frames are copied once."""
    pm('add', 'all', '--from', 'bridge:br0', '--to', 'port:ids0')
    pm('add', 'arp', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', 'arp')
    counter = pm.root / 'changes'
    running = daemon(**pm.preloaded(COUNT_FILE=str(counter)))
    assert not counter.exists(), 'there was nothing to do'
    lab.host.ip('link del ids0')
    wait_until(lambda: len(running.events('session-waiting')) == 2)
    # The kernel takes the device out of an action; a program must be told.
    told = 2 if pm.engine == 'bpf' else 0
    assert (int(counter.read_text()) if counter.exists() else 0) == told
    lab.cable('ids0', lab.sensor, '02:00:00:00:ff:01')
    wait_until(lambda: len(running.events('session-whole')) == 4)  # two of them at the start
    assert counter.read_text() == f'{told + 2}\n'
    wait_until(lambda: is_copied(lab))
    assert counter.read_text() == f'{told + 2}\n'


def test_session_files_are_followed(lab, pm, daemon, wait_until):
    running = daemon()
    before = lab.host.state()
    path = pm.sessions / 'ids.yaml'
    path.write_text('from: port:vnet1\nto: port:ids0\ndirection: sent\n')
    wait_until(lambda: is_copied(lab))
    path.write_text('from: port:vnet2\nto: port:ids0\ndirection: sent\n')
    wait_until(lambda: not is_copied(lab))
    wait_until(lambda: whole(pm))
    path.write_text('from: port:vnet1\nto: port:ids0\nfrm: port:vnet1\n')
    wait_until(lambda: running.events('session-failed'))
    assert 'ids.yaml:3' in running.events('session-failed')[0]['text']
    path.unlink()
    assert lab.host.back_to(before)
    wait_until(lambda: running.events('session-removed'))
    assert [event['kind'] for event in running.events()] == [
        'started', 'session-added', 'session-whole', 'session-changed', 'port-left', 'port-joined',
        'session-changed', 'session-failed', 'session-removed']


@pytest.mark.engine('bpf')
def test_all_destinations_are_told(lab, pm, daemon):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--to', 'port:vnet2')
    assert daemon().events('session-whole')[0]['text'] == 'all that it names is copied to ids0, vnet2'


def unseen(pm):
    """A session file that no inotify tells of, as on a network file system: a hard link."""
    hidden = pm.root / 'elsewhere'
    hidden.write_text('from: port:vnet1\nto: port:ids0\ndirection: sent\n')
    os.link(hidden, pm.sessions / 'ids.yaml')


def test_sighup_makes_it_read_everything(lab, pm, daemon, wait_until):
    running = daemon()
    unseen(pm)
    assert not is_copied(lab)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: is_copied(lab))


@pytest.mark.long
def test_it_looks_at_the_session_files_now_and_then(lab, pm, daemon, wait_until):
    daemon()
    unseen(pm)
    wait_until(lambda: is_copied(lab), 35)


def test_the_command_line_and_the_daemon_do_not_disturb_each_other(lab, pm, daemon):
    running = daemon()
    before = lab.host.state()
    for _ in range(5):
        pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
        pm('add', 'two', '--from', 'port:vnet1', '--to', 'port:ids0', '--filter', 'arp')
        assert 'nothing to do' in pm('apply').stdout
        pm('rm', '--all')
        assert lab.host.back_to(before)
    assert running.events('repaired', 'fight', 'error') == []


@pytest.mark.engine('tc')
def test_who_keeps_the_lock_is_told_of(lab, pm, daemon, wait_until):
    """A portmirror that was stopped amid its work, for example."""
    running = daemon()
    pm('apply')  # makes its file
    with open(pm.root / 'run/portmirror/lock', 'r+b') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (pm.sessions / 'ids.yaml').parent.mkdir(parents=True, exist_ok=True)
        (pm.sessions / 'ids.yaml').write_text('from: port:vnet1\nto: port:ids0\n')
        wait_until(lambda: running.events('error'))
    assert 'nothing is set up or mended meanwhile' in running.events('error')[0]['text']
    wait_until(lambda: is_copied(lab))
    assert len(running.events('error')) == 1


def test_what_is_suspended_behind_a_link_is_seen(lab, pm, daemon, wait_until, tmp_path):
    """Nothing happens in the folder of sessions but that the link is touched."""
    (copy := tmp_path / 'ids.yaml').write_text('from: port:vnet1\nto: port:ids0\n')
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').symlink_to(copy)
    running = daemon()
    wait_until(lambda: is_copied(lab))
    pm('bypass', 'ids')
    wait_until(lambda: running.events('session-suspended'))
    assert not attached(lab, pm, 'vnet1') and running.events('repaired') == []
    pm('restore', 'ids')
    wait_until(lambda: len(running.events('session-whole')) == 2)
    assert is_copied(lab) and (pm.sessions / 'ids.yaml').is_symlink()


@pytest.mark.engine('tc', 'clsact')
def test_what_others_delete_comes_back(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    running = daemon()
    lab.host.tc('qdisc del dev vnet1 clsact')
    wait_until(lambda: is_copied(lab))
    wait_until(lambda: running.events('repaired'))
    lab.host.tc('filter del dev vnet1 ingress')
    wait_until(lambda: is_copied(lab))
    wait_until(lambda: len(running.events('repaired')) == 2)
    if pm.engine == 'tc':
        index = pm.json('show', 'ids')['action']
        lab.host.tc(f'actions replace action mirred egress redirect dev vnet2 index {index}')
        wait_until(lambda: is_copied(lab))
    assert {event['session'] for event in running.events('repaired')} == {'ids'}
    assert running.events('fight') == []


@pytest.mark.engine('tc')
def test_who_puts_a_qdisc_in_place_of_ours_has_time_to(lab, pm, daemon, wait_until):
    """As libvirt does for bandwidth limits, in several messages."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--direction', 'sent')
    running = daemon()
    lab.host.tc('qdisc del dev vnet1 clsact')
    wait_until(lambda: running.events('session-partial'))  # it has seen that
    lab.host.tc('qdisc add dev vnet1 ingress')
    wait_until(lambda: is_copied(lab))
    assert [event['kind'] for event in running.events('repaired', 'fight', 'error')] == ['repaired']


@pytest.mark.engine('tc')
def test_who_puts_qdiscs_in_place_of_ours_step_by_step_has_time_to(lab, pm, daemon, wait_until):
    """A slow libvirt: more than a second passes before its ingress qdisc, but not so much between two of its steps."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--direction', 'sent')
    running = daemon()
    lab.host.tc('qdisc del dev vnet1 clsact')
    wait_until(lambda: running.events('session-partial'))
    for step in ('qdisc add dev vnet1 root handle 1: htb default 1', 'class add dev vnet1 parent 1: classid 1:1 htb rate 8mbit',
                 'class add dev vnet1 parent 1: classid 1:2 htb rate 8mbit', 'qdisc add dev vnet1 ingress'):
        time.sleep(0.4)
        lab.host.tc(step)
    wait_until(lambda: is_copied(lab))
    assert [event['kind'] for event in running.events('repaired', 'fight', 'error')] == ['repaired']


@pytest.mark.engine('bpf')
def test_what_others_detach_comes_back_when_it_is_looked_for(lab, pm, daemon, wait_until):
    """Nobody tells of it: it is found at the next look, which comes by itself twice a minute."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    running = daemon()
    for pin in pm.pins('ids/*-sent'):
        subprocess.run(['bpftool', 'link', 'detach', 'pinned', pin], check=True)
    assert not is_copied(lab)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: is_copied(lab))
    assert [event['session'] for event in running.events('repaired')] == ['ids']
    for pin in pm.pins('ids/*-sent'):
        os.unlink(pin)
    wait_until(lambda: not is_copied(lab))  # the kernel lets go of it a moment later
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: is_copied(lab))
    assert len(running.events('repaired')) == 2
    whole_before = len(running.events('session-whole'))
    pm('rm', 'ids')
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: len(running.events('session-removed')) == 1)
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: len(running.events('session-whole')) > whole_before)
    assert len(running.events('repaired')) == 2 and not running.events('fight', 'error')


@pytest.mark.engine('bpf')
def test_much_that_is_taken_away_at_once_is_no_fight(lab, pm, daemon, wait_until):
    """More than is put back in one go: whose turn has not come was not put back in vain."""
    lab.host.batch('ip', [f'link add many{i} type veth peer other{i}' for i in range(40)])
    running = daemon()
    pm('add', 'ids', '--from', 'port:many*', '--to', 'port:ids0')
    wait_until(lambda: running.events('session-whole'))
    links = pm.pins('ids/*-sent') + pm.pins('ids/*-received')
    assert len(links) == 80
    for pin in links:
        os.unlink(pin)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: len(running.events('repaired')) >= 40, 20)
    wait_until(lambda: pm.pins('ids/*-sent') + pm.pins('ids/*-received') == links)
    wait_until(lambda: whole(pm))
    assert len(running.events('repaired')) == 40 and not running.events('fight')


@pytest.mark.engine('tc', 'clsact')
def test_who_removes_it_again_and_again_is_given_way(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    running = daemon()

    def wipe():
        lab.host.run('tc', 'qdisc', 'del', 'dev', 'vnet1', 'clsact', check=False)
        return running.events('fight')

    wait_until(wipe)
    assert 3 <= len(running.events('repaired')) <= 6
    shown = pm.json('show', 'ids')
    doctor = pm.json('doctor', status=1)
    assert any(finding['name'] == 'fight' and finding['session'] == 'ids'
               for finding in doctor), doctor
    assert shown['state'] == 'partial'
    wait_until(lambda: is_copied(lab))  # the other has ended: one more try, a second later


@pytest.mark.engine('tc')
def test_where_something_is_held_back_nothing_is_removed(lab, pm, daemon, wait_until):
    """Of two sessions at one port one is fought over. The other's filter goes when the fight is over."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--direction', 'sent')
    first, = filters(lab)
    pm('add', 'two', '--from', 'port:vnet1', '--to', 'port:vnet2', '--direction', 'sent')
    second, = filters(lab) - {first}
    running = daemon()

    def wipe():
        lab.host.run('tc', 'filter', 'del', 'dev', 'vnet1', 'ingress', 'pref', first[0], 'handle', first[1], 'bpf',
                     check=False)
        return len(running.events('fight')) == 2  # the second pause is two seconds long

    wait_until(wipe, 20)
    repaired = len(running.events('repaired'))
    (pm.sessions / 'two.yaml').unlink()
    wait_until(lambda: running.events('session-removed'))
    assert second in filters(lab) or len(running.events('repaired')) > repaired
    wait_until(lambda: filters(lab) == {first})


def test_lost_news_leads_to_reading_everything(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    running = daemon()
    os.kill(running.pid, signal.SIGSTOP)
    late = lab.add_machine()
    if not pm.by_tcx:
        lab.host.tc('qdisc del dev vnet1 clsact')
    lab.host.ip(*[f'link set vnet2 txqueuelen {1000 + i}' for i in range(4000)])
    os.kill(running.pid, signal.SIGCONT)
    wait_until(lambda: running.events('overrun'))
    wait_until(lambda: is_copied(lab))
    assert is_copied(lab)
    frame = ethernet(BROADCAST, late.mac, 0x88b5, b'late')
    with lab.sensor.capture() as copies:
        late.send([frame])
        assert copies.counts(1) == {frame: 1}
    assert whole(pm)


def descriptors(running):
    """How many it has, but for the lock that it holds now and then."""
    folder, count = f'/proc/{running.pid}/fd', 0
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += not os.readlink(f'{folder}/{fd}').endswith('/lock')
    return count


def come_and_go(lab, pm, running, wait_until, count):
    """Added as fast as ip can, removed by one command."""
    add = [line for i in range(count) for line in
           (f'link add d{i} group 7 type veth peer name e{i}', f'link set d{i} master br0 up')]

    def settled():
        return whole(pm) and len(pm.json('show', 'ids')['ports']) == ports

    measures = []
    for _ in range(3):
        ports = count + 2
        lab.host.ip(*add)
        wait_until(settled, 60)
        ports = 2
        lab.host.ip('link del group 7')
        wait_until(settled, 60)
        measures.append((descriptors(running),
                         int(status_of(running, 'VmRSS').split()[0])))
    assert measures[2][0] == measures[0][0], measures
    assert measures[2][1] < measures[1][1] + 1024, measures
    assert running.events('fight', 'error') == []
    assert is_copied(lab)


@pytest.mark.ordinary  # the memory of the sanitizers grows
def test_ports_that_come_and_go(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    come_and_go(lab, pm, daemon(), wait_until, 60)


@pytest.mark.long
def test_a_thousand_ports_that_come_and_go(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    come_and_go(lab, pm, daemon(), wait_until, 1000)


def killed_under_traffic(lab, pm, daemon, count):
    """At any instant, in the middle of its start too. Each new start finds all as its own, and no frame is
    missing from the mirror. (One may be copied twice: where the programs' descriptors died with the process,
    they are replaced, filter by filter.)"""
    a, b = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    pm('add', 'plain', '--from', 'port:vnet1', '--to', 'port:other0', '--direction', 'sent')

    def kill():
        for number in range(count):
            running = daemon(ready=number % 2 == 0)
            time.sleep(random.uniform(0, 0.05))
            running.kill()
            copies.frames(quiet=0)  # its socket holds only so many

    with lab.sensor.capture() as copies:
        frames = flood(a, b, 0, kill)
        seen = copies.counts(len(frames))
    assert set(seen) == set(frames), 'a frame is missing'
    assert sum(seen.values()) < 1.01 * len(frames)
    pm('apply')
    assert whole(pm) and whole(pm, 'plain')


@pytest.mark.ordinary
def test_killed_while_frames_flow(lab, pm, daemon):
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up')
    killed_under_traffic(lab, pm, daemon, 10)


@pytest.mark.long
def test_killed_a_hundred_times_while_frames_flow(lab, pm, daemon):
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up')
    killed_under_traffic(lab, pm, daemon, 100)


def wakes(lab, pm, running, wait_until, seconds):
    """How often it wakes up within so long a time, once its start is over."""
    def count():
        return int(status_of(running, 'voluntary_ctxt_switches'))

    def is_quiet():
        before = count()
        time.sleep(0.5)
        return count() == before

    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    wait_until(is_quiet)
    before = count()
    time.sleep(seconds)  # the time is what is measured
    return count() - before


def test_it_sleeps_when_nothing_happens(lab, pm, daemon, wait_until):
    assert wakes(lab, pm, daemon(), wait_until, 4) <= 1


@pytest.mark.long
def test_it_wakes_up_no_more_than_once_in_ten_seconds(lab, pm, daemon, systemd, wait_until):
    """As a service, with the watchdog of its unit to feed."""
    unit = (BUILD / 'systemd/portmirrord.service').read_text()
    watchdog = int(re.search(r'^WatchdogSec=(\d+)s$', unit, re.M)[1]) * 1_000_000
    running = daemon(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC=str(watchdog))
    assert wakes(lab, pm, running, wait_until, 65) <= 6


CAPABILITIES = 1 << 12 | 1 << 13 | 1 << 19 | 1 << 39  # net_admin, net_raw, sys_ptrace, bpf


def test_it_gives_up_what_it_does_not_need(lab, pm, daemon):
    running = daemon()
    assert int(status_of(running, 'CapEff'), 16) == CAPABILITIES
    assert int(status_of(running, 'CapPrm'), 16) == CAPABILITIES
    assert int(status_of(running, 'CapBnd'), 16) == CAPABILITIES
    assert (status_of(running, 'NoNewPrivs'), status_of(running, 'Seccomp')) == ('1', '2')


FEW = ['setpriv', '--bounding-set', '-all,+net_admin,+net_raw,+sys_ptrace,+bpf', '--inh-caps',
       '-all', '--no-new-privs']


@pytest.mark.engine('tc')  # the engine bpf's programs are pinned: their descriptors are held for a moment only
@pytest.mark.lab(machines=3)
def test_programs_that_nothing_refers_to_are_let_go(lab, pm, daemon, wait_until):
    """Whoever removed the last filter: the daemon, the command line, or a tool that knows nothing of us."""
    running = daemon()

    def held():
        folder = f'/proc/{running.pid}/fd'
        count = 0
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                count += 'bpf' in os.readlink(f'{folder}/{fd}')
        return count

    path = pm.sessions / 'ids.yaml'
    for remove in (path.unlink, lambda: pm('rm', 'ids'), lambda: lab.host.ip(*[
            f'link del vnet{number}' for number in (1, 2, 3)])):
        path.write_text('from: bridge:br0\nto: port:ids0\n')
        wait_until(lambda: held() >= 3)
        remove()
        wait_until(lambda: held() == 0)


@pytest.mark.lab(machines=3)
def test_the_capabilities_of_the_unit_are_enough(lab, pm, daemon, wait_until):
    """From its start on it has no others: what root's command line loaded it can't open by its id,
    so it loads its own, and no frame is missing meanwhile."""
    a, b, _ = lab.machines
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    before = pm.json('show', 'ids')
    with lab.sensor.capture() as copies:
        started = []
        frames = flood(a, b, 3000, lambda: started.append(daemon(*FEW)))
        seen = copies.counts(len(frames))
    assert int(status_of(started[0], 'CapPrm'), 16) == CAPABILITIES
    assert set(seen) == set(frames) and sum(seen.values()) < 1.05 * len(frames)
    late = lab.add_machine()
    frame = ethernet(BROADCAST, late.mac, 0x88b5, b'late')
    with lab.sensor.capture() as copies:
        wait_until(lambda: late.send([frame]) or copies.frames(1, timeout=0.05))
    with lab.sensor.capture() as copies:
        late.send([frame])
        assert copies.counts(1) == {frame: 1}
    shown = pm.json('show', 'ids')
    assert [shown.get(key) for key in ('by', 'action')] == \
        [before.get(key) for key in ('by', 'action')] and whole(pm)
    assert started[0].events('error', 'session-failed') == []


def test_a_machine_of_another_user_is_found_all_the_same(lab, pm, daemon, vm, wait_until):
    """As libvirt's are, whose /proc/PID/fd only CAP_DAC_READ_SEARCH could open."""
    running = daemon(*FEW)
    pm('add', 'ids', '--from', 'vm:web1', '--to', 'port:ids0')
    wait_until(lambda: running.events('session-waiting'))
    vm('web1', 'tap0', user=12345)
    wait_until(lambda: running.events('session-whole'))
    assert pm.json('show', 'ids')['ports'] == ['tap0']


class Systemd:
    """The other end of sd_notify(3), with its store of descriptors."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(10)
        self.stored, self.said = {}, []

    def receive(self):
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        lines = dict(line.split('=', 1) for line in data.decode().splitlines())
        self.said.append(lines)
        if 'FDSTORE' in lines:
            self.stored[lines['FDNAME']] = fds[0]
        elif 'FDSTOREREMOVE' in lines:
            os.close(self.stored.pop(lines['FDNAME']))
        return lines

    def wait_for(self, key):
        while key not in self.receive():
            pass

    def close(self):
        self.socket.close()
        for fd in self.stored.values():
            os.close(fd)


@pytest.fixture
def systemd(tmp_path):
    made = Systemd(tmp_path / 'notify')
    yield made
    made.close()


def test_what_it_tells_systemd(lab, pm, daemon, systemd):
    running = daemon(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC='200000')
    systemd.wait_for('READY')
    systemd.wait_for('WATCHDOG')
    systemd.wait_for('WATCHDOG')
    os.kill(running.pid, signal.SIGHUP)
    systemd.wait_for('RELOADING')
    systemd.wait_for('READY')
    running.process.terminate()
    systemd.wait_for('STOPPING')
    assert running.process.wait(10) == 0


@pytest.mark.engine('tc')  # the engine bpf's are pinned
@pytest.mark.lab(machines=3)
def test_programs_outlive_a_restart_in_the_store(lab, pm, daemon, systemd, wait_until):
    """With the descriptors that systemd kept, a new process without CAP_SYS_ADMIN has nothing to
    do."""
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    running = daemon(*FEW, NOTIFY_SOCKET=str(systemd.path))
    systemd.wait_for('READY')
    running.kill()
    # The kernel lets go of the action a moment after its filters were replaced.
    wait_until(lambda: re.search(r'\bbind 6\n', lab.host.state()['action']))
    state = lab.host.state()
    assert len(systemd.stored) == 3  # a program each way, their map
    names = list(systemd.stored)
    hand = ' '.join(f'{3 + i}<&{systemd.stored[name]}' for i, name in enumerate(names))
    counter = pm.root / 'changes'
    environment = pm.preloaded(COUNT_FILE=str(counter), LISTEN_FDS=str(len(names)),
                               LISTEN_FDNAMES=':'.join(names))
    daemon(*FEW, 'bash', '-c', f'LISTEN_PID=$$ exec "$0" {hand}',
           pass_fds=list(systemd.stored.values()), **environment)
    assert not counter.exists() and lab.host.state() == state
    assert is_copied(lab)


def test_without_privileges_it_says_so(lab, pm):
    result = lab.host.run('setpriv', '--bounding-set', '-all', '--inh-caps', '-all', '--reuid',
                          '65534', '--clear-groups', PROGRAM, check=False, env={**os.environ, **pm.env})
    assert result.returncode == 1
    assert 'CAP_NET_ADMIN' in result.stderr and result.stderr.count('\n') == 1


@pytest.mark.parametrize('options, status, told', [
    (['--listen', 'nowhere'], 2, "'nowhere'"),
    (['--listen', 'tcp:127.0.0.1:8640'], 2, '--token-file'),
    (['--listen', 'tcp:0.0.0.0:8640', '--token-file', '/dev/null'], 2, '--certificate'),
    (['--key', '/dev/null'], 2, '--certificate'),
    (['--lsten', 'unix:/x'], 2, "'--listen'"),
    (['follow'], 2, "'follow'"),
    (['--listen', 'tcp:127.0.0.1:8640', '--token-file', '/nowhere'], 1, '/nowhere'),
    (['--listen', 'unix:/nowhere/api.sock'], 1, '/nowhere/api.sock'),
])
def test_what_is_wrong_with_its_options_is_said_before_anything_is_done(lab, pm, options, status, told):
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').write_text('from: bridge:br0\nto: port:ids0\n')
    before = lab.host.state()
    result = lab.host.run(PROGRAM, '--group', 'root', *options, check=False, env={**os.environ, **pm.env})
    assert result.returncode == status
    lines = result.stderr.splitlines()
    assert told in lines[0] and len(lines) == status  # usage errors point to --help, too
    assert lab.host.state() == before and not (pm.root / 'run/portmirror/events').exists()


@pytest.mark.engine('tc')
@pytest.mark.parametrize('variables, told', [
    ({'PORTMIRROR_ENGINE': 'steam'}, 'portmirrord: PORTMIRROR_ENGINE: '),
    ({'NOTIFY_SOCKET': 'nowhere'}, 'portmirrord: NOTIFY_SOCKET names no socket: nowhere'),
    ({'NOTIFY_SOCKET': 'nowhere', 'JOURNAL_STREAM': '8:1'}, '<3>NOTIFY_SOCKET names no socket: nowhere'),
])
def test_what_is_wrong_with_its_environment_is_said(lab, pm, variables, told):
    result = lab.host.run(PROGRAM, '--group', 'root', check=False, env={**os.environ, **pm.env, **variables})
    assert result.returncode == 1 and result.stderr.startswith(told) and result.stderr.count('\n') == 1


@pytest.mark.engine('tc')
@pytest.mark.parametrize('call, told', [('prctl', "can't give up new privileges"),
                                        ('capset', "can't give up capabilities"),
                                        ('capget', "can't read the capabilities")])
def test_it_does_not_run_with_privileges_that_it_can_not_give_up(lab, pm, tmp_path, call, told):
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}
    result = lab.host.run('strace', '-f', '-o', tmp_path / 'trace', '-e', f'trace={call}', '-e',
                          f'inject={call}:error=EPERM' + (':when=2' if call == 'capget' else ''),  # first: are we root?
                          PROGRAM, '--group', 'root', check=False, env=env)
    assert result.returncode == 1 and f'portmirrord: {told}: Operation not permitted\n' in result.stderr


@pytest.mark.engine('tc')
def test_without_filters_for_system_calls_it_mirrors_and_says_so(lab, pm, daemon, tmp_path):
    """As in a kernel that was built without them."""
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    running = daemon('strace', '-D', '-o', tmp_path / 'trace', '-e', 'trace=seccomp', '-e', 'signal=none', '-e',
                     'inject=seccomp:error=EINVAL', ASAN_OPTIONS=os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0')
    assert "portmirrord: can't filter system calls: " in running.errors()
    assert is_copied(lab)


@pytest.mark.engine('tc')
@pytest.mark.parametrize('number', ['', '200000us', 'soon', '-200000'])
def test_a_number_that_is_none_is_as_good_as_absent(lab, pm, daemon, systemd, number):
    """The watchdog would be fed twice within that time else."""
    daemon(NOTIFY_SOCKET=str(systemd.path), WATCHDOG_USEC=number)
    systemd.wait_for('READY')
    systemd.socket.settimeout(0.4)
    with pytest.raises(TimeoutError):
        systemd.wait_for('WATCHDOG')


@pytest.mark.engine('tc')
def test_it_does_not_run_where_it_would_hear_no_signal(lab, pm, tmp_path):
    before = lab.host.state()
    env = {**os.environ, **pm.env, 'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'}
    result = lab.host.run('strace', '-f', '-o', tmp_path / 'trace', '-e', 'trace=signalfd4', '-e',
                          'inject=signalfd4:error=EMFILE', PROGRAM, '--group', 'root', check=False, env=env)
    assert (result.returncode, result.stderr) == (1, "portmirrord: can't watch for signals: Too many open files\n")
    assert lab.host.state() == before


@pytest.mark.engine('tc')
def test_without_memory_at_its_start_it_says_so(lab, pm):
    """The values of its options, and the descriptors that systemd has kept, come first."""
    script = 'exec 3</dev/null; export LISTEN_PID=$$; exec env "$@"'
    command = [PROGRAM, '--group', 'root', '--host', 'a', '--listen', 'unix:/nowhere/api.sock']
    environment = pm.preloaded('fail_alloc', LISTEN_FDS='1', LISTEN_FDNAMES='map-1', LC_ALL='C')
    preload = f'LD_PRELOAD={environment.pop("LD_PRELOAD")}'
    told = collections.Counter()
    for step in range(1, 41):
        result = lab.host.run('bash', '-c', script, 'bash', preload, f'FAIL_AT={step}', *command, check=False,
                              env=environment)
        assert result.returncode == 1 and re.fullmatch(r'portmirrord: .+\n', result.stderr), result.stderr
        told[result.stderr] += 1
    assert told['portmirrord: out of memory\n'] >= 20, told


@pytest.mark.engine('tc')
def test_it_takes_as_many_descriptors_as_it_may(lab, pm, daemon):
    running = daemon('prlimit', '--nofile=100:2000')
    limits = open(f'/proc/{running.pid}/limits').read()
    assert re.search(r'^Max open files +2000 +2000 ', limits, re.M)


def test_a_second_one_leaves_the_first_alone(lab, pm, daemon):
    """Wherever it would serve. Another root, another network namespace may have one of their own."""
    running = daemon()
    elsewhere = ['--group', 'root', '--listen', f'unix:{pm.root}/other.sock']
    env = {**os.environ, **pm.env}
    for before, who in [([], f'as process {running.pid}:'),
                        (['unshare', '--pid', '--fork'], 'in another PID namespace:')]:
        result = lab.host.run(*before, PROGRAM, *elsewhere, check=False, env=env)
        assert result.returncode == 1 and f'portmirrord runs already, {who}' in result.stderr
        assert result.stderr.count('\n') == 1
    assert running.events('stopped') == [] and running.answers()
    for before, options in [([], ['--root', pm.root / 'another']), (['unshare', '--net'], [])]:
        with lab.host.popen(*before, PROGRAM, *elsewhere, *options, env=env, stderr=subprocess.PIPE) as other:
            assert 'follows this host from now on' in other.stderr.readline()
            other.terminate()
            assert other.wait(20) == 0


def test_a_loop_that_somebody_makes_of_a_mirror_ends_it(lab, pm, daemon, wait_until):
    """The other end of the destination gets on the bridge whose ports are mirrored: frames would go round for ever."""
    a = lab.machines[0]
    lab.host.ip('link add sp0 type veth peer name sp1', 'link set sp0 up', 'link set sp1 up')
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:sp0')
    service = daemon()
    lab.host.ip('link set sp1 master br0')
    wait_until(lambda: pm.json('show', 'ids')['state'] == 'failed')
    assert 'a loop: ids copies to sp0' in pm.json('show', 'ids')['reasons'][0]
    wait_until(lambda: service.events('session-failed'))
    before = lab.host.counters('sp0')
    a.send([ethernet(BROADCAST, a.mac, 0x88b5, b'round and round')])
    assert lab.host.counters('sp0')[0] - before[0] == 0
    lab.host.ip('link set sp1 nomaster')
    wait_until(lambda: whole(pm))
