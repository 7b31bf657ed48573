# SPDX-License-Identifier: MIT
"""./check and what it is made of: it counts right, and it can fail."""
import pathlib
import shutil
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


def run(*command, **options):
    return subprocess.run(command, check=False, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, **options)


def tally(*files):
    return run(TOP / '.ci/tally', *files).stdout.splitlines()


def test_tally_reads_meson(tmp_path):
    log = tmp_path / 'log.json'
    log.write_text('{"name": "a", "result": "OK"}\n'
                   '{"name": "b", "result": "FAIL"}\n'
                   '{"name": "c", "result": "TIMEOUT"}\n'
                   '{"name": "d", "result": "SKIP", "stdout": "so\\nno bridge here\\n"}\n')
    assert tally(log) == ['1 2 1', 'failed: b', 'failed: c', 'skipped: d: no bridge here']


def test_tally_reads_pytest(tmp_path):
    test = tmp_path / 'test_x.py'
    test.write_text('import pytest\n'
                    'def test_good(): pass\n'
                    'def test_bad(): assert False\n'
                    'def test_broken(nothing): pass\n'
                    'def test_late(): pytest.skip("no bridge here")\n')
    result = run('/usr/bin/python3', '-m', 'pytest', '-p', 'no:cacheprovider',
                 f'--rootdir={tmp_path}', f'--junitxml={tmp_path}/x.xml', test)
    assert result.returncode == 1
    assert tally(tmp_path / 'x.xml') == ['1 2 1', 'failed: test_x: test_bad', 'failed: test_x: test_broken',
                                         'skipped: test_x: test_late: no bridge here']


def test_tally_counts_what_it_cannot_read_as_failed(tmp_path):
    (tmp_path / 'cut.xml').write_text('<testsuites><testsuite')
    (tmp_path / 'cut.json').write_text('{"name": ')
    files = [tmp_path / name for name in ('cut.json', 'cut.xml', 'none.xml')]
    assert tally(*files) == ['0 3 0', *(f'failed: {file}' for file in files)]


@pytest.fixture
def tree(tmp_path):
    """A tree of its own that check can run in: the real commands, one small C file."""
    for name in ('check', 'demo', 'bench', '.clang-format', '.clang-tidy'):
        shutil.copy(TOP / name, tmp_path)
    shutil.copytree(TOP / '.ci', tmp_path / '.ci')
    (tmp_path / 'benchmarks').mkdir()
    (tmp_path / 'tests/labs').mkdir(parents=True)
    (tmp_path / 'src').mkdir()
    (tmp_path / 'src/a.c').write_text('int main(void)\n{\n\treturn 0;\n}\n')
    (tmp_path / 'meson.build').write_text(
        "project('x', 'c', default_options: 'werror=true')\nsubdir('src')\n")
    (tmp_path / 'src/meson.build').write_text("test('a', executable('a', 'a.c'), suite: 'unit')\n")
    (tmp_path / 'tests/labs/test_x.py').write_text(
        'import pytest\ndef test_x(): pass\ndef test_y(): pytest.skip("no bridge here")\n')
    return tmp_path


def check(tree, *suites):
    return run(tree / 'check', *suites, timeout=300)


def test_the_last_line_counts_all_suites(tree):
    result = check(tree, 'format', 'unit', 'labs')
    lines = result.stdout.splitlines()
    assert result.returncode == 0, result.stdout + result.stderr
    assert lines[-2:] == ['skipped: tests.labs.test_x: test_y: no bridge here',
                          '3 passed, 0 failed, 1 skipped']


def test_nothing_passed_is_a_failure(tree):
    (tree / 'tests/labs/test_x.py').write_text('import pytest\ndef test_y(): pytest.skip("no")\n')
    result = check(tree, 'labs')
    assert result.returncode == 1
    assert result.stdout.splitlines()[-1] == '0 passed, 0 failed, 1 skipped'


@pytest.mark.parametrize('suite, path, text', [
    ('format', 'src/a.c', 'int main(void) { return 0; }\n'),
    ('lint', 'src/a.c', 'int main(int argc, char **argv)\n{\n\tint a;\n\n\t(void)argv;\n'
                        '\tif (argc > 1)\n\t\ta = 1;\n\treturn a;\n}\n'),
    ('lint', 'demo', '#!/bin/bash\ncd $1\n'),
    ('unit', 'src/a.c', 'int main(void)\n{\n\treturn 1;\n}\n'),
    ('unit', 'src/a.c', 'no C\n'),
    ('unit', 'meson.build', 'no meson\n'),
    ('labs', 'tests/labs/test_x.py', 'def test_x(): assert False\n'),
    ('labs', 'tests/labs/test_x.py', 'import nothing_of_that_name\n'),
    ('sanitize', 'src/a.c', 'int main(int argc, char **argv)\n{\n\tint a[2] = {0};\n\n'
                            '\t(void)argv;\n\treturn a[argc + 1];\n}\n'),
    ('analyze', 'src/a.c', '#include <stdlib.h>\n\nstatic int f(int n)\n{\n'
                           '\tchar *p = malloc(9);\n\n\tif (n > 5)\n\t\treturn 1;\n\tfree(p);\n'
                           '\treturn 0;\n}\n\nint main(int argc, char **argv)\n{\n'
                           '\t(void)argv;\n\treturn f(argc);\n}\n'),
    ('analyze', 'src/meson.build', ''),
])
def test_a_suite_can_fail(tree, suite, path, text):
    (tree / path).write_text(text)
    result = check(tree, suite)
    assert result.returncode == 1, result.stdout + result.stderr
    *_, named, counts = result.stdout.splitlines()
    assert named.startswith('failed: ') and ' 0 failed' not in counts


def test_lint_forgets_when_a_file_changes(tree):
    assert check(tree, 'lint').returncode == 0
    (tree / 'src/a.h').write_text('static inline int f(void)\n{\n\tint a;\n\n\treturn a;\n}\n')
    source = tree / 'src/a.c'
    source.write_text('#include "a.h"\n\nint main(void)\n{\n\treturn f();\n}\n')
    assert check(tree, 'lint').returncode == 1
    (tree / 'src/a.h').write_text('static inline int f(void)\n{\n\treturn 0;\n}\n')
    assert check(tree, 'lint').returncode == 0
    (tree / 'src/a.h').write_text('static inline int f(void)\n{\n\tint a;\n\n\treturn a;\n}\n')
    assert check(tree, 'lint').returncode == 1


@pytest.mark.parametrize('suite', ['lint', 'analyze'])
def test_a_file_that_is_new_is_looked_at(tree, suite):
    assert check(tree, suite).returncode == 0
    (tree / 'src/b.c').write_text('no C\n')
    (tree / 'src/meson.build').write_text("executable('a', 'a.c', 'b.c')\n")
    assert check(tree, suite).returncode == 1


def test_a_known_false_report_is_passed_over_while_it_is_there(tree):
    source, known = tree / 'src/a.c', tree / '.ci/analyze-known'
    source.write_text('#include <stdlib.h>\n\nint f(int n);\nint f(int n)\n{\n'
                      '\tchar *p = malloc(9);\n\n\treturn n + !p;\n}\n\n'
                      'int main(int argc, char **argv)\n{\n\t(void)argv;\n\treturn f(argc) > 9;\n}\n')
    known.write_text('')
    assert check(tree, 'analyze').returncode == 1
    known.write_text('# why\nsrc/a.c f\n')
    assert check(tree, 'analyze').returncode == 0
    source.write_text('int main(void)\n{\n\treturn 0;\n}\n')
    result = check(tree, 'analyze')
    assert result.returncode == 1 and 'strike it from' in result.stdout


def test_an_unknown_suite_is_refused(tree):
    result = check(tree, 'nonsense')
    assert result.returncode == 2 and "no suite called 'nonsense'" in result.stderr


def test_help_names_every_suite():
    result = run(TOP / 'check', '--help')
    assert result.returncode == 0
    for suite in ('format', 'lint', 'analyze', 'unit', 'sanitize', 'house', 'fuzz', 'soak', 'coverage'):
        assert f' {suite} ' in result.stdout


def test_ci_runs_check_in_plain_text(tree):
    result = run('bash', tree / '.ci/run', 'format', env={'PATH': '/usr/sbin:/usr/bin:/sbin:/bin',
                                                         'CI': 'true', 'TERM': 'xterm'})
    assert result.returncode == 0 and '\033' not in result.stdout
    assert result.stdout.splitlines()[-1] == '1 passed, 0 failed, 0 skipped'
