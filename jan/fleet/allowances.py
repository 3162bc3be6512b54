"""Which models a project may use, and its weight at busy ones; and which an organization may use.

An organization's owners say it of its projects, whoever administers all of this Jan says it of
organizations, and gives weights: they are shares among all tenants.
Source: https://platform.openai.com/docs/api-reference/project-model-permissions
"""

from typing import Any, Literal

import msgspec

from jan.audit import service as audit
from jan.audit.schemas import OUTSIDE
from jan.caller import Caller
from jan.db import scope
from jan.errors import NotFound
from jan.fleet import provided
from jan.permissions import Scope
from jan.projects import access

FIND = "SELECT allowed_models, denied_models FROM project WHERE id = $1"
SET = "UPDATE project SET allowed_models = $2, denied_models = $3 WHERE id = $1"
FIND_ORGANIZATION = "SELECT id, allowed_models FROM organization WHERE id = $1 FOR NO KEY UPDATE"
SET_ORGANIZATION = "UPDATE organization SET allowed_models = $2 WHERE id = $1"
FIND_WEIGHT = """
SELECT id, organization_id, queue_weight FROM project WHERE id = $1 FOR NO KEY UPDATE
"""
SET_WEIGHT = "UPDATE project SET queue_weight = $2 WHERE id = $1"


class ModelPermissions(msgspec.Struct, kw_only=True):
    """Source: OpenAI's `project.model_permissions`. Nothing said: an empty list of denied ones."""

    object: Literal["project.model_permissions"] = "project.model_permissions"
    mode: Literal["allow_list", "deny_list"]
    model_ids: list[str]


class ModelPermissionsUpdate(msgspec.Struct, kw_only=True):
    """What is to hold instead of what did."""

    mode: Literal["allow_list", "deny_list"]
    model_ids: list[str]


class ModelPermissionsDeleted(msgspec.Struct, kw_only=True):
    """Nothing is said any more."""

    object: Literal["project.model_permissions.deleted"] = "project.model_permissions.deleted"
    deleted: Literal[True] = True


class OrganizationModels(msgspec.Struct, kw_only=True):
    """Which models an organization may use. None: all."""

    object: Literal["organization.models"] = "organization.models"
    id: str
    model_ids: list[str] | None


class OrganizationModelsUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which it may use from now on. None: all."""

    model_ids: list[str] | None


class QueueWeight(msgspec.Struct, kw_only=True):
    """How many turns a project gets at a busy model beside one with 1."""

    object: Literal["project.queue_weight"] = "project.queue_weight"
    id: str
    queue_weight: int


class QueueWeightUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How many from now on."""

    queue_weight: int


async def get(caller: Caller, project_id: str) -> ModelPermissions:
    """Tell what a project may use.

    Raises:
        NotFound: there is no such project, or none that the caller may see.
    """
    async with (
        access.within(caller, project_id, Scope.PROJECTS_READ) as place,
        scope.of(caller) as connection,
    ):
        return _shown(await connection.fetchrow(FIND, place.id))


async def update(
    caller: Caller, project_id: str, wanted: ModelPermissionsUpdate
) -> ModelPermissions:
    """Say what a project may use. Not its own owner: the list is its organization's.

    Raises:
        Forbidden: the caller does not administer the organization.
        NotFound: as `get`.
        InvalidRequest: a name does not fit.
        Conflict: it is archived, or a person's own.
    """
    names = provided.models(wanted.model_ids, param="model_ids") or []
    is_allowed = wanted.mode == "allow_list"
    return await _set(
        caller, project_id, names if is_allowed else None, None if is_allowed else names
    )


async def delete(caller: Caller, project_id: str) -> ModelPermissionsDeleted:
    """Let a project use all that its organization may.

    Raises:
        As `update`.
    """
    await _set(caller, project_id, None, None)
    return ModelPermissionsDeleted()


async def of_organization(caller: Caller, organization_id: str) -> OrganizationModels:
    """Tell which models an organization may use.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is no such organization.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await _row(connection, FIND_ORGANIZATION, "organization", organization_id)
    return OrganizationModels(id=row["id"], model_ids=row["allowed_models"])


async def set_of_organization(
    caller: Caller, organization_id: str, wanted: OrganizationModelsUpdate
) -> OrganizationModels:
    """Say which models an organization may use.

    Raises:
        As `of_organization`; InvalidRequest: a name does not fit.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    names = provided.models(wanted.model_ids, param="model_ids")
    async with scope.of_all() as connection:
        row = await _row(connection, FIND_ORGANIZATION, "organization", organization_id)
        await connection.execute(SET_ORGANIZATION, row["id"], names)
        await audit.record(
            caller,
            "organization.models.updated",
            row["id"],
            organization_id=row["id"],
            before={"allowed_models": row["allowed_models"]},
            changes={"allowed_models": names},
        )
    return OrganizationModels(id=row["id"], model_ids=names)


async def weight(caller: Caller, project_id: str) -> QueueWeight:
    """Tell a project's weight.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is no such project.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    async with scope.of_all() as connection:
        row = await _row(connection, FIND_WEIGHT, "project", project_id)
    return QueueWeight(id=row["id"], queue_weight=row["queue_weight"])


async def set_weight(caller: Caller, project_id: str, wanted: QueueWeightUpdate) -> QueueWeight:
    """Give a project a weight.

    Raises:
        Forbidden: the caller does not administer this Jan.
        NotFound: there is no such project.
        InvalidRequest: it is not 1 to 100.
    """
    caller.require(Scope.PLATFORM_ADMIN)
    turns = provided.weight(wanted.queue_weight, param="queue_weight")
    async with scope.of_all() as connection:
        row = await _row(connection, FIND_WEIGHT, "project", project_id)
        await connection.execute(SET_WEIGHT, row["id"], turns)
        await audit.record(
            caller,
            "project.queue_weight.updated",
            row["id"],
            organization_id=row["organization_id"] or OUTSIDE,
            project_id=row["id"],
            before={"queue_weight": row["queue_weight"]},
            changes={"queue_weight": turns},
        )
    return QueueWeight(id=row["id"], queue_weight=turns)


async def _set(
    caller: Caller, project_id: str, allowed: list[str] | None, denied: list[str] | None
) -> ModelPermissions:
    async with (
        access.within(caller, project_id, Scope.PROJECTS_READ, is_changed=True) as place,
        scope.of(caller) as connection,
    ):
        caller.require(Scope.PROJECTS_WRITE)
        access.require_shared(place)
        before = await connection.fetchrow(FIND, place.id)
        await connection.execute(SET, place.id, allowed, denied)
        after = await connection.fetchrow(FIND, place.id)
        await audit.record(
            caller,
            "project.models.updated",
            place.id,
            project_id=place.id,
            before=dict(before),
            changes=dict(after),
        )
        return _shown(after)


async def _row(connection: Any, query: str, what: str, its_id: str) -> Any:
    row = None if "\0" in its_id else await connection.fetchrow(query, its_id)
    if row is None:
        raise NotFound(f"There is no {what} `{its_id}`.")
    return row


def _shown(row: Any) -> ModelPermissions:
    if row["allowed_models"] is not None:
        return ModelPermissions(mode="allow_list", model_ids=row["allowed_models"])
    return ModelPermissions(mode="deny_list", model_ids=row["denied_models"] or [])
