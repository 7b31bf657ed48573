# SPDX-License-Identifier: MIT
"""IMAP and LMTP on a dovecot of our own: what it then holds, byte for byte, flag for flag, date
for date."""
import datetime
import imaplib
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

import pytest
from conftest import FROM, bounce, connections, crlf, message, until

TAKEOUT = b'From 7@xxx Sat Aug 23 10:00:00 +0000 2008\n'
THREAD = b'X-GM-THRID: 7\nX-Gmail-Labels: '
CONFIG = '''
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/good.pem
ssl_key = <{folder}/good.key
ssl_dh =
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
mail_location = {kind}:~/mail
mail_fsync = never
first_valid_uid = 1
default_login_user = nobody
default_internal_user = nobody
default_internal_group = nogroup
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
}}
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={folder}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
}}
'''


def instant(text):
    return datetime.datetime.strptime(text.strip(), '%d-%b-%Y %H:%M:%S %z').timestamp()


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


class Dovecot:
    def __init__(self, separator='/', prefix='', kind='mdbox', more=''):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='dovecot-'))
        self.folder.chmod(0o755)
        (self.folder / 'home').mkdir()
        os.chown(self.folder / 'home', 65534, 65534)
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes',
                        '-days', '2', '-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout',
                        self.folder / 'good.key', '-out', self.folder / 'good.pem'], check=True, capture_output=True)
        self.port, self.tls_port = free_port(), free_port()
        config = self.folder / 'dovecot.conf'
        config.write_text(CONFIG.format(folder=self.folder, port=self.port, tls_port=self.tls_port,
                                        separator=separator, prefix=prefix, kind=kind) + more)
        self.process = subprocess.Popen(['dovecot', '-F', '-c', config])
        try:
            until(self.answers, 60, what='dovecot')
        except AssertionError:
            self.stop()
            raise
        self.password = self.folder / 'password'
        self.password.write_text('secret\n')

    def answers(self):
        assert self.process.poll() is None, (self.folder / 'log').read_text()
        try:
            with socket.create_connection(('127.0.0.1', self.port), 1) as s:
                return s.recv(10).startswith(b'* OK')
        except OSError:
            return False

    def bounce(self, *args, user='joe', url=None, fast=True, **options):
        return bounce('--tls-ca', self.folder / 'good.pem', '--password-file', self.password, *args, user,
                      url or f'imap://127.0.0.1:{self.port}', fast=fast, **options)

    def login(self, user):
        client = imaplib.IMAP4_SSL('127.0.0.1', self.tls_port, ssl_context=ssl._create_unverified_context())
        client.login(user, 'secret')
        return client

    def folders(self, user):
        client = self.login(user)
        lines = client.list()[1]
        client.logout()
        return sorted(re.search(rb'"?([^" ]+|[^"]+)"?$', line).group(1).decode().strip(' "') for line in lines)

    def mails(self, user, mailbox='INBOX'):
        client = self.login(user)
        assert client.select(f'"{mailbox}"', readonly=True)[0] == 'OK'
        found = []
        for part in client.fetch('1:*', '(FLAGS INTERNALDATE BODY.PEEK[])')[1]:
            if isinstance(part, tuple):
                head = part[0].decode()
                found.append((set(re.search(r'FLAGS \((.*?)\)', head).group(1).split()) - {'\\Recent'},
                              instant(re.search(r'INTERNALDATE "(.*?)"', head).group(1)), part[1]))
        client.logout()
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)


@pytest.fixture(scope='module')
def dovecot():
    server = Dovecot()
    yield server
    server.stop()


def test_flags_dates_bytes(dovecot, mbox):
    path = mbox(
        b'X-Mozilla-Status: 0005\nX-Mozilla-Keys: $label1 work                \n'
        b'Received: from a by b;\n\tFri, 01 Aug 2008 12:00:00 +0200\nReceived: c; 1 Jan 2001 00:00:00 +0000\n'
        b'Date: Sat, 23 Aug 2008 10:00:00 +0000\nMessage-ID: <1@test>\n\n>From \xe4\n.\n',
        b'X-Mozilla-Status: 1003\nDate: Sat, 23 Aug 2008 10:00:00 -0330\n\nx\n',
        b'Status: RO\nX-Status: AF\nA: 3\n\nx\n')
    done = dovecot.bounce(path)
    assert done.code == 0, done.err
    assert dovecot.mails('joe') == [
        ({'\\Seen', '\\Flagged', '$label1', 'work'}, instant('01-Aug-2008 12:00:00 +0200'),
         b'Received: from a by b;\r\n\tFri, 01 Aug 2008 12:00:00 +0200\r\nReceived: c; 1 Jan 2001 00:00:00 +0000\r\n'
         b'Date: Sat, 23 Aug 2008 10:00:00 +0000\r\nMessage-ID: <1@test>\r\n\r\nFrom \xe4\r\n.\r\n'),
        ({'\\Seen', '\\Answered', '\\Flagged'}, instant('23-Aug-2008 10:00:00 +0000'),
         b'Status: RO\r\nX-Status: AF\r\nA: 3\r\n\r\nx\r\n'),
        ({'\\Seen', '\\Answered', '$Forwarded'}, instant('23-Aug-2008 10:00:00 -0330'),
         b'Date: Sat, 23 Aug 2008 10:00:00 -0330\r\n\r\nx\r\n'),
    ]


@pytest.mark.parametrize('separator,prefix', [('/', ''), ('.', ''), ('.', 'INBOX.')])
def test_folders(tmp_path, separator, prefix):
    dovecot = Dovecot(separator, prefix)
    try:
        (tmp_path / 'Inbox.sbd' / 'Wörk & play.sbd').mkdir(parents=True)
        for n, name in enumerate(('Inbox', 'Inbox.sbd/Wörk & play', 'Inbox.sbd/Wörk & play.sbd/日本',
                                  'Trash')):
            (tmp_path / name).write_bytes(FROM + message(n) + b'\n')
        done = dovecot.bounce('--folder', 'Old', tmp_path, user='tree')
        assert done.code == 0, done.err
        name = prefix + separator.join(['Old', 'Inbox', 'W&APY-rk &- play'])
        assert {'INBOX', prefix + separator.join(['Old', 'Trash']), name,
                name + separator + '&ZeVnLA-'} <= set(dovecot.folders('tree'))
        assert [m[2] for m in dovecot.mails('tree', name)] == [crlf(message(1))]
        assert [m[2] for m in dovecot.mails('tree', name + separator + '&ZeVnLA-')] == [crlf(message(2))]
        assert verify(dovecot, 'tree', tmp_path, '--folder', 'Old')[0] == 0
    finally:
        dovecot.stop()


def test_names_with_dots(tmp_path):
    """Thunderbird's accounts are named by their servers; a Maildir's names have no dots."""
    dovecot = Dovecot('/', kind='maildir')
    try:
        for n, name in enumerate(('pop.old.test/Inbox', 'pop.old.test/Sent', 'Plain')):
            (tmp_path / 'tree' / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / 'tree' / name).write_bytes(FROM + message(n) + b'\n')
        done = dovecot.bounce('-j', tmp_path / 'j', tmp_path / 'tree')
        assert done.code == 0, done.err
        assert {'pop_old_test/Inbox', 'pop_old_test/Sent', 'Plain'} <= set(dovecot.folders('joe'))
        lines = (tmp_path / 'j').read_bytes().splitlines(True)  # as if the answers had not come
        (tmp_path / 'j').write_bytes(b''.join(line for line in lines if b' done ' not in line))
        done = dovecot.bounce('-j', tmp_path / 'j', tmp_path / 'tree')
        assert done.code == 0 and [len(dovecot.mails('joe', name)) for name in ('pop_old_test/Inbox', 'Plain')] == [1, 1]
        assert dovecot.bounce('--folder', 'old.mail', tmp_path / 'tree').code == 0
        assert verify(dovecot, 'joe', tmp_path / 'tree', '--folder', 'old.mail')[0] == 0
    finally:
        dovecot.stop()


def test_a_copy_that_one_mailbox_refused(tmp_path):
    """The next run puts it there, not a second one where it was taken."""
    dovecot = Dovecot(kind='maildir', more='mail_plugins = acl\nplugin {\n  acl = vfile\n}\n')
    try:
        (tmp_path / 'tree').mkdir()
        for name in 'AB':
            (tmp_path / 'tree' / name).write_bytes(FROM + message(0) + b'\n')
        client = dovecot.login('joe')
        client.create('A')
        client.logout()
        rights = dovecot.folder / 'home/joe/mail/.A/dovecot-acl'
        rights.write_text('owner lr\n')
        for _ in range(2):
            done = dovecot.bounce('-j', tmp_path / 'j', tmp_path / 'tree')
            assert done.sums['set_aside'] == 1, done.err
        rights.unlink()
        for again in range(2):
            done = dovecot.bounce('-j', tmp_path / 'j', tmp_path / 'tree')
            assert done.code == 0 and done.sums['already_sent'] == 1 + again, done.err
            assert [len(dovecot.mails('joe', name)) for name in 'AB'] == [1, 1]
    finally:
        dovecot.stop()


def test_copies_on_two_connections(dovecot, tmp_path):
    """It dies when one of them is there, and the other one, whose folder comes first, is not."""
    (tmp_path / 'tree').mkdir()
    journal = tmp_path / 'journal'
    for name in 'AB':
        (tmp_path / 'tree' / name).write_bytes(FROM + message(0) + b'\n')
    proxy = Proxy(dovecot.port, None, cut=b'CREATE "A')

    def kill():
        until(lambda: ' done ' in journal.read_text(), what='the other one')
        process.kill()
        process.wait()
    proxy.at_break = kill
    process = dovecot.bounce('--tls', 'off', '--connections', '2', '-j', journal, tmp_path / 'tree', user='two', url=proxy.url,
                             popen=True)
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGKILL and proxy.broken
    for sums in ((1, 1), (0, 2)):
        done = dovecot.bounce('-j', journal, tmp_path / 'tree', user='two')
        assert (done.sums['sent'], done.sums['already_sent']) == sums, done.err
        assert [len(dovecot.mails('two', name)) for name in 'AB'] == [1, 1]


def test_a_full_account_ends_the_run(mbox):
    """The rest need not travel to be refused."""
    dovecot = Dovecot(more='mail_plugins = quota\nplugin {\n  quota = count\n  quota_vsizes = yes\n'
                           '  quota_rule = *:storage=100k\n}\n')
    try:
        done = dovecot.bounce(mbox(*[message(n, b'line\n' * 3000) for n in range(200)]))
        assert done.code == 1 and 'OVERQUOTA' in done.sums['trouble']
        assert len(dovecot.mails('joe')) == done.sums['sent'] < 10 and done.sums['set_aside'] < 40  # some were on their way
    finally:
        dovecot.stop()


def test_maildir(dovecot, tmp_path):
    """Flags in the names of the files, keywords as Dovecot keeps them, dates by the file's time."""
    for part in ('cur', 'new', 'tmp'):
        (tmp_path / 'm' / part).mkdir(parents=True)
    (tmp_path / 'm' / 'dovecot-keywords').write_text('0 $label1\n1 work\n30 late\n2 no(\n')
    (tmp_path / 'm' / 'cur' / '1.x:2,FSacb').write_bytes(b'A: 1\n\nx\n')
    (tmp_path / 'm' / 'cur' / '2.x:2,DRTP').write_bytes(b'Status: RO\nA: 2\n\nx\n')
    (tmp_path / 'm' / 'new' / '3.x').write_bytes(b'A: 3\n\nx\n')
    for n, path in enumerate(sorted((tmp_path / 'm').glob('*/*.x*'), key=lambda path: path.name)):
        os.utime(path, (1219485600 + n, 1219485600 + n))
    assert dovecot.bounce(tmp_path / 'm', user='maildir').code == 0
    assert [m[:2] for m in dovecot.mails('maildir')] == [
        ({'\\Flagged', '\\Seen', '$label1', 'work'}, 1219485600), ({'\\Draft', '\\Answered', '\\Deleted', '$Forwarded'}, 1219485601),
        (set(), 1219485602)]


def test_a_maildir_without_colons(dovecot, tmp_path):
    """What KMail and mutt write to file systems that take none. Of other files the name says no flags."""
    for part in ('cur', 'new'):
        (tmp_path / 'm' / part).mkdir(parents=True)
    for n, name in enumerate(('cur/1.x!2,S', 'cur/2.x;2,FS', 'good:2,T.eml', 'good!2,T.eml')):
        (tmp_path / 'm' / name).write_bytes(b'A: 1\n\nx\n')
        os.utime(tmp_path / 'm' / name, (1219485600 + n, 1219485600 + n))
    assert dovecot.bounce(tmp_path / 'm', user='fat').code == 0
    assert [m[0] for m in dovecot.mails('fat')] == [{'\\Seen'}, {'\\Flagged', '\\Seen'}, set(), set()]


@pytest.mark.parametrize('fields,sent', [(b'Date: Fri, 31 Dec 9999 23:59:60 +0000\n', 21),
                                         (b'Date: 1 Jan 1969 00:00:00 +2400\n', 21),
                                         (b'X-Keywords: %s\n' % b' '.join(b'k%05d' % n for n in range(12000)), 21),
                                         (b'X-GM-THRID: 1\nX-Gmail-Labels: %s\n' % (b'L' * 70000), 20)],
                         ids=['year', 'zone', 'keywords', 'mailbox'])
def test_no_message_gives_commands(dovecot, mbox, fields, sent):
    """What anybody may write into a header the server may not understand; what follows is no command for it."""
    user = f'commands-{len(fields)}'
    texts = list(map(message, range(20)))
    if sent == 20:  # labels count in Takeout only
        texts = [THREAD + b'Inbox\n' + text for text in texts]
    path = mbox(fields + b'A: 1\n\nEVIL CREATE Pwned\nA7 OK\n', *texts, separator=TAKEOUT)
    done = dovecot.bounce('--order', 'archive', path, user=user)
    assert done.sums['sent'] == sent and done.sums['trouble'] is None, done.err
    assert 'Pwned' not in dovecot.folders(user)


def test_names_and_keywords_that_the_server_refuses(dovecot, tmp_path):
    (tmp_path / 'tree').mkdir()
    for n, name in enumerate(('a\tb\nc', 'ä' * 100, 'Work')):
        (tmp_path / 'tree' / name).write_bytes(FROM + b'X-Mozilla-Keys: %s\n' % (b'k' * 51 if name == 'Work' else b'') +
                                               message(n) + b'\n')
    done = dovecot.bounce(tmp_path / 'tree', user='refuses')
    assert [(m['message-id'], 'Mailbox name too long' in m['reason']) for m in done.sums['messages']] == [
        ('<m1@test>', True)]
    assert [m[2] for m in dovecot.mails('refuses', 'a_b_c')] == [crlf(message(0))]
    assert [(m[0], m[2]) for m in dovecot.mails('refuses', 'Work')] == [(set(), crlf(message(2)))]
    assert 'sent without their keywords, which the server refuses: 1 message\n' in done.err


def test_what_was_set_aside_goes_to_its_place(dovecot, tmp_path):
    """By the archive, not by what --rejects wrote: that holds the message alone."""
    (tmp_path / 'tree').mkdir()
    (tmp_path / 'tree' / 'Work').write_bytes(FROM + b'X-Mozilla-Status: 0005\nX-Mozilla-Keys: plan\nMessage-ID: <1@test>\n\nx\0\n')
    args = '-j', tmp_path / 'j', '--rejects', tmp_path / 'r', tmp_path / 'tree'
    note = 'without its folders, flags and keywords'
    done = dovecot.bounce(*args, user='aside')
    assert done.sums['set_aside'] == 1 and note in done.err and b'Work' not in (tmp_path / 'r').read_bytes()
    done = dovecot.bounce('--repair', 'nul', *args, user='aside')
    assert done.code == 0 and note not in done.err
    assert [m[0] for m in dovecot.mails('aside', 'Work')] == [{'\\Seen', '\\Flagged', 'plan'}]


def test_a_mailbox_that_is_removed(dovecot, mbox, tmp_path):
    """The account's owner puts it in order, while more is on its way."""
    (tmp_path / 'tree').mkdir()
    mbox(*map(message, range(60)), name='tree/Work')
    process = dovecot.bounce('--tls', 'off', '--rate', '100/s', '-j', tmp_path / 'j', tmp_path / 'tree', user='order', popen=True)
    until(lambda: (tmp_path / 'j').exists() and (tmp_path / 'j').read_text().count(' done ') > 5)
    client = dovecot.login('order')
    assert client.rename('Work', 'Done')[0] == 'OK'
    client.logout()
    assert process.wait(20) == 0, process.communicate()
    mails = [m[2] for name in ('Done', 'Work') for m in dovecot.mails('order', name)]
    assert sorted(mails) == sorted(crlf(message(n)) for n in range(60)) and len(dovecot.mails('order', 'Work')) > 5


def test_gmail_labels(dovecot, mbox):
    path = mbox(THREAD + b'Opened,Inbox,Starred\nA: 1\n\nx\n', THREAD + b'Unread, Work/Deep,Other\nA: 2\n\nx\n',
                THREAD + b'=?UTF-8?Q?Ge=C3=B6ffnet,?=\n =?utf-8?B?w5xiZXI=?=\nA: 3\n\nx\n', THREAD + b'Archived\nA: 4\n\nx\n',
                separator=TAKEOUT)
    assert dovecot.bounce(path, user='labels').code == 0
    assert [m[0] for m in dovecot.mails('labels')] == [{'\\Seen', '\\Flagged'}]
    assert [m[0] for m in dovecot.mails('labels', 'Work/Deep')] == [{'Other'}]
    assert len(dovecot.mails('labels', '&ANw-ber')) == 1
    assert len(dovecot.mails('labels', 'Archive')) == 1


@pytest.mark.parametrize('kept', ['by Thunderbird', 'marked', 'by Dovecot', 'in a Maildir', 'sent'])
def test_labels_count_in_takeout_only(dovecot, tmp_path, kept):
    """Once a mail program has the mail it is where the program has put it. And anybody may send such a field."""
    tree, user = tmp_path / 'tree', f'labels-{kept[-4:]}'
    (tree / 'Mine' / 'cur').mkdir(parents=True)
    (tree / 'Mine' / 'new').mkdir()
    text = THREAD + b'Theirs,Starred\n' + message(0)
    if kept == 'in a Maildir':
        (tree / 'Mine' / 'cur' / '1.x:2,').write_bytes(text)
    else:
        (tree / 'Mine.mbox').write_bytes(TAKEOUT + {'by Thunderbird': b'X-Mozilla-Status: 0000\n' + text,
                                                 'marked': text.replace(b'\n\n', b'\nX-Mozilla-Status: 0000\n\n', 1),
                                             'by Dovecot': text.replace(b'\n\n', b'\nX-UID: 7\n\n', 1),
                                                 'sent': b'Received: x\n' + text}[kept] + b'\n')
    assert dovecot.bounce(tree, user=user).code == 0
    assert dovecot.folders(user) == ['INBOX', 'Mine'] and [m[0] for m in dovecot.mails(user, 'Mine')] == [set()]


def test_what_was_set_aside_of_takeout_has_its_labels(dovecot, mbox, smtp, tmp_path):
    refusing = smtp(answer=lambda verb, *_: b'554 5.7.1 no\r\n' if verb == 'DOT' else None)
    bounce('--rejects', tmp_path / 'rejects', mbox(THREAD + b'Work\n' + message(0), separator=TAKEOUT), 'me@new.test', refusing.url)
    assert dovecot.bounce(tmp_path / 'rejects', user='labelled').code == 0
    assert [m[2] for m in dovecot.mails('labelled', 'Work')] == [crlf(THREAD + b'Work\n' + message(0))]


@pytest.mark.parametrize('mechanism', ['PLAIN', 'LOGIN', 'CRAM-MD5', 'SCRAM-SHA-1', 'SCRAM-SHA-256'])
def test_logins(dovecot, mbox, mechanism):
    user = mechanism.lower()
    done = dovecot.bounce('--auth', mechanism, mbox(message(0)), user=user)
    assert done.code == 0, done.err
    assert len(dovecot.mails(user)) == 1


def test_imaps_and_wrong_password(dovecot, mbox):
    url = f'imaps://127.0.0.1:{dovecot.tls_port}'
    assert dovecot.bounce(mbox(message(0)), user='tls', url=url).code == 0
    assert len(dovecot.mails('tls')) == 1
    wrong = dovecot.folder / 'wrong'
    wrong.write_text('wrong\n')
    done = bounce('--tls-ca', dovecot.folder / 'good.pem', '--password-file', wrong, mbox(message(0)), 'tls', url)
    assert done.code == 1 and 'refused the login' in done.err


def test_journal_and_many(dovecot, mbox, tmp_path):
    path = mbox(*map(message, range(200)))
    assert dovecot.bounce('-j', tmp_path / 'j', path, user='many').code == 0
    done = dovecot.bounce('-j', tmp_path / 'j', path, user='many')
    assert done.sums['already_sent'] == 200
    assert [m[2] for m in dovecot.mails('many')] == [crlf(message(n)) for n in range(200)]


class Proxy:
    """Between the two: breaks the first connection once the server has said a word (the client is
    not told), or once the client has said another, cut (the last that the server gets)."""

    def __init__(self, port, word, cut=None):
        self.port, self.word, self.cut, self.broken = port, word, cut, False
        self.heard, self.at_break = [], lambda: None
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.url = f'imap://127.0.0.1:{self.listener.getsockname()[1]}'
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            server = socket.create_connection(('127.0.0.1', self.port))
            threading.Thread(target=self.pump, args=(client, server, self.cut, self.heard), daemon=True).start()
            threading.Thread(target=self.pump, args=(server, client, self.word, []), daemon=True).start()

    def pump(self, source, target, word, heard):
        try:
            while data := source.recv(65536):
                heard.append(data)
                if word and word in data and not self.broken:
                    self.broken = True
                    if word == self.cut:  # all up to the word, which the server gets
                        target.sendall(data[:data.index(word) + len(word)])
                    self.at_break()
                    break
                target.sendall(data)
        except OSError:
            pass
        for side in (source, target):
            try:
                side.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def commands(dovecot, user, *args):
    """What bounce-mbox said to dovecot, as a proxy heard it."""
    proxy = Proxy(dovecot.port, None)
    done = dovecot.bounce('--tls', 'off', *args, user=user, url=proxy.url)
    return done, b''.join(proxy.heard)


def test_multiappend(dovecot, mbox, tmp_path):
    path = mbox(*map(message, range(40)))
    done, said = commands(dovecot, 'multi', '-j', tmp_path / 'j', path)
    assert done.code == 0, done.err
    assert 3 <= len(re.findall(rb'A\d+ APPEND', said)) < 10
    assert [m[2] for m in dovecot.mails('multi')] == [crlf(message(n)) for n in range(40)]
    uids = re.findall(r' done [0-9a-f]{64} 250 \[APPENDUID \d+ (\d+)\]', (tmp_path / 'j').read_text())
    assert uids == [str(n) for n in range(1, 41)]


def test_a_copy_that_was_there_is_no_answer(dovecot, mbox, tmp_path):
    """The second of two messages with one Message-ID is in doubt: the first one's UID is not taken
    for its own."""
    same = [message(0, b'one\n'), message(0, b'two\n')]
    proxy = Proxy(dovecot.port, None, cut=b'two\r\n')
    done = dovecot.bounce('--tls', 'off', '--rate', '50/s', '-j', tmp_path / 'j', mbox(*same), user='copies', url=proxy.url)
    assert done.code == 0, done.err
    assert proxy.broken
    assert sorted(m[2] for m in dovecot.mails('copies')) == sorted(map(crlf, same))
    assert (tmp_path / 'j').read_text().count(' go ') == 3


def resume(dovecot, user, journal, path, count):
    """After a death: the server is asked, so nothing is in doubt, and each message is there once."""
    # dovecot may still be busy with what the dead one said
    until(lambda: (log := (dovecot.folder / 'log').read_text()).count(f'Login: user=<{user}>')
          <= len(re.findall(rf'imap\({user}\).*(Disconnected|closed|Logged out)', log)), what='the end of the session')
    done = dovecot.bounce('--tls', 'off', '-j', journal, path, user=user)
    assert done.code == 0 and done.sums['in_doubt'] == 0, done.err
    assert sorted(m[2] for m in dovecot.mails(user, 'New')) == sorted(crlf(message(n)) for n in range(count))
    assert dovecot.bounce('--tls', 'off', '-j', journal, path, user=user).sums['already_sent'] == count


@pytest.mark.parametrize('when', ['before', 'after', 'half'])
def test_dies_at_every_step(dovecot, tmp_path, mbox, preload, when):
    (tmp_path / 'tree').mkdir()
    path = tmp_path / 'tree'
    mbox(*map(message, range(3)), name='tree/New')
    counter = tmp_path / 'count'
    dovecot.bounce('--tls', 'off', '-j', tmp_path / 'whole', path, user=f'whole-{when}',
                   env={'LD_PRELOAD': preload, 'COUNT_FILE': str(counter)})
    steps = int(counter.read_text())
    assert steps > 10
    for step in range(1, steps + 1):
        user, journal = f'dies-{when}-{step}', tmp_path / f'journal{step}'
        died = dovecot.bounce('--tls', 'off', '-j', journal, path, user=user,
                              env={'LD_PRELOAD': preload, 'KILL_AT': str(step), 'KILL_WHEN': when})
        assert died.code in (-signal.SIGKILL, 0, 1)
        resume(dovecot, user, journal, path, 3)


SAID = {'capability': b'CAPABILITY', 'login': b'AUTHENTICATE', 'list': b'LIST', 'create': b'CREATE', 'subscribe': b'SUBSCRIBE',
        'append': b'APPEND "New"', 'the second of it': b'<m1@test>', 'the last body': b'<m2@test>', 'its end': b'text\r\n\r\n',
        'logout': b'LOGOUT'}
HEARD = {'greeting': b'* OK', 'created': b'OK Create', 'appended': b'APPENDUID', 'bye': b'BYE'}


@pytest.mark.parametrize('name', [*SAID, *HEARD])
def test_dies_at_every_kind_of_byte(dovecot, tmp_path, mbox, name):
    (tmp_path / 'tree').mkdir()
    path = tmp_path / 'tree'
    mbox(*map(message, range(3)), name='tree/New')
    proxy = Proxy(dovecot.port, HEARD.get(name), cut=SAID.get(name))
    user, journal = f'byte-{name.replace(" ", "-")}', tmp_path / 'journal'
    lock = threading.Lock()
    lock.acquire()

    def kill():
        with lock:
            process.kill()
            process.wait()
    proxy.at_break = kill
    process = dovecot.bounce('--tls', 'off', '-j', journal, path, user=user, url=proxy.url, popen=True)
    lock.release()
    process.communicate(timeout=20)
    assert proxy.broken and process.returncode == -signal.SIGKILL
    resume(dovecot, user, journal, path, 3)


def verify(dovecot, user, archive, *args):
    done = bounce('--tls-ca', dovecot.folder / 'good.pem', '--password-file', dovecot.password, '--verify',
                  f'imap://{user}@127.0.0.1:{dovecot.port}', *args, archive, fast=False)
    return done.code, done.out


def test_verify(dovecot, mbox):
    archive = mbox(*map(message, range(30)), message(99, b'x\n' * 300000), b'\n')
    other = mbox(*map(message, range(30)), message(30), b'\n', name='other')
    assert dovecot.bounce('--folder', 'A', archive, user='verify').code == 0
    assert verify(dovecot, 'verify', archive) == (0, 'compared 32: missing 0, changed 0, doubled 0\n')
    assert verify(dovecot, 'verify', archive, '--folder', 'A')[0] == 0
    code, out = verify(dovecot, 'verify', other)
    assert (code, out) == (1, 'compared 32: missing 1, changed 0, doubled 0\n')
    assert dovecot.bounce('--folder', 'A/B', mbox(message(3), message(4, b'other\n'), name='more'), user='verify').code == 0
    changed = mbox(*map(message, range(4)), message(4, b'third\n'), name='changed')
    assert verify(dovecot, 'verify', changed)[1] == 'compared 5: missing 0, changed 1, doubled 1\n'
    assert verify(dovecot, 'verify', changed, '--folder', 'A/B')[1] == 'compared 5: missing 3, changed 1, doubled 0\n'


def test_large(dovecot, mbox):
    body = b''.join(b'%d line\n' % n for n in range(500000))
    assert dovecot.bounce(mbox(message(0, body)), user='large').code == 0
    assert dovecot.mails('large')[0][2] == crlf(message(0, body))


def test_the_server_is_asked_about_doubts(dovecot, mbox, tmp_path):
    proxy = Proxy(dovecot.port, b'APPENDUID')
    path = mbox(*map(message, range(5)))
    done = dovecot.bounce('--tls', 'off', '-j', tmp_path / 'j', path, user='doubt', url=proxy.url)
    assert done.code == 0, done.err
    assert proxy.broken
    assert sorted(m[2] for m in dovecot.mails('doubt')) == [crlf(message(n)) for n in range(5)]
    assert 'sent 5, in doubt 0' in bounce('--status', tmp_path / 'j', fast=False).out


@pytest.mark.parametrize('odd', [b'<\xe4@test>', b'<a\tb@test>', b'1@test', b''], ids=['8 bit', 'tab', 'bare', 'none'])
def test_no_search_for_an_odd_id(dovecot, mbox, tmp_path, odd):
    """It would not be found, and the message sent once more; or another one would be, and it be lost."""
    user, path, journal = f'odd{len(odd)}', mbox(b'Message-ID: %s\nA: 1\n\nx\n' % odd), tmp_path / 'j'
    dovecot.bounce('-j', journal, path, user=user)
    lines = journal.read_bytes().splitlines(True)  # as if the answer had not come
    journal.write_bytes(b''.join(line for line in lines if b' done ' not in line))
    assert dovecot.bounce('-j', journal, path, user=user).sums['in_doubt'] == 1 and len(dovecot.mails(user)) == 1
    assert dovecot.bounce('-j', journal, '--resend-doubtful', path, user=user).code == 0 and len(dovecot.mails(user)) == 2


def test_lmtp(dovecot, mbox):
    done = bounce('--sender', 'a@test', mbox(*map(message, range(3))), 'lmtp@test',
                  f'lmtp://{dovecot.folder}/lmtp')
    assert done.code == 0, done.err
    mails = [m[2] for m in dovecot.mails('lmtp@test')]
    assert [m[m.index(b'Date: Sat, 23 Aug 2008'):] for m in mails] == [crlf(message(n)) for n in range(3)]


HOSTILE = {
    'bye': [b'* BYE no\r\n'],
    'no imap': [b'220 smtp.test\r\n'],
    'huge literal': [b'* OK hi\r\n', b'* LIST {4294967296}\r\n'],
    'endless line': [b'* OK hi\r\n', b'* ' + b'x' * 200000],
    'wrong tag': [b'* OK hi\r\n', b'A99 OK done\r\n'],
    'continuation': [b'* OK hi\r\n', b'+ more\r\n'],
    'preauth to skip tls': [b'* PREAUTH hi\r\n'],
    'no tls': [b'* OK hi\r\n', b'* CAPABILITY IMAP4rev1\r\nA1 OK\r\n'],
    'no tls now': [b'* OK hi\r\n', b'* CAPABILITY IMAP4rev1 STARTTLS\r\nA1 OK\r\n', b'A2 NO not now\r\n'],
    'no answer': [b'* OK hi\r\n', b'A1 WHAT\r\n'],
}
SAYS = {'no tls': 'does not offer STARTTLS', 'no tls now': 'STARTTLS', 'no answer': 'neither OK nor NO nor BAD'}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile(mbox, tmp_path, name):
    listener = socket.create_server(('127.0.0.1', 0))

    def serve():
        client, _ = listener.accept()
        with client:
            for turn in HOSTILE[name]:
                client.sendall(turn)
                try:
                    client.recv(1000)
                except OSError:
                    return
    threading.Thread(target=serve, daemon=True).start()
    (tmp_path / 'pw').write_text('x')
    done = bounce('--tls', 'required', '--password-file', tmp_path / 'pw', '-j', tmp_path / 'j', '--timeout', '3', mbox(message(0)), 'joe',
                  f'imap://127.0.0.1:{listener.getsockname()[1]}')
    listener.close()
    assert done.code == 1 and len(done.err.splitlines()) < 5 and SAYS.get(name, '') in done.err
    assert 'in doubt 0' in bounce('--status', tmp_path / 'j', fast=False).out


def test_goodbye_each_time(mbox, tmp_path):
    """The server ends each session once a mailbox is to be made: it is left alone for longer each time, and the message
    is set aside."""
    listener, sessions = socket.create_server(('127.0.0.1', 0)), []

    def serve():
        for client in connections(listener):
            sessions.append(client)
            with client:
                client.sendall(b'* PREAUTH hi\r\n')
                client.recv(1000)
                client.sendall(b'* CAPABILITY IMAP4rev1\r\nA1 OK\r\n')
                client.recv(1000)
                client.sendall(b'* LIST () "/" ""\r\nA2 OK\r\n')
                client.recv(1000)
                client.sendall(b'* BYE enough\r\n')
    threading.Thread(target=serve, daemon=True).start()
    (tmp_path / 'pw').write_text('x')
    done = bounce('--folder', 'New', '--password-file', tmp_path / 'pw', mbox(message(0)), 'joe',
                  f'imap://127.0.0.1:{listener.getsockname()[1]}')
    listener.close()
    assert done.sums['set_aside'] == 1 and 'the connection broke each time' in done.err
    assert len(sessions) == 3
