# SPDX-License-Identifier: MIT
"""portmirrord as systemd runs it: by the unit that is installed, under a systemd of the test's own, the first
process of a container that shares the lab's host."""
import ctypes
import json
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time
import types

import pytest

from conftest import BUILD, TOP
from lab import BROADCAST, TCX, ethernet
from test_daemon import CAPABILITIES, is_copied
from test_vms import Vm

SYSTEMD = pathlib.Path('/lib/systemd/systemd')
PR_SET_PDEATHSIG = 1
UNIT = BUILD / 'systemd/portmirrord.service'

# The container has of its own: /etc and /usr/local on top of the host's, /run, the control groups below the
# one that it is started in. The sysctls it can only read. Of the units there are ours, the journal's, and
# empty ones in place of a whole boot.
BOOT = r'''
layers=$(mktemp -d)
mount -t tmpfs none "$layers"
for folder in /etc /usr/local; do
	mkdir -p "$layers$folder/files" "$layers$folder/work"
	mount -t overlay -o "lowerdir=$folder,upperdir=$layers$folder/files,workdir=$layers$folder/work" none $folder
done
umount -l "$layers"
rmdir "$layers"
for folder in /run /var/tmp /var/log; do mount -t tmpfs none $folder; done
mount --bind /proc/sys /proc/sys
mount -o remount,ro,bind /proc/sys
umount -R /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mkdir -p /usr/local/lib/sysusers.d /run/units
cp "$1/systemd/portmirror.conf" /usr/local/lib/sysusers.d
cp "$2"/src/portmirror/portmirror "$2"/src/portmirrord/portmirrord /usr/local/sbin
cp "$2"/systemd/*.service /lib/systemd/system/systemd-journald{.service,.socket,-dev-log.socket} /run/units
cd /run/units
for unit in sysinit basic network sockets shutdown umount; do echo '[Unit]' >$unit.target; done
for unit in multi-user.target -.slice system.slice; do printf '[Unit]\nDefaultDependencies=no\n' >./$unit; done
systemd-sysusers /usr/local/lib/sysusers.d/portmirror.conf
exec env -i PATH="$PATH" container=lab SYSTEMD_UNIT_PATH=/run/units "$0" --system --unit=multi-user.target \
	--log-target=console --log-level=warning --show-status=no
'''


def control_groups():
    """Where this machine has control groups of the second version; None: nowhere."""
    for line in pathlib.Path('/proc/self/mounts').read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == 'cgroup2':
            return where
    return None


class Container:
    """It ends with the test, however that ends: the kernel kills who started it, and so it."""

    def __init__(self, lab, log, engine):
        self.lab, self.engine = lab, engine
        self.group = pathlib.Path(tempfile.mkdtemp(prefix='portmirror-test-', dir=control_groups()))
        self.process = lab.host.popen(
            'unshare', '--mount-proc', '--cgroup', '--pid', '--ipc', '--uts', '--fork', '--kill-child',
            '--propagation', 'private', 'bash', '-euc', BOOT, SYSTEMD, TOP, BUILD, stdout=log, stderr=log,
            stdin=subprocess.DEVNULL, preexec_fn=self._enter)

    def _enter(self):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        (self.group / 'cgroup.procs').write_text('0')

    @property
    def first(self):
        """The pid of its first process as it is seen from here; None until that is systemd."""
        children = pathlib.Path(f'/proc/{self.process.pid}/task/{self.process.pid}/children').read_text()
        if not children:
            return None
        comm = pathlib.Path(f'/proc/{int(children)}/comm').read_text()
        return int(children) if comm == 'systemd\n' else None

    def command(self, *words):
        return ['nsenter', '-t', self.first, '--mount', '--pid', '--cgroup', '--ipc', '--uts', '--', *words]

    def run(self, *words, **options):
        return self.lab.host.run(*self.command(*words), **options)

    def popen(self, *words, **options):
        return self.lab.host.popen(*self.command(*words), **options)

    def systemctl(self, *words, **options):
        return self.run('systemctl', '--no-pager', *words, **options).stdout

    def show(self, name):
        """A property of the unit, as text."""
        return self.systemctl('show', '--value', '-p', name, 'portmirrord').strip()

    def pm(self, *words, **options):
        return self.run('env', f'PORTMIRROR_ENGINE={self.engine}', 'portmirror', *words, **options)

    def mirror(self, name):
        return json.loads(self.pm('show', name, '--json').stdout)

    def write(self, path, text):
        self.run('sh', '-c', 'mkdir -p "${1%/*}" && cat >"$1"', 'sh', path, stdin=text)

    def outside(self, pid):
        """A pid of the container, as it is seen from here."""
        for status in pathlib.Path('/proc').glob('[0-9]*/status'):
            try:
                text = status.read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            pids = re.search(r'^NSpid:\t(.*)$', text, re.M)[1].split()
            if len(pids) > 1 and pids[-1] == str(pid) and self._has(int(pids[0])):
                return int(pids[0])
        raise AssertionError(f'the container has no process {pid}')

    def _has(self, pid):
        return os.readlink(f'/proc/{pid}/ns/pid') == os.readlink(f'/proc/{self.first}/ns/pid')

    @property
    def main(self):
        return self.outside(self.show('MainPID'))

    def events(self, *kinds):
        lines = self.run('cat', '/run/portmirror/events').stdout.splitlines()
        return [event for event in map(json.loads, lines) if event['kind'] in kinds]

    def close(self):
        self.process.kill()
        self.process.wait(10)
        for folder, _, _ in os.walk(self.group, topdown=False):
            remove(folder)


def remove(folder):
    """A control group, as soon as its last process is gone."""
    end = time.monotonic() + 10
    while True:
        try:
            return os.rmdir(folder)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


@pytest.fixture(params=['tc', 'bpf'] if TCX else ['tc'])
def container(request, lab, tmp_path, wait_until):
    """Sessions that leave the engine open have this one."""
    if not SYSTEMD.exists() or not control_groups():
        pytest.skip('no systemd here' if control_groups() else 'no control groups of the second version')
    with open(tmp_path / 'log', 'w+', encoding='utf-8') as log:
        made = Container(lab, log, request.param)
        try:
            def is_up():
                assert made.process.poll() is None, (tmp_path / 'log').read_text()
                return made.first and 'active' in made.systemctl('is-active', 'multi-user.target',
                                                                 check=False)

            wait_until(is_up, 120)  # emulated, it takes its time
            made.write(f'{DROP_IN}/engine.conf', f'[Service]\nEnvironment=PORTMIRROR_ENGINE={made.engine}\n')
            made.systemctl('daemon-reload')
            made.systemctl('start', 'systemd-journald')
            yield made
        finally:
            made.close()
            print((tmp_path / 'log').read_text())


def is_whole(container, name='ids'):
    shown = container.mirror(name)
    return shown['state'] == 'whole' and not shown['reasons']


SESSION = 'from: bridge:br0\nto: port:ids0\n'
PATH = '/etc/portmirror/sessions.d/ids.yaml'
# A program each way, their map. The engine bpf's are pinned.
STORED = {'tc': '3', 'bpf': '0'}
DROP_IN = '/run/units/portmirrord.service.d'

# A request to the daemon's socket; the answer's body.
ASK = r'''
import socket, sys
method, target, body = sys.argv[1:]
with socket.socket(socket.AF_UNIX) as s:
    s.connect('/run/portmirror/api.sock')
    s.sendall(f'{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAccept: application/json\r\n'
              f'Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}'.encode())
    answer = b''
    while data := s.recv(65536):
        answer += data
head, _, text = answer.decode().partition('\r\n\r\n')
print(head.split(' ')[1])
print(text)
'''


def ask(container, method, target, body='', before=()):
    said = container.run(*before, '/usr/bin/python3', '-c', ASK, method, target, body).stdout
    status, _, text = said.partition('\n')
    return int(status), json.loads(text) if text.strip() else None


@pytest.mark.ordinary
def test_the_unit_is_right():
    """systemd finds nothing wrong with it, and the less it can do the smaller the figure (of 10; it asks for
    ProtectKernelTunables= by name, and sees nothing of what the unit says instead)."""
    if not SYSTEMD.exists():
        pytest.skip('no systemd here')
    verify = subprocess.run(['systemd-analyze', 'verify', '--man=no', UNIT, UNIT.with_name('portmirror.service')],
                            check=False, capture_output=True, text=True)
    said = [line for line in verify.stderr.splitlines()
            if 'portmirror' in line and 'is not executable' not in line]
    assert said == []
    for unit, threshold in (UNIT, 33), (UNIT.with_name('portmirror.service'), 40):
        subprocess.run(['systemd-analyze', 'security', '--offline=yes', f'--threshold={threshold}', unit], check=True,
                       capture_output=True)


@pytest.mark.ordinary
@pytest.mark.lab(machines=3)
def test_systemd_runs_it_with_little(container, lab, wait_until):
    container.write(PATH, SESSION)
    container.systemctl('start', 'portmirrord')
    assert container.show('ActiveState') == 'active'
    assert {'libvirtd.service', 'virtqemud.service', 'pve-guests.service'} <= set(container.show('Before').split())
    assert is_whole(container) and is_copied(lab)
    status = dict(line.split(':\t', 1) for line in
                  pathlib.Path(f'/proc/{container.main}/status').read_text().splitlines())
    assert {int(status[key], 16) for key in ('CapEff', 'CapPrm', 'CapBnd')} == {CAPABILITIES}
    assert status['NoNewPrivs'] == '1' and int(status['Seccomp_filters']) >= 2
    for path in ('/sys', '/proc/sys', '/sys/fs/cgroup'):
        assert os.statvfs(f'/proc/{container.main}/root{path}').f_flag & os.ST_RDONLY
    assert container.mirror('ids')['by'] == container.engine
    assert container.show('NFileDescriptorStore') == STORED[container.engine]
    # A machine of another user, as libvirt's are.
    host = types.SimpleNamespace(popen=container.popen, ip=lab.host.ip)
    machine = Vm(types.SimpleNamespace(host=host), 'web1', 'tap0', user=12345)
    try:
        container.pm('add', 'web', '--from', 'vm:web1', '--to', 'port:ids0')
        wait_until(lambda: ask(container, 'GET', '/api/mirrors/web')[1]['state'] == 'whole')
    finally:
        machine.stop()


@pytest.mark.ordinary
@pytest.mark.lab(machines=3)
def test_without_portmirrord_the_other_unit_applies_the_sessions(container, lab):
    """At boot, and again by a reload, when it finds what it did before; a machine of another user too."""
    container.write('/run/units/portmirror.service.d/engine.conf',
                    f'[Service]\nEnvironment=PORTMIRROR_ENGINE={container.engine}\n')
    container.systemctl('daemon-reload')
    container.write(PATH, SESSION)
    container.systemctl('start', 'portmirror')
    assert is_whole(container) and is_copied(lab) and container.mirror('ids')['by'] == container.engine
    host = types.SimpleNamespace(popen=container.popen, ip=lab.host.ip)
    machine = Vm(types.SimpleNamespace(host=host), 'web1', 'tap0', user=12345)
    try:
        container.write(PATH.replace('ids', 'web'), 'from: vm:web1\nto: port:ids0\nfilter: ip\n')
        container.systemctl('reload', 'portmirror')
        assert is_whole(container, 'web') and is_whole(container) and is_copied(lab)
    finally:
        machine.stop()
    container.systemctl('stop', 'portmirror')
    assert is_copied(lab) and container.run('ls', '/run/portmirror').stdout


@pytest.mark.ordinary
def test_what_it_may_write_and_who_may_ask(container, lab, wait_until):
    a, b = lab.machines
    container.systemctl('start', 'portmirrord')
    assert container.run('stat', '-c', '%U %G %a', '/run/portmirror/api.sock').stdout == 'root portmirror 660\n'
    mirror = {'_type': 'mirror', 'name': 'ids', 'from': ['bridge:br0'], 'to': 'port:ids0'}
    status, _ = ask(container, 'POST', '/api/mirrors', json.dumps(mirror),
                    before=['setpriv', '--reuid', '65534', '--regid', 'portmirror', '--clear-groups'])
    assert status == 201
    assert 'bridge:br0' in container.run('cat', PATH).stdout
    wait_until(lambda: is_copied(lab))

    def verdict(check):
        a.send([ethernet(b.mac, a.mac, 0x88b5, os.urandom(50))])
        b.send([ethernet(a.mac, b.mac, 0x88b5, os.urandom(50))])
        return ask(container, 'GET', check['href'].removeprefix('http://localhost'))[1].get('verdict')

    def proves():
        """A check takes raw sockets, and a process of its own. (For lack of time it may be blind, or see nothing.)"""
        status, check = ask(container, 'POST', '/api/mirrors/ids/actions', '{"type": "check", "seconds": 0.5}')
        assert status == 202, check
        wait_until(lambda: verdict(check), 20)
        assert verdict(check) in ('whole', 'blind', 'nothing')
        return verdict(check) == 'whole'

    wait_until(proves, 60)
    assert ask(container, 'DELETE', '/api/mirrors/ids')[0] == 204
    assert container.run('ls', '/etc/portmirror/sessions.d').stdout == ''


@pytest.mark.ordinary
@pytest.mark.lab(machines=3)
def test_what_ends_it_is_not_the_end(container, lab, wait_until):
    """Killed, hung, restarted: systemd starts it again, which finds its own, changes nothing and copies
    nothing twice."""
    container.write(f'{DROP_IN}/quick.conf', '[Service]\nWatchdogSec=1s\nRestartSec=10ms\n')
    container.systemctl('daemon-reload')
    container.write(PATH, SESSION)
    container.systemctl('start', 'portmirrord')
    state = lab.host.state()
    for end in (lambda: os.kill(container.main, signal.SIGKILL), lambda: os.kill(container.main, signal.SIGSTOP),
                lambda: container.systemctl('restart', 'portmirrord')):
        before = container.show('MainPID')
        end()
        wait_until(lambda: container.show('MainPID') not in ('0', before) and  # pylint: disable=cell-var-from-loop
                   container.show('ActiveState') == 'active', 20)
        assert lab.host.state() == state
        assert is_copied(lab)
    assert len(container.events('started')) == 4
    assert container.events('repaired', 'fight', 'error') == []
    assert container.show('NFileDescriptorStore') == STORED[container.engine]


@pytest.mark.ordinary
def test_reloading_stopping_and_the_journal(container, lab, wait_until):
    before = lab.host.state()
    container.write(PATH, SESSION)
    container.systemctl('start', 'portmirrord')
    container.systemctl('reload', 'portmirrord')
    if container.engine == 'tc':
        lab.host.tc('qdisc del dev vnet1 clsact')
    else:
        container.run('sh', '-c', 'for pin in /sys/fs/bpf/portmirror/*/ids/*-sent; do bpftool link detach pinned $pin; done')
        container.systemctl('reload', 'portmirrord')
    wait_until(lambda: container.events('repaired'))
    container.write(PATH, 'from: bridge:br0\nto: port:ids0\nfrm: x\n')
    wait_until(lambda: container.events('session-failed'))
    container.write(PATH, SESSION)

    def journal():
        text = container.run('journalctl', '-u', 'portmirrord', '-o', 'json').stdout
        return {entry['MESSAGE']: int(entry['PRIORITY']) for entry in map(json.loads, text.splitlines())}

    def priorities(words):
        return {priority for line, priority in journal().items() if words in line}

    wait_until(lambda: priorities('it was put back') == {6})
    wait_until(lambda: priorities('ids.yaml:3') == {4})  # a warning
    wait_until(lambda: is_whole(container))
    container.systemctl('stop', 'portmirrord')
    assert container.show('Result') == 'success'
    assert is_copied(lab)
    container.pm('rm', 'ids')  # with the notes of the process that has ended
    assert lab.host.back_to(before)
    frame = ethernet(BROADCAST, lab.machines[0].mac, 0x88b5, b'over')
    with lab.sensor.capture() as copies:
        lab.machines[0].send([frame])
        assert copies.frames(quiet=0.05) == []
