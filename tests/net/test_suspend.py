# SPDX-License-Identifier: MIT
"""bypass and restore: a session that stays saved and copies nothing meanwhile."""
import os

import pytest

from lab import ethernet, ipv4


def frame(sender, to):
    return ethernet(to.mac, sender.mac, 0x0800, ipv4(sender.ipv4, to.ipv4, b'hello'))


def test_a_suspended_session_leaves_nothing_in_the_kernel(lab, pm):
    before = lab.host.state()
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    assert pm('bypass', 'ids').stdout == 'ids: suspended\n'
    assert lab.host.back_to(before)
    assert (pm.sessions / 'ids.yaml').read_text().endswith('suspended: true\n')
    shown = pm.json('show', 'ids')
    assert shown['state'] == 'suspended' and shown['suspended'] is True and shown['ports'] == []
    assert pm.json('apply')['done'] == [] and lab.host.state() == before
    assert pm.json('restore', 'ids')['session']['state'] == 'whole'
    assert 'suspended' not in (pm.sessions / 'ids.yaml').read_text()
    assert pm.json('apply')['done'] == []
    a, b = lab.machines
    with lab.sensor.capture() as sensor:
        a.send([frame(a, b)])
        assert sensor.counts(1) == {frame(a, b): 1}


def test_others_go_on_without_it(lab, pm):
    a, b = lab.machines
    pm('add', 'one', '--from', f'port:{a.port}', '--to', 'port:ids0', '--direction', 'sent')
    pm('add', 'two', '--from', f'port:{b.port}', '--to', 'port:ids0', '--direction', 'sent')
    pm('bypass', 'one')
    with lab.sensor.capture() as sensor:
        a.send([frame(a, b)])
        b.send([frame(b, a)])
        assert sensor.counts(1) == {frame(b, a): 1}
    assert [s['state'] for s in pm.json('list')] == ['suspended', 'whole']


def test_twice_is_as_good_as_once(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    for verb, state in ('bypass', 'suspended'), ('restore', 'whole'):
        pm(verb, 'ids')
        again = pm.json(verb, 'ids')
        assert again['done'] == [] and again['session']['state'] == state


def test_a_file_may_say_it_too(lab, pm):
    before = lab.host.state()
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').write_text('from: port:vnet1\nto: port:ids0\nsuspended: true\n')
    assert 'suspended' in pm('apply').stderr
    assert lab.host.state() == before
    assert 'suspended: true' in pm('export').stdout
    assert 'portmirror restore ids' in pm('doctor').stdout
    assert pm('check', 'ids', status=1).stderr.startswith('portmirror: ids: suspended: nothing is copied')
    assert 'to (suspended)' in pm('stats').stdout


def test_what_somebody_has_made_of_the_file_stays(lab, pm, tmp_path):
    """A link into a working copy, whose file not everybody may read, with remarks."""
    text = '# ticket 4711: do not remove before the audit\nfrom: port:vnet1 # web\nto: port:ids0\n'
    (copy := tmp_path / 'ids.yaml').write_text(text)
    copy.chmod(0o600)
    os.chown(copy, 1234, 5678)
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').symlink_to(copy)
    pm('apply')
    for verb, wanted in ('bypass', text + 'suspended: true\n'), ('restore', text):
        pm(verb, 'ids')
        assert (pm.sessions / 'ids.yaml').is_symlink() and copy.read_text() == wanted
        about = copy.stat()
        assert (about.st_mode & 0o7777, about.st_uid, about.st_gid) == (0o600, 1234, 5678)


def test_what_cannot_be_restored_stays_as_it_is(lab, pm):
    """Two sessions that would make a loop, of which one was suspended by hand, with a remark."""
    pm('add', 'one', '--from', 'port:vnet1', '--to', 'port:vnet2', '--direction', 'received')
    text = '# a remark\nfrom: port:vnet2\nto: port:vnet1\nsuspended: true\n'
    (pm.sessions / 'two.yaml').write_text(text)
    pm('apply')
    state = lab.host.state()
    refusal = pm('restore', 'two', status=1).stderr
    assert 'a loop' in refusal and 'nothing was changed' in refusal and refusal.count('\n') == 1
    assert lab.host.state() == state and (pm.sessions / 'two.yaml').read_text() == text


@pytest.mark.engine('tc')
def test_what_the_kernel_refuses_is_taken_back(lab, pm):
    """A kernel without mirred: found out only when the session is carried out."""
    text = '# a remark\nfrom: port:vnet1\nto: port:ids0\nsuspended: true\n'
    pm.sessions.mkdir(parents=True)
    (pm.sessions / 'ids.yaml').write_text(text)
    before = lab.host.state()
    result = pm('restore', 'ids', status=1, env=pm.preloaded('lacks', LACKS='mirred'))
    assert 'TC action' in result.stderr and 'nothing was changed' in result.stderr
    assert lab.host.state() == before and (pm.sessions / 'ids.yaml').read_text() == text


def test_dry_run_and_unknown_names(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    state = lab.host.state()
    assert 'would remove' in pm('bypass', 'ids', '--dry-run').stdout
    assert lab.host.state() == state and pm.json('list')[0]['state'] == 'whole'
    for verb in 'bypass', 'restore':
        assert 'no session named nids' in pm(verb, 'nids', status=1).stderr
        pm(verb, status=2)
