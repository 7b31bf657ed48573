# SPDX-License-Identifier: MIT
"""The program of the post, to the letter, and the exact bytes that reach the server."""
import gzip
import subprocess

import pytest
from conftest import FROM, PROGRAM, bounce, crlf, message


POSTS_OPTIONS = ('-h, --help', '-p, --port PORT', '-r, --remove LIST', '-d, --delay SECS', '-j, --journal JOURNAL')


def test_without_arguments():
    done = bounce(fast=False)
    assert done.code == 2
    assert 'Usage: bounce-mbox [OPTION…] mbox-file recipient smtp-server' in done.err
    for option in POSTS_OPTIONS:
        assert option in done.err
    assert done.out == ''


def test_help():
    done = bounce('-h', fast=False)
    assert done.code == 0
    for option in POSTS_OPTIONS:
        assert option in done.out


def test_port_remove_and_default_headers(smtp, mbox):
    server = smtp()
    path = mbox(b'X-Mozilla-Status: 0001\nX-Mozilla-Status2: 00000000\nX-MOZILLA-KEYS: $label1\n'
                b'From: a@test\nX-Other: 1\n 2\nx-third: 3\nFCC: here\n\n\nbody\n')
    done = bounce('-p', server.port, '-r', 'X-OTHER,x-Third', path, 'me@new.test', '127.0.0.1')
    assert done.code == 0, done.err
    assert server.messages == [b'From: a@test\r\n\r\n\r\nbody\r\n']
    assert b'RCPT TO:<me@new.test>' in server.commands
    assert server.commands[1].startswith(b'MAIL FROM:<me@new.test>')


def test_the_posts_journal(smtp, mbox, tmp_path):
    server = smtp()
    journal = tmp_path / 'journal'
    journal.write_text('<m1@test>\nm3@test')
    path = mbox(*map(message, range(5)))
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert done.sums['already_sent'] == 2
    assert server.messages == [crlf(message(n)) for n in (0, 2, 4)]
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert done.sums['already_sent'] == 5
    assert len(server.messages) == 3


def test_delay(smtp, mbox):
    server = smtp()
    done = bounce('-d', '0.2', '--json', mbox(*map(message, range(4))), 'me@new.test', server.url,
                  fast=False)
    assert len(server.messages) == 4
    assert 0.6 <= done.sums['seconds'] < 3


def test_oldest_first(smtp, mbox):
    server = smtp()
    path = mbox(message(3), message(1), message(2))
    assert bounce(path, 'me@new.test', server.url).code == 0
    assert server.messages == [crlf(message(n)) for n in (1, 2, 3)]
    assert bounce('--order', 'archive', path, 'me@new.test', server.url).code == 0
    assert server.messages[3:] == [crlf(message(n)) for n in (3, 1, 2)]


ODDITIES = {
    'unquote': (b'A: 1\n\n>From x\n>>From y\n', b'A: 1\n\nFrom x\n>From y\n'),
    'bare From': (b'A: 1\n\nFrom here on\nx\n', b'A: 1\n\nFrom here on\nx\n'),
    'space quote stays': (b'A: 1\n\n From x\n', b'A: 1\n\n From x\n'),
    'leak': (b'>From x\nA: 1\nFrom y\nB: 2\n\nx\n', b'A: 1\nB: 2\n\nx\n'),
    'no final newline': (b'A: 1\n\nx', b'A: 1\n\nx\n'),
    'crlf': (b'A: 1\r\n\r\nx\r\ny\n', b'A: 1\n\nx\ny\n'),
    'eight bit': (b'A: \xe4\n\n\xf6\n', b'A: \xe4\n\n\xf6\n'),
    'long': (b'A: 1\n\n' + b'x' * 70000 + b'\n', b'A: 1\n\n' + b'x' * 70000 + b'\n'),
    'two From': (b'From: a\nFrom: b\n\nx\n', b'From: a\nFrom: b\n\nx\n'),
    'dots': (b'A: 1\n\n.\n..\n.x\n', b'A: 1\n\n.\n..\n.x\n'),
    'folds': (b'A: 1\n\t 2 \n\nx\n', b'A: 1\n\t 2 \n\nx\n'),
    'no body': (b'A: 1\n\n', b'A: 1\n\n'),
}


@pytest.mark.parametrize('name', ODDITIES)
@pytest.mark.parametrize('chunking', [False, True])
def test_exact_bytes(smtp, mbox, name, chunking):
    server = smtp(extensions=[b'PIPELINING', *([b'CHUNKING'] if chunking else [])])
    sent, expected = ODDITIES[name]
    done = bounce(mbox(sent), 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert server.messages == [crlf(expected)]


OLD = b'From joe@test Sat Aug 23 10:00:00 2008\n'
# whole archives: what they hold, what is asked for, and the messages that reach the server
ARCHIVES = {
    'mboxo: one quote goes': (OLD + b'A: 1\n\n>From x\n> From\n\n', (), [b'A: 1\n\nFrom x\n> From\n']),
    'mboxo: told so': (OLD + b'A: 1\n\n>>From x\n\n', ('--format', 'mboxo'), [b'A: 1\n\n>>From x\n']),
    'mboxrd': (OLD + b'A: 1\n\n>From x\n>>From y\n>>>From z\n\n', (), [b'A: 1\n\nFrom x\n>From y\n>>From z\n']),
    'mboxcl2: separators in a body': (
        OLD + b'Content-Length: 46\n\n' + OLD + b'A: 9\n\n\n' + OLD + b'Content-Length: 2\nA: 2\n\nx\n\n', (),
        [b'\n' + OLD + b'A: 9\n\n\n', b'A: 2\n\nx\n']),
    'lengths that lie': (
        OLD + b'Content-Length: 3\nA: 1\n\nlonger\n\n' + OLD + b'Content-Length: 9999\nA: 2\n\nx\n', (),
        [b'A: 1\n\nlonger\n', b'A: 2\n\nx\n']),
    'thunderbird: no empty line before a separator': (
        FROM + b'A: 1\nB: 1\n\nx\n' + FROM + b'A: 2\nB: 2\n\ny\n', (), [b'A: 1\nB: 1\n\nx\n', b'A: 2\nB: 2\n\ny\n']),
    'thunderbird: CRLF, and a sender in the separator': (
        b'From a@test Sat Aug 23 10:00:00 2008\r\nX-Mozilla-Status: 0001\r\nA: 1\r\n\r\n>From x\r\n\r\n', (),
        [b'A: 1\n\nFrom x\n']),
    'one empty line ends a message, others are its own': (
        FROM + b'A: 1\n\nx\n\n\n' + FROM + b'A: 2\n\ny\n', (), [b'A: 1\n\nx\n\n', b'A: 2\n\ny\n']),
    'a bare From that nothing follows that is a header': (
        FROM + b'A: 1\n\nx\n\nFrom where I stand\nall is well\n\n', (), [b'A: 1\n\nx\n\nFrom where I stand\nall is well\n']),
    'quoted by a blank: kept': (FROM + b'A: 1\n\n From x\n', (), [b'A: 1\n\n From x\n']),
    'quoted by a blank: taken off when told': (FROM + b'A: 1\n\n From x\n', ('--repair', 'space'), [b'A: 1\n\nFrom x\n']),
    'mixed line ends': (FROM + b'A: 1\r\nB: 2\n\r\nx\ny\r\n', (), [b'A: 1\nB: 2\n\nx\ny\n']),
    'no Message-ID, twice the same': (2 * (FROM + b'A: 1\n\nx\n\n'), (), 2 * [b'A: 1\n\nx\n']),
    'a Message-ID that is shared': (
        FROM + b'Message-ID: <a@b>\n\nx\n\n' + FROM + b'Message-ID: <a@b>\n\ny\n\n', (),
        [b'Message-ID: <a@b>\n\nx\n', b'Message-ID: <a@b>\n\ny\n']),
    'the headers of other programs stay': (
        OLD + b'Status: RO\nX-Status: A\nX-KMail-MDN-Sent:\nX-Evolution: 0001\nX-UID: 7\nX-Keywords: a\n\nx\n', (),
        [b'Status: RO\nX-Status: A\nX-KMail-MDN-Sent:\nX-Evolution: 0001\nX-UID: 7\nX-Keywords: a\n\nx\n']),
    'a long line, broken when told': (
        FROM + b'A: 1\n\n' + b'x' * 1500 + b'\n', ('--repair', 'long'), [b'A: 1\n\n' + b'x' * 998 + b'\n' + b'x' * 502 + b'\n']),
    'bytes before the first message': (b'junk\n\n' + FROM + b'A: 1\n\nx\n', ('--format', 'mboxrd'), [b'A: 1\n\nx\n']),
}


@pytest.mark.parametrize('name', ARCHIVES)
def test_exact_messages(smtp, tmp_path, name):
    server = smtp()
    held, asked, expected = ARCHIVES[name]
    (tmp_path / 'archive').write_bytes(held)
    done = bounce('-j', tmp_path / 'j', '--order', 'archive', *asked, tmp_path / 'archive', 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert server.messages == [crlf(text) for text in expected]
    done = bounce('-j', tmp_path / 'j', *asked, tmp_path / 'archive', 'me@new.test', server.url)
    assert done.sums['already_sent'] == len(expected)


DAMAGED = {
    'nul': (b'A: 1\n\nx\0y\n', b'A: 1\n\nxy\n'),
    'cr': (b'A: 1\n\nx\ry\n', b'A: 1\n\nx\ny\n'),
}


@pytest.mark.parametrize('name', DAMAGED)
def test_damage_is_repaired_only_as_told(smtp, mbox, tmp_path, name):
    server = smtp()
    sent, expected = DAMAGED[name]
    path = mbox(sent)
    rejects = tmp_path / 'rejects'
    done = bounce('--rejects', rejects, path, 'me@new.test', server.url)
    assert done.code == 1
    assert done.sums['set_aside'] == 1
    assert '--repair ' + name in done.err
    assert server.messages == []
    done = bounce('--repair', name, rejects, 'me@new.test', server.url)
    assert done.sums['repaired'] == 1
    assert server.messages == [crlf(expected)]


def test_what_is_set_aside_again_stands_there_once(smtp, mbox, tmp_path):
    server, rejects, journal = smtp(), tmp_path / 'rejects', tmp_path / 'journal'
    odd = [b'A: 1\n\nx\0y\n', b'A: 2\n\nFrom x\0\n\n', b'A: 1\n\nx\0y\n', b'A: 3\n\nx\r\r\nFrom\r\n']
    path = mbox(*(text.replace(b'\nFrom x', b'\n>From x') for text in odd))
    for _ in range(3):
        done = bounce('-j', journal, '--rejects', rejects, path, 'me@new.test', server.url)
        assert done.sums['set_aside'] == 4 and server.messages == []
    done = bounce('-j', journal, rejects, 'me@new.test', server.url)
    assert done.sums['set_aside'] == 4 and server.messages == []
    done = bounce('-j', journal, '--repair', 'all', rejects, 'me@new.test', server.url)
    repaired = [b'A: 1\n\nxy\n', b'A: 1\n\nxy\n', b'A: 2\n\nFrom x\n\n', b'A: 3\n\nx\n\nFrom\n']
    assert done.code == 0 and sorted(server.messages) == list(map(crlf, repaired))


def test_expunged_and_internal_are_skipped(smtp, mbox):
    server = smtp()
    path = mbox(b'X-Mozilla-Status: 0009\nA: 1\n\nx\n', b'X-Mozilla-Status: 0400\nA: 2\n\nx\n',
                b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1\n\nx\n")
    done = bounce(path, 'me@new.test', server.url)
    assert done.sums['skipped'] == 2
    assert 'only in part' in done.err
    assert server.messages == [b'A: 2\r\n\r\nx\r\n']
    bounce('--with-expunged', path, 'me@new.test', server.url)
    assert len(server.messages) == 3


def test_large_message(smtp, mbox):
    server = smtp()
    body = b''.join(b'%d .From here\n.\n' % n for n in range(400000))
    done = bounce(mbox(message(0, body), message(1)), 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert server.messages == [crlf(message(0, body)), crlf(message(1))]


def test_lmtp_and_sender(smtp, mbox):
    server = smtp(lmtp=True)
    done = bounce('--sender', 'joe@old.test', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert server.commands[0].startswith(b'LHLO ')
    assert server.commands[1].startswith(b'MAIL FROM:<joe@old.test>')


def test_resent(smtp, mbox):
    server = smtp()
    bounce('--resent', '--hello', 'h.test', mbox(message(0)), 'me@new.test', server.url)
    lines = server.messages[0].split(b'\r\n')
    assert lines[0].startswith(b'Resent-Date: ')
    assert lines[1:3] == [b'Resent-From: <me@new.test>', b'Resent-To: <me@new.test>']
    assert server.messages[0].endswith(crlf(message(0)))


def test_bad_words():
    for words in (['a', 'b'], ['/dev/null', 'noaddress', 'x'], ['/dev/null', 'a@b', 'ftp://x'],
                  ['/dev/null', 'a@b', 'smtp://u:secret@x'], ['--format', 'x', '/dev/null', 'a@b', 'x'],
                  ['--rate', 'fast', '/dev/null', 'a@b', 'x'], ['-d', '-1', '/dev/null', 'a@b', 'x']):
        done = bounce(*words, fast=False)
        assert done.code == 2, words
        assert 'secret' not in done.out
    for words, said in (
            (['--status', 'a', 'b'], '--status takes one argument'),
            (['--verify', 'a', 'b', 'c'], '--verify takes the archive'),
            (['--verify', '-', '-'], "can't both be standard input"),
            (['--verify', 'imap://x', 'b'], "give the account's name"),
            (['/dev/null', 'imap://x'], "give the account's name"),
            (['--user', 'a', '--password-file', 'a', '--token-file', 'b', 'x', 'a@b', 'x'], 'one password is enough'),
            (['--password-file', 'a', 'x', 'a@b', 'x'], 'whose password is it?'),
            (['--connections', '0', 'x', 'a@b', 'x'], '--connections'),
            (['--tls', 'maybe', 'x', 'a@b', 'x'], '"maybe" is none of off, optional, required'),
            (['x', 'imap://a@b/Work'], '"imap://a@b/Work" names more than a server; --folder names a mailbox'),
            (['--folder', '', 'x', 'imap://a@b'], '--folder: "" is no mailbox'),
            (['--folder', 'Old/', 'x', 'imap://a@b'], '--folder: "Old/" is no mailbox'),
            (['--folder', 'Old', 'x', 'a@b', 'c'], '--folder: there are no mailboxes at smtp://c:25'),
            (['--auth', 'NTLM', 'x', 'a@b', 'c'], '--auth: "NTLM" is none of SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN'),
            (['x', 'a@b'], 'imaps://ACCOUNT@SERVER'),
            (['x', 'a@b', 'x' * 400], 'the name of the server is too long'),
            (['x', 'a@b', 'lmtp:///' + 'x' * 200], 'the path of the server is too long')):
        done = bounce(*words, fast=False)
        assert done.code == 2 and said in done.err, (words, done.err)
    assert '"x" is none of oldest, archive' in bounce('--order', 'x', 'a', 'b@c', 'd', fast=False).err
    assert '"x" is none of gmail, office365' in bounce('--provider', 'x', 'a', 'b@c', 'd', fast=False).err


def test_what_is_set_aside_goes_behind_whatever_is_there(smtp, mbox, tmp_path):
    rejects, server = tmp_path / 'rejects', smtp(extensions=(b'SIZE 1000',))
    rejects.write_text('a note of mine\n')
    done = bounce('--rejects', rejects, mbox(message(0, b'large\n' * 300)), 'me@new.test', server.url)
    assert done.code == 1 and done.sums['set_aside'] == 1
    assert rejects.read_text().startswith('a note of mine\n') and 'X-Bounce-Mbox-Refused: ' in rejects.read_text()


@pytest.mark.parametrize('option', ['--rejects', '--journal'])
@pytest.mark.parametrize('packed', [False, True])
def test_the_archive_is_not_written_to(smtp, mbox, tmp_path, option, packed):
    """The file of what was set aside is sent again by the same command."""
    (tmp_path / 'tree').mkdir()
    path = mbox(b'A: 1\n\nx\0y\n', name='tree/old')
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    before = path.read_bytes()
    for archive in (path, path.parent):
        done = bounce(option, path, archive, 'me@new.test', smtp().url)
        assert done.code == 1 and 'is part of the archive' in done.err
        assert path.read_bytes() == before
    with path.open('rb') as stdin:
        done = subprocess.run([PROGRAM, option, path, '-', 'me@new.test', smtp().url], stdin=stdin, capture_output=True, timeout=30)
    assert done.returncode == 1 and b'is part of the archive' in done.stderr
    assert path.read_bytes() == before


def test_missing_archive_and_no_mbox(tmp_path):
    done = bounce(tmp_path / 'none', 'a@b', 'smtp://127.0.0.1:1')
    assert done.code == 1 and 'cannot open' in done.err
    done = bounce('--status', tmp_path / 'none', fast=False)
    assert done.code == 1 and 'cannot open the journal' in done.err
    (tmp_path / 'x').write_bytes(b'\x7fELF nothing like mail')
    done = bounce(tmp_path / 'x', 'a@b', 'smtp://127.0.0.1:1')
    assert done.code == 1 and 'no mail' in done.err


def test_dry_run(mbox, tmp_path):
    done = bounce('--dry-run', '-j', tmp_path / 'j', mbox(message(0), message(1)), 'a@b', 'nowhere.test')
    assert done.code == 0
    assert done.sums['skipped'] == 2
    assert not (tmp_path / 'j').exists()
    assert FROM and done.sums['folders'][0]['format'] == 'thunderbird'
    done = bounce('--dry-run', mbox(message(0)))
    assert done.code == 0 and done.sums['skipped'] == 1
