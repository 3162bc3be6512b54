"""Who is asking: resolved once at the edge from the credential, then handed down.

No code below the edge looks at the request again to learn it.
"""

from dataclasses import dataclass
from typing import Literal, Self

from jan import permissions
from jan.errors import Forbidden, InvalidRequest
from jan.permissions import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a request acts as, where, and what it may do there."""

    kind: Literal["operator", "user", "key"]
    scopes: frozenset[Scope]
    """What holds in all of the organization, and the data plane of `project_id`."""
    organization_id: str | None = None
    """What they administer, if anything."""
    project_id: str | None = None
    """Where what is made belongs. None: no project was named and none follows."""
    is_at_home: bool = False
    """Whether that project is the person's own, which stands outside of all organizations."""
    user_id: str | None = None
    """The person, or the owner of the key."""
    key_id: str | None = None
    service_account_id: str | None = None
    session_id: str | None = None
    email: str | None = None
    """The person's, for the audit log."""
    allowed_models: frozenset[str] | None = None
    """Those on the key's own list. None: all."""
    allow_lists: tuple[frozenset[str], ...] = ()
    """Those of the project and of its organization, where they have any: what is on all of them."""
    denied_models: frozenset[str] = frozenset()
    """Those that may not be used though they are allowed."""
    queue_weight: int = 1
    """How many turns the project gets at a busy model beside one with 1."""
    address: str = ""
    """Where the request came from. Empty on the hot path, where nobody asks."""
    user_agent: str = ""

    @classmethod
    def operator(cls, organization_id: str | None = None, project_id: str | None = None) -> Self:
        """Whoever can read JAN_HOME or the database's address: that is the operator's proof."""
        return cls(
            kind="operator",
            scopes=permissions.OPERATOR,
            organization_id=organization_id,
            project_id=project_id,
        )

    @property
    def owning_organization_id(self) -> str | None:
        """The organization of `project_id`. None: the person's own project has none."""
        return None if self.is_at_home else self.organization_id

    @property
    def owner_id(self) -> str | None:
        """Whose the conversations and responses are that this caller makes in the project.

        A person's, whatever they come with; else the service account's, or the key's own. None:
        an operator, who has none.
        """
        return self.user_id or self.service_account_id or self.key_id

    def require_place(self) -> tuple[str, str]:
        """Tell where conversations and responses of this caller are: the project, and the owner.

        Raises:
            InvalidRequest: no project was named and none follows, or they are nobody's.
        """
        if self.project_id is None or self.owner_id is None:
            raise InvalidRequest(
                "What is kept is somebody's, in a project: name one by `OpenAI-Project`, as a"
                " person or with a key of theirs or of a service account."
            )
        return self.project_id, self.owner_id

    @property
    def is_platform(self) -> bool:
        """Whether all organizations and users of this Jan are theirs to administer."""
        return Scope.PLATFORM_ADMIN in self.scopes

    def may_use(self, model: str, asked_as: str | None = None) -> bool:
        """Whether a model may be used, perhaps by the other name that it was asked for by."""
        names = (model, asked_as or model)
        if any(name in self.denied_models for name in names):
            return False
        allowed = self.allowed_models
        lists = self.allow_lists if allowed is None else (allowed, *self.allow_lists)
        return all(any(name in each for name in names) for each in lists)

    def require(self, scope: Scope) -> None:
        """Refuse whoever may not.

        Raises:
            Forbidden: the scope is not among the caller's.
        """
        if scope not in self.scopes:
            raise Forbidden(f"This credential lacks the scope `{scope}`.")
