"""Responsible for signing in at the demo's provider as a person would: prints the secret of the session.

Usage: sign_in.py ORIGIN ACCOUNT CERTIFICATE
"""

import re
import ssl
import sys
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

SESSION = "__Host-Http-session"


def main(origin: str, account: str, certificate: str) -> None:
    context = ssl.create_default_context(cafile=certificate)
    jar = CookieJar()
    browser = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), urllib.request.HTTPCookieProcessor(jar)
    )
    with browser.open(f"{origin}/login", timeout=20) as page:
        address, text = page.geturl(), page.read().decode()
    handle = re.search(r'name="handle" value="([^"]+)"', text)
    if handle is None:
        sys.exit(f"no login form at {address}")
    form = {"handle": handle[1], "username": account, "password": account}
    provider = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(address))
    answer = urllib.request.Request(
        urllib.parse.urljoin(address, "/authorize"),
        urllib.parse.urlencode(form).encode(),
        {"Origin": provider},
    )
    browser.open(answer, timeout=20).close()
    secrets = [cookie.value for cookie in jar if cookie.name == SESSION]
    if not secrets:
        sys.exit("the gateway set no session cookie")
    print(secrets[0])


main(*sys.argv[1:])
