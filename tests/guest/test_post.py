# SPDX-License-Identifier: MIT
"""The blog post that began it all (2010) mirrors a port with four commands. They are typed here as they
stand there, on a kernel that has all they need; portmirror's "classic" must copy the very same frames."""
import re

import pytest

from lab import frames_of_every_kind

pytestmark = pytest.mark.engine('tc') # "classic" is its

# The post's names: vnet1 is the port of the machine, vnet0 that of the security appliance.
INGRESS = r'''
tc qdisc add dev vnet1 ingress
tc filter add dev vnet1 parent ffff: \
        protocol ip u32 match u8 0 0 \
        action mirred egress mirror dev vnet0
tc qdisc replace dev vnet1 parent root prio
'''
# The listing of the fourth has u8, the text that explains it u32.
EGRESS = r'''
tc filter add dev vnet1 parent 8002: \
        protocol ip u32 match %s 0 0 \
        action mirred egress mirror dev vnet0
'''
KINDS_OF_THE_POST = {'IPv4', 'multicast'}


@pytest.fixture
def appliance(lab):
    """The sensor, at a port called as in the post."""
    lab.host.ip('link set ids0 down', 'link set ids0 name vnet0', 'link set vnet0 up')
    return lab.sensor


def paste(lab, match):
    """Types the post's commands; for 8002: the handle is put in that the post tells one to look up."""
    lab.host.run('sh', '-e', stdin=INGRESS)
    shown = lab.host.run('tc', 'qdisc', 'show', 'dev', 'vnet1').stdout
    handle = re.search(r'qdisc prio (\w+:) root', shown)[1]
    lab.host.run('sh', '-e', stdin=(EGRESS % match).replace('8002:', handle))


def copies(lab, appliance, expect):
    """What the appliance gets of frames of every kind, in both directions: by frame, how often."""
    a, b = lab.machines
    with appliance.capture() as capture:
        a.send(frames_of_every_kind(a, b, b'from a').values())
        b.send(frames_of_every_kind(b, a, b'from b').values())
        return capture.counts(expect)


def all_frames(lab, kinds=None):
    a, b = lab.machines
    sent = [*frames_of_every_kind(a, b, b'from a').items(),
            *frames_of_every_kind(b, a, b'from b').items()]
    return {frame: 1 for kind, frame in sent if kinds is None or kind in kinds}


@pytest.mark.parametrize('match', ['u8', 'u32'])
def test_classic_copies_what_the_posts_commands_copy_and_what_they_miss(lab, pm, appliance, match):
    before = lab.host.state()
    paste(lab, match)
    of_the_post = all_frames(lab, KINDS_OF_THE_POST)
    posts = copies(lab, appliance, len(of_the_post))
    assert posts == of_the_post
    lab.host.tc('qdisc del dev vnet1 ingress', 'qdisc del dev vnet1 root')
    assert lab.host.back_to(before)

    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:vnet0', '--attach', 'classic')
    kinds = sorted(q['kind'] for q in lab.host.json('tc', '-j', 'qdisc', 'show', 'dev', 'vnet1'))
    assert kinds == ['ingress', 'prio']
    ours = copies(lab, appliance, len(all_frames(lab)))
    assert ours == all_frames(lab)
    assert {frame: count for frame, count in ours.items() if frame in posts} == posts
    pm('rm', 'ids')
    assert lab.host.back_to(before)


def test_beside_the_posts_commands(lab, pm, appliance):
    """Whoever has typed them goes on getting his copies, and so does the session to another sensor."""
    paste(lab, 'u8')
    before = lab.host.state()
    lab.host.ip('link add other0 type veth peer name other1', 'link set other0 up',
                'link set other1 up')
    pm('add', 'ids', '--from', 'port:vnet1', '--to', 'port:other0')
    with lab.host.capture('other1') as other:
        assert copies(lab, appliance, 4) == all_frames(lab, KINDS_OF_THE_POST)
        assert other.counts(len(all_frames(lab))) == all_frames(lab)
    pm('rm', 'ids')
    lab.host.ip('link del other0')
    assert lab.host.back_to(before)
