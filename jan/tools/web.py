"""`google_search` and `scrape`: Jan Server's tools, by its names and arguments.

Whoever searches, the tool keeps its name: models and prompts know it.
"""

from typing import Any

import msgspec

from jan.caller import Caller
from jan.errors import InvalidRequest
from jan.tools.provider import Json, Page, Query, is_web
from jan.tools.search import Pages, Search
from jan.tools.toolbox import Annotations, Result, Tool

SEARCH = "google_search"
SCRAPE = "scrape"

MAX_QUESTION = 2048
"""Characters: Google's own limit, about."""
MAX_URL = 8192
MAX_RESULTS = 100
MAX_PAGES = 100
MAX_TEXT = 200_000
"""Characters of a page that are told: more than any model here reads."""

READS_THE_WEB = {"is_read_only": True, "is_destructive": False, "is_idempotent": True}

SEARCH_DESCRIPTION = (
    "Search the web with Google and return the results as JSON: `organic` (title, link and snippet"
    " of each page), and where there are any `knowledgeGraph`, `answerBox`, `peopleAlsoAsk`,"
    " `relatedSearches`, `images` and `news`. Use it for what is recent, local or otherwise not"
    " known for certain; read a page that was found with `scrape`."
)
SEARCH_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "q": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_QUESTION,
            "description": "What to search for. Google's operators work, such as `site:`,"
            ' `filetype:`, `"exact words"` and `-without`.',
        },
        "gl": {
            "type": "string",
            "maxLength": 8,
            "description": "Country to search from, as two letters (ISO 3166-1), such as `us`,"
            " `gb` or `de`.",
        },
        "hl": {
            "type": "string",
            "maxLength": 16,
            "description": "Language of the results, as two letters (ISO 639-1), such as `en`,"
            " `es` or `de`.",
        },
        "location": {
            "type": "string",
            "maxLength": 200,
            "description": "Place to search from, for local results, such as"
            " `Austin, Texas, United States`.",
        },
        "num": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_RESULTS,
            "default": 10,
            "description": f"How many results to return, 1 to {MAX_RESULTS}.",
        },
        "tbs": {
            "type": "string",
            "maxLength": 200,
            "description": "Only results of the last hour (`qdr:h`), day (`qdr:d`), week (`qdr:w`),"
            " month (`qdr:m`) or year (`qdr:y`).",
        },
        "page": {
            "type": "integer",
            "minimum": 1,
            "maximum": MAX_PAGES,
            "default": 1,
            "description": "Which page of the results to return; the first is 1.",
        },
        "autocorrect": {
            "type": "boolean",
            "default": True,
            "description": "Whether spelling mistakes in `q` are corrected.",
        },
    },
    "required": ["q"],
    "additionalProperties": False,
}
SCRAPE_DESCRIPTION = (
    "Read a web page and return, as JSON, its `text`, its `metadata` (such as title, author and"
    " date), and its content as `markdown` if that is asked for."
)
SCRAPE_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "url": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_URL,
            "description": "Address of the page, beginning with `https://` or `http://`.",
        },
        "includeMarkdown": {
            "type": "boolean",
            "default": False,
            "description": "Whether to return the content as Markdown too, with headings, lists"
            " and links.",
        },
    },
    "required": ["url"],
    "additionalProperties": False,
}


def google_search(search: Search) -> Tool:
    """Make the tool that searches."""

    async def call(_: Caller, said: Json) -> Result:
        found = await search.find(query(said))
        return _result(found.document)

    return Tool(
        name=SEARCH,
        description=SEARCH_DESCRIPTION,
        input_schema=SEARCH_SCHEMA,
        call=call,
        annotations=Annotations(title="Web search", **READS_THE_WEB),
    )


def scrape(pages: Pages) -> Tool:
    """Make the tool that reads pages."""

    async def call(_: Caller, said: Json) -> Result:
        url = said["url"].strip()
        if not is_web(url):
            raise InvalidRequest("`url` must be an address on the web, by http(s).", param="url")
        page = await pages.read(url, include_markdown=said.get("includeMarkdown", False))
        return _result(_page(page))

    return Tool(
        name=SCRAPE,
        description=SCRAPE_DESCRIPTION,
        input_schema=SCRAPE_SCHEMA,
        call=call,
        annotations=Annotations(title="Read a web page", **READS_THE_WEB),
    )


def query(said: Json) -> Query:
    """Read the question out of arguments that fit the schema.

    Raises:
        InvalidRequest: there is nothing to search for.
    """
    values: dict[str, Any] = {
        name: value.strip() if isinstance(value, str) else value for name, value in said.items()
    }
    if not values["q"]:
        raise InvalidRequest("`q` must say what to search for.", param="q")
    for name in ("gl", "hl"):
        if name in values:
            values[name] = values[name].lower()
    for name in ("num", "page"):
        if name in values:
            values[name] = int(values[name])  # 10.0 is an integer to JSON schema
    return Query(**{name: value for name, value in values.items() if value != ""})


def _page(page: Page) -> Json:
    document: Json = {"text": page.text[:MAX_TEXT], "metadata": page.metadata}
    if page.markdown is not None:
        document["markdown"] = page.markdown[:MAX_TEXT]
    if page.is_cut or max(len(page.text), len(page.markdown or "")) > MAX_TEXT:
        document["truncated"] = True
    return document


def _result(document: Json) -> Result:
    return Result(text=msgspec.json.encode(document).decode(), structured=document)
