# SPDX-License-Identifier: MIT
"""portmirrord: whatever happens on the host, the kernel is soon as the sessions say."""
import contextlib
import json
import os
import signal
import subprocess

import pytest

from conftest import BUILD
from lab import BROADCAST, ethernet, ipv4

PROGRAM = BUILD / 'src/portmirrord/portmirrord'


class Daemon:
    """portmirrord in the lab's host, with the files of pm."""

    def __init__(self, lab, pm, *before, **environment):
        self.lab, self.pm = lab, pm
        self.events_file = pm.root / 'run/portmirror/events'
        self.first = self.last()
        self.process = lab.host.popen(*before, PROGRAM, stderr=subprocess.PIPE,
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

    def last(self):
        self.first = 0
        return max((event['number'] for event in self.events()), default=0)

    def kill(self, number=signal.SIGKILL):
        os.kill(self.pid, number)
        self.process.wait(10)
        self.process.stderr.close()

    def stop(self):
        self.process.terminate()
        _, said = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, said
        return said


@pytest.fixture
def daemon(lab, pm, wait_until):
    with contextlib.ExitStack() as stack:
        def start(*before, **environment):
            made = Daemon(lab, pm, *before, **environment)
            stack.callback(lambda: made.process.poll() is None and made.stop())
            wait_until(lambda: made.events('started') or made.process.poll() is not None)
            assert made.process.poll() is None, made.process.stderr.read()
            return made
        yield start


def is_copied(lab, frame=None):
    """True if the sensor gets what the first machine sends, once."""
    a = lab.machines[0]
    frame = frame or ethernet(BROADCAST, a.mac, 0x88b5, b'are you there')
    with lab.sensor.capture() as copies:
        a.send([frame])
        return copies.counts(1, timeout=0.05, quiet=0.02) == {frame: 1}


def test_what_others_delete_comes_back(lab, pm, daemon, wait_until):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    running = daemon()
    lab.host.tc('qdisc del dev vnet1 clsact')
    wait_until(lambda: is_copied(lab))
    wait_until(lambda: running.events('repaired'))
    assert [event['session'] for event in running.events('repaired')] == ['ids']
