"""Invites over HTTP: OpenAI's SDK, the mail that goes out, and who may do what."""

import re
from typing import Any

import openai
import pytest

from jan.db.engine import Database
from jan.invites import acceptance
from tests.fakes import FakeUpstream
from tests.invites.conftest import BOB, Office, code_of, role_of, running_office
from tests.jobs.workers import until, working
from tests.mail.servers import HOST, mail_server


async def test_openais_sdk_invites_lists_finds_and_takes_back(office: Office) -> None:
    async with office.sdk(await office.admin_key()) as client:
        invites = client.admin.organization.invites
        made = await invites.create(
            email=BOB, role="reader", projects=[{"id": "proj_a", "role": "member"}]
        )
        found = await invites.retrieve(made.id)
        listed = [each async for each in invites.list(limit=1)]
        deleted = await invites.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await invites.retrieve(made.id)

    assert made.object == "organization.invite"
    assert (made.status, made.role, made.accepted_at) == ("pending", "reader", None)
    assert made.projects
    assert (made.projects[0].id, made.projects[0].role) == ("proj_a", "member")
    assert made.expires_at == made.created_at + 7 * 86400
    assert (found.id, [each.id for each in listed]) == (made.id, [made.id])
    assert (deleted.object, deleted.deleted) == ("organization.invite.deleted", True)


async def test_jan_servers_names_are_there_too(office: Office) -> None:
    answer = await office.ask(
        "owner_a",
        "POST",
        json={"email": BOB, "role": "member", "projects": [{"id": "proj_a", "role": "owner"}]},
    )

    body = answer.json()
    assert answer.status_code == 200
    assert body["Projects"] == body["projects"] == [{"id": "proj_a", "role": "owner"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", body["invited_at"])


async def test_an_invite_is_accepted_by_who_has_nothing_but_its_link(office: Office) -> None:
    made = (await office.ask("owner_a", "POST", json={"email": BOB, "role": "member"})).json()
    code = code_of(made["link"])

    answer = await office.verify(code, name="Bob", password="correct horse battery")
    again = await office.verify(code)

    body = answer.json()
    assert (answer.status_code, body["object"]) == (200, "organization.invite")
    assert (body["status"], body["is_new_user"]) == ("accepted", True)
    assert "token" not in answer.text
    assert code not in answer.text
    assert await role_of(body["user_id"]) == "member"
    assert (again.status_code, again.json()["error"]["code"]) == (400, "invalid_code")


async def test_who_guesses_gets_429(office: Office) -> None:
    for _ in range(acceptance.GUESSES.most):
        answer = await office.verify("x" * 43)
        assert answer.status_code == 400

    answer = await office.verify("x" * 43)

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0


async def test_the_link_comes_by_mail_and_is_not_shown(
    database: Database, database_url: str, upstream: FakeUpstream
) -> None:
    async with (
        mail_server() as server,
        running_office(
            database,
            upstream,
            public_url="https://jan.example.com",
            smtp_host=HOST,
            smtp_port=server.port,
            smtp_sender_email="jan@example.com",
            smtp_security="none",
        ) as office,
        working(database_url, *office.means.outbox.jobs()),
    ):
        made = await office.ask("owner_a", "POST", json={"email": BOB, "role": "reader"})
        await until(lambda: server.letters)
        sent = await office.ask("owner_a", "POST", f"/{made.json()['id']}/resend")
        await until(lambda: len(server.letters) == 2)
        first, second = (_link(letter) for letter in server.letters)
        answers = [await office.verify(code_of(link)) for link in (first, second)]

    assert (made.status_code, sent.status_code) == (200, 200)
    assert "link" not in made.json()
    assert "link" not in sent.json()
    assert first.startswith("https://jan.example.com/invite?code=")
    assert str(server.letters[0]["To"]) == BOB
    assert "owner_a@example.com" in server.letters[0].as_string()
    assert [answer.status_code for answer in answers] == [400, 200]


def _link(letter: Any) -> str:
    text = letter.get_body(("plain",)).get_content()
    (link,) = re.findall(r"https?://\S+", text)
    return link


@pytest.mark.parametrize("who", [None, "sk-jan-wrong"])
async def test_nobody_else_comes_in(office: Office, who: str | None) -> None:
    for method, path in (("GET", ""), ("POST", ""), ("GET", "/invite_1"), ("DELETE", "/invite_1")):
        answer = await office.ask(who, method, path, {} if method == "POST" else None)
        assert answer.status_code == 401


async def test_readers_read_and_members_do_not(office: Office) -> None:
    invite = await office.invite()
    body = {"email": "eve@example.com", "role": "owner"}

    assert (await office.ask("reader_a", "GET")).json()["data"][0]["id"] == invite.id
    assert (await office.ask("reader_a", "GET", f"/{invite.id}")).status_code == 200
    assert (await office.ask("member_a", "GET")).status_code == 403
    for person in ("reader_a", "member_a"):
        assert (await office.ask(person, "POST", json=body)).status_code == 403
        assert (await office.ask(person, "DELETE", f"/{invite.id}")).status_code == 403
        assert (await office.ask(person, "POST", f"/{invite.id}/resend")).status_code == 403


async def test_what_is_another_organizations_is_not_found(office: Office) -> None:
    invite = await office.invite()

    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/resend")):
        answer = await office.ask("owner_b", method, f"/{invite.id}{path}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    answer = await office.ask(
        "owner_b",
        "POST",
        json={"email": BOB, "role": "member", "projects": [{"id": "proj_a", "role": "owner"}]},
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "projects[0].id")
    assert (await office.ask("owner_b", "GET")).json()["data"] == []


@pytest.mark.parametrize(("role", "status"), [("owner", 403), ("reader", 403), ("member", 200)])
async def test_a_narrow_key_offers_no_more_than_it_has(
    office: Office, role: str, status: int
) -> None:
    key = await office.admin_key("invites:admin")

    made = await office.ask(key, "POST", json={"email": BOB, "role": role})

    assert made.status_code == status


async def test_a_narrow_key_offers_no_projects(office: Office) -> None:
    key = await office.admin_key("invites:admin", "members:admin")
    body = {"email": BOB, "role": "owner", "projects": [{"id": "proj_a", "role": "member"}]}

    assert (await office.ask(key, "POST", json=body)).status_code == 403
    assert (await office.ask(key, "POST", json=body | {"projects": []})).status_code == 200


async def test_a_narrow_key_does_not_get_at_the_link_of_a_wider_invite(office: Office) -> None:
    invite = await office.invite(role="owner")
    key = await office.admin_key("invites:admin")

    answer = await office.ask(key, "POST", f"/{invite.id}/resend")

    assert answer.status_code == 403
    assert (await office.verify(code_of(invite))).status_code == 200


async def test_a_key_without_the_scope_does_not_invite(office: Office) -> None:
    key = await office.admin_key("projects:read")

    assert (await office.ask(key, "POST", json={"email": BOB, "role": "member"})).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"email": BOB},
        {"email": BOB, "role": "admin"},
        {"email": 1, "role": "owner"},
        {"email": BOB, "role": "owner", "projects": [{"id": "proj_a", "role": "reader"}]},
        {"email": BOB, "role": "owner", "projects": "proj_a"},
        {"email": f"{BOB}\r\nBcc: eve@example.com", "role": "owner"},
    ],
)
async def test_what_does_not_fit_is_400(office: Office, body: Any) -> None:
    answer = await office.ask("owner_a", "POST", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [None, {}, {"code": 1}, {"code": None}, {"code": ["a"]}])
async def test_a_verification_without_a_code_is_400(office: Office, body: Any) -> None:
    answer = await office.ask(None, "POST", "/verification", body)

    assert answer.status_code == 400
