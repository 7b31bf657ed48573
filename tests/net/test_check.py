# SPDX-License-Identifier: MIT
"""portmirror check: what it says of a mirror that is whole, and of one that is not."""
import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import threading

import pytest

from lab import ethernet

UNKNOWN = '02:00:00:00:aa:aa'


def mirror(pm, *options, ports=('vnet1',), to='ids0'):
    pm('add', 'ids', *[word for port in ports for word in ('--from', f'port:{port}')],
       '--to', f'port:{to}', *options)


def socket_at_eth0():
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(('eth0', 0))
    return sock


@contextlib.contextmanager
def traffic(lab, to=None):
    """Frames from the first machine to the second and back, as long as this lasts."""
    def talk():
        number = 0
        while not done.wait(0.001):
            number += 1
            for sock, frame in ways:
                sock.send(frame + b'%d' % number)

    a, b = lab.machines[:2]
    lab.ping()
    ways = [(one.inside(socket_at_eth0), ethernet(to or other.mac, one.mac, 0x88b5, b''))
            for one, other in ((a, b), (b, a))]
    done, thread = threading.Event(), threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for sock, _ in ways:
            sock.close()


def check(pm, *options, status=0):
    proof = pm.check('ids', *options)
    assert (proof['verdict'] != 'whole') == status, proof
    frames = proof['frames']
    assert frames['expected'] == frames['copied'] + frames['lost'] + frames['altered']
    return proof


def test_a_whole_mirror(lab, pm):
    mirror(pm, ports=('vnet1', 'vnet2'))
    with traffic(lab):
        proof = check(pm)
    frames = proof['frames']
    assert proof['verdict'] == 'whole' and frames['copied'] == frames['expected'] > 20
    assert proof['reason'] == f'every one of {frames["expected"]:,} frames was copied once'
    assert not proof['ended_early'] and proof['seconds'] == pytest.approx(0.5, abs=0.01)
    # What one sends the other receives.
    for source in proof['sources']:
        assert source['sent'] > 10 and source['received'] > 10
    assert [source['port'] for source in proof['sources']] == ['vnet1', 'vnet2']


def test_for_people(lab, pm):
    mirror(pm)
    with traffic(lab):
        text = pm.check_text('ids')
    first, *_, last = text.splitlines()
    assert first.startswith('ids to ids0: 0.3 s, ') and 'probes' not in text
    assert last.startswith('whole: every one of ') and last.endswith(' frames was copied once')
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()}
    assert rows['copied'][0] == rows['expected'][0] != '0'
    assert [rows[name][0] for name in ('lost', 'doubled', 'altered', 'unseen')] == ['0'] * 4
    assert len(rows['vnet1']) == 5 and rows['SOURCE'] == ['SENT', 'RECEIVED', 'BYTES', 'UNSEEN']


def test_its_own_frames_for_people(lab, pm):
    mirror(pm)
    with traffic(lab):
        lines = pm.check_text('ids', '--probe').splitlines()
    number, words = lines[1].split(None, 1)
    assert words == 'of the frames are probes of this check' and int(number) > 0


def test_a_mirror_that_can_not_be_looked_at(lab, pm):
    """There is no descriptor for the sockets at its ports."""
    mirror(pm)
    limited = ['prlimit', '--nofile=5', *map(str, pm.command('check', 'ids'))]
    result = lab.host.run(*limited, check=False, env={**os.environ, **pm.env})
    assert result.returncode == 1 and 'Too many open files' in result.stderr and result.stderr.count('\n') == 1


def test_only_what_the_filter_takes(lab, pm):
    mirror(pm, '--filter', 'ether proto 0x88b6')
    with traffic(lab):
        proof = check(pm, '--probe', status=1)
    assert proof['verdict'] == 'nothing' and proof['frames']['expected'] == 0
    assert 'lets no probe through' in proof['advice']


def test_lost_copies(lab, pm):
    lab.host.ip('link add elsewhere type veth peer name end', 'link set elsewhere up')
    lab.host.tc('qdisc add dev ids0 clsact',
                'filter add dev ids0 egress protocol all u32 match u32 0 0 '
                'action mirred egress redirect dev elsewhere')
    mirror(pm)
    with traffic(lab):
        proof = check(pm, status=1)
        assert proof['verdict'] == 'broken'
        assert proof['frames']['lost'] == proof['frames']['expected'] > 10
        assert proof['advice'].endswith('portmirror doctor')
        text = pm.check_text('ids', status=1)
    assert 'broken: of ' in text and 'portmirror doctor' in text


def test_doubled_copies(lab, pm):
    """The destination is a port of the bridge as well, which floods to it."""
    mirror(pm)
    lab.host.ip('link set ids0 master br0')
    with traffic(lab, to=UNKNOWN):
        proof = check(pm, status=1)
    assert proof['verdict'] == 'broken' and proof['frames']['doubled'] > 10
    assert proof['frames']['lost'] == 0


def test_doubled_at_a_bridge_s_own_device(lab, pm):
    """What enters at a port and reaches the host: the device shows it again, as if it had come anew."""
    bridge = '02:00:00:00:00:fe'
    lab.host.ip(f'link set br0 address {bridge}')
    mirror(pm, ports=('vnet1', 'br0'))
    with traffic(lab, to=bridge):
        proof = check(pm, status=1)
    # The second machine's port is no source: what it sends to the host is copied at the device alone.
    assert proof['verdict'] == 'broken' and not proof['frames']['lost']
    assert 10 < proof['frames']['doubled'] < proof['frames']['expected']
    assert all(source['sent'] > 10 for source in proof['sources'])
    pm('rm', 'ids')
    mirror(pm, ports=('vnet1', 'vnet2', 'br0'))
    with traffic(lab, to=bridge):
        proof = check(pm, '--probe')
    assert proof['frames']['copied'] > 20


def test_frames_of_others(lab, pm):
    lab.host.ip('address add 10.9.0.1/24 dev ids0')
    mirror(pm)
    with traffic(lab):
        with lab.host.popen('ping', '-q', '-i', '0.01', '-b', '10.9.0.255',
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as ping:
            try:
                proof = check(pm)
            finally:
                ping.terminate()
    assert proof['verdict'] == 'whole' and proof['frames']['other'] > 5


def test_silence_proves_nothing(lab, pm):
    mirror(pm)
    proof = check(pm, status=1)
    assert proof['verdict'] == 'nothing' and proof['frames']['expected'] == 0
    assert '--probe' in proof['advice']


@pytest.mark.lab(machines=11)
def test_probes(lab, pm):
    mirror(pm, '--direction', 'received', ports=('vnet*',))
    proof = check(pm, '--probe')
    assert proof['verdict'] == 'whole' and proof['probes'] == 1100
    assert [source['received'] for source in proof['sources']] == [100] * 11
    assert proof['reason'] == 'every one of 1,100 frames was copied once'
    assert proof['advice'] is None


def test_probes_fit_the_device(lab, pm):
    lab.host.ip('link set vnet1 mtu 100')
    mirror(pm, '--direction', 'received', ports=('vnet1',))
    proof = check(pm, '--probe')
    assert proof['verdict'] == 'whole' and proof['probes'] == proof['frames']['copied'] == 100
    assert proof['sources'][0]['bytes'] <= 100 * 114


@pytest.mark.ordinary  # (LeakSanitizer can't look while strace does)
def test_probes_that_go_out_late(lab, pm):
    """On a machine so slow that the time is up before the last probes have gone out, these count too."""
    mirror(pm, '--direction', 'received', ports=('vnet*',))
    late = ['strace', '-f', '-qq', '-o', '/dev/null', '-e', 'inject=sendto:delay_enter=3000']
    proof = pm.check('ids', '--probe', seconds=0.3, by=late)
    assert proof['verdict'] == 'whole' and proof['probes'] == 200 and proof['seconds'] > 0.3
    assert [source['received'] for source in proof['sources']] == [100, 100]


def test_probes_do_not_show_what_machines_send(lab, pm):
    mirror(pm)
    proof = check(pm, '--probe', status=1)
    assert proof['verdict'] == 'nothing' and proof['frames']['copied'] == 100
    assert proof['advice'].startswith('let the mirrored machines send something')


def test_little_traffic(lab, pm):
    """It says so, though what was seen is whole."""
    mirror(pm, '--direction', 'sent')
    a, b = lab.machines
    with on_terminal(pm, '--seconds', '1', '--json') as (process, master):
        wait_for(master, 'checking')
        a.send([ethernet(b.mac, a.mac, 0x88b5, b'%d' % number) for number in range(3)])
        proof = json.loads(process.communicate(timeout=10)[0])
    assert process.returncode == 0 and proof['reason'] == 'every one of 3 frames was copied once'
    assert proof['advice'].startswith('that is little traffic')


@pytest.mark.parametrize('ending', [signal.SIGINT, signal.SIGTERM])
def test_ending_early(lab, pm, ending):
    mirror(pm)
    for _ in range(5):  # on a busy machine it may be blind
        with traffic(lab), on_terminal(pm, '--seconds', '3000') as (process, master):
            shown = wait_for(master, ' frames compared')
            assert 'checking ids: 0 of 3000 s' in shown
            process.send_signal(ending)
            out, _ = process.communicate(timeout=10)
        if '\nblind: ' not in out:
            break
    assert process.returncode == 0
    assert '(ended early)' in out and '\nwhole: every one of ' in out


@contextlib.contextmanager
def on_terminal(pm, *options):
    """The process, with stderr on a terminal, and the terminal's other end."""
    master, slave = pty.openpty()
    with pm.popen('check', 'ids', *options, stdout=subprocess.PIPE, stderr=slave) as process:
        os.close(slave)
        try:
            yield process, master
        finally:
            process.kill()
            os.close(master)


def wait_for(terminal, text):
    output = ''
    while text not in output:
        assert select.select([terminal], [], [], 10)[0], output
        output += os.read(terminal, 4096).decode()
    return output


def test_the_progress_is_wiped_off(lab, pm):
    mirror(pm)
    with traffic(lab), on_terminal(pm, '--seconds', '0.3') as (process, master):
        assert 'lost' in wait_for(master, ' lost (Ctrl-C ends it here) ')
        out, _ = process.communicate(timeout=10)
        output = ''
        with contextlib.suppress(OSError):  # the other end is closed
            while more := os.read(master, 4096):
                output += more.decode()
    assert output.endswith('\r\x1b[K') and 'checking' not in out


def refusal(pm, *arguments, status=1):
    result = pm('check', *arguments, status=status)
    assert result.stdout == ''
    return result.stderr


def test_what_is_here_of_a_fleet(lab, pm):
    """The same file is on each host: what is not mirrored here is named, and no fault."""
    mirror(pm, ports=('vnet1', 'later', 'never'))
    absent = ['waiting for the source port:later', 'waiting for the source port:never']
    with traffic(lab):
        proof = check(pm)
        lines = pm.check_text('ids').splitlines()
    assert proof['verdict'] == 'whole' and proof['reasons'] == absent
    assert [source['port'] for source in proof['sources']] == ['vnet1']
    assert lines[1:3] == absent and lines[-1].startswith('whole: ')


@pytest.mark.engine('tc')  # by removing its qdisc
def test_what_cannot_be_checked(lab, pm):
    assert refusal(pm, 'nobody') == 'portmirror: there is no session named nobody\n'
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:later')
    assert refusal(pm, 'ids') == ('portmirror: ids: waiting for the destination '
                                  'port:later; only a session that is whole can be checked\n')
    pm('rm', 'ids')
    mirror(pm, ports=('later',))
    assert refusal(pm, 'ids') == ('portmirror: ids: waiting for the source port:later; '
                                  'there is nothing to check yet\n')
    pm('rm', 'ids')
    mirror(pm, ports=('vnet1', 'later'))
    lab.host.tc('qdisc del dev vnet1 clsact')
    assert 'the kernel differs from what is saved; portmirror apply mends it' in refusal(pm, 'ids')
    (pm.sessions / 'ids.yaml').write_text('to: port:ids0\nfrm: port:vnet1\n')
    assert 'ids: ' in refusal(pm, 'ids')


@pytest.mark.parametrize('seconds', ['0', '-1', '3601', 'long', ''])
def test_impossible_seconds(lab, pm, seconds):
    assert "'--seconds' takes seconds from 0.1 to 3600" in \
        refusal(pm, 'ids', f'--seconds={seconds}', status=2)
