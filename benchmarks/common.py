# SPDX-License-Identifier: MIT
"""What the benchmarks share: their options, the machine's facts, tables, small C tools."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))
PORTMIRROR = os.environ.get('PORTMIRROR', BUILD / 'src/portmirror/portmirror')

sys.path.insert(0, str(TOP / 'tests/net'))


class _Kept:
    """stdout, and all that was written to it."""

    def __init__(self, stream):
        self.stream, self.text = stream, []

    def write(self, text):
        self.text.append(text)
        return self.stream.write(text)

    def flush(self):
        self.stream.flush()


_kept, _plots = _Kept(sys.stdout), []


def options(description):
    parser = argparse.ArgumentParser(prog='./bench ' + pathlib.Path(sys.argv[0]).name,
                                     description=description)
    parser.add_argument('--quick', action='store_true', help='a few short runs')
    parser.add_argument('--json', metavar='FILE', help='write the figures there too')
    sys.stdout = _kept
    return parser.parse_args()


def machine():
    """The facts of this machine that figures depend on."""
    def field(path, name):
        for line in pathlib.Path(path).read_text().splitlines():
            key, _, value = line.partition('=' if '=' in line else ':')
            if key.strip() == name:
                return value.strip().strip('"')
        return 'unknown'

    return {'system': field('/etc/os-release', 'PRETTY_NAME'), 'kernel': platform.release(),
            'processor': field('/proc/cpuinfo', 'model name'), 'cores': os.cpu_count(),
            'load': round(os.getloadavg()[0], 1)}


def introduce(title):
    facts = machine()
    print(f'{title}\n{facts["system"]}, Linux {facts["kernel"]}, {facts["cores"]} cores '
          f'({facts["processor"]}), load {facts["load"]}')


def tool(name, *libraries):
    """The program of benchmarks/NAME.c, compiled if need be."""
    source, program = TOP / 'benchmarks' / f'{name}.c', TOP / 'build-bench' / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        subprocess.run(['cc', '-std=gnu17', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-o',
                        program, source, *libraries], check=True)
    return program


def summary(values):
    """Median, range, and the middle half."""
    quarters = statistics.quantiles(values, n=4, method='inclusive') if len(values) > 1 else values * 3
    return {'median': statistics.median(values), 'least': min(values), 'most': max(values),
            'quarter': quarters[0], 'three_quarters': quarters[2], 'runs': len(values)}


def table(head, rows):
    widths = [max(len(str(cell)) for cell in column) for column in zip(head, *rows)]
    print()
    for row in [head, *rows]:
        cells = [str(cell).ljust(width) if number == 0 else str(cell).rjust(width)
                 for number, (cell, width) in enumerate(zip(row, widths))]
        print('  ' + '   '.join(cells).rstrip())
    sys.stdout.flush()


def plot(name, title, unit, bars, log=False):
    """A picture for docs/benchmarks.md: bars, a list of (label, summary). unit: of the axis."""
    _plots.append({'name': name, 'title': title, 'unit': unit, 'log': log,
                   'bars': [{'label': label, **figures} for label, figures in bars]})


def finish(arguments, figures):
    print(f'\nTo repeat: sudo ./bench {pathlib.Path(sys.argv[0]).name}'
          f'{" --quick" * arguments.quick}')
    if arguments.json:
        pathlib.Path(arguments.json).write_text(
            json.dumps({'date': datetime.date.today().isoformat(), 'machine': machine(),
                        'output': ''.join(_kept.text), 'plots': _plots, **figures}, indent=2) + '\n')
