"""Inviting: nobody offers what they lack, and nobody is offered it twice."""

from datetime import timedelta

import pytest

from jan import clock
from jan.errors import Conflict, Forbidden, InvalidCode, InvalidRequest, NotFound
from jan.invites import service as invites
from jan.invites.schemas import InviteCreate
from jan.organization import access
from jan.pages import Wanted
from tests.conftest import execute, fetch
from tests.invites.conftest import BOB, Office, acts, code_of

OVERDUE = "UPDATE invite SET expires_at = now() - interval '1 second'"


async def test_an_invite_says_what_it_is_and_shows_its_link_where_no_mail_is_sent(
    office: Office,
) -> None:
    invite = await office.invite(" Bob@Example.com ", "reader", [("proj_a", "owner")])

    assert (invite.email, invite.role, invite.status) == (BOB, "reader", "pending")
    assert [(each.id, each.role) for each in invite.projects] == [("proj_a", "owner")]
    assert invite.expires_at - invite.created_at == 7 * 86400
    assert str(invite.link).startswith("http://127.0.0.1:8080/invite?code=")
    assert await acts() == ["invite.sent"]
    again = await invites.get(await office.caller(), invite.id)
    assert not again.link, "it is in the answer to who sent it, and nowhere else"


async def test_a_code_is_not_stored(office: Office) -> None:
    code = code_of(await office.invite())

    (row,) = await fetch("SELECT to_jsonb(i)::text AS text, digest FROM invite AS i")
    (log,) = await fetch("SELECT details FROM audit_log")
    assert code not in row["text"] + log["details"]
    assert len(row["digest"]) == 64


async def test_who_is_in_the_organization_is_not_invited(office: Office) -> None:
    with pytest.raises(Conflict) as refusal:
        await office.invite("Reader_A@example.com")

    assert refusal.value.param == "email"
    await office.invite("owner_b@example.com")  # of another one


async def test_who_is_invited_is_not_invited_again_but_by_others(office: Office) -> None:
    await office.invite()

    with pytest.raises(Conflict):
        await office.invite("BOB@example.com", "owner")
    await office.invite(by="owner_b")


async def test_who_let_an_invite_expire_may_be_invited_anew(office: Office) -> None:
    first = await office.invite()
    await execute(OVERDUE)

    second = await office.invite()

    caller = await office.caller()
    assert (await invites.get(caller, first.id)).status == "expired"
    assert (await invites.get(caller, second.id)).status == "pending"
    with pytest.raises(Conflict):
        await invites.resend(caller, first.id, means=office.means)


@pytest.mark.parametrize("project_id", ["proj_b", "proj_none", "proj_\x00", "proj_\ud800", ""])
async def test_projects_of_others_are_as_missing_ones(office: Office, project_id: str) -> None:
    with pytest.raises((NotFound, InvalidRequest)) as refusal:
        await office.invite(projects=[("proj_a", "member"), (project_id, "member")])

    if project_id.isprintable():
        assert isinstance(refusal.value, NotFound)
        assert refusal.value.param == "projects[1].id"
    assert await fetch("SELECT id FROM invite") == []


async def test_projects_are_active_and_named_once(office: Office) -> None:
    with pytest.raises(Conflict) as archived:
        await office.invite(projects=[("proj_archived", "member")])
    with pytest.raises(InvalidRequest) as twice:
        await office.invite(projects=[("proj_a", "member"), ("proj_a", "owner")])
    with pytest.raises(InvalidRequest) as many:
        await office.invite(projects=[("proj_a", "member")] * 101)

    assert archived.value.param == "projects[0].id"
    assert twice.value.param == "projects[1].id"
    assert many.value.param == "projects"


@pytest.mark.parametrize("email", ["bob", "", "bob@", "a@b@c", f"{'b' * 250}@example.com"])
async def test_an_address_is_one(office: Office, email: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await office.invite(email)

    assert refusal.value.param == "email"


@pytest.mark.parametrize("person", ["reader_a", "member_a"])
async def test_only_owners_invite(office: Office, person: str) -> None:
    invite = await office.invite()
    caller = await office.caller(person)

    with pytest.raises(Forbidden):
        await office.invite("eve@example.com", by=person)
    with pytest.raises(Forbidden):
        await invites.resend(caller, invite.id, means=office.means)
    with pytest.raises(Forbidden):
        await invites.delete(caller, invite.id)


async def test_an_invite_of_another_organization_is_as_a_missing_one(office: Office) -> None:
    invite = await office.invite()
    stranger = await office.caller("owner_b")

    for invite_id in (invite.id, "invite_none"):
        with pytest.raises(NotFound):
            await invites.get(stranger, invite_id)
        with pytest.raises(NotFound):
            await invites.delete(stranger, invite_id)
        with pytest.raises(NotFound):
            await invites.resend(stranger, invite_id, means=office.means)
    assert (await invites.page(stranger, Wanted())).data == []
    with pytest.raises(InvalidRequest):
        await invites.page(stranger, Wanted(after=invite.id))
    await office.accept(code_of(invite))


async def test_resending_voids_the_old_code_and_gives_seven_more_days(office: Office) -> None:
    old = await office.invite()
    await execute(OVERDUE)

    new = await invites.resend(await office.caller(), old.id, means=office.means)

    assert (new.id, new.status) == (old.id, "pending")
    assert new.expires_at > (clock.now() + timedelta(days=6, hours=23)).timestamp()
    with pytest.raises(InvalidCode):
        await office.accept(code_of(old))
    await office.accept(code_of(new))
    assert (await acts())[:2] == ["invite.sent", "invite.sent"]


async def test_an_accepted_invite_is_neither_sent_again_nor_taken_back(office: Office) -> None:
    invite = await office.invite()
    await office.accept(code_of(invite))
    caller = await office.caller()

    with pytest.raises(Conflict):
        await invites.resend(caller, invite.id, means=office.means)
    with pytest.raises(Conflict):
        await invites.delete(caller, invite.id)
    assert (await invites.get(caller, invite.id)).accepted_at


async def test_the_link_of_an_invite_that_was_taken_back_is_void(office: Office) -> None:
    invite = await office.invite()

    deleted = await invites.delete(await office.caller(), invite.id)

    assert (deleted.object, deleted.id) == ("organization.invite.deleted", invite.id)
    with pytest.raises(InvalidCode):
        await office.accept(code_of(invite))
    with pytest.raises(NotFound):
        await invites.get(await office.caller(), invite.id)
    assert await acts() == ["invite.sent", "invite.deleted"]


async def test_invites_are_listed_in_pages(office: Office) -> None:
    sent = [(await office.invite(f"{name}@example.com")).id for name in "abc"]
    caller = await office.caller("reader_a")

    first = await invites.page(caller, Wanted(limit=2))
    second = await invites.page(caller, Wanted(limit=2, after=first.last_id))

    assert [each.id for each in [*first.data, *second.data]] == sent
    assert (first.has_more, second.has_more) == (True, False)
    with pytest.raises(Forbidden):
        await invites.page(await office.caller("member_a"), Wanted())


async def test_the_operator_invites_too(office: Office) -> None:
    caller = await access.operator("org_b")
    wanted = InviteCreate(email=BOB, role="owner")

    invite = await invites.create(caller, wanted, means=office.means)

    accepted = await office.accept(code_of(invite))
    assert accepted.organization_id == "org_b"
