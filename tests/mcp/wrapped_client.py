"""The official Python client of MCP with a server in `execward mcp-wrap`: wrapped_client.py EXECWARD STATE, in a workspace that
holds server.py."""

import asyncio
import json
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

TOKEN = "ghp_" + "Zk3vQ9xT7mB2wR5nL8cY1fH6jD4sG0pAqWeU"


async def main() -> None:
    server = StdioServerParameters(
        command=sys.argv[1],
        args=["mcp-wrap", "--state", sys.argv[2], "--env", "PLAIN", "--", "python3", "server.py"],
        env={**os.environ, "PLAIN": "yes", "SOME_TOKEN": TOKEN},
        cwd=os.getcwd(),
    )
    async with stdio_client(server) as (reader, writer), ClientSession(reader, writer) as session:
        await session.initialize()
        # Newer releases of the package name fields as Python does, older ones as the protocol does.
        def failed(result):
            return result.is_error if hasattr(result, "is_error") else result.isError

        tools = [tool.name for tool in (await session.list_tools()).tools]
        assert "echo" in tools, tools
        result = await session.call_tool("echo", {"text": "hello"})
        assert not failed(result) and result.content[0].text == "hello", result
        result = await session.call_tool("environment", {})
        names = json.loads(result.content[0].text)
        assert "PLAIN" in names and "SOME_TOKEN" not in names, names
        result = await session.call_tool("read", {"path": "/root/" + TOKEN})
        assert failed(result) and TOKEN not in result.content[0].text, result
        try:
            await session.call_tool("nothing", {"text": TOKEN})
        except Exception as error:
            assert "no such tool" in str(error) and TOKEN not in str(error), error
        else:
            raise AssertionError("it has to fail")
    print("fine")


asyncio.run(main())
