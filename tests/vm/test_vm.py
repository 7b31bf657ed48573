# SPDX-License-Identifier: MIT
"""Real virtual machines: a sensor's guest counts the frames that reach its card, and they are compared
with what the mirrored guest has sent and got. No daemon is told anything: it follows by itself."""
import itertools
import subprocess
import sys
from collections import Counter

import pytest

from hypervisor import fnv1a, wait
from lab import ethernet, frames_of_every_kind, ipv4

NAMES = ['web 1', 'wéb ünd 網', '"it\'s"', 'a,b=c', '-name', '100%'] # libvirt itself refuses a slash


_numbers = itertools.count()


def talk(lab, machine):
    """Frames to the machine and from it: pings, one of them in fragments, and every kind of frame. Returns
    the last one that it gets, as it tells of it: once it has, it has told of all."""
    a = lab.machines[0]
    a.run('ping', '-q', '-c', '5', '-i', '0.05', '-W', '10', machine.ipv4)
    a.run('ping', '-q', '-c', '1', '-s', '4000', '-W', '10', machine.ipv4)
    last = ethernet(machine.mac, a.mac, 0x88b5, b'the last of talk %d' % next(_numbers))
    a.send([*frames_of_every_kind(a, machine_address(machine)).values(), last])
    return told(last)


def told(frame):
    return len(frame), fnv1a(frame)


def machine_address(machine):
    """As the frames of the lab want it."""
    class Address:  # pylint: disable=too-few-public-methods
        mac, ipv4, ipv6 = machine.mac, machine.ipv4, 'fd00::ff'
    return Address


def new_frames(machine, dev='eth0'):
    """From now on, what the machine tells: a function that takes ways."""
    before = {way: len(machine.frames(way, dev=dev)) for way in ('sent', 'got')}
    return lambda *ways: [frame for way in ways or before
                          for frame in machine.frames(way, dev=dev)[before[way]:]]


def assert_copied(lab, pm, machine, sensor):
    """What the machine sends and gets reaches the sensor's card, each frame once, and nothing else."""
    wait(lambda: all(session['state'] == 'whole' for session in pm.json('list')), 'no whole mirror')
    own, copies = new_frames(machine), new_frames(sensor)
    last = talk(lab, machine)
    wait(lambda: last in own('got'), f'{machine.name} told of {len(own())} frames, not of the last')
    wait(lambda: last in copies('got'), f'the sensor told of {len(copies())} frames, not of the last')
    assert Counter(copies('got')) == Counter(own())
    assert own('sent') and own('got') and not copies('sent')


@pytest.fixture
def web_and_sensor(lab, libvirt, image):
    """Two domains that run, and a third machine on the bridge that talks to nobody."""
    lab.machines[0].ip('link set eth0 multicast off')
    web, ids = libvirt.define(image, 'web1', 1).start(), libvirt.define(image, 'ids', 2).start()
    web.wait_until_up()
    ids.wait_until_up()
    return web, ids


def test_the_sensors_card_gets_what_the_machine_sends_and_gets(lab, pm, web_and_sensor):
    web, ids = web_and_sensor
    before = lab.host.state()
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'vm:ids', '--isolate')
    assert pm.json('show', 'mirror')['ports'] == web.ports()
    assert_copied(lab, pm, web, ids)
    pm('rm', 'mirror')
    assert lab.host.back_to(before)


def test_the_daemon_follows_whatever_happens_to_the_machines(lab, pm, web_and_sensor, daemon):
    web, ids = web_and_sensor
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'vm:ids', '--isolate')
    assert_copied(lab, pm, web, ids)

    web.destroy()
    wait(lambda: pm.json('show', 'mirror')['state'] == 'waiting', 'the machine has gone')
    web.boot()
    assert_copied(lab, pm, web, ids)

    ids.destroy()
    wait(lambda: pm.json('show', 'mirror')['state'] == 'waiting', 'the sensor has gone')
    talk(lab, web)
    ids.boot()
    assert_copied(lab, pm, web, ids)

    web.virsh('reset')  # as by its button: the device stays
    wait(lambda: web.said().count('frames: ready') == 2, 'the machine does not come back')
    assert_copied(lab, pm, web, ids)

    web.destroy()
    wait(lambda: pm.json('show', 'mirror')['state'] == 'waiting', 'the machine has gone')
    quiet = new_frames(ids)
    lab.machines[0].send([ethernet(web.mac, lab.machines[0].mac, 0x88b5, b'to nobody')])
    assert not quiet('got')
    assert daemon.poll() is None


def test_a_card_that_is_plugged_in_is_mirrored_too(lab, pm, web_and_sensor, daemon):
    web, ids = web_and_sensor
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'vm:ids', '--isolate')
    assert_copied(lab, pm, web, ids)
    copies = new_frames(ids)
    mac = '52:54:00:00:01:01'
    web.virsh('attach-interface', '--type', 'bridge', '--source', 'br0', '--model', 'virtio', '--mac', mac, '--live')
    wait(lambda: pm.json('show', 'mirror')['ports'] == sorted(web.ports()) and len(web.ports()) == 2,
         'the second card is not mirrored')
    # Its first frame, by which it told that it is there, has gone to everybody.
    wait(lambda: web.frames('sent', dev='eth1'), 'the second card is not used')
    arp = web.frames('sent', dev='eth1')
    wait(lambda: len(copies('got')) >= len(arp), 'a frame of the second card is missing')
    assert copies('got').count(arp[0]) == 1
    own, copies = new_frames(web, 'eth1'), new_frames(ids)
    a = lab.machines[0]
    sent = [ethernet(mac, a.mac, 0x88b5, b'to the second card %d' % i) for i in range(20)]
    a.send(sent)
    expected = Counter(map(told, sent))
    wait(lambda: len(own('got')) >= 20 and len(copies('got')) >= 20, 'frames to the second card are missing')
    assert Counter(own('got')) == Counter(copies('got')) == expected

    second = web.ports()[1]
    web.virsh('detach-interface', '--type', 'bridge', '--mac', mac, '--live')
    wait(lambda: second not in web.ports() and pm.json('show', 'mirror')['ports'] == web.ports(),
         'the card that was pulled out is still mirrored')
    # Its first frame may have told that the machine's address is its own.
    a.ip('neighbour flush dev eth0 nud stale nud reachable')
    assert_copied(lab, pm, web, ids)


def test_a_card_that_was_exchanged_has_no_old_address(pm, libvirt, image):
    """The new one's tap has the number that the command line knows, and tells that the card is another one."""
    web = libvirt.define(image, 'web1', 1).start()
    web.wait_until_up()
    old, = pm.json('vms')[0]['nics']
    assert old['mac'] == web.mac
    web.virsh('detach-interface', '--type', 'bridge', '--mac', web.mac, '--live')
    wait(lambda: not web.ports(), 'the card was not pulled out')
    web.virsh('attach-interface', '--type', 'bridge', '--source', 'br0', '--model', 'virtio', '--mac',
              '52:54:00:00:01:09', '--live')
    wait(lambda: web.ports(), 'no card was plugged in')
    new, = pm.json('vms')[0]['nics']
    assert new == {'port': web.ports()[0], 'mac': None}
    pm('add', 'old', '--from', f'mac:{old["mac"]}', '--to', 'port:ids0')
    pm('add', 'new', '--from', 'mac:52:54:00:00:01:09', '--to', 'port:ids0')
    assert pm.json('show', 'old')['ports'] == [] and pm.json('show', 'new')['ports'] == web.ports()


def test_a_machine_that_is_renamed_is_another_by_name_and_the_same_by_uuid(lab, pm, libvirt, image, daemon, wait_until):
    web = libvirt.define(image, 'web1', 1).start('--paused')
    uuid = web.virsh('domuuid').stdout.strip()
    pm('add', 'name', '--from', 'vm:web1', '--to', 'port:ids0')
    pm('add', 'uuid', '--from', f'vm:{uuid}', '--to', 'port:ids0')

    def states():
        return {session['name']: session['state'] for session in pm.json('list')}

    assert states() == {'name': 'whole', 'uuid': 'whole'}
    web.destroy()
    wait_until(lambda: states() == {'name': 'waiting', 'uuid': 'waiting'})
    web.rename('web2')
    web.start('--paused')
    wait_until(lambda: states() == {'name': 'waiting', 'uuid': 'whole'})
    web.destroy()
    web.rename('web1')
    web.start('--paused')
    wait_until(lambda: states() == {'name': 'whole', 'uuid': 'whole'})
    frame = ethernet(web.mac, lab.machines[0].mac, 0x88b5, b'renamed')
    with lab.sensor.capture() as copies:
        lab.machines[0].send([frame])
        assert copies.counts(1) == {frame: 1}
    assert daemon.poll() is None


@pytest.mark.parametrize('name', NAMES)
def test_names_as_people_give_them(lab, pm, libvirt, image, name):
    web = libvirt.define(image, name, 1).start('--paused')
    machine, = pm.json('vms')
    assert (machine['name'], machine['monitor']) == (name, 'qemu')
    assert machine['nics'] == [{'port': web.ports()[0], 'mac': web.mac}]
    assert name in pm('vms').stdout
    pm('add', 'mirror', '--from', f'vm:{name}', '--to', 'port:ids0')
    assert pm.json('show', 'mirror')['ports'] == web.ports()
    frame = ethernet(web.mac, lab.machines[0].mac, 0x88b5, name.encode())
    with lab.sensor.capture() as copies:
        lab.machines[0].send([frame])
        assert copies.counts(1) == {frame: 1}


def assert_copied_to_the_lab(lab, machine):
    own = new_frames(machine)
    with lab.sensor.capture() as copies:
        last = talk(lab, machine)
        wait(lambda: last in own('got'), f'{machine.name} told of {len(own())} frames, not of the last')
        assert Counter(map(told, copies.frames(len(own())))) == Counter(own())


def test_qemu_started_by_hand(lab, pm, qemu):
    machine = qemu(1, '-name', 'web1', '-netdev', 'tap,id=n0,ifname=tap0,script=no,downscript=no',
                   '-device', 'virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01')
    wait(lambda: lab.host.ip('link set tap0 master br0 up', check=False).returncode == 0, 'no tap0')
    machine.wait_until_up()
    assert [(vm['name'], vm['nics']) for vm in pm.json('vms')] == [
        ('web1', [{'port': 'tap0', 'mac': '52:54:00:00:00:01'}])]
    pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0')
    assert_copied_to_the_lab(lab, machine)


def test_a_machine_as_proxmox_starts_it(lab, pm, qemu):
    """With its firewall's bridge between the tap and the bridge of all machines."""
    lab.host.ip('link add fwbr100i0 type bridge forward_delay 0 mcast_snooping 0', 'link set fwbr100i0 up',
                'link add fwln100i0 type veth peer name fwpr100p0', 'link set fwln100i0 master fwbr100i0 up',
                'link set fwpr100p0 master br0 up')
    machine = qemu(
        1, '-id', '100', '-name', 'web1,debug-threads=on', '-no-shutdown',
        '-smbios', 'type=1,uuid=7b3ab1a5-8f7c-4a6e-b1f4-0c3a5f3a0d11',
        '-netdev', 'type=tap,id=net0,ifname=tap100i0,script=no,downscript=no,vhost=off',
        '-device', 'virtio-net-pci,mac=52:54:00:00:00:01,netdev=net0,bus=pci.0,addr=0x12,id=net0,rx_queue_size=1024,'
        'tx_queue_size=256', proxmox=True)
    wait(lambda: lab.host.ip('link set tap100i0 master fwbr100i0 up', check=False).returncode == 0, 'no tap100i0')
    machine.wait_until_up()
    shown, = pm.json('vms')
    assert (shown['name'], shown['vmid'], shown['uuid']) == ('web1', '100', '7b3ab1a5-8f7c-4a6e-b1f4-0c3a5f3a0d11')
    assert shown['nics'] == [{'port': 'tap100i0', 'mac': machine.mac}]
    for selector in ('vm:web1', 'vm:100', 'vm:web1/0', f'mac:{machine.mac}'):
        pm('add', 'mirror', '--from', selector, '--to', 'port:ids0')
        assert pm.json('show', 'mirror')['ports'] == ['tap100i0']
        assert_copied_to_the_lab(lab, machine)
        pm('rm', 'mirror')


TUNNEL = '''
import fcntl, os, struct, sys
fd = os.open('/dev/net/tun', os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'tun-tap0', 0x1002))
print('ready', flush=True)
sys.stdin.read()
'''


def test_a_program_with_a_tap_that_is_no_machine(lab, pm):
    """A tunnel, say: it has no name to be chosen by, nor is it taken for somebody's card."""
    with lab.host.popen(sys.executable, '-c', TUNNEL, '-name', 'web1', stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == 'ready\n'
        lab.host.ip('link set tun-tap0 master br0 up')
        assert [vm['name'] for vm in pm.json('vms')] == [f'pid-{process.pid}']
        said = pm('add', 'mirror', '--from', 'vm:web1', '--to', 'port:ids0', status=None)
        assert said.returncode != 0 or pm.json('show', 'mirror')['state'] == 'waiting'
        pm('rm', 'mirror', status=None)
        pm('add', 'mirror', '--from', 'port:tun-tap0', '--to', 'port:ids0')
        a = lab.machines[0]
        frame = ethernet('02:00:00:00:99:99', a.mac, 0x800, ipv4(a.ipv4, '10.0.0.99', b'into the tunnel'))
        with lab.sensor.capture() as copies:
            a.send([frame])
            assert copies.counts(1) == {frame: 1}
        process.stdin.close()
