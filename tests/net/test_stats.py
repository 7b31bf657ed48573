# SPDX-License-Identifier: MIT
"""portmirror stats: what was copied and lost, once, as lines, and as a live view."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from lab import ethernet

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454ca, 0x2, 0x1000


def mirror(pm, *options, name='ids', ports=('vnet1',)):
    pm('add', name, *[word for port in ports for word in ('--from', f'port:{port}')],
       '--to', 'port:ids0', *options)


def talk(lab, frames=10, size=100):
    """So many frames of so many bytes from the first machine to the second."""
    a, b = lab.machines[:2]
    a.send([ethernet(b.mac, a.mac, 0x88b5, bytes([i]) * (size - 14)) for i in range(frames)])


@pytest.mark.engine('tc', 'bpf', 'clsact')
def test_what_goes_on_without_its_file(lab, pm):
    """It can't be read any more; what copies stays, and is told as it is."""
    mirror(pm, ports=('vnet1', 'vnet2'))
    (pm.sessions / 'ids.yaml').write_text('from: [port:vnet1\n')
    talk(lab, 10, 100)
    for told in pm.json('stats')[0], pm.json('list')[0]:
        assert (told['state'], told['destination']) == ('failed', 'ids0')
    assert told['ports'] == ['vnet1', 'vnet2'] and told['destinations'] == ['ids0']
    counted = pm.json('stats')[0]
    assert counted['copied']['frames'] == 10
    assert [source['port'] for source in counted['sources']] == ['vnet1', 'vnet2']
    assert counted['sources'][0]['sent']['frames'] >= 10
    assert pm('list').stdout.splitlines()[1].split() == ['ids', 'failed', '2']
    assert 'to ids0 ' in pm('stats').stdout
    assert [line.split(maxsplit=1) for line in pm('show', 'ids').stdout.splitlines()[-2:]] == [
        ['ports', 'vnet1 vnet2'], ['destination', 'ids0']]
    assert pm.json('apply', status=1)['done'] == []


def test_totals(lab, pm):
    lab.ping()
    mirror(pm, ports=('vnet1', 'vnet2'))
    before = pm.json('stats', 'ids')[0]
    assert before['copied'] == {'frames': 0, 'bytes': 0}
    talk(lab, 10, 100)
    after = pm.json('stats', 'ids')[0]
    # Frames that a machine sends tc counts at ingress, where the Ethernet header is off.
    assert after['copied'] == {'frames': 10, 'bytes': 10 * (86 if pm.engine == 'tc' else 100)}
    assert (after['lost_before'], after['lost_at']) == (0, 0)
    assert (after['name'], after['state'], after['destination']) == ('ids', 'whole', 'ids0')
    for old, new, way, other in zip(before['sources'], after['sources'], ('sent', 'received'),
                                    ('received', 'sent')):
        assert new['port'] == old['port']
        assert new[way]['frames'] - old[way]['frames'] == 10
        assert new[way]['bytes'] - old[way]['bytes'] == 1000
        assert new[other] == old[other]


@pytest.mark.parametrize('direction', ['sent', 'received'])
def test_only_the_directions_of_the_session(lab, pm, direction):
    mirror(pm, '--direction', direction)
    source, = pm.json('stats')[0]['sources']
    assert source.keys() == {'port', direction} | ({'copies'} if pm.engine != 'tc' else set())


def test_copies_that_the_destination_does_not_take(lab, pm):
    lab.ping()
    mirror(pm)
    lab.host.ip('link set ids0 down')
    talk(lab, 7)
    assert pm.json('stats', 'ids')[0]['lost_before'] == 7


def attach(tap):
    """Holds the tap open, as a machine monitor does."""
    device = open('/dev/net/tun', 'rb+', buffering=0)
    fcntl.ioctl(device, TUNSETIFF, struct.pack('16sH22x', tap.encode(), IFF_TAP | IFF_NO_PI))
    return device


def test_frames_that_the_destination_drops(lab, pm, wait_until):
    lab.ping()
    # Nobody reads from this tap, and its queue of one frame is full at once.
    lab.host.ip('tuntap add tap9 mode tap', 'link set tap9 txqueuelen 1', 'link set tap9 up')
    with lab.host.inside(lambda: attach('tap9')):
        wait_until(lambda: lab.host.json('ip', '-j', 'link', 'show', 'tap9')[0]['operstate'] == 'UP')
        pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:tap9')
        talk(lab, 9)
        session, = pm.json('stats')
    assert session['copied']['frames'] == 9 and session['lost_at'] >= 8


def test_the_table(lab, pm):
    lab.ping()
    mirror(pm)
    talk(lab, 3)
    titles, session, source = pm('stats').stdout.splitlines()
    assert titles.split() == ['SESSION', 'STATE', 'PORT', 'FRAMES', 'BYTES', 'LOST', 'BEFORE',
                              'LOST', 'AT', 'SHED']
    size = '258' if pm.engine == 'tc' else '300'
    assert session.split() == ['ids', 'whole', 'to', 'ids0', '3', size, 'B', '0', '0', '0']
    assert source.split()[:2] == ['from', 'vnet1']


def test_without_sessions(lab, pm):
    assert 'no session is saved' in pm('stats').stdout
    assert pm.json('stats') == []
    assert pm('stats', 'nobody', status=1).stderr == \
        'portmirror: there is no session named nobody\n'


@pytest.mark.parametrize('seconds', ['0', '0.05', '3601', '1.2.3', 'x', '.'])
def test_impossible_seconds(lab, pm, seconds):
    assert "'--watch' takes seconds from 0.1 to 3600" in \
        pm('stats', f'--watch={seconds}', status=2).stderr


@contextlib.contextmanager
def piped(pm, *arguments, every='0.1'):
    with pm.popen('stats', '-w', every, *arguments, stdout=subprocess.PIPE,
                  stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process, seconds=10):
    """What it prints from now on, line by line; so long at most."""
    end = time.monotonic() + seconds
    for line in process.stdout:
        assert time.monotonic() < end, 'what was waited for did not happen'
        yield line


def test_lines_for_programs(lab, pm):
    lab.ping()
    mirror(pm)
    mirror(pm, name='web', ports=('vnet2',))
    with piped(pm) as process:
        columns = process.stdout.readline().split()
        assert columns == ['TIME', 'SESSION', 'FRAMES', 'BYTES', 'FRAMES/S', 'BITS/S',
                           'LOST_BEFORE', 'LOST_AT', 'SHED']
        talk(lab, 5)
        totals = {}
        for line in lines(process):
            row = dict(zip(columns, line.split(), strict=True))
            assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', row['TIME'])
            totals[row['SESSION']] = int(row['FRAMES'])
            # The second session sees the same frames leave, and ids0 has them already.
            if totals == {'ids': 5, 'web': 0}:
                break
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0 and process.stderr.read() == ''


def test_a_line_comes_at_once(lab, pm):
    """Not when there are enough of them to fill a buffer."""
    mirror(pm)
    with piped(pm, every='0.5') as process:
        start = time.monotonic()
        assert process.stdout.readline().startswith('TIME')
        assert time.monotonic() < start + 0.4
        assert ' ids ' in process.stdout.readline()
        assert time.monotonic() < start + 5


def test_json_lines(lab, pm):
    lab.ping()
    mirror(pm)
    with piped(pm, '--json') as process:
        rates, frames = [], 0
        assert json.loads(process.stdout.readline())['sessions'][0]['copied']['frames'] == 0
        talk(lab, 50)
        for line in lines(process):
            session, = json.loads(line)['sessions']
            frames = session['copied']['frames']
            rates.append(session['copied']['frames_per_second'])
            assert session['sources'][0]['sent'].keys() == session['copied'].keys()
            if frames == 50 and rates[-1] == 0:
                break
        process.terminate()
        assert process.wait(5) == 0
    # All in one or two times of a tenth of a second, more or less.
    assert 50 < max(rates) < 1000


def test_a_session_that_comes_and_goes(lab, pm):
    with piped(pm, '--json') as process:
        def wait_for(names):
            next(line for line in lines(process)
                 if [s['name'] for s in json.loads(line)['sessions']] == names)

        wait_for([])
        mirror(pm)
        wait_for(['ids'])
        pm('rm', 'ids')
        wait_for([])
    mirror(pm)
    with piped(pm, 'ids') as process:
        process.stdout.readline()
        pm('rm', 'ids')
        assert process.wait(5) == 1
        assert process.stderr.read() == 'portmirror: there is no session named ids\n'


def test_a_reader_that_goes_away(lab, pm):
    mirror(pm)
    with piped(pm) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(5) == -signal.SIGPIPE
        assert process.stderr.read() == ''


class Terminal:
    """The program on a pseudo-terminal, and what a screen would show of it."""

    def __init__(self, pm, *arguments, rows=20, columns=100, stdin=None, stderr=None, before=()):
        self.master, slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(slave)
        options = os.environ.get('ASAN_OPTIONS', '') + (':detect_leaks=0' if before else '')
        self.process = pm.namespace.popen(
            *before, *pm.command('stats', '-w', *arguments), stdin=stdin or slave, stdout=slave,
            stderr=stderr or slave, start_new_session=True,
            env={**os.environ, 'PORTMIRROR_ROOT': str(pm.root), 'TERM': 'xterm', 'NO_COLOR': '',
                 'ASAN_OPTIONS': options})
        self.slave, self.output = slave, ''

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, columns, 0, 0))

    def read(self, seconds=5):
        assert select.select([self.master], [], [], seconds)[0], f'silence after {self.output!r}'
        self.output += os.read(self.master, 1 << 16).decode()

    def wait_for(self, text):
        """Until it is written, forgetting all before it."""
        while text not in self.output:
            self.read()
        self.output = self.output[self.output.index(text):]

    def end(self):
        status = self.process.wait(5)
        while select.select([self.master], [], [], 0)[0]:
            self.output += os.read(self.master, 1 << 16).decode()
        return status, termios.tcgetattr(self.slave) == self.before

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.slave)
        os.close(self.master)


@pytest.fixture
def on_terminal(pm):
    """on_terminal(…): a Terminal that ends with the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **size: stack.enter_context(
            contextlib.closing(Terminal(pm, *arguments, **size)))


@pytest.mark.parametrize('ending', ['q', signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_live_view_puts_the_terminal_back(lab, pm, on_terminal, ending):
    mirror(pm)
    terminal = on_terminal()
    terminal.wait_for('\x1b[?1049h')
    terminal.wait_for('ids0')
    assert termios.tcgetattr(terminal.slave) != terminal.before
    if ending == 'q':
        os.write(terminal.master, b'q')
    else:
        terminal.process.send_signal(ending)
    status, restored = terminal.end()
    assert status == 0 and restored
    assert terminal.output.endswith('\x1b[?7h\x1b[?25h\x1b[?1049l')


def test_the_live_view_is_suspended_and_goes_on(lab, pm, on_terminal, wait_until):
    mirror(pm)
    terminal = on_terminal()
    terminal.wait_for('ids0')
    terminal.process.send_signal(signal.SIGTSTP)
    terminal.wait_for('\x1b[?1049l')
    stat = f'/proc/{terminal.process.pid}/stat'
    wait_until(lambda: open(stat).read().rpartition(')')[2].split()[0] == 'T')
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for('\x1b[?1049h')
    terminal.wait_for('ids0')
    os.write(terminal.master, b'q')
    assert terminal.end() == (0, True)


def test_the_live_view_follows_the_window(lab, pm, on_terminal):
    mirror(pm, ports=('vnet1', 'vnet2'))
    terminal = on_terminal('60', rows=20)
    terminal.wait_for('from vnet2')
    terminal.resize(4, 100)
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.wait_for('… and 3 more lines')
    assert 'from vnet' not in terminal.output
    os.write(terminal.master, b'q')
    assert terminal.end() == (0, True)


def test_the_live_view_shows_losses_in_red(lab, pm, on_terminal):
    lab.ping()
    mirror(pm)
    lab.host.ip('link set ids0 down')
    terminal = on_terminal('0.1')
    terminal.wait_for('from vnet1')
    assert '\x1b[31m' not in terminal.output
    talk(lab, 7)
    terminal.wait_for('\x1b[31m7 (+')
    terminal.wait_for('\x1b[31m7\x1b[0m')  # none is added any more
    os.write(terminal.master, b'q')
    assert terminal.end() == (0, True)


def test_the_live_view_of_nothing(lab, pm, on_terminal):
    terminal = on_terminal('0.1')
    terminal.wait_for('no session is saved')
    mirror(pm)
    terminal.wait_for('from vnet1')
    os.write(terminal.master, b'q')
    assert terminal.end() == (0, True)


def test_the_live_view_goes_on_when_nobody_can_press_a_key(lab, pm, on_terminal, wait_until):
    """The keyboard's terminal is gone: it is not asked again and again."""
    keyboard, slave = pty.openpty()
    terminal = on_terminal('3600', stdin=slave)
    terminal.wait_for('every 3600 s')
    os.close(slave)
    os.close(keyboard)
    terminal.output = ''
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.wait_for('every 3600 s')
    wait_until(lambda: ') S ' in open(f'/proc/{terminal.process.pid}/stat').read())
    terminal.process.terminate()
    assert terminal.end() == (0, True)


def test_the_live_view_ends_with_its_terminal(lab, pm):
    """Also where no SIGHUP tells of that: nobody would see what it draws, nor could end it."""
    mirror(pm)
    terminal = Terminal(pm, '0.1', stderr=subprocess.PIPE)
    terminal.wait_for('ids0')
    os.close(terminal.slave)
    os.close(terminal.master)
    assert terminal.process.wait(10) == 1
    assert terminal.process.stderr.read() == "portmirror: can't write the output: Input/output error\n"


def test_the_live_view_where_the_terminal_has_no_size(lab, pm, on_terminal):
    mirror(pm)
    terminal = on_terminal(rows=0, columns=0)
    terminal.wait_for('ids0')
    os.write(terminal.master, b'q')
    assert terminal.end() == (0, True)


def test_the_live_view_that_can_not_begin_leaves_the_terminal_alone(lab, pm, on_terminal, tmp_path):
    mirror(pm)
    terminal = on_terminal(before=['strace', '-D', '-o', tmp_path / 'trace', '-e', 'trace=signalfd4', '-e',
                                   'inject=signalfd4:error=EMFILE:when=2'])
    assert terminal.end() == (1, True)
    assert terminal.output.count('\n') == 1 and '\x1b[?' not in terminal.output
    assert terminal.output.endswith(" can't watch: Too many open files\r\n")


def test_an_error_is_told_on_the_terminal_as_it_was(lab, pm, on_terminal):
    mirror(pm)
    terminal = on_terminal('0.1', 'ids')
    terminal.wait_for('ids0')
    pm('rm', 'ids')
    status, restored = terminal.end()
    assert status == 1 and restored
    assert 'there is no session named ids' in terminal.output.rpartition('\x1b[?1049l')[2]


def test_the_busiest_first(lab, pm):
    mirror(pm, ports=('vnet1', 'vnet2'))
    with piped(pm, '--json') as process:
        for line in lines(process):
            sources = json.loads(line)['sessions'][0]['sources']
            if [source['port'] for source in sources] == ['vnet2', 'vnet1']:
                break
            lab.host.send([b'x' * 1000], 'vnet2')
