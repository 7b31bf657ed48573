# SPDX-License-Identifier: MIT
"""docs/api-tour.md is replayed in a lab: its commands, in its order, give its output."""
import os
import re
import subprocess

import pytest

from daemon import TOP, Daemon, Lab, ethernet, ipv4

TOUR = TOP / 'docs/api-tour.md'
SOCKET = '/run/portmirror/api.sock'
STEP = re.compile(r'(?<=```console\n)\$ ((?:.*\\\n)*.*)\n((?:.*\n)*?)(?=```)')

# What is another each time: times, this computer, how much there was to see.
CHANGING = re.compile(
    r'^( *(?:- )?(?:version|kernel|hostname|time|progress|frames_per_second|bits_per_second|seconds|reason|expected|'
    r'copied|copied_frames|copied_bytes|sent|received|bytes|mac|sentence): ).*', re.M)

# What portmirrord numbers, from the time of its start on.
NUMBER = re.compile(r'\b\d{13}\b')
NUMBERED = re.compile(rf'/(?:monitors|actions)/{NUMBER.pattern}')


def steady(text):
    return NUMBER.sub('…', CHANGING.sub(r'\1…', text))


@pytest.fixture
def lab():
    if os.geteuid() != 0:
        pytest.skip('only root can make network namespaces')
    with Lab() as made:
        yield made


@pytest.fixture
def daemon(lab, tmp_path):
    made = Daemon(lab.host, tmp_path, env={'PORTMIRROR_ENGINE': 'tc'})  # the same on each kernel
    yield made
    made.stop()


def talk(lab):
    a, b = lab.machines
    for sender, to in (a, b), (b, a):
        sender.send([ethernet(to.mac, sender.mac, 0x0800, ipv4(sender.ipv4, to.ipv4, os.urandom(20)))
                     for _ in range(20)])


def run(lab, daemon, command):
    """The machines talk meanwhile, as the tour says."""
    with subprocess.Popen(['bash', '-c', command.replace(SOCKET, str(daemon.socket))], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while True:
            if 'Expect: 201-created' in command:
                talk(lab)
            try:
                out, err = process.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                continue
    assert process.returncode == 0 and not err, err
    return out


def test_the_tour_is_as_it_is_told(lab, daemon):
    text = TOUR.read_text()
    assert len(STEP.findall(text)) >= 8
    numbered = {}

    def replay(step):
        command, told = step.groups()
        out = run(lab, daemon, NUMBERED.sub(lambda found: numbered[found[0]], command))
        numbered.update(zip(NUMBERED.findall(told), NUMBERED.findall(out)))
        out += '\n' * (out != '' and not out.endswith('\n'))
        if steady(out) == steady(told):
            return step[0]
        assert os.environ.get('WRITE_TOUR'), f'{command}\ngives\n{out}'
        return f'$ {command}\n{out}'
    replayed = STEP.sub(replay, text)
    if os.environ.get('WRITE_TOUR'):  # after a change that is meant
        TOUR.write_text(replayed)
    assert daemon.get('/api/mirrors').value == []
