# SPDX-License-Identifier: MIT
"""Who may call, and who may not: users, tokens, hosts, origins, forms, TLS."""
import base64
import json
import os
import re
import socket
import stat
import subprocess
import sys

import pytest
from conftest import TOKEN, Client, request, until

NOBODY = 65534
FORM = 'application/x-www-form-urlencoded'
BEARER = {'Authorization': f'Bearer {TOKEN}'}


def basic(name, password):
    return {'Authorization': 'Basic ' + base64.b64encode(f'{name}:{password}'.encode()).decode()}


def code(answer):
    """(status, the fault's code)"""
    found = json.loads(answer.body)
    assert found['_type'] == 'fault' and found['status'] == answer.status
    return answer.status, found['code']


# Unix sockets

def as_user(server, uid, gid=NOBODY, groups=()):
    """What a process of this user gets on the server's socket: a status, or an errno's name."""
    script = '''
import errno, socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect(sys.argv[1])
    s.sendall(b'GET /api HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
except PermissionError:
    sys.exit('EACCES')
except BrokenPipeError:
    pass
print(s.recv(100).decode().split()[1])
'''
    done = subprocess.run([sys.executable, '-c', script, server.path], user=uid, group=gid,
                          extra_groups=groups, check=False, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip()


def test_the_socket_is_for_root_and_the_group(serve):
    server = serve('--group', '4711')
    found = server.path.stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o660, 0, 4711)
    assert as_user(server, NOBODY) == 'EACCES'
    assert as_user(server, NOBODY, gid=4711) == '200'
    assert as_user(server, NOBODY, groups=[1, 4711, 2]) == '200'


def test_the_peer_is_looked_at_whatever_the_mode(serve):
    server = serve('--group', '4711')
    server.path.chmod(0o666)
    assert as_user(server, NOBODY) == '403'
    assert as_user(server, NOBODY, groups=[1, 2, 3]) == '403'
    assert as_user(server, NOBODY, groups=[4711]) == '200'
    assert server.counts()['refused_peer'] == 2
    assert f'uid {NOBODY}' in server.log


def test_without_a_group_only_root(serve):
    server = serve()
    server.path.chmod(0o666)
    assert as_user(server, NOBODY) == '403'
    assert as_user(server, 0, gid=0) == '200'


def test_a_stale_socket_is_replaced_and_a_live_one_left(serve, refuse, folder):
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(folder / 'api.sock'))
    stale.close()
    server = serve(tcp=False)
    inode = server.path.stat().st_ino
    assert 'somebody serves there already' in refuse(where=[f'unix:{server.path}'])
    assert server.path.stat().st_ino == inode
    assert server.ask().status == 200


def test_what_is_no_socket_is_left(refuse, folder):
    (folder / 'file').write_text('precious')
    assert 'is no socket' in refuse(where=[f'unix:{folder}/file'])
    assert (folder / 'file').read_text() == 'precious'


def test_a_server_that_is_too_busy_to_answer_is_left(refuse, folder):
    path = folder / 'busy.sock'
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(path))
        busy.listen(0)
        first.connect(str(path))
        assert 'somebody serves there already' in refuse(where=[f'unix:{path}'])
    assert path.exists()


def test_a_path_that_can_not_be_a_socket(refuse, folder):
    (folder / 'file').write_text('')
    assert f'{folder}/file/sock: Not a directory' in refuse(where=[f'unix:{folder}/file/sock'])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(folder / 'log.sock'))
        assert f'{folder}/log.sock: Protocol wrong type' in refuse(where=[f'unix:{folder}/log.sock'])
    assert (folder / 'log.sock').exists()


def test_the_socket_goes_with_the_server_unless_it_is_another_one(serve):
    server = serve()
    server.stop()
    assert not server.path.exists()
    first = serve()
    first.path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(first.path))
        first.stop()
        assert first.path.exists()


def test_a_socket_that_listens_already(serve, folder):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / 'given.sock'))
        listener.listen()
        server = serve('--adopt', str(listener.fileno()), pass_fds=[listener.fileno()])
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(folder / 'given.sock'))
    with Client(client) as given:
        assert given.send(request()).answer().status == 200
    server.stop()
    assert (folder / 'given.sock').exists()


def test_a_tcp_socket_that_listens_already_needs_a_token(serve, refuse):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        fd = listener.fileno()
        assert 'needs a token' in refuse('--adopt', str(fd), pass_fds=[fd], token=None, tcp=False)
        server = serve('--adopt', str(fd), pass_fds=[fd], tcp=False)
        server.port = listener.getsockname()[1]
        assert code(server.ask(connect=server.tcp))[0] == 401
        assert server.ask(headers=BEARER, connect=server.tcp).status == 200


def test_a_descriptor_that_does_not_listen(refuse):
    with socket.socket(socket.AF_UNIX) as plain, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        for other in (plain, udp):
            fd = other.fileno()
            assert 'no socket that listens' in refuse('--adopt', str(fd), pass_fds=[fd])


# Tokens

def test_tcp_needs_a_token(server):
    for headers in ({}, {'Authorization': 'Bearer'}, {'Authorization': TOKEN}, {'Authorization': 'Basic !!!!'},
                    basic('', '')):
        answer = server.ask(headers=headers, connect=server.tcp)
        assert code(answer)[0] == 401
        schemes = answer.headers['www-authenticate']
        assert [scheme.split()[0] for scheme in schemes] == ['Bearer', 'Basic']
    for wrong in (TOKEN[:-1], TOKEN + 'x', TOKEN.upper(), 'x' * 300):
        assert server.ask(headers={'Authorization': f'Bearer {wrong}'}, connect=server.tcp).status == 401
        assert server.ask(headers=basic('root', wrong), connect=server.tcp).status == 401
    assert server.counts()['refused_token'] == 13
    for right in (BEARER, {'Authorization': f'bearer  {TOKEN}'}, basic('', TOKEN), basic('anybody', TOKEN)):
        assert server.ask(headers=right, connect=server.tcp).status == 200
    assert TOKEN not in server.log and TOKEN.upper() not in server.log


def test_an_open_route_needs_none(server):
    assert server.ask('GET', '/metrics', connect=server.tcp).status == 200
    assert server.ask('GET', '/', connect=server.tcp).status == 401
    assert server.ask('GET', '/', headers=BEARER, connect=server.tcp).status == 200


def test_a_body_without_a_token_is_not_kept(server):
    with server.tcp() as client:
        client.send(request('POST', '/api/shelves', {}, b'x' * 60000))
        assert client.answer().status == 401
        assert client.send(request('GET', '/api', BEARER)).answer().status == 200


@pytest.mark.parametrize('mode', [0o644, 0o604, 0o660, 0o602])
def test_a_token_that_others_can_read_is_refused(refuse, folder, mode):
    secret = folder / 'open'
    secret.write_text(TOKEN)
    secret.chmod(mode)
    assert f'chmod 600 {secret}' in refuse('--token', secret, token=None)


def test_a_token_of_another_user_is_refused(refuse, folder):
    """Who owns a file can read and change it, whatever its mode."""
    secret = folder / 'theirs'
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    os.chown(secret, 4711, 0)
    assert f'chown root {secret}' in refuse('--token', secret, token=None)


@pytest.mark.parametrize('content, why', [('short', '16 to 255'), ('two\nlines' * 5, 'more than one line'),
                                          ('with blanks in it', 'no blanks'), ('x' * 256, '16 to 255'),
                                          ('', '16 to 255')])
def test_a_token_must_be_one(refuse, content, why):
    log = refuse(token=content)
    assert why in log
    assert not content or content.split('\n', maxsplit=1)[0] not in log


def test_the_group_may_read_the_token_that_it_does_not_need(serve, refuse, folder):
    secret = folder / 'group'
    secret.write_text(TOKEN)
    os.chown(secret, 0, 4711)
    secret.chmod(0o640)
    assert 'chmod' in refuse('--token', secret, token=None)
    serve('--token', secret, '--group', '4711', token=None)


@pytest.mark.parametrize('where, why', [
    ('tcp:127.0.0.1:0', 'needs a token'), ('tcp:0.0.0.0:0', 'needs a token'),
    ('tcp:localhost:80', 'address in digits'), ('tcp:127.0.0.1', 'address in digits'),
    ('tcp:127.0.0.1:65536', 'address in digits'), ('tcp:::1:80', 'address in digits'),
    ('unix:relative', 'from / on'), ('unix:/' + 'x' * 200, 'at most'), ('/run/x', 'unix:PATH'),
    ('unix:/nowhere/at/all', 'No such file')])
def test_where_it_can_not_listen(refuse, where, why):
    assert why in refuse(where=[where], token=None)


@pytest.mark.parametrize('where', ['tcp:0.0.0.0:0', 'tcp:[::]:0', 'tcp:192.0.2.1:0'])
def test_off_loopback_needs_tls(refuse, where):
    assert 'needs TLS' in refuse(where=[where])


def test_an_address_that_is_taken_or_not_of_this_machine(refuse, certificate):
    with socket.create_server(('127.0.0.1', 0)) as other:
        where = f'tcp:127.0.0.1:{other.getsockname()[1]}'
        assert f'{where.removeprefix("tcp:")}: Address already in use' in refuse(where=[where])
    tls = ['--certificate', certificate[0], '--key', certificate[1]]
    assert '192.0.2.1:0: Cannot assign requested address' in refuse(*tls, where=['tcp:192.0.2.1:0'])


# Hosts and origins

@pytest.mark.parametrize('host', ['localhost', 'LOCALHOST:9', '127.0.0.1', '127.1.2.3:80', '[::1]:8640',
                                  'api.example'])
def test_hosts_that_are_this_machine(serve, host):
    server = serve('--host', 'api.example')
    assert server.ask(headers=BEARER, host=host, connect=server.tcp).status == 200


@pytest.mark.parametrize('host', ['evil.example', 'localhost.evil.example', '192.0.2.1', '[2001:db8::1]',
                                  'api.example'])
def test_another_host_is_not_served(server, host):
    answer = server.ask('GET', '/metrics', headers=BEARER, host=host, connect=server.tcp)
    assert code(answer) == (421, 'unknown-host')
    assert server.counts()['refused_host'] == 1
    assert host.strip('[]') in server.log
    answer = server.ask(host=host)  # a Unix socket is forwarded by ssh -L, and browsers come through it
    assert code(answer) == (421, 'unknown-host')


@pytest.mark.parametrize('host', ['x', 'localhost', 'LOCALHOST:8640', '127.0.0.1:8640', '[::1]:8640', 'api.example'])
def test_what_a_unix_socket_is_called(serve, host):
    """Programs call it anything; but only a name without a dot is in nobody's domain."""
    assert serve('--host', 'api.example', tcp=False).ask(host=host).status == 200


def test_an_empty_host_is_this_one_on_a_unix_socket(server):
    """What calls no host in its URL says so (RFC 9112, 3.2)."""
    assert json.loads(server.ask(host='').body)['href'] == 'http://localhost/api'
    assert server.ask('DELETE', '/api/shelves/low', {'Origin': 'http://evil.example'}, host='').status == 403
    assert code(server.ask(host='', headers=BEARER, connect=server.tcp)) == (400, 'bad-host')


@pytest.mark.parametrize('host', [None, 'a b', 'a:b', 'a:', 'a/b', '[::1', '[1.2.3.4]', 'a@b', 'a\u00ffb',
                                  'a:99999', '<b>', 'x' * 300])
def test_a_host_that_is_none(server, host):
    with server.unix() as client:
        head = 'GET /api HTTP/1.1\r\n' + (f'Host: {host}\r\n' if host is not None else '')
        assert code(client.send(head.encode('latin-1') + b'\r\n').answer()) == (400, 'bad-host')


@pytest.mark.parametrize('target, status', [('http://localhost/api', 200), ('http://LOCALHOST/api', 200),
                                            ('http://evil.example/api', 400), ('http://localhost:9/api', 400),
                                            ('http:///api', 400)])
def test_the_host_of_a_whole_url_is_the_one_asked_for(server, target, status):
    with server.unix() as client:
        answer = client.send(f'GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode()).answer()
        assert answer.status == status
        assert status == 200 or code(answer) == (400, 'bad-host')


def test_a_page_of_another_site_can_not_change_anything(server):
    made = {'Content-Type': 'application/json', **BEARER}
    for origin in ('null', 'http://evil.example', 'https://localhost', 'http://localhost:1', 'http://localhost/', ''):
        answer = server.ask('POST', '/api/shelves', {**made, 'Origin': origin}, b'{"name": "a"}', connect=server.tcp)
        assert code(answer) == (403, 'foreign-origin')
        assert server.ask('DELETE', '/api/shelves/low', {'Origin': origin}).status == 403
        form = server.ask('POST', '/api/shelves', {'Content-Type': FORM, 'Origin': origin}, b'name=a')
        assert code(form) == (403, 'foreign-origin')
        assert server.ask('GET', '/api', {'Origin': origin}).status == 200
    assert server.counts()['refused_host'] == 18
    answer = server.ask('POST', '/api/shelves', {**made, 'Origin': 'http://LOCALHOST'}, b'{"name": "a"}',
                        connect=server.tcp)
    assert answer.status == 201


def test_a_form_carries_its_token(server):
    """The page has the form's token, and only with it the form is taken."""
    page = server.ask('GET', '/api/shelves;create', {'Accept': 'text/html'})
    token = page.text.partition('name="_token" value="')[2].partition('"')[0]
    assert len(token) == 32
    fields = '_type=shelf&name=formed&places=2'
    for body in (fields, f'{fields}&_token=', f'{fields}&_token={"0" * 32}'):
        answer = server.ask('POST', '/api/shelves', {'Content-Type': FORM}, body.encode())
        assert answer.status == 403
        assert ('Content-Type: application/json' in answer.text) == (body == fields)  # as curl -d sends it
    assert server.counts()['refused_form'] == 3
    answer = server.ask('POST', '/api/shelves', {'Content-Type': FORM}, f'{fields}&_token={token}'.encode())
    assert answer.status in (201, 303), answer.text
    assert server.ask('GET', '/api/shelves/formed').status == 200


def test_a_page_may_do_nothing_but_be_read_and_sent(server):
    for target in ('/', '/api', '/api/shelves', '/nowhere'):
        page = server.ask('GET', target, {'Accept': 'text/html'})
        assert page.header('content-type').startswith('text/html')
        policy = dict(part.split(' ', 1) for part in page.header('content-security-policy').split('; '))
        style = policy.pop('style-src')
        assert re.fullmatch("'sha256-[A-Za-z0-9+/=]{44}'", style)  # our own, and none that is slipped in
        assert policy == {'default-src': "'none'", 'form-action': "'self'", 'frame-ancestors': "'none'",
                          'base-uri': "'none'"}
        assert page.header('x-content-type-options') == 'nosniff'
        assert page.header('referrer-policy') == 'same-origin'
        assert page.header('cache-control') == 'no-store'
    assert server.ask().header('cache-control') == 'no-store'


def test_refusals_are_logged_within_reason(server):
    with server.tcp() as client:
        for _ in range(1000):
            client.send(request('GET', '/api'))
            assert client.answer().status == 401
        port = client.socket.getsockname()[1]
    assert server.counts()['refused_token'] == 1000
    assert 1 <= server.log.count(f'tcp:127.0.0.1:{port} is refused (401 token-needed)') <= 20


# TLS

@pytest.fixture
def tls(certificate):
    return ['--certificate', certificate[0], '--key', certificate[1]]


def test_tls(serve, tls, certificate):
    server = serve(*tls)

    def connect():
        return server.tls(certificate[0])
    assert json.loads(server.ask(headers=BEARER, connect=connect).body)['href'] == 'https://localhost/api'
    assert server.ask(connect=connect).status == 401
    answer = server.ask('DELETE', '/api/shelves/low', {**BEARER, 'Origin': 'http://localhost'}, connect=connect)
    assert answer.status == 403
    answer = server.ask('DELETE', '/api/shelves/low', {**BEARER, 'Origin': 'https://localhost'}, connect=connect)
    assert answer.status == 204
    with server.tls(certificate[0]) as client:
        client.send(request('GET', '/api/shelves', {**BEARER, 'Expect': 'nonempty-response'}))
        until(lambda: server.counts()['held'] == 1)
        server.ask('POST', '/api/shelves', {'Content-Type': 'application/json'}, b'{"name": "new"}')
        assert client.answer().status == 200
    with server.tcp() as plain:
        plain.send(request('GET', '/metrics'))
        assert b'HTTP' not in plain.ended()


def test_a_slow_handshake_is_cut_off(serve, tls):
    server = serve('--seconds', '1', *tls)
    with server.tcp() as client:
        client.send(b'\x16\x03\x01\x02')
        client.ended()
    assert server.counts()['refused_limit'] == 1


def test_off_loopback_with_tls(serve, tls, certificate):
    server = serve(*tls, where=['tcp:0.0.0.0:0'])
    assert server.ask(headers=BEARER, connect=lambda: server.tls(certificate[0])).status == 200


def test_tls_that_can_not_be(refuse, folder, certificate):
    cert, key = certificate
    copy = folder / 'key'
    copy.write_bytes(key.read_bytes())
    copy.chmod(0o644)
    assert f'chmod 600 {copy}' in refuse('--certificate', cert, '--key', copy)
    assert 'both a certificate and its key' in refuse('--certificate', cert)
    copy.write_text('no key')
    copy.chmod(0o600)
    assert "can't start with this certificate and key: " in refuse('--certificate', cert, '--key', copy)
