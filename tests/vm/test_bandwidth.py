# SPDX-License-Identifier: MIT
"""libvirt limits the bandwidth of a mirrored machine. By tcx the mirror is in nobody's way. By filters libvirt's
limits are in force, and "portmirror apply", or portmirrord by itself, puts the mirror back where libvirt's own
qdiscs took its filters with them.

libvirt wants sch_htb, sch_sfq and act_police. Where this kernel lacks one of them, the tests run inside
Debian's own, and inside the one of its backports, which has tcx; emulated; so the machine is not booted, and what its card does is done at its tap, as QEMU would.
"""
import ctypes
import fcntl
import os
import pathlib
import struct
import time

import pytest

from conftest import BUILD
from hypervisor import HERE, Image
from lab import TCX, Lab, ethernet

TOP = HERE.parents[1]
TUNGETVNETHDRSZ = 0x800454d7
SYS_pidfd_open, SYS_pidfd_getfd = 434, 438
LIMITS = ['--inbound', '2000,4000,512', '--outbound', '1000,2000,256'] # kB/s, kB/s, kB


def lacks():
    """What libvirt's limits need and this kernel doesn't have."""
    with Lab(machines=1) as lab:
        tried = {'sch_sfq': ['qdisc add dev vnet1 root sfq'],
                 'act_police': ['qdisc add dev vnet1 ingress',
                                'filter add dev vnet1 parent ffff: matchall action police rate 1mbit burst 9k'],
                 'cls_fw': ['qdisc replace dev vnet1 root handle 1: htb',
                            'filter add dev vnet1 parent 1: handle 1 fw classid 1:1']}
        return [name for name, lines in tried.items() if lab.host.tc(*lines, check=False).returncode]


inside = pytest.mark.skipif('bool(lacks())', reason='run in the emulated kernel instead')


@pytest.mark.parametrize('newer', [False, True], ids=['stock', 'backports'])
def test_on_debians_kernel(libvirt, cache, newer):
    if not lacks():
        pytest.skip('this kernel has all that libvirt needs: the others have run here')
    libvirt.close()  # it has filled the cache
    command = ['/usr/bin/python3', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--color=no',
               pathlib.Path(__file__).relative_to(TOP), '-k', 'libvirt_limits or by_tcx', '-s']
    with Image(TOP / 'build-guest', newer).guest(*command, folder=TOP, memory=3072, cpus=2,
                                          environment={'BUILD': str(BUILD),
                                                       'LIBVIRT_CACHE': str(cache)}) as guest:
        status = guest.wait(580)
        said = guest.read('output')
        print(said)
    assert status == 0 and ('skipped' in said) == (not newer)


class Card:
    """The machine's side of its tap, in QEMU's place: descriptors of a process can be borrowed."""

    def __init__(self, port):
        libc = ctypes.CDLL(None, use_errno=True)
        pid, number = self._holder(port)
        pidfd = libc.syscall(SYS_pidfd_open, pid, 0)
        self._fd = libc.syscall(SYS_pidfd_getfd, pidfd, number, 0)
        os.close(pidfd)
        assert self._fd >= 0, os.strerror(ctypes.get_errno())
        size = fcntl.ioctl(self._fd, TUNGETVNETHDRSZ, struct.pack('i', 0))
        self._head = bytes(struct.unpack('i', size)[0])

    @staticmethod
    def _holder(port):
        for process in pathlib.Path('/proc').glob('[0-9]*/cmdline'):
            if not process.read_bytes().startswith(b'/usr/bin/qemu-system-x86_64'):
                continue
            for info in process.with_name('fdinfo').iterdir():
                if f'iff:\t{port}\n' in info.read_text():
                    return int(process.parent.name), int(info.name)
        raise AssertionError(f'no QEMU holds {port}')

    def send(self, frames):
        for frame in frames:
            os.write(self._fd, self._head + frame)

    def close(self):
        os.close(self._fd)


@pytest.fixture
def web(libvirt, image):
    return libvirt.define(image, 'web1', 1).start('--paused')


def qos(lab, port):
    """libvirt's limits as the kernel has them, in numbers."""
    classes = lab.host.run('tc', 'class', 'show', 'dev', port).stdout
    police = lab.host.run('tc', 'filter', 'show', 'dev', port, 'parent', 'ffff:').stdout
    return 'htb 1:1' in classes and 'rate 16Mbit ceil 32Mbit' in classes, 'police' in police and 'rate 8Mbit' in police


def qdiscs(lab, port):
    """Their kinds; the kernel's own default comes and goes with a new handle each time."""
    return sorted(qdisc['kind'] for qdisc in lab.host.json('tc', '-j', 'qdisc', 'show', 'dev', port))


def both_ways(lab, web, text):
    """Frames to the machine and from it."""
    a = lab.machines[0]
    there = [ethernet(web.mac, a.mac, 0x88b5, b'%s, there %d' % (text, i)) for i in range(5)]
    back = [ethernet(a.mac, web.mac, 0x88b5, b'%s, back %d' % (text, i)) for i in range(5)]
    card = Card(web.ports()[0])
    a.send(there)
    card.send(back)
    card.close()
    return dict.fromkeys(there + back, 1)


def assert_copied(lab, web, text):
    with lab.sensor.capture() as copies:
        sent = both_ways(lab, web, text)
        assert copies.counts(len(sent), timeout=20, quiet=0.5) == sent


def assert_throttled(lab, web):
    """Far more than the burst, all at once: what the limit leaves gets through the bridge, and it is not all."""
    a, count = lab.machines[0], 600
    frames = [ethernet(a.mac, web.mac, 0x88b5, b'%d'.ljust(1400) % i) for i in range(count)]
    card = Card(web.ports()[0])
    with a.capture() as arrived:
        card.send(frames)
        got = sum(arrived.counts(1, timeout=20, quiet=1).values())
    card.close()
    assert 0 < got < count, f'{got} of {count} frames got through a limit of 256 kB'


@inside
@pytest.mark.skipif(not TCX, reason='this kernel has no tcx (Linux 6.6)')
def test_by_tcx_the_mirror_is_in_nobodys_way(lab, pm, web, daemon):
    """libvirt's command works as if nobody were there, before, during and after; nothing has to be put back."""
    port, = web.ports()
    kinds = qdiscs(lab, port)
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0')
    assert pm.json('show', 'mirror')['by'] == 'bpf' and qdiscs(lab, port) == kinds
    assert_copied(lab, web, b'not limited yet')
    for options in (LIMITS, ['--inbound', '0', '--outbound', '0'], LIMITS, LIMITS):
        web.virsh('domiftune', port, *options, '--live')
        assert_copied(lab, web, b'at once')
        assert pm.json('show', 'mirror')['state'] == 'whole'
        assert qos(lab, port) == ((True, True) if options == LIMITS else (False, False))
    assert_throttled(lab, web)
    assert not [line for line in (pm.root / 'run/portmirror/events').read_text().splitlines()
                if '"repaired"' in line or '"fight"' in line]
    limited = qdiscs(lab, port)
    pm('rm', 'mirror')
    assert qdiscs(lab, port) == limited and qos(lab, port) == (True, True)
    web.virsh('domiftune', port, '--inbound', '0', '--outbound', '0', '--live')
    assert qdiscs(lab, port) == kinds


@inside
@pytest.mark.engine('tc')
def test_libvirt_limits_a_machine_that_portmirrord_mirrors(lab, pm, web, daemon, wait_until):
    """On a machine that has limits: libvirt's command works as if nobody were there, they hold, and the mirror comes
    back by itself."""
    port, = web.ports()
    web.virsh('domiftune', port, *LIMITS, '--live')
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0')
    for _ in range(3):
        web.virsh('domiftune', port, *LIMITS, '--live')
        limited = time.monotonic()
        wait_until(lambda: pm.json('show', 'mirror')['state'] == 'whole' and qos(lab, port) == (True, True))
        print(f'back after {time.monotonic() - limited:.2f} s, in an emulated machine')
        assert_copied(lab, web, b'limited, and mirrored')
        assert_throttled(lab, web)
    web.virsh('domiftune', port, '--inbound', '0', '--outbound', '0', '--live')
    wait_until(lambda: pm.json('show', 'mirror')['state'] == 'whole')
    assert qos(lab, port) == (False, False)
    assert_copied(lab, web, b'not limited any more')


@inside
@pytest.mark.engine('tc')
def test_libvirt_limits_a_mirrored_machine(lab, pm, web):
    port, = web.ports()
    kinds = qdiscs(lab, port)
    web.virsh('domiftune', port, *LIMITS, '--live')
    limited = lab.host.state()
    assert qos(lab, port) == (True, True)

    # Before: the mirror goes along with the limits, and leaves them as they are.
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0')
    assert_copied(lab, web, b'limited before')
    assert qos(lab, port) == (True, True)
    pm('rm', 'mirror')
    assert lab.host.back_to(limited, 20)

    # Meanwhile: libvirt makes its qdiscs anew, and our filters go with the old ones.
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0')
    web.virsh('domiftune', port, *LIMITS, '--live')
    assert qos(lab, port) == (True, True)
    assert pm.json('show', 'mirror')['state'] == 'partial'
    pm('apply')
    assert_copied(lab, web, b'limited meanwhile')
    assert qos(lab, port) == (True, True)

    # No limits any more.
    web.virsh('domiftune', port, '--inbound', '0', '--outbound', '0', '--live')
    pm('apply')
    assert qos(lab, port) == (False, False)
    assert_copied(lab, web, b'not limited')

    # To our clsact libvirt's root qdisc is no matter; its ingress qdisc is what the manual tells of.
    web.virsh('domiftune', port, '--inbound', '2000,4000,512', '--live')
    assert_copied(lab, web, b'limited in one direction')
    assert qos(lab, port) == (True, False)
    refused = web.virsh('domiftune', port, '--outbound', '1000,2000,256', '--live', check=False)
    assert 'Exclusivity flag on' in refused.stderr
    pm('apply')
    assert_copied(lab, web, b'refused')
    pm('rm', 'mirror')
    web.virsh('domiftune', port, *LIMITS, '--live')
    assert qos(lab, port) == (True, True)
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0')
    assert_copied(lab, web, b'limited')

    pm('rm', 'mirror')
    web.virsh('domiftune', port, '--inbound', '0', '--outbound', '0', '--live')
    assert qdiscs(lab, port) == kinds
    assert 'mirred' not in lab.host.run('tc', 'actions', 'list', 'action', 'mirred').stdout
