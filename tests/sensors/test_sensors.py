# SPDX-License-Identifier: MIT
"""Sensors that others wrote report from the mirror what they report in the machine itself."""
import contextlib
import subprocess
import time

import pytest

from conftest import Portmirror
from lab import Lab
from sensors import SENSORS
from traffic import Traffic

SECONDS = 60
OFFLOADS = ['tso', 'off', 'gso', 'off', 'gro', 'off', 'tx', 'off']


def listeners(namespace):
    """How many packet sockets of a namespace get frames. (Those of libpcap have no protocol until all is ready.)"""
    sockets = namespace.run('cat', '/proc/net/packet').stdout.splitlines()[1:]
    return sum(int(fields.split()[3], 16) != 0 for fields in sockets)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, 'the sensors are not there yet'
        time.sleep(0.05)


def run_both(lab, folder, kinds, traffic):
    """Runs each kind of sensor in the server and at the sensor's port while traffic() goes on:
    ({kind: report in the server}, {kind: report of the copies})."""
    places = {'server': lab.machines[1], 'sensor': lab.sensor}
    running = {place: [kind(namespace, folder / place / kind.__name__) for kind in kinds]
               for place, namespace in places.items()}
    sensors = [sensor for each in running.values() for sensor in each]
    try:
        for sensor in sensors:
            sensor.start()
        for namespace in places.values():
            wait_for(lambda where=namespace: listeners(where) >= len(kinds))
        assert all(sensor.is_alive() for sensor in sensors), [s.log.read_text() for s in sensors
                                                              if not s.is_alive()]
        traffic()
        # A sensor reads a ring whose blocks the kernel hands over after a second at most.
        with lab.sensor.capture() as capture:
            capture.frames(quiet=2.0, timeout=0)
        for sensor in sensors:
            sensor.stop()
    finally:
        for sensor in sensors:
            sensor.kill()
    return [{type(sensor): sensor.report() for sensor in each} for each in running.values()]


def offloads(machine, dev='eth0'):
    machine.run('ethtool', '-K', dev, *OFFLOADS)


@pytest.fixture(scope='module')
def reports(tmp_path_factory):
    """A minute of traffic. All offloads are off, those of the destination as doctor advises: so the
    sensors in the machine see what is on the wire, as the mirror must show it."""
    folder = tmp_path_factory.mktemp('sensors')
    with contextlib.ExitStack() as stack:
        lab = stack.enter_context(Lab(learn=True))
        for namespace, dev in ((lab.machines[0], 'eth0'), (lab.machines[1], 'eth0'),
                               (lab.sensor, 'eth0'), (lab.host, 'ids0')):
            offloads(namespace, dev)
        traffic = stack.enter_context(Traffic(lab, folder))
        (folder / 'root').mkdir()
        pm = Portmirror(lab.host, folder / 'root')
        pm('add', 'ids', '--from', 'port:vnet2', '--to', 'port:ids0')
        assert pm.json('doctor') == []
        result = run_both(lab, folder, SENSORS, lambda: traffic.rounds(SECONDS))
        stats, = pm.json('stats')
        assert (stats['lost_before'], stats['lost_at']) == (0, 0)
    return result


def differences(there, here):
    return sorted((there - here).elements())[:10], sorted((here - there).elements())[:10]


@pytest.mark.parametrize('kind', SENSORS, ids=[kind.__name__.lower() for kind in SENSORS])
def test_the_mirror_shows_what_the_machine_sees(reports, kind):
    machine, mirror = reports[0][kind], reports[1][kind]
    assert differences(machine, mirror) == ([], [])
    assert machine.total() >= kind.least


def copies(lab, pm, folder, traffic):
    """What tcpdump at the sensor records of a page that the server sends, as much of each frame as a sensor
    keeps that expects frames of an Ethernet's size."""
    recording = folder / 'copies.pcap'
    with lab.sensor.popen('tcpdump', '-Z', 'root', '-B', '65536', '-i', 'eth0', '-s', '1514', '-U', '-w', recording,
                          stderr=subprocess.PIPE) as tcpdump:
        wait_for(lambda: listeners(lab.sensor) == 1)
        with lab.sensor.capture() as capture:
            traffic.large_page()
            frames = capture.frames(quiet=1.0, timeout=0)
        # Each of them is in the file: its head, then 16 bytes before each frame.
        size = 24 + sum(16 + min(len(frame), 1514) for frame in frames)
        wait_for(lambda: recording.stat().st_size == size)
        tcpdump.terminate()
        assert '\n0 packets dropped' in tcpdump.communicate()[1]
    return recording


def verdict(recording, folder, page):
    """(a page that the sensor rebuilt is the one that was sent, frames that are cut, wrong checksums)"""
    def tshark(wanted):
        return int(run('tshark', '-n', '-r', recording, '-o', 'tcp.check_checksum:TRUE', '-Y', wanted)
                   .count('\n'))

    flows = folder / 'flows'
    flows.mkdir()
    run('tcpflow', '-r', recording, '-o', flows)
    rebuilt = any(file.read_bytes().endswith(page) for file in flows.iterdir())
    return rebuilt, tshark('frame.cap_len < frame.len'), tshark('tcp.checksum.status == "Bad"')


def run(*command):
    return subprocess.run(list(map(str, command)), check=True, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL).stdout


def test_doctors_advice_on_offloads_matters(tmp_path):
    """The machines have their offloads on, as virtio's are. Before the advice a sensor gets frames that are too
    long for it and checksums that no card has filled in; then doctor's own command is typed."""
    with Lab() as lab, Traffic(lab, tmp_path) as traffic:
        (tmp_path / 'root').mkdir()
        pm = Portmirror(lab.host, tmp_path / 'root')
        pm('add', 'ids', '--from', 'port:vnet2', '--to', 'port:ids0')
        finding, = pm.json('doctor')
        assert finding['name'] == 'destination-offloads'
        page = (tmp_path / 'www/large').read_bytes()
        results = []
        for when in ('before', 'after'):
            folder = tmp_path / when
            folder.mkdir()
            results.append(verdict(copies(lab, pm, folder, traffic), folder, page))
            lab.host.run('sh', '-c', finding['cure'])
        stats, = pm.json('stats')
        assert (stats['lost_before'], stats['lost_at']) == (0, 0)
        (rebuilt, cut, wrong), after = results
        assert not rebuilt and cut > 10 and wrong > 10
        assert after == (True, 0, 0)
        assert pm.json('doctor') == []
