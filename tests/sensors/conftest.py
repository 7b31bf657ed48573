# SPDX-License-Identifier: MIT
"""The fixtures of the net suite: lab, pm, wait_until."""
import importlib.util
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


@pytest.fixture
def engine():
    """The one that portmirror chooses by itself here."""
    return 'auto'
