# SPDX-License-Identifier: MIT
"""A pytest plugin for several processes, or guests, that run the same tests together: each test is run
by the one that is first to make a folder for it in $CLAIMS. And what LEFT_OUT names is skipped, but for
$GUEST_WHOLE."""
import os
import re

import pytest
from _pytest.runner import runtestprotocol

# Emulated, a command takes twenty times as long as on the machine, and the suite is to end in five minutes. On the
# machine's own kernel these run anyway.
LEFT_OUT = {
    r'/exec/test_faults\.py': 'thousands of single failures, most of them before the kernel is asked',
    r'/exec/test_aarch64\.py': 'another processor, emulated by one that is emulated itself',
    r'/exec/.*::test_a_slow_tracer': 'a race against the time that others get',
    r'/exec/.*::test_(every_exec_of_itself|the_next_stop_of_a_process)':
        'without address randomisation, as the guest is faster, an exec of the same file looks like one that failed',
}


def reason(nodeid):
    if os.environ.get('GUEST_WHOLE'):
        return None
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
