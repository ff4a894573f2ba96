"""The application of the ASGI servers: uvicorn and hypercorn."""

import asyncio
from urllib.parse import parse_qs


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        return await websocket(receive, send)
    query = parse_qs(scope["query_string"].decode())

    def number(name, otherwise):
        return int(query.get(name, [otherwise])[0])

    async def head(kind=b"text/plain", length=None):
        headers = [(b"content-type", kind)]
        if length is not None:
            headers.append((b"content-length", str(length).encode()))
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def piece(body, more=True):
        await send({"type": "http.response.body", "body": body, "more_body": more})

    async def whole(body):
        await head(length=len(body))
        await piece(body, more=False)

    match scope["path"]:
        case "/echo":
            body = b""
            async for part in read(receive):
                body += part
            await whole(body)
        case "/upload":
            count = 0
            async for part in read(receive):
                count += len(part)
            await whole(b"%d\n" % count)
        case "/slow":
            await asyncio.sleep(number("ms", 1000) / 1000)
            await whole(b"slow\n")
        case "/large":
            left = number("bytes", 1 << 20)
            await head(length=left)
            while left > 0:
                now = min(left, 65536)
                left -= now
                await piece(b"x" * now, more=left > 0)
        case "/stream":
            await head()
            for index in range(1, number("chunks", 10) + 1):
                if index > 1:
                    await asyncio.sleep(number("ms", 100) / 1000)
                await piece(b"chunk %d\n" % index)
            await piece(b"", more=False)
        case "/sse":
            await head(b"text/event-stream")
            gone = asyncio.ensure_future(disconnected(receive))
            index = 1
            while not gone.done():
                await piece(b"id: %d\ndata: %d\n\n" % (index, index))
                await asyncio.sleep(number("ms", 100) / 1000)
                index += 1
        case _:
            await whole(b"ok\n")


async def read(receive):
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client is gone")
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def disconnected(receive):
    while (await receive())["type"] != "http.disconnect":
        pass


async def websocket(receive, send):
    while True:
        message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.accept"})
        elif message["type"] == "websocket.disconnect":
            return
        else:
            await send({"type": "websocket.send", "text": message.get("text"), "bytes": message.get("bytes")})
