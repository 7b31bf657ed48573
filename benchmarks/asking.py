# SPDX-License-Identifier: MIT
"""Clients that ask an HTTP server for one resource, again and again, from the last core."""
import os
import re
import subprocess

from common import tool

CONNECTIONS = 16
UNITS = {'us': 1, 'ms': 1000, 's': 1000000}


def on_last_core(*command, **more):
    core = str(os.cpu_count() - 1)
    return subprocess.run(['taskset', '-c', core, *map(str, command)], check=True, text=True,
                          capture_output=True, **more).stdout


def by_wrk(port, target, token, seconds, run=on_last_core):
    """(answers a second, the 99th percentile in microseconds)"""
    said = run('wrk', '-t1', f'-c{CONNECTIONS}', f'-d{seconds}s', '--latency',
               '-H', f'Authorization: Bearer {token}', f'http://127.0.0.1:{port}{target}')
    if 'Non-2xx' in said or 'Socket errors' in said:
        raise SystemExit(said)
    value, unit = re.search(r'99% +([\d.]+)(us|ms|s)', said).groups()
    return float(re.search(r'Requests/sec: +([\d.]+)', said)[1]), float(value) * UNITS[unit]


def by_ask(path, target, seconds, header=''):
    request = f'GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n'
    answers, took, _, most, _ = on_last_core(tool('ask'), path, CONNECTIONS, seconds,
                                             input=request).split()
    return int(answers) / float(took), float(most)
