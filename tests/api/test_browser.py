# SPDX-License-Identifier: MIT
"""A person with nothing but a browser, and no JavaScript: headless Chromium clicks through the life of a
mirror, over loopback TCP in the host's namespace, with Basic authentication."""
import os
import socket

import pytest
import selenium.webdriver
import urllib3.util.connection as connection
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from daemon import TOKEN, Daemon, Lab, ethernet, ipv4, until

PORT = 8640
FLAGS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking',
         '--disable-component-update', '--disable-sync', '--disable-default-apps', '--no-first-run',
         '--disable-dev-shm-usage', '--disable-extensions', '--window-size=1200,1600']


@pytest.fixture
def lab():
    if os.geteuid() != 0:
        pytest.skip('only root can make network namespaces')
    with Lab() as made:
        yield made


@pytest.fixture
def daemon(lab, tmp_path):
    token = tmp_path / 'token'
    token.write_text(TOKEN + '\n')
    token.chmod(0o600)
    root = tmp_path / 'root'
    root.mkdir()
    made = Daemon(lab.host, root, '--listen', f'tcp:127.0.0.1:{PORT}', '--listen',
                  f'unix:{root}/run/portmirror/api.sock', '--token-file', token)
    yield made
    made.stop()


@pytest.fixture
def browser(lab, tmp_path, monkeypatch):
    """chromedriver listens in the host's namespace; so does the browser that it starts live there, with
    no way out."""
    original = connection.create_connection  # urllib3's

    def listens():
        with socket.socket() as probe:
            return probe.connect_ex(('127.0.0.1', 9515)) == 0

    options = selenium.webdriver.ChromeOptions()
    options.binary_location = '/usr/bin/chromium'
    for flag in [*FLAGS, f'--user-data-dir={tmp_path}/profile']:
        options.add_argument(flag)
    options.add_experimental_option('prefs', {'profile.managed_default_content_settings.javascript': 2})
    log = open(tmp_path / 'chromedriver.log', 'w', encoding='utf-8')
    process = lab.host.popen('/usr/bin/chromedriver', '--port=9515', stdout=log, stderr=log,
                             env={**os.environ, 'HOME': str(tmp_path)})
    try:
        # Connections of this process to the driver are made in that namespace.
        monkeypatch.setattr(connection, 'create_connection',
                            lambda *arguments, **keywords: lab.host.inside(
                                lambda: original(*arguments, **keywords)))
        until(lambda: lab.host.inside(listens), 20)
        driver = selenium.webdriver.Remote('http://127.0.0.1:9515', options=options)
        driver.implicitly_wait(10)
        yield driver
        driver.quit()
    finally:
        process.terminate()
        process.wait(10)
        log.close()


class Person:
    """Sees the page, follows links by their words, fills forms in by their labels."""

    def __init__(self, driver):
        self.driver = driver

    def sees(self, words):
        """Waits for the words: a click returns before the next page is there."""
        def there():
            try:
                return words in self.driver.find_element(By.TAG_NAME, 'body').text
            except StaleElementReferenceException:
                return False
        until(there, what=words)

    def click(self, words):
        self.driver.find_element(By.LINK_TEXT, words).click()

    def form(self, button):
        """The form with that button."""
        return self.driver.find_element(By.XPATH, f'//form[.//button[normalize-space()="{button}"]]')

    def fill(self, form, label, value):
        name = form.find_element(By.XPATH, f'.//label[normalize-space(text())="{label}"]')
        field = form.find_element(By.ID, name.get_attribute('for'))
        if field.tag_name == 'select':
            Select(field).select_by_visible_text(value)
        else:
            field.clear()
            field.send_keys(value)

    def press(self, button):
        self.form(button).find_element(By.XPATH, f'.//button[normalize-space()="{button}"]').click()

    def attribute(self, name):
        def text():
            try:
                return [self.driver.find_element(
                    By.XPATH, f'//table[@class="resource"]//th[text()="{name}"]/following-sibling::td'
                ).text]
            except StaleElementReferenceException:
                return None
        return until(text, what=name)[0]


def frame(sender, to):
    return ethernet(to.mac, sender.mac, 0x0800, ipv4(sender.ipv4, to.ipv4, os.urandom(20)))


@pytest.mark.ordinary
def test_the_life_of_a_mirror_by_clicking(lab, daemon, browser):
    before, (a, b) = lab.host.state(), lab.machines
    person = Person(browser)
    browser.get(f'http://admin:{TOKEN}@127.0.0.1:{PORT}/')
    person.sees('How the mirrors of this host stand')

    # No script runs here.
    browser.get('data:text/html,<noscript>none</noscript><script>document.write("some")</script>')
    person.sees('none')
    assert 'some' not in browser.find_element(By.TAG_NAME, 'body').text
    browser.get(f'http://127.0.0.1:{PORT}/')

    # Create: first with a mistake.
    person.click('create mirror')
    form = person.form('Create')
    name = form.find_element(By.NAME, 'name')
    person.fill(form, 'name', 'i d')
    assert browser.execute_script('return arguments[0].validity.patternMismatch', name)
    person.fill(form, 'name', 'ids-1.a_b')
    assert browser.execute_script('return arguments[0].validity.valid', name)
    person.fill(form, 'name', 'ids')
    person.fill(form, 'from', 'port:vnet1')
    person.fill(form, 'to', 'port:ids0')
    person.fill(form, 'filter', 'ip prt 80')
    person.press('Create')
    person.sees('syntax error')  # and the form again, as it was typed
    form = person.form('Create')
    assert browser.switch_to.active_element.get_attribute('name') == 'filter'
    person.fill(form, 'filter', 'ip')
    person.press('Create')
    until(lambda: daemon.get('/api/mirrors/ids').status == 200 and daemon.state('ids') == 'whole')

    # Look at it.
    browser.get(f'http://127.0.0.1:{PORT}/')
    person.click('ids')
    assert person.attribute('state') == 'whole' and person.attribute('filter') == 'ip'

    # Change.
    person.click('update')
    person.fill(person.form('Save'), 'direction', 'sent')
    person.press('Save')
    until(lambda: daemon.get('/api/mirrors/ids').value['direction'] == 'sent')

    # Check.
    browser.get(f'http://127.0.0.1:{PORT}/api/mirrors/ids')
    person.click('create action')
    form = person.form('Create')
    person.fill(form, 'type', 'check')
    person.fill(form, 'seconds', '1')
    person.press('Create')
    person.sees('The status monitor')  # a browser is led there

    def proven():
        a.send([frame(a, b) for _ in range(20)])
        browser.refresh()
        return person.attribute('status') == '201 Created'
    until(proven, 20)
    person.sees('was copied once')

    # Remove.
    browser.get(f'http://127.0.0.1:{PORT}/')
    person.click('ids')
    person.click('delete')
    person.press('Delete')
    until(lambda: daemon.get('/api/mirrors').value == [])
    assert lab.host.back_to(before)


# What a page is like: in the page, by scripts of the driver's, which run where the page's own may not.
WIDTH = 'return document.documentElement.scrollWidth'
LABELS = '''return [...document.querySelectorAll("input:not([type=hidden]),select,textarea")]
.filter(field => !field.labels.length).map(field => field.outerHTML)'''
HEADINGS = 'return [...document.querySelectorAll("h1,h2,h3")].map(heading => heading.tagName)'
FAINT = '''
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
const behind = element => {
    for (; element; element = element.parentElement) {
        const colour = numbers(getComputedStyle(element).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
};
return [...document.querySelectorAll("body *")].filter(element => element.checkVisibility?.() ?? true)
    .filter(element => [...element.childNodes].some(node => node.nodeType == 3 && node.data.trim()))
    .map(element => {
        const [a, b] = [light(numbers(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
        return [(a + .05) / (b + .05), element.outerHTML.slice(0, 80)];
    }).filter(([contrast]) => contrast < 4.5)'''
PAGES = ['/', '/documentation', '/api', '/api/mirrors', '/api/mirrors;create', '/api/mirrors/ids',
         '/api/mirrors/ids;update', '/api/mirrors/ids/actions', '/api/mirrors/ids/sources',
         '/api/ports', '/api/vms', '/api/events', '/api/findings', '/api/monitors', '/api/mirrors/nothing']


@pytest.mark.ordinary
def test_pages_can_be_read_by_everybody(daemon, browser):
    """On a narrow screen nothing is cut off, in the dark nothing is too faint (WCAG 2, 1.4.3), and by the
    keyboard everything is reached."""
    daemon.post('/api/mirrors', {'name': 'ids', 'from': ['port:vnet1', 'port:later'], 'to': 'port:ids0'})
    action = daemon.act('ids', type='tc').value['href'].removeprefix('http://localhost')
    browser.get(f'http://admin:{TOKEN}@127.0.0.1:{PORT}/')

    def emulate(what, **how):
        browser.command_executor._commands['cdp'] = ('POST', '/session/$sessionId/goog/cdp/execute')
        browser.execute('cdp', {'cmd': f'Emulation.set{what}', 'params': how})

    for path in [*PAGES, action]:
        browser.get(f'http://127.0.0.1:{PORT}{path}')
        for width in 1200, 360:
            emulate('DeviceMetricsOverride', width=width, height=800, deviceScaleFactor=1, mobile=False)
            assert browser.execute_script(WIDTH) <= width, (path, width)
        assert browser.execute_script(LABELS) == [], path
        headings = browser.execute_script(HEADINGS)
        assert headings.count('H1') == 1 and headings[0] == 'H1', path
        assert all(int(b[1]) - int(a[1]) <= 1 for a, b in zip(headings, headings[1:])), (path, headings)
        for scheme in 'light', 'dark':
            emulate('EmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
            assert browser.execute_script(FAINT) == [], (path, scheme)
        assert browser.execute_script('document.body.style.color = "#999"; document.body.style.background = "#fff";'
                                      + FAINT) != []  # it would be seen
    browser.get(f'http://127.0.0.1:{PORT}/api/mirrors')
    body = browser.find_element(By.TAG_NAME, 'body')
    body.send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == 'Skip to the content' and first.is_displayed()
    assert browser.execute_script('return getComputedStyle(document.activeElement).outlineStyle') == 'solid'
    first.send_keys(Keys.ENTER)
    reached = set()
    for _ in range(20):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.switch_to.active_element.text.split('\n')[0])
    assert {'ids', 'Create mirror', 'Search mirror'} <= reached, reached
