# SPDX-License-Identifier: MIT
"""portmirror tc: what it prints, pasted into a shell, makes what add makes."""
import base64
import contextlib
import json
import re
import shutil

import pytest

pytestmark = [pytest.mark.lab(machines=3), pytest.mark.engine('tc')]

needs_bpftool = pytest.mark.skipif(not shutil.which('bpftool'), reason='needs bpftool(8)')


def state(lab):
    """The lab's, without the numbers that the kernel gives to programs as they are loaded."""
    return {key: re.sub(r' id \d+', '', value) if isinstance(value, str) else value
            for key, value in lab.host.state().items()}


@pytest.fixture
def paste(lab, tmp_path):
    """Runs a script in a shell on the lab's host, whose first error ends it. It must say nothing,
    and leave no file."""
    folder = tmp_path / 'tmp'
    folder.mkdir()

    def run(script, shell='bash'):
        result = lab.host.run(
            'unshare', '--mount', 'sh', '-c',
            f'mount -t bpf bpf /sys/fs/bpf; TMPDIR={folder} {shell} -e &&'
            'find /sys/fs/bpf -name "portmirror*"',
            stdin=script)
        assert result.stdout + result.stderr == ''
        assert not list(folder.iterdir())
    return run


def wipe(lab):
    """Deletes the qdiscs that a script has made, which portmirror takes for somebody else's."""
    shown = lab.host.run('tc', 'qdisc', 'show').stdout
    lab.host.tc(*(f'qdisc del dev {dev} {"root" if where == "root" else kind}' for kind, dev, where in
                  re.findall(r'^qdisc (\S+) \S+ dev (\S+) (root|parent ffff:fff1)', shown, re.M) if kind != 'noqueue'))


def same_by_script(lab, pm, paste, names=('ids',), shells=('bash',)):
    """Takes the sessions down, pastes what tc printed of them, and compares; in each shell."""
    scripts = [pm('tc', name).stdout for name in names]
    saved, made = pm('export').stdout, state(lab)
    for shell in shells:
        pm('rm', '--all')
        assert state(lab) != made
        for script in scripts:
            paste(script, shell)
        assert state(lab) == made, shell
        # In the eyes of portmirror too, which also sees what programs share.
        assert pm.json('apply', '-', stdin=saved)['done'] == []
        if shell != shells[-1]:
            pm('rm', '--all')
            wipe(lab)


SESSIONS = {
    'one port': ['--from', 'port:vnet1'],
    'two ports of a bridge': ['--from', 'port:vnet1', '--from', 'port:vnet2'],
    'a bridge': ['--from', 'bridge:br0'],
    'sent': ['--from', 'bridge:br0', '--direction', 'sent'],
    'received': ['--from', 'port:vnet1', '--direction', 'received'],
    'received by two': ['--from', 'port:vnet[12]', '--direction', 'received'],
    'filter': ['--from', 'port:vnet1', '--filter', 'tcp port 80 or vlan 5'],
    'filter, once': ['--from', 'bridge:br0', '--filter', 'not port 22'],
    'classic': ['--from', 'port:vnet1', '--attach', 'classic'],
    'classic, once': ['--from', 'bridge:br0', '--attach', 'classic'],
    'classic, sent': ['--from', 'port:vnet1', '--attach', 'classic', '--direction', 'sent'],
}


SHELLS = ('bash', 'dash')


@needs_bpftool
@pytest.mark.parametrize('session', SESSIONS)
def test_the_script_makes_the_same(lab, pm, paste, session):
    pm('add', 'ids', *SESSIONS[session], '--to', 'port:ids0')
    same_by_script(lab, pm, paste, shells=SHELLS)


FOREIGN = {
    'ingress': ['qdisc add dev vnet1 ingress'],
    'htb': ['qdisc add dev vnet1 root handle 1: htb default 1',
            'class add dev vnet1 parent 1: classid 1:1 htb rate 10gbit'],
    'libvirt': ['qdisc add dev vnet1 root handle 1a: htb default 1',
                'class add dev vnet1 parent 1a: classid 1a:1 htb rate 10gbit',
                'qdisc add dev vnet1 ingress',
                'filter add dev vnet1 parent 1a: pref 1 protocol ip u32 match u32 0 0 flowid 1a:1'],
    'clsact': ['qdisc add dev vnet1 clsact',
               'filter add dev vnet1 ingress protocol ip pref 2 u32 match u32 0 0 '
               'action mirred egress mirror dev vnet3 continue'],
    'an action': ['actions add action mirred egress mirror dev vnet3 index 9001'],
}


@pytest.mark.parametrize('foreign', FOREIGN)
def test_the_script_goes_along_with_what_is_there(lab, pm, paste, foreign):
    lab.host.tc(*FOREIGN[foreign])
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    same_by_script(lab, pm, paste)


def test_a_qdisc_of_ours_that_others_use_is_theirs_too(lab, pm, paste):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    assert 'clsact' in pm('tc', 'ids').stdout
    lab.host.tc('filter add dev vnet1 egress protocol ip pref 5 u32 match u32 0 0 '
                'action mirred egress mirror dev vnet3 continue')
    assert 'clsact' not in pm('tc', 'ids').stdout
    same_by_script(lab, pm, paste)


@needs_bpftool
def test_isolation(lab, pm, paste):
    pm('add', 'ids', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:vnet3',
       '--isolate')
    assert 'isolated on' in pm('tc', 'ids').stdout
    same_by_script(lab, pm, paste)


def test_sessions_keep_their_numbers_beside_each_other(lab, pm, paste):
    """Each is told alone: with different destinations that adds up to what both are."""
    pm('add', 'one', '--from', 'port:vnet1', '--to', 'port:ids0')
    pm('add', 'two', '--from', 'port:vnet2', '--to', 'port:vnet3', '--direction', 'sent')
    same_by_script(lab, pm, paste, names=('one', 'two'))


@needs_bpftool
def test_a_session_is_told_without_the_others(lab, pm, paste):
    """Two sessions of one destination need programs; one of them alone does not."""
    pm('add', 'one', '--from', 'port:vnet1', '--to', 'port:ids0')
    pm('add', 'two', '--from', 'port:vnet1', '--from', 'port:vnet2', '--to', 'port:ids0',
       '--direction', 'sent')
    assert 'pm_in' in lab.host.run('tc', 'filter', 'show', 'dev', 'vnet2', 'ingress').stdout
    script = pm('tc', 'two').stdout
    assert 'index 9002' in script and 'bpftool' not in script
    pm('rm', 'one')
    assert pm('tc', 'two').stdout == script
    same_by_script(lab, pm, paste, names=('two',))


def test_a_session_that_is_only_saved(lab, pm):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:vnet3', '--isolate')
    saved, script = (pm.sessions / 'ids.yaml').read_text(), pm('tc', 'ids').stdout
    pm('rm', 'ids')
    before = lab.host.state()
    (pm.sessions / 'ids.yaml').write_text(saved)
    assert pm('tc', 'ids').stdout == script
    assert lab.host.state() == before


def test_a_kernel_that_is_not_known_yet(lab, pm, paste):
    """Only saved, nothing has told yet whether this kernel has prio."""
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0', '--attach', 'classic')
    saved, made = (pm.sessions / 'ids.yaml').read_text(), state(lab)
    pm('rm', 'ids')
    (pm.sessions / 'ids.yaml').write_text(saved)
    script = pm('tc', 'ids').stdout
    assert 'prio' in script and 'htb' in script
    paste(script)
    assert state(lab) == made


@contextlib.contextmanager
def as_vnet1(lab, port):
    """tc's own JSON is none where a name has a control character."""
    lab.host.rename(port, 'vnet1')
    yield
    lab.host.rename('vnet1', port)


@needs_bpftool
@pytest.mark.parametrize('port', ["a';$x`y`", '\\$(x)"&|<>', '#!~{,}*', '-dev', 'é\\0101',
                                  '\x01\x1b[m\x7f', 'index'])
def test_any_name_is_one_word(lab, pm, paste, port):
    lab.host.rename('vnet1', port)
    # A name that can't be typed is found by its bridge.
    pm('add', 'a.b_c-d', '--from', 'bridge:br0', '--to', 'port:ids0')
    script = pm('tc', 'a.b_c-d').stdout
    with as_vnet1(lab, port):
        made = state(lab)
    assert re.fullmatch('[ -~\n]*', script)
    pm('rm', '--all')
    for shell in SHELLS:
        paste(script, shell)
        with as_vnet1(lab, port):
            assert state(lab) == made, shell
            wipe(lab)
            pm('apply')  # of a session that isn't saved it removes its own action


def test_json(lab, pm, paste):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:ids0')
    assert pm.json('tc', 'ids')['object'] is None
    commands = pm.json('tc', 'ids')['commands']
    lines = [line for line in pm('tc', 'ids').stdout.splitlines() if line and line[0] != '#']
    assert commands == lines
    made = state(lab)
    pm('rm', 'ids')
    paste('\n'.join(commands) + '\n')
    assert state(lab) == made


def test_json_has_the_object(lab, pm):
    pm('add', 'ids', '--from', 'bridge:br0', '--to', 'port:ids0')
    told = json.loads(pm('tc', 'ids', '--json').stdout)
    assert base64.b64decode(told['object'], validate=True).startswith(b'\x7fELF')
    inline = [command for command in told['commands'] if '<<' in command]
    assert len(inline) == 1 and told['object'] in inline[0].replace('\n', '')


def test_what_waits_or_is_not_there_has_no_script(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:later0')
    result = pm('tc', 'ids', status=1)
    assert result.stdout == '' and 'later0' in result.stderr
    assert 'no session named other' in pm('tc', 'other', status=1).stderr


def test_a_source_that_waits_is_said(lab, pm):
    pm('add', 'ids', '--from', 'port:vnet1', '--from', 'port:later0', '--to', 'port:ids0')
    result = pm('tc', 'ids')
    assert 'later0' in result.stderr and 'later0' not in result.stdout
    assert 'vnet1 ingress' in result.stdout
