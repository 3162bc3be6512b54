"""Every table that Jan declares, for whoever compares them with the database's."""

from jan.audit.tables import AuditLog
from jan.auth.tables import Attempt, Identity, OneTimeCode, RefreshToken, Session
from jan.conv.tables import Workspace
from jan.conversations.tables import Conversation, ConversationItem
from jan.fleet.tables import Deployment, Endpoint, Model, ModelAlias, Node, Provider
from jan.invites.tables import Invite, InviteProject
from jan.keys.tables import ApiKey
from jan.limits.tables import Bucket
from jan.organization.tables import Organization, OrganizationMember
from jan.projects.tables import Project, ProjectMember, ServiceAccount
from jan.responses.tables import Response, ResponseEvent, ResponseItem
from jan.tools.tables import McpServer, ToolAnswer
from jan.usage.tables import ToolCall, Usage
from jan.users.tables import User

TABLES = (
    ApiKey,
    Attempt,
    AuditLog,
    Bucket,
    Conversation,
    ConversationItem,
    Deployment,
    Endpoint,
    Identity,
    Invite,
    InviteProject,
    McpServer,
    Model,
    ModelAlias,
    Node,
    OneTimeCode,
    Organization,
    OrganizationMember,
    Project,
    ProjectMember,
    Provider,
    RefreshToken,
    Response,
    ResponseEvent,
    ResponseItem,
    ServiceAccount,
    Session,
    ToolAnswer,
    ToolCall,
    Usage,
    User,
    Workspace,
)
