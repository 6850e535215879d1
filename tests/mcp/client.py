"""The official Python client of MCP against `execward mcp`: client.py EXECWARD SOCKET, in a workspace."""

import asyncio
import os
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main() -> None:
    server = StdioServerParameters(
        command=sys.argv[1], args=["mcp", "--socket", sys.argv[2]], env=dict(os.environ), cwd=os.getcwd()
    )
    async with stdio_client(server) as (reader, writer), ClientSession(reader, writer) as session:
        await session.initialize()
        # Newer releases of the package name fields as Python does, older ones as the protocol does.
        def field(value, snake, camel):
            return getattr(value, snake) if hasattr(value, snake) else getattr(value, camel)

        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(tools) == {"run", "read", "write", "list", "kill", "check", "open_session"}, tools
        assert field(tools["run"].annotations, "destructive_hint", "destructiveHint") is True
        assert field(tools["check"].annotations, "read_only_hint", "readOnlyHint") is True

        async def call(name, **arguments):
            # The client checks structured results against the tool's schema.
            result = await session.call_tool(name, arguments)
            return field(result, "structured_content", "structuredContent"), field(result, "is_error", "isError"), result

        done, failed, _ = await call("run", command="echo hello | tr a-z A-Z > f; cat f")
        assert not failed and done["exit_code"] == 0 and done["stdout"]["text"] == "HELLO\n", done
        assert open("f").read() == "HELLO\n"
        done, failed, _ = await call("run", command="exit 7")
        assert failed and done["exit_code"] == 7, done
        checked, failed, _ = await call("check", command="rm -rf /")
        assert not failed and checked["decision"] == "hardline", checked
        _, failed, result = await call("run", command="rm -rf /")
        assert failed and "hardline" in result.content[0].text, result
        opened, failed, _ = await call("open_session", workspace=os.getcwd())
        done, failed, _ = await call("run", argv=["pwd"], session=opened["session"])
        assert done["stdout"]["text"].strip() == os.path.realpath(os.getcwd()), done
        listed, _, _ = await call("list", session=opened["session"])
        assert [command["state"] for command in listed["commands"]] == ["ended"], listed
    print("fine")


asyncio.run(main())
