# SPDX-License-Identifier: MIT
"""stopexec through sudo(8) itself, as the README says it is used: by a user of a mount namespace whose
/etc is the test's own."""
import shutil
import subprocess

import pytest

from conftest import USER
from test_allow import SETUP

SUDO = SETUP + r'''
echo 'tester:*:19000:0:99999:7:::' >> /etc/shadow
printf 'Defaults secure_path="/usr/sbin:/usr/bin"\nDefaults %s\ntester ALL=(ALL) NOPASSWD: ALL\n' "$PTY" > /etc/sudoers
chmod 1777 /run
'''


@pytest.fixture(params=['use_pty', '!use_pty'])
def by_tester(request, world):
    """Runs a shell script, with sudo set up for the user "tester"."""
    if not shutil.which('sudo'):
        pytest.skip('sudo is not installed')

    def run(script, **variables):
        return subprocess.run(
            ['unshare', '--mount', '--propagation', 'private', 'sh', '-c', SUDO + script], text=True,
            env={**world.environment, 'X': world.program, 'PTY': request.param, **variables}, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return run


# All that a program can see of who started it, but for what a shell sets by itself.
AROUND = r'''id; ulimit -a; ulimit -Ha; umask; pwd; env | grep -v -e ^_= -e ^PWD= -e ^SHLVL= | sort'''


def test_the_program_finds_itself_as_without_us(by_tester, armed):
    """User, groups, limits, umask, working folder and environment; and its privileges, which are its file's."""
    done = by_tester(r'''
cd /usr/share
cat > /run/both <<'END'
ulimit -S -n 500; ulimit -S -s 4096; ulimit -c 0
export CALLER='is me' SUDO_CALLER=kept
sh -c "$AROUND" > /run/plain
sudo -n $X run --timeout 1 -- sh -c "$AROUND" > /run/through 2>/run/said; echo ends $?
sudo -n $X run --timeout 1 -- $P
echo ends $?
END
user sh /run/both
diff /run/plain /run/through && grep -c tester /run/through
''', AROUND=AROUND, P=str(armed('glibc', 'suid')))
    assert done.returncode == 0, done.stdout
    assert 'ends 0' in done.stdout and 'ends 7' in done.stdout
    assert f'uid {USER} 0 0 gid {USER}' in done.stdout and 'sudo stopexec cont' in done.stdout
    assert int(done.stdout.split()[-1]) >= 1


def test_list_and_cont(by_tester, armed):
    done = by_tester(r'''
cat > /run/three <<'END'
sudo -n $X run --leave -- $P > /run/out 2>&1
pid=$(sudo -n $X list | awk -v p="$P" '$NF == p { print $1 }')
grep ^State: /proc/$pid/status
sudo -n $X cont $pid && echo CONTINUED
while [ -e /proc/$pid ]; do :; done
sudo -n $X list
END
user sh /run/three
cat /run/out
''', P=str(armed('glibc', 'suid')))
    assert 'T (stopped)' in done.stdout and 'CONTINUED' in done.stdout, done.stdout
    assert 'Nothing is stopped' in done.stdout and f'uid {USER} 0 0' in done.stdout


def test_in_a_window_of_the_callers_tmux(by_tester, armed):
    """Though sudo does not hand on where that is."""
    if not shutil.which('tmux'):
        pytest.skip('tmux is not installed')
    done = by_tester(r'''
cat > /run/four <<'END'
tmux -S /run/tmux new-session -d 'sleep 60'
env TMUX=/run/tmux,1,0 sudo -n $X run --tmux -- $P > /run/out 2>&1 & ours=$!
until tmux -S /run/tmux capture-pane -p | grep 'in main'; do [ -e /proc/$ours ] || exit 9; done
tmux -S /run/tmux send-keys detach Enter quit Enter
wait $ours; echo ends $?
tmux -S /run/tmux kill-server
END
user sh /run/four
cat /run/out
''', P=str(armed('glibc', 'suid')))
    assert 'ends 7' in done.stdout and f'uid {USER} 0 0' in done.stdout, done.stdout
