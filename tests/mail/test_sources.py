# SPDX-License-Identifier: MIT
"""Everything that mail can be kept in."""
import bz2
import gzip
import lzma
import os
import shutil
import subprocess

import pytest
from conftest import FROM, PROGRAM, bounce, crlf, message, until

OTHER = b'From joe Sat Aug 23 10:00:00 2008\n'


def received(smtp, *args, stdin=None):
    server = smtp()
    done = bounce(*args, 'me@new.test', server.url, stdin=stdin)
    assert done.code == 0, done.err
    return server.messages, done


@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress, lzma.compress, 'zstd', 'stdin'])
def test_packed(smtp, mbox, tmp_path, pack):
    path = mbox(message(0), message(1))
    if pack == 'stdin':
        messages, _ = received(smtp, '-', stdin=path.read_bytes())
    else:
        packed = tmp_path / 'packed'
        if pack == 'zstd':
            if not shutil.which('zstd'):
                pytest.skip('zstd is not installed')
            subprocess.run(['zstd', '-q', path, '-o', packed], check=True)
        else:
            packed.write_bytes(pack(path.read_bytes()))
        messages, _ = received(smtp, packed)
    assert messages == [crlf(message(0)), crlf(message(1))]


@pytest.mark.parametrize('pack', [gzip.compress, bz2.compress])
def test_a_packed_part_that_is_damaged(mbox, tmp_path, pack):
    """Logs of mail are packed part by part: what is behind a damaged part is not left out without a word. Zeros are a
    tape's padding."""
    part = pack(mbox(*map(message, range(9))).read_bytes())
    for name, more, code in (('whole', part, 0), ('padded', part + bytes(500000), 0), ('hurt', b'X' + part[1:], 1),
                             ('far', bytes(500000) + part, 1)):
        (tmp_path / name).write_bytes(part + more)
        assert bounce('--dry-run', tmp_path / name).code == code, name
        assert bounce('--dry-run', '-', stdin=part + more).code == code, name
    assert f'behind byte {len(part)} of' in bounce('--dry-run', tmp_path / 'hurt').err


def test_a_pipe_is_read_as_standard_input_is(smtp, mbox):
    path = mbox(message(0), message(1))
    server = smtp()
    done = subprocess.run(['bash', '-c', '"$0" -d 0 <(gzip <"$1") me@new.test "$2"', PROGRAM, path, server.url],
                          capture_output=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert server.messages == [crlf(message(0)), crlf(message(1))]


def test_an_mbox_without_its_first_line(tmp_path):
    """It is one message like any other, as a letter may quote an mbox; but that is told."""
    lost = message(0) + b'\n' + OTHER + message(1) + b'\n' + FROM + message(2)
    for name, text, told in (('lost', lost, True), ('packed', gzip.compress(lost), True),
                             ('long', message(0) + b'\nFrom ' + b'x' * 200 + FROM[5:] + message(1), False),
                             ('quoting.eml', message(0, b'x\n' + FROM + b'A: 1\nB: 2\n\nFrom here on:\nfrom: me\n\nFrom joe\n\n>From x\n'), False)):
        (tmp_path / name).write_bytes(text)
        done = bounce('--dry-run', tmp_path / name)
        assert done.code == 0 and done.sums['total'] == 1
        assert ('2 lines in it look as if' in done.err) == told, done.err


def test_formats_and_reasons(smtp, tmp_path):
    cases = {
        'mboxo': OTHER + b'A: 1\n\n>From x\n\n',
        'mboxrd': OTHER + b'A: 1\n\n>>From x\n\n',
        'mboxcl': OTHER + b'Content-Length: 8\n\n>From x\n\n' + OTHER + b'Content-Length: 2\n\nx\n\n',
        'thunderbird': FROM + b'A: 1\n\n>From x\n\n',
    }
    bodies = {'mboxo': b'From x', 'mboxrd': b'>From x', 'mboxcl': b'From x', 'mboxcl2': b'>From x',
              'thunderbird': b'From x'}
    cases['mboxcl2'] = (OTHER + b'Content-Length: %d\n\n' + b'>From x\n\n' + OTHER + b'A: 1\n\n') % (
        len(b'>From x\n\n' + OTHER + b'A: 1\n'))
    for name, text in cases.items():
        path = tmp_path / name
        path.write_bytes(text)
        messages, done = received(smtp, path)
        folder = done.sums['folders'][0]
        assert folder['format'] == name, folder
        assert folder['reason']
        assert b'\r\n' + bodies[name] + b'\r\n' in messages[0], (name, messages)
    messages, done = received(smtp, '--format', 'mboxcl2', tmp_path / 'mboxrd')
    assert messages[0].endswith(b'\r\n\r\n>>From x\r\n')


def test_a_format_that_comes_out_as_the_file_grows(smtp, mbox, tmp_path):
    """Its messages are those that were sent, whatever of their quotes was taken for one then."""
    def sized(n, body):
        return message(n, body).replace(b'\n\n', b'\nContent-Length: %d\n\n' % len(body), 1)
    texts = [sized(0, b'>From my view\n'), sized(1, b'>>From x\n'), sized(2, b'From here on\n')]
    server = smtp()
    done = bounce('-j', tmp_path / 'j', mbox(*texts[:2], separator=OTHER), 'me@new.test', server.url)
    assert done.sums['folders'][0]['format'] == 'mboxcl' and done.sums['sent'] == 2
    done = bounce('-j', tmp_path / 'j', mbox(*texts, separator=OTHER), 'me@new.test', server.url)
    assert done.sums['folders'][0]['format'] == 'mboxcl2' and done.sums['sent'] == 1
    assert server.messages[2:] == [crlf(message(2, b'From here on\n'))]


def tree(path):
    """Local Folders/Inbox, Inbox/Work, Inbox/Work/Deep and an IMAP account, as Thunderbird keeps
    them, with what lies beside them."""
    local = path / 'Mail' / 'Local Folders'
    deep = local / 'Inbox.sbd' / 'Work.sbd'
    imap = path / 'ImapMail' / 'imap.test'
    deep.mkdir(parents=True)
    imap.mkdir(parents=True)
    (path / 'prefs.js').write_text('user_pref("a", 1);\n')
    (path / 'key4.db').write_bytes(b'From nothing')
    for n, file in enumerate((local / 'Inbox', local / 'Inbox.sbd' / 'Work', deep / 'Deep', imap / 'INBOX')):
        file.write_bytes(FROM + message(n) + b'\n')
        file.with_name(file.name + '.msf').write_text('// <!-- <mdb:mork:z v="1.4"/> -->\n')
    (local / 'Trash').write_bytes(b'')
    return local


def test_profile(smtp, tmp_path):
    tree(tmp_path)
    messages, done = received(smtp, tmp_path)
    assert messages == [crlf(message(n)) for n in range(4)]
    assert [f['name'] for f in done.sums['folders']] == [
        'Local Folders/Inbox', 'Local Folders/Inbox/Work', 'Local Folders/Inbox/Work/Deep',
        'imap.test/INBOX']


def test_profile_with_an_account_elsewhere(smtp, tmp_path):
    """… and one that prefs.js still names, but that is there no more, and one that is read anyway."""
    profile = tmp_path / 'profile'
    local = tree(profile)
    (tmp_path / 'old "mail"').mkdir()
    (tmp_path / 'old "mail"' / 'Inbox').write_bytes(FROM + message(9) + b'\n')
    quoted = str(tmp_path / 'old "mail"').replace('"', '\\"')
    (profile / 'prefs.js').write_text(
        f'user_pref("mail.server.server1.directory", "{local}");\nuser_pref("mail.server.server2.directory", "{quoted}");\n'
        f'user_pref("mail.server.server3.directory", "{tmp_path}/none");\nuser_pref("mail.server.server2.name", "/");\n')
    messages, done = received(smtp, profile)
    assert messages == [crlf(message(n)) for n in (0, 1, 2, 3, 9)]
    assert done.sums['folders'][-1]['name'] == 'old "mail"/Inbox'


def test_profile_within_a_folder(smtp, tmp_path):
    tree(tmp_path / 'abc.default')
    messages, done = received(smtp, tmp_path)
    assert messages == [crlf(message(n)) for n in range(4)]
    assert done.sums['folders'][0]['name'] == 'abc.default/Local Folders/Inbox'


def test_sbd_tree(smtp, tmp_path):
    local = tree(tmp_path)
    messages, done = received(smtp, local / 'Inbox.sbd')
    assert messages == [crlf(message(n)) for n in (1, 2)]
    assert [f['name'] for f in done.sums['folders']] == ['Work', 'Work/Deep']


def test_maildir(smtp, tmp_path):
    for folder in ('', '.Sub'):
        for part in ('cur', 'new', 'tmp'):
            (tmp_path / folder / part).mkdir(parents=True)
    (tmp_path / 'cur' / '1.a:2,S').write_bytes(message(0, b'>From x\n'))
    (tmp_path / 'new' / '2.b').write_bytes(message(1))
    (tmp_path / 'tmp' / '3.c').write_bytes(message(2))
    (tmp_path / '.Sub' / 'cur' / '4.d:2,').write_bytes(message(3))
    messages, _ = received(smtp, tmp_path)
    assert messages == [crlf(message(0, b'>From x\n')), crlf(message(1)), crlf(message(3))]


def test_a_maildir_without_its_empty_folders(smtp, tmp_path):
    """As a copy or backup has it that leaves these out. What else is called cur is none."""
    for n, name in enumerate(('.Sent/cur/0.x:2,S', 'Work/cur/1.x;2,', 'other/cur/letter')):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(message(n))
    messages, done = received(smtp, tmp_path)
    assert messages == [crlf(message(0)), crlf(message(1))]
    assert [f['name'] for f in done.sums['folders']] == ['Sent', 'Work'] and 'other/cur/letter' in done.err


def test_maildir_names(smtp, tmp_path):
    """Maildir++: levels by dots, each in modified UTF-7."""
    for n, folder in enumerate(('', '.Work', '.Work.W&APY-rk', '.A &- B')):
        for part in ('cur', 'new', 'tmp'):
            (tmp_path / folder / part).mkdir(parents=True)
        (tmp_path / folder / 'cur' / f'{n}.x:2,').write_bytes(message(n))
    (tmp_path / 'dovecot-uidlist').write_text('3 V1\n')
    _, done = received(smtp, tmp_path)
    assert sorted(f['name'] for f in done.sums['folders']) == ['', 'A & B', 'Work', 'Work/Wörk']
    assert 'passed over' not in done.err


def maildir(path, n):
    for part in ('cur', 'new', 'tmp'):
        (path / part).mkdir(parents=True, exist_ok=True)
    (path / 'cur' / f'{n}.x:2,S').write_bytes(message(n))


def test_hidden_folders(smtp, tmp_path):
    """KMail's hold the children of another folder, and those of a Maildir may be there without it. What is neither is
    told."""
    top = tmp_path / 'top'
    for n, name in enumerate(('inbox', '.inbox.directory/Work', '.inbox.directory/.Work.directory/1.5', '.Sent',
                              'inside', 'inside/.a.directory', 'inside/.b.directory/c')):
        maildir(top / name, n)
    (top / '.git').mkdir()
    (top / '.git' / 'HEAD').write_text('no mail')
    (top / '.lock').write_text('')
    messages, done = received(smtp, top)
    assert messages == [crlf(message(n)) for n in range(7)]
    assert sorted(f['name'] for f in done.sums['folders']) == ['Sent', 'inbox', 'inbox/Work', 'inbox/Work/1.5', 'inside',
                                                               'inside/a/directory', 'inside/b/c']
    assert f'passed over, as it does not look like mail: {top}/.git\n' in done.err
    for folder in (top, top / 'inside'):
        (folder / '.link').symlink_to(top / '.git')
    assert f'{top}/.git, and 2 more\n' in bounce('--dry-run', top).err


def test_thunderbirds_maildir(smtp, tmp_path):
    """It has no "new", its files end in .eml, and its flags stand in them."""
    inbox = tmp_path / 'Inbox'
    for part in ('cur', 'tmp'):
        (inbox / part).mkdir(parents=True)
    (inbox / 'cur' / '1.eml').write_bytes(b'X-Mozilla-Status: 0001\n' + message(0))
    (inbox / 'cur' / '2.eml').write_bytes(b'X-Mozilla-Status: 0009\n' + message(1))
    messages, done = received(smtp, tmp_path)
    assert messages == [crlf(message(0))] and done.sums['skipped'] == 1
    assert done.sums['folders'][0]['name'] == 'Inbox'
    assert received(smtp, '--with-expunged', tmp_path)[0] == [crlf(message(n)) for n in range(2)]


def test_packed_in_folders(smtp, mbox, tmp_path):
    """Packed mboxes, .eml and Maildir files are read through wherever they are; what is packed and no mail
    is not."""
    top = tmp_path / 'top'
    for part in ('cur', 'new'):
        (top / 'Maildir' / part).mkdir(parents=True)
    (top / 'old').mkdir()
    (top / 'old' / '2008.mbox.gz').write_bytes(gzip.compress(mbox(message(0)).read_bytes()))
    (top / 'old' / '2009.xz').write_bytes(lzma.compress(mbox(message(1)).read_bytes()))
    (top / 'old' / 'a.eml.bz2').write_bytes(bz2.compress(message(2)))
    (top / 'old' / 'a.tar.gz').write_bytes(gzip.compress(b'no mail'))
    (top / 'Maildir' / 'cur' / '1.x:2,S').write_bytes(gzip.compress(message(3)))
    messages, done = received(smtp, top)
    assert messages == [crlf(message(n)) for n in range(4)]
    assert {f['name'] for f in done.sums['folders']} == {'old', 'old/2008', 'old/2009', 'Maildir'}
    assert 'passed over, as it does not look like mail' in done.err and 'a.tar.gz' in done.err


def test_links_are_told(smtp, mbox, tmp_path):
    top = tmp_path / 'top'
    top.mkdir()
    (top / 'link').symlink_to(mbox(message(0)))
    (top / 'Inbox').write_bytes(b'\n\n' + FROM + message(1) + b'\n')
    messages, done = received(smtp, top)
    assert messages == [crlf(message(1))]
    assert 'passed over' in done.err and 'link' in done.err


def test_apple_mail(smtp, tmp_path):
    plist = b'<?xml version="1.0"?><plist><dict><key>flags</key>\n\t<integer>17</integer></dict></plist>\n'
    files = tmp_path / 'Work.mbox' / '0-1-2' / 'Data' / '1' / 'Messages'
    files.mkdir(parents=True)
    (files / '7.emlx').write_bytes(b'%-10d\n' % len(message(0)) + message(0) + plist)
    (files / '8.partial.emlx').write_bytes(b'%d\n' % len(message(1)) + message(1) + plist)
    attached = files.parent / 'Attachments' / '7' / '2'
    attached.mkdir(parents=True)
    (attached / 'fwd.eml').write_bytes(message(9))
    messages, done = received(smtp, tmp_path)
    assert messages == [crlf(message(0)), crlf(message(1))]
    assert done.sums['folders'][0]['name'] == 'Work' and 'only in part' in done.err
    assert f'passed over, as it does not look like mail: {attached.parent.parent}\n' in done.err
    messages, _ = received(smtp, files / '7.emlx')
    assert messages == [crlf(message(0))]
    (files / '9.emlx').write_bytes(b'10000\n' + message(0))
    done = bounce(files / '9.emlx', 'me@new.test', 'smtp://127.0.0.1:1')
    assert done.code == 1 and '9.emlx is no whole .emlx file' in done.err


def test_damaged_files(smtp, tmp_path):
    """One is told as failed, and the rest goes on, in all that is done with an archive."""
    top = tmp_path / 'top'
    maildir(top / 'Many', 1)
    (top / 'Many' / 'cur' / '2.x:2,').write_bytes(b'')
    (top / 'Many' / 'cur' / '3.x').mkdir()
    os.mkfifo(top / 'Many' / 'cur' / '4.x')
    for name, text in (('a.eml', message(0)), ('b.eml', b''), ('c.eml.gz', gzip.compress(message(0))[:-9]), ('d.emlx', b''),
                       ('e.emlx', b'0\n')):
        (top / name).write_bytes(text)
    (top / 'f.eml').mkdir()
    server = smtp()
    done = bounce('-j', tmp_path / 'j', top, 'me@new.test', server.url)
    assert done.code == 1 and server.messages == [crlf(message(0)), crlf(message(1))] and done.sums['trouble'] is None
    assert [done.sums[name] for name in ('total', 'read', 'sent', 'failed')] == [7, 7, 2, 5]
    assert sorted(m['reason'].split('top/')[1].split(': ')[0] for m in done.sums['messages']) == [
        'Many/cur/2.x:2, is empty', 'b.eml is empty', 'c.eml.gz', 'd.emlx is no whole .emlx file', 'e.emlx is empty']
    assert 'Many/cur/3.x, and 1 more' in done.err
    done = bounce('--dry-run', '-j', tmp_path / 'j', top, 'me@new.test', server.url)
    assert done.code == 1 and [done.sums[name] for name in ('already_sent', 'skipped', 'failed')] == [2, 0, 5]
    (tmp_path / 'export').mkdir()
    maildir(tmp_path / 'export' / 'Many', 1)
    (tmp_path / 'export' / 'a.eml').write_bytes(message(0))
    for one, other in ((top, 'export'), (tmp_path / 'export', 'top')):
        done = bounce('--verify', tmp_path / other, one, fast=False)
        assert done.code == 1 and 'b.eml is empty' in done.err and 'missing 0, changed 0' in done.out


def test_eml_folder_and_single(smtp, tmp_path):
    (tmp_path / 'one.eml').write_bytes(message(1))
    (tmp_path / 'two.EML').write_bytes(b'From x\n' + message(0))
    (tmp_path / 'readme.txt').write_text('no mail')
    messages, _ = received(smtp, tmp_path)
    assert messages == [crlf(message(0)), crlf(message(1))]
    for source in ((tmp_path / 'one.eml', None), ('-', message(1)), ('-', gzip.compress(message(1)))):
        messages, _ = received(smtp, source[0], stdin=source[1])
        assert messages == [crlf(message(1))]


def test_growing_archive_is_noticed(smtp, mbox):
    path = mbox(message(0), message(1))

    def grow(verb, number, _server):
        if verb == 'DOT' and number == 1:
            with path.open('ab') as file:
                file.write(FROM + message(2) + b'\n')
    server = smtp(answer=grow)
    done = bounce(path, 'me@new.test', server.url)
    assert len(server.messages) == 2
    assert 'grew meanwhile' in done.err


def test_replaced_archive_is_noticed(smtp, mbox):
    path = mbox(*[message(n, b'x' * 70 + b'\n') for n in range(9)])

    def replace(verb, _number, _server):
        if verb == 'GREETING':
            path.unlink()
            path.write_bytes(b'')
    done = bounce(path, 'me@new.test', smtp(answer=replace).url)
    assert 'replaced' in done.err


@pytest.mark.parametrize('change', ['moved', 'rewritten', 'emptied'])
def test_changed_files_are_noticed(smtp, tmp_path, change):
    for n in range(40):
        (tmp_path / f'{n:02}.eml').write_bytes(message(n))

    def act(verb, _number, _server):
        if verb == 'GREETING':
            if change == 'moved':
                (tmp_path / '20.eml').rename(tmp_path / 'other')
            else:
                (tmp_path / '20.eml').write_bytes(message(20) + b'more\n' if change == 'rewritten' else b'')
    server = smtp(answer=act)
    done = bounce('--rate', '500/s', tmp_path, 'me@new.test', server.url)
    assert done.code == 1 and done.sums['failed'] == 1 and done.sums['trouble'] is None
    assert server.messages == [crlf(message(n)) for n in range(40) if n != 20]
    assert {'moved': 'moved or deleted', 'rewritten': 'was changed', 'emptied': 'is empty'}[change] in done.err


def test_a_maildir_in_use(smtp, tmp_path):
    """Its messages are read meanwhile by their owner, so their files have other names."""
    for part in ('cur', 'new', 'tmp'):
        (tmp_path / part).mkdir()
    for n in range(40):
        (tmp_path / ('new' if n >= 30 else 'cur') / (f'{n:02}.x' + ('' if n >= 30 else ':2,'))).write_bytes(message(n))

    def read(verb, _number, _server):
        if verb == 'GREETING':
            for n in range(10, 40):
                next(tmp_path.glob(f'*/{n}.x*')).rename(tmp_path / 'cur' / f'{n}.x:2,S')
    server = smtp(answer=read)
    done = bounce('--rate', '500/s', tmp_path, 'me@new.test', server.url)
    assert done.code == 0 and server.messages == [crlf(message(n)) for n in range(40)], done.err


def test_a_byte_order_mark(smtp, tmp_path):
    for start in (FROM, b'From joe\n'):
        (tmp_path / 'mbox').write_bytes(b'\xef\xbb\xbf' + start + message(0) + b'\n' + start + message(1) + b'\n')
        messages, done = received(smtp, tmp_path / 'mbox')
        assert messages == [crlf(message(0)), crlf(message(1))] and 'no mail' not in done.err


def test_what_has_no_date_stays_in_its_place(smtp, tmp_path):
    """Behind the one before, which is older than others."""
    undated = b'Subject: undated\n\nx\n'
    path = tmp_path / 'mbox'
    path.write_bytes(b''.join(b'From joe\n' + text + b'\n' for text in (message(5), message(1), undated, message(3))))
    assert received(smtp, '--format', 'mboxo', path)[0] == list(map(crlf, (message(1), undated, message(3), message(5))))


def test_odd_message_ids(smtp, tmp_path, mbox):
    received(smtp, '-j', tmp_path / 'j', mbox(b'Message-ID: \t<a\x01b@test>\n\nx\n'))
    assert ' <a?b@test>\n' in (tmp_path / 'j').read_text()


@pytest.mark.parametrize('what', ['no mail', 'deep', 'cut', 'packed nothing'])
def test_what_cannot_be_read_is_told(tmp_path, what):
    path = tmp_path / 'tree'
    path.mkdir()
    if what == 'deep':
        path.joinpath(*['x'] * 40).mkdir(parents=True)
    elif what == 'cut':
        (path / 'a.eml').write_bytes(gzip.compress(message(0) * 1000)[:-200])
    elif what == 'packed nothing':
        (path / 'a').write_bytes(gzip.compress(b''))
    done = bounce('--dry-run', path)
    assert done.code == 1 and len(done.err.splitlines()) <= 2
    assert {'deep': 'nested too deeply', 'cut': 'truncated'}.get(what, 'there is no mail in') in done.err


def test_an_archive_that_goes_is_noticed(smtp, mbox):
    path = mbox(*map(message, range(3)))
    done = bounce(path, 'me@new.test', smtp(answer=lambda verb, *_: path.unlink(True) if verb == 'DOT' else None).url)
    assert done.sums['sent'] == 3 and 'is not there any more' in done.err


def test_an_archive_that_shrinks_is_noticed(smtp, mbox):
    """Messages are read ahead: so many that some are not yet."""
    path = mbox(*(message(n, b'text\n' * 2000) for n in range(2000)))
    done = bounce(path, 'me@new.test', smtp(answer=lambda verb, *_: path.write_bytes(FROM) and None
                                           if verb == 'DOT' else None).url)
    assert done.code == 1 and 'start again' in done.err
    assert done.sums['sent'] < 2000


@pytest.mark.parametrize('change', ['flags', 'deleted', 'joined', 'marked', 'delivered', 'delivered to'])
def test_a_mailbox_in_use(smtp, mbox, tmp_path, change):
    """A mail program writes the file anew while it is being sent: no pieces are taken for messages. What comes at its
    end, or keeps its length, does no harm."""
    texts = [message(n, b'text\n' * (n + 1)) for n in range(5)]
    path, server, more = mbox(*(b'X-Mozilla-Status: 0000\n' + text for text in texts)), smtp(), FROM + message(9, b'new\n' * 100) + b'\n'
    if change == 'delivered to':  # of a single file, without the last empty line
        path.write_bytes(path.read_bytes()[:-1])
    before = path.read_bytes()
    after = {'flags': before.replace(b'\nSubject', b'\nStatus: RO\nSubject'),
             'deleted': before[before.index(b'From ', 5):] + more,
             'joined': before.replace(b'\nFrom ', b'\nfrom '),
             'marked': before.replace(b'Status: 0000', b'Status: 0001'),
             'delivered': before + more, 'delivered to': before + b'\n' + more}[change]
    process = subprocess.Popen([PROGRAM, '-d', '0.3', '-j', tmp_path / 'j', path, 'me@new.test', server.url],
                               stderr=subprocess.PIPE)
    until(lambda: server.messages)
    with path.open('r+b') as file:
        file.write(after)
    err = process.communicate(timeout=20)[1].decode()
    whole = list(map(crlf, texts))
    assert server.messages == whole[:len(server.messages)]
    if change in ('flags', 'deleted', 'joined'):
        assert process.returncode == 1 and 'mbox was changed while it was being read' in err
    if change in ('flags', 'deleted'):
        done = bounce('-j', tmp_path / 'j', '--remove', 'Status', path, 'me@new.test', server.url)
        assert done.code == 0 and set(server.messages) >= set(whole)
    elif change != 'joined':
        assert process.returncode == 0 and server.messages == whole, err


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('name', ['tree/1.eml', 'tree/cur/1:2,S', 'letter'])
def test_a_letter_with_a_byte_order_mark(smtp, tmp_path, name, packed):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / 'tree' / 'new').mkdir(parents=True, exist_ok=True)
    text = b'\xef\xbb\xbf' + message(0)
    path.write_bytes(gzip.compress(text) if packed else text)
    assert received(smtp, path if name == 'letter' else tmp_path / 'tree')[0] == [crlf(message(0))]


def test_an_mbox_of_an_old_mac(smtp, mbox, tmp_path):
    """Its lines end in CR: it is no mbox with one empty message."""
    (tmp_path / 'tree').mkdir()
    path = mbox(message(0), message(1), name='tree/Eudora')
    path.write_bytes(path.read_bytes().replace(b'\n', b'\r'))
    done = bounce(path, 'me@new.test', smtp().url)
    assert done.code == 1 and 'end in CR alone' in done.err
    mbox(message(2), name='tree/Inbox')
    messages, done = received(smtp, path.parent)
    assert messages == [crlf(message(2))] and 'passed over' in done.err and 'Eudora' in done.err
