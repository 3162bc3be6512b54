"""Chats are made shorter by their oldest messages."""

from typing import Any

from jan.errors import ContextLengthExceeded
from jan.responses import truncation


def say(role: str, text: str = "x" * 10) -> dict[str, Any]:
    return {"role": role, "content": text}


CALL = {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}" * 5}}


def test_the_oldest_go_first_and_instructions_stay() -> None:
    chat = [say("system"), say("user", "old" * 5), say("assistant"), say("user"), say("assistant")]
    kept = truncation.shortened(chat, 0.75)

    assert kept == [chat[0], *chat[2:]]


def test_the_last_question_and_the_newest_message_stay() -> None:
    chat = [say("user", "question")]
    for _ in range(5):
        chat += [{"role": "assistant", "content": None, "tool_calls": [CALL]}, say("tool")]
    kept = truncation.shortened(chat, 0.01)

    assert kept == [chat[0], *chat[-2:]]


def test_calls_and_their_outputs_go_together() -> None:
    calls = {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]}
    chat = [say("user", ""), calls, say("tool"), say("tool"), say("user")]
    kept = truncation.shortened(chat, 0.9)

    assert kept == [chat[-1]]


def test_where_nothing_can_be_dropped_it_is_said() -> None:
    assert truncation.shortened([say("system"), say("user")], 0.1) is None


def test_pictures_count_as_more_than_their_words() -> None:
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "u"}}]}
    kept = truncation.shortened([picture, say("user"), say("user")], 0.5)

    assert kept == [say("user"), say("user")]


def test_how_much_to_keep_follows_from_the_servers_own_numbers() -> None:
    words = "maximum context length is 1000 tokens. However, your prompt contains {} input tokens"
    exact = ContextLengthExceeded(words.format(2000))
    vague = ContextLengthExceeded(words.format("at least 1001"))

    assert truncation.share_to_keep(exact, 200) == 0.95 * 800 / 2000
    assert truncation.share_to_keep(exact, None) == 0.95 * 750 / 2000
    assert truncation.share_to_keep(vague, None) == 0.5
