# SPDX-License-Identifier: MIT
"""A postfix of our own (PIPELINING, CHUNKING, STARTTLS, SASL by dovecot), and smtp-sink with faults."""
import collections
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest
from conftest import Smtp, bounce, crlf, message, until

MAIN = '''
compatibility_level = 3.6
mynetworks =
smtpd_relay_restrictions = reject_unauth_destination
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test
inet_interfaces = 127.0.0.1
mydestination =
local_recipient_maps =
alias_maps =
virtual_mailbox_domains = new.test
virtual_mailbox_base = {folder}/box
virtual_mailbox_maps = static:mail/
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
transport_maps = inline:{{ next.test=lmtp:inet:127.0.0.1:{next} }}
relay_domains = next.test
relay_recipient_maps =
lmtp_tls_security_level = none
smtpd_tls_security_level = may
smtpd_tls_loglevel = 1
smtpd_tls_cert_file = {folder}/good.pem
smtpd_tls_key_file = {folder}/good.key
message_size_limit = 40000000
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
local_header_rewrite_clients =
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
'''

AUTH = '''
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/auth.log
protocols =
ssl = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/nonexistent
}}
'''

MASTER = '''
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
error unix - - n - - error
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
'''


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


def answers(port):
    try:
        with socket.create_connection(('127.0.0.1', port), 1) as s:
            return s.recv(10).startswith(b'220')
    except OSError:
        return False


class Postfix:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='postfix-'))
        self.folder.chmod(0o755)
        for name in ('queue', 'data', 'box', 'etc'):
            (self.folder / name).mkdir()
        shutil.chown(self.folder / 'data', 'postfix')
        os.chown(self.folder / 'box', 65534, 65534)
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-days', '2', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout',
                        self.folder / 'good.key', '-out', self.folder / 'good.pem'], check=True, capture_output=True)
        self.port = free_port()
        self.next = Smtp((b'8BITMIME', b'PIPELINING'), lmtp=True)  # as Dovecot 2.3's is
        (self.folder / 'etc/main.cf').write_text(MAIN.format(folder=self.folder, next=self.next.port))
        (self.folder / 'etc/master.cf').write_text(MASTER.format(port=self.port))
        (self.folder / 'auth.conf').write_text(AUTH.format(folder=self.folder))
        self.dovecot = subprocess.Popen(['dovecot', '-F', '-c', self.folder / 'auth.conf'])
        until((self.folder / 'auth').exists, what='the socket of dovecot')
        self.postfix('start')
        until(lambda: answers(self.port), what='postfix')

    def postfix(self, word):
        done = subprocess.run(['/usr/sbin/postfix', '-c', self.folder / 'etc', word], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr

    def bounce(self, *args):
        return bounce('--tls-ca', self.folder / 'good.pem', '--sender', 'a@old.test', *args, 'me@new.test',
                      f'smtp://127.0.0.1:{self.port}')

    def delivered(self, count):
        new = self.folder / 'box/mail/new'
        until(lambda: new.is_dir() and len(list(new.iterdir())) >= count, what='the delivery')
        return [path.read_bytes() for path in new.iterdir()]

    def stop(self):
        self.postfix('stop')
        self.next.close()
        self.dovecot.terminate()
        self.dovecot.wait()
        shutil.rmtree(self.folder)


@pytest.fixture(scope='module')
def postfix():
    server = Postfix()
    yield server
    server.stop()


def body_of(text):
    """The message without what postfix puts in front of it."""
    return text[text.index(b'Date: Sat, 23 Aug 2008'):]


def test_postfix(postfix, mbox, tmp_path):
    path = mbox(*[message(n, b'.\n\xc3\xa4 %d\n' % n) for n in range(60)])
    done = postfix.bounce('-j', tmp_path / 'j', '--tls', 'required', path)
    assert done.code == 0, done.err
    assert 'queued as' in (tmp_path / 'j').read_text()
    got = collections.Counter(map(body_of, postfix.delivered(60)))
    assert got == collections.Counter(message(n, b'.\n\xc3\xa4 %d\n' % n) for n in range(60))
    until(lambda: 'bdat=60' in (postfix.folder / 'log').read_text(), what='the sessions end in the log')
    log = (postfix.folder / 'log').read_text()
    assert 'TLS connection established' in log
    assert 'me@relay.test' not in log
    done = bounce('--tls-ca', postfix.folder / 'good.pem', mbox(*map(message, range(9)), name='x'), 'me@relay.test',
                  f'smtp://127.0.0.1:{postfix.port}')
    assert done.code == 1 and 'Relay access denied' in done.err


def test_letters_that_the_next_hop_does_not_know(postfix, mbox):
    """What is given to postfix as SMTPUTF8 it can't give to a server without that: it would take it, and bounce it."""
    text = b'X: \xc3\xa4\n' + message(0)
    done = bounce('--tls-ca', postfix.folder / 'good.pem', '--sender', 'a@old.test', mbox(text), 'me@next.test',
                  f'smtp://127.0.0.1:{postfix.port}')
    assert done.code == 0, done.err
    until(lambda: 'to=<me@next.test>' in (postfix.folder / 'log').read_text(), what='the delivery')
    assert [m[m.index(b'X: '):] for m in postfix.next.messages] == [crlf(text)], (postfix.folder / 'log').read_text()


@pytest.mark.parametrize('mechanism', ['PLAIN', 'LOGIN', 'CRAM-MD5', 'SCRAM-SHA-1', 'SCRAM-SHA-256'])
def test_logins(postfix, mbox, tmp_path, mechanism):
    (tmp_path / 'good').write_text('secret\n')
    (tmp_path / 'wrong').write_text('guess\n')
    user = mechanism.lower()
    done = postfix.bounce('--auth', mechanism, '--user', user, '--password-file', tmp_path / 'good', mbox(message(0)))
    assert done.code == 0 and done.sums['sent'] == 1, done.err
    assert f'sasl_method={mechanism}, sasl_username={user}' in (postfix.folder / 'log').read_text()
    done = postfix.bounce('--auth', mechanism, '--user', user, '--password-file', tmp_path / 'wrong', mbox(message(0)))
    assert done.code == 1 and 'refused the login: 535 5.7.8' in done.err and done.sums['sent'] == 0


@pytest.fixture
def sink():
    running = []

    def start(*options):
        port = free_port()
        running.append(subprocess.Popen(['/usr/sbin/smtp-sink', '-u', 'nobody', *options, f'127.0.0.1:{port}', '100'],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until(lambda: answers(port) or running[-1].poll(), what='smtp-sink')
        return f'{"lmtp" if "-L" in options else "smtp"}://127.0.0.1:{port}'
    yield start
    for process in running:
        process.terminate()
        process.wait()


@pytest.mark.parametrize('options', [(), ('-e',), ('-p',), ('-L',), ('-8',), ('-a',)])
def test_sink(sink, mbox, tmp_path, options):
    done = bounce('-j', tmp_path / 'j', mbox(*map(message, range(40))), 'me@new.test', sink(*options))
    assert done.code == 0, done.err
    assert done.sums['sent'] == 40


@pytest.mark.parametrize('fault', ['-f', '-r', '-q'])
@pytest.mark.parametrize('command', ['mail', 'rcpt', 'data', '.'])
def test_sink_with_faults(sink, mbox, tmp_path, fault, command):
    done = bounce('-j', tmp_path / 'j', '--rejects', tmp_path / 'r', mbox(*map(message, range(4))), 'me@new.test',
                  sink(fault, command))
    assert done.code == 1
    assert done.sums['sent'] == 0
    status = bounce('--status', tmp_path / 'j', fast=False).out
    assert f'in doubt {done.sums["in_doubt"]},' in status
    if fault != '-q':
        assert done.sums['in_doubt'] == 0
        assert done.sums['set_aside'] > 0 or done.sums['trouble']
