# SPDX-License-Identifier: MIT
"""HTTP as clients speak it, well and badly: whole, in bytes, slowly, too much, and not at all."""
import json
import os
import pathlib
import random
import resource
import socket
import subprocess
import time

import pytest
from conftest import counts_of, request, until

JSON = {'Content-Type': 'application/json'}
POLL = {'Expect': 'nonempty-response', 'Range': 'resources=1-'}
BODY_MAX = 65536


def fault(answer, status, code):
    found = json.loads(answer.body)
    assert (answer.status, found['_type'], found['status'], found['code']) == (status, 'fault', status, code)
    assert found['reason']
    return found


def shelf(name):
    return json.dumps({'name': name}).encode()


def test_hrefs_are_what_the_client_called(serve):
    server = serve('--host', 'a.b')
    for target, host, base in (('/api', 'localhost', 'http://localhost'),
                               ('/api', 'a.b:80', 'http://a.b:80'),
                               ('/api', '[::1]:9', 'http://[::1]:9'),
                               ('http://x:1/api', 'x:1', 'http://x:1')):
        assert json.loads(server.ask('GET', target, host=host).body)['href'] == base + '/api'


def test_one_byte_at_a_time(server):
    with server.unix() as client:
        for byte in request('POST', '/api/shelves', JSON, shelf('slow')):
            client.send(bytes([byte]))
        assert client.answer().status == 201
        for byte in request('GET', '/api/shelves/slow'):
            client.send(bytes([byte]))
        assert client.answer().status == 200


def test_a_connection_serves_many_requests(server):
    with server.tcp() as client:
        for _ in range(100):
            answer = client.send(request('GET', '/metrics', host='localhost')).answer()
            assert answer.status == 200
    assert server.counts()['requests'] == 101


def test_pipelined_requests_are_answered_in_order(server):
    names = [f'shelf{chr(97 + i)}' for i in range(20)]
    with server.unix() as client:
        client.send(b''.join(request('POST', '/api/shelves', JSON, shelf(name)) for name in names))
        for name in names:
            assert json.loads(client.answer().body)['id'] == name
        client.send(request('HEAD', '/api/shelves/shelfa') + request('GET', '/api/shelves/shelfb'))
        assert int(client.answer(head=True).header('content-length')) > 0
        assert json.loads(client.answer().body)['id'] == 'shelfb'


def test_a_request_behind_one_that_waits_is_answered_after_it(server):
    with server.unix() as client:
        client.send(request('GET', '/api/shelves', POLL) + request('GET', '/api/shelves/low'))
        until(lambda: server.counts()['held'] == 1)
        server.ask('POST', '/api/shelves', JSON, shelf('new'))
        first, second = client.answer(), client.answer()
    assert [item['id'] for item in json.loads(first.body)] == ['new']
    assert json.loads(second.body)['id'] == 'low'


def test_continue_is_said_before_the_body(server):
    body = shelf('patient')
    with server.unix() as client:
        head, _, _ = request('POST', '/api/shelves', {**JSON, 'Expect': '100-continue'}, body).partition(body)
        client.send(head)
        assert client.answer().status == 100
        assert client.send(body).answer().status == 201


def test_who_asks_first_is_not_made_to_send_what_is_refused(server):
    with server.unix() as client:
        client.send(request('POST', '/api/shelves', {'Expect': '100-continue', 'Content-Length': BODY_MAX + 1}))
        fault(client.answer(), 413, 'body-too-large')


ORDERS = '/api/shelves/low/orders'
REBIND = b'{"type": "rebind"}'


def test_a_synchronous_answer_waits_for_the_work(server):
    answer = server.ask('POST', ORDERS, {**JSON, 'Expect': '201-created'}, REBIND)
    assert (answer.status, json.loads(answer.body)['_type']) == (201, 'order')


def test_an_asynchronous_answer_does_not(server):
    answer = server.ask('POST', ORDERS, {**JSON, 'Expect': '202-accepted'}, REBIND)
    assert answer.status == 202
    monitor = answer.header('location').removeprefix('http://localhost')
    until(lambda: json.loads(server.ask('GET', monitor).body).get('status') != '202 Accepted')


def test_an_unknown_expectation_fails(server):
    assert server.ask('GET', '/api', {'Expect': 'miracles'}).status == 417


def chunked(body, size):
    pieces = [body[i:i + size] for i in range(0, len(body), size)]
    return b''.join(b'%x\r\n%s\r\n' % (len(piece), piece) for piece in [*pieces, b''])


def test_a_chunked_body(server):
    head = request('POST', '/api/shelves', {**JSON, 'Transfer-Encoding': 'chunked'})
    with server.unix() as client:
        assert client.send(head + chunked(shelf('chunks'), 3)).answer().status == 201
        # one byte too much: read to the end, and the connection lives on
        client.send(head + chunked(b' ' * (BODY_MAX + 1), 5000))
        fault(client.answer(), 413, 'body-too-large')
        assert client.send(request()).answer().status == 200
        # one without an end is cut, and takes no memory
        with pytest.raises(OSError):
            client.send(head)
            for _ in range(1000):
                client.send(chunked(b' ' * 50000, 50000)[:-5])


def test_the_largest_body(server):
    book = {'title': 'x'}
    room = BODY_MAX - len(json.dumps(book))
    body = json.dumps(book).encode() + b' ' * room
    target = '/api/shelves/low/books'
    assert server.ask('POST', target, JSON, body).status == 201
    fault(server.ask('POST', target, JSON, body + b' '), 413, 'body-too-large')
    assert server.counts()['refused_limit'] == 1
    assert 'body-too-large' in server.log


def test_a_huge_body_is_refused_before_it_comes(server):
    with server.unix() as client:
        client.send(request('POST', '/api/shelves', {**JSON, 'Content-Length': 10 ** 30}))
        answer = client.answer()
    assert answer.status == 413


def test_headers_that_are_too_large(server):
    fault(server.ask('GET', '/api', {'X': 'x' * 9000}), 431, 'headers-too-large')
    assert server.ask('GET', '/api', {'X': 'x' * 7000}).status == 200
    for name, count in (('x' * 100000, 1), ('a', 5000)):  # libmicrohttpd's own words
        with server.unix() as client:
            client.send(b'GET /api HTTP/1.1\r\nHost: x\r\n')
            try:
                client.send(f'{name}: 1\r\n'.encode() * count)
            except OSError:
                pass  # it hung up already
            assert b'431' in client.ended()[:20]
    assert server.counts()['refused_http'] == 2 and 'HTTP response code is 431' in server.log
    with server.unix() as client:
        try:
            client.send(b'GET /' + b'x' * 100000)
        except OSError:
            pass
        assert b'414' in client.ended()[:20]


def test_a_query_of_too_many_parts_ends_at_once(server):
    """Libmicrohttpd has no memory for its own answer then."""
    with server.unix() as client:
        client.socket.settimeout(5)  # half of what a request has to become whole
        client.send(b'GET /api/shelves?' + b'&' * 1000 + b' HTTP/1.1\r\nHost: x\r\n\r\n').ended()
    assert server.counts()['refused_http'] == 1 and 'HTTP response code is 431' in server.log


@pytest.mark.parametrize('headers, status, code', [
    ('Content-Length: 1\r\nTransfer-Encoding: chunked', 400, 'content-length'),
    ('Content-Length: 1\r\nContent-Length: 2', 400, 'header-twice'),
    ('Transfer-Encoding: gzip', 501, 'transfer-encoding'),
    ('Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked', 400, 'header-twice'),
    ('Host: localhost', 400, 'header-twice'),
    ('Authorization: Bearer a\r\nAuthorization: Bearer b', 400, 'header-twice'),
    ('Content-Length : 1', 400, 'bad-header'),
    (' X: y', 400, 'bad-header'),
    ('X: y\r\n z', 400, 'bad-header'),
    ('Content-Length:\r\n 1', 400, 'bad-header'),
    ('Transfer-Encodin: chunked\r\n g', 400, 'bad-header'),
    ('X: y\rZTransfer-Encoding: chunked', 400, 'bad-header'),
])
def test_what_two_readers_might_understand_differently(server, headers, status, code):
    with server.unix() as client:
        client.send(b'POST /api/shelves HTTP/1.1\r\nHost: localhost\r\n' + headers.encode() + b'\r\n\r\n')
        answer = client.answer()
        fault(answer, status, code)
        client.ended()  # nobody knows where the next request begins
    assert answer.header('connection') == 'close'
    assert server.counts()['refused_http'] == 1 and code in server.log


def test_lists_may_come_in_several_headers(server):
    with server.unix() as client:
        client.send(b'GET /api HTTP/1.1\r\nHost: x\r\nAccept: image/png\r\nAccept: text/html\r\n\r\n')
        assert client.answer().header('content-type').startswith('text/html')


def test_a_part_only_of_the_same_whole(server):
    tag = server.ask('GET', '/api/shelves').header('etag')
    part = {'Range': 'resources=0-0', 'If-Range': tag}
    assert server.ask('GET', '/api/shelves', part).status == 206
    server.ask('POST', '/api/shelves', JSON, shelf('new'))
    assert server.ask('GET', '/api/shelves', part).status == 200
    for value in 'resources=0-0', 'resources=999-', 'resources=':  # RFC 9110, 14.2: with GET only
        assert server.ask('HEAD', '/api/shelves', {'Range': value}).status == 200


def test_options_of_the_server_as_such(server):
    answer = server.ask('OPTIONS', '*')
    assert answer.status == 200 and answer.body == b'' and 'PATCH' in answer.header('allow')
    fault(server.ask('GET', '*'), 400, 'bad-target')


def test_http_1_0(server):
    with server.unix() as client:
        answer = client.send(b'GET /api HTTP/1.0\r\n\r\n')
        assert json.loads(answer.answer().body)['href'] == 'http://localhost/api'
        assert client.ended() == b''


def test_slow_clients_are_cut_off_however_they_trickle(serve):
    post = b'POST /api/shelves HTTP/1.1\r\nHost: x\r\n'
    starts = [b'', b'G', b'GET /api HTTP/1.1\r\nHost: x\r\n', post + b'Content-Length: 9999\r\n\r\n',
              post + b'Transfer-Encoding: chunked\r\n\r\nfff\r\n']
    server, begin = serve('--seconds', '1'), time.monotonic()
    clients = {server.unix().send(start): start for start in starts}

    def trickle():
        for client, start in list(clients.items()):
            try:
                if start:
                    client.send(b'a')
                client.socket.setblocking(False)
                ended = client.socket.recv(100) == b''
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if ended:
                assert time.monotonic() - begin > 0.9
                client.close()
                del clients[client]
        return not clients

    until(trickle, 5, 'the end of all of them')
    assert server.counts()['refused_limit'] == len(starts)
    assert 'cut off' in server.log


def test_an_idle_connection_ends_quietly(serve):
    server = serve('--seconds', '1')
    with server.unix() as client:
        assert client.send(request()).answer().status == 200
        assert client.ended() == b''
    assert server.counts()['refused_limit'] == 0


def test_who_goes_away_waits_no_longer(server):
    clients = [server.unix().send(request('GET', '/api/shelves', POLL)) for _ in range(20)]
    until(lambda: server.counts()['held'] == 20)
    for client in clients:
        client.close()
    until(lambda: (lambda now: (now['held'], now['connections']) == (0, 1))(server.counts()))


def test_who_sends_no_more_is_answered_at_once(server):
    with server.unix() as client:
        client.send(request('GET', '/api/shelves', POLL))
        until(lambda: server.counts()['held'] == 1)
        client.socket.shutdown(socket.SHUT_WR)
        assert json.loads(client.answer().body) == []


def test_no_more_connections_than_allowed(serve):
    server = serve('--connections', '16')
    with server.unix() as one, server.unix() as two:
        clients = [server.tcp() for _ in range(12)]
        assert two.send(request()).answer().status == 200
        until(lambda: counts_of(one.send(request('GET', '/metrics')).answer())['connections'] == 14)
        with server.tcp() as client:  # two places are kept for Unix sockets
            fault(client.answer(), 503, 'too-many-connections')
        with server.unix() as three, server.unix() as four, server.unix() as five:
            assert three.send(request()).answer().status == 200
            assert four.send(request()).answer().status == 200
            fault(five.answer(), 503, 'too-many-connections')
            assert counts_of(one.send(request('GET', '/metrics')).answer())['refused_limit'] == 2
        for client in clients:
            client.close()
        until(lambda: counts_of(one.send(request('GET', '/metrics')).answer())['connections'] == 2)


def test_no_more_waiting_than_allowed(serve):
    server = serve('--connections', '16')
    clients = [server.unix().send(request('GET', '/api/shelves', POLL)) for _ in range(12)]
    until(lambda: server.counts()['held'] == 12)
    fault(server.ask('GET', '/api/shelves', POLL), 503, 'too-many-waiting')
    server.ask('POST', '/api/shelves', JSON, shelf('new'))
    for client in clients:
        assert client.answer().status == 206
        client.close()


def test_some_descriptors_are_left_to_the_program(folder, serve):
    server = serve('--few-files', preexec_fn=lambda: __import__('resource').setrlimit(
        __import__('resource').RLIMIT_NOFILE, (200, 200)))
    clients = [server.unix() for _ in range(160)]
    turned_away = [client for client in clients[136:] if client.answer().status == 503]
    assert len(turned_away) == 24
    for client in clients:
        client.close()
    until(lambda: server.ask().status == 200)


def ran(server):
    """For how many seconds it has had a CPU."""
    return int(pathlib.Path(f'/proc/{server.process.pid}/schedstat').read_text().split()[0]) / 1e9


def no_more_descriptors(server):
    """From now on; the limit as it was."""
    pid = server.process.pid
    limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    taken = {int(number) for number in os.listdir(f'/proc/{pid}/fd')}
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (min(set(range(len(taken) + 1)) - taken), limit[1]))
    return limit


LEAVING = request('GET', '/metrics', {'Connection': 'close'})
TOLD = 'no connection can be accepted for now: Too many open files'


def test_out_of_descriptors_it_waits_for_a_client_to_leave(server):
    kept = server.unix()
    assert kept.send(request()).answer().status == 200
    no_more_descriptors(server)
    began, busy = time.monotonic(), ran(server)
    clients = [connect().send(LEAVING) for connect in (server.unix, server.tcp) * 2]
    until(lambda: server.log.count(TOLD) >= 3)  # it tries again and again, but once a second, and says so once
    assert time.monotonic() - began >= 1.9 and ran(server) - busy < 0.2
    assert kept.send(request()).answer().status == 200
    kept.close()  # makes room for one, which makes room for the next
    for client in clients:
        assert client.answer().status == 200
        client.close()


def test_out_of_descriptors_it_looks_again_by_itself(server):
    limit = no_more_descriptors(server)
    with server.unix() as client:
        client.send(request())
        until(lambda: TOLD in server.log)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limit)
        assert client.answer().status == 200


def test_faults_of_routes(server):
    fault(server.ask('GET', '/broken'), 500, 'internal')
    answer = server.ask('DELETE', '/metrics')
    fault(answer, 405, 'method-not-allowed')
    assert answer.header('allow') == 'GET, HEAD'
    fault(server.ask('BREW', '/metrics'), 501, 'unknown-method')
    fault(server.ask('GET', '/nowhere'), 404, 'not-found')
    assert server.ask('HEAD', '/metrics').body == b''


@pytest.mark.ordinary
def test_two_thousand_wait_in_little_memory(server):
    before = server.memory()
    clients = [server.unix().send(request('GET', '/api/shelves', POLL)) for _ in range(2000)]
    until(lambda: server.counts()['held'] == 2000)
    waiting = server.memory()
    assert waiting < 64 << 20
    server.ask('POST', '/api/shelves', JSON, shelf('new'))
    for client in clients:
        assert [item['id'] for item in json.loads(client.answer().body)] == ['new']
    for client in clients:  # the same connections again, which have served once
        client.send(request('GET', '/api/shelves', {**POLL, 'Range': 'resources=2-'}))
    until(lambda: server.counts()['held'] == 2000)
    again = server.memory()
    print(f'before {before >> 10} KB, waiting {waiting >> 10} KB, again {again >> 10} KB')
    assert again < 64 << 20
    for client in clients:
        client.close()
    until(lambda: server.counts()['connections'] == 1, 20)


def test_end_while_many_wait(server):
    clients = [server.unix().send(request('GET', '/api/shelves', POLL)) for _ in range(50)]
    until(lambda: server.counts()['held'] == 50)
    assert server.stop() == 0
    for client in clients:
        client.close()


def mutated(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(4)
        if what == 0:
            del data[at:at + rng.randint(1, 20)]
        elif what == 1:
            data[at:at] = rng.choice([b'\r\n', b'\0', b' ', b':', b'\xff', b'\n\n', b'0' * 30, b'%', b';'])
        elif what == 2 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            data[at:at] = data[at:at + 40]
    return bytes(data)


def test_garbage(serve):
    """Mutated requests, several on a connection. Whatever they are, the server lives, and every
    connection ends."""
    server, rng = serve('--seconds', '1'), random.Random(5)
    seeds = [request('POST', '/api/shelves', JSON, shelf('x')),
             request('GET', '/api/shelves', {**POLL, 'Accept': 'text/html;q=0.5, */*'}),
             request('PATCH', '/api/shelves/low', {**JSON, 'If-Match': '"x"'}, b'{"places": 5}'),
             request('POST', '/api/shelves', {**JSON, 'Transfer-Encoding': 'chunked'}) + chunked(shelf('y'), 2),
             request('GET', '/metrics') * 3]
    for _ in range(200):
        with server.unix() as client:
            try:
                for _ in range(rng.randint(1, 3)):
                    client.send(mutated(rng.choice(seeds), rng))
                client.socket.shutdown(socket.SHUT_WR)
                client.ended()
            except OSError:
                pass
    assert server.ask().status == 200
    until(lambda: server.counts()['connections'] == 1)


def test_curl(server):
    """The tool that everybody has."""
    done = subprocess.run(['curl', '-sS', '--unix-socket', server.path, '-H', 'Content-Type: application/json',
                           '-d', '{"name": "curled"}', 'http://localhost/api/shelves'],
                          check=True, capture_output=True)
    assert json.loads(done.stdout)['href'] == 'http://localhost/api/shelves/curled'
