# SPDX-License-Identifier: MIT
"""Everything at once, for as long as one likes: machines start and stop, sessions are edited by the API, by the
command line and as files, other tools meddle with traffic control, the sensor is replaced, and portmirrord is
killed. In the end the kernel is as the sessions say, nothing has leaked, and of a mirror that nobody touched not
one frame is missing that was not counted as lost.

Used by test_soak.py for some seconds, and by ./bench soak for half an hour.
"""
import collections
import contextlib
import fnmatch
import os
import random
import re
import signal
import struct
import threading
import time

from daemon import Daemon, Lab, Vm, ethernet, until
from lab import BROADCAST, Namespace

VMS = [f'web{number}' for number in range(1, 7)]
MIRRORS = [f'm{number}' for number in range(8)]
SOURCES = ['bridge:br0', 'port:vnet2', 'port:vnet3', 'port:tap*', 'mac:52:54:00:00:00:03', 'vm:nobody',
           *(f'vm:{name}' for name in VMS)]
FILTERS = [None, None, 'arp', 'not port 22', 'udp or vlan']
PACE = 0.005  # seconds between two frames of the steady mirror


class Steady:
    """A mirror that nobody touches, and numbered frames through it."""

    def __init__(self, lab, daemon):
        self.lab, self.daemon = lab, daemon
        self.sink = Namespace('steady')
        lab.cable('steady0', self.sink, '02:00:00:00:ff:09')
        daemon.cli('add', 'steady', '--from', 'port:vnet1', '--direction', 'sent', '--to', 'port:steady0')
        self.sent, self.seen = 0, collections.Counter()
        self.capture, self.ended = self.sink.capture(), threading.Event()
        self.thread = threading.Thread(target=self.send)
        self.thread.start()

    def send(self):
        a, b, *_ = self.lab.machines
        while not self.ended.wait(PACE):
            a.send([ethernet(b.mac, a.mac, 0x88b5, struct.pack('!Q', self.sent))])
            self.sent += 1
            self.take()

    def take(self, expect=0):
        # Frames that others send by vnet1, the broadcasts of the end, are longer.
        self.seen.update(struct.unpack_from('!Q', frame, 14)[0]
                         for frame in self.capture.frames(expect, quiet=0) if len(frame) == 60)
        self.capture.forget()

    def lost(self):
        """Frames that were lost, and counted: on the way to vnet1 by its other end, behind it by the mirror."""
        sender = self.lab.machines[0].json('ip', '-j', '-s', 'link', 'show', 'eth0')[0]['stats64']
        mirror, = self.daemon.cli_json('stats', 'steady')
        return sender['tx']['dropped'] + mirror['lost_before'] + mirror['lost_at']

    def end(self):
        """(missing, doubled) of all that was sent; not missing are those that were counted as lost."""
        self.ended.set()
        self.thread.join()
        with contextlib.suppress(AssertionError):
            until(lambda: self.take() or len(self.seen) + self.lost() >= self.sent)
        lost = self.lost()
        self.capture.close()
        self.sink.close()
        return max(self.sent - len(self.seen) - lost, 0), sum(self.seen.values()) - len(self.seen)


class Soak:
    def __init__(self, root, seed):
        self.random = random.Random(seed)
        self.lab = Lab(machines=3)
        self.lab.cable('ids1', self.lab.sensor, '02:00:00:00:ff:02', 'eth1')
        self.before = self.tc_state()
        self.daemon = Daemon(self.lab.host, root)
        self.fresh = self.daemon.descriptors()
        self.steady = Steady(self.lab, self.daemon)
        self.vms, self.taps, self.counts = {}, 0, collections.Counter()
        self.memory, self.missing, self.started = [], 0, time.monotonic()

    def tc_state(self):
        """All that tc tells of the devices that stay, and the flags of bridge ports."""
        state = self.lab.host.state()
        state['qdisc'] = re.sub(r'^qdisc .* dev ids.*\n', '', state['qdisc'], flags=re.M)
        state['bridge link'] = {link['ifname']: link['linkinfo']['info_slave_data']
                                for link in state['ip link'] if link.get('master')}
        return {key: value for key, value in state.items()
                if key not in ('ip link', 'bridge vlan') and ' ids' not in key}

    # What happens

    def start_machine(self):
        name = self.random.choice([name for name in VMS if name not in self.vms] or [None])
        if not name:
            return self.stop_machine()
        self.taps += 1
        self.vms[name] = Vm(self.lab.host, name, f'tap{self.taps}', VMS.index(name) + 1)
        self.vms[name].tap = f'tap{self.taps}'
        return None

    def stop_machine(self):
        if self.vms:
            machine = self.vms.pop(self.random.choice(list(self.vms)))
            if self.random.random() < 0.5:
                machine.process.kill()
            machine.stop()

    def move_tap(self):
        where = self.random.choice(['nomaster', 'master br0', 'down', 'up', 'master br0 up'])
        self.quietly('ip', f'link set {self.any_tap()} {where}')

    def meddle(self):
        """What careless tools do to a device, whether it succeeds or not."""
        line = self.random.choice([
            'qdisc del dev {} clsact', 'filter del dev {} ingress', 'filter del dev {} egress',
            'qdisc add dev {} clsact', 'qdisc replace dev {} root handle 5: htb default 1', 'qdisc del dev {} root',
            'filter add dev {} ingress pref 77 protocol all u32 match u32 0 0 flowid 1:1',
            'filter del dev {} ingress pref 77'])
        self.quietly('tc', line.format(self.any_tap()))

    def redirect(self):
        """Turns the action of one of our sessions around. With "continue", which is not tc's default: else the
        classification ends there, for the filters of the mirror that nobody touches as well."""
        found = self.daemon.get('/api/mirrors').value
        actions = self.lab.host.json('tc', '-j', 'actions', 'list', 'action', 'mirred')
        numbers = [action['index'] for part in actions for action in part.get('actions', [])
                   if action.get('to_dev') in ('ids0', 'ids1')]
        if found and numbers:
            self.quietly('tc', f'actions replace action mirred egress mirror dev vnet3 continue '
                               f'index {self.random.choice(numbers)}')

    def replace_sensor(self):
        number = self.random.randrange(2)
        self.quietly('ip', f'link del ids{number}')
        self.lab.cable(f'ids{number}', self.lab.sensor, f'02:00:00:00:ff:{number + 1:02x}', f'eth{number}')

    def edit_by_api(self):
        name, path = self.any_mirror()
        what = self.random.choice(['create', 'create', 'change', 'change', 'replace', 'delete', 'action'])
        if what == 'create':
            self.ask('POST', '/api/mirrors', {'_type': 'mirror', 'name': name, **self.attributes()})
        elif what == 'change':
            attributes = self.attributes()
            key = self.random.choice(list(attributes))
            self.ask('PATCH', path, {key: attributes[key]})
        elif what == 'replace':
            self.ask('PUT', path, {'_type': 'mirror', 'name': name, **self.attributes()})
        elif what == 'delete':
            self.ask('DELETE', path)
        else:
            self.ask('POST', f'{path}/actions', self.random.choice(
                [{'type': 'bypass'}, {'type': 'restore'}, {'type': 'check', 'seconds': 0.2}]))

    def edit_by_command(self):
        name, _ = self.any_mirror()
        attributes = self.attributes()
        words = [word for source in attributes['from'] for word in ('--from', source)]
        command = self.random.choice([['add', name, *words, '--to', attributes['to']], ['rm', name], ['apply']])
        self.daemon.cli(*command, status=None)

    def edit_file(self):
        name, _ = self.any_mirror()
        path = self.daemon.sessions / f'{name}.yaml'
        attributes = self.attributes()
        if self.random.random() < 0.3:
            path.unlink(missing_ok=True)
        else:
            broken = '\nfrm: what?' if self.random.random() < 0.2 else ''
            path.write_text(f'from: [{", ".join(attributes["from"])}]\nto: {attributes["to"]}{broken}\n')

    def end_daemon(self):
        how = self.random.choice(['kill', 'kill', 'stop', 'reload'])
        if how == 'reload':
            self.daemon.process.send_signal(signal.SIGHUP)
            return
        getattr(self.daemon, how)()
        self.daemon.start()

    # Helpers

    def any_tap(self):
        return self.random.choice([machine.tap for machine in self.vms.values()] or ['tap0'])

    def any_mirror(self):
        name = self.random.choice(MIRRORS)
        return name, f'/api/mirrors/{name}'

    def attributes(self):
        chosen = {'from': self.random.sample(SOURCES, self.random.randint(1, 3)),
                  'to': self.random.choice(['port:ids0', 'port:ids1', 'vm:web6']),
                  'direction': self.random.choice(['both', 'sent', 'received'])}
        filter_ = self.random.choice(FILTERS)
        return {**chosen, 'filter': filter_} if filter_ else chosen

    def quietly(self, tool, line):
        self.lab.host.run(tool, *line.split(), check=False)

    def ask(self, method, path, body=None):
        answer = self.daemon.ask(method, path, body)
        self.counts[f'answer {answer.status}'] += 1
        assert answer.status < 500 or answer.status == 503, answer

    # The whole

    def run(self, seconds):
        """In its second half portmirrord lives on, so that what it leaks adds up."""
        events = [self.start_machine, self.start_machine, self.stop_machine, self.move_tap, self.meddle,
                  self.redirect, self.replace_sensor, self.edit_by_api, self.edit_by_api, self.edit_by_api,
                  self.edit_by_command, self.edit_file]
        half, end = self.started + seconds / 2, self.started + seconds
        while (now := time.monotonic()) < end:
            event = self.random.choice(events + [self.end_daemon] * (now < half))
            self.counts[event.__name__.replace('_', ' ')] += 1
            event()
            if now >= half:
                self.memory.append(self.daemon.memory() / 1e6)
            time.sleep(self.random.uniform(0, 0.1))

    def is_settled(self):
        """Saved and kernel are equal: nothing would be changed, and each mirror has the ports that its sources
        mean, as they are found here."""
        if 'nothing would change' not in self.daemon.cli('apply', '--dry-run', status=None).stdout:
            return False
        links = self.lab.host.json('ip', '-j', 'link')
        return all(self.is_as_saved(mirror['name'], links) for mirror in self.daemon.get('/api/mirrors').value)

    def is_as_saved(self, name, links):
        saved, current = (self.daemon.get(f'/api/mirrors/{name};{which}').value for which in ('saved', 'current'))
        if current['state'] == 'waiting' and not current.get('to'):
            return True  # what waits for its destination is left as it is
        if saved.get('suspended') or current['state'] == 'waiting':
            return current['from'] == []
        wanted = set().union(*(self.meant(source, links) for source in saved['from'])) - self.meant(saved['to'], links)
        return set(current['from']) == {f'port:{port}' for port in wanted} and all(
            saved.get(key) == current.get(key) for key in ('direction', 'filter'))

    def meant(self, selector, links):
        """The ports that a selector means, without asking portmirror."""
        kind, _, value = selector.partition(':')
        if kind == 'vm' or kind == 'mac':
            name = value if kind == 'vm' else VMS[int(value[-2:], 16) - 1]
            return {self.vms[name].tap} if name in self.vms else set()
        if kind == 'bridge':
            return {link['ifname'] for link in links if link.get('master') == value}
        return {link['ifname'] for link in links if fnmatch.fnmatch(link['ifname'], value)}

    def check(self):
        """The end. A device that was fought about is left alone for up to five minutes."""
        for mirror in self.daemon.get('/api/mirrors').value:
            if 'from' not in self.daemon.get(f'/api/mirrors/{mirror["name"]};saved').value:
                # A file that can't be read, or makes a loop: its mirror stays as it was, so it is not compared.
                (self.daemon.sessions / f'{mirror["name"]}.yaml').unlink()
        until(self.is_settled, 330, 'that saved and kernel are equal')
        self.missing, doubled = self.steady.end()
        self.counts.update({'frames of the steady mirror': self.steady.sent, 'missing': self.missing,
                            'doubled': doubled})
        self.check_frames()
        for name in [*self.vms]:
            self.vms.pop(name).stop()
        for mirror in self.daemon.get('/api/mirrors').value:
            assert self.daemon.ask('DELETE', f'/api/mirrors/{mirror["name"]}').status == 204
        self.quietly('ip', 'link del steady0')
        until(lambda: self.tc_state() == self.before, 20, 'that the kernel is as before')
        until(lambda: self.daemon.descriptors() <= self.fresh and not self.daemon.children(), 20,
              f'that there are no more than {self.fresh} descriptors')
        assert self.programs() == 0

    def check_frames(self):
        """A new mirror of the whole bridge gets a broadcast once, whatever else there is. (But copies that go to
        a machine on the bridge are what that machine gets, and are mirrored as such.)"""
        for mirror in self.daemon.get('/api/mirrors').value:
            if mirror.get('to') == 'vm:web6':
                assert self.daemon.ask('DELETE', f'/api/mirrors/{mirror["name"]}').status == 204
        self.daemon.cli('add', 'all', '--from', 'bridge:br0', '--to', 'port:ids1')
        a = self.lab.machines[0]
        frame = ethernet(BROADCAST, a.mac, 0x88b5, os.urandom(64))
        with self.lab.sensor.capture('eth1') as copies:
            a.send([frame])
            got = copies.counts(1, quiet=0.3)[frame]
        assert got == 1, f'a broadcast was copied {got} times'

    def programs(self):
        """Those and their maps that portmirrord still holds."""
        folder = f'/proc/{self.daemon.pid}/fd'
        count = 0
        for fd in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                count += 'bpf' in os.readlink(f'{folder}/{fd}')
        return count

    def close(self):
        with contextlib.suppress(Exception):
            self.steady.ended.set()
        for machine in self.vms.values():
            machine.process.kill()
            machine.stop()
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        self.lab.close()


def growth(memory):
    """How much more it is at the end of the second half than in its first quarter: the most of each."""
    quarter = max(len(memory) // 4, 1)
    return max(memory[-quarter:]) - max(memory[:quarter]) if memory else 0.0
