# SPDX-License-Identifier: MIT
"""The fixtures of the net suite, and hypervisors on the bridge of the lab."""
import contextlib
import importlib.util
import os
import pathlib
import sys

import pytest

NET = pathlib.Path(__file__).resolve().parents[1] / 'net'
sys.path.insert(0, str(NET))
_spec = importlib.util.spec_from_file_location('net_conftest', NET / 'conftest.py')
_net = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_net)
lab, pm, wait_until = _net.lab, _net.pm, _net.wait_until
BUILD, TOP, Portmirror = _net.BUILD, _net.TOP, _net.Portmirror
pytest_configure = _net.pytest_configure

from hypervisor import Libvirt, MachineImage, Qemu  # noqa: E402  (needs the path)


@pytest.fixture
def engine(request):
    """The one that portmirror chooses by itself here, unless the test is about one."""
    marker = request.node.get_closest_marker('engine')
    return marker.args[0] if marker else 'auto'


@pytest.fixture(scope='session')
def image(tmp_path_factory):
    return MachineImage(tmp_path_factory.mktemp('image'))


@pytest.fixture(scope='session')
def cache(tmp_path_factory):
    """Of libvirt, for all tests; somebody may have filled it."""
    return pathlib.Path(os.environ.get('LIBVIRT_CACHE') or tmp_path_factory.mktemp('cache'))


@pytest.fixture
def libvirt(lab, cache, tmp_path):
    with Libvirt(lab, tmp_path, cache) as made:
        yield made


@pytest.fixture
def qemu(lab, image, tmp_path):
    """qemu(NUMBER, WORD…): a machine started by hand, with these words on its command line."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(
            Qemu(lab, image, tmp_path, *arguments, **options))


@pytest.fixture
def daemon(lab, pm, wait_until):
    """portmirrord, following what happens."""
    events = pm.root / 'run/portmirror/events'
    process = lab.host.popen(BUILD / 'src/portmirrord/portmirrord', env=pm.env)
    try:
        wait_until(lambda: events.exists() or process.poll() is not None)
        yield process
        assert process.poll() is None, 'portmirrord has ended'
    finally:
        process.terminate()
        process.wait(20)
