# SPDX-License-Identifier: MIT
"""The rules of the API, each held against all that portmirrord serves: a client that knows /api and nothing
else walks every link, and each rule is tried on every URL that it finds. What a rule means in detail, down
to its last case, is in the unit tests of src/rest, where tests of the same names are."""
import json
import os
import random
import re
import types
import urllib.parse
import xml.etree.ElementTree

import pytest
import yaml

from daemon import TCX, TOKEN, Daemon, Lab, Vm, until

BASE = 'http://localhost'
FORMATS = ('json', 'yaml', 'xml')
METHODS = ('GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE')
TYPES = {'api', 'bridge', 'member', 'port', 'vm', 'nic', 'mirror', 'source', 'tap', 'action', 'event', 'finding',
         'response', 'form'}
IDS = {'name': 'ids', 'from': ['port:vnet1', 'vm:web 1'], 'to': 'port:ids0', 'filter': 'not port 22'}


def values(value):
    """The value, and all that is in it."""
    yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from values(part)


def objects(value):
    return (part for part in values(value) if isinstance(part, dict))


def walk(daemon):
    """Every URL that links lead to from /api, with its answer as JSON."""
    seen, waiting = {}, [BASE + '/api']
    while waiting:
        url = waiting.pop()
        if url in seen:
            continue
        seen[url] = daemon.get(url)
        assert seen[url].status == 200, (url, seen[url])
        waiting += [part[key] for part in objects(seen[url].value) for key in ('href', 'action')
                    if isinstance(part.get(key), str)]
    return seen


@pytest.fixture(scope='module')
def api(tmp_path_factory):
    """A host with all that there can be: machines, a mirror that is whole and one that waits, an action, a
    check under way; and found, what a walk through the links finds of it."""
    if os.geteuid() != 0:
        pytest.skip('only root can make network namespaces')
    folder = tmp_path_factory.mktemp('rules')
    (folder / 'token').write_text(TOKEN)
    (folder / 'token').chmod(0o600)
    (folder / 'root').mkdir()
    with Lab() as lab:
        daemon = Daemon(lab.host, folder / 'root', '--listen', 'tcp:127.0.0.1:8640', '--listen',
                        f'unix:{folder}/root/run/portmirror/api.sock', '--token-file', folder / 'token',
                        '--host', 'kvm1.example')
        vm = Vm(lab.host, 'web 1', 'tap0')
        assert vm.ready, 'no tap can be made here (/dev/net/tun)'
        until(lambda: daemon.get('/api/vms').value)
        assert daemon.post('/api/mirrors', IDS).value['state'] == 'whole'
        daemon.post('/api/mirrors', {'name': 'later', 'from': ['port:later'], 'to': 'port:ids0'})
        assert daemon.act('ids', type='tc').status == 201
        assert daemon.act('ids', type='check', seconds=600).status == 202
        lab.host.ip('link set ids0 down')
        until(lambda: daemon.get('/api/findings').value)
        yield types.SimpleNamespace(lab=lab, daemon=daemon, found=walk(daemon))
        vm.stop()
        daemon.stop()


def collections(api):
    return {url: answer.value for url, answer in api.found.items() if isinstance(answer.value, list)}


def resources(api):
    return {url: answer.value for url, answer in api.found.items() if isinstance(answer.value, dict)}


def forms(api):
    return {url: value for url, value in resources(api).items() if value['_type'] == 'form'}


def allowed(api, url):
    return api.daemon.ask('OPTIONS', url).headers['allow'].split(', ')


def fault(answer, status):
    value = answer.value
    assert answer.status == value['status'] == status and value['_type'] == 'fault', answer
    assert re.fullmatch('[a-z-]+', value['code']) and value['reason'], answer
    return value


# One test for each rule. Those that change something are at the end of what they are about.

def test_rule_1_one_entry_point(api):
    entry = api.found[BASE + '/api'].value
    assert entry['_type'] == 'api' and entry['version'] and entry['kernel'] == os.uname().release
    assert isinstance(entry['features'], dict) and entry['engine']
    rels = [link['rel'] for link in entry['link']]
    for name in ('mirrors', 'ports', 'bridges', 'vms', 'events'):
        assert f'collection/{name}' in rels
    # No URL but the first was built, and there is nothing that was not found.
    found = {part['_type'] for value in map(lambda a: a.value, api.found.values()) for part in
             (value if isinstance(value, list) else [value])}
    assert found == TYPES


def test_rule_2_urls_alternate_collection_and_id(api):
    shape = re.compile(r'http://localhost/api(/[a-z]+(/[^/;]+(/[a-z]+(/[^/;]+)?)?)?)?(;[a-z]+)?')
    for url in api.found:
        assert shape.fullmatch(url), url


def test_rule_2_hrefs_are_absolute_with_what_the_client_called(api):
    for host in ('localhost', 'kvm1.example', 'kvm1:8640', '[::1]:80'):
        for url in api.found:
            answer = api.daemon.get(url, host=host)
            hrefs = [part['href'] for part in objects(answer.value) if part.get('href')]
            assert answer.value == [] or hrefs, url
            assert all(href.startswith(f'http://{host}/api') for href in hrefs), (url, hrefs)
    over_tcp = api.lab.host.run('curl', '-s', '-u', f'admin:{TOKEN}', 'http://127.0.0.1:8640/api')
    assert json.loads(over_tcp.stdout)['href'] == 'http://127.0.0.1:8640/api'


def test_rule_3_a_resource_is_an_object_a_collection_an_array_of_one_type(api):
    for value in resources(api).values():
        assert isinstance(value['_type'], str)
    for url, value in collections(api).items():
        assert len({item['_type'] for item in value}) <= 1, url
    for answer in api.found.values():
        for part in objects(answer.value):
            assert not [key for key in part if key.startswith('_') and key != '_type'], part


def test_rule_4_reserved_attributes(api):
    for url, value in resources(api).items():
        assert value['href'] == url
        assert value['_type'] == 'api' or isinstance(value['id'], str)
        links = value.get('link', [])
        for link in links if isinstance(links, list) else [links]:
            assert set(link) <= {'rel', 'href', 'type'} and link['rel'] and link['href'], (url, link)
    for url, value in collections(api).items():
        for item in value:  # each is at its href what it is here
            assert item['href'].startswith(url + '/') and item['href'] in api.found
            assert api.found[item['href']].value['id'] == item['id']


def test_rule_5_relations(api):
    for value in resources(api).values():
        for link in value.get('link', []):
            kind, _, name = link['rel'].partition('/')
            assert kind in ('collection', 'resource', 'form') and name, link
            assert isinstance(api.found[link['href']].value, list) == (kind == 'collection')
            assert (api.found[link['href']].value['_type'] == 'form') == (kind == 'form') \
                if kind != 'collection' else True
    daemon = api.daemon
    port = daemon.get('/api/ports/tap0').value
    assert daemon.get(port['bridge']['href']).value['_type'] == 'bridge'
    on_bridge = daemon.get('/api/ports?bridge.href=br0').value
    assert port['bridge'] and all(each['bridge'] == port['bridge'] for each in on_bridge)
    assert len(on_bridge) == sum(each['bridge'] == port['bridge'] for each in daemon.get('/api/ports').value) > 1
    of_vm = daemon.get('/api/ports?vm.href=' + urllib.parse.quote(port['vm']['href'], '')).value
    assert [each['name'] for each in of_vm] == ['tap0']
    vm = daemon.get(port['vm']['href']).value
    nic = daemon.get(daemon.follow(vm, 'collection/nics')).value[0]
    assert nic['port'] == {'href': port['href']}
    mirror = daemon.get('/api/mirrors/ids').value
    assert daemon.get(mirror['destination']['href']).value['name'] == 'ids0'
    taps = daemon.get(daemon.follow(mirror, 'collection/ports')).value
    assert {tap['port']['href'] for tap in taps} == {f'{BASE}/api/ports/{name}' for name in ('vnet1', 'tap0')}
    assert [source['selector'] for source in daemon.get(daemon.follow(mirror, 'collection/sources')).value] == \
        IDS['from']
    assert daemon.get('/api/events?session=ids').value[0]['mirror'] == {'href': mirror['href']}


XSI = '{http://www.w3.org/2001/XMLSchema-instance}nil'


def xml_value(element):
    """What an element of the API's XML says, by its rules."""
    kind, text = element.get('type'), element.text or ''
    if element.get(XSI) == 'true':
        return None
    if kind == 'xs:list':
        return [xml_value(item) for item in element]
    if kind == 'xs:anyType':
        return {}
    if kind:
        return {'xs:string': str, 'xs:integer': int, 'xs:decimal': float, 'xs:double': float,
                'xs:boolean': lambda word: word == 'true'}[kind](text)
    return {child.get('name', child.tag): xml_value(child) for child in element}


class Tags(yaml.SafeLoader):
    pass


Tags.add_multi_constructor('!', lambda loader, tag, node: {'_type': tag, **loader.construct_mapping(node, deep=True)})


def as_json(answer, name, shape):
    """The value that an answer has in any format."""
    if name == 'json':
        return answer.value
    if name == 'yaml':
        return yaml.load(answer.text, Tags)
    root = xml.etree.ElementTree.fromstring(answer.body)
    if shape == 'collection':
        return [{'_type': child.tag, **xml_value(child)} for child in root]
    return {'_type': root.tag, **xml_value(root)}


def shape_of(value):
    return 'collection' if isinstance(value, list) else 'form' if value['_type'] == 'form' else 'resource'


def without_live(value, api_type):
    """What doesn't change from one answer to the next."""
    changing = {'progress'} | {name for name in value if re.search('frames|bytes|lost|dropped', name)}
    return {key: item for key, item in value.items() if key not in changing} if api_type else value


def test_rule_6_it_says_the_same_in_every_format(api):
    for url, answer in api.found.items():
        shape = shape_of(answer.value)
        for name in FORMATS:
            for accept in (f'application/{name}', f'application/x-{shape}+{name}'):
                got = api.daemon.get(url, accept=accept)
                assert got.status == 200 and got.headers['content-type'] == f'application/x-{shape}+{name}', url
            told = as_json(got, name, shape)
            wanted = answer.value
            for one, other in zip(told if shape == 'collection' else [told],
                                  wanted if shape == 'collection' else [wanted], strict=True):
                assert without_live(one, True) == without_live(other, True), (url, name)


def test_rule_6_html_is_tables_links_and_real_forms(api):
    for url, answer in api.found.items():
        page = api.daemon.get(url, accept='text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8')
        assert page.status == 200 and page.headers['content-type'] == 'text/html; charset=utf-8'
        tree = xml.etree.ElementTree.fromstring(page.text.partition('\n')[2])  # behind the doctype
        shape = shape_of(answer.value)
        tables = tree.findall('.//table')
        if shape == 'resource':
            rows = [row for row in tables[0].iter('tr')]
            assert all(len(row.findall('./*')) == 2 for row in rows), url
        elif shape == 'collection' and answer.value:
            assert len(list(tables[0].find('tbody'))) == len(answer.value), url
        hrefs = {link.get('href') for link in tree.iter('a')}
        if shape == 'resource':
            assert {part['href'] for part in objects(answer.value) if part.get('href')} <= hrefs, url
        for form in tree.iter('form'):
            check_html_form(form, api)


def check_html_form(form, api):
    """What a browser makes of it is a request that the API's form describes."""
    hidden = {field.get('name'): field.get('value') for field in form.iter('input')
              if field.get('type') == 'hidden'}
    action = form.get('action')
    method = hidden.get('_method', form.get('method').upper())
    name = {'POST': 'create', 'PUT': 'update', 'DELETE': 'delete', 'GET': 'search'}[method]
    told = forms(api)[f'{action};{name}']
    assert told['method'] == method and (form.get('method') == 'post') == (method != 'GET')
    if method != 'GET':
        assert hidden['_type'] == told['type'] and len(hidden['_token']) == 32
    controls = [field for kind in ('input', 'select', 'textarea') for field in form.iter(kind)
                if field.get('type') != 'hidden']
    assert {field.get('name') for field in controls} == {field['name'] for field in told['fields']}
    labels = {label.get('for') for label in form.iter('label')}
    wrapped = {id(field) for label in form.iter('label') for field in label.iter('input')}
    assert all(field.get('id') in labels or id(field) in wrapped for field in controls)
    mandatory = {constraint.get('field') for constraint in told['constraints'] if constraint['sense'] == 'mandatory'}
    assert {field.get('name') for field in controls if field.get('required') is not None} == mandatory


def test_rule_6_the_best_of_what_is_accepted(api):
    for accept, kind in (
            ('application/json;q=0.1, application/yaml;q=0.2, application/xml;q=0.3, text/html;q=0.4', 'html'),
            ('application/json;q=0.1, application/yaml;q=0.2, application/xml;q=0.3', 'xml'),
            ('text/html;q=0.2, application/*;q=0.1', 'html'), ('text/*;q=0.2, */*;q=0.1', 'html'),
            ('application/xml, application/yaml, text/html', 'yaml'), ('*/*', 'json'), ('text/html, */*', 'html'),
            ('application/json;q=0, */*', 'yaml'), ('*/*;q=0.1, application/x-resource+xml;q=0.2', 'xml')):
        assert kind in api.daemon.get('/api', accept=accept).headers['content-type'], accept


def test_rule_6_neither_what_is_not_acceptable_nor_what_is_not_known(api):
    for url in api.found:
        for accept in ('image/png', '*/*;q=0', 'application/x-nothing+json'):
            fault(api.daemon.get(url, accept=accept), 406)
        for method in set(allowed(api, url)) & {'POST', 'PUT', 'PATCH'}:
            for kind in ('text/plain', 'application/pdf', 'application/json; charset=latin1'):
                fault(api.daemon.ask(method, url, '{}', content_type=kind), 415)
            fault(api.daemon.ask(method, url, '{}'), 415)


def test_rule_7_options_head_and_405_everywhere(api):
    for url, answer in api.found.items():
        options = api.daemon.ask('OPTIONS', url)
        assert options.status == 200 and options.body == b''
        allow = options.headers['allow'].split(', ')
        assert {'GET', 'HEAD', 'OPTIONS'} <= set(allow) <= set(METHODS)
        assert options.headers.get('accept-ranges') == ('resources' if isinstance(answer.value, list) else None)
        got, head = api.daemon.get(url), api.daemon.ask('HEAD', url)
        assert head.status == 200 and head.body == b''
        volatile = {'date', 'content-length'}  # counters grow
        assert {k: v for k, v in head.headers.items() if k not in volatile} == \
            {k: v for k, v in got.headers.items() if k not in volatile}, url
        for method in {*METHODS, 'BREW'} - set(allow):
            refused = api.daemon.ask(method, url, {} if method != 'DELETE' else None)
            fault(refused, 501 if method == 'BREW' else 405)
            assert refused.headers['allow'].split(', ') == allow


def test_rule_7_post_put_delete(api):
    made = api.daemon.post('/api/mirrors', {'name': 'made', 'from': ['port:none'], 'to': 'port:ids0',
                                            'direction': 'sent'})
    assert made.status == 201 and made.headers['location'] == made.value['href'] == f'{BASE}/api/mirrors/made'
    got = api.daemon.get(made.headers['location'])
    assert got.value == made.value and got.headers['etag'] == made.headers['etag']
    put = api.daemon.ask('PUT', '/api/mirrors/made', {'from': ['port:none'], 'to': 'port:ids0'})
    assert put.status == 200 and put.value['direction'] == 'both'  # left out, so reset
    deleted = api.daemon.ask('DELETE', '/api/mirrors/made')
    assert deleted.status == 204 and deleted.body == b''
    fault(api.daemon.get('/api/mirrors/made'), 404)
    fault(api.daemon.ask('PUT', '/api/mirrors/made', {'from': ['port:none'], 'to': 'port:ids0'}), 404)
    fault(api.daemon.ask('DELETE', '/api/mirrors/made'), 404)


def test_rule_7_nobody_overwrites_what_another_has_changed(api):
    """Each URL has a tag; with another one nothing is looked at, nor changed."""
    for url, answer in api.found.items():
        got = api.daemon.get(url)
        tag = got.headers['etag']
        assert re.fullmatch(r'"[0-9a-f]{16}-j"', tag), url
        assert api.daemon.get(url, accept='application/xml').headers['etag'] == tag.replace('-j', '-x')
        assert api.daemon.get(url, if_match=tag).status == 200, url
        assert api.daemon.get(url, if_match='*').status == 200
        fault(api.daemon.get(url, if_match='"0123456789abcdef-j"'), 412)
        assert api.daemon.get(url, if_none_match=tag).status in (200, 304)
        assert api.daemon.get(url, if_none_match='"0123456789abcdef-j"').status == 200
        if answer.value and shape_of(answer.value) == 'form':
            assert api.daemon.get(url, if_none_match=tag).status == 304, url
        for method in set(allowed(api, url)) & {'POST', 'PUT', 'PATCH', 'DELETE'}:
            body = {} if method != 'DELETE' else None
            fault(api.daemon.ask(method, url, body, if_match='"0123456789abcdef-j"'), 412)
            fault(api.daemon.ask(method, url, body, if_none_match='*'), 412)
            fault(api.daemon.ask(method, url, body, if_none_match=tag), 412)


def test_rule_8_patch_in_both_forms(api):
    api.daemon.post('/api/mirrors', {'name': 'made', 'from': ['port:a', 'port:b'], 'to': 'port:ids0',
                                     'direction': 'sent', 'filter': 'ip'})

    def patch(body, kind='application/json'):
        answer = api.daemon.ask('PATCH', '/api/mirrors/made', body, content_type=kind)
        assert answer.status == 200, answer
        return answer.value
    value = patch({'filter': 'arp'})
    assert (value['filter'], value['direction']) == ('arp', 'sent')
    value = patch([{'path': 'from', 'change': 'add', 'value': 'port:c'},
                   {'path': 'from[0]', 'change': 'remove'},
                   {'path': 'direction', 'change': 'change', 'value': 'received'},
                   {'path': 'filter', 'change': 'remove'}])
    assert (value['from'], value['direction'], value['filter']) == (['port:b', 'port:c'], 'received', None)
    assert patch('- {path: filter, change: add, value: ip}', 'application/yaml')['filter'] == 'ip'
    assert patch('<m type="xs:list"><c><path>filter</path><change>change</change><value>arp</value></c></m>',
                 'application/xml')['filter'] == 'arp'
    for wrong in ([{'path': 'nothing', 'change': 'add', 'value': 1}], [{'path': 'filter', 'change': 'burn'}],
                  [{'path': 'from[7]', 'change': 'remove'}], [7], {'nothing': 1}):
        fault(api.daemon.ask('PATCH', '/api/mirrors/made', wrong), 400)
    assert api.daemon.get('/api/mirrors/made').value['filter'] == 'arp'
    api.daemon.ask('DELETE', '/api/mirrors/made')


def test_rule_9_actions(api):
    answer = api.daemon.act('ids', type='bypass', **{'dry-run': True})
    assert answer.status == 201 and answer.value['_type'] == 'action' and answer.value['type'] == 'bypass'
    assert api.daemon.get(answer.headers['location']).value == answer.value
    assert fault(api.daemon.act('ids', type='explode'), 400)['detail']['field'] == 'type'
    fault(api.daemon.act('nothing', type='bypass'), 404)
    # The exception: whatever else can be POSTed to makes a resource of the collection.
    assert {url.rsplit('/', 1)[1] for url in collections(api) if 'POST' in allowed(api, url)} == \
        {'mirrors', 'sources', 'actions'}


def test_rule_10_asynchronous(api):
    daemon = api.daemon
    api.lab.host.ip('link set ids0 up')
    until(lambda: daemon.state('ids') == 'whole')
    started = daemon.act('ids', type='check', seconds=0.5)
    monitor = daemon.follow(started.value, 'resource/monitor')
    assert started.status == 202 and started.headers['location'] == monitor
    assert started.value['href'].startswith(f'{BASE}/api/mirrors/ids/actions/')
    assert daemon.get(started.value['href']).value['state'] in ('running', 'done')
    value = daemon.get(monitor).value
    assert value['_type'] == 'response' and value['status'] == '202 Accepted' and value['body'] is None
    progress = set()
    while value['status'] == '202 Accepted':
        progress.add(value['progress'])
        held = daemon.get(monitor)
        value = held.value
    assert all(re.fullmatch(r'\d\d?%|100%', text) for text in progress)
    assert value['status'] == '201 Created' and value['progress'] == '100%'
    assert value['headers'] == [{'name': 'Location', 'value': started.value['href']}]
    assert value['body']['_type'] == 'action' and value['body']['proof']['frames']
    assert value['body'] == {key: item for key, item in daemon.get(started.value['href']).value.items()
                             if key != 'link'}
    # The same when it is done.
    for expect in ('200-ok', '201-created', '204-no-content'):
        answer = daemon.post('/api/mirrors/ids/actions', {'type': 'check', 'seconds': 0.2}, expect=expect)
        assert answer.status == 201 and answer.value['proof'], answer
        assert answer.headers['location'] == answer.value['href']
    # And what would be done at once, later.
    made = daemon.post('/api/mirrors', {'name': 'made', 'from': ['port:a'], 'to': 'port:ids0'}, expect='202-accepted')
    assert made.status == 202
    assert daemon.get(daemon.follow(made.value, 'resource/monitor')).value['status'] == '201 Created'
    gone = daemon.ask('DELETE', '/api/mirrors/made', expect='202-accepted')
    assert daemon.get(daemon.follow(gone.value, 'resource/monitor')).value['status'] == '204 No Content'
    for expect in ('miracles', '200-ok, 202-accepted', '300-maybe'):
        fault(daemon.post('/api/mirrors/ids/actions', {'type': 'tc'}, expect=expect), 417)
    fault(daemon.get('/api/mirrors', expect='202-accepted'), 417)


def test_rule_2_a_monitor_tells_hrefs_as_it_is_called(api):
    """Whoever began the work may have called this host otherwise."""
    daemon = api.daemon
    begun = daemon.post('/api/mirrors/ids/actions', {'type': 'check', 'seconds': 0.2}, host='other:8640')
    monitor = daemon.follow(begun.value, 'resource/monitor').removeprefix('http://other:8640')
    done = until(lambda: (value := daemon.get(monitor).value)['status'] == '201 Created' and value)
    assert done['body']['href'].startswith(f'{BASE}/api/mirrors/ids/actions/')
    assert done['headers'][0]['value'] == done['body']['href']


def test_rule_11_ranges(api):
    for url, items in collections(api).items():
        assert api.daemon.get(url).headers['accept-ranges'] == 'resources'
        if not items:
            refused = api.daemon.get(url, range='resources=0-0')
            fault(refused, 416)
            continue
        whole = api.daemon.get(url).value
        first = whole[0]['number'] if whole[0]['_type'] == 'event' else 0
        assert [item['id'] for item in whole] == [item['id'] for item in api.daemon.get(url).value]  # stable
        end = first + len(whole)
        part = api.daemon.get(url, range=f'resources={end - 1}-{end + 100}')
        assert part.status == 206 and [item['id'] for item in part.value] == [whole[-1]['id']]
        assert part.headers['content-range'] == f'resources {end - 1}-{end - 1}/{end}'
        part = api.daemon.get(url, range=f'resources={first}-{first}')
        assert [item['id'] for item in part.value] == [whole[0]['id']]
        outside = api.daemon.get(url, range=f'resources={end}-')
        fault(outside, 416)
        assert outside.headers['content-range'] == f'resources */{end}'
        fault(api.daemon.get(url, range='resources=x'), 400)


def test_rule_12_the_numbers_of_another_boot(api):
    """They begin at 1 again: whoever waits for the next one of before is told so, and misses nothing."""
    next_one = api.daemon.get('/api/events').value[-1]['number'] + 1
    answer = api.daemon.get('/api/events', range=f'resources={next_one + 1}-', expect='nonempty-response')
    fault(answer, 416)
    assert answer.headers['content-range'] == f'resources */{next_one}'


def test_rule_12_long_polling(api):
    daemon = api.daemon

    def held():
        return int(re.search(r'^portmirrord_held_requests (\d+)$', daemon.get('/metrics', accept='*/*').text,
                             re.M)[1])

    def wait(path, count, happens):
        """Who waits for what isn't there yet is answered when it has happened."""
        connection = daemon.send('GET', path, range=f'resources={count}-', expect='nonempty-response')
        until(lambda: held() == 1)
        happens()
        answer = daemon.receive(connection)
        assert answer.status == 206 and answer.value, answer
        return answer.value
    threads = f'/proc/{daemon.pid}/task'
    before = os.listdir(threads)
    wait('/api/mirrors', len(daemon.get('/api/mirrors').value), lambda: daemon.post(
        '/api/mirrors', {'name': 'new', 'from': ['port:none'], 'to': 'port:ids0'}))
    wait('/api/events', daemon.get('/api/events').value[-1]['number'] + 1,
         lambda: daemon.ask('DELETE', '/api/mirrors/new'))
    wait('/api/ports', len(daemon.get('/api/ports').value),
         lambda: api.lab.host.ip('link add new0 type veth peer name new1'))
    wait('/api/bridges', 1, lambda: api.lab.host.ip('link add br9 type bridge'))
    wait('/api/mirrors/ids/sources', 2, lambda: daemon.post('/api/mirrors/ids/sources', {'selector': 'port:x'}))
    daemon.ask('DELETE', '/api/mirrors/ids/sources/port:x')
    wait('/api/monitors', len(daemon.get('/api/monitors').value), lambda: daemon.act('ids', type='check', seconds=600))
    wait('/api/mirrors/ids/actions', len(daemon.get('/api/mirrors/ids/actions').value),
         lambda: daemon.act('ids', type='tc'))
    wait('/api/bridges/br9/ports', 0, lambda: api.lab.host.ip('link set new0 master br9'))
    api.lab.host.ip('link set ids0 up')
    until(lambda: 'destination-down' not in [finding['name'] for finding in daemon.get('/api/findings').value])
    wait('/api/findings', len(daemon.get('/api/findings').value), lambda: api.lab.host.ip('link set ids0 down'))
    assert os.listdir(threads) == before
    # Off unless asked for; of resources not at all.
    fault(daemon.get('/api/mirrors', range='resources=1000-'), 416)
    fault(daemon.get('/api/mirrors/ids', expect='nonempty-response'), 417)
    api.lab.host.ip('link del new0', 'link del br9')


class Refused(Exception):
    pass


def check_by_form(form, body):
    """The essay's algorithm, by what the form says, as a client would have it. Raises Refused."""
    given = {}
    for field in form['fields']:
        value = body.get(field['name'])
        if value is None:
            continue
        several = value if isinstance(value, list) else [value]
        if isinstance(value, list) and not field.get('multiple') or len(several) > field.get('most', len(several)):
            raise Refused(field['name'])
        for one in several:
            check_one(field, one)
        if value != []:
            given[field['name']] = value
    referenced = set()
    for constraint in form['constraints']:
        found = match(constraint, given)
        if found is None and constraint['sense'] == 'mandatory':
            raise Refused(constraint.get('field'))
        referenced |= found or set()
    for name, value in body.items():
        if value is not None and value != [] and name not in referenced:
            raise Refused(name)


def check_one(field, value):
    kind = {'string': str, 'number': (int, float), 'boolean': bool}[field['type']]
    if not isinstance(value, kind) or (field['type'] == 'number' and isinstance(value, bool)):
        raise Refused(field['name'])
    size = len(value.encode()) if isinstance(value, str) else 0
    if isinstance(value, str) and (
            not field.get('minlen', 0) <= size <= field.get('maxlen', size) or
            ('choices' in field and value not in field['choices']) or
            ('regex' in field and not re.fullmatch(field['regex'], value))):
        raise Refused(field['name'])
    if field['type'] == 'number' and (not field.get('min', value) <= value <= field.get('max', value) or
                                      (field.get('integer') and value % 1)):
        raise Refused(field['name'])


def match(constraint, given):
    """The names that it refers to, or None where it fails."""
    if 'field' in constraint:
        return {constraint['field']} if constraint['field'] in given else None
    referenced = set()
    for inner in constraint['constraints']:
        found = match(inner, given)
        if found is not None and constraint.get('exclusive'):
            return found
        if found is None and inner['sense'] == 'mandatory' and not constraint.get('exclusive'):
            return None
        referenced |= found or set()
    return referenced or None


def test_rule_13_the_standard_forms(api):
    for url, form in forms(api).items():
        action, _, name = url.rpartition(';')
        assert (form['action'], form['method']) == (action, {
            'search': 'GET', 'create': 'POST', 'update': 'PUT', 'delete': 'DELETE'}[name])
        assert form['method'] in allowed(api, action)
        for field in form['fields']:
            assert set(field) <= {'name', 'type', 'min', 'max', 'minlen', 'maxlen', 'regex', 'multiple', 'most',
                                  'choices', 'integer', 'value', 'help'}
            assert field['type'] in ('string', 'number', 'boolean') and field['help']
        named = [c['field'] for c in objects(form['constraints']) if 'field' in c]
        assert sorted(named) == sorted(field['name'] for field in form['fields'])
        assert all(c['sense'] in ('mandatory', 'optional') for c in objects(form['constraints']))
    names = {(form['type'], url.rpartition(';')[2]) for url, form in forms(api).items()}
    for kind in ('search', 'create', 'update', 'delete'):
        assert ('mirror', kind) in names


def test_rule_13_the_form_can_not_lie(api):
    """What the form allows passes its check on the server, and what it excludes doesn't, in random bodies."""
    chance = random.Random(13)
    for url in ('/api/mirrors;create', '/api/mirrors/later;update', '/api/mirrors/ids/actions;create'):
        form, taken = api.daemon.get(url).value, 0
        for _ in range(150):
            body = random_body(form, chance)
            try:
                check_by_form(form, body)
                wanted = None
            except Refused as refused:
                wanted = refused.args[0]
            # A condition that never holds: what passes the form does nothing.
            answer = api.daemon.ask(form['method'], form['action'], body, if_match='"0123456789abcdef-j"')
            fault(answer, 412)
            # Dry: a mirror that exists, or an action of a mirror that doesn't.
            action = form['action'].replace('/ids/', '/nothing/')
            body = {**body, 'name': 'ids'} if 'name' in body and wanted != 'name' else body
            answer = api.daemon.ask(form['method'], action, body)
            refused = answer.status == 400 and answer.value['code'] in (
                'bad-value', 'missing-field', 'unknown-field', 'fixed-field', 'wrong-type')
            if wanted:
                assert refused and answer.value['detail']['field'].split('[')[0] == wanted, (body, wanted, answer)
            else:
                # What is behind the form may find more: selectors that are none, a filter that isn't one,
                # what doesn't go together, such as attributes of a mirror and of an in-line session.
                assert not refused or answer.value['detail']['field'].split('[')[0] in MORE, (body, answer)
                taken += 1
        assert taken > 10, url


MORE = {'from', 'to', 'filter', 'guard', 'through', 'on-failure', 'appliance', 'probe-interval', 'direction',
        'attach', 'engine', 'snap', 'sample', 'sample-flows', 'rate', 'balance', 'isolate'}
POOL = {'string': ['port:a', '', 'x' * 300, 'ip', 3, True, ['a'], {'a': 1}],
        'number': [0.5, 70.5, 128.0, 5, -1, 1e9, '5', True, [1]], 'boolean': [True, False, 'true', 1, []]}


def random_body(form, chance):
    body = {}
    for field in form['fields']:
        good = field.get('choices') or ['port:a', 'port:b'] if field['type'] == 'string' else \
            [field.get('value', True)]
        if field['name'] == 'name':
            good = ['ids']
        mandatory = any(c.get('field') == field['name'] and c['sense'] == 'mandatory' for c in form['constraints'])
        if chance.random() < (0.95 if mandatory else 0.4):
            body[field['name']] = chance.choice(good if chance.random() < 0.93 else POOL[field['type']] + [None])
    if chance.random() < 0.05:
        body['nonsense'] = 1
    return body


def test_rule_14_variants(api):
    saved = api.daemon.get('/api/mirrors/ids;saved').value
    current = api.daemon.get('/api/mirrors/ids;current').value
    assert saved['from'] == IDS['from'] and current['from'] == ['port:vnet1', 'port:tap0']
    assert (saved['engine'], saved['attach']) == ('auto', 'auto')
    assert (current['engine'], current['attach']) == (('bpf', None) if TCX else ('tc', 'clsact'))
    assert set(IDS) <= set(saved) and set(IDS) <= set(current)
    assert 'state' not in saved and current['state'] in ('whole', 'partial', 'waiting', 'suspended')
    assert isinstance(current['reasons'], list)
    fault(api.daemon.get('/api/mirrors/ids;former'), 404)


def test_rule_15_a_placeholder_in_each_collection(api):
    for url, items in collections(api).items():
        answer = api.daemon.get(url + '/_')
        assert answer.status == 200 and answer.value['id'] == '_' and answer.value['href'] == url + '/_'
        assert {'PUT', 'PATCH', 'DELETE'}.isdisjoint(allowed(api, url + '/_'))
        for item in items:  # of the same shape as the real ones
            assert item['_type'] == answer.value['_type']
            assert set(item) <= set(answer.value), (url, set(item) - set(answer.value))
            for key, value in item.items():
                shape = answer.value[key]
                if key == 'to' and isinstance(value, str):
                    shape = shape[0]  # a single destination stands without the array
                if value is not None and shape is not None:
                    assert isinstance(value, type(shape)) or isinstance(value, (int, float)), (url, key)
        assert '_' not in [item['id'] for item in items]


def test_rule_16_no_link_header(api):
    for url in api.found:
        for accept in ('application/json', 'text/html', 'image/png'):
            assert 'link' not in api.daemon.get(url, accept=accept).headers


REFUSALS = [
    (400, 'GET', '/api/%', {}), (400, 'GET', '/api/ports?nothing=1', {}), (404, 'GET', '/api/nothing', {}),
    (404, 'GET', '/nothing', {}), (405, 'PUT', '/api', {}), (405, 'POST', '/healthz', {}),
    (409, 'POST', '/api/mirrors', {'body': IDS}), (400, 'POST', '/api/mirrors', {'body': {}}),
    (400, 'POST', '/api/mirrors', {'body': '{', 'content_type': 'application/json'}),
    (403, 'POST', '/api/mirrors', {'body': 'name=x', 'content_type': 'application/x-www-form-urlencoded'}),
    (403, 'POST', '/api/mirrors', {'body': IDS, 'origin': 'http://elsewhere'}),
    (412, 'PATCH', '/api/mirrors/ids', {'body': {}, 'if_match': '"x"'}),
    (413, 'POST', '/api/mirrors', {'body': 'x' * 65537, 'content_type': 'application/json'}),
    (414, 'GET', '/api/' + 'x' * 2000, {}), (415, 'POST', '/api/mirrors', {'body': 'x', 'content_type': 'text/plain'}),
    (416, 'GET', '/api/mirrors', {'range': 'resources=99-'}), (417, 'GET', '/api', {'expect': 'miracles'}),
    (431, 'GET', '/api', {'x': 'x' * 9000}), (501, 'POST', '/api', {'transfer_encoding': 'gzip'}),
    (400, 'GET', '/api', {'host': 'a b'}),
]


@pytest.mark.parametrize('status, method, target, more', REFUSALS, ids=[f'{r[0]}-{i}' for i, r in enumerate(REFUSALS)])
def test_rule_17_errors_are_resources(api, status, method, target, more):
    codes = set()
    for name in FORMATS:
        answer = api.daemon.ask(method, target, accept=f'application/{name}', **more)
        assert answer.status == status and answer.headers['content-type'] == f'application/x-resource+{name}', answer
        told = as_json(answer, name, 'resource')
        assert told['_type'] == 'fault' and told['status'] == status and told['reason'], answer
        codes.add(told['code'])
    assert len(codes) == 1
    page = api.daemon.ask(method, target, accept='text/html', **more)
    assert page.status == status and 'role="alert"' in page.text
    if 'range' in more:
        assert api.daemon.ask('HEAD', target, **more).status == 200  # which heeds it with GET only
    else:
        assert api.daemon.ask('HEAD' if method == 'GET' else method, target, **more).status == status
