"""A proxy before a Redis at a Unix socket that loses what a network loses: connections, replies, everything."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Self


class Proxy:
    """Listens on a port of this machine for as long as the `with` block lasts.

    blackhole: as long as it is True, bytes are taken and go nowhere, and connections stay open. lose_replies: so many
    replies to scripts are thrown away, each with its connection, after Redis has applied the script. lost: how many.
    """

    def __init__(self, socket_path: str) -> None:
        self.port = 0
        self.blackhole = False
        self.lose_replies = 0
        self.lost = 0
        self._socket_path = socket_path
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._wait(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()

    def cut(self) -> None:
        """End all connections at once."""
        self._wait(self._abort_all())

    def _wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _end(self) -> None:
        self._server.close()
        await self._abort_all()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)

    async def _abort_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        asked = asyncio.Event()  # a script was sent, and its reply has not come yet
        self._writers.add(to_client)
        to_redis = None
        try:
            from_redis, to_redis = await asyncio.open_unix_connection(self._socket_path)
            self._writers.add(to_redis)
            up = asyncio.create_task(self._up(from_client, to_redis, asked))
            down = asyncio.create_task(self._down(from_redis, to_client, asked))
            _, unfinished = await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
            for task in unfinished:
                task.cancel()
        except OSError:
            pass  # Redis is down: the client sees its connection end
        finally:
            for writer in (to_client, to_redis):
                if writer is not None:
                    writer.transport.abort()
                    self._writers.discard(writer)

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.blackhole:
                    continue
                if b"EVALSHA" in data:
                    asked.set()
                writer.write(data)
                await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                if self.blackhole:
                    continue
                if asked.is_set():
                    asked.clear()
                    # An array is a script's answer; an error, such as NOSCRIPT, says that it was not applied.
                    if self.lose_replies > 0 and data.startswith(b"*"):
                        self.lose_replies -= 1
                        self.lost += 1
                        return
                writer.write(data)
                await writer.drain()
