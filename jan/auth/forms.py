"""Pages that people open from a link: the first owner's set-up, an invite, a new password.

Each is one document that loads nothing. Its policy names its style and its script by their hashes,
so that nothing else runs, whatever finds its way into the page. Opening one changes nothing: mail
servers look at links before people do.
"""

import base64
import functools
import hashlib
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from litestar import MediaType, Response, Router, get
from litestar.datastructures import Cookie
from litestar.params import FromQuery
from markupsafe import Markup

from jan import assets
from jan.auth.passwords import MIN_LENGTH
from jan.errors import JanError

TEMPLATES = "auth/templates"
MAX_CODE_LENGTH = 256
"""Longer ones are none, and need not be repeated to who sends them."""

MIN_HINT = f"{MIN_LENGTH} characters or more."
NO_CODE = "This link is incomplete. Copy the whole of it, or ask for a new one."


@dataclass(frozen=True, slots=True)
class Field:
    """One line to fill in."""

    name: str
    label: str
    kind: str = "text"
    completes: str = "off"
    """What browsers and password managers fill in."""
    hint: str = ""
    is_required: bool = True


NAME = Field("name", "Your name", completes="name", is_required=False)
EMAIL = Field("email", "E-mail address", "email", "username")
PASSWORD = Field("password", "Password", "password", "new-password", MIN_HINT)
AGAIN = Field("again", "The same password again", "password", "new-password")


@dataclass(frozen=True, slots=True)
class Form:
    """What a page says, and where it sends what is filled in."""

    title: str
    intro: str
    action: str
    fields: tuple[Field, ...]
    button: str
    done_title: str
    done: str


SETUP = Form(
    title="Set up Jan",
    intro="You are the first owner: you can invite others, and make projects and keys.",
    action="/v1/auth/setup",
    fields=(NAME, EMAIL, PASSWORD, AGAIN),
    button="Set up",
    done_title="Jan is yours",
    done="You can close this page, and sign in with your e-mail address and password.",
)
INVITE = Form(
    title="Accept the invite",
    intro="Choose a password, if you do not have one here yet. If you have, leave it empty.",
    action="/v1/organization/invites/verification",
    fields=(
        NAME,
        Field(
            "password",
            "Password",
            "password",
            "new-password",
            MIN_HINT,
            is_required=False,
        ),
    ),
    button="Accept",
    done_title="Welcome",
    done="You are in. You can close this page.",
)
RESET = Form(
    title="Set a new password",
    intro="You will be signed out everywhere, and can sign in with the new password.",
    action="/v1/auth/password/reset",
    fields=(PASSWORD, AGAIN),
    button="Set the password",
    done_title="Your password is set",
    done="You can close this page, and sign in with the new password.",
)


def router() -> Router:
    """Make the routes of the pages."""

    @get("/setup", operation_id="setup_page", sync_to_thread=False)
    def setup_page(code: FromQuery[str] = "") -> Response[str]:
        """Show the page on which the first owner tells who they are."""
        return shown(SETUP, code)

    @get("/invite", operation_id="invite_page", sync_to_thread=False)
    def invite_page(code: FromQuery[str] = "") -> Response[str]:
        """Show the page on which an invite is accepted."""
        return shown(INVITE, code)

    @get("/reset", operation_id="reset_page", sync_to_thread=False)
    def reset_page(code: FromQuery[str] = "") -> Response[str]:
        """Show the page on which a new password is set."""
        return shown(RESET, code)

    return Router("/", route_handlers=[setup_page, invite_page, reset_page], tags=["Pages"])


def shown(form: Form, code: str) -> Response[str]:
    """Show a form for a code; whether it is good is found out when the form is sent."""
    if not 0 < len(code) <= MAX_CODE_LENGTH:
        return told(form.title, NO_CODE, status=400)
    return _page(
        "form",
        title=form.title,
        intro=form.intro,
        action=form.action,
        code=code,
        fields=form.fields,
        button=form.button,
        done_title=form.done_title,
        done=form.done,
        min_length=MIN_LENGTH,
        script=Markup(_text("form.js")),  # noqa: S704 - a file of ours
    )


def notice(title: str, error: JanError, *more: Cookie) -> Response[str]:
    """Tell a person in words what a program would be told in JSON."""
    page = told(title, error.message, *more, status=error.status)
    if error.retry_after_s is not None:
        page.headers["retry-after"] = str(error.retry_after_s)
    return page


def told(title: str, words: str, *more: Cookie, status: int = 200) -> Response[str]:
    """Tell a person something."""
    return _page("notice", *more, status=status, title=title, words=words)


def _page(template: str, *more: Cookie, status: int = 200, **context: Any) -> Response[str]:
    text = (
        _environment()
        .get_template(f"{TEMPLATES}/{template}.html.j2")
        .render(
            style=Markup(_text("style.css")),  # noqa: S704 - a file of ours
            **context,
        )
    )
    return Response(
        text,
        status_code=status,
        media_type=MediaType.HTML,
        headers={"content-security-policy": _policy()},
        cookies=more,
    )


@functools.cache
def _policy() -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash('style.css')}'",
            f"script-src '{_hash('form.js')}'",
            "connect-src 'self'",
            "form-action 'none'",  # the script sends it
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash(name: str) -> str:
    digest = hashlib.sha256(_text(name).encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@functools.cache
def _text(name: str) -> str:
    return assets.path(f"jan/{TEMPLATES}/{name}").read_text(encoding="utf-8")


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(assets.path("jan")),
        autoescape=select_autoescape(("html.j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
