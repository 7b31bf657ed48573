# SPDX-License-Identifier: MIT
"""A pytest plugin for several processes, or guests, that run the same tests together: each test is run
by the one that is first to make a folder for it in $CLAIMS. And what LEFT_OUT names is skipped, but for
$GUEST_WHOLE."""
import os
import re

import pytest
from _pytest.runner import runtestprotocol

# Emulated, a command takes twenty times as long as on the machine, and the suite is to end in five minutes. The net
# suite runs these anyway; to the kernel they say what others of the same test say too, or nothing.
LEFT_OUT = {
    r'/test_tc\.py::.*-dash\]': 'bash types the same commands',
    r'/test_faults\.py': 'thousands of single failures, most of them before the kernel is asked',
    r'/exec/test_aarch64\.py': 'another processor, emulated by one that is emulated itself',
    r'/exec/.*::test_a_slow_tracer': 'a race against the time that others get',
    r'/exec/.*::test_(every_exec_of_itself|the_next_stop_of_a_process)':
        'without address randomisation, as the guest is faster, an exec of the same file looks like one that failed',
    r'/test_(session|daemon|bpf)\.py::test_(wrong_usage|what_is_wrong_with_its_options|apply_refuses)_.*':
        'what is refused is refused before the kernel is asked',
    r'/test_(session|daemon)\.py::test_(an_engine_that_nobody_knows|what_can_not_be_read_is_told|'
    r'a_boot_that_has_no_name|too_few_descriptors|rm_wants_names|who_is_root_may|the_live_view|'
    r'what_is_wrong_with_its_environment|'
    r'it_does_not_run_with_privileges|it_takes_as_many)': 'files, rights and terminals are those of any kernel',
    r'/test_check\.py::test_its_own_frames_for_people': 'what is said in words is said in JSON too',
    r'/test_tc\.py::test_any_name_is_one_word': 'the quotes are the shell\'s',
    r'/test_foreign\.py::.*in_either_order\[\w+-\w+-5-': 'one of three priorities: before ours, behind ours',
    r'/test_crash\.py::.*\[\w+-(one port|a bridge)': 'an isolated bridge goes through these steps, and more',
    r'/test_crash\.py::test_killed_while_it_adds\[tc-.*-before\]': 'killed after the message before it, all stands '
                                                                 'as it does then',
    r'/test_session\.py::test_a_signal_leaves_nothing_half_done\[\w+-(1|2)\]': 'SIGTERM is handled as they are',
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
