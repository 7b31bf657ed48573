# SPDX-License-Identifier: MIT
"""Every field of every form, with every kind of wrong value, in every kind of body: always an answer,
and a fault that names the field."""
import contextlib
import http.client
import json
import os
import random
import re
import socket
import urllib.parse
from xml.sax.saxutils import escape

import pytest
import yaml

from daemon import Daemon, Lab

BASES = {
    '/api/mirrors;create': {'name': 'fuzzed', 'from': ['port:nowhere'], 'to': 'port:nowhere2',
                            'suspended': True},
    '/api/mirrors/ids;update': {'from': ['port:nowhere'], 'to': 'port:nowhere2', 'suspended': True},
    '/api/mirrors/ids/sources;create': {'selector': 'port:nowhere3'},
    '/api/mirrors/ids/actions;create': {'type': 'bypass', 'dry-run': True},
}


def xml(name, value):
    if value is None:
        return f'<{name} xsi:nil="true"/>'
    if isinstance(value, dict):
        return f'<{name}>{"".join(xml(key, item) for key, item in value.items())}</{name}>'
    if isinstance(value, list):
        return f'<{name} type="xs:list">{"".join(xml("item", item) for item in value)}</{name}>'
    kind = {bool: 'boolean', int: 'integer', float: 'decimal'}.get(type(value), 'string')
    text = json.dumps(value) if kind != 'string' else escape(value)
    return f'<{name} type="xs:{kind}">{text}</{name}>'


def form_pairs(value):
    return [(name, str(one).lower() if isinstance(one, bool) else '' if one is None else one)
            for name, item in value.items()
            for one in (item if isinstance(item, list) else [item])]


# A body of that format, and whether it can hold such a value at all.
FORMATS = {
    'json': ('application/json', lambda body, form: json.dumps(body), lambda value: True),
    'yaml': ('application/yaml', lambda body, form: yaml.safe_dump(body, allow_unicode=True),
             lambda value: True),
    'xml': ('application/xml', lambda body, form: xml(form['type'], body).replace(
        '>', ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">', 1),
            # An element without content is the empty string.
            lambda value: value != {} if not isinstance(value, str) else all(c >= ' ' or c in '\t\n' for c in value)),
    'form': ('application/x-www-form-urlencoded', lambda body, form: urllib.parse.urlencode(
        [*form_pairs(body), ('_token', form['_token']), ('_method', form['method'])]),
             lambda value: not isinstance(value, (dict, float)) and
             not (isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value))),
}


def wrong_values(field):
    """What the form itself excludes, whatever the format says of types."""
    kind, several = field['type'], field.get('multiple')
    wrong = [{'x': 1}, {}]
    if kind == 'boolean':
        wrong += ['perhaps', 7, [True, False]]
    if kind == 'number':
        wrong += ['many', [1, 2], field['max'] + 1, -5, 1e300]
    if kind == 'string':
        longest = field.get('maxlen')
        if longest:
            wrong += ['x' * (longest + 1), 'é' * longest]
        if field.get('regex'):
            wrong += ['a b', '/', '-', 'a\tb', '../../etc/passwd', '_', 'ï']
        if field.get('choices'):
            wrong += ['none-of-them', field['choices'][0] + ' ', field['choices'][0].upper()]
        wrong += [[['x']], [{'x': 'y'}]]
        wrong += [['port:a'] * (field['most'] + 1)] if several else [['a', 'b']]
    return wrong


def strange_values(field, chance):
    """Allowed or not, depending on what is behind the form."""
    pieces = ['vm:', 'port:', 'bridge:', 'mac:', '/', '*', '[', '%s%n', '\\', '\u202e', '🙂', 'é', '"', "'",
              '<b>', '&amp;', '{{', '$(id)', 'tcp', ' and ', 'port 80', '(', ')', '0' * 40, '-1', '.', '~',
              'null', 'true', '!x', '*a', '&a', '#', ':', '\n', '\t', '\x7f', 'x' * 300]
    values = [''.join(chance.choice(pieces) for _ in range(chance.randrange(1, 6))) for _ in range(8)]
    values += ['', ' ', 0, -1, True, None, 1 << 62, 0.5, []]
    return [[value] if field.get('multiple') and chance.random() < 0.5 else value for value in values]


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__('localhost', timeout=30)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(self.path)

    def ask(self, method, target, body=None, kind=None):
        headers = {'Accept': 'application/json', **({'Content-Type': kind} if kind else {})}
        self.request(method, target, body.encode() if body is not None else None, headers)
        answer = self.getresponse()
        raw = answer.read()
        assert raw or answer.status == 204
        return answer.status, json.loads(raw) if raw else None


@pytest.fixture(scope='module')
def daemon(tmp_path_factory):
    if os.geteuid() != 0:
        pytest.skip('only root can make network namespaces')
    with Lab() as lab:
        made = Daemon(lab.host, tmp_path_factory.mktemp('root'))
        yield made
        made.stop()


@pytest.fixture
def connection(daemon):
    with contextlib.closing(Connection(daemon.socket)) as made:
        made.ask('POST', '/api/mirrors', json.dumps(
            {'name': 'ids', 'from': ['port:nowhere'], 'to': 'port:nowhere2', 'suspended': True}),
                 'application/json')
        yield made
        assert made.ask('GET', '/api')[0] == 200
    assert 'runtime error' not in daemon.log


def clean_up(connection):
    for mirror in connection.ask('GET', '/api/mirrors')[1]:
        if mirror['id'] != 'ids':
            assert connection.ask('DELETE', mirror['href'].removeprefix('http://localhost'))[0] == 204


def get_form(connection, path):
    """The form resource, with the token that its page has."""
    form = connection.ask('GET', path)[1]
    connection.request('GET', path, headers={'Accept': 'text/html'})
    form['_token'] = re.search(r'name="_token" value="([^"]+)"',
                               connection.getresponse().read().decode())[1]
    return form


def submit(connection, form, body, format_name):
    kind, write, _ = FORMATS[format_name]
    method = 'POST' if format_name == 'form' else form['method']
    return connection.ask(method, form['action'].removeprefix('http://localhost'), write(body, form),
                          kind)


def send(connection, form, path, name, value, format_name):
    """The status and the answer; None where the format can't say it."""
    if not FORMATS[format_name][2](value):
        return None, None
    return submit(connection, form, {**BASES[path], name: value}, format_name)


def names_it(answer, name):
    return (answer.get('detail') or {}).get('field', '').startswith(name)


@pytest.mark.parametrize('format_name', FORMATS)
@pytest.mark.parametrize('path', BASES)
def test_what_a_form_excludes_is_a_fault_that_names_the_field(connection, path, format_name):
    form, count = get_form(connection, path), 0
    for field in form['fields']:
        for value in wrong_values(field):
            status, answer = send(connection, form, path, field['name'], value, format_name)
            if status is None:
                continue
            what = (path, format_name, field['name'], value, answer)
            assert status == 400 and answer['_type'] == 'fault', what
            assert names_it(answer, field['name']), what
            count += 1
    assert count >= len(form['fields'])


@pytest.mark.parametrize('format_name', FORMATS)
@pytest.mark.parametrize('path', BASES)
def test_strange_values_are_taken_or_refused_but_nothing_else(connection, path, format_name):
    chance = random.Random(f'{path} {format_name}')
    form = get_form(connection, path)
    for field in form['fields']:
        for value in strange_values(field, chance):
            status, answer = send(connection, form, path, field['name'], value, format_name)
            if status is None:
                continue
            what = (path, format_name, field['name'], value, status, answer)
            assert status in (200, 201, 400, 409), what
            if status in (200, 201):
                clean_up(connection)
            else:
                assert answer['_type'] == 'fault' and answer['reason'], what
                # A field that stands for another's change may be what the conflict is about.
                assert status == 409 or names_it(answer, field['name']) or field['name'] == 'type', what


@pytest.mark.parametrize('format_name', FORMATS)
def test_unknown_and_missing_fields_are_named(connection, format_name):
    for path, base in BASES.items():
        form = get_form(connection, path)
        status, answer = send(connection, form, path, 'nonsense', 'x', format_name)
        assert status == 400 and names_it(answer, 'nonsense'), answer
        for constraint in form['constraints']:
            if constraint['sense'] == 'mandatory' and form['method'] == 'POST':
                less = {key: value for key, value in base.items() if key != constraint['field']}
                status, answer = submit(connection, form, less, format_name)
                assert status == 400 and names_it(answer, constraint['field']), answer


TRAPS = [
    ('application/yaml', 'a: &a [x, x, x]\nb: &b [*a, *a, *a]\nc: &c [*b, *b, *b]\nname: *c\n'),
    ('application/xml', '<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><m><name>&b;</name></m>'),
    ('application/xml', '<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><m><name>&x;</name></m>'),
    ('application/json', '{"name":' + '[' * 100000),
    ('application/json', '{"name": 1e999}'), ('application/json', '{"name": "\\u0000"}'),
    ('application/json', '{"name": "a", "name": "b"}'), ('application/yaml', '!!python/object:os.system {}'),
    ('application/x-www-form-urlencoded', '%'), ('application/json', ''), ('application/xml', '<m>'),
    ('application/x-www-form-urlencoded', '&'.join(f'x{i}.y=1' for i in range(6000))),
    ('application/xml', '<m>' * 3000), ('application/yaml', '- ' * 30000),
]


@pytest.mark.parametrize('kind, body', TRAPS, ids=range(len(TRAPS)))
def test_bodies_that_are_traps(daemon, connection, kind, body):
    before = daemon.memory()
    status, answer = connection.ask('POST', '/api/mirrors', body, kind)
    assert 400 <= status < 500 and answer['_type'] == 'fault' and answer['reason'], answer
    assert 'root:' not in json.dumps(answer)
    assert daemon.memory() - before < 16 << 20


def forms(connection):
    """Every form that links lead to from /api, by its URL."""
    seen, waiting = {}, ['/api']
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen[path] = connection.ask('GET', path)[1]
            waiting += re.findall(r'"href": "http://localhost([^"]+)"', json.dumps(seen[path]))
    return {path: form for path, form in seen.items() if isinstance(form, dict) and form.get('_type') == 'form'}


def test_no_form_is_left_out(connection):
    """A new form must come to the tests above."""
    told = {(form['type'], form['method']) for form in forms(connection).values() if form['fields']}
    tried = {(form['type'], form['method']) for form in (get_form(connection, path) for path in BASES)}
    assert {one for one in told if one[1] != 'GET'} == tried


def test_searches_are_checked_by_their_forms_too(connection):
    chance = random.Random(1)
    searches = {path: form for path, form in forms(connection).items() if form['method'] == 'GET'}
    assert {form['type'] for form in searches.values()} >= {'mirror', 'port', 'bridge', 'vm', 'event', 'finding'}

    def search(form, **values):
        return connection.ask('GET', f'{form["action"].removeprefix("http://localhost")}?'
                              + urllib.parse.urlencode(values, doseq=True))
    for form in searches.values():
        status, answer = search(form, nonsense='1')
        assert status == 400 and answer['detail']['field'] == 'nonsense', answer
        for field in form['fields']:
            for value in wrong_values(field):
                if isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value)):
                    status, answer = search(form, **{field['name']: value})
                    assert status == 400 and names_it(answer, field['name']), (form['type'], value, answer)
            for value in strange_values(field, chance):
                if isinstance(value, str):
                    status, answer = search(form, **{field['name']: value})
                    assert status == 200 and isinstance(answer, list) or names_it(answer, field['name']), answer
