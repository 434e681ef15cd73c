"""From a region's options to the store that keeps its entries."""

from __future__ import annotations

import contextlib
import functools
import logging
import secrets
from dataclasses import replace
from pathlib import Path
from typing import cast

from beaker_regions.config.options import SERVER_TYPES, RegionOptions
from beaker_regions.engine.store import Store
from beaker_regions.entries.records import Signer
from beaker_regions.errors import ConfigurationError
from beaker_regions.stores.beaker.store import BeakerStore
from beaker_regions.stores.files.cluster import ClusterFileStore
from beaker_regions.stores.files.store import FileStore
from beaker_regions.stores.memcached.region_store import MemcachedStore
from beaker_regions.stores.pending import FOLDER
from beaker_regions.stores.servers.store import ServerStore

logger = logging.getLogger("beaker_regions")

opened: dict[object, Store] = {}
"""The stores of this process, by the options that they were made from."""


def open_store(options: RegionOptions) -> Store:
    """Return the store of a region: regions on the same servers, and managers that name the same
    folder, share one."""
    secret = options.secret or _own_secret()
    name = "" if options.type in SERVER_TYPES else options.name
    identity = (options.type, options.prefix, name, options.data_dir, options.backend, secret)
    store = opened.get(identity)
    if store is None:
        store = opened.setdefault(identity, _make_store(options, secret))
    return store


def forget_store(store: Store) -> None:
    """Forget an open store: later calls of `open_store` do not return it."""
    for identity in [each for each, found in list(opened.items()) if found is store]:
        opened.pop(identity, None)


def _make_store(options: RegionOptions, secret: tuple[str, ...]) -> Store:
    backend, name = dict(options.backend), options.name
    if options.prefix:
        name = f"{options.prefix}@{name}"
    type_ = "ext:redis" if options.type == "ext:valkey" else options.type
    signer = Signer(secret, type_)
    if type_ in SERVER_TYPES:
        folder = options.data_dir and options.data_dir / FOLDER
        store = MemcachedStore if type_ == "ext:memcached" else _redis_store(type_)
        url = backend.pop("url")
        return store(url, signer, folder=folder, prefix=options.prefix, **backend)
    if options.type == "file":
        parent: Path = backend.get("file_dir") or options.data_dir  # type: ignore[assignment]
        own = {name: backend[name] for name in FileStore.OPTIONS if name in backend}
        _refuse_links(parent / name)
        if "cluster" in backend:
            through: RegionOptions = backend["cluster"]
            through = replace(through, prefix=options.prefix or through.prefix)
            servers = cast("ServerStore", open_store(through))
            return ClusterFileStore(parent / name, signer, servers, **own)
        return FileStore(parent / name, signer, **own)
    if options.data_dir is not None:
        backend["data_dir"] = str(options.data_dir)
    return BeakerStore(options.type, name, backend, signer)


def _redis_store(type_: str) -> type[ServerStore]:
    """Return the class of stores on Redis; only a region of such a type imports redis-py."""
    from beaker_regions.stores.redis.store import RedisClusterStore, RedisStore

    return RedisStore if type_ == "ext:redis" else RedisClusterStore


def _refuse_links(folder: Path) -> None:
    """Raise ConfigurationError if a region's folder, or a path in it, is a symbolic link: the user
    that made the link could read and replace the stored values."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for path in (folder, *folder.iterdir()):
            if path.is_symlink():
                raise ConfigurationError(
                    f"{path} is a symbolic link, and none is followed in a region's folder: remove "
                    f"it, or set data_dir to the folder where the entries are to lie"
                )


@functools.cache
def _own_secret() -> tuple[str, ...]:
    """Return a secret of this process alone: other processes refuse the values that it stores."""
    logger.warning(
        "no secret is configured: no other process, and no later one, can use what this one "
        "stores; set the option cache.secret"
    )
    return (secrets.token_hex(32),)
