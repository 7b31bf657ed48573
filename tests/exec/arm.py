# SPDX-License-Identifier: MIT
"""An emulated aarch64 machine with Debian's own kernel, as tests/guest has one for this processor: what is
right there is right on a real one, ptrace(2), hardware breakpoints and fanotify(7) included.

    with Guest(kernel, busybox, {'probe': path}) as guest:
        output, status = guest.run('/probe; id')
"""
import os
import pathlib
import select
import shutil
import subprocess
import tempfile
import time

# A shell that reads a command from the console, line by line, and says how it ended.
INIT = '''#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mount -t tmpfs -o mode=755 none /run
stty -echo -onlcr
echo "<<ready>>"
while read -r line; do
	eval "$line"
	echo "<<$?>>"
done
'''


def packages(folder):
    """The kernel and busybox of Debian's arm64, below the folder: downloaded once, by an apt that keeps its
    lists there too. Raises CalledProcessError where they can't be had."""
    kept = pathlib.Path(folder).resolve() / 'arm64'
    if not (kept / 'files').exists():
        with tempfile.TemporaryDirectory(dir=_made(kept), prefix='new-') as new:
            new = pathlib.Path(new)
            _made(new / 'lists/partial'), _made(new / 'cache/archives/partial')
            (new / 'status').touch()
            apt = ['-qq', '-o', 'APT::Architecture=arm64', '-o', 'APT::Architectures::=arm64',
                   '-o', f'Dir::State::lists={new}/lists', '-o', f'Dir::State::status={new}/status',
                   '-o', f'Dir::Cache={new}/cache', '-o', 'APT::Sandbox::User=root']
            _output('apt-get', *apt, 'update')
            depends = _output('apt-cache', *apt, 'depends', '--no-recommends', '--no-suggests',
                              'linux-image-arm64')
            kernel = next(word for word in depends.split() if word.endswith('-arm64') and
                          word != 'linux-image-arm64')
            _output('apt-get', *apt, 'download', kernel, 'busybox-static', cwd=new)
            for deb in new.glob('*.deb'):
                _output('dpkg-deb', '--extract', deb, new / 'files')
            os.rename(new / 'files', kept / 'files')
    kernel, = (kept / 'files/boot').glob('vmlinuz-*')
    return kernel, kept / 'files/bin/busybox'


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _output(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, **options).stdout


class Guest:
    """files: paths in the guest, and what is there: a path here, or bytes."""

    def __init__(self, kernel, busybox, files):
        self.kept, self.silent = b'', False
        with tempfile.TemporaryDirectory() as root:
            root = pathlib.Path(root)
            for name in ('bin', 'proc', 'sys', 'dev', 'run', 'tmp', 'etc'):
                (root / name).mkdir()
            (root / 'bin/sh').symlink_to('busybox')
            for path, what in {'init': INIT.encode(), 'bin/busybox': busybox, **files}.items():
                _made((root / path).parent)
                if isinstance(what, bytes):
                    (root / path).write_bytes(what)
                else:
                    shutil.copy(what, root / path)
                (root / path).chmod(0o755)
            names = '\n'.join(str(path.relative_to(root)) for path in sorted(root.rglob('*')))
            archive = subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc', '-R', '0:0'], cwd=root, check=True,
                                     input=names.encode(), stdout=subprocess.PIPE).stdout
        with tempfile.NamedTemporaryFile() as initramfs:
            initramfs.write(archive)
            initramfs.flush()
            self.machine = subprocess.Popen(
                ['qemu-system-aarch64', '-M', 'virt', '-cpu', 'cortex-a57', '-m', '512', '-nodefaults',
                 '-no-user-config', '-display', 'none', '-no-reboot', '-kernel', kernel,
                 '-initrd', initramfs.name, '-serial', 'stdio',
                 '-append', 'console=ttyAMA0 loglevel=3 panic=-1 random.trust_cpu=on'],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
            self._until(b'<<ready>>\n', 120)

    def _until(self, mark, seconds):
        end = time.monotonic() + seconds
        while mark not in self.kept:
            if select.select([self.machine.stdout], [], [], max(0, end - time.monotonic()))[0]:
                more = os.read(self.machine.stdout.fileno(), 65536)
                self.kept += more
                if more:
                    continue
            self.silent = True
            raise AssertionError(f'the guest did not answer: {self.kept.decode(errors="replace")}')
        said, _, self.kept = self.kept.partition(mark)
        return said

    def run(self, command, seconds=60):
        """What a line for the shell has said, and its exit status."""
        assert not self.silent, 'the guest did not answer to what was asked before'
        self.machine.stdin.write(command.encode() + b'\n')
        said = self._until(b'<<', seconds)
        return said.decode(errors='replace'), int(self._until(b'>>\n', 5))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.machine.kill()
        self.machine.communicate()
