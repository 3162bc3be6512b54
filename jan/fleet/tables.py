"""Rows of the fleet: machines, providers, their endpoints, models, and what is to run where."""

from piccolo.columns import (
    JSONB,
    Array,
    BigInt,
    Boolean,
    Integer,
    Real,
    Text,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table

from jan import clock, ids


def new_provider_id() -> str:
    """Make a provider's id."""
    return ids.new("prov")


def new_endpoint_id() -> str:
    """Make an endpoint's id."""
    return ids.new("ep")


def new_deployment_id() -> str:
    """Make a deployment's id."""
    return ids.new("depl")


class Node(Table, tablename="node"):
    """A machine, or a container, with a `jan serve` that runs engines."""

    name = Varchar(length=200, primary_key=True, help_text="Host and JAN_HOME: `box:/var/lib/jan`.")
    hardware = JSONB(default="{}", help_text="GPUs and memory, as they were found last.")
    started_at = Timestamptz()
    seen_at = Timestamptz()


class Provider(Table, tablename="provider"):
    """Who serves models: engines of a node, or a server elsewhere that speaks OpenAI's protocol."""

    id = Varchar(length=40, primary_key=True, default=new_provider_id)
    name = Varchar(length=64, unique=True)
    kind = Text(help_text="`runner`, `openai` or `jan`.")
    node = Varchar(length=200, null=True, default=None, help_text="Whose engines; else null.")
    managed_by = Text(default="operator", help_text="`operator`, or `settings` where those say it.")
    sealed = Text(null=True, default=None, help_text="Its API key, see `jan.seal`.")
    prefix = Varchar(length=64, default="", help_text="Put before the names of its models.")
    only_models = Array(Text(), null=True, default=None, help_text="Its names. Null: all.")
    is_enabled = Boolean(default=True)
    created_at = Timestamptz(default=clock.now)
    updated_at = Timestamptz(default=clock.now)


class Endpoint(Table, tablename="endpoint"):
    """One instance of a provider: an address at which requests are answered."""

    id = Varchar(length=40, primary_key=True, default=new_endpoint_id)
    provider_id = Varchar(length=40)
    deployment_id = Varchar(length=40, null=True, default=None)
    generation = Integer(default=1, help_text="Of the deployment, when this engine was started.")
    url = Text(help_text="Without `/v1`. `unix:///path` for an engine of a node.")
    node = Varchar(length=200, null=True, default=None, help_text="Who can reach it. Null: all.")
    weight = Integer(default=1, help_text="It gets so many times the work of one with 1.")
    max_running = Integer(null=True, default=None, help_text="Null: as many as there are.")
    is_enabled = Boolean(default=True)
    is_draining = Boolean(default=False, help_text="It ends what it does and gets nothing new.")
    state = Text(default="unknown", help_text="As its leader sees it, see `jan.fleet.leader`.")
    since = Timestamptz(default=clock.now)
    last_error = Text(null=True, default=None)
    served = JSONB(default="[]", help_text="Its models, as it listed them last.")
    checked_at = Timestamptz(null=True, default=None)
    latency_ms = Real(null=True, default=None, help_text="Of the last look.")
    created_at = Timestamptz(default=clock.now)


class Model(Table, tablename="model"):
    """What the operator says of a model, whoever serves it. Without a row nothing is said."""

    id = Varchar(length=128, primary_key=True, help_text="By which clients ask for it.")
    owned_by = Varchar(length=128, null=True, default=None)
    capabilities = Array(Text(), null=True, default=None, help_text="Null: as it is told.")
    context_length = Integer(null=True, default=None, help_text="In tokens.")
    fallbacks = Array(Text(), default=[], help_text="Models that stand in for it, best first.")
    is_enabled = Boolean(default=True)
    prompt_price = BigInt(null=True, default=None, help_text="Micro-dollars a million tokens.")
    cached_price = BigInt(null=True, default=None, help_text="Null: as the prompt's.")
    completion_price = BigInt(null=True, default=None)
    created_at = Timestamptz(default=clock.now)
    updated_at = Timestamptz(default=clock.now)


class ModelAlias(Table, tablename="model_alias"):
    """Another name for a model, which need not be there yet."""

    alias = Varchar(length=128, primary_key=True)
    model_id = Varchar(length=128)
    created_at = Timestamptz(default=clock.now)


class Deployment(Table, tablename="deployment"):
    """A model that is to run on a node, and how far it is. See `jan.deployments`."""

    id = Varchar(length=40, primary_key=True, default=new_deployment_id)
    node = Varchar(length=200)
    model = Varchar(length=128, help_text="By its name in the node's model store.")
    engine_args = Text(default="")
    gpus = Array(Integer(), null=True, default=None, help_text="Null: placed automatically.")
    memory_fraction = Real(null=True, default=None)
    instances = Integer(default=1)
    tensor_parallel = Integer(default=1)
    max_running = Integer(null=True, default=None)
    idle_unload_s = Real(null=True, default=None)
    replace = Text(default="surge", help_text="`surge` or `recreate`.")
    wanted = Text(default="loaded", help_text="`idle`: unloaded until somebody asks for it.")
    generation = Integer(default=1, help_text="Engines of an earlier one are to be replaced.")
    managed_by = Text(default="operator", help_text="`operator`, or `settings` where those say it.")
    status = Text(default="pending")
    message = Text(default="", help_text="How far it is, or why it failed.")
    share = Real(null=True, default=None, help_text="Of the step that `message` names.")
    created_at = Timestamptz(default=clock.now)
    updated_at = Timestamptz(default=clock.now)
