# SPDX-License-Identifier: MIT
"""Debian's stock kernel in QEMU, with this machine's files: an Image is made once, and runs commands.

    image = Image('build-guest')
    with image.guest('uname', '-r') as guest:
        status = guest.wait(60)

The guest is emulated (TCG), so this needs no KVM; it is for what is right, not for what is fast. The command
runs as root with the host's whole file system, and can change none of it: what it writes stays in the
guest's memory, except below /run/guest, which is the host's folder guest.share.
"""
import contextlib
import lzma
import os
import pathlib
import platform
import re
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
# What the initramfs needs to reach the host's files, in the order in which insmod takes them.
MODULES = ('virtio_pci', '9pnet_virtio', '9p', 'overlay')
PACKAGE = 'linux-image-amd64'
# Without what costs an emulator time and a test nothing: a fifth level of page tables, pages cleared byte by byte (erms,
# fsrm), and what guards the kernel from its programs. Starting a program takes a tenth less.
CPU = 'max,-la57,-erms,-fsrm,-smap,-smep,-umip,-pku'
# The same goes for what Debian's kernel does to keep an attacker's work from others': of its security modules Yama is
# left, which stopexec has to do with. And what waits for RCU, as the end of a packet socket does, waits less.
APPEND = ('console=ttyS0 loglevel=4 panic=-1 random.trust_cpu=on no_timer_check nowatchdog audit=0 mitigations=off '
          'norandmaps randomize_kstack_offset=off hardened_usercopy=off init_on_alloc=0 lsm=yama rcupdate.rcu_expedited=1')
# What each program opens as it starts, besides its libraries, and the links on the way. (9p asks for each anew.)
LOADED = ('/bin', '/lib', '/lib64', '/sbin', '/etc/ld.so.cache', '/usr/lib/locale/C.utf8', '/etc/locale.alias',
          '/usr/share/locale/locale.alias', '/usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache')
# apt drops its privileges for downloads where it can, and warns where it cannot.
AS_ROOT = {'APT::Sandbox::User': 'root'}


def _output(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True,
                          **options).stdout


def backports(folder):
    """apt's options for Debian's backports to this release, from the same mirror, and for nothing else. What apt
    keeps for them is below the folder."""
    release = platform.freedesktop_os_release()['VERSION_CODENAME']
    mirror = _output('apt-get', 'indextargets', '--format', '$(REPO_URI)', 'Created-By: Packages',
                     f'Codename: {release}').split()[0]
    lists, sources = folder / 'apt/lists', folder / 'apt/sources'
    options = [word for name, value in {
        'Dir::Etc::SourceList': '/dev/null', 'Dir::Etc::SourceParts': sources, 'Dir::State::Lists': lists,
        'Dir::Cache::pkgcache': '', 'Dir::Cache::srcpkgcache': '', **AS_ROOT}.items()
        for word in ('-o', f'{name}={value}')]
    if not any(lists.glob('*Packages')):
        for made in (sources, lists / 'partial'):
            made.mkdir(parents=True, exist_ok=True)
        (sources / 'backports.sources').write_text(
            f'Types: deb\nURIs: {mirror}\nSuites: {release}-backports\nComponents: main\n'
            'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n')
        _output('apt-get', '-qq', *options, 'update')
    return options


def current_kernel(apt):
    """The package that linux-image-amd64 stands for, and its version, as apt knows them."""
    text = _output('apt-cache', *apt, 'show', '--no-all-versions', PACKAGE)
    found = re.search(r'^Depends: .*?(linux-image-\S+) \(= (\S+)\)', text, re.M)
    return found[1], found[2]


def pack(archive, programs):
    """These programs and what they load, the libraries and the locale: links and what they lead to."""
    paths = {path for path in LOADED if os.path.exists(path)}
    for program in map(shutil.which, map(str, programs)):
        loaded = subprocess.run(['ldd', program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        for path in [program, *re.findall(r'(/\S+) \(', loaded)]:
            folder, name = os.path.split(path)
            paths |= {os.path.join(os.path.realpath(folder), name), os.path.realpath(path)}
    with tarfile.open(archive, 'w') as tar:
        for path in sorted(paths):
            tar.add(path)


def vmlinux(image):
    """The ELF file inside a kernel image that is compressed by xz: QEMU starts it in half a second, where the
    image's own unpacking takes many under emulation. (Newer ones unpack in a second: then the image itself.)"""
    for found in re.finditer(b'\xfd7zXZ\0', image):
        with contextlib.suppress(lzma.LZMAError):
            elf = lzma.LZMADecompressor().decompress(image[found.start():])
            if elf.startswith(b'\x7fELF'):
                return elf
    return image


class Image:
    """Debian's current kernel and an initramfs, kept below a folder. Making it downloads one package. newer: the
    kernel that Debian's backports have for this release."""

    def __init__(self, folder, newer=False):
        folder = pathlib.Path(folder).resolve()
        self.apt = backports(folder) if newer else [word for name, value in AS_ROOT.items()
                                                    for word in ('-o', f'{name}={value}')]
        package, version = current_kernel(self.apt)
        self.folder = folder / f'{package}_{version}'
        if not self.folder.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder, prefix='new-') as new:
                self._unpack(pathlib.Path(new), package, version)
        self.version, = os.listdir(self.folder / 'lib/modules')
        self._make_initramfs()

    def _unpack(self, new, package, version):
        _output('apt-get', '-qq', *self.apt, 'download', f'{package}={version}', cwd=new)
        deb, = new.glob('*.deb')
        _output('dpkg-deb', '--extract', deb, new / 'files')
        image, = (new / 'files/boot').glob('vmlinuz-*')
        (new / 'files/vmlinux').write_bytes(vmlinux(image.read_bytes()))
        _output('depmod', '-b', new / 'files', image.name.removeprefix('vmlinuz-'))
        os.rename(new / 'files', self.folder)

    def archive(self, root, init, modules):
        """An initramfs (the bytes of a cpio archive) of what a folder holds, busybox, the program init and
        these kernel modules. What init must load is in modules/order."""
        for name in ('bin', 'modules', 'dev', 'proc', 'sys'):
            (root / name).mkdir(exist_ok=True)
        shutil.copy('/bin/busybox', root / 'bin')
        (root / 'bin/sh').symlink_to('busybox')
        shutil.copy(init, root / 'init')
        order = []
        for module in modules:
            depends = _output('modprobe', '-d', self.folder, '-S', self.version, '--show-depends', module)
            order += [path for path in re.findall(r'^insmod (\S+)', depends, re.M)
                      if path not in order]
        for path in order:
            shutil.copy(path, root / 'modules')
        (root / 'modules/order').write_text(''.join(f'{os.path.basename(path)}\n' for path in order))
        files = '\n'.join(str(path.relative_to(root)) for path in sorted(root.rglob('*')))
        return subprocess.run(['cpio', '--quiet', '-o', '-H', 'newc'], cwd=root, check=True,
                              input=files.encode(), stdout=subprocess.PIPE).stdout

    def _make_initramfs(self):
        with tempfile.TemporaryDirectory() as root:
            root = pathlib.Path(root)
            for name in ('host', 'written', 'root'):
                (root / name).mkdir()
            (self.folder / 'initramfs').write_bytes(self.archive(root, HERE / 'init', MODULES))

    def guest(self, *command, **options):
        return Guest(self, command, **options)


class Guest:
    """A command that runs in a guest of its own.

    memory       in MiB
    cpus         of the guest
    folder       the working directory of the command
    writable     folders of the host that it can change, by their names
    environment  of the command, besides the little that it gets anyway
    programs     that run often: they and their libraries are copied into the guest's memory beforehand. (To
                 open a dozen of the host's files takes a guest as long as to run a small program.)
    """

    def __init__(self, image, command, memory=1024, cpus=1, folder='/', writable=(), environment=None,
                 programs=()):
        self._stack = contextlib.ExitStack()
        self.share = pathlib.Path(self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix='guest-')))
        folders = {f'folder{number}': path for number, path in enumerate(writable)}
        pack(self.share / 'copied', programs)
        (self.share / 'modules').write_text(str(image.folder / 'lib/modules' / image.version))
        (self.share / 'command').write_text(self._script(command, folder, folders,
                                                         environment or {}))
        self.process = subprocess.Popen(
            ['qemu-system-x86_64', '-accel', 'tcg,thread=multi', '-machine', 'pc', '-cpu', CPU,
             '-smp', str(cpus), '-m', str(memory), '-nodefaults', '-no-user-config',
             '-display', 'none', '-no-reboot',
             '-kernel', image.folder / 'vmlinux', '-initrd', image.folder / 'initramfs',
             '-append', APPEND,
             '-serial', f'file:{self.share}/console',
             *self._plan9('host', '/', 'passthrough,readonly=on,multidevs=remap'),
             *self._plan9('share', self.share, 'none'),
             *(word for tag, path in folders.items()
               for word in self._plan9(tag, path, 'passthrough'))],
            stdin=subprocess.DEVNULL)
        self._stack.callback(self._end)

    @staticmethod
    def _plan9(tag, path, options):
        return ['-fsdev', f'local,id={tag},path={path},security_model={options}',
                '-device', f'virtio-9p-pci,fsdev={tag},mount_tag={tag}']

    @staticmethod
    def _script(command, folder, writable, environment):
        variables = ''.join(f'export {name}={shlex.quote(value)}\n' for name, value in
                            {'HOME': '/root', 'PATH': os.environ['PATH'], 'LC_ALL': 'C.UTF-8',
                             'PYTHONDONTWRITEBYTECODE': '1', **environment}.items())
        mounts = ''.join(f'mount -t 9p -o trans=virtio,version=9p2000.L {tag} {shlex.quote(str(path))}\n'
                         for tag, path in writable.items())
        return (f'{mounts}{variables}cd {shlex.quote(str(folder))}\n'
                'modprobe -a tun br_netfilter\n'
                f'({shlex.join(map(str, command))}) </dev/null >/run/guest/output 2>&1\n'
                'echo $? >/run/guest/status\n'
                '/bin/busybox reboot -f\n')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stack.close()

    def _end(self):
        self.process.kill()
        self.process.wait()

    def wait(self, seconds):
        """The command's exit status. If the guest didn't come so far, that is an error with the end of
        its console."""
        end = time.monotonic() + seconds
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0, end - time.monotonic()))
        status = self.share / 'status'
        if not status.exists() or not status.read_text().strip():
            raise RuntimeError(f'the guest did not finish in {seconds} s; its console ends:\n'
                               f'{self.read("console")[-2000:]}')
        return int(status.read_text())

    def read(self, name):
        """The text of a file in the share: "output" is all that the command said."""
        path = self.share / name
        return path.read_text(errors='replace') if path.exists() else ''
