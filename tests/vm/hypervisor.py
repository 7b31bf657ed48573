# SPDX-License-Identifier: MIT
"""libvirt and QEMU in namespaces of their own, on the bridge of a lab's host. All of it ends when this
process does, however that ends."""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import time
from xml.sax.saxutils import escape

import lab

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'guest'))
from guest import Image  # noqa: E402

SECONDS = 90 # for a machine to come up, emulated, on a busy host

# As root of its own mount and process namespaces, in the network namespace of the lab's host. libvirtd
# keeps no cgroups (there is no systemd here), and drops no privileges: its files are the test's.
START = r'''
set -e
for folder in /run /var/lib/libvirt /var/log/libvirt; do
	mount -t tmpfs none $folder
done
mount --bind "$CACHE" /var/cache/libvirt
mount -t sysfs none /sys
mkdir /run/etc
cp -r /etc/libvirt/. /run/etc
rm -rf /run/etc/qemu/networks/autostart
cat >/run/etc/qemu.conf <<'END'
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
remember_owner = 0
END
cat >/run/etc/libvirtd.conf <<'END'
auth_unix_rw = "none"
END
mount --bind /run/etc /etc/libvirt
# Not with exec: this shell is the namespace's first process, and buries those whose parent has ended.
libvirtd &
wait
'''

DOMAIN = '''
<domain type='qemu'>
  <name>{name}</name>
  <memory unit='MiB'>192</memory>
  <os><type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{image.kernel}</kernel><initrd>{image.initramfs}</initrd><cmdline>{cmdline}</cmdline></os>
  <cpu mode='custom'><model>Nehalem</model></cpu>
  <features><acpi/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <interface type='bridge'><source bridge='br0'/><mac address='{mac}'/><model type='virtio'/>{more}</interface>
    <serial type='file'><source path='{serial}'/></serial>
    <memballoon model='none'/>
  </devices>
</domain>
'''


def wait(condition, what, seconds=SECONDS):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def fnv1a(data):
    """As frames.c counts it."""
    value = 0xcbf29ce484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return f'{value:016x}'


class MachineImage:
    """What the machines boot: Debian's kernel, and an initramfs with busybox and the program frames."""

    def __init__(self, folder):
        stock = Image(HERE.parents[1] / 'build-guest')
        self.kernel, self.initramfs = stock.folder / 'vmlinux', folder / 'initramfs'
        root = folder / 'initramfs.d'
        root.mkdir()
        subprocess.run(['cc', '-O2', '-static', '-o', root / 'frames', HERE / 'frames.c'], check=True)
        self.initramfs.write_bytes(stock.archive(root, HERE / 'init', ('virtio_pci', 'virtio_net')))


class Machine:
    """What all test machines are: an address, a card, and a serial line that tells their frames."""

    def __init__(self, folder, name, number):
        self.name, self.serial = name, folder / f'serial-{number}'
        self.ipv4, self.mac = f'10.0.0.{100 + number}', f'52:54:00:00:00:{number:02x}'
        self.cmdline = f'console=ttyS0 quiet ipv6.disable=1 random.trust_cpu=on address={self.ipv4}'

    def said(self):
        return self.serial.read_text(errors='replace') if self.serial.exists() else ''

    def wait_until_up(self):
        wait(lambda: 'frames: ready' in self.said(), f'{self.name} does not come up')

    def frames(self, way, dev='eth0'):
        """The frames that it has told of since it came up: (length, hash) each. way: "sent", "got"."""
        return [(int(size), hashed) for size, hashed in
                re.findall(rf'^frame {dev} {way} (\d+) ([0-9a-f]{{16}})\r?$', self.said(), re.M)]


class Libvirt(lab.Namespace):
    """libvirtd on the lab's host; commands run beside it. cache: a folder for what it has found out about
    QEMU, by asking each that is installed, which takes minutes where all is emulated."""

    def __init__(self, made, folder, cache):  # pylint: disable=super-init-not-called
        self.name, self.lab, self.folder, self.fd = 'libvirt', made, folder, -1
        self.log = folder / 'libvirtd.log'
        with open(self.log, 'w', encoding='utf-8') as log:
            self._outer = made.host.popen('setpriv', '--pdeathsig', 'KILL', 'unshare', '--mount', '--pid', '--fork',
                                          '--kill-child', '--mount-proc', 'bash', '-c', START,
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={**os.environ, 'CACHE': str(cache)})
        try:
            self._pid = self._child()
            wait(lambda: self.virsh('uri', check=False).returncode == 0, 'libvirtd does not answer')
        except BaseException:
            print(self.log.read_text())
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _child(self):
        path = pathlib.Path(f'/proc/{self._outer.pid}/task/{self._outer.pid}/children')
        wait(lambda: self._outer.poll() is not None or path.read_text(), 'no namespace for libvirtd')
        assert self._outer.poll() is None, self.log.read_text()
        return int(path.read_text().split()[0])

    def close(self):
        self._outer.kill()  # and all that runs inside, by --kill-child
        self._outer.wait()

    def popen(self, *command, **options):
        enter = ['nsenter', f'--target={self._pid}', '--mount', '--root', '--pid', '--net', '--wdns=/', '--']
        return subprocess.Popen([*enter, *map(str, command)], **{'text': True, **options})

    def virsh(self, *arguments, **options):
        return self.run('virsh', '--quiet', '--connect', 'qemu:///system', *arguments, **options)

    def define(self, image, name, number, more=''):
        """A machine, not started. more: XML inside its interface."""
        domain = Domain(self, name, number)
        text = DOMAIN.format(name=escape(name), image=image, serial=domain.serial, cmdline=domain.cmdline,
                             mac=domain.mac, more=more)
        file = self.folder / f'domain-{number}.xml'
        file.write_text(text, encoding='utf-8')
        self.virsh('define', file)
        return domain


class Domain(Machine):
    def __init__(self, libvirt, name, number):
        super().__init__(libvirt.folder, name, number)
        self.libvirt = libvirt

    def virsh(self, command, *arguments, **options):
        return self.libvirt.virsh(command, '--domain', self.name, *arguments, **options)

    def start(self, *options):
        self.serial.unlink(missing_ok=True)
        self.virsh('start', *options)
        return self

    def boot(self):
        """Starts it, and waits until it tells its frames."""
        self.start().wait_until_up()
        return self

    def destroy(self):
        self.virsh('destroy')

    def rename(self, name):
        self.virsh('domrename', name)
        self.name = name

    def ports(self):
        """Its devices on the host, in the order of its network cards."""
        lines = self.virsh('domiflist').stdout.splitlines()
        return [line.split()[0] for line in lines if line.strip()]


class Qemu(Machine):
    """QEMU by hand; words of the command line say how the machine is called and plugged in. proxmox: it is
    called "kvm" and knows the option -id."""

    def __init__(self, made, image, folder, number, *words, proxmox=False):
        super().__init__(folder, f'machine {number}', number)
        start = 'exec -a qemu-system-x86_64'
        if proxmox:
            subprocess.run(['cc', '-shared', '-fPIC', '-o', folder / 'proxmox.so', HERE / 'proxmox.c'], check=True)
            start = f'LD_PRELOAD={folder}/proxmox.so exec -a /usr/bin/kvm'
        self._process = made.host.popen(
            'setpriv', '--pdeathsig', 'KILL', 'bash', '-c', f'{start} qemu-system-x86_64 "$@"', 'sh',
            *words, '-accel', 'tcg', '-machine', 'pc', '-cpu', 'Nehalem', '-m', '192', '-nodefaults',
            '-display', 'none', '-kernel', image.kernel, '-initrd', image.initramfs, '-append', self.cmdline,
            '-serial', f'file:{self.serial}', stdin=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
