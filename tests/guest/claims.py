# SPDX-License-Identifier: MIT
"""A pytest plugin for several processes, or guests, that run the same tests together: each test is run
by the one that is first to make a folder for it in $CLAIMS. And what LEFT_OUT names is skipped."""
import os
import re

import pytest
from _pytest.runner import runtestprotocol

# Emulated, a command takes twenty times as long as on the machine, and the suite is to end in five
# minutes. These tests are about what no kernel has a part in, and run in the net suite anyway.
LEFT_OUT = {
}


def reason(nodeid):
    return next((why for pattern, why in LEFT_OUT.items() if re.search(pattern, nodeid)), None)


def pytest_collection_modifyitems(items):
    for item in items:
        if why := reason(item.nodeid):
            item.add_marker(pytest.mark.skip(reason=f'left out of the guest: {why}'))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    number = item.session.items.index(item)
    try:
        os.mkdir(os.path.join(os.environ['CLAIMS'], str(number)))
    except FileExistsError:
        return True  # somebody else's: nothing is reported here
    where = {'nodeid': item.nodeid, 'location': item.location}
    item.ihook.pytest_runtest_logstart(**where)
    # Which test will be the next one here nobody knows yet: fixtures end with this one.
    runtestprotocol(item, nextitem=None)
    item.ihook.pytest_runtest_logfinish(**where)
    return True
