# SPDX-License-Identifier: MIT
"""What ./demo tells: story.py PROGRAM FOLDER [--keep | --clean]. The folder is portmirror's root."""
import collections
import os
import pathlib
import re
import shlex
import shutil
import signal
import sys
import textwrap
import threading
import time

import lab

PROGRAM, ROOT, WISH = sys.argv[1], pathlib.Path(sys.argv[2]), ''.join(sys.argv[3:])
KEPT = {name: f'demo-{name}' for name in ('host', 'web1', 'db1', 'sensor')}
ADD = ['add', 'ids', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:ids0']
PAUSE = 0.005  # seconds between two megabytes: a busy machine, too, is to look at each frame
COLOUR = sys.stdout.isatty() and 'NO_COLOR' not in os.environ and os.environ.get('TERM') != 'dumb'


def paint(code, text):
    return f'\033[{code}m{text}\033[m' if COLOUR else text


def heading(text):
    print('\n' + paint('1', text) + '\n')


def tell(text):
    print(textwrap.indent(text.rstrip('\n'), '    '), flush=True)


def without_object(script):
    """The script with its program file told by its size: nobody enjoys reading base64."""
    def told(found):
        return f"{found[1]}… {found[2].count(chr(10))} lines of base64: the program's file …\n{found[3]}"

    return re.sub(r"(<<'END'\n)(.*?)(^END$)", told, script, flags=re.S | re.M)


def table(head, rows):
    """Columns of text, the numbers to the right."""
    rows = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        cells = [cell.rjust(width) if cell[:1].isdigit() or row is head and number > 0
                 else cell.ljust(width) for number, (cell, width) in enumerate(zip(row, widths))]
        tell(paint('2', '   '.join(cells)) if row is head else '   '.join(cells))


class Story:
    def __init__(self, made):
        self.lab = made
        self.web1, self.db1 = made.machines
        self.whole = True

    def portmirror(self, *arguments, quiet=False):
        """Runs it on the host as a person would, and shows the command and what it says."""
        if not quiet:
            tell(paint('36', '# portmirror ' + shlex.join(arguments)))
        env = {**os.environ, 'PORTMIRROR_ROOT': str(ROOT)}
        result = self.lab.host.run(PROGRAM, *arguments, check=False, env=env)
        if not quiet and result.stdout + result.stderr:
            tell(result.stdout + result.stderr)
        if result.returncode != 0:
            self.whole = False
        return result.stdout

    def scene(self):
        heading('A host with a bridge, two machines on it, and a sensor beside it')
        tell('web1 10.0.0.1 ─── vnet1 ─┐\n'
             '                         ├─ br0      ids0 ─── sensor\n'
             'db1  10.0.0.2 ─── vnet2 ─┘')
        print('\nAll four are network namespaces made for this; no cable leads out of them. A bridge '
              'sends a\nframe only to the port that it is meant for, so the sensor sees nothing yet.')

    def add(self):
        heading('One command copies all that web1 and db1 send and receive')
        self.portmirror(*ADD)
        print('\nWith tc alone it would have been these (portmirror tc ids):\n')
        tell(without_object(self.portmirror('tc', 'ids', quiet=True)))

    def traffic(self):
        heading('Now the two talk to each other, in every way they know')
        with self.lab.sensor.capture() as sensor, \
             self.web1.capture(sent=True) as web1, self.db1.capture(sent=True) as db1:
            for address in (self.db1.ipv4, self.db1.ipv6):
                self.web1.run('ping', '-q', '-c', 5, '-i', '0.05', '-W', '2', address)
            frames = lab.frames_of_every_kind(self.web1, self.db1)
            self.web1.send(frames.values())
            self.db1.send(lab.frames_of_every_kind(self.db1, self.web1).values())
            sent = web1.counts() + db1.counts()
            seen = sensor.counts(sent.total())
        self.compare(sent, seen)

    def compare(self, sent, seen):
        def kinds(counts):
            result = collections.Counter()
            for frame, times in counts.items():
                result[lab.kind_of(frame)] += times
            return result

        by_kind, seen_kinds = kinds(sent), kinds(seen)
        table(['kind', 'frames sent', 'the sensor saw'],
              [[kind, by_kind[kind], seen_kinds[kind]]
               for kind in sorted(by_kind | seen_kinds, key=lambda kind: (len(kind), kind))])
        if sent == seen:
            print('\nEvery frame came once, and is the same to the last byte, its VLAN tags included.')
        else:
            self.whole = False
            print(f'\n{(sent - seen).total()} frames are missing or altered, '
                  f'{(seen - sent).total()} are too many.')

    def bulk(self):
        heading('TCP in bulk')
        def moved():
            """Frames that the machines have sent, frames that the sensor has received."""
            return (sum(machine.counters()[0] for machine in self.lab.machines) - before[0],
                    self.lab.sensor.counters()[1] - before[1])

        before = (0, 0)
        before = moved()
        size, seconds = lab.bulk(self.web1, self.db1)
        end = time.monotonic() + 2
        while (now := moved())[1] < now[0] and time.monotonic() < end:
            time.sleep(0.01)
        tell(f'{size / 1e6:,.0f} MB from web1 to db1 in {seconds:.1f} s, '
             f'{size * 8 / seconds / 1e9:.1f} Gbit/s while being copied:\n'
             f'{now[0]:,} frames sent, {now[1]:,} seen by the sensor')
        self.whole &= now[0] == now[1]

    def proof(self):
        heading('The proof, frame by frame, while they go on')
        talk = threading.Thread(target=lab.bulk, args=(self.web1, self.db1, 1.5, PAUSE),
                                daemon=True)
        talk.start()
        self.portmirror('check', 'ids', '--seconds', '2')
        talk.join()

    def end(self, before):
        heading('And away with it')
        self.portmirror('rm', 'ids')
        if self.lab.host.back_to(before):
            print('\nThe host is as it was: tc and bridge say the same as before, to the byte.')
        else:
            self.whole = False
            print('\nThe host is NOT as it was: the differences are above.')


def keep(made):
    """Gives the namespaces names, by which they outlive this process."""
    namespaces = [made.host, *made.machines, made.sensor]
    for namespace, name in zip(namespaces, KEPT.values()):
        namespace.run('sh', '-c', 'exec ip netns attach "$0" $$', name)  # the one that ip is in
    program = pathlib.Path(PROGRAM).resolve()
    heading('The lab is still there')
    print('To be on its host:\n')
    tell(f'ip netns exec demo-host env PORTMIRROR_ROOT={ROOT} PATH={program.parent}:$PATH bash')
    print('\nThere, try:\n')
    tell('portmirror stats -w                   # and in another terminal, the traffic below\n'
         'portmirror check ids --seconds 5\n'
         'portmirror show ids\n'
         'portmirror doctor\n'
         'portmirror export\n'
         'portmirror add pings --from bridge:br0 --to port:ids0 --filter icmp --dry-run\n'
         'portmirror rm --all')
    print('\nTraffic, and what the sensor sees of it, in other terminals:\n')
    tell('ip netns exec demo-web1 ping 10.0.0.2\n'
         'ip netns exec demo-sensor tcpdump -eni eth0')
    print('\nTo take it away:  ./demo --clean')


def clean():
    for name in KEPT.values():
        if os.path.exists(f'/run/netns/{name}'):
            os.spawnlp(os.P_WAIT, 'ip', 'ip', 'netns', 'delete', name)
    shutil.rmtree(ROOT, ignore_errors=True)


def play(made):
    story = Story(made)
    before = made.host.state()
    story.scene()
    story.add()
    story.traffic()
    story.bulk()
    story.proof()
    if WISH == '--keep':
        keep(made)
    else:
        story.end(before)
    return story.whole


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stop(number, _):
    """Ends the story at once, and lets it clean up undisturbed."""
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def main():
    for number in SIGNALS:
        signal.signal(number, stop)
    if WISH == '--clean':
        clean()
        return 0
    if WISH == '--keep':
        if ROOT.exists():
            print('demo: a lab is still there: ./demo --clean takes it away', file=sys.stderr)
            return 1
        ROOT.mkdir()
    try:
        with lab.Lab(names=['web1', 'db1'], ipv6=True, learn=True) as made:
            whole = play(made)
    except BaseException:
        if WISH == '--keep':
            clean()
        raise
    if not whole:
        print('\ndemo: not all went as it should, see above', file=sys.stderr)
    return 0 if whole else 1


try:
    sys.exit(main())
except BrokenPipeError:  # whoever listened has gone (./demo | head): everything is cleaned up by now
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)
