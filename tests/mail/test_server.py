# SPDX-License-Identifier: MIT
"""Servers that refuse, put off, break, lie or listen in; logins and TLS."""
import base64
import hashlib
import hmac
import json
import mailbox
import os
import pathlib
import pty
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
import time
from unittest.mock import ANY

import pytest
from conftest import FROM, PROGRAM, bounce, crlf, message, until


@pytest.fixture(scope='session')
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tls')
    for name, alt in (('good', 'IP:127.0.0.1'), ('other', 'DNS:other.test')):
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                        '-nodes', '-days', '2', '-subj', '/CN=test', '-addext', f'subjectAltName={alt}',
                        '-keyout', folder / f'{name}.key', '-out', folder / f'{name}.pem'],
                       check=True, capture_output=True)
    return folder


def context(folder, name='good'):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f'{name}.pem', folder / f'{name}.key')
    return made


STARTTLS = (b'PIPELINING', b'STARTTLS')


def test_starttls_by_default(smtp, mbox, certificate):
    server = smtp(extensions=STARTTLS, tls=context(certificate))
    done = bounce('--tls-ca', certificate / 'good.pem', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert server.commands[1] == b'STARTTLS'
    assert server.messages == [crlf(message(0))]


@pytest.mark.parametrize('name,ca', [('other', 'other'), ('good', 'other')])
def test_wrong_certificates(smtp, mbox, certificate, name, ca):
    server = smtp(extensions=STARTTLS, tls=context(certificate, name))
    done = bounce('--tls-ca', certificate / f'{ca}.pem', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 1
    assert 'certificate' in done.err
    assert server.messages == []


def test_injection_behind_starttls(smtp, mbox):
    server = smtp(extensions=STARTTLS, tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), answer=lambda verb, *_:
                  b'220 go\r\n250 injected\r\n' if verb == 'STARTTLS' else None)
    done = bounce(mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 1 and 'behind the answer to STARTTLS' in done.err


def test_downgrade(smtp, mbox, certificate):
    """A server that had TLS a moment ago, and now does not offer it any more."""
    def answer(verb, number, server):
        if (verb, number) == ('MAIL', 2):
            server.extensions = (b'PIPELINING',)
            return EOFError()
        return None
    server = smtp(extensions=STARTTLS, tls=context(certificate), answer=answer)
    done = bounce('--tls-ca', certificate / 'good.pem', mbox(message(0), message(1)), 'me@new.test', server.url)
    assert done.code == 1 and 'does not offer STARTTLS' in done.err
    assert server.messages == [crlf(message(0))] and server.accepted == 2


def test_tls_required_and_off(smtp, mbox, certificate):
    done = bounce('--tls', 'required', mbox(message(0)), 'me@new.test', smtp().url)
    assert done.code == 1 and 'does not offer STARTTLS' in done.err
    server = smtp(extensions=STARTTLS, tls=context(certificate))
    assert bounce('--tls', 'off', mbox(message(0)), 'me@new.test', server.url).code == 0
    assert b'STARTTLS' not in server.commands


def test_token_command_is_asked_again(smtp, mbox, tmp_path):
    count = tmp_path / 'count'
    command = f'echo x >> {count}; echo token$(wc -l < {count})'
    said = []

    def answer(verb, number, server):
        if verb == 'AUTH':
            said.append(server.commands[-1])
            return b'535 5.7.8 expired\r\n' if number == 2 else b'235 ok\r\n'
        if verb == 'MAIL' and number == 2:
            return EOFError()
    server = smtp(extensions=(b'AUTH XOAUTH2',), answer=answer)
    done = bounce('--user', 'joe', '--token-command', command, mbox(message(0), message(1)), 'me@new.test',
                  server.url)
    assert done.code == 0, done.err
    assert len(server.messages) == 2
    assert len(said) == 3 and said[0] == said[1] != said[2]


def test_wrong_password(smtp, mbox, tmp_path):
    (tmp_path / 'pw').write_text('secret\n')
    server = smtp(extensions=(b'AUTH PLAIN',), answer=lambda verb, *_: b'535 5.7.8 no\r\n' if verb == 'AUTH' else None)
    done = bounce('--user', 'joe', '--password-file', tmp_path / 'pw', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 1
    assert 'refused the login: 535 5.7.8 no' in done.err
    assert server.counts['AUTH'] == 1


def test_refused_for_good(smtp, mbox, tmp_path):
    rejects = tmp_path / 'rejects'
    server = smtp(answer=lambda verb, n, _: b'554-5.7.1 bad\r\n554 5.7.1 mail\r\n' if (verb, n) == ('DOT', 2) else None)
    done = bounce('--rejects', rejects, '-j', tmp_path / 'j', mbox(*map(message, range(3))), 'me@new.test', server.url)
    assert done.sums['set_aside'] == 1 and done.sums['sent'] == 2
    assert done.sums['messages'][0]['message-id'] == '<m1@test>'
    assert '554 5.7.1 bad mail' in rejects.read_text()
    assert len(mailbox.mbox(rejects)) == 1
    assert 'refused 1' in bounce('--status', tmp_path / 'j', fast=False).out
    again = smtp()
    assert bounce('-j', tmp_path / 'j', rejects, 'me@new.test', again.url).code == 0
    assert again.messages == [crlf(message(1))]


def test_everything_is_refused(smtp, mbox):
    server = smtp(answer=lambda verb, *_: b'550 5.1.1 who?\r\n' if verb == 'RCPT' else None)
    done = bounce(mbox(*map(message, range(20))), 'me@new.test', server.url)
    assert done.code == 1
    assert 'refuses every message: 550 5.1.1 who?' in done.err
    assert done.sums['set_aside'] == 3


@pytest.mark.parametrize('said_to', ['RCPT', 'DOT'])
def test_a_full_mailbox_ends_the_run(smtp, mbox, said_to):
    """552 is no word about the message's size then, but about the recipient."""
    server = smtp((b'SIZE',), lambda verb, *_: b'552 5.2.2 over quota\r\n' if verb == said_to else None)
    done = bounce(mbox(*map(message, range(20))), 'me@new.test', server.url)
    assert done.code == 1 and 'refuses every message: 552 5.2.2 over quota' in done.err
    assert done.sums['set_aside'] == 3


@pytest.mark.parametrize('reply', [b'552 5.3.4 too large', b'552 too large', b'452 4.3.1 no room', b'452 no room'])
def test_large_messages_do_not_hold_up_the_rest(smtp, mbox, reply):
    def answer(verb, _, server):
        if verb == 'MAIL' and int(server.commands[-1].split(b'SIZE=')[1].split()[0]) > 5000:
            return reply + b'\r\n'
    server = smtp((b'SIZE',), answer)
    large = [message(n, b'large\n' * 2000) for n in (0, 1, 2, 9)]
    done = bounce(mbox(*large, *map(message, range(4, 7))), 'me@new.test', server.url)
    assert done.sums['sent'] == 3 and done.sums['set_aside'] == 4 and reply.decode() in done.err


@pytest.mark.parametrize('verb', ['MAIL', 'RCPT', 'DATA', 'DOT'])
@pytest.mark.parametrize('reply', [b'421 closing', b'450 4.2.0 busy', b'451 4.3.0 error', b'452 4.2.2 full', b'454 4.7.1 slow'])
def test_put_off_and_sent(smtp, mbox, verb, reply):
    server = smtp(answer=lambda v, n, _: reply + b'\r\n' if v == verb and n <= 2 else None)
    done = bounce(mbox(*map(message, range(3))), 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert sorted(server.messages) == [crlf(message(n)) for n in range(3)]


@pytest.mark.parametrize('verb, reply, extensions', [
    ('MAIL', b'421 4.7.0 slow', (b'PIPELINING', b'CHUNKING')), ('RCPT', b'421 4.7.0 slow', (b'PIPELINING', b'CHUNKING')),
    ('MAIL', b'421 4.7.0 slow', (b'PIPELINING',)), ('MAIL', b'503 AUTH first', (b'PIPELINING',))])
def test_put_off_each_time(smtp, mbox, verb, reply, extensions):
    """It is left alone for longer each time, and that has an end."""
    server = smtp(extensions, lambda v, *_: reply + b'\r\n' if v == verb else None)
    done = bounce(mbox(*map(message, range(5))), 'me@new.test', server.url)
    assert done.code == 1 and reply.decode() in done.sums['trouble']
    assert server.accepted <= 12


@pytest.mark.parametrize('lines', [60000, 600000])
@pytest.mark.parametrize('reply, times', [(b'421 4.3.0 slow', 3), (b'552 5.3.4 much', 1)])
def test_refused_amid_its_body(smtp, mbox, lines, reply, times):
    server = smtp(answer=lambda verb, *_: reply + b'\r\n' if verb == 'LINE' else None)
    done = bounce(mbox(message(0, b'line\n' * lines)), 'me@new.test', server.url)
    assert done.sums['set_aside'] == 1 and reply.decode() in done.err
    assert server.accepted == times


def test_suggested_backoff(smtp, mbox):
    server = smtp(answer=lambda v, n, _: b'421 4.3.2 Suggested Backoff Time: 700 milliseconds\r\n'
                  if (v, n) == ('DOT', 1) else None)
    started = time.monotonic()
    assert bounce(mbox(message(0)), 'me@new.test', server.url).code == 0
    assert time.monotonic() - started >= 0.7
    assert server.accepted == 2


@pytest.mark.parametrize('reply', [b'550 5.4.5 Daily user sending quota exceeded', b'452 4.5.3 daily limit exceeded',
                                   b'550 5.1.90 recipient rate limit'])
def test_a_quota_of_the_day_pauses(smtp, mbox, tmp_path, reply):
    """… and sets nothing aside; it would go on by itself, had it the time."""
    server = smtp(answer=lambda v, n, _: reply + b'\r\n' if (v, n) == ('DOT', 2) else None)
    path = mbox(*map(message, range(3)))
    process = bounce('-j', tmp_path / 'j', path, 'me@new.test', server.url, popen=True)
    try:
        said = next(line for line in process.stderr if b'going on in' in line)
        assert b'going on in 3600 s' in said
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    sums = json.loads(out)
    assert sums['sent'] in (1, 2) and sums['set_aside'] == sums['failed'] == 0  # the third was on its way
    done = bounce('-j', tmp_path / 'j', path, 'me@new.test', server.url)
    assert done.code == 0 and sorted(server.messages) == [crlf(message(n)) for n in range(3)]


def test_poison(smtp, mbox, tmp_path):
    rejects = tmp_path / 'rejects'

    def answer(verb, _, server):
        if verb == 'MAIL' and b'SIZE=%d' % len(crlf(message(1, b'poison\n'))) in server.commands[-1]:
            return EOFError()
    server = smtp(answer=answer)
    path = mbox(message(0), message(1, b'poison\n'), message(2), message(3))
    done = bounce('--rejects', rejects, path, 'me@new.test', server.url)
    assert done.sums['set_aside'] == 1 and done.sums['sent'] == 3
    assert 'broke' in rejects.read_text()


def test_yahoo_closes_after_20(smtp, mbox):
    server = smtp()
    done = bounce('--provider', 'yahoo', mbox(*map(message, range(50))), 'me@new.test', server.url)
    assert done.code == 0 and len(server.messages) == 50
    assert server.accepted == 3


def test_size_limit(smtp, mbox):
    server = smtp(extensions=(b'SIZE 300', b'PIPELINING'))
    done = bounce(mbox(message(0), message(1, b'x' * 400 + b'\n')), 'me@new.test', server.url)
    assert done.sums['sent'] == 1 and done.sums['set_aside'] == 1
    assert 'takes at most 300' in done.err


@pytest.mark.parametrize('name, args, hello', [('short', (), b'[127.0.0.1]'), ('mx.old.test', (), b'mx.old.test'),
                                               ('short', ('--hello', 'me'), b'me')])
def test_hello(smtp, mbox, name, args, hello):
    """RFC 5321 4.1.3: who has no full name gives its address."""
    server = smtp()
    done = subprocess.run(['unshare', '--uts', 'sh', '-c', f'hostname {name}; exec "$0" "$@"', PROGRAM, *args, mbox(message(0)),
                           'me@new.test', server.url], timeout=20, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert server.commands[0] == b'EHLO ' + hello


@pytest.mark.parametrize('greeting', ids=map(str, range(7)), argvalues=[b'220 ' + b'x' * 100000, b'220-a\r\n' * 20000, b'hello\r\n', b'\0\xff\r\n',
                                      b'550 no\r\n', b'220 a\r\n250 more\r\n', b'999 x\r\n'])
def test_hostile_greetings(smtp, mbox, tmp_path, greeting):
    server = smtp(answer=lambda verb, *_: greeting if verb == 'GREETING' else None)
    done = bounce('-j', tmp_path / 'j', '--timeout', '5', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 1 and done.err.count('\n') < 8
    assert bounce('-j', tmp_path / 'j', mbox(message(0)), 'me@new.test', smtp().url).code == 0


def test_replies_in_pieces(smtp, mbox):
    server = smtp(piece=1, extensions=(b'PIPELINING', b'CHUNKING', b'SIZE'))
    assert bounce(mbox(*map(message, range(5))), 'me@new.test', server.url).code == 0
    assert len(server.messages) == 5


@pytest.mark.parametrize('verb', ['EHLO', 'MAIL', 'DATA', 'DOT'])
@pytest.mark.parametrize('reply', [b'299 odd\r\n', b'354 go\r\n', b'200', b'2\r\n', b'250 a\r\n250 b\r\n'])
def test_wrong_codes_end_cleanly(smtp, mbox, tmp_path, verb, reply):
    server = smtp(answer=lambda v, *_: reply if v == verb else None)
    done = bounce('-j', tmp_path / 'j', '--timeout', '1', mbox(message(0)), 'me@new.test', server.url)
    assert done.code in (0, 1)
    assert bounce('--status', tmp_path / 'j', fast=False).code == 0


def test_silence_times_out(smtp, mbox):
    server = smtp(answer=lambda verb, *_: b'' if verb == 'EHLO' else None)
    done = bounce('--timeout', '1', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 1 and 'not said a word for 1 s' in done.err


def test_silence_on_rset_times_out(smtp, mbox):
    """No message is on the way then. The others take another connection."""
    answers = {('RCPT', 1): b'550 5.1.1 no\r\n', ('RSET', 1): b''}
    server = smtp(extensions=(b'8BITMIME',), answer=lambda verb, number, _: answers.get((verb, number)))
    done = bounce('--timeout', '1', mbox(message(0), message(1)), 'me@new.test', server.url)
    assert server.messages == [crlf(message(1))] and server.accepted == 2, done.err
    assert done.sums['set_aside'] == 1 and done.sums['sent'] == 1


def test_four_connections(smtp, mbox, tmp_path):
    server = smtp()
    path = mbox(*map(message, range(500)))
    assert bounce('--connections', '4', '-j', tmp_path / 'j', path, 'me@new.test', server.url).code == 0
    assert sorted(server.messages) == sorted(crlf(message(n)) for n in range(500))
    assert server.accepted == 4


@pytest.mark.parametrize('late', [False, True])
def test_fewer_connections_than_wanted(smtp, mbox, tmp_path, late):
    """The server takes one at a time, and refuses the others before or after it has said that it takes the first."""
    def answer(verb, number, server):
        if verb == 'GREETING' and number > 1 and server.open > 1:
            return b'421 4.7.0 too many connections\r\n'
        if (verb, late) in (('EHLO', False), ('DOT', True)):
            server.lock.release()
            time.sleep(0.1)
            server.lock.acquire()
    server = smtp(answer=answer)
    done = bounce('--connections', '3', mbox(*map(message, range(30))), 'me@new.test', server.url)
    assert done.code == 0, done.err
    assert server.messages == [crlf(message(n)) for n in range(30)]


def test_check_tells_before(smtp, mbox):
    server = smtp(extensions=(b'SIZE 500', b'PIPELINING'))
    own = b'From: me@new.test\n'
    large = own + message(1, b'x' * 600 + b'\n')
    path = mbox(own + message(0), large, own + message(2, b'\0\n'), own + message(3, b'\xe4\n'),
                own + b'From: b\nDate: Sat, 23 Aug 2008 10:00:04 +0000\n\nx\n',
                b'DKIM-Signature: v=1; d=x; h=From: X-Signed:\n Date; b=x\nX-Signed: 1\n'
                + own + b'Date: Sat, 23 Aug 2008 10:00:05 +0000\n\nx\n')
    done = bounce('--check', '--remove', 'x-signed', path, 'me@new.test', server.url)
    assert done.code == 1
    assert [(m['fate'], m['reason']) for m in done.sums['messages']] == [
        ('set aside', f'it has {len(crlf(large))} bytes, and the server takes at most 500'),
        ('set aside', 'it holds 1 NUL bytes (--repair nul)'),
        ('might be refused', 'it has bytes over 127, and the server does not know 8BITMIME'),
        ('might be refused', 'it has 2 From fields'),
        ('might be refused', 'removing X-Signed breaks its DKIM signature'),
    ]
    assert server.messages == [] and 'MAIL' not in server.counts
    done = bounce('--json', '--check', '--provider', 'gmail', path, 'me@new.test', server.url, fast=False)
    assert done.sums['expected_seconds'] == 7 and 'sending takes 0 min at least' in done.err
    done = bounce('--check', mbox(own + message(0)), 'me@new.test', 'smtp://127.0.0.1:1')
    assert done.code == 0 and 'cannot be asked' in done.err


def test_check_tells_of_dmarc(smtp, mbox):
    def signed(n, by, of=b'Joe <joe@Shop.example>', more=b'', body=b'x\n'):
        return b'From: ' + of + b'\nDKIM-Signature: a=b; h=from:x-a; d=' + by + b'; b=x\n' + more + message(n, body)
    path = mbox(signed(0, b'mail.shop.example'), signed(1, b'other.example'), b'From: "a@b" <c@sub.new.test>\n' + message(2),
                b'From: list:;\n' + message(3), message(4), signed(5, b'shop.example', more=b'X-A: 1\n'),
                signed(6, b'xshop.example'), signed(7, b'shop.example', body=b'a\rb\n'))
    refused = ('neither the sender nor a signature that holds is of shop.example: '
               "refused if that domain's DMARC policy is reject")

    def said(*args):
        done = bounce('--check', '-r', 'X-a', *args)
        return {m['message-id'][2:3]: m['reason'] for m in done.sums['messages']}
    assert said('--repair', 'cr', path, 'me@new.test', smtp().url) == {
        '1': refused, '3': 'its From field has no address', '4': 'it has no From field',
        '5': f'removing X-A breaks its DKIM signature; {refused}', '6': refused,
        '7': f'repairing it breaks its DKIM signature; {refused}'}
    assert '1' not in said('--repair', 'cr', '--sender', 'me@shop.example', path, 'me@new.test', smtp().url)
    # nobody asks for it where a mailbox is written to
    assert set(said('--repair', 'cr', path, 'me@new.test', smtp(lmtp=True).url)) == {'5', '7'}


def test_what_was_delivered_before(smtp, mbox):
    """Postfix's local(8) and qmail-local take a Delivered-To of the recipient's own for a loop, and bounce it."""
    sender = b'From: me@new.test\n'
    path = mbox(b'Delivered-To: you@new.test\n' + sender + message(0),
                *[b'Delivered-To: Me@New.test \n' + sender + message(n) for n in (1, 2)])
    loop, server = 'takes that for a loop', smtp()
    done = bounce(path, 'me@new.test', server.url)
    assert done.code == 0 and done.sums['delivered_before'] == 2 and len(server.messages) == 3
    assert done.err.count(loop) == 1 and '<m1@test> has a Delivered-To of me@new.test' in done.err
    assert 'Delivered-To of the recipient, and may come back: 2 messages\n' in done.err
    done = bounce('--check', path, 'me@new.test', server.url)
    assert [m['message-id'] for m in done.sums['messages'] if loop in m['reason']] == ['<m1@test>', '<m2@test>']
    for args in ('-r', 'delivered-to', path, 'me@new.test', server.url), (path, 'me@new.test', smtp(lmtp=True).url):
        done = bounce(*args)
        assert done.sums['delivered_before'] == 0 and loop not in done.err


def test_broken_signatures_are_told_before_sending(smtp, mbox):
    server = smtp()
    signature = b'DKIM-Signature: h=X-A; d=x\n'
    path = mbox(signature + b'X-A: 1\n' + message(0), signature + message(1), b'X-A: 1\n' + message(2))
    done = bounce('-r', 'x-a', path, 'me@new.test', server.url)
    assert done.code == 0 and 'breaks the DKIM signatures of 1 messages' in done.err
    assert len(server.messages) == 3
    assert 'DKIM' not in bounce(path, 'me@new.test', server.url).err


def test_smtputf8(smtp, mbox):
    """It is said of addresses, which need it; of a header that is UTF-8 where the server refuses that without it."""
    knows = (b'SMTPUTF8', b'8BITMIME', b'PIPELINING')

    def said(*args, extensions=knows, answer=None):
        server = smtp(extensions=extensions, answer=answer)
        done = bounce(*args, server.url)
        return done, [c.endswith(b' SMTPUTF8') for c in server.commands if c.startswith(b'MAIL')]
    path = mbox(b'A: \xc3\xa4\n' + message(0), b'A: \xe4\n' + message(1), message(2, b'\xc3\xa4\n'))
    assert said(path, 'me@new.test')[1] == [False, False, False]
    assert said(path, 'm\u00e9@new.test')[1] == [True, True, True]

    def refuse(verb, _, server):
        last = [c for c in server.commands if c.startswith(b'MAIL')][-1:]
        if verb == 'DOT' and not last[0].endswith(b'SMTPUTF8'):
            return b'550 5.6.7 SMTPUTF8 is required\r\n'
    one = mbox(b'A: \xc3\xa4\n' + message(0), name='one')
    done, mails = said(one, 'me@new.test', answer=refuse)
    assert done.code == 0 and done.sums['sent'] == 1 and mails == [False, True]
    done, mails = said(mbox(b'A: \xe4\n' + message(1), name='other'), 'me@new.test', answer=refuse)
    assert done.sums['set_aside'] == 1 and mails == [False]
    done, mails = said(one, 'me@new.test', extensions=knows[1:], answer=refuse)
    assert done.sums['set_aside'] == 1 and '5.6.7' in done.err and mails == [False]
    done, mails = said(path, 'm\u00e9@new.test', extensions=knows[1:])
    assert done.code == 1 and 'does not offer SMTPUTF8' in done.err and not mails


def test_bytes_over_127_are_told(smtp, mbox):
    path = mbox(message(0, b'\xe4\n'), message(1))
    done = bounce(path, 'me@new.test', smtp(extensions=(b'SIZE',)).url)
    assert done.code == 0 and 'does not offer 8BITMIME: 1 message\n' in done.err
    assert '8BITMIME' not in bounce(path, 'me@new.test', smtp().url).err


def test_set_aside_as_it_is(smtp, tmp_path):
    """Also what looks like a separator, and what is too large to be kept in memory."""
    rejects, letter = tmp_path / 'rejects', tmp_path / 'letter.eml'
    texts = [message(0, b'From here\n>From there\n>>From\n'), message(1, b'From afar\n' * 300000)]
    for text in texts:
        letter.write_bytes(text)
        done = bounce('--rejects', rejects, letter, 'me@new.test', smtp(extensions=(b'SIZE 10',)).url)
        assert done.code == 1 and done.sums['set_aside'] == 1
    again = smtp()
    assert bounce('--order', 'archive', rejects, 'me@new.test', again.url).code == 0
    assert again.messages == list(map(crlf, texts))


def test_half_a_message_set_aside(smtp, mbox, tmp_path):
    """A full disk leaves none; behind the one of a run that died, the next one starts a line."""
    rejects, path, server = tmp_path / 'rejects', mbox(message(1)), smtp(extensions=(b'SIZE 10',))
    before = FROM + message(0, b'x' * 1400 + b'\n\n')
    rejects.write_bytes(before)
    limited = f'ulimit -f {len(before) // 1024 + 1}; exec "$@"'
    large = mbox(message(2, b'large\n' * 500), name='large')
    done = subprocess.run(['bash', '-c', limited, 'bash', PROGRAM, '--rejects', rejects, large, 'me@new.test',
                           server.url], capture_output=True, text=True)
    assert done.returncode == 1 and 'cannot write' in done.stderr
    assert rejects.read_bytes() == before
    for end in (b'half a l', b'a line\n', b'\n'):
        rejects.write_bytes(before + FROM + b'A: 1\n\n' + end)
        assert bounce('--rejects', rejects, path, 'me@new.test', server.url).sums['set_aside'] == 1
        kept = mailbox.mbox(rejects)
        assert [text['Message-ID'] for text in kept] == ['<m0@test>', None, '<m1@test>'], end
        again = smtp()
        assert bounce(rejects, 'me@new.test', again.url).code == 0 and len(again.messages) == 3


def test_ctrl_c_twice_ends_at_once(smtp, mbox, tmp_path):
    """While the server is silent on a message that has left: it is in doubt."""
    process = []

    def answer(verb, *_):
        if verb == 'DOT':
            process[0].send_signal(signal.SIGINT)
            while b'stopping' not in process[0].stderr.readline():
                pass
            process[0].send_signal(signal.SIGINT)
            process[0].wait(20)
            raise EOFError
    server = smtp(answer=answer)
    server.lock.acquire()
    process.append(bounce('-j', tmp_path / 'j', mbox(message(0)), 'me@new.test', server.url, popen=True))
    server.lock.release()
    assert process[0].wait(30) == 1
    process[0].communicate()
    assert 'in doubt 1' in bounce('--status', tmp_path / 'j', fast=False).out


def scram(lie):
    """Answers of a server that knows the password "secret", or only says so."""
    state = {}

    def answer(verb, _number, server):
        if verb == 'AUTH':
            first = base64.b64decode(server.commands[-1].split()[2]).decode()
            state['first'] = first[3:]
            state['server'] = f'{first.split("r=")[1]}x'
            state['challenge'] = f'r={state["server"]},s={base64.b64encode(b"salt").decode()},i=4096'
            return b'334 ' + base64.b64encode(state['challenge'].encode()) + b'\r\n'
        if verb.startswith(('YZ', 'YX')) and 'done' not in state:  # base64 of "c=": its last word
            state['done'] = True
            words = base64.b64decode(server.commands[-1]).decode()
            text = ','.join([state['first'], state['challenge'], words[:words.index(',p=')]]).encode()
            salted = hashlib.pbkdf2_hmac('sha256', b'secret', b'salt', 4096)
            key = hmac.digest(salted, b'Server Key', 'sha256')
            proof = b'v=' + base64.b64encode(hmac.digest(key, text + (b'x' if lie == 'wrong' else b''), 'sha256'))
            return b'235 2.7.0 ok\r\n' if lie == 'none' else b'334 ' + base64.b64encode(proof) + b'\r\n'
        return b'235 2.7.0 ok\r\n' if 'done' in state and verb == '' else None
    return answer


@pytest.mark.parametrize('lie', ['wrong', 'none'])
def test_a_server_that_does_not_know_the_password(smtp, mbox, tmp_path, lie):
    (tmp_path / 'pw').write_text('secret\n')
    server = smtp(extensions=(b'AUTH SCRAM-SHA-256',), answer=scram(lie))
    done = bounce('--user', 'joe', '--password-file', tmp_path / 'pw', mbox(message(0)), 'me@new.test', server.url)
    assert done.code == 1 and server.messages == []
    assert ('the login by SCRAM-SHA-256 failed' if lie == 'wrong' else 'did not prove that it knows') in done.err


@pytest.mark.parametrize('command,said', [('exit 3', 'the command "exit 3" failed'), ('true', 'true gave no password')])
def test_no_password_from_a_command(smtp, mbox, command, said):
    done = bounce('--user', 'joe', '--password-command', command, mbox(message(0)), 'me@new.test',
                  smtp(extensions=(b'AUTH PLAIN',)).url)
    assert done.code == 1 and said in done.err


@pytest.mark.parametrize('redirected', ['', '>&-'])
def test_a_command_that_hangs_is_stopped(smtp, mbox, tmp_path, redirected):
    """With its output open, or closed."""
    number = tmp_path / 'pid'
    process = bounce('--user', 'joe', '--token-command', f'echo $$ > {number}; exec sleep 1000 {redirected}',
                     mbox(message(0)), 'me@new.test', smtp(extensions=(b'AUTH XOAUTH2',)).url, popen=True)
    command = pathlib.Path('/proc', until(lambda: number.exists() and number.read_text(), what='the command').strip())
    try:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
        until(lambda: not command.exists(), what='the end of the command')
    finally:
        process.kill()
        if command.exists():
            os.kill(int(command.name), signal.SIGKILL)
        process.communicate()


def on_terminal(*words, typed):
    """Runs it on a terminal of its own, and types when it asks: its exit status, what it showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(PROGRAM, [PROGRAM, *map(str, words)])
    return till_end(pid, terminal, typed)


def till_end(pid, terminal, typed=b''):
    shown = b''
    try:
        while text := os.read(terminal, 65536):
            shown += text
            if typed and b'Password of' in shown and shown.endswith(b': '):
                os.write(terminal, typed)
                typed = b''
    except OSError:  # its other end is closed
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.parametrize('key,code', [(b'', 0), (b'\x03', -signal.SIGINT)])
def test_unpacking_is_shown(mbox, tmp_path, key, code):
    """A pipe is copied before it is read. Ctrl-C leaves nothing of that."""
    pipe, work, shown = tmp_path / 'pipe', tmp_path / 'work', []
    os.mkfifo(pipe)
    work.mkdir()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PROGRAM, [PROGRAM, '--dry-run', str(pipe)], {**os.environ, 'TMPDIR': str(work)})
    with pipe.open('wb', 0) as file:
        file.write(mbox(message(0)).read_bytes())

        def is_shown():
            file.write(bytes(4096))
            if select.select([terminal], [], [], 0)[0]:
                shown.append(os.read(terminal, 65536))
            return b'unpacking: ' in b''.join(shown)
        until(is_shown, what='a word of it')
        os.write(terminal, key)
        if key:
            until(lambda: os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT), what='the end')
    assert till_end(pid, terminal) == (code, ANY) and list(work.iterdir()) == []


@pytest.mark.parametrize('what', ['checking', 'comparing'])
def test_large_archives_are_no_silence(tmp_path, smtp, what):
    path = tmp_path / 'mbox'
    for n in range(12):  # most of it is no data on the disk
        with path.open('ab') as file:
            file.write(FROM + message(n))
        os.truncate(path, (n + 1) * 30000000)
        with path.open('ab') as file:
            file.write(b'\n\n')
    code, shown = on_terminal(*(('--verify', path, path) if what == 'comparing' else ('--check', path, 'me@new.test', smtp().url)), typed=None)
    assert code == (what == 'checking') and re.search(rf'{what}: \d+ MB \(/', shown), shown


def test_an_error_has_a_line_of_its_own(tmp_path):
    """What was shown while the archive was read makes room for it."""
    (tmp_path / 'zeros').touch()
    os.truncate(tmp_path / 'zeros', 2 << 30)
    code, shown = on_terminal('--dry-run', tmp_path / 'zeros', typed=None)
    assert code == 1 and 'reading: ' in shown
    assert 'reading' not in shown[shown.rindex('\r\033[K'):] and 'holds no mail' in shown


def test_a_terminal(smtp, mbox):
    """It asks for the password, which is not shown, and shows how far it is."""
    server = smtp(extensions=(b'AUTH PLAIN',), answer=lambda verb, *_: b'235 ok\r\n' if verb == 'AUTH' else None)
    code, shown = on_terminal('-d', '0.3', '--user', 'joe', mbox(*map(message, range(3))), 'me@new.test', server.url,
                              typed=b'topsecret\n')
    assert code == 0 and len(server.messages) == 3, shown
    auth = next(line for line in server.commands if line.startswith(b'AUTH PLAIN '))
    assert base64.b64decode(auth.split()[2]) == b'\0joe\0topsecret'
    assert f'Password of joe at {server.url}: ' in shown and 'topsecret' not in shown
    assert re.search(r'\[#+-+\] [12] of 3 messages, .*/s, 0:0\d min left', shown), shown
    assert '\r\033[K' in shown


@pytest.mark.parametrize('typed', [b'\x03', b'\n'])
def test_no_password_on_a_terminal(smtp, mbox, typed):
    server = smtp(extensions=(b'AUTH PLAIN',))
    code, shown = on_terminal('--user', 'joe', mbox(message(0)), 'me@new.test', server.url, typed=typed)
    assert code == 1 and server.messages == []
    assert typed == b'\x03' or 'the terminal gave no password' in shown


def test_servers_that_cannot_be_had(mbox, smtp, certificate, tmp_path):
    for words, said in ((['smtp://a..b'], 'cannot find a..b: '),
                        (['--tls-ca', tmp_path / 'none', smtp(extensions=STARTTLS, tls=context(certificate)).url],
                         'reading the file of --tls-ca'),
                        ([smtp(extensions=STARTTLS, answer=lambda verb, *_: b'454 4.7.0 no\r\n'
                               if verb == 'STARTTLS' else None).url], '454 4.7.0 no')):
        done = bounce(*words[:-1], mbox(message(0)), 'me@new.test', words[-1])
        assert done.code == 1 and said in done.err, done.err


def test_certificates_by_name(smtp, mbox, certificate):
    """"localhost" stands in none of them."""
    server = smtp(extensions=STARTTLS, tls=context(certificate))
    done = bounce('--tls-ca', certificate / 'good.pem', mbox(message(0)), 'me@new.test',
                  f'smtp://localhost:{server.port}')
    assert done.code == 1 and 'certificate' in done.err and server.messages == []


def test_check_tells_what_to_repair(smtp, mbox):
    path = mbox(b'From: a@new.test\n\n\0a\rb\n', b'From: a@new.test\n\n' + b'x' * 2000 + b'\n')
    done = bounce('--check', '-d', '6000', '--sender', 'a@new.test', path, 'me@new.test', smtp().url, fast=False)
    assert 'it holds 1 NUL bytes (--repair nul); it holds 1 CR without LF (--repair cr)' in done.err
    assert 'it has a line of 2000 bytes (--repair long)' in done.err
    assert 'sending takes 3.3 hours at least' in done.err
    done = bounce('--check', '-d', '200000', path, 'me@new.test', smtp().url, fast=False)
    assert 'sending takes 4.6 days at least' in done.err
    server = smtp(answer=lambda verb, *_: EOFError() if verb == 'EHLO' else None)
    done = bounce('--check', path, 'me@new.test', server.url)
    assert 'the server cannot be asked for its limits: ' in done.err and 'closed the connection' in done.err


def test_check_asks_in_vain(smtp, mbox):
    """A silent server, and one that closes right behind its answer, before anything was made of that."""
    path = mbox(b'From: me@new.test\nno field\n' + message(0))
    silent = smtp(answer=lambda verb, *_: b'' if verb == 'EHLO' else None)
    done = bounce('--check', '--timeout', '1', path, 'me@new.test', silent.url)
    assert done.code == 0 and 'limits: ' in done.err and 'has not said a word for 1 s' in done.err

    def answer(verb, _number, server):
        if verb != 'EHLO':
            return None
        process[0].send_signal(signal.SIGSTOP)
        connection[0].sendall(server.hello())
        connection[0].shutdown(socket.SHUT_RDWR)
        process[0].send_signal(signal.SIGCONT)
        return EOFError()
    server, process, connection = smtp(answer=answer), [], []
    talk = server.talk
    server.talk = lambda sockets: (connection.append(sockets[0]), talk(sockets))
    with server.lock:
        process.append(bounce('--check', path, 'me@new.test', server.url, popen=True))
    err = process[0].communicate(timeout=20)[1].decode()
    assert process[0].returncode == 0 and f'limits: {server.url} closed the connection' in err, err


def test_check_knows_both_limits(smtp, mbox):
    """Pauses of 1.1 s let fewer through in a day than the 86,400 that are allowed."""
    path = mbox(*[b'From: me@new.test\nDate: Sat, 23 Aug 2008 10:00:00 +0000\n\nx\n'] * 86410)
    done = bounce('--json', '--check', '--provider', 'gmail', path, 'me@new.test', smtp().url, fast=False)
    assert done.sums['expected_seconds'] == 95051, done.sums


def test_silence_in_the_handshake(mbox):
    with socket.create_server(('127.0.0.1', 0)) as listener:
        url = f'smtps://127.0.0.1:{listener.getsockname()[1]}'
        done = bounce('--timeout', '1', mbox(message(0)), 'me@new.test', url)
    assert done.code == 1 and f'the TLS handshake with {url}: Connection timed out' in done.err


def test_no_password_without_a_terminal(smtp, mbox):
    done = subprocess.run([PROGRAM, '--user', 'joe', mbox(message(0)), 'me@new.test', smtp().url], timeout=20,
                          capture_output=True, text=True, check=False, start_new_session=True)
    assert done.returncode == 1 and 'no password: give --password-file or --password-command' in done.stderr


def test_in_words(smtp, mbox, tmp_path):
    """Without --json: what was found, and what is in doubt."""
    server = smtp(answer=lambda verb, *_: EOFError() if verb == 'DOT' else None)
    done = bounce('-j', tmp_path / 'j', mbox(message(0)), 'me@new.test', server.url, fast=False)
    assert done.code == 1 and 'failed 1 (1 in doubt)' in done.out
    letters = tmp_path / 'letters'
    letters.mkdir()
    (letters / '1.eml').write_bytes(message(1))
    assert f'{letters}: 1 message, .eml (it has .eml files)' in bounce('--dry-run', letters, fast=False).err


def test_a_long_pause_parts(smtp, mbox, tmp_path):
    """For longer than 20 s no connection is kept."""
    process = []

    def answer(verb, *_):
        if verb == 'QUIT':
            process[0].send_signal(signal.SIGINT)
    server = smtp(answer=answer)
    with server.lock:
        process.append(bounce('-d', '60', '-j', tmp_path / 'j', mbox(message(0), message(1)), 'me@new.test', server.url,
                              fast=False, popen=True))
    out = process[0].communicate(timeout=20)[0].decode()
    assert 'sent 1 ' in out and 'left: 1' in out and server.messages == [crlf(message(0))]


def test_the_other_loopback(smtp, mbox):
    """A password goes in clear to this machine itself, by IPv6 too."""
    server = smtp(extensions=(b'AUTH PLAIN',), answer=lambda verb, *_: b'235 ok\r\n' if verb == 'AUTH' else None)
    listener = socket.create_server(('::1', 0), family=socket.AF_INET6)

    def accept():
        server.serve(listener.accept()[0])
    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    done = bounce('--user', 'joe', '--password-command', 'echo secret', mbox(message(0)), 'me@new.test',
                  f'smtp://[::1]:{listener.getsockname()[1]}')
    listener.close()
    assert done.code == 0 and server.messages == [crlf(message(0))], done.err
    thread.join(10)
