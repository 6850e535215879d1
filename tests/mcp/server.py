"""A small server of the Model Context Protocol, on the standard library alone. Its tools do what a hostile one might."""

import json
import os
import signal
import subprocess
import sys
import time


def say(message):
    # Not as a library would write it: whoever passes messages on has to leave them alone.
    print(json.dumps(message, separators=(" , ", ":  ")), flush=True)


def tool(name, arguments):
    if name == "echo":
        return arguments["text"]
    if name == "environment":
        return json.dumps(sorted(os.environ))
    if name == "read":
        with open(os.path.expanduser(arguments["path"])) as file:
            return file.read()
    if name == "noise":
        print(arguments["text"], flush=True)
        print(arguments["text"], file=sys.stderr, flush=True)
        return "done"
    if name == "crash":
        raise SystemExit(7)
    if name == "linger":
        # Children of every kind, and a server that will not hear of an end.
        for signal_number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(signal_number, signal.SIG_IGN)
        child = "import time,sys; time.sleep(1000)"
        for session in (False, True):
            subprocess.Popen([sys.executable, "-c", child, arguments["mark"]], start_new_session=session, stdin=subprocess.DEVNULL)
        return "lingering"
    if name == "deaf":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "deaf"}})
        while True:
            time.sleep(1000)
    if name == "endless":
        while True:
            sys.stdout.write("a" * (1 << 20))
    raise ValueError("no such tool " + arguments.get("text", ""))


def answer(message):
    method, number = message.get("method"), message.get("id")
    if method == "initialize":
        asked = message["params"].get("protocolVersion", "2025-06-18")
        return {"protocolVersion": asked, "capabilities": {"tools": {}}, "serverInfo": {"name": "t", "version": "1"}}
    if method == "tools/list":
        names = ["echo", "environment", "read", "noise", "linger"]
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in names]}
    if method == "tools/call":
        name, arguments = message["params"]["name"], message["params"].get("arguments", {})
        try:
            return {"content": [{"type": "text", "text": tool(name, arguments)}], "isError": False}
        except OSError as error:
            return {"content": [{"type": "text", "text": str(error)}], "isError": True}
    raise ValueError(json.dumps(message.get("params", {})))


def main():
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        try:
            say({"jsonrpc": "2.0", "id": message["id"], "result": answer(message)})
        except ValueError as error:
            told = {"code": -32602, "message": str(error), "data": {"told": [str(error)]}}
            say({"jsonrpc": "2.0", "id": message["id"], "error": told})
    if "--stays" in sys.argv:
        time.sleep(1000)


main()
