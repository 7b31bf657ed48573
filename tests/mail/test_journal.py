# SPDX-License-Identifier: MIT
"""Nothing is lost, and nothing is sent twice but what was reported in doubt, wherever it dies."""
import collections
import pathlib
import re
import signal
import time

import pytest
from conftest import bounce, crlf, message

def check(server, journal, path, count):
    """Resumes after a death; returns how many messages were in doubt."""
    server.rests()
    before = bounce('--status', journal, fast=False) if journal.exists() else None
    doubt = before.out.count('in doubt: ') if before else 0
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert done.sums['in_doubt'] == doubt, (done.err, before.out)
    expected = collections.Counter(crlf(message(n)) for n in range(count))
    got = collections.Counter(server.messages)
    assert not got - expected, 'something was sent twice'
    assert sum((expected - got).values()) <= doubt, 'something was lost'
    done = bounce('-j', journal, '--resend-doubtful', path, 'me@new.test', server.url)
    got = collections.Counter(server.messages)
    assert not expected - got, 'something was lost'
    assert sum((got - expected).values()) <= doubt, 'more was doubled than was in doubt'
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert done.sums['already_sent'] == count
    return doubt


def test_repaired_later(smtp, mbox, tmp_path):
    """What was sent without a repair, or with one header more, is not sent again with it, nor the other way round."""
    server, journal = smtp(), tmp_path / 'journal'
    path = mbox(message(0, b'x' * 1500 + b'\n'), message(1, b'a\0b\n'), b'X-Old: 1\n' + message(2), message(3))
    assert bounce('-j', journal, path, 'me@new.test', server.url).sums['sent'] == 3
    done = bounce('-j', journal, '--repair', 'all', '--remove', 'X-Old', path, 'me@new.test', server.url)
    assert (done.sums['sent'], done.sums['already_sent']) == (1, 3), done.err
    assert server.messages[3:] == [crlf(message(1, b'ab\n'))]
    assert bounce('-j', journal, path, 'me@new.test', server.url).sums['already_sent'] == 4


def test_journal_of_the_first_release(smtp, mbox, tmp_path):
    """A message was known there by what was sent of it."""
    server, journal = smtp(), tmp_path / 'journal'
    assert bounce('-j', journal, mbox(message(2)), 'me@new.test', server.url).sums['sent'] == 1
    done = bounce('-j', journal, '--remove', 'X-Old', mbox(b'X-Old: 1\n' + message(2)), 'me@new.test', server.url)
    assert (done.sums['sent'], done.sums['already_sent']) == (0, 1)


@pytest.mark.parametrize('chunking', [False, True])
@pytest.mark.parametrize('when', ['before', 'after', 'half'])
def test_dies_at_every_step(smtp, mbox, tmp_path, preload, chunking, when):
    path = mbox(*map(message, range(3)))
    extensions = [b'PIPELINING', *([b'CHUNKING'] if chunking else [])]
    counter = tmp_path / 'count'
    bounce('-j', tmp_path / 'whole', path, 'me@new.test', smtp(extensions=extensions).url,
           env={'LD_PRELOAD': preload, 'COUNT_FILE': str(counter)})
    steps = int(counter.read_text())
    assert steps > 8
    for step in range(1, steps + 1):
        server = smtp(extensions=extensions)
        journal = tmp_path / f'journal{step}'
        died = bounce('-j', journal, path, 'me@new.test', server.url,
                      env={'LD_PRELOAD': preload, 'KILL_AT': str(step), 'KILL_WHEN': when})
        assert died.code in (-signal.SIGKILL, 0, 1)  # the thread's steps move
        check(server, journal, path, 3)


@pytest.mark.parametrize('verb', ['GREETING', 'EHLO', 'MAIL', 'RCPT', 'DATA', 'LINE', 'DOT', 'QUIT'])
def test_dies_at_every_kind_of_byte(smtp, mbox, tmp_path, verb):
    path = mbox(*map(message, range(4)))
    process = []

    def kill(said, number, server):
        if said == verb and number == (2 if verb in ('MAIL', 'RCPT', 'DATA', 'LINE', 'DOT') else 1) and not process[0].poll():
            process[0].kill()
            process[0].wait()
            server.answer = lambda *_: None
    server = smtp(answer=kill)
    journal = tmp_path / 'journal'
    server.lock.acquire()
    process.append(bounce('-j', journal, path, 'me@new.test', server.url, popen=True))
    server.lock.release()
    process[0].communicate(timeout=20)
    if not journal.exists():
        journal.touch()
    doubt = check(server, journal, path, 4)
    # with DATA and after it, the answer to a body that has left may still be on its way
    assert doubt <= (verb in ('MAIL', 'RCPT', 'DATA', 'LINE', 'DOT'))
    assert verb != 'DOT' or doubt == 1


@pytest.mark.parametrize('verb,number', [('EHLO', 1), ('MAIL', 2), ('RCPT', 2), ('DATA', 2), ('LINE', 3), ('DOT', 2)])
def test_the_connection_breaks(smtp, mbox, tmp_path, verb, number):
    path = mbox(*map(message, range(4)))

    def cut(said, count, server):
        if said == verb and count == number:
            server.answer = lambda *_: None
            return EOFError()
        return None
    server = smtp(answer=cut)
    journal = tmp_path / 'journal'
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    if verb == 'EHLO':  # the server has never been seen to work: not tried again
        assert done.code == 1
        return
    lost = {'DOT': 1, 'LINE': 0}.get(verb)  # its last byte had left
    assert done.sums['in_doubt'] == (lost is not None), done.err
    assert sorted(server.messages) == [crlf(message(n)) for n in range(4) if n != lost]


def test_a_power_loss_makes_intents_doubtful(smtp, mbox, tmp_path, preload):
    path = mbox(message(0), message(1))
    journal = tmp_path / 'journal'
    server = smtp()
    for step in range(1, 20):
        journal.unlink(missing_ok=True)
        bounce('-j', journal, path, 'me@new.test', server.url,
               env={'LD_PRELOAD': preload, 'KILL_AT': str(step)})
        text = journal.read_text()
        if ' intent ' in text and ' go ' not in text:
            break
    assert 'in doubt 0' in bounce('--status', journal, fast=False).out
    boot = pathlib.Path('/proc/sys/kernel/random/boot_id').read_text().strip()
    bounce('-j', journal, '/dev/null', 'me@new.test', server.url)
    lines = [line for line in text.splitlines() if ' run ' not in line]
    other = tmp_path / 'other'
    other.write_text('\n'.join(lines) + '\n')  # no run line: a boot that is not this one
    assert 'in doubt 2' in bounce('--status', other, fast=False).out
    assert boot in text


def test_torn_and_damaged(smtp, mbox, tmp_path):
    path = mbox(*map(message, range(3)))
    server = smtp()
    journal = tmp_path / 'journal'
    bounce('-j', journal, path, 'me@new.test', server.url)
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-5] + b'\0' * 100)
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert 'healed' in done.err
    assert done.sums['already_sent'] == 2 and done.sums['in_doubt'] == 1
    lines = whole.split(b'\n')
    lines[3] = lines[3].replace(b'intent', b'imtent')
    journal.write_bytes(b'\n'.join(lines))
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert done.code == 1 and 'line 4' in done.err and 'damaged' in done.err
    assert len(server.messages) == 3


def test_another_target(smtp, mbox, tmp_path):
    """What was sent anywhere counts as sent; that it was elsewhere is told."""
    first, second = smtp(), smtp()
    journal, path = tmp_path / 'journal', mbox(message(0))
    assert 'journal is of' not in bounce('-j', journal, path, 'me@new.test', first.url).err
    assert 'journal is of' not in bounce('-j', journal, path, 'me@new.test', first.url).err
    for recipient, server in (('me@new.test', second), ('you@new.test', second)):
        told = bounce('--status', journal, fast=False).out.split(' went to ')[1].strip()
        done = bounce('-j', journal, path, recipient, server.url)
        assert f'the journal is of mail to {told}: ' in done.err and done.sums['already_sent'] == 1
        assert f'not sent to {recipient} at {server.url} again' in done.err


def test_mail_is_no_journal(smtp, mbox):
    """Another folder, named by mistake, is not written to."""
    other, path = mbox(message(0), name='Sent'), mbox(message(1))
    before = other.read_bytes()
    for done in bounce('-j', other, path, 'me@new.test', smtp().url), bounce('--status', other, fast=False):
        assert done.code == 1 and f'{other} is mail, an mbox, and no journal' in done.err
    assert other.read_bytes() == before


def test_two_runs_on_one_journal(smtp, mbox, tmp_path):
    journal = tmp_path / 'journal'
    second = []

    def answer(verb, *_):
        if verb == 'MAIL':
            second.append(bounce('-j', journal, path, 'me@new.test', 'smtp://127.0.0.1:1'))
    path = mbox(message(0))
    assert bounce('-j', journal, path, 'me@new.test', smtp(answer=answer).url).code == 0
    assert second[0].code == 1 and 'in use' in second[0].err


def test_copies_are_counted(smtp, mbox, tmp_path):
    server = smtp()
    path = mbox(message(0), message(0), message(1))
    journal = tmp_path / 'journal'
    assert bounce('-j', journal, path, 'me@new.test', server.url).sums['sent'] == 3
    assert bounce('-j', journal, path, 'me@new.test', server.url).sums['already_sent'] == 3
    status = bounce('--status', journal, fast=False).out
    assert status.startswith('sent 3, in doubt 0, refused 0, left 0')


def test_ctrl_c_ends_after_the_message_under_way(smtp, mbox, tmp_path):
    path = mbox(*map(message, range(50)))
    journal = tmp_path / 'journal'
    process = []

    def answer(verb, number, _server):
        if verb == 'DOT' and number == 3:
            process[0].send_signal(signal.SIGINT)
    server = smtp(answer=answer)
    server.lock.acquire()
    process.append(bounce('-d', '0.02', '-j', journal, path, 'me@new.test', server.url, popen=True,
                          fast=False))
    server.lock.release()
    out, err = process[0].communicate(timeout=20)
    assert process[0].returncode == 1
    assert b'stopping' in err
    assert 3 <= len(server.messages) <= 5
    assert server.commands[-1] == b'QUIT'
    done = bounce('-j', journal, path, 'me@new.test', server.url)
    assert done.sums['in_doubt'] == 0
    assert sorted(server.messages) == sorted(crlf(message(n)) for n in range(50))
    assert b'left: 4' in out and b'without --journal' not in err


def line(text):
    """With its checksum: FNV-1a, folded."""
    value = 0xcbf29ce484222325
    for byte in text:
        value = (value ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return b'@%08x %s\n' % ((value ^ value >> 32) & 0xffffffff, text)


def test_a_used_up_day(smtp, mbox, tmp_path):
    """What earlier runs sent counts: the next one waits, and says how long."""
    journal, server = tmp_path / 'journal', smtp()
    journal.write_bytes(line(b'at %d' % time.time()) + line(b'go ' + b'a' * 64) * 28800)
    process = bounce('--provider', 'office365', '-j', journal, mbox(message(0)), 'me@new.test', server.url, popen=True,
                     fast=False)
    for said in process.stderr:
        if b'of a day are sent' in said:
            break
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=20)[0]
    assert re.fullmatch(rb'bounce-mbox: the 28800 messages of a day are sent; going on in 24\.\d hours\n', said), said
    assert process.returncode == 1 and b'left: 1' in out and server.accepted == 0
