# SPDX-License-Identifier: MIT
"""Man pages, completions and --help tell the same: every verb, every option, and nothing else."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('BUILD', TOP / 'build'))
PAGES = {page.stem: page for page in sorted((TOP / 'man').glob('*.[18]'))}
COMPLETIONS = {path.stem: path for path in sorted((TOP / 'completions').glob('*.bash'))}


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=False, capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, timeout=300, **options)


@pytest.fixture(scope='session')
def built():
    """The programs by name, built from the tree as it is now."""
    programs = {name: f'src/{name}/{name}' for name in PAGES | COMPLETIONS}
    result = run('bash', '-c', '. .ci/setup.sh && configure "$1" && quietly ninja -C "$@"', 'sh', BUILD,
                 *programs.values(), cwd=TOP)
    assert result.returncode == 0, result.stderr
    return {name: BUILD / program for name, program in programs.items()}


class Help:
    """What a program's --help says, and that of its verbs."""

    def __init__(self, program):
        text = run(program, '--help').stdout
        verbs = re.search(r'^Verbs:\n((?: .*\n)+)', text, re.M)
        self.verbs = [line.split()[0] for line in verbs[1].splitlines()] if verbs else []
        self.common = self.options(text)
        self.own = {verb: self.options(run(program, verb, '--help').stdout) - self.common
                    for verb in self.verbs if verb != 'help'}
        self.all = self.common.union(*self.own.values())

    @staticmethod
    def options(text):
        """From the lines "  -w, --watch[=SECONDS]  go on"."""
        found = re.findall(r'^  (?:(-\w), |    )(--[a-z-]+)', text, re.M)
        return {option for pair in found for option in pair if option}


class Page:
    """A page's synopsis, and the options that its lists explain, by section: of mdoc(7), where they
    stand on the line of .It, or man(7), where they stand behind .TP."""

    def __init__(self, path):
        self.synopsis, self.options = '', {}
        section, head = '', False
        for line in path.read_text().splitlines():
            text = re.sub(r'\bFl ', '-', line).replace(r'\-', '-')
            text = re.sub(r'\\f.|^\.\w+ |"', '', text)
            if re.match(r'\.S[hHsS] ', line):
                section = text
            elif section == 'SYNOPSIS':
                self.synopsis += text + '\n'
            elif head or line.startswith('.It '):
                self.options.setdefault(section, set()).update(
                    re.findall(r'(?<![\w-])--?[A-Za-z][a-z-]*', text))
            head = line.startswith(('.TP', '.TQ'))
        self.common = self.options.get('OPTIONS', set())

    def verbs(self, program):
        """Those of the synopsis."""
        return set(re.findall(rf'^{program}\s+([a-z]+)', self.synopsis, re.M))

    def verb(self, verb):
        """The options of the sections "VERB" or "VERB ARGUMENT…"."""
        return set().union(*(options for section, options in self.options.items()
                             if section.split(' ')[0] == verb))


@pytest.mark.parametrize('name', PAGES)
def test_the_page_has_all_of_the_help(built, name):
    told, page = Help(built[name]), Page(PAGES[name])
    assert page.common >= told.common
    for verb in told.verbs:
        assert verb in page.verbs(name)
    for verb, options in told.own.items():
        assert page.verb(verb) | page.common >= options, verb


@pytest.mark.parametrize('name', PAGES)
def test_the_page_has_nothing_else(built, name):
    told, page = Help(built[name]), Page(PAGES[name])
    for section, options in page.options.items():
        assert options <= told.all, section
    assert not told.verbs or page.verbs(name) <= set(told.verbs)
    for verb, options in told.own.items():
        assert page.verb(verb) <= options | told.common, verb


@pytest.mark.parametrize('page', PAGES.values(), ids=PAGES)
def test_the_page_is_well_formed(page):
    source = page.read_text()
    assert source.startswith('.\\" SPDX-License-Identifier: MIT\n')
    assert not [line for line in source.splitlines() if line != line.rstrip()]
    for name in ('NAME', 'SYNOPSIS', 'DESCRIPTION', 'EXIT STATUS', 'SEE ALSO'):
        assert re.search(rf'^\.S[hH] "?{name}"?$', source, re.M), name


def test_the_readme_names_the_packages_and_files_that_there_are():
    text = (TOP / 'README.md').read_text()
    script = '. .ci/setup.sh && echo ${PACKAGES[portmirror]} ${PACKAGES[programs]}'
    wanted = run('bash', '-c', script, cwd=TOP).stdout.split()
    install = re.search(r'apt install ((?:.*\\\n)*.*)', text)[1]
    assert sorted(install.replace('\\', '').split()) == sorted(wanted)
    for name in re.findall(r'\]\((?!http)([^)#]+)', text) + re.findall(r' \./(\w+)', text):
        assert (TOP / name).exists(), name


LIBRARY = '/usr/share/bash-completion/bash_completion'  # some build on it
COMPLETE = r'''
[[ ! -e $5 ]] || . "$5"
. "$1"
function=$(complete -p "$2" | sed -E 's/.*-F ([^ ]+).*/\1/')
read -ra COMP_WORDS <<<"$4"
[[ $4 != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_LINE=$4 COMP_POINT=${#4}
COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
"$function" "$3" 2>/dev/null
[[ ${#COMPREPLY[@]} == 0 ]] || printf '%s\n' "${COMPREPLY[@]}"
'''


@pytest.fixture
def complete(built):
    """complete(NAME, LINE): what the Tab key offers behind the line."""
    def offers(name, line, *before, **options):
        if '_init_completion' in COMPLETIONS[name].read_text() and not os.path.exists(LIBRARY):
            pytest.skip('no bash-completion')
        result = run(*before, 'bash', '-c', COMPLETE, 'sh', COMPLETIONS[name], name, built[name],
                     f'{name} {line}', LIBRARY, **options)
        assert result.stderr == ''
        return set(result.stdout.splitlines())
    return offers


@pytest.mark.parametrize('name', COMPLETIONS)
def test_the_completion_has_all_of_the_help_and_nothing_else(built, complete, name):
    told = Help(built[name])
    if told.verbs:
        assert complete(name, '') == set(told.verbs)
    assert complete(name, '--') == {option for option in told.common if option[:2] == '--'}
    for verb, options in told.own.items():
        assert complete(name, verb[:-1]) >= {verb}
        wanted = {option for option in options | told.common if option[:2] == '--'}
        assert complete(name, f'{verb} --') == wanted - {'--version'}, verb


@pytest.mark.parametrize('line, offers', [
    ('add x --direction ', 'both sent received'),
    ('add x --attach=c', 'clsact classic'),
    ('show ', 'ids web'),
    ('rm ids w', 'web'),
    ('--json rm w', 'web'),
    ('add ', ''),
    ('add ids --strict ', ''),
    ('help ex', 'export'),
    ('nonsense ', ''),
])
def test_portmirror_completes_values(complete, tmp_path, line, offers):
    for path in ('etc/portmirror/sessions.d/ids.yaml', 'run/portmirror/sessions.d/web.yaml'):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    env = {**os.environ, 'PORTMIRROR_ROOT': str(tmp_path)}
    assert complete('portmirror', line, env=env) == set(offers.split())
    env['PORTMIRROR_ROOT'] = '/nowhere'
    assert complete('portmirror', f'--root {tmp_path} {line}', env=env) == set(offers.split())


@pytest.mark.parametrize('line, offers', [
    ('--listen ', 'unix: tcp:127.0.0.1:'),
    ('--listen tcp:', '127.0.0.1:'),
    ('--listen=un', 'unix:'),
    ('--listen unix:/x --gr', '--group'),
    ('--group=roo', 'root'),
    ('--key /etc/hostn', '/etc/hostname'),
    ('--root /us', '/usr'),
])
def test_portmirrord_completes_values(complete, line, offers):
    assert complete('portmirrord', line) == set(offers.split())


# A host with a bridge, and a machine on it: a process that holds a tap, called as QEMU is.
HOST = r'''
mount -t sysfs none /sys && ip link add br7 type bridge && ip link add vnet7 type veth peer vnet8 || exit
holder='import fcntl, struct, sys
tap = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(tap, 0x400454ca, struct.pack("16sH22x", b"tap7", 0x1002))
print("ready", flush=True)
sys.stdin.read()'
coproc (exec -a qemu-system-x86_64 "$0" -c "$holder" -name guest=web1 \
	-nic tap,ifname=tap7,mac=52:54:00:00:00:07)
read -r ready <&"${COPROC[0]}"
"$@"
exit # not by becoming the command: the machine goes with this shell
'''


@pytest.mark.skipif(not os.path.exists('/dev/net/tun'), reason='no tap can be made here')
@pytest.mark.parametrize('line, offers', [
    ('add x --from ', 'port:vnet7 port:vnet8 port:br7 port:tap7 bridge:br7 vm: mac: vm:web1 '
                      'mac:52:54:00:00:00:07'),
    ('add x --from vm:web1 --from vm:', 'web1'),
    ('add x --to=port:v', 'vnet7 vnet8'),
    ('add x --from mac:52:54:00:', '00:00:07'),
])
def test_portmirror_completes_selectors(complete, line, offers):
    host = ['unshare', '--net', '--mount', 'bash', '-c', HOST, sys.executable]
    assert complete('portmirror', line, *host) == set(offers.split())


def test_the_page_has_every_kind_of_event():
    source = (TOP / 'src/portmirror/events.c').read_text()
    kinds = re.findall(r'"([a-z-]+)"', re.search(r'kinds\[\] = \{(.*?)\}', source, re.S)[1])
    told = re.search(r'^\.Ss events\n(.*?)^\.El', PAGES['portmirror'].read_text(), re.M | re.S)[1]
    heads = re.findall(r'^\.It (.*)', told, re.M)
    assert sorted(' , '.join(heads).split(' , ')) == sorted(kinds)


@pytest.mark.parametrize('name, written', [
    ('stopexec', r'(?:json|write)_\w+\((?:&?\w+), "([a-z_]+)"'),
    ('bounce-mbox', r'\\"([a-z_-]+)\\": '),
])
def test_the_page_names_every_key_of_json(name, written):
    """Told by the source, which writes them itself; those of portmirror tests/net/test_page.py asks for."""
    keys = {key for path in (TOP / 'src' / name).glob('*.c') for key in re.findall(written, path.read_text())}
    told = re.search(r'^\.SH JSON\n(.*?)^\.SH ', PAGES[name].read_text(), re.M | re.S)[1]
    assert len(keys) > 10 and keys <= set(re.findall(r'[a-z][a-z_-]+', told)), keys
