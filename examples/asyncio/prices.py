"""A coroutine function in a region: many callers, one load, and no old value after a change.

    python examples/asyncio/prices.py

asks a slow service, which it starts itself. With MEMCACHED_SERVERS in the environment the region
is on memcached, and any number of processes share it; otherwise it is a temporary folder.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile

from beaker_regions import CacheManager, memcached_options, parse_cache_config_options

folder = tempfile.TemporaryDirectory()
cache = CacheManager(
    **parse_cache_config_options(
        {
            "cache.regions": "prices",
            "cache.type": "file",
            "cache.data_dir": folder.name,
            "cache.secret": secrets.token_urlsafe(),  # the same in all processes that share it
            "cache.timeout": 1,  # second for a memcached, which 1000 callers ask at once
            "cache.prices.expire": 60,  # seconds
            **memcached_options("prices"),
        }
    )
)


class Service:
    """A slow service on a port of its own: it says what a thing costs."""

    def __init__(self) -> None:
        self.prices = {"apples": 3, "pears": 4}
        self.asked = 0
        self.port = 0

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._answer, "127.0.0.1")
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        thing = (await reader.readline()).decode().strip()
        self.asked += 1
        await asyncio.sleep(0.2)
        writer.write(f"{self.prices[thing]}\n".encode())
        writer.close()


service = Service()


@cache.region("prices")
async def price_of(thing: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"{thing}\n".encode())
    price = int(await reader.readline())
    writer.close()
    return price


async def main() -> None:
    async with await service.open():
        prices = await asyncio.gather(*(price_of("apples") for _ in range(1000)))
        print(f"{len(prices)} callers paid {set(prices)}; requests so far: {service.asked}")

        service.prices["apples"] = 5
        await price_of.invalidate("apples")
        prices = await asyncio.gather(*(price_of("apples") for _ in range(1000)))
        print(f"after a change they paid {set(prices)}; requests so far: {service.asked}")

        both = await price_of.many(["apples", "pears"])
        print(f"apples and pears cost {both}; requests so far: {service.asked}")

    print(f"the service is away; apples cost {await price_of('apples')}")


if __name__ == "__main__":
    asyncio.run(main())
