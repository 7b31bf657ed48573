# SPDX-License-Identifier: MIT
"""The lab of tests/net, with an appliance beside the host: two ports, on no bridge.

    host                               appliance
      br0 ─┬─ vnet1 ── machines[0]       eth0 (inside)  ─┐
           ├─ vnet2 ── machines[1]       eth1 (outside) ─┴─ a bridge, or a program of ours
           └─ …
      ain0 ──────────────────────────── eth0
      aout0 ─────────────────────────── eth1
"""
import contextlib
import importlib.util
import os
import pathlib
import signal
import subprocess
import sys

import pytest

NET = pathlib.Path(__file__).resolve().parents[1] / 'net'
sys.path.insert(0, str(NET))
_spec = importlib.util.spec_from_file_location('net_conftest', NET / 'conftest.py')
net = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(net)
sys.modules['net_conftest'] = net

from appliances import INSIDE, OUTSIDE, Wire  # noqa: E402  pylint: disable=wrong-import-position

BUILD = net.BUILD
pytest_configure = net.pytest_configure
pytest_collection_modifyitems = net.pytest_collection_modifyitems
# Engine bpf: tcx links; tc: direct-action filters on clsact, as kernels before 6.6 have them.
pytest_generate_tests = net.pytest_generate_tests
lab, wait_until = net.lab, net.wait_until


@pytest.fixture
def pm(lab, tmp_path, engine):
    root = tmp_path / 'root'
    root.mkdir()
    return net.Portmirror(lab.host, root, engine)


@pytest.fixture
def appliance(lab):
    """appliance(kind) makes one; it goes with the test."""
    with contextlib.ExitStack() as stack:
        def make(kind=Wire):
            made = kind(lab)
            stack.callback(made.close)
            return made
        yield make


@pytest.fixture
def inline(pm):
    """inline('ips', 'vnet1', …) makes a session that guards these ports."""
    def make(name='ips', *ports, failure='closed', more=(), **options):
        guards = [word for port in ports for word in ('--guard', f'port:{port}')]
        return pm('inline', name, *guards, '--through', f'port:{INSIDE},port:{OUTSIDE}',
                  '--on-failure', failure, *more, **options)
    return make


@pytest.fixture
def daemon(lab, pm, wait_until):
    """daemon() starts portmirrord on the lab's host, by the command that is named before."""
    with contextlib.ExitStack() as stack:
        def start(*before):
            process = lab.host.popen(*before, BUILD / 'src/portmirrord/portmirrord', stderr=subprocess.PIPE,
                                     env={**os.environ, **pm.env})

            def stop():
                if process.poll() is None:
                    process.send_signal(signal.SIGTERM)
                said = process.communicate(timeout=20)[1]
                assert process.returncode in (0, -signal.SIGKILL), said
            stack.callback(stop)
            events = pm.root / 'run/portmirror/events'
            wait_until(lambda: process.poll() is not None or
                       (events.exists() and '"started"' in events.read_text()))
            assert process.poll() is None, process.stderr.read()
            return process
        yield start
