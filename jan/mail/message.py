"""What a mail says: templates in, a message out that is addressed to one person and nobody else.

A mail `invites/invite` is three files, `jan/invites/templates/invite.{subject,txt,html}.j2`. What
fills the HTML one is escaped, and a name that a template wants and does not get is an error.
"""

import functools
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid, parseaddr
from typing import Any

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from jan import assets, clock
from jan.errors import InvalidRequest
from jan.values import ADDRESS

MAX_ADDRESS_LENGTH = 254
"""Source: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.1.3 (a path, less its brackets)."""
MAX_SUBJECT_LENGTH = 200
"""Names of organizations are in it; what is longer is cut."""


class Words(msgspec.Struct, frozen=True):
    """A mail's text, in both ways to write it."""

    subject: str
    text: str
    html: str


def render(template: str, context: Mapping[str, Any]) -> Words:
    """Fill a mail's templates.

    Raises:
        jinja2.TemplateError: one is missing, or wants what is not in `context`: a bug of ours.
    """
    folder, _, name = template.rpartition("/")
    subject, text, html = (
        _environment().get_template(f"{folder}/templates/{name}.{kind}.j2").render(context)
        for kind in ("subject", "txt", "html")
    )
    return Words(_line(subject)[:MAX_SUBJECT_LENGTH], text, html)


def compose(words: Words, *, sender: str, recipient: str, message_id: str) -> EmailMessage:
    """Make the message. `message_id` stays the same when it is sent again, so that it is told.

    Raises:
        InvalidRequest: the recipient is no address.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = _sender(sender)
    message["To"] = address(recipient)
    message["Subject"] = words.subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office note comes back
    message.set_content(words.text)
    message.add_alternative(words.html, subtype="html")
    return message


def address(text: str) -> Address:
    """Read one address, without a name.

    Raises:
        InvalidRequest: it is none, or more than one.
    """
    if len(text) > MAX_ADDRESS_LENGTH or not ADDRESS.fullmatch(text):
        raise InvalidRequest(f"`{_line(text)[:80]}` is no e-mail address.", param="email")
    username, _, domain = text.rpartition("@")
    return Address(username=username, domain=domain)


def new_message_id(sender: str) -> str:
    """Make an id for one message."""
    return make_msgid(domain=_sender(sender).domain)


def _sender(text: str) -> Address:
    name, plain = parseaddr(text)
    username, _, domain = plain.rpartition("@")
    return Address(name, username, domain)


def _line(text: str) -> str:
    """One line of what can be seen: a subject is a header, and headers end with their line."""
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(assets.path("jan")),
        autoescape=select_autoescape(("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
