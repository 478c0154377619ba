# SPDX-License-Identifier: Apache-2.0
"""Asks an image service what it has, in the words of Glance's API v2. Keeps nothing.

Everything here blocks, so it is called in threads only; one object may be used by several at once.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
from collections.abc import Generator, Iterator
from typing import Any

from keystoneauth1 import adapter, exceptions

from wherry import config, errors
from wherry.auth import identity_session
from wherry.model import image

_CHUNK_BYTES = 1 << 20
_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
#: Fields that are no property of the image's own.
_BASE_FIELDS = frozenset(
    {
        *("id", "name", "status", "visibility", "protected", "os_hidden", "owner", "tags", "created_at", "updated_at"),
        *("container_format", "disk_format", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "min_disk", "min_ram"),
        *("self", "file", "schema", "direct_url", "locations", "stores"),
    }
)


class Glance:
    """The image service of the catalog, as the configured user sees it, or as somebody with a token does."""

    def __init__(self, keystone: config.KeystoneSection, section: config.ImagesSection) -> None:
        self._session = identity_session.open_session(keystone, section.glance_request_timeout_seconds)
        self._service = adapter.Adapter(
            self._session,
            service_type="image",
            interface=section.glance_interface,
            region_name=section.glance_region_name,
            version="2",
            connect_retry_delay=keystone.connect_retry_delay_seconds,
        )
        self._where = f"interface {section.glance_interface}, region {section.glance_region_name or 'any'}"

    def show(self, image_id: str, token: str) -> image.Image:
        """Give one image.

        :raises ImageNotFound: there is none, or none that may be seen.
        :raises ImageRefused: no server can be made from it.
        :raises ImagesUnavailable: the service does not say.
        """
        # It goes into a path.
        if not _ID.fullmatch(image_id):
            raise errors.ImageNotFound(image=image_id)
        with self._told(image_id):
            return _read(self._get(f"/images/{image_id}", token).json())

    def list(self, token: str) -> list[image.Image]:
        """Give those images that a server can be made from.

        :raises ImagesUnavailable: the service does not say.
        """
        found: list[image.Image] = []
        page = "/images?status=active&limit=1000"
        with self._told(""):
            while page:
                answer = self._get(page, token).json()
                for row in answer["images"]:
                    with contextlib.suppress(errors.ImageRefused):
                        found.append(_read(row))
                # "/v2/images?marker=…", below an endpoint that ends with the version.
                following = str(answer.get("next") or "")
                page = "/images" + following.partition("/images")[2] if following else ""
        return found

    def read(self, image_id: str) -> Generator[bytes]:
        """Give its bytes, part by part.

        :raises ImageNotFound: it is gone, or has no bytes.
        :raises ImagesUnavailable: the service does not give them, or stopped to.
        """
        with self._told(image_id):
            answer = self._service.get(f"/images/{image_id}/file", stream=True, headers={"Accept": "application/octet-stream"})
            try:
                if answer.status_code != 200:
                    # 204: the record is there, the bytes are not.
                    raise errors.ImageNotFound(image=image_id)
                yield from answer.iter_content(_CHUNK_BYTES)
            finally:
                answer.close()

    def close(self) -> None:
        """Let go of kept connections."""
        self._session.session.close()

    def _get(self, path: str, token: str) -> Any:
        if token:
            return self._service.get(path, authenticated=False, headers={"X-Auth-Token": token})
        return self._service.get(path)

    @contextlib.contextmanager
    def _told(self, image_id: str) -> Iterator[None]:
        """Raise what went wrong as one of our errors."""
        try:
            yield
        except exceptions.NotFound as error:
            if image_id:
                raise errors.ImageNotFound(image=image_id) from error
            raise self._unavailable(f"{error.url} is not there; is the catalog's image endpoint right?") from error
        except (exceptions.Unauthorized, exceptions.Forbidden) as error:
            raise self._unavailable(f"it lets us not read this ({error}); see [keystone] username and its roles") from error
        except exceptions.EndpointNotFound as error:
            raise self._unavailable(f"the catalog has no endpoint of an image service with {self._where}") from error
        except exceptions.ClientException as error:
            raise self._unavailable(str(error) or type(error).__name__) from error
        except OSError as error:
            # What comes in the middle of a stream is of requests, whose errors are all of this kind.
            raise self._unavailable(f"it stopped in the middle: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unavailable(f"its answer cannot be read: {error!r}") from error

    def _unavailable(self, detail: str) -> errors.ImagesUnavailable:
        return errors.ImagesUnavailable(where="the image service", detail=detail)


def _read(row: dict[str, Any]) -> image.Image:
    image_id = str(row["id"])
    if row["status"] != "active":
        raise errors.ImageRefused(image=image_id, detail=f"it is {row['status']}, not active")
    if row["disk_format"] not in image.FORMATS or row["container_format"] != "bare":
        detail = f"it is {row['disk_format']} in {row['container_format']}; {' or '.join(image.FORMATS)} in bare can be"
        raise errors.ImageRefused(image=image_id, detail=detail)
    algorithm, checksum = str(row.get("os_hash_algo") or ""), str(row.get("os_hash_value") or "")
    if not checksum or algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        algorithm, checksum = "md5", str(row.get("checksum") or "")
    if not checksum:
        raise errors.ImageRefused(image=image_id, detail="the image service has no checksum of it")
    return image.Image(
        id=image_id,
        name=str(row.get("name") or ""),
        size_bytes=int(row["size"]),
        checksum=checksum,
        checksum_algorithm=algorithm,
        virtual_bytes=int(row.get("virtual_size") or 0),
        disk_format=str(row["disk_format"]),
        min_disk_gib=int(row.get("min_disk") or 0),
        min_ram_mib=int(row.get("min_ram") or 0),
        properties={name: str(value) for name, value in row.items() if name not in _BASE_FIELDS and value is not None},
        created_at=datetime.datetime.fromisoformat(str(row["created_at"])),
    )
