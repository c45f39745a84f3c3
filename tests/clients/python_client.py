"""The official Python MCP client lists the tools, submits a task, waits for it and meets an error."""

import asyncio
import sys

from mcp import ClientSession
from mcp.client import streamable_http

connect = getattr(streamable_http, "streamable_http_client", None) or streamable_http.streamablehttp_client


def structured(result):
    value = getattr(result, "structuredContent", None)
    return value if value is not None else getattr(result, "structured_content", None)


def is_error(result):
    return bool(getattr(result, "isError", None) or getattr(result, "is_error", None))


async def main(url: str) -> None:
    async with connect(url) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            assert {"p2p_taskqueue_submit", "tools_list_categories"} <= tools, tools
            print("ok   python client: lists", len(tools), "tools")

            submitted = structured(
                await session.call_tool(
                    "p2p_taskqueue_submit", {"task_type": "echo", "payload": {"text": "hello from Python"}}
                )
            )
            result = structured(
                await session.call_tool("p2p_taskqueue_get_result", {"task_id": submitted["task_id"], "wait_s": 20})
            )
            assert result["status"] == "completed", result
            assert result["result"] == {"text": "hello from Python"}, result
            print("ok   python client: submits a task and reads its result", result["output_cid"])

            refused = await session.call_tool("p2p_taskqueue_get_result", {"task_id": "nonsense"})
            assert is_error(refused), refused
            assert structured(refused)["error"]["code"] == "invalid_argument", refused
            print("ok   python client: a mistake is a tool error with a code")

            both = await asyncio.gather(
                *(
                    session.call_tool("p2p_taskqueue_submit", {"task_type": "cid", "payload": {"value": n}})
                    for n in range(32)
                )
            )
            assert len({structured(one)["task_id"] for one in both}) == 32
            print("ok   python client: 32 calls at once")


asyncio.run(main(sys.argv[1]))
