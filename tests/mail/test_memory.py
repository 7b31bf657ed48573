# SPDX-License-Identifier: MIT
"""A message of 200 MB passes through a few megabytes of memory, and arrives whole."""
import hashlib
import subprocess
import sys

import pytest
from conftest import FROM, PROGRAM, until


class Hash:
    """Stands in for the list of messages: keeps only their sums."""

    def __init__(self):
        self.sums = []

    def append(self, text):
        self.sums.append(hashlib.sha256(text).hexdigest())


MEASURE = '''
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
'''


@pytest.mark.parametrize('extension', [b'SIZE', b'CHUNKING'])
def test_flat(smtp, tmp_path, extension):
    server = smtp(extensions=(extension, b'PIPELINING'))
    server.messages = Hash()
    path = tmp_path / 'mbox'
    line = b'x' * 7999 + b'\n'  # long lines: python's server reads line by line
    expected = hashlib.sha256(b'A: 1\r\n\r\n')
    with path.open('wb') as file:
        file.write(FROM + b'A: 1\n\n')
        for _ in range(25000):
            file.write(line)
            expected.update(line[:-1] + b'\r\n')
        file.write(b'\n')
    # a fresh process: a forked child counts its parent's memory as its own
    out = subprocess.run([sys.executable, '-c', MEASURE, PROGRAM, '-q', '-d', '0', '-j', tmp_path / 'j', path,
                          'me@new.test', server.url], capture_output=True, text=True, timeout=60, check=True).stdout
    code, kilobytes = map(int, out.split())
    assert code == 0
    until(lambda: server.messages.sums, what='the sum')  # taken after the reply
    assert server.messages.sums == [expected.hexdigest()]
    assert kilobytes < 64 * 1024
