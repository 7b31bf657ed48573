# SPDX-License-Identifier: MIT
"""portmirror(8) names every key of JSON and of session files, and every counter of in-line sessions."""
import json
import pathlib
import re
import subprocess

import pytest

PAGE = (pathlib.Path(__file__).resolve().parents[2] / 'man/portmirror.8').read_text()


def section(name):
    return re.search(rf'^\.Sh {name}\n(.*?)^\.S[hH] ', PAGE, re.M | re.S)[1]


def heads(text):
    """What the lists of the text explain."""
    return {word for line in re.findall(r'^\.It (.*)', text, re.M) for word in re.findall(r'[a-z_][a-z_-]+', line)}


def keys(value):
    """Of objects, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    return set(value).union(*map(keys, value.values())) if isinstance(value, dict) else set()


@pytest.fixture
def sessions(lab, pm):
    """One of each mode, which say as much as there is."""
    lab.host.ip(*(command for device in ('in0', 'out0', 'ids1')
                  for command in (f'link add {device} type veth peer name {device}p', f'link set {device} up',
                                  f'link set {device}p up')))
    pm('inline', 'ips', '--guard', 'port:vnet2', '--through', 'port:in0,port:out0', '--on-failure', 'closed')
    return pm.json('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--to', 'port:ids1', '--balance',
                   '--sample', '2', '--sample-flows')


@pytest.mark.engine('bpf')
def test_keys_of_session_files(pm, sessions):
    saved = set().union(*pm.json('export'))
    assert heads(section('SESSION FILES')) == saved | {'_type'}


@pytest.mark.engine('bpf')
def test_keys_of_json(lab, pm, sessions):
    real = keys(sessions) | keys(pm.json('list')) | keys(pm.json('ports')) | keys(pm.json('doctor', status=1))
    for status, name in (1, 'ids'), (1, 'ips'):
        real |= keys(pm.json('check', name, '--seconds', '0.2', status=status))
    with pm.popen('stats', '-w', '0.1', '--json', stdout=subprocess.PIPE) as process:
        real |= keys(json.loads(process.stdout.readline()))
        process.kill()
    pm('rm', 'ids')
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0', '--engine', 'tc', '--isolate', status=None)
    real |= keys(pm.json('list')) | keys(pm.json('tc', 'ids')) | keys(pm.json('apply', '--dry-run'))
    real |= keys(pm.json('rm', '--all'))
    told = section('JSON')
    text = told + section('IN-LINE') + section('SESSION FILES')
    assert not [key for key in real if not re.search(rf'(?<![\w-]){key}(?![\w-])', text)]
    assert set(re.findall(r'[a-z]+_[a-z_]+', told)) <= real


@pytest.mark.engine('bpf')
def test_counters_of_frames(pm, sessions):
    told = re.search(r'count what became of the frames:(.*?)\.El', section('IN-LINE'), re.S)[1]
    assert heads(told) == set(pm.json('stats', 'ips')[0]['appliance'])
