"""What no route sees: requests without the token, too many of them, and bodies that are too large."""

import hmac
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send

from omnisage.serve.config import LimitsConfig
from omnisage.serve.errors import error_response, too_large

_MAX_CLIENTS = 10_000  # whose requests are counted; the one that was quiet longest is forgotten
_GUARDED = ("/v1/", "/metrics")


class Guard:
    """ASGI middleware over the whole application. The page, `/health`, `/ready` and `/openapi.json` need no token."""

    def __init__(self, app: ASGIApp, *, limits: LimitsConfig, token: str | None) -> None:
        self._app = app
        self._body_bytes = limits.body_bytes
        self._token = None if token is None else token.encode()
        self._rate = None
        if limits.requests_per_s is not None:
            self._rate = RateLimit(limits.requests_per_s, limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_guarded = scope["path"].startswith(_GUARDED)
        if is_guarded and self._rate is not None:
            wait_s = self._rate.wait_s(scope["client"][0] if scope.get("client") else "")
            if wait_s > 0:
                response = error_response(429, "too_many_requests", "too many requests", "try again later")
                response.headers["Retry-After"] = str(int(wait_s) + 1)
                await response(scope, receive, send)
                return
        if is_guarded and self._token is not None and not self._has_token(dict(scope["headers"])):
            remedy = "send the header 'Authorization: Bearer <token>'"
            response = error_response(401, "unauthorized", "the bearer token is missing or wrong", remedy)
            response.headers["WWW-Authenticate"] = "Bearer"
            await response(scope, receive, send)
            return
        if self._declares_too_much(scope):
            await too_large()(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _declares_too_much(self, scope: Scope) -> bool:
        """Starlette counts what comes; a body that says it is too large need not come."""
        declared = dict(scope["headers"]).get(b"content-length", b"")
        return declared.isdigit() and int(declared) > self._body_bytes

    def _has_token(self, headers: dict[bytes, bytes]) -> bool:
        """Compared in constant time, so that how long a refusal takes says nothing."""
        assert self._token is not None
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        return hmac.compare_digest(given.strip(), self._token) and scheme.lower() == b"bearer"


class RateLimit:
    """A token bucket per client: `rate` requests a second on average, and `burst` of them at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # client -> requests left, when

    def wait_s(self, client: str) -> float:
        """0 if the client may make a request now, which then counts; else how long it has to wait."""
        now = self._clock()
        left, since = self._buckets.pop(client, (float(self._burst), now))
        left = min(self._burst, left + (now - since) * self._rate)
        is_allowed = left >= 1
        self._buckets[client] = (left - is_allowed, now)
        if len(self._buckets) > _MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if is_allowed else (1 - left) / self._rate
