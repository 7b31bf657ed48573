# SPDX-License-Identifier: MIT
"""In-line sessions by the API: made, read, changed and removed like any mirror."""
import http.client
import json
import re
import socket
import subprocess

import pytest

from appliances import INSIDE, ONE_WAY, OUTSIDE
from test_life import passes

INLINE = {'name': 'ips', 'mode': 'inline', 'guard': ['port:vnet1'],
          'through': [f'port:{INSIDE}', f'port:{OUTSIDE}'], 'on-failure': 'closed'}

pytestmark = pytest.mark.engine(ONE_WAY)


class Client(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost')
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)

    def __call__(self, method, path, body=None, status=200):
        self.request(method, path, json.dumps(body) if body else None,
                     {'Content-Type': 'application/json', 'Accept': 'application/json'})
        answer = self.getresponse()
        text = answer.read()
        assert answer.status == status, text
        return json.loads(text) if text else None


    def metrics(self):
        """The text, and its samples that tell of appliances: by name, its label beside the session."""
        self.request('GET', '/metrics')
        text = self.getresponse().read().decode()
        found = re.findall(r'^portmirror_appliance_(\w+)\{session="ips"(?:,\w+="(\w+)")?\} (\d+)$',
                           text, re.MULTILINE)
        return text, {f'{name} {label}'.strip(): int(value) for name, label, value in found}


@pytest.fixture
def api(pm, daemon):
    daemon()
    return Client(pm.root / 'run/portmirror/api.sock')


def test_an_in_line_session_by_the_api(lab, pm, appliance, api, wait_until):
    wire = appliance()
    a, b = lab.machines
    before = lab.host.state()
    made = api('POST', '/api/mirrors', INLINE, status=201)
    assert made['mode'] == 'inline' and made['guard'] == ['port:vnet1']
    assert passes(a, b) == 1
    wait_until(lambda: api('GET', '/api/mirrors/ips')['watched'])
    got = api('GET', '/api/mirrors/ips')
    assert got['state'] == 'whole' and got['ports'] == 1 and got['failure'] is None
    wait_until(lambda: api('GET', '/api/mirrors/ips')['counts']['led_out']['frames'] == 1)
    now = api('GET', '/api/mirrors/ips;current')
    assert {key: now[key] for key in INLINE} == INLINE
    changed = api('PATCH', '/api/mirrors/ips', {'on-failure': 'open', 'probe-interval': 20})
    assert changed['on-failure'] == 'open'
    wire('drop')
    wait_until(lambda: api('GET', '/api/mirrors/ips')['failure'] == 'silent')
    assert passes(a, b) == 1
    assert 'all frames go straight on' in ' '.join(api('GET', '/api/mirrors/ips')['reasons'])
    kinds = [event['kind'] for event in api('GET', '/api/events')]
    assert 'appliance-failed' in kinds
    api('POST', '/api/mirrors/ips/sources', {'selector': 'port:vnet2'}, status=201)
    assert api('GET', '/api/mirrors/ips')['guard'] == ['port:vnet1', 'port:vnet2']
    api('DELETE', '/api/mirrors/ips', status=204)
    assert lab.host.back_to(before)
    assert pm.json('list') == []


def test_metrics_tell_of_the_appliance(lab, pm, appliance, api, wait_until):
    wire = appliance()
    a, b = lab.machines
    assert api.metrics()[1] == {}
    api('POST', '/api/mirrors', {**INLINE, 'on-failure': 'open', 'probe-interval': 20}, status=201)

    def until(condition):
        wait_until(lambda: condition(api.metrics()[1]))
        return api.metrics()[1]
    now = until(lambda m: min(m['probes_sent_total'], m['probes_received_total outward'],
                              m['probes_received_total inward']) >= 3)
    assert now['answering'] == 1 and now['failures_total'] == 0
    assert now['probes_received_total outward'] <= now['probes_sent_total']
    assert passes(a, b) == passes(b, a) == 1
    now = until(lambda m: m['frames_total led_in'] == 1)
    assert now['frames_total led_out'] == now['frames_total back_out'] == 1
    assert now['bytes_total led_out'] == 60 and now['frames_total straight'] == 0
    wire('drop')
    now = until(lambda m: m['answering'] == 0)
    assert now['failures_total'] == 1
    assert passes(a, b) == 1
    now = until(lambda m: m['frames_total straight'] == 1)
    # They go on, and none comes.
    later = until(lambda m: m['probes_sent_total'] > now['probes_sent_total'])
    assert later['probes_received_total outward'] == now['probes_received_total outward']
    text = api.metrics()[0]
    checked = subprocess.run(['promtool', 'check', 'metrics'], input=text, capture_output=True,
                             text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, '')
    wire('pass')
    assert until(lambda m: m['answering'] == 1)['failures_total'] == 1
    pm('bypass', 'ips')
    until(lambda m: m == {})


def test_the_commands_of_tc_can_not_say_it(appliance, api):
    appliance()
    api('POST', '/api/mirrors', INLINE, status=201)
    fault = api('POST', '/api/mirrors/ips/actions', {'type': 'tc'}, status=409)
    assert 'in-line session' in fault['reason'] and "can't be said in commands of tc" in fault['reason']
    assert api('GET', '/api/mirrors/ips/actions') == []


@pytest.mark.parametrize('change, field', [
    ({'from': ['port:vnet2']}, 'from'),
    ({'to': 'port:ids0'}, 'to'),
    ({'guard': None}, 'guard'),
    ({'through': ['port:x']}, 'through'),
    ({'on-failure': 'ajar'}, 'on-failure'),
    ({'probe-interval': 1}, 'probe-interval'),
    ({'direction': 'sent'}, 'direction'),
])
def test_what_the_api_refuses(api, change, field):
    fault = api('POST', '/api/mirrors', {**INLINE, **change}, status=400)
    assert field in json.dumps(fault)


def test_modes_have_attributes_of_their_own(api):
    fault = api('POST', '/api/mirrors', {'name': 'm', 'from': ['port:vnet1'], 'to': 'port:ids0',
                                         'appliance': 'bridge'}, status=400)
    assert 'only a session of mode inline has it' in fault['reason'] + str(fault.get('detail'))
