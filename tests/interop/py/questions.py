"""The request streams /meshwork/1: asking a meshwork node for its tools and calling one, and answering its questions."""

import json

from wire import Frames, number, text

# Every meshwork node still understands the first version, which has all that is needed here.
REQUESTS = "/meshwork/1"
LAST_OF_VERSION_1 = 17
REQUEST, REPLY = range(2)
CALL_TOOL, LIST_TOOLS = 10, 11
TOOL_OUTPUT, TOOLS = 7, 8
DEADLINE_MS = 10_000


class Refused(Exception):
    """The node answered with an error; `code` is its stable code."""

    def __init__(self, code, message):
        super().__init__(f"{message} ({code})")
        self.code = code


class Asker:
    """A stream on which one question at a time is asked."""

    def __init__(self, stream):
        self._frames = Frames(stream)
        self._id = 0

    async def _ask(self, kind, body, expected):
        self._id += 1
        head = number(REQUEST) + number(self._id) + number(DEADLINE_MS) + number(kind)
        await self._frames.send(head + body)
        reader = await self._frames.receive()
        if (reader.number(), reader.number()) != (REPLY, self._id):
            raise ValueError("something else than the reply came")
        if reader.number() != 0:
            raise Refused(reader.text(), reader.text())
        got = reader.number()
        if got != expected:
            raise ValueError(f"reply {got} came where {expected} belongs")
        return reader

    async def list_tools(self):
        """How many tools the node has."""
        return (await self._ask(LIST_TOOLS, b"", TOOLS)).number()

    async def call_tool(self, name, arguments):
        """Calls a tool and gives its result."""
        body = text(name) + text(json.dumps(arguments)) + number(DEADLINE_MS)
        reader = await self._ask(CALL_TOOL, body, TOOL_OUTPUT)
        result = json.loads(reader.text())
        if reader.byte() != 0:
            raise ValueError("the result of a built-in tool came from elsewhere")
        reader.end()
        return result

    async def close(self):
        await self._frames.close()


async def decline(stream, seen):
    """Reads a node's questions until it ends the stream, and says to each that it is not answered here."""
    frames = Frames(stream)
    while True:
        reader = await frames.receive()
        if reader.number() != REQUEST:
            continue
        asked, _ = reader.number(), reader.number()
        seen.add(reader.number())
        refusal = number(REPLY) + number(asked) + number(1)
        await frames.send(refusal + text("forbidden") + text("this peer only asks"))
