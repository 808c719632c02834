"""One driver per study: a lease that expires in Redis, and a fence number that outlives it.

The lease says who runs a study; the fence makes it safe. Every lease draws the next fence, every append to the journal
carries it, and the journal accepts only the newest: whoever was suspended, cut off or taken over is refused, whatever
it believes. So a driver that cannot reach Redis need not give up when its lease runs out: it may find, minutes later,
that nobody has taken the study, and go on.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import redis

from tuner.errors import LeaseHeld, LeaseLost, StoreError, StoreUnavailable, TunerError
from tuner.store.client import get_text, load_script, redis_errors, server_time_s
from tuner.store.identity import Holder, this_process
from tuner.store.keys import StudyKeys
from tuner.store.patience import OUTAGE_S, QUIET_S, Patience

STOP = "stop"
STOP_NOW = "stop-now"

# How long a lease lives after each renewal, in seconds.
LEASE_S = 30.0

_RENEW_EVERY_S = 2.0
_POLL_S = 0.5
_START_S = 5.0  # at a start, unlike later, Redis is expected to be there

_log = logging.getLogger(__name__)


def boot_clock_s() -> float:
    """Seconds since boot, those that the machine was suspended for included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """The right to run the study `name`, from `acquire`.

    fence: goes to `RedisJournal`. lost: set once Redis has said that another driver or `tuner delete` came after this
    one, or no renewal has succeeded for `outage_s`; nothing that is written after that is certain to be accepted.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: StudyKeys,
        fence: int,
        holder: Holder,
        *,
        ttl_s: float,
        outage_s: float,
        clock: Callable[[], float],
    ) -> None:
        self.name = keys.name
        self.fence = fence
        self.holder = holder
        self.lost = threading.Event()
        self._client = client
        self._keys = keys
        self._ttl_s = ttl_s
        self._outage_s = outage_s
        self._clock = clock
        self._error: TunerError | None = None
        self._away_since_s: float | None = None
        self._told = False
        self._ignored = ""
        self._renew_script = load_script(client, "renew.lua")
        self._release_script = load_script(client, "release.lua")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def raise_if_lost(self) -> None:
        """Raises why `lost` is set: LeaseLost, StoreUnavailable after an outage, StoreError if Redis lost its data."""
        if self._error is not None:
            raise self._error

    def renew(self) -> str | None:
        """Renew once; return what is asked of the driver: `STOP`, `STOP_NOW` or None. Sets `lost`, and never raises."""
        args: list[str | int] = [self.fence, self.holder.to_json(), round(self._ttl_s * 1000)]
        try:
            with redis_errors(f"renewing the lease of study {self.name!r}"):
                state, found = self._renew_script([self._keys.lease, self._keys.fence, self._keys.control], args)
        except StoreError as error:
            self._not_renewed(error)
            return None
        self._away_since_s = None
        if state == "lost":
            self._lose(superseded(self.name, self.fence, str(found)))
            return None
        if found not in ("", STOP, STOP_NOW) and found != self._ignored:
            self._ignored = found
            _log.warning("%s holds neither %r nor %r: it asks for nothing", self._keys.control, STOP, STOP_NOW)
        return str(found) if found in (STOP, STOP_NOW) else None

    def _not_renewed(self, error: StoreError) -> None:
        now_s = self._clock()
        if self._away_since_s is None:
            # Counted from here and not from the last renewal: this process may have been suspended since.
            self._away_since_s = now_s
            self._told = False
        away_s = now_s - self._away_since_s
        if away_s >= QUIET_S and not self._told:
            _log.warning("%s; waiting for it, %.0f s at most", error, self._outage_s)
            self._told = True
        if away_s > self._outage_s:
            self._lose(
                StoreUnavailable(
                    f"{error}; it stayed so for {away_s:.0f} s. Nothing that was recorded is lost: mend it, then "
                    f"`tuner resume {self.name}`"
                )
            )

    def _lose(self, error: TunerError) -> None:
        self._error = error
        self.lost.set()

    def start_renewing(
        self, on_control: Callable[[str], None] | None = None, revive: Callable[[], object] | None = None
    ) -> None:
        """Renew every 2 s or faster from a thread of its own, until lost or released.

        `on_control` is called in that thread with `STOP` and with `STOP_NOW`, once each, when a client asks for it;
        `revive` after each renewal that failed: it starts a Redis that died, and may raise StoreError.
        """
        assert self._thread is None, "a lease is renewed by one thread"
        self._thread = threading.Thread(
            target=self._keep, args=(on_control, revive), name=f"lease-{self.name}", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Stop renewing and give the lease back if it is still ours. If Redis is away it expires by itself."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        if self.lost.is_set():
            return  # another's by now, or Redis has been away for so long that asking it would only take more time
        try:
            with redis_errors(f"releasing the lease of study {self.name!r}"):
                self._release_script([self._keys.lease], [self.holder.to_json()])
        except StoreError as error:
            _log.warning("%s; it expires by itself in at most %.0f s", error, self._ttl_s)

    def _keep(self, on_control: Callable[[str], None] | None, revive: Callable[[], object] | None) -> None:
        period_s = min(_RENEW_EVERY_S, self._ttl_s / 4)
        told: set[str] = set()
        while not self._ended.is_set():
            asked = self.renew()
            if self.lost.is_set():
                return
            if on_control is not None and asked is not None and asked not in told:
                told.add(asked)
                try:
                    on_control(asked)
                except Exception:
                    # A driver that cannot stop on request must at least keep its lease.
                    _log.exception("the driver failed to act on %r", asked)
            if revive is not None and self._away_since_s is not None:
                # Who appends may be waiting too, and says why it fails.
                with suppress(StoreError):
                    revive()
            self._ended.wait(period_s)


def acquire(
    client: redis.Redis,
    name: str,
    *,
    ttl_s: float = LEASE_S,
    wait_s: float = 0.0,
    outage_s: float = OUTAGE_S,
    clock: Callable[[], float] = boot_clock_s,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Become the driver of the study `name`, for `ttl_s` after each renewal. Forgets a stop asked of the last driver.

    A holder on this machine whose process is gone is replaced at once. Any other is waited for, at most `wait_s`, then
    refused. Raises LeaseHeld naming who holds it and when it can expire, StoreError if Redis fails.
    """
    keys = StudyKeys(name)
    script = load_script(client, "acquire.lua")
    patience = Patience(name, _START_S, clock=clock, sleep=sleep)
    doing = f"taking the lease of study {name!r}"
    # The same text in each try: by it a lease that was taken, though the reply was lost, is known to be ours.
    me = this_process(patience.call(doing, lambda: server_time_s(client)))

    def take() -> list[str]:
        args: list[str | int] = [me.to_json(), round(ttl_s * 1000), dead_holder(client, keys)]
        return script([keys.lease, keys.fence, keys.control], args)  # type: ignore[no-any-return]

    deadline_s = clock() + wait_s
    while True:
        state, *rest = patience.call(doing, take)
        if state == "ok":
            return Lease(client, keys, int(rest[0]), me, ttl_s=ttl_s, outage_s=outage_s, clock=clock)
        if clock() >= deadline_s:
            raise lease_held(name, rest[0], int(rest[1]))
        sleep(_POLL_S)


def superseded(name: str, fence: int, found: str) -> TunerError:
    """Why a driver with `fence` is refused where Redis now has the fence `found`, "" if it has none."""
    if re.fullmatch("[0-9]{1,19}", found) and int(found) >= fence:
        return LeaseLost(
            f"study {name!r} was taken over or deleted: this driver holds fence {fence}, the newest is {found}; "
            f"nothing more is written, see `tuner status {name}`"
        )
    has = repr(found[:40]) if found else "none"
    return StoreError(
        f"Redis does not know the driver of study {name!r} any more (fence {fence}, it has {has}): it was flushed, or "
        f"started again without its newest data; restore its append-only file, then `tuner resume {name}`"
    )


def holder(client: redis.Redis, name: str) -> Holder | None:
    """Who runs the study `name`; None if nobody does, or the process that did is provably gone.

    Raises StoreError if Redis fails or the lease cannot be read.
    """
    text = _read(client, StudyKeys(name))
    if text is None:
        return None
    found = _parse(name, text)
    return None if found.is_gone() else found


def refuse_if_held(client: redis.Redis, name: str) -> None:
    """Raises what `acquire` would now, before anything is prepared in vain."""
    if holder(client, name) is not None:
        keys = StudyKeys(name)
        with redis_errors(f"reading the lease of study {name!r}"):
            text, expires_ms = client.get(keys.lease), client.pttl(keys.lease)
        if text is not None:
            raise lease_held(name, str(text), int(expires_ms))


def dead_holder(client: redis.Redis, keys: StudyKeys) -> str:
    """The text of the lease if its process is provably gone, else "": the one that a script may treat as no lease."""
    text = _read(client, keys)
    return text if text is not None and _parse(keys.name, text).is_gone() else ""


def lease_held(name: str, holder_text: str, expires_ms: int) -> LeaseHeld:
    """The error for a lease that someone else holds."""
    return LeaseHeld(
        f"study {name!r} is run by {_parse(name, holder_text)}; stop it with `tuner stop {name}`, or, if it is dead, "
        f"wait {max(0, expires_ms) / 1000:.0f} s for its lease to expire"
    )


def _read(client: redis.Redis, keys: StudyKeys) -> str | None:
    """The text of the lease. One that lives longer than any lease is shortened to the length of one.

    Redis keeps the time of day at which a key expires: set back by two hours, its clock would give the lease of a
    driver that is dead, on a machine that cannot be asked, two hours more. A living driver renews it long before.
    """
    what = f"the lease of study {keys.name!r}"
    text = get_text(client, keys.lease, what)
    if text is not None:
        with redis_errors(f"reading {what}"):
            left_ms = client.pttl(keys.lease)
            if left_ms == -1 or left_ms > LEASE_S * 1000:  # -1: never expires
                client.pexpire(keys.lease, round(LEASE_S * 1000))
    return text


def _parse(name: str, text: str) -> Holder:
    try:
        return Holder.from_json(text)
    except (TypeError, ValueError):
        raise StoreError(
            f"the lease of study {name!r} cannot be read, it holds {text[:100]!r}; it expires by itself within a minute"
        ) from None
