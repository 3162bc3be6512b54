"""The list of models."""

import httpx

from tests.fakes import MODEL


async def test_a_model_with_a_slash_in_its_name_is_found_either_way(
    client: httpx.AsyncClient,
) -> None:
    plain = await client.get(f"/v1/models/{MODEL}")
    encoded = await client.get("/v1/models/" + MODEL.replace("/", "%2F"))

    expected = {"id": MODEL, "object": "model", "created": 1, "owned_by": "vllm"}
    lengths = {"max_model_len": 8192, "context_length": 8192}
    assert plain.json() == encoded.json() == expected | lengths


async def test_the_list_of_models_tells_nothing_of_the_machine(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/models")

    assert [model["id"] for model in answer.json()["data"]] == [MODEL]
    assert "/srv/x" not in answer.text
