# SPDX-License-Identifier: MIT
"""The API's resources: what the command line can do, the API can, on the same files and frames."""
import contextlib
import fcntl
import html
import json
import os
import pathlib
import re
import resource
import select
import signal
import socket
import subprocess
import time
import urllib.parse

import pytest
import yaml

from daemon import BUILD, TCX, TOKEN, Daemon, Lab, Vm, ethernet, ipv4, until


@pytest.fixture
def lab(request):
    marker = request.node.get_closest_marker('lab')
    if os.geteuid() != 0:
        pytest.skip('only root can make network namespaces')
    with Lab(**(marker.kwargs if marker else {})) as made:
        yield made


@pytest.fixture
def root(tmp_path):
    path = tmp_path / 'root'
    path.mkdir()
    return path


@pytest.fixture
def daemon(lab, root):
    made = Daemon(lab.host, root)
    yield made
    made.stop()


IDS = {'_type': 'mirror', 'name': 'ids', 'from': ['port:vnet1'], 'to': 'port:ids0'}


def frame(sender, to, text=b'hello'):
    return ethernet(to.mac, sender.mac, 0x0800, ipv4(sender.ipv4, to.ipv4, text))


def steady(state):
    """A host's state without the numbers of loaded programs."""
    return {key: re.sub(r'\bid \d+', 'id', value) if isinstance(value, str) else value
            for key, value in state.items()}


def fault(answer, status, field=None):
    value = answer.value
    assert answer.status == status and value['_type'] == 'fault', answer
    assert value['status'] == status and value['code'] and value['reason']
    if field:
        assert value['detail']['field'].split('[')[0] == field, answer
    return value


# The way from /api

def test_everything_is_found_by_links(daemon):
    daemon.post('/api/mirrors', IDS)
    seen, waiting = {}, ['http://localhost/api']
    while waiting:
        href = waiting.pop()
        if href in seen:
            continue
        assert href.startswith('http://localhost/api')
        answer = daemon.get(href)
        assert answer.status == 200, (href, answer)
        seen[href] = answer.value
        waiting += re.findall(r'"href": "([^"]+)"', answer.text)
        waiting += re.findall(r'"action": "(http[^"]+)"', answer.text)
    kinds = {value['_type'] for value in seen.values() if isinstance(value, dict)}
    kinds |= {item['_type'] for value in seen.values() if isinstance(value, list) for item in value}
    assert kinds >= {'api', 'bridge', 'member', 'port', 'mirror', 'source', 'tap', 'event', 'form',
                     'finding'}


def test_every_collection_has_its_placeholder(daemon):
    daemon.post('/api/mirrors', IDS)
    for path in ('mirrors', 'ports', 'bridges', 'bridges/br0/ports', 'vms', 'events', 'findings',
                 'mirrors/ids/sources', 'mirrors/ids/ports', 'mirrors/ids/actions'):
        value = daemon.get(f'/api/{path}/_').value
        assert value['id'] == '_' and value['_type'], path


def test_the_least_is_enough(lab, daemon):
    answer = daemon.post('/api/mirrors', IDS)
    assert answer.status == 201
    assert answer.headers['location'] == 'http://localhost/api/mirrors/ids'
    assert answer.value['state'] == 'whole'
    a, b = lab.machines
    with lab.sensor.capture() as sensor:
        a.send([frame(a, b)])
        assert sensor.counts(1) == {frame(a, b): 1}
    assert daemon.get('/api/mirrors/ids').value['destination'] == {
        'href': 'http://localhost/api/ports/ids0'}


# What the command line can do, the API can

@pytest.mark.parametrize('attributes', [
    {'from': ['port:vnet1'], 'to': 'port:ids0'},
    {'from': ['bridge:br0'], 'to': 'port:ids0', 'direction': 'sent', 'filter': 'not arp'},
    {'from': ['port:vnet*'], 'to': 'port:ids0', 'attach': 'classic', 'runtime': True},
    {'from': ['port:vnet1', 'port:vnet9'], 'to': 'port:vnet2', 'isolate': True,
     'direction': 'received'},
])
def test_the_same_as_add(lab, daemon, attributes):
    """The same files, and the same kernel state, as the command line makes without a daemon beside it."""
    daemon.stop()
    before = lab.host.state()
    options = []
    for name, value in attributes.items():
        for one in value if isinstance(value, list) else [value]:
            options += [f'--{name}'] if value is True else [f'--{name}', one]
    daemon.cli('add', 'ids', *options)
    files = {path.relative_to(daemon.root): path.read_text()
             for path in daemon.root.glob('*/portmirror/sessions.d/*')}
    state = steady(lab.host.state())
    daemon.cli('rm', 'ids')
    assert lab.host.back_to(before)

    daemon.start()
    assert daemon.post('/api/mirrors', {'name': 'ids', **attributes}).status == 201
    assert {path.relative_to(daemon.root): path.read_text()
            for path in daemon.root.glob('*/portmirror/sessions.d/*')} == files
    assert steady(lab.host.state()) == state
    shown = daemon.get('/api/mirrors/ids;saved').value
    assert {name: shown[name] for name in attributes} == attributes
    assert daemon.ask('DELETE', '/api/mirrors/ids').status == 204
    assert lab.host.back_to(before) and not list(daemon.sessions.glob('*'))


def test_what_others_save_is_seen(daemon):
    daemon.cli('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    # (As long as the command line is at it, it is partial.)
    until(lambda: [mirror['state'] for mirror in daemon.get('/api/mirrors').value] == ['whole'])
    (daemon.sessions / 'two.yaml').write_text('from: port:vnet2\nto: port:ids0\n')
    until(lambda: daemon.get('/api/mirrors/two').status == 200 and daemon.state('two') == 'whole')
    (daemon.sessions / 'two.yaml').write_text('from: nonsense\n')
    until(lambda: daemon.state('two') == 'failed')
    assert 'two.yaml' in daemon.get('/api/mirrors/two').value['reasons'][0]
    daemon.cli('rm', '--all')
    until(lambda: daemon.get('/api/mirrors').value == [])


def test_a_dry_run_tells_what_it_would_do(lab, daemon):
    """The same as the command line tells, and nothing is changed."""
    before = lab.host.state()
    dry = daemon.post('/api/mirrors', {**IDS, 'dry-run': True})
    assert dry.status == 200 and 'location' not in dry.headers, dry
    planned = daemon.cli_json('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--dry-run')
    assert dry.value['planned'] == [op['text'] for op in planned['planned']]
    assert dry.value['from'] == ['port:vnet1'] and dry.value['_type'] == 'mirror'
    assert daemon.get('/api/mirrors').value == [] and lab.host.back_to(before)
    daemon.post('/api/mirrors', IDS)
    saved, state = daemon.get('/api/mirrors/ids;saved').value, lab.host.state()
    for method, body in (('PATCH', {'direction': 'sent', 'dry-run': True}),
                         ('PUT', {'from': ['port:vnet1'], 'to': 'port:ids0', 'direction': 'sent', 'dry-run': True})):
        dry = daemon.ask(method, '/api/mirrors/ids', body)
        assert dry.status == 200 and dry.value['direction'] == 'sent' and dry.value['planned'], dry
        assert daemon.get('/api/mirrors/ids;saved').value == saved and lab.host.state() == state
    fault(daemon.ask('PATCH', '/api/mirrors/ids', {'to': 'bridge:br0', 'dry-run': True}), 409)


def test_a_person_tries_it_and_then_saves_it(daemon):
    """By the form that stands beside what would be done."""
    daemon.post('/api/mirrors', IDS)

    def sent(page, **typed):
        form = re.search(r'<form[^>]* id="update-mirror".*?</form>', page.text, re.S)[0]
        fields = dict(re.findall(r'name="([^"]*)" value="([^"]*)"', form))
        fields |= {name: text.strip() for name, text in
                   re.findall(r'<textarea[^>]* name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.S)}
        for name, options in re.findall(r'<select[^>]* name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
            fields[name] = re.search(r'value="([^"]*)" selected', options)[1]
        fields = {name: html.unescape(value) for name, value in fields.items()}
        return daemon.post('/api/mirrors/ids', urllib.parse.urlencode({**fields, **typed}), accept='text/html',
                           content_type='application/x-www-form-urlencoded')
    page = daemon.get('/api/mirrors/ids', accept='text/html')
    tried = sent(page, **{'direction': 'sent', 'dry-run': 'true'})
    assert tried.status == 200, tried
    assert daemon.get('/api/mirrors/ids').value['direction'] == 'both'
    assert sent(tried).status == 303
    assert daemon.get('/api/mirrors/ids').value['direction'] == 'sent'


def test_a_whole_number_may_be_written_as_a_real_one(daemon):
    """Not every language knows the difference."""
    assert daemon.post('/api/mirrors', {**IDS, 'snap': 128.0, 'sample': 1e3}).status == 201
    assert daemon.get('/api/mirrors/ids').value['snap'] == 128
    assert 'sample: 1000\n' in (daemon.sessions / 'ids.yaml').read_text()
    reason = fault(daemon.ask('PATCH', '/api/mirrors/ids', {'snap': 128.5}), 400)['reason']
    assert reason == 'snap must be a whole number'
    (daemon.sessions / 'file.yaml').write_text('from: port:vnet1\nto: port:ids0\nsnap: 256.0\n')
    until(lambda: daemon.get('/api/mirrors/file').status == 200)
    assert daemon.get('/api/mirrors/file').value['snap'] == 256


def test_what_was_begun_before_a_restart_is_not_taken_for_another(daemon):
    """Its number is never given again: who asks for it learns that it is gone."""
    daemon.post('/api/mirrors', IDS)
    until(lambda: daemon.state('ids') == 'whole')
    before = daemon.act('ids', type='check', seconds=60).value
    daemon.kill()
    daemon.start()
    until(lambda: daemon.state('ids') == 'whole')
    after = daemon.act('ids', type='check', seconds=60).value
    assert daemon.get(after['href']).status == 200
    for gone in before['href'], daemon.follow(before, 'resource/monitor'):
        fault(daemon.get(gone), 404)


def test_put_resets_and_patch_changes(lab, daemon):
    daemon.post('/api/mirrors', {**IDS, 'direction': 'sent', 'filter': 'arp'})
    answer = daemon.ask('PATCH', '/api/mirrors/ids', {'filter': 'ip'})
    assert answer.status == 200
    assert answer.value['filter'] == 'ip' and answer.value['direction'] == 'sent'
    answer = daemon.ask('PATCH', '/api/mirrors/ids', [
        {'path': 'from', 'change': 'add', 'value': 'port:vnet2'},
        {'path': 'filter', 'change': 'remove'}])
    assert answer.status == 200, answer
    assert answer.value['from'] == ['port:vnet1', 'port:vnet2'] and answer.value['filter'] is None
    answer = daemon.ask('PUT', '/api/mirrors/ids', {'from': ['port:vnet2'], 'to': 'port:ids0'})
    assert answer.status == 200 and answer.value['direction'] == 'both'
    a, b = lab.machines
    with lab.sensor.capture() as sensor:
        b.send([frame(b, a)])
        assert sensor.counts(1) == {frame(b, a): 1}
    assert (daemon.sessions / 'ids.yaml').read_text() == (
        'name: ids\nfrom:\n  - port:vnet2\nto: port:ids0\n')


def test_the_only_destination_is_changed_by_a_list(daemon):
    """It is told without an array, and is the first of several all the same."""
    daemon.post('/api/mirrors', IDS)
    assert daemon.get('/api/mirrors/ids').value['to'] == 'port:ids0'
    answer = daemon.ask('PATCH', '/api/mirrors/ids', [
        {'path': 'to', 'change': 'remove', 'value': 'port:ids0'},
        {'path': 'to', 'change': 'add', 'value': 'port:vnet2'}])
    assert answer.status == 200 and answer.value['to'] == 'port:vnet2', answer
    answer = daemon.ask('PATCH', '/api/mirrors/ids', [{'path': 'to[0]', 'change': 'change', 'value': 'port:ids0'}])
    assert answer.status == 200 and answer.value['to'] == 'port:ids0', answer


def test_sources_are_a_collection(daemon):
    daemon.post('/api/mirrors', IDS)
    answer = daemon.post('/api/mirrors/ids/sources', {'selector': 'bridge:br0'})
    assert answer.status == 201 and [port['href'][-5:] for port in answer.value['ports']] == [
        'vnet1', 'vnet2']
    assert [tap['id'] for tap in daemon.get('/api/mirrors/ids/ports').value] == ['vnet1', 'vnet2']
    fault(daemon.post('/api/mirrors/ids/sources', {'selector': 'vnet1'}), 400, 'selector')
    again = daemon.post('/api/mirrors/ids/sources', {'selector': 'bridge:br0'})
    assert fault(again, 409, 'selector')['code'] == 'source-exists'
    assert daemon.ask('DELETE', answer.headers['location']).status == 204
    fault(daemon.ask('DELETE', answer.headers['location']), 404)
    fault(daemon.ask('DELETE', '/api/mirrors/nids/sources/port:vnet1'), 404)
    fault(daemon.ask('DELETE', '/api/mirrors/ids/sources/port:vnet1'), 409)
    assert daemon.get('/api/mirrors/ids;saved').value['from'] == ['port:vnet1']


def test_variants_tell_saved_and_current_apart(lab, daemon):
    """In a kernel that another keeps changing, what is saved and what there is are not the same."""
    daemon.post('/api/mirrors', {**IDS, 'from': ['bridge:br0'], 'direction': 'sent'})
    saved = daemon.get('/api/mirrors/ids;saved').value
    current = daemon.get('/api/mirrors/ids;current').value
    assert saved['from'] == ['bridge:br0'] and saved['attach'] == 'auto' and 'state' not in saved
    assert current['from'] == ['port:vnet1', 'port:vnet2']
    assert (current['engine'], current['attach']) == (('bpf', None) if TCX else ('tc', 'clsact'))
    assert current['direction'] == 'sent' and current['to'] == 'port:ids0'
    daemon.act('ids', type='bypass')
    current = daemon.get('/api/mirrors/ids;current').value
    assert current['from'] == [] and current['to'] is None and current['state'] == 'suspended'


@pytest.mark.parametrize('preferred', ['tc', 'bpf'])
def test_what_the_engine_bpf_has_in_the_kernel(lab, daemon, monkeypatch, preferred):
    """By links, or without tcx by filters."""
    monkeypatch.setenv('PORTMIRROR_ENGINE', preferred)
    daemon.stop()
    daemon.start()
    posted = daemon.post('/api/mirrors', {**IDS, 'from': ['bridge:br0'], 'direction': 'sent',
                                          'snap': 96})
    assert posted.status == 201, posted.value
    current = daemon.get('/api/mirrors/ids;current').value
    assert current['from'] == ['port:vnet1', 'port:vnet2'] and current['direction'] == 'sent'
    assert (current['to'], current['engine'], current['snap']) == ('port:ids0', 'bpf', 96)
    assert current['attach'] is None
    assert ('direct-action' in lab.host.run('tc', 'filter', 'show', 'dev', 'vnet1', 'ingress').stdout
            ) == (preferred == 'tc')


def test_all_that_the_engine_bpf_copies_to_is_told(lab, daemon):
    """Several destinations, one of them kept for copies and one that goes."""
    lab.host.ip('link add ids1 type veth peer name ids1p', 'link set ids1 up', 'link set ids1p up')
    posted = daemon.post('/api/mirrors', {**IDS, 'to': ['port:vnet2', 'port:ids1'], 'isolate': True})
    assert posted.status == 201, posted.value
    current = daemon.get('/api/mirrors/ids;current').value
    assert sorted(current['to']) == ['port:ids1', 'port:vnet2'] and current['isolate'] is True
    assert current['engine'] == 'bpf'
    lab.host.ip('link del ids1')
    until(lambda: daemon.get('/api/mirrors/ids;current').value['to'] == 'port:vnet2')


def test_counters(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    a, b = lab.machines
    a.send([frame(a, b)] * 5)
    mirror = until(lambda: (m := daemon.get('/api/mirrors/ids').value)['copied_frames'] == 5 and m)
    assert mirror['lost_before'] == mirror['lost_at'] == 0
    assert daemon.get('/api/mirrors/ids/ports/vnet1').value['sent_frames'] == 5
    assert daemon.get('/api/ports/vnet1').value['rx_frames'] == 5
    assert daemon.cli_json('stats')[0]['copied']['frames'] == 5


def test_doctor_and_tc(lab, daemon):
    daemon.post('/api/mirrors', {**IDS, 'from': ['bridge:br0']})
    lab.host.ip('link set ids0 down')
    told = daemon.cli_json('doctor', status=1)
    found = until(lambda: (f := daemon.get('/api/findings').value)
                  and f[0]['name'] == 'destination-down' and f)
    assert [f['sentence'] for f in found] == [f['sentence'] for f in told]
    assert daemon.get('/api/findings?severity=error').value[0]['cure'] == 'ip link set dev ids0 up'
    answer = daemon.act('ids', type='tc')
    assert answer.status == 201
    assert answer.value['commands'] == daemon.cli_json('tc', 'ids')['commands']
    assert daemon.get(answer.headers['location']).value == answer.value


def test_bypass_and_restore(lab, daemon):
    before = lab.host.state()
    daemon.post('/api/mirrors', IDS)
    planned = daemon.act('ids', type='bypass', **{'dry-run': True}).value['operations']
    assert daemon.state('ids') == 'whole'
    answer = daemon.act('ids', type='bypass')
    assert answer.status == 201 and answer.value['operations'] == planned
    assert lab.host.back_to(before) and daemon.state('ids') == 'suspended'
    assert daemon.act('ids', type='restore').status == 201
    assert daemon.state('ids') == 'whole' and daemon.cli_json('apply')['done'] == []
    assert [a['type'] for a in daemon.get('/api/mirrors/ids/actions').value] == [
        'bypass', 'bypass', 'restore']


def test_machines_of_one_name(lab, daemon):
    machines = []
    try:
        for number in (1, 2):
            machines.append(Vm(lab.host, 'web', f'tap{number}', number))
            if not machines[-1].ready:
                pytest.skip('no tap can be made here (/dev/net/tun)')
        found = until(lambda: len(vms := daemon.get('/api/vms').value) == 2 and vms)
        assert {vm['id'] for vm in found} == {f'pid-{machine.process.pid}' for machine in machines}
        for vm, mac in zip(sorted(found, key=lambda vm: vm['uuid']), ('52:54:00:00:00:01', '52:54:00:00:00:02')):
            assert vm['name'] == 'web' and daemon.get(vm['href'] + '/nics/0').value['mac'] == mac
            for nic in ('1', 'x', '0x'):
                assert daemon.get(f'{vm["href"]}/nics/{nic}').status == 404
    finally:
        for machine in machines:
            machine.stop()


def test_machines_and_bridges(lab, daemon):
    vm = Vm(lab.host, 'web 1/x', 'tap0')
    try:
        if not vm.ready:
            pytest.skip('no tap can be made here (/dev/net/tun)')
        found = until(lambda: daemon.get('/api/vms').value)[0]
        assert found['name'] == 'web 1/x' and found['monitor'] == 'qemu'
        nic = daemon.get(found['href'] + '/nics/0').value
        assert nic['selector'] == 'vm:web 1/x/0' and nic['mac'] == '52:54:00:00:00:01'
        port = daemon.get(nic['port']['href']).value
        assert daemon.get(port['vm']['href']).value == found
        # A search takes the id as it is told, whatever a URL makes of it.
        for id in ('web+1%2Fx', 'tap0'):
            ports = [port['id'] for port in daemon.get(f'/api/ports?vm.href={id}').value]
            assert ports == (['tap0'] if id != 'tap0' else [])
        # By what it can't search for, it does not find everything.
        assert fault(daemon.get('/api/ports?state=down'), 400, 'state')['reason'] == (
            'nothing can be searched for by state: there is name, kind, bridge.href, vm.href')
        assert daemon.get(port['bridge']['href']).value['name'] == 'br0'
        members = daemon.get('/api/bridges/br0/ports').value
        assert {member['id'] for member in members} == {'vnet1', 'vnet2', 'tap0'}
        made = daemon.post('/api/mirrors', {**IDS, 'from': [nic['selector']]})
        assert made.value['state'] == 'whole', made
    finally:
        vm.stop()
    until(lambda: daemon.get('/api/vms').value == [])
    until(lambda: daemon.state('ids') == 'waiting')


# Faults

def test_devices_of_any_name(lab, daemon):
    """The kernel takes all bytes but a few (dev_valid_name()); no answer may fail for them."""
    lab.host.inside(lambda: subprocess.run([b'ip', b'link', b'add', b'd\xff', b'type', b'veth'], check=True))
    assert daemon.post('/api/mirrors', {**IDS, 'from': ['port:d*']}).status == 201
    for url in '/api/ports', '/api/mirrors', '/api/mirrors/ids', '/api/mirrors/ids/ports', '/api/findings', '/':
        for accept in 'application/json', 'application/yaml', 'application/xml', 'text/html':
            assert daemon.get(url, accept='*/*' if url == '/' else accept).status == 200, (url, accept)
    tap, = daemon.get('/api/mirrors/ids/ports').value
    assert tap['name'].startswith('d?:') and daemon.get(tap['href']).value == tap
    assert tap['name'] in [port['name'] for port in daemon.get('/api/ports').value]


@pytest.mark.parametrize('bridge, port', [('b2', '_'), ('_', 'p2')])
def test_a_device_is_no_placeholder(lab, daemon, bridge, port):
    """The kernel takes _ for a name too, which is the placeholder's id."""
    lab.host.ip(f'link add name {bridge} type bridge', f'link add name {port} type veth peer name there',
                f'link set {port} master {bridge}')
    assert daemon.post('/api/mirrors', {**IDS, 'from': [f'port:{port}']}).status == 201

    def found(url, name):
        item, = [item for item in daemon.get(url).value if item['name'] == name]
        got = daemon.get(item['href']).value
        assert got['name'] == name and got['id'] == item['id'] != '_', url
        assert daemon.get(url + '/_').value['name'] != '_'  # but the placeholder
        return got

    above = found('/api/bridges', bridge)
    below = found('/api/ports', port)
    assert below['bridge']['href'] == above['href']
    assert found(f"/api/bridges/{above['id']}/ports", port)['port']['href'] == below['href']
    assert found('/api/mirrors/ids/ports', port)['port']['href'] == below['href']


def test_a_name_is_taken_once(daemon):
    assert daemon.post('/api/mirrors', IDS).status == 201
    assert fault(daemon.post('/api/mirrors', IDS), 409, 'name')['code'] == 'mirror-exists'


def test_a_wrong_filter_is_refused_in_libpcaps_words(lab, daemon):
    before = lab.host.state()
    refused = fault(daemon.post('/api/mirrors', {**IDS, 'filter': 'tcp prt 80'}), 400, 'filter')
    assert 'syntax error' in refused['reason'] and 'tcp prt 80' in refused['reason']
    assert not list(daemon.sessions.glob('*')) and lab.host.state() == before


@pytest.mark.parametrize('change, status, field', [
    ({'from': ['vnet1']}, 400, 'from'), ({'from': []}, 400, 'from'), ({'to': None}, 400, 'to'),
    ({'to': 'port:vnet1'}, 400, 'to'), ({'direction': 'up'}, 400, 'direction'),
    ({'name': '../x'}, 400, 'name'), ({'name': '_'}, 400, 'name'), ({'mode': 'tap'}, 400, 'mode'),
    ({'isolate': 'perhaps'}, 400, 'isolate'), ({'form': 'port:vnet1'}, 400, 'form'),
    ({'from': ['port:vnet1', 'port:vnet1']}, 400, 'from'), ({'_type': 'source'}, 400, '_type'),
    ({'from': ['port:nowhere'], 'strict': True}, 409, None), ({'to': 'bridge:br0'}, 409, None),
])
def test_faults_name_the_field(daemon, change, status, field):
    fault(daemon.post('/api/mirrors', {**IDS, **change}), status, field)
    assert daemon.get('/api/mirrors').value == []


def lacking(lab, root, kinds):
    """A daemon on a kernel that lacks these parts."""
    return Daemon(lab.host, root, env={
        'LD_PRELOAD': str(BUILD / 'tests/preload/lacks.so'), 'LACKS': kinds, 'PORTMIRROR_ENGINE': 'tc',
        'ASAN_OPTIONS': os.environ.get('ASAN_OPTIONS', '') + ':verify_asan_link_order=0'})


def test_what_the_kernel_lacks_is_a_feature_that_it_has_not(lab, root):
    daemon = lacking(lab, root, 'bpf matchall')
    assert daemon.get('/api').value['features']['matchall'] is None
    assert daemon.post('/api/mirrors', IDS).value['state'] == 'whole'
    features = daemon.get('/api').value['features']
    assert (features['bpf'], features['matchall'], features['clsact']) == (False, False, True)
    daemon.stop()


def test_what_is_still_to_be_done_is_told_of_each_mirror(lab, root):
    daemon = lacking(lab, root, 'mirred')
    for name, port in (('one', 'vnet1'), ('two', 'vnet2')):
        (daemon.sessions / f'{name}.yaml').write_text(f'from: port:{port}\nto: port:ids0\n')
    mirrors = until(lambda: [mirror for mirror in daemon.get('/api/mirrors').value if mirror['planned']][1:] and
                    daemon.get('/api/mirrors').value, what='the plan for both')
    for mirror, own, other in zip(mirrors, ('vnet1', 'vnet2'), ('vnet2', 'vnet1')):
        assert any(own in line for line in mirror['planned']) and not any(other in line for line in mirror['planned'])
    daemon.stop()


@contextlib.contextmanager
def injected(daemon, tmp_path, call, what):
    """Meanwhile this system call of the daemon's fails, or takes long."""
    with subprocess.Popen(['strace', '-p', str(daemon.pid), '-o', tmp_path / 'trace', '-e', f'trace={call}', '-e',
                           f'inject={call}:{what}'], stderr=subprocess.PIPE) as tracer:
        try:
            assert b'attached' in tracer.stderr.readline()
            yield
        finally:
            tracer.terminate()


@pytest.mark.skipif(not TCX, reason='links to devices need Linux 6.6')
def test_what_the_kernel_does_not_let_go_is_told(lab, root, tmp_path):
    """The mirror is saved no longer; what is left of it goes as soon as the kernel lets it."""
    daemon = Daemon(lab.host, root, env={'PORTMIRROR_ENGINE': 'bpf'})
    empty = lab.host.state()
    daemon.post('/api/mirrors', IDS)
    with injected(daemon, tmp_path, 'unlink', 'error=EPERM'):
        refused = fault(daemon.ask('DELETE', '/api/mirrors/ids'), 409)
        assert refused['reason'].startswith("can't detach ") and 'Operation not permitted' in refused['reason']
        assert daemon.get('/api/mirrors').value == []
        told = until(lambda: [event for event in daemon.get('/api/events').value if event['kind'] == 'error'])
        assert told[0]['text'] == refused['reason'] and told[0]['mirror'] is None
    assert lab.host.back_to(empty)
    daemon.stop()


def test_what_the_kernel_refuses_to_take_back_is_told_too(lab, root):
    """The port that was left would be copied anew. The mirror is saved as it was, so it is whole again in time."""
    daemon = Daemon(lab.host, root, env={'PORTMIRROR_ENGINE': 'tc'})
    daemon.post('/api/mirrors', IDS)
    before = lab.host.state()
    daemon.stop()
    daemon = lacking(lab, root, 'mirred')
    change = {**daemon.get('/api/mirrors/ids').value, 'from': ['port:vnet2']}
    refused = fault(daemon.ask('PUT', '/api/mirrors/ids', change), 409)['reason']
    assert 'TC action' in refused and 'nothing was changed' not in refused
    assert '; taking it back failed too: the kernel refuses to ' in refused
    assert [source['selector'] for source in daemon.get('/api/mirrors/ids/sources').value] == ['port:vnet1']
    daemon.stop()
    daemon = Daemon(lab.host, root, env={'PORTMIRROR_ENGINE': 'tc'})
    assert until(lambda: lab.host.state() == before)
    daemon.stop()


def test_what_the_kernel_refuses_is_told_in_its_words(lab, root):
    daemon = lacking(lab, root, 'mirred')
    before = lab.host.state()
    refused = fault(daemon.post('/api/mirrors', IDS), 409)
    assert 'TC action' in refused['reason'] and 'nothing was changed' in refused['reason']
    assert daemon.get('/api/mirrors').value == [] and lab.host.back_to(before)
    daemon.stop()


@pytest.mark.skipif(not TCX, reason='links to devices need Linux 6.6')
def test_the_watchdog_is_fed_amid_a_long_change(lab, root, tmp_path):
    """Which is made in one go, link by link."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / 'notify'))
        daemon = Daemon(lab.host, root, env={'NOTIFY_SOCKET': str(tmp_path / 'notify'), 'WATCHDOG_USEC': '100000',
                                             'PORTMIRROR_ENGINE': 'bpf'})
        systemd.setblocking(False)

        def fed():
            """How often, since it was asked last."""
            said = []
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(systemd.recv(4096))
            return said.count(b'WATCHDOG=1')

        ports = [f'port:{machine.port}' for machine in lab.machines]
        with injected(daemon, tmp_path, 'bpf', 'delay_enter=25000'):  # three of them for a link
            fed()
            assert daemon.post('/api/mirrors', {**IDS, 'from': ports}).status == 201
            assert fed() >= 2 * len(ports)
        daemon.stop()


def test_a_change_compiles_no_filter_of_others(daemon):
    """libpcap takes long for a filter like this one."""
    def taken(name, **more):
        begun = time.monotonic()
        assert daemon.post('/api/mirrors', {**IDS, 'name': name, **more}).status == 201
        return time.monotonic() - begun

    long = taken('long', filter=' or '.join(f'port {1000 + i}' for i in range(180)))
    assert min(taken(f'other{i}') for i in range(3)) < long / 6  # it is compiled three times there


def test_a_change_that_is_refused_leaves_the_old_one(lab, daemon):
    """Also with the remark that somebody wrote into its file."""
    daemon.post('/api/mirrors', IDS)
    path = daemon.sessions / 'ids.yaml'
    path.write_text('# a remark\n' + path.read_text())
    state = lab.host.state()
    fault(daemon.ask('PATCH', '/api/mirrors/ids', {'to': 'bridge:br0'}), 409)
    assert path.read_text().startswith('# a remark\n') and lab.host.state() == state
    assert daemon.get('/api/mirrors/ids').value['to'] == 'port:ids0'


def test_two_admins_cannot_overwrite_each_other(daemon):
    daemon.post('/api/mirrors', IDS)
    one = daemon.get('/api/mirrors/ids').headers['etag']
    two = daemon.get('/api/mirrors/ids').headers['etag']
    assert daemon.ask('PATCH', '/api/mirrors/ids', {'filter': 'arp'}, if_match=one).status == 200
    fault(daemon.ask('PATCH', '/api/mirrors/ids', {'filter': 'ip'}, if_match=two), 412)
    fault(daemon.ask('DELETE', '/api/mirrors/ids', if_match=two), 412)
    assert daemon.get('/api/mirrors/ids').value['filter'] == 'arp'
    daemon.cli('rm', 'ids')
    until(lambda: daemon.get('/api/mirrors/ids').status == 404)


def test_a_busy_lock_is_no_dead_end(daemon):
    """Whoever holds the lock for long gets in nobody's way for longer than the API promises."""
    daemon.post('/api/mirrors', IDS)
    with open(daemon.root / 'run/portmirror/lock') as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        start = time.monotonic()
        fault(daemon.ask('PATCH', '/api/mirrors/ids', {'filter': 'arp'}), 503)
        assert time.monotonic() - start < 2
        assert daemon.get('/api/mirrors/ids').status == 200
    assert daemon.ask('PATCH', '/api/mirrors/ids', {'filter': 'arp'}).status == 200


@pytest.mark.parametrize('tagged', [True, False], ids=['If-Match', 'no tag'])
@pytest.mark.parametrize('method, body', [('PATCH', {'direction': 'sent'}), ('PUT', {'from': ['port:vnet1'],
                                                                                    'to': 'port:ids0'}),
                                          ('DELETE', None)])
def test_another_change_while_a_request_waits_for_the_lock(daemon, method, body, tagged):
    """It is not undone: neither what somebody has not seen, nor by a PATCH what that doesn't even name."""
    path = daemon.sessions / 'ids.yaml'
    theirs = 'name: ids\nfrom:\n  - port:vnet1\n  - port:vnet2\nto: port:ids0\n'

    def ask():
        daemon.cli('rm', 'ids', status=None)
        daemon.cli('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
        until(lambda: daemon.get('/api/mirrors/ids').status == 200)
        tag = {'if_match': daemon.get('/api/mirrors/ids').headers['etag']} if tagged else {}
        with open(daemon.root / 'run/portmirror/lock') as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            waiting = daemon.send(method, '/api/mirrors/ids', body, **tag)
            until(lambda: 'nanosleep' in pathlib.Path(f'/proc/{daemon.pid}/wchan').read_text()
                  or select.select([waiting], [], [], 0)[0])
            path.write_text(theirs)
        answer = daemon.receive(waiting)
        return ask() if answer.status == 503 else answer  # this test was too slow

    answer = ask()
    if tagged or method == 'PATCH':
        assert fault(answer, 412 if tagged else 409)['code'] == 'changed-meanwhile'
        assert path.read_text() == theirs
        assert daemon.ask(method, '/api/mirrors/ids', body).status in (200, 204)
    else:
        assert answer.status in (200, 204)


def test_a_file_that_changes_while_a_request_waits_for_the_lock(daemon):
    """What the daemon knew of the mirror when it took the request is no longer so."""
    path, to = daemon.sessions / 'ids.yaml', 'to: port:ids0\n'

    def ask(change, *request):
        daemon.cli('rm', 'ids', status=None)
        daemon.cli('add', 'ids', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:ids0')
        until(lambda: daemon.get('/api/mirrors/ids').status == 200 and len(daemon.get(source).value) == 2)
        with open(daemon.root / 'run/portmirror/lock') as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            waiting = daemon.send(*request)
            until(lambda: 'nanosleep' in pathlib.Path(f'/proc/{daemon.pid}/wchan').read_text()
                  or select.select([waiting], [], [], 0)[0])
            change()
        answer = daemon.receive(waiting)
        if answer.status == 503:  # this test was too slow
            return ask(change, *request)
        return fault(answer, 404)['reason']

    source = '/api/mirrors/ids/sources'
    drop = 'DELETE', f'{source}/port:vnet1'
    assert ask(lambda: path.write_text(f'from: port:vnet2\n{to}'), *drop) == (
        'the mirror ids has no source port:vnet1')
    gone = 'there is no mirror named ids'
    for request in (drop, ('POST', source, {'selector': 'bridge:br0'})):
        for change in (path.unlink, lambda: path.write_text('from: nonsense\n')):
            assert ask(change, *request) == f'{gone} whose file can be read'
    assert ask(path.unlink, 'PUT', '/api/mirrors/ids', {'from': ['port:vnet1'], 'to': 'port:ids0'}) == gone
    assert ask(path.unlink, 'POST', '/api/mirrors/ids/actions', {'type': 'tc'}) == gone


# check

def checked(lab, daemon, answer):
    """The monitor's answer, while the two machines talk."""
    a, b = lab.machines
    assert answer.status == 202, answer
    monitor, seen = answer.headers['location'], set()

    def ended():
        a.send([frame(a, b, os.urandom(20)) for _ in range(20)])
        b.send([frame(b, a, os.urandom(20)) for _ in range(20)])
        value = daemon.get(monitor).value
        seen.add(value['progress'])
        return value['status'] != '202 Accepted' and value
    return until(ended, 20), seen


def test_check_proves_the_copy_and_tells_its_progress(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    done, seen = checked(lab, daemon, daemon.act('ids', type='check', seconds=1))
    assert done['status'] == '201 Created' and len(seen) > 3
    proof = done['body']
    assert proof['verdict'] == 'whole' and 'was copied once' in proof['reason'], proof
    assert proof['proof']['frames']['expected'] == proof['proof']['frames']['copied'] > 0
    assert daemon.get(proof['href']).value['verdict'] == 'whole'
    assert daemon.children() == []


def test_check_proves_what_is_here_of_a_fleet(lab, daemon):
    """The same mirror is on each host, which alerts nobody for what another host has."""
    daemon.post('/api/mirrors', {**IDS, 'from': ['port:vnet1', 'port:later']})
    done, _ = checked(lab, daemon, daemon.act('ids', type='check', seconds=1))
    assert done['status'] == '201 Created' and done['body']['verdict'] == 'whole'
    assert done['body']['proof']['reasons'] == ['waiting for the source port:later']
    text = daemon.get('/metrics', accept='*/*').text
    assert [re.search(rf'portmirror_session_{name}{{session="ids"}} (.*)', text)[1]
            for name in ('whole', 'sound', 'absent')] == ['0', '1', '1']


def test_check_finds_a_loss(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    answer = daemon.act('ids', type='check', seconds=1)
    # A foreign filter behind ours leads the copies elsewhere.
    lab.host.ip('link add elsewhere type veth peer name end', 'link set elsewhere up')
    lab.host.tc('qdisc add dev ids0 clsact',
                'filter add dev ids0 egress protocol all u32 match u32 0 0 '
                'action mirred egress redirect dev elsewhere')
    done, _ = checked(lab, daemon, answer)
    assert done['body']['verdict'] == 'broken', done
    assert done['body']['proof']['frames']['lost'] > 0


def test_check_can_be_waited_for(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    answer = daemon.post('/api/mirrors/ids/actions', {'type': 'check', 'seconds': 0.3, 'probe': True},
                         expect='201-created')
    assert answer.status == 201 and answer.value['_type'] == 'action', answer
    frames = answer.value['proof']['frames']
    assert frames['expected'] == frames['copied'] > 10


def test_check_can_be_cancelled(daemon):
    daemon.post('/api/mirrors', IDS)
    answer = daemon.act('ids', type='check', seconds=3000)
    assert len(daemon.children()) == 1
    assert daemon.ask('DELETE', answer.headers['location']).status == 204
    assert daemon.children() == []
    assert daemon.get('/api/mirrors/ids/actions').value[0]['state'] == 'cancelled'


def test_check_holds_none_of_the_daemons_connections(daemon):
    """Each answer here ends with its connection, while a check runs."""
    daemon.post('/api/mirrors', IDS)
    descriptors = daemon.descriptors()
    connections = [daemon.connect() for _ in range(5)]
    check = daemon.act('ids', type='check', seconds=3000)
    child = daemon.children()[0]
    until(lambda: len(os.listdir(f'/proc/{child}/fd')) < 12)
    for connection in connections:
        connection.close()
    assert daemon.get('/api').status == 200
    assert daemon.ask('DELETE', check.headers['location']).status == 204
    until(lambda: daemon.descriptors() <= descriptors)


def test_checks_have_bounds_and_need_a_whole_mirror(daemon):
    daemon.post('/api/mirrors', IDS)
    running = [daemon.act('ids', type='check', seconds=3000) for _ in range(4)]
    assert [answer.status for answer in running] == [202] * 4
    assert fault(daemon.act('ids', type='check'), 503)['code'] == 'checks-busy'
    for answer in running:
        daemon.ask('DELETE', answer.headers['location'])
    daemon.act('ids', type='bypass')
    assert 'ids: suspended: nothing is copied' in fault(daemon.act('ids', type='check'), 409)['reason']
    fault(daemon.act('ids', type='check', seconds=0), 400, 'seconds')
    fault(daemon.act('ids', type='dance'), 400, 'type')
    fault(daemon.act('nids', type='check'), 404)


def test_a_mirror_that_is_gone_or_has_failed_is_not_checked(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    daemon.post('/api/mirrors', {**IDS, 'name': 'two', 'from': ['port:vnet2']})
    assert daemon.ask('DELETE', '/api/mirrors/ids').status == 204
    assert 'ids' in fault(daemon.act('ids', type='check'), 404)['reason']
    (daemon.sessions / 'two.yaml').write_text('from: nonsense\n')
    until(lambda: daemon.state('two') == 'failed')
    for action in ('check', 'tc'):
        assert 'two.yaml' in fault(daemon.act('two', type=action), 409)['reason']
    daemon.cli('rm', 'two')
    until(lambda: daemon.get('/api/mirrors').value == [])
    daemon.post('/api/mirrors', IDS)
    lab.host.ip('link del ids0')
    until(lambda: daemon.state('ids') == 'waiting')
    for action in ('check', 'tc'):
        assert 'ids0' in fault(daemon.act('ids', type=action), 409)['reason']


def test_a_check_that_can_not_be_started_is_told(lab, daemon):
    """Where there is no descriptor for it: it is no job, and no action, and the next one runs."""
    daemon.post('/api/mirrors', IDS)
    connection = daemon.connect()
    connection.sendall(b'GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n')
    assert b' 200 ' in connection.recv(65536)
    limit = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir(f'/proc/{daemon.pid}/fd')}
    free = min(set(range(len(taken) + 1)) - taken)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (free, limit[1]))
    connection.sendall(b'POST /api/mirrors/ids/actions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n'
                       b'Content-Type: application/json\r\nContent-Length: 17\r\n\r\n{"type": "check"}')
    refused = fault(daemon.receive(connection), 500)
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, limit)
    assert refused['reason'] == "can't make a pipe: Too many open files"
    assert daemon.get('/api/mirrors/ids/actions').value == []
    checked(lab, daemon, daemon.act('ids', type='check', seconds=0.2))


@pytest.mark.ordinary
def test_checks_leave_no_memory_in_the_daemon(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    before = daemon.memory()
    for _ in range(3):
        checked(lab, daemon, daemon.act('ids', type='check', seconds=0.2))
    assert daemon.memory() - before < 4 << 20


def test_a_check_that_is_killed_is_told(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    started = daemon.act('ids', type='check', seconds=3000)
    os.kill(daemon.children()[0], signal.SIGKILL)
    failed = until(lambda: (v := daemon.get(started.headers['location']).value)['status'] != '202 Accepted' and v)
    assert failed['status'].startswith('500 ')
    action, = daemon.get('/api/mirrors/ids/actions').value
    assert action['state'] == 'failed' and 'ended before its time' in action['reason'], action
    assert daemon.children() == []
    checked(lab, daemon, daemon.act('ids', type='check', seconds=0.2))


@pytest.mark.ordinary
def test_a_check_without_memory_is_told(lab, daemon):
    daemon.post('/api/mirrors', IDS)
    limit = resource.prlimit(daemon.pid, resource.RLIMIT_AS)
    size = int(pathlib.Path(f'/proc/{daemon.pid}/statm').read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, (size + (8 << 20), limit[1]))
    started = daemon.act('ids', type='check', seconds=3000)
    failed = until(lambda: (v := daemon.get(started.headers['location']).value)['status'] != '202 Accepted' and v)
    resource.prlimit(daemon.pid, resource.RLIMIT_AS, limit)
    assert failed['status'].startswith('500 ')
    action, = daemon.get('/api/mirrors/ids/actions').value
    assert action['state'] == 'failed' and 'memory' in action['reason'], action
    checked(lab, daemon, daemon.act('ids', type='check', seconds=0.2))


def test_a_check_ends_with_its_daemon(lab, root):
    daemon = Daemon(lab.host, root)
    daemon.post('/api/mirrors', IDS)
    daemon.act('ids', type='check', seconds=3000)
    child = daemon.children()[0]
    daemon.kill()
    until(lambda: not os.path.exists(f'/proc/{child}')
          or ') Z ' in pathlib.Path(f'/proc/{child}/stat').read_text())
    daemon.start()
    assert daemon.state('ids') == 'whole'
    daemon.stop()


# Events

def test_events_by_number_and_long_polling(daemon):
    daemon.post('/api/mirrors', IDS)
    events = daemon.get('/api/events').value
    assert [event['number'] for event in events] == list(range(1, len(events) + 1))
    assert events == until(lambda: (e := daemon.get('/api/events').value) == events and e)
    last = events[-1]['number']
    held = daemon.send('GET', '/api/events', range=f'resources={last + 1}-',
                       expect='nonempty-response')
    assert daemon.act('ids', type='bypass').status == 201
    answer = daemon.receive(held)
    assert answer.status == 206, answer
    assert [event['number'] for event in answer.value][0] == last + 1
    assert daemon.get(f'/api/events/{last + 1}').value == answer.value[0]
    assert daemon.get('/api/events?kind=session-suspended').value[0]['session'] == 'ids'


def test_events_on_the_command_line(daemon):
    daemon.post('/api/mirrors', IDS)
    listed = daemon.cli_json('events')
    assert [e['number'] for e in listed] == [e['number'] for e in daemon.get('/api/events').value]
    assert re.search(r'^2 +\S+Z +session-added +ids: ', daemon.cli('events').stdout, re.M)
    process = daemon.namespace.popen(BUILD / 'src/portmirror/portmirror', 'events', '-w', '--json',
                                     stdout=subprocess.PIPE, env={**os.environ, **daemon.env})
    with process:
        for event in listed:
            assert f'"number":{event["number"]},' in process.stdout.readline()
        daemon.act('ids', type='bypass')
        assert '"number":%d,' % (listed[-1]['number'] + 1) in process.stdout.readline()
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0


# Around the API

def test_metrics_are_what_prometheus_takes(lab, daemon):
    daemon.post('/api/mirrors', {**IDS, 'from': ['bridge:br0']})
    a, b = lab.machines
    a.send([frame(a, b)] * 3)

    def metrics():
        answer = daemon.get('/metrics', accept='*/*')
        assert answer.headers['content-type'] == 'text/plain; version=0.0.4; charset=utf-8'
        return answer.text
    text = until(lambda: 'copied_frames_total{session="ids"} 3\n' in (m := metrics()) and m)
    result = subprocess.run(['promtool', 'check', 'metrics'], input=text, capture_output=True,
                            text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert 'portmirror_sessions{state="whole"} 1' in text
    assert 'portmirror_source_frames_total{session="ids",port="vnet1",direction="sent"} 3' in text
    lab.host.run('ip', 'link', 'set', 'vnet2', 'down', 'name', '"\\')
    until(lambda: r'port="\"\\"' in metrics())


def test_the_first_page_tells_how_it_stands(daemon):
    daemon.post('/api/mirrors', {**IDS, 'from': ['port:later']})
    page = daemon.get('/', accept='text/html')
    assert page.status == 200 and page.headers['content-type'].startswith('text/html')
    for words in ('waiting for the source port:later', 'href="http://localhost/api/mirrors/ids"',
                  'href="http://localhost/api/mirrors;create"'):
        assert words in page.text, words
    assert '<script' not in page.text


def test_the_documentation_tells_of_all(daemon):
    """It is linked from every page, and has all types and their attributes, as the placeholders have them."""
    assert 'href="http://localhost/documentation"' in daemon.get('/api/mirrors', accept='text/html').text
    page = daemon.get('/documentation', accept='text/html')
    assert page.status == 200 and page.headers['content-type'].startswith('text/html')
    for path, name in (('mirrors', 'mirror'), ('mirrors/_/sources', 'mirror-source'), ('ports', 'port'),
                       ('mirrors/_/actions', 'mirror-action'), ('mirrors/_/ports', 'mirror-tap'), ('vms', 'vm'),
                       ('vms/_/nics', 'vm-nic'), ('bridges', 'bridge'), ('events', 'event'), ('findings', 'finding'),
                       ('monitors', 'response')):
        _, _, section = page.text.partition(f'id="{name}"')
        section = re.split('<h[23]', section)[0]
        for attribute in set(daemon.get(f'/api/{path}/_').value) - {'id', 'href', 'link', '_type'}:
            assert f'<code>{attribute}</code>' in section, (name, attribute)
        assert f'#{name}"' in page.text


def test_access_over_tcp(lab, root):
    token = root / 'token'
    token.write_text(TOKEN + '\n')
    token.chmod(0o600)
    daemon = Daemon(lab.host, root, '--listen', 'tcp:127.0.0.1:8640', '--listen',
                    f'unix:{root}/run/portmirror/api.sock', '--token-file', token)

    def status(path, *options):
        return lab.host.run('curl', '-s', '-o', '/dev/null', '-w', '%{http_code}', *options,
                            f'http://127.0.0.1:8640{path}').stdout
    assert status('/healthz') == '200'
    for path in ('/', '/metrics', '/api'):
        assert status(path) == '401'
        assert status(path, '-H', f'Authorization: Bearer {TOKEN}') == '200'
    assert 'refused_total{reason="token"} 3' in daemon.get('/metrics', accept='*/*').text
    daemon.stop()


def test_tls_by_name(lab, root, certificate):
    """Off loopback: with TLS, a token, and names that it was told are its own."""
    token = root / 'token'
    token.write_text(TOKEN + '\n')
    token.chmod(0o600)
    lab.host.ip('addr add 192.0.2.1/24 dev br0', 'link set br0 up')
    daemon = Daemon(lab.host, root, '--listen', 'tcp:192.0.2.1:8640', '--listen',
                    f'unix:{root}/run/portmirror/api.sock', '--token-file', token, '--host', 'kvm1.example',
                    '--certificate', certificate[0], '--key', certificate[1])

    def ask(name):
        return json.loads(lab.host.run(
            'curl', '-s', '--cacert', certificate[0], '--connect-to', f'{name}:8640:192.0.2.1:8640',
            *(['-k'] if name != 'localhost' else []), '-H', f'Authorization: Bearer {TOKEN}',
            f'https://{name}:8640/api').stdout)
    for name in ('192.0.2.1', 'kvm1.example', 'localhost'):
        assert ask(name)['href'] == f'https://{name}:8640/api'
    assert ask('evil.example')['code'] == 'unknown-host'
    daemon.stop()


@pytest.mark.parametrize('options, words', [
    (['--listen', 'tcp:127.0.0.1:0'], 'token'), (['--listen', 'nonsense'], 'nonsense'),
    (['--listen', 'tcp:0.0.0.0:0', '--token-file', '/dev/null'], ''),
    (['--certificate', '/nowhere'], 'key'), (['--host', 'kvm1:80'], 'kvm1:80'), (['--host', 'a b'], 'a b'),
])
def test_no_listener_is_open_by_mistake(lab, root, options, words):
    result = lab.host.run(BUILD / 'src/portmirrord/portmirrord', '--root', root, *options,
                          check=False, timeout=20)
    assert result.returncode == 2 and words in result.stderr, result.stderr


def test_it_says_the_same_in_every_representation(daemon):
    daemon.post('/api/mirrors', {**IDS, 'filter': 'tcp[13] & 2 != 0 and not port 22'})
    value = daemon.get('/api/mirrors/ids').value
    text = daemon.get('/api/mirrors/ids', accept='application/yaml').text
    assert text.startswith('!mirror\n')
    loaded = yaml.safe_load(text.replace('!mirror\n', '', 1))
    assert loaded == {key: item for key, item in value.items() if key != '_type'}
    assert 'not port 22</filter>' in daemon.get('/api/mirrors/ids', accept='application/xml').text
    # What YAML it gives, it takes; and apply takes it too.
    daemon.ask('DELETE', '/api/mirrors/ids')
    answer = daemon.post('/api/mirrors', text, content_type='application/yaml')
    assert answer.status == 201 and answer.value['filter'] == value['filter'], answer
