"""A mail says what it is to say, to one person, and nothing that its contents smuggle in."""

import email
import re
from email.message import EmailMessage
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateNotFound, UndefinedError

from jan.errors import InvalidRequest
from jan.mail import message
from jan.mail.message import Words
from jan.values import ADDRESS

INVITE = {"organization": "Acme", "inviter": "ada@example.com", "link": "https://x/?a=1", "days": 7}
HEADERS = [
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
    *("MIME-Version", "Content-Type"),
]


def sent(words: Words, recipient: str = "bob@example.com") -> EmailMessage:
    """What arrives at the other side."""
    composed = message.compose(
        words, sender="Jän <jan@example.com>", recipient=recipient, message_id="<1@example.com>"
    )
    arrived = email.message_from_bytes(composed.as_bytes(), policy=SMTP)
    assert isinstance(arrived, EmailMessage)
    return arrived


def body(arrived: EmailMessage, kind: str) -> str:
    part = arrived.get_body((kind,))
    assert part is not None
    return part.get_content()


def test_an_invite_has_a_subject_a_text_and_a_page() -> None:
    arrived = sent(message.render("mail/invite", INVITE))

    assert arrived["Subject"] == "You are invited to Acme"
    assert str(arrived["From"]) == "Jän <jan@example.com>"
    assert str(arrived["To"]) == "bob@example.com"
    assert arrived.get_content_type() == "multipart/alternative"
    assert "ada@example.com invites you to Acme on Jan." in body(arrived, "plain")
    assert "https://x/?a=1" in body(arrived, "plain")
    assert 'href="https://x/?a=1"' in body(arrived, "html")


def test_a_password_reset_can_be_written() -> None:
    context = {"email": "bob@example.com", "link": "https://x/", "minutes": 30}

    words = message.render("mail/password_reset", context)

    assert "bob@example.com" in words.text
    assert "within 30 minutes" in words.html


def test_what_fills_the_page_is_escaped() -> None:
    context = {**INVITE, "organization": "<script>alert(1)</script>", "link": 'x" onclick="y'}

    words = message.render("mail/invite", context)

    assert "<script>" not in words.html
    assert 'onclick="' not in words.html
    assert "<script>" in words.text


def test_what_a_template_wants_and_does_not_get_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        message.render("mail/invite", {"organization": "Acme"})
    with pytest.raises(TemplateNotFound):
        message.render("mail/missing", {})
    with pytest.raises(TemplateNotFound):
        message.render("mail/templates/../../../tests/x", {})


def test_a_subject_is_one_line_whatever_is_in_it() -> None:
    name = "Acme\r\nBcc: eve@example.com\r\n\r\nHello"

    arrived = sent(message.render("mail/invite", {**INVITE, "organization": name}))

    assert arrived["Bcc"] is None
    assert arrived["Subject"] == "You are invited to Acme Bcc: eve@example.com Hello"
    assert arrived.keys() == HEADERS


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_no_name_adds_a_header(name: str) -> None:
    arrived = sent(message.render("mail/invite", {**INVITE, "organization": name}))

    assert arrived.keys() == HEADERS
    assert len(arrived["To"].addresses) == 1
    assert "https://x/?a=1" in body(arrived, "plain")


@given(recipient=st.from_regex(ADDRESS, fullmatch=True).filter(lambda text: len(text) < 255))
def test_an_address_arrives_as_it_was_given(recipient: str) -> None:
    (address,) = sent(Words("s", "t", "h"), recipient)["To"].addresses

    assert f"{address.username}@{address.domain}" == recipient


@pytest.mark.parametrize(
    "recipient",
    [
        *("", "bob", "bob@", "@example.com", "bob@example.com, eve@example.com"),
        *("bob@example.com\r\nBcc: eve@example.com", "bob@example.com\n", "Bob <bob@example.com>"),
        *("<bob@example.com>", "b ob@example.com", "bob@exa mple.com", "bob@example..com"),
        *('"bob eve"@example.com', "\ud800@example.com", f"{'b' * 250}@example.com"),
    ],
)
def test_what_is_not_one_address_is_refused(recipient: str) -> None:
    with pytest.raises(InvalidRequest, match="no e-mail address") as refusal:
        message.address(recipient)

    assert refusal.value.param == "email"
    assert refusal.value.message.isprintable()


def test_no_two_messages_have_one_id() -> None:
    first, second = (message.new_message_id("Jan <jan@example.com>") for _ in range(2))

    assert first != second
    assert re.fullmatch(r"<\S+@example\.com>", first)
