"""Whatever is typed into whichever form, what is wrong with it is said in people's words."""

import html
import re
from collections.abc import Iterator
from typing import cast

import httpx

from shared.catalogue import CATALOGUE, PLAIN
from tests.support.inprocess import InProcess
from tests.support.people import HtmlForm, Sent, forms
from tests.support.serving import Partner, Server
from tests.support.tour import PAGES, Tour
from tests.test_docs import once

NONSENSE = ("", "x", "\x01", "é" * 300)
"""What is typed into every field of a form."""
FOR_PROGRAMS = re.compile(
    r"[a-z][A-Z]"  # a name such as firstName
    r"|[a-z]_[a-z]"  # one such as starting_after
    r"|\bparameters?\b|\brequest\b|\b1 characters|E\.164|control character|/v1/"
    r"|'"  # a value that only the form sends
)
"""What only programs are told."""
SAID = re.compile(
    r'<p class="(?:error|notice bad)"[^>]*>(.*?)</p>|<div class="notice bad".*?<ul>(.*?)</ul>', re.S
)
"""What stands beside a field, and at the top of a form."""
PAGE = re.compile(r"<main.*?<h1>(.*?)</main>", re.S)


def said(page: httpx.Response) -> Iterator[str]:
    """Yield what a page says is wrong: beside fields, or, where it has none, all of it."""
    for found in SAID.findall(page.text) or [PAGE.findall(page.text)]:
        for part in filter(None, found):
            yield html.unescape(re.sub(r"<[^>]+>", " ", part)).strip()


def typed(form: HtmlForm, nonsense: str) -> Sent:
    """Return what a form sends with the same in every field that somebody sees."""
    hidden = {name: text for name, text in form.fields if name not in form.typed}
    chosen = dict.fromkeys(form.names, nonsense) if nonsense.strip() else {}
    tokens = {name: text for name, text in hidden.items() if name in ("_csrf", "_once")}
    return {**hidden, **chosen, **dict.fromkeys(form.typed, nonsense), **tokens}


@once
def test_what_is_wrong_with_a_form_is_said_in_the_words_of_people(partner: Partner) -> None:
    tour = Tour(partner)
    refused: set[str] = set()
    for portal, template in PAGES:
        person = tour.visitor(portal, template)
        path = tour.path(template)
        for nonsense in NONSENSE:
            person.enter(cast("Server", InProcess(partner.backing, "")), portal)
            for form in forms(person.ask("GET", path)):
                action = form.action or path
                if action == "/sign-out" or not form.names - {"_csrf", "_once"}:
                    continue
                sent = typed(form, nonsense)
                if form.method == "get":
                    answer = person.ask("GET", action.partition("?")[0], params=dict(sent))
                else:
                    answer = person.post(action, sent)
                where = (portal, template, action, nonsense[:3])
                assert answer.status_code < 500, where
                if answer.status_code < 400:
                    continue
                sentences = [*said(answer)]
                assert sentences, where
                refused |= set(sentences)
                for sentence in sentences:
                    assert not FOR_PROGRAMS.search(sentence), (where, sentence)
    assert len(refused) > 80


def test_people_are_told_in_other_words_of_codes_that_there_are() -> None:
    assert PLAIN.keys() <= CATALOGUE.keys()
