# SPDX-License-Identifier: MIT
"""Everything that mail can be kept in."""
import bz2
import gzip
import lzma
import shutil
import subprocess

import pytest
from conftest import FROM, bounce, crlf, message

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


def test_eml_folder_and_single(smtp, tmp_path):
    (tmp_path / 'one.eml').write_bytes(message(1))
    (tmp_path / 'two.EML').write_bytes(b'From x\n' + message(0))
    (tmp_path / 'readme.txt').write_text('no mail')
    messages, _ = received(smtp, tmp_path)
    assert messages == [crlf(message(0)), crlf(message(1))]
    messages, _ = received(smtp, tmp_path / 'one.eml')
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
