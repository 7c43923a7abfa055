"""Talking with a hub of which nothing is believed.

Idea: every answer has an end. One function opens an answer, another reads its body; between them they bound how long a hub may be
silent, how slowly it may send, how much it may send, and how often it may send elsewhere. What it says in headers and error pages
is never printed as it is. The token goes to the hub it belongs to and to no other host, also after a redirect.
When to use: through `hub_files`. huggingface-hub gives the connection, so that its settings hold (HF_ENDPOINT, HF_TOKEN, proxies).
What goes wrong: a network slower than `SLOWEST` is taken for a hub that keeps its callers waiting.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from pliant.errors import PliantError, brief
from pliant.spec.yaml import SIZE_LIMIT, parse_json

PATIENCE = 8.0
"""Seconds that a hub may be silent."""
LISTING_PATIENCE = 20.0
"""Seconds after which a small answer must be complete."""
SLOWEST = 10_000
"""Bytes a second, averaged over `PATIENCE`, below which a hub is not waited for."""
HOPS = 5
"""How often one request may be sent elsewhere."""
PUBLIC = "https://huggingface.co"


class Cancelled(Exception):
    """A download that nobody waits for any more."""


class Unreachable(PliantError):
    """The hub did not answer, which may pass."""


class Silent(Unreachable):
    """The hub keeps its caller waiting."""


class SwitchedOff(Unreachable):
    """The user keeps this process off the hub."""


@dataclass(frozen=True)
class Site:
    """A hub: the one of the environment, or an endpoint that gets the token only where `token` says so."""

    endpoint: str | None = None
    token: bool = False

    @property
    def url(self) -> str:
        """Where its paths begin."""
        from huggingface_hub import constants

        return (self.endpoint or constants.ENDPOINT).rstrip("/")

    @property
    def foreign(self) -> bool:
        """Whether this is not the hub that the token belongs to."""
        from huggingface_hub import constants

        return _origin(self.url) not in (_origin(PUBLIC), _origin(constants.ENDPOINT))

    def headers(self, url: str) -> dict[str, str]:
        """Of a request to `url`. Raises PliantError when a token was asked for and there is none."""
        from huggingface_hub import errors
        from huggingface_hub.utils import build_hf_headers

        theirs = _origin(url) == _origin(self.url) and (self.token or not self.foreign)
        try:
            token = (self.token or None) if theirs else False  # None: where there is one
            return {**build_hf_headers(token=token), "accept-encoding": "identity"}
        except errors.LocalTokenNotFoundError:
            raise PliantError(f"{self.url}: `token: true`, but there is no token; log in with `hf auth login`") from None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:  # no address at all
        return "", None, None


@dataclass(frozen=True)
class Answer:
    """An open answer; `announced` are the headers of the hub itself, which may have sent elsewhere for the content."""

    response: Any
    announced: dict[str, str]
    where: str

    @property
    def status(self) -> int:
        """200, or 206 for a part."""
        return self.response.status_code

    @property
    def headers(self) -> dict[str, str]:
        """Of the last server, by lower-case names."""
        return dict(self.response.headers)

    def body(self, limit: int, patience: float | None = None, cancelled: threading.Event | None = None) -> Iterator[bytes]:
        """The bytes as they come. Raises PliantError beyond `limit`, Silent when they come too slowly or not within `patience` seconds."""
        began = mark = time.monotonic()
        total = before = 0
        for chunk in self.response.iter_raw():
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            total += len(chunk)
            if total > limit:
                raise PliantError(f"{self.where}: the hub sends more than the {limit:,} bytes that are announced or allowed")
            now = time.monotonic()
            if patience is not None and now - began > patience:
                raise Silent(f"{self.where}: the hub did not finish its answer within {patience:g} seconds")
            if now - mark > PATIENCE:
                if total - before < SLOWEST * PATIENCE:
                    raise Silent(f"{self.where}: the hub sends less than {SLOWEST:,} bytes a second")
                mark, before = now, total
            yield chunk


@contextlib.contextmanager
def opened(site: Site, method: str, path: str, where: str, headers: dict[str, str] | None = None) -> Generator[Answer]:
    """The answer of a hub to one request. Raises PliantError, in one line about `where`, for everything but a success."""
    with _told(site, where):
        answer = _followed(site, method, f"{site.url}{path}", where, headers or {})
        try:
            _check_status(answer, site)
            yield answer
        finally:
            answer.response.close()


def listing(site: Site, path: str, where: str) -> Any:
    """The plain values of a small JSON answer. Raises PliantError as `opened` and `parse_json` do."""
    with opened(site, "GET", path, where) as answer:
        content = b"".join(answer.body(SIZE_LIMIT, LISTING_PATIENCE))
    return parse_json(content, f"{where}: the answer of the hub")


def _followed(site: Site, method: str, url: str, where: str, headers: dict[str, str]) -> Answer:
    """The answer at the end of the redirects; what the hub itself announced is kept on the way to another host."""
    announced: dict[str, str] = {}
    for _ in range(HOPS + 1):
        response = _in_time(_sending(method, url, {**site.headers(url), **headers}), where)
        if _origin(url) == _origin(site.url):
            announced = dict(response.headers)
        location = response.headers.get("location")
        if not 300 <= response.status_code < 400 or location is None:
            return Answer(response, announced, where)
        response.close()
        before, url = url, urljoin(url, location)
        if urlsplit(url).scheme not in ("https", urlsplit(before).scheme):
            raise PliantError(f"{where}: the hub sends elsewhere, to {brief(url)}, which is not safe")
    raise PliantError(f"{where}: the hub sends from one address to the next without end")


def _sending(method: str, url: str, headers: dict[str, str]) -> Callable[[], Any]:
    from huggingface_hub import get_session

    session = get_session()
    request = session.build_request(method, url, headers=headers, timeout=PATIENCE)
    return lambda: session.send(request, stream=True, follow_redirects=False)


def _in_time(send: Callable[[], Any], where: str) -> Any:
    """What `send` gives within `PATIENCE`. The HTTP library's own time-outs begin anew with every byte of a header."""
    given: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
    late = threading.Event()

    def work() -> None:
        try:
            response = send()
        except BaseException as error:
            given.put((None, error))
            return
        given.put((response, None))
        if late.is_set():
            response.close()

    threading.Thread(target=work, name="asking the hub", daemon=True).start()
    try:
        response, error = given.get(timeout=PATIENCE)
    except queue.Empty:
        late.set()
        raise Silent(f"{where}: the hub did not answer within {PATIENCE:g} seconds") from None
    if error is not None:
        raise error
    return response


def _check_status(answer: Answer, site: Site) -> None:
    status, where, url = answer.status, answer.where, site.url
    code = answer.announced.get("x-error-code", "")
    if status in (200, 206):
        packing = answer.headers.get("content-encoding", "identity")
        if packing != "identity":
            raise PliantError(f"{where}: the hub at {url} sends it packed ({brief(packing)}), which was not asked for")
    elif code == "GatedRepo":
        raise PliantError(f"{where}: access must be asked for on its page at {url}, then log in with `hf auth login`")
    elif code == "RevisionNotFound":
        raise PliantError(f"{where}: the repository has no such revision")
    elif code == "EntryNotFound":
        raise PliantError(f"{where}: a file vanished from the repository")
    elif code == "RepoNotFound" or status in (401, 404):
        raise PliantError(f"{where}: no such repository at {url} (or it is private: log in with `hf auth login`{_for_token(site)})")
    elif status in (408, 429) or status >= 500:
        raise Unreachable(f"{where}: the hub at {url} answered {status}")
    else:
        raise PliantError(f"{where}: the hub at {url} refused ({status}{_for_token(site)})")


def _for_token(site: Site) -> str:
    return "; the token is not sent to this endpoint unless `token: true` says so" if site.foreign and not site.token else ""


@contextlib.contextmanager
def _told(site: Site, where: str) -> Generator[None]:
    """Turns the HTTP library's many exceptions into one line about `where`."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise SwitchedOff(f"{where}: the hub is switched off (HF_HUB_OFFLINE is set) and it is not in the cache")
    try:
        yield
    except (PliantError, Cancelled):
        raise
    except Exception as error:  # whatever the HTTP library calls a lost connection
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError | TimeoutError):
            raise  # the disk's complaint
        kind = Silent if any(base.__name__ == "TimeoutException" for base in type(error).__mro__) else Unreachable
        reason = f"{type(error).__name__}: {brief(str(error))}".rstrip(": ")
        raise kind(f"{where}: the hub at {site.url} cannot be reached, or broke off ({reason})") from error
