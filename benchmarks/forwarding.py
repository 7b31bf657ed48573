# SPDX-License-Identifier: MIT
"""How much gets from one machine to another and back, one of them mirrored, and how much of that the
sensor sees."""
import random
import tempfile
import time

from common import plot, summary, table, tool
from lab import Lab, bulk, ethernet, ipv4, own_bpf_file_system

RATIO = '{median:.2f} ({quarter:.2f} to {three_quarters:.2f})'


def frames(a, b, seconds):
    """Frames a second of 64 bytes (with the checksum that a wire would add) that reach b."""
    frame = ethernet(b.mac, a.mac, 0x800, ipv4(a.ipv4, b.ipv4, b'bench'))
    before = b.counters()[1]
    said = a.run(tool('blast'), 'eth0', seconds, stdin=frame.decode('latin-1'), encoding='latin-1')
    return (b.counters()[1] - before) / float(said.stdout.split()[1])


def tcp(a, b, seconds):
    """Gbit/s"""
    size, took = bulk(a, b, seconds)
    return size * 8 / took / 1e9


def settle(sensor):
    """Waits until no more copies come: what lags behind shall count too."""
    seen, now = -1, sensor.counters()[1]
    while now != seen:
        time.sleep(0.05)
        seen, now = now, sensor.counters()[1]


def measure(lab, contenders, load, a, b, rounds, seconds):
    """By name: figures, and the share of the forwarded frames that the sensor saw. In every round all take
    their turn, in an order of its own."""
    results = {contender.name: ([], []) for contender in contenders}
    for _ in range(rounds):
        for contender in random.sample(contenders, len(contenders)):
            with contender(['vnet1']):
                lab.ping()
                moved = sum(machine.counters()[1] for machine in (a, b))
                seen = lab.sensor.counters()[1]
                results[contender.name][0].append(load(a, b, seconds))
                settle(lab.sensor)
                moved = sum(machine.counters()[1] for machine in (a, b)) - moved
                results[contender.name][1].append((lab.sensor.counters()[1] - seen) / moved)
    return {name: {**summary(figures), 'copied': min(copied), 'all': figures}
            for name, (figures, copied) in results.items()}


def ratio(results, one, other):
    """Of the pairs of one round, which a busy moment of the machine meets alike."""
    return summary([mine / its for mine, its in zip(results[one]['all'], results[other]['all'])])


def show(title, contenders, results, rival):
    base = contenders[0].base
    form = '{median:,.0f} ({least:,.0f} to {most:,.0f})' if results[base]['median'] > 1000 else \
           '{median:.2f} ({least:.2f} to {most:.2f})'
    head, rows = ['', 'median (range)', f'ratio to {base}', 'least copied'], []
    for contender in contenders:
        result = results[contender.name]
        result['ratio'] = ratio(results, contender.name, contender.base)
        rows.append([contender.name, form.format(**result), RATIO.format(**result['ratio']),
                     f'{result["copied"]:.1%}' if contender.copies else '-'])
        if rival:
            result['to rival'] = ratio(results, contender.name, rival)
            rows[-1].insert(3, RATIO.format(**result['to rival']))
    if rival:
        head.insert(3, f'ratio to {rival}')
    print(f'\n{title}, {results[base]["runs"]} runs (of ratios the middle half)')
    table(head, rows)
    plot(''.join(letter if letter.isalnum() else '-' for letter in title.lower()), title, head[2],
         [(contender.name, results[contender.name]['ratio']) for contender in contenders
          if contender.name != contender.base])


def forwarding(kinds, quick, rival=None, rounds=31, seconds=0.2, about=''):
    """Figures by load, shown; each kind of contender takes its turns. rival: the name of one that all are
    compared with besides; about: what else a title tells."""
    if quick:
        rounds = 2
    figures = {}
    own_bpf_file_system()
    with Lab(machines=2) as lab, tempfile.TemporaryDirectory() as folder:
        lab.host.ip('link add ids1 type veth peer name seen1', 'link set ids1 up', 'link set seen1 up')
        contenders = [kind(lab, folder) for kind in kinds]
        one, two = lab.machines
        for title, load, a, b in (
                ('64-byte frames a second, sent by the mirrored machine', frames, one, two),
                ('64-byte frames a second, received by it', frames, two, one),
                ('TCP, Gbit/s, sent by it', tcp, one, two),
                ('TCP, Gbit/s, received by it', tcp, two, one)):
            title += about
            figures[title] = measure(lab, contenders, load, a, b, rounds, seconds)
            show(title, contenders, figures[title], rival)
    return figures
